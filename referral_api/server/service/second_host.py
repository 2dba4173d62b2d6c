"""One exchange on several hosts: one of them signs, the others wait for its checkpoints (PostgreSQL, R-93).

A host that does not sign takes acts, commits leaves and serves everything. It asks the signing host, by a notice, to
sign over what it committed, reads the checkpoint from the database, where the signing host keeps it before it releases
it, and only then answers with receipts. While the signing host is away such a wait ends with `checkpoint-pending`:
nothing is lost, the same bytes sent again get their receipt from whichever host signs then.

Must never: sign, believe a checkpoint that the log's key has not signed or that this database does not produce, or go
on writing to a database that went back.

Implements: design §9 ("others wait for its checkpoint"); R-18, R-93, R-97.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from referral_api.auditlog.checkpoint import TrustPolicy, verify_checkpoint
from referral_api.auditlog.merkle import Frontier
from referral_api.domain.errors import ReferralError
from referral_api.server import observe
from referral_api.server.service.batch import Batch, Committed, Done, Job, Place
from referral_api.server.storage import logbook
from referral_api.server.storage.database import Connection, Database, Transaction
from referral_api.server.storage.logbook import Appended, Head
from referral_api.server.storage.signer import SignedCheckpoint, closed

WAIT_S = 10.0
"""How long an answer waits for its checkpoint."""
SHORT_WAIT_S = 2.0
"""The same while the signing host is known to be away."""
ASK_EVERY_S = 1.0
"""How often the signing host is asked again while something is unsigned."""
PROBE_EVERY_S = 3.0
"""How often it is asked whether it is there at all."""
AWAY_AFTER_S = 10.0
"""How long it may say nothing before this host calls itself not ready."""
LOOK_EVERY_S = 0.25
"""How often the database is looked at while somebody waits, beneath the notices."""

Covered: TypeAlias = Callable[[Mapping[str, SignedCheckpoint] | None], None]
"""Told once: the checkpoints that cover what was waited for, or None."""


@dataclass(slots=True)
class _Wait:
    needed: dict[str, int]
    finish: Covered
    ends: float


class SigningHost:
    """The signing host as another one sees it. One thread, which also gives the answers that it has waited for."""

    def __init__(
        self,
        database: Database,
        trust: Callable[[str], TrustPolicy],
        checkpoints: dict[str, SignedCheckpoint],
        ask: Callable[[Connection], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`trust` gives a log's key; `checkpoints` are the newest by log, as the gate found them and as they come;
        `ask` sends the notice.
        """
        self._database = database
        self._trust = trust
        self._checkpoints = checkpoints
        self._ask = ask
        self._clock = clock
        self._edges: dict[str, Frontier] = {}
        """The right edges that the writer has itself seen committed: what it finds must extend them."""
        self._waits: list[_Wait] = []
        self._unsigned: dict[str, int] = {}
        """Sizes up to which this host has committed and no checkpoint reaches."""
        self._heard_at = self._asked_at = clock()
        self._asks_now = False
        self._told_present = True
        self._on_doubt: Callable[[ReferralError], None] = lambda _: None
        self._mutex = threading.Lock()
        self._wake = threading.Event()
        self._ending = False
        self._thread = threading.Thread(target=self._loop, name="signing-host", daemon=True)

    @property
    def present(self) -> bool:
        """Whether the signing host has answered lately."""
        return self._clock() - self._heard_at < AWAY_AFTER_S

    def start(self, on_doubt: Callable[[ReferralError], None]) -> None:
        """Begin to listen; `on_doubt` gets WRITES_CLOSED where a checkpoint and this database do not fit."""
        self._on_doubt = on_doubt
        self._thread.start()

    def stop(self) -> None:
        """End; who still waits is answered that it is stored and not proved yet."""
        self._ending = True
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._settle(everybody=True)

    def heard(self) -> None:
        """The signing host has said something: look at once. Any thread."""
        self._heard_at = self._clock()
        self._wake.set()

    def meet(self, conn: Connection, head: Head) -> None:
        """Before a locked log is appended to: that it still begins with what was seen and what was signed.

        Raises WRITES_CLOSED, `database-shorter` or `database-differs`. The writer's thread alone.
        """
        seen = self._edges.get(head.name)
        known = self._checkpoints.get(head.name)
        if head.size < max(0 if seen is None else seen.size, 0 if known is None else known.size):
            raise closed("database-shorter", head.name)
        if seen not in (None, head.frontier):
            grown = seen.extend(logbook.leaf_hashes(conn, head.name, seen.size, head.size))
            if grown != head.frontier:
                raise closed("database-differs", head.name)
        self._edges[head.name] = head.frontier

    def grown(self, appended: Iterable[Appended]) -> None:
        """What this host's writer has committed."""
        with self._mutex:
            for one in appended:
                self._edges[one.name] = one.frontier
                self._unsigned[one.name] = one.size

    def wait_for(self, places: Sequence[Place], finish: Covered) -> None:
        """Tell `finish` once checkpoints cover these leaves, or that they did not in time; on this class's thread."""
        needed: dict[str, int] = {}
        for place in places:
            needed[place.log] = max(needed.get(place.log, 0), place.index + 1)
        ends = self._clock() + (WAIT_S if self.present else SHORT_WAIT_S)
        with self._mutex:
            self._waits.append(_Wait(needed, finish, ends))
            self._asks_now = True
        self._wake.set()

    def _loop(self) -> None:
        while not self._ending:
            try:
                self._round()
            except Exception as fault:
                # The database is away, or this is a defect; who waits is let go in time all the same.
                observe.log("signing_host_failed", fault=type(fault).__name__, where=observe.fault_place(fault))
            self._settle()
            self._tell()
            self._wake.wait(LOOK_EVERY_S if self._waits else ASK_EVERY_S)
            self._wake.clear()

    def _round(self) -> None:
        with self._mutex:
            waiting = set(self._unsigned)
        with self._database.read() as conn:
            for log in waiting | set(logbook.names(conn)):
                self._look(conn, log)
            with self._mutex:
                self._unsigned = {log: size for log, size in self._unsigned.items() if self._size(log) < size}
                pause_s = ASK_EVERY_S if self._unsigned or self._waits else PROBE_EVERY_S
                asks, self._asks_now = self._asks_now or self._clock() - self._asked_at >= pause_s, False
            if asks:
                self._asked_at = self._clock()
                self._ask(conn)

    def _look(self, conn: Connection, log: str) -> None:
        """Take the newest checkpoint that is kept of a log, if it is new, signed, and of this database."""
        stored = logbook.latest_checkpoint(conn, log)
        if stored is None or stored.size <= self._size(log) or logbook.following(conn, log) is not None:
            return  # Of a log that has lost leaves the newest covers what nobody has, and none will come.
        checkpoint = self._fitting(conn, log, stored)
        if checkpoint is None:
            doubt = closed("database-differs", log)
            self._on_doubt(doubt)
            raise doubt
        self._checkpoints[log] = checkpoint
        self._heard_at = self._clock()

    def _fitting(self, conn: Connection, log: str, stored: logbook.StoredCheckpoint) -> SignedCheckpoint | None:
        """A checkpoint that is kept, where the log's key has signed it and this database produces it."""
        try:
            found = verify_checkpoint(stored.note, self._trust(log))
            root = logbook.frontier_at(conn, log, found.size).root()
        except ReferralError:
            return None
        fits = (found.size, found.root) == (stored.size, root)
        return SignedCheckpoint(found.size, found.root, stored.note) if fits else None

    def _size(self, log: str) -> int:
        known = self._checkpoints.get(log)
        return 0 if known is None else known.size

    def _settle(self, *, everybody: bool = False) -> None:
        """Answer who is covered, and who has waited long enough."""
        now = self._clock()
        with self._mutex:
            covered = [wait for wait in self._waits if all(self._size(log) >= n for log, n in wait.needed.items())]
            over = [wait for wait in self._waits if wait not in covered and (everybody or wait.ends <= now)]
            self._waits = [wait for wait in self._waits if wait not in covered and wait not in over]
        for wait in covered:
            wait.finish({log: self._checkpoints[log] for log in wait.needed})
        for wait in over:
            wait.finish(None)

    def _tell(self) -> None:
        if self.present != self._told_present:
            self._told_present = self.present
            observe.log("signing_host", status="present" if self.present else "away")


