"""What a submission may say of an earlier one: only of a referral that the same hotline sent.

Whoever relates to what it never sent is answered alike, whether that is somebody else's referral or none at all, so
that nobody learns of a referral by guessing at its id.

Must never: tell those two apart, or look into a sealed text.

Implements: R-86; design §7 ("a referral that is not yours is like one that does not exist").
"""

from __future__ import annotations

from typing import Final

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import DeliveryRole
from referral_api.formats.bodies import Submit
from referral_api.server.service.batch import Batch
from referral_api.server.storage import queries

LONGEST_LINE: Final = 16
"""How many copies of copies there may be before one: each costs the door two look-ups by id."""


def check_relation(batch: Batch, sender: str, body: Submit) -> None:
    """That the referral which a submission relates to is the sender's own, and that neither it nor, of a copy, what it
    is a copy of in its turn excludes a unit that is addressed.

    Raises ReferralError(TARGET_NOT_ALLOWED) with `reason` `relation` (also for a copy of too many copies), or
    `excluded` and `unit`.
    """
    if body.relation is None:
        return
    earlier = batch.find_referral(body.relation.ref)
    if earlier is None or earlier.sender != sender:
        raise ReferralError(ErrorCode.TARGET_NOT_ALLOWED, reason="relation")
    if not body.is_copy:
        return
    for _ in range(LONGEST_LINE):
        for to in body.to:
            if to.unit in earlier.excluded:
                raise ReferralError(ErrorCode.TARGET_NOT_ALLOWED, unit=to.unit, reason="excluded")
        if earlier.relates_to is None or not _is_copy(batch, earlier.ref):
            return
        before = batch.find_referral(earlier.relates_to)
        if before is None:
            return  # Erased: whom it excluded, its copies name.
        earlier = before
    raise ReferralError(ErrorCode.TARGET_NOT_ALLOWED, reason="relation")


def _is_copy(batch: Batch, ref: str) -> bool:
    """Whether nobody was addressed to act on it: what is no copy has a unit that does (R-86)."""
    return all(one.role is DeliveryRole.INFORMATION for one in queries.deliveries_of(batch.tx, ref).values())
