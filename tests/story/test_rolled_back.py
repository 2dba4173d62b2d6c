"""Two real servers of one host, and a database that went back between their signatures (R-93, R-97)."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from referral_api.auditlog.records import UnloggedRead
from referral_api.client.sdk import Client
from referral_api.domain.words import Act
from tests.faults.submissions import Parcel, parcel
from tests.processes import Process, serving
from tests.signing import sign
from tests.story.test_closed import logged, ready
from tests.wire import Answer, Caller, Wire
from tests.world import PASSPHRASE, World
from tests.world_check import Rows


@dataclass(slots=True)
class Older:
    """The rows of a PostgreSQL database as they are now, to be put back later, as a restored dump would."""

    url: str
    rows: dict[str, list[tuple[object, ...]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        with psycopg.connect(self.url) as session:
            session.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            for (name,) in session.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall():
                self.rows[name] = session.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(name))).fetchall()

    def put_back(self) -> None:
        """In one transaction, past every trigger, beneath the running servers."""
        with psycopg.connect(self.url) as session:
            session.execute("SET session_replication_role = replica")
            for name, rows in self.rows.items():
                table = sql.Identifier(name)
                session.execute(sql.SQL("DELETE FROM {}").format(table))
                if rows:
                    marks = sql.SQL(", ").join([sql.Placeholder()] * len(rows[0]))
                    with session.cursor() as cursor:
                        cursor.executemany(sql.SQL("INSERT INTO {} VALUES ({})").format(table, marks), rows)


def client_at(world: World, url: str, name: str) -> Client:
    """A seat's client that talks to one of the servers."""
    profile = world.folder / "profiles" / world.seats[name].folder
    return Client.person(profile, PASSPHRASE, server=url, transport=Wire(world.tape), clock=world.clock)


@dataclass(slots=True)
class Pair:
    """Two server processes over one database and one folder of signer's states."""

    world: World
    processes: list[Process]
    stack: ExitStack
    callers: dict[tuple[str, str], Caller] = field(default_factory=dict)

    def end(self) -> None:
        """Stop both, as an operator would; clients of theirs are closed."""
        self.stack.close()

    def caller(self, at: int, name: str) -> Caller:
        """Somebody who calls one of them."""
        key = (self.processes[at].url, name)
        if key not in self.callers:
            client = self.stack.enter_context(client_at(self.world, key[0], name))
            self.callers[key] = Caller(client, key[0], self.world.tape)
            self.stack.callback(self.callers[key].close)
        return self.callers[key]


@pytest.fixture
def pair(postgres_world: World, tmp_path: Path) -> Iterator[Pair]:
    postgres_world.server.stop()
    with ExitStack() as stack:
        logs = [tmp_path / f"server-{at}.log" for at in range(2)]
        processes = [stack.enter_context(serving(postgres_world.settings, log)) for log in logs]
        postgres_world.server.port = processes[0].port
        yield Pair(postgres_world, processes, stack)


def put(caller: Caller, one: Parcel) -> Answer:
    return caller.call("PUT", f"/v1/referrals/{one.ref}", one.document)


def every_call(caller: Caller, ref: str) -> list[tuple[str, int, str | None]]:
    """Every call that a reader has, about a referral that there is, or that there was: path, status, code."""
    log = f"/v1/log/audit/{year(caller)}"
    paths = [
        f"/v1/referrals/{ref}", f"/v1/referrals/{ref}/bundle", f"/v1/evidence/{ref}", "/v1/inbox", "/v1/parties",
        "/v1/ping", "/v1/log/keys/checkpoint", "/v1/log/keys/consistency?from=1", "/v1/log/keys/tile/entries/000.p/9",
        f"{log}/checkpoint", f"{log}/consistency?from=1", f"{log}/tile/0/000.p/3", f"{log}/tile/entries/000.p/20",
        f"/v1/records/{year(caller)}?from=0&limit=200", f"/v1/records/{year(caller)}/9", "/v1/enrolments", "/readyz",
    ]  # fmt: skip
    answers = [(path, caller.call("GET", path)) for path in paths]
    return [(path, answer.status, answer.code) for path, answer in answers]


def year(caller: Caller) -> int:
    return datetime.fromtimestamp(caller.client.session.now(), UTC).year


def demand_refusals(pair: Pair, refs: list[str], *reasons: str) -> None:
    """Both servers take nothing, say so by the runbook's name, and answer every other call as it should be."""
    for at in range(len(pair.processes)):
        for name in ("operator", "officer", "auditor"):
            caller = pair.caller(at, name)
            for ref in refs:
                found = every_call(caller, ref)
                ill = [one for one in found if one[1] >= 500 and one[0] != "/readyz"]
                # A pack is not made where what belongs to it is under no checkpoint, or its record cannot be kept.
                packs = {(f"/v1/evidence/{ref}", 503, code) for code in ("writes-closed", "checkpoint-pending")}
                assert set(ill) <= packs
        refused = put(pair.caller(at, "operator"), parcel(pair.world))
        assert (refused.status, refused.code) == (503, "writes-closed")
        assert (reason := refused.json["reason"]) in reasons
        lost = {
            "kid": pair.world.officer.keys.access.signing_key().public.kid,
            "reason": "lost",
            "at": int(pair.world.clock()),
        }
        act_id, act = sign(pair.world.officer, Act.REVOKE, lost, None)
        answer = pair.caller(at, "officer").call("PUT", f"/v1/directory/acts/{act_id}", {"act": act})
        assert answer.code == "writes-closed", answer.body
        ready = pair.caller(at, "operator").call("GET", "/readyz", signed=False)
        assert (ready.status, ready.json["closed"], ready.json["checks"]["writes"]) == (503, reason, False)


