"""Calls: tokens, nonces, retries, and answers that are none."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
import stamina

from referral_api.client import exchange, sdk
from referral_api.client.exchange import Request, Response
from referral_api.client.profile import Profile, ProfileDir
from referral_api.client.session import Session, is_repeatable
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Digest, PartyId
from tests.client.world import OFFICER, keys_of, render

NOW = 1_795_430_000
PROFILE = Profile("https://x.example", "https://x.example", Digest("A" * 43), "sandbox", PartyId(OFFICER.party))
TOKEN = (200, {"access_token": "token", "token_type": "DPoP", "expires_in": 300})


@pytest.fixture(autouse=True)
def _no_patience() -> Iterator[None]:
    with stamina.set_testing(True, attempts=3):
        yield


class Calls:
    """A scripted exchange: the answers to calls of the API in order; the last one repeats."""

    def __init__(self, tmp_path: Path, *answers: httpx2.Response | Exception, token: Any = None) -> None:
        self.answers = list(answers)
        self.requests: list[httpx2.Request] = []
        self.token_requests = 0
        self.token = token or (lambda: render(*TOKEN))
        count = iter(range(1, 10**6))
        self.now = NOW
        self.directory = ProfileDir(tmp_path / "profile")
        self.directory.create()
        around = sdk.ambient(lambda: float(self.now))
        ambient = replace(around, random=lambda size: next(count).to_bytes(size, "big"))
        self.session = Session(self.directory, PROFILE, keys_of(OFFICER), ambient, httpx2.MockTransport(self.answer))

    def answer(self, request: httpx2.Request) -> httpx2.Response:
        if request.url.path == "/oauth/token":
            self.token_requests += 1
            made: httpx2.Response = self.token()
            return made
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return httpx2.Response(answer.status_code, headers=answer.headers, stream=answer.stream)

    def claims(self, at: int) -> dict[str, Any]:
        payload = self.requests[at].headers["DPoP"].split(".")[1]
        claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=="))
        return claims


Made = Callable[..., Calls]


@pytest.fixture
def calls(tmp_path: Path) -> Iterator[Made]:
    made: list[Calls] = []

    def make(*answers: httpx2.Response | Exception, **options: Any) -> Calls:
        made.append(Calls(tmp_path, *answers, **options))
        return made[-1]

    yield make
    for one in made:
        one.session.close()


def problem(status: int, code: str, headers: dict[str, str] | None = None, **members: Any) -> httpx2.Response:
    body = json.dumps({"code": code, "title": "t", "detail": "d", "status": status} | members).encode()
    fixed = {"Content-Type": "application/problem+json"}
    return httpx2.Response(status, headers=fixed | (headers or {}), stream=httpx2.ByteStream(body))


def test_a_token_is_reused_until_shortly_before_it_ends_also_by_the_next_process(calls: Made, tmp_path: Path) -> None:
    made = calls(render(200, {}))
    made.session.read_json(exchange.ping())
    made.session.read_json(exchange.ping())
    again = Calls(tmp_path, render(200, {}))
    again.session.read_json(exchange.ping())
    assert (made.token_requests, again.token_requests) == (1, 0)
    again.now += 271
    again.session.read_json(exchange.ping())
    assert again.token_requests == 1
    again.session.close()
    assert (tmp_path / "profile" / "tokens.json").stat().st_mode & 0o777 == 0o600


def test_a_nonce_is_answered_once_with_a_new_proof_and_tells_by_how_much_the_clock_is_off(calls: Made) -> None:
    asked = problem(401, "use_dpop_nonce", {"DPoP-Nonce": "n1"}, skew_s=-90, retry="new-proof")
    made = calls(asked, render(200, {"party": "x"}))
    assert made.session.read_json(exchange.ping()) == {"party": "x"}
    assert [made.claims(at).get("nonce") for at in (0, 1)] == [None, "n1"]
    assert made.claims(0)["jti"] != made.claims(1)["jti"]
    assert (made.session.skew_s, made.session.now()) == (-90, NOW + 90), "ours is behind: theirs is later"


def test_a_difference_that_is_told_again_is_of_what_was_corrected_already(calls: Made) -> None:
    asked = [problem(401, "use_dpop_nonce", {"DPoP-Nonce": f"n{at}"}, skew_s=told) for at, told in ((1, 90), (2, -20))]
    made = calls(asked[0], render(200, {}), asked[1], render(200, {}))
    made.session.read_json(exchange.ping())
    made.session.read_json(exchange.ping())
    assert (made.session.skew_s, made.session.now()) == (70, NOW - 70)


def test_a_clock_difference_beyond_an_hour_is_told_and_not_followed(calls: Made) -> None:
    asked = problem(401, "use_dpop_nonce", {"DPoP-Nonce": "n1"}, skew_s=86_400)
    made = calls(asked, render(200, {}))
    made.session.read_json(exchange.ping())
    assert (made.session.skew_s, made.session.now()) == (86_400, NOW)


@pytest.mark.parametrize("told", ["soon", [90], True, 1.5, None])
def test_a_clock_difference_that_is_no_number_of_seconds_is_left_alone(calls: Made, told: object) -> None:
    asked = problem(401, "use_dpop_nonce", {"DPoP-Nonce": "n1"}, skew_s=told)
    made = calls(asked, render(200, {}))
    made.session.read_json(exchange.ping())
    assert made.session.skew_s == 0


def test_a_nonce_asked_for_without_end_is_an_error_and_no_loop(calls: Made) -> None:
    made = calls(problem(401, "use_dpop_nonce", {"DPoP-Nonce": "n1"}))
    with pytest.raises(ReferralError, match="use_dpop_nonce"):
        made.session.read_json(exchange.ping())
    assert len(made.requests) == 2


def test_a_refused_token_is_replaced_once(calls: Made) -> None:
    made = calls(problem(401, "invalid_token"), render(200, {}))
    made.session.read_json(exchange.ping())
    assert made.token_requests == 2
    made = calls(problem(401, "invalid_token"))
    with pytest.raises(ReferralError, match=ErrorCode.INVALID_TOKEN.value):
        made.session.read_json(exchange.ping())
    assert len(made.requests) == 2


def test_the_token_request_repeats_with_a_nonce_and_a_new_assertion(calls: Made) -> None:
    nonce = [True]

    def token() -> httpx2.Response:
        if nonce.pop() if nonce else False:
            body = json.dumps({"error": "use_dpop_nonce"}).encode()
            headers = {"Content-Type": "application/json", "DPoP-Nonce": "n2"}
            return httpx2.Response(400, headers=headers, stream=httpx2.ByteStream(body))
        return render(*TOKEN)

    made = calls(render(200, {}), token=token)
    made.session.read_json(exchange.ping())
    assert made.token_requests == 2


def test_a_refused_assertion_is_told_with_the_error_of_oauth(calls: Made) -> None:
    def token() -> httpx2.Response:
        body = json.dumps({"error": "invalid_client"}).encode()
        return httpx2.Response(401, headers={"Content-Type": "application/json"}, stream=httpx2.ByteStream(body))

    made = calls(render(200, {}), token=token)
    with pytest.raises(ReferralError, match="invalid_client"):
        made.session.read_json(exchange.ping())
    assert made.requests == []


@pytest.mark.parametrize(
    "first",
    [
        httpx2.ConnectError("refused"),
        httpx2.ReadTimeout("slow"),
        problem(503, "outcome-unknown", retry="same"),
        problem(503, "checkpoint-pending", retry="same"),
        problem(429, "queue-full", {"Retry-After": "1"}, retry="after"),
        httpx2.Response(502, headers={"Content-Type": "text/html"}, stream=httpx2.ByteStream(b"<html>")),
    ],
)
def test_what_says_nothing_about_the_call_is_repeated_with_the_same_body_and_a_new_proof(
    calls: Made, first: httpx2.Response | Exception
) -> None:
    made = calls(first, render(200, {"receipt": "r", "proof": "p"}))
    request = exchange.later_act("ref", "id", b"act", None)
    made.session.call(request, exchange.judge_receipted)
    assert [one.content for one in made.requests] == [request.body] * 2
    assert made.claims(0)["jti"] != made.claims(1)["jti"]


@pytest.mark.parametrize(
    ("status", "code", "retry"),
    [
        (403, "not-permitted", "never"),
        (404, "not-found", "never"),
        (422, "act-schema", "never"),
        (503, "writes-closed", "after"),
        (409, "act-id-reused", "never"),
    ],
)
def test_what_the_exchange_stands_by_is_asked_once(calls: Made, status: int, code: str, retry: str) -> None:
    made = calls(problem(status, code, retry=retry))
    with pytest.raises(ReferralError, match=code):
        made.session.call(exchange.later_act("ref", "id", b"act", None), exchange.judge_receipted)
    assert len(made.requests) == 1


def test_an_exchange_that_never_answers_is_unreachable_and_says_nothing_of_the_network(calls: Made) -> None:
    made = calls(httpx2.ConnectError("10.1.2.3 refused"))
    with pytest.raises(ReferralError) as refused:
        made.session.read_json(exchange.ping())
    assert (refused.value.code, refused.value.facts) == (ErrorCode.UNREACHABLE, {})
    assert len(made.requests) == 3


def test_a_redirect_is_no_answer_and_is_not_followed(calls: Made) -> None:
    elsewhere = httpx2.Response(307, headers={"Location": "https://evil.example/"}, stream=httpx2.ByteStream(b""))
    made = calls(elsewhere)
    with pytest.raises(ReferralError, match="not-a-problem"):
        made.session.read_json(exchange.ping())
    assert {str(one.url.host) for one in made.requests} == {"x.example"}
    assert len(made.requests) == 1


def test_an_answer_without_end_is_cut_off(calls: Made) -> None:
    class Endless(httpx2.SyncByteStream):
        given = 0

        def __iter__(self) -> Iterator[bytes]:
            while True:
                Endless.given += 1
                yield b" " * (1 << 20)

    made = calls(httpx2.Response(200, headers={"Content-Type": "application/json"}, stream=Endless()))
    with pytest.raises(ReferralError, match=ErrorCode.TOO_LARGE.value):
        made.session.read_json(exchange.ping())
    assert Endless.given <= (exchange.MAX_ANSWER_BYTES >> 20) + 1


def test_calls_without_keys_reach_only_what_needs_none(tmp_path: Path) -> None:
    made = Calls(tmp_path, render(200, {"issuer": "i"}))
    bare = Session(made.directory, PROFILE, None, made.session.ambient, httpx2.MockTransport(made.answer))
    assert bare.read_json(exchange.configuration()) == {"issuer": "i"}
    assert "DPoP" not in made.requests[0].headers
    with pytest.raises(ReferralError, match=ErrorCode.LOCKED.value):
        bare.read_json(exchange.ping())
    bare.close()
    made.session.close()


def test_a_pause_that_the_exchange_asks_for_is_taken_and_a_long_one_ends_the_patience() -> None:
    assert is_repeatable(ReferralError(ErrorCode.QUEUE_FULL, retry_after_s=7)) == 7.0
    assert is_repeatable(ReferralError(ErrorCode.QUEUE_FULL, retry_after_s=3600)) is False
    assert is_repeatable(ReferralError(ErrorCode.QUEUE_FULL)) is True
    assert is_repeatable(ReferralError(ErrorCode.UNAVAILABLE, status=404)) is False
    for code in (ErrorCode.INCONSISTENT, ErrorCode.TAMPERED, ErrorCode.RECEIPT_MISMATCH, ErrorCode.SIGNATURE_INVALID):
        assert is_repeatable(ReferralError(code)) is False
    assert is_repeatable(ValueError()) is False


def test_ids_are_of_the_versions_that_the_protocol_names() -> None:
    import re

    from referral_api.domain.words import UUID4, UUID7

    ambient, later = sdk.ambient(lambda: 1_795_430_000.123), sdk.ambient(lambda: 1_795_430_000.124)
    for random in (lambda size: b"\xff" * size, lambda size: b"\x00" * size):
        assert re.fullmatch(UUID4, replace(ambient, random=random).act_id())
    drawn = [ambient.referral_id() for _ in range(1000)]
    assert all(re.fullmatch(UUID7, one) for one in drawn)
    assert len(set(drawn)) == len(drawn)
    assert later.referral_id() > max(drawn)
    assert int(later.referral_id().replace("-", "")[:12], 16) == 1_795_430_000_124


# Judging answers, without any connection.


def answered(status: int, body: Any, media_type: str = exchange.PROBLEM, **headers: str) -> Response:
    return Response(status, {"content-type": media_type, **headers}, json.dumps(body).encode())


def test_a_problem_keeps_its_code_and_facts_and_loses_its_prose() -> None:
    error = exchange.parse_problem(
        answered(
            409,
            {
                "code": "stale-head", "head": "h" * 43, "detail": "prose with María", "title": "x", "retry": "never",
                "request_id": "r-1", "allowed": ["ack"], "reason": "two words", "unheard": "of", "state": {"a": 1},
            },
            **{"retry-after": "9"},
        )
    )  # fmt: skip
    assert error.code is ErrorCode.STALE_HEAD
    assert error.facts == {
        "status": 409, "head": "h" * 43, "retry": "never", "request_id": "r-1", "allowed": ["ack"], "retry_after_s": 9
    }  # fmt: skip


@pytest.mark.parametrize(
    ("body", "code"),
    [({"code": "of-tomorrow"}, ErrorCode.INTERNAL), ({}, ErrorCode.INTERNAL), ([], ErrorCode.UNAVAILABLE)],
)
def test_a_problem_of_no_known_code_is_still_an_error(body: Any, code: ErrorCode) -> None:
    assert exchange.parse_problem(answered(500, body)).code is code


@pytest.mark.parametrize("status", [100, 204, 206, 301, 304, 400, 418, 500])
def test_a_status_that_the_protocol_does_not_know_is_no_success(status: int) -> None:
    with pytest.raises(ReferralError):
        exchange.judge(Request("GET", "/"), answered(status, {}, exchange.JSON))


def test_not_modified_counts_only_where_it_was_asked_for() -> None:
    asked = exchange.referral("r", etag='"e"')
    assert exchange.judge(asked, answered(304, {})) == b""
    with pytest.raises(ReferralError):
        exchange.judge(exchange.referral("r"), answered(304, {}))


@pytest.mark.parametrize("text", [b"[]", b"{", b'{"a":1,"a":2}', b'{"a":1.5}', b'{"a":NaN}', b"\xff"])
def test_an_answer_that_is_not_strict_json_is_refused(text: bytes) -> None:
    response = Response(200, {"content-type": "application/json; charset=utf-8"}, text)
    with pytest.raises(ReferralError, match=ErrorCode.UNAVAILABLE.value):
        exchange.judge_json(exchange.ping(), response)


def test_paths_quote_what_they_are_given() -> None:
    assert exchange.referral("../../x?y").path == "/v1/referrals/..%2F..%2Fx%3Fy"
    assert exchange.inbox("a b&c", wait_s=99).target == "/v1/inbox?limit=200&after=a+b%26c&wait=25"
