"""Closed over a database that holds another history than was signed: what only it holds, and who reads it (R-97)."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from referral_api.auditlog.records import ServerRecord
from referral_api.client.sdk import Client
from tests.faults.submissions import Parcel, parcel
from tests.story.test_closed import logged, ready
from tests.story.test_rolled_back import Older, copy, put
from tests.world import World, check_database
from tests.world_check import Rows


@dataclass(slots=True)
class Fork:
    """An exchange, and a history that somebody else wrote with an older copy of its database and signer's states."""

    world: World
    both: str
    """A referral that both histories hold."""
    right: list[Parcel]
    wrong: list[Parcel]
    put_back: Callable[[], None]
    """Brings the right database back."""
    before: int = 0
    seen: list[ServerRecord] = field(default_factory=list)


def snapshot(world: World, name: str) -> Callable[[], None]:
    """The database as it is now; call it to put that back."""
    if world.settings.database_url:
        return Older(world.settings.database_url).put_back
    live, kept = world.settings.data_dir / "exchange.sqlite", world.folder / name
    copy(live, kept)
    return lambda: copy(kept, live)


@contextmanager
def forked(world: World, tmp_path: Path, right: int = 3, wrong: int = 6) -> Iterator[Fork]:
    """The exchange, closed over the wrong history; behind the block over the right one, open."""
    first = world.submit().outgoing.ref
    assert first is not None
    put_older_back = snapshot(world, "older.sqlite")
    states, older_states = world.settings.signer_dir, tmp_path / "older-states"
    world.server.stop()
    shutil.copytree(states, older_states)
    world.server.start()
    sent = [parcel(world) for _ in range(right)]
    for one in sent:
        assert put(world.caller("operator"), one).status == 201
    world.server.stop()
    put_newer_back = snapshot(world, "newer.sqlite")
    put_older_back()
    newer_states = tmp_path / "newer-states"
    states.rename(newer_states)
    older_states.rename(states)
    world.server.start()
    grown = [parcel(world) for _ in range(wrong)]
    for one in grown:
        assert put(world.caller("operator"), one).status == 201
    world.server.stop()
    states.rename(older_states)
    newer_states.rename(states)
    world.server.start()
    assert ready(world)[1]["closed"] == "database-differs"
    fork = Fork(world, first, sent, grown, put_newer_back)
    try:
        yield fork
    finally:
        world.server.stop()
        put_newer_back()
        fork.before = len(logged(world))
        world.server.start()
    assert ready(world)[0] == 200
    fork.seen = logged(world)[fork.before :]


def test_experiment(world: World, tmp_path: Path) -> None:
    with forked(world, tmp_path) as fork:
        ref = fork.wrong[0].ref
        officer: Client = world.officer
        print(officer.inbox())
        opened = officer.open(ref)
        assert opened.body is not None
        for who in ("operator", "auditor"):
            for path in (f"/v1/referrals/{ref}", f"/v1/evidence/{ref}"):
                a = world.caller(who).call("GET", path)
                print(who, path, a.status, a.code)
        digest = next(row["digest"] for row in Rows(world)["act"] if row["id"] == fork.wrong[0].act_id)
        a = world.caller("operator").call("GET", f"/v1/receipts/{digest}")
        print(a.status, a.code, a.json)
    for one in fork.seen:
        print(one)
    report = world.auditor.audit()
    print(report.faults)
    world.check()
    check_database(world)
