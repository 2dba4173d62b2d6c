"""What becomes of a referral that nobody takes on: declined, undecided, or telephoned about in vain (R-106)."""

from __future__ import annotations

from functools import partial

import pytest

from referral_api.domain.clocks import Clock
from referral_api.domain.clockwork import Due, dues, purge_at, wakes_at
from referral_api.domain.deliveries import NOT_MADE
from referral_api.domain.errors import ErrorCode
from referral_api.domain.fold import possible
from referral_api.domain.rules import DEFAULT, Rules
from referral_api.domain.words import Act, RetentionClass, Role, State, Urgency
from tests.auditlog.refusals import refused
from tests.domain.test_clockwork import (
    ACTION,
    DAY,
    ESCALATION,
    EVERYBODY,
    HOUR,
    INFORMATION,
    LOCAL,
    MINUTE,
    NATIONAL,
    NEW,
    OBSERVER,
    PARENT,
    H,
    Life,
    U,
    X,
)  # fmt: skip

NEWS = (Act.TELEPHONE_NOW, Act.RELEASED)


def told(life: Life, since: int = 0) -> list[tuple[int, Act, str, object]]:
    """The calls and releases from a moment on."""
    return [one for one in life.told(*NEWS) if one[0] >= since]


def declined(urgency: Urgency = Urgency.EMERGENCY, at: int = 5 * MINUTE) -> Life:
    """Read and declined by the unit that it was sent to."""
    life = Life(urgency).until(at)
    life.act(Act.ACK, U)
    life.act(Act.DECLINE, U)
    return life


def test_a_pressing_referral_that_is_declined_rings_at_once_and_goes_to_who_stands_by() -> None:
    life = declined()
    assert told(life) == [(5 * MINUTE, Act.TELEPHONE_NOW, LOCAL, "declined")]
    life.until(20 * MINUTE)
    assert told(life, 6 * MINUTE) == [(20 * MINUTE, Act.RELEASED, PARENT, "declined")]
    life.until(35 * MINUTE)
    assert life[NATIONAL].state is State.SUBMITTED, "the parent's own ladder goes on from its release"


def test_a_routine_one_waits_on_the_hotline_s_list_and_nobody_is_woken() -> None:
    life = declined(Urgency.ROUTINE).until(5 * DAY)
    assert told(life) == []


def test_it_rings_again_until_somebody_has_it() -> None:
    """Once the call is answered: so long after it as a unit has to decide; as it has to read, if nobody answered."""
    life = Life(targets=((LOCAL, ACTION),)).until(5 * MINUTE)
    life.act(Act.ACK, U)
    life.act(Act.DECLINE, U)
    life.until(9 * HOUR)
    assert len(told(life)) == 1, "it rings already"
    life.act(Act.PHONE_ALERT, H)
    life.until(11 * HOUR)
    assert told(life)[1:] == [(10 * HOUR, Act.TELEPHONE_NOW, LOCAL, "declined")]
    life.act(Act.PHONE_ALERT, H, code=NOT_MADE)
    life.until(12 * HOUR)
    assert told(life)[2:] == [(11 * HOUR + 15 * MINUTE, Act.TELEPHONE_NOW, LOCAL, "declined")]
    life.act(Act.PHONE_ALERT, H)
    life.act(Act.CLOSE, H)
    assert told(life.until(2 * DAY))[3:] == [], "the hotline has seen to it"


@pytest.mark.parametrize("ends", [Act.CLOSE, Act.WITHDRAW, Act.CONSENT_WITHDRAWN])
def test_nothing_is_released_once_the_hotline_has_seen_to_it_or_the_person_wants_it_no_further(ends: Act) -> None:
    life = declined()
    life.act(ends, H)
    life.act(Act.PHONE_ALERT, H)
    life.until(70 * HOUR)
    assert told(life, 6 * MINUTE) == []
    assert life[PARENT].state is State.HELD


def test_a_hotline_that_has_closed_one_of_several_has_seen_to_it() -> None:
    life = declined().until(21 * MINUTE)
    life.act(Act.ACK, U, PARENT)
    life.act(Act.DECLINE, U, PARENT)
    assert told(life, 21 * MINUTE) == [(21 * MINUTE, Act.TELEPHONE_NOW, PARENT, "declined")]
    life.now += MINUTE
    life.act(Act.PHONE_ALERT, H, PARENT)
    life.act(Act.CLOSE, H, LOCAL)
    life.until(9 * HOUR)
    assert told(life, 22 * MINUTE) == []
    assert life[NATIONAL].state is State.HELD


