"""Sealing and opening bundles: the one module that holds decryption keys and decrypts (a lint and a test see to it).

Sealing signs, then encrypts to every recipient or to none. Opening finds its own key by kid, checks the content-key
commitment, decrypts, and then believes nothing until the recipient set agrees three times (routing header, signed
contents, actual recipients), the header's digest is the signed one, and every signature verifies.

Must never: try keys one after the other, seal to a key that is not hybrid, tell one decryption failure from another,
hand out contents that failed a check, or write plaintext anywhere.

Implements: R-23, R-25, R-26, R-27 (design §6, bundle; §5, possession); RFC 7516 §5 with the key
encryption of draft-ietf-jose-hpke-encrypt-22 (Recipient_structure "JOSE-HPKE rcpt").
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple, Protocol, TypeAlias

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec, mlkem, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import MLKEM768X25519PrivateKey, MLKEM1024P384PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import CredentialId, Digest, Kid, PartyId, ReferralId
from referral_api.formats.bundle import (
    EK_BYTES,
    ENC,
    IV_BYTES,
    JWE_TYPE,
    TAG_BYTES,
    Address,
    PartsNotice,
    RoutingHeader,
    SealedBundle,
    SealedRecipient,
    SealRole,
    bundle_malformed,
    padded_length,
    parse_bundle,
)
from referral_api.formats.contents import (
    MAX_JWS_BYTES,
    SALT_BYTES,
    Body,
    BundleBody,
    Contents,
    ForwardBody,
    KeysLogView,
    parse_contents,
)
from referral_api.formats.keys import Alg, PublicKey, SigningKey, parse_public_key
from referral_api.formats.possession import NONCE_BYTES, POSSESSION_INFO, SUITES, seal_to
from referral_api.formats.signed import BUNDLE, RawJws, parse_jws, sign_jws, verify_jws
from referral_api.formats.strict_json import b64u, canonical, sha256_b64u, unb64u

RECIPIENT_INFO = b"JOSE-HPKE rcpt\xff" + ENC.encode("ascii") + b"\xff"
COMMITMENT_LABEL = b"referral-1/cek-commit"
SEED_BYTES = 32
_CEK_BYTES = 32

_HpkePrivateKey: TypeAlias = MLKEM768X25519PrivateKey | MLKEM1024P384PrivateKey


@dataclass(frozen=True, slots=True)
class EncPrivateKey:
    """A decryption key. `seed` is all of it: 32 bytes to keep under a passphrase, on paper, or to destroy."""

    public: PublicKey
    seed: bytes = field(repr=False, compare=False)
    native: _HpkePrivateKey = field(repr=False, compare=False)

    @property
    def kid(self) -> Kid:
        """The public key's thumbprint."""
        return self.public.kid


class Recipient(NamedTuple):
    """One key to seal to, and why (formats/bundle.py SealRole)."""

    key: PublicKey
    party: PartyId
    role: SealRole


@dataclass(frozen=True, slots=True)
class Draft:
    """What a sender says, before sealing: the inner document less what sealing itself decides."""

    ref: ReferralId
    issuer: CredentialId
    audience: str
    keys_log: KeysLogView
    body: Body
    notices: tuple[PartsNotice, ...] = ()


class TrustedSender(NamedTuple):
    """The reader's own knowledge of a signer: its seal keys, and the algorithms its statement requires."""

    keys: Sequence[PublicKey]
    required: Collection[Alg]


FindSender: TypeAlias = Callable[[CredentialId, PartyId, Collection[Kid]], TrustedSender]
"""Looks a signer up in the reader's replica of the keys log (credential, party, the keys that the signatures name);
raises what it likes when there is none."""


class ContentKeys(Protocol):
    """Where a reader keeps the content keys of what it has opened, for when the key it was sealed to is destroyed."""

    def find(self, bundle: Digest) -> bytes | None:
        """The content key of an envelope by the digest of its bytes, if it was ever opened here."""

    def keep(self, bundle: Digest, key: bytes) -> None:
        """Keep it, sealed for this machine alone."""


@dataclass(frozen=True, slots=True)
class OpenedDocument:
    """Verified contents with the exact JWS that proves them: what a unit keeps as evidence."""

    contents: Contents
    jws: RawJws


