"""Steps 5 to 9 of the door, run inside the writer's transaction: judge one act against the state, then store it.

A decision is a job of the writer. It ends in one of three ways: accepted (act, new states, inbox lines, leaf,
receipt), finally refused (act, leaf and signed receipt, nothing else changes), or raised (nothing stored, the id stays
unused).

Must never: read a clock or a key from anywhere but the batch and the exchange it was given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from referral_api.auditlog.evidence import PASSES_ON, event_of
from referral_api.domain import fold, policy
from referral_api.domain.consent import check_tuple
from referral_api.domain.deliveries import Delivery
from referral_api.domain.errors import FINAL_REFUSALS, ErrorCode, ReferralError
from referral_api.domain.fold import Event
from referral_api.domain.words import Act, CredentialKind, Role, State
from referral_api.formats.act import RawAct
from referral_api.formats.bundle import SealedBundle
from referral_api.formats.statements import KeyMap
from referral_api.server.service import directory, targets
from referral_api.server.service.batch import Asks, Batch, Committed, Done, Place
from referral_api.server.service.callers import Caller, check_access
from referral_api.server.service.covering import proof_of
from referral_api.server.service.exchange import Exchange
from referral_api.server.service.ledger import Change, Entry, carry_out, new_referral, store, store_refused
from referral_api.server.service.posting import post_following
from referral_api.server.service.reading import brought_by, path_to
from referral_api.server.service.relations import check_relation
from referral_api.server.storage import logbook, queries, recovery, refusals
from referral_api.server.storage.database import Connection
from referral_api.server.storage.queries import Referral, StoredAct


@dataclass(frozen=True, slots=True)
class Checked:
    """An act that has passed steps 1 to 4, with everything step 9 stores."""

    act: RawAct
    carrier: str | None
    sealed: SealedBundle | None
    keys_seen: int
    """Size of the keys log under which its keys were valid; the writer looks again if it has grown."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The stored receipt of an act. `code` is a final refusal's; `fresh` is False for a repeated act.

    `beside` is the receipt of the route act that came with a submit.
    """

    receipt: str
    code: ErrorCode | None
    facts: Mapping[str, Any]
    fresh: bool
    beside: str | None = None


@dataclass(frozen=True, slots=True)
class Repeat:
    """An act that was taken before, and the route act that was taken beside it: the answer is the first receipt (R-14).

    A job of the writer too, which has what is committed and not yet signed signed over before it is answered.
    """

    seen: StoredAct
    beside: StoredAct | None = None

    @classmethod
    def find(cls, conn: Connection, seen: StoredAct, route: RawAct | None) -> Self:
        """A submit comes again only with the very route act that was taken with it (R-64), else ACT_ID_REUSED."""
        beside = None if route is None else queries.find_act(conn, route.iss, route.id)
        if route is None or (beside is None and seen.outcome != "accepted"):
            return cls(seen)
        if beside is None or beside.digest != route.digest:
            raise ReferralError(ErrorCode.ACT_ID_REUSED, digest=seen.digest, member="route")
        return cls(seen, beside)

    def answer(self, conn: Connection, exchange: Exchange) -> Committed[Accepted]:
        """The first receipt, byte for byte, with a fresh proof. Raises CHECKPOINT_PENDING."""
        beside = None if self.beside is None else proof_of(conn, exchange, self.beside.pos)
        return Committed(self._accepted(conn), proof_of(conn, exchange, self.seen.pos), beside)

    def __call__(self, batch: Batch) -> Done[Accepted]:
        """The same, with the proof that the writer makes."""
        beside = None if self.beside is None else batch.place_at(self.beside.pos)
        return Done(self._accepted(batch.tx), batch.place_at(self.seen.pos), beside)

    def _accepted(self, conn: Connection) -> Accepted:
        beside, pos = None if self.beside is None else self.beside.receipt, self.seen.pos
        if self.seen.code is None:
            return Accepted(self.seen.receipt, None, {}, fresh=False, beside=beside)
        return Accepted(self.seen.receipt, ErrorCode(self.seen.code), refusals.refusal_facts(conn, pos), fresh=False)


@dataclass(frozen=True, slots=True)
class Situation:
    """What a referral is at this moment, as the judge needs it."""

    referral: Referral | None
    deliveries: Mapping[str, Delivery]
    prev_known: bool


class ReferralDecision:
    """The decision on an act about a referral, with the route act beside a submit."""

    def __init__(self, exchange: Exchange, checked: Checked, caller: Caller, route: Checked | None = None) -> None:
        self._exchange = exchange
        self._checked = checked
        self._caller = caller
        self._route = route
        self._keymap = exchange.keymap

    def asks(self) -> Asks | None:
        """What a plain submit looks up before it is judged; all of a batch's are asked for at once (writer.Batch)."""
        act = self._checked.act
        if act.act is not Act.SUBMIT or self._route is not None:
            return None
        return Asks((act.iss, act.id), str(act.ref))

    def __call__(self, batch: Batch) -> Done[Accepted]:
        """Judge and store. Raises what leaves the id unused."""
        act = self._checked.act
        seen = batch.find_act(act.iss, act.id)  # (5), again, under the lock
        if seen is not None:
            return self._again(batch, seen)
        self._keymap = batch.keymap or self._exchange.keymap
        if self._keymap.size != self._checked.keys_seen:
            check_access(self._keymap, self._caller, batch.now)
        recheck_keys(self._keymap, self._checked, batch.now)
        if self._route is not None:
            self._check_new_route(batch, self._route)
        situation = self._situation(batch)
        event = event_of(act, self._caller.role, batch.now)
        try:
            self._check_rights(situation)  # (6)
            changed = self._judge(batch, event, situation)  # (7), (8)
        except ReferralError as refusal:
            if refusal.code not in FINAL_REFUSALS:
                raise
            return self._store_refused(batch, situation, refusal)
        return self._accept(batch, event, situation, changed)  # (9)

    def _again(self, batch: Batch, seen: StoredAct) -> Done[Accepted]:
        """The same act came twice at once: the second gets the first one's receipt (R-14)."""
        if seen.digest != self._checked.act.digest:
            raise ReferralError(ErrorCode.ACT_ID_REUSED, digest=seen.digest)
        if self._checked.sealed is not None:
            # Recovery may have brought the act back without what was sealed beside it.
            recovery.refill(batch.tx, seen.pos, self._checked.sealed.sha256, self._checked.sealed.raw)
        return Repeat.find(batch.tx, seen, None if self._route is None else self._route.act)(batch)

    def _check_new_route(self, batch: Batch, route: Checked) -> None:
        """The act beside a new submit is as new, and its keys are looked at again like the submit's own."""
        recheck_keys(self._keymap, route, batch.now)
        used = batch.find_act(route.act.iss, route.act.id)
        if used is not None or (route.act.iss, route.act.id) == (self._checked.act.iss, self._checked.act.id):
            digest = self._checked.act.digest if used is None else used.digest
            raise ReferralError(ErrorCode.ACT_ID_REUSED, digest=digest, member="route")

    def _situation(self, batch: Batch) -> Situation:
        act = self._checked.act
        ref = str(act.ref)
        referral = batch.find_referral(ref)
        if act.act is Act.SUBMIT or referral is None:
            return Situation(referral, {}, prev_known=act.prev is None)
        deliveries = queries.deliveries_of(batch.tx, ref)
        return Situation(referral, deliveries, prev_known=self._prev_known(batch.tx, ref))

    def _prev_known(self, conn: Connection, ref: str) -> bool:
        """Whether `prev` names an act that the signer could have seen on the delivery the act concerns (R-65)."""
        act = self._checked.act
        if act.prev is None:
            return False
        place = queries.prev_places(conn, ref, act.prev)
        if place is None:
            return False
        kind, unit = place
        if kind in PASSES_ON and act.unit is not None and unit != act.unit:
            # What brought the delivery here is of another, and its head to begin with.
            return any(step.digest == act.prev for step in path_to(conn, ref, act.unit))
        viewer = policy.Viewer.SENDER if self._caller.role is Role.HOTLINE else policy.Viewer.UNIT
        if viewer is policy.Viewer.UNIT and not policy.is_common(kind):
            return False
        return policy.may_see(kind, viewer=viewer, own_delivery=unit in (None, self._caller.party)) and (
            act.unit is None or unit in (None, act.unit)
        )

    def _check_rights(self, situation: Situation) -> None:
        """Step 6: role, kind of credential and relation to this very delivery; a stranger meets 404 (R-51, R-60)."""
        act, caller = self._checked.act, self._caller
        signer = self._keymap.find_credential(act.iss)
        if signer is None:
            raise ReferralError(ErrorCode.KEY_NOT_VALID, reason="unknown", credential=act.iss)
        kind = signer.kind
        if act.act is Act.SUBMIT:
            policy.demand(act.act, caller.role, kind, policy.Relation.OWN)
            if situation.referral is not None and situation.referral.sender != caller.party:
                raise ReferralError(ErrorCode.NOT_FOUND)
            body: Any = act.body
            if kind is CredentialKind.SERVICE and (body.operator is None or body.override is not None):
                # A service sends for the operator that it names; to share against a refusal takes a person.
                raise ReferralError(ErrorCode.NOT_PERMITTED, act=act.act.value, needs="person")
            if situation.referral is not None:
                raise ReferralError(ErrorCode.ILLEGAL_TRANSITION, act=act.act.value, reason="already-submitted")
            return
        if situation.referral is None:
            raise ReferralError(ErrorCode.NOT_FOUND)
        own = situation.deliveries.get(caller.party)
        relation = policy.relation_of(
            caller.party, caller.role, sender=situation.referral.sender, state=None if own is None else own.shown_state
        )
        policy.demand(act.act, caller.role, kind, relation)
        if caller.role is Role.POLICE_UNIT and act.unit != caller.party:
            raise ReferralError(ErrorCode.NOT_PERMITTED, act=act.act.value, reason="unit-is-not-yours")
        if act.unit is not None and act.unit not in situation.deliveries:
            raise ReferralError(ErrorCode.NOT_FOUND)

    def _judge(self, batch: Batch, event: Event, situation: Situation) -> dict[str, Delivery]:
        if event.act is Act.SUBMIT:
            if event.prev is not None or event.unit is not None:
                raise ReferralError(ErrorCode.STALE_HEAD)
            self._check_submit(batch, event)
            return fold.open_deliveries(event)
        if event.act is Act.ACK:
            self._check_ack(batch.tx)
        if event.act is Act.REWRAP:
            self._check_rewrap(batch.tx)
        if event.act is Act.TRANSFER and situation.referral is not None:
            targets.check_passed_on(self._keymap, situation.referral.sender, event.targets[0][0])
        changed = fold.judge(event, situation.deliveries, prev_known=situation.prev_known)
        for unit in changed.keys() - situation.deliveries.keys():
            # Not at the proposal already: whether a unit is excluded is no business of the one that proposes it.
            if situation.referral is not None and unit in situation.referral.excluded:
                raise ReferralError(ErrorCode.TARGET_NOT_ALLOWED, unit=unit, reason="excluded")
        return changed

    def _check_submit(self, batch: Batch, event: Event) -> None:
        body: Any = self._checked.act.body
        check_tuple(body.basis, body.identity_level, None if body.override is None else body.override.reason)
        named = None if body.override is None else body.override.second_person
        # Whoever agreed to share against a refusal is another person of the same hotline.
        if named is not None and not self._keymap.is_second_person(named, self._checked.act.iss, event.at):
            raise ReferralError(ErrorCode.CONSENT_GATE, reason="second-person")
        excluded = frozenset() if self._route is None else _excluded(self._route)
        targets.check_addressed(self._keymap, event, excluded, body.agreement)
        check_relation(batch, self._caller.party, body)

    def _check_ack(self, conn: Connection) -> None:
        """R-69: an acknowledgement names the act that brought the bundle to this unit, and that bundle's digest."""
        body: Any = self._checked.act.body
        self._check_brought(conn, body.submit, ADDS_BUNDLE, "submit")
        if queries.sealed_digest(conn, body.submit) != body.bundle:
            raise ReferralError(ErrorCode.DIGEST_MISMATCH, reason="bundle")

    def _check_rewrap(self, conn: Connection) -> None:
        """R-28: it names what brought a bundle to this unit, and is sealed to keys of this unit alone."""
        body: Any = self._checked.act.body
        self._check_brought(conn, body.original, frozenset({Act.SUPPLEMENT}), "original")
        sealed = self._checked.sealed
        if sealed is None or any(address.party != self._caller.party for address in sealed.routing.to):
            raise ReferralError(ErrorCode.RECIPIENT_MISMATCH, reason="addressees")

    def _check_brought(self, conn: Connection, digest: str, adds: frozenset[Act], reason: str) -> None:
        """That an act brought this unit its bundle, or a further one as acts of these kinds do."""
        act = self._checked.act
        brought = queries.find_act_by_digest(conn, digest)
        if brought is None or brought.ref != act.ref or brought.outcome != "accepted":
            raise ReferralError(ErrorCode.DIGEST_MISMATCH, reason=reason)
        added = brought.act in adds and brought.unit in (None, act.unit)
        if not added and brought.digest != brought_by(conn, str(act.ref), str(act.unit)):
            raise ReferralError(ErrorCode.DIGEST_MISMATCH, reason=reason)

    def _store_refused(self, batch: Batch, situation: Situation, refusal: ReferralError) -> Done[Accepted]:
        """A final refusal: act, leaf and signed receipt; no state changes and the id is used up (R-17)."""
        shown = self._shown(situation.deliveries)
        return _refuse(batch, self._exchange, self._checked, shown, refusal)

    def _accept(
        self, batch: Batch, event: Event, situation: Situation, changed: Mapping[str, Delivery]
    ) -> Done[Accepted]:
        """Step 9: everything the act changes, in this transaction or not at all."""
        checked, act = self._checked, self._checked.act
        # Every unit reads the receipt of an act on the whole referral: with two of them it may tell of neither.
        states = [] if act.unit is None and len(situation.deliveries) > 1 else self._shown(changed)
        place, receipt = store(batch, self._exchange, Entry(act, checked.carrier, checked.sealed, states))
        referral, before = situation.referral or self._new_referral(batch), situation.deliveries
        rules = self._exchange.rules_at(referral.created_at)
        carry_out(batch, rules, Change(event, act, referral, before, changed, place))
        beside, beside_place = self._accept_route(batch)
        also = post_following(batch, self._exchange, referral, before, {**before, **changed}, event)
        return Done(Accepted(receipt, None, {}, fresh=True, beside=beside), place, beside_place, also)

    def _new_referral(self, batch: Batch) -> Referral:
        act = self._checked.act
        referral = new_referral(act, batch.now, _excluded(self._route))
        queries.insert_referral(batch.tx, referral)
        batch.remember_referral(referral)
        return referral

    def _accept_route(self, batch: Batch) -> tuple[str, Place] | tuple[None, None]:
        """The route act stands or falls with its submit."""
        route = self._route
        if route is None:
            return None, None
        place, receipt = store(batch, self._exchange, Entry(route.act, route.carrier, None, ()))
        return receipt, place

    def _shown(self, deliveries: Mapping[str, Delivery]) -> list[Delivery]:
        """A unit's receipt tells of its own delivery only; the sender's of all that the act touched (R-16, R-62)."""
        if self._caller.role is Role.POLICE_UNIT:
            return [d for unit, d in deliveries.items() if unit == self._caller.party and d.state is not State.HELD]
        return [deliveries[unit] for unit in sorted(deliveries)]


