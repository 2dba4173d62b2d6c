"""What is refused is told once: a record or a count in the log, and a line for the operator (R-46, R-98)."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from referral_api.auditlog.records import Refusals
from referral_api.client import access
from referral_api.client.keystore import new_signing_secret
from referral_api.domain.errors import ErrorCode
from referral_api.formats.keys import Alg
from referral_api.formats.strict_json import b64u
from referral_api.server import observe
from referral_api.server.observe import MAX_KINDS, REPEATED_S, Repeated
from referral_api.server.service.limits import FAILURES_A_MINUTE
from tests.server.test_recording import end_hour, leaves, records
from tests.world import ISSUER, World

LOW = 600


def refused_lines(text: str) -> list[dict[str, Any]]:
    """The lines of refusals, without their times."""
    found = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return [
        {name: value for name, value in line.items() if name not in ("event", "timestamp")}
        for line in found
        if line["event"] == "refused"
    ]


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Callable[[], list[dict[str, Any]]]:
    def written() -> list[dict[str, Any]]:
        return refused_lines(capsys.readouterr().err)

    return written


def test_the_first_of_a_kind_is_told_at_once_and_its_repetitions_when_the_minute_is_over(lines: Any) -> None:
    told = Repeated("refused")
    for _ in range(3):
        told.note(1000.0, code="not-found")
    told.note(1000.0, code="invalid_dpop_proof", reason="htu")
    assert lines() == [{"code": "not-found"}, {"code": "invalid_dpop_proof", "reason": "htu"}]
    told.flush(1000.0 + REPEATED_S - 1)
    assert lines() == []
    told.flush(1000.0 + REPEATED_S)
    assert lines() == [{"code": "not-found", "count": 2}]
    told.flush(1000.0 + 2 * REPEATED_S)
    assert lines() == []
    told.note(1000.0 + 2 * REPEATED_S, code="not-found")
    assert lines() == [{"code": "not-found"}]


def test_at_the_end_and_when_a_clock_is_set_back_nothing_that_was_counted_is_lost(lines: Any) -> None:
    told = Repeated("refused")
    for _ in range(2):
        told.note(1000.0, code="not-found")
    told.note(500.0, code="not-found")
    assert lines() == [{"code": "not-found"}, {"code": "not-found", "count": 1}, {"code": "not-found"}]
    told.note(500.0, code="not-found")
    told.flush(501.0, force=True)
    assert lines() == [{"code": "not-found", "count": 1}]


@pytest.mark.parametrize("reason", ["Ana María", "a b", "", 7, None, "x" * 41, "línea", "a\nb"])
def test_a_reason_that_is_no_word_of_ours_is_left_out(lines: Any, reason: object) -> None:
    Repeated("refused").note(1.0, code="not-found", reason=reason)
    assert lines() == [{"code": "not-found"}]


def test_however_many_kinds_there_are_the_lines_of_a_minute_have_an_end(lines: Any) -> None:
    told = Repeated("refused")
    for number in range(MAX_KINDS * 3):
        word = "".join(chr(97 + int(digit)) for digit in str(number))
        told.note(1.0, code="not-found", reason=word)
    assert len(lines()) == MAX_KINDS + 1
    assert {"code", "reason", "count"} <= observe.ALLOWED


def test_refusals_over_http_are_lines_without_a_name_and_repeated_ones_are_counted(
    sqlite_world: World, lines: Any
) -> None:
    world = sqlite_world
    ref = "01890a5d-ac96-774b-bcce-b302099a8057"
    for _ in range(4):
        assert world.caller("stranger").call("GET", f"/v1/referrals/{ref}").status == 404
    with httpx2.Client(base_url=world.server.url) as nobody:
        for _ in range(3):
            assert nobody.get("/v1/ping").status_code == 401
    world.restart()
    told = lines()
    missing = [line for line in told if line["code"] == "not-found"]
    assert missing == [{"code": "not-found"}, {"code": "not-found", "count": 3}]
    nobodys = [line for line in told if line.get("reason") == "missing"]
    assert nobodys == [
        {"code": "invalid_token", "reason": "missing"},
        {"code": "invalid_token", "reason": "missing", "count": 2},
    ]
    for secret in (ref, world.stranger.keys.credential, "127.0.0.1"):
        assert secret not in json.dumps(told)


def test_a_question_for_a_nonce_is_no_refusal_and_a_bad_proof_is_called_by_its_name(sqlite_world: World) -> None:
    world = sqlite_world
    keys, random = world.officer.keys, world.officer.session.ambient.random
    proving = new_signing_secret(Alg.ED25519, 0).signing_key()

    def ask(path: str, iat: int) -> httpx2.Response:
        now = int(world.clock())
        jtis = [b64u(random(16)) for _ in range(2)]
        assertion = access.build_assertion(keys.access.signing_key(), keys.credential, ISSUER, jti=jtis[0], now=now)
        proof = access.build_proof(proving, "POST", ISSUER + path, jti=jtis[1], now=iat)
        headers = {"DPoP": proof, "Content-Type": "application/x-www-form-urlencoded"}
        return httpx2.post(f"{world.server.url}/oauth/token", content=access.token_form(assertion), headers=headers)

    end_hour(world)
    before = {one.code: one.count for one in records(world, Refusals) if one.party is None}
    for _ in range(3):
        assert ask("/oauth/token", 7).json()["error"] == "use_dpop_nonce"
    for _ in range(2):
        assert ask("/v1/ping", int(world.clock())).json()["error"] == "invalid_dpop_proof"
    end_hour(world)
    counted = [one for one in records(world, Refusals) if one.party is None]
    after = {code: sum(one.count for one in counted if one.code is code) for code in {one.code for one in counted}}
    grown = {code: count - before.get(code, 0) for code, count in after.items() if count != before.get(code, 0)}
    assert grown == {ErrorCode.INVALID_DPOP_PROOF: 2}


def test_too_many_calls_are_429_with_the_time_to_wait_and_counted_by_whose_they_were(sqlite_world: World) -> None:
    """R-46."""
    world = sqlite_world
    world.settings = world.server.settings = world.settings.model_copy(update={"calls_a_minute": LOW})
    world.restart()
    published = httpx2.get(f"{world.server.url}/.well-known/referral-configuration").json()["limits"]
    named = {"calls_a_minute", "tokens_a_minute", "failed_calls_a_minute", "failed_tokens_a_minute"}
    assert {name: published[name] for name in named} == {
        "calls_a_minute": LOW,
        "tokens_a_minute": 20,
        "failed_calls_a_minute": 120,
        "failed_tokens_a_minute": 20,
    }
    world.clock.stopped_at = float(int(world.clock()) // 60 * 60 + 600)
    officer, ref = world.caller("officer"), str(world.submit().outgoing.ref)
    before = leaves(world)
    answers = [officer.call("GET", "/v1/ping") for _ in range(LOW)]
    # The hand-out of a nonce is a call as well; from the limit on nothing is looked at, and nothing is written.
    answers += [officer.call("GET", f"/v1/referrals/{ref}") for _ in range(5)]
    assert {one.status for one in answers[: LOW - 5]} == {200}
    assert {(one.status, one.code, one.headers["retry-after"]) for one in answers[-4:]} == {(429, "rate-limited", "60")}
    assert answers[-1].json["retry"] == "after"
    assert leaves(world) - before <= 1
    # Nobody else is slowed by it, and the next minute is another.
    assert world.caller("stranger").call("GET", "/v1/ping").status == 200
    world.clock.stopped_at += 60
    assert officer.call("GET", f"/v1/referrals/{ref}").status == 200
    world.clock.stopped_at = None
    world.clock.ahead_s += 1200
    end_hour(world)
    counted = [one for one in records(world, Refusals) if one.code is ErrorCode.RATE_LIMITED]
    assert sum(one.count for one in counted) == sum(one.status == 429 for one in answers)
    assert [one.count for one in counted if one.credential == world.officer.keys.credential] == [1]


def test_a_hotline_gets_its_token_in_the_middle_of_a_flood_in_its_name(sqlite_world: World) -> None:
    """R-47: strangers who name it are answered, and never stand before it."""
    world = sqlite_world
    world.clock.ahead_s += 180
    world.clock.stopped_at = float(int(world.clock() - world.clock.ahead_s))
    keys, thief = world.operator.keys, new_signing_secret(Alg.ED25519, 0).signing_key()
    world.operator.ping()
    now, url = int(world.clock()), f"{world.server.url}/oauth/token"
    proof = access.build_proof(thief, "POST", f"{ISSUER}/oauth/token", jti="flood", now=now)
    form = access.token_form(access.build_assertion(thief, keys.credential, ISSUER, jti="flood", now=now))
    headers, stop = {"DPoP": proof, "Content-Type": "application/x-www-form-urlencoded"}, threading.Event()

    def flood() -> Counter[int]:
        answers: Counter[int] = Counter()
        with httpx2.Client(timeout=30) as client:
            while not stop.is_set():
                answers[client.post(url, content=form, headers=headers).status_code] += 1
        return answers

    took = []
    with ThreadPoolExecutor(8) as strangers:
        flooding = [strangers.submit(flood) for _ in range(8)]
        time.sleep(1)
        for _ in range(5):
            began = time.monotonic()
            world.operator.session._ask_for_token(keys, world.operator.session.ambient.random(32))
            took.append(time.monotonic() - began)
        stop.set()
    answers = sum((one.result() for one in flooding), Counter[int]())
    assert answers.keys() == {401, 429}
    # Eight may have been looked at when the limit was reached; all others were turned away.
    assert FAILURES_A_MINUTE <= answers[401] <= FAILURES_A_MINUTE + 8
    assert answers[429] > 20
    print(f"\n{sum(answers.values())} strangers' requests; a token took {max(took):.3f} s at most")
    assert max(took) < 5
    world.clock.stopped_at = None
