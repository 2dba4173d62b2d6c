"""What anybody can read: a witness's own checkpoint, at an address that a policy names.

Must never: send a credential, follow a redirect, or read without an end.

Implements: R-96 (monitors); design §9.
"""

from __future__ import annotations

from referral_api.client.line import CONNECT_S
from referral_api.client.session import ANSWER_S
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.outside import Outside

MAX_PUBLIC_BYTES = 64 * 1024


def read_public(url: str, *, answer_s: float = ANSWER_S) -> bytes:
    """What anybody can read at an address that a policy names, whole within `answer_s` seconds.

    Raises UNREACHABLE, NOT_FOUND, UNAVAILABLE (`status`, `limit` where it did not end).
    """
    with Outside(answer_s=answer_s, connect_s=CONNECT_S, max_bytes=MAX_PUBLIC_BYTES) as outside:
        answer = outside.call("GET", url)
    if answer.status != 200:
        code = ErrorCode.NOT_FOUND if answer.status == 404 else ErrorCode.UNAVAILABLE
        raise ReferralError(code, status=answer.status)
    return answer.body
