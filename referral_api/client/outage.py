"""Waiting for an exchange that does not answer: what passes by itself, how long to pause, and when to say so.

Whoever watches an inbox at three in the morning is asleep until the bell rings: a line that was down for a minute must
not have ended the watch, and one that stays down must be heard of.

Must never: take for passing what is false about the exchange, pause longer than a minute, or be silent for long.

Implements: R-53, R-55; rule R18 of the field.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from referral_api.client.ambient import Ambient
from referral_api.domain.errors import ErrorCode, ReferralError

TELL_S: Final = 60
"""After how long without the exchange it is said."""
REMIND_S: Final = 600
"""How often it is said again while it lasts."""
FIRST_PAUSE_S: Final = 2
LONGEST_PAUSE_S: Final = 60
_PASSING = frozenset(
    {
        *(ErrorCode.UNREACHABLE, ErrorCode.UNAVAILABLE, ErrorCode.RATE_LIMITED, ErrorCode.QUEUE_FULL),
        *(ErrorCode.OUTCOME_UNKNOWN, ErrorCode.CHECKPOINT_PENDING, ErrorCode.REPLAY_STORE_UNAVAILABLE),
        *(ErrorCode.WRITES_CLOSED, ErrorCode.INTERNAL, ErrorCode.USE_DPOP_NONCE),
    }
)
"""That the exchange, or the network, cannot answer now: nothing that a person at this workstation decides."""


def is_passing(error: Exception) -> bool:
    """Whether the same may be asked again later, by nobody's decision."""
    return isinstance(error, ReferralError) and error.code in _PASSING


@dataclass(slots=True)
class Outage:
    """One watch's patience. `heard_at` is when the exchange last answered, or the watch began (unix seconds)."""

    ambient: Ambient
    heard_at: int = field(init=False)
    _attempts: int = 0
    _told_at: int | None = None

    def __post_init__(self) -> None:
        self.heard_at = self.ambient.now()

    def lost(self, error: ReferralError) -> float:
        """Note one more attempt without an answer: for how many seconds to pause before the next one.

        From two seconds on doubled to a minute, and half of it by chance, so that a whole country's workstations do not
        come back in the same second; longer, up to that minute, where the exchange asks for it.
        """
        longest = min(FIRST_PAUSE_S << min(self._attempts, 16), LONGEST_PAUSE_S)
        self._attempts += 1
        chance = int.from_bytes(self.ambient.random(2)) / (1 << 16)
        asked = error.facts.get("retry_after_s")
        least = min(asked, LONGEST_PAUSE_S) if isinstance(asked, (int, float)) else 0
        return max(longest * (1 + chance) / 2, least)

    def must_tell(self) -> bool:
        """Whether it is to be said now that the exchange does not answer; it counts as said."""
        now = self.ambient.now()
        if now - self.heard_at < TELL_S or (self._told_at is not None and now - self._told_at < REMIND_S):
            return False
        self._told_at = now
        return True

    def found(self) -> int | None:
        """Note an answer; since when there was none, where that had been said."""
        since = None if self._told_at is None else self.heard_at
        self.heard_at, self._attempts, self._told_at = self.ambient.now(), 0, None
        return since
