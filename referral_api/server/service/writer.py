"""The one writer of a process: group commit over the business database and the logs (design §8).

Whatever was queued while the last commit ran becomes the next batch: lock the logs → a savepoint for each job → leaves
appended → COMMIT → one checkpoint signed over durable state → every waiter answered with its own proof. Acts, retrieval
records, enrolments and the exchange's own acts all pass here.

Must never: sign a checkpoint, or let any signed byte leave, before COMMIT has returned; cancel a job because its
waiter left; or let one job's failure touch its neighbours. Clauses: docs/protocol.md R-18, R-92, R-93.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue
from typing import TypeVar

from referral_api.auditlog.leaf import parse_leaf
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.terms import Term
from referral_api.server import observe
from referral_api.server.service.batch import Batch, Committed, Done, Job, Place, asks_of
from referral_api.server.service.clock_watch import MAY_PASS
from referral_api.server.service.covering import Covering, Publish
from referral_api.server.service.second_host import SigningHost
from referral_api.server.storage import logbook
from referral_api.server.storage.database import Database, OutcomeUnknown, RolledBack, Transaction
from referral_api.server.storage.logbook import KEYS
from referral_api.server.storage.signer import LogSigner, SignedCheckpoint

T = TypeVar("T")
A = TypeVar("A")
MAX_BATCH = 256
MAX_QUEUE = 4096
ANSWER_S = 0.1
"""After how long without an answer is looked whether the thread still runs."""

Answer = Callable[["Committed[object] | ReferralError"], None]
Deliver = Callable[[Sequence[tuple[Answer, "Committed[object] | ReferralError"]], frozenset[str]], None]
"""Hands a batch's answers over, with the parties to wake first; the application does it in one hop to its loop."""


@dataclass(slots=True)
class _Queued:
    job: Job[object]
    answer: Answer
    outcome: Done[object] | ReferralError | None = None


