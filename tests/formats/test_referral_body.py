"""The referral body: little is required, nothing harmful fits, and what is read is written again."""

from __future__ import annotations

from copy import deepcopy
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.formats.referral_body import parse_referral
from referral_api.formats.strict_json import parse

EXAMPLES = Path(__file__).parents[2] / "examples"
WITHOUT = "contact-without-safe-contact"
PHONE = "+51999000111"
CANARY = "el colibrí azul duerme bajo el algarrobo"


def full() -> dict[str, Any]:
    """The worked example, whole."""
    document: dict[str, Any] = parse((EXAMPLES / "emergencia-piura.json").read_bytes(), max_bytes=100_000)
    return document


def minimal() -> dict[str, Any]:
    """What an operator can finish in under two minutes of a call (reference example, without its envelope)."""
    return {
        "schema_version": "referral/1.0",
        "urgency": "emergency",
        "urgency_reason": "held_captive_now",
        "involves_minor": "unknown",
        "phone_alert": {"made": True, "at": "2026-11-23T02:11:00-05:00", "to_unit": "pnp-unit-081"},
        "situation": {
            "summary": "…",
            "exploitation_types": ["SexualExploitation"],
            "ongoing": "ongoing",
            "control_methods": ["x_RestrictsMovement", "WithholdsDocuments"],
        },
        "locations": [{"type": "Exploitation", "ubigeo": "200101", "precision": "block", "present_now": "yes"}],
        "victims": [
            {
                "ref": "V1",
                "age_group": "unknown",
                "gender": "Feminine",
                "trafficking_status": "PossibleVictimOfTrafficking",
                "status_decided_by": "NGO",
                "safe_contact": {"channel": "none"},
            }
        ],
        "reporter": {"relationship": "friend_neighbour", "anonymous": True, "recontact_ok": False},
        "consent": {
            "subject": "V1",
            "state": "not_asked_unsafe",
            "basis": "vital_interest",
            "identity_level": "anonymous",
        },
        "requested_action": ["rescue"],
        "do_not": ["do_not_reveal_source"],
        "hotline_contact": {"duty_phone": "+51800000000", "operator_ref": "op-2", "hours": "24x7"},
    }


def with_(path: str, value: Any) -> dict[str, Any]:
    """The full example with one member changed; `path` like `victims/0/names`."""
    document = full()
    *parents, last = path.split("/")
    place: Any = document
    for step in parents:
        place = place[int(step) if isinstance(place, list) else step]
    place[int(last) if isinstance(place, list) else last] = value
    return document


def fault(document: Any) -> tuple[str, str]:
    with pytest.raises(ReferralError) as caught:
        parse_referral(document)
    assert caught.value.code is ErrorCode.MALFORMED
    assert caught.value.__context__ is None
    return caught.value.facts["where"], caught.value.facts["reason"]


def test_the_minimal_set_of_a_live_call_is_enough() -> None:
    assert parse_referral(minimal(), on=date(2026, 11, 23)).wire() == minimal()


def test_even_less_is_enough_for_a_routine_referral_without_known_victims() -> None:
    document = minimal()
    for member in ("urgency_reason", "phone_alert", "victims", "do_not"):
        del document[member]
    document |= {"urgency": "routine", "involves_minor": "no"}
    document["consent"] |= {"subject": "reporter", "basis": "third_party_tip", "state": "not_possible"}
    parsed = parse_referral(document)
    assert parsed.wire() == document
    assert (parsed.victims, parsed.suspects, parsed.lang) == ((), (), "spa")


def test_the_worked_example_is_read_and_written_member_for_member() -> None:
    assert parse_referral(full(), on=date(2026, 11, 23)).wire() == full()
    assert CANARY in full()["situation"]["summary"]


def test_a_referral_written_as_yaml_is_the_same_kind_of_document() -> None:
    document = yaml.safe_load((EXAMPLES / "minima-lima.yaml").read_text(encoding="utf-8"))
    assert parse_referral(document).wire() == document


