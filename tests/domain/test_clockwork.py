"""What the exchange owes and when, on a referral whose time is made by hand (R-80, R-106, R-107).

`Life` is an exchange without bytes: it folds parties' acts and posts whatever `owed` lists, the way the server does.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from referral_api.domain import clockwork, lifecycle
from referral_api.domain.clocks import TERMS, Clock, Rung
from referral_api.domain.clockwork import Due, Owed, Situation, dues, owed, purge_at, wakes_at
from referral_api.domain.deliveries import Delivery
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.fold import Event, judge, open_deliveries, retrieve
from referral_api.domain.rules import DEFAULT, RuleBook, Rules
from referral_api.domain.words import Act, DeliveryRole, RetentionClass, Role, State, Urgency
from tests.auditlog.refusals import refused

MINUTE, HOUR, DAY = 60, 3600, 86400
LOCAL, PARENT, NATIONAL, OBSERVER, NEW = "unit-local", "unit-parent", "unit-national", "unit-observer", "unit-new"
ACTION, ESCALATION, INFORMATION = DeliveryRole.ACTION, DeliveryRole.ESCALATION, DeliveryRole.INFORMATION
EVERYBODY = ((LOCAL, ACTION), (PARENT, ESCALATION), (NATIONAL, ESCALATION))
H, U, X = Role.HOTLINE, Role.POLICE_UNIT, Role.EXCHANGE


class Life:
    """One referral, its clocks, and everything that was posted: (when, what, where, detail)."""

    def __init__(
        self,
        urgency: Urgency = Urgency.EMERGENCY,
        targets: tuple[tuple[str, DeliveryRole], ...] = EVERYBODY,
        *,
        retention: RetentionClass = RetentionClass.STANDARD,
        rules: Rules = DEFAULT,
    ) -> None:
        self.rules, self.urgency, self.retention = rules, urgency, retention
        self.now, self.count = 0, 0
        self.deliveries: dict[str, Delivery] = open_deliveries(Event(Act.SUBMIT, H, "line", "d0", 0, targets=targets))
        self.posted: list[tuple[int, Act, str, object]] = []

    @property
    def situation(self) -> Situation:
        return Situation(self.urgency, self.retention, self.deliveries)

    def __getitem__(self, unit: str) -> Delivery:
        return self.deliveries[unit]

    def until(self, moment: int) -> Life:
        """Let time pass; the exchange wakes when it said that it would."""
        while (at := wakes_at(self.rules, self.situation)) is not None and at <= moment:
            self.now = max(self.now, at)
            self.look()
        self.now = max(self.now, moment)
        return self

    def look(self) -> None:
        """Post what is owed now, as the server's timers do."""
        before = len(self.posted)
        while step := owed(self.rules, self.situation, self.now):
            for one in step.acts:
                self.post(one)
            assert len(self.posted) - before < 200, "the clocks do not come to rest"

    def post(self, one: Owed) -> None:
        body = dict(one.body)
        code = body.get("clock") or (f"purge_{body['days']}" if "days" in body else None)
        self._happen(one.act, X, one.unit, code=code, due_at=body.get("due_at"), question=body.get("answers"))
        detail = body.get("rung") or body.get("clock") or body.get("days") or body.get("reason")
        self.posted.append((self.now, one.act, one.unit, detail))

    def act(
        self, act: Act, by: Role, unit: str | None = LOCAL, *, code: str | None = None, joint: bool = False,
        to: str | None = None, question: str | None = None, due_at: int | None = None, signer: str = "",
    ) -> str:  # fmt: skip
        """An act of a party, and what follows from it at once."""
        before = dict(self.deliveries)
        event = self._happen(
            act, by, unit, code=code, joint=joint, to=to, question=question, due_at=due_at, signer=signer
        )
        for one in clockwork.follows(self.rules, before, self.situation, event):
            self.post(one)
        return event.digest

    def fetch(self, unit: str = LOCAL) -> None:
        self.deliveries[unit] = retrieve(self.deliveries[unit], self.now)

    def accepted(self, unit: str = LOCAL) -> Life:
        self.act(Act.ACK, U, unit)
        self.act(Act.ACCEPT, U, unit)
        return self

    def told(self, *kinds: Act) -> list[tuple[int, Act, str, object]]:
        return [one for one in self.posted if one[1] in kinds]

    def _happen(
        self, act: Act, by: Role, unit: str | None, *, code: str | None = None, joint: bool = False,
        to: str | None = None, question: str | None = None, due_at: int | None = None, signer: str = "",
    ) -> Event:  # fmt: skip
        self.count += 1
        party = "line" if by is H else "exchange" if by is X else str(unit)
        prev = None if by is X else self.deliveries[unit].head if unit else "d0"
        targets = () if to is None else ((to, ACTION),)
        event = Event(
            act, by, party, f"d{self.count}", self.now, unit=unit, prev=prev, code=code, question=question,
            targets=targets, signer=signer or f"{party}.p1", joint=joint, due_at=due_at,
        )  # fmt: skip
        self.deliveries |= judge(event, self.deliveries, prev_known=True)
        return event


