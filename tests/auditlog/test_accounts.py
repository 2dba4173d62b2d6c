"""What a hotline states of its calls: whose right it is, of which months, and what counts (R-103)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from referral_api.auditlog.accounts import calls_of, check_account, verify_account
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Act, CredentialKind, Role
from referral_api.formats.act import RawAct, build_act, parse_act
from referral_api.formats.keys import Alg, signing_key

PERSON, SERVICE = CredentialKind.PERSON, CredentialKind.SERVICE
AT = int(datetime(2026, 11, 30, tzinfo=UTC).timestamp())
KEY = signing_key(Alg.ED25519, b"\x07" * 32)


def told(month: str, calls: int, party: str = "linea-1818", **members: Any) -> RawAct:
    """A signed statement of a month's calls."""
    given: dict[str, Any] = {"ref": None, "unit": None, "prev": None} | members
    raw = build_act(
        act_id="5c5b2a5e-8a3c-4c3a-9f4e-111111111111", iss=f"{party}.aaaa", aud="https://x.example", iat=AT,
        act=Act.CALL_TOTAL, body={"month": month, "calls": calls}, signers=[KEY], **given,
    )  # fmt: skip
    return parse_act(raw)


def refusal(call: Any) -> tuple[ErrorCode, Any]:
    with pytest.raises(ReferralError) as caught:
        call()
    return caught.value.code, caught.value.facts.get("reason")


def test_a_hotline_s_person_tells_of_months_that_have_begun() -> None:
    for month in ("2026-11", "2026-10", "2019-01"):
        check_account(told(month, 512), Role.HOTLINE, PERSON, AT)
        verify_account(told(month, 512), Role.HOTLINE, PERSON, AT)


@pytest.mark.parametrize(
    ("role", "kind"), [(Role.HOTLINE, SERVICE), (Role.POLICE_UNIT, PERSON), (Role.AUDITOR, PERSON)]
)
def test_nobody_else_does_and_an_exchange_that_let_them_is_found_out(role: Role, kind: CredentialKind) -> None:
    act = told("2026-10", 512)
    assert refusal(lambda: check_account(act, role, kind, AT))[0] is ErrorCode.NOT_PERMITTED
    assert refusal(lambda: verify_account(act, role, kind, AT)) == (ErrorCode.TAMPERED, "not-permitted")


def test_a_month_that_has_not_begun_is_refused_and_an_exchange_that_took_it_is_found_out() -> None:
    act = told("2026-12", 512)
    assert refusal(lambda: check_account(act, Role.HOTLINE, PERSON, AT)) == (ErrorCode.ACT_SCHEMA, "out-of-range")
    assert refusal(lambda: verify_account(act, Role.HOTLINE, PERSON, AT)) == (ErrorCode.TAMPERED, "act-schema")


@pytest.mark.parametrize(
    "members", [{"unit": "pnp-trata-piura"}, {"prev": "A" * 43}, {"ref": "0199b0a4-0000-7000-8000-000000000001"}]
)
def test_it_is_about_no_referral_and_follows_nothing(members: dict[str, str]) -> None:
    assert refusal(lambda: told("2026-10", 512, **members)) == (ErrorCode.ACT_SCHEMA, "contradiction")


@pytest.mark.parametrize("month", ["2026-13", "2026-00", "26-10", "2026-1", "1999-12", "2026-10-01", "=1+1"])
def test_a_month_is_one_of_the_calendar(month: str) -> None:
    assert refusal(lambda: told(month, 1)) == (ErrorCode.ACT_SCHEMA, "bad-format")


def test_the_latest_word_of_each_hotline_counts_for_each_month() -> None:
    acts = [told("2026-10", 400), told("2026-10", 90, "linea-100"), told("2025-10", 7), told("2026-10", 510)]
    assert calls_of(2026, acts, 60) == {"months": 2, "total": 600, "per_referral": 10}
    assert calls_of(2026, acts, None) == {"months": 2, "total": 600, "per_referral": None}
    assert calls_of(2025, acts, 60) == {"months": 1, "total": None, "per_referral": None}, "below eleven it is blank"
    assert calls_of(2024, acts, 60) == {"months": 0, "total": None, "per_referral": None}
