"""One run of the simulation: the years, then everything that must have held in them, then the report.

Must never: report what has not been checked.
"""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from referral_api.auditlog.verification import verify_full
from referral_api.domain.words import State
from referral_api.server.service.reckoning import reckon
from tests.lifetime.house import House, memory, open_house
from tests.lifetime.parcels import Wanted
from tests.simulation import tally
from tests.simulation.tally import RUNGS, Tally
from tests.simulation.town import LOCALS, PARTIES, BrokenPromiseError, Town
from tests.world import ISSUER
from tests.world_check import (
    Rows,
    RowSource,
    _root,
    _terms,
    check_clocks,
    check_inboxes,
    check_one_leaf_for_each_record,
    check_sealed,
    check_states,
)

SOUGHT: Final = 40
"""Of how many purged bundles every byte on the disk is searched."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to simulate. A short run need not come by every state."""

    years: float
    factor: float
    seed: int
    whole: bool = True


def simulate(plan: Plan, folder: Path, say: Callable[[str], None]) -> Tally:
    """Live through it, check it, and write the report into `folder`. Raises AssertionError where anything is wrong."""
    with tempfile.TemporaryDirectory(dir=memory()) as place:
        with open_house(Path(place), PARTIES) as house:
            town = Town(house, random.Random(plan.seed), plan.seed, plan.years, plan.factor, say)  # noqa: S311
            town.live()
            say("The years are over; checking")
            counted = _check(town, plan)
            unread = _one_more(town)
        _search(Path(place), town, unread)
    heading = f"{plan.years:g} years at {plan.factor:g} times the rate of 2006 and 2007, seed {plan.seed}"
    tally.write(folder, counted, town.told, heading)
    say((folder / "report.md").read_text())
    return counted


def _check(town: Town, plan: Plan) -> Tally:
    """The log from outside, the states from the acts, the operator's own audit, and what the run itself promises."""
    house = town.house
    rows = Rows(house)
    check_one_leaf_for_each_record(rows)
    report = verify_full(RowSource(rows, _notes(house, rows)), _root(rows), _terms(rows), {}, issuer=ISSUER)
    if not report.complete:
        raise BrokenPromiseError(report.faults)
    check_states(rows, report.chronicles)
    check_sealed(rows, report.chronicles)
    check_clocks(rows, report.chronicles, (), house.clock())
    check_inboxes(rows, report.chronicles)
    with house.runtime.exchange.database.read(snapshot=True) as conn:
        findings = reckon(conn, issuer=ISSUER)
    if not findings.complete:
        raise BrokenPromiseError(findings.differences)
    counted = tally.count(rows)
    if counted.unsaid:
        raise BrokenPromiseError(f"late, and nobody said so: {counted.unsaid[:5]}")
    deliveries = [one for chronicle in report.chronicles.values() for one in chronicle.deliveries.values()]
    kept = Counter(one.state.value for one in deliveries if one.purged_at is None)
    if kept:
        raise BrokenPromiseError(f"not forgotten in the end: {dict(kept)}")
    if any(row["body"] is not None for row in rows["sealed"]):
        raise BrokenPromiseError("ciphertext is left when everything is purged")
    missed = sorted(set(State) - town.states)
    if plan.whole and missed:
        raise BrokenPromiseError(f"states that nothing came by: {missed}")
    climbed = set().union(*counted.rungs.values())
    if plan.whole and climbed != set(RUNGS):
        raise BrokenPromiseError(f"rungs that nothing came by: {set(RUNGS) - climbed}")
    return counted


def _notes(house: House, rows: Rows) -> dict[str, bytes]:
    signed = {log: house.runtime.exchange.signed(log) for log in rows.logs}
    return {log: one.note for log, one in signed.items() if one is not None}


def _one_more(town: Town) -> str:
    """A referral that nobody reads, so that a search that finds nothing is known to search."""
    town.send_referral(Wanted([(LOCALS[0], "action")]))
    return next(reversed(town.bundles))


def _search(place: Path, town: Town, unread: str) -> None:
    """Every byte of the exchange's folders: of what was purged nothing is there, of what was not, something is."""
    files = [path.read_bytes() for path in place.rglob("*") if path.is_file()]
    if not any(town.bundles[unread] in raw for raw in files):
        raise BrokenPromiseError("the search does not find what is there")
    purged = [ref for ref in town.bundles if ref != unread]
    for ref in purged[:: max(1, len(purged) // SOUGHT)]:
        if any(town.bundles[ref] in raw for raw in files):
            raise BrokenPromiseError(f"ciphertext of {ref} is on the disk after its purge")