def test_an_emergency_that_nobody_reads_climbs_the_whole_ladder() -> None:
    """R-80: reminded, telephoned, released to the parent, then to the national directorate, and expired."""
    life = Life().until(3 * HOUR)
    local = [(at, act, detail) for at, act, unit, detail in life.posted if unit == LOCAL]
    assert local == [
        (10 * MINUTE, Act.ESCALATED, "remind_unit"),
        (15 * MINUTE, Act.OVERDUE, "ack"),
        (15 * MINUTE, Act.TELEPHONE_NOW, "ack_timeout"),
        (15 * MINUTE, Act.ESCALATED, "telephone_now"),
        (15 * MINUTE, Act.ESCALATED, "release_parent"),
        (30 * MINUTE, Act.ESCALATED, "release_national"),
        (120 * MINUTE, Act.EXPIRED, None),
    ]
    assert life.told(Act.RELEASED) == [
        (15 * MINUTE, Act.RELEASED, PARENT, "ack_timeout"),
        (30 * MINUTE, Act.RELEASED, NATIONAL, "ack_timeout"),
    ]
    assert {unit: one.state for unit, one in life.deliveries.items()} == {
        LOCAL: State.EXPIRED,
        PARENT: State.EXPIRED,
        NATIONAL: State.EXPIRED,
    }
    assert wakes_at(DEFAULT, life.situation) is None, "and it stays on the hotline's list until somebody closes it"


def test_a_routine_referral_has_nobody_to_be_released_to_and_says_so() -> None:
    life = Life(Urgency.ROUTINE, ((LOCAL, ACTION),)).until(20 * DAY)
    assert [(at, act, detail) for at, act, _, detail in life.posted] == [
        (1 * DAY, Act.OVERDUE, "ack"),
        (1 * DAY, Act.TELEPHONE_NOW, "ack_timeout"),
        (1 * DAY, Act.ESCALATED, "telephone_now"),
        (3 * DAY, Act.ESCALATED, "release_parent"),
        (14 * DAY, Act.EXPIRED, None),
    ]


def test_an_acknowledgement_ends_the_ladder_and_the_decision_is_still_owed_from_the_submission() -> None:
    """R-82: a late acknowledgement wins no time."""
    life = Life().until(14 * MINUTE)
    life.act(Act.ACK, U)
    assert dues(DEFAULT, Urgency.EMERGENCY, life[LOCAL]) == (Due(Clock.DECISION, 1 * HOUR),)
    life.until(1 * HOUR)
    assert [(at, act, detail) for at, act, _, detail in life.posted] == [
        (10 * MINUTE, Act.ESCALATED, "remind_unit"),
        (1 * HOUR, Act.OVERDUE, "decision"),
        (1 * HOUR, Act.TELEPHONE_NOW, "update_timeout"),
    ]
    assert life[PARENT].state is State.HELD


def test_the_first_who_accepts_takes_it_from_the_others_and_a_second_says_why_it_joins() -> None:
    """Design §10: after the release both live; `taken` is posted to the other, whose accept then needs `joint`."""
    life = Life().until(16 * MINUTE)
    life.act(Act.ACK, U)
    life.accepted(PARENT)
    assert life.told(Act.TAKEN) == [(16 * MINUTE, Act.TAKEN, LOCAL, None)]
    assert dues(DEFAULT, Urgency.EMERGENCY, life[LOCAL]) == (), "nothing is owed by whom it was taken from"
    assert life[NATIONAL].state is State.HELD
    with pytest.raises(ReferralError) as caught:
        life.act(Act.ACCEPT, U)
    assert (caught.value.code, caught.value.facts["reason"]) == (ErrorCode.ILLEGAL_TRANSITION, "taken")
    life.act(Act.ACCEPT, U, joint=True)
    assert life[LOCAL].state is State.ACCEPTED
    with pytest.raises(ReferralError) as other:
        Life().accepted().act(Act.ACCEPT, U, PARENT, joint=True)
    assert other.value.code is ErrorCode.ILLEGAL_TRANSITION


