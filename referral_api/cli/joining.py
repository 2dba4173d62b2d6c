"""Enrolment from both sides: `invite`, `enrol`, `enrolments`, `approve`. Every screen says whose turn it is.

Three steps: an invitation file is handed over; the newcomer makes keys here and gets thirty digits to read out; whoever
invited telephones a number found outside the system and *types* what is read out.

Must never: show an approver the digits, take them as an argument, or overwrite an invitation or a key file.

Implements: R-34 to R-36; design §5 (enrolment in three steps).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from referral_api.cli import passing
from referral_api.cli.invocation import (
    CODE_ATTEMPTS,
    SERVICE_KEY,
    Invocation,
    invocation,
    read_document,
    read_file,
    read_line,
    write_private_file,
)
from referral_api.cli.output import Fault, Shown
from referral_api.cli.qr import qr_code
from referral_api.client import sdk
from referral_api.client.admission import Applicant, replaced
from referral_api.client.choosing import check_entry
from referral_api.client.enrolment import Joined, Joining
from referral_api.client.keystore import new_service_secret, read_service_secret, write_service_secret
from referral_api.client.sdk import Client
from referral_api.client.trust import Confirmed
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import UUID7, CredentialKind
from referral_api.formats.directory_bodies import Entry
from referral_api.formats.enrolment import MAX_INVITATION_BYTES, parse_invitation, recovery_statement
from referral_api.formats.parties import Approver

QR_SCHEME = "referral-code:1"
"""How the text of the QR code begins: what it is, and its form; party and thirty digits follow."""
EntryFile = Annotated[Path | None, typer.Option("--entry")]
EntryUnit = Annotated[str | None, typer.Option("--unit", "-u")]
"""Which entry is meant, of a file that holds several."""


def register(app: typer.Typer) -> None:
    """Add these verbs to the command."""
    for name, verb in (("invite", invite), ("enrol", enrol), ("enrolments", enrolments), ("approve", approve)):
        app.command(name)(verb)


def invite(
    ctx: typer.Context,
    out: Annotated[Path, typer.Option("--out", "-o")],
    entry: EntryFile = None,
    unit: EntryUnit = None,
    kind: Annotated[list[CredentialKind] | None, typer.Option("--kind")] = None,
    recover: Annotated[str | None, typer.Option("--recover")] = None,
) -> None:
    """Invite a new party (`--entry`), one that has lost its keyholders (`--recover`), or somebody into one's own."""
    call = invocation(ctx)
    kinds = kind or ([CredentialKind.PERSON] if recover is not None else list(CredentialKind))
    if out.exists():
        raise Fault("file-exists", path=out)
    with call.person() as client:
        party = _described(entry, unit) if entry is not None else _entry_of(client, recover or client.profile.party)
        raw = client.invite(party, kinds)
    write_private_file(out, raw)
    invitation = parse_invitation(raw)
    lines = [
        call.screen.say("invite.done", party=invitation.party, path=out, until=call.screen.at(_s(invitation))),
        call.screen.say("turn.invitee"),
    ]
    follow = f"referral enrol {out.name}" + ("" if entry is None else f" --entry {entry.name}")
    follow += "" if unit is None else f" --unit {unit}"
    follow += " --keyholder" if recover is not None else ""
    data = {"party": invitation.party, "file": str(out), "expires_at": _s(invitation), "turn": "invitee"}
    call.show(Shown(data, lines, [follow]))


def enrol(
    ctx: typer.Context,
    invitation: Annotated[Path | None, typer.Argument()] = None,
    entry: EntryFile = None,
    unit: EntryUnit = None,
    station: Annotated[str | None, typer.Option()] = None,
    operator: Annotated[str | None, typer.Option()] = None,
    keyholder: Annotated[bool, typer.Option("--keyholder")] = False,  # noqa: FBT002 - an option of the command line
    no_service: Annotated[bool, typer.Option("--no-service")] = False,  # noqa: FBT002 - as above
    no_station: Annotated[bool, typer.Option("--no-station")] = False,  # noqa: FBT002 - as above
    resume: Annotated[bool, typer.Option("--resume")] = False,  # noqa: FBT002 - as above
    qr: Annotated[bool, typer.Option("--qr")] = False,  # noqa: FBT002 - as above
) -> None:
    """Make keys here and hand in the proposal; without an invitation, say whose turn it is."""
    call = invocation(ctx)
    if resume or invitation is None:
        with call.nobody() as client:
            joined = client.resume_joining() if resume else client.joining()
        return _show_joined(call, joined, qr=qr)
    what = Joining(
        invitation=parse_invitation(read_file(invitation, MAX_INVITATION_BYTES)),
        passphrase=call.new_passphrase(),
        service_secret=None if no_service else _service_secret(call),
        entry=None if entry is None else _described(entry, unit),
        keyholder=keyholder,
        operator=operator,
        station=station,
        opens=not no_station,
        server=call.server,
        lang=call.screen.lang,
    )
    try:
        joined = sdk.join(call.profile_dir, what)
    except FileExistsError:
        raise Fault("enrolled-already", path=call.profile_dir) from None
    return _show_joined(call, joined, qr=qr)


