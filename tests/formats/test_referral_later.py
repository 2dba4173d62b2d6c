"""What supplements make of a referral: pure, from bodies alone (R-86, R-87, R-110)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from referral_api.formats.referral_body import parse_referral
from referral_api.formats.referral_contacts import CONTACT_TERM, reaches
from referral_api.formats.referral_later import Written, said_anew, superseded, with_suspects
from tests.world import REFERRAL

AT = datetime(2026, 11, 23, 7, tzinfo=UTC)
NUMBER = "+51930000111"
CHILD = {"ref": "V1", "age_group": "child_0_11", "safe_contact": {"channel": "phone", "value": NUMBER}}


def body(**changes: Any) -> dict[str, Any]:
    return REFERRAL | {"victims": [CHILD], "suspects": []} | changes


def said(given: dict[str, Any], *later: dict[str, Any], **more: Any) -> dict[str, Any]:
    """What is sealed anew of this after these, each a day after the one before."""
    written = [Written(parse_referral(one), AT + timedelta(days=day)) for day, one in enumerate((given, *later))]
    anew = said_anew(given, written[0], written[1:], **more)
    parse_referral(anew)
    return anew


def ending(until: str) -> dict[str, Any]:
    """The child's contact, stated to be good until then."""
    return body(victims=[CHILD | {"safe_contact": CHILD["safe_contact"] | {"valid_until": until}}])  # type: ignore[operator]


def test_without_supplements_only_the_end_of_its_contacts_is_written_down() -> None:
    anew = said(body())
    block = anew["victims"][0]["safe_contact"]
    assert datetime.fromisoformat(block.pop("valid_until")) == AT + CONTACT_TERM
    assert anew == body()


def test_an_end_that_was_said_stays_and_what_cannot_grow_old_gets_none() -> None:
    stated = ending("2026-11-26T00:00:00-05:00")
    assert said(stated) == stated
    silent = body(victims=[CHILD | {"safe_contact": {"channel": "none"}}])
    assert said(silent) == silent


def test_an_end_beyond_the_term_gives_no_second_term_from_the_next_sealing() -> None:
    """R-87: a contact is good for seven days at most, also where it was stated to be good for longer."""
    anew = said(ending("2040-01-01T00:00:00-05:00"))
    assert datetime.fromisoformat(anew["victims"][0]["safe_contact"]["valid_until"]) == AT + CONTACT_TERM
    week_later = AT + CONTACT_TERM
    (reach,) = [one for one in reaches(parse_referral(anew), week_later, week_later) if one.who == "V1"]
    assert reach.why == "expired"


def test_a_verification_after_the_sealing_counts_from_the_sealing() -> None:
    """Whoever seals later must not make a contact younger than it was with its first bundle."""
    later = "2026-11-26T02:00:00-05:00"
    stated = body(victims=[CHILD | {"safe_contact": CHILD["safe_contact"] | {"last_verified_at": later}}])  # type: ignore[operator]
    block = said(stated)["victims"][0]["safe_contact"]
    assert datetime.fromisoformat(block["valid_until"]) == AT + CONTACT_TERM


def test_who_is_not_spoken_of_again_keeps_her_contact_and_who_is_has_the_last() -> None:
    second = {"ref": "V2", "age_group": "unknown", "safe_contact": {"channel": "in_person"}}
    both = body(victims=[CHILD, second])
    only = body(
        victims=[{**second, "safe_contact": {"channel": "none"}}], consent=REFERRAL["consent"] | {"subject": "V2"}
    )
    anew = said(both, only)
    assert [one["safe_contact"]["channel"] for one in anew["victims"]] == ["phone", "none"]
    assert anew["consent"] == REFERRAL["consent"]
    assert superseded(parse_referral(both), [parse_referral(only)]) == {"V2"}
    assert superseded(parse_referral(both), [parse_referral(only), parse_referral(both)]) == set()


def test_a_guardian_who_turns_out_to_be_a_suspect_is_telephoned_no_more() -> None:
    guardian = {"relationship": "relative", "is_suspect": "no", "phones": ["+51930000333"]}
    kept = body(victims=[CHILD | {"guardian": guardian}])
    feared = body(victims=[CHILD | {"guardian": {"relationship": "relative", "is_suspect": "yes"}}])
    assert said(kept, feared)["victims"][0]["guardian"] == {"relationship": "relative", "is_suspect": "yes"}
    silent = said(kept, body())["victims"][0]["guardian"]
    assert silent == {"relationship": "relative", "is_suspect": "no"}
    first = parse_referral(kept)
    (reach,) = reaches(first, AT, AT, superseded=superseded(first, [parse_referral(feared)]))
    assert reach.why == "replaced"


def test_consent_is_the_last_that_the_same_person_gave() -> None:
    narrowed = REFERRAL["consent"] | {"obtained_at": "2026-11-24T10:00:00-05:00"}
    assert said(body(), body(consent=narrowed))["consent"] == narrowed


def test_a_reporter_who_wants_to_be_known_no_more_is_not() -> None:
    known = {
        "relationship": "friend_neighbour", "anonymous": False, "name": "Nombre-Inventado", "phone": NUMBER,
        "safe_contact": {"channel": "phone", "value": NUMBER},
    }  # fmt: skip
    anew = said(body(victims=[], consent=REFERRAL["consent"] | {"subject": "reporter"}, reporter=known),
                body(victims=[], consent=REFERRAL["consent"] | {"subject": "reporter"}))  # fmt: skip
    assert anew["reporter"] == {"relationship": "friend_neighbour", "anonymous": True}


def test_a_number_of_a_suspect_of_a_supplement_is_judged_by_that() -> None:
    suspects = [{"ref": "S1", "phones": [NUMBER]}]
    other = {"ref": "V2", "age_group": "unknown"}
    later = body(victims=[other], suspects=suspects, consent=REFERRAL["consent"] | {"subject": "V2"})
    assert "safe_contact" not in said(body(), later)["victims"][0]
    (reach,) = reaches(with_suspects(parse_referral(body()), [parse_referral(later)]), AT, AT)
    assert reach.why == "suspect"


def test_with_something_closed_nobody_can_be_reached() -> None:
    anew = said(body(), unreached=True)
    assert NUMBER not in str(anew)
    (reach,) = reaches(parse_referral(body()), AT, AT, unread=True)
    assert reach.why == "unread"
