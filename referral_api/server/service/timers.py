"""The exchange's clocks: whatever is due is posted as its own signed act, once, by whichever process leads (R-106).

A look at one referral is a job of the writer: it asks domain/clockwork.py what is owed by the batch's own time, and
posts that in one transaction with the alarm for the next time. So a process that dies loses nothing, two that look at
once post nothing twice, and a clock that jumped is the writer's matter, which then refuses everything (R-97).

Must never: decide what is due, keep a deadline in memory, or let one referral's fault stop the others' clocks.

Implements: R-78, R-80, R-106; design §10.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Protocol

from referral_api.domain import clockwork, lifecycle
from referral_api.domain.choosing import OFFLINE_AFTER_S
from referral_api.domain.clocks import escalation_sealed
from referral_api.domain.clockwork import Owed
from referral_api.domain.deliveries import TELEPHONED, Delivery
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Act, DeliveryRole, Role
from referral_api.formats.act import build_act, parse_act
from referral_api.server import observe
from referral_api.server.service.batch import Batch, Committed, Done
from referral_api.server.service.exchange import Exchange
from referral_api.server.service.ledger import Entry, store
from referral_api.server.service.posting import post, situation_of
from referral_api.server.service.writer import Writer
from referral_api.server.storage import alarms, feeds, queries
from referral_api.server.storage.database import Connection
from referral_api.server.storage.queries import Referral

EVERY_S: Final = 1.0
"""How often is looked for what is due."""
AT_ONCE: Final = 64
"""How many referrals are looked at in one go."""
MOST_ACTS: Final = 1000
"""More than any referral can owe at once: a rule that never ends would stop here instead of filling the log."""
STOPPED_S: Final = 60
"""After how long without a look, or with something due that was not posted, the clocks count as stopped."""
OFFLINE_S: Final = OFFLINE_AFTER_S
"""A unit that has not polled for so long is offline (R-84)."""


_Done = queue.SimpleQueue[tuple[str, Committed[int] | ReferralError]]


class Leader(Protocol):
    """Whether this process runs the clocks, of several over one database (storage/leader.py)."""

    def holds(self) -> bool:
        """Whether it does now; tries to, where nobody does."""

    def close(self) -> None:
        """Let another one."""


class Alone:
    """The only process that there can be."""

    def holds(self) -> bool:
        """It always leads."""
        return True

    def close(self) -> None:
        """There is nobody to leave it to."""


class Look:
    """The job that posts what one referral owes now; how many acts that were."""

    def __init__(self, exchange: Exchange, ref: str, *, offline: str | None = None) -> None:
        """`offline` is a unit of it that does not answer, which is a reason to telephone by itself."""
        self._exchange = exchange
        self._ref = ref
        self._offline = offline

    def __call__(self, batch: Batch) -> Done[int]:
        """Post until nothing is owed, and set the alarm for the next time."""
        referral = queries.find_referral(batch.tx, self._ref)
        if referral is None:
            alarms.set_alarm(batch.tx, self._ref, None, is_new=False)
            return Done(0)
        exchange, rules = self._exchange, self._exchange.rules_at(referral.created_at)
        deliveries: Mapping[str, Delivery] = queries.deliveries_of(batch.tx, self._ref)
        count = 0
        unit = self._offline
        if unit is not None and _is_to_telephone(referral, deliveries.get(unit)):
            alarm = Owed(Act.TELEPHONE_NOW, unit, {"reason": "unit_offline"})
            deliveries, places = post(batch, exchange, rules, referral, deliveries, [alarm])
            count += len(places)
        while step := clockwork.owed(rules, situation_of(referral, deliveries), batch.now):
            deliveries, places = post(batch, exchange, rules, referral, deliveries, step.acts)
            count += len(places)
            if count > MOST_ACTS or not places:
                raise RuntimeError("the clocks of a referral do not come to rest")
        at = clockwork.wakes_at(rules, situation_of(referral, deliveries))
        alarms.set_alarm(batch.tx, self._ref, at, is_new=False)
        return Done(count)


def _keep(done: _Done, ref: str, outcome: Committed[int] | ReferralError) -> None:
    done.put((ref, outcome))


def _waiting_at(conn: Connection, unit: str) -> list[str]:
    """The referrals of which something waits in a unit's inbox, the oldest first, however many."""
    found: dict[str, None] = {}
    after = 0
    while lines := feeds.feed_after(conn, unit, after, AT_ONCE, pending=True):
        found |= dict.fromkeys(line.ref for line in lines if line.ref is not None)
        after = lines[-1].pos
    return list(found)


def _is_to_ring(conn: Connection, ref: str, unit: str) -> bool:
    referral = queries.find_referral(conn, ref)
    return referral is not None and _is_to_telephone(referral, queries.deliveries_of(conn, ref).get(unit))


def _is_to_telephone(referral: Referral, delivery: Delivery | None) -> bool:
    """Whether nobody has read a pressing delivery to act on, and the hotline was never told to telephone."""
    return (
        escalation_sealed(referral.urgency)
        and delivery is not None
        and delivery.state in lifecycle.UNREAD
        and delivery.role is not DeliveryRole.INFORMATION
        and not delivery.taken
        and TELEPHONED not in dict(delivery.told)
    )


class Offline:
    """The job that says on the record that a unit has stopped polling, and since when."""

    def __init__(self, exchange: Exchange, unit: str, last_seen_at: int | None) -> None:
        self._exchange = exchange
        self._unit = unit
        self._last_seen_at = last_seen_at

    def __call__(self, batch: Batch) -> Done[None]:
        """One act, about the unit and no referral."""
        exchange = self._exchange
        raw = build_act(
            act_id=exchange.draw_act_id(),
            iss=exchange.credential,
            aud=exchange.issuer,
            iat=batch.now,
            act=Act.UNIT_OFFLINE,
            ref=None,
            unit=self._unit,
            prev=None,
            body={} if self._last_seen_at is None else {"last_seen_at": self._last_seen_at},
            signers=exchange.keyring.act_signers(batch.now),
        )
        store(batch, exchange, Entry(parse_act(raw), None, None, ()))
        return Done(None)


