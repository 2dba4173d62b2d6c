"""The fold of acts and retrievals into deliveries, told as short stories (R-64 to R-69)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from referral_api.domain import deliveries, lifecycle
from referral_api.domain.deliveries import Delivery, Question
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.fold import Event, judge, open_deliveries, possible, retrieve
from referral_api.domain.policy import SEES, Viewer
from referral_api.domain.words import Act, DeliveryRole, Role, State
from referral_api.formats.codelists import codes

H, U, X = Role.HOTLINE, Role.POLICE_UNIT, Role.EXCHANGE
ACTION, INFORMATION, ESCALATION = DeliveryRole.ACTION, DeliveryRole.INFORMATION, DeliveryRole.ESCALATION
LOCAL, OBSERVER, NATIONAL = "unit-local", "unit-observer", "unit-national"


class Story:
    """One referral: acts happen one after another, each a minute later, and the newest digest is `d<n>`."""

    def __init__(self, *targets: tuple[str, DeliveryRole]) -> None:
        self.now = 0
        event = Event(Act.SUBMIT, H, "line", "d0", 0, targets=targets or ((LOCAL, ACTION),))
        self.deliveries: dict[str, Delivery] = open_deliveries(event)
        self.changed: Mapping[str, Delivery] = self.deliveries

    def __getitem__(self, unit: str) -> Delivery:
        return self.deliveries[unit]

    def act(
        self,
        act: Act,
        by: Role,
        unit: str | None = LOCAL,
        *,
        prev: str | None = "head",
        known: bool = True,
        code: str | None = None,
        question: str | None = None,
        to: tuple[str, ...] = (),
    ) -> str:
        """Let the act happen; `prev` "head" is what its signer would carry. Returns its digest."""
        self.now += 60
        digest = f"d{self.now // 60}"
        carried = self.deliveries[unit].head if prev == "head" and unit is not None else prev
        event = Event(
            *(act, by, "line" if by is H else str(unit), digest, self.now),
            unit=unit,
            prev=None if by is X else carried,
            code=code,
            question=question,
            targets=tuple((one, ACTION) for one in to),
        )
        self.changed = judge(event, self.deliveries, prev_known=known)
        self.deliveries |= self.changed
        return digest

    def fetch(self, unit: str = LOCAL) -> None:
        """The unit gets the bundle."""
        self.now += 60
        self.deliveries[unit] = retrieve(self.deliveries[unit], self.now)

    def accepted(self) -> Story:
        """Until the unit has taken the referral."""
        self.fetch()
        self.act(Act.ACK, U)
        self.act(Act.ACCEPT, U)
        return self

    def refused(self, act: Act, by: Role, unit: str | None = LOCAL, **rest: object) -> ReferralError:
        """The refusal of an act, after which nothing is different."""
        before = dict(self.deliveries)
        with pytest.raises(ReferralError) as caught:
            self.act(act, by, unit, **rest)  # type: ignore[arg-type]
        assert self.deliveries == before
        error = caught.value
        if error.code is ErrorCode.ILLEGAL_TRANSITION and "names-no-unit" not in str(error.facts.get("reason")):
            own = self.deliveries[unit or LOCAL]
            assert act.value not in error.facts["allowed"] or "reason" in error.facts
            assert error.facts["allowed"] == [
                one.value for one in possible(by, own, self._asked(by, own), self.deliveries)
            ]
        return error

    @staticmethod
    def _asked(by: Role, own: Delivery) -> frozenset[Act]:
        party = "line" if by is H else own.unit
        return own.questions_for(party, party)


def why(error: ReferralError) -> dict[str, object]:
    """The reason, without what can be done instead."""
    return {name: fact for name, fact in error.facts.items() if name not in ("state", "allowed")}


def test_a_submit_opens_one_delivery_a_unit_and_holds_those_of_escalation() -> None:
    story = Story((LOCAL, ACTION), (OBSERVER, INFORMATION), (NATIONAL, ESCALATION))
    assert {unit: d.state for unit, d in story.deliveries.items()} == {
        LOCAL: State.SUBMITTED,
        OBSERVER: State.SUBMITTED,
        NATIONAL: State.HELD,
    }
    assert all(d.head == "d0" and not d.questions for d in story.deliveries.values())
    assert {d.submitted_at for d in story.deliveries.values() if d.state is State.HELD} == {None}
    assert {d.submitted_at for d in story.deliveries.values() if d.state is State.SUBMITTED} == {0}


@pytest.mark.parametrize(
    ("targets", "reason"),
    [
        ((), "exactly-one-action-unit"),
        (((OBSERVER, INFORMATION),), "exactly-one-action-unit"),
        (((LOCAL, ACTION), (NATIONAL, ACTION)), "exactly-one-action-unit"),
        (((LOCAL, ACTION), (LOCAL, INFORMATION)), "unit-named-twice"),
        (((LOCAL, ACTION), (LOCAL, ACTION)), "unit-named-twice"),
    ],
)
def test_a_submit_names_exactly_one_unit_to_act_and_none_twice(
    targets: tuple[tuple[str, DeliveryRole], ...], reason: str
) -> None:
    """R-64."""
    with pytest.raises(ReferralError) as caught:
        open_deliveries(Event(Act.SUBMIT, H, "line", "d0", 0, targets=targets))
    assert (caught.value.code, caught.value.facts) == (ErrorCode.TARGET_NOT_ALLOWED, {"reason": reason})


@pytest.mark.parametrize(
    ("targets", "reason"),
    [
        (((OBSERVER, INFORMATION),), None),
        (((OBSERVER, INFORMATION), (NATIONAL, INFORMATION)), None),
        ((), "copy-only-informs"),
        (((LOCAL, ACTION),), "copy-only-informs"),
        (((LOCAL, ACTION), (OBSERVER, INFORMATION)), "copy-only-informs"),
        (((OBSERVER, INFORMATION), (NATIONAL, ESCALATION)), "copy-only-informs"),
        (((OBSERVER, INFORMATION), (OBSERVER, INFORMATION)), "unit-named-twice"),
    ],
)
def test_a_copy_informs_and_asks_nobody_to_act(
    targets: tuple[tuple[str, DeliveryRole], ...], reason: str | None
) -> None:
    """R-86; rule R9 of the field. No other relation opens this door."""
    event = Event(Act.SUBMIT, H, "line", "d0", 0, code="copy_of", targets=targets)
    if reason is None:
        opened = open_deliveries(event)
        assert {(one.role, one.state) for one in opened.values()} == {(INFORMATION, State.SUBMITTED)}
        for other in set(codes("relation_type")) - {"copy_of"}:
            with pytest.raises(ReferralError, match="target-not-allowed"):
                open_deliveries(replace(event, code=other))
        return
    with pytest.raises(ReferralError) as caught:
        open_deliveries(event)
    assert (caught.value.code, caught.value.facts) == (ErrorCode.TARGET_NOT_ALLOWED, {"reason": reason})


def test_the_usual_story_leaves_every_time_and_status_on_the_delivery() -> None:
    """R-68: what the delivery says is what happened, in log order."""
    story = Story()
    story.fetch()
    story.fetch()
    story.act(Act.ACK, U)
    story.act(Act.ACCEPT, U)
    story.act(Act.STATUS, U, code="registered")
    story.act(Act.STATUS, U, code="victim_located")
    found = story[LOCAL]
    assert (found.state, found.head) == (State.ACCEPTED, "d6")
    assert (found.retrieved_at, found.acknowledged_at, found.accepted_at) == (60, 180, 240)
    assert (found.last_status_at, found.investigation) == (360, ("registered", "victim_located"))


def test_only_the_first_hand_out_takes_a_delivery_to_retrieved() -> None:
    """R-66."""
    story = Story()
    story.act(Act.ACK, U)
    story.fetch()
    assert (story[LOCAL].state, story[LOCAL].retrieved_at) == (State.ACKNOWLEDGED, 120)


@pytest.mark.parametrize("act", [Act.ACCEPT, Act.DECLINE, Act.TRANSFER])
def test_a_decision_that_has_not_seen_the_head_is_refused_with_the_head(act: Act) -> None:
    """R-65: the officer decides on the referral as it is, or looks again."""
    story = Story()
    story.fetch()
    seen = story.act(Act.ACK, U)
    note = story.act(Act.NOTE, H)
    error = story.refused(act, U, prev=seen, to=(NATIONAL,))
    assert (error.code, error.facts["head"]) == (ErrorCode.STALE_HEAD, note)
    assert {Act.ACCEPT, Act.DECLINE, Act.TRANSFER, Act.ASK} <= set(error.facts["allowed"]), "R-54: what is possible"
    assert Act.ACK not in error.facts["allowed"]
    story.act(act, U, prev=note, to=(NATIONAL,))


def test_a_fact_may_carry_any_earlier_act_but_not_none() -> None:
    """R-65: an acknowledgement made while something else arrived still counts."""
    story = Story()
    story.act(Act.NOTE, H)
    error = story.refused(Act.ACK, U, prev="d0", known=False)
    assert (error.code, error.facts["head"]) == (ErrorCode.STALE_HEAD, "d1")
    assert Act.ACK in error.facts["allowed"]
    story.act(Act.ACK, U, prev="d0")
    assert story[LOCAL].state is State.ACKNOWLEDGED


def test_a_decision_names_one_delivery() -> None:
    """R-65: nobody closes a referral in general."""
    story = Story().accepted()
    error = story.refused(Act.CLOSE, H, None)
    assert error.code is ErrorCode.ILLEGAL_TRANSITION
    assert error.facts == {"act": "close", "reason": "decision-names-no-unit"}


def test_the_exchange_s_own_acts_carry_no_prev_and_never_move_a_head() -> None:
    """R-65: a timer that fires meanwhile makes no decision stale."""
    story = Story()
    head = story[LOCAL].head
    for act in (Act.OVERDUE, Act.ESCALATED, Act.TELEPHONE_NOW, Act.TAKEN):
        story.act(act, X, known=False)
        assert story[LOCAL].head == head
    story.act(Act.EXPIRED, X, known=False)
    assert (story[LOCAL].state, story[LOCAL].head) == (State.EXPIRED, head)


def test_every_act_of_a_party_that_both_sides_see_moves_the_head_and_no_other() -> None:
    story = Story().accepted()
    head = story[LOCAL].head
    story.act(Act.REWRAP, U)
    assert story[LOCAL].head == head, "a re-wrap is the unit's own affair"
    assert story.act(Act.STATUS, U) == story[LOCAL].head
    assert {act for act in lifecycle.ACTS_ON_DELIVERIES if not {Viewer.SENDER, Viewer.UNIT} <= SEES[act]} == {
        Act.REWRAP,
        Act.ESCALATED,
        Act.TELEPHONE_NOW,
    }


def test_an_act_on_the_whole_referral_steps_every_delivery_on_which_it_is_legal() -> None:
    """R-67: a withdrawal takes back the unread, notifies about the read, skips what was taken back before."""
    story = Story((LOCAL, ACTION), (OBSERVER, INFORMATION), (NATIONAL, ESCALATION))
    story.fetch()
    story.act(Act.WITHDRAW, H, OBSERVER)
    taken_back = story[OBSERVER]
    story.act(Act.WITHDRAW, H, None)
    assert set(story.changed) == {LOCAL, NATIONAL}
    assert story[LOCAL].state is State.WITHDRAWAL_NOTIFIED
    assert story[NATIONAL].state is State.WITHDRAWN
    assert story[OBSERVER] == taken_back


def test_an_act_on_the_whole_referral_is_refused_only_where_it_is_legal_nowhere() -> None:
    """R-67."""
    story = Story((LOCAL, ACTION), (OBSERVER, INFORMATION))
    story.act(Act.WITHDRAW, H, None)
    error = story.refused(Act.WITHDRAW, H, None)
    assert error.code is ErrorCode.ILLEGAL_TRANSITION
    assert error.facts["state"] == "withdrawn"


def test_a_late_acknowledgement_is_on_the_record_of_a_withdrawn_delivery() -> None:
    """R-79."""
    story = Story()
    story.act(Act.WITHDRAW, H)
    digest = story.act(Act.ACK, U, prev="d0")
    found = story[LOCAL]
    assert (found.state, found.acknowledged_at, found.head) == (State.WITHDRAWN, 120, digest)
    story.act(Act.ACK, U)
    assert story[LOCAL].acknowledged_at == 120, "the first one counts"


@pytest.mark.parametrize("act", [Act.ACCEPT, Act.DECLINE, Act.TRANSFER, Act.STATUS, Act.CLOSE, Act.REOPEN])
def test_a_unit_that_is_only_informed_acknowledges_and_decides_nothing(act: Act) -> None:
    story = Story((LOCAL, ACTION), (OBSERVER, INFORMATION))
    story.act(Act.ACK, U, OBSERVER)
    error = story.refused(act, U, OBSERVER, to=(NATIONAL,))
    assert why(error) == {"act": act.value, "reason": "for-information-only"}


def test_a_transfer_waits_for_the_hotline_and_then_opens_a_delivery_for_the_new_unit() -> None:
    """R-73."""
    story = Story().accepted()
    proposal = story.act(Act.TRANSFER, U, to=(NATIONAL,))
    assert (story[LOCAL].state, story[LOCAL].transfer_to) == (State.ACCEPTED, NATIONAL)
    assert NATIONAL not in story.deliveries
    approval = story.act(Act.APPROVE, H, question=proposal)
    assert (story[LOCAL].state, story[LOCAL].questions) == (State.TRANSFERRED, ())
    assert story[NATIONAL] == Delivery(NATIONAL, ACTION, State.SUBMITTED, approval, story.now, began_at=0)


@pytest.mark.parametrize("act", [Act.NOTE, Act.HOLD, Act.WITHDRAW])
def test_what_is_said_to_the_unit_that_passed_it_on_brings_nobody_in_again(act: Act) -> None:
    """R-67, R-77: it is still its sender's to talk to, to hold, to warn of the purge and to purge."""
    story = Story().accepted()
    story.act(Act.APPROVE, H, question=story.act(Act.TRANSFER, U, to=(NATIONAL,)))
    reached = story[NATIONAL]
    story.act(act, H)
    story.act(Act.PURGED, Role.EXCHANGE)
    assert (story[LOCAL].state, story[NATIONAL]) == (State.PURGED, reached)


