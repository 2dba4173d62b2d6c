"""The invitation file and the thirty digits (R-34, R-36)."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Act
from referral_api.formats.directory_bodies import CredentialEntry, EncryptionEntry, Entry, Statement
from referral_api.formats.enrolment import (
    Proposal,
    build_invitation,
    code_digest,
    enrolment_code,
    next_statement,
    nonce_of,
    parse_begin,
    parse_code,
    parse_completion,
    parse_invitation,
    verify_code,
)
from referral_api.formats.strict_json import b64u, canonical, sha256_b64u
from tests.formats.parties_world import (
    DAY,
    ISSUER,
    NONCE,
    NOW,
    Log,
    enc_entry,
    enc_kid,
    enc_listed,
    entry_of,
    key,
    person,
)

SECRET = bytes(range(16))
INVITATION = {
    "exchange": ISSUER,
    "root": bytes(32),
    "party": "divtrata",
    "role": "police_unit",
    "secret": SECRET,
    "expires_at": NOW + 3 * DAY,
    "environment": "production",
}
LUIS, ROSA = person("divtrata", "luis", keyholder=True), person("divtrata", "rosa")
CODE: dict[str, Any] = {
    "root": bytes(32),
    "issuer": ISSUER,
    "party": "divtrata",
    "nonce": NONCE,
    "keys": [LUIS.access.kid, LUIS.seals[0].kid],
    "credentials": [CredentialEntry.parse(LUIS.listed(), code=ErrorCode.ACT_SCHEMA)],
    "enc": [],
    "entry": Entry.parse(entry_of("divtrata", "police_unit"), code=ErrorCode.ACT_SCHEMA),
}


def test_an_invitation_says_whom_to_trust_and_hides_only_its_secret() -> None:
    invitation = parse_invitation(build_invitation(**INVITATION))  # type: ignore[arg-type]
    assert (invitation.exchange, invitation.party, invitation.role.value) == (ISSUER, "divtrata", "police_unit")
    assert invitation.nonce == sha256_b64u(SECRET) == nonce_of(invitation.secret)
    assert int(invitation.expires_at.timestamp()) == NOW + 3 * DAY


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"secret": b64u(bytes(15))}, "bad-format"),
        ({"secret": b64u(SECRET)[:-1] + "B"}, "bad-format"),
        ({"exchange": "http://exchange.example"}, "bad-format"),
        ({"role": "king"}, "not-in-list"),
        ({"v": 2}, "out-of-range"),
        ({"v": True}, "wrong-type"),
        ({"name": "Ana"}, "unknown-member"),
        ({"expires_at": "2026-11-27"}, "wrong-type"),
    ],
)
def test_a_damaged_invitation_is_refused(changes: dict[str, Any], reason: str) -> None:
    document = INVITATION | {"v": 1, "root": b64u(bytes(32)), "secret": b64u(SECRET)}
    with pytest.raises(ReferralError) as caught:
        parse_invitation(canonical(document | changes))
    assert (caught.value.code, caught.value.facts["reason"]) == (ErrorCode.ACT_SCHEMA, reason)


@pytest.mark.parametrize("secret", ["", "short", b64u(bytes(17)), b64u(SECRET) + "=", "ñ" * 22])
def test_what_cannot_be_a_secret_is_an_unknown_one(secret: str) -> None:
    with pytest.raises(ReferralError) as caught:
        nonce_of(secret)
    assert caught.value.code is ErrorCode.INVITE_UNKNOWN


def test_the_code_is_thirty_digits_in_six_groups_and_the_same_for_both_sides() -> None:
    code = enrolment_code(**CODE)
    assert [len(group) for group in code.split(" ")] == [5] * 6
    assert code == enrolment_code(**CODE | {"keys": reversed(CODE["keys"])})


def test_the_code_is_what_the_protocol_says_computed_by_other_means() -> None:
    entry = '{"area":["20"],"escalation":[],"id":"divtrata","name":"Instituci\\u00f3n divtrata","role":"police_unit"}'
    luis = (
        f'{{"access":"{LUIS.access.kid}","id":"luis","keyholder":true,"kind":"person",'
        f'"seal":["{LUIS.seals[0].kid}"],"until":{LUIS.until}}}'
    )
    keys = ",".join(f'"{kid}"' for kid in sorted(CODE["keys"]))
    text = (
        f'{{"credentials":[{luis}],"enc":[],"entry":{entry},"issuer":"{ISSUER}","keys":[{keys}],"nonce":"{NONCE}",'
        f'"party":"divtrata","root":"{"A" * 43}"}}'
    )
    hashed = hashlib.sha256(b"referral-1/enrolment-code\x00" + text.encode("ascii")).hexdigest()
    assert enrolment_code(**CODE).replace(" ", "") == str(int(hashed[:32], 16) % 10**30).rjust(30, "0")


@pytest.mark.parametrize(
    "change",
    [
        {"root": b"\x01" + bytes(31)},
        {"issuer": "https://exchange2.example"},
        {"party": "divtrata2"},
        {"nonce": sha256_b64u(b"another invitation")},
        {"keys": [LUIS.access.kid, key("swapped").kid]},
        {"keys": [*CODE["keys"], key("added").kid]},
        {"keys": CODE["keys"][:1]},
        {"credentials": [CredentialEntry.parse(LUIS.listed(until=NOW + DAY), code=ErrorCode.ACT_SCHEMA)]},
        {"credentials": [CredentialEntry.parse(ROSA.listed(), code=ErrorCode.ACT_SCHEMA)]},
        {"credentials": []},
        {"enc": [EncryptionEntry.parse(enc_listed("divtrata/1"), code=ErrorCode.ACT_SCHEMA)]},
        {"entry": None},
        {
            "entry": Entry.parse(
                entry_of("divtrata", "police_unit", duty_phone="+5173399999"), code=ErrorCode.ACT_SCHEMA
            )
        },
    ],
)
def test_whatever_is_swapped_changes_the_digits(change: dict[str, Any]) -> None:
    assert enrolment_code(**CODE | change) != enrolment_code(**CODE)


def test_typed_digits_are_compared_and_become_the_approvals_digest() -> None:
    code = enrolment_code(**CODE)
    bare = code.replace(" ", "")
    for typed in (code, bare, f" {bare}\n", "-".join(code.split(" "))):
        assert verify_code(typed, code) == code_digest(code) == sha256_b64u(bare.encode())
    wrong = bare[:-1] + str((int(bare[-1]) + 1) % 10)
    for typed, reason in ((wrong, "differs"), (bare[:-1], "digits"), (bare + "0", "digits"), ("x" * 30, "digits")):
        with pytest.raises(ReferralError) as caught:
            verify_code(typed, code)
        assert (caught.value.code, caught.value.facts["reason"]) == (ErrorCode.CODE_MISMATCH, reason)


def test_digits_of_other_alphabets_are_no_digits() -> None:
    with pytest.raises(ReferralError):
        parse_code("\u0661" * 30)


@given(st.binary(min_size=32, max_size=32))
def test_every_root_gives_thirty_digits(root: bytes) -> None:
    assert len(parse_code(enrolment_code(**CODE | {"root": root}))) == 30


def test_requests_are_closed_documents() -> None:
    assert parse_begin(b'{"enc":[]}').enc == ()
    for raw in (b"{}", b'{"enc":[],"x":1}', b'{"enc":[{"alg":1}]}', canonical({"enc": [{"alg": "x"}] * 10})):
        with pytest.raises(ReferralError) as caught:
            parse_begin(raw)
        assert caught.value.code is ErrorCode.ACT_SCHEMA
    changed: list[dict[str, Any]] = [
        {"keys": []},
        {"keys": ["a", "a"]},
        {"proposal": None},
        {"possession": [{"kid": "x"}]},
    ]
    for changes in changed:
        body = {"keys": ["a"], "possession": [], "proposal": {"credentials": [], "enc": [], "entry": None}}
        with pytest.raises(ReferralError) as caught:
            parse_completion(canonical(body | {"statement": None} | changes))
        assert caught.value.code is ErrorCode.ACT_SCHEMA


def test_the_next_statement_adds_replaces_and_leaves_out_what_has_ended() -> None:
    log = Log()
    registrar = person("registro", "r001", keyholder=True)
    log.registrar(registrar)
    log.admit("police_unit", [LUIS, ROSA], registrar, ["divtrata/1", "divtrata/2"])
    party = log.keymap.find_party("divtrata")
    assert party is not None
    later = NOW + 30 * DAY
    renewed = ROSA.listed(until=NOW + 500 * DAY)
    noa = person("divtrata", "noa1")
    fresh = enc_listed("divtrata/1b") | {"from": later, "until": later + 45 * DAY}
    proposal = Proposal.parse(
        {"credentials": [renewed, noa.listed()], "enc": [fresh], "entry": None}, code=ErrorCode.ACT_SCHEMA
    )
    owners = log.keymap.owners_of(party.id)
    body = next_statement(party, proposal, log.keymap.find_key, later, owners=owners)
    statement = Statement.parse(body, code=ErrorCode.ACT_SCHEMA)
    assert (statement.seq, statement.prev_statement) == (2, party.statement)
    assert [one.wire() for one in statement.credentials] == [LUIS.listed(), renewed, noa.listed()]
    assert {one.kid for one in statement.enc} == {enc_kid(f"divtrata/{name}") for name in ("1", "2", "1b")}
    ended = next_statement(party, proposal, log.keymap.find_key, later + 20 * DAY, owners=owners)
    assert [one["kid"] for one in ended["enc"]] == [enc_kid("divtrata/2"), fresh["kid"]], "st2 may come back"
    log.put(*noa.entries(), enc_entry("divtrata", "divtrata/1b", LUIS.seals))
    log.put(LUIS.sign(Act.STATEMENT, body, iat=later))
    assert len(log.keymap.usable_enc("divtrata", later)) == 3


def test_of_one_workstation_the_next_statement_keeps_the_two_newest() -> None:
    log = Log()
    registrar = person("registro", "r001", keyholder=True)
    log.registrar(registrar)
    log.admit("police_unit", [LUIS], registrar, ["divtrata/1"])
    party = log.keymap.find_party("divtrata")
    assert party is not None
    for day, name in ((1, "a"), (2, "b")):
        fresh = enc_listed(f"divtrata/{name}") | {"from": NOW + day * DAY}
        log.put(enc_entry("divtrata", f"divtrata/{name}", LUIS.seals))
        proposal = Proposal.parse({"credentials": [], "enc": [fresh], "entry": None}, code=ErrorCode.ACT_SCHEMA)
        log.put(
            LUIS.sign(
                Act.STATEMENT,
                next_statement(party, proposal, log.keymap.find_key, NOW, owners=log.keymap.owners_of(party.id)),
                iat=NOW + day * DAY,
            )
        )
        party = log.keymap.find_party("divtrata")
        assert party is not None
    assert [one.kid for one in party.enc] == [enc_kid("divtrata/a"), enc_kid("divtrata/b")]
    with pytest.raises(ReferralError):
        Proposal.parse({"credentials": [], "enc": [], "entry": None}, code=ErrorCode.ACT_SCHEMA)


def next_enc(log: Log, now: int, **proposed: Any) -> set[str]:
    """The encryption keys of the next statement, by the names of their keys."""
    party = log.keymap.find_party("divtrata")
    assert party is not None
    proposal = Proposal.parse(
        {"credentials": [person("divtrata", "noa1").listed()], "enc": [], "entry": None} | proposed,
        code=ErrorCode.ACT_SCHEMA,
    )
    body = next_statement(party, proposal, log.keymap.find_key, now, owners=log.keymap.owners_of("divtrata"))
    return {one["kid"] for one in body["enc"]}


def test_a_workstation_that_was_off_stays_listed_by_its_last_key_for_a_year_after_that_has_ended() -> None:
    """Nobody seals to it any more; its own person can still renew it (R-32 d)."""
    log = two_stations()
    ended = NOW + 45 * DAY
    assert next_enc(log, ended - 1) == {enc_kid("luis"), enc_kid("rosa")}
    assert next_enc(log, ended) == {enc_kid("luis"), enc_kid("rosa")}
    assert log.keymap.usable_enc("divtrata", ended) == []
    assert next_enc(log, ended + 365 * DAY - 1) == {enc_kid("luis"), enc_kid("rosa")}
    assert next_enc(log, ended + 365 * DAY) == set()
    fresh = enc_listed("luis2") | {"from": ended, "until": ended + 45 * DAY}
    assert next_enc(log, ended, enc=[fresh]) == {enc_kid("rosa"), enc_kid("luis2")}, "only the newest of each"


def test_a_workstation_goes_with_the_person_who_keeps_it() -> None:
    log = two_stations()
    log.put(LUIS.sign(Act.REVOKE, {"kid": ROSA.access.kid, "reason": "lost", "at": NOW}))
    assert next_enc(log, NOW + 46 * DAY) == {enc_kid("luis")}
    log.put(LUIS.sign(Act.REVOKE, {"kid": enc_kid("luis"), "reason": "lost", "at": NOW}))
    assert next_enc(log, NOW + 46 * DAY) == set(), "nor comes a revoked key back"


def two_stations() -> Log:
    """Luis and Rosa keep one each."""
    log = Log()
    registrar = person("registro", "r001", keyholder=True)
    log.registrar(registrar)
    log.admit("police_unit", [LUIS, ROSA], registrar, [])
    log.put(enc_entry("divtrata", "luis", LUIS.seals), enc_entry("divtrata", "rosa", ROSA.seals))
    enc = [enc_listed("luis"), enc_listed("rosa", "st2")]
    log.put(LUIS.sign(Act.STATEMENT, log.next_body("divtrata", [LUIS, ROSA], enc=enc)))
    return log
