"""`referral keys watch` and `referral keys object`: what became of our keys that nobody here did, and what to do.

An alarm says which keys, by whom, when and in which leaf, whose turn it is, whom to telephone, and the next command. It
stays until a person has answered it. Every inbox watch tells the same between what arrives.

Must never: close anything without a person's passphrase, or name a number from the keys log as one to be trusted.

Implements: R-32 c, R-102; design §5.
"""

from __future__ import annotations

import time
from typing import Annotated, Any, Final, NoReturn

import typer
from rich.text import Text

from referral_api.cli.invocation import Invocation, invocation
from referral_api.cli.output import Exit, Screen, Shown
from referral_api.client.changes import Change, encode_change
from referral_api.client.outage import Outage
from referral_api.client.overseeing import Overseer
from referral_api.client.sdk import Client
from referral_api.client.watching import KeysReport, Watch, find_waiting
from referral_api.domain.catalogue import text_of
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Act, Role
from referral_api.formats.act import parse_act
from referral_api.formats.codelists import label
from referral_api.formats.directory_bodies import Statement
from referral_api.formats.parties import Party, Pending
from referral_api.formats.statements import KeyMap

PAUSE_S: Final = 20
"""Between two looks whether it is time to look."""
_AGAIN = "referral keys watch --once"


def register(keys: typer.Typer) -> None:
    """Add these verbs to the group of `keys`."""
    keys.command("watch")(watch)
    keys.command("object")(object_to)


def watch(
    ctx: typer.Context,
    once: Annotated[bool, typer.Option("--once")] = False,  # noqa: FBT002 - an option of the command line
    seen: Annotated[list[str] | None, typer.Option("--seen")] = None,
) -> None:
    """What of our keys was changed by others than this workstation; `--seen` answers it."""
    call = invocation(ctx)
    if seen:
        _answer(call, seen)
    with call.anyone() as client:
        keys = client.identity.watch()
        if once:
            _show_report(call, client, keys.look_anew())
        call.screen.talk("keys.own_begins", party=client.profile.party)
        while True:
            announce(call, client, keys)
            call.keep_up()
            time.sleep(PAUSE_S)


def announce(call: Invocation, client: Client, keys: Watch) -> None:
    """Tell what is to be told of our keys now, if anything is: for whoever waits for something else as well."""
    report = keys.news()
    if report is None:
        return
    if report.alarm:
        call.screen.bell()
    follow = _follow(client, report.told[0]) if report.told else ["referral keys show"]
    data = {"event": "keys", **_report_data(client, report)}
    call.screen.show(Shown(data, _report_lines(call.screen, client, report), follow))


def announce_silence(call: Invocation, client: Client, overseer: Overseer) -> None:
    """Tell which of our referrals are late without a word of the exchange: its clocks stand, or it keeps quiet."""
    for one in overseer.news():
        party = client.session.keymap.find_party(one.unit)
        phone = "—" if party is None else party.entry.duty_phone or "—"
        call.screen.bell()
        line = call.screen.say("watch.silence", ref=one.ref, unit=one.unit, phone=phone, at=call.screen.at(one.due_at))
        data = {"event": "silence", "ref": one.ref, "unit": one.unit, "due_at": one.due_at, "duty_phone": phone}
        follow = [f"referral phone {one.ref} --unit {one.unit} --at {call.screen.say('place.time')}"]
        call.screen.show(Shown(data, [line], follow))


def wait_out(call: Invocation, line: Outage, error: ReferralError) -> None:
    """Pause before an exchange that does not answer is asked again; after a minute say, and ring, that it does not."""
    pause_s = line.lost(error)
    if line.must_tell():
        screen = call.screen
        screen.bell()
        words = text_of(error.code, screen.lang).title
        told = Text(screen.say("watch.away", at=screen.at(line.heard_at), words=words), style="bold red")
        data = {"event": "away", "since": line.heard_at, "code": error.code.value}
        screen.show(Shown(data, [told], ["referral doctor"]))
    time.sleep(pause_s)


