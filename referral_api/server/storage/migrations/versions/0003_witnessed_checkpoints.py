"""Checkpoints that a quorum of witnesses has cosigned, and since when: the newest one is found without reading others.

Must never: be edited once released; a later change is a later step.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the time, null until the quorum is reached, and an index of those that have it."""
    op.add_column("log_checkpoint", sa.Column("witnessed_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite")))
    is_witnessed = sa.text("witnessed_at IS NOT NULL")
    op.create_index(
        "log_checkpoint_witnessed",
        "log_checkpoint",
        ["log", "size"],
        sqlite_where=is_witnessed,
        postgresql_where=is_witnessed,
    )
