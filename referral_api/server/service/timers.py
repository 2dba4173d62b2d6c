"""The exchange's clocks: whatever is due is posted as its own signed act, once, by whichever process leads (R-106).

A look at one referral is a job of the writer: it asks domain/clockwork.py what is owed by the batch's own time, and
posts that in one transaction with the alarm for the next time. So a process that dies loses nothing, and two that look
at once post nothing twice. Who cannot post does not lead. Who does not lead watches: where something has been due for a
while, whoever leads hangs, and it is posted from here.

Must never: decide what is due, keep a deadline in memory, or let one referral's fault stop the others' clocks.

Implements: R-78, R-80, R-106; design §10; docs/decisions/0034.
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
from referral_api.formats.exchange_bodies import UnitOffline
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
STANDS_IN_AFTER_S: Final = 30
"""How long who does not lead lets something be due before he posts it himself."""
STANDS_IN_S: Final = 600
"""For how long he goes on then, also with what is due only now and with units that are silent."""
FAILING_S: Final = 5
"""For how long the turns of who leads may fail before he lets another one."""
OFFLINE_S: Final = OFFLINE_AFTER_S
"""A unit that has not polled for so long is offline (R-84)."""


_Done = queue.SimpleQueue[tuple[str, Committed[int] | ReferralError]]


class Leader(Protocol):
    """Whether this process runs the clocks, of several over one database (storage/leader.py)."""

    def holds(self) -> bool:
        """Whether it does now; tries to, where nobody does."""

    def release(self) -> None:
        """Let another one, and do not try to for some seconds."""

    def close(self) -> None:
        """Let another one."""


class Alone:
    """The only process that there can be."""

    def holds(self) -> bool:
        """It always leads."""
        return True

    def release(self) -> None:
        """There is nobody to leave it to."""

    def close(self) -> None:
        """The same."""


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


def _is_said(conn: Connection, unit: str, seen: int | None) -> bool:
    """Whether the record says already that a unit is silent that was there last at `seen` (None: never)."""
    raw = alarms.newest_offline(conn, unit)
    if raw is None or seen is None:
        return raw is not None
    body = parse_act(raw).body
    said = body.last_seen_at if isinstance(body, UnitOffline) else None
    return said is not None and seen <= said.timestamp()


class Offline:
    """The job that says on the record that a unit has stopped polling, and since when; once for each silence, whoever
    looks, however often he starts. How many acts that were.
    """

    def __init__(self, exchange: Exchange, unit: str, last_seen_at: int | None) -> None:
        self._exchange = exchange
        self._unit = unit
        self._last_seen_at = last_seen_at

    def __call__(self, batch: Batch) -> Done[int]:
        """One act, about the unit and no referral."""
        exchange = self._exchange
        if _is_said(batch.tx, self._unit, self._last_seen_at):
            return Done(0)
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
        return Done(1)


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
    set_back_s: Callable[[], float] = lambda: 0.0
    """By how much the machine's clock lies behind where it has been; `clock` goes on all the same (clock_watch.py)."""
    began_at: float = field(default=0.0)
    looked_at: float = field(default=0.0)
    leads: bool = field(default=False)
    lag_s: float = field(default=0.0)
    """For how long something has been due that nobody has posted, as far as is seen here."""
    seen: dict[str, int] = field(default_factory=dict)
    """When each party last polled, as far as is known here."""
    failing: dict[str, float] = field(default_factory=dict)
    """Referrals whose look failed the last time, and since when (of the steady clock): they are tried again at every
    turn, beside the others.
    """
    _offline: dict[str, int | None] = field(default_factory=dict)
    """Units whose silence is on the record, as far as this process knows, and when they were there before it."""
    _waits: tuple[int, float] | None = field(default=None)
    """The time by which everything that was due is not posted yet, and when that was by the steady clock."""
    _stands_in_until: float = field(default=0.0)
    _fails_since: float | None = field(default=None)
    _turning: threading.Lock = field(default_factory=threading.Lock)
    _closed: bool = field(default=False)

    def __post_init__(self) -> None:
        """A process that has just started has its first minute."""
        self.looked_at = self.steady()

    def turn(self) -> int:
        """Look at what is due, if this process leads or whoever leads hangs; how many acts were posted. Raises what the
        database raises, and WRITES_CLOSED where the clock closes everything: `stopped` says so after a minute.

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
        able = self.writer.closed is None and self.writer.alive
        if not able:
            self.leader.release()
        self.leads = able and self.leader.holds()
        if self.leads:
            self._waits, self._stands_in_until = None, 0.0
        elif not self._watches(int(now), able=able):
            return 0
        try:
            posted = self._post(int(now))
        except Exception as fault:
            self._leave(fault)
            raise
        self._fails_since, self.looked_at = None, self.steady()
        return posted

    def _leave(self, fault: Exception) -> None:
        """After a turn that failed: let another one lead, at once where nothing can be written here."""
        runs = self.steady()
        self._fails_since = runs if self._fails_since is None else self._fails_since
        shut = isinstance(fault, ReferralError) and fault.code is ErrorCode.WRITES_CLOSED
        if self.leads and (shut or runs - self._fails_since >= FAILING_S):
            self.leader.release()
            self.leads, self._fails_since = False, None

    def _watches(self, now: int, *, able: bool) -> bool:
        """Look whether whoever leads posts what is due; whether this process is to do it."""
        with self.exchange.database.read() as conn:
            due = alarms.due_alarms(conn, 1, now)
        runs = self.looked_at = self.steady()
        if not due:
            self._waits = None
        elif self._waits is None or due[0][1] > self._waits[0]:
            # What was due then has all been posted.
            self._waits = (now, runs)
        self.lag_s = 0.0 if self._waits is None else runs - self._waits[1]
        if able and self.lag_s > STANDS_IN_AFTER_S:
            if runs >= self._stands_in_until:
                observe.log("stands_in_for_clocks")
            self._stands_in_until = runs + STANDS_IN_S
        return able and runs < self._stands_in_until

    def _post(self, now: int) -> int:
        # Before the database is asked: what a batch takes along meanwhile is in one of the two.
        self._hear(dict(self.polled))
        with self.exchange.database.read() as conn:
            due = alarms.due_alarms(conn, AT_ONCE + len(self.failing), now)
            self._hear(feeds.polls(conn))
        posted, failed = self._look([ref for ref, _ in due])
        runs = self.steady()
        self.failing = {ref: self.failing.get(ref, runs) for ref in failed}
        # One that is to be looked at anew, whenever that was (`at` 0), is late from its first look on.
        lags = [now - at if at else runs - self.failing[ref] for ref, at in due if ref in self.failing]
        self.lag_s = max(lags, default=0.0) if self.leads else max(self.lag_s, *lags, 0.0)
        return posted + self._look_for_silence(now)

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
        """Whether a deadline may pass unsaid, or be said late: this process has not looked for a minute, what was due a
        minute ago is not said, whoever leads, or the clock was set back by more than that and time has not caught up.

        That is itself an alarm (rule R18 of the field): not ready, in the metrics, at the operator's own channels.
        """
        late = self.steady() - self.looked_at > STOPPED_S or self.lag_s > STOPPED_S
        return late or self.set_back_s() > STOPPED_S

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
                continue
            with self.exchange.database.read() as conn:
                unread = _waiting_at(conn, unit)
                # Who has been told to telephone is not told again, and nothing is written for it once a second.
                ringing = [ref for ref in unread if _is_to_ring(conn, ref, unit)]
            if not unread:
                continue
            if unit not in self._offline or self._offline[unit] != seen:
                posted += self._say_offline(unit, seen)
            posted += self._look(ringing, offline=unit)[0]
        return posted

    def _say_offline(self, unit: str, seen: int | None) -> int:
        """Have it said, unless it was before this process began, or by another; how many acts that were."""
        with self.exchange.database.read() as conn:
            said = _is_said(conn, unit, seen)
        posted = 0 if said else self.writer.run(Offline(self.exchange, unit, seen)).result
        self._offline[unit] = seen
        return posted
