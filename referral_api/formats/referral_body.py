"""The referral body: what a hotline tells the police about one situation, sealed end to end (`referral/1.0`).

Little is required, so that an operator can send within two minutes of a live call; everything else may follow in a
supplement. Coded fields admit `unknown` and `not_disclosed`, which is not the same as leaving them out. Once sent, a
body never changes. The people in it are in referral_people.py; what can be computed from it (floors, consent,
completeness) in referral_findings.py.

Must never: travel unsealed, be logged, or block a referral for being incomplete.

Implements: design §6 (Referral body), HTCDS 2.0 with extensions `x_`; rules R6, R8, R9, R11 of the field.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from referral_api.domain.errors import ErrorCode
from referral_api.formats.codelists import codes
from referral_api.formats.fields import (
    Basis,
    Coded,
    Credential,
    Distinct,
    IdentityLevel,
    Many,
    Maybe,
    Opaque,
    OperatorCode,
    Party,
    PrivateDocument,
    Urgency,
    Yes,
    all_distinct,
    broken,
    demands,
    stating,
)
from referral_api.formats.referral_people import Phones, Reporter, Suspect, Victim, YesNo
from referral_api.formats.referral_text import (
    Country,
    Latitude,
    Line,
    Longitude,
    Moment,
    Paragraph,
    Phone,
    RoughDate,
    Short,
    Summary,
    Tongue,
    Ubigeo,
)

SCHEMA_VERSION = "referral/1.0"
AttachmentId = Annotated[str, Field(pattern=r"^a(?:0|[1-9][0-9]?)$")]
"""As in the routing header of the bundle (formats/bundle.py)."""


class OtherVictims(PrivateDocument):
    """Whether there may be more victims than those described, and about how many."""

    state: YesNo
    count: Maybe[Annotated[int, Field(ge=1, le=10_000)]] = None


class CrossBorder(PrivateDocument):
    """Other countries in it, and what this country is to them."""

    countries: Annotated[Distinct[Country], Field(max_length=16)]
    type: Annotated[str, Coded(("cross_border",), gaps=True)]


class Situation(PrivateDocument):
    """What happens. The summary holds no names: persons are V1, S1 …, so that it can be shown without them."""

    summary: Summary
    exploitation_types: Annotated[
        Distinct[Annotated[str, Coded(("htcds_2_0/type_of_exploitation", "ext/exploitation_ext"), gaps=True)]],
        Field(min_length=1),
    ]
    ongoing: Annotated[str, Coded(("ongoing",), gaps=True)]
    sex_exploitation_types: Maybe[
        Distinct[Annotated[str, Coded(("htcds_2_0/type_of_sex_exploitation",), gaps=True)]]
    ] = None
    labour_industry: Maybe[Annotated[str, Coded(("htcds_2_0/forced_labour_industry",), gaps=True)]] = None
    venue_type: Maybe[Annotated[str, Coded(("niem_venue",), gaps=True)]] = None
    control_methods: Maybe[
        Distinct[Annotated[str, Coded(("htcds_2_0/methods_of_control", "ext/control_ext"), gaps=True)]]
    ] = None
    recruitment_methods: Maybe[Distinct[Annotated[str, Coded(("htcds_2_0/method_of_recruitment",), gaps=True)]]] = None
    recruitment_platforms: Maybe[
        Distinct[Annotated[str, Coded(("htcds_2_0/recruitment_websites_and_apps",), gaps=True)]]
    ] = None
    exploitation_platforms: Maybe[
        Distinct[Annotated[str, Coded(("htcds_2_0/exploitation_websites_and_apps",), gaps=True)]]
    ] = None
    first_date: Maybe[RoughDate] = None
    last_date: Maybe[RoughDate] = None
    last_contact_with_exploiter: Maybe[Annotated[str, Coded(("last_contact",), gaps=True)]] = None
    other_potential_victims: Maybe[OtherVictims] = None
    official_involvement_alleged: Maybe[YesNo] = None
    cross_border: Maybe[CrossBorder] = None
    indicators: Maybe[Distinct[Annotated[str, Coded(("indicator",), gaps=True)]]] = None


class Location(PrivateDocument):
    """A place. Its department is enough; abroad, the country is. A victim's safe place only if she asked."""

    model_config = stating(demands("type", ["safe_place"], "victim_asked"))

    type: Annotated[str, Coded(("htcds_2_0/trafficking_event_type", "ext/location_ext"), gaps=True)]
    ubigeo: Maybe[Ubigeo] = None
    country: Maybe[Country] = None
    address_text: Maybe[Line] = None
    reference_text: Maybe[Line] = None
    lat: Maybe[Latitude] = None
    lon: Maybe[Longitude] = None
    precision: Maybe[Annotated[str, Coded(("precision",), gaps=True)]] = None
    observed_at: Maybe[Moment] = None
    present_now: Maybe[YesNo] = None
    victim_asked: Maybe[Yes] = None

    @model_validator(mode="after")
    def _placed(self) -> Self:
        if self.ubigeo is None and self.country in (None, "PE"):
            raise broken("no-place")
        if self.ubigeo is not None and self.country not in (None, "PE"):
            raise broken("members-contradict")
        if (self.lat is None) != (self.lon is None):
            raise broken("half-a-coordinate")
        if self.type == "safe_place" and self.victim_asked is None:
            raise broken("safe-place-unasked")
        return self