class Writes(Protocol):
    """What is needed of the writer (writer.py, which knows this module)."""

    @property
    def went_well(self) -> bool:
        """Whether the last batch was committed and signed."""

    def submit(self, job: Job[None], answer: Callable[[Committed[None] | ReferralError], None]) -> None:
        """Queue a job. Raises ReferralError where nobody would take it."""


class SigningHere:
    """The signing host's ear: asked by another host, it signs over whatever any host has committed.

    One batch at a time does so, whoever asks meanwhile. `tell` goes with its commit only where this host signs at all:
    else it must seem away.
    """

    def __init__(
        self,
        writer: Writes,
        newest: Callable[[str], SignedCheckpoint | None],
        tell: Callable[[Transaction], None],
    ) -> None:
        self._writer = writer
        self._newest = newest
        self._tell = tell
        self._queued = threading.Lock()

    def asked(self) -> None:
        """Another host has asked. Any thread."""
        if not self._queued.acquire(blocking=False):
            return
        try:
            self._writer.submit(self._cover, lambda _: self._queued.release())
        except ReferralError:
            # Closed, or full: whoever asked hears nothing, and asks again.
            self._queued.release()

    def _cover(self, batch: Batch) -> Done[None]:
        """A job whose answer needs the last leaf of every log that has grown beyond what was signed."""
        also = []
        for log in logbook.names(batch.tx):
            size = batch.next_index(log) if log in batch.heads else logbook.size(batch.tx, log)
            newest = self._newest(log)
            if size > (0 if newest is None else newest.size):
                also.append(Place(log, size - 1, b""))
        if self._writer.went_well:
            self._tell(batch.tx)
        return Done(None, also=tuple(also))
