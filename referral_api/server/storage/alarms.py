"""When each referral is to be looked at next, in SQL: the net under every deadline.

Rows follow from acts and rules alone (domain/clockwork.py) and are written with each act that changes them.

Must never: decide what is due, or lose a row but in the transaction of the act that makes it needless.
"""

from __future__ import annotations

from referral_api.domain.words import Act
from referral_api.server.storage.database import Connection, Transaction


def set_alarm(tx: Transaction, ref: str, at: int | None, *, is_new: bool) -> None:
    """Look at a referral at this moment (unix seconds), and not before; None: never by itself."""
    if at is not None and is_new:
        tx.later("INSERT INTO alarm (ref, at) VALUES (?,?)", (ref, at))
    elif at is not None:
        tx.run("INSERT INTO alarm (ref, at) VALUES (?,?) ON CONFLICT (ref) DO UPDATE SET at = excluded.at", (ref, at))
    elif not is_new:
        tx.run("DELETE FROM alarm WHERE ref = ?", (ref,))


def newest_offline(conn: Connection, unit: str) -> bytes | None:
    """The act that said last that this unit had stopped polling; None where none ever did."""
    rows = conn.all(
        "SELECT jws FROM act WHERE ref IS NULL AND act = ? AND unit = ? ORDER BY pos DESC LIMIT 1",
        (Act.UNIT_OFFLINE.value, unit),
    )
    return rows[0][0].encode("ascii") if rows else None


def due_alarms(conn: Connection, limit: int, now: int) -> list[tuple[str, int]]:
    """Referrals to be looked at by now, the most overdue first."""
    rows = conn.all("SELECT ref, at FROM alarm WHERE at <= ? ORDER BY at LIMIT ?", (now, limit))
    return [(row[0], row[1]) for row in rows]
