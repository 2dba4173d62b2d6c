"""The body of every act that parties sign about a referral, and `parse_body` for all acts (design §6, §10).

An act travels in clear, so its body holds closed codes, party ids, digests and times, and nothing about a person: what
needs words is sealed beside the act and named here by `sealed`. Times are integer Unix seconds. `answers` is the act
digest of the question, notice or request that this act answers. The exchange's own acts are in exchange_bodies.py,
those about parties and keys in directory_bodies.py, a party's own in account_bodies.py.

Must never: take free text; decide whether an act is allowed (lifecycle and policy do).

Implements: R-13; design §6 (`submit.body` and all others); reference lists for every code are in codes/*.csv.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Annotated, Any, Self

from pydantic import Field, model_validator
from pydantic.json_schema import JsonSchemaValue

from referral_api.domain import words
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Act
from referral_api.formats import account_bodies, directory_bodies, exchange_bodies
from referral_api.formats.codelists import codes
from referral_api.formats.fields import (
    Basis,
    Coded,
    Credential,
    DeliveryRole,
    Distinct,
    Document,
    IdentityLevel,
    Instant,
    Investigation,
    KeyId,
    Many,
    Maybe,
    Opaque,
    OperatorCode,
    Party,
    Ref,
    RetentionClass,
    Sealed,
    Sha256,
    Urgency,
    Yes,
    broken,
    demands,
    stating,
)

MAX_ADDRESSEES = 64
MAX_ATTACHMENTS = 64


def _with_note(list_name: str) -> list[str]:
    return [code for code, row in codes(list_name).items() if row.note_required]


def _demand_note(list_name: str, code: str, sealed: Sealed | None) -> None:
    if sealed is None and codes(list_name)[code].note_required:
        raise broken("note-required")


class To(Document):
    """One addressee of a submission: a unit and why it is addressed."""

    unit: Party
    role: DeliveryRole


class Override(Document):
    """Sharing against a refusal: a coded reason, and the second person of the hotline who agreed (by credential)."""

    reason: Annotated[str, Coded(("override_reason",))]
    second_person: Credential


class Relation(Document):
    """How this referral relates to an earlier one of the same hotline."""

    type: Annotated[str, Coded(("relation_type",))]
    ref: Ref


class PhoneAlert(Document):
    """Whether the unit was telephoned, as the hotline states it; the body of `phone_alert`, and a member of `submit`.

    A call that was made has its time and the unit reached. One that could not be made is stated too: silence is no
    answer.
    """

    model_config = stating(demands("made", [True], "at", "to_unit"))

    made: bool
    at: Maybe[Instant] = None
    to_unit: Maybe[Party] = None
    by: Maybe[OperatorCode] = None
    answers: Maybe[Sha256] = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.made and (self.at is None or self.to_unit is None):
            raise broken("call-incomplete")
        return self


_ONE_ACTS = {"contains": {"properties": {"role": {"const": "action"}}}, "minContains": 1, "maxContains": 1}
_ADDRESSED: JsonSchemaValue = {
    "if": {"properties": {"relation": {"properties": {"type": {"const": words.COPY_OF}}}}, "required": ["relation"]},
    "then": {"properties": {"to": {"items": {"properties": {"role": {"const": "information"}}}}}},
    "else": {"properties": {"to": _ONE_ACTS}},
}


class Submit(Document):
    """A new referral: where its bundle goes and what clocks and gates need, nothing more (R-64).

    Exactly one addressee has the role `action`; of a copy (R-86) all have `information`. `operator` is the hotline's
    code of the person on the call, for what a service signs.
    """

    model_config = stating(demands("urgency", ["emergency"], "phone_alert"), _ADDRESSED)

    bundle: Sealed
    to: Annotated[Many[To], Field(min_length=1, max_length=MAX_ADDRESSEES)]
    urgency: Urgency
    basis: Basis
    identity_level: IdentityLevel
    override: Maybe[Override] = None
    retention_class: RetentionClass
    relation: Maybe[Relation] = None
    agreement: Maybe[Opaque] = None
    phone_alert: Maybe[PhoneAlert] = None
    operator: Maybe[OperatorCode] = None
    created_at: Instant

    @model_validator(mode="after")
    def _whole(self) -> Self:
        roles = [to.role for to in self.to]
        if len({to.unit for to in self.to}) != len(roles):
            raise broken("repeated-entry")
        if self.is_copy and set(roles) != {words.DeliveryRole.INFORMATION}:
            raise broken("copy-only-informs")
        if not self.is_copy and roles.count(words.DeliveryRole.ACTION) != 1:
            raise broken("one-action-unit")
        if self.urgency is words.Urgency.EMERGENCY and self.phone_alert is None:
            raise broken("phone-alert-required")
        return self

    @property
    def is_copy(self) -> bool:
        """Whether this informs further units of an earlier referral (R-86)."""
        return self.relation is not None and self.relation.type == words.COPY_OF


class Route(Document):
    """Units that must never get this referral, by routing, transfer or escalation. Seen by the hotline and auditors
    only.
    """

    excluded: Annotated[Distinct[Party], Field(min_length=1, max_length=MAX_ADDRESSEES)]


class Supplement(Document):
    """More about a referral already sent: a further bundle to the units of the delivery."""

    sealed: Sealed


class Withdraw(Document):
    """The hotline takes the referral back; after retrieval this is a notice that must be answered."""

    reason: Annotated[str, Coded(("withdraw_reason",))]
    sealed: Maybe[Sealed] = None


class ConsentWithdrawn(Document):
    """The person no longer agrees to sharing. Whose consent and how much of it is sealed."""

    sealed: Maybe[Sealed] = None


class Ack(Document):
    """A duty officer opened the bundle: decrypted, every signature and equality verified, handling codes seen.

    `submit` is the digest of the act that brought the bundle (submit, supplement, transfer or rewrap), `bundle` the
    SHA-256 of the exact text opened, `parts` the parts manifests of the attachments opened whole.
    """

    bundle: Sha256
    submit: Sha256
    decrypted: Yes
    parts: Maybe[Annotated[Distinct[Sha256], Field(max_length=MAX_ATTACHMENTS)]] = None


class ReceiptFailed(Document):
    """The bundle could not be opened or did not verify; `kid` names the key that should have opened it."""

    reason: Annotated[str, Coded(("receipt_failure",))]
    bundle: Maybe[Sha256] = None
    kid: Maybe[KeyId] = None


class Accept(Document):
    """The unit takes the referral; its own number travels sealed. `joint`: why beside a unit that already took it."""

    joint: Maybe[Annotated[str, Coded(("joint_reason",))]] = None
    sealed: Maybe[Sealed] = None


class Decline(Document):
    """The unit does not take the referral, or the hotline (with `answers`) does not approve a transfer."""

    model_config = stating(demands("reason", _with_note("decline_reason"), "sealed"))

    reason: Annotated[str, Coded(("decline_reason",))]
    suggested_unit: Maybe[Party] = None
    duplicate_of: Maybe[Ref] = None
    answers: Maybe[Sha256] = None
    sealed: Maybe[Sealed] = None

    @model_validator(mode="after")
    def _reasoned(self) -> Self:
        _demand_note("decline_reason", self.reason, self.sealed)
        if self.duplicate_of is not None and self.reason != "duplicate_of":
            raise broken("members-contradict")
        return self


class Transfer(Document):
    """The unit proposes another unit, with the bundle already sealed to it: only a holder of the plaintext can."""

    to: Party
    reason: Annotated[str, Coded(("transfer_reason",))]
    sealed: Sealed


class Status(Document):
    """One step or fact of the investigation; `corrects` is the digest of an earlier status that this one puts right."""

    code: Investigation
    corrects: Maybe[Sha256] = None
    sealed: Maybe[Sealed] = None


class WithdrawalAnswer(Document):
    """What the unit does about a withdrawal or a withdrawn consent."""

    code: Annotated[str, Coded(("withdrawal_answer",))]
    answers: Sha256
    sealed: Maybe[Sealed] = None


class Note(Document):
    """A sealed note to the other side."""

    sealed: Sealed


class Ask(Document):
    """A question by topic; the words are sealed."""

    topics: Annotated[Distinct[Annotated[str, Coded(("info_request",))]], Field(min_length=1, max_length=16)]
    sealed: Maybe[Sealed] = None


class Answer(Document):
    """The answer to an `ask`; what is provided is sealed."""

    model_config = stating(demands("code", _with_note("info_answer"), "sealed"))

    answers: Sha256
    code: Annotated[str, Coded(("info_answer",))]
    sealed: Maybe[Sealed] = None

    @model_validator(mode="after")
    def _provided(self) -> Self:
        _demand_note("info_answer", self.code, self.sealed)
        return self


class Approve(Document):
    """Agreement to a proposed transfer or a requested purge."""

    answers: Sha256


class Close(Document):
    """The delivery ends with an outcome."""

    outcome: Annotated[str, Coded(("outcome",))]
    sealed: Maybe[Sealed] = None


class Reopen(Document):
    """A closed delivery is taken up again; the purge date is computed anew, never put off silently."""

    model_config = stating(demands("reason", _with_note("reopen_reason"), "sealed"))

    reason: Annotated[str, Coded(("reopen_reason",))]
    sealed: Maybe[Sealed] = None

    @model_validator(mode="after")
    def _reasoned(self) -> Self:
        _demand_note("reopen_reason", self.reason, self.sealed)
        return self


class Rewrap(Document):
    """The same bundle sealed again to other keys of the party; `original` is the digest of the act that first brought
    it.
    """

    original: Sha256
    reason: Annotated[str, Coded(("rewrap_reason",))]
    sealed: Sealed


class Hold(Document):
    """Legal hold on or off. On, it has a basis and a date on which it is looked at again."""

    model_config = stating(demands("on", [True], "review_at"))

    on: bool
    basis: Annotated[str, Coded(("hold_basis",))]
    review_at: Maybe[Instant] = None

    @model_validator(mode="after")
    def _reviewed(self) -> Self:
        if self.on != (self.review_at is not None):
            raise broken("review-date")
        return self


class PurgeRequest(Document):
    """Ask for purging before it is due; another person must approve."""

    reason: Annotated[str, Coded(("purge_reason",))]


BODIES: Mapping[Act, type[Document]] = {
    Act.SUBMIT: Submit,
    Act.ROUTE: Route,
    Act.PHONE_ALERT: PhoneAlert,
    Act.SUPPLEMENT: Supplement,
    Act.WITHDRAW: Withdraw,
    Act.CONSENT_WITHDRAWN: ConsentWithdrawn,
    Act.ACK: Ack,
    Act.RECEIPT_FAILED: ReceiptFailed,
    Act.ACCEPT: Accept,
    Act.DECLINE: Decline,
    Act.TRANSFER: Transfer,
    Act.STATUS: Status,
    Act.WITHDRAWAL_ANSWER: WithdrawalAnswer,
    Act.NOTE: Note,
    Act.ASK: Ask,
    Act.ANSWER: Answer,
    Act.APPROVE: Approve,
    Act.CLOSE: Close,
    Act.REOPEN: Reopen,
    Act.REWRAP: Rewrap,
    Act.HOLD: Hold,
    Act.PURGE_REQUEST: PurgeRequest,
    **exchange_bodies.BODIES,
    **directory_bodies.BODIES,
    **account_bodies.BODIES,
}
"""The body of every act. A test compares its keys with `words.Act`."""


def parse_body(act: Act, body: Any, *, on: date | None = None) -> Document:
    """The typed body of an act, from the decoded member `body` of its payload.

    `on` is given by who writes an act: codes out of force on that day are refused. Who reads one leaves it out.

    Raises ReferralError(ACT_SCHEMA) with facts `act`, `where` and `reason` (see `Document.parse`).
    """
    try:
        return BODIES[act].parse(body, code=ErrorCode.ACT_SCHEMA, on=on)
    except ReferralError as fault:
        fault.facts["act"] = act.value
        raise


def sealed_of(body: Document) -> Sealed | None:
    """The ciphertext that travels beside the act, or None: a submission's bundle, any other act's `sealed`."""
    return body.bundle if isinstance(body, Submit) else getattr(body, "sealed", None)


def code_of(body: Document) -> str | None:
    """The code that the lifecycle looks at (`withdrawal_answer`), or None."""
    return body.code if isinstance(body, WithdrawalAnswer) else None


def answers_of(body: Document) -> words.Digest | None:
    """The digest of the act that this one answers, or None."""
    return getattr(body, "answers", None)
