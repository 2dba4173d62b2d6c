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
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

from referral_api.auditlog.checkpoint import Checkpoint, TrustPolicy, log_key, parse_checkpoint, verify_checkpoint
from referral_api.auditlog.erasures import Erasing, Erasures, erasing_leaves
from referral_api.auditlog.merkle import HASH_BYTES, Frontier, leaf_hash
from referral_api.auditlog.note import parse_note
from referral_api.auditlog.records import TreeHead
from referral_api.auditlog.report import (
    ABSENT,
    MAX_FAULTS_TOLD,
    Check,
    Fault,
    Head,
    OnProgress,
    RawRecord,
    Report,
    Source,
    Verdict,
    unheard,
)
from referral_api.auditlog.tiles import ENTRIES, TILE_WIDTH, Tile, TileName, parse_entries
from referral_api.auditlog.tiling import Tiling
from referral_api.auditlog.trail import Trail, tree_head
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import KeyUse
from referral_api.formats.statements import KeyMap

__all__ = ["Check", "Fault", "Head", "OnProgress", "RawRecord", "Report", "Source", "Verdict", "unheard", "verify_full"]


def verify_full(
    source: Source,
    root: bytes,
    years: Sequence[int],
    pins: Mapping[str, Head],
    *,
    issuer: str | None = None,
    relied: Mapping[str, Head] = MappingProxyType({}),
    progress: OnProgress = unheard,
) -> Report:
    """Verify the keys log and the audit logs of these years, in order, from the first leaf.

    `root` is the pinned SHA-256 of the keys log's first leaf, `pins` the heads seen before, by origin; `years` are
    those that have a log, from the year of the exchange's founding: that none is left out, the logs' own first and last
    leaves prove, each of which names the next one's neighbour. Leaves that a head of `relied` covers were verified
    whole before: they are hashed, opened and folded again, but the signatures of their acts are not verified again.
    `progress` is told of `leaves` read and of leaves `verified` with all behind them. Raises only what the source
    raises because it cannot be read at all (UNREACHABLE); everything else is in the report.
    """
    return _Walk(source, pins, relied, progress).run(root, years, issuer)


class _Growing:
    """The leaves of one log as they are read, bundle by bundle: their root now, and at sizes that were known before."""

    def __init__(self, known: Sequence[Head]) -> None:
        self._known = known
        self._frontier = Frontier()
        self._roots: dict[int, bytes] = {}

    @property
    def size(self) -> int:
        return self._frontier.size

    @property
    def root(self) -> bytes:
        return self._frontier.root()

    def take(self, hashes: Sequence[bytes]) -> None:
        """The hashes of the next leaves. What was known in the midst of them is computed on the way."""
        start, at = self.size, 0
        for stop in sorted({head.size for head in self._known if start < head.size <= start + len(hashes)}):
            self._frontier = self._frontier.extend(hashes[at : stop - start])
            self._roots[stop], at = self.root, stop - start
        self._frontier = self._frontier.extend(hashes[at:])

    def judge(self) -> None:
        """Raise INCONSISTENT unless everything that was known before is a beginning of this."""
        for head in self._known:
            if head.size > self.size:
                raise ReferralError(ErrorCode.INCONSISTENT, reason="shrunk", pinned=head.size, found=self.size)
            if head.size and self._roots[head.size] != head.root:
                raise ReferralError(ErrorCode.INCONSISTENT, reason="forked", pinned=head.size)


