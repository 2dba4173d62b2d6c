"""The channels of the notices file: each is tried in a process of its own, and what became of it is remembered here.

A channel is known by its party and number, in the order of the file. Its address leaves this module once: to the
standard input of the process that uses it (service/courier.py), which is ended where it takes too long.

Must never: show an address, hand the exchange's environment on, or wait for a channel without an end.

Implements: R-109; docs/decisions/0032.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from importlib.util import find_spec
from typing import Final

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.server.service import courier
from referral_api.server.storage.notice_file import NoticePlan

SEND_S: Final = 60.0
CHECK_S: Final = 120.0
ADMIN: Final = ""
"""Whose the exchange's own channels are: no party's."""
_HANDED_ON: Final = (
    *("PATH", "LANG", "LC_ALL", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"),
    *("http_proxy", "https_proxy", "no_proxy", "all_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"),
)


class Outcome(StrEnum):
    """What became of one attempt."""

    TAKEN = "taken"
    NOT_TAKEN = "not-taken"
    """Nobody was there, or the service refused it."""
    TOO_SLOW = "too-slow"
    BROKEN = "broken"
    """The courier itself ended as it should not."""


@dataclass(slots=True, eq=False)
class Channel:
    """One way to somebody. `failing_since` is on the clock of whoever keeps it; None while the last attempt went well,
    or there was none.
    """

    party: str
    number: int
    address: str = field(repr=False)
    failing_since: float | None = None
    tries: int = 0
    """Attempts in vain since the last one that was begun with a new notice."""
    busy: bool = False


class Couriers:
    """Starts couriers, and ends them. Thread-safe."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._under_way: set[subprocess.Popen[bytes]] = set()
        self._ended = False

    def send(self, channel: Channel, title: str, text: str) -> Outcome:
        """Send one notice, and wait for what becomes of it, at most SEND_S."""
        try:
            status, _ = self._run([courier.SEND, title, text, channel.address], SEND_S)
        except TimeoutError:
            return Outcome.TOO_SLOW
        except OSError:
            return Outcome.BROKEN
        return {courier.TAKEN: Outcome.TAKEN, courier.NOT_TAKEN: Outcome.NOT_TAKEN}.get(status, Outcome.BROKEN)

    def check(self, channels: Sequence[Channel]) -> None:
        """Raises UNAVAILABLE: `notices-not-installed`, `notices-unknown` with `party` and `channel` of an address that
        is none, `notices-unchecked` where that could not be found out.
        """
        if find_spec("apprise") is None:
            raise _unusable("notices-not-installed")
        try:
            status, said = self._run([courier.CHECK, *(one.address for one in channels)], CHECK_S)
        except (OSError, TimeoutError):
            raise _unusable("notices-unchecked") from None
        if status == courier.UNKNOWN and said.isdigit() and 0 < int(said) <= len(channels):
            bad = channels[int(said) - 1]
            raise _unusable("notices-unknown", party=bad.party, channel=bad.number)
        if status != courier.TAKEN:
            raise _unusable("notices-unchecked")

    def end(self) -> None:
        """End those that are under way, and start none any more."""
        with self._guard:
            self._ended = True
            under_way = list(self._under_way)
        for process in under_way:
            process.kill()

    def _run(self, lines: Sequence[str], seconds: float) -> tuple[int, str]:
        environment = {name: os.environ[name] for name in _HANDED_ON if name in os.environ}
        command = [sys.executable, "-I", "-m", courier.__name__]
        with self._guard:
            if self._ended:
                raise OSError("the exchange ends")
            process = subprocess.Popen(  # noqa: S603 - our own program, by its full name
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
                cwd="/",
                start_new_session=True,
            )
            self._under_way.add(process)
        try:
            said, _ = process.communicate("\n".join(lines).encode(), seconds)
        except subprocess.TimeoutExpired:
            raise TimeoutError from None
        finally:
            with self._guard:
                self._under_way.discard(process)
            _put_away(process)
        return process.returncode, said[:8].decode("ascii", "replace")


def _put_away(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError):
                pipe.close()


def channels_of(plan: NoticePlan) -> dict[str, list[Channel]]:
    """The channels by party; those of the exchange itself under ADMIN."""
    named = {**plan.parties, ADMIN: plan.admin}
    return {party: [Channel(party, n, url) for n, url in enumerate(urls, 1)] for party, urls in named.items() if urls}


def checked_channels(plan: NoticePlan, couriers: Couriers) -> dict[str, list[Channel]]:
    """The same, of which every address is known to be one. Raises as `Couriers.check`."""
    channels = channels_of(plan)
    couriers.check([one for those in channels.values() for one in those])
    return channels


def try_once(plan: NoticePlan, party: str, title: str, text: str) -> list[tuple[int, Outcome]]:
    """Send one notice over every channel of a party at once; what became of each, by number.

    Raises NOT_FOUND for who has none, and as `Couriers.check`.
    """
    couriers = Couriers()
    channels = checked_channels(plan, couriers).get(party, [])
    if not channels:
        raise ReferralError(ErrorCode.NOT_FOUND, what=party)
    outcomes: dict[int, Outcome] = {}

    def send(one: Channel) -> None:
        outcomes[one.number] = couriers.send(one, title, text)

    _all_at_once([lambda one=one: send(one) for one in channels])  # type: ignore[misc]  # a lambda's default
    return sorted(outcomes.items())


def _all_at_once(calls: Sequence[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=call, daemon=True) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _unusable(reason: str, **facts: object) -> ReferralError:
    return ReferralError(ErrorCode.UNAVAILABLE, reason=reason, **facts)