@dataclass(frozen=True, slots=True)
class OpenedBundle:
    """An envelope that held. For a forward, `original` is the first sender's document, verified on its own."""

    sealed: SealedBundle
    document: OpenedDocument
    opened_with: Kid | None
    """None: with the content key that was kept when it was first opened."""
    original: OpenedDocument | None = None

    @property
    def referral(self) -> OpenedDocument:
        """The document that holds the referral body; raises BUNDLE_MALFORMED for a note, which has none."""
        found = self.original or self.document
        if not isinstance(found.contents.body, BundleBody):
            raise bundle_malformed("contents")
        return found

    @property
    def written_at(self) -> datetime:
        """When the referral in it was sealed first, as its sender's clock said (UTC)."""
        return datetime.fromtimestamp(self.referral.contents.issued_at_s, UTC)


def generate_enc_key(alg: Alg) -> EncPrivateKey:
    """A new decryption key of 32 random bytes, made on this machine and nowhere else."""
    return enc_private_key(alg, os.urandom(SEED_BYTES))


def enc_private_key(alg: Alg, seed: bytes) -> EncPrivateKey:
    """The decryption key of a seed; SHAKE256 expands it as draft-irtf-cfrg-concrete-hybrid-kems lays down.

    Raises KEY_UNSUITABLE: `length`, `algorithm`, `scalar` (a P-384 number out of range; once in 2^190, draw again).
    """
    if len(seed) != SEED_BYTES:
        raise ReferralError(ErrorCode.KEY_UNSUITABLE, reason="length")
    if alg is Alg.HPKE_9:
        return _hpke_9_private_key(seed)
    if alg is Alg.HPKE_10:
        return _hpke_10_private_key(seed)
    raise ReferralError(ErrorCode.KEY_UNSUITABLE, reason="algorithm")


def answer_challenge(private: EncPrivateKey, sealed: bytes) -> bytes:
    """The nonce that formats/possession.py challenge sealed to this key; raises DECRYPT_FAILED."""
    nonce = decapsulate(private, sealed, POSSESSION_INFO)
    if len(nonce) != NONCE_BYTES:
        raise _failed()
    return nonce


def seal(
    draft: Draft, *, recipients: Sequence[Recipient], signers: Sequence[SigningKey], now: datetime
) -> SealedBundle:
    """Sign a draft and seal it to all recipients; the result has passed the checks that the exchange makes.

    Every call draws a fresh content key, IV and salt, so sealing again after a doubt is always safe.
    Raises KEY_UNSUITABLE (a recipient's key is no hybrid KEM key), TOO_LARGE, RECIPIENT_MISMATCH, BUNDLE_MALFORMED.
    """
    party = PartyId(draft.issuer.partition(".")[0])
    cek = os.urandom(_CEK_BYTES)
    to = tuple(Address(recipient.party, recipient.key.kid, recipient.role) for recipient in recipients)
    routing = RoutingHeader(draft.ref, party, to, commitment(cek, draft.ref), draft.notices).encode()
    contents = Contents(
        ref=draft.ref,
        issuer=draft.issuer,
        party=party,
        audience=draft.audience,
        to=to,
        signature_algs=tuple(signer.alg for signer in signers),
        routing_digest=sha256_b64u(routing),
        keys_log=draft.keys_log,
        salt=os.urandom(SALT_BYTES),
        issued_at_s=int(now.timestamp()),
        body=draft.body,
    )
    jws = _sign(contents, signers)
    sealed = parse_bundle(_encrypt(jws, cek, routing, [each.key for each in recipients], contents.typ))
    # What the recipients would refuse is refused here, while the sender can still do something about it.
    body = contents.body
    _check_attachments(sealed, _read(body.original, BUNDLE)[1] if isinstance(body, ForwardBody) else contents)
    return sealed


