"""Sealing again (R-28): what the exchange takes, what a reader believes, and what comes of it when something fails."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from referral_api.client import addressing, delivery, rewrapping, sealing, submission
from referral_api.client.outbox import Progress
from referral_api.client.rewrapping import Outcome
from referral_api.client.sdk import Client
from referral_api.client.sealing import Draft, Recipient
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Act, PartyId, ReferralId, State
from referral_api.formats.bundle import SealedBundle, SealRole
from referral_api.formats.contents import BundleBody, ForwardBody, ForwardReason
from referral_api.formats.receipt import parse_receipt
from referral_api.formats.strict_json import sha256_b64u
from tests.auditlog.refusals import refused
from tests.conftest import on_both_engines
from tests.lying_witness import LyingWitness
from tests.signing import sign
from tests.story.newcomers import Unit
from tests.story.test_talking import pass_on
from tests.story.test_witnesses import eventually, is_witnessed, line, silence
from tests.wire import Answer
from tests.world import CANARY, HOTLINE, NATIONAL, OTHER_UNIT, REFERRAL, UNIT, World

DIGEST = sha256_b64u(b"")


@pytest.fixture
def world(story_world: World) -> World:
    """On both engines: what the exchange takes and refuses of it."""
    return story_world


@dataclass(frozen=True)
class Colleague:
    """An officer of the unit who writes every part of a `rewrap` by hand."""

    world: World
    ref: str
    by: str = "second_officer"

    @property
    def client(self) -> Client:
        return self.world.client(self.by)

    def original(self) -> bytes:
        return self.client.open(self.ref).bundle.referral.jws.raw

    def seal(
        self, original: bytes, *, reason: ForwardReason = ForwardReason.REWRAP, more: tuple[Recipient, ...] = ()
    ) -> SealedBundle:
        client = self.client
        client.sync_keys()
        session, now = client.session, client.session.now()
        own = [Recipient(key.public, PartyId(UNIT), SealRole.SENDER) for key in session.keymap.sealable(UNIT, now)]
        draft = Draft(
            ReferralId(self.ref), client.keys.credential, session.profile.issuer, submission.keys_log_view(session),
            ForwardBody(reason, DIGEST, original),
        )  # fmt: skip
        at = datetime.fromtimestamp(now, UTC)
        return sealing.seal(draft, recipients=[*own, *more], signers=client.keys.signers(), now=at)

    def put(self, sealed: SealedBundle, **members: Any) -> Answer:
        referral = self.client.referral(self.ref)
        body = {
            "original": members.pop("original", referral.brought(UNIT).act.digest),
            "reason": "new_workstation",
            "sealed": {"sha256": sealed.sha256, "size": sealed.size},
        }
        given = {"unit": UNIT, "prev": referral.latest(UNIT)} | members
        act_id, text = sign(self.client, Act.REWRAP, body, self.ref, **given)
        document = {"act": text, "sealed": sealed.raw.decode()}
        return self.world.after(
            self.world.caller(self.by).call("PUT", f"/v1/referrals/{self.ref}/acts/{act_id}", document)
        )


def sent(world: World) -> str:
    return str(world.submit().outgoing.ref)


@on_both_engines
def test_the_exchange_takes_it_for_the_unit_s_own_keys_and_bundle_only(world: World) -> None:
    """R-28: else a unit could hand on what it got, past the hotline, as if it were for its own workstations."""
    ref = sent(world)
    colleague = Colleague(world, ref)
    original = colleague.original()
    note = world.act("officer", ref, Act.NOTE, note="Enterados.").outgoing.digest
    good = colleague.seal(original)
    for named in (note, DIGEST, sent(world) and world.operator.referral(sent(world)).submit().act.digest):
        answer = colleague.put(good, original=named)
        assert (answer.status, answer.code, answer.json["reason"]) == (422, "digest-mismatch", "original")
    (key,) = world.officer.session.keymap.sealable(NATIONAL, world.officer.session.now())
    abroad = Recipient(key.public, PartyId(NATIONAL), SealRole.INFORMATION)
    answer = colleague.put(colleague.seal(original, more=(abroad,)))
    assert (answer.status, answer.code, answer.json["reason"]) == (422, "recipient-mismatch", "addressees")
    assert colleague.put(good).status == 201


def test_nobody_builds_on_what_only_the_unit_sees(world: World) -> None:
    """R-65: the hotline could not follow; and a unit's own client never does, whatever it has seen last."""
    ref = sent(world)
    colleague = Colleague(world, ref)
    assert colleague.put(colleague.seal(colleague.original())).status == 201
    (rewrap,) = (referral := world.officer.referral(ref)).rewraps(UNIT, referral.brought(UNIT))
    world.acknowledge("officer", ref)
    for prev, code in ((rewrap.act.digest, "stale-head"), (world.officer.referral(ref).latest(UNIT), None)):
        act_id, text = sign(world.officer, Act.STATUS, {"code": "registered"}, ref, unit=UNIT, prev=prev)
        answer = world.after(world.caller("officer").call("PUT", f"/v1/referrals/{ref}/acts/{act_id}", {"act": text}))
        assert parse_receipt(answer.json["receipt"].encode()).payload.code == code
    assert world.operator.referral(ref).chronicle.deliveries[UNIT].state is State.ACKNOWLEDGED
    answer = world.caller("operator").call("GET", f"/v1/referrals/{ref}/sealed/{rewrap.act.digest}")
    assert answer.status == 404
    assert world.caller("desk").call("GET", f"/v1/referrals/{ref}/sealed/{rewrap.act.digest}").status == 200


