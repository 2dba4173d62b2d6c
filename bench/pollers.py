"""`python -m bench.pollers`: how fast a submit reaches whoever waits for it, and what thousands who wait cost.

Options: `--idle 1,1000,5000`, `--submits N`, `--rate N`, `--seconds N`. With each number of idle pollers held open, one
poller of the addressed unit waits while 20 kB submits arrive one by one; with the most of them the server is also left
alone for `--seconds`. Every poll must end with 200, the addressed one must see each submit once and the others none.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import uvloop

from bench import corpus, crowd, load, process, waiting, world
from bench.machine import print_machine
from referral_api.server.service.proofs import FUTURE_S

ADDRESSED = world.UNITS[0]
WARM = 40
SPARE_FILES = 200
TARGETS = "targets (floor / goal): p99 <= 15 / 6 ms at 1,000 idle, 5,000 to 1 <= 3 / 1.5; idle 3 / 1 %, 25 / 12 kB"


@dataclass(frozen=True, slots=True)
class Delays:
    """What the submits of one stage took, in ms: to the poller's answer, from the sending and from the own answer."""

    from_sending: list[float]
    from_answer: list[float]


@dataclass(frozen=True, slots=True)
class Idle:
    """What the server cost while nothing but polls came."""

    cpu_share: float
    polls_a_second: float
    cpu_us_a_poll: float


class Submitter(asyncio.Protocol):
    """The hotline's connection: one request at a time, and when its answer was whole."""

    def __init__(self) -> None:
        self._buffer = b""
        self._answered: asyncio.Future[tuple[int, float]] | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._answered is not None and (answer := load.find_answer(self._buffer)) is not None:
            self._buffer = b""
            self._answered.set_result((answer[0], time.perf_counter()))

    def send(self, head: bytes, body: bytes) -> asyncio.Future[tuple[int, float]]:
        """Status and time of the answer to come."""
        assert self._transport is not None
        self._answered = asyncio.get_running_loop().create_future()
        self._transport.writelines([head, body])
        return self._answered


class Addressed:
    """The poller that is timed: when each referral reached it, and how often."""

    def __init__(self) -> None:
        self.arrived_at: dict[str, float] = {}
        self.doubled = 0
        self._awaited: dict[str, asyncio.Future[None]] = {}

    def seen(self, answer: Any) -> None:
        """Take in one answer of its inbox."""
        now = time.perf_counter()
        for entry in answer["entries"]:
            ref = entry["ref"]
            self.doubled += ref in self.arrived_at
            self.arrived_at[ref] = now
            if (awaited := self._awaited.pop(ref, None)) is not None:
                awaited.set_result(None)

    async def until(self, ref: str) -> float:
        """When this referral arrived."""
        if ref not in self.arrived_at:
            self._awaited[ref] = asyncio.get_running_loop().create_future()
            await asyncio.wait_for(self._awaited[ref], waiting.PATIENCE_S)
        return self.arrived_at[ref]


def main() -> int:
    """Measure, print, and fail if anything measured was wrong."""
    options = _options()
    numbers = [int(text) for text in options.idle.split(",")]
    allowed = process.raise_open_files(max(numbers) + SPARE_FILES) - SPARE_FILES
    numbers = sorted({min(number, allowed) for number in numbers})
    folder = Path(tempfile.mkdtemp(prefix="referral-bench-", dir=options.dir))
    try:
        print_machine(folder)
        print("making the exchange, those who wait and the requests …", flush=True)
        template = world.make(folder / "template")
        services = crowd.enrol(template, max(numbers))
        copy = folder / "ours"
        copy.mkdir()
        template.copy(copy)
        count = WARM + options.submits * len(numbers)
        shots = corpus.shots(template, count, corpus.SIZES["20kB"], units=[ADDRESSED])
        with process.running("ours", copy, template.port) as server:
            # A proof without a nonce that could be older than the server's memory is refused: none is, from here on.
            time.sleep(FUTURE_S + 1)
            person = template.keys(ADDRESSED)
            addressed, *others = crowd.tickets(template, [person, *services])
            held = waiting.Crowd(template.issuer, template.port, others)
            uvloop.run(_measure(options, numbers, template, server, held, addressed, shots))
        _check_idle(held.finish())
    finally:
        shutil.rmtree(folder)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.pollers")
    parser.add_argument("--idle", default="1,1000,5000", help="how many idle pollers, one stage for each number")
    parser.add_argument("--submits", type=int, default=200, help="submits of a stage")
    parser.add_argument("--rate", type=float, default=20, help="submits a second")
    parser.add_argument(
        "--seconds", type=float, default=2.2 * waiting.WAIT_S, help="how long the idle cost is measured"
    )
    parser.add_argument("--dir", default=None, help="where the database goes; not a tmpfs")
    return parser.parse_args()


