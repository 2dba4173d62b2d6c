"""Sealing a small secret to one public key: the one-way half of HPKE, and proof of possession made of it.

`seal_to` encapsulates for a recipient; client/sealing.py uses it for content keys, the server for enrolment: a key that
merely parses says nothing about who can open for it, so whoever enrols an encryption key returns a nonce sealed to it.

Must never: decapsulate, hold a private key, draw randomness of its own (the library draws the encapsulation's).

Implements: R-21, R-35 (design §5, proof of possession); RFC 9180 base mode as revised by draft-ietf-hpke-hpke-06
(one-stage SHAKE256 schedule); draft-ietf-hpke-pq-05 for the KEMs 0x647A and 0x0051.
"""

from __future__ import annotations

from typing import cast

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec, mlkem, x25519
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PublicKey,
    MLKEM1024P384PublicKey,
    Suite,
)

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.formats.keys import Alg, HybridKemKey, PublicKey, parse_public_key

NONCE_BYTES = 32
POSSESSION_INFO = b"referral-1/possession"

SUITES = {
    Alg.HPKE_9: Suite(KEM.MLKEM768_X25519, KDF.SHAKE256, AEAD.AES_256_GCM),
    Alg.HPKE_10: Suite(KEM.MLKEM1024_P384, KDF.SHAKE256, AEAD.AES_256_GCM),
}
"""The two suites, pinned by code point: KEM 0x647A and 0x0051, KDF 0x0011, AEAD 0x0002 (design §6)."""


def seal_to(key: PublicKey, plaintext: bytes, *, info: bytes) -> bytes:
    """HPKE base mode, single shot, empty AAD: the encapsulated key followed by the ciphertext with its 16-byte tag.

    Raises KEY_UNSUITABLE: `algorithm` for a signature key, `encapsulation` for a key that the library turns down.
    """
    native = key.native
    if not isinstance(native, HybridKemKey):
        raise ReferralError(ErrorCode.KEY_UNSUITABLE, reason="algorithm")
    try:
        return SUITES[key.alg].encrypt(plaintext, _hpke_key(key.alg, native), info=info)
    except (ValueError, InvalidTag):
        raise ReferralError(ErrorCode.KEY_UNSUITABLE, reason="encapsulation") from None


def challenge(jwk: object, nonce: bytes) -> bytes:
    """Seal a fresh 32-byte nonce to an encryption key; only its holder can answer (client/sealing.py answer_challenge).

    Raises KEY_UNSUITABLE as `parse_public_key` and `seal_to` do; a nonce of another length is a programmer's error.
    """
    if len(nonce) != NONCE_BYTES:
        raise ValueError("a possession nonce has 32 bytes")
    return seal_to(parse_public_key(jwk), nonce, info=POSSESSION_INFO)


def _hpke_key(alg: Alg, native: HybridKemKey) -> MLKEM768X25519PublicKey | MLKEM1024P384PublicKey:
    # parse_public_key has tied the halves to the algorithm; the library's own constructors would refuse a mixture.
    if alg is Alg.HPKE_9:
        return MLKEM768X25519PublicKey(
            cast("mlkem.MLKEM768PublicKey", native.post_quantum), cast("x25519.X25519PublicKey", native.classical)
        )
    return MLKEM1024P384PublicKey(
        cast("mlkem.MLKEM1024PublicKey", native.post_quantum), cast("ec.EllipticCurvePublicKey", native.classical)
    )
