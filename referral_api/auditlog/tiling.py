"""The tiles of a tree from its leaf hashes, as they come: what every stored or served tile must be, byte for byte.

Only the right edge is kept, at most 255 hashes a level, so that a log of any length can be gone through.

Must never: take a hash from a tile; that would be believing what is to be checked.

Implements: design §9; R-90; C2SP tlog-tiles.
"""

from __future__ import annotations

from collections.abc import Sequence

from referral_api.auditlog.merkle import Frontier
from referral_api.auditlog.tiles import TILE_WIDTH, Tile


class Tiling:
    """One tree as it grows. Full tiles are given out once, when they are complete."""

    def __init__(self) -> None:
        self._edges: list[list[bytes]] = []
        self._full: list[int] = []

    def take(self, hashes: Sequence[bytes]) -> list[Tile]:
        """The next leaf hashes; the tiles, of every level, that they completed."""
        done: list[Tile] = []
        self._put(0, hashes, done)
        return done

    def edge(self) -> list[Tile]:
        """The partial tile of each level that has one, from the lowest up."""
        found = enumerate(zip(self._full, self._edges, strict=True))
        return [Tile(level, index, b"".join(hashes)) for level, (index, hashes) in found if hashes]

    def count(self, level: int) -> int:
        """How many tiles this level has, its partial one included."""
        if level >= len(self._edges):
            return 0
        return self._full[level] + bool(self._edges[level])

    def _put(self, level: int, hashes: Sequence[bytes], done: list[Tile]) -> None:
        if level == len(self._edges):
            self._edges.append([])
            self._full.append(0)
        waiting = [*self._edges[level], *hashes]
        while len(waiting) >= TILE_WIDTH:
            whole, waiting = waiting[:TILE_WIDTH], waiting[TILE_WIDTH:]
            done.append(Tile(level, self._full[level], b"".join(whole)))
            self._full[level] += 1
            # The root over a full tile is one hash of the tile above it.
            self._put(level + 1, [Frontier().extend(whole).root()], done)
        self._edges[level] = waiting