def announce_back(call: Invocation, line: Outage) -> None:
    """Say that the exchange answers again, where it was said that it did not."""
    since = line.found()
    if since is not None:
        call.screen.bell()
        data = {"event": "back", "since": since, "at": line.heard_at}
        call.screen.show(Shown(data, [call.screen.say("watch.back", at=call.screen.at(since))]))


def object_to(
    ctx: typer.Context,
    statement: Annotated[str, typer.Argument()],
    reason: Annotated[str, typer.Option()],
) -> None:
    """Object to a statement that waits, so that it never takes effect."""
    call = invocation(ctx)
    screen = call.screen
    with call.person() as client:
        client.sync_keys()
        party = _show_statement(screen, client, statement)
        call.confirm("ask.object", party=party, reason=_reason(screen, reason))
        confirmed = client.identity.object_to(statement, reason)
    place = confirmed.receipt.payload.log
    lines = [screen.say("keys.own_objected", party=party, log=place.origin, index=place.index)]
    data = {"party": party, "statement": statement, "log": {"origin": place.origin, "index": place.index}}
    call.show(Shown(data, lines, [_AGAIN]))


def _show_report(call: Invocation, client: Client, report: KeysReport) -> NoReturn:
    """Show how our keys stand, and end the call."""
    follow = _follow(client, report.open[0]) if report.open else ["referral keys show"]
    status = Exit.PROBLEMS if report.alarm else Exit.OK
    lines = _report_lines(call.screen, client, report) or [call.screen.say("keys.own_quiet")]
    call.show(Shown(_report_data(client, report), lines, follow, status))


def _answer(call: Invocation, seen: list[str]) -> NoReturn:
    with call.person() as client:
        try:
            answered = client.identity.answer(*seen)
        except ReferralError as error:
            if error.code is not ErrorCode.KEYSTORE_CORRUPT:
                raise
            # What was to be answered is told again, and a person looks once more: who damaged it may have hidden some.
            _show_report(call, client, client.identity.watch().look_anew())
    if len(answered) != len(set(seen)):
        missing = sorted(set(seen) - {one.digest for one in answered})
        raise ReferralError(ErrorCode.NOT_FOUND, digest=missing[0])
    lines = [call.screen.say("keys.own_answered", digest=one.digest) for one in answered]
    call.show(Shown({"answered": [one.digest for one in answered]}, lines, [_AGAIN]))


def _show_statement(screen: Screen, client: Client, statement: str) -> str:
    """Say which statement it is that somebody is about to object to; whose. Raises STATEMENT_OUT_OF_SEQUENCE."""
    session, keymap = client.session, client.session.keymap
    pending = find_waiting(keymap, statement)
    if pending is not None:
        at = parse_act(session.replica.leaves[pending.index]).iat
        screen.talk("keys.own_statement", party=pending.party, by=pending.signer, at=screen.at(at), index=pending.index)
        screen.talk("keys.own_waits_" + pending.waits_for.value, at=screen.at(pending.opens_at))
        found = keymap.find_party(pending.party)
        for line in _key_lines(screen, keymap, *_differences(found, pending.body)):
            screen.talk("keys.own_line", line=line)
        return pending.party
    own = keymap.find_party(client.profile.party)
    waiting = client.applicants() if own is not None and own.role is Role.REGISTRAR else []
    for one in waiting:
        if one.statement is not None and one.statement.digest == statement:
            began = screen.at(one.statement.iat)
            screen.talk("keys.own_statement", party=one.party, by=one.statement.iss, at=began, index="—")
            return one.party
    raise ReferralError(ErrorCode.STATEMENT_OUT_OF_SEQUENCE, reason="not-pending", statement=statement)


def _report_lines(screen: Screen, client: Client, report: KeysReport) -> list[str]:
    times = {"stale": report.stale_since, "uncosigned": report.uncosigned_since, "unread": report.unread_since}
    lines = [screen.say(f"keys.own_{name}", at=screen.at(at)) for name, at in times.items() if at is not None]
    if report.trouble is not None:
        lines.append(screen.say(f"keys.own_{report.trouble.value}", path=client.directory.keys_watch))
    return [*lines, *(line for one in report.told for line in _change_lines(screen, client, one))]


