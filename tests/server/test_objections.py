"""Objections to what waits in an enrolment: by the invitation's nonce, and only by who would have to sign (R-32 c)."""

from __future__ import annotations

from typing import Any

import pytest

from referral_api.domain.errors import ErrorCode
from referral_api.domain.words import Act
from referral_api.server.service.enrolment import ENROLMENT_LIFE_S
from referral_api.server.storage.database import Database
from tests.formats.parties_world import NOW, Someone, digest, person
from tests.server.office import Desk, Office
from tests.server.test_directory import (
    DESK,
    LUIS,
    NOA,
    REGISTRAR,
    ROSA,
    admit,
    following,
    joining,
    kinds,
    recovering,
    refusal,
    second,
)

NOTHING_PENDING = (ErrorCode.STATEMENT_OUT_OF_SEQUENCE, "not-pending")
STRANGER = person("otraunidad", "ana1", keyholder=True)


@pytest.fixture
def unit(exchange_database: Database) -> Office:
    """An exchange with a unit of two keyholders and another of one, on each engine."""
    office = Office(exchange_database)
    office.open_registry(REGISTRAR)
    admit(office, [LUIS, ROSA, DESK], ("ws1",))
    admit(office, [STRANGER])
    return office


def objection(who: Someone, named: str, iat: int = NOW) -> bytes:
    return who.sign(Act.OBJECT, {"statement": named, "reason": "suspected_compromise"}, iat=iat)


def new_unit(office: Office) -> Desk:
    made = Desk(
        office, office.invite(REGISTRAR, "comisaria", "police_unit"), [person("comisaria", "eva1", keyholder=True)]
    )
    made.enrol()
    return made


def turn(office: Office, desk: Desk) -> Any:
    return office.status(desk.invitation, desk.enrolment)["turn"]


def test_a_registrar_person_voids_a_newcomers_enrolment_by_its_invitation(unit: Office) -> None:
    desk = new_unit(unit)
    effects = unit.accept(objection(REGISTRAR, desk.invitation.nonce))
    assert kinds(effects.keys_log) == [], "its keys never reach the log, so there is nothing to void there"
    assert turn(unit, desk) == "void"
    assert unit.pending_for(REGISTRAR) == []
    approved = REGISTRAR.sign(Act.APPROVE_STATEMENT, desk.approval())
    assert refusal(unit, approved) == (ErrorCode.CODE_VOID, "void")
    assert refusal(unit, objection(REGISTRAR, desk.invitation.nonce, NOW + 1)) == NOTHING_PENDING


@pytest.mark.parametrize("who", [LUIS, ROSA])
def test_any_keyholder_voids_an_enrolment_into_his_own_party_whose_statement_nobody_has_signed(
    unit: Office, who: Someone
) -> None:
    desk = joining(unit)
    unit.accept(objection(who, desk.invitation.nonce))
    assert turn(unit, desk) == "void"
    taken_in = LUIS.sign(Act.STATEMENT, following(unit, desk))
    assert refusal(unit, taken_in, desk.enrolment) == (ErrorCode.CODE_VOID, "void")


def test_a_registrar_person_voids_a_recovery_that_nobody_has_signed_for(unit: Office) -> None:
    desk, statement = recovering(unit)
    unit.accept(objection(REGISTRAR, desk.invitation.nonce))
    assert turn(unit, desk) == "void"
    assert refusal(unit, statement, desk.enrolment) == (ErrorCode.CODE_VOID, "void")


def test_to_everybody_else_an_enrolment_is_not_there(unit: Office) -> None:
    """R-51: whose turn it is not learns nothing, and can stop nothing."""
    mine, theirs, lost = joining(unit), new_unit(unit), recovering(unit)[0]
    for desk, others in (
        (mine, (REGISTRAR, STRANGER)),
        (theirs, (LUIS, STRANGER)),
        (lost, (LUIS, ROSA, STRANGER)),
    ):
        before = turn(unit, desk)
        for who in others:
            assert refusal(unit, objection(who, desk.invitation.nonce)) == NOTHING_PENDING
        assert turn(unit, desk) == before
    unit.accept(LUIS.sign(Act.STATEMENT, following(unit, mine)), mine.enrolment)
    assert refusal(unit, objection(LUIS, mine.invitation.nonce)) == NOTHING_PENDING, "it has a statement by now"


def test_what_was_not_completed_or_is_out_of_time_is_not_objected_to(unit: Office) -> None:
    begun = Desk(unit, unit.invite(REGISTRAR, "comisaria", "police_unit"), [person("comisaria", "eva1")])
    assert refusal(unit, objection(REGISTRAR, begun.invitation.nonce)) == NOTHING_PENDING
    begun.begin()
    assert refusal(unit, objection(REGISTRAR, begun.invitation.nonce, NOW + 1)) == NOTHING_PENDING
    desk, late = new_unit(unit), NOW + ENROLMENT_LIFE_S
    assert refusal(unit, objection(REGISTRAR, desk.invitation.nonce, late), now=late) == NOTHING_PENDING


def test_a_second_signers_objection_names_the_statement_on_the_log(unit: Office) -> None:
    desk = joining(unit, NOA)
    statement = LUIS.sign(Act.STATEMENT, following(unit, desk))
    unit.accept(statement, desk.enrolment)
    assert kinds(unit.accept(objection(ROSA, digest(statement))).keys_log) == ["object"]
    assert turn(unit, desk) == "void"
    lost, recovery = recovering(unit)
    unit.accept(recovery, lost.enrolment)
    unit.accept(objection(REGISTRAR, digest(recovery)))
    assert turn(unit, lost) == "void"
    assert refusal(unit, second(lost, recovery), now=NOW + 2 * 24 * 3600) == NOTHING_PENDING
