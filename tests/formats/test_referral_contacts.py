"""How the people of a referral may be reached now (R-87; rules R8 and R11 of the field)."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from referral_api.domain.errors import ErrorCode
from referral_api.formats.codelists import codes
from referral_api.formats.referral_body import ReferralBody, parse_referral
from referral_api.formats.referral_contacts import (
    CONTACT_TERM,
    Reach,
    contact_faults,
    contact_valid_until,
    hidden_in,
    reaches,
    without,
)
from referral_api.formats.referral_findings import check_spare, consent_findings
from referral_api.formats.referral_people import SafeContact
from tests.auditlog.refusals import refused
from tests.formats.samples import NOON
from tests.formats.test_referral_body import full
from tests.formats.test_referral_findings import TODAY, adult

WRITTEN = datetime.fromtimestamp(NOON, UTC)
PHONE, OTHER = "+51999000111", "+51999000222"
SECOND = timedelta(seconds=1)


def child(contact: dict[str, Any], suspect: str = "no", **members: Any) -> ReferralBody:
    """The example, whose first victim is reached so and whose guardian is or is not a suspect."""
    document = full()
    victim = document["victims"][0] | {"safe_contact": contact} | members
    victim["guardian"] = {"relationship": "mother", "is_suspect": suspect, "names": {"first": "Rosa", "surname": "Paz"}}
    document["victims"][0] = victim
    return parse_referral(document)


def first(body: ReferralBody, now: datetime) -> Reach:
    return reaches(body, WRITTEN, now)[0]


def test_a_safe_contact_is_good_for_seven_days_unless_it_says_less() -> None:
    """Rule R11 of the field; R-87."""
    plain = {"channel": "phone", "value": PHONE}
    stated = plain | {"valid_until": "2026-11-24T00:00:00-05:00"}
    verified = plain | {"last_verified_at": "2026-11-17T00:00:00-05:00"}
    ahead = plain | {"last_verified_at": "2099-01-01T00:00:00-05:00"}
    for_ever = {"valid_until": "2040-01-01T00:00:00-05:00"}
    long_ago = {"last_verified_at": "2020-01-01T00:00:00-05:00"}

    def until(document: dict[str, Any]) -> datetime:
        return contact_valid_until(SafeContact.parse(document, code=ErrorCode.MALFORMED), WRITTEN)

    assert until(plain) == WRITTEN + timedelta(days=7)
    assert until(stated) == datetime(2026, 11, 24, 5, tzinfo=UTC)
    assert until(verified) == datetime(2026, 11, 24, 5, tzinfo=UTC)
    assert until(ahead) == WRITTEN + timedelta(days=7), "nobody has verified it after it was written"
    assert until(plain | for_ever) == WRITTEN + timedelta(days=7), "nothing is good for longer than the term"
    assert until(plain | for_ever | long_ago) == datetime(2020, 1, 8, 5, tzinfo=UTC)


@pytest.mark.parametrize("channel", sorted(set(codes("safe_channel")) - {"none"}))
def test_at_the_second_at_which_it_expires_a_number_is_hidden(channel: str) -> None:
    """Rule R11 of the field."""
    body = child({"channel": channel, "value": PHONE}, phones=[OTHER], email="v@example.org")
    good, old = first(body, WRITTEN + CONTACT_TERM - SECOND), first(body, WRITTEN + CONTACT_TERM)
    assert (good.why, old.why) == (None, "expired")
    assert hidden_in(body, [good]) == {}
    place = "/victims/0"
    assert hidden_in(body, [old]) == dict.fromkeys(
        (f"{place}/phones", f"{place}/email", f"{place}/safe_contact/value"), "expired"
    )


def test_only_through_the_hotline_does_not_grow_old() -> None:
    reach = first(child({"channel": "none"}), WRITTEN + timedelta(days=400))
    assert (reach.why, reach.valid_until) == (None, None)
    withheld = first(child({"channel": "none"}, phones=[PHONE]), WRITTEN + timedelta(days=400))
    assert withheld.why == "line", "a number stands beside it all the same"


@pytest.mark.parametrize(
    ("contact", "beside", "place"),
    [
        ({"channel": "none"}, {"phones": [PHONE]}, "phones"),
        ({"channel": "none"}, {"email": "v@example.org"}, "email"),
        ({"channel": "none", "cover_story": "llame al 999 000 111"}, {}, "safe_contact/cover_story"),
    ],
)
def test_no_number_stands_beside_the_word_that_only_the_hotline_reaches_her(
    contact: dict[str, Any], beside: dict[str, Any], place: str
) -> None:
    """The sender is refused it, the reader does not see it: on the first day as on any other."""
    body = child(contact, **beside)
    assert (f"/victims/0/{place}", "only-by-hotline") in contact_faults(body)
    assert (f"/victims/0/{place}", "only-by-hotline") in [
        (one.where, one.reason) for one in consent_findings(body, on=TODAY)
    ]
    assert hidden_in(body, [first(body, WRITTEN)]) == {f"/victims/0/{place}": "line"}


def guarded(contact: dict[str, Any] | None, is_suspect: str = "unknown", phone: str = PHONE) -> ReferralBody:
    """The example, whose first victim has a guardian with a telephone."""
    document = full()
    victim = {name: value for name, value in document["victims"][0].items() if name != "safe_contact"}
    victim |= {} if contact is None else {"safe_contact": contact}
    victim["guardian"] = {"relationship": "mother", "is_suspect": is_suspect, "phones": [phone]}
    document["victims"][0] = victim
    return parse_referral(document)


def test_a_guardian_who_answers_at_a_suspect_s_number_is_no_contact() -> None:
    """Rule R8 of the field: whatever is known of him, the number is S1's."""
    through = {"channel": "via_third_party", "third_party": {"who": "guardian", "is_suspect": "no"}}
    for contact, more in (({"channel": "in_person"}, []), (through, ["/victims/0/safe_contact"])):
        body = guarded(contact, phone="+51900000000")
        places = ["/victims/0/guardian/phones", *more]
        assert list(contact_faults(body)) == [(place, "suspect-contact") for place in places]
        assert first(body, WRITTEN).why == "suspect"
        assert hidden_in(body, [first(body, WRITTEN)]) == {"/victims/0/guardian/phones": "suspect"}


