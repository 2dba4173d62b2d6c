"""A year that is over: an exchange with invented traffic of the last days of December, seen from January."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from referral_api.client import copying
from referral_api.client.submission import Composition
from referral_api.domain.words import Act, PartyId
from tests.signing import sign
from tests.story.passed_on import readdress
from tests.wire import Answer
from tests.world import OTHER_UNIT, REFERRAL, UNIT, Clock, World

YEAR = datetime.now(UTC).year
URGENT: dict[str, Any] = yaml.safe_load((Path(__file__).parents[2] / "examples/minima-lima.yaml").read_text())
EMERGENCIES, URGENT_ONES, LATE = 13, 12, 1


def moment(year: int, month: int, day: int, hour: int = 12) -> float:
    """Unix seconds of a moment (UTC)."""
    return datetime(year, month, day, hour, tzinfo=UTC).timestamp()


def set_clock(clock: Clock, at: float) -> None:
    """Let a clock show this moment now, and run on from it."""
    clock.ahead_s += at - clock()


def send(world: World, body: dict[str, Any] | None = None) -> str:
    """The hotline sends one referral to the unit; its id."""
    what = Composition(body=body or REFERRAL, action=PartyId(UNIT), operator="op-2")
    return str(world.operator.submit(what).outgoing.ref)


def live_a_year(world: World) -> list[str]:
    """Twelve emergencies taken and closed, one answered late and declined, twelve urgent ones that lie unread; and a
    copy, and what was sent anew for the declined one, which nothing counts.

    The referrals, in order.
    """
    refs = [send(world) for _ in range(EMERGENCIES)]
    officer = world.officer
    for ref in refs[LATE:]:
        officer.acknowledge(officer.open(ref))
        officer.act(ref, Act.ACCEPT, {})
        officer.act(ref, Act.CLOSE, {"outcome": "trafficking_confirmed"})
    copying.make_copy(world.operator, refs[LATE], [PartyId(OTHER_UNIT)])
    world.clock.ahead_s += 3600
    officer.acknowledge(officer.open(refs[0]))
    officer.act(refs[0], Act.DECLINE, {"reason": "conflict_of_interest"})
    readdress(world, refs[0])
    return refs + [send(world, URGENT) for _ in range(URGENT_ONES)]


def tell_calls(world: World, month: str, calls: int, by: str = "operator") -> Answer:
    """A hotline tells of its calls; the answer as it came."""
    act_id, text = sign(world.client(by), Act.CALL_TOTAL, {"month": month, "calls": calls}, None)
    return world.caller(by).call("PUT", f"/v1/directory/acts/{act_id}", {"act": text})


def statistics(world: World, year: int = YEAR, by: str = "auditor", **headers: str | None) -> Answer:
    """What the exchange answers who asks for a year's tables."""
    return world.caller(by).call("GET", f"/v1/statistics?year={year}", headers=headers)
