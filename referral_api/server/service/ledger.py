"""What an act leaves behind in the writer's transaction: its rows, its leaf, its receipt, lines in inboxes (step 9).

The receipt is signed here, before COMMIT, because it names the leaf's index; the writer lets it out only afterwards.

Must never: judge, or write anything for an act that was not judged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from referral_api.auditlog.leaf import LeafKind
from referral_api.auditlog.records import Retrieved
from referral_api.domain import clockwork, deliveries, fold, lifecycle, policy
from referral_api.domain.clockwork import Situation
from referral_api.domain.deliveries import Delivery
from referral_api.domain.errors import ErrorCode
from referral_api.domain.fold import Event
from referral_api.domain.rules import Rules
from referral_api.domain.words import Act, KeyUse, Role, State, Urgency
from referral_api.formats.act import RawAct
from referral_api.formats.bundle import SealedBundle
from referral_api.formats.receipt import build_receipt
from referral_api.formats.strict_json import canonical
from referral_api.server.service.batch import Batch, Place
from referral_api.server.service.exchange import Exchange
from referral_api.server.storage import alarms, feeds, queries, refusals
from referral_api.server.storage.feeds import FeedEntry
from referral_api.server.storage.queries import Referral, StoredAct


@dataclass(frozen=True, slots=True)
class Entry:
    """An act ready to be stored. `states` are what its issuer may see of the deliveries after it."""

    act: RawAct
    carrier: str | None
    sealed: SealedBundle | None
    states: Sequence[Delivery]
    code: ErrorCode | None = None


def store(batch: Batch, exchange: Exchange, entry: Entry) -> tuple[Place, str]:
    """Append the act's leaf, sign its one receipt, store act and sealed text; (place, receipt text)."""
    act = entry.act
    place = batch.append_record(LeafKind.ERASE if act.act is Act.ERASE else LeafKind.ACT, act.jws.raw)
    receipt = build_receipt(
        iss=exchange.issuer,
        act=act.digest,
        act_id=act.id,
        sub=act.iss,
        carrier=entry.carrier,
        ref=act.ref,
        unit=act.unit,
        time=batch.now,
        code=entry.code,
        states=[(d.unit, d.state.value, d.head) for d in entry.states],
        origin=exchange.origin(place.log),
        index=place.index,
        signer=exchange.keyring.signer(KeyUse.RECEIPT, batch.now),
    ).decode("ascii")
    stored = act_row(act, place, receipt, code=entry.code, carrier=entry.carrier, received_at=batch.now)
    queries.insert_act(batch.tx, stored)
    batch.remember_act(stored)
    if entry.sealed is not None and entry.code is None:
        queries.insert_sealed(batch.tx, place.pos, entry.sealed.sha256, entry.sealed.raw)
    return place, receipt


def store_refused(batch: Batch, exchange: Exchange, entry: Entry, facts: Mapping[str, Any]) -> tuple[Place, str]:
    """The same for a final refusal, with what its answer says beside the receipt: who sends the act again is told the
    same (R-14, R-17).
    """
    place, receipt = store(batch, exchange, entry)
    if facts:
        refusals.insert_refusal(batch.tx, place.pos, canonical(dict(facts)).decode("ascii"))
    return place, receipt


def act_row(
    act: RawAct, place: Place, receipt: str, *, code: ErrorCode | None, carrier: str | None, received_at: int
) -> StoredAct:
    """An act as it is stored, whether it has just come or comes back from a mirror; `code` where it was refused."""
    return StoredAct(
        pos=place.pos,
        digest=act.digest,
        iss=act.iss,
        id=act.id,
        party=act.party,
        act=act.act,
        ref=act.ref,
        unit=act.unit,
        prev=act.prev,
        jws=act.jws.raw.decode("ascii"),
        outcome="accepted" if code is None else "refused",
        code=None if code is None else code.value,
        receipt=receipt,
        carrier=carrier,
        received_at=received_at,
    )


def new_referral(submit: RawAct, at: int, excluded: frozenset[str]) -> Referral:
    """What the exchange keeps of a referral, from its submit act and the route act beside it."""
    body: Any = submit.body
    earlier = None if body.relation is None else str(body.relation.ref)
    ref, kept = str(submit.ref), body.retention_class
    return Referral(ref, submit.party, body.urgency, submit.digest, at, excluded, kept, earlier)