def test_what_was_passed_on_can_still_be_talked_about_and_taken_back() -> None:
    """R-73, R-75: it is the approval alone that brings the new unit in."""
    story = Story().accepted()
    story.act(Act.APPROVE, H, question=story.act(Act.TRANSFER, U, to=(NATIONAL,)))
    brought = story[NATIONAL]
    story.act(Act.NOTE, U)
    notice = story.act(Act.CONSENT_WITHDRAWN, H)
    story.act(Act.WITHDRAWAL_ANSWER, U, code="already_acted", question=notice)
    assert (story[LOCAL].state, story[LOCAL].questions) == (State.TRANSFERRED, ())
    assert story[NATIONAL] == brought


@pytest.mark.parametrize("ends", [Act.DECLINE, Act.CLOSE, Act.WITHDRAW])
def test_a_proposal_falls_when_its_delivery_is_in_work_no_more(ends: Act) -> None:
    """R-73: nobody could agree to it, and once the delivery is taken up again there could be no other."""
    story = Story().accepted()
    story.act(Act.TRANSFER, U, to=(NATIONAL,))
    story.act(ends, H if ends is Act.WITHDRAW else U)
    assert Act.TRANSFER not in story[LOCAL].open_questions
    if ends is Act.DECLINE:
        return
    if ends is Act.WITHDRAW:
        story.act(Act.WITHDRAWAL_ANSWER, U, code="already_acted")
    else:
        story.act(Act.REOPEN, H)
    story.act(Act.TRANSFER, U, to=(OBSERVER,))
    assert story[LOCAL].transfer_to == OBSERVER


