"""A referral that is sealed once more, to another unit or as a copy: what was said since counts, nothing is younger
than it was, and whoever must not have it does not get it by another way.

Clauses R-64, R-85, R-86, R-87, R-110; rules R8 to R11 and R14 of the field.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from referral_api.client import copying, lineage, passing, talking
from referral_api.client.outbox import Progress
from referral_api.client.passing import Anew
from referral_api.domain.errors import ErrorCode
from referral_api.domain.words import Act, PartyId, State
from referral_api.formats.referral_contacts import CONTACT_TERM, reaches
from tests.auditlog.refusals import refused
from tests.cli.shell import Shell
from tests.story.newcomers import Newcomers
from tests.story.passed_on import declined, readdress, transferred
from tests.story.test_erasure import erase
from tests.world import NATIONAL, OTHER_UNIT, REFERRAL, UNIT, World, composition, entry

DAY_S = 86_400
NUMBER, NEWER = "+51930000111", "+51930000222"
GUAYAS = entry("ec-guayas", "police_unit", duty_phone="+441632960990", country="EC")
LIMA_ABROAD = entry("cl-arica", "police_unit", duty_phone="+441632960993", country="CL")
AGREEMENT, ANOTHER = "acuerdo-2026-1", "acuerdo-2026-2"


@pytest.fixture
def world(sqlite_world: World) -> World:
    """What clients do here is the same before either engine."""
    return sqlite_world


def reachable(number: str | None = NUMBER, *more: str, **contact: Any) -> dict[str, Any]:
    """The example with a way to V1 (None: only through the hotline), and these codes beside its own of `do_not`."""
    first, second = REFERRAL["victims"]
    block = {"channel": "none"} if number is None else {"channel": "phone", "value": number}
    phones = {} if number is None else {"phones": [number]}
    return REFERRAL | {
        "victims": [first | phones | {"safe_contact": block | contact}, second],
        "do_not": [*REFERRAL["do_not"], *more],
    }


def sent(world: World, body: dict[str, Any], **more: Any) -> str:
    """A referral of this body that its unit has acknowledged."""
    ref = str(world.after(world.operator.submit(composition(body=body, **more))).outgoing.ref)
    world.acknowledge("officer", ref)
    return ref


def supplemented(world: World, ref: str, body: dict[str, Any], unit: str = UNIT) -> None:
    operator = world.operator
    assert world.after(talking.supplement(operator.pen, operator.referral(ref), body, unit)).code is None


def turned_down(world: World, ref: str, reason: str = "no_capacity") -> None:
    assert world.act("officer", ref, Act.DECLINE, {"reason": reason}).code is None


def anew(world: World, ref: str, unit: str = OTHER_UNIT, **more: Any) -> Any:
    operator = world.operator
    return passing.readdressed(operator.pen, operator.referral(ref), Anew(PartyId(unit), **more))


# Contacts and codes.


def test_a_contact_that_has_expired_stays_expired_at_the_next_unit(world: World) -> None:
    """R-87, R-110; rule R11 of the field: sealing a number again verifies nothing."""
    ref = sent(world, reachable())
    written = world.open("officer", ref).bundle.referral.contents.issued_at_s
    world.clock.ahead_s += 8 * DAY_S
    turned_down(world, ref)
    renewed = str(readdress(world, ref).outgoing.ref)
    opened = world.open("stranger", renewed)
    until = datetime.fromtimestamp(written, UTC) + CONTACT_TERM
    block = opened.body.victims[0].safe_contact
    assert block is not None
    assert (block.valid_until, block.last_verified_at) == (until, None)
    now = datetime.fromtimestamp(world.stranger.session.now(), UTC)
    sealed = datetime.fromtimestamp(opened.bundle.referral.contents.issued_at_s, UTC)
    assert reaches(opened.body, sealed, now)[0].why == "expired"


def test_what_a_supplement_withdrew_is_not_sent_to_the_next_unit(world: World) -> None:
    """R-87, R-110; R10 and R11 of the field: the later word counts, and codes only ever add up."""
    ref = sent(world, reachable())
    supplemented(world, ref, reachable(None, "no_phone_call") | {"do_not": ["no_phone_call"]})
    turned_down(world, ref)
    opened = world.open("stranger", str(readdress(world, ref).outgoing.ref))
    assert NUMBER not in str(opened.body.wire())
    assert opened.body.do_not == (*REFERRAL["do_not"], "no_phone_call")
    assert opened.body.victims[0].safe_contact.channel == "none"  # type: ignore[union-attr]
    assert opened.faults == ()


def test_the_newest_of_several_contacts_goes_on_with_the_age_it_has(world: World) -> None:
    """Of a second supplement the contact, and of none of them more."""
    ref = sent(world, reachable())
    supplemented(world, ref, reachable(None))
    world.clock.ahead_s += DAY_S
    supplemented(world, ref, reachable(NEWER) | {"sender_reference": "LP-MAS"})
    world.clock.ahead_s += DAY_S
    turned_down(world, ref)
    opened = world.open("stranger", str(readdress(world, ref, beside=True).outgoing.ref))
    (victim, _) = opened.body.victims
    assert (victim.phones, victim.safe_contact.value) == ((NEWER,), NEWER)  # type: ignore[union-attr]
    left = victim.safe_contact.valid_until.timestamp() - world.stranger.session.now()  # type: ignore[union-attr]
    assert 5 * DAY_S < left <= 6 * DAY_S
    assert opened.body.sender_reference != "LP-MAS"


def test_a_number_that_a_supplement_gives_to_a_suspect_goes_to_nobody(world: World) -> None:
    """Rule R8 of the field: that she is not spoken of again does not make her number safe."""
    ref = sent(world, reachable())
    second = REFERRAL["victims"][1]
    suspects = [{"ref": "S2", "alias": ["El Primo"], "phones": [NUMBER]}]
    later = REFERRAL | {"victims": [second], "suspects": suspects, "consent": REFERRAL["consent"] | {"subject": "V2"}}
    supplemented(world, ref, later)
    turned_down(world, ref)
    opened = world.open("stranger", str(readdress(world, ref).outgoing.ref))
    assert NUMBER not in str(opened.body.wire())


def test_with_a_supplement_that_does_not_open_nothing_goes_on_unless_it_is_meant_and_then_no_contact(
    world: World,
) -> None:
    """R-110: it may have withdrawn any of them. Here the exchange has lost its text."""
    ref = sent(world, reachable())
    supplemented(world, ref, reachable(None))
    turned_down(world, ref)
    digest = world.operator.referral(ref).supplements()[0].act.digest
    with without_text(world, digest):
        assert refused(ErrorCode.TARGET_NOT_ALLOWED, anew, world, ref) == "supplement-closed"
        copy = lambda: copying.make_copy(world.operator, ref, [OTHER_UNIT])  # noqa: E731
        assert refused(ErrorCode.TARGET_NOT_ALLOWED, copy) == "supplement-closed"
        body = anew(world, ref, despite_closed=True).body
        assert NUMBER not in str(body)
        assert {"phones", "email", "safe_contact"}.isdisjoint({name for one in body["victims"] for name in one})
        shown = Shell(world.folder, world.server.url).run("officer", "show", ref)
    assert (shown.exit, NUMBER in shown.out) == (8, False)
    assert "UNA AMPLIACIÓN POSTERIOR NO SE PUDO ABRIR" in shown.out


@contextmanager
def without_text(world: World, digest: str) -> Iterator[None]:
    """Let the exchange have lost for a while what travelled sealed beside an act."""
    which = "WHERE pos = (SELECT pos FROM act WHERE digest = ?)"
    with closing(sqlite3.connect(world.settings.data_dir / "exchange.sqlite")) as rows:
        ((text,),) = rows.execute(f"SELECT body FROM sealed {which}", (digest,)).fetchall()
        rows.execute(f"UPDATE sealed SET body = NULL {which}", (digest,))
        rows.commit()
        yield
        rows.execute(f"UPDATE sealed SET body = ? {which}", (text, digest))
        rows.commit()


def test_a_copy_says_what_a_supplement_added_that_must_not_be_done(world: World) -> None:
    """R-86; rule R10 of the field."""
    ref = sent(world, REFERRAL | {"do_not": ["do_not_reveal_source"]})
    supplemented(world, ref, REFERRAL | {"do_not": ["no_uniformed_visit"]})
    copy = str(world.after(copying.make_copy(world.operator, ref, [OTHER_UNIT])).outgoing.ref)
    assert world.open("stranger", copy).body.do_not == ("do_not_reveal_source", "no_uniformed_visit")


# Whom it is kept from.


def test_who_transferred_it_for_a_conflict_never_gets_it_again_and_is_not_suggested(world: World) -> None:
    """R-64, R-110: what a unit says of itself counts, whatever has become of its delivery since."""
    ref = str(world.submit().outgoing.ref)
    world.acknowledge("officer", ref)
    officer = world.officer
    proposed = world.after(passing.transfer(officer.pen, officer.referral(ref), OTHER_UNIT, "conflict"))
    world.after(passing.approve(world.operator.pen, world.operator.referral(ref), UNIT, proposed.outgoing.digest))
    world.acknowledge("stranger", ref)
    assert world.act("stranger", ref, Act.DECLINE, {"reason": "no_capacity", "suggested_unit": UNIT}).code is None
    seen = world.operator.referral(ref)
    assert seen.chronicle.deliveries[UNIT].state is State.TRANSFERRED
    assert passing.suggested_by(seen) is None
    assert refused(ErrorCode.TARGET_NOT_ALLOWED, anew, world, ref, UNIT) == "excluded"
    renewed = str(readdress(world, ref, NATIONAL, beside=True).outgoing.ref)
    assert UNIT in lineage.excluded_of(world.operator.referral(renewed))


def test_who_declined_for_a_conflict_is_kept_out_when_its_delivery_is_closed(world: World) -> None:
    """R-110: and closing it does not stand in the way of finding somebody else."""
    ref = declined(world, "conflict_of_interest")
    assert world.act("operator", ref, Act.CLOSE, {"outcome": "cannot_disclose"}, unit=UNIT).code is None
    assert refused(ErrorCode.TARGET_NOT_ALLOWED, anew, world, ref, UNIT) == "declined-it"
    renewed = str(readdress(world, ref).outgoing.ref)
    assert lineage.excluded_of(world.operator.referral(renewed)) == (UNIT,)


def test_what_was_closed_after_somebody_worked_on_it_is_not_addressed_anew(world: World) -> None:
    ref = str(world.submit().outgoing.ref)
    world.acknowledge("officer", ref)
    assert world.act("officer", ref, Act.ACCEPT).code is None
    assert world.act("officer", ref, Act.CLOSE, {"outcome": "not_located"}).code is None
    assert refused(ErrorCode.ILLEGAL_TRANSITION, anew, world, ref) == "still-awaited"


def test_a_copy_of_a_copy_reaches_nobody_whom_the_first_one_keeps_out(world: World) -> None:
    """R-86: neither who declined for a conflict after the copy was made, nor who has the referral itself."""
    ref = str(world.submit(information=(PartyId(NATIONAL),)).outgoing.ref)
    world.acknowledge("officer", ref)
    copy = str(world.after(copying.make_copy(world.operator, ref, [OTHER_UNIT])).outgoing.ref)
    again = lambda unit: copying.make_copy(world.operator, copy, [unit])  # noqa: E731
    assert refused(ErrorCode.TARGET_NOT_ALLOWED, again, NATIONAL) == "addressed"
    assert refused(ErrorCode.TARGET_NOT_ALLOWED, again, UNIT) == "addressed"
    turned_down(world, ref, "conflict_of_interest")
    assert refused(ErrorCode.TARGET_NOT_ALLOWED, again, UNIT) == "excluded"
    world.act("operator", ref, Act.CONSENT_WITHDRAWN)
    assert refused(ErrorCode.CONSENT_GATE, again, NATIONAL) == "consent-withdrawn"


def test_a_conflict_that_was_declared_after_the_successor_was_made_counts_for_what_follows_it(world: World) -> None:
    ref = str(world.submit().outgoing.ref)
    world.acknowledge("officer", ref)
    transferred(world, ref)
    renewed = copying_by_hand(world, ref)
    turned_down(world, ref, "conflict_of_interest")
    world.acknowledge("stranger", renewed)
    assert world.act("stranger", renewed, Act.DECLINE, {"reason": "no_capacity"}).code is None
    assert refused(ErrorCode.TARGET_NOT_ALLOWED, anew, world, renewed, UNIT) == "excluded"


def test_no_transfer_is_approved_to_a_unit_that_an_earlier_referral_of_the_line_keeps_out(world: World) -> None:
    """R-64, R-110: the exchange knows of this referral's exclusions alone, so nothing is even signed."""
    ref = str(world.submit().outgoing.ref)
    world.acknowledge("officer", ref)
    transferred(world, ref)
    renewed = copying_by_hand(world, ref)
    world.acknowledge("stranger", renewed)
    stranger = world.stranger
    proposed = world.after(passing.transfer(stranger.pen, stranger.referral(renewed), UNIT, "jurisdiction"))
    turned_down(world, ref, "conflict_of_interest")
    seen = world.operator.referral(renewed)
    assert lineage.kept_out(seen) == ()
    before = len(world.operator.outbox.entries())
    approve = lambda: passing.approve(world.operator.pen, seen, OTHER_UNIT, proposed.outgoing.digest)  # noqa: E731
    assert refused(ErrorCode.TARGET_NOT_ALLOWED, approve) == "excluded"
    ran = Shell(world.folder, world.server.url).run("operator", "approve", renewed, "--yes")
    assert ran.exit != 0
    assert len(world.operator.outbox.entries()) == before
    assert UNIT not in world.operator.referral(renewed).chronicle.deliveries
    world.check()


