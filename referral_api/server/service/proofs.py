"""DPoP proofs: who holds the key that a token is bound to, for this one call, now (RFC 9449).

A proof is read with our own strict reader: signature and public key of formats/keys.py, no general JOSE library on
the path that every call takes. Time is judged last, so that a caller whose clock is wrong learns exactly that, and by
how much; a proof that carries a nonce of ours is judged by the nonce alone. Verifying changes nothing: the single use
is claimed by the caller.

Must never: take the target from a Host or X-Forwarded-* header, choose an algorithm that the key does not have,
decrypt anything (a nonce is readable server time under an HMAC), or accept a proof twice by two rules (nonce and iat
are never both tried).

Implements: R-42, R-43; RFC 9449 §4.3, §8; RFC 3986 §6.2.2 and §6.2.3 for `htu`.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Never, TypeGuard
from urllib.parse import urlsplit

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Kid
from referral_api.formats.keys import Alg, PublicKey, parse_public_key, verify_signature
from referral_api.formats.strict_json import b64u, malformed, parse, unb64u

MAX_PROOF_BYTES = 2048
PAST_S = 60
"""How old a proof without a nonce may be."""
FUTURE_S = 15
"""How far a caller's clock may run ahead before a nonce is asked for."""
NONCE_S = 300
"""How long a nonce answers for the caller's clock."""
PROCESS_SKEW_S = 30
"""How far the clocks of the exchange's own processes may differ: added to every lifetime in the replay store."""
MAX_JTI_CHARS = 64
MAX_CLIENTS = 10_000
"""For how many clients what they send again and again is kept read: tokens, keys of proofs, nonces. Clients poll in
turn, so that a cache with room for all but one of them would hold, each time, every one but the one that is asked for.
"""
PROOF_ALGS = (Alg.ES256, Alg.ED25519)

_MAX_NONCE_CHARS = 64
_NONCE_BODY = struct.Struct(">QQ")
_MAC_BYTES = 16
_PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"})
_MATERIAL = {("EC", "P-256"): (Alg.ES256, ("x", "y")), ("OKP", "Ed25519"): (Alg.ED25519, ("x",))}
_PERCENT = re.compile(r"%([0-9A-Fa-f]{2})?")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_DEFAULT_PORT = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True)
class RawCompact:
    """A compact JWS taken apart: strictly read, its signature not yet checked."""

    header: bytes
    payload: bytes
    signing_input: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class Proof:
    """A verified proof: signature, target and time fit. Whoever acts on it claims `use` first."""

    jkt: Kid
    """RFC 7638 thumbprint of the proof's key."""
    use: bytes
    """SHA-256 over thumbprint and jti: what the replay store remembers."""
    issued_at: int
    epoch: int | None
    """The epoch of the replay store that the proof's nonce names; None: the proof was judged by `issued_at`."""
    use_from: int
    """The first unix second in which it can have been used: if the replay store is younger, it cannot know."""
    use_until: int
    """Until when any process of the exchange might still accept it: the replay store keeps it as long."""


