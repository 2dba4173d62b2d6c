"""How a shift begins: `list`, every delivery that concerns this party, by what it asks for, what is due, and its age.

Each entry takes a few short lines instead of a row of a table, so that it is read on a narrow terminal too, and its id
can be taken from a line of its own.

Must never: show as fact what did not verify, or leave out a delivery, a referral or an act of ours without saying so.

Implements: R-70, R-54; design §10 (worklists).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

import typer
from rich.text import Text

from referral_api.cli import nexts, remarks
from referral_api.cli.invocation import invocation
from referral_api.cli.output import EXIT_OF, Exit, Screen, Shown
from referral_api.cli.reading import Line
from referral_api.client.sdk import Client
from referral_api.client.view import Referral
from referral_api.client.worklist import Agenda, Item, Problem
from referral_api.domain.clockwork import Due
from referral_api.domain.words import Act
from referral_api.domain.worklists import Worklist
from referral_api.formats.codelists import label

_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86_400


def register(app: typer.Typer) -> None:
    """Add this verb to the command."""
    app.command("list")(list_)


@dataclass(frozen=True, slots=True)
class _May:
    """What a person of this party may do on a delivery, as acts and as commands, and which commands come next. `phone`
    is the unit's duty number by the keys log, of a unit that is to be telephoned, and `dial` says whom to call where it
    has none; `remarks` are lines to be read first.
    """

    acts: tuple[Act, ...]
    commands: tuple[str, ...]
    next: tuple[str, ...]
    phone: str | None
    dial: str | None
    remarks: tuple[Line, ...]
    replaced: tuple[str, ...] = ()
    """Which commands come next where another referral stands in its place: known once all have been looked at."""


@dataclass(slots=True)
class _Notes:
    """What is noted of each delivery while its referral is at hand."""

    screen: Screen
    client: Client
    found: dict[tuple[str, str], _May] = field(default_factory=dict)

    def take(self, referral: Referral, item: Item) -> None:
        """Note what may be done on it."""
        own, session = referral.chronicle.deliveries[item.unit], self.client.session
        signer = session.credential or ""
        party = session.keymap.find_party(item.unit) if Worklist.TELEPHONE in item.lists else None
        self.found[item.ref, item.unit] = _May(
            tuple(nexts.may(referral, own, signer)),
            tuple(nexts.commands(self.screen, referral, own, signer)),
            tuple(nexts.on_delivery(self.screen, referral, own, signer)) if item.asks else (),
            None if party is None else party.entry.duty_phone,
            None if party is None else remarks.dial(self.screen, session, item.unit),
            tuple(remarks.of(self.screen, session, referral, own)),
            tuple(nexts.on_delivery(self.screen, referral, own, signer, replaced=True)) if item.asks else (),
        )

    def of(self, item: Item) -> _May:
        """What was noted, and what only all referrals together tell: that a consent withdrawn on another one is untold
        here.
        """
        found, tell = self.found[item.ref, item.unit], nexts.tell_all(item.ref)
        found = replace(found, next=found.replaced) if item.replaced else found
        if not item.untold or tell in found.next:
            return found
        told = () if found.remarks else (remarks.untold(self.screen, item.unit),)
        return replace(found, next=(tell, *found.next), remarks=(*found.remarks, *told))


@dataclass(frozen=True, slots=True)
class _Picked:
    """What is shown of an agenda, and how much of it is not: over, forgotten, and on other lists than the one named."""

    items: tuple[Item, ...]
    ended: int
    forgotten: int
    elsewhere: int


def list_(
    ctx: typer.Context,
    every: Annotated[bool, typer.Option("--all")] = False,  # noqa: FBT002 - an option of the command line
    only: Annotated[Worklist | None, typer.Option("--list")] = None,
) -> None:
    """Every delivery of this party on its worklists, what asks for something first; what is over only with `--all`.

    A referral that cannot be verified is said with its reason, hides no other, and makes the exit code 5; one that
    cannot be had, or an act that waits in the outbox, makes it 8.
    """
    call = invocation(ctx)
    with call.anyone() as client:
        notes = _Notes(call.screen, client)
        with call.screen.progress() as progress:
            agenda = client.worklist(notes.take, progress)
        now, party = client.session.now(), client.profile.party
    picked = _pick(agenda, only, every=every)
    data = {"party": party, "at": now, **_data(call.screen, agenda, picked, notes, now)}
    lines = [*_troubles(call.screen, agenda), *_lines(call.screen, picked, notes, now)]
    call.show(Shown(data, lines, _follow(agenda, picked, notes), _status(agenda)))


def _pick(agenda: Agenda, only: Worklist | None, *, every: bool) -> _Picked:
    if only is not None:
        shown = tuple(one for one in agenda.items if only in one.lists)
    else:
        shown = tuple(one for one in agenda.items if every or not one.is_over)
    hidden = [one for one in agenda.items if one not in shown]
    forgotten = sum(Worklist.FORGOTTEN in one.lists for one in hidden) + (0 if every else len(agenda.gone))
    ended = sum(one.is_over and Worklist.FORGOTTEN not in one.lists for one in hidden)
    return _Picked(shown, ended, forgotten, sum(not one.is_over for one in hidden))


def _status(agenda: Agenda) -> Exit:
    if any(EXIT_OF[one.error.code] is Exit.VERIFICATION_FAILED for one in agenda.problems):
        return Exit.VERIFICATION_FAILED
    return Exit.OK if agenda.complete and not agenda.unsent else Exit.PARTLY


def _follow(agenda: Agenda, picked: _Picked, notes: _Notes) -> list[str]:
    """What comes next: to send what waits, or what the first entry asks for; of what could not be had, once more."""
    if agenda.unsent:
        return ["referral outbox flush"]
    first = next((notes.of(one).next for one in picked.items if one.asks and notes.of(one).next), ())
    if first:
        return list(first)
    return [nexts.WATCH] if agenda.complete else ["referral list"]


# On screen.


def _troubles(screen: Screen, agenda: Agenda) -> Iterator[Line]:
    """What is not in the lists, and must be known first."""
    for one in agenda.problems:
        yield _red(screen.say("list.problem", ref=one.ref, what=screen.words_of(one.error)[0]))
        yield from (f"  {words}" for words in screen.words_of(one.error)[1:])
    if agenda.ended_by is not None and agenda.unseen:
        what = screen.words_of(agenda.ended_by)[0]
        yield _red(screen.say("list.unseen", count=len(agenda.unseen), what=what))
    if agenda.unsent:
        yield _red(screen.say("list.unsent", count=agenda.unsent))


def _lines(screen: Screen, picked: _Picked, notes: _Notes, now: int) -> Iterator[Line]:
    asking = [one for one in picked.items if one.asks]
    over = [one for one in picked.items if one.is_over]
    others = [one for one in picked.items if not one.asks and not one.is_over]
    for key, items in (("list.asking", asking), ("list.others", others), ("list.over", over)):
        if items:
            yield Text(screen.say(key, count=len(items)), style="bold")
        for one in items:
            yield from _entry(screen, one, notes.of(one), now)
        if items:
            yield ""
    if not picked.items:
        yield screen.say("list.none")
    if picked.elsewhere:
        yield screen.say("list.elsewhere", count=picked.elsewhere)
    if picked.ended or picked.forgotten:
        yield screen.say("list.hidden", ended=picked.ended, forgotten=picked.forgotten)


def _entry(screen: Screen, item: Item, may: _May, now: int) -> Iterator[Line]:
    lists = " + ".join(screen.say(f"list.on.{one.value}") for one in item.lists)
    urgency = label("urgency", item.urgency.value, screen.lang).upper()
    state = screen.say(f"state.{item.state.value}")
    head = screen.say("list.entry", urgency=urgency, lists=lists, unit=item.unit, state=state)
    yield _red(head) if Worklist.TELEPHONE in item.lists else Text(head, style="bold" if item.asks else "")
    if Worklist.TELEPHONE in item.lists:
        yield _red("  " + screen.say("inbox.telephone", unit=item.unit, phone=may.dial or "—"))
    yield screen.say("list.ref", ref=item.ref)
    yield from may.remarks
    yield screen.say("list.age", age=_span(now - item.begun_at), at=screen.at(item.begun_at))
    if item.due is not None:
        yield _due(screen, item.due, now)
    if may.acts and not item.is_over:
        yield screen.say("list.may", acts=", ".join(screen.say(f"act.{one.value}") for one in may.acts))
    yield from (screen.say("list.next", command=command) for command in may.next)


def _due(screen: Screen, due: Due, now: int) -> Line:
    what, at = label("clock", due.clock.value, screen.lang), screen.at(due.due_at)
    if due.due_at <= now:
        return _red(screen.say("list.overdue", what=what, at=at, span=_span(now - due.due_at)))
    return screen.say("list.due", what=what, at=at, span=_span(due.due_at - now))


def _span(seconds: int) -> str:
    """A time span in its two largest units, which both languages write alike."""
    left = max(seconds, 0)
    if left >= _DAY_S:
        return f"{left // _DAY_S} d {left % _DAY_S // _HOUR_S} h"
    if left >= _HOUR_S:
        return f"{left // _HOUR_S} h {left % _HOUR_S // _MINUTE_S} min"
    return f"{left // _MINUTE_S} min"


def _red(line: str) -> Text:
    return Text(line, style="bold red")


# As JSON.


def _data(screen: Screen, agenda: Agenda, picked: _Picked, notes: _Notes, now: int) -> dict[str, Any]:
    return {
        "deliveries": [_item_data(one, notes.of(one), now) for one in picked.items],
        "hidden": {"ended": picked.ended, "forgotten": picked.forgotten, "elsewhere": picked.elsewhere},
        "problems": _problem_data(screen, agenda.problems),
        "unseen": list(agenda.unseen),
        "ended_by": None if agenda.ended_by is None else agenda.ended_by.code.value,
        "gone": list(agenda.gone),
        "unsent": agenda.unsent,
        "complete": agenda.complete,
    }


def _item_data(item: Item, may: _May, now: int) -> dict[str, Any]:
    dues = [{"clock": one.clock.value, "due_at": one.due_at, "overdue": one.due_at <= now} for one in item.dues]
    return {
        "ref": item.ref,
        "unit": item.unit,
        "role": item.role.value,
        "state": item.state.value,
        "urgency": item.urgency.value,
        "lists": [one.value for one in item.lists],
        "asks": item.asks,
        "over": item.is_over,
        "untold": item.untold,
        "replaced": item.replaced,
        "due": next(iter(dues), None),
        "dues": dues,
        "begun_at": item.begun_at,
        "since": item.since,
        "age_s": max(now - item.begun_at, 0),
        "allowed": [one.value for one in item.allowed],
        "possible": [one.value for one in may.acts],
        "commands": list(may.commands),
        "next": list(may.next),
        "duty_phone": may.phone if Worklist.TELEPHONE in item.lists else None,
    }


def _problem_data(screen: Screen, problems: Sequence[Problem]) -> list[dict[str, Any]]:
    found = []
    for one in problems:
        title, detail, hint = screen.words_of(one.error)
        code = one.error.code
        found.append(
            {
                "ref": one.ref,
                "code": code.value,
                "title": title,
                "detail": detail,
                "hint": hint,
                "alarm": EXIT_OF[code] is Exit.VERIFICATION_FAILED,
            }
        )
    return found
