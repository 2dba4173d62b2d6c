"""The fold where keys are renewed by their own person, or given back to a party that has lost them (R-32 d, e)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from referral_api.domain.errors import ErrorCode
from referral_api.domain.words import Act, KeyUse
from referral_api.formats.keys import Alg
from referral_api.formats.parties import OBJECTION_S, Approver
from tests.formats.parties_world import (
    DAY,
    EXCHANGE_ACT,
    EXCHANGE_CREDENTIAL,
    NOW,
    Log,
    Someone,
    act,
    approval,
    digest,
    enc_entry,
    enc_kid,
    enc_listed,
    person,
    service,
)
from tests.formats.test_statements import BOTH, refusal

MARA = person("registro", "r001", keyholder=True)
RAUL = person("registro", "r002")
LUIS = person("divtrata", "luis", keyholder=True, algs=BOTH)
ROSA = person("divtrata", "rosa", keyholder=True)
NORA = person("divtrata", "nora", algs=BOTH)
DESK = service("divtrata", "desk")
ALL = (LUIS, ROSA, NORA, DESK)
STATIONS = (enc_listed("d/1", "st1"), enc_listed("d/2", "st2"), enc_listed("d/3", "st3"))
LATER: dict[str, Any] = {"from": NOW + DAY}
NEEDS_KEYHOLDER = (ErrorCode.NOT_PERMITTED, "keyholder")


@pytest.fixture
def log() -> Log:
    """A unit of four credentials. Luis and Rosa keep a workstation each, Nora the third."""
    made = Log(registrars_required=2)
    made.registrar(MARA, RAUL)
    unit = LUIS.sign(Act.STATEMENT, made_body(ALL, STATIONS))
    made.put(*(leaf for one in ALL for leaf in one.entries()))
    for name, keeper in (("d/1", LUIS), ("d/2", ROSA), ("d/3", NORA)):
        made.put(enc_entry("divtrata", name, keeper.seals))
    made.put(unit, MARA.sign(Act.APPROVE_STATEMENT, approval("divtrata", unit)))
    return made


def made_party(who: Someone) -> dict[str, Any]:
    from tests.formats.parties_world import statement_body

    return statement_body(who.party, "hotline", [who])


def made_body(credentials: Sequence[Someone], enc: Sequence[dict[str, Any]]) -> dict[str, Any]:
    from tests.formats.parties_world import statement_body

    return statement_body("divtrata", "police_unit", credentials, enc=enc)


def state(log: Log, who: Someone, credentials: Sequence[Someone | dict[str, Any]], enc: Any = STATIONS) -> bytes:
    return who.sign(Act.STATEMENT, log.next_body("divtrata", credentials, enc=enc), iat=NOW + DAY)


def seq(log: Log) -> int:
    party = log.keymap.find_party("divtrata")
    assert party is not None
    return party.seq


# A workstation's key, renewed by whoever keeps it.


@pytest.mark.parametrize("who", [NORA, LUIS])
def test_whoever_keeps_a_workstation_renews_its_key_alone_and_at_once(log: Log, who: Someone) -> None:
    """A keyholder too: it adds nobody, so that no second keyholder need be there every month."""
    place = "st3" if who is NORA else "st1"
    log.put(enc_entry("divtrata", "new", who.seals))
    log.put(state(log, who, ALL, (*STATIONS, enc_listed("new", place, **LATER))))
    assert seq(log) == 2
    assert enc_kid("new") in {one.kid for one in log.keymap.sealable("divtrata", NOW + DAY)}
    old = STATIONS[int(place[2]) - 1]
    others = (one for one in STATIONS if one is not old)
    log.put(state(log, who, ALL, (*others, enc_listed("new", place, **LATER))))
    assert old["kid"] not in {one.kid for one in log.keymap.usable_enc("divtrata", NOW + DAY)}


@pytest.mark.parametrize(
    ("credentials", "enc"),
    [
        (ALL, (*STATIONS, enc_listed("new", "st9"))),
        (ALL, (*STATIONS, enc_listed("new", None))),
        (ALL, (*STATIONS, enc_listed("paper", None, "backup"))),
        (ALL, (*STATIONS[1:], enc_listed("new", "st3"))),
        ((LUIS, ROSA, NORA), (*STATIONS, enc_listed("new", "st3"))),
        ((LUIS, ROSA, NORA.listed(keyholder=True), DESK), (*STATIONS, enc_listed("new", "st3"))),
        ((LUIS, ROSA, NORA, DESK.listed(until=NOW + DAY)), (*STATIONS, enc_listed("new", "st3"))),
        (ALL, STATIONS),
        (ALL, STATIONS[:2]),
    ],
    ids=[
        "a new workstation", "no workstation", "a backup", "another's key dropped", "somebody dropped", "more rights",
        "somebody else's time", "nothing", "its last key dropped",
    ],
)  # fmt: skip
def test_a_renewal_touches_nothing_else(log: Log, credentials: Any, enc: Any) -> None:
    """What its person may do alone is to replace its own workstation's key, not to add, to drop or to stop reading."""
    log.put(enc_entry("divtrata", "new", NORA.seals), enc_entry("divtrata", "paper", NORA.seals, KeyUse.BACKUP))
    assert refusal(log, state(log, NORA, credentials, enc)) == NEEDS_KEYHOLDER


