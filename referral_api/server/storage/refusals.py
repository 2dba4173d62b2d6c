"""What the answer to a finally refused act said beside its receipt: whoever sends the act again is told the same.

Must never: be taken for evidence; that is the receipt.

Implements: R-14, R-17.
"""

from __future__ import annotations

from typing import Any

from referral_api.formats.strict_json import parse
from referral_api.server.storage.database import Connection, Transaction

_MAX_BYTES = 64 * 1024


def insert_refusal(tx: Transaction, pos: int, facts: str) -> None:
    """Keep what the answer to a refused act said beside its receipt."""
    tx.run("INSERT INTO refusal (pos, facts) VALUES (?,?)", (pos, facts))


def refusal_facts(conn: Connection, pos: int) -> dict[str, Any]:
    """What the first answer to a refused act said beside its receipt; nothing where it came back from a mirror."""
    row = conn.one("SELECT facts FROM refusal WHERE pos = ?", (pos,))
    return {} if row is None else dict(parse(row[0].encode("utf-8"), max_bytes=_MAX_BYTES))
