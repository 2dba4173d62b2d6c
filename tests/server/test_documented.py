"""Every answer in JSON to a real party is what openapi.yaml says, no member more and none less (R-50, R-54, R-55)."""

from __future__ import annotations

from collections.abc import Iterator

import jsonschema_rs
import pytest

from referral_api.domain.words import Act, PartyId
from tests.server.documented import DOCUMENT, hold, validator
from tests.wire import Answer
from tests.world import NATIONAL, UNIT, World


@pytest.fixture(scope="module")
def served(served: World) -> Iterator[tuple[World, str]]:
    """A referral that was opened, acknowledged, accepted and asked about; the unit proposes to pass it on."""
    world = served
    ref = str(world.submit(information=(PartyId(NATIONAL),)).outgoing.ref)
    world.acknowledge("officer", ref)
    world.after(world.officer.act(ref, Act.ACCEPT, {}))
    world.after(
        world.officer.act(ref, Act.HOLD, {"on": True, "basis": "court_order", "review_at": int(world.clock()) + 9**6})
    )
    world.after(world.operator.act(ref, Act.CONSENT_WITHDRAWN, {}))
    yield world, ref
    world.check()


def get(world: World, who: str, path: str) -> Answer:
    return world.caller(who).call("GET", path)


@pytest.mark.parametrize("who", ["operator", "officer", "auditor"])
def test_a_view_is_as_documented(served: tuple[World, str], who: str) -> None:
    world, ref = served
    shown = hold("get_referral", get(world, who, f"/v1/referrals/{ref}"))
    [one] = [one for one in shown["deliveries"] if one["unit"] == UNIT]
    assert one["due"]
    assert one["open"]
    assert one["holds"]
    assert shown["records"]


@pytest.mark.parametrize("who", ["operator", "officer"])
def test_an_inbox_is_as_documented(served: tuple[World, str], who: str) -> None:
    assert hold("get_inbox", get(served[0], who, "/v1/inbox"))["entries"]
    assert hold("get_inbox", get(served[0], who, "/v1/inbox?pending=true"))


def test_the_directory_is_as_documented(served: tuple[World, str]) -> None:
    assert len(hold("get_parties", get(served[0], "officer", "/v1/parties"))["parties"]) > 2
    assert hold("get_party", get(served[0], "officer", f"/v1/parties/{UNIT}"))["id"] == UNIT
    assert hold("get_ping", get(served[0], "officer", "/v1/ping"))["party"] == UNIT
    assert not hold("get_enrolments", get(served[0], "registrar", "/v1/enrolments"))["enrolments"]


def test_records_receipts_and_proofs_are_as_documented(served: tuple[World, str]) -> None:
    world, ref = served
    year = hold("get_referral", get(world, "auditor", f"/v1/referrals/{ref}"))["acts"][0]["year"]
    assert hold("get_records", get(world, "auditor", f"/v1/records/{year}?ref={ref}"))["records"]
    assert hold("get_record", get(world, "auditor", f"/v1/records/{year}/0"))["records"]
    assert hold("get_audit_consistency", get(world, "auditor", f"/v1/log/audit/{year}/consistency?from=1"))["proof"]
    assert hold("get_keys_consistency", get(world, "officer", "/v1/log/keys/consistency?from=1"))["proof"]
    assert hold("get_audit_beginning", get(world, "officer", f"/v1/log/audit/{year}/beginning"))["records"]
    shown = world.operator.referral(ref).acts[0]
    assert hold("get_receipt", get(world, "operator", f"/v1/receipts/{shown.act.digest}"))["proof"]


@pytest.mark.parametrize(
    ("path", "media"),
    [
        ("/v1/log/keys/checkpoint", "text/plain"),
        ("/v1/log/keys/tile/0/000", "application/octet-stream"),
        ("/v1/evidence/{ref}", "application/zip"),
        ("/v1/referrals/{ref}/bundle", "application/jose+json"),
        ("/metrics", "text/plain"),
    ],
)
def test_what_is_no_json_is_documented_as_what_it_is(served: tuple[World, str], path: str, media: str) -> None:
    world, ref = served
    if path != "/metrics":
        answer = get(world, "officer", path.replace("{ref}", ref))
        assert answer.status in (200, 404)
        assert answer.status == 404 or answer.headers["content-type"].partition(";")[0] == media
    documented = DOCUMENT["paths"][path.replace("/0/000", "/{path}")]["get"]["responses"]["200"]["content"]
    assert list(documented) == [media]


def test_an_answer_that_lacks_a_member_or_has_another_is_not_as_documented() -> None:
    held = validator("get_ping", 200, "application/json")
    assert not held.is_valid({"party": UNIT})
    with pytest.raises(jsonschema_rs.ValidationError):
        held.validate({})
