"""The sanity check of speed that runs with every test: small sizes, wide limits. The figures are in test_speed.py."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from functools import cache
from time import process_time

from referral_api.auditlog.checkpoint import sign_checkpoint
from referral_api.auditlog.leaf import encode_leaf
from referral_api.auditlog.merkle import Frontier, Growth, append, leaf_hash, verify_inclusion
from referral_api.auditlog.records import ClockJump, encode_record, encode_salt, leaf_of_record
from referral_api.auditlog.report import RawRecord, Report
from referral_api.auditlog.tiles import (
    ENTRIES,
    TILE_WIDTH,
    ReadTile,
    TileName,
    TileReader,
    encode_entries,
    extend_tiles,
)
from referral_api.auditlog.verification import verify_full
from referral_api.domain.terms import Term
from tests.client.world import AUDIT, HOST, YEAR, SimulatedExchange
from tests.formats import parties_world as pw
from tests.formats.parties_world import NOW, key
from tests.timing import spent_us

JUMP = ClockJump(t=NOW, salt=encode_salt(bytes(16)), expected=NOW, observed=NOW + 9)
RECORD = encode_record(JUMP)
LEAF = encode_leaf(leaf_of_record(JUMP, RECORD))


class Long:
    """A source whose audit log is as long as is asked for, with every leaf alike: a clock jumps."""

    def __init__(self, size: int) -> None:
        self._exchange = SimulatedExchange()
        self._size = size
        frontier, hashes = Frontier(), [leaf_hash(LEAF)] * TILE_WIDTH
        for start in range(0, size, TILE_WIDTH):
            frontier = frontier.extend(hashes[: size - start])
        self._checkpoint = sign_checkpoint(f"{HOST}/v1/log/{AUDIT}", size, frontier.root(), key("exchange/log"))

    def checkpoint(self, log: str) -> bytes:
        return self._checkpoint if log == AUDIT else self._exchange.checkpoint(log)

    def cosigned(self, log: str) -> bytes:
        raise AssertionError(f"nobody witnesses {log}")

    def tile(self, log: str, name: TileName) -> bytes:
        if log == AUDIT:
            return encode_entries([LEAF] * name.width) if name.level == ENTRIES else node(name.level) * name.width
        raw: bytes = self._exchange.log_answer(f"{log}/{name.path()}", {})[1]
        return raw

    def records(self, term: Term, start: int, count: int) -> list[RawRecord]:
        return [RawRecord(index, RECORD, None) for index in range(start, start + count)]


@cache
def node(level: int) -> bytes:
    """The root over a full subtree of so many levels of tiles."""
    return leaf_hash(LEAF) if level == 0 else Frontier().extend([node(level - 1)] * TILE_WIDTH).root()


def verified(size: int) -> tuple[Report, float, int]:
    """The report, the processor seconds, and the most bytes held at once."""
    source, root = Long(size), pw.Log().keymap.root
    tracemalloc.start()
    start = process_time()
    report = verify_full(source, root, [Term(YEAR)], {}, issuer=pw.ISSUER)
    spent, peak = process_time() - start, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return report, spent, peak


def test_verification_grows_in_a_line_with_the_log_and_its_memory_does_not() -> None:
    short, few_s, few_bytes = verified(4 * TILE_WIDTH)
    long, many_s, many_bytes = verified(16 * TILE_WIDTH)
    assert (short.heads[f"{HOST}/v1/log/{AUDIT}"].size, long.heads[f"{HOST}/v1/log/{AUDIT}"].size) == (1024, 4096)
    assert {one.index for one in long.faults if one.log == AUDIT} == {0}, "no genesis, but all else opens"
    assert many_s < 12 * few_s
    # What is held of a log is a bundle; twelve times a bundle's leaves more would be half a megabyte.
    assert many_bytes - few_bytes < 400_000


def test_an_append_and_a_proof_stay_far_under_their_floors() -> None:
    frontier, tiles = Frontier(), dict[tuple[int, int], bytes]()
    for growth in grown(20):
        read = reading(tiles)
        tiles |= {(tile.level, tile.index): tile.hashes for tile in extend_tiles(growth.runs, read)}
        frontier = growth.frontier
    hashes = [leaf_hash(LEAF)]
    assert spent_us(lambda: append(Frontier(), hashes)) < 300
    assert spent_us(lambda: append(frontier, hashes)) < 300
    assert spent_us(lambda: TileReader(frontier.size, reading(tiles)).inclusion_proof(777), times=20) < 10_000
    proof = TileReader(frontier.size, reading(tiles)).inclusion_proof(777)
    verify_inclusion(777, frontier.size, hashes[0], proof, frontier.root())


def grown(bundles: int) -> Iterator[Growth]:
    frontier = Frontier()
    for _ in range(bundles):
        growth = append(frontier, [leaf_hash(LEAF)] * TILE_WIDTH)
        frontier = growth.frontier
        yield growth


def reading(tiles: dict[tuple[int, int], bytes]) -> ReadTile:
    return lambda level, index, width: tiles[level, index][: 32 * width]
