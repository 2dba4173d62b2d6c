"""Reads that must be on the record: a referral's acts, its bundle, what went sealed beside an act (R-52, R-54, R-66).

Each is a `RecordedRead`: the record that this credential was handed this is durable before the first byte leaves, and a
unit's first retrieval moves its delivery in the same transaction. Their answers hold no proof, so they are given even
while the log's signer fails, or the log is closed. Visibility is that of policy.SEES.

Must never: hand out anything before its record is durable, or tell a unit of another unit.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from referral_api.auditlog.evidence import passed_on
from referral_api.auditlog.records import Retrieved, Viewed, encode_salt, parse_record
from referral_api.domain import clockwork, fold, lifecycle, policy
from referral_api.domain.deliveries import Delivery
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.policy import Read, Relation, Viewer
from referral_api.domain.rules import Rules
from referral_api.domain.words import Act, Role, State
from referral_api.formats.act import RawAct, parse_act
from referral_api.server.service.callers import Caller
from referral_api.server.service.exchange import Exchange, Ruling
from referral_api.server.service.recorded import RecordedRead, Shown
from referral_api.server.storage import logbook, queries
from referral_api.server.storage.database import Connection
from referral_api.server.storage.queries import Referral, StoredAct


@dataclass(frozen=True, slots=True)
class Access:
    """What a caller is to a referral, once it may know of it at all."""

    referral: Referral
    deliveries: dict[str, Delivery]
    relation: Relation
    caller: Caller
    path: Sequence[RawAct] = ()
    """The transfers and approvals by which the referral reached the caller's unit, which it may see too (R-62)."""

    def sees(self, act: StoredAct) -> bool:
        """Whether this caller may see an act of the referral; a refused one is its issuer's and the auditors'."""
        if act.outcome != "accepted" and self.caller.role is not Role.AUDITOR:
            return act.party == self.caller.party
        own = act.unit in (None, self.caller.party) or any(step.digest == act.digest for step in self.path)
        return policy.may_see(act.act, viewer=_VIEWERS[self.caller.role], own_delivery=own)

    def shown(self) -> list[Delivery]:
        """The deliveries this caller may see: a unit its own, the sender and auditors all."""
        if self.caller.role is Role.POLICE_UNIT:
            return [self.deliveries[self.caller.party]]
        return [self.deliveries[unit] for unit in sorted(self.deliveries)]


ADDS_REFERRAL = frozenset({Act.SUPPLEMENT, Act.TRANSFER, Act.REWRAP})
"""Acts beside which the referral itself travels, or a part of it."""
_VIEWERS = {Role.HOTLINE: Viewer.SENDER, Role.POLICE_UNIT: Viewer.UNIT, Role.AUDITOR: Viewer.AUDITOR}


def access(conn: Connection, ref: str, caller: Caller, action: Read) -> Access:
    """The caller's access to a referral for `action`.

    Raises NOT_FOUND for a referral that is not the caller's, exactly as for one that does not exist (R-51).
    """
    referral = queries.find_referral(conn, ref)
    if referral is None or caller.role not in _VIEWERS:
        raise ReferralError(ErrorCode.NOT_FOUND)
    deliveries = queries.deliveries_of(conn, ref)
    own = deliveries.get(caller.party)
    relation = policy.relation_of(
        caller.party, caller.role, sender=referral.sender, state=None if own is None else own.shown_state
    )
    policy.demand(action, caller.role, caller.kind, relation)
    path = path_to(conn, ref, caller.party) if caller.role is Role.POLICE_UNIT else ()
    return Access(referral, deliveries, relation, caller, path)


