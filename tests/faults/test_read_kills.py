"""Kill -9 while many read at once: of every byte that anybody received there is a record on the log (R-52, R-97).

A reader counts an answer as soon as its head is there, so that one which was cut in the middle counts as well. Records
of answers that never came are no fault; an answer without its record is. `make test` takes a sample, `make faults` more
(REFERRAL_KILLS).
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import httpx2
import pytest

from referral_api.auditlog.records import Retrieved, Viewed, parse_record
from tests.faults.exchange_process import Nursery
from tests.faults.submissions import parcel
from tests.story.test_closed import logged
from tests.wire import Caller
from tests.world import World
from tests.world_check import Rows

KILLS = int(os.environ.get("REFERRAL_KILLS", "12")) // 2
SEED = 20261129
READERS = ("operator", "calls", "officer", "second_officer", "desk", "auditor", "inspector")
"""Each of them reads from two threads at once."""
Read = tuple[str, str, str]
"""Whose credential was handed what of which referral."""


@dataclass(slots=True)
class Reading:
    """Threads that read until the exchange is gone, and what they were handed."""

    world: World
    refs: list[str]
    handed: Counter[Read] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def during(self, answers: int, nursery: Nursery) -> None:
        """Read with everybody until so many answers more have come; then the exchange is killed, and another life
        begins under the same load.
        """
        until = self.handed.total() + answers
        stop = threading.Event()
        threads = [threading.Thread(target=self._read_on, args=(name, at, stop)) for name in READERS for at in range(2)]
        for thread in threads:
            thread.start()
        while self.handed.total() < until and any(thread.is_alive() for thread in threads):
            time.sleep(0.001)
        assert nursery.kill() == -signal.SIGKILL
        nursery.begin()
        stop.set()
        for thread in threads:
            thread.join(30)
            assert not thread.is_alive()

    def _read_on(self, name: str, at: int, stop: threading.Event) -> None:
        client = self.world.client(name)
        caller, chance = Caller(client, self.world.server.url, []), random.Random(f"{SEED} {name} {at}")  # noqa: S311
        caller.http.timeout = httpx2.Timeout(5)
        try:
            while not stop.is_set():
                kind, ref = chance.choice(("viewed", "retrieved")), chance.choice(self.refs)
                path = f"/v1/referrals/{ref}" + ("/bundle" if kind == "retrieved" else "")
                with suppress(httpx2.TransportError):
                    if self._answered(caller, path):
                        with self._lock:
                            self.handed[client.keys.credential, kind, ref] += 1
        finally:
            caller.close()

    @staticmethod
    def _answered(caller: Caller, path: str) -> bool:
        """Whether an answer began that hands something out; it is read to its end, or to where it is cut."""
        nonce = None
        for _ in range(2):
            headers = caller.credentials("GET", path, **({} if nonce is None else {"nonce": nonce}))
            with caller.http.stream("GET", path, headers=headers) as answer:
                nonce = answer.headers.get("dpop-nonce")
                if answer.status_code != 401 or nonce is None:
                    with suppress(httpx2.TransportError):
                        answer.read()
                    assert answer.status_code != 500
                    return answer.status_code == 200
        return False


def begun(world: World, exchange: Nursery) -> list[str]:
    """The exchange with three referrals, and a token for everybody; it goes on living."""
    exchange.begin()
    sent = [parcel(world, excluded=()) for _ in range(3)]
    for one in sent:
        answer = one.send(world)
        assert answer is not None
        assert answer.status == 201
    world.caller("operator").close()
    for name in READERS:
        world.client(name).ping()
    return [one.ref for one in sent]


def recorded(world: World) -> Counter[Read]:
    """What the log says that was handed out."""
    found: Counter[Read] = Counter()
    for row in Rows(world)["record"]:
        record = parse_record(row["body"].encode())
        if isinstance(record, Viewed | Retrieved):
            found[record.credential, record.kind, record.ref] += 1
    return found


@pytest.mark.faults
def test_every_byte_that_was_read_before_a_kill_is_on_the_record(
    nursery: tuple[World, Nursery], progress: Callable[[int, int], None]
) -> None:
    world, exchange = nursery
    reading = Reading(world, begun(world, exchange))
    chance = random.Random(SEED)  # noqa: S311
    for kill in range(1, KILLS + 1):
        reading.during(chance.randrange(5, 90), exchange)
        progress(kill, KILLS)
        missing = reading.handed - recorded(world)
        assert not missing, f"read and not on the record: {missing}"
    assert exchange.end() == -signal.SIGTERM
    assert {kind for _, kind, _ in reading.handed} == {"viewed", "retrieved"}
    world.check()


@pytest.mark.faults
def test_every_byte_that_a_closed_exchange_gave_before_a_kill_is_on_the_record_once_it_opens(
    nursery: tuple[World, Nursery], progress: Callable[[int, int], None]
) -> None:
    world, exchange = nursery
    reading = Reading(world, begun(world, exchange))
    exchange.end()
    here, away = world.settings.signer_dir, world.folder / "signer-away"
    here.rename(away)
    here.mkdir()
    chance = random.Random(SEED + 1)  # noqa: S311
    before = recorded(world)
    exchange.begin()
    for kill in range(1, KILLS + 1):
        reading.during(chance.randrange(5, 90), exchange)
        progress(kill, KILLS)
    assert exchange.end() == -signal.SIGTERM
    assert recorded(world) == before, "it is closed"
    here.rmdir()
    away.rename(here)
    exchange.begin()
    world.client("operator").ping()
    assert exchange.end() == -signal.SIGTERM
    missing = reading.handed - recorded(world)
    assert not missing, f"read and not on the record: {missing}"
    assert [record.kind for record in logged(world)].count("writes_closed") == KILLS + 1
    world.check()
