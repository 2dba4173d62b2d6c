"""Keys of the profile: five algorithms, one JWK form each, and the software signing keys.

A JWK in our documents has exactly the members of its kind, `alg` among them; `kid` is the RFC 7638 thumbprint and is
always recomputed, so a key can neither change its algorithm nor borrow another's name. Points and encodings that would
make a signature verify for everything, or a secret predictable, are refused before the library sees them.

Must never: hold a decryption key, open anything, read randomness (seeds come from the caller), or accept `EdDSA`.

Implements: design §6 (header rule), §5 ("Small-order or non-canonical …"); RFC 7638, RFC 8037, RFC 9864, RFC 9964;
draft-ietf-jose-hpke-pq-pqt-01 for the two KEM key types; FIPS 186-5, FIPS 204.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Any, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, mlkem, x25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Kid
from referral_api.formats.strict_json import b64u, canonical, sha256_b64u, unb64u


class Alg(StrEnum):
    """The closed set of algorithms of profile `referral-1`; there is no negotiation and no other name for any of them."""

    ED25519 = "Ed25519"
    ES256 = "ES256"
    ML_DSA_65 = "ML-DSA-65"
    HPKE_9 = "HPKE-9-KE"
    """ML-KEM-768 + X25519 (HPKE KEM 0x647A, KDF 0x0011, AEAD 0x0002)."""
    HPKE_10 = "HPKE-10-KE"
    """ML-KEM-1024 + P-384 (HPKE KEM 0x0051, KDF 0x0011, AEAD 0x0002)."""


SIGNATURE_ALGS = frozenset({Alg.ED25519, Alg.ES256, Alg.ML_DSA_65})
ENCRYPTION_ALGS = frozenset({Alg.HPKE_9, Alg.HPKE_10})
SIGNATURE_BYTES: Mapping[Alg, int] = {Alg.ED25519: 64, Alg.ES256: 64, Alg.ML_DSA_65: 3309}


@dataclass(frozen=True, slots=True)
class HybridKemKey:
    """The two halves of a hybrid KEM public key; formats/possession.py and client/sealing.py make an HPKE key of them."""

    post_quantum: mlkem.MLKEM768PublicKey | mlkem.MLKEM1024PublicKey
    classical: x25519.X25519PublicKey | ec.EllipticCurvePublicKey


type _Native = ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey | mldsa.MLDSA65PublicKey | HybridKemKey