class ConsentOverride(PrivateDocument):
    """Sharing against a refusal, in full; `reason` and `second_person` are the same as in the act."""

    by: OperatorCode
    reason: Annotated[str, Coded(("override_reason",))]
    second_person: Credential
    note: Maybe[Paragraph] = None


ConsentSubject = Annotated[str, Field(pattern=f"^(?:V[1-9][0-9]?|{'|'.join(codes('consent_subject'))})$")]
"""Whose consent: a victim by `ref`, or the guardian or reporter."""


class Consent(PrivateDocument):
    """Consent to share information and to be contacted: nothing else is ever asked or recorded.

    `basis` and `identity_level` are the same as in the act, which the exchange sees.
    """

    subject: ConsentSubject
    state: Annotated[str, Coded(("consent_state",))]
    basis: Basis
    identity_level: IdentityLevel
    scope: Maybe[Distinct[Annotated[str, Coded(("consent_scope",))]]] = None
    informed: Maybe[Distinct[Annotated[str, Coded(("consent_informed",))]]] = None
    obtained_how: Maybe[Annotated[str, Coded(("obtained_how",), gaps=True)]] = None
    obtained_at: Maybe[Moment] = None
    obtained_by: Maybe[OperatorCode] = None
    override: Maybe[ConsentOverride] = None
    withheld_fields: Maybe[Annotated[Distinct[Short], Field(max_length=32)]] = None
    withheld_reason: Maybe[Annotated[str, Coded(("withheld_reason",), gaps=True)]] = None


class Organisation(PrivateDocument):
    """A business or body that plays a part."""

    name: Short
    type: Maybe[Annotated[str, Coded(("htcds_2_0/org_type",), gaps=True)]] = None
    address: Maybe[Line] = None
    tax_id: Maybe[Opaque] = None
    role: Maybe[Annotated[str, Coded(("organisation_role",), gaps=True)]] = None


class PriorReport(PrivateDocument):
    """An earlier report in another register; its number is a reference there, not here."""

    system: Annotated[str, Coded(("report_system",), gaps=True)]
    number: Maybe[Short] = None
    date: Maybe[RoughDate] = None
    unit: Maybe[Short] = None


class ActionTaken(PrivateDocument):
    """What the hotline has already done."""

    at: Moment
    action: Annotated[str, Coded(("action_taken",))]
    org: Maybe[Short] = None
    note: Maybe[Line] = None


