"""The Merkle tree of the log as mathematics: hashes, right edge, inclusion and consistency proofs.

Implements RFC 6962 §2.1 (the tree of RFC 9162 §2.1) over SHA-256. What a log must remember in order to grow is its
`Frontier`: the roots of the perfect subtrees along its right edge. So the cost of an append does not grow with the log.

A node is named (level, position): the subtree over leaves [position * 2**level, (position + 1) * 2**level). A node that
the right edge cuts short covers [position * 2**level, size); while it has no right half it equals its left one.

Must never: read a clock, touch storage or the network, or answer a failed verification with anything but an exception.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, TypeAlias

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.formats.strict_json import malformed

HASH_BYTES: Final = 32
MAX_SIZE: Final = 2**63 - 1
"""Largest tree size; other implementations of the same formats hold sizes in signed 64-bit numbers."""
EMPTY_ROOT: Final = sha256(b"").digest()
STORED_LEVELS: Final = 8
"""Nodes of every eighth level are stored (C2SP tlog-tiles: a tile is 256 wide); the others are recomputed from them."""

Proof: TypeAlias = tuple[bytes, ...]
"""Node hashes in the order of RFC 6962: from the leaf's sibling up to the root's child."""
ReadNode: TypeAlias = Callable[[int, int], bytes]
"""(level, position) -> hash of a whole subtree; `tiles.TileReader` is one."""


def leaf_hash(leaf: bytes) -> bytes:
    """SHA-256(0x00 || leaf), RFC 6962 §2.1."""
    return sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 || left || right), RFC 6962 §2.1. Both must be 32 bytes: the encoding is ambiguous otherwise."""
    return sha256(b"\x01" + left + right).digest()


@dataclass(frozen=True, slots=True)
class Frontier:
    """The right edge of a tree: one perfect subtree's root for each set bit of `size`, the largest first."""

    size: int = 0
    hashes: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.size <= MAX_SIZE or len(self.hashes) != self.size.bit_count():
            raise malformed("frontier")
        if not _are_hashes(self.hashes):
            raise malformed("frontier")

    def root(self) -> bytes:
        """Merkle Tree Hash of the whole tree; of no leaves, the hash of the empty string."""
        return _fold(self.hashes) if self.hashes else EMPTY_ROOT

    def extend(self, leaf_hashes: Sequence[bytes]) -> Frontier:
        """The frontier after these leaf hashes; about one node hash a leaf. Use `append` where proofs are wanted."""
        if not leaf_hashes:
            return self
        rows = _rows(self, leaf_hashes)
        return _frontier_of(rows, self.size + len(leaf_hashes))

    def nodes(self) -> dict[tuple[int, int], bytes]:
        """The same hashes by the (level, position) of their nodes."""
        levels = [level for level in range(self.size.bit_length() - 1, -1, -1) if self.size >> level & 1]
        return {(level, (self.size >> level) - 1): one for level, one in zip(levels, self.hashes, strict=True)}

    def to_bytes(self) -> bytes:
        """Size as eight big-endian bytes, then the hashes."""
        return self.size.to_bytes(8, "big") + b"".join(self.hashes)


def parse_frontier(raw: bytes) -> Frontier:
    """Read what `Frontier.to_bytes` wrote. Raises MALFORMED (`frontier`) for any other length or size."""
    size, edge = int.from_bytes(raw[:8], "big"), raw[8:]
    if len(raw) != 8 + HASH_BYTES * size.bit_count():
        raise malformed("frontier")
    return Frontier(size, tuple(edge[start : start + HASH_BYTES] for start in range(0, len(edge), HASH_BYTES)))


@dataclass(frozen=True, slots=True)
class TileRun:
    """Hashes newly complete at one tile level, in order: positions `start` and following of tree level 8 * `level`."""

    level: int
    start: int
    hashes: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Growth:
    """What one append yields: the new right edge and root, each new leaf's proof at the new size, hashes to store."""

    frontier: Frontier
    root: bytes
    proofs: tuple[Proof, ...]
    runs: tuple[TileRun, ...]