def test_a_guardian_s_number_grows_old_like_the_child_s() -> None:
    """Rule R11 of the field."""
    body = guarded({"channel": "phone", "value": OTHER})
    assert list(contact_faults(body)) == []
    assert hidden_in(body, [first(body, WRITTEN)]) == {}
    assert hidden_in(body, [first(body, WRITTEN + CONTACT_TERM)]) == dict.fromkeys(
        ("/victims/0/guardian/phones", "/victims/0/safe_contact/value"), "expired"
    )


@pytest.mark.parametrize("contact", [None, {"channel": "none"}])
def test_a_guardian_s_number_takes_a_safe_contact_of_the_child(contact: dict[str, Any] | None) -> None:
    body = guarded(contact)
    assert list(contact_faults(body)) == [("/victims/0/guardian/phones", "only-by-hotline")]
    assert hidden_in(body, [first(body, WRITTEN)]) == {"/victims/0/guardian/phones": "line"}


def test_the_reporter_s_number_grows_old_too() -> None:
    document = full()
    document["reporter"] = {
        "relationship": "family",
        "anonymous": False,
        "phone": PHONE,
        "name": "Inventada",
        "safe_contact": {"channel": "phone", "value": PHONE},
    }
    body = parse_referral(document)
    found = reaches(body, WRITTEN, WRITTEN + CONTACT_TERM)
    assert [one.who for one in found] == ["V1", "V2", "reporter"]
    assert sorted(hidden_in(body, found)) == ["/reporter/phone", "/reporter/safe_contact/value"]


@given(st.integers(-30, 30), st.sampled_from(["{}", "Llame al {} de noche", "({})", "dígale que es de la tienda {}"]))
def test_a_hidden_number_stands_in_no_member_that_is_left(days: int, words: str) -> None:
    """Rule R11 of the field, as a property: neither in the block nor in its words nor beside it."""
    spoken = words.format("999 000 111")
    block = {"channel": "phone", "value": PHONE, "who_may_answer": spoken, "cover_story": spoken, "code_word": spoken}
    body = child(block, phones=[PHONE])
    now = WRITTEN + timedelta(days=days)
    hidden = hidden_in(body, reaches(body, WRITTEN, now))
    told = json.dumps(without(body.wire(), hidden)["victims"]).replace(" ", "")
    assert ("999000111" in told) is (now < WRITTEN + CONTACT_TERM)


