"""Where a referral comes from, by its sender's own submits, and who must never get it or what is made of it.

A successor or a copy is a referral of its own, and what its first one came to know does not travel with it: a unit may
declare a conflict after the copy was made. So whoever spreads it looks at all that it comes from.

Must never: leave out a unit because its delivery has moved on since it said why it must not have this.

Implements: R-64, R-86, R-110; rule R9 of the field.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

from referral_api.client import consented
from referral_api.client.consented import APART, relation_of
from referral_api.client.view import Referral
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.policy import Relation
from referral_api.domain.words import COPY_OF, Act, PartyId, ReferralId

CONFLICT = "conflict_of_interest"
"""The reason of a `decline` that keeps a unit out from then on."""
TRANSFER_CONFLICT = "conflict"
"""The reason of a `transfer` that says the same of the unit that proposes it, approved or not."""


def line_of(fetch: Callable[[ReferralId], Referral], referral: Referral) -> list[Referral]:
    """A referral and what it comes from, by relations, nearest first; but for `related_to`, which is another case.

    What is erased ends the line: who it kept out stands in the exclusions of what came after it. Raises as `fetch`.
    """
    found = {referral.ref: referral}
    while (relation := relation_of(referral)) is not None and relation[0] != APART and relation[1] not in found:
        try:
            referral = fetch(relation[1])
        except ReferralError as error:
            if error.code is not ErrorCode.NOT_FOUND:
                raise
            break
        if referral.relation is not Relation.SENDER:
            break
        found[referral.ref] = referral
    return list(found.values())


def copied_from(line: list[Referral]) -> list[Referral]:
    """Of a line the part that is the same referral: itself, and what it is a copy of, in turn."""
    found = line[:1]
    for before, one in pairwise(line):
        relation = relation_of(before)
        if relation is None or relation[0] != COPY_OF:
            break
        found.append(one)
    return found


def demand_consent(line: list[Referral]) -> None:
    """Raises CONSENT_GATE (`consent-withdrawn`, `ref`) where the person agrees no more to any of them."""
    for one in line:
        consented.demand(one, Act.SUBMIT)


def excluded_of(referral: Referral) -> tuple[PartyId, ...]:
    """The units that must never get it, by the `route` act beside its submit, which only the sender sees."""
    found: dict[PartyId, None] = {}
    for shown in referral.acts:
        if shown.act.act is Act.ROUTE and shown.accepted:
            body: Any = shown.act.body
            found |= dict.fromkeys(body.excluded)
    return tuple(found)


def conflicted_of(referral: Referral) -> tuple[PartyId, ...]:
    """The units that said of themselves that they have a conflict, by declining or by proposing another unit."""
    said = {(Act.DECLINE, CONFLICT), (Act.TRANSFER, TRANSFER_CONFLICT)}
    found: dict[PartyId, None] = {}
    for shown in referral.acts:
        act = shown.act
        if shown.accepted and act.unit == act.party and (act.act, str(getattr(act.body, "reason", None))) in said:
            found[PartyId(act.party)] = None
    return tuple(found)


def kept_out(*line: Referral) -> tuple[PartyId, ...]:
    """Whom these keep out: those excluded from the beginning, then those with a conflict; each once."""
    return tuple(dict.fromkeys(unit for one in line for unit in (*excluded_of(one), *conflicted_of(one))))
