"""When a party is woken: a random delay unless it is urgent, and one notice for all lines of a while (R-109).

Who watches the line between the exchange and a channel sees that something was sent, and when. So the moment is not
that of the line, and how many lines there were, or what they were, changes nothing of a notice.

Must never: read a clock, or know what a line is about.

Implements: R-109; docs/decisions/0032.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

URGENT_GAP_S: Final = 30.0
"""Lines of an emergency that come within this time of a notice of one are told in one more notice (at most the digest's
time, if that is shorter)."""


@dataclass(slots=True)
class Owed:
    """A notice that a party is to get. `at`: when the newest line came that it tells of (unix seconds)."""

    due: float
    at: int
    urgent: bool


class Schedule:
    """What is owed to whom, on one clock (seconds that only grow). At most one notice a party; not thread-safe."""

    def __init__(self, *, delay_s: tuple[float, float], digest_s: float, chance: Callable[[], float]) -> None:
        """`chance` gives numbers in [0, 1), evenly."""
        self._delay_s = delay_s
        self._digest_s = digest_s
        self._chance = chance
        self._owed: dict[str, Owed] = {}
        self._last: dict[str, float] = {}
        self._last_urgent: dict[str, float] = {}

    def tell(self, party: str, *, urgent: bool, at: int, now: float) -> None:
        """A line came into this party's inbox: at once if it is urgent, else after a delay and the digest's time."""
        owed = self._owed.get(party)
        if owed is None:
            due = self._due_urgent(party, now) if urgent else self._due(party, now)
            self._owed[party] = Owed(due, at, urgent)
            return
        owed.at = max(owed.at, at)
        if urgent and not owed.urgent:
            owed.urgent, owed.due = True, min(owed.due, self._due_urgent(party, now))

    def take(self, now: float) -> list[tuple[str, Owed]]:
        """What is due now; it is owed no more."""
        due = [(party, owed) for party, owed in self._owed.items() if owed.due <= now]
        for party, _ in due:
            del self._owed[party]
        return due

    def sent(self, party: str, *, urgent: bool, now: float) -> None:
        """A notice goes out now."""
        self._last[party] = now
        if urgent:
            self._last_urgent[party] = now

    def next_due(self) -> float | None:
        """When the next notice is due; None where none is owed."""
        return min((owed.due for owed in self._owed.values()), default=None)

    def _due(self, party: str, now: float) -> float:
        shortest, longest = self._delay_s
        later = self._last.get(party, now - self._digest_s) + self._digest_s
        return max(now + shortest + (longest - shortest) * self._chance(), later)

    def _due_urgent(self, party: str, now: float) -> float:
        gap_s = min(URGENT_GAP_S, self._digest_s)
        return max(now, self._last_urgent.get(party, now - gap_s) + gap_s)