class Writer:
    """One thread, one connection, one transaction at a time. `on_step` is told where each batch is (fault tests).

    `clock` is asked for a batch's time with that of the newest leaf, and refuses the batch where neither can be right.
    """

    def __init__(
        self,
        database: Database,
        signers: Callable[[str], LogSigner],
        *,
        clock: Callable[[int], float],
        term_of: Callable[[str | None, int], Term],
        begin: Callable[[Batch], None],
        announce: Callable[[Batch], None] = lambda _: None,
        committed: Callable[[Batch], None],
        checkpoints: dict[str, SignedCheckpoint],
        publish: Publish | None = None,
        elsewhere: SigningHost | None = None,
        closed: ReferralError | None = None,
        on_step: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._database = database
        self._covering = Covering(database, signers, checkpoints, publish)
        self._elsewhere = elsewhere
        self._clock = clock
        self._term_of = term_of
        self._begin = begin
        self._announce = announce
        self._committed = committed
        self._deliver: Deliver = deliver_here
        self._closed = closed
        self._on_step = on_step
        self._queue: SimpleQueue[_Queued | None] = SimpleQueue()
        self._last_now = 0
        self._own_sizes: dict[str, int] = {}
        """Sizes of the logs as this process has left them; another size is another process's work."""
        self._committing = self._signing = True
        self._thread = threading.Thread(target=self._loop, name="writer", daemon=True)

    def start(self, deliver: Deliver | None = None) -> None:
        """Start the thread, answering through `deliver` (None: on the writer's own thread).

        The start-up gate (storage/gate.py) has run before.
        """
        if deliver is not None:
            self._deliver = deliver
        if self._elsewhere is not None:
            self._elsewhere.start(self.close)
        self._thread.start()

    def stop(self) -> None:
        """Finish what is queued, then end the thread; nothing to do for a writer that was never started."""
        if self._thread.ident is None:
            return
        self._queue.put(None)
        self._thread.join()
        if self._elsewhere is not None:
            self._elsewhere.stop()

    @property
    def alive(self) -> bool:
        """Whether the thread runs; a dead writer makes the process unready."""
        return self._thread.is_alive()

    @property
    def closed(self) -> str | None:
        """Why nothing may be written until somebody has followed that runbook; None while open."""
        return None if self._closed is None else str(self._closed.facts["reason"])

    def close(self, refusal: ReferralError) -> None:
        """Take nothing any more: WRITES_CLOSED, until a start finds all in order, or the clock is right (R-97)."""
        # What a right clock does not mend must not be forgotten behind a wrong one.
        if self._closed is None or (self.closed in MAY_PASS and refusal.facts["reason"] not in MAY_PASS):
            observe.log("writes_closed", reason=refusal.facts["reason"])
            self._closed = refusal

    def reopen(self) -> None:
        """Take everything again, where the clock was all that was wrong; what was read meanwhile is on the log."""
        if self.closed in MAY_PASS:
            observe.log("writes_open")
            self._closed = None

    @property
    def signing(self) -> bool:
        """Whether the last batch got its checkpoint, or the host that signs is there; else this one is not ready."""
        return self._signing and (self._elsewhere is None or self._elsewhere.present)

    @property
    def went_well(self) -> bool:
        """Whether the last commit went through and was signed: while it did not, who comes again is looked up first."""
        return self._committing and self.signing and self._closed is None

    def submit(self, job: Job[T], answer: Callable[[Committed[T] | ReferralError], None]) -> None:
        """Queue a job; `answer` is called exactly once, from `deliver`.

        Raises QUEUE_FULL at once when too much waits, and UNAVAILABLE where nobody would ever take it: a refusal now is
        better than a timeout later.
        """
        self.check_room()
        self.put([_Queued(job, answer)])  # type: ignore[arg-type]

    def check_room(self) -> None:
        """Raises WRITES_CLOSED, UNAVAILABLE or QUEUE_FULL where `submit` would."""
        if self._closed is not None:
            raise ReferralError(self._closed.code, **self._closed.facts)
        if not self.alive:
            raise ReferralError(ErrorCode.UNAVAILABLE, reason="writer")
        if self._queue.qsize() >= MAX_QUEUE:
            raise ReferralError(ErrorCode.QUEUE_FULL)

    def put(self, jobs: Iterable[_Queued]) -> None:
        """Queue jobs for which there was room."""
        for one in jobs:
            self._queue.put(one)

    def run(self, job: Job[T], *, though_closed: bool = False) -> Committed[T]:
        """Queue a job and wait for it. Raises what it was refused with, and as `answer_in`."""
        box: SimpleQueue[Committed[T] | ReferralError] = SimpleQueue()
        if not though_closed:
            self.check_room()
        self.put([_Queued(job, box.put)])  # type: ignore[arg-type]
        outcome = self.answer_in(box)
        if isinstance(outcome, ReferralError):
            raise outcome
        return outcome

    def answer_in(self, box: SimpleQueue[A]) -> A:
        """Wait for what an `answer` puts into a box. Raises UNAVAILABLE where the thread has ended without it."""
        while True:
            alive = self.alive
            try:
                return box.get(timeout=ANSWER_S)
            except Empty:
                if not alive:
                    raise ReferralError(ErrorCode.UNAVAILABLE, reason="writer") from None

    def _loop(self) -> None:
        while (first := self._queue.get()) is not None:
            batch, stopping = self._drain(first)
            self._commit_or_retry(batch)
            if stopping:
                return

    def _drain(self, first: _Queued) -> tuple[list[_Queued], bool]:
        taken = [first]
        while len(taken) < MAX_BATCH:
            try:
                queued = self._queue.get_nowait()
            except Empty:
                return taken, False
            if queued is None:
                return taken, True
            taken.append(queued)
        return taken, False

    def _commit_or_retry(self, queued: list[_Queued]) -> bool:
        """One batch; if it fails as a whole, each of its jobs once more alone, so that one cannot fail the others.

        False if the database does not answer: then the others are refused at once, for each would wait for it in vain.
        """
        try:
            self._commit(queued)
        except OutcomeUnknown:
            self._committing = False
            observe.log("commit_outcome_unknown", batch=len(queued))
            self._refuse(queued, ErrorCode.OUTCOME_UNKNOWN)
        except Exception as fault:
            # A batch that failed is rolled back as a whole; its jobs are tried alone or refused.
            self._committing = False
            if isinstance(fault, ReferralError) and fault.code is ErrorCode.WRITES_CLOSED:
                # No job raises this here: the log's lease moved, or the database may not be trusted any more.
                self.close(fault)
                self._refuse(queued, fault)
                return False
            observe.log("batch_failed", batch=len(queued), fault=type(fault).__name__)
            if len(queued) == 1:
                self._refuse(queued, fault.code if isinstance(fault, ReferralError) else ErrorCode.UNAVAILABLE)
                return not (isinstance(fault, RolledBack) and fault.facts["reason"] == "database-lost")
            for at, one in enumerate(queued):
                if not self._commit_or_retry([one]):
                    self._refuse(queued[at + 1 :], ErrorCode.UNAVAILABLE)
                    return False
        return True

    def _commit(self, queued: list[_Queued]) -> None:
        self._on_step("begin")
        with self._database.write() as tx:
            batch = self._open(tx)
            batch.foresee([asks for one in queued if (asks := asks_of(one.job)) is not None])
            for one in queued:
                self._run(batch, one)
            self._on_step("before-append")
            appended = {
                log: logbook.append(tx, batch.heads[log], leaves)
                for log, leaves in sorted(batch.leaves.items(), reverse=True)
                if leaves
            }
            self._announce(batch)
            self._on_step("before-commit")
        self._committing = True
        self._on_step("after-commit")
        self._covering.saved(batch.saved)
        self._own_sizes.update({log: grown.size for log, grown in appended.items()})
        self._committed(batch)
        if self._elsewhere is not None:
            self._leave(self._elsewhere, queued, appended, frozenset(batch.wake))
            return
        try:
            signed = self._covering.sign(appended, _places(queued), self._own_sizes, batch.now)
        except Exception as fault:
            # The batch is durable; whatever stops the signer, nobody may be told 201. Who asked to read is answered.
            observe.log("checkpoint_pending", fault=type(fault).__name__)
            self._signing = False
            if isinstance(fault, ReferralError) and fault.code is ErrorCode.WRITES_CLOSED:
                self.close(fault)
            self._deliver([(one.answer, _unsigned(one)) for one in queued], frozenset(batch.wake))
            return
        self._signing = True
        self._on_step("after-sign")
        self._deliver([(one.answer, self._answer(one, appended, signed)) for one in queued], frozenset(batch.wake))
        self._on_step("answered")

    def _open(self, tx: Transaction) -> Batch:
        heads = logbook.lock(tx, (KEYS,))
        newest = logbook.newest_audit(tx)
        newest_s = self._newest_time(tx, newest)
        # The clock is read under the lock, so that whoever appends later, in any process, has also read it later.
        now = self._last_now = max(int(self._clock(newest_s)), self._last_now, newest_s)
        term = self._term_of(None if newest is None else newest[0], now)
        # At the turn of the year the log before is closed as the next one begins: both are held, the older one first.
        heads |= logbook.lock(tx, {term.log} if newest is None else {newest[0], term.log})
        batch = Batch(tx, now, term, heads, self._covering.save(tx, now))
        self._begin(batch)
        return batch

    def _newest_time(self, tx: Transaction, newest: tuple[str, int] | None) -> int:
        """The time of the newest audit leaf, which the next one's never precedes, whoever wrote it, in whatever year.

        A clock that was set back over new year would else write behind the cursors of who has read further.
        """
        if newest is None or self._own_sizes.get(newest[0]) == newest[1]:
            return 0
        return parse_leaf(logbook.leaf(tx, newest[0], newest[1] - 1)).logged_s

    def _run(self, batch: Batch, one: _Queued) -> None:
        mark, behind = batch.mark(), asks_of(one.job) is not None
        if not behind:
            # If rows of earlier jobs cannot be written, that is the batch's failure and not this job's.
            batch.tx.flush()
        try:
            with batch.tx.aside() if behind else batch.tx.savepoint():
                one.outcome = one.job(batch)
        except RolledBack:
            # The engine has ended the transaction, with all that the earlier jobs did in it.
            raise
        except ReferralError as refusal:
            one.outcome = refusal
        except Exception as fault:
            # A defect in one job is that waiter's failure, never its neighbours'.
            observe.log("job_failed", fault=type(fault).__name__)
            one.outcome = ReferralError(ErrorCode.INTERNAL)
        if isinstance(one.outcome, ReferralError):
            batch.rewind(mark)

    def _leave(
        self, signer: SigningHost, queued: list[_Queued], appended: Mapping[str, logbook.Appended], wake: frozenset[str]
    ) -> None:
        """Another host signs: who needs no proof is answered, who needs one when its checkpoint is there, or is not."""
        signer.grown(appended.values())
        needing = [one for one in queued if _places([one])]
        self._deliver([(one.answer, _unsigned(one)) for one in queued if not _places([one])], wake)

        def finish(one: _Queued, signed: Mapping[str, SignedCheckpoint] | None) -> None:
            outcome = _unsigned(one) if signed is None else self._answer(one, appended, signed)
            self._deliver([(one.answer, outcome)], frozenset())

        for one in needing:
            signer.wait_for(_places([one]), partial(finish, one))

    def _answer(
        self, one: _Queued, appended: Mapping[str, logbook.Appended], signed: Mapping[str, SignedCheckpoint]
    ) -> Committed[object] | ReferralError:
        if not isinstance(one.outcome, Done):
            return _refusal(one)
        done = one.outcome
        try:
            proof = None if done.place is None else self._covering.prove(done.place, appended, signed)
            beside = None if done.beside is None else self._covering.prove(done.beside, appended, signed)
        except Exception as fault:
            # It is committed and signed; one path that cannot be read now must not undo its neighbours' answers.
            observe.log("proof_failed", fault=type(fault).__name__)
            return ReferralError(ErrorCode.CHECKPOINT_PENDING)
        return Committed(done.result, proof, beside)

    def _refuse(self, queued: Iterable[_Queued], why: ErrorCode | ReferralError) -> None:
        refusal = why if isinstance(why, ReferralError) else ReferralError(why)
        self._deliver([(one.answer, ReferralError(refusal.code, **refusal.facts)) for one in queued], frozenset())


class Gathering:
    """The writer as a verification thread sees it: jobs are held until `release`, and so come in batches, instead of by
    ones and twos, of which each costs a commit. One instance serves several threads; each holds its own.
    """

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._held = threading.local()

    @property
    def went_well(self) -> bool:
        """As the writer's."""
        return self._writer.went_well

    def submit(self, job: Job[T], answer: Callable[[Committed[T] | ReferralError], None]) -> None:
        """Hold a job for the writer. Raises as `Writer.submit`."""
        self._writer.check_room()
        held: list[_Queued] = self._held.__dict__.setdefault("jobs", [])
        held.append(_Queued(job, answer))  # type: ignore[arg-type]

    def release(self) -> None:
        """Give the writer what this thread holds."""
        held: list[_Queued] = self._held.__dict__.setdefault("jobs", [])
        if held:
            self._writer.put(held)
            held.clear()


def deliver_here(pairs: Sequence[tuple[Answer, Committed[object] | ReferralError]], _wake: frozenset[str]) -> None:
    """Answer on the calling thread: the command line and tests wait for their own job."""
    for answer, outcome in pairs:
        answer(outcome)


def _places(queued: Iterable[_Queued]) -> list[Place]:
    """The leaves that answers are about."""
    return [place for one in queued if isinstance(one.outcome, Done) for place in one.outcome.places()]


def _refusal(one: _Queued) -> ReferralError:
    """What a job that left nothing is answered with."""
    return one.outcome if isinstance(one.outcome, ReferralError) else ReferralError(ErrorCode.INTERNAL)


def _unsigned(one: _Queued) -> Committed[object] | ReferralError:
    """What a committed job is answered with while no checkpoint covers it: only what needs no proof (R-18, R-52)."""
    if not isinstance(one.outcome, Done):
        return _refusal(one)
    return ReferralError(ErrorCode.CHECKPOINT_PENDING) if one.outcome.places() else Committed(one.outcome.result, None)
