"""Which signer may sign which log, and which spools have been logged.

Must never: be edited once released; a later change is a later step.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_STRICT_BY_KEY = {"sqlite_strict": True, "sqlite_with_rowid": False}
_STRICT = {"sqlite_strict": True}


def upgrade() -> None:
    """Add the tables, empty: where a log has leaves already, its signer is adopted."""
    op.create_table(
        "log_signer",
        sa.Column("log", sa.Text(), nullable=False),
        sa.Column("signer_id", sa.Text(), nullable=False),
        sa.Column("fence", _INTEGER, nullable=False),
        sa.Column("adopted_at", _INTEGER, nullable=False),
        sa.PrimaryKeyConstraint("log"),
        **_STRICT_BY_KEY,
    )
    op.create_table(
        "spool_logged",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("logged_at", _INTEGER, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        **_STRICT_BY_KEY,
    )
    op.create_table(
        "sealed_lost",
        sa.Column("pos", _INTEGER, nullable=False, autoincrement=False),
        sa.PrimaryKeyConstraint("pos"),
        **_STRICT,
    )
