"""The token endpoint: OAuth 2.0 client credentials with `private_key_jwt`, answered with DPoP-bound `at+jwt` tokens.

The one module that knows Authlib. Its classes run the grant; every default of theirs that would let in too much is
overridden here and pinned by tests/server/test_oauth_stock.py, so that an upgrade cannot loosen us unseen. All
objects of Authlib live for one request, since its call-backs carry neither clock nor request. joserfc verifies JWTs
with one algorithm pinned to one key.

Must never: say whether a credential exists, count or remember anything for a caller that has not proved its key,
issue a token that is not bound to a DPoP key, or know HTTP beyond status and fields of the OAuth documents.

Implements: R-40, R-41, R-45; RFC 6749 §4.4 and §5.2, RFC 7521, RFC 7523 §3, RFC 8414, RFC 9068 §2, RFC 9449 §5.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Never, TypeAlias

from authlib.oauth2 import AuthorizationServer, OAuth2Request
from authlib.oauth2.rfc6749 import ClientCredentialsGrant, InvalidClientError
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload
from authlib.oauth2.rfc7523 import JWTBearerClientAssertion
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata
from authlib.oauth2.rfc9068 import JWTBearerTokenGenerator
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, import_key
from joserfc.jws import JWSRegistry

from referral_api.domain.errors import ReferralError
from referral_api.domain.words import CredentialId, KeyUse, Kid
from referral_api.formats.keys import Alg, PublicKey, signing_key
from referral_api.formats.strict_json import b64u, canonical, parse
from referral_api.server.service.callers import Directory, DirectoryCredential
from referral_api.server.service.proofs import PROCESS_SKEW_S, PROOF_ALGS, is_seconds, parse_compact
from referral_api.server.service.token_keys import TokenKeys

TOKEN_S = 300
"""How long an access token lives."""
ASSERTION_S = 300
"""How far ahead an assertion may expire, before skew."""
SKEW_S = 60
"""How far a client's clock may differ from ours, either way, at the token endpoint."""
MAX_ASSERTION_JTI_CHARS = 128
GRANT = "client_credentials"
AUTH_METHOD = "private_key_jwt"
TOKEN_PATH = "/oauth/token"

MAX_ASSERTION_BYTES = 8192
_ASSERTION_TYPES = ("JWT", "client-authentication+jwt")
_ASSERTION_ALGS = PROOF_ALGS
_UNREADABLE = f"The assertion is not a compact JWS over a JSON object, of {MAX_ASSERTION_BYTES} characters at most."
_UNPROVED = "Client authentication failed."


Claim: TypeAlias = Callable[[CredentialId, bytes, int], None]
"""Claims the single use of an assertion, named by 32 bytes, for a credential and until a unix second."""


class OAuthAnswer(NamedTuple):
    """A document of the token endpoint, to be sent as JSON with `no-store`."""

    status: int
    document: dict[str, Any]


@dataclass(frozen=True, slots=True)
class TokenIssuer:
    """Everything that outlives a request. `issuer` is the issuer URL, `api_url` the audience of tokens."""

    issuer: str
    api_url: str
    token_keys: TokenKeys
    directory: Callable[[], Directory]
    decoys: Mapping[Alg, PublicKey]
    """A key of each algorithm that stands in for whatever does not fit: its work is done and always fails."""

    def answer(self, form: Mapping[str, str], jkt: Kid, claim: Claim, now: int) -> OAuthAnswer:
        """Run the grant for one request whose proof's key is `jkt`.

        `claim(credential, use, until)` is called once, when the client has proved its key and the assertion fits,
        before a token is made; whatever ReferralError it raises is the caller's to answer.
        """
        exchange = _Exchange(self, form, jkt, claim, now)
        status, document = _Server(exchange).create_token_response(form)
        return OAuthAnswer(status, document)

    @staticmethod
    def make_decoys(secret: bytes) -> Mapping[Alg, PublicKey]:
        """The decoys that belong to 32 secret bytes."""
        return {
            alg: signing_key(alg, hashlib.sha256(secret + alg.value.encode()).digest()).public for alg in PROOF_ALGS
        }


