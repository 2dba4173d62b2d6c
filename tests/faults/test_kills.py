"""Kill -9 at every step of the submit path, again and again: nothing that had a receipt is lost, nothing is doubled.

Each life of the exchange first answers for what the life before it left open, then takes new submissions and kills
itself at a step of their batch. `make test` takes a sample, `make faults` a thousand (REFERRAL_KILLS).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from tests.faults.exchange_process import STEPS, Nursery
from tests.faults.submissions import Parcel, parcel, send_at_once
from tests.world import World
from tests.world_check import Rows

KILLS = int(os.environ.get("REFERRAL_KILLS", "24"))
SENDERS = ("operator", "calls", "colleague")
CHECK_EVERY = 24


def settle(world: World, left_open: list[Parcel], step: str) -> list[int]:
    """Send again what the last life left open: each is taken once, and a receipt that came through stays the same."""
    statuses = []
    for one in left_open:
        again, more = one.send(world), one.send(world)
        assert again is not None
        assert more is not None
        assert again.status in (200, 201), again.body
        assert more.status == 200
        assert again.json["receipt"] == more.json["receipt"]
        if one.receipt is not None:
            assert (again.status, again.json["receipt"]) == (200, one.receipt), f"lost after {step}"
        one.receipt = again.json["receipt"]
        statuses.append(again.status)
    return statuses


@pytest.mark.faults
def test_kills_at_every_step_lose_nothing_that_had_a_receipt(
    nursery: tuple[World, Nursery], progress: Callable[[int, int], None]
) -> None:
    world, exchange = nursery
    taken: list[Parcel] = []
    left_open: list[Parcel] = []
    step = ""
    for kill in range(KILLS + 1):
        before, step = step, STEPS[kill % len(STEPS)]
        exchange.begin(step if kill < KILLS else "")
        statuses = settle(world, left_open, before)
        if before in STEPS[:3]:
            assert set(statuses) == {201}, f"something was stored before {before}"
        elif before:
            assert 200 in statuses, f"nothing was stored at {before}"
        taken += left_open
        if kill % CHECK_EVERY == 0 or kill == KILLS:
            world.check()
        if kill == KILLS:
            break
        left_open = [parcel(world, by) for by in SENDERS]
        for by in SENDERS:
            assert world.caller(by).call("GET", "/v1/ping").status == 200
        exchange.arm()
        for one, answer in zip(left_open, send_at_once(world, left_open), strict=True):
            if answer is not None and answer.status == 201:
                one.receipt = answer.json["receipt"]
        assert exchange.ended() == -signal.SIGKILL
        progress(kill + 1, KILLS)
    assert len(taken) == KILLS * len(SENDERS)
    assert all(one.receipt is not None for one in taken)
    rows = {row["id"]: row["receipt"] for row in Rows(world)["act"] if row["act"] == "submit"}
    assert rows == {one.act_id: one.receipt for one in taken}
    # The server passes the signal on to itself once it has let everybody go.
    assert exchange.end() == -signal.SIGTERM
