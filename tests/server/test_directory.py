"""Directory acts at the door: what is judged, what goes on the keys log and in which order (R-30 to R-36)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Act
from referral_api.formats.act import parse_act
from referral_api.formats.directory_bodies import Statement
from referral_api.formats.enrolment import Proposal, next_statement
from referral_api.formats.key_entry import parse_key_entry
from referral_api.formats.keys import Alg
from referral_api.formats.statements import KeyMap
from referral_api.formats.strict_json import parse, sha256_b64u, unb64u
from referral_api.server.service.enrolment import ENROLMENT_LIFE_S
from referral_api.server.storage.database import Database
from tests.formats.parties_world import (
    DAY,
    EXCHANGE_ACT,
    EXCHANGE_CREDENTIAL,
    NOW,
    Someone,
    act,
    digest,
    entry_of,
    genesis_body,
    person,
    service,
)
from tests.server.office import Desk, Office

BOTH = (Alg.ED25519, Alg.ML_DSA_65)
REGISTRAR = person("registro", "r001", keyholder=True, algs=BOTH)
CLERK = person("registro", "r002")
LUIS = person("divtrata", "luis", keyholder=True, algs=BOTH)
ROSA = person("divtrata", "rosa", keyholder=True, algs=BOTH)
NOA = person("divtrata", "noa1", algs=BOTH)
DESK = service("divtrata", "desk")


@pytest.fixture
def office(exchange_database: Database) -> Office:
    """An exchange with an open registry, on each engine."""
    made = Office(exchange_database)
    made.open_registry(REGISTRAR)
    return made


@pytest.fixture
def unit(office: Office) -> Office:
    """The same with a unit of two keyholders."""
    admit(office, [LUIS, ROSA, DESK], ("ws1",))
    return office


def admit(office: Office, people: list[Someone], stations: tuple[str, ...] = ()) -> Desk:
    desk = Desk(office, office.invite(REGISTRAR, people[0].party, "police_unit"), people, stations)
    desk.enrol()
    office.accept(REGISTRAR.sign(Act.APPROVE_STATEMENT, desk.approval()))
    return desk


def joining(office: Office, who: Someone = NOA, stations: tuple[str, ...] = ("noa-ws",)) -> Desk:
    desk = Desk(office, office.invite(LUIS, "divtrata", "police_unit"), [who], stations)
    desk.enrol()
    return desk


def following(office: Office, desk: Desk) -> dict[str, Any]:
    party = office.log.keymap.find_party(desk.party)
    assert party is not None
    proposal = Proposal.parse(desk.body["proposal"], code=ErrorCode.ACT_SCHEMA)
    keymap = office.log.keymap
    return next_statement(party, proposal, keymap.find_key, NOW, owners=keymap.owners_of(party.id))


def refusal(office: Office, raw: bytes, enrolment: str | None = None, now: int = NOW) -> tuple[ErrorCode, Any]:
    """How an act is refused; nothing of it may stay behind, even where the refusal itself is stored."""
    before = office.log.keymap.size, rows(office)
    with pytest.raises(ReferralError) as caught:
        office.accept(raw, enrolment, now)
    assert (office.log.keymap.size, rows(office)) == before
    return caught.value.code, caught.value.facts.get("reason", caught.value.facts.get("needs"))


def rows(office: Office) -> list[Any]:
    with office.database.read() as conn:
        return conn.all("SELECT nonce, enrolment FROM invitation ORDER BY nonce") + conn.all(
            "SELECT id, state, tries, updated_at FROM enrolment ORDER BY id"
        )


def kinds(leaves: tuple[bytes, ...]) -> list[str]:
    """What the leaves are: the use of a key entry, or the kind of an act."""
    return [
        str(parse_key_entry(leaf).use if b'"jwk"' in payload else parse_act(leaf).act)
        for leaf in leaves
        if (payload := unb64u(parse(leaf, max_bytes=32 * 1024)["payload"]))
    ]


# Admission.


def test_an_approval_brings_key_entries_statement_and_itself_in_that_order(office: Office) -> None:
    desk = Desk(office, office.invite(REGISTRAR, "divtrata", "police_unit"), [LUIS, DESK], ("ws1", "ws2"))
    desk.enrol()
    size = office.log.keymap.size
    effects = office.accept(REGISTRAR.sign(Act.APPROVE_STATEMENT, desk.approval()))
    assert kinds(effects.keys_log) == [
        *("access", "access", "seal", "seal", "enc", "enc"),
        *("statement", "approve_statement"),
    ]
    assert [one.jws.raw.decode() for one in effects.carried] == [desk.body["statement"]]
    party = office.log.keymap.find_party("divtrata")
    assert party is not None
    assert (party.index, party.effect_index) == (size + 6, size + 7)
    assert office.status(desk.invitation, desk.enrolment)["turn"] == "done"
    assert len(office.log.keymap.sealable("divtrata", NOW)) == 2


def test_a_client_folds_the_same_directory_from_the_log_alone(unit: Office) -> None:
    replica = KeyMap.start(unit.log.leaves[0], root=unit.log.keymap.root)
    for leaf in unit.log.leaves[1:]:
        replica.extend(leaf)
    assert replica.parties() == unit.log.keymap.parties()


def test_wrong_digits_admit_nobody_and_right_ones_still_do(office: Office) -> None:
    desk = Desk(office, office.invite(REGISTRAR, "divtrata", "police_unit"), [LUIS])
    desk.enrol()
    digits = desk.digits()
    wrong = digits[:-1] + str((int(digits[-1]) + 1) % 10)
    mismatch = (ErrorCode.CODE_MISMATCH, "differs")
    assert refusal(office, REGISTRAR.sign(Act.APPROVE_STATEMENT, desk.approval(wrong))) == mismatch
    without = {name: value for name, value in desk.approval().items() if name != "code_sha256"}
    assert refusal(office, REGISTRAR.sign(Act.APPROVE_STATEMENT, without)) == mismatch
    office.accept(REGISTRAR.sign(Act.APPROVE_STATEMENT, desk.approval()))


def test_approving_twice_late_or_the_unknown_is_refused(office: Office) -> None:
    desk = Desk(office, office.invite(REGISTRAR, "divtrata", "police_unit"), [LUIS])
    desk.enrol()
    approve = REGISTRAR.sign(Act.APPROVE_STATEMENT, desk.approval())
    late = NOW + ENROLMENT_LIFE_S
    assert refusal(office, approve, now=late) == (ErrorCode.CODE_VOID, "expired")
    not_pending = (ErrorCode.STATEMENT_OUT_OF_SEQUENCE, "not-pending")
    unknown = {"party": "divtrata", "statement": "A" * 43}
    assert refusal(office, REGISTRAR.sign(Act.APPROVE_STATEMENT, unknown)) == not_pending
    office.accept(approve)
    assert refusal(office, approve) == not_pending


def test_only_registrar_persons_admit_parties(unit: Office) -> None:
    desk = Desk(unit, unit.invite(REGISTRAR, "linea", "hotline"), [person("linea", "ana1", keyholder=True)])
    desk.enrol()
    body = desk.approval()
    needs = (ErrorCode.NOT_PERMITTED, "registrar")
    assert refusal(unit, LUIS.sign(Act.APPROVE_STATEMENT, body)) == needs
    assert refusal(unit, act(Act.APPROVE_STATEMENT, EXCHANGE_CREDENTIAL, body, [EXCHANGE_ACT])) == needs
    forged = act(Act.APPROVE_STATEMENT, REGISTRAR.id, body, LUIS.seals)
    assert refusal(unit, forged) == (ErrorCode.ACT_SIGNATURE_INVALID, "unknown-key")


def test_a_registrar_voids_an_enrolment_that_is_wrong(office: Office) -> None:
    desk = Desk(office, office.invite(REGISTRAR, "divtrata", "police_unit"), [LUIS])
    desk.enrol()
    statement = parse_act(desk.body["statement"].encode()).digest
    effects = office.accept(REGISTRAR.sign(Act.OBJECT, {"statement": statement, "reason": "wrong_entry"}))
    assert effects.keys_log == ()
    assert office.status(desk.invitation, desk.enrolment)["turn"] == "void"
    approve = REGISTRAR.sign(Act.APPROVE_STATEMENT, desk.approval())
    assert refusal(office, approve) == (ErrorCode.CODE_VOID, "void")
    again = REGISTRAR.sign(Act.OBJECT, {"statement": statement, "reason": "not_ours"})
    assert refusal(office, again) == (ErrorCode.STATEMENT_OUT_OF_SEQUENCE, "not-pending")


def test_others_cannot_void_somebodys_enrolment(unit: Office) -> None:
    desk = Desk(unit, unit.invite(REGISTRAR, "linea", "hotline"), [person("linea", "ana1", keyholder=True)])
    desk.enrol()
    body = {"statement": parse_act(desk.body["statement"].encode()).digest, "reason": "not_ours"}
    assert refusal(unit, LUIS.sign(Act.OBJECT, body)) == (ErrorCode.STATEMENT_OUT_OF_SEQUENCE, "not-pending")
    assert unit.status(desk.invitation, desk.enrolment)["turn"] == "registrar"


# Invitations.


def invitation(party: str, role: str, **changes: Any) -> dict[str, Any]:
    return {
        "nonce": sha256_b64u(f"{party}{role}".encode()),
        "party": entry_of(party, role),
        "credential_kinds": ["person"],
        "expires_at": NOW + 3 * DAY,
    } | changes


@pytest.mark.parametrize(
    ("who", "party", "role", "needs"),
    [
        (REGISTRAR, "linea", "hotline", None),
        (REGISTRAR, "registro", "registrar", None),
        (LUIS, "divtrata", "police_unit", None),
        (REGISTRAR, "divtrata", "police_unit", None),
        (REGISTRAR, "divtrata", "hotline", "party"),
        (REGISTRAR, "registro-dos", "registrar", "registrar"),
        (REGISTRAR, "exchange", "auditor", "party"),
        (REGISTRAR, "linea", "exchange", "party"),
        (REGISTRAR, "registro", "auditor", "keyholder"),
        (LUIS, "linea", "hotline", "registrar"),
        (LUIS, "divtrata", "hotline", "keyholder"),
        (None, "linea", "hotline", "registrar"),
        (None, "registro-dos", "registrar", "registrar"),
        (None, "divtrata", "police_unit", "party"),
    ],
)
def test_who_may_invite_whom(unit: Office, who: Someone | None, party: str, role: str, needs: str | None) -> None:
    body = invitation(party, role)
    raw = act(Act.INVITE, EXCHANGE_CREDENTIAL, body, [EXCHANGE_ACT]) if who is None else who.sign(Act.INVITE, body)
    if needs is None:
        assert unit.accept(raw).keys_log == (), "invitations are not on the keys log"
        assert (body["nonce"], None) in rows(unit)
    else:
        assert refusal(unit, raw) == (ErrorCode.NOT_PERMITTED, needs)


def test_a_person_who_is_no_keyholder_invites_persons_at_most_and_a_service_nobody(unit: Office) -> None:
    desk = joining(unit)
    statement = LUIS.sign(Act.STATEMENT, following(unit, desk))
    unit.accept(statement, desk.enrolment)
    unit.accept(ROSA.sign(Act.APPROVE_STATEMENT, {"party": "divtrata", "statement": digest(statement)}))
    body = invitation("divtrata", "police_unit")
    for more in (["service"], ["person", "service"]):
        with_service = NOA.sign(Act.INVITE, body | {"credential_kinds": more})
        assert refusal(unit, with_service) == (ErrorCode.NOT_PERMITTED, "keyholder")
    unit.accept(NOA.sign(Act.INVITE, body))
    by_service = act(Act.INVITE, DESK.id, body, [LUIS.access])
    assert refusal(unit, by_service) == (ErrorCode.NOT_PERMITTED, "person")


@pytest.mark.parametrize(("expires_at", "fits"), [(0, False), (1, True), (3 * DAY + 60, True), (3 * DAY + 61, False)])
def test_an_invitation_lasts_three_days_at_most(office: Office, expires_at: int, fits: bool) -> None:
    raw = REGISTRAR.sign(Act.INVITE, invitation("linea", "hotline", expires_at=NOW + expires_at))
    if fits:
        office.accept(raw)
        assert office.stored == 4
    else:
        assert refusal(office, raw) == (ErrorCode.ACT_SCHEMA, "out-of-range")


def test_one_secret_makes_one_invitation(office: Office) -> None:
    office.accept(REGISTRAR.sign(Act.INVITE, invitation("linea", "hotline")))
    again = REGISTRAR.sign(Act.INVITE, invitation("linea", "hotline", expires_at=NOW + DAY))
    assert refusal(office, again) == (ErrorCode.INVITE_USED, None)


# Additions.


def test_a_keyholders_statement_brings_the_keys_of_the_enrolment_that_it_takes_in(office: Office) -> None:
    admit(office, [LUIS, DESK], ("ws1",))
    desk = joining(office)
    effects = office.accept(LUIS.sign(Act.STATEMENT, following(office, desk)), desk.enrolment)
    assert kinds(effects.keys_log) == ["access", "seal", "seal", "enc", "statement"]
    assert effects.carried == ()
    assert office.log.keymap.find_credential(NOA.id) is not None
    assert len(office.log.keymap.sealable("divtrata", NOW)) == 2
    assert office.status(desk.invitation, desk.enrolment)["turn"] == "done"
    late = LUIS.sign(Act.STATEMENT, following(office, desk))
    assert refusal(office, late, desk.enrolment) == (ErrorCode.CODE_VOID, "done")


def test_with_two_keyholders_an_addition_waits_for_the_other_one(unit: Office) -> None:
    desk = joining(unit)
    statement = LUIS.sign(Act.STATEMENT, following(unit, desk))
    unit.accept(statement, desk.enrolment)
    assert unit.status(desk.invitation, desk.enrolment)["turn"] == "second_keyholder"
    assert [one["id"] for one in unit.pending_for(ROSA)] == [desk.enrolment]
    assert unit.log.keymap.find_credential(NOA.id) is None
    unit.accept(ROSA.sign(Act.APPROVE_STATEMENT, {"party": "divtrata", "statement": digest(statement)}))
    assert unit.log.keymap.find_credential(NOA.id) is not None
    assert unit.status(desk.invitation, desk.enrolment)["turn"] == "done"


@pytest.mark.parametrize("how", ["object", "overtake"])
def test_an_addition_that_is_objected_to_or_overtaken_is_void(unit: Office, how: str) -> None:
    desk = joining(unit)
    before = unit.log.keymap.find_party("divtrata")
    assert before is not None
    statement = LUIS.sign(Act.STATEMENT, following(unit, desk))
    unit.accept(statement, desk.enrolment)
    if how == "object":
        unit.accept(ROSA.sign(Act.OBJECT, {"statement": digest(statement), "reason": "not_authorised"}))
    else:
        plain = before.body.wire() | {"seq": 2, "prev_statement": before.statement}
        unit.accept(ROSA.sign(Act.STATEMENT, plain))
    assert unit.status(desk.invitation, desk.enrolment)["turn"] == "void"
    assert unit.log.keymap.find_credential(NOA.id) is None


def test_a_statement_lists_what_was_proposed_and_compared(unit: Office) -> None:
    desk = joining(unit)
    body = following(unit, desk)
    *others, noa = body["credentials"]
    as_keyholder = body | {"credentials": [*others, noa | {"keyholder": True}]}
    changed = (ErrorCode.ACT_SCHEMA, "not-as-proposed")
    assert refusal(unit, LUIS.sign(Act.STATEMENT, as_keyholder), desk.enrolment) == changed
    without_key = body | {"enc": body["enc"][:1]}
    assert refusal(unit, LUIS.sign(Act.STATEMENT, without_key), desk.enrolment) == changed
    assert refusal(unit, LUIS.sign(Act.STATEMENT, body)) == (ErrorCode.KEY_NOT_VALID, "no-entry")


def test_an_enrolment_goes_with_a_statement_of_its_own_party_only(unit: Office) -> None:
    desk = joining(unit)
    raw = LUIS.sign(Act.STATEMENT, following(unit, desk))
    assert refusal(unit, raw, "00000000-0000-4000-8000-000000000000") == (ErrorCode.NOT_FOUND, None)
    assert refusal(unit, raw, desk.enrolment, NOW + ENROLMENT_LIFE_S) == (ErrorCode.CODE_VOID, "expired")
    revoke = LUIS.sign(Act.REVOKE, {"kid": DESK.access.kid, "reason": "lost", "at": NOW})
    assert refusal(unit, revoke, desk.enrolment) == (ErrorCode.ACT_SCHEMA, "contradiction")
    registrar = unit.log.keymap.find_party("registro")
    assert registrar is not None
    foreign = registrar.body.wire() | {"seq": 2, "prev_statement": registrar.statement}
    assert refusal(unit, REGISTRAR.sign(Act.STATEMENT, foreign), desk.enrolment) == (ErrorCode.NOT_FOUND, None)


def test_the_same_keys_cannot_come_in_through_two_enrolments(unit: Office) -> None:
    first, second = joining(unit), joining(unit)
    statement = LUIS.sign(Act.STATEMENT, following(unit, first))
    unit.accept(statement, first.enrolment)
    again = LUIS.sign(Act.STATEMENT, following(unit, second))
    assert refusal(unit, again, second.enrolment) == (ErrorCode.KEY_REUSED, None)
    third = Desk(unit, unit.invite(LUIS, "divtrata", "police_unit"), [NOA], ("noa-ws",))
    with pytest.raises(ReferralError) as caught:
        third.begin()
    assert caught.value.code is ErrorCode.KEY_REUSED


# Renewal by its own person, and a party that has lost its keyholders (R-32 d, e).


def listed_noa(office: Office) -> Desk:
    desk = joining(office)
    statement = LUIS.sign(Act.STATEMENT, following(office, desk))
    office.accept(statement, desk.enrolment)
    office.accept(ROSA.sign(Act.APPROVE_STATEMENT, {"party": "divtrata", "statement": digest(statement)}))
    return desk


def test_a_person_renews_its_workstations_key_with_an_invitation_of_its_own(unit: Office) -> None:
    listed_noa(unit)
    invited = unit.invite(NOA, "divtrata", "police_unit", credential_kinds=["person"])
    renewal = Desk(unit, invited, [], ("noa-ws, a month later",), keeper=NOA)
    renewal.enrol()
    assert unit.status(renewal.invitation, renewal.enrolment)["turn"] == "keyholder"
    effects = unit.accept(NOA.sign(Act.STATEMENT, following(unit, renewal)), renewal.enrolment)
    assert kinds(effects.keys_log) == ["enc", "statement"]
    assert unit.status(renewal.invitation, renewal.enrolment)["turn"] == "done"
    assert next(key.kid for key in renewal.enc) in {key.kid for key in unit.log.keymap.sealable("divtrata", NOW)}


LENA = person("divtrata", "lena", keyholder=True, algs=BOTH)


def recovering(office: Office) -> tuple[Desk, bytes]:
    """A unit whose only keyholders have lost their keys; a new one has enrolled, and a registrar person has signed."""
    desk = Desk(office, office.invite(REGISTRAR, "divtrata", "police_unit"), [LENA], ("lena-ws",))
    desk.enrol()
    body = following(office, desk)
    body |= {"credentials": [one for one in body["credentials"] if one["id"] not in (LUIS.short, ROSA.short)]}
    return desk, REGISTRAR.sign(Act.STATEMENT, body)


def second(desk: Desk, statement: bytes, digits: str | None = None, iat: int = NOW + DAY) -> bytes:
    body = {"party": "divtrata", "statement": digest(statement), "code_sha256": desk.typed(digits)}
    return REGISTRAR.sign(Act.APPROVE_STATEMENT, body, iat=iat)


def test_a_registrar_recovers_a_unit_and_nothing_holds_before_the_day_is_over(unit: Office) -> None:
    desk, statement = recovering(unit)
    assert unit.status(desk.invitation, desk.enrolment)["turn"] == "registrar"
    assert [one["id"] for one in unit.pending_for(REGISTRAR)] == [desk.enrolment]
    assert unit.pending_for(LUIS) == [], "nothing of a recovery is a keyholder's to sign"
    effects = unit.accept(statement, desk.enrolment)
    assert kinds(effects.keys_log) == ["access", "seal", "seal", "enc", "statement"]
    assert unit.status(desk.invitation, desk.enrolment)["turn"] == "second_registrar"
    assert unit.log.keymap.find_credential(LENA.id) is None
    early = second(desk, statement, iat=NOW + DAY - 1)
    assert refusal(unit, early, now=NOW + DAY) == (ErrorCode.STATEMENT_OUT_OF_SEQUENCE, "objection-window")
    wrong = second(desk, statement, digits="0" * 30)
    assert refusal(unit, wrong, now=NOW + DAY) == (ErrorCode.CODE_MISMATCH, "differs")
    unit.accept(second(desk, statement), now=NOW + DAY)
    assert unit.status(desk.invitation, desk.enrolment)["turn"] == "done"
    party = unit.log.keymap.find_party("divtrata")
    assert party is not None
    assert [one.id for one in unit.log.keymap.keyholders(party, NOW + DAY)] == [LENA.id]


def test_a_recovery_that_is_objected_to_is_void(unit: Office) -> None:
    desk, statement = recovering(unit)
    unit.accept(statement, desk.enrolment)
    unit.accept(ROSA.sign(Act.OBJECT, {"statement": digest(statement), "reason": "not_authorised"}))
    assert unit.status(desk.invitation, desk.enrolment)["turn"] == "void"
    gone = refusal(unit, second(desk, statement), now=NOW + DAY)
    assert gone == (ErrorCode.STATEMENT_OUT_OF_SEQUENCE, "not-pending")


def test_no_keyholder_takes_in_what_a_registrar_recovers(unit: Office) -> None:
    """Nor the other way round: an enrolment that a keyholder began is no registrar's."""
    desk, _ = recovering(unit)
    own = LUIS.sign(Act.STATEMENT, following(unit, desk))
    assert refusal(unit, own, desk.enrolment) == (ErrorCode.CODE_VOID, "registrar")
    joined = joining(unit)
    foreign = REGISTRAR.sign(Act.STATEMENT, following(unit, joined))
    assert refusal(unit, foreign, joined.enrolment) == (ErrorCode.CODE_VOID, "keyholder")