def _change_lines(screen: Screen, client: Client, change: Change) -> list[str]:
    keymap = client.session.keymap
    what = screen.say(f"act.{change.act.value}")
    standing, pending = _standing(client, change)
    at = screen.at(0 if pending is None else pending.opens_at)
    registrar = next((one for one in keymap.parties() if one.role is Role.REGISTRAR), None)
    phone = "—" if registrar is None else registrar.entry.duty_phone or "—"
    return [
        screen.say(
            "keys.own_alarm" if change.alarm else "keys.own_notice",
            party=client.profile.party,
            what=what,
            by=change.by,
            at=screen.at(change.at),
            index=change.index,
        ),
        "  " + screen.say(f"keys.own_{change.cause.value}", by=change.by),
        *(f"  {line}" for line in _key_lines(screen, keymap, change.added, change.dropped, change.revoked)),
        *(["  " + screen.say("keys.own_more", by=change.by, count=change.more)] if change.more else []),
        "  " + screen.say(f"keys.own_{standing}", at=at),
        "  " + screen.say(f"keys.own_call_{change.cause.value}", by=change.by, phone=phone),
        "  " + screen.say("keys.own_digest", digest=change.digest),
    ]


def _key_lines(
    screen: Screen, keymap: KeyMap, added: tuple[str, ...], dropped: tuple[str, ...], revoked: tuple[str, ...] = ()
) -> list[str]:
    def named(kids: tuple[str, ...]) -> str:
        found = [(kid, keymap.find_key(kid)) for kid in kids]
        return ", ".join(kid if record is None else f"{record.use.value} {kid}" for kid, record in found)

    lists = {"added": added, "dropped": dropped, "revoked": revoked}
    return [screen.say(f"keys.own_{name}", kids=named(kids)) for name, kids in lists.items() if kids]


def _differences(party: Party | None, body: Statement) -> tuple[tuple[str, ...], tuple[str, ...]]:
    was, will = set[str]() if party is None else set(party.body.kids()), set(body.kids())
    return tuple(sorted(will - was)), tuple(sorted(was - will))


def _standing(client: Client, change: Change) -> tuple[str, Pending | None]:
    """What has become of it by now: the key of the words, and the statement where it waits."""
    keymap = client.session.keymap
    own, pending = keymap.find_party(client.profile.party), keymap.find_pending(client.profile.party)
    if change.statement is None:
        return "in_effect", None
    if pending is not None and pending.digest == change.statement:
        return f"waits_{pending.waits_for.value}", pending
    if own is not None and own.statement == change.statement:
        return "in_effect", None
    return "voided" if change.act is Act.OBJECT else "ended", None


def _follow(client: Client, change: Change) -> list[str]:
    _, pending = _standing(client, change)
    objects = [f"referral keys object {pending.digest} --reason not_authorised"] if pending and change.alarm else []
    return [*objects, f"referral keys watch --seen {change.digest}"]


def _report_data(client: Client, report: KeysReport) -> dict[str, Any]:
    told = [_change_data(client, one) for one in report.told]
    return {
        "party": client.profile.party,
        "size": report.size,
        "alarm": report.alarm,
        "alarms": [one for one in told if one["alarm"]],
        "notices": [one for one in told if not one["alarm"]],
        "stale_since": report.stale_since,
        "uncosigned_since": report.uncosigned_since,
        "unread_since": report.unread_since,
        "trouble": report.trouble,
    }


def _change_data(client: Client, change: Change) -> dict[str, Any]:
    standing, pending = _standing(client, change)
    waits: dict[str, Any] = {"waits_for": None, "opens_at": None}
    if pending is not None:
        waits = {"waits_for": pending.waits_for.value, "opens_at": pending.opens_at or None}
    standing = "waiting" if pending is not None else standing
    return {**encode_change(change), "alarm": change.alarm, "standing": standing, **waits}


def _reason(screen: Screen, code: str) -> str:
    try:
        return label("object_reason", code, screen.lang)
    except LookupError:
        return code  # The format refuses it, and says where.
