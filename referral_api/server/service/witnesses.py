"""The exchange's witnesses: each is shown every log's newest checkpoint, and its cosignatures are kept (R-96, R-101).

A thread for each witness asks it every few seconds, whenever a log has grown, and again every ten minutes so that
nobody mistakes a frozen log for a fresh one. One more thread judges by the database alone whether the quorum comes in
time. So nobody waits for a witness that is slow: no other witness, no alarm, no start, no stop, and never business.

Must never: believe that a quorum was reached before it is stored, or have one witness wait for another.

Implements: R-96, R-101; design §9.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from time import monotonic

from referral_api.auditlog.checkpoint import TrustPolicy, parse_checkpoint, verify_cosignature
from referral_api.auditlog.note import NoteSignature, SignedNote, parse_note
from referral_api.auditlog.policy import Policy
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.server import observe
from referral_api.server.service.batch import Batch, Done
from referral_api.server.service.exchange import Exchange
from referral_api.server.service.posts import Post, Shown, Standing, Visitor, line_to_witnesses, posts_of
from referral_api.server.service.writer import Writer
from referral_api.server.storage import logbook

PUSH_EVERY_S = 5
LATE_AFTER_S = 60
"""A log that has grown for longer than this without a quorum is an alarm."""
STOP_S = 5.0
"""How long the stop waits for what its cut does not end: a name that is being looked up, an address being dialled."""
_JUDGE = ""
"""Under which name the judging goes; a witness goes by its address."""


class Cosigned:
    """The job that puts verified cosignatures beside a checkpoint; its result is whether they suffice now."""

    def __init__(self, policy: TrustPolicy, shown: Shown, lines: Sequence[NoteSignature]) -> None:
        self._policy = policy
        self._shown = shown
        self._lines = lines

    def __call__(self, batch: Batch) -> Done[bytes | None]:
        """Merge under the log's lock: another process may have brought others. The note where the quorum is reached."""
        stored = logbook.find_checkpoint(batch.tx, self._shown.log, self._shown.size)
        note = parse_note(self._shown.note if stored is None else stored.note)
        merged = merge(note, self._lines)
        witnessed = _suffices(self._policy, merged)
        logbook.save_cosigned(
            batch.tx, self._shown.log, self._shown.size, merged.to_bytes(), batch.now, witnessed=witnessed
        )
        return Done(merged.to_bytes() if witnessed else None)


