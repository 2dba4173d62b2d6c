"""The submit path with a fault at each of its steps: an error, a lost answer, a hundred at once.

However it ends, the same bytes sent again leave exactly one act, one leaf, one receipt, byte-identical (R-14, R-53,
R-92); `World.check()` counts them.
"""

from __future__ import annotations

import time

import pytest
import stamina

from referral_api.client.outbox import Progress
from referral_api.domain.errors import ErrorCode
from tests.faults.exchange_process import STEPS
from tests.faults.submissions import parcel, send_at_once, stored
from tests.wire import Answer
from tests.world import World, composition

BEFORE_COMMIT = STEPS[:3]


class Fuse:
    """Fails once at a step of the writer, when armed."""

    def __init__(self, step: str) -> None:
        self.step = step
        self.armed = False
        self.blown = False

    def __call__(self, name: str) -> None:
        """The writer is at a step."""
        if self.armed and name == self.step:
            self.armed, self.blown = False, True
            raise RuntimeError(f"fault at {name}")


@pytest.mark.parametrize("step", STEPS)
def test_an_error_at_any_step_leaves_one_act_after_the_retry(world: World, step: str) -> None:
    fuse = Fuse(step)
    one = parcel(world)
    world.restart(fuse)
    world.caller("operator").call("GET", "/v1/ping")
    fuse.armed = True
    first = one.send(world)
    assert fuse.blown
    assert first is not None
    assert len(stored(world, one)) == (step not in BEFORE_COMMIT)
    if step == "answered":
        assert first.status == 201
    else:
        # Nothing signed leaves before it is durable and under a checkpoint; what to do next is said.
        assert (first.status, first.json["retry"]) == (503, "same")
        assert "receipt" not in first.json
        assert first.headers["retry-after"].isdecimal()
    second, third = one.send(world), one.send(world)
    assert second is not None
    assert third is not None
    assert second.status == (201 if step in BEFORE_COMMIT else 200)
    assert third.status == 200
    assert second.json["receipt"] == third.json["receipt"]
    if step == "answered":
        assert first.json["receipt"] == second.json["receipt"]
    world.check()
    assert len(stored(world, one)) == 1


def test_an_error_in_a_batch_touches_no_neighbour(world: World) -> None:
    """A batch that fails as a whole is tried again one by one, so all are taken and the fault shows to nobody."""
    fuse = Fuse("before-commit")
    parcels = [parcel(world, by) for by in ("operator", "calls", "colleague") for _ in range(3)]

    def slow_and_faulty(name: str) -> None:
        if name == "begin":
            time.sleep(0.05)  # Long enough for others to queue behind this batch.
        fuse(name)

    world.restart(slow_and_faulty)
    for by in ("operator", "calls", "colleague"):
        world.caller(by).call("GET", "/v1/ping")
    fuse.armed = True
    answers = send_at_once(world, parcels)
    assert fuse.blown
    statuses = [answer.status for answer in answers if answer is not None]
    assert statuses.count(201) >= len(parcels) - 1
    assert set(statuses) <= {201, 503}
    for one in parcels:
        answer = one.send(world)
        assert answer is not None
        assert answer.status in (200, 201)
    world.check()
    assert all(len(stored(world, one)) == 1 for one in parcels)


def test_the_same_bytes_sent_many_times_at_once_leave_one_leaf_and_one_receipt(world: World) -> None:
    one = parcel(world)
    answers = [answer for answer in send_at_once(world, [one] * 8) if answer is not None]
    assert len(answers) == 8
    assert {answer.status for answer in answers} <= {200, 201}
    assert len({answer.json["receipt"] for answer in answers}) == 1
    assert [answer.status for answer in answers].count(201) == 1
    world.check()
    assert len(stored(world, one)) == 1


def test_a_lost_answer_is_asked_for_again_and_is_the_same(world: World) -> None:
    """The line is cut after the exchange has answered; the client sends the same bytes and believes the receipt."""
    with stamina.set_testing(True, attempts=3):
        world.operator.sync_keys()
        world.wires["operator"].cut.add("/v1/referrals/")
        sent = world.submit()
    assert sent.state is Progress.RECEIVED
    puts = [passage for passage in world.tape if passage.startswith(b"PUT ") and b"/v1/referrals/" in passage[:120]]
    assert len(puts) >= 2
    assert len({passage.partition(b"\n\n")[2] for passage in puts}) == 1
    receipts = [passage for passage in world.tape if sent.receipt is not None and _holds(passage, sent.receipt)]
    assert len(receipts) == 2


def _holds(passage: bytes, receipt: bytes) -> bool:
    body = passage.partition(b"\n\n")[2]
    return body.startswith(b'{"') and b'"receipt"' in body and Answer(200, {}, body).json["receipt"] == receipt.decode()


def test_a_line_that_stays_down_leaves_the_submission_in_the_outbox_until_it_is_back(world: World) -> None:
    with stamina.set_testing(True, attempts=1):
        world.operator.sync_keys()
        world.server.stop()
        waiting = world.operator.submit(composition())
        assert (waiting.state, waiting.code) == (Progress.SENDING, ErrorCode.UNREACHABLE)
        world.server.start()
        world.clock.ahead_s += 600
        assert [entry.state for entry in world.operator.flush()] == [Progress.RECEIVED]
    world.check()
    assert [line.kind for line in world.officer.inbox()] == ["submit"]
