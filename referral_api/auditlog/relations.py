"""To what a submission relates, asked once more by whoever reads the whole log: only to what its own party submitted.

Must never: judge by what lies after the act, or accuse anybody of what a gap in the records may explain.

Implements: R-86, R-95 ("passed every gate").
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from referral_api.auditlog.evidence import Chronicle
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Act
from referral_api.formats.act import RawAct


def check_relation(
    act: RawAct,
    chronicles: Mapping[str, Chronicle],
    excluded: Mapping[str, Collection[str]],
    erased: Collection[str],
    *,
    gaps: bool,
) -> None:
    """That an accepted submission names an earlier one of its party, and that neither this nor, of a copy, what it is a
    copy of in its turn excludes a unit of it.

    `chronicles` are the referrals so far, `excluded` the units that each of them keeps out, a copy's with those of what
    it is a copy of (`passed_down`); `erased` are those of which anything was erased; `gaps` says that a record was not
    there. Raises TAMPERED (`reason` `relation` or `excluded`).
    """
    body: Any = act.body
    if act.act is not Act.SUBMIT or body.relation is None or body.relation.ref in erased:
        return
    earlier = chronicles.get(body.relation.ref)
    reason = None
    if earlier is None or earlier.sender is None:
        reason = None if gaps else "relation"
    elif earlier.sender != act.party:
        reason = "relation"
    elif body.is_copy and not {to.unit for to in body.to}.isdisjoint(excluded.get(body.relation.ref, ())):
        reason = "excluded"
    if reason is not None:
        raise ReferralError(ErrorCode.TAMPERED, what="gate", act=act.act.value, digest=act.digest, reason=reason)


def passed_down(act: RawAct, excluded: Mapping[str, Collection[str]], erased: Collection[str]) -> frozenset[str]:
    """The units that a copy's original keeps out, and what that is a copy of: from now on the copy's too (R-86).

    None of an original of which anything was erased: the door may have known no more of it either.
    """
    body: Any = act.body
    if act.act is not Act.SUBMIT or not body.is_copy or body.relation.ref in erased:
        return frozenset()
    return frozenset(excluded.get(body.relation.ref, ()))
