"""`referral keys rewrap | remove | review`: a unit's workstations and officers come, go, and are looked through.

What ends is shown before anything is signed. Taking away acts at once and by one keyholder; a review prolongs too, so
where there are two keyholders the second confirms it.

Must never: drop or prolong anybody that the screen has not shown by name.

Implements: R-28, R-32 (b); design §5 (credentials), §6 (re-wrap).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from referral_api.cli.invocation import Invocation, invocation
from referral_api.cli.output import Exit, Fault, Screen, Shown
from referral_api.client.rewrapping import Outcome, Report
from referral_api.client.roster import ENDS_SOON_S, STATION, Line, Removal, Roster, changes, is_review
from referral_api.client.sdk import Client
from referral_api.client.trust import Confirmed
from referral_api.domain.catalogue import text_of
from referral_api.domain.words import UUID7, Digest

_DAY_S = 24 * 3600
_YES = ("s", "si", "sí", "y", "yes")


def register(keys: typer.Typer) -> None:
    """Add these verbs to `referral keys`."""
    for name, verb in (("rewrap", rewrap), ("remove", remove), ("review", review)):
        keys.command(name)(verb)


def rewrap(ctx: typer.Context, refs: Annotated[list[str] | None, typer.Argument()] = None) -> None:
    """Seal what is open again for the unit's newer workstations; those named, whatever became of them."""
    call = invocation(ctx)
    screen = call.screen
    if any(re.fullmatch(UUID7, ref) is None for ref in refs or ()):
        raise Fault("bad-value", what="REF", path=ctx.command_path)
    with call.person() as client, screen.progress() as progress:
        report = client.identity.rewrap(refs or (), progress)
    rows = [[one.ref, screen.say(f"keys.rewrap.{one.outcome.value}"), ", ".join(one.stations)] for one in report.done]
    lines: list[Any] = [screen.table(("col.ref", "col.state", "col.station"), rows)] if rows else []
    lines += [screen.say("keys.rewrap.none")] if not rows and report.complete else []
    lines += _unfinished(screen, report)
    data = {
        "deliveries": [
            {
                "ref": one.ref,
                "outcome": one.outcome.value,
                "stations": list(one.stations),
                "code": None if one.code is None else one.code.value,
            }
            for one in report.done
        ],
        "unwitnessed": list(report.unwitnessed),
        "complete": report.complete,
        "ended_by": None if report.ended_by is None else report.ended_by.code.value,
    }
    waits = any(one.outcome is Outcome.WAITS for one in report.done)
    follow = "referral outbox flush" if waits else "referral inbox list" if report.complete else "referral keys rewrap"
    status = Exit.OK if report.complete else Exit.PARTLY
    call.show(Shown(data, lines, [follow], status))


def remove(
    ctx: typer.Context,
    station: Annotated[list[str] | None, typer.Option("--station")] = None,
    credential: Annotated[list[str] | None, typer.Option("--person", "--service")] = None,
) -> None:
    """Take away workstations, or persons and services with the workstations that they keep. It acts at once."""
    call = invocation(ctx)
    gone = [STATION + one for one in station or ()] + list(credential or ())
    if not gone:
        raise Fault("missing-parameter", what="--station, --person", path=ctx.command_path)
    with call.person() as client:
        what = client.identity.removal(gone)
        _show_ends(call, client, what)
        call.confirm("ask.remove", ends=", ".join(line.name for line in what.ends) or "—")
        confirmed = client.identity.sign(what)
        pending = client.session.keymap.find_pending(what.party.id)
    _show_signed(call, what, confirmed, waits=pending is not None)


def review(
    ctx: typer.Context,
    sign: Annotated[bool, typer.Option("--sign")] = False,  # noqa: FBT002 - an option of the command line
    here: Annotated[list[str] | None, typer.Option("--here")] = None,
    gone: Annotated[list[str] | None, typer.Option("--gone")] = None,
    digest: Annotated[str | None, typer.Option("--confirm")] = None,
) -> None:
    """Every credential and workstation with its age, its end and who vouched; who is still here is prolonged a year."""
    call = invocation(ctx)
    if digest is not None:
        return _confirm(call, digest)
    if not (sign or here or gone):
        with call.anyone() as client:
            return _show_roster(call, client, client.identity.roster())
    with call.person() as client:
        found = client.identity.roster()
        staying, leaving = ([name.removeprefix(f"{found.party.id}.") for name in names or ()] for names in (here, gone))
        _ask(call, client, found, staying, leaving)
        what = client.identity.review(staying, leaving)
        _show_ends(call, client, what)
        call.confirm("ask.review", here=len(staying), ends=len(what.ends))
        confirmed = client.identity.sign(what)
        pending = client.session.keymap.find_pending(what.party.id)
    return _show_signed(call, what, confirmed, waits=pending is not None)


def _ask(call: Invocation, client: Client, found: Roster, here: list[str], gone: list[str]) -> None:
    """Who stays and who goes, where no option says so: as whoever sits at the terminal answers. Oneself stays."""
    for line in found.lines:
        if line.name in (*here, *gone) or line.revoked or line.keeper in gone:
            continue
        if line.own and line.keeper is None:
            here.append(line.name)
        elif sys.stdin.isatty():
            call.screen.talk("keys.line", words=_words(call.screen, line, client.session.now()))
            call.screen.ask("ask.still_here", name=line.name)
            is_here = sys.stdin.readline().strip().lower() in _YES
            (here if is_here else gone).append(line.name)


