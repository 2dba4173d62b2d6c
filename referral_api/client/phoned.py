"""Which units of an emergency nobody has spoken to by telephone yet, as its hotline itself stated.

A submission says whether the unit was telephoned. Until a later `phone_alert` says that it was reached, or the unit has
read what it was sent, the hotline telephones: an emergency that is only in an inbox waits for somebody to look there.

Must never: take a call that was not made for one that was, or go by anything but verified acts.

Implements: R-70, R-81; design §10.
"""

from __future__ import annotations

from typing import Any

from referral_api.client.view import Referral
from referral_api.domain import lifecycle
from referral_api.domain.policy import Relation
from referral_api.domain.words import Act, DeliveryRole, Urgency


def unreached(referral: Referral) -> frozenset[str]:
    """The units that are to act on an emergency of ours, have not read it, and were not reached by telephone although
    the submission says that nobody was. Empty for everybody but the sender.
    """
    accepted = [one.act for one in referral.acts if one.accepted]
    submit: Any = next((act.body for act in accepted if act.act is Act.SUBMIT), None)
    if referral.relation is not Relation.SENDER or submit is None or submit.urgency is not Urgency.EMERGENCY:
        return frozenset()
    if submit.phone_alert is None or submit.phone_alert.made:
        return frozenset()
    reached = {act.unit for act in accepted if act.act is Act.PHONE_ALERT and getattr(act.body, "made", False)}
    return frozenset(
        one.unit
        for one in referral.chronicle.deliveries.values()
        if one.role is DeliveryRole.ACTION and one.state in lifecycle.UNREAD and one.unit not in reached
    )
