"""The rules of one exchange: every number that it may set for itself, as one value with its defaults (design §10).

An exchange begins with `DEFAULT`; a change is a signed `rules` act of its own, which lists all of them. A referral
keeps the rules that were in force when it was submitted, for as long as it lives: nobody's deadline moves.

Must never: read a clock, or let a rule be absent. Clause: docs/protocol.md R-105.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from referral_api.domain.clocks import TERMS, WITHDRAWAL_ANSWER_TERM, Terms
from referral_api.domain.words import RetentionClass, Role, Urgency

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Retention:
    """How long ciphertext is kept: after the end of a delivery, and after its acknowledgement; the earlier counts."""

    after_end: timedelta
    after_ack: timedelta


RETENTION: Mapping[RetentionClass, Retention] = {
    RetentionClass.STANDARD: Retention(30 * _DAY, 90 * _DAY),
    RetentionClass.SHORT: Retention(7 * _DAY, 90 * _DAY),
    RetentionClass.LEGAL_HOLD_REQUESTED: Retention(365 * _DAY, 365 * _DAY),
}


@dataclass(frozen=True, slots=True)
class Rules:
    """All of them. `transfers`: who agrees that a unit passes a referral on, the hotline or the exchange by itself."""

    clocks: Mapping[Urgency, Terms] = field(default_factory=lambda: TERMS)
    withdrawal_answer: timedelta = WITHDRAWAL_ANSWER_TERM
    retention: Mapping[RetentionClass, Retention] = field(default_factory=lambda: RETENTION)
    transfers: Role = Role.HOTLINE


DEFAULT = Rules()


@dataclass(frozen=True, slots=True)
class RuleBook:
    """The rules of an exchange over time, oldest first: from which moment (unix seconds) each set is in force."""

    changes: tuple[tuple[int, Rules], ...] = ()

    def at(self, time: int) -> Rules:
        """The rules in force at a moment, which a referral submitted then keeps."""
        found = bisect_right(self.changes, time, key=lambda change: change[0])
        return self.changes[found - 1][1] if found else DEFAULT

    @property
    def current(self) -> Rules:
        """The newest rules."""
        return self.changes[-1][1] if self.changes else DEFAULT

    def changed(self, time: int, rules: Rules) -> RuleBook:
        """The book with one more change at its end."""
        return RuleBook((*self.changes, (time, rules)))
