"""What both sides say to each other about a referral: `ask`, `answer`, `supplement`, `close`, `reopen`, `phone`.

The thread stays open until the referral is purged, whatever became of it. Words travel sealed; what is in clear are
codes.

Must never: answer for somebody else, say that a call was made without its time, or close what the other side may not
see closed.

Implements: R-74, R-76, R-78; design §10.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from referral_api.cli import acting, choices, nexts, remarks
from referral_api.cli.invocation import invocation, read_document
from referral_api.cli.output import Fault
from referral_api.cli.passing import Answers, NoteFile, Ref, Unit
from referral_api.client import handed_on, talking
from referral_api.client.outbox import Entry
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Act, PartyId


def register(app: typer.Typer) -> None:
    """Add these verbs to the command."""
    verbs: Mapping[str, Callable[..., None]] = {
        "ask": ask,
        "answer": answer,
        "supplement": supplement,
        "close": close,
        "reopen": reopen,
        "phone": phone,
    }
    for name, verb in verbs.items():
        app.command(name)(verb)


def ask(
    ctx: typer.Context,
    ref: Ref,
    topic: Annotated[list[str], typer.Option("--topic")],
    unit: Unit = None,
    note: NoteFile = None,
) -> None:
    """Ask the other side, by topics; the words travel sealed."""
    call = invocation(ctx)
    topics = [choices.check_code(call, "info_request", one) for one in dict.fromkeys(topic)]
    choices.perform(call, ref, Act.ASK, {"topics": topics}, unit=unit, note=note)


def answer(
    ctx: typer.Context,
    ref: Ref,
    reply: Annotated[str, typer.Option("--reply")],
    answers: Answers = None,
    unit: Unit = None,
    note: NoteFile = None,
) -> None:
    """Answer an open question of the other side."""
    call = invocation(ctx)
    body = {"code": choices.check_code(call, "info_answer", reply, note)}
    choices.answering(call, ref, Act.ANSWER, frozenset({Act.ASK}), body, answers=answers, unit=unit, note=note)


def supplement(ctx: typer.Context, ref: Ref, file: Annotated[Path, typer.Argument()], unit: Unit = None) -> None:
    """Send more about a referral to the units that have it: an envelope for each, and none learns of another."""
    call = invocation(ctx)
    body = read_document(file)
    entries: list[Entry] = []
    closed: dict[PartyId, ReferralError] = {}
    with call.person() as client:
        referral = client.referral(ref)
        units = talking.supplemented_units(referral)
        if unit is not None or not units:
            units = [choices.the_unit(referral, Act.SUPPLEMENT, unit)]
        for one in units:
            try:
                with choices.explaining(call, client, referral, Act.SUPPLEMENT, one):
                    entries.append(talking.supplement(client.pen, referral, body, one))
                choices.refused(call, client, entries[-1])
            except ReferralError as error:
                # Who cannot be reached keeps nobody else from it; what is false about us is everybody's.
                if error.code is not ErrorCode.NO_USABLE_KEY or len(units) == 1:
                    raise
                closed[one] = error
    if not entries:
        raise next(iter(closed.values()))
    also = [] if unit is None else remarks.passed_on(call.screen, referral, unit)[1]
    more = [*(call.screen.say("supplement.closed", unit=one) for one in closed), *also]
    now = None if unit is None else handed_on.has_it_now(referral, unit)
    left = [*closed, *([] if now is None else [now])]
    follow = [f"referral supplement {ref} {file} --unit {one}" for one in left] or [f"referral timeline {ref}"]
    acting.show_entries(call, entries, follow, more=more, partly=bool(closed))


def close(
    ctx: typer.Context, ref: Ref, outcome: Annotated[str, typer.Option()], unit: Unit = None, note: NoteFile = None
) -> None:
    """Close a delivery with its outcome."""
    call = invocation(ctx)
    body = {"outcome": choices.check_code(call, "outcome", outcome, note)}
    choices.perform(call, ref, Act.CLOSE, body, unit=unit, note=note)


def reopen(
    ctx: typer.Context, ref: Ref, reason: Annotated[str, typer.Option()], unit: Unit = None, note: NoteFile = None
) -> None:
    """Take up a closed delivery again."""
    call = invocation(ctx)
    body = {"reason": choices.check_code(call, "reopen_reason", reason, note)}
    choices.perform(call, ref, Act.REOPEN, body, unit=unit, note=note)


def phone(
    ctx: typer.Context,
    ref: Ref,
    unit: Unit = None,
    at: Annotated[str | None, typer.Option("--at")] = None,
    not_made: Annotated[bool, typer.Option("--not-made")] = False,  # noqa: FBT002 - an option of the command line
    by: Annotated[str | None, typer.Option("--by")] = None,
) -> None:
    """State that a unit was telephoned, and when, or that it could not be."""
    call = invocation(ctx)
    if (at is None) != not_made:
        raise Fault("phone-at-or-not")
    with call.person() as client:
        referral = client.referral(ref)
        place = choices.the_unit(referral, Act.PHONE_ALERT, unit)
        body: dict[str, Any] = {"made": not not_made, "to_unit": place}
        body |= {} if at is None else {"at": choices.past(at, client.session.now())}
        body |= {} if by is None else {"by": by}
        with choices.explaining(call, client, referral, Act.PHONE_ALERT, place):
            entry = client.pen.act(referral, Act.PHONE_ALERT, body, unit=place)
        choices.refused(call, client, entry)
    # Whoever reached nobody there may have others come.
    instead = nexts.calling_in(referral) if not_made else []
    acting.show_entries(call, [entry], [*instead, f"referral timeline {ref}"])
