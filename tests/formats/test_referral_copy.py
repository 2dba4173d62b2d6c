"""Reduced bodies (R-86; rule R9 of the field): whatever names, reaches or describes somebody does not survive."""

from __future__ import annotations

import json
import typing
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import COPY_OF, Act, Basis, IdentityLevel, Urgency
from referral_api.formats.bodies import Submit, parse_body
from referral_api.formats.codelists import codes, list_names
from referral_api.formats.fields import Document
from referral_api.formats.referral_body import ReferralBody, parse_referral
from referral_api.formats.referral_copy import NO_WORDS, check_reduced, reduce_body
from referral_api.formats.referral_findings import check_referral, consent_findings, floor_of
from tests.auditlog.refusals import refused
from tests.formats.samples import copied
from tests.formats.test_referral_body import full, minimal
from tests.formats.test_referral_findings import OVERRIDE, TODAY, adult

KEPT = frozenset(
    {
        *("schema_version", "lang", "involves_minor", "hotline_contact", "do_not", "urgency", "urgency_reason"),
        *("situation", "locations", "victims", "consent", "reporter", "requested_action"),
    }
)
MARK = "ZQX"
"""Begins every invented word, so that one is found in whatever is left."""
WORDS = st.integers(0, 10**6).map(lambda number: f"{MARK}{number}")
NUMBERS = st.integers(10**9, 10**10 - 1).map(lambda number: f"+5177{number}")


@st.composite
def bodies(draw: st.DrawFn) -> dict[str, Any]:
    """A referral full of words, names, numbers and exact places, none of which may stand in a copy."""
    document = deepcopy(full())
    phone, other = draw(NUMBERS), draw(NUMBERS)
    document["situation"]["summary"] = draw(WORDS)
    document["sender_reference"] = draw(WORDS)
    for place in document["locations"]:
        place |= {"address_text": draw(WORDS), "reference_text": draw(WORDS), "ubigeo": "200199"}
    victim = document["victims"][0]
    victim |= {"names": {"first": draw(WORDS), "surname": draw(WORDS)}, "alias": [draw(WORDS)], "phones": [phone]}
    victim |= {"email": f"{draw(WORDS)}@zqx.example", "identity": [{"doc_type": "dni", "number": draw(WORDS)}]}
    victim["safe_contact"] = {
        "channel": "phone",
        "value": phone,
        "who_may_answer": draw(WORDS),
        "cover_story": draw(WORDS),
        "code_word": draw(WORDS),
    }
    victim["guardian"] = {
        "relationship": "mother",
        "is_suspect": "no",
        "names": {"first": draw(WORDS)},
        "phones": [other],
    }
    document["reporter"] = {
        "relationship": "family",
        "anonymous": False,
        "name": draw(WORDS),
        "phone": other,
        "safe_contact": {"channel": "phone", "value": other},
    }
    suspect = document["suspects"][0]
    suspect |= {"names": {"first": draw(WORDS)}, "alias": [draw(WORDS)], "description": draw(WORDS)}
    suspect |= {"vehicle": draw(WORDS), "accounts": [{"type": "social_network", "value": draw(WORDS)}]}
    document["organisations"][0] |= {"name": draw(WORDS), "address": draw(WORDS), "tax_id": draw(WORDS)}
    document["prior_reports"] = [{"system": "reta", "number": draw(WORDS), "unit": draw(WORDS)}]
    document["actions_taken"][0] |= {"org": draw(WORDS), "note": draw(WORDS)}
    document["phone_alert"] |= {"answered_by": draw(WORDS), "note": draw(WORDS), "numbers": [draw(NUMBERS)]}
    document["consent"] |= {"withheld_fields": [draw(WORDS)], "withheld_reason": "fear_of_harm"}
    document["attachments"] = [{"id": "a1", "type": "photo", "description": draw(WORDS)}]
    return document


