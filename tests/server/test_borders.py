"""The border at the door: what the hotline's own software would never send, sent all the same (R-85)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from referral_api.domain.errors import ErrorCode
from referral_api.domain.words import Act, PartyId
from referral_api.formats.bundle import SealRole
from referral_api.formats.contents import BundleBody, ForwardBody, ForwardReason
from referral_api.formats.strict_json import sha256_b64u
from tests.faults.submissions import parcel
from tests.server.test_door_rules import acknowledged, beside
from tests.server.test_wrong_input import payload_in, put, resigned
from tests.signing import sign
from tests.story.newcomers import Newcomers
from tests.story.test_choosing import AGREEMENT, BORDER, GUAYAS, adult
from tests.wire import Answer
from tests.world import OTHER_UNIT, REFERRAL, UNIT, World
from tests.world_check import Rows


@pytest.fixture
def newcomers(world: World) -> Iterator[Newcomers]:
    made = Newcomers(world)
    made.admit(GUAYAS)
    yield made
    made.close()


def passed_on(world: World, by: str, ref: str, to: str) -> Answer:
    """A unit that has acknowledged proposes to pass its referral on."""
    client = world.client(by)
    client.sync_keys()
    opened = client.open(ref)
    inner = opened.bundle.referral.jws.raw
    forward = ForwardBody(ForwardReason.TRANSFER, sha256_b64u(opened.bundle.document.jws.payload), inner)
    sealed = beside(world, by, to, ref, SealRole.ACTION, forward)
    body = {"to": to, "reason": "jurisdiction", "sealed": {"sha256": sealed.sha256, "size": sealed.size}}
    unit = client.profile.party
    head = client.referral(ref).chronicle.deliveries[unit].head
    act_id, raw = sign(client, Act.TRANSFER, body, ref, unit=unit, prev=head)
    document = {"act": raw, "sealed": sealed.raw.decode()}
    return world.after(world.caller(by).call("PUT", f"/v1/referrals/{ref}/acts/{act_id}", document))


@pytest.mark.parametrize("role", ["action", "information", "escalation"])
def test_a_submit_across_the_border_takes_an_agreement_whatever_the_role(
    world: World, newcomers: Newcomers, role: str
) -> None:
    newcomers.admit(BORDER)
    abroad = str(GUAYAS["id"])
    roles: dict[str, dict[str, Any]] = {
        "action": {"action": abroad},
        "information": {"information": (PartyId(abroad),)},
        "escalation": {"action": BORDER["id"]},
    }
    changes = roles[role]
    world.operator.sync_keys()
    one = parcel(world, agreement=AGREEMENT, **changes)
    body = payload_in(one.document["act"])["body"]
    assert {"unit": abroad, "role": role} in body["to"]
    bare = {name: value for name, value in body.items() if name != "agreement"}
    refused = put(world, one, act=resigned(world, one, body=bare))
    assert (refused.status, refused.code) == (403, "target-not-allowed"), refused.body
    assert (refused.json["unit"], refused.json["reason"]) == (abroad, "agreement-missing")
    assert payload_in(refused.json["receipt"])["outcome"] == "refused"
    assert not [row for row in Rows(world)["delivery"] if row["unit"] == abroad]
    world.check()

    again = parcel(world, agreement=AGREEMENT, **changes)
    assert put(world, again).status == 201
    world.check()


def test_nothing_is_passed_on_across_the_border_not_even_under_an_agreement(world: World, newcomers: Newcomers) -> None:
    """The hotline addresses a unit abroad itself: it alone knows what was agreed and consented to."""
    for agreement in (None, AGREEMENT):
        ref = acknowledged(world, agreement=agreement)
        answer = passed_on(world, "officer", ref, str(GUAYAS["id"]))
        assert (answer.status, answer.code) == (403, "target-not-allowed"), answer.body
        assert (answer.json["unit"], answer.json["reason"]) == (GUAYAS["id"], "cross-border")
        assert passed_on(world, "officer", ref, OTHER_UNIT).status == 201


def test_what_is_abroad_may_be_passed_on_homewards(world: World, newcomers: Newcomers) -> None:
    abroad = str(GUAYAS["id"])
    ref = str(world.submit(action=abroad, agreement=AGREEMENT).outgoing.ref)
    world.acknowledge(abroad, ref)
    assert passed_on(world, abroad, ref, UNIT).status == 201
    report = world.after(world.auditor.audit())
    assert report.complete, report.faults


def test_a_reader_is_warned_of_consent_that_ends_at_the_border(world: World, newcomers: Newcomers) -> None:
    """The unit's software looks again after opening: the sender's own may not have."""
    abroad = str(GUAYAS["id"])
    world.operator.sync_keys()
    across: dict[str, Any] = {"action": abroad, "agreement": AGREEMENT}
    one = parcel(world, body=adult(["share_with_police", "cross_border_share"]), **across)
    told = BundleBody(REFERRAL | adult(["share_with_police"]))
    sealed = beside(world, "operator", abroad, one.ref, SealRole.ACTION, told)
    body = payload_in(one.document["act"])["body"] | {"bundle": {"sha256": sealed.sha256, "size": sealed.size}}
    sent = put(world, one, act=resigned(world, one, body=body), bundle=sealed.raw.decode())
    assert sent.status == 201, sent.body
    warning = world.open(abroad, one.ref).warning
    assert warning is not None
    assert (warning.code, warning.facts["reason"]) == (ErrorCode.CONSENT_GATE, "scope-without-border")
    assert world.open(abroad, str(world.submit(**across).outgoing.ref)).warning is None
