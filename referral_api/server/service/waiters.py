"""Who is waiting for their inbox to grow: futures by party, woken with the commit, ended by a wheel (R-55).

Lives on the event loop's thread alone. A waiter costs one future and two dictionary entries; there is no timer a
request.

Must never: be touched from another thread, or hold anything of the database.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

K = TypeVar("K", str, int)
TICKS_A_SECOND = 20
"""How finely waits end. Thousands who wait ask again as soon as they are let go: a second's share of them at once would
stand before whatever else comes, and would stay together from then on.
"""


@dataclass(slots=True, eq=False)
class _Waiter:
    party: str
    credential: str
    future: asyncio.Future[bool]
    ends_tick: int


class Waiters:
    """All waiting inbox calls of one process."""

    def __init__(self, *, shared: bool = False) -> None:
        """`shared`: other processes make inboxes grow too, and a notice of it can be lost."""
        self._shared = shared
        self._by_party: dict[str, set[_Waiter]] = {}
        self._by_credential: dict[str, _Waiter] = {}
        self._ending: dict[int, set[_Waiter]] = {}
        self._generations: dict[str, int] = {}
        self._everybody = 0
        self._closed = False
        self._tick = 0

    def generation(self, party: str) -> int:
        """How often this party's inbox has grown since the start. Safe to read from the lane."""
        return self._everybody + self._generations.get(party, 0)

    def __len__(self) -> int:
        return len(self._by_credential)

    async def wait(self, party: str, credential: str, seconds: int, *, seen: int) -> bool:
        """Wait at most about `seconds`; True if the inbox may have grown since its generation was `seen`.

        An older waiter of the same credential is let go with False, and so is everybody when the process ends.
        """
        if self._closed or self.generation(party) != seen:
            return self.generation(party) != seen
        older = self._by_credential.get(credential)
        if older is not None:
            self._release(older, grown=False)
        ends_tick = self._tick + seconds * TICKS_A_SECOND
        waiter = _Waiter(party, credential, asyncio.get_running_loop().create_future(), ends_tick)
        self._by_party.setdefault(party, set()).add(waiter)
        self._by_credential[credential] = waiter
        self._ending.setdefault(waiter.ends_tick, set()).add(waiter)
        try:
            return await waiter.future
        finally:
            self._forget(waiter)

    def wake(self, parties: Iterable[str]) -> None:
        """The inboxes of these parties grew."""
        for party in parties:
            self._generations[party] = self._generations.get(party, 0) + 1
            for waiter in self._by_party.pop(party, ()):
                self._release(waiter, grown=True)

    def wake_all(self) -> None:
        """Anything may have happened: notices may have been missed.

        It counts for those as well who are just reading, and will only then wait.
        """
        self._everybody += 1
        self.wake(list(self._by_party))

    def close(self) -> None:
        """Nobody waits from now on: the process ends once its calls are answered."""
        self._closed = True
        for waiter in list(self._by_credential.values()):
            self._release(waiter, grown=False)

    def tick(self) -> None:
        """A part of a second has passed: let those go whose time is over."""
        for waiter in self._ending.pop(self._tick, ()):
            self._release(waiter, grown=self._shared)
        self._tick += 1

    def _release(self, waiter: _Waiter, *, grown: bool) -> None:
        if not waiter.future.done():
            waiter.future.set_result(grown)
        self._forget(waiter)

    def _forget(self, waiter: _Waiter) -> None:
        if self._by_credential.get(waiter.credential) is waiter:
            del self._by_credential[waiter.credential]
        _discard(self._by_party, waiter.party, waiter)
        _discard(self._ending, waiter.ends_tick, waiter)


async def turn(waiters: Waiters, each_second: Callable[[int], None]) -> None:
    """Turn the wheel for as long as the loop runs; `each_second` is told which second it is.

    By the clock: slept one after the other, ticks would each add what the loop was late by.
    """
    loop = asyncio.get_running_loop()
    ticks, begun = 0, loop.time()
    while True:
        ticks += 1
        await asyncio.sleep(begun + ticks / TICKS_A_SECOND - loop.time())
        waiters.tick()
        if ticks % TICKS_A_SECOND == 0:
            each_second(ticks // TICKS_A_SECOND)


def _discard(index: dict[K, set[_Waiter]], key: K, waiter: _Waiter) -> None:
    """Take a waiter out of one index, and the group with its last member."""
    group = index.get(key)
    if group is not None:
        group.discard(waiter)
        if not group:
            del index[key]
