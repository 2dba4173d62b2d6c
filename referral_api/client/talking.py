"""Talking about a referral: the questions that are open, their answers, and supplements.

A question is answered by naming its act. A supplement is a further bundle with a whole referral in it, and goes to each
unit in an act and an envelope of its own: an envelope names its recipients, and no unit learns of another (R-62).

A supplement is held to everything that a first referral is held to, by its sender before sealing and by its reader
after opening.

Must never: answer a question that this credential may not, address one envelope to several units, or let a supplement
say in clear-text codes what the submission did not say.

Implements: R-62, R-64, R-76, R-81, R-83, R-85, R-87; design §6, §10.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from referral_api.client import addressing, consented, delivery, submission
from referral_api.client.care import demand_care
from referral_api.client.keystore import CredentialKeys
from referral_api.client.outbox import Entry
from referral_api.client.pen import Pen
from referral_api.client.sealing import OpenedBundle
from referral_api.client.session import Session
from referral_api.client.view import Referral, ShownAct
from referral_api.domain.deliveries import Question
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.policy import Relation
from referral_api.domain.words import Act, ActId, DeliveryRole, PartyId, State
from referral_api.formats.bodies import Submit
from referral_api.formats.bundle import SealedBundle, SealRole
from referral_api.formats.contents import BundleBody
from referral_api.formats.referral_body import ReferralBody, parse_referral
from referral_api.formats.referral_findings import check_referral, faults_of

SUPPLEMENTED = frozenset(
    {
        *(State.HELD, State.SUBMITTED, State.RETRIEVED, State.RECEIPT_FAILED, State.ACKNOWLEDGED, State.ACCEPTED),
        *(State.EXPIRED, State.CLOSED),
    }
)
"""Deliveries that a supplement goes to unasked: who declined, passed it on or had it taken back needs no more of it."""


@dataclass(frozen=True, slots=True)
class Open:
    """A question on a delivery, and the act that asked it where we may see that."""

    unit: PartyId
    question: Question
    shown: ShownAct | None

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics of an `ask`; none of anything else."""
        body: Any = None if self.shown is None else self.shown.act.body
        return tuple(getattr(body, "topics", ()))


def open_on(referral: Referral) -> list[Open]:
    """Every question that is open on its deliveries, whoever is to answer it; oldest first on each."""
    shown: dict[str, ShownAct] = {one.act.digest: one for one in referral.acts}
    return [
        Open(PartyId(one.unit), question, shown.get(question.digest))
        for one in referral.chronicle.deliveries.values()
        for question in one.questions
    ]


def open_questions(
    referral: Referral, party: str, signer: str, kinds: Collection[Act] | None = None, unit: str | None = None
) -> list[Open]:
    """Those of them that this party's signer may answer; of these kinds, and of this unit."""
    return [
        one
        for one in open_on(referral)
        if unit in (None, one.unit)
        and (kinds is None or one.question.act in kinds)
        and one.question.waits_for(party, signer)
    ]


def supplement(pen: Pen, referral: Referral, body: Mapping[str, Any], unit: str) -> Entry:
    """Send more about a referral to one of its units, sealed to that and to ourselves.

    Raises as `submission.compose` for a body that is not right or says other codes than the submission, and for one
    that goes abroad without the scope for it; NOT_FOUND for a unit without a delivery, CONSENT_GATE
    (`consent-withdrawn`) once it was, ILLEGAL_TRANSITION, NO_USABLE_KEY.
    """
    session = pen.session
    first = referral.submit()
    submitted = first.act.body
    if referral.relation is not Relation.SENDER or not isinstance(submitted, Submit):
        raise ReferralError(ErrorCode.NOT_PERMITTED, act=Act.SUPPLEMENT.value, needs="hotline")
    own = referral.chronicle.deliveries.get(PartyId(unit))
    if own is None:
        raise ReferralError(ErrorCode.NOT_FOUND)
    consented.demand(referral, Act.SUPPLEMENT)
    today = datetime.fromtimestamp(session.now(), UTC).date()
    parsed = parse_referral(dict(body), on=today)
    demand_care(session, pen.keys(), parsed, agreed=(first.act.iss, first.at))
    check_referral(parsed, submitted, on=today, abroad=delivery.crosses(session, first.act.party, [unit]))

    def sealed(_: ActId) -> SealedBundle:
        recipients = addressing.recipients_as(session, unit, SealRole(own.role.value), session.now())
        return submission.seal_beside(session, pen.keys(), referral.ref, BundleBody(dict(body)), recipients)

    return pen.enclose(referral, Act.SUPPLEMENT, {}, unit, sealed)


def supplemented_units(referral: Referral) -> list[PartyId]:
    """Whom a supplement goes to where no unit is named: everybody who has the referral in hand or may yet get it."""
    found = referral.chronicle.deliveries.values()
    ordered = sorted(found, key=lambda one: one.role is DeliveryRole.ESCALATION)
    return [PartyId(one.unit) for one in ordered if one.state in SUPPLEMENTED]


@dataclass(frozen=True, slots=True)
class Further:
    """A supplement as it was read; `code` says why it stayed closed where `body` is None, `faults` what its sender
    should not have let through.
    """

    shown: ShownAct
    opened: OpenedBundle | None
    body: ReferralBody | None
    code: ErrorCode | None = None
    faults: tuple[ReferralError, ...] = ()


def read_supplements(session: Session, keys: CredentialKeys, referral: Referral) -> list[Further]:
    """Every supplement that this party may read, in log order, opened or told why not."""
    return [_read(session, keys, referral, shown) for shown in referral.supplements()]


def _read(session: Session, keys: CredentialKeys, referral: Referral, shown: ShownAct) -> Further:
    try:
        opened = delivery.open_beside(session, delivery.private_keys(keys), referral, shown)
        body = _body_of(opened, referral)
    except ReferralError as error:
        return Further(shown, None, None, error.code)
    return Further(shown, opened, body, faults=_faults_of(session, referral, shown, opened, body))


def _faults_of(
    session: Session, referral: Referral, shown: ShownAct, opened: OpenedBundle, body: ReferralBody
) -> tuple[ReferralError, ...]:
    """What is wrong with a supplement beside the submission that it belongs to; told to its reader, never refused."""
    submitted = referral.submit().act
    if not isinstance(submitted.body, Submit):
        return ()
    units = [] if shown.act.unit is None else [shown.act.unit]
    abroad = delivery.crosses(session, submitted.party, units)
    return tuple(faults_of(body, submitted.body, on=opened.written_at.date(), abroad=abroad))


def _body_of(opened: OpenedBundle, referral: Referral) -> ReferralBody:
    contents = opened.referral.contents
    if contents.party != referral.submit().act.party or not isinstance(contents.body, BundleBody):
        raise ReferralError(ErrorCode.DIGEST_MISMATCH, reason="sender")
    return parse_referral(contents.body.referral)
