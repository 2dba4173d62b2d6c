"""What a hotline has said to a unit that passed the referral on, or that had it while it was held for another, and that
the unit that has it now has not got.

A unit passes on what it was sent, sealed as it came; supplements, answers and notes stay with whom they were sealed to.
So whatever was said to an earlier unit, before or after it passed the referral on, the new one lacks until something is
sealed to it. Who approved the transfer makes no difference. What is released reaches its unit as it was submitted, with
the supplements that were sealed to it since, and without what the others were told meanwhile, whoever released it.

Must never: go by anything but acts that were verified, or call missing what the new unit was sent since.

Implements: R-62, R-73, R-110; design §10.
"""

from __future__ import annotations

from dataclasses import dataclass

from referral_api.auditlog.evidence import passed_on
from referral_api.client import consented
from referral_api.client.view import Referral, ShownAct
from referral_api.domain.policy import Relation
from referral_api.domain.terms import Term
from referral_api.domain.words import Act, DeliveryRole, Digest, PartyId, State
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
    if consented.is_withdrawn(referral):
        return None
    before = frozenset(str(act.unit) for act in passed_on(unit, [one.act for one in referral.acts if one.accepted]))
    if before:
        heard = said_to(referral, frozenset({unit}))
        said = [one for one in said_to(referral, before) if not heard or _place(one) > _place(heard[-1])]
    else:
        said = said_while_held(referral, unit)
    return Lacking(PartyId(unit), tuple(said)) if said else None


def said_while_held(referral: Referral, unit: str) -> list[ShownAct]:
    """What was said to those that were to act on the referral while it was held for this unit, and that this one lacks,
    oldest first. Empty once something was sealed to it after its release, and where it never stood by or has lost it to
    another unit.

    A supplement goes to who stands by as well, last of all: what came before the newest of those has reached it.
    """
    deliveries = referral.chronicle.deliveries
    own = deliveries[PartyId(unit)]
    if own.role is not DeliveryRole.ESCALATION or own.is_anothers:
        return []
    accepted = [one for one in referral.acts if one.accepted]
    # The first one: a later release gives back what another unit had taken.
    released = next((_place(one) for one in accepted if (one.act.act, one.act.unit) == (Act.RELEASED, unit)), None)
    heard = said_to(referral, frozenset({unit}))
    if released is not None and any(_place(one) > released for one in heard):
        return []
    newest = max((_place(one) for one in heard), default=None)
    acting = (one.unit for one in deliveries.values() if one.role is not DeliveryRole.INFORMATION and one.unit != unit)
    return [
        one
        for one in said_to(referral, frozenset(acting))
        if (released is None or _place(one) < released)
        and (newest is None or one.act.act is not Act.SUPPLEMENT or _place(one) > newest)
    ]


def _place(shown: ShownAct) -> tuple[Term, int]:
    return (shown.term, shown.index)


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
    return asked is not None and bool(heard) and _place(heard[-1]) > _place(asked)
