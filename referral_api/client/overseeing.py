"""Whether the exchange says what is late, held against our own clock: stopped timers are an alarm at the hotline too.

An exchange whose clocks stand still, or that keeps quiet, lets an emergency lie without a word. Whoever sent it knows
from the receipt when it was due, and looks for himself a little later.

Must never: believe that nothing is late because nobody says so, or ask more often than the deadlines themselves.

Implements: R-106; rule R18 of the field.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from referral_api.client import outage
from referral_api.client.outbox import Entry, Outbox, Progress
from referral_api.client.session import Session
from referral_api.client.view import Referral
from referral_api.domain import lifecycle
from referral_api.domain.clocks import Clock
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.rules import DEFAULT
from referral_api.domain.words import Act, DeliveryRole, ReferralId
from referral_api.formats.act import parse_act
from referral_api.formats.receipt import parse_receipt

GRACE_S: Final = 120
"""How long after a deadline the exchange may take to say so, and two clocks may differ."""
AGAIN_S: Final = 600
"""How long after that it is looked at again."""
_UNREAD: Final = frozenset({Progress.RECEIVED, Progress.RETRIEVED})


@dataclass(frozen=True, slots=True)
class Silence:
    """A delivery that nobody acknowledged, whose deadline (unix seconds) has passed without a word of the exchange."""

    ref: ReferralId
    unit: str
    due_at: int


@dataclass(slots=True)
class Overseer:
    """One a process that waits for its inbox. `fetch` is `Client.referral`, which verifies what it shows."""

    session: Session
    outbox: Outbox
    fetch: Callable[[str], Referral]
    _look_at: dict[str, int] = field(default_factory=dict)
    _told: set[Silence] = field(default_factory=set)

    def news(self) -> list[Silence]:
        """What is silent now and was not told before. Raises as `fetch`, but for an exchange that cannot answer now.

        A referral that the exchange has signed for and does not find any more is as silent as one that nobody read,
        unless its purge was verified here.
        """
        now, found = self.session.now(), []
        for entry in self.outbox.entries():
            ref = entry.outgoing.ref
            if entry.outgoing.act is not Act.SUBMIT or entry.state not in _UNREAD or ref is None:
                continue
            if now < self._look_at.setdefault(ref, _expected(entry)):
                continue
            try:
                found += self._look(ref, self.fetch(ref), now)
            except ReferralError as error:
                if outage.is_passing(error):
                    break  # For the others there is no answer either, and whoever waits has more to ask for.
                if error.code is not ErrorCode.NOT_FOUND:
                    raise
                self._look_at[ref] = now + AGAIN_S
                views = self.session.views
                # What was purged is erased some day, and then there is nothing to be found.
                found += [] if views is not None and views.bury_if_purged(ref) else _lost(entry, ref)
        fresh = [one for one in found if one not in self._told]
        self._told.update(fresh)
        return fresh

    def _look(self, ref: ReferralId, referral: Referral, now: int) -> list[Silence]:
        self._look_at[ref] = now + AGAIN_S
        silent = []
        for unit, delivery in referral.chronicle.deliveries.items():
            due = next((one for one in referral.standings[unit].dues if one.clock is Clock.ACK), None)
            if due is None or delivery.state not in lifecycle.UNREAD:
                continue
            if due.due_at + GRACE_S > now:
                self._look_at[ref] = min(self._look_at[ref], due.due_at + GRACE_S)
            elif dict(delivery.told).get(Clock.ACK.value) != due.due_at:
                silent.append(Silence(ref, unit, due.due_at))
        return silent


def _lost(entry: Entry, ref: ReferralId) -> list[Silence]:
    """Every delivery of a submission to act on, where nothing can be seen of it."""
    body: Any = parse_act(entry.outgoing.jws).body
    units = [to.unit for to in body.to if to.role is DeliveryRole.ACTION]
    return [Silence(ref, unit, _expected(entry) - GRACE_S) for unit in units]


def _expected(entry: Entry) -> int:
    """When a submission would be late by the rules that most exchanges have; what it shows says which it has."""
    body: Any = parse_act(entry.outgoing.jws).body
    received = parse_receipt(entry.receipt or b"").payload.time
    return received + int(DEFAULT.clocks[body.urgency].ack.total_seconds()) + GRACE_S
