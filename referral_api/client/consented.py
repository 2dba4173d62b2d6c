"""Whether the person still agrees to a referral's being shared, as far as its hotline has said that she does not.

Two acts say it: `consent_withdrawn`, and a `withdraw` with that reason. Whoever asks goes by both of them.

Must never: take a consent that was withdrawn for one that stands, or a refused act for one that was said.

Implements: R-75, R-86, R-110; rule R7 of the field.
"""

from __future__ import annotations

from typing import Any

from referral_api.client.view import Referral
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Act
from referral_api.formats.act import RawAct

WITHDRAWN = "consent_withdrawn"
"""The reason of a `withdraw` that says of the person's consent what the act of that name says."""


def says_withdrawn(act: RawAct) -> bool:
    """Whether an act says that the person no longer agrees: by its name, or as the reason of a `withdraw`."""
    body: Any = act.body
    return act.act is Act.CONSENT_WITHDRAWN or (act.act is Act.WITHDRAW and body.reason == WITHDRAWN)


def is_withdrawn(referral: Referral) -> bool:
    """Whether the hotline has said of any delivery that the person no longer agrees: then nobody else gets it."""
    return any(shown.accepted and says_withdrawn(shown.act) for shown in referral.acts)


def demand(referral: Referral, act: Act) -> None:
    """Send nothing further of a referral once consent was withdrawn (rule R7 of the field).

    Raises CONSENT_GATE (`consent-withdrawn`, with `ref`).
    """
    if is_withdrawn(referral):
        raise ReferralError(
            ErrorCode.CONSENT_GATE, act=act.value, ref=referral.ref, where="/consent/state", reason="consent-withdrawn"
        )
