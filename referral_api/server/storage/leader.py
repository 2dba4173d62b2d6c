"""Which of several processes over one database runs the clocks: whoever holds one advisory lock of PostgreSQL.

The lock belongs to a connection of its own and ends with it, so that another process leads within seconds of a death.
Who can post nothing releases it, and leaves it to the others for a while. It spares work and decides nothing: what a
leader posts is settled by the log's lock.

Must never: be relied on for correctness, or hold up a process that does not lead.
"""

from __future__ import annotations

import contextlib
import time
from typing import Final

import psycopg
from sqlalchemy import make_url
from sqlalchemy.pool import PoolProxiedConnection

from referral_api.domain.errors import ReferralError
from referral_api.server import observe
from referral_api.server.storage.postgres import connect_engine

LOCK: Final = 0x7265_6665_7272_616C
"""The key of the lock: ASCII `referral`."""
RESTS_S: Final = 5.0
"""For how long who released the lead leaves it to the others, who ask for it once a second."""


class Claim:
    """The claim of one process. Used by one thread."""

    def __init__(self, url: str) -> None:
        self._engine = connect_engine(make_url(url), size=1, overflow=0)
        self._session: PoolProxiedConnection | None = None
        self._rests_until = 0.0

    def holds(self) -> bool:
        """Whether this process leads now; tries to, where nobody does."""
        if time.monotonic() < self._rests_until:
            return False
        try:
            if self._session is None:
                self._session = self._take()
            else:
                # A connection that was cut has lost the lock, and perhaps nobody has noticed.
                self._ask(self._session, "SELECT true")
        except (psycopg.Error, ReferralError) as error:
            observe.log("clocks_lost", fault=type(error).__name__)
            self._drop()
        return self._session is not None

    def _take(self) -> PoolProxiedConnection | None:
        session = self._engine.raw_connection()
        if self._ask(session, f"SELECT pg_try_advisory_lock({LOCK})"):
            observe.log("leads_clocks")
            return session
        session.close()
        return None

    @staticmethod
    def _ask(session: PoolProxiedConnection, question: str) -> bool:
        cursor = session.cursor()
        try:
            cursor.execute(question)
            row = cursor.fetchone()
            return row is not None and bool(row[0])
        finally:
            cursor.close()

    def _drop(self) -> None:
        if self._session is not None:
            self._session.invalidate()
            self._session = None

    def release(self) -> None:
        """Let another process lead, from the moment at which this returns; for RESTS_S this one does not ask for it."""
        if self._session is None:
            return
        observe.log("leaves_clocks")
        # The server sees the end of a connection a little after it is cut, and keeps its locks until then.
        with contextlib.suppress(psycopg.Error, ReferralError):
            self._ask(self._session, f"SELECT pg_advisory_unlock({LOCK})")
        self._drop()
        self._rests_until = time.monotonic() + RESTS_S

    def close(self) -> None:
        """The same for good."""
        self.release()
        self._engine.dispose()
