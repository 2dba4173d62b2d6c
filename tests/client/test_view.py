"""What a client believes of a referral's view and of an inbox, against an exchange that tells it otherwise (R-54)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from referral_api.auditlog.checkpoint import sign_checkpoint
from referral_api.client import addressing, submission, trust
from referral_api.client.outbox import Progress
from referral_api.client.sealing import Draft, Recipient, seal
from referral_api.domain.clocks import Clock
from referral_api.domain.errors import ErrorCode
from referral_api.domain.policy import Relation
from referral_api.domain.words import Act, ActId, CredentialId, PartyId, ReferralId, State
from referral_api.formats.act import build_act, parse_act
from referral_api.formats.bundle import SealRole
from referral_api.formats.contents import BundleBody, ForwardBody, ForwardReason, NoteBody
from referral_api.formats.receipt import build_receipt
from referral_api.formats.strict_json import sha256_b64u
from tests.client.clients import BODY, Clients, composition, refused, sent
from tests.client.world import AUDIT, HOST, OFFICER, OPERATOR, STRANGER, SimulatedExchange, keys_of
from tests.formats import parties_world as pw
from tests.formats.parties_world import NOW


def signed(who: pw.Someone, kind: Act, body: Any, ref: str, **other: Any) -> bytes:
    facts: dict[str, Any] = {
        "act_id": "11111111-1111-4111-8111-111111111111",
        "iss": who.id,
        "aud": pw.ISSUER,
        "iat": NOW,
        "act": kind,
        "ref": ref,
        "unit": OFFICER.party,
        "body": body,
        "signers": who.seals,
    }
    return build_act(**(facts | other))


def change_act(changes: dict[str, Any]) -> Any:
    """A view whose last act is told with other members beside it."""

    def lie(status: int, answer: Any) -> tuple[int, Any]:
        return status, answer | {"acts": [*answer["acts"][:-1], answer["acts"][-1] | changes]}

    return lie


@pytest.mark.parametrize("changes", [{"year": 2027}, {"index": 1}])
def test_an_act_stands_where_its_receipt_says_and_not_where_the_view_puts_it(
    clients: Clients, exchange: SimulatedExchange, changes: dict[str, Any]
) -> None:
    """The order of acts is what states follow from."""
    ref = sent(clients)
    exchange.lies[f"/referrals/{ref}"] = change_act(changes)
    with refused(ErrorCode.RECEIPT_MISMATCH, "log"):
        clients.hotline().referral(ref)


def test_an_act_that_was_signed_for_another_exchange_is_not_shown(
    clients: Clients, exchange: SimulatedExchange
) -> None:
    ref = sent(clients)
    submit = exchange.acts[ref][0][0].digest
    ack = {"bundle": submit, "submit": submit, "decrypted": True}
    exchange.accept(signed(OFFICER, Act.ACK, ack, ref, prev=submit, aud="https://sandbox.example"))
    with refused(ErrorCode.WRONG_AUDIENCE):
        clients.hotline().referral(ref)


def test_an_act_that_was_taken_before_it_was_signed_is_not_shown(clients: Clients, exchange: SimulatedExchange) -> None:
    ref = sent(clients)
    submit = exchange.acts[ref][0][0].digest
    ack = {"bundle": submit, "submit": submit, "decrypted": True}
    exchange.accept(signed(OFFICER, Act.ACK, ack, ref, prev=submit, iat=NOW + 3600))
    with refused(ErrorCode.RECEIPT_MISMATCH, "time"):
        clients.hotline().referral(ref)


def test_another_units_acknowledgement_is_no_acknowledgement(clients: Clients, exchange: SimulatedExchange) -> None:
    """R-60: an exchange and one unit that collude must not make a hotline believe that the other unit has read."""
    entry = clients.hotline().submit(composition())
    ref = str(entry.outgoing.ref)
    submit = entry.outgoing.digest
    ack = signed(STRANGER, Act.ACK, {"bundle": submit, "submit": submit, "decrypted": True}, ref, prev=submit)
    act, index = parse_act(ack), len(exchange.audit)
    receipt = build_receipt(
        iss=pw.ISSUER, act=act.digest, act_id=act.id, sub=act.iss, carrier=None, ref=ref, unit=act.unit, time=NOW,
        code=None, states=[(OFFICER.party, "acknowledged", act.digest)], origin=f"{HOST}/v1/log/{AUDIT}", index=index,
        signer=pw.key("exchange/receipt"),
    )  # fmt: skip

    def lie(status: int, answer: Any) -> tuple[int, Any]:
        shown = {"act": ack.decode(), "receipt": receipt.decode(), "year": 2026, "index": index}
        read = {"state": "acknowledged", "head": act.digest}
        deliveries = [one | (read if one["unit"] == OFFICER.party else {}) for one in answer["deliveries"]]
        return status, answer | {"acts": [*answer["acts"], shown], "deliveries": deliveries}

    exchange.lies[f"/referrals/{ref}"] = lie
    hotline = clients.hotline()
    with refused(ErrorCode.TAMPERED, "not-permitted"):
        hotline.referral(ref)
    assert hotline.outbox.get(entry.outgoing.id).state is Progress.RECEIVED


def test_a_view_that_lost_what_we_have_a_receipt_for_is_not_believed(
    clients: Clients, exchange: SimulatedExchange
) -> None:
    """R-94: an older view is whole in itself; only the receipts that we hold show that it is not the newest."""
    ref = sent(clients)
    unit = clients.unit()
    opened = unit.open(ref)
    exchange.caller = OFFICER.party
    older = exchange.view(ref)
    unit.acknowledge(opened)
    exchange.lies[f"/referrals/{ref}"] = lambda status, answer: (status, older)
    with refused(ErrorCode.TAMPERED, "omitted"):
        unit.referral(ref)


def test_a_refused_act_is_nothing_to_build_on(clients: Clients, exchange: SimulatedExchange) -> None:
    """R-65: `prev` names an accepted act; after one refusal every later fact would be refused too."""
    ref = sent(clients)
    unit = clients.unit()
    unit.acknowledge(unit.open(ref))
    submit = exchange.acts[ref][0][0].digest
    exchange.accept(
        signed(OFFICER, Act.REOPEN, {"reason": "new_information"}, ref, prev=submit), code=ErrorCode.STALE_HEAD
    )
    ack = exchange.acts[ref][1][0].digest
    assert unit.act(ref, Act.STATUS, {"code": "registered"}).state is Progress.RECEIVED
    assert exchange.acts[ref][-1][0].prev == ack


def test_a_refused_submit_is_not_the_one_that_began_the_referral(clients: Clients, exchange: SimulatedExchange) -> None:
    hotline = clients.hotline()
    first = hotline.queue(composition())
    ref = str(first.outgoing.ref)
    body = parse_act(first.outgoing.jws).body.wire()
    exchange.accept(signed(OPERATOR, Act.SUBMIT, body, ref, unit=None, prev=None), code=ErrorCode.CONSENT_GATE)
    hotline.flush()
    assert hotline.referral(ref).submit().act.digest == first.outgoing.digest


@pytest.mark.parametrize("false", [{"allowed": ["purged"], "due": {"clock": "ack", "due_at": 1}}, {"allowed": "x"}, {}])
def test_what_may_be_done_and_what_is_owed_follow_from_the_acts_and_not_from_what_is_told(
    clients: Clients, exchange: SimulatedExchange, false: dict[str, Any]
) -> None:
    ref = sent(clients)
    unit = clients.unit()
    unit.open(ref)
    exchange.lies[f"/referrals/{ref}"] = lambda status, answer: (
        status,
        answer | {"relation": "sender", "deliveries": [one | false for one in answer["deliveries"]]},
    )
    seen = unit.referral(ref)
    assert seen.relation is Relation.RECIPIENT
    standing = seen.standings[OFFICER.party]
    assert Act.ACK in standing.allowed
    assert Act.PURGED not in standing.allowed
    assert standing.due is not None
    assert (standing.due.clock, standing.due.due_at > NOW) == (Clock.ACK, True)


@pytest.mark.parametrize("record", [{"time": 2**53 - 1}, {"time": "x"}, {"index": None}])
def test_a_retrieval_that_is_none_is_refused(
    clients: Clients, exchange: SimulatedExchange, record: dict[str, Any]
) -> None:
    ref = sent(clients)
    clients.unit().open(ref)
    exchange.lies[f"/referrals/{ref}"] = lambda status, answer: (
        status,
        answer | {"records": [one | record for one in answer["records"]]},
    )
    with refused(ErrorCode.TAMPERED, "malformed"):
        clients.hotline().referral(ref)


# The keys log that others saw.


def send_sealed(clients: Clients, exchange: SimulatedExchange, **changes: Any) -> str:
    """A submission whose signed contents say something else than a client would."""
    hotline = clients.hotline()
    outgoing = hotline.queue(composition()).outgoing
    ref, body = str(outgoing.ref), parse_act(outgoing.jws).body.wire()
    view = submission.keys_log_view(hotline.session)
    draft = Draft(ReferralId(ref), CredentialId(OPERATOR.id), pw.ISSUER, view, BundleBody(BODY))
    to = [
        Recipient(one.public, PartyId(to["unit"]), SealRole(to["role"]))
        for to in body["to"]
        for one in hotline.session.keymap.sealable(to["unit"], NOW)
    ]
    at = datetime.fromtimestamp(NOW, UTC)
    sealed = seal(replace(draft, **changes), recipients=to, signers=OPERATOR.seals, now=at)
    body["bundle"] = {"sha256": sealed.sha256, "size": sealed.size}
    raw = signed(OPERATOR, Act.SUBMIT, body, ref, unit=None, prev=None)
    exchange.put({"act": raw.decode(), "bundle": sealed.raw.decode()})
    return ref


@pytest.mark.parametrize(("change", "code"), [("root", "forked"), ("size", "shrunk"), ("origin", "other")])
def test_a_bundle_whose_sender_saw_another_keys_log_is_an_alarm(
    clients: Clients, exchange: SimulatedExchange, change: str, code: str
) -> None:
    """R-26: each party would see a directory of its own; only what senders tell each other shows it."""
    view = submission.keys_log_view(clients.hotline().session)
    others = {
        "root": replace(view, root=sha256_b64u(b"other")),
        "size": replace(view, size=view.size + 1),
        "origin": replace(view, origin=f"{HOST}/v1/log/other"),
    }
    ref = send_sealed(clients, exchange, keys_log=others[change])
    with refused(ErrorCode.WRONG_ORIGIN if change == "origin" else ErrorCode.INCONSISTENT, code):
        clients.unit().open(ref)


def test_a_sender_that_saw_more_of_the_keys_log_makes_us_follow_it(
    clients: Clients, exchange: SimulatedExchange
) -> None:
    unit = clients.unit()
    unit.sync_keys()
    late = pw.person("linea-piura", "late1a")
    exchange.log.put(*late.entries())
    ref = sent(clients)
    assert unit.open(ref).warning is None
    assert unit.session.replica.size == len(exchange.log.leaves)


def test_a_bundle_that_was_written_for_another_exchange_is_refused(
    clients: Clients, exchange: SimulatedExchange
) -> None:
    ref = send_sealed(clients, exchange, audience="https://sandbox.example")
    with refused(ErrorCode.WRONG_AUDIENCE):
        clients.unit().open(ref)


def test_a_bundle_that_is_sealed_to_others_than_the_act_addresses_is_refused(
    clients: Clients, exchange: SimulatedExchange
) -> None:
    hotline = clients.hotline()
    outgoing = hotline.queue(composition()).outgoing
    body = parse_act(outgoing.jws).body.wire()
    fewer = body | {"to": [one for one in body["to"] if one["unit"] == OFFICER.party]}
    raw = signed(OPERATOR, Act.SUBMIT, fewer, str(outgoing.ref), unit=None, prev=None)
    exchange.put({"act": raw.decode(), "bundle": (outgoing.beside or b"").decode()})
    with refused(ErrorCode.RECIPIENT_MISMATCH, "addressees"):
        clients.unit().open(str(outgoing.ref))


# A referral that is passed on.


def rekeyed(exchange: SimulatedExchange) -> pw.Someone:
    """The hotline's person with the seal keys that its statement of now lists in place of the former ones."""
    again = replace(OPERATOR, generation=2)
    party = exchange.log.keymap.find_party(OPERATOR.party)
    assert party is not None
    listed = [one.wire() for one in party.body.credentials if one.id != OPERATOR.short]
    body = party.body.wire() | {"seq": 2, "prev_statement": party.statement, "credentials": [again.listed(), *listed]}
    exchange.log.put(*again.entries(), OPERATOR.sign(Act.STATEMENT, body, iat=exchange.now))
    return again


