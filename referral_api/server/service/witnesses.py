"""The exchange's witnesses: each is shown every log's newest checkpoint, and its cosignatures are kept (R-96).

One thread asks all witnesses side by side every few seconds, whenever a log has grown, and again every ten minutes so
that nobody mistakes a frozen log for a fresh one. Business never waits for it. What a witness says against us is an
alarm with evidence: it knows a larger tree (the database went back), or another one (the log forked).

Must never: send anything but a checkpoint and hashes, believe a cosignature unverified, or go on pushing to a witness
that holds a fork against us.

Implements: C2SP tlog-witness v1.0.0 (the log's side), R-96; design §9.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import chain

import httpx2

from referral_api.auditlog.checkpoint import TrustPolicy, parse_checkpoint, verify_cosignature
from referral_api.auditlog.note import NoteSignature, SignedNote, VerifierKey, parse_note
from referral_api.auditlog.policy import Policy
from referral_api.auditlog.witnessing import (
    ADD_CHECKPOINT,
    MAX_ANSWER_BYTES,
    SIZE_MEDIA_TYPE,
    format_request,
    parse_size,
    verify_answer,
)
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.server import observe
from referral_api.server.service.batch import Batch, Done
from referral_api.server.service.exchange import Exchange
from referral_api.server.service.writer import Writer
from referral_api.server.storage import logbook

PUSH_EVERY_S = 5
REFRESH_EVERY_S = 600
LATE_AFTER_S = 60
"""A log that has grown for longer than this without a quorum is an alarm."""
ANSWER_S = 5.0
BACK_OFF_S = (5, 10, 20, 40, 60)


class Standing(StrEnum):
    """What came of the last attempt at a witness, over all logs the worst."""

    OK = "ok"
    UNREACHABLE = "unreachable"
    REFUSED = "refused"
    """It does not know the log or its key (403, 404), failed by itself, or signed something else: to be looked into."""
    AHEAD = "ahead"
    """It has cosigned a larger tree than there is: the database went back."""
    FORKED = "forked"
    """It holds another tree against us."""


_ALARMS = (Standing.FORKED, Standing.AHEAD, Standing.REFUSED, Standing.UNREACHABLE)
"""The worst first."""


@dataclass(slots=True)
class Post:
    """One witness as the exchange knows it: where it is, its keys, and how things stand with it, log by log."""

    name: str
    url: str
    keys: tuple[VerifierKey, ...]
    sizes: dict[str, int] = field(default_factory=dict)
    """What it has cosigned last, as far as we know; it corrects us where we are wrong."""
    asked: dict[str, tuple[int, float]] = field(default_factory=dict)
    """Which size it cosigned last, and when."""
    standing: dict[str, Standing] = field(default_factory=dict)
    failures: int = 0
    rests_until: float = 0.0

    @property
    def worst(self) -> Standing:
        """How things stand with it."""
        found = set(self.standing.values())
        return next((standing for standing in _ALARMS if standing in found), Standing.OK)


@dataclass(frozen=True, slots=True)
class Shown:
    """One log's newest checkpoint, as every witness shall see it."""

    log: str
    size: int
    note: bytes
    refreshed: bool
    """Whether it is shown again every ten minutes: a year that has ended does not become stale."""


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
    """The thread that asks the witnesses, and what it knows of them."""

    def __init__(
        self,
        exchange: Exchange,
        writer: Writer,
        policy: Policy,
        *,
        clock: Callable[[], float],
        keep_evidence: Callable[[str, bytes], None],
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        """`clock` is monotonic seconds; `keep_evidence` takes a file's name and what a witness holds against us."""
        self._exchange = exchange
        self._writer = writer
        self._policy = policy
        self._clock = clock
        self._keep_evidence = keep_evidence
        self.posts = posts_of(policy)
        self._behind_since: dict[str, float] = {}
        self._aim: dict[str, int] = {}
        """The size of each log that is without a quorum since then."""
        self._failing_since: float | None = None
        """Since when every round has failed."""
        self._told: dict[str, Standing] = {}
        self._was_late = False
        self._on_witnessed: Callable[[], None] = lambda: None
        self._http = httpx2.Client(transport=transport, timeout=ANSWER_S, follow_redirects=False)
        self._wake = threading.Event()
        self._ending = False
        self._thread = threading.Thread(target=self._loop, name="witnesses", daemon=True)

    def start(self, on_witnessed: Callable[[], None]) -> None:
        """Begin to ask; `on_witnessed` is told, on this thread, whenever a quorum has cosigned more of some log."""
        self._on_witnessed = on_witnessed
        self._thread.start()

    def hurry(self) -> None:
        """Ask now: somebody waits for a quorum."""
        self._wake.set()

    def stop(self) -> None:
        """Stop asking; a call under way ends within its time-out."""
        self._ending = True
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._http.close()

    @property
    def late(self) -> bool:
        """Whether some log has grown a minute ago and still has no quorum, or for a minute nobody could be asked."""
        now = self._clock()
        waiting = [*self._behind_since.values(), *([] if self._failing_since is None else [self._failing_since])]
        return any(now - since > LATE_AFTER_S for since in waiting)

    def standing(self) -> dict[str, str]:
        """How things stand with every witness, by name: for the operator."""
        return {post.name: post.worst.value for post in self.posts}

    def _loop(self) -> None:
        with ThreadPoolExecutor(max_workers=max(1, len(self.posts)), thread_name_prefix="witness") as pool:
            while not self._ending:
                try:
                    self.round(pool)
                except Exception as fault:
                    # The database or the writer is away, or this is a defect: the next round asks again. A thread that
                    # ended would look like witnesses that have nothing to say.
                    self._failing_since = self._failing_since or self._clock()
                    observe.log("witnessing_failed", fault=type(fault).__name__, where=observe.fault_place(fault))
                else:
                    self._failing_since = None
                self._wake.wait(PUSH_EVERY_S)
                self._wake.clear()

    def round(self, pool: ThreadPoolExecutor) -> None:
        """Show every witness what it has not seen, and keep what they answer."""
        shown = self._to_show()
        answers = list(zip(self.posts, pool.map(lambda post: self._visit(post, shown), self.posts), strict=True))
        for one in shown:
            given = [(post, answer[one.log]) for post, answer in answers if one.log in answer]
            if given:
                self._keep(one, [line for _, lines in given for line in lines])
            for post, _ in given:
                # Only now: what could not be kept is asked for again.
                post.asked[one.log] = (one.size, self._clock())
        self._judge(shown)

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

    def _visit(self, post: Post, shown: Sequence[Shown]) -> dict[str, list[NoteSignature]]:
        """Everything that is due at one witness; its verified cosignatures by log."""
        now = self._clock()
        if now < post.rests_until:
            return {}
        found: dict[str, list[NoteSignature]] = {}
        for one in shown:
            size, at = post.asked.get(one.log, (0, 0.0))
            is_fresh = size >= one.size and (not one.refreshed or now - at < REFRESH_EVERY_S)
            if is_fresh or post.standing.get(one.log) is Standing.FORKED:
                continue
            lines = self._ask(post, one)
            if lines:
                found[one.log] = lines
            if post.standing[one.log] is Standing.UNREACHABLE:
                break
        self._rest(post, now)
        return found

    def _rest(self, post: Post, now: float) -> None:
        failing = post.worst in (Standing.UNREACHABLE, Standing.REFUSED)
        post.failures = post.failures + 1 if failing else 0
        post.rests_until = now + BACK_OFF_S[min(post.failures, len(BACK_OFF_S)) - 1] if failing else 0.0

    def _ask(self, post: Post, one: Shown) -> list[NoteSignature]:
        """Ask one witness about one log, from the size that it knows; once more where it corrects that."""
        for _ in range(2):
            old = min(post.sizes.get(one.log, 0), one.size)
            try:
                with self._exchange.database.read() as conn:
                    proof = logbook.consistency(conn, one.log, old, one.size) if old else ()
                answer = self._send(post, format_request(old, proof, one.note))
            except (httpx2.HTTPError, httpx2.InvalidURL):
                post.standing[one.log] = Standing.UNREACHABLE
                return []
            if answer.status == 200:
                return self._verified(post, one, answer.body)
            known = self._conflict(post, one, answer)
            if known is None:
                return []
            post.sizes[one.log] = known
            if known > one.size:
                # Another process has shown it a newer one; ours is shown again when we know that one too.
                post.standing[one.log] = Standing.OK
                return []
        post.standing[one.log] = Standing.REFUSED
        return []

    def _conflict(self, post: Post, one: Shown, answer: _Answer) -> int | None:
        """What a refusal means: the size from which to prove again, or None where nothing more can be done now."""
        if answer.status == 409 and answer.media_type == SIZE_MEDIA_TYPE:
            try:
                known = parse_size(answer.body)
            except ReferralError:
                post.standing[one.log] = Standing.REFUSED
                return None
            with self._exchange.database.read() as conn:
                size = logbook.size(conn, one.log)
            if known <= size:
                return known
            self._accuse(post, one, Standing.AHEAD, answer)
        elif answer.status in (409, 422):
            self._accuse(post, one, Standing.FORKED, answer)
        else:
            post.standing[one.log] = Standing.REFUSED
        return None

    def _verified(self, post: Post, one: Shown, body: bytes) -> list[NoteSignature]:
        """The lines by this witness's keys; one of them that does not verify is no answer at all."""
        try:
            checkpoint = parse_checkpoint(parse_note(one.note).text)
            lines = [cosigned.line for cosigned in verify_answer(body, checkpoint, post.keys)]
        except ReferralError:
            post.standing[one.log] = Standing.REFUSED
            return []
        post.standing[one.log] = Standing.OK
        post.sizes[one.log] = one.size
        return lines

    def _accuse(self, post: Post, one: Shown, standing: Standing, answer: _Answer) -> None:
        if post.standing.get(one.log) is not standing:
            said = b"%d %s\n\n" % (answer.status, answer.media_type.encode()) + answer.body + b"\n\n" + one.note
            try:
                self._keep_evidence(f"{one.log.replace('/', '-')}-{one.size}-{post.keys[0].key_id:08x}.txt", said)
            except OSError:
                # The alarm counts for more than its paper, and the witness has the same.
                observe.log("witness_evidence_lost", witness=post.name, log=one.log)
        post.standing[one.log] = standing

    def _send(self, post: Post, body: bytes) -> _Answer:
        url = f"{post.url.rstrip('/')}/{ADD_CHECKPOINT}"
        with self._http.stream("POST", url, content=body, headers={"Accept-Encoding": "identity"}) as answer:
            found = bytearray()
            for chunk in answer.iter_raw():
                found += chunk
                if len(found) > MAX_ANSWER_BYTES:
                    raise httpx2.DecodingError("the answer is too long")
            media_type = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
            return _Answer(answer.status_code, media_type, bytes(found))

    def _keep(self, one: Shown, lines: Sequence[NoteSignature]) -> None:
        policy = self._exchange.trust(one.log)
        note = self._writer.run(Cosigned(policy, one, lines)).result
        if note is not None:
            self._on_witnessed()

    def _judge(self, shown: Iterable[Shown]) -> None:
        """Note which logs are without a quorum, and say once what has become of whom."""
        now = self._clock()
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


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    media_type: str
    body: bytes


def posts_of(policy: Policy) -> list[Post]:
    """The witnesses that can be asked: keys at one URL are one witness's."""
    found: dict[str, list[tuple[str, VerifierKey]]] = {}
    for witness in policy.witnesses:
        if witness.url is not None:
            found.setdefault(witness.url, []).append((witness.key.name, witness.key))
    return [Post(known[0][0], url, tuple(key for _, key in known)) for url, known in found.items()]


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
