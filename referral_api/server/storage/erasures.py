"""Purge and erasure in SQL: ciphertext that goes, which leaves' records an act has taken, and the rows that go with
them. Leaves and tiles stay.

Must never: delete a row whose leaf no act names (the tables' own triggers refuse it too), or touch a log.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from referral_api.domain.words import Act
from referral_api.server.storage.database import Connection, Transaction


def erased_among(conn: Connection, first: int, last: int) -> set[int]:
    """The positions from `first` to `last`, both included, whose records are erased."""
    return {row[0] for row in conn.all("SELECT pos FROM erasure WHERE pos BETWEEN ? AND ?", (first, last))}


def erasing_acts(conn: Connection, first: int, last: int) -> set[str]:
    """The digests of the `erase` acts that took records from `first` to `last`, both included."""
    return {str(row[0]) for row in conn.all("SELECT act FROM erasure WHERE pos BETWEEN ? AND ?", (first, last))}


def erase_behind(tx: Transaction, positions: Iterable[int], act_digest: str, readers: Iterable[str]) -> None:
    """Delete what stands behind these leaves, in the transaction of the `erase` act that names them: acts with their
    receipts, what was sealed beside them, records, and the lines about them in the inboxes of `readers`.
    """
    tx.flush()
    tx.forgets = True
    parties = tuple(readers)
    for pos in positions:
        tx.run("INSERT INTO erasure (pos, act) VALUES (?,?)", (pos, act_digest))
        tx.run("DELETE FROM sealed WHERE pos = ?", (pos,))
        tx.run("DELETE FROM sealed_lost WHERE pos = ?", (pos,))
        tx.run("DELETE FROM act WHERE pos = ?", (pos,))
        tx.run("DELETE FROM refusal WHERE pos = ?", (pos,))
        tx.run("DELETE FROM record WHERE pos = ?", (pos,))
        for party in parties:
            tx.run("DELETE FROM feed WHERE party = ? AND pos = ?", (party, pos))


def forget_referral(tx: Transaction, ref: str) -> None:
    """Delete a referral and its deliveries, once its submit act is erased: what became of it is in the `erase` act."""
    tx.run("DELETE FROM alarm WHERE ref = ?", (ref,))
    tx.run("DELETE FROM delivery WHERE ref = ?", (ref,))
    tx.run("DELETE FROM referral WHERE ref = ?", (ref,))


@dataclass(frozen=True, slots=True)
class Text:
    """What travelled sealed beside an act: where, the unit that the act names, whether it is still kept or was lost and
    may come again, and of a transfer, which names two, the act itself.
    """

    pos: int
    unit: str | None
    kept: bool
    lost: bool
    jws: str | None


def sealed_of_referral(conn: Connection, ref: str) -> list[Text]:
    """What travelled sealed beside the accepted acts of a referral, in log order."""
    rows = conn.all(
        "SELECT act.pos, act.unit, sealed.body IS NOT NULL, sealed_lost.pos IS NOT NULL,"
        " CASE WHEN act.act = ? THEN act.jws END"
        " FROM act JOIN sealed ON sealed.pos = act.pos LEFT JOIN sealed_lost ON sealed_lost.pos = act.pos"
        " WHERE act.ref = ? ORDER BY act.pos",
        (Act.TRANSFER.value, ref),
    )
    return [Text(row[0], row[1], bool(row[2]), bool(row[3]), row[4]) for row in rows]


def empty_sealed(tx: Transaction, positions: Sequence[int]) -> None:
    """Let ciphertext go, for good: what was lost of it may not come again either. Its digest and size stay."""
    tx.forgets = tx.forgets or bool(positions)
    tx.run_many("UPDATE sealed SET body = NULL WHERE pos = ?", [(pos,) for pos in positions])
    tx.run_many("DELETE FROM sealed_lost WHERE pos = ?", [(pos,) for pos in positions])
