"""Signed notes: a text, an empty line, and signature lines, each naming its key and carrying that key's 32-bit id.

Whoever reads a note is told beforehand which keys count. Lines of other keys are ignored, so that a log can change keys
and witnesses can add themselves; a line of a key that counts and does not verify condemns the whole note.

Must never: trust a key id for more than finding a key, repair line endings or base64, or take a key from the note.

Implements: C2SP signed-note v1.0.0 with signature types 0x01 (Ed25519), 0x04 and 0x06 (cosignatures, checkpoint.py).
"""

from __future__ import annotations

import re
from base64 import b64encode
from binascii import Error as Base64Error
from binascii import a2b_base64
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from hashlib import sha256
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import mldsa

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.formats import keys
from referral_api.formats.strict_json import b64u, malformed

MAX_NOTE_BYTES: Final = 256 * 1024
MAX_SIGNATURES: Final = 64
"""The specification asks for at least 16; cosignatures of 3.3 kB each must fit `MAX_NOTE_BYTES` with these."""
_SIGNATURE_PREFIX: Final = "\N{EM DASH} "
_KEY_ID_BYTES: Final = 4
_CONTROL: Final = re.compile(r"[\x00-\x09\x0b-\x1f]")


class SignatureType(IntEnum):
    """The byte that says what a key signs and how; it enters the key id, so no key stands in for another kind."""

    ED25519 = 0x01
    COSIGNATURE_ED25519 = 0x04
    COSIGNATURE_ML_DSA_44 = 0x06


_PUBLIC_BYTES: Final = {
    SignatureType.ED25519: 32,
    SignatureType.COSIGNATURE_ED25519: 32,
    SignatureType.COSIGNATURE_ML_DSA_44: 1312,
}


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A pinned key: its name, what it signs, and the raw public key.

    Raises on construction MALFORMED (`key-name`), KEY_UNSUITABLE (`length`, `small-order`, …).
    """

    name: str
    type: SignatureType
    public: bytes

    def __post_init__(self) -> None:
        if not _is_key_name(self.name):
            raise malformed("key-name")
        if len(self.public) != _PUBLIC_BYTES[self.type]:
            raise ReferralError(ErrorCode.KEY_UNSUITABLE, reason="length")
        _native_key(self.type, self.public)

    @property
    def key_id(self) -> int:
        """The recommended id: the first four bytes of SHA-256 over name, newline, type and public key."""
        hashed = sha256(self.name.encode() + b"\n" + bytes([self.type]) + self.public).digest()
        return int.from_bytes(hashed[:_KEY_ID_BYTES], "big")

    @property
    def vkey(self) -> str:
        """The text by which this key is pinned in policies: `<name>+<id in hex>+<base64 of type and public key>`."""
        return f"{self.name}+{self.key_id:08x}+{encode_base64(bytes([self.type]) + self.public)}"

    def verify(self, message: bytes, signature: bytes) -> None:
        """Check a raw signature over `message`; raises SIGNATURE_INVALID (`reason` `forged`)."""
        native = _native_key(self.type, self.public)
        if isinstance(native, keys.PublicKey):
            keys.verify_signature(native, message, signature)
            return
        try:
            native.verify(signature, message)
        except InvalidSignature:
            raise ReferralError(ErrorCode.SIGNATURE_INVALID, reason="forged", key=self.name) from None


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """One signature line. `raw_signature` is whatever the key's type makes of it, verified by nobody yet."""

    name: str
    key_id: int
    raw_signature: bytes

    def line(self) -> str:
        """The line as it stands in a note, newline included."""
        raw = self.key_id.to_bytes(_KEY_ID_BYTES, "big") + self.raw_signature
        return f"{_SIGNATURE_PREFIX}{self.name} {encode_base64(raw)}\n"


