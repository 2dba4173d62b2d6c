"""How often: calls and tokens of a credential, and attempts in somebody's name that fail (R-46, R-47).

Counted by the minute of the exchange's clock, by all its processes. What is rare is told to the others as it is
counted; calls are counted in memory, and who comes near the limit is told of every SHARE_S seconds. A failure costs
only whoever fails: what stands on a good key is answered as ever, lest naming a hotline silence it (decision 0026).

Must never: refuse a call that has proved its key because others failed in its name, remember a name as it was sent, or
touch the durable writer.

Implements: R-46, R-47; design §7 (rate limits, lockout).
"""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Final, Protocol

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.formats.strict_json import sha256_b64u

MINUTE_S: Final = 60
CALLS_A_MINUTE: Final = 60_000
"""Of one credential, unless the settings say otherwise: a thousand a second, twice what a year of the largest clearing
house of the field would send in a day. Nobody meets it but a client in a loop."""
TOKENS_A_MINUTE: Final = 20
FAILURES_A_MINUTE: Final = 20
"""Token requests that fail in one name, before they are answered 429 for the rest of the minute."""
FAILURES_IN_ALL: Final = 600
"""The same in all names together: beyond it, whoever names no key of the exchange is turned away unread."""
FAILED_CALLS_A_MINUTE: Final = 120
"""Calls with a credential's token and without its proof, before they are answered 429."""
SHARE_S: Final = 2
SHARED_FROM: Final = 10
"""Processes tell each other of a name once it has had this part of its limit at one of them."""


class Counts(Protocol):
    """Counts of a minute, of all processes that share them. Losing them is harmless: the minute begins anew."""

    def add(self, name: str, by: int, minute: int) -> int:
        """Add, and say what all processes have counted. Raises REPLAY_STORE_UNAVAILABLE if that cannot be known."""


class MemoryCounts:
    """Of the one process that there is."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._minute = 0
        self._counts: dict[str, int] = {}

    def add(self, name: str, by: int, minute: int) -> int:
        """As Counts; never fails."""
        with self._lock:
            if not _is_same(self._minute, minute * MINUTE_S):
                self._minute, self._counts = minute, {}
            total = self._counts[name] = self._counts.get(name, 0) + by
            return total


class PromptLimit:
    """A limit on what is rare: every taking is counted with the other processes at once."""

    def __init__(self, kind: str, most: int, counts: Counts) -> None:
        self._kind = kind
        self._most = most
        self._counts = counts
        self._minute = 0
        self._spent: set[str] = set()
        """The names that are known to have reached the limit in this minute."""
        self._lock = threading.Lock()

    def is_spent(self, name: str, now: int) -> bool:
        """Whether this process knows that one more would be too many; asks nobody."""
        return self.has_spent(now) and name in self._spent

    def has_spent(self, now: int) -> bool:
        """Whether any name has."""
        return bool(self._spent) and _is_same(self._minute, now)

    def check(self, name: str, now: int) -> None:
        """Raises RATE_LIMITED (`retry_after_s`) where one more would be too many."""
        if self.is_spent(name, now):
            raise rate_limited(now)

    def take(self, name: str, now: int) -> bool:
        """Count one; whether it was within the limit. Raises REPLAY_STORE_UNAVAILABLE."""
        minute = now // MINUTE_S
        total = self._counts.add(f"{self._kind}/{name}", 1, minute)
        with self._lock:
            if not _is_same(self._minute, now):
                self._minute, self._spent = minute, set()
            if total >= self._most:
                self._spent.add(name)
        return total <= self._most


class LocalLimit:
    """A limit on what comes with every call: counted in memory, and exchanged with the other processes (`share`)."""

    def __init__(self, kind: str, most: int, counts: Counts) -> None:
        self._kind = kind
        self._most = most
        self._counts = counts
        self._lock = threading.Lock()
        self._minute = 0
        self._taken: dict[str, int] = {}
        self._told: dict[str, int] = {}
        self._elsewhere: dict[str, int] = {}

    def check(self, name: str, now: int) -> None:
        """Raises RATE_LIMITED (`retry_after_s`) where one too many has been counted already; counts nothing.

        That one has proved whose it is, so that its record says so; of the others it need not be known.
        """
        if _is_same(self._minute, now) and self._taken.get(name, 0) + self._elsewhere.get(name, 0) > self._most:
            raise rate_limited(now)

    def take(self, name: str, now: int) -> None:
        """Count one; raises RATE_LIMITED (`retry_after_s`) if it is one too many."""
        with self._lock:
            if not _is_same(self._minute, now):
                self._minute, self._taken, self._told, self._elsewhere = now // MINUTE_S, {}, {}, {}
            taken = self._taken[name] = self._taken.get(name, 0) + 1
            total = taken + self._elsewhere.get(name, 0)
        if total > self._most:
            raise rate_limited(now)

    def share(self) -> None:
        """Tell the other processes of the names that are near their limit here, and learn what these had there.

        Raises REPLAY_STORE_UNAVAILABLE; what could not be told is told the next time.
        """
        with self._lock:
            minute = self._minute
            due = [(name, taken) for name, taken in self._taken.items() if taken * SHARED_FROM >= self._most]
        for name, taken in due:
            by = taken - self._told.get(name, 0)
            total = self._counts.add(f"{self._kind}/{name}", by, minute)
            with self._lock:
                if minute == self._minute:
                    self._told[name], self._elsewhere[name] = taken, total - taken


class Limits:
    """Every limit of one process. Thread-safe; nothing reads a clock."""

    def __init__(self, counts: Counts, calls_a_minute: int = CALLS_A_MINUTE) -> None:
        self.calls = LocalLimit("call", calls_a_minute, counts)
        self.failed_calls = LocalLimit("failed-call", FAILED_CALLS_A_MINUTE, counts)
        self.tokens = PromptLimit("token", TOKENS_A_MINUTE, counts)
        self._failures = PromptLimit("failed", FAILURES_A_MINUTE, counts)
        self._in_all = PromptLimit("failed-in-all", FAILURES_IN_ALL, counts)

    def failed(self, name: str, now: int) -> bool:
        """Count a failed token request in a name ("": in none); whether it is one too many in that name.

        Where the processes' common counts do not answer, nothing is too many: a refusal is a refusal all the same.
        """
        key = sha256_b64u(name.encode())
        if name and self._failures.is_spent(key, now):
            return True
        with suppress(ReferralError):
            if not self._in_all.is_spent("", now):
                self._in_all.take("", now)
            return bool(name) and not self._failures.take(key, now)
        return False

    def is_failing(self, now: int) -> bool:
        """Whether any name has reached its limit of failures: else nobody is to be turned away, and nothing read."""
        return self._failures.has_spent(now) or self._in_all.is_spent("", now)

    def turns_away(self, name: str, now: int) -> bool:
        """Whether a token request in this name, which is certain to fail, need not be looked at."""
        return self._in_all.is_spent("", now) or self._failures.is_spent(sha256_b64u(name.encode()), now)

    def share(self) -> None:
        """Exchange what is near a limit with the other processes; every SHARE_S seconds, off the event loop."""
        self.calls.share()
        self.failed_calls.share()


def rate_limited(now: int) -> ReferralError:
    """The refusal until the minute is over."""
    return ReferralError(ErrorCode.RATE_LIMITED, retry_after_s=MINUTE_S - now % MINUTE_S)


def _is_same(minute: int, now: int) -> bool:
    """Whether `now` is counted in this minute. A call that came just before it and is judged after it is; a clock that
    was set back further than that begins a minute of its own.
    """
    return 0 <= minute - now // MINUTE_S <= 1