@pytest.mark.parametrize("member", sorted(set(minimal()) - {"victims", "do_not", "urgency_reason", "phone_alert"}))
def test_every_member_of_the_required_minimum_is_required(member: str) -> None:
    document = minimal()
    del document[member]
    assert fault(document) == (f"/{member}", "missing")


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("urgency_reason", "other", ("", "note-required")),
        ("involves_minor", "no", ("", "minor-denied")),
        ("lat", "1", ("", "unknown-member")),
        ("situation/summary", "x" * 8001, ("/situation/summary", "too-long")),
        ("situation/summary", "", ("/situation/summary", "too-short")),
        ("situation/summary", "a\x00b", ("/situation/summary", "bad-format")),
        ("situation/exploitation_types", [], ("/situation/exploitation_types", "too-short")),
        ("situation/exploitation_types", ["Slavery"], ("/situation/exploitation_types/0", "not-in-list")),
        ("situation/control_methods", ["RestrictsMovement"], ("/situation/control_methods/0", "not-in-list")),
        ("situation/first_date", "2026-02-30", ("/situation/first_date", "no-such-day")),
        ("situation/first_date", "2026-13", ("/situation/first_date", "no-such-day")),
        ("situation/first_date", "20261", ("/situation/first_date", "bad-format")),
        ("locations", [], ("/locations", "too-short")),
        ("locations/0/ubigeo", "20", ("/locations/0/ubigeo", "bad-format")),
        ("locations/0/ubigeo", "260101", ("/locations/0/ubigeo", "bad-format")),
        ("locations/0/lat", -5.19449, ("/locations/0/lat", "wrong-type")),
        ("locations/0/lat", "-90.5", ("/locations/0/lat", "bad-format")),
        ("locations/0/lon", "181", ("/locations/0/lon", "bad-format")),
        ("locations/0/observed_at", "2026-11-23T02:05:00", ("/locations/0/observed_at", "not-a-moment")),
        ("locations/0/observed_at", "2026-11-23T02:05:00+00:00", ("/locations/0/observed_at", "not-a-moment")),
        ("locations/0/observed_at", "2026-02-30T02:05:00Z", ("/locations/0/observed_at", "not-a-moment")),
        ("locations/0/observed_at", 1_795_000_000, ("/locations/0/observed_at", "not-a-moment")),
        ("locations/0/country", "EC", ("/locations/0", "members-contradict")),
        ("locations/1", {"type": "Transit"}, ("/locations/1", "no-place")),
        ("locations/1", {"type": "Transit", "country": "PE"}, ("/locations/1", "no-place")),
        ("locations/1", {"type": "safe_place", "ubigeo": "200000"}, ("/locations/1", "safe-place-unasked")),
        ("victims/1/ref", "V1", ("", "repeated-entry")),
        ("victims/1/ref", "Ana", ("/victims/1/ref", "bad-format")),
        ("victims/0/age", 11, ("/victims/0", "age-and-group-differ")),
        ("victims/0/age_group", "adult", ("/victims/0", "guardian-of-an-adult")),
        ("victims/0/trafficking_status", "ActualVictimOfTrafficking", ("/victims/0/trafficking_status", "not-in-list")),
        ("victims/0/status_decided_by", "Police", ("/victims/0/status_decided_by", "not-in-list")),
        ("victims/0/names", {}, ("/victims/0/names", "no-name")),
        ("victims/1", {"ref": "V2", "age_group": "adult", "phones": [PHONE]}, ("/victims/1", WITHOUT)),
        ("victims/1", {"ref": "V2", "age_group": "adult", "email": "a@b.example"}, ("/victims/1", WITHOUT)),
        ("victims/0/safe_contact", {"channel": "phone"}, ("/victims/0/safe_contact", "channel-without-value")),
        (
            "victims/0/safe_contact",
            {"channel": "none", "value": PHONE},
            ("/victims/0/safe_contact", "members-contradict"),
        ),
        ("victims/0/guardian/phones", [PHONE], ("/victims/0/guardian", "suspect-guardian-contact")),
        ("reporter/name", "Inventada", ("/reporter", "anonymous-with-identity")),
        ("reporter", {"relationship": "family", "anonymous": False, "phone": PHONE}, ("/reporter", WITHOUT)),
        ("consent/subject", "V9", ("", "subject-unknown")),
        ("consent/subject", "neighbour", ("/consent/subject", "bad-format")),
        ("suspects/0/phones", ["999 000 111"], ("/suspects/0/phones/0", "bad-format")),
        ("hotline_contact/operator_ref", "María", ("/hotline_contact/operator_ref", "bad-format")),
        ("requested_action", [], ("/requested_action", "too-short")),
        ("phone_alert", {"made": True}, ("/phone_alert", "call-incomplete")),
        ("schema_version", "referral/1.1", ("/schema_version", "not-in-list")),
    ],
)
def test_a_referral_is_refused_for(path: str, value: Any, expected: tuple[str, str]) -> None:
    assert fault(with_(path, value)) == expected