def test_a_transfer_is_approved_where_what_the_referral_comes_from_is_erased(world: World) -> None:
    """R-99, R-110: what cannot be had any more ends the line, and stands in nobody's way."""
    ref = declined(world, "no_capacity")
    renewed = str(readdress(world, ref).outgoing.ref)
    world.acknowledge("stranger", renewed)
    stranger = world.stranger
    proposed = world.after(passing.transfer(stranger.pen, stranger.referral(renewed), UNIT, "jurisdiction"))
    erase(world, ref)
    seen = world.operator.referral(renewed)
    approved = world.after(passing.approve(world.operator.pen, seen, OTHER_UNIT, proposed.outgoing.digest))
    assert approved.entry.code is None
    assert UNIT in world.operator.referral(renewed).chronicle.deliveries


def copying_by_hand(world: World, ref: str) -> str:
    """A successor while the first unit still has it, as another software may send it."""
    what = composition(action=OTHER_UNIT, relation={"type": "replaces", "ref": ref})
    return str(world.after(world.operator.submit(what)).outgoing.ref)


# While somebody has it.


def test_a_second_unit_does_not_get_it_unasked_while_one_has_it_in_hand(world: World) -> None:
    """R-110: the first one could not open it, and the one that stood by has taken it."""
    ref = str(world.submit().outgoing.ref)
    assert world.act("officer", ref, Act.RECEIPT_FAILED, {"reason": "cannot_decrypt"}).code is None
    world.clock.ahead_s += 2 * 3600
    world.server.catch_up()
    world.acknowledge("national", ref)
    assert world.act("national", ref, Act.ACCEPT).code is None
    assert refused(ErrorCode.ILLEGAL_TRANSITION, anew, world, ref) == "in-hand"
    assert anew(world, ref, beside=True).action == OTHER_UNIT