def append(frontier: Frontier, leaf_hashes: Sequence[bytes]) -> Growth:
    """Append leaf hashes in one batch: the whole hot path of the log, without reading a single tile.

    Proof k is that of leaf `frontier.size + k` at the new size. Every batching of the same leaves gives the same tree.
    """
    if not leaf_hashes:
        return Growth(frontier, frontier.root(), (), ())
    if len(leaf_hashes) == 1:
        return _append_one(frontier, leaf_hashes[0])
    size = frontier.size + len(leaf_hashes)
    rows = _rows(frontier, leaf_hashes)
    # A node's proof is its sibling, where it has one, followed by its parent's proof: built downwards, from the root.
    proofs: list[Proof] = [()]
    parents_base = rows[-1][0]
    for base, nodes in reversed(rows[:-1]):
        shift = (base >> 1) - parents_base
        parents, count, parents_base = proofs, len(nodes), base
        proofs = [(nodes[at ^ 1], *parents[(at >> 1) + shift]) for at in range(count & ~1)]
        if count & 1:
            proofs.append(parents[(count >> 1) + shift])
    return Growth(
        frontier=_frontier_of(rows, size),
        root=rows[-1][1][0],
        proofs=tuple(proofs[frontier.size - rows[0][0] :]),
        runs=_runs_of(rows, frontier.size, size),
    )


