"""Who runs the clocks, whatever becomes of him: a wrong clock, a process that hangs or cannot write, a failing look."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from referral_api.domain.errors import ErrorCode
from referral_api.server import app
from referral_api.server.service.batch import Batch, Done
from referral_api.server.service.timers import (
    FAILING_S,
    OFFLINE_S,
    STANDS_IN_AFTER_S,
    STOPPED_S,
    Timers,
)
from referral_api.server.storage.leader import Claim
from tests.auditlog.refusals import refused
from tests.processes import serving, set_ahead
from tests.story.test_deadlines import HOUR, MINUTE, await_leader, await_posted, kinds, later, posted
from tests.world import NATIONAL, UNIT, World, composition
from tests.world_check import Rows

SLEPT_THROUGH = {
    ("escalated", UNIT): 3,
    ("overdue", UNIT): 1,
    ("telephone_now", UNIT): 1,
    ("released", NATIONAL): 1,
}
"""What is said of an emergency that its unit has not acknowledged after 16 minutes."""


def stands(timers: Timers) -> bool:
    """Whether they count as stopped."""
    return timers.stopped


def steadily(timers: Timers, world: World) -> None:
    """Let these clocks' steady one run with the world's."""
    began, then = time.monotonic(), world.clock.runs_on()
    timers.steady = lambda: began + world.clock.runs_on() - then
    timers.looked_at = timers.steady()


@contextmanager
def second_process(world: World) -> Iterator[app.Runtime]:
    """The exchange opened once more over the same database, as another process of this host does."""
    runtime = app.open_runtime(world.settings, clock=world.clock, runs_on=world.clock.runs_on)
    runtime.writer.start()
    steadily(runtime.timers, world)
    try:
        yield runtime
    finally:
        runtime.close()


def test_deadlines_go_on_while_the_clock_is_set_back(world: World) -> None:
    """R-97: an emergency does not wait for the clock that was set back under it to catch up."""
    world.submit()
    world.clock.wrong_s = -55 * MINUTE
    later(world, 17 * MINUTE)
    assert Counter(posted(world)) == SLEPT_THROUGH
    # Those who still look are not silent, and those who fall silent are.
    timers, runtime = world.server.runtime.timers, world.server.runtime
    timers.seen.clear()
    runtime.polled[UNIT] = runtime.polled[NATIONAL] = int(timers.clock())
    later(world, MINUTE)
    assert [row for row in Rows(world)["act"] if row["act"] == "unit_offline"] == []
    later(world, 2 * OFFLINE_S)
    assert UNIT in [row["unit"] for row in Rows(world)["act"] if row["act"] == "unit_offline"]


def test_a_clock_that_was_corrected_is_no_alarm_for_ever(sqlite_world: World) -> None:
    """R-106: it is one until the time has come back to it."""
    world = sqlite_world
    world.submit()
    timers = world.server.runtime.timers
    steadily(timers, world)
    world.clock.wrong_s = -2 * MINUTE
    timers.turn()
    assert stands(timers)
    for minutes, stopped in ((9, True), (2, False), (60, False)):
        world.clock.ahead_s += minutes * MINUTE
        timers.turn()
        assert stands(timers) is stopped
    # The next step back is one again.
    world.clock.wrong_s -= 2 * MINUTE
    assert stands(timers)


@pytest.mark.postgres
def test_who_cannot_write_does_not_lead(postgres_world: World) -> None:
    """A process whose clock closed it kept the lead, and nothing was posted anywhere."""
    world = postgres_world
    ahead, wrong = world.folder / "ahead", world.folder / "wrong"
    set_ahead(ahead, 0)
    set_ahead(wrong, 0)
    world.submit()
    world.server.stop()
    with serving(world.settings, world.folder / "one.log", ahead, wrong):
        await_leader(world.folder / "one.log")
        with serving(world.settings, world.folder / "two.log", ahead):
            set_ahead(wrong, HOUR)
            set_ahead(ahead, 16 * MINUTE)
            await_posted(world, "released")
            assert "leads_clocks" in (world.folder / "two.log").read_text()
    world.clock.ahead_s += 16 * MINUTE
    world.server.start()
    later(world, 0)


@pytest.mark.postgres
@pytest.mark.parametrize("fault", ["the writer is dead", "every turn fails"])
def test_who_cannot_post_lets_another_lead(postgres_world: World, fault: str) -> None:
    timers = postgres_world.server.runtime.timers
    timers.turn()
    assert timers.leads
    claim = Claim(postgres_world.settings.database)
    try:
        if fault == "the writer is dead":
            postgres_world.server.runtime.writer.stop()
            assert timers.turn() == 0
        else:
            with timers._turning:  # Not between two turns of its own.
                began = time.monotonic()
                timers.polled = Unreadable()  # type: ignore[assignment]
                for seconds in (0, FAILING_S + 1):
                    assert timers.leads, "once is not always"
                    timers.steady = lambda seconds=seconds: began + seconds  # type: ignore[misc]
                    with pytest.raises(RuntimeError):
                        timers._turn()
        assert (timers.leads, claim.holds()) == (False, True)
    finally:
        claim.close()
        timers.polled = postgres_world.server.runtime.polled
        timers.steady = time.monotonic


class Unreadable:
    """Something that breaks whoever looks at it."""

    def keys(self) -> Any:
        raise RuntimeError


@pytest.mark.postgres
def test_where_the_leader_hangs_another_posts_what_is_due(postgres_world: World) -> None:
    """Rule R18 of the field: a leader that is stopped or stuck stands still for nobody else; and when it goes on, each
    act has been said once.
    """
    world = postgres_world
    world.submit()
    first = world.server.runtime.timers
    first.turn()
    assert first.leads
    with second_process(world) as other:
        second = other.timers
        with first._turning:  # It hangs, and keeps the lock.
            assert (second.turn(), second.leads) == (0, False)
            world.clock.ahead_s += 16 * MINUTE
            assert second.turn() == 0
            assert not stands(second)
            world.clock.ahead_s += STANDS_IN_AFTER_S + 1
            assert second.turn() > 0
            assert second.turn() == 0
            assert not stands(second)
            # From now on it does not wait, nor where a unit is silent.
            world.clock.ahead_s += 4 * MINUTE
            later_ref = str(world.operator.submit(composition()).outgoing.ref)
            world.clock.ahead_s += 5 * MINUTE
            second.seen.clear()
            assert second.turn() > 0
        world.check()
        assert "telephone_now" in [row["act"] for row in Rows(world)["act"] if row["ref"] == later_ref]
        assert len([row for row in Rows(world)["act"] if row["act"] == "unit_offline" and row["unit"] == UNIT]) == 1


@pytest.mark.postgres
def test_two_processes_that_post_at_once_say_everything_once(postgres_world: World) -> None:
    """Decision 0034: the lock decides nothing; whoever comes second reads, under the log's lock, that it is said."""
    world = postgres_world
    world.submit()
    first = world.server.runtime.timers
    with second_process(world) as other:
        pair = (first, other.timers)
        other.timers.turn()
        other.timers.seen |= first.seen
        with first._turning:
            world.clock.ahead_s += 16 * MINUTE
            both = threading.Barrier(2)

            def post(timers: Timers) -> None:
                both.wait()
                timers._post(int(world.clock()))

            threads = [threading.Thread(target=post, args=(timers,)) for timers in pair]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        world.check()
        assert Counter(posted(world)) == SLEPT_THROUGH


