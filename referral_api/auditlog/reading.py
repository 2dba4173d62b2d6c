"""One log as it is read for its verification: the roots that its leaves come to, and the tiles held against them.

Must never: take a hash from anywhere but the leaves.

Implements: R-94, R-95; C2SP tlog-tiles.
"""

from __future__ import annotations

from collections.abc import Sequence

from referral_api.auditlog.losses import LostLog
from referral_api.auditlog.merkle import HASH_BYTES, Frontier
from referral_api.auditlog.report import MAX_FAULTS_TOLD, Head, Source
from referral_api.auditlog.tiles import Tile, TileName
from referral_api.auditlog.tiling import Tiling
from referral_api.domain.errors import ErrorCode, ReferralError


class Growing:
    """The leaves of one log as they are read, bundle by bundle: their root now, and at sizes that were known before."""

    def __init__(self, known: Sequence[Head]) -> None:
        self._known = known
        self._frontier = Frontier()
        self._roots: dict[int, bytes] = {}

    @property
    def size(self) -> int:
        """How many leaves there were."""
        return self._frontier.size

    @property
    def root(self) -> bytes:
        """The root over them."""
        return self._frontier.root()

    def take(self, hashes: Sequence[bytes]) -> None:
        """The hashes of the next leaves. What was known in the midst of them is computed on the way."""
        start, at = self.size, 0
        for stop in sorted({head.size for head in self._known if start < head.size <= start + len(hashes)}):
            self._frontier = self._frontier.extend(hashes[at : stop - start])
            self._roots[stop], at = self.root, stop - start
        self._frontier = self._frontier.extend(hashes[at:])

    def judge(self, signed: int, lost: LostLog | None) -> None:
        """Raise INCONSISTENT unless everything that was known before is a beginning of this, or of what was lost.

        Raises NOT_FOUND where of `signed` leaves too few could be read to tell.
        """
        for head in self._known:
            if lost is not None and head.size > self.size:
                lost.admit(head.size, head.root)
            elif head.size > signed:
                raise ReferralError(ErrorCode.INCONSISTENT, reason="shrunk", pinned=head.size, found=signed)
            elif head.size > self.size:
                raise ReferralError(ErrorCode.NOT_FOUND, what="leaves", pinned=head.size)
            elif head.size and self._roots[head.size] != head.root:
                raise ReferralError(ErrorCode.INCONSISTENT, reason="forked", pinned=head.size)


class Tiles:
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
        """The hashes of the next leaves."""
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
