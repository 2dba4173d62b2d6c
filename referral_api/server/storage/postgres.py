"""PostgreSQL, the engine for several server processes over one database.

READ COMMITTED throughout: the log's row lock orders the writers, and a stricter level would only make them fail. Every
connection is checked when it is made, because a setting of the role or the database can undo the server's own.

Must never: run where a commit can be acknowledged before it is durable, or write to a standby.
"""

from __future__ import annotations

import re
import select
from collections.abc import Mapping
from functools import lru_cache, partial
from typing import Any, Final

import psycopg
from psycopg.pq import TransactionStatus
from sqlalchemy import URL, Engine, QueuePool, create_engine, event

from referral_api.domain.errors import ReferralError
from referral_api.server.storage.driver import Conflict, OutcomeUnknown, RolledBack, Session, begin_explicitly, refuse

READERS: Final = 8
BRIEF: Final = 4
CONNECT_S: Final = 10
BRIEF_S: Final = 2
"""How long connecting, a lock and a statement may take where the caller would rather be refused than wait."""
FORGETTING: Final = ("sealed", "act", "record", "feed", "delivery", "referral")
"""Tables whose rows a purge empties or an erasure takes."""
_SETTINGS: Final = {
    "default_transaction_isolation": "read committed",
    "client_encoding": "UTF8",
    "timezone": "UTC",
    # A process that stalls inside a transaction holds the log's row lock, and with it every other writer.
    "idle_in_transaction_session_timeout": "30s",
    "lock_timeout": "20s",
    "statement_timeout": "60s",
}
_BRIEF_SETTINGS: Final = {"lock_timeout": f"{BRIEF_S}s", "statement_timeout": f"{BRIEF_S}s"}
_CONSTRAINT_CLASS: Final = "23"
_LOST_CLASSES: Final = ("08", "57P")
_RAISED: Final = "P0001"
_ROLLBACK_CLASS: Final = "40"
_COMPLETION_UNKNOWN: Final = "40003"
_CONTENTION: Final = frozenset({"40001", "40P01", "55P03"})
_QUOTED: Final = re.compile(r"('(?:[^']|'')*'|\"[^\"]*\")")


