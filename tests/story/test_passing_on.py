"""A referral goes on to another unit, or back: declined and addressed anew, transferred."""

from __future__ import annotations

from typing import Any

import pytest

from referral_api.client import lineage, passing
from referral_api.client.outbox import Progress
from referral_api.client.passing import Anew
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Act, PartyId, State
from tests.auditlog.refusals import refused
from tests.signing import sign
from tests.story.passed_on import declined, readdress, transferred
from tests.world import CANARY, ENTRIES, HOTLINE, NATIONAL, OTHER_UNIT, REGISTRY, UNIT, World, composition


def test_declined_with_a_suggestion_it_goes_anew_to_the_unit_that_was_suggested(world: World) -> None:
    """R-110: the same body, out of the hotline's own copy, as a referral that replaces the first."""
    ref = declined(world, suggested_unit=OTHER_UNIT)
    seen = world.operator.referral(ref)
    assert passing.suggested_by(seen) == OTHER_UNIT
    renewed = readdress(world, ref)
    assert renewed.state is Progress.RECEIVED
    body: Any = world.operator.referral(str(renewed.outgoing.ref)).submit().act.body
    assert (body.relation.type, body.relation.ref) == ("replaces", ref)
    opened = world.open("stranger", str(renewed.outgoing.ref))
    first = world.open("operator", ref)
    assert CANARY in opened.body.situation.summary
    apart = {"phone_alert"}
    assert {k: v for k, v in opened.body.wire().items() if k not in apart} == {
        k: v for k, v in first.body.wire().items() if k not in apart
    }
    # The first unit was telephoned; of this one nobody says so.
    assert opened.body.wire()["phone_alert"] == {"made": False}
    assert world.operator.referral(ref).later == (renewed.outgoing.ref,)
    assert world.officer.referral(ref).later == ()


def test_a_unit_with_a_conflict_is_kept_out_of_what_follows_and_so_is_whoever_was_before(world: World) -> None:
    """R-64, R-110: exclusions go on into the successor, and the conflicted unit is added to them."""
    sent = world.after(world.operator.submit(composition(excluded=(PartyId(NATIONAL),))))
    ref = str(sent.outgoing.ref)
    world.acknowledge("officer", ref)
    world.act("officer", ref, Act.DECLINE, {"reason": "conflict_of_interest"})
    renewed = str(readdress(world, ref).outgoing.ref)
    anew = world.operator.referral(renewed)
    assert set(lineage.excluded_of(anew)) == {NATIONAL, UNIT}
    assert set(anew.chronicle.deliveries) == {OTHER_UNIT}


def test_it_is_not_addressed_anew_to_who_declined_nor_while_a_unit_has_it(world: World) -> None:
    ref = str(world.submit().outgoing.ref)
    operator = world.operator

    def anew(unit: str) -> Any:
        return passing.readdressed(operator.pen, operator.referral(ref), Anew(PartyId(unit)))

    assert refused(ErrorCode.ILLEGAL_TRANSITION, lambda: anew(OTHER_UNIT)) == "still-awaited"
    world.acknowledge("officer", ref)
    world.act("officer", ref, Act.DECLINE, {"reason": "no_capacity"})
    assert refused(ErrorCode.TARGET_NOT_ALLOWED, lambda: anew(UNIT)) == "declined-it"
    world.operator.act(ref, Act.CONSENT_WITHDRAWN, {})
    assert refused(ErrorCode.CONSENT_GATE, lambda: anew(OTHER_UNIT)) == "consent-withdrawn"
    world.check()


