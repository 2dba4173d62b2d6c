"""The database as everything above it sees it: short reads, one writer, plain SQL with `?`, typed failures.

SQLAlchemy owns engines and pools; statements go straight to the driver's cursor, which costs a few microseconds instead
of some hundred. `open` serves only a database that `create` (behind `admin init`) has made and whose schema is the one
this code was written for: a lost disk must not turn into a fresh, empty exchange.

Must never: create what was not asked for, keep a transaction open between calls, or retry a COMMIT.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Self

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Engine, make_url
from sqlalchemy.exc import ArgumentError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.server.storage.connection import Connection, Transaction
from referral_api.server.storage.driver import (
    Conflict,
    Driver,
    OutcomeUnknown,
    RolledBack,
    Session,
    refuse,
)
from referral_api.server.storage.sqlite import SqliteDriver, SqliteOnlooker, create_file

__all__ = ["Conflict", "Connection", "Database", "OutcomeUnknown", "RolledBack", "Transaction"]


class Database:
    """One open database. Thread-safe; `write` lends the one writer connection to one thread at a time."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._closed_reason: str | None = None
        self._swept = not driver.unclean
        self._tried = False
        """Whether a sweep has begun since something was forgotten."""
        self._forgot = False

    @classmethod
    def create(cls, url: str) -> Self:
        """Make the database with every table and trigger, and open it.

        SQLite: a new file. PostgreSQL: an existing, empty database. Raises UNAVAILABLE, reason `database-exists` if
        there is one already.
        """
        target = _parse_url(url)
        if target.get_backend_name() == "sqlite":
            create_file(_path(target), _migrate)
        else:
            from referral_api.server.storage.postgres import connect_engine  # noqa: PLC0415  # psycopg is an extra

            engine = connect_engine(target, size=1, overflow=0)
            try:
                _require_empty(_schema(engine))
                _migrate(engine)
            except OperationalError as error:
                raise refuse("database-unreachable") from error
            except ProgrammingError as error:
                # Somebody else's tables are in the way. Everything of ours is undone.
                raise refuse("database-exists") from error
            finally:
                engine.dispose()
        return cls.open(url)

    @classmethod
    def open(cls, url: str) -> Self:
        """Open a database that exists and has exactly the schema of this code.

        Raises UNAVAILABLE with a `reason` of `driver.REFUSALS`: `schema-behind` asks for `admin migrate`.
        """
        driver = _connect(_parse_url(url))
        try:
            _require_schema(_schema(driver.writer))
        except BaseException:
            driver.close()
            raise
        return cls(driver)

    @classmethod
    def look(cls, url: str) -> Self:
        """Open for reading only, on SQLite also a file that another process has open: for the audit of the database.

        Raises as `open`, but not for that.
        """
        target = _parse_url(url)
        driver = SqliteOnlooker(_path(target)) if target.get_backend_name() == "sqlite" else _connect(target)
        try:
            _require_schema(_schema(driver.readers))
        except BaseException:
            driver.close()
            raise
        database = cls(driver)
        database._closed_reason = "read-only"
        return database

    @classmethod
    def migrate(cls, url: str) -> Self:
        """Bring an existing database to the schema of this code, in one transaction, and open it."""
        driver = _connect(_parse_url(url))
        try:
            _require_known(_schema(driver.writer))
            slack = driver.slack_bytes()
            _migrate(driver.writer)
            if slack:
                driver.note_slack()
        finally:
            driver.close()
        return cls.open(url)

    @property
    def writable(self) -> bool:
        """Whether `write` would begin at all."""
        return self._closed_reason is None

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return self._driver.dialect

    @contextmanager
    def read(self, *, snapshot: bool = False, brief: bool = False) -> Iterator[Connection]:
        """Borrow a connection for a few reads. With `snapshot` they all see the database of one moment; with `brief`
        each is answered within seconds or refused (PostgreSQL).

        Raises RolledBack: `database-lost` if the database does not answer, `contention` if all connections are lent.
        """
        session = self._borrow(self._driver.brief if brief else self._driver.readers)
        connection = Connection(self._driver, session)
        try:
            if snapshot:
                connection.run(self._driver.begin_snapshot)
            yield connection
        finally:
            connection.close()
            if self._driver.is_lost(session):
                session.invalidate()
            # The pool rolls back whatever is open: a reader leaves no transaction behind.
            session.close()

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        """One transaction, committed and durable when the block has ended; rolled back if it raises.

        Raises RolledBack (nothing happened, try again), OutcomeUnknown (ask for the act's receipt), or WRITES_CLOSED
        (`commit-failed`) once SQLite has failed at a COMMIT: after a failed sync only a restart may trust the file.
        """
        if self._closed_reason is not None:
            raise ReferralError(ErrorCode.WRITES_CLOSED, reason=self._closed_reason)
        session, transaction = self._begin()
        try:
            yield transaction
            transaction.flush()
        except BaseException:
            self._give_up(session, transaction)
            raise
        try:
            self._driver.commit(session)
        except OutcomeUnknown:
            if self.dialect == "sqlite":
                self._closed_reason = "commit-failed"
            self._give_up(session, transaction)
            raise
        except BaseException:
            self._give_up(session, transaction)
            raise
        transaction.close()
        session.close()
        if transaction.forgets:
            self._forgot, self._swept, self._tried = True, False, False

    @property
    def swept(self) -> bool:
        """Whether nothing is known that deleted rows have left behind, by this process or one that was killed."""
        return self._swept

    def sweep(self) -> bool:
        """Clear away what deleted rows have left beside the tables, if anything has; False where that must wait.

        Never inside a transaction of the calling thread. Raises RolledBack. Nothing is done once a COMMIT has failed:
        what stands in the WAL then is a restart's to judge.
        """
        if self._swept or self._closed_reason is not None:
            return self._swept
        again = self._tried
        # Before, so that whatever is forgotten meanwhile is not taken for swept.
        self._swept = self._tried = True
        done = begun = False
        try:
            done = self._driver.sweep(again=again)
            begun = True
        except self._driver.errors as error:
            raise self._driver.failure(error) from error
        except PoolTimeout as error:
            raise RolledBack("contention") from error
        finally:
            self._tried, self._swept = self._tried and begun, self._swept and done
        return done

    def slack_bytes(self) -> int:
        """How large a file is that nobody has written anew since a purge, because it is too large for that; 0: none is.

        Raises RolledBack.
        """
        try:
            return self._driver.slack_bytes()
        except self._driver.errors as error:
            raise self._driver.failure(error) from error
        except PoolTimeout as error:
            raise RolledBack("contention") from error

    def close(self) -> None:
        """Sweep what was forgotten here, if that is still to be done and can be; close every connection and let another
        process open the file.
        """
        if self._forgot:
            with suppress(ReferralError):
                self.sweep()
        self._driver.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _borrow(self, engine: Engine) -> Session:
        try:
            session = engine.raw_connection()
            # What cut one idle connection has usually cut them all; each found dead is replaced by a new one.
            while self._driver.is_stale(session):
                session.invalidate()
                session.close()
                session = engine.raw_connection()
        except self._driver.errors as error:
            raise RolledBack("database-lost") from error
        except PoolTimeout as error:
            raise RolledBack("contention") from error
        return session

    def _begin(self) -> tuple[Session, Transaction]:
        """Begin; if the connection is lost in this very moment, nothing has happened yet and a new one is tried."""
        session = self._borrow(self._driver.writer)
        transaction = Transaction(self._driver, session)
        try:
            transaction.run(self._driver.begin)
        except RolledBack:
            was_lost = self._driver.is_lost(session)
            self._give_up(session, transaction)
            if not was_lost:
                raise
            session = self._borrow(self._driver.writer)
            transaction = Transaction(self._driver, session)
            transaction.run(self._driver.begin)
        return session, transaction

    def _give_up(self, session: Session, transaction: Transaction) -> None:
        """Roll back, or where that is impossible drop the connection, which makes the engine do it."""
        try:
            if not self._driver.is_lost(session) and self._driver.in_transaction(session):
                transaction.run("ROLLBACK")
        except ReferralError:
            session.invalidate()
        else:
            if self._driver.is_lost(session) or self._driver.in_transaction(session):
                session.invalidate()
        transaction.close()
        session.close()


