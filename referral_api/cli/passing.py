"""Passing on and taking back: `transfer`, `approve` of a transfer or a purge, `refuse-transfer`, `escalate`,
`readdress`, `withdraw`, `consent-withdrawn`, `answer-notice`.

Each asks before what cannot be undone, checks here before it seals, and says what comes next and who has to do it.

Must never: say that a consent's withdrawal has reached everybody while one referral is left, or address a referral
anew without the checks of a first one.

Implements: R-73, R-75, R-78, R-110; R7 of the field.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.text import Text

from referral_api.cli import acting, choices, nexts, units
from referral_api.cli.invocation import Invocation, invocation
from referral_api.cli.output import EXIT_OF, Exit, Screen, Shown
from referral_api.client import consented, handed_on, outage, passing, recalling
from referral_api.client.outbox import Entry
from referral_api.client.passing import Anew
from referral_api.client.recalling import Outcome, Report
from referral_api.client.sdk import Client
from referral_api.domain.catalogue import text_of
from referral_api.domain.deliveries import NOTICES, Delivery
from referral_api.domain.errors import ReferralError
from referral_api.domain.words import Act, PartyId, State

Ref = Annotated[str, typer.Argument()]
NoteFile = Annotated[Path | None, typer.Option("--note")]
Unit = Annotated[str | None, typer.Option("--unit", "-u")]
Answers = Annotated[str | None, typer.Option("--answers")]
TRANSFERS = frozenset({Act.TRANSFER})
APPROVED = frozenset({Act.TRANSFER, Act.PURGE_REQUEST})


def register(app: typer.Typer) -> None:
    """Add these verbs to the command."""
    verbs: Mapping[str, Callable[..., None]] = {
        "transfer": transfer,
        "refuse-transfer": refuse_transfer,
        "escalate": escalate,
        "readdress": readdress,
        "withdraw": withdraw,
        "consent-withdrawn": consent_withdrawn,
        "answer-notice": answer_notice,
    }
    for name, verb in verbs.items():
        app.command(name)(verb)


def transfer(
    ctx: typer.Context,
    ref: Ref,
    to_unit: Annotated[str, typer.Option("--to")],
    reason: Annotated[str, typer.Option()],
) -> None:
    """Propose another unit, with the referral sealed to it."""
    call = invocation(ctx)
    choices.check_code(call, "transfer_reason", reason)
    with call.person() as client:
        referral = client.referral(ref)
        addressed = units.announce_each(call, client, [to_unit])
        call.confirm("ask.transfer", ref=ref, unit=to_unit)
        with choices.explaining(call, client, referral, Act.TRANSFER, client.profile.party):
            entry = passing.transfer(client.pen, referral, to_unit, reason)
        choices.refused(call, client, entry)
        phone = passing.duty_phone(client.session, referral.submit().act.party)
    more = [call.screen.say("transfer.next", unit=to_unit, phone=phone)]
    beside = {"unit": addressed[0]} if addressed else {}
    acting.show_entry(call, entry, f"referral timeline {ref}", beside, more=more)


def approve(
    call: Invocation, ref: str, answers: str | None, unit: str | None, *, despite_withdrawal: bool = False
) -> NoReturn:
    """Agree to a proposed transfer, or to a purge that somebody else asked for. Where consent was withdrawn a transfer
    goes on only if that is meant, and the new unit is told in the same call.
    """
    with call.person() as client:
        referral = client.referral(ref)
        with choices.explaining(call, client, referral, Act.APPROVE, None):
            asked = choices.the_question(call, client, referral, APPROVED, answers, unit)
            target = passing.proposed_to(referral, asked.question.digest)
            passing.check_approval(client.pen, referral, target, despite_withdrawal=despite_withdrawal)
            if target is None:
                call.confirm("ask.approve_purge", ref=ref)
            else:
                units.announce_each(call, client, [target])
                call.confirm("ask.approve_transfer", ref=ref, unit=asked.unit, target=target)
            approved = passing.approve(
                client.pen, referral, asked.unit, asked.question.digest, despite_withdrawal=despite_withdrawal
            )
        choices.refused(call, client, approved.entry)
    follow = [f"referral timeline {ref}"]
    if target is not None and not consented.is_withdrawn(referral):
        # The unit could pass on what the submission brought it, and nothing that was said to it after.
        said = handed_on.said_on_the_way(referral, asked.unit)
        follow = [*nexts.handed_over(call.screen, ref, said, target), *follow]
    left = [f"referral consent-withdrawn {ref}"] if approved.owed and approved.told is None else []
    entries = [approved.entry, *([approved.told] if approved.told is not None else [])]
    acting.show_entries(call, entries, left + follow, partly=bool(left), after=left)


def refuse_transfer(
    ctx: typer.Context,
    ref: Ref,
    reason: Annotated[str, typer.Option()],
    answers: Answers = None,
    unit: Unit = None,
    note: NoteFile = None,
) -> None:
    """Do not approve a transfer: the unit keeps the referral."""
    call = invocation(ctx)
    body = {"reason": choices.check_code(call, "decline_reason", reason, note)}
    choices.answering(call, ref, Act.DECLINE, TRANSFERS, body, answers=answers, unit=unit, note=note)


def escalate(
    ctx: typer.Context,
    ref: Ref,
    unit: Unit = None,
    despite_withdrawal: Annotated[bool, typer.Option("--despite-withdrawal")] = False,  # noqa: FBT002 - an option
) -> None:
    """Call in a unit that stands by, at once: the referral was sealed to it, and is released to it now."""
    call = invocation(ctx)
    with call.person() as client:
        referral, session = client.referral(ref), client.session
        with choices.explaining(call, client, referral, Act.RELEASED, None):
            called = passing.check_call_in(referral, unit, despite_withdrawal=despite_withdrawal)
            addressed = units.announce_each(call, client, [called])
            call.confirm("ask.escalate", ref=ref, unit=called)
            entry = passing.call_in(client.pen, referral, called, despite_withdrawal=despite_withdrawal)
        choices.refused(call, client, entry)
        phone = passing.duty_phone(session, called)
    screen, left = call.screen, [one for one in passing.standing_by(referral) if one != called]
    more = [Text(screen.say("escalate.phone", unit=called, phone=phone), style="bold red")]
    more += [Text(screen.say("escalate.left", units=", ".join(left)))] if left else []
    ring = f"referral phone {ref} --at {screen.say('place.time')} --unit {called}"
    if not consented.is_withdrawn(referral):
        # What the others were told meanwhile was sealed to them alone.
        said = frozenset(one.act.act for one in handed_on.said_while_held(referral, called))
        follow = [ring, *nexts.handed_over(screen, ref, said, called)]
    else:
        follow = [*([nexts.tell_all(ref)] if called in consented.untold(referral) else []), ring]
    beside = ({"unit": addressed[0]} if addressed else {}) | {"standing_by": left}
    acting.show_entries(call, [entry], [*follow, f"referral timeline {ref}"], beside, more=more, after=follow)


def readdress(
    ctx: typer.Context,
    ref: Ref,
    unit: Annotated[str, typer.Option("--unit", "-u")],
    exclude_declined: Annotated[bool, typer.Option("--exclude-declined")] = False,  # noqa: FBT002 - an option
    exclude: Annotated[list[str] | None, typer.Option("--exclude")] = None,
    phoned: Annotated[str | None, typer.Option("--phoned")] = None,
    second_person: Annotated[str | None, typer.Option("--second-person")] = None,
    operator: Annotated[str | None, typer.Option()] = None,
    agreement: Annotated[str | None, typer.Option()] = None,
    beside: Annotated[bool, typer.Option("--beside")] = False,  # noqa: FBT002 - an option of the command line
    despite_closed: Annotated[bool, typer.Option("--despite-closed")] = False,  # noqa: FBT002 - as above
) -> None:
    """Send the same referral anew to another unit, after a decline, an expiry or a failed receipt; with what its
    supplements say by now of what must not be done and of how anybody is reached.
    """
    call = invocation(ctx)
    with call.person() as client:
        referral = client.referral(ref)
        at = None
        if phoned is not None:
            seconds = choices.past(phoned, client.session.now())
            at = datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
        what = Anew(
            unit=PartyId(unit),
            exclude_declined=exclude_declined,
            exclude=tuple(PartyId(one) for one in exclude or ()),
            phoned_at=at,
            second_person=second_person,
            operator=operator,
            agreement=agreement,
            beside=beside,
            despite_closed=despite_closed,
        )
        with choices.explaining(call, client, referral, Act.SUBMIT, None):
            composition = passing.readdressed(client.pen, referral, what)
        addressed = units.announce(call, client, composition)
        call.confirm("ask.readdress", ref=ref, unit=unit, excluded=", ".join(composition.excluded) or "—")
        call.screen.talk("send.sealing", unit=unit)
        with call.screen.progress() as progress:
            entry = client.submit(composition, progress)
        signer = client.keys.credential
    renewed, screen = entry.outgoing.ref, call.screen
    ring, silent = units.silence(call, composition, str(renewed))
    excluded = ", ".join(composition.excluded) or "—"
    more = [screen.say("readdress.done", ref=ref, unit=unit, excluded=excluded), *silent]
    follow = [*ring, f"referral timeline {renewed}"]
    if referral.supplements():
        # Codes and contacts came along; whatever else was said later did not.
        follow.insert(len(ring), f"referral supplement {renewed} {screen.say('place.file')} --unit {unit}")
        more.append(screen.say("readdress.supplements", unit=unit))
    closing = nexts.closing(screen, referral, signer)
    follow += closing
    more += [screen.say("readdress.close", ref=ref)] if closing else []
    acting.show_entries(call, [entry], follow, addressed, more=more, after=ring)


def withdraw(
    ctx: typer.Context, ref: Ref, reason: Annotated[str, typer.Option()], unit: Unit = None, note: NoteFile = None
) -> None:
    """Take a referral back, from one unit or from all; a withdrawn consent is told to everybody else who has it."""
    call = invocation(ctx)
    choices.check_code(call, "withdraw_reason", reason, note)
    text = choices.note_text(note)
    call.confirm("ask.withdraw", ref=ref)
    if reason == consented.WITHDRAWN:
        call.screen.talk("withdraw.reaches", ref=ref)
    with call.person() as client:
        referral = client.referral(ref)
        place = None if unit is None else choices.the_unit(referral, Act.WITHDRAW, unit)
        with choices.explaining(call, client, referral, Act.WITHDRAW, place):
            taken = recalling.withdraw(client.pen, referral, reason, place, text)
        calls = _to_phone(call, client, taken.report)
        for entry in taken.entries:
            choices.refused(call, client, entry)
        after = _deliveries_after(client, ref, taken.entries)
    if taken.report is None:
        _show_taken(call, ref, reason, taken, after)
    _show_report(call, ref, taken.report, calls, taken.entries)


def consent_withdrawn(
    ctx: typer.Context,
    ref: Ref,
    note: NoteFile = None,
    again: Annotated[bool, typer.Option("--again")] = False,  # noqa: FBT002 - an option of the command line
) -> None:
    """Tell everybody who has a referral, its copies or its successors that the person's consent is withdrawn."""
    call = invocation(ctx)
    text = choices.note_text(note)
    call.confirm("ask.consent_withdrawn", ref=ref)
    with call.person() as client:
        report = recalling.withdraw_consent(client.pen, ref, text, again=again)
        calls = _to_phone(call, client, report)
    _show_report(call, ref, report, calls)


