"""Enrolment at the exchange: invitations, challenges, completions, and whose turn it is (R-34, R-35)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Act
from referral_api.formats.keys import Alg
from referral_api.formats.strict_json import b64u, canonical, parse
from referral_api.server.service.enrolment import ENROLMENT_LIFE_S, MAX_BEGINNINGS
from referral_api.server.storage import enrolments
from referral_api.server.storage.database import Database
from tests.formats.parties_world import DAY, NOW, Someone, enc_jwk, key, person, service, statement_body
from tests.server.office import Desk, Office

BOTH = (Alg.ED25519, Alg.ML_DSA_65)
REGISTRAR = person("registro", "r001", keyholder=True)
LUIS = person("divtrata", "luis", keyholder=True, algs=BOTH)
ROSA = person("divtrata", "rosa", algs=BOTH)
DESK = service("divtrata", "desk")


@pytest.fixture
def office(exchange_database: Database) -> Office:
    """An exchange with an open registry, on each engine."""
    made = Office(exchange_database)
    made.open_registry(REGISTRAR)
    return made


@pytest.fixture
def desk(office: Office) -> Desk:
    """An invited unit whose keys are made and whose enrolment has begun."""
    made = Desk(office, office.invite(REGISTRAR, "divtrata", "police_unit"), [LUIS, DESK], ("ws1", "ws2"))
    made.begin()
    return made


def refusal(desk: Desk, body: dict[str, Any], now: int = NOW) -> tuple[ErrorCode, Any]:
    with pytest.raises(ReferralError) as caught:
        desk.office.complete(desk.invitation, desk.enrolment, body, now)
    assert desk.office.status(desk.invitation, desk.enrolment)["turn"] in ("invitee", "registrar")
    return caught.value.code, caught.value.facts.get("reason", caught.value.facts.get("needs"))


def test_a_new_party_enrols_and_waits_for_the_registrar(desk: Desk) -> None:
    office = desk.office
    told = {"enrolment": desk.enrolment, "party": "divtrata", "expires_at": NOW + ENROLMENT_LIFE_S}
    assert office.status(desk.invitation, desk.enrolment) == told | {"turn": "invitee"}
    assert office.complete(desk.invitation, desk.enrolment, desk.body) == told | {"turn": "registrar"}
    (shown,) = office.pending_for(REGISTRAR)
    assert shown["nonce"] == desk.invitation.nonce
    assert shown["proposal"] == desk.body["proposal"]
    assert shown["statement"] == desk.body["statement"]
    assert sorted(shown["keys"]) == sorted(desk.body["keys"])
    assert office.log.keymap.find_party("divtrata") is None, "nothing is on a log before somebody approves"


def test_completing_again_with_the_same_body_gets_the_same_answer_and_another_body_none(desk: Desk) -> None:
    office = desk.office
    first = office.complete(desk.invitation, desk.enrolment, desk.body)
    assert office.complete(desk.invitation, desk.enrolment, desk.body) == first
    other = desk.body | {"keys": desk.body["keys"][1:]}
    assert refusal(desk, other) == (ErrorCode.INVITE_USED, None)
    with pytest.raises(ReferralError) as caught:
        office.begin(desk.invitation)
    assert caught.value.code is ErrorCode.INVITE_USED


def test_a_lost_answer_costs_fresh_challenges_and_nothing_else(desk: Desk) -> None:
    old = desk.body
    desk.begin()
    assert refusal(desk, old) == (ErrorCode.POSSESSION_NOT_PROVED, "nonce")
    desk.office.complete(desk.invitation, desk.enrolment, desk.body)


def test_an_invitation_cannot_ask_for_challenges_for_ever(desk: Desk) -> None:
    for _ in range(MAX_BEGINNINGS - 1):
        desk.office.begin(desk.invitation)
    with pytest.raises(ReferralError) as caught:
        desk.office.begin(desk.invitation)
    assert caught.value.code is ErrorCode.INVITE_USED


def test_a_wrong_or_expired_secret_opens_nothing(desk: Desk) -> None:
    office = desk.office
    wrong = desk.invitation.model_copy(update={"secret": b64u(bytes(16))})
    calls: list[Callable[[], Any]] = [
        lambda: office.begin(wrong),
        lambda: office.complete(wrong, desk.enrolment, desk.body),
        lambda: office.status(wrong, desk.enrolment),
        lambda: office.status(desk.invitation, "00000000-0000-4000-8000-000000000000"),
    ]
    for call in calls:
        with pytest.raises(ReferralError) as caught:
            call()
        assert caught.value.code is ErrorCode.INVITE_UNKNOWN
    with pytest.raises(ReferralError) as caught:
        office.begin(desk.invitation, now=NOW + 3 * DAY)
    assert caught.value.code is ErrorCode.INVITE_EXPIRED
    assert refusal(desk, desk.body, NOW + ENROLMENT_LIFE_S) == (ErrorCode.INVITE_EXPIRED, None)


def test_the_database_holds_neither_secret_nor_nonces(desk: Desk) -> None:
    desk.office.complete(desk.invitation, desk.enrolment, desk.body)
    with desk.office.database.read() as conn:
        rows = conn.all("SELECT challenges, body FROM enrolment") + conn.all("SELECT nonce, act_digest FROM invitation")
    kept = repr(rows)
    assert desk.invitation.nonce in kept
    assert desk.invitation.secret not in kept
    assert all(proof["nonce"] not in kept for proof in desk.body["possession"])


@pytest.mark.parametrize(
    ("enc", "code"),
    [
        ([key("ed").public.jwk], "key-unsuitable"),
        ([{"alg": "HPKE-9-KE", "kty": "AKP", "pub": b64u(bytes(1216))}], "key-unsuitable"),
        ([enc_jwk("same"), enc_jwk("same")], "key-reused"),
    ],
)
def test_only_fresh_encryption_keys_are_challenged(desk: Desk, enc: list[dict[str, str]], code: str) -> None:
    with pytest.raises(ReferralError) as caught:
        desk.office.begin(desk.invitation, enc)
    assert caught.value.code.value == code


# What a completion may not be.


def swapped(desk: Desk, **changes: Any) -> dict[str, Any]:
    return desk.body | changes


def test_possession_is_proved_for_every_encryption_key(desk: Desk) -> None:
    first, second = desk.body["possession"]
    wrong = {"kid": first["kid"], "nonce": b64u(bytes(32))}
    crossed = [{"kid": first["kid"], "nonce": second["nonce"]}, {"kid": second["kid"], "nonce": first["nonce"]}]
    for possession in ([], [first], [wrong, second], crossed):
        assert refusal(desk, swapped(desk, possession=possession)) == (ErrorCode.POSSESSION_NOT_PROVED, "nonce")


def test_an_unchallenged_encryption_key_is_not_taken(desk: Desk) -> None:
    stranger = Desk(desk.office, desk.invitation, [LUIS, DESK], ("ws1", "ws2", "ws3"))
    body = stranger.written({one.public.kid: bytes(32) for one in stranger.enc}, LUIS)
    assert refusal(desk, body) == (ErrorCode.POSSESSION_NOT_PROVED, "nonce")


def test_keys_made_for_another_invitation_or_party_are_refused(desk: Desk) -> None:
    other = Desk(desk.office, desk.office.invite(REGISTRAR, "divtrata", "police_unit"), [LUIS, DESK])
    other.begin()
    body = swapped(desk, keys=[*desk.body["keys"][:2], *other.body["keys"]])
    assert refusal(desk, body) == (ErrorCode.ACT_SCHEMA, "contradiction")


def test_an_entry_that_somebody_else_signed_is_refused(desk: Desk) -> None:
    raw = parse(desk.body["keys"][-1].encode(), max_bytes=12 * 1024)
    forged = raw | {"signatures": [raw["signatures"][0] | {"signature": b64u(bytes(64))}]}
    body = swapped(desk, keys=[*desk.body["keys"][:-1], canonical(forged).decode()])
    assert refusal(desk, body) == (ErrorCode.POSSESSION_NOT_PROVED, "forged")


def test_keys_that_nobody_proposes_and_proposals_without_keys_are_refused(desk: Desk) -> None:
    extra = Desk(desk.office, desk.invitation, [LUIS, DESK, ROSA])
    more = swapped(desk, keys=[*desk.body["keys"], extra.own_entries()[-1].decode()])
    assert refusal(desk, more) == (ErrorCode.ACT_SCHEMA, "contradiction")
    fewer = swapped(desk, keys=desk.body["keys"][:-1])
    assert refusal(desk, fewer) == (ErrorCode.KEY_NOT_VALID, "no-entry")


def test_the_statement_says_what_the_proposal_says(desk: Desk) -> None:
    contradiction = (ErrorCode.ACT_SCHEMA, "contradiction")
    proposal = desk.body["proposal"]
    phone = proposal["entry"] | {"duty_phone": "+5173399999"}
    assert refusal(desk, swapped(desk, proposal=proposal | {"entry": phone})) == contradiction
    assert refusal(desk, swapped(desk, proposal=proposal | {"entry": None})) == contradiction
    assert refusal(desk, swapped(desk, statement=None)) == contradiction
    assert refusal(desk, swapped(desk, proposal=proposal | {"enc": proposal["enc"][:1]})) == contradiction
    hotline = statement_body("divtrata", "hotline", [LUIS, DESK], enc=proposal["enc"])
    other_role = swapped(
        desk,
        statement=LUIS.sign(Act.STATEMENT, hotline).decode(),
        proposal=proposal | {"entry": hotline["entry"]},
    )
    assert refusal(desk, other_role) == contradiction


def test_old_and_future_documents_are_refused(desk: Desk) -> None:
    assert refusal(desk, desk.body, NOW - 61)[0] is ErrorCode.CLOCK_SKEW
    statement = LUIS.sign(
        Act.STATEMENT,
        statement_body("divtrata", "police_unit", [LUIS, DESK], enc=desk.body["proposal"]["enc"]),
        iat=NOW + 61,
    )
    assert refusal(desk, swapped(desk, statement=statement.decode()))[0] is ErrorCode.CLOCK_SKEW


def test_the_invitation_says_which_kinds_of_credential(office: Office) -> None:
    only_persons = office.invite(REGISTRAR, "divtrata", "police_unit", credential_kinds=["person"])
    desk = Desk(office, only_persons, [LUIS, DESK])
    desk.begin()
    assert refusal(desk, desk.body) == (ErrorCode.NOT_PERMITTED, "invitation")


def test_what_a_keyholder_could_never_sign_is_refused_to_the_invitee(office: Office) -> None:
    admitted = Desk(office, office.invite(REGISTRAR, "divtrata", "police_unit"), [LUIS])
    admitted.enrol()
    office.accept(REGISTRAR.sign(Act.APPROVE_STATEMENT, admitted.approval()))
    sealing_service = service("divtrata", "bot1", algs=(Alg.ED25519,))
    desk = Desk(office, office.invite(LUIS, "divtrata", "police_unit"), [sealing_service])
    desk.begin()
    assert refusal(desk, desk.body) == (ErrorCode.ACT_SCHEMA, "service-seals")


def test_pending_enrolments_are_shown_to_whom_they_wait_for(office: Office) -> None:
    admitted = Desk(office, office.invite(REGISTRAR, "divtrata", "police_unit"), [LUIS, DESK])
    admitted.enrol()
    office.accept(REGISTRAR.sign(Act.APPROVE_STATEMENT, admitted.approval()))
    joining = Desk(office, office.invite(LUIS, "divtrata", "police_unit"), [ROSA], ("rosa-ws",))
    assert joining.enrol()["turn"] == "keyholder"
    assert [one["id"] for one in office.pending_for(LUIS)] == [joining.enrolment]
    assert office.pending_for(REGISTRAR) == []
    with pytest.raises(ReferralError) as caught:
        office.pending_for(DESK)
    assert caught.value.code is ErrorCode.NOT_PERMITTED
    with pytest.raises(ReferralError) as caught:
        office.pending_for(ROSA)
    assert caught.value.code is ErrorCode.KEY_NOT_VALID
    assert office.status(joining.invitation, joining.enrolment, NOW + ENROLMENT_LIFE_S)["turn"] == "expired"
    assert office.pending_for(LUIS, NOW + ENROLMENT_LIFE_S) == []


def test_two_invitations_for_one_name_admit_one_party(office: Office) -> None:
    first = Desk(office, office.invite(REGISTRAR, "divtrata", "police_unit"), [LUIS])
    second = Desk(
        office, office.invite(REGISTRAR, "divtrata", "police_unit"), [Someone("divtrata", "mal1", keyholder=True)]
    )
    first.enrol()
    second.enrol()
    office.accept(REGISTRAR.sign(Act.APPROVE_STATEMENT, first.approval()))
    with pytest.raises(ReferralError) as caught:
        office.accept(REGISTRAR.sign(Act.APPROVE_STATEMENT, second.approval()))
    assert caught.value.code is ErrorCode.STATEMENT_OUT_OF_SEQUENCE


def test_enrolments_whose_time_is_over_do_not_hide_those_that_wait(desk: Desk) -> None:
    office = desk.office
    office.complete(desk.invitation, desk.enrolment, desk.body)
    with office.database.write() as tx:
        first = enrolments.find_enrolment(tx, desk.enrolment)
        assert first is not None
        for number in range(1000):
            enrolments.insert_enrolment(tx, replace(first, id=f"old-{number}", created_at=NOW - ENROLMENT_LIFE_S))
    assert [one["id"] for one in office.pending_for(REGISTRAR)] == [desk.enrolment]
