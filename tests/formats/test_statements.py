"""The fold of the keys log: who comes in, who approves, and what holds when (R-30, R-32, R-33)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Act, CredentialKind, KeyUse, Role
from referral_api.formats.act import parse_act
from referral_api.formats.directory_bodies import MAX_STATEMENT_BYTES
from referral_api.formats.keys import Alg
from referral_api.formats.parties import Approver
from referral_api.formats.statements import KeyMap
from referral_api.formats.strict_json import canonical, parse
from tests.formats.parties_world import (
    DAY,
    EXCHANGE_ACT,
    EXCHANGE_CREDENTIAL,
    ISSUER,
    NOW,
    YEAR,
    Log,
    Someone,
    act,
    approval,
    digest,
    enc_entry,
    enc_kid,
    enc_listed,
    genesis,
    genesis_body,
    key,
    key_entry,
    person,
    service,
    statement_body,
)

BOTH = (Alg.ED25519, Alg.ML_DSA_65)
REGISTRAR = person("registro", "r001", keyholder=True)
ANA = person("linea", "ana1", keyholder=True, algs=BOTH)
EVA = person("linea", "eva1")
BOT = service("linea", "bot1", algs=(Alg.ED25519,))
LUIS = person("divtrata", "luis", keyholder=True)
ROSA = person("divtrata", "rosa", keyholder=True)
DESK = service("divtrata", "desk")


@pytest.fixture
def log() -> Log:
    """An exchange with a registrar, a hotline of one keyholder and a unit of two."""
    made = Log()
    made.registrar(REGISTRAR)
    made.admit("hotline", [ANA, EVA, BOT], REGISTRAR, ["linea/1"])
    made.admit("police_unit", [LUIS, ROSA, DESK], REGISTRAR, ["divtrata/1", "divtrata/2"], duty_phone="+5173300000")
    return made


def described(keymap: KeyMap) -> Any:
    return keymap.size, keymap.parties(), keymap.pending(), keymap._keys, keymap._sealing, keymap._owners


def refusal(log: Log, leaf: bytes) -> tuple[ErrorCode, Any]:
    """How the fold refuses a leaf; it must be exactly as it was before."""
    before = described(log.keymap.copy())
    with pytest.raises(ReferralError) as caught:
        log.keymap.extend(leaf)
    assert described(log.keymap) == before
    facts = caught.value.facts
    return caught.value.code, facts.get("reason", facts.get("needs"))


def test_the_genesis_act_is_the_root_and_lists_the_exchange(log: Log) -> None:
    keymap = KeyMap.start(genesis(), root=log.keymap.root)
    assert (keymap.issuer, keymap.environment, keymap.size) == (ISSUER, "sandbox", 1)
    assert [record.kid for record in keymap.exchange_keys(KeyUse.ACT)] == [EXCHANGE_ACT.kid]
    assert keymap.get_credential(EXCHANGE_CREDENTIAL).role is Role.EXCHANGE
    assert keymap.seal_keys(EXCHANGE_CREDENTIAL, NOW + YEAR, NOW + YEAR).require == (Alg.ED25519,)
    assert keymap.parties() == []
    assert keymap.witness_policy is None


def other_genesis(**changes: Any) -> bytes:
    return act(Act.GENESIS, EXCHANGE_CREDENTIAL, genesis_body(**changes), [EXCHANGE_ACT])


def with_key(use: str, **changes: Any) -> bytes:
    keys = [one | changes if one["use"] == use else one for one in genesis_body()["keys"]]
    return other_genesis(keys=keys)


LATTICE = key("exchange/receipt", Alg.ML_DSA_65)


@pytest.mark.parametrize(
    ("leaf", "code", "reason"),
    [
        (act(Act.GENESIS, EXCHANGE_CREDENTIAL, genesis_body(), [key("thief")]), "act-signature-invalid", "unknown-key"),
        (act(Act.GENESIS, "linea.ana1", genesis_body(), [EXCHANGE_ACT]), "act-schema", "not-genesis"),
        (
            act(Act.OBJECT, EXCHANGE_CREDENTIAL, {"statement": "A" * 43, "reason": "not_ours"}, [EXCHANGE_ACT]),
            "act-schema",
            "not-genesis",
        ),
        (
            act(Act.GENESIS, EXCHANGE_CREDENTIAL, genesis_body(), [EXCHANGE_ACT], aud="https://other.example"),
            "wrong-audience",
            None,
        ),
        (with_key("log", kid=key("another").kid), "key-unsuitable", "thumbprint"),
        (with_key("receipt", kid=LATTICE.kid, jwk=LATTICE.public.jwk), "key-unsuitable", "use"),
        (
            other_genesis(
                keys=[
                    *genesis_body()["keys"],
                    {"kid": key("act2").kid, "jwk": key("act2").public.jwk, "use": "act"},
                ]
            ),
            "act-schema",
            "repeated-entry",
        ),
    ],
)
def test_a_genesis_act_that_does_not_hold_together_starts_nothing(leaf: bytes, code: str, reason: str | None) -> None:
    with pytest.raises(ReferralError) as caught:
        KeyMap.start(leaf)
    assert (caught.value.code.value, caught.value.facts.get("reason")) == (code, reason)


def test_another_root_than_the_pinned_one_is_refused_before_anything_else() -> None:
    with pytest.raises(ReferralError) as caught:
        KeyMap.start(genesis(environment="production", registrars_required=2), root=KeyMap.start(genesis()).root)
    assert caught.value.code is ErrorCode.WRONG_ROOT


def test_an_admitted_party_is_as_its_statement_says(log: Log) -> None:
    party = log.keymap.find_party("divtrata")
    assert party is not None
    assert (party.role, party.seq, party.entry.duty_phone) == (Role.POLICE_UNIT, 1, "+5173300000")
    assert party.effect_index == party.index + 1 == log.keymap.size - 1
    assert parse_act(log.leaves[party.index]).digest == party.statement
    assert [one.id for one in log.keymap.parties()] == ["divtrata", "linea", "registro"]
    ana = log.keymap.find_credential("linea.ana1")
    assert ana is not None
    assert (ana.kind, ana.keyholder, ana.require, ana.valid_from) == (CredentialKind.PERSON, True, BOTH, NOW)
    assert log.keymap.access_key("divtrata.desk", NOW).kid == DESK.access.kid
    assert log.keymap.get_key(DESK.access.kid).use is KeyUse.ACCESS
    assert log.keymap.find_key(key("nobody").kid) is None
    assert log.keymap.find_credential("linea.zoe1") is None


def test_folding_without_signatures_gives_the_same_directory(log: Log) -> None:
    fast = KeyMap.start(log.leaves[0])
    for leaf in log.leaves[1:]:
        fast.extend(leaf, verify=False)
    assert described(fast) == described(log.keymap)


def test_a_copy_goes_its_own_way(log: Log) -> None:
    before = described(log.keymap)
    twin = log.keymap.copy()
    twin.extend(ANA.sign(Act.REVOKE, {"kid": EVA.access.kid, "reason": "lost", "at": NOW}))
    assert (twin.size, log.keymap.size) == (before[0] + 1, before[0])
    assert described(log.keymap) == before
    assert twin.get_key(EVA.access.kid).revoked


# Admission (R-32 a).


def newcomer(log: Log, role: str = "auditor", party: str = "defensoria", **options: Any) -> tuple[Someone, bytes]:
    """A new party's first statement, its key entries on the log already."""
    somebody = person(party, "mara", keyholder=True)
    log.put(*somebody.entries())
    return somebody, somebody.sign(Act.STATEMENT, statement_body(party, role, [somebody], **options))


