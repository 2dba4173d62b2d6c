"""What became of an act, and of a referral: the results that hotline and police verbs have in common.

Must never: call an act done that has no verified receipt.

Implements: R-16, R-17, R-54; design §12.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NoReturn

from rich.text import Text

from referral_api.cli import forgetting, nexts
from referral_api.cli.invocation import Invocation
from referral_api.cli.output import Exit, Screen, Shown
from referral_api.cli.texts import say
from referral_api.client import consented, correcting, talking
from referral_api.client.outbox import Entry, Progress
from referral_api.client.talking import Open
from referral_api.client.view import Referral, ShownAct
from referral_api.domain import lifecycle
from referral_api.domain.catalogue import Language, text_of
from referral_api.domain.clocks import Rung
from referral_api.domain.deliveries import Delivery
from referral_api.domain.errors import ReferralError
from referral_api.domain.policy import Relation
from referral_api.domain.terms import Term
from referral_api.domain.words import Act, Digest
from referral_api.formats.bodies import Transfer
from referral_api.formats.codelists import codes, label
from referral_api.formats.receipt import parse_receipt

_DETAILS: dict[Act, tuple[str, ...]] = {
    Act.SUBMIT: ("urgency",),
    Act.STATUS: ("investigation_status",),
    Act.DECLINE: ("decline_reason",),
    Act.TRANSFER: ("transfer_reason",),
    Act.WITHDRAW: ("withdraw_reason",),
    Act.RECEIPT_FAILED: ("receipt_failure",),
    Act.WITHDRAWAL_ANSWER: ("withdrawal_answer",),
    Act.ANSWER: ("info_answer",),
    Act.CLOSE: ("outcome",),
    Act.REOPEN: ("reopen_reason",),
    Act.REWRAP: ("rewrap_reason",),
    Act.PURGE_REQUEST: ("purge_reason",),
    Act.PURGED: ("purge_reason",),
    Act.OVERDUE: ("clock",),
    Act.ESCALATED: ("escalation_reason", "rung"),
    Act.RELEASED: ("escalation_reason",),
    Act.TELEPHONE_NOW: ("escalation_reason",),
}
"""The code lists of the codes in an act's body that say most about it."""
_TELLING = ("urgency", "code", "reason", "outcome", "clock", "rung")
"""The members of a body in which these codes stand."""

_RELEASING = frozenset({Rung.RELEASE_PARENT.value, Rung.RELEASE_NATIONAL.value})
"""The rungs that let those have a referral for whom it is held."""
_NOTHING: Mapping[str, Any] = MappingProxyType({})


def show_entry(
    call: Invocation, entry: Entry, follow: str, beside: Mapping[str, Any] = _NOTHING, *, more: Sequence[str] = ()
) -> NoReturn:
    """Print what became of a signed act and end the call. Raises the refusal where it was refused.

    Exit code 8 where it waits in the outbox: durable, signed, and not yet with the exchange. `beside` are members for
    `--json` of what was said before, `more` is said below.
    """
    show_entries(call, [entry], [follow], beside, more=more)


def show_entries(
    call: Invocation,
    entries: Sequence[Entry],
    follow: Sequence[str],
    beside: Mapping[str, Any] = _NOTHING,
    *,
    more: Sequence[str | Text] = (),
    partly: bool = False,
    after: Sequence[str] = (),
) -> NoReturn:
    """The same of several acts of one kind, as one result: of one its members, of more a list of them. `partly` says
    that there should have been more; `after` are the commands that what waits leaves to do once it has gone.
    """
    for entry in entries:
        if entry.state is Progress.REFUSED and entry.code is not None:
            raise ReferralError(entry.code, act=entry.outgoing.act.value, id=entry.outgoing.id)
    data = [entry_data(entry) for entry in entries]
    lines = [line for entry, told in zip(entries, data, strict=True) for line in entry_lines(call.screen, entry, told)]
    waiting = [entry for entry in entries if entry.receipt is None]
    shown = (data[0] if len(data) == 1 else {"acts": data}) | dict(beside)
    if waiting:
        stale = [one.outgoing.id for one in waiting if one.state is Progress.NEEDS_RESEALING]
        again = f"reseal {stale[0]}" if stale else "flush"
        call.show(Shown(shown, lines, [f"referral outbox {again}", *after], Exit.PARTLY))
    call.show(Shown(shown, [*lines, *more], follow, Exit.PARTLY if partly else Exit.OK))