def test_what_came_beside_a_later_act_is_judged_by_that_act(clients: Clients, exchange: SimulatedExchange) -> None:
    """R-26: a key that was good at the submit and has been replaced since signs nothing new in the sender's name."""
    ref = sent(clients)
    clients.unit().acknowledge(clients.unit().open(ref))
    exchange.now += 20 * pw.DAY
    again = rekeyed(exchange)
    exchange.now += 10 * pw.DAY
    hotline, unit = clients.hotline(), clients.unit()
    for one in (hotline, unit):
        one.sync_keys()
    act_id = "33333333-3333-4333-8333-333333333333"
    recipients = addressing.recipients_for(hotline.session, OFFICER.party, hotline.session.now())
    words = NoteBody(ActId(act_id), "Con la clave de antes.")
    sealed = submission.seal_beside(hotline.session, hotline.keys, ReferralId(ref), words, recipients)
    body = {"sealed": {"sha256": sealed.sha256, "size": sealed.size}}
    submit = exchange.acts[ref][0][0].digest
    note = signed(again, Act.NOTE, body, ref, prev=submit, act_id=act_id, iat=exchange.now)
    exchange.put({"act": note.decode(), "sealed": sealed.raw.decode()})

    referral = unit.referral(ref)
    assert referral.acts[-1].act.act is Act.NOTE
    with refused(ErrorCode.KEY_NOT_VALID):
        unit.open_note(referral, referral.acts[-1])