def test_a_first_statement_waits_for_a_registrar_person(log: Log) -> None:
    _, statement = newcomer(log)
    log.put(statement)
    pending = log.keymap.find_pending("defensoria")
    assert pending is not None
    assert (pending.waits_for, pending.digest) == (Approver.REGISTRAR, digest(statement))
    assert log.keymap.find_party("defensoria") is None
    assert log.keymap.find_credential("defensoria.mara") is None
    log.put(REGISTRAR.sign(Act.APPROVE_STATEMENT, approval("defensoria", statement)))
    assert log.keymap.find_party("defensoria") is not None
    assert log.keymap.pending() == []


@pytest.mark.parametrize(
    ("approve", "needs"),
    [
        (lambda body: ANA.sign(Act.APPROVE_STATEMENT, body), "registrar"),
        (lambda body: BOT.sign(Act.APPROVE_STATEMENT, body), "person"),
        (lambda body: act(Act.APPROVE_STATEMENT, EXCHANGE_CREDENTIAL, body, [EXCHANGE_ACT]), "registrar"),
    ],
)
def test_nobody_else_admits_a_party(log: Log, approve: Callable[[dict[str, Any]], bytes], needs: str) -> None:
    _, statement = newcomer(log)
    log.put(statement)
    assert refusal(log, approve(approval("defensoria", statement))) == (ErrorCode.NOT_PERMITTED, needs)


