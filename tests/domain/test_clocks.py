"""Terms, ladders and urgency floors, against the protocol's figures written out again."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from referral_api.domain import clocks
from referral_api.domain.clocks import Rung, floor
from referral_api.domain.words import Urgency
from referral_api.formats.codelists import codes

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
REASONS = st.frozensets(st.sampled_from(sorted(codes("urgency_reason"))))
AGES = st.frozensets(st.sampled_from(sorted(codes("age_group"))))


@pytest.mark.parametrize("urgency", Urgency)
def test_the_terms_and_the_ladder_are_those_of_the_protocol(urgency: Urgency) -> None:
    """R-80, with the figures written out again."""
    terms = clocks.TERMS[urgency]
    spans = (terms.ack, terms.decision, terms.first_status, terms.next_status)
    assert tuple(span.total_seconds() for span in spans) == FIGURES[urgency]
    assert [(after.total_seconds(), rung.value) for after, rung in terms.ladder] == LADDER[urgency]


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
