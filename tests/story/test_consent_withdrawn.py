"""A consent that was withdrawn reaches all who have the referral, a copy or a successor, and nothing spreads past it.

Rule R7 of the field; clauses R-73, R-75, R-86, R-110.
"""

from __future__ import annotations

import pytest

from referral_api.client import consented, copying, passing, recalling, talking
from referral_api.client.outbox import Entry, Progress
from referral_api.client.recalling import Outcome
from referral_api.domain.errors import ErrorCode
from referral_api.domain.words import Act, PartyId, ReferralId, State
from referral_api.formats.bodies import sealed_of
from tests.auditlog.refusals import refused
from tests.story.passed_on import declined, lost, readdress, transferred
from tests.story.test_erasure import erase
from tests.story.test_forgetting import pass_days
from tests.wire import Answer
from tests.world import NATIONAL, OTHER_UNIT, REFERRAL, UNIT, World


def test_a_withdrawn_consent_reaches_the_successor_and_is_told_once(world: World) -> None:
    """Rule R7 of the field: every delivery, copy and successor; another operator's outbox knows of none of them."""
    ref = declined(world, suggested_unit=OTHER_UNIT)
    renewed = str(readdress(world, ref).outgoing.ref)
    copy = str(world.submit(relation={"type": "duplicate_of", "ref": renewed}).outgoing.ref)
    other = str(world.submit(relation={"type": "related_to", "ref": renewed}).outgoing.ref)
    world.acknowledge("stranger", renewed)
    report = world.after(recalling.withdraw_consent(world.operator.pen, ref))
    told = {one.ref: one.outcome for one in report.done}
    assert told == {ref: Outcome.TOLD, renewed: Outcome.TOLD, copy: Outcome.TOLD, other: Outcome.APART}
    assert report.remaining == ()
    assert [line.kind for line in world.stranger.inbox(pending=True)] == ["consent_withdrawn"]
    assert [line.ref for line in world.officer.inbox() if line.kind == "consent_withdrawn"] == [ref, copy]
    # From the other end, and again: nobody is told twice.
    again = world.after(recalling.withdraw_consent(world.operator.pen, copy))
    assert {one.ref: one.outcome for one in again.done} == {
        **dict.fromkeys((ref, renewed, copy), Outcome.KNEW),
        other: Outcome.APART,
    }
    (notice,) = world.stranger.referral(renewed).chronicle.deliveries[OTHER_UNIT].questions
    answer = {"code": "stopped_and_destroyed", "answers": notice.digest}
    answered = world.act("stranger", renewed, Act.WITHDRAWAL_ANSWER, answer)
    assert answered.code is None
    assert list(world.stranger.inbox(pending=True)) == []


def test_with_the_exchange_away_nobody_is_forgotten_and_repeating_goes_on(world: World) -> None:
    """Rule R7 of the field: what could not be told is told as that, and the same call goes on with it."""
    ref = declined(world)
    renewed = str(readdress(world, ref).outgoing.ref)
    world.client("operator")
    wire = world.wires["operator"]
    for away, known in ((renewed, {ref: Outcome.TOLD}), ("/v1/", {})):
        wire.lies[away] = lost
        if away == "/v1/":
            assert refused(ErrorCode.UNREACHABLE, recalling.withdraw_consent, world.operator.pen, renewed) == "None"
        else:
            report = recalling.withdraw_consent(world.operator.pen, ref)
            assert {one.ref: one.outcome for one in report.done} == {**known, renewed: Outcome.FAILED}
            assert [(one.ref, one.code) for one in report.remaining] == [(renewed, ErrorCode.UNREACHABLE)]
        wire.lies.clear()
    done = world.after(recalling.withdraw_consent(world.operator.pen, ref))
    assert done.remaining == ()
    assert {one.ref for one in done.done} == {ref, renewed}
    for one in (ref, renewed):
        assert consented.untold(world.operator.referral(one)) == []


def test_a_unit_that_comes_after_the_notice_is_told_by_repeating(world: World) -> None:
    """R7, R-75: a transfer that was approved after the consent was withdrawn brings a unit that knows of nothing."""
    ref = str(world.submit().outgoing.ref)
    world.acknowledge("officer", ref)
    digest = transferred(world, ref)
    world.act("operator", ref, Act.CONSENT_WITHDRAWN)
    world.act("operator", ref, Act.APPROVE, {"answers": digest}, unit=UNIT)
    assert consented.untold(world.operator.referral(ref)) == [OTHER_UNIT]
    report = world.after(recalling.withdraw_consent(world.operator.pen, ref))
    assert [one.outcome for one in report.done] == [Outcome.TOLD]
    assert consented.untold(world.operator.referral(ref)) == []


