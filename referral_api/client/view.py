"""A referral as the exchange shows it, and as much of that as can be proved: acts, receipts, places, states.

Nothing of a view is believed because it is told. Every act verifies under its signer's keys as they were, every receipt
answers its act and names its place in the log, and the states are folded anew and must be the ones that are claimed.
What this workstation itself has a receipt for must be among it: a view that lost it is an older one, or a false one.

Must never: show an act that does not verify, take an order or a place from the view alone, or believe a view that was
kept (keptviews.py) more than one that has just come.

Implements: R-54, R-62, R-65 to R-68; design §10.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from referral_api.auditlog.evidence import Chronicle, Told, event_of, fold_told, passed_on
from referral_api.client import alarms, exchange, keptviews, losses, outage
from referral_api.client.keptviews import Answer, KeptViews
from referral_api.client.session import Session
from referral_api.client.trust import issuer_origin, names_no_known_key
from referral_api.domain import clockwork, fold, policy
from referral_api.domain.clockwork import Due
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.policy import Relation
from referral_api.domain.rules import DEFAULT, Rules
from referral_api.domain.terms import Term
from referral_api.domain.words import UUID7, Act, CredentialKind, Digest, ReferralId, Role
from referral_api.formats.act import RawAct, parse_act, verify_act
from referral_api.formats.exchange_bodies import RulesBody
from referral_api.formats.fields import LATEST_S
from referral_api.formats.parties import EXCHANGE, SKEW_S
from referral_api.formats.receipt import Receipt, match_receipt, verify_exchange_receipt


@dataclass(frozen=True, slots=True)
class ShownAct:
    """A verified act of a referral: its place in the log, the exchange's receipt, and the kind of its signer."""

    act: RawAct
    receipt: Receipt | None
    term: Term
    index: int
    kind: CredentialKind

    @property
    def at(self) -> int:
        """When the exchange took it (unix seconds)."""
        return self.receipt.payload.time if self.receipt is not None else self.act.iat

    @property
    def accepted(self) -> bool:
        """Whether it changed anything: a refused act is shown to its own party as well."""
        return self.receipt is None or self.receipt.accepted


@dataclass(frozen=True, slots=True)
class Standing:
    """What follows from a delivery's folded state: what this credential may do next, what is owed, the most pressing
    first, and when its ciphertext goes (unix seconds; None: not by itself).
    """

    allowed: tuple[Act, ...]
    dues: tuple[Due, ...]
    purge_at: int | None

    @property
    def due(self) -> Due | None:
        """The most pressing of `dues`."""
        return next(iter(self.dues), None)


@dataclass(frozen=True, slots=True)
class Referral:
    """A referral as this party can prove it. `acts` stand in log order, `chronicle` holds the states.

    `retrievals` are the exchange's records that a unit was handed its bundle: its word alone, which an auditor finds in
    the log. `claimed` is the exchange's own view, kept as it was told; nothing here is taken from it.
    """

    ref: ReferralId
    relation: Relation
    acts: tuple[ShownAct, ...]
    chronicle: Chronicle
    standings: Mapping[str, Standing]
    retrievals: tuple[Told, ...]
    later: tuple[ReferralId, ...]
    """Referrals of the sender's that say that they relate to this one: a hint where to look, told to the sender."""
    claimed: dict[str, Any] = field(repr=False)

    def submit(self) -> ShownAct:
        """The act that began it. Raises TAMPERED where it is not among what was shown."""
        for shown in self.acts:
            if shown.act.act is Act.SUBMIT and shown.accepted:
                return shown
        raise ReferralError(ErrorCode.TAMPERED, what="view", reason="no-submit")

    def brought(self, party: str) -> ShownAct:
        """The act beside which this party's bundle travelled: the transfer that was approved, else the submit."""
        for act in passed_on(party, [shown.act for shown in self.acts if shown.accepted]):
            if act.act is Act.TRANSFER:
                return next(shown for shown in self.acts if shown.act.digest == act.digest)
        return self.submit()

    def supplements(self) -> list[ShownAct]:
        """What its sender has said in addition, as far as a party to it is shown that."""
        if self.relation not in (Relation.SENDER, Relation.RECIPIENT):
            return []
        return [one for one in self.acts if one.accepted and one.act.act is Act.SUPPLEMENT]

    def rewraps(self, party: str, original: ShownAct) -> list[ShownAct]:
        """The acts by which persons of a unit sealed again for it what `original` brought, newest first (R-28)."""
        return [
            one
            for one in reversed(self.acts)
            if one.accepted
            and (one.act.act, one.act.party, one.act.unit) == (Act.REWRAP, party, party)
            and getattr(one.act.body, "original", None) == original.act.digest
        ]

    def latest(self, unit: str) -> Digest:
        """The newest act that everybody on this unit's delivery has seen: what a fact builds on (R-65)."""
        seen = [one for one in self.acts if one.accepted and one.act.unit in (None, unit)]
        return [one for one in seen if policy.is_common(one.act.act)][-1].act.digest


