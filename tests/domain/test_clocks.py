"""Deadlines, urgency floors and the ladder: every urgency × state, against the protocol's figures written out again."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from referral_api.domain import clocks, lifecycle
from referral_api.domain.clocks import Clock, Due, Rung, due, floor, rungs_due
from referral_api.domain.words import State, Urgency
from referral_api.formats.codelists import codes
from tests.domain.moments import at

MINUTE, HOUR, DAY = 60, 3600, 86400
# urgency: acknowledgement, decision, first status, later status.
FIGURES = {
    Urgency.EMERGENCY: (15 * MINUTE, 1 * HOUR, 2 * HOUR, 24 * HOUR),
    Urgency.URGENT: (2 * HOUR, 24 * HOUR, 24 * HOUR, 7 * DAY),
    Urgency.ROUTINE: (24 * HOUR, 72 * HOUR, 14 * DAY, 30 * DAY),
}
LADDER = {
    Urgency.EMERGENCY: [
        (10 * MINUTE, "remind_unit"),
        (15 * MINUTE, "telephone_now"),
        (15 * MINUTE, "release_parent"),
        (30 * MINUTE, "release_national"),
        (2 * HOUR, "expire"),
    ],
    Urgency.URGENT: [
        (1 * HOUR, "remind_unit"),
        (2 * HOUR, "telephone_now"),
        (2 * HOUR, "release_parent"),
        (6 * HOUR, "release_national"),
        (24 * HOUR, "expire"),
    ],
    Urgency.ROUTINE: [(24 * HOUR, "telephone_now"), (72 * HOUR, "release_parent"), (14 * DAY, "expire")],
}
OWED = {
    State.SUBMITTED: Clock.ACK,
    State.RETRIEVED: Clock.ACK,
    State.RECEIPT_FAILED: Clock.ACK,
    State.ACKNOWLEDGED: Clock.DECISION,
    State.ACCEPTED: Clock.FIRST_STATUS,
    State.WITHDRAWAL_NOTIFIED: Clock.WITHDRAWAL_ANSWER,
}
MOMENTS = st.integers(0, 40 * DAY).map(at)
URGENCIES = st.sampled_from(Urgency)
REASONS = st.frozensets(st.sampled_from(sorted(codes("urgency_reason"))))
AGES = st.frozensets(st.sampled_from(sorted(codes("age_group"))))


@pytest.mark.parametrize(("urgency", "state"), list(product(Urgency, State)))
def test_what_is_owed_in_each_state_is_due_when_the_protocol_says(urgency: Urgency, state: State) -> None:
    """R-80: calendar time, and one total clock from submission for reading and deciding."""
    ack, decision, first, _ = FIGURES[urgency]
    wanted: dict[Clock, datetime] = {
        Clock.ACK: at(ack),
        Clock.DECISION: at(decision),
        Clock.FIRST_STATUS: at(500 + first),
        Clock.WITHDRAWAL_ANSWER: at(900 + 72 * HOUR),
    }
    clock = OWED.get(state)
    found = due(urgency, state, submitted_at=at(0), accepted_at=at(500), notified_at=at(900))
    assert found == (None if clock is None else Due(clock, wanted[clock]))


@pytest.mark.parametrize("urgency", Urgency)
def test_after_a_first_status_the_next_one_is_owed_from_the_last(urgency: Urgency) -> None:
    _, _, _, later = FIGURES[urgency]
    found = due(urgency, State.ACCEPTED, submitted_at=at(0), accepted_at=at(10), last_status_at=at(5000))
    assert found == Due(Clock.NEXT_STATUS, at(5000 + later))


@pytest.mark.parametrize("urgency", Urgency)
def test_a_delivery_taken_up_again_is_not_late_at_once(urgency: Urgency) -> None:
    """A reopened delivery's last status may be months old; the next is owed from the reopening on."""
    _, _, _, later = FIGURES[urgency]
    reopened = at(100 * DAY)
    found = due(urgency, State.ACCEPTED, submitted_at=at(0), accepted_at=reopened, last_status_at=at(5000))
    assert found == Due(Clock.NEXT_STATUS, reopened + timedelta(seconds=later))


def test_a_withdrawal_notice_without_a_time_has_no_deadline_to_miss() -> None:
    assert due(Urgency.URGENT, State.WITHDRAWAL_NOTIFIED, submitted_at=at(0)) is None


@given(urgency=URGENCIES, submitted_at=MOMENTS, waited=st.timedeltas(timedelta(0), timedelta(days=2)))
def test_an_acknowledgement_never_moves_the_decision_s_term(
    urgency: Urgency, submitted_at: datetime, waited: timedelta
) -> None:
    """R-82: only the exchange's times count, and a late acknowledgement wins no time."""
    before = due(urgency, State.ACKNOWLEDGED, submitted_at=submitted_at)
    after = due(urgency, State.ACKNOWLEDGED, submitted_at=submitted_at, accepted_at=submitted_at + waited)
    assert before == after


