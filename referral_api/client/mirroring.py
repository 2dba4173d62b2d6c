"""A mirror of the logs on disk: the static form of C2SP tlog-tiles, which other people's tools read unchanged, with the
records behind the leaves beside it.

Nothing is written before it is known to belong to a tree that the log's key has signed and that continues the tree of
the mirror as it is: from the checkpoint's root down to each tile, from the tiles to the entries, from the entries to
the records. So a mirror never goes back, never forks, and may be interrupted anywhere: it is the older one until the
checkpoint, written last, has its new name.

Must never: write a byte that does not verify, or leave a checkpoint ahead of its tiles.

Implements: R-90, R-94; C2SP tlog-tiles v0.1.0; design §9.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from itertools import chain
from pathlib import Path

from referral_api.auditlog.checkpoint import TrustPolicy, VerifiedCheckpoint, verify_checkpoint
from referral_api.auditlog.leaf import parse_leaf
from referral_api.auditlog.merkle import HASH_BYTES, Frontier, leaf_hash, verify_consistency
from referral_api.auditlog.report import OnProgress, RawRecord, Source, unheard
from referral_api.auditlog.tiles import ENTRIES, TILE_WIDTH, TileName, TileReader, parse_entries, tile_width, tiles_of
from referral_api.client.sources import MirrorSource, block_path, encode_records, put
from referral_api.client.trust import audit_policy, entry_bundles, keys_policy
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.formats.statements import KeyMap
from referral_api.formats.strict_json import b64u


def policies(keymap: KeyMap, years: Sequence[int]) -> Mapping[str, TrustPolicy]:
    """The logs of these years and the keys log, and whom to believe about each."""
    return {"keys": keys_policy(keymap)} | {f"audit/{year}": audit_policy(keymap, year) for year in years}


def mirror(
    source: Source, keymap: KeyMap, path: Path, years: Sequence[int], progress: OnProgress = unheard
) -> dict[str, int]:
    """Copy the keys log and the audit logs of these years, or bring a copy up to date; sizes by log.

    `progress` is told of `leaves` and `records`. Raises what `verify_checkpoint` raises; INCONSISTENT (`shrunk`,
    `forked`, or as `verify_consistency`) where the source does not continue this mirror, TAMPERED (`tile`, `leaves`,
    `record`) and NOT_FOUND for what does not belong to the signed tree or is not to be had.
    """
    sizes: dict[str, int] = {}
    for log, policy in policies(keymap, years).items():
        copy = _Copy(source, log, path / log, policy)
        copy.hashes()
        copy.entries(progress)
        if log != "keys":
            copy.records(path, int(log.partition("/")[2]), progress)
        sizes[log] = copy.finish()
    return sizes


class _Copy:
    """One log on its way from a source to a folder."""

    def __init__(self, source: Source, log: str, folder: Path, policy: TrustPolicy) -> None:
        self._source = source
        self._log = log
        self._folder = folder
        self._raw = source.checkpoint(log)
        self._new = verify_checkpoint(self._raw, policy)
        self._old = self._held(policy)
        self._fetched: dict[tuple[int, int], bytes] = {}

    @property
    def _size(self) -> int:
        return self._new.size

    def _held(self, policy: TrustPolicy) -> VerifiedCheckpoint | None:
        target = self._folder / "checkpoint"
        if not target.exists():
            return None
        old = verify_checkpoint(target.read_bytes(), policy)
        if old.size > self._new.size:
            raise ReferralError(ErrorCode.INCONSISTENT, reason="shrunk", pinned=old.size, found=self._new.size)
        if old.size == self._new.size and old.root != self._new.root:
            raise ReferralError(ErrorCode.INCONSISTENT, reason="forked", pinned=old.size)
        return old

    # Hash tiles: each is proved by the one above it, the right edge by the root.

    def hashes(self) -> None:
        """Every hash tile of the new tree, once it is seen to continue the mirror's."""
        self._edge()
        if self._old is not None and 0 < self._old.size < self._size:
            proof = TileReader(self._size, self._tile).consistency_proof(self._old.size)
            verify_consistency(self._old.size, self._old.root, self._size, self._new.root, proof)
        for name in sorted(tiles_of(self._size), key=lambda one: -one.level):
            target = self._folder / name.path()
            if not target.exists():
                put(target, self._tile(name.level, name.index, name.width))
            if name.level == 0:
                # What is below nothing is needed no more; the levels above are few.
                self._fetched.pop((0, name.index), None)

    def _edge(self) -> None:
        """The partial tiles hold all subtrees along the right edge, and so the root."""
        edge = {(one.level, one.index): one for one in tiles_of(self._size) if one.width < TILE_WIDTH}
        for place, name in edge.items():
            raw = self._read(name)
            if len(raw) != name.width * HASH_BYTES:
                raise ReferralError(ErrorCode.TAMPERED, what="tile", level=name.level, index=name.index)
            self._fetched[place] = raw
        reader = TileReader(self._size, lambda level, index, _: self._fetched[level, index])
        levels = [level for level in range(self._size.bit_length() - 1, -1, -1) if self._size >> level & 1]
        nodes = tuple(reader(level, (self._size >> level) - 1) for level in levels)
        if Frontier(self._size, nodes).root() != self._new.root:
            raise ReferralError(ErrorCode.TAMPERED, what="tile", reason="root")

    def _tile(self, level: int, index: int, width: int) -> bytes:
        """A tile that belongs to the new tree. `width` is the whole of it: partial ones are all known (`_edge`)."""
        known = self._fetched.get((level, index))
        if known is not None:
            return known[: width * HASH_BYTES]
        raw = self._read(TileName(level, index))
        hashes = [raw[at : at + HASH_BYTES] for at in range(0, len(raw), HASH_BYTES)]
        parent, at = divmod(index, TILE_WIDTH)
        above = self._tile(level + 1, parent, tile_width(level + 1, parent, self._size))
        if (
            len(raw) != TILE_WIDTH * HASH_BYTES
            or Frontier().extend(hashes).root() != above[at * HASH_BYTES : (at + 1) * HASH_BYTES]
        ):
            raise ReferralError(ErrorCode.TAMPERED, what="tile", level=level, index=index)
        self._fetched[level, index] = raw
        return raw[: width * HASH_BYTES]

    def _read(self, name: TileName) -> bytes:
        target = self._folder / name.path()
        return target.read_bytes() if target.exists() else self._source.tile(self._log, name)

    # What stands under the hashes.

    def entries(self, progress: OnProgress) -> None:
        """Every entry bundle, each held against the tile over it."""
        for name in entry_bundles(0, self._size):
            target = self._folder / name.path()
            if not target.exists():
                raw = self._source.tile(self._log, name)
                found = b"".join(map(leaf_hash, parse_entries(raw, name.width)))
                if found != self._read(TileName(0, name.index, name.width)):
                    raise ReferralError(ErrorCode.TAMPERED, what="leaves", index=name.index * TILE_WIDTH)
                put(target, raw)
            progress(f"leaves {self._log}", name.index * TILE_WIDTH + name.width, self._size)

    def records(self, path: Path, year: int, progress: OnProgress) -> None:
        """The records behind every bundle, each held against its leaf. A block that is whole stays as it is."""
        for name in entry_bundles(0, self._size):
            start = name.index * TILE_WIDTH
            target = block_path(path, year, name.index)
            if not self._has_block(path, year, name):
                leaves = parse_entries((self._folder / name.path()).read_bytes(), name.width)
                found = self._source.records(year, start, name.width)
                verify_records(start, leaves, found)
                put(target, encode_records(found))
            progress(f"records {self._log}", start + name.width, self._size)

    def _has_block(self, path: Path, year: int, name: TileName) -> bool:
        """Whether a block is here in full: one of the older tree, or one that an interrupted call has left."""
        start = name.index * TILE_WIDTH
        if self._old is not None and start + TILE_WIDTH <= self._old.size:
            return block_path(path, year, name.index).exists()
        try:
            return len(MirrorSource(path).records(year, start, name.width)) == name.width
        except ReferralError:
            return False

    def finish(self) -> int:
        """Give the checkpoint its name, and drop the partial tiles that nothing needs any more; the size."""
        put(self._folder / "checkpoint", self._raw)
        if self._old is not None:
            new = set(chain(tiles_of(self._size), entry_bundles(0, self._size)))
            last = (TileName(ENTRIES, self._old.size // TILE_WIDTH, self._old.size % TILE_WIDTH or TILE_WIDTH),)
            for name in chain(tiles_of(self._old.size), last):
                if name.width < TILE_WIDTH and name not in new:
                    target = self._folder / name.path()
                    target.unlink(missing_ok=True)
                    with suppress(OSError):
                        target.parent.rmdir()
        return self._size


def verify_records(start: int, leaves: Sequence[bytes], found: Sequence[RawRecord]) -> None:
    """Raise unless these are the records behind these leaves, from index `start` on, each hashing to its leaf.

    Raises NOT_FOUND (`index`) for a missing one, TAMPERED (`index`) for another, MALFORMED (`leaf`).
    """
    known = {one.index: one for one in found}
    for index, leaf in enumerate(leaves, start):
        one = known.get(index)
        if one is None:
            raise ReferralError(ErrorCode.NOT_FOUND, what="record", index=index)
        if b64u(sha256(one.record).digest()) != parse_leaf(leaf).digest:
            raise ReferralError(ErrorCode.TAMPERED, what="record", index=index)
