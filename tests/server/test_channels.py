"""Channels: tried again with growing pauses, given up, seen, an alarm after an hour, and well again.

The clock is the test's own; services, couriers and the exchange are real (R-109).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.server.service import courier
from referral_api.server.service.batch import Batch, Done
from referral_api.server.service.channels import Channel, Couriers, Outcome, try_once
from referral_api.server.service.waking import ALARM_AFTER_S, ALARM_TEXT, RETRY_S, TEXT, TITLE, WRONG_S, Waking
from referral_api.server.storage.notice_file import NoticePlan
from tests.receiving import CANARY, ENOUGH_S, Receiver, with_plan, write_plan
from tests.world import UNIT, World


@pytest.fixture(autouse=True)
def _short_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test's clock moves in leaps, which are looked for more often than a real one."""
    monkeypatch.setattr("referral_api.server.service.waking.TICK_S", 0.05)


def until(holds: Callable[[], bool], what: str) -> None:
    ends = time.monotonic() + ENOUGH_S
    while not holds():
        assert time.monotonic() < ends, what
        time.sleep(0.02)


@contextmanager
def waking(
    world: World, plan: Path, now: list[float], alarms: dict[str, Callable[[], bool]] | None = None
) -> Iterator[Waking]:
    """One more waking over the world's exchange, on a clock of the test's own."""
    runtime = world.server.runtime
    made = Waking(runtime.exchange, clock=lambda: now[0], polled={})
    made.take(plan)
    made.start(runtime.writer, alarms or {})
    try:
        yield made
    finally:
        made.stop()


