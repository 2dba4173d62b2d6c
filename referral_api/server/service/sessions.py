"""Which sessions of reading the audit log are on the record already (R-98).

A session is one record instead of one a tile: whoever reads tiles of an audit log is recorded with the first of them in
each hour, and again as soon as a tile reaches beyond what that record tells of. What is known here is this process's
alone and ends with it; another one, or the next, records the same session once more, never less.

Must never: take a session for recorded before its record is durable, or ask the reader how far it has read.

Implements: R-52, R-98; design §9.
"""

from __future__ import annotations

import asyncio
from typing import Final

SESSION_S: Final = 3600


class Session:
    """One credential's reading of one log."""

    def __init__(self) -> None:
        self.size = 0
        """How far it may have read by what is on the record; 0 where this process has recorded nothing of it."""
        self._hour = -1
        self.turn = asyncio.Lock()
        """Of several calls at once, one records the session for all of them."""

    def covers(self, reach: int, now: int) -> bool:
        """Whether a tile that reaches to the leaf before `reach` belongs to what is recorded for this hour."""
        return self._hour == now // SESSION_S and reach <= self.size

    def note(self, size: int, now: int) -> None:
        """It is on the record that this credential has read as far as `size`."""
        self.size = max(size, self.size) if self._hour == now // SESSION_S else size
        self._hour = now // SESSION_S


class Sessions:
    """All of them; used by the event loop alone."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], Session] = {}

    def of(self, credential: str, log: str) -> Session:
        """That of a credential with a log. There are as many as auditors' credentials and years."""
        return self._known.setdefault((credential, log), Session())
