"""On which lists a delivery stands: whose turn it is, and what for (design §10; rule "no state is on no worklist").

Derived from the same state and questions that the lifecycle goes by, so that a state nobody thought of cannot hide a
referral: whoever is to do something finds it on a list of things to do, the other side among what it waits for.

Must never: leave a delivery on no list, or show a unit what is held for it.

Clause: docs/protocol.md R-70.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from referral_api.domain import deliveries
from referral_api.domain.deliveries import Delivery
from referral_api.domain.words import Act, DeliveryRole, Role, State

S = State


class Worklist(StrEnum):
    """Lists of a party's deliveries. The first ones ask for something, the last ones tell where the rest is."""

    TELEPHONE = "telephone"
    TELL = "tell"
    """Of a hotline: this unit lacks what others were told, or was not told that consent is withdrawn (R-73, R-110)."""
    READ = "read"
    ANSWER = "answer"
    DECIDE = "decide"
    REPORT = "report"
    READDRESS = "readdress"
    CLOSE = "close"
    """Of a hotline: another referral has taken its place, and it is to be closed."""
    WAITING = "waiting"
    STANDING_BY = "standing_by"
    ENDED = "ended"
    FORGOTTEN = "forgotten"


TO_DO = frozenset(
    {
        *(Worklist.TELEPHONE, Worklist.TELL, Worklist.READ, Worklist.ANSWER, Worklist.DECIDE, Worklist.REPORT),
        *(Worklist.READDRESS, Worklist.CLOSE),
    }
)
"""Lists whose entries wait for this very party."""
OVER = frozenset({Worklist.ENDED, Worklist.FORGOTTEN})
"""Lists of what neither side has anything to do with any more."""
_READDRESS = frozenset({S.RECEIPT_FAILED, S.DECLINED, S.EXPIRED})
_UNIT_READS = frozenset({S.SUBMITTED, S.RETRIEVED, S.RECEIPT_FAILED, S.EXPIRED})
_ENDED = frozenset({S.DECLINED, S.TRANSFERRED, S.CLOSED, S.WITHDRAWN})


def worklists(by: Role, party: str, delivery: Delivery) -> frozenset[Worklist]:
    """The lists on which a party finds a delivery: its sender (`by` hotline) or its unit. Empty only where the unit
    must not know of it (R-63). Who has something to `TELL` follows from the acts, and not from one delivery.
    """
    found = set[Worklist]()
    if by is Role.HOTLINE:
        found |= _of_sender(delivery)
    elif delivery.submitted_at is None:
        return frozenset()
    else:
        found |= _of_unit(delivery)
    if delivery.state is not S.PURGED and any(_is_for(one, by, party) for one in delivery.questions):
        found.add(Worklist.ANSWER)
    return frozenset(found)


def superseded(lists: Iterable[Worklist]) -> frozenset[Worklist]:
    """The same of a delivery that nobody acts on, and in whose place another referral stands: nobody else is looked for
    or telephoned, and it is to be closed.
    """
    found = frozenset(lists)
    gone = frozenset({Worklist.READDRESS, Worklist.TELEPHONE})
    return found - gone | {Worklist.CLOSE} if Worklist.READDRESS in found else found


def _is_for(question: deliveries.Question, by: Role, party: str) -> bool:
    """Whether the party is to answer: what the exchange asks, the hotline is, and on a list of its own."""
    if question.act is Act.TELEPHONE_NOW:
        return False
    if question.act is Act.PURGE_REQUEST:
        return True  # Whoever did not ask, on either side, may agree.
    return question.asker.partition(".")[0] != party and (by is Role.HOTLINE or question.act is not Act.TRANSFER)


def _of_sender(delivery: Delivery) -> set[Worklist]:
    state = delivery.state
    if state is S.PURGED:
        return {Worklist.FORGOTTEN}
    found = {Worklist.TELEPHONE} if Act.TELEPHONE_NOW in delivery.open_questions else set[Worklist]()
    if state is S.HELD:
        return found | {Worklist.STANDING_BY}
    if state in _READDRESS and delivery.role is not DeliveryRole.INFORMATION:
        return found | {Worklist.READDRESS}
    # Nobody is looked for in the place of who was only to know of it, and who may read it still.
    # Who was only to know of it has read it, and owes nothing more.
    has_read = delivery.role is DeliveryRole.INFORMATION and state is S.ACKNOWLEDGED
    is_owed = bool(delivery.open_questions & deliveries.NOTICES)
    return found | {Worklist.ENDED if (state in _ENDED or has_read) and not is_owed else Worklist.WAITING}


def _of_unit(delivery: Delivery) -> set[Worklist]:
    state = delivery.state
    if state is S.PURGED:
        return {Worklist.FORGOTTEN}
    if state is S.EXPIRED and delivery.acknowledged_at is not None:
        return {Worklist.WAITING}  # Read late: what becomes of it, the hotline says.
    if state in _UNIT_READS:
        return {Worklist.READ}
    if state in _ENDED or delivery.role is DeliveryRole.INFORMATION:
        return {Worklist.ENDED}
    if Act.TRANSFER in delivery.open_questions:
        return {Worklist.WAITING}
    if state is S.ACKNOWLEDGED and delivery.is_anothers:
        return {Worklist.STANDING_BY}  # Until it is given back; beside the one that took it, only with a reason.
    if state is S.ACKNOWLEDGED:
        return {Worklist.DECIDE}
    return {Worklist.ANSWER if state is S.WITHDRAWAL_NOTIFIED else Worklist.REPORT}
