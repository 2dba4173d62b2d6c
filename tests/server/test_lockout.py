"""Whoever fails is slowed, and nobody else by it: limits on calls, tokens and failures (R-46, R-47)."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import CredentialKind, Role
from referral_api.server.service.limits import (
    FAILED_CALLS_A_MINUTE,
    FAILURES_A_MINUTE,
    FAILURES_IN_ALL,
    MINUTE_S,
    SHARED_FROM,
    TOKENS_A_MINUTE,
    Limits,
    LocalLimit,
    MemoryCounts,
)
from referral_api.server.service.tokens import TokenAnswer
from tests.server.access import FORM_TYPE, ISSUER, START, TOKEN_URL, AccessWorld, key
from tests.timing import spent_us

INBOX = f"{ISSUER}/v1/inbox"


@pytest.fixture
def world(tmp_path: Path) -> AccessWorld:
    return AccessWorld(tmp_path)


def wait_of(answer: TokenAnswer) -> int | None:
    """How long a 429 says to wait; None for another answer."""
    return int(dict(answer.headers)[b"retry-after"]) if answer.status == 429 else None


def fail(world: AccessWorld, times: int, name: str = "linea-sur.svc1", kid: str = "x") -> list[TokenAnswer]:
    """As many token requests in somebody's name by a key that is nobody's."""
    thief, client = key("thief"), world.hotline
    return [client.ask(client.assertion(iss=name, sub=name, signer=thief, header={"kid": kid})) for _ in range(times)]


def test_a_name_in_which_everything_fails_is_answered_429_for_the_rest_of_the_minute(world: AccessWorld) -> None:
    world.now = START + 25
    answers = fail(world, FAILURES_A_MINUTE + 3)
    assert [one.status for one in answers] == [401] * FAILURES_A_MINUTE + [429] * 3
    assert {wait_of(one) for one in answers[-3:]} == {35}
    assert answers[-1].document["error"] == "rate-limited"
    world.now = START + 60
    assert fail(world, 1)[0].status == 401


def test_whoever_has_the_key_gets_its_token_whatever_others_do_in_its_name(world: AccessWorld) -> None:
    for kid in ("x", world.hotline.access.kid):
        fail(world, FAILURES_A_MINUTE * 2, kid=kid)
        assert world.hotline.ask().status == 200, kid
    fail(world, FAILURES_IN_ALL, "nobody.here")
    assert world.hotline.ask().status == 200
    assert world.unit.ask().status == 200


def test_strangers_under_ever_new_names_are_turned_away_together_and_nobody_else_is(world: AccessWorld) -> None:
    answers = [fail(world, 1, f"nobody.n{number}")[0].status for number in range(FAILURES_IN_ALL + 1)]
    assert answers == [401] * FAILURES_IN_ALL + [429]
    # A known name with a key that is not its own is a stranger's as well, and so is what cannot be read.
    assert fail(world, 1)[0].status == 429
    assert world.hotline.ask(client_assertion="x").status == 429
    # Who names its own key is looked at, and told what is wrong.
    assert world.hotline.ask(world.hotline.assertion(exp=START - 500)).status == 401
    assert world.hotline.ask().status == 200
    world.now += 60
    assert fail(world, 1, "nobody.else")[0].status == 401


def test_what_is_turned_away_is_not_looked_at(world: AccessWorld) -> None:
    fail(world, FAILURES_A_MINUTE)
    body, headers = b"grant_type=client_credentials&client_assertion=x", [FORM_TYPE]
    # What names nobody is no failure of that name, and a form that is none has its own answer.
    assert world.service.turn_away(body, headers, world.now) is None
    assert world.service.turn_away(b"", headers, world.now) is None
    assert world.hotline.ask(world.hotline.assertion(signer=key("thief")), b"no proof at all").status == 429


def test_a_known_and_an_unknown_name_are_locked_alike(world: AccessWorld) -> None:
    names = ("linea-sur.svc1", "nobody.here", "ñ" * 300)
    answers = [[repr(one) for one in fail(world, FAILURES_A_MINUTE + 2, name)] for name in names]
    assert answers[0] == answers[1] == answers[2]


def test_a_bad_proof_and_a_wrong_claim_are_failures_too_and_a_skewed_clock_is_none(world: AccessWorld) -> None:
    hotline = world.hotline
    for _ in range(FAILURES_A_MINUTE):
        assert hotline.ask(None, hotline.proof("POST", TOKEN_URL, iat=7)).document["error"] == "use_dpop_nonce"
    for number in range(FAILURES_A_MINUTE):
        wrong = (None, hotline.proof("GET", TOKEN_URL)) if number % 2 else (hotline.assertion(aud=TOKEN_URL),)
        assert hotline.ask(*wrong).status in (400, 401)
    assert hotline.ask(hotline.assertion(aud=TOKEN_URL)).status == 429
    assert hotline.ask().status == 200


def test_an_assertion_that_is_overheard_and_sent_again_uses_up_nobodys_tokens(world: AccessWorld) -> None:
    hotline = world.hotline
    overheard = hotline.assertion()
    assert hotline.ask(overheard).status == 200
    thief = world.enrol("nadie.svc1", Role.HOTLINE, CredentialKind.SERVICE)
    for _ in range(TOKENS_A_MINUTE * 2):
        assert hotline.ask(overheard, thief.proof("POST", TOKEN_URL)).status in (401, 429)
    for _ in range(TOKENS_A_MINUTE - 1):
        assert hotline.ask().status == 200
    assert wait_of(hotline.ask()) == 60


def test_too_many_tokens_are_known_by_whose_they_would_be(world: AccessWorld) -> None:
    other = AccessWorld(world.journal.parent, world.replay, world.counts)
    for _ in range(TOKENS_A_MINUTE):
        assert world.hotline.ask().status == 200
    # The other process learns it with the token that it counts.
    answer = other.hotline.ask(world.hotline.assertion(), world.hotline.proof("POST", TOKEN_URL))
    assert (answer.status, answer.credential) == (429, "linea-sur.svc1")
    assert other.hotline.ask(world.hotline.assertion(), world.hotline.proof("POST", TOKEN_URL)).credential is None


def test_a_lock_holds_at_every_process_and_a_good_key_at_each(world: AccessWorld, tmp_path: Path) -> None:
    other = AccessWorld(tmp_path, world.replay, world.counts)
    fail(world, FAILURES_A_MINUTE)
    assert [one.status for one in fail(other, 3)] == [429] * 3
    assert other.service.limits.is_failing(other.now)
    assert other.unit.ask(other.unit.assertion(jti="of the other"), other.unit.proof("POST", TOKEN_URL)).status == 200


def test_a_stolen_token_without_its_key_is_slowed_and_its_owner_is_not(world: AccessWorld) -> None:
    hotline, token = world.hotline, world.hotline.token()
    refusals = []
    for _ in range(FAILED_CALLS_A_MINUTE + 2):
        with pytest.raises(ReferralError) as error:
            hotline.call(token, proof=hotline.proof("GET", INBOX, token=token, signer=key("thief")))
        refusals.append(error.value)
    assert {one.code for one in refusals[:FAILED_CALLS_A_MINUTE]} == {ErrorCode.INVALID_DPOP_PROOF}
    assert {one.code for one in refusals[FAILED_CALLS_A_MINUTE:]} == {ErrorCode.RATE_LIMITED}
    assert refusals[-1].facts == {"retry_after_s": 60}
    assert hotline.call(token).credential == hotline.id
    assert world.unit.call(world.unit.token()).credential == world.unit.id


def test_calls_beyond_the_limit_are_refused_before_their_proof_is_looked_at(world: AccessWorld) -> None:
    world.service.limits = Limits(MemoryCounts(), 3)
    hotline, token = world.hotline, world.hotline.token()
    for _ in range(3):
        hotline.call(token)
        world.service.limits.calls.take(hotline.id, world.now)
    hotline.call(token)
    with pytest.raises(ReferralError):  # Whose the first too many is, is known; the others' proofs are not read.
        world.service.limits.calls.take(hotline.id, world.now)
    for proof in (None, b"x"):
        with pytest.raises(ReferralError) as error:
            hotline.call(token, proof=proof)
        assert (error.value.code, error.value.facts) == (ErrorCode.RATE_LIMITED, {"retry_after_s": 60})
    assert world.unit.call(world.unit.token()).credential == world.unit.id
    world.now = START + 60
    assert hotline.call(token).credential == hotline.id


def over(limit: LocalLimit, name: str, now: int) -> bool:
    """Count one; whether it was too many."""
    try:
        limit.take(name, now)
    except ReferralError:
        return True
    return False


def test_a_minute_ends_for_all_and_a_late_call_does_not_bring_it_back() -> None:
    limit = LocalLimit("call", 10, MemoryCounts())
    assert [over(limit, "a", START + 59) for _ in range(11)] == [False] * 10 + [True]
    assert not over(limit, "b", START + 60)
    # What came before the minute turned and is judged after it counts in the new one, and begins nothing anew.
    assert [over(limit, "a", START + at) for at in [59, 60] * 5] == [False] * 10
    limit.check("a", START + 61)
    assert over(limit, "a", START + 61)
    with pytest.raises(ReferralError):
        limit.check("a", START + 62)
    # A clock that is set back counts from where it stands.
    assert not over(limit, "a", START - 3600)
    limit.check("a", START - 3600)


@pytest.mark.parametrize("processes", [2, 5])
def test_processes_that_exchange_what_they_count_exceed_a_limit_by_no_more_than_is_said(processes: int) -> None:
    most, counts = 1000, MemoryCounts()
    each = [LocalLimit("call", most, counts) for _ in range(processes)]
    passed = between = 0
    for turn in range(3000):
        passed += not over(each[turn % processes], "a", START)
        between += 1
        if between == 50:  # So many come in SHARE_S seconds.
            between = 0
            for one in each:
                one.share()
    assert most <= passed <= most + processes * (most // SHARED_FROM + 50)
    # And whoever is not near a limit is told of nowhere.
    over(each[0], "b", START)
    each[0].share()
    assert not any(name.endswith("/b") for name in counts._counts)


def test_what_could_not_be_told_is_told_the_next_time() -> None:
    class Silent(MemoryCounts):
        answers = False

        def add(self, name: str, by: int, minute: int) -> int:
            if not self.answers:
                raise ReferralError(ErrorCode.REPLAY_STORE_UNAVAILABLE, reason="database")
            return super().add(name, by, minute)

    counts = Silent()
    here, there = LocalLimit("call", 10, counts), LocalLimit("call", 10, counts)
    for _ in range(6):
        here.take("a", START)
        there.take("a", START)
    with pytest.raises(ReferralError):
        here.share()
    counts.answers = True
    here.share()
    there.share()
    here.share()
    assert over(here, "a", START)
    assert over(there, "a", START)


def test_where_nothing_can_be_counted_a_refusal_stays_what_it_was_and_no_token_is_given(tmp_path: Path) -> None:
    class Gone(MemoryCounts):
        def add(self, name: str, by: int, minute: int) -> int:
            raise ReferralError(ErrorCode.REPLAY_STORE_UNAVAILABLE, reason="database")

    world = AccessWorld(tmp_path, counts=Gone())
    assert {one.status for one in fail(world, FAILURES_A_MINUTE * 2)} == {401}
    assert world.hotline.ask().status == 503


def test_a_limit_is_exact_for_many_threads() -> None:
    limit, passed = LocalLimit("call", 1000, MemoryCounts()), []
    barrier = threading.Barrier(4)

    def work() -> None:
        barrier.wait()
        passed.append(sum(not over(limit, "a", START) for _ in range(600)))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(passed) == 1000


def test_what_a_limit_costs_a_call_is_microseconds() -> None:
    every = Limits(MemoryCounts(), 10**9)

    def one_call() -> None:
        every.calls.check("linea-sur.svc1", START)
        every.calls.take("linea-sur.svc1", START)

    cost = spent_us(one_call)
    print(f"a call's limit: {cost:.2f} us; a token request's while nobody fails: ", end="")
    idle = spent_us(lambda: every.is_failing(START))
    print(f"{idle:.2f} us")
    assert cost < 10
    assert idle < 5


def test_what_strangers_send_is_kept_for_a_minute_and_never_as_they_sent_it(world: AccessWorld) -> None:
    fail(world, FAILURES_A_MINUTE)
    world.now += MINUTE_S
    fail(world, 1, "nobody.else")
    kept = world.counts._counts  # type: ignore[attr-defined]
    assert len(kept) == 2
    assert "nobody.else" not in str(kept)


def test_whoever_goes_on_failing_costs_the_database_nothing_more(tmp_path: Path) -> None:
    class Asked(MemoryCounts):
        times = 0

        def add(self, name: str, by: int, minute: int) -> int:
            self.times += 1
            return super().add(name, by, minute)

    counts = Asked()
    world = AccessWorld(tmp_path, counts=counts)
    # Under the right kid, as one who knows the keys log can do it: each is looked at.
    assert fail(world, FAILURES_A_MINUTE + 100, kid=world.hotline.access.kid)[-1].status == 429
    assert counts.times == 2 * FAILURES_A_MINUTE
