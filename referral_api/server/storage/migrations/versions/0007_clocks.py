"""What clocks and forgetting need of deliveries and referrals, and when each referral is to be looked at next.

Must never: be edited once released; a later change is a later step.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

from referral_api.formats.strict_json import parse, unb64u

revision = "0007"
down_revision = "0006"
MAX_BYTES = 64 * 1024
"""Twice what an act may be."""

_INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the columns and the table; every referral that there is is looked at once."""
    op.add_column("referral", sa.Column("retention", sa.Text(), nullable=False, server_default="standard"))
    op.add_column("delivery", sa.Column("rank", _INTEGER, nullable=False, server_default="0"))
    op.add_column("delivery", sa.Column("clockwork", sa.Text(), nullable=False, server_default="{}"))
    op.create_table(
        "alarm",
        sa.Column("ref", sa.Text(), nullable=False),
        sa.Column("at", _INTEGER, nullable=False, autoincrement=False),
        sa.PrimaryKeyConstraint("ref"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_index("alarm_at", "alarm", ["at"])
    op.execute(sa.text("INSERT INTO alarm (ref, at) SELECT ref, 0 FROM referral"))
    connection = op.get_bind()
    submits = connection.execute(
        sa.text("SELECT referral.ref, act.jws FROM referral JOIN act ON act.digest = referral.submit_digest")
    )
    for ref, jws in submits.fetchall():
        body = _body(jws)
        connection.execute(
            sa.text("UPDATE referral SET retention = :kept WHERE ref = :ref"),
            {"kept": body["retention_class"], "ref": ref},
        )
        for rank, to in enumerate(body["to"]):
            connection.execute(
                sa.text("UPDATE delivery SET rank = :rank WHERE ref = :ref AND unit = :unit"),
                {"rank": rank, "ref": ref, "unit": to["unit"]},
            )


def _body(jws: str) -> dict[str, Any]:
    """The body of a stored act; it was verified when it was taken."""
    payload = parse(jws.encode("ascii"), max_bytes=MAX_BYTES)["payload"]
    found: dict[str, Any] = parse(unb64u(payload), max_bytes=MAX_BYTES)["body"]
    return found