@pytest.mark.postgres
def test_what_nobody_posts_is_an_alarm_everywhere(postgres_world: World) -> None:
    """R-106: also at who does not lead and could not do it either."""
    world = postgres_world
    world.submit()
    first = world.server.runtime.timers
    first.turn()
    with second_process(world) as other:
        second = other.timers
        other.writer.stop()
        with first._turning:
            world.clock.ahead_s += 16 * MINUTE
            second.turn()
            assert not stands(second)
            world.clock.ahead_s += STOPPED_S + 1
            second.turn()
            assert stands(second)
        first.turn()
        second.turn()
        assert not stands(second)


def test_a_look_that_fails_from_the_start_is_an_alarm(sqlite_world: World) -> None:
    """A referral that is to be looked at anew, whenever that was due (`at` 0), and cannot be."""
    world = sqlite_world
    ref = str(world.submit().outgoing.ref)
    runtime = world.server.runtime
    timers = runtime.timers
    steadily(timers, world)
    with timers._turning:

        def spoil(batch: Batch, role: str = "nonsense") -> Done[None]:
            batch.tx.run("UPDATE alarm SET at = 0 WHERE ref = ?", (ref,))
            batch.tx.run("UPDATE delivery SET role = ? WHERE ref = ? AND unit = ?", (role, ref, UNIT))
            return Done(None)

        runtime.writer.run(spoil)
        timers._turn()
        assert ref in timers.failing
        assert not stands(timers)
        world.clock.ahead_s += STOPPED_S + 1
        timers._turn()
        assert stands(timers)
        runtime.writer.run(lambda batch: spoil(batch, "action"))
        timers._turn()
        assert not stands(timers)
    later(world, 0)


def test_a_silence_is_told_of_once_whoever_starts_meanwhile(world: World) -> None:
    """R-106: what is on the record is not put there again by a process that has just begun; another silence is."""
    world.submit()

    def silent() -> int:
        runtime = world.server.runtime
        runtime.timers.turn()
        runtime.timers.seen.clear()
        world.clock.ahead_s += OFFLINE_S + 1
        world.check()
        return len([row for row in Rows(world)["act"] if row["act"] == "unit_offline" and row["unit"] == UNIT])

    assert silent() == 1
    world.restart()
    assert silent() == 1
    assert kinds(world, "officer") == ["submit"], "it has looked"
    assert silent() == 2
    world.restart()
    assert silent() == 2


def test_a_closed_exchange_says_that_its_clocks_stand(sqlite_world: World) -> None:
    """R-97, R-106: nothing is posted while writes are closed, whatever is due."""
    world = sqlite_world
    world.submit()
    timers = world.server.runtime.timers
    steadily(timers, world)
    world.clock.wrong_s = HOUR
    refused(ErrorCode.WRITES_CLOSED, world.server.runtime.writer.run, lambda _: Done(None))
    for seconds, stopped in ((16 * MINUTE, False), (STOPPED_S + 1, True)):
        world.clock.ahead_s += seconds
        assert timers.turn() == 0
        assert stands(timers) is stopped
    world.clock.wrong_s = 0
    while world.server.runtime.writer.closed is not None:
        time.sleep(0.05)
    later(world, 0)
    assert ("released", NATIONAL) in posted(world)
    assert not stands(timers)