def _parse_url(url: str) -> URL:
    """`sqlite:////path/to/file` or `postgresql://…`; anything else raises UNAVAILABLE, reason `url`."""
    try:
        target = make_url(url)
    except ArgumentError as error:
        raise refuse("url") from error
    backend = target.get_backend_name()
    if backend not in {"sqlite", "postgresql"} or (backend == "sqlite" and target.database in {None, "", ":memory:"}):
        raise refuse("url")
    return target


def _path(url: URL) -> Path:
    return Path(str(url.database))


def _connect(url: URL) -> Driver:
    if url.get_backend_name() == "sqlite":
        return SqliteDriver(_path(url))
    from referral_api.server.storage.postgres import PostgresDriver  # noqa: PLC0415  # psycopg is an extra

    return PostgresDriver(url)


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    # The default would split paths at spaces.
    config.set_main_option("path_separator", "os")
    return config


@cache
def _script() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())


def _require_empty(found: tuple[str, ...]) -> None:
    if found:
        raise refuse("database-exists")


def _require_known(found: tuple[str, ...]) -> None:
    """A database that this code's steps lead to; an empty one, a foreign one or a newer one is none."""
    known = {step.revision for step in _script().walk_revisions()}
    if not found or not known.issuperset(found):
        raise refuse("schema-unknown")


def _require_schema(found: tuple[str, ...]) -> None:
    _require_known(found)
    if set(found) != set(_script().get_heads()):
        raise refuse("schema-behind")


def _schema(engine: Engine) -> tuple[str, ...]:
    """The revisions that the database says it has; none in an empty one."""
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_heads()


def _migrate(engine: Engine) -> None:
    config = _config()
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