def test_a_party_cannot_admit_itself(log: Log) -> None:
    mara, statement = newcomer(log)
    log.put(statement)
    refused = refusal(log, mara.sign(Act.APPROVE_STATEMENT, approval("defensoria", statement)))
    assert refused == (ErrorCode.KEY_NOT_VALID, "unknown")


def test_the_exchange_approves_only_the_first_registrar_party_and_no_person_can() -> None:
    log = Log()
    log.put(*REGISTRAR.entries())
    statement = REGISTRAR.sign(Act.STATEMENT, statement_body("registro", "registrar", [REGISTRAR]))
    log.put(statement)
    pending = log.keymap.find_pending("registro")
    assert pending is not None
    assert pending.waits_for is Approver.EXCHANGE
    thief = act(Act.APPROVE_STATEMENT, EXCHANGE_CREDENTIAL, approval("registro", statement), [key("thief")])
    assert refusal(log, thief) == (ErrorCode.ACT_SIGNATURE_INVALID, "unknown-key")
    log.put(act(Act.APPROVE_STATEMENT, EXCHANGE_CREDENTIAL, approval("registro", statement), [EXCHANGE_ACT]))
    _, second = newcomer(log, "registrar", "registro-dos")
    assert refusal(log, second) == (ErrorCode.STATEMENT_OUT_OF_SEQUENCE, "party-taken")


def test_in_production_one_registrar_alone_admits_nobody() -> None:
    log = Log(environment="production", registrars_required=2)
    log.registrar(REGISTRAR)
    _, statement = newcomer(log)
    log.put(statement)
    approve = REGISTRAR.sign(Act.APPROVE_STATEMENT, approval("defensoria", statement))
    assert refusal(log, approve) == (ErrorCode.NOT_PERMITTED, "registrar")
    second = person("registro", "r002")
    log.put(*second.entries())
    log.put(REGISTRAR.sign(Act.STATEMENT, log.next_body("registro", [REGISTRAR, second])))
    log.put(second.sign(Act.APPROVE_STATEMENT, approval("defensoria", statement)))
    assert log.keymap.find_party("defensoria") is not None


@pytest.mark.parametrize("party", ["exchange", "defensoria"])
def test_nobody_becomes_the_exchange(log: Log, party: str) -> None:
    mara = person(party, "mara", keyholder=True)
    if party == "exchange":
        assert refusal(log, key_entry(party, KeyUse.ACCESS, mara.access)) == (ErrorCode.NOT_PERMITTED, "party")
        statement = mara.sign(Act.STATEMENT, statement_body(party, "auditor", [mara]))
    else:
        log.put(*mara.entries())
        statement = mara.sign(Act.STATEMENT, statement_body(party, "exchange", [mara]))
    assert refusal(log, statement) == (ErrorCode.NOT_PERMITTED, "party")


def test_a_first_statement_is_signed_by_a_keyholder_that_it_lists(log: Log) -> None:
    mara, other = person("defensoria", "mara", keyholder=True), person("defensoria", "otto")
    log.put(*mara.entries(), *other.entries())
    body = statement_body("defensoria", "auditor", [mara, other])
    needs = (ErrorCode.NOT_PERMITTED, "keyholder")
    assert refusal(log, other.sign(Act.STATEMENT, body)) == needs
    assert refusal(log, act(Act.STATEMENT, "defensoria.zoe1", body, mara.seals)) == needs
    forged = act(Act.STATEMENT, mara.id, body, other.seals)
    assert refusal(log, forged) == (ErrorCode.ACT_SIGNATURE_INVALID, "unknown-key")
    late = mara.sign(Act.STATEMENT, body, iat=mara.until)
    assert refusal(log, late) == (ErrorCode.KEY_NOT_VALID, "ended")


# Later statements (R-32 b).