@alarms.shown("referral")
def fetch_referral(
    session: Session,
    ref: ReferralId,
    known: Mapping[Digest, bytes] = MappingProxyType({}),
    views: KeptViews | None = None,
) -> Referral:
    """A referral with everything verified that this party may see of it.

    `known` are the acts on it that the exchange has given us receipts of acceptance for, and these. `views`: ask only
    for what is new since the answer that is kept there. Raises NOT_FOUND; ACT_SIGNATURE_INVALID, KEY_NOT_VALID,
    WRONG_AUDIENCE, SIGNATURE_INVALID, RECEIPT_MISMATCH; TAMPERED where the acts do not fold to the states that are
    claimed, or something of the referral was left out (`reason` `omitted`); INCONSISTENT (`lost`) where the exchange
    has lost it, and nobody here has agreed to that.
    """
    if views is None:
        return _verified(session, ref, _ask(session, ref, known).document, known)
    kept = views.find(ref)
    fresh = None if kept is None else _news(session, ref, kept, known, views)
    if isinstance(fresh, Referral):
        return fresh
    answer = _ask(session, ref, known) if fresh is None else fresh
    found = _verified(session, ref, answer.document, known)
    views.keep(ref, answer)
    return found


def _news(
    session: Session, ref: ReferralId, kept: Answer, known: Mapping[Digest, bytes], views: KeptViews
) -> Referral | Answer | None:
    """What is new since the kept answer; the referral as it is kept, where that is nothing; None: ask for all of it.

    Raises as `fetch_referral`, also where what is kept shows that it cannot be still the answer.
    """
    try:
        answer = session.call(exchange.referral(ref, kept.etag), keptviews.judge)
        return _verified(session, ref, kept.document, known) if answer is None else answer
    except ReferralError as error:
        is_false = error.facts.get("reason") == "omitted"
        # Two receipts for one act, both signed: what is kept is the evidence.
        convicts = error.code is ErrorCode.RECEIPT_MISMATCH and error.facts.get("member") == "receipt"
        if outage.is_passing(error) or convicts:
            raise
        # What counts is what the exchange says today. Where it has nothing, what is kept is all there is against it.
        if error.code is not ErrorCode.NOT_FOUND:
            views.forget(ref)
        if is_false:
            raise  # It said that nothing is new, and has given us a receipt for what is.
    return None


def _ask(session: Session, ref: ReferralId, known: Mapping[Digest, bytes]) -> Answer:
    """The whole answer of today. Raises as `fetch_referral` where there is none."""
    try:
        answer = session.call(exchange.referral(ref), keptviews.judge)
    except ReferralError as error:
        if error.code is ErrorCode.NOT_FOUND:
            for receipt in known.values():
                losses.excuse(session, receipt)
        raise
    if answer is None:
        raise RuntimeError("nothing was named that could still be the answer")
    return answer


