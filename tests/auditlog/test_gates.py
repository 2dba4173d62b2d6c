"""What an exchange must not let across a border, found by whoever verifies its log (R-85, R-95)."""

from __future__ import annotations

from typing import Any

import pytest

from referral_api.auditlog.gates import check_gates
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Act, CredentialKind
from referral_api.formats.act import build_act, parse_act
from tests.formats import parties_world as pw
from tests.formats import samples

REF = "01a2b3c4-0000-7000-8000-000000000001"
REGISTRAR = pw.person("registro", "reg1", keyholder=True)
OPERATOR = pw.person("linea", "op1a", keyholder=True)
AT_HOME = pw.person("pnp-piura", "of1a", keyholder=True)
ABROAD = pw.person("ec-guayas", "of2b", keyholder=True)
ELSEWHERE = pw.person("bo-la-paz", "of3c", keyholder=True)
PLACES = {AT_HOME.party: None, ABROAD.party: "EC", ELSEWHERE.party: "BO"}


@pytest.fixture(scope="module")
def log() -> pw.Log:
    made = pw.Log(registrars_required=1, environment="sandbox")
    made.registrar(REGISTRAR)
    made.admit("hotline", [OPERATOR], REGISTRAR)
    for unit in (AT_HOME, ABROAD, ELSEWHERE):
        country = PLACES[unit.party]
        made.admit("police_unit", [unit], REGISTRAR, **({} if country is None else {"country": country}))
    return made


def act(who: pw.Someone, kind: Act, body: dict[str, Any], unit: str | None = None, prev: str | None = None) -> Any:
    return parse_act(
        build_act(
            act_id="11111111-1111-4111-8111-111111111111", iss=who.id, aud=pw.ISSUER, iat=pw.NOW, act=kind, ref=REF,
            unit=unit, prev=prev, body=body, signers=who.seals,
        )
    )  # fmt: skip


def found(log: pw.Log, one: Any, sender: str | None) -> str | None:
    try:
        check_gates(one, CredentialKind.PERSON, pw.NOW, log.keymap, sender)
    except ReferralError as error:
        return str(error.facts["reason"]) if error.code is ErrorCode.TAMPERED else error.code.value
    return None


@pytest.mark.parametrize("role", ["action", "information", "escalation"])
@pytest.mark.parametrize("agreement", [None, "acuerdo-2026-1"])
@pytest.mark.parametrize("unit", list(PLACES))
def test_a_submit_that_crossed_without_agreement_is_found(
    log: pw.Log, role: str, agreement: str | None, unit: str
) -> None:
    other = AT_HOME.party if unit != AT_HOME.party else "pnp-lima"
    to = [{"unit": unit, "role": role}] + ([] if role == "action" else [{"unit": other, "role": "action"}])
    body = samples.submit() | {"to": to} | ({} if agreement is None else {"agreement": agreement})
    crossed = PLACES[unit] is not None and agreement is None
    assert found(log, act(OPERATOR, Act.SUBMIT, body), None) == ("target-not-allowed" if crossed else None)


@pytest.mark.parametrize("unit", list(PLACES))
def test_a_transfer_that_crossed_is_found(log: pw.Log, unit: str) -> None:
    body = {"to": unit, "reason": "victim_moved", "sealed": samples.SEALED}
    proposed = act(AT_HOME, Act.TRANSFER, body, AT_HOME.party, samples.kid(1))
    crossed = PLACES[unit] is not None
    assert found(log, proposed, OPERATOR.party) == ("target-not-allowed" if crossed else None)
