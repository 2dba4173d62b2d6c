"""The whole of R-95: verify an exchange's logs from their checkpoints down to every record, and say what does not hold.

First the keys log, folded from its pinned first leaf; then each year's audit log: checkpoint, growth from what was
pinned, leaves, and behind every leaf its record (trail.py). The walk goes on after a fault, because an auditor needs to
know everything that is wrong, and reports "incomplete" wherever something that must be there is not.

Must never: open a file or connection (a `Source` does), stop at the first fault, or call anything verified that is not.

Implements: R-92, R-94, R-95; design §9; C2SP tlog-tiles for what a source serves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from referral_api.auditlog.checkpoint import Checkpoint, TrustPolicy, log_key, parse_checkpoint, verify_checkpoint
from referral_api.auditlog.erasures import Erasures
from referral_api.auditlog.leaf import parse_leaf
from referral_api.auditlog.merkle import HASH_BYTES, Frontier, leaf_hash
from referral_api.auditlog.note import parse_note
from referral_api.auditlog.records import TreeHead
from referral_api.auditlog.report import Check, Fault, Head, OnProgress, RawRecord, Report, Source, Verdict, unheard
from referral_api.auditlog.tiles import ENTRIES, TILE_WIDTH, Tile, TileName, parse_entries
from referral_api.auditlog.tiling import Tiling
from referral_api.auditlog.trail import Trail, tree_head
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import KeyUse
from referral_api.formats.statements import KeyMap

__all__ = ["Check", "Fault", "Head", "OnProgress", "RawRecord", "Report", "Source", "Verdict", "unheard", "verify_full"]
_ERASE = b'"k":"erase"'
_STEP = 32
"""Records between two words of progress: one costs about a millisecond."""


def verify_full(
    source: Source,
    root: bytes,
    years: Sequence[int],
    pins: Mapping[str, Head],
    *,
    issuer: str | None = None,
    progress: OnProgress = unheard,
) -> Report:
    """Verify the keys log and the audit logs of these years, in order, from scratch.

    `root` is the pinned SHA-256 of the keys log's first leaf, `pins` the heads verified before, by origin; `years` are
    those that have a log, from the year of the exchange's founding: that none is left out, the logs' own first and last
    leaves prove, each of which names the next one's neighbour. `progress` is told of `leaves`, of `records` read and of
    `verified` ones. Raises only what the source raises because it cannot be read at all (UNREACHABLE); everything else
    is in the report.
    """
    return _Walk(source, pins, progress).run(root, years, issuer)


class _Walk:
    def __init__(self, source: Source, pins: Mapping[str, Head], progress: OnProgress) -> None:
        self._source = source
        self._pins = pins
        self._progress = progress
        self._report = Report()

    def run(self, root: bytes, years: Sequence[int], issuer: str | None) -> Report:
        keys_leaves: list[bytes] = []
        final = self._keys_log(root, issuer, keys_leaves)
        if final is None:
            return self._report
        logs = {year: self._leaves(f"audit/{year}", final) for year in years}
        trail = Trail(self._report, keys_leaves, root, self._erasures(logs, final))
        for before, year, after in zip((None, *years), years, (*years[1:], None), strict=False):
            leaves = logs[year]
            if leaves is not None:
                self._year(year, leaves, trail, final, (before, after))
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
        leaves = self._leaves("keys", keymap)
        if leaves is None:
            return None
        for index, leaf in enumerate(leaves[1:], 1):
            if not self._report.hold(Check.KEYS_LOG, "keys", index, partial(keymap.extend, leaf)):
                return None
        into.extend(leaves)
        return keymap

    # Any log: checkpoint, growth, leaves.

    def _leaves(self, log: str, keymap: KeyMap) -> list[bytes] | None:
        origin = _origin(keymap, log)
        policy = TrustPolicy(log_key(origin, keymap.exchange_keys(KeyUse.LOG)[0].public))
        found: list[Checkpoint] = []
        leaves: list[bytes] = []

        def judge_checkpoint() -> None:
            checkpoint = verify_checkpoint(self._source.checkpoint(log), policy)
            if checkpoint.size == 0:
                raise ReferralError(ErrorCode.INCONSISTENT, reason="empty")
            found.append(checkpoint)

        def judge_leaves() -> None:
            leaves.extend(self._read_leaves(log, found[0].size))
            if Frontier().extend([leaf_hash(leaf) for leaf in leaves]).root() != found[0].root:
                raise ReferralError(ErrorCode.TAMPERED, what="leaves", **self._first_difference(log, leaves))

        def judge_growth() -> None:
            pin = self._pins.get(origin)
            if pin is None:
                return
            if pin.size > len(leaves):
                raise ReferralError(ErrorCode.INCONSISTENT, reason="shrunk", pinned=pin.size, found=len(leaves))
            if Frontier().extend([leaf_hash(leaf) for leaf in leaves[: pin.size]]).root() != pin.root:
                raise ReferralError(ErrorCode.INCONSISTENT, reason="forked", pinned=pin.size)

        if not self._report.hold(Check.CHECKPOINT, log, None, judge_checkpoint):
            return None
        whole = self._report.hold(Check.LEAVES, log, None, judge_leaves) and self._tiles(log, leaves)
        grown = self._report.hold(Check.GROWTH, log, None, judge_growth)
        if whole and grown:
            self._report.heads[origin] = Head(origin, found[0].size, found[0].root)
        # Records can still be held against leaves that do not add up: that is how what changed gets its name.
        return leaves if len(leaves) == found[0].size else None

    def _tiles(self, log: str, leaves: Sequence[bytes]) -> bool:
        """Every tile is what the leaves make it: whoever reads proofs from tiles must not be led astray."""
        tiling = Tiling()

        def judge(tile: Tile) -> None:
            width = len(tile.hashes) // HASH_BYTES
            if self._source.tile(log, TileName(tile.level, tile.index, width)) != tile.hashes:
                raise ReferralError(ErrorCode.TAMPERED, what="tile", level=tile.level, index=tile.index, width=width)

        tiles = [*tiling.take([leaf_hash(leaf) for leaf in leaves]), *tiling.edge()]
        held = [self._report.hold(Check.LEAVES, log, None, partial(judge, tile)) for tile in tiles]
        return all(held)

    def _read_leaves(self, log: str, size: int) -> Iterator[bytes]:
        for index in range(-(-size // TILE_WIDTH)):
            width = min(TILE_WIDTH, size - index * TILE_WIDTH)
            yield from parse_entries(self._source.tile(log, TileName(ENTRIES, index, width)), width)
            self._progress(f"leaves {log}", index * TILE_WIDTH + width, size)

    def _first_difference(self, log: str, leaves: Sequence[bytes]) -> dict[str, int]:
        """The first leaf that is not what its tile commits to, where the tiles can tell."""
        for index in range(-(-len(leaves) // TILE_WIDTH)):
            width = min(TILE_WIDTH, len(leaves) - index * TILE_WIDTH)
            try:
                hashes = self._source.tile(log, TileName(0, index, width))
            except ReferralError:
                return {}
            for at in range(width):
                place = index * TILE_WIDTH + at
                if hashes[at * HASH_BYTES : (at + 1) * HASH_BYTES] != leaf_hash(leaves[place]):
                    return {"index": place}
        return {}

    # The audit log of one year, record by record.

    def _erasures(self, logs: Mapping[int, Sequence[bytes] | None], keymap: KeyMap) -> Erasures:
        """What the `erase` acts of all years name; each stands behind what it takes, perhaps in a later year."""
        sizes = {f"audit/{year}": len(leaves) for year, leaves in logs.items() if leaves is not None}
        erasures = Erasures(keymap, sizes)
        for year, leaves in logs.items():
            for index, raw in enumerate(leaves or ()):
                if _ERASE in raw:
                    self._take(erasures, year, index, raw)
        for (log, index), error in erasures.faults:
            self._report.note(Check.RECORDS, log, index, error)
        self._report.final_states.update(erasures.states)
        return erasures

    def _take(self, erasures: Erasures, year: int, index: int, raw: bytes) -> None:
        try:
            leaf = parse_leaf(raw)
            for found in self._source.records(year, index, 1):
                if found.index == index:
                    erasures.take(f"audit/{year}", leaf, found)
        except ReferralError as error:
            # Whatever is wrong with it, the walk finds and names it in its place.
            if error.code is ErrorCode.UNREACHABLE:
                raise

    def _year(
        self, year: int, leaves: Sequence[bytes], trail: Trail, final: KeyMap, around: tuple[int | None, int | None]
    ) -> None:
        """Walk a year's log between its neighbours, the years whose logs it continues and is continued by."""
        log, (before, after) = f"audit/{year}", around
        records: dict[int, RawRecord] = {}
        for start in range(0, len(leaves), TILE_WIDTH):
            count = min(TILE_WIDTH, len(leaves) - start)

            def read(start: int = start, count: int = count) -> None:
                records.update({one.index: one for one in self._source.records(year, start, count)})

            self._report.hold(Check.RECORDS, log, None, read)
            self._progress(f"records {log}", start + count, len(leaves))
        trail.begin_year(log, _origin(final, log), records.get(0), self._previous(before, final))
        for index, raw_leaf in enumerate(leaves):
            trail.leaf(log, index, raw_leaf, records.get(index))
            if index % _STEP == 0 or index + 1 == len(leaves):
                self._progress(f"verified {log}", index + 1, len(leaves))
        following = None if after is None else _origin(final, f"audit/{after}")
        trail.end_year(log, len(leaves) - 1, _origin(final, log), records.get(len(leaves) - 1), following)

    def _previous(self, year: int | None, keymap: KeyMap) -> TreeHead | None:
        """The head of the log before; None before the first. A year that did not verify has told its own fault."""
        head = None if year is None else self._report.heads.get(_origin(keymap, f"audit/{year}"))
        return None if head is None else tree_head(head.origin, head.size, head.root)


def _origin(keymap: KeyMap, log: str) -> str:
    return f"{keymap.issuer.partition('://')[2]}/v1/log/{log}"