class _Tiles:
    """The hash tiles of one log, held against what its leaves make them as these are read: whoever reads proofs from
    tiles must not be led astray.
    """

    def __init__(self, source: Source, log: str) -> None:
        self._source = source
        self._log = log
        self._tiling = Tiling()
        self.count = 0
        self.faults: list[tuple[ReferralError, bytes | None]] = []
        """Why a tile does not hold, and the tile; of very many only the first."""

    def take(self, hashes: Sequence[bytes]) -> None:
        self._hold(self._tiling.take(hashes))

    def finish(self) -> None:
        """The partial ones along the edge."""
        self._hold(self._tiling.edge())

    def _hold(self, tiles: Sequence[Tile]) -> None:
        for tile in tiles:
            name, raw = TileName(tile.level, tile.index, len(tile.hashes) // HASH_BYTES), None
            facts = {"level": name.level, "index": name.index, "width": name.width}
            error = ReferralError(ErrorCode.TAMPERED, what="tile", **facts)
            self.count += 1
            try:
                raw = self._source.tile(self._log, name)
            except ReferralError as unread:
                if unread.code is ErrorCode.UNREACHABLE:
                    raise
                error = unread
            if raw != tile.hashes and len(self.faults) < MAX_FAULTS_TOLD:
                self.faults.append((error, raw))


@dataclass(frozen=True, slots=True)
class _Tree:
    """A log as its tree was read: its checkpoint, how many leaves there were to be had, and the root over these."""

    raw: bytes
    checkpoint: Checkpoint
    size: int
    root: bytes

    @property
    def whole(self) -> bool:
        """Whether every leaf was there, be they what the checkpoint says or not."""
        return self.size == self.checkpoint.size


class _Walk:
    def __init__(
        self, source: Source, pins: Mapping[str, Head], relied: Mapping[str, Head], progress: OnProgress
    ) -> None:
        self._source = source
        self._pins = pins
        self._relied = relied
        self._progress = progress
        self._report = Report()

    def run(self, root: bytes, years: Sequence[int], issuer: str | None) -> Report:
        keys_leaves: list[bytes] = []
        final = self._keys_log(root, issuer, keys_leaves)
        if final is None:
            return self._report
        erasing: list[Erasing] = []
        trees = {year: self._audit_tree(year, final, erasing) for year in years}
        trail = Trail(self._report, keys_leaves, root, self._erasures(trees, erasing, final))
        for before, year, after in zip((None, *years), years, (*years[1:], None), strict=False):
            self._year(year, trees[year], trail, final, (before, after))
        self._report.exhibits = {}
        trail.both_logs()
        return self._report

    # The keys log: replicated whole, folded from its pinned first leaf.

    def _keys_log(self, root: bytes, issuer: str | None, into: list[bytes]) -> KeyMap | None:
        folded: list[KeyMap] = []

        def judge_genesis() -> None:
            width = min(TILE_WIDTH, parse_checkpoint(parse_note(self._source.checkpoint("keys")).text).size)
            if width == 0:
                raise ReferralError(ErrorCode.INCONSISTENT, reason="empty")
            first = parse_entries(self._source.tile("keys", TileName(ENTRIES, 0, width)), width)[0]
            keymap = KeyMap.start(first, root=root)
            if issuer is not None and keymap.issuer != issuer:
                raise ReferralError(ErrorCode.WRONG_ROOT, reason="issuer")
            folded.append(keymap)

        if not self._report.hold(Check.KEYS_LOG, "keys", 0, judge_genesis):
            return None
        keymap = folded[0]
        leaves: list[bytes] = []
        tree = self._read("keys", keymap, lambda _, some: leaves.extend(some))
        if tree is None or not tree.whole:
            return None
        relied = self._report.relied.get("keys", 0)
        for index, leaf in enumerate(leaves[1:], 1):
            fold = partial(keymap.extend, leaf, verify=index >= relied)
            self._report.exhibits["leaf"] = leaf
            if not self._report.hold(Check.KEYS_LOG, "keys", index, fold):
                return None
        into.extend(leaves)
        return keymap

    # Any log: checkpoint, growth, leaves, tiles. What is read is handed on at once: a log can be long.

    def _read(self, log: str, keymap: KeyMap, take: Callable[[int, Sequence[bytes]], None]) -> _Tree | None:
        """Read a log's tree, handing on its leaves by the bundle, with the index of the first. None: no checkpoint."""
        checkpoint = self._checkpoint(log, keymap)
        if checkpoint is None:
            return None
        known = [heads[checkpoint.origin] for heads in (self._pins, self._relied) if checkpoint.origin in heads]
        if checkpoint.origin in self._relied:
            self._report.relied[log] = self._relied[checkpoint.origin].size
        growing, tiles, shown = _Growing(known), _Tiles(self._source, log), dict(self._report.exhibits)

        def judge_leaves() -> None:
            for start, leaves in self._bundles(log, checkpoint.size, checkpoint.size):
                hashes = [leaf_hash(leaf) for leaf in leaves]
                growing.take(hashes)
                tiles.take(hashes)
                take(start, leaves)
                self._progress(f"leaves {log}", growing.size, checkpoint.size)
            tiles.finish()
            if growing.root != checkpoint.root:
                raise ReferralError(ErrorCode.TAMPERED, what="leaves", **self._first_difference(log, checkpoint.size))

        whole = self._report.hold(Check.LEAVES, log, None, judge_leaves)
        self._report.exhibits = dict(shown)
        # Where the leaves themselves are not those of the root, tiles that differ from them say nothing more.
        whole = whole and self._note_tiles(log, tiles)
        grown = self._report.hold(Check.GROWTH, log, None, growing.judge)
        if whole and grown:
            self._report.heads[checkpoint.origin] = Head(checkpoint.origin, checkpoint.size, checkpoint.root)
        # Records can still be held against leaves that do not add up: that is how what changed gets its name.
        return _Tree(shown["checkpoint"], checkpoint, growing.size, growing.root)

    def _note_tiles(self, log: str, tiles: _Tiles) -> bool:
        self._report.counts[Check.LEAVES] += tiles.count
        shown = dict(self._report.exhibits)
        for error, raw in tiles.faults:
            self._report.exhibits = shown if raw is None else shown | {"tile": raw}
            self._report.note(Check.LEAVES, log, None, error, missing=error.code in ABSENT)
        self._report.exhibits = shown
        return not tiles.faults

    def _checkpoint(self, log: str, keymap: KeyMap) -> Checkpoint | None:
        origin = _origin(keymap, log)
        policy = TrustPolicy(log_key(origin, keymap.exchange_keys(KeyUse.LOG)[0].public))
        found: list[Checkpoint] = []

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

    def _audit_tree(self, year: int, final: KeyMap, erasing: list[Erasing]) -> _Tree | None:
        log = f"audit/{year}"
        return self._read(log, final, lambda start, leaves: erasing.extend(erasing_leaves(log, start, leaves)))

    def _erasures(self, trees: Mapping[int, _Tree | None], erasing: Sequence[Erasing], final: KeyMap) -> Erasures:
        """What the `erase` acts of all years name."""
        sizes = {f"audit/{year}": tree.checkpoint.size for year, tree in trees.items() if tree is not None}
        erasures = Erasures(final, sizes)
        erasures.gather(erasing, self._source)
        self._report.exhibits = {}
        for (log, index), error in erasures.faults:
            # An act may name a log that is only not to be had here.
            missing = error.facts.get("reason") == "origin" and None in trees.values()
            self._report.note(Check.RECORDS, log, index, error, missing=missing)
        self._report.final_states.update(erasures.states)
        return erasures

    def _year(
        self, year: int, tree: _Tree | None, trail: Trail, final: KeyMap, around: tuple[int | None, int | None]
    ) -> None:
        """Walk a year's log between its neighbours, the years whose logs it continues and is continued by."""
        log, (before, after) = f"audit/{year}", around
        if tree is None:
            trail.lack()
            return
        shown = {"checkpoint": tree.raw}
        last: RawRecord | None = None

        def walk() -> None:
            nonlocal last
            frontier = Frontier()
            for start, leaves in self._bundles(log, tree.checkpoint.size, tree.size):
                frontier = frontier.extend([leaf_hash(leaf) for leaf in leaves])
                records = self._records(year, start, len(leaves))
                if start == 0:
                    trail.begin_year(log, _origin(final, log), records.get(0), self._previous(before, final))
                for index, leaf in enumerate(leaves, start):
                    last = records.get(index)
                    self._report.exhibits = shown | _exhibits(leaf, last)
                    trail.leaf(log, index, leaf, last, relied=index < self._report.relied.get(log, 0))
                self._report.exhibits = dict(shown)
                self._progress(f"verified {log}", start + len(leaves), tree.checkpoint.size)
            if frontier.root() != tree.root:
                raise ReferralError(ErrorCode.TAMPERED, what="leaves", reason="read-twice")

        self._report.exhibits = dict(shown)
        if self._report.hold(Check.LEAVES, log, None, walk) and tree.whole:
            following = None if after is None else _origin(final, f"audit/{after}")
            trail.end_year(log, tree.size - 1, _origin(final, log), last, following)
        else:
            trail.lack()

    def _records(self, year: int, start: int, count: int) -> dict[int, RawRecord]:
        found: dict[int, RawRecord] = {}

        def read() -> None:
            found.update({one.index: one for one in self._source.records(year, start, count)})

        self._report.hold(Check.RECORDS, f"audit/{year}", None, read)
        return found

    def _previous(self, year: int | None, keymap: KeyMap) -> TreeHead | None:
        """The head of the log before; None before the first. A year that did not verify has told its own fault."""
        head = None if year is None else self._report.heads.get(_origin(keymap, f"audit/{year}"))
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
