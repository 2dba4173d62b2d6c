"""The logs in real databases against the naive recursion, at the sizes where tiles begin and end."""

# ruff: noqa: PT012  # the end of the transaction is part of what raises

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from referral_api.auditlog.merkle import (
    Frontier,
    leaf_hash,
    verify_consistency,
    verify_inclusion,
)
from referral_api.domain.errors import ErrorCode
from referral_api.domain.terms import Term
from referral_api.server.storage import logbook
from referral_api.server.storage.database import Database
from tests.auditlog.naive import mth as tree_hash
from tests.auditlog.refusals import refused
from tests.server.storage.ledger import AUDIT, append, edge_of, leaves_of, tamper

BOUNDARIES = (0, 1, 2, 3, 255, 256, 257, 511, 512, 513, 600)


def test_a_position_orders_like_the_logs() -> None:
    terms = [Term(1000), Term(2026), Term(2026, 2), Term(2026, 9), Term(2027), Term(7999, 9)]
    places = [(term, index) for term in terms for index in (0, 1, 2**36 - 1)]
    positions = [logbook.position(*place) for place in places]
    assert positions == sorted(positions)
    assert len(set(positions)) == len(positions)
    assert [logbook.term_index(pos) for pos in positions] == places
    assert positions[-1] < 2**63
    # A year's first log has the positions that it had before there were terms.
    assert logbook.position(Term(2026), 7) == 2026 * 2**40 + 7
    assert logbook.position(Term(2026, 2), 7) == 2026 * 2**40 + 2**36 + 7


@pytest.mark.parametrize("index", [-1, 2**36, 2**40])
def test_there_is_no_position_outside_the_logs(index: int) -> None:
    with pytest.raises(ValueError, match="no such place"):
        logbook.position(Term(2026), index)


@pytest.mark.parametrize("pos", [0, -1, 999 << 40, 8000 << 40, 2026 << 40 | 9 << 36, 2026 << 40 | 15 << 36, 2**63])
def test_a_number_that_is_no_position_is_in_no_term(pos: int) -> None:
    with pytest.raises(ValueError, match="no such term"):
        logbook.term_index(pos)


