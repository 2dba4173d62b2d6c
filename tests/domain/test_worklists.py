"""No delivery is on no list, whatever its state, its role and what is asked on it."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations, product

import pytest

from referral_api.domain import lifecycle
from referral_api.domain.deliveries import Delivery, Question
from referral_api.domain.words import Act, DeliveryRole, Role, State
from referral_api.domain.worklists import OVER, TO_DO, Worklist, superseded, worklists

H, U = Role.HOTLINE, Role.POLICE_UNIT
LINE, UNIT = "line", "unit-a"
ASKED = [
    Question(Act.ASK, "d1", f"{UNIT}.p1"),
    Question(Act.ASK, "d2", f"{LINE}.p1"),
    Question(Act.CONSENT_WITHDRAWN, "d3", f"{LINE}.p1"),
    Question(Act.TRANSFER, "d4", f"{UNIT}.p1"),
    Question(Act.PURGE_REQUEST, "d5", f"{LINE}.p1"),
    Question(Act.TELEPHONE_NOW, "d6", "exchange.main"),
]
SOME = [some for size in (0, 1, 2) for some in combinations(ASKED, size)]


def delivery(state: State, role: DeliveryRole, asked: tuple[Question, ...]) -> Delivery:
    begun = None if state is State.HELD else 0
    return Delivery(UNIT, role, state, "d0", begun, questions=asked)


@pytest.mark.parametrize("state", State)
def test_no_state_is_on_no_worklist(state: State) -> None:
    for role, asked in product(DeliveryRole, SOME):
        one = delivery(state, role, asked)
        assert worklists(H, LINE, one), (state, role, asked)
        assert bool(worklists(U, UNIT, one)) == (state is not State.HELD), (state, role, asked)


@pytest.mark.parametrize("state", [one for one in State if one is not State.PURGED])
def test_every_open_delivery_waits_for_somebody(state: State) -> None:
    """Until it has ended somebody is to do something, or the exchange is, at a moment that is known."""
    for role, asked in product(DeliveryRole, SOME):
        one = delivery(state, role, asked)
        lists = worklists(H, LINE, one) | worklists(U, UNIT, one)
        ended = state in lifecycle.FINISHED or (role is DeliveryRole.INFORMATION and state not in lifecycle.UNREAD)
        assert lists & TO_DO or state is State.HELD or ended, (state, role, asked)


def test_whoever_is_asked_finds_it_among_what_is_to_be_answered() -> None:
    for question, by, party, is_to_answer in [
        (ASKED[0], H, LINE, True),
        (ASKED[0], U, UNIT, False),
        (ASKED[1], U, UNIT, True),
        (ASKED[2], U, UNIT, True),
        (ASKED[3], H, LINE, True),
        (ASKED[3], U, UNIT, False),
        (ASKED[4], U, UNIT, True),
        (ASKED[4], H, LINE, True),
        (ASKED[5], U, UNIT, False),
    ]:
        lists = worklists(by, party, delivery(State.ACCEPTED, DeliveryRole.ACTION, (question,)))
        assert (Worklist.ANSWER in lists) == is_to_answer, question


def test_who_was_only_to_know_of_it_and_has_read_is_waited_for_no_more() -> None:
    for role, found in ((DeliveryRole.INFORMATION, Worklist.ENDED), (DeliveryRole.ACTION, Worklist.WAITING)):
        assert worklists(H, LINE, delivery(State.ACKNOWLEDGED, role, ())) == {found}
        assert worklists(H, LINE, delivery(State.RETRIEVED, role, ())) == {Worklist.WAITING}


def test_nobody_is_looked_for_in_the_place_of_who_was_only_to_know_of_it() -> None:
    """R-70: an informed unit that sleeps, or cannot open it, keeps nobody from acting."""
    for state in (State.EXPIRED, State.RECEIPT_FAILED):
        assert worklists(H, LINE, delivery(state, DeliveryRole.INFORMATION, ())) == {Worklist.WAITING}
        assert worklists(H, LINE, delivery(state, DeliveryRole.ESCALATION, ())) == {Worklist.READDRESS}


def test_what_another_one_replaced_is_to_be_closed_and_rings_no_more() -> None:
    fallen = worklists(H, LINE, delivery(State.DECLINED, DeliveryRole.ACTION, (ASKED[0], ASKED[5])))
    assert fallen == {Worklist.READDRESS, Worklist.TELEPHONE, Worklist.ANSWER}
    assert superseded(fallen) == {Worklist.CLOSE, Worklist.ANSWER}
    ringing = worklists(H, LINE, delivery(State.SUBMITTED, DeliveryRole.ACTION, (ASKED[5],)))
    assert superseded(ringing) == ringing, "somebody may still read it"


def test_what_is_over_asks_for_nothing() -> None:
    assert not OVER & TO_DO
    for state, role, asked in product(State, DeliveryRole, SOME):
        one = delivery(state, role, asked)
        for by, party in ((H, LINE), (U, UNIT)):
            lists = worklists(by, party, one)
            assert not lists <= OVER or not lists & TO_DO


def test_the_hotline_is_to_telephone_until_it_has() -> None:
    ringing = delivery(State.SUBMITTED, DeliveryRole.ACTION, (ASKED[5],))
    assert Worklist.TELEPHONE in worklists(H, LINE, ringing)
    assert Worklist.TELEPHONE not in worklists(U, UNIT, ringing)
    assert worklists(H, LINE, delivery(State.SUBMITTED, DeliveryRole.ACTION, ())) == {Worklist.WAITING}


@pytest.mark.parametrize(
    ("state", "sender", "unit"),
    [
        (State.HELD, Worklist.STANDING_BY, None),
        (State.SUBMITTED, Worklist.WAITING, Worklist.READ),
        (State.RETRIEVED, Worklist.WAITING, Worklist.READ),
        (State.RECEIPT_FAILED, Worklist.READDRESS, Worklist.READ),
        (State.EXPIRED, Worklist.READDRESS, Worklist.READ),
        (State.ACKNOWLEDGED, Worklist.WAITING, Worklist.DECIDE),
        (State.ACCEPTED, Worklist.WAITING, Worklist.REPORT),
        (State.WITHDRAWAL_NOTIFIED, Worklist.WAITING, Worklist.ANSWER),
        (State.DECLINED, Worklist.READDRESS, Worklist.ENDED),
        (State.TRANSFERRED, Worklist.ENDED, Worklist.ENDED),
        (State.WITHDRAWN, Worklist.ENDED, Worklist.ENDED),
        (State.CLOSED, Worklist.ENDED, Worklist.ENDED),
        (State.PURGED, Worklist.FORGOTTEN, Worklist.FORGOTTEN),
    ],
)
def test_each_state_is_on_the_list_of_what_is_to_be_done_with_it(
    state: State, sender: Worklist, unit: Worklist | None
) -> None:
    """R-70: whose turn it is; one list where nothing is asked, or a person would be told two things."""
    one = delivery(state, DeliveryRole.ACTION, ())
    assert worklists(H, LINE, one) == {sender}
    assert worklists(U, UNIT, one) == (set() if unit is None else {unit})


def test_a_unit_that_is_told_for_information_has_nothing_to_decide_and_one_that_proposed_waits() -> None:
    for state in (State.ACKNOWLEDGED, State.ACCEPTED):
        assert worklists(U, UNIT, delivery(state, DeliveryRole.INFORMATION, ())) == {Worklist.ENDED}
        assert worklists(U, UNIT, delivery(state, DeliveryRole.ACTION, (ASKED[3],))) == {Worklist.WAITING}


def test_what_was_read_late_waits_for_the_hotline_and_what_another_took_for_nobody() -> None:
    """R-79, R-78: neither leaves its unit anything to decide, so neither stands among what waits for it."""
    late = replace(delivery(State.EXPIRED, DeliveryRole.ACTION, ()), acknowledged_at=1)
    assert worklists(U, UNIT, late) == {Worklist.WAITING}
    assert worklists(H, LINE, late) == {Worklist.READDRESS}
    taken = replace(delivery(State.ACKNOWLEDGED, DeliveryRole.ESCALATION, ()), acknowledged_at=1, taken=True)
    assert worklists(U, UNIT, taken) == {Worklist.STANDING_BY}
    assert worklists(U, UNIT, replace(taken, taken=False)) == {Worklist.DECIDE}, "given back"
    assert worklists(U, UNIT, replace(taken, state=State.ACCEPTED)) == {Worklist.REPORT}, "taken jointly"
    assert worklists(U, UNIT, replace(taken, questions=(ASKED[1],))) == {Worklist.STANDING_BY, Worklist.ANSWER}
