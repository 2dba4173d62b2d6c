"""The people of a referral: victims, who informed, suspects, guardians, and how to reach somebody without harming her.

Names stand here and nowhere else, so that a summary can be shown without them. `safe_contact` is the answer to one
question: how may this person be contacted without danger; it comes before any telephone number and it grows old.

Must never: travel unsealed. Implements: design §6 (Referral body); rules R8 and R11 of the field; HTCDS 2.0 `prs_`,
`vic_`, `per_` lists.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from referral_api.domain.clocks import CHILD_SAFEGUARDS
from referral_api.formats.fields import Coded, Distinct, Many, Maybe, PrivateDocument, broken
from referral_api.formats.referral_text import (
    ClockTime,
    Country,
    Email,
    Line,
    Moment,
    Paragraph,
    Phone,
    RoughDate,
    Short,
    TimeZone,
    Tongue,
)

YesNo = Annotated[str, Coded(("yes_no",), gaps=True)]
Phones = Annotated[Distinct[Phone], Field(min_length=1, max_length=8)]
Aliases = Annotated[Distinct[Short], Field(min_length=1, max_length=8)]
VictimRef = Annotated[str, Field(pattern=r"^V[1-9][0-9]?$")]
SuspectRef = Annotated[str, Field(pattern=r"^S[1-9][0-9]?$")]

WITHOUT_ADDRESS = frozenset({"none", "in_person", "via_third_party"})
"""Channels that need no number or address."""


class Names(PrivateDocument):
    """A person's names as far as known (HTCDS prs_FirstName, prs_MiddleName, prs_SecondName)."""

    first: Maybe[Short] = None
    middle: Maybe[Short] = None
    surname: Maybe[Short] = None
    second_surname: Maybe[Short] = None

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not self.model_fields_set:
            raise broken("no-name")
        return self


class IdentityDocument(PrivateDocument):
    """An identity document; `number` is absent for `none`."""

    doc_type: Annotated[str, Coded(("identity_document",), gaps=True)]
    number: Maybe[Short] = None


class Window(PrivateDocument):
    """Hours of some weekdays, in the time zone of the block around it. One that ends before it begins runs past
    midnight.
    """

    days: Annotated[Distinct[Annotated[str, Coded(("weekday",))]], Field(min_length=1, max_length=7)]
    from_time: ClockTime = Field(alias="from")
    to_time: ClockTime = Field(alias="to")


class ThirdParty(PrivateDocument):
    """Through whom a person is reached, where it is not herself who answers. One who is a suspect is never a way."""

    who: Annotated[str, Coded(("contact_person",), gaps=True)]
    is_suspect: YesNo


class SafeContact(PrivateDocument):
    """How a person may be reached without harm. `none`: only through the hotline.

    Absent `valid_until`, it is good for seven days after the referral was written and must then be verified anew.
    """

    channel: Annotated[str, Coded(("safe_channel",))]
    value: Maybe[Line] = None
    safe_windows: Maybe[Annotated[Many[Window], Field(max_length=14)]] = None
    unsafe_windows: Maybe[Annotated[Many[Window], Field(max_length=14)]] = None
    tz: Maybe[TimeZone] = None
    third_party: Maybe[ThirdParty] = None
    who_may_answer: Maybe[Line] = None
    voicemail_ok: Maybe[bool] = None
    text_ok: Maybe[bool] = None
    caller_id_hidden: Maybe[bool] = None
    cover_story: Maybe[Line] = None
    code_word: Maybe[Short] = None
    preferred_officer_gender: Maybe[Annotated[str, Coded(("officer_gender",), gaps=True)]] = None
    interpreter_lang: Maybe[Tongue] = None
    device_monitored: Maybe[YesNo] = None
    valid_until: Maybe[Moment] = None
    last_verified_at: Maybe[Moment] = None

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if (self.value is None) and self.channel not in WITHOUT_ADDRESS:
            raise broken("channel-without-value")
        if self.channel == "none" and self.value is not None:
            raise broken("members-contradict")
        return self


class Guardian(PrivateDocument):
    """Who answers for a child. One who is a suspect is never a contact, so no number of his is carried."""

    relationship: Annotated[str, Coded(("guardian_relationship",), gaps=True)]
    is_suspect: YesNo
    names: Maybe[Names] = None
    phones: Maybe[Phones] = None

    @model_validator(mode="after")
    def _no_contact(self) -> Self:
        if self.is_suspect == "yes" and self.phones is not None:
            raise broken("suspect-guardian-contact")
        return self


