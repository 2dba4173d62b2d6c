"""Recovery as a drill: a disk is lost, a backup comes back, and what it lacks comes back from a mirror and receipts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from referral_api.auditlog.records import Reconciled
from referral_api.client.outbox import Entry
from referral_api.domain.words import Act
from referral_api.server import app
from referral_api.server.service import reconcile, salvage
from referral_api.server.storage import backup
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


def test_the_drill(sqlite_world: World) -> None:
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
    # Row for row what it was, but for what the restored exchange did itself.
    for name, rows in before.items():
        now = [row for row in Rows(world)[name] if row in rows]
        if name == "delivery":
            assert [row for row in rows if row["ref"] != early] == [row for row in now if row["ref"] != early]
        else:
            assert now == rows, name
    # The sealed texts were lost; who sends the same bytes again gets the first receipt, and they are back.
    assert world.caller("officer").call("GET", f"/v1/referrals/{parcels[0].ref}/bundle").status == 404
    again = parcels[0].send(world)
    assert again is not None
    assert again.status == 200
    assert world.caller("officer").call("GET", f"/v1/referrals/{parcels[0].ref}/bundle").status == 200
    report = world.auditor.audit()
    assert report.complete
    assert [one.imported for one in logged(world) if isinstance(one, Reconciled)] == [outcome.imported[audit_of(world)]]


def audit_of(world: World) -> str:
    return next(row["log"] for row in Rows(world)["log_state"] if row["log"].startswith("audit/"))
