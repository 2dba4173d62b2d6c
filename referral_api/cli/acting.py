"""What became of an act, and of a referral: the results that hotline and police verbs have in common.

Must never: call an act done that has no verified receipt.

Implements: R-16, R-17, R-54; design §12.
"""

from __future__ import annotations

from typing import Any

from referral_api.cli import forgetting
from referral_api.cli.invocation import Invocation
from referral_api.cli.output import Exit, Screen, Shown
from referral_api.client.outbox import Entry, Progress
from referral_api.client.view import Referral, ShownAct
from referral_api.domain import lifecycle, policy
from referral_api.domain.catalogue import Language, text_of
from referral_api.domain.errors import ReferralError
from referral_api.domain.policy import Relation
from referral_api.domain.words import Act, DeliveryRole, Role, State
from referral_api.formats.codelists import codes, label
from referral_api.formats.receipt import parse_receipt

_DETAILS: dict[Act, str] = {
    Act.SUBMIT: "urgency",
    Act.STATUS: "investigation_status",
    Act.DECLINE: "decline_reason",
    Act.TRANSFER: "transfer_reason",
    Act.WITHDRAW: "withdraw_reason",
    Act.RECEIPT_FAILED: "receipt_failure",
    Act.WITHDRAWAL_ANSWER: "withdrawal_answer",
    Act.ANSWER: "info_answer",
    Act.CLOSE: "outcome",
    Act.REOPEN: "reopen_reason",
    Act.REWRAP: "rewrap_reason",
    Act.PURGE_REQUEST: "purge_reason",
}
"""The code list of the one code in an act's body that says most about it."""
PENDING = "referral inbox list --pending"
"""What comes next where this referral asks for nothing more."""
_AWAITED = lifecycle.UNREAD | lifecycle.WORKING | {State.WITHDRAWAL_NOTIFIED}
"""States in which the next step is the unit's."""


def show_entry(call: Invocation, entry: Entry, follow: str) -> None:
    """Print what became of a signed act and end the call. Raises the refusal where it was refused.

    Exit code 8 where it waits in the outbox: durable, signed, and not yet with the exchange.
    """
    if entry.state is Progress.REFUSED and entry.code is not None:
        facts = {"act": entry.outgoing.act.value, "id": entry.outgoing.id}
        raise ReferralError(entry.code, **facts)
    data, screen = entry_data(entry), call.screen
    if entry.receipt is None:
        lines = [
            screen.say("entry.waits", what=screen.say(f"act.{entry.outgoing.act.value}"), ref=entry.outgoing.ref),
            *([] if entry.code is None else [screen.say("entry.why", words=text_of(entry.code, screen.lang).title)]),
            *([] if entry.code is None else [text_of(entry.code, screen.lang).hint]),
        ]
        again = "reseal " + entry.outgoing.id if entry.state is Progress.NEEDS_RESEALING else "flush"
        call.show(Shown(data, lines, [f"referral outbox {again}"], Exit.PARTLY))
    log = data["log"]
    lines = [
        screen.say(f"done.{entry.outgoing.act.value}", ref=entry.outgoing.ref),
        screen.say("entry.receipt", at=screen.at(data["time"]), log=log["origin"], index=log["index"]),
        *(
            screen.say("entry.state", unit=one["unit"], state=screen.say(f"state.{one['state']}"))
            for one in data["states"]
        ),
    ]
    call.show(Shown(data, lines, [follow]))


def entry_data(entry: Entry) -> dict[str, Any]:
    """An outbox entry as JSON members; what its receipt says is there once there is one."""
    outgoing = entry.outgoing
    data: dict[str, Any] = {
        "id": outgoing.id,
        "act": outgoing.act.value,
        "ref": outgoing.ref,
        "digest": outgoing.digest,
        "progress": entry.state.value,
        "queued_at": entry.queued_at,
        "attempts": entry.attempts,
        "code": None if entry.code is None else entry.code.value,
    }
    if entry.receipt is None:
        return data
    payload = parse_receipt(entry.receipt).payload
    return data | {
        "outcome": payload.outcome,
        "time": payload.time,
        "states": [{"unit": one.unit, "state": str(one.state)} for one in payload.states],
        "log": {"origin": payload.log.origin, "index": payload.log.index},
    }


