"""Which units of an emergency nobody has spoken to by telephone yet, as its hotline itself stated.

A submission says whether the unit was telephoned. Until a later `phone_alert` says that it was reached, or the unit has
read what it was sent, the hotline telephones: an emergency that is only in an inbox waits for somebody to look there.
Whom the hotline itself called in since, the call of the submission did not reach.

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
    the submission says that nobody was, or although we called them in ourselves (R-78). Empty for everybody but the
    sender.
    """
    accepted = [one.act for one in referral.acts if one.accepted]
    submit: Any = next((act.body for act in accepted if act.act is Act.SUBMIT), None)
    if referral.relation is not Relation.SENDER or submit is None or submit.urgency is not Urgency.EMERGENCY:
        return frozenset()
    is_silent = submit.phone_alert is not None and not submit.phone_alert.made
    called_in = {act.unit for act in accepted if act.act is Act.RELEASED and act.party == referral.chronicle.sender}
    reached = {act.unit for act in accepted if act.act is Act.PHONE_ALERT and getattr(act.body, "made", False)}
    return frozenset(
        one.unit
        for one in referral.chronicle.deliveries.values()
        if one.state in lifecycle.UNREAD and not one.taken and one.unit not in reached
        if (one.role is DeliveryRole.ACTION and is_silent) or one.unit in called_in
    )
