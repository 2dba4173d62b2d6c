"""What the door asks of a submission beside rights and lifecycle, asked once more by whoever reads the whole log.

Must never: judge by what lies after the act, or accuse anybody of what a gap in the records may explain.

Implements: R-64 (exclusions), R-83, R-86, R-95 ("passed every gate").
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from referral_api.auditlog.erasures import Erasures
from referral_api.auditlog.evidence import Chronicle
from referral_api.domain.consent import check_tuple
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Act, CredentialKind
from referral_api.formats.act import RawAct
from referral_api.formats.statements import KeyMap


@dataclass(slots=True)
class Gates:
    """The gates of one walk. `chronicles` are the referrals so far, which grow outside."""

    chronicles: Mapping[str, Chronicle]
    erasures: Erasures
    _excluded: dict[str, set[str]] = field(default_factory=dict)

    def check(self, act: RawAct, kind: CredentialKind | None, at: int, keymap: KeyMap, *, gaps: bool) -> None:
        """Consent and the operator (R-83), and what a submission relates to (R-86); who is excluded is noted.

        `gaps` says that a record was not there, so that an earlier referral may be missing for that alone. Raises
        TAMPERED (`reason`) where the exchange let through what it had to refuse.
        """
        body: Any = act.body
        fault = None
        if act.act is Act.SUBMIT:
            try:
                check_tuple(body.basis, body.identity_level, None if body.override is None else body.override.reason)
            except ReferralError as refused:
                fault = refused.code.value
            if kind is CredentialKind.SERVICE and (body.operator is None or body.override is not None):
                fault = ErrorCode.NOT_PERMITTED.value
            named = None if body.override is None else body.override.second_person
            if named is not None and not keymap.is_second_person(named, act.iss, at):
                fault = "second-person"
            fault = fault or self._relation_fault(act, gaps=gaps)
        elif act.act is Act.ROUTE:
            self._excluded.setdefault(str(act.ref), set()).update(body.excluded)
        if fault is not None:
            raise _gate(act, fault)

    def check_excluded(self, act: RawAct) -> None:
        """No unit that a referral excludes may have a delivery of it (R-64). Raises TAMPERED."""
        deliveries = self.chronicles[str(act.ref)].deliveries
        if self._excluded.get(str(act.ref), set()) & deliveries.keys():
            raise _gate(act, "excluded")

    def _relation_fault(self, act: RawAct, *, gaps: bool) -> str | None:
        body: Any = act.body
        if body.relation is None or body.relation.ref in self.erasures.first:
            return None  # What was erased may have been the sender's.
        earlier = self.chronicles.get(body.relation.ref)
        if earlier is None or earlier.sender is None:
            return None if gaps else "relation"
        if earlier.sender != act.party:
            return "relation"
        if body.is_copy and self._excluded.get(body.relation.ref, set()) & {to.unit for to in body.to}:
            return "excluded"
        return None


def _gate(act: RawAct, reason: str) -> ReferralError:
    return ReferralError(ErrorCode.TAMPERED, what="gate", act=act.act.value, digest=act.digest, reason=reason)