def test_a_decision_that_does_not_come_is_the_next_party_s_matter_too() -> None:
    life = Life().until(14 * MINUTE)
    life.act(Act.ACK, U)
    life.until(74 * MINUTE)
    assert told(life) == [(1 * HOUR, Act.TELEPHONE_NOW, LOCAL, "update_timeout")]
    life.until(76 * MINUTE)
    assert told(life)[1:] == [(75 * MINUTE, Act.RELEASED, PARENT, "update_timeout")]
    life.act(Act.PHONE_ALERT, H)
    life.until(80 * MINUTE)
    life.accepted(PARENT)
    life.until(5 * HOUR)
    assert life[NATIONAL].state is State.HELD
    assert [one for one in told(life)[2:] if one[2] == LOCAL] == [], "somebody has it"


def test_an_undecided_emergency_rings_every_hour() -> None:
    life = Life(targets=((LOCAL, ACTION),))
    life.act(Act.ACK, U)
    for hour in (1, 2, 3):
        life.until(hour * HOUR)
        life.act(Act.PHONE_ALERT, H)
    assert [at for at, *_ in told(life)] == [1 * HOUR, 2 * HOUR, 3 * HOUR]
    life.act(Act.ACCEPT, U)
    assert wakes_at(DEFAULT, life.situation) == 3 * HOUR + 2 * HOUR, "now the first status is owed"


def test_whoever_did_not_answer_the_telephone_is_called_again() -> None:
    """A call that nobody took ends no alarm: of an emergency after 15 minutes, until the bundle is read or expires."""
    life = Life(targets=((LOCAL, ACTION),)).until(15 * MINUTE)
    for _ in range(3):
        life.act(Act.PHONE_ALERT, H, code=NOT_MADE)
        life.until(life.now + 15 * MINUTE)
    assert [(at, why) for at, _, _, why in told(life)] == [
        (minutes * MINUTE, "ack_timeout") for minutes in (15, 30, 45, 60)
    ]
    life.act(Act.PHONE_ALERT, H)
    life.until(2 * HOUR - 1)
    assert len(told(life)) == 4, "one that was answered does"
    life.until(3 * HOUR)
    assert life[LOCAL].state is State.EXPIRED
    assert told(life)[4:] == [(2 * HOUR, Act.TELEPHONE_NOW, LOCAL, "ack_timeout")], "nobody has it, and nobody read it"


def test_of_what_does_not_open_the_reason_is_said_again() -> None:
    life = Life(targets=((LOCAL, ACTION),)).until(16 * MINUTE)
    life.act(Act.RECEIPT_FAILED, U)
    life.act(Act.PHONE_ALERT, H, code=NOT_MADE)
    life.until(31 * MINUTE)
    assert [(at, why) for at, _, _, why in told(life)] == [
        (15 * MINUTE, "ack_timeout"),
        (31 * MINUTE, "receipt_failed"),
    ]


def test_a_late_answer_to_a_notice_is_asked_for_again() -> None:
    life = Life(Urgency.ROUTINE, ((LOCAL, ACTION),)).accepted()
    life.act(Act.CONSENT_WITHDRAWN, H)
    life.act(Act.PHONE_ALERT, H, code=NOT_MADE)
    life.until(70 * HOUR)
    assert told(life) == [], "nothing is late"
    life.until(73 * HOUR)
    life.act(Act.PHONE_ALERT, H, code=NOT_MADE)
    life.until(98 * HOUR)
    assert [(at, why) for at, _, _, why in told(life)] == [
        (72 * HOUR, "update_timeout"),
        (97 * HOUR, "update_timeout"),
    ]
    life.act(Act.WITHDRAWAL_ANSWER, U, code="already_acted")
    life.act(Act.PHONE_ALERT, H, code=NOT_MADE)
    assert len(told(life.until(8 * DAY))) == 2


def test_what_its_taker_has_closed_goes_back_to_nobody() -> None:
    """It was seen to, also once nothing is left of it."""
    life = Life().until(16 * MINUTE)
    life.act(Act.ACK, U)
    life.accepted(PARENT)
    life.act(Act.CLOSE, U, PARENT)
    life.until(200 * DAY)
    assert (life[PARENT].state, life[LOCAL].state) == (State.PURGED, State.ACKNOWLEDGED)
    assert (life[LOCAL].taken, told(life, 16 * MINUTE)) == (True, [])


def given_back() -> Life:
    """The parent took it from the unit that slept, and declines it half an hour later."""
    life = Life().until(16 * MINUTE)
    life.accepted(PARENT)
    life.until(46 * MINUTE)
    life.act(Act.DECLINE, U, PARENT)
    return life


