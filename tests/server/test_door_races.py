"""Acts that arrive at the door at the same moment, over real HTTP: one order of events, and every answer true in it.

Steps 5 to 8 are judged under the log's lock (docs/decisions/0011), so a race is never an error and never two truths.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest

from referral_api.client import delivery
from referral_api.client.sdk import Client
from referral_api.domain.words import Act, ActId, PartyId, State
from referral_api.formats.act import parse_act
from referral_api.formats.receipt import Receipt, parse_receipt
from tests.wire import Answer
from tests.world import UNIT, World

RACERS = 6


def sign(client: Client, ref: str, act: Act, body: Mapping[str, Any], act_id: str | None = None) -> bytes:
    """An act as the client would send it now, not yet sent."""
    referral = client.referral(ref)
    return delivery.sign_act(
        client.session, client.keys, referral, ActId(act_id or str(uuid4())), act, body, PartyId(UNIT)
    )


def at_once(calls: list[Callable[[], Answer]]) -> list[Answer]:
    """Make all calls from threads that start together."""
    together = threading.Barrier(len(calls))

    def run(call: Callable[[], Answer]) -> Answer:
        together.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def receipt_of(answer: Answer) -> Receipt:
    return parse_receipt(answer.json["receipt"].encode())


@pytest.fixture
def acknowledged(world: World) -> str:
    """A referral that the unit has acknowledged and not yet decided on."""
    ref = world.submit().outgoing.ref
    assert ref is not None
    world.acknowledge("officer", ref)
    return str(ref)


def put(world: World, who: str, ref: str, raw: bytes) -> Callable[[], Answer]:
    caller, path = world.caller(who), f"/v1/referrals/{ref}/acts/{parse_act(raw).id}"
    # Just after the exchange has started, proofs need its nonce; with it in hand, the calls themselves are one request.
    first = caller.call("GET", "/v1/ping", headers=caller.credentials("GET", "/v1/ping"), signed=False)
    nonce = first.headers.get("dpop-nonce")
    headers = caller.credentials("PUT", path, nonce=nonce) if nonce else caller.credentials("PUT", path)
    return lambda: caller.call("PUT", path, {"act": raw.decode("ascii")}, headers=headers, signed=False)


def test_of_two_decisions_on_one_head_exactly_one_stands(world: World, acknowledged: str) -> None:
    """R-65, R-17: the other is refused for good, with a signed receipt that names the head that overtook it."""
    accept = sign(world.officer, acknowledged, Act.ACCEPT, {})
    decline = sign(world.second_officer, acknowledged, Act.DECLINE, {"reason": "out_of_jurisdiction"})
    answers = at_once(
        [put(world, "officer", acknowledged, accept), put(world, "second_officer", acknowledged, decline)]
    )
    world.check()

    won, lost = sorted(answers, key=lambda answer: answer.status)
    assert (won.status, lost.status, lost.code) == (201, 409, "stale-head")
    taken, refused = receipt_of(won).payload, receipt_of(lost).payload
    assert (taken.outcome, refused.outcome, refused.code) == ("accepted", "refused", "stale-head")
    assert lost.json["head"] == taken.act
    assert taken.log.index < refused.log.index, "the refusal was true at its place in the log"
    state = world.operator.referral(acknowledged).chronicle.deliveries[UNIT].state
    assert state is [State.ACCEPTED, State.DECLINED][answers.index(won)]


def test_the_same_act_many_times_at_once_is_one_act_with_one_receipt(world: World, acknowledged: str) -> None:
    """R-14, R-92."""
    raw = sign(world.officer, acknowledged, Act.ACCEPT, {})
    answers = at_once([put(world, "officer", acknowledged, raw) for _ in range(RACERS)])
    world.check()

    assert {answer.status for answer in answers} == {200, 201}
    assert [answer.status for answer in answers].count(201) == 1
    assert len({answer.json["receipt"] for answer in answers}) == 1
    again = put(world, "officer", acknowledged, raw)()
    assert (again.status, again.json["receipt"]) == (200, answers[0].json["receipt"])


def test_two_acts_under_one_id_at_once_are_one_act_and_one_refusal(world: World, acknowledged: str) -> None:
    """R-14: whichever came first owns the id."""
    act_id = str(uuid4())
    one = sign(world.officer, acknowledged, Act.STATUS, {"code": "registered"}, act_id)
    other = sign(world.officer, acknowledged, Act.STATUS, {"code": "on_hold"}, act_id)
    answers = at_once([put(world, "officer", acknowledged, raw) for raw in (one, other)])
    world.check()

    won, lost = sorted(answers, key=lambda answer: answer.status)
    assert (won.status, lost.status, lost.code) == (201, 409, "act-id-reused")
    assert "receipt" not in lost.json, "the id belongs to the first, whose receipt is not the second's business"
    told = world.operator.referral(acknowledged).chronicle.deliveries[UNIT].investigation
    assert told == [("registered",), ("on_hold",)][answers.index(won)]


def test_facts_that_arrive_together_are_all_taken(world: World, acknowledged: str) -> None:
    """R-65: whoever only tells what happened never loses a race."""
    codes = ["registered", "prosecutor_informed", "victim_located", "victim_safe"]
    acts = [sign(world.officer, acknowledged, Act.STATUS, {"code": code}) for code in codes]
    answers = at_once([put(world, "officer", acknowledged, raw) for raw in acts])
    world.check()

    assert [answer.status for answer in answers] == [201] * len(codes)
    found = world.operator.referral(acknowledged).chronicle.deliveries[UNIT]
    order = sorted(zip(answers, codes, strict=True), key=lambda pair: receipt_of(pair[0]).payload.log.index)
    assert found.investigation == tuple(code for _, code in order)
