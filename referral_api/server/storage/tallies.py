"""Counts of an hour under way, and digests of the settings that the exchange last ran with.

Working state, not evidence: what becomes of it is a record in the audit log. Counts are kept in a table so that a
process that is killed loses seconds of them and several processes count together.

Must never: hold the value of a setting, or a count of an hour that has been recorded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from referral_api.formats.strict_json import canonical, parse
from referral_api.server.storage.database import Connection, Transaction

_SETTINGS = "configuration"
_MAX_BYTES = 64 * 1024


class Tally(NamedTuple):
    """What is counted: in which hour (its first second), of whom, which refusal ("" for tokens)."""

    hour: int
    party: str
    credential: str
    code: str


def add_tallies(tx: Transaction, counts: Mapping[Tally, int]) -> None:
    """Add to the counts that are kept."""
    rows = [(*tally, count) for tally, count in sorted(counts.items())]
    tx.run_many(
        "INSERT INTO tally (hour, party, credential, code, count) VALUES (?,?,?,?,?)"
        " ON CONFLICT (hour, party, credential, code) DO UPDATE SET count = tally.count + excluded.count",
        rows,
    )


def oldest_tallies(conn: Connection, before: int, limit: int) -> list[tuple[Tally, int]]:
    """Counts of hours that began before a moment, oldest first."""
    rows = conn.all(
        "SELECT hour, party, credential, code, count FROM tally WHERE hour < ?"
        " ORDER BY hour, party, credential, code LIMIT ?",
        (before, limit),
    )
    return [(Tally(*row[:4]), row[4]) for row in rows]


def delete_tallies(tx: Transaction, tallies: Iterable[Tally]) -> None:
    """Forget counts that have become records."""
    for tally in tallies:
        tx.run("DELETE FROM tally WHERE hour = ? AND party = ? AND credential = ? AND code = ?", tally)


def oldest_hour(conn: Connection) -> int | None:
    """The oldest hour that has counts; None where there are none."""
    row = conn.one("SELECT hour FROM tally ORDER BY hour LIMIT 1")
    return None if row is None else int(row[0])


def find_settings(conn: Connection) -> dict[str, str] | None:
    """Digests of the settings of the last configuration record, by name; None before the first."""
    row = conn.one("SELECT value FROM meta WHERE key = ?", (_SETTINGS,))
    return None if row is None else dict(parse(str(row[0]).encode(), max_bytes=_MAX_BYTES))


def save_settings(tx: Transaction, digests: Mapping[str, str]) -> None:
    """Keep the digests of the settings, in the transaction of their record."""
    value = canonical(dict(digests)).decode("ascii")
    tx.run(
        "INSERT INTO meta (key, value) VALUES (?,?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        (_SETTINGS, value),
    )