def test_what_the_taker_declines_is_the_others_again_from_the_beginning() -> None:
    life = given_back()
    assert told(life, 46 * MINUTE) == [(46 * MINUTE, Act.RELEASED, LOCAL, "declined")]
    assert (life[LOCAL].taken, life[LOCAL].state) == (False, State.SUBMITTED)
    assert dues(DEFAULT, Urgency.EMERGENCY, life[LOCAL]) == (Due(Clock.ACK, 61 * MINUTE),)
    life.act(Act.PHONE_ALERT, H)
    life.until(61 * MINUTE)
    assert life.told(Act.ESCALATED)[-3:] == [
        (56 * MINUTE, Act.ESCALATED, LOCAL, "remind_unit"),
        (61 * MINUTE, Act.ESCALATED, LOCAL, "telephone_now"),
        (61 * MINUTE, Act.ESCALATED, LOCAL, "release_parent"),
    ]
    assert life[NATIONAL].state is State.SUBMITTED
    life.accepted()
    assert life[LOCAL].state is State.ACCEPTED, "and no word of joining anybody"


def test_who_had_read_it_decides_in_a_time_of_its_own() -> None:
    life = Life().until(16 * MINUTE)
    life.act(Act.ACK, U)
    life.accepted(PARENT)
    life.until(3 * HOUR)
    life.act(Act.DECLINE, U, PARENT)
    assert told(life, 3 * HOUR) == [(3 * HOUR, Act.RELEASED, LOCAL, "declined")]
    assert life[LOCAL].state is State.ACKNOWLEDGED
    assert dues(DEFAULT, Urgency.EMERGENCY, life[LOCAL]) == (Due(Clock.DECISION, 4 * HOUR),)


def test_two_who_work_on_it_leave_one_another_alone() -> None:
    life = Life().until(16 * MINUTE)
    life.accepted(PARENT)
    life.act(Act.ACK, U)
    life.act(Act.ACCEPT, U, joint=True)
    before = len(life.posted)
    life.act(Act.DECLINE, U, PARENT)
    assert life.posted[before:] == []
    life.now += 1
    life.look()
    life.act(Act.PHONE_ALERT, H)
    life.act(Act.DECLINE, U)
    assert told(life, 16 * MINUTE)[-1] == (life.now, Act.TELEPHONE_NOW, LOCAL, "declined"), "now nobody has it"


def test_what_was_not_taken_is_not_given_back() -> None:
    life = Life()
    assert refused(ErrorCode.ILLEGAL_TRANSITION, lambda: life._happen(Act.RELEASED, X, LOCAL)) == "not-taken"


def test_what_expired_and_is_acknowledged_late_goes_in_its_time_and_stays_on_the_list() -> None:
    """R-107: nothing of it goes while nobody has read it; read, it goes like everything that was."""
    life = Life(Urgency.EMERGENCY, ((LOCAL, ACTION),)).until(3 * HOUR)
    unread = life[LOCAL]
    assert purge_at(DEFAULT, RetentionClass.STANDARD, unread) is None
    assert Act.PURGE_REQUEST not in possible(H, unread, frozenset(), {})
    for act, by in ((Act.PURGE_REQUEST, H), (Act.PURGED, X), (Act.PURGE_DUE, X)):
        assert refused(ErrorCode.ILLEGAL_TRANSITION, partial(life._happen, act, by, LOCAL)) == "unread"
    life.act(Act.ACK, U)
    assert Act.PURGE_REQUEST in possible(H, life[LOCAL], frozenset(), {})
    life.until(3 * HOUR + 91 * DAY)
    assert life.told(Act.PURGED) == [(3 * HOUR + 90 * DAY, Act.PURGED, LOCAL, "retention_ended")]
    assert life[LOCAL].state is State.EXPIRED
    life.act(Act.CLOSE, H)
    life.until(life.now + 31 * DAY)
    assert life[LOCAL].state is State.PURGED


def test_what_was_closed_or_taken_back_before_the_last_decline_silences_nobody() -> None:
    """A superfluous delivery that was closed, or a mistaken withdrawal, says nothing of what comes later."""
    life = Life().until(16 * MINUTE)
    life.accepted()
    life.until(1 * HOUR)
    life.act(Act.WITHDRAW, H, PARENT)
    assert life[PARENT].state is State.WITHDRAWN
    life.act(Act.PHONE_ALERT, H)
    life.until(2 * HOUR)
    life.act(Act.DECLINE, U)
    assert told(life, 2 * HOUR) == [(2 * HOUR, Act.TELEPHONE_NOW, LOCAL, "declined")]
    assert told(life.until(3 * HOUR), 2 * HOUR + 1)[0] == (2 * HOUR + 15 * MINUTE, Act.RELEASED, NATIONAL, "declined")


def test_a_withdrawal_that_was_a_mistake_and_goes_on_is_no_end() -> None:
    life = Life(targets=((LOCAL, ACTION),)).accepted()
    life.act(Act.WITHDRAW, H)
    life.act(Act.WITHDRAWAL_ANSWER, U, code="continuing_public_prosecution")
    life.now += MINUTE
    life.act(Act.DECLINE, U)
    assert [why for _, _, _, why in told(life)] == ["declined"]