class BundleRead(RecordedRead[bytes]):
    """Hand out the bundle that a delivery was sealed with: the submit's, or after a transfer the forwarded one."""

    def __init__(self, exchange: Exchange, ref: str, caller: Caller) -> None:
        self._exchange = exchange
        self._ref = ref
        self._caller = caller

    def show(self, conn: Connection, now: int, *, fetched: Container[tuple[str, str]] = ()) -> Shown[bytes]:  # noqa: ARG002
        """The exact text, its record, and the delivery that its first retrieval moves."""
        caller = self._caller
        granted = access(conn, self._ref, caller, Read.BUNDLE)
        own = granted.deliveries.get(caller.party)
        if own is not None and (own.state not in lifecycle.SERVED or own.purged_at is not None):
            raise _absent([own])
        brought = granted.referral.submit_digest if own is None else brought_by(conn, self._ref, own.unit)
        text = queries.find_sealed(conn, brought)
        digest = queries.sealed_digest(conn, brought)
        if text is None or digest is None:
            raise _absent([own] if own is not None else granted.deliveries.values())
        record = Retrieved(
            t=now,
            salt=encode_salt(self._exchange.token_bytes(16)),
            party=caller.party,
            credential=caller.credential,
            ref=self._ref,
            unit=None if own is None else own.unit,
            sealed="bundle",
            act=brought,
            digest=digest,
        )
        return Shown(text, record, own if own is not None and own.retrieved_at is None else None)


def _absent(deliveries: Iterable[Delivery]) -> ReferralError:
    """Why ciphertext is not handed out to somebody who may know of it: where it was purged, and when, that is said."""
    purged = [one.purged_at for one in deliveries if one.state is not State.HELD]
    if not purged or not all(purged):
        return ReferralError(ErrorCode.NOT_FOUND)
    return ReferralError(ErrorCode.NOT_FOUND, reason="purged", purged_at=max(at or 0 for at in purged))


def brought_by(conn: Connection, ref: str, unit: str) -> str:
    """Digest of the act beside which a unit's bundle travelled: the transfer whose approval brought it in, or the
    submit. Proposals that nobody approved count for nothing. Raises NOT_FOUND for a referral that does not exist.
    """
    referral = queries.find_referral(conn, ref)
    if referral is None:
        raise ReferralError(ErrorCode.NOT_FOUND)
    transfers = [act.digest for act in path_to(conn, ref, unit) if act.act is Act.TRANSFER]
    return transfers[0] if transfers else referral.submit_digest


def path_to(conn: Connection, ref: str, unit: str) -> Sequence[RawAct]:
    """The accepted transfers and approvals by which a referral reached a unit, newest first; mostly there are none."""
    transfers = queries.acts_of_kind(conn, ref, Act.TRANSFER)
    if not transfers:
        return ()
    stored = sorted((*transfers, *queries.acts_of_kind(conn, ref, Act.APPROVE)), key=lambda act: act.pos)
    accepted = [parse_act(act.jws.encode("ascii")) for act in stored if act.outcome == "accepted"]
    return passed_on(unit, accepted)


class SealedRead(RecordedRead[bytes]):
    """Hand out what went sealed beside one act that the caller may see.

    What holds the referral or a part of it, a unit gets where it gets the bundle, and after it. Else it could read on
    in what was withdrawn, or read it before its retrieval is on the record.
    """

    def __init__(self, exchange: Exchange, ref: str, digest: str, caller: Caller) -> None:
        self._exchange = exchange
        self._ref = ref
        self._digest = digest
        self._caller = caller

    def show(self, conn: Connection, now: int, *, fetched: Container[tuple[str, str]] = ()) -> Shown[bytes]:
        """The exact text and its record."""
        granted = access(conn, self._ref, self._caller, Read.SEALED)
        act = queries.find_act_by_digest(conn, self._digest)
        if act is None or act.ref != self._ref or not granted.sees(act) or act.act is Act.SUBMIT:
            raise ReferralError(ErrorCode.NOT_FOUND)
        own = granted.deliveries.get(self._caller.party)
        has_bundle = own is None or (
            own.state in lifecycle.SERVED
            and own.purged_at is None
            and (own.retrieved_at is not None or (self._ref, own.unit) in fetched)
        )
        if act.act in ADDS_REFERRAL and not has_bundle:
            raise _absent([] if own is None else [own])
        text = queries.find_sealed(conn, self._digest)
        digest = queries.sealed_digest(conn, self._digest)
        if text is None or digest is None:
            concerned = [one for one in granted.shown() if act.unit in (None, one.unit)]
            raise _absent(concerned if digest is not None else [])
        record = Retrieved(
            t=now,
            salt=encode_salt(self._exchange.token_bytes(16)),
            party=self._caller.party,
            credential=self._caller.credential,
            ref=self._ref,
            unit=self._caller.party if self._caller.role is Role.POLICE_UNIT else None,
            sealed="beside",
            act=self._digest,
            digest=digest,
        )
        return Shown(text, record)


