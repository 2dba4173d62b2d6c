"""The reduced body of a copy: what a further unit may know of a situation without learning who is in it.

A copy informs and asks nobody to act, so it keeps what kind of thing happens, roughly where, how old the victims are,
what must not be done and on what ground it is shared. Whatever names, reaches or describes somebody stays with the
units that act on the referral; words are left out too, unless the operator writes new ones.

Must never: pass on a text, a number or an exact place of the body that it came from; read a clock.

Implements: R-86; rule R9 of the field; docs/decisions/0030.
"""

from __future__ import annotations

from typing import Any

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import IdentityLevel, Urgency
from referral_api.formats.referral_body import Location, ReferralBody, parse_referral

NO_WORDS = "—"
"""The summary of a copy without one: the member is required, and nothing is said."""

_SITUATION = (
    *("exploitation_types", "ongoing", "sex_exploitation_types", "labour_industry", "venue_type", "control_methods"),
    *("recruitment_methods", "recruitment_platforms", "exploitation_platforms", "cross_border", "indicators"),
)
"""Members of the situation that are codes alone. That officials are accused of it is for the unit that was chosen."""
_VICTIM = ("ref", "age_group", "present_danger")
_CONSENT = ("subject", "state", "basis", "scope", "informed", "obtained_how")
_WHOLE = ("schema_version", "lang", "involves_minor", "hotline_contact", "do_not")
_REQUESTED = ("intelligence_only",)


def reduce_body(body: ReferralBody, summary: str | None = None) -> dict[str, Any]:
    """The body of a copy of `body`, as JSON members; `summary` are the operator's new words.

    It is routine and anonymous, and asks for nothing but that it be known. Reducing it again changes nothing.

    Raises MALFORMED (`where`, `reason`) where no place is left that may be told.
    """
    given = body.wire()
    places = _places(body)
    if not places:
        raise ReferralError(ErrorCode.MALFORMED, where="/locations", reason="no-place-to-tell")
    situation = given["situation"]
    reduced: dict[str, Any] = {
        **_only(given, _WHOLE),
        "urgency": Urgency.ROUTINE.value,
        "situation": {"summary": summary or NO_WORDS, **_only(situation, _SITUATION)},
        "locations": places,
        "consent": _only(given["consent"], _CONSENT) | {"identity_level": IdentityLevel.ANONYMOUS.value},
        "reporter": {"relationship": body.reporter.relationship, "anonymous": True},
        "requested_action": list(_REQUESTED),
    }
    if body.urgency_reason not in (None, "other"):  # The code `other` says nothing without its words.
        reduced["urgency_reason"] = body.urgency_reason
    if body.victims:
        reduced["victims"] = [_only(victim, _VICTIM) for victim in given["victims"]]
    return reduced


def check_reduced(body: ReferralBody) -> None:
    """That the body of a copy is one: reduced, it says the same.

    Raises ReferralError(CONSENT_GATE) with `where`, the first member that is too much, `reason` and `findings`.
    """
    reduced = parse_referral(reduce_body(body, body.situation.summary))
    for name in type(body).model_fields:
        if getattr(body, name) != getattr(reduced, name):
            pair = (f"/{name}", "not-reduced")
            raise ReferralError(ErrorCode.CONSENT_GATE, where=pair[0], reason=pair[1], findings=[pair])


def _only(document: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: document[name] for name in names if name in document}


def _places(body: ReferralBody) -> list[dict[str, Any]]:
    """Places to the province, each once; never one where a victim is safe."""
    found: list[dict[str, Any]] = []
    for place in body.locations:
        told = _place(place)
        if place.type != "safe_place" and told not in found:
            found.append(told)
    return found


def _place(place: Location) -> dict[str, Any]:
    told = _only(place.wire(), ("type", "country", "present_now"))
    return told if place.ubigeo is None else told | {"ubigeo": f"{place.ubigeo[:4]}00"}
