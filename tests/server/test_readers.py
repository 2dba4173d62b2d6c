"""What somebody may read of a referral, and until when: through every door that hands something out.

Must never: ask the services directly; whoever reads here reads over HTTP.
"""

from __future__ import annotations

import threading

import pytest

from referral_api.client import submission
from referral_api.client.addressing import recipients_for
from referral_api.domain.words import Act, PartyId, ReferralId
from referral_api.formats.contents import BundleBody
from referral_api.server.api import site
from referral_api.server.service.batch import Batch, Done
from tests.server.test_wrong_input import payload_in
from tests.signing import sign
from tests.wire import Answer
from tests.world import OTHER_UNIT, REFERRAL, UNIT, World


def supplemented(world: World, ref: str) -> str:
    """The hotline adds to a referral; digest of the act."""
    client = world.operator
    act_id = client.session.ambient.act_id()
    meant = recipients_for(client.session, UNIT, client.session.now())
    sealed = submission.seal_beside(client.session, client.keys, ReferralId(ref), BundleBody(REFERRAL), meant)
    body = {"sealed": {"sha256": sealed.sha256, "size": sealed.size}}
    submit = client.referral(ref).submit().act.digest
    _, raw = sign(client, Act.SUPPLEMENT, body, ref, unit=UNIT, prev=submit, id=act_id)
    document = {"act": raw, "sealed": sealed.raw.decode()}
    answer = world.after(world.caller("operator").call("PUT", f"/v1/referrals/{ref}/acts/{act_id}", document))
    assert answer.status == 201, answer.body
    return str(client.referral(ref).acts[-1].act.digest)


def get(world: World, by: str, path: str) -> Answer:
    return world.after(world.caller(by).call("GET", path))


def test_a_supplement_is_handed_out_with_the_bundle_and_not_before(world: World) -> None:
    """R-66: who has read a part of the referral has retrieved it; else a withdrawal would find "nobody has it"."""
    ref = str(world.submit().outgoing.ref)
    path = f"/v1/referrals/{ref}/sealed/{supplemented(world, ref)}"
    assert get(world, "officer", path).status == 404
    assert get(world, "operator", path).status == 200
    assert get(world, "officer", f"/v1/referrals/{ref}/bundle").status == 200
    assert get(world, "officer", path).status == 200


def test_a_supplement_to_what_was_withdrawn_is_handed_out_no_more(world: World) -> None:
    """R-75: what nobody had fetched when it was taken back is not served in parts either."""
    ref = str(world.submit().outgoing.ref)
    path = f"/v1/referrals/{ref}/sealed/{supplemented(world, ref)}"
    world.act("operator", ref, Act.WITHDRAW, {"reason": "sent_to_wrong_unit"}, unit=PartyId(UNIT))
    for wanted in (path, f"/v1/referrals/{ref}/bundle"):
        assert get(world, "officer", wanted).status == 404


@pytest.mark.parametrize(
    "path",
    [
        "/v1/records/0000",
        "/v1/records/0000/0",
        "/v1/records/9999",
        "/v1/records/2026/9999999999999",
        "/v1/records/2026?from=9999999999999",
        "/v1/records/2026?from=1099511627775&limit=200",
        "/v1/log/audit/0000/checkpoint",
        "/v1/log/audit/0000/consistency?from=1",
        "/v1/log/audit/0000/tile/0/000",
    ],
)
def test_a_place_that_no_log_has_is_answered(world: World, path: str) -> None:
    """R-50: never with an internal error."""
    answer = get(world, "auditor", path)
    assert answer.status in (200, 400, 404), answer.body
    if answer.status == 200:
        assert answer.json["records"] == []
    assert "_failed" not in world.log_lines