class Nonces:
    """Server time under an HMAC, for callers whose own clock cannot be believed (R-43).

    A nonce names the epoch of the replay store in which it was made, so that one made before the store was lost is
    never taken afterwards, whatever the clocks say.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        # A client sends one nonce with every call for five minutes.
        self._read = lru_cache(maxsize=MAX_CLIENTS)(self._read_anew)

    def mint(self, epoch: int, now: int) -> str:
        """A nonce that is valid for NONCE_S seconds in this epoch."""
        body = _NONCE_BODY.pack(now, epoch)
        return b64u(body + self._mac(body))

    def find(self, text: str, now: int) -> tuple[int, int] | None:
        """When the nonce was made and its epoch, or None if it is not ours, too old, or from the future."""
        read = self._read(text) if len(text) <= _MAX_NONCE_CHARS else None
        if read is None or not now - NONCE_S <= read[0] <= now + PROCESS_SKEW_S:
            return None
        return read

    def _read_anew(self, text: str) -> tuple[int, int] | None:
        try:
            raw = unb64u(text, exact=_NONCE_BODY.size + _MAC_BYTES)
        except ReferralError:
            return None
        body = raw[: _NONCE_BODY.size]
        if not hmac.compare_digest(raw[_NONCE_BODY.size :], self._mac(body)):
            return None
        minted_at, epoch = _NONCE_BODY.unpack(body)
        return minted_at, epoch

    def _mac(self, body: bytes) -> bytes:
        return hmac.digest(self._secret, b"referral-1/dpop-nonce\0" + body, "sha256")[:_MAC_BYTES]


class ProofReader:
    """Checks proofs against one public base URL. `current_epoch` asks the replay store, only when a nonce is made."""

    def __init__(self, base_url: str, nonces: Nonces, current_epoch: Callable[[int], int]) -> None:
        self._base_url = base_url.rstrip("/")
        if normalised_url(self._base_url) is None:
            raise ValueError("the public base URL is not an absolute http or https URL")
        self._nonces = nonces
        self._current_epoch = current_epoch

    def verify_proof(self, raw: bytes, method: str, path: str, now: int, *, ath: str | None) -> Proof:
        """Verify one proof for one call (R-42); `path` as received, percent-encoded; `ath` None at the token endpoint.

        Raises INVALID_DPOP_PROOF with `reason`: `too-large`, `malformed`, `typ`, `alg`, `crit`, `jwk`, `private-key`,
        `signature`, `htm`, `htu`, `iat`, `jti`, `ath`; USE_DPOP_NONCE (`skew_s`: the caller's clock minus ours,
        `nonce`) if the time is its only fault.
        """
        if len(raw) > MAX_PROOF_BYTES:
            _refuse("too-large")
        try:
            compact = parse_compact(raw)
            key = _proof_key(compact.header)
            claims = parse(compact.payload, max_bytes=MAX_PROOF_BYTES, floats=True)
        except ReferralError as error:
            if error.code is ErrorCode.INVALID_DPOP_PROOF:
                raise
            raise ReferralError(ErrorCode.INVALID_DPOP_PROOF, reason="malformed") from None
        if not isinstance(claims, dict):
            _refuse("malformed")
        self._check_target(claims, method, path)
        jti, issued_at = claims.get("jti"), claims.get("iat")
        if not isinstance(jti, str) or not 1 <= len(jti) <= MAX_JTI_CHARS:
            _refuse("jti")
        if not is_seconds(issued_at):
            _refuse("iat")
        if ath is not None and claims.get("ath") != ath:
            _refuse("ath")
        try:
            verify_signature(key, compact.signing_input, compact.signature)
        except ReferralError:
            raise ReferralError(ErrorCode.INVALID_DPOP_PROOF, reason="signature") from None
        use = hashlib.sha256(f"{key.kid}|{jti}".encode()).digest()
        if "nonce" in claims:
            return self._judge_by_nonce(claims["nonce"], key.kid, use, issued_at, now)
        if not now - PAST_S <= issued_at <= now + FUTURE_S:
            raise self.ask_for_nonce(issued_at, now)
        return Proof(key.kid, use, issued_at, None, issued_at - FUTURE_S, issued_at + PAST_S + PROCESS_SKEW_S)

    def ask_for_nonce(self, issued_at: int, now: int) -> ReferralError:
        """The refusal that brings a fresh nonce and says by how many seconds the caller's clock differs."""
        nonce = self._nonces.mint(self._current_epoch(now), now)
        return ReferralError(ErrorCode.USE_DPOP_NONCE, skew_s=issued_at - now, nonce=nonce)

    def _judge_by_nonce(self, nonce: Any, jkt: Kid, use: bytes, issued_at: int, now: int) -> Proof:
        found = self._nonces.find(nonce, now) if isinstance(nonce, str) else None
        if found is None:
            raise self.ask_for_nonce(issued_at, now)
        minted_at, epoch = found
        return Proof(jkt, use, issued_at, epoch, minted_at, minted_at + NONCE_S + PROCESS_SKEW_S)

    def _check_target(self, claims: dict[str, Any], method: str, path: str) -> None:
        if claims.get("htm") != method:
            _refuse("htm")
        htu = claims.get("htu")
        if not isinstance(htu, str):
            _refuse("htu")
        expected = self._base_url + path
        if htu != expected:
            target = normalised_url(htu)
            if target is None or target != normalised_url(expected):
                _refuse("htu")