def answer_notice(
    ctx: typer.Context,
    ref: Ref,
    reply: Annotated[str, typer.Option("--reply")],
    answers: Answers = None,
    note: NoteFile = None,
) -> None:
    """Say what the unit does about a withdrawal, or about a consent that was withdrawn."""
    call = invocation(ctx)
    body = {"code": choices.check_code(call, "withdrawal_answer", reply, note)}
    call.confirm("ask.answer_notice", ref=ref)
    choices.answering(call, ref, Act.WITHDRAWAL_ANSWER, NOTICES, body, answers=answers, note=note)


@dataclass(frozen=True, slots=True)
class _Calls:
    """Whom only a telephone call can tell, as lines and as JSON members."""

    lines: tuple[str, ...] = ()
    data: tuple[Mapping[str, str], ...] = ()


def _to_phone(call: Invocation, client: Client, report: Report | None) -> _Calls:
    found = (
        []
        if report is None
        else [(ref, unit, passing.duty_phone(client.session, unit)) for ref, unit in report.to_phone]
    )
    return _Calls(
        tuple(call.screen.say("recall.phone", ref=ref, unit=unit, phone=phone) for ref, unit, phone in found),
        tuple({"ref": ref, "unit": unit, "duty_phone": phone} for ref, unit, phone in found),
    )


