"""The terms of the audit log: one a year, and a following one within the year only where its log has lost leaves.

A term's name is the year, `2026`, or the year and a number from 2 to 9, `2026.2`; its log is `audit/<name>`. Terms are
ordered by year and number, and so are their names as texts, which storage and mirrors rely on.

Must never: accept a second spelling of a term (`2026.1`, `2026.02`).

Implements: R-90, R-92; docs/decisions/0022.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Self

from referral_api.domain.errors import ErrorCode, ReferralError

TERM: Final = r"[1-7][0-9]{3}(?:\.[2-9])?"
"""What a term's name looks like, as a regular expression."""
FIRST_YEAR: Final = 1000
LAST_YEAR: Final = 7999
"""Of four figures, so that names sort; positions are signed 64-bit integers (server/storage/logbook.py)."""
LAST_NUMBER: Final = 9
"""One figure: whoever loses his log a tenth time in a year has another problem, and names sort as texts."""
_AUDIT: Final = "audit/"


@dataclass(frozen=True, order=True, slots=True)
class Term:
    """One audit log: its year, and which one of that year it is. Raises ValueError for one that cannot be."""

    year: int
    number: int = 1

    def __post_init__(self) -> None:
        if not (FIRST_YEAR <= self.year <= LAST_YEAR and 0 < self.number <= LAST_NUMBER):
            raise ValueError("no such term")

    def __str__(self) -> str:
        return f"{self.year}" if self.number == 1 else f"{self.year}.{self.number}"

    @property
    def log(self) -> str:
        """The name of its log, `audit/<name>`."""
        return f"{_AUDIT}{self}"

    @property
    def before(self) -> Term | None:
        """The term of the same year whose leaves were lost, so that this one follows it; None for a year's first."""
        return None if self.number == 1 else Term(self.year, self.number - 1)

    @property
    def following(self) -> Term | None:
        """The term that follows in the same year where this one loses leaves; None behind the ninth."""
        return None if self.number == LAST_NUMBER else Term(self.year, self.number + 1)

    @classmethod
    def parse(cls, text: str) -> Self:
        """The term of this name. Raises MALFORMED (`log-name`)."""
        year, _, number = text.partition(".")
        if re.fullmatch(TERM, text) is None:
            raise ReferralError(ErrorCode.MALFORMED, reason="log-name")
        return cls(int(year), int(number or "1"))

    @classmethod
    def of_log(cls, log: str) -> Self:
        """The term of an audit log by the log's name. Raises MALFORMED (`log-name`), for `keys` too."""
        if not log.startswith(_AUDIT):
            raise ReferralError(ErrorCode.MALFORMED, reason="log-name")
        return cls.parse(log.removeprefix(_AUDIT))

    def members(self) -> dict[str, int]:
        """As members of a JSON object: `year`, and `term` where it is not the first."""
        return {"year": self.year} if self.number == 1 else {"year": self.year, "term": self.number}

    @classmethod
    def of_members(cls, told: Mapping[str, Any]) -> Self:
        """The term that an object names by `members`. Raises MALFORMED (`members`)."""
        year, number = told.get("year"), told.get("term", 1)
        # True is an int to Python, and a first term is named by its year alone.
        if type(year) is int and type(number) is int and ("term" in told) is (number != 1):
            with suppress(ValueError):
                return cls(year, number)
        raise ReferralError(ErrorCode.MALFORMED, reason="members")


def is_audit(log: str) -> bool:
    """Whether a log is an audit log by its name; the other one is `keys`."""
    return log.startswith(_AUDIT)
