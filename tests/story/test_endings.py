"""The other endings: declined, undecryptable, withdrawn before and after retrieval, consent withdrawn, reopened."""

from __future__ import annotations

import pytest

from referral_api.client.outbox import Progress
from referral_api.domain.errors import ErrorCode
from referral_api.domain.words import Act, State
from tests.auditlog.refusals import refused
from tests.world import NATIONAL, UNIT, World


def state_of(world: World, ref: str, unit: str = UNIT) -> State:
    """The state of a delivery as the hotline can prove it."""
    return world.operator.referral(ref).chronicle.deliveries[unit].state


def kinds(world: World, name: str, *, pending: bool = False) -> list[str]:
    """What is in somebody's inbox."""
    return [line.kind for line in world.client(name).inbox(pending=pending)]


def test_a_unit_declines_and_the_hotline_sends_it_to_another(world: World) -> None:
    ref = str(world.submit().outgoing.ref)
    world.acknowledge("officer", ref)
    declined = world.act(
        "officer", ref, Act.DECLINE, {"reason": "out_of_jurisdiction", "suggested_unit": "pnp-trata-lima"}
    )
    assert declined.code is None
    assert state_of(world, ref) is State.DECLINED
    assert kinds(world, "operator") == ["submit", "retrieved", "ack", "decline", "telephone_now"]
    refused(ErrorCode.ILLEGAL_TRANSITION, lambda: world.officer.act(ref, Act.ACCEPT, {}))
    world.check()
    again = world.submit(action="pnp-trata-lima", relation={"type": "replaces", "ref": ref})
    assert again.state is Progress.RECEIVED
    assert [line.kind for line in world.stranger.inbox()] == ["submit"]


def test_a_bundle_that_does_not_open_is_reported_and_can_still_be_withdrawn(world: World) -> None:
    ref = str(world.submit().outgoing.ref)
    world.open("officer", ref)
    world.act("officer", ref, Act.RECEIPT_FAILED, {"reason": "cannot_decrypt"})
    assert state_of(world, ref) is State.RECEIPT_FAILED
    assert kinds(world, "officer", pending=True) == []
    world.act("operator", ref, Act.WITHDRAW, {"reason": "entered_in_error"})
    assert state_of(world, ref) is State.WITHDRAWAL_NOTIFIED


def test_withdrawn_before_retrieval_nobody_is_served_the_bundle_any_more(world: World) -> None:
    """R-75: before retrieval nobody has it, and nobody gets it."""
    ref = str(world.submit().outgoing.ref)
    assert kinds(world, "officer", pending=True) == ["submit"]
    world.act("operator", ref, Act.WITHDRAW, {"reason": "sent_to_wrong_unit"})
    assert state_of(world, ref) is State.WITHDRAWN
    assert kinds(world, "officer", pending=True) == []
    refused(ErrorCode.NOT_FOUND, lambda: world.officer.open(ref))


def test_a_held_delivery_that_is_withdrawn_was_never_there_for_its_unit(world: World) -> None:
    """R-63: whoever stood by and was never told is not told by the withdrawal either, nor by anything after it."""
    ref = str(world.submit().outgoing.ref)
    world.act("operator", ref, Act.WITHDRAW, {"reason": "duplicate"})
    world.act("operator", ref, Act.CONSENT_WITHDRAWN)
    assert state_of(world, ref, NATIONAL) is State.WITHDRAWN
    assert kinds(world, "national") == []
    refused(ErrorCode.NOT_FOUND, lambda: world.national.referral(ref))


@pytest.mark.parametrize(
    ("answer", "state"),
    [("stopped_and_destroyed", State.WITHDRAWN), ("continuing_public_prosecution", State.ACCEPTED)],
)
def test_withdrawn_after_retrieval_the_unit_must_answer(world: World, answer: str, state: State) -> None:
    ref = str(world.submit().outgoing.ref)
    world.acknowledge("officer", ref)
    notice = world.act("operator", ref, Act.WITHDRAW, {"reason": "safety_risk"}, unit=UNIT)
    assert state_of(world, ref) is State.WITHDRAWAL_NOTIFIED
    assert kinds(world, "officer", pending=True) == ["withdraw"]
    claimed = world.operator.referral(ref).claimed["deliveries"]
    assert {one["unit"]: (one["due"] or {}).get("clock") for one in claimed}[UNIT] == "withdrawal_answer"
    body = {"code": answer, "answers": notice.outgoing.digest}
    assert world.act("officer", ref, Act.WITHDRAWAL_ANSWER, body).code is None
    assert state_of(world, ref) is state
    assert kinds(world, "officer", pending=True) == []


