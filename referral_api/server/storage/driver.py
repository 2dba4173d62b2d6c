"""What the two database engines have to answer alike, and the errors that leave storage.

`sqlite.py` and `postgres.py` implement `Driver`; `database.py` drives them. The errors are `ReferralError`s, so that
one which nobody catches still becomes the right answer; the writer catches them by class to decide what may be retried.

Must never: let an exception of sqlite3 or psycopg out of this folder, or call a commit rolled back that may have
happened.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Protocol, TypeAlias

from sqlalchemy import Connection, Engine, PoolProxiedConnection, event

from referral_api.domain.errors import ErrorCode, ReferralError

Row: TypeAlias = tuple[Any, ...]
Params: TypeAlias = Sequence[Any]
Session: TypeAlias = PoolProxiedConnection
"""A driver's own connection, lent by the pool that owns it."""


class Conflict(ReferralError):  # noqa: N818  # names say what happened, as ErrorCode does
    """A constraint or an append-only trigger refused the statement. On PostgreSQL only a savepoint survives this."""

    def __init__(self) -> None:
        super().__init__(ErrorCode.INTERNAL, reason="constraint")


class RolledBack(ReferralError):  # noqa: N818
    """Nothing of this transaction happened, for certain: the same work may be tried again at once.

    `reason` is `database-lost` (no connection), `contention` (deadlock, time-out of a lock, all connections lent) or
    `database-failed`.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(ErrorCode.UNAVAILABLE, reason=reason)


class OutcomeUnknown(ReferralError):  # noqa: N818
    """COMMIT was sent and not answered: only the database can tell, when it is asked for the act's receipt (R-53)."""

    def __init__(self) -> None:
        super().__init__(ErrorCode.OUTCOME_UNKNOWN)


class Driver(Protocol):
    """One engine: how to connect, begin and commit, and what its errors mean."""

    dialect: str
    """`sqlite` or `postgresql`."""
    begin: str
    """Opens a writing transaction."""
    begin_snapshot: str
    """Opens a transaction whose reads all see one moment, and which cannot write."""
    lock_suffix: str
    """Ends a SELECT that takes the row's lock; empty where `begin` has locked the whole file already."""
    errors: tuple[type[Exception], ...]
    """What the raw driver raises."""
    readers: Engine
    brief: Engine
    """Readers whose statements are answered within seconds, or not at all."""
    writer: Engine

    def native(self, sql: str) -> str:
        """The statement with `?` written as the driver wants it."""

    def failure(self, error: Exception) -> ReferralError:
        """What an error of any statement but COMMIT means."""

    def is_lost(self, session: Session) -> bool:
        """Whether the connection can no longer be used."""

    def is_stale(self, session: Session) -> bool:
        """Whether a connection that lay idle has been cut meanwhile. Costs no round trip."""

    def in_transaction(self, session: Session) -> bool:
        """Whether a transaction is still open; some errors end it unasked."""

    def commit(self, session: Session) -> None:
        """COMMIT. Raises RolledBack or OutcomeUnknown."""

    unclean: bool
    """Whether a predecessor may have left what is to be swept."""

    def sweep(self, *, again: bool) -> bool:
        """Clear away what deleted rows have left in and beside the tables; False where a reader stands in the way
        still, and it is to be tried `again`.

        Outside of any transaction. What that reaches of each engine's files is docs/decisions/0033.
        """

    def note_slack(self) -> None:
        """Keep saying so, after whatever else would have it forgotten."""

    def slack_bytes(self) -> int:
        """How large the engine's files are that may keep pieces of what was purged until the operator acts."""

    def close(self) -> None:
        """Give everything back, the readers first."""


REFUSALS: Final = frozenset(
    {
        "database-missing",
        "database-exists",
        "database-in-use",
        "database-unreachable",
        "schema-behind",
        "schema-unknown",
        "not-durable",
        "standby",
        "url",
        "backup-exists",
        "engine-differs",
        "pg-dump-missing",
        "pg-dump-failed",
        "pg-restore-missing",
        "pg-restore-failed",
    }
)
"""Why a database is not opened: the `reason` of UNAVAILABLE, each with its row in docs/runbooks.md."""


def refuse(reason: str, **facts: str) -> ReferralError:
    """The error for a database that must not be opened or created as asked."""
    if reason not in REFUSALS:
        raise ValueError(reason)
    return ReferralError(ErrorCode.UNAVAILABLE, reason=reason, **facts)


def begin_explicitly(engine: Engine, statement: str) -> None:
    """Make SQLAlchemy's own transactions (migrations use them) real ones on connections that autocommit."""

    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(statement)

    event.listen(engine, "begin", begin)