@dataclass(frozen=True, slots=True)
class Change:
    """An accepted act with what it changes: `before` are all deliveries of the referral as they were (none of a
    submit), `changed` those that are different now.
    """

    event: Event
    act: RawAct
    referral: Referral
    before: Mapping[str, Delivery]
    changed: Mapping[str, Delivery]
    place: Place


def carry_out(batch: Batch, rules: Rules, change: Change) -> None:
    """What an accepted act does to deliveries, clocks and inboxes, whether it has just come or comes back from a
    mirror. `rules` are those that the referral was submitted under.
    """
    event, act, referral, place = change.event, change.act, change.referral, change.place
    before, changed = change.before, change.changed
    for unit, after in changed.items():
        seen = before.get(unit)
        if seen is None:
            queries.insert_delivery(batch.tx, referral.ref, after)
            announce_delivery(batch, act, referral, after, place)
        elif not queries.swap_delivery(batch.tx, referral.ref, seen, after):
            raise RuntimeError("a delivery changed under the log's lock")
    situation = Situation(referral.urgency, referral.retention, {**before, **changed})
    alarms.set_alarm(batch.tx, referral.ref, clockwork.wakes_at(rules, situation), is_new=not before)
    if not before:
        feeds.insert_feed(batch.tx, sent_line(act, referral, place.pos, batch.now))
        batch.wake.add(referral.sender)
        return
    settle(batch, event, referral, changed)
    announce(batch, event, act, referral, {u: d for u, d in before.items() if u in changed}, place)


def announce(
    batch: Batch, event: Event, act: RawAct, referral: Referral, before: Mapping[str, Delivery], place: Place
) -> None:
    """Put the act into the inboxes of the parties that may see it, their own acts excepted (R-55, R-62)."""
    lines = lines_of(event, act.id, referral, before, place.pos)
    for line in lines:
        feeds.insert_feed(batch.tx, line)
    batch.wake.update(line.party for line in lines)
    batch.urgent.update(line.party for line in lines if is_urgent(line))


def announce_delivery(batch: Batch, act: RawAct, referral: Referral, delivery: Delivery, place: Place) -> None:
    """Put a new delivery into its unit's inbox, pending until it is acknowledged; a held one is in no inbox (R-63)."""
    line = delivery_line(act, referral, delivery, place.pos, batch.now)
    if line is not None:
        feeds.insert_feed(batch.tx, line)
        batch.wake.add(delivery.unit)
        batch.urgent.update({line.party} if is_urgent(line) else ())


def settle(batch: Batch, event: Event, referral: Referral, changed: Mapping[str, Delivery]) -> None:
    """Take from the inboxes what this act answers: at the units it changed, and at the sender for those units."""
    for party in (referral.sender, *sorted(changed)):
        pending = feeds.pending_of(batch.tx, referral.ref, party)
        feeds.settle_feed(batch.tx, party, [line.pos for line in pending if answers(event, line, changed)])


# What inboxes hold, as functions of the acts alone: the audit of the database computes it again (service/reckoning).


def lines_of(
    event: Event, act_id: str, referral: Referral, before: Mapping[str, Delivery], pos: int
) -> list[FeedEntry]:
    """The inbox lines of an act on deliveries that exist; `before` are those that it changed, as they were."""
    return [
        FeedEntry(
            party=party,
            pos=pos,
            act_digest=event.digest,
            act_id=act_id,
            kind=event.act.value,
            ref=referral.ref,
            unit=unit,
            sender=event.party,
            urgency=referral.urgency.value,
            at=event.at,
            answered_by=frozenset(kind.value for kind in answered_by),
            pending=bool(answered_by),
        )
        for party, unit, answered_by in _readers(event, referral, before)
    ]


def delivery_line(act: RawAct, referral: Referral, delivery: Delivery, pos: int, at: int) -> FeedEntry | None:
    """The line of a new delivery at its unit; None while it is held."""
    if delivery.state is State.HELD:
        return None
    return _new_line(act, referral, pos, at, party=delivery.unit, unit=delivery.unit, asks=lifecycle.SUBMIT_ANSWERED_BY)


