"""Tiles: the stored form of the tree, 256 hashes each, and the bundles of entries beside them.

Tile (level L, index n) holds the roots of 256 neighbouring subtrees of 256**L leaves; a partial tile is a prefix of the
full one. Of a tree's `size` follows exactly which tiles exist, so a path is answered only if the tree has that tile in
that width: a full path served early would be kept by every cache as if it were complete, for ever.

Must never: touch storage or the network (callers pass `read_tile`), or trust a tile's length.

Implements: C2SP tlog-tiles v0.1.0, paths without the tile height that other systems put in; R-90.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, TypeAlias

from referral_api.auditlog.merkle import HASH_BYTES, STORED_LEVELS, Frontier, Proof, TileRun
from referral_api.auditlog.merkle import consistency_proof as _consistency_proof
from referral_api.auditlog.merkle import inclusion_proof as _inclusion_proof
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.formats.strict_json import malformed

TILE_WIDTH: Final = 256
MAX_ENTRY_BYTES: Final = 65_535
"""What the length prefix of an entry bundle can say."""
_LENGTH_BYTES: Final = 2
ENTRIES: Final = -1
"""The pseudo-level of entry bundles: as wide and numbered as tiles of level 0."""
_PATH: Final = re.compile(
    r"tile/(?:(entries)|(0|[1-9]|[1-5][0-9]|6[0-3]))/((?:x[0-9]{3}/){0,5}[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?"
)

ReadTile: TypeAlias = Callable[[int, int, int], bytes]
"""(level, index, width) -> the first `width` hashes of a tile, concatenated."""


@dataclass(frozen=True, slots=True)
class TileName:
    """Which tile, or with `level` ENTRIES which entry bundle, and how wide: 1 to 256, 256 being a full one."""

    level: int
    index: int
    width: int = TILE_WIDTH

    @property
    def reach(self) -> int:
        """The size of the smallest tree that has it: what it commits to ends before this leaf."""
        return (self.index * TILE_WIDTH + self.width) << (STORED_LEVELS * max(self.level, 0))

    @property
    def most_bytes(self) -> int:
        """How large it can be."""
        return self.width * (HASH_BYTES if self.level != ENTRIES else _LENGTH_BYTES + MAX_ENTRY_BYTES)

    def path(self) -> str:
        """The path below a log's prefix, as in `tile/0/x001/234.p/17`."""
        groups: list[str] = []
        rest = self.index
        while not groups or rest:
            rest, group = divmod(rest, 1000)
            groups.append(f"x{group:03}" if groups else f"{group:03}")
        level = "entries" if self.level == ENTRIES else str(self.level)
        partial = "" if self.width == TILE_WIDTH else f".p/{self.width}"
        return f"tile/{level}/{'/'.join(reversed(groups))}{partial}"


@dataclass(frozen=True, slots=True)
class Tile:
    """The hashes of a tile as they are stored: full, or as many as there are."""

    level: int
    index: int
    hashes: bytes


def parse_tile_path(path: str) -> TileName:
    """Read a tile or entry bundle path. Only the spelling that `TileName.path` writes is accepted; else NOT_FOUND."""
    match = _PATH.fullmatch(path)
    if match is None:
        raise ReferralError(ErrorCode.NOT_FOUND)
    entries, level, groups, width = match.groups()
    index = int(groups.replace("/", "").replace("x", ""))
    name = TileName(ENTRIES if entries else int(level), index, int(width) if width else TILE_WIDTH)
    # Leading groups of zeros and a partial width of 256 or more are second names of what has one already.
    if name.width > TILE_WIDTH or name.path() != path:
        raise ReferralError(ErrorCode.NOT_FOUND)
    return name


def tile_width(level: int, index: int, size: int) -> int:
    """How many hashes (entries, for ENTRIES) a tile has in the tree of `size`: 0 to 256."""
    return max(0, min(TILE_WIDTH, (size >> (STORED_LEVELS * max(level, 0))) - index * TILE_WIDTH))


def verify_servable(name: TileName, size: int) -> TileName:
    """The rule for serving: full tiles when their 256 exist, partial ones up to what exists. Else NOT_FOUND.

    A partial tile narrower than what exists is servable: it belongs to an earlier checkpoint, and is a prefix.
    """
    if not 1 <= name.width <= tile_width(name.level, name.index, size):
        raise ReferralError(ErrorCode.NOT_FOUND)
    return name


