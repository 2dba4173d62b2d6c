"""What may be done next with a referral, as whole commands: the table of verbs by side and act, and the hints after it.

Everything follows from the folded state and the open questions, by the lifecycle's own table; so what is offered is
never refused for the state that was looked at.

Must never: offer what the lifecycle or the rights refuse, or leave somebody who is owed an answer without a command.

Implements: R-54 (`allowed`), R-70, R-110; design §7, §10.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from referral_api.cli.output import Screen
from referral_api.client import consented, handed_on, passing, phoned
from referral_api.client.view import Referral
from referral_api.domain import deliveries, fold, lifecycle, policy
from referral_api.domain.deliveries import Delivery
from referral_api.domain.policy import Relation
from referral_api.domain.words import Act, CredentialKind, DeliveryRole, Role, State

PENDING: Final = "referral inbox list --pending"
"""What comes next where this referral asks for nothing more."""
WATCH: Final = "referral inbox watch"
_AWAITED = lifecycle.UNREAD | lifecycle.WORKING | {State.WITHDRAWAL_NOTIFIED}
"""States in which the next step is the unit's."""
_FALLEN = frozenset({State.DECLINED, State.EXPIRED, State.RECEIPT_FAILED})
"""States after which the hotline must find another unit."""

_BOTH: Final[Mapping[Act, str]] = {
    Act.NOTE: "note {ref} {file}",
    Act.ASK: "ask {ref} --topic {code}",
    Act.ANSWER: "answer {ref} --reply {code}",
    Act.APPROVE: "approve {ref}",
    Act.CLOSE: "close {ref} --outcome {code}",
    Act.REOPEN: "reopen {ref} --reason {code}",
    Act.HOLD: "hold {ref} --on --basis {code} --review-at {date}",
    Act.PURGE_REQUEST: "purge {ref} --reason {code}",
}
VERBS: Final[Mapping[Role, Mapping[Act, str]]] = {
    Role.POLICE_UNIT: {
        **_BOTH,
        Act.ACK: "ack {ref}",
        Act.RECEIPT_FAILED: "receipt-failed {ref} --reason {code}",
        Act.ACCEPT: "accept {ref}",
        Act.DECLINE: "decline {ref} --reason {code}",
        Act.TRANSFER: "transfer {ref} --to {unit} --reason {code}",
        Act.STATUS: "status {ref} --to {code}",
        Act.WITHDRAWAL_ANSWER: "answer-notice {ref} --reply {code}",
        Act.REWRAP: "keys rewrap {ref}",
    },
    Role.HOTLINE: {
        **_BOTH,
        Act.DECLINE: "refuse-transfer {ref} --reason {code}",
        Act.WITHDRAW: "withdraw {ref} --reason {code}",
        Act.CONSENT_WITHDRAWN: "consent-withdrawn {ref}",
        Act.SUPPLEMENT: "supplement {ref} {file}",
        Act.PHONE_ALERT: "phone {ref} --at {time}",
        Act.RELEASED: "escalate {ref}",
    },
}
"""The verb of every act that a party makes on a delivery, by its side. Places are filled with words of the language."""
_WHOLE = frozenset({Act.CONSENT_WITHDRAWN})
"""Acts that concern every delivery, whichever they are listed under."""
_ANSWERS = (Act.WITHDRAWAL_ANSWER, Act.ANSWER, Act.APPROVE, Act.DECLINE)


def may(referral: Referral, own: Delivery, signer: str = "") -> list[Act]:
    """What this party may do on a delivery, through a person: that of `signer`, or any other.

    By the fold and the tables that the exchange goes by, whichever credential reads.
    """
    if referral.relation not in (Relation.SENDER, Relation.RECIPIENT):
        return []
    role, party = _side(referral, own)
    asked = own.questions_for(party, signer)
    return [
        act
        for act in fold.possible(role, own, asked, referral.chronicle.deliveries)
        if policy.may(act, role, CredentialKind.PERSON, referral.relation)
    ]


