"""What handlers share: the exchange, the door, the lane of verification threads, and who is calling.

The lane is a thread (several on PostgreSQL) that takes whatever is queued, does the work that must not block the event
loop (signatures, reads), and hands all results back in one hop. Writes go from it straight to the writer: one hop
more, not two.

Must never: run a job's answer on another thread than the event loop's, or authenticate anywhere but in the lane.
"""

from __future__ import annotations

import asyncio
import hmac
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.server import observe
from referral_api.server.api.call import Call
from referral_api.server.service.acts import Door, Submission
from referral_api.server.service.batch import Batch, Committed, Done, Job
from referral_api.server.service.callers import Caller, check_access
from referral_api.server.service.decision import Accepted
from referral_api.server.service.exchange import Exchange
from referral_api.server.service.feed import Cursors
from referral_api.server.service.recorded import RecordedRead, read_closed
from referral_api.server.service.recording import Recording
from referral_api.server.service.second_host import SigningHere, SigningHost
from referral_api.server.service.sessions import Sessions
from referral_api.server.service.timers import Timers
from referral_api.server.service.tokens import TokenService
from referral_api.server.service.waiters import Waiters
from referral_api.server.service.waking import Waking
from referral_api.server.service.witnesses import Witnessing
from referral_api.server.service.writer import Answer, Gathering, Writer
from referral_api.server.storage.spool import Spool

T = TypeVar("T")
MAX_TAKE = 32
MAX_QUEUE = 4096
_LATER = object()
"""What a piece of work returns when the writer will answer instead."""


class Lane:
    """Verification threads behind one queue."""

    def __init__(self, threads: int, *, after_take: Callable[[], None] = lambda: None) -> None:
        """`after_take` runs on each thread whenever it has done what it took, before results are handed back."""
        self._after_take = after_take
        self._queue: SimpleQueue[tuple[Callable[[], Any], asyncio.Future[Any]] | None] = SimpleQueue()
        self._threads = [threading.Thread(target=self._loop, name=f"lane-{n}", daemon=True) for n in range(threads)]
        self._loop_of: asyncio.AbstractEventLoop | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start; results are handed to this loop."""
        self._loop_of = loop
        for thread in self._threads:
            thread.start()

    @property
    def alive(self) -> bool:
        """Whether every thread runs."""
        return all(thread.is_alive() for thread in self._threads)

    def stop(self) -> None:
        """Finish what is queued, then end the threads."""
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join()

    def put(self, work: Callable[[], Any], future: asyncio.Future[Any]) -> None:
        """Queue work whose result (unless it is to come later) settles `future`. Raises QUEUE_FULL."""
        if self._queue.qsize() >= MAX_QUEUE:
            raise ReferralError(ErrorCode.QUEUE_FULL)
        self._queue.put((work, future))

    def _loop(self) -> None:
        while (first := self._queue.get()) is not None:
            taken, stopping = [first], False
            while len(taken) < MAX_TAKE:
                try:
                    more = self._queue.get_nowait()
                except Empty:
                    break
                if more is None:
                    stopping = True
                    break
                taken.append(more)
            settled = [(future, result) for work, future in taken if (result := _run(work)) is not _LATER]
            self._after_take()
            if settled and self._loop_of is not None:
                self._loop_of.call_soon_threadsafe(settle, settled)
            if stopping:
                return


def _run(work: Callable[[], Any]) -> Any:
    try:
        return work()
    except ReferralError as error:
        return error
    except Exception as fault:
        observe.log("work_failed", fault=type(fault).__name__, where=observe.fault_place(fault))
        return ReferralError(ErrorCode.INTERNAL)


def settle(settled: Sequence[tuple[asyncio.Future[Any], Any]]) -> None:
    """Settle futures on the loop's thread; a waiter that left has cancelled its own."""
    for future, result in settled:
        if future.done():
            continue
        if isinstance(result, ReferralError):
            future.set_exception(result)
        else:
            future.set_result(result)


