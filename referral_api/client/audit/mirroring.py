"""A mirror of the logs on disk: the static form of C2SP tlog-tiles, which other people's tools read unchanged, with the
records behind the leaves beside it.

Nothing is written before it is known to belong to a tree that the log's key has signed and that continues the tree of
the mirror as it is: from the checkpoint's root down to each tile, from the tiles to the entries, from the entries to
the records; one that an `erase` act names is dropped (R-99). So a mirror never goes back, never forks, and may be
interrupted anywhere: it is the older one until the checkpoint, written last, has its new name.

Must never: write a byte that does not verify, or leave a checkpoint ahead of its tiles.

Implements: R-90, R-94; C2SP tlog-tiles v0.1.0; design §9.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType

from referral_api.auditlog.checkpoint import Checkpoint, TrustPolicy, verify_checkpoint
from referral_api.auditlog.erasures import Erasing, Erasures, Place, erasing_leaves
from referral_api.auditlog.leaf import LeafKind, parse_leaf
from referral_api.auditlog.losses import LostLog, read_lost
from referral_api.auditlog.merkle import HASH_BYTES, Frontier, leaf_hash, verify_consistency
from referral_api.auditlog.report import Head, OnProgress, RawRecord, Source, is_absent, unheard
from referral_api.auditlog.tiles import (
    ENTRIES,
    TILE_WIDTH,
    TileName,
    TileReader,
    edge_of,
    parse_entries,
    tile_width,
    tiles_of,
)
from referral_api.auditlog.trail import verify_logged_receipt
from referral_api.client.audit.sources import COSIGNED, MirrorSource, block_path, encode_records, parse_block, put
from referral_api.client.trust import audit_policy, entry_bundles, keys_policy, policy_of
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.terms import Term
from referral_api.formats.act import parse_act
from referral_api.formats.parties import EXCHANGE
from referral_api.formats.statements import KeyMap
from referral_api.formats.strict_json import sha256_b64u


def policies(keymap: KeyMap, terms: Sequence[Term]) -> Mapping[str, TrustPolicy]:
    """The logs of these years and the keys log, and whom to believe about each."""
    return {"keys": keys_policy(keymap)} | {term.log: audit_policy(keymap, term) for term in terms}


def mirror(
    source: Source,
    keymap: KeyMap,
    path: Path,
    terms: Sequence[Term],
    progress: OnProgress = unheard,
    pins: Mapping[str, Head] = MappingProxyType({}),
) -> dict[str, int]:
    """Copy the keys log and the audit logs of these years, or bring a copy up to date; sizes by log.

    `progress` is told of `leaves` and `records`; `pins` are heads seen before, by origin, of which a folder may be
    older. Raises what `verify_checkpoint` raises; INCONSISTENT (`shrunk`, `forked`, or as `verify_consistency`) where
    the source does not continue this mirror and the pins, TAMPERED (`tile`, `leaves`, `record`), RECEIPT_MISMATCH and
    NOT_FOUND for what does not belong to the signed tree or is not to be had.
    """
    copies: dict[str, _Copy] = {}
    absent: set[Place] = set()
    # The newest first: how far a log is held that has lost leaves, its next term says once it is here and verified.
    for log, policy in reversed(list(policies(keymap, terms).items())):
        lost = _lost(path, log, policy.log.name) if log != "keys" and Term.of_log(log).following in terms else None
        copy = copies[log] = _Copy(source, log, path / log, policy, lost, keymap)
        copy.pin(pins.get(policy.log.name), lost)
        if copy.rests:
            continue
        copy.hashes()
        copy.entries(progress)
        if log != "keys":
            absent.update((log, index) for index in copy.records(path, Term.of_log(log), progress))
    named = find_erasures(MirrorSource(path), keymap, {log: copy.size for log, copy in copies.items()}).named
    for log, index in sorted(absent - named.keys()):
        raise ReferralError(ErrorCode.NOT_FOUND, what="record", log=log, index=index)
    cosigned: dict[str, bytes | None] = {}
    if keymap.witness_policy is not None:
        cosigned = {log: copy.cosigned(policy_of(keymap, log, witnessed=True)) for log, copy in copies.items()}
    sizes = {log: copies[log].finish() for log in policies(keymap, terms)}
    for log, raw in cosigned.items():
        if raw is not None:
            put(path / log / COSIGNED, raw)
    # Only now do the acts that name them belong to this mirror.
    _drop(path, named)
    return sizes


def find_erasures(source: Source, keymap: KeyMap, sizes: Mapping[str, int]) -> Erasures:
    """What the `erase` acts of the audit logs name, of those logs and up to those sizes, as far as a source has them.

    Raises UNREACHABLE alone: what else is wrong with a log is for its verification to say.
    """
    audited = {log: size for log, size in sizes.items() if log != "keys"}
    erasing: list[Erasing] = []
    for log, size in audited.items():
        try:
            for name in entry_bundles(0, size):
                leaves = parse_entries(source.tile(log, name), name.width)
                erasing += erasing_leaves(log, name.index * TILE_WIDTH, leaves)
        except ReferralError as error:
            if error.code is ErrorCode.UNREACHABLE:
                raise
    erasures = Erasures(keymap, audited)
    erasures.gather(erasing, source)
    return erasures


def _lost(path: Path, log: str, origin: str) -> LostLog | None:
    """What the next term of a log, as it lies in this mirror, says of what was lost. Raises NOT_FOUND (`record`)."""
    after = Term.of_log(log).following
    if after is None:
        return None
    first = {one.index: one.record for one in parse_block(block_path(path, after, 0))}
    for index in (0, 1):
        if index not in first:
            raise ReferralError(ErrorCode.NOT_FOUND, what="record", log=after.log, index=index)
    return read_lost(after, origin, first[0], first[1])


def _drop(path: Path, named: Collection[Place]) -> None:
    """Forget the records of these leaves, where a mirror has them."""
    for log, block in sorted({(log, index // TILE_WIDTH) for log, index in named}):
        target = block_path(path, Term.of_log(log), block)
        held = parse_block(target)
        left = [one for one in held if (log, one.index) not in named]
        if len(left) < len(held):
            put(target, encode_records(left))


class _Copy:
    """One log on its way from a source to a folder."""

    def __init__(
        self, source: Source, log: str, folder: Path, policy: TrustPolicy, lost: LostLog | None, keymap: KeyMap
    ) -> None:
        self._source = source
        self._log = log
        self._folder = folder
        self._keymap = keymap
        self._raw = source.checkpoint(log)
        self._new: Checkpoint = verify_checkpoint(self._raw, policy)
        if lost is not None:
            lost.admit(self._new.size, self._new.root)
            self._new = Checkpoint(lost.origin, lost.kept, lost.kept_root)
        self._old = self._held(policy, lost)
        self._pinned: Head | None = None
        self._fetched: dict[tuple[int, int], bytes] = {}

    def pin(self, head: Head | None, lost: LostLog | None) -> None:
        """Continue this head too. Raises INCONSISTENT (`shrunk`), and as `LostLog.admit`."""
        if head is None:
            return
        if lost is not None:
            lost.admit(head.size, head.root)
        elif head.size > self.size:
            raise ReferralError(ErrorCode.INCONSISTENT, reason="shrunk", pinned=head.size, found=self.size)
        if head.size <= self.size:
            self._pinned = head

    @property
    def size(self) -> int:
        """How many leaves the log has, as far as they can be had."""
        return self._new.size

    @property
    def rests(self) -> bool:
        """Whether this copy has all that the exchange still holds of a log, and perhaps more than that."""
        return self._new.size == 0 or (self._old is not None and self._old.size >= self._new.size and self._ended)

    def _held(self, policy: TrustPolicy, lost: LostLog | None) -> Checkpoint | None:
        target = self._folder / "checkpoint"
        self._ended = lost is not None
        if not target.exists():
            return None
        old: Checkpoint = verify_checkpoint(target.read_bytes(), policy)
        if lost is not None:
            # It ends there, be it the exchange's last word or what was copied before the loss.
            lost.admit(old.size, old.root)
            return old
        if old.size > self._new.size:
            raise ReferralError(ErrorCode.INCONSISTENT, reason="shrunk", pinned=old.size, found=self._new.size)
        if old.size == self._new.size and old.root != self._new.root:
            raise ReferralError(ErrorCode.INCONSISTENT, reason="forked", pinned=old.size)
        return old

    # Hash tiles: each is proved by the one above it, the right edge by the root.

    def hashes(self) -> None:
        """Every hash tile of the new tree, once it is seen to continue the mirror's."""
        self._edge()
        for old in (self._old, self._pinned):
            if old is not None and old.size > 0:
                grown = old.size < self.size
                proof = TileReader(self.size, self._tile).consistency_proof(old.size) if grown else ()
                verify_consistency(old.size, old.root, self.size, self._new.root, proof)
        for name in tiles_of(self.size):
            target = self._folder / name.path()
            if not target.exists():
                put(target, self._tile(name.level, name.index, name.width))
            if name.level == 0:
                # What is below nothing is needed no more; the levels above are few.
                self._fetched.pop((0, name.index), None)

    def _edge(self) -> None:
        """The partial tiles hold all subtrees along the right edge, and so the root."""
        edge = {(one.level, one.index): one for one in edge_of(self.size)}
        for place, name in edge.items():
            raw = self._read(name)
            if len(raw) != name.width * HASH_BYTES:
                raise ReferralError(ErrorCode.TAMPERED, what="tile", level=name.level, index=name.index)
            self._fetched[place] = raw
        reader = TileReader(self.size, lambda level, index, _: self._fetched[level, index])
        levels = [level for level in range(self.size.bit_length() - 1, -1, -1) if self.size >> level & 1]
        nodes = tuple(reader(level, (self.size >> level) - 1) for level in levels)
        if Frontier(self.size, nodes).root() != self._new.root:
            raise ReferralError(ErrorCode.TAMPERED, what="tile", reason="root")

    def _tile(self, level: int, index: int, width: int) -> bytes:
        """A tile that belongs to the new tree. `width` is the whole of it: partial ones are all known (`_edge`)."""
        known = self._fetched.get((level, index))
        if known is not None:
            return known[: width * HASH_BYTES]
        raw = self._read(TileName(level, index))
        hashes = [raw[at : at + HASH_BYTES] for at in range(0, len(raw), HASH_BYTES)]
        parent, at = divmod(index, TILE_WIDTH)
        above = self._tile(level + 1, parent, tile_width(level + 1, parent, self.size))
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
        for name in entry_bundles(0, self.size):
            target = self._folder / name.path()
            if not target.exists():
                raw = self._source.tile(self._log, name)
                found = b"".join(map(leaf_hash, parse_entries(raw, name.width)))
                if found != self._read(TileName(0, name.index, name.width)):
                    raise ReferralError(ErrorCode.TAMPERED, what="leaves", index=name.index * TILE_WIDTH)
                put(target, raw)
            progress(f"leaves {self._log}", name.index * TILE_WIDTH + name.width, self.size)

    def records(self, path: Path, term: Term, progress: OnProgress) -> list[int]:
        """The records behind every bundle, each held against its leaf; the indices of those that are not to be had.

        A block of the older tree stays as it is; of any other, what is here already is not asked for again.
        """
        absent: list[int] = []
        for name in entry_bundles(0, self.size):
            start = name.index * TILE_WIDTH
            target = block_path(path, term, name.index)
            if self._old is None or start + TILE_WIDTH > self._old.size or not target.exists():
                leaves = parse_entries((self._folder / name.path()).read_bytes(), name.width)
                held = [one for one in _held(target) if _is_behind(one, start, leaves)]
                first = next((start + at for at, one in enumerate(held) if one.index != start + at), start + len(held))
                more = (
                    self._source.records(term, first, start + name.width - first) if first < start + name.width else []
                )
                found = {one.index: one for one in (*held, *more)}
                absent += verify_records(start, leaves, list(found.values()))
                for index, one in found.items():
                    _verify_receipt(self._log, index, leaves[index - start], one, self._keymap)
                put(target, encode_records([found[index] for index in sorted(found)]))
            progress(f"records {self._log}", start + name.width, self.size)
        return absent

    def finish(self) -> int:
        """Give the checkpoint its name, and drop the partial tiles that nothing needs any more; the size."""
        if self.rests and self._old is not None:
            return self.size
        put(self._folder / "checkpoint", self._raw)
        if self._old is not None:
            for name in _partial(self._old.size):
                if name not in _partial(self.size):
                    target = self._folder / name.path()
                    target.unlink(missing_ok=True)
                    with suppress(OSError):
                        target.parent.rmdir()
        return self.size

    def cosigned(self, trusted: TrustPolicy) -> bytes | None:
        """The newest checkpoint with a quorum, to lie beside the newest: for it is what others have been shown, too.

        None where there is none yet. Raises what `verify_checkpoint` and `verify_consistency` raise.
        """
        if self._ended:
            return None
        try:
            raw = self._source.cosigned(self._log)
            found = verify_checkpoint(raw, trusted)
        except ReferralError as error:
            if error.code is ErrorCode.UNREACHABLE or not (is_absent(error) or error.code is ErrorCode.NOT_WITNESSED):
                raise
            return None
        if found.size > self.size:
            raise ReferralError(ErrorCode.INCONSISTENT, reason="shrunk", pinned=found.size, found=self.size)
        reader = TileReader(self.size, lambda level, index, width: self._read(TileName(level, index, width)))
        proof = reader.consistency_proof(found.size) if found.size < self.size else ()
        verify_consistency(found.size, found.root, self.size, self._new.root, proof)
        return raw


