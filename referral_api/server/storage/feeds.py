"""Inboxes in SQL: one line a party and log position, what of it still waits, and who polled when.

Must never: decide who sees what (policy does), or tell a line of one party to another.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from referral_api.server.storage.database import Connection, Transaction


@dataclass(frozen=True, slots=True)
class FeedEntry:
    """One line of a party's inbox. `answered_by` are the acts that settle it; empty for what only informs."""

    party: str
    pos: int
    act_digest: str | None
    act_id: str | None
    kind: str
    ref: str | None
    unit: str | None
    sender: str | None
    urgency: str | None
    at: int
    answered_by: frozenset[str]
    pending: bool


def insert_feed(tx: Transaction, entry: FeedEntry) -> None:
    """Add a line to a party's inbox."""
    tx.later(
        "INSERT INTO feed (party, pos, act_digest, act_id, kind, ref, unit, sender, urgency, at, answered_by, pending)"
        " VALUES (?,?,?,?,?,?,?,?,?,?,?,?)",
        tuple(feed_row(entry).values()),
    )


def feed_row(entry: FeedEntry) -> dict[str, object]:
    """A line as its row, by column."""
    return {
        "party": entry.party,
        "pos": entry.pos,
        "act_digest": entry.act_digest,
        "act_id": entry.act_id,
        "kind": entry.kind,
        "ref": entry.ref,
        "unit": entry.unit,
        "sender": entry.sender,
        "urgency": entry.urgency,
        "at": entry.at,
        "answered_by": " ".join(sorted(entry.answered_by)),
        "pending": entry.pending,
    }


def feed_after(conn: Connection, party: str, after: int, limit: int, *, pending: bool) -> list[FeedEntry]:
    """A party's inbox after a position, in log order; with `pending` only what still waits for an answer."""
    only = " AND pending" if pending else ""
    rows = conn.all(
        "SELECT party, pos, act_digest, act_id, kind, ref, unit, sender, urgency, at, answered_by, pending FROM feed"
        f" WHERE party = ? AND pos > ?{only} ORDER BY pos LIMIT ?",
        (party, after, limit),
    )
    return [_feed(row) for row in rows]


def pending_of(conn: Connection, ref: str, party: str) -> list[FeedEntry]:
    """What of one referral still waits for an answer in a party's inbox."""
    rows = conn.all(
        "SELECT party, pos, act_digest, act_id, kind, ref, unit, sender, urgency, at, answered_by, pending FROM feed"
        " WHERE ref = ? AND party = ? AND pending",
        (ref, party),
    )
    return [_feed(row) for row in rows]


def settle_feed(tx: Transaction, party: str, positions: Sequence[int]) -> None:
    """Mark lines of a party's inbox as answered."""
    no = False
    tx.run_many("UPDATE feed SET pending = ? WHERE party = ? AND pos = ?", [(no, party, pos) for pos in positions])


def touch_poll(tx: Transaction, seen: Iterable[tuple[str, int]]) -> None:
    """Note when parties last polled (live or offline is shown from this)."""
    tx.run_many(
        "INSERT INTO poll (party, last_at) VALUES (?,?) ON CONFLICT (party) DO UPDATE SET last_at = excluded.last_at"
        " WHERE excluded.last_at > poll.last_at",
        list(seen),
    )


def polls(conn: Connection) -> dict[str, int]:
    """When each party last polled, unix seconds."""
    return {row[0]: row[1] for row in conn.all("SELECT party, last_at FROM poll")}


def _feed(row: tuple[Any, ...]) -> FeedEntry:
    answered_by, pending = frozenset(str(row[10]).split()), bool(row[11])
    return FeedEntry(*row[:10], answered_by, pending)  # type: ignore[call-arg]  # as many as the columns asked for
