"""The invented cast of the vectors and of the sealing tests: fixed seeds, one hotline, three units, one referral."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from referral_api.client import sealing
from referral_api.client.sealing import Draft, EncPrivateKey, OpenedBundle, Recipient, TrustedSender, enc_private_key
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import ActId, CredentialId, Digest, PartyId, ReferralId
from referral_api.formats.bundle import Address, RoutingHeader, SealRole
from referral_api.formats.contents import (
    BundleBody,
    Contents,
    ForwardBody,
    ForwardReason,
    KeysLogView,
    NoteBody,
)
from referral_api.formats.keys import Alg, SigningKey, signing_key
from referral_api.formats.signed import sign_jws
from referral_api.formats.strict_json import sha256_b64u

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
REF = ReferralId("019ab4f0-1c00-7abc-8def-0123456789ab")
OTHER_REF = ReferralId("019ab4f0-1c00-7abc-8def-0123456789ac")
ACT = ActId("0b7c2a3e-4d5f-4a6b-8c7d-9e0f1a2b3c4d")
AUDIENCE = "https://exchange.example"
HOTLINE, NEAR, FAR, NATIONAL = (PartyId(p) for p in ("linea-abierta", "unidad-norte", "unidad-sur", "unidad-nacional"))
OPERATOR, OFFICER = CredentialId("linea-abierta.op01"), CredentialId("unidad-norte.of01")
KEYS_LOG = KeysLogView("exchange.example/keys", 21, sha256_b64u(b"invented root"))

HOTLINE_ED = signing_key(Alg.ED25519, b"\x11" * 32)
HOTLINE_ML = signing_key(Alg.ML_DSA_65, b"\x12" * 32)
OFFICER_ED = signing_key(Alg.ED25519, b"\x13" * 32)
OFFICER_ES = signing_key(Alg.ES256, b"\x14" * 32)
STRANGER_ED = signing_key(Alg.ED25519, b"\x15" * 32)

NEAR_KEY = enc_private_key(Alg.HPKE_9, b"\x21" * 32)
FAR_KEY = enc_private_key(Alg.HPKE_9, b"\x22" * 32)
NATIONAL_KEY = enc_private_key(Alg.HPKE_10, b"\x23" * 32)
HOTLINE_KEY = enc_private_key(Alg.HPKE_9, b"\x24" * 32)

TO_NEAR = Recipient(NEAR_KEY.public, NEAR, SealRole.ACTION)
TO_FAR = Recipient(FAR_KEY.public, FAR, SealRole.INFORMATION)
TO_NATIONAL = Recipient(NATIONAL_KEY.public, NATIONAL, SealRole.ESCALATION)
TO_SELF = Recipient(HOTLINE_KEY.public, HOTLINE, SealRole.SENDER)

SENDERS = {
    OPERATOR: TrustedSender([HOTLINE_ED.public, HOTLINE_ML.public], [Alg.ED25519, Alg.ML_DSA_65]),
    OFFICER: TrustedSender([OFFICER_ED.public, OFFICER_ES.public], [Alg.ED25519]),
}
REFERRAL: dict[str, Any] = {"summary": "Relato inventado: la señora ficticia llama desde la estación.", "v": 1}


def find_sender(issuer: CredentialId, party: PartyId, _kids: object = ()) -> TrustedSender:
    """The reader's replica of the keys log, which here knows two people."""
    if issuer not in SENDERS or issuer.partition(".")[0] != party:
        raise ReferralError(ErrorCode.KEY_NOT_VALID)
    return SENDERS[issuer]


def draft(body: Any = None, **changes: Any) -> Draft:
    """The hotline's draft; `changes` replace its members."""
    return replace(Draft(REF, OPERATOR, AUDIENCE, KEYS_LOG, body or BundleBody(REFERRAL)), **changes)


def seal(
    said: Draft | None = None,
    recipients: tuple[Recipient, ...] = (TO_NEAR,),
    signers: tuple[SigningKey, ...] = (HOTLINE_ED, HOTLINE_ML),
) -> bytes:
    """An honest envelope."""
    return sealing.seal(said or draft(), recipients=recipients, signers=signers, now=NOW).raw


def open_with(raw: bytes, *keys: EncPrivateKey) -> OpenedBundle:
    """Open as the holder of `keys` (of all of them, when none is named)."""
    held = keys or (NEAR_KEY, FAR_KEY, NATIONAL_KEY, HOTLINE_KEY)
    return sealing.open_bundle(raw, {key.kid: key for key in held}, find_sender)


def forward_draft(original: bytes, prev: Digest | None = None, **changes: Any) -> Draft:
    """The officer of the near unit passes the hotline's document on; `prev` is the digest of what was opened."""
    body = ForwardBody(ForwardReason.TRANSFER, prev or Digest(sha256_b64u(b"what the officer opened")), original)
    return draft(body, issuer=OFFICER, **changes)


def note_draft(text: str = "Recibido; patrulla en camino.", **changes: Any) -> Draft:
    """The officer's sealed note beside an act."""
    return draft(NoteBody(ACT, text, case_number="EXP-0000-2026"), issuer=OFFICER, **changes)


def hostile(
    *,
    recipients: tuple[Recipient, ...] = (TO_NEAR,),
    signers: tuple[SigningKey, ...] = (HOTLINE_ED, HOTLINE_ML),
    routing_changes: dict[str, Any] | None = None,
    padding: int | None = None,
    cty: str | None = None,
    payload: bytes | None = None,
    **contents_changes: Any,
) -> bytes:
    """An envelope by somebody who holds real keys and lies: contents, header and padding can contradict each other."""
    cek = b"\x31" * 32
    to = tuple(Address(r.party, r.key.kid, r.role) for r in recipients)
    routing = replace(RoutingHeader(REF, HOTLINE, to, sealing.commitment(cek, REF)), **(routing_changes or {}))
    encoded = routing.encode()
    contents = replace(
        Contents(
            ref=REF,
            issuer=OPERATOR,
            party=HOTLINE,
            audience=AUDIENCE,
            to=to,
            signature_algs=tuple(signer.alg for signer in signers),
            routing_digest=sha256_b64u(encoded),
            keys_log=KEYS_LOG,
            salt=b"\x32" * 16,
            issued_at_s=int(NOW.timestamp()),
            body=BundleBody(REFERRAL),
        ),
        **contents_changes,
    )
    jws = sign_jws(payload or contents.encode(), typ=contents.typ, signers=signers)
    keys = [recipient.key for recipient in recipients]
    return sealing._encrypt(jws.ljust(padding or 0), cek, encoded, keys, cty or contents.typ)