@given(bodies(), st.none() | st.text("abcde ", min_size=1, max_size=40))
@settings(max_examples=60, deadline=None)
def test_no_word_name_number_or_exact_place_survives(document: dict[str, Any], summary: str | None) -> None:
    """Rule R9 of the field, as a property."""
    body = parse_referral(document)
    told = json.dumps(reduce_body(body, summary), ensure_ascii=False)
    assert MARK not in told.replace("zqx", MARK)
    assert "+5177" not in told
    assert "200199" not in told
    reduced = parse_referral(reduce_body(body, summary))
    assert reduced.situation.summary == (summary or NO_WORDS)
    assert reduce_body(reduced, reduced.situation.summary) == reduced.wire()
    check_reduced(reduced)


@pytest.mark.parametrize("document", [full(), minimal(), adult()], ids=["full", "minimal", "adult"])
def test_a_copy_keeps_the_kind_of_thing_the_ages_and_what_must_not_be_done(document: dict[str, Any]) -> None:
    body = parse_referral(document)
    reduced = parse_referral(reduce_body(body))
    assert set(reduced.wire()) <= KEPT
    assert reduced.situation.exploitation_types == body.situation.exploitation_types
    assert reduced.situation.control_methods == body.situation.control_methods
    assert [victim.age_group for victim in reduced.victims] == [victim.age_group for victim in body.victims]
    assert reduced.do_not == body.do_not
    assert (reduced.consent.state, reduced.consent.basis) == (body.consent.state, body.consent.basis)
    assert reduced.consent.identity_level is IdentityLevel.ANONYMOUS
    assert reduced.urgency is Urgency.ROUTINE
    assert reduced.requested_action == ("intelligence_only",)
    assert reduced.situation.official_involvement_alleged is None


def test_a_copy_shows_places_to_the_province_each_once_and_no_safe_place() -> None:
    document = full()
    document["locations"] = [
        {"type": "Exploitation", "ubigeo": "200101", "lat": "-5.1", "lon": "-80.6", "present_now": "yes"},
        {"type": "Exploitation", "ubigeo": "200104", "address_text": "Jirón 1", "present_now": "yes"},
        {"type": "Transit", "ubigeo": "200000"},
        {"type": "Recruitment", "country": "VE"},
        {"type": "safe_place", "ubigeo": "150101", "victim_asked": True},
    ]
    assert reduce_body(parse_referral(document))["locations"] == [
        {"type": "Exploitation", "ubigeo": "200100", "present_now": "yes"},
        {"type": "Transit", "ubigeo": "200000"},
        {"type": "Recruitment", "country": "VE"},
    ]
    document["locations"] = document["locations"][-1:]
    assert refused(ErrorCode.MALFORMED, reduce_body, parse_referral(document)) == "no-place-to-tell"


def act_of(body: ReferralBody) -> Submit:
    """The submit of a copy with this body."""
    said = {"urgency": body.urgency.value, "basis": body.consent.basis.value}
    parsed = parse_body(Act.SUBMIT, copied() | said | {"identity_level": body.consent.identity_level.value})
    assert isinstance(parsed, Submit)
    return parsed


def overridden() -> dict[str, Any]:
    document = adult(state="refused", basis="vital_interest", scope=[], override=OVERRIDE)
    return document | {"urgency": "emergency", "urgency_reason": "life_threat", "phone_alert": {"made": False}}


@pytest.mark.parametrize(
    "document", [full(), minimal(), adult(), overridden()], ids=["full", "minimal", "adult", "overridden"]
)
def test_a_copy_of_a_sound_referral_keeps_the_consent_table_without_override_or_floor(document: dict[str, Any]) -> None:
    """R-83, R-86: what two persons agreed to share with one unit is shared with no other in their name."""
    body = parse_referral(document)
    assert consent_findings(body, on=TODAY) == []
    reduced = parse_referral(reduce_body(body))
    assert reduced.consent.override is None
    assert floor_of(reduced, TODAY) is not Urgency.ROUTINE or reduced.involves_minor == "no"
    check_referral(reduced, act_of(reduced), on=TODAY)


