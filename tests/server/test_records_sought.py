"""R-98: auditors find records by index, party, referral, kind and time, page by page, and are on the record for it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from referral_api.auditlog.leaf import parse_leaf
from referral_api.auditlog.records import RecordRead, Sought, parse_record
from referral_api.client.audit import inspection
from referral_api.client.audit.sources import MirrorSource
from referral_api.domain.terms import Term
from referral_api.domain.words import Act
from referral_api.server.service import evidence
from tests.world import UNIT, World
from tests.world_check import Rows


def year_of(world: World) -> int:
    return datetime.fromtimestamp(world.clock(), UTC).year


def find(world: World, query: str) -> dict[str, Any]:
    """One page of what an auditor asks for."""
    answer = world.caller("auditor").call("GET", f"/v1/records/{year_of(world)}?{query}")
    assert answer.status == 200, answer.body
    found: dict[str, Any] = answer.json
    return found


def find_all(world: World, query: str, limit: int) -> list[int]:
    """The indices on all pages, which follow one another without gap or repetition."""
    indices: list[int] = []
    at: int | None = 0
    while at is not None:
        page = find(world, f"{query}&from={at}&limit={limit}")
        assert len(page["records"]) <= limit
        indices += [one["index"] for one in page["records"]]
        assert page["next"] is None or page["next"] > at
        at = page["next"]
    assert indices == sorted(set(indices))
    return indices


def behind(world: World) -> dict[int, tuple[str, str | None, str]]:
    """Kind, referral and party of what stands behind each leaf of this year, from the rows themselves."""
    rows, first = Rows(world), year_of(world) << 40
    found = {row["pos"] - first: (row["act"], row["ref"], row["party"]) for row in rows["act"]}
    return found | {row["pos"] - first: (row["kind"], row["ref"], row["party"]) for row in rows["record"]}


def told(world: World) -> RecordRead:
    """The newest record of a reading of records."""
    rows = sorted((row for row in Rows(world)["record"] if row["kind"] == "record_read"), key=lambda row: row["pos"])
    record = parse_record(rows[-1]["body"].encode())
    assert isinstance(record, RecordRead)
    return record


def lived(world: World) -> str:
    """Two referrals, one of them acknowledged and accepted; its id."""
    ref = str(world.submit().outgoing.ref)
    world.submit()
    world.acknowledge("officer", ref)
    world.act("officer", ref, Act.ACCEPT, {})
    return ref


@pytest.mark.parametrize("window", [2048, 7], ids=["in one look", "looking through a few leaves a call"])
def test_every_record_that_fits_is_found_and_no_other(
    world: World, monkeypatch: pytest.MonkeyPatch, window: int
) -> None:
    monkeypatch.setattr(evidence, "MAX_LOOKED_THROUGH", window)
    ref = lived(world)
    before = behind(world)
    asked: dict[str, Callable[[str, str | None, str], bool]] = {
        f"ref={ref}": lambda kind, of, party: of == ref,
        f"party={UNIT}": lambda kind, of, party: party == UNIT,
        "kind=submit": lambda kind, of, party: kind == "submit",
        "kind=retrieved": lambda kind, of, party: kind == "retrieved",
        f"party={UNIT}&ref={ref}&kind=ack": lambda kind, of, party: (kind, of, party) == ("ack", ref, UNIT),
    }
    for query, fits in asked.items():
        expected = [index for index, one in sorted(before.items()) if fits(*one)]
        for limit in (200, 2):
            found = [index for index in find_all(world, query, limit) if index in before]
            assert found == expected, (query, limit)
        assert expected


def test_a_bound_of_time_takes_exactly_the_leaves_within(world: World) -> None:
    lived(world)
    world.clock.ahead_s += 60
    lived(world)
    times = [parse_leaf(leaf).logged_s for leaf in Rows(world).logs[f"audit/{year_of(world)}"]]
    for since, until in ((times[0], times[-1]), (times[-1], times[-1] + 1), (times[0] - 9, times[0]), (0, 10**10 - 1)):
        expected = [index for index, at in enumerate(times) if since <= at < until]
        found = find_all(world, f"since={since}&until={until}", 200)
        assert [index for index in found if index < len(times)] == expected


def test_what_was_looked_through_and_for_is_on_the_record(world: World) -> None:
    ref = lived(world)
    size = len(Rows(world).logs[f"audit/{year_of(world)}"])
    page = find(world, f"ref={ref}&from=2&limit=1")
    record = told(world)
    assert record.sought == Sought(ref=ref)
    assert (record.start, record.start + record.count) == (2, page["next"])
    assert page["records"][0]["index"] < page["next"] <= size
    find(world, f"party={UNIT}&kind=accept")
    record = told(world)
    assert record.sought == Sought(party=UNIT, kind="accept")
    assert (record.start, record.count) == (0, size + 1)
    find(world, "from=3&limit=2")
    record = told(world)
    assert (record.sought, record.start, record.count) == (None, 3, 2)


def test_a_mirror_is_searched_as_the_exchange_searches(world: World, tmp_path: Path) -> None:
    """R-98: the same words find the same records, whoever does the searching."""
    ref = lived(world)
    world.clock.ahead_s += 60
    lived(world)
    auditor, term = world.auditor, Term(year_of(world))
    end = auditor.mirror(tmp_path / "mirror")[term.log]
    source = MirrorSource(tmp_path / "mirror")
    times = [item.at for item in inspection.search_mirror(auditor.session, source, term, 0, {})]
    filters = [
        {"ref": ref}, {"party": UNIT}, {"kind": "submit"}, {"kind": "retrieved"}, {"party": UNIT, "kind": "ack"},
        {"since": str(times[-1])}, {"until": str(times[-1])}, {"since": str(times[0]), "until": str(times[0] + 1)},
    ]  # fmt: skip
    for wanted in filters:
        here = [item.index for item in inspection.search_mirror(auditor.session, source, term, 0, wanted)]
        there = [item.index for item in inspection.search(auditor.session, term, 0, wanted) if item.index < end]
        assert here == there, wanted
        assert here, wanted