def test_a_reader_believes_the_hotline_s_document_and_no_other(world: World, unit: Unit) -> None:
    """The digest of the header that the hotline sealed it under proves that it is the very bundle of the act."""
    ref = sent(world)
    colleague = Colleague(world, ref)
    operator = world.operator
    other = submission.seal_beside(
        operator.session, operator.keys, ReferralId(ref), BundleBody(REFERRAL),
        addressing.recipients_for(operator.session, UNIT, operator.session.now()),
    )  # fmt: skip
    forged = sealing.open_bundle(
        other.raw,
        delivery.private_keys(operator.keys),
        delivery._find_sender(operator.session, [operator.referral(ref).submit()]),
    )
    _, night = unit.join("noche")
    assert colleague.put(colleague.seal(forged.document.jws.raw)).status == 201
    assert refused(ErrorCode.DIGEST_MISMATCH, night.open, ref) == "original"
    assert colleague.put(colleague.seal(colleague.original(), reason=ForwardReason.RESEAL)).status == 201
    with pytest.raises(ReferralError) as caught:
        night.open(ref)
    assert caught.value.code is ErrorCode.TAMPERED
    # One that holds is opened, whatever else lies beside it, before and after.
    assert colleague.put(colleague.seal(colleague.original())).status == 201
    assert colleague.put(colleague.seal(forged.document.jws.raw)).status == 201
    opened = world.after(night.open(ref))
    assert CANARY in opened.body.situation.summary
    assert world.after(night.acknowledge(opened)).state is Progress.RECEIVED


def test_an_exchange_that_hands_out_another_envelope_is_found_out(world: World, unit: Unit) -> None:
    refs = [sent(world), sent(world)]
    _, night = unit.join("noche")
    envelopes = [world.caller("officer").call("GET", f"/v1/referrals/{ref}/bundle").body for ref in refs]
    wire = world.wires["officer"]
    wire.lies["/bundle"] = lambda answer: Answer(answer.status, answer.headers, envelopes[1])
    assert refused(ErrorCode.DIGEST_MISMATCH, world.officer.identity.rewrap, refs[:1]) == "bundle"
    wire.lies.clear()
    world.after(world.officer.identity.rewrap())
    (rewrap,) = (referral := night.referral(refs[0])).rewraps(UNIT, referral.brought(UNIT))
    assert rewrap.accepted
    wire.lies["/sealed/"] = lambda answer: Answer(answer.status, answer.headers, envelopes[1])
    unit.join("tarde")
    assert refused(ErrorCode.DIGEST_MISMATCH, world.officer.identity.rewrap, refs[:1]) == "bundle"
    wire.lies.clear()
    report = world.after(world.officer.identity.rewrap(refs[:1]))
    assert [one.outcome for one in report.done] == [Outcome.WRAPPED]