def test_nobody_joins_what_nobody_has_taken() -> None:
    life = Life()
    life.act(Act.ACK, U)
    with pytest.raises(ReferralError) as caught:
        life.act(Act.ACCEPT, U, joint=True)
    assert caught.value.facts["reason"] == "not-taken"


def test_where_another_unit_has_it_a_sleeping_one_calls_nobody_else_and_expires() -> None:
    life = Life().until(16 * MINUTE)
    life.accepted(PARENT)
    before = len(life.posted)
    life.until(90 * MINUTE)
    assert [one for one in life.posted[before:] if one[2] in (LOCAL, NATIONAL)] == []
    life.until(2 * HOUR)
    assert life[LOCAL].state is State.EXPIRED
    assert life[NATIONAL].state is State.HELD


def test_a_bundle_that_does_not_open_is_a_matter_for_the_telephone_at_once() -> None:
    """Rule R18 of the field; and the ladder goes on, for nobody has read it."""
    life = Life().until(2 * MINUTE)
    life.act(Act.RECEIPT_FAILED, U)
    life.act(Act.RECEIPT_FAILED, U)
    assert life.posted == [(2 * MINUTE, Act.TELEPHONE_NOW, LOCAL, "receipt_failed")]
    life.until(15 * MINUTE)
    assert life[PARENT].state is State.SUBMITTED
    assert len(life.told(Act.TELEPHONE_NOW)) == 1, "it rings already"


def test_a_transfer_is_approved_by_the_exchange_only_where_its_rules_say_so() -> None:
    asking = Life().accepted()
    asking.act(Act.TRANSFER, U, to=NEW)
    assert NEW not in asking.deliveries
    life = Life(rules=Rules(transfers=Role.EXCHANGE)).until(10 * MINUTE)
    life.accepted()
    life.act(Act.TRANSFER, U, to=NEW)
    assert (life[LOCAL].state, life[NEW].state) == (State.TRANSFERRED, State.SUBMITTED)


def test_the_total_clock_runs_on_at_the_unit_that_a_transfer_brought_it_to() -> None:
    """R-80: a fresh time to acknowledge; the decision is owed from the submission on, but never before that time."""
    early, late = Life(Urgency.URGENT).until(10 * MINUTE), Life(Urgency.URGENT).until(23 * HOUR + 59 * MINUTE)
    for life in (early, late):
        life.act(Act.ACK, U)
        transfer = life.act(Act.TRANSFER, U, to=NEW)
        life.act(Act.APPROVE, H, question=transfer)
        brought_at = life.now
        assert dues(DEFAULT, Urgency.URGENT, life[NEW]) == (Due(Clock.ACK, brought_at + 2 * HOUR),)
        life.act(Act.ACK, U, NEW)
    assert dues(DEFAULT, Urgency.URGENT, early[NEW]) == (Due(Clock.DECISION, 24 * HOUR),)
    assert dues(DEFAULT, Urgency.URGENT, late[NEW]) == (Due(Clock.DECISION, late.now + 2 * HOUR),)


def test_statuses_are_owed_from_the_acceptance_and_from_the_last_one() -> None:
    life = Life(Urgency.URGENT).until(1 * HOUR)
    life.accepted()
    assert dues(DEFAULT, Urgency.URGENT, life[LOCAL]) == (Due(Clock.FIRST_STATUS, 25 * HOUR),)
    life.until(30 * HOUR)
    assert life.told(Act.OVERDUE) == [(25 * HOUR, Act.OVERDUE, LOCAL, "first_status")]
    life.act(Act.STATUS, U, code="cannot_disclose")
    assert dues(DEFAULT, Urgency.URGENT, life[LOCAL]) == (Due(Clock.NEXT_STATUS, 30 * HOUR + 7 * DAY),)
    life.until(30 * HOUR + 8 * DAY)
    assert life.told(Act.OVERDUE)[1:] == [(30 * HOUR + 7 * DAY, Act.OVERDUE, LOCAL, "next_status")]