def tiles_of(size: int) -> Iterator[TileName]:
    """Every tile of the tree of `size`, from the top level down: full ones, then the partial one, if any. No entry
    bundles. Nothing is enumerated ahead: a size is believed only as far as its tiles were seen.
    """
    for level in reversed(range(_levels(size))):
        count = size >> (STORED_LEVELS * level)
        for index in range(count // TILE_WIDTH):
            yield TileName(level, index)
        if count % TILE_WIDTH:
            yield TileName(level, count // TILE_WIDTH, count % TILE_WIDTH)


def edge_of(size: int) -> Iterator[TileName]:
    """The partial tiles of the tree of `size`, at most one a level, from the bottom up; full ones are never on it."""
    for level in range(_levels(size)):
        count = size >> (STORED_LEVELS * level)
        if count % TILE_WIDTH:
            yield TileName(level, count // TILE_WIDTH, count % TILE_WIDTH)


def _levels(size: int) -> int:
    return -(-size.bit_length() // STORED_LEVELS)


def extend_tiles(runs: Sequence[TileRun], read_tile: ReadTile) -> list[Tile]:
    """The tiles to store after an append, whole: the last partial ones filled up with the new hashes, and new ones.

    `read_tile` is asked once a level at most, for the partial tile at the old right edge. Tiles of level 0 that are
    still partial need not be stored by those who keep the entries: they are the hashes of these.
    """
    tiles: list[Tile] = []
    for run in runs:
        index, width = divmod(run.start, TILE_WIDTH)
        old = _exact(read_tile(run.level, index, width), run.level, index, width) if width else b""
        hashes = old + b"".join(run.hashes)
        tile_bytes = TILE_WIDTH * HASH_BYTES
        tiles += [
            Tile(run.level, index + at // tile_bytes, hashes[at : at + tile_bytes])
            for at in range(0, len(hashes), tile_bytes)
        ]
    return tiles


class TileReader:
    """Reads any whole node of the tree of `size` from its tiles, and proofs from those; keeps each tile once read.

    Meant to live as long as one request or one checkpoint: its tiles never become stale, but they are never dropped.
    Who has the tree's frontier gives it as `edge` and spares most reads of partial tiles.
    """

    __slots__ = ("_edge", "_read_tile", "_rows", "_size")

    def __init__(self, size: int, read_tile: ReadTile, edge: Frontier | None = None) -> None:
        if edge is not None and edge.size != size:
            raise ValueError("the frontier is that of another tree")
        self._size = size
        self._read_tile = read_tile
        self._edge = edge.nodes() if edge is not None else {}
        # Per tile its hashes and, above them, the rows of their parents as far as a proof asked; each row concatenated.
        self._rows: dict[tuple[int, int], list[bytes]] = {}

    def __call__(self, level: int, position: int) -> bytes:
        """The hash of node (level, position), a whole subtree of the tree; TAMPERED if a tile has not its length."""
        if (known := self._edge.get((level, position))) is not None:
            return known
        tile_level, height = divmod(level, STORED_LEVELS)
        index = position >> (STORED_LEVELS - height)
        rows = self._rows.get((tile_level, index)) or self._load(tile_level, index)
        while len(rows) <= height:
            rows.append(_parents(rows[-1]))
        at = HASH_BYTES * (position - (index << (STORED_LEVELS - height)))
        return rows[height][at : at + HASH_BYTES]

    def inclusion_proof(self, index: int) -> Proof:
        """The proof of leaf `index` in the tree of this reader's size."""
        return _inclusion_proof(index, self._size, self)

    def consistency_proof(self, old_size: int) -> Proof:
        """The proof that the tree of this reader's size extends that of `old_size`."""
        return _consistency_proof(old_size, self._size, self)

    def _load(self, level: int, index: int) -> list[bytes]:
        width = tile_width(level, index, self._size)
        if width == 0:
            raise ValueError("no such node in a tree of this size")
        rows = [_exact(self._read_tile(level, index, width), level, index, width)]
        self._rows[level, index] = rows
        return rows


def encode_entries(entries: Sequence[bytes]) -> bytes:
    """An entry bundle: each entry after its length in two big-endian bytes. 1 to 256 entries of up to 65,535 bytes."""
    if not 1 <= len(entries) <= TILE_WIDTH:
        raise ValueError("a bundle holds 1 to 256 entries")
    parts: list[bytes] = []
    for entry in entries:
        if len(entry) > MAX_ENTRY_BYTES:
            raise ReferralError(ErrorCode.TOO_LARGE, limit=MAX_ENTRY_BYTES)
        parts += (len(entry).to_bytes(2, "big"), entry)
    return b"".join(parts)


def parse_entries(raw: bytes, width: int) -> list[bytes]:
    """Read an entry bundle of exactly `width` entries. Raises MALFORMED (`entries`) for fewer, more or a cut one."""
    entries: list[bytes] = []
    at = 0
    while at < len(raw):
        start = at + 2
        at = start + int.from_bytes(raw[at:start], "big")
        entries.append(raw[start:at])
    if at != len(raw) or len(entries) != width:
        raise malformed("entries")
    return entries


def _parents(row: bytes) -> bytes:
    """The hashes of the pairs in a row, as `merkle.node_hash` makes them; a last one without its pair is left out."""
    pair = 2 * HASH_BYTES
    return b"".join([sha256(b"\x01" + row[at : at + pair]).digest() for at in range(0, len(row) - HASH_BYTES, pair)])


def _exact(hashes: bytes, level: int, index: int, width: int) -> bytes:
    if len(hashes) != width * HASH_BYTES:
        raise ReferralError(ErrorCode.TAMPERED, what="tile", level=level, index=index, width=width)
    return hashes
