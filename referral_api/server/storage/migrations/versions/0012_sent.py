"""A line of each submission in its sender's own inbox: what one workstation sent, a colleague's must know of at once.

Must never: be edited once released; a later change is a later step.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Add it for every referral that there is; of one that was erased the act is gone, and its lines were."""
    columns = "party, pos, act_digest, act_id, kind, ref, unit, sender, urgency, at, answered_by, pending"
    found = (
        "SELECT referral.sender, act.pos, act.digest, act.id, act.act, referral.ref, NULL, referral.sender,"
        " referral.urgency, act.received_at, '', :informs FROM referral JOIN act ON act.digest = referral.submit_digest"
    )
    informs = sa.bindparam("informs", value=False, type_=sa.Boolean())
    op.execute(sa.text(f"INSERT INTO feed ({columns}) {found}").bindparams(informs))