def test_nobody_renews_anothers_workstation(log: Log) -> None:
    log.put(enc_entry("divtrata", "new", NORA.seals))
    refused = refusal(log, state(log, NORA, ALL, (*STATIONS, enc_listed("new", "st2"))))
    assert refused == (ErrorCode.ACT_SCHEMA, "station-taken")
    log.put(enc_entry("divtrata", "rosa's", ROSA.seals))
    assert refusal(log, state(log, NORA, ALL, (*STATIONS, enc_listed("rosa's", "st2")))) == NEEDS_KEYHOLDER


def test_a_service_renews_nothing() -> None:
    made, bot = Log(), service("linea", "bot1", algs=(Alg.ED25519,))
    ana = person("linea", "ana1", keyholder=True)
    made.registrar(MARA)
    made.admit("hotline", [ana, bot], MARA, ["l/1"])
    made.put(enc_entry("linea", "l/2", bot.seals))
    body = made.next_body("linea", [ana, bot], enc=[enc_listed("l/1"), enc_listed("l/2", "st2")])
    assert refusal(made, bot.sign(Act.STATEMENT, body)) == (ErrorCode.NOT_PERMITTED, "person")


# A person's own access and seal keys, signed for with the old ones.


def renewed(who: Someone) -> Someone:
    from dataclasses import replace

    return replace(who, generation=2)


def others(*but: Someone) -> list[Someone]:
    return [one for one in ALL if one.short not in {gone.short for gone in but}]


def test_a_person_proposes_new_keys_of_its_own_and_a_keyholder_decides(log: Log) -> None:
    new = renewed(NORA)
    log.put(*new.entries())
    statement = state(log, NORA, [*others(NORA)[:2], new, DESK])
    log.put(statement)
    pending = log.keymap.find_pending("divtrata")
    assert pending is not None
    assert (pending.waits_for, pending.signer, seq(log)) == (Approver.KEYHOLDER, NORA.id, 1)
    by_itself = NORA.sign(Act.APPROVE_STATEMENT, approval("divtrata", statement), iat=NOW + DAY)
    assert refusal(log, by_itself) == NEEDS_KEYHOLDER
    log.put(LUIS.sign(Act.APPROVE_STATEMENT, approval("divtrata", statement), iat=NOW + DAY))
    found = log.keymap.find_credential(NORA.id)
    assert found is not None
    assert found.seal == tuple(one.kid for one in new.seals)


@pytest.mark.parametrize(
    "changes",
    [{"keyholder": True}, {"until": NORA.until + DAY}, {"seal": [renewed(NORA).seals[0].kid]}, {"from": NOW}],
    ids=["rights", "time", "fewer signatures", "a beginning"],
)
def test_a_person_gains_nothing_by_new_keys(log: Log, changes: dict[str, Any]) -> None:
    new = renewed(NORA)
    log.put(*new.entries())
    assert refusal(log, state(log, NORA, [LUIS, ROSA, new.listed(**changes), DESK])) == NEEDS_KEYHOLDER


def test_nobody_proposes_keys_for_another(log: Log) -> None:
    new = renewed(ROSA)
    log.put(*new.entries())
    assert refusal(log, state(log, NORA, [LUIS, new, NORA, DESK])) == NEEDS_KEYHOLDER


def test_new_keys_of_a_person_and_of_its_workstation_go_together(log: Log) -> None:
    new = renewed(NORA)
    log.put(*new.entries(), enc_entry("divtrata", "new", new.seals))
    log.put(state(log, NORA, [LUIS, ROSA, new, DESK], (*STATIONS, enc_listed("new", "st3"))))
    assert log.keymap.find_pending("divtrata") is not None
    assert refusal(log, state(log, NORA, [LUIS, ROSA, new, DESK], STATIONS[1:])) == NEEDS_KEYHOLDER