def test_a_unit_that_a_referral_was_passed_on_to_opens_and_acknowledges_it_after_the_sender_changed_its_keys(
    clients: Clients, exchange: SimulatedExchange
) -> None:
    """R-28, R-33, R-62: what the hotline signed is judged by its keys of that day, the transfer by the unit's."""
    ref = sent(clients)
    unit = clients.unit()
    opened = unit.open(ref)
    unit.acknowledge(opened)
    exchange.now += 20 * pw.DAY
    again = rekeyed(exchange)
    exchange.now += 10 * pw.DAY
    unit.sync_keys()
    inner = opened.bundle.referral.jws.raw
    forward = ForwardBody(ForwardReason.TRANSFER, sha256_b64u(opened.bundle.document.jws.payload), inner)
    recipients = addressing.recipients_for(unit.session, STRANGER.party, unit.session.now())
    sealed = submission.seal_beside(unit.session, unit.keys, opened.bundle.sealed.routing.ref, forward, recipients)
    head = exchange.chronicles[ref].deliveries[OFFICER.party].head
    named = {"sha256": sealed.sha256, "size": sealed.size}
    told = {"to": STRANGER.party, "reason": "jurisdiction", "sealed": named}
    transfer = signed(OFFICER, Act.TRANSFER, told, ref, prev=head, iat=exchange.now)
    exchange.put({"act": transfer.decode(), "sealed": sealed.raw.decode()})
    digest = parse_act(transfer).digest
    agreed = {"act_id": "22222222-2222-4222-8222-222222222222", "iat": exchange.now}
    exchange.accept(signed(again, Act.APPROVE, {"answers": digest}, ref, prev=digest, **agreed))

    other = clients.of(keys_of(STRANGER, "otra"))
    passed = other.open(ref)
    assert passed.brought_by == digest
    assert passed.bundle.original is not None
    assert other.acknowledge(passed).state is Progress.RECEIVED
    assert other.referral(ref).chronicle.deliveries[STRANGER.party].state is State.ACKNOWLEDGED
    assert clients.unit().referral(ref).chronicle.deliveries[OFFICER.party].state is State.TRANSFERRED


