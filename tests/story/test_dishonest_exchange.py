"""A dishonest exchange: whatever it shows falsely, every call of the client fails closed, and says why.

The exchange under it is the real one; between it and the client the answers are exchanged for false ones: replayed from
another moment, from another act, from a fork signed with the exchange's own key, or simply invented.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from referral_api.auditlog.checkpoint import sign_checkpoint
from referral_api.auditlog.merkle import Frontier, leaf_hash
from referral_api.auditlog.tiles import encode_entries
from referral_api.auditlog.verification import Check, Verdict
from referral_api.client.outbox import Progress
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Act
from referral_api.server.storage.keyfiles import load_signers
from tests.auditlog.refusals import refused
from tests.wire import Answer, Lie
from tests.world import UNIT, Founded, World, composition
from tests.world_check import Rows

E = ErrorCode


@pytest.fixture(scope="module")
def served(founded: Founded, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world with history: a referral that was acknowledged and accepted, everybody's pins set."""
    with World(founded, tmp_path_factory.mktemp("dishonest") / "world") as world:
        ref = str(world.submit().outgoing.ref)
        world.acknowledge("officer", ref)
        world.act("officer", ref, Act.ACCEPT)
        world.operator.referral(ref)
        yield world


@pytest.fixture
def world(served: World) -> Iterator[World]:
    """The same for each test: a lie leaves no trace on the exchange, which is honest."""
    yield served
    for wire in served.wires.values():
        wire.lies = {}
    served.check()


def first(world: World) -> str:
    return str(world.operator.outbox.entries()[0].outgoing.ref)


def lie(world: World, who: str, part: str, change: Lie) -> None:
    """From now on `who` is told something else about `part`."""
    world.client(who)
    world.wires[who].lies = {part: change}


def members(**changes: Any) -> Lie:
    """The same answer with some members exchanged."""
    return lambda answer: answer.with_json(answer.json | changes) if answer.status < 300 else answer


def body(raw: bytes) -> Lie:
    """Another body, at the same place."""
    return lambda answer: Answer(answer.status, answer.headers, raw) if answer.status < 300 else answer


def forked(world: World, log: str) -> tuple[bytes, list[bytes]]:
    """A log of the same length with another past, signed by the exchange's own log key."""
    leaves = list(Rows(world).logs[log])
    leaves[2], leaves[3] = leaves[3], leaves[2]
    frontier = Frontier().extend([leaf_hash(leaf) for leaf in leaves])
    key = load_signers(world.settings.keys_dir).log
    return sign_checkpoint(f"{world.settings.issuer_host}/v1/log/{log}", frontier.size, frontier.root(), key), leaves


def shorter(world: World, log: str, by: int = 3) -> bytes:
    """A true checkpoint of the past."""
    leaves = Rows(world).logs[log][:-by]
    frontier = Frontier().extend([leaf_hash(leaf) for leaf in leaves])
    key = load_signers(world.settings.keys_dir).log
    return sign_checkpoint(f"{world.settings.issuer_host}/v1/log/{log}", frontier.size, frontier.root(), key)


def audit_of(world: World) -> str:
    return next(log for log in world.heads if log != "keys")


# The keys log: whose keys are whose.


def test_a_keys_log_that_lost_its_end_is_an_alarm(world: World) -> None:
    """R-94: a rollback hides a revocation."""
    world.operator.sync_keys()
    lie(world, "operator", "/log/keys/checkpoint", body(shorter(world, "keys")))
    refused(E.INCONSISTENT, world.operator.sync_keys)


def test_a_keys_log_with_another_past_is_an_alarm_for_who_saw_the_true_one(world: World) -> None:
    """R-94: signed with the log's true key, so that only memory (or a witness) can tell."""
    note, leaves = forked(world, "keys")
    world.officer.sync_keys()
    world.wires["officer"].lies = {
        "/log/keys/checkpoint": body(note),
        "/log/keys/tile/entries": body(encode_entries(leaves)),
    }
    with pytest.raises(ReferralError) as caught:
        world.officer.sync_keys()
    assert caught.value.code in (E.INCONSISTENT, E.TAMPERED)