@pytest.mark.parametrize(("wait", "something_comes"), [(20, True), (2, False)])
def test_a_credential_that_is_revoked_while_it_waits_gets_nothing_more(
    world: World, wait: int, something_comes: bool
) -> None:
    """R-45: access ends at once, for who is already on the line too, told something or not."""
    second, officer, found = world.caller("second_officer"), world.caller("officer"), []
    for one in (second, officer):
        assert one.call("GET", "/v1/ping").status == 200
    kid = world.server.runtime.exchange.keymap.get_credential(world.second_officer.keys.credential).access
    act_id, raw = sign(world.officer, Act.REVOKE, {"kid": kid, "reason": "lost", "at": int(world.clock())}, None)
    # Everything is ready before the wait begins: on a busy machine the shorter one would be over.
    waiting = threading.Thread(target=lambda: found.append(second.call("GET", f"/v1/inbox?wait={wait}")))
    waiting.start()
    await_waiter(world)
    answer = officer.call("PUT", f"/v1/directory/acts/{act_id}", {"act": raw})
    assert answer.status == 201, answer.body
    if something_comes:
        world.submit()
    waiting.join(25)
    assert [(one.status, one.code) for one in found] == [(401, "invalid_token")]


def test_whoever_is_woken_when_there_is_no_room_to_look_is_told_nothing_new(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R-55: with thousands woken at once the lane has no room for all; who is told nothing asks again."""
    officer, found = world.caller("officer"), []
    cursor = officer.call("GET", "/v1/inbox").json["cursor"]
    waiting = threading.Thread(target=lambda: found.append(officer.call("GET", f"/v1/inbox?wait=20&after={cursor}")))
    waiting.start()
    await_waiter(world)
    monkeypatch.setattr(site, "MAX_QUEUE", 0)

    def wake(batch: Batch) -> Done[None]:
        batch.wake.add(UNIT)
        return Done(None)

    world.server.runtime.writer.submit(wake, lambda _outcome: None)
    waiting.join(15)
    assert [(one.status, one.json["entries"], one.json["cursor"]) for one in found] == [(200, [], cursor)]


def await_waiter(world: World) -> None:
    """Until somebody waits for an inbox: a poll that has been answered notes who polled just before."""
    ticking = threading.Event()
    while UNIT not in world.server.runtime.polled:
        ticking.wait(0.01)
    ticking.wait(0.2)


def states_in(receipt: str) -> set[str]:
    return {one["unit"] for one in payload_in(receipt)["states"]}


def test_a_receipt_of_an_act_on_the_whole_referral_tells_a_unit_nothing_of_another(world: World) -> None:
    """R-62: whether another unit had opened or taken it stands in the states of the hotline's receipt."""
    ref = str(world.submit(information=(PartyId(OTHER_UNIT),)).outgoing.ref)
    world.acknowledge("stranger", ref)
    entry = world.act("operator", ref, Act.WITHDRAW, {"reason": "sent_to_wrong_unit"})
    shown = get(world, "officer", f"/v1/referrals/{ref}").json["acts"]
    for one in shown[1:]:
        assert states_in(one["receipt"]) <= {UNIT}
    receipt = get(world, "officer", f"/v1/receipts/{entry.outgoing.digest}").json["receipt"]
    assert states_in(receipt) <= {UNIT}


def test_who_was_not_invited_does_not_reach_the_writer(world: World) -> None:
    """R-35: without a credential and without an invitation nobody may take the writer's time from the others."""
    taken, go = threading.Event(), threading.Event()

    def hold(_batch: Batch) -> Done[None]:
        taken.set()
        waited.append(go.wait(10))
        return Done(None)

    waited: list[bool] = []
    world.server.runtime.writer.submit(hold, lambda _outcome: None)
    assert taken.wait(10)
    caller, secret = world.caller("officer"), {"Referral-Invitation": "A" * 22}
    path = "/v1/enrolments/00000000-0000-4000-8000-000000000000"
    answers = [
        caller.call("POST", "/v1/enrolments", {"enc": []}, headers=secret, signed=False),
        caller.call("PUT", path, {"keys": []}, headers=secret, signed=False),
    ]
    go.set()
    assert [(one.status, one.code) for one in answers] == [(404, "invite-unknown")] * 2
    world.check()
    assert waited == [True], "they were answered while the writer was held"
