"""The tree exactly as RFC 6962 §2.1 writes it down: recursive, slow, and sharing nothing with the code under test."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from hashlib import sha256


def leaf(index: int) -> bytes:
    """An arbitrary leaf, different for each index."""
    return b"leaf %d" % index


@cache
def _digest(start: int, end: int) -> bytes:
    return mth([leaf(index) for index in range(start, end)]) if end - start <= 1 else _join(start, end)


def _join(start: int, end: int) -> bytes:
    split = start + split_point(end - start)
    return sha256(b"\x01" + _digest(start, split) + _digest(split, end)).digest()


def split_point(count: int) -> int:
    """The largest power of two smaller than `count`."""
    power = 1
    while power * 2 < count:
        power *= 2
    return power


def mth(leaves: Sequence[bytes]) -> bytes:
    """Merkle Tree Hash."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return sha256(b"\x00" + leaves[0]).digest()
    split = split_point(len(leaves))
    return sha256(b"\x01" + mth(leaves[:split]) + mth(leaves[split:])).digest()


def root(size: int) -> bytes:
    """Root of the tree of the first `size` arbitrary leaves."""
    return _digest(0, size)


def subtree(level: int, position: int) -> bytes:
    """The whole subtree over 2**level leaves."""
    return _digest(position << level, (position + 1) << level)


def path(index: int, start: int, end: int) -> list[bytes]:
    """PATH(m, D[n]) of RFC 6962 §2.1.1, over leaves start..end."""
    count = end - start
    if count == 1:
        return []
    split = split_point(count)
    if index < split:
        return [*path(index, start, start + split), _digest(start + split, end)]
    return [*path(index - split, start + split, end), _digest(start, start + split)]


def proof(old: int, new: int) -> list[bytes]:
    """PROOF(m, D[n]) of RFC 6962 §2.1.2."""
    return _subproof(old, 0, new, known=True)


def _subproof(old: int, start: int, end: int, *, known: bool) -> list[bytes]:
    count = end - start
    if old == count:
        return [] if known else [_digest(start, end)]
    split = split_point(count)
    if old <= split:
        return [*_subproof(old, start, start + split, known=known), _digest(start + split, end)]
    return [*_subproof(old - split, start + split, end, known=False), _digest(start, start + split)]
