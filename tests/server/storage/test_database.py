"""Opening, reading and writing: the same on both engines."""

# names of tables and columns are the tests' own
# ruff: noqa: PT012  # the end of the transaction is part of what raises

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.server.storage.database import Conflict, Connection, Database, RolledBack
from tests.auditlog.refusals import refused

PUT = "INSERT INTO meta (key, value) VALUES (?,?)"
GET = "SELECT value FROM meta WHERE key = ?"


def put(database: Database, key: str, value: str) -> None:
    with database.write() as tx:
        tx.run(PUT, (key, value))


def find(database: Database, key: str) -> str | None:
    with database.read() as conn:
        row = conn.one(GET, (key,))
    return None if row is None else str(row[0])


def test_what_was_written_is_there_after_reopening(database_url: str) -> None:
    with Database.create(database_url) as created:
        put(created, "issuer", "https://exchange.example ? % '")
    with Database.open(database_url) as opened:
        assert find(opened, "issuer") == "https://exchange.example ? % '"


def test_open_never_creates(database_url: str, tmp_path: Path) -> None:
    expected = "database-missing" if database_url.startswith("sqlite") else "schema-unknown"
    assert refused(ErrorCode.UNAVAILABLE, Database.open, database_url) == expected
    assert not (tmp_path / "exchange.db").exists()


def test_create_refuses_what_exists(database_url: str) -> None:
    Database.create(database_url).close()
    assert refused(ErrorCode.UNAVAILABLE, Database.create, database_url) == "database-exists"
    Database.open(database_url).close()


def test_an_empty_file_or_a_missing_folder_is_a_lost_database(tmp_path: Path) -> None:
    (tmp_path / "empty.db").touch()
    assert refused(ErrorCode.UNAVAILABLE, Database.open, f"sqlite:///{tmp_path}/empty.db") == "database-missing"
    assert refused(ErrorCode.UNAVAILABLE, Database.open, f"sqlite:///{tmp_path}/no/where.db") == "database-missing"
    assert refused(ErrorCode.UNAVAILABLE, Database.create, f"sqlite:///{tmp_path}/no/where.db") == "database-missing"


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "letter.db").write_text("This is a letter, not a database. " * 100)
    assert refused(ErrorCode.UNAVAILABLE, Database.open, f"sqlite:///{tmp_path}/letter.db") == "database-unreachable"
    # The lock was given back with the refusal.
    assert refused(ErrorCode.UNAVAILABLE, Database.open, f"sqlite:///{tmp_path}/letter.db") == "database-unreachable"


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "mysql://host/db", "exchange.db", ""])
def test_other_urls_are_refused(url: str) -> None:
    assert refused(ErrorCode.UNAVAILABLE, Database.open, url) == "url"


def test_another_schema_is_refused(database_url: str) -> None:
    with Database.create(database_url) as database, database.write() as tx:
        tx.run("UPDATE alembic_version SET version_num = 'ffff'")
    assert refused(ErrorCode.UNAVAILABLE, Database.open, database_url) == "schema-unknown"
    assert refused(ErrorCode.UNAVAILABLE, Database.migrate, database_url) == "schema-unknown"


def test_migrating_what_is_current_changes_nothing(database_url: str) -> None:
    with Database.create(database_url) as created:
        put(created, "issuer", "here")
    with Database.migrate(database_url) as migrated:
        assert find(migrated, "issuer") == "here"


def test_a_second_process_on_the_same_file_is_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/exchange.db"
    program = (
        "import sys\n"
        "from referral_api.domain.errors import ReferralError\n"
        "from referral_api.server.storage.database import Database\n"
        "try:\n"
        "    Database.open(sys.argv[1]).close()\n"
        "except ReferralError as error:\n"
        "    print(error.facts['reason'])\n"
        "else:\n"
        "    print('opened')\n"
    )

    def other_process() -> str:
        done = subprocess.run([sys.executable, "-c", program, url], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    with Database.create(url):
        assert other_process() == "database-in-use"
        assert refused(ErrorCode.UNAVAILABLE, Database.open, url) == "database-in-use"
    assert other_process() == "opened"


def test_the_file_is_nobody_elses_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    with Database.create(f"sqlite:///{tmp_path}/exchange.db") as database:
        put(database, "key", "value")
        assert {path.stat().st_mode & 0o077 for path in tmp_path.iterdir()} == {0}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["exchange.db", "exchange.db.lock"]


def test_a_creation_that_was_cut_short_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "exchange.db.new").write_bytes(b"half a database")
    with Database.create(f"sqlite:///{tmp_path}/exchange.db") as database:
        put(database, "key", "value")
    assert not (tmp_path / "exchange.db.new").exists()