# Revocation and rights.


def test_a_revocation_is_on_the_log_and_in_effect_at_once(unit: Office) -> None:
    effects = unit.accept(LUIS.sign(Act.REVOKE, {"kid": ROSA.seals[0].kid, "reason": "lost", "at": NOW}))
    assert kinds(effects.keys_log) == ["revoke"]
    body = {"kid": DESK.access.kid, "reason": "lost", "at": NOW}
    assert refusal(unit, ROSA.sign(Act.REVOKE, body)) == (ErrorCode.KEY_NOT_VALID, "revoked")


def test_whoever_has_ended_changes_nothing_even_within_the_grace(unit: Office) -> None:
    raw = LUIS.sign(Act.REVOKE, {"kid": DESK.access.kid, "reason": "lost", "at": NOW}, iat=LUIS.until - 1)
    assert refusal(unit, raw, now=LUIS.until) == (ErrorCode.KEY_NOT_VALID, "ended")


def test_acts_that_are_no_directory_acts_of_this_caller_are_not_permitted(unit: Office) -> None:
    by_person = LUIS.sign(Act.GENESIS, genesis_body())
    assert refusal(unit, by_person)[0] is ErrorCode.NOT_PERMITTED
    by_exchange = act(Act.GENESIS, EXCHANGE_CREDENTIAL, genesis_body(), [EXCHANGE_ACT])
    assert refusal(unit, by_exchange) == (ErrorCode.ACT_SCHEMA, "not-in-list")
    stranger = replace(LUIS, short="zoe1")
    raw = stranger.sign(Act.REVOKE, {"kid": DESK.access.kid, "reason": "lost", "at": NOW})
    assert refusal(unit, raw) == (ErrorCode.KEY_NOT_VALID, "unknown")