@dataclass(slots=True)
class Site:
    """Everything a handler may use."""

    exchange: Exchange
    writer: Writer
    gathering: Gathering
    """The writer, for whatever runs in the lane."""
    door: Door
    tokens: TokenService
    cursors: Cursors
    waiters: Waiters
    quorums: Waiters
    """Who waits for a quorum of witnesses."""
    lane: Lane
    desk: Lane
    """Where tokens are issued: its sync to disk must not hold up the lane's signatures."""
    clock: Callable[[], float]
    version: str
    configuration: dict[str, Any]
    recording: Recording
    """Where refusals and tokens are noted for the log."""
    spool: Spool
    """Where reads are recorded while the writer is closed (R-97)."""
    waking: Waking
    """Who is woken by a notice, and which channels fail."""
    witnessing: Witnessing | None
    """None where the exchange runs without witnesses."""
    elsewhere: SigningHost | None
    """The host that signs, where that is another (R-93)."""
    signing_here: SigningHere | None
    """Where this one signs, what other hosts ask for."""
    timers: Timers
    """The exchange's own clocks."""
    polled: dict[str, int]
    """When each party last polled; the writer takes these along with the next batch."""
    operator_token: str = ""
    """What the operator shows to see figures and details (storage/operator_token.py); empty: nobody does."""
    refused: observe.Repeated = field(default_factory=lambda: observe.Repeated("refused"))
    """What the operator reads of refusals."""
    sessions: Sessions = field(default_factory=Sessions)
    """Whose reading of the audit log is on the record."""

    def is_operator(self, headers: Mapping[str, str]) -> bool:
        """Whether a call shows the operator's token."""
        shown = headers.get("authorization", "").encode()
        return bool(self.operator_token) and hmac.compare_digest(shown, f"Bearer {self.operator_token}".encode())

    def deliver(
        self, loop: asyncio.AbstractEventLoop
    ) -> Callable[[Sequence[tuple[Answer, Any]], frozenset[str]], None]:
        """The writer's way back: one hop for a whole batch, inboxes first, then the answers."""

        def on_loop(pairs: Sequence[tuple[Answer, Any]], wake: frozenset[str]) -> None:
            self.waiters.wake(wake)
            for answer, outcome in pairs:
                answer(outcome)

        return lambda pairs, wake: _hop(loop, on_loop, pairs, wake)

    async def read(self, call: Call, work: Callable[[Caller], T]) -> T:
        """Authenticate, then run `work` in the lane."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self.lane.put(lambda: work(self._authenticate(call)), future)
        return await future

    async def recorded(self, call: Call, make_read: Callable[[Caller], RecordedRead[T]]) -> Committed[T]:
        """Authenticate, then read: what is handed out is on the record before this returns."""
        future: asyncio.Future[Committed[T]] = asyncio.get_running_loop().create_future()

        def work() -> object:
            caller = self._authenticate(call)
            return self._record(caller, make_read(caller), future)

        self.lane.put(work, future)
        return await future

    async def record(self, caller: Caller, read: RecordedRead[T]) -> Committed[T]:
        """The same for a caller who is known already."""
        future: asyncio.Future[Committed[T]] = asyncio.get_running_loop().create_future()
        self.lane.put(lambda: self._record(caller, read, future), future)
        return await future

    def _record(self, caller: Caller, read: RecordedRead[T], future: asyncio.Future[Committed[T]]) -> object:
        """In the lane: leave it to the writer, or to the spool where nothing can be written."""
        if self.writer.closed is not None:
            now = int(self.clock())
            shown = read_closed(self.exchange, self.spool, lambda: self.writer.closed, read, caller, now)
            if shown is not None:
                return shown

        def answer(outcome: Committed[T] | ReferralError) -> None:
            shut = isinstance(outcome, ReferralError) and outcome.code is ErrorCode.WRITES_CLOSED
            if shut and self.writer.closed is not None:
                # It has closed over this very read, of which nothing is written: the spool takes it.
                self.lane.put(lambda: self._record(caller, read, future), future)
            else:
                settle([(future, outcome)])

        self.gathering.submit(self.guarded(caller, read), answer)
        return _LATER

    def guarded(self, caller: Caller, job: Job[T]) -> Job[T]:
        """A job that looks again whether its caller has access: a revocation may stand before it in the log (R-45)."""

        def run(batch: Batch) -> Done[T]:
            check_access(batch.keymap or self.exchange.keymap, caller, batch.now)
            return job(batch)

        return run

    async def enter(self, call: Call, submission: Callable[[], Submission]) -> Committed[Accepted]:
        """Authenticate and bring an act to the door."""
        future: asyncio.Future[Committed[Accepted]] = asyncio.get_running_loop().create_future()

        def work() -> object:
            caller = self._authenticate(call)
            stored = self.door.accept(submission(), caller, lambda outcome: settle([(future, outcome)]), call.now)
            return _LATER if stored is None else stored

        self.lane.put(work, future)
        return await future

    async def work(self, work: Callable[[], T]) -> T:
        """Run `work` in the lane for a caller who is known already, or need not be."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self.lane.put(work, future)
        return await future

    async def issue(self, work: Callable[[], T]) -> T:
        """Run `work` at the token desk."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self.desk.put(work, future)
        return await future

    async def run(self, job: Job[T]) -> Committed[T]:
        """Run a job of the writer for a caller who is known already, or has no credential yet (enrolment)."""
        future: asyncio.Future[Committed[T]] = asyncio.get_running_loop().create_future()
        self.writer.submit(job, lambda outcome: settle([(future, outcome)]))
        return await future

    def _authenticate(self, call: Call) -> Caller:
        caller = self.tokens.authenticate(call.method, call.raw_path, call.headers, call.now)
        call.party, call.credential = caller.party, caller.credential
        # Counted where it is known whose call it is, so that the record of the first one too many says so.
        self.tokens.limits.calls.take(caller.credential, call.now)
        return caller


def _hop(
    loop: asyncio.AbstractEventLoop,
    on_loop: Callable[[Sequence[tuple[Answer, Any]], frozenset[str]], None],
    pairs: Sequence[tuple[Answer, Any]],
    wake: frozenset[str],
) -> None:
    try:
        loop.call_soon_threadsafe(on_loop, pairs, wake)
    except RuntimeError:
        # The loop is closed: the process is ending, everybody has left, and what was committed stays committed.
        observe.log("answers_undelivered", batch=len(pairs))
