"""The door's nine steps, one test each, over real HTTP; tests/mutations.toml removes each step and expects a failure.

What is wrong with each act is that step's business and nothing else: all the others would let it pass.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from referral_api.auditlog.records import Viewed, encode_salt
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Act
from referral_api.formats.strict_json import sha256_b64u, unb64u
from tests.auditlog.refusals import refused
from tests.faults.submissions import parcel, send_at_once, stored
from tests.signing import sign, sign_payload
from tests.wire import Answer
from tests.world import UNIT, World
from tests.world_check import Rows

ABSENT = "01900000-0000-7000-8000-000000000000"
SOME_ACT = "00000000-0000-4000-8000-000000000000"
REGISTERED = {"code": "registered"}


@pytest.fixture(scope="module")
def world(served: World) -> World:
    served.acknowledge("officer", str(served.submit().outgoing.ref))
    return served


@pytest.fixture
def ref(world: World) -> Iterator[str]:
    """The referral that the unit has acknowledged; everything still holds after the test."""
    yield str(world.operator.outbox.entries()[0].outgoing.ref)
    world.check()


def head(world: World, ref: str) -> str:
    return world.officer.referral(ref).chronicle.deliveries[UNIT].head


def status(world: World, ref: str, by: str = "officer", **members: Any) -> tuple[str, str]:
    """A status act, right but for what the test changes."""
    right = {"unit": UNIT, "prev": head(world, ref)}
    return sign(world.client(by), Act.STATUS, REGISTERED, ref, **(right | members))


def put(world: World, ref: str, act_id: str, text: str, by: str = "officer") -> Answer:
    return world.caller(by).call("PUT", f"/v1/referrals/{ref}/acts/{act_id}", {"act": text})


def test_step_0_an_act_that_is_right_passes_all_nine(world: World, ref: str) -> None:
    assert put(world, ref, *status(world, ref)).status == 201


def test_step_1_an_act_is_stored_only_under_the_ids_it_was_signed_with(world: World, ref: str) -> None:
    """R-11: id and referral of the path are those in the payload."""
    _, text = status(world, ref)
    assert put(world, ref, SOME_ACT, text).code == "path-mismatch"
    act_id, text = status(world, ref)
    assert put(world, ABSENT, act_id, text).code == "path-mismatch"


def test_step_2_an_act_is_taken_from_its_own_party_only(world: World, ref: str) -> None:
    """R-15."""
    act_id, text = status(world, ref)
    assert put(world, ref, act_id, text, by="stranger").code == "issuer-mismatch"
    assert put(world, ref, act_id, text, by="second_officer").status == 201


def test_step_3_every_required_signature_is_there_and_verifies(world: World, ref: str) -> None:
    """R-10: the classical signature alone would verify; the statement requires the other beside it."""
    act_id, text = status(world, ref)
    payload = unb64u(json.loads(text)["payload"])
    alone = sign_payload(world.officer, payload, signers=world.officer.keys.signers()[:1])
    assert put(world, ref, act_id, alone).code == "act-signature-invalid"
    altered = json.loads(text)
    altered["signatures"][1]["signature"] = altered["signatures"][1]["signature"][:-8] + "AAAAAAAA"
    assert put(world, ref, act_id, json.dumps(altered)).code == "act-signature-invalid"


def test_step_4_an_act_is_for_this_exchange_and_for_now(world: World, ref: str) -> None:
    """R-11, R-05: the answer says by how much the clocks differ."""
    assert put(world, ref, *status(world, ref, aud="https://other.example")).code == "wrong-audience"
    late = put(world, ref, *status(world, ref, iat=int(world.clock()) + 900))
    assert late.code == "clock-skew"
    assert abs(late.json["skew_s"] - 900) <= 2


def test_step_5_the_same_act_gets_its_first_receipt_and_another_under_its_id_none(world: World, ref: str) -> None:
    """R-14."""
    act_id, text = status(world, ref)
    first, again = put(world, ref, act_id, text), put(world, ref, act_id, text)
    assert (first.status, again.status) == (201, 200)
    assert first.json["receipt"] == again.json["receipt"]
    _, other = status(world, ref, id=act_id)
    assert put(world, ref, act_id, other).code in ("act-id-reused", None)
    _, other = sign(world.officer, Act.STATUS, {"code": "on_hold"}, ref, unit=UNIT, prev=head(world, ref), id=act_id)
    refusal = put(world, ref, act_id, other)
    assert (refusal.status, refusal.code) == (409, "act-id-reused")
    assert len([row for row in Rows(world)["act"] if row["id"] == act_id]) == 1


def test_step_6_only_who_may_do_this_here_does_it(world: World, ref: str) -> None:
    """R-60, R-51: a unit that has no delivery is told that there is nothing; a service that it takes a person."""
    act_id, text = sign(world.stranger, Act.STATUS, REGISTERED, ref, unit=UNIT, prev=head(world, ref))
    assert put(world, ref, act_id, text, by="stranger").code == "not-found"
    act_id, text = sign(world.calls, Act.CONSENT_WITHDRAWN, {}, ref, prev=head(world, ref))
    refusal = put(world, ref, act_id, text, by="calls")
    assert (refusal.code, refusal.json["needs"], "receipt" in refusal.json) == ("not-permitted", "person", True)


def test_step_7_a_fact_builds_on_what_its_signer_saw_and_a_decision_on_the_head(world: World, ref: str) -> None:
    """R-65."""
    fact = put(world, ref, *status(world, ref, prev=sha256_b64u(b"never seen")))
    assert (fact.code, "receipt" in fact.json) == ("stale-head", True)
    submitted = world.officer.referral(ref).submit().act.digest
    act_id, text = sign(world.officer, Act.ACCEPT, {}, ref, unit=UNIT, prev=submitted)
    decision = put(world, ref, act_id, text)
    assert (decision.code, decision.json["head"]) == ("stale-head", head(world, ref))


def test_step_8_what_the_lifecycle_does_not_allow_is_refused_for_good(world: World, ref: str) -> None:
    """R-70, R-17: the refusal is signed and on the log, and the id is used up."""
    before = head(world, ref)
    act_id, text = sign(world.officer, Act.CLOSE, {"outcome": "duplicate"}, ref, unit=UNIT, prev=before)
    first, again = put(world, ref, act_id, text), put(world, ref, act_id, text)
    assert (first.status, first.code, first.json["state"]) == (409, "illegal-transition", "acknowledged")
    assert "accept" in first.json["allowed"]
    assert again.json["receipt"] == first.json["receipt"]
    assert head(world, ref) == before


def test_step_9_everything_an_act_changes_is_there_with_it(world: World, ref: str) -> None:
    """R-92: act, leaf, deliveries, ciphertext and inbox lines of a submit, checked against each other row by row."""
    one = parcel(world)
    answer = one.send(world)
    assert answer is not None
    assert answer.status == 201
    world.check()
    assert len(stored(world, one)) == 1
    assert [line.kind for line in world.officer.inbox() if line.ref == one.ref] == ["submit"]


def test_step_9_a_job_that_fails_after_its_leaf_was_reserved_leaves_none(world: World, ref: str) -> None:
    """A defect late in step 9 rolls back its rows; the leaf that it had reserved must go with them."""

    def failing(batch: Any) -> Any:
        salt = encode_salt(bytes(16))
        batch.record(Viewed(t=batch.now, salt=salt, party=UNIT, credential=f"{UNIT}.nobody", ref=ref))
        raise ReferralError(ErrorCode.CODE_VOID)

    size = len(Rows(world).logs[next(log for log in world.heads if log != "keys")])
    refused(ErrorCode.CODE_VOID, world.server.runtime.writer.run, failing)
    assert len(Rows(world).logs[next(log for log in world.heads if log != "keys")]) == size


def test_step_9_sixty_four_at_once_are_each_taken_or_refused_on_their_own(world: World, ref: str) -> None:
    """Group commit: bad ones between good ones in one transaction leave nothing behind and hold nobody up."""

    def slow(name: str) -> None:
        if name == "begin":
            time.sleep(0.2)

    seen, bundle = head(world, ref), sha256_b64u(b"another bundle")
    wrong_ack = {"bundle": bundle, "submit": world.officer.referral(ref).submit().act.digest, "decrypted": True}
    acts: list[tuple[tuple[str, str], int]] = []
    for number in range(56):
        by = world.officer if number % 2 else world.second_officer
        if number % 7 == 3:
            acts.append((sign(by, Act.ACK, wrong_ack, ref, unit=UNIT, prev=seen), 422))
        elif number % 7 == 5:
            acts.append((sign(by, Act.STATUS, REGISTERED, ref, unit=UNIT, prev=bundle), 409))
        else:
            acts.append((sign(by, Act.STATUS, REGISTERED, ref, unit=UNIT, prev=seen), 201))
    parcels = [parcel(world) for _ in range(8)]
    world.restart(slow)
    answers = _send_all(world, ref, [act for act, _ in acts])
    submitted = send_at_once(world, parcels)
    world.restart()
    assert [answer.status for answer in answers] == [expected for _, expected in acts]
    assert {answer.status for answer in submitted if answer is not None} == {201}
    world.check()
    indices = [row["pos"] for row in Rows(world)["act"]]
    assert len(indices) == len(set(indices))


def _send_all(world: World, ref: str, acts: list[tuple[str, str]]) -> list[Answer]:
    answers: dict[int, Answer] = {}
    caller = world.caller("officer")
    caller.call("GET", "/v1/ping")

    def send(at: int) -> None:
        act_id, text = acts[at]
        answers[at] = caller.call("PUT", f"/v1/referrals/{ref}/acts/{act_id}", {"act": text})

    threads = [threading.Thread(target=send, args=(at,)) for at in range(len(acts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [answers[at] for at in range(len(acts))]