def server_metadata(issuer: str) -> dict[str, Any]:
    """The authorization server's metadata (RFC 8414, RFC 9449 §5.1). Raises ValueError if Authlib finds it unfit."""
    document = AuthorizationServerMetadata(
        {
            "issuer": issuer,
            "token_endpoint": issuer + TOKEN_PATH,
            "jwks_uri": issuer + "/.well-known/jwks.json",
            "response_types_supported": [],
            "grant_types_supported": [GRANT],
            "token_endpoint_auth_methods_supported": [AUTH_METHOD],
            "token_endpoint_auth_signing_alg_values_supported": [alg.value for alg in _ASSERTION_ALGS],
            "dpop_signing_alg_values_supported": [alg.value for alg in PROOF_ALGS],
            "ui_locales_supported": ["es", "en"],
        }
    )
    # RFC 8414 §2 makes response_types_supported mandatory, and a server without an authorization endpoint has none.
    for name in (
        "issuer",
        "token_endpoint",
        "jwks_uri",
        "grant_types_supported",
        "token_endpoint_auth_methods_supported",
    ):
        getattr(document, f"validate_{name}")()
    return dict(document)


def key_set(keys: Iterable[PublicKey]) -> dict[str, Any]:
    """A JWK set of verification keys (RFC 7517 §5)."""
    return {"keys": [{**key.jwk, "kid": key.kid, "use": "sig"} for key in keys]}


def joserfc_key(key: PublicKey) -> OKPKey | ECKey:
    """The same public key for joserfc, which then takes no other algorithm for it."""
    material: dict[str, str | list[str]] = {name: text for name, text in key.jwk.items() if name != "alg"}
    imported = import_key(material)
    if not isinstance(imported, (OKPKey, ECKey)):
        raise TypeError(f"{key.alg} is not an algorithm of OAuth")
    return imported


def one_algorithm(alg: Alg) -> JWSRegistry:
    """Joserfc's rules for a JWT of one algorithm; members of the header that mean nothing here are ignored."""
    registry = JWSRegistry(algorithms=[alg.value], strict_check_header=False)
    registry.max_header_length = registry.max_payload_length = MAX_ASSERTION_BYTES
    return registry


@dataclass(slots=True)
class _Exchange:
    """One request's surroundings, for Authlib's call-backs."""

    issuer: TokenIssuer
    form: Mapping[str, str]
    jkt: Kid
    claim: Claim
    now: int
    assertion: bytes = b""
    """The name of the assertion that was claimed: taken once, so the token's id is made of it."""


@dataclass(frozen=True, slots=True)
class _Client:
    """Authlib's client. Every name has one: without a credential behind it, its key is nobody's."""

    name: str
    credential: DirectoryCredential | None
    key: PublicKey | None

    def get_client_id(self) -> str:
        return self.name

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method == AUTH_METHOD and endpoint == "token"

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type == GRANT

    def get_allowed_scope(self, scope: str | None) -> str | None:
        # What a credential may do stands in the permission table; no scope is defined, so none can be granted.
        return None if scope else ""


# Authlib ships without types, so each of its classes is Any to the type checker.


class _Request(OAuth2Request):  # type: ignore[misc]
    """Authlib's request over a form that has been read. The URL is the public one, never a header's."""

    def __init__(self, uri: str, form: Mapping[str, str]) -> None:
        super().__init__("POST", uri)
        self.payload = BasicOAuth2Payload(dict(form))

    @property
    def args(self) -> dict[str, str]:
        return {}

    @property
    def form(self) -> dict[str, str]:
        data: dict[str, str] = self.payload.data
        return data


