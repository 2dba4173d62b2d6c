"""A batch of the writer as its jobs see it: one transaction, leaves reserved but not yet appended, parties to wake.

A job changes rows through `tx`, reserves leaves, and returns what it did; the writer (writer.py) makes it durable,
signs, and answers. Plain submits, of which there are many, ask beforehand and write behind, so that a batch of them
costs a few statements.

Must never: commit, sign, or outlive its transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from referral_api.auditlog.leaf import LeafKind, encode_leaf, leaf_of
from referral_api.auditlog.records import ServerRecord, encode_record, leaf_of_record
from referral_api.domain.rules import Rules
from referral_api.domain.terms import Term
from referral_api.formats.statements import KeyMap
from referral_api.server.storage import logbook, queries
from referral_api.server.storage.database import Transaction
from referral_api.server.storage.queries import Referral, StoredAct

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a leaf was put, before its proof exists."""

    log: str
    index: int
    leaf: bytes

    @property
    def pos(self) -> int:
        """The audit log's position key (term and index in one integer)."""
        return logbook.position(Term.of_log(self.log), self.index)


@dataclass(frozen=True, slots=True)
class Mark:
    """How far a batch had come at some moment."""

    leaves: dict[str, int]
    fresh: int
    wake: frozenset[str]
    urgent: frozenset[str]
    keymap: KeyMap | None


@dataclass(slots=True)
class Batch:
    """One transaction under way. Jobs add rows through `tx` and leaves through `append_leaf`."""

    tx: Transaction
    now: int
    term: Term
    heads: dict[str, logbook.Head]
    saved: dict[str, int]
    """Checkpoints that this transaction keeps: size by log."""
    keymap: KeyMap | None = None
    """The directory with what earlier jobs of this batch added to it; None while it is the exchange's own."""
    leaves: dict[str, list[bytes]] = field(default_factory=dict)
    acts: dict[tuple[str, str], StoredAct | None] = field(default_factory=dict)
    """Acts asked for at the beginning, by issuer and id, and those that this batch has stored since."""
    referrals: dict[str, Referral | None] = field(default_factory=dict)
    _fresh: list[str | tuple[str, str]] = field(default_factory=list)
    wake: set[str] = field(default_factory=set)
    """Parties whose inbox grew."""
    urgent: set[str] = field(default_factory=set)
    """Those of them that have something new to do in an emergency (R-109)."""
    ruled: tuple[int, Rules, str] | None = None
    """Rules that this batch has brought into force: from when, and the act as text."""

    def foresee(self, asked: Sequence[Asks]) -> None:
        """Ask once for everything that these jobs will ask for."""
        if asked:
            found = queries.find_acts(self.tx, [asks.act for asks in asked])
            self.acts = {asks.act: found.get(asks.act) for asks in asked}
            known = queries.known_referrals(self.tx, [asks.ref for asks in asked])
            self.referrals = {asks.ref: known.get(asks.ref) for asks in asked}

    def find_act(self, iss: str, act_id: str) -> StoredAct | None:
        """The act that this issuer sent under this id, earlier in this batch included."""
        key = (iss, act_id)
        return self.acts[key] if key in self.acts else queries.find_act(self.tx, iss, act_id)

    def find_referral(self, ref: str) -> Referral | None:
        """The referral, if it was made earlier in this batch too."""
        return self.referrals[ref] if ref in self.referrals else queries.find_referral(self.tx, ref)

    def remember_act(self, stored: StoredAct) -> None:
        """Let later jobs of this batch find an act without asking the database."""
        self.acts[stored.iss, stored.id] = stored
        self._fresh.append((stored.iss, stored.id))

    def remember_referral(self, referral: Referral) -> None:
        """Let later jobs of this batch find a referral without asking the database."""
        self.referrals[referral.ref] = referral
        self._fresh.append(referral.ref)

    def forget(self, ref: str) -> None:
        """Let later jobs of this batch ask the database again about a referral whose records were erased."""
        self.referrals.pop(ref, None)
        self.acts = {key: act for key, act in self.acts.items() if act is not None and act.ref != ref}

    def next_index(self, log: str) -> int:
        """The index that the next leaf of `log` will get."""
        return self.heads[log].size + len(self.leaves.get(log, ()))

    def append_leaf(self, log: str, leaf: bytes) -> Place:
        """Reserve the next index for exactly these leaf bytes."""
        place = Place(log, self.next_index(log), leaf)
        self.leaves.setdefault(log, []).append(leaf)
        return place

    def place_at(self, pos: int) -> Place:
        """The place of an audit leaf that is stored already, or that an earlier job of this batch reserved."""
        term, index = logbook.term_index(pos)
        log = term.log
        head = self.heads.get(log)
        if head is not None and index >= head.size:
            return Place(log, index, self.leaves[log][index - head.size])
        return Place(log, index, logbook.leaf(self.tx, log, index))

    def append_record(self, kind: LeafKind, record: bytes) -> Place:
        """Append an audit leaf that commits to these exact record bytes."""
        return self.append_leaf(self.term.log, encode_leaf(leaf_of(record, kind, self.now)))

    def record(self, record: ServerRecord) -> Place:
        """Store a record of the exchange's own and its leaf; its row is found by the referral and party it names."""
        raw = encode_record(record)
        ref, party = getattr(record, "ref", None), getattr(record, "party", None)
        place = self.append_leaf(self.term.log, encode_leaf(leaf_of_record(record, raw)))
        queries.insert_record(self.tx, queries.StoredRecord(place.pos, record.kind, ref, party, raw.decode("ascii")))
        return place

    def mark(self) -> Mark:
        """How far this batch has come, to rewind to when a job leaves nothing."""
        lengths = {log: len(leaves) for log, leaves in self.leaves.items()}
        return Mark(lengths, len(self._fresh), frozenset(self.wake), frozenset(self.urgent), self.keymap)

    def rewind(self, mark: Mark) -> None:
        """Forget everything since `mark` but rows, which its savepoint forgets."""
        for log, leaves in self.leaves.items():
            del leaves[mark.leaves.get(log, 0) :]
        for key in self._fresh[mark.fresh :]:
            if isinstance(key, str):
                self.referrals.pop(key, None)
            else:
                self.acts.pop(key, None)
        del self._fresh[mark.fresh :]
        self.wake, self.urgent, self.keymap = set(mark.wake), set(mark.urgent), mark.keymap


