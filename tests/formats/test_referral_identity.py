"""What of each person a referral may say, by what she said herself (R-83; rules R6 and R8 of the field)."""

from __future__ import annotations

from typing import Any

import pytest

from referral_api.formats.referral_body import parse_referral
from referral_api.formats.referral_findings import consent_findings
from tests.formats.test_referral_findings import EVERYTHING, OVERRIDE, TODAY, adult

PHONE = "+51999000222"
CONTACT = {"channel": "phone", "value": PHONE}
NAMED = {"names": {"first": "Otra"}, "alias": ["La Luz"], "phones": [PHONE], "safe_contact": CONTACT}
REFUSED = {"state": "refused", "scope": [], "basis": "legal_obligation", "identity_level": "anonymous"}


def pairs(document: dict[str, Any]) -> set[tuple[str, str]]:
    return {(one.where, one.reason) for one in consent_findings(parse_referral(document), on=TODAY)}


def at(place: str, reason: str, *names: str) -> set[tuple[str, str]]:
    return {(f"/{place}/{name}", reason) for name in names}


def caller(document: dict[str, Any], **members: Any) -> dict[str, Any]:
    """The victim is the reporter and nothing of her stands among the victims."""
    reporter = {"relationship": "victim", "anonymous": False, "phone": PHONE, "safe_contact": CONTACT}
    return document | {"victims": [{"ref": "V1", "age_group": "adult"}], "reporter": reporter | members}


# The victim as the reporter.


def test_who_refused_is_not_reached_by_the_number_that_she_called_from() -> None:
    """Rule R6 of the field: she said no, and called herself."""
    assert pairs(caller(adult(**REFUSED))) == at("reporter", "identity-level", "phone", "safe_contact")
    for level in ("pseudonymous", "identified"):
        document = caller(adult(**REFUSED | {"basis": "child_protection", "identity_level": level}))
        document["victims"].append({"ref": "V2", "age_group": "child_0_11"})
        document["involves_minor"] = "yes"
        assert pairs(document) == at("reporter", "refused", "phone", "safe_contact"), level


@pytest.mark.parametrize("subject", ["V1", "reporter"])
def test_who_did_not_agree_to_be_contacted_is_not_reached_as_the_reporter_either(subject: str) -> None:
    scope = ["share_with_police", "share_identity"]
    document = caller(adult(scope=scope, subject=subject), name="Inventada")
    assert pairs(document) == at("reporter", "scope-without-contact", "phone", "safe_contact")
    document["consent"]["scope"] = EVERYTHING
    assert pairs(document) == set()


def test_another_reporter_s_number_stands_under_no_consent_of_the_victim() -> None:
    document = caller(adult(**REFUSED), relationship="professional")
    assert pairs(document) == set()
    document["consent"]["subject"] = "reporter"
    assert pairs(document) == at("reporter", "identity-level") | {
        ("/reporter/phone", "refused"),
        ("/reporter/safe_contact", "refused"),
    }


@pytest.mark.parametrize("relationship", ["victim", "family", "anonymous_unknown"])
def test_an_anonymous_reporter_is_not_reached(relationship: str) -> None:
    document = adult()
    for block, found in (
        (CONTACT, True), ({"channel": "none"}, False), ({"channel": "in_person", "who_may_answer": "Rosa"}, True),
    ):  # fmt: skip
        document["reporter"] = {"relationship": relationship, "anonymous": True, "safe_contact": block}
        assert (("/reporter/safe_contact", "anonymous-reporter") in pairs(document)) is found


def test_a_child_who_calls_may_be_reached_where_she_is_protected() -> None:
    document = caller(adult(state="refused", basis="child_protection", scope=[]), name="Inventada")
    document["victims"] = [{"ref": "V1", "age_group": "child_12_17"}]
    assert pairs(document | {"involves_minor": "yes"}) == set()


# One person's word is not another's.


def beside(document: dict[str, Any], **members: Any) -> dict[str, Any]:
    """Another adult victim beside the one who was asked."""
    document["victims"].append({"ref": "V2", "age_group": "adult"} | NAMED | members)
    return document


def test_what_one_adult_agreed_to_identifies_no_other() -> None:
    """An adult who is not the consent's subject counts as one who could not be asked."""
    assert pairs(beside(adult())) == at("victims/1", "not-asked", "names", "alias", "phones", "safe_contact")
    plain = adult()
    plain["victims"].append({"ref": "V2", "age_group": "adult", "gender": "Feminine"})
    assert pairs(plain) == set()


@pytest.mark.parametrize("subject", ["reporter", "guardian"])
def test_an_adult_s_consent_is_her_own(subject: str) -> None:
    document = adult(subject=subject)
    document["reporter"] = {"relationship": "family", "anonymous": True}
    assert pairs(document) == at("victims/0", "not-asked", "names", "phones", "safe_contact")


