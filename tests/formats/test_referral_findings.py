"""What is computed from a referral body: floors (R-81), consent (R-83), agreement with its act, completeness."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Act, Urgency
from referral_api.formats.bodies import Submit, parse_body
from referral_api.formats.codelists import codes
from referral_api.formats.referral_body import ReferralBody, parse_referral
from referral_api.formats.referral_findings import (
    Finding,
    check_referral,
    completeness,
    consent_findings,
    floor_of,
)
from tests.formats.samples import submit
from tests.formats.test_referral_body import full, minimal

TODAY = date(2026, 11, 23)
EVERYTHING = ["share_with_police", "share_identity", "be_contacted_by_police"]


def adult(**consent: Any) -> dict[str, Any]:
    """A named adult victim who called herself and can be reached; consent as told."""
    document = minimal()
    for member in ("urgency_reason", "phone_alert", "do_not"):
        del document[member]
    document |= {"urgency": "routine", "involves_minor": "no"}
    document["reporter"] = {"relationship": "victim", "anonymous": False, "name": "Inventada"}
    document["victims"] = [
        {
            "ref": "V1",
            "age_group": "adult",
            "names": {"first": "Inventada"},
            "phones": ["+51999000111"],
            "safe_contact": {"channel": "phone", "value": "+51999000111"},
        }
    ]
    document["consent"] = {
        "subject": "V1",
        "state": "given",
        "basis": "consent",
        "identity_level": "identified",
        "scope": EVERYTHING,
    } | consent
    return document


def act_for(body: ReferralBody, **changes: Any) -> Submit:
    override = body.consent.override
    document = submit() | {
        "urgency": body.urgency.value,
        "basis": body.consent.basis.value,
        "identity_level": body.consent.identity_level.value,
        "phone_alert": {"made": False},
    }
    if override is not None:
        document["override"] = {"reason": override.reason, "second_person": override.second_person}
    parsed = parse_body(Act.SUBMIT, document | changes)
    assert isinstance(parsed, Submit)
    return parsed


def findings(document: dict[str, Any]) -> list[Finding]:
    return consent_findings(parse_referral(document), on=TODAY)


OVERRIDE = {"by": "op-2", "reason": "imminent_danger", "second_person": "linea-peru.sup1"}


@pytest.mark.parametrize("document", [full(), minimal(), adult()], ids=["full", "minimal", "adult"])
def test_sound_referrals_pass_every_check_with_their_act(document: dict[str, Any]) -> None:
    body = parse_referral(document)
    assert consent_findings(body, on=TODAY) == []
    check_referral(body, act_for(body), on=TODAY)


@pytest.mark.parametrize(
    ("change", "least"),
    [
        ({}, Urgency.ROUTINE),
        ({"involves_minor": "unknown"}, Urgency.URGENT),
        ({"involves_minor": "not_disclosed"}, Urgency.URGENT),
        ({"involves_minor": "yes"}, Urgency.URGENT),
        ({"urgency_reason": "medical"}, Urgency.URGENT),
        ({"urgency_reason": "suicide_risk"}, Urgency.EMERGENCY),
        ({"urgency_reason": "held_captive_now"}, Urgency.EMERGENCY),
    ],
)
def test_the_floor_follows_from_age_and_danger(change: dict[str, Any], least: Urgency) -> None:
    """Rule R8 of the field: an unknown age is a child's."""
    assert floor_of(parse_referral(adult() | change), TODAY) is least


@pytest.mark.parametrize(
    ("involved", "described", "protected"),
    [
        ("yes", True, True), ("yes", False, True), ("unknown", False, True), ("not_disclosed", False, True),
        ("unknown", True, False), ("no", True, False), ("no", False, False),
    ],
)  # fmt: skip
def test_a_child_whom_nobody_has_described_yet_is_protected_as_one(
    involved: str, *, described: bool, protected: bool
) -> None:
    """Rule R8 of the field: an unknown age counts as a child's, for duties as for floors."""
    document = adult(basis="child_protection", identity_level="anonymous", state="not_possible", subject="reporter")
    document |= {"involves_minor": involved, "victims": [{"ref": "V1", "age_group": "adult"}] if described else []}
    document["reporter"] = {"relationship": "family", "anonymous": True}
    assert findings(document) == ([] if protected else [Finding("/consent", "no-child")])


def test_the_danger_of_one_victim_raises_the_floor_of_the_referral() -> None:
    document = adult()
    document["victims"].append({"ref": "V2", "age_group": "adult", "present_danger": ["held_captive_now"]})
    assert floor_of(parse_referral(document), TODAY) is Urgency.EMERGENCY


def test_a_referral_below_its_floor_is_refused_with_the_least_urgency() -> None:
    body = parse_referral(adult() | {"involves_minor": "unknown"})
    with pytest.raises(ReferralError) as caught:
        check_referral(body, act_for(body), on=TODAY)
    assert (caught.value.code, caught.value.facts) == (ErrorCode.FLOOR_NOT_MET, {"least": "urgent"})


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"urgency": "urgent"}, "/urgency"),
        ({"basis": "legal_obligation"}, "/basis"),
        ({"identity_level": "pseudonymous"}, "/identity_level"),
        ({"override": {"reason": "suicide_risk", "second_person": "linea-peru.sup1"}}, "/override"),
    ],
)
def test_an_act_that_says_something_else_than_its_body_is_refused(change: dict[str, Any], where: str) -> None:
    body = parse_referral(adult())
    with pytest.raises(ReferralError) as caught:
        check_referral(body, act_for(body, **change), on=TODAY)
    assert caught.value.code is ErrorCode.ACT_SCHEMA
    assert caught.value.facts == {"act": "submit", "where": where, "reason": "differs-from-body"}