@pytest.mark.parametrize("notice", [Act.WITHDRAW, Act.CONSENT_WITHDRAWN])
def test_an_unanswered_notice_is_late_after_72_hours_whatever_the_state(notice: Act) -> None:
    """R-75: also where the delivery goes on being worked on."""
    life = Life(Urgency.ROUTINE, ((LOCAL, ACTION),)).accepted()
    life.act(notice, H)
    life.until(73 * HOUR)
    assert life.told(Act.OVERDUE, Act.TELEPHONE_NOW) == [
        (72 * HOUR, Act.OVERDUE, LOCAL, "withdrawal_answer"),
        (72 * HOUR, Act.TELEPHONE_NOW, LOCAL, "update_timeout"),
    ]
    life.act(Act.WITHDRAWAL_ANSWER, U, code="already_acted")
    assert all(one.clock is not Clock.WITHDRAWAL_ANSWER for one in dues(DEFAULT, Urgency.ROUTINE, life[LOCAL]))


def test_who_is_only_to_know_owes_an_acknowledgement_and_calls_nobody() -> None:
    life = Life(targets=((LOCAL, ACTION), (OBSERVER, INFORMATION), (NATIONAL, ESCALATION)))
    life.act(Act.ACK, U)
    life.act(Act.ACCEPT, U)
    life.until(3 * HOUR)
    assert [(at, act) for at, act, unit, _ in life.posted if unit == OBSERVER] == [
        (15 * MINUTE, Act.OVERDUE),
        (2 * HOUR, Act.EXPIRED),
    ]


def test_after_a_standstill_nobody_is_expired_before_he_could_answer() -> None:
    """The exchange was down for half a day: all rungs are told at once, and the last one leaves its full time."""
    life = Life()
    life.now = 12 * HOUR
    life.look()
    assert life[LOCAL].state is State.SUBMITTED
    assert {life[PARENT].state, life[NATIONAL].state} == {State.SUBMITTED}
    assert life[LOCAL].rungs == 4
    life.until(12 * HOUR + 89 * MINUTE)
    assert life[LOCAL].state is State.SUBMITTED
    life.until(12 * HOUR + 90 * MINUTE)
    assert life[LOCAL].state is State.EXPIRED


# Forgetting.


def closed_at(moment: int, retention: RetentionClass = RetentionClass.STANDARD) -> Life:
    life = Life(Urgency.ROUTINE, ((LOCAL, ACTION),), retention=retention)
    life.accepted()
    life.act(Act.STATUS, U, code="concluded")
    life.until(moment)
    life.act(Act.CLOSE, U)
    return life


@pytest.mark.parametrize(
    ("retention", "days"),
    [(RetentionClass.STANDARD, 30), (RetentionClass.SHORT, 7), (RetentionClass.LEGAL_HOLD_REQUESTED, 365)],
)
def test_what_has_ended_is_purged_after_the_time_of_its_class(retention: RetentionClass, days: int) -> None:
    """Rule R1 of the field."""
    life = closed_at(1 * DAY, retention)
    due_at = (1 + days) * DAY if days <= 89 else 365 * DAY
    assert purge_at(DEFAULT, retention, life[LOCAL]) == due_at
    life.until(due_at - 1)
    assert life[LOCAL].state is State.CLOSED
    life.until(due_at)
    assert (life[LOCAL].state, life[LOCAL].purged_at) == (State.PURGED, due_at)
    warned = [(at, days) for at, act, _, days in life.posted if act is Act.PURGE_DUE]
    assert warned == [(due_at - days * DAY, days) for days in (14, 3) if due_at - days * DAY >= 1 * DAY]


def test_ninety_days_after_the_acknowledgement_it_goes_though_the_case_goes_on() -> None:
    """Rule R1 of the field: the unit has its own copy; states and thread stay open, and what is said later goes too."""
    life = Life(Urgency.ROUTINE, ((LOCAL, ACTION),)).accepted()
    life.until(91 * DAY)
    assert (life[LOCAL].state, life[LOCAL].purged_at) == (State.ACCEPTED, 90 * DAY)
    life.act(Act.NOTE, U)
    life.until(200 * DAY)
    life.act(Act.CLOSE, U)
    assert purge_at(DEFAULT, RetentionClass.STANDARD, life[LOCAL]) == 230 * DAY
    assert life.until(231 * DAY)[LOCAL].state is State.PURGED


