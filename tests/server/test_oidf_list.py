"""The OpenID Foundation's negative list for FAPI 2.0 with DPoP, in our words, over real HTTP and on both engines.

Each row is one block of its modules for DPoP proofs and client assertions, as far as they mean anything without
authorization codes: what must be refused is refused for that reason, and what must be taken is taken, with the same
token before and after. The rules themselves are tried without a network in test_dpop_calls.py, test_dpop_target.py and
test_oauth_token.py (R-41 to R-44).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

import httpx2
import pytest

from referral_api.formats.keys import Alg, SigningKey
from referral_api.formats.strict_json import b64u, sha256_b64u, unb64u
from tests.server.access import ASSERTION_TYPE, compact, key
from tests.world import ISSUER, World

TOKEN, PING = "/oauth/token", "/v1/ping"
HOUR = 3600
_serials = itertools.count(1)


class Vendor:
    """Somebody's client for one of the exchange's credentials; any part of what it sends may be wrong on purpose."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.id = str(world.colleague.keys.credential)
        self.access: SigningKey = world.colleague.keys.access.signing_key()
        self.dpop = key("vendor dpop", Alg.ES256)
        self.http = httpx2.Client(base_url=world.server.url, timeout=30)
        self.world.clock.ahead_s += 61  # A minute of its own for every test.

    @property
    def now(self) -> int:
        """The exchange's time."""
        return int(self.world.clock())

    def assertion(self, header: Mapping[str, Any], claims: Mapping[str, Any], signer: SigningKey | None = None) -> str:
        """A client assertion with these changes; None leaves a member out."""
        right = {"iss": self.id, "sub": self.id, "aud": ISSUER, "exp": self.now + 60, "jti": f"a{next(_serials)}"}
        head = {"alg": self.access.alg.value, "kid": self.access.kid} | dict(header)
        return compact(present(head), present(right | dict(claims)), signer or self.access).decode()

    def proof(
        self,
        call: str,
        token: str | None,
        header: Mapping[str, Any],
        claims: Mapping[str, Any],
        signer: SigningKey | None = None,
    ) -> str:
        """A DPoP proof for `METHOD /path` with these changes."""
        method, _, path = call.partition(" ")
        signer = signer or self.dpop
        jwk = {name: text for name, text in signer.public.jwk.items() if name != "alg"}
        head = {"typ": "dpop+jwt", "alg": signer.alg.value, "jwk": jwk} | dict(header)
        right: dict[str, Any] = {"htm": method, "htu": ISSUER + path, "iat": self.now, "jti": f"p{next(_serials)}"}
        if token is not None:
            right["ath"] = sha256_b64u(token.encode())
        return compact(present(head), present(right | dict(claims)), signer).decode()

    def ask(self, assertion: str | None = None, proof: str | None = None) -> httpx2.Response:
        """A token request."""
        form = {
            "grant_type": "client_credentials",
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": self.assertion({}, {}) if assertion is None else assertion,
        }
        headers = {
            "DPoP": self.proof(f"POST {TOKEN}", None, {}, {}) if proof is None else proof,
            "Content-Type": "application/x-www-form-urlencoded",
        }
        return self.http.post(TOKEN, content=urlencode(form).encode(), headers=headers)

    def token(self) -> str:
        """A running token."""
        answer = self.ask()
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])

    def call(self, token: str, *proofs: str, scheme: str = "DPoP", name: str = "DPoP", query: str = "") -> Any:
        """`GET /v1/ping` with these proofs."""
        headers = [("Authorization", f"{scheme} {token}"), *((name, proof) for proof in proofs)]
        return self.http.get(PING + query, headers=headers)

    def good(self, token: str) -> bool:
        """Whether a right call still works: that what failed before failed for what was wrong with it."""
        return bool(self.call(token, self.proof(f"GET {PING}", token, {}, {})).status_code == 200)


