"""Contentless wake-ups: who has a new line is told, outside of the exchange, to look (R-109).

The process that committed a batch hears of it after its COMMIT and only notes it; a thread decides, and each channel is
tried on a thread of its own, so that nobody waits for one that is dead: no other channel, no alarm, no writer, no call.
What a process forgets when it ends, and what was told to nobody in vain, is found again in the inboxes themselves:
at every start, and every quarter of an hour after it.

Must never: hold a batch or a call up, send anything but the constant texts, or say which party or channel in a metric.

Implements: R-109; docs/decisions/0032.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from math import inf
from pathlib import Path
from typing import Any, Final

from referral_api.domain.errors import ReferralError
from referral_api.domain.words import Urgency
from referral_api.server import observe
from referral_api.server.service.batch import Batch, Done
from referral_api.server.service.channels import ADMIN, Channel, Couriers, Outcome, checked_channels
from referral_api.server.service.exchange import Exchange
from referral_api.server.service.schedule import Schedule
from referral_api.server.service.writer import Writer
from referral_api.server.storage import wakeups
from referral_api.server.storage.notice_file import NoticePlan, load_plan

TITLE: Final = "Aviso"
TEXT: Final = "Hay novedades en su bandeja. / There is news in your inbox."
URGENT_TEXT: Final = "Es urgente: mire su bandeja. / Urgent: do check your inbox."
"""Only where the file says that urgency may be hinted at; as long as the other one."""
ALARM_TEXT: Final = "Hay que revisar el servidor. / The server needs looking at."
"""To the exchange's own operator, whatever the alarm is: `/readyz` and `referral admin doctor` say which."""
RETRY_S: Final = (15, 60, 300, 900, 2700)
"""How long a channel in vain is left alone before each further attempt; then it is given up until the next notice."""
SWEEP_S: Final = 900
STARTED_S: Final = 60
"""Processes that start at the same time find the same lines: who comes second within this time leaves them alone."""
MARGIN_S: Final = 60
"""How much older than the longest delay a line must be for a later sweep to think that nobody has told of it."""
ALARM_AFTER_S: Final = 3600
"""So long a party is reached over none of its channels before that is an alarm; no alarm is repeated within it."""
WRONG_S: Final = 60
"""So long something must be wrong before it is an alarm: a start and a hiccup are none."""
AGAIN_S: Final = 24 * 3600
"""After so long an alarm that lasts is sent again."""
TICK_S: Final = 1.0
STOP_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class _Notice:
    """What is sent: its text, of lines up to when, and whether it goes to those too who have looked since: of an
    emergency the room with the workstation that polls may be empty.
    """

    text: str
    at: int
    urgent: bool

    def instead_of(self, other: _Notice) -> _Notice:
        """The one notice for both: it says what the other one would have said and could not."""
        return replace(self if self.urgent or not other.urgent else other, at=max(self.at, other.at))


@dataclass(frozen=True, slots=True)
class _Retry:
    due: float
    channel: Channel
    notice: _Notice


