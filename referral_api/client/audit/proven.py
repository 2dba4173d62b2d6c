"""One log of an exchange or a mirror as its newest checkpoint shows it, linked to what was pinned, read leaf by leaf.

Where a whole verification is too much, what is shown is still proved: each leaf by its path to the signed root, and
that root by its growth from the pinned one.

Must never: hand out a leaf whose path was not computed here.

Implements: R-94, R-95; RFC 6962 by way of auditlog/merkle.py; design §9.
"""

from __future__ import annotations

from referral_api.auditlog.checkpoint import Checkpoint, VerifiedCheckpoint, verify_checkpoint
from referral_api.auditlog.merkle import leaf_hash, verify_consistency, verify_inclusion
from referral_api.auditlog.report import Head, Source
from referral_api.auditlog.tiles import ENTRIES, TILE_WIDTH, TileName, TileReader, parse_entries
from referral_api.client.exchange import told
from referral_api.client.session import Session
from referral_api.client.trust import issuer_origin, policy_of
from referral_api.domain.errors import ErrorCode, ReferralError


class Proven:
    """A log: `keys` or `audit/<term>`. Raises on opening what `verify_checkpoint` and `verify_link` raise."""

    def __init__(self, session: Session, source: Source, log: str) -> None:
        self.log = log
        self._source = source
        self.head: VerifiedCheckpoint = verify_checkpoint(source.checkpoint(log), policy_of(session.keymap, log))
        pin = session.directory.find_pin(issuer_origin(session.profile.issuer, log))
        if pin is not None:
            verify_link(source, log, Head(self.head.origin, pin.size, pin.root), self.head)
        self._reader = TileReader(self.head.size, self._read_tile)
        self._bundles: dict[int, list[bytes]] = {}

    def leaf(self, index: int) -> bytes:
        """The leaf at an index, proved to be in the log. Raises NOT_INCLUDED, TAMPERED, NOT_FOUND beyond its end."""
        if not 0 <= index < self.head.size:
            raise ReferralError(ErrorCode.NOT_FOUND, what="leaf", index=index)
        leaf = self._bundle(index // TILE_WIDTH)[index % TILE_WIDTH]
        proof = self._reader.inclusion_proof(index)
        verify_inclusion(index, self.head.size, leaf_hash(leaf), proof, self.head.root)
        return leaf

    def _bundle(self, index: int) -> list[bytes]:
        if index not in self._bundles:
            width = min(TILE_WIDTH, self.head.size - index * TILE_WIDTH)
            raw = self._source.tile(self.log, TileName(ENTRIES, index, width))
            with told():
                self._bundles = {index: parse_entries(raw, width)}
        return self._bundles[index]

    def _read_tile(self, level: int, index: int, width: int) -> bytes:
        return self._source.tile(self.log, TileName(level, index, width))


def verify_link(source: Source, log: str, old: Head, new: Checkpoint) -> None:
    """Raise INCONSISTENT unless a checkpoint continues an earlier head, by the tiles of whoever shows it."""
    if old.size > new.size:
        raise ReferralError(ErrorCode.INCONSISTENT, reason="shrunk", pinned=old.size, found=new.size)

    def read_tile(level: int, index: int, width: int) -> bytes:
        return source.tile(log, TileName(level, index, width))

    try:
        grown = 0 < old.size < new.size
        proof = TileReader(new.size, read_tile).consistency_proof(old.size) if grown else ()
        verify_consistency(old.size, old.root, new.size, new.root, proof)
    except ReferralError as error:
        if error.code in (ErrorCode.INCONSISTENT, ErrorCode.TAMPERED):
            raise ReferralError(ErrorCode.INCONSISTENT, reason="forked", pinned=old.size) from None
        raise