def present(members: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


@pytest.fixture(scope="module")
def exchange(served: World) -> World:
    served.clock.ahead_s += 180  # Past the first minutes, in which every proof needs a nonce.
    return served


@pytest.fixture
def vendor(exchange: World) -> Iterator[Vendor]:
    client = Vendor(exchange)
    yield client
    client.http.close()


PROOFS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "typ is missing": ({"typ": None}, {}, "typ"),
    "alg is missing": ({"alg": None}, {}, "alg"),
    "jwk is missing": ({"jwk": None}, {}, "jwk"),
    "jti is missing": ({}, {"jti": None}, "jti"),
    "htm is missing": ({}, {"htm": None}, "htm"),
    "htu is missing": ({}, {"htu": None}, "htu"),
    "iat is missing": ({}, {"iat": None}, "iat"),
    "typ is another": ({"typ": "JWT"}, {}, "typ"),
    "signed with RS256": ({"alg": "RS256"}, {}, "alg"),
    "signed with none": ({"alg": "none"}, {}, "alg"),
    "signed with HS256": ({"alg": "HS256"}, {}, "alg"),
    "jwk is a private key": ({"jwk": {"d": "A" * 43}}, {}, "private-key"),
    "htm is another": ({}, {"htm": "PUT"}, "htm"),
    "htu is another": ({}, {"htu": "https://other.example/oauth/token"}, "htu"),
    "jti is very long": ({}, {"jti": "j" * 65}, "jti"),
    "crit is understood by nobody": ({"crit": ["b64"]}, {}, "crit"),
}
"""Proofs that are refused wherever they are sent: changes of header and claims, and why."""


@pytest.mark.parametrize("row", PROOFS)
def test_a_proof_is_refused_by_the_api_where(vendor: Vendor, row: str) -> None:
    header, claims, reason = PROOFS[row]
    token = vendor.token()
    answer = vendor.call(token, vendor.proof(f"GET {PING}", token, header, claims))
    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["reason"]) == (401, "invalid_dpop_proof", reason)
    assert answer.headers["www-authenticate"].startswith('DPoP error="invalid_dpop_proof"')
    assert vendor.good(token)


@pytest.mark.parametrize("row", PROOFS)
def test_a_proof_is_refused_by_the_token_endpoint_where(vendor: Vendor, row: str) -> None:
    header, claims, reason = PROOFS[row]
    assertion = vendor.assertion({}, {})
    answer = vendor.ask(assertion, vendor.proof(f"POST {TOKEN}", None, header, claims))
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_dpop_proof")
    assert reason in answer.json()["error_description"]
    # The assertion was not used up by it: it is good with a proof that is.
    assert vendor.ask(assertion).status_code == 200


@pytest.mark.parametrize(
    "claims", [{"ath": None}, {"ath": sha256_b64u(b"another")}], ids=["ath is missing", "is wrong"]
)
def test_a_proof_binds_the_token_that_it_comes_with(vendor: Vendor, claims: dict[str, Any]) -> None:
    token = vendor.token()
    answer = vendor.call(token, vendor.proof(f"GET {PING}", token, {}, claims))
    assert (answer.status_code, answer.json()["reason"]) == (401, "ath")
    assert vendor.good(token)


TAKEN: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "extra members in header and claims": ({"kid": "x", "extra": {"a": [1, 2.5]}}, {"extra": [1.5], "sub": "nobody"}),
    "nbf and exp of its own": ({}, {"nbf": 1, "exp": 2**40}),
    "htu has a query and a fragment": ({}, {"htu": f"{ISSUER}{PING}?some=query#fragment"}),
    "htu in capitals": ({}, {"htu": f"HTTP://LOCALHOST:8440{PING}"}),
    "htu percent-encoded": ({}, {"htu": f"{ISSUER}/v1/%70ing"}),
    "htu with a dot segment": ({}, {"htu": f"{ISSUER}/v1/./ping"}),
}


@pytest.mark.parametrize("row", TAKEN)
def test_a_proof_is_taken_with(vendor: Vendor, row: str) -> None:
    token = vendor.token()
    assert vendor.call(token, vendor.proof(f"GET {PING}", token, *TAKEN[row])).status_code == 200