def test_an_urgent_referral_needs_a_reason_and_an_emergency_the_telephone_call() -> None:
    document = minimal()
    del document["phone_alert"]
    assert fault(document) == ("", "phone-alert-required")
    document = minimal() | {"urgency": "urgent"}
    del document["urgency_reason"]
    assert fault(document) == ("", "urgency-without-reason")


@pytest.mark.parametrize("gap", ["unknown", "not_disclosed"])
def test_unknown_and_not_disclosed_are_answers_of_their_own(gap: str) -> None:
    document = minimal()
    document["situation"] |= {"exploitation_types": [gap], "ongoing": gap, "labour_industry": gap, "venue_type": gap}
    document["victims"][0] |= {"gender": gap, "citizenship": [gap], "languages": [gap], "cooperation_wish": gap}
    document["locations"][0] |= {"present_now": gap, "precision": gap}
    document["involves_minor"] = gap
    assert parse_referral(document).wire() == document


@pytest.mark.parametrize("rough", ["2026", "2026-11", "2026-11-20"])
def test_rough_dates_stay_as_rough_as_they_are(rough: str) -> None:
    document = with_("situation/first_date", rough)
    assert parse_referral(document).wire()["situation"]["first_date"] == rough


@pytest.mark.parametrize("moment", ["2026-11-23T02:05:00-05:00", "2026-11-23T07:05:00Z", "2026-11-23T12:35:00+05:30"])
def test_moments_keep_the_offset_they_were_told_with(moment: str) -> None:
    parsed = parse_referral(with_("locations/0/observed_at", moment))
    assert parsed.locations[0].observed_at is not None
    assert parsed.locations[0].observed_at.utcoffset() is not None
    assert parsed.wire()["locations"][0]["observed_at"] == moment


def test_a_place_abroad_needs_no_ubigeo_and_a_safe_place_the_victims_wish() -> None:
    document = deepcopy(full())
    document["locations"] = [
        {"type": "Recruitment", "country": "VE"},
        {"type": "safe_place", "ubigeo": "150000", "victim_asked": True},
    ]
    assert parse_referral(document).wire() == document


def test_no_value_of_a_refused_referral_reaches_the_error() -> None:
    document = with_("victims/0/names", {"first": "Secreta", "nickname": "Palabra"})
    with pytest.raises(ReferralError) as caught:
        parse_referral(document)
    assert caught.value.facts == {"where": "/victims/0/names", "reason": "unknown-member"}
    assert "Secreta" not in repr(caught.value.__dict__) + repr(caught.value.args)


def test_a_referral_shows_nothing_of_itself_in_any_representation() -> None:
    body = parse_referral(full())
    victim = body.victims[0]
    shown = f"{body!r} {body} {body.victims!r} {victim} {victim.names!r} {body.reporter!r} {body.situation}"
    for secret in ("Inventado", "colibrí", "+51", "Loretana", "vecina", "held_captive_now"):
        assert secret not in shown
