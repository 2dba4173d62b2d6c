"""What Authlib and joserfc do when nobody overrides them, each beside what this exchange does instead.

An upgrade that changes a default fails here first: if it became stricter, an override may go; if it became laxer, look
for the next one. Stock classes run with the machine's clock, since they read no other.
"""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from authlib.oauth2 import AuthorizationServer, OAuth2Error, OAuth2Request
from authlib.oauth2.rfc6749 import ClientCredentialsGrant, InvalidClientError, ResourceProtector
from authlib.oauth2.rfc6749.errors import InsecureTransportError
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload
from authlib.oauth2.rfc6750.errors import InvalidTokenError
from authlib.oauth2.rfc7523 import JWTBearerClientAssertion, PrivateKeyJWT
from authlib.oauth2.rfc9068 import JWTBearerTokenGenerator, JWTBearerTokenValidator
from joserfc import jwt
from joserfc.errors import (
    ExceededSizeError,
    InvalidKeyTypeError,
    SecurityWarning,
    UnsupportedAlgorithmError,
    UnsupportedHeaderError,
)
from joserfc.jwk import ECKey, Key, OctKey, OKPKey, RSAKey

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.formats.keys import Alg
from referral_api.server.service.oauth import _Assertion, _Generator, _Grant, one_algorithm
from referral_api.server.service.tokens import TokenAnswer, TokenService
from tests.server.access import ASSERTION_TYPE, ISSUER, START, TOKEN_URL, AccessWorld, claims_of, compact, header_of
from tests.world import World

NAME = "linea-sur.svc1"


@pytest.fixture
def world(tmp_path: Path) -> AccessWorld:
    return AccessWorld(tmp_path)


@pytest.fixture(scope="module")
def ec_key() -> ECKey:
    return ECKey.generate_key("P-256")


class StockClient:
    def __init__(self, key: Key) -> None:
        self.key = key

    def get_client_id(self) -> str:
        return NAME

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return True

    def check_grant_type(self, grant_type: str) -> bool:
        return True

    def get_allowed_scope(self, scope: str | None) -> str:
        return ""


class StockAssertion(JWTBearerClientAssertion):  # type: ignore[misc]
    """Only what must be written to make the stock class run at all."""

    def get_audiences(self) -> list[str]:
        return [ISSUER]

    def validate_jti(self, claims: dict[str, Any], jti: str) -> bool:
        return True

    def resolve_client_public_key(self, client: StockClient) -> Key:
        return client.key


class Form(OAuth2Request):  # type: ignore[misc]
    def __init__(self, form: dict[str, str]) -> None:
        super().__init__("POST", TOKEN_URL)
        self.payload = BasicOAuth2Payload(form)
        self._form = form

    @property
    def form(self) -> dict[str, str]:
        return self._form


def stock_takes(key: Key, header: dict[str, Any], claims: dict[str, Any], algorithms: list[str] | None = None) -> bool:
    """Whether the stock assertion class takes an assertion with these changes."""
    now = int(time.time())
    right = {"iss": NAME, "sub": NAME, "aud": ISSUER, "exp": now + 60, "iat": now, "jti": "j", **claims}
    present = {name: value for name, value in right.items() if value is not None}
    assertion = jwt.encode(header, present, key, algorithms=algorithms, default_type=None)
    try:
        StockAssertion()(
            lambda _: StockClient(key), Form({"client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion})
        )
    except InvalidClientError:
        return False
    return True


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": 4_102_444_800},
        {"iat": None},
        {"iat": 0},
        {"aud": [ISSUER, "https://other.example"]},
        {"jti": "x" * 10_000},
        {"exp": 4_102_444_800.5},
    ],
)
def test_stock_takes_an_assertion_without_an_end_for_several_audiences_or_with_a_long_jti(
    ec_key: ECKey, claims: dict[str, Any]
) -> None:
    assert stock_takes(ec_key, {"alg": "ES256"}, claims)


@pytest.mark.parametrize(
    "claims",
    [{"exp": 4_102_444_800}, {"aud": [ISSUER, "https://other.example"]}, {"jti": "x" * 1000}, {"exp": START + 60.5}],
)
def test_ours_refuses_those(world: AccessWorld, claims: dict[str, Any]) -> None:
    assert world.hotline.ask(world.hotline.assertion(**claims)).status == 401


