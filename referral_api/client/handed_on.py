"""What a hotline has said to a unit that passed the referral on, and that the unit that has it now has not got.

A unit passes on what it was sent, sealed as it came; supplements, answers and notes stay with whom they were sealed to.
So whatever was said to an earlier unit, before or after it passed the referral on, the new one lacks until something is
sealed to it. Who approved the transfer makes no difference.

Must never: go by anything but acts that were verified, or call missing what the new unit was sent since.

Implements: R-62, R-73, R-110; design §10.
"""

from __future__ import annotations

from dataclasses import dataclass

from referral_api.auditlog.evidence import passed_on
from referral_api.client import consented
from referral_api.client.view import Referral, ShownAct
from referral_api.domain.policy import Relation
from referral_api.domain.words import Act, Digest, PartyId, State
from referral_api.formats.bodies import sealed_of

_SAID = frozenset({Act.SUPPLEMENT, Act.ANSWER, Act.NOTE})
"""Acts by which a hotline tells one unit more."""
_HAS_IT = frozenset({State.SUBMITTED, State.RETRIEVED, State.ACKNOWLEDGED, State.ACCEPTED})
"""Where a unit acts on the referral, or is about to."""


@dataclass(frozen=True, slots=True)
class Lacking:
    """What a unit lacks that has the referral now: each act, sealed to a unit that had it before, oldest first."""

    unit: PartyId
    said: tuple[ShownAct, ...]

    @property
    def kinds(self) -> frozenset[Act]:
        """The kinds of these acts."""
        return frozenset(one.act.act for one in self.said)


def said_to(referral: Referral, units: frozenset[str]) -> list[ShownAct]:
    """What its hotline has sealed to any of these units beside the submission, in log order."""
    return [
        one
        for one in referral.acts
        if one.accepted
        and one.act.act in _SAID
        and one.act.unit in units
        and one.act.party == referral.chronicle.sender
        and sealed_of(one.act.body) is not None
    ]


def lacking(referral: Referral, unit: str) -> Lacking | None:
    """What this unit lacks of what was said to those that had the referral before it; None where that is nothing, where
    it has it no more, and to everybody but the sender. Where consent was withdrawn nothing further is sent.
    """
    own = referral.chronicle.deliveries.get(PartyId(unit))
    if referral.relation is not Relation.SENDER or own is None or own.state not in _HAS_IT:
        return None
    before = frozenset(str(act.unit) for act in passed_on(unit, [one.act for one in referral.acts if one.accepted]))
    if not before or consented.is_withdrawn(referral):
        return None
    heard = said_to(referral, frozenset({unit}))
    since = (heard[-1].term, heard[-1].index) if heard else None
    said = [one for one in said_to(referral, before) if since is None or (one.term, one.index) > since]
    return Lacking(PartyId(unit), tuple(said)) if said else None


def said_on_the_way(referral: Referral, unit: str) -> frozenset[Act]:
    """The kinds of what was said to this unit and those before it: whomever it passes the referral on to lacks it."""
    way = passed_on(unit, [one.act for one in referral.acts if one.accepted])
    return frozenset(one.act.act for one in said_to(referral, frozenset({unit, *(str(act.unit) for act in way)})))


def has_it_now(referral: Referral, unit: str) -> PartyId | None:
    """The unit that acts on the referral now, out of those that `unit` passed it on to; None where it did not, or where
    none of them acts on it any more.
    """
    accepted = [one.act for one in referral.acts if one.accepted]
    for other, own in referral.chronicle.deliveries.items():
        if own.state in _HAS_IT and unit in {act.unit for act in passed_on(other, accepted)}:
            return PartyId(other)
    return None


def is_heard_since(referral: Referral, unit: str, digest: Digest | str) -> bool:
    """Whether the hotline has sealed something to this unit since the act with this digest."""
    asked = next((one for one in referral.acts if one.act.digest == digest), None)
    heard = said_to(referral, frozenset({unit}))
    return asked is not None and bool(heard) and (heard[-1].term, heard[-1].index) > (asked.term, asked.index)
