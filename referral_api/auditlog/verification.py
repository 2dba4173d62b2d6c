"""The whole of R-95: verify an exchange's logs from their checkpoints down to every record, and say what does not hold.

First the keys log, folded from its pinned first leaf; then the tree of each year's audit log: checkpoint, growth from
what was pinned, leaves, tiles; then behind every leaf its record (trail.py). Trees come first because an `erase` act
stands behind what it takes, perhaps in a later year. Logs are read by the bundle, so that memory grows only with what
the fold must know (acts seen, referrals). The walk goes on after a fault, because an auditor needs to know everything
that is wrong, and reports "incomplete" wherever something that must be there is not.

Must never: open a file or connection (a `Source` does), stop at the first fault, or call anything verified that is not.

Implements: R-92, R-94, R-95; design §9; C2SP tlog-tiles for what a source serves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType

from referral_api.auditlog.announced import announced, read_genesis
from referral_api.auditlog.checkpoint import (
    Checkpoint,
    Cosignature,
    TrustPolicy,
    VerifiedCheckpoint,
    verify_checkpoint,
)
from referral_api.auditlog.coverage import Coverage
from referral_api.auditlog.erasures import Erasing, Erasures, erasing_leaves
from referral_api.auditlog.keyslog import demand_in_time, log_keys
from referral_api.auditlog.losses import LEAVES_TO_TELL, LostLog, read_lost
from referral_api.auditlog.merkle import HASH_BYTES, Frontier, leaf_hash
from referral_api.auditlog.policy import genesis_policy
from referral_api.auditlog.reading import Growing, Tiles
from referral_api.auditlog.records import TreeHead
from referral_api.auditlog.report import (
    Check,
    Fault,
    Head,
    OnProgress,
    RawRecord,
    Report,
    Source,
    Told,
    Verdict,
    is_absent,
    unheard,
)
from referral_api.auditlog.tiles import ENTRIES, TILE_WIDTH, TileName, parse_entries
from referral_api.auditlog.trail import Trail, tree_head
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.terms import Term
from referral_api.formats.statements import KeyMap

__all__ = ["Check", "Fault", "Head", "OnProgress", "RawRecord", "Report", "Source", "Verdict", "unheard", "verify_full"]


def verify_full(
    source: Source,
    root: bytes,
    terms: Sequence[Term],
    pins: Mapping[str, Head],
    *,
    issuer: str | None = None,
    relied: Mapping[str, Head] = MappingProxyType({}),
    progress: OnProgress = unheard,
    now: int | None = None,
) -> Report:
    """Verify the keys log and the audit logs of these years, in order, from the first leaf.

    `root` is the pinned SHA-256 of the keys log's first leaf, `pins` the heads seen before, by origin; `years` are
    those that have a log, from the year of the exchange's founding: that none is left out, the logs' own first and last
    leaves prove, each of which names the next one's neighbour. Leaves that a head of `relied` covers were verified
    whole before: they are hashed, opened and folded again, but the signatures of their acts are not verified again.
    `progress` is told of `leaves` read and of leaves `verified` with all behind them. No leaf may be dated after `now`,
    the reader's own time. Raises only what the source raises because it cannot be read at all (UNREACHABLE).
    """
    return _Walk(source, pins, relied, progress).run(root, terms, issuer, now)


@dataclass(frozen=True, slots=True)
class _Tree:
    """A log as its tree was read: its checkpoint, how many leaves there were to be had, and the root over these."""

    raw: bytes
    checkpoint: VerifiedCheckpoint
    size: int
    root: bytes
    expected: int
    """How many there must be: the checkpoint's, but of a log that has lost leaves."""
    grown: bool

    @property
    def whole(self) -> bool:
        """Whether every leaf was there that can be, be they what the checkpoint says or not."""
        return self.size == self.expected


