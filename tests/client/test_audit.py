"""An auditor's client: verification over HTTP and from a mirror, and what turns it red (R-95)."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from referral_api.auditlog.checkpoint import sign_checkpoint
from referral_api.auditlog.leaf import LeafKind, encode_leaf, leaf_of
from referral_api.auditlog.merkle import Frontier, leaf_hash
from referral_api.auditlog.verification import Check, Verdict
from referral_api.client.profile import Pin
from referral_api.domain.errors import ErrorCode
from referral_api.domain.words import Act, State
from referral_api.formats.act import build_act
from tests.client.clients import Clients, refused, sent
from tests.client.world import AUDIT, HOST, OFFICER, SimulatedExchange
from tests.formats import parties_world as pw
from tests.formats.parties_world import NOW, key


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
    verdicts = {check: report.verdict(check) for check in Check}
    assert verdicts == dict.fromkeys(Check, Verdict.OK) | {Check.WITNESSES: Verdict.NOT_REACHED}, "it names none"
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


def test_a_year_that_the_exchange_does_not_serve_is_incomplete(clients: Clients, exchange: SimulatedExchange) -> None:
    """R-95: our own reading begins this year's log, so it can be absent only where it is kept from us."""
    story(clients)
    auditor = clients.auditor()
    auditor.sync_keys()
    exchange.now += 60 * pw.DAY
    exchange.refusals["/v1/log/audit/2027/"] = (404, {"code": "not-found", "retry": "never"})
    report = auditor.audit()
    assert report.verdict(Check.CHECKPOINT) is Verdict.INCOMPLETE
    assert not report.complete
    assert exchange.calls.index("GET /v1/records/2026") < exchange.calls.index("GET /v1/log/audit/2027/checkpoint")


def test_a_mirror_is_verified_without_a_connection_for_the_years_that_it_must_hold(
    clients: Clients, exchange: SimulatedExchange, tmp_path: Path
) -> None:
    story(clients)
    auditor = clients.auditor()
    auditor.mirror(tmp_path)
    exchange.down = True
    exchange.now += 60 * pw.DAY
    assert auditor.audit(tmp_path).complete
    auditor.directory.advance_pin(f"{HOST}/v1/log/audit/2027", Pin(3, b"r" * 32), seen=None)
    report = auditor.audit(tmp_path)
    assert report.verdict(Check.CHECKPOINT) is Verdict.INCOMPLETE


@pytest.mark.parametrize("log", ["keys", AUDIT])
def test_a_mirror_copies_only_what_the_logs_key_has_signed(
    clients: Clients, exchange: SimulatedExchange, tmp_path: Path, log: str
) -> None:
    """A size that nobody has signed could be any, and the list of its tiles longer than memory."""
    story(clients)
    auditor = clients.auditor()
    auditor.sync_keys()
    claimed = sign_checkpoint(f"{HOST}/v1/log/{log}", 2**62, b"r" * 32, key("somebody/log"))
    exchange.lies[f"/{log}/checkpoint"] = lambda status, answer: (status, (answer[0], claimed))
    with refused(ErrorCode.SIGNATURE_INVALID):
        auditor.mirror(tmp_path / "mirror")


def a_huge_file(target: Path) -> None:
    with target.open("wb") as handle:
        handle.truncate(1 << 40)


NO_FILES: dict[str, Callable[[Path], object]] = {
    "a pipe": os.mkfifo,
    "a device": lambda target: target.symlink_to("/dev/zero"),
    "a folder": Path.mkdir,
    "itself": lambda target: target.symlink_to(target),
    "a huge file": a_huge_file,
}


def test_a_mirror_that_is_no_mirror_ends_and_is_never_verified(clients: Clients, tmp_path: Path) -> None:
    """A mirror comes from somebody else: what lies in a file's place is read neither for ever nor without an end."""
    story(clients)
    auditor, path = clients.auditor(), tmp_path / "mirror"
    auditor.mirror(path)
    edge = len(clients.exchange.audit)
    for name in ("checkpoint", f"tile/0/000.p/{edge}", f"tile/entries/000.p/{edge}", "records/000"):
        target = path / AUDIT / name
        whole = target.read_bytes()
        for what, put in NO_FILES.items():
            target.unlink()
            put(target)
            report = auditor.audit(path)
            assert {ErrorCode.NOT_FOUND, ErrorCode.TOO_LARGE} & {one.error.code for one in report.faults}, (name, what)
            assert not report.complete
            target.rmdir() if target.is_dir() else target.unlink()
            target.write_bytes(whole)
    assert auditor.audit(path).complete
