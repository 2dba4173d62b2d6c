"""Tile paths, what may be served and when, proofs from tiles, entry bundles (R-90)."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from referral_api.auditlog.merkle import Frontier, append, leaf_hash, verify_consistency, verify_inclusion
from referral_api.auditlog.tiles import (
    ENTRIES,
    TILE_WIDTH,
    TileName,
    TileReader,
    edge_of,
    encode_entries,
    extend_tiles,
    parse_entries,
    parse_tile_path,
    tile_width,
    tiles_of,
    verify_servable,
)
from referral_api.domain.errors import ErrorCode, ReferralError
from tests.auditlog import naive
from tests.auditlog.refusals import refused

BOUNDARIES = (1, 2, 255, 256, 257, 511, 512, 513, 65_535, 65_536, 65_537)


class Shelf:
    """A log's stored tiles, as a server keeps them, and how often each was read."""

    def __init__(self) -> None:
        self.frontier = Frontier()
        self.tiles: dict[tuple[int, int], bytes] = {}
        self.reads: list[tuple[int, int, int]] = []

    def read_tile(self, level: int, index: int, width: int) -> bytes:
        self.reads.append((level, index, width))
        return self.tiles[level, index][: width * 32]

    def grow(self, leaves: Sequence[bytes]) -> bytes:
        growth = append(self.frontier, leaves)
        for tile in extend_tiles(growth.runs, self.read_tile):
            old = self.tiles.get((tile.level, tile.index), b"")
            assert tile.hashes.startswith(old)
            self.tiles[tile.level, tile.index] = tile.hashes
        self.frontier = growth.frontier
        return growth.root


@pytest.fixture(scope="module")
def large() -> tuple[Shelf, list[bytes], dict[int, bytes]]:
    """A log of 65,800 leaves, its leaf hashes, and its roots at every boundary, grown in uneven steps."""
    leaves = [sha256(b"%d" % index).digest() for index in range(65_800)]
    shelf, roots, size = Shelf(), {}, 0
    for stop in (*BOUNDARIES, len(leaves)):
        while size < stop:
            step = min(stop - size, 1000)
            roots[stop] = shelf.grow(leaves[size : size + step])
            size += step
    return shelf, leaves, roots


def test_tile_paths_are_those_of_the_specification() -> None:
    assert TileName(0, 1_234_067).path() == "tile/0/x001/x234/067"
    assert TileName(0, 0).path() == "tile/0/000"
    assert TileName(1, 999).path() == "tile/1/999"
    assert TileName(2, 1000, 17).path() == "tile/2/x001/000.p/17"
    assert TileName(63, 123_456, 255).path() == "tile/63/x123/456.p/255"
    assert TileName(ENTRIES, 273, 112).path() == "tile/entries/273.p/112"


@given(st.integers(-1, 63), st.integers(0, 10**18 - 1), st.integers(1, 256))
def test_every_tile_name_survives_its_path(level: int, index: int, width: int) -> None:
    name = TileName(level, index, width)
    assert parse_tile_path(name.path()) == name


@pytest.mark.parametrize(
    "path",
    [
        "",
        "tile",
        "tile/0",
        "tile/0/",
        "tile/0/0",
        "tile/0/00",
        "tile/0/0000",
        "tile/0/000/",
        "/tile/0/000",
        "tile/8/0/000",
        "tile/00/000",
        "tile/64/000",
        "tile/-1/000",
        "tile/data/000",
        "tile/Entries/000",
        "tile/0/x000/001",
        "tile/0/001/000",
        "tile/0/x001/x000",
        "tile/0/X001/000",
        "tile/0/x001000",
        "tile/0/000.p/0",
        "tile/0/000.p/00",
        "tile/0/000.p/01",
        "tile/0/000.p/256",
        "tile/0/000.p/257",
        "tile/0/000.p/999",
        "tile/0/000.p/",
        "tile/0/000.p",
        "tile/0/000.p/1\n",
        "tile/0/" + "\N{ARABIC-INDIC DIGIT ZERO}" * 3,
        "tile/0/../000",
        "tile/0/" + "x001/" * 6 + "000",
        "tile/0/" + "x001/" * 5000 + "000",
    ],
)
def test_no_tile_has_a_second_path(path: str) -> None:
    refused(ErrorCode.NOT_FOUND, parse_tile_path, path)


