"""What is an alarm: something that the exchange shows and that cannot be true, by what it is about.

The codes say which check failed; they were made for whoever sends something, and "sign again" is no advice for an
officer who was shown a false key. So what is read of the exchange is marked, and the screen says what to do about it.

Must never: soften a failure, mark what the exchange itself refuses (`status`), or what could not be had at all.

Implements: R-94; design §14 (fail closed and say why).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from referral_api.domain.errors import ErrorCode, ReferralError

ALARMS: Final = frozenset(
    {
        *(ErrorCode.SIGNATURE_INVALID, ErrorCode.NOT_INCLUDED, ErrorCode.INCONSISTENT, ErrorCode.WRONG_ORIGIN),
        *(ErrorCode.TAMPERED, ErrorCode.ACT_SIGNATURE_INVALID, ErrorCode.KEY_NOT_VALID, ErrorCode.KEY_UNSUITABLE),
        *(ErrorCode.KEY_REUSED, ErrorCode.POSSESSION_NOT_PROVED, ErrorCode.CODE_MISMATCH, ErrorCode.RECEIPT_MISMATCH),
    }
)
"""What no honest exchange shows. WRONG_ROOT and NOT_WITNESSED are not among them: their own words say what to do."""


def is_alarm(error: ReferralError) -> bool:
    """Whether it is one for whoever did something else when it was found: WRONG_ROOT too; no refusal of the exchange,
    by its `status` or by a verified receipt (`act`).
    """
    refused = "status" in error.facts or "act" in error.facts
    return not refused and (error.code in ALARMS or error.code is ErrorCode.WRONG_ROOT)


@contextmanager
def shown(what: str) -> Iterator[None]:
    """Around whatever verifies what the exchange shows: an alarm says as `shown` what it was about.

    `what`: `keys-log`, `enrolment`, `referral`, or `view` (of the keys log, by a bundle). The innermost counts.
    """
    try:
        yield
    except ReferralError as error:
        if error.code not in ALARMS or "status" in error.facts:
            raise
        raise ReferralError(error.code, **({"shown": what} | error.facts)) from error
