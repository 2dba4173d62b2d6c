"""What every column of the database is worth as evidence, and its rows as they stand, for the audit of the database.

EVIDENCE is verified from outside, with signatures and hashes. DERIVED follows from it and is computed again and
compared. LOOSE is neither, and says why. A table or column that stands nowhere here fails a test: whoever adds one
decides. The statements go through whole tables, on purpose and by the page; no call of the exchange speaks them.

Must never: write, decide what a row should be, or leave a column out because it is inconvenient.

Implements: design §9; R-92, R-95.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from referral_api.server.storage.database import Connection
from referral_api.server.storage.tables import METADATA

PAGE: Final = 256
Cells = dict[str, Any]
"""One row by column, exactly as stored; on SQLite a text that is no UTF-8 holds its bytes as lone surrogates."""

EVIDENCE: Final[Mapping[str, tuple[str, ...]]] = {
    "act": ("jws", "receipt"),
    "record": ("body",),
    "sealed": ("body",),
    "log_entry": ("leaf",),
    "log_tile": ("data",),
    "log_checkpoint": ("note",),
}
DERIVED: Final[Mapping[str, tuple[str, ...]]] = {
    "act": (
        *("pos", "digest", "iss", "id", "party", "act", "ref", "unit", "prev"),
        *("outcome", "code", "carrier", "received_at"),
    ),
    "referral": ("ref", "sender", "urgency", "submit_digest", "created_at", "excluded", "retention", "relates_to"),
    "delivery": (
        *("ref", "unit", "role", "state", "head", "submitted_at", "retrieved_at", "acknowledged_at", "accepted_at"),
        *("notified_at", "last_status_at", "investigation", "questions", "transfer_to", "rank", "clockwork"),
    ),
    "alarm": ("ref", "at"),
    "sealed": ("pos", "sha256", "size"),
    "sealed_lost": ("pos",),
    "record": ("pos", "kind", "ref", "party"),
    "feed": (
        *("party", "pos", "act_digest", "act_id", "kind", "ref", "unit", "sender", "urgency", "at"),
        *("answered_by", "pending"),
    ),
    "invitation": ("nonce", "party", "role", "act_digest", "expires_at", "enrolment"),
    "enrolment": ("id", "nonce", "party", "state", "body"),
    "erasure": ("pos", "act"),
    "log_state": ("log", "size", "frontier"),
    "log_entry": ("log", "idx"),
    "log_tile": ("log", "lvl", "n"),
    "log_checkpoint": ("log", "size"),
}
_CONVERSATION: Final = "part of a conversation before anybody signed; nothing signed tells of it"
_REMEMBERED: Final = "keeps a token or proof from being used twice; forgotten after minutes, by design"
LOOSE: Final[Mapping[str, Mapping[str, str]]] = {
    "enrolment": {
        "challenges": "digests of nonces; the answers that count stand in the signed key entries, and are compared",
        "tries": _CONVERSATION,
        "created_at": _CONVERSATION,
        "updated_at": _CONVERSATION,
    },
    "log_checkpoint": {
        "signed_at": "when a batch kept the note; the note itself says nothing of time",
        "witnessed_at": "when the quorum was found complete; that it is complete is compared, and the note says when",
    },
    "meta": dict.fromkeys(
        ("key", "value"),
        "digests of the settings that it last ran with, each change a record on the log; and the tables of a year as"
        " first published, whose digest each reading's record holds; and whether a purge has left the file as it was",
    ),
    "tally": dict.fromkeys(
        ("hour", "party", "credential", "code", "count"), "what is counted until its hour is over and a record says it"
    ),
    "log_signer": dict.fromkeys(
        ("log", "signer_id", "fence", "adopted_at"), "held against the signer's own file at every start and signature"
    ),
    "spool_logged": dict.fromkeys(
        ("id", "logged_at"), "keeps a spool from being logged twice; its records are on the log"
    ),
    "refusal": dict.fromkeys(
        ("pos", "facts"), "what a refusal's answer said beside its receipt, which is the evidence; gone with its act"
    ),
    "poll": dict.fromkeys(("party", "last_at"), "whether a party was seen lately; replaced at every poll"),
    "wake_up": dict.fromkeys(
        ("party", "told_at", "swept_at"), "whether somebody outside was told to look; no evidence"
    ),
    "assertion": dict.fromkeys(("key", "expires_at"), _REMEMBERED),
    "replay": dict.fromkeys(("key", "expires_at"), _REMEMBERED),
    "replay_epoch": dict.fromkeys(("id", "started_at"), _REMEMBERED),
    "quota": dict.fromkeys(("minute", "name", "taken"), "how often somebody asked in a minute; forgotten after it"),
    "alembic_version": {"version_num": "the schema's name; a database with another is not opened"},
}
_BIG: Final = frozenset({("sealed", "body")})
"""Read by themselves (`sealed_body`): a page of them would not fit in memory."""


def tables() -> list[str]:
    """Every table of which some column is evidence or derived."""
    return sorted(EVIDENCE.keys() | DERIVED.keys())


def key_of(table: str) -> tuple[str, ...]:
    """The columns of a table's primary key, in its order."""
    return tuple(column.name for column in METADATA.tables[table].primary_key)


