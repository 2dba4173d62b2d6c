"""Talking, passing on, deciding at the same time, and carrying an act for a colleague whose machine is offline."""

from __future__ import annotations

import threading
from typing import Any

from referral_api.client import sdk, submission
from referral_api.client.addressing import recipients_for
from referral_api.client.compartment import InsecureKdfForTests
from referral_api.client.delivery import ack_body, sign_act
from referral_api.client.enrolment import Joining
from referral_api.domain.errors import ErrorCode
from referral_api.domain.words import Act, ActId, CredentialKind, PartyId, ReferralId, State
from referral_api.formats.act import parse_act
from referral_api.formats.contents import ForwardBody, ForwardReason, NoteBody
from referral_api.formats.enrolment import parse_invitation
from referral_api.formats.receipt import parse_receipt
from referral_api.formats.strict_json import sha256_b64u
from tests.auditlog.refusals import refused
from tests.signing import sign
from tests.wire import Answer, Wire
from tests.world import CANARY, ENTRIES, HOTLINE, OTHER_UNIT, PASSPHRASE, UNIT, Seat, World


def test_a_note_is_sealed_to_the_keys_of_today(world: World) -> None:
    """The officer's replica of the keys log is older than the hotline's second workstation, which reads along."""
    ref = accepted(world)
    invitation = parse_invitation(world.after(world.operator.invite(ENTRIES[HOTLINE], [CredentialKind.PERSON])))
    what = Joining(
        invitation, PASSPHRASE, kdf=InsecureKdfForTests(), server=world.server.url, station="st2"
    )  # fmt: skip
    joined = world.after(
        sdk.join(world.folder / "profiles" / "night_shift", what, transport=Wire(world.tape), clock=world.clock)
    )
    world.after(world.operator.approve(world.operator.applicants()[0], joined.code))
    world.seats = {**world.seats, "night_shift": Seat("night_shift")}
    world.act("officer", ref, Act.NOTE, note="Al segundo turno.")
    seen = world.client("night_shift").referral(ref)
    note = world.after(world.client("night_shift").open_note(seen, seen.acts[-1])).document.contents.body
    assert isinstance(note, NoteBody)
    assert note.text == "Al segundo turno."


def accepted(world: World) -> str:
    """A referral that the unit has taken."""
    ref = str(world.submit().outgoing.ref)
    world.acknowledge("officer", ref)
    world.act("officer", ref, Act.ACCEPT, note="Asumido por la guardia.", case_number="2026-1174")
    return ref


def test_a_question_stays_pending_until_it_is_answered_and_its_words_stay_sealed(world: World) -> None:
    ref = accepted(world)
    asked = world.act("officer", ref, Act.ASK, {"topics": ["timing"]}, note=f"¿Desde cuándo? {CANARY}")
    assert [line.kind for line in world.operator.inbox(pending=True)] == ["ask"]
    seen = world.operator.referral(ref)
    shown = next(one for one in seen.acts if one.act.digest == asked.outgoing.digest)
    note = world.after(world.operator.open_note(seen, shown)).document.contents.body
    assert isinstance(note, NoteBody)
    assert note.text == f"¿Desde cuándo? {CANARY}"
    answered = {"answers": asked.outgoing.digest, "code": "provided"}
    world.act("operator", ref, Act.ANSWER, answered, unit=UNIT, note="Desde el viernes.")
    assert list(world.operator.inbox(pending=True)) == []
    assert [line.kind for line in world.officer.inbox()][-1] == "answer"
    assert world.act("operator", ref, Act.NOTE, unit=UNIT, note="Sigue allí.").code is None


def pass_on(world: World, ref: str) -> str:
    """The unit acknowledges, seals for the other one, and asks; the digest of that, which the hotline may approve."""
    opened = world.open("officer", ref)
    world.after(world.officer.acknowledge(opened))
    officer = world.officer
    officer.sync_keys()
    inner = opened.bundle.referral.jws.raw
    forward = ForwardBody(ForwardReason.TRANSFER, sha256_b64u(opened.bundle.document.jws.payload), inner)
    recipients = recipients_for(officer.session, OTHER_UNIT, officer.session.now())
    sealed = submission.seal_beside(officer.session, officer.keys, ReferralId(ref), forward, recipients)
    act_id = ActId(officer.session.ambient.act_id())
    body = {"to": OTHER_UNIT, "reason": "jurisdiction", "sealed": {"sha256": sealed.sha256, "size": sealed.size}}
    raw = sign_act(officer.session, officer.keys, officer.referral(ref), act_id, Act.TRANSFER, body, PartyId(UNIT))
    document = {"act": raw.decode(), "sealed": sealed.raw.decode()}
    asked = world.after(world.caller("officer").call("PUT", f"/v1/referrals/{ref}/acts/{act_id}", document))
    assert asked.status == 201, asked.body
    return parse_act(raw).digest


