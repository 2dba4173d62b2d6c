"""One's own keys: `keys rotate`, `keys revoke`, `keys backup`, `keys recover`; and what is renewed without being asked.

Must never: show a private key where nobody asked for words, keep one that is for paper, or stop a command that has done
its work because a renewal after it failed.

Implements: R-32, R-33; design §5 (rotation, revocation, loss).
"""

from __future__ import annotations

import getpass
import sys
from pathlib import Path
from typing import Annotated

import typer

from referral_api.cli.invocation import Invocation, invocation, read_file, read_line, write_private_file
from referral_api.cli.output import Exit, Fault, Shown
from referral_api.client import backup, renewal
from referral_api.client.sdk import Client
from referral_api.client.trust import Confirmed
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import KeyUse, Kid
from referral_api.formats.roster import Roster

_GROUP = 6
"""Words a line."""


def add_renewing(keys: typer.Typer) -> None:
    """Add these verbs to the group."""
    for name, verb in (("rotate", rotate), ("revoke", revoke), ("backup", back_up), ("recover", recover)):
        keys.command(name)(verb)


def rotate(
    ctx: typer.Context,
    station: Annotated[list[str] | None, typer.Option("--station")] = None,
    seal: Annotated[bool, typer.Option("--seal")] = False,  # noqa: FBT002 - an option of the command line
    before_time: Annotated[bool, typer.Option("--now")] = False,  # noqa: FBT002 - as above
) -> None:
    """Renew what is due, and destroy what is past its time; `--seal` the keys that sign."""
    call = invocation(ctx)
    screen = call.screen
    with call.person() as client:
        client.sync_keys()
        if seal:
            renewed: renewal.Renewed | None = client.identity.rotate_seal(call.passphrase())
        else:
            renewed = client.identity.rotate(call.passphrase(), stations=_stations(client, station, before_time))
        spent = client.identity.destroy(call.passphrase())
        due_at = _next_due(client)
    turn = "done" if renewed is None else renewed.turn
    lines = [screen.say("rotate.nothing")] if renewed is None else [screen.say("rotate.done", count=len(renewed.kids))]
    if renewed is not None and turn != "done":
        lines = [screen.say("rotate.proposed"), screen.say("enrol.code"), f"    {renewed.code}"]
        lines.append(screen.say(f"turn.{turn}"))
    lines += [screen.say("rotate.destroyed", kid=kid) for kid in spent.destroyed]
    lines += [screen.say("rotate.removed", kid=kid) for kid in spent.removed]
    lines += [screen.say("rotate.needed", kid=kid) for kid in spent.needed]
    lines += [screen.say("rotate.due", at=screen.at(due_at))] if due_at is not None else []
    data = {
        "renewed": [] if renewed is None else list(renewed.kids),
        "turn": turn,
        "code": None if renewed is None or turn == "done" else renewed.code,
        "destroyed": list(spent.destroyed),
        "needed": list(spent.needed),
        "removed": list(spent.removed),
        "due_at": due_at,
    }
    call.show(Shown(data, lines, ["referral keys show"]))


def _stations(client: Client, chosen: list[str] | None, before_time: bool) -> list[str] | None:  # noqa: FBT001 - as asked
    """Which workstations to renew: those named, all of ours, or None for those that are due."""
    if chosen:
        return chosen
    return list(renewal.own_stations(client.keys, renewal.own_party(client.session))) if before_time else None


def _next_due(client: Client) -> int | None:
    own = renewal.own_stations(client.keys, renewal.own_party(client.session))
    return min((key.valid_from + renewal.ROTATE_AFTER_S for key in own.values()), default=None)


def revoke(
    ctx: typer.Context,
    what: Annotated[str, typer.Argument()],
    reason: Annotated[str, typer.Option("--reason")] = "lost",
) -> None:
    """Revoke a key, or all keys of a credential; it holds at once, and for good."""
    call = invocation(ctx)
    with call.person() as client:
        client.sync_keys()
        kids = kids_of(client.session.keymap, what)
        own = {client.keys.access.signing_key().kid, *(one.kid for one in client.keys.signers())}
        if own & set(kids) and len(kids) > 1:
            raise Fault("revoke-own")
        call.confirm("ask.revoke", what=what, count=len(kids))
        revoked = revoke_all(client, what, reason)
    lines = [call.screen.say("revoke.done", kid=kid) for kid in revoked] + [call.screen.say("revoke.next")]
    data = {"revoked": [{"kid": kid, "log": one.receipt.payload.log.wire()} for kid, one in revoked.items()]}
    call.show(Shown(data, lines, ["referral keys show"]))


def revoke_all(client: Client, what: str, reason: str) -> dict[Kid, Confirmed]:
    """Revoke a key, or all keys of a credential until none is left: a thief may be signing for another one meanwhile,
    as long as the keys that sign are good. Raises as `kids_of`, and as sending an act does.
    """
    revoked: dict[Kid, Confirmed] = {}
    at, kids = client.session.now(), kids_of(client.session.keymap, what)
    while kids:
        for kid in kids:
            revoked[kid] = client.revoke(kid, reason, at)
        kids = [] if what in kids else kids_of(client.session.keymap, what)
    return revoked