class DirectoryDecision:
    """The decision on an act about parties and keys: the fold of the keys log judges it, as every client will."""

    def __init__(self, exchange: Exchange, checked: Checked, enrolment: str | None) -> None:
        self._exchange = exchange
        self._checked = checked
        self._enrolment = enrolment

    def __call__(self, batch: Batch) -> Done[Accepted]:
        """Judge and store; what belongs on the keys log goes there in the same transaction (R-30, R-92)."""
        act = self._checked.act
        seen = queries.find_act(batch.tx, act.iss, act.id)
        if seen is not None:
            if seen.digest != act.digest:
                raise ReferralError(ErrorCode.ACT_ID_REUSED, digest=seen.digest)
            return Repeat(seen)(batch)
        keymap = batch.keymap or self._exchange.keymap
        recheck_keys(keymap, self._checked, batch.now)
        try:
            effects = directory.judge_directory(batch.tx, keymap, act, self._enrolment, batch.now)
        except ReferralError as refusal:
            if refusal.code not in FINAL_REFUSALS:
                raise
            return _refuse(batch, self._exchange, self._checked, (), refusal)
        for carried in effects.carried:
            store(batch, self._exchange, Entry(carried, None, None, ()))
        place, receipt = store(batch, self._exchange, Entry(act, self._checked.carrier, None, ()))
        for leaf in effects.keys_log:
            batch.append_leaf(logbook.KEYS, leaf)
        batch.keymap = effects.keymap
        return Done(Accepted(receipt, None, {}, fresh=True), place)


def _refuse(
    batch: Batch, exchange: Exchange, checked: Checked, shown: Sequence[Delivery], refusal: ReferralError
) -> Done[Accepted]:
    entry = Entry(checked.act, checked.carrier, None, shown, refusal.code)
    place, receipt = store_refused(batch, exchange, entry, refusal.facts)
    return Done(Accepted(receipt, refusal.code, refusal.facts, fresh=True), place)


def recheck_keys(keymap: KeyMap, checked: Checked, now: int) -> None:
    """Look at the signer's keys again if the directory has grown since they were checked: a revocation acts at once."""
    if keymap.size == checked.keys_seen:
        return
    kids = [signature.kid for signature in checked.act.jws.signatures]
    keys = keymap.seal_keys(checked.act.iss, checked.act.iat, now, kids=kids)
    for kid in kids:
        if kid not in keys.keys:
            raise ReferralError(ErrorCode.KEY_NOT_VALID, kid=kid)


def _excluded(route: Checked | None) -> frozenset[str]:
    body: Any = None if route is None else route.act.body
    return frozenset() if body is None else frozenset(body.excluded)


ADDS_BUNDLE = frozenset({Act.SUPPLEMENT, Act.REWRAP})
"""Acts beside which a further bundle for the unit travels."""