def _append_one(frontier: Frontier, leaf: bytes) -> Growth:
    """The same for a lone leaf, which an idle exchange appends: all that lies to its left is the old right edge.

    So that edge, the smallest subtree first, is its proof. Whatever it completes stands at the end of the new edge.
    """
    proof = frontier.hashes[::-1]
    level, completed, runs = 0, leaf, []
    root, size = leaf, frontier.size + 1
    for left in proof:
        root = node_hash(left, root)
    while True:
        if level % STORED_LEVELS == 0:
            runs.append(TileRun(level // STORED_LEVELS, (size >> level) - 1, (completed,)))
        if not frontier.size >> level & 1:
            break
        completed = node_hash(proof[level], completed)
        level += 1
    edge = (*frontier.hashes[: len(proof) - level], completed)
    return Growth(Frontier(size, edge), root, (proof,), tuple(runs))


def inclusion_proof(index: int, size: int, read: ReadNode) -> Proof:
    """The proof that leaf `index` is in the tree of `size` leaves, from stored nodes (RFC 6962 §2.1.1).

    An index outside the tree is a programmer's error (ValueError): callers check what the network asked for.
    """
    if not 0 <= index < size <= MAX_SIZE:
        raise ValueError("no such leaf in a tree of this size")
    return tuple(_edge_node(level, position, size, read) for level, position in _inclusion_path(index, size))


def consistency_proof(old_size: int, new_size: int, read: ReadNode) -> Proof:
    """The proof that the tree of `new_size` extends that of `old_size`, from stored nodes (RFC 6962 §2.1.2).

    Empty where nothing needs proving: from the empty tree, or between equal sizes. Other orders are a ValueError.
    """
    if not 0 <= old_size <= new_size <= MAX_SIZE:
        raise ValueError("a tree extends only smaller trees")
    path = _consistency_path(old_size, new_size)
    return tuple(_edge_node(level, position, new_size, read) for level, position in path)


def verify_inclusion(index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes) -> bytes:
    """Check that `leaf`, a leaf hash, stands at `index` of the tree with this size and root; returns it.

    Raises NOT_INCLUDED with `reason` `index` (outside the tree), `length` (of the proof or of a hash in it) or `root`.
    """
    if not 0 <= index < size <= MAX_SIZE:
        raise ReferralError(ErrorCode.NOT_INCLUDED, reason="index")
    path = _inclusion_path(index, size)
    if len(proof) != len(path) or not _are_hashes((leaf, root, *proof)):
        raise ReferralError(ErrorCode.NOT_INCLUDED, reason="length")
    reached = leaf
    for (_, position), sibling in zip(path, proof, strict=True):
        reached = node_hash(reached, sibling) if position & 1 else node_hash(sibling, reached)
    if reached != root:
        raise ReferralError(ErrorCode.NOT_INCLUDED, reason="root")
    return leaf


def verify_consistency(old_size: int, old_root: bytes, new_size: int, new_root: bytes, proof: Sequence[bytes]) -> bytes:
    """Check that the tree (new_size, new_root) only appended to the tree (old_size, old_root); returns `new_root`.

    Raises INCONSISTENT with `reason` `size` (shrunk, or out of range), `length` (of the proof or of a hash in it),
    `old-root` or `new-root`.
    """
    if not 0 <= old_size <= new_size <= MAX_SIZE:
        raise ReferralError(ErrorCode.INCONSISTENT, reason="size")
    path = _consistency_path(old_size, new_size)
    if len(proof) != len(path) or not _are_hashes((old_root, new_root, *proof)):
        raise ReferralError(ErrorCode.INCONSISTENT, reason="length")
    if old_size == 0:
        old, new = EMPTY_ROOT, EMPTY_ROOT if new_size == 0 else new_root
    elif old_size == new_size:
        old, new = new_root, old_root
    else:
        old, new = _roots_of_consistency(old_size, old_root, path, proof)
    if old != old_root:
        raise ReferralError(ErrorCode.INCONSISTENT, reason="old-root")
    if new != new_root:
        raise ReferralError(ErrorCode.INCONSISTENT, reason="new-root")
    return new_root


def _inclusion_path(index: int, size: int) -> list[tuple[int, int]]:
    """The siblings of a leaf and of its ancestors; a node without right sibling equals its parent and adds nothing."""
    path: list[tuple[int, int]] = []
    position, last = index, size - 1
    for level in range(last.bit_length()):
        sibling = position ^ 1
        if sibling <= last:
            path.append((level, sibling))
        position >>= 1
        last >>= 1
    return path


def _consistency_path(old_size: int, new_size: int) -> list[tuple[int, int]]:
    """The old tree's rightmost perfect subtree (left out when it is that whole tree), then its ancestors' siblings."""
    if old_size in {0, new_size}:
        return []
    level = (old_size & -old_size).bit_length() - 1
    position, last = (old_size - 1) >> level, (new_size - 1) >> level
    path = [(level, position)] if position else []
    while last:
        sibling = position ^ 1
        if sibling <= last:
            path.append((level, sibling))
        position, last, level = position >> 1, last >> 1, level + 1
    return path


def _roots_of_consistency(
    old_size: int, old_root: bytes, path: Sequence[tuple[int, int]], proof: Sequence[bytes]
) -> tuple[bytes, bytes]:
    """The old and the new root that a proof of exact length leads to, for 0 < old_size < new_size."""
    whole = old_size & (old_size - 1) == 0
    old = new = old_root if whole else proof[0]
    siblings = zip(path, proof, strict=True)
    if not whole:
        next(siblings)
    for (_, position), sibling in siblings:
        if position & 1:
            new = node_hash(new, sibling)
        else:
            # What lies to the left was in the old tree already; what lies to the right was not.
            old, new = node_hash(sibling, old), node_hash(sibling, new)
    return old, new


def _edge_node(level: int, position: int, size: int, read: ReadNode) -> bytes:
    """The hash of a node in the tree of `size`: read where it is whole, else folded from the whole ones under it."""
    start = position << level
    if (position + 1) << level <= size:
        return read(level, position)
    whole: list[bytes] = []
    for below in range(level - 1, -1, -1):
        if (size - start) >> below:
            whole.append(read(below, start >> below))
            start += 1 << below
    return _fold(whole)


def _fold(hashes: Sequence[bytes]) -> bytes:
    """The root over perfect subtrees of falling size: the smaller ones are the right side of every larger one."""
    root = hashes[-1]
    for left in reversed(hashes[:-1]):
        root = node_hash(left, root)
    return root


def _are_hashes(values: Iterable[bytes]) -> bool:
    return {HASH_BYTES}.issuperset(map(len, values))


def _rows(frontier: Frontier, leaf_hashes: Sequence[bytes]) -> list[tuple[int, list[bytes]]]:
    """The nodes that an append touches: per level (position of the first, their hashes), up to the root alone.

    Every row starts at an even position, completed on the left by a frontier hash where needed, so that it pairs up.
    The last node of a row may be cut short by the right edge; without a right sibling it rises unhashed.
    """
    edge = list(frontier.hashes)
    rows: list[tuple[int, list[bytes]]] = []
    base, nodes = frontier.size, list(leaf_hashes)
    while True:
        if base & 1:
            nodes = [edge.pop(), *nodes]
            base -= 1
        rows.append((base, nodes))
        if len(nodes) == 1:
            if base == 0:
                return rows
            base >>= 1
            continue
        above = [sha256(b"\x01" + nodes[at] + nodes[at + 1]).digest() for at in range(0, len(nodes) - 1, 2)]
        if len(nodes) & 1:
            above.append(nodes[-1])
        base, nodes = base >> 1, above


def _frontier_of(rows: Sequence[tuple[int, list[bytes]]], size: int) -> Frontier:
    edge = tuple(
        rows[level][1][(size >> level) - 1 - rows[level][0]]
        for level in range(size.bit_length() - 1, -1, -1)
        if size >> level & 1
    )
    return Frontier(size, edge)


def _runs_of(rows: Sequence[tuple[int, list[bytes]]], old_size: int, size: int) -> tuple[TileRun, ...]:
    runs: list[TileRun] = []
    for level in range(0, len(rows), STORED_LEVELS):
        start, end = old_size >> level, size >> level
        if start == end:
            break
        base, nodes = rows[level]
        runs.append(TileRun(level // STORED_LEVELS, start, tuple(nodes[start - base : end - base])))
    return tuple(runs)
