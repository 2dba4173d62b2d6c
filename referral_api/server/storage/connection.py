"""Statements over one borrowed connection, and the writing transaction: plain SQL with `?`, rows as tuples.

Must never: keep a transaction open between calls, or commit (database.py does).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from referral_api.domain.errors import ReferralError
from referral_api.server.storage.driver import Conflict, Driver, Params, RolledBack, Row, Session


class Connection:
    """Statements over one borrowed connection. Parameters are `?`; rows are plain tuples.

    Raises Conflict or RolledBack; a read that fails with RolledBack may simply be asked again.
    """

    __slots__ = ("_cursor", "_driver", "_session")

    def __init__(self, driver: Driver, session: Session) -> None:
        self._driver = driver
        self._session = session
        self._cursor = session.cursor()

    def one(self, sql: str, params: Params = ()) -> Row | None:
        """The first row, or None."""
        try:
            self._cursor.execute(self._driver.native(sql), params)
            row: Row | None = self._cursor.fetchone()
        except self._driver.errors as error:
            raise self._failure(error) from error
        return row

    def all(self, sql: str, params: Params = ()) -> list[Row]:
        """Every row. Bound it with LIMIT."""
        try:
            self._cursor.execute(self._driver.native(sql), params)
            return list(self._cursor.fetchall())
        except self._driver.errors as error:
            raise self._failure(error) from error

    def run(self, sql: str, params: Params = ()) -> int:
        """Execute a statement that returns no rows; the number of rows it touched."""
        try:
            self._cursor.execute(self._driver.native(sql), params)
        except self._driver.errors as error:
            raise self._failure(error) from error
        return int(self._cursor.rowcount)

    def run_many(self, sql: str, rows: Iterable[Params]) -> int:
        """Execute one statement for many rows; the number of rows touched in all."""
        batch = list(rows)
        if not batch:
            return 0
        try:
            self._cursor.executemany(self._driver.native(sql), batch)
        except self._driver.errors as error:
            raise self._failure(error) from error
        return int(self._cursor.rowcount)

    def close(self) -> None:
        """Give the cursor back. `Database` calls this; a lost connection has nothing left to close."""
        try:
            self._cursor.close()
        except self._driver.errors:
            return

    def _failure(self, error: Exception) -> ReferralError:
        return self._driver.failure(error)


class Transaction(Connection):
    """A writing transaction: all of it happens at the end of `Database.write`, or none.

    Rows that nobody reads back at once may be written behind (`later`): they go to the engine together, one statement a
    table instead of one a row, at the latest before the next other statement, so that every read sees them.
    """

    __slots__ = ("_behind", "forgets")

    def __init__(self, driver: Driver, session: Session) -> None:
        super().__init__(driver, session)
        self.forgets = False
        """Set by whatever deletes what must not come back: once this has committed, the engine is to be swept."""
        self._behind: dict[str, list[Params]] = {}

    def later(self, sql: str, row: Params) -> None:
        """Write one row behind. Statements keep the order in which their texts were first seen."""
        self._behind.setdefault(sql, []).append(row)

    def flush(self) -> None:
        """Write what was left behind. Raises Conflict or RolledBack as `run_many`."""
        if self._behind:
            behind, self._behind = self._behind, {}
            for sql, rows in behind.items():
                super().run_many(sql, rows)

    def one(self, sql: str, params: Params = ()) -> Row | None:
        """As Connection's, after a flush."""
        self.flush()
        return super().one(sql, params)

    def all(self, sql: str, params: Params = ()) -> list[Row]:
        """As Connection's, after a flush."""
        self.flush()
        return super().all(sql, params)

    def run(self, sql: str, params: Params = ()) -> int:
        """As Connection's, after a flush."""
        self.flush()
        return super().run(sql, params)

    def run_many(self, sql: str, rows: Iterable[Params]) -> int:
        """As Connection's, after a flush."""
        self.flush()
        return super().run_many(sql, rows)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Forget the rows that the block left behind, when it raises. For blocks that only write behind."""
        marks = {sql: len(rows) for sql, rows in self._behind.items()}
        try:
            yield
        except BaseException:
            for sql, rows in self._behind.items():
                del rows[marks.get(sql, 0) :]
            raise

    def one_locked(self, sql: str, params: Params = ()) -> Row | None:
        """The first row of a SELECT, locked until the transaction ends (SQLite has locked the whole file already)."""
        return self.one(sql + self._driver.lock_suffix, params)

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Undo only what the block did, when it raises; the exception goes on to the caller.

        Raises RolledBack if the engine ended the whole transaction by itself (disk full, connection lost).
        """
        self.run("SAVEPOINT act")
        try:
            yield
            self.flush()
        except BaseException as error:
            self._behind.clear()
            if self._driver.is_lost(self._session) or not self._driver.in_transaction(self._session):
                raise RolledBack("database-failed") from error
            self.run("ROLLBACK TO SAVEPOINT act")
            self.run("RELEASE SAVEPOINT act")
            raise
        self.run("RELEASE SAVEPOINT act")

    def _failure(self, error: Exception) -> ReferralError:
        failure = self._driver.failure(error)
        if isinstance(failure, Conflict) and not self._driver.in_transaction(self._session):
            return RolledBack("database-failed")
        return failure