def test_a_unit_that_declines_answers_nothing() -> None:
    """R-72: else it could name the hotline's question and have it taken for answered."""
    story = Story().accepted()
    asked = story.act(Act.ASK, H)
    error = story.refused(Act.DECLINE, U, question=asked)
    assert error.facts["reason"] == "no-such-question"


def test_a_declined_transfer_leaves_the_referral_where_it_was() -> None:
    story = Story().accepted()
    proposal = story.act(Act.TRANSFER, U, to=(NATIONAL,))
    story.act(Act.DECLINE, H, question=proposal)
    assert (story[LOCAL].state, story[LOCAL].questions) == (State.ACCEPTED, ())
    error = story.refused(Act.APPROVE, H, question=proposal)
    assert error.code is ErrorCode.ILLEGAL_TRANSITION
    story.act(Act.TRANSFER, U, to=(OBSERVER,))
    assert story[LOCAL].transfer_to == OBSERVER


@pytest.mark.parametrize("to", [(), (OBSERVER,), (NATIONAL, "unit-other")])
def test_a_transfer_names_one_unit_that_does_not_have_the_referral(to: tuple[str, ...]) -> None:
    story = Story((LOCAL, ACTION), (OBSERVER, INFORMATION)).accepted()
    error = story.refused(Act.TRANSFER, U, to=to)
    assert error.code is ErrorCode.TARGET_NOT_ALLOWED


