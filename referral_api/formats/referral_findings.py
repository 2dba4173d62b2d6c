"""What can be computed from a referral body: urgency floor, consent findings, completeness, and agreement with its act.

The sender's client runs all of it before sealing, the unit's client again after opening; the exchange sees no body.
Findings are places and slugs, never values. Completeness is shown and never blocks: a thin referral that arrives beats
a full one that does not.

The day on which a body was written is `on`: the sender's own day, and for a reader that of the bundle's `iat` (UTC).

Must never: read a clock, change a body, or put a value of it into an error. Implements: design §6 ("the SDK checks
floors and the whole consent table"), §10 (floors); docs/protocol.md R-81, R-83, R-85, R-86; rules R6, R8, R9 and R11
of the field.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

from referral_api.domain import clocks, consent
from referral_api.domain.consent import ConsentState, Told
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Urgency
from referral_api.formats.bodies import Submit
from referral_api.formats.referral_ages import contradicts, protected_group
from referral_api.formats.referral_body import ReferralBody
from referral_api.formats.referral_contacts import contact_faults
from referral_api.formats.referral_copy import check_reduced
from referral_api.formats.referral_identity import identity_findings

_NO_DANGER = frozenset({"unknown", "not_disclosed", "evidence_perishing", "other"})
"""Codes of the list `urgency_reason` that are no danger to a person."""


REASONS = (
    *("identity-level", "refused", "scope-without-contact", "suspect-guardian", "suspect-contact"),
    *("third-party-unnamed", "not-reduced", "differs-from-body", "not-asked", "anonymous-reporter", "only-by-hotline"),
    "age-differs",
)
"""Slugs of findings beside those of the consent table (`ConsentFault`)."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to put right: a JSON pointer into the body and a slug."""

    where: str
    reason: str


@dataclass(frozen=True, slots=True)
class Completeness:
    """How much a receiver will find, 0 to 100, and the members that are missing, heaviest first."""

    score: int
    missing: tuple[str, ...]


def floor_of(body: ReferralBody, on: date) -> Urgency:
    """The least urgency that this body allows (design §10): an unknown age counts as a child's, and so does a
    birthdate by which somebody may be one, whatever group is stated beside it.
    """
    ages = {protected_group(victim, on) for victim in body.victims}
    if body.involves_minor != "no":
        ages.add("unknown")
    return clocks.floor(frozenset(ages), frozenset(_dangers(body)))


def consent_findings(body: ReferralBody, *, on: date, abroad: bool = False) -> list[Finding]:
    """Everything that contradicts the consent table, the identity level or the ages that the body itself declares.

    `abroad`: a unit of another country is addressed (R-85).
    """
    said = body.consent
    override = None if said.override is None else said.override.reason
    found = [
        Finding("/consent", fault.value)
        for fault in consent.faults(said.basis, said.identity_level, override, _told(body, abroad=abroad))
    ]
    found += [Finding(where, reason) for where, reason in identity_findings(body)]
    found += [
        Finding(f"/victims/{index}/birthdate", "age-differs")
        for index, victim in enumerate(body.victims)
        if contradicts(victim, on)
    ]
    if said.subject == "guardian" and any(v.guardian and v.guardian.is_suspect == "yes" for v in body.victims):
        found.append(Finding("/consent/subject", "suspect-guardian"))
    found += [Finding(where, reason) for where, reason in contact_faults(body)]
    return found


def check_referral(body: ReferralBody, submit: Submit, *, on: date, abroad: bool = False) -> None:
    """Body and act agree, the urgency is high enough, the consent table is kept. Raises the first of `faults_of`."""
    for fault in faults_of(body, submit, on=on, abroad=abroad):
        raise fault


def faults_of(body: ReferralBody, submit: Submit, *, on: date, abroad: bool = False) -> list[ReferralError]:
    """Everything that is wrong with a referral and its act, for a reader to be told all of it; `abroad` as above.

    ACT_SCHEMA with `where` and `reason` "differs-from-body" if the act says in clear what the body does not say;
    FLOOR_NOT_MET with `least`, unless it is a copy, which asks nobody to act; CONSENT_GATE with `where`, `reason` and
    `findings` (all of them, as pairs); and as `check_reduced`, for a copy that says more than one may.
    """
    faults = [_differs(member) for member, (sealed, clear) in _claims(body, submit).items() if sealed != clear]
    least = floor_of(body, on)
    if not submit.is_copy and not clocks.at_least(body.urgency, least):
        faults.append(ReferralError(ErrorCode.FLOOR_NOT_MET, least=least.value))
    findings = consent_findings(body, on=on, abroad=abroad)
    if findings:
        pairs = [(finding.where, finding.reason) for finding in findings]
        first = findings[0]
        faults.append(ReferralError(ErrorCode.CONSENT_GATE, where=first.where, reason=first.reason, findings=pairs))
    if submit.is_copy:
        try:
            check_reduced(body)
        except ReferralError as more:
            faults.append(more)
    return faults


