"""`htu` against the public URL: what RFC 3986 calls the same is the same, and nothing else is (R-42)."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.server.service.proofs import Nonces, ProofReader, normalised_url
from tests.server.access import ISSUER, AccessWorld


@pytest.fixture
def world(tmp_path: Path) -> AccessWorld:
    return AccessWorld(tmp_path)


@pytest.mark.parametrize(
    "htu",
    [
        "HTTPS://exchange.example/v1/inbox",
        "https://EXCHANGE.Example/v1/inbox",
        "https://exchange.example:443/v1/inbox",
        "https://exchange.example:/v1/inbox",
        "https://exchange.example/v1/inbox?after=x&limit=5",
        "https://exchange.example/v1/inbox#part",
        "https://exchange.example/v1/inbox?x#y",
        "https://exchange.example/v1/%69nbox",
        "https://exchange.example/%76%31/inbox",
        "https://exchange.example/v1/./inbox",
        "https://exchange.example/v1/x/../inbox",
        "https://exchange.example/v1/x/%2e%2E/inbox",
        "https://exchange.example/../v1/inbox",
    ],
)
def test_another_spelling_of_the_same_target_is_taken(world: AccessWorld, htu: str) -> None:
    token = world.hotline.token()
    assert world.hotline.call(token, proof=world.hotline.proof("GET", htu, token=token)).credential == world.hotline.id


@pytest.mark.parametrize(
    "htu",
    [
        "http://exchange.example/v1/inbox",
        "https://exchange.example:8443/v1/inbox",
        "https://exchange.example:80/v1/inbox",
        "https://exchange.example:99999/v1/inbox",
        "https://exchange.example:x/v1/inbox",
        "https://other.example/v1/inbox",
        "https://exchange.example.other.example/v1/inbox",
        "https://exchange.example./v1/inbox",
        "https://user@exchange.example/v1/inbox",
        "https://@exchange.example/v1/inbox",
        "https://exchange.example/v1/inbox/",
        "https://exchange.example/v1//inbox",
        "https://exchange.example/v1/Inbox",
        "https://exchange.example/v1%2Finbox",
        "https://exchange.example/v1/inbox%",
        "https://exchange.example/v1/inbox%zz",
        "https://exchange.example/v1/inbox%20",
        "https://exchange.example/v1/in\nbox",
        "https://exchange.example/v1/inbox ",
        "https://exchange.example/v1/inb\u00f6x",
        "//exchange.example/v1/inbox",
        "/v1/inbox",
        "exchange.example/v1/inbox",
        "https:///v1/inbox",
        "https://[::1/v1/inbox",
        "ftp://exchange.example/v1/inbox",
        "https://exchange.example",
        ISSUER + "/v1",
    ],
)
def test_another_target_is_refused(world: AccessWorld, htu: str) -> None:
    token = world.hotline.token()
    with pytest.raises(ReferralError) as error:
        world.hotline.call(token, proof=world.hotline.proof("GET", htu, token=token))
    assert (error.value.code, error.value.facts) == (ErrorCode.INVALID_DPOP_PROOF, {"reason": "htu"})


def test_the_target_is_the_configured_one_whatever_host_the_request_names(world: AccessWorld) -> None:
    token = world.hotline.token()
    proof = world.hotline.proof("GET", "https://proxy.example/v1/inbox", token=token)
    headers = [
        (b"host", b"proxy.example"),
        (b"x-forwarded-host", b"proxy.example"),
        (b"x-forwarded-proto", b"https"),
        (b"forwarded", b"host=proxy.example;proto=https"),
        (b"authorization", f"DPoP {token}".encode()),
        (b"dpop", proof),
    ]
    with pytest.raises(ReferralError) as error:
        world.service.authenticate("GET", "/v1/inbox", headers, world.now)
    assert error.value.facts == {"reason": "htu"}


def test_a_percent_encoded_path_is_compared_as_it_was_sent(world: AccessWorld) -> None:
    token = world.hotline.token()
    for sent, signed in (("/v1/parties/a%2fb", "/v1/parties/a%2Fb"), ("/v1/%70arties", "/v1/parties")):
        proof = world.hotline.proof("GET", ISSUER + signed, token=token)
        assert world.hotline.call(token, path=sent, proof=proof).credential == world.hotline.id
    proof = world.hotline.proof("GET", ISSUER + "/v1/parties/a/b", token=token)
    with pytest.raises(ReferralError) as error:
        world.hotline.call(token, path="/v1/parties/a%2Fb", proof=proof)
    assert error.value.facts == {"reason": "htu"}


@pytest.mark.parametrize(
    ("base", "path", "htu"),
    [
        ("https://exchange.example/country", "/v1/ping", "https://exchange.example/country/v1/ping"),
        ("https://exchange.example/", "/v1/ping", "https://exchange.example/v1/ping"),
        ("http://[::1]:8000", "/v1/ping", "http://[::1]:8000/v1/ping"),
        ("http://127.0.0.1:80", "/v1/ping", "http://127.0.0.1/v1/ping"),
    ],
)
def test_the_public_url_may_have_a_port_a_path_or_an_address(
    world: AccessWorld, base: str, path: str, htu: str
) -> None:
    reader = ProofReader(base, Nonces(b"s" * 32), world.replay.epoch)
    proof = reader.verify_proof(world.hotline.proof("GET", htu), "GET", path, world.now, ath=None)
    assert proof.jkt == world.hotline.dpop.kid


@pytest.mark.parametrize("base", ["", "exchange.example", "ftp://exchange.example", "https://a b"])
def test_a_public_url_that_is_none_is_refused_at_the_start(world: AccessWorld, base: str) -> None:
    with pytest.raises(ValueError, match="public base URL"):
        ProofReader(base, Nonces(b"s" * 32), world.replay.epoch)


@given(st.text(st.sampled_from("aZ09-._~/%2eF?#:@[] \t\u00e9"), max_size=40))
def test_normalising_is_stable_and_never_fails(tail: str) -> None:
    once = normalised_url("https://exchange.example/" + tail)
    assert once is None or normalised_url(once) == once


@given(st.text(max_size=60))
def test_any_text_at_all_is_a_url_or_none(text: str) -> None:
    found = normalised_url(text)
    assert found is None or found.startswith(("http://", "https://"))
