"""The happy life, station by station (docs/life-of-a-referral.md). After each step `World.check()` has held."""

from __future__ import annotations

from functools import partial

from referral_api.client import correcting
from referral_api.client.outbox import Progress
from referral_api.domain.errors import ErrorCode
from referral_api.domain.words import Act, Investigation, State
from tests.auditlog.refusals import refused
from tests.world import CANARY, UNIT, World


def test_a_referral_lives_from_the_call_to_the_conclusion(world: World) -> None:
    # 1 to 4: the hotline seals for the unit, signs, and queues; the exchange takes it and answers with a receipt whose
    # place in the log is proved; the client has verified both before it says "received".
    sent = world.submit("operator")
    ref = sent.outgoing.ref
    assert ref is not None
    assert sent.state is Progress.RECEIVED

    # 5: the unit's workstation polls with its service credential alone, nobody being there, and hears of it.
    page = world.desk.next_page(wait_s=5)
    assert [(line.kind, line.ref, line.urgency, line.pending) for line in page.entries] == [
        ("submit", ref, "emergency", True)
    ]
    world.desk.keep(page)

    # 6: an officer opens it with keys that never left the workstation; the retrieval is on the record first.
    opened = world.open("officer", ref)
    assert CANARY in opened.body.situation.summary
    assert opened.warning is None
    assert world.operator.referral(ref).chronicle.deliveries[UNIT].state is State.RETRIEVED

    # 7: the officer acknowledges what was opened, by its digests, takes it, and reports.
    assert world.after(world.officer.acknowledge(opened)).state is Progress.RECEIVED
    assert world.act("officer", ref, Act.ACCEPT).code is None
    for code in (Investigation.REGISTERED, Investigation.VICTIM_SAFE):
        assert world.act("second_officer", ref, Act.STATUS, {"code": code.value}).code is None

    # 8: the hotline has learned of each, for certain.
    told = [line.kind for line in world.operator.inbox()]
    assert told == ["submit", "retrieved", "ack", "accept", "status", "status"]
    delivery = world.operator.referral(ref).chronicle.deliveries[UNIT]
    assert (delivery.state, delivery.investigation) == (State.ACCEPTED, ("registered", "victim_safe"))
    assert world.operator.outbox.get(sent.outgoing.id).state is Progress.ACKNOWLEDGED

    # 9: it ends, and nothing is pending anywhere.
    assert world.act("officer", ref, Act.CLOSE, {"outcome": "trafficking_confirmed"}).code is None
    assert [line for who in ("operator", "officer") for line in world.client(who).inbox(pending=True)] == []

    # 10: the auditor verifies all of it, believing nobody, and finds the same states.
    report = world.after(world.auditor.audit())
    assert report.complete, report.faults
    assert report.chronicles[ref].deliveries[UNIT].state is State.CLOSED


def test_a_status_that_was_wrong_is_put_right_and_both_stay_on_the_record(world: World) -> None:
    """R-74: the new one names the old one, which must be the unit's own."""
    ref = str(world.submit().outgoing.ref)
    world.acknowledge("officer", ref)
    world.act("officer", ref, Act.ACCEPT)
    wrong = world.after(world.officer.report(ref, Investigation.VICTIM_SAFE)).outgoing.digest
    accepted = world.officer.referral(ref).acts[-2].act.digest
    anew = partial(world.officer.report, ref, Investigation.REGISTERED, corrects=accepted)
    assert refused(ErrorCode.ILLEGAL_TRANSITION, anew) == "no-such-status"
    right = world.after(world.second_officer.report(ref, Investigation.VICTIM_LOCATED, corrects=wrong))
    assert right.code is None
    seen = world.operator.referral(ref)
    assert [one.act.digest for one in correcting.reported(seen, UNIT)] == [wrong, right.outgoing.digest]
    assert correcting.corrected(seen, UNIT) == {wrong}
