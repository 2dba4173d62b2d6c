"""Counts of an hour that is not over yet: tokens given out and refusals repeated, until they become records.

Must never: be edited once released; a later change is a later step.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0002"

_INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "tally",
        sa.Column("hour", _INTEGER, nullable=False, autoincrement=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("party", "credential", "code")),
        sa.Column("count", _INTEGER, nullable=False, autoincrement=False),
        sa.PrimaryKeyConstraint("hour", "party", "credential", "code"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