def _confirm(call: Invocation, digest: str) -> None:
    """The second keyholder: what the first one's review changes, and a signature to it."""
    with call.person() as client:
        found = client.identity.roster()
        pending = found.pending
        if pending is not None and pending.digest == digest and is_review(pending.body, found.party.body):
            ends, longer = changes(found, pending.body)
            for line in ends:
                call.screen.talk("keys.ends", words=_words(call.screen, line, client.session.now()))
            for line, until in longer:
                call.screen.talk("keys.prolongs", name=line.name, at=call.screen.at(until))
            call.confirm("ask.review", here=len(longer), ends=len(ends))
        confirmed = client.identity.confirm_review(Digest(digest))
    place = confirmed.receipt.payload.log
    data = {"party": found.party.id, "turn": "done", "log": {"origin": place.origin, "index": place.index}}
    lines = [call.screen.say("keys.signed", log=place.origin, index=place.index), call.screen.say("keys.in_effect")]
    call.show(Shown(data, lines, ["referral keys show"]))


def _show_roster(call: Invocation, client: Client, found: Roster) -> None:
    screen, now = call.screen, client.session.now()
    rows = [
        [
            line.name,
            screen.say(f"keys.kind.{line.kind.value}"),
            screen.say("keys.days", days=(now - line.since) // _DAY_S),
            screen.at(line.until),
            ", ".join(line.vouched_by),
            line.keeper or "—",
            _remark(screen, line, now),
        ]
        for line in found.lines
    ]
    columns = ("col.name", "col.kind", "col.age", "col.until", "col.vouched", "col.keeper", "col.detail")
    lines: list[Any] = [screen.table(columns, rows)]
    follow = "referral keys review --sign"
    waiting: dict[str, Any] | None = None
    if found.pending is not None:
        waiting = {"digest": found.pending.digest, "signer": found.pending.signer}
        lines += ["", screen.say("keys.pending", by=found.pending.signer)]
        if is_review(found.pending.body, found.party.body):
            ends, longer = changes(found, found.pending.body)
            waiting |= {"ends": [one.name for one in ends], "prolongs": [one.name for one, _ in longer]}
            follow = f"referral keys review --confirm {found.pending.digest}"
    data = {
        "party": found.party.id,
        "seq": found.party.seq,
        "lines": [_data(line, now) for line in found.lines],
        "pending": waiting,
    }
    call.show(Shown(data, lines, [follow]))


def _show_ends(call: Invocation, client: Client, what: Removal) -> None:
    """What a signature would end, and what that leaves: talk, before anybody is asked."""
    screen = call.screen
    for line in what.ends:
        screen.talk("keys.ends", words=_words(screen, line, client.session.now()))
    if any(line.keeper is not None for line in what.ends) or any(line.name == "backup" for line in what.ends):
        screen.talk("keys.rewrap_first")
    if what.overtakes is not None:
        screen.talk("keys.overtakes", by=what.overtakes.signer)
    screen.talk("keys.left", stations=", ".join(what.stations_left) or "—", keyholders=", ".join(what.keyholders_left))
    if what.party.enc and not what.stations_left:
        screen.talk("keys.no_station")


def _show_signed(call: Invocation, what: Removal, confirmed: Confirmed, *, waits: bool) -> None:
    place, screen = confirmed.receipt.payload.log, call.screen
    lines = [screen.say("keys.signed", log=place.origin, index=place.index)]
    lines.append(screen.say("keys.waits" if waits else "keys.in_effect"))
    data = {
        "party": what.party.id,
        "ends": [line.name for line in what.ends],
        "stations_left": list(what.stations_left),
        "keyholders_left": list(what.keyholders_left),
        "overtakes": None if what.overtakes is None else what.overtakes.digest,
        "turn": "second_keyholder" if waits else "done",
        "statement": confirmed.receipt.payload.act,
        "log": {"origin": place.origin, "index": place.index},
    }
    call.show(Shown(data, lines, ["referral keys review" if waits else "referral keys show"]))


def _unfinished(screen: Screen, report: Report) -> list[str]:
    lines = (
        [screen.say("keys.rewrap.unwitnessed", stations=", ".join(report.unwitnessed))] if report.unwitnessed else []
    )
    if any(one.outcome is Outcome.LOCKED for one in report.done):
        lines.append(screen.say("keys.rewrap.elsewhere"))
    if report.ended_by is not None:
        words = text_of(report.ended_by.code, screen.lang)
        lines.append(screen.say("keys.rewrap.ended", words=words.title))
    return lines


def _remark(screen: Screen, line: Line, now: int) -> str:
    remarks: Sequence[str | None] = (
        screen.say("keys.revoked") if line.revoked else None,
        screen.say("keys.over") if line.until <= now else None,
        screen.say("keys.soon") if now < line.until <= now + ENDS_SOON_S else None,
        screen.say("keys.holder") if line.keyholder else None,
        screen.say("keys.own") if line.own else None,
    )
    return ", ".join(one for one in remarks if one is not None)


def _words(screen: Screen, line: Line, now: int) -> str:
    kind = screen.say(f"keys.kind.{line.kind.value}")
    kept = "" if line.keeper is None else screen.say("keys.kept_by", keeper=line.keeper)
    words = [kind, line.name, screen.say("keys.days", days=(now - line.since) // _DAY_S), screen.at(line.until), kept]
    return " · ".join(one for one in (*words, _remark(screen, line, now)) if one)


def _data(line: Line, now: int) -> dict[str, Any]:
    return {
        "name": line.name,
        "kind": line.kind.value,
        "since": line.since,
        "until": line.until,
        "ends_soon": line.until <= now + ENDS_SOON_S,
        "vouched_by": list(line.vouched_by),
        "keeper": line.keeper,
        "keyholder": line.keyholder,
        "own": line.own,
        "revoked": line.revoked,
    }