def test_of_several_victims_a_caller_who_is_one_of_them_names_whom_the_consent_is_of() -> None:
    document = beside(adult(subject="reporter"))
    assert pairs(document) == {
        *at("victims/0", "not-asked", "names", "phones", "safe_contact"),
        *at("victims/1", "not-asked", "names", "alias", "phones", "safe_contact"),
    }
    assert pairs(adult(subject="reporter")) == set(), "the only victim can be nobody else"


def test_two_persons_of_the_hotline_may_name_whom_nobody_could_ask() -> None:
    document = adult(state="not_asked_unsafe", basis="vital_interest", scope=[], override=OVERRIDE)
    document |= {"urgency": "emergency", "urgency_reason": "life_threat", "phone_alert": {"made": False}}
    assert pairs(beside(document)) == set()


def test_a_tip_says_what_the_tipster_gave() -> None:
    document = adult(state="not_possible", basis="third_party_tip", scope=[])
    document["reporter"] = {"relationship": "family", "anonymous": True}
    assert pairs(beside(document)) == set()


@pytest.mark.parametrize("state", ["not_asked_unsafe", "not_possible", "not_required_child"])
def test_the_child_beside_her_does_not_name_an_adult(state: str) -> None:
    """Child protection is the basis of what is told of the child."""
    document = adult(state=state, basis="child_protection", scope=[], subject="V2")
    document["reporter"] = {"relationship": "family", "anonymous": True}
    document["victims"].append({"ref": "V2", "age_group": "child_12_17"} | NAMED)
    document |= {"involves_minor": "yes", "urgency": "urgent", "urgency_reason": "child_at_risk"}
    assert pairs(document) == at("victims/0", "not-asked", "names", "phones", "safe_contact")
    document["consent"]["subject"] = "V1"
    assert pairs(document) == at("victims/0", "not-asked", "names", "phones", "safe_contact")


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        (EVERYTHING, set()),
        (EVERYTHING[:2], at("victims/0", "scope-without-contact", "phones", "safe_contact")),
        ([EVERYTHING[0], EVERYTHING[2]], at("victims/0", "scope-without-identity", "names")),
        ([], at("victims/0", "scope-without-police", "names", "phones", "safe_contact")),
    ],
)
def test_an_adult_beside_a_child_is_told_of_as_far_as_her_scope_goes(
    scope: list[str], expected: set[tuple[str, str]]
) -> None:
    document = adult(basis="child_protection", scope=scope)
    document["reporter"] = {"relationship": "family", "anonymous": True}
    document["victims"].append({"ref": "V2", "age_group": "child_12_17"} | NAMED)
    document |= {"involves_minor": "yes", "urgency": "urgent", "urgency_reason": "child_at_risk"}
    assert pairs(document) == expected


# Anonymous.


def test_an_anonymous_referral_does_not_describe_who_refused() -> None:
    """Of her who said no: where, and who did it."""
    document = adult(**REFUSED)
    described = {
        "birthdate": "1990-05-01",
        "age": 36,
        "citizenship": ["PE"],
        "languages": ["shp"],
        "children_count": 3,
        "relationship_to_suspect": "Unaquainted",
        "disability_needs": ["unknown"],
        "safe_contact": {"channel": "none", "interpreter_lang": "shp"},
    }
    document["victims"] = [{"ref": "V1", "age_group": "adult", "gender": "Feminine"} | described]
    document["reporter"] = {"relationship": "family", "anonymous": True}
    told = set(described) - {"birthdate", "safe_contact"} | {"safe_contact/interpreter_lang"}
    birthdate = at("victims/0", "identity-level", "birthdate")
    assert pairs(document) == at("victims/0", "refused", *told) | birthdate
    document["consent"]["state"] = "not_possible"
    assert pairs(document) == birthdate


def test_an_anonymous_child_is_not_reached_through_her_guardian() -> None:
    guardian = {"relationship": "mother", "is_suspect": "no", "names": {"first": "Rosa"}, "phones": [PHONE]}
    document = adult(basis="child_protection", identity_level="anonymous", state="not_required_child", scope=[])
    contact = {"channel": "in_person"}
    document["victims"] = [{"ref": "V1", "age_group": "unknown", "guardian": guardian, "safe_contact": contact}]
    document["reporter"] = {"relationship": "family", "anonymous": True}
    document |= {"involves_minor": "unknown"}
    assert pairs(document) == at("victims/0", "identity-level", "guardian", "guardian/phones")
    document["consent"] |= {"basis": "consent", "state": "given", "identity_level": "identified", "subject": "guardian"}
    document["consent"]["scope"] = EVERYTHING[:2]
    assert pairs(document) == at("victims/0", "scope-without-contact", "guardian/phones")