def commands(screen: Screen, referral: Referral, own: Delivery, signer: str = "") -> list[str]:
    """Every act that is possible on a delivery now, as the command that makes it."""
    # A late acknowledgement is recorded, and takes a bundle that the exchange serves no more.
    possible = [act for act in may(referral, own, signer) if act is not Act.ACK or own.state in lifecycle.SERVED]
    found = [command(screen, referral, act, own) for act in possible]
    return [one for one in found if one is not None]


def command(screen: Screen, referral: Referral, act: Act, own: Delivery) -> str | None:
    """The command of an act on a delivery, codes and files left to be filled in; None for an act without a verb."""
    role, _ = _side(referral, own)
    shape = VERBS[role].get(act)
    if shape is None:
        return None
    places = {name: screen.say(f"place.{name}") for name in ("code", "file", "unit", "time", "date")}
    if act is Act.ACCEPT and own.taken:
        shape += " --joint {code}"
    words = f"referral {shape.format(ref=referral.ref, **places)}"
    if role is Role.HOTLINE and act not in _WHOLE and len(referral.chronicle.deliveries) > 1:
        words += f" --unit {own.unit}"
    return words


def next_of(
    screen: Screen, referral: Referral, *, opened: bool = False, signer: str = "", replaced: bool = False
) -> list[str]:
    """What a reader of this referral does next; `opened` says that the referral itself has just been read.

    `replaced`: a later one, which verified, stands in its place (client/replacing.py); that the exchange names some as
    related says nothing.

    Deciding takes a person, whoever reads: so this goes by what the party may do, not by the credential in use.
    """
    if referral.relation is Relation.SENDER:
        return _sender(screen, referral, opened=opened, signer=signer, replaced=replaced)
    if referral.relation is not Relation.RECIPIENT:
        return ["referral audit verify"]
    # A unit sees its own delivery alone.
    own = next(iter(referral.chronicle.deliveries.values()))
    possible = may(referral, own, signer)
    owed = _owed(screen, referral, own, possible)
    if own.acknowledged_at is None and own.state in lifecycle.SERVED and Act.ACK in possible:
        # Who has read that it was taken back answers that first.
        told = owed if own.open_questions & deliveries.NOTICES else []
        return [*told, f"referral {'ack' if opened or own.state is State.RETRIEVED else 'show'} {referral.ref}"]
    decided = _decisions(screen, referral.ref, own.role, own.state, taken=own.taken)
    if own.state is State.WITHDRAWAL_NOTIFIED and owed:
        return owed
    return owed + [one for one in decided if one != PENDING] or [PENDING]


def after_ack(screen: Screen, referral: Referral) -> str:
    """What a unit does next that has acknowledged what it saw in this state; a notice that it saw is answered first."""
    own = next(iter(referral.chronicle.deliveries.values()))
    answer = command(screen, referral, Act.WITHDRAWAL_ANSWER, own) if own.open_questions & deliveries.NOTICES else None
    if answer is not None:
        return answer
    move = lifecycle.find_move(Act.ACK, Role.POLICE_UNIT, own.state)
    state = own.state if move is None or move.to is None else move.to
    return _decisions(screen, referral.ref, own.role, state, taken=own.taken)[0]


def _side(referral: Referral, own: Delivery) -> tuple[Role, str]:
    if referral.relation is Relation.SENDER:
        return Role.HOTLINE, str(referral.chronicle.sender)
    return Role.POLICE_UNIT, own.unit


