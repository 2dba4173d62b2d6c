"""What the door must not let through, and what it must give back: rules that only show in what somebody could gain.

Must never: write a row by itself.
"""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from referral_api.client import submission
from referral_api.client.addressing import recipients_for
from referral_api.domain.errors import ErrorCode
from referral_api.domain.words import Act, ReferralId
from referral_api.formats.act import parse_act
from referral_api.formats.bundle import SealRole
from referral_api.formats.contents import BundleBody, ForwardBody, ForwardReason
from referral_api.formats.strict_json import sha256_b64u
from tests.faults.submissions import Parcel, parcel
from tests.server.test_wrong_input import payload_in, put, resigned
from tests.signing import sign, sign_payload
from tests.wire import Answer
from tests.world import HOTLINE, NATIONAL, OTHER_UNIT, REFERRAL, UNIT, Office, World
from tests.world_check import Rows

DAY_S = 24 * 3600
ABSENT = "01900000-0000-7000-8000-000000000000"


@pytest.mark.parametrize("days", [8, 60], ids=["longer than an act may lag", "longer than its keys are sealable"])
def test_an_act_that_was_taken_gets_its_receipt_however_late_it_comes_again(world: World, days: int) -> None:
    """R-14, R-53: who lost the answer and was away for weeks must learn that the referral went through."""
    one = parcel(world)
    first = put(world, one)
    assert first.status == 201
    world.clock.ahead_s += days * DAY_S
    again = put(world, one)
    assert (again.status, again.json.get("receipt")) == (200, first.json["receipt"]), again.body
    changed = put(world, one, act=resigned(world, one, created_at=1))
    assert changed.status in (409, 422), "another payload under the id gains nothing by it"
    world.check()


# Routes.


def test_a_submit_does_not_come_again_with_another_route(world: World) -> None:
    """R-14, R-64: a hotline that is told "taken" must not believe in an exclusion that nobody keeps."""
    plain, routed = parcel(world), parcel(world, excluded=(OTHER_UNIT,))
    client = world.operator
    first = put(world, routed)
    assert first.status == 201
    assert put(world, routed).json["route"]["receipt"] == first.json["route"]["receipt"]
    assert "route" not in put(world, routed, route=None).json

    _, other = sign(client, Act.ROUTE, {"excluded": [NATIONAL]}, routed.ref)
    answer = put(world, routed, route=other)
    assert (answer.status, answer.code) == (409, "act-id-reused"), answer.body
    same_id = payload_in(routed.document["route"]) | {"body": {"excluded": [NATIONAL]}}
    answer = put(world, routed, route=sign_payload(client, same_id))
    assert (answer.status, answer.code) == (409, "act-id-reused"), answer.body

    assert put(world, plain).status == 201
    _, late = sign(client, Act.ROUTE, {"excluded": [OTHER_UNIT]}, plain.ref)
    answer = put(world, plain, route=late)
    assert (answer.status, answer.code) == (409, "act-id-reused"), answer.body
    world.check()


def test_a_route_under_an_id_that_is_used_is_refused_and_its_submit_with_it(world: World) -> None:
    """R-14: the pair stands or falls together, and the ids stay unused."""
    first, second = parcel(world, excluded=(OTHER_UNIT,)), parcel(world, excluded=(OTHER_UNIT,))
    assert put(world, first).status == 201
    used = payload_in(second.document["route"]) | {"id": payload_in(first.document["route"])["id"]}
    answer = put(world, second, route=sign_payload(world.operator, used))
    assert (answer.status, answer.code) == (409, "act-id-reused"), answer.body
    itself = payload_in(second.document["route"]) | {"id": second.act_id}
    answer = put(world, second, route=sign_payload(world.operator, itself))
    assert (answer.status, answer.code) == (409, "act-id-reused"), answer.body
    world.check()
    assert put(world, second).status == 201


@pytest.mark.parametrize("members", [{"unit": UNIT}, {"prev": sha256_b64u(b"")}], ids=["unit", "prev"])
def test_a_route_concerns_the_whole_referral_and_follows_nothing(world: World, members: dict[str, str]) -> None:
    """R-65."""
    one = parcel(world, excluded=(OTHER_UNIT,))
    route = sign_payload(world.operator, payload_in(one.document["route"]) | members)
    answer = put(world, one, route=route)
    assert (answer.status, answer.code) == (422, "act-schema"), answer.body
    assert put(world, one).status == 201
    world.check()