def test_a_lone_keyholder_adds_a_person_at_once(log: Log) -> None:
    noa = person("linea", "noa1")
    log.put(*noa.entries(), ANA.sign(Act.STATEMENT, log.next_body("linea", [ANA, EVA, BOT, noa])))
    party = log.keymap.find_party("linea")
    assert party is not None
    assert (party.seq, party.index) == (2, party.effect_index)
    assert log.keymap.find_credential("linea.noa1") is not None


def test_with_two_keyholders_an_addition_waits_for_the_other_one(log: Log) -> None:
    noa = person("divtrata", "noa1")
    log.put(*noa.entries())
    statement = LUIS.sign(Act.STATEMENT, log.next_body("divtrata", [LUIS, ROSA, DESK, noa]))
    log.put(statement)
    assert log.keymap.find_credential(noa.id) is None
    needs = (ErrorCode.NOT_PERMITTED, "keyholder")
    assert refusal(log, LUIS.sign(Act.APPROVE_STATEMENT, approval("divtrata", statement))) == needs
    assert refusal(log, REGISTRAR.sign(Act.APPROVE_STATEMENT, approval("divtrata", statement))) == needs
    assert refusal(log, EVA.sign(Act.APPROVE_STATEMENT, approval("divtrata", statement))) == needs
    log.put(ROSA.sign(Act.APPROVE_STATEMENT, approval("divtrata", statement)))
    assert log.keymap.find_credential(noa.id) is not None
    again = ROSA.sign(Act.APPROVE_STATEMENT, approval("divtrata", statement))
    assert refusal(log, again) == (ErrorCode.STATEMENT_OUT_OF_SEQUENCE, "not-pending")


@pytest.mark.parametrize(
    "change",
    [
        {"keyholder": True},
        {"until": NOW + 2 * YEAR},
        {"require": ["Ed25519"]},
    ],
)
def test_more_rights_for_somebody_listed_wait_as_an_addition_does(log: Log, change: dict[str, Any]) -> None:
    rex = person("divtrata", "rex1", algs=BOTH)
    log.put(*rex.entries())
    added = LUIS.sign(Act.STATEMENT, log.next_body("divtrata", [LUIS, ROSA, DESK, rex]))
    log.put(added, ROSA.sign(Act.APPROVE_STATEMENT, approval("divtrata", added)))
    log.put(LUIS.sign(Act.STATEMENT, log.next_body("divtrata", [LUIS, ROSA, DESK, rex.listed(**change)])))
    assert log.keymap.find_pending("divtrata") is not None


@pytest.mark.parametrize("earlier", [{"from": NOW + DAY}, {}], ids=["earlier", "at once"])
def test_who_is_to_begin_later_begins_no_earlier_by_one_keyholder_alone(log: Log, earlier: dict[str, Any]) -> None:
    rex = person("divtrata", "rex1")
    log.put(*rex.entries())
    coming = rex.listed(**{"from": NOW + 30 * DAY})
    added = LUIS.sign(Act.STATEMENT, log.next_body("divtrata", [LUIS, ROSA, DESK, coming]))
    log.put(added, ROSA.sign(Act.APPROVE_STATEMENT, approval("divtrata", added)))
    later = rex.listed(**{"from": NOW + 60 * DAY})
    log.put(LUIS.sign(Act.STATEMENT, log.next_body("divtrata", [LUIS, ROSA, DESK, later])))
    assert log.keymap.find_pending("divtrata") is None, "later takes away"
    log.put(LUIS.sign(Act.STATEMENT, log.next_body("divtrata", [LUIS, ROSA, DESK, rex.listed(**earlier)])))
    assert log.keymap.find_pending("divtrata") is not None


@pytest.mark.parametrize("beside", [{"escalation": ["linea"]}, {"parent": "linea"}], ids=["escalation", "parent"])
def test_who_is_sealed_to_beside_a_party_is_named_by_two(log: Log, beside: dict[str, Any]) -> None:
    """One dishonest keyholder gives no accomplice the party's emergencies to read; to leave one out takes one."""
    body = log.next_body("divtrata", [LUIS, ROSA, DESK])
    named = LUIS.sign(Act.STATEMENT, body | {"entry": body["entry"] | beside})
    log.put(named)
    assert log.keymap.find_pending("divtrata") is not None
    log.put(ROSA.sign(Act.APPROVE_STATEMENT, approval("divtrata", named)))
    log.put(LUIS.sign(Act.STATEMENT, log.next_body("divtrata", [LUIS, ROSA, DESK]) | {"entry": body["entry"]}))
    assert log.keymap.find_pending("divtrata") is None