def test_the_tiles_of_a_tree_are_those_of_the_specification() -> None:
    names = list(tiles_of(70_000))
    assert names[:3] == [TileName(2, 0, 1), TileName(1, 0), TileName(1, 1, 17)]
    assert names[3:] == [*(TileName(0, index) for index in range(273)), TileName(0, 273, 112)]
    assert list(edge_of(70_000)) == [TileName(0, 273, 112), TileName(1, 1, 17), TileName(2, 0, 1)]
    assert list(tiles_of(256)) == [TileName(1, 0, 1), TileName(0, 0)]
    assert list(tiles_of(255)) == list(edge_of(255)) == [TileName(0, 0, 255)]
    assert list(tiles_of(257)) == [TileName(1, 0, 1), TileName(0, 0), TileName(0, 1, 1)]
    assert list(tiles_of(1)) == [TileName(0, 0, 1)]
    assert list(tiles_of(0)) == list(edge_of(0)) == []
    assert list(edge_of(65_536)) == [TileName(2, 0, 1)]


@pytest.mark.parametrize("size", [1, 255, 256, 257, 65_535, 65_536, 65_537, 70_000])
def test_the_edge_is_the_partial_tiles(size: int) -> None:
    assert set(edge_of(size)) == {name for name in tiles_of(size) if name.width < TILE_WIDTH}


