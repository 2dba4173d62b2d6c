"""Recovery's last resort as a drill: a disk is lost, the backup is old, nobody has a mirror, and the log's year goes on
in another term (R-92, R-97).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from referral_api.auditlog.records import LogGenesis, LogLost
from referral_api.client.outbox import Progress
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.terms import Term
from referral_api.domain.words import Act
from referral_api.server import app
from referral_api.server.service import new_term, reconcile, salvage
from tests.story.test_closed import logged, ready
from tests.story.test_recovery import audit_of, back_up, lose_disk, run_reconcile
from tests.world import UNIT, World, check_database, composition
from tests.world_check import Rows


def newest_note(world: World, log: str) -> bytes:
    """The newest checkpoint of a log, as whoever keeps one has it."""
    with world.server.runtime.exchange.database.read() as conn:
        exchange = world.server.runtime.exchange
        found = exchange.newest_witnessed(conn, log) or exchange.newest_checkpoint(conn, log)
    assert found is not None
    return found[1]


def run_new_origin(
    world: World, note: bytes, mirror: Path | None = None, on_step: Callable[[str], None] = lambda _: None
) -> reconcile.Outcome:
    """`admin reconcile --new-origin --checkpoint`, on the stopped exchange."""
    runtime = app.open_runtime(world.settings, recovering=True)
    try:
        exchange, signers = runtime.exchange, runtime.log_signers
        found = salvage.Salvager(exchange, signers)
        if mirror is not None:
            found.mirror(mirror)
        found.states()
        vouched = new_term.vouch(exchange, note)
        found.found.promise(vouched.log, vouched.head.size, vouched.head.root)
        missing, short = reconcile.survey(exchange, found.found)
        opening = new_term.Opening(vouched, max([one.signed for one in short], default=0))
        new_term.demand_newest(exchange, opening, [one.log for one in short])
        return reconcile.reconcile(exchange, signers, missing, clock=world.clock, opening=opening, on_step=on_step)
    finally:
        runtime.log_signers.close()
        runtime.exchange.database.close()


def live(world: World) -> str:
    """A referral that was sent, acknowledged, accepted, and asked about."""
    ref = str(world.operator.submit(composition()).outgoing.ref)
    world.officer.acknowledge(world.officer.open(ref))
    world.officer.act(ref, Act.ACCEPT, {})
    world.officer.act(ref, Act.STATUS, {"code": "registered"})
    return ref


def test_a_log_that_lost_leaves_is_followed_and_parties_send_again_what_was_lost(sqlite_world: World) -> None:
    world = sqlite_world
    early = str(world.submit().outgoing.ref)
    world.acknowledge("officer", early)
    assert world.auditor.audit().complete
    folder = back_up(world)
    kept = len(Rows(world).logs[audit_of(world)])
    late = live(world)
    world.officer.act(early, Act.ACCEPT, {})
    log = audit_of(world)
    note = newest_note(world, log)
    signed = int(note.split(b"\n")[1])
    lose_disk(world, folder)
    with pytest.raises(ReferralError) as caught:
        run_reconcile(world, None, [])
    assert (caught.value.facts["reason"], caught.value.facts["missing"]) == ("database-shorter", signed - kept)
    outcome = run_new_origin(world, note)
    assert outcome.closed is None
    assert outcome.opened is not None
    assert (outcome.opened.kept, outcome.opened.lost) == (kept, signed - kept)
    following = Term.of_log(log).following
    assert following is not None
    world.server.start()
    assert ready(world)[0] == 200
    check_database(world)
    # Who has seen what was lost is told, and nothing goes on without a person's word.
    with pytest.raises(ReferralError) as caught:
        world.operator.submit(composition())
    assert (caught.value.code, caught.value.facts["reason"]) == (ErrorCode.INCONSISTENT, "lost")
    assert (caught.value.facts["kept"], caught.value.facts["log"]) == (kept, log)
    (loss,) = world.operator.losses()
    assert [entry.outgoing.ref for entry in loss.own] == [late]
    (queued,) = world.operator.accept_loss(loss.log)
    assert queued.state is Progress.QUEUED
    # The unit's acts wait until what they build on is there again.
    (theirs,) = world.officer.losses()
    assert [entry.outgoing.act for entry in theirs.own] == [Act.ACK, Act.ACCEPT, Act.STATUS, Act.ACCEPT]
    world.officer.accept_loss(theirs.log)
    sent = world.officer.flush()
    assert [entry.state for entry in sent[:3]] == [Progress.QUEUED] * 3
    assert all(entry.receipt is None for entry in sent[:3])
    assert sent[3].state is Progress.RECEIVED
    again = world.operator.flush()
    assert all(entry.state is Progress.RECEIVED for entry in again)
    world.clock.ahead_s += 3600
    assert all(entry.state in (Progress.RECEIVED, Progress.ACKNOWLEDGED) for entry in world.officer.flush())
    shown = world.operator.referral(late)
    assert shown.chronicle.deliveries[UNIT].state == "accepted"
    assert world.operator.referral(early).chronicle.deliveries[UNIT].state == "accepted"
    world.check()
    check_database(world)
    # The old receipts stay as evidence of what was lost.
    for name in ("operator", "officer"):
        for path in (world.client(name).directory.path / "lost").iterdir():
            assert json.loads(path.read_bytes())["receipt"]
    # An auditor learns of it, and is never told that all is well.
    report = world.auditor.audit()
    assert not report.complete
    assert not report.failed
    assert report.stands
    ((lost, witnesses),) = report.lost
    assert (lost.kept, lost.signed, witnesses) == (kept, signed, ())
    mirror = world.folder / "mirror"
    world.auditor.mirror(mirror)
    again_report = world.auditor.audit(mirror)
    assert again_report.stands
    assert not again_report.complete
    assert [type(one) for one in logged(world) if isinstance(one, LogGenesis | LogLost)][-2:] == [LogGenesis, LogLost]
