"""A closed exchange: nothing is written, ciphertext is still served, and every read is logged first when it opens."""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from referral_api.auditlog.checkpoint import parse_checkpoint
from referral_api.auditlog.note import parse_note
from referral_api.auditlog.records import AuditSession, PackRead, Retrieved, ServerRecord, parse_record
from referral_api.client.outbox import Entry, Progress
from referral_api.domain.words import Act
from referral_api.formats.strict_json import sha256_b64u
from referral_api.server import app
from referral_api.server.service.opening import log_spools
from referral_api.server.storage import logbook
from referral_api.server.storage.spool import SUFFIX
from tests.faults.submissions import parcel
from tests.world import UNIT, World, composition
from tests.world_check import Rows


@contextmanager
def closed(world: World) -> Iterator[None]:
    """The exchange as it starts while the disk with its signer's states is away."""
    here, away = world.settings.signer_dir, world.folder / "signer-away"
    world.server.stop()
    here.rename(away)
    here.mkdir()
    world.server.start()
    try:
        yield
    finally:
        world.server.stop()
        here.rmdir()
        away.rename(here)
        world.server.start()


def ref_of(entry: Entry) -> str:
    assert entry.outgoing.ref is not None
    return entry.outgoing.ref


def ready(world: World) -> tuple[int, dict[str, Any]]:
    answer = httpx2.get(f"{world.server.url}/readyz")
    return answer.status_code, answer.json()


def logged(world: World) -> list[ServerRecord]:
    """Every record of the exchange's own, in log order."""
    rows = sorted(Rows(world)["record"], key=lambda row: int(row["pos"]))
    return [parse_record(row["body"].encode()) for row in rows]


def spools(world: World) -> list[str]:
    return sorted(path.name for path in world.settings.data_dir.glob(f"*{SUFFIX}"))


def test_a_closed_exchange_serves_ciphertext_and_logs_its_reads_first_when_it_opens(world: World) -> None:
    ref = ref_of(world.submit())
    before = len(logged(world))
    with closed(world):
        assert ready(world)[0] == 503
        assert ready(world)[1]["closed"] == "signer-state-missing"
        assert ready(world)[1]["checks"]["writes"] is False
        assert [line.ref for line in world.officer.inbox()] == [ref]
        assert world.officer.open(ref).body is not None
        refused = parcel(world).send(world)
        assert refused is not None
        assert (refused.status, refused.code, refused.json["reason"]) == (503, "writes-closed", "signer-state-missing")
        waits = world.operator.submit(composition())
        assert waits.state is not Progress.RECEIVED
        # What was read is on disk, and nowhere else.
        assert len(logged(world)) == before
        assert len(spools(world)) == 1
    assert ready(world)[0] == 200
    assert spools(world) == []
    found = logged(world)[before:]
    kinds = [record.kind for record in found]
    assert kinds[0] == "writes_closed"
    assert kinds.count("retrieved") == 1
    assert kinds.count("viewed") >= 1
    assert found == sorted(found, key=lambda record: record.t)
    world.check()
    # The delivery moved as if it had been fetched with writes open, and the hotline is told.
    seen = world.operator.referral(ref)
    assert [one.state.value for one in seen.chronicle.deliveries.values()] == ["retrieved", "held"]
    assert [line.kind for line in world.operator.inbox() if line.ref == ref] == ["submit", "retrieved"]
    flushed = [one for one in world.operator.flush(impatient=True) if ref_of(one) == ref_of(waits)]
    assert [one.state for one in flushed] == [Progress.RECEIVED]
    world.check()


def test_a_receipt_and_a_repeated_act_are_answered_while_closed(world: World) -> None:
    one = parcel(world)
    first = one.send(world)
    assert first is not None
    world.submit()  # With it the database keeps the checkpoint over the act before it.
    with closed(world):
        again = one.send(world)
        assert again is not None
        assert (again.status, again.json["receipt"]) == (200, first.json["receipt"])
        digest = next(row["digest"] for row in Rows(world)["act"] if row["id"] == one.act_id)
        answer = world.caller("operator").call("GET", f"/v1/receipts/{digest}")
        assert (answer.status, answer.json["receipt"]) == (200, first.json["receipt"])
    assert "proof_read" in [record.kind for record in logged(world)]


