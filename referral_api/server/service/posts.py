"""One witness as the exchange knows it, and one visit to it: what is asked, and what its answer means (R-96).

What a witness says against us is an alarm with evidence: it knows a larger tree (the database went back), or another
one (the log forked).

Must never: send anything but a checkpoint and hashes, believe a cosignature unverified, or go on pushing to a witness
that holds a fork against us.

Implements: C2SP tlog-witness v1.0.0 (the log's side), R-96; design §9.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from referral_api.auditlog.checkpoint import parse_checkpoint
from referral_api.auditlog.note import NoteSignature, VerifierKey, parse_note
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
from referral_api.outside import Heard, Outside
from referral_api.server import observe
from referral_api.server.storage import logbook
from referral_api.server.storage.database import Database

REFRESH_EVERY_S = 600
ANSWER_S = 5.0
"""How long a whole call to a witness may take."""
BACK_OFF_S = (5, 10, 20, 40, 60)
NOT_HEARD = frozenset({ErrorCode.UNREACHABLE, ErrorCode.UNAVAILABLE})
"""How `Outside` says that there was no answer, or one without an end."""


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
        found = set(list(self.standing.values()))  # noqa: C414  # a copy: its own thread writes it
        return next((standing for standing in _ALARMS if standing in found), Standing.OK)


@dataclass(frozen=True, slots=True)
class Shown:
    """One log's newest checkpoint, as every witness shall see it."""

    log: str
    size: int
    note: bytes
    refreshed: bool
    """Whether it is shown again every ten minutes: a year that has ended does not become stale."""


def line_to_witnesses() -> Outside:
    """How witnesses are called."""
    return Outside(answer_s=ANSWER_S, connect_s=ANSWER_S, max_bytes=MAX_ANSWER_BYTES)


class Visitor:
    """Asks witnesses, each from one thread at a time."""

    def __init__(
        self,
        database: Database,
        outside: Outside,
        *,
        clock: Callable[[], float],
        keep_evidence: Callable[[str, bytes], None],
    ) -> None:
        """`clock` is monotonic seconds; `keep_evidence` takes a file's name and what a witness holds against us."""
        self._database = database
        self._outside = outside
        self._clock = clock
        self._keep_evidence = keep_evidence

    def visit(self, post: Post, shown: Sequence[Shown]) -> Iterator[tuple[Shown, list[NoteSignature]]]:
        """Everything that is due at one witness; its verified cosignatures, log by log, as they come."""
        now = self._clock()
        if now < post.rests_until:
            return
        for one in shown:
            size, at = post.asked.get(one.log, (0, 0.0))
            is_fresh = size >= one.size and (not one.refreshed or now - at < REFRESH_EVERY_S)
            if is_fresh or post.standing.get(one.log) is Standing.FORKED:
                continue
            lines = self._ask(post, one)
            if lines:
                yield one, lines
                # Only now: what could not be kept is asked for again.
                post.asked[one.log] = (one.size, self._clock())
            if post.standing[one.log] is Standing.UNREACHABLE:
                break
        failing = post.worst in (Standing.UNREACHABLE, Standing.REFUSED)
        post.failures = post.failures + 1 if failing else 0
        post.rests_until = now + BACK_OFF_S[min(post.failures, len(BACK_OFF_S)) - 1] if failing else 0.0

    def _ask(self, post: Post, one: Shown) -> list[NoteSignature]:
        """Ask one witness about one log, from the size that it knows; once more where it corrects that."""
        url = f"{post.url.rstrip('/')}/{ADD_CHECKPOINT}"
        for _ in range(2):
            old = min(post.sizes.get(one.log, 0), one.size)
            with self._database.read() as conn:
                proof = logbook.consistency(conn, one.log, old, one.size) if old else ()
            try:
                answer = self._outside.call("POST", url, format_request(old, proof, one.note))
            except ReferralError as error:
                if error.code not in NOT_HEARD:
                    raise
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

    def _conflict(self, post: Post, one: Shown, answer: Heard) -> int | None:
        """What a refusal means: the size from which to prove again, or None where nothing more can be done now."""
        if answer.status == 409 and answer.media_type == SIZE_MEDIA_TYPE:
            try:
                known = parse_size(answer.body)
            except ReferralError:
                post.standing[one.log] = Standing.REFUSED
                return None
            with self._database.read() as conn:
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

    def _accuse(self, post: Post, one: Shown, standing: Standing, answer: Heard) -> None:
        if post.standing.get(one.log) is not standing:
            said = b"%d %s\n\n" % (answer.status, answer.media_type.encode()) + answer.body + b"\n\n" + one.note
            try:
                self._keep_evidence(f"{one.log.replace('/', '-')}-{one.size}-{post.keys[0].key_id:08x}.txt", said)
            except OSError:
                # The alarm counts for more than its paper, and the witness has the same.
                observe.log("witness_evidence_lost", witness=post.name, log=one.log)
        post.standing[one.log] = standing


def posts_of(policy: Policy) -> list[Post]:
    """The witnesses that can be asked: keys at one URL are one witness's."""
    found: dict[str, list[tuple[str, VerifierKey]]] = {}
    for witness in policy.witnesses:
        if witness.url is not None:
            found.setdefault(witness.url, []).append((witness.key.name, witness.key))
    return [Post(known[0][0], url, tuple(key for _, key in known)) for url, known in found.items()]
