"""Key entries: the leaf of the keys log that brings one public key, signed by whoever holds it.

A signing or access key signs its own entry, so nobody can enrol a key that is not theirs. An encryption key cannot
sign: the enrolling credential's seal keys vouch for it, and `possession` is the SHA-256 of the nonce that the exchange
had sealed to it and got back. `nonce` is the digest of the invitation that the key was made for; of the exchange's own
keys (R-37) it is the root, so that a key is proved for this exchange and no other.

Must never: decide whether a key may be used (formats/statements.py), hold a private key beyond the caller's signers.

Implements: docs/protocol.md R-31; design §5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Digest, KeyUse, Kid, PartyId
from referral_api.formats import fields, signed
from referral_api.formats.keys import ENCRYPTION_ALGS, Alg, PublicKey, SigningKey, parse_public_key
from referral_api.formats.strict_json import canonical, parse

MAX_KEY_ENTRY_BYTES = 12 * 1024
"""An ML-DSA-65 key that signs its own entry takes 8.4 kB: its 1,952 bytes are encoded twice, its signature once."""

ALGS: Mapping[KeyUse, frozenset[Alg]] = {
    KeyUse.ACCESS: frozenset({Alg.ED25519, Alg.ES256}),
    KeyUse.SEAL: frozenset({Alg.ED25519, Alg.ES256, Alg.ML_DSA_65}),
    KeyUse.ENC: ENCRYPTION_ALGS,
    KeyUse.BACKUP: ENCRYPTION_ALGS,
    KeyUse.TOKEN: frozenset({Alg.ED25519}),
    KeyUse.RECEIPT: frozenset({Alg.ED25519}),
    KeyUse.ACT: frozenset({Alg.ED25519, Alg.ES256, Alg.ML_DSA_65}),
    KeyUse.LOG: frozenset({Alg.ED25519}),
}
"""Which algorithms suit which use; access keys authenticate to the exchange, where ML-DSA-65 has no standard (R-41)."""
ENCRYPTION_USES = frozenset({KeyUse.ENC, KeyUse.BACKUP})
EXCHANGE_USES = frozenset({KeyUse.TOKEN, KeyUse.RECEIPT, KeyUse.ACT, KeyUse.LOG})
"""What the exchange's own keys are for; the entry of such a key has the exchange as its party and no invitation."""


class KeyEntryPayload(fields.Document):
    """The signed payload of a key entry, member for member (R-31)."""

    v: fields.Version1
    party: fields.Party
    use: Literal["access", "seal", "enc", "backup", "token", "receipt", "act", "log"]
    jwk: dict[str, str]
    nonce: fields.Sha256
    iat: Annotated[int, Field(ge=fields.EARLIEST_S, le=fields.LATEST_S)]
    possession: fields.Sha256 | None


@dataclass(frozen=True, slots=True)
class RawKeyEntry:
    """A well-formed key entry whose signatures nobody has checked; `public` itself has passed every check on a key."""

    jws: signed.RawJws
    party: PartyId
    use: KeyUse
    public: PublicKey
    nonce: Digest
    iat: int
    possession: Digest | None

    @property
    def kid(self) -> Kid:
        """The thumbprint of the key that it brings."""
        return self.public.kid

    @property
    def signed_by(self) -> tuple[Kid, ...]:
        """The keys that its signatures name."""
        return tuple(signature.kid for signature in self.jws.signatures)


def parse_key_entry(raw: bytes) -> RawKeyEntry:
    """Read a key entry: form, members, the key itself, and whether its algorithm suits its use.

    Raises TOO_LARGE, MALFORMED, WRONG_TYPE; ACT_SCHEMA (`where`, `reason`); KEY_UNSUITABLE (`reason` of
    formats/keys.py, or `use`).
    """
    jws = signed.parse_jws(raw, typ=signed.KEY, max_bytes=MAX_KEY_ENTRY_BYTES)
    payload = KeyEntryPayload.parse(parse(jws.payload, max_bytes=MAX_KEY_ENTRY_BYTES), code=ErrorCode.ACT_SCHEMA)
    use = KeyUse(payload.use)
    public = parse_public_key(payload.jwk)
    if public.alg not in ALGS[use]:
        raise ReferralError(ErrorCode.KEY_UNSUITABLE, reason="use", kid=public.kid)
    if (payload.possession is None) == (use in ENCRYPTION_USES):
        raise ReferralError(ErrorCode.ACT_SCHEMA, where="/possession", reason="contradiction")
    if use not in ENCRYPTION_USES and tuple(signature.kid for signature in jws.signatures) != (public.kid,):
        raise ReferralError(ErrorCode.POSSESSION_NOT_PROVED, reason="not-self-signed", kid=public.kid)
    return RawKeyEntry(jws, payload.party, use, public, payload.nonce, payload.iat, payload.possession)


def verify_key_entry(entry: RawKeyEntry, seal_keys: Mapping[Kid, PublicKey]) -> PublicKey:
    """The key, once its entry's signatures verify: under the key itself, or under `seal_keys` for an encryption key.

    Raises POSSESSION_NOT_PROVED with the `reason` of formats/signed.py and the `kid`.
    """
    trusted = seal_keys if entry.use in ENCRYPTION_USES else {entry.kid: entry.public}
    try:
        signed.verify_jws(entry.jws, trusted)
    except ReferralError as error:
        raise ReferralError(ErrorCode.POSSESSION_NOT_PROVED, reason=error.facts.get("reason"), kid=entry.kid) from None
    return entry.public


def build_key_entry(
    *,
    party: str,
    use: KeyUse,
    jwk: Mapping[str, str],
    nonce: str,
    iat: int,
    possession: str | None,
    signers: Sequence[SigningKey],
) -> bytes:
    """Sign one key entry: `signers` is the key itself, or the seal keys of whoever enrols an encryption key.

    Raises what `parse_key_entry` raises, so that nothing leaves that the exchange would refuse for its form.
    """
    payload: dict[str, Any] = {
        "v": 1,
        "party": party,
        "use": use.value,
        "jwk": dict(jwk),
        "nonce": nonce,
        "iat": iat,
        "possession": possession,
    }
    raw = signed.sign_jws(canonical(payload), typ=signed.KEY, signers=signers)
    parse_key_entry(raw)
    return raw
