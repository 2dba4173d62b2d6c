"""A compartment: some secret text sealed under a passphrase or a key file, with a header that is authenticated with it.

Under a passphrase the key comes from Argon2id, under 32 random bytes from HKDF; the text is AES-256-GCM. A damaged
compartment says so (KEYSTORE_CORRUPT) and a wrong secret says that (LOCKED), because people act differently on the two.
Parameters are capped before anything is derived: a foreign file cannot make us burn a machine.

Must never: take weaker derivation parameters from a file or the environment, or write a secret unsealed.

Implements: design §5; RFC 9106 (Argon2id), RFC 5869 (HKDF), NIST SP 800-38D (GCM).
"""

from __future__ import annotations

import secrets
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from referral_api.client.profile import corrupt
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.formats.strict_json import b64u, canonical, parse, unb64u

MIN_PASSPHRASE_CHARACTERS = 12
_SALT_BYTES, _KEY_BYTES, _NONCE_BYTES, _TAG_BYTES = 16, 32, 12, 16
_MAX_KIB, _MAX_PASSES, _MAX_LANES = 1 << 20, 10, 8
_MIN_KIB = 8
_MAX_HEADER_BYTES = 4096
_HKDF_INFO = b"referral-1/keystore-service"
_COSTS = {"memory_kib": (_MIN_KIB, _MAX_KIB), "passes": (1, _MAX_PASSES), "lanes": (1, _MAX_LANES)}


@dataclass(frozen=True, slots=True)
class Kdf:
    """Argon2id parameters: memory in KiB, passes, lanes. The default takes 0.7 s of a 2026 office machine."""

    memory_kib: int = 256 * 1024
    passes: int = 3
    lanes: int = 2


@dataclass(frozen=True, slots=True)
class InsecureKdfForTests(Kdf):
    """Parameters so weak that a test suite can afford them. Only code that names this class gets them."""

    memory_kib: int = 64
    passes: int = 1
    lanes: int = 1


_unless_said: list[Kdf] = [Kdf()]


def seal_by_default(kdf: Kdf) -> Kdf:
    """Use these parameters where nobody says otherwise; returns those used until now.

    For test suites, which run a hundred commands a minute. No file, option or variable leads here.
    """
    before, _unless_said[0] = _unless_said[0], kdf
    return before


@dataclass(frozen=True, slots=True)
class Compartment:
    """One compartment as it stands in a file. `header` is authenticated exactly as written."""

    header: bytes
    nonce: bytes
    ciphertext: bytes

    def wire(self) -> dict[str, str]:
        """The JSON members."""
        return {"ciphertext": b64u(self.ciphertext), "header": b64u(self.header), "nonce": b64u(self.nonce)}


def seal_with_passphrase(
    bound: Mapping[str, Any], plaintext: bytes, passphrase: str, kdf: Kdf | None = None
) -> Compartment:
    """Seal under a passphrase; `bound` are the members of the header besides the derivation's own.

    Raises LOCKED (`too-short`, `minimum`).
    """
    if len(passphrase) < MIN_PASSPHRASE_CHARACTERS:
        raise ReferralError(ErrorCode.LOCKED, reason="too-short", minimum=MIN_PASSPHRASE_CHARACTERS)
    kdf = kdf or _unless_said[0]
    costs = {"kdf": "argon2id", "lanes": kdf.lanes, "memory_kib": kdf.memory_kib, "passes": kdf.passes}
    return _seal({**bound, **costs}, plaintext, passphrase_bytes(passphrase))


def seal_with_key(bound: Mapping[str, Any], plaintext: bytes, key: bytes) -> Compartment:
    """Seal under 32 random bytes; `bound` as above."""
    return _seal({**bound, "kdf": "hkdf-sha256"}, plaintext, key)


def open_compartment(sealed: Compartment, header: Mapping[str, Any], secret: bytes) -> bytes:
    """The text of a compartment whose header `parse_header` has passed. Raises LOCKED (`wrong-secret`)."""
    try:
        return AESGCM(_derive(header, secret)).decrypt(sealed.nonce, sealed.ciphertext, sealed.header)
    except InvalidTag:
        raise ReferralError(ErrorCode.LOCKED, reason="wrong-secret") from None


def parse_compartment(value: Any) -> Compartment:
    """The members of a compartment. Raises KEYSTORE_CORRUPT (`members`)."""
    if not isinstance(value, dict) or value.keys() != {"header", "nonce", "ciphertext"}:
        raise corrupt("members")
    try:
        sealed = Compartment(
            unb64u(value["header"]), unb64u(value["nonce"], exact=_NONCE_BYTES), unb64u(value["ciphertext"])
        )
    except (ReferralError, AttributeError):
        raise corrupt("members") from None
    if len(sealed.ciphertext) <= _TAG_BYTES:
        raise corrupt("members")
    return sealed


def parse_header(raw: bytes, kind: str, bound: frozenset[str], *, passphrase: bool) -> dict[str, Any]:
    """The header of a compartment of this kind, with these members and with parameters that may be spent.

    Raises KEYSTORE_CORRUPT (`header`, `parameters`).
    """
    try:
        header = parse(raw, max_bytes=_MAX_HEADER_BYTES)
        unb64u(header["salt"], exact=_SALT_BYTES)
    except (ReferralError, LookupError, TypeError, AttributeError):
        raise corrupt("header") from None
    costs = _COSTS.keys() if passphrase else set()
    expected = {"kdf": "argon2id" if passphrase else "hkdf-sha256", "compartment": kind, "v": 1}
    if header.keys() != bound | costs | {"salt", *expected}:
        raise corrupt("header")
    if any(header[name] != value for name, value in expected.items()):
        raise corrupt("header")
    for name in costs:
        least, most = _COSTS[name]
        if type(header[name]) is not int or not least <= header[name] <= most:
            raise corrupt("parameters")
    if costs and header["memory_kib"] < 8 * header["lanes"]:
        raise corrupt("parameters")
    return dict(header)


def passphrase_bytes(passphrase: str) -> bytes:
    """A passphrase as the secret that it is."""
    # One passphrase may be typed composed on one keyboard and decomposed on another (RFC 8265 §4.2).
    return unicodedata.normalize("NFC", passphrase).encode("utf-8")


def _seal(members: dict[str, Any], plaintext: bytes, secret: bytes) -> Compartment:
    members |= {"salt": b64u(secrets.token_bytes(_SALT_BYTES)), "v": 1}
    header, nonce = canonical(members), secrets.token_bytes(_NONCE_BYTES)
    return Compartment(header, nonce, AESGCM(_derive(members, secret)).encrypt(nonce, plaintext, header))


def _derive(header: Mapping[str, Any], secret: bytes) -> bytes:
    salt = unb64u(header["salt"])
    if header["kdf"] == "hkdf-sha256":
        return HKDF(algorithm=SHA256(), length=_KEY_BYTES, salt=salt, info=_HKDF_INFO).derive(secret)
    return Argon2id(
        salt=salt,
        length=_KEY_BYTES,
        iterations=header["passes"],
        lanes=header["lanes"],
        memory_cost=header["memory_kib"],
    ).derive(secret)
