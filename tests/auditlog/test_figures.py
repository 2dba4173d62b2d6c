"""The annual tables side by side: what one of them hides, no other tells (R-103; rule R12 of the field)."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

import pytest

from referral_api.auditlog.figures import (
    ACKNOWLEDGED,
    SUMS,
    TABLES,
    URGENCIES,
    Counting,
    Figures,
    Table,
    _totals,
    publish,
)
from referral_api.domain.clocks import TERMS, Clock, Rung
from referral_api.domain.disclosure import THRESHOLD, disclose
from referral_api.domain.rules import RuleBook
from referral_api.domain.words import Act, Role, Urgency
from referral_api.formats.act import RawAct, build_act, parse_act
from referral_api.formats.keys import Alg, signing_key
from tests.formats.samples import D1, NOON, REF, submit

KEY = signing_key(Alg.ED25519, b"\x07" * 32)
HOTLINE, UNIT, PARENT, ALSO, EXCHANGE = "linea-1818", "pnp-trata-piura", "pnp-trata", "fiscalia-piura", "exchange"
ROLES = {HOTLINE: Role.HOTLINE, EXCHANGE: Role.EXCHANGE}
SENT = NOON + 60
OTHER = f"{REF[:-1]}{'0' if REF[-1] != '0' else '1'}"
TO = [
    {"unit": UNIT, "role": "action"},
    {"unit": PARENT, "role": "escalation"},
    {"unit": ALSO, "role": "information"},
]


class Year:
    """One referral of an urgency, act by act as they come; every figure of the year."""

    def __init__(self, urgency: str) -> None:
        self.counting = Counting({}, RuleBook())
        self.within_s = int(TERMS[Urgency(urgency)].ack.total_seconds())
        self._signed = 0
        self.submitted = self.take(HOTLINE, Act.SUBMIT, None, self._body(urgency), SENT).digest

    @staticmethod
    def _body(urgency: str) -> dict[str, Any]:
        called = {"phone_alert": {"made": True, "at": NOON, "to_unit": UNIT, "by": "op-2"}}
        return submit() | {"urgency": urgency, "to": TO} | (called if urgency == "emergency" else {})

    def take(
        self, party: str, act: Act, unit: str | None, body: Mapping[str, Any], at: int, prev: str | None = None
    ) -> RawAct:
        """Sign an act and have it counted."""
        self._signed += 1
        raw = build_act(
            act_id=str(UUID(int=self._signed, version=4)), iss=f"{party}.aaaa", aud="https://x.example", iat=at,
            act=act, ref=REF, unit=unit, prev=prev, body=body, signers=[KEY],
        )  # fmt: skip
        found = parse_act(raw)
        self.counting.act(found, ROLES.get(party, Role.POLICE_UNIT), at)
        return found

    def acknowledge(self, unit: str, after_s: int) -> None:
        """A unit acknowledges, so long after the submission."""
        body = {"bundle": D1, "submit": self.submitted, "decrypted": True}
        self.take(unit, Act.ACK, unit, body, SENT + after_s, self.submitted)

    def release(self, after_s: int) -> None:
        """The exchange releases it to the parent."""
        self.take(EXCHANGE, Act.RELEASED, PARENT, {"reason": "ack_timeout"}, SENT + after_s)

    @property
    def figures(self) -> Figures:
        """All that was counted."""
        return self.counting.figures()

    @property
    def cells(self) -> dict[str, int]:
        """All cells that are not zero."""
        return {cell: count for cell, count in self.figures.counts.items() if count}


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
    assert loud.cells["timeliness.none"] == loud.cells[f"acknowledgement_{urgency}.none"] == 1


@pytest.mark.parametrize("urgency", URGENCIES)
def test_a_referral_is_counted_once_however_many_units_it_was_brought_to(urgency: str) -> None:
    """R-103: a release is owed to lateness; deliveries counted beside referrals would tell how many there were."""
    year = Year(urgency)
    year.release(year.within_s)
    year.acknowledge(ALSO, 5)
    assert year.cells["timeliness.none"] == 1, "who is only to know of it takes charge of nothing"
    year.acknowledge(PARENT, year.within_s + 30)
    year.acknowledge(UNIT, year.within_s + 900)
    assert year.cells["timeliness.late"] == year.cells[f"acknowledgement_{urgency}.late"] == 1
    assert year.figures.acknowledged[urgency] == (year.within_s + 30,)
    own = {"referrals", f"urgency.{urgency}", f"acknowledgement_{urgency}.late", "timeliness.late"}
    of_submit = {cell for cell in year.cells if cell.startswith(("basis.", "retention."))}
    assert year.cells == dict.fromkeys(own | of_submit, 1)


def test_a_copy_is_not_counted_as_a_referral() -> None:
    """R-86: nobody shall act on it, so it would count as one that nobody acknowledged."""
    year = Year("routine")
    year.acknowledge(UNIT, 60)
    before = year.counting.figures().counts
    copy = submit() | {
        "urgency": "routine", "to": [{"unit": ALSO, "role": "information"}],
        "relation": {"type": "copy_of", "ref": REF},
    }  # fmt: skip
    raw = build_act(
        act_id=str(UUID(int=99, version=4)), iss=f"{HOTLINE}.aaaa", aud="https://x.example", iat=SENT, act=Act.SUBMIT,
        ref=OTHER, unit=None, prev=None, body=copy, signers=[KEY],
    )  # fmt: skip
    year.counting.act(parse_act(raw), Role.HOTLINE, SENT)
    assert year.counting.figures().counts == before
    assert publish(2026, year.counting.figures())["erased"] is None


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
    return _totals(counts)


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
    counts.update({"acknowledgement_routine.on_time": 12, "acknowledgement_routine.late": 2})
    counts.update({"acknowledgement_routine.none": 1, "basis.consent": 30, "basis.child_protection": 20})
    counts.update({"retention.standard": 50, "outcomes.trafficking_confirmed": 21, "outcomes.related_crime": 12})
    counts.update({"outcomes.not_located": 5})
    nothing: dict[str, tuple[int, ...]] = dict.fromkeys(URGENCIES, ())
    tables = publish(2026, Figures(_totals(counts), nothing, nothing))["tables"]
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