@dataclass(frozen=True, slots=True)
class SignedNote:
    """A note as it arrived: `text` with its final newline, and its signature lines, in order and unverified."""

    text: str
    signatures: tuple[NoteSignature, ...]

    def to_bytes(self) -> bytes:
        """The note's one spelling; equal to what `parse_note` was given."""
        return (self.text + "\n" + "".join(signature.line() for signature in self.signatures)).encode()

    def signed_by(self, key: VerifierKey) -> tuple[bytes, ...]:
        """The raw signatures on lines that carry this key's name and id, in order; unverified."""
        key_id = key.key_id
        return tuple(
            signature.raw_signature
            for signature in self.signatures
            if signature.key_id == key_id and signature.name == key.name
        )


def parse_note(raw: bytes) -> SignedNote:
    """Read a signed note without judging its signatures.

    Raises TOO_LARGE (`limit` in bytes, or of signatures), MALFORMED with `reason` `not-utf8`, `character` (a control
    character), `note` (no empty line, no signature, a missing newline) or `signature-line`.
    """
    if len(raw) > MAX_NOTE_BYTES:
        raise ReferralError(ErrorCode.TOO_LARGE, limit=MAX_NOTE_BYTES)
    try:
        content = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise malformed("not-utf8") from None
    if _CONTROL.search(content):
        raise malformed("character")
    text, separator, signed = content.rpartition("\n\n")
    if not separator or not text or not signed.endswith("\n"):
        raise malformed("note")
    lines = signed[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise ReferralError(ErrorCode.TOO_LARGE, limit=MAX_SIGNATURES)
    return SignedNote(text + "\n", tuple(_parse_line(line) for line in lines))


def parse_vkey(text: str) -> VerifierKey:
    """Read a pinned key. Raises MALFORMED (`vkey`; `key-name`), KEY_UNSUITABLE; the id must be the recomputed one."""
    name, _, rest = text.partition("+")
    claimed_id, _, encoded = rest.partition("+")
    typed = decode_base64(encoded, "vkey")
    try:
        kind = SignatureType(typed[0])
    except (IndexError, ValueError):
        raise malformed("vkey") from None
    key = VerifierKey(name, kind, typed[1:])
    if f"{key.key_id:08x}" != claimed_id:
        raise malformed("vkey")
    return key


def encode_base64(raw: bytes) -> str:
    """Standard base64 with padding (RFC 4648 §4), as all C2SP texts use it; JSON documents use base64url instead."""
    return b64encode(raw).decode("ascii")


def decode_base64(text: str, reason: str) -> bytes:
    """Decode standard base64; only the canonical spelling is accepted. Raises MALFORMED with the given `reason`."""
    try:
        raw = a2b_base64(text.encode("ascii"), strict_mode=True)
    except (UnicodeEncodeError, Base64Error):
        raise malformed(reason) from None
    if encode_base64(raw) != text:
        raise malformed(reason)
    return raw


def _parse_line(line: str) -> NoteSignature:
    name, _, encoded = line.removeprefix(_SIGNATURE_PREFIX).partition(" ")
    if not line.startswith(_SIGNATURE_PREFIX) or not _is_key_name(name):
        raise malformed("signature-line")
    raw = decode_base64(encoded, "signature-line")
    if len(raw) <= _KEY_ID_BYTES:
        raise malformed("signature-line")
    return NoteSignature(name, int.from_bytes(raw[:_KEY_ID_BYTES], "big"), raw[_KEY_ID_BYTES:])


def _is_key_name(name: str) -> bool:
    if not name or "+" in name or _CONTROL.search(name):
        return False
    return not any(character.isspace() for character in name)


@lru_cache(maxsize=256)
def _native_key(kind: SignatureType, public: bytes) -> keys.PublicKey | mldsa.MLDSA44PublicKey:
    if kind is SignatureType.COSIGNATURE_ML_DSA_44:
        return mldsa.MLDSA44PublicKey.from_public_bytes(public)
    jwk = {"alg": keys.Alg.ED25519.value, "crv": "Ed25519", "kty": "OKP", "x": b64u(public)}
    return keys.parse_public_key(jwk)