def test_only_one_transfer_can_be_proposed_at_a_time() -> None:
    """Else approving the first proposal could hand the referral to the unit of the second."""
    story = Story().accepted()
    story.act(Act.TRANSFER, U, to=(NATIONAL,))
    error = story.refused(Act.TRANSFER, U, to=(OBSERVER,))
    assert why(error) == {"act": "transfer", "reason": "transfer-already-proposed"}
    assert story[LOCAL].transfer_to == NATIONAL


def test_two_units_cannot_both_pass_the_referral_to_the_same_third() -> None:
    """The second approval would overwrite a delivery that is being worked on."""
    story = Story((LOCAL, ACTION), (OBSERVER, ESCALATION)).accepted()
    story.act(Act.RELEASED, X, OBSERVER)
    story.act(Act.ACK, U, OBSERVER)
    first = story.act(Act.TRANSFER, U, to=(NATIONAL,))
    second = story.act(Act.TRANSFER, U, OBSERVER, to=(NATIONAL,))
    story.act(Act.APPROVE, H, question=first)
    story.act(Act.ACK, U, NATIONAL)
    error = story.refused(Act.APPROVE, H, OBSERVER, question=second)
    assert error.facts == {"reason": "transfer-names-one-new-unit"}
    story.act(Act.DECLINE, H, OBSERVER, question=second)
    assert story[NATIONAL].state is State.ACKNOWLEDGED