class Victim(PrivateDocument):
    """One possible victim. `ref` (V1, V2 …) is what the summary calls the person."""

    ref: VictimRef
    age_group: Annotated[str, Coded(("age_group",))]
    age: Maybe[Annotated[int, Field(ge=0, le=120)]] = None
    birthdate: Maybe[RoughDate] = None
    gender: Maybe[Annotated[str, Coded(("htcds_2_0/gender",), gaps=True)]] = None
    names: Maybe[Names] = None
    alias: Maybe[Aliases] = None
    identity: Maybe[Annotated[Many[IdentityDocument], Field(min_length=1, max_length=4)]] = None
    phones: Maybe[Phones] = None
    email: Maybe[Email] = None
    safe_contact: Maybe[SafeContact] = None
    citizenship: Maybe[Annotated[Distinct[Country], Field(min_length=1, max_length=4)]] = None
    languages: Maybe[Annotated[Distinct[Tongue], Field(min_length=1, max_length=8)]] = None
    interpreter_needed: Maybe[YesNo] = None
    communication_aid: Maybe[Distinct[Annotated[str, Coded(("communication_aid",), gaps=True)]]] = None
    disability_needs: Maybe[Distinct[Annotated[str, Coded(("disability_need",), gaps=True)]]] = None
    trafficking_status: Maybe[Literal["PossibleVictimOfTrafficking", "unknown", "not_disclosed"]] = None
    status_decided_by: Maybe[Literal["NGO", "NonPoliceGovernmentalOrganization"]] = None
    relationship_to_suspect: Maybe[Annotated[str, Coded(("htcds_2_0/relationship_to_trafficker",), gaps=True)]] = None
    children_count: Maybe[Annotated[int, Field(ge=0, le=30)]] = None
    present_danger: Maybe[Distinct[Annotated[str, Coded(("urgency_reason",), gaps=True)]]] = None
    cooperation_wish: Maybe[Annotated[str, Coded(("cooperation_wish",), gaps=True)]] = None
    support_needs: Maybe[
        Distinct[Annotated[str, Coded(("htcds_2_0/support_plan_type", "ext/support_ext"), gaps=True)]]
    ] = None
    guardian: Maybe[Guardian] = None

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if self.safe_contact is None and (self.phones is not None or self.email is not None):
            raise broken("contact-without-safe-contact")
        if self.guardian is not None and self.age_group not in CHILD_SAFEGUARDS:
            raise broken("guardian-of-an-adult")
        if self.age is not None and self.age_group != "unknown" and self.age_group != age_group_of(self.age):
            raise broken("age-and-group-differ")
        if (self.trafficking_status == "PossibleVictimOfTrafficking") != (self.status_decided_by is not None):
            raise broken("status-without-who-decided")
        return self


def age_group_of(age: int) -> str:
    """The age group of an age in years (code list `age_group`)."""
    if age < 12:
        return "child_0_11"
    return "child_12_17" if age < 18 else "adult"


class Reporter(PrivateDocument):
    """Who informed the hotline. An anonymous reporter has neither name nor number here."""

    relationship: Annotated[str, Coded(("reporter_relationship",))]
    anonymous: bool
    recontact_ok: Maybe[bool] = None
    name: Maybe[Short] = None
    phone: Maybe[Phone] = None
    safe_contact: Maybe[SafeContact] = None

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if self.anonymous and (self.name is not None or self.phone is not None):
            raise broken("anonymous-with-identity")
        if self.phone is not None and self.safe_contact is None:
            raise broken("contact-without-safe-contact")
        return self


class Account(PrivateDocument):
    """A number, profile or address that a suspect uses."""

    type: Annotated[str, Coded(("account_type",), gaps=True)]
    value: Line


class Suspect(PrivateDocument):
    """Somebody who may be a perpetrator, as far as described."""

    ref: SuspectRef
    names: Maybe[Names] = None
    alias: Maybe[Aliases] = None
    description: Maybe[Paragraph] = None
    phones: Maybe[Phones] = None
    accounts: Maybe[Annotated[Many[Account], Field(max_length=16)]] = None
    vehicle: Maybe[Line] = None
    role: Maybe[Distinct[Annotated[str, Coded(("htcds_2_0/role_in_process",), gaps=True)]]] = None
    relationship: Maybe[Annotated[str, Coded(("htcds_2_0/relationship_to_trafficker",), gaps=True)]] = None
    public_official: Maybe[YesNo] = None
