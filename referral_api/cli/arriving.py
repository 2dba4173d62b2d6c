"""Lines of an inbox on screen: what arrived, about which unit, and whom the hotline is to telephone now.

That a unit must be telephoned is worth nothing without its number, so the number of the keys log stands beside it, with
the exchange's reason and the command that answers. The bell rings for it whatever the urgency: nobody listens there.

Must never: wait for the exchange before a number is shown that this machine has, or take a line for evidence.

Implements: R-55, R-78; rule R18 of the field.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.text import Text

from referral_api.cli import remarks
from referral_api.cli.invocation import Invocation
from referral_api.cli.output import Screen, Shown
from referral_api.client import alarms
from referral_api.client.delivery import InboxEntry
from referral_api.client.sdk import Client
from referral_api.domain.errors import ReferralError
from referral_api.domain.words import Act, Urgency
from referral_api.formats.codelists import codes, label

_COLUMNS = ("col.when", "col.urgency", "col.what", "col.from", "col.ref", "col.waits", "col.index")
_GONE = frozenset({Act.WITHDRAW, Act.PURGE_DUE, Act.PURGED})
"""What is handed out no more, or soon: that it is, and until when, stands in its timeline."""
_OF_ANOTHER = frozenset({Act.OVERDUE, Act.ESCALATED, Act.RELEASED, Act.EXPIRED, Act.TAKEN, Act.APPROVE})
"""What the exchange says of a unit, to who is not that unit."""


def announce(call: Invocation, client: Client, entry: InboxEntry) -> None:
    """Say what arrived, and ring where somebody must come at once. Raises an alarm, once the line has been shown."""
    screen, after = call.screen, follow(call.screen, client, entry)
    calls = entry.kind == Act.TELEPHONE_NOW
    if calls or (entry.urgency == Urgency.EMERGENCY and entry.from_party != client.profile.party):
        screen.bell()
    line = "  ".join(_cells(screen, client, entry))
    if not calls:
        screen.show(Shown({"entry": _data(client, entry)}, [line], after))
        return
    if not screen.as_json:
        screen.show(Shown({}, [line, _red(screen.say("inbox.telephone", **_whom(screen, client, entry)))]))
    reason, alarm = _reason(client, entry)
    words = [] if reason is None else [screen.say("inbox.telephone_why", words=_words(screen, reason))]
    screen.show(Shown({"entry": _data(client, entry) | {"reason": reason}}, words, after))
    if alarm is not None:
        raise alarm


def listed(call: Invocation, client: Client, entries: Sequence[InboxEntry]) -> Shown:
    """A whole inbox: its lines as a table, and below it whom to telephone. Raises an alarm of what is looked up."""
    screen, data, lines = call.screen, [], []
    for one in entries:
        told = _data(client, one)
        if one.kind == Act.TELEPHONE_NOW and one.pending:
            reason, alarm = _reason(client, one)
            if alarm is not None:
                raise alarm
            why = "" if reason is None else " " + screen.say("inbox.telephone_why", words=_words(screen, reason))
            lines.append(_red(screen.say("inbox.telephone", **_whom(screen, client, one)) + why))
            told |= {"reason": reason}
        data.append(told)
    # What must be telephoned comes before what may be read.
    calls = [one for one in entries if one.kind == Act.TELEPHONE_NOW and one.pending]
    after = [hint for one in [*calls, *entries] for hint in follow(screen, client, one)][:1]
    if not entries:
        return Shown({"entries": []}, [screen.say("inbox.empty")], ["referral inbox watch"])
    table = screen.table(_COLUMNS, [_cells(screen, client, one) for one in entries])
    return Shown({"entries": data}, [table, *lines], after or ["referral inbox watch"])


def follow(screen: Screen, client: Client, entry: InboxEntry) -> list[str]:
    """What was withdrawn or purged is handed out no more; that it was, and why, stands in its timeline. So does what
    the exchange says of a unit, and that a proposal was approved; who gets a referral by that is to read it.
    """
    if entry.ref is None:
        return [] if entry.unit is None else [f"referral units show {entry.unit}"]
    if entry.kind == Act.TELEPHONE_NOW:
        return [f"referral phone {entry.ref} --unit {entry.unit} --at {screen.say('place.time')}"]
    is_over = entry.kind in _GONE or (entry.kind == Act.APPROVE and not entry.answered_by)
    to_timeline = is_over or entry.from_party == client.profile.party
    to_timeline = to_timeline or (entry.kind in _OF_ANOTHER and _of_another(client, entry))
    return [f"referral {'timeline' if to_timeline else 'show'} {entry.ref}"]


def _cells(screen: Screen, client: Client, entry: InboxEntry) -> list[str]:
    urgency = "—" if entry.urgency is None else label("urgency", entry.urgency, screen.lang).upper()
    # A line is a hint, and does not say whether anybody was there to whom the rung could release it.
    what = screen.say("inbox.escalated" if entry.kind == Act.ESCALATED else f"act.{entry.kind}")
    what = f"{what} · {entry.unit}" if _of_another(client, entry) else what
    waits = screen.say("yes" if entry.pending else "no")
    return [screen.at(entry.time), urgency, what, entry.from_party or "—", entry.ref or "—", waits, str(entry.index)]


def _of_another(client: Client, entry: InboxEntry) -> bool:
    """Whether a line is about a unit that neither reads nor sent it."""
    return entry.unit not in (None, entry.from_party, client.profile.party)


def _whom(screen: Screen, client: Client, entry: InboxEntry) -> dict[str, str]:
    """The unit to telephone and its duty number, or whom to call instead, by the keys log as this machine has it."""
    phone = "—" if entry.unit is None else remarks.dial(screen, client.session, entry.unit)
    return {"unit": entry.unit or "—", "phone": phone}


def _phone(client: Client, entry: InboxEntry) -> str | None:
    party = None if entry.unit is None else client.session.keymap.find_party(entry.unit)
    return None if party is None else party.entry.duty_phone


def _reason(client: Client, entry: InboxEntry) -> tuple[str | None, ReferralError | None]:
    """The code by which the exchange says why, out of its verified act, and an alarm that was met on the way there.

    A number is telephoned without a reason too, so nothing else is in its way.
    """
    if entry.ref is None:
        return None, None
    try:
        acts = client.referral(entry.ref).acts
    except ReferralError as error:
        return None, error if alarms.is_alarm(error) else None
    found = (one.act.body for one in acts if one.act.act is Act.TELEPHONE_NOW and one.act.digest == entry.act)
    return next((str(getattr(body, "reason", "")) for body in found), None), None


def _words(screen: Screen, reason: str) -> str:
    return label("escalation_reason", reason, screen.lang) if reason in codes("escalation_reason") else reason


def _data(client: Client, entry: InboxEntry) -> dict[str, Any]:
    calls = entry.kind == Act.TELEPHONE_NOW
    return {
        **entry.term.members(),
        "index": entry.index,
        "kind": entry.kind,
        "act": entry.act,
        "ref": entry.ref,
        "unit": entry.unit,
        "from": entry.from_party,
        "urgency": entry.urgency,
        "time": entry.time,
        "pending": entry.pending,
        "answered_by": list(entry.answered_by),
        **({"duty_phone": _phone(client, entry)} if calls else {}),
    }


def _red(line: str) -> Text:
    return Text(line, style="bold red")
