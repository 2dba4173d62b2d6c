"""Counts of a minute that several processes over one PostgreSQL share: a statement each, in an unlogged table.

Who is near no limit never comes here (service/limits.py). A crash or a fail-over empties the table, and the minute
begins anew: a limit is not evidence.

Must never: pass through the writer, keep a minute that is over, or answer when the database does not.

Implements: R-46, R-47; design §7.
"""

from __future__ import annotations

import threading
from typing import Final

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.server.storage.database import Database

KEPT_MINUTES: Final = 2
"""How long a count stays after its minute, for processes whose clocks differ."""

_ADD: Final = (
    "INSERT INTO quota (minute, name, taken) VALUES (?, ?, ?) "
    "ON CONFLICT (minute, name) DO UPDATE SET taken = quota.taken + EXCLUDED.taken RETURNING taken"
)
_FORGET: Final = "DELETE FROM quota WHERE minute < ?"


class SharedCounts:
    """The `Counts` of service/limits.py on PostgreSQL. Thread-safe."""

    def __init__(self, database: Database) -> None:
        """Raises ValueError for an engine without unlogged tables."""
        if database.dialect != "postgresql":
            raise ValueError("the one-process edition counts in memory")
        self._database = database
        self._newest = 0
        self._lock = threading.Lock()

    def add(self, name: str, by: int, minute: int) -> int:
        """Add to a name's count and say what all processes have counted. Raises REPLAY_STORE_UNAVAILABLE."""
        try:
            with self._database.read(brief=True) as connection:
                row = connection.one(_ADD, (minute, name, by))
                if self._begins(minute):
                    connection.run(_FORGET, (minute - KEPT_MINUTES,))
        except ReferralError as error:
            raise ReferralError(ErrorCode.REPLAY_STORE_UNAVAILABLE, reason="database") from error
        if row is None:
            raise ReferralError(ErrorCode.REPLAY_STORE_UNAVAILABLE, reason="database")
        return int(row[0])

    def _begins(self, minute: int) -> bool:
        """Whether this is the first that is counted in a minute: whoever begins one forgets those before."""
        with self._lock:
            begins, self._newest = minute > self._newest, max(minute, self._newest)
        return begins
