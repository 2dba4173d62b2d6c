"""What acts, receipts and retrieval records say together: the states of a referral, recomputed by whoever holds them.

The exchange claims states in its receipts. `Chronicle` is fed the same acts and records in log order and says what the
states are; a receipt that claims others is evidence against the exchange. A unit feeds it what it may see and learns
about its own delivery, an auditor everything.

Must never: verify a signature (formats/act.py, formats/receipt.py do), trust a state that somebody tells, do I/O.

Implements: R-65 to R-68, R-95 (last part); design §2.5 ("state is a fold").
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from referral_api.domain import deliveries, fold, lifecycle, policy
from referral_api.domain.deliveries import Delivery
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.fold import Event
from referral_api.domain.policy import Relation, Viewer
from referral_api.domain.terms import Term
from referral_api.domain.words import Act, CredentialKind, DeliveryRole, Role, State
from referral_api.formats.act import RawAct
from referral_api.formats.receipt import Receipt

_VIEWERS = {Role.HOTLINE: Viewer.SENDER, Role.POLICE_UNIT: Viewer.UNIT}
_RELATIONS = {Role.HOTLINE: Relation.SENDER, Role.POLICE_UNIT: Relation.RECIPIENT, Role.EXCHANGE: Relation.OWN}
UNFOLDED = frozenset({Act.ROUTE, Act.UNIT_OFFLINE, Act.ERASE, Act.RULES})
"""Acts that stand beside a referral and move none of its deliveries."""


def event_of(act: RawAct, by: Role, at: int) -> Event:
    """The plain values of an act that the fold needs; `at` is the exchange's time (unix seconds)."""
    body: Any = act.body
    targets: tuple[tuple[str, DeliveryRole], ...] = ()
    if act.act is Act.SUBMIT:
        targets = tuple((to.unit, to.role) for to in body.to)
    elif act.act is Act.TRANSFER:
        targets = ((body.to, DeliveryRole.ACTION),)
    due_at = getattr(body, "due_at", None) or getattr(body, "review_at", None)
    return Event(
        act=act.act,
        by=by,
        party=act.party,
        digest=act.digest,
        at=at,
        unit=act.unit,
        prev=act.prev,
        code=_code_of(act),
        question=getattr(body, "answers", None),
        targets=targets,
        signer=act.iss,
        joint=getattr(body, "joint", None) is not None,
        due_at=None if due_at is None else int(due_at.timestamp()),
    )


def _code_of(act: RawAct) -> str | None:
    """The one code of an act's body that the fold looks at; of a submission how it relates to an earlier one."""
    body: Any = act.body
    if act.act is Act.SUBMIT:
        return None if body.relation is None else str(body.relation.type)
    if act.act is Act.HOLD:
        return "on" if body.on else deliveries.HOLD_OFF
    if act.act is Act.PURGE_DUE:
        return f"purge_{body.days}"
    if act.act in (Act.WITHDRAW, Act.RELEASED):
        return str(body.reason)
    if act.act is Act.PHONE_ALERT:
        return None if body.made else deliveries.NOT_MADE
    code = getattr(body, "clock" if act.act is Act.OVERDUE else "code", None)
    return None if code is None else str(code)


PASSES_ON = frozenset({Act.TRANSFER, Act.APPROVE})
"""The acts by which a delivery reaches another unit; the new one sees those that brought it (R-62)."""


def passed_on(unit: str, accepted: Iterable[RawAct]) -> list[RawAct]:
    """The transfers and approvals by which a referral reached `unit`, newest first, from accepted acts in log order.

    Empty for a unit that the submit itself addresses. Where the unit passed it on in turn is not among them (R-62).
    """
    proposed: dict[str, RawAct] = {}
    arrived: dict[str, tuple[RawAct, RawAct]] = {}
    for act in accepted:
        body: Any = act.body
        if act.act is Act.TRANSFER:
            proposed[act.digest] = act
        elif act.act is Act.APPROVE and body.answers in proposed:
            transfer: Any = proposed[body.answers].body
            arrived[transfer.to] = (act, proposed[body.answers])
    path: list[RawAct] = []
    place: str | None = unit
    while place in arrived:
        path += arrived.pop(place)
        place = path[-1].unit
    return path