def test_a_taker_that_is_lost_without_a_word_gives_it_back_too() -> None:
    """It passed it on, and nobody there reads it."""
    life = Life().until(16 * MINUTE)
    life.act(Act.ACK, U)
    life.accepted(PARENT)
    transfer = life.act(Act.TRANSFER, U, PARENT, to=NEW)
    life.act(Act.APPROVE, H, PARENT, question=transfer)
    assert life[LOCAL].taken
    life.until(6 * HOUR)
    assert life[NEW].state is State.EXPIRED
    assert life[NATIONAL].state is State.EXPIRED
    assert not life[LOCAL].taken
    assert (Act.RELEASED, LOCAL, "declined") in [one[1:] for one in told(life)]


def test_what_another_has_is_not_passed_on() -> None:
    life = Life(rules=Rules(transfers=Role.EXCHANGE)).until(16 * MINUTE)
    life.act(Act.ACK, U)
    life.accepted(PARENT)
    assert Act.TRANSFER not in possible(U, life[LOCAL], frozenset(), {})
    assert refused(ErrorCode.ILLEGAL_TRANSITION, partial(life.act, Act.TRANSFER, U, to=NEW)) == "taken"


def test_an_older_alarm_s_call_does_not_count_for_the_decline() -> None:
    life = Life(targets=((LOCAL, ACTION),)).until(15 * MINUTE)
    life.act(Act.ACK, U)
    life.until(20 * MINUTE)
    life.act(Act.DECLINE, U)
    life.until(21 * MINUTE)
    life.act(Act.PHONE_ALERT, H)
    life.look()
    assert told(life, 16 * MINUTE) == [(21 * MINUTE, Act.TELEPHONE_NOW, LOCAL, "declined")]


def test_after_a_standstill_a_decline_is_taken_whatever_else_is_due() -> None:
    """Two have read it and nobody looked at the clocks for an hour."""
    life = Life().until(16 * MINUTE)
    life.act(Act.ACK, U)
    life.act(Act.ACK, U, PARENT)
    life.now = 95 * MINUTE
    life.act(Act.DECLINE, U, PARENT)
    life.look()
    assert [unit for _, act, unit, _ in told(life) if act is Act.RELEASED].count(NATIONAL) == 1


def test_given_back_to_who_could_not_open_it_the_hotline_telephones() -> None:
    life = Life().until(16 * MINUTE)
    life.act(Act.RECEIPT_FAILED, U)
    life.act(Act.PHONE_ALERT, H)
    life.accepted(PARENT)
    life.until(30 * MINUTE)
    life.act(Act.DECLINE, U, PARENT)
    assert [one[1:] for one in told(life, 30 * MINUTE) if one[2] == LOCAL] == [
        (Act.RELEASED, LOCAL, "declined"),
        (Act.TELEPHONE_NOW, LOCAL, "receipt_failed"),
    ]


def test_who_stands_by_is_called_one_after_the_other_wherever_the_submit_names_him() -> None:
    life = Life(targets=((PARENT, ESCALATION), (LOCAL, ACTION), (NATIONAL, ESCALATION)))
    life.act(Act.ACK, U)
    life.until(89 * MINUTE)
    assert [unit for _, act, unit, _ in told(life) if act is Act.RELEASED] == [PARENT]


def test_nobody_rings_about_what_was_destroyed() -> None:
    life = Life(targets=((LOCAL, ACTION),))
    life.act(Act.ACK, U)
    life.act(Act.CONSENT_WITHDRAWN, H)
    life.act(Act.WITHDRAWAL_ANSWER, U, code="stopped_and_destroyed")
    assert life[LOCAL].state is State.WITHDRAWN
    assert told(life.until(2 * DAY)) == []


def test_who_stops_unread_is_waited_for_no_more_and_nobody_else_gets_it() -> None:
    life = Life()
    life.act(Act.CONSENT_WITHDRAWN, H)
    life.act(Act.WITHDRAWAL_ANSWER, U, code="stopped_and_destroyed")
    assert told(life.until(3 * HOUR)) == []
    assert life[NATIONAL].state is State.HELD


def test_a_copy_that_was_sent_in_error_keeps_nobody_from_being_called() -> None:
    life = Life(targets=(*EVERYBODY, (OBSERVER, INFORMATION))).until(3 * MINUTE)
    life.fetch(OBSERVER)
    life.act(Act.WITHDRAW, H, OBSERVER)
    life.act(Act.ACK, U)
    life.act(Act.DECLINE, U)
    assert told(life.until(18 * MINUTE))[-1] == (18 * MINUTE, Act.RELEASED, PARENT, "declined")
