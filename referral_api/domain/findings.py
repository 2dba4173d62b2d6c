"""What an examination of a machine finds: a code, how bad it is, what was seen, and the command that comes next.

Findings are data and language-neutral: the command line has their words by code. Figures carry their unit in the name
(`skew_s`, `free_bytes`), times end in `_at` and are unix seconds.

Must never: hold a secret, or anything about a person.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from referral_api.domain.errors import ErrorCode, ReferralError

Seen: TypeAlias = str | int | bool | Sequence[str] | None


class Level(StrEnum):
    """How bad a finding is, the mildest first."""

    OK = "ok"
    NOTE = "note"
    """Told for what it is; nothing need be done."""
    UNKNOWN = "unknown"
    """It could not be seen from here, or with what is unlocked; never taken for `ok`."""
    WARNING = "warning"
    """It works today; somebody has to do something by a certain time."""
    PROBLEM = "problem"
    """Something does not work, is not as safe as it must be, or does not verify (then `error` says so)."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One check. `command` is what comes next, empty where it is no command; `error` is what the check failed with."""

    code: str
    level: Level
    seen: Mapping[str, Seen] = field(default_factory=dict)
    command: str = ""
    error: ErrorCode | None = None

    @property
    def asks(self) -> bool:
        """Whether somebody has to do something about it."""
        return self.level in (Level.WARNING, Level.PROBLEM)


def found(code: str, level: Level, command: str = "", /, **seen: Seen) -> Finding:
    """A finding; of one that asks for nothing the command is left out."""
    return Finding(code, level, seen, "" if level in (Level.OK, Level.NOTE) else command)


def failed(code: str, error: ReferralError, command: str = "", /, **seen: Seen) -> Finding:
    """The finding of a check that ended in an error: its code, and those of its facts that are plain."""
    facts = {name: value for name, value in error.facts.items() if isinstance(value, (str, int))}
    return Finding(code, Level.PROBLEM, {**facts, **seen}, command, error.code)


def at_most(value: float, *, warning: float, problem: float) -> Level:
    """`ok` up to `warning`, then a warning, and beyond `problem` a problem."""
    if value > problem:
        return Level.PROBLEM
    return Level.WARNING if value > warning else Level.OK


def at_least(value: float, *, warning: float, problem: float) -> Level:
    """`ok` from `warning` on, below it a warning, and below `problem` a problem."""
    return at_most(-value, warning=-warning, problem=-problem)
