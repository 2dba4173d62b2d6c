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

from referral_api.auditlog.verification import verify_full
from referral_api.domain.words import State
from referral_api.server.service.reckoning import reckon
from tests.lifetime.house import House, memory, open_house
from tests.lifetime.parcels import Wanted
from tests.lifetime.unowned import BACK, CALL, RELEASE
from tests.simulation import tally
from tests.simulation.judge import CLOCKS, RUNGS, Judge, stored
from tests.simulation.tally import Tally
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
        town.search({unread})
    heading = f"{plan.years:g} years at {plan.factor:g} times the rate of 2006 and 2007, seed {plan.seed}"
    tally.write(folder, counted, town.told + town.searched, heading)
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
    judge = Judge()
    judge.listen(stored(rows), town.marks, house.now)
    if judge.faults:
        raise BrokenPromiseError(f"{len(judge.faults)} faults of its clocks, first {judge.faults[:5]}")
    counted = tally.count(rows, judge)
    deliveries = [one for chronicle in report.chronicles.values() for one in chronicle.deliveries.values()]
    kept = Counter(one.state.value for one in deliveries if one.purged_at is None)
    if kept:
        raise BrokenPromiseError(f"not forgotten in the end: {dict(kept)}")
    if any(row["body"] is not None for row in rows["sealed"]):
        raise BrokenPromiseError("ciphertext is left when everything is purged")
    missed = sorted(set(State) - town.states)
    if plan.whole and missed:
        raise BrokenPromiseError(f"states that nothing came by: {missed}")
    never = {*CLOCKS, *RUNGS.values(), CALL, BACK, RELEASE} - judge.said.keys()
    if plan.whole and never:
        raise BrokenPromiseError(f"clocks and rungs that never were to be heard: {sorted(never)}")
    return counted


def _notes(house: House, rows: Rows) -> dict[str, bytes]:
    signed = {log: house.runtime.exchange.signed(log) for log in rows.logs}
    return {log: one.note for log, one in signed.items() if one is not None}


def _one_more(town: Town) -> bytes:
    """A referral that nobody reads, so that a search that finds nothing is known to search; its mark."""
    town.send_referral(Wanted([(LOCALS[0], "action")]))
    return next(reversed(town.texts))