class _Assertion(JWTBearerClientAssertion):  # type: ignore[misc]
    """The only client authentication (R-41). Before the signature holds, every failure is one and the same."""

    CLIENT_AUTH_METHOD = AUTH_METHOD

    def __init__(self, exchange: _Exchange) -> None:
        super().__init__(validate_jti=True, leeway=SKEW_S)
        self._exchange = exchange
        self._header: dict[str, Any] = {}
        self._client: _Client | None = None
        self._alg = Alg.ED25519
        self._stands_in = True

    def extract_assertion(self, assertion: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Read strictly what Authlib would read with the last duplicate winning; form alone is judged."""
        try:
            compact = parse_compact(assertion.encode("utf-8")[: MAX_ASSERTION_BYTES + 1])
            header, claims = (
                parse(part, max_bytes=MAX_ASSERTION_BYTES, floats=True) for part in (compact.header, compact.payload)
            )
        except ReferralError:
            _refuse(_UNREADABLE)
        if len(assertion) > MAX_ASSERTION_BYTES or not isinstance(header, dict) or not isinstance(claims, dict):
            _refuse(_UNREADABLE)
        if header.get("typ", "JWT") not in _ASSERTION_TYPES or not _JOSE_EXTENSIONS.isdisjoint(header):
            _refuse("The assertion's header is not that of a client assertion.")
        if header.get("alg") not in _ASSERTION_ALGS or not isinstance(header.get("kid"), str):
            _refuse("The assertion needs alg Ed25519 or ES256, and kid.")
        self._header = header
        return header, claims

    def resolve_client_public_key(self, client: _Client) -> OKPKey | ECKey:
        """The registered key if header and registration agree, else a key that fits nothing but costs the same."""
        self._client = client
        self._alg = Alg(self._header["alg"])
        key = client.key
        self._stands_in = key is None or key.kid != self._header["kid"] or key.alg is not self._alg
        return joserfc_key(self._exchange.issuer.decoys[self._alg] if key is None or self._stands_in else key)

    def process_assertion_claims(self, assertion: str, resolve_key: OKPKey | ECKey) -> dict[str, Any]:
        """Signature first, under the key's own algorithm; then the claims, and the single use last."""
        try:
            token = jwt.decode(assertion, resolve_key, registry=one_algorithm(self._alg))
        except JoseError:
            _refuse(_UNPROVED)
        if self._stands_in or self._client is None or self._client.credential is None:
            _refuse(_UNPROVED)
        self.verify_claims(token.claims)
        return token.claims

    def get_audiences(self) -> list[str]:
        """The issuer alone: not the token endpoint, so that an assertion for another server fits nowhere else."""
        return [self._exchange.issuer.issuer]

    def verify_claims(self, claims: dict[str, Any]) -> None:
        """The rules of R-41. Authlib's own would read the machine's clock and miss five of them."""
        now = self._exchange.now
        if claims.get("iss") != claims["sub"] or self._exchange.form.get("client_id", claims["sub"]) != claims["sub"]:
            _refuse("iss, sub and client_id must all be the same.")
        if claims.get("aud") not in (self.get_audiences()[0], self.get_audiences()):
            _refuse("aud must be the issuer URL and nothing else.")
        expires_at = claims.get("exp")
        if not is_seconds(expires_at):
            _refuse("exp is required, in whole seconds.")
        if not now - SKEW_S < expires_at <= now + ASSERTION_S + SKEW_S:
            _refuse(f"exp must lie ahead, by {ASSERTION_S} seconds at most.")
        for name in ("iat", "nbf"):
            if name in claims and (not is_seconds(claims[name]) or claims[name] > now + SKEW_S):
                _refuse(f"{name} must be whole seconds, at most {SKEW_S} ahead.")
        jti = claims.get("jti")
        if not isinstance(jti, str) or not 1 <= len(jti) <= MAX_ASSERTION_JTI_CHARS:
            _refuse(f"jti is required, 1 to {MAX_ASSERTION_JTI_CHARS} characters.")
        self.validate_jti(claims, jti)

    def validate_jti(self, claims: dict[str, Any], jti: str) -> bool:
        """Claim the assertion for as long as any process could take it again (keycloak#43505)."""
        use = hashlib.sha256(f"{claims['sub']}|{jti}".encode()).digest()
        self._exchange.claim(CredentialId(claims["sub"]), use, claims["exp"] + SKEW_S + PROCESS_SKEW_S)
        self._exchange.assertion = use
        return True


class _Grant(ClientCredentialsGrant):  # type: ignore[misc]
    TOKEN_ENDPOINT_AUTH_METHODS = (AUTH_METHOD,)


class _Generator(JWTBearerTokenGenerator):  # type: ignore[misc]
    """DPoP-bound `at+jwt` of five minutes. Signed through `SigningKey`, so that the key may live in an HSM."""

    def __init__(self, exchange: _Exchange) -> None:
        super().__init__(exchange.issuer.issuer, alg=Alg.ED25519.value, expires_generator=TOKEN_S)
        self._exchange = exchange

    def generate(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Authlib's answer, of type DPoP."""
        return {**super().generate(*args, **kwargs), "token_type": "DPoP"}

    def get_audiences(self, client: _Client, user: None, scope: str) -> str:
        """The API, never the client."""
        del client, user, scope
        return self._exchange.issuer.api_url

    def access_token_generator(self, client: _Client, grant_type: str, user: None, scope: str) -> str:
        """The token itself (RFC 9068 §2), with the access key that it stands on, so that it ends with that key."""
        del grant_type
        credential, key, now = client.credential, client.key, self._exchange.now
        if credential is None or key is None:
            raise AssertionError("a token is made only for a client that has proved its key")
        claims = {
            "iss": self._exchange.issuer.issuer,
            "sub": credential.id,
            "aud": self.get_audiences(client, user, scope),
            "exp": now + TOKEN_S,
            "iat": now,
            "jti": b64u(self._exchange.assertion[:16]),
            "client_id": credential.id,
            "party": credential.party,
            "role": credential.role.value,
            "kind": credential.kind.value,
            "access_kid": key.kid,
            "cnf": {"jkt": self._exchange.jkt},
        }
        signer = self._exchange.issuer.token_keys.signer(KeyUse.TOKEN, now)
        header = {"alg": signer.alg.value, "kid": signer.kid, "typ": "at+jwt"}
        signing_input = f"{b64u(canonical(header))}.{b64u(canonical(claims))}"
        return f"{signing_input}.{b64u(signer.sign(signing_input.encode('ascii')))}"


class _Server(AuthorizationServer):  # type: ignore[misc]
    """Authlib's server for one request. Nothing is stored: a token is its own record."""

    def __init__(self, exchange: _Exchange) -> None:
        super().__init__()
        self._exchange = exchange
        self.register_client_auth_method(AUTH_METHOD, _Assertion(exchange))
        self.register_grant(_Grant)
        self.register_token_generator("default", _Generator(exchange))

    def query_client(self, client_id: str) -> _Client:
        """A client for every name, so that an unknown one fails exactly where a bad signature does."""
        directory = self._exchange.issuer.directory()
        credential = directory.find_credential(CredentialId(client_id))
        try:
            key = directory.access_key(credential.id, self._exchange.now) if credential is not None else None
        except ReferralError:
            key = None
        return _Client(client_id, credential, key)

    def save_token(self, token: dict[str, Any], request: _Request) -> None:
        """Nothing to save."""

    def send_signal(self, name: str, *args: Any, **kwargs: Any) -> None:
        """Nobody listens."""

    def create_oauth2_request(self, request: Mapping[str, str]) -> _Request:
        """Wrap the form."""
        return _Request(self._exchange.issuer.issuer + TOKEN_PATH, request)

    def create_json_request(self, request: object) -> Never:
        """No endpoint of ours takes OAuth requests in JSON."""
        del request
        raise AssertionError("no JSON endpoint is registered")

    def handle_response(self, status: int, body: dict[str, Any], headers: object) -> tuple[int, dict[str, Any]]:
        """Status and document; Authlib's headers (Basic and Bearer challenges among them) are dropped."""
        del headers
        if body.get("error") == InvalidClientError.error:
            return 401, {"error_description": _UNPROVED, **body}
        return status, body


_JOSE_EXTENSIONS = frozenset({"crit", "b64", "jku", "jwk", "x5u", "x5c", "enc", "zip"})


def _refuse(description: str) -> Never:
    raise InvalidClientError(description=description)