@pytest.mark.parametrize("state", ["unread", "expired", "failed"])
def test_what_nobody_acknowledged_is_never_purged(state: str) -> None:
    """Rule R1 of the field: it alarms instead, and stays on the hotline's list."""
    life = Life(Urgency.ROUTINE, ((LOCAL, ACTION),))
    if state == "failed":
        life.act(Act.RECEIPT_FAILED, U)
    life.until(2 * DAY if state == "unread" else 1000 * DAY)
    assert life[LOCAL].purged_at is None
    assert purge_at(DEFAULT, RetentionClass.STANDARD, life[LOCAL]) is None
    assert life.told(Act.TELEPHONE_NOW)


@pytest.mark.parametrize(("said_at", "put_off"), [(16, False), (17, True), (30, True)])
def test_what_is_said_shortly_before_the_purge_puts_it_off_once(said_at: int, put_off: bool) -> None:
    """Rule R2 of the field: by 14 days, and what is said in those does not put it off again."""
    life = closed_at(1 * DAY)
    life.until(said_at * DAY)
    life.act(Act.NOTE, U)
    moment = (31 + (14 if put_off else 0)) * DAY
    assert purge_at(DEFAULT, RetentionClass.STANDARD, life[LOCAL]) == moment
    life.until(moment - DAY)
    life.act(Act.NOTE, H)
    expected = moment if put_off else moment + 14 * DAY
    assert purge_at(DEFAULT, RetentionClass.STANDARD, life[LOCAL]) == expected
    assert life.until(expected)[LOCAL].state is State.PURGED


def test_reopening_never_gives_a_whole_new_time() -> None:
    """Rule R2 of the field: the acknowledgement stays where it was."""
    life = closed_at(80 * DAY)
    assert purge_at(DEFAULT, RetentionClass.STANDARD, life[LOCAL]) == 90 * DAY
    life.act(Act.REOPEN, U)
    assert purge_at(DEFAULT, RetentionClass.STANDARD, life[LOCAL]) == 90 * DAY
    life.until(85 * DAY)
    life.act(Act.CLOSE, U)
    assert purge_at(DEFAULT, RetentionClass.STANDARD, life[LOCAL]) == 90 * DAY


def test_a_hold_is_reviewed_within_400_days() -> None:
    life = Life().accepted()
    late = partial(life.act, Act.HOLD, H, code="on", due_at=life.now + 400 * DAY + 1)
    assert refused(ErrorCode.ILLEGAL_TRANSITION, late) == "review-too-late"
    life.act(Act.HOLD, H, code="on", due_at=life.now + 400 * DAY)
    assert dict(life[LOCAL].holds) == {"line": life.now + 400 * DAY}


def test_a_hold_keeps_it_and_its_review_is_owed() -> None:
    """Rule R2 of the field: with owner and review date; lifted, it goes three days later, as was said."""
    life = closed_at(1 * DAY)
    life.act(Act.HOLD, H, code="on", due_at=40 * DAY)
    life.until(60 * DAY)
    assert life[LOCAL].state is State.CLOSED
    assert life.told(Act.OVERDUE)[-1] == (40 * DAY, Act.OVERDUE, LOCAL, "hold_review")
    assert not life.told(Act.PURGE_DUE)
    for act in (Act.PURGE_REQUEST, Act.PURGED):
        with pytest.raises(ReferralError) as caught:
            life.act(act, H if act is Act.PURGE_REQUEST else X)
        assert caught.value.facts["reason"] == "held"
    with pytest.raises(ReferralError) as not_ours:
        life.act(Act.HOLD, U, code="off")
    assert not_ours.value.facts["reason"] == "no-hold"
    life.act(Act.HOLD, H, code="off")
    life.look()
    assert life.told(Act.PURGE_DUE) == [(60 * DAY, Act.PURGE_DUE, LOCAL, 3)]
    assert life.until(63 * DAY - 1)[LOCAL].state is State.CLOSED
    assert life.until(63 * DAY)[LOCAL].state is State.PURGED


def test_two_holds_are_each_looked_at_again_when_their_time_has_come() -> None:
    """Rule R2 of the field: once each, also where the exchange looks late."""
    life = closed_at(1 * DAY)
    life.act(Act.HOLD, U, code="on", due_at=4 * DAY)
    life.act(Act.HOLD, H, code="on", due_at=3 * DAY)
    life.now = 5 * DAY
    life.look()
    assert dict(life[LOCAL].told)["hold_review"] == 4 * DAY
    assert [one[3] for one in life.told(Act.OVERDUE)] == ["hold_review", "hold_review"]
    life.act(Act.HOLD, H, code="on", due_at=9 * DAY)
    life.until(10 * DAY)
    assert len(life.told(Act.OVERDUE)) == 3


