"""When each party was last woken by a notice.

Must never: be edited once released; a later change is a later step.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

_INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the table: a row a party that has channels."""
    op.create_table(
        "wake_up",
        sa.Column("party", sa.Text(), nullable=False),
        sa.Column("told_at", _INTEGER, nullable=False, autoincrement=False),
        sa.Column("swept_at", _INTEGER, nullable=False, autoincrement=False),
        sa.PrimaryKeyConstraint("party"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