async def _measure(
    options: argparse.Namespace,
    numbers: Sequence[int],
    template: world.Template,
    server: subprocess.Popen[bytes],
    held: waiting.Crowd,
    ticket: crowd.Ticket,
    shots: Sequence[corpus.Shot],
) -> None:
    loop = asyncio.get_running_loop()
    rights = process.token(template)
    addressed, tally = Addressed(), waiting.Tally()
    poller = waiting.Poller(template.issuer, ticket, tally, addressed.seen)
    await loop.create_connection(lambda: poller, "127.0.0.1", template.port)

    async def stage(begin: int, count: int) -> Delays:
        part = shots[begin : begin + count]
        # A connection that was quiet while a crowd gathered has been closed by the server.
        transport, submitter = await loop.create_connection(Submitter, "127.0.0.1", template.port)
        delays = await _fire(part, corpus.heads(template, part, *rights), submitter, addressed, options.rate)
        transport.close()
        return delays

    await stage(0, WARM)
    stages: list[Delays] = []
    alone_kb = process.pss_kb(server)
    for at, number in enumerate(numbers):
        await held.hold(number, waiting.WAIT_S)
        if number == numbers[-1]:
            _report_idle(await _leave_alone(server, held, number, options.seconds), number)
            print(f"memory: {(process.pss_kb(server) - alone_kb) / number:.1f} kB a poller (PSS)", flush=True)
        stages.append(await stage(WARM + at * options.submits, options.submits))
        _report_stage(stages[-1], number)
    _report_ratio(stages, numbers)
    await held.leave()
    poller.leaving = True
    _check_addressed(tally, addressed, [shot.path.rpartition("/")[2] for shot in shots])


async def _fire(
    shots: Sequence[corpus.Shot], heads: Sequence[bytes], submitter: Submitter, addressed: Addressed, rate: float
) -> Delays:
    """Submit at an even pace, each once the one before it has arrived."""
    loop, delays = asyncio.get_running_loop(), Delays([], [])
    begun_at = loop.time()
    for number, (shot, head) in enumerate(zip(shots, heads, strict=True)):
        await asyncio.sleep(begun_at + number / rate - loop.time())
        sent_at = time.perf_counter()
        status, answered_at = await asyncio.wait_for(submitter.send(head, shot.body), waiting.PATIENCE_S)
        if status != 201:
            raise SystemExit(f"a submit was answered with {status}")
        arrived_at = await addressed.until(shot.path.rpartition("/")[2])
        delays.from_sending.append((arrived_at - sent_at) * 1000)
        delays.from_answer.append((arrived_at - answered_at) * 1000)
    return delays


async def _leave_alone(server: subprocess.Popen[bytes], held: waiting.Crowd, number: int, seconds: float) -> Idle:
    polls, cpu_s, begun_at = (await held.hold(number, 0)).answered, process.cpu_s(server), time.perf_counter()
    await asyncio.sleep(seconds)
    used_s, took_s = process.cpu_s(server) - cpu_s, time.perf_counter() - begun_at
    polls = (await held.hold(number, 0)).answered - polls
    return Idle(used_s / took_s, polls / took_s, used_s / max(polls, 1) * 1e6)


def _report_stage(delays: Delays, number: int) -> None:
    shown = [
        f"{what} p50 {_percentile(values, 0.5):.2f} p99 {_percentile(values, 0.99):.2f} ms"
        for what, values in (("submit -> poller", delays.from_sending), ("after its answer", delays.from_answer))
    ]
    print(f"{number:>6} idle: {'; '.join(shown)} ({len(delays.from_sending)} submits)", flush=True)


def _report_idle(idle: Idle, number: int) -> None:
    print(
        f"{number:>6} idle, left alone: {idle.cpu_share * 100:.1f} % of a core at {idle.polls_a_second:.0f} polls a"
        f" second, {idle.cpu_us_a_poll:.0f} us each",
        flush=True,
    )


def _report_ratio(stages: Sequence[Delays], numbers: Sequence[int]) -> None:
    first, last = (_percentile(stages[at].from_sending, 0.99) for at in (0, -1))
    print(f"p99 with {numbers[-1]} idle against {numbers[0]}: {last / first:.2f}")
    print(TARGETS)


def _percentile(values: Sequence[float], share: float) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[round(share * 100) - 1]


def _check_addressed(tally: waiting.Tally, addressed: Addressed, refs: Sequence[str]) -> None:
    if tally.statuses or tally.lost or addressed.doubled or set(addressed.arrived_at) != set(refs):
        raise SystemExit(
            f"the addressed unit saw {len(addressed.arrived_at)} of {len(refs)} submits, {addressed.doubled} twice;"
            f" {tally.statuses} {tally.example[:300]!r}, {tally.lost} connections lost"
        )


def _check_idle(tally: waiting.Tally) -> None:
    if tally.statuses or tally.lost or tally.entries or tally.answered != tally.sent:
        raise SystemExit(
            f"of {tally.sent} idle polls {tally.answered} were answered, with {tally.entries} entries; others than 200:"
            f" {tally.statuses} {tally.example[:300]!r}; {tally.lost} connections lost"
        )
    print(f"checked: {tally.sent} idle polls, all 200 and empty; every submit reached its unit once")


if __name__ == "__main__":
    sys.exit(main())