def test_a_beginning_that_was_not_stated_is_stated_by_two(log: Log) -> None:
    """It may be an earlier one than that of the statement by which somebody came."""
    rosa = ROSA.listed(**{"from": NOW - 30 * DAY})
    log.put(LUIS.sign(Act.STATEMENT, log.next_body("divtrata", [LUIS, rosa, DESK])))
    assert log.keymap.find_pending("divtrata") is not None


def test_a_workstations_key_is_not_sealed_to_longer_by_one_keyholder_alone(log: Log) -> None:
    """Its own person may say so (R-32 d); of two keyholders none for another's workstation."""
    short = enc_listed("divtrata/1", "st1", until=NOW + 10 * DAY)
    log.put(ROSA.sign(Act.STATEMENT, log.next_body("divtrata", [LUIS, ROSA, DESK], enc=[short])))
    assert [one.valid_until for one in log.keymap.usable_enc("divtrata", NOW)] == [NOW + 10 * DAY]
    body = log.next_body("divtrata", [LUIS, ROSA, DESK], enc=[enc_listed("divtrata/1", "st1")])
    log.put(ROSA.sign(Act.STATEMENT, body))
    assert log.keymap.find_pending("divtrata") is not None
    log.put(LUIS.sign(Act.STATEMENT, body))
    assert [one.valid_until for one in log.keymap.usable_enc("divtrata", NOW)] == [NOW + 45 * DAY]


@pytest.mark.parametrize("drop_seal", [True, False])
def test_fewer_seal_keys_are_fewer_signatures_unless_both_stay_required(log: Log, drop_seal: bool) -> None:
    rex = person("divtrata", "rex1", algs=BOTH, extra={"require": ["Ed25519"]})
    log.put(*rex.entries())
    added = LUIS.sign(Act.STATEMENT, log.next_body("divtrata", [LUIS, ROSA, DESK, rex]))
    log.put(added, ROSA.sign(Act.APPROVE_STATEMENT, approval("divtrata", added)))
    changes: dict[str, Any] = {"seal": [rex.seals[0].kid]} if drop_seal else {"require": ["Ed25519", "ML-DSA-65"]}
    changed = rex.listed(**changes)
    log.put(LUIS.sign(Act.STATEMENT, log.next_body("divtrata", [LUIS, ROSA, DESK, changed])))
    assert log.keymap.find_pending("divtrata") is None, "nothing was loosened: Ed25519 was required before and is now"


def test_what_only_takes_away_never_waits(log: Log) -> None:
    log.put(LUIS.sign(Act.STATEMENT, log.next_body("divtrata", [LUIS, ROSA], enc=[enc_listed("divtrata/1", "st1")])))
    assert log.keymap.find_credential("divtrata.desk") is None
    assert [one.kid for one in log.keymap.sealable("divtrata", NOW)] == [enc_kid("divtrata/1")]
    log.put(LUIS.sign(Act.STATEMENT, log.next_body("divtrata", [LUIS, ROSA], duty_phone="+5173399999")))
    party = log.keymap.find_party("divtrata")
    assert party is not None
    assert party.entry.duty_phone == "+5173399999"


def test_a_keyholder_whose_time_is_over_counts_no_longer(log: Log) -> None:
    noa = person("divtrata", "noa1")
    log.put(*noa.entries())
    expired = ROSA.listed(until=NOW + DAY)
    log.put(LUIS.sign(Act.STATEMENT, log.next_body("divtrata", [LUIS, expired, DESK])))
    body = log.next_body("divtrata", [LUIS, expired, DESK, noa])
    log.put(LUIS.sign(Act.STATEMENT, body, iat=NOW + 2 * DAY))
    assert log.keymap.find_credential(noa.id) is not None


@pytest.mark.parametrize("changes", [{"seq": 3}, {"seq": 1, "prev_statement": None}, {"prev_statement": "A" * 43}])
def test_a_statement_out_of_its_chain_is_refused_and_told_the_head(log: Log, changes: dict[str, Any]) -> None:
    statement = ANA.sign(Act.STATEMENT, log.next_body("linea", [ANA, EVA, BOT]) | changes)
    party = log.keymap.find_party("linea")
    assert party is not None
    with pytest.raises(ReferralError) as caught:
        log.keymap.extend(statement)
    assert caught.value.code is ErrorCode.STATEMENT_OUT_OF_SEQUENCE
    assert caught.value.facts == {"reason": "sequence", "seq": 1, "statement": party.statement}