class _Walk:
    def __init__(
        self, source: Source, pins: Mapping[str, Head], relied: Mapping[str, Head], progress: OnProgress
    ) -> None:
        self._source = source
        self._pins = pins
        self._relied = relied
        self._progress = progress
        self._report = Report()
        self._coverage = Coverage(self._report, source)
        self._lost: dict[Term, LostLog] = {}
        """The logs that have lost leaves, as the beginning of the next term says, which is verified in its turn."""

    def run(self, root: bytes, terms: Sequence[Term], issuer: str | None, now: int | None) -> Report:
        keys_leaves: list[bytes] = []
        final = self._keys_log(root, issuer, keys_leaves)
        if final is None:
            return self._report
        erasing: list[Erasing] = []
        self._find_lost(terms, final)
        trees = {term: self._audit_tree(term, final, erasing) for term in terms}
        trail = Trail(self._report, keys_leaves, root, self._erasures(trees, erasing, final), now)
        for before, term, after in zip((None, *terms), terms, (*terms[1:], None), strict=False):
            self._term(term, trees[term], trail, final, (before, after))
        self._report.exhibits = {}
        trail.both_logs()
        self._coverage.settle()
        return self._report

    # The keys log: replicated whole, folded from its pinned first leaf.

    def _keys_log(self, root: bytes, issuer: str | None, into: list[bytes]) -> KeyMap | None:
        folded: list[KeyMap] = []

        def judge_genesis() -> None:
            folded.append(read_genesis(self._source, root, issuer))

        if not self._report.hold(Check.KEYS_LOG, "keys", 0, judge_genesis):
            return None
        keymap = folded[0]
        leaves: list[bytes] = []
        tree = self._read("keys", announced(self._source, keymap), lambda _, some: leaves.extend(some), None)
        if tree is None or not tree.whole:
            return None
        relied = self._report.relied.get("keys", 0)
        for index, leaf in enumerate(leaves[1:], 1):
            fold = partial(keymap.extend, leaf, verify=index >= relied)
            self._report.exhibits["leaf"] = leaf
            if not self._report.hold(Check.KEYS_LOG, "keys", index, fold):
                return None
        self._demand_in_time("keys", keymap, tree.checkpoint, keymap.clock)
        into.extend(leaves)
        return keymap

    def _demand_in_time(self, log: str, keymap: KeyMap, checkpoint: VerifiedCheckpoint, time: int) -> None:
        try:
            demand_in_time(keymap, checkpoint, time)
        except ReferralError as error:
            self._report.note(Check.CHECKPOINT, log, None, error)

    # Any log: checkpoint, growth, leaves, tiles. What is read is handed on at once: a log can be long.

    def _read(
        self, log: str, keymap: KeyMap, take: Callable[[int, Sequence[bytes]], None], lost: LostLog | None
    ) -> _Tree | None:
        """Read a log's tree, handing on its leaves by the bundle, with the index of the first. None: no checkpoint.

        Of a log that has lost leaves those are read that can be had, and the others noted.
        """
        trusted = genesis_policy(keymap.genesis).trust(*log_keys(keymap, log))
        checkpoint = self._checkpoint(log, trusted)
        if checkpoint is None:
            return None
        size = checkpoint.size if lost is None else self._note_lost(log, checkpoint, lost, trusted)
        known = [heads[checkpoint.origin] for heads in (self._pins, self._relied) if checkpoint.origin in heads]
        covered = self._coverage.quorum(log, checkpoint, trusted) if lost is None else None
        if covered is not None:
            known.append(covered)
        if checkpoint.origin in self._relied:
            self._report.relied[log] = min(size, self._relied[checkpoint.origin].size)
        if lost is not None:
            known.append(Head(checkpoint.origin, lost.kept, lost.kept_root))
        growing, tiles, shown = Growing(known), Tiles(self._source, log), dict(self._report.exhibits)

        def judge_leaves() -> None:
            for start, leaves in self._bundles(log, size, size):
                hashes = [leaf_hash(leaf) for leaf in leaves]
                growing.take(hashes)
                tiles.take(hashes)
                take(start, leaves)
                self._coverage.take(log, start, leaves)
                self._progress(f"leaves {log}", growing.size, size)
            tiles.finish()
            if size == checkpoint.size and growing.root != checkpoint.root:
                raise ReferralError(ErrorCode.TAMPERED, what="leaves", **self._first_difference(log, checkpoint.size))

        whole = self._report.hold(Check.LEAVES, log, None, judge_leaves)
        self._report.exhibits = dict(shown)
        # Where the leaves themselves are not those of the root, tiles that differ from them say nothing more.
        whole = whole and self._note_tiles(log, tiles)
        grown = self._report.hold(Check.GROWTH, log, None, partial(growing.judge, checkpoint.size, lost))
        if whole and grown and all(head.size <= size for head in known):
            self._report.heads[checkpoint.origin] = Head(checkpoint.origin, size, growing.root)
        # Records can still be held against leaves that do not add up: that is how what changed gets its name.
        return _Tree(shown["checkpoint"], checkpoint, growing.size, growing.root, size, grown=grown)

    def _find_lost(self, terms: Sequence[Term], keymap: KeyMap) -> None:
        """What the terms that follow a loss say of it."""
        for term in terms:
            if (before := term.before) is None:
                continue

            def read(term: Term = term, before: Term = before) -> None:
                found = {one.index: one.record for one in self._source.records(term, 0, LEAVES_TO_TELL)}
                if not {0, 1} <= found.keys():
                    raise ReferralError(ErrorCode.NOT_FOUND, what="record")
                self._lost[before] = read_lost(term, _origin(keymap, before.log), found[0], found[1])

            self._report.hold(Check.GROWTH, term.log, 1, read)

    def _note_lost(self, log: str, checkpoint: Checkpoint, lost: LostLog, trusted: TrustPolicy) -> int:
        """How many leaves of a log can be had that has lost some; notes how many cannot."""

        def judge() -> None:
            lost.admit(checkpoint.size, checkpoint.root)
            if lost.authority == "witnesses" and checkpoint.size == lost.size:
                trusted.verify_quorum({one.key for one in self._cosigned(trusted) if one.cosigned_s})

        self._report.hold(Check.CHECKPOINT, log, None, judge)
        witnesses = tuple(sorted({one.witness for one in self._cosigned(trusted) if one.cosigned_s}))
        relied = self._relied.get(checkpoint.origin)
        here = [lost.kept] if relied is None else [lost.kept, min(relied.size, checkpoint.size)]
        size = checkpoint.size if self._has(log, checkpoint.size) else max(here)
        self._report.lost.append(Told(lost, witnesses, size))
        if size < lost.signed:
            facts = {"log": log, "kept": size, "lost": lost.signed - size, "checkpoint": lost.size}
            error = ReferralError(ErrorCode.NOT_FOUND, what="leaves", reason="lost", **facts)
            self._report.note(Check.LEAVES, log, size, error, missing=True)
        return size

    def _cosigned(self, trusted: TrustPolicy) -> tuple[Cosignature, ...]:
        raw = self._report.exhibits["checkpoint"]
        return verify_checkpoint(raw, replace(trusted, quorum=0)).cosignatures

    def _has(self, log: str, size: int) -> bool:
        """Whether the last leaves of so many can be had: somebody else may still have what the exchange has lost."""
        start = (size - 1) // TILE_WIDTH * TILE_WIDTH
        try:
            parse_entries(self._source.tile(log, TileName(ENTRIES, start // TILE_WIDTH, size - start)), size - start)
        except ReferralError as error:
            if error.code is ErrorCode.UNREACHABLE:
                raise
            return False
        return True

    def _note_tiles(self, log: str, tiles: Tiles) -> bool:
        self._report.counts[Check.LEAVES] += tiles.count
        shown = dict(self._report.exhibits)
        for error, raw in tiles.faults:
            self._report.exhibits = shown if raw is None else shown | {"tile": raw}
            self._report.note(Check.LEAVES, log, None, error, missing=is_absent(error))
        self._report.exhibits = shown
        return not tiles.faults

    def _checkpoint(self, log: str, trusted: TrustPolicy) -> VerifiedCheckpoint | None:
        # Whatever a known witness is said to have signed must be so, be it enough or not.
        policy = replace(trusted, quorum=0)
        found: list[VerifiedCheckpoint] = []

        def judge_checkpoint() -> None:
            raw = self._source.checkpoint(log)
            self._report.exhibits["checkpoint"] = raw
            checkpoint = verify_checkpoint(raw, policy)
            if checkpoint.size == 0:
                raise ReferralError(ErrorCode.INCONSISTENT, reason="empty")
            found.append(checkpoint)

        self._report.exhibits = {}
        self._report.hold(Check.CHECKPOINT, log, None, judge_checkpoint)
        return found[0] if found else None

    def _bundles(self, log: str, size: int, stop: int) -> Iterator[tuple[int, list[bytes]]]:
        """The bundles of a log of `size` that begin before index `stop`, each with the index of its first leaf."""
        for start in range(0, stop, TILE_WIDTH):
            width = min(TILE_WIDTH, size - start)
            yield start, parse_entries(self._source.tile(log, TileName(ENTRIES, start // TILE_WIDTH, width)), width)

    def _first_difference(self, log: str, size: int) -> dict[str, int]:
        """The first leaf that is not what its tile commits to, where the tiles can tell."""
        for start in range(0, size, TILE_WIDTH):
            width = min(TILE_WIDTH, size - start)
            try:
                entries = self._source.tile(log, TileName(ENTRIES, start // TILE_WIDTH, width))
                tile = self._source.tile(log, TileName(0, start // TILE_WIDTH, width))
                leaves = parse_entries(entries, width)
            except ReferralError:
                return {}
            for at, leaf in enumerate(leaves):
                if tile[at * HASH_BYTES : (at + 1) * HASH_BYTES] != leaf_hash(leaf):
                    self._report.exhibits |= {"entries": entries, "tile": tile}
                    return {"index": start + at}
        return {}

    # The audit log of one year, record by record.

    def _audit_tree(self, term: Term, final: KeyMap, erasing: list[Erasing]) -> _Tree | None:
        log = term.log
        lost = self._lost.get(term)
        kept = None if lost is None else lost.kept

        def take(start: int, leaves: Sequence[bytes]) -> None:
            # What only others still have of a log counts for nothing at the exchange, which has lost it.
            erasing.extend(one for one in erasing_leaves(log, start, leaves) if kept is None or one[1] < kept)

        return self._read(log, final, take, lost)

    def _erasures(self, trees: Mapping[Term, _Tree | None], erasing: Sequence[Erasing], final: KeyMap) -> Erasures:
        """What the `erase` acts of all years name."""
        sizes = {term.log: tree.checkpoint.size for term, tree in trees.items() if tree is not None}
        erasures = Erasures(final, sizes)
        erasures.gather(erasing, self._source)
        self._report.exhibits = {}
        for (log, index), error in erasures.faults:
            # An act may name a log that is only not to be had here.
            missing = error.facts.get("reason") == "origin" and None in trees.values()
            self._report.note(Check.RECORDS, log, index, error, missing=missing)
        self._report.final_states.update(erasures.states)
        return erasures

    def _term(
        self, term: Term, tree: _Tree | None, trail: Trail, final: KeyMap, around: tuple[Term | None, Term | None]
    ) -> None:
        """Walk a year's log between its neighbours, the years whose logs it continues and is continued by."""
        log, (before, after) = term.log, around
        if tree is None:
            trail.lack()
            return
        shown, lost = {"checkpoint": tree.raw}, self._lost.get(term)
        last: RawRecord | None = None

        def walk() -> None:
            nonlocal last
            frontier = Frontier()
            for start, leaves in self._bundles(log, tree.expected, tree.size):
                frontier = frontier.extend([leaf_hash(leaf) for leaf in leaves])
                records = self._records(term, start, len(leaves))
                if start == 0:
                    trail.begin_term(log, _origin(final, log), records.get(0), self._previous(before, final))
                for index, leaf in enumerate(leaves, start):
                    last = records.get(index)
                    self._report.exhibits = shown | _exhibits(leaf, last)
                    relied = index < self._report.relied.get(log, 0)
                    trail.leaf(log, index, leaf, last, relied=relied, lost=lost is not None and index >= lost.kept)
                self._report.exhibits = dict(shown)
                self._progress(f"verified {log}", start + len(leaves), tree.checkpoint.size)
            if frontier.root() != tree.root:
                raise ReferralError(ErrorCode.TAMPERED, what="leaves", reason="read-twice")
            self._demand_in_time(log, final, tree.checkpoint, trail.logged_s)

        self._report.exhibits = dict(shown)
        if not self._report.hold(Check.LEAVES, log, None, walk) or not tree.whole:
            trail.lack()
        elif lost is None:
            following = None if after is None else _origin(final, f"audit/{after}")
            trail.end_term(log, tree.size - 1, _origin(final, log), last, following)

    def _records(self, term: Term, start: int, count: int) -> dict[int, RawRecord]:
        found: dict[int, RawRecord] = {}

        def read() -> None:
            found.update({one.index: one for one in self._source.records(term, start, count)})

        self._report.hold(Check.RECORDS, term.log, None, read)
        return found

    def _previous(self, term: Term | None, keymap: KeyMap) -> TreeHead | None:
        """The head of the log before; None before the first. A year that did not verify has told its own fault."""
        if term in self._lost:
            lost = self._lost[term]
            return tree_head(lost.origin, lost.kept, lost.kept_root)
        head = None if term is None else self._report.heads.get(_origin(keymap, term.log))
        return None if head is None else tree_head(head.origin, head.size, head.root)


def _exhibits(leaf: bytes, found: RawRecord | None) -> dict[str, bytes]:
    shown = {"leaf": leaf}
    if found is not None:
        shown["record"] = found.record
        if found.receipt is not None:
            shown["receipt"] = found.receipt
    return shown


def _origin(keymap: KeyMap, log: str) -> str:
    return f"{keymap.issuer.partition('://')[2]}/v1/log/{log}"
