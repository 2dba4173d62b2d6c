"""Whatever JSON stands where: access control refuses with a code of its own, or lets a right request through."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.server.service.limits import Limits, MemoryCounts
from tests.server.access import FORM_TYPE, ISSUER, TOKEN_URL, AccessWorld, claims_of, compact, header_of

REFUSALS = {ErrorCode.INVALID_TOKEN, ErrorCode.INVALID_DPOP_PROOF, ErrorCode.USE_DPOP_NONCE}
INBOX = f"{ISSUER}/v1/inbox"

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just(ISSUER),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
header_changes = st.dictionaries(
    st.sampled_from(["alg", "kid", "typ", "jwk", "crit", "b64", "x5c", "enc"]), values, max_size=2
)
claim_changes = st.dictionaries(
    st.sampled_from(
        [
            "iss",
            "sub",
            "aud",
            "exp",
            "iat",
            "nbf",
            "jti",
            "htm",
            "htu",
            "ath",
            "nonce",
            "cnf",
            "client_id",
            "access_kid",
        ]
    ),
    values,
    max_size=2,
)
jwk_changes = st.dictionaries(st.sampled_from(["kty", "crv", "x", "y", "d", "alg", "use"]), values, max_size=2)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> AccessWorld:
    return AccessWorld(tmp_path_factory.mktemp("fuzz"))


@pytest.fixture(scope="module")
def ticking(tmp_path_factory: pytest.TempPathFactory) -> AccessWorld:
    """A world of its own for tests that move the clock."""
    return AccessWorld(tmp_path_factory.mktemp("fuzz"))


@pytest.fixture(scope="module")
def token(world: AccessWorld) -> str:
    return world.hotline.token()


def judge(world: AccessWorld, *headers: tuple[bytes, bytes]) -> ErrorCode | None:
    """The code that a call is refused with, or None for the right caller; nobody has failed before."""
    world.service.limits = Limits(MemoryCounts())
    try:
        caller = world.service.authenticate("GET", "/v1/inbox", headers, world.now)
    except ReferralError as error:
        return error.code
    assert caller.credential == world.hotline.id
    return None


def authorization(token: str) -> tuple[bytes, bytes]:
    return b"authorization", b"DPoP " + token.encode()


@given(header_changes, claim_changes, jwk_changes)
def test_any_proof_is_judged_without_a_crash(
    world: AccessWorld, token: str, header: dict[str, Any], claims: dict[str, Any], jwk: dict[str, Any]
) -> None:
    proof = world.hotline.proof("GET", INBOX, token=token, header=header, jwk=jwk, **claims)
    assert judge(world, authorization(token), (b"dpop", proof)) in REFUSALS | {None}


@given(header_changes, claim_changes)
def test_any_token_is_judged_without_a_crash(
    world: AccessWorld, token: str, header: dict[str, Any], claims: dict[str, Any]
) -> None:
    other = compact({**header_of(token), **header}, {**claims_of(token), **claims}, world.token_key).decode()
    proof = world.hotline.proof("GET", INBOX, token=other)
    assert judge(world, authorization(other), (b"dpop", proof)) in REFUSALS | {None}


@given(header_changes, claim_changes)
def test_any_assertion_is_judged_without_a_crash(
    ticking: AccessWorld, header: dict[str, Any], claims: dict[str, Any]
) -> None:
    ticking.now += 4
    answer = ticking.hotline.ask(ticking.hotline.assertion(header=header, **claims))
    assert answer.status in {200, 401}
    assert (answer.status == 200) == ("access_token" in answer.document)


@given(st.binary(max_size=80) | st.text(alphabet="abc.=&%+_-", max_size=80).map(str.encode), st.binary(max_size=60))
def test_any_bytes_at_all_are_judged_without_a_crash(world: AccessWorld, body: bytes, header: bytes) -> None:
    proof = (b"dpop", world.hotline.proof("POST", TOKEN_URL))
    assert world.service.issue(body, [FORM_TYPE, proof], world.now).status in {400, 401}
    assert world.service.issue(body, [FORM_TYPE, (b"dpop", header)], world.now).status == 400
    for name, value in ((b"authorization", header), (b"authorization", b"DPoP " + header), (b"dpop", header)):
        assert judge(world, (name, value)) in REFUSALS


@given(st.integers(0, 2000), st.integers(0, 255))
def test_a_right_call_with_any_one_byte_changed_is_refused(world: AccessWorld, token: str, at: int, byte: int) -> None:
    proof = world.hotline.proof("GET", INBOX, token=token)
    at %= len(proof)
    changed = proof[:at] + bytes([byte]) + proof[at + 1 :]
    expected = {None} if changed == proof else REFUSALS
    assert judge(world, authorization(token), (b"dpop", changed)) in expected
