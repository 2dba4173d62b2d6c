"""The first schema: acts and what they did, the logs, feeds, enrolment, the replay store; append-only triggers.

Must never: be edited once released; a later change is a later step.
"""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_FLAG = sa.Boolean().with_variant(sa.Integer(), "sqlite")
_APPEND_ONLY = ("act", "record", "log_entry")


def upgrade() -> None:
    """Create every table, then what only one of the engines knows."""
    _acts()
    _inboxes()
    _enrolment()
    _logs()
    _replay()
    statements = _sqlite_triggers() if op.get_context().dialect.name == "sqlite" else _postgresql_parts()
    for statement in statements:
        op.execute(sa.text(statement))


def _acts() -> None:
    op.create_table("meta", _text("key"), _text("value"), sa.PrimaryKeyConstraint("key"), **_STRICT_BY_KEY)
    op.create_table(
        "act",
        *(_int("pos"), _text("digest"), _text("iss"), _text("id"), _text("party"), _text("act")),
        *(_text("ref", null=True), _text("unit", null=True), _text("prev", null=True), _text("jws")),
        *(_text("outcome"), _text("code", null=True), _text("receipt"), _text("carrier", null=True)),
        _int("received_at"),
        sa.PrimaryKeyConstraint("pos"),
        sa.UniqueConstraint("digest"),
        sa.UniqueConstraint("iss", "id"),
        **_STRICT,
    )
    op.create_index("act_ref_pos", "act", ["ref", "pos"])
    op.create_table(
        "referral",
        *(_text("ref"), _text("sender"), _text("urgency"), _text("submit_digest"), _int("created_at")),
        _text("excluded"),
        sa.PrimaryKeyConstraint("ref"),
        **_STRICT_BY_KEY,
    )
    op.create_table(
        "delivery",
        *(_text("ref"), _text("unit"), _text("role"), _text("state"), _text("head")),
        *(_int("submitted_at", null=True), _int("retrieved_at", null=True), _int("acknowledged_at", null=True)),
        *(_int("accepted_at", null=True), _int("notified_at", null=True), _int("last_status_at", null=True)),
        *(_text("investigation"), _text("questions"), _text("transfer_to", null=True)),
        sa.ForeignKeyConstraint(["ref"], ["referral.ref"]),
        sa.PrimaryKeyConstraint("ref", "unit"),
        **_STRICT_BY_KEY,
    )
    op.create_table(
        "sealed",
        *(_int("pos"), _text("sha256"), _int("size")),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("pos"),
        **_STRICT,
    )
    op.create_table(
        "record",
        *(_int("pos"), _text("kind"), _text("ref", null=True), _text("party", null=True), _text("body")),
        sa.PrimaryKeyConstraint("pos"),
        **_STRICT,
    )
    op.create_index("record_ref_pos", "record", ["ref", "pos"])


def _inboxes() -> None:
    op.create_table(
        "feed",
        *(_text("party"), _int("pos"), _text("act_digest"), _text("act_id", null=True), _text("kind")),
        *(_text("ref", null=True), _text("unit", null=True), _text("sender", null=True)),
        *(_text("urgency", null=True), _int("at"), _text("answered_by", null=True)),
        sa.Column("pending", _FLAG, nullable=False),
        sa.PrimaryKeyConstraint("party", "pos"),
        **_STRICT_BY_KEY,
    )
    pending = sa.text("pending")
    op.create_index("feed_pending", "feed", ["party", "pos"], sqlite_where=pending, postgresql_where=pending)
    op.create_index("feed_pending_ref", "feed", ["ref"], sqlite_where=pending, postgresql_where=pending)
    op.create_table("poll", _text("party"), _int("last_at"), sa.PrimaryKeyConstraint("party"), **_STRICT_BY_KEY)


def _enrolment() -> None:
    op.create_table(
        "invitation",
        *(_text("nonce"), _text("party"), _text("role"), _text("act_digest"), _int("expires_at")),
        _text("enrolment", null=True),
        sa.PrimaryKeyConstraint("nonce"),
        **_STRICT_BY_KEY,
    )
    op.create_table(
        "enrolment",
        *(_text("id"), _text("nonce"), _text("party"), _text("state"), _text("challenges")),
        *(_text("body", null=True), _int("tries"), _int("created_at"), _int("updated_at")),
        sa.ForeignKeyConstraint(["nonce"], ["invitation.nonce"]),
        sa.PrimaryKeyConstraint("id"),
        **_STRICT,
    )
    op.create_index("enrolment_party_state", "enrolment", ["party", "state"])