# The inbox.

LINE: dict[str, Any] = {
    "year": 2026,
    "index": 7,
    "kind": "submit",
    "act": "A" * 43,
    "id": None,
    "ref": "01a207f7-a580-793c-a293-a6b97bf4ccae",
    "unit": OFFICER.party,
    "from": OPERATOR.party,
    "urgency": "emergency",
    "time": NOW,
    "pending": True,
    "answered_by": ["ack"],
}
PAGE: dict[str, Any] = {"entries": [LINE], "cursor": "c1", "more": False, "poll_after_s": 5}


def test_an_inbox_is_read(clients: Clients, exchange: SimulatedExchange) -> None:
    exchange.refusals["/v1/inbox"] = (200, PAGE)
    (entry,) = clients.unit().inbox()
    assert (entry.ref, entry.urgency, entry.from_party) == (LINE["ref"], "emergency", OPERATOR.party)


@pytest.mark.parametrize(
    "changes",
    [
        {"ref": "x; rm -rf ~"},
        {"ref": 7},
        {"unit": "PNP"},
        {"from": ["linea"]},
        {"act": "short"},
        {"urgency": "whenever"},
        {"urgency": []},
        {"kind": "../x"},
        {"kind": None},
        {"time": 2**53 - 1},
        {"time": "now"},
        {"index": -1},
        {"year": True},
        {"pending": "no"},
        {"answered_by": "ack"},
        {"answered_by": [7]},
        {"answered_by": ["ack"] * 99},
    ],
)
def test_a_line_of_the_inbox_that_could_mean_something_else_is_refused(
    clients: Clients, exchange: SimulatedExchange, changes: dict[str, Any]
) -> None:
    """It is printed, and its referral is offered as an argument of the next command."""
    exchange.refusals["/v1/inbox"] = (200, PAGE | {"entries": [LINE | changes]})
    with refused(ErrorCode.TAMPERED, "malformed"):
        list(clients.unit().inbox())


