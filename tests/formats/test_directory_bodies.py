"""Directory acts: a statement for a large unit fits, says nothing twice, and cannot contradict itself."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Act
from referral_api.formats.bodies import parse_body
from referral_api.formats.directory_bodies import MAX_STATEMENT_BYTES, Statement
from referral_api.formats.strict_json import canonical
from tests.formats.samples import D1, NOON, SAMPLES, entry, genesis, kid, statement

YEAR = 31_536_000


def reason(act: Act, body: Any) -> tuple[str, str]:
    with pytest.raises(ReferralError) as caught:
        parse_body(act, body)
    assert caught.value.code is ErrorCode.ACT_SCHEMA
    return caught.value.facts["where"], caught.value.facts["reason"]


def large_statement() -> dict[str, Any]:
    """60 persons, two of them keyholders, 9 workstations with a service and an encryption key each, one backup key."""
    persons = [
        {
            "id": f"p{number:07d}",
            "kind": "person",
            "access": kid(3 * number),
            "seal": [kid(3 * number + 1), kid(3 * number + 2)],
            "until": NOON + YEAR,
        }
        | ({"keyholder": True} if number < 2 else {})
        for number in range(60)
    ]
    services = [
        {"id": f"w{number:07d}", "kind": "service", "access": kid(300 + number), "seal": [], "until": NOON + YEAR}
        for number in range(9)
    ]
    keys = [
        {"kid": kid(400 + number), "use": "enc" if number else "backup", "from": NOON, "until": NOON + 2_592_000}
        | ({"station": f"st{number}"} if number else {})
        for number in range(10)
    ]
    return {
        "seq": 4711,
        "prev_statement": D1,
        "entry": entry(),
        "credentials": persons + services,
        "enc": keys,
    }


def test_sixty_persons_and_nine_workstations_fit_into_one_statement() -> None:
    payload = {
        "v": 1,
        "id": "00000000-0000-4000-8000-000000000000",
        "iss": "pnp-trata-piura.p0000000",
        "party": "pnp-trata-piura",
        "aud": "https://derivaciones.mininter.example",
        "iat": NOON,
        "act": "statement",
        "ref": None,
        "unit": None,
        "prev": D1,
        "body": large_statement(),
    }
    parsed = parse_body(Act.STATEMENT, payload["body"])
    assert isinstance(parsed, Statement)
    assert len(list(parsed.kids())) == 60 * 3 + 9 + 10
    assert len(canonical(payload)) <= MAX_STATEMENT_BYTES


def test_a_credentials_full_id_is_made_of_the_party_and_its_own() -> None:
    parsed = parse_body(Act.STATEMENT, statement())
    assert isinstance(parsed, Statement)
    assert parsed.credential_id(parsed.credentials[0]) == "pnp-trata-piura.ab12"


def _changed_credential(**members: Any) -> dict[str, Any]:
    document = statement()
    document["credentials"][0] |= members
    return document


def _changed_key(**members: Any) -> dict[str, Any]:
    document = statement()
    document["enc"][0] |= members
    return document


def _without_require() -> dict[str, Any]:
    document = _changed_credential(seal=[kid(2)])
    del document["credentials"][0]["require"]
    return document


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (statement() | {"seq": 2}, ("", "chain-broken")),
        (statement() | {"prev_statement": D1}, ("", "chain-broken")),
        (statement() | {"seq": 0, "prev_statement": None}, ("/seq", "out-of-range")),
        (_changed_credential(access=kid(2)), ("", "repeated-entry")),
        (_changed_credential(access=kid(5)), ("", "repeated-entry")),
        (_changed_credential(seal=[kid(2), kid(2)]), ("/credentials/0/seal", "repeated-entry")),
        (_changed_credential(seal=[kid(7), kid(8), kid(9)]), ("/credentials/0/seal", "too-long")),
        (_changed_credential(seal=[], require=["Ed25519"]), ("/credentials/0", "person-without-seal")),
        (_changed_credential(seal=[kid(2)]), ("/credentials/0", "requires-more-than-listed")),
        (_changed_credential(kind="service"), ("/credentials/0", "keyholder-not-a-person")),
        (_changed_credential(keyholder=False), ("/credentials/0/keyholder", "out-of-range")),
        (_changed_credential(require=["EdDSA"]), ("/credentials/0/require/0", "not-in-list")),
        (_changed_credential(id="svc1"), ("", "repeated-entry")),
        (_changed_credential(id="ANA1"), ("/credentials/0/id", "bad-format")),
        (_changed_credential(until=NOON), ("/credentials/0", "ends-before-it-begins")),
        (_changed_key(until=NOON), ("/enc/0", "ends-before-it-begins")),
        (_changed_key(use="seal"), ("/enc/0/use", "not-in-list")),
        (statement() | {"entry": entry() | {"parent": "pnp-trata-piura"}}, ("/entry", "refers-to-itself")),
        (statement() | {"entry": entry() | {"escalation": ["pnp-trata-piura"]}}, ("/entry", "refers-to-itself")),
        (statement() | {"entry": entry() | {"name": "x" * 81}}, ("/entry/name", "too-long")),
        (statement() | {"entry": entry() | {"name": "Uni\ndad"}}, ("/entry/name", "bad-format")),
        (statement() | {"entry": entry() | {"area": ["200"]}}, ("/entry/area/0", "bad-format")),
        (statement() | {"entry": entry() | {"duty_phone": "073-199"}}, ("/entry/duty_phone", "bad-format")),
        (statement() | {"entry": entry() | {"specialities": ["all"]}}, ("/entry/specialities/0", "not-in-list")),
        (statement() | {"entry": entry() | {"country": "ecu"}}, ("/entry/country", "bad-format")),
        (statement() | {"entry": entry() | {"country": None}}, ("/entry/country", "wrong-type")),
    ],
)
def test_a_statement_is_refused_for(document: dict[str, Any], expected: tuple[str, str]) -> None:
    assert reason(Act.STATEMENT, document) == expected


def test_what_is_usual_in_a_credential_may_be_left_out() -> None:
    parsed = parse_body(Act.STATEMENT, _without_require())
    assert isinstance(parsed, Statement)
    assert parsed.credentials[0].require is None
    assert parsed.credentials[1].keyholder is None
    assert parsed.credentials[1].from_at is None


def test_a_statement_holds_128_credentials_and_24_encryption_keys_and_no_more() -> None:
    document = statement()
    service = document["credentials"][1]
    many = [service | {"id": f"s{number:03d}", "access": kid(100 + number)} for number in range(129)]
    parse_body(Act.STATEMENT, document | {"credentials": many[:128]})
    assert reason(Act.STATEMENT, document | {"credentials": many}) == ("/credentials", "too-long")
    keys = [document["enc"][0] | {"kid": kid(500 + number)} for number in range(25)]
    parse_body(Act.STATEMENT, document | {"enc": keys[:24]})
    assert reason(Act.STATEMENT, document | {"enc": keys}) == ("/enc", "too-long")


def _genesis(change: dict[str, Any]) -> dict[str, Any]:
    return genesis() | change


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (_genesis({"issuer": "http://exchange.example"}), ("/issuer", "bad-format")),
        (_genesis({"issuer": "https://Exchange.example"}), ("/issuer", "bad-format")),
        (_genesis({"issuer": "https://exchange.example/?x"}), ("/issuer", "bad-format")),
        (_genesis({"keys": genesis()["keys"][:3]}), ("/keys", "too-short")),
        (_genesis({"keys": [*genesis()["keys"][:3], genesis()["keys"][2] | {"kid": kid(9)}]}), ("", "every-use")),
        (_genesis({"keys": [*genesis()["keys"][:3], genesis()["keys"][3] | {"kid": kid(0)}]}), ("", "repeated-entry")),
        (_genesis({"registrars_required": 1}), ("", "two-registrars")),
        (_genesis({"registrars_required": 3}), ("/registrars_required", "out-of-range")),
        (_genesis({"environment": "test"}), ("/environment", "not-in-list")),
    ],
)
def test_a_genesis_is_refused_for(document: dict[str, Any], expected: tuple[str, str]) -> None:
    assert reason(Act.GENESIS, document) == expected


def test_one_registrar_is_enough_in_a_sandbox() -> None:
    document = genesis() | {"environment": "sandbox", "registrars_required": 1}
    assert parse_body(Act.GENESIS, document).wire() == document


def test_a_private_key_in_a_genesis_is_refused() -> None:
    document = deepcopy(genesis())
    document["keys"][0]["jwk"] = document["keys"][0]["jwk"] | {"d": D1}
    assert reason(Act.GENESIS, document) == ("/keys/0/jwk", "unknown-member")
    document["keys"][0]["jwk"] = {"alg": "Ed25519", "crv": "Ed25519", "kty": "OKP", "x": D1 + "A"}
    assert reason(Act.GENESIS, document) == ("/keys/0/jwk/x", "bad-format")
    document["keys"][0]["jwk"] = {"alg": "RS256", "kty": "RSA"}
    assert reason(Act.GENESIS, document) == ("/keys/0/jwk", "not-in-list")


def test_a_quorum_larger_than_its_witnesses_is_refused() -> None:
    document = deepcopy(SAMPLES[Act.GENESIS][1])
    document["witness_policy"]["quorum"] = 2
    assert reason(Act.GENESIS, document) == ("/witness_policy", "quorum-too-large")
    document["witness_policy"] = "some"
    assert reason(Act.GENESIS, document) == ("/witness_policy", "not-in-list")
