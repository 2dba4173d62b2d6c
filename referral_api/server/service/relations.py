"""What a submission may say of an earlier one: only of a referral that the same hotline sent.

Whoever relates to what it never sent is answered alike, whether that is somebody else's referral or none at all, so
that nobody learns of a referral by guessing at its id.

Must never: tell those two apart, or look into a sealed text.

Implements: R-86; design §7 ("a referral that is not yours is like one that does not exist").
"""

from __future__ import annotations

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.formats.bodies import Submit
from referral_api.server.service.batch import Batch


def check_relation(batch: Batch, sender: str, body: Submit) -> None:
    """That the referral which a submission relates to is the sender's own, and that it excludes no unit of a copy.

    Raises ReferralError(TARGET_NOT_ALLOWED) with `reason` `relation`, or `excluded` and `unit`.
    """
    if body.relation is None:
        return
    earlier = batch.find_referral(body.relation.ref)
    if earlier is None or earlier.sender != sender:
        raise ReferralError(ErrorCode.TARGET_NOT_ALLOWED, reason="relation")
    for to in body.to if body.is_copy else ():
        if to.unit in earlier.excluded:
            raise ReferralError(ErrorCode.TARGET_NOT_ALLOWED, unit=to.unit, reason="excluded")
