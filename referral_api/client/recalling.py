"""A consent that was withdrawn, told to everybody who has the referral, its copies or its successors (rule R7).

Deliveries of one referral are reached by one act. Copies and successors are other referrals, tied to this one by the
`relation` of their submit: the exchange names those that it knows, our own outbox those that went out from here, and
each is believed only once its own submit says so. The ties are followed both ways, for the person who withdraws said
yes to all of it; `related_to` ties another case, is named, and left to a person to decide.

Must never: count an act that has no verified receipt as told, leave out a referral because another one failed, or tell
anybody twice who was told.

Implements: R-75, R-110; rule R7 of the field; design §10.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from referral_api.client import consented, outage, submission
from referral_api.client.consented import APART, beyond, relation_of, untold
from referral_api.client.outbox import Entry, Outbox, Progress
from referral_api.client.pen import Pen
from referral_api.client.view import Referral
from referral_api.domain import lifecycle
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import COPY_OF, Act, PartyId, ReferralId, Role, State
from referral_api.formats.act import RawAct, parse_act

AWAY = frozenset({ErrorCode.UNREACHABLE, ErrorCode.UNAVAILABLE, ErrorCode.RATE_LIMITED})


class Outcome(StrEnum):
    """What became of one referral."""

    TOLD = "told"
    """Its notice is signed and the exchange's receipt verified."""
    KNEW = "knew"
    """Every delivery had been told before, or nobody there has any of it."""
    BEYOND = "beyond"
    """A unit that keeps its own copy was never told, and can be no more: its delivery is purged. It is telephoned."""
    WAITS = "waits"
    """Signed and durable in the outbox; not with the exchange yet."""
    FAILED = "failed"
    """Not told: `code` says why."""
    APART = "apart"
    """Another case that is related to it: named, and left alone."""
    GONE = "gone"
    """Not there any more: its purge was verified here, and the exchange keeps nothing of it since."""


