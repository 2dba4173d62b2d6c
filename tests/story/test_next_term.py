"""Recovery's last resort as a drill: a disk is lost, the backup is old, nobody has a mirror, and the log's year goes on
in another term (R-92, R-97).
"""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from queue import Queue

import pytest
from psycopg.conninfo import conninfo_to_dict

from referral_api.auditlog.records import LogClosed, LogGenesis, LogLost
from referral_api.client.outbox import Progress
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.terms import Term
from referral_api.domain.words import Act
from referral_api.server import app
from referral_api.server.service import new_term, reconcile, salvage
from referral_api.server.service.batch import Place
from referral_api.server.service.second_host import SigningHost
from referral_api.server.storage import logbook
from referral_api.server.storage.database import Database
from referral_api.server.storage.gate import gate_beside
from referral_api.server.storage.signer import SignedCheckpoint
from referral_api.server.storage.signer_state import state_path
from tests.auditlog.refusals import refused
from tests.postgres import create_database
from tests.server.storage.ledger import roll_back
from tests.story.test_closed import logged, ready
from tests.story.test_recovery import back_up, die, lose_disk, run_reconcile
from tests.world import UNIT, World, check_database, composition, settings_of
from tests.world_check import Rows


def audit_of(world: World) -> str:
    """The newest audit log."""
    return max(log for log in Rows(world).logs if log != "keys")


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
    (told,) = report.lost
    assert (told.log.kept, told.log.signed, told.absent, told.witnesses) == (kept, signed, signed - kept, ())
    mirror = world.folder / "mirror"
    world.auditor.mirror(mirror)
    again_report = world.auditor.audit(mirror)
    assert again_report.stands
    assert not again_report.complete
    assert [type(one) for one in logged(world) if isinstance(one, LogGenesis | LogLost)][-2:] == [LogGenesis, LogLost]


def lose(world: World, live_on: Callable[[], object]) -> tuple[str, int, bytes]:
    """What is lived after a backup is lost with the disk: the log, how much of it is held, its last checkpoint."""
    folder = back_up(world)
    log = audit_of(world)
    kept = len(Rows(world).logs[log])
    live_on()
    note = newest_note(world, log)
    lose_disk(world, folder)
    return log, kept, note


def test_an_act_of_the_keys_log_is_not_given_up(sqlite_world: World, tmp_path: Path) -> None:
    """R-92: its other leaf would be lost. Every client replicates the keys log, so it comes back alone."""
    world, mirror = sqlite_world, tmp_path / "mirror"
    early = live(world)

    def live_on() -> None:
        stranger = world.client("stranger")
        session = stranger.session
        kid = session.keymap.sealable(stranger.profile.party, session.now())[0].kid
        stranger.revoke(kid, "lost", session.now())
        world.auditor.mirror(mirror)
        shutil.rmtree(mirror / "audit")
        world.server.stop()
        shutil.copytree(world.settings.data_dir, tmp_path / "found-again")
        world.server.start()

    log, kept, note = lose(world, live_on)
    with pytest.raises(ReferralError) as caught:
        run_new_origin(world, note, mirror)
    assert (caught.value.facts["reason"], caught.value.facts["log"]) == ("database-shorter", log)
    assert "act" in caught.value.facts
    assert len(Rows(world).logs[log]) == kept, "nothing was written"
    world.server.start()
    assert ready(world)[1]["closed"] == "database-shorter"
    assert world.caller("officer").call("GET", f"/v1/referrals/{early}/bundle").status == 200
    world.server.stop()
    shutil.copytree(tmp_path / "found-again", world.settings.data_dir, dirs_exist_ok=True)
    world.server.start()


@pytest.mark.parametrize("step", ["begin", "before-append", "before-commit", "after-commit", "signed"])
def test_a_kill_while_a_term_is_opened_leaves_all_of_it_or_nothing(sqlite_world: World, step: str) -> None:
    world = sqlite_world
    log, _, note = lose(world, lambda: live(world))
    assert die(lambda on_step: run_new_origin(world, note, on_step=on_step), step) == -signal.SIGKILL
    if step in ("begin", "before-append", "before-commit"):
        assert run_new_origin(world, note).closed is None
    with pytest.raises(ReferralError) as caught:
        run_new_origin(world, note)
    assert caught.value.facts["reason"] == "database-shorter", "a log is followed once"
    assert run_reconcile(world, None, []).imported == {}, "and what it lost is settled"
    world.server.start()
    assert ready(world)[0] == 200
    assert [name for name in Rows(world).logs if name != "keys"] == [log, f"{log}.2"]


