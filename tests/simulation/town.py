"""Years of a hotline's traffic on a clock that jumps from one event to the next: who is there, and how they behave.

The exchange is real from the door on (tests/lifetime/house.py). What people do is drawn from a seed: two operators day
and night, officers who are away at night, units whose line is down for days, acts that arrive late, twice and out of
order, bundles that do not open, refusals, transfers, withdrawals, questions, holds, early purges; an exchange that is
down for hours, loses its power, or whose clock jumps by an hour. Everybody works from an inbox, as in life.

Must never: decide for the exchange, or let anybody act on what he could not know.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Act, Role, State
from referral_api.domain.worklists import worklists
from referral_api.formats.strict_json import sha256_b64u
from referral_api.server.service.batch import Done
from referral_api.server.service.reading import brought_by
from referral_api.server.storage import feeds, queries
from referral_api.server.storage.feeds import FeedEntry
from tests.lifetime.house import START, House
from tests.lifetime.parcels import Parcel, Wanted, marks_in, parcel, submission
from tests.simulation.judge import Mark
from tests.simulation.search import search

MINUTE, HOUR, DAY, YEAR = 60, 3600, 86_400, 365 * 86_400
LINE, AUDIT = "linea-1818", "defensoria"
NATIONAL, REGION = "pnp-nacional", "pnp-region"
LOCALS = ("pnp-cusco", "pnp-loreto", "pnp-madre-de-dios", "pnp-piura")
UNITS = (*LOCALS, REGION, NATIONAL)
PARTIES: Final = {LINE: Role.HOTLINE, **dict.fromkeys(UNITS, Role.POLICE_UNIT), AUDIT: Role.AUDITOR}
A_YEAR: Final = 70 * 12 / 17
"""Referrals a year of the hotline of 2006 and 2007: 70 in 17 months, out of 8,500 calls."""
READING_MEDIAN_S: Final = {"emergency": 6 * MINUTE, "urgent": 45 * MINUTE, "routine": 6 * HOUR}
REPORTING_MEAN_S: Final = {"emergency": 90 * MINUTE, "urgent": 16 * HOUR, "routine": 6 * DAY}
OUTCOMES: Final = (
    *("trafficking_confirmed", "related_crime", "not_substantiated", "insufficient_information", "not_located"),
    *("duplicate", "cannot_disclose"),
)
STATUSES: Final = ("registered", "preliminary_enquiries", "prosecutor_informed", "victim_located", "cannot_disclose")


class BrokenPromiseError(AssertionError):
    """Something happened that must never happen."""


@dataclass(slots=True)
class Town:
    """One exchange and everybody on it, for `years` at `factor` times the rate of the hotline."""

    house: House
    rng: random.Random
    seed: int
    years: float
    factor: float
    say: Callable[[str], None] = lambda _: None
    events: list[tuple[float, int, Callable[..., Any], tuple[Any, ...]]] = field(default_factory=list)
    counted: int = 0
    cursors: dict[str, int] = field(default_factory=dict)
    wakes: dict[str, float] = field(default_factory=dict)
    outages: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    is_up: bool = True
    told: Counter[str] = field(default_factory=Counter)
    """What happened, in a word each."""
    states: set[State] = field(default_factory=set)
    texts: dict[bytes, str] = field(default_factory=dict)
    """Every sealed text that was ever sent, by the mark that its pieces carry: beside which act of which referral."""
    searched: Counter[str] = field(default_factory=Counter)
    """How often the disk was searched, and for how many purged texts in all."""
    urgencies: dict[str, str] = field(default_factory=dict)
    taken_over: set[str] = field(default_factory=set)
    marks: list[Mark] = field(default_factory=list)
    """From when to when nobody could say anything: no exchange, or one whose clock is wrong."""

    # The course of time.

    def live(self) -> None:
        """Let the years pass, and then what is left come to its end."""
        span = self.years * YEAR
        self._foresee(span)
        shown = 0
        while True:
            due = self._alarm() if self.is_up else None
            # By a clock that was set back the time is a little slow, and by one that is ahead nothing is due.
            if due is not None:
                due += math.ceil(self.house.clock.runs_on() - self.house.runtime.timers.clock())
            if due is not None and (not self.events or due <= self.events[0][0]):
                self._pass_until(due)
                self._turn()
            elif self.events:
                at, _, call, arguments = heapq.heappop(self.events)
                self._pass_until(at)
                call(*arguments)
            else:
                break
            if self.is_up:
                self._read_inboxes()
            part = int(min(1.0, (self.house.clock() - START) / span) * 20)
            if part > shown:
                shown = part
                self.say(f"{part * 5:3d} %  {self.told['referrals sent']} referrals, {self.told['acts taken']} acts")

    def after(self, delay_s: float, call: Callable[..., Any], *arguments: Any) -> None:
        """Let something happen later."""
        self.counted += 1
        heapq.heappush(self.events, (self.house.clock.runs_on() + delay_s, self.counted, call, arguments))

    def _pass_until(self, moment: float) -> None:
        self.house.clock.ahead_s = max(self.house.clock.ahead_s, moment - START)

    def _alarm(self) -> int | None:
        with self.house.runtime.exchange.database.read() as conn:
            row = conn.one("SELECT min(at) FROM alarm")
        return None if row is None or row[0] is None else int(row[0])

    def _turn(self) -> None:
        now = self.house.now
        self.house.runtime.polled.update({unit: now for unit in UNITS if self.is_awake(unit)})
        with self.house.runtime.exchange.database.read() as conn:
            due = [row[0] for row in conn.all("SELECT ref FROM alarm WHERE at <= ?", (now,))]
        self.told["acts of the exchange"] += self.house.turn()
        for ref in due:
            self._look_at(ref)
        alarm = self._alarm()
        if alarm is not None and alarm <= now:
            raise BrokenPromiseError(f"something was due {now - alarm} s ago, and nobody was told; now {now - START}")

    def _foresee(self, span: float) -> None:
        """What happens by itself: calls that become referrals, lines that fail, machines that stop."""
        at, rate = 0.0, A_YEAR * self.factor / YEAR
        while (at := at + self.rng.expovariate(rate)) < span:
            self.after(at, self.call_comes)
        for unit in UNITS:
            begins = [self.rng.uniform(0, span) for _ in range(self._about(3 * self.years))]
            spans = sorted((START + one, START + one + self.rng.uniform(0.5, 4) * DAY) for one in begins)
            self.outages[unit] = spans if unit != NATIONAL else []
        for _ in range(self._about(4 * self.years)):
            self.after(self.rng.uniform(0, span), self.exchange_goes_down, self.rng.uniform(1, 8) * HOUR)
        for _ in range(self._about(3 * self.years)):
            self.after(self.rng.uniform(0, span), self.power_fails)
        for wrong_s in (HOUR, -HOUR):
            for _ in range(self._about(2 * self.years)):
                self.after(self.rng.uniform(0, span), self.clock_jumps, wrong_s)

    def _about(self, count: float) -> int:
        return max(1, round(count * self.rng.uniform(0.7, 1.3)))

    # Machines.

    def exchange_goes_down(self, span: float) -> None:
        if self.is_up:
            self.told["times that the exchange was down"] += 1
            self._mark(sees=False)
            with self.house.runtime.exchange.database.read() as conn:
                kept = b"".join(bytes(row[0]) for row in conn.all("SELECT body FROM sealed WHERE body IS NOT NULL"))
            self.house.close()
            self.is_up = False
            self.search(marks_in(kept))
            self.after(span, self.exchange_comes_up)

    def search(self, kept: Collection[bytes]) -> None:
        """The exchange is down: every file of it, for every text that was purged."""
        self.searched["searches"] += 1
        self.searched["texts purged, and not on the disk"] += search(
            self.house.settings.data_dir.parent, self.texts, kept
        )

    def exchange_comes_up(self) -> None:
        if self.is_up:
            return  # Whoever put its clock right has started it meanwhile.
        self.house.open()
        self.is_up = True
        self._mark(sees=True)
        self._turn()

    def _mark(self, *, sees: bool) -> None:
        """From here on in the log somebody can speak, or nobody; the time is the right one."""
        with self.house.runtime.exchange.database.read() as conn:
            last = max(int(conn.all(f"SELECT coalesce(max(pos), -1) FROM {one}")[0][0]) for one in ("act", "record"))
        self.marks.append(Mark(last, int(self.house.clock.runs_on()), sees))

    def power_fails(self) -> None:
        if self.is_up:
            self.told["power failures"] += 1
            self.house.lose_power(self.rng.choice(("begin", "before-commit", "after-commit", "after-sign")))

    def clock_jumps(self, wrong_s: int) -> None:
        """The clock is wrong by an hour, until somebody has put it right 20 minutes later."""
        if not self.is_up or self.house.clock.wrong_s:
            return
        self.told["clock jumps"] += 1
        self._turn()
        self._mark(sees=False)
        self.house.clock.wrong_s = wrong_s
        try:
            self.house.run(lambda _: Done(None))
        except ReferralError as refusal:
            if refusal.code is not ErrorCode.WRITES_CLOSED or wrong_s < 0:
                raise
            self.told["times that a wrong clock closed the exchange"] += 1
            self.house.close()
            self.is_up = False
        self.after(20 * MINUTE, self.clock_is_right)

    def clock_is_right(self) -> None:
        self.house.clock.wrong_s = 0
        if self.is_up:
            self._mark(sees=True)
        else:
            self.exchange_comes_up()

    # Who is there.

    def is_awake(self, unit: str) -> bool:
        return self.wakes_at(unit) <= self.house.clock.runs_on()

    def wakes_at(self, unit: str) -> float:
        """When somebody reads again at a unit; now, if somebody does."""
        now = self.house.clock.runs_on()
        for begins, ends in self.outages.get(unit, ()):
            if begins <= now < ends:
                return ends
        local = now - 5 * HOUR
        evening = math.floor((local - 22 * HOUR) / DAY) * DAY + 22 * HOUR
        away = random.Random(f"{self.seed} {unit} {evening}").random() < 0.4  # noqa: S311 - not for secrets
        if unit != NATIONAL and away and local < evening + 8 * HOUR:
            return evening + 8 * HOUR + 5 * HOUR
        return now

    def _read_inboxes(self) -> None:
        now = self.house.clock.runs_on()
        self._read(LINE)
        for unit in UNITS:
            wakes = self.wakes_at(unit)
            if wakes <= now:
                self._read(unit)
            elif self.wakes.get(unit, 0) < wakes:
                self.wakes[unit] = wakes
                self.after(wakes - now + 1, self._wake, unit)

    def _wake(self, unit: str) -> None:
        if self.is_up:
            self._turn()

    def _read(self, party: str) -> None:
        with self.house.runtime.exchange.database.read() as conn:
            lines = feeds.feed_after(conn, party, self.cursors.get(party, 0), 500, pending=False)
        for line in lines:
            self.cursors[party] = line.pos
            if line.pending and line.ref is not None:
                (self.hotline_reads if party == LINE else self.unit_reads)(party, line)

    # The hotline.

    def call_comes(self, relation: Mapping[str, str] | None = None, unless: Sequence[str] = ()) -> None:
        """A call becomes a referral, which is sent when the line allows it."""
        rng, urgency = self.rng, self.rng.choices(("emergency", "urgent", "routine"), (15, 35, 50))[0]
        excluded = [rng.choice((REGION, *LOCALS))] if rng.random() < 0.1 else []
        local = rng.choice([unit for unit in LOCALS if unit not in (*excluded, *unless)])
        to = [(local, "action")]
        if urgency != "routine" or rng.random() < 0.3:
            to += [(unit, "escalation") for unit in (REGION, NATIONAL) if unit not in excluded]
        others = [unit for unit in LOCALS if unit != local and unit not in excluded]
        if rng.random() < 0.1:
            to.append((rng.choice(others), "information"))
        kept = rng.choices(("standard", "short", "legal_hold_requested"), (80, 15, 5))[0]
        begun = self.house.now - int(rng.uniform(2, 15) * MINUTE)
        wait = rng.uniform(1, 20) * HOUR if rng.random() < 0.05 else 0
        self.after(wait, self.send_referral, Wanted(to, urgency, kept, excluded, relation, begun))

    def send_referral(self, wanted: Wanted) -> None:
        if not self.is_up:
            self.after(5 * MINUTE, self.send_referral, wanted)
            return
        self.house.renew_keys()
        made = submission(self.house, self.house.desks[LINE].people[0], wanted)
        self.told["referrals sent"] += 1
        self.urgencies[made.ref] = wanted.urgency
        self.deliver(made)
        if self.rng.random() < 0.05:
            self.told["acts that came twice"] += 1
            self.after(self.rng.uniform(0, 2) * HOUR, self.deliver, made)
        action = wanted.to[0][0]
        for likely, call in (
            (0.06, self.consent_is_withdrawn), (0.05, self.take_back), (0.1, self.supplement), (0.1, self.hotline_asks),
            (0.04, self.hold), (0.03, self.ask_to_purge), (0.1, self.note),
        ):  # fmt: skip
            if self.rng.random() < likely:
                self.after(self.rng.expovariate(1 / (6 * DAY)), call, made.ref, action)

    def hotline_reads(self, party: str, line: FeedEntry) -> None:
        """Two operators, day and night."""
        ref, unit, rng = str(line.ref), str(line.unit), self.rng
        kind = Act(line.kind)
        answer = {"answers": line.act_digest}
        if kind is Act.TELEPHONE_NOW:
            body: dict[str, Any] = {"made": rng.random() < 0.9, "at": self.house.now, "to_unit": unit, **answer}
            if not body["made"] and rng.random() < 0.5:
                self.after(rng.uniform(20, 25) * MINUTE, self.call_in, ref)
            self.after(rng.uniform(2, 20) * MINUTE, self.do, LINE, Act.PHONE_ALERT, ref, unit, body)
            self.after(rng.uniform(10, 60) * MINUTE, self.officer_reads, ref, unit)
        elif kind in (Act.DECLINE, Act.EXPIRED):
            self.after(rng.uniform(5, 90) * MINUTE, self.address_anew, ref, unit)
        elif kind is Act.TRANSFER:
            agrees = Act.APPROVE if rng.random() < 0.9 else Act.DECLINE
            body = {**answer} if agrees is Act.APPROVE else {**answer, "reason": "unsafe_to_act"}
            self.after(rng.uniform(5, 120) * MINUTE, self.agree, ref, unit, agrees, body)
        elif kind is Act.ASK:
            body = answer | {"code": "not_known"}
            self.after(rng.uniform(1, 12) * HOUR, self.do, LINE, Act.ANSWER, ref, unit, body, [unit])
        elif kind is Act.PURGE_REQUEST:
            self.after(rng.uniform(1, 12) * HOUR, self.do, LINE, Act.APPROVE, ref, unit, answer)

    def call_in(self, ref: str) -> None:
        """Nobody answers: who stands by is called in, before the clocks do."""
        with self.house.runtime.exchange.database.read() as conn:
            held = [one for one in queries.deliveries_of(conn, ref).values() if one.state is State.HELD]
        for first in sorted(held, key=lambda one: one.rank)[:1]:
            self.told["units called in by hand"] += 1
            self.do(LINE, Act.RELEASED, ref, first.unit, {"reason": "hotline_manual"})

    def agree(self, ref: str, unit: str, act: Act, body: Mapping[str, Any]) -> None:
        """To a transfer, unless it would bring the referral to a unit that must never have it."""
        refused = self.do(LINE, act, ref, unit, body)
        if refused is ErrorCode.TARGET_NOT_ALLOWED:
            self.told["transfers to an excluded unit refused"] += 1
            self.do(LINE, Act.DECLINE, ref, unit, {**body, "reason": "unsafe_to_act"})

    def address_anew(self, ref: str, unit: str) -> None:
        """Somebody else must take it: once; and what nobody took here is closed."""
        if ref not in self.taken_over:
            self.taken_over.add(ref)
            self.told["referrals addressed anew"] += 1
            self.call_comes({"type": "replaces", "ref": ref}, (unit,))
        self.after(HOUR, self.do, LINE, Act.CLOSE, ref, unit, {"outcome": "not_located"})

    def consent_is_withdrawn(self, ref: str, unit: str) -> None:
        self.do(LINE, Act.CONSENT_WITHDRAWN, ref, unit, {})

    def take_back(self, ref: str, unit: str) -> None:
        self.do(LINE, Act.WITHDRAW, ref, unit, {"reason": self.rng.choice(("safety_risk", "entered_in_error"))})

    def supplement(self, ref: str, unit: str) -> None:
        self.do(LINE, Act.SUPPLEMENT, ref, unit, {}, to=[unit])

    def note(self, ref: str, unit: str) -> None:
        self.do(LINE, Act.NOTE, ref, unit, {}, to=[unit])

    def hotline_asks(self, ref: str, unit: str) -> None:
        self.do(LINE, Act.ASK, ref, unit, {"topics": ["timing"]})

    def hold(self, ref: str, unit: str) -> None:
        basis = {"on": True, "basis": "prosecutor_order"}
        self.do(LINE, Act.HOLD, ref, unit, basis | {"review_at": self.house.now + 60 * DAY})
        lifted = {"on": False, "basis": "prosecutor_order"}
        self.after(self.rng.uniform(20, 150) * DAY, self.do, LINE, Act.HOLD, ref, unit, lifted)

    def ask_to_purge(self, ref: str, unit: str) -> None:
        self.do(LINE, Act.PURGE_REQUEST, ref, unit, {"reason": "data_subject_request"})

    # Units.

    def unit_reads(self, unit: str, line: FeedEntry) -> None:
        ref, rng, kind = str(line.ref), self.rng, Act(line.kind)
        answer = {"answers": line.act_digest}
        if kind in (Act.SUBMIT, Act.RELEASED, Act.APPROVE):
            median = READING_MEDIAN_S[str(line.urgency)]
            if rng.random() > 0.06:  # Some lie there until the telephone rings.
                self.after(median * rng.lognormvariate(0, 1), self.officer_reads, ref, unit)
        elif kind is Act.ASK:
            body = answer | {"code": "not_known"}
            self.after(rng.uniform(1, 48) * HOUR, self.do, unit, Act.ANSWER, ref, unit, body, [LINE])
        elif kind in (Act.WITHDRAW, Act.CONSENT_WITHDRAWN):
            code = rng.choice(("stopped_and_destroyed", "continuing_public_prosecution", "already_acted"))
            body = answer | {"code": code}
            self.after(rng.expovariate(1 / (30 * HOUR)), self.do, unit, Act.WITHDRAWAL_ANSWER, ref, unit, body)
        elif kind is Act.PURGE_REQUEST:
            self.after(rng.uniform(1, 48) * HOUR, self.do, unit, Act.APPROVE, ref, unit, answer, (), 1)

    def officer_reads(self, ref: str, unit: str) -> None:
        """Somebody fetches the bundle, opens it if it can be opened, and says so."""
        if not self.is_up or not self.is_awake(unit):
            self.after(self.wakes_at(unit) - self.house.clock.runs_on() + 10 * MINUTE, self.officer_reads, ref, unit)
            return
        officer = self.house.desks[unit].people[0]
        try:
            text = self.house.fetch(officer, ref)
        except ReferralError as refusal:
            if refusal.code is not ErrorCode.NOT_FOUND:
                raise
            return  # Taken back or purged meanwhile.
        self._look_at(ref)
        if self.rng.random() < 0.04:
            self.do(unit, Act.RECEIPT_FAILED, ref, unit, {"reason": "cannot_decrypt"})
            self.after(self.rng.uniform(1, 6) * HOUR, self.officer_reads, ref, unit)
            return
        with self.house.runtime.exchange.database.read() as conn:
            brought = brought_by(conn, ref, unit)
        self.do(unit, Act.ACK, ref, unit, {"bundle": sha256_b64u(text), "submit": brought, "decrypted": True})
        self.after(self.rng.lognormvariate(math.log(40 * MINUTE), 1.2), self.decide, ref, unit, brought)

    def decide(self, ref: str, unit: str, brought: str) -> None:
        """A decision; of somebody else's referral only now and then to help."""
        rng, shown = self.rng, self._shown(unit, ref, unit)
        if shown is None or shown["role"] == "information":
            return
        if shown["taken"]:
            if rng.random() < 0.15:
                self.do(unit, Act.ACCEPT, ref, unit, {"joint": "several_places"})
            return
        drawn = rng.random()
        if drawn < 0.05:
            return  # Forgotten, until the clock says so.
        if drawn < 0.15:
            self.do(unit, Act.DECLINE, ref, unit, {"reason": rng.choice(("no_capacity", "out_of_jurisdiction"))})
        elif drawn < 0.25:
            to = rng.choice([one for one in UNITS if one != unit])
            self.do(unit, Act.TRANSFER, ref, unit, {"to": to, "reason": "jurisdiction"}, to=[to])
        else:
            self.do(unit, Act.ACCEPT, ref, unit, {})
            self.after(rng.expovariate(1 / REPORTING_MEAN_S[self.urgencies[ref]]), self.report, ref, unit)
            topics, again = {"topics": ["location_detail"]}, {"original": brought, "reason": "new_workstation"}
            for likely, act, body, to in (
                (0.15, Act.ASK, topics, LINE), (0.1, Act.NOTE, {}, LINE), (0.05, Act.REWRAP, again, unit),
            ):  # fmt: skip
                if rng.random() < likely:
                    self.after(rng.uniform(1, 48) * HOUR, self.do, unit, act, ref, unit, body, [to])

    def report(self, ref: str, unit: str) -> None:
        """What comes of it, now and then, until it is closed; a few are taken up again."""
        rng, shown = self.rng, self._shown(unit, ref, unit)
        if shown is None or shown["state"] != State.ACCEPTED.value:
            return
        self.do(unit, Act.STATUS, ref, unit, {"code": rng.choice(STATUSES)})
        if rng.random() < 0.3:
            self.do(unit, Act.CLOSE, ref, unit, {"outcome": rng.choice(OUTCOMES)})
            if rng.random() < 0.06:
                why = {"reason": "new_information"}
                self.after(rng.uniform(1, 20) * DAY, self.do, LINE, Act.REOPEN, ref, unit, why)
                self.after(rng.uniform(21, 25) * DAY, self.report, ref, unit)
            return
        self.after(rng.expovariate(1 / (9 * DAY)), self.report, ref, unit)

    # How anybody acts.

    def _shown(self, party: str, ref: str, unit: str) -> dict[str, Any] | None:
        """The delivery as somebody of this party sees it."""
        if not self.is_up:
            return None
        try:
            view = self.house.view(self.house.desks[party].people[0], ref)
        except ReferralError:
            return None
        return next((one for one in view["deliveries"] if one["unit"] == unit), None)

    def do(
        self,
        party: str,
        act: Act,
        ref: str,
        unit: str,
        body: Mapping[str, Any],
        to: Sequence[str] = (),
        person: int = 0,
    ) -> ErrorCode | None:
        """Say it, if it may be said by now. Now and then the line is bad: it comes later, or twice."""
        if not self.is_up:
            self.after(10 * MINUTE, self.do, party, act, ref, unit, body, to, person)
            return None
        shown = self._shown(party, ref, unit)
        if shown is None or act.value not in shown["allowed"]:
            self.told["overtaken by events"] += 1
            return None
        if to:
            self.house.renew_keys()
        who = self.house.desks[party].people[person]
        made = parcel(self.house, who, act, body, ref=ref, unit=unit, prev=shown["head"], to=to)
        again = (party, act, ref, unit, body, to, person)
        drawn = self.rng.random()
        if drawn < 0.04:
            self.told["acts that came late"] += 1
            self.after(self.rng.uniform(0.2, 60) * HOUR, self.deliver, made, again)
            return None
        if drawn < 0.06:
            self.told["acts that came twice"] += 1
            self.after(self.rng.uniform(0, 3) * DAY, self.deliver, made)
        return self.deliver(made, again)

    def deliver(self, made: Parcel, again: tuple[Any, ...] | None = None) -> ErrorCode | None:
        """To the door; why not, if it was refused. What was overtaken on its way is said again (`again`)."""
        if not self.is_up:
            self.after(10 * MINUTE, self.deliver, made, again)
            return None
        self.texts |= dict.fromkeys(marks_in(made.beside.get("sealed", b"")), f"{made.act.value} of {made.ref}")
        try:
            answer = self.house.send(made.by, made.raw, **made.beside).result
        except ReferralError as refusal:
            self.told[f"refused: {refusal.code.value}"] += 1
            return refusal.code
        self.told["acts taken" if answer.code is None else f"refused: {answer.code.value}"] += answer.fresh
        self._look_at(made.ref)
        if answer.code is ErrorCode.STALE_HEAD and answer.fresh and again is not None:
            self.after(10 * MINUTE, self.do, *again)
        code: ErrorCode | None = answer.code
        return code

    def _look_at(self, ref: str) -> None:
        """After everything that happens to a referral: is it on a list, and kept from whom it must be kept from?"""
        with self.house.runtime.exchange.database.read() as conn:
            referral, deliveries = queries.find_referral(conn, ref), queries.deliveries_of(conn, ref)
        for unit, delivery in deliveries.items():
            self.states.add(delivery.state)
            if referral is not None and unit in referral.excluded:
                raise BrokenPromiseError("a referral reached a unit that must never have it")
            if not worklists(Role.HOTLINE, LINE, delivery):
                raise BrokenPromiseError(f"on no list of the hotline: {delivery.state}")
            if bool(worklists(Role.POLICE_UNIT, unit, delivery)) != (delivery.submitted_at is not None):
                raise BrokenPromiseError(f"on no list of its unit: {delivery.state}")
