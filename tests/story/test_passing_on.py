"""A referral goes on to another unit, or back: declined and addressed anew, transferred, consent withdrawn."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from referral_api.client import passing, recalling
from referral_api.client.outbox import Entry, Progress
from referral_api.client.passing import Anew
from referral_api.client.recalling import Outcome
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Act, PartyId, State
from tests.auditlog.refusals import refused
from tests.signing import sign
from tests.wire import Answer
from tests.world import CANARY, HOTLINE, NATIONAL, OTHER_UNIT, REGISTRY, UNIT, World, composition


def declined(world: World, reason: str = "out_of_jurisdiction", **more: Any) -> str:
    """A referral that its unit has read and declined."""
    ref = str(world.submit().outgoing.ref)
    world.acknowledge("officer", ref)
    assert world.act("officer", ref, Act.DECLINE, {"reason": reason, **more}).code is None
    return ref


def readdress(world: World, ref: str, unit: str = OTHER_UNIT, **more: Any) -> Entry:
    """The hotline sends it anew, out of its own copy."""
    operator = world.operator
    what = passing.readdressed(operator.pen, operator.referral(ref), Anew(PartyId(unit), **more))
    return world.after(operator.submit(what))


def test_declined_with_a_suggestion_it_goes_anew_to_the_unit_that_was_suggested(world: World) -> None:
    """R-110: the same body, out of the hotline's own copy, as a referral that replaces the first."""
    ref = declined(world, suggested_unit=OTHER_UNIT)
    seen = world.operator.referral(ref)
    assert passing.suggested_by(seen) == OTHER_UNIT
    renewed = readdress(world, ref)
    assert renewed.state is Progress.RECEIVED
    body: Any = world.operator.referral(str(renewed.outgoing.ref)).submit().act.body
    assert (body.relation.type, body.relation.ref) == ("replaces", ref)
    opened = world.open("stranger", str(renewed.outgoing.ref))
    first = world.open("operator", ref)
    assert CANARY in opened.body.situation.summary
    apart = {"phone_alert"}
    assert {k: v for k, v in opened.body.wire().items() if k not in apart} == {
        k: v for k, v in first.body.wire().items() if k not in apart
    }
    # The first unit was telephoned; of this one nobody says so.
    assert opened.body.wire()["phone_alert"] == {"made": False}
    assert world.operator.referral(ref).later == (renewed.outgoing.ref,)
    assert world.officer.referral(ref).later == ()


def test_a_unit_with_a_conflict_is_kept_out_of_what_follows_and_so_is_whoever_was_before(world: World) -> None:
    """R-64, R-110: exclusions go on into the successor, and the conflicted unit is added to them."""
    sent = world.after(world.operator.submit(composition(excluded=(PartyId(NATIONAL),))))
    ref = str(sent.outgoing.ref)
    world.acknowledge("officer", ref)
    world.act("officer", ref, Act.DECLINE, {"reason": "conflict_of_interest"})
    renewed = str(readdress(world, ref).outgoing.ref)
    anew = world.operator.referral(renewed)
    assert set(passing.excluded_of(anew)) == {NATIONAL, UNIT}
    assert set(anew.chronicle.deliveries) == {OTHER_UNIT}


def test_it_is_not_addressed_anew_to_who_declined_nor_while_a_unit_has_it(world: World) -> None:
    ref = str(world.submit().outgoing.ref)
    operator = world.operator

    def anew(unit: str) -> Any:
        return passing.readdressed(operator.pen, operator.referral(ref), Anew(PartyId(unit)))

    assert refused(ErrorCode.ILLEGAL_TRANSITION, lambda: anew(OTHER_UNIT)) == "still-awaited"
    world.acknowledge("officer", ref)
    world.act("officer", ref, Act.DECLINE, {"reason": "no_capacity"})
    assert refused(ErrorCode.TARGET_NOT_ALLOWED, lambda: anew(UNIT)) == "declined-it"
    world.operator.act(ref, Act.CONSENT_WITHDRAWN, {})
    assert refused(ErrorCode.CONSENT_GATE, lambda: anew(OTHER_UNIT)) == "withdrawn"
    world.check()


def transferred(world: World, ref: str, to: str = OTHER_UNIT) -> str:
    """The unit proposes another one; the digest of that."""
    officer = world.officer
    entry = world.after(passing.transfer(officer.pen, officer.referral(ref), to, "jurisdiction"))
    assert entry.state is Progress.RECEIVED
    return entry.outgoing.digest