def test_a_term_opened_in_the_next_year_ends_with_the_year_that_was_lost(sqlite_world: World) -> None:
    world = sqlite_world
    log, kept, note = lose(world, lambda: live(world))
    term = Term.of_log(log)
    world.clock.ahead_s += datetime(term.year + 1, 1, 2, tzinfo=UTC).timestamp() - world.clock()
    outcome = run_new_origin(world, note)
    assert outcome.closed is None
    world.server.start()
    rows = Rows(world)
    assert list(rows.logs) == [log, f"{log}.2", f"audit/{term.year + 1}", "keys"]
    assert len(rows.logs[log]) == kept
    ends = [type(one) for one in logged(world) if isinstance(one, LogGenesis | LogLost | LogClosed)]
    assert ends == [LogGenesis, LogGenesis, LogLost, LogClosed, LogGenesis]
    report = world.auditor.audit()
    assert report.stands
    assert [told.log.kept for told in report.lost] == [kept]
    for name in ("operator", "officer"):
        (loss,) = world.client(name).losses()
        world.client(name).accept_loss(loss.log)
    world.operator.flush()
    world.submit()


def test_a_later_term_is_closed_by_the_turn_of_the_year_like_any_log(sqlite_world: World) -> None:
    world = sqlite_world
    log, _, note = lose(world, lambda: live(world))
    assert run_new_origin(world, note).closed is None
    world.server.start()
    (loss,) = world.operator.losses()
    world.operator.accept_loss(loss.log)
    world.operator.flush()
    world.clock.ahead_s += datetime(Term.of_log(log).year + 1, 1, 1, 0, 1, tzinfo=UTC).timestamp() - world.clock()
    world.submit()
    closed = [one for one in logged(world) if isinstance(one, LogClosed)]
    assert [one.origin.rpartition("/v1/log/")[2] for one in closed] == [f"{log}.2"]
    assert world.auditor.audit().stands


def test_a_second_loss_is_followed_by_a_third_term(sqlite_world: World) -> None:
    world = sqlite_world
    log, kept, note = lose(world, lambda: live(world))
    assert run_new_origin(world, note).closed is None
    world.server.start()
    (loss,) = world.operator.losses()
    world.operator.accept_loss(loss.log)
    world.operator.flush()
    shutil.rmtree(world.folder / "backup")
    again, kept_again, note = lose(world, lambda: world.operator.submit(composition()))
    assert again == f"{log}.2"
    assert run_new_origin(world, note).closed is None
    world.server.start()
    (_, loss) = world.operator.losses()
    assert (loss.log.kept, len(loss.own), loss.agreed) == (kept_again, 1, False)
    world.operator.accept_loss(loss.log)
    (sent,) = world.operator.flush()
    assert sent.state is Progress.RECEIVED
    report = world.auditor.audit()
    assert report.stands
    assert [told.log.kept for told in report.lost] == [kept, kept_again]


def test_who_shows_less_than_was_seen_is_convicted_and_no_consent_helps(sqlite_world: World) -> None:
    """An operator who says that less was signed than a client has seen: a lie, not a loss."""
    world = sqlite_world
    old: list[bytes] = []

    def live_on() -> None:
        world.operator.submit(composition())
        old.append(newest_note(world, audit_of(world)))
        live(world)
        assert world.auditor.audit().complete

    log, _, _ = lose(world, live_on)
    state = state_path(world.settings.signer_dir, log)
    state.unlink()  # So nothing on the host remembers how far it had signed.
    assert run_new_origin(world, old[0]).closed is None
    world.server.start()
    for name in ("operator", "officer"):
        (loss,) = world.client(name).losses()
        with pytest.raises(ReferralError) as caught:
            world.client(name).accept_loss(loss.log)
        assert (caught.value.code, caught.value.facts["reason"]) == (ErrorCode.INCONSISTENT, "shrunk")
    with pytest.raises(ReferralError) as caught:
        world.operator.submit(composition())
    assert caught.value.facts["reason"] == "shrunk"
    report = world.auditor.audit()
    assert report.failed
    assert [fault.error.facts["reason"] for fault in report.faults if not fault.missing] == ["shrunk"]


def test_a_loss_that_did_not_happen_is_seen_by_whoever_has_the_leaves(sqlite_world: World, tmp_path: Path) -> None:
    """The operator hides leaves that an auditor's copy and mirror hold: they verify there, and are told to be there."""
    world = sqlite_world
    mirror = tmp_path / "mirror"
    assert world.auditor.audit_since(trust_first=True).complete

    def live_on() -> None:
        live(world)
        assert world.auditor.audit_since().complete
        world.auditor.mirror(mirror)

    log, kept, note = lose(world, live_on)
    held = int((mirror / log / "checkpoint").read_text().split("\n")[1])
    assert run_new_origin(world, note).closed is None
    world.server.start()
    for report in (world.auditor.audit_since(), world.auditor.audit_since()):
        assert report.stands
        (told,) = report.lost
        assert told.had > kept, "the kept copy has more than the exchange says there is"
    world.auditor.mirror(mirror)
    report = world.auditor.audit(mirror)
    (told,) = report.lost
    assert (told.had, report.failed) == (held, False)
    # What is here and not there is verified leaf by leaf: one that is changed is found.
    for path in (mirror / log / "records").rglob("*"):
        if path.is_file():
            raw = path.read_bytes()
            at = raw.rindex(b'"salt') + 12
            path.write_bytes(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :])
    assert world.auditor.audit(mirror).failed