def _partial(size: int) -> list[TileName]:
    """The tiles and the bundle of a tree that a larger one has wider."""
    width = size % TILE_WIDTH
    return [*edge_of(size), *([TileName(ENTRIES, size // TILE_WIDTH, width)] if width else [])]


def _held(target: Path) -> list[RawRecord]:
    """What a block has that an older tree or an interrupted call has left; nothing where it cannot be read."""
    try:
        return sorted(parse_block(target), key=lambda one: one.index)
    except ReferralError:
        return []


def _is_behind(one: RawRecord, start: int, leaves: Sequence[bytes]) -> bool:
    at = one.index - start
    return 0 <= at < len(leaves) and sha256_b64u(one.record) == parse_leaf(leaves[at]).digest


def _verify_receipt(log: str, index: int, leaf: bytes, found: RawRecord, keymap: KeyMap) -> None:
    """That an act's receipt is the exchange's, and of this place. Raises as `verify_logged_receipt`; RECEIPT_MISMATCH
    (`absent`) where it is withheld.
    """
    told = parse_leaf(leaf)
    if told.kind not in (LeafKind.ACT, LeafKind.ERASE):
        return
    act = parse_act(found.record)
    if found.receipt is not None:
        verify_logged_receipt(log, index, act, told, found.receipt, keymap)
    elif act.party != EXCHANGE:
        raise ReferralError(ErrorCode.RECEIPT_MISMATCH, member="absent", log=log, index=index)


def verify_records(start: int, leaves: Sequence[bytes], found: Sequence[RawRecord]) -> list[int]:
    """The indices of the leaves, from index `start` on, that have no record among these; the others hash to their leaf.

    Raises TAMPERED (`index`) for one that does not, MALFORMED (`leaf`).
    """
    known = {one.index: one for one in found}
    absent: list[int] = []
    for index, leaf in enumerate(leaves, start):
        one = known.get(index)
        if one is None:
            absent.append(index)
        elif sha256_b64u(one.record) != parse_leaf(leaf).digest:
            raise ReferralError(ErrorCode.TAMPERED, what="record", index=index)
    return absent
