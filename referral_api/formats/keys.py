"""Keys of the profile: five algorithms, one JWK form each, and the software signing keys.

A JWK in our documents has exactly the members of its kind, `alg` among them; `kid` is the RFC 7638 thumbprint and is
always recomputed, so a key can neither change its algorithm nor borrow another's name. Points and encodings that would
make a signature verify for everything, or a secret predictable, are refused before the library sees them.

Must never: hold a decryption key, open anything, read randomness (seeds come from the caller), or accept `EdDSA`.

Implements: R-06, R-07 (design §6 header rule, §5); RFC 7638, RFC 8037, RFC 9864, RFC 9964; FIPS 186-5, FIPS 204;
draft-ietf-jose-hpke-pq-pqt-01 for the two KEM key types.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Protocol, TypeAlias

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, mlkem, x25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Kid
from referral_api.formats.strict_json import b64u, canonical, sha256_b64u, unb64u


class Alg(StrEnum):
    """The closed set of algorithms of profile `referral-1`: no negotiation, and no second name for any of them."""

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
    """The two halves of a hybrid KEM public key, of which formats/possession.py makes an HPKE key."""

    post_quantum: mlkem.MLKEM768PublicKey | mlkem.MLKEM1024PublicKey
    classical: x25519.X25519PublicKey | ec.EllipticCurvePublicKey


_Native: TypeAlias = ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey | mldsa.MLDSA65PublicKey | HybridKemKey

_FIELD = 2**255 - 19
_EDWARDS_D = -121665 * pow(121666, -1, _FIELD) % _FIELD
_ORDER_8_Y = 0x5FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
_SMALL_ORDER_Y = frozenset({0, 1, _FIELD - 1, _ORDER_8_Y, _FIELD - _ORDER_8_Y})
"""The y coordinates of all eight points of small order; under such a key one fixed signature fits every text."""
_ORDER_8_U = (
    0x57119FD0DD4E22D8868E1C58C45C44045BEF839C55B1D0B1248C50A3BC959C5F,
    0xB8495F16056286FDB1329CEB8D09DA6AC49FF1FAE35616AEB8413B7C7AEBE0,
)
_SMALL_ORDER_U = frozenset({0, 1, _FIELD - 1, *_ORDER_8_U})
"""The u coordinates of small order on Curve25519 and its twist: the shared secret would be zero for every sender."""

_ML_KEM_768_BYTES, _ML_KEM_768_VECTOR_BYTES = 1184, 1152
_ML_KEM_1024_BYTES, _ML_KEM_1024_VECTOR_BYTES = 1568, 1536
_X25519_BYTES = 32
_P384_POINT_BYTES = 97
_ML_DSA_65_BYTES = 1952
_P256_COORDINATE_BYTES = 32
_SEED_BYTES = 32
_ES256 = ec.ECDSA(SHA256())


@dataclass(frozen=True, slots=True)
class PublicKey:
    """One validated public key. Equal and hashed by `kid`; `jwk` holds exactly the members that documents carry."""

    kid: Kid
    alg: Alg = field(compare=False)
    native: _Native = field(compare=False, repr=False)
    _members: tuple[tuple[str, str], ...] = field(compare=False, repr=False)

    @property
    def jwk(self) -> dict[str, str]:
        """A fresh JWK with its members in canonical order."""
        return dict(self._members)

    @property
    def is_encryption_key(self) -> bool:
        """Whether bundles are sealed to this key; otherwise it verifies signatures."""
        return self.alg in ENCRYPTION_ALGS


class SigningKey(Protocol):
    """Anything that signs for one public key: the software keys below, or a smart card or HSM behind these names."""

    @property
    def public(self) -> PublicKey:
        """The key that verifies what this one signs."""

    @property
    def kid(self) -> Kid:
        """The public key's thumbprint."""

    @property
    def alg(self) -> Alg:
        """The public key's algorithm."""

    def sign(self, signing_input: bytes) -> bytes:
        """The raw JWS signature over these bytes."""


@dataclass(frozen=True, slots=True)
class SoftwareSigningKey:
    """A signing key in this process's memory. Its representation never shows the secret."""

    public: PublicKey
    _sign: Callable[[bytes], bytes] = field(repr=False, compare=False)

    @property
    def kid(self) -> Kid:
        """The public key's thumbprint."""
        return self.public.kid

    @property
    def alg(self) -> Alg:
        """The public key's algorithm."""
        return self.public.alg

    def sign(self, signing_input: bytes) -> bytes:
        """The raw JWS signature: 64 bytes (Ed25519; ES256 as r || s) or 3309 (ML-DSA-65, empty context, RFC 9964)."""
        return self._sign(signing_input)


