"""The floors of docs/performance.md for the log at a million leaves, in processor time, with the figures printed."""

from __future__ import annotations

from collections.abc import Callable
from time import process_time

import pytest

from referral_api.auditlog.leaf import LeafKind, encode_leaf, leaf_of, parse_leaf
from referral_api.auditlog.merkle import Frontier, append, leaf_hash, verify_inclusion
from referral_api.auditlog.report import Check, Report
from referral_api.auditlog.tiles import TileReader, extend_tiles
from referral_api.auditlog.verification import verify_full
from referral_api.domain.terms import Term
from tests.auditlog.test_cost import Long
from tests.client.world import YEAR
from tests.formats.parties_world import ISSUER, Log
from tests.timing import spent_us

pytestmark = [pytest.mark.bench, pytest.mark.slow]

SIZE = 1_000_003
LEAVES = [encode_leaf(leaf_of(b"%d" % index, LeafKind.ACT, 1_790_000_000 + index)) for index in range(1000)]


@pytest.fixture(scope="module")
def log() -> tuple[Frontier, dict[tuple[int, int], bytes]]:
    frontier, tiles = Frontier(), dict[tuple[int, int], bytes]()
    while frontier.size < SIZE:
        chosen = LEAVES[: SIZE - frontier.size]
        growth = append(frontier, [leaf_hash(leaf) for leaf in chosen])
        read = reader_of(tiles)
        tiles |= {(tile.level, tile.index): tile.hashes for tile in extend_tiles(growth.runs, read)}
        frontier = growth.frontier
    return frontier, tiles


def reader_of(tiles: dict[tuple[int, int], bytes]) -> Callable[[int, int, int], bytes]:
    return lambda level, index, width: tiles[level, index][: 32 * width]


@pytest.mark.parametrize(("batch", "floor_us"), [(1, 60.0), (16, 60.0), (64, 60.0)])
def test_an_append_with_its_proofs_stays_under_the_floor(
    log: tuple[Frontier, dict[tuple[int, int], bytes]], batch: int, floor_us: float
) -> None:
    frontier, _ = log
    hashes = [leaf_hash(leaf) for leaf in LEAVES[:batch]]
    spent = spent_us(lambda: append(frontier, hashes)) / batch
    print(f"append, batch {batch}: {spent:.2f} us a leaf")
    assert spent < floor_us


def test_an_append_costs_the_same_at_nothing_and_at_a_million(
    log: tuple[Frontier, dict[tuple[int, int], bytes]],
) -> None:
    frontier, _ = log
    hashes = [leaf_hash(LEAVES[0])]
    first, last = spent_us(lambda: append(Frontier(), hashes)), spent_us(lambda: append(frontier, hashes))
    print(f"append of one leaf: {first:.2f} us at 0, {last:.2f} us at {SIZE}")
    assert last < 60
    assert last - first < 40


def test_a_proof_from_tiles_stays_under_the_floor(log: tuple[Frontier, dict[tuple[int, int], bytes]]) -> None:
    frontier, tiles = log
    made = spent_us(lambda: TileReader(SIZE, reader_of(tiles), frontier).inclusion_proof(654_321), times=50)
    proof = TileReader(SIZE, reader_of(tiles), frontier).inclusion_proof(654_321)
    leaf, root = leaf_hash(LEAVES[321]), frontier.root()
    verified = spent_us(lambda: verify_inclusion(654_321, SIZE, leaf, proof, root))
    print(f"inclusion proof: made {made:.0f} us, verified {verified:.1f} us, {len(proof)} hashes")
    assert made < 2000
    assert verified < 100


def test_a_million_leaves_are_read_and_hashed_to_the_root_under_the_floor(
    log: tuple[Frontier, dict[tuple[int, int], bytes]],
) -> None:
    frontier, _ = log
    start, rebuilt = process_time(), Frontier()
    while rebuilt.size < SIZE:
        chosen = LEAVES[: SIZE - rebuilt.size]
        for leaf in chosen:
            parse_leaf(leaf)
        rebuilt = rebuilt.extend([leaf_hash(leaf) for leaf in chosen])
    spent = process_time() - start
    print(f"leaves read and hashed to the root: {spent:.2f} s")
    assert rebuilt == frontier
    assert spent < 5


def test_a_whole_verification_grows_in_a_line_with_the_log() -> None:
    """Every leaf parsed, hashed, opened and followed by the walk, of a source that costs nothing to read."""
    few, many = 100_000, 1_000_000
    (_, few_s), (report, many_s) = timed(few), timed(many)
    print(f"whole verification of {few} leaves: {few_s:.2f} s, of {many}: {many_s:.2f} s ({many_s / few_s:.1f} x)")
    assert report.counts[Check.RECORDS] >= many
    assert many_s < 1.5 * many / few * few_s


def timed(size: int) -> tuple[Report, float]:
    source, root = Long(size), Log().keymap.root
    start = process_time()
    return verify_full(source, root, [Term(YEAR)], {}, issuer=ISSUER), process_time() - start
