"""The only JWS code of the project: General JSON, one or two signatures, a closed header.

The payload is signed as the exact bytes that were written; nothing is canonicalised. Reading (`parse_jws`) and trusting
(`verify_jws`) are two steps, because between them the reader looks up the keys of whoever the payload names.

Must never: choose an algorithm from a header alone, accept a header member beyond alg, kid and typ, verify only some
of the signatures, or treat signature bytes as an identity (ES256 ones are malleable; digests are of payloads).

Implements: R-03, R-08, R-09, R-10 (design §6: act, receipt, header rule); RFC 7515 §7.2.1; RFC 9864 and RFC 9964 for
the algorithm names.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.resources import files
from typing import Any, NamedTuple

from cryptography.exceptions import UnsupportedAlgorithm

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Digest, Kid
from referral_api.formats.keys import (
    SIGNATURE_ALGS,
    SIGNATURE_BYTES,
    Alg,
    PublicKey,
    SigningKey,
    parse_public_key,
    verify_signature,
)
from referral_api.formats.strict_json import b64u, canonical, malformed, parse, sha256_b64u, unb64u

ACT = "referral-act+jws"
RECEIPT = "referral-receipt+jws"
BUNDLE = "referral-bundle+jws"
FORWARD = "referral-forward+jws"
NOTE = "referral-note+jws"
KEY = "referral-key+jws"
TYPES = frozenset({ACT, RECEIPT, BUNDLE, FORWARD, NOTE, KEY})
"""Every `typ` of the profile: one for each kind of signed document, so that none can stand for another."""

MAX_PROTECTED_BYTES = 1024
MAX_SIGNATURES = 2
_MAX_PROTECTED_CHARS = (MAX_PROTECTED_BYTES * 4 + 2) // 3
_DIGEST_BYTES = 32
_SELF_TEST_BYTES = 64 * 1024

REMEMBERED = 1 << 14
"""Of how many signatures a process knows that they have verified, in some two megabytes; then it begins anew.

One process replays, audits and packs the same log many times, and nearly a fifth of that went into signatures that it
had verified before. Whether one verifies depends on nothing but key, text and signature: whether the key may be
trusted, and with what, is judged each time.
"""
_verified: set[bytes] = set()


@dataclass(frozen=True, slots=True)
class RawSignature:
    """One signature as it came: well-formed and not yet checked. `protected` is the header as transmitted."""

    alg: Alg
    kid: Kid
    protected: str
    signature: bytes


@dataclass(frozen=True, slots=True)
class RawJws:
    """A well-formed JWS whose signatures nobody has checked yet. `raw` is the text as received."""

    raw: bytes
    typ: str
    payload: bytes
    payload_text: str
    signatures: tuple[RawSignature, ...]
    digest: Digest
    """SHA-256 of the decoded payload: the act digest (R-12), and any signed document's identity."""

    @property
    def raw_digest(self) -> Digest:
        """SHA-256 of the text as received: the leaf's `d` when this serialisation is the one that is stored."""
        return Digest(b64u(hashlib.sha256(self.raw).digest()))


class _Header(NamedTuple):
    alg: Alg
    kid: Kid
    typ: str


def parse_jws(raw: bytes, *, typ: str, max_bytes: int) -> RawJws:
    """Read a JWS of one `typ` and at most `max_bytes`, checking form and nothing else.

    Raises TOO_LARGE; MALFORMED with the reasons of formats/strict_json.py and `members` (not exactly payload and
    signatures), `signatures` (not one or two, or two by one key or algorithm), `header` (not exactly alg, kid, typ,
    or over 1 KiB), `algorithm` (not one of the three), `length` (of a signature); WRONG_TYPE (`expected`).
    """
    document = parse(raw, max_bytes=max_bytes)
    payload_text, entries = _members(document, "payload", "signatures")
    if not isinstance(payload_text, str) or not isinstance(entries, list):
        raise malformed("members")
    if not 1 <= len(entries) <= MAX_SIGNATURES:
        raise malformed("signatures")
    signatures = tuple(_parse_signature(entry, typ) for entry in entries)
    if len(signatures) == 2 and (signatures[0].alg is signatures[1].alg or signatures[0].kid == signatures[1].kid):
        raise malformed("signatures")
    payload = unb64u(payload_text)
    return RawJws(raw, typ, payload, payload_text, signatures, sha256_b64u(payload))


def verify_jws(
    jws: RawJws,
    keys: Sequence[PublicKey] | Mapping[Kid, PublicKey],
    *,
    required: Collection[Alg] = (),
    anew: bool = False,
) -> bytes:
    """Return the payload once every signature present verifies and every `required` algorithm is among them.

    `keys` are the signer's keys that the reader trusts for this purpose, listed or by kid; a kid only looks one up.
    What has verified in this process is remembered, unless it is to be computed `anew`; what has not, never.
    Raises SIGNATURE_INVALID with `reason`: `unknown-key` (`kid`), `algorithm` (the header's is not the key's),
    `required` (`alg` is absent: a stripped signature), `forged` (`alg`, `kid`).
    """
    known = keys if isinstance(keys, Mapping) else {key.kid: key for key in keys}
    present = {signature.alg for signature in jws.signatures}
    for alg in sorted(required):
        if alg not in present:
            raise ReferralError(ErrorCode.SIGNATURE_INVALID, reason="required", alg=alg.value)
    payload = jws.payload_text.encode("ascii")
    for signature in jws.signatures:
        key = known.get(signature.kid)
        if key is None:
            raise ReferralError(ErrorCode.SIGNATURE_INVALID, reason="unknown-key", kid=signature.kid)
        if key.alg is not signature.alg:
            raise ReferralError(ErrorCode.SIGNATURE_INVALID, reason="algorithm", kid=signature.kid)
        _verify_once(key, b"%b.%b" % (signature.protected.encode("ascii"), payload), signature.signature, anew=anew)
    return jws.payload


