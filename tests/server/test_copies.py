"""The door follows copies to what they are copies of: whom that excludes, no copy of a copy reaches (R-86)."""

from __future__ import annotations

from typing import Any

from referral_api.client.outbox import Entry, Progress
from referral_api.client.submission import Composition
from referral_api.domain.errors import ErrorCode
from referral_api.domain.words import COPY_OF, PartyId
from referral_api.formats.referral_body import parse_referral
from referral_api.formats.referral_copy import reduce_body
from referral_api.server.service.relations import LONGEST_LINE
from tests.world import NATIONAL, OTHER_UNIT, REFERRAL, UNIT, World, composition


def related(world: World, kind: str, ref: str, unit: str) -> Entry:
    """A submission as software of another make sends it: without a look at what its relation says."""
    relation: Any = {"type": kind, "ref": ref}
    if kind == COPY_OF:
        body = reduce_body(parse_referral(REFERRAL))
        return world.after(world.operator.submit(Composition(body, None, (PartyId(unit),), relation=relation)))
    return world.after(world.operator.submit(composition(action=unit, relation=relation)))


def test_a_copy_of_a_copy_is_refused_to_a_unit_that_the_first_one_excludes(world: World) -> None:
    ref = str(world.submit(excluded=(PartyId(OTHER_UNIT),)).outgoing.ref)
    for _ in range(2):
        made = related(world, COPY_OF, ref, NATIONAL)
        assert made.state is Progress.RECEIVED
        ref = str(made.outgoing.ref)
    refused = related(world, COPY_OF, ref, OTHER_UNIT)
    assert (refused.state, refused.code) == (Progress.REFUSED, ErrorCode.TARGET_NOT_ALLOWED)
    assert list(world.stranger.inbox()) == []
    assert related(world, COPY_OF, ref, UNIT).state is Progress.RECEIVED
    report = world.after(world.auditor.audit())
    assert report.complete, report.faults


def test_what_a_copied_referral_relates_to_otherwise_excludes_nobody_of_the_copy(world: World) -> None:
    """Another case that is related keeps out whom it likes, and so does what was addressed anew: its successor says
    itself whom it excludes (R-110).
    """
    first = str(world.submit(excluded=(PartyId(OTHER_UNIT),)).outgoing.ref)
    for kind in ("related_to", "replaces"):
        ref = str(related(world, kind, first, UNIT).outgoing.ref)
        assert related(world, COPY_OF, ref, OTHER_UNIT).state is Progress.RECEIVED


def test_the_door_follows_only_so_many_copies(world: World) -> None:
    """Each costs look-ups in the one transaction that everybody's acts wait for."""
    ref = str(world.submit().outgoing.ref)
    for _ in range(LONGEST_LINE):
        made = related(world, COPY_OF, ref, NATIONAL)
        assert made.state is Progress.RECEIVED
        ref = str(made.outgoing.ref)
    assert related(world, COPY_OF, ref, NATIONAL).code is ErrorCode.TARGET_NOT_ALLOWED