def states(world: World) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in world.settings.signer_dir.glob("*.signer")}


def sizes(world: World) -> dict[str, int]:
    return {log: len(leaves) for log, leaves in Rows(world).logs.items()}


@pytest.mark.parametrize("last", [0, 1])
def test_both_servers_refuse_a_database_that_went_back_between_their_signatures(pair: Pair, last: int) -> None:
    """R-93: and for good, for it may grow until it looks as if it could be gone on from."""
    world = pair.world
    operators = [pair.caller(at, "operator") for at in range(2)]
    first = parcel(world)
    assert put(operators[0], first).status == 201
    older = Older(world.settings.database_url)
    sent = [parcel(world) for _ in range(4 + last)]
    for at, one in enumerate(sent):
        assert put(operators[at % 2], one).status == 201
    newer, signed, size = Older(world.settings.database_url), states(world), sizes(world)
    older.put_back()
    before = sizes(world)
    assert before != size
    demand_refusals(pair, [first.ref, sent[0].ref, sent[-1].ref], "database-shorter")
    assert sizes(world) == before, "nothing is written behind a history that went back"
    # The true rows come back beneath them: who has met the others trusts none until a start has compared everything.
    newer.put_back()
    demand_refusals(pair, [sent[-1].ref], "database-shorter")
    assert states(world) == signed
    pair.end()
    world.server.start()
    assert ready(world)[0] == 200
    for one in sent:
        answer = put(world.caller("operator"), one)
        assert answer.status == 200
    assert put(world.caller("operator"), parcel(world)).status == 201


def test_both_servers_refuse_a_database_that_grew_again_without_them(pair: Pair, tmp_path: Path) -> None:
    """Behind it stands another process with an older copy of the states, which has signed over what is there now."""
    world = pair.world
    operators = [pair.caller(at, "operator") for at in range(2)]
    first = parcel(world)
    assert put(operators[0], first).status == 201
    older = Older(world.settings.database_url)
    copied = tmp_path / "older-states"
    shutil.copytree(world.settings.signer_dir, copied)
    sent = [parcel(world) for _ in range(3)]
    for at, one in enumerate(sent):
        assert put(operators[at % 2], one).status == 201
    newer, signed = Older(world.settings.database_url), states(world)
    older.put_back()
    with serving(world.settings.model_copy(update={"signer_dir": copied}), tmp_path / "third.log") as third:
        pair.processes.append(third)
        grown = [parcel(world) for _ in range(6)]
        for one in grown:
            assert put(pair.caller(2, "operator"), one).status == 201
        pair.processes.pop()
    # Who has something of its own to write every half minute may have met it while it was still shorter.
    refs = [first.ref, sent[0].ref, grown[0].ref, grown[-1].ref]
    demand_refusals(pair, refs, "database-differs", "database-shorter")
    # What only the wrong database holds may be the only copy: it is served, and its reading is on no log's account.
    for at in range(2):
        assert pair.caller(at, "officer").client.open(grown[0].ref).body is not None
    assert states(world) == signed
    pair.end()
    newer.put_back()
    world.server.start()
    world.check()
    read = [one for one in logged(world) if isinstance(one, UnloggedRead) and one.what == "bundle"]
    assert {one.ref for one in read} == {grown[0].ref, grown[-1].ref}
    assert put(world.caller("operator"), sent[0]).status == 200
    assert put(world.caller("operator"), grown[0]).status == 201, "whom the wrong database had promised it"
    world.check()


def test_a_database_that_goes_back_beneath_a_running_server_is_refused_on_sqlite_too(sqlite_world: World) -> None:
    """Another process would not be let in; but an operator's tool can put an older content into the open file."""
    world = sqlite_world
    first = parcel(world)
    for one in (first, parcel(world)):
        assert put(world.caller("operator"), one).status == 201
    older, newer = world.folder / "older.sqlite", world.folder / "newer.sqlite"
    live = world.settings.data_dir / "exchange.sqlite"
    copy(live, older)
    sent = [parcel(world) for _ in range(3)]
    for one in sent:
        assert put(world.caller("operator"), one).status == 201
    copy(live, newer)
    copy(older, live)
    for name in ("operator", "officer", "auditor"):
        for ref in (first.ref, sent[0].ref):
            assert [one for one in every_call(world.caller(name), ref) if one[1] == 500] == []
    for one in (parcel(world), sent[0]):
        refused = put(world.caller("operator"), one)
        assert (refused.status, refused.json.get("reason")) == (503, "database-shorter"), refused.body
    again = put(world.caller("operator"), first)
    assert again.status == 200, "whoever has a receipt gets it"
    # The same at a start; and with the right file in its place all goes on.
    world.restart()
    assert ready(world)[1]["closed"] == "database-shorter"
    world.server.stop()
    copy(newer, live)
    world.server.start()
    assert ready(world)[0] == 200
    assert [put(world.caller("operator"), one).status for one in sent] == [200] * 3


def copy(source: Path, target: Path) -> None:
    """What `.backup` and `.restore` of SQLite's own shell do, past the exchange."""
    with closing(sqlite3.connect(source)) as one, closing(sqlite3.connect(target)) as other:
        one.backup(other)