# A party that has lost its keyholders' keys.


SAID = NOW + DAY
OPENS = SAID + OBJECTION_S


def recovery(
    log: Log, *, by: Someone = MARA, without: Sequence[Someone] = (LUIS, ROSA), changed: Any = None, **options: Any
) -> bytes:
    """The statement that a registrar person signs for a new keyholder, who has enrolled."""
    new = person("divtrata", "new1", keyholder=True, algs=BOTH)
    log.put(*new.entries(), enc_entry("divtrata", "new", new.seals))
    enc = options.pop("enc", (STATIONS[2], enc_listed("new", "st4")))
    listed = changed or others(*without)
    return by.sign(Act.STATEMENT, log.next_body("divtrata", [*listed, new], enc=enc, **options), iat=SAID)


def approve(who: Someone, statement: bytes, iat: int) -> bytes:
    return who.sign(Act.APPROVE_STATEMENT, approval("divtrata", statement), iat=iat)


def test_two_registrar_persons_a_day_apart_give_a_party_new_keyholders(log: Log) -> None:
    statement = recovery(log)
    log.put(statement)
    pending = log.keymap.find_pending("divtrata")
    assert pending is not None
    assert (pending.signer, pending.waits_for, pending.opens_at) == (MARA.id, Approver.SECOND_REGISTRAR, OPENS)
    assert seq(log) == 1
    early = refusal(log, approve(RAUL, statement, OPENS - 1))
    assert early == (ErrorCode.STATEMENT_OUT_OF_SEQUENCE, "objection-window")
    assert refusal(log, approve(MARA, statement, OPENS)) == (ErrorCode.NOT_PERMITTED, "second_registrar")
    log.put(approve(RAUL, statement, OPENS))
    party = log.keymap.find_party("divtrata")
    assert party is not None
    assert (party.seq, [one.id for one in party.credentials]) == (2, [NORA.id, DESK.id, "divtrata.new1"])
    assert [one.id for one in log.keymap.keyholders(party, OPENS)] == ["divtrata.new1"]
    assert log.keymap.find_credential(LUIS.id) is None


def test_a_backdated_statement_does_not_open_the_window_earlier(log: Log) -> None:
    log.put(LUIS.sign(Act.STATEMENT, log.next_body("divtrata", [LUIS, ROSA, NORA], enc=STATIONS), iat=SAID + 7 * DAY))
    statement = recovery(log, changed=[NORA])
    log.put(statement)
    assert refusal(log, approve(RAUL, statement, OPENS + 6 * DAY))[1] == "objection-window"
    log.put(approve(RAUL, statement, OPENS + 7 * DAY))


def test_a_sandbox_of_one_registrar_person_waits_as_long() -> None:
    made = Log()
    made.registrar(MARA)
    made.admit("police_unit", [LUIS], MARA)
    new = person("divtrata", "new1", keyholder=True)
    statement = MARA.sign(Act.STATEMENT, made.next_body("divtrata", [new]), iat=SAID)
    made.put(*new.entries(), statement)
    assert refusal(made, approve(MARA, statement, OPENS - 1))[1] == "objection-window"
    made.put(approve(MARA, statement, OPENS))
    assert seq(made) == 2


@pytest.mark.parametrize("who", [NORA, LUIS, MARA])
def test_whoever_is_still_there_objects_within_the_day(log: Log, who: Someone) -> None:
    statement = recovery(log)
    log.put(statement)
    log.put(who.sign(Act.OBJECT, {"statement": digest(statement), "reason": "not_authorised"}, iat=SAID + 60))
    assert refusal(log, approve(RAUL, statement, OPENS)) == (ErrorCode.STATEMENT_OUT_OF_SEQUENCE, "not-pending")


def test_a_keyholder_who_still_has_his_keys_ends_a_recovery_by_using_them(log: Log) -> None:
    statement = recovery(log)
    log.put(statement, state(log, LUIS, [LUIS, ROSA, NORA]))
    assert refusal(log, approve(RAUL, statement, OPENS)) == (ErrorCode.STATEMENT_OUT_OF_SEQUENCE, "not-pending")


@pytest.mark.parametrize(("who", "needs"), [(LUIS, "second_registrar"), (NORA, "second_registrar")])
def test_nobody_but_a_registrar_person_approves_a_recovery(log: Log, who: Someone, needs: str) -> None:
    statement = recovery(log)
    log.put(statement)
    assert refusal(log, approve(who, statement, OPENS)) == (ErrorCode.NOT_PERMITTED, needs)