class AttachmentNote(PrivateDocument):
    """What an attachment is; its name, size, digest and key stand beside the body in the bundle."""

    id: AttachmentId
    type: Annotated[str, Coded(("attachment_type",), gaps=True)]
    description: Maybe[Line] = None
    origin: Maybe[Annotated[str, Coded(("attachment_origin",), gaps=True)]] = None
    viewed_by_operator: Maybe[bool] = None


class HotlineContact(PrivateDocument):
    """How the police call back, day and night. Operators are codes, never names."""

    duty_phone: Phone
    operator_ref: OperatorCode
    supervisor_ref: Maybe[OperatorCode] = None
    hours: Maybe[Annotated[str, Coded(("duty_hours",))]] = None


class PhoneAlertDetail(PrivateDocument):
    """The call to the unit, as it went: more than the act may say in clear."""

    model_config = stating(demands("made", [True], "at", "to_unit"))

    made: bool
    at: Maybe[Moment] = None
    to_unit: Maybe[Party] = None
    by: Maybe[OperatorCode] = None
    numbers: Maybe[Phones] = None
    answered_by: Maybe[Short] = None
    note: Maybe[Line] = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.made and (self.at is None or self.to_unit is None):
            raise broken("call-incomplete")
        return self


class ReferralBody(PrivateDocument):
    """One referral: one situation, with any number of victims and suspects."""

    model_config = stating(
        demands("urgency", ["emergency"], "urgency_reason", "phone_alert"),
        demands("urgency", ["urgent"], "urgency_reason"),
        demands("urgency_reason", ["other"], "urgency_note"),
    )

    schema_version: Literal["referral/1.0"]
    lang: Tongue = "spa"
    sender_reference: Maybe[Opaque] = None
    urgency: Urgency
    urgency_reason: Maybe[Annotated[str, Coded(("urgency_reason",))]] = None
    urgency_note: Maybe[Line] = None
    involves_minor: Annotated[str, Coded(("yes_no",), gaps=True)]
    phone_alert: Maybe[PhoneAlertDetail] = None
    situation: Situation
    locations: Annotated[Many[Location], Field(min_length=1, max_length=32)]
    victims: Annotated[Many[Victim], Field(max_length=64)] = ()
    consent: Consent
    reporter: Reporter
    suspects: Annotated[Many[Suspect], Field(max_length=64)] = ()
    organisations: Maybe[Annotated[Many[Organisation], Field(max_length=32)]] = None
    reported_before: Maybe[YesNo] = None
    prior_reports: Maybe[Annotated[Many[PriorReport], Field(max_length=32)]] = None
    actions_taken: Maybe[Annotated[Many[ActionTaken], Field(max_length=32)]] = None
    attachments: Maybe[Annotated[Many[AttachmentNote], Field(max_length=64)]] = None
    hotline_contact: HotlineContact
    requested_action: Annotated[Distinct[Annotated[str, Coded(("requested_action",))]], Field(min_length=1)]
    do_not: Maybe[Distinct[Annotated[str, Coded(("do_not",))]]] = None

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if self.urgency != "routine" and self.urgency_reason is None:
            raise broken("urgency-without-reason")
        if self.urgency_reason == "other" and self.urgency_note is None:
            raise broken("note-required")
        if self.urgency == "emergency" and self.phone_alert is None:
            raise broken("phone-alert-required")
        refs = [victim.ref for victim in self.victims]
        if not all_distinct(refs) or not all_distinct(suspect.ref for suspect in self.suspects):
            raise broken("repeated-entry")
        if self.consent.subject.startswith("V") and self.consent.subject not in refs:
            raise broken("subject-unknown")
        ages = {victim.age_group for victim in self.victims}
        if self.involves_minor == "no" and ages - {"adult"}:
            raise broken("minor-denied")
        return self


def parse_referral(value: Any, *, on: date | None = None) -> ReferralBody:
    """Read a referral body. The sender gives `on`, its day of writing, so that codes out of force are refused.

    Raises ReferralError(MALFORMED) with facts `where` and `reason`, without any of the text.
    """
    return ReferralBody.parse(value, code=ErrorCode.MALFORMED, on=on)