def _verified(session: Session, ref: ReferralId, answer: dict[str, Any], known: Mapping[Digest, bytes]) -> Referral:
    """An answer with everything in it verified, and everything in it that must be. Raises as `fetch_referral`."""
    try:
        found = _verify_view(session, ref, answer)
    except ReferralError as error:
        if error.code is not ErrorCode.KEY_NOT_VALID and not names_no_known_key(error):
            raise
        # Somebody may have joined, or the exchange changed a key, since the keys log was last replicated.
        session.sync_keys()
        found = _verify_view(session, ref, answer)
    shown = {one.act.digest: one.receipt for one in found.acts if one.accepted}
    for digest, receipt in known.items():
        if (other := shown.get(digest)) is None:
            losses.excuse(session, receipt)
            raise ReferralError(ErrorCode.TAMPERED, what="view", reason="omitted", digest=digest)
        if other.raw != receipt:
            losses.excuse(session, receipt)
            # An act has one receipt for ever: two of them, both signed, convict the exchange.
            raise ReferralError(ErrorCode.RECEIPT_MISMATCH, member="receipt", digest=digest)
    return found


@exchange.told()
def _verify_view(session: Session, ref: ReferralId, answer: dict[str, Any]) -> Referral:
    try:
        if answer["ref"] != ref:
            raise ReferralError(ErrorCode.TAMPERED, what="view", reason="ref")
        acts = sorted(
            (_verify_shown(session, ref, one) for one in answer["acts"]), key=lambda one: (one.term, one.index)
        )
        told = [_told(session, one) for one in acts if one.accepted]
        retrievals = [
            Told(Term.of_members(one), int(one["index"]), retrieved_by=str(one["unit"]), at=int(one["time"]))
            for one in answer["records"]
            if one["kind"] == "retrieved"
        ]
        if not all(0 <= one.at <= LATEST_S for one in retrievals):
            raise ReferralError(ErrorCode.MALFORMED, reason="members")
        chronicle = fold_told([*told, *retrievals], only=_own_unit(session))
        for claim in answer["deliveries"]:
            chronicle.verify_state(str(claim["unit"]), str(claim["state"]), str(claim["head"]))
        later = tuple(_later(one) for one in answer.get("related", ()))
        if {claim["unit"] for claim in answer["deliveries"]} != set(chronicle.deliveries):
            raise ReferralError(ErrorCode.TAMPERED, what="view", reason="deliveries")
    except (LookupError, TypeError, ValueError, AttributeError):
        raise ReferralError(ErrorCode.MALFORMED, reason="members") from None
    relation, rules = _relation(session, chronicle), _verify_rules(session, answer.get("rules"), chronicle)
    if later and relation is not Relation.SENDER:
        raise ReferralError(ErrorCode.TAMPERED, what="view", reason="related")
    standings = {unit: _standing(session, relation, acts, chronicle, unit, rules) for unit in chronicle.deliveries}
    return Referral(ref, relation, tuple(acts), chronicle, standings, tuple(retrievals), later, answer)


def _later(one: Any) -> ReferralId:
    if not isinstance(one, str) or re.fullmatch(UUID7, one) is None:
        raise ValueError("no referral's id")
    return ReferralId(one)


def _relation(session: Session, chronicle: Chronicle) -> Relation:
    party = session.profile.party
    own = chronicle.deliveries.get(party)
    state = None if own is None else own.shown_state
    return policy.relation_of(party, role_of(session, party), sender=str(chronicle.sender), state=state)


def _standing(
    session: Session, relation: Relation, acts: Sequence[ShownAct], chronicle: Chronicle, unit: str, rules: Rules
) -> Standing:
    """From the fold and the tables that the exchange itself goes by (R-70, R-80), and not from what it says."""
    role, delivery = role_of(session, session.profile.party), chronicle.deliveries[unit]
    caller = None if session.credential is None else session.keymap.find_credential(session.credential)
    asked = delivery.questions_for(session.profile.party, "" if caller is None else caller.id)
    possible = () if caller is None else fold.possible(role, delivery, asked, chronicle.deliveries)
    allowed = tuple(act for act in possible if caller is not None and policy.may(act, role, caller.kind, relation))
    submit: Any = next(one for one in acts if one.act.act is Act.SUBMIT and one.accepted).act.body
    return Standing(
        allowed,
        clockwork.dues(rules, submit.urgency, delivery),
        clockwork.purge_at(rules, submit.retention_class, delivery),
    )