@pytest.mark.parametrize("batch", [1, 255, 256, 257, 300])
def test_every_batching_gives_the_naive_tree_and_proofs_that_verify(database: Database, batch: int) -> None:
    leaves = leaves_of(0, 600)
    for start in range(0, 600, batch):
        done = append(database, leaves[start : start + batch])
        assert done.head.frontier == edge_of(leaves[: done.size])
        assert (done.first, done.size) == (start, min(start + batch, 600))
        for at in (0, len(done.proofs) - 1):
            verify_inclusion(done.first + at, done.size, done.leaf_hashes[at], done.proofs[at], done.root)
        assert done.root == tree_hash(leaves[: done.size])
    with database.read() as conn:
        assert logbook.size(conn, AUDIT) == 600
        assert logbook.frontier(conn, AUDIT) == edge_of(leaves)
        for size in BOUNDARIES[1:]:
            root = tree_hash(leaves[:size])
            for index in {0, size // 2, size - 1, min(size - 1, 255), min(size - 1, 256)}:
                proof = logbook.inclusion(conn, AUDIT, index, size)
                verify_inclusion(index, size, leaf_hash(leaves[index]), proof, root)
        for old in BOUNDARIES:
            for new in BOUNDARIES:
                if old <= new:
                    proof = logbook.consistency(conn, AUDIT, old, new)
                    verify_consistency(old, tree_hash(leaves[:old]), new, tree_hash(leaves[:new]), proof)


def test_a_tile_is_served_when_it_exists_and_never_before(database: Database) -> None:
    append(database, leaves_of(0, 255))
    with database.read() as conn:
        assert len(logbook.tile(conn, AUDIT, 0, 0, 255)) == 255 * 32
        assert refused(ErrorCode.NOT_FOUND, logbook.tile, conn, AUDIT, 0, 0, 256) == "None"
        assert refused(ErrorCode.NOT_FOUND, logbook.tile, conn, AUDIT, 1, 0, 1) == "None"
        assert refused(ErrorCode.NOT_FOUND, logbook.entries, conn, AUDIT, 0, 256) == "None"
        early = logbook.tile(conn, AUDIT, 0, 0, 17)
    append(database, leaves_of(255, 256))
    hashes = b"".join(leaf_hash(leaf) for leaf in leaves_of(0, 256))
    with database.read() as conn:
        assert logbook.tile(conn, AUDIT, 0, 0, 256) == hashes
        assert logbook.tile(conn, AUDIT, 0, 0, 17) == early == hashes[: 17 * 32]
        assert logbook.tile(conn, AUDIT, 1, 0, 1) == tree_hash(leaves_of(0, 256))
        assert logbook.entries(conn, AUDIT, 0, 256) == leaves_of(0, 256)
        for level, index, width in [(0, 1, 1), (1, 0, 2), (2, 0, 1), (0, 0, 0), (0, 0, 257)]:
            refused(ErrorCode.NOT_FOUND, logbook.tile, conn, AUDIT, level, index, width)
        refused(ErrorCode.NOT_FOUND, logbook.tile, conn, "audit/2027", 0, 0, 1)


def test_entries_and_leaves_are_exact_bytes(database: Database) -> None:
    odd = [b"", b"\x00", bytes(range(256)), "señal — ✓".encode(), b"x" * 65535]
    append(database, odd)
    with database.read() as conn:
        assert logbook.entries(conn, AUDIT, 0, 5) == odd
        assert logbook.entries(conn, AUDIT, 0, 2) == odd[:2]
        assert logbook.leaf(conn, AUDIT, 3) == odd[3]
        assert logbook.leaves(conn, AUDIT, 1, 99) == odd[1:]
        assert logbook.leaf_hashes(conn, AUDIT, 4, 5) == [leaf_hash(odd[4])]
        refused(ErrorCode.NOT_FOUND, logbook.leaf, conn, AUDIT, 5)
        refused(ErrorCode.NOT_FOUND, logbook.inclusion, conn, AUDIT, 5, 5)
        refused(ErrorCode.NOT_FOUND, logbook.inclusion, conn, AUDIT, 0, 6)
        refused(ErrorCode.NOT_FOUND, logbook.consistency, conn, AUDIT, 3, 2)
        refused(ErrorCode.NOT_FOUND, logbook.consistency, conn, AUDIT, 0, 6)


def test_logs_are_separate_and_may_grow_in_one_transaction(database: Database) -> None:
    with database.write() as tx:
        heads = logbook.lock(tx, ["audit/2026", "keys", "audit/2027"])
        assert list(heads) == ["keys", "audit/2026", "audit/2027"]
        first = logbook.append(tx, heads["keys"], leaves_of(0, 2, "key"))
        again = logbook.append(tx, first.head, leaves_of(2, 3, "key"))
        logbook.append(tx, heads["audit/2026"], leaves_of(0, 300))
        nothing = logbook.append(tx, heads["audit/2027"], [])
        assert (nothing.size, nothing.proofs) == (0, ())
    with database.read() as conn:
        assert logbook.names(conn) == ["keys", "audit/2026", "audit/2027"]
        assert [logbook.size(conn, name) for name in logbook.names(conn)] == [3, 300, 0]
        assert logbook.frontier(conn, "keys") == again.frontier == edge_of(leaves_of(0, 3, "key"))


def test_a_rolled_back_append_leaves_no_trace(database: Database) -> None:
    append(database, leaves_of(0, 250))
    with pytest.raises(ZeroDivisionError), database.write() as tx:
        logbook.append(tx, logbook.lock(tx, [AUDIT])[AUDIT], leaves_of(250, 300, "lost"))
        raise ZeroDivisionError
    append(database, leaves_of(250, 300))
    with database.read() as conn:
        assert logbook.frontier(conn, AUDIT) == edge_of(leaves_of(0, 300))
        assert logbook.tile(conn, AUDIT, 0, 0, 256) == b"".join(leaf_hash(leaf) for leaf in leaves_of(0, 256))


def test_a_head_that_is_not_the_logs_any_more_appends_nothing(database: Database) -> None:
    append(database, leaves_of(0, 3))
    stale = logbook.Head(AUDIT, edge_of(leaves_of(0, 2)))
    ahead = logbook.Head(AUDIT, edge_of(leaves_of(0, 9)))
    for head in (stale, ahead, logbook.Head(AUDIT, Frontier())):
        with pytest.raises(Exception, match="internal"), database.write() as tx:
            logbook.append(tx, head, leaves_of(2, 4, "fork"))
    with database.read() as conn:
        assert logbook.leaves(conn, AUDIT, 0, 99) == leaves_of(0, 3)


@pytest.mark.postgres
def test_processes_on_one_postgres_append_in_turn_without_gap_or_fork(postgres_database: str) -> None:
    Database.create(postgres_database).close()
    start = threading.Barrier(4)

    def write(word: str) -> None:
        with Database.open(postgres_database) as own:
            start.wait()
            for number in range(40):
                with own.write() as tx:
                    heads = logbook.lock(tx, [AUDIT, "keys"])
                    logbook.append(tx, heads[AUDIT], leaves_of(number, number + 2, word))
                    if number % 8 == 0:
                        logbook.append(tx, heads["keys"], leaves_of(number, number + 1, word))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, ["a", "b", "c", "d"]))
    with Database.open(postgres_database) as database, database.read() as conn:
        leaves = logbook.leaves(conn, AUDIT, 0, 1000)
        assert sorted(leaves) == sorted(
            leaf for word in "abcd" for n in range(40) for leaf in leaves_of(n, n + 2, word)
        )
        assert logbook.frontier(conn, AUDIT) == edge_of(leaves)
        assert logbook.tile(conn, AUDIT, 0, 0, 256) == b"".join(leaf_hash(leaf) for leaf in leaves[:256])
        assert logbook.size(conn, "keys") == 20