def _verify_once(key: PublicKey, signing_input: bytes, signature: bytes, *, anew: bool) -> None:
    # All that stands before the signed text has a length that its algorithm gives: no two triples have one digest.
    seen = hashlib.sha256(b"".join((key.kid.encode("ascii"), signature, signing_input))).digest()
    if seen in _verified and not anew:
        return
    verify_signature(key, signing_input, signature)
    if len(_verified) >= REMEMBERED:
        _verified.clear()
    _verified.add(seen)


def sign_jws(payload: bytes, *, typ: str, signers: Sequence[SigningKey]) -> bytes:
    """Sign exact payload bytes with one or two keys of different algorithms; compact JSON, signatures in that order.

    With deterministic signers (Ed25519) the same call gives the same bytes. An unknown `typ` or set of signers is a
    programmer's error (ValueError).
    """
    if typ not in TYPES:
        raise ValueError("not a typ of the profile")
    if not 1 <= len(signers) <= MAX_SIGNATURES or len({signer.alg for signer in signers}) != len(signers):
        raise ValueError("one or two signers of different algorithms")
    payload_text = b64u(payload)
    signatures: list[dict[str, str]] = []
    for signer in signers:
        protected = _protected(signer.alg, signer.kid, typ)
        signature = signer.sign(f"{protected}.{payload_text}".encode("ascii"))
        signatures.append({"protected": protected, "signature": b64u(signature)})
    return canonical({"payload": payload_text, "signatures": signatures})


def self_test() -> None:
    """Prove on a known document that this machine's library verifies Ed25519, ES256 and ML-DSA-65; run at start.

    Raises SELF_TEST_FAILED (`what` is `signatures`) when a true signature fails or an altered one passes.
    """
    known = files("referral_api.formats").joinpath("self_test.json").read_bytes()
    _check_known_answers(parse(known, max_bytes=_SELF_TEST_BYTES))


def _check_known_answers(known: Mapping[str, Any]) -> None:
    keys = [parse_public_key(jwk) for jwk in known["keys"]]
    failed = ReferralError(ErrorCode.SELF_TEST_FAILED, what="signatures")
    for text in known["documents"]:
        jws = parse_jws(text.encode("ascii"), typ=RECEIPT, max_bytes=_SELF_TEST_BYTES)
        try:
            verify_jws(jws, keys, anew=True)
        except (ReferralError, UnsupportedAlgorithm):
            raise failed from None
        for signature in jws.signatures:
            altered = replace(jws, payload_text=b64u(b"altered"), signatures=(signature,))
            try:
                verify_jws(altered, keys, anew=True)
            except ReferralError:
                continue
            raise failed


@lru_cache(maxsize=1024)
def _protected(alg: Alg, kid: Kid, typ: str) -> str:
    # A busy signer writes the same header every time.
    return b64u(canonical({"alg": alg.value, "kid": kid, "typ": typ}))


def _members(document: Any, *names: str) -> list[Any]:
    if not isinstance(document, dict) or len(document) != len(names):
        raise malformed("members")
    try:
        return [document[name] for name in names]
    except KeyError:
        raise malformed("members") from None


def _parse_signature(entry: Any, typ: str) -> RawSignature:
    protected, signature_text = _members(entry, "protected", "signature")
    if not isinstance(protected, str) or not isinstance(signature_text, str):
        raise malformed("members")
    header = _parse_header(protected)
    if header.typ != typ:
        raise ReferralError(ErrorCode.WRONG_TYPE, expected=typ)
    signature = unb64u(signature_text, exact=SIGNATURE_BYTES[header.alg])
    return RawSignature(header.alg, header.kid, protected, signature)


@lru_cache(maxsize=4096)
def _parse_header(protected: str) -> _Header:
    # One signer writes the same header every time, so a busy exchange reads each of them once.
    if len(protected) > _MAX_PROTECTED_CHARS:
        raise malformed("header")
    header = parse(unb64u(protected), max_bytes=MAX_PROTECTED_BYTES)
    if not isinstance(header, dict) or header.keys() != {"alg", "kid", "typ"}:
        raise malformed("header")
    if not all(isinstance(value, str) for value in header.values()):
        raise malformed("header")
    if header["alg"] not in SIGNATURE_ALGS:
        raise malformed("algorithm")
    try:
        unb64u(header["kid"], exact=_DIGEST_BYTES)
    except ReferralError:
        raise malformed("header") from None
    return _Header(Alg(header["alg"]), Kid(header["kid"]), header["typ"])
