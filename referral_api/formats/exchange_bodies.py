"""The bodies of the acts that the exchange itself signs: its clocks, releases and forgetting (design §2.1, §9, §10).

They are in clear like all acts: closed codes, digests, times, numbers. None of them tells one unit about another.

Must never: take free text or name a person.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from referral_api.domain.clocks import Rung, Terms
from referral_api.domain.rules import Retention, Rules
from referral_api.domain.words import Act, Role
from referral_api.formats.fields import (
    Coded,
    Document,
    Instant,
    Investigation,
    Many,
    Maybe,
    Party,
    RetentionClass,
    Sha256,
    State,
    Urgency,
    all_distinct,
    broken,
)

MAX_ERASED = 1_024
"""Leaves that one `erase` act may name, so that it stays within 32 KiB; more take another act."""

LogOrigin = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,252}(?::[0-9]{1,5})?(?:/[a-z0-9._-]{1,64}){1,6}$")]
"""A log's origin: a schemeless URL, e.g. `exchange.example/audit/2026` (C2SP tlog-checkpoint)."""


class Overdue(Document):
    """A clock ran out: which, and when it was due."""

    clock: Annotated[str, Coded(("clock",))]
    due_at: Instant


class Escalated(Document):
    """A rung of the escalation ladder was reached, and why."""

    reason: Annotated[str, Coded(("escalation_reason",))]
    rung: Annotated[str, Coded(("rung",))]


class Released(Document):
    """To the unit that the act names: what was held for it is released, or what another unit had taken is its again."""

    reason: Annotated[str, Coded(("escalation_reason",))]


class Taken(Document):
    """Another unit accepted the referral first; `accept` is the digest of its act. Which unit is not told."""

    accept: Sha256


class TelephoneNow(Document):
    """Alarm at the hotline: this unit must be telephoned. Pending until a `phone_alert` answers it."""

    reason: Annotated[str, Coded(("escalation_reason",))]


class Expired(Document):
    """The last rung was reached and nobody had acknowledged; `due_at` is when the acknowledgement was due."""

    due_at: Instant


class UnitOffline(Document):
    """The unit missed three polls in a row; `last_seen_at` is absent if it never polled."""

    last_seen_at: Maybe[Instant] = None


class PurgeDue(Document):
    """Ciphertext of this delivery goes at `due_at`, in so many days; said again where that moment is put off."""

    days: Literal[14, 3]
    due_at: Instant


class Purged(Document):
    """Ciphertext is gone: how many sealed texts and parts, and why. Acts and receipts stay."""

    reason: Annotated[str, Coded(("purge_reason",))]
    sealed_count: Annotated[int, Field(ge=0, le=100_000)]
    parts_count: Annotated[int, Field(ge=0, le=100_000)]


class FinalState(Document):
    """The folded end of one delivery, kept when the acts that led there are erased."""

    unit: Party
    state: State
    investigation: Maybe[Investigation] = None


class Erase(Document):
    """Records behind the leaves `indices` of log `origin` are erased, on a legal basis, leaving these final states."""

    origin: LogOrigin
    indices: Annotated[Many[Annotated[int, Field(ge=0, le=2**53 - 1)]], Field(min_length=1, max_length=MAX_ERASED)]
    basis: Annotated[str, Coded(("erase_basis",))]
    states: Annotated[Many[FinalState], Field(max_length=64)]

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if any(later <= earlier for earlier, later in pairwise(self.indices)):
            raise broken("not-ascending")
        if not all_distinct(state.unit for state in self.states):
            raise broken("repeated-entry")
        return self


Span = Annotated[int, Field(ge=60, le=400 * 24 * 3600)]
"""Seconds, from a minute to 400 days."""


class LadderRung(Document):
    """One step of an escalation ladder: how long after the beginning of a delivery, and what happens."""

    after_s: Span
    rung: Annotated[str, Coded(("rung",))]


class ClockRules(Document):
    """The terms of one urgency. The ladder rises, calls the hotline to the telephone, and ends with `expire` alone."""

    urgency: Urgency
    ack_s: Span
    decision_s: Span
    first_status_s: Span
    next_status_s: Span
    ladder: Annotated[Many[LadderRung], Field(min_length=2, max_length=8)]

    @model_validator(mode="after")
    def _climbs(self) -> Self:
        spans, rungs = [one.after_s for one in self.ladder], [one.rung for one in self.ladder]
        if spans != sorted(spans) or spans[-1] <= self.ack_s:
            raise broken("not-ascending")
        if not all_distinct(rungs) or rungs[-1] != "expire" or "telephone_now" not in rungs:
            raise broken("ladder")
        return self


class RetentionRules(Document):
    """How long ciphertext of one class is kept: after the end of a delivery, and after its acknowledgement."""

    retention_class: RetentionClass
    after_end_s: Span
    after_ack_s: Span


class RulesBody(Document):
    """Every rule of the exchange (R-105): terms by urgency and by class, once each, and who agrees to transfers."""

    clocks: Annotated[Many[ClockRules], Field(min_length=3, max_length=3)]
    withdrawal_answer_s: Span
    retention: Annotated[Many[RetentionRules], Field(min_length=3, max_length=3)]
    transfers: Literal["hotline", "exchange"]

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if not all_distinct(one.urgency for one in self.clocks):
            raise broken("repeated-entry")
        if not all_distinct(one.retention_class for one in self.retention):
            raise broken("repeated-entry")
        return self

    def rules(self) -> Rules:
        """As the domain computes with them."""
        return Rules(
            clocks={
                one.urgency: Terms(
                    ack=timedelta(seconds=one.ack_s),
                    decision=timedelta(seconds=one.decision_s),
                    first_status=timedelta(seconds=one.first_status_s),
                    next_status=timedelta(seconds=one.next_status_s),
                    ladder=tuple((timedelta(seconds=rung.after_s), Rung(rung.rung)) for rung in one.ladder),
                )
                for one in self.clocks
            },
            withdrawal_answer=timedelta(seconds=self.withdrawal_answer_s),
            retention={
                one.retention_class: Retention(timedelta(seconds=one.after_end_s), timedelta(seconds=one.after_ack_s))
                for one in self.retention
            },
            transfers=Role(self.transfers),
        )


def rules_wire(rules: Rules) -> dict[str, Any]:
    """Rules as the body of a `rules` act."""
    return {
        "clocks": [
            {
                "urgency": urgency.value,
                "ack_s": _s(terms.ack),
                "decision_s": _s(terms.decision),
                "first_status_s": _s(terms.first_status),
                "next_status_s": _s(terms.next_status),
                "ladder": [{"after_s": _s(after), "rung": rung.value} for after, rung in terms.ladder],
            }
            for urgency, terms in rules.clocks.items()
        ],
        "withdrawal_answer_s": _s(rules.withdrawal_answer),
        "retention": [
            {"retention_class": kept.value, "after_end_s": _s(terms.after_end), "after_ack_s": _s(terms.after_ack)}
            for kept, terms in rules.retention.items()
        ],
        "transfers": rules.transfers.value,
    }


def _s(span: timedelta) -> int:
    return int(span.total_seconds())


BODIES: Mapping[Act, type[Document]] = {
    Act.OVERDUE: Overdue,
    Act.ESCALATED: Escalated,
    Act.RELEASED: Released,
    Act.TAKEN: Taken,
    Act.TELEPHONE_NOW: TelephoneNow,
    Act.EXPIRED: Expired,
    Act.UNIT_OFFLINE: UnitOffline,
    Act.PURGE_DUE: PurgeDue,
    Act.PURGED: Purged,
    Act.ERASE: Erase,
    Act.RULES: RulesBody,
}