class PostgresDriver:
    """The engine over one database, which must exist."""

    dialect = "postgresql"
    unclean = True
    begin = "BEGIN"
    begin_snapshot = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
    lock_suffix = " FOR UPDATE"
    errors: tuple[type[Exception], ...] = (psycopg.Error,)

    def __init__(self, url: URL) -> None:
        """Raises UNAVAILABLE, reason `database-unreachable`, `not-durable` or `standby`."""
        self.writer = connect_engine(url, size=1, overflow=0)
        self.readers = connect_engine(url, size=READERS, overflow=3 * READERS)
        self.brief = connect_engine(url, size=BRIEF, overflow=3 * BRIEF, brief=True)
        try:
            self.writer.raw_connection().close()
        except psycopg.Error as error:
            raise refuse("database-unreachable") from error

    def native(self, sql: str) -> str:
        """`?` outside quotes becomes `%s`, and a literal `%` is doubled, as psycopg wants it."""
        return _native(sql)

    def failure(self, error: Exception) -> ReferralError:
        """Constraints and append-only triggers are conflicts; anything else before COMMIT leaves nothing behind."""
        state = getattr(error, "sqlstate", None)
        if state is None or state.startswith(_LOST_CLASSES):
            return RolledBack("database-lost")
        if state.startswith(_CONSTRAINT_CLASS) or state == _RAISED:
            return Conflict()
        return RolledBack("contention" if state in _CONTENTION else "database-failed")

    def is_lost(self, session: Session) -> bool:
        """Whether the server, the network or a time-out ended this connection."""
        connection = session.driver_connection
        return not isinstance(connection, psycopg.Connection) or connection.closed

    def is_stale(self, session: Session) -> bool:
        """An idle connection has nothing to say; if there is something to read, it is the server's farewell."""
        connection = session.driver_connection
        if not isinstance(connection, psycopg.Connection) or connection.closed:
            return True
        waiting = select.poll()
        waiting.register(connection.fileno(), select.POLLIN)
        return bool(waiting.poll(0))

    def in_transaction(self, session: Session) -> bool:
        """Also in one that has failed and awaits its rollback."""
        connection = session.driver_connection
        return isinstance(connection, psycopg.Connection) and connection.info.transaction_status in {
            TransactionStatus.INTRANS,
            TransactionStatus.INERROR,
        }

    def commit(self, session: Session) -> None:
        """COMMIT, durable when it returns.

        Only an integrity or a rollback error of the server itself proves that nothing happened. A lost connection, a
        shutdown or a cancelled wait for a standby proves nothing either way.
        """
        connection = session.driver_connection
        if not isinstance(connection, psycopg.Connection):
            raise RolledBack("database-lost")
        try:
            cursor = connection.execute("COMMIT")
        except psycopg.Error as error:
            state = error.sqlstate or ""
            if state.startswith((_CONSTRAINT_CLASS, _ROLLBACK_CLASS)) and state != _COMPLETION_UNKNOWN:
                raise RolledBack("contention") from error
            raise OutcomeUnknown from error
        # The server answers COMMIT of a failed transaction with a cheerful ROLLBACK instead of an error.
        if cursor.statusmessage != "COMMIT":
            raise RolledBack("database-failed")

    def sweep(self, *, again: bool) -> bool:  # noqa: ARG002  # the other engine needs it
        """VACUUM the tables that forget, over a reader's connection: the old versions of their rows are rows no more.

        Their bytes may stay in the files until something else is written there. A reader that still sees them keeps
        them, and autovacuum (migration 0010) comes again for those.
        """
        session = self.readers.raw_connection()
        cursor = session.cursor()
        try:
            cursor.execute("SET statement_timeout = 0")
            cursor.execute(f"VACUUM {', '.join(FORGETTING)}")
            cursor.execute(f"SET statement_timeout = '{_SETTINGS['statement_timeout']}'")
        except psycopg.Error:
            # With whatever it has not set back.
            session.invalidate()
            raise
        finally:
            session.close()
        return True

    def note_slack(self) -> None:
        """Nothing: there is none to be noted."""

    def slack_bytes(self) -> int:
        """0: what its files may keep is so by design, and said in docs/decisions/0033."""
        return 0

    def close(self) -> None:
        """Close all pools."""
        self.brief.dispose()
        self.readers.dispose()
        self.writer.dispose()


def connect_engine(url: URL, *, size: int, overflow: int, brief: bool = False) -> Engine:
    """An engine whose every new connection is autocommitting, configured and checked for durability.

    With `brief` nothing takes longer than BRIEF_S: connecting, waiting for a free connection, a lock, a statement.
    """
    longest_s = BRIEF_S if brief else CONNECT_S
    engine = create_engine(
        url.set(drivername="postgresql+psycopg"),
        poolclass=QueuePool,
        pool_size=size,
        max_overflow=overflow,
        pool_timeout=longest_s,
        connect_args={
            "connect_timeout": longest_s,
            "autocommit": True,
            "application_name": "referral_api",
            # A server that vanished without a word is noticed in half a minute, not in the kernel's two hours.
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": 30_000,
        },
    )
    settings = _SETTINGS | _BRIEF_SETTINGS if brief else _SETTINGS
    event.listen(engine, "connect", partial(_prepare, settings), insert=True)
    begin_explicitly(engine, PostgresDriver.begin)
    return engine


def _prepare(settings: Mapping[str, str], connection: psycopg.Connection[Any], _record: object) -> None:
    for name, value in settings.items():
        connection.execute("SELECT set_config(%s, %s, false)", (name, value))
    row = connection.execute("SELECT current_setting('synchronous_commit'), pg_is_in_recovery()").fetchone()
    if row is None or row[1]:
        raise refuse("standby")
    if row[0] not in {"on", "remote_apply"}:
        raise refuse("not-durable")


@lru_cache(maxsize=1024)
def _native(sql: str) -> str:
    parts = _QUOTED.split(sql.replace("%", "%%"))
    # The odd parts are what stood in quotes.
    return "".join(part if at & 1 else part.replace("?", "%s") for at, part in enumerate(parts))