def test_a_keys_log_of_another_origin_or_another_signer_is_refused(world: World) -> None:
    leaves = Rows(world).logs["keys"]
    frontier = Frontier().extend([leaf_hash(leaf) for leaf in leaves])
    signers = load_signers(world.settings.keys_dir)
    origin = f"{world.settings.issuer_host}/v1/log/keys"
    elsewhere = sign_checkpoint("other.example/v1/log/keys", frontier.size, frontier.root(), signers.log)
    other_key = sign_checkpoint(origin, frontier.size, frontier.root(), signers.receipt)
    for note, codes in ((elsewhere, {E.WRONG_ORIGIN}), (other_key, {E.SIGNATURE_INVALID, E.WRONG_ORIGIN})):
        lie(world, "operator", "/log/keys/checkpoint", body(note))
        with pytest.raises(ReferralError) as caught:
            world.operator.sync_keys()
        assert caught.value.code in codes


def test_a_forged_leaf_of_the_keys_log_is_never_followed(world: World) -> None:
    """A statement that the exchange invents: appended, hashed and signed for, but by nobody's keyholder."""
    leaves = [*Rows(world).logs["keys"]]
    statements = [leaf for leaf in leaves if b'"payload"' in leaf]
    leaves.append(statements[-1])
    frontier = Frontier().extend([leaf_hash(leaf) for leaf in leaves])
    key = load_signers(world.settings.keys_dir).log
    note = sign_checkpoint(f"{world.settings.issuer_host}/v1/log/keys", frontier.size, frontier.root(), key)
    world.operator.sync_keys()
    world.wires["operator"].lies = {
        "/log/keys/checkpoint": body(note),
        "/log/keys/tile/entries": body(encode_entries(leaves)),
    }
    before = {party.id: party.statement for party in world.operator.parties()}
    with pytest.raises(ReferralError) as caught:
        world.operator.sync_keys()
    assert caught.value.code not in (E.UNREACHABLE, E.UNAVAILABLE, E.INTERNAL)
    world.wires["operator"].lies = {}
    assert {party.id: party.statement for party in world.operator.parties()} == before


# Receipts and proofs: that something was received.


def false_receipts(world: World) -> dict[str, tuple[Lie, set[ErrorCode]]]:
    """What might be answered to a submission instead of its receipt."""
    old = world.operator.outbox.entries()[0]
    assert old.receipt is not None
    assert old.proof is not None
    receipt, proof = old.receipt.decode(), old.proof.decode()

    def no_checkpoint(answer: Answer) -> Answer:
        if answer.status >= 300:
            return answer
        return answer.with_json(answer.json | {"proof": answer.json["proof"].partition("\n\n")[0] + "\n"})

    def other_time(answer: Answer) -> Answer:
        if answer.status >= 300:
            return answer
        document = json.loads(answer.json["receipt"])
        payload = json.loads(base64.urlsafe_b64decode(document["payload"] + "=="))
        text = json.dumps(payload | {"time": 1}, separators=(",", ":"), sort_keys=True).encode()
        document["payload"] = base64.urlsafe_b64encode(text).rstrip(b"=").decode()
        return answer.with_json(answer.json | {"receipt": json.dumps(document, separators=(",", ":"))})

    return {
        "a receipt of another act": (members(receipt=receipt, proof=proof), {E.RECEIPT_MISMATCH}),
        "a receipt of another act, with the proof of this": (members(receipt=receipt), {E.RECEIPT_MISMATCH}),
        "the proof of another act": (members(proof=proof), {E.NOT_INCLUDED}),
        "a proof without its checkpoint": (no_checkpoint, {E.TAMPERED}),
        "a receipt changed after signing": (other_time, {E.SIGNATURE_INVALID}),
        "no proof": (members(proof=None), {E.RECEIPT_MISMATCH}),
        "an act for a receipt": (members(receipt=old.outgoing.jws.decode()), {E.TAMPERED}),
    }


FALSE_RECEIPTS = (
    "a receipt of another act", "a receipt of another act, with the proof of this", "the proof of another act",
    "a proof without its checkpoint", "a receipt changed after signing", "no proof", "an act for a receipt",
)  # fmt: skip