def kids_of(keymap: Roster, what: str) -> list[Kid]:
    """The keys that are meant, not revoked yet: one by its thumbprint, or all of a credential, those that sign first.

    Of a credential those too that it had earlier, and of one that is listed no more: what they signed before their end
    still counts for seven days. Raises NOT_FOUND.
    """
    if keymap.find_key(what) is not None:
        return [Kid(what)]
    named, _, short = what.partition(".")
    if not short or short not in keymap.owners_of(named).values():
        raise ReferralError(ErrorCode.NOT_FOUND)
    return _keys_left(keymap, named, short)


def _keys_left(keymap: Roster, named: str, short: str) -> list[Kid]:
    party = keymap.find_party(named)
    own = [kid for kid, owner in keymap.owners_of(named).items() if owner == short]
    own.sort(key=lambda kid: keymap.get_key(kid).use is not KeyUse.SEAL)
    listed = () if party is None else party.enc
    vouched = [key.kid for key in listed if keymap.keeper_of(keymap.get_key(key.kid)) == short]
    return [kid for kid in (*own, *vouched) if not keymap.get_key(kid).revoked]


def back_up(
    ctx: typer.Context,
    out: Annotated[Path | None, typer.Option("--out", "-o")] = None,
    words: Annotated[bool, typer.Option("--words")] = False,  # noqa: FBT002 - an option of the command line
    secret_file: Annotated[Path | None, typer.Option("--backup-passphrase-file")] = None,
) -> None:
    """Make the party's backup key: a sealed file, or twenty-four words to write down."""
    call = invocation(ctx)
    if (out is None) == (not words):
        raise Fault("backup-how")
    if out is not None and out.exists():
        raise Fault("file-exists", path=out)
    screen = call.screen
    with call.person() as client:
        client.sync_keys()
        made = client.identity.new_backup()
        spoken = backup.words_of(made, screen.lang) if words else []
        if out is not None:
            secret = _asked(call, secret_file, "ask.new_backup_passphrase", twice=True)
            write_private_file(out, backup.build_file(made, client.profile, secret))
        else:
            _dictate(call, spoken, client.session.ambient.random(1)[0] % backup.WORDS)
        listed = _list_backup(call, client, made)
    lines = [screen.say("backup.file", path=out)] if out is not None else []
    if listed.turn != "done":
        lines += [screen.say("rotate.proposed"), screen.say("enrol.code"), f"    {listed.code}"]
    lines += [screen.say(f"turn.{listed.turn}"), screen.say("backup.place")]
    data = {
        "kid": made.kid,
        "file": None if out is None else str(out),
        "words": spoken,
        "turn": listed.turn,
        "code": None if listed.turn == "done" else listed.code,
    }
    call.show(Shown(data, lines, ["referral keys show"]))


def _dictate(call: Invocation, spoken: list[str], at: int) -> None:
    """Show the words, and at a terminal have the one at this place typed back: first on paper, then listed.

    Within JSON they stand in the result. Raises Fault (`word-differs`).
    """
    if call.screen.as_json:
        return
    lines = [call.screen.say("backup.words")]
    lines += [
        "    " + "  ".join(f"{at + 1:2} {spoken[at]}" for at in range(start, start + _GROUP))
        for start in range(0, len(spoken), _GROUP)
    ]
    call.screen.show(Shown({}, lines))
    if call.yes or not sys.stdin.isatty():
        return
    for key in ("ask.word", "ask.word_again", "ask.word_again"):
        if backup.same_word(call.prompt(key, "word-differs", at=at + 1), spoken[at]):
            return
    raise Fault("word-differs")


def _list_backup(call: Invocation, client: Client, made: backup.Backup) -> renewal.Renewed:
    """Have it listed; where that is not known to have come through, say what the words or the file are worth then.

    What is raised has the fact `backup`, the key.
    """
    try:
        return client.identity.list_backup(made)
    except KeyboardInterrupt:
        call.screen.talk("backup.unlisted", kid=made.kid)
        raise
    except ReferralError as error:
        call.screen.talk("backup.unlisted", kid=made.kid)
        raise ReferralError(error.code, **(dict(error.facts) | {"backup": made.kid})) from error


def recover(
    ctx: typer.Context,
    file: Annotated[Path | None, typer.Argument()] = None,
    words_file: Annotated[Path | None, typer.Option("--words-file")] = None,
    secret_file: Annotated[Path | None, typer.Option("--backup-passphrase-file")] = None,
) -> None:
    """Put the backup key back on this workstation: a file, or the words that are asked for."""
    call = invocation(ctx)
    if file is not None and words_file is not None:
        raise Fault("backup-how")
    with call.person() as client:
        now = client.session.now()
        if file is not None:
            raw = read_file(file, backup.MAX_FILE_BYTES)
            found = backup.parse_file(raw, client.profile, _asked(call, secret_file, "ask.backup_passphrase"))
        else:
            text = read_line(words_file) if words_file is not None else call.prompt("ask.words", "words-not-typed")
            found = backup.parse_words(text, now)
        client.identity.restore(found, call.passphrase())
    lines = [call.screen.say("recover.done"), call.screen.say("recover.next")]
    call.show(Shown({"kid": found.kid}, lines, ["referral inbox list --pending"]))


def _asked(call: Invocation, path: Path | None, key: str, *, twice: bool = False) -> str:
    """The passphrase of a backup file. Raises Fault."""
    if path is not None:
        return read_line(path)
    if not sys.stdin.isatty():
        raise Fault("passphrase-not-asked", Exit.NOT_ENROLLED)
    given = getpass.getpass(call.screen.say(key) + " ")
    if twice and given != getpass.getpass(call.screen.say("ask.again") + " "):
        raise Fault("passphrases-differ")
    return given
