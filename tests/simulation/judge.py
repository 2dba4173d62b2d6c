"""Whether everything that was owed and late was said, at every moment of a run: the acknowledgement with every rung of
its ladder, the decision, both statuses, the answer to a notice, the review of a hold, and what is purged when (R-80,
R-106, R-107; rules R1 and R18 of the field).

People's acts and retrievals are replayed from the stored rows through the terms that tests/lifetime/model.py writes
down once more by hand; what the exchange says by itself is only listened to. Its clock counts whole seconds and is
looked at when something is due, so an alarm has its own second and no other. Only while there is no exchange, or while
its clock is wrong, nobody can say anything; then it is due with the second in which that ends.

Must never: ask the running exchange, believe its alarms' dates, or use the clockwork, the rules or the fold.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from referral_api.auditlog.records import Retrieved, parse_record
from referral_api.domain.words import Act, Role, State
from referral_api.formats.act import parse_act
from tests.lifetime import unowned
from tests.lifetime.model import Case
from tests.lifetime.sheets import Move, Sheet
from tests.lifetime.unowned import BACK, CALL, RELEASE
from tests.world_check import Rows

TICK_S: Final = 0
"""How long what is due may wait, with the exchange up and its clock right: the second in which it is due is its own."""
RUNGS: Final = {
    "remind": "remind_unit",
    "telephone": "telephone_now",
    "parent": "release_parent",
    "national": "release_national",
    "expire": "expire",
}
AGREED: Final = "agreed_purge"
"""What is owed at once where two persons have agreed to a purge."""
CLOCKS: Final = ("ack", "decision", "first_status", "next_status", "withdrawal_answer", "hold_review")


class Heard(NamedTuple):
    """One stored act (or retrieval, `act` None) about a referral: accepted, at its place in the log."""

    pos: int
    at: int
    ref: str
    unit: str | None
    act: Act | None
    party: str
    signer: str
    digest: str
    prev: str | None
    body: Any


class Mark(NamedTuple):
    """From here on in the log nobody can say anything, or somebody can again."""

    pos: int
    at: int
    sees: bool


class Debt(NamedTuple):
    """Something that is to be said about a delivery from a moment on: a clock, a rung, a call, a purge."""

    unit: str
    what: str
    at: int


@dataclass
class Docket(Case):
    """A referral as its acts tell it. What the exchange owes is listed, and only done when it is heard."""

    calls: dict[str, int] = field(default_factory=dict)
    """Units that the hotline is to be told to telephone, and since when."""
    to_purge: dict[str, int] = field(default_factory=dict)
    """Units of which two persons have agreed to purge it, and when."""
    giving: dict[str, int] = field(default_factory=dict)
    """Units to which it is given back together with one of which that was heard, and since when."""
    freed: list[tuple[int, str]] = field(default_factory=list)
    """Released, and the rung that released it not heard yet."""

    def ring(self, sheet: Sheet, now: int) -> None:
        self.calls.setdefault(sheet.unit, now)

    def _purge(self, sheet: Sheet, now: int) -> None:
        self.to_purge.setdefault(sheet.unit, now)

    def _speak(self, _now: int) -> None:
        """What a `decline` brings is owed like everything else."""

    def purge(self, sheet: Sheet, now: int) -> None:
        """It is heard that it was done."""
        self.to_purge.pop(sheet.unit, None)
        super()._purge(sheet, now)

    def debts(self) -> Iterator[Debt]:
        """Everything that is still to be said, sooner or later."""
        for unit, sheet in self.sheets.items():
            yield from (Debt(unit, clock, at) for at, clock in self.dues(sheet) if sheet.told.get(clock, 0) < at)
            yield from (Debt(unit, RUNGS[rung], at) for at, rung in self.climbs(sheet))
            yield from (Debt(unit, f"purge_{days}" if days else "purge", at) for at, days in self.forgets(sheet))
        yield from (Debt(unit, CALL, at) for unit, at in self.calls.items())
        yield from (Debt(one.sheet.unit, one.what, one.at) for one in unowned.later(self))
        yield from (Debt(unit, AGREED, at) for unit, at in self.to_purge.items())
        yield from (Debt(unit, BACK, at) for unit, at in self.giving.items())


@dataclass
class Judge:
    """Hears everything in the order of the log. `faults` are sentences, of which there must be none."""

    faults: list[str] = field(default_factory=list)
    said: Counter[str] = field(default_factory=Counter)
    """How often each thing was said when it was due."""
    met: Counter[str] = field(default_factory=Counter)
    """How often what would have been said was done before."""
    stood: Counter[str] = field(default_factory=Counter)
    """Of what was said: how often not before an exchange that stood still went on."""
    moments: int = 0
    """How many moments were examined."""
    now: int = 0
    blind: bool = False
    dockets: dict[str, Docket] = field(default_factory=dict)
    owed: dict[str, dict[Debt, int | None]] = field(default_factory=dict)
    """By referral: what is owed, and until when it must be said; None where nobody can say it now."""
    _due: list[tuple[int, str, Debt]] = field(default_factory=list)

    def listen(self, stored: Iterable[Heard], marks: Sequence[Mark], end: int) -> None:
        """All of a log, with the marks where nobody could speak, up to a moment at which it is over."""
        both: list[Heard | Mark] = [*stored, *marks]
        for one in sorted(both, key=lambda one: (one.pos, isinstance(one, Mark))):
            if isinstance(one, Mark):
                self.mark(one)
            else:
                self.hear(one)
        self.pass_until(end)

    # Time.

    def pass_until(self, now: int) -> None:
        """Nothing may be left that had to be said before."""
        if self.blind:
            return
        self.moments += 1
        self.now = max(self.now, now)
        while self._due and self._due[0][0] < self.now:
            until, ref, debt = heapq.heappop(self._due)
            if self.owed[ref].get(debt) == until:
                self.faults.append(f"{ref} at {debt.unit}: {debt.what} due at {debt.at}, unsaid at {self.now}")
                self.owed[ref][debt] = None

    def mark(self, mark: Mark) -> None:
        """What was due before must have been said before; what becomes due meanwhile, as soon as it can be."""
        if not mark.sees:
            self.pass_until(mark.at)
            self.blind = True
            return
        self.blind, self.now = False, mark.at
        for ref in self.owed:
            for debt, until in self.owed[ref].items():
                if until is None or until < mark.at:
                    self._set(ref, debt, max(debt.at, mark.at))

    def _set(self, ref: str, debt: Debt, at: int) -> None:
        self.owed[ref][debt] = at + TICK_S
        heapq.heappush(self._due, (at + TICK_S, ref, debt))

    # What is heard.

    def hear(self, one: Heard) -> None:
        """One act or retrieval."""
        self.pass_until(one.at)
        docket = self.dockets.get(one.ref)
        if one.act is Act.SUBMIT:
            body = one.body
            to = [(to.unit, to.role.value) for to in body.to]
            docket = self.dockets[one.ref] = Docket.submitted(
                one.ref, one.party, body.urgency.value, body.retention_class.value, to, set(), one.digest, one.at
            )
            self.owed[one.ref] = {}
        elif docket is None or one.act is Act.ROUTE:
            return
        elif one.act is None:
            docket.fetched(str(one.unit))
        elif one.party == "exchange":
            self._alarm(docket, one)
        else:
            self._by_party(docket, one)
        self._weigh(docket, one.at)

    def _by_party(self, docket: Docket, one: Heard) -> None:
        move = move_of(one, Role.HOTLINE if one.party == docket.sender else Role.POLICE_UNIT)
        if not docket.takes(move):
            self.faults.append(f"{one.ref}: {one.signer} may not {move.act.value} by the hand-written rules")
        docket.take(move, one.at)

    def _alarm(self, docket: Docket, one: Heard) -> None:
        if one.act is Act.APPROVE:
            docket.take(move_of(one, Role.HOTLINE), one.at)
            return
        sheet = docket.sheets[str(one.unit)]
        if sheet.begun is None and one.act not in (Act.RELEASED, Act.OVERDUE, Act.PURGED):
            self.faults.append(f"{one.ref}: {one.act} about {one.unit}, which knows nothing of it")
        said = _named(docket, one)
        owed = [debt for debt in self.owed[one.ref] if debt.unit == one.unit and debt.at <= one.at]
        if one.act is Act.TELEPHONE_NOW and one.body.reason == "ack_timeout":
            # It belongs to its rung, or whoever telephoned before reached nobody.
            said = next((CALL for debt in owed if debt.what == CALL), None)
        due = [debt for debt in owed if debt.what == said]
        if due:
            self.said[due[0].what] += 1
            if one.at > due[0].at + TICK_S:
                self.stood[due[0].what] += 1
        elif said is not None:
            self.faults.append(f"{one.ref} at {one.unit}: {said} at {one.at}, which was not owed")
            return
        self._do(docket, sheet, one, owed=bool(due))

    def _do(self, docket: Docket, sheet: Sheet, one: Heard, *, owed: bool) -> None:
        """What an alarm does to its delivery."""
        body, at = one.body, one.at
        if one.act is Act.OVERDUE:
            docket._overdue(sheet, body.clock, int(body.due_at.timestamp()), at)
        elif one.act is Act.ESCALATED:
            self._check_rung(docket, sheet, one)
            sheet.rungs, sheet.rung_at = sheet.rungs + 1, at
        elif one.act is Act.EXPIRED:
            docket.expire(sheet, at)
        elif one.act is Act.RELEASED:
            self._release(docket, sheet, one)
        elif one.act is Act.TELEPHONE_NOW:
            self._telephone(docket, sheet, one, owed=owed)
        elif one.act is Act.TAKEN and not sheet.taken:
            self.faults.append(f"{one.ref} at {one.unit}: taken, and nobody took it")
        elif one.act is Act.PURGE_DUE:
            docket._warn(sheet, body.days, at)
        elif one.act is Act.PURGED:
            docket.purge(sheet, at)

    def _release(self, docket: Docket, sheet: Sheet, one: Heard) -> None:
        if sheet.taken:
            together = [debt for debt in docket.debts() if debt.what == BACK and debt.unit != sheet.unit]
            docket.giving = {debt.unit: debt.at for debt in together}
            unowned.give_back(docket, sheet, one.at)
            return
        if one.body.reason == "ack_timeout":
            docket.freed.append((sheet.rank, sheet.unit))
        docket.release(sheet, one.at)

    def _telephone(self, docket: Docket, sheet: Sheet, one: Heard, *, owed: bool) -> None:
        if sheet.rings():
            self.faults.append(f"{one.ref} at {one.unit}: told to telephone twice")
        sheet.open[one.digest] = (Act.TELEPHONE_NOW, one.signer)
        sheet.rang = one.at
        docket.calls.pop(sheet.unit, None)
        at_its_rung = (RUNGS["telephone"], True) in self._rungs(docket, sheet, one.at)
        if one.body.reason == "ack_timeout" and not owed and not at_its_rung:
            self.faults.append(f"{one.ref} at {one.unit}: told to telephone before that rung")

    def _check_rung(self, docket: Docket, sheet: Sheet, one: Heard) -> None:
        """What belongs to a rung comes before it: the call, the releases in the order of the submit."""
        rung, freed, docket.freed = one.body.rung, docket.freed, []
        left = sum(other.state is State.HELD for other in docket.sheets.values())
        wanted = {"release_parent": min(1, left + len(freed)), "release_national": left + len(freed)}.get(rung, 0)
        if len(freed) != wanted or freed != sorted(freed):
            self.faults.append(f"{one.ref} at {one.unit}: {rung} released {freed}, and {left} are held")
        ranks = [other.rank for other in docket.sheets.values() if other.state is State.HELD]
        if freed and ranks and max(freed)[0] > min(ranks):
            self.faults.append(f"{one.ref} at {one.unit}: {rung} passed over who comes first")
        if rung == "telephone_now" and not sheet.rings():
            self.faults.append(f"{one.ref} at {one.unit}: {rung}, and nobody was told to telephone")

    def _rungs(self, docket: Docket, sheet: Sheet, now: int) -> set[tuple[str, bool]]:
        return {(RUNGS[rung], at <= now) for at, rung in docket.climbs(sheet)}

    def _weigh(self, docket: Docket, now: int) -> None:
        """What is owed now that was not, and is no more."""
        owed, wanted = self.owed[docket.ref], set(docket.debts())
        for debt in [one for one in owed if one not in wanted]:
            del owed[debt]
            if debt.at > now:
                self.met[debt.what] += 1
        for debt in wanted - owed.keys():
            if self.blind:
                owed[debt] = None
            else:
                self._set(docket.ref, debt, max(debt.at, now))


def _named(docket: Docket, one: Heard) -> str | None:
    """What an alarm says that must have been owed; None where it says nothing that waits."""
    body, act = one.body, one.act
    if act is Act.OVERDUE:
        return str(body.clock)
    if act is Act.ESCALATED:
        return str(body.rung)
    if act is Act.TELEPHONE_NOW:
        return CALL if body.reason in ("update_timeout", "receipt_failed", "declined") else None
    if act is Act.RELEASED and body.reason != "ack_timeout":
        return BACK if docket.sheets[str(one.unit)].taken else RELEASE
    if act is Act.PURGE_DUE:
        return f"purge_{body.days}"
    if act is Act.PURGED:
        return AGREED if str(one.unit) in docket.to_purge else "purge"
    return "expire" if act is Act.EXPIRED else None


def move_of(one: Heard, by: Role) -> Move:
    """A stored act as the model knows it."""
    body, act = one.body, one.act or Act.NOTE
    code = getattr(body, "code", None) if act in (Act.STATUS, Act.WITHDRAWAL_ANSWER) else None
    if act in (Act.WITHDRAW, Act.RELEASED):
        code = str(body.reason)
    if act is Act.PHONE_ALERT:
        code = "made" if body.made else "not_made"
    review_at = getattr(body, "review_at", None)
    return Move(
        act=act,
        by=by,
        party=one.party,
        signer=one.signer,
        digest=one.digest,
        unit=one.unit,
        prev=one.prev,
        code=("on" if body.on else "off") if act is Act.HOLD else None if code is None else str(code),
        question=getattr(body, "answers", None),
        to=body.to if act is Act.TRANSFER else None,
        joint=act is Act.ACCEPT and body.joint is not None,
        review_at=None if review_at is None else int(review_at.timestamp()),
    )


def stored(rows: Rows) -> list[Heard]:
    """The accepted acts about referrals and the retrievals that move something, in log order."""
    found = []
    for row in rows["act"]:
        if row["outcome"] == "accepted" and row["ref"] is not None:
            act = parse_act(row["jws"].encode())
            found.append(
                Heard(
                    int(row["pos"]), int(row["received_at"]), row["ref"], row["unit"], act.act, row["party"], act.iss,
                    act.digest, act.prev, act.body,
                )
            )  # fmt: skip
    for row in rows["record"]:
        record = parse_record(row["body"].encode("ascii"))
        if isinstance(record, Retrieved) and record.sealed == "bundle" and record.unit is not None:
            found.append(
                Heard(int(row["pos"]), record.t, record.ref, record.unit, None, record.party, "", "", None, None)
            )
    return sorted(found, key=lambda one: one.pos)