def test_a_transfer_is_refused_once_approved_once_and_opens_at_the_new_unit_as_the_hotline_signed_it(
    world: World,
) -> None:
    """R-28, R-73: the hotline's signed document travels verbatim inside what the unit sealed."""
    ref = str(world.submit().outgoing.ref)
    world.acknowledge("officer", ref)
    original = world.open("officer", ref).bundle.referral.jws.raw
    first = transferred(world, ref)
    assert (
        world.act("operator", ref, Act.DECLINE, {"reason": "other", "answers": first}, unit=UNIT, note="No.").code
        is None
    )
    assert world.officer.referral(ref).chronicle.deliveries[UNIT].state is State.ACKNOWLEDGED
    second = transferred(world, ref)
    again = world.officer.referral(ref)
    assert (
        refused(
            ErrorCode.ILLEGAL_TRANSITION,
            lambda: passing.transfer(world.officer.pen, again, OTHER_UNIT, "jurisdiction"),
        )
        == "transfer-already-proposed"
    )
    seen = world.operator.referral(ref)
    assert passing.proposed_to(seen, second) == OTHER_UNIT
    approved = world.after(passing.approve(world.operator.pen, seen, UNIT, second))
    assert (approved.entry.code, approved.owed, approved.told) == (None, False, None)
    passed_on = world.open("stranger", ref)
    assert passed_on.bundle.referral.jws.raw == original
    assert passed_on.bundle.referral.contents.party == HOTLINE
    assert passed_on.bundle.document.contents.party == UNIT
    assert world.after(world.stranger.acknowledge(passed_on)).code is None
    assert world.act("stranger", ref, Act.ACCEPT).code is None


@pytest.mark.parametrize(
    ("to", "code", "reason"),
    [
        (UNIT, ErrorCode.TARGET_NOT_ALLOWED, "itself"),
        (HOTLINE, ErrorCode.TARGET_NOT_ALLOWED, "not-a-unit"),
        (REGISTRY, ErrorCode.TARGET_NOT_ALLOWED, "not-a-unit"),
        ("pnp-inventada", ErrorCode.TARGET_NOT_ALLOWED, "not-a-unit"),
    ],
)
def test_a_transfer_goes_to_another_police_unit_and_to_nobody_else(
    world: World, to: str, code: ErrorCode, reason: str
) -> None:
    ref = str(world.submit().outgoing.ref)
    world.acknowledge("officer", ref)
    referral = world.officer.referral(ref)
    assert refused(code, lambda: passing.transfer(world.officer.pen, referral, to, "jurisdiction")) == reason
    world.check()


def test_a_unit_that_has_the_referral_already_is_told_of_before_anything_is_sealed(world: World) -> None:
    """R-62, R-64, R-73: the proposing unit knows it from the submit; a refusal on the log would be there for ever."""
    ref = str(world.submit(information=(PartyId(OTHER_UNIT),)).outgoing.ref)
    world.acknowledge("officer", ref)
    officer = world.officer
    before = len(officer.outbox.entries())
    for to, reason in ((NATIONAL, "held-for-it"), (OTHER_UNIT, "has-it")):
        with pytest.raises(ReferralError) as error:
            passing.transfer(officer.pen, officer.referral(ref), to, "jurisdiction")
        assert (error.value.code, error.value.facts["reason"]) == (ErrorCode.TARGET_NOT_ALLOWED, reason)
        assert error.value.facts["phone"] == ENTRIES[to]["duty_phone"]
    assert len(officer.outbox.entries()) == before


def test_a_unit_that_a_referral_came_by_does_not_get_it_back(world: World) -> None:
    """R-62: of the units on its way a unit sees the transfers."""
    ref = str(world.submit().outgoing.ref)
    world.acknowledge("officer", ref)
    digest = transferred(world, ref)
    world.after(passing.approve(world.operator.pen, world.operator.referral(ref), UNIT, digest))
    world.acknowledge("stranger", ref)
    stranger = world.stranger
    again = lambda: passing.transfer(stranger.pen, stranger.referral(ref), UNIT, "jurisdiction")  # noqa: E731
    assert refused(ErrorCode.TARGET_NOT_ALLOWED, again) == "has-it"


def test_an_excluded_unit_is_proposed_like_any_other(world: World) -> None:
    """R-64: nothing that the proposing unit is told differs, neither here nor at the exchange."""
    ref = str(world.after(world.operator.submit(composition(excluded=(PartyId(OTHER_UNIT),)))).outgoing.ref)
    world.acknowledge("officer", ref)
    assert transferred(world, ref)


