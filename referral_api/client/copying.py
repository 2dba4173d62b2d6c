"""Copies of a referral for further units.

A copy is a referral of its own with a reduced body, so nothing that the first one says travels with it. What was taken
back is copied no more.

Must never: pass on more than referral_copy.py leaves, or inform a unit that the referral excludes.

Implements: R-86; rules R7 and R9 of the field; docs/decisions/0030.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from referral_api.client import consented
from referral_api.client.outbox import Entry
from referral_api.client.sdk import Client
from referral_api.client.submission import Composition
from referral_api.client.view import Referral
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.policy import Relation
from referral_api.domain.words import COPY_OF, Act, PartyId, State
from referral_api.formats.referral_copy import reduce_body


def make_copy(
    client: Client, ref: str, units: Sequence[str], summary: str | None = None, operator: str | None = None
) -> Entry:
    """Open a referral that this hotline sent, reduce it, and send that to further units for their information.

    Units that the referral excludes stay excluded. Raises NOT_PERMITTED (`needs`) for who did not send it;
    TARGET_NOT_ALLOWED (`unit`, `reason`: `excluded`, or `addressed` for one that may read the referral itself);
    CONSENT_GATE (`consent-withdrawn`) once consent to it was withdrawn; ILLEGAL_TRANSITION for a referral that was
    taken back; and as `delivery.open_bundle`, `reduce_body` and `submission.compose`.
    """
    referral = client.referral(ref)
    if referral.relation is not Relation.SENDER:
        raise ReferralError(ErrorCode.NOT_PERMITTED, needs="sender")
    _demand_standing(referral)
    excluded = _excluded(referral)
    for unit in units:
        if unit in excluded:
            raise ReferralError(ErrorCode.TARGET_NOT_ALLOWED, unit=unit, reason="excluded")
        delivery = referral.chronicle.deliveries.get(unit)
        if delivery is not None and delivery.shown_state is not State.HELD:
            raise ReferralError(ErrorCode.TARGET_NOT_ALLOWED, unit=unit, reason="addressed")
    submit: Any = referral.submit().act.body
    what = Composition(
        body=reduce_body(client.open_referral(referral).body, summary),
        action=None,
        information=tuple(PartyId(unit) for unit in units),
        excluded=excluded,
        retention_class=submit.retention_class.value,
        relation={"type": COPY_OF, "ref": referral.ref},
        operator=operator,
    )
    return client.submit(what)


def _excluded(referral: Referral) -> tuple[PartyId, ...]:
    bodies: list[Any] = [one.act.body for one in referral.acts if one.act.act is Act.ROUTE and one.accepted]
    return tuple(unit for body in bodies for unit in body.excluded)


def _demand_standing(referral: Referral) -> None:
    """What was taken back is spread no further, whether or not its units have answered that yet."""
    consented.demand(referral, Act.SUBMIT)
    states = {one.state for one in referral.chronicle.deliveries.values()}
    if states <= {State.WITHDRAWN, State.WITHDRAWAL_NOTIFIED, State.PURGED}:
        raise ReferralError(ErrorCode.ILLEGAL_TRANSITION, act=Act.SUBMIT.value, reason="withdrawn")
