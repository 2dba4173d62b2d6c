"""Counts of an hour that is not over yet; and which leaves' records an `erase` act has taken, which alone may go.

Must never: be edited once released; a later change is a later step.
"""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_ERASABLE = ("act", "record")
_INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the tables, and let rows be deleted that stand in `erasure`."""
    op.create_table(
        "tally",
        _int("hour"),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("party", "credential", "code")),
        _int("count"),
        sa.PrimaryKeyConstraint("hour", "party", "credential", "code"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "erasure",
        _int("pos"),
        sa.Column("act", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("pos"),
        sqlite_strict=True,
    )
    statements = _sqlite() if op.get_context().dialect.name == "sqlite" else _postgresql()
    for statement in statements:
        op.execute(sa.text(statement))


def _int(name: str) -> sa.Column[int]:
    return sa.Column(name, _INTEGER, nullable=False, autoincrement=False)


def _sqlite() -> Iterator[str]:
    for event in ("UPDATE", "DELETE"):
        yield (
            f"CREATE TRIGGER erasure_no_{event.lower()} BEFORE {event} ON erasure "
            "BEGIN SELECT RAISE(ABORT, 'append-only'); END"
        )
    for table in _ERASABLE:
        yield f"DROP TRIGGER {table}_no_delete"
        yield (
            f"CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table} "  # noqa: S608  # a table's own name
            "WHEN NOT EXISTS (SELECT 1 FROM erasure WHERE pos = OLD.pos) "
            "BEGIN SELECT RAISE(ABORT, 'append-only'); END"
        )


def _postgresql() -> Iterator[str]:
    yield (
        "CREATE FUNCTION erased_only() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF NOT EXISTS (SELECT 1 FROM erasure WHERE pos = OLD.pos) THEN RAISE EXCEPTION 'append-only'; END IF; "
        "RETURN OLD; END $$"
    )
    for table in _ERASABLE:
        yield f"DROP TRIGGER {table}_append_only ON {table}"
        yield (
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION append_only()"
        )
        yield f"CREATE TRIGGER {table}_erased_only BEFORE DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION erased_only()"
    yield (
        "CREATE TRIGGER erasure_append_only BEFORE UPDATE OR DELETE ON erasure "
        "FOR EACH ROW EXECUTE FUNCTION append_only()"
    )
    yield (
        "CREATE TRIGGER erasure_no_truncate BEFORE TRUNCATE ON erasure "
        "FOR EACH STATEMENT EXECUTE FUNCTION append_only()"
    )