def test_a_fork_of_a_party_is_refused(log: Log) -> None:
    one = ANA.sign(Act.STATEMENT, log.next_body("linea", [ANA, BOT]))
    other = ANA.sign(Act.STATEMENT, log.next_body("linea", [ANA, EVA]))
    log.put(one)
    assert refusal(log, other) == (ErrorCode.STATEMENT_OUT_OF_SEQUENCE, "sequence")
    assert refusal(log, one) == (ErrorCode.STATEMENT_OUT_OF_SEQUENCE, "sequence")


def test_only_a_keyholder_of_that_party_states_its_keys(log: Log) -> None:
    body = log.next_body("linea", [ANA, EVA, BOT])
    assert refusal(log, EVA.sign(Act.STATEMENT, body)) == (ErrorCode.NOT_PERMITTED, "keyholder")
    assert refusal(log, BOT.sign(Act.STATEMENT, body)) == (ErrorCode.NOT_PERMITTED, "person")
    foreign = LUIS.sign(Act.STATEMENT, body | {"prev_statement": log.next_body("divtrata", [])["prev_statement"]})
    assert refusal(log, foreign) == (ErrorCode.ACT_SCHEMA, "contradiction")
    forged = act(Act.STATEMENT, ANA.id, body, LUIS.seals)
    assert refusal(log, forged) == (ErrorCode.ACT_SIGNATURE_INVALID, "required")
    elsewhere = ANA.sign(Act.STATEMENT, body, aud="https://other.example")
    assert refusal(log, elsewhere) == (ErrorCode.WRONG_AUDIENCE, None)


def test_a_stripped_second_signature_is_missed(log: Log) -> None:
    whole = parse(ANA.sign(Act.STATEMENT, log.next_body("linea", [ANA, EVA])), max_bytes=32 * 1024)
    stripped = canonical(whole | {"signatures": whole["signatures"][:1]})
    assert refusal(log, stripped) == (ErrorCode.ACT_SIGNATURE_INVALID, "required")


def test_a_newer_proposal_replaces_the_one_that_nobody_approved(log: Log) -> None:
    noa, gil = person("divtrata", "noa1"), person("divtrata", "gil1")
    log.put(*noa.entries(), *gil.entries())
    first = LUIS.sign(Act.STATEMENT, log.next_body("divtrata", [LUIS, ROSA, DESK, noa]))
    second = LUIS.sign(Act.STATEMENT, log.next_body("divtrata", [LUIS, ROSA, DESK, gil]))
    log.put(first, second)
    approve = ROSA.sign(Act.APPROVE_STATEMENT, approval("divtrata", first))
    assert refusal(log, approve) == (ErrorCode.STATEMENT_OUT_OF_SEQUENCE, "not-pending")
    log.put(ROSA.sign(Act.APPROVE_STATEMENT, approval("divtrata", second)))
    assert log.keymap.find_credential(noa.id) is None
    third = LUIS.sign(Act.STATEMENT, log.next_body("divtrata", [LUIS, ROSA, DESK, gil, noa]))
    log.put(third, ROSA.sign(Act.APPROVE_STATEMENT, approval("divtrata", third)))
    assert log.keymap.find_credential(noa.id) is not None, "keys of a voided statement may be listed again"


# Objection (R-32 c).


def objection(statement: bytes) -> dict[str, Any]:
    return {"statement": digest(statement), "reason": "not_authorised"}


@pytest.mark.parametrize("who", [ROSA, LUIS, REGISTRAR])
def test_an_objection_voids_what_is_not_in_effect(log: Log, who: Someone) -> None:
    noa = person("divtrata", "noa1")
    log.put(*noa.entries())
    statement = LUIS.sign(Act.STATEMENT, log.next_body("divtrata", [LUIS, ROSA, DESK, noa]))
    log.put(statement, who.sign(Act.OBJECT, objection(statement)))
    approve = ROSA.sign(Act.APPROVE_STATEMENT, approval("divtrata", statement))
    assert refusal(log, approve) == (ErrorCode.STATEMENT_OUT_OF_SEQUENCE, "not-pending")
    assert refusal(log, who.sign(Act.OBJECT, objection(statement)))[1] == "not-pending"