@pytest.mark.parametrize("what", FALSE_RECEIPTS)
def test_a_false_receipt_is_an_alarm_and_the_submission_is_not_received(world: World, what: str) -> None:
    """R-16, R-18: the draft stays, and the true answer still ends it well."""
    falsely, codes = false_receipts(world)[what]
    entry = world.operator.queue(composition())
    lie(world, "operator", f"/v1/referrals/{entry.outgoing.ref}", falsely)
    with pytest.raises(ReferralError) as caught:
        world.operator.flush()
    assert caught.value.code in codes
    left = world.operator.outbox.get(entry.outgoing.id)
    assert (left.state, left.receipt) == (Progress.SENDING, None)
    assert left.outgoing.draft is not None
    world.wires["operator"].lies = {}
    world.clock.ahead_s += 600
    world.operator.flush()
    assert world.operator.outbox.get(entry.outgoing.id).state is Progress.RECEIVED


def test_a_log_that_forked_behind_a_receipt_is_an_alarm(world: World) -> None:
    """R-94: the receipt verifies, its proof verifies, and the tree is not the one that was seen before."""
    proof = world.caller("operator").call("GET", f"/v1/log/{audit_of(world)}/consistency?from=2&to=5").json["proof"]
    lie(world, "operator", "/consistency", members(proof=proof[::-1]))
    world.operator.queue(composition())
    refused(E.INCONSISTENT, world.operator.flush)


# Referrals: who did what, and where it stands.


def view(change: Callable[[dict[str, Any]], object]) -> Lie:
    """A referral's view, changed."""

    def changed(answer: Answer) -> Answer:
        if answer.status >= 300 or b'"deliveries"' not in answer.body:
            return answer
        document = answer.json
        change(document)
        return answer.with_json(document)

    return changed


def _omit(kind: str) -> Callable[[dict[str, Any]], object]:
    def omit(shown: dict[str, Any]) -> None:
        def act_of(one: dict[str, Any]) -> str:
            payload = json.loads(one["act"])["payload"]
            return str(json.loads(base64.urlsafe_b64decode(payload + "=="))["act"])

        shown["acts"] = [one for one in shown["acts"] if act_of(one) != kind]

    return omit


def _swap_receipts(shown: dict[str, Any]) -> None:
    one, other = shown["acts"][-2:]
    one["receipt"], other["receipt"] = other["receipt"], one["receipt"]


def _claim_state(shown: dict[str, Any]) -> None:
    next(one for one in shown["deliveries"] if one["unit"] == UNIT)["state"] = "closed"


def _claim_head(shown: dict[str, Any]) -> None:
    one = next(one for one in shown["deliveries"] if one["unit"] == UNIT)
    one["head"] = "A" * 43


def _forge_signature(shown: dict[str, Any]) -> None:
    act = json.loads(shown["acts"][-1]["act"])
    act["signatures"][0]["signature"] = base64.urlsafe_b64encode(bytes(64)).rstrip(b"=").decode()
    shown["acts"][-1]["act"] = json.dumps(act, separators=(",", ":"))


def _strip_signature(shown: dict[str, Any]) -> None:
    act = json.loads(shown["acts"][-1]["act"])
    del act["signatures"][1]
    shown["acts"][-1]["act"] = json.dumps(act, separators=(",", ":"))


def _no_receipt(shown: dict[str, Any]) -> None:
    shown["acts"][-1]["receipt"] = None


def _another_place(shown: dict[str, Any]) -> None:
    shown["acts"][-1]["index"] += 1


def _hide_delivery(shown: dict[str, Any]) -> None:
    shown["deliveries"] = [one for one in shown["deliveries"] if one["unit"] != UNIT]


VIEWS: dict[str, tuple[Callable[[dict[str, Any]], object], set[ErrorCode]]] = {
    "the acceptance is left out": (_omit("accept"), {E.TAMPERED}),
    "the acknowledgement is left out": (_omit("ack"), {E.TAMPERED}),
    "the submit is left out": (_omit("submit"), {E.TAMPERED}),
    "a delivery is left out": (_hide_delivery, {E.TAMPERED}),
    "another state is claimed": (_claim_state, {E.TAMPERED}),
    "another head is claimed": (_claim_head, {E.TAMPERED}),
    "receipts are exchanged": (_swap_receipts, {E.RECEIPT_MISMATCH}),
    "an act has no receipt": (_no_receipt, {E.RECEIPT_MISMATCH}),
    "an act stands at another place": (_another_place, {E.RECEIPT_MISMATCH}),
    "a signature is forged": (_forge_signature, {E.ACT_SIGNATURE_INVALID}),
    "a signature is stripped": (_strip_signature, {E.ACT_SIGNATURE_INVALID}),
    "another referral is shown": (lambda shown: shown.update(ref="0" * 36), {E.TAMPERED}),
}