def parse_public_key(jwk: object) -> PublicKey:
    """Validate a JWK of one of the five kinds; the same JWK again is answered from a bounded cache.

    Raises KEY_UNSUITABLE with `reason`: `members`, `algorithm`, `encoding`, `length`, `small-order`, `off-curve`,
    `all-zero`.
    """
    if not isinstance(jwk, Mapping) or not all(isinstance(n, str) and isinstance(v, str) for n, v in jwk.items()):
        raise _unsuitable("members")
    return _parse_members(tuple(sorted(jwk.items())))


def thumbprint(jwk: Mapping[str, str]) -> Kid:
    """RFC 7638 SHA-256 thumbprint over the required members of the `kty`; for AKP that includes `alg` (RFC 9964)."""
    required = {"OKP": ("crv", "kty", "x"), "EC": ("crv", "kty", "x", "y"), "AKP": ("alg", "kty", "pub")}
    return Kid(sha256_b64u(canonical({name: jwk[name] for name in required[jwk["kty"]]})))


def verify_signature(key: PublicKey, signing_input: bytes, signature: bytes) -> None:
    """Check one raw JWS signature; raises SIGNATURE_INVALID (`reason` forged, `alg`, `kid`) and nothing else."""
    try:
        _verify(key, signing_input, signature)
    except InvalidSignature:
        raise ReferralError(ErrorCode.SIGNATURE_INVALID, reason="forged", alg=key.alg.value, kid=key.kid) from None


def signing_key(alg: Alg, secret: bytes) -> SoftwareSigningKey:
    """The software signing key of 32 secret bytes: a seed (Ed25519, ML-DSA-65) or a big-endian number (ES256).

    Raises KEY_UNSUITABLE: `length`, `algorithm` (not a signature algorithm), `scalar` (not a private number of
    P-256; of 32 random bytes one in 2^32 is not, and the caller draws again).
    """
    if len(secret) != _SEED_BYTES:
        raise _unsuitable("length")
    if alg is Alg.ED25519:
        edwards = ed25519.Ed25519PrivateKey.from_private_bytes(secret)
        jwk = {"alg": alg.value, "crv": "Ed25519", "kty": "OKP", "x": b64u(edwards.public_key().public_bytes_raw())}
        return SoftwareSigningKey(parse_public_key(jwk), edwards.sign)
    if alg is Alg.ML_DSA_65:
        lattice = mldsa.MLDSA65PrivateKey.from_seed_bytes(secret)
        jwk = {"alg": alg.value, "kty": "AKP", "pub": b64u(lattice.public_key().public_bytes_raw())}
        return SoftwareSigningKey(parse_public_key(jwk), lattice.sign)
    if alg is Alg.ES256:
        return _es256_signing_key(secret)
    raise _unsuitable("algorithm")


def _es256_signing_key(secret: bytes) -> SoftwareSigningKey:
    try:
        private = ec.derive_private_key(int.from_bytes(secret, "big"), ec.SECP256R1())
    except ValueError:
        raise _unsuitable("scalar") from None
    point = private.public_key().public_numbers()
    jwk = {
        "alg": Alg.ES256.value,
        "crv": "P-256",
        "kty": "EC",
        "x": b64u(point.x.to_bytes(_P256_COORDINATE_BYTES, "big")),
        "y": b64u(point.y.to_bytes(_P256_COORDINATE_BYTES, "big")),
    }

    def sign(signing_input: bytes) -> bytes:
        r, s = decode_dss_signature(private.sign(signing_input, _ES256))
        return r.to_bytes(_P256_COORDINATE_BYTES, "big") + s.to_bytes(_P256_COORDINATE_BYTES, "big")

    return SoftwareSigningKey(parse_public_key(jwk), sign)


def _verify(key: PublicKey, signing_input: bytes, signature: bytes) -> None:
    native = key.native
    if isinstance(native, HybridKemKey) or len(signature) != SIGNATURE_BYTES[key.alg]:
        raise InvalidSignature
    if isinstance(native, ec.EllipticCurvePublicKey):
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
        native.verify(encode_dss_signature(r, s), signing_input, _ES256)
    else:
        native.verify(signature, signing_input)


@lru_cache(maxsize=4096)
def _parse_members(members: tuple[tuple[str, str], ...]) -> PublicKey:
    jwk = dict(members)
    try:
        alg = Alg(jwk.get("alg", ""))
    except ValueError:
        raise _unsuitable("algorithm") from None
    fixed, parse_native = _KINDS[alg]
    material = {name: text for name, text in jwk.items() if name not in fixed}
    if {name: jwk.get(name) for name in fixed} != dict(fixed) or set(material) != _MATERIAL[fixed["kty"]]:
        raise _unsuitable("members")
    try:
        native = parse_native({name: unb64u(text) for name, text in material.items()})
    except ReferralError as error:
        raise _unsuitable("encoding") if error.code is ErrorCode.MALFORMED else error from None
    return PublicKey(thumbprint(jwk), alg, native, members)


