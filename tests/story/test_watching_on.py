"""The watch at three in the morning: a line that is down ends it as little as an exchange that has too much to do."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, Queue
from typing import Any

import pytest

from referral_api.cli import arriving
from referral_api.cli.output import Screen
from referral_api.client.overseeing import Overseer, Silence
from referral_api.domain.words import Act
from tests.cli.shell import Shell
from tests.front import portal
from tests.story.test_rolled_back import client_at
from tests.world import ENTRIES, PASSPHRASE, UNIT, World

PATIENCE_S = 40
SOONER = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); signal.signal(signal.SIGINT,"
    " signal.default_int_handler); from referral_api.client import outage; outage.TELL_S = 1;"
    " from referral_api.cli.main import main; sys.argv = ['referral', *sys.argv[1:]]; main()"
)
"""The command in a process of its own, which says after a second what it would say after a minute."""


@pytest.fixture
def world(sqlite_world: World) -> World:
    """What a workstation waits for is the same before either engine."""
    return sqlite_world


class Watching:
    """A watch that runs, and the JSON lines that it prints."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self._told: Queue[Any] = Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def next(self) -> Any:
        """The next line."""
        try:
            return self._told.get(timeout=PATIENCE_S)
        except Empty:
            raise AssertionError("nothing was said") from None

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._told.put(json.loads(line))


@contextmanager
def watching(world: World, name: str, server: str) -> Iterator[Watching]:
    passphrase = world.folder / "passphrase"
    passphrase.write_text(PASSPHRASE + "\n", encoding="utf-8")
    variables = {
        "REFERRAL_PROFILE": str(world.folder / "profiles" / name),
        "REFERRAL_SERVER": server,
        "REFERRAL_PASSPHRASE_FILE": str(passphrase),
    }
    command = [sys.executable, "-c", SOONER, "inbox", "watch", "--json", "--wait", "1"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, env=os.environ | variables, cwd=Path(__file__).parents[2]
    ) as process:
        try:
            yield Watching(process)
        finally:
            process.kill()


def test_a_watch_outlives_the_exchange_and_says_that_it_was_away(world: World) -> None:
    world.server.stop()
    with watching(world, "officer", world.server.url) as watch:
        away = watch.next()
        assert (away["event"], away["code"], away["next"]) == ("away", "unreachable", ["referral doctor"])
        assert watch.process.poll() is None
        world.server.start()
        back = watch.next()
        assert (back["event"], back["since"]) == ("back", away["since"])
        ref = str(world.submit().outgoing.ref)
        arrived = watch.next()
        assert (arrived["entry"]["kind"], arrived["entry"]["ref"]) == ("submit", ref)
        watch.process.send_signal(signal.SIGINT)
        assert watch.process.wait(timeout=PATIENCE_S) == 130


def test_a_network_s_own_page_ends_no_watch_either(world: World) -> None:
    with portal() as elsewhere, watching(world, "officer", elsewhere) as watch:
        assert (watch.next()["code"], watch.process.poll()) == ("unavailable", None)


@pytest.mark.parametrize("words", [("--once",), ("--count", "2"), ("--exit-code",)])
def test_a_call_that_ends_by_itself_leaves_the_waiting_to_who_called_it(world: World, words: tuple[str, ...]) -> None:
    shell = Shell(world.folder, "http://127.0.0.1:9")
    assert shell.run("officer", "inbox", "watch", "--wait", "0", *words).exit == 3


def test_a_number_to_telephone_waits_for_no_reason_that_the_exchange_does_not_give(world: World) -> None:
    """Rule R18 of the field: it stands in the keys log, which this machine has."""
    world.submit()
    world.clock.ahead_s += 16 * 60
    world.check()
    (line,) = world.operator.inbox(pending=True)
    whom = {"unit": UNIT, "phone": ENTRIES[UNIT]["duty_phone"]}
    with portal() as elsewhere, client_at(world, elsewhere, "operator") as away:
        assert (line.kind, arriving._whom(Screen(), away, line)) == (Act.TELEPHONE_NOW, whom)
        assert arriving._reason(away, line) == (None, None)
    assert arriving._reason(world.operator, line) == ("ack_timeout", None)


def test_whoever_looks_for_late_referrals_is_not_ended_by_an_exchange_that_cannot_answer(world: World) -> None:
    ref = str(world.submit().outgoing.ref)
    world.clock.ahead_s += 18 * 60
    with portal() as elsewhere, client_at(world, elsewhere, "operator") as away:
        overseer = Overseer(world.operator.session, world.operator.outbox, away.referral)
        assert overseer.news() == []
        # Once it answers, what is late is late all the same.
        overseer.fetch = world.operator.referral
        with world.server.runtime.timers._turning:
            assert [one.ref for one in overseer.news()] == [ref]


def test_a_referral_that_the_exchange_no_longer_finds_is_telephoned_about(world: World) -> None:
    """It signed for it: that it shows nothing of it any more is no reason to be at ease."""
    sent = world.submit()
    world.clock.ahead_s += 18 * 60
    # To another hotline the exchange answers as if there were no such referral.
    overseer = Overseer(world.operator.session, world.operator.outbox, world.client("colleague").referral)
    (silence,) = overseer.news()
    assert isinstance(silence, Silence)
    assert (silence.ref, silence.unit, sent.outgoing.act) == (sent.outgoing.ref, UNIT, Act.SUBMIT)
    assert overseer.news() == []
