"""What one year's acts and records come to, cell by cell: exchange and auditor, and whoever holds them, count the same.

What is counted are cases: a referral, and whatever was sent later in its place (relation `replaces`), are one. So no
case is two because a unit declined it, and nobody is blamed twice. Copies are counted in nothing.

Must never: name a party, a credential or a referral in a figure, count what was refused, count one event in two tables,
or read a clock.

Implements: R-103; rule R12 of the field; docs/decisions/0031, 0035.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from referral_api.auditlog.evidence import Chronicle, event_of
from referral_api.auditlog.figures import ELSEWHERE, URGENCIES, Figures, cells_of_nothing, tabled, totals
from referral_api.auditlog.records import Retrieved
from referral_api.domain.deliveries import Delivery
from referral_api.domain.errors import ReferralError
from referral_api.domain.rules import RuleBook
from referral_api.domain.words import Act, CredentialKind, DeliveryRole, Role, State
from referral_api.formats.act import RawAct, parse_act

REPLACES: Final = "replaces"
_TAKEN_BACK: Final = frozenset({State.HELD, State.WITHDRAWN, State.WITHDRAWAL_NOTIFIED})
_BY_ACT: Final[Mapping[Act, tuple[str, str]]] = {
    Act.DECLINE: ("declines", "reason"),
    Act.TRANSFER: ("transfers", "reason"),
    Act.RECEIPT_FAILED: ("receipt_failures", "reason"),
    Act.OVERDUE: ("overdue", "clock"),
}
"""Acts that are counted one by one: the table, and the member of the body that says which cell."""


@dataclass(slots=True)
class _Case:
    """What one referral, with those that replace it, adds to the figures."""

    urgency: str | None = None
    """None where it was first sent in an earlier year: then only what was signed this year counts."""
    created_s: int = 0
    """From its creation on the hotline's machine to its acceptance by the exchange."""
    sent_at: int = 0
    within_s: int = 0
    """In what time a unit shall acknowledge, by the rules in force at its submit."""
    of_submit: list[str] = field(default_factory=list)
    by_act: list[str] = field(default_factory=list)
    withdrawals: set[str] = field(default_factory=set)
    closings: dict[tuple[str, str], tuple[Role, str]] = field(default_factory=dict)
    """By referral and unit, in the order in which they were signed: by whom, and which cell."""
    taken_back: bool = False
    """Whether it was withdrawn in time, before anybody had acknowledged."""
    chronicles: dict[str, Chronicle] = field(default_factory=dict)
    readers: set[tuple[str, str, str]] = field(default_factory=set)
    signers: set[tuple[str, str, str]] = field(default_factory=set)

    @property
    def _to_act(self) -> Iterator[Delivery]:
        """The deliveries whose units shall act on them."""
        for chronicle in self.chronicles.values():
            yield from (one for one in chronicle.deliveries.values() if one.role is not DeliveryRole.INFORMATION)

    @property
    def acknowledged_s(self) -> int | None:
        """From its submission to the first acknowledgement of a unit that shall act on it; None if there was none.

        Whichever unit: one to which it was released, passed on or sent anew is late too, if the first one let the time
        go by.
        """
        first = min((one.acknowledged_at for one in self._to_act if one.acknowledged_at is not None), default=None)
        return None if first is None else first - self.sent_at

    def submit(self, act: RawAct, at: int, book: RuleBook) -> None:
        """Begin with the submit of its first referral."""
        body: Any = act.body
        self.urgency = str(body.urgency.value)
        self.created_s = max(0, at - int(body.created_at.timestamp()))
        self.sent_at = at
        self.within_s = int(book.at(at).clocks[body.urgency].ack.total_seconds())
        self.of_submit = [f"urgency.{self.urgency}", f"basis.{body.basis.value}"]
        self.of_submit.append(f"retention.{body.retention_class.value}")

    def fold(self, ref: str, act: RawAct, by: Role, at: int) -> None:
        """Let its deliveries be moved by an act, where it was first sent this year."""
        if self.urgency is None:
            return
        if act.act is Act.SUBMIT:
            self.chronicles[ref] = Chronicle()
            self.taken_back = False
        elif ref not in self.chronicles:
            return  # What came before its submit is about nothing; the log's verification says so.
        self.chronicles[ref].accept(event_of(act, by, at))
        if act.act is Act.WITHDRAW and at <= self.sent_at + self.within_s and self.acknowledged_s is None:
            self.taken_back = all(one.state in _TAKEN_BACK for one in self._to_act)

    def outcome(self, replaced: set[str]) -> str | None:
        """How it ended: as a unit closed it last, else as its hotline did; None while nobody has.

        That the hotline closes what it has sent anew elsewhere is no outcome.
        """
        found = {
            by: cell for (ref, _), (by, cell) in self.closings.items() if by is not Role.HOTLINE or ref not in replaced
        }
        return found.get(Role.POLICE_UNIT) or found.get(Role.HOTLINE)

    def answered(self, over_at: int) -> str | None:
        """How it was acknowledged; None where it was taken back in time, or could still be at the year's end."""
        took_s = self.acknowledged_s
        waits = took_s is None and self.sent_at + self.within_s >= over_at
        if self.urgency is None or self.taken_back or waits:
            return None
        return "on_time" if took_s is not None and took_s <= self.within_s else "late"