def _parse_ed25519(material: Mapping[str, bytes]) -> _Native:
    raw = _exactly(material["x"], 32)
    y = int.from_bytes(raw, "little") & (2**255 - 1)
    if y >= _FIELD:
        raise _unsuitable("encoding")
    if y in _SMALL_ORDER_Y:
        raise _unsuitable("small-order")
    # x^2 = (y^2 - 1) / (d y^2 + 1) must have a root; the library itself would only notice at the first verification.
    y_squared = y * y % _FIELD
    x_squared = (y_squared - 1) * pow(_EDWARDS_D * y_squared + 1, -1, _FIELD) % _FIELD
    if pow(x_squared, (_FIELD - 1) // 2, _FIELD) != 1:
        raise _unsuitable("off-curve")
    return ed25519.Ed25519PublicKey.from_public_bytes(raw)


def _parse_es256(material: Mapping[str, bytes]) -> _Native:
    x, y = (int.from_bytes(_exactly(material[name], _P256_COORDINATE_BYTES), "big") for name in ("x", "y"))
    try:
        return ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    except ValueError:
        raise _unsuitable("off-curve") from None


def _parse_ml_dsa(material: Mapping[str, bytes]) -> _Native:
    raw = _exactly(material["pub"], _ML_DSA_65_BYTES)
    if not any(raw):
        raise _unsuitable("all-zero")
    return mldsa.MLDSA65PublicKey.from_public_bytes(raw)


def _parse_hpke_9(material: Mapping[str, bytes]) -> _Native:
    raw = _exactly(material["pub"], _ML_KEM_768_BYTES + _X25519_BYTES)
    lattice, montgomery = raw[:_ML_KEM_768_BYTES], raw[_ML_KEM_768_BYTES:]
    if not any(lattice[:_ML_KEM_768_VECTOR_BYTES]):
        raise _unsuitable("all-zero")
    u = int.from_bytes(montgomery, "little")
    if u >= _FIELD:
        raise _unsuitable("encoding")
    if u in _SMALL_ORDER_U:
        raise _unsuitable("small-order")
    try:
        post_quantum = mlkem.MLKEM768PublicKey.from_public_bytes(lattice)
    except ValueError:
        raise _unsuitable("encoding") from None
    return HybridKemKey(post_quantum, x25519.X25519PublicKey.from_public_bytes(montgomery))


def _parse_hpke_10(material: Mapping[str, bytes]) -> _Native:
    raw = _exactly(material["pub"], _ML_KEM_1024_BYTES + _P384_POINT_BYTES)
    lattice, point = raw[:_ML_KEM_1024_BYTES], raw[_ML_KEM_1024_BYTES:]
    if not any(lattice[:_ML_KEM_1024_VECTOR_BYTES]):
        raise _unsuitable("all-zero")
    try:
        post_quantum = mlkem.MLKEM1024PublicKey.from_public_bytes(lattice)
    except ValueError:
        raise _unsuitable("encoding") from None
    # The length admits the uncompressed form alone; 0x04 keeps out the hybrid forms 0x06 and 0x07 of X9.62.
    if point[0] != 4:
        raise _unsuitable("encoding")
    try:
        return HybridKemKey(post_quantum, ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP384R1(), point))
    except ValueError:
        raise _unsuitable("off-curve") from None


def _exactly(raw: bytes, length: int) -> bytes:
    if len(raw) != length:
        raise _unsuitable("length")
    return raw


def _unsuitable(reason: str) -> ReferralError:
    return ReferralError(ErrorCode.KEY_UNSUITABLE, reason=reason)


_MATERIAL: Mapping[str, frozenset[str]] = {
    "OKP": frozenset({"x"}),
    "EC": frozenset({"x", "y"}),
    "AKP": frozenset({"pub"}),
}
_KINDS: Mapping[Alg, tuple[Mapping[str, str], Callable[[Mapping[str, bytes]], _Native]]] = {
    Alg.ED25519: ({"alg": "Ed25519", "crv": "Ed25519", "kty": "OKP"}, _parse_ed25519),
    Alg.ES256: ({"alg": "ES256", "crv": "P-256", "kty": "EC"}, _parse_es256),
    Alg.ML_DSA_65: ({"alg": "ML-DSA-65", "kty": "AKP"}, _parse_ml_dsa),
    Alg.HPKE_9: ({"alg": "HPKE-9-KE", "kty": "AKP"}, _parse_hpke_9),
    Alg.HPKE_10: ({"alg": "HPKE-10-KE", "kty": "AKP"}, _parse_hpke_10),
}