@dataclass(slots=True)
class Timers:
    """The clocks of one process. `turn` is called about once a second, by one thread at a time."""

    exchange: Exchange
    writer: Writer
    leader: Leader
    clock: Callable[[], float]
    polled: Mapping[str, int]
    """When each party last polled this process, as far as no batch has kept it yet."""
    steady: Callable[[], float]
    """Seconds of a clock that nobody sets: whether this process looks at all is no matter of the calendar."""
    began_at: float = field(default=0.0)
    looked_at: float = field(default=0.0)
    leads: bool = field(default=False)
    lag_s: int = field(default=0)
    seen: dict[str, int] = field(default_factory=dict)
    """When each party last polled, as far as is known here."""
    failing: frozenset[str] = field(default=frozenset())
    """Referrals whose look failed the last time: they are tried again at every turn, behind the others."""
    ahead: float | None = field(default=None)
    """By how much the clock was ahead of the steady one when it was furthest ahead."""
    _offline: dict[str, int | None] = field(default_factory=dict)
    _turning: threading.Lock = field(default_factory=threading.Lock)
    _closed: bool = field(default=False)

    def __post_init__(self) -> None:
        """A process that has just started has its first minute."""
        self.looked_at = self.steady()

    def turn(self) -> int:
        """Look at what is due, if this process leads; how many acts were posted. Raises what the database raises, and
        WRITES_CLOSED where nothing can be posted: then `stopped` says so after a minute.

        Must not be called on the thread that delivers the writer's answers.
        """
        with self._turning:
            return self._turn()

    def close(self) -> None:
        """Let another process lead, when the turn under way has ended; from now on nothing is posted here.

        Must be called while the writer still answers.
        """
        with self._turning:
            self._closed, self.leads = True, False
            self.leader.close()

    def _turn(self) -> int:
        if self._closed:
            # A turn that began to wait as the process ended would claim the lead again, and keep it from the others.
            return 0
        now = self.clock()
        self.began_at = self.began_at or now
        ahead = now - self.steady()
        self.ahead = ahead if self.ahead is None else max(ahead, self.ahead)
        self.leads = self.leader.holds()
        if not self.leads:
            self.looked_at = self.steady()
            return 0
        # Before the database is asked: what a batch takes along meanwhile is in one of the two.
        self._hear(dict(self.polled))
        with self.exchange.database.read() as conn:
            due = alarms.due_alarms(conn, AT_ONCE + len(self.failing), int(now))
            self._hear(feeds.polls(conn))
        posted, failing = self._look([ref for ref, _ in due])
        posted += self._look_for_silence(int(now))
        self.failing = frozenset(failing)
        self.lag_s = max((int(now) - at for ref, at in due if at and ref in self.failing), default=0)
        self.looked_at = self.steady()
        return posted

    def _look(self, refs: Sequence[str], offline: str | None = None) -> tuple[int, list[str]]:
        """Look at these referrals in as few batches as there can be: acts posted, and referrals whose look failed."""
        done: _Done = queue.SimpleQueue()
        for ref in refs:
            self.writer.submit(Look(self.exchange, ref, offline=offline), partial(_keep, done, ref))
        posted, failing = 0, []
        for _ in refs:
            ref, outcome = self.writer.answer_in(done)
            if not isinstance(outcome, ReferralError):
                posted += outcome.result
                continue
            if outcome.code is ErrorCode.WRITES_CLOSED:
                raise outcome
            failing.append(ref)
            observe.log("clock_failed", code=outcome.code.value)
        return posted, failing

    @property
    def stopped(self) -> bool:
        """Whether a deadline may pass unsaid: nobody has looked for a minute, what was due a minute ago is not said, or
        the clock was set back by more than that, so that nothing seems due.

        That is itself an alarm (rule R18 of the field): not ready, in the metrics, at the operator's own channels.
        """
        set_back = self.ahead is not None and self.ahead - (self.clock() - self.steady()) > STOPPED_S
        return set_back or self.steady() - self.looked_at > STOPPED_S or (self.leads and self.lag_s > STOPPED_S)

    def _hear(self, polled: Mapping[str, int]) -> None:
        for party, at in polled.items():
            self.seen[party] = max(at, self.seen.get(party, 0))

    def _look_for_silence(self, now: int) -> int:
        """Units that hold what nobody has read, and have stopped polling: that is told once, and each time anew."""
        if now - self.began_at < OFFLINE_S:
            return 0  # Nobody could poll while there was no exchange.
        posted = 0
        for party in self.exchange.keymap.parties():
            if party.role is not Role.POLICE_UNIT:
                continue
            unit = party.entry.id
            seen = self.seen.get(unit)
            if seen is not None and now - seen <= OFFLINE_S:
                self._offline.pop(unit, None)
                continue
            with self.exchange.database.read() as conn:
                unread = _waiting_at(conn, unit)
                # Who has been told to telephone is not told again, and nothing is written for it once a second.
                ringing = [ref for ref in unread if _is_to_ring(conn, ref, unit)]
            if not unread:
                continue
            if unit not in self._offline:
                self._offline[unit] = seen
                self.writer.run(Offline(self.exchange, unit, seen))
                posted += 1
            posted += self._look(ringing, offline=unit)[0]
        return posted
