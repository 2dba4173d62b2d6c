"""A witness's two keys, Ed25519 and ML-DSA-44: made from seeds, under one name, for cosignatures and nothing else.

Must never: draw randomness, or show a seed.

Implements: C2SP tlog-cosignature v1.1.0 (types 0x04 and 0x06); R-96.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ed25519, mldsa

from referral_api.auditlog.note import SignatureType, VerifierKey
from referral_api.formats.strict_json import malformed

SEED_BYTES: Final = 32
IDENTITY_BYTES: Final = 16
MAX_NAME_BYTES: Final = 255
"""Of a witness's name and of an origin: what the message that ML-DSA-44 signs has room for."""


@dataclass(frozen=True, slots=True)
class Seeds:
    """What a new witness is made of, drawn by the caller: 16 bytes that name its file, 32 for each key."""

    identity: bytes
    ed25519: bytes = field(repr=False)
    ml_dsa_44: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class CosigningKey:
    """One key: what others pin, and how it signs."""

    verifier: VerifierKey
    sign: Callable[[bytes], bytes] = field(repr=False, compare=False)


def cosigning_keys(name: str, seeds: Seeds) -> tuple[CosigningKey, CosigningKey]:
    """Both keys, the classical one first. Raises MALFORMED (`key-name`) for a name that no key can have."""
    if len(name.encode()) > MAX_NAME_BYTES:
        raise malformed("key-name")
    edwards = ed25519.Ed25519PrivateKey.from_private_bytes(seeds.ed25519)
    lattice = mldsa.MLDSA44PrivateKey.from_seed_bytes(seeds.ml_dsa_44)
    return (
        CosigningKey(
            VerifierKey(name, SignatureType.COSIGNATURE_ED25519, edwards.public_key().public_bytes_raw()), edwards.sign
        ),
        CosigningKey(
            VerifierKey(name, SignatureType.COSIGNATURE_ML_DSA_44, lattice.public_key().public_bytes_raw()),
            lattice.sign,
        ),
    )
