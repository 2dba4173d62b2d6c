"""What a purge leaves behind is looked for at once: autovacuum's settings for the table of sealed texts (PostgreSQL).

Must never: be edited once released; a later change is a later step.
"""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"

_SETTINGS = ("autovacuum_vacuum_scale_factor = 0", "autovacuum_vacuum_threshold = 0")
"""From the first row on. Nothing but a purge or an erasure ever makes a dead row there."""


def upgrade() -> None:
    """Set them for the table and for what it keeps beside it. SQLite overwrites by itself (`secure_delete`)."""
    if op.get_bind().dialect.name == "postgresql":
        settings = ", ".join([*_SETTINGS, *(f"toast.{one}" for one in _SETTINGS)])
        op.execute(f"ALTER TABLE sealed SET ({settings})")
