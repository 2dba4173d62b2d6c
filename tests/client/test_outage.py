"""How a watch waits for an exchange that does not answer: ever longer, a minute at the most, and not in silence."""

from __future__ import annotations

import pytest

from referral_api.client import sdk
from referral_api.client.alarms import ALARMS
from referral_api.client.outage import FIRST_PAUSE_S, LONGEST_PAUSE_S, REMIND_S, TELL_S, Outage, is_passing
from referral_api.domain.errors import ErrorCode, ReferralError
from tests.world import Clock

AWAY = ReferralError(ErrorCode.UNREACHABLE)


@pytest.fixture
def clock() -> Clock:
    return Clock(stopped_at=1_800_000_000)


@pytest.fixture
def outage(clock: Clock) -> Outage:
    return Outage(sdk.ambient(clock))


def test_pauses_grow_to_a_minute_and_no_two_workstations_pause_alike(outage: Outage, clock: Clock) -> None:
    pauses = [outage.lost(AWAY) for _ in range(12)]
    for attempt, pause in enumerate(pauses):
        longest = min(FIRST_PAUSE_S << attempt, LONGEST_PAUSE_S)
        assert longest / 2 <= pause <= longest
    assert len({Outage(sdk.ambient(clock)).lost(AWAY) for _ in range(20)}) > 10
    outage.found()
    assert outage.lost(AWAY) <= FIRST_PAUSE_S


def test_an_exchange_that_asks_for_time_gets_it_up_to_a_minute(outage: Outage) -> None:
    assert outage.lost(ReferralError(ErrorCode.RATE_LIMITED, retry_after_s=40)) == 40
    assert outage.lost(ReferralError(ErrorCode.RATE_LIMITED, retry_after_s=86_400)) == LONGEST_PAUSE_S


def test_it_is_said_after_a_minute_again_while_it_lasts_and_when_it_is_over(outage: Outage, clock: Clock) -> None:
    began = int(clock())
    told = []
    for _ in range(REMIND_S + TELL_S + 10):
        clock.ahead_s += 1
        outage.lost(AWAY)
        if outage.must_tell():
            told.append(int(clock()) - began)
    assert told == [TELL_S, TELL_S + REMIND_S]
    assert outage.found() == began
    assert outage.found() is None


def test_what_lasts_no_minute_is_not_worth_a_bell(outage: Outage, clock: Clock) -> None:
    clock.ahead_s += TELL_S - 1
    outage.lost(AWAY)
    assert not outage.must_tell()
    assert outage.found() is None


def test_nothing_false_and_nothing_that_a_person_decides_passes_by_itself() -> None:
    passing = {code for code in ErrorCode if is_passing(ReferralError(code))}
    assert passing >= {ErrorCode.UNREACHABLE, ErrorCode.UNAVAILABLE, ErrorCode.RATE_LIMITED, ErrorCode.WRITES_CLOSED}
    assert not passing & ALARMS
    assert not passing & {ErrorCode.WRONG_ROOT, ErrorCode.CLOCK_SKEW, ErrorCode.INVALID_TOKEN, ErrorCode.LOCKED}
    assert not is_passing(OSError())