def entry_lines(screen: Screen, entry: Entry, data: Mapping[str, Any]) -> list[str]:
    """What became of one act, as lines; `data` are its members."""
    what = entry.outgoing.act.value
    if entry.receipt is None:
        words = None if entry.code is None else text_of(entry.code, screen.lang)
        why = [] if words is None else [screen.say("entry.why", words=words.title), words.hint]
        return [screen.say("entry.waits", what=screen.say(f"act.{what}"), ref=entry.outgoing.ref), *why]
    log = data["log"]
    return [
        screen.say(f"done.{what}", ref=entry.outgoing.ref),
        screen.say("entry.receipt", at=screen.at(data["time"]), log=log["origin"], index=log["index"]),
        *(
            screen.say("entry.state", unit=one["unit"], state=screen.say(f"state.{one['state']}"))
            for one in data["states"]
        ),
    ]


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


def timeline_data(screen: Screen, referral: Referral, signer: str) -> dict[str, Any]:
    """A verified referral as JSON members: where each delivery stands, what is open on it and what may be done next,
    what it relates to, and everything that happened, in log order.
    """
    deliveries = [
        {
            "unit": one.unit,
            "role": one.role.value,
            "state": one.state.value,
            "investigation": [str(code) for code in _investigation(referral, one.unit)],
            "allowed": [act.value for act in referral.standings[one.unit].allowed],
            "due": _due(referral, one.unit),
            **forgetting.data(referral, one.unit),
            "open": _open(referral, one),
            "commands": nexts.commands(screen, referral, one, signer),
        }
        for one in referral.chronicle.deliveries.values()
    ]
    events = _events(referral)
    events += [
        {
            "at": one.at,
            "what": "retrieved",
            "by": one.retrieved_by,
            "detail": "",
            "to": None,
            "refused": False,
            "corrects": None,
            "corrected": False,
            "made": None,
            "called_at": None,
            "topics": [],
            "released": None,
            "unit": one.retrieved_by,
            **one.term.members(),
            "index": one.index,
        }
        for one in referral.retrievals
    ]
    events.sort(key=lambda one: (one["year"], one.get("term", 1), one["index"]))
    if referral.relation is Relation.SENDER:
        _mark_released_to_nobody(events)
    earlier = consented.relation_of(referral)
    return {
        "ref": referral.ref,
        "relation": referral.relation.value,
        "relates_to": None if earlier is None else {"type": earlier[0], "ref": earlier[1]},
        "later": list(referral.later),
        "deliveries": deliveries,
        "events": events,
    }


def relation_lines(screen: Screen, data: Mapping[str, Any]) -> list[str]:
    """What a referral relates to, and what relates to it, as lines."""
    lines, earlier = [], data["relates_to"]
    if earlier is not None:
        words = label("relation_type", earlier["type"], screen.lang)
        lines.append(screen.say("life.relates_to", words=words, ref=earlier["ref"]))
    return [*lines, *(screen.say("life.later", ref=ref) for ref in data["later"])]


def next_lines(screen: Screen, referral: Referral, data: Mapping[str, Any]) -> list[str]:
    """Of each delivery what is owed and by when, what is asked, and what this party may do about it, as lines."""
    lines: list[str] = []
    asked = {one.question.digest: one for one in talking.open_on(referral)}
    for one in data["deliveries"]:
        due = one["due"]
        told = [] if due is None else [(label("clock", due["clock"], screen.lang), due["due_at"])]
        found = [screen.say("life.due", what=what, at=screen.at(at)) for what, at in told]
        found += [screen.say("life.open", words=question_line(screen, asked[each["digest"]])) for each in one["open"]]
        found += [screen.say("life.may", command=command) for command in one["commands"]]
        lines += ["", screen.say("life.delivery", unit=one["unit"]), *found] if found else []
    return lines


def question_line(screen: Screen, one: Open) -> str:
    """An open question on one line: what it is, about what, from whom, since when, and its digest."""
    about = ", ".join(label("info_request", topic, screen.lang) for topic in one.topics)
    what = screen.say(f"act.{one.question.act.value}") + (f" ({about})" if about else "")
    since = "—" if one.shown is None else screen.at(one.shown.at)
    return screen.say(
        "life.question", what=what, unit=one.unit, by=one.question.asker, at=since, digest=one.question.digest
    )


def _mark_released_to_nobody(events: Sequence[dict[str, Any]]) -> None:
    """Say of a rung that lets others have the referral whether it let anybody: what it releases stands before it in the
    log, at the same moment. A unit sees no delivery but its own, so only its sender can tell.
    """
    released: int | None = None
    for one in events:
        if one["what"] == Act.RELEASED.value and one["detail"] != lifecycle.BY_HAND:
            released = one["at"]
        elif one["what"] == Act.ESCALATED.value:
            if _RELEASING & {*one["detail"].split()}:
                one["released"] = released == one["at"]
            released = None


