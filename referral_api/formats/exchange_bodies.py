"""The bodies of the acts that the exchange itself signs: its clocks, releases and forgetting (design §2.1, §9, §10).

They are in clear like all acts: closed codes, digests, times, numbers. None of them tells one unit about another.

Must never: take free text or name a person.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Self

from pydantic import Field, model_validator

from referral_api.domain.words import Act
from referral_api.formats.fields import (
    Coded,
    Document,
    Instant,
    Investigation,
    Many,
    Maybe,
    Party,
    Sha256,
    State,
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
    """A held delivery is released to the escalation party that the act's `unit` names."""

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


BODIES: Mapping[Act, type[Document]] = {
    Act.OVERDUE: Overdue,
    Act.ESCALATED: Escalated,
    Act.RELEASED: Released,
    Act.TAKEN: Taken,
    Act.TELEPHONE_NOW: TelephoneNow,
    Act.EXPIRED: Expired,
    Act.UNIT_OFFLINE: UnitOffline,
    Act.PURGED: Purged,
    Act.ERASE: Erase,
}