def test_consent_covers_what_its_scope_says_and_no_more() -> None:
    assert findings(adult(scope=["share_with_police", "share_identity"])) == [
        Finding("/victims/0/phones", "scope-without-contact"),
        Finding("/victims/0/safe_contact", "scope-without-contact"),
    ]
    assert Finding("/consent", "scope-without-identity") in findings(adult(scope=["share_with_police"]))


def test_an_anonymous_referral_names_and_reaches_nobody() -> None:
    found = findings(adult(basis="legal_obligation", state="not_possible", identity_level="anonymous"))
    assert found == [
        Finding("/victims/0/names", "identity-level"),
        Finding("/victims/0/phones", "identity-level"),
        Finding("/victims/0/safe_contact", "identity-level"),
        Finding("/reporter/name", "identity-level"),
    ]


def test_a_pseudonymous_referral_may_use_an_alias_and_no_name() -> None:
    document = adult(identity_level="pseudonymous")
    document["victims"][0]["alias"] = ["La Flor"]
    del document["reporter"]["name"]
    assert findings(document) == [Finding("/victims/0/names", "identity-level")]
    del document["victims"][0]["names"]
    assert findings(document) == []


def test_a_refusing_adult_in_danger_is_named_only_with_an_override() -> None:
    document = adult(state="refused", basis="vital_interest", scope=[], override=OVERRIDE)
    document |= {"urgency": "emergency", "urgency_reason": "life_threat", "phone_alert": {"made": False}}
    body = parse_referral(document)
    check_referral(body, act_for(body), on=TODAY)
    del document["consent"]["override"]
    body = parse_referral(document)
    with pytest.raises(ReferralError) as caught:
        check_referral(body, act_for(body), on=TODAY)
    assert caught.value.code is ErrorCode.CONSENT_GATE
    assert caught.value.facts["reason"] == "override-missing"


def test_a_refusing_adult_beside_a_child_is_not_named_with_it() -> None:
    document = adult(state="refused", basis="child_protection", scope=[])
    document |= {"urgency": "urgent", "urgency_reason": "child_at_risk", "involves_minor": "yes"}
    document["victims"].append({"ref": "V2", "age_group": "child_0_11", "names": {"first": "Inventado"}})
    assert {(found.where, found.reason) for found in findings(document)} == {
        ("/victims/0/names", "refused"),
        ("/victims/0/phones", "refused"),
        ("/victims/0/safe_contact", "refused"),
        ("/reporter/name", "refused"),
    }


def test_a_guardian_who_is_a_suspect_cannot_consent() -> None:
    """Rule R8 of the field."""
    document = full()
    document["consent"]["subject"] = "guardian"
    assert findings(document) == [Finding("/consent/subject", "suspect-guardian")]


def test_findings_hold_places_and_slugs_and_no_values() -> None:
    body = parse_referral(adult(state="refused", scope=[]))
    with pytest.raises(ReferralError) as caught:
        check_referral(body, act_for(body), on=TODAY)
    assert caught.value.facts["findings"][0] == ("/consent", "not-given")
    assert "Inventada" not in repr(caught.value.facts)
    assert "+51999000111" not in repr(caught.value.facts)


def test_completeness_runs_from_30_for_the_least_to_100_for_the_worked_example() -> None:
    least = minimal()
    for member in ("urgency_reason", "phone_alert", "victims", "do_not"):
        del least[member]
    least |= {"urgency": "routine", "involves_minor": "no", "locations": [{"type": "Transit", "ubigeo": "200000"}]}
    least["consent"] |= {"subject": "reporter"}
    del least["situation"]["control_methods"]
    del least["reporter"]["recontact_ok"]
    poor = completeness(parse_referral(least))
    assert (poor.score, poor.missing[0]) == (30, "locations/address_text")
    assert completeness(parse_referral(full())).score == 100
    assert completeness(parse_referral(full())).missing == ()
    assert 30 < completeness(parse_referral(minimal())).score < 100


def test_every_reason_for_urgency_is_a_danger_or_known_not_to_be_one() -> None:
    harmless = {"evidence_perishing", "other"}
    for reason in codes("urgency_reason"):
        said = {"basis": "vital_interest", "identity_level": "pseudonymous", "state": "not_possible"}
        document = adult(scope=[], override=OVERRIDE, **said)
        del document["victims"][0]["names"], document["reporter"]["name"]
        document |= {"urgency": "emergency", "phone_alert": {"made": False}, "urgency_reason": reason}
        document |= {"urgency_note": "inventado"}
        expected = [Finding("/consent", "no-danger")] if reason in harmless else []
        assert findings(document) == expected, reason
