"""Which earlier referral a submit names, found by that; and what a refusal's answer said beside its receipt.

Must never: be edited once released; a later change is a later step.
"""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa
from alembic import op

from referral_api.formats.strict_json import parse, unb64u

revision = "0008"
down_revision = "0007"

_MAX_ACT_BYTES = 64 * 1024


def upgrade() -> None:
    """Add both, and fill the first from the submissions that there are: an exchange may be years old."""
    op.add_column("referral", sa.Column("relates_to", sa.Text()))
    for ref, earlier in list(_relations(op.get_bind())):
        op.get_bind().execute(
            sa.text("UPDATE referral SET relates_to = :earlier WHERE ref = :ref"), {"earlier": earlier, "ref": ref}
        )
    names_one = sa.text("relates_to IS NOT NULL")
    op.create_index(
        "referral_relates_to", "referral", ["relates_to"], sqlite_where=names_one, postgresql_where=names_one
    )
    op.create_table(
        "refusal",
        sa.Column("pos", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False, autoincrement=False),
        sa.Column("facts", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("pos"),
        sqlite_strict=True,
    )


def _relations(conn: sa.Connection) -> Iterator[tuple[str, str]]:
    """(referral, the earlier one that its submit names), by the page: the acts of years are more than fit in memory."""
    after = ""
    page = sa.text(
        "SELECT referral.ref, act.jws FROM referral JOIN act ON act.digest = referral.submit_digest"
        " WHERE referral.ref > :after ORDER BY referral.ref LIMIT 256"
    )
    while rows := conn.execute(page, {"after": after}).fetchall():
        for ref, jws in rows:
            payload = parse(jws.encode("ascii"), max_bytes=_MAX_ACT_BYTES)["payload"]
            relation = parse(unb64u(payload), max_bytes=_MAX_ACT_BYTES)["body"].get("relation")
            if relation is not None:
                yield ref, relation["ref"]
        after = rows[-1][0]
