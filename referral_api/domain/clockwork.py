"""What the clocks say of one referral: what a unit owes and when, and which acts the exchange itself owes, and when.

Everything is a function of the deliveries as the acts left them, and of the rules that the referral was submitted
under; the server's timers post what `owed` lists, whoever audits can compute the same. Times are unix seconds of the
exchange's clock.

Must never: read a clock, decide by anything but acts and rules, or forget a referral that nobody has read: such a one
always has a next moment, until its last rung has been told.

Clauses: docs/protocol.md R-80, R-106, R-107.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from referral_api.domain import deliveries, lifecycle
from referral_api.domain.clocks import Clock, Rung, escalation_sealed
from referral_api.domain.deliveries import Delivery
from referral_api.domain.fold import Event, purged_everywhere_at
from referral_api.domain.rules import Rules
from referral_api.domain.words import Act, DeliveryRole, RetentionClass, Role, State, Urgency

S = State
DAY_S = 24 * 3600
PUT_OFF_S = 14 * DAY_S
"""By how much what was said shortly before a purge puts it off, and how short that is (rule R2 of the field)."""
WARNED_DAYS = (14, 3)
"""How many days before a purge both sides are told of it."""


@dataclass(frozen=True, slots=True)
class Situation:
    """A referral as its clocks see it."""

    urgency: Urgency
    retention: RetentionClass
    deliveries: Mapping[str, Delivery]


@dataclass(frozen=True, slots=True)
class Due:
    """Something that is owed on a delivery, and when it is late (unix seconds)."""

    clock: Clock
    due_at: int


@dataclass(frozen=True, slots=True)
class Owed:
    """One act that the exchange owes, on which delivery, with which body."""

    act: Act
    unit: str
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Step:
    """Acts that the exchange owes together, in this order, and from which moment on (unix seconds)."""

    at: int
    acts: tuple[Owed, ...]


def dues(rules: Rules, urgency: Urgency, delivery: Delivery) -> tuple[Due, ...]:
    """What is owed on a delivery, the most pressing first; on one that its unit does not know of, to look at its holds.

    The decision and the first status of a delivery that a transfer brought are owed from the submission on, but not
    before the new unit has had the time of an acknowledgement.
    """
    found = [*_step(rules, urgency, delivery)]
    if delivery.open_questions & deliveries.NOTICES and delivery.notified_at is not None:
        found.append(Due(Clock.WITHDRAWAL_ANSWER, delivery.notified_at + _s(rules.withdrawal_answer)))
    found += [Due(Clock.HOLD_REVIEW, review_at) for _, review_at in delivery.holds if delivery.state is not S.PURGED]
    return tuple(sorted(found, key=lambda due: (due.due_at, due.clock)))


def due(rules: Rules, urgency: Urgency, delivery: Delivery) -> Due | None:
    """The most pressing of `dues`."""
    return next(iter(dues(rules, urgency, delivery)), None)


def _step(rules: Rules, urgency: Urgency, delivery: Delivery) -> Iterator[Due]:
    """The next step of the unit itself."""
    terms, begun, total = rules.clocks[urgency], delivery.begun, delivery.since
    if begun is None or total is None:
        return
    if begun != delivery.submitted_at:
        total = begun  # Another unit had taken it: this one owed nothing until it was given back.
    if delivery.state in lifecycle.UNREAD:
        yield Due(Clock.ACK, begun + _s(terms.ack))
    if delivery.role is DeliveryRole.INFORMATION:
        return  # It has nothing to decide and nothing to report.
    least = begun if delivery.began_at is None else begun + _s(terms.ack)
    if delivery.state is S.ACKNOWLEDGED and not delivery.taken:
        yield Due(Clock.DECISION, max(total + _s(terms.decision), least))
    elif delivery.state is S.ACCEPTED:
        accepted, status = max(delivery.accepted_at or begun, begun), delivery.last_status_at
        if status is None:
            yield Due(Clock.FIRST_STATUS, max(accepted + _s(terms.first_status), least))
        else:
            # Taken up again after it was closed or withdrawn, the next status is owed from then.
            yield Due(Clock.NEXT_STATUS, max(status, accepted) + _s(terms.next_status))


def purge_at(rules: Rules, retention: RetentionClass, delivery: Delivery) -> int | None:
    """When ciphertext of a delivery goes; None where it does not: while nobody acknowledged it or it has not ended, or
    where it has gone already. A hold keeps it beyond that moment (`Delivery.holds`).

    The time after the end or after the acknowledgement, whichever is over first; what is written within 14 days of that
    puts it off by 14 days, once. Taken up again it has no end any more, but its acknowledgement stays where it was.
    What is written on one that is still in work after its purge goes as long after that as after an acknowledgement.
    Nothing goes sooner after a hold was lifted than the last warning says: whoever lifted it in error is told in time.
    """
    if delivery.state not in lifecycle.PURGEABLE or delivery.is_unread:
        return None
    terms = rules.retention[retention]
    ends = [] if delivery.ended_at is None else [delivery.ended_at + _s(terms.after_end)]
    if delivery.purged_at is None and delivery.acknowledged_at is not None:
        ends.append(delivery.acknowledged_at + _s(terms.after_ack))
    elif delivery.purged_at is not None and delivery.ended_at is None and _written_at(delivery) > delivery.purged_at:
        ends.append(delivery.purged_at + _s(terms.after_ack))
    if not ends:
        return None
    base = min(ends)
    put_off = delivery.content_at is not None and delivery.content_at >= base - PUT_OFF_S
    lifted_at = dict(delivery.told).get(deliveries.LIFTED)
    earliest = 0 if lifted_at is None else lifted_at + min(WARNED_DAYS) * DAY_S
    return max(base + PUT_OFF_S if put_off else base, earliest)


def _written_at(delivery: Delivery) -> int:
    """When something sealed may last have come to it, as far as its state tells."""
    return max(delivery.content_at or 0, delivery.last_status_at or 0, delivery.accepted_at or 0)


def owed(rules: Rules, situation: Situation, now: int) -> Step | None:
    """What the exchange owes by `now`: of several steps the oldest. Once its acts are taken it is to be asked anew."""
    due_now = [step for step in _steps(rules, situation) if step.at <= now]
    return min(due_now, key=lambda step: step.at, default=None)


def wakes_at(rules: Rules, situation: Situation) -> int | None:
    """The next moment at which the exchange owes something; None where nothing will ever be due by itself."""
    return min((step.at for step in _steps(rules, situation)), default=None)


def follows(rules: Rules, before: Mapping[str, Delivery], after: Situation, event: Event) -> tuple[Owed, ...]:
    """What the exchange owes at once, because a party's act has just been accepted.

    Whoever accepts first takes the referral from the others; a bundle that does not open is a matter for the telephone;
    with the last unit's `decline` nobody has the referral any more, and the first of what `_left` says of that is not
    left to the timers; a transfer that nobody must agree to is agreed to, unless a notice is unanswered or consent was
    withdrawn: then a person decides; what two persons have agreed to purge is purged (the reason is the request's).
    """
    unit = event.unit
    if unit is None:
        return ()
    if event.act is Act.ACCEPT and not event.joint:
        others = [one for one in after.deliveries.values() if one.unit != unit and not one.taken and _may_take(one)]
        return tuple(Owed(Act.TAKEN, one.unit, {"accept": event.digest}) for one in others)
    if event.act is Act.RECEIPT_FAILED and not _rings(after.deliveries[unit]):
        return (Owed(Act.TELEPHONE_NOW, unit, {"reason": "receipt_failed"}),)
    if event.act is Act.DECLINE and event.by is Role.POLICE_UNIT:
        step = next(_left(rules, after), None)
        return () if step is None or step.at > event.at else step.acts
    if event.act is Act.TRANSFER and rules.transfers is Role.EXCHANGE:
        by_a_person = _is_notified(after.deliveries[unit]) or _is_unwanted(after)
        return () if by_a_person else (Owed(Act.APPROVE, unit, {"answers": event.digest}),)
    if event.act is Act.APPROVE:
        answered = set(before[unit].questions) - set(after.deliveries[unit].questions)
        requests = [question.digest for question in answered if question.act is Act.PURGE_REQUEST]
        return tuple(Owed(Act.PURGED, unit, {"request": digest}) for digest in requests)
    return ()


def _may_take(delivery: Delivery) -> bool:
    live = lifecycle.UNREAD | lifecycle.WORKING
    return delivery.role is not DeliveryRole.INFORMATION and delivery.state in live


def _is_notified(delivery: Delivery) -> bool:
    """Whether the person concerned wants it no further, and the unit has not said what becomes of it."""
    return bool(delivery.open_questions & deliveries.NOTICES)


def _rings(delivery: Delivery) -> bool:
    """Whether the hotline has been told to telephone, and has not said that it did."""
    return Act.TELEPHONE_NOW in delivery.open_questions


def _steps(rules: Rules, situation: Situation) -> Iterator[Step]:
    """Everything that the exchange will owe if nothing else happens, as far as it can be said now."""
    for delivery in _in_order(situation):
        yield from _late(rules, situation.urgency, delivery)
        yield from _rung(rules, situation, delivery)
        yield from _unreached(rules, situation.urgency, delivery)
        yield from _purge(rules, situation.retention, delivery)
    yield from _undecided(rules, situation)
    yield from _left(rules, situation)
    yield from _purge_held(situation)


def _in_order(situation: Situation) -> list[Delivery]:
    """The deliveries by their units' ids: the order in which what is owed in one second is said."""
    return sorted(situation.deliveries.values(), key=lambda one: one.unit)


def _late(rules: Rules, urgency: Urgency, delivery: Delivery) -> Iterator[Step]:
    """`overdue`, once for each moment at which something is late. Where a decision or the answer to a notice is, the
    hotline telephones; an acknowledgement has its ladder.
    """
    told = dict(delivery.told)
    for one in dues(rules, urgency, delivery):
        # Not only the newest: two parties may hold one delivery, each with a date of its own.
        if told.get(one.clock.value, 0) >= one.due_at:
            continue
        acts = [Owed(Act.OVERDUE, delivery.unit, {"clock": one.clock.value, "due_at": one.due_at})]
        pressing = one.clock is Clock.WITHDRAWAL_ANSWER or (one.clock is Clock.DECISION and escalation_sealed(urgency))
        if pressing and not _rings(delivery):
            acts.append(Owed(Act.TELEPHONE_NOW, delivery.unit, {"reason": "update_timeout"}))
        yield Step(one.due_at, tuple(acts))


def _rung(rules: Rules, situation: Situation, delivery: Delivery) -> Iterator[Step]:
    """The next rung of the ladder of a delivery that nobody has acknowledged.

    Where another unit has taken the referral, or this one is only to know of it, nobody else is called: it expires.
    """
    if delivery.state not in lifecycle.UNREAD or delivery.begun is None:
        return
    ladder = rules.clocks[situation.urgency].ladder
    only_ends = delivery.taken or delivery.role is DeliveryRole.INFORMATION
    number = len(ladder) - 1 if only_ends else delivery.rungs
    after, rung = ladder[number]
    at = delivery.begun + _s(after)
    if rung is Rung.EXPIRE:
        if delivery.rung_at is not None and number:
            # After a standstill the rungs before it come late, and whoever they called has the same time as ever.
            at = max(at, delivery.rung_at + _s(after - ladder[number - 1][0]))
        late_since = delivery.begun + _s(rules.clocks[situation.urgency].ack)
        yield Step(at, (Owed(Act.EXPIRED, delivery.unit, {"due_at": late_since}),))
        return
    reason = {"reason": "ack_timeout"}
    acts = [Owed(Act.RELEASED, unit, reason) for unit in _released_by(rung, situation)]
    if rung is Rung.TELEPHONE_NOW and not _rings(delivery):
        acts.append(Owed(Act.TELEPHONE_NOW, delivery.unit, reason))
    yield Step(at, (*acts, Owed(Act.ESCALATED, delivery.unit, reason | {"rung": rung.value})))


def _released_by(rung: Rung, situation: Situation) -> list[str]:
    """The units to which a rung releases what is held for them, in the order in which they were addressed."""
    held = [one for one in situation.deliveries.values() if one.state is S.HELD]
    units = [one.unit for one in sorted(held, key=lambda one: one.rank)]
    if rung is Rung.RELEASE_PARENT:
        return units[:1]
    return units if rung is Rung.RELEASE_NATIONAL else []


def _unreached(rules: Rules, urgency: Urgency, delivery: Delivery) -> Iterator[Step]:
    """The hotline telephones again whom it did not reach, as long as something is unread there or an answer is late."""
    told = dict(delivery.told)
    missed_at = told.get(deliveries.UNREACHED)
    if missed_at is None or _rings(delivery):
        return
    unread = delivery.state in lifecycle.UNREAD and delivery.role is not DeliveryRole.INFORMATION and not delivery.taken
    # Told of only where the newest notice that waits is late.
    unanswered = _is_notified(delivery) and told.get(Clock.WITHDRAWAL_ANSWER, 0) > (delivery.notified_at or 0)
    if unread or unanswered:
        failed = delivery.state is S.RECEIPT_FAILED
        reason = "update_timeout" if not unread else "receipt_failed" if failed else "ack_timeout"
        at = missed_at + _s(rules.clocks[urgency].ack)
        yield Step(at, (Owed(Act.TELEPHONE_NOW, delivery.unit, {"reason": reason}),))


def _undecided(rules: Rules, situation: Situation) -> Iterator[Step]:
    """What becomes of a pressing referral that was read and that nobody decides about in time."""
    if _is_unwanted(situation) or not escalation_sealed(situation.urgency):
        return
    for delivery in _in_order(situation):
        for due in _step(rules, situation.urgency, delivery):
            if due.clock is Clock.DECISION:
                yield from _alarms(rules, situation, delivery, due.due_at, "update_timeout")


def _left(rules: Rules, situation: Situation) -> Iterator[Step]:
    """What becomes of a referral that nobody has: it is given back to those from whom it was taken; else, where it is
    pressing and was declined or has expired, the hotline is to telephone, and again, and what is held is released.

    What counts is the delivery that ended last. Where that one was closed, or taken back since, it was seen to.
    """
    acting = [one for one in _in_order(situation) if one.role is not DeliveryRole.INFORMATION]
    at_work = lifecycle.WORKING | lifecycle.UNREAD | {S.WITHDRAWAL_NOTIFIED}
    if _is_unwanted(situation) or any(one.state in at_work and not one.is_anothers for one in acting):
        return
    ended = [one for one in acting if one.submitted_at is not None and not one.is_anothers]
    last = max(ended, key=lambda one: (_had_until(one), one.unit), default=None)
    if last is None or last.state in {S.CLOSED, S.PURGED}:
        return
    since = _had_until(last)
    back = [one for one in acting if one.is_anothers and one.state is not S.EXPIRED]
    if back:
        acts = [Owed(Act.RELEASED, one.unit, {"reason": "declined"}) for one in back]
        # It still does not open there.
        shut = [one.unit for one in back if one.state is S.RECEIPT_FAILED and not _rings(one)]
        yield Step(since, (*acts, *(Owed(Act.TELEPHONE_NOW, unit, {"reason": "receipt_failed"}) for unit in shut)))
        return
    taken_back_since = (last.notified_at or 0) >= since
    if last.state in lifecycle.LEFT and escalation_sealed(situation.urgency) and not taken_back_since:
        reason = "declined" if last.state is S.DECLINED else "ack_timeout"
        yield from _alarms(rules, situation, last, since, reason)


def _is_unwanted(situation: Situation) -> bool:
    """Whether consent was withdrawn: the person wants it no further, and nobody else is brought in."""
    return any(deliveries.CONSENT in dict(one.told) for one in situation.deliveries.values())


def _had_until(delivery: Delivery) -> int:
    """When its unit had it no more: it was declined, it expired, or it ended."""
    at = dict(delivery.told).get(deliveries.LEFT) if delivery.state in lifecycle.LEFT else delivery.ended_at
    return at or delivery.submitted_at or 0


def _alarms(rules: Rules, situation: Situation, delivery: Delivery, since: int, reason: str) -> Iterator[Step]:
    """`telephone_now` about one that nobody takes on: at once, and so long after the last ring or call as one has to
    decide; as one has to acknowledge, if nobody answered. And what is held, so long after `since` as a ladder says.
    """
    told, terms = dict(delivery.told), rules.clocks[situation.urgency]
    if not _rings(delivery):
        rang_at = told.get(deliveries.TELEPHONED, 0)
        called_at = max(rang_at, told.get(deliveries.REACHED, 0), told.get(deliveries.UNREACHED, 0))
        again_at = called_at + _s(terms.ack if deliveries.UNREACHED in told else terms.decision)
        at = since if rang_at < since else again_at
        yield Step(at, (Owed(Act.TELEPHONE_NOW, delivery.unit, {"reason": reason}),))
    # Those that were released since have a ladder of their own.
    stood_by = [one for one in situation.deliveries.values() if one.role is DeliveryRole.ESCALATION]
    called = any((one.submitted_at or 0) >= since for one in stood_by if one.began_at is None)
    for after, rung in terms.ladder:
        units = _released_by(rung, situation)
        if units and not (called and rung is Rung.RELEASE_PARENT):
            yield Step(since + _s(after), tuple(Owed(Act.RELEASED, unit, {"reason": reason}) for unit in units))


def _purge(rules: Rules, retention: RetentionClass, delivery: Delivery) -> Iterator[Step]:
    """The purge of one delivery and the warnings before it; nothing while somebody holds it."""
    at = purge_at(rules, retention, delivery)
    if at is None or delivery.holds:
        return
    told = dict(delivery.told)
    begun = max(delivery.ended_at or 0, delivery.acknowledged_at or 0, delivery.purged_at or 0)
    begun = max(begun, told.get(deliveries.LIFTED, 0))
    for days in WARNED_DAYS:
        warned_at = at - days * DAY_S
        # Where less time is left from the beginning, the shorter warning is the first.
        if warned_at >= begun and told.get(f"purge_{days}") != at:
            yield Step(warned_at, (Owed(Act.PURGE_DUE, delivery.unit, {"days": days, "due_at": at}),))
    reason = "withdrawn" if delivery.state is S.WITHDRAWN else "retention_ended"
    yield Step(at, (Owed(Act.PURGED, delivery.unit, {"reason": reason}),))


def _purge_held(situation: Situation) -> Iterator[Step]:
    """What is held for units that were never told goes with the last of the others."""
    at = purged_everywhere_at(situation.deliveries)
    if at is None:
        return
    for delivery in situation.deliveries.values():
        if delivery.state is S.HELD and not delivery.holds:
            yield Step(at, (Owed(Act.PURGED, delivery.unit, {"reason": "retention_ended"}),))


def _s(span: timedelta) -> int:
    return int(span.total_seconds())
