"""Pollers on raw sockets: each asks for its inbox, waits, and asks again at once from where it stands.

A crowd of them lives in a process of its own, so that the proofs which thousands sign while they wait never stand
before the one whose answer is timed. Its polls begin spread over one wait.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any, cast

import uvloop

from bench import load
from bench.crowd import Ticket
from referral_api.client import access
from referral_api.formats.strict_json import b64u, parse

WAIT_S = 25
PATIENCE_S = 30


@dataclass(slots=True)
class Tally:
    """What pollers saw: polls sent and answered, answers other than 200 by status, and entries, which none expects."""

    sent: int = 0
    answered: int = 0
    statuses: dict[int, int] = field(default_factory=dict)
    entries: int = 0
    lost: int = 0
    example: bytes = b""


class Poller(asyncio.Protocol):
    """One connection that polls until it is told to leave; `seen` is given every answer as it arrives."""

    def __init__(self, issuer: str, ticket: Ticket, tally: Tally, seen: Callable[[Any], None] = lambda _: None) -> None:
        self._issuer, self._ticket, self._tally, self._seen = issuer, ticket, tally, seen
        self._key = access.proof_key(ticket.secret)
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._cursor: str | None = None
        self._waiting = False
        self.leaving = False
        self.gone = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._poll()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if (answer := load.find_answer(self._buffer)) is not None:
            self._buffer, self._waiting = b"", False
            self._take(*answer)

    def connection_lost(self, _error: Exception | None) -> None:
        # Whoever has its answer and goes is no loss; a poll that gets none is.
        self._tally.lost += self._waiting or not self.leaving
        self.gone.set()

    def _take(self, status: int, body: bytes) -> None:
        assert self._transport is not None
        self._tally.answered += 1
        if status != 200:
            self._tally.statuses[status] = self._tally.statuses.get(status, 0) + 1
            self._tally.example = body
            self._transport.close()
            return
        answer = parse(body, max_bytes=1 << 20)
        self._tally.entries += len(answer["entries"])
        self._cursor = answer["cursor"]
        self._seen(answer)
        if self.leaving:
            self._transport.close()
        else:
            self._poll()

    def _poll(self) -> None:
        """Send one poll with a proof made now: it lives a minute."""
        assert self._transport is not None
        url, query = f"{self._issuer}/v1/inbox", f"wait={WAIT_S}"
        if self._cursor is not None:
            query += f"&after={self._cursor}"
        proof = access.build_proof(
            self._key, "GET", url, jti=b64u(secrets.token_bytes(16)), now=int(time.time()), token=self._ticket.token
        )
        host, token = self._issuer.partition("://")[2], f"DPoP {self._ticket.token}"
        self._transport.write(load.request_head(f"GET /v1/inbox?{query}", host, Authorization=token, DPoP=proof))
        self._tally.sent += 1
        self._waiting = True


class Crowd:
    """The handle of the crowd's process. Every method but `leave` and `finish` may be called any number of times."""

    def __init__(self, issuer: str, port: int, tickets: Sequence[Ticket]) -> None:
        self._pipe, theirs = multiprocessing.Pipe()
        spawned = multiprocessing.get_context("spawn")
        self._process = spawned.Process(target=_run, args=(theirs, issuer, port, tickets), daemon=True)
        self._process.start()

    async def hold(self, count: int, over_s: float) -> Tally:
        """Have `count` of them polling, those that are missing begun over this many seconds; what was seen so far."""
        return await asyncio.to_thread(self._ask, (count, over_s))

    async def leave(self) -> None:
        """Let nobody poll again; who waits goes on waiting."""
        await asyncio.to_thread(self._ask, None)

    def finish(self) -> Tally:
        """What was seen in all, once every connection has ended: the server has gone."""
        return self._ask(None)

    def _ask(self, question: tuple[int, float] | None) -> Tally:
        self._pipe.send(question)
        tally: Tally = self._pipe.recv()
        return tally


def _run(pipe: Connection, issuer: str, port: int, tickets: Sequence[Ticket]) -> None:
    uvloop.run(_answer(pipe, issuer, port, tickets))


async def _answer(pipe: Connection, issuer: str, port: int, tickets: Sequence[Ticket]) -> None:
    tally, held = Tally(), list[Poller]()
    loop = asyncio.get_running_loop()
    while (question := await asyncio.to_thread(pipe.recv)) is not None:
        wanted, over_s = question
        begun_at, missing = loop.time(), tickets[len(held) : wanted]
        for number, ticket in enumerate(missing):
            await asyncio.sleep(begun_at + over_s * number / len(missing) - loop.time())
            poller = Poller(issuer, ticket, tally)
            await loop.create_connection(lambda poller=poller: poller, "127.0.0.1", port)  # type: ignore[misc]
            held.append(poller)
        pipe.send(tally)
    for poller in held:
        poller.leaving = True
    pipe.send(tally)
    await asyncio.to_thread(pipe.recv)
    await asyncio.wait_for(asyncio.gather(*(poller.gone.wait() for poller in held)), PATIENCE_S)
    pipe.send(tally)