@pytest.mark.parametrize("after_s", [-10, 10])
def test_a_proof_is_taken_ten_seconds_before_and_after(vendor: Vendor, after_s: int) -> None:
    token = vendor.token()
    proof = vendor.proof(f"GET {PING}", token, {}, {"iat": vendor.now + after_s})
    assert vendor.call(token, proof).status_code == 200


@pytest.mark.parametrize("after_s", [-HOUR, HOUR])
def test_a_clock_that_is_an_hour_wrong_is_told_and_helped_by_a_nonce_at_both_places(
    vendor: Vendor, after_s: int
) -> None:
    def skewed(call: str, token: str | None, nonce: str | None) -> str:
        return vendor.proof(call, token, {}, {"iat": vendor.now + after_s, "nonce": nonce})

    asked = vendor.ask(None, skewed(f"POST {TOKEN}", None, None))
    assert (asked.status_code, asked.json()["error"]) == (400, "use_dpop_nonce")
    given = vendor.ask(None, skewed(f"POST {TOKEN}", None, asked.headers["dpop-nonce"]))
    token = str(given.json()["access_token"])
    asked = vendor.call(token, skewed(f"GET {PING}", token, None))
    assert (asked.status_code, asked.json()["code"]) == (401, "use_dpop_nonce")
    assert abs(asked.json()["skew_s"] - after_s) <= 2
    assert 'error="use_dpop_nonce"' in asked.headers["www-authenticate"]
    nonce = asked.headers["dpop-nonce"]
    once = skewed(f"GET {PING}", token, nonce)
    assert vendor.call(token, once).status_code == 200
    assert vendor.call(token, once).json()["reason"] == "replayed"
    assert vendor.call(token, skewed(f"GET {PING}", token, "A" * 43)).json()["code"] == "use_dpop_nonce"


def test_a_query_of_the_call_is_no_part_of_the_target(vendor: Vendor) -> None:
    token = vendor.token()
    proof = vendor.proof(f"GET {PING}", token, {}, {})
    assert vendor.call(token, proof, query="?some=query").status_code == 200


@pytest.mark.parametrize("name", ["DPOP", "dpop"])
def test_the_headers_name_is_taken_in_any_case(vendor: Vendor, name: str) -> None:
    token = vendor.token()
    assert vendor.call(token, vendor.proof(f"GET {PING}", token, {}, {}), name=name).status_code == 200


def test_no_proof_two_proofs_and_text_that_is_none_are_refused(vendor: Vendor) -> None:
    token = vendor.token()
    right, other = (vendor.proof(f"GET {PING}", token, {}, {}) for _ in range(2))
    for proofs, reason in (((), "missing"), ((right, other), "doubled"), ((right + ".x",), "malformed")):
        assert vendor.call(token, *proofs).json()["reason"] == reason
    assert vendor.good(token)


@pytest.mark.parametrize("proofs", [0, 1])
def test_a_bound_token_is_no_bearer_token(vendor: Vendor, proofs: int) -> None:
    token = vendor.token()
    sent = [vendor.proof(f"GET {PING}", token, {}, {}) for _ in range(proofs)]
    answer = vendor.call(token, *sent, scheme="Bearer")
    assert (answer.status_code, answer.json()["code"]) == (401, "invalid_token")
    assert vendor.good(token)


def test_a_proof_works_once_at_each_place(vendor: Vendor) -> None:
    token = vendor.token()
    proof = vendor.proof(f"GET {PING}", token, {}, {})
    assert [vendor.call(token, proof).status_code for _ in range(2)] == [200, 401]
    proof = vendor.proof(f"POST {TOKEN}", None, {}, {})
    assert [vendor.ask(None, proof).status_code for _ in range(2)] == [200, 400]


def test_a_signature_that_is_wrong_and_a_key_that_is_another_are_refused(vendor: Vendor) -> None:
    token = vendor.token()
    proof = vendor.proof(f"GET {PING}", token, {}, {})
    head, _, signature = proof.rpartition(".")
    raw = bytearray(unb64u(signature))
    raw[7] ^= 1
    assert vendor.call(token, f"{head}.{b64u(bytes(raw))}").json()["reason"] == "signature"
    stolen = vendor.proof(f"GET {PING}", token, {}, {}, key("thief", Alg.ES256))
    assert vendor.call(token, stolen).json()["reason"] == "binding"
    assert vendor.good(token)


