"""Acts of ours whose receipts stand in leaves that the exchange has lost: kept as evidence, and sent again.

The same bytes go the ordinary way and get another receipt in the next term. An act that builds on another one waits
until that one is there again, for else the exchange would refuse it for good.

Must never: queue anything again without a person's word (`client/losses.py`), or throw a receipt away.

Implements: R-94, R-97; docs/decisions/0022.
"""

from __future__ import annotations

from dataclasses import dataclass

from referral_api.auditlog.losses import LostLog
from referral_api.client import losses
from referral_api.client.outbox import Entry, Outbox, Progress
from referral_api.client.profile import write_private
from referral_api.client.session import Session
from referral_api.client.view import fetch_referral
from referral_api.domain import lifecycle
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Act, Nature
from referral_api.formats.act import RawAct, parse_act
from referral_api.formats.bodies import sealed_of
from referral_api.formats.receipt import parse_receipt
from referral_api.formats.strict_json import canonical


@dataclass(frozen=True, slots=True)
class Loss:
    """A log that has lost leaves, our own acts among them, and whether somebody here has agreed to that."""

    log: LostLog
    own: tuple[Entry, ...]
    agreed: bool


def find(session: Session, outbox: Outbox) -> list[Loss]:
    """Every loss of a log that we have seen. Raises as `losses.found`."""
    return [
        Loss(one, tuple(lost_of(outbox, one)), losses.find_agreed(session, one.origin) is not None)
        for one in losses.found(session)
    ]


def lost_of(outbox: Outbox, lost: LostLog) -> list[Entry]:
    """Our accepted acts whose receipts stand in what was lost, oldest first."""
    found: list[Entry] = []
    for entry in outbox.entries():
        if entry.receipt is None or entry.state in (Progress.REFUSED, Progress.PURGED):
            continue
        place = parse_receipt(entry.receipt).payload.log
        if place.origin == lost.origin and place.index >= lost.kept:
            found.append(entry)
    return found


def accept(session: Session, outbox: Outbox, lost: LostLog) -> list[Entry]:
    """A person agrees to a loss: keep the receipts in it as evidence, and queue their acts again; the entries.

    What was purged is not sent again, nor what was said on a referral whose bundle was: those come back `purged`.
    Raises INCONSISTENT as `losses.agree`; then nothing has been changed.
    """
    losses.agree(session, lost)
    settled: list[Entry] = []
    own = lost_of(outbox, lost)
    over = {entry.outgoing.ref for entry in own if entry.outgoing.act is Act.SUBMIT and is_purged(entry)}
    for entry in own:
        if entry.receipt is None or entry.proof is None:
            continue
        document = {
            "v": 1,
            "act": entry.outgoing.jws.decode(),
            "receipt": entry.receipt.decode(),
            "proof": entry.proof.decode(),
        }
        session.directory.lost.mkdir(mode=0o700, exist_ok=True)
        write_private(session.directory.lost / f"{entry.outgoing.id}.json", canonical(document))
        if is_purged(entry) or entry.outgoing.ref in over:
            settled.append(outbox.abandon(entry.outgoing.id, entry.receipt))
        else:
            settled.append(outbox.lose(entry.outgoing.id, entry.receipt, session.ambient.now()))
    return settled


def is_purged(entry: Entry) -> bool:
    """Whether something travelled sealed beside an act that is not here any more (R-107)."""
    outgoing = entry.outgoing
    if outgoing.beside is not None or outgoing.ref is None:
        return False
    return sealed_of(parse_act(outgoing.jws).body) is not None


def may_follow(session: Session, entry: Entry) -> bool:
    """Whether what an act builds on is at the exchange; asked only of acts that are sent again after a loss."""
    outgoing = entry.outgoing
    is_again = (session.directory.lost / f"{outgoing.id}.json").exists()
    if not is_again or outgoing.ref is None or outgoing.act is Act.SUBMIT:
        return True
    try:
        shown = fetch_referral(session, outgoing.ref)
    except ReferralError as error:
        if error.code is not ErrorCode.NOT_FOUND:
            raise
        return False
    act = parse_act(outgoing.jws)
    there = {one.act.digest for one in shown.acts if one.accepted}
    if act.digest in there or act.prev is None:
        return True
    delivery = None if act.unit is None else shown.chronicle.deliveries.get(act.unit)
    return act.prev in there and (not _decides(act) or (delivery is not None and delivery.head == act.prev))


def _decides(act: RawAct) -> bool:
    return lifecycle.NATURE[act.act] is Nature.DECISION
