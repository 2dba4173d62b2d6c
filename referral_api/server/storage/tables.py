"""Every table of the exchange on one screen: what SQLModel and Alembic know; the statements themselves are plain SQL.

Positions (`pos`) are `logbook.position(year, index)`: the leaf's place in the audit log, so that the log's order is
the table's. Times are unix seconds. Triggers, storage parameters and UNLOGGED are in the migrations.

Must never: be imported outside storage, hold plaintext of a referral, or lose a column (migrations only add).
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

from sqlalchemy import BigInteger, Boolean, Index, Integer, LargeBinary, MetaData, Text, UniqueConstraint, text
from sqlmodel import Field, SQLModel

_INTEGER: Final = BigInteger().with_variant(Integer(), "sqlite")
_FLAG: Final = Boolean().with_variant(Integer(), "sqlite")
_STRICT: Final = {"sqlite_strict": True}
_STRICT_BY_KEY: Final = {"sqlite_strict": True, "sqlite_with_rowid": False}
"""Rows live in the primary key's tree itself: one tree to write instead of two. For narrow rows only."""


def _text(**options: Any) -> Any:
    return Field(sa_type=Text, **options)


def _int(**options: Any) -> Any:
    return Field(sa_type=_INTEGER, **options)


def _position(**options: Any) -> Any:
    return _int(primary_key=True, sa_column_kwargs={"autoincrement": False}, **options)


class Row(SQLModel):
    """The tables' own metadata, apart from whatever else uses SQLModel in the process."""

    metadata: ClassVar[MetaData] = MetaData()


class Meta(Row, table=True):
    """Facts of this exchange by name; among them digests of the settings that it last ran with."""

    __tablename__ = "meta"
    __table_args__ = _STRICT_BY_KEY
    key: str = _text(primary_key=True)
    value: str = _text()


class Act(Row, table=True):
    """One row an accepted or finally refused act (R-92). Never changed."""

    __tablename__ = "act"
    __table_args__ = (UniqueConstraint("iss", "id"), Index("act_ref_pos", "ref", "pos"), _STRICT)
    pos: int = _position()
    digest: str = _text(unique=True)
    iss: str = _text()
    id: str = _text()
    party: str = _text()
    act: str = _text()
    ref: str | None = _text()
    unit: str | None = _text()
    prev: str | None = _text()
    jws: str = _text()
    outcome: str = _text()
    code: str | None = _text()
    receipt: str = _text()
    carrier: str | None = _text()
    received_at: int = _int()


_RELATES = text("relates_to IS NOT NULL")


class Referral(Row, table=True):
    """One row a referral, from its submit act."""

    __tablename__ = "referral"
    __table_args__ = (
        Index("referral_relates_to", "relates_to", sqlite_where=_RELATES, postgresql_where=_RELATES),
        _STRICT_BY_KEY,
    )
    ref: str = _text(primary_key=True)
    sender: str = _text()
    urgency: str = _text()
    submit_digest: str = _text()
    created_at: int = _int()
    excluded: str = _text()
    retention: str = _text(sa_column_kwargs={"server_default": "standard"})
    relates_to: str | None = _text(nullable=True)


class Refusal(Row, table=True):
    """What the answer to a finally refused act said beside its receipt: who sends it again is told the same."""

    __tablename__ = "refusal"
    __table_args__ = _STRICT
    pos: int = _position()
    facts: str = _text()


class Delivery(Row, table=True):
    """The state of one referral at one unit: the fold of its acts, kept so that nobody has to fold on every call."""

    __tablename__ = "delivery"
    __table_args__ = _STRICT_BY_KEY
    ref: str = _text(primary_key=True, foreign_key="referral.ref")
    unit: str = _text(primary_key=True)
    role: str = _text()
    state: str = _text()
    head: str = _text()
    submitted_at: int | None = _int()
    retrieved_at: int | None = _int()
    acknowledged_at: int | None = _int()
    accepted_at: int | None = _int()
    notified_at: int | None = _int()
    last_status_at: int | None = _int()
    investigation: str = _text()
    questions: str = _text()
    transfer_to: str | None = _text()
    rank: int = _int(sa_column_kwargs={"server_default": "0"})
    clockwork: str = _text(sa_column_kwargs={"server_default": "{}"})


