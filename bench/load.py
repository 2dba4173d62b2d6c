"""The load generator: raw sockets on uvloop, a closed loop of connections, each request sent once.

It costs a few percent of what an HTTP library would and shares the machine with the server, so every figure is a floor
of what the server alone would do.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

import uvloop

PATIENCE_S = 180


@dataclass(slots=True)
class Result:
    """What one run saw. Latencies in milliseconds; `kept` are some whole answers, to be verified afterwards."""

    seconds: float
    statuses: dict[int, int] = field(default_factory=dict)
    latencies_ms: list[float] = field(default_factory=list)
    kept: dict[int, bytes] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Answers of 2xx a second."""
        return sum(count for status, count in self.statuses.items() if 200 <= status < 300) / self.seconds

    def percentile(self, share: float) -> float:
        """The latency that `share` of the answers stayed below."""
        ranked = sorted(self.latencies_ms)
        return ranked[min(int(len(ranked) * share), len(ranked) - 1)]


def request_head(line: str, host: str, **fields: object) -> bytes:
    """The head of a request; `fields` are its headers, with `_` for `-`."""
    named = (f"{name.replace('_', '-')}: {value}" for name, value in fields.items())
    return "\r\n".join([f"{line} HTTP/1.1", f"Host: {host}", *named, "", ""]).encode("ascii")


def find_answer(buffer: bytes) -> tuple[int, bytes] | None:
    """Status and body of the answer that fills this buffer; None while it is not whole."""
    head, separator, rest = buffer.partition(b"\r\n\r\n")
    if not separator or len(rest) < int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]):
        return None
    return int(head[9:12]), rest


class _Connection(asyncio.Protocol):
    def __init__(self, run: _Run) -> None:
        self._run = run
        self._buffer = b""
        self._index = -1
        self._sent_at = 0.0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._next()

    def _next(self) -> None:
        assert self._transport is not None
        self._index = self._run.take()
        if self._index < 0:
            self._transport.close()
            return
        self._sent_at = time.perf_counter()
        self._transport.writelines([self._run.heads[self._index], self._run.bodies[self._index]])

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if (answer := find_answer(self._buffer)) is not None:
            self._run.seen(self._index, *answer, time.perf_counter() - self._sent_at)
            self._buffer = b""
            self._next()

    def connection_lost(self, _error: Exception | None) -> None:
        self._run.lost()


class _Run:
    def __init__(self, heads: Sequence[bytes], bodies: Sequence[bytes], warm: int, keep_every: int) -> None:
        self.heads, self.bodies = heads, bodies
        self._warm, self._keep_every = warm, keep_every
        self._taken = self._answered = self._lost = 0
        self._started_at = 0.0
        self.result = Result(0.0)
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.connections = 0

    def take(self) -> int:
        if self._taken == len(self.heads):
            return -1
        self._taken += 1
        return self._taken - 1

    def seen(self, index: int, status: int, body: bytes, seconds: float) -> None:
        self._answered += 1
        if self._answered == self._warm:
            self._started_at = time.perf_counter()
        elif self._answered > self._warm:
            self.result.statuses[status] = self.result.statuses.get(status, 0) + 1
            self.result.latencies_ms.append(seconds * 1000)
        if index % self._keep_every == 0 or status >= 400:
            self.result.kept[index] = body
        if self._answered == len(self.heads):
            self.result.seconds = time.perf_counter() - self._started_at
            self.done.set_result(None)

    def lost(self) -> None:
        self._lost += 1
        if self._lost == self.connections and not self.done.done():
            self.done.set_exception(ConnectionError(f"the server went away after {self._answered} answers"))


def fire(
    port: int, heads: Sequence[bytes], bodies: Sequence[bytes], *, connections: int, warm: int, keep_every: int = 97
) -> Result:
    """Send every request once over `connections` connections; the first `warm` answers are not measured."""

    async def run() -> Result:
        state = _Run(heads, bodies, warm, keep_every)
        state.connections = connections
        loop = asyncio.get_running_loop()
        for _ in range(connections):
            await loop.create_connection(lambda: _Connection(state), "127.0.0.1", port)
        await asyncio.wait_for(state.done, PATIENCE_S)
        return state.result

    return uvloop.run(run())