@pytest.mark.parametrize(("change", "codes"), VIEWS.values(), ids=VIEWS.keys())
@pytest.mark.parametrize("who", ["operator", "officer"])
def test_a_false_view_of_a_referral_is_never_shown(
    world: World, who: str, change: Callable[[dict[str, Any]], object], codes: set[ErrorCode]
) -> None:
    """R-54, R-68: every act, receipt and state is verified, and the fold must give what is claimed."""
    ref = first(world)
    lie(world, who, f"/v1/referrals/{ref}", view(change))
    client = world.client(who)
    calls: tuple[Callable[[], object], ...] = (
        lambda: client.referral(ref),
        lambda: client.open(ref),
        lambda: client.act(ref, Act.NOTE, {}, unit=UNIT, note="x"),
    )
    for call in calls:
        with pytest.raises(ReferralError) as caught:
            call()
        assert caught.value.code in codes


def test_another_referrals_bundle_is_never_opened_as_this_one(world: World) -> None:
    other = str(world.submit().outgoing.ref)
    swapped = world.caller("officer").call("GET", f"/v1/referrals/{other}/bundle").body
    lie(world, "officer", "/bundle", body(swapped))
    refused(E.DIGEST_MISMATCH, world.officer.open, first(world))
    lie(world, "officer", "/bundle", body(swapped[:-40]))
    refused(E.BUNDLE_MALFORMED, world.officer.open, first(world))


# The audit: the whole of it.


def test_an_audit_of_a_false_log_is_red_and_says_where(world: World) -> None:
    """R-95: whatever is exchanged, the report is not complete and names the check that failed."""
    log = audit_of(world)
    note, leaves = forked(world, log)
    cases: list[tuple[dict[str, Lie], Check]] = [
        ({f"/{log}/checkpoint": body(note)}, Check.LEAVES),
        ({f"/{log}/tile/entries": body(encode_entries(leaves))}, Check.LEAVES),
        ({"/v1/records": members(records=[])}, Check.RECORDS),
    ]
    for lies, check in cases:
        world.client("auditor")
        world.wires["auditor"].lies = lies
        report = world.auditor.audit()
        assert not report.complete
        assert report.verdict(check) in (Verdict.FAILED, Verdict.INCOMPLETE)
    world.wires["auditor"].lies = {}
    assert world.auditor.audit().complete


def test_an_audit_after_a_rollback_is_red(world: World) -> None:
    log = audit_of(world)
    assert world.auditor.audit().complete
    shown = Rows(world).logs[log][:-3]
    world.wires["auditor"].lies = {
        f"/{log}/checkpoint": body(shorter(world, log)),
        f"/{log}/tile/entries": body(encode_entries(shown)),
    }
    report = world.auditor.audit()
    assert not report.complete


# And what is no answer at all.


@pytest.mark.parametrize(
    "falsely",
    [
        lambda answer: Answer(200, {"content-type": "text/html"}, b"<html>Portal</html>"),
        lambda answer: Answer(200, {"content-type": "application/json"}, b"[]"),
        lambda answer: Answer(302, {"location": "http://127.0.0.1:1/"}, b""),
        lambda answer: Answer(200, {"content-type": "application/json"}, b'{"a":1,"a":2}'),
        lambda answer: Answer(500, {"content-type": "text/plain"}, b"x"),
    ],
    ids=["a portal", "a list", "a redirect", "a member twice", "a failure"],
)
def test_an_answer_that_is_none_is_an_error_everywhere(world: World, falsely: Lie) -> None:
    ref = first(world)
    officer, operator = world.officer, world.operator
    calls: tuple[tuple[str, Callable[[], object]], ...] = (
        ("officer", officer.ping),
        ("officer", lambda: list(officer.inbox())),
        ("officer", lambda: officer.referral(ref)),
        ("officer", lambda: officer.open(ref)),
        ("operator", operator.sync_keys),
    )
    for who, call in calls:
        world.wires[who].lies = {"/v1/": falsely}
        with pytest.raises(ReferralError):
            call()
        world.wires[who].lies = {}
    world.auditor.sync_keys()
    world.wires["auditor"].lies = {"/v1/": falsely}
    with pytest.raises(ReferralError):
        world.auditor.audit()