def test_who_stops_before_reading_has_it_no_more_and_nobody_waits_for_it(world: World) -> None:
    """R-75: neither the unit's inbox nor the ladder asks for what the unit says that it has destroyed."""
    ref = str(world.submit().outgoing.ref)
    world.officer.referral(ref)
    notice = world.act("operator", ref, Act.CONSENT_WITHDRAWN).outgoing.digest
    answer = {"code": "stopped_and_destroyed", "answers": notice}
    assert world.act("officer", ref, Act.WITHDRAWAL_ANSWER, answer, unit=UNIT).code is None
    assert list(world.officer.inbox(pending=True)) == []
    world.clock.ahead_s += 3 * 3600
    world.check()
    assert [line.kind for line in world.operator.inbox(pending=True)] == []


def supplement(world: World, ref: str) -> Entry:
    """The hotline says more about it to the unit that has it first."""
    return talking.supplement(world.operator.pen, world.operator.referral(ref), REFERRAL, UNIT)


def test_taking_a_referral_back_because_consent_was_withdrawn_tells_copies_and_successors_too(world: World) -> None:
    """Rule R7 of the field: who says it by `withdraw` has said it to everybody, and hears what became of it."""
    first = declined(world)
    renewed = str(readdress(world, first).outgoing.ref)
    world.acknowledge("stranger", renewed)
    copy = str(world.after(copying.make_copy(world.operator, renewed, [NATIONAL])).outgoing.ref)
    operator = world.operator
    taken = world.after(recalling.withdraw(operator.pen, operator.referral(renewed), consented.WITHDRAWN, None, None))
    assert [entry.outgoing.act for entry in taken.entries] == [Act.WITHDRAW]
    assert taken.report is not None
    assert {one.ref: one.outcome for one in taken.report.done} == dict.fromkeys((renewed, first, copy), Outcome.TOLD)
    # Who has the referral was told by the `withdraw`, and owes one answer.
    (notice,) = operator.referral(renewed).chronicle.deliveries[OTHER_UNIT].questions
    assert notice.act is Act.WITHDRAW
    for one in (first, renewed, copy):
        assert consented.untold(operator.referral(one)) == []
    again = world.after(recalling.withdraw(operator.pen, operator.referral(renewed), consented.WITHDRAWN, None, None))
    assert again.report is not None
    assert (again.entries, {one.outcome for one in again.report.done}) == ((), {Outcome.KNEW})


def test_a_withdraw_from_one_unit_for_consent_tells_the_others_and_for_another_reason_nobody(world: World) -> None:
    """R-75, R-110: taken back from one, it is the same person's consent for the other."""
    ref = str(world.submit(information=(PartyId(OTHER_UNIT),)).outgoing.ref)
    world.acknowledge("officer", ref)
    operator = world.operator
    for reason, report in (("safety_risk", None), (consented.WITHDRAWN, {ref: Outcome.TOLD})):
        unit = UNIT if report is None else OTHER_UNIT
        taken = world.after(recalling.withdraw(operator.pen, operator.referral(ref), reason, unit, "Palabras."))
        found = taken.report and {one.ref: one.outcome for one in taken.report.done}
        assert (len(taken.entries), found) == (1, report)
    # What was written for one unit is for nobody else.
    told = [one.act for one in operator.referral(ref).acts if one.act.act is Act.CONSENT_WITHDRAWN]
    assert [(one.unit, sealed_of(one.body)) for one in told] == [(UNIT, None), (NATIONAL, None)]
    # Taken back for another reason before, the first unit has to be told of the consent by itself.
    assert [one.act for one in operator.referral(ref).chronicle.deliveries[UNIT].questions] == [
        Act.WITHDRAW, Act.CONSENT_WITHDRAWN,
    ]  # fmt: skip
    assert consented.untold(operator.referral(ref)) == []


def test_a_withdraw_that_was_refused_has_said_nothing_of_consent(sqlite_world: World) -> None:
    """R-17, R-75: a colleague was faster; the party is shown its own refused act, and goes by what was taken."""
    world, operator = sqlite_world, sqlite_world.operator
    ref = str(world.submit().outgoing.ref)
    before = operator.referral(ref)
    world.act("operator", ref, Act.WITHDRAW, {"reason": "safety_risk"})
    taken = world.after(recalling.withdraw(operator.pen, before, consented.WITHDRAWN, UNIT, None))
    assert ([entry.state for entry in taken.entries], taken.report) == ([Progress.REFUSED], None)
    seen = operator.referral(ref)
    assert [one.act.act for one in seen.acts if not one.accepted] == [Act.WITHDRAW]
    assert not consented.is_withdrawn(seen)
    assert set(consented.untold(seen)) == {UNIT, NATIONAL}


