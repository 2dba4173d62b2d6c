"""What has been logged is not changed by a stray statement; against the database's owner only verification helps."""

# names of tables and columns are the tests' own

from __future__ import annotations

import pytest

from referral_api.server.storage.database import Conflict, Database
from tests.server.storage.ledger import append, leaves_of

ACT = (1, "digest", "hotline.op1a", "id", "hotline", "submit", None, None, None, "jws", "accepted", None, "r", None, 5)
INSERTS = {
    "act": ("INSERT INTO act VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)", ACT),
    "record": ("INSERT INTO record VALUES (?,?,?,?,?)", (1, "retrieved", None, "unit", "{}")),
    "erasure": ("INSERT INTO erasure VALUES (?,?)", (7, "digest")),
    "log_entry": ("INSERT INTO log_entry VALUES (?,?,?)", ("keys", 0, b"leaf")),
    "log_state": ("INSERT INTO log_state VALUES (?,?,?)", ("keys", 1, b"edge")),
    "log_tile": ("INSERT INTO log_tile VALUES (?,?,?,?)", ("keys", 0, 0, b"h" * 8192)),
}
CHANGES = {
    "act": ("jws = 'other'", "receipt = 'other'", "pos = 2", "code = NULL"),
    "record": ("body = '{ }'", "pos = 2"),
    "erasure": ("pos = 8", "act = 'other'"),
    "log_entry": ("idx = 1", "log = 'audit/2026'"),
    "log_state": ("size = 1", "size = 0", "log = 'audit/2026', size = 2"),
    "log_tile": ("n = 1", "data = data"),
}


@pytest.fixture
def filled(database: Database) -> Database:
    with database.write() as tx:
        for sql, row in INSERTS.values():
            tx.run(sql, row)
    return database


@pytest.mark.parametrize(("table", "change"), [(table, one) for table, every in CHANGES.items() for one in every])
def test_rows_do_not_change(filled: Database, table: str, change: str) -> None:
    with pytest.raises(Conflict), filled.write() as tx:
        tx.run(f"UPDATE {table} SET {change}")


@pytest.mark.parametrize("table", sorted(INSERTS))
def test_rows_do_not_go_away(filled: Database, table: str) -> None:
    with pytest.raises(Conflict), filled.write() as tx:
        tx.run(f"DELETE FROM {table}")
    if filled.dialect == "postgresql":
        with pytest.raises(Conflict), filled.write() as tx:
            tx.run(f"TRUNCATE {table}")
    with filled.read() as conn:
        assert conn.one(f"SELECT count(*) FROM {table}") == (1,)


@pytest.mark.parametrize("table", sorted(INSERTS))
def test_rows_are_not_replaced_by_an_insert(filled: Database, table: str) -> None:
    sql, row = INSERTS[table]
    with pytest.raises(Conflict), filled.write() as tx:
        tx.run(sql, row)
    if filled.dialect == "sqlite":
        with pytest.raises(Conflict), filled.write() as tx:
            tx.run(sql.replace("INSERT", "INSERT OR REPLACE"), row)


def test_the_same_id_of_the_same_issuer_is_taken_once(filled: Database) -> None:
    for change in ({1: "digest"}, {2: "hotline.op1a", 3: "id"}):
        row = [2, "other", "hotline.op2b", "other id", *ACT[4:]]
        for at, value in change.items():
            row[at] = value
        with pytest.raises(Conflict), filled.write() as tx:
            tx.run(INSERTS["act"][0], row)


def test_a_tile_only_grows(database: Database) -> None:
    put = (
        "INSERT INTO log_tile (log, lvl, n, data) VALUES (?,?,?,?)"
        " ON CONFLICT (log, lvl, n) DO UPDATE SET data = excluded.data"
    )
    with database.write() as tx:
        tx.run(put, ("keys", 1, 0, b"a" * 32))
        tx.run(put, ("keys", 1, 0, b"a" * 32 + b"b" * 32))
    for data in (b"a" * 32, b"a" * 64, b"b" * 96, b"a" * 32 + b"b" * 32, b"a" * 32 + b"b" * 8192):
        with pytest.raises(Conflict), database.write() as tx:
            tx.run(put, ("keys", 1, 0, data))


@pytest.mark.parametrize("table", ["act", "record"])
def test_a_row_goes_away_only_where_it_is_noted_as_erased(filled: Database, table: str) -> None:
    with filled.write() as tx:
        tx.run("INSERT INTO erasure VALUES (?,?)", (1, "digest"))
        assert tx.run(f"DELETE FROM {table} WHERE pos = 1") == 1


def test_ciphertext_may_go(database: Database) -> None:
    append(database, leaves_of(0, 1))
    with database.write() as tx:
        tx.run("INSERT INTO sealed (pos, sha256, size, body) VALUES (?,?,?,?)", (1, "sha", 3, b"abc"))
        assert tx.run("UPDATE sealed SET body = NULL WHERE pos = 1") == 1
    with database.read() as conn:
        assert conn.one("SELECT sha256, size, body FROM sealed") == ("sha", 3, None)
