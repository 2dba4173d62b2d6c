"""What was purged stays purged when a lost disk comes back: no backup, mirror or sender brings its ciphertext back."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from referral_api.domain.words import Act, State
from referral_api.server.service import retention
from referral_api.server.service.erasure import Erasure
from tests.faults.submissions import Parcel, parcel
from tests.server.test_reckoning import audit
from tests.story.test_forgetting import closed, gone, kept_texts, pass_days, secret, sweep
from tests.story.test_recovery import back_up, lose_disk, run_reconcile
from tests.traces import left_of
from tests.world import UNIT, World, check_database
from tests.world_check import Rows


def purge(world: World, ref: str) -> None:
    """Two persons agree that it goes."""
    asked = world.act("operator", ref, Act.PURGE_REQUEST, {"reason": "data_subject_request"}, unit=UNIT)
    world.act("officer", ref, Act.APPROVE, {"answers": asked.outgoing.digest})
    assert kept_texts(world, ref) == []


def mirrored(world: World) -> Path:
    folder = world.folder / "mirror"
    world.auditor.mirror(folder)
    return folder


def handed_in(world: World) -> Parcel:
    """A submission whose very bytes can be sent again, taken and closed."""
    one = parcel(world, excluded=())
    answer = one.send(world)
    assert answer is not None
    assert answer.status == 201
    world.acknowledge("officer", one.ref)
    world.act("officer", one.ref, Act.ACCEPT)
    world.act("officer", one.ref, Act.CLOSE, {"outcome": "trafficking_confirmed"})
    return one


def test_a_purge_that_comes_back_takes_what_the_backup_still_holds(sqlite_world: World) -> None:
    """Rule R4 of the field (R-97, R-107): two persons had it purged, the disk is lost, and the backup is older."""
    world = sqlite_world
    ref, other = closed(world, talk=True), str(world.submit().outgoing.ref)
    texts, control = kept_texts(world, ref), kept_texts(world, other)
    folder = back_up(world)
    purge(world, ref)
    mirror = mirrored(world)
    lose_disk(world, folder)
    assert len(kept_texts(world, ref)) == len(texts), "the backup is older than the purge"
    assert run_reconcile(world, mirror, []).lost == []
    world.server.start()
    assert kept_texts(world, ref) == []
    assert world.operator.referral(ref).chronicle.deliveries[UNIT].state is State.PURGED
    gone(world, ref, ("officer", "operator"))
    sweep(world)
    assert left_of(secret(texts), world.settings.data_dir) == []
    assert kept_texts(world, other) == control, "only its own"
    world.check()
    check_database(world)


def test_whoever_sends_what_was_purged_again_gets_his_receipt_and_nothing_is_kept(sqlite_world: World) -> None:
    """R-97, R-107: recovery asks for what is lost, never for what was purged, and takes none of it."""
    world = sqlite_world
    world.submit()
    folder = back_up(world)
    going, staying = handed_in(world), handed_in(world)
    purge(world, going.ref)
    assert resent(world, going) == []
    mirror = mirrored(world)
    lose_disk(world, folder)
    outcome = run_reconcile(world, mirror, [])
    assert set(outcome.lost) == {staying.ref}
    world.server.start()
    assert resent(world, going) == []
    check_database(world)

    # What was lost and is purged before anybody has sent it again is asked for no more.
    assert kept_texts(world, staying.ref) == []
    purge(world, staying.ref)
    assert resent(world, staying) == []
    assert Rows(world)["sealed_lost"] == []
    world.check()
    check_database(world)

    # Where it says all the same that a purged text may come again, the operator's audit of the database says so.
    world.server.stop()
    file = world.settings.data_dir / "exchange.sqlite"
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("INSERT INTO sealed_lost SELECT pos FROM sealed WHERE body IS NULL")
    found = audit(world.settings.database).differences
    assert {(one.table, one.reason) for one in found} == {("sealed_lost", "purged")}
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("DELETE FROM sealed_lost")
    world.server.start()


def resent(world: World, one: Parcel) -> list[bytes]:
    """What is kept of a referral after its sender has sent the same bytes once more."""
    answer = one.send(world)
    assert answer is not None
    assert answer.status == 200
    return kept_texts(world, one.ref)


def test_an_erasure_that_comes_back_takes_what_its_purge_had_taken(sqlite_world: World) -> None:
    """R-97, R-99: the backup holds the texts, the `purged` act is erased with the acts after the first three, and of
    what was sealed beside these three nothing stays.
    """
    world = sqlite_world
    ref = closed(world)
    folder = back_up(world)
    pass_days(world, 7)
    assert kept_texts(world, ref) == []
    exchange = world.server.runtime.exchange
    with exchange.database.read(snapshot=True) as conn:
        (found,) = [one for one in retention.erasable(conn, int(world.clock()) + 1) if one.ref == ref]
    ((term, indices),) = retention.portions(found.positions)
    world.server.runtime.writer.run(Erasure(exchange, ref, term, indices[3:], "retention_ended"))
    # What clocks that jumped have the exchange write down comes before the mirror, as it does in a day.
    world.restart()
    mirror = mirrored(world)
    lose_disk(world, folder)
    assert kept_texts(world, ref)
    assert ref not in run_reconcile(world, mirror, []).lost
    world.server.start()
    assert kept_texts(world, ref) == []
    assert not Rows(world)["sealed_lost"]
    world.check()
    check_database(world)
