"""SQLite, the embedded engine: one file, one process, one connection that writes.

SQLite before 3.51.3 can lose committed pages when two connections write or checkpoint a WAL at the same moment (the
WAL-reset race; Debian 12 ships 3.40.1). So exactly one connection, the writer's, ever writes or checkpoints; readers
are opened read-only and cannot do either. A lock file keeps every other process out for the same reason, and because
the log's sequencer and the caches above belong to one process.

Must never: run with synchronous below FULL, or create a file that was not asked for.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from sqlalchemy import Engine, QueuePool, create_engine

from referral_api.domain.errors import ReferralError
from referral_api.server.storage.driver import Conflict, OutcomeUnknown, RolledBack, Session, begin_explicitly, refuse

PAGE_BYTES: Final = 8192
"""Measured with 20 kB rows and small ones together (docs/performance.md); fixed when the file is created."""
CHECKPOINT_PAGES: Final = 1000
"""When the WAL has grown by so many pages, the commit that finds it so also checkpoints: 8 MiB, some milliseconds."""
CACHE_KIB: Final = 65_536
BUSY_S: Final = 10.0
SWEEP_MS: Final = 250
"""How long a sweep waits for readers, and the writer for it; it is tried again where that was too short."""
REWRITTEN_BYTES: Final = 256 << 20
"""How large a file may be for a sweep to write it anew: a second or two on an ordinary disk."""
_NOT_REWRITTEN: Final = "sqlite.not-rewritten"
"""Under this key `meta` keeps the file's schema version at the last purge after which it was not written anew. Every
VACUUM raises that version, whoever runs it, so that it is the same for as long as nobody has.
"""
READERS: Final = 8
"""Connections kept open for reading; the pool lends up to four times as many under load."""


class SqliteDriver:
    """The engine over one file, which must exist. Holds the process lock until `close`."""

    dialect = "sqlite"
    # A deferred BEGIN would take the write lock only at the first write, and fail there if another was quicker.
    begin = "BEGIN IMMEDIATE"
    begin_snapshot = "BEGIN"
    lock_suffix = ""
    errors: tuple[type[Exception], ...] = (sqlite3.Error,)

    def __init__(self, path: Path) -> None:
        """Raises UNAVAILABLE, reason `database-in-use` or `database-missing`."""
        self._lock = lock_file(path)
        self._path = path
        try:
            _require_file(path)
            # Whoever closes takes the WAL away; where one is left, a process was killed.
            self.unclean = _is_filled(Path(f"{path}-wal"))
            self.writer = _engine(lambda: _connect_writer(path), size=1, overflow=0)
            self.readers = _engine(lambda: _connect_reader(path), size=READERS, overflow=3 * READERS)
            # Reads of a local file wait for nobody.
            self.brief = self.readers
            # The writer comes first and goes last: a read-only connection cannot make the WAL's index, and whoever
            # closes last checkpoints.
            self.writer.raw_connection().close()
        except sqlite3.Error as error:
            os.close(self._lock)
            raise refuse("database-unreachable") from error
        except BaseException:
            os.close(self._lock)
            raise

    def native(self, sql: str) -> str:
        """Unchanged."""
        return sql

    def failure(self, error: Exception) -> ReferralError:
        """Constraints and triggers are conflicts; whatever else goes wrong before COMMIT leaves nothing behind."""
        if isinstance(error, sqlite3.IntegrityError):
            return Conflict()
        if isinstance(error, sqlite3.OperationalError) and _primary_code(error) in {
            sqlite3.SQLITE_BUSY,
            sqlite3.SQLITE_LOCKED,
        }:
            return RolledBack("contention")
        return RolledBack("database-failed")

    def is_lost(self, session: Session) -> bool:  # noqa: ARG002  # the other engine needs it
        """A file is not lost; a connection that failed at COMMIT is retired by `Database`."""
        return False

    def is_stale(self, session: Session) -> bool:  # noqa: ARG002  # the other engine needs it
        """Nobody cuts the connection to a file."""
        return False

    def in_transaction(self, session: Session) -> bool:
        """SQLite ends a transaction by itself when the disk is full or fails."""
        connection = session.driver_connection
        return isinstance(connection, sqlite3.Connection) and connection.in_transaction

    def commit(self, session: Session) -> None:
        """COMMIT, durable when it returns.

        A COMMIT refused for a constraint or a lock has done nothing. After any other error the commit record may
        already stand in the WAL, and a recovery would honour it: the outcome is unknown.
        """
        cursor = session.cursor()
        try:
            cursor.execute("COMMIT")
        except sqlite3.Error as error:
            if _primary_code(error) in {sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_BUSY}:
                raise RolledBack("contention") from error
            raise OutcomeUnknown from error
        finally:
            cursor.close()

    def sweep(self, *, again: bool) -> bool:
        """Write the file anew, copy the WAL into it and cut that to nothing.

        `secure_delete` overwrites what is freed, but not the copies that stay in the slack of a page when rows move to
        another one. Over the writer's own connection, lent meanwhile; a file too large for that keeps its slack.
        """
        session = self.writer.raw_connection()
        cursor = session.cursor()
        try:
            cursor.execute(f"PRAGMA busy_timeout = {SWEEP_MS}")
            if not again and self._path.stat().st_size <= REWRITTEN_BYTES:
                cursor.execute("VACUUM")
            elif not again:
                _note_slack(cursor)
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            told = cursor.fetchone()
        finally:
            cursor.execute(f"PRAGMA busy_timeout = {int(BUSY_S * 1000)}")
            cursor.close()
            session.close()
        return told is not None and told[0] == 0

    def note_slack(self) -> None:
        """Note that the file was not written anew since a purge: a new schema has raised its version too."""
        session = self.writer.raw_connection()
        cursor = session.cursor()
        try:
            _note_slack(cursor)
        finally:
            cursor.close()
            session.close()

    def slack_bytes(self) -> int:
        """How large the file is that was too large to be written anew since a purge; 0 where it was, since."""
        session = self.readers.raw_connection()
        cursor = session.cursor()
        try:
            cursor.execute("SELECT value FROM meta WHERE key = ?", (_NOT_REWRITTEN,))
            kept = cursor.fetchone()
            is_kept = kept is not None and kept[0] == _schema_version(cursor)
        finally:
            cursor.close()
            session.close()
        return self._path.stat().st_size if is_kept else 0

    def close(self) -> None:
        """Close the readers, then the writer (which checkpoints and removes the WAL), then let the next process in."""
        self.readers.dispose()
        self.writer.dispose()
        os.close(self._lock)


class SqliteOnlooker(SqliteDriver):
    """The engine for whoever only reads, also while another process has the file: read-only connections alone.

    They neither write nor checkpoint, so that they are safe beside the exchange; while one reads a snapshot, the WAL
    grows. A file that nobody has is taken as usual, and kept from others: only a writer can make the WAL's index.
    Texts that are no UTF-8 are read all the same, their bytes as lone surrogates: they are what is looked for.
    """

    def __init__(self, path: Path) -> None:
        """Raises UNAVAILABLE, reason `database-missing` or `database-unreachable`."""
        self._holder: SqliteDriver | None = None
        self._path = path
        self.unclean = False
        try:
            self._holder = SqliteDriver(path)
        except ReferralError as error:
            if error.facts.get("reason") != "database-in-use":
                raise
        self.readers = _engine(lambda: _connect_onlooker(path), size=1, overflow=1, begin=self.begin_snapshot)
        self.writer = self.brief = self.readers
        try:
            self.readers.raw_connection().close()
        except sqlite3.Error as error:
            self.close()
            raise refuse("database-unreachable") from error

    def close(self) -> None:
        """Close the readers, and let the file go where it was held."""
        self.readers.dispose()
        if self._holder is not None:
            self._holder.close()


def create_file(path: Path, fill: Callable[[Engine], None]) -> None:
    """Make the database file whole or not at all: fill a new file beside it, then rename it into place.

    Raises UNAVAILABLE, reason `database-exists` or `database-in-use`.
    """
    lock = lock_file(path)
    try:
        if path.exists():
            raise refuse("database-exists")
        draft = path.with_name(path.name + ".new")
        for leftover in (draft, Path(f"{draft}-wal"), Path(f"{draft}-shm")):
            leftover.unlink(missing_ok=True)
        # Ciphertext and acts are nobody else's business, whatever the umask says.
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        engine = _engine(lambda: _connect_writer(draft), size=1, overflow=0)
        fill(engine)
        engine.dispose()
        draft.rename(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    finally:
        os.close(lock)


def lock_file(path: Path) -> int:
    """Keep every other process off this database as long as the returned descriptor is open.

    Raises UNAVAILABLE, reason `database-in-use`, or `database-missing` when not even the folder exists.
    """
    try:
        descriptor = os.open(path.with_name(path.name + ".lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except FileNotFoundError as error:
        raise refuse("database-missing") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise refuse("database-in-use") from error
    return descriptor


def _schema_version(cursor: Any) -> str:
    cursor.execute("PRAGMA schema_version")
    return str(cursor.fetchone()[0])


def _note_slack(cursor: Any) -> None:
    cursor.execute(
        "INSERT INTO meta (key, value) VALUES (?,?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        (_NOT_REWRITTEN, _schema_version(cursor)),
    )


def _is_filled(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


def _require_file(path: Path) -> None:
    # SQLite takes an empty file for an empty database; for us it is a file that was lost.
    if not path.is_file() or path.stat().st_size == 0:
        raise refuse("database-missing")


def _engine(
    connect: Callable[[], sqlite3.Connection], *, size: int, overflow: int, begin: str = SqliteDriver.begin
) -> Engine:
    engine = create_engine(
        "sqlite+pysqlite://", creator=connect, poolclass=QueuePool, pool_size=size, max_overflow=overflow
    )
    begin_explicitly(engine, begin)
    return engine


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    # isolation_level None: transactions begin and end where `Database` says so, never by the module's guess.
    return sqlite3.connect(
        f"file:{quote(str(path.absolute()))}?mode={mode}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=BUSY_S,
        cached_statements=256,
    )


def _connect_writer(path: Path) -> sqlite3.Connection:
    connection = _connect(path, "rw")
    connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
    connection.execute("PRAGMA journal_mode = WAL")
    # FULL: a receipt that left survives a power cut. In NORMAL the last commits do not, and the log would fork.
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    # Without it INSERT OR REPLACE would delete a row unseen by the append-only triggers.
    connection.execute("PRAGMA recursive_triggers = ON")
    # Purged ciphertext is overwritten, not merely unlinked from the page.
    connection.execute("PRAGMA secure_delete = ON")
    connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
    # A full batch of bundles fits, so that no page is written twice in one transaction.
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")
    if connection.execute("PRAGMA journal_mode").fetchone() != ("wal",) or (
        connection.execute("PRAGMA synchronous").fetchone() != (2,)
    ):
        connection.close()
        raise refuse("not-durable")
    return connection


def _connect_reader(path: Path) -> sqlite3.Connection:
    connection = _connect(path, "ro")
    connection.execute("PRAGMA query_only = ON")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute("PRAGMA trusted_schema = OFF")
    return connection


def _connect_onlooker(path: Path) -> sqlite3.Connection:
    connection = _connect_reader(path)
    connection.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
    return connection


def _primary_code(error: Exception) -> int:
    """The primary result code: the low byte of SQLite's extended one; -1 if the module itself raised."""
    code: int = getattr(error, "sqlite_errorcode", -1)
    return code & 0xFF if code >= 0 else code
