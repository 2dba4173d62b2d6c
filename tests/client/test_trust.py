"""The replica of the keys log and the growth of logs (R-30, R-94), without any connection."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from referral_api.auditlog.checkpoint import Checkpoint, log_key
from referral_api.auditlog.merkle import Frontier, leaf_hash
from referral_api.auditlog.tiles import ENTRIES, TILE_WIDTH, TileName, encode_entries
from referral_api.client import trust
from referral_api.client.profile import Pin, Profile
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import KeyUse, PartyId
from referral_api.formats.statements import KeyMap
from referral_api.formats.strict_json import sha256_b64u
from tests.client.world import consistency, directory
from tests.formats import parties_world as pw

LEAVES = directory().leaves
PROFILE = Profile(pw.ISSUER, pw.ISSUER, sha256_b64u(LEAVES[0]), "sandbox", PartyId("pnp-trata-piura"))


def pin_of(leaves: list[bytes]) -> Pin:
    return Pin(len(leaves), Frontier().extend([leaf_hash(leaf) for leaf in leaves]).root())


def refused(code: ErrorCode, reason: str = "") -> pytest.RaisesExc[ReferralError]:
    return pytest.raises(ReferralError, match=f"{code.value}.*{reason}")


def test_a_replica_comes_back_from_its_file_exactly_as_it_was_pinned() -> None:
    replica = trust.Replica(PROFILE, LEAVES[0])
    replica.extend(LEAVES[1:])
    again = trust.load_replica(PROFILE, replica.encode(), pin_of(LEAVES))
    assert again.leaves == LEAVES
    assert [party.id for party in again.keymap.parties()] == [party.id for party in replica.keymap.parties()]


@pytest.mark.parametrize("change", ["truncated", "changed", "longer", "other-pin"])
def test_a_file_that_is_not_what_was_pinned_is_not_loaded(change: str) -> None:
    raw, pin = encode_entries(LEAVES), pin_of(LEAVES)
    if change == "truncated":
        raw = encode_entries(LEAVES[:-1])
    elif change == "changed":
        raw = raw[:-40] + bytes([raw[-40] ^ 1]) + raw[-39:]
    elif change == "longer":
        raw = encode_entries([*LEAVES, LEAVES[-1]])
    else:
        pin = Pin(pin.size, b"x" * 32)
    with pytest.raises(ReferralError):
        trust.load_replica(PROFILE, raw, pin)


def test_a_replica_starts_from_the_pinned_root_of_this_exchange_and_from_no_other() -> None:
    with refused(ErrorCode.WRONG_ROOT):
        trust.Replica(PROFILE, pw.genesis(registrars_required=2, environment="production"))
    elsewhere = Profile("https://b.example", "https://b.example", PROFILE.root, "sandbox", PROFILE.party)
    with refused(ErrorCode.WRONG_ROOT, "issuer"):
        trust.Replica(elsewhere, LEAVES[0])


def test_what_was_pinned_must_be_a_beginning_of_what_is_there() -> None:
    replica = trust.Replica(PROFILE, LEAVES[0])
    replica.extend(LEAVES[1:])
    for size in (1, 7, len(LEAVES)):
        replica.verify_pin(pin_of(LEAVES[:size]))
    replica.verify_pin(None)
    with refused(ErrorCode.INCONSISTENT, "forked"):
        replica.verify_pin(Pin(7, b"x" * 32))
    with refused(ErrorCode.INCONSISTENT, "shrunk"):
        replica.verify_pin(Pin(len(LEAVES) + 1, b"x" * 32))


HASHES = [leaf_hash(b"%d" % number) for number in range(40)]


def checkpoint(size: int) -> Checkpoint:
    return Checkpoint("o", size, Frontier().extend(HASHES[:size]).root())


@given(st.integers(1, 40), st.integers(1, 40))
def test_growth_is_proved_in_both_directions_and_the_newer_head_is_kept(one: int, other: int) -> None:
    pin, seen = Pin(one, checkpoint(one).root), checkpoint(other)
    sizes = trust.growth_to_prove(pin, seen)
    assert sizes == (None if one == other else (min(one, other), max(one, other)))
    proof = [] if sizes is None else list(consistency(HASHES, *sizes))
    newer = max(one, other)
    assert trust.verify_growth(pin, seen, proof) == Pin(newer, checkpoint(newer).root)
    with refused(ErrorCode.INCONSISTENT):
        trust.verify_growth(Pin(one, b"x" * 32), seen, proof)


def test_the_first_checkpoint_of_a_log_is_taken_as_it_is() -> None:
    assert trust.growth_to_prove(None, checkpoint(5)) is None
    assert trust.verify_growth(None, checkpoint(5), []) == Pin(5, checkpoint(5).root)


@pytest.mark.parametrize(
    "answer",
    [
        {"from": 1, "to": 4, "proof": []},
        {"from": 1, "to": 3},
        {"from": 1, "to": 3, "proof": "x"},
        {"from": 1, "to": 3, "proof": [1]},
        {"from": 1, "to": 3, "proof": ["AAAA"] * 129},
        {},
    ],
)
def test_a_consistency_answer_for_other_sizes_or_of_another_shape_is_refused(answer: dict[str, object]) -> None:
    with refused(ErrorCode.INCONSISTENT):
        trust.parse_consistency(answer, (1, 3))


def test_the_bundles_to_fetch_are_those_that_hold_what_is_new() -> None:
    assert list(trust.entry_bundles(0, 1)) == [TileName(ENTRIES, 0, 1)]
    assert list(trust.entry_bundles(255, 257)) == [TileName(ENTRIES, 0), TileName(ENTRIES, 1, 1)]
    assert list(trust.entry_bundles(256, 600)) == [TileName(ENTRIES, 1), TileName(ENTRIES, 2, 88)]
    assert [name.width for name in trust.entry_bundles(0, 2 * TILE_WIDTH)] == [TILE_WIDTH, TILE_WIDTH]


def test_where_the_genesis_act_lists_two_log_keys_the_first_signs_for_every_reader_alike() -> None:
    """Exchange, client and auditor must not disagree about whose checkpoints count."""
    body = pw.genesis_body()
    spare = pw.key("exchange/log2")
    listed = [*body["keys"], {"kid": spare.kid, "jwk": spare.public.jwk, "use": "log"}]
    keymap = KeyMap.start(pw.genesis(keys=listed))
    first, second = (record.public for record in keymap.exchange_keys(KeyUse.LOG))
    origin = trust.keys_origin(keymap)
    assert trust.keys_policy(keymap).log == log_key(origin, first) != log_key(origin, second)
