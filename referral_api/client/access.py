"""Client authentication without sockets: assertions, DPoP proofs, and the tokens that come of them.

A compact JWS is three base64url texts; those that OAuth wants are short-lived, name this very call, and are signed by
an access key (assertion) or by a key made for one token (proof). Randomness and time come from the caller.

Must never: sign an act, reuse a `jti`, or send a token with another key's proof.

Implements: R-40 to R-43; RFC 7523 §3 (assertion), RFC 9449 §4.2 (proof), RFC 8037 (Ed25519 under the name of RFC 9864).
"""

from __future__ import annotations

import hashlib
from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

from referral_api.client.profile import Token
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import CredentialId
from referral_api.formats.keys import Alg, SigningKey, SoftwareSigningKey, signing_key
from referral_api.formats.strict_json import b64u, canonical

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ASSERTION_TERM_S = 60
"""How long an assertion may be used; R-41 allows 300 s, and a minute is plenty for one call."""
MAX_TOKEN_TERM_S = 3600
_MAX_TOKEN_CHARACTERS = 4096


def sign_compact(header: dict[str, Any], claims: dict[str, Any], key: SigningKey) -> str:
    """A JWS in compact serialisation (RFC 7515 §7.1); `alg` is the key's own."""
    signing_input = f"{b64u(canonical(header | {'alg': key.alg.value}))}.{b64u(canonical(claims))}"
    return f"{signing_input}.{b64u(key.sign(signing_input.encode('ascii')))}"


def build_assertion(key: SigningKey, credential: CredentialId, issuer: str, *, jti: str, now: int) -> str:
    """Who is asking for a token (R-41): single use, one minute, for this issuer alone."""
    claims = {
        "aud": issuer,
        "exp": now + ASSERTION_TERM_S,
        "iat": now,
        "iss": credential,
        "jti": jti,
        "sub": credential,
    }
    return sign_compact({"kid": key.kid, "typ": "JWT"}, claims, key)


def build_proof(
    key: SigningKey, method: str, url: str, *, jti: str, now: int, token: str | None = None, nonce: str | None = None
) -> str:
    """That this very call comes from the holder of the token's key (R-42); `nonce` answers a `DPoP-Nonce` (R-43)."""
    parts = urlsplit(url)
    claims: dict[str, Any] = {
        "htm": method,
        "htu": urlunsplit((parts.scheme, parts.netloc, parts.path, "", "")),
        "iat": now,
        "jti": jti,
    }
    if token is not None:
        claims["ath"] = b64u(hashlib.sha256(token.encode("ascii")).digest())
    if nonce is not None:
        claims["nonce"] = nonce
    jwk = {name: text for name, text in key.public.jwk.items() if name != "alg"}
    return sign_compact({"jwk": jwk, "typ": "dpop+jwt"}, claims, key)


def token_form(assertion: str) -> bytes:
    """The body of a token request (RFC 6749 §4.4, RFC 7521 §4.2)."""
    return urlencode(
        {
            "grant_type": "client_credentials",
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": assertion,
        }
    ).encode("ascii")


def parse_token(answer: Any, dpop_secret: bytes, now: int) -> Token:
    """Read a token answer. Raises INVALID_TOKEN (`reason`) unless it is a DPoP token with a sensible term."""
    if not isinstance(answer, dict):
        raise _unusable("members")
    value, term = answer.get("access_token"), answer.get("expires_in")
    if str(answer.get("token_type")).lower() != "dpop":
        raise _unusable("token-type")  # A bearer token would work for whoever steals it.
    if not isinstance(value, str) or not value.isascii() or not 0 < len(value) <= _MAX_TOKEN_CHARACTERS:
        raise _unusable("token")
    if type(term) is not int or not 0 < term <= MAX_TOKEN_TERM_S:
        raise _unusable("term")
    return Token(value, now + term, dpop_secret)


def proof_key(dpop_secret: bytes) -> SoftwareSigningKey:
    """The key that a token is bound to, of its 32 secret bytes.

    ES256, because the exchange checks one of these a call, and verifies it in two thirds of the time. Raises
    KEY_UNSUITABLE for one secret in 2^32, which is no private number of P-256: a new token draws another.
    """
    return signing_key(Alg.ES256, dpop_secret)


def token_entry(token: Token) -> dict[str, str | int]:
    """What `ProfileDir.keep_token` stores of a token."""
    return {"dpop_secret": b64u(token.dpop_secret), "expires_at": token.expires_at, "token": token.value}


def _unusable(reason: str) -> ReferralError:
    return ReferralError(ErrorCode.INVALID_TOKEN, reason=reason)
