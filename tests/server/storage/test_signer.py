"""The log signer: one history, whatever crashes, tears, rolls back or runs beside it."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from referral_api.auditlog.checkpoint import TrustPolicy, log_key, verify_checkpoint
from referral_api.auditlog.merkle import EMPTY_ROOT, Frontier, leaf_hash
from referral_api.domain.errors import ErrorCode
from referral_api.formats.keys import Alg, signing_key
from referral_api.server.storage.database import Database
from referral_api.server.storage.signer import (
    SLOT_BYTES,
    STATE_BYTES,
    Claim,
    LogSigner,
    ReadMissing,
    SignedCheckpoint,
    SignerState,
    state_path,
)
from referral_api.server.storage.signer_state import encode_slot
from tests.auditlog.refusals import refused
from tests.server.storage.ledger import (
    AUDIT,
    LOG_KEY,
    PREFIX,
    OneLogKey,
    append,
    claim,
    edge_of,
    leaves_of,
    reader,
    roll_back,
    sign,
    signers_in,
)

ORIGIN = f"{PREFIX}/{AUDIT}"
CLAIM = Claim("AAAAAAAAAAAAAAAAAAAAAA", 1, "")
POLICY = TrustPolicy(log_key(ORIGIN, LOG_KEY.public))


def hashes_of(first: int, last: int, word: str = "act") -> list[bytes]:
    return [leaf_hash(leaf) for leaf in leaves_of(first, last, word)]


def from_memory(hashes: Sequence[bytes]) -> ReadMissing:
    return lambda first, last: list(hashes[first:last])


def must_not_read(first: int, last: int) -> Sequence[bytes]:
    raise AssertionError(f"asked for [{first}, {last})")


def check(signed: SignedCheckpoint, leaves: list[bytes]) -> None:
    verified = verify_checkpoint(signed.note, POLICY)
    assert (verified.size, verified.root) == (signed.size, signed.root) == (len(leaves), edge_of(leaves).root())


def create(folder: Path) -> LogSigner:
    return LogSigner.create(folder, AUDIT, ORIGIN, OneLogKey(LOG_KEY), CLAIM)


def reopen(folder: Path) -> LogSigner:
    return LogSigner.open(folder, AUDIT, ORIGIN, OneLogKey(LOG_KEY), "")


def test_a_right_edge_that_its_own_leaves_do_not_give_is_not_appended_to(tmp_path: Path) -> None:
    signer = create(tmp_path)
    signer.extend(0, hashes_of(0, 10), must_not_read)
    other = edge_of([*leaves_of(0, 11), *leaves_of(11, 12, "other")])
    assert refused(ErrorCode.WRITES_CLOSED, signer.meet, other, from_memory(hashes_of(0, 12))) == "database-differs"
    signer.close()


@given(batches=st.lists(st.integers(0, 40), max_size=12), reopened=st.sets(st.integers(0, 11)))
def test_any_batching_with_any_restarts_signs_the_one_tree(
    tmp_path_factory: pytest.TempPathFactory, batches: list[int], reopened: set[int]
) -> None:
    folder = tmp_path_factory.mktemp("state")
    signer = create(folder)
    size = 0
    for number, count in enumerate(batches):
        signed = signer.extend(size, hashes_of(size, size + count), must_not_read)
        size += count
        check(signed, leaves_of(0, size))
        if number in reopened:
            signer.close()
            signer = reopen(folder)
        assert signer.size == size
    signer.close()


def test_an_empty_log_has_a_checkpoint_too(tmp_path: Path) -> None:
    signer = create(tmp_path)
    signed = signer.extend(0, [], must_not_read)
    assert (signed.size, signed.root) == (0, EMPTY_ROOT)
    check(signed, [])
    check(signer.extend(0, hashes_of(0, 3), must_not_read), leaves_of(0, 3))
    signer.close()


def test_the_same_growth_is_signed_the_same_way(tmp_path: Path) -> None:
    notes = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        signer = create(tmp_path / name)
        notes.append(signer.extend(0, hashes_of(0, 9), must_not_read).note)
        notes.append(signer.extend(9, [], must_not_read).note)
        signer.close()
    assert len(set(notes)) == 1


def test_a_state_is_neither_made_nor_replaced_unasked(tmp_path: Path) -> None:
    assert refused(ErrorCode.WRITES_CLOSED, reopen, tmp_path) == "signer-state-missing"
    signer = create(tmp_path)
    signer.extend(0, hashes_of(0, 5), must_not_read)
    signer.close()
    before = state_path(tmp_path, AUDIT).read_bytes()
    with pytest.raises(FileExistsError):
        create(tmp_path)
    assert state_path(tmp_path, AUDIT).read_bytes() == before
    assert before[:SLOT_BYTES].decode().isprintable() is False  # It ends with a newline,
    assert before[: SLOT_BYTES - 1].decode().isprintable()  # and reads as text.
    assert len(before) == STATE_BYTES


def test_missing_leaves_are_read_and_signed(tmp_path: Path) -> None:
    signer = create(tmp_path)
    everything = hashes_of(0, 50)
    check(signer.extend(30, everything[30:40], lambda a, b: everything[a:b]), leaves_of(0, 40))
    check(signer.extend(50, [], lambda a, b: everything[a:b]), leaves_of(0, 50))
    assert refused(ErrorCode.WRITES_CLOSED, signer.extend, 60, [], lambda a, b: everything[a:b]) == "database-shorter"
    signer.close()


def test_a_batch_below_what_was_signed_is_a_database_that_went_back(tmp_path: Path) -> None:
    signer = create(tmp_path)
    signer.extend(0, hashes_of(0, 10), must_not_read)
    for first, last in [(8, 10), (8, 12), (9, 10), (0, 10), (0, 30)]:
        growth = hashes_of(first, last, "fork")
        assert refused(ErrorCode.WRITES_CLOSED, signer.extend, first, growth, must_not_read) == "database-shorter"
        signer.close()
        signer = reopen(tmp_path)
    check(signer.extend(10, hashes_of(10, 11), must_not_read), leaves_of(0, 11))
    signer.close()


def test_a_signer_that_met_a_database_which_went_back_signs_nothing_more(tmp_path: Path) -> None:
    signer = create(tmp_path)
    signer.extend(0, hashes_of(0, 10), must_not_read)
    fork = [*hashes_of(0, 8), *hashes_of(8, 20, "fork")]
    before = state_path(tmp_path, AUDIT).read_bytes()
    assert refused(ErrorCode.WRITES_CLOSED, signer.extend, 8, fork[8:9], from_memory(fork)) == "database-shorter"
    # It has grown beyond what was signed, and looks as if it could be gone on from.
    for first in (9, 10, 15):
        growth = fork[first : first + 1]
        assert refused(ErrorCode.WRITES_CLOSED, signer.extend, first, growth, from_memory(fork)) == "database-shorter"
    assert state_path(tmp_path, AUDIT).read_bytes() == before
    signer.close()


@pytest.mark.parametrize(
    ("size", "reason"), [(9, "database-shorter"), (10, "database-differs"), (15, "database-differs")]
)
def test_nothing_is_appended_to_an_edge_that_is_not_what_was_signed(tmp_path: Path, size: int, reason: str) -> None:
    signer, other = create(tmp_path), reopen(tmp_path)
    history, fork = hashes_of(0, 20), [*hashes_of(0, 8), *hashes_of(8, 20, "fork")]
    for one, signed in ((signer, 7), (other, 10)):
        one.extend(signed, [], from_memory(history))
    for one in (signer, other):
        one.meet(edge_of(leaves_of(0, 12)), from_memory(history))
    forked = edge_of([*leaves_of(0, 8), *leaves_of(8, size, "fork")])
    for one in (signer, other):
        assert refused(ErrorCode.WRITES_CLOSED, one.meet, forked, from_memory(fork)) == reason
        assert refused(ErrorCode.WRITES_CLOSED, one.meet, edge_of(leaves_of(0, 12)), from_memory(history)) == reason
        one.close()


def test_an_edge_other_than_the_databases_is_not_signed(tmp_path: Path) -> None:
    signer = create(tmp_path)
    before = state_path(tmp_path, AUDIT).read_bytes()
    with pytest.raises(Exception, match="database-differs"):
        signer.extend(0, hashes_of(0, 5), must_not_read, expected=edge_of(leaves_of(0, 5, "other")))
    assert state_path(tmp_path, AUDIT).read_bytes() == before
    signer.close()
    again = reopen(tmp_path)
    check(again.extend(0, hashes_of(0, 5), must_not_read, expected=edge_of(leaves_of(0, 5))), leaves_of(0, 5))
    again.close()


def test_another_process_that_signed_further_is_believed_only_if_its_history_fits(tmp_path: Path) -> None:
    one, other = create(tmp_path), reopen(tmp_path)
    everything = hashes_of(0, 30)
    one.extend(0, everything[:10], must_not_read)
    further = other.extend(10, everything[10:30], lambda a, b: everything[a:b])
    # The batch [10, 20) was committed by `one`, but `other` was quicker: its later checkpoint covers it.
    assert one.extend(10, everything[10:20], lambda a, b: everything[a:b]) == further
    assert one.size == 30
    one.close()
    other.close()


@pytest.mark.parametrize("mine", [(5, 8), (5, 9), (5, 12)])
def test_two_processes_with_a_fork_between_them_are_refused(tmp_path: Path, mine: tuple[int, int]) -> None:
    one, other = create(tmp_path), reopen(tmp_path)
    one.extend(0, hashes_of(0, 5), must_not_read)
    history = hashes_of(0, 20)
    other.extend(5, history[5:9], lambda a, b: history[a:b])
    # The database went back to 5 and grew differently; `one` never saw what `other` signed.
    fork = [*hashes_of(0, 5), *hashes_of(5, 20, "fork")]
    first, last = mine
    before = state_path(tmp_path, AUDIT).read_bytes()
    growth = fork[first:last]
    assert refused(ErrorCode.WRITES_CLOSED, one.extend, first, growth, lambda a, b: fork[a:b]) == "database-differs"
    assert state_path(tmp_path, AUDIT).read_bytes() == before
    one.close()
    # What was not forked goes on, for who opens it anew.
    again = reopen(tmp_path)
    check(again.extend(9, history[9:10], lambda a, b: history[a:b]), leaves_of(0, 10))
    again.close()
    other.close()


PROCESS = """
import sys
from pathlib import Path
from referral_api.domain.errors import ReferralError
from referral_api.server.storage.database import Database
from tests.server.storage.ledger import append, leaves_of, sign, signers_in, AUDIT
url, folder = sys.argv[1], Path(sys.argv[2])
signer = signers_in(folder)(AUDIT)
for line in sys.stdin:
    first, last, word = line.split()
    with Database.open(url) as database:
        try:
            print(sign(database, signer, append(database, leaves_of(int(first), int(last), word))).size, flush=True)
        except ReferralError as error:
            print(error.facts["reason"], flush=True)