@dataclass(frozen=True, slots=True)
class Told:
    """One referral and what became of it; `unread` says that somebody has not fetched it yet, and still could. `beyond`
    are the units that had read it, were never told, and cannot be told here any more, whatever became of the others.
    """

    ref: ReferralId
    outcome: Outcome
    code: ErrorCode | None = None
    unread: bool = False
    beyond: tuple[PartyId, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """Every referral that was reached, nearest first."""

    done: tuple[Told, ...]

    @property
    def remaining(self) -> tuple[Told, ...]:
        """What is not told yet: repeating goes on with these."""
        return tuple(one for one in self.done if one.outcome in (Outcome.FAILED, Outcome.WAITS))

    @property
    def told(self) -> tuple[Told, ...]:
        """What was told now."""
        return tuple(one for one in self.done if one.outcome is Outcome.TOLD)

    @property
    def to_phone(self) -> tuple[tuple[ReferralId, PartyId], ...]:
        """Who has its own copy of which referral and can only be told by telephone: repeating does not reach them."""
        return tuple((one.ref, unit) for one in self.done for unit in one.beyond)


def withdraw_consent(pen: Pen, ref: str, note: str | None = None, *, again: bool = False) -> Report:
    """Tell every delivery of a referral, its copies and successors, that consent is withdrawn.

    What waits in the outbox is sent first, for a successor may be among it. `again` tells those too that were told
    before: another person may withdraw. A failure of one is in the report and stops no other; only a line that is down
    ends the search, with all that is known of in `remaining`. Raises NOT_PERMITTED for who is no hotline's, and what
    fetching `ref` itself raises.
    """
    own = pen.session.keymap.find_party(pen.session.profile.party)
    if own is None or own.role is not Role.HOTLINE:
        raise ReferralError(ErrorCode.NOT_PERMITTED, act=Act.CONSENT_WITHDRAWN.value, needs="hotline")
    submission.flush(pen.session, pen.outbox, impatient=True)
    walk = _Walk(pen, note, again=again)
    walk.start(ReferralId(ref))
    return Report(tuple(walk.done.values()))


@dataclass(frozen=True, slots=True)
class TakenBack:
    """What was signed to take a referral back, and what became of everybody else: of telling them that consent was
    withdrawn, or, for another reason, of taking back every copy. None where nobody else is meant, and where an act was
    refused.
    """

    entries: tuple[Entry, ...]
    report: Report | None = None
    copies: Report | None = None

    @property
    def left(self) -> tuple[Told, ...]:
        """The copies that were not taken back."""
        return () if self.copies is None else self.copies.remaining


def withdraw(pen: Pen, referral: Referral, reason: str, unit: str | None, note: str | None) -> TakenBack:
    """Take a referral back from one unit, or from all; of what was signed some may wait.

    One act reaches all; with a note, which only its reader may know of, each unit is told in an act of its own (R-62).
    For `consent_withdrawn` all are told that a withdrawn consent must reach (rule R7 of the field), even where nothing
    is left to take back. For another reason what is taken back from all is taken back from every copy too (R-86).
    Raises ILLEGAL_TRANSITION where else there is nobody to take it back from.
    """
    entries = _take_back(pen, referral, reason, unit, note)
    if any(entry.state is Progress.REFUSED for entry in entries):
        return TakenBack(tuple(entries))
    if reason != consented.WITHDRAWN:
        return TakenBack(tuple(entries), copies=None if unit is not None else _from_copies(pen, referral, reason, note))
    try:
        # What was written for one unit is for nobody else to read.
        found = withdraw_consent(pen, referral.ref, note if unit is None else None).done
    except ReferralError as error:
        if not outage.is_passing(error):
            raise
        found = (Told(referral.ref, Outcome.FAILED, error.code),)
    now_told = bool(entries) and all(entry.receipt is not None for entry in entries)
    done = [
        replace(one, outcome=Outcome.TOLD)
        if now_told and one.ref == referral.ref and one.outcome in (Outcome.KNEW, Outcome.BEYOND)
        else one
        for one in found
    ]
    return TakenBack(tuple(entries), Report(tuple(done)))


def _from_copies(pen: Pen, referral: Referral, reason: str, note: str | None) -> Report:
    """Take back every copy of a referral, and every copy of a copy: each is one only by its own submit.

    A failure of one is in the report and stops no other.
    """
    try:
        submission.flush(pen.session, pen.outbox, impatient=True)
    except ReferralError as error:
        if not outage.is_passing(error):
            raise
    done, queue = dict[ReferralId, Told](), [referral]
    away: ErrorCode | None = None
    while queue:
        one = queue.pop(0)
        for ref in later_of(pen.outbox, one):
            if ref in done or ref == referral.ref:
                continue
            if away is not None:
                done[ref] = Told(ref, Outcome.FAILED, away)
                continue
            try:
                found = pen.fetch(ref)
                if relation_of(found) == (COPY_OF, one.ref):
                    queue.append(found)
                    done[ref] = _taken_back(pen, found, reason, note)
            except ReferralError as error:
                away = error.code if error.code in AWAY else None
                is_over = error.code is ErrorCode.NOT_FOUND and _is_erased(pen, ref)
                done[ref] = Told(ref, Outcome.KNEW) if is_over else Told(ref, Outcome.FAILED, error.code)
    return Report(tuple(done.values()))


def _is_erased(pen: Pen, ref: ReferralId) -> bool:
    """Whether what the exchange does not find was purged everywhere when it was last verified here, and may be erased
    since (R-99). What it hides looks the same, so without that nothing is over.
    """
    views = pen.session.views
    return views is not None and views.bury_if_purged(ref)


def _taken_back(pen: Pen, copy: Referral, reason: str, note: str | None) -> Told:
    """Take one copy back from all that have it."""
    states = [one.state for one in copy.chronicle.deliveries.values()]
    if not any(Act.WITHDRAW in lifecycle.allowed(Role.HOTLINE, one) for one in states):
        return Told(copy.ref, Outcome.KNEW)
    for entry in _take_back(pen, copy, reason, None, note):
        if entry.state is Progress.REFUSED:
            return Told(copy.ref, Outcome.FAILED, entry.code)
        if entry.receipt is None:
            return Told(copy.ref, Outcome.WAITS, entry.code)
    return Told(copy.ref, Outcome.TOLD)


def _take_back(pen: Pen, referral: Referral, reason: str, unit: str | None, note: str | None) -> list[Entry]:
    body = {"reason": reason}
    deliveries = referral.chronicle.deliveries.values()
    reached = [one.unit for one in deliveries if Act.WITHDRAW in lifecycle.allowed(Role.HOTLINE, one.state)]
    if unit is None and reason == consented.WITHDRAWN and not reached:
        return []
    if unit is not None or note is None or not reached:
        return [pen.act(referral, Act.WITHDRAW, body, unit=unit, note=note if unit is not None else None)]
    return [pen.act(referral, Act.WITHDRAW, body, unit=one, note=note) for one in reached]


def later_of(outbox: Outbox, referral: Referral) -> list[ReferralId]:
    """What the exchange names as later than this one, a hint, and what went out from here; each once."""
    return list(dict.fromkeys([*referral.later, *later_submits(outbox, referral.ref)]))


def later_submits(outbox: Outbox, ref: ReferralId) -> list[ReferralId]:
    """Our own submissions that name this referral as what they relate to, refused ones apart, oldest first."""
    found = []
    for entry in outbox.entries():
        if entry.outgoing.act is not Act.SUBMIT or entry.state is Progress.REFUSED or entry.outgoing.ref is None:
            continue
        body: Any = parse_act(entry.outgoing.jws).body
        if body.relation is not None and body.relation.ref == ref:
            found.append(entry.outgoing.ref)
    return found


def _believed(referral: Referral, parent: ReferralId | None) -> tuple[str, ReferralId] | None:
    """Its relation, which must be to the referral that led here: who says that they are related is the submit."""
    relation = relation_of(referral)
    if parent is not None and (relation is None or relation[1] != parent):
        raise ReferralError(ErrorCode.TAMPERED, what="view", reason="related")
    return relation


class _Walk:
    """One search along the relations, nearest first."""

    def __init__(self, pen: Pen, note: str | None, *, again: bool) -> None:
        self.done: dict[ReferralId, Told] = {}
        self._pen = pen
        self._note = note
        self._again = again
        self._queue: list[tuple[ReferralId, ReferralId | None]] = []
        """What is to be told, and of which referral it must say itself that it relates to it (None: of none)."""
        self._away: ErrorCode | None = None

    def start(self, ref: ReferralId) -> None:
        """Tell this one and all that it leads to. Raises what fetching this one raises."""
        self._visit(self._pen.fetch(ref))
        while self._queue:
            one, parent = self._queue.pop(0)
            known = self.done.get(one)
            if known is not None and known.outcome is not Outcome.APART:
                continue
            self._reach(one, parent)

    def _reach(self, ref: ReferralId, parent: ReferralId | None) -> None:
        """Fetch and tell one that another one led to."""
        waiting = self._waiting(ref, lambda act: act.act is Act.SUBMIT)
        if waiting is not None or self._away is not None:
            code = self._away if waiting is None else waiting.code
            self.done[ref] = Told(ref, Outcome.FAILED, code or ErrorCode.UNREACHABLE)
            return
        try:
            referral = self._pen.fetch(ref)
            relation = _believed(referral, parent)
        except ReferralError as error:
            is_over = error.code is ErrorCode.NOT_FOUND and _is_erased(self._pen, ref)
            self._failed(ref, error.code, Outcome.GONE if is_over else Outcome.FAILED)
            return
        if parent is not None and relation is not None and relation[0] == APART:
            self.done[ref] = Told(ref, Outcome.APART)
            return
        self._visit(referral)

    def _visit(self, referral: Referral) -> None:
        """Tell one that was fetched, and note what it leads to, before anything can fail."""
        relation = relation_of(referral)
        if relation is not None and relation[0] != APART:
            self._queue.append((relation[1], None))
        elif relation is not None:
            self.done.setdefault(relation[1], Told(relation[1], Outcome.APART))
        self._queue += [(one, referral.ref) for one in later_of(self._pen.outbox, referral)]
        try:
            self.done[referral.ref] = self._tell(referral)
        except ReferralError as error:
            self._failed(referral.ref, error.code, Outcome.FAILED)

    def _tell(self, referral: Referral) -> Told:
        deliveries = referral.chronicle.deliveries
        there = [PartyId(unit) for unit, one in deliveries.items() if one.state is not State.PURGED]
        units = there if self._again else untold(referral)
        unread = any(one.state in (State.HELD, State.SUBMITTED) for one in deliveries.values())
        left = beyond(referral, again=self._again)
        found = Told(referral.ref, Outcome.BEYOND if left else Outcome.KNEW, None, unread, left)
        waiting = self._waiting(referral.ref, consented.says_withdrawn)
        if waiting is not None:
            return replace(found, outcome=Outcome.WAITS, code=waiting.code)
        if not units:
            return found
        # One envelope names its recipients, and no unit learns of another: with a note, an act for each.
        whole = self._note is None and set(units) == set(deliveries)
        outcome, code = Outcome.TOLD, None
        for unit in [None] if whole else units:
            entry = self._pen.act(referral, Act.CONSENT_WITHDRAWN, {}, unit=unit, note=self._note)
            if entry.receipt is None:
                self._note_away(entry.code)
                outcome, code = Outcome.WAITS, entry.code
            elif entry.state is Progress.REFUSED:
                return replace(found, outcome=Outcome.FAILED, code=entry.code)
        return replace(found, outcome=outcome, code=code)

    def _waiting(self, ref: ReferralId, is_meant: Callable[[RawAct], bool]) -> Entry | None:
        """Our own act of this kind that the exchange does not have yet."""
        entries = (one for one in self._pen.outbox.entries() if one.outgoing.ref == ref and one.receipt is None)
        kept = (one for one in entries if one.state is not Progress.REFUSED)
        return next((one for one in kept if is_meant(parse_act(one.outgoing.jws))), None)

    def _failed(self, ref: ReferralId, code: ErrorCode, outcome: Outcome) -> None:
        self._note_away(code)
        self.done[ref] = Told(ref, outcome, code)

    def _note_away(self, code: ErrorCode | None) -> None:
        """With the line down there is no use in waiting for it again and again: the rest is told as not done."""
        if code in AWAY:
            self._away = code