@dataclass(slots=True)
class Chronicle:
    """One referral as it becomes, act by act. `only` limits it to the delivery of one unit: what that unit can know."""

    only: str | None = None
    sender: str | None = None
    submitted_at: int | None = None
    deliveries: dict[str, Delivery] = field(default_factory=dict)
    _seen: dict[str, tuple[Act, str | None]] = field(default_factory=dict)
    _roles: dict[str, DeliveryRole] = field(default_factory=dict)
    _proposed: dict[str, tuple[str, str]] = field(default_factory=dict)
    """With `only`: transfers between other units by digest, from whom to whom."""
    _brought: dict[str, frozenset[str]] = field(default_factory=dict)
    """The transfers and approvals by which a delivery reached its unit, by unit."""

    def accept(self, event: Event, kind: CredentialKind | None = None) -> None:
        """Take an act that the exchange accepted; `kind` is that of its signer's credential, where it is known.

        Raises TAMPERED (`reason`, `act`) where rights or lifecycle could not have allowed it: then the exchange
        accepted what it had to refuse, or something is missing from what we were shown.
        """
        try:
            self._check_right(event, kind)
            self._accept(event)
        except ReferralError as error:
            raise ReferralError(
                ErrorCode.TAMPERED, what="fold", act=event.act.value, digest=event.digest, reason=error.code.value
            ) from None
        self._seen[event.digest] = (event.act, event.unit)

    def refuse(self, event: Event) -> None:
        """Take an act that was finally refused for what it builds on or for the state that it met (R-17).

        Raises TAMPERED (`reason` `refused-without-cause`) where it had to be accepted. Only who sees everything can say
        so: a unit may lack what stood in the way.
        """
        trial = replace(self, deliveries=dict(self.deliveries), _seen=dict(self._seen))
        try:
            trial.accept(event)
        except ReferralError:
            return
        raise ReferralError(
            ErrorCode.TAMPERED, what="fold", act=event.act.value, digest=event.digest, reason="refused-without-cause"
        )

    def retrieved(self, unit: str, at: int) -> None:
        """Take a record that the bundle was handed to a unit.

        Raises TAMPERED (`reason`): `no-delivery`, or `not-served` where its state forbade to hand anything out.
        """
        delivery = self.deliveries.get(unit)
        if delivery is None:
            if self.only is not None and unit != self.only:
                return
            raise ReferralError(ErrorCode.TAMPERED, what="fold", act="retrieved", reason="no-delivery")
        if delivery.state not in lifecycle.SERVED:
            raise ReferralError(ErrorCode.TAMPERED, what="fold", act="retrieved", reason="not-served")
        self.deliveries[unit] = fold.retrieve(delivery, at)

    def verify_receipt(self, receipt: Receipt) -> None:
        """Hold the states that a receipt claims against the fold, right after its act.

        Raises TAMPERED (`unit`, `claimed`, `found`).
        """
        for claim in receipt.payload.states:
            if self.only is None or claim.unit == self.only:
                self.verify_state(claim.unit, claim.state, claim.head)

    def verify_state(self, unit: str, state: str, head: str) -> Delivery:
        """The delivery of a unit, if it is in this state with this head; else TAMPERED."""
        delivery = self.deliveries.get(unit)
        if delivery is None or (delivery.state.value, delivery.head) != (str(state), head):
            found = None if delivery is None else delivery.state.value
            raise ReferralError(ErrorCode.TAMPERED, what="state", unit=unit, claimed=str(state), found=found)
        return delivery

    def _check_right(self, event: Event, kind: CredentialKind | None) -> None:
        """R-60 to R-62: the signer's role, kind and relation to this very delivery allow the act."""
        begins = event.act in (Act.SUBMIT, Act.ROUTE)
        relation = Relation.OWN if begins else _RELATIONS.get(event.by, Relation.STRANGER)
        kinds = CredentialKind if kind is None else (kind,)
        if not any(policy.may(event.act, event.by, one, relation) for one in kinds):
            raise ReferralError(ErrorCode.NOT_PERMITTED, act=event.act.value)
        # The fold looks at roles alone: that the hotline is the sender and the unit speaks for itself is said here.
        foreign_hotline = event.by is Role.HOTLINE and event.act is not Act.SUBMIT and event.party != self.sender
        foreign_unit = event.by is Role.POLICE_UNIT and event.party != event.unit
        if foreign_hotline or foreign_unit:
            raise ReferralError(ErrorCode.NOT_PERMITTED, act=event.act.value)

    def _accept(self, event: Event) -> None:
        if event.act in UNFOLDED:
            return
        if event.act is Act.SUBMIT:
            if self.sender is not None:
                raise ReferralError(ErrorCode.ILLEGAL_TRANSITION, act=event.act.value, reason="already-submitted")
            if event.prev is not None or event.unit is not None:
                raise ReferralError(ErrorCode.STALE_HEAD)
            opened = fold.open_deliveries(event)
            self.sender, self.submitted_at = event.party, event.at
            self._roles = {unit: delivery.role for unit, delivery in opened.items()}
            self.deliveries = self._mine(opened)
            return
        if self.only is not None and event.unit not in (None, self.only) and self._passes_on(event):
            return
        if event.unit is not None and event.unit not in self.deliveries:
            raise ReferralError(ErrorCode.ILLEGAL_TRANSITION, act=event.act.value, reason="no-delivery")
        try:
            changed = fold.judge(event, self.deliveries, prev_known=self._knows(event))
        except ReferralError as refusal:
            # An act on the whole referral may have moved other units' deliveries only, which we are not shown (R-67).
            if self.only is None or event.unit is not None or refusal.code is not ErrorCode.ILLEGAL_TRANSITION:
                raise
            changed = {}
        for target in changed.keys() - self.deliveries.keys():
            self._bring(event, str(event.unit), target)
        self.deliveries |= self._mine(changed)

    def _bring(self, event: Event, unit: str, target: str) -> None:
        """Note by which approval, of which proposal, a delivery came from one unit to another."""
        self._brought[target] = self._brought.get(unit, frozenset()) | {event.digest, str(event.question)}

    def _passes_on(self, event: Event) -> bool:
        """Follow a transfer between other units as far as the one who reads needs it: it brought the referral here."""
        unit = str(event.unit)
        if event.act is Act.TRANSFER and unit in self._roles and len(event.targets) == 1:
            self._proposed[event.digest] = (unit, event.targets[0][0])
            return True
        proposed = self._proposed.get(event.question or "") if event.act is Act.APPROVE else None
        if proposed is None or proposed[0] != unit or proposed[1] in self._roles:
            return False
        target, role = proposed[1], self._roles[unit]
        self._roles[target] = role
        self._bring(event, unit, target)
        if target == self.only:
            self.deliveries[target] = Delivery(
                target, role, State.SUBMITTED, event.digest, event.at, began_at=self.submitted_at
            )
        return True

    def _mine(self, deliveries: Mapping[str, Delivery]) -> dict[str, Delivery]:
        return {unit: one for unit, one in deliveries.items() if self.only in (None, unit)}

    def _knows(self, event: Event) -> bool:
        """Whether `prev` names an earlier act that its signer could see on the delivery the act concerns (R-65).

        A unit cannot tell of others: what the sender names may be an act of another unit.
        """
        if self.only is not None and event.by is not Role.POLICE_UNIT:
            return True
        place = None if event.prev is None else self._seen.get(event.prev)
        viewer = _VIEWERS.get(event.by)
        if place is None or viewer is None:
            return False
        kind, unit = place
        if event.unit is not None and event.prev in self._brought.get(event.unit, ()):
            return True
        if viewer is Viewer.UNIT and not policy.is_common(kind):
            return False  # The sender could not follow a unit that builds on what only the unit sees.
        own = viewer is Viewer.SENDER or unit in (None, event.party)
        return policy.may_see(kind, viewer=viewer, own_delivery=own) and (
            event.unit is None or unit in (None, event.unit)
        )


@dataclass(frozen=True, slots=True)
class Told:
    """One thing that happened to a referral, at its place in the log: an accepted act with its receipt, or a read."""

    term: Term
    index: int
    event: Event | None = None
    kind: CredentialKind | None = None
    receipt: Receipt | None = None
    retrieved_by: str | None = None
    at: int = 0


def fold_told(told: Iterable[Told], *, only: str | None = None) -> Chronicle:
    """The chronicle of one referral from what was told of it, in whatever order it was told.

    Raises TAMPERED as `Chronicle` does, or with `reason` `same-place` for two things at one place of the log.
    """
    ordered = sorted(told, key=lambda one: (one.term, one.index))
    if len({(one.term, one.index) for one in ordered}) != len(ordered):
        raise ReferralError(ErrorCode.TAMPERED, what="fold", reason="same-place")
    chronicle = Chronicle(only=only)
    for one in ordered:
        if one.retrieved_by is not None:
            chronicle.retrieved(one.retrieved_by, one.at)
        elif one.event is not None:
            chronicle.accept(one.event, one.kind)
            if one.receipt is not None:
                chronicle.verify_receipt(one.receipt)
    return chronicle