@dataclass(frozen=True, slots=True)
class Asks:
    """What a job looks up: an act by issuer and id, a referral. A job that has this does nothing to the database but
    write rows behind, so it needs no savepoint: what it wrote is forgotten where it is kept, in memory.
    """

    act: tuple[str, str]
    ref: str


class Job(Protocol[T]):
    """Something to be done inside the writer's transaction, in a savepoint of its own."""

    def __call__(self, batch: Batch, /) -> Done[T]:
        """Change rows and reserve leaves, or raise ReferralError and leave nothing."""


@dataclass(frozen=True, slots=True)
class Done(Generic[T]):
    """What a job leaves: its result and the place that its answer's proof is about, if any."""

    result: T
    place: Place | None = None
    beside: Place | None = None
    """Of the act that came along (a submit's route)."""
    also: tuple[Place, ...] = ()
    """What else must be under a checkpoint before it is answered."""

    def places(self) -> list[Place]:
        """Those there are."""
        return [*(place for place in (self.place, self.beside) if place is not None), *self.also]


@dataclass(frozen=True, slots=True)
class Committed(Generic[T]):
    """A job's result once it is durable, with the tlog-proof of its leaf."""

    result: T
    proof: str | None
    beside_proof: str | None = None


def asks_of(job: Job[object]) -> Asks | None:
    """What a job looks up, if it is one that only writes behind."""
    asks: Callable[[], Asks | None] | None = getattr(job, "asks", None)
    return None if asks is None else asks()