"""


@pytest.mark.postgres
def test_a_database_rolled_back_between_the_signatures_of_two_processes_is_refused(
    postgres_database: str, tmp_path: Path
) -> None:
    Database.create(postgres_database).close()
    with Database.open(postgres_database) as database:
        claim(database, signers_in(tmp_path))
    command = [sys.executable, "-c", PROCESS, postgres_database, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": environment}

    def ask(process: subprocess.Popen[str], first: int, last: int, word: str) -> str:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{first} {last} {word}\n")
        process.stdin.flush()
        return process.stdout.readline().strip()

    with subprocess.Popen(command, **pipes) as one, subprocess.Popen(command, **pipes) as other:  # type: ignore[call-overload]
        assert ask(one, 0, 300, "act") == "300"
        assert ask(other, 300, 310, "act") == "310"
        roll_back(postgres_database, 305)
        assert ask(one, 305, 310, "fork") == "database-differs"
        roll_back(postgres_database, 305)
        assert ask(other, 305, 320, "fork") == "database-shorter"
        roll_back(postgres_database, 305)
        # The lost leaves come back bit by bit, as from a mirror: who has met the other history believes none.
        with Database.open(postgres_database) as database:
            append(database, leaves_of(305, 310))
        assert ask(one, 310, 311, "act") == "database-differs"
        assert ask(other, 311, 312, "act") == "database-shorter"
    with subprocess.Popen(command, **pipes) as again:  # type: ignore[call-overload]
        assert ask(again, 312, 313, "act") == "313"


def test_a_torn_write_spoils_only_what_was_never_released(tmp_path: Path) -> None:
    signer = create(tmp_path)
    released = signer.extend(0, hashes_of(0, 5), must_not_read)
    path = state_path(tmp_path, AUDIT)
    before = path.read_bytes()
    signer.extend(5, hashes_of(5, 9), must_not_read)
    after = path.read_bytes()
    signer.close()
    slots = [at for at in (0, 1) if before[at * SLOT_BYTES :][:SLOT_BYTES] != after[at * SLOT_BYTES :][:SLOT_BYTES]]
    assert len(slots) == 1
    start = slots[0] * SLOT_BYTES
    for cut in (1, 43, 44, 100, 512, 2048, SLOT_BYTES - 1):
        path.write_bytes(before[:start] + after[start : start + cut] + before[start + cut :])
        torn = reopen(tmp_path)
        if path.read_bytes() != after:
            assert (torn.size, torn.torn) == (5, True)
            assert torn.extend(5, [], must_not_read) == released
            check(torn.extend(9, [], from_memory(hashes_of(0, 9))), leaves_of(0, 9))
            assert path.read_bytes() == after
        torn.close()


def test_two_spoilt_slots_a_cut_or_an_emptied_file_are_unreadable(tmp_path: Path) -> None:
    signer = create(tmp_path)
    signer.extend(0, hashes_of(0, 5), must_not_read)
    signer.extend(5, hashes_of(5, 6), must_not_read)
    signer.close()
    path = state_path(tmp_path, AUDIT)
    good = bytearray(path.read_bytes())
    for bad in (b"", bytes(STATE_BYTES), bytes(good[:100]), bytes(b ^ 1 for b in good)):
        path.write_bytes(bad)
        assert refused(ErrorCode.WRITES_CLOSED, reopen, tmp_path) == "signer-state-unreadable"


@given(at=st.integers(0, SLOT_BYTES - 1), bit=st.integers(0, 7))
@example(at=43, bit=0)
@example(at=SLOT_BYTES - 1, bit=0)
def test_no_changed_bit_of_a_state_is_believed(tmp_path_factory: pytest.TempPathFactory, at: int, bit: int) -> None:
    folder = tmp_path_factory.mktemp("state")
    signer = create(folder)
    signer.extend(0, hashes_of(0, 5), must_not_read)
    signer.close()
    path = state_path(folder, AUDIT)
    raw = bytearray(path.read_bytes())
    newest = SLOT_BYTES if b'"note":"' in raw[SLOT_BYTES:] else 0
    raw[newest + at] ^= 1 << bit
    path.write_bytes(raw)
    opened = reopen(folder)
    assert (opened.size, opened.torn) == (0, True)
    opened.close()


def test_a_state_of_another_log_or_key_is_refused(tmp_path: Path) -> None:
    signer = create(tmp_path)
    signer.extend(0, hashes_of(0, 5), must_not_read)
    signer.close()
    another_key = signing_key(Alg.ED25519, bytes(32))
    assert (
        refused(ErrorCode.WRITES_CLOSED, LogSigner.open, tmp_path, AUDIT, ORIGIN, OneLogKey(another_key), "")
        == "signer-key"
    )
    elsewhere = f"{PREFIX}/audit/2027"
    assert (
        refused(ErrorCode.WRITES_CLOSED, LogSigner.open, tmp_path, AUDIT, elsewhere, OneLogKey(LOG_KEY), "")
        == "signer-origin"
    )


def test_a_state_whose_edge_is_not_what_was_signed_is_unreadable(tmp_path: Path) -> None:
    signer = create(tmp_path)
    note = signer.extend(0, hashes_of(0, 5), must_not_read).note
    signer.close()
    forged = encode_slot(ORIGIN, SignerState(edge_of(leaves_of(0, 5, "fork")), note, CLAIM))
    state_path(tmp_path, AUDIT).write_bytes(forged + forged)
    assert refused(ErrorCode.WRITES_CLOSED, reopen, tmp_path) == "signer-state-unreadable"


def test_a_state_that_went_back_under_a_running_process_is_refused(tmp_path: Path) -> None:
    signer = create(tmp_path)
    signer.extend(0, hashes_of(0, 5), must_not_read)
    old = state_path(tmp_path, AUDIT).read_bytes()
    signer.extend(5, hashes_of(5, 9), must_not_read)
    with state_path(tmp_path, AUDIT).open("r+b") as file:
        file.write(old)
    growth = hashes_of(9, 10)
    assert refused(ErrorCode.WRITES_CLOSED, signer.extend, 9, growth, must_not_read) == "signer-state-rolled-back"
    signer.close()


def test_the_largest_state_fits_its_slot() -> None:
    size = 2**63 - 1
    frontier = Frontier(size, tuple(bytes([n]) * 32 for n in range(63)))
    origin = "x" * 255
    note = f"{origin}\n{size}\n{'r' * 44}\n\n\N{EM DASH} {origin} {'s' * 92}\n".encode()
    assert len(encode_slot(origin, SignerState(frontier, note, Claim("c" * 22, 2**53, "h" * 22)))) == SLOT_BYTES


DISK_FULL = """
import resource, sys
from pathlib import Path
from referral_api.domain.errors import ReferralError
from referral_api.server.storage.signer import LogSigner
from tests.server.storage.ledger import AUDIT, LOG_KEY, PREFIX
from tests.server.storage.test_signer import hashes_of, must_not_read, reopen
signer = reopen(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
for number in range(2):
    try:
        signer.extend(5, hashes_of(5, 9), must_not_read)
    except ReferralError as error:
        print(error.facts["reason"])
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
"""


def test_a_state_that_could_not_be_written_closes_until_a_restart(tmp_path: Path) -> None:
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY
    signer = create(tmp_path)
    signer.extend(0, hashes_of(0, 5), must_not_read)
    signer.close()
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    done = subprocess.run(
        [sys.executable, "-c", DISK_FULL, str(tmp_path)], check=True, capture_output=True, text=True, env=environment
    )
    assert done.stdout.split() == ["signer-state-unwritable", "signer-state-unwritable"]
    after = reopen(tmp_path)
    assert after.size == 5
    check(after.extend(5, hashes_of(5, 9), must_not_read), leaves_of(0, 9))
    after.close()


def test_signers_open_what_exists_and_begin_only_what_is_new(tmp_path: Path) -> None:
    signers = signers_in(tmp_path)
    assert signers.names() == []
    assert refused(ErrorCode.WRITES_CLOSED, signers, AUDIT) == "signer-state-missing"
    begun = signers.begin(AUDIT)
    assert begun is signers(AUDIT) is signers.begin(AUDIT)
    signers.begin("keys").extend(0, hashes_of(0, 2), must_not_read)
    assert signers.names() == [AUDIT, "keys"]
    signers.close()
    again = signers_in(tmp_path)
    assert again.begin("keys").size == 2
    assert again.origin(AUDIT) == ORIGIN
    again.close()


def test_what_is_committed_is_what_is_signed(database: Database, tmp_path: Path) -> None:
    signers = signers_in(tmp_path / "signer")
    signer = signers.begin(AUDIT)
    leaves: list[bytes] = []
    for count in (1, 16, 255, 64):
        new = leaves_of(len(leaves), len(leaves) + count)
        done = append(database, new)
        leaves += new
        signed = sign(database, signer, done)
        check(signed, leaves)
        assert signed.root == done.root
    check(signer.extend(len(leaves), [], reader(database)), leaves)
    signers.close()