def test_the_newest_checkpoint_is_found_and_gains_cosignatures(database: Database) -> None:
    with database.read() as conn:
        assert logbook.latest_checkpoint(conn, AUDIT) is None
    with database.write() as tx:
        logbook.save_checkpoint(tx, AUDIT, 9, "nine — signed\n".encode(), 100)
        logbook.save_checkpoint(tx, AUDIT, 10, b"ten\n", 101)
        logbook.save_checkpoint(tx, "keys", 99, b"another log\n", 102)
        logbook.save_cosigned(tx, AUDIT, 10, b"ten\ncosigned\n", 103, witnessed=False)
        # What another process has signed at the same size must not take the cosignatures away.
        logbook.save_checkpoint(tx, AUDIT, 10, b"ten\n", 104)
    with database.read() as conn:
        ten = logbook.StoredCheckpoint(10, b"ten\ncosigned\n", 101)
        assert logbook.latest_checkpoint(conn, AUDIT) == logbook.find_checkpoint(conn, AUDIT, 10) == ten
        assert logbook.find_checkpoint(conn, AUDIT, 11) is None
        assert logbook.latest_witnessed(conn, AUDIT) is None


def test_the_newest_checkpoint_of_a_quorum_is_found_behind_newer_ones(database: Database) -> None:
    with database.write() as tx:
        for size in (7, 8, 9):
            logbook.save_checkpoint(tx, AUDIT, size, b"signed\n", 100)
        logbook.save_cosigned(tx, AUDIT, 7, b"seven\n", 101, witnessed=True)
        logbook.save_cosigned(tx, AUDIT, 8, b"eight\n", 102, witnessed=True)
        # Once witnessed, always witnessed; a checkpoint that was not saved before is saved with its cosignatures.
        logbook.save_cosigned(tx, AUDIT, 8, b"eight again\n", 103, witnessed=False)
        logbook.save_cosigned(tx, "keys", 3, b"three\n", 104, witnessed=True)
    with database.read() as conn:
        assert logbook.latest_witnessed(conn, AUDIT) == logbook.StoredCheckpoint(8, b"eight again\n", 100)
        assert logbook.latest_witnessed(conn, "keys") == logbook.StoredCheckpoint(3, b"three\n", 104)


def test_a_hole_or_a_short_tile_is_tampering(database_url: str) -> None:
    with Database.create(database_url) as database:
        append(database, leaves_of(0, 300))
    tamper(database_url, "DELETE FROM log_entry WHERE idx = 7")
    tamper(database_url, "UPDATE log_tile SET data = substr(data, 1, 100) WHERE lvl = 0")
    with Database.open(database_url) as database, database.read() as conn:
        refused(ErrorCode.TAMPERED, logbook.leaves, conn, AUDIT, 0, 20)
        refused(ErrorCode.TAMPERED, logbook.entries, conn, AUDIT, 0, 256)
        refused(ErrorCode.TAMPERED, logbook.tile, conn, AUDIT, 0, 0, 256)
        refused(ErrorCode.TAMPERED, logbook.inclusion, conn, AUDIT, 3, 300)
