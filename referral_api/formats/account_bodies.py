"""The bodies of acts by which a party states something of itself, about no referral: a hotline's calls of a month.

Must never: take free text, or a number that is about a person.

Implements: R-103; rule R12 of the field (calls are not in this system; the ratio of calls to referrals needs them).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from referral_api.domain.words import Act
from referral_api.formats.fields import Document

MAX_CALLS = 10_000_000
Month = Annotated[str, Field(pattern=r"^[2-7][0-9]{3}-(0[1-9]|1[0-2])$")]
"""A month of the calendar, `2026-10`."""


class CallTotal(Document):
    """How many calls a hotline took in a month. A later one for the same month stands in the place of the earlier."""

    month: Month
    calls: Annotated[int, Field(ge=0, le=MAX_CALLS)]


BODIES: Mapping[Act, type[Document]] = {Act.CALL_TOTAL: CallTotal}
