"""What the door asks of an act beside rights and lifecycle, asked again by whoever verifies the log.

An exchange that lets through what it has to refuse is the kind of fault that no signature shows: the act is good, and
so is the receipt. Each gate is judged by the keys log as of the act's leaf.

Must never: pass an act because its exchange did. Implements: R-61, R-83, R-85, R-95.
"""

from __future__ import annotations

from typing import Any

from referral_api.domain import borders
from referral_api.domain.consent import check_tuple
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Act, CredentialKind
from referral_api.formats.act import RawAct
from referral_api.formats.statements import KeyMap


def check_gates(act: RawAct, kind: CredentialKind | None, at: int, keymap: KeyMap, sender: str | None) -> None:
    """Consent and the operator (R-61, R-83), and the border (R-85), of an act on a referral that `sender` submitted
    (None: nobody has yet).

    Raises TAMPERED (`reason`) where the exchange let through what it had to refuse.
    """
    body: Any = act.body
    fault = None
    if act.act is Act.SUBMIT:
        try:
            check_tuple(body.basis, body.identity_level, None if body.override is None else body.override.reason)
            for to in body.to:
                borders.check_addressed(
                    to.unit, keymap.country_of(to.unit), keymap.country_of(act.party), body.agreement
                )
        except ReferralError as refused:
            fault = refused.code.value
        if kind is CredentialKind.SERVICE and (body.operator is None or body.override is not None):
            fault = ErrorCode.NOT_PERMITTED.value
        named = None if body.override is None else body.override.second_person
        if named is not None and not keymap.is_second_person(named, act.iss, at):
            fault = "second-person"
    elif act.act is Act.TRANSFER and sender is not None:
        try:
            borders.check_passed_on(body.to, keymap.country_of(body.to), keymap.country_of(sender))
        except ReferralError as refused:
            fault = refused.code.value
    if fault is not None:
        raise let_through(act, fault)


def let_through(act: RawAct, reason: str) -> ReferralError:
    """The alarm over an act that the exchange had to refuse."""
    return ReferralError(ErrorCode.TAMPERED, what="gate", act=act.act.value, digest=act.digest, reason=reason)
