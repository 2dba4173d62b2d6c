"""Acts, referrals, deliveries, sealed texts and records: plain values in, frozen dataclasses out.

One function a question, plain SQL, no decision. Heads and states change by compare-and-swap in the statement itself,
never because "we are surely in the right transaction".

Must never: decide what is allowed, parse a document, or let a row leave this folder.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from referral_api.domain.deliveries import Delivery, Question
from referral_api.domain.words import Act, DeliveryRole, RetentionClass, State, Urgency
from referral_api.formats.strict_json import parse
from referral_api.server.storage.database import Connection, Transaction

_REFERRAL_COLUMNS = "ref, sender, urgency, submit_digest, created_at, excluded, retention, relates_to"
_MAX_COLUMN_BYTES = 64 * 1024
_ACT_COLUMNS = "pos, digest, iss, id, party, act, ref, unit, prev, jws, outcome, code, receipt, carrier, received_at"


@dataclass(frozen=True, slots=True)
class StoredAct:
    """One act as stored: exact texts and where its leaf is (`pos`, see logbook.position)."""

    pos: int
    digest: str
    iss: str
    id: str
    party: str
    act: Act
    ref: str | None
    unit: str | None
    prev: str | None
    jws: str
    outcome: str
    code: str | None
    receipt: str
    carrier: str | None
    received_at: int


@dataclass(frozen=True, slots=True)
class Referral:
    """What the exchange knows of a referral beside its deliveries."""

    ref: str
    sender: str
    urgency: Urgency
    submit_digest: str
    created_at: int
    excluded: frozenset[str]
    retention: RetentionClass = RetentionClass.STANDARD
    relates_to: str | None = None
    """The earlier referral that its submit names as what it relates to."""


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A record of the exchange's own: canonical JSON text behind a leaf that is no act."""

    pos: int
    kind: str
    ref: str | None
    party: str | None
    body: str


def find_act(conn: Connection, iss: str, act_id: str) -> StoredAct | None:
    """The act that this issuer sent under this id."""
    row = conn.one(f"SELECT {_ACT_COLUMNS} FROM act WHERE iss = ? AND id = ?", (iss, act_id))
    return None if row is None else _act(row)


def find_acts(conn: Connection, keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], StoredAct]:
    """Those of the acts with these (issuer, id) that are stored, in one question an issuer.

    Not as pairs in one list of values: SQLite answers that by reading the whole table.
    """
    ids: dict[str, list[str]] = {}
    for iss, act_id in keys:
        ids.setdefault(iss, []).append(act_id)
    found: dict[tuple[str, str], StoredAct] = {}
    for iss, asked in ids.items():
        marks = ",".join("?" * len(asked))
        rows = conn.all(f"SELECT {_ACT_COLUMNS} FROM act WHERE iss = ? AND id IN ({marks})", [iss, *asked])
        found |= {(stored.iss, stored.id): stored for stored in map(_act, rows)}
    return found


def find_act_by_digest(conn: Connection, digest: str) -> StoredAct | None:
    """The act with this digest."""
    row = conn.one(f"SELECT {_ACT_COLUMNS} FROM act WHERE digest = ?", (digest,))
    return None if row is None else _act(row)


def acts_of(conn: Connection, ref: str) -> list[StoredAct]:
    """Every act of a referral in log order, refused ones included."""
    rows = conn.all(f"SELECT {_ACT_COLUMNS} FROM act WHERE ref = ? ORDER BY pos", (ref,))
    return [_act(row) for row in rows]


def acts_of_kind(conn: Connection, ref: str, kind: Act) -> list[StoredAct]:
    """The acts of one kind about a referral, in log order."""
    rows = conn.all(
        f"SELECT {_ACT_COLUMNS} FROM act WHERE ref = ? AND act = ? ORDER BY pos",
        (ref, kind.value),
    )
    return [_act(row) for row in rows]