def enrolments(ctx: typer.Context) -> None:
    """The enrolments that wait for us, without their digits."""
    call = invocation(ctx)
    with call.person() as client:
        waiting = client.applicants()
    screen = call.screen
    rows = [[one.party, one.enrolment, screen.say(f"whose.{one.turn}"), _kinds(one)] for one in waiting]
    lines: list[Any] = [screen.say("enrolments.none")] if not waiting else []
    if waiting:
        lines = [screen.table(("col.party", "col.enrolment", "col.turn", "col.asks"), rows)]
    data = {"enrolments": [_applicant_data(one) for one in waiting]}
    follow = (
        f"referral approve {waiting[0].enrolment}" if waiting else f"referral invite --out {screen.say('place.file')}"
    )
    call.show(Shown(data, lines, [follow]))


def approve(
    ctx: typer.Context,
    enrolment: Annotated[str, typer.Argument()],
    code_file: Annotated[Path | None, typer.Option("--code-file")] = None,
    answers: Annotated[str | None, typer.Option("--answers")] = None,
    unit: Annotated[str | None, typer.Option("--unit", "-u")] = None,
    despite_withdrawal: Annotated[bool, typer.Option("--despite-withdrawal")] = False,  # noqa: FBT002 - an option
) -> None:
    """Sign for an enrolment, once the digits typed are those computed here; or agree to what is asked of a referral."""
    call = invocation(ctx)
    if re.fullmatch(UUID7, enrolment) is not None:
        passing.approve(call, enrolment, answers, unit, despite_withdrawal=despite_withdrawal)
    with call.person() as client:
        applicant = _applicant(client, enrolment)
        call.screen.talk("approve.who", party=applicant.party, asks=_kinds(applicant))
        _show_rights(call, client, applicant)
        _show_entry(call, applicant.proposal.entry)
        _show_recovery(call, client, applicant)
        confirmed = _approve_typed(call, client, applicant, code_file)
        pending = client.session.keymap.find_pending(applicant.party)
    place = confirmed.receipt.payload.log
    waits = {
        Approver.KEYHOLDER: "second_keyholder",
        Approver.SECOND_REGISTRAR: "second_registrar",
        Approver.EXCHANGE: "exchange",
    }
    turn = "done" if pending is None else waits.get(pending.waits_for, "done")
    lines = [
        call.screen.say("approve.done", party=applicant.party, log=place.origin, index=place.index),
        call.screen.say(f"turn.{turn}"),
    ]
    data = {
        "party": applicant.party,
        "enrolment": applicant.enrolment,
        "turn": turn,
        "log": {"origin": place.origin, "index": place.index},
    }
    follow = "referral enrolments" if pending is not None else f"referral units show {applicant.party}"
    call.show(Shown(data, lines, [follow]))


def _approve_typed(call: Invocation, client: Client, applicant: Applicant, code_file: Path | None) -> Confirmed:
    """Sign with the digits from a file, or typed here, where a slip may be put right; the third wrong ones void it.

    Raises CODE_MISMATCH as `admission.compare_code`, and after the third line that is not thirty digits.
    """
    if code_file is not None:
        return client.approve(applicant, read_line(code_file))
    typed, slips = call.prompt("ask.code", "code-not-typed"), 0
    while True:
        try:
            return client.approve(applicant, typed)
        except ReferralError as error:
            slips += error.facts.get("reason") == "digits"
            if error.code is not ErrorCode.CODE_MISMATCH or not error.facts.get("left") or slips == CODE_ATTEMPTS:
                raise
            again = "ask.code_digits" if error.facts["reason"] == "digits" else "ask.code_again"
            typed = call.prompt(again, "code-not-typed", left=error.facts["left"])


def _show_joined(call: Invocation, joined: Joined, *, qr: bool) -> None:
    screen, profile = call.screen, call.profile()
    lines: list[Any] = [screen.say("enrol.done", party=profile.party, path=call.profile_dir)]
    if joined.turn == "done":
        lines = [screen.say("enrol.in_effect", party=profile.party)]
    elif joined.turn in ("exchange", "registrar", "keyholder", "second_keyholder", "second_registrar"):
        lines += [screen.say("enrol.code"), f"    {joined.code}"]
        if qr or screen.is_looked_at:
            lines.append(qr_code(f"{QR_SCHEME}:{profile.party}:{joined.code.replace(' ', '')}"))
    lines.append(screen.say(f"turn.{joined.turn}"))
    follow = {
        "done": "referral whoami",
        "exchange": "referral admin approve",
        "invitee": "referral enrol --resume",
        **dict.fromkeys(
            ("void", "expired"), f"referral enrol {screen.say('place.file')} -p {screen.say('place.folder')}"
        ),
    }.get(joined.turn, "referral enrol")
    data = {
        "party": profile.party,
        "enrolment": joined.enrolment,
        "code": joined.code,
        "turn": joined.turn,
        "person": profile.person,
        "service": profile.service,
    }
    call.show(Shown(data, lines, [follow]))