@pytest.mark.parametrize(
    "options",
    [
        {"duty_phone": "+5115550000"},
        {"name": "Otra institución"},
        {"enc": (STATIONS[2] | {"until": NOW + 40 * DAY}, enc_listed("new", "st4"))},
        {"changed": [NORA.listed(keyholder=True)]},
        {"changed": [NORA.listed(until=NORA.until - DAY)]},
    ],
    ids=["the duty phone", "the name", "another's key", "another's rights", "another's time"],
)
def test_a_recovery_changes_nothing_else(log: Log, options: dict[str, Any]) -> None:
    assert refusal(log, recovery(log, **options)) == NEEDS_KEYHOLDER


def test_nobody_but_a_registrar_person_signs_for_another_party(log: Log) -> None:
    ana = person("linea", "ana1", keyholder=True)
    log.admit("hotline", [ana], MARA)
    assert refusal(log, recovery(log, by=ana)) == (ErrorCode.STATEMENT_OUT_OF_SEQUENCE, "sequence")


def test_a_registrar_person_founds_no_party_in_its_own_name(log: Log) -> None:
    from tests.formats.parties_world import statement_body

    ana = person("linea", "ana1", keyholder=True)
    log.put(*ana.entries())
    foreign = MARA.sign(Act.STATEMENT, statement_body("linea", "hotline", [ana]))
    assert refusal(log, foreign) == (ErrorCode.STATEMENT_OUT_OF_SEQUENCE, "sequence")


def test_in_production_one_registrar_person_alone_recovers_nobody(log: Log) -> None:
    registrar = log.keymap.find_party("registro")
    assert registrar is not None
    log.put(MARA.sign(Act.STATEMENT, log.next_body("registro", [MARA])))
    assert refusal(log, recovery(log)) == NEEDS_KEYHOLDER


# What was revoked stays out of everybody's way.


def revoked(log: Log, who: Someone, kid: str) -> None:
    log.put(who.sign(Act.REVOKE, {"kid": kid, "reason": "lost", "at": NOW}, iat=NOW + DAY))


def test_a_person_says_of_its_own_workstations_key_that_it_is_destroyed(log: Log) -> None:
    """And of nobody else's: only a keyholder or a registrar person does that."""
    revoked(log, NORA, enc_kid("d/3"))
    assert log.keymap.get_key(enc_kid("d/3")).revoked
    act = NORA.sign(Act.REVOKE, {"kid": enc_kid("d/2"), "reason": "lost", "at": NOW}, iat=NOW + DAY)
    assert refusal(log, act) == NEEDS_KEYHOLDER


def test_a_renewal_leaves_out_what_has_been_revoked_and_must(log: Log) -> None:
    """Else one revoked colleague would stop everybody's renewal until a keyholder has cleaned up."""
    revoked(log, MARA, ROSA.seals[0].kid)
    revoked(log, MARA, enc_kid("d/2"))
    log.put(enc_entry("divtrata", "new", NORA.seals))
    renewed = (STATIONS[0], STATIONS[2], enc_listed("new", "st3", **LATER))
    with_rosa = refusal(log, state(log, NORA, ALL, renewed))
    assert with_rosa == (ErrorCode.KEY_NOT_VALID, "revoked")
    assert refusal(log, state(log, NORA, (LUIS, NORA), renewed)) == NEEDS_KEYHOLDER
    log.put(state(log, NORA, (LUIS, NORA, DESK), renewed))
    assert seq(log) == 2


def test_a_workstation_whose_only_key_was_revoked_is_a_keyholders_to_bring_back(log: Log) -> None:
    revoked(log, NORA, enc_kid("d/3"))
    log.put(enc_entry("divtrata", "new", NORA.seals))
    again = (*STATIONS[:2], enc_listed("new", "st3", **LATER))
    assert refusal(log, state(log, NORA, ALL, again)) == NEEDS_KEYHOLDER


def test_nobody_waits_for_a_keyholder_whose_keys_are_revoked(log: Log) -> None:
    """Rosa's machine was stolen, and Luis has it revoked: with new keys she is back by the one statement (runbook)."""
    revoked(log, LUIS, ROSA.access.kid)
    again = person("divtrata", "ros2", keyholder=True)
    log.put(*again.entries())
    log.put(state(log, LUIS, (LUIS, NORA, DESK, again), (STATIONS[0], STATIONS[2])))
    assert seq(log) == 2
    tom = person("divtrata", "tom1")
    log.put(*tom.entries(), state(log, LUIS, (LUIS, NORA, DESK, again, tom), (STATIONS[0], STATIONS[2])))
    assert seq(log) == 2, "there are two again"


