"""Whether a later referral of one's own has taken the place of an earlier one, so that somebody acts on it there.

What the exchange names as related is a hint where to look (R-54). A copy, a supplement, a duplicate or another case
takes nobody's place, and neither does a successor that nobody has.

Must never: believe that a referral was replaced before the later one's own submit has verified and says so.

Implements: R-110; design §10.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from referral_api.client import consented, passing, recalling
from referral_api.client.outbox import Outbox, Progress
from referral_api.client.view import Referral
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.policy import Relation
from referral_api.domain.words import DeliveryRole, ReferralId, State

_FALLEN: Final = passing.LEFT_OPEN - {State.WITHDRAWN}
"""States of what somebody else must be found for, unless another referral has taken its place."""


@dataclass(frozen=True, slots=True)
class Place:
    """What one referral says: which earlier one it replaces, and whether somebody acts on it, or has acted."""

    replaces: ReferralId | None
    stands: bool


@dataclass(frozen=True, slots=True)
class Replaced:
    """Whether a referral was replaced, and which of those named as later ones could not be had or believed."""

    replaced: bool = False
    problems: tuple[tuple[ReferralId, ReferralError], ...] = ()


def place_of(referral: Referral) -> Place:
    """What a verified referral of ours says of its place."""
    relation = consented.relation_of(referral)
    earlier = relation[1] if relation is not None and relation[0] == passing.REPLACES else None
    acting = [one for one in referral.chronicle.deliveries.values() if one.role is not DeliveryRole.INFORMATION]
    did = any(one.was_accepted and one.state in (State.CLOSED, State.PURGED) for one in acting)
    return Place(earlier, did or bool(passing.in_hand(referral)))


def replaced(places: Mapping[ReferralId, Place]) -> set[ReferralId]:
    """Of these referrals those in whose place, at once or in turn, another one of them stands."""
    found = set[ReferralId]()
    for place in places.values():
        earlier = place.replaces if place.stands else None
        while earlier is not None and earlier not in found:
            found.add(earlier)
            earlier = None if earlier not in places else places[earlier].replaces
    return found


def look(fetch: Callable[[ReferralId], Referral], outbox: Outbox, referral: Referral) -> Replaced:
    """Whether this referral of ours was replaced, by what is fetched and verified now; nothing is asked where that
    makes no difference. What cannot be had or does not verify replaces nothing and is among `problems`.
    """
    if referral.relation is not Relation.SENDER or not _is_left(referral):
        return Replaced()
    places, problems = {referral.ref: place_of(referral)}, list[tuple[ReferralId, ReferralError]]()
    queue = _later(outbox, referral)
    while queue:
        ref = queue.pop(0)
        if ref in places:
            continue
        try:
            found = fetch(ref)
        except ReferralError as error:
            problems.append((ref, error))
            if error.code is ErrorCode.UNREACHABLE:
                break
            continue
        if found.relation is not Relation.SENDER:
            problems.append((ref, ReferralError(ErrorCode.TAMPERED, shown="referral", what="view", reason="not-ours")))
            continue
        places[ref] = place_of(found)
        if places[ref].replaces in places:
            queue += _later(outbox, found)
    return Replaced(referral.ref in replaced(places), tuple(problems))


def _is_left(referral: Referral) -> bool:
    deliveries = referral.chronicle.deliveries.values()
    return any(one.state in _FALLEN or (one.state is State.CLOSED and not one.was_accepted) for one in deliveries)


def _later(outbox: Outbox, referral: Referral) -> list[ReferralId]:
    """What is named as later than this one, and what went out from here."""
    return list(dict.fromkeys([*referral.later, *_arrived(outbox, recalling.later_submits(outbox, referral.ref))]))


def _arrived(outbox: Outbox, refs: Iterable[ReferralId]) -> list[ReferralId]:
    """Those that the exchange has: what waits here replaces nothing yet."""
    there = {
        one.outgoing.ref for one in outbox.entries() if one.receipt is not None and one.state is not Progress.REFUSED
    }
    return [one for one in refs if one in there]
