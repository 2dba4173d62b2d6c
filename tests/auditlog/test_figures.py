"""The annual tables side by side: what one of them hides, no other tells (R-103; rule R12 of the field)."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import pytest

from referral_api.auditlog.figures import (
    ACKNOWLEDGED,
    SUMS,
    TABLES,
    URGENCIES,
    Figures,
    Table,
    cells_of_nothing,
    publish,
    rows_of,
    totals,
)
from referral_api.domain.clocks import TERMS, Clock, Rung
from referral_api.domain.disclosure import THRESHOLD, disclose
from referral_api.domain.words import Act, Urgency
from tests.auditlog import shown
from tests.auditlog.yearly import ALSO, EXCHANGE, PARENT, SENT, UNIT, Year


@pytest.mark.parametrize("urgency", URGENCIES)
def test_what_the_ladder_does_shows_in_no_figure_beside_who_was_late(urgency: str) -> None:
    """R-80, R-106: at its term the hotline is called to the telephone, units above are released and the clock is said
    to have run out. Each of them counted would tell, with the others, how many were late, or late and still answered.
    """
    quiet, loud = Year(urgency), Year(urgency)
    for at, rung in TERMS[Urgency(urgency)].ladder:
        after = SENT + int(at.total_seconds())
        if rung is Rung.EXPIRE:
            loud.take(EXCHANGE, Act.EXPIRED, UNIT, {"due_at": SENT + loud.within_s}, after)
        else:
            loud.take(EXCHANGE, Act.ESCALATED, UNIT, {"reason": "ack_timeout", "rung": rung.value}, after)
            loud.take(EXCHANGE, Act.TELEPHONE_NOW, UNIT, {"reason": "ack_timeout"}, after)
    due_at = SENT + loud.within_s
    loud.take(EXCHANGE, Act.OVERDUE, UNIT, {"clock": "ack", "due_at": due_at}, SENT + loud.within_s)
    loud.release(loud.within_s)
    assert loud.figures == quiet.figures
    assert loud.cells["timeliness.late"] == loud.cells[f"acknowledgement_{urgency}.late"] == 1


@pytest.mark.parametrize("urgency", URGENCIES)
def test_a_referral_is_counted_once_however_many_units_it_was_brought_to(urgency: str) -> None:
    """R-103: a release is owed to lateness; deliveries counted beside referrals would tell how many there were."""
    year = Year(urgency)
    year.release(year.within_s)
    year.acknowledge(ALSO, 5)
    assert not year.figures.acknowledged[urgency], "who is only to know of it takes charge of nothing"
    year.acknowledge(PARENT, year.within_s + 30)
    year.acknowledge(UNIT, year.within_s + 900)
    assert year.cells["timeliness.late"] == year.cells[f"acknowledgement_{urgency}.late"] == 1
    assert year.figures.acknowledged[urgency] == (year.within_s + 30,)
    own = {"referrals", f"urgency.{urgency}", f"acknowledgement_{urgency}.late", "timeliness.late"}
    of_submit = {cell for cell in year.cells if cell.startswith(("basis.", "retention."))}
    assert year.cells == dict.fromkeys(own | of_submit, 1)


def test_an_acknowledgement_in_the_last_second_of_its_term_is_on_time() -> None:
    for after_s, how in ((0, "on_time"), (1, "late")):
        year = Year("urgent")
        year.acknowledge(UNIT, year.within_s + after_s)
        assert year.cells[f"acknowledgement_urgent.{how}"] == 1


def test_every_clock_but_the_acknowledgement_s_is_counted() -> None:
    """R-103: a blank that everybody knows to be zero hides nobody beside it."""
    found = {table.name: table.codes for table in TABLES}
    assert set(found["overdue"]) == {clock.value for clock in Clock} - {"ack"}
    year = Year("urgent")
    for clock in found["overdue"]:
        year.take(EXCHANGE, Act.OVERDUE, UNIT, {"clock": clock, "due_at": SENT}, SENT + 9)
    cells = {"total", *found["overdue"]}
    assert {cell for cell in year.cells if cell.startswith("overdue.")} == {f"overdue.{one}" for one in cells}


def test_these_are_all_tables_and_a_further_one_is_a_decision() -> None:
    """docs/decisions/0035: one that follows from others, or nearly so, tells what they hide."""
    assert [table.name for table in TABLES] == [
        *("urgency", "basis", "retention"),
        *("acknowledgement_routine", "acknowledgement_urgent", "acknowledgement_emergency", "timeliness"),
        *("declines", "transfers", "outcomes", "withdrawals", "receipt_failures", "overdue", "readers"),
    ]


POOLS: tuple[Sequence[int], ...] = (
    *((0,), (10,), (11,), (0, 11), (10, 11), (0, 10, 11), (11, 12), (0, 1, 10, 11, 12)),
    *((0, 0, 0, 60), (0, 0, 0, 0, 11, 12, 50), range(25), range(200)),
)
"""From which counts are drawn: those at the bounds of what a reader knows, few referrals, and many."""


def some_year(draw: random.Random) -> dict[str, int]:
    """The counts of a year, drawn at random."""
    pools = draw.choice(POOLS), draw.choice(POOLS)
    counts = Counter(dict.fromkeys((cell for one in SUMS for cell, _ in one.signs()), 0))
    for table in TABLES:
        if table.total != "referrals":
            counts.update({table.cell(code): draw.choice(draw.choice(pools)) for code in table.codes})
    referrals = sum(counts[f"acknowledgement_{one}.{how}"] for one in URGENCIES for how in ACKNOWLEDGED)
    for table in TABLES:
        if table.name in ("basis", "retention"):
            left, codes = referrals, draw.sample(table.codes, len(table.codes))
            for code in codes:
                counts[table.cell(code)] = left if code == codes[-1] else min(left, draw.choice(pools[0]))
                left -= counts[table.cell(code)]
    return totals(counts)


def span(counts: Mapping[str, int], cell: str) -> tuple[int, int]:
    """What a blank may be for whoever knows whether it is small."""
    return (0, THRESHOLD - 1) if counts[cell] < THRESHOLD else (THRESHOLD, 10**6)


def narrowed(counts: Mapping[str, int], shown: Mapping[str, int | None], table: Table) -> Iterator[tuple[int, int]]:
    """The least and the most that each blank of one table by itself can be: what its total leaves to it."""
    cells = [table.cell(code) for code in table.codes]
    spans = {cell: span(counts, cell) if shown[cell] is None else (counts[cell], counts[cell]) for cell in cells}
    total = span(counts, table.total) if shown[table.total] is None else (counts[table.total], counts[table.total])
    for cell, (least, most) in spans.items():
        if shown[cell] is None:
            others = [spans[other] for other in cells if other != cell]
            yield max(least, total[0] - sum(hi for _, hi in others)), min(most, total[1] - sum(lo for lo, _ in others))


@pytest.mark.parametrize("seed", range(6))
def test_no_year_takes_long_and_no_table_gives_a_blank_away(seed: int) -> None:
    draw = random.Random(seed)  # noqa: S311 - a test's cases
    for _ in range(25):
        counts = some_year(draw)
        began = time.process_time()
        shown = disclose(counts, SUMS)
        assert time.process_time() - began < 1
        assert not [cell for cell, count in counts.items() if count < THRESHOLD and shown[cell] is not None]
        for table in TABLES:
            assert not [(counts, table.name) for least, most in narrowed(counts, shown, table) if least >= most]


def test_what_is_published_of_fifty_referrals() -> None:
    """Totals and what is large; none of the late ones, whatever else is said of them."""
    counts = Counter(dict.fromkeys((cell for one in SUMS for cell, _ in one.signs()), 0))
    counts.update({"acknowledgement_emergency.on_time": 14, "acknowledgement_emergency.late": 2})
    counts.update({"acknowledgement_urgent.on_time": 18, "acknowledgement_urgent.late": 1})
    counts.update({"acknowledgement_routine.on_time": 12})
    counts.update({"acknowledgement_routine.late": 3, "basis.consent": 30, "basis.child_protection": 20})
    counts.update({"retention.standard": 50, "outcomes.trafficking_confirmed": 21, "outcomes.related_crime": 12})
    counts.update({"outcomes.not_located": 5})
    nothing: dict[str, tuple[int, ...]] = dict.fromkeys(URGENCIES, ())
    tables = publish(2026, Figures(totals(counts), nothing, nothing))["tables"]
    shown = {
        f"{name}.{code}": count
        for name, table in tables.items()
        for code, count in (*table["cells"].items(), ("total", table["total"]))
        if count is not None
    }
    assert shown == {
        "urgency.routine": 15,
        "urgency.urgent": 19,
        "urgency.emergency": 16,
        "urgency.total": 50,
        "acknowledgement_routine.total": 15,
        "acknowledgement_urgent.total": 19,
        "acknowledgement_emergency.total": 16,
        "basis.total": 50,
        "basis.child_protection": 20,
        "retention.total": 50,
        "timeliness.total": 50,
        "outcomes.total": 38,
        "outcomes.related_crime": 12,
    }


def figures_of(referrals: int) -> set[tuple[str, str]]:
    """Which figures are shown of a likely year of so many."""
    return {row[:2] for row in rows_of(shown.document(shown.LIKELY[referrals])) if row[2] is not None}


def test_of_a_good_year_of_six_hundred_it_is_published_how_many_were_acknowledged_in_time() -> None:
    """R12 asks for it; with the few that nobody ever acknowledged in a cell of their own it was always blank."""
    found = figures_of(600)
    assert {("timeliness", "on_time"), ("timeliness", "late"), ("acknowledged_on_time_percent", "all")} <= found
    assert ("sent_to_acknowledged_s", "urgent.p50") in found
    assert ("outcomes_known_percent", "all") in found
    small = {("acknowledgement_emergency", "late"), ("acknowledgement_emergency", "on_time")}
    assert not found & {
        *small,
        ("acknowledged_on_time_percent", "emergency"),
        ("sent_to_acknowledged_s", "emergency.p50"),
    }


def test_of_a_good_year_of_fifty_it_cannot_be_and_totals_are_left() -> None:
    found = figures_of(50)
    assert {("timeliness", "total"), ("urgency", "emergency"), ("outcomes", "total")} <= found
    assert not {row for row in found if row[0] in ("acknowledged_on_time_percent", "sent_to_acknowledged_s")}


def test_times_tell_nothing_of_who_was_late_or_never_acknowledged() -> None:
    """A percentile of those that were acknowledged at all would say how many were not."""
    counts = Counter(cells_of_nothing())
    counts.update(
        {f"acknowledgement_{one}.{how}": many for one in URGENCIES for how, many in (("on_time", 189), ("late", 11))}
    )
    counts.update({"basis.consent": 600, "retention.standard": 600})
    sent = dict.fromkeys(URGENCIES, (5,) * 200)
    found = []
    for late in range(12):
        acknowledged = dict.fromkeys(URGENCIES, tuple(range(189)) + tuple(range(9 * 10**5, 9 * 10**5 + late)))
        found.append(publish(2026, Figures(totals(counts), sent, acknowledged)))
    assert all(one == found[0] for one in found)
    assert found[0]["times_s"]["sent_to_acknowledged"]["urgent"] == {"p50": 99, "p95": None}


def test_known_outcomes_are_told_of_all_referrals_and_not_of_those_that_were_closed() -> None:
    """R12: of a hundred that were sent, of how many it is known what became of them."""
    document = shown.document(shown.LIKELY[600])
    outcomes = document["tables"]["outcomes"]
    known = outcomes["total"] - outcomes["cells"]["cannot_disclose"]
    assert document["percent"]["outcomes_known"] == {"all": round(100 * known / 600)}
    few = shown.LIKELY[600] | {"outcomes.cannot_disclose": 10}
    assert shown.document(few)["percent"]["outcomes_known"] == {"all": None}