@pytest.mark.parametrize("meant", [Act.TRANSFER, Act.PURGE_REQUEST])
def test_an_approval_agrees_to_what_it_names_when_two_things_wait_for_one(meant: Act) -> None:
    story = Story().accepted()
    asked = {Act.TRANSFER: story.act(Act.TRANSFER, U, to=(NATIONAL,))}
    asked[Act.PURGE_REQUEST] = story.act(Act.PURGE_REQUEST, U)
    story.act(Act.APPROVE, H, question=asked[meant])
    assert (story[LOCAL].state is State.TRANSFERRED) == (meant is Act.TRANSFER)
    assert story[LOCAL].open_questions == set(asked) - {meant}


def test_an_answer_names_the_question_it_answers_and_leaves_the_others_open() -> None:
    """R-76."""
    story = Story().accepted()
    first, second, third = story.act(Act.ASK, H), story.act(Act.ASK, U), story.act(Act.ASK, H)
    story.act(Act.ANSWER, U, question=first)
    assert [(q.act, q.digest) for q in story[LOCAL].questions] == [(Act.ASK, second), (Act.ASK, third)]
    error = story.refused(Act.ANSWER, U, question=first)
    assert why(error) == {"act": "answer", "reason": "no-such-question"}


def test_nobody_answers_a_question_of_their_own() -> None:
    """R-76: else a side could take its own question off the other's desk."""
    story = Story().accepted()
    asked = story.act(Act.ASK, H)
    assert story.refused(Act.ANSWER, H).code is ErrorCode.ILLEGAL_TRANSITION
    assert story.refused(Act.ANSWER, H, question=asked).code is ErrorCode.ILLEGAL_TRANSITION
    assert [q.digest for q in story[LOCAL].questions] == [asked]


def test_an_early_purge_takes_another_person_of_whichever_side() -> None:
    """R-77: two persons, not two parties."""
    asked = Question(Act.PURGE_REQUEST, "d1", "line.op1")
    assert not asked.waits_for("line", "line.op1")
    assert asked.waits_for("line", "line.op2")
    assert asked.waits_for("unit", "unit.of1")
    assert not Question(Act.ASK, "d1", "line.op1").waits_for("line", "line.op2")


def test_an_answer_that_names_no_question_answers_every_open_one() -> None:
    story = Story().accepted()
    story.act(Act.ASK, H)
    story.act(Act.ASK, H)
    story.act(Act.ANSWER, U)
    assert story[LOCAL].questions == ()
    assert story.refused(Act.ANSWER, U).code is ErrorCode.ILLEGAL_TRANSITION