# Two persons.


def overridden(world: World, second_person: str) -> tuple[Parcel, str]:
    one = parcel(world)
    body = payload_in(one.document["act"])["body"] | {
        "basis": "vital_interest",
        "identity_level": "identified",
        "override": {"reason": "imminent_danger", "second_person": second_person},
    }
    return one, resigned(world, one, body=body, id=str(uuid4()))


def test_nobody_overrides_a_refusal_alone(world: World) -> None:
    """R-83: the second person is another person of the same hotline, or the victim's no stands."""
    office = Office(world.folder, world.server)
    office.add_person(world.operator, HOTLINE, "supervisor")
    supervisor = office.client("supervisor").keys.credential
    office.close()
    service = world.calls.keys.credential
    for wrong in (world.operator.keys.credential, service, world.officer.keys.credential, f"{HOTLINE}.aaaa"):
        one, act = overridden(world, wrong)
        answer = put(world, one, act=act)
        assert (answer.status, answer.code) == (403, "consent-gate"), (wrong, answer.body)
        assert answer.json["reason"] == "second-person"
    one, act = overridden(world, supervisor)
    assert put(world, one, act=act).status == 201
    world.check()


# What is there, and what is not.


def beside(world: World, by: str, to: str, ref: str, role: SealRole, body: Any) -> Any:
    """An envelope that `by` seals to `to` under a referral's id."""
    client = world.client(by)
    client.sync_keys()
    found = recipients_for(client.session, to, client.session.now())
    meant = [one._replace(role=role) if one.party == to else one for one in found]
    return submission.seal_beside(client.session, client.keys, ReferralId(ref), body, meant)


@pytest.mark.parametrize("by", ["stranger", "auditor"])
def test_a_submit_tells_nobody_whether_a_referral_exists(world: World, by: str) -> None:
    """R-51: whoever may not submit is told so, whether or not there is such a referral."""
    ref, one, client = str(world.submit().outgoing.ref), parcel(world), world.client(by)
    answers = []
    for wanted in (ref, ABSENT):
        sealed = beside(world, by, UNIT, wanted, SealRole.ACTION, BundleBody(REFERRAL))
        named = {"sha256": sealed.sha256, "size": sealed.size}
        body = payload_in(one.document["act"])["body"] | {"bundle": named, "to": [{"unit": UNIT, "role": "action"}]}
        _, raw = sign(client, Act.SUBMIT, body, wanted)
        document = {"act": raw, "bundle": sealed.raw.decode()}
        answers.append(world.caller(by).call("PUT", f"/v1/referrals/{wanted}", document))
    assert {(one.status, one.code) for one in answers} == {(403, "not-permitted")}, [one.body for one in answers]
    for answer in answers:
        digest = payload_in(answer.json["receipt"])["act"]
        own = world.caller(by).call("GET", f"/v1/receipts/{digest}")
        assert (own.status, own.json.get("receipt")) == (200, answer.json["receipt"]), own.body
        assert world.caller("colleague").call("GET", f"/v1/receipts/{digest}").status == 404
    world.check()


# Passing on.


def proposed(world: World, ref: str, to: str, *, sealed_to: str | None = None) -> tuple[str, Answer]:
    """The unit proposes to pass its referral on to `to`: digest of the act, and the answer."""
    officer = world.officer
    opened = officer.open(ref)
    inner = opened.bundle.referral.jws.raw
    forward = ForwardBody(ForwardReason.TRANSFER, sha256_b64u(opened.bundle.document.jws.payload), inner)
    sealed = beside(world, "officer", sealed_to or to, ref, SealRole.ACTION, forward)
    body = {"to": to, "reason": "jurisdiction", "sealed": {"sha256": sealed.sha256, "size": sealed.size}}
    head = officer.referral(ref).chronicle.deliveries[UNIT].head
    act_id, raw = sign(officer, Act.TRANSFER, body, ref, unit=UNIT, prev=head)
    document = {"act": raw, "sealed": sealed.raw.decode()}
    answer = world.after(world.caller("officer").call("PUT", f"/v1/referrals/{ref}/acts/{act_id}", document))
    return parse_act(raw.encode()).digest, answer


