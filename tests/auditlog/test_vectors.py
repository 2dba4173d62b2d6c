"""Every vector of schemas/vectors/log-*.json, and the generator that makes them (R-18, R-90, R-91, R-94)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from referral_api.auditlog.checkpoint import TrustPolicy, verify_checkpoint
from referral_api.auditlog.leaf import parse_leaf
from referral_api.auditlog.merkle import verify_consistency, verify_inclusion
from referral_api.auditlog.note import parse_vkey
from referral_api.auditlog.proof import verify_proof
from referral_api.auditlog.tiles import parse_tile_path, verify_servable
from referral_api.domain.errors import ReferralError
from referral_api.formats.strict_json import parse, unb64u
from tests.vectors import make_log_vectors as made

MAX_BYTES = 1 << 20


def inclusion(index: int, size: int, leaf_hash: str, proof: list[str], root: str) -> None:
    verify_inclusion(index, size, unb64u(leaf_hash), [unb64u(one) for one in proof], unb64u(root))


def consistency(old_size: int, new_size: int, old_root: str, new_root: str, proof: list[str]) -> None:
    verify_consistency(old_size, unb64u(old_root), new_size, unb64u(new_root), [unb64u(one) for one in proof])


def checkpoint(note: str, log: str, witnesses: list[str], quorum: int) -> None:
    policy = TrustPolicy(parse_vkey(log), tuple(parse_vkey(one) for one in witnesses), quorum)
    verify_checkpoint(note.encode(), policy)


def proof(proof: str, leaf: str, log: str) -> None:
    verify_proof(proof.encode(), unb64u(leaf), TrustPolicy(parse_vkey(log)))


def leaf(leaf: str) -> None:
    parse_leaf(leaf.encode())


def tile_path(path: str, size: int) -> None:
    verify_servable(parse_tile_path(path), size)


READERS: dict[str, Callable[..., None]] = {
    "log-inclusion.json": inclusion,
    "log-consistency.json": consistency,
    "log-checkpoint.json": checkpoint,
    "log-proof.json": proof,
    "log-leaf.json": leaf,
    "log-tile-path.json": tile_path,
}


def vectors() -> list[Any]:
    return [
        pytest.param(reader, one["input"], one["expect"], id=f"{name}: {one['name']}")
        for name, reader in READERS.items()
        for one in parse((made.FOLDER / name).read_bytes(), max_bytes=MAX_BYTES)
    ]


def outcome(reader: Callable[..., None], given: dict[str, Any]) -> str:
    try:
        reader(**given)
    except ReferralError as error:
        return error.code.value
    return "ok"


@pytest.mark.parametrize(("reader", "given", "expect"), vectors())
def test_every_vector_of_the_log_is_judged_as_expected(
    reader: Callable[..., None], given: dict[str, Any], expect: str
) -> None:
    assert outcome(reader, given) == expect


@pytest.mark.parametrize("name", READERS)
def test_each_file_has_names_of_its_own_and_both_outcomes(name: str) -> None:
    cases = parse((made.FOLDER / name).read_bytes(), max_bytes=MAX_BYTES)
    assert len({one["name"] for one in cases}) == len(cases)
    assert all(set(one) == {"name", "clause", "input", "expect"} for one in cases)
    assert "ok" in {one["expect"] for one in cases} != {"ok"}


def test_the_vectors_are_what_their_generator_makes() -> None:
    for name, content in made.files().items():
        assert (made.FOLDER / name).read_text(encoding="ascii") == content, f"{name} is stale"
