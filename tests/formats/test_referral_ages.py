"""What a birthdate says of an age (R-81, R-83; rule R8 of the field)."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Urgency
from referral_api.formats.referral_ages import ages_of
from referral_api.formats.referral_body import parse_referral
from referral_api.formats.referral_findings import Finding, consent_findings, faults_of, floor_of
from tests.formats.test_referral_findings import TODAY, act_for, adult


def born(birthdate: str, group: str = "adult", **members: Any) -> dict[str, Any]:
    """The adult of the tests, of this group and born so."""
    document = adult()
    document["victims"][0] |= {"age_group": group, "birthdate": birthdate} | members
    if group != "adult":
        document |= {"involves_minor": "yes"}
    return document


@pytest.mark.parametrize(
    ("birthdate", "youngest", "oldest"),
    [
        ("2008-11-23", 18, 18), ("2008-11-24", 17, 17), ("2008-11", 17, 18), ("2008-12", 17, 17), ("2008", 17, 18),
        ("2007", 18, 19), ("2008-02-29", 18, 18), ("2026-11-23", 0, 0), ("2031", 0, 0), ("1990", 35, 36),
    ],
)  # fmt: skip
def test_a_rough_birthdate_leaves_the_ages_that_she_may_be(birthdate: str, youngest: int, oldest: int) -> None:
    ages = ages_of(birthdate, TODAY)
    assert (ages[0], ages[-1]) == (youngest, oldest)


@given(st.dates(date(1900, 1, 1), date(2099, 12, 31)), st.integers(0, 40_000))
def test_what_is_rougher_leaves_whatever_the_exact_day_does(day: date, later: int) -> None:
    on = min(day + timedelta(days=later), date(2099, 12, 31))
    exact = ages_of(day.isoformat(), on)
    assert len(exact) == 1
    for rough in (day.isoformat()[:7], day.isoformat()[:4]):
        assert exact[0] in ages_of(rough, on)
        assert len(ages_of(rough, on)) <= 2


@pytest.mark.parametrize(
    ("birthdate", "group", "found"),
    [
        ("2012-05-01", "adult", True), ("2008", "adult", True), ("2008-11-24", "adult", True),
        ("2008-11-23", "adult", False), ("2007", "adult", False), ("1990", "child_12_17", True),
        ("2008", "child_12_17", False), ("2012-05-01", "child_0_11", True), ("2012-05-01", "unknown", False),
    ],
)  # fmt: skip
def test_a_birthdate_that_contradicts_the_age_group_is_found(birthdate: str, group: str, *, found: bool) -> None:
    body = parse_referral(born(birthdate, group))
    assert (Finding("/victims/0/birthdate", "age-differs") in consent_findings(body, on=TODAY)) is found


def test_who_may_be_a_child_by_her_birthdate_has_a_child_s_floor() -> None:
    """Rule R8 of the field: "adult", born in 2012, no minor involved, routine."""
    body = parse_referral(born("2012-05-01"))
    assert floor_of(body, TODAY) is Urgency.URGENT
    faults: list[ReferralError] = faults_of(body, act_for(body), on=TODAY)
    assert [fault.code for fault in faults] == [ErrorCode.FLOOR_NOT_MET, ErrorCode.CONSENT_GATE]
    assert faults[1].facts["findings"] == [("/victims/0/birthdate", "age-differs")]
    grown = parse_referral(born("1990"))
    assert (floor_of(grown, TODAY), faults_of(grown, act_for(grown), on=TODAY)) == (Urgency.ROUTINE, [])