@pytest.mark.parametrize("typ", ["at+jwt", "dpop+jwt", "referral-receipt+jws"])
def test_stock_takes_an_assertion_of_any_type_and_ours_does_not(world: AccessWorld, ec_key: ECKey, typ: str) -> None:
    assert stock_takes(ec_key, {"alg": "ES256", "typ": typ}, {})
    assert world.hotline.ask(world.hotline.assertion(header={"typ": typ})).status == 401


def test_stock_takes_hs256_and_rs256_and_refuses_ed25519_which_is_the_other_way_round_here(world: AccessWorld) -> None:
    assert stock_takes(OctKey.generate_key(256), {"alg": "HS256"}, {})
    assert stock_takes(RSAKey.generate_key(2048), {"alg": "RS256"}, {})
    edwards = OKPKey.generate_key("Ed25519")
    assert not stock_takes(edwards, {"alg": "Ed25519"}, {}, ["Ed25519"])
    assert not stock_takes(RSAKey.generate_key(2048), {"alg": "PS256"}, {}, ["PS256"])
    with pytest.warns(SecurityWarning, match="EdDSA is deprecated"):
        assert not stock_takes(edwards, {"alg": "EdDSA"}, {}, ["EdDSA"])
    assert world.hotline.ask(world.hotline.assertion(header={"alg": "HS256"})).status == 401
    assert world.hotline.ask(world.hotline.assertion(header={"alg": "RS256"})).status == 401
    assert world.hotline.ask().status == 200


def test_stock_reads_the_last_of_doubled_members_and_ours_refuses_them(world: AccessWorld) -> None:
    hotline = world.hotline
    doubled = compact(
        {"alg": "Ed25519", "kid": hotline.access.kid}, b'{"sub":"a","sub":"linea-sur.svc1"}', hotline.access
    )
    _, claims = StockAssertion().extract_assertion(doubled.decode())
    assert claims == {"sub": NAME}
    answer = hotline.ask(doubled)
    assert answer.status == 401
    assert "compact JWS" in answer.document["error_description"]


def test_stock_reads_the_machines_clock_and_ours_the_time_it_is_given(world: AccessWorld) -> None:
    world.now = 1_000_000_000
    now = int(time.time())
    claims = {"iss": NAME, "sub": NAME, "aud": ISSUER, "exp": world.now + 60, "jti": "j"}
    with pytest.raises(InvalidClientError):
        StockAssertion().verify_claims(claims)
    StockAssertion().verify_claims({**claims, "exp": now + 60})
    world.replay.epoch(world.now)
    nonce = world.service._proofs.ask_for_nonce(0, world.now).facts["nonce"]
    assert world.hotline.ask(None, world.hotline.proof("POST", TOKEN_URL, nonce=nonce)).status == 200


