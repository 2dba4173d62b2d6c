"""What anybody can read: a witness's own checkpoint, at an address that a policy names.

Must never: send a credential, follow a redirect, or read without an end.

Implements: R-96 (monitors); design §9.
"""

from __future__ import annotations

import httpx2

from referral_api.client.session import ANSWER_S, CONNECT_S, tls
from referral_api.domain.errors import ErrorCode, ReferralError

MAX_PUBLIC_BYTES = 64 * 1024


def read_public(url: str, *, answer_s: float = ANSWER_S) -> bytes:
    """What anybody can read at an address that a policy names: no credential goes there, and no redirect is followed.

    Raises UNREACHABLE, NOT_FOUND, UNAVAILABLE (`status`, `limit` where it did not end).
    """
    timeout = httpx2.Timeout(answer_s, connect=min(CONNECT_S, answer_s))
    try:
        with (
            httpx2.Client(
                verify=tls(), follow_redirects=False, timeout=timeout, headers={"Accept-Encoding": "identity"}
            ) as client,
            client.stream("GET", url) as answer,
        ):
            if answer.status_code != 200:
                code = ErrorCode.NOT_FOUND if answer.status_code == 404 else ErrorCode.UNAVAILABLE
                raise ReferralError(code, status=answer.status_code)
            body = bytearray()
            for chunk in answer.iter_raw():
                body += chunk
                if len(body) > MAX_PUBLIC_BYTES:
                    # A witness that sends without end says nothing that could be judged.
                    raise ReferralError(ErrorCode.UNAVAILABLE, status=answer.status_code, limit=MAX_PUBLIC_BYTES)
            return bytes(body)
    except (httpx2.TransportError, httpx2.InvalidURL):
        raise ReferralError(ErrorCode.UNREACHABLE) from None
