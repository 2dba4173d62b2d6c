"""The client against an exchange in memory: what it does with an honest one, and that it falls for no lie."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from referral_api.auditlog.checkpoint import sign_checkpoint
from referral_api.auditlog.merkle import Frontier, leaf_hash
from referral_api.client.keystore import CredentialKeys
from referral_api.client.outbox import Progress
from referral_api.client.sdk import Client
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Act, PartyId, State
from referral_api.formats.act import parse_act
from tests.client.clients import BODY, Clients, composition, refused, sent
from tests.client.world import (
    AUDIT,
    CALLS,
    HOST,
    NATIONAL,
    OFFICER,
    OPERATOR,
    STRANGER,
    SimulatedExchange,
    keys_of,
)
from tests.formats import parties_world as pw
from tests.formats.parties_world import NOW, key

# An honest exchange.


def test_a_referral_is_sealed_sent_received_opened_acknowledged_and_reported(clients: Clients) -> None:
    hotline, unit = clients.hotline(), clients.unit()
    entry = hotline.submit(composition(operator="op-2"))
    assert entry.state is Progress.RECEIVED
    assert entry.outgoing.draft is None
    ref = str(entry.outgoing.ref)
    opened = unit.open(ref)
    assert opened.warning is None
    assert opened.body.situation.summary == BODY["situation"]["summary"]
    assert unit.acknowledge(opened).state is Progress.RECEIVED
    assert unit.act(ref, Act.ACCEPT, {}, case_number="2026-118").state is Progress.RECEIVED
    assert unit.act(ref, Act.STATUS, {"code": "under_investigation"}).state is Progress.RECEIVED
    seen = hotline.referral(ref)
    delivery = seen.chronicle.deliveries[OFFICER.party]
    assert (delivery.state, delivery.investigation) == (State.ACCEPTED, ("under_investigation",))
    assert hotline.outbox.get(entry.outgoing.id).state is Progress.ACKNOWLEDGED
    accept = next(shown for shown in seen.acts if shown.act.act is Act.ACCEPT)
    note: Any = hotline.open_note(seen, accept).document.contents.body
    assert note.case_number == "2026-118"


def test_an_emergency_is_sealed_to_the_parent_of_the_unit_too_and_held_there(clients: Clients) -> None:
    act = parse_act(clients.hotline().queue(composition()).outgoing.jws)
    told = {(to.unit, to.role.value) for to in act.body.to}  # type: ignore[attr-defined]
    assert told == {(OFFICER.party, "action"), (NATIONAL.party, "escalation")}


def test_an_excluded_unit_is_not_sealed_to_and_travels_in_a_route_act(
    clients: Clients, exchange: SimulatedExchange
) -> None:
    entry = clients.hotline().submit(composition(excluded=(PartyId(NATIONAL.party),)))
    assert entry.state is Progress.RECEIVED
    act = parse_act(entry.outgoing.jws)
    assert [to.unit for to in act.body.to] == [OFFICER.party]  # type: ignore[attr-defined]
    assert [one.act.value for one, _, _ in exchange.acts[str(entry.outgoing.ref)]] == ["submit", "route"]


def test_the_act_and_the_bundle_hold_nothing_of_the_referral_in_clear(clients: Clients) -> None:
    outgoing = clients.hotline().queue(composition()).outgoing
    clear = outgoing.jws + base64.b64decode(json.loads(outgoing.jws)["payload"] + "==")
    for word in ("colibrí", "algarrobo", "La Garza Dormida", "op-2@"):
        assert word.encode() not in clear
        assert word.encode() not in (outgoing.beside or b"")
        assert word.encode() not in (outgoing.draft or b"")


def test_a_service_of_the_hotline_submits_and_one_without_seal_keys_cannot(clients: Clients) -> None:
    service = clients.of(keys_of(CALLS), "service")
    assert service.submit(composition(operator="op-2")).state is Progress.RECEIVED
    mute = CredentialKeys(service.keys.credential, service.keys.access, (), (), service.keys.storage)
    service._keys = mute
    with refused(ErrorCode.KEY_NOT_VALID, "no-seal-key"):
        service.queue(composition())


def test_a_retry_after_a_lost_answer_sends_the_same_bytes_and_gets_the_same_receipt(
    clients: Clients, exchange: SimulatedExchange
) -> None:
    """R-14, R-53."""
    hotline = clients.hotline()
    bodies: list[Any] = []

    def lose(status: int, answer: Any) -> tuple[int, Any]:
        bodies.append(answer)
        return 503, {"code": "outcome-unknown", "retry": "same"}

    exchange.lies["/v1/referrals/"] = lose
    entry = hotline.submit(composition())
    assert (entry.state, entry.code) == (Progress.SENDING, ErrorCode.OUTCOME_UNKNOWN)
    assert entry.outgoing.draft is not None
    del exchange.lies["/v1/referrals/"]
    exchange.now += 60
    (again,) = hotline.flush()
    assert again.state is Progress.RECEIVED
    assert {one["receipt"] for one in bodies} == {str((again.receipt or b"").decode())}
    assert len([one for one, _, _ in exchange.acts[str(entry.outgoing.ref)]]) == 1


def test_composing_works_without_a_line_once_the_keys_log_was_replicated(
    clients: Clients, exchange: SimulatedExchange
) -> None:
    hotline = clients.hotline()
    hotline.sync_keys()
    exchange.down = True
    entry = hotline.submit(composition())
    assert (entry.state, entry.code) == (Progress.SENDING, ErrorCode.UNREACHABLE)
    exchange.down = False
    exchange.now += 10
    assert [one.state for one in hotline.flush()] == [Progress.RECEIVED]


def test_a_final_refusal_is_believed_with_its_receipt_and_ends_the_entry(
    clients: Clients, exchange: SimulatedExchange
) -> None:
    hotline = clients.hotline()
    outgoing = hotline.queue(composition()).outgoing
    receipt, proof = exchange.accept(outgoing.jws, code=ErrorCode.CONSENT_GATE)
    problem = {"code": "consent-gate", "retry": "never", "receipt": receipt.decode(), "proof": proof.decode()}
    exchange.lies["/v1/referrals/"] = lambda status, answer: (422, problem)
    (entry,) = hotline.flush()
    assert (entry.state, entry.code, entry.receipt) == (Progress.REFUSED, ErrorCode.CONSENT_GATE, receipt)


def test_a_stale_recipient_key_asks_for_resealing_and_one_call_makes_it_anew(
    clients: Clients, exchange: SimulatedExchange
) -> None:
    hotline = clients.hotline()
    exchange.refusals["/v1/referrals/"] = (422, {"code": "recipient-key-stale", "retry": "never"})
    old = hotline.queue(composition())
    (stale,) = hotline.flush()
    assert stale.state is Progress.NEEDS_RESEALING
    exchange.refusals.clear()
    renewed = hotline.reseal(old.outgoing.id)
    assert renewed.outgoing.ref == old.outgoing.ref
    assert (renewed.outgoing.id, renewed.outgoing.jws) != (old.outgoing.id, old.outgoing.jws)
    assert [one.state for one in hotline.flush()] == [Progress.RECEIVED]
    assert [one.outgoing.id for one in hotline.outbox.entries()] == [renewed.outgoing.id]


# Floors and gates, before anything is sealed.


def test_an_emergency_called_routine_is_refused_before_sealing(clients: Clients) -> None:
    body = {k: v for k, v in BODY.items() if k != "phone_alert"} | {"urgency": "routine"}
    with refused(ErrorCode.FLOOR_NOT_MET, "emergency"):
        clients.hotline().queue(composition(body=body))


def test_the_consent_table_is_checked_before_sealing(clients: Clients) -> None:
    body = json.loads(json.dumps(BODY))
    body["consent"] |= {"basis": "third_party_tip", "state": "given"}
    hotline = clients.hotline()
    with refused(ErrorCode.CONSENT_GATE):
        hotline.queue(composition(body=body))
    assert hotline.outbox.entries() == []


@pytest.mark.parametrize("party", ["defensoria", "linea-piura", "nobody-known"])
def test_only_police_units_are_addressed(clients: Clients, party: str) -> None:
    with refused(ErrorCode.TARGET_NOT_ALLOWED, "not-a-unit"):
        clients.hotline().queue(composition(action=PartyId(party)))


def test_a_unit_that_is_excluded_cannot_be_addressed(clients: Clients) -> None:
    with refused(ErrorCode.TARGET_NOT_ALLOWED, "excluded"):
        clients.hotline().queue(composition(excluded=(PartyId(OFFICER.party),)))


def test_a_unit_without_a_usable_key_is_named_together_with_who_can_be_reached_instead(
    clients: Clients, exchange: SimulatedExchange
) -> None:
    hotline = clients.hotline()
    hotline.sync_keys()
    exchange.now += 45 * pw.DAY
    with refused(ErrorCode.NO_USABLE_KEY, OFFICER.party):
        hotline.queue(composition())


# A lying exchange.


def other_act(exchange: SimulatedExchange) -> dict[str, str]:
    """A true receipt and proof, of another act."""
    digest = next(iter(exchange.answers))
    receipt, _, index = exchange.answers[digest]
    return {"receipt": receipt.decode(), "proof": exchange.proof(index).decode()}


def change_proof(old: bytes, new: bytes) -> Any:
    def lie(status: int, answer: Any) -> tuple[int, Any]:
        return status, answer | {"proof": answer["proof"].encode().replace(old, new, 1).decode()}

    return lie


def drop(member: str) -> Any:
    return lambda status, answer: (status, {k: v for k, v in answer.items() if k != member})


def other_index(status: int, answer: Any) -> tuple[int, Any]:
    lines = answer["proof"].split("\n")
    at = next(i for i, line in enumerate(lines) if line.startswith("index "))
    lines[at] = "index 0"
    return status, answer | {"proof": "\n".join(lines)}


def unsigned(status: int, answer: Any) -> tuple[int, Any]:
    head, _, _ = answer["proof"].partition("\n\n")
    bare = sign_checkpoint(f"{HOST}/v1/log/{AUDIT}", 1, b"r" * 32, key("somebody/log"))
    return status, answer | {"proof": f"{head}\n\n{bare.decode()}"}


LIES = {
    "a receipt without a proof": (drop("proof"), ErrorCode.RECEIPT_MISMATCH),
    "a proof without a receipt": (drop("receipt"), ErrorCode.RECEIPT_MISMATCH),
    "a proof of another origin": (change_proof(f"/{AUDIT}\n".encode(), b"/audit/2025\n"), ErrorCode.WRONG_ORIGIN),
    "a checkpoint signed by nobody we know": (unsigned, ErrorCode.SIGNATURE_INVALID),
    "a proof of another leaf": (change_proof(b"extra ", b"extra e30=\nx"), ErrorCode.MALFORMED),
    "a proof for another index": (other_index, ErrorCode.NOT_INCLUDED),
    "a proof without its leaf": (change_proof(b"extra ", b"index "), ErrorCode.MALFORMED),
}


@pytest.mark.parametrize("name", LIES)
def test_a_false_answer_to_a_submission_is_an_alarm_and_the_entry_waits(
    clients: Clients, exchange: SimulatedExchange, name: str
) -> None:
    lie, code = LIES[name]
    hotline = clients.hotline()
    entry = hotline.queue(composition())
    exchange.lies["/v1/referrals/"] = lie
    with refused(code):
        hotline.flush()
    left = hotline.outbox.get(entry.outgoing.id)
    assert (left.state, left.receipt) == (Progress.SENDING, None)
    assert left.outgoing.draft is not None


def test_the_receipt_of_another_act_is_refused(clients: Clients, exchange: SimulatedExchange) -> None:
    hotline = clients.hotline()
    hotline.queue(composition())
    exchange.lies["/v1/referrals/"] = lambda status, answer: (status, other_act(exchange))
    with refused(ErrorCode.RECEIPT_MISMATCH, "act"):
        hotline.flush()


def test_a_true_receipt_with_the_proof_of_another_act_is_refused(clients: Clients, exchange: SimulatedExchange) -> None:
    hotline = clients.hotline()
    hotline.queue(composition())
    exchange.lies["/v1/referrals/"] = lambda status, answer: (
        status,
        answer | {"proof": other_act(exchange)["proof"]},
    )
    with refused(ErrorCode.NOT_INCLUDED, "leaf"):
        hotline.flush()


def test_a_receipt_by_another_key_is_refused(clients: Clients, exchange: SimulatedExchange) -> None:
    def forge(status: int, answer: Any) -> tuple[int, Any]:
        document = json.loads(answer["receipt"])
        header = json.loads(base64.urlsafe_b64decode(document["signatures"][0]["protected"] + "=="))
        stranger = key("somebody/receipt")
        text = json.dumps(header | {"kid": stranger.kid}, separators=(",", ":"), sort_keys=True).encode()
        protected = base64.urlsafe_b64encode(text).rstrip(b"=").decode()
        signature = stranger.sign(f"{protected}.{document['payload']}".encode())
        signed = base64.urlsafe_b64encode(signature).rstrip(b"=").decode()
        document["signatures"] = [{"protected": protected, "signature": signed}]
        return status, answer | {"receipt": json.dumps(document, separators=(",", ":"))}

    hotline = clients.hotline()
    hotline.queue(composition())
    exchange.lies["/v1/referrals/"] = forge
    with refused(ErrorCode.SIGNATURE_INVALID, "unknown-key"):
        hotline.flush()


def test_an_audit_log_that_forgot_what_it_had_shown_is_an_alarm(clients: Clients, exchange: SimulatedExchange) -> None:
    hotline = clients.hotline()
    assert hotline.submit(composition()).state is Progress.RECEIVED
    exchange.audit[0] = exchange.audit[1]
    hotline.queue(composition())
    with refused(ErrorCode.INCONSISTENT):
        hotline.flush()


def test_a_false_consistency_proof_is_an_alarm(clients: Clients, exchange: SimulatedExchange) -> None:
    hotline = clients.hotline()
    hotline.submit(composition())
    exchange.lies["/consistency"] = lambda status, answer: (status, answer | {"proof": answer["proof"][:-1]})
    hotline.queue(composition())
    with refused(ErrorCode.INCONSISTENT, "length"):
        hotline.flush()


def test_a_forked_keys_log_is_an_alarm_even_with_a_true_signature(
    clients: Clients, exchange: SimulatedExchange
) -> None:
    hotline = clients.hotline()
    hotline.sync_keys()
    kept, exchange.log.leaves = exchange.log.leaves, [*exchange.log.leaves[:-1]]
    with refused(ErrorCode.INCONSISTENT, "shrunk"):
        hotline.sync_keys()
    other = clients.of(keys_of(OPERATOR, "linea"), "fresh")
    other.sync_keys()
    exchange.log.leaves = kept
    assert other.sync_keys() == len(kept)


def test_a_keys_log_of_another_root_is_refused_at_the_first_contact(clients: Clients, tmp_path: Path) -> None:
    honest = clients.hotline()
    liar = SimulatedExchange()
    liar.log.leaves = [pw.genesis(environment="production", registrars_required=2)]
    false = Client(
        honest.directory.path, honest.keys, transport=liar.transport(OPERATOR.party), clock=lambda: float(NOW)
    )
    with refused(ErrorCode.WRONG_ROOT):
        false.sync_keys()
    false.close()


def test_a_keys_log_whose_leaves_are_not_what_was_signed_is_refused(
    clients: Clients, exchange: SimulatedExchange
) -> None:
    def swap(status: int, answer: Any) -> tuple[int, Any]:
        roots = Frontier().extend([leaf_hash(leaf) for leaf in [*exchange.log.leaves[:-1], b"other"]])
        return status, (
            answer[0],
            sign_checkpoint(f"{HOST}/v1/log/keys", roots.size, roots.root(), key("exchange/log")),
        )

    exchange.lies["/keys/checkpoint"] = swap
    hotline = clients.hotline()
    with refused(ErrorCode.TAMPERED, "keys-log"):
        hotline.sync_keys()
    assert hotline.directory.find_pin(f"{HOST}/v1/log/keys") is None


def test_a_keys_log_with_a_leaf_that_does_not_fold_is_not_followed(
    clients: Clients, exchange: SimulatedExchange
) -> None:
    exchange.log.leaves = [
        *exchange.log.leaves,
        STRANGER.sign(Act.STATEMENT, pw.statement_body("pnp-falsa", "hotline", [])),
    ]
    with pytest.raises(ReferralError):
        clients.hotline().sync_keys()


def test_a_key_that_is_on_no_log_is_not_sealed_to(clients: Clients, exchange: SimulatedExchange) -> None:
    hotline = clients.hotline()
    entry = hotline.queue(composition())
    document = json.loads(entry.outgoing.beside or b"")
    known = {one.public.kid for party in hotline.parties() for one in party.enc}
    assert {one["header"]["kid"] for one in document["recipients"]} <= known


@pytest.mark.parametrize("kept", [0, 10, 5000])
def test_a_truncated_bundle_is_refused(clients: Clients, exchange: SimulatedExchange, kept: int) -> None:
    ref = sent(clients)
    exchange.lies["/bundle"] = lambda status, answer: (status, (answer[0], answer[1][:kept]))
    with refused(ErrorCode.BUNDLE_MALFORMED):
        clients.unit().open(ref)


def test_the_bundle_of_another_referral_is_refused(clients: Clients, exchange: SimulatedExchange) -> None:
    one, other = sent(clients), sent(clients)
    false = exchange.sealed[exchange.acts[other][0][0].digest]
    exchange.lies["/bundle"] = lambda status, answer: (status, (answer[0], false))
    with refused(ErrorCode.DIGEST_MISMATCH):
        clients.unit().open(one)


def test_a_state_that_the_acts_do_not_give_is_refused(clients: Clients, exchange: SimulatedExchange) -> None:
    """R-54, R-68."""
    ref = sent(clients)

    def lie(status: int, answer: Any) -> tuple[int, Any]:
        return status, answer | {"deliveries": [one | {"state": "acknowledged"} for one in answer["deliveries"]]}

    exchange.lies[f"/referrals/{ref}"] = lie
    with refused(ErrorCode.TAMPERED, "state"):
        clients.unit().referral(ref)


def test_an_act_left_out_of_a_referral_shows(clients: Clients, exchange: SimulatedExchange) -> None:
    ref = sent(clients)
    unit = clients.unit()
    unit.acknowledge(unit.open(ref))
    exchange.lies[f"/referrals/{ref}"] = lambda status, answer: (status, answer | {"acts": answer["acts"][:-1]})
    with refused(ErrorCode.TAMPERED):
        clients.hotline().referral(ref)
    exchange.lies[f"/referrals/{ref}"] = lambda status, answer: (status, answer | {"acts": []})
    with refused(ErrorCode.TAMPERED):
        clients.hotline().referral(ref)


def test_an_act_with_a_stripped_signature_is_not_shown(clients: Clients, exchange: SimulatedExchange) -> None:
    ref = sent(clients)

    def strip(status: int, answer: Any) -> tuple[int, Any]:
        act = json.loads(answer["acts"][0]["act"])
        act["signatures"] = act["signatures"][:1]
        shown = [answer["acts"][0] | {"act": json.dumps(act, separators=(",", ":"))}, *answer["acts"][1:]]
        return status, answer | {"acts": shown}

    exchange.lies[f"/referrals/{ref}"] = strip
    with refused(ErrorCode.ACT_SIGNATURE_INVALID, "required"):
        clients.hotline().referral(ref)


def test_a_page_of_a_captive_portal_is_no_answer(clients: Clients, exchange: SimulatedExchange) -> None:
    hotline = clients.hotline()
    hotline.sync_keys()
    exchange.lies["/v1/ping"] = lambda status, answer: (200, ("text/html", b"<html>Bienvenido</html>"))
    with refused(ErrorCode.UNAVAILABLE, "media-type"):
        hotline.ping()


def test_a_decision_that_the_lifecycle_forbids_is_refused_before_anything_is_sent(
    clients: Clients, exchange: SimulatedExchange
) -> None:
    ref = sent(clients)
    unit = clients.unit()
    before = len(exchange.audit)
    with refused(ErrorCode.ILLEGAL_TRANSITION, "accept"):
        unit.act(ref, Act.ACCEPT, {})
    assert len(exchange.audit) == before


def test_a_receipt_verifies_offline_years_later(clients: Clients, exchange: SimulatedExchange) -> None:
    hotline = clients.hotline()
    entry = hotline.submit(composition())
    exchange.down = True
    exchange.now += 5 * pw.YEAR
    confirmed = hotline.verify_receipt(entry.outgoing.jws, entry.receipt or b"", entry.proof or b"")
    assert confirmed.receipt.accepted
    with refused(ErrorCode.RECEIPT_MISMATCH):
        hotline.verify_receipt(exchange.log.leaves[-1], entry.receipt or b"", entry.proof or b"")


def test_every_call_carries_a_new_proof_for_this_call(clients: Clients, exchange: SimulatedExchange) -> None:
    clients.hotline().sync_keys()
    claims = [json.loads(base64.urlsafe_b64decode(proof.split(".")[1] + "==")) for proof in exchange.proofs]
    assert len({one["jti"] for one in claims}) == len(claims) > 2
    assert claims[0]["htu"] == f"{pw.ISSUER}/oauth/token"
    assert all("ath" in one for one in claims[1:])