def test_with_the_line_down_a_withdraw_for_consent_says_that_nobody_else_was_told(world: World) -> None:
    """Rule R7 of the field: repeating `withdraw_consent` goes on with whoever is left."""
    ref = declined(world)
    renewed = str(readdress(world, ref).outgoing.ref)
    operator = world.operator
    seen = operator.referral(renewed)
    world.wires["operator"].lies["/v1/"] = lost
    taken = recalling.withdraw(operator.pen, seen, consented.WITHDRAWN, None, None)
    world.wires["operator"].lies.clear()
    assert [entry.receipt for entry in taken.entries] == [None]
    assert taken.report is not None
    assert [one.code for one in taken.report.remaining] == [ErrorCode.UNREACHABLE]
    done = world.after(recalling.withdraw_consent(operator.pen, renewed))
    assert {one.ref: one.outcome for one in done.done} == {renewed: Outcome.KNEW, ref: Outcome.TOLD}


@pytest.mark.parametrize(
    ("act", "body"), [(Act.CONSENT_WITHDRAWN, {}), (Act.WITHDRAW, {"reason": consented.WITHDRAWN})]
)
def test_where_consent_stands_withdrawn_nothing_is_copied_added_or_sent_anew(
    world: World, act: Act, body: dict[str, str]
) -> None:
    """Rule R7 of the field; R-86, R-110: whichever act said so, and while its answer is owed too."""
    ref = str(world.submit().outgoing.ref)
    world.acknowledge("officer", ref)
    world.act("operator", ref, act, body)
    declining = act is Act.CONSENT_WITHDRAWN
    if declining:
        world.act("officer", ref, Act.DECLINE, {"reason": "no_capacity"})
    copy = lambda: copying.make_copy(world.operator, ref, [OTHER_UNIT])  # noqa: E731
    for further in (copy, lambda: supplement(world, ref), *([lambda: readdress(world, ref)] if declining else [])):
        assert refused(ErrorCode.CONSENT_GATE, further) == "consent-withdrawn"


def test_a_referral_taken_back_is_not_copied_while_its_unit_owes_the_answer(world: World) -> None:
    ref = str(world.submit().outgoing.ref)
    world.acknowledge("officer", ref)
    world.act("operator", ref, Act.WITHDRAW, {"reason": "safety_risk"})
    assert world.operator.referral(ref).chronicle.deliveries[UNIT].state is State.WITHDRAWAL_NOTIFIED
    copy = lambda: copying.make_copy(world.operator, ref, [OTHER_UNIT])  # noqa: E731
    assert refused(ErrorCode.ILLEGAL_TRANSITION, copy) == "withdrawn"


def test_a_transfer_is_approved_despite_a_withdrawn_consent_only_if_that_is_meant_and_the_new_unit_is_told(
    world: World,
) -> None:
    """Rule R7 of the field; R-73: police may go on by public prosecution, and know what the person said."""
    ref = str(world.submit().outgoing.ref)
    world.acknowledge("officer", ref)
    digest = transferred(world, ref)
    world.act("operator", ref, Act.CONSENT_WITHDRAWN)
    operator = world.operator
    before = len(operator.outbox.entries())
    approve = lambda: passing.approve(operator.pen, operator.referral(ref), UNIT, digest)  # noqa: E731
    assert refused(ErrorCode.CONSENT_GATE, approve) == "transfer-despite-withdrawal"
    assert len(operator.outbox.entries()) == before
    seen = operator.referral(ref)
    approved = world.after(passing.approve(operator.pen, seen, UNIT, digest, despite_withdrawal=True))
    assert (approved.entry.code, approved.owed) == (None, True)
    assert approved.told is not None
    assert approved.told.state is Progress.RECEIVED
    assert consented.untold(operator.referral(ref)) == []
    told = [one.act for one in world.stranger.referral(ref).acts if one.act.act is Act.CONSENT_WITHDRAWN]
    assert [one.unit for one in told][-1] == OTHER_UNIT


@pytest.mark.parametrize("arrives", [True, False])
def test_a_notice_that_could_not_follow_its_transfer_is_owed(world: World, *, arrives: bool) -> None:
    """R7: the new unit is there and was not told; repeating `withdraw_consent` tells it."""
    ref = str(world.submit().outgoing.ref)
    world.acknowledge("officer", ref)
    digest = transferred(world, ref)
    world.act("operator", ref, Act.CONSENT_WITHDRAWN)
    operator = world.operator
    seen = operator.referral(ref)
    # The act arrives, and the referral cannot be looked at again; or neither.
    kept = lambda one: one if arrives and "deliveries" not in one.json else lost(one)  # noqa: E731
    world.wires["operator"].lies[f"/v1/referrals/{ref}"] = kept
    approved = passing.approve(operator.pen, seen, UNIT, digest, despite_withdrawal=True)
    world.wires["operator"].lies.clear()
    assert (approved.owed, approved.told, approved.entry.receipt is not None) == (True, None, arrives)
    world.after(recalling.withdraw_consent(operator.pen, ref))
    assert consented.untold(operator.referral(ref)) == []