def acts_about_nothing(conn: Connection, kind: Act, first: int = 0, end: int = 2**63 - 1) -> list[StoredAct]:
    """The acts of one kind that concern no referral, from a position to another (not included), in log order: few,
    among those about parties and keys.
    """
    rows = conn.all(
        f"SELECT {_ACT_COLUMNS} FROM act WHERE ref IS NULL AND pos >= ? AND pos < ? AND act = ? ORDER BY pos",
        (first, end, kind.value),
    )
    return [_act(row) for row in rows]


@dataclass(frozen=True, slots=True)
class Sought:
    """Which acts and records are looked for, in which span of the audit log (positions, both included).

    `kind` is an act's or a record's; what is None is any.
    """

    first: int
    last: int
    limit: int
    party: str | None = None
    ref: str | None = None
    kind: str | None = None


def acts_sought(conn: Connection, sought: Sought) -> list[StoredAct]:
    """The acts that fit, in log order, no more than the limit."""
    where, values = _fitting(sought, kind="act")
    rows = conn.all(f"SELECT {_ACT_COLUMNS} FROM act WHERE {where} ORDER BY pos LIMIT ?", (*values, sought.limit))
    return [_act(row) for row in rows]


def _fitting(sought: Sought, *, kind: str) -> tuple[str, tuple[object, ...]]:
    """The condition and its values. What has no index of its own is looked for in the span alone, which is bounded."""
    wanted = {"ref": sought.ref, "party": sought.party, kind: sought.kind}
    named = {name: value for name, value in wanted.items() if value is not None}
    where = " AND ".join([f"{name} = ?" for name in named] + ["pos BETWEEN ? AND ?"])
    return where, (*named.values(), sought.first, sought.last)


def insert_act(tx: Transaction, stored: StoredAct) -> None:
    """Store an act with its receipt; UNIQUE on digest and on (iss, id) is the last word on "seen before"."""
    tx.later(
        f"INSERT INTO act ({_ACT_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
        (
            stored.pos,
            stored.digest,
            stored.iss,
            stored.id,
            stored.party,
            stored.act.value,
            stored.ref,
            stored.unit,
            stored.prev,
            stored.jws,
            stored.outcome,
            stored.code,
            stored.receipt,
            stored.carrier,
            stored.received_at,
        ),
    )


def prev_places(conn: Connection, ref: str, digest: str) -> tuple[Act, str | None] | None:
    """Kind and unit of the accepted act of this referral with this digest, or None."""
    row = conn.one("SELECT act, unit, ref, outcome FROM act WHERE digest = ?", (digest,))
    if row is None or row[2] != ref or row[3] != "accepted":
        return None
    return Act(row[0]), row[1]


def find_referral(conn: Connection, ref: str) -> Referral | None:
    """The referral, or None."""
    row = conn.one(f"SELECT {_REFERRAL_COLUMNS} FROM referral WHERE ref = ?", (ref,))
    return None if row is None else _referral(row)


def known_referrals(conn: Connection, refs: Sequence[str]) -> dict[str, Referral]:
    """Those of these referrals that exist, in one question."""
    marks = ",".join("?" * len(refs))
    rows = conn.all(f"SELECT {_REFERRAL_COLUMNS} FROM referral WHERE ref IN ({marks})", list(refs))
    return {row[0]: _referral(row) for row in rows}


def later_referrals(conn: Connection, sender: str, ref: str) -> list[str]:
    """The referrals of this sender whose submit names `ref` as what they relate to, oldest first."""
    rows = conn.all("SELECT ref, created_at FROM referral WHERE relates_to = ? AND sender = ?", (ref, sender))
    return [row[0] for row in sorted(rows, key=lambda row: (row[1], row[0]))]


def insert_referral(tx: Transaction, referral: Referral) -> None:
    """Store a new referral."""
    tx.later(
        f"INSERT INTO referral ({_REFERRAL_COLUMNS}) VALUES (?,?,?,?,?,?,?,?)",
        tuple(referral_row(referral).values()),
    )


