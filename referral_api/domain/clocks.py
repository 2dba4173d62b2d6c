"""Deadlines by urgency, urgency floors and the escalation ladder (design §10).

The terms here are the defaults of the field (calendar time, not office hours); an exchange may configure others
(rules.py). What follows from them for one referral is computed in clockwork.py.

Must never: read a clock. Clauses: docs/protocol.md R-80 to R-82.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from referral_api.domain.words import Urgency


class Clock(StrEnum):
    """What a unit owes next."""

    ACK = "ack"
    DECISION = "decision"
    FIRST_STATUS = "first_status"
    NEXT_STATUS = "next_status"
    WITHDRAWAL_ANSWER = "withdrawal_answer"
    HOLD_REVIEW = "hold_review"


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


def escalation_sealed(urgency: Urgency) -> bool:
    """Whether bundles of this urgency are sealed to the escalation parties at submission (emergency and urgent)."""
    return urgency is not Urgency.ROUTINE