def _deliveries_after(client: Client, ref: str, entries: Sequence[Entry]) -> list[Delivery]:
    """The deliveries as they stand once they were taken back; none where that waits, or cannot be looked at now."""
    if any(entry.receipt is None for entry in entries):
        return []
    try:
        return list(client.referral(ref).chronicle.deliveries.values())
    except ReferralError as error:
        if not outage.is_passing(error):
            raise
        return []


def _show_taken(
    call: Invocation, ref: str, reason: str, taken: recalling.TakenBack, after: Sequence[Delivery]
) -> NoReturn:
    """What each delivery is after a withdrawal, and what became of every copy; exit 8 while one was not taken back."""
    screen, copies = call.screen, () if taken.copies is None else taken.copies.done
    more: list[str | Text] = [
        screen.say("withdraw.delivery", unit=one.unit, words=_words(screen, one)) for one in after
    ]
    for one in copies:
        code = "" if one.code is None else f" {text_of(one.code, screen.lang).title}"
        line = screen.say("withdraw.copy", ref=one.ref, words=screen.say(f"withdraw.copy.{one.outcome.value}") + code)
        more.append(Text(line, style="bold red") if one in taken.left else line)
    again = [f"referral withdraw {one.ref} --reason {reason}" for one in taken.left if one.outcome is Outcome.FAILED]
    again += ["referral outbox flush"] if any(one.outcome is Outcome.WAITS for one in taken.left) else []
    beside = {
        "deliveries": [{"unit": one.unit, "state": one.state.value} for one in after],
        "copies": [
            {"ref": one.ref, "outcome": one.outcome.value, "code": None if one.code is None else one.code.value}
            for one in copies
        ],
    }
    follow = [*again, f"referral timeline {ref}"]
    acting.show_entries(call, taken.entries, follow, beside, more=more, partly=bool(taken.left), after=again)


