"""What witnesses have to do with a verification (R-95): a quorum has seen the same history, all but the newest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from referral_api.auditlog.checkpoint import sign_checkpoint
from referral_api.auditlog.coverage import LATE_S
from referral_api.auditlog.merkle import Frontier, leaf_hash
from referral_api.auditlog.note import VerifierKey
from referral_api.auditlog.report import Check, Report
from referral_api.client.audit.sources import COSIGNED, MirrorSource
from referral_api.client.audit.witnesses import AHEAD_S, FRESH_S
from referral_api.client.sdk import Client
from referral_api.domain.errors import ErrorCode
from tests.client.clients import Clients, refused
from tests.client.test_audit import story
from tests.client.world import AUDIT, HOST, THREE, SimulatedExchange, cosign, witnessed
from tests.formats.parties_world import key

ORIGIN = f"{HOST}/v1/log/{AUDIT}"
Lie = Callable[[int, Any], tuple[int, Any]]


@pytest.fixture
def exchange() -> SimulatedExchange:
    return witnessed()


@pytest.fixture
def auditor(clients: Clients) -> Client:
    story(clients)
    return clients.auditor()


def lie_about(exchange: SimulatedExchange, change: Callable[[bytes], bytes]) -> None:
    """Show something else of the audit log whenever cosignatures are asked for."""
    honest = exchange.log_answer

    def answer(path: str, query: Any) -> Any:
        found = honest(path, query)
        if path == f"{AUDIT}/checkpoint" and "cosigned" in query:
            return found[0], change(exchange.checkpoint(AUDIT))
        return found

    exchange.log_answer = answer  # type: ignore[method-assign]


def told(report: Report) -> list[tuple[Check, str, ErrorCode]]:
    return [(one.check, one.log, one.error.code) for one in report.faults]


def test_what_a_quorum_has_cosigned_is_demanded_of_every_log(auditor: Client, exchange: SimulatedExchange) -> None:
    report = auditor.audit()
    assert report.complete, report.faults
    assert report.witnessed == {"keys": len(exchange.log.leaves), AUDIT: len(exchange.audit)}
    assert report.counts[Check.WITNESSES] == 2


@pytest.mark.parametrize("who", [(), THREE[:1], (THREE[0], THREE[0])], ids=["nobody", "one", "one-twice"])
def test_fewer_than_the_quorum_is_incomplete(
    auditor: Client, exchange: SimulatedExchange, who: tuple[VerifierKey, ...]
) -> None:
    lie_about(exchange, lambda raw: cosign(raw, *who))
    report = auditor.audit()
    assert told(report) == [(Check.WITNESSES, AUDIT, ErrorCode.NOT_WITNESSED)]
    assert not report.failed


def test_a_forged_line_of_a_known_witness_is_false(auditor: Client, exchange: SimulatedExchange) -> None:
    lie_about(exchange, lambda raw: cosign(cosign(raw, *THREE[:2]), THREE[2], forged=True))
    report = auditor.audit()
    assert told(report) == [(Check.WITNESSES, AUDIT, ErrorCode.SIGNATURE_INVALID)]
    assert report.failed
    assert "cosigned" in report.faults[0].exhibits


def test_a_forged_line_of_the_newest_checkpoint_is_false_too(auditor: Client, exchange: SimulatedExchange) -> None:
    forged = cosign(exchange.checkpoint(AUDIT), THREE[0], forged=True)
    exchange.lies[f"/{AUDIT}/checkpoint"] = lambda status, answer: (status, (answer[0], forged))
    report = auditor.audit()
    assert (Check.CHECKPOINT, AUDIT, ErrorCode.SIGNATURE_INVALID) in told(report)
    assert report.failed


def test_a_history_of_the_auditors_own_is_not_the_one_that_witnesses_have_seen(
    auditor: Client, exchange: SimulatedExchange
) -> None:
    """A fork: the quorum has cosigned another tree than the one that is shown."""
    other = [leaf_hash(b"other"), *(leaf_hash(leaf) for leaf in exchange.audit[1:-1])]
    forked = sign_checkpoint(ORIGIN, len(other), Frontier().extend(other).root(), key("exchange/log"))
    lie_about(exchange, lambda _raw: cosign(forked, *THREE))
    report = auditor.audit()
    assert (Check.GROWTH, AUDIT, ErrorCode.INCONSISTENT) in told(report)
    assert report.failed
    assert "cosigned" in next(one for one in report.faults if one.check is Check.GROWTH).exhibits


def test_a_history_shorter_than_what_witnesses_have_seen_is_false(auditor: Client, exchange: SimulatedExchange) -> None:
    longer = [*(leaf_hash(leaf) for leaf in exchange.audit), leaf_hash(b"more")]
    grown = sign_checkpoint(ORIGIN, len(longer), Frontier().extend(longer).root(), key("exchange/log"))
    lie_about(exchange, lambda _raw: cosign(grown, *THREE))
    report = auditor.audit()
    assert (Check.WITNESSES, AUDIT, ErrorCode.INCONSISTENT) in told(report)
    assert report.failed


@pytest.mark.parametrize(("later_s", "complete"), [(LATE_S, True), (LATE_S + 1, False)])
def test_what_no_quorum_has_seen_for_an_hour_is_incomplete(
    clients: Clients, auditor: Client, exchange: SimulatedExchange, later_s: int, *, complete: bool
) -> None:
    seen = exchange.checkpoint(AUDIT)
    size = len(exchange.audit)
    story(clients)
    exchange.now += later_s
    story(clients)
    lie_about(exchange, lambda _raw: cosign(seen, *THREE))
    report = auditor.audit()
    assert report.complete is complete, report.faults
    if not complete:
        assert {one.error.facts["reason"] for one in report.faults} == {"late", "stale"}
        (fault,) = (one for one in report.faults if one.error.facts["reason"] == "late")
        assert (fault.check, fault.index, fault.missing) == (Check.WITNESSES, size, True)


@pytest.mark.parametrize("since", [False, True])
def test_an_exchange_that_shows_what_it_was_an_hour_ago_is_incomplete(
    auditor: Client, exchange: SimulatedExchange, tmp_path: Path, *, since: bool
) -> None:
    """Everything that a frozen exchange shows verifies; only the witnesses' times tell."""

    def audit(path: Path | None = None) -> Report:
        return auditor.audit_since(path, trust_first=True) if since else auditor.audit(path)

    auditor.mirror(tmp_path / "mirror")
    exchange.now += FRESH_S
    assert audit().complete
    exchange.now += 1
    report = audit()
    assert {(one.check, one.log, one.missing) for one in report.faults} == {
        (Check.WITNESSES, log, True) for log in ("keys", AUDIT)
    }
    assert {one.error.facts["reason"] for one in report.faults} == {"stale"}
    assert not report.failed
    assert audit(tmp_path / "mirror").complete, "a mirror is as old as it is"
    exchange.now -= FRESH_S + AHEAD_S + 2
    assert {one.error.facts.get("reason") for one in audit().faults} >= {"stale"}, "dated ahead is not fresh"