def acknowledged(world: World, **changes: Any) -> str:
    ref = str(world.submit(**changes).outgoing.ref)
    world.acknowledge("officer", ref)
    return ref


def test_a_unit_cannot_find_out_who_was_excluded_by_proposing_to_pass_on(world: World) -> None:
    """R-62, R-64: the exclusion may be about an officer there; it shows where the hotline answers, and only to it."""
    ref = acknowledged(world, excluded=(OTHER_UNIT,))
    digest, answer = proposed(world, ref, OTHER_UNIT)
    assert answer.status == 201, answer.body
    refused = world.act("operator", ref, Act.APPROVE, {"answers": digest}, unit=UNIT)
    assert refused.code is ErrorCode.TARGET_NOT_ALLOWED
    assert list(world.stranger.inbox()) == []
    assert world.caller("stranger").call("GET", f"/v1/referrals/{ref}").status == 404
    assert "target-not-allowed" not in str(world.officer.referral(ref).claimed)
    declined = {"reason": "out_of_jurisdiction", "answers": digest}
    assert world.act("operator", ref, Act.DECLINE, declined, unit=UNIT).code is None


def test_a_transfer_is_sealed_to_the_unit_that_it_names(world: World) -> None:
    """R-64: else the new unit would get what it cannot open."""
    ref = acknowledged(world)
    _, answer = proposed(world, ref, OTHER_UNIT, sealed_to=NATIONAL)
    assert (answer.status, answer.code) == (422, "recipient-mismatch"), answer.body


def test_the_new_unit_gets_the_bundle_whose_transfer_was_approved(world: World) -> None:
    """R-69, R-73: not the one of a proposal that the hotline has declined; and it can acknowledge that very bundle.

    R-65: it may build on the approval that brought it, an act on the other unit's delivery and at first its own's head.
    """
    ref = acknowledged(world)
    declined, _ = proposed(world, ref, OTHER_UNIT)
    body = {"reason": "out_of_jurisdiction", "answers": declined}
    assert world.act("operator", ref, Act.DECLINE, body, unit=UNIT).code is None
    approved, _ = proposed(world, ref, OTHER_UNIT)
    assert world.act("operator", ref, Act.APPROVE, {"answers": approved}, unit=UNIT).code is None

    fetched = world.after(world.caller("stranger").call("GET", f"/v1/referrals/{ref}/bundle"))
    named = {row["digest"]: payload_in(row["jws"])["body"] for row in Rows(world)["act"] if row["act"] == "transfer"}
    assert sha256_b64u(fetched.body) == named[approved]["sealed"]["sha256"]
    head = next(row["head"] for row in Rows(world)["delivery"] if row["unit"] == OTHER_UNIT)
    submit = next(row["digest"] for row in Rows(world)["act"] if row["act"] == "submit" and row["ref"] == ref)

    def acknowledge(brought: str, bundle: str, prev: str) -> Answer:
        ack = {"bundle": bundle, "submit": brought, "decrypted": True}
        act_id, raw = sign(world.stranger, Act.ACK, ack, ref, unit=OTHER_UNIT, prev=prev)
        path = f"/v1/referrals/{ref}/acts/{act_id}"
        return world.after(world.caller("stranger").call("PUT", path, {"act": raw}))

    assert head != submit
    assert acknowledge(declined, named[declined]["sealed"]["sha256"], submit).code == "digest-mismatch"
    telephoned = {"made": True, "to_unit": OTHER_UNIT, "by": "op-2", "at": int(world.clock())}
    act_id, raw = sign(world.operator, Act.PHONE_ALERT, telephoned, ref, unit=OTHER_UNIT, prev=head)
    path = f"/v1/referrals/{ref}/acts/{act_id}"
    assert world.after(world.caller("operator").call("PUT", path, {"act": raw})).status == 201
    assert acknowledge(approved, named[approved]["sealed"]["sha256"], head).status == 201
    shown = [one.act.act for one in world.stranger.referral(ref).acts]
    assert shown == [Act.SUBMIT, Act.TRANSFER, Act.APPROVE, Act.PHONE_ALERT, Act.ACK], (
        "the path by which it came, and nothing else"
    )