def test_a_transfer_is_refused_once_approved_once_and_opens_at_the_new_unit_as_the_hotline_signed_it(
    world: World,
) -> None:
    """R-28, R-73: the hotline's signed document travels verbatim inside what the unit sealed."""
    ref = str(world.submit().outgoing.ref)
    world.acknowledge("officer", ref)
    original = world.open("officer", ref).bundle.referral.jws.raw
    first = transferred(world, ref)
    assert (
        world.act("operator", ref, Act.DECLINE, {"reason": "other", "answers": first}, unit=UNIT, note="No.").code
        is None
    )
    assert world.officer.referral(ref).chronicle.deliveries[UNIT].state is State.ACKNOWLEDGED
    second = transferred(world, ref)
    again = world.officer.referral(ref)
    assert (
        refused(
            ErrorCode.ILLEGAL_TRANSITION,
            lambda: passing.transfer(world.officer.pen, again, OTHER_UNIT, "jurisdiction"),
        )
        == "transfer-already-proposed"
    )
    seen = world.operator.referral(ref)
    assert passing.proposed_to(seen, second) == OTHER_UNIT
    assert world.after(passing.approve(world.operator.pen, seen, UNIT, second)).code is None
    passed_on = world.open("stranger", ref)
    assert passed_on.bundle.referral.jws.raw == original
    assert passed_on.bundle.referral.contents.party == HOTLINE
    assert passed_on.bundle.document.contents.party == UNIT
    assert world.after(world.stranger.acknowledge(passed_on)).code is None
    assert world.act("stranger", ref, Act.ACCEPT).code is None


@pytest.mark.parametrize(
    ("to", "code", "reason"),
    [
        (UNIT, ErrorCode.TARGET_NOT_ALLOWED, "itself"),
        (HOTLINE, ErrorCode.TARGET_NOT_ALLOWED, "not-a-unit"),
        (REGISTRY, ErrorCode.TARGET_NOT_ALLOWED, "not-a-unit"),
        ("pnp-inventada", ErrorCode.TARGET_NOT_ALLOWED, "not-a-unit"),
    ],
)
def test_a_transfer_goes_to_another_police_unit_and_to_nobody_else(
    world: World, to: str, code: ErrorCode, reason: str
) -> None:
    ref = str(world.submit().outgoing.ref)
    world.acknowledge("officer", ref)
    referral = world.officer.referral(ref)
    assert refused(code, lambda: passing.transfer(world.officer.pen, referral, to, "jurisdiction")) == reason
    world.check()


def test_a_unit_without_a_usable_key_is_not_sealed_to_and_others_are_named(world: World) -> None:
    """R-64: nothing is sealed to nobody; who can be reached in its place is said."""
    ref = str(world.submit().outgoing.ref)
    world.acknowledge("officer", ref)
    stranger = world.stranger.session
    for key in stranger.keymap.sealable(OTHER_UNIT, stranger.now()):
        world.stranger.revoke(key.kid, "lost", stranger.now())
    referral = world.officer.referral(ref)
    with pytest.raises(ReferralError) as error:
        passing.transfer(world.officer.pen, referral, OTHER_UNIT, "jurisdiction")
    assert error.value.code is ErrorCode.NO_USABLE_KEY
    assert error.value.facts["instead"] == [NATIONAL]
    world.check()


def test_the_hotline_does_not_approve_a_transfer_to_a_unit_that_it_keeps_out(world: World) -> None:
    sent = world.after(world.operator.submit(composition(excluded=(PartyId(OTHER_UNIT),))))
    ref = str(sent.outgoing.ref)
    world.acknowledge("officer", ref)
    digest = transferred(world, ref)
    seen = world.operator.referral(ref)
    before = len(world.operator.outbox.entries())
    approve = lambda: passing.approve(world.operator.pen, seen, UNIT, digest)  # noqa: E731
    assert refused(ErrorCode.TARGET_NOT_ALLOWED, approve) == "excluded"
    assert len(world.operator.outbox.entries()) == before


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


def lost(_: Answer) -> Answer:
    """An answer that never arrives."""
    raise httpx2.ConnectError("the line is down")


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
        assert recalling.untold(world.operator.referral(one)) == []


def test_a_unit_that_comes_after_the_notice_is_told_by_repeating(world: World) -> None:
    """R7, R-75: a transfer that was approved after the consent was withdrawn brings a unit that knows of nothing."""
    ref = str(world.submit().outgoing.ref)
    world.acknowledge("officer", ref)
    digest = transferred(world, ref)
    world.act("operator", ref, Act.CONSENT_WITHDRAWN)
    world.act("operator", ref, Act.APPROVE, {"answers": digest}, unit=UNIT)
    assert recalling.untold(world.operator.referral(ref)) == [OTHER_UNIT]
    report = world.after(recalling.withdraw_consent(world.operator.pen, ref))
    assert [one.outcome for one in report.done] == [Outcome.TOLD]
    assert recalling.untold(world.operator.referral(ref)) == []


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


def test_a_refused_act_sent_again_is_answered_with_what_the_first_answer_said(world: World) -> None:
    """R-14, R-17: the receipt is the same byte for byte, and so are the facts beside it."""
    ref = str(world.submit().outgoing.ref)
    world.open("officer", ref)
    digest = world.officer.referral(ref).submit().act.digest

    act_id, text = sign(world.officer, Act.ACCEPT, {}, ref, unit=UNIT, prev=digest)
    path = f"/v1/referrals/{ref}/acts/{act_id}"
    first = world.after(world.caller("officer").call("PUT", path, {"act": text}))
    second = world.after(world.caller("officer").call("PUT", path, {"act": text}))
    kept = ("code", "state", "act", "allowed", "receipt")
    assert first.json["allowed"]
    assert {name: first.json[name] for name in kept} == {name: second.json[name] for name in kept}
    world.restart()
    third = world.after(world.caller("officer").call("PUT", path, {"act": text}))
    assert {name: first.json[name] for name in kept} == {name: third.json[name] for name in kept}