class Witnessing:
    """The threads that ask the witnesses, and what is known of them."""

    def __init__(
        self,
        exchange: Exchange,
        writer: Writer,
        policy: Policy,
        *,
        clock: Callable[[], float],
        keep_evidence: Callable[[str, bytes], None],
    ) -> None:
        """`clock` is monotonic seconds; `keep_evidence` takes a file's name and what a witness holds against us."""
        self._exchange = exchange
        self._writer = writer
        self._clock = clock
        self.posts = posts_of(policy)
        self._behind_since: dict[str, float] = {}
        self._aim: dict[str, int] = {}
        """The size of each log that is without a quorum since then."""
        self._failing_since: dict[str, float] = {}
        """Since when every round of a witness's thread, or of the judging, has failed by a fault of our own."""
        self._told: dict[str, Standing] = {}
        self._was_late = False
        self._on_witnessed: Callable[[], None] = lambda: None
        self._outside = line_to_witnesses()
        self._visitor = Visitor(exchange.database, self._outside, clock=clock, keep_evidence=keep_evidence)
        self._ending = False
        rounds = {_JUDGE: self._judge} | {post.url: self._attending(post) for post in self.posts}
        self._wakes = {name: threading.Event() for name in rounds}
        self._threads = [
            threading.Thread(target=self._loop, args=(name, one), name=f"witness {name}", daemon=True)
            for name, one in rounds.items()
        ]

    def start(self, on_witnessed: Callable[[], None]) -> None:
        """Begin to ask; `on_witnessed` is told, on any thread, whenever a quorum has cosigned more of some log."""
        self._on_witnessed = on_witnessed
        for thread in self._threads:
            thread.start()

    def hurry(self) -> None:
        """Ask now: somebody waits for a quorum."""
        for wake in self._wakes.values():
            wake.set()

    def stop(self) -> None:
        """Stop asking: calls under way are cut. Returns within STOP_S."""
        self._ending = True
        self._outside.cut()
        self.hurry()
        ends = monotonic() + STOP_S
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(0.0, ends - monotonic()))
        self._outside.close()

    @property
    def late(self) -> bool:
        """Whether some log has grown a minute ago and still has no quorum, or for a minute somebody could not be asked
        by a fault of our own.
        """
        now = self._clock()
        waiting = [*list(self._behind_since.values()), *list(self._failing_since.values())]
        return any(now - since > LATE_AFTER_S for since in waiting)

    def standing(self) -> dict[str, str]:
        """How things stand with every witness, by name: for the operator."""
        return {post.name: post.worst.value for post in self.posts}

    def _loop(self, name: str, one_round: Callable[[], None]) -> None:
        wake = self._wakes[name]
        while not self._ending:
            try:
                one_round()
            except Exception as fault:
                # The database or the writer is away, or this is a defect: the next round asks again. A thread that
                # ended would look like witnesses that have nothing to say.
                if not self._ending:
                    self._failing_since.setdefault(name, self._clock())
                    observe.log("witnessing_failed", fault=type(fault).__name__, where=observe.fault_place(fault))
            else:
                self._failing_since.pop(name, None)
            wake.wait(PUSH_EVERY_S)
            wake.clear()

    def _attending(self, post: Post) -> Callable[[], None]:
        def attend() -> None:
            for one, lines in self._visitor.visit(post, self._to_show()):
                self._keep(one, lines)

        return attend

    def _to_show(self) -> list[Shown]:
        found: list[Shown] = []
        with self._exchange.database.read() as conn:
            names = logbook.names(conn)
            newest = max((name for name in names if name != logbook.KEYS), default=None)
            for name in names:
                if logbook.following(conn, name) is not None:
                    continue  # It has lost leaves and never grows again.
                checkpoint = self._exchange.newest_checkpoint(conn, name)
                if checkpoint is not None:
                    found.append(Shown(name, *checkpoint, refreshed=name in (logbook.KEYS, newest)))
        return found

    def _keep(self, one: Shown, lines: Sequence[NoteSignature]) -> None:
        policy = self._exchange.trust(one.log)
        note = self._writer.run(Cosigned(policy, one, lines)).result
        if note is not None:
            self._wakes[_JUDGE].set()
            self._on_witnessed()

    def _judge(self) -> None:
        """Note which logs are without a quorum, and say once what has become of whom."""
        now, shown = self._clock(), self._to_show()
        with self._exchange.database.read() as conn:
            witnessed = {one.log: logbook.latest_witnessed(conn, one.log) for one in shown}
        for one in shown:
            newest = witnessed[one.log]
            if newest is not None and newest.size >= self._aim.get(one.log, one.size):
                # What has grown since is due from now on, not since the log was last seen to be behind.
                self._behind_since.pop(one.log, None)
                self._aim.pop(one.log, None)
            if newest is None or newest.size < one.size:
                self._aim.setdefault(one.log, one.size)
                self._behind_since.setdefault(one.log, now)
        for post in self.posts:
            if self._told.get(post.name, Standing.OK) is not post.worst:
                self._told[post.name] = post.worst
                observe.log("witness", witness=post.name, status=post.worst.value)
        if self.late != self._was_late:
            self._was_late = self.late
            observe.log("witnesses_late" if self.late else "witnesses_in_time")


def merge(note: SignedNote, lines: Iterable[NoteSignature]) -> SignedNote:
    """A note with these lines too; of one key's lines the newest stays."""
    kept = {(line.name, line.key_id): line for line in chain(note.signatures, lines)}
    return SignedNote(note.text, tuple(kept.values()))


def _suffices(policy: TrustPolicy, note: SignedNote) -> bool:
    checkpoint = parse_checkpoint(note.text)
    cosigned = {
        key
        for key in policy.known_witnesses
        for raw in note.signed_by(key)
        if verify_cosignature(checkpoint, key, raw).cosigned_s
    }
    try:
        policy.verify_quorum(cosigned)
    except ReferralError as error:
        if error.code is not ErrorCode.NOT_WITNESSED:
            raise
        return False
    return True