class Alarm(Row, table=True):
    """When a referral is to be looked at next, because the exchange will owe something. No row: nothing is ever due."""

    __tablename__ = "alarm"
    __table_args__ = (Index("alarm_at", "at"), _STRICT_BY_KEY)
    ref: str = _text(primary_key=True)
    at: int = _int()


class Sealed(Row, table=True):
    """What travelled sealed beside the act at `pos`. `body` goes at the purge; size and digest stay."""

    __tablename__ = "sealed"
    __table_args__ = _STRICT
    pos: int = _position()
    sha256: str = _text()
    size: int = _int()
    body: bytes | None = Field(sa_type=LargeBinary)


class Record(Row, table=True):
    """The exchange's own records behind leaves (R-91): retrievals, views, refusals. Never changed."""

    __tablename__ = "record"
    __table_args__ = (Index("record_ref_pos", "ref", "pos"), _STRICT)
    pos: int = _position()
    kind: str = _text()
    ref: str | None = _text()
    party: str | None = _text()
    body: str = _text()


class Erasure(Row, table=True):
    """Leaves whose records are erased, each with the digest of the `erase` act that names it. Never changed; rows of
    `act` and `record` can be deleted only where they stand here.
    """

    __tablename__ = "erasure"
    __table_args__ = _STRICT
    pos: int = _position()
    act: str = _text()


class Tally(Row, table=True):
    """What is counted by credential and hour, until the hour is over and a record says it (design §9).

    `hour` is its first second; `party` and `credential` are empty for callers whom nobody knows, `code` for tokens.
    """

    __tablename__ = "tally"
    __table_args__ = _STRICT_BY_KEY
    hour: int = _position()
    party: str = _text(primary_key=True)
    credential: str = _text(primary_key=True)
    code: str = _text(primary_key=True)
    count: int = _int()


class Feed(Row, table=True):
    """What a party's inbox shows, in log order; the partial index holds what still waits for an answer."""

    __tablename__ = "feed"
    __table_args__ = (
        Index("feed_pending", "party", "pos", sqlite_where=text("pending"), postgresql_where=text("pending")),
        Index("feed_pending_ref", "ref", sqlite_where=text("pending"), postgresql_where=text("pending")),
        _STRICT_BY_KEY,
    )
    party: str = _text(primary_key=True)
    pos: int = _position()
    act_digest: str = _text()
    act_id: str | None = _text()
    kind: str = _text()
    ref: str | None = _text()
    unit: str | None = _text()
    sender: str | None = _text()
    urgency: str | None = _text()
    at: int = _int()
    answered_by: str | None = _text()
    pending: bool = Field(sa_type=_FLAG)


class Poll(Row, table=True):
    """When a party last asked for its inbox: whether it is live."""

    __tablename__ = "poll"
    __table_args__ = _STRICT_BY_KEY
    party: str = _text(primary_key=True)
    last_at: int = _int()


class WakeUp(Row, table=True):
    """Of which of its lines a party was told by a notice, and when a process last took that upon it (R-109): unix
    seconds, 0 for never.
    """

    __tablename__ = "wake_up"
    __table_args__ = _STRICT_BY_KEY
    party: str = _text(primary_key=True)
    told_at: int = _int()
    swept_at: int = _int()


class Invitation(Row, table=True):
    """One row an `invite` act; `enrolment` is set by the one enrolment that used it."""

    __tablename__ = "invitation"
    __table_args__ = _STRICT_BY_KEY
    nonce: str = _text(primary_key=True)
    party: str = _text()
    role: str = _text()
    act_digest: str = _text()
    expires_at: int = _int()
    enrolment: str | None = _text()


class Enrolment(Row, table=True):
    """One enrolment under way: the challenges sent, what came back, and how often the code was mistyped."""

    __tablename__ = "enrolment"
    __table_args__ = (
        Index("enrolment_party_state", "party", "state"),
        Index("enrolment_state_created_at", "state", "created_at", "id"),
        _STRICT,
    )
    id: str = _text(primary_key=True)
    nonce: str = _text(foreign_key="invitation.nonce")
    party: str = _text()
    state: str = _text()
    challenges: str = _text()
    body: str | None = _text()
    tries: int = _int()
    created_at: int = _int()
    updated_at: int = _int()