ASSERTIONS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "aud is another server": ({}, {"aud": "https://other.example"}),
    "aud is the token endpoint": ({}, {"aud": ISSUER + TOKEN}),
    "aud is a list with the token endpoint": ({}, {"aud": [ISSUER + TOKEN]}),
    "aud is a list with others": ({}, {"aud": [ISSUER, "https://other.example"]}),
    "aud is missing": ({}, {"aud": None}),
    "exp is five minutes past": ({}, {"exp": -300}),
    "exp is missing": ({}, {"exp": None}),
    "exp is far ahead": ({}, {"exp": 400}),
    "iat is over a minute ahead": ({}, {"iat": 70}),
    "nbf is over a minute ahead": ({}, {"nbf": 70}),
    "sub is missing": ({}, {"sub": None}),
    "iss is missing": ({}, {"iss": None}),
    "iss is another": ({}, {"iss": "nobody.here"}),
    "jti is missing": ({}, {"jti": None}),
    "signed with RS256": ({"alg": "RS256"}, {}),
    "signed with PS256 by no such key": ({"alg": "PS256"}, {}),
    "signed with none": ({"alg": "none"}, {}),
    "typ is a token's": ({"typ": "at+jwt"}, {}),
    "typ is a proof's": ({"typ": "dpop+jwt"}, {}),
    "kid is missing": ({"kid": None}, {}),
    "kid is nobody's": ({"kid": "elsewhere"}, {}),
}
TAKEN_ASSERTIONS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "aud is the issuer": ({}, {"aud": ISSUER}),
    "aud is a list of the issuer alone": ({}, {"aud": [ISSUER]}),
    "iat and nbf are eight seconds ahead": ({}, {"iat": 8, "nbf": 8}),
    "exp is ten seconds past": ({}, {"exp": -10}),
    "typ is JWT": ({"typ": "JWT"}, {}),
    "typ is its own": ({"typ": "client-authentication+jwt"}, {}),
    "there is more in it": ({"extra": "x"}, {"extra": {"a": 1.5}}),
}


def at(claims: Mapping[str, Any], now: int) -> dict[str, Any]:
    """Claims whose times are said by how far they are from now."""
    return {
        name: now + value if name in ("exp", "iat", "nbf") and value is not None else value
        for name, value in claims.items()
    }


@pytest.mark.parametrize("row", ASSERTIONS)
def test_an_assertion_is_refused_where(vendor: Vendor, row: str) -> None:
    header, claims = ASSERTIONS[row]
    answer = vendor.ask(vendor.assertion(header, at(claims, vendor.now)))
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    assert answer.headers["cache-control"] == "no-store"
    assert vendor.ask().status_code == 200


@pytest.mark.parametrize("row", TAKEN_ASSERTIONS)
def test_an_assertion_is_taken_where(vendor: Vendor, row: str) -> None:
    header, claims = TAKEN_ASSERTIONS[row]
    assert vendor.ask(vendor.assertion(header, at(claims, vendor.now))).status_code == 200


def test_an_assertion_works_once(vendor: Vendor) -> None:
    assertion = vendor.assertion({}, {})
    assert [vendor.ask(assertion).status_code for _ in range(2)] == [200, 401]


def test_an_assertion_under_another_key_gets_what_an_unknown_client_gets(vendor: Vendor) -> None:
    thief = key("thief")
    asked = [
        vendor.ask(vendor.assertion({}, {}, thief)),
        vendor.ask(vendor.assertion({"kid": thief.kid}, {}, thief)),
        vendor.ask(vendor.assertion({"kid": thief.kid}, {"iss": "nobody.here", "sub": "nobody.here"}, thief)),
    ]
    told = [{name: text for name, text in one.json().items() if name != "server_time"} for one in asked]
    assert told[0] == told[1] == told[2]
    assert {one.status_code for one in asked} == {401}
    for name in ("www-authenticate", "cache-control", "content-type"):
        assert len({one.headers[name] for one in asked}) == 1