@pytest.mark.parametrize(
    "changes",
    [
        {"entries": None},
        {"entries": ["x"]},
        {"entries": [LINE] * 201},
        {"cursor": ""},
        {"cursor": "c" * 513},
        {"cursor": 7},
        {"more": 1},
        {"poll_after_s": "soon"},
        {"poll_after_s": True},
    ],
)
def test_a_page_that_is_none_is_refused(clients: Clients, exchange: SimulatedExchange, changes: dict[str, Any]) -> None:
    exchange.refusals["/v1/inbox"] = (200, PAGE | changes)
    with refused(ErrorCode.TAMPERED, "malformed"):
        clients.unit().next_page()


def test_an_inbox_without_end_is_not_read_for_ever(clients: Clients, exchange: SimulatedExchange) -> None:
    exchange.refusals["/v1/inbox"] = (200, PAGE | {"more": True})
    with refused(ErrorCode.TAMPERED, "malformed"):
        list(clients.unit().inbox())


def test_the_pause_that_an_exchange_asks_for_is_bounded(clients: Clients, exchange: SimulatedExchange) -> None:
    for asked, kept in ((10**9, 300), (-5, 0), (7, 7)):
        exchange.refusals["/v1/inbox"] = (200, PAGE | {"poll_after_s": asked})
        assert clients.unit().next_page().poll_after_s == kept


# The replica of the keys log, and evidence.


def test_a_replica_that_no_checkpoint_covers_is_forgotten(clients: Clients, exchange: SimulatedExchange) -> None:
    """R-94: leaves count once the log's key has signed for them, and not for having been sent."""
    hotline = clients.hotline()
    before = hotline.sync_keys()
    exchange.log.put(*pw.person("linea-piura", "late1a").entries())
    exchange.lies["/keys/checkpoint"] = lambda status, answer: (
        status,
        (
            answer[0],
            sign_checkpoint(f"{HOST}/v1/log/keys", len(exchange.log.leaves), b"r" * 32, pw.key("exchange/log")),
        ),
    )
    with refused(ErrorCode.TAMPERED, "keys-log"):
        hotline.sync_keys()
    assert hotline.session.replica.size == before
    exchange.lies.clear()
    assert hotline.sync_keys() == len(exchange.log.leaves)


def test_a_keys_log_larger_than_what_is_kept_is_not_read_to_its_end(
    clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trust, "MAX_KEYS_LOG_BYTES", 50_000)
    with refused(ErrorCode.TAMPERED, "50000"):
        clients.hotline().sync_keys()


def test_evidence_of_an_act_that_its_author_did_not_sign_is_refused(
    clients: Clients, exchange: SimulatedExchange
) -> None:
    """R-10: a receipt proves what the exchange took, and an exchange may take what it has made up."""
    ref = sent(clients)
    submit = exchange.acts[ref][0][0].digest
    forger = replace(OFFICER, generation=9)
    body = {"bundle": submit, "submit": submit, "decrypted": True}
    ack = signed(forger, Act.ACK, body, ref, prev=submit)
    receipt, proof = exchange.accept(ack)
    hotline = clients.hotline()
    with refused(ErrorCode.KEY_NOT_VALID):
        hotline.verify_receipt(ack, receipt, proof)
    elsewhere = signed(OFFICER, Act.STATUS, {"code": "registered"}, ref, prev=submit, aud="https://other.example")
    receipt, proof = exchange.accept(elsewhere)
    with refused(ErrorCode.WRONG_AUDIENCE):
        hotline.verify_receipt(elsewhere, receipt, proof)
