"""COMMIT sent and not answered: the outcome is unknown, and never called anything else.

A relay between psycopg and PostgreSQL cuts the line at the COMMIT, before it arrives or before its answer does.
SQLite meets a real limit on its file while the commit is written.
"""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from referral_api.domain.errors import ErrorCode
from referral_api.server.storage.database import Database, OutcomeUnknown, RolledBack

PUT = "INSERT INTO meta (key, value) VALUES (?,?)"


class Relay(threading.Thread):
    """Passes bytes on between clients and the server; `cut_at` makes it drop the line around the next COMMIT."""

    def __init__(self, server: Path, folder: Path) -> None:
        super().__init__(daemon=True)
        self.cut_at: str | None = None
        self._server = str(server / ".s.PGSQL.5432")
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / ".s.PGSQL.5432"))
        self._listener.listen()
        self._bell, self._rung = socket.socketpair()
        self._other: dict[socket.socket, socket.socket] = {}
        self._clients: set[socket.socket] = set()

    def run(self) -> None:
        while True:
            readable, _, _ = select.select([self._listener, self._rung, *self._other], [], [])
            if self._rung in readable:
                break
            for end in readable:
                if end is self._listener:
                    self._accept()
                elif end in self._other:
                    self._pass_on(end)
        for end in list(self._other):
            end.close()
        for end in (self._listener, self._bell, self._rung):
            end.close()

    def close(self) -> None:
        self._bell.send(b"stop")
        self.join()

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        server = socket.socket(socket.AF_UNIX)
        server.connect(self._server)
        self._other |= {client: server, server: client}
        self._clients.add(client)

    def _pass_on(self, end: socket.socket) -> None:
        data, other = end.recv(65536), self._other[end]
        asked = end in self._clients and b"COMMIT" in data
        answered = end not in self._clients and b"COMMIT\0" in data
        if not data or (self.cut_at == "before" and asked) or (self.cut_at == "after" and answered):
            for one in (end, other):
                del self._other[one]
                self._clients.discard(one)
                one.close()
        else:
            other.sendall(data)


@contextmanager
def relayed(url: str, folder: Path) -> Iterator[tuple[str, Relay]]:
    server = Path(url.partition("host=")[2])
    relay = Relay(server, folder)
    relay.start()
    try:
        yield url.replace(str(server), str(folder)), relay
    finally:
        relay.close()


@pytest.mark.postgres
@pytest.mark.parametrize(("cut_at", "happened"), [("before", 0), ("after", 1)])
def test_a_commit_that_is_not_answered_may_have_happened(postgres_database: str, cut_at: str, happened: int) -> None:
    Database.create(postgres_database).close()
    # A Unix socket's path is short.
    folder = Path(f"/tmp/relay-{os.getpid()}-{cut_at}")  # noqa: S108  # private to this process and removed below
    folder.mkdir(mode=0o700)
    try:
        with relayed(postgres_database, folder) as (url, relay), Database.open(url) as database:
            with database.write() as tx:
                tx.run(PUT, ("first", "value"))
            relay.cut_at = cut_at
            with pytest.raises(OutcomeUnknown) as caught, database.write() as tx:
                tx.run(PUT, ("second", "value"))
            assert caught.value.code is ErrorCode.OUTCOME_UNKNOWN
            relay.cut_at = None
            # The next batch asks the database, on a new connection, and goes on.
            with database.write() as tx:
                assert tx.one("SELECT count(*) FROM meta WHERE key = 'second'") == (happened,)
                tx.run(PUT, ("third", "value"))
    finally:
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
    with psycopg.connect(postgres_database) as session:
        keys = session.execute("SELECT key FROM meta ORDER BY key").fetchall()
    assert [key for (key,) in keys] == ["first", "second", "third"][:: 1 if happened else 2]


@pytest.mark.postgres
def test_a_deferred_constraint_at_commit_is_certain(postgres_database: str) -> None:
    with Database.create(postgres_database) as database:
        with database.write() as tx:
            tx.run("ALTER TABLE poll ADD CONSTRAINT once UNIQUE (last_at) DEFERRABLE INITIALLY DEFERRED")
        with pytest.raises(RolledBack), database.write() as tx:
            tx.run_many("INSERT INTO poll VALUES (?,?)", [("a", 1), ("b", 1)])
        with database.read() as conn:
            assert conn.one("SELECT count(*) FROM poll") == (0,)


FULL = """
import resource, sys
from referral_api.domain.errors import ReferralError
from referral_api.server.storage.database import Database, OutcomeUnknown
database = Database.open(sys.argv[1])
with database.write() as tx:
    tx.run("INSERT INTO meta (key, value) VALUES (?,?)", ("first", "value"))
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
try:
    with database.write() as tx:
        tx.run("INSERT INTO meta (key, value) VALUES (?,?)", ("second", "v" * 400_000))
except OutcomeUnknown as error:
    print(error.code)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
try:
    with database.write() as tx:
        tx.run("INSERT INTO meta (key, value) VALUES (?,?)", ("third", "value"))
except ReferralError as error:
    print(error.code, error.facts["reason"])
with database.read() as conn:
    print(conn.one("SELECT count(*) FROM meta WHERE key = 'first'"))
database.close()
"""


def test_a_failed_sqlite_commit_closes_the_writer_until_a_restart(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/exchange.db"
    Database.create(url).close()
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    done = subprocess.run(
        [sys.executable, "-c", FULL, url], check=False, capture_output=True, text=True, env=environment
    )
    assert (done.stdout.splitlines(), done.returncode) == (
        ["outcome-unknown", "writes-closed commit-failed", "(1,)"],
        0,
    ), done.stderr
    with Database.open(url) as database, database.write() as tx:
        assert tx.all("SELECT key FROM meta") == [("first",)]
        tx.run(PUT, ("third", "value"))
