"""Of an exchange that nobody has used for long, the witnesses have still seen each checkpoint: that counts (R-97)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from referral_api.auditlog.checkpoint import Checkpoint, verify_checkpoint
from referral_api.auditlog.policy import format_policy, policy_of
from referral_api.auditlog.witnessing import format_answer
from referral_api.server.service.clock_watch import DAY_S, OFF_S
from referral_api.server.storage.logbook import KEYS
from tests.lying_witness import LyingWitness, Said, policy_at
from tests.server.test_clock import closed, newest_s
from tests.world import WITNESSES, Founded, World, found

HOUR_S = 3600
NAMES = ("w1.example", "w2.example", "w3.example")


@pytest.fixture(scope="module")
def witnessed(tmp_path_factory: pytest.TempPathFactory) -> Founded:
    policy = policy_of(2, [LyingWitness(name).key for name in NAMES])
    nowhere = tuple(replace(witness, url="http://127.0.0.1:9") for witness in policy.witnesses)
    return found(tmp_path_factory.mktemp("witnessed"), policy=replace(policy, witnesses=nowhere))


@pytest.fixture
def three() -> Iterator[list[LyingWitness]]:
    with ExitStack() as stack:
        yield [stack.enter_context(LyingWitness(name)) for name in NAMES]


@pytest.fixture
def world(witnessed: Founded, three: list[LyingWitness], tmp_path: Path) -> Iterator[World]:
    world = World(witnessed, tmp_path / "exchange")
    (world.folder / WITNESSES).write_bytes(format_policy(policy_at(three)))
    with world:
        yield world


def cosigned_s(world: World) -> list[int]:
    """When each witness saw the keys log, by what the exchange keeps."""
    exchange = world.server.runtime.exchange
    with exchange.database.read() as conn:
        kept = exchange.newest_witnessed(conn, KEYS)
    if kept is None:
        return []
    return [one.cosigned_s or 0 for one in verify_checkpoint(kept[1], exchange.trust(KEYS)).cosignatures]


def see(world: World, witnesses: list[LyingWitness], ahead_s: float = 0.0) -> None:
    """These witnesses look at the exchange as it starts, by a clock so far ahead of its own; wait for all of them."""
    since_s = world.clock() - HOUR_S
    for witness in witnesses:

        def says(checkpoint: Checkpoint, _old: int, witness: LyingWitness = witness) -> Said:
            return 200, "text/plain", format_answer([witness.line(checkpoint, int(world.clock() + ahead_s))])

        witness.says = says
    # Who has just looked is not asked again for ten minutes, but by an exchange that starts.
    world.restart()
    ends, line = time.monotonic() + 20, world.server.runtime.witnessing
    assert line is not None
    while len(cosigned_s(world)) < 3 or sum(at >= since_s + ahead_s for at in cosigned_s(world)) < len(witnesses):
        assert time.monotonic() < ends, "they did not look"
        line.hurry()
        time.sleep(0.05)


def passes(world: World, seconds: float) -> str | None:
    """Time passes, and the exchange is started anew; why it is closed then."""
    world.server.stop()
    world.clock.ahead_s += seconds
    world.server.start()
    return closed(world)


def test_an_exchange_that_the_witnesses_saw_lately_starts_however_old_its_newest_leaf_is(
    world: World, three: list[LyingWitness]
) -> None:
    see(world, three)
    last_s = newest_s(world)
    assert passes(world, OFF_S - DAY_S) is None
    see(world, three)
    assert passes(world, 2 * DAY_S) is None
    assert world.clock() - last_s > OFF_S
    assert newest_s(world) == last_s, "nobody has written anything in all that time"
    # From the last time that they have seen it, the same holds as from the newest leaf.
    for witness in three:
        witness.says = lambda _checkpoint, _old: (503, "text/plain", b"")
    assert passes(world, OFF_S + DAY_S) == "clock-ahead"


def test_one_witness_alone_does_not_vouch_for_the_time(world: World, three: list[LyingWitness]) -> None:
    see(world, three)
    see(world, three[:1], ahead_s=2 * OFF_S)
    for witness in three[1:]:
        witness.says = lambda _checkpoint, _old: (503, "text/plain", b"")
    assert passes(world, OFF_S + DAY_S) == "clock-ahead"
