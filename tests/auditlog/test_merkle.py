"""The tree against the naive recursion of RFC 6962, its proofs against every corruption (R-90, R-94)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from referral_api.auditlog.merkle import (
    EMPTY_ROOT,
    MAX_SIZE,
    Frontier,
    TileRun,
    append,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    parse_frontier,
    verify_consistency,
    verify_inclusion,
)
from referral_api.domain.errors import ErrorCode
from tests.auditlog import naive
from tests.auditlog.refusals import refused

SMALL = 130
SAMPLED = (131, 255, 256, 257, 511, 512, 513, 767, 1000, 1023, 1024, 1025)
SOME = sha256(b"some other hash").digest()


def grown(size: int) -> Frontier:
    return Frontier().extend([leaf_hash(naive.leaf(index)) for index in range(size)])


def hashes(start: int, end: int) -> list[bytes]:
    return [leaf_hash(naive.leaf(index)) for index in range(start, end)]


def sampled_pairs() -> Iterator[tuple[int, int]]:
    for size in SAMPLED:
        for other in {1, 2, 3, 127, 128, 129, size // 3, size // 2, size // 2 + 1, size - 2, size - 1, size}:
            if other <= size:
                yield other, size


def test_hashes_are_those_of_rfc_6962() -> None:
    assert leaf_hash(b"").hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert node_hash(b"\x01" * 32, b"\x02" * 32) == sha256(b"\x01" + b"\x01" * 32 + b"\x02" * 32).digest()


def test_a_published_tree_of_eight_leaves_has_its_published_roots() -> None:
    # The leaves and roots with which implementations of Certificate Transparency have tested themselves since 2013.
    leaves = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
    roots = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ]
    frontier = Frontier()
    for text, root in zip(leaves, roots, strict=True):
        frontier = frontier.extend([leaf_hash(bytes.fromhex(text))])
        assert frontier.root().hex() == root


def test_every_small_tree_and_a_sample_of_larger_ones_has_the_naive_root() -> None:
    for size in (*range(SMALL + 1), *SAMPLED):
        assert grown(size).root() == naive.root(size)


def test_every_inclusion_proof_of_small_trees_equals_the_naive_one_and_verifies() -> None:
    for size in range(1, SMALL + 1):
        for index in range(size):
            proof = inclusion_proof(index, size, naive.subtree)
            assert list(proof) == naive.path(index, 0, size)
            leaf = leaf_hash(naive.leaf(index))
            assert verify_inclusion(index, size, leaf, proof, naive.root(size)) == leaf


def test_every_consistency_proof_of_small_trees_equals_the_naive_one_and_verifies() -> None:
    for new in range(1, SMALL + 1):
        for old in range(1, new + 1):
            proof = consistency_proof(old, new, naive.subtree)
            assert list(proof) == naive.proof(old, new)
            assert verify_consistency(old, naive.root(old), new, naive.root(new), proof) == naive.root(new)


@pytest.mark.parametrize(("old", "new"), list(sampled_pairs()))
def test_proofs_of_sampled_larger_trees_equal_the_naive_ones_and_verify(old: int, new: int) -> None:
    inclusion = inclusion_proof(old - 1, new, naive.subtree)
    assert list(inclusion) == naive.path(old - 1, 0, new)
    verify_inclusion(old - 1, new, leaf_hash(naive.leaf(old - 1)), inclusion, naive.root(new))
    consistency = consistency_proof(old, new, naive.subtree)
    assert list(consistency) == naive.proof(old, new)
    verify_consistency(old, naive.root(old), new, naive.root(new), consistency)


@given(st.lists(st.integers(0, 70), max_size=12))
def test_any_batching_gives_the_naive_root_and_every_proof_of_every_batch_verifies(batches: list[int]) -> None:
    frontier, stored = Frontier(), dict[tuple[int, int], bytes]()
    for count in batches:
        old = frontier.size
        growth = append(frontier, hashes(old, old + count))
        frontier = growth.frontier
        assert (frontier.size, growth.root) == (old + count, frontier.root()) == (old + count, naive.root(old + count))
        assert len(growth.proofs) == count
        for index, proof in enumerate(growth.proofs, old):
            assert list(proof) == naive.path(index, 0, frontier.size)
        for run in growth.runs:
            stored |= {(8 * run.level, run.start + at): one for at, one in enumerate(run.hashes)}
    assert stored == {
        (level, position): naive.subtree(level, position)
        for level in range(0, 64, 8)
        for position in range(frontier.size >> level)
    }
    assert frontier == grown(frontier.size)


@pytest.mark.parametrize("size", [255, 256, 257, 65_535, 65_536, 65_537])
def test_one_leaf_at_a_time_across_tile_boundaries_equals_one_batch(size: int) -> None:
    before = grown(size - 3)
    stepwise, runs = before, list[TileRun]()
    for index in range(size - 3, size):
        growth = append(stepwise, hashes(index, index + 1))
        verify_inclusion(index, index + 1, leaf_hash(naive.leaf(index)), growth.proofs[0], growth.root)
        stepwise = growth.frontier
        runs += growth.runs
    batch = append(before, hashes(size - 3, size))
    assert stepwise == batch.frontier == grown(size)
    assert [one for run in runs if run.level > 0 for one in run.hashes] == [
        one for run in batch.runs if run.level > 0 for one in run.hashes
    ]
    crossed = {level for level in (1, 2) if (size - 3) >> (8 * level) != size >> (8 * level)}
    assert {run.level for run in batch.runs} == {0} | crossed


@pytest.mark.parametrize("sizes", [range(SMALL), (254, 255, 256, 257, 511, 512), (65_534, 65_535, 65_536)])
def test_a_lone_leaf_yields_exactly_what_the_naive_tree_says(sizes: Sequence[int]) -> None:
    for size in sizes:
        growth = append(grown(size), hashes(size, size + 1))
        completed = [level for level in (0, 8, 16) if (size + 1) % (1 << level) == 0]
        assert growth.root == naive.root(size + 1)
        assert growth.proofs == (tuple(naive.path(size, 0, size + 1)),)
        assert growth.frontier.nodes() == {
            (level, ((size + 1) >> level) - 1): naive.subtree(level, ((size + 1) >> level) - 1)
            for level in range(size.bit_length() + 1)
            if (size + 1) >> level & 1
        }
        assert growth.runs == tuple(
            TileRun(level // 8, size >> level, (naive.subtree(level, size >> level),)) for level in completed
        )


def test_an_empty_append_changes_nothing() -> None:
    before = grown(11)
    assert before.extend([]) is before
    assert append(before, []).frontier is before
    assert append(Frontier(), []).root == EMPTY_ROOT


def corrupted(proof: tuple[bytes, ...]) -> Iterator[tuple[bytes, ...]]:
    yield (*proof, SOME)
    yield (SOME, *proof)
    for at in range(len(proof)):
        yield proof[:at] + proof[at + 1 :]
        yield (*proof[:at], SOME, *proof[at + 1 :])
        yield (*proof[:at], proof[at][:-1], *proof[at + 1 :])
        yield (*proof[:at], proof[at] + b"\0", *proof[at + 1 :])
        yield (*proof[:at], bytes([proof[at][0] ^ 1]) + proof[at][1:], *proof[at + 1 :])
    for at in range(len(proof) - 1):
        yield (*proof[:at], proof[at + 1], proof[at], *proof[at + 2 :])
        # Two hashes joined, or one cut in two, hash to the same bytes unless every length is checked.
        yield (*proof[:at], proof[at] + proof[at + 1], *proof[at + 2 :])


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 9, 64, 100])
def test_no_corrupted_inclusion_proof_is_believed(size: int) -> None:
    root = naive.root(size)
    for index in {0, 1, size // 2, size - 1} & set(range(size)):
        leaf, proof = leaf_hash(naive.leaf(index)), inclusion_proof(index, size, naive.subtree)
        for wrong in corrupted(proof):
            refused(ErrorCode.NOT_INCLUDED, verify_inclusion, index, size, leaf, wrong, root)
        for other in set(range(size + 2)) - {index}:
            refused(ErrorCode.NOT_INCLUDED, verify_inclusion, other, size, leaf, proof, root)
        refused(ErrorCode.NOT_INCLUDED, verify_inclusion, index, size, SOME, proof, root)
        refused(ErrorCode.NOT_INCLUDED, verify_inclusion, index, size, leaf, proof, SOME)


def test_the_reason_of_a_refused_inclusion_proof_is_told() -> None:
    leaf, proof, root = leaf_hash(naive.leaf(3)), tuple(naive.path(3, 0, 7)), naive.root(7)
    assert refused(ErrorCode.NOT_INCLUDED, verify_inclusion, 7, 7, leaf, proof, root) == "index"
    assert refused(ErrorCode.NOT_INCLUDED, verify_inclusion, -1, 7, leaf, proof, root) == "index"
    assert refused(ErrorCode.NOT_INCLUDED, verify_inclusion, 0, 0, leaf, (), EMPTY_ROOT) == "index"
    assert refused(ErrorCode.NOT_INCLUDED, verify_inclusion, 3, MAX_SIZE + 1, leaf, proof, root) == "index"
    assert refused(ErrorCode.NOT_INCLUDED, verify_inclusion, 3, 7, leaf, proof[1:], root) == "length"
    assert refused(ErrorCode.NOT_INCLUDED, verify_inclusion, 3, 7, leaf[1:], proof, root) == "length"
    assert refused(ErrorCode.NOT_INCLUDED, verify_inclusion, 3, 7, SOME, proof, root) == "root"


@pytest.mark.parametrize(
    ("old", "new"), [(1, 2), (2, 3), (3, 7), (4, 8), (6, 8), (8, 9), (7, 100), (64, 100), (63, 64)]
)
def test_no_corrupted_consistency_proof_is_believed(old: int, new: int) -> None:
    proof, old_root, new_root = consistency_proof(old, new, naive.subtree), naive.root(old), naive.root(new)
    for wrong in corrupted(proof):
        refused(
            ErrorCode.INCONSISTENT,
            verify_consistency,
            old,
            old_root,
            new,
            new_root,
            wrong,
        )
    for other in set(range(1, new)) - {old}:
        refused(
            ErrorCode.INCONSISTENT,
            verify_consistency,
            other,
            old_root,
            new,
            new_root,
            proof,
        )
    refused(ErrorCode.INCONSISTENT, verify_consistency, old, SOME, new, new_root, proof)
    refused(ErrorCode.INCONSISTENT, verify_consistency, old, old_root, new, SOME, proof)
    refused(ErrorCode.INCONSISTENT, verify_consistency, new, new_root, old, old_root, proof)


def test_equal_and_empty_trees_are_consistent_only_with_an_empty_proof() -> None:
    root = naive.root(5)
    assert verify_consistency(5, root, 5, root, ()) == root
    assert verify_consistency(0, EMPTY_ROOT, 5, root, ()) == root
    assert verify_consistency(0, EMPTY_ROOT, 0, EMPTY_ROOT, ()) == EMPTY_ROOT
    assert refused(ErrorCode.INCONSISTENT, verify_consistency, 5, root, 5, SOME, ()) == "old-root"
    assert refused(ErrorCode.INCONSISTENT, verify_consistency, 5, root, 5, root, (SOME,)) == "length"
    assert refused(ErrorCode.INCONSISTENT, verify_consistency, 0, SOME, 5, root, ()) == "old-root"
    assert refused(ErrorCode.INCONSISTENT, verify_consistency, 0, EMPTY_ROOT, 5, root, (SOME,)) == "length"
    assert refused(ErrorCode.INCONSISTENT, verify_consistency, 0, EMPTY_ROOT, 0, SOME, ()) == "new-root"
    assert refused(ErrorCode.INCONSISTENT, verify_consistency, 0, EMPTY_ROOT[1:], 5, root, ()) == "length"


def test_the_reason_of_a_refused_consistency_proof_is_told() -> None:
    proof, old, new = tuple(naive.proof(3, 7)), naive.root(3), naive.root(7)
    assert refused(ErrorCode.INCONSISTENT, verify_consistency, 7, new, 3, old, proof) == "size"
    assert refused(ErrorCode.INCONSISTENT, verify_consistency, -1, old, 7, new, proof) == "size"
    assert refused(ErrorCode.INCONSISTENT, verify_consistency, 3, old, MAX_SIZE + 1, new, proof) == "size"
    assert refused(ErrorCode.INCONSISTENT, verify_consistency, 3, old, 7, new, proof[:-1]) == "length"
    assert refused(ErrorCode.INCONSISTENT, verify_consistency, 3, SOME, 7, new, proof) == "old-root"
    assert refused(ErrorCode.INCONSISTENT, verify_consistency, 3, old, 7, SOME, proof) == "new-root"


def test_proofs_that_cannot_exist_are_never_computed() -> None:
    for index, size in ((0, 0), (5, 5), (-1, 5), (0, MAX_SIZE + 1)):
        with pytest.raises(ValueError, match="leaf"):
            inclusion_proof(index, size, naive.subtree)
    for old, new in ((6, 5), (-1, 5), (1, MAX_SIZE + 1)):
        with pytest.raises(ValueError, match="extends"):
            consistency_proof(old, new, naive.subtree)
    assert consistency_proof(0, 5, naive.subtree) == consistency_proof(5, 5, naive.subtree) == ()


@given(st.integers(0, 600))
def test_a_frontier_survives_its_bytes(size: int) -> None:
    frontier = grown(size)
    assert parse_frontier(frontier.to_bytes()) == frontier


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\0" * 7,
        b"\0" * 9,
        grown(3).to_bytes()[:-1],
        grown(3).to_bytes() + b"\0",
        grown(3).to_bytes() + SOME,
        b"\xff" * 8 + SOME * 64,
    ],
)
def test_bytes_that_are_no_frontier_are_refused(raw: bytes) -> None:
    assert refused(ErrorCode.MALFORMED, parse_frontier, raw) == "frontier"


@pytest.mark.parametrize("size", [0, 1, 2, 3, 12, 13, 127, 128, 255])
def test_the_nodes_of_a_frontier_are_the_perfect_subtrees_of_its_right_edge(size: int) -> None:
    nodes = grown(size).nodes()
    assert len(nodes) == size.bit_count()
    assert all(one == naive.subtree(level, position) for (level, position), one in nodes.items())
    assert sum(1 << level for level, _ in nodes) == size


def test_a_frontier_with_a_missing_or_short_hash_cannot_be_built() -> None:
    assert refused(ErrorCode.MALFORMED, Frontier, 3, (SOME,)) == "frontier"
    assert refused(ErrorCode.MALFORMED, Frontier, 1, (SOME[1:],)) == "frontier"
    assert refused(ErrorCode.MALFORMED, Frontier, -1, (SOME,)) == "frontier"