def test_a_false_relation_told_by_the_exchange_is_no_relation(world: World) -> None:
    """R-110: what the exchange says relates is a hint; the submit itself must say so."""
    ref = declined(world)
    other = str(world.submit().outgoing.ref)
    world.client("operator")
    world.wires["operator"].lies[f"/v1/referrals/{ref}"] = lambda one: one.with_json({**one.json, "related": [other]})
    report = recalling.withdraw_consent(world.operator.pen, ref)
    found = {one.ref: (one.outcome, one.code) for one in report.done}
    world.wires["operator"].lies.clear()
    assert found == {ref: (Outcome.TOLD, None), other: (Outcome.FAILED, ErrorCode.TAMPERED)}
    world.check()


def with_a_copy(world: World) -> tuple[str, str]:
    """A referral, and a copy of it that was taken back before anybody read it and is purged by now."""
    ref = str(world.submit().outgoing.ref)
    copy = str(world.after(copying.make_copy(world.operator, ref, [OTHER_UNIT])).outgoing.ref)
    world.act("operator", copy, Act.WITHDRAW, {"reason": "safety_risk"})
    pass_days(world, 31)
    return ref, copy


@pytest.mark.parametrize("was_seen", [True, False])
def test_an_erased_copy_has_nothing_left_to_take_back_once_its_purge_was_verified_here(
    sqlite_world: World, was_seen: bool
) -> None:
    """R-86, R-99: an exchange that hides a copy says the same, so without that the copy is said to stand still."""
    world = sqlite_world
    ref, copy = with_a_copy(world)
    if was_seen:
        assert world.operator.worklist().complete
    erase(world, copy)
    operator = world.operator
    taken = world.after(recalling.withdraw(operator.pen, operator.referral(ref), "safety_risk", None, None))
    assert taken.copies is not None
    found = (Outcome.KNEW, None) if was_seen else (Outcome.FAILED, ErrorCode.NOT_FOUND)
    assert [(one.ref, one.outcome, one.code) for one in taken.copies.done] == [(copy, *found)]
    assert (taken.left == ()) == was_seen


def test_a_copy_that_the_exchange_hides_is_taken_for_erased_by_nobody(sqlite_world: World) -> None:
    """R-86, R-110: a 404 of what was never purged is no end, though it was looked at before."""
    world = sqlite_world
    ref = str(world.submit().outgoing.ref)
    copy = str(world.after(copying.make_copy(world.operator, ref, [OTHER_UNIT])).outgoing.ref)
    assert world.operator.worklist().complete
    world.wires["operator"].lies[f"/referrals/{copy}"] = absent
    taken = recalling.withdraw(world.operator.pen, world.operator.referral(ref), "safety_risk", None, None)
    assert [(one.ref, one.outcome, one.code) for one in taken.left] == [(copy, Outcome.FAILED, ErrorCode.NOT_FOUND)]
    report = recalling.withdraw_consent(world.operator.pen, ref)
    assert [(one.ref, one.outcome, one.code) for one in report.remaining] == [
        (copy, Outcome.FAILED, ErrorCode.NOT_FOUND)
    ]
    world.wires["operator"].lies.clear()
    report = world.after(recalling.withdraw_consent(world.operator.pen, ref))
    assert {one.ref: one.outcome for one in report.done}[ReferralId(copy)] is Outcome.TOLD


def test_a_withdrawn_consent_ends_at_what_was_purged_and_erased(sqlite_world: World) -> None:
    world = sqlite_world
    ref, copy = with_a_copy(world)
    assert world.operator.worklist().complete
    erase(world, copy)
    report = world.after(recalling.withdraw_consent(world.operator.pen, ref))
    assert {one.ref: one.outcome for one in report.done} == {ref: Outcome.TOLD, copy: Outcome.GONE}
    assert report.remaining == ()


def absent(answer: Answer) -> Answer:
    """An exchange that finds nothing there."""
    problem = b'{"code":"not-found","hint":"","retry":"never","status":404,"title":"","type":"about:blank"}'
    headers = {**answer.headers, "content-type": "application/problem+json"}
    return answer if answer.status == 401 else Answer(404, headers, problem)