def _service_secret(call: Invocation) -> bytes:
    """The key that unlocks the new service: the file that is there, or a fresh one, written before it is needed."""
    call.directory.create()
    path = call.service_key or call.profile_dir / SERVICE_KEY
    if path.exists():
        return read_service_secret(path)
    secret = new_service_secret()
    write_service_secret(path, secret)
    call.screen.talk("enrol.service_key", path=path)
    return secret


def _described(file: Path, unit: str | None) -> dict[str, Any]:
    """The directory entry in a file, or of several (a list `units`) the one that is asked for.

    Raises Fault, and as `read_document` and `check_entry` do.
    """
    document = read_document(file)
    several = document.get("units")
    entries = [one for one in several if isinstance(one, dict)] if isinstance(several, list) else [document]
    found = [one for one in entries if unit in (None, one.get("id"))]
    if len(found) != 1:
        raise Fault("entry-not-there", path=file, count=len(entries), unit=unit or "—")
    check_entry(found[0])
    return found[0]


def _entry_of(client: Client, named: str) -> dict[str, Any]:
    """How a party stands in the directory. Raises NOT_ENROLLED, NOT_FOUND."""
    client.sync_keys()
    party = client.session.keymap.find_party(named)
    if party is None:
        raise ReferralError(ErrorCode.NOT_ENROLLED if named == client.profile.party else ErrorCode.NOT_FOUND)
    return party.entry.wire()


def _applicant(client: Client, named: str) -> Applicant:
    """The enrolment of this id, or the only one of this party. Raises NOT_FOUND, Fault."""
    found = [one for one in client.applicants() if named in (one.enrolment, one.party)]
    if not found:
        raise ReferralError(ErrorCode.NOT_FOUND)
    if len(found) > 1:
        raise Fault("several-enrolments", party=named)
    return found[0]


def _applicant_data(one: Applicant) -> dict[str, Any]:
    # Without the digits: who approves must hear them from the newcomer.
    return {"enrolment": one.enrolment, "party": one.party, "turn": one.turn, "proposal": one.proposal.wire()}


def _show_rights(call: Invocation, client: Client, applicant: Applicant) -> None:
    """For how long each credential would hold, whether it could admit others, and whether it takes another's place."""
    exchanged = replaced(client.session, applicant)
    for one in applicant.proposal.credentials:
        credential = f"{applicant.party}.{one.id}"
        until = call.screen.at(int(one.until_at.timestamp()))
        call.screen.talk("approve.credential", credential=credential, until=until)
        if one.keyholder:
            call.screen.talk("approve.keyholder", credential=credential, party=applicant.party)
        if one.id in exchanged:
            call.screen.talk("approve.replaces", credential=credential)


def _show_entry(call: Invocation, entry: Entry | None) -> None:
    """What a new party says of itself: the digits prove that it is what the newcomer wrote, not what was invited."""
    if entry is not None:
        call.screen.talk(
            "approve.entry",
            name=entry.name,
            phone=entry.duty_phone or "-",
            area=", ".join(entry.area) or "-",
            parent=entry.parent or "-",
            escalation=", ".join(entry.escalation) or "-",
        )
        if entry.country is not None:
            call.screen.talk("approve.country", country=entry.country)
        call.screen.talk("approve.compare")


def _show_recovery(call: Invocation, client: Client, applicant: Applicant) -> None:
    """Who is dropped, where registrar persons give a party new keyholders."""
    party = client.session.keymap.find_party(applicant.party)
    if party is None or party.id == client.profile.party or applicant.turn not in ("registrar", "second_registrar"):
        return
    pending = client.session.keymap.find_pending(applicant.party)
    if pending is not None:
        kept = {one.id for one in pending.body.credentials}
    else:
        keymap = client.session.keymap
        body = recovery_statement(party, applicant.proposal, keymap.find_key, keymap.owners_of(party.id))
        kept = {str(one["id"]) for one in body["credentials"]}
    dropped = [f"{party.id}.{one.id}" for one in party.body.credentials if one.id not in kept]
    call.screen.talk("approve.recovery", party=party.id, dropped=", ".join(dropped) or "-")


def _kinds(one: Applicant) -> str:
    credentials = [f"{credential.kind.value} {credential.id}" for credential in one.proposal.credentials]
    return ", ".join([*credentials, *(f"{key.use} {key.station or ''}".strip() for key in one.proposal.enc)])


def _s(invitation: Any) -> int:
    return int(invitation.expires_at.timestamp())
