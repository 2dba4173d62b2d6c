"""What an exchange must be after any sequence of acts and any time, said as plainly as it can be, in dictionaries.

The moves are the hand-written grid of tests/domain/grid.py; deadlines, ladders and purge dates are written once more
here, in seconds, from the rules of the field (R-80, R-106, R-107). It shares no code with what it is held against.

Must never: import the fold, the clockwork, the lifecycle or the rules.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final, Self

from referral_api.domain.errors import ErrorCode
from referral_api.domain.words import Act, Role, State
from tests.domain.grid import NOTICES, expected
from tests.lifetime import unowned
from tests.lifetime.sheets import OVER, Line, Move, Sheet

S = State
MINUTE, HOUR, DAY = 60, 3600, 86400
TERMS: Final = {
    "emergency": (15 * MINUTE, 1 * HOUR, 2 * HOUR, 24 * HOUR),
    "urgent": (2 * HOUR, 24 * HOUR, 24 * HOUR, 7 * DAY),
    "routine": (24 * HOUR, 72 * HOUR, 14 * DAY, 30 * DAY),
}
"""Until when something is owed: acknowledgement, decision, first status, every further one."""
LADDERS: Final = {
    "emergency": [(600, "remind"), (900, "telephone"), (900, "parent"), (1800, "national"), (7200, "expire")],
    "urgent": [(3600, "remind"), (7200, "telephone"), (7200, "parent"), (21600, "national"), (DAY, "expire")],
    "routine": [(24 * HOUR, "telephone"), (72 * HOUR, "parent"), (14 * DAY, "expire")],
}
KEPT: Final = {"standard": (30 * DAY, 90 * DAY), "short": (7 * DAY, 90 * DAY), "legal_hold_requested": (365 * DAY,) * 2}
"""How long ciphertext is kept: after the end, after the acknowledgement."""
ANSWER_IN: Final = 72 * HOUR
UNREAD = {S.SUBMITTED, S.RETRIEVED, S.RECEIPT_FAILED}
OPEN = {S.ACKNOWLEDGED, S.ACCEPTED}
FORGETS = OPEN | {S.DECLINED, S.TRANSFERRED, S.CLOSED, S.WITHDRAWN, S.WITHDRAWAL_NOTIFIED, S.EXPIRED}
DECIDING = {
    *(Act.ACCEPT, Act.DECLINE, Act.TRANSFER, Act.APPROVE, Act.CLOSE, Act.REOPEN),
    *(Act.WITHDRAWAL_ANSWER, Act.PURGE_REQUEST),
}
OF_HOTLINES = {
    *(Act.PHONE_ALERT, Act.SUPPLEMENT, Act.WITHDRAW, Act.CONSENT_WITHDRAWN, Act.NOTE, Act.ASK, Act.ANSWER),
    *(Act.RELEASED, Act.APPROVE, Act.DECLINE, Act.CLOSE, Act.REOPEN, Act.HOLD, Act.PURGE_REQUEST),
}
OF_UNITS = {
    *(Act.ACK, Act.RECEIPT_FAILED, Act.ACCEPT, Act.DECLINE, Act.TRANSFER, Act.STATUS, Act.WITHDRAWAL_ANSWER),
    *(Act.NOTE, Act.ASK, Act.ANSWER, Act.CLOSE, Act.REOPEN, Act.REWRAP, Act.HOLD, Act.PURGE_REQUEST, Act.APPROVE),
}
NOT_FOR_THE_INFORMED = {Act.ACCEPT, Act.DECLINE, Act.TRANSFER, Act.STATUS, Act.CLOSE, Act.REOPEN}
ANSWERS = {Act.ANSWER: {Act.ASK}, Act.PHONE_ALERT: {Act.TELEPHONE_NOW}, Act.WITHDRAWAL_ANSWER: set(NOTICES)}
WAITS = {Act.DECLINE: {S.DECLINED}, Act.RECEIPT_FAILED: {S.RECEIPT_FAILED}, Act.EXPIRED: {S.EXPIRED}}
"""Lines of the hotline's inbox that wait for as long as a delivery is in a state."""
TELEPHONE = "telephone"


