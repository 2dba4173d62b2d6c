"""`python -m bench.log`: the three figures of the log: a full verification's hashing, an inclusion proof, an append.

Options: `--leaves N` (a million), `--dir`. A log on SQLite is filled by the storage code; then leaves are appended to
it and to an empty one as the writer does it, rows, tiles and right edge in a transaction, proofs are made from its
tiles, and all of it is read in bundles, parsed and hashed to the root. Processor time; what syncs cost, `python -m
bench` says.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import thread_time

from bench.machine import print_machine
from referral_api.auditlog.leaf import LeafKind, encode_leaf, leaf_of, parse_leaf
from referral_api.auditlog.merkle import Frontier, leaf_hash, verify_inclusion
from referral_api.auditlog.tiles import TILE_WIDTH
from referral_api.server.storage import logbook
from referral_api.server.storage.database import Database

MILLION = 1_000_000
BATCHES = (1, 16, 64)
ROUNDS, LEAVES_A_ROUND = 9, 512
"""Two tiles of the lowest level are filled in every round, whatever the batch."""
PROOFS = 200
FULL, EMPTY = "audit/2026", "audit/2027"
TARGETS = "targets (floor / goal): 5 / 1 s, 2 / 0.3 ms, 60 / 10 us and flat"
_FILLING = ("journal_mode = OFF", "synchronous = OFF", "cache_size = -500000")
_FILL_BATCH = 4096


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured of a log of so many leaves, in seconds of the processor."""

    leaves: int
    verified_s: float
    tenth_verified_s: float
    """The same of a tenth of it, to see that it grows in a line."""
    proof_s: float
    at_nothing: Mapping[int, float]
    """By batch: one leaf's append to an empty log."""
    at_size: Mapping[int, float]
    """The same to the log of so many leaves."""

    @property
    def growth(self) -> Mapping[int, float]:
        """By batch: how much more an append costs with all these leaves before it."""
        return {batch: self.at_size[batch] / self.at_nothing[batch] for batch in BATCHES}

    def lines(self) -> list[str]:
        """The figures for people."""
        appends = [
            f"append, batch {batch}: {self.at_nothing[batch] * 1e6:.1f} us a leaf at 0, {self.at_size[batch] * 1e6:.1f}"
            f" us at {self.leaves:,}, ratio {self.growth[batch]:.2f}"
            for batch in BATCHES
        ]
        tenth = f"a tenth of them {self.tenth_verified_s:.2f} s"
        return [
            f"full verification of {self.leaves:,} leaves, read, parsed, hashed: {self.verified_s:.2f} s; {tenth}",
            f"inclusion proof at {self.leaves:,} leaves, from tiles: {self.proof_s * 1e3:.2f} ms",
            *appends,
        ]


def measure(folder: Path, leaves: int = MILLION) -> Figures:
    """Fill a log in a new database in `folder`, and measure. What is measured is also verified."""
    url = f"sqlite:///{folder}/log.sqlite"
    Database.create(url).close()
    with Database.open(url) as database:
        session = database._driver.writer.raw_connection()
        for pragma in _FILLING:
            session.cursor().execute(f"PRAGMA {pragma}")
        session.close()
        with database.write() as tx:
            head = logbook.lock(tx, [FULL])[FULL]
            while head.size < leaves:
                head = logbook.append(tx, head, _leaves(head.size, min(_FILL_BATCH, leaves - head.size))).head
    # Opened again it is a database like the exchange's, with its own settings.
    with Database.open(url) as database:
        verified_s, tenth_s = _verified_s(database, leaves), _verified_s(database, leaves // 10)
        proof_s = _proof_s(database, leaves)
        return Figures(leaves, verified_s, tenth_s, proof_s, *_appends_s(database))


def main(words: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.log")
    parser.add_argument("--leaves", type=int, default=MILLION, help="how many leaves the log has")
    parser.add_argument("--dir", default=None, help="where the database goes; not a tmpfs")
    options = parser.parse_args(words)
    folder = Path(tempfile.mkdtemp(prefix="referral-bench-", dir=options.dir))
    try:
        print_machine(folder)
        for line in measure(folder, options.leaves).lines():
            print(line, flush=True)
        print(TARGETS)
    finally:
        shutil.rmtree(folder)
    return 0


def _leaves(first: int, count: int) -> list[bytes]:
    """Leaves as long as an exchange's."""
    return [
        encode_leaf(leaf_of(b"%d" % index, LeafKind.ACT, 1_790_000_000 + index))
        for index in range(first, first + count)
    ]


def _appends_s(database: Database) -> tuple[dict[int, float], dict[int, float]]:
    """By batch: one leaf's share of taking the log's lock and appending, to the empty log and to the full one."""
    spent: dict[str, dict[int, float]] = {EMPTY: {}, FULL: {}}
    for batch in BATCHES:
        rounds: dict[str, list[float]] = {EMPTY: [], FULL: []}
        for _ in range(ROUNDS):
            # In turns, so that whatever else the machine does is done to both.
            for log, took in rounds.items():
                took.append(_append_s(database, log, batch))
        for log, took in rounds.items():
            spent[log][batch] = median(took)
    return spent[EMPTY], spent[FULL]


def _append_s(database: Database, log: str, batch: int) -> float:
    batches = [_leaves(at, batch) for at in range(0, LEAVES_A_ROUND, batch)]
    # In one transaction, for after each wait for a disk the processor would have to get warm again.
    with database.write() as tx:
        begun = thread_time()
        for new in batches:
            logbook.append(tx, logbook.lock(tx, [log])[log], new)
        return (thread_time() - begun) / LEAVES_A_ROUND


def _proof_s(database: Database, size: int) -> float:
    """One proof, of leaves all over the log."""
    with database.read() as conn:
        root = logbook.frontier_at(conn, FULL, size).root()
        indices = [at * (size - 1) // PROOFS for at in range(PROOFS)]
        begun = thread_time()
        proofs = [logbook.inclusion(conn, FULL, index, size) for index in indices]
        took = thread_time() - begun
        for index, proof in zip(indices, proofs, strict=True):
            verify_inclusion(index, size, leaf_hash(logbook.leaf(conn, FULL, index)), proof, root)
    return took / PROOFS


def _verified_s(database: Database, size: int) -> float:
    """The first leaves of the log, bundle by bundle, to their root."""
    frontier, begun = Frontier(), thread_time()
    with database.read() as conn:
        for start in range(0, size, TILE_WIDTH):
            found = logbook.leaves(conn, FULL, start, min(start + TILE_WIDTH, size))
            for leaf in found:
                parse_leaf(leaf)
            frontier = frontier.extend([leaf_hash(leaf) for leaf in found])
        took = thread_time() - begun
        if frontier != logbook.frontier_at(conn, FULL, size):
            raise SystemExit("the leaves do not hash to the root of their tiles")
    return took


if __name__ == "__main__":
    sys.exit(main())
