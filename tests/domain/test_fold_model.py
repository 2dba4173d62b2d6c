"""The fold against a naive model, for any sequence of acts by anybody on three units (R-64 to R-68).

The model is a dictionary of strings and the hand-written grid of the lifecycle. It shares no code with the fold.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from referral_api.domain import lifecycle
from referral_api.domain.deliveries import Delivery
from referral_api.domain.errors import FINAL_REFUSALS, ReferralError
from referral_api.domain.fold import Event, judge, open_deliveries, retrieve
from referral_api.domain.lifecycle import GOING_ON, STOPPED
from referral_api.domain.words import Act, DeliveryRole, Role, State
from tests.domain.grid import expected

UNITS = ("unit-a", "unit-b", "unit-c", "unit-d")
DECIDING = {
    *(Act.ACCEPT, Act.DECLINE, Act.TRANSFER, Act.APPROVE, Act.CLOSE, Act.REOPEN),
    *(Act.WITHDRAWAL_ANSWER, Act.PURGE_REQUEST),
}
ALWAYS_ASKING = {Act.TRANSFER, Act.ASK, Act.PURGE_REQUEST, Act.TELEPHONE_NOW}
UNREAD_BY_ANYBODY = {State.HELD, State.SUBMITTED}
ANSWERS = {
    Act.ANSWER: {Act.ASK},
    Act.PHONE_ALERT: {Act.TELEPHONE_NOW},
    Act.WITHDRAWAL_ANSWER: {Act.WITHDRAW, Act.CONSENT_WITHDRAWN},
}
ENDED = {State.CLOSED, State.TRANSFERRED, State.WITHDRAWN, State.PURGED}
NOT_FOR_THE_INFORMED = {Act.ACCEPT, Act.DECLINE, Act.TRANSFER, Act.STATUS, Act.CLOSE, Act.REOPEN}


@dataclass
class Naive:
    """What one delivery is, as plainly as it can be said."""

    role: DeliveryRole
    state: State
    head: str
    open: dict[str, Act] = field(default_factory=dict)
    askers: dict[str, str] = field(default_factory=dict)
    to: str | None = None
    had: bool = False
    """Whether anybody has fetched or acknowledged it."""
    acknowledged: bool = False
    accepted: bool = False
    """Whether its unit has it in work, or had when it ended."""
    taken: bool = False
    purged: bool = False


def answered_kinds(event: Event, after: State) -> set[Act]:
    if event.act is Act.APPROVE:
        return {Act.TRANSFER} if after is State.TRANSFERRED else {Act.PURGE_REQUEST}
    if event.act is Act.DECLINE:
        return {Act.TRANSFER} if event.by is Role.HOTLINE else set()
    return ANSWERS.get(event.act, set())


def asks(act: Act, before: State, *, had: bool) -> bool:
    if act is Act.WITHDRAW:
        return before not in UNREAD_BY_ANYBODY
    if act is Act.CONSENT_WITHDRAWN:
        return had or before is not State.WITHDRAWN
    return act in ALWAYS_ASKING


def stays_open(kind: Act, state: State) -> bool:
    """Whether a question can still be answered in this state."""
    if kind is Act.TRANSFER:
        return state in {State.ACKNOWLEDGED, State.ACCEPTED}
    return state is not State.PURGED


def predict(event: Event, deliveries: dict[str, Naive], *, known: bool) -> dict[str, Naive] | None:
    """The deliveries that change, or None where the act is refused."""
    if event.by is not Role.EXCHANGE:
        if event.act in DECIDING and (event.unit is None or event.prev != deliveries[event.unit].head):
            return None
        if event.act not in DECIDING and not known:
            return None
    if event.act is Act.RELEASED and event.unit is None:
        return None
    changed: dict[str, Naive] = {}
    for unit in deliveries if event.unit is None else [event.unit]:
        changed |= predict_one(event, unit, deliveries) or {}
    return changed or None


def stands_against(event: Event, now: Naive, named: set[Act], everything: list[Naive]) -> bool:
    """What beside the state forbids an act: it was taken, or not; nobody has read it, so nothing of it goes; it was
    never accepted, so it is not taken up again; it was acknowledged already. Nobody is called in while a unit of
    `everything` works on it, or when all that were told of it have been purged.
    """
    if event.act is Act.REOPEN:
        return not now.accepted
    if event.act is Act.ACK:
        return now.acknowledged and now.state in {State.ACCEPTED, State.DECLINED, State.TRANSFERRED, State.CLOSED}
    if event.act is Act.ACCEPT:
        return now.taken
    if event.act is Act.TRANSFER:
        return now.taken and now.state is State.ACKNOWLEDGED
    if event.act is Act.RELEASED:
        decided = event.code == "hotline_manual"
        wrong = decided is not (event.by is Role.HOTLINE)
        in_work = any(one.state is State.ACCEPTED for one in everything)
        told = [one for one in everything if one.state is not State.HELD]
        gone = bool(told) and all(one.purged for one in told)
        return wrong or (decided and (in_work or gone)) or (now.state is not State.HELD and not now.taken)
    purges = event.act in {Act.PURGE_REQUEST, Act.PURGE_DUE, Act.PURGED}
    purges = purges or (event.act is Act.APPROVE and Act.PURGE_REQUEST in named)
    return purges and now.state is State.EXPIRED and not now.acknowledged


def mark(event: Event, now: Naive, after: Naive) -> None:
    """What an act leaves beside the state."""
    after.acknowledged = now.acknowledged or event.act is Act.ACK
    after.had = now.had or event.act is Act.ACK
    after.accepted = (now.accepted or after.state is State.ACCEPTED) and after.state is not State.DECLINED
    after.purged = now.purged or event.act is Act.PURGED
    after.taken = event.act is Act.TAKEN or (now.taken and event.act is not Act.RELEASED)


def forget_questions(event: Event, now: Naive, after: Naive) -> None:
    """Nobody is telephoned about what has ended, and what nobody will ever have owes no answer."""
    after.open = {digest: kind for digest, kind in after.open.items() if stays_open(kind, after.state)}
    if after.state in ENDED and now.state not in ENDED:
        after.open = {digest: kind for digest, kind in after.open.items() if kind is not Act.TELEPHONE_NOW}
    if event.act is Act.WITHDRAW and after.state is State.WITHDRAWN and now.state is not State.WITHDRAWN:
        after.open = {digest: kind for digest, kind in after.open.items() if kind is not Act.CONSENT_WITHDRAWN}


def predict_one(event: Event, unit: str, deliveries: dict[str, Naive]) -> dict[str, Naive] | None:
    now = deliveries[unit]
    if event.by is Role.POLICE_UNIT and now.role is DeliveryRole.INFORMATION and event.act in NOT_FOR_THE_INFORMED:
        return None
    mine = {digest: kind for digest, kind in now.open.items() if now.askers[digest] != event.party}
    named = {mine[event.question]} if event.question in mine else set(mine.values())
    expired_unread = now.state is State.EXPIRED and not now.had
    before = State.SUBMITTED if event.act is Act.WITHDRAW and expired_unread else now.state
    found = expected(event.act, event.by, before, frozenset(named), event.code)
    if found is None or stands_against(event, now, named, list(deliveries.values())):
        return None
    after = replace(now, state=found[0], open=dict(now.open), askers=dict(now.askers))
    kinds = answered_kinds(event, after.state)
    if event.question is not None and mine.get(event.question) not in kinds:
        return None
    for digest, kind in mine.items():
        if kind in kinds and event.question in (None, digest):
            del after.open[digest]
    mark(event, now, after)
    forget_questions(event, now, after)
    if event.act is Act.TRANSFER:
        if Act.TRANSFER in now.open.values() or len(event.targets) != 1 or event.targets[0][0] in deliveries:
            return None
        after.to = event.targets[0][0]
    if asks(event.act, before, had=now.had):
        after.open[event.digest], after.askers[event.digest] = event.act, event.party
    if event.by is not Role.EXCHANGE and event.act is not Act.REWRAP:
        after.head = event.digest
    changed = {unit: after}
    if after.state is State.TRANSFERRED and now.state is not State.TRANSFERRED and now.to is not None:
        if now.to in deliveries:
            return None
        changed[now.to] = Naive(now.role, State.SUBMITTED, event.digest)
    return changed


class FoldMachine(RuleBasedStateMachine):
    """Anybody does anything, sensible or not; fold and model must agree on all of it."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.seen: list[str] = []
        self.real: dict[str, Delivery] = {}
        self.naive: dict[str, Naive] = {}

    @initialize(
        roles=st.tuples(
            st.sampled_from([DeliveryRole.INFORMATION, DeliveryRole.ESCALATION]),
            st.sampled_from([DeliveryRole.INFORMATION, DeliveryRole.ESCALATION]),
        )
    )
    def submit(self, roles: tuple[DeliveryRole, ...]) -> None:
        targets = tuple(zip(UNITS, (DeliveryRole.ACTION, *roles), strict=False))
        self.real = open_deliveries(Event(Act.SUBMIT, Role.HOTLINE, "line", "d0", 0, targets=targets))
        for unit, role in targets:
            first = State.HELD if role is DeliveryRole.ESCALATION else State.SUBMITTED
            self.naive[unit] = Naive(role, first, "d0")

    @rule(unit=st.sampled_from(UNITS))
    def fetch(self, unit: str) -> None:
        if unit in self.real and self.real[unit].state in lifecycle.SERVED:
            self.count += 1
            self.real[unit] = retrieve(self.real[unit], self.count)
            self.naive[unit].had = True
            if self.naive[unit].state is State.SUBMITTED:
                self.naive[unit].state = State.RETRIEVED

    @rule(data=st.data(), unit=st.sampled_from(UNITS), by=st.sampled_from([Role.HOTLINE, Role.POLICE_UNIT]))
    def do_something_sensible(self, data: st.DataObject, unit: str, by: Role) -> None:
        if unit not in self.real:
            return
        delivery = self.real[unit]
        party = "line" if by is Role.HOTLINE else unit
        asked = delivery.questions_for(party, party)
        legal = lifecycle.allowed(by, delivery.state, open_questions=asked)
        if legal:
            self._happen(data, data.draw(st.sampled_from(legal)), by, unit, prev=delivery.head, known=True)

    @rule(
        data=st.data(),
        act=st.sampled_from(sorted(lifecycle.ACTS_ON_DELIVERIES)),
        by=st.sampled_from([Role.HOTLINE, Role.POLICE_UNIT, Role.EXCHANGE]),
        unit=st.sampled_from([None, *UNITS]),
        known=st.booleans(),
    )
    def do_anything(self, data: st.DataObject, act: Act, by: Role, unit: str | None, known: bool) -> None:
        if unit is None or unit in self.real:
            prev = data.draw(st.sampled_from(["d0", "unknown", *{d.head for d in self.real.values()}]))
            self._happen(data, act, by, unit, prev=prev, known=known)

    def _happen(self, data: st.DataObject, act: Act, by: Role, unit: str | None, *, prev: str, known: bool) -> None:
        self.count += 1
        questions = sorted({q.digest for d in self.real.values() for q in d.questions})
        event = Event(
            *(act, by, "line" if by is Role.HOTLINE else str(unit), f"d{self.count}", self.count),
            unit=unit,
            prev=prev,
            code=data.draw(st.sampled_from([None, STOPPED[0], GOING_ON[1], "hotline_manual"])),
            question=data.draw(st.sampled_from([None, "unknown", *questions])),
            targets=tuple(
                (to, DeliveryRole.ACTION) for to in data.draw(st.sampled_from([(), ("unit-d",), ("unit-a",)]))
            ),
        )
        wanted = predict(event, self.naive, known=known)
        before = dict(self.real)
        changed = self._judge(event, known=known)
        assert self.real == before, "the fold returns what changes; it changes nothing by itself"
        assert (changed is None) == (wanted is None), (event, changed, wanted)
        if changed is not None and wanted is not None:
            assert set(changed) == set(wanted)
            self.real |= changed
            self.naive |= wanted

    def _judge(self, event: Event, *, known: bool) -> dict[str, Delivery] | None:
        try:
            return judge(event, self.real, prev_known=known)
        except ReferralError as error:
            refusal = error
        assert refusal.code in FINAL_REFUSALS
        return None

    @invariant()
    def fold_and_model_agree(self) -> None:
        assert set(self.real) == set(self.naive)
        for unit, real in self.real.items():
            naive = self.naive[unit]
            assert (real.unit, real.state, real.head) == (unit, naive.state, naive.head)
            assert {q.digest: q.act for q in real.questions} == naive.open

    @precondition(lambda self: bool(self.real))
    @invariant()
    def times_are_those_of_what_happened(self) -> None:
        for real in self.real.values():
            moments = (real.retrieved_at, real.acknowledged_at, real.accepted_at, real.notified_at, real.last_status_at)
            assert all(0 < moment <= self.count for moment in moments if moment is not None)
            if real.state is State.ACCEPTED:
                assert real.accepted_at is not None
            if real.state is State.WITHDRAWAL_NOTIFIED:
                assert real.notified_at is not None


TestFoldAgainstTheModel = FoldMachine.TestCase
TestFoldAgainstTheModel.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
