"""A supplement is held to everything that a referral is held to: before sealing, after opening, and at the border.

Clauses R-81, R-83, R-85, R-86; rules R6, R8, R9 and R14 of the field.
"""

from __future__ import annotations

from typing import Any

import pytest

from referral_api.client import talking
from referral_api.domain.errors import ErrorCode
from referral_api.domain.words import Act
from tests.auditlog.refusals import refused
from tests.smuggling import supplement_unchecked
from tests.story.newcomers import Newcomers
from tests.story.test_care import composed, refusing, second_of
from tests.story.test_choosing import AGREEMENT, GUAYAS, adult
from tests.world import HOTLINE, REFERRAL, UNIT, World

ACROSS = ["share_with_police", "cross_border_share"]


@pytest.fixture
def world(sqlite_world: World) -> World:
    """What clients do here is the same before either engine."""
    return sqlite_world


@pytest.fixture
def newcomers(newcomers: Newcomers) -> Newcomers:
    newcomers.admit(GUAYAS)
    return newcomers


def further(world: World, name: str, ref: str) -> list[talking.Further]:
    client = world.client(name)
    return talking.read_supplements(client.session, client.keys, client.referral(ref))


def add(world: World, ref: str, body: dict[str, Any], unit: str) -> Any:
    return talking.supplement(world.operator.pen, world.operator.referral(ref), body, unit)


def test_a_supplement_crosses_no_border_without_the_scope_for_it(world: World, newcomers: Newcomers) -> None:
    """Rule R14 of the field; R-85: what she agreed to when it was sent may be no more when it is added to."""
    abroad = str(GUAYAS["id"])
    ref = str(world.submit(action=abroad, agreement=AGREEMENT, body=adult(ACROSS)).outgoing.ref)
    less = adult(["share_with_police"])
    before = len(world.operator.outbox.entries())
    assert refused(ErrorCode.CONSENT_GATE, add, world, ref, less, abroad) == "scope-without-border"
    assert len(world.operator.outbox.entries()) == before
    assert world.after(add(world, ref, adult(ACROSS), abroad)).code is None
    world.open(abroad, ref)
    world.after(supplement_unchecked(world.operator, ref, less, abroad))
    sound, wrong = further(world, abroad, ref)
    assert sound.faults == ()
    assert [fault.facts["reason"] for fault in wrong.faults] == ["scope-without-border"]


def test_at_home_a_supplement_needs_no_scope_for_the_border(world: World, newcomers: Newcomers) -> None:
    """The unit that it goes to counts, not whom the submission told beside it."""
    more: dict[str, Any] = {"information": (str(GUAYAS["id"]),), "agreement": AGREEMENT}
    ref = str(world.submit(body=adult(ACROSS), **more).outgoing.ref)
    world.open("officer", ref)
    assert world.after(add(world, ref, adult(["share_with_police"]), UNIT)).code is None
    assert [one.faults for one in further(world, "officer", ref)] == [()]
    assert refused(ErrorCode.CONSENT_GATE, add, world, ref, adult(["share_with_police"]), more["information"][0])


def test_a_unit_is_told_what_is_wrong_with_a_supplement(world: World) -> None:
    """R-87: a child, consent refused, routine; shown all the same, as the referral would be."""
    ref = str(world.submit().outgoing.ref)
    world.open("officer", ref)
    refusal = REFERRAL["consent"] | {"state": "refused", "basis": "legal_obligation", "identity_level": "identified"}
    body = REFERRAL | {"urgency": "routine", "consent": refusal}
    refused(ErrorCode.ACT_SCHEMA, add, world, ref, body, UNIT)
    world.after(supplement_unchecked(world.operator, ref, body))
    (read,) = further(world, "officer", ref)
    assert read.body is not None
    codes = [fault.code for fault in read.faults]
    assert codes == [ErrorCode.ACT_SCHEMA, ErrorCode.ACT_SCHEMA, ErrorCode.FLOOR_NOT_MET, ErrorCode.CONSENT_GATE]


def test_a_supplement_against_a_refusal_rests_on_the_two_who_agreed(world: World) -> None:
    """Rule R6 of the field: either of them may add to it, nobody alone may, and no machine."""
    supervisor = second_of(world)
    ref = str(world.after(world.operator.submit(composed(refusing(supervisor)))).outgoing.ref)
    assert world.after(add(world, ref, refusing(supervisor), UNIT)).code is None
    second = world.client("supervisor")
    added = talking.supplement(second.pen, second.referral(ref), refusing(supervisor), UNIT)
    assert world.after(added).code is None
    for named in (world.operator.keys.credential, f"{HOTLINE}.nadie1"):
        assert refused(ErrorCode.CONSENT_GATE, add, world, ref, refusing(named), UNIT) == "second-person"
    calls = world.calls
    refused(ErrorCode.NOT_PERMITTED, talking.supplement, calls.pen, calls.referral(ref), refusing(supervisor), UNIT)


def test_a_routine_supplement_carries_no_attachments(world: World) -> None:
    """Rule R9 of the field."""
    quiet = {name: value for name, value in adult(ACROSS).items() if name not in ("urgency_reason", "phone_alert")}
    quiet |= {"urgency": "routine", "victims": [{"ref": "V1", "age_group": "adult"}]}
    ref = str(world.after(world.operator.submit(composed(quiet))).outgoing.ref)
    noted = quiet | {"attachments": [{"id": "a1", "type": "photo"}]}
    assert refused(ErrorCode.MALFORMED, add, world, ref, noted, UNIT) == "attachments-of-routine"


def test_a_note_that_says_nothing_is_not_sealed(world: World) -> None:
    """A reason that needs words has none in blanks, nor in characters that nobody sees."""
    ref = str(world.submit().outgoing.ref)
    world.acknowledge("officer", ref)
    pen, before = world.officer.pen, len(world.officer.outbox.entries())
    for blank in ("", "   ", "\n\t ", "\u200b\u00a0"):
        reason = refused(
            ErrorCode.MALFORMED,
            lambda blank=blank: pen.act(world.officer.referral(ref), Act.DECLINE, {"reason": "other"}, note=blank),
        )
        assert reason == "note-empty"
    assert len(world.officer.outbox.entries()) == before
    assert world.act("officer", ref, Act.DECLINE, {"reason": "other"}, note="No es aquí.").code is None
