"""What a hotline's own copy of a referral says by now: its body, and what the supplements since then made of it.

A successor or a copy is sealed out of the first bundle. Whatever was said later is no part of that, so it is read here
again, before anything is sealed, and the later word counts.

Must never: pass on a contact that a supplement replaced or withdrew, or that one which did not open may have.

Implements: R-86, R-87, R-110; rules R8, R10 and R11 of the field.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from referral_api.client import delivery, talking
from referral_api.client.pen import Pen
from referral_api.client.view import Referral
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.formats.contents import BundleBody
from referral_api.formats.referral_later import Written, said_anew


@dataclass(frozen=True, slots=True)
class Carried:
    """The members of a referral as they may be sealed anew, after how many supplements, and how many stayed closed."""

    members: Mapping[str, Any] = field(repr=False)
    supplements: int
    closed: int


def carried(pen: Pen, referral: Referral, *, despite_closed: bool = False) -> Carried:
    """Open one's own copy and every supplement of it, and let the later word count (`referral_later.said_anew`).

    Raises as `delivery.open_bundle`; WRONG_TYPE; TARGET_NOT_ALLOWED (`supplement-closed`, `ref`, `code`: why) where a
    supplement does not open, unless `despite_closed`: then no contact is carried on, for any may have been withdrawn.
    """
    keys = pen.keys()
    opened = delivery.open_bundle(pen.session, delivery.private_keys(keys), referral)
    content = opened.bundle.referral.contents.body
    if not isinstance(content, BundleBody):
        raise ReferralError(ErrorCode.WRONG_TYPE, expected="bundle")
    further = talking.read_supplements(pen.session, keys, referral)
    closed = [one.code.value for one in further if one.code is not None]
    if closed and not despite_closed:
        raise ReferralError(
            ErrorCode.TARGET_NOT_ALLOWED,
            reason="supplement-closed",
            ref=referral.ref,
            code=closed[0],
            count=len(closed),
        )
    later = [
        Written(one.body, one.opened.written_at) for one in further if one.opened is not None and one.body is not None
    ]
    first = Written(opened.body, opened.bundle.written_at)
    members = said_anew(content.referral, first, later, unreached=bool(closed))
    return Carried(members, len(further), len(closed))