def test_a_telephone_call_may_be_reported_unasked_and_settles_the_demand_for_one() -> None:
    story = Story()
    story.act(Act.PHONE_ALERT, H)
    demand = story.act(Act.TELEPHONE_NOW, X)
    assert story[LOCAL].open_questions == {Act.TELEPHONE_NOW}
    story.act(Act.PHONE_ALERT, H, question=demand)
    assert story[LOCAL].questions == ()
    assert story.refused(Act.PHONE_ALERT, H, question=demand).facts["reason"] == "no-such-question"


@pytest.mark.parametrize(
    ("code", "state"),
    [
        ("stopped_and_destroyed", State.WITHDRAWN),
        ("stopped_retained_legal_duty", State.WITHDRAWN),
        ("continuing_public_prosecution", State.ACCEPTED),
        ("already_acted", State.ACCEPTED),
    ],
)
def test_a_withdrawal_notice_is_answered_by_one_of_four_codes(code: str, state: State) -> None:
    """R-75: what has been read cannot be called back, only answered for."""
    story = Story()
    story.fetch()
    notice = story.act(Act.WITHDRAW, H)
    assert (story[LOCAL].state, story[LOCAL].notified_at) == (State.WITHDRAWAL_NOTIFIED, story.now)
    story.act(Act.WITHDRAWAL_ANSWER, U, code=code, question=notice)
    assert (story[LOCAL].state, story[LOCAL].questions) == (state, ())
    assert (story[LOCAL].accepted_at == story.now) == (state is State.ACCEPTED)


def test_what_nobody_has_read_is_taken_back_without_a_question() -> None:
    """R-75."""
    story = Story()
    story.act(Act.CONSENT_WITHDRAWN, H)
    story.act(Act.WITHDRAW, H)
    found = story[LOCAL]
    assert (found.state, found.questions) == (State.WITHDRAWN, ()), "what nobody will ever have owes no answer"


def test_a_consent_withdrawn_before_anybody_has_read_is_owed_an_answer_too() -> None:
    """R-80, rule R7 of the field: whoever fetches it afterwards must say what becomes of it."""
    story = Story((LOCAL, ACTION), (NATIONAL, ESCALATION))
    story.act(Act.CONSENT_WITHDRAWN, H, None, prev="d0")
    told = story.now
    assert [story[unit].open_questions for unit in (LOCAL, NATIONAL)] == [frozenset({Act.CONSENT_WITHDRAWN})] * 2
    assert (story[LOCAL].notified_at, story[NATIONAL].notified_at) == (told, None)
    story.act(Act.RELEASED, X, NATIONAL)
    assert story[NATIONAL].notified_at == story.now, "its unit could not know before"
    story.fetch(NATIONAL)
    story.act(Act.WITHDRAWAL_ANSWER, U, NATIONAL, code="continuing_public_prosecution")
    assert story[NATIONAL].questions == ()


@pytest.mark.parametrize("late", [False, True])
def test_a_notice_that_comes_when_the_earlier_one_was_told_late_has_a_clock_of_its_own(late: bool) -> None:
    """R-80."""
    story = Story().accepted()
    story.act(Act.CONSENT_WITHDRAWN, H)
    first = story.now
    if late:
        due = first + 72 * 3600
        story.deliveries[LOCAL] = replace(story[LOCAL], told=(("withdrawal_answer", due),))
    story.act(Act.WITHDRAW, H)
    assert story[LOCAL].notified_at == (story.now if late else first)


def test_what_expired_before_anybody_fetched_it_is_taken_back_like_what_is_unread() -> None:
    """R-75, design §10: it is served no more, and nobody owes an answer."""
    story = Story()
    story.act(Act.EXPIRED, X)
    story.act(Act.WITHDRAW, H)
    assert (story[LOCAL].state, story[LOCAL].questions) == (State.WITHDRAWN, ())
    story = Story()
    story.fetch()
    story.act(Act.EXPIRED, X)
    story.act(Act.WITHDRAW, H)
    assert (story[LOCAL].state, story[LOCAL].open_questions) == (
        State.WITHDRAWAL_NOTIFIED,
        frozenset({Act.WITHDRAW}),
    )


