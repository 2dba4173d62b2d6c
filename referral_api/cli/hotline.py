"""What a hotline does: `send`, `outbox`; and `timeline`, which either side reads.

A referral is durable in the outbox, signed and sealed, before the first byte of it is sent: a call that ends with exit
code 8 has lost nothing.

Must never: say "received" before the receipt is verified, or send what the checks before sealing refuse.

Implements: R-53, R-54, R-75, R-81, R-83, R-84; design §12 (outbox).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from referral_api.cli import acting, choices, forgetting, nexts, notes, reading, remarks, supplements, units
from referral_api.cli.invocation import group_meaning, invocation, read_document
from referral_api.cli.output import EXIT_OF, Exit, Screen, Shown
from referral_api.client import replacing
from referral_api.client.outbox import Entry, Progress
from referral_api.client.submission import Composition
from referral_api.domain.errors import ReferralError
from referral_api.domain.terms import Term
from referral_api.domain.words import Act, CredentialKind, PartyId
from referral_api.formats.codelists import label

WAITING = frozenset({Progress.QUEUED, Progress.SENDING, Progress.NEEDS_RESEALING})


def register(app: typer.Typer) -> None:
    """Add these verbs to the command."""
    app.command("send")(send)
    app.command("timeline")(timeline)
    outbox = group_meaning(outbox_list)
    outbox.command("resend")(outbox_resend)
    for name, verb in (("list", outbox_list), ("flush", outbox_flush), ("reseal", outbox_reseal)):
        outbox.command(name)(verb)
    app.add_typer(outbox, name="outbox")


def send(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument()],
    unit: Annotated[str, typer.Option("--unit", "-u")],
    inform: Annotated[list[str] | None, typer.Option("--inform")] = None,
    exclude: Annotated[list[str] | None, typer.Option("--exclude")] = None,
    as_kind: Annotated[CredentialKind, typer.Option("--as")] = CredentialKind.PERSON,
    operator: Annotated[str | None, typer.Option()] = None,
    retention: Annotated[str, typer.Option()] = "standard",
    agreement: Annotated[str | None, typer.Option()] = None,
    relates: Annotated[str | None, typer.Option("--relates")] = None,
) -> None:
    """Check, seal, sign, queue and send one referral."""
    call = invocation(ctx)
    what = Composition(
        body=read_document(file),
        action=PartyId(unit),
        information=tuple(PartyId(one) for one in inform or ()),
        excluded=tuple(PartyId(one) for one in exclude or ()),
        retention_class=retention,
        agreement=agreement,
        operator=operator,
        relation=None if relates is None else choices.relation(call, relates),
    )
    with call.service() if as_kind is CredentialKind.SERVICE else call.person() as client:
        if what.relation is not None:
            choices.demand_earlier(client, what.relation["ref"])
        addressed = units.announce(call, client, what)
        call.screen.talk("send.sealing", unit=unit)
        with call.screen.progress() as progress:
            entry = client.submit(what, progress)
    ring, silent = units.silence(call, what, str(entry.outgoing.ref))
    follow = [*ring, f"referral timeline {entry.outgoing.ref}"]
    acting.show_entries(call, [entry], follow, addressed, more=silent, after=ring)


def outbox_list(ctx: typer.Context) -> None:
    """What was signed on this machine and how far it got; exit 8 while something waits."""
    call = invocation(ctx)
    with call.nobody() as client:
        entries = client.outbox.entries()
    _show_outbox(call, entries, "referral whoami")


def outbox_flush(ctx: typer.Context) -> None:
    """Send what is due; exit 8 while something still waits, else that of what was refused now."""
    call = invocation(ctx)
    with call.anyone() as client, call.screen.progress() as progress:
        entries = client.flush(impatient=True, progress=progress)
    refused = [one for one in entries if one.state is Progress.REFUSED]
    _show_outbox(call, entries, "referral outbox list", refused)


def outbox_reseal(ctx: typer.Context, act: Annotated[str, typer.Argument()]) -> None:
    """Make a submission anew whose recipients changed their keys, and send it."""
    call = invocation(ctx)
    with call.person() as client:
        renewed = client.reseal(act)
        client.flush(impatient=True)
        entry = client.outbox.get(renewed.outgoing.id)
    acting.show_entry(call, entry, f"referral timeline {entry.outgoing.ref}")


def outbox_resend(ctx: typer.Context, ref: Annotated[str, typer.Argument()]) -> None:
    """Send again, unchanged, what the exchange took of a referral and has lost since."""
    call = invocation(ctx)
    with call.anyone() as client, call.screen.progress() as progress:
        entries = client.resend(ref, progress)
    _show_outbox(call, entries, f"referral timeline {ref}")


def timeline(ctx: typer.Context, ref: Annotated[str, typer.Argument()]) -> None:
    """Everything that became of a referral, verified and folded here, and what may be done next."""
    call = invocation(ctx)
    with call.reader() as client:
        referral = client.referral(ref)
        opened, told = notes.read(call, client, referral)
        seen, more = None, list[supplements.Supplement]()
        if opened is not None:
            (first, further), now = opened, client.session.now()
            seen = reading.read(first, supplements.bodies(further), now)
            more = supplements.read(further, first.body, now)
        signer = client.keys.credential
        said = remarks.lines(call.screen, client.session, referral)
        after = replacing.look(client.referral, client.outbox, referral)
    data = acting.timeline_data(call.screen, referral, signer) | {"notes": notes.data(told)}
    data |= {"unsaid": remarks.data(referral), "replaced": after.replaced, "unverified": _unverified(after)}
    screen = call.screen
    deliveries = [
        [
            one["unit"],
            label("delivery_role", one["role"], screen.lang),
            screen.say(f"state.{one['state']}"),
            ", ".join(label("investigation_status", code, screen.lang) for code in one["investigation"]) or "—",
        ]
        for one in data["deliveries"]
    ]
    events = [
        [
            screen.at(one["at"]),
            screen.say(f"act.{one['what']}"),
            one["by"],
            acting.detail_of(one, screen),
            f"{Term.of_members(one)}/{one['index']}",
        ]
        for one in data["events"]
    ]
    lines: list[Any] = [
        screen.table(("col.unit", "col.role", "col.state", "col.investigation"), deliveries),
        *acting.relation_lines(screen, data),
        *(line for one in data["deliveries"] for line in forgetting.lines(screen, one)),
        "",
        screen.table(("col.when", "col.what", "col.who", "col.detail", "col.index"), events),
        screen.say("timeline.verified", acts=len(referral.acts)),
        *acting.next_lines(screen, referral, data),
        *said,
    ]
    if seen is not None:
        lines += ["", *supplements.first(screen, more), *reading.warnings(screen, seen)]
        lines += [*reading.handling(screen, seen), *supplements.handling(screen, more)]
        data |= reading.handling_data(seen) | {"supplements": supplements.handling_data(more)}
    if told:
        lines += ["", *notes.lines(screen, told)]
    lines += [Text(words, style="bold red") for words in _unverified_lines(screen, after)]
    follow = nexts.next_of(screen, referral, signer=signer, replaced=after.replaced)
    call.show(Shown(data, lines, follow, supplements.worst(notes.status_of(told), _status_of(after))))


def _unverified(after: replacing.Replaced) -> list[dict[str, str]]:
    return [{"ref": ref, "code": error.code.value} for ref, error in after.problems]


def _unverified_lines(screen: Screen, after: replacing.Replaced) -> list[str]:
    return [
        screen.say("list.unverified", ref=ref, what=" ".join(screen.words_of(error))) for ref, error in after.problems
    ]


def _status_of(after: replacing.Replaced) -> Exit:
    if any(EXIT_OF[error.code] is Exit.VERIFICATION_FAILED for _, error in after.problems):
        return Exit.VERIFICATION_FAILED
    return Exit.PARTLY if after.problems else Exit.OK


def _refusal(screen: Screen, entry: Entry, error: ReferralError) -> str:
    what = screen.say(f"act.{entry.outgoing.act.value}")
    return screen.say("outbox.refused", what=what, ref=entry.outgoing.ref, words=" ".join(screen.words_of(error)))


def _show_outbox(call: Any, entries: list[Entry], otherwise: str, refused: Sequence[Entry] = ()) -> None:
    """Print entries; the next command is `otherwise` where none of them has one. `refused` are those that were just
    refused for ever: of each is said why, and what to do, as whoever signed it would have been told.
    """
    screen = call.screen
    rows = [
        [
            one.outgoing.id,
            screen.say(f"act.{one.outgoing.act.value}"),
            one.outgoing.ref or "—",
            screen.say(f"progress.{one.state.value}"),
            screen.at(one.queued_at),
            "—" if one.code is None else one.code.value,
        ]
        for one in entries
    ]
    columns = ("col.act", "col.what", "col.ref", "col.progress", "col.queued", "col.code")
    lines = [screen.table(columns, rows)] if rows else [screen.say("outbox.empty")]
    why = [(one, ReferralError(one.code)) for one in refused if one.code is not None]
    lines += [Text(_refusal(screen, one, error), style="bold red") for one, error in why]
    waiting = [one for one in entries if one.state in WAITING]
    stale = [one.outgoing.id for one in waiting if one.state is Progress.NEEDS_RESEALING]
    # Of a submission that was refused there is no referral; whatever else became of an act, its referral tells.
    there = [one for one in entries if one.state is not Progress.REFUSED or one.outgoing.act is not Act.SUBMIT]
    arrived = [one.outgoing.ref for one in there if one.outgoing.ref is not None]
    follow = f"referral timeline {arrived[-1]}" if arrived else otherwise
    if waiting:
        follow = f"referral outbox reseal {stale[0]}" if stale else "referral outbox flush"
    status = Exit.PARTLY if waiting else EXIT_OF[why[0][1].code] if why else Exit.OK
    call.show(Shown({"entries": [acting.entry_data(one) for one in entries]}, lines, [follow], status))