def test_a_late_acknowledgement_of_a_withdrawn_delivery_is_recorded(world: World) -> None:
    """R-79: the officer had opened it before the withdrawal came."""
    ref = str(world.submit().outgoing.ref)
    opened = world.open("officer", ref)
    world.act("operator", ref, Act.WITHDRAW, {"reason": "duplicate"}, unit=UNIT)
    late = world.after(world.officer.acknowledge(opened))
    assert late.code is None
    delivery = world.operator.referral(ref).chronicle.deliveries[UNIT]
    assert delivery.state is State.WITHDRAWAL_NOTIFIED
    assert delivery.acknowledged_at is not None


def test_consent_withdrawn_is_a_question_to_every_unit_that_has_it(world: World) -> None:
    ref = str(world.submit().outgoing.ref)
    world.acknowledge("officer", ref)
    notice = world.act("operator", ref, Act.CONSENT_WITHDRAWN)
    assert kinds(world, "officer", pending=True) == ["consent_withdrawn"]
    body = {"code": "already_acted", "answers": notice.outgoing.digest}
    world.act("officer", ref, Act.WITHDRAWAL_ANSWER, body)
    assert kinds(world, "officer", pending=True) == []
    assert state_of(world, ref) is State.ACKNOWLEDGED


def test_a_consent_withdrawn_before_anybody_has_fetched_is_asked_of_everybody_who_comes(world: World) -> None:
    """R-80, rule R7 of the field: the unit, and whoever it is released to later, each within a clock of its own."""
    ref = str(world.submit().outgoing.ref)
    notice = world.act("operator", ref, Act.CONSENT_WITHDRAWN)
    assert kinds(world, "officer", pending=True) == ["submit", "consent_withdrawn"]
    assert kinds(world, "national") == []
    world.clock.ahead_s += 31 * 60
    world.check()
    answer = {"code": "continuing_public_prosecution", "answers": notice.outgoing.digest}
    for name in ("officer", "national"):
        world.acknowledge(name, ref)
    assert world.act("officer", ref, Act.WITHDRAWAL_ANSWER, answer).code is None
    assert kinds(world, "officer", pending=True) == []
    begun = world.operator.referral(ref).chronicle.deliveries[NATIONAL].submitted_at or 0
    dues = [one for one in world.operator.referral(ref).standings[NATIONAL].dues if one.clock == "withdrawal_answer"]
    assert [one.due_at - begun for one in dues] == [72 * 3600]
    world.clock.ahead_s += 73 * 3600
    world.check()
    said = [one.act for one in world.operator.referral(ref).acts if one.act.act is Act.OVERDUE]
    assert [one.unit for one in said if one.body.wire()["clock"] == "withdrawal_answer"] == [NATIONAL]
    assert world.act("national", ref, Act.WITHDRAWAL_ANSWER, answer).code is None
    assert world.after(world.auditor.audit()).complete


def test_what_expired_unread_is_served_to_nobody_once_it_is_taken_back(world: World) -> None:
    """Design §10, R-75; and a notice about it falls."""
    ref = str(world.submit().outgoing.ref)
    for _ in range(4):
        world.clock.ahead_s += 40 * 60
        world.check()
    assert state_of(world, ref) is State.EXPIRED
    world.act("operator", ref, Act.CONSENT_WITHDRAWN)
    world.act("operator", ref, Act.WITHDRAW, {"reason": "consent_withdrawn"})
    assert state_of(world, ref) is State.WITHDRAWN
    assert kinds(world, "officer", pending=True) == []
    refused(ErrorCode.NOT_FOUND, lambda: world.officer.open(ref))


def test_a_closed_delivery_is_taken_up_again(world: World) -> None:
    ref = str(world.submit().outgoing.ref)
    world.acknowledge("officer", ref)
    world.act("officer", ref, Act.ACCEPT)
    world.act("officer", ref, Act.CLOSE, {"outcome": "not_located"})
    assert state_of(world, ref) is State.CLOSED
    assert world.act("operator", ref, Act.REOPEN, {"reason": "new_information"}, unit=UNIT).code is None
    assert state_of(world, ref) is State.ACCEPTED
    assert kinds(world, "officer")[-1] == "reopen"


def test_what_the_hotline_asks_to_purge_early_the_unit_must_agree_to(world: World) -> None:
    ref = str(world.submit().outgoing.ref)
    world.acknowledge("officer", ref)
    asked = world.act("operator", ref, Act.PURGE_REQUEST, {"reason": "data_subject_request"}, unit=UNIT)
    assert kinds(world, "officer", pending=True) == ["purge_request"]
    world.act("officer", ref, Act.APPROVE, {"answers": asked.outgoing.digest})
    assert kinds(world, "officer", pending=True) == []