@dataclass
class Case:
    """One referral."""

    ref: str
    sender: str
    urgency: str
    kept: str
    excluded: set[str]
    submit: str
    sheets: dict[str, Sheet] = field(default_factory=dict)
    acts: list[tuple[str, Act, str | None]] = field(default_factory=list)
    """Everybody's accepted acts: digest, kind, unit."""
    lines: list[Line] = field(default_factory=list)
    came: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    """Of a unit that a transfer brought in: from which one, by which transfer and approval."""
    pace: int = 1
    """How many times as long as by default everything may take, by the rules that it was submitted under (R-105)."""
    agreed: bool = False
    """By these rules the exchange itself agrees to every transfer that it may."""
    unowned: Counter[str] = field(default_factory=Counter)
    """What was said because nobody took it on."""

    @classmethod
    def submitted(
        cls, ref: str, sender: str, urgency: str, kept: str, to: list[tuple[str, str]], excluded: set[str], digest: str,
        now: int,
    ) -> Self:  # fmt: skip
        case = cls(ref, sender, urgency, kept, excluded, digest)
        for rank, (unit, role) in enumerate(to):
            held = role == "escalation"
            begun = None if held else now
            state = S.HELD if held else S.SUBMITTED
            case.sheets[unit] = Sheet(unit, role, state, digest, rank, begun, begun, digest)
            if not held:
                case.to_read(unit, Act.SUBMIT, digest)
        case.acts.append((digest, Act.SUBMIT, None))
        return case

    # Whether an act is taken.

    def takes(self, move: Move) -> bool:
        """Whether the exchange must take it."""
        return (
            self.barred(move) is None
            and self._follows(move)
            and any(self._fits(move, one) for one in self._meant(move))
        )

    def barred(self, move: Move) -> ErrorCode | None:
        """Why this signer may not say it, whatever the state; None if he may (R-51, R-60, R-61, R-63)."""
        if move.by is Role.HOTLINE and move.party == self.sender:
            if move.act not in OF_HOTLINES or move.service:
                return ErrorCode.NOT_PERMITTED
            return None if move.unit is None or move.unit in self.sheets else ErrorCode.NOT_FOUND
        if move.by is Role.POLICE_UNIT and self.knows(move.party):
            mine = move.act in OF_UNITS and not move.service and move.unit == move.party
            return None if mine else ErrorCode.NOT_PERMITTED
        return ErrorCode.NOT_FOUND

    def knows(self, unit: str) -> bool:
        """Whether the referral exists for a unit."""
        return unit in self.sheets and self.sheets[unit].begun is not None

    def _follows(self, move: Move) -> bool:
        if move.act in DECIDING:
            return move.unit is not None and move.prev == self.sheets[move.unit].head
        found = next(((kind, unit) for digest, kind, unit in self.acts if digest == move.prev), None)
        if found is None:
            return False
        kind, unit = found
        if move.unit is not None and move.prev in self.path(move.unit):
            return True
        if kind is Act.REWRAP:
            return False
        if kind in (Act.TRANSFER, Act.APPROVE) and move.unit is not None and unit != move.unit:
            return False
        if move.by is Role.POLICE_UNIT and unit not in (None, move.party):
            return False
        return move.unit is None or unit in (None, move.unit)

    def path(self, unit: str) -> set[str]:
        """The transfers and approvals that brought a delivery."""
        found: set[str] = set()
        place = unit
        while place in self.came:
            source, transfer, approval = self.came[place]
            found |= {transfer, approval}
            place = source
        return found

    def _meant(self, move: Move) -> list[Sheet]:
        return list(self.sheets.values()) if move.unit is None else [self.sheets[move.unit]]

    def _mine(self, move: Move, sheet: Sheet) -> dict[str, Act]:
        """The open questions that this signer may answer."""
        return {
            digest: kind
            for digest, (kind, asker) in sheet.open.items()
            if (asker != move.signer if kind is Act.PURGE_REQUEST else asker.partition(".")[0] != move.party)
        }

    def _lands(self, move: Move, sheet: Sheet) -> State | None:
        mine = self._mine(move, sheet)
        kinds = {mine[move.question]} if move.question in mine else set(mine.values())
        found = expected(move.act, move.by, sheet.to_take_back(move.act), frozenset(kinds), move.code)
        return None if found is None else found[0]

    def _fits(self, move: Move, sheet: Sheet) -> bool:
        informed = move.by is Role.POLICE_UNIT and sheet.role == "information"
        if informed and move.act in NOT_FOR_THE_INFORMED:
            return False
        if (move.act is Act.ACCEPT and move.joint != sheet.taken) or move.act in sheet.over_and_done():
            return False
        mine = self._mine(move, sheet)
        kinds = {mine[move.question]} if move.question in mine else set(mine.values())
        agrees_to_purge = move.act is Act.APPROVE and Act.PURGE_REQUEST in kinds
        if (sheet.holds or sheet.unread()) and (move.act is Act.PURGE_REQUEST or agrees_to_purge):
            return False
        if move.act is Act.HOLD and move.code == "off" and move.party not in sheet.holds:
            return False
        if move.far:
            return False
        if move.act is Act.RELEASED and (move.unit is None or move.code != "hotline_manual" or self.not_called_in()):
            return False
        state = self._lands(move, sheet)
        if state is None:
            return False
        answered = self._answered(move, sheet, state)
        if move.question is not None and mine.get(move.question) not in answered:
            return False
        if move.act is Act.TRANSFER and unowned.anothers(sheet):
            return False
        if move.act is Act.TRANSFER:
            open_already = any(kind is Act.TRANSFER for kind, _ in sheet.open.values())
            return not open_already and move.to not in self.sheets
        if state is S.TRANSFERRED and sheet.state is not S.TRANSFERRED:
            return sheet.to not in self.sheets and sheet.to not in self.excluded
        return True

    def may_do(self, move: Move, sheet: Sheet) -> list[str]:
        """What the signer of this could do on a delivery, by the states and questions there."""
        kinds = frozenset(self._mine(move, sheet).values())
        codes = (None, "stopped_and_destroyed", "continuing_public_prosecution")
        found = {act for act in Act for code in codes if expected(act, move.by, sheet.state, kinds, code)}
        if move.by is Role.POLICE_UNIT and sheet.role == "information":
            found -= NOT_FOR_THE_INFORMED
        found -= sheet.over_and_done() | ({Act.PURGE_REQUEST} if sheet.holds or sheet.unread() else set())
        proposed = any(kind is Act.TRANSFER for kind, _ in sheet.open.values())
        found -= {Act.TRANSFER} if proposed or unowned.anothers(sheet) else set()
        found -= {Act.RELEASED} if self.not_called_in() else set()
        return sorted(found)

    def not_called_in(self) -> bool:
        """Whether some unit has accepted it, or whoever knew of it has been purged and nobody keeps what is held."""
        sheets = self.sheets.values()
        gone = [one.purged is not None for one in sheets if one.state is not S.HELD]
        kept = any(one.state is S.HELD and one.holds for one in sheets)
        return any(one.state is S.ACCEPTED for one in sheets) or (all(gone) and bool(gone) and not kept)

    def _answered(self, move: Move, sheet: Sheet, after: State) -> set[Act]:
        if move.act is Act.APPROVE:
            passes_on = after is S.TRANSFERRED is not sheet.state
            return {Act.TRANSFER} if passes_on else {Act.PURGE_REQUEST}
        if move.act is Act.DECLINE:
            return {Act.TRANSFER} if move.by is Role.HOTLINE else set()
        return ANSWERS.get(move.act, set())

    # What an act that is taken does.

    def take(self, move: Move, now: int) -> None:
        """Take it, and what follows from it at once."""
        for sheet in [one for one in self._meant(move) if self._fits(move, one)]:
            self._step(move, sheet, now)
        self.acts.append((move.digest, move.act, move.unit))
        if move.act is Act.DECLINE and move.by is Role.POLICE_UNIT:
            self._speak(now)
        self._settle()

    def _speak(self, now: int) -> None:
        """What the exchange says in the transaction of a unit's `decline`."""
        unowned.say_at_once(self, now)

    def follows(self, move: Move) -> Move | None:
        """What the exchange itself says because of an act that was just taken; its digest is still to be filled in."""
        if not self.agreed or move.act is not Act.TRANSFER or move.to in self.excluded:
            return None
        unanswered = any(kind in NOTICES for kind, _ in self.sheets[str(move.unit)].open.values())
        if unanswered or any(one.consent for one in self.sheets.values()):
            return None
        return replace(move, act=Act.APPROVE, by=Role.HOTLINE, party="exchange", signer="exchange.main",
                       question=move.digest, prev=None, to=None)  # fmt: skip

    def _step(self, move: Move, sheet: Sheet, now: int) -> None:
        before, state, mine = sheet.state, self._lands(move, sheet), self._mine(move, sheet)
        assert state is not None
        answered = self._answered(move, sheet, state)
        gone = [one for one, kind in mine.items() if kind in answered and move.question in (None, one)]
        purges = move.act is Act.APPROVE and any(mine[one] is Act.PURGE_REQUEST for one in gone)
        for one in gone:
            del sheet.open[one]
        noticed = any(kind in NOTICES for kind, _ in sheet.open.values())
        falls = {Act.TELEPHONE_NOW} if state in OVER and before not in OVER else set()
        falls |= set(NOTICES) if move.act is Act.WITHDRAW and state is S.WITHDRAWN is not before else set()
        falls |= set() if state in OPEN else {Act.TRANSFER}
        sheet.open = {one: what for one, what in sheet.open.items() if what[0] not in falls}
        if self._asks(move.act, sheet.to_take_back(move.act), had=sheet.got or sheet.acked is not None):
            sheet.open[move.digest] = (move.act, move.signer)
            late = sheet.told.get("withdrawal_answer", 0) >= (sheet.notified or 0)
            if move.act in NOTICES and before is not S.HELD and (late or not noticed):
                sheet.notified = now
        if move.act is not Act.REWRAP and move.party != "exchange":
            sheet.head = move.digest
        self._mark(move, sheet, now)
        self._tell(move, sheet, before)
        source_to = sheet.to
        sheet.enter(state, now)
        if move.act is Act.RELEASED:
            self._begin(sheet, now, move.digest)
        if state is S.TRANSFERRED and before is not S.TRANSFERRED and source_to is not None:
            self._bring(sheet, source_to, move.digest, gone[0], now)
        if move.act is Act.ACCEPT and not move.joint:
            self._take_from_others(sheet)
        if move.act is Act.RECEIPT_FAILED and not sheet.rings():
            self.ring(sheet, now)
        if purges:
            self._purge(sheet, now)

    def _take_from_others(self, sheet: Sheet) -> None:
        for other in self.sheets.values():
            live = other.state in UNREAD | OPEN and other.role != "information"
            if other is not sheet and live and not other.taken:
                other.taken = True
                other.heard[Act.TAKEN] += 1

    def _mark(self, move: Move, sheet: Sheet, now: int) -> None:
        if move.act in (Act.SUPPLEMENT, Act.NOTE, Act.ASK, Act.ANSWER):
            sheet.said = now
        if move.act is Act.STATUS:
            sheet.status = now
            sheet.investigation.append(str(move.code))
        if move.act is Act.ACK and sheet.acked is None:
            sheet.acked = now
        if move.act is Act.TRANSFER:
            sheet.to = move.to
        if move.act is Act.CONSENT_WITHDRAWN or move.code == "consent_withdrawn":
            sheet.consent = True
        if move.act is Act.PHONE_ALERT:
            sheet.reached, sheet.missed = (None, now) if move.code == "not_made" else (now, None)
        if move.act is Act.HOLD and move.code == "off":
            sheet.holds.pop(move.party)
            sheet.lifted = now
        elif move.act is Act.HOLD and move.review_at is not None:
            sheet.holds[move.party] = move.review_at

    @staticmethod
    def _asks(act: Act, before: State, *, had: bool) -> bool:
        if act is Act.WITHDRAW:
            return before not in (S.HELD, S.SUBMITTED)
        if act is Act.CONSENT_WITHDRAWN:
            return had or before is not S.WITHDRAWN
        return act in (Act.TRANSFER, Act.ASK, Act.PURGE_REQUEST)

    def _bring(self, source: Sheet, unit: str, approval: str, transfer: str, now: int) -> None:
        since = min(one.since for one in self.sheets.values() if one.since is not None)
        rank = len(self.sheets)
        self.sheets[unit] = Sheet(unit, source.role, S.SUBMITTED, approval, rank, now, since, transfer)
        self.came[unit] = (source.unit, transfer, approval)
        self.to_read(unit, Act.APPROVE, approval)

    def ring(self, sheet: Sheet, now: int) -> None:
        sheet.heard[Act.TELEPHONE_NOW] += 1
        sheet.rang = now
        digest = f"{TELEPHONE} {now} {len(self.lines)}"
        sheet.open[digest] = (Act.TELEPHONE_NOW, "exchange.main")
        self._line(self.sender, Act.TELEPHONE_NOW, sheet.unit, digest, lambda one: digest in one.open)

    # Inboxes.

    def _line(self, party: str, kind: Act, unit: str, digest: str, waits: Callable[[Sheet], bool]) -> None:
        self.lines.append(Line(party, kind, unit, digest, waits))

    def to_read(self, unit: str, kind: Act, digest: str) -> None:
        self._line(unit, kind, unit, digest, lambda one: one.state in (S.SUBMITTED, S.RETRIEVED))

    def to_decide(self, unit: str, digest: str) -> None:
        """A line that waits for a decision, or until another unit takes it again."""
        self._line(unit, Act.RELEASED, unit, digest, lambda one: one.state is S.ACKNOWLEDGED and not one.taken)

    def to_open(self, unit: str, digest: str) -> None:
        """A line that waits until what did not open has been opened, or has ended."""
        self._line(unit, Act.RELEASED, unit, digest, lambda one: one.state is S.RECEIPT_FAILED)

    def _tell(self, move: Move, sheet: Sheet, before: State) -> None:
        """The line at the other side, if it is one that waits."""
        reader = self.sender if move.by is Role.POLICE_UNIT else sheet.unit
        if reader != self.sender and sheet.begun is None:
            return
        digest = move.digest
        if move.by is Role.POLICE_UNIT and move.act in WAITS:
            moves = move.act is not Act.RECEIPT_FAILED or before in UNREAD
            if moves:
                states = WAITS[move.act]
                self._line(reader, move.act, sheet.unit, digest, lambda one: one.state in states)
        elif digest in sheet.open:
            self._line(reader, move.act, sheet.unit, digest, lambda one: digest in one.open)

    def _settle(self) -> None:
        for line in self.lines:
            line.pending = line.pending and line.waits(self.sheets[line.unit])

    def pending(self, party: str) -> Counter[str]:
        """What waits in a party's inbox, by kind; a line about several deliveries waits for all of them."""
        waiting = [one for one in self.lines if one.pending and one.party == party]
        return Counter(one.kind.value for one in waiting)

    def fetched(self, unit: str) -> None:
        """The bundle was handed out to the unit."""
        self.sheets[unit].got = True
        if self.sheets[unit].state is S.SUBMITTED:
            self.sheets[unit].state = S.RETRIEVED

    def may_fetch(self, unit: str) -> bool:
        """Whether it is handed out."""
        own = self.sheets.get(unit)
        hidden = own is None or own.begun is None or own.state in (S.HELD, S.WITHDRAWN, S.PURGED)
        return not hidden and own is not None and own.purged is None

    # The exchange's clocks.

    def silent(self, unit: str, now: int) -> bool:
        """The unit has stopped looking; whether the hotline telephones for that alone (R-106)."""
        sheet = self.sheets.get(unit)
        if sheet is None or not self.pending(unit) or self.urgency == "routine" or sheet.heard[Act.TELEPHONE_NOW]:
            return False
        if sheet.state not in UNREAD or sheet.role == "information" or sheet.taken:
            return False
        self.ring(sheet, now)
        return True

    def dues(self, sheet: Sheet) -> list[tuple[int, str]]:
        """What is owed on a delivery, and until when."""
        reviews = [] if sheet.state is S.PURGED else [(at, "hold_review") for at in sheet.holds.values()]
        if sheet.begun is None:
            return sorted(reviews)
        ack, decision, first, following = self.terms
        found: list[tuple[int, str]] = []
        turn = sheet.begun if sheet.back is None else sheet.back
        if sheet.state in UNREAD:
            found.append((turn + ack, "ack"))
        least = turn + ack if sheet.unit in self.came else turn
        since = int(sheet.since or 0) if sheet.back is None else sheet.back
        works = sheet.role != "information"
        if works and sheet.state is S.ACKNOWLEDGED and not sheet.taken:
            found.append((max(since + decision, least), "decision"))
        if works and sheet.state is S.ACCEPTED:
            taken_up = max(sheet.accepted or 0, turn)
            if sheet.status is None:
                found.append((max(taken_up + first, least), "first_status"))
            else:
                found.append((max(sheet.status, taken_up) + following, "next_status"))
        if sheet.notified is not None and any(kind in NOTICES for kind, _ in sheet.open.values()):
            found.append((sheet.notified + self.pace * ANSWER_IN, "withdrawal_answer"))
        return sorted(found + reviews)

    def purge_at(self, sheet: Sheet) -> int | None:
        """When its ciphertext goes."""
        if sheet.state not in FORGETS or sheet.unread():
            return None
        after_end, after_ack = KEPT[self.kept]
        ends = [] if sheet.ended is None else [sheet.ended + after_end]
        if sheet.acked is not None and sheet.purged is None:
            ends.append(sheet.acked + after_ack)
        written = max(sheet.said or 0, sheet.status or 0, sheet.accepted or 0)
        if sheet.purged is not None and sheet.ended is None and written > sheet.purged:
            ends.append(sheet.purged + after_ack)
        if not ends:
            return None
        late_words = sheet.said is not None and sheet.said >= min(ends) - 14 * DAY
        at = min(ends) + (14 * DAY if late_words else 0)
        return max(at, sheet.lifted + 3 * DAY) if sheet.lifted else at

    def _coming(self) -> Iterator[tuple[int, Callable[[int], None]]]:
        """Everything that the exchange will say by itself: when, and what it does."""
        for sheet in list(self.sheets.values()):
            for at, clock in self.dues(sheet):
                if sheet.told.get(clock, 0) < at:
                    yield at, partial(self._overdue, sheet, clock, at)
            for at, rung in self.climbs(sheet):
                yield at, partial(self._climb, sheet, rung)
            for at, days in self.forgets(sheet):
                yield at, partial(self._warn, sheet, days) if days else partial(self._purge, sheet)
        for one in unowned.later(self):
            yield one.at, partial(unowned.say, self, one)

    @property
    def terms(self) -> tuple[int, ...]:
        """Until when something is owed, as long as the rules make it."""
        return tuple(self.pace * term for term in TERMS[self.urgency])

    @property
    def ladder(self) -> list[tuple[int, str]]:
        """The rungs, as far apart as the rules have them."""
        return [(self.pace * after, rung) for after, rung in LADDERS[self.urgency]]

    def _overdue(self, sheet: Sheet, clock: str, at: int, now: int) -> None:
        sheet.told[clock] = at
        sheet.heard[Act.OVERDUE] += 1
        if self.presses(clock) and not sheet.rings():
            self.ring(sheet, now)

    def presses(self, clock: str) -> bool:
        """Whether the hotline telephones where this is late."""
        return clock == "withdrawal_answer" or (clock == "decision" and self.urgency != "routine")

    def climbs(self, sheet: Sheet) -> list[tuple[int, str]]:
        """The next rung of its ladder, and when; nothing where there is none."""
        if sheet.begun is None or sheet.state not in UNREAD:
            return []
        ends = sheet.taken or sheet.role == "information"
        number = len(self.ladder) - 1 if ends else sheet.rungs
        after, rung = self.ladder[number]
        at = (sheet.begun if sheet.back is None else sheet.back) + after
        if rung == "expire" and sheet.rung_at is not None:
            at = max(at, sheet.rung_at + after - self.ladder[number - 1][0])
        return [(at, rung)]

    def _climb(self, sheet: Sheet, rung: str, now: int) -> None:
        if rung == "expire":
            self.expire(sheet, now)
            return
        for one in self.freed_by(rung):
            self.release(one, now)
        if rung == "telephone" and not sheet.rings():
            self.ring(sheet, now)
        sheet.rungs, sheet.rung_at = sheet.rungs + 1, now
        sheet.heard[Act.ESCALATED] += 1

    def expire(self, sheet: Sheet, now: int) -> None:
        """The last rung."""
        sheet.heard[Act.EXPIRED] += 1
        sheet.enter(S.EXPIRED, now)
        self._line(self.sender, Act.EXPIRED, sheet.unit, "expired", lambda one: one.state is S.EXPIRED)

    def freed_by(self, rung: str) -> list[Sheet]:
        """The held deliveries that a rung releases, in the order in which they were addressed."""
        held = sorted((one for one in self.sheets.values() if one.state is S.HELD), key=lambda one: one.rank)
        return held[:1] if rung == "parent" else held if rung == "national" else []

    def release(self, sheet: Sheet, now: int) -> None:
        """It begins to exist for its unit."""
        sheet.heard[Act.RELEASED] += 1
        sheet.enter(S.SUBMITTED, now)
        self._begin(sheet, now, "released")

    def _begin(self, sheet: Sheet, now: int, digest: str) -> None:
        sheet.begun = sheet.since = now
        if any(kind in NOTICES for kind, _ in sheet.open.values()):
            sheet.notified = now
        self.to_read(sheet.unit, Act.RELEASED, digest)

    def forgets(self, sheet: Sheet) -> list[tuple[int, int]]:
        """When its purge is announced so many days before, and when it comes (0); nothing while somebody holds it."""
        if sheet.holds:
            return []
        if sheet.state is S.HELD:
            others = [one.purged for one in self.sheets.values() if one.state is not S.HELD]
            return [(max(one or 0 for one in others), 0)] if others and None not in others else []
        at = self.purge_at(sheet)
        if at is None:
            return []
        begun = max(sheet.ended or 0, sheet.acked or 0, sheet.purged or 0, sheet.lifted)
        warned = [(at - days * DAY, days) for days in (14, 3) if sheet.told.get(f"purge {days}") != at]
        return [one for one in warned if one[0] >= begun] + [(at, 0)]

    def _warn(self, sheet: Sheet, days: int, _now: int) -> None:
        sheet.told[f"purge {days}"] = int(self.purge_at(sheet) or 0)
        sheet.heard[Act.PURGE_DUE] += 1

    def _purge(self, sheet: Sheet, now: int) -> None:
        sheet.purged = now
        sheet.heard[Act.PURGED] += 1
        # The bundle for the new unit has gone too.
        sheet.open = {one: what for one, what in sheet.open.items() if what[0] is not Act.TRANSFER}
        if sheet.state not in OPEN | {S.WITHDRAWAL_NOTIFIED, S.EXPIRED}:
            sheet.enter(S.PURGED, now)

    def look(self, now: int) -> None:
        """The exchange looks at the clock."""
        while due := sorted((one for one in self._coming() if one[0] <= now), key=lambda one: one[0]):
            due[0][1](now)
        self._settle()

    @property
    def alarm(self) -> int | None:
        """When it must look next."""
        return min((at for at, _ in self._coming()), default=None)