def _sender(screen: Screen, referral: Referral, *, opened: bool, signer: str, replaced: bool) -> list[str]:
    deliveries = list(referral.chronicle.deliveries.values())
    if opened:
        unsaid = [one for own in deliveries for one in unsaid_to(screen, referral, own)]
        return [*dict.fromkeys(unsaid), f"referral timeline {referral.ref}"]
    asked = [one for own in deliveries for one in _asked(screen, referral, own, signer, replaced=replaced)]
    found = list(dict.fromkeys(asked))
    # Whoever declined need not be telephoned first: somebody else must have it.
    if must_readdress(referral, replaced=replaced) and (
        not found or any(one.state is State.DECLINED for one in deliveries)
    ):
        found = [*_somebody_else(screen, referral), *found]
    if found:
        return found
    if any(one.state in _AWAITED for one in deliveries):
        return [WATCH]
    # Closing what nobody ever took gives it to nobody: whether that was meant, a person knows.
    return [PENDING, _readdress(screen, referral)] if _was_never_taken(referral) and not replaced else [PENDING]


def on_delivery(
    screen: Screen, referral: Referral, own: Delivery, signer: str = "", *, replaced: bool = False
) -> list[str]:
    """What this party does next on one delivery that asks something of it.

    Of one that nobody acts on the sender finds another unit; it is closed where another referral, or another unit of
    this one, has taken its place, or the person agrees no more: until then it waits (R-110).
    """
    if referral.relation is not Relation.SENDER:
        return [one for one in next_of(screen, referral, signer=signer) if one != PENDING]
    found, acting = _asked(screen, referral, own, signer, replaced=replaced), own.role is not DeliveryRole.INFORMATION
    if own.state is State.DECLINED and acting and must_readdress(referral, replaced=replaced):
        return [*_somebody_else(screen, referral), *found]  # As in `_sender`.
    if found or own.state not in _FALLEN:
        return found
    if acting and must_readdress(referral, replaced=replaced):
        return _somebody_else(screen, referral)
    close = command(screen, referral, Act.CLOSE, own) if Act.CLOSE in may(referral, own, signer) else None
    return [] if close is None else [close]


def _asked(screen: Screen, referral: Referral, own: Delivery, signer: str, *, replaced: bool) -> list[str]:
    """What a sender is asked on one delivery: to telephone, to answer, to say to this unit what it lacks, to close what
    another referral replaced.
    """
    possible, found = may(referral, own, signer), list[str | None]()
    # Another referral has taken its place: what waits for somebody to take this one is over, and so is the call.
    over = own.state in _FALLEN and Act.CLOSE in possible and replaced
    rings = Act.TELEPHONE_NOW in own.open_questions or own.unit in phoned.unreached(referral)
    if rings and Act.PHONE_ALERT in possible and not over:
        found.append(command(screen, referral, Act.PHONE_ALERT, own))
    found += _owed(screen, referral, own, possible)
    found += _told_too(screen, referral, own, possible) + unsaid_to(screen, referral, own)
    if over:
        found.append(command(screen, referral, Act.CLOSE, own))
    return [one for one in found if one is not None]


def unsaid_to(screen: Screen, referral: Referral, own: Delivery) -> list[str]:
    """What the sender has to say to this unit still: that consent is withdrawn, or what those had been told that had
    the referral before it (R-73, R-110).
    """
    if referral.relation is not Relation.SENDER:
        return []
    if consented.is_withdrawn(referral):
        return [tell_all(referral.ref)] if own.unit in consented.untold(referral) else []
    found = handed_on.lacking(referral, own.unit)
    return [] if found is None else handed_over(screen, referral.ref, found.kinds, own.unit)


def calling_in(referral: Referral) -> list[str]:
    """The command that calls in the next unit that stands by, where the hotline may and has no reason not to."""
    first = next(iter(passing.standing_by(referral)), None)
    if first is None or consented.is_withdrawn(referral):
        return []
    own = referral.chronicle.deliveries[first]
    return [f"referral escalate {referral.ref}"] if Act.RELEASED in may(referral, own) else []


def handed_over(screen: Screen, ref: str, kinds: frozenset[Act], unit: str) -> list[str]:
    """The commands that say to a unit what acts of these kinds said to another one."""
    rest = f"{ref} {screen.say('place.file')} --unit {unit}"
    found = [f"referral supplement {rest}"] if Act.SUPPLEMENT in kinds else []
    return found + ([f"referral note {rest}"] if kinds - {Act.SUPPLEMENT} else [])


