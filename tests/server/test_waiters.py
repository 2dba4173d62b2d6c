"""Waiting for an inbox to grow: nothing that happens is missed, every wait ends, an ending process holds nobody."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from referral_api.server.service.waiters import TICKS_A_SECOND, Waiters, turn

PARTY, CREDENTIAL = "pnp-lima", "pnp-lima.desk1"


def waited(steps: Callable[[Waiters], Awaitable[None]]) -> tuple[bool, int]:
    """What one wait of up to two seconds answers while `steps` run beside it, and how many still wait then."""

    async def scene() -> tuple[bool, int]:
        waiters = Waiters()
        seen = waiters.generation(PARTY)
        wait = asyncio.ensure_future(waiters.wait(PARTY, CREDENTIAL, 2, seen=seen))
        await asyncio.sleep(0)
        await steps(waiters)
        return await asyncio.wait_for(wait, 1), len(waiters)

    return asyncio.run(scene())


async def ticks(waiters: Waiters) -> None:
    for _ in range(2 * TICKS_A_SECOND + 1):
        waiters.tick()


async def woken(waiters: Waiters) -> None:
    waiters.wake([PARTY])


async def everybody_woken(waiters: Waiters) -> None:
    waiters.wake_all()


async def closed(waiters: Waiters) -> None:
    waiters.close()


@pytest.mark.parametrize(("steps", "grown"), [(ticks, False), (woken, True), (everybody_woken, True), (closed, False)])
def test_a_wait_ends(steps: Callable[[Waiters], Awaitable[None]], grown: bool) -> None:
    assert waited(steps) == (grown, 0)


@pytest.mark.parametrize(("steps", "grown"), [(woken, True), (everybody_woken, True), (closed, False)])
def test_what_happens_between_reading_and_waiting_is_not_missed(
    steps: Callable[[Waiters], Awaitable[None]], grown: bool
) -> None:
    async def scene() -> bool:
        waiters = Waiters()
        seen = waiters.generation(PARTY)
        await steps(waiters)
        return await asyncio.wait_for(waiters.wait(PARTY, CREDENTIAL, 2, seen=seen), 1)

    assert asyncio.run(scene()) is grown


def test_a_wait_beside_other_processes_ends_with_another_look() -> None:
    """Their notices can be lost; the end of the wait is the net beneath that."""

    async def scene() -> bool:
        waiters = Waiters(shared=True)
        wait = asyncio.ensure_future(waiters.wait(PARTY, CREDENTIAL, 2, seen=0))
        await asyncio.sleep(0)
        await ticks(waiters)
        return await asyncio.wait_for(wait, 1)

    assert asyncio.run(scene())


def test_another_partys_growth_wakes_nobody() -> None:
    async def others(waiters: Waiters) -> None:
        waiters.wake(["pnp-piura"])
        assert len(waiters) == 1
        await ticks(waiters)

    assert waited(others) == (False, 0)


def test_a_second_wait_of_a_credential_lets_the_first_go_empty() -> None:
    async def scene() -> tuple[bool, bool]:
        waiters = Waiters()
        first = asyncio.ensure_future(waiters.wait(PARTY, CREDENTIAL, 20, seen=0))
        await asyncio.sleep(0)
        second = asyncio.ensure_future(waiters.wait(PARTY, CREDENTIAL, 20, seen=0))
        answered = await asyncio.wait_for(first, 1)
        waiters.wake([PARTY])
        return answered, await asyncio.wait_for(second, 1)

    assert asyncio.run(scene()) == (False, True)


def test_whoever_leaves_is_forgotten() -> None:
    async def scene() -> int:
        waiters = Waiters()
        gone = asyncio.ensure_future(waiters.wait(PARTY, CREDENTIAL, 20, seen=0))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        return len(waiters)

    assert asyncio.run(scene()) == 0


def test_a_wait_is_no_longer_for_a_loop_that_is_always_late() -> None:
    """R-05, R-55: a wait of 25 s that became a minute under load would meet the patience of proxies and clients."""

    async def scene() -> float:
        waiters, loop = Waiters(), asyncio.get_running_loop()
        turning = loop.create_task(turn(waiters, lambda _second: None))
        began = loop.time()
        wait = asyncio.ensure_future(waiters.wait(PARTY, CREDENTIAL, 1, seen=0))
        while not wait.done():
            time.sleep(0.03)  # noqa: ASYNC251  # what a busy loop does to everybody else
            await asyncio.sleep(0)
        turning.cancel()
        return loop.time() - began

    assert asyncio.run(scene()) < 1.3