def test_the_tiles_of_a_claimed_size_are_not_counted_ahead() -> None:
    assert next(iter(tiles_of(2**52))) == TileName(6, 0, 16)
    assert list(edge_of(2**52)) == [TileName(6, 0, 16)]


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 65_535, 65_536, 65_537, 70_000])
def test_exactly_the_tiles_that_exist_are_served(size: int) -> None:
    widths = {(name.level, name.index): name.width for name in tiles_of(size)}
    for level in range(4):
        for index in {0, 1, (size >> (8 * level)) // 256, (size >> (8 * level)) // 256 + 1}:
            exists = widths.get((level, index), 0)
            assert tile_width(level, index, size) == exists
            for width in (1, 2, 254, 255, 256, exists - 1, exists, exists + 1):
                name = TileName(level, index, width)
                if 1 <= width <= min(exists, 256):
                    assert verify_servable(name, size) == name
                else:
                    refused(ErrorCode.NOT_FOUND, verify_servable, name, size)
    assert tile_width(ENTRIES, 0, size) == tile_width(0, 0, size)


def test_a_full_tile_is_never_served_before_its_256_hashes_exist() -> None:
    full, entries, above = TileName(0, 0), TileName(ENTRIES, 0), TileName(1, 0)
    for size in range(256):
        refused(ErrorCode.NOT_FOUND, verify_servable, full, size)
        refused(ErrorCode.NOT_FOUND, verify_servable, entries, size)
    assert verify_servable(full, 256) == full
    assert verify_servable(entries, 256) == entries
    refused(ErrorCode.NOT_FOUND, verify_servable, above, 65_535)
    refused(ErrorCode.NOT_FOUND, verify_servable, TileName(1, 0, 1), 255)
    assert verify_servable(above, 65_536) == above
    refused(ErrorCode.NOT_FOUND, verify_servable, TileName(63, 0, 1), 2**63 - 1)


def test_stored_tiles_are_the_naive_subtrees() -> None:
    shelf = Shelf()
    for step in (1, 254, 1, 1, 300, 43):
        shelf.grow([leaf_hash(naive.leaf(at)) for at in range(shelf.frontier.size, shelf.frontier.size + step)])
        size = shelf.frontier.size
        assert {key: len(hashes) // 32 for key, hashes in shelf.tiles.items()} == {
            (name.level, name.index): name.width for name in tiles_of(size)
        }
        for (level, index), hashes in shelf.tiles.items():
            assert hashes == b"".join(
                naive.subtree(8 * level, 256 * index + at) for at in range(tile_width(level, index, size))
            )


@pytest.mark.parametrize("size", BOUNDARIES)
def test_proofs_from_tiles_verify_at_every_boundary(
    size: int, large: tuple[Shelf, list[bytes], dict[int, bytes]]
) -> None:
    shelf, leaves, roots = large
    reader = TileReader(size, shelf.read_tile)
    for index in {0, 1, size // 2, size // 3, size - 2, size - 1} & set(range(size)):
        verify_inclusion(index, size, leaves[index], reader.inclusion_proof(index), roots[size])
    for old in (old for old in BOUNDARIES if old <= size):
        verify_consistency(old, roots[old], size, roots[size], reader.consistency_proof(old))


def test_a_proof_reads_each_tile_once_in_the_width_of_its_tree(
    large: tuple[Shelf, list[bytes], dict[int, bytes]],
) -> None:
    shelf, _, _ = large
    shelf.reads.clear()
    reader = TileReader(65_537, shelf.read_tile)
    reader.inclusion_proof(300)
    reader.inclusion_proof(301)
    assert shelf.reads == [(0, 1, 256), (1, 0, 256), (0, 256, 1)]


def test_a_known_right_edge_spares_the_partial_tiles_and_changes_no_proof(
    large: tuple[Shelf, list[bytes], dict[int, bytes]],
) -> None:
    shelf, leaves, _ = large
    size = len(leaves)
    for index in (0, 300, 65_535, 65_536, size - 1):
        shelf.reads.clear()
        proof = TileReader(size, shelf.read_tile, shelf.frontier).inclusion_proof(index)
        # Only the newest leaves have siblings in a partial tile that are not themselves on the edge.
        assert {width for _, _, width in shelf.reads} == ({8} if index == size - 1 else {256})
        assert proof == TileReader(size, shelf.read_tile).inclusion_proof(index)
    with pytest.raises(ValueError, match="another tree"):
        TileReader(size - 1, shelf.read_tile, shelf.frontier)


def test_a_tile_of_the_wrong_length_is_noticed() -> None:
    for wrong in (b"", b"\0" * 31, b"\0" * 64, b"\0" * 33):
        with pytest.raises(ReferralError) as caught:
            TileReader(1, lambda *_, wrong=wrong: wrong)(0, 0)
        assert caught.value.code is ErrorCode.TAMPERED
        assert caught.value.facts == {"what": "tile", "level": 0, "index": 0, "width": 1}
    growth = append(Frontier().extend([b"\1" * 32]), [b"\2" * 32])
    refused(ErrorCode.TAMPERED, extend_tiles, growth.runs, lambda *_: b"")


def test_a_node_outside_the_tree_is_a_programmers_error() -> None:
    reader = TileReader(256, lambda _level, _index, width: b"\0" * 32 * width)
    with pytest.raises(ValueError, match="no such node"):
        reader(0, 256)


def test_an_entry_bundle_has_exactly_the_published_spelling() -> None:
    assert encode_entries([b"ab", b"", b"c" * 258]) == b"\0\2ab\0\0\1\2" + b"c" * 258


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=256))
def test_entries_survive_their_bundle(entries: list[bytes]) -> None:
    assert parse_entries(encode_entries(entries), len(entries)) == entries


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=8), st.data())
def test_a_cut_bundle_is_refused(entries: list[bytes], data: st.DataObject) -> None:
    raw = encode_entries(entries)
    cut = data.draw(st.integers(0, len(raw) - 1))
    assert refused(ErrorCode.MALFORMED, parse_entries, raw[:cut], len(entries)) == "entries"


def test_a_bundle_of_another_width_or_with_a_tail_is_refused() -> None:
    raw = encode_entries([b"a", b"b"])
    for text, width in ((raw, 1), (raw, 3), (raw + b"\0", 2), (raw + b"\0\0", 2), (b"", 1), (b"\0", 1), (b"\0\1", 1)):
        assert refused(ErrorCode.MALFORMED, parse_entries, text, width) == "entries"


def test_a_bundle_holds_256_entries_of_65535_bytes_and_no_more() -> None:
    largest = [b"\0" * 65_535] * 256
    assert parse_entries(encode_entries(largest), 256) == largest
    refused(ErrorCode.TOO_LARGE, encode_entries, [b"\0" * 65_536])
    for wrong in ([], [b""] * 257):
        with pytest.raises(ValueError, match="1 to 256"):
            encode_entries(wrong)
