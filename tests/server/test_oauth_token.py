"""The token endpoint's answers: who gets a token, who does not, and that strangers learn nothing (R-40, R-41)."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from joserfc import jwt

from referral_api.domain.words import CredentialKind, Role
from referral_api.formats.keys import Alg
from referral_api.server.service.oauth import TokenIssuer, joserfc_key, key_set, server_metadata
from referral_api.server.service.tokens import TokenAnswer, TokenService
from tests.server.access import (
    ASSERTION_TYPE,
    FORM_TYPE,
    ISSUER,
    START,
    TOKEN_URL,
    AccessWorld,
    claims_of,
    compact,
    header_of,
    key,
)


@pytest.fixture
def world(tmp_path: Path) -> AccessWorld:
    return AccessWorld(tmp_path)


def refused(answer: TokenAnswer, status: int, error: str) -> str:
    """Check a refusal and return its description."""
    assert (answer.status, answer.document["error"]) == (status, error), answer
    assert (b"cache-control", b"no-store") in answer.headers
    assert "access_token" not in answer.document
    description: str = answer.document.get("error_description", "")
    return description


def test_a_token_is_an_at_jwt_of_five_minutes_bound_to_the_proof_key(world: AccessWorld) -> None:
    answer = world.hotline.ask()
    assert answer.status == 200
    assert answer.headers == ((b"cache-control", b"no-store"), (b"pragma", b"no-cache"))
    assert set(answer.document) == {"access_token", "token_type", "expires_in"}
    assert (answer.document["token_type"], answer.document["expires_in"]) == ("DPoP", 300)
    token = answer.document["access_token"]
    assert header_of(token) == {"alg": "Ed25519", "kid": world.token_key.kid, "typ": "at+jwt"}
    claims = claims_of(token)
    assert len(claims.pop("jti")) == 22
    assert claims == {
        "iss": ISSUER,
        "sub": "linea-sur.svc1",
        "client_id": "linea-sur.svc1",
        "aud": f"{ISSUER}/v1",
        "iat": START,
        "exp": START + 300,
        "party": "linea-sur",
        "role": "hotline",
        "kind": "service",
        "access_kid": world.hotline.access.kid,
        "cnf": {"jkt": world.hotline.dpop.kid},
    }


def test_a_general_jwt_library_verifies_the_token_with_the_published_key(world: AccessWorld) -> None:
    token = world.hotline.token()
    decoded = jwt.decode(token, joserfc_key(world.token_key.public), algorithms=["Ed25519"])
    assert decoded.claims["client_id"] == "linea-sur.svc1"


def test_every_token_has_its_own_id(world: AccessWorld) -> None:
    ids = {claims_of(client.token())["jti"] for client in (world.hotline, world.unit) for _ in range(5)}
    assert len(ids) == 10


@pytest.mark.parametrize("alg", [Alg.ED25519, Alg.ES256])
@pytest.mark.parametrize("proof_alg", [Alg.ED25519, Alg.ES256])
def test_both_algorithms_serve_for_both_keys(world: AccessWorld, alg: Alg, proof_alg: Alg) -> None:
    client = world.enrol("unidad-8.eva1", Role.POLICE_UNIT, CredentialKind.PERSON, alg, proof_alg)
    assert claims_of(client.token())["cnf"] == {"jkt": client.dpop.kid}


@pytest.mark.parametrize(
    ("claims", "header"),
    [
        ({"aud": [ISSUER]}, {}),
        ({"iat": START + 8, "nbf": START + 8}, {}),
        ({"iat": START + 60}, {}),
        ({"iat": START - 86_400}, {}),
        ({"iat": None}, {}),
        ({"exp": START + 360}, {}),
        ({"exp": START - 59}, {}),
        ({"jti": "x" * 128}, {}),
        ({"extra": {"deep": [1.5]}}, {}),
        ({}, {"typ": "JWT"}),
        ({}, {"typ": "client-authentication+jwt"}),
        ({}, {"extra": "ignored"}),
    ],
)
def test_a_valid_assertion_is_taken(world: AccessWorld, claims: dict[str, Any], header: dict[str, Any]) -> None:
    assert world.hotline.ask(world.hotline.assertion(header=header, **claims)).status == 200


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": None},
        {"aud": TOKEN_URL},
        {"aud": f"{ISSUER}/"},
        {"aud": []},
        {"aud": [ISSUER, "https://other.example"]},
        {"aud": [ISSUER, ISSUER]},
        {"aud": [TOKEN_URL]},
        {"aud": {"0": ISSUER}},
        {"iss": None},
        {"iss": "unidad-7.ana1"},
        {"exp": None},
        {"exp": START - 60},
        {"exp": START - 300},
        {"exp": START + 361},
        {"exp": 4_102_444_800},
        {"exp": str(START + 60)},
        {"exp": START + 60.5},
        {"exp": True},
        {"iat": START + 61},
        {"iat": str(START)},
        {"nbf": START + 61},
        {"nbf": True},
        {"jti": None},
        {"jti": ""},
        {"jti": 7},
        {"jti": "x" * 129},
    ],
)
def test_a_wrong_claim_is_refused(world: AccessWorld, claims: dict[str, Any]) -> None:
    refused(world.hotline.ask(world.hotline.assertion(**claims)), 401, "invalid_client")


@pytest.mark.parametrize("sub", [None, 7, "", "nobody.here", "unidad-7.ana1"])
def test_a_missing_or_foreign_subject_is_refused(world: AccessWorld, sub: Any) -> None:
    refused(world.hotline.ask(world.hotline.assertion(sub=sub)), 401, "invalid_client")


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none"},
        {"alg": "HS256"},
        {"alg": "RS256"},
        {"alg": "PS256"},
        {"alg": "EdDSA"},
        {"alg": "ES256"},
        {"alg": None},
        {"alg": ["Ed25519"]},
        {"kid": None},
        {"kid": 7},
        {"kid": "elsewhere"},
        {"typ": "at+jwt"},
        {"typ": "dpop+jwt"},
        {"typ": "referral-act+jws"},
        {"typ": ["JWT"]},
        {"crit": ["exp"]},
        {"jwk": {"kty": "OKP"}},
        {"jku": "https://other.example/jwks"},
        {"x5u": "https://other.example/chain"},
        {"b64": False},
    ],
)
def test_a_wrong_header_is_refused(world: AccessWorld, header: dict[str, Any]) -> None:
    refused(world.hotline.ask(world.hotline.assertion(header=header)), 401, "invalid_client")


@pytest.mark.parametrize("text", ["", "x", "a.b", "a.b.c", "e30.e30.", "....", "\u00e9.\u00e9.\u00e9", "W10.W10.AAAA"])
def test_text_that_is_no_assertion_is_refused(world: AccessWorld, text: str) -> None:
    refused(world.hotline.ask(client_assertion=text), 401, "invalid_client")


def test_an_assertion_with_a_doubled_member_is_refused(world: AccessWorld) -> None:
    hotline = world.hotline
    doubled = f'{{"sub":"{hotline.id}","sub":"{hotline.id}"}}'.encode()
    signed = compact({"alg": "Ed25519", "kid": hotline.access.kid}, doubled, hotline.access)
    refused(hotline.ask(signed), 401, "invalid_client")


def test_an_oversized_assertion_is_refused(world: AccessWorld) -> None:
    refused(world.hotline.ask(world.hotline.assertion(jti="x" * 10_000)), 401, "invalid_client")


def test_another_clients_key_does_not_serve_even_under_its_own_kid(world: AccessWorld) -> None:
    stranger = world.enrol("linea-sur.svc2", Role.HOTLINE, CredentialKind.SERVICE)
    refused(world.hotline.ask(world.hotline.assertion(signer=stranger.access)), 401, "invalid_client")
    borrowed = world.hotline.assertion(signer=stranger.access, header={"kid": world.hotline.access.kid})
    refused(world.hotline.ask(borrowed), 401, "invalid_client")


def test_an_assertion_under_the_decoy_key_is_refused_for_known_and_unknown_clients(world: AccessWorld) -> None:
    decoys = TokenIssuer.make_decoys(b"s" * 32)
    assert {public.alg for public in decoys.values()} == {Alg.ED25519, Alg.ES256}
    assert world.service._tokens.decoys.keys() == decoys.keys()
    assert len({public.kid for public in (*decoys.values(), *world.service._tokens.decoys.values())}) == 4


def test_unknown_client_wrong_key_wrong_kid_and_revoked_key_get_the_same_answer(world: AccessWorld) -> None:
    hotline = world.hotline
    answers = [
        hotline.ask(hotline.assertion(iss="nobody.here", sub="nobody.here")),
        hotline.ask(hotline.assertion(signer=key("thief"), header={"kid": hotline.access.kid})),
        hotline.ask(hotline.assertion(signer=key("thief"))),
        hotline.ask(hotline.assertion(signer=key("thief", Alg.ES256))),
        hotline.ask(hotline.assertion(signer=key("thief"), aud="https://other.example", exp=1)),
    ]
    del world.roll.keys[hotline.id]
    answers.append(hotline.ask())
    assert len({repr(answer) for answer in answers}) == 1
    refused(answers[0], 401, "invalid_client")


def test_a_credential_whose_time_is_over_gets_no_token(world: AccessWorld) -> None:
    world.roll.valid_until[world.hotline.id] = START
    refused(world.hotline.ask(), 401, "invalid_client")


def test_an_assertion_works_once_and_again_never_while_it_could_be_valid(world: AccessWorld) -> None:
    assertion = world.hotline.assertion(exp=START + 360)
    assert world.hotline.ask(assertion).status == 200
    for later in (0, 1, 300, 419):
        world.now = START + later
        assert "used before" in refused(world.hotline.ask(assertion), 401, "invalid_client") or later >= 420
    world.now = START + 420
    assert "exp" in refused(world.hotline.ask(assertion), 401, "invalid_client")


def test_an_assertion_stays_used_across_a_restart(world: AccessWorld) -> None:
    assertion = world.hotline.assertion(exp=START + 300)
    assert world.hotline.ask(assertion).status == 200
    world.now += 20
    world.restart()
    world.now += 20
    assert "used before" in refused(world.hotline.ask(assertion), 401, "invalid_client")
    assert world.hotline.ask().status == 200


def test_two_clients_may_use_the_same_jti(world: AccessWorld) -> None:
    assert world.hotline.ask(world.hotline.assertion(jti="same")).status == 200
    assert world.unit.ask(world.unit.assertion(jti="same")).status == 200


def test_a_refused_assertion_is_not_used_up(world: AccessWorld) -> None:
    assertion = world.hotline.assertion()
    refused(world.hotline.ask(assertion, world.hotline.proof("GET", TOKEN_URL)), 400, "invalid_dpop_proof")
    assert world.hotline.ask(assertion).status == 200


@pytest.mark.parametrize(
    "form",
    [
        {"grant_type": None},
        {"client_secret": "hunter2"},
    ],
)
def test_a_malformed_form_is_an_invalid_request(world: AccessWorld, form: dict[str, Any]) -> None:
    refused(world.hotline.ask(**form), 400, "invalid_request")


@pytest.mark.parametrize("body", [b"", b"grant_type", b"=", b"a=%ff", b"\xff", b"&".join([b"a=1"] * 21), b"x" * 16_385])
def test_a_body_that_is_no_form_is_an_invalid_request(world: AccessWorld, body: bytes) -> None:
    proof = (b"dpop", world.hotline.proof("POST", TOKEN_URL))
    refused(world.service.issue(body, [FORM_TYPE, proof], START), 400, "invalid_request")


@pytest.mark.parametrize(("size", "status"), [(16_384, 200), (16_385, 400)])
def test_a_form_of_16_kib_is_read_and_one_byte_more_is_not(world: AccessWorld, size: int, status: int) -> None:
    """R-05."""
    assertion = world.hotline.assertion().decode()
    form = urlencode({"grant_type": "client_credentials", "client_assertion_type": ASSERTION_TYPE})
    body = f"{form}&client_assertion={assertion}&filler=".encode()
    proof = (b"dpop", world.hotline.proof("POST", TOKEN_URL))
    answer = world.service.issue(body.ljust(size, b"x"), [FORM_TYPE, proof], world.now)
    assert answer.status == status, answer


def test_a_repeated_parameter_is_an_invalid_request(world: AccessWorld) -> None:
    proof = (b"dpop", world.hotline.proof("POST", TOKEN_URL))
    body = b"grant_type=client_credentials&grant_type=client_credentials"
    assert "repeated" in refused(world.service.issue(body, [FORM_TYPE, proof], START), 400, "invalid_request")


@pytest.mark.parametrize("types", [[], [b"application/json"], [b"text/plain"], [FORM_TYPE[1], FORM_TYPE[1]]])
def test_another_media_type_is_an_invalid_request(world: AccessWorld, types: list[bytes]) -> None:
    headers = [*((b"content-type", value) for value in types), (b"dpop", world.hotline.proof("POST", TOKEN_URL))]
    refused(world.service.issue(b"grant_type=client_credentials", headers, START), 400, "invalid_request")


def test_a_media_type_with_a_charset_is_a_form(world: AccessWorld) -> None:
    headers = [
        (b"content-type", b"Application/X-WWW-Form-Urlencoded; charset=UTF-8"),
        (b"dpop", world.hotline.proof("POST", TOKEN_URL)),
    ]
    refused(world.service.issue(b"grant_type=client_credentials", headers, START), 401, "invalid_client")


def test_a_second_way_to_authenticate_is_an_invalid_request(world: AccessWorld) -> None:
    answer = world.hotline.ask(None, headers=[(b"authorization", b"Basic bGluZWE6c2VjcmV0")])
    refused(answer, 400, "invalid_request")


@pytest.mark.parametrize("grant", ["password", "authorization_code", "refresh_token", "client_credentials2", "\u00f1"])
def test_another_grant_is_unsupported(world: AccessWorld, grant: str) -> None:
    refused(world.hotline.ask(grant_type=grant), 400, "unsupported_grant_type")


@pytest.mark.parametrize(
    "form",
    [
        {"client_assertion": None},
        {"client_assertion_type": None},
        {"client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"},
        {"client_assertion": None, "client_assertion_type": None, "client_id": "linea-sur.svc1"},
    ],
)
def test_no_assertion_is_an_invalid_client(world: AccessWorld, form: dict[str, Any]) -> None:
    refused(world.hotline.ask(**form), 401, "invalid_client")


def test_a_client_id_must_name_the_subject(world: AccessWorld) -> None:
    assert world.hotline.ask(client_id=world.hotline.id).status == 200
    refused(world.hotline.ask(client_id=world.unit.id), 401, "invalid_client")


def test_no_scope_can_be_had(world: AccessWorld) -> None:
    refused(world.hotline.ask(scope="admin"), 400, "invalid_scope")
    assert world.hotline.ask(scope="").status == 200


def test_a_refused_client_is_challenged_for_dpop_and_told_the_time(world: AccessWorld) -> None:
    answer = world.hotline.ask(world.hotline.assertion(exp=START - 500))
    assert (b"www-authenticate", b'DPoP algs="ES256 Ed25519"') in answer.headers
    assert answer.document["server_time"] == START


def test_a_token_request_without_exactly_one_proof_is_refused(world: AccessWorld) -> None:
    hotline = world.hotline
    body = b"grant_type=client_credentials"
    refused(world.service.issue(body, [FORM_TYPE], START), 400, "invalid_dpop_proof")
    proofs = [hotline.proof("POST", TOKEN_URL), hotline.proof("POST", TOKEN_URL)]
    assert "doubled" in refused(hotline.ask(None, *proofs), 400, "invalid_dpop_proof")


def test_a_proof_for_another_target_gets_no_token(world: AccessWorld) -> None:
    for url in (ISSUER, f"{ISSUER}/v1/inbox", "https://other.example/oauth/token"):
        refused(world.hotline.ask(None, world.hotline.proof("POST", url)), 400, "invalid_dpop_proof")


def test_a_replayed_proof_gets_no_second_token(world: AccessWorld) -> None:
    proof = world.hotline.proof("POST", TOKEN_URL)
    assert world.hotline.ask(None, proof).status == 200
    assert "replayed" in refused(world.hotline.ask(None, proof), 400, "invalid_dpop_proof")


def test_a_skewed_clock_is_measured_and_helped_by_a_nonce(world: AccessWorld) -> None:
    hotline = world.hotline
    answer = hotline.ask(None, hotline.proof("POST", TOKEN_URL, iat=START - 4000))
    refused(answer, 400, "use_dpop_nonce")
    assert answer.document["skew_s"] == -4000
    nonce = dict(answer.headers)[b"dpop-nonce"].decode()
    assert hotline.ask(None, hotline.proof("POST", TOKEN_URL, iat=START - 4000, nonce=nonce)).status == 200


def test_the_21st_token_within_a_minute_is_refused_with_the_time_to_wait(world: AccessWorld) -> None:
    for _ in range(20):
        assert world.hotline.ask().status == 200
        world.now += 1
    answer = world.hotline.ask()
    refused(answer, 429, "rate-limited")
    assert dict(answer.headers)[b"retry-after"] == b"40"
    assert world.unit.ask().status == 200
    world.now = START + 59
    refused(world.hotline.ask(), 429, "rate-limited")
    world.now = START + 60
    assert world.hotline.ask().status == 200


def test_strangers_cannot_use_up_a_credentials_quota_or_the_replay_store(world: AccessWorld) -> None:
    thief = key("thief")
    for _ in range(30):
        assert world.hotline.ask(world.hotline.assertion(signer=thief)).status in (401, 429)
    assert len(world.replay._proofs) == 0  # type: ignore[attr-defined]
    assert world.hotline.ask().status == 200


def test_a_replay_store_that_cannot_answer_means_no_token(world: AccessWorld) -> None:
    world.journal.unlink()
    world.journal.mkdir()
    answer = world.hotline.ask()
    refused(answer, 503, "temporarily_unavailable")
    assert dict(answer.headers)[b"retry-after"] == b"1"


def test_the_token_key_must_be_deterministic(world: AccessWorld) -> None:
    with pytest.raises(ValueError, match="Ed25519"):
        TokenService(
            issuer=ISSUER,
            token_key=key("token", Alg.ES256),
            directory=lambda: world.roll,
            replay=world.replay,
            limits=world.service.limits,
        )


def test_the_metadata_names_what_a_client_needs_and_nothing_else() -> None:
    document = server_metadata(ISSUER)
    assert document == {
        "issuer": ISSUER,
        "token_endpoint": TOKEN_URL,
        "jwks_uri": f"{ISSUER}/.well-known/jwks.json",
        "response_types_supported": [],
        "grant_types_supported": ["client_credentials"],
        "token_endpoint_auth_methods_supported": ["private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": ["ES256", "Ed25519"],
        "dpop_signing_alg_values_supported": ["ES256", "Ed25519"],
        "ui_locales_supported": ["es", "en"],
    }
    assert server_metadata("http://127.0.0.1:8000")["issuer"] == "http://127.0.0.1:8000"
    with pytest.raises(ValueError, match="https"):
        server_metadata("http://exchange.example")


def test_the_key_set_names_each_key_by_its_thumbprint_and_holds_no_secret(world: AccessWorld) -> None:
    (published,) = key_set([world.token_key.public])["keys"]
    assert published == {**world.token_key.public.jwk, "kid": world.token_key.kid, "use": "sig"}
    assert "d" not in published
