"""The witness's file: how it is made, what it refuses to be, and that what it holds never goes back (R-96)."""

from __future__ import annotations

import os
import sqlite3
import threading
from pathlib import Path

import pytest

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.witness.cosigner import Cosigner
from referral_api.witness.file import create_file
from referral_api.witness.keys import Seeds
from referral_api.witness.memory import Held, Memory, parse_log
from tests.auditlog.refusals import refused
from tests.auditlog.test_checkpoint import WITNESS_1
from tests.witness.conftest import BORN, NAME, SEEDS
from tests.witness.histories import ORIGIN, History

LOG = History()
NOW = BORN + 100


def test_the_file_is_its_owners_alone_and_holds_everything(path: Path, memory: Memory) -> None:
    assert path.stat().st_mode & 0o777 == 0o600
    assert (memory.name, memory.seeds, memory.counts()) == (NAME, SEEDS, (BORN, 0, 0))
    assert sorted(path.parent.iterdir()) == [path]


def test_nothing_that_is_there_is_replaced(path: Path) -> None:
    before = path.read_bytes()
    assert refused(ErrorCode.UNAVAILABLE, create_file, path, "other", SEEDS, NOW) == "witness-exists"
    assert path.read_bytes() == before
    assert sorted(path.parent.iterdir()) == [path]


def test_what_a_crash_left_half_made_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "w.db.new").write_bytes(b"half")
    create_file(tmp_path / "w.db", NAME, SEEDS, NOW)
    assert [one.name for one in tmp_path.iterdir()] == ["w.db"]


@pytest.mark.parametrize("name", ["", "two words", "plus+sign", "x" * 256, "line\nbreak"])
def test_a_name_that_no_key_can_have_makes_no_file(tmp_path: Path, name: str) -> None:
    assert refused(ErrorCode.MALFORMED, create_file, tmp_path / "w.db", name, SEEDS, NOW) == "key-name"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666, 0o700 | 0o001])
def test_a_file_that_others_may_read_or_change_is_not_opened(path: Path, mode: int) -> None:
    path.chmod(mode)
    assert refused(ErrorCode.UNAVAILABLE, Memory.open, path) == "witness-exposed"
    path.chmod(0o600)
    Memory.open(path).close()


def test_what_is_no_witness_is_not_opened(tmp_path: Path, path: Path) -> None:
    assert refused(ErrorCode.UNAVAILABLE, Memory.open, tmp_path / "none.db") == "witness-missing"
    assert not (tmp_path / "none.db").exists()
    assert refused(ErrorCode.UNAVAILABLE, Memory.open, tmp_path) == "witness-exposed"
    for number, content in enumerate((b"", b"no database", b"SQLite format 3\0" + b"\0" * 4096)):
        other = tmp_path / f"{number}.db"
        other.write_bytes(content)
        other.chmod(0o600)
        assert refused(ErrorCode.UNAVAILABLE, Memory.open, other) == "witness-unreadable"
    spoilt = bytearray(path.read_bytes())
    spoilt[4096:8192] = os.urandom(4096)
    path.write_bytes(spoilt)
    assert refused(ErrorCode.UNAVAILABLE, Memory.open, path) == "witness-unreadable"


def test_secrets_stand_in_no_representation() -> None:
    assert "8888" not in repr(SEEDS)
    assert repr(Seeds(b"i" * 16, b"s" * 32, b"t" * 32)) == "Seeds(identity=b'" + "i" * 16 + "')"


def test_a_log_is_told_by_its_verifier_key() -> None:
    vkey = History("a.example/v1/log/audit/2026").verifier.vkey
    log, family = parse_log(vkey, yearly=False), parse_log(vkey, yearly=True)
    assert (log.origin, family.origin) == ("a.example/v1/log/audit/2026", "a.example/v1/log/audit/")
    assert parse_log(History("a.example/v1/log/audit/").verifier.vkey, yearly=True) == family
    with pytest.raises(ReferralError, match="malformed"):
        parse_log(vkey[:-2], yearly=False)
    for origin in ("2026", "a.example/audit-2026", "a.example/keys"):
        with pytest.raises(ReferralError, match="key-name"):
            parse_log(History(origin).verifier.vkey, yearly=True)
    with pytest.raises(ReferralError, match="key-unsuitable"):
        parse_log(WITNESS_1.vkey, yearly=False)
    with pytest.raises(ReferralError, match="key-name"):
        parse_log(History("x" * 256).verifier.vkey, yearly=False)