def sent_line(act: RawAct, referral: Referral, pos: int, at: int) -> FeedEntry:
    """The sender's line of its own submission: what one workstation sent, a colleague's must know of at once (R-55)."""
    return _new_line(act, referral, pos, at, party=referral.sender, unit=None, asks=frozenset())


def _new_line(
    act: RawAct, referral: Referral, pos: int, at: int, *, party: str, unit: str | None, asks: frozenset[Act]
) -> FeedEntry:
    return FeedEntry(
        party=party,
        pos=pos,
        act_digest=act.digest,
        act_id=act.id,
        kind=act.act.value,
        ref=referral.ref,
        unit=unit,
        sender=act.party,
        urgency=referral.urgency.value,
        at=at,
        answered_by=frozenset(kind.value for kind in asks),
        pending=bool(asks),
    )


def retrieval_line(referral: Referral, record: Retrieved, pos: int) -> FeedEntry:
    """The sender's line of a first retrieval: "downloaded" is not yet "read", and both are worth knowing."""
    return FeedEntry(
        party=referral.sender,
        pos=pos,
        act_digest=record.act,
        act_id=None,
        kind="retrieved",
        ref=referral.ref,
        unit=record.unit,
        sender=record.unit,
        urgency=referral.urgency.value,
        at=record.t,
        answered_by=frozenset(),
        pending=False,
    )


def is_urgent(line: FeedEntry) -> bool:
    """Whether this line asks for something in an emergency: then whoever is to be woken is woken at once (R-109)."""
    return line.pending and line.urgency == Urgency.EMERGENCY.value


def answers(event: Event, line: FeedEntry, changed: Mapping[str, Delivery]) -> bool:
    """Whether an act that left these deliveries so is what a pending line waits for, or lets nobody answer any more."""
    if line.unit is not None and line.unit in changed and _has_left(line, changed[line.unit].state):
        return True
    falls = line.unit is not None and line.kind in deliveries.NOTICES | {Act.TELEPHONE_NOW, Act.TRANSFER}
    concerned = changed.get(line.unit or "") if falls else None
    if concerned is not None and not _is_open(line, concerned):
        return True  # It fell: nobody had what was taken back, the delivery has ended, the proposed bundle has gone.
    return (
        event.act.value in line.answered_by
        and (line.unit is None or line.unit in changed)
        and (event.question is None or line.act_digest == event.question)
    )


def _has_left(line: FeedEntry, state: State) -> bool:
    """Whether the delivery is no more as it was when the line asked for something."""
    states = lifecycle.waits_while(Act(line.kind), frozenset(map(Act, line.answered_by)))
    return state is State.PURGED or (states is not None and state not in states)


def _is_open(line: FeedEntry, delivery: Delivery) -> bool:
    return any(question.digest == line.act_digest for question in delivery.questions)


def _readers(
    event: Event, referral: Referral, before: Mapping[str, Delivery]
) -> list[tuple[str, str | None, frozenset[Act]]]:
    """(party, unit, acts that answer it) for every party that gets a line."""
    readers: list[tuple[str, str | None, frozenset[Act]]] = []
    concerned = [d for d in before.values() if event.unit in (None, d.unit)]
    if event.party != referral.sender and policy.may_see(event.act, viewer=policy.Viewer.SENDER, own_delivery=True):
        asked = frozenset[Act]().union(*(_answered_by(event, d, Role.HOTLINE) for d in concerned))
        readers.append((referral.sender, event.unit, asked))
    if policy.may_see(event.act, viewer=policy.Viewer.UNIT, own_delivery=True):
        readers += [
            (d.unit, d.unit, _answered_by(event, d, Role.POLICE_UNIT))
            for d in concerned
            if d.unit != event.party and (d.shown_state in lifecycle.REACHED or event.act is Act.RELEASED)
        ]
    return readers


def _answered_by(event: Event, delivery: Delivery, reader: Role) -> frozenset[Act]:
    if lifecycle.WAITS_AT.get(event.act, reader) is not reader or fold.is_moot(event.act, delivery):
        return frozenset()
    source = fold.source_of(event.act, delivery)
    move = lifecycle.find_move(event.act, event.by, source, open_questions=delivery.open_questions, code=event.code)
    return frozenset() if move is None else move.answered_by
