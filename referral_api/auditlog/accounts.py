"""What a party states of itself: whose right it is, which months it may be about, and what counts in the end.

The door and every auditor hold an act against the same rule.

Must never: take the word of a service for it, or of anybody about a month that has not begun.

Implements: R-103.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from referral_api.domain import policy
from referral_api.domain.disclosure import THRESHOLD
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import CredentialKind, Role
from referral_api.formats.act import RawAct


def check_account(act: RawAct, role: Role, kind: CredentialKind, at: int) -> None:
    """Raise NOT_PERMITTED unless a person of a hotline signed it, and ACT_SCHEMA for a month that begins after `at`
    (unix seconds, the exchange's time).
    """
    policy.demand(act.act, role, kind, policy.Relation.OWN)
    body: Any = act.body
    if str(body.month) > datetime.fromtimestamp(at, UTC).strftime("%Y-%m"):
        raise ReferralError(ErrorCode.ACT_SCHEMA, act=act.act.value, where="/body/month", reason="out-of-range")


def verify_account(act: RawAct, role: Role, kind: CredentialKind, at: int) -> None:
    """Raise TAMPERED (`gate`, `reason`) for one that the exchange had to refuse."""
    try:
        check_account(act, role, kind, at)
    except ReferralError as refused:
        reason = refused.code.value
        raise ReferralError(
            ErrorCode.TAMPERED, what="gate", act=act.act.value, digest=act.digest, reason=reason
        ) from None


def calls_of(year: int, accounts: Iterable[RawAct], referrals: int | None) -> dict[str, int | None]:
    """The member `calls` of a year's tables, from accepted acts in log order: for each hotline and month the latest
    counts. `referrals` is the published total. Months told of, calls in them, and calls to one referral.
    """
    told: dict[tuple[str, str], int] = {}
    for act in accounts:
        body: Any = act.body
        if str(body.month).startswith(f"{year}-"):
            told[act.party, body.month] = body.calls
    total = sum(told.values())
    shown = None if total < THRESHOLD else total
    return {
        "months": len(told),
        "total": shown,
        "per_referral": round(shown / referrals) if shown and referrals else None,
    }