def test_a_mirror_keeps_what_the_quorum_had_cosigned_and_is_verified_by_it(
    clients: Clients, auditor: Client, exchange: SimulatedExchange, tmp_path: Path
) -> None:
    path = tmp_path / "mirror"
    lie_about(exchange, lambda raw: cosign(raw, *THREE[:2]))
    auditor.mirror(path)
    raw = cosign(exchange.checkpoint(AUDIT), *THREE[:2])
    assert MirrorSource(path).cosigned(AUDIT) == raw
    assert auditor.audit(path).complete
    story(clients)
    lie_about(exchange, lambda raw: cosign(raw, THREE[0]))
    auditor.mirror(path)
    assert auditor.audit(path).complete, "the older one with its quorum stays"
    target = path / AUDIT / COSIGNED
    for at in range(0, len(raw), 7):
        target.write_bytes(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :])
        assert not auditor.audit(path).complete, at
    target.write_bytes(raw)
    assert auditor.audit(path).complete


def test_a_mirror_is_not_made_of_a_history_that_witnesses_have_not_seen(
    auditor: Client, exchange: SimulatedExchange, tmp_path: Path
) -> None:
    other = [leaf_hash(b"other"), *(leaf_hash(leaf) for leaf in exchange.audit[1:-1])]
    forked = sign_checkpoint(ORIGIN, len(other), Frontier().extend(other).root(), key("exchange/log"))
    lie_about(exchange, lambda _raw: cosign(forked, *THREE))
    with refused(ErrorCode.INCONSISTENT):
        auditor.mirror(tmp_path / "mirror")