def test_what_a_mirror_has_comes_back_before_the_rest_is_given_up(sqlite_world: World, tmp_path: Path) -> None:
    world = sqlite_world
    mirror = tmp_path / "mirror"

    def live_on() -> None:
        live(world)
        world.auditor.mirror(mirror)
        live(world)

    log, kept, note = lose(world, live_on)
    held = int((mirror / log / "checkpoint").read_text().split("\n")[1])
    outcome = run_new_origin(world, note, mirror)
    assert outcome.opened is not None
    assert outcome.opened.kept == held > kept
    assert outcome.imported == {log: held - kept}
    world.server.start()
    assert world.auditor.audit().stands


def test_nothing_is_given_up_that_can_be_had(sqlite_world: World) -> None:
    world = sqlite_world
    world.submit()
    note = newest_note(world, audit_of(world))
    keys = newest_note(world, "keys")
    world.server.stop()
    assert refused(ErrorCode.NOT_FOUND, run_new_origin, world, note) == "None"
    assert refused(ErrorCode.WRONG_ORIGIN, run_new_origin, world, keys) == "None"
    forged = note.replace(b"\n\n", b"\n\n", 1)[:-10] + b"AAAAAAAA=\n"
    with pytest.raises(ReferralError):
        run_new_origin(world, forged)
    world.server.start()


def test_a_term_follows_on_postgresql_too(postgres_world: World, postgres_url: str) -> None:
    world = postgres_world
    early = str(world.submit().outgoing.ref)
    world.server.stop()
    database = str(conninfo_to_dict(world.settings.database_url)["dbname"])
    copy = create_database(postgres_url, f"{database}_kept", database)
    world.server.start()
    log = audit_of(world)
    kept = len(Rows(world).logs[log])
    late = live(world)
    note = newest_note(world, log)
    world.server.stop()
    world.settings = world.server.settings = settings_of(world.folder, copy)
    assert run_new_origin(world, note).closed is None
    world.server.start()
    for name in ("operator", "officer"):
        (loss,) = world.client(name).losses()
        assert loss.log.kept == kept
        world.client(name).accept_loss(loss.log)
    world.operator.flush()
    world.officer.flush()
    assert world.operator.referral(late).chronicle.deliveries[UNIT].state == "accepted"
    assert world.operator.referral(early).chronicle.deliveries
    assert world.auditor.audit().stands
    world.check()
    check_database(world)


def test_a_mirror_brings_back_a_term_and_what_it_follows(sqlite_world: World, tmp_path: Path) -> None:
    """The disk is lost once more, and the backup is from before the first loss."""
    world = sqlite_world
    mirror = tmp_path / "mirror"
    log, kept, note = lose(world, lambda: live(world))
    assert run_new_origin(world, note).closed is None
    world.server.start()
    (loss,) = world.operator.losses()
    world.operator.accept_loss(loss.log)
    world.operator.flush()
    world.auditor.mirror(mirror)
    lose_disk(world, world.folder / "backup")
    outcome = run_reconcile(world, mirror, [])
    assert outcome.closed is None
    assert list(outcome.imported) == [f"{log}.2"]
    world.server.start()
    assert len(Rows(world).logs[log]) == kept
    assert world.auditor.audit().stands


def test_a_host_that_does_not_sign_goes_on_behind_a_loss(sqlite_world: World, tmp_path: Path) -> None:
    """R-93, R-97: the checkpoint that is kept of the lost log covers what nobody has; its next term says how far."""
    world = sqlite_world
    log, kept, note = lose(world, lambda: live(world))
    assert run_new_origin(world, note).closed is None
    runtime = app.open_runtime(world.settings, recovering=True)
    doubts: list[ReferralError] = []
    answers: Queue[Mapping[str, SignedCheckpoint] | None] = Queue()
    database, trust = runtime.exchange.database, runtime.log_signers.trust
    checkpoints, shut = gate_beside(database, trust)
    assert (shut, log in checkpoints) == (None, False)
    signed = runtime.log_signers.newest(f"{log}.2")
    assert signed is not None
    host = SigningHost(database, trust, checkpoints, lambda _: None)
    host.wait_for([Place(f"{log}.2", signed.size - 1, b"")], answers.put)
    host.start(doubts.append)
    with database.write() as tx:
        logbook.save_checkpoint(tx, f"{log}.2", signed.size, signed.note, int(world.clock()))
    answer = answers.get(timeout=60)
    host.stop()
    runtime.log_signers.close()
    database.close()
    assert doubts == []
    assert answer == {f"{log}.2": signed}
    # A lost log that is not as long as its next term says is no such log.
    copied = f"sqlite:///{shutil.copy(world.settings.data_dir / 'exchange.sqlite', tmp_path / 'shorter.sqlite')}"
    roll_back(copied, kept - 1, log)
    with Database.open(copied) as shorter:
        refusal = gate_beside(shorter, trust)[1]
    assert refusal is not None
    assert refusal.facts == {"reason": "database-differs", "log": log}
