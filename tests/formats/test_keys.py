"""Keys: one form each, thumbprints that nobody can move, and every key that would make verification meaningless."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mlkem, x25519

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.formats.keys import (
    ENCRYPTION_ALGS,
    SIGNATURE_ALGS,
    Alg,
    HybridKemKey,
    parse_public_key,
    signing_key,
    thumbprint,
    verify_signature,
)
from referral_api.formats.strict_json import b64u, unb64u

P = 2**255 - 19
D = -121665 * pow(121666, -1, P) % P
MLKEM768 = mlkem.MLKEM768PrivateKey.from_seed_bytes(b"k" * 64).public_key().public_bytes_raw()
MLKEM1024 = mlkem.MLKEM1024PrivateKey.from_seed_bytes(b"k" * 64).public_key().public_bytes_raw()
X25519 = x25519.X25519PrivateKey.from_private_bytes(b"x" * 32).public_key().public_bytes_raw()
_P384 = ec.derive_private_key(7, ec.SECP384R1()).public_key().public_numbers()
P384 = b"\x04" + _P384.x.to_bytes(48, "big") + _P384.y.to_bytes(48, "big")


def okp(raw: bytes) -> dict[str, str]:
    return {"alg": "Ed25519", "crv": "Ed25519", "kty": "OKP", "x": b64u(raw)}


def akp(alg: str, raw: bytes) -> dict[str, str]:
    return {"alg": alg, "kty": "AKP", "pub": b64u(raw)}


def refusal(jwk: Any) -> str:
    with pytest.raises(ReferralError) as caught:
        parse_public_key(jwk)
    assert caught.value.code is ErrorCode.KEY_UNSUITABLE
    return str(caught.value.facts["reason"])


def torsion() -> list[bytes]:
    """All encodings of the eight small-order points, canonical or not, found by arithmetic and not from a list."""
    ys = {0, 1, P - 1}
    for root in (pow(1 + D, (P + 3) // 8, P) * pow(2, k * (P - 1) // 4, P) % P for k in (0, 1)):
        if root * root % P == (1 + D) % P:
            for sign in (1, -1):
                y_squared = (-1 + sign * root) * pow(D, -1, P) % P
                y = pow(y_squared, (P + 3) // 8, P)
                for candidate in (y, y * pow(2, (P - 1) // 4, P) % P):
                    if candidate * candidate % P == y_squared:
                        ys |= {candidate, P - candidate}
    assert len(ys) == 5
    spellings = ys | {y + P for y in ys if y + P < 2**255}
    return [(y | sign << 255).to_bytes(32, "little") for y in spellings for sign in (0, 1)]


def test_the_rfc_8037_example_has_its_published_thumbprint() -> None:
    jwk = okp(unb64u("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"))
    assert thumbprint(jwk) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    assert parse_public_key(jwk).kid == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def test_every_kind_of_key_reads_back_as_the_same_jwk() -> None:
    for jwk in (
        signing_key(Alg.ED25519, b"1" * 32).public.jwk,
        signing_key(Alg.ES256, b"1" * 32).public.jwk,
        signing_key(Alg.ML_DSA_65, b"1" * 32).public.jwk,
        akp("HPKE-9-KE", MLKEM768 + X25519),
        akp("HPKE-10-KE", MLKEM1024 + P384),
    ):
        key = parse_public_key(jwk)
        assert key.jwk == jwk
        assert key.kid == thumbprint(jwk)
        assert key.is_encryption_key == (key.alg in ENCRYPTION_ALGS)
        assert (key.alg in SIGNATURE_ALGS) != key.is_encryption_key
        assert parse_public_key(dict(reversed(jwk.items()))) == key


def test_the_algorithm_is_part_of_a_hybrid_keys_name() -> None:
    jwk = akp("HPKE-9-KE", MLKEM768 + X25519)
    assert thumbprint(jwk) != thumbprint(jwk | {"alg": "HPKE-8-KE"})


@pytest.mark.parametrize("raw", torsion(), ids=lambda raw: raw.hex()[:8] + raw.hex()[-4:])
def test_no_small_order_ed25519_point_is_a_key_in_any_spelling(raw: bytes) -> None:
    assert refusal(okp(raw)) in {"small-order", "encoding"}


def test_the_library_alone_would_let_a_small_order_key_verify_anything() -> None:
    """Why the check exists: under the identity point one fixed signature fits every text."""
    identity = ed25519.Ed25519PublicKey.from_public_bytes((1).to_bytes(32, "little"))
    signature = (1).to_bytes(32, "little") + bytes(32)
    identity.verify(signature, b"one text")
    identity.verify(signature, b"another text")


def test_a_non_canonical_ed25519_point_is_refused() -> None:
    for y in range(19):
        assert refusal(okp((y + P).to_bytes(32, "little"))) == "encoding"


def test_an_ed25519_encoding_that_is_no_point_is_refused() -> None:
    assert refusal(okp((2).to_bytes(32, "little"))) == "off-curve"


def test_a_p256_point_off_the_curve_is_refused() -> None:
    jwk = signing_key(Alg.ES256, b"1" * 32).public.jwk
    assert refusal(jwk | {"y": jwk["x"]}) == "off-curve"
    assert refusal(jwk | {"x": b64u(bytes(32)), "y": b64u(bytes(32))}) == "off-curve"
    assert refusal(jwk | {"x": b64u(b"\xff" * 32)}) == "off-curve"


@pytest.mark.parametrize("u", [0, 1, P - 1])
def test_a_kem_key_with_a_small_order_classical_half_is_refused(u: int) -> None:
    assert refusal(akp("HPKE-9-KE", MLKEM768 + u.to_bytes(32, "little"))) == "small-order"


def test_order_eight_points_of_curve25519_are_refused() -> None:
    for raw in torsion():
        y = int.from_bytes(raw, "little") % 2**255
        if y in {0, 1, P - 1} or y >= P:
            continue
        u = (1 + y) * pow(1 - y, -1, P) % P
        assert refusal(akp("HPKE-9-KE", MLKEM768 + u.to_bytes(32, "little"))) == "small-order"


def test_a_non_canonical_classical_half_is_refused() -> None:
    assert refusal(akp("HPKE-9-KE", MLKEM768 + (P + 9).to_bytes(32, "little"))) == "encoding"
    assert refusal(akp("HPKE-9-KE", MLKEM768 + (9 | 1 << 255).to_bytes(32, "little"))) == "encoding"


@pytest.mark.parametrize(
    ("alg", "raw"),
    [
        ("HPKE-9-KE", bytes(1216)),
        ("HPKE-9-KE", bytes(1152) + MLKEM768[1152:] + X25519),
        ("HPKE-10-KE", bytes(1665)),
        ("HPKE-10-KE", bytes(1536) + MLKEM1024[1536:] + P384),
        ("ML-DSA-65", bytes(1952)),
    ],
)
def test_an_all_zero_key_is_refused(alg: str, raw: bytes) -> None:
    assert refusal(akp(alg, raw)) == "all-zero"


def test_kem_coefficients_out_of_range_are_refused() -> None:
    assert refusal(akp("HPKE-9-KE", b"\xff" * 1184 + X25519)) == "encoding"
    assert refusal(akp("HPKE-10-KE", b"\xff" * 1568 + P384)) == "encoding"


def test_a_p384_half_must_be_an_uncompressed_point_of_the_curve() -> None:
    assert refusal(akp("HPKE-10-KE", MLKEM1024 + b"\x06" + P384[1:])) == "encoding"
    assert refusal(akp("HPKE-10-KE", MLKEM1024 + P384[:-1] + bytes([P384[-1] ^ 1]))) == "off-curve"


@pytest.mark.parametrize(("alg", "length"), [("HPKE-9-KE", 1216), ("HPKE-10-KE", 1665), ("ML-DSA-65", 1952)])
def test_a_key_of_another_length_is_refused(alg: str, length: int) -> None:
    for wrong in (length - 1, length + 1, 0):
        assert refusal(akp(alg, b"\x01" * wrong)) == "length"


@pytest.mark.parametrize(
    ("jwk", "reason"),
    [
        (None, "members"),
        ([], "members"),
        ({}, "algorithm"),
        ({"kty": "OKP", "crv": "Ed25519", "x": b64u(b"a" * 32)}, "algorithm"),
        (okp(b"a" * 32) | {"alg": "EdDSA"}, "algorithm"),
        (okp(b"a" * 32) | {"alg": "HPKE-8-KE"}, "algorithm"),
        (okp(b"a" * 32) | {"kid": "x"}, "members"),
        (okp(b"a" * 32) | {"d": "x"}, "members"),
        (okp(b"a" * 32) | {"use": "sig"}, "members"),
        (okp(b"a" * 32) | {"crv": "X25519"}, "members"),
        (okp(b"a" * 32) | {"kty": "AKP"}, "members"),
        (okp(b"a" * 32) | {"x": 5}, "members"),
        (okp(b"a" * 32) | {"x": b64u(b"a" * 32) + "="}, "encoding"),
        (okp(b"a" * 31), "length"),
        (akp("Ed25519", b"a" * 32), "members"),
    ],
)
def test_a_jwk_has_exactly_its_members(jwk: Any, reason: str) -> None:
    assert refusal(jwk) == reason


def test_a_signature_of_another_text_key_or_length_is_refused() -> None:
    for alg in SIGNATURE_ALGS:
        key, other = signing_key(alg, b"1" * 32), signing_key(alg, b"2" * 32)
        signature = key.sign(b"text")
        verify_signature(key.public, b"text", signature)
        for public, text, wrong in (
            (key.public, b"test", signature),
            (other.public, b"text", signature),
            (key.public, b"text", signature[:-1]),
            (key.public, b"text", bytes(len(signature))),
            (key.public, b"text", b""),
        ):
            with pytest.raises(ReferralError) as caught:
                verify_signature(public, text, wrong)
            assert caught.value.code is ErrorCode.SIGNATURE_INVALID
            assert caught.value.facts == {"reason": "forged", "alg": alg.value, "kid": public.kid}


def test_an_es256_signature_has_one_length_even_where_a_zero_changes_no_number() -> None:
    key = signing_key(Alg.ES256, b"1" * 32)
    signature = key.sign(b"text")
    verify_signature(key.public, b"text", signature)
    with pytest.raises(ReferralError) as caught:
        verify_signature(key.public, b"text", signature[:32] + b"\x00" + signature[32:])
    assert caught.value.code is ErrorCode.SIGNATURE_INVALID


def test_an_encryption_key_verifies_nothing() -> None:
    key = parse_public_key(akp("HPKE-9-KE", MLKEM768 + X25519))
    assert isinstance(key.native, HybridKemKey)
    with pytest.raises(ReferralError) as caught:
        verify_signature(key, b"text", bytes(64))
    assert caught.value.code is ErrorCode.SIGNATURE_INVALID


def test_secrets_are_32_bytes_of_a_signature_algorithm_and_never_shown() -> None:
    for alg, secret, reason in (
        (Alg.ED25519, b"1" * 31, "length"),
        (Alg.HPKE_9, b"1" * 32, "algorithm"),
        (Alg.ES256, bytes(32), "scalar"),
        (Alg.ES256, b"\xff" * 32, "scalar"),
    ):
        with pytest.raises(ReferralError) as caught:
            signing_key(alg, secret)
        assert caught.value.facts == {"reason": reason}
    assert "1111" not in repr(signing_key(Alg.ED25519, b"1" * 32))
    assert repr(signing_key(Alg.ED25519, b"1" * 32)).count("sign") == 0