def test_a_withdrawn_consent_asks_without_stopping_the_work() -> None:
    story = Story().accepted()
    notice = story.act(Act.CONSENT_WITHDRAWN, H)
    assert (story[LOCAL].state, story[LOCAL].open_questions) == (
        State.ACCEPTED,
        frozenset({Act.CONSENT_WITHDRAWN}),
    )
    story.act(Act.WITHDRAWAL_ANSWER, U, code="already_acted", question=notice)
    assert (story[LOCAL].state, story[LOCAL].questions) == (State.ACCEPTED, ())


def test_the_clock_of_a_notice_runs_from_the_oldest_one_that_is_open() -> None:
    """A notice answered long ago must not make the next one late at once."""
    story = Story().accepted()
    first = story.act(Act.CONSENT_WITHDRAWN, H)
    began = story.now
    story.act(Act.WITHDRAW, H)
    assert story[LOCAL].notified_at == began, "the older one still waits"
    story.act(Act.WITHDRAWAL_ANSWER, U, code="already_acted")
    assert story[LOCAL].questions == ()
    story.act(Act.WITHDRAW, H)
    assert story[LOCAL].notified_at == story.now
    assert story.refused(Act.WITHDRAWAL_ANSWER, U, code="already_acted", question=first).facts["reason"]


def test_a_released_delivery_starts_its_clocks_when_it_is_released() -> None:
    story = Story((LOCAL, ACTION), (NATIONAL, ESCALATION))
    story.act(Act.RELEASED, X, NATIONAL)
    found = story[NATIONAL]
    assert (found.state, found.submitted_at, found.questions) == (State.SUBMITTED, story.now, ())
    assert story[LOCAL].submitted_at == 0


def test_what_is_held_its_sender_releases_with_a_reason_of_its_own_and_the_exchange_with_others() -> None:
    """R-78: what a person decided is signed by a person, and starts the clocks as any release does."""
    story = Story((LOCAL, ACTION), (NATIONAL, ESCALATION), (OBSERVER, ESCALATION))
    for by, code in ((H, "ack_timeout"), (X, "hotline_manual")):
        assert story.refused(Act.RELEASED, by, NATIONAL, code=code).facts["reason"] == "not-its-reason"
    story.refused(Act.RELEASED, H, LOCAL, code="hotline_manual")
    said = story.act(Act.RELEASED, H, NATIONAL, code="hotline_manual")
    found = story[NATIONAL]
    assert (found.state, found.submitted_at, found.questions) == (State.SUBMITTED, story.now, ())
    assert found.head == said, "both sides see it, and build on it"
    story.refused(Act.RELEASED, H, NATIONAL, code="hotline_manual")
    story.accepted()
    assert story.refused(Act.RELEASED, H, OBSERVER, code="hotline_manual").facts["reason"] == "taken"
    story.act(Act.DECLINE, U)
    story.act(Act.RELEASED, H, OBSERVER, code="hotline_manual")
    assert story[OBSERVER].state is State.SUBMITTED


def test_what_was_withdrawn_before_its_release_never_was_there_for_its_unit() -> None:
    """R-63: a unit that was to be asked only if nobody else answered does not learn that it was on the list."""
    story = Story((LOCAL, ACTION), (NATIONAL, ESCALATION), (OBSERVER, ESCALATION))
    story.act(Act.RELEASED, X, OBSERVER)
    story.act(Act.WITHDRAW, H, None)
    assert story[NATIONAL].state is story[OBSERVER].state is State.WITHDRAWN
    assert (story[NATIONAL].shown_state, story[OBSERVER].shown_state) == (State.HELD, State.WITHDRAWN)


def test_a_reopened_delivery_counts_as_accepted_from_then() -> None:
    """R-74."""
    story = Story().accepted()
    story.act(Act.CLOSE, U)
    story.act(Act.REOPEN, H)
    assert (story[LOCAL].state, story[LOCAL].accepted_at) == (State.ACCEPTED, story.now)
    reopened = story.now
    story.act(Act.NOTE, H)
    assert story[LOCAL].accepted_at == reopened, "what happens afterwards is no new acceptance"


def test_questions_of_the_fold_are_the_notices_of_the_lifecycle() -> None:
    answered = {move.act for move in lifecycle.MOVES if Act.WITHDRAWAL_ANSWER in move.answered_by}
    assert answered == deliveries.NOTICES