def referral_row(referral: Referral) -> dict[str, object]:
    """A referral as its row, by column."""
    return {
        "ref": referral.ref,
        "sender": referral.sender,
        "urgency": referral.urgency.value,
        "submit_digest": referral.submit_digest,
        "created_at": referral.created_at,
        "excluded": json.dumps(sorted(referral.excluded)),
        "retention": referral.retention.value,
        "relates_to": referral.relates_to,
    }


_DELIVERY_COLUMNS = (
    "unit, role, state, head, submitted_at, retrieved_at, acknowledged_at, accepted_at, notified_at, last_status_at,"
    " investigation, questions, transfer_to, rank, clockwork"
)
_LATER = ("began_at", "rungs", "rung_at", "told", "taken", "holds", "ended_at", "content_at", "purged_at")
"""What most deliveries have none of for most of their life, kept together in one column."""


def deliveries_of(conn: Connection, ref: str) -> dict[str, Delivery]:
    """The deliveries of a referral, by unit."""
    rows = conn.all(f"SELECT {_DELIVERY_COLUMNS} FROM delivery WHERE ref = ?", (ref,))
    return {row[0]: _delivery(row) for row in rows}


def insert_delivery(tx: Transaction, ref: str, delivery: Delivery) -> None:
    """Store a new delivery."""
    tx.later(
        f"INSERT INTO delivery (ref, {_DELIVERY_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
        tuple(delivery_row(ref, delivery).values()),
    )


def delivery_row(ref: str, delivery: Delivery) -> dict[str, object]:
    """A delivery as its row, by column."""
    columns = ("ref", *_DELIVERY_COLUMNS.split(", "))
    *changing, clockwork = _changing(delivery)
    cells = (ref, delivery.unit, delivery.role.value, *changing, delivery.rank, clockwork)
    return dict(zip(columns, cells, strict=True))


def swap_delivery(tx: Transaction, ref: str, seen: Delivery, after: Delivery) -> bool:
    """Compare-and-swap: write `after` only where state and head are still those of `seen`; False if they are not."""
    changed = tx.run(
        "UPDATE delivery SET state = ?, head = ?, submitted_at = ?, retrieved_at = ?, acknowledged_at = ?,"
        " accepted_at = ?, notified_at = ?, last_status_at = ?, investigation = ?, questions = ?, transfer_to = ?,"
        " clockwork = ?"
        " WHERE ref = ? AND unit = ? AND state = ? AND head = ?",
        (*_changing(after), ref, seen.unit, seen.state.value, seen.head),
    )
    return changed == 1


def insert_sealed(tx: Transaction, pos: int, sha256: str, text: bytes) -> None:
    """Store the exact bytes sealed beside the act at `pos`."""
    tx.later(
        "INSERT INTO sealed (pos, sha256, size, body) VALUES (?,?,?,?)",
        (pos, sha256, len(text), text),
    )


def find_sealed(conn: Connection, act_digest: str) -> bytes | None:
    """The exact bytes sealed beside an act; None if there were none or they are purged."""
    row = conn.one("SELECT body FROM sealed WHERE pos = (SELECT pos FROM act WHERE digest = ?)", (act_digest,))
    return None if row is None or row[0] is None else bytes(row[0])


def sealed_digest(conn: Connection, act_digest: str) -> str | None:
    """SHA-256 of what travels sealed beside an act; kept after purge."""
    row = conn.one("SELECT sha256 FROM sealed WHERE pos = (SELECT pos FROM act WHERE digest = ?)", (act_digest,))
    return None if row is None else str(row[0])


def insert_record(tx: Transaction, record: StoredRecord) -> None:
    """Store a record of the exchange's own."""
    tx.later(
        "INSERT INTO record (pos, kind, ref, party, body) VALUES (?,?,?,?,?)",
        (record.pos, record.kind, record.ref, record.party, record.body),
    )


