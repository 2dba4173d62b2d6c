"""Putting right a status that a unit reported wrongly: a new status that names the earlier one.

Must never: name what is no accepted status of the same unit on the same referral, for nobody could read it together.

Implements: R-74.
"""

from __future__ import annotations

from typing import Any

from referral_api.client.view import Referral, ShownAct
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Act, Digest


def reported(referral: Referral, unit: str) -> list[ShownAct]:
    """Every status that a unit has reported, oldest first."""
    return [one for one in referral.acts if one.accepted and (one.act.act, one.act.unit) == (Act.STATUS, unit)]


def corrected(referral: Referral, unit: str) -> set[Digest]:
    """The digests of those that a later one has put right."""
    named = {target_of(one) for one in reported(referral, unit)}
    return {one.act.digest for one in reported(referral, unit)} & named


def target_of(shown: ShownAct) -> Digest | None:
    """The digest of the status that this one puts right; None of every other act."""
    body: Any = shown.act.body
    corrects: Digest | None = getattr(body, "corrects", None) if shown.accepted else None
    return corrects


def demand_reported(referral: Referral, unit: str, digest: str) -> None:
    """Refuse to correct what the unit has not reported: ILLEGAL_TRANSITION (`no-such-status`, `known`: digests)."""
    known = [one.act.digest for one in reported(referral, unit)]
    if digest not in known:
        raise ReferralError(
            ErrorCode.ILLEGAL_TRANSITION, act=Act.STATUS.value, reason="no-such-status", digest=digest, known=known
        )
