"""Deadlines, urgency floors and the escalation ladder as pure functions of time (design §10).

Defaults are those of the field (calendar time, not office hours); an exchange may configure others, and a change of
them is a recorded act. Only the server's clock counts: times passed in are the ones that the exchange recorded.

Must never: read a clock. Clauses: docs/protocol.md R-80 to R-82.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from referral_api.domain.words import State, Urgency


class Clock(StrEnum):
    """What a unit owes next."""

    ACK = "ack"
    DECISION = "decision"
    FIRST_STATUS = "first_status"
    NEXT_STATUS = "next_status"
    WITHDRAWAL_ANSWER = "withdrawal_answer"


class Rung(StrEnum):
    """One step of the escalation ladder, counted from the acknowledgement deadline or from submission."""

    REMIND_UNIT = "remind_unit"
    TELEPHONE_NOW = "telephone_now"
    RELEASE_PARENT = "release_parent"
    RELEASE_NATIONAL = "release_national"
    EXPIRE = "expire"


@dataclass(frozen=True, slots=True)
class Terms:
    """The terms of one urgency: how long after its start each clock runs out, and the ladder from submission on."""

    ack: timedelta
    decision: timedelta
    first_status: timedelta
    next_status: timedelta
    ladder: tuple[tuple[timedelta, Rung], ...]


_minutes = timedelta(minutes=1)
_hours = timedelta(hours=1)
_days = timedelta(days=1)

WITHDRAWAL_ANSWER_TERM = 72 * _hours
"""A withdrawal notice must be answered within this time, whatever the urgency."""

TERMS: dict[Urgency, Terms] = {
    Urgency.EMERGENCY: Terms(
        ack=15 * _minutes,
        decision=1 * _hours,
        first_status=2 * _hours,
        next_status=24 * _hours,
        ladder=(
            (10 * _minutes, Rung.REMIND_UNIT),
            (15 * _minutes, Rung.TELEPHONE_NOW),
            (15 * _minutes, Rung.RELEASE_PARENT),
            (30 * _minutes, Rung.RELEASE_NATIONAL),
            (120 * _minutes, Rung.EXPIRE),
        ),
    ),
    Urgency.URGENT: Terms(
        ack=2 * _hours,
        decision=24 * _hours,
        first_status=24 * _hours,
        next_status=7 * _days,
        ladder=(
            (1 * _hours, Rung.REMIND_UNIT),
            (2 * _hours, Rung.TELEPHONE_NOW),
            (2 * _hours, Rung.RELEASE_PARENT),
            (6 * _hours, Rung.RELEASE_NATIONAL),
            (24 * _hours, Rung.EXPIRE),
        ),
    ),
    Urgency.ROUTINE: Terms(
        ack=24 * _hours,
        decision=72 * _hours,
        first_status=14 * _days,
        next_status=30 * _days,
        ladder=((24 * _hours, Rung.TELEPHONE_NOW), (72 * _hours, Rung.RELEASE_PARENT), (14 * _days, Rung.EXPIRE)),
    ),
}

_RANK = {Urgency.ROUTINE: 0, Urgency.URGENT: 1, Urgency.EMERGENCY: 2}

EMERGENCY_REASONS = frozenset({"held_captive_now", "suicide_risk", "life_threat"})
"""Urgency reasons that leave no choice: someone is captive or may die now."""
URGENT_REASONS = frozenset({"imminent_movement", "child_at_risk", "medical", "evidence_perishing"})
CHILD_SAFEGUARDS = frozenset({"child_0_11", "child_12_17", "unknown"})
"""Age groups under child safeguards: an unknown age counts as a child's (rule R8 of the field)."""


def floor(age_groups: frozenset[str], urgency_reasons: frozenset[str]) -> Urgency:
    """The least urgency a referral may carry: captive now or suicide risk → emergency; child or unknown age → urgent.

    `age_groups` are the victims' (empty if no victim is known), `urgency_reasons` the codes given anywhere in the body.
    Deterministic; no score and no free text can lower it.
    """
    if urgency_reasons & EMERGENCY_REASONS:
        return Urgency.EMERGENCY
    if age_groups & CHILD_SAFEGUARDS or urgency_reasons & URGENT_REASONS:
        return Urgency.URGENT
    return Urgency.ROUTINE


def at_least(urgency: Urgency, least: Urgency) -> bool:
    """Whether `urgency` is as high as `least`."""
    return _RANK[urgency] >= _RANK[least]


def higher(one: Urgency, other: Urgency) -> Urgency:
    """The higher of two urgencies."""
    return one if _RANK[one] >= _RANK[other] else other


@dataclass(frozen=True, slots=True)
class Due:
    """The next thing a unit owes on a delivery, and when it is late."""

    clock: Clock
    due_at: datetime


def due(
    urgency: Urgency,
    state: State,
    *,
    submitted_at: datetime,
    accepted_at: datetime | None = None,
    last_status_at: datetime | None = None,
    notified_at: datetime | None = None,
) -> Due | None:
    """What the unit owes next in `state`, or None where nothing is owed.

    Times are the exchange's own, aware UTC. The total clock runs from submission (or release) on: an acknowledgement
    does not restart the decision's term.
    """
    terms = TERMS[urgency]
    if state in (State.SUBMITTED, State.RETRIEVED, State.RECEIPT_FAILED):
        return Due(Clock.ACK, submitted_at + terms.ack)
    if state is State.ACKNOWLEDGED:
        return Due(Clock.DECISION, submitted_at + terms.decision)
    if state is State.ACCEPTED:
        if last_status_at is not None:
            # Taken up again after it was closed or withdrawn, the next status is owed from then.
            return Due(Clock.NEXT_STATUS, max(last_status_at, accepted_at or last_status_at) + terms.next_status)
        return Due(Clock.FIRST_STATUS, max(submitted_at, accepted_at or submitted_at) + terms.first_status)
    if state is State.WITHDRAWAL_NOTIFIED and notified_at is not None:
        return Due(Clock.WITHDRAWAL_ANSWER, notified_at + WITHDRAWAL_ANSWER_TERM)
    return None


def rungs_due(urgency: Urgency, submitted_at: datetime, now: datetime) -> list[Rung]:
    """The rungs of the ladder reached by `now` for a delivery that nobody has acknowledged, in order."""
    return [rung for after, rung in TERMS[urgency].ladder if submitted_at + after <= now]


def escalation_sealed(urgency: Urgency) -> bool:
    """Whether bundles of this urgency are sealed to the escalation parties at submission (emergency and urgent)."""
    return urgency is not Urgency.ROUTINE