class Counting:
    """One pass over a year's log, in log order. `kinds` are the kinds of all credentials there ever were, `book` the
    rules of the exchange up to the year's end (R-105).
    """

    def __init__(self, kinds: Mapping[str, CredentialKind], book: RuleBook, year: int) -> None:
        self._kinds = kinds
        self._book = book
        self._over_at = int(datetime(year + 1, 1, 1, tzinfo=UTC).timestamp())
        self._cases: dict[str, _Case] = {}
        self._first: dict[str, str] = {}
        """The first of those that a referral replaces, one after the other."""
        self._replaced: set[str] = set()
        self._copies: set[str] = set()
        self._erased: set[str] = set()

    def earlier(self, act: RawAct) -> None:
        """Take an accepted submit of an earlier year, before any act of this one, in log order: it says what is a copy,
        and what stands in the place of what.
        """
        body: Any = act.body
        relation = body.relation
        if body.is_copy:
            self._copies.add(str(act.ref))
        elif relation is not None and relation.type == REPLACES and relation.ref not in self._copies:
            self._replaced.add(relation.ref)
            self._first[str(act.ref)] = self._first.get(relation.ref, relation.ref)

    def act(self, act: RawAct, by: Role, at: int) -> None:
        """Take an accepted act; `at` is its leaf's time (unix seconds). Raises TAMPERED where it does not fold."""
        if act.ref is None or act.act is Act.ERASE:
            return
        ref = str(act.ref)
        if act.act is Act.SUBMIT:
            self.earlier(act)
        if (case := self._case(ref)) is None:
            return
        if act.act is Act.SUBMIT and ref not in self._first:
            case.submit(act, at, self._book)
        self._count(case, act, by)
        if act.unit is not None:
            case.signers.add((ref, act.unit, act.iss))
        case.fold(ref, act, by, at)

    def read(self, record: Retrieved) -> None:
        """Take the record of a hand-out."""
        if record.sealed != "bundle" or record.unit is None or (case := self._case(record.ref)) is None:
            return
        if self._kinds.get(record.credential) is CredentialKind.PERSON:
            case.readers.add((record.ref, record.unit, record.credential))
        if record.ref in case.chronicles:
            case.chronicles[record.ref].retrieved(record.unit, record.t)

    def erased(self, ref: str) -> None:
        """Take that a referral of this year has erased records. Of its acts and records none is to be taken, should
        some of them still be there.
        """
        self._erased.add(ref)

    def figures(self) -> Figures:
        """Everything that was counted."""
        counts = Counter(cells_of_nothing())
        sent: dict[str, list[int]] = {urgency: [] for urgency in URGENCIES}
        acknowledged: dict[str, list[int]] = {urgency: [] for urgency in URGENCIES}
        for one in self._cases.values():
            counts.update(one.by_act)
            counts.update(one.withdrawals)
            outcome, answered = one.outcome(self._replaced), one.answered(self._over_at)
            counts.update([] if outcome is None else [outcome])
            counts["readers.not_signed"] += len(one.readers - one.signers)
            if one.urgency is None or answered is None:
                continue
            counts.update(one.of_submit)
            counts[f"acknowledgement_{one.urgency}.{answered}"] += 1
            sent[one.urgency].append(one.created_s)
            if (took_s := one.acknowledged_s) is not None:
                acknowledged[one.urgency].append(took_s)
        return Figures(totals(counts), _sorted(sent), _sorted(acknowledged), len(self._erased))

    def _case(self, ref: str) -> _Case | None:
        """To which case a referral belongs; None of a copy: nobody shall act on it, and what it copies is counted."""
        return None if ref in self._copies else self._cases.setdefault(self._first.get(ref, ref), _Case())

    @staticmethod
    def _count(case: _Case, act: RawAct, by: Role) -> None:
        """Note which cell an act is counted in by itself, in whatever year its referral was sent."""
        body: Any = act.body
        place = (str(act.ref), str(act.unit))
        if act.act is Act.CLOSE:
            case.closings.pop(place, None)
            case.closings[place] = by, tabled("outcomes", body.outcome)
        elif act.act is Act.REOPEN:
            case.closings.pop(place, None)
        elif act.act is Act.WITHDRAW:
            # Of each delivery, or of what was sent anew, it is said again: that is one decision for one reason.
            case.withdrawals.add(tabled("withdrawals", body.reason))
        # A hotline that declines does not approve a transfer: the unit keeps the referral.
        elif act.act in _BY_ACT and (act.act is not Act.DECLINE or by is Role.POLICE_UNIT):
            table, member = _BY_ACT[act.act]
            if (code := str(getattr(body, member))) not in ELSEWHERE:
                case.by_act.append(tabled(table, code))


def kinds_of(keys_leaves: Iterable[bytes]) -> dict[str, CredentialKind]:
    """The kind of every credential that any statement of the keys log has ever listed."""
    found: dict[str, CredentialKind] = {}
    for leaf in keys_leaves:
        try:
            act = parse_act(leaf)
        except ReferralError:
            continue  # A key entry.
        if act.act is Act.STATEMENT:
            body: Any = act.body
            found |= {body.credential_id(one): one.kind for one in body.credentials}
    return found


def _sorted(times: Mapping[str, list[int]]) -> dict[str, tuple[int, ...]]:
    return {urgency: tuple(sorted(values)) for urgency, values in times.items()}