def _logs() -> None:
    op.create_table(
        "log_state",
        *(_text("log"), _int("size"), sa.Column("frontier", sa.LargeBinary(), nullable=False)),
        sa.PrimaryKeyConstraint("log"),
        # The row is rewritten by every batch: room on its page keeps the rewriting off the index.
        postgresql_with={"fillfactor": 20},
        **_STRICT_BY_KEY,
    )
    op.create_table(
        "log_entry",
        *(_text("log"), _int("idx"), sa.Column("leaf", sa.LargeBinary(), nullable=False)),
        sa.PrimaryKeyConstraint("log", "idx"),
        **_STRICT_BY_KEY,
    )
    op.create_table(
        "log_tile",
        *(_text("log"), _int("lvl"), _int("n"), sa.Column("data", sa.LargeBinary(), nullable=False)),
        sa.PrimaryKeyConstraint("log", "lvl", "n"),
        **_STRICT,
    )
    op.create_table(
        "log_checkpoint",
        *(_text("log"), _int("size"), _text("note"), _int("signed_at")),
        sa.PrimaryKeyConstraint("log", "size"),
        **_STRICT_BY_KEY,
    )


def _replay() -> None:
    op.create_table("assertion", _text("key"), _int("expires_at"), sa.PrimaryKeyConstraint("key"), **_STRICT_BY_KEY)
    op.create_index("assertion_expires_at", "assertion", ["expires_at"])
    op.create_table("replay", _text("key"), _int("expires_at"), sa.PrimaryKeyConstraint("key"), **_STRICT_BY_KEY)
    op.create_index("replay_expires_at", "replay", ["expires_at"])
    op.create_table("replay_epoch", _int("id"), _int("started_at"), sa.PrimaryKeyConstraint("id"), **_STRICT)


def _sqlite_triggers() -> Iterator[str]:
    for table in _APPEND_ONLY:
        for event in ("UPDATE", "DELETE"):
            yield (
                f"CREATE TRIGGER {table}_no_{event.lower()} BEFORE {event} ON {table} "
                "BEGIN SELECT RAISE(ABORT, 'append-only'); END"
            )
    yield (
        "CREATE TRIGGER log_tile_grows BEFORE UPDATE ON log_tile WHEN NEW.log <> OLD.log OR NEW.lvl <> OLD.lvl "
        "OR NEW.n <> OLD.n OR length(NEW.data) <= length(OLD.data) OR length(NEW.data) > 8192 "
        "OR substr(NEW.data, 1, length(OLD.data)) <> OLD.data BEGIN SELECT RAISE(ABORT, 'append-only'); END"
    )
    yield (
        "CREATE TRIGGER log_state_grows BEFORE UPDATE ON log_state WHEN NEW.log <> OLD.log OR NEW.size <= OLD.size "
        "BEGIN SELECT RAISE(ABORT, 'append-only'); END"
    )
    for table in ("log_tile", "log_state"):
        yield f"CREATE TRIGGER {table}_stays BEFORE DELETE ON {table} BEGIN SELECT RAISE(ABORT, 'append-only'); END"


def _postgresql_parts() -> Iterator[str]:
    yield (
        "CREATE FUNCTION append_only() RETURNS trigger LANGUAGE plpgsql AS $$ "
        "BEGIN RAISE EXCEPTION 'append-only'; END $$"
    )
    for table in _APPEND_ONLY:
        yield (
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION append_only()"
        )
    yield (
        "CREATE TRIGGER log_tile_grows BEFORE UPDATE ON log_tile FOR EACH ROW WHEN (NEW.log <> OLD.log "
        "OR NEW.lvl <> OLD.lvl OR NEW.n <> OLD.n OR length(NEW.data) <= length(OLD.data) OR length(NEW.data) > 8192 "
        "OR substr(NEW.data, 1, length(OLD.data)) <> OLD.data) EXECUTE FUNCTION append_only()"
    )
    yield (
        "CREATE TRIGGER log_state_grows BEFORE UPDATE ON log_state FOR EACH ROW "
        "WHEN (NEW.log <> OLD.log OR NEW.size <= OLD.size) EXECUTE FUNCTION append_only()"
    )
    for table in ("log_tile", "log_state"):
        yield f"CREATE TRIGGER {table}_stays BEFORE DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION append_only()"
    for table in (*_APPEND_ONLY, "log_tile", "log_state"):
        yield (
            f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION append_only()"
        )
    # Ciphertext and hashes do not compress: trying costs time on every row.
    yield "ALTER TABLE sealed ALTER COLUMN body SET STORAGE EXTERNAL"
    yield "ALTER TABLE log_tile ALTER COLUMN data SET STORAGE EXTERNAL"
    # Losing the replay store in a crash is safe, because its epoch is lost with it; syncing it would cost every call.
    yield "ALTER TABLE replay SET UNLOGGED"
    yield "ALTER TABLE replay_epoch SET UNLOGGED"


_STRICT = {"sqlite_strict": True}
_STRICT_BY_KEY = {"sqlite_strict": True, "sqlite_with_rowid": False}


def _text(name: str, *, null: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=null)


def _int(name: str, *, null: bool = False) -> sa.Column[int]:
    # A single integer key would otherwise become a sequence on PostgreSQL; positions come from the log.
    return sa.Column(name, _INTEGER, nullable=null, autoincrement=False)