def test_what_is_left_out_is_left_out_and_nothing_else() -> None:
    document = {"a": [{"b": 1, "c": 2}, {"b": 3}], "b": 4}
    assert without(document, ["/a/0/b", "/nowhere"]) == {"a": [{"c": 2}, {"b": 3}], "b": 4}
    assert without(document, []) == document


# Rule R8 of the field: who is a suspect is never a way.


@pytest.mark.parametrize(
    ("guardian", "who", "is_suspect", "channel"),
    list(
        product(
            ("yes", "no", "unknown"),
            (None, *codes("contact_person")),
            ("yes", "no", "unknown"),
            ("phone", "via_third_party"),
        )
    ),
)
def test_no_contact_leads_through_a_suspect(guardian: str, who: str | None, is_suspect: str, channel: str) -> None:
    block: dict[str, Any] = {"channel": channel} | ({"value": PHONE} if channel == "phone" else {})
    if who is not None:
        block["third_party"] = {"who": who, "is_suspect": is_suspect}
    body = child(block, guardian)
    expected = []
    if (who is not None and is_suspect == "yes") or (guardian == "yes" and who == "guardian"):
        expected = [("/victims/0/safe_contact", "suspect-contact")]
    elif guardian == "yes" and who is None and channel == "via_third_party":
        expected = [("/victims/0/safe_contact", "third-party-unnamed")]
    assert list(contact_faults(body)) == expected
    assert [(one.where, one.reason) for one in consent_findings(body, on=TODAY)] == expected
    why = first(body, WRITTEN).why
    assert why == ("suspect" if expected and expected[0][1] == "suspect-contact" else None)


@pytest.mark.parametrize("spelt", ["+51900000000", "+51 900 000 000", "+51-900-000-000"])
def test_a_suspect_s_own_number_is_nobody_s_safe_contact(spelt: str) -> None:
    body = child({"channel": "phone", "value": spelt})
    assert list(contact_faults(body)) == [("/victims/0/safe_contact", "suspect-contact")]
    assert hidden_in(body, [first(body, WRITTEN)]) == {"/victims/0/safe_contact/value": "suspect"}


def test_a_suspect_s_number_is_no_number_of_a_victim_or_reporter() -> None:
    document = full()
    document["victims"][0] |= {"phones": ["+51900000000"], "safe_contact": {"channel": "phone", "value": PHONE}}
    document["reporter"] = {
        "relationship": "family",
        "anonymous": False,
        "phone": "+51900000000",
        "safe_contact": {"channel": "none"},
    }
    body = parse_referral(document)
    assert list(contact_faults(body)) == [
        ("/victims/0/phones", "suspect-contact"),
        ("/reporter/phone", "suspect-contact"),
        ("/reporter/phone", "only-by-hotline"),
    ]
    assert {one.why for one in reaches(body, WRITTEN, WRITTEN) if one.who in ("V1", "reporter")} == {"suspect"}


@pytest.mark.parametrize(
    ("words", "found"),
    [("Contesta Rosa Paz", True), ("contesta ROSA, la señora paz", True), ("La Tía", True), ("Rosa, su amiga", False)],
)
def test_a_suspect_named_among_those_who_may_answer_is_found(words: str, *, found: bool) -> None:
    body = child({"channel": "phone", "value": PHONE, "who_may_answer": words}, "yes")
    assert bool(list(contact_faults(body))) is found


def test_a_suspect_guardian_has_no_number_and_agrees_to_nothing() -> None:
    document = full()
    document["victims"][0]["guardian"]["phones"] = [PHONE]
    assert refused(ErrorCode.MALFORMED, parse_referral, document) == "suspect-guardian-contact"
    del document["victims"][0]["guardian"]["phones"]
    document["consent"]["subject"] = "guardian"
    assert "suspect-guardian" in [one.reason for one in consent_findings(parse_referral(document), on=TODAY)]


def test_a_routine_referral_carries_no_attachments() -> None:
    """Rule R9 of the field."""
    noted = [{"id": "a1", "type": "photo"}]
    routine = parse_referral(adult() | {"attachments": noted})
    assert refused(ErrorCode.MALFORMED, check_spare, routine) == "attachments-of-routine"
    check_spare(parse_referral(adult()))
    check_spare(parse_referral(full() | {"attachments": noted}))
