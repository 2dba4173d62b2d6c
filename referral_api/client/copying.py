"""Copies of a referral for further units.

A copy is a referral of its own with a reduced body, so nothing that the first one says travels with it. What was taken
back is copied no more.

Must never: pass on more than referral_copy.py leaves, or inform a unit that the referral, or what it is a copy of,
keeps out.

Implements: R-86; rules R7 and R9 of the field; docs/decisions/0030.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from referral_api.client import carrying, lineage
from referral_api.client.outbox import Entry
from referral_api.client.sdk import Client
from referral_api.client.submission import Composition
from referral_api.client.view import Referral
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.policy import Relation
from referral_api.domain.words import COPY_OF, Act, PartyId, State
from referral_api.formats.referral_body import parse_referral
from referral_api.formats.referral_copy import reduce_body


def make_copy(
    client: Client,
    ref: str,
    units: Sequence[str],
    summary: str | None = None,
    operator: str | None = None,
    *,
    agreement: str | None = None,
    despite_closed: bool = False,
) -> Entry:
    """Open a referral that this hotline sent, reduce what it says by now, and send that to further units for their
    information.

    Units that it, or what it comes from, excludes stay excluded, and so does whoever declared a conflict. `agreement`
    is the one under which it goes abroad (R-85); `despite_closed`: although a supplement of it does not open. Raises
    NOT_PERMITTED (`needs`) for who did not send it; TARGET_NOT_ALLOWED (`unit`, `reason`: `excluded`, or `addressed`
    for one that may read the referral itself); CONSENT_GATE (`consent-withdrawn`) once consent to it was withdrawn;
    ILLEGAL_TRANSITION for a referral that was taken back; and as `carrying.carried`, `reduce_body` and
    `submission.compose`.
    """
    referral = client.referral(ref)
    if referral.relation is not Relation.SENDER:
        raise ReferralError(ErrorCode.NOT_PERMITTED, needs="sender")
    line = lineage.line_of(client.referral, referral)
    lineage.demand_consent(line)
    same = lineage.copied_from(line)
    _demand_standing(same)
    excluded = lineage.kept_out(*line)
    for unit in units:
        if unit in excluded:
            raise ReferralError(ErrorCode.TARGET_NOT_ALLOWED, unit=unit, reason="excluded")
        held = [one.chronicle.deliveries.get(unit) for one in same]
        if any(one is not None and one.shown_state is not State.HELD for one in held):
            raise ReferralError(ErrorCode.TARGET_NOT_ALLOWED, unit=unit, reason="addressed")
    submit: Any = referral.submit().act.body
    said = carrying.carried(client.pen, referral, despite_closed=despite_closed)
    what = Composition(
        body=reduce_body(parse_referral(said.members), summary),
        action=None,
        information=tuple(PartyId(unit) for unit in units),
        excluded=excluded,
        retention_class=submit.retention_class.value,
        relation={"type": COPY_OF, "ref": referral.ref},
        agreement=agreement,
        operator=operator,
    )
    return client.submit(what)


def _demand_standing(same: Sequence[Referral]) -> None:
    """What was taken back is spread no further, whether or not its units have answered that yet, nor are its copies."""
    gone = {State.WITHDRAWN, State.WITHDRAWAL_NOTIFIED, State.PURGED}
    for number, referral in enumerate(same):
        is_over = {one.state for one in referral.chronicle.deliveries.values()} <= gone
        # What this is a copy of may have been purged because its time was over.
        if is_over and (number == 0 or any(one.accepted and one.act.act is Act.WITHDRAW for one in referral.acts)):
            raise ReferralError(ErrorCode.ILLEGAL_TRANSITION, act=Act.SUBMIT.value, reason="withdrawn")
