"""What happens to a referral before others get it: declined, sent anew, proposed to another unit, the line down.

Must never: take a step that no person takes.
"""

from __future__ import annotations

from typing import Any

import httpx2

from referral_api.client import passing
from referral_api.client.outbox import Entry, Progress
from referral_api.client.passing import Anew
from referral_api.domain.words import Act, PartyId
from tests.wire import Answer
from tests.world import OTHER_UNIT, World


def declined(world: World, reason: str = "out_of_jurisdiction", **more: Any) -> str:
    """A referral that its unit has read and declined."""
    ref = str(world.submit().outgoing.ref)
    world.acknowledge("officer", ref)
    assert world.act("officer", ref, Act.DECLINE, {"reason": reason, **more}).code is None
    return ref


def readdress(world: World, ref: str, unit: str = OTHER_UNIT, **more: Any) -> Entry:
    """The hotline sends it anew, out of its own copy."""
    operator = world.operator
    what = passing.readdressed(operator.pen, operator.referral(ref), Anew(PartyId(unit), **more))
    return world.after(operator.submit(what))


def transferred(world: World, ref: str, to: str = OTHER_UNIT) -> str:
    """The unit proposes another one; the digest of that."""
    officer = world.officer
    entry = world.after(passing.transfer(officer.pen, officer.referral(ref), to, "jurisdiction"))
    assert entry.state is Progress.RECEIVED
    return entry.outgoing.digest


def lost(_: Answer) -> Answer:
    """An answer that never arrives."""
    raise httpx2.ConnectError("the line is down")
