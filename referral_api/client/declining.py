"""What a unit must have done or say before it declines: a reason that rests on something names it.

The lifecycle knows states and not reasons, and what is on the log is there for ever: so this is judged before anything
is signed, on what the unit itself can see.

Must never: judge a hotline's `decline`, which answers a transfer, or ask for more than the reason says of itself.

Implements: R-72; design §10.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from referral_api.client.view import Referral
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Act

INSUFFICIENT = "insufficient_information"
DUPLICATE = "duplicate_of"


def demand_grounds(referral: Referral, body: Mapping[str, Any], unit: str | None) -> None:
    """Refuse to decline for too little information before anything was asked, or as a duplicate of nothing.

    Raises ILLEGAL_TRANSITION (`not-asked`: the unit has put no question); ACT_SCHEMA (`duplicate-unnamed`, for one that
    names this referral itself too).
    """
    if "answers" in body:
        return
    reason = body.get("reason")
    if reason == INSUFFICIENT and not _has_asked(referral, unit):
        raise ReferralError(ErrorCode.ILLEGAL_TRANSITION, act=Act.DECLINE.value, ref=referral.ref, reason="not-asked")
    if reason == DUPLICATE and body.get("duplicate_of") in (None, referral.ref):
        raise ReferralError(
            ErrorCode.ACT_SCHEMA,
            act=Act.DECLINE.value,
            ref=referral.ref,
            where="/duplicate_of",
            reason="duplicate-unnamed",
        )


def _has_asked(referral: Referral, unit: str | None) -> bool:
    return any(one.accepted and (one.act.act, one.act.party) == (Act.ASK, unit) for one in referral.acts)
