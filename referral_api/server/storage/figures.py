"""The annual tables as they were first published, kept for good: what is erased later must not show as a difference.

Must never: change a year's tables once they are kept.
"""

from __future__ import annotations

from referral_api.server.storage.database import Connection, Transaction

_KEY = "figures."


def find_figures(conn: Connection, year: int) -> str | None:
    """The published tables of a year (canonical JSON); None before they were first read."""
    row = conn.one("SELECT value FROM meta WHERE key = ?", (f"{_KEY}{year}",))
    return None if row is None else str(row[0])


def keep_figures(tx: Transaction, year: int, text: str) -> None:
    """Keep them, in the transaction of the record of their first reading."""
    tx.run("INSERT INTO meta (key, value) VALUES (?,?) ON CONFLICT (key) DO NOTHING", (f"{_KEY}{year}", text))