def timeline_data(referral: Referral) -> dict[str, Any]:
    """A verified referral as JSON members: where each delivery stands, and everything that happened, in log order."""
    deliveries = [
        {
            "unit": one.unit,
            "role": one.role.value,
            "state": one.state.value,
            "investigation": [str(code) for code in _investigation(referral, one.unit)],
            "allowed": [act.value for act in referral.standings[one.unit].allowed],
            "due": _due(referral, one.unit),
            **forgetting.data(referral, one.unit),
        }
        for one in referral.chronicle.deliveries.values()
    ]
    events = [_event(one) for one in referral.acts]
    events += [
        {
            "at": one.at,
            "what": "retrieved",
            "by": one.retrieved_by,
            "detail": "",
            "refused": False,
            "unit": one.retrieved_by,
            **one.term.members(),
            "index": one.index,
        }
        for one in referral.retrievals
    ]
    events.sort(key=lambda one: (one["year"], one.get("term", 1), one["index"]))
    return {"ref": referral.ref, "relation": referral.relation.value, "deliveries": deliveries, "events": events}


def detail_of(event: dict[str, Any], lang: Language) -> str:
    """The words for an event's detail; a refused act is marked."""
    name = _DETAILS.get(event["what"])
    words = (
        label(name, event["detail"], lang) if name is not None and event["detail"] in codes(name) else event["detail"]
    )
    return f"{words} ✖".strip() if event["refused"] else words


def next_of(screen: Screen, referral: Referral, *, opened: bool = False) -> list[str]:
    """What a reader of this referral may do next; `opened` says that the referral itself has just been read.

    Deciding takes a person, whoever reads: so this goes by what the party may do, not by the credential in use.
    """
    deliveries = referral.chronicle.deliveries.values()
    if referral.relation is Relation.SENDER:
        if opened:
            return [f"referral timeline {referral.ref}"]
        return ["referral inbox watch" if any(one.state in _AWAITED for one in deliveries) else PENDING]
    if referral.relation is not Relation.RECIPIENT:
        return ["referral audit verify"]
    # A unit sees its own delivery alone.
    own = next(iter(deliveries))
    if own.acknowledged_at is None and own.state in lifecycle.SERVED and Act.ACK in _may(own.role, own.state):
        return [f"referral {'ack' if opened or own.state is State.RETRIEVED else 'show'} {referral.ref}"]
    return _decisions(screen, referral.ref, own.role, own.state)


def after_ack(screen: Screen, referral: Referral) -> str:
    """What a unit does next that has acknowledged what it saw in this state."""
    own = next(iter(referral.chronicle.deliveries.values()))
    move = lifecycle.find_move(Act.ACK, Role.POLICE_UNIT, own.state)
    state = own.state if move is None or move.to is None else move.to
    return _decisions(screen, referral.ref, own.role, state)[0]


def _decisions(screen: Screen, ref: str, role: DeliveryRole, state: State) -> list[str]:
    """The commands, whole, by which a unit goes on with a referral that it has acknowledged."""
    may = _may(role, state)
    if Act.ACCEPT in may:
        return [f"referral accept {ref}"]
    if Act.CLOSE in may:
        code = screen.say("place.code")
        return [f"referral status {ref} --to {code}", f"referral close {ref} --outcome {code}"]
    if state is State.WITHDRAWAL_NOTIFIED:
        return [f"referral note {ref} {screen.say('place.file')}"]
    return [PENDING]


def _may(role: DeliveryRole, state: State) -> frozenset[Act]:
    return frozenset(lifecycle.allowed(Role.POLICE_UNIT, state)) - policy.role_at_delivery(role)


def _due(referral: Referral, unit: str) -> dict[str, Any] | None:
    due = referral.standings[unit].due
    return None if due is None else {"clock": due.clock.value, "due_at": due.due_at}


def _event(shown: ShownAct) -> dict[str, Any]:
    body: Any = shown.act.body
    told = [getattr(body, name, None) for name in ("urgency", "code", "reason", "outcome")]
    detail = " ".join(str(one.value if hasattr(one, "value") else one) for one in told if one is not None)
    return {
        "at": shown.at,
        "what": shown.act.act.value,
        "by": shown.act.iss,
        "detail": detail,
        "refused": shown.receipt is not None and not shown.receipt.accepted,
        "unit": shown.act.unit,
        **shown.term.members(),
        "index": shown.index,
    }


def _investigation(referral: Referral, unit: str) -> list[str]:
    return [
        shown.act.body.code.value  # type: ignore[attr-defined]  # the body of a status act
        for shown in referral.acts
        if shown.act.act is Act.STATUS and shown.act.unit == unit and (shown.receipt is None or shown.receipt.accepted)
    ]