def test_after_a_withdrawal_nothing_may_be_copied_either() -> None:
    """Rule R7 of the field: withdrawn, and no danger."""
    body = parse_referral(adult(state="withdrawn", basis=Basis.LEGAL_OBLIGATION.value, scope=[]))
    assert {finding.reason for finding in consent_findings(parse_referral(reduce_body(body)), on=TODAY)} == {
        "withdrawn"
    }


@pytest.mark.parametrize(
    ("where", "change"),
    [
        ("/urgency", {"urgency": "urgent", "urgency_reason": "child_at_risk"}),
        ("/situation", {"situation": full()["situation"]}),
        ("/locations", {"locations": full()["locations"]}),
        ("/victims", {"victims": full()["victims"]}),
        ("/consent", {"consent": full()["consent"]}),
        ("/reporter", {"reporter": {"relationship": "family", "anonymous": False, "name": "Inventada"}}),
        ("/suspects", {"suspects": full()["suspects"]}),
        ("/organisations", {"organisations": full()["organisations"]}),
        ("/actions_taken", {"actions_taken": full()["actions_taken"]}),
        ("/requested_action", {"requested_action": ["rescue"]}),
        ("/sender_reference", {"sender_reference": "LP-1"}),
    ],
)
def test_a_copy_that_says_more_is_found_by_sender_and_reader(where: str, change: dict[str, Any]) -> None:
    body = parse_referral(reduce_body(parse_referral(full())) | change)
    with pytest.raises(ReferralError) as caught:
        check_reduced(body)
    assert (caught.value.code, caught.value.facts["where"]) == (ErrorCode.CONSENT_GATE, where)
    assert caught.value.facts["findings"] == [(where, "not-reduced")]
    refused(ErrorCode.CONSENT_GATE, lambda: check_referral(body, act_of(body), on=TODAY))


# What no referral carries.


def members(model: type[Document], seen: set[type]) -> typing.Iterator[str]:
    seen.add(model)
    for name, field in model.model_fields.items():
        yield name
        for inner in inside(field.annotation):
            if inner not in seen:
                yield from members(inner, seen)


def inside(annotation: Any) -> typing.Iterator[type[Document]]:
    if isinstance(annotation, type) and issubclass(annotation, Document):
        yield annotation
    for one in typing.get_args(annotation):
        yield from inside(one)


SENSITIVE = (
    *("migration", "migratory", "visa", "residence", "asylum", "refugee", "deport", "irregular", "health", "illness"),
    *("disease", "diagnos", "hiv", "pregnan", "sexual_orientation", "orientation", "religio", "ethnic", "political"),
)


def test_no_member_and_no_code_can_carry_migration_status_health_or_sexuality() -> None:
    """Rule R9 of the field: off by default, for there is nowhere to put them. What somebody needs to get about or to be
    understood (`disability_needs`, `communication_aid`) is for whoever meets her.
    """
    names = set(members(ReferralBody, set()))
    assert {"summary", "disability_needs", "safe_contact", "who_may_answer"} <= names
    assert [name for name in sorted(names) if any(word in name for word in SENSITIVE)] == []
    victims_lists = [name for name in list_names() if "status" in name and not name.startswith("htcds_2_0/")]
    assert victims_lists == ["investigation_status"]
    found = [(name, code) for name in list_names() for code in codes(name) if any(w in code.lower() for w in SENSITIVE)]
    # Reasons of other moves, kinds of places, and what must not be done: none of them says so of a person.
    places = ("htcds_2_0/", "niem_venue")
    assert {one for one in found if not one[0].startswith(places)} == {("do_not", "no_migration_enforcement")}


def test_the_relation_of_a_copy_is_one_of_the_list() -> None:
    assert COPY_OF in codes("relation_type")