class ViewRead(RecordedRead[Caller]):
    """Record that a referral is shown to a caller (R-54). Whoever asked builds the view itself afterwards."""

    def __init__(self, exchange: Exchange, ref: str, caller: Caller) -> None:
        self._exchange = exchange
        self._ref = ref
        self._caller = caller

    def show(self, conn: Connection, now: int, *, fetched: Container[tuple[str, str]] = ()) -> Shown[Caller]:  # noqa: ARG002
        """The view's record, for a caller who may have it."""
        access(conn, self._ref, self._caller, Read.REFERRAL)
        record = Viewed(
            t=now,
            salt=encode_salt(self._exchange.token_bytes(16)),
            party=self._caller.party,
            credential=self._caller.credential,
            ref=self._ref,
        )
        return Shown(self._caller, record)


def build_view(conn: Connection, ref: str, caller: Caller, ruling: Ruling) -> dict[str, Any]:
    """The acts this party may see, verbatim, with receipts and computed states (R-54), all as of one moment.

    `conn` reads a snapshot. Raises NOT_FOUND as `access`.
    """
    granted = access(conn, ref, caller, Read.REFERRAL)
    acts = [act for act in queries.acts_of(conn, ref) if granted.sees(act)]
    later = queries.later_referrals(conn, caller.party, ref) if granted.relation is Relation.SENDER else []
    return {
        "ref": ref,
        "relation": granted.relation.value,
        "urgency": granted.referral.urgency.value,
        "rules": ruling.act_at(granted.referral.created_at),
        "deliveries": [
            _delivery(granted, delivery, ruling.book.at(granted.referral.created_at)) for delivery in granted.shown()
        ],
        "acts": [_shown_act(conn, act) for act in acts],
        "records": _retrievals(conn, granted),
        "related": later,
    }


def _shown_act(conn: Connection, act: StoredAct) -> dict[str, Any]:
    term, index = logbook.term_index(act.pos)
    return {
        "act": act.jws,
        "receipt": act.receipt,
        **term.members(),
        "index": index,
        "sealed": queries.sealed_digest(conn, act.digest),
    }


def _delivery(granted: Access, delivery: Delivery, rules: Rules) -> dict[str, Any]:
    due = clockwork.due(rules, granted.referral.urgency, delivery)
    return {
        "unit": delivery.unit,
        "role": delivery.role.value,
        "state": delivery.state.value,
        "head": delivery.head,
        "due": None if due is None else {"clock": due.clock.value, "due_at": due.due_at},
        "allowed": [act.value for act in allowed_acts(granted, delivery)],
        "investigation": list(delivery.investigation),
        "retrieved_at": delivery.retrieved_at,
        "taken": delivery.taken,
        "holds": [{"party": party, "review_at": review_at} for party, review_at in delivery.holds],
        "purge_at": clockwork.purge_at(rules, granted.referral.retention, delivery),
        "purged_at": delivery.purged_at,
        # Whom the hotline must telephone is no business of the unit, as an open question neither.
        "open": [
            {"act": q.act.value, "digest": q.digest}
            for q in delivery.questions
            if policy.may_see(q.act, viewer=_VIEWERS[granted.caller.role], own_delivery=True)
        ],
    }


def allowed_acts(granted: Access, delivery: Delivery) -> list[Act]:
    """What this caller may do next on a delivery: the lifecycle's moves that policy grants to this very credential."""
    caller = granted.caller
    asked = delivery.questions_for(caller.party, caller.credential)
    possible = fold.possible(caller.role, delivery, asked, granted.deliveries)
    return [act for act in possible if policy.may(act, caller.role, caller.kind, granted.relation)]


def _retrievals(conn: Connection, granted: Access) -> list[dict[str, Any]]:
    shown: list[dict[str, Any]] = []
    for stored in queries.records_of(conn, granted.referral.ref, ("retrieved",)):
        record = parse_record(stored.body.encode("ascii"))
        if not isinstance(record, Retrieved) or record.sealed != "bundle" or record.unit is None:
            continue
        if granted.caller.role is Role.POLICE_UNIT and record.unit != granted.caller.party:
            continue
        term, index = logbook.term_index(stored.pos)
        shown.append({"kind": record.kind, "unit": record.unit, "time": record.t, **term.members(), "index": index})
    return shown