def test_what_was_objected_to_waits_no_second_time(log: Log) -> None:
    """Signed it is, and approved too late: whoever keeps the log could put both there again, with nobody to ask."""
    noa = person("divtrata", "noa1")
    log.put(*noa.entries())
    statement = LUIS.sign(Act.STATEMENT, log.next_body("divtrata", [LUIS, ROSA, DESK, noa]))
    again = LUIS.sign(Act.STATEMENT, log.next_body("divtrata", [LUIS, ROSA, DESK, noa]), iat=NOW + 60)
    log.put(statement)
    assert refusal(log, statement) == (ErrorCode.STATEMENT_OUT_OF_SEQUENCE, "repeated")
    log.put(LUIS.sign(Act.OBJECT, objection(statement)))
    assert refusal(log, statement) == (ErrorCode.STATEMENT_OUT_OF_SEQUENCE, "repeated")
    log.put(again, ROSA.sign(Act.APPROVE_STATEMENT, approval("divtrata", again)))
    assert log.keymap.find_credential(noa.id) is not None, "its signer may say it anew"


def test_what_a_newer_proposal_replaced_does_not_replace_that(log: Log) -> None:
    noa, gil = person("divtrata", "noa1"), person("divtrata", "gil1")
    log.put(*noa.entries(), *gil.entries())
    first = LUIS.sign(Act.STATEMENT, log.next_body("divtrata", [LUIS, ROSA, DESK, noa]))
    second = LUIS.sign(Act.STATEMENT, log.next_body("divtrata", [LUIS, ROSA, DESK, gil]))
    log.put(first, second)
    assert refusal(log, first) == (ErrorCode.STATEMENT_OUT_OF_SEQUENCE, "repeated")
    assert log.keymap.copy().find_pending("divtrata") == log.keymap.find_pending("divtrata")


def test_strangers_services_and_the_exchange_cannot_object(log: Log) -> None:
    noa = person("divtrata", "noa1")
    log.put(*noa.entries())
    statement = LUIS.sign(Act.STATEMENT, log.next_body("divtrata", [LUIS, ROSA, DESK, noa]))
    log.put(statement)
    body = objection(statement)
    assert refusal(log, EVA.sign(Act.OBJECT, body)) == (ErrorCode.NOT_PERMITTED, "party")
    assert refusal(log, BOT.sign(Act.OBJECT, body)) == (ErrorCode.NOT_PERMITTED, "person")
    by_exchange = act(Act.OBJECT, EXCHANGE_CREDENTIAL, body, [EXCHANGE_ACT])
    assert refusal(log, by_exchange) == (ErrorCode.NOT_PERMITTED, "party")


def test_acts_that_have_no_place_on_the_keys_log_are_refused(log: Log) -> None:
    assert refusal(log, log.leaves[0]) == (ErrorCode.ACT_SCHEMA, "not-in-list")
    with pytest.raises(ReferralError) as caught:
        log.keymap.extend(b"{}")
    assert caught.value.code is ErrorCode.MALFORMED


def test_sixty_persons_and_nine_keys_fit_into_a_statement(log: Log) -> None:
    crowd = [person("comisaria", f"p{number:03d}", algs=BOTH, keyholder=number < 2) for number in range(60)]
    enc = [enc_listed(f"comisaria/{number}", f"ws{number}") for number in range(8)]
    body = statement_body(
        "comisaria",
        "police_unit",
        crowd,
        enc=[*enc, enc_listed("comisaria/b", None, "backup")],
        duty_phone="+5173300001",
    )
    statement = crowd[0].sign(Act.STATEMENT, body)
    assert len(parse_act(statement).jws.payload) <= MAX_STATEMENT_BYTES
    log.put(*(leaf for one in crowd for leaf in one.entries()))
    log.put(*(enc_entry("comisaria", f"comisaria/{number}", crowd[0].seals) for number in range(8)))
    log.put(enc_entry("comisaria", "comisaria/b", crowd[0].seals, KeyUse.BACKUP))
    log.put(statement, REGISTRAR.sign(Act.APPROVE_STATEMENT, approval("comisaria", statement)))
    assert len(log.keymap.sealable("comisaria", NOW)) == 9