def test_what_waited_until_its_recipient_was_gone_is_made_anew(world: World, unit: Unit) -> None:
    ref = sent(world)
    unit.join("noche")
    officer = world.officer
    officer.sync_keys()
    work = rewrapping._Work(officer.session, officer.keys, officer.outbox)
    referral = officer.referral(ref)
    (key,) = [one for one in officer.session.keymap.sealable(UNIT, officer.session.now()) if one.station == "noche"]
    stale = work._seal(referral, referral.brought(UNIT), officer.open_referral(referral).bundle, [key])
    officer.outbox.put(stale, officer.session.ambient.now())
    world.after(officer.identity.sign(officer.identity.removal(["station/noche"])))
    _, late = unit.join("tarde")
    report = world.after(officer.identity.rewrap())
    assert [(one.outcome, one.stations) for one in report.done] == [(Outcome.WRAPPED, ("tarde",))]
    assert officer.outbox.find(stale.id) is None
    assert CANARY in world.after(late.open(ref)).body.situation.summary


def test_an_exchange_that_goes_away_in_between_costs_nothing(world: World, unit: Unit) -> None:
    refs = [sent(world) for _ in range(3)]
    _, night = unit.join("noche")
    report = world.officer.identity.rewrap(
        progress=lambda _what, done, _total: world.server.stop() if done == 1 else None
    )
    assert [(one.ref, one.outcome) for one in report.done] == [(refs[2], Outcome.WRAPPED)]
    assert report.ended_by is not None
    assert (report.ended_by.code, report.complete) == (ErrorCode.UNREACHABLE, False)
    world.server.start()
    report = world.after(world.officer.identity.rewrap())
    assert {one.ref: one.outcome for one in report.done} == {
        refs[2]: Outcome.HELD, refs[1]: Outcome.WRAPPED, refs[0]: Outcome.WRAPPED,
    }  # fmt: skip
    for ref in refs:
        assert CANARY in world.after(night.open(ref)).body.situation.summary


def test_a_referral_that_was_passed_on_is_sealed_again_by_the_unit_that_has_it(world: World, unit: Unit) -> None:
    """The transfer brought the bundle, so that is what is named; the hotline's document travels on verbatim."""
    ref = sent(world)
    digest = pass_on(world, ref)
    world.act("operator", ref, Act.APPROVE, {"answers": digest}, unit=UNIT)
    _, night = unit.join("noche", by="stranger", party=OTHER_UNIT)
    refused(ErrorCode.NO_USABLE_KEY, night.open, ref)
    report = world.after(world.stranger.identity.rewrap())
    assert [(one.ref, one.outcome, one.stations) for one in report.done] == [(ref, Outcome.WRAPPED, ("noche",))]
    opened = world.after(night.open(ref))
    assert (opened.bundle.referral.contents.party, CANARY in opened.body.situation.summary) == (HOTLINE, True)
    assert world.after(night.acknowledge(opened)).state is Progress.RECEIVED
    # The unit that passed it on has nothing open any more.
    assert [one.outcome for one in world.officer.identity.rewrap().done] == [Outcome.CLOSED]


def test_a_workstation_that_no_quorum_has_seen_waits(witnessed_world: World, three: list[LyingWitness]) -> None:
    """Design §5: who is added to the directory waits for the witnesses, and the report says whom it passed over."""
    world = witnessed_world
    eventually(world, lambda: is_witnessed(world, "keys"))
    world.operator.sync_keys()
    ref = sent(world)
    silence(*three)
    made = Unit(world)
    _, night = made.join("noche")
    report = world.officer.identity.rewrap()
    assert [one.outcome for one in report.done] == [Outcome.HELD]
    assert (report.unwitnessed, report.complete) == (("noche",), False)
    refused(ErrorCode.NO_USABLE_KEY, night.open, ref)
    for witness in three:
        witness.says = lambda checkpoint, _old, witness=witness: witness.cosigned(checkpoint)  # type: ignore[misc]
    for post in line(world).posts:
        post.rests_until = 0.0
    eventually(world, lambda: is_witnessed(world, "keys"))
    report = world.officer.identity.rewrap()
    assert ([one.outcome for one in report.done], report.complete) == ([Outcome.WRAPPED], True)
    assert CANARY in night.open(ref).body.situation.summary
    made.close()
    night.close()
