"""Logs in real databases, and what the tests do to them."""

# names of tables and columns are the tests' own

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg

from referral_api.auditlog.merkle import Frontier, leaf_hash
from referral_api.formats.keys import Alg, PublicKey, SigningKey, signing_key
from referral_api.server.storage import lease, logbook
from referral_api.server.storage.database import Database
from referral_api.server.storage.signer import LogSigner, LogSigners, SignedCheckpoint

AUDIT = "audit/2026"
PREFIX = "exchange.example/v1/log"
LOG_KEY: SigningKey = signing_key(Alg.ED25519, bytes(range(32)))


def leaves_of(first: int, last: int, word: str = "act") -> list[bytes]:
    return [f'{{"{word}":{number}}}'.encode() for number in range(first, last)]


def append(database: Database, leaves: Sequence[bytes], name: str = AUDIT) -> logbook.Appended:
    with database.write() as tx:
        head = logbook.lock(tx, [name])[name]
        return logbook.append(tx, head, leaves)


def edge_of(leaves: Sequence[bytes]) -> Frontier:
    return Frontier().extend([leaf_hash(leaf) for leaf in leaves])


def reader(database: Database, name: str = AUDIT) -> Callable[[int, int], list[bytes]]:
    def read_missing(first: int, last: int) -> list[bytes]:
        with database.read() as conn:
            return logbook.leaf_hashes(conn, name, first, last)

    return read_missing


def sign(database: Database, signer: LogSigner, done: logbook.Appended) -> SignedCheckpoint:
    return signer.extend(done.first, done.leaf_hashes, reader(database, done.name))


@dataclass(frozen=True, slots=True)
class OneLogKey:
    """A log key that nothing follows."""

    key: SigningKey

    def signing(self) -> list[SigningKey]:
        return [self.key]

    def known(self) -> list[PublicKey]:
        return [self.key.public]


def signers_in(folder: Path, key: SigningKey = LOG_KEY) -> LogSigners:
    folder.mkdir(exist_ok=True)
    return LogSigners(folder, PREFIX, OneLogKey(key), token_bytes=secrets.token_bytes, host="")


def claim(database: Database, signers: LogSigners, name: str = AUDIT) -> LogSigner:
    """Begin a log's signer and let the database name it, as the first batch of a log does."""
    with database.write() as tx:
        lease.hold(tx, signers, name, 0, 1)
    return signers(name)


def roll_back(url: str, size: int, name: str = AUDIT) -> None:
    """What restoring an old backup does to a log: everything after `size` has never been. The database must be closed.

    Triggers are no defence against whoever owns the database, so the test goes around them as that owner would.
    """
    leaves = _rows(url, f"SELECT leaf FROM log_entry WHERE log = '{name}' AND idx < {size} ORDER BY idx")
    frontier = edge_of([bytes(row[0]) for row in leaves]).to_bytes()
    _as_owner(
        url,
        [
            (f"DELETE FROM log_entry WHERE log = '{name}' AND idx >= {size}", ()),
            (f"DELETE FROM log_tile WHERE log = '{name}' AND lvl = 0 AND n >= {size // 256}", ()),
            (f"DELETE FROM log_tile WHERE log = '{name}' AND lvl = 1 AND {size // 256} = 0", ()),
            (f"UPDATE log_tile SET data = substr(data, 1, {size // 256 * 32}) WHERE log = '{name}' AND lvl = 1", ()),
            (f"DELETE FROM log_checkpoint WHERE log = '{name}' AND size > {size}", ()),
            ("UPDATE log_state SET size = {0}, frontier = {1} WHERE log = '" + name + "'", (size, frontier)),
        ],
    )


def tamper(url: str, statement: str, parameters: tuple[object, ...] = ()) -> None:
    """Run one statement as the owner of the database, past every trigger. The database must be closed."""
    _as_owner(url, [(statement, parameters)])


def _as_owner(url: str, statements: list[tuple[str, tuple[object, ...]]]) -> None:
    if url.startswith("sqlite"):
        with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
            triggers = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
            for name, _ in triggers:
                connection.execute(f"DROP TRIGGER {name}")
            for statement, parameters in statements:
                connection.execute(statement.format("?", "?"), parameters)
            for _, sql in triggers:
                connection.execute(sql)
        connection.close()
        return
    with psycopg.connect(url) as session:
        session.execute("SET session_replication_role = replica")
        for statement, parameters in statements:
            session.execute(statement.format("%s", "%s"), parameters)


def _rows(url: str, query: str) -> list[tuple[bytes]]:
    if url.startswith("sqlite"):
        connection = sqlite3.connect(url.removeprefix("sqlite:///"))
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()
    with psycopg.connect(url) as session:
        return session.execute(query).fetchall()