def test_stock_names_the_method_otherwise_and_tells_unknown_clients_apart(world: AccessWorld, ec_key: ECKey) -> None:
    assert JWTBearerClientAssertion.CLIENT_AUTH_METHOD == "client_assertion_jwt"
    assert _Assertion.CLIENT_AUTH_METHOD == "private_key_jwt"
    assertion = jwt.encode({"alg": "ES256"}, {"sub": "nobody.here"}, ec_key)
    form = Form({"client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion})
    with pytest.raises(InvalidClientError) as error:
        StockAssertion()(lambda _: None, form)
    assert error.value.description == "The client does not exist on this server."
    ours = world.hotline.ask(world.hotline.assertion(iss="nobody.here", sub="nobody.here"))
    assert ours.document["error_description"] == "Client authentication failed."


def test_stock_grant_wants_client_secret_basic() -> None:
    assert list(ClientCredentialsGrant.TOKEN_ENDPOINT_AUTH_METHODS) == ["client_secret_basic"]
    assert list(_Grant.TOKEN_ENDPOINT_AUTH_METHODS) == ["private_key_jwt"]


def test_stock_server_offers_secrets_and_no_authentication_and_our_grant_never_reaches_them(world: AccessWorld) -> None:
    server = AuthorizationServer()
    server.register_client_auth_method("x", lambda *_: None)
    assert {"none", "client_secret_basic", "client_secret_post"} < set(server._client_auth._methods)
    hotline = world.hotline
    answer = hotline.ask(client_assertion=None, client_assertion_type=None, client_id=hotline.id)
    assert (answer.status, answer.document["error"]) == (401, "invalid_client")


class StockGenerator(JWTBearerTokenGenerator):  # type: ignore[misc]
    def __init__(self, key: Key, **options: Any) -> None:
        super().__init__(ISSUER, **options)
        self._key = key

    def get_jwks(self) -> Key:
        return self._key


def test_stock_tokens_are_rs256_bearer_of_ten_days_for_the_client_itself(world: AccessWorld) -> None:
    key = RSAKey.generate_key(2048)
    stock = StockGenerator(key)("client_credentials", StockClient(key))
    assert (stock["token_type"], stock["expires_in"]) == ("Bearer", 864_000)
    assert header_of(stock["access_token"])["alg"] == "RS256"
    assert claims_of(stock["access_token"])["aud"] == NAME
    assert "cnf" not in claims_of(stock["access_token"])
    ours = world.hotline.ask().document
    assert (ours["token_type"], ours["expires_in"]) == ("DPoP", 300)
    assert header_of(ours["access_token"])["alg"] == "Ed25519"
    assert claims_of(ours["access_token"])["aud"] == f"{ISSUER}/v1"
    assert _Generator.GRANT_TYPES_EXPIRES_IN["client_credentials"] == 864_000


def test_stock_cannot_sign_tokens_with_ed25519_at_all() -> None:
    key = OKPKey.generate_key("Ed25519")
    with pytest.raises(UnsupportedAlgorithmError):
        StockGenerator(key, alg="Ed25519")("client_credentials", StockClient(key))


class StockValidator(JWTBearerTokenValidator):  # type: ignore[misc]
    def __init__(self, key: Key) -> None:
        super().__init__(issuer=ISSUER, resource_server=f"{ISSUER}/v1")
        self._key = key

    def get_jwks(self) -> Key:
        return self._key


def stock_token(key: ECKey, header: dict[str, Any], **claims: Any) -> str:
    now = int(time.time())
    right = {
        "iss": ISSUER,
        "aud": f"{ISSUER}/v1",
        "sub": NAME,
        "client_id": NAME,
        "exp": now + 60,
        "iat": now,
        "jti": "j",
    }
    return jwt.encode({"alg": "ES256", **header}, {**right, **claims}, key, default_type=None)


def stock_call(key: ECKey, token: str, scheme: str = "Bearer") -> object:
    protector = ResourceProtector()
    protector.register_token_validator(StockValidator(key))
    request = Form({})
    request.headers = {"Authorization": f"{scheme} {token}"}
    return protector.validate_request([], request)


def test_stock_takes_a_token_without_a_type_and_ours_does_not(world: AccessWorld, ec_key: ECKey) -> None:
    assert stock_call(ec_key, stock_token(ec_key, {}))
    token = world.hotline.token()
    untyped = {name: value for name, value in header_of(token).items() if name != "typ"}
    with pytest.raises(ReferralError) as error:
        world.hotline.call(compact(untyped, claims_of(token), world.token_key).decode())
    assert error.value.code is ErrorCode.INVALID_TOKEN


def test_stock_takes_a_bound_token_as_a_bearer_token_and_ours_does_not(world: AccessWorld, ec_key: ECKey) -> None:
    assert stock_call(ec_key, stock_token(ec_key, {"typ": "at+jwt"}, cnf={"jkt": "x" * 43}))
    token = world.hotline.token()
    with pytest.raises(ReferralError) as error:
        world.hotline.call(token, scheme="Bearer")
    assert error.value.facts == {"reason": "scheme"}


def test_stock_takes_one_of_several_audiences_of_a_token_and_ours_does_not(world: AccessWorld, ec_key: ECKey) -> None:
    audiences = [f"{ISSUER}/v1", "https://other.example"]
    assert stock_call(ec_key, stock_token(ec_key, {"typ": "at+jwt"}, aud=audiences))
    token = world.hotline.token()
    several = compact(header_of(token), {**claims_of(token), "aud": audiences}, world.token_key)
    with pytest.raises(ReferralError) as error:
        world.hotline.call(several.decode())
    assert error.value.facts == {"reason": "claims"}


def test_stock_errors_challenge_for_bearer_and_basic_and_ours_for_dpop(world: AccessWorld, ec_key: ECKey) -> None:
    with pytest.raises(InvalidTokenError) as token_error:
        stock_call(ec_key, "a.b.c")
    assert dict(token_error.value.get_headers())["WWW-Authenticate"].startswith("Bearer")
    assert InvalidClientError().status_code == 400
    basic = dict(InvalidClientError(status_code=401).get_headers())["WWW-Authenticate"]
    assert basic.startswith("Basic")
    ours = world.hotline.ask(client_assertion=None)
    assert ours.status == 401
    assert dict(ours.headers)[b"www-authenticate"].startswith(b"DPoP ")


def test_stock_client_helper_takes_an_ec_key_in_pem_for_an_rsa_key(ec_key: ECKey) -> None:
    helper = PrivateKeyJWT(TOKEN_URL, alg="ES256")
    with pytest.raises(InvalidKeyTypeError):
        helper.sign(_Auth(ec_key.as_pem(private=True).decode()), TOKEN_URL)
    assert isinstance(helper.sign(_Auth(ec_key), TOKEN_URL), str)


class _Auth:
    def __init__(self, secret: Any) -> None:
        self.client_secret = secret
        self.client_id = NAME


def test_authlib_wants_https_except_on_the_loopback() -> None:
    for good in ("https://exchange.example", "http://127.0.0.1:8000", "http://[::1]:8000", "http://localhost"):
        InsecureTransportError.check(good)
    with pytest.raises(OAuth2Error):
        InsecureTransportError.check("http://exchange.example")


def test_joserfc_refuses_members_it_does_not_know_and_long_headers_and_ours_ignores_them(ec_key: ECKey) -> None:
    strange = compact_by(ec_key, {"alg": "ES256", "extra": "x"})
    with pytest.raises(UnsupportedHeaderError):
        jwt.decode(strange, ec_key, algorithms=["ES256"])
    long = compact_by(ec_key, {"alg": "ES256", "kid": "x" * 600})
    with pytest.raises(ExceededSizeError):
        jwt.decode(long, ec_key, algorithms=["ES256"])
    for token in (strange, long):
        assert jwt.decode(token, ec_key, registry=one_algorithm(Alg.ES256)).claims == {"a": 1}
    with pytest.raises(UnsupportedAlgorithmError):
        jwt.decode(strange, ec_key, registry=one_algorithm(Alg.ED25519))


def compact_by(key: ECKey, header: dict[str, Any]) -> str:
    """A JWT with any header, by a joserfc key."""
    return jwt.encode(header, {"a": 1}, key, registry=one_algorithm(Alg.ES256), default_type=None)


def test_joserfc_tolerates_a_header_that_points_elsewhere_for_its_key_and_ours_does_not(
    world: AccessWorld, ec_key: ECKey
) -> None:
    """It fetches nothing; that somebody may yet write so is refused all the same."""
    elsewhere = {"jku": "https://other.example/keys"}
    text = jwt.encode({"alg": "ES256", **elsewhere}, {"a": 1}, ec_key)
    assert jwt.decode(text, ec_key).header["jku"] == elsewhere["jku"]
    assert world.hotline.ask(world.hotline.assertion(header=elsewhere)).status == 401


def test_joserfc_reads_claims_up_to_its_own_limit_and_ours_up_to_ours(world: AccessWorld, ec_key: ECKey) -> None:
    assert jwt.decode(jwt.encode({"alg": "ES256"}, {"a": "x" * 90_000}, ec_key), ec_key).claims
    with pytest.raises(ExceededSizeError):
        jwt.decode(jwt.encode({"alg": "ES256"}, {"a": "x" * 100_000}, ec_key), ec_key)
    assert world.hotline.ask(world.hotline.assertion(filler="x" * 8192)).status == 401


def test_stock_server_calls_back_on_the_callers_thread_and_ours_runs_it_at_the_desk(
    sqlite_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a coroutine its look-ups would hold up every other call: tokens are issued on a thread of their own."""
    seen: list[threading.Thread] = []

    class Server(AuthorizationServer):  # type: ignore[misc]
        def create_oauth2_request(self, _request: object) -> Form:
            seen.append(threading.current_thread())
            return Form({"grant_type": "none"})

        def handle_response(self, *_: object) -> None:
            return

        def send_signal(self, *_: object, **__: object) -> None:
            return

    Server().create_token_response(None)
    assert seen == [threading.current_thread()]

    issue, desks = TokenService.issue, []

    def noted(service: TokenService, *request: Any) -> TokenAnswer:
        desks.append(threading.current_thread())
        with pytest.raises(RuntimeError, match="no running event loop"):
            asyncio.get_running_loop()
        return issue(service, *request)

    monkeypatch.setattr(TokenService, "issue", noted)
    assert sqlite_world.caller("officer").call("POST", "/oauth/token", raw=b"", signed=False).status == 400
    assert [one.name.startswith("lane-") for one in desks] == [True]