def records_of(conn: Connection, ref: str, kinds: Sequence[str]) -> list[StoredRecord]:
    """Records of these kinds about a referral, in log order."""
    marks = ",".join("?" * len(kinds))
    rows = conn.all(
        f"SELECT pos, kind, ref, party, body FROM record WHERE ref = ? AND kind IN ({marks}) ORDER BY pos",
        (ref, *kinds),
    )
    return [StoredRecord(*row) for row in rows]


def records_sought(conn: Connection, sought: Sought) -> list[StoredRecord]:
    """The records that fit, in log order, no more than the limit."""
    where, values = _fitting(sought, kind="kind")
    rows = conn.all(
        f"SELECT pos, kind, ref, party, body FROM record WHERE {where} ORDER BY pos LIMIT ?", (*values, sought.limit)
    )
    return [StoredRecord(*row) for row in rows]


def _act(row: tuple[Any, ...]) -> StoredAct:
    return StoredAct(*row[:5], Act(row[5]), *row[6:])  # type: ignore[call-arg]  # as many as _ACT_COLUMNS


def _referral(row: tuple[Any, ...]) -> Referral:
    return Referral(
        row[0], row[1], Urgency(row[2]), row[3], row[4], frozenset(_read(row[5])), RetentionClass(row[6]), row[7]
    )


def _delivery(row: tuple[object, ...]) -> Delivery:
    unit, role, state, head, submitted, retrieved, acknowledged, accepted, notified, status, told, asked, to = row[:13]
    rank, later = row[13:]
    return Delivery(
        unit=str(unit),
        role=DeliveryRole(str(role)),
        state=State(str(state)),
        head=str(head),
        submitted_at=_maybe(submitted),
        questions=tuple(Question(Act(act), digest, asker) for act, digest, asker in _read(asked))
        if asked != "[]"
        else (),
        retrieved_at=_maybe(retrieved),
        acknowledged_at=_maybe(acknowledged),
        accepted_at=_maybe(accepted),
        notified_at=_maybe(notified),
        last_status_at=_maybe(status),
        investigation=tuple(_read(told)) if told != "[]" else (),
        transfer_to=None if to is None else str(to),
        rank=_int(rank),
        **(_read_later(later) if later != "{}" else {}),
    )


def _later(delivery: Delivery) -> str:
    """What is not as it was in the beginning, as JSON; times and marks that the clocks go by."""
    found: dict[str, Any] = {name: getattr(delivery, name) for name in _LATER}
    return json.dumps({name: value for name, value in found.items() if value}) if any(found.values()) else "{}"


def _read_later(column: object) -> dict[str, Any]:
    value = parse(str(column).encode(), max_bytes=_MAX_COLUMN_BYTES)
    if not isinstance(value, dict) or not set(value) <= set(_LATER):
        raise TypeError("a JSON column holds something else")
    pairs = {name: tuple((str(one), _int(at)) for one, at in value.get(name, ())) for name in ("told", "holds")}
    return value | {name: pair for name, pair in pairs.items() if pair}


def _changing(delivery: Delivery) -> tuple[object, ...]:
    return (
        delivery.state.value,
        delivery.head,
        delivery.submitted_at,
        delivery.retrieved_at,
        delivery.acknowledged_at,
        delivery.accepted_at,
        delivery.notified_at,
        delivery.last_status_at,
        json.dumps(delivery.investigation) if delivery.investigation else "[]",
        json.dumps([[q.act.value, q.digest, q.asker] for q in delivery.questions]) if delivery.questions else "[]",
        delivery.transfer_to,
        _later(delivery),
    )


def _read(column: object) -> list[Any]:
    """A JSON column that this module wrote."""
    value = parse(str(column).encode(), max_bytes=_MAX_COLUMN_BYTES)
    if not isinstance(value, list):
        raise TypeError("a JSON column holds something else")
    return value


def _int(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError("an integer column holds something else")
    return value


def _maybe(value: object) -> int | None:
    return None if value is None else _int(value)