def test_the_writer_syncs_every_commit_and_readers_cannot_write(tmp_path: Path) -> None:
    with Database.create(f"sqlite:///{tmp_path}/exchange.db") as database:
        with database.write() as tx:
            pragmas = ("journal_mode", "synchronous", "foreign_keys", "secure_delete", "recursive_triggers")
            assert [tx.one(f"PRAGMA {name}") for name in pragmas] == [("wal",), (2,), (1,), (1,), (1,)]
        with database.read() as conn, pytest.raises(RolledBack):
            conn.run(PUT, ("key", "value"))
        with database.read() as conn:
            # A checkpoint by anybody but the writer is the race of SQLite before 3.51.3.
            put(database, "other", "value")
            conn.run("PRAGMA query_only = OFF")
            with pytest.raises(RolledBack):
                conn.all("PRAGMA wal_checkpoint(TRUNCATE)")
        assert find(database, "key") is None


@pytest.mark.postgres
def test_a_server_that_acknowledges_before_it_is_durable_is_refused(postgres_database: str) -> None:
    Database.create(postgres_database).close()
    with psycopg.connect(postgres_database, autocommit=True) as session:
        session.execute("ALTER ROLE postgres SET synchronous_commit = off")
    try:
        assert refused(ErrorCode.UNAVAILABLE, Database.open, postgres_database) == "not-durable"
    finally:
        with psycopg.connect(postgres_database, autocommit=True) as session:
            session.execute("ALTER ROLE postgres RESET synchronous_commit")
    Database.open(postgres_database).close()


@pytest.mark.postgres
def test_postgres_that_is_not_there_is_unreachable(tmp_path: Path) -> None:
    url = f"postgresql://postgres@/postgres?host={tmp_path}"
    assert refused(ErrorCode.UNAVAILABLE, Database.open, url) == "database-unreachable"
    assert refused(ErrorCode.UNAVAILABLE, Database.create, url) == "database-unreachable"


@pytest.mark.postgres
def test_postgres_runs_at_read_committed_even_if_its_default_is_stricter(postgres_database: str) -> None:
    with psycopg.connect(postgres_database, autocommit=True) as session:
        session.execute("ALTER ROLE postgres SET default_transaction_isolation = 'serializable'")
    try:
        with Database.create(postgres_database) as database, database.write() as tx:
            assert tx.one("SHOW transaction_isolation") == ("read committed",)
    finally:
        with psycopg.connect(postgres_database, autocommit=True) as session:
            session.execute("ALTER ROLE postgres RESET default_transaction_isolation")


def test_a_transaction_that_raises_leaves_nothing(database: Database) -> None:
    with pytest.raises(ZeroDivisionError), database.write() as tx:
        tx.run(PUT, ("key", "value"))
        raise ZeroDivisionError
    assert find(database, "key") is None
    put(database, "key", "later")
    assert find(database, "key") == "later"


def test_nobody_sees_a_transaction_before_it_commits(database: Database) -> None:
    with database.write() as tx:
        tx.run(PUT, ("key", "value"))
        assert find(database, "key") is None
    assert find(database, "key") == "value"


def test_a_savepoint_fails_alone(database: Database) -> None:
    with database.write() as tx:
        tx.run(PUT, ("first", "1"))
        with pytest.raises(Conflict), tx.savepoint():
            tx.run(PUT, ("lost", "2"))
            tx.run(PUT, ("first", "again"))
        with tx.savepoint():
            tx.run(PUT, ("second", "3"))
        with pytest.raises(ReferralError), tx.savepoint():
            tx.run(PUT, ("third", "4"))
            raise ReferralError(ErrorCode.STALE_HEAD)
    assert [find(database, key) for key in ("first", "lost", "second", "third")] == ["1", None, "3", None]