def parse_compact(raw: bytes) -> RawCompact:
    """Take a compact JWS apart (RFC 7515 §7.1); header and payload are decoded, not yet read. Raises MALFORMED."""
    parts = raw.split(b".")
    if len(parts) != 3:
        raise malformed("members")
    try:
        header, payload, signature = (part.decode("ascii") for part in parts)
    except UnicodeDecodeError:
        raise malformed("base64url") from None
    signing_input = raw[: len(parts[0]) + 1 + len(parts[1])]
    return RawCompact(unb64u(header), unb64u(payload), signing_input, unb64u(signature))


def is_seconds(value: object) -> TypeGuard[int]:
    """Whether a claim is a whole number of seconds; JSON's true and fractions are not."""
    return isinstance(value, int) and not isinstance(value, bool)


def normalised_url(url: str) -> str | None:
    """An http or https URL after RFC 3986 §6.2.2 and §6.2.3, without query and fragment; None if it is not one."""
    if not url.isascii() or not url.isprintable() or " " in url:
        return None
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    scheme, host = parts.scheme.lower(), parts.hostname
    if scheme not in _DEFAULT_PORT or not host or "@" in parts.netloc:
        return None
    try:
        path = _PERCENT.sub(_normalised_octet, parts.path)
    except ValueError:
        return None
    authority = f"[{host}]" if ":" in host else host
    if port is not None and port != _DEFAULT_PORT[scheme]:
        authority = f"{authority}:{port}"
    return f"{scheme}://{authority}{_without_dot_segments(path)}"


def _normalised_octet(match: re.Match[str]) -> str:
    digits = match.group(1)
    if digits is None:
        raise ValueError("a per cent sign that encodes nothing")
    character = chr(int(digits, 16))
    return character if character in _UNRESERVED else f"%{digits.upper()}"


def _without_dot_segments(path: str) -> str:
    # RFC 3986 §5.2.4 for absolute paths: what is left of "/a/./b/../c" is "/a/c"; a final dot segment leaves its slash.
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if segments and segments[-1] in {".", ".."}:
        kept.append("")
    return "/" + "/".join(kept)


@lru_cache(maxsize=MAX_CLIENTS)
def _proof_key(header: bytes) -> PublicKey:
    # A client sends the same header with every proof of one key, so a busy exchange reads each of them once.
    members = parse(header, max_bytes=MAX_PROOF_BYTES, floats=True)
    if not isinstance(members, dict):
        _refuse("malformed")
    if members.get("typ") != "dpop+jwt":
        _refuse("typ")
    if "crit" in members:
        _refuse("crit")
    alg, jwk = members.get("alg"), members.get("jwk")
    if alg not in PROOF_ALGS:
        _refuse("alg")
    if not isinstance(jwk, dict):
        _refuse("jwk")
    if not _PRIVATE_MEMBERS.isdisjoint(jwk):
        _refuse("private-key")
    kind = (jwk.get("kty"), jwk.get("crv"))
    if not all(isinstance(name, str) for name in kind) or kind not in _MATERIAL:
        _refuse("jwk")
    own_alg, material = _MATERIAL[kind]
    if alg != own_alg or jwk.get("alg", alg) != alg:
        _refuse("alg")
    try:
        return parse_public_key(
            {"alg": own_alg.value, "kty": jwk["kty"], "crv": jwk["crv"], **{name: jwk.get(name) for name in material}}
        )
    except ReferralError:
        raise ReferralError(ErrorCode.INVALID_DPOP_PROOF, reason="jwk") from None


def _refuse(reason: str) -> Never:
    raise ReferralError(ErrorCode.INVALID_DPOP_PROOF, reason=reason)