def between(conn: Connection, table: str, first: int, last: int, within: tuple[str | int, ...] = ()) -> list[Cells]:
    """The rows whose last key column lies in [first, last], in its order; `within` are the key columns before it."""
    *outer, inner = key_of(table)
    marks, params = _bound(within)
    equal = (f"{column} = {mark}" for column, mark in zip(outer, marks, strict=True))
    bounds = " AND ".join([*equal, f"{inner} BETWEEN ? AND ?"])
    sql = f"SELECT {', '.join(_read(table))} FROM {table} WHERE {bounds} ORDER BY {inner}"
    return [_cells(table, row) for row in conn.all(sql, (*params, first, last))]


def every(conn: Connection, table: str) -> Iterator[Cells]:
    """Every row of a table in the order of its key, read by the page."""
    columns, key = ", ".join(_read(table)), ", ".join(key_of(table))
    found = conn.all(f"SELECT {columns} FROM {table} ORDER BY {key} LIMIT {PAGE}")
    while found:
        rows = [_cells(table, row) for row in found]
        yield from rows
        marks, after = _bound([rows[-1][column] for column in key_of(table)])
        bound = f"({key}) > ({', '.join(marks)})"
        found = conn.all(f"SELECT {columns} FROM {table} WHERE {bound} ORDER BY {key} LIMIT {PAGE}", after)


def leading(conn: Connection, table: str) -> Iterator[str]:
    """The different values of the first key column, a text, one look each."""
    column = key_of(table)[0]
    row = conn.one(f"SELECT {column} FROM {table} ORDER BY {column} LIMIT 1")
    while row is not None:
        yield row[0]
        [mark], after = _bound(row)
        row = conn.one(f"SELECT {column} FROM {table} WHERE {column} > {mark} ORDER BY {column} LIMIT 1", after)


def tile_names(conn: Connection, log: str) -> Iterator[tuple[int, int]]:
    """Level and number of every stored tile of a log, in order, read by the page."""
    found = conn.all(f"SELECT lvl, n FROM log_tile WHERE log = ? ORDER BY lvl, n LIMIT {PAGE}", (log,))
    while found:
        yield from found
        found = conn.all(
            f"SELECT lvl, n FROM log_tile WHERE log = ? AND (lvl, n) > (?, ?) ORDER BY lvl, n LIMIT {PAGE}",
            (log, *found[-1]),
        )


def sealed_body(conn: Connection, pos: int) -> bytes | None:
    """What is kept sealed beside the act at a position; None where it is purged."""
    row = conn.one("SELECT body FROM sealed WHERE pos = ?", (pos,))
    return None if row is None or row[0] is None else bytes(row[0])


def _bound(values: Sequence[Any]) -> tuple[list[str], list[Any]]:
    """The marks and parameters for values of a row: a text that is no UTF-8 goes back as the bytes that it is."""
    marks, params = [], []
    for value in values:
        is_broken = isinstance(value, str) and any("\ud800" <= one <= "\udfff" for one in value)
        marks.append("CAST(? AS TEXT)" if is_broken else "?")
        params.append(value.encode("utf-8", "surrogateescape") if is_broken else value)
    return marks, params


def _read(table: str) -> list[str]:
    return [column.name for column in METADATA.tables[table].columns if (table, column.name) not in _BIG]


def _cells(table: str, row: tuple[Any, ...]) -> Cells:
    return dict(zip(_read(table), row, strict=True))