def test_the_registrar_party_grows_like_any_other(office: Office) -> None:
    desk = Desk(office, office.invite(REGISTRAR, "registro", "registrar"), [CLERK])
    assert desk.enrol()["turn"] == "keyholder"
    office.accept(REGISTRAR.sign(Act.STATEMENT, following(office, desk)), desk.enrolment)
    party = office.log.keymap.find_party("registro")
    assert party is not None
    assert isinstance(party.body, Statement)
    assert [one.id for one in party.credentials] == [REGISTRAR.id, CLERK.id]


def test_the_first_registrar_waits_for_the_exchange(exchange_database: Database) -> None:
    office = Office(exchange_database)
    desk = Desk(office, office.invite(None, "registro", "registrar"), [REGISTRAR])
    assert desk.enrol()["turn"] == "exchange"
    services_only = invitation("registro", "registrar", credential_kinds=["service"])
    raw = act(Act.INVITE, EXCHANGE_CREDENTIAL, services_only, [EXCHANGE_ACT])
    assert refusal(office, raw) == (ErrorCode.ACT_SCHEMA, "no-keyholder")


def test_keys_of_another_enrolment_do_not_ride_along(unit: Office) -> None:
    """R-32 b: whoever compares the digits of one newcomer lets in one newcomer."""
    first = joining(unit)
    unit.accept(LUIS.sign(Act.STATEMENT, following(unit, first)), first.enrolment)
    second_desk = joining(unit, LENA, ("lena-ws",))
    body = following(unit, second_desk)
    noa = first.body["proposal"]["credentials"][0]
    more = body | {"credentials": [*body["credentials"], noa]}
    refused = refusal(unit, LUIS.sign(Act.STATEMENT, more), second_desk.enrolment)
    assert refused == (ErrorCode.ACT_SCHEMA, "not-as-proposed")
    unit.accept(LUIS.sign(Act.STATEMENT, body), second_desk.enrolment)