class LogState(Row, table=True):
    """One row a log: its sequencer. Whoever holds this row's lock appends next."""

    __tablename__ = "log_state"
    __table_args__: ClassVar[Any] = {**_STRICT_BY_KEY, "postgresql_with": {"fillfactor": 20}}
    log: str = _text(primary_key=True)
    size: int = _int()
    frontier: bytes = Field(sa_type=LargeBinary)


class LogEntry(Row, table=True):
    """The leaves of every log. Never changed."""

    __tablename__ = "log_entry"
    __table_args__ = _STRICT_BY_KEY
    log: str = _text(primary_key=True)
    idx: int = _position()
    leaf: bytes = Field(sa_type=LargeBinary)


class LogTile(Row, table=True):
    """Stored hashes: level 0 once a tile is full, higher levels as they fill, always a prefix of what they become."""

    __tablename__ = "log_tile"
    __table_args__ = _STRICT
    log: str = _text(primary_key=True)
    lvl: int = _position()
    n: int = _position()
    data: bytes = Field(sa_type=LargeBinary)


class LogCheckpoint(Row, table=True):
    """Signed checkpoints over committed growth. `note` gains cosignatures; `witnessed_at` is when they sufficed."""

    __tablename__ = "log_checkpoint"
    __table_args__ = (
        Index(
            "log_checkpoint_witnessed",
            "log",
            "size",
            sqlite_where=text("witnessed_at IS NOT NULL"),
            postgresql_where=text("witnessed_at IS NOT NULL"),
        ),
        _STRICT_BY_KEY,
    )
    log: str = _text(primary_key=True)
    size: int = _position()
    note: str = _text()
    signed_at: int = _int()
    witnessed_at: int | None = _int()


class LogSigner(Row, table=True):
    """Who may sign a log (R-93): the claim of one signer's state file. Adopting it elsewhere raises the fence."""

    __tablename__ = "log_signer"
    __table_args__ = _STRICT_BY_KEY
    log: str = _text(primary_key=True)
    signer_id: str = _text()
    fence: int = _int()
    adopted_at: int = _int()


class SpoolLogged(Row, table=True):
    """Spools whose records are on the log (R-97), so that none is logged twice after a crash."""

    __tablename__ = "spool_logged"
    __table_args__ = _STRICT_BY_KEY
    id: str = _text(primary_key=True)
    logged_at: int = _int()


class SealedLost(Row, table=True):
    """Sealed texts that recovery could not bring back; the row goes when somebody sends the same bytes again."""

    __tablename__ = "sealed_lost"
    __table_args__ = _STRICT
    pos: int = _position()


class Assertion(Row, table=True):
    """Client assertions already used (R-44). Durable: no nonce can vouch for one after a loss, and they are few."""

    __tablename__ = "assertion"
    __table_args__ = (Index("assertion_expires_at", "expires_at"), _STRICT_BY_KEY)
    key: str = _text(primary_key=True)
    expires_at: int = _int()


class Replay(Row, table=True):
    """Proofs already used (R-44). UNLOGGED on PostgreSQL: a crash empties it together with its epoch."""

    __tablename__ = "replay"
    __table_args__ = (Index("replay_expires_at", "expires_at"), _STRICT_BY_KEY)
    key: str = _text(primary_key=True)
    expires_at: int = _int()


class ReplayEpoch(Row, table=True):
    """Since when the replay table remembers everything. UNLOGGED too, so that the two are lost together."""

    __tablename__ = "replay_epoch"
    __table_args__ = _STRICT
    id: int = _position()
    started_at: int = _int()


class Quota(Row, table=True):
    """What was counted of a name in a minute, by all processes (R-46). UNLOGGED: a crash lets a minute begin anew."""

    __tablename__ = "quota"
    __table_args__ = _STRICT_BY_KEY
    minute: int = _int(primary_key=True)
    name: str = _text(primary_key=True)
    taken: int = _int()


METADATA: Final = Row.metadata