def test_savepoints_may_be_nested(database: Database) -> None:
    with database.write() as tx, tx.savepoint():
        tx.run(PUT, ("outer", "1"))
        with pytest.raises(Conflict), tx.savepoint():
            tx.run(PUT, ("outer", "2"))
        tx.run(PUT, ("after", "3"))
    assert [find(database, key) for key in ("outer", "after")] == ["1", "3"]


def test_a_conflict_without_savepoint_takes_the_transaction_with_it(database: Database) -> None:
    put(database, "key", "value")
    with pytest.raises(Conflict), database.write() as tx:
        tx.run(PUT, ("other", "value"))
        tx.run(PUT, ("key", "again"))
    assert find(database, "other") is None
    put(database, "other", "later")


def test_a_statement_that_is_wrong_is_no_conflict(database: Database) -> None:
    with pytest.raises(RolledBack) as caught, database.write() as tx:
        tx.run("INSERT INTO nowhere VALUES (1)")
    assert caught.value.facts == {"reason": "database-failed"}
    put(database, "key", "value")


def test_commit_of_a_failed_postgres_transaction_is_not_mistaken_for_success(database: Database) -> None:
    swallowed = False
    try:
        with database.write() as tx:
            tx.run(PUT, ("key", "value"))
            try:
                tx.run(PUT, ("key", "again"))
            except Conflict:
                swallowed = True
    except RolledBack:
        assert find(database, "key") is None
    else:
        assert database.dialect == "sqlite"
        assert find(database, "key") == "value"
    assert swallowed


def test_foreign_keys_and_types_are_enforced(database: Database) -> None:
    for sql, row in [
        (
            "INSERT INTO delivery (ref, unit, role, state, head, investigation, questions) VALUES (?,?,?,?,?,?,?)",
            ("no such referral", "unit", "action", "submitted", "head", "[]", "[]"),
        ),
        ("INSERT INTO poll (party, last_at) VALUES (?,?)", ("party", None)),
    ]:
        with pytest.raises(Conflict), database.write() as tx:
            tx.run(sql, row)
    with pytest.raises((Conflict, RolledBack)), database.write() as tx:
        tx.run("INSERT INTO poll (party, last_at) VALUES (?,?)", ("party", "yesterday"))


def test_bytes_flags_and_large_integers_come_back_as_they_went(database: Database) -> None:
    body = bytes(range(256)) * 80
    with database.write() as tx:
        tx.run(
            "INSERT INTO sealed (pos, sha256, size, body) VALUES (?,?,?,?)",
            (2**62, "sha", len(body), body),
        )
        rows = [("party", at, "d", "i", "submit", 1, at % 2 == 0) for at in (2**50, 2**50 + 1, 2**50 + 2)]
        columns = "party, pos, act_digest, act_id, kind, at, pending"
        assert tx.run_many(f"INSERT INTO feed ({columns}) VALUES (?,?,?,?,?,?,?)", rows) == 3
        assert tx.run_many(f"INSERT INTO feed ({columns}) VALUES (?,?,?,?,?,?,?)", []) == 0
    with database.read() as conn:
        assert conn.one("SELECT pos, body FROM sealed") == (2**62, body)
        assert conn.all("SELECT pos FROM feed WHERE party = ? AND pending ORDER BY pos", ("party",)) == [
            (2**50,),
            (2**50 + 2,),
        ]
    with database.write() as tx:
        assert tx.run("UPDATE feed SET pending = ? WHERE party = ?", (False, "party")) == 3


def test_a_snapshot_sees_one_moment_and_a_plain_read_sees_the_newest(database: Database) -> None:
    with database.read(snapshot=True) as old, database.read() as new:
        assert old.one("SELECT count(*) FROM meta") == (0,)
        put(database, "key", "value")
        assert old.one("SELECT count(*) FROM meta") == (0,)
        assert new.one("SELECT count(*) FROM meta") == (1,)
    with database.read() as conn:
        assert conn.one("SELECT count(*) FROM meta") == (1,)


def test_readers_of_many_threads_do_not_wait_for_the_writer(database: Database) -> None:
    put(database, "key", "value")
    with database.write() as tx:
        tx.run("UPDATE meta SET value = ?", ("changed",))
        with ThreadPoolExecutor(16) as pool:
            assert set(pool.map(lambda _: find(database, "key"), range(64))) == {"value"}
    assert find(database, "key") == "changed"