def test_a_unit_asks_before_it_declines_for_too_little_information(world: World) -> None:
    """The reason says that it was asked for; the hotline's own refusal of a transfer rests on nothing of the kind."""
    ref = str(world.submit().outgoing.ref)
    world.acknowledge("officer", ref)
    before = len(world.officer.outbox.entries())
    body = {"reason": "insufficient_information"}
    decline = lambda: world.act("officer", ref, Act.DECLINE, body)  # noqa: E731
    assert refused(ErrorCode.ILLEGAL_TRANSITION, decline) == "not-asked"
    assert len(world.officer.outbox.entries()) == before
    world.act("operator", ref, Act.ASK, {"topics": ["timing"]}, unit=UNIT)
    assert refused(ErrorCode.ILLEGAL_TRANSITION, decline) == "not-asked"
    answered = {**body, "answers": transferred(world, ref)}
    assert world.act("operator", ref, Act.DECLINE, answered, unit=UNIT).code is None
    world.act("officer", ref, Act.ASK, {"topics": ["location_detail"]})
    assert world.act("officer", ref, Act.DECLINE, body).code is None


def test_a_duplicate_names_another_referral(world: World) -> None:
    """The hotline has to know where the case is dealt with."""
    first, ref = (str(world.submit().outgoing.ref) for _ in range(2))
    world.acknowledge("officer", ref)
    for body in ({"reason": "duplicate_of"}, {"reason": "duplicate_of", "duplicate_of": ref}):
        assert refused(ErrorCode.ACT_SCHEMA, world.act, "officer", ref, Act.DECLINE, body) == "duplicate-unnamed"
    assert world.act("officer", ref, Act.DECLINE, {"reason": "duplicate_of", "duplicate_of": first}).code is None


def test_a_unit_without_a_usable_key_is_not_sealed_to_and_others_are_named(world: World) -> None:
    """R-64: nothing is sealed to nobody; who can be reached in its place is said."""
    ref = str(world.submit().outgoing.ref)
    world.acknowledge("officer", ref)
    stranger = world.stranger.session
    for key in stranger.keymap.sealable(OTHER_UNIT, stranger.now()):
        world.stranger.revoke(key.kid, "lost", stranger.now())
    referral = world.officer.referral(ref)
    with pytest.raises(ReferralError) as error:
        passing.transfer(world.officer.pen, referral, OTHER_UNIT, "jurisdiction")
    assert error.value.code is ErrorCode.NO_USABLE_KEY
    assert error.value.facts["instead"] == [NATIONAL]
    world.check()


def test_the_hotline_does_not_approve_a_transfer_to_a_unit_that_it_keeps_out(world: World) -> None:
    sent = world.after(world.operator.submit(composition(excluded=(PartyId(OTHER_UNIT),))))
    ref = str(sent.outgoing.ref)
    world.acknowledge("officer", ref)
    digest = transferred(world, ref)
    seen = world.operator.referral(ref)
    before = len(world.operator.outbox.entries())
    approve = lambda: passing.approve(world.operator.pen, seen, UNIT, digest)  # noqa: E731
    assert refused(ErrorCode.TARGET_NOT_ALLOWED, approve) == "excluded"
    assert len(world.operator.outbox.entries()) == before


def test_a_refused_act_sent_again_is_answered_with_what_the_first_answer_said(world: World) -> None:
    """R-14, R-17: the receipt is the same byte for byte, and so are the facts beside it."""
    ref = str(world.submit().outgoing.ref)
    world.open("officer", ref)
    digest = world.officer.referral(ref).submit().act.digest

    act_id, text = sign(world.officer, Act.ACCEPT, {}, ref, unit=UNIT, prev=digest)
    path = f"/v1/referrals/{ref}/acts/{act_id}"
    first = world.after(world.caller("officer").call("PUT", path, {"act": text}))
    second = world.after(world.caller("officer").call("PUT", path, {"act": text}))
    kept = ("code", "state", "act", "allowed", "receipt")
    assert first.json["allowed"]
    assert {name: first.json[name] for name in kept} == {name: second.json[name] for name in kept}
    world.restart()
    third = world.after(world.caller("officer").call("PUT", path, {"act": text}))
    assert {name: first.json[name] for name in kept} == {name: third.json[name] for name in kept}
