"""The start-up gate on both engines: what fits is signed to its end, what does not is named."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from referral_api.auditlog.checkpoint import TrustPolicy, log_key, verify_checkpoint
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.formats.keys import Alg, signing_key
from referral_api.server.storage import logbook
from referral_api.server.storage.database import Database
from referral_api.server.storage.gate import gate
from referral_api.server.storage.signer import SLOT_BYTES, state_path
from tests.server.storage.ledger import (
    AUDIT,
    LOG_KEY,
    PREFIX,
    append,
    claim,
    edge_of,
    leaves_of,
    roll_back,
    sign,
    signers_in,
    tamper,
)

SIZES = (1, 2, 255, 256, 257, 300, 512, 700)


def grow(url: str, state_dir: Path, size: int, *, signed: int) -> None:
    """An exchange whose audit log has `size` leaves, of which the first `signed` were signed."""
    with Database.create(url) as database:
        signers = signers_in(state_dir)
        signer = claim(database, signers)
        if signed:
            sign(database, signer, append(database, leaves_of(0, signed)))
        append(database, leaves_of(signed, size))
        signers.close()


def run_gate(url: str, state_dir: Path) -> dict[str, int]:
    """The sizes that the gate signed up to, each checkpoint verified. Whatever happens, everything is closed again."""
    signers = signers_in(state_dir)
    try:
        with Database.open(url) as database:
            checkpoints = gate(database, signers)
    finally:
        signers.close()
    for name, one in checkpoints.items():
        policy = TrustPolicy(log_key(f"{PREFIX}/{name}", LOG_KEY.public))
        assert verify_checkpoint(one.note, policy).root == one.root
    return {name: one.size for name, one in checkpoints.items()}


def closed_because(url: str, state_dir: Path) -> str:
    with pytest.raises(ReferralError) as caught:
        run_gate(url, state_dir)
    assert caught.value.code is ErrorCode.WRITES_CLOSED
    assert caught.value.facts["log"] in {AUDIT, "keys", "audit/2027"}
    return str(caught.value.facts["reason"])


@pytest.mark.parametrize("size", SIZES)
def test_what_fits_passes_twice(database_url: str, tmp_path: Path, size: int) -> None:
    grow(database_url, tmp_path / "signer", size, signed=size)
    before = state_path(tmp_path / "signer", AUDIT).read_bytes()
    assert run_gate(database_url, tmp_path / "signer") == {AUDIT: size}
    assert run_gate(database_url, tmp_path / "signer") == {AUDIT: size}
    assert state_path(tmp_path / "signer", AUDIT).read_bytes() == before


@pytest.mark.parametrize(("signed", "size"), [(0, 1), (0, 300), (1, 2), (255, 256), (256, 257), (300, 700)])
def test_a_committed_tail_is_signed_first(database_url: str, tmp_path: Path, signed: int, size: int) -> None:
    grow(database_url, tmp_path / "signer", size, signed=signed)
    assert run_gate(database_url, tmp_path / "signer") == {AUDIT: size}
    signers = signers_in(tmp_path / "signer")
    assert signers(AUDIT).size == size
    signers.close()


def test_a_new_exchange_passes(database_url: str, tmp_path: Path) -> None:
    with Database.create(database_url) as database, database.write() as tx:
        logbook.lock(tx, ["keys", AUDIT])
    (tmp_path / "signer").mkdir()
    # Locked, but never begun: a crash before the first leaf.
    assert run_gate(database_url, tmp_path / "signer") == {}
    signers_in(tmp_path / "signer").begin("keys")
    assert run_gate(database_url, tmp_path / "signer") == {}


def test_a_database_restored_from_a_backup_is_refused(database_url: str, tmp_path: Path) -> None:
    grow(database_url, tmp_path / "signer", 300, signed=300)
    for size in (299, 256, 255, 1):
        roll_back(database_url, size)
        assert closed_because(database_url, tmp_path / "signer") == "database-shorter"


def test_a_database_restored_and_grown_again_is_refused(database_url: str, tmp_path: Path) -> None:
    grow(database_url, tmp_path / "signer", 300, signed=300)
    roll_back(database_url, 290)
    with Database.open(database_url) as database:
        append(database, leaves_of(290, 300, "fork"))
    assert closed_because(database_url, tmp_path / "signer") == "database-differs"
    with Database.open(database_url) as database:
        append(database, leaves_of(300, 600, "fork"))
    assert closed_because(database_url, tmp_path / "signer") == "database-differs"


def test_the_lost_leaves_brought_back_bit_by_bit_pass(database_url: str, tmp_path: Path) -> None:
    grow(database_url, tmp_path / "signer", 300, signed=300)
    roll_back(database_url, 250)
    with Database.open(database_url) as database:
        append(database, leaves_of(250, 300))
    assert run_gate(database_url, tmp_path / "signer") == {AUDIT: 300}


def test_an_older_copy_of_the_state_is_told_by_what_it_never_signed(database_url: str, tmp_path: Path) -> None:
    here, copied = tmp_path / "signer", tmp_path / "copied"
    grow(database_url, here, 300, signed=300)
    shutil.copytree(here, copied)
    with Database.open(database_url) as database:
        signers = signers_in(here)
        newest = sign(database, signers(AUDIT), append(database, leaves_of(300, 310)))
        with database.write() as tx:
            logbook.save_checkpoint(tx, AUDIT, newest.size, newest.note, 1)
        signers.close()
    before = state_path(copied, AUDIT).read_bytes()
    assert closed_because(database_url, copied) == "signer-state-rolled-back"
    assert state_path(copied, AUDIT).read_bytes() == before
    assert run_gate(database_url, here) == {AUDIT: 310}


def test_a_lost_database_is_noticed(database_url: str, tmp_path: Path) -> None:
    grow(database_url, tmp_path / "signer", 3, signed=3)
    signers = signers_in(tmp_path / "signer")
    growth = leaves_of(0, 1)
    signers.begin("audit/2027").extend(0, edge_of(growth).hashes, lambda _first, _last: ())
    signers.close()
    assert closed_because(database_url, tmp_path / "signer") == "database-shorter"


def test_a_lost_signer_state_is_noticed(database_url: str, tmp_path: Path) -> None:
    grow(database_url, tmp_path / "signer", 3, signed=3)
    shutil.rmtree(tmp_path / "signer")
    assert closed_because(database_url, tmp_path / "signer") == "signer-state-missing"


def test_another_key_is_noticed(database_url: str, tmp_path: Path) -> None:
    grow(database_url, tmp_path / "signer", 3, signed=3)
    signers = signers_in(tmp_path / "signer", signing_key(Alg.ED25519, bytes(32)))
    with Database.open(database_url) as database, pytest.raises(ReferralError) as caught:
        gate(database, signers)
    assert caught.value.facts["reason"] == "signer-key"


@pytest.mark.parametrize(
    ("statement", "parameters"),
    [
        ("UPDATE log_entry SET leaf = {0} WHERE idx = 299", (b"other",)),
        ("UPDATE log_entry SET leaf = {0} WHERE idx = 256", (b"other",)),
        ("DELETE FROM log_entry WHERE idx = 299", ()),
        ("DELETE FROM log_entry WHERE idx = 270", ()),
        ("INSERT INTO log_entry VALUES ({0}, 300, {1})", (AUDIT, b"unsequenced")),
        ("UPDATE log_tile SET data = {0} WHERE lvl = 1", (b"x" * 32,)),
        ("UPDATE log_tile SET data = {0} WHERE lvl = 1", (b"x",)),
        ("DELETE FROM log_tile WHERE lvl = 1", ()),
        ("UPDATE log_state SET frontier = {0}", (edge_of(leaves_of(0, 300, "fork")).to_bytes(),)),
    ],
)
def test_a_right_edge_that_its_leaves_do_not_make_is_refused(
    database_url: str, tmp_path: Path, statement: str, parameters: tuple[object, ...]
) -> None:
    # The size stays, so the tail to sign is empty: only the edge itself can tell.
    grow(database_url, tmp_path / "signer", 300, signed=300)
    tamper(database_url, statement, parameters)
    assert closed_because(database_url, tmp_path / "signer") == "database-differs"


def test_a_leaf_in_an_empty_log_is_refused(database_url: str, tmp_path: Path) -> None:
    Database.create(database_url).close()
    signers_in(tmp_path / "signer").begin(AUDIT)
    tamper(database_url, "INSERT INTO log_entry VALUES ({0}, 0, {1})", (AUDIT, b"unsequenced"))
    assert closed_because(database_url, tmp_path / "signer") == "database-differs"


def test_a_stored_checkpoint_beyond_the_log_is_refused(database_url: str, tmp_path: Path) -> None:
    grow(database_url, tmp_path / "signer", 3, signed=3)
    with Database.open(database_url) as database, database.write() as tx:
        logbook.save_checkpoint(tx, AUDIT, 4, b"a checkpoint of four leaves\n", 1)
    assert closed_because(database_url, tmp_path / "signer") == "database-shorter"


def test_a_torn_state_wants_more_leaves_than_were_signed(database_url: str, tmp_path: Path) -> None:
    grow(database_url, tmp_path / "signer", 300, signed=290)
    path = state_path(tmp_path / "signer", AUDIT)
    raw = path.read_bytes()
    unused = 0 if b'"note":null' in raw[:SLOT_BYTES] else 1
    torn = bytearray(raw)
    torn[unused * SLOT_BYTES + 100] ^= 1
    path.write_bytes(torn)
    # The crash came while the tail was being signed: the database has it, and it is signed now.
    assert run_gate(database_url, tmp_path / "signer") == {AUDIT: 300}
    assert run_gate(database_url, tmp_path / "signer") == {AUDIT: 300}
    torn = bytearray(path.read_bytes())
    torn[(1 - unused) * SLOT_BYTES + 100] ^= 1
    path.write_bytes(torn)
    assert closed_because(database_url, tmp_path / "signer") == "signer-state-torn"