def check_spare(body: ReferralBody) -> None:
    """What a sender leaves out unless there is need: a routine referral carries no attachments (rule R9 of the field).

    Raises ReferralError(MALFORMED) with `where` and `reason`.
    """
    if body.urgency is Urgency.ROUTINE and body.attachments:
        raise ReferralError(ErrorCode.MALFORMED, where="/attachments", reason="attachments-of-routine")


def _claims(body: ReferralBody, submit: Submit) -> dict[str, tuple[object, object]]:
    """What both body and act say, by member."""
    said, override = body.consent, submit.override
    return {
        "urgency": (body.urgency, submit.urgency),
        "basis": (said.basis, submit.basis),
        "identity_level": (said.identity_level, submit.identity_level),
        "override": (
            said.override and (said.override.reason, said.override.second_person),
            override and (override.reason, override.second_person),
        ),
    }


def _differs(member: str) -> ReferralError:
    return ReferralError(ErrorCode.ACT_SCHEMA, act="submit", where=f"/{member}", reason="differs-from-body")


def completeness(body: ReferralBody) -> Completeness:
    """What a receiver would ask for next. The weights add up to 100; the required minimum alone is worth 30."""
    missing = [(weight, name) for name, weight, present in _WISHES if not present(body)]
    missing.sort(key=lambda entry: -entry[0])
    return Completeness(100 - sum(weight for weight, _ in missing), tuple(name for _, name in missing))


def _told(body: ReferralBody, *, abroad: bool) -> Told:
    ages = {victim.age_group for victim in body.victims}
    if body.involves_minor == "yes" or (not ages and body.involves_minor != "no"):
        ages.add("unknown")  # A child whom nobody has described yet is protected like one who stands there.
    return Told(
        state=ConsentState(body.consent.state),
        age_groups=frozenset(ages),
        scope=frozenset(body.consent.scope or ()),
        danger=bool(_dangers(body) - _NO_DANGER),
        by_victim=body.reporter.relationship == "victim",
        abroad=abroad,
    )


def _dangers(body: ReferralBody) -> set[str]:
    dangers = {danger for victim in body.victims for danger in victim.present_danger or ()}
    return dangers | ({body.urgency_reason} if body.urgency_reason is not None else set())


def _somewhere_exact(body: ReferralBody) -> bool:
    return any(place.address_text or place.reference_text or place.lat for place in body.locations)


def _district(body: ReferralBody) -> bool:
    return any(place.ubigeo and not place.ubigeo.endswith("00") for place in body.locations)


_WISHES: tuple[tuple[str, int, Callable[[ReferralBody], bool]], ...] = (
    ("locations/address_text", 12, _somewhere_exact),
    ("locations/ubigeo", 8, _district),
    ("locations/present_now", 6, lambda b: any(place.present_now for place in b.locations)),
    ("victims", 8, lambda b: bool(b.victims)),
    ("victims/safe_contact", 6, lambda b: any(v.safe_contact for v in b.victims)),
    ("victims/languages", 2, lambda b: any(v.languages for v in b.victims)),
    ("suspects", 6, lambda b: bool(b.suspects)),
    ("situation/control_methods", 4, lambda b: bool(b.situation.control_methods)),
    ("situation/last_date", 3, lambda b: bool(b.situation.last_date or b.situation.first_date)),
    ("situation/venue_type", 2, lambda b: bool(b.situation.venue_type)),
    ("situation/other_potential_victims", 3, lambda b: b.situation.other_potential_victims is not None),
    ("situation/official_involvement_alleged", 2, lambda b: b.situation.official_involvement_alleged is not None),
    ("reporter/recontact_ok", 3, lambda b: b.reporter.recontact_ok is not None),
    ("do_not", 3, lambda b: bool(b.do_not)),
    ("reported_before", 2, lambda b: b.reported_before is not None),
)