def test_what_was_asked_of_a_delivery_falls_with_its_purge() -> None:
    """R-106, R-107: nobody can answer any more, and the clocks of the others go on."""
    life = closed_at(1 * DAY)
    life.until(30 * DAY)
    life.act(Act.CONSENT_WITHDRAWN, H)
    life.act(Act.ASK, U)
    life.act(Act.HOLD, H, code="on", due_at=50 * DAY)
    life.act(Act.HOLD, H, code="off")
    assert life.until(45 * DAY)[LOCAL].state is State.PURGED
    assert life[LOCAL].open_questions == frozenset()
    assert wakes_at(DEFAULT, life.situation) is None


def test_what_two_persons_agree_to_is_purged_at_once() -> None:
    """R-77: another person than the one who asked, on either side."""
    life = Life(Urgency.ROUTINE, ((LOCAL, ACTION),)).accepted()
    asked = life.act(Act.PURGE_REQUEST, H, signer="line.p1")
    refused(ErrorCode.ILLEGAL_TRANSITION, lambda: life.act(Act.APPROVE, H, question=asked, signer="line.p1"))
    life.act(Act.APPROVE, H, question=asked, signer="line.p2")
    assert (life[LOCAL].state, life[LOCAL].purged_at) == (State.ACCEPTED, 0)


def test_what_was_held_goes_with_the_last_of_the_others() -> None:
    life = Life(Urgency.URGENT).accepted()
    life.act(Act.CLOSE, U)
    life.until(29 * DAY)
    assert life[PARENT].state is State.HELD
    life.until(30 * DAY)
    assert {one.state for one in life.deliveries.values()} == {State.PURGED}
    assert wakes_at(DEFAULT, life.situation) is None


def test_a_withdrawn_delivery_goes_for_that_reason() -> None:
    life = Life(Urgency.ROUTINE, ((LOCAL, ACTION),))
    life.act(Act.WITHDRAW, H)
    life.until(30 * DAY)
    assert life.told(Act.PURGED) == [(30 * DAY, Act.PURGED, LOCAL, "withdrawn")]


# Rules.


def test_a_referral_keeps_the_rules_that_it_was_submitted_under() -> None:
    """R-105."""
    quick = replace(TERMS[Urgency.EMERGENCY], ack=timedelta(minutes=5))
    book = RuleBook().changed(100, Rules(clocks=dict(TERMS) | {Urgency.EMERGENCY: quick}))
    assert (book.at(99), book.at(100).clocks[Urgency.EMERGENCY].ack) == (DEFAULT, timedelta(minutes=5))
    assert book.current is book.at(10**9)


SPANS = st.integers(1, 48).map(lambda hours: hours * HOUR)


@given(urgency=st.sampled_from(Urgency), waits=st.lists(SPANS, max_size=12), jump=st.booleans(), data=st.data())
def test_whenever_the_exchange_looks_it_tells_the_same_things_in_the_same_order(
    urgency: Urgency, waits: list[int], jump: bool, data: st.DataObject
) -> None:
    """A timer that wakes late, or twice, loses nothing and says nothing twice; and it always comes to rest."""
    life = Life(urgency)
    for wait in waits:
        if jump:
            life.now += wait
            life.look()
        else:
            life.until(life.now + wait)
        for unit in (LOCAL, PARENT):
            legal = lifecycle.allowed(U, life[unit].state)
            act = data.draw(st.sampled_from([None, *(one for one in legal if one in (Act.ACK, Act.STATUS))]))
            if act is not None and life[unit].submitted_at is not None:
                life.act(act, U, unit, code="registered" if act is Act.STATUS else None)
        life.look()
        seen = len(life.posted)
        life.look()
        assert len(life.posted) == seen, "looked at twice, said twice"
        at = wakes_at(DEFAULT, life.situation)
        assert at is None or at > life.now
    kinds = [(act, unit, detail) for _, act, unit, detail in life.posted if act is Act.ESCALATED]
    assert len(kinds) == len(set(kinds)), "no rung twice"
    rungs = [str(rung) for _, rung in TERMS[urgency].ladder if rung is not Rung.EXPIRE]
    assert [detail for _, unit, detail in kinds if unit == LOCAL] == rungs[: life[LOCAL].rungs]