def test_a_dead_channel_is_tried_again_given_up_and_an_alarm_after_an_hour(
    sqlite_world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    now, failed = [1000.0], Outcome.NOT_TAKEN
    with Receiver(status=503) as dead, Receiver() as well:
        plan = write_plan(
            tmp_path / "plan",
            {UNIT: [dead.address("unit1")]},
            admin=[well.address("admin")],
            delay_s=[0, 0],
            digest_s=0,
        )
        with waking(sqlite_world, plan, now) as made:
            made.told([UNIT, "nobody"], [], 1)
            until(lambda: made.outcomes[failed] == 1, "the first attempt")
            for tried, pause_s in enumerate(RETRY_S, 1):
                now[0] += pause_s - 1
                time.sleep(0.3)
                assert made.outcomes[failed] == tried
                now[0] += 1
                until(lambda tried=tried: made.outcomes[failed] == tried + 1, "the next attempt")  # type: ignore[misc]
            assert made.outcomes["given-up"] == 1
            assert made.standing() == {
                "channels": 2,
                "failing": [{"party": UNIT, "channel": 1, "failing_s": sum(RETRY_S)}],
            }
            assert sum(RETRY_S) > ALARM_AFTER_S
            assert len(well.wait("admin", 1)) == 1
            assert ALARM_TEXT.encode() in well.got[0].raw
            assert UNIT.encode() not in well.got[0].raw
            # It works again: the next line's notice arrives, and nothing fails any more.
            dead.status = 200
            made.told([UNIT], [], 2)
            until(lambda: made.outcomes[Outcome.TAKEN] >= 2, "well again")
            until(lambda: made.standing() == {"channels": 2, "failing": []}, "nothing fails")
            now[0] += 3 * ALARM_AFTER_S
            time.sleep(0.3)
            assert made.outcomes["alarm"] == 1
        said = capsys.readouterr().err
        assert said.count('"event": "alarm"') == 1
        assert said.count('"event": "notices_fail"') == 1
        assert said.count('"event": "notices_well_again"') == 1
        assert CANARY not in said


def test_an_alarm_of_the_exchange_is_told_once_a_day_while_it_lasts(sqlite_world: World, tmp_path: Path) -> None:
    now, wrong = [50.0], threading.Event()
    with Receiver() as well:
        plan = write_plan(tmp_path / "plan", {}, admin=[well.address("admin")])
        with waking(sqlite_world, plan, now, {"writes-closed": wrong.is_set}) as made:
            time.sleep(0.3)
            assert made.outcomes["alarm"] == 0
            wrong.set()
            time.sleep(0.3)
            assert made.outcomes["alarm"] == 0
            now[0] += WRONG_S
            well.wait("admin", 1)
            now[0] += 23 * 3600
            time.sleep(0.3)
            assert made.outcomes["alarm"] == 1
            now[0] += 3600
            well.wait("admin", 2)


def test_what_comes_while_a_channel_is_busy_follows_at_once(sqlite_world: World, tmp_path: Path) -> None:
    now = [5.0]
    with Receiver(status=None) as slow:
        plan = write_plan(tmp_path / "plan", {UNIT: [slow.address("unit1")]}, delay_s=[0, 0], digest_s=0)
        with waking(sqlite_world, plan, now) as made:
            made.told([UNIT], [UNIT], 1)
            slow.wait("unit1", 1)
            made.told([UNIT], [UNIT], 2)
            made.told([UNIT], [UNIT], 3)
            slow.status = 200
            # The first call has not ended; no pause is waited for, and two lines are one notice.
            slow.wait("unit1", 2)
            until(lambda: made.outcomes[Outcome.TAKEN] == 1, "the second one")
            assert made.outcomes[Outcome.NOT_TAKEN] == 1
            assert made.standing() == {"channels": 1, "failing": []}
            until(lambda: made._told_at.get(UNIT) == 3, "it was told of the later line too")


def test_a_defect_or_a_database_that_is_away_ends_no_waking(
    sqlite_world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Broken(dict[str, int]):
        def get(self, *_: object) -> int:
            raise LookupError(CANARY)

    def broken() -> bool:
        raise ValueError(CANARY)

    runtime = sqlite_world.server.runtime
    now = [5.0]
    made = Waking(runtime.exchange, clock=lambda: now[0], polled=Broken())
    with Receiver() as well:
        parties = {UNIT: [well.address("unit1")]}
        made.take(write_plan(tmp_path / "plan", parties, admin=[well.address("admin")], delay_s=[0, 0], digest_s=0))
        made.start(runtime.writer, {"broken": broken})
        time.sleep(0.3)
        now[0] += 2 * WRONG_S
        well.wait("admin", 1)
        made.told([UNIT], [UNIT], 1)
        well.wait("unit1", 1)
        made.stop()
    said = capsys.readouterr().err
    assert '"fault": "LookupError"' in said
    assert '"reason": "broken"' in said
    assert CANARY not in said


def test_a_defect_in_sending_leaves_no_channel_busy(
    sqlite_world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Receiver() as well:
        plan = write_plan(tmp_path / "plan", {UNIT: [well.address("unit1")]}, delay_s=[0, 0], digest_s=0)
        with waking(sqlite_world, plan, [5.0]) as made:
            (channel,) = made._channels[UNIT]
            address, channel.address = channel.address, 7  # type: ignore[assignment]  # what no file can make it
            made.told([UNIT], [UNIT], 1)
            until(lambda: made.outcomes[Outcome.BROKEN] == 1, "broken")
            channel.address = address
            made.told([UNIT], [UNIT], 2)
            well.wait("unit1", 1)
    assert '"event": "notice_failed"' in capsys.readouterr().err


def test_what_a_job_that_was_refused_would_have_told_is_not_told(sqlite_world: World, tmp_path: Path) -> None:
    """Neither its line nor its urgency: what it wrote is forgotten (R-109)."""
    told: list[tuple[frozenset[str], frozenset[str]]] = []

    def refused(batch: Batch) -> Done[None]:
        batch.wake.add(UNIT)
        batch.urgent.add(UNIT)
        raise ReferralError(ErrorCode.NOT_PERMITTED)

    def looks(batch: Batch) -> Done[None]:
        told.append((frozenset(batch.wake), frozenset(batch.urgent)))
        return Done(None)

    with Receiver() as well:
        with_plan(
            sqlite_world, write_plan(tmp_path / "plan", {UNIT: [well.address("unit1")]}, delay_s=[0, 0], digest_s=0)
        )
        writer = sqlite_world.server.runtime.writer
        go = threading.Event()
        writer.submit(lambda _: Done(go.wait(10)), lambda _: None)
        for job in (refused, looks):
            writer.submit(job, lambda _: None)
        go.set()
        until(lambda: bool(told), "both have run")
        time.sleep(0.5)
        assert told == [(frozenset(), frozenset())]
        assert well.got == []
        with_plan(sqlite_world, None)


def test_stopping_cuts_what_is_under_way(sqlite_world: World, tmp_path: Path) -> None:
    now = [5.0]
    with Receiver(status=None) as slow:
        plan = write_plan(tmp_path / "plan", {UNIT: [slow.address("unit1")]}, delay_s=[0, 0], digest_s=0)
        with waking(sqlite_world, plan, now) as made:
            made.told([UNIT], [UNIT], 1)
            slow.wait("unit1", 1)
            begun = time.monotonic()
        assert time.monotonic() - begun < 2
        until(lambda: not any(one.name == "notice" for one in threading.enumerate()), "its thread has ended")
        assert made.outcomes[Outcome.NOT_TAKEN] == 0


def test_a_courier_that_lasts_too_long_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("referral_api.server.service.channels.SEND_S", 1.5)
    with Receiver(status=None) as slow:
        begun = time.monotonic()
        assert Couriers().send(Channel("a", 1, slow.address("unit1")), TITLE, TEXT) is Outcome.TOO_SLOW
        assert time.monotonic() - begun < 3.5


def test_a_courier_is_given_nothing_of_the_exchange(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither its environment nor its arguments hold anything of ours: what runs is looked at while it runs."""
    monkeypatch.setenv("REFERRAL_DATABASE_URL", f"postgresql://{CANARY}@localhost/x")
    with Receiver(status=None) as slow:
        channel = Channel("a", 1, slow.address("unit1"))
        couriers = Couriers()
        thread = threading.Thread(target=couriers.send, args=(channel, TITLE, TEXT))
        thread.start()
        slow.wait("unit1", 1)
        (process,) = couriers._under_way
        seen = [Path(f"/proc/{process.pid}/{name}").read_bytes() for name in ("cmdline", "environ")]
        couriers.end()
        thread.join()
        assert courier.__name__.encode() in seen[0]
        assert [raw for raw in seen if CANARY.encode() in raw or b"REFERRAL_" in raw] == []
        assert couriers.send(channel, TITLE, TEXT) is Outcome.BROKEN


def test_no_redirect_is_followed() -> None:
    with Receiver() as other, Receiver(status=307) as first:
        first.location = other.address("unit2").partition("@")[2]
        assert Couriers().send(Channel("a", 1, first.address("unit1")), TITLE, TEXT) is Outcome.NOT_TAKEN
        assert len(first.got) == 1
        assert other.got == []


def test_one_test_notice_says_what_came_of_each_channel() -> None:
    with Receiver() as well, Receiver(status=403) as refusing:
        urls = [refusing.address("unit1"), well.address("unit2")]
        assert try_once(NoticePlan({"a": urls}), "a", TITLE, TEXT) == [(1, Outcome.NOT_TAKEN), (2, Outcome.TAKEN)]
        with pytest.raises(ReferralError) as nobody:
            try_once(NoticePlan({"a": urls}), "b", TITLE, TEXT)
        assert nobody.value.code is ErrorCode.NOT_FOUND
        assert CANARY not in repr(NoticePlan({"a": urls}, admin=urls))