def detail_of(event: dict[str, Any], screen: Screen) -> str:
    """The words for an event's detail; a refused act is marked, and so are a status that was wrong and what says so."""
    lang = screen.lang
    lists = _DETAILS.get(event["what"], ())
    words = " · ".join(_labelled(lists, code, lang) for code in event["detail"].split())
    about = [label("info_request", one, lang) for one in event.get("topics", ())]
    if event.get("made") is not None:
        at = event["called_at"]
        # Local time alone, for the column is narrow; UTC stands in the row's own time.
        when = "" if at is None else screen.at(at).partition(" (")[0]
        about.append(screen.say("life.called", at=when) if when else screen.say("life.not_called"))
    about += [screen.say("life.released_to_nobody")] if event.get("released") is False else []
    words = " · ".join(filter(None, [words, *about]))
    words = f"{words} → {event['to']}" if event["to"] is not None else words
    if event["corrects"] is not None:
        place = f"{Term.of_members(event['corrects'])}/{event['corrects']['index']}"
        words = f"{words} · {say(lang, 'life.corrects', place=place)}"
    words = f"{words} · {say(lang, 'life.corrected')}" if event["corrected"] else words
    return f"{words} ✖".strip() if event["refused"] else words


def _labelled(lists: Sequence[str], code: str, lang: Language) -> str:
    return next((label(name, code, lang) for name in lists if code in codes(name)), code)


def _due(referral: Referral, unit: str) -> dict[str, Any] | None:
    due = referral.standings[unit].due
    return None if due is None else {"clock": due.clock.value, "due_at": due.due_at}


def _open(referral: Referral, own: Delivery) -> list[dict[str, Any]]:
    """The questions open on a delivery, whoever is to answer them."""
    shown: dict[str, Any] = {one.act.digest: one.act.body for one in referral.acts}
    return [
        {
            "act": one.act.value,
            "digest": one.digest,
            "by": one.asker,
            "topics": list(getattr(shown.get(one.digest), "topics", ())),
        }
        for one in own.questions
    ]


def _events(referral: Referral) -> list[dict[str, Any]]:
    """Every act, and of a status which earlier one it puts right, and whether a later one did so with it."""
    places = {one.act.digest: {**one.term.members(), "index": one.index} for one in referral.acts}
    wrong = {digest for unit in referral.chronicle.deliveries for digest in correcting.corrected(referral, unit)}
    return [
        _event(one) | {"corrects": _place(places, one), "corrected": one.act.digest in wrong} for one in referral.acts
    ]


def _place(places: Mapping[Digest, dict[str, Any]], shown: ShownAct) -> dict[str, Any] | None:
    target = correcting.target_of(shown)
    return None if target is None else places.get(target)


def _event(shown: ShownAct) -> dict[str, Any]:
    body: Any = shown.act.body
    told = [getattr(body, name, None) for name in _TELLING]
    detail = " ".join(str(one.value if hasattr(one, "value") else one) for one in told if one is not None)
    return {
        "at": shown.at,
        "what": shown.act.act.value,
        "by": shown.act.iss,
        "detail": detail,
        "to": _pointed_at(body),
        **_called(getattr(body, "phone_alert", None) if shown.act.act is Act.SUBMIT else body),
        "topics": [str(one) for one in getattr(body, "topics", ())],
        "released": None,
        "refused": shown.receipt is not None and not shown.receipt.accepted,
        "unit": shown.act.unit,
        **shown.term.members(),
        "index": shown.index,
    }


def _called(body: Any) -> dict[str, Any]:
    """Whether a call was made, and when (unix seconds), by a `phone_alert` or a submission; None where neither says."""
    made = getattr(body, "made", None)
    return {"made": made, "called_at": int(body.at.timestamp()) if made else None}


def _pointed_at(body: Any) -> str | None:
    """The unit or referral that an act points at: proposed, suggested, or of which this is a duplicate."""
    named = [getattr(body, name, None) for name in ("suggested_unit", "duplicate_of")]
    named.append(body.to if isinstance(body, Transfer) else None)
    return next((str(one) for one in named if one is not None), None)


def _investigation(referral: Referral, unit: str) -> list[str]:
    """What a unit has reported and not put right since."""
    wrong = correcting.corrected(referral, unit)
    return [
        shown.act.body.code.value  # type: ignore[attr-defined]  # the body of a status act
        for shown in correcting.reported(referral, unit)
        if shown.act.digest not in wrong
    ]