def open_bundle(
    raw: bytes,
    private_keys: Mapping[Kid, EncPrivateKey],
    find_sender: FindSender,
    find_first_sender: FindSender | None = None,
    kept: ContentKeys | None = None,
) -> OpenedBundle:
    """Open an envelope with one of the reader's own keys and verify everything that it claims.

    `find_first_sender` tells the keys of whoever signed the original inside a forward; by default `find_sender` does.
    What opens leaves its content key in `kept`, and opens with that where none of `private_keys` is meant any more.

    Raises as `parse_bundle`, and: NO_USABLE_KEY (sealed to none of these keys), DECRYPT_FAILED (of whatever cause),
    BUNDLE_MALFORMED (`contents`), RECIPIENT_MISMATCH (`signed`), DIGEST_MISMATCH (`header`, `ref`, `attachments`),
    SIGNATURE_INVALID (as `verify_jws`, or `sender`: the signer is not of the party that the envelope names).
    """
    sealed = parse_bundle(raw)
    mine = next((recipient for recipient in sealed.recipients if recipient.kid in private_keys), None)
    cek = None if kept is None or mine is not None else kept.find(sealed.sha256)
    if mine is not None:
        cek = _content_key(mine, private_keys[mine.kid])
    if cek is None:
        raise ReferralError(ErrorCode.NO_USABLE_KEY)
    text, kid = _decrypt(sealed, cek), None if mine is None else mine.kid
    if kept is not None and mine is not None:
        kept.keep(sealed.sha256, cek)
    jws, contents = _read(text, sealed.cty)
    _check_envelope(sealed, contents)
    _verify(jws, contents, find_sender)
    document = OpenedDocument(contents, jws)
    if not isinstance(contents.body, ForwardBody):
        _check_attachments(sealed, contents)
        return OpenedBundle(sealed, document, kid)
    original_jws, original = _read(contents.body.original, BUNDLE)
    if original.ref != contents.ref:
        raise ReferralError(ErrorCode.DIGEST_MISMATCH, reason="ref")
    _verify(original_jws, original, find_first_sender or find_sender)
    _check_attachments(sealed, original)
    return OpenedBundle(sealed, document, kid, OpenedDocument(original, original_jws))


def commitment(cek: bytes, ref: ReferralId) -> bytes:
    """HMAC-SHA-256 of the content key: without it AES-GCM would let one ciphertext open differently for two units."""
    return hmac.digest(cek, COMMITMENT_LABEL + b"\x00" + ref.encode("ascii") + b"\x01", hashlib.sha256)


def _sign(contents: Contents, signers: Sequence[SigningKey]) -> bytes:
    payload = contents.encode()
    parse_contents(payload, contents.typ)
    jws = sign_jws(payload, typ=contents.typ, signers=signers)
    limit = MAX_JWS_BYTES[contents.typ]
    if len(jws) > limit:
        raise ReferralError(ErrorCode.TOO_LARGE, limit=limit)
    return jws


def _encrypt(jws: bytes, cek: bytes, routing: bytes, keys: Sequence[PublicKey], cty: str) -> bytes:
    protected_text = b64u(canonical({"cty": cty, "enc": ENC, "typ": JWE_TYPE}))
    aad_text = b64u(routing)
    iv = os.urandom(IV_BYTES)
    padded = jws.ljust(padded_length(len(jws)), b" ")
    sealed = AESGCM(cek).encrypt(iv, padded, _associated_data(protected_text, aad_text))
    recipients = []
    for key in keys:
        wrapped = seal_to(key, cek, info=RECIPIENT_INFO)
        ek, encrypted_key = wrapped[: EK_BYTES[key.alg]], wrapped[EK_BYTES[key.alg] :]
        header = {"alg": key.alg.value, "ek": b64u(ek), "kid": key.kid}
        recipients.append({"encrypted_key": b64u(encrypted_key), "header": header})
    return canonical(
        {
            "aad": aad_text,
            "ciphertext": b64u(sealed[:-TAG_BYTES]),
            "iv": b64u(iv),
            "protected": protected_text,
            "recipients": recipients,
            "tag": b64u(sealed[-TAG_BYTES:]),
        }
    )


def _content_key(recipient: SealedRecipient, private: EncPrivateKey) -> bytes:
    # One error for every cause: ML-KEM answers a damaged encapsulation with another key, so the cause is unknowable,
    # and an attacker who feeds envelopes to a unit must learn nothing from how they fail.
    return decapsulate(private, unb64u(recipient.ek_text) + unb64u(recipient.encrypted_key_text), RECIPIENT_INFO)


def _decrypt(sealed: SealedBundle, cek: bytes) -> bytes:
    if not hmac.compare_digest(commitment(cek, sealed.routing.ref), sealed.routing.commitment):
        raise _failed()
    associated = _associated_data(sealed.protected_text, sealed.aad_text)
    try:
        padded = AESGCM(cek).decrypt(sealed.iv, unb64u(sealed.ciphertext_text) + sealed.tag, associated)
    except InvalidTag:
        raise _failed() from None
    return padded.rstrip(b" ")