def test_writers_of_many_threads_take_turns(database: Database) -> None:
    put(database, "count", "0")

    def add(_: int) -> None:
        with database.write() as tx:
            row = tx.one(GET, ("count",))
            assert row is not None
            tx.run("UPDATE meta SET value = ? WHERE key = ?", (str(int(row[0]) + 1), "count"))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(40)))
    assert find(database, "count") == "40"


@pytest.mark.postgres
def test_connections_cut_by_the_server_are_replaced(postgres_database: str) -> None:
    with Database.create(postgres_database) as database, psycopg.connect(postgres_database, autocommit=True) as session:
        put(database, "key", "value")
        assert find(database, "key") == "value"
        _cut_all_but(session)
        put(database, "other", "value")
        assert find(database, "key") == "value"
        with pytest.raises(RolledBack) as caught, database.write() as tx:
            tx.run(PUT, ("third", "value"))
            _cut_all_but(session)
            tx.run(PUT, ("fourth", "value"))
        assert caught.value.facts == {"reason": "database-lost"}
        assert find(database, "third") is None
        put(database, "third", "at last")


def _cut_all_but(session: psycopg.Connection) -> None:
    others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    session.execute(f"SELECT pg_terminate_backend(pid) {others}")
    while session.execute(f"SELECT count(*) {others}").fetchone() != (0,):
        time.sleep(0.01)


@pytest.mark.postgres
def test_a_deadlock_is_contention_and_leaves_nothing(postgres_database: str) -> None:
    with Database.create(postgres_database) as database:
        put(database, "a", "1")
        put(database, "b", "1")
        with psycopg.connect(postgres_database) as session, ThreadPoolExecutor(1) as pool:
            session.execute("UPDATE meta SET value = '2' WHERE key = 'b'")
            with pytest.raises(RolledBack) as caught, database.write() as tx:
                tx.run("UPDATE meta SET value = '3' WHERE key = 'a'")
                tx.run("SET LOCAL deadlock_timeout = '10ms'")
                waiting = pool.submit(session.execute, "UPDATE meta SET value = '2' WHERE key = 'a'")
                while not _is_blocked(postgres_database):
                    time.sleep(0.01)
                tx.run("UPDATE meta SET value = '3' WHERE key = 'b'")
            assert caught.value.facts == {"reason": "contention"}
            waiting.result(timeout=10)


def _is_blocked(url: str) -> bool:
    with psycopg.connect(url) as session:
        row = session.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'").fetchone()
    return row is not None and row[0] > 0


def test_sqlite_pages_are_overwritten_when_ciphertext_is_purged(tmp_path: Path) -> None:
    canary = b"ciphertext-that-must-go" * 40
    with Database.create(f"sqlite:///{tmp_path}/exchange.db") as database:
        with database.write() as tx:
            tx.run(
                "INSERT INTO sealed (pos, sha256, size, body) VALUES (?,?,?,?)",
                (1, "sha", len(canary), canary),
            )
        with database.write() as tx:
            tx.run("UPDATE sealed SET body = NULL WHERE pos = 1")
    assert canary[:200] not in (tmp_path / "exchange.db").read_bytes()


def test_a_connection_is_not_usable_by_two_meanings_of_a_question_mark(database: Database) -> None:
    with database.read() as conn:
        assert isinstance(conn, Connection)
        assert conn.one("SELECT 'who?', \"key\" FROM meta WHERE 'it''s ?' <> ? LIMIT 1", ("x",)) is None
        assert conn.one("SELECT '100 %', '?', CAST(? AS INTEGER)", (7,)) == ("100 %", "?", 7)


def test_sqlite_files_of_the_installed_version_are_what_we_think(tmp_path: Path) -> None:
    with Database.create(f"sqlite:///{tmp_path}/exchange.db") as database:
        put(database, "key", "value")
        assert (tmp_path / "exchange.db-wal").stat().st_size > 0
        assert (tmp_path / "exchange.db-shm").exists()
    with sqlite3.connect(f"file:{tmp_path}/exchange.db?mode=ro", uri=True) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA page_size").fetchone() == (8192,)
    connection.close()