def _words(screen: Screen, own: Delivery) -> str:
    """What a delivery is after a withdrawal, in words that say whether anybody there has had it."""
    if own.state is State.WITHDRAWN:
        return screen.say("withdraw.answered" if own.was_had else "withdraw.unread")
    if own.state is State.WITHDRAWAL_NOTIFIED:
        return screen.say("withdraw.notified")
    return screen.say(f"state.{own.state.value}")


def _show_report(call: Invocation, ref: str, report: Report, calls: _Calls, entries: Sequence[Entry] = ()) -> NoReturn:
    """Every referral and what became of it, after what was signed before; exit 8 while one is left or somebody must be
    telephoned, 5 where one did not verify.
    """
    screen = call.screen
    rows = [
        [one.ref, screen.say(f"recall.{one.outcome.value}"), "—" if one.code is None else one.code.value]
        for one in report.done
    ]
    left = report.remaining
    signed = [acting.entry_data(entry) for entry in entries]
    lines: list[Any] = [
        line for entry, told in zip(entries, signed, strict=True) for line in acting.entry_lines(screen, entry, told)
    ]
    lines.append(screen.table(("col.ref", "col.what", "col.code"), rows))
    lines.append(screen.say("recall.count", told=len(report.told), left=len(left)))
    lines += [f"  {one.ref}: {text_of(one.code, screen.lang).title}" for one in left if one.code is not None]
    lines += [Text(line, style="bold red") for line in calls.lines]
    unread = [one.ref for one in report.done if one.unread and one.outcome in (Outcome.TOLD, Outcome.KNEW)]
    follow = [f"referral withdraw {one} --reason consent_withdrawn" for one in unread]
    status = Exit.PARTLY if calls.lines else Exit.OK
    if left:
        again = f"referral consent-withdrawn {ref}"
        waits = all(one.outcome is Outcome.WAITS for one in left)
        follow.insert(0, "referral outbox flush" if waits else again)
        false = any(one.code is not None and EXIT_OF[one.code] is Exit.VERIFICATION_FAILED for one in left)
        status = Exit.VERIFICATION_FAILED if false else Exit.PARTLY
    data = (signed[0] if len(signed) == 1 else {"acts": signed} if signed else {}) | {
        "ref": ref,
        "told": len(report.told),
        "left": len(left),
        "to_phone": list(calls.data),
        "referrals": [
            {
                "ref": one.ref,
                "outcome": one.outcome.value,
                "code": None if one.code is None else one.code.value,
                "unread": one.unread,
            }
            for one in report.done
        ],
    }
    call.show(Shown(data, lines, follow or [nexts.WATCH], status))
