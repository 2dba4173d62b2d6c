"""Keys in the fold: what a statement may list, what stands when, revocation, and whom bundles are sealed to (R-33)."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Act, CredentialKind, KeyUse, Kid
from referral_api.formats.keys import Alg
from referral_api.formats.parties import GRACE_S, SKEW_S
from referral_api.formats.statement_rules import BACKUP_LIFE, ENC_LIFE
from tests.formats.parties_world import (
    DAY,
    EXCHANGE_ACT,
    EXCHANGE_CREDENTIAL,
    NOW,
    YEAR,
    Log,
    Someone,
    act,
    enc_entry,
    enc_kid,
    enc_listed,
    key,
    key_entry,
    person,
    service,
)
from tests.formats.test_statements import refusal

BOTH = (Alg.ED25519, Alg.ML_DSA_65)
REGISTRAR = person("registro", "r001", keyholder=True)
ANA = person("linea", "ana1", keyholder=True, algs=BOTH)
EVA = person("linea", "eva1")
BOT = service("linea", "bot1", algs=(Alg.ED25519,))
LUIS = person("divtrata", "luis", keyholder=True)


@pytest.fixture
def log() -> Log:
    made = Log()
    made.registrar(REGISTRAR)
    made.admit("hotline", [ANA, EVA, BOT], REGISTRAR, ["linea/1"])
    made.admit("police_unit", [LUIS], REGISTRAR, ["divtrata/1", "divtrata/2"])
    return made


def restate(log: Log, credentials: list[Someone | dict[str, Any]], iat: int = NOW, **options: Any) -> bytes:
    return ANA.sign(Act.STATEMENT, log.next_body("linea", credentials, **options), iat=iat)


def why_not(log: Log, credential: str, iat: int, now: int, kids: tuple[Kid, ...] = ()) -> str | None:
    try:
        log.keymap.seal_keys(credential, iat, now, kids=kids)
    except ReferralError as error:
        return str(error.facts["reason"]) if error.code is ErrorCode.KEY_NOT_VALID else error.code.value
    return None


# What a statement may list.


@pytest.mark.parametrize(
    ("credentials", "code", "reason"),
    [
        ([ANA, EVA, replace(BOT, kind=CredentialKind.PERSON)], "act-schema", "kind-changed"),
        ([EVA, BOT], "act-schema", "no-keyholder"),
        ([ANA, EVA, BOT, person("linea", "new1")], "key-not-valid", "no-entry"),
        ([ANA, EVA.listed(seal=[LUIS.seals[0].kid]), BOT], "key-not-valid", "no-entry"),
        ([ANA, EVA.listed(access=EVA.seals[0].kid, seal=[EVA.access.kid]), BOT], "key-unsuitable", "use"),
        ([ANA, EVA.listed(access=BOT.access.kid), BOT.listed(access=EVA.access.kid)], "key-reused", None),
        ([ANA, EVA.listed(require=["ML-DSA-65"]), BOT], "act-schema", "requires-more-than-listed"),
    ],
)
def test_a_statement_that_lists_what_it_may_not_is_refused(
    log: Log, credentials: list[Any], code: str, reason: str | None
) -> None:
    found = refusal(log, restate(log, credentials))
    assert (found[0].value, found[1]) == (code, reason)


def test_role_and_party_never_change(log: Log) -> None:
    body = log.next_body("linea", [ANA, EVA, BOT])
    other_role = body | {"entry": body["entry"] | {"role": "police_unit"}}
    assert refusal(log, ANA.sign(Act.STATEMENT, other_role)) == (ErrorCode.ACT_SCHEMA, "role-changed")
    other_id = body | {"entry": body["entry"] | {"id": "linea-dos"}}
    assert refusal(log, ANA.sign(Act.STATEMENT, other_id)) == (ErrorCode.ACT_SCHEMA, "contradiction")


@pytest.mark.parametrize(("was", "becomes"), [(None, "EC"), ("EC", "BO"), ("EC", None)])
def test_who_is_abroad_stays_abroad(log: Log, was: str | None, becomes: str | None) -> None:
    """R-85: else one keyholder would take the border away, and what was consented to with it."""
    border = person("frontera", "one1", keyholder=True)
    log.admit("police_unit", [border], REGISTRAR, **({} if was is None else {"country": was}))
    body = log.next_body("frontera", [border])
    entry = {name: value for name, value in body["entry"].items() if name != "country"}
    moved = body | {"entry": entry | ({} if becomes is None else {"country": becomes})}
    assert refusal(log, border.sign(Act.STATEMENT, moved)) == (ErrorCode.ACT_SCHEMA, "country-changed")
    log.put(border.sign(Act.STATEMENT, body))
    assert log.keymap.country_of("frontera") == was


def test_only_a_hotlines_service_may_have_a_seal_key(log: Log) -> None:
    desk = service("divtrata", "desk", algs=(Alg.ED25519,))
    log.put(*desk.entries())
    statement = LUIS.sign(Act.STATEMENT, log.next_body("divtrata", [LUIS, desk]))
    assert refusal(log, statement) == (ErrorCode.ACT_SCHEMA, "service-seals")
    assert log.keymap.seal_keys(BOT.id, NOW, NOW).require == (Alg.ED25519,)


def test_two_seal_keys_of_one_algorithm_could_not_sign_together(log: Log) -> None:
    second = key("eva/second")
    log.put(key_entry("linea", KeyUse.SEAL, second))
    twice = EVA.listed(seal=[EVA.seals[0].kid, second.kid])
    assert refusal(log, restate(log, [ANA, twice, BOT])) == (ErrorCode.ACT_SCHEMA, "repeated-entry")


def test_what_was_dropped_never_comes_back(log: Log) -> None:
    log.put(restate(log, [ANA, BOT], enc=[]))
    assert refusal(log, restate(log, [ANA, BOT, EVA])) == (ErrorCode.ACT_SCHEMA, "credential-returns")
    fresh = replace(EVA, short="eva2")
    assert refusal(log, restate(log, [ANA, BOT, fresh.listed(access=EVA.access.kid, seal=[EVA.seals[0].kid])])) == (
        ErrorCode.KEY_REUSED,
        None,
    )
    again = restate(log, [ANA, BOT], enc=[enc_listed("linea/1")])
    assert refusal(log, again) == (ErrorCode.KEY_REUSED, None)


# Key entries.


def test_a_key_appears_once_over_the_whole_log(log: Log) -> None:
    assert refusal(log, key_entry("linea", KeyUse.ACCESS, EVA.access)) == (ErrorCode.KEY_REUSED, None)
    assert refusal(log, key_entry("divtrata", KeyUse.SEAL, EVA.seals[0])) == (ErrorCode.KEY_REUSED, None)
    assert refusal(log, key_entry("divtrata", KeyUse.ACCESS, EXCHANGE_ACT)) == (ErrorCode.KEY_REUSED, None)


def test_an_encryption_key_is_vouched_for_by_seal_keys_of_its_own_party(log: Log) -> None:
    unknown = (ErrorCode.POSSESSION_NOT_PROVED, "unknown-key")
    assert refusal(log, enc_entry("linea", "linea/2", LUIS.seals)) == unknown
    assert refusal(log, enc_entry("linea", "linea/2", [EVA.access])) == unknown
    log.put(EVA.sign(Act.REVOKE, {"kid": EVA.seals[0].kid, "reason": "lost", "at": NOW}))
    assert refusal(log, enc_entry("linea", "linea/2", EVA.seals)) == unknown
    log.put(enc_entry("linea", "linea/2", ANA.seals))
    log.put(restate(log, [ANA, BOT], enc=[enc_listed("linea/1"), enc_listed("linea/2", "st2")]))
    assert len(log.keymap.sealable("linea", NOW)) == 2


def test_a_credential_that_must_sign_twice_vouches_twice(log: Log) -> None:
    log.put(enc_entry("linea", "linea/2", ANA.seals[:1]))
    statement = restate(log, [ANA, EVA, BOT], enc=[enc_listed("linea/1"), enc_listed("linea/2", "st2")])
    assert refusal(log, statement) == (ErrorCode.POSSESSION_NOT_PROVED, "not-vouched-for")


def test_two_persons_cannot_vouch_together(log: Log) -> None:
    log.put(enc_entry("linea", "linea/2", [EVA.seals[0], ANA.seals[1]]))
    statement = restate(log, [ANA, EVA, BOT], enc=[enc_listed("linea/1"), enc_listed("linea/2", "st2")])
    assert refusal(log, statement) == (ErrorCode.POSSESSION_NOT_PROVED, "not-vouched-for")


# Encryption keys.


def many(log: Log, stations: list[str | None], use: KeyUse = KeyUse.ENC) -> list[dict[str, Any]]:
    names = [f"divtrata/x{number}" for number in range(len(stations))]
    log.put(*(enc_entry("divtrata", name, LUIS.seals, use) for name in names))
    return [enc_listed(name, station, use.value) for name, station in zip(names, stations, strict=True)]


@pytest.mark.parametrize(
    ("stations", "use", "fits"),
    [
        ([f"w{n}" for n in range(8)], KeyUse.ENC, True),
        ([f"w{n}" for n in range(9)], KeyUse.ENC, False),
        ([None] * 8, KeyUse.ENC, True),
        ([None] * 9, KeyUse.ENC, False),
        (["w1", "w1"], KeyUse.ENC, True),
        (["w1", "w1", "w1"], KeyUse.ENC, False),
        ([f"w{n // 2}" for n in range(16)], KeyUse.ENC, True),
        ([None, None], KeyUse.BACKUP, True),
        ([None, None, None], KeyUse.BACKUP, False),
    ],
)
def test_eight_workstations_with_two_keys_each_and_the_backup(
    log: Log, stations: list[str | None], use: KeyUse, fits: bool
) -> None:
    statement = LUIS.sign(Act.STATEMENT, log.next_body("divtrata", [LUIS], enc=many(log, stations, use)))
    if fits:
        log.put(statement)
        assert len(log.keymap.usable_enc("divtrata", NOW)) == len(stations)
    else:
        assert refusal(log, statement) == (ErrorCode.ACT_SCHEMA, "too-many-keys")


@pytest.mark.parametrize(
    ("use", "seconds", "fits"),
    [
        ("enc", int(ENC_LIFE.total_seconds()), True),
        ("enc", int(ENC_LIFE.total_seconds()) + 1, False),
        ("backup", int(BACKUP_LIFE.total_seconds()), True),
        ("backup", int(BACKUP_LIFE.total_seconds()) + 1, False),
    ],
)
def test_no_encryption_key_is_sealed_to_for_longer_than_the_promise(
    log: Log, use: str, seconds: int, fits: bool
) -> None:
    listed = many(log, [None], KeyUse(use))
    statement = LUIS.sign(Act.STATEMENT, log.next_body("divtrata", [LUIS], enc=[listed[0] | {"until": NOW + seconds}]))
    if fits:
        log.put(statement)
        assert log.keymap.find_party("divtrata") is not None
    else:
        assert refusal(log, statement) == (ErrorCode.ACT_SCHEMA, "lives-too-long")


@pytest.mark.parametrize("changes", [{"from": NOW + DAY}, {"station": "other"}])
def test_a_listed_encryption_key_keeps_its_beginning_and_its_place(log: Log, changes: dict[str, Any]) -> None:
    enc = [enc_listed("divtrata/1", "st1") | changes, enc_listed("divtrata/2", "st2")]
    statement = LUIS.sign(Act.STATEMENT, log.next_body("divtrata", [LUIS], enc=enc))
    assert refusal(log, statement) == (ErrorCode.ACT_SCHEMA, "moved")


def test_bundles_are_sealed_to_the_newest_key_of_each_workstation(log: Log) -> None:
    later = NOW + 30 * DAY
    log.put(enc_entry("divtrata", "divtrata/1b", LUIS.seals))
    renewed = enc_listed("divtrata/1b") | {"from": later, "until": later + 45 * DAY}
    enc = [enc_listed("divtrata/1", "st1"), enc_listed("divtrata/2", "st2"), renewed]
    log.put(LUIS.sign(Act.STATEMENT, log.next_body("divtrata", [LUIS], enc=enc)))

    def sealed_to(now: int) -> list[str]:
        return [one.kid for one in log.keymap.sealable("divtrata", now)]

    first, second, new = enc_kid("divtrata/1"), enc_kid("divtrata/2"), enc_kid("divtrata/1b")
    assert sealed_to(NOW) == [first, second]
    assert sealed_to(later - SKEW_S - 1) == [first, second]
    assert sealed_to(later - SKEW_S) == [new, second]
    assert {one.kid for one in log.keymap.usable_enc("divtrata", later)} == {first, second, new}
    assert sealed_to(NOW + 45 * DAY - 1) == [new, second]
    assert sealed_to(NOW + 45 * DAY) == [new]
    assert sealed_to(later + 45 * DAY) == []
    assert log.keymap.sealable("nobody", NOW) == []
    log.put(LUIS.sign(Act.REVOKE, {"kid": second, "reason": "lost", "at": NOW}))
    assert sealed_to(NOW) == [first]


def test_nobody_takes_anothers_workstation_by_its_code(log: Log) -> None:
    log.put(enc_entry("linea", "linea/2", EVA.seals))
    taken = restate(log, [ANA, EVA, BOT], enc=[enc_listed("linea/1", "st1"), enc_listed("linea/2", "st1")])
    assert refusal(log, taken) == (ErrorCode.ACT_SCHEMA, "station-taken")
    renewed = replace(ANA, generation=2)
    log.put(*renewed.entries(), restate(log, [renewed, EVA, BOT]), enc_entry("linea", "linea/3", renewed.seals))
    body = log.next_body("linea", [renewed, EVA, BOT], enc=[enc_listed("linea/1"), enc_listed("linea/3")])
    log.put(renewed.sign(Act.STATEMENT, body))
    assert len(log.keymap.usable_enc("linea", NOW)) == 2, "the same person, with new keys, renews its own workstation"


# Revocation.


def revoke(who: Someone, kid: str) -> bytes:
    return who.sign(Act.REVOKE, {"kid": kid, "reason": "compromised", "at": NOW})


def test_a_revocation_takes_effect_at_its_leaf(log: Log) -> None:
    seal = EVA.seals[0].kid
    assert why_not(log, EVA.id, NOW, NOW) is None
    log.put(revoke(ANA, seal))
    assert why_not(log, EVA.id, NOW - 1, NOW) == "revoked", "whatever its act claims about when it was signed"
    assert log.keymap.get_key(seal).revoked_index == log.keymap.size - 1
    assert log.keymap.access_key(EVA.id, NOW).kid == EVA.access.kid, "each key is revoked by itself"
    renewed = replace(EVA, generation=2)
    log.put(*renewed.entries()[1:])
    log.put(restate(log, [ANA, renewed.listed(access=EVA.access.kid), BOT]))
    assert why_not(log, EVA.id, NOW, NOW) is None
    log.put(revoke(renewed, EVA.access.kid))
    with pytest.raises(ReferralError) as caught:
        log.keymap.access_key(EVA.id, NOW)
    assert caught.value.facts["reason"] == "revoked"


@pytest.mark.parametrize(
    ("who", "whose", "allowed"),
    [
        (EVA, EVA.access.kid, True),
        (EVA, ANA.access.kid, False),
        (ANA, BOT.access.kid, True),
        (LUIS, EVA.access.kid, False),
        (REGISTRAR, EVA.access.kid, True),
        (REGISTRAR, EXCHANGE_ACT.kid, False),
    ],
)
def test_who_may_revoke_whose_key(log: Log, who: Someone, whose: str, allowed: bool) -> None:
    if allowed:
        log.put(revoke(who, whose))
        assert log.keymap.get_key(whose).revoked
    else:
        assert refusal(log, revoke(who, whose)) == (ErrorCode.NOT_PERMITTED, "keyholder")


def test_a_service_revokes_nothing_and_the_exchange_anything_but_its_own(log: Log) -> None:
    """It only takes away: at night the operator may have to do it before a registrar person is awake."""
    assert refusal(log, revoke(BOT, BOT.access.kid)) == (ErrorCode.NOT_PERMITTED, "person")

    def by_exchange(kid: str) -> bytes:
        body = {"kid": kid, "reason": "compromised", "at": NOW}
        return act(Act.REVOKE, EXCHANGE_CREDENTIAL, body, [EXCHANGE_ACT])

    assert refusal(log, by_exchange(EXCHANGE_ACT.kid)) == (ErrorCode.NOT_PERMITTED, "keyholder")
    log.put(by_exchange(EVA.access.kid))
    assert log.keymap.get_key(EVA.access.kid).revoked


def test_revoking_twice_or_nothing_is_refused(log: Log) -> None:
    log.put(revoke(ANA, EVA.access.kid))
    assert refusal(log, revoke(ANA, EVA.access.kid)) == (ErrorCode.KEY_NOT_VALID, "revoked")
    assert refusal(log, revoke(ANA, key("nobody").kid)) == (ErrorCode.KEY_NOT_VALID, "no-entry")


def test_a_revoked_keyholder_signs_nothing_more_and_its_key_is_listed_no_more(log: Log) -> None:
    log.put(revoke(REGISTRAR, ANA.seals[1].kid))
    assert refusal(log, restate(log, [ANA, BOT])) == (ErrorCode.KEY_NOT_VALID, "revoked")
    log.put(revoke(LUIS, enc_kid("divtrata/1")))
    statement = LUIS.sign(Act.STATEMENT, log.next_body("divtrata", [LUIS]))
    assert refusal(log, statement) == (ErrorCode.KEY_NOT_VALID, "revoked")


# Times.


def test_a_key_stands_from_its_statement_until_its_end_and_then_seven_days_for_what_is_late(log: Log) -> None:
    end = NOW + YEAR
    assert why_not(log, EVA.id, NOW, NOW) is None
    assert why_not(log, EVA.id, NOW - SKEW_S, NOW) is None
    assert why_not(log, EVA.id, NOW - SKEW_S - 1, NOW) == "not-yet"
    assert why_not(log, EVA.id, end - 1, end + GRACE_S) is None
    assert why_not(log, EVA.id, end - 1, end + GRACE_S + 1) == "ended"
    assert why_not(log, EVA.id, end, end) == "ended"
    assert why_not(log, "linea.zoe1", NOW, NOW) == "unknown"
    assert why_not(log, "divtrata.luis", NOW, NOW, (EVA.seals[0].kid,)) == "unknown"


def test_an_act_of_a_superseded_key_stands_if_signed_before_and_received_within_seven_days(log: Log) -> None:
    changed = NOW + 10 * DAY
    renewed = replace(EVA, generation=2, algs=BOTH)
    log.put(*renewed.entries(), restate(log, [ANA, renewed, BOT], iat=changed))
    old, new = (EVA.seals[0].kid,), tuple(one.kid for one in renewed.seals)
    assert why_not(log, EVA.id, changed - 1, changed + GRACE_S, old) is None
    assert why_not(log, EVA.id, changed - 1, changed + GRACE_S + 1, old) == "ended"
    assert why_not(log, EVA.id, changed, changed, old) == "ended"
    assert why_not(log, EVA.id, changed, changed, new) is None
    assert why_not(log, EVA.id, changed - 10, changed, new) is None, "two honest clocks differ by a minute"
    assert log.keymap.seal_keys(EVA.id, changed - 1, changed, kids=old).require == (Alg.ED25519,)
    assert log.keymap.seal_keys(EVA.id, changed, changed).require == BOTH
    assert why_not(log, EVA.id, changed, changed, old + new) == "unknown", "two sets never mix"
    assert log.keymap.access_key(EVA.id, changed).kid == renewed.access.kid


def test_a_superseded_keyholder_key_changes_no_directory(log: Log) -> None:
    renewed = replace(ANA, generation=2)
    log.put(*renewed.entries(), restate(log, [renewed, EVA, BOT], iat=NOW + DAY))
    old_key = restate(log, [renewed, BOT], iat=NOW)
    assert refusal(log, old_key) == (ErrorCode.ACT_SIGNATURE_INVALID, "unknown-key")
    log.put(renewed.sign(Act.STATEMENT, log.next_body("linea", [renewed, BOT]), iat=NOW + DAY))
    assert log.keymap.find_credential(EVA.id) is None


def test_a_removed_credential_keeps_its_grace_and_nothing_else(log: Log) -> None:
    log.put(restate(log, [ANA, BOT], iat=NOW + DAY))
    assert why_not(log, EVA.id, NOW + DAY - 1, NOW + DAY + GRACE_S) is None
    assert why_not(log, EVA.id, NOW + DAY, NOW + DAY) == "ended"
    with pytest.raises(ReferralError) as caught:
        log.keymap.access_key(EVA.id, NOW)
    assert caught.value.facts["reason"] == "unknown"


def test_a_stated_beginning_is_waited_for(log: Log) -> None:
    noa = person("linea", "noa1", extra={"from": NOW + DAY})
    log.put(*noa.entries(), restate(log, [ANA, EVA, BOT, noa]))
    assert why_not(log, noa.id, NOW, NOW) == "not-yet"
    assert why_not(log, noa.id, NOW + DAY, NOW + DAY) is None
    with pytest.raises(ReferralError) as caught:
        log.keymap.access_key(noa.id, NOW)
    assert caught.value.facts["reason"] == "not-yet"
    with pytest.raises(ReferralError) as caught:
        log.keymap.access_key(noa.id, noa.until)
    assert caught.value.facts["reason"] == "ended"


def test_the_same_keys_listed_again_are_not_superseded(log: Log) -> None:
    log.put(restate(log, [ANA, EVA.listed(until=NOW + DAY), BOT], iat=NOW + 60))
    assert why_not(log, EVA.id, NOW + DAY - 1, NOW + DAY) is None
    assert why_not(log, EVA.id, NOW + DAY, NOW + DAY) == "ended"
    assert why_not(log, EVA.id, NOW, NOW) is None


def test_time_inside_the_fold_never_runs_backwards(log: Log) -> None:
    log.put(restate(log, [ANA, EVA, BOT], iat=NOW + 5 * DAY))
    noa = person("linea", "noa1")
    log.put(*noa.entries(), restate(log, [ANA, EVA, BOT, noa], iat=NOW))
    credential = log.keymap.find_credential(noa.id)
    assert credential is not None
    assert credential.valid_from == NOW + 5 * DAY


RENEWED = replace(EVA, generation=2)


@given(
    iat=st.integers(NOW - 2 * DAY, NOW + 30 * DAY),
    late=st.integers(0, 20 * DAY),
    changed=st.sampled_from([NOW, NOW + 1, NOW + 5 * DAY, NOW + 20 * DAY]),
)
def test_no_act_stands_under_a_superseded_set_unless_both_its_times_allow_it(iat: int, late: int, changed: int) -> None:
    made = _renewed_at(changed)
    arrived = iat + late
    stands = why_not(made, EVA.id, iat, arrived, (EVA.seals[0].kid,)) is None
    assert stands == (NOW - SKEW_S <= iat < changed and arrived <= changed + GRACE_S)


@cache
def _renewed_at(changed: int) -> Log:
    made = Log()
    made.registrar(REGISTRAR)
    made.admit("hotline", [replace(ANA, algs=(Alg.ED25519,)), EVA], REGISTRAR)
    body = made.next_body("linea", [replace(ANA, algs=(Alg.ED25519,)), RENEWED])
    made.put(*RENEWED.entries(), replace(ANA, algs=(Alg.ED25519,)).sign(Act.STATEMENT, body, iat=changed))
    return made
