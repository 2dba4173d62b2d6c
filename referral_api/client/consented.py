"""Whether the person still agrees to a referral's being shared, as far as its hotline has said that she does not, and
which units have not been told so.

Two acts say it: `consent_withdrawn`, and a `withdraw` with that reason. Whoever asks goes by both of them.

Must never: take a consent that was withdrawn for one that stands, a refused act for one that was said, or a unit for
told that was told before the referral came to it.

Implements: R-75, R-86, R-110; rule R7 of the field.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from referral_api.auditlog.evidence import passed_on
from referral_api.client.view import Referral
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Act, PartyId, ReferralId, State
from referral_api.formats.act import RawAct

APART = "related_to"
"""The relation that says of two referrals that they are different cases."""
WITHDRAWN = "consent_withdrawn"
"""The reason of a `withdraw` that says of the person's consent what the act of that name says."""


def says_withdrawn(act: RawAct) -> bool:
    """Whether an act says that the person no longer agrees: by its name, or as the reason of a `withdraw`."""
    body: Any = act.body
    return act.act is Act.CONSENT_WITHDRAWN or (act.act is Act.WITHDRAW and body.reason == WITHDRAWN)


def is_withdrawn(referral: Referral) -> bool:
    """Whether the hotline has said of any delivery that the person no longer agrees: then nobody else gets it."""
    return any(shown.accepted and says_withdrawn(shown.act) for shown in referral.acts)


def demand(referral: Referral, act: Act) -> None:
    """Send nothing further of a referral once consent was withdrawn (rule R7 of the field).

    Raises CONSENT_GATE (`consent-withdrawn`, with `ref`).
    """
    if is_withdrawn(referral):
        raise ReferralError(
            ErrorCode.CONSENT_GATE, act=act.value, ref=referral.ref, where="/consent/state", reason="consent-withdrawn"
        )


def relation_of(referral: Referral) -> tuple[str, ReferralId] | None:
    """What the submit says that this referral is to an earlier one: (code of `relation_type`, that referral)."""
    body: Any = referral.submit().act.body
    return None if body.relation is None else (body.relation.type, body.relation.ref)


def untold(referral: Referral) -> list[PartyId]:
    """The units whose delivery can still be told, and was not since the referral came to it."""
    deliveries = referral.chronicle.deliveries
    return [unit for unit in _unaware(referral) if deliveries[unit].state is not State.PURGED]


def beyond(referral: Referral, *, again: bool = False) -> tuple[PartyId, ...]:
    """The units that were not told and cannot be any more, for their delivery is purged, and that had read it: they
    keep a copy of their own. `again`: those too that were told before.
    """
    deliveries = referral.chronicle.deliveries
    units = [PartyId(unit) for unit in deliveries] if again else _unaware(referral)
    return tuple(unit for unit in units if deliveries[unit].state is State.PURGED and deliveries[unit].was_had)


def _unaware(referral: Referral) -> list[PartyId]:
    """The units that nobody told since the referral came to them."""
    accepted = [one.act for one in referral.acts if one.accepted]
    found = []
    for unit, own in referral.chronicle.deliveries.items():
        path = passed_on(unit, accepted)
        came = path[0].digest if path else referral.submit().act.digest
        since = accepted[[act.digest for act in accepted].index(came) + 1 :]
        if own.state is State.PURGED:
            # What was said to the whole referral afterwards reached it no more.
            ends = [at for at, act in enumerate(since) if act.act is Act.PURGED and act.unit == unit]
            since = since[: ends[-1]] if ends else since
        if not _knew(unit, since):
            found.append(PartyId(unit))
    return found


def _knew(unit: str, since: Sequence[RawAct]) -> bool:
    """Whether one of these acts told this unit. A `withdraw` passes by a delivery that was taken back before: of one on
    the whole referral that came second, nobody can tell whether it did, so it counts for nothing.
    """
    taken = False
    for act in since:
        if act.unit not in (None, unit):
            continue
        if act.act is Act.CONSENT_WITHDRAWN or (says_withdrawn(act) and (act.unit is not None or not taken)):
            return True
        taken = taken or act.act is Act.WITHDRAW
    return False
