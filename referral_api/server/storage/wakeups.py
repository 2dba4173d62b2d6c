"""When each party was last woken, and which of its lines it has not been told of: in SQL (R-109).

Must never: hold an address, or say which referral a line is about.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from referral_api.server.storage.database import Connection, Transaction

MOST_LINES: Final = 200


@dataclass(frozen=True, slots=True)
class Untold:
    """Of a party's pending lines that are newer than its last notice, and its last poll if they are of no emergency:
    when the newest came.
    """

    at: int
    urgent: bool
    """Whether one of them is of an emergency."""


def last_poll(conn: Connection, party: str) -> int:
    """When a party last asked for its inbox, as far as it is kept; 0 for never."""
    row = conn.one("SELECT last_at FROM poll WHERE party = ?", (party,))
    return 0 if row is None else int(row[0])


def find_untold(conn: Connection, party: str, polled: int, told: int, urgency: str) -> Untold | None:
    """What came after the last notice and the last poll, which may be as late as `told` and `polled`, and still waits;
    None where nothing does. Of what has this urgency polls do not tell: nobody may have heard them.
    """
    row = conn.one("SELECT told_at FROM wake_up WHERE party = ?", (party,))
    told = max(told, 0 if row is None else int(row[0]))
    polled = max(polled, told, last_poll(conn, party))
    lines = conn.all(
        "SELECT at, urgency FROM feed WHERE party = ? AND pos > ? AND pending ORDER BY pos DESC LIMIT ?",
        (party, 0, MOST_LINES),
    )
    untold = [(int(at), said) for at, said in lines if at > (told if said == urgency else polled)]
    return Untold(untold[0][0], any(said == urgency for _, said in untold)) if untold else None


def take_sweep(tx: Transaction, party: str, within_s: int, now: int) -> bool:
    """Take it upon this process to wake a party. False where some process did within that time."""
    row = tx.one("SELECT swept_at FROM wake_up WHERE party = ?", (party,))
    # A time that lies ahead is of a clock that was wrong, and keeps nobody asleep.
    if row is not None and now - within_s < row[0] <= now:
        return False
    tx.run(
        "INSERT INTO wake_up (party, told_at, swept_at) VALUES (?,0,?)"
        " ON CONFLICT (party) DO UPDATE SET swept_at = excluded.swept_at",
        (party, now),
    )
    return True


def note_told(tx: Transaction, party: str, at: int) -> None:
    """A channel of this party has taken a notice of lines up to that time."""
    tx.run(
        "INSERT INTO wake_up (party, told_at, swept_at) VALUES (?,?,0)"
        " ON CONFLICT (party) DO UPDATE SET told_at = excluded.told_at WHERE excluded.told_at > wake_up.told_at",
        (party, at),
    )
