"""State as a fold: the deliveries of one referral from its acts and retrieval records, in log order (design §2, 5).

The door, the auditor and the tests all call these same functions, so what the exchange claims can be recomputed by
anyone who holds the acts. `judge` is steps 7 and 8 of the door: does `prev` fit, does the lifecycle allow it.

Must never: verify a signature, ask who is allowed, read a clock or storage. Clauses: docs/protocol.md R-64 to R-69.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from referral_api.domain import lifecycle, policy
from referral_api.domain.clocks import Clock
from referral_api.domain.deliveries import (
    CONSENT,
    GIVEN_BACK,
    HOLD_OFF,
    LEFT,
    LIFTED,
    MAX_REVIEW_S,
    NOT_MADE,
    NOTICES,
    REACHED,
    TELEPHONED,
    UNREACHED,
    Delivery,
    Question,
)
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import COPY_OF, Act, DeliveryRole, Nature, Role, State


@dataclass(frozen=True, slots=True)
class Event:
    """What the fold needs of one accepted act (or of the exchange's own): plain values, no bytes."""

    act: Act
    by: Role
    party: str
    digest: str
    at: int
    unit: str | None = None
    prev: str | None = None
    code: str | None = None
    """What the act says that moves depend on; of a `submit`, how it relates to an earlier referral."""
    question: str | None = None
    """Digest of the question that an answer names; None answers every open one it can."""
    targets: tuple[tuple[str, DeliveryRole], ...] = ()
    """Units addressed: of `submit` all, of `transfer` the one it proposes."""
    signer: str = ""
    """The credential that signed; empty where only the party matters."""
    joint: bool = False
    """Of `accept`: it says why it joins a unit that took the referral first."""
    due_at: int | None = None
    """Of `overdue` and `purge_due` what was due when, of `hold` its review (unix seconds)."""

    @property
    def asker(self) -> str:
        """Whom a question remembers."""
        return self.signer or self.party


def open_deliveries(event: Event) -> dict[str, Delivery]:
    """The deliveries that a `submit` creates, by unit.

    Raises ReferralError(TARGET_NOT_ALLOWED) unless exactly one unit is addressed for action and none twice (R-64); of a
    copy, every one for information (R-86).
    """
    units = [unit for unit, _ in event.targets]
    roles = [role for _, role in event.targets]
    if len(set(units)) != len(units):
        raise ReferralError(ErrorCode.TARGET_NOT_ALLOWED, reason="unit-named-twice")
    if event.code == COPY_OF:
        if set(roles) != {DeliveryRole.INFORMATION}:
            raise ReferralError(ErrorCode.TARGET_NOT_ALLOWED, reason="copy-only-informs")
    elif roles.count(DeliveryRole.ACTION) != 1:
        raise ReferralError(ErrorCode.TARGET_NOT_ALLOWED, reason="exactly-one-action-unit")
    opened: dict[str, Delivery] = {}
    for rank, (unit, role) in enumerate(event.targets):
        state = lifecycle.first_state(role)
        opened[unit] = Delivery(unit, role, state, event.digest, None if state is State.HELD else event.at, rank=rank)
    return opened


def judge(event: Event, deliveries: Mapping[str, Delivery], *, prev_known: bool) -> dict[str, Delivery]:
    """The deliveries as `event` leaves them: only those that it changes, by unit.

    `prev_known` says whether `prev` names an earlier act visible on the delivery (any of them, for an act on the whole
    referral). Raises ReferralError STALE_HEAD (facts `head`), ILLEGAL_TRANSITION or TARGET_NOT_ALLOWED.
    """
    check_prev(event, deliveries, prev_known=prev_known)
    if event.act is Act.RELEASED and event.unit is None:
        # Every unit reads what is said of the whole referral, and none is to learn whom else it was let have.
        raise ReferralError(ErrorCode.ILLEGAL_TRANSITION, act=event.act.value, reason="release-names-no-unit")
    if event.unit is not None:
        return _on_one(event, deliveries[event.unit], deliveries)
    changed: dict[str, Delivery] = {}
    refusal: ReferralError | None = None
    for delivery in deliveries.values():
        try:
            changed |= _on_one(event, delivery, deliveries)
        except ReferralError as error:
            refusal = refusal or error
    if not changed and refusal is not None:
        raise refusal
    return changed


def check_prev(event: Event, deliveries: Mapping[str, Delivery], *, prev_known: bool) -> None:
    """R-65: a decision names one delivery and carries its head, a fact any earlier act; the exchange's carry null."""
    if event.by is Role.EXCHANGE:
        return
    if lifecycle.NATURE[event.act] is Nature.DECISION:
        if event.unit is None:
            raise ReferralError(ErrorCode.ILLEGAL_TRANSITION, act=event.act.value, reason="decision-names-no-unit")
        head = deliveries[event.unit].head
        if event.prev != head:
            raise ReferralError(
                ErrorCode.STALE_HEAD, head=head, allowed=_instead(event, deliveries[event.unit], deliveries)
            )
    elif not prev_known:
        heads = sorted({d.head for d in deliveries.values() if event.unit in (None, d.unit)})
        told = {} if event.unit is None else {"allowed": _instead(event, deliveries[event.unit], deliveries)}
        raise ReferralError(ErrorCode.STALE_HEAD, head=heads[0], **told)


def _instead(event: Event, delivery: Delivery, deliveries: Mapping[str, Delivery]) -> list[str]:
    """What whoever is refused could do on this delivery instead (R-54)."""
    asked = delivery.questions_for(event.party, event.asker)
    return [act.value for act in possible(event.by, delivery, asked, deliveries)]


def _on_one(event: Event, delivery: Delivery, deliveries: Mapping[str, Delivery]) -> dict[str, Delivery]:
    """What an act changes on one delivery. Whoever is refused is told what could be done instead (R-54)."""
    try:
        return _moved(event, delivery, deliveries)
    except ReferralError as refusal:
        if refusal.code is not ErrorCode.ILLEGAL_TRANSITION:
            raise
        facts = {"state": delivery.state.value} | refusal.facts | {"allowed": _instead(event, delivery, deliveries)}
        raise ReferralError(refusal.code, **facts) from None


def _moved(event: Event, delivery: Delivery, deliveries: Mapping[str, Delivery]) -> dict[str, Delivery]:
    if event.by is Role.POLICE_UNIT and event.act in policy.role_at_delivery(delivery.role):
        raise ReferralError(ErrorCode.ILLEGAL_TRANSITION, act=event.act.value, reason="for-information-only")
    _check_conditions(event, delivery, deliveries)
    meant, source = _questions_meant(event, delivery), source_of(event.act, delivery)
    move = lifecycle.find_move(event.act, event.by, source, open_questions=meant, code=event.code)
    state = lifecycle.step(event.act, event.by, source, open_questions=meant, code=event.code)
    if move is None:
        raise RuntimeError("step() accepted what find_move() did not")
    asked, fallen = _questions(event, move, delivery), _fallen(event.act, state, before=delivery.state)
    after = replace(delivery, state=state, questions=tuple(one for one in asked if one.act not in fallen))
    # Only what both sides see moves a head; else a decision could be stale by an act its signer may not see.
    if event.by is not Role.EXCHANGE and policy.is_common(event.act):
        after = replace(after, head=event.digest)
    after = _stamp(event, after, before=delivery)
    changed = {after.unit: after}
    if event.act is Act.TRANSFER:
        changed[after.unit] = replace(after, transfer_to=_new_unit(event, delivery, deliveries))
    if state is State.TRANSFERRED is not delivery.state and delivery.transfer_to is not None:
        target = delivery.transfer_to
        if target in deliveries:  # Another unit's transfer has brought it in since this one was proposed.
            raise ReferralError(ErrorCode.TARGET_NOT_ALLOWED, reason="transfer-names-one-new-unit")
        # As its source was addressed, and the total clock runs on.
        began_at = min(one.since for one in deliveries.values() if one.since is not None)
        changed[target] = Delivery(target, delivery.role, State.SUBMITTED, event.digest, event.at, began_at=began_at)
    return changed


def _fallen(act: Act, state: State, *, before: State) -> frozenset[Act]:
    """Kinds of questions that nobody need answer any more, as an act takes a delivery from one state to another."""
    if state is State.PURGED:
        return frozenset(Act)  # Nothing can be said on it any more.
    # What is no longer in work, or whose bundle for the new unit went with a purge, nobody can agree to pass on.
    fallen = frozenset({Act.TRANSFER} if state not in lifecycle.WORKING or act is Act.PURGED else ())
    if state in lifecycle.FINISHED and before not in lifecycle.FINISHED:
        fallen |= {Act.TELEPHONE_NOW}
    if act is Act.WITHDRAW and state is State.WITHDRAWN and before is not State.WITHDRAWN:
        fallen |= NOTICES  # Nobody has it, and nobody will.
    return fallen


def is_moot(act: Act, delivery: Delivery) -> bool:
    """Whether a notice owes no answer, because its unit never had what was taken back from it (R-75)."""
    return act is Act.CONSENT_WITHDRAWN and delivery.state is State.WITHDRAWN and not delivery.was_had


def source_of(act: Act, delivery: Delivery) -> State:
    """The state from which an act moves a delivery. One that expired before anybody fetched it is taken back like an
    unread one: the bundle is no longer served, and nobody owes an answer (R-75).
    """
    if act is Act.WITHDRAW and delivery.state is State.EXPIRED and not delivery.was_had:
        return State.SUBMITTED
    return delivery.state


def _check_conditions(event: Event, delivery: Delivery, deliveries: Mapping[str, Delivery]) -> None:
    """What beside the state stands against an act: whoever joins says why; what is held, or unread, is not purged.

    Raises ReferralError(ILLEGAL_TRANSITION) with the fact `reason`: `taken`, `not-taken`, `not-its-reason`,
    `purged`, `acknowledged`, `never-accepted`, `held`, `unread`, `no-hold`, `review-too-late`.
    """
    reason = None
    if event.act in _ruled_out(delivery):
        reason = "acknowledged" if event.act is Act.ACK else "never-accepted"
    if event.act is Act.ACCEPT and event.joint is not delivery.taken:
        reason = "taken" if delivery.taken else "not-taken"
    if event.act is Act.RELEASED:
        reason = _against_release(event, delivery, deliveries)
    if event.act is Act.TRANSFER and delivery.is_anothers:
        reason = "taken"
    purges = event.act in (Act.PURGE_REQUEST, Act.PURGED)
    purges = purges or (event.act is Act.APPROVE and Act.PURGE_REQUEST in _questions_meant(event, delivery))
    if purges and delivery.holds:
        reason = "held"
    if delivery.is_unread and (purges or event.act is Act.PURGE_DUE):
        reason = "unread"
    if event.act is Act.HOLD and event.code == HOLD_OFF and event.party not in dict(delivery.holds):
        reason = "no-hold"
    if event.act is Act.HOLD and event.due_at is not None and event.due_at > event.at + MAX_REVIEW_S:
        reason = "review-too-late"
    if reason is not None:
        raise ReferralError(ErrorCode.ILLEGAL_TRANSITION, act=event.act.value, reason=reason)


def _against_release(event: Event, delivery: Delivery, deliveries: Mapping[str, Delivery]) -> str | None:
    """Why nothing is released: what was not taken is not given back, and by hand only what is there, to who takes it
    from nobody. What a person decided is signed by a person, and what a clock says by the exchange.
    """
    by_hand = event.by is Role.HOTLINE
    if (event.code == lifecycle.BY_HAND) is not by_hand:
        return "not-its-reason"
    if by_hand and is_spent(deliveries):
        return "purged"
    if by_hand and is_accepted(deliveries):
        return "taken"
    return "not-taken" if delivery.state is not State.HELD and not delivery.taken else None


def is_accepted(deliveries: Mapping[str, Delivery]) -> bool:
    """Whether a unit has accepted the referral and works on it: then nobody is called in who would take it from it."""
    return any(one.state is State.ACCEPTED for one in deliveries.values())


def is_spent(deliveries: Mapping[str, Delivery]) -> bool:
    """Whether what all of them were sent has gone, with the purge of the last that knew of it: nothing is left to read
    for who stands by, unless somebody keeps just that (R-107).
    """
    kept = any(one.state is State.HELD and one.holds for one in deliveries.values())
    return purged_everywhere_at(deliveries) is not None and not kept


def purged_everywhere_at(deliveries: Mapping[str, Delivery]) -> int | None:
    """When the last delivery of which its unit knows was purged (unix seconds); None while one of them was not."""
    known = [one for one in deliveries.values() if one.state is not State.HELD]
    if any(one.purged_at is None for one in known):
        return None
    return max((one.purged_at or 0 for one in known), default=None)


def _ruled_out(delivery: Delivery) -> frozenset[Act]:
    """What its history forbids a unit or the hotline, whatever its state allows."""
    ruled_out = frozenset[Act]() if delivery.was_accepted else frozenset({Act.REOPEN})
    if delivery.acknowledged_at is not None and delivery.state in lifecycle.ENDED | {State.ACCEPTED}:
        ruled_out |= {Act.ACK}
    return ruled_out


def _questions_meant(event: Event, delivery: Delivery) -> frozenset[Act]:
    """The kinds of question that the act can be about: the one it names, else every open one.

    `approve` agrees to a transfer or to a purge: with both open, the one that is named decides what it does.
    """
    mine = [question for question in delivery.questions if question.waits_for(event.party, event.asker)]
    named = frozenset(question.act for question in mine if question.digest == event.question)
    return named or frozenset(question.act for question in mine)


def _new_unit(event: Event, delivery: Delivery, deliveries: Mapping[str, Delivery]) -> str:
    if Act.TRANSFER in delivery.open_questions:
        # The proposal that is approved must be the one whose bundle was sealed: only one can be open.
        raise ReferralError(ErrorCode.ILLEGAL_TRANSITION, act=event.act.value, reason="transfer-already-proposed")
    if len(event.targets) != 1 or event.targets[0][0] in deliveries:
        raise ReferralError(ErrorCode.TARGET_NOT_ALLOWED, reason="transfer-names-one-new-unit")
    return event.targets[0][0]


def _questions(event: Event, move: lifecycle.Move, delivery: Delivery) -> tuple[Question, ...]:
    left = delivery.questions
    if event.question is not None and not move.answers:
        # A unit's own `decline` answers nothing: what it named would seem to be answered and would not be.
        raise ReferralError(ErrorCode.ILLEGAL_TRANSITION, act=event.act.value, reason="no-such-question")
    if move.answers:
        meant = [q for q in left if q.act in move.answers and q.waits_for(event.party, event.asker)]
        if event.question is not None:
            meant = [q for q in meant if q.digest == event.question]
            if not meant:
                raise ReferralError(ErrorCode.ILLEGAL_TRANSITION, act=event.act.value, reason="no-such-question")
        left = tuple(q for q in left if q not in meant)
    # What waits while the delivery stays in a state is no open question (a released one waits to be read).
    asks = move.answered_by and event.act not in lifecycle.WAITS_WHILE and not is_moot(event.act, delivery)
    return (*left, Question(event.act, event.digest, event.asker)) if asks else left


def _stamp(event: Event, after: Delivery, *, before: Delivery) -> Delivery:
    """The moments and marks that an act leaves on the delivery, beside its state."""
    after = _stamp_clocks(event, after)
    if after.state is not before.state and after.state in lifecycle.LEFT:
        after = replace(after, told=_with(after.told, LEFT, event.at))
    elif after.state is State.ACCEPTED:
        after = replace(after, told=tuple(one for one in after.told if one[0] != LEFT))  # It has it again.
    if event.act in lifecycle.WORDS:
        after = replace(after, content_at=event.at)
    if after.state in lifecycle.FINISHED and before.state not in lifecycle.FINISHED:
        after = replace(after, ended_at=event.at)
    elif after.state not in lifecycle.FINISHED and before.state in lifecycle.FINISHED:
        after = replace(after, ended_at=None)
    if event.act is Act.STATUS:
        told = (*after.investigation, event.code) if event.code is not None else after.investigation
        return replace(after, last_status_at=event.at, investigation=told)
    if event.act is Act.ACK and after.acknowledged_at is None:
        return replace(after, acknowledged_at=event.at)
    if _starts_answer_clock(event, after, before):
        return replace(after, notified_at=event.at)
    if after.state is State.ACCEPTED and before.state is not State.ACCEPTED:
        return replace(after, accepted_at=event.at)
    return after


def _starts_answer_clock(event: Event, after: Delivery, before: Delivery) -> bool:
    """Whether the clock of an answer begins: with the first notice that waits, at a held delivery with its release; and
    anew with one that comes when the hotline was told already that the earlier ones are late.
    """
    if not after.open_questions & NOTICES or after.state is State.HELD:
        return False
    if before.notified_at is None or not before.open_questions & NOTICES or before.state is State.HELD:
        return True
    return event.act in NOTICES and dict(before.told).get(Clock.WITHDRAWAL_ANSWER.value, 0) >= before.notified_at


def _stamp_clocks(event: Event, after: Delivery) -> Delivery:
    """What the exchange's own acts leave, and holds."""
    if event.act is Act.RELEASED and after.taken:
        # From the beginning: as if the unit had been told of it only now.
        return replace(after, taken=False, rungs=0, rung_at=None, told=_with(after.told, GIVEN_BACK, event.at))
    if event.act is Act.RELEASED:
        return replace(after, submitted_at=event.at)
    if event.act is Act.CONSENT_WITHDRAWN or (event.act is Act.WITHDRAW and event.code == Act.CONSENT_WITHDRAWN):
        return replace(after, told=_with(after.told, CONSENT, event.at))
    if event.act is Act.PHONE_ALERT:
        others = tuple(one for one in after.told if one[0] not in {REACHED, UNREACHED})
        return replace(after, told=_with(others, UNREACHED if event.code == NOT_MADE else REACHED, event.at))
    if event.act is Act.ESCALATED:
        return replace(after, rungs=after.rungs + 1, rung_at=event.at)
    if event.act is Act.TELEPHONE_NOW:
        return replace(after, told=_with(after.told, TELEPHONED, event.at))
    if event.act is Act.TAKEN:
        return replace(after, taken=True)
    if event.act is Act.PURGED:
        return replace(after, purged_at=event.at)
    if event.act in (Act.OVERDUE, Act.PURGE_DUE) and event.code is not None and event.due_at is not None:
        return replace(after, told=_with(after.told, event.code, event.due_at))
    if event.act is Act.HOLD:
        if event.code == HOLD_OFF or event.due_at is None:
            holds = tuple(one for one in after.holds if one[0] != event.party)
            return replace(after, holds=holds, told=_with(after.told, LIFTED, event.at))
        return replace(after, holds=_with(after.holds, event.party, event.due_at))
    return after


def _with(pairs: tuple[tuple[str, int], ...], name: str, moment: int) -> tuple[tuple[str, int], ...]:
    """The pairs with one of them set, in the order of their names."""
    return tuple(sorted((dict(pairs) | {name: moment}).items()))


def possible(by: Role, delivery: Delivery, asked: frozenset[Act], deliveries: Mapping[str, Delivery]) -> list[Act]:
    """The acts that `by` may make next on a delivery, where `asked` are the questions that it may answer, as far as
    states and roles tell: policy says which credential may, and `judge` has the last word. `deliveries` are all of the
    referral that `by` knows of.
    """
    ruled_out = _ruled_out(delivery)
    ruled_out |= policy.role_at_delivery(delivery.role) if by is Role.POLICE_UNIT else frozenset[Act]()
    if delivery.holds or delivery.is_unread:
        ruled_out |= {Act.PURGE_REQUEST}
    if Act.TRANSFER in delivery.open_questions or delivery.is_anothers:
        ruled_out |= {Act.TRANSFER}  # One proposal at a time.
    if is_accepted(deliveries) or is_spent(deliveries):
        ruled_out |= {Act.RELEASED}
    return [act for act in lifecycle.allowed(by, delivery.state, open_questions=asked) if act not in ruled_out]


def retrieve(delivery: Delivery, at: int) -> Delivery:
    """The delivery after its bundle was handed out and recorded (R-66). Later retrievals leave it as it is."""
    first = at if delivery.retrieved_at is None else delivery.retrieved_at
    return replace(delivery, state=lifecycle.retrieved(delivery.state), retrieved_at=first)