def test_keys_that_wait_in_an_enrolment_come_with_no_statement_but_its_own(unit: Office) -> None:
    """R-32 b: one in the place of another would take along, by that one's digits, whatever else stands on the log."""
    first = joining(unit)
    unit.accept(LUIS.sign(Act.STATEMENT, following(unit, first)), first.enrolment)
    second_desk = joining(unit, LENA, ("lena-ws",))
    body = following(unit, second_desk)
    unit.accept(LUIS.sign(Act.STATEMENT, body), second_desk.enrolment)
    noa = first.body["proposal"]["credentials"][0]
    more = LUIS.sign(Act.STATEMENT, body | {"credentials": [*body["credentials"], noa]}, iat=NOW + 1)
    assert refusal(unit, more, now=NOW + 1) == (ErrorCode.ACT_SCHEMA, "not-as-proposed")
    assert unit.status(second_desk.invitation, second_desk.enrolment)["turn"] == "second_keyholder"


@pytest.mark.parametrize("change", ["rights", "entry"])
def test_nothing_else_comes_with_a_newcomer(unit: Office, change: str) -> None:
    """Whoever approves it hears the newcomer's digits, in which nothing of it is."""
    desk = joining(unit)
    body = following(unit, desk)
    rosa = next(one for one in body["credentials"] if one["id"] == ROSA.short)
    if change == "rights":
        longer = [one | {"until": one["until"] + DAY} if one is rosa else one for one in body["credentials"]]
        body |= {"credentials": longer}
    else:
        body |= {"entry": body["entry"] | {"duty_phone": "+5173355555"}}
    refused = refusal(unit, LUIS.sign(Act.STATEMENT, body), desk.enrolment)
    assert refused == (ErrorCode.ACT_SCHEMA, "not-as-proposed")


def test_a_recovery_is_not_dated_back(unit: Office) -> None:
    """R-32 e: the day to object is reckoned from it."""
    desk = Desk(unit, unit.invite(REGISTRAR, "divtrata", "police_unit"), [LENA], ("lena-ws",))
    desk.enrol()
    body = following(unit, desk)
    body |= {"credentials": [one for one in body["credentials"] if one["id"] not in (LUIS.short, ROSA.short)]}
    backdated = REGISTRAR.sign(Act.STATEMENT, body, iat=NOW - DAY)
    assert refusal(unit, backdated, desk.enrolment)[0] is ErrorCode.CLOCK_SKEW
