"""R-98, R-52: nobody reads the audit log unrecorded, wherever in it a reader begins and whatever it says of itself."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from referral_api.auditlog.note import parse_note
from referral_api.auditlog.records import AuditSession
from referral_api.auditlog.tiles import ENTRIES, TileName, parse_tile_path
from tests.server.test_recording import HOUR, records
from tests.world import AUDIT, World


@pytest.fixture
def read(world: World) -> World:
    """An exchange with something to read in it."""
    world.submit()
    return world


def log_of(world: World) -> str:
    return f"/v1/log/audit/{datetime.fromtimestamp(world.clock(), UTC).year}"


def size_of(world: World) -> int:
    """How large the log is, asked where it is not recorded."""
    answer = world.caller("operator").call("GET", f"{log_of(world)}/consistency?from=1")
    assert answer.status == 200, answer.body
    return int(parse_note(answer.json["checkpoint"].encode()).text.split("\n")[1])


def get(world: World, path: str, who: str = "auditor") -> int:
    return world.caller(who).call("GET", f"{log_of(world)}/{path}").status


def sessions(world: World) -> list[tuple[int, int]]:
    """From where to where each recorded session went."""
    found = records(world, AuditSession)
    assert {one.party for one in found} <= {AUDIT}
    assert all(one.origin.endswith(log_of(world)) for one in found)
    return [(one.old_size, one.new_size) for one in found]


def test_the_first_tile_of_a_session_is_on_the_record_without_any_checkpoint(read: World) -> None:
    size = size_of(read)
    assert get(read, TileName(ENTRIES, 0, size).path()) == 200
    assert sessions(read) == [(0, size)]
    (one,) = records(read, AuditSession)
    assert one.credential == read.auditor.keys.credential
    # The others of this session, and what is below, are read on that same record.
    assert get(read, TileName(0, 0, size).path()) == 200
    assert get(read, TileName(ENTRIES, 0, size - 1).path()) == 200
    assert sessions(read) == [(0, size)]


def test_a_tile_beyond_what_the_record_tells_of_is_recorded_again(read: World) -> None:
    size = size_of(read)
    get(read, TileName(ENTRIES, 0, size).path())
    read.submit()
    grown = size_of(read)
    assert get(read, TileName(ENTRIES, 0, size).path()) == 200
    assert len(sessions(read)) == 1
    assert get(read, TileName(ENTRIES, 0, grown).path()) == 200
    assert sessions(read) == [(0, size), (size, grown)]


def test_every_hour_and_every_process_records_a_session_of_its_own(read: World) -> None:
    size = size_of(read)
    get(read, TileName(0, 0, size).path())
    read.clock.ahead_s += HOUR
    get(read, TileName(0, 0, size).path())
    assert [old for old, _ in sessions(read)] == [0, size]
    read.restart()
    get(read, TileName(0, 0, size).path())
    assert [old for old, _ in sessions(read)] == [0, size, 0]


def test_a_reader_has_no_say_in_what_is_recorded_of_it(read: World) -> None:
    assert get(read, "checkpoint?since=1000000") == 400
    assert sessions(read) == []
    size = size_of(read)
    assert get(read, "checkpoint") == 200
    assert sessions(read) == [(0, size)]
    # What the record covers needs no second one; what came with it, the record itself, does.
    assert get(read, TileName(ENTRIES, 0, size).path()) == 200
    assert sessions(read) == [(0, size)]
    assert get(read, TileName(ENTRIES, 0, size + 1).path()) == 200
    assert sessions(read) == [(0, size), (size, size + 1)]


def test_calls_at_once_are_one_session(read: World) -> None:
    size = size_of(read)
    read.caller("auditor")
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: get(read, TileName(ENTRIES, 0, size).path()), range(8)))
    assert answers == [200] * 8
    assert sessions(read) == [(0, size)]


def test_what_is_refused_or_of_the_keys_log_is_no_session(read: World) -> None:
    size = size_of(read)
    assert get(read, TileName(ENTRIES, 0, size).path(), "operator") == 404
    assert get(read, TileName(ENTRIES, 0, size + 9).path()) == 404
    assert read.caller("auditor").call("GET", "/v1/log/keys/tile/entries/000.p/1").status == 200
    assert sessions(read) == []


@pytest.mark.parametrize(
    ("path", "size"),
    [
        ("tile/entries/000.p/5", 5),
        ("tile/entries/001", 512),
        ("tile/0/001.p/7", 263),
        ("tile/1/000.p/3", 768),
        ("tile/2/001.p/1", 257 * 65536),
    ],
)
def test_how_far_a_tile_reaches(path: str, size: int) -> None:
    """It is there from the tree of this size on."""
    assert parse_tile_path(path).reach == size