def _verify_rules(session: Session, told: Any, chronicle: Chronicle) -> Rules:
    """The rules that this referral lives by: the defaults, or those of an act of the exchange from before (R-105).

    Raises TAMPERED (`rules`) for one that came later, WRONG_TYPE for another act, and as `verify_act`.
    """
    if told is None:
        return DEFAULT
    act = parse_act(str(told).encode())
    if not isinstance(act.body, RulesBody):
        raise ReferralError(ErrorCode.WRONG_TYPE, expected=Act.RULES.value)
    if act.party != EXCHANGE or act.iat >= (chronicle.submitted_at or 0):
        raise ReferralError(ErrorCode.TAMPERED, what="view", reason="rules")
    if act.aud != session.profile.issuer:
        raise ReferralError(ErrorCode.WRONG_AUDIENCE)
    kids = [signature.kid for signature in act.jws.signatures]
    seal = session.replica.seal_keys_at(act.iss, act.iat, act.iat, kids)
    verify_act(act, seal.keys, required=seal.require)
    return act.body.rules()


def _verify_shown(session: Session, ref: ReferralId, one: Mapping[str, Any]) -> ShownAct:
    act = parse_act(str(one["act"]).encode())
    if act.ref != ref:
        raise ReferralError(ErrorCode.TAMPERED, what="view", reason="ref")
    if act.aud != session.profile.issuer:
        raise ReferralError(ErrorCode.WRONG_AUDIENCE)
    term, index, at, receipt = Term.of_members(one), int(one["index"]), act.iat, None
    if one["receipt"] is not None:
        receipt = _verify_receipt(session, act, str(one["receipt"]).encode(), term, index)
        at = receipt.payload.time
    elif act.party != EXCHANGE:
        raise ReferralError(ErrorCode.RECEIPT_MISMATCH, member="absent")
    kids = [signature.kid for signature in act.jws.signatures]
    seal = session.replica.seal_keys_at(act.iss, act.iat, at, kids)
    verify_act(act, seal.keys, required=seal.require)
    return ShownAct(act, receipt, term, index, seal.kind)


def _verify_receipt(session: Session, act: RawAct, raw: bytes, term: Term, index: int) -> Receipt:
    issuer = session.profile.issuer
    receipt = verify_exchange_receipt(raw, session.keymap)
    match_receipt(receipt, act=act.digest, act_id=act.id, sub=act.iss, ref=act.ref, unit=act.unit)
    place = receipt.payload.log
    # The order of everything follows from the places, so they are the receipts' and not the view's.
    if (place.origin, place.index) != (issuer_origin(issuer, term.log), index):
        raise ReferralError(ErrorCode.RECEIPT_MISMATCH, member="log")
    if act.iat > receipt.payload.time + SKEW_S or receipt.payload.time > LATEST_S:
        raise ReferralError(ErrorCode.RECEIPT_MISMATCH, member="time")
    return receipt


def _told(session: Session, shown: ShownAct) -> Told:
    event = event_of(shown.act, role_of(session, shown.act.party), shown.at)
    return Told(shown.term, shown.index, event=event, kind=shown.kind, receipt=shown.receipt)


def role_of(session: Session, party: str) -> Role:
    """The role in which a party acts, as the keys log has it. Raises KEY_NOT_VALID (`unknown`)."""
    if party == EXCHANGE:
        return Role.EXCHANGE
    found = session.keymap.find_party(party)
    if found is None:
        raise ReferralError(ErrorCode.KEY_NOT_VALID, reason="unknown", party=party)
    return found.role


def _own_unit(session: Session) -> str | None:
    party = session.profile.party
    return party if role_of(session, party) is Role.POLICE_UNIT else None