def test_a_checkpoint_whose_state_is_not_on_disk_leaves_by_no_door(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R-93: not with the receipt, not to who sends the same again, and not as the log's checkpoint."""
    world.submit()
    one, real = parcel(world), os.fdatasync
    for name in ("auditor", one.by):
        assert world.caller(name).call("GET", "/v1/ping").status == 200

    def failing(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").readlink().suffix == ".signer":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(descriptor)

    monkeypatch.setattr(os, "fdatasync", failing)
    assert [(answer.status, answer.code) for _ in range(3) if (answer := one.send(world))] == [
        (503, "checkpoint-pending"),
        (503, "writes-closed"),
        (503, "writes-closed"),
    ]
    assert ready(world)[1]["closed"] == "signer-state-unwritable"
    row = next(row for row in Rows(world)["act"] if row["id"] == one.act_id)
    term, index = logbook.term_index(int(row["pos"]))
    shown = world.caller("auditor").call("GET", f"/v1/log/{term.log}/checkpoint")
    assert parse_checkpoint(parse_note(shown.body).text).size <= index
    assert world.caller("auditor").call("GET", f"/v1/receipts/{row['digest']}").code == "checkpoint-pending"
    monkeypatch.undo()
    world.restart()
    answer = one.send(world)
    assert answer is not None
    assert (answer.status, answer.json["receipt"]) == (200, row["receipt"])
    world.check()


def test_packs_and_the_log_itself_are_read_while_closed_and_recorded(world: World) -> None:
    """R-97, R-89, R-98."""
    ref = ref_of(world.submit())
    world.submit()  # With it the database keeps the checkpoint over the act before it.
    entries = f"/v1/log/audit/{time.gmtime(world.clock()).tm_year}/tile/entries/000.p/2"
    with closed(world):
        packs = [world.caller(who).call("GET", f"/v1/evidence/{ref}") for who in ("operator", "auditor")]
        assert [(pack.status, pack.body[:2]) for pack in packs] == [(200, b"PK")] * 2
        assert world.caller("stranger").call("GET", f"/v1/evidence/{ref}").status == 404
        assert [world.caller("auditor").call("GET", entries).status for _ in range(2)] == [200] * 2
        assert {"pack_read", "audit_session"}.isdisjoint(record.kind for record in logged(world))
    found = logged(world)
    assert [one.digest for one in found if isinstance(one, PackRead)] == [sha256_b64u(pack.body) for pack in packs]
    assert [one.old_size for one in found if isinstance(one, AuditSession)] == [0]
    world.check()


def test_a_closed_exchange_asks_who_calls_and_tells_a_stranger_nothing(world: World) -> None:
    ref = ref_of(world.submit())
    with closed(world):
        assert world.caller("stranger").call("GET", f"/v1/referrals/{ref}/bundle").status == 404
        assert httpx2.get(f"{world.server.url}/v1/referrals/{ref}/bundle").status_code == 401
        replayed = world.caller("officer")
        url = f"{world.server.url}/v1/referrals/{ref}/bundle"
        headers = replayed.credentials("GET", f"/v1/referrals/{ref}/bundle")
        answer = httpx2.get(url, headers=headers)
        if (nonce := answer.headers.get("dpop-nonce")) is not None:
            # Where proofs are remembered by the process alone, one of before its start is asked for anew.
            headers = replayed.credentials("GET", f"/v1/referrals/{ref}/bundle", nonce=nonce)
            answer = httpx2.get(url, headers=headers)
        assert answer.status_code == 200
        assert httpx2.get(url, headers=headers).status_code == 401
    assert [record.kind for record in logged(world)].count("retrieved") == 1


def test_no_byte_is_handed_out_where_the_spool_cannot_be_written(sqlite_world: World) -> None:
    world = sqlite_world
    ref = ref_of(world.submit())
    with closed(world):
        spool = world.server.runtime.spool
        assert spool._descriptor is not None
        # The descriptor is read-only from now on, as on a disk that failed.
        readonly = os.open(world.settings.data_dir / spools(world)[0], os.O_RDONLY)
        os.dup2(readonly, spool._descriptor)
        os.close(readonly)
        answer = world.caller("officer").call("GET", f"/v1/referrals/{ref}/bundle")
        assert (answer.status, answer.json["reason"]) == (503, "spool-unwritable")
    assert "retrieved" not in [record.kind for record in logged(world)]


def test_what_was_withdrawn_before_the_log_opened_is_read_all_the_same_but_moves_no_delivery(
    sqlite_world: World,
) -> None:
    world = sqlite_world
    ref = ref_of(world.submit())
    with closed(world):
        world.officer.open(ref)
        # This spool comes in later: the log meanwhile goes on without it, as after a recovery.
        world.server.stop()
        kept = world.settings.data_dir / spools(world)[0]
        kept.rename(world.folder / kept.name)
        world.server.start()
    world.operator.act(ref, Act.WITHDRAW, {"reason": "duplicate"})
    (world.folder / kept.name).rename(kept)
    world.restart()
    read = [record for record in logged(world) if isinstance(record, Retrieved)]
    assert [(record.party, record.unit) for record in read] == [(UNIT, None)]
    world.check()


@pytest.mark.parametrize("step", ["begin", "before-commit", "after-commit", "after-sign"])
def test_a_kill_while_the_spool_is_logged_logs_it_once(sqlite_world: World, step: str) -> None:
    world = sqlite_world
    ref = ref_of(world.submit())
    with closed(world):
        world.officer.open(ref)
        world.server.stop()
        (world.settings.signer_dir).rmdir()
        (world.folder / "signer-away").rename(world.settings.signer_dir)
        assert _start_and_die(world, step) == -signal.SIGKILL
        world.settings.signer_dir.rename(world.folder / "signer-away")
        world.settings.signer_dir.mkdir()
        world.server.start()
    kinds = [record.kind for record in logged(world)]
    assert kinds.count("retrieved") == 1
    # The second closing, after the kill, is on the log too.
    assert kinds.count("writes_closed") == 2
    assert spools(world) == []
    world.check()


def _start_and_die(world: World, step: str) -> int:
    """A life of the exchange that opens and is killed at a step of its first batch; how it ended."""
    child = os.fork()
    if child == 0:
        try:
            runtime = app.open_runtime(
                world.settings,
                on_step=lambda name: os.kill(os.getpid(), signal.SIGKILL) if name == step else None,
            )
            log_spools(_started(runtime), world.settings.data_dir)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _started(runtime: app.Runtime) -> Any:
    runtime.writer.start()
    return runtime.writer
