"""A clock that cannot be right writes nothing: not in a running exchange, and not at a start (R-97, R-98)."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest

from referral_api.auditlog.leaf import parse_leaf
from referral_api.auditlog.records import ClockJump, Retrieved, ServerRecord, WritesClosed, parse_record
from referral_api.auditlog.report import Check
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.server.service import clock_watch
from referral_api.server.service.batch import Done
from referral_api.server.service.clock_watch import AHEAD_S, BEHIND_S, DAY_S, OFF_S
from referral_api.server.storage import logbook
from tests.auditlog.refusals import refused
from tests.server.test_writer_batches import record
from tests.world import World
from tests.world_check import Rows

YEAR_S = 365 * DAY_S
HOUR_S = 3600
OPENS_S = 10
"""How long an exchange whose clock is right may take to open: it looks once a second."""
SLACK_S = 60
"""What a test may take: limits are held against clocks that run."""


def sizes(world: World) -> dict[str, int]:
    with world.server.runtime.exchange.database.read() as conn:
        return {name: logbook.size(conn, name) for name in logbook.names(conn)}


def write(world: World) -> Any:
    """One batch that does nothing but begin."""
    return world.server.runtime.writer.run(lambda _: Done(None))


def jumps(world: World) -> list[ClockJump]:
    return [one for one in recorded(world) if isinstance(one, ClockJump)]


def recorded(world: World) -> list[ServerRecord]:
    rows = sorted(Rows(world)["record"], key=lambda row: int(row["pos"]))
    return [parse_record(row["body"].encode()) for row in rows]


def closed(world: World) -> str | None:
    answer = httpx2.get(f"{world.server.url}/readyz")
    reason: str | None = answer.json()["closed"]
    assert (answer.status_code == 200) is (reason is None)
    return reason


def await_open(world: World) -> None:
    """Wait until it has opened by itself."""
    ends = time.monotonic() + OPENS_S
    while closed(world) is not None:
        assert time.monotonic() < ends, "it did not open though the clock is right"
        time.sleep(0.05)


def newest_s(world: World) -> int:
    return clock_watch.newest_leaf_s(world.server.runtime.exchange.database)


def starts_closed(world: World) -> str | None:
    """Stop, start, and why it is closed then; nothing was written by it."""
    before = sizes(world)
    world.restart()
    reason = closed(world)
    assert reason is None or sizes(world) == before
    return reason


@pytest.mark.parametrize("ahead_s", [10 * YEAR_S, 40 * DAY_S, AHEAD_S + SLACK_S])
def test_a_clock_that_runs_away_writes_nothing_and_harms_nothing(world: World, ahead_s: float) -> None:
    """One batch under it would date every later leaf and receipt, and end years that have not been. Once it is right
    the exchange opens by itself, and what was read meanwhile is on the log first (R-97).
    """
    ref = world.submit().outgoing.ref
    assert ref is not None
    before = sizes(world)
    world.clock.wrong_s = ahead_s
    assert refused(ErrorCode.WRITES_CLOSED, write, world) == "clock-ahead"
    assert sizes(world) == before
    assert closed(world) == "clock-ahead"
    reads = ahead_s < HOUR_S  # Whoever is further away is refused: his clock or the exchange's is wrong.
    if reads:
        assert world.officer.open(ref).body is not None
    assert sizes(world) == before
    world.clock.wrong_s = 0
    await_open(world)
    assert [one.reason for one in recorded(world) if isinstance(one, WritesClosed)] == ["clock-ahead"] * reads
    assert sum(isinstance(one, Retrieved) for one in recorded(world)) == reads
    assert list(world.settings.data_dir.glob("*.spool")) == []
    assert world.submit().receipt is not None
    assert abs(newest_s(world) - world.clock()) < SLACK_S
    assert set(sizes(world)) == {"keys", f"audit/{datetime.now(UTC).year}"}
    world.check()


def test_a_clock_far_behind_writes_nothing_either(sqlite_world: World) -> None:
    """All would be dated with the newest leaf, for as long as that lasts."""
    world = sqlite_world
    world.submit()
    before = sizes(world)
    world.clock.wrong_s = -BEHIND_S - SLACK_S
    assert refused(ErrorCode.WRITES_CLOSED, write, world) == "clock-behind"
    assert sizes(world) == before
    for at in (0.0, datetime(2000, 1, 1, tzinfo=UTC).timestamp()):
        world.clock.wrong_s = at - world.clock.runs_on()
        assert starts_closed(world) == "clock-behind"
    # The clock is set while it runs, as where a machine is told the time after the exchange has started.
    world.clock.wrong_s = 0
    await_open(world)
    assert world.submit().receipt is not None
    world.check()


def test_what_was_read_before_a_start_under_a_wrong_clock_is_logged_when_it_opens(sqlite_world: World) -> None:
    """Nothing precedes what is spooled, whoever opens: the start could not, as its clock was wrong."""
    world = sqlite_world
    ref = world.submit().outgoing.ref
    assert ref is not None
    world.clock.wrong_s = AHEAD_S + SLACK_S
    assert refused(ErrorCode.WRITES_CLOSED, write, world) == "clock-ahead"
    assert world.officer.open(ref).body is not None
    world.clock.wrong_s = OFF_S + DAY_S
    assert starts_closed(world) == "clock-ahead"
    assert len(list(world.settings.data_dir.glob("*.spool"))) == 1
    world.clock.wrong_s = 0
    await_open(world)
    kinds = [type(one) for one in recorded(world)]
    assert Retrieved in kinds[kinds.index(WritesClosed) :]
    assert kinds.count(Retrieved) == kinds.count(WritesClosed) == 1
    assert list(world.settings.data_dir.glob("*.spool")) == []
    world.check()


def test_while_it_is_set_back_the_time_goes_on(sqlite_world: World) -> None:
    """R-82: by a clock that nobody sets, a tenth slower until the clock has caught up; also after a start."""
    world = sqlite_world
    write(world)
    half_hour = BEHIND_S / 2
    world.clock.wrong_s = -half_hour
    for restarts in (False, True):
        if restarts:
            world.restart()
        world.server.runtime.writer.run(record)
        begun, real = newest_s(world), world.clock.runs_on()
        world.clock.ahead_s += 10 * 60
        world.server.runtime.writer.run(record)
        passed, should = newest_s(world) - begun, world.clock.runs_on() - real
        assert 0.9 * should - 2 <= passed <= 0.9 * should + 2
    # Once real time has passed it, the clock is gone by again, to the second.
    world.clock.ahead_s += 10 * half_hour
    world.server.runtime.writer.run(record)
    assert abs(newest_s(world) - world.clock()) <= 2
    world.check()


def test_small_jumps_are_recorded_and_a_mistake_may_be_put_right(sqlite_world: World) -> None:
    world = sqlite_world
    half_hour = BEHIND_S / 2
    for wrong_s in (AHEAD_S - SLACK_S, 0.0, -half_hour, 0.0):
        change_s, before = wrong_s - world.clock.wrong_s, jumps(world)
        world.clock.wrong_s = wrong_s
        for _ in range(3):
            write(world)
        (jump,) = jumps(world)[len(before) :]
        assert abs(jump.observed - jump.expected - change_s) <= 2
    world.check()


def test_steps_back_add_up(sqlite_world: World) -> None:
    world = sqlite_world
    for wrong_s in (-BEHIND_S / 2, -BEHIND_S + SLACK_S):
        world.clock.wrong_s = wrong_s
        write(world)
    world.clock.wrong_s = -BEHIND_S - SLACK_S
    assert refused(ErrorCode.WRITES_CLOSED, write, world) == "clock-behind"


def test_an_exchange_that_was_off_for_weeks_starts_without_ceremony(sqlite_world: World) -> None:
    world = sqlite_world
    world.server.stop()
    world.clock.ahead_s += 21 * DAY_S
    world.server.start()
    assert closed(world) is None
    assert jumps(world) == []


@pytest.mark.parametrize("off_s", [OFF_S + SLACK_S, 2 * YEAR_S])
def test_an_exchange_that_was_off_for_longer_asks_for_the_operators_word(sqlite_world: World, off_s: float) -> None:
    world = sqlite_world
    world.server.stop()
    last_s = _stored_newest_s(world)
    world.clock.ahead_s += off_s
    world.server.start()
    assert closed(world) == "clock-ahead"
    with pytest.raises(ReferralError):
        write(world)
    assert newest_s(world) == last_s
    # A word that was given by another clock, or long ago, is none.
    for said in (world.clock() - 2 * DAY_S, world.clock() + YEAR_S):
        clock_watch.confirm(world.settings.data_dir, said)
        assert starts_closed(world) == "clock-ahead"
    clock_watch.confirm(world.settings.data_dir, world.clock())
    assert starts_closed(world) is None
    (jump,) = jumps(world)
    assert jump.expected == last_s
    assert abs(jump.observed - world.clock()) < SLACK_S
    # From here on the newest leaf is of now.
    (world.settings.data_dir / clock_watch.WORD_FILE).unlink()
    assert starts_closed(world) is None


def test_leaves_that_lie_ahead_are_gone_on_from_by_the_operators_word(sqlite_world: World) -> None:
    """Written under a wrong clock before a start could tell: their time is never gone behind (R-92)."""
    world = sqlite_world
    world.server.stop()
    world.clock.wrong_s = 20 * DAY_S
    world.server.start()
    world.server.runtime.writer.run(record)
    ahead_s = newest_s(world)
    assert ahead_s > world.clock.runs_on() + 19 * DAY_S
    world.clock.wrong_s = 0
    assert starts_closed(world) == "clock-behind"
    clock_watch.confirm(world.settings.data_dir, world.clock())
    assert starts_closed(world) is None
    world.submit()
    assert newest_s(world) == ahead_s
    world.check()
    # An auditor sees it, until that time has come.
    report = world.auditor.audit()
    assert [(one.check, one.error.facts["reason"]) for one in report.faults] == [(Check.LEAVES, "ahead")]
    assert report.failed
    world.clock.ahead_s += 20 * DAY_S
    assert world.auditor.audit().complete


def _stored_newest_s(world: World) -> int:
    rows = Rows(world)
    log = max(name for name in rows.logs if name != "keys")
    return parse_leaf(rows.logs[log][-1]).logged_s