@given(state=st.sampled_from(sorted(lifecycle.UNREAD | lifecycle.WORKING)), submitted_at=MOMENTS)
def test_a_higher_urgency_is_never_due_later(state: State, submitted_at: datetime) -> None:
    found = [due(u, state, submitted_at=submitted_at) for u in (Urgency.EMERGENCY, Urgency.URGENT, Urgency.ROUTINE)]
    times = [one.due_at for one in found if one is not None]
    assert len(times) == 3
    assert times == sorted(times)


@pytest.mark.parametrize("urgency", Urgency)
def test_the_ladder_has_the_rungs_and_times_of_the_protocol(urgency: Urgency) -> None:
    """R-80: a second before its time a rung is not reached, at its time it is."""
    for seconds, name in LADDER[urgency]:
        assert Rung(name) not in rungs_due(urgency, at(0), at(seconds - 1))
        assert Rung(name) in rungs_due(urgency, at(0), at(seconds))
    assert [rung.value for rung in rungs_due(urgency, at(0), at(365 * DAY))] == [name for _, name in LADDER[urgency]]


@given(urgency=URGENCIES, submitted_at=MOMENTS, first=MOMENTS, second=MOMENTS)
def test_the_ladder_is_monotone_in_time(
    urgency: Urgency, submitted_at: datetime, first: datetime, second: datetime
) -> None:
    """What was reached stays reached, in the same order: a timer that woke late misses no rung."""
    early, late = sorted((first, second))
    before, after = rungs_due(urgency, submitted_at, early), rungs_due(urgency, submitted_at, late)
    assert after[: len(before)] == before
    assert not rungs_due(urgency, submitted_at, submitted_at - timedelta(seconds=1))


@pytest.mark.parametrize("urgency", Urgency)
def test_nobody_else_gets_the_bundle_before_the_unit_s_time_is_up(urgency: Urgency) -> None:
    terms = clocks.TERMS[urgency]
    for after, rung in terms.ladder:
        if rung is Rung.REMIND_UNIT:
            assert after < terms.ack, "a reminder comes while there is still time"
        else:
            assert after >= terms.ack
    assert terms.ladder[-1][1] is Rung.EXPIRE
    assert [after for after, _ in terms.ladder] == sorted(after for after, _ in terms.ladder)


def test_what_can_be_released_in_time_is_sealed_at_submission() -> None:
    """Only a holder of the plaintext can seal: what the ladder releases within hours was sealed beforehand."""
    assert [u for u in Urgency if clocks.escalation_sealed(u)] == [Urgency.EMERGENCY, Urgency.URGENT]


@given(ages=AGES, reasons=REASONS)
def test_the_floor_is_that_of_the_protocol(ages: frozenset[str], reasons: frozenset[str]) -> None:
    """R-81, with the codes written out."""
    if reasons & {"held_captive_now", "suicide_risk", "life_threat"}:
        wanted = Urgency.EMERGENCY
    elif ages - {"adult"} or reasons & {"imminent_movement", "child_at_risk", "medical", "evidence_perishing"}:
        wanted = Urgency.URGENT
    else:
        wanted = Urgency.ROUTINE
    assert floor(ages, reasons) is wanted


@given(ages=AGES, reasons=REASONS, more_ages=AGES, more_reasons=REASONS)
def test_knowing_more_never_lowers_the_floor(
    ages: frozenset[str], reasons: frozenset[str], more_ages: frozenset[str], more_reasons: frozenset[str]
) -> None:
    low, high = floor(ages, reasons), floor(ages | more_ages, reasons | more_reasons)
    assert clocks.at_least(high, low)
    assert clocks.higher(low, high) is high


def test_the_codes_of_the_floors_are_those_of_the_code_lists() -> None:
    assert set(codes("urgency_reason")) >= clocks.EMERGENCY_REASONS | clocks.URGENT_REASONS
    assert set(codes("age_group")) >= clocks.CHILD_SAFEGUARDS
    assert not clocks.EMERGENCY_REASONS & clocks.URGENT_REASONS


def test_urgencies_are_ordered_and_each_is_as_high_as_itself() -> None:
    order = [Urgency.ROUTINE, Urgency.URGENT, Urgency.EMERGENCY]
    for low, high in product(range(3), repeat=2):
        assert clocks.at_least(order[high], order[low]) == (high >= low)
        assert clocks.higher(order[high], order[low]) is order[max(low, high)]
