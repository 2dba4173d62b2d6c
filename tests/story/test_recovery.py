"""Recovery as a drill: a disk is lost, a backup comes back, and what it lacks comes back from a mirror and receipts."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from referral_api.auditlog.records import Reconciled, SignerAdopted
from referral_api.client.outbox import Entry
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Act
from referral_api.formats.act import parse_act
from referral_api.server import app
from referral_api.server.service import adoption, reconcile, salvage
from referral_api.server.storage import backup, logbook
from tests.cli.shell import Shell
from tests.faults.submissions import Parcel, parcel
from tests.story.test_closed import logged, ready, ref_of, spools
from tests.world import World, composition
from tests.world_check import Rows


def receipt_file(entry: Entry, path: Path) -> Path:
    """What `referral receipt show -o` writes."""
    assert entry.receipt is not None
    assert entry.proof is not None
    document = {
        "v": 1,
        "act": entry.outgoing.jws.decode(),
        "receipt": entry.receipt.decode(),
        "proof": entry.proof.decode(),
    }
    path.write_text(json.dumps(document))
    return path


def back_up(world: World) -> Path:
    """`admin backup` of the running exchange."""
    folder = world.folder / "backup"
    backup.back_up(world.settings.database, folder, {}, {"issuer": world.settings.issuer})
    return folder


def lose_disk(world: World, folder: Path) -> None:
    """The database's disk is lost and its backup restored; the signer's states lie on another one."""
    world.server.stop()
    for path in world.settings.data_dir.glob("exchange.sqlite*"):
        path.unlink()
    backup.restore(folder, world.settings.database, backup.read_manifest(folder))


def run_reconcile(
    world: World, mirror: Path | None, receipts: list[Path], on_step: Callable[[str], None] = lambda _: None
) -> reconcile.Outcome:
    """`admin reconcile`, on the stopped exchange."""
    runtime = app.open_runtime(world.settings, recovering=True)
    try:
        found = salvage.Salvager(runtime.exchange, runtime.log_signers)
        if mirror is not None:
            found.mirror(mirror)
        for path in receipts:
            found.receipt(path.read_bytes())
        found.states()
        missing = reconcile.plan(runtime.exchange, found.found)
        return reconcile.reconcile(runtime.exchange, runtime.log_signers, missing, clock=world.clock, on_step=on_step)
    finally:
        runtime.log_signers.close()
        runtime.exchange.database.close()


def live_on(world: World) -> tuple[list[Parcel], list[Path], Path]:
    """After the backup: whole lives of referrals, a mirror of them, and a submission that only its sender knows of."""
    first = parcel(world, excluded=())
    answer = first.send(world)
    assert answer is not None
    assert answer.status == 201
    opened = world.officer.open(first.ref)
    world.officer.acknowledge(opened)
    world.officer.act(first.ref, Act.ACCEPT, {})
    world.officer.act(first.ref, Act.ASK, {"topics": ["timing"]}, note="¿Desde cuándo?")
    mirror = world.folder / "mirror"
    world.auditor.mirror(mirror)
    last = world.operator.submit(composition())
    return [first], [receipt_file(last, world.folder / "last.json")], mirror


def test_a_lost_disk_is_brought_back_by_backup_mirror_and_receipts(sqlite_world: World) -> None:
    world = sqlite_world
    early = ref_of(world.submit())
    folder = back_up(world)
    parcels, receipts, mirror = live_on(world)
    before = {name: Rows(world)[name] for name in ("act", "delivery", "referral", "feed", "record", "log_entry")}
    lose_disk(world, folder)
    # Closed, because the signer has promised more; the officer still gets what the backup holds.
    world.server.start()
    assert ready(world)[1]["closed"] == "database-shorter"
    assert world.officer.next_page().entries
    assert world.caller("officer").call("GET", f"/v1/referrals/{early}/bundle").status == 200
    assert parcels[0].send(world).status == 503  # type: ignore[union-attr]
    world.server.stop()
    outcome = run_reconcile(world, mirror, receipts)
    assert outcome.closed is None
    assert len(outcome.lost) >= 2
    world.server.start()
    assert ready(world)[0] == 200
    assert spools(world) == []
    kinds = [record.kind for record in logged(world)]
    assert "reconciled" in kinds
    assert kinds[-2:] == ["writes_closed", "retrieved"]
    check_rows(world, before, early)
    # The sealed texts were lost; who sends the same bytes again gets the first receipt, and they are back.
    assert world.caller("officer").call("GET", f"/v1/referrals/{parcels[0].ref}/bundle").status == 404
    again = parcels[0].send(world)
    assert again is not None
    assert again.status == 200
    assert world.caller("officer").call("GET", f"/v1/referrals/{parcels[0].ref}/bundle").status == 200
    sent = json.loads(receipts[0].read_text())
    ref = str(parse_act(sent["act"].encode()).ref)
    assert world.caller("officer").call("GET", f"/v1/referrals/{ref}/bundle").status == 404
    resent = Shell(world.folder, world.server.url).run("operator", "outbox", "resend", ref)
    assert (resent.exit, ref in resent.out) == (0, True)
    assert world.officer.open(ref).body.urgency
    for entry in world.officer.resend(str(parcels[0].ref)):
        assert entry.receipt is not None, "the unit's own notes were lost as well"
    with pytest.raises(ReferralError) as caught:
        world.operator.resend("0" * 36)
    assert caught.value.code is ErrorCode.NOT_FOUND
    report = world.auditor.audit()
    assert report.complete
    assert [one.imported for one in logged(world) if isinstance(one, Reconciled)] == [outcome.imported[audit_of(world)]]


def check_rows(world: World, before: dict[str, list[dict[str, Any]]], early: str) -> None:
    """Row for row what it was, but for the delivery that the closed exchange served."""
    for name, rows in before.items():
        now = Rows(world)[name]
        for row in rows:
            assert row in now or (name == "delivery" and row["ref"] == early), name


def audit_of(world: World) -> str:
    return next(str(row["log"]) for row in Rows(world)["log_state"] if row["log"].startswith("audit/"))


def test_what_cannot_be_had_is_refused_and_nothing_is_written(sqlite_world: World) -> None:
    world = sqlite_world
    world.submit()
    folder = back_up(world)
    _, receipts, mirror = live_on(world)
    kept = world.folder / "kept"
    world.server.stop()
    shutil.copytree(world.settings.data_dir, kept)
    world.server.start()
    lose_disk(world, folder)
    size = len(Rows(world)["log_entry"])

    def refused(mirror: Path | None, receipts: list[Path]) -> dict[str, Any]:
        with pytest.raises(ReferralError) as caught:
            run_reconcile(world, mirror, receipts)
        assert len(Rows(world)["log_entry"]) == size
        return {"code": caught.value.code, **caught.value.facts}

    without_last = refused(mirror, [])
    assert (without_last["reason"], without_last["missing"]) == ("database-shorter", 1)
    assert refused(None, receipts)["reason"] == "database-shorter"
    # A changed leaf fits no record and hashes to no signed root, a changed record fits no leaf.
    for name, mark in (("tile/entries", b'{"d":"'), ("records", b"salt")):
        path = next(one for one in (mirror / audit_of(world) / name).rglob("*") if one.is_file())
        whole = path.read_bytes()
        at = whole.rindex(mark) + 12
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert refused(mirror, receipts)["code"] in (ErrorCode.TAMPERED, ErrorCode.MALFORMED)
        path.write_bytes(whole)
    # One that has only another time fits its record still: the signed root alone tells.
    path = next(one for one in (mirror / audit_of(world) / "tile/entries").rglob("*") if one.is_file())
    whole = path.read_bytes()
    at = whole.rindex(b'"t":') + 13
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    assert refused(mirror, receipts)["reason"] == "database-differs"
    path.write_bytes(whole)
    keys = next(one for one in (mirror / "keys/tile/entries").rglob("*") if one.is_file())
    keys.write_bytes(keys.read_bytes()[:-1] + b"?")
    assert run_reconcile(world, mirror, receipts).closed is None
    world.server.start()


@pytest.mark.parametrize("step", ["begin", "before-append", "before-commit", "after-commit", "signed"])
def test_a_kill_during_reconciliation_leaves_all_of_it_or_nothing(sqlite_world: World, step: str) -> None:
    world = sqlite_world
    folder = back_up(world)
    _, receipts, mirror = live_on(world)
    lose_disk(world, folder)
    assert die(lambda on_step: run_reconcile(world, mirror, receipts, on_step), step) == -signal.SIGKILL
    assert run_reconcile(world, mirror, receipts).closed is None
    assert run_reconcile(world, mirror, receipts).imported == {}
    assert [record.kind for record in logged(world)].count("reconciled") == 1
    world.server.start()


def die(work: Callable[[Callable[[str], None]], object], step: str) -> int:
    """Do this in a process of its own, which is killed at a step; how it ended."""
    child = os.fork()
    if child == 0:
        try:
            work(lambda name: os.kill(os.getpid(), signal.SIGKILL) if name == step else None)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def run_adopt(world: World, states: list[Path], on_step: Callable[[str], None] = lambda _: None) -> None:
    """`admin signer adopt --state …`, on the stopped exchange."""
    runtime = app.open_runtime(world.settings, recovering=True)
    try:
        exchange, signers = runtime.exchange, runtime.log_signers
        with exchange.database.read() as conn:
            logs = logbook.names(conn)
        given = [adoption.authority_of_state(path.read_bytes(), signers, logs) for path in states]
        adoption.adopt(exchange, signers, given, clock=world.clock, on_step=on_step)
    finally:
        runtime.log_signers.close()
        runtime.exchange.database.close()


@pytest.mark.parametrize("step", ["", "prepared", "begin", "before-commit", "after-commit", "installed", "after-sign"])
def test_an_adopted_signer_signs_and_the_one_left_behind_does_not(world: World, step: str) -> None:
    world.submit()
    world.server.stop()
    old = world.folder / "old-host"
    world.settings.signer_dir.rename(old)
    world.settings.signer_dir.mkdir()
    states = sorted(old.glob("*.signer"))
    if step:
        assert die(lambda on_step: run_adopt(world, states, on_step), step) == -signal.SIGKILL
    if step == "after-sign":
        # It was done: what the old state knows is less than the new one has signed.
        with pytest.raises(ReferralError) as caught:
            run_adopt(world, states)
        assert caught.value.facts["reason"] == "signer-state-rolled-back"
    else:
        run_adopt(world, states)
    world.server.start()
    world.submit()
    records = [record for record in logged(world) if isinstance(record, SignerAdopted)]
    assert {record.authority for record in records} == {"state"}
    assert len(records) in (2, 4)
    world.check()
    # The old host comes back, with its states and the same database: it starts at all for nobody.
    world.server.stop()
    new = world.folder / "new-host"
    world.settings.signer_dir.rename(new)
    shutil.copytree(old, world.settings.signer_dir)
    with pytest.raises(ReferralError) as caught:
        app.open_runtime(world.settings)
    assert (caught.value.code, caught.value.facts["reason"]) == (ErrorCode.WRITES_CLOSED, "signer-fenced")
    shutil.rmtree(world.settings.signer_dir)
    new.rename(world.settings.signer_dir)
    world.server.start()


def test_a_signer_is_adopted_only_over_what_was_signed(sqlite_world: World) -> None:
    world = sqlite_world
    folder = back_up(world)
    world.submit()
    lose_disk(world, folder)
    states = sorted(world.settings.signer_dir.glob("*.signer"))
    with pytest.raises(ReferralError) as caught:
        run_adopt(world, states)
    assert caught.value.facts["reason"] == "database-shorter"
    runtime = app.open_runtime(world.settings, recovering=True)
    note = runtime.log_signers("keys").newest()
    assert note is not None
    with pytest.raises(ReferralError) as caught:
        # Without witnesses nobody but the state can vouch.
        adoption.authority_of_checkpoint(note.note, runtime.exchange, ["keys"])
    assert caught.value.code is ErrorCode.NOT_WITNESSED
    # What was promised must be there, and be the same.
    other = adoption.Authority("keys", 2, bytes(32), 1, "state")
    with pytest.raises(ReferralError) as caught:
        adoption.adopt(runtime.exchange, runtime.log_signers, [other], clock=world.clock)
    assert caught.value.facts["reason"] == "database-differs"
    runtime.log_signers.close()
    runtime.exchange.database.close()
    # The submission that the backup lacks is its sender's alone to bring back.
    entry = next(one for one in world.operator.outbox.entries() if one.receipt is not None)
    assert run_reconcile(world, None, [receipt_file(entry, world.folder / "one.json")]).closed is None
    world.server.start()
