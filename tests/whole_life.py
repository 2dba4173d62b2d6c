"""A life in which everything happens once that parties can do to referrals, and an auditor looks.

Must never: check anything; whoever lives it does.
"""

from __future__ import annotations

from referral_api.client import submission
from referral_api.client.addressing import recipients_for
from referral_api.client.delivery import ack_body, sign_act
from referral_api.domain.terms import Term
from referral_api.domain.words import Act, ActId, PartyId, ReferralId
from referral_api.formats.act import parse_act
from referral_api.formats.contents import ForwardBody, ForwardReason
from referral_api.formats.strict_json import sha256_b64u
from referral_api.server.service.callers import Caller
from referral_api.server.service.evidence import SessionRead
from referral_api.server.storage import logbook
from tests.faults.submissions import parcel
from tests.signing import sign
from tests.world import OTHER_UNIT, UNIT, World, composition


def live_whole(world: World, *, leaves: int = 0) -> None:
    """Live it; then have an auditor's sessions recorded until the audit log has at least so many leaves."""
    _taken_and_closed(world)
    _passed_on(world)
    _taken_back(world)
    _refused_and_carried(world)
    _left_waiting(world)
    assert world.auditor.audit().complete
    lost = world.second_officer.keys.signers()[0].kid
    world.officer.revoke(lost, "lost", int(world.clock()))
    _lengthen(world, leaves)


def _sent(world: World, by: str = "operator") -> str:
    return str(world.client(by).submit(composition()).outgoing.ref)


def _acknowledged(world: World, by: str = "operator") -> str:
    ref = _sent(world, by)
    world.officer.acknowledge(world.officer.open(ref))
    return ref


def _taken_and_closed(world: World) -> None:
    sent = parcel(world, excluded=(OTHER_UNIT,))
    answer = sent.send(world)
    assert answer is not None
    assert answer.status == 201, answer.body
    world.officer.acknowledge(world.officer.open(sent.ref))
    officer, ref = world.officer, sent.ref
    officer.act(ref, Act.ACCEPT, {}, note="Asumido por la guardia.", case_number="2026-1174")
    for code in ("registered", "victim_safe"):
        officer.act(ref, Act.STATUS, {"code": code})
    asked = officer.act(ref, Act.ASK, {"topics": ["timing"]}, note="¿Desde cuándo?").outgoing.digest
    seen = world.operator.referral(ref)
    world.operator.open_note(seen, next(shown for shown in seen.acts if shown.act.digest == asked))
    world.operator.act(ref, Act.ANSWER, {"answers": asked, "code": "provided"}, unit=UNIT, note="Desde el viernes.")
    world.operator.submit(composition(relation={"type": "supplements", "ref": ref}))
    officer.act(ref, Act.CLOSE, {"outcome": "not_located"})
    world.operator.act(ref, Act.REOPEN, {"reason": "new_information"}, unit=UNIT)
    asked = world.operator.act(ref, Act.PURGE_REQUEST, {"reason": "data_subject_request"}, unit=UNIT).outgoing.digest
    officer.act(ref, Act.APPROVE, {"answers": asked})


def _passed_on(world: World) -> None:
    ref = _sent(world)
    officer = world.officer
    opened = officer.open(ref)
    officer.acknowledge(opened)
    officer.sync_keys()
    forward = ForwardBody(
        ForwardReason.TRANSFER, sha256_b64u(opened.bundle.document.jws.payload), opened.bundle.referral.jws.raw
    )
    recipients = recipients_for(officer.session, OTHER_UNIT, officer.session.now())
    sealed = submission.seal_beside(officer.session, officer.keys, ReferralId(ref), forward, recipients)
    act_id = ActId(officer.session.ambient.act_id())
    body = {"to": OTHER_UNIT, "reason": "jurisdiction", "sealed": {"sha256": sealed.sha256, "size": sealed.size}}
    raw = sign_act(officer.session, officer.keys, officer.referral(ref), act_id, Act.TRANSFER, body, PartyId(UNIT))
    document = {"act": raw.decode(), "sealed": sealed.raw.decode()}
    assert world.caller("officer").call("PUT", f"/v1/referrals/{ref}/acts/{act_id}", document).status == 201
    world.operator.act(ref, Act.APPROVE, {"answers": parse_act(raw).digest}, unit=UNIT)
    world.stranger.acknowledge(world.stranger.open(ref))
    world.stranger.act(ref, Act.ACCEPT, {})


def _taken_back(world: World) -> None:
    early = _sent(world)
    world.operator.act(early, Act.WITHDRAW, {"reason": "duplicate"})
    for answer in ("stopped_and_destroyed", "continuing_public_prosecution"):
        ref = _acknowledged(world)
        notice = world.operator.act(ref, Act.WITHDRAW, {"reason": "safety_risk"}, unit=UNIT)
        world.officer.act(ref, Act.WITHDRAWAL_ANSWER, {"code": answer, "answers": notice.outgoing.digest})
    failed = _sent(world)
    world.officer.open(failed)
    world.officer.act(failed, Act.RECEIPT_FAILED, {"reason": "cannot_decrypt"})


def _refused_and_carried(world: World) -> None:
    ref = _sent(world, "calls")
    opened = world.officer.open(ref)
    submitted = world.officer.referral(ref).submit().act.digest
    act_id, text = sign(world.officer, Act.ACK, ack_body(opened), ref, unit=UNIT, prev=submitted)
    carried = world.caller("second_officer").call("PUT", f"/v1/referrals/{ref}/acts/{act_id}", {"act": text})
    assert carried.status == 201
    act_id, text = sign(world.officer, Act.ACCEPT, {}, ref, unit=UNIT, prev=submitted)
    stale = world.caller("officer").call("PUT", f"/v1/referrals/{ref}/acts/{act_id}", {"act": text})
    assert stale.code == "stale-head"
    world.officer.act(ref, Act.DECLINE, {"reason": "no_capacity"})
    assert world.caller("operator").call("GET", f"/v1/receipts/{submitted}").status == 200


def _left_waiting(world: World) -> None:
    _sent(world, "colleague")
    ref = _acknowledged(world)
    world.operator.act(ref, Act.CONSENT_WITHDRAWN, {})
    world.officer.act(ref, Act.ASK, {"topics": ["timing"]}, note="¿Hasta cuándo?")
    world.operator.act(ref, Act.NOTE, {}, unit=UNIT, note="Sigue allí.")


def _lengthen(world: World, leaves: int) -> None:
    """Sessions of an auditor, recorded one by one as the call does it, without the call."""
    runtime = world.server.runtime
    who = runtime.exchange.keymap.get_credential(world.auditor.keys.credential)
    caller = Caller(who.id, who.party, who.role, who.kind, keyholder=who.keyholder)
    with runtime.exchange.database.read() as conn:
        newest = logbook.newest_audit(conn)
    assert newest is not None
    log, size = newest
    for at in range(size, leaves):
        runtime.writer.run(SessionRead(runtime.exchange, Term.of_log(log), 0, at, caller))
