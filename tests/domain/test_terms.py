"""Names of terms: one spelling each, in the order of their texts."""

from __future__ import annotations

from typing import Any

import pytest

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.terms import Term, is_audit

TERMS = [Term(1000), Term(2026), Term(2026, 2), Term(2026, 9), Term(2027), Term(7999, 9)]


def test_a_term_reads_back_from_every_form_of_its_name() -> None:
    for term in TERMS:
        assert Term.parse(str(term)) == term
        assert Term.of_log(term.log) == term
        assert Term.of_members(term.members()) == term
        assert is_audit(term.log)
    assert [str(term) for term in TERMS] == ["1000", "2026", "2026.2", "2026.9", "2027", "7999.9"]
    assert (Term(2026).members(), Term(2026, 2).members()) == ({"year": 2026}, {"year": 2026, "term": 2})


def test_terms_names_and_logs_have_one_order() -> None:
    assert sorted(TERMS) == TERMS
    assert sorted(str(term) for term in TERMS) == [str(term) for term in TERMS]
    assert sorted(term.log for term in TERMS) == [term.log for term in TERMS]


@pytest.mark.parametrize(
    "text",
    [
        *("", "2026.", "2026.0", "2026.1", "2026.10", "2026.02", "2026.2.2", ".2", "026", "0999", "8000", "20266"),
        *(
            "2026 ",
            " 2026",
            "2026\n",
            "\uff12\uff10\uff12\uff16",
            "2026.\u00b2",
            "2026/2",
            "2026-2",
            "-2026",
            "+2026",
            "2026.x",
            "keys",
        ),
    ],
)
def test_no_other_text_names_a_term(text: str) -> None:
    for read in (Term.parse, lambda one: Term.of_log(f"audit/{one}")):
        with pytest.raises(ReferralError) as caught:
            read(text)
        assert (caught.value.code, caught.value.facts["reason"]) == (ErrorCode.MALFORMED, "log-name")


@pytest.mark.parametrize("log", ["keys", "2026", "audit", "audit2026", "Audit/2026", "/audit/2026", "audit//2026"])
def test_no_other_log_is_an_audit_log(log: str) -> None:
    with pytest.raises(ReferralError):
        Term.of_log(log)


@pytest.mark.parametrize(
    "told",
    [
        {}, {"year": "2026"}, {"year": True}, {"year": 2026.0}, {"year": 999}, {"year": 8000}, {"term": 2},
        {"year": 2026, "term": 1}, {"year": 2026, "term": 10}, {"year": 2026, "term": "2"},
        {"year": 2026, "term": None}, {"year": 2026, "term": True},
    ],
)  # fmt: skip
def test_no_other_members_name_a_term(told: dict[str, Any]) -> None:
    with pytest.raises(ReferralError) as caught:
        Term.of_members(told)
    assert caught.value.facts["reason"] == "members"


@pytest.mark.parametrize(
    ("year", "number"), [(999, 1), (8000, 1), (0, 1), (-2026, 1), (2026, 0), (2026, 10), (2026, -1)]
)
def test_there_is_no_other_term(year: int, number: int) -> None:
    with pytest.raises(ValueError, match="no such term"):
        Term(year, number)


def test_a_term_knows_its_neighbours_within_the_year() -> None:
    assert Term(2026).before is None
    assert Term(2026, 2).before == Term(2026)
    assert Term(2026).following == Term(2026, 2)
    assert Term(2026, 9).following is None