def decapsulate(private: EncPrivateKey, sealed: bytes, info: bytes) -> bytes:
    """What was sealed to this key (`ek`, then ciphertext) under this `info`. Raises DECRYPT_FAILED."""
    try:
        return SUITES[private.public.alg].decrypt(sealed, private.native, info=info)
    except (InvalidTag, ValueError):
        raise _failed() from None


def _read(text: bytes, typ: str) -> tuple[RawJws, Contents]:
    try:
        jws = parse_jws(text, typ=typ, max_bytes=MAX_JWS_BYTES[typ])
    except ReferralError as error:
        if error.code is ErrorCode.MALFORMED:
            raise bundle_malformed(error.facts["reason"]) from None
        raise
    return jws, parse_contents(jws.payload, typ)


def _check_envelope(sealed: SealedBundle, contents: Contents) -> None:
    if contents.party != sealed.routing.from_party:
        raise ReferralError(ErrorCode.SIGNATURE_INVALID, reason="sender")
    if contents.to != sealed.routing.to:
        raise ReferralError(ErrorCode.RECIPIENT_MISMATCH, reason="signed")
    if contents.ref != sealed.routing.ref:
        raise ReferralError(ErrorCode.DIGEST_MISMATCH, reason="ref")
    if contents.routing_digest != sealed.routing_digest:
        raise ReferralError(ErrorCode.DIGEST_MISMATCH, reason="header")


def _check_attachments(sealed: SealedBundle, contents: Contents) -> None:
    keyed = [each.id for each in contents.body.attachments] if isinstance(contents.body, BundleBody) else []
    if [notice.id for notice in sealed.routing.attachments] != keyed:
        raise ReferralError(ErrorCode.DIGEST_MISMATCH, reason="attachments")


def _verify(jws: RawJws, contents: Contents, find_sender: FindSender) -> None:
    present = tuple(signature.alg for signature in jws.signatures)
    for alg in contents.signature_algs:
        if alg not in present:
            raise ReferralError(ErrorCode.SIGNATURE_INVALID, reason="required", alg=alg.value)
    if len(present) != len(contents.signature_algs):
        raise ReferralError(ErrorCode.SIGNATURE_INVALID, reason="undeclared")
    sender = find_sender(contents.issuer, contents.party, [one.kid for one in jws.signatures])
    verify_jws(jws, sender.keys, required=sender.required)


def _associated_data(protected_text: str, aad_text: str) -> bytes:
    return f"{protected_text}.{aad_text}".encode("ascii")


def _failed() -> ReferralError:
    return ReferralError(ErrorCode.DECRYPT_FAILED)


def _hpke_9_private_key(seed: bytes) -> EncPrivateKey:
    expanded = hashlib.shake_256(seed).digest(64 + 32)
    post_quantum = mlkem.MLKEM768PrivateKey.from_seed_bytes(expanded[:64])
    classical = x25519.X25519PrivateKey.from_private_bytes(expanded[64:])
    pub = post_quantum.public_key().public_bytes_raw() + classical.public_key().public_bytes_raw()
    return EncPrivateKey(_akp(Alg.HPKE_9, pub), seed, MLKEM768X25519PrivateKey(post_quantum, classical))


def _hpke_10_private_key(seed: bytes) -> EncPrivateKey:
    expanded = hashlib.shake_256(seed).digest(64 + 48)
    post_quantum = mlkem.MLKEM1024PrivateKey.from_seed_bytes(expanded[:64])
    try:
        classical = ec.derive_private_key(int.from_bytes(expanded[64:], "big"), ec.SECP384R1())
    except ValueError:
        raise ReferralError(ErrorCode.KEY_UNSUITABLE, reason="scalar") from None
    point = classical.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    pub = post_quantum.public_key().public_bytes_raw() + point
    return EncPrivateKey(_akp(Alg.HPKE_10, pub), seed, MLKEM1024P384PrivateKey(post_quantum, classical))


def _akp(alg: Alg, pub: bytes) -> PublicKey:
    return parse_public_key({"alg": alg.value, "kty": "AKP", "pub": b64u(pub)})
