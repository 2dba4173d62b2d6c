"""What a police unit does: `inbox`, `show`, `ack`, `accept`, `decline`, `status`, `receipt-failed`; and `note`, which
either side sends. What both sides close, ask and answer is in talking.py, what is passed on in passing.py.

Polling needs the service's key alone, so a workstation sounds its alarm after a restart with nobody there. Everything
that binds the unit takes a person's passphrase.

Must never: acknowledge what did not open, show a number before how it may be used, or move past an entry not shown.

Implements: R-55, R-69, R-71 to R-76, R-102; design §10, §12.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from referral_api.cli import acting, arriving, choices, nexts, notes, reading, remarks, standing, supplements, watching
from referral_api.cli.invocation import Invocation, group_meaning, invocation
from referral_api.cli.output import Exit, Shown
from referral_api.client import outage, talking
from referral_api.client.exchange import INBOX_LIMIT
from referral_api.client.outage import Outage
from referral_api.client.overseeing import Overseer
from referral_api.client.view import Referral
from referral_api.client.watching import Watch
from referral_api.domain.errors import ReferralError
from referral_api.domain.words import Act, Investigation

Ref = Annotated[str, typer.Argument()]
NoteFile = Annotated[Path | None, typer.Option("--note")]
CaseFile = Annotated[str | None, typer.Option("--case-number")]


def register(app: typer.Typer) -> None:
    """Add these verbs to the command."""
    inbox = group_meaning(inbox_list)
    inbox.command("list")(inbox_list)
    inbox.command("watch")(inbox_watch)
    app.add_typer(inbox, name="inbox")
    verbs: Mapping[str, Callable[..., None]] = {
        "show": show,
        "ack": ack,
        "accept": accept,
        "decline": decline,
        "status": status,
        "receipt-failed": receipt_failed,
        "note": note,
    }
    for name, verb in verbs.items():
        app.command(name)(verb)


def inbox_list(
    ctx: typer.Context,
    pending: Annotated[bool, typer.Option("--pending")] = False,  # noqa: FBT002 - an option of the command line
    exit_code: Annotated[bool, typer.Option("--exit-code")] = False,  # noqa: FBT002 - as above
) -> None:
    """The whole inbox, or what of it still waits for an answer."""
    call = invocation(ctx)
    with call.anyone() as client:
        entries = list(client.inbox(pending=pending))
        shown = arriving.listed(call, client, entries)
    call.show(replace(shown, status=Exit.NOTHING_NEW if exit_code and not entries else Exit.OK))


def inbox_watch(
    ctx: typer.Context,
    count: Annotated[int | None, typer.Option("--count", min=1)] = None,
    once: Annotated[bool, typer.Option("--once")] = False,  # noqa: FBT002 - an option of the command line
    wait: Annotated[int, typer.Option("--wait", min=0, max=25)] = 25,
    exit_code: Annotated[bool, typer.Option("--exit-code")] = False,  # noqa: FBT002 - as above
) -> None:
    """Wait for what arrives and announce it; the cursor moves only past what was announced.

    Without an end of its own it waits for an exchange that does not answer, too, and says so; only what a person must
    decide ends it. A call that ends by itself (`once`, `count`, `exit_code`) leaves the waiting to who called it.
    """
    call = invocation(ctx)
    most, seen = (1 if once else count), 0
    keys: Watch | None = None
    with call.anyone() as client:
        call.screen.talk("watch.begins", party=client.profile.party)
        overseer = Overseer(client.session, client.outbox, client.referral)
        line = Outage(client.session.ambient)
        while most is None or seen < most:
            limit = INBOX_LIMIT if most is None else min(INBOX_LIMIT, most - seen)
            try:
                keys = keys or client.identity.watch()
                watching.announce(call, client, keys)
                watching.announce_silence(call, client, overseer)
                page = client.next_page(wait_s=wait, limit=limit)
            except ReferralError as error:
                if most is not None or exit_code or not outage.is_passing(error):
                    raise
                watching.wait_out(call, line, error)
                continue
            watching.announce_back(call, line)
            for entry in page.entries:
                arriving.announce(call, client, entry)
                seen += 1
            client.keep(page)
            call.keep_up()
            if not page.entries and exit_code:
                call.show(Shown({"entry": None}, [], ["referral inbox watch"], Exit.NOTHING_NEW))


def show(
    ctx: typer.Context,
    ref: Ref,
    reveal_expired: Annotated[bool, typer.Option("--reveal-expired")] = False,  # noqa: FBT002 - an option of the command line
) -> None:
    """Open, verify and print a referral, what has become of it first, its supplements and the notes that came after it;
    numbers that grew old only when asked to.
    """
    call = invocation(ctx)
    with call.person() as client:
        referral = client.referral(ref)
        standing.demand_served(call, referral)
        opened = client.open_referral(referral)
        told = notes.open_all(client, referral)
        further = talking.read_supplements(client.session, client.keys, referral)
        signer, now = client.keys.credential, client.session.now()
        said = remarks.lines(call.screen, client.session, referral)
    stands = standing.of(call.screen, referral)
    shown = reading.read(opened, supplements.bodies(further), now, reveal=reveal_expired)
    more = supplements.read(further, opened.body, now, reveal=reveal_expired)
    warning = opened.warning
    data = {
        "ref": ref,
        "verified": True,
        "from": opened.bundle.referral.contents.party,
        "issuer": opened.bundle.referral.contents.issuer,
        "warning": None if warning is None else warning.code.value,
        **standing.data(stands),
        "unsaid": remarks.data(referral),
        **reading.data(shown),
        "notes": notes.data(told),
        "supplements": supplements.data(more),
    }
    lines = [*standing.lines(call.screen, stands), *said, *supplements.first(call.screen, more)]
    lines += reading.lines(call.screen, shown, told)
    lines += supplements.lines(call.screen, more)
    follow = nexts.next_of(call.screen, referral, opened=True, signer=signer)
    call.show(Shown(data, lines, follow, supplements.worst(notes.status_of(told), supplements.status_of(more))))


def ack(ctx: typer.Context, ref: Ref) -> None:
    """Open, verify, show what has become of it, what must not be done and how anybody may be reached, by what its
    supplements say too, and acknowledge: the digests of what was opened are signed, and with them those handling codes
    accepted (R-69, R-87).
    """
    call = invocation(ctx)
    with call.person() as client:
        referral = client.referral(ref)
        standing.demand_served(call, referral)
        opened = client.open_referral(referral)
        further, now = talking.read_supplements(client.session, client.keys, referral), client.session.now()
        seen, stands = reading.read(opened, supplements.bodies(further), now), standing.of(call.screen, referral)
        more = supplements.read(further, opened.body, now)
        if not call.screen.as_json:
            lines = [*standing.lines(call.screen, stands), *supplements.first(call.screen, more)]
            lines += [*reading.warnings(call.screen, seen), *reading.handling(call.screen, seen)]
            lines += [*supplements.handling(call.screen, more), call.screen.say("care.accepts"), ""]
            call.screen.show(Shown({}, lines))
        entry = client.acknowledge(opened)
    told = standing.data(stands) | reading.handling_data(seen) | {"warnings": reading.data(seen)["warnings"]}
    told |= {"supplements": supplements.handling_data(more)}
    acting.show_entry(call, entry, nexts.after_ack(call.screen, referral), told)


def accept(
    ctx: typer.Context,
    ref: Ref,
    case_number: CaseFile = None,
    joint: Annotated[str | None, typer.Option("--joint")] = None,
    note: NoteFile = None,
) -> None:
    """Take the referral; the case number and the note travel sealed. `joint`: beside a unit that took it already. What
    was taken back, or is no longer agreed to, is taken only once a person says yes to that.
    """
    call = invocation(ctx)
    body = {} if joint is None else {"joint": choices.check_code(call, "joint_reason", joint)}
    follow = f"referral status {ref} --to registered"
    choices.perform(call, ref, Act.ACCEPT, body, follow, note=note, case_number=case_number, first=standing.demand_yes)


def decline(
    ctx: typer.Context,
    ref: Ref,
    reason: Annotated[str, typer.Option()],
    suggest: Annotated[str | None, typer.Option("--suggest")] = None,
    duplicate_of: Annotated[str | None, typer.Option("--duplicate-of")] = None,
    note: NoteFile = None,
) -> None:
    """Decline the referral, with a coded reason, and say whose it is instead."""
    call = invocation(ctx)
    body = {"reason": choices.check_code(call, "decline_reason", reason, note)}
    body |= {} if suggest is None else {"suggested_unit": suggest}
    body |= {} if duplicate_of is None else {"duplicate_of": duplicate_of}
    call.confirm("ask.decline", ref=ref)
    choices.perform(call, ref, Act.DECLINE, body, nexts.PENDING, note=note)


def status(
    ctx: typer.Context,
    ref: Ref,
    to: Annotated[Investigation, typer.Option()],
    corrects: Annotated[str | None, typer.Option("--corrects")] = None,
    case_number: CaseFile = None,
    note: NoteFile = None,
) -> None:
    """Report one step of the investigation, or put right one that was reported wrongly. The case number and the note
    travel sealed.
    """

    def demand_reported(call: Invocation, referral: Referral) -> None:
        if corrects is not None:
            choices.demand_status(call, referral, corrects)

    body = {"code": to.value} | ({} if corrects is None else {"corrects": corrects})
    choices.perform(invocation(ctx), ref, Act.STATUS, body, note=note, case_number=case_number, first=demand_reported)


def receipt_failed(ctx: typer.Context, ref: Ref, reason: Annotated[str, typer.Option()]) -> None:
    """Report that a bundle did not open or did not verify."""
    call = invocation(ctx)
    body = {"reason": choices.check_code(call, "receipt_failure", reason)}
    choices.perform(call, ref, Act.RECEIPT_FAILED, body)


def note(
    ctx: typer.Context,
    ref: Ref,
    file: Annotated[Path, typer.Argument()],
    unit: Annotated[str | None, typer.Option("--unit", "-u")] = None,
    case_number: CaseFile = None,
) -> None:
    """Send a sealed note to the other side; a hotline says to which unit, where there are several. A unit's own case
    number may go with it.
    """
    choices.perform(invocation(ctx), ref, Act.NOTE, {}, unit=unit, note=file, case_number=case_number)
