"""The scalar types that only the sealed referral body uses: words of people, places, telephone numbers, times.

Everything here is personal data or may hold some; it is read and written on workstations only. Times are RFC 3339 with
their offset, because an officer needs the caller's clock; what is only roughly known keeps its roughness (`2026-11`).

Must never: be used in a document that travels in clear, or turn a rough date into an exact one.
"""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, StringConstraints, WithJsonSchema

from referral_api.formats.codelists import codes
from referral_api.formats.fields import broken

_PRINTABLE = r"[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]"
"""Anything but control characters; line feeds and tabs are words too."""


def _words(most: int) -> StringConstraints:
    return StringConstraints(strict=True, min_length=1, max_length=most, pattern=f"^{_PRINTABLE}*$")


Short = Annotated[str, _words(120)]
Line = Annotated[str, _words(400)]
Paragraph = Annotated[str, _words(2_000)]
Summary = Annotated[str, _words(8_000)]

Phone = Annotated[str, Field(pattern=r"^\+[1-9][0-9]{5,14}$")]
"""E.164, with the plus sign."""
Email = Annotated[str, Field(max_length=254, pattern=r"^[^\s@<>]{1,64}@[^\s@<>]{1,189}$")]
Ubigeo = Annotated[str, Field(pattern=r"^(?:0[1-9]|1[0-9]|2[0-5])(?:0000|[0-9]{2}00|[0-9]{4})$")]
"""INEI place code of six digits. A department alone is `200000`, a province `200100`, a district `200101`."""
_GAPS = "|".join(codes("answer_gap"))
Country = Annotated[str, Field(pattern=f"^(?:[A-Z]{{2}}|{_GAPS})$")]
"""ISO 3166-1 alpha-2."""
Tongue = Annotated[str, Field(pattern=f"^(?:[a-z]{{3}}|{_GAPS})$")]
"""ISO 639-3; labels for those usual here are in the list `language`."""
Latitude = Annotated[str, Field(pattern=r"^-?(?:90(?:\.0{1,6})?|[1-8]?[0-9](?:\.[0-9]{1,6})?)$")]
Longitude = Annotated[str, Field(pattern=r"^-?(?:180(?:\.0{1,6})?|(?:1[0-7]|[1-9])?[0-9](?:\.[0-9]{1,6})?)$")]
"""Decimal degrees as text: a float would not survive being signed (design §6)."""
ClockTime = Annotated[str, Field(pattern=r"^(?:[01][0-9]|2[0-3]):[0-5][0-9]$")]
TimeZone = Annotated[str, Field(pattern=r"^(?:UTC|[A-Z][A-Za-z_]{1,31}(?:/[A-Z][A-Za-z_-]{1,31}){1,2})$")]


def _rough_date(text: str) -> str:
    year, _, rest = text.partition("-")
    month, _, day = rest.partition("-")
    try:
        date(int(year), int(month or "1"), int(day or "1"))
    except ValueError:
        raise broken("no-such-day") from None
    return text


RoughDate = Annotated[
    str, Field(pattern=r"^(?:19|20)[0-9]{2}(?:-[0-9]{2}(?:-[0-9]{2})?)?$"), AfterValidator(_rough_date)
]
"""A year, a month or a day, as well as it is known."""

_MOMENT = r"^20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:Z|[+-][0-9]{2}:[0-9]{2})$"


def _read_moment(value: Any) -> datetime:
    if not isinstance(value, str):
        raise broken("not-a-moment")
    if not re.fullmatch(_MOMENT[1:-1], value) or value.endswith(("+00:00", "-00:00")):
        raise broken("not-a-moment")
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        raise broken("not-a-moment") from None


def _write_moment(at: datetime) -> str:
    text = at.isoformat(timespec="seconds")
    return text.removesuffix("+00:00") + "Z" if at.utcoffset() == timedelta(0) else text


Moment = Annotated[
    datetime,
    BeforeValidator(_read_moment),
    PlainSerializer(_write_moment, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time", "pattern": _MOMENT}),
]
"""RFC 3339 to the second, with offset; UTC is written `Z` and in no other way."""