def test_a_second_unit_does_not_get_it_while_its_successor_is_in_hand(world: World) -> None:
    ref = declined(world)
    renewed = readdress(world, ref)
    assert refused(ErrorCode.ILLEGAL_TRANSITION, anew, world, ref, NATIONAL) == "in-hand"
    world.acknowledge("stranger", str(renewed.outgoing.ref))
    assert world.act("stranger", str(renewed.outgoing.ref), Act.DECLINE, {"reason": "no_capacity"}).code is None
    assert anew(world, ref, NATIONAL).action == NATIONAL


# Across a border.


def test_an_agreement_with_one_country_carries_nothing_into_another(world: World, newcomers: Newcomers) -> None:
    """R-85, R-110; rule R14 of the field."""
    guayas = newcomers.admit(GUAYAS)
    newcomers.admit(LIMA_ABROAD)
    world.operator.sync_keys()
    ref = str(world.submit(action=GUAYAS["id"], agreement=AGREEMENT).outgoing.ref)
    world.after(guayas.acknowledge(world.after(guayas.open(ref))))
    world.after(guayas.act(ref, Act.DECLINE, {"reason": "no_capacity"}, unit=GUAYAS["id"]))
    abroad = str(LIMA_ABROAD["id"])
    assert refused(ErrorCode.TARGET_NOT_ALLOWED, anew, world, ref, abroad) == "agreement-missing"
    assert anew(world, ref, abroad, agreement=ANOTHER).agreement == ANOTHER
    # Back home it needs none, and takes nobody abroad along who would step in.
    assert anew(world, ref, OTHER_UNIT).agreement is None


def test_a_copy_goes_abroad_under_an_agreement_of_its_own(world: World, newcomers: Newcomers) -> None:
    newcomers.admit(GUAYAS)
    world.operator.sync_keys()
    ref = str(world.submit(action=UNIT).outgoing.ref)
    there = [str(GUAYAS["id"])]
    assert refused(ErrorCode.TARGET_NOT_ALLOWED, copying.make_copy, world.operator, ref, there) == "agreement-missing"
    copy = copying.make_copy(world.operator, ref, there, agreement=AGREEMENT)
    assert world.after(copy).state is Progress.RECEIVED
