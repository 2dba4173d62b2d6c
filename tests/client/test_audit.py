"""An auditor's client: verification over HTTP and from a mirror, and what turns it red (R-95)."""

from __future__ import annotations

from pathlib import Path

from referral_api.auditlog.leaf import LeafKind, encode_leaf, leaf_of
from referral_api.auditlog.merkle import Frontier, leaf_hash
from referral_api.auditlog.verification import Check, Verdict
from referral_api.client.profile import Pin
from referral_api.domain.words import Act, State
from referral_api.formats.act import build_act
from tests.client.clients import Clients, sent
from tests.client.world import AUDIT, HOST, OFFICER, SimulatedExchange
from tests.formats import parties_world as pw
from tests.formats.parties_world import NOW


def story(clients: Clients) -> str:
    ref = sent(clients)
    unit = clients.unit()
    unit.acknowledge(unit.open(ref))
    unit.act(ref, Act.ACCEPT, {})
    return ref


def test_a_whole_story_verifies_from_the_exchange_and_from_a_mirror(clients: Clients, tmp_path: Path) -> None:
    ref = story(clients)
    auditor = clients.auditor()
    report = auditor.audit()
    assert report.faults == []
    assert report.complete
    assert {check: report.verdict(check) for check in Check} == dict.fromkeys(Check, Verdict.OK)
    assert report.chronicles[ref].deliveries[OFFICER.party].state is State.ACCEPTED
    auditor.mirror(tmp_path / "mirror")
    assert auditor.audit(tmp_path / "mirror").complete
    assert auditor.directory.find_pin(f"{HOST}/v1/log/{AUDIT}") == Pin(
        len(clients.exchange.audit), Frontier().extend([leaf_hash(leaf) for leaf in clients.exchange.audit]).root()
    )


def test_one_changed_byte_of_a_record_is_named_by_its_index(clients: Clients, exchange: SimulatedExchange) -> None:
    story(clients)
    auditor = clients.auditor()
    record, receipt = exchange.records[-1]
    exchange.records[-1] = (record.replace(b'"signature":"', b'"signature":"A', 1), receipt)
    report = auditor.audit()
    assert not report.complete
    assert [(one.check, one.index) for one in report.faults] == [(Check.RECORDS, len(exchange.records) - 1)]
    assert report.verdict(Check.RECORDS) is Verdict.FAILED
    assert auditor.directory.find_pin(f"{HOST}/v1/log/{AUDIT}") is None


def test_a_missing_record_is_incomplete_and_never_verified(clients: Clients, exchange: SimulatedExchange) -> None:
    story(clients)
    exchange.lies["/v1/records/"] = lambda status, answer: (status, {"records": answer["records"][1:]})
    report = clients.auditor().audit()
    assert report.verdict(Check.RECORDS) is Verdict.INCOMPLETE
    assert not report.complete


def test_a_rewritten_log_fails_against_the_pinned_head(clients: Clients, exchange: SimulatedExchange) -> None:
    story(clients)
    auditor = clients.auditor()
    assert auditor.audit().complete
    exchange.audit, exchange.records = exchange.audit[:-1], exchange.records[:-1]
    report = auditor.audit()
    assert report.verdict(Check.GROWTH) is Verdict.FAILED


def test_an_act_that_the_lifecycle_forbids_is_found_in_the_log(clients: Clients, exchange: SimulatedExchange) -> None:
    ref = story(clients)
    chronicle = exchange.chronicles.pop(ref)
    forbidden = _accept_again(clients, ref)
    exchange.chronicles[ref] = chronicle
    exchange.append(forbidden, None, encode_leaf(leaf_of(forbidden, LeafKind.ACT, exchange.now)))
    report = clients.auditor().audit()
    assert report.verdict(Check.STATES) is Verdict.FAILED
    assert report.verdict(Check.RECEIPTS) is Verdict.INCOMPLETE


def _accept_again(clients: Clients, ref: str) -> bytes:
    submit = clients.exchange.acts[ref][0][0]
    return build_act(
        act_id="11111111-1111-4111-8111-111111111111", iss=OFFICER.id, aud=pw.ISSUER, iat=NOW, act=Act.ACCEPT, ref=ref,
        unit=OFFICER.party, prev=submit.digest, body={}, signers=OFFICER.seals,
    )  # fmt: skip
