"""What the operator's look at keeping and forgetting asks of the database, by the page; no call of the exchange does.

Must never: write, or decide what may go.
"""

from __future__ import annotations

from referral_api.server.storage import queries
from referral_api.server.storage.database import Connection
from referral_api.server.storage.queries import Referral


def referrals_after(conn: Connection, ref: str, limit: int) -> list[Referral]:
    """The next referrals in the order of their ids, which is that of their making."""
    found = conn.all("SELECT ref FROM referral WHERE ref > ? ORDER BY ref LIMIT ?", (ref, limit))
    refs = [row[0] for row in found]
    known = queries.known_referrals(conn, refs) if refs else {}
    return [known[one] for one in refs]


def positions_about(conn: Connection, ref: str) -> list[int]:
    """The positions of every leaf about a referral whose record is kept, in log order, but for `erase` acts."""
    acts = conn.all("SELECT pos FROM act WHERE ref = ? AND act <> 'erase' ORDER BY pos", (ref,))
    records = conn.all("SELECT pos FROM record WHERE ref = ? ORDER BY pos", (ref,))
    return sorted(row[0] for row in (*acts, *records))
