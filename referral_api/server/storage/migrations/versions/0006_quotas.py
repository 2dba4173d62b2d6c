"""What was counted of a name in a minute, by all processes of the exchange.

Must never: be edited once released; a later change is a later step.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the table. Nothing is lost with it, so that on PostgreSQL no write to it waits for a disk."""
    op.create_table(
        "quota",
        sa.Column("minute", _INTEGER, nullable=False, autoincrement=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("taken", _INTEGER, nullable=False, autoincrement=False),
        sa.PrimaryKeyConstraint("minute", "name"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    if op.get_context().dialect.name == "postgresql":
        op.execute(sa.text("ALTER TABLE quota SET UNLOGGED"))