# Two registrar persons are two.


PAUL = person("registro", "paul", keyholder=True)


def registrars(log: Log, who: Someone, credentials: Sequence[Someone]) -> bytes:
    return who.sign(Act.STATEMENT, log.next_body("registro", credentials), iat=NOW + DAY)


def registrar_seq(log: Log) -> int:
    party = log.keymap.find_party("registro")
    assert party is not None
    return party.seq


def test_a_registrar_person_adds_nobody_to_the_registrar_alone(log: Log) -> None:
    """R-32 b: Raul is no keyholder, and is asked all the same."""
    log.put(*PAUL.entries())
    added = registrars(log, MARA, [MARA, RAUL, PAUL])
    log.put(added)
    assert registrar_seq(log) == 1
    yes = approval("registro", added)
    assert refusal(log, MARA.sign(Act.APPROVE_STATEMENT, yes, iat=NOW + DAY))[0] is ErrorCode.NOT_PERMITTED
    assert refusal(log, LUIS.sign(Act.APPROVE_STATEMENT, yes, iat=NOW + DAY))[0] is ErrorCode.NOT_PERMITTED
    log.put(RAUL.sign(Act.APPROVE_STATEMENT, yes, iat=NOW + DAY))
    assert registrar_seq(log) == 2


def test_who_drops_the_other_registrar_person_needs_the_exchange_for_the_next(log: Log) -> None:
    log.put(registrars(log, MARA, [MARA]), *PAUL.entries())
    added = registrars(log, MARA, [MARA, PAUL])
    log.put(added)
    assert registrar_seq(log) == 2
    yes = approval("registro", added)
    assert refusal(log, MARA.sign(Act.APPROVE_STATEMENT, yes, iat=NOW + DAY)) == (ErrorCode.NOT_PERMITTED, "exchange")
    log.put(act(Act.APPROVE_STATEMENT, EXCHANGE_CREDENTIAL, yes, [EXCHANGE_ACT], iat=NOW + DAY))
    assert registrar_seq(log) == 3


def test_who_revokes_the_other_registrar_person_needs_the_exchange_and_admits_nobody(log: Log) -> None:
    """R-32 b: as if that one were dropped. Else the registrar would wait for who cannot sign, and count two."""
    revoked(log, MARA, RAUL.seals[0].kid)
    log.put(*PAUL.entries())
    added = registrars(log, MARA, [MARA, PAUL])
    log.put(added)
    pending = log.keymap.find_pending("registro")
    assert (registrar_seq(log), pending and pending.waits_for) == (1, Approver.EXCHANGE)
    ana = person("linea", "ana1", keyholder=True)
    first = ana.sign(Act.STATEMENT, made_party(ana), iat=NOW + DAY)
    log.put(*ana.entries(), first)
    admitted = MARA.sign(Act.APPROVE_STATEMENT, approval("linea", first), iat=NOW + DAY)
    assert refusal(log, admitted) == (ErrorCode.NOT_PERMITTED, "registrar")
    yes = approval("registro", added)
    log.put(act(Act.APPROVE_STATEMENT, EXCHANGE_CREDENTIAL, yes, [EXCHANGE_ACT], iat=NOW + DAY), admitted)
    assert log.keymap.find_party("linea") is not None


def test_a_proposal_does_not_end_a_recovery_by_the_way(log: Log) -> None:
    """R-32 e: an objection does, or a statement that holds; what itself waits for somebody would do it unseen."""
    lena = person("divtrata", "lena", keyholder=True)
    recovery = MARA.sign(Act.STATEMENT, log.next_body("divtrata", [NORA, lena]), iat=NOW + DAY)
    log.put(*lena.entries(), recovery)
    renewed = replace(NORA, generation=2)
    log.put(*(leaf for leaf in renewed.entries()))
    proposal = state(log, NORA, [LUIS, ROSA, replace(renewed, generation=2).listed(access=NORA.access.kid), DESK])
    assert refusal(log, proposal) == (ErrorCode.STATEMENT_OUT_OF_SEQUENCE, "recovery")
    log.put(NORA.sign(Act.OBJECT, {"statement": digest(recovery), "reason": "not_authorised"}, iat=NOW + DAY))
    log.put(proposal)
    assert log.keymap.find_pending("divtrata") is not None