def tell_all(ref: str) -> str:
    """The command that tells everybody of a withdrawn consent who has not been told."""
    return f"referral consent-withdrawn {ref}"


def _told_too(screen: Screen, referral: Referral, own: Delivery, possible: Sequence[Act]) -> list[str]:
    """Whoever has the referral now does not read what its earlier unit is answered, and is told it by a note."""
    now = handed_on.has_it_now(referral, own.unit)
    if now is None or Act.ANSWER not in possible or consented.is_withdrawn(referral):
        return []
    asked = [one.digest for one in own.questions if one.act is Act.ASK]
    heard = all(handed_on.is_heard_since(referral, now, digest) for digest in asked)
    return [] if heard else handed_over(screen, referral.ref, frozenset({Act.NOTE}), now)


def _somebody_else(screen: Screen, referral: Referral) -> list[str]:
    """How the sender finds another unit: the one that was suggested is sent it anew; else whoever stands by has it
    sealed already. One of these, for either brings somebody in.
    """
    instead = [] if passing.suggested_by(referral) is not None else calling_in(referral)
    return instead or [_readdress(screen, referral)]


def _readdress(screen: Screen, referral: Referral) -> str:
    unit = passing.suggested_by(referral) or screen.say("place.unit")
    return f"referral readdress {referral.ref} --unit {unit}"


def must_readdress(referral: Referral, *, replaced: bool) -> bool:
    """Whether nobody acts on it any more, nothing has taken its place, and it may still be shared."""
    acting = [one for one in referral.chronicle.deliveries.values() if one.role is not DeliveryRole.INFORMATION]
    if any(one.state in _AWAITED - _FALLEN for one in acting) or not any(one.state in _FALLEN for one in acting):
        return False
    return not replaced and not consented.is_withdrawn(referral)


def closing(screen: Screen, referral: Referral, signer: str = "") -> list[str]:
    """The commands that close what nobody acts on of a referral in whose place another one has come."""
    left = [one for one in referral.chronicle.deliveries.values() if one.state in _FALLEN]
    possible = [one for one in left if Act.CLOSE in may(referral, one, signer)]
    return [line for one in possible if (line := command(screen, referral, Act.CLOSE, one)) is not None]


def _was_never_taken(referral: Referral) -> bool:
    """Whether every unit that was to act on it has ended it without having accepted it, and it may still be shared."""
    acting = [one for one in referral.chronicle.deliveries.values() if one.role is DeliveryRole.ACTION]
    closed = bool(acting) and all(one.state is State.CLOSED and not one.was_accepted for one in acting)
    return closed and not consented.is_withdrawn(referral)


def _owed(screen: Screen, referral: Referral, own: Delivery, possible: Sequence[Act]) -> list[str]:
    """The commands that answer what this party is asked on a delivery."""
    role, _ = _side(referral, own)
    answers = [act for act in _ANSWERS if act in possible and _is_answer(role, act)]
    return [one for act in answers if (one := command(screen, referral, act, own)) is not None]


def _is_answer(role: Role, act: Act) -> bool:
    """A unit's `decline` is a decision of its own; a hotline's answers a transfer."""
    return act is not Act.DECLINE or role is Role.HOTLINE


def _decisions(screen: Screen, ref: str, role: DeliveryRole, state: State, *, taken: bool) -> list[str]:
    """The commands, whole, by which a unit goes on with a referral that it has acknowledged."""
    possible = frozenset(lifecycle.allowed(Role.POLICE_UNIT, state)) - policy.role_at_delivery(role)
    if Act.ACCEPT in possible:
        return [f"referral accept {ref}" + (f" --joint {screen.say('place.code')}" if taken else "")]
    if Act.CLOSE in possible:
        code = screen.say("place.code")
        return [f"referral status {ref} --to {code}", f"referral close {ref} --outcome {code}"]
    return [PENDING]
