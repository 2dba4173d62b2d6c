"""Rows that only recovery writes: spools that were logged, and sealed texts that were lost and may come again.

Must never: change a row that anything else has written, but for a sealed text that is known to be lost.

Implements: R-97.
"""

from __future__ import annotations

from referral_api.server.storage.database import Connection, Transaction


def note_spool(tx: Transaction, spool_id: str, now: int) -> bool:
    """Note that a spool is logged by this transaction; False if an earlier one did."""
    sql = "INSERT INTO spool_logged (id, logged_at) VALUES (?,?) ON CONFLICT DO NOTHING"
    return tx.run(sql, (spool_id, now)) == 1


def insert_lost(tx: Transaction, pos: int, sha256: str, size: int) -> None:
    """What went sealed beside the act at `pos` is lost; its digest and size are known from the act."""
    tx.run("INSERT INTO sealed (pos, sha256, size, body) VALUES (?,?,?,NULL)", (pos, sha256, size))
    tx.run("INSERT INTO sealed_lost (pos) VALUES (?)", (pos,))


def is_lost(conn: Connection, pos: int) -> bool:
    """Whether what went sealed beside the act at `pos` is lost, and may come again."""
    return conn.one("SELECT pos FROM sealed_lost WHERE pos = ?", (pos,)) is not None


def refill(tx: Transaction, pos: int, sha256: str, text: bytes) -> bool:
    """Put back a lost text that somebody has sent again; False unless it is lost and has this digest."""
    if not is_lost(tx, pos):
        return False
    sql = "UPDATE sealed SET body = ? WHERE pos = ? AND sha256 = ? AND body IS NULL"
    if tx.run(sql, (text, pos, sha256)) != 1:
        return False
    return tx.run("DELETE FROM sealed_lost WHERE pos = ?", (pos,)) == 1
