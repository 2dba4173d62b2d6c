"""One way to say that a call is refused, and to learn why."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from referral_api.domain.errors import ErrorCode, ReferralError


def refused(code: ErrorCode, check: Callable[..., object], *arguments: object) -> str:
    """Call `check`, expect a refusal with exactly this code, and return its `reason`, if it has one."""
    with pytest.raises(ReferralError) as caught:
        check(*arguments)
    assert caught.value.code is code
    return str(caught.value.facts.get("reason"))