class Waking:
    """Who is to be woken, and what became of it. Without a plan nobody is. `start` once, then `stop`."""

    def __init__(self, exchange: Exchange, *, clock: Callable[[], float], polled: Mapping[str, int]) -> None:
        """`clock` is monotonic seconds; `polled` when each party last polled here (unix seconds)."""
        self._exchange = exchange
        self._clock = clock
        self._polled = polled
        self._couriers = Couriers()
        self._plan: NoticePlan | None = None
        self._channels: Mapping[str, Sequence[Channel]] = {}
        self._schedule = Schedule(delay_s=(0, 0), digest_s=0, chance=self._chance)
        self._retries: list[_Retry] = []
        self._waiting: dict[tuple[str, int], _Notice] = {}
        """What follows the attempt that a channel is busy with."""
        self._told_at: dict[str, int] = {}
        """What the table says, or would if it could be written to."""
        self.outcomes: Counter[str] = Counter(dict.fromkeys((*Outcome, "given-up", "seen", "alarm"), 0))
        """How often what became of a notice, since the start."""
        self._alarms: Mapping[str, Callable[[], bool]] = {}
        self._wrong_since: dict[str, float] = {}
        self._alarmed: dict[str, float] = {}
        self._writer: Writer | None = None
        self._next_sweep = -inf
        self._has_swept = False
        self._ending = False
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._loop, name="waking", daemon=True)

    def take(self, path: Path | None) -> None:
        """Wake by the plan in this file, once started; None for nobody.

        Raises UNAVAILABLE as `load_plan` and `checked_channels`: what can never work is found before it is needed.
        """
        if path is None:
            return
        plan = load_plan(path)
        self._channels = checked_channels(plan, self._couriers)
        self._schedule = Schedule(delay_s=plan.delay_s, digest_s=plan.digest_s, chance=self._chance)
        self._plan = plan

    def start(self, writer: Writer, alarms: Mapping[str, Callable[[], bool]]) -> None:
        """Begin to wake, first of all whom a process before this one has left asleep.

        `alarms`: by a name for the operator's own log, whether something is wrong of which its channels are told.
        """
        if self._plan is not None:
            self._writer, self._alarms = writer, alarms
            self._thread.start()

    def stop(self) -> None:
        """Stop waking; what is under way is cut, and found again by whoever starts next. Returns within STOP_S."""
        with self._news:
            self._ending = True
            self._news.notify_all()
        self._couriers.end()
        if self._thread.ident is not None:
            self._thread.join(STOP_S)

    def told(self, parties: Iterable[str], urgent: Iterable[str], at: int) -> None:
        """After a commit, on the writer's thread: these parties got a line at that time, an urgent one of these."""
        woken = self._channels.keys() & set(parties)
        if not woken:
            return
        now, urgent = self._clock(), set(urgent)
        with self._news:
            for party in woken:
                self._schedule.tell(party, urgent=party in urgent, at=at, now=now)
            self._news.notify_all()

    def standing(self) -> dict[str, Any] | None:
        """How many channels there are, and which fail for how long: for the operator; None without a plan. The
        exchange's own have no party.

        It is this process that says so: what another one finds, and what was before the start, it does not know.
        """
        if self._plan is None:
            return None
        now = self._clock()
        with self._news:
            failing = [
                {"party": one.party or None, "channel": one.number, "failing_s": int(now - one.failing_since)}
                for one in self._every()
                if one.failing_since is not None
            ]
        return {"channels": len(self._every()), "failing": failing}

    def _every(self) -> list[Channel]:
        return [one for those in self._channels.values() for one in those]

    def _chance(self) -> float:
        return int.from_bytes(self._exchange.token_bytes(4), "big") / (1 << 32)

    def _loop(self) -> None:
        while not self._ending:
            try:
                self._round(self._clock())
            except Exception as fault:
                # The database is away, or this is a defect: the next round, or the next sweep, tries again.
                observe.log("waking_failed", fault=type(fault).__name__, where=observe.fault_place(fault))
            with self._news:
                due = self._schedule.next_due()
                pause_s = TICK_S if due is None else min(TICK_S, max(0.0, due - self._clock()))
                if not self._ending:
                    self._news.wait(pause_s)

    def _round(self, now: float) -> None:
        """Whatever is due."""
        with self._news:
            due = self._schedule.take(now)
            again = [one for one in self._retries if one.due <= now]
            self._retries = [one for one in self._retries if one.due > now]
        for party, owed in due:
            # Whoever polls is told by that.
            if not owed.urgent and self._has_looked(party, owed.at):
                self._count("seen")
                continue
            with self._news:
                self._schedule.sent(party, urgent=owed.urgent, now=now)
            hints = owed.urgent and self._plan is not None and self._plan.hint_urgency
            self._begin(party, _Notice(URGENT_TEXT if hints else TEXT, owed.at, owed.urgent))
        for one in again:
            if not one.notice.urgent and self._has_looked(one.channel.party, one.notice.at):
                self._count("seen")
            else:
                self._try(one.channel, one.notice)
        self._look_for_alarms(now)
        if self._next_sweep <= now:
            # Where the database does not answer it is asked again soon, and still as by who has just started.
            self._next_sweep = now + STARTED_S
            self._sweep(is_first=not self._has_swept)
            self._has_swept, self._next_sweep = True, now + SWEEP_S

    def _has_looked(self, party: str, at: int) -> bool:
        """Whether this party asked for its inbox after that time, anywhere; a time in the same second is not after."""
        if self._polled.get(party, 0) > at:
            return True
        try:
            with self._exchange.database.read(brief=True) as conn:
                return wakeups.last_poll(conn, party) > at
        except ReferralError:
            return False

    # Trying.

    def _begin(self, party: str, notice: _Notice) -> None:
        """A new notice, over each channel of the party. What waits there to be tried again is told by it as well."""
        for channel in self._channels.get(party, ()):
            mine = notice
            with self._news:
                for one in self._retries:
                    mine = mine.instead_of(one.notice) if one.channel is channel else mine
                self._retries = [one for one in self._retries if one.channel is not channel]
                channel.tries = 0
            self._try(channel, mine)

    def _try(self, channel: Channel, notice: _Notice) -> None:
        with self._news:
            if channel.busy:
                # It follows the one that is under way, whatever becomes of that; several are one.
                waiting = self._waiting.get((channel.party, channel.number), notice)
                self._waiting[channel.party, channel.number] = notice.instead_of(waiting)
                return
            channel.busy = True
        thread = threading.Thread(target=self._attempt, args=(channel, notice), name="notice", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            # This machine has no thread left: as if the courier had not come far.
            self._keep(channel, notice, Outcome.BROKEN)

    def _attempt(self, channel: Channel, notice: _Notice) -> None:
        """On a thread of its own: use one channel once."""
        try:
            outcome = self._couriers.send(channel, TITLE, notice.text)
        except Exception as fault:
            # A defect. The channel is not to stay busy, nor a traceback to be printed that may hold its address.
            observe.log("notice_failed", fault=type(fault).__name__, where=observe.fault_place(fault))
            outcome = Outcome.BROKEN
        self._keep(channel, notice, outcome)

    def _keep(self, channel: Channel, notice: _Notice, outcome: Outcome) -> None:
        """What became of an attempt."""
        with self._news:
            channel.busy = False
            waiting = self._waiting.pop((channel.party, channel.number), None)
            if self._ending:
                return
            was_failing = channel.failing_since is not None
            self.outcomes[outcome] += 1
            if outcome is Outcome.TAKEN:
                channel.failing_since = None
            else:
                self._failed(channel, notice, tries_again=waiting is None)
        if was_failing != (outcome is not Outcome.TAKEN):
            # Which one it is, `/readyz` says: a party stands in no line of the log.
            observe.log("notices_fail" if not was_failing else "notices_well_again", status=outcome.value)
        if outcome is Outcome.TAKEN and channel.party != ADMIN:
            self._note(channel.party, notice.at)
        if waiting is not None:
            self._try(channel, waiting if outcome is Outcome.TAKEN else waiting.instead_of(notice))

    def _failed(self, channel: Channel, notice: _Notice, *, tries_again: bool) -> None:
        now = self._clock()
        if channel.failing_since is None:
            channel.failing_since = now
        if not tries_again:
            return
        if channel.tries < len(RETRY_S):
            self._retries.append(_Retry(now + RETRY_S[channel.tries], channel, notice))
            channel.tries += 1
        else:
            self.outcomes["given-up"] += 1

    def _note(self, party: str, at: int) -> None:
        """Keep that the party was told, for those who sweep. Nobody waits for it; a closed exchange keeps it here."""
        self._told_at[party] = max(at, self._told_at.get(party, 0))
        if self._writer is not None:
            with suppress(ReferralError):
                self._writer.submit(partial(_keep_told, party, at), lambda _: None)

    def _count(self, outcome: str) -> None:
        with self._news:
            self.outcomes[outcome] += 1

    # What nobody has told of, and what is wrong.

    def _sweep(self, *, is_first: bool) -> None:
        """Tell those of whose pending lines nobody told them: a process that ended, or one that gave up."""
        with self._news:
            under_way = {one.channel.party for one in self._retries}
        for party in self._channels.keys() - under_way - {ADMIN}:
            polled, told = self._polled.get(party, 0), self._told_at.get(party, 0)
            with self._exchange.database.read() as conn:
                untold = wakeups.find_untold(conn, party, polled, told, Urgency.EMERGENCY.value)
            if untold is not None and self._takes(party, untold.at, is_first=is_first):
                self.told([party], [party] if untold.urgent else [], untold.at)

    def _takes(self, party: str, at: int, *, is_first: bool) -> bool:
        """Whether this process is the one that wakes the party."""
        if self._writer is None or self._plan is None:
            return False
        waits_s = 0 if is_first else self._plan.delay_s[1] + self._plan.digest_s + MARGIN_S
        within_s = STARTED_S if is_first else SWEEP_S - MARGIN_S
        try:
            return self._writer.run(partial(_take_sweep, party, at, waits_s, within_s)).result
        except ReferralError:
            return True  # Nothing can be written: then rather twice than not at all.

    def _look_for_alarms(self, now: float) -> None:
        seen = {name for name, is_wrong in self._alarms.items() if _says_so(is_wrong)}
        self._wrong_since = {name: self._wrong_since.get(name, now) for name in seen}
        wrong = {name for name, since in self._wrong_since.items() if now - since >= WRONG_S}
        with self._news:
            wrong |= {
                f"notices {party}"
                for party, those in self._channels.items()
                if party != ADMIN and all(_has_failed_since(one, now - ALARM_AFTER_S) for one in those)
            }
        new = {name for name in wrong if now - self._alarmed.get(name, now - AGAIN_S) >= AGAIN_S}
        # One that comes and goes is told once an hour.
        over = {name for name, since in self._alarmed.items() if name not in wrong and now - since >= ALARM_AFTER_S}
        self._alarmed = {name: since for name, since in self._alarmed.items() if name not in over}
        self._alarmed |= dict.fromkeys(new, now)
        for name in sorted(new):
            observe.log("alarm", reason=name.partition(" ")[0])
        if new:
            self._count("alarm")
            self._begin(ADMIN, _Notice(ALARM_TEXT, 0, urgent=True))


def _says_so(is_wrong: Callable[[], bool]) -> bool:
    """What a check says; one that breaks is an alarm itself."""
    try:
        return is_wrong()
    except Exception:
        return True


def _has_failed_since(channel: Channel, moment: float) -> bool:
    return channel.failing_since is not None and channel.failing_since <= moment


def _keep_told(party: str, at: int, batch: Batch) -> Done[None]:
    wakeups.note_told(batch.tx, party, at)
    return Done(None)


def _take_sweep(party: str, at: int, waits_s: int, within_s: int, batch: Batch) -> Done[bool]:
    """A job: whether the line is old enough that somebody should have told of it, and nobody else does so now."""
    return Done(at <= batch.now - waits_s and wakeups.take_sweep(batch.tx, party, within_s, batch.now))
