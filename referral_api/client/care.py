"""What a sender's client demands of a referral before it seals anything, beyond what body and act say of each other.

Must never: seal or send, or let a question of who agreed be answered by the exchange alone.

Implements: R-83 (second person), R-86 (what is left out); rules R6 and R9 of the field.
"""

from __future__ import annotations

from referral_api.client.keystore import CredentialKeys
from referral_api.client.session import Session
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Act, CredentialId, CredentialKind
from referral_api.formats.referral_body import ReferralBody
from referral_api.formats.referral_findings import check_spare

SECOND_PERSON = "/consent/override/second_person"


def demand_care(
    session: Session, keys: CredentialKeys, body: ReferralBody, agreed: tuple[CredentialId, int] | None = None
) -> None:
    """To share against a refusal takes two persons of the hotline, whom the keys log knows today; and nothing travels
    that a referral of its urgency has no need of.

    A supplement rests on what two persons agreed to when the referral was sent: `agreed` is who signed it and when
    (unix seconds). Whoever of them is gone since, or sends the supplement, has agreed all the same.

    Raises NOT_PERMITTED (`needs`) for a service, CONSENT_GATE (`where`, `reason` `second-person`), MALFORMED (`where`,
    `reason`).
    """
    check_spare(body)
    override = body.consent.override
    if override is None:
        return
    own = session.keymap.find_credential(keys.credential)
    if own is not None and own.kind is CredentialKind.SERVICE:
        raise ReferralError(ErrorCode.NOT_PERMITTED, act=Act.SUBMIT.value, needs="person")
    signer, at = agreed or (keys.credential, session.now())
    if not session.keymap.is_second_person(override.second_person, signer, at):
        pair = (SECOND_PERSON, "second-person")
        raise ReferralError(ErrorCode.CONSENT_GATE, where=pair[0], reason=pair[1], findings=[pair])
