"""Questions both ways, their answers, and supplements: sealed, addressed to one unit each, and open after closing."""

from __future__ import annotations

from typing import Any

import pytest

from referral_api.client import talking
from referral_api.client.outbox import Progress
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Act, PartyId, State
from referral_api.formats.bundle import parse_bundle
from referral_api.formats.contents import NoteBody
from tests.auditlog.refusals import refused
from tests.world import HOTLINE, NATIONAL, OTHER_UNIT, REFERRAL, UNIT, World, composition

MORE: dict[str, Any] = {**REFERRAL, "sender_reference": "LP-2026-0417-B"}


def accepted(world: World, **changes: Any) -> str:
    """A referral that the unit has taken."""
    ref = str(world.after(world.operator.submit(composition(**changes))).outgoing.ref)
    world.acknowledge("officer", ref)
    world.act("officer", ref, Act.ACCEPT)
    return ref


def answer(world: World, by: str, ref: str, unit: str | None, code: str, note: str | None) -> None:
    """Somebody answers the one question that is open for them."""
    client = world.client(by)
    referral = client.referral(ref)
    (asked,) = talking.open_questions(referral, client.profile.party, client.keys.credential, {Act.ASK}, unit)
    body = {"answers": asked.question.digest, "code": code}
    assert world.after(client.pen.act(referral, Act.ANSWER, body, unit=unit, note=note)).code is None


def test_each_side_asks_and_the_other_answers_after_closing_too(world: World) -> None:
    """R-76: the thread stays open until purge; an answer names what it answers, and its words are sealed."""
    ref = accepted(world)
    world.act("officer", ref, Act.ASK, {"topics": ["timing", "location_detail"]}, note="¿Desde cuándo?")
    seen = world.operator.referral(ref)
    (asked,) = talking.open_questions(seen, HOTLINE, world.operator.keys.credential)
    assert (asked.unit, asked.topics) == (UNIT, ("timing", "location_detail"))
    assert talking.open_questions(world.officer.referral(ref), UNIT, world.officer.keys.credential) == []
    answer(world, "operator", ref, UNIT, "provided", "Desde el viernes.")
    world.act("operator", ref, Act.ASK, {"topics": ["interpreter"]}, unit=UNIT)
    answer(world, "officer", ref, UNIT, "not_known", None)
    world.act("officer", ref, Act.CLOSE, {"outcome": "not_located"})
    world.act("operator", ref, Act.ASK, {"topics": ["evidence"]}, unit=UNIT, note="¿Quedó algo?")
    answer(world, "officer", ref, UNIT, "provided", "Sí, en el acta.")
    assert list(world.operator.inbox(pending=True)) == []
    assert world.act("operator", ref, Act.REOPEN, {"reason": "new_information"}, unit=UNIT).code is None
    notes = [one for one in world.operator.referral(ref).acts if one.act.act is Act.ANSWER and one.act.party == UNIT]
    opened = world.operator.open_note(world.operator.referral(ref), notes[-1]).document.contents.body
    assert isinstance(opened, NoteBody)
    assert opened.text == "Sí, en el acta."


def test_a_supplement_opens_at_each_unit_and_no_envelope_names_two(world: World) -> None:
    """R-62, R-76: an envelope and an act for each unit, sealed to it and to the hotline's own keys."""
    ref = accepted(world, information=(PartyId(OTHER_UNIT),))
    operator = world.operator
    units = talking.supplemented_units(operator.referral(ref))
    assert units == [UNIT, OTHER_UNIT, NATIONAL]
    for unit in units:
        entry = world.after(talking.supplement(operator.pen, operator.referral(ref), MORE, unit))
        assert entry.state is Progress.RECEIVED
        assert entry.outgoing.beside is not None
        addressed = {one.party for one in parse_bundle(entry.outgoing.beside).routing.to}
        assert addressed == {unit, HOTLINE}
    for name in ("officer", "second_officer"):
        client = world.client(name)
        client.open(ref)
        (one,) = talking.read_supplements(client.session, client.keys, client.referral(ref))
        assert (one.code, one.shown.act.unit) == (None, UNIT)
        assert one.body is not None
        assert one.body.sender_reference == MORE["sender_reference"]
    # Who has not fetched the referral gets nothing of it by way of a supplement.
    (closed,) = talking.read_supplements(world.stranger.session, world.stranger.keys, world.stranger.referral(ref))
    assert (closed.body, closed.code) == (None, ErrorCode.NOT_FOUND)
    world.open("stranger", ref)
    (one,) = talking.read_supplements(world.stranger.session, world.stranger.keys, world.stranger.referral(ref))
    assert one.body is not None
    own = talking.read_supplements(operator.session, operator.keys, operator.referral(ref))
    assert [one.body is not None for one in own] == [True] * 3
    world.check()


def test_a_supplement_says_no_other_codes_in_clear_than_the_submission_did(world: World) -> None:
    """R-81: what would change the clocks is another referral, with the relation `supplements`."""
    ref = accepted(world)
    operator = world.operator
    for wrong, code in (
        ({**MORE, "urgency": "urgent"}, ErrorCode.ACT_SCHEMA),
        ({**MORE, "nonsense": 1}, ErrorCode.MALFORMED),
    ):
        with pytest.raises(ReferralError) as error:
            talking.supplement(operator.pen, operator.referral(ref), wrong, UNIT)
        assert error.value.code is code
    assert refused(
        ErrorCode.NOT_PERMITTED, lambda: talking.supplement(world.officer.pen, world.officer.referral(ref), MORE, UNIT)
    )
    world.check()


def test_a_supplement_after_closing_still_arrives_and_none_goes_to_who_declined(world: World) -> None:
    ref = accepted(world)
    world.act("officer", ref, Act.CLOSE, {"outcome": "insufficient_information"})
    operator = world.operator
    assert UNIT in talking.supplemented_units(operator.referral(ref))
    world.after(talking.supplement(operator.pen, operator.referral(ref), MORE, UNIT))
    assert [line.kind for line in world.officer.inbox()][-1] == "supplement"
    declined = str(world.submit().outgoing.ref)
    world.acknowledge("officer", declined)
    world.act("officer", declined, Act.DECLINE, {"reason": "no_capacity"})
    assert UNIT not in talking.supplemented_units(operator.referral(declined))
    assert operator.referral(declined).chronicle.deliveries[UNIT].state is State.DECLINED