def test_the_unit_passes_the_referral_on_and_the_new_unit_opens_what_the_hotline_sealed(world: World) -> None:
    """R-28, R-73: the forwarder seals to the new unit before it asks; what the hotline signed travels verbatim."""
    ref = str(world.submit().outgoing.ref)
    digest = pass_on(world, ref)
    assert list(world.stranger.inbox()) == []
    assert [line.kind for line in world.operator.inbox(pending=True)] == ["transfer"]

    assert world.act("operator", ref, Act.APPROVE, {"answers": digest}, unit=UNIT).code is None
    states = {unit: one.state for unit, one in world.operator.referral(ref).chronicle.deliveries.items()}
    assert (states[UNIT], states[OTHER_UNIT]) == (State.TRANSFERRED, State.SUBMITTED)
    assert [line.pending for line in world.stranger.inbox()] == [True]
    passed_on = world.open("stranger", ref)
    assert CANARY in passed_on.body.situation.summary
    assert passed_on.bundle.referral.contents.party == HOTLINE
    world.after(world.stranger.acknowledge(passed_on))
    assert list(world.stranger.inbox(pending=True)) == []
    assert world.act("stranger", ref, Act.ACCEPT).code is None


def decide(world: World, name: str, ref: str, act: Act, body: dict[str, Any], prev: str, out: list[Answer]) -> None:
    """Sign a decision on what one saw and send it."""
    act_id, text = sign(world.client(name), act, body, ref, unit=UNIT, prev=prev)
    out.append(world.caller(name).call("PUT", f"/v1/referrals/{ref}/acts/{act_id}", {"act": text}))


def test_of_two_officers_who_decide_at_once_one_is_told_that_it_came_too_late(world: World) -> None:
    """R-65, R-17: the second decision builds on a head that is no more; its refusal is signed, logged and final."""
    ref = str(world.submit().outgoing.ref)
    world.acknowledge("officer", ref)
    head = world.officer.referral(ref).chronicle.deliveries[UNIT].head
    assert world.second_officer.referral(ref).chronicle.deliveries[UNIT].head == head
    for name in ("officer", "second_officer"):
        world.caller(name)
    answers: list[Answer] = []
    race = [
        threading.Thread(target=decide, args=(world, "officer", ref, Act.ACCEPT, {}, head, answers)),
        threading.Thread(
            target=decide, args=(world, "second_officer", ref, Act.DECLINE, {"reason": "no_capacity"}, head, answers)
        ),
    ]
    for one in race:
        one.start()
    for one in race:
        one.join()
    world.check()
    assert sorted(answer.status for answer in answers) == [201, 409]
    late = next(answer for answer in answers if answer.status == 409)
    assert (late.code, late.json["retry"]) == ("stale-head", "never")
    receipt = parse_receipt(late.json["receipt"].encode())
    assert receipt.payload.outcome == "refused"
    now = world.officer.referral(ref).chronicle.deliveries[UNIT]
    assert late.json["head"] == now.head
    assert now.state in (State.ACCEPTED, State.DECLINED)


def test_a_colleague_carries_the_act_of_an_officer_who_is_offline(world: World) -> None:
    """R-15: the receipt names the carrier; whoever is of another party carries nothing."""
    ref = str(world.submit().outgoing.ref)
    opened = world.open("officer", ref)
    submitted = world.officer.referral(ref).submit().act.digest
    act_id, text = sign(world.officer, Act.ACK, ack_body(opened), ref, unit=UNIT, prev=submitted)
    path = f"/v1/referrals/{ref}/acts/{act_id}"
    for stranger in ("stranger", "operator"):
        assert world.after(world.caller(stranger).call("PUT", path, {"act": text})).code == "issuer-mismatch"
    carried = world.after(world.caller("second_officer").call("PUT", path, {"act": text}))
    assert carried.status == 201
    payload = parse_receipt(carried.json["receipt"].encode()).payload
    assert (payload.sub, payload.carrier) == (world.officer.keys.credential, world.second_officer.keys.credential)
    again = world.after(world.caller("officer").call("PUT", path, {"act": text}))
    assert (again.status, again.json["receipt"]) == (200, carried.json["receipt"])


def test_a_service_carries_what_a_person_signed_and_may_not_sign_it_itself(world: World) -> None:
    """R-61: what binds an institution takes a person; which machine sends it does not matter."""
    ref = str(world.submit("calls").outgoing.ref)
    digest = world.calls.referral(ref).submit().act.digest
    act_id, text = sign(world.operator, Act.WITHDRAW, {"reason": "duplicate"}, ref, prev=digest)
    path = "/v1/referrals/{}/acts/{}"
    assert world.after(world.caller("calls").call("PUT", path.format(ref, act_id), {"act": text})).status == 201
    act_id, text = sign(world.calls, Act.CONSENT_WITHDRAWN, {}, ref, prev=digest)
    refusal = world.after(world.caller("calls").call("PUT", path.format(ref, act_id), {"act": text}))
    assert (refusal.code, refusal.json["needs"]) == ("not-permitted", "person")


def test_a_service_without_seal_keys_can_sign_nothing(world: World) -> None:
    ref = str(world.submit().outgoing.ref)
    refused(ErrorCode.KEY_NOT_VALID, lambda: world.desk.act(ref, Act.STATUS, {"code": "registered"}))
    world.check()
