"""Assertions, proofs and tokens: what goes out, and which answers are taken for a token."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any
from urllib.parse import parse_qs

import pytest

from referral_api.client import access
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import CredentialId
from referral_api.formats.keys import Alg, parse_public_key, signing_key, verify_signature
from referral_api.formats.strict_json import b64u, unb64u

NOW = 1_795_430_000
KEY = signing_key(Alg.ED25519, b"k" * 32)
CREDENTIAL = CredentialId("pnp-trata-piura.of1aaa")


def read(compact: str) -> tuple[dict[str, Any], dict[str, Any], str, bytes]:
    header, claims, signature = compact.split(".")
    decoded = [json.loads(base64.urlsafe_b64decode(part + "==")) for part in (header, claims)]
    return decoded[0], decoded[1], f"{header}.{claims}", unb64u(signature)


def test_an_assertion_is_short_lived_for_this_issuer_and_signed_by_the_access_key() -> None:
    header, claims, signed, signature = read(
        access.build_assertion(KEY, CREDENTIAL, "https://exchange.example", jti="j", now=NOW)
    )
    verify_signature(KEY.public, signed.encode(), signature)
    assert header == {"alg": "Ed25519", "kid": KEY.kid, "typ": "JWT"}
    assert claims == {
        "iss": CREDENTIAL, "sub": CREDENTIAL, "aud": "https://exchange.example", "iat": NOW, "exp": NOW + 60, "jti": "j"
    }  # fmt: skip


def test_a_proof_names_method_and_url_without_query_and_carries_its_public_key() -> None:
    header, claims, signed, signature = read(
        access.build_proof(KEY, "GET", "https://exchange.example/v1/inbox?after=x#y", jti="j", now=NOW, token="abc")
    )
    assert header["typ"] == "dpop+jwt"
    assert header["jwk"] == {"crv": "Ed25519", "kty": "OKP", "x": KEY.public.jwk["x"]}
    verify_signature(parse_public_key(header["jwk"] | {"alg": "Ed25519"}), signed.encode(), signature)
    assert claims == {
        "htm": "GET", "htu": "https://exchange.example/v1/inbox", "iat": NOW, "jti": "j",
        "ath": b64u(hashlib.sha256(b"abc").digest()),
    }  # fmt: skip


def test_a_nonce_is_repeated_in_the_proof_that_answers_it() -> None:
    _, claims, _, _ = read(access.build_proof(KEY, "POST", "https://a.example/t", jti="j", now=NOW, nonce="n1"))
    assert claims["nonce"] == "n1"
    assert "ath" not in claims


def test_the_token_request_is_a_form_with_exactly_three_members() -> None:
    form = parse_qs(access.token_form("a.b.c").decode())
    assert form == {
        "grant_type": ["client_credentials"],
        "client_assertion_type": [access.ASSERTION_TYPE],
        "client_assertion": ["a.b.c"],
    }


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"token_type": "Bearer"}, "token-type"),
        ({"token_type": None}, "token-type"),
        ({"access_token": ""}, "token"),
        ({"access_token": "ñ"}, "token"),
        ({"access_token": "x" * 5000}, "token"),
        ({"expires_in": 0}, "term"),
        ({"expires_in": "300"}, "term"),
        ({"expires_in": 10**9}, "term"),
    ],
)
def test_an_answer_that_is_no_proof_bound_token_is_refused(change: dict[str, Any], reason: str) -> None:
    good = {"access_token": "abc", "token_type": "DPoP", "expires_in": 300}
    assert access.parse_token(good, b"s" * 32, NOW).expires_at == NOW + 300
    with pytest.raises(ReferralError, match=f"{ErrorCode.INVALID_TOKEN.value}.*{reason}"):
        access.parse_token(good | change, b"s" * 32, NOW)


def test_a_token_answer_that_is_no_object_is_refused() -> None:
    with pytest.raises(ReferralError, match="members"):
        access.parse_token([], b"s" * 32, NOW)