def test_an_origin_has_one_key(memory: Memory) -> None:
    with memory.changing() as changes:
        changes.trust(parse_log(LOG.verifier.vkey, yearly=False))
        other = parse_log(History(seed=b"\2" * 32).verifier.vkey, yearly=False)
        assert refused(ErrorCode.KEY_UNSUITABLE, changes.trust, other) == "origin-has-another-key"
        refused(ErrorCode.NOT_FOUND, changes.distrust, "unknown.example/log")
    assert [one.origin for one in memory.trusted()] == [ORIGIN]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE held SET size = 4",
        "UPDATE held SET root = zeroblob(32)",
        "UPDATE held SET cosigned_s = cosigned_s - 1",
        "UPDATE held SET origin = 'other'",
        "DELETE FROM held",
    ],
)
def test_the_tables_themselves_refuse_to_go_back(path: Path, cosigner: Cosigner, statement: str) -> None:
    cosigner.add_checkpoint(LOG.request(0, 5), NOW)
    connection = sqlite3.connect(path)
    with pytest.raises(sqlite3.IntegrityError, match="a witness never"):
        connection.execute(statement)
    connection.close()


def test_what_fails_within_a_transaction_leaves_nothing(memory: Memory) -> None:
    def fail() -> None:
        with memory.changing() as changes:
            changes.hold(ORIGIN, Held(5, LOG.root(5), b"note", NOW))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert memory.held(ORIGIN) == Held()
    assert memory.counts()[2] == 0
    with memory.changing() as changes:
        changes.hold(ORIGIN, Held(5, LOG.root(5), b"note", NOW))
    assert memory.held(ORIGIN).size == 5


def test_two_processes_on_one_file_wait_for_each_other(path: Path, memory: Memory) -> None:
    beside = Memory.open(path)
    order: list[str] = []

    def other() -> None:
        with beside.changing() as changes:
            order.append(f"sees {changes.held(ORIGIN).size}")

    with memory.changing() as changes:
        thread = threading.Thread(target=other)
        thread.start()
        changes.hold(ORIGIN, Held(5, LOG.root(5), b"note", NOW))
        thread.join(0.2)
        order.append("commits")
    thread.join()
    beside.close()
    assert order == ["commits", "sees 5"]


def test_whoever_begins_second_may_not_even_compare(path: Path, memory: Memory) -> None:
    """R-96: else two requests could both be held against the same old tree before either is remembered."""
    beside = Memory.open(path)
    beside._connection.execute("PRAGMA busy_timeout = 0")

    def begin() -> Held:
        with beside.changing() as changes:
            return changes.held(ORIGIN)

    with memory.changing():
        assert refused(ErrorCode.UNAVAILABLE, begin) == "witness-busy"
    assert begin() == Held()
    beside.close()


def test_a_disk_that_refuses_closes_the_witness_for_good(path: Path, memory: Memory, cosigner: Cosigner) -> None:
    """What this process reads back after a failed write proves nothing about the disk."""
    cosigner.add_checkpoint(LOG.request(0, 5), NOW)
    pages = memory._connection.execute("PRAGMA page_count").fetchone()[0]
    memory._connection.execute(f"PRAGMA max_page_count = {pages}")
    big = Held(6, LOG.root(6), b"n" * 1_000_000, NOW)
    with pytest.raises(ReferralError, match="witness-unwritable"), memory.changing() as changes:
        changes.hold(ORIGIN, big)
    memory._connection.execute("PRAGMA max_page_count = 1000000")
    assert refused(ErrorCode.UNAVAILABLE, cosigner.add_checkpoint, LOG.request(5, 6), NOW) == "witness-unwritable"
    again = Memory.open(path)
    assert again.held(ORIGIN).size == 5
    Cosigner(again).add_checkpoint(LOG.request(5, 6), NOW)
    again.close()
