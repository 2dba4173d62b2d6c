"""`referral admin keys`: the exchange goes over from one of its own keys to the next, while it runs.

`rotate` puts the next key beside the others and asks the exchange to announce it; `show` says which is used when, and
which is here; `prune` deletes those of which nothing counts any more. docs/runbooks.md has the order.

Must never: write to a log or a database, delete a key that still counts, or show a private key.

Implements: R-37; docs/decisions/0025.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from referral_api.auditlog.keyslog import log_keys
from referral_api.cli.admin.settings import SETTINGS, ConfigFile, load_settings
from referral_api.cli.invocation import invocation
from referral_api.cli.output import Exit, Fault, Shown
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.terms import Term
from referral_api.domain.words import KeyUse
from referral_api.formats.parties import Tenure
from referral_api.formats.rekeying import FOREVER, MOST_S, NOTICE_S
from referral_api.formats.statements import KeyMap
from referral_api.formats.strict_json import parse
from referral_api.server.service.exchange import Directory, year_of
from referral_api.server.service.rekeying import Asked, spent
from referral_api.server.settings import Settings
from referral_api.server.storage.database import Database
from referral_api.server.storage.keyfiles import USES, create_next, delete_key, load_signers
from referral_api.server.storage.logbook import KEYS

WAIT_S = 20.0
"""How long the exchange has to announce the key before the command stops looking."""
MOST_H = MOST_S // 3600
LEAST_H = NOTICE_S // 3600
LOG_OVERLAP_H = 30 * 24
"""What people pin outside of the system takes them longer to change."""
Hours = Annotated[int | None, typer.Option(min=LEAST_H, max=MOST_H)]


def add_keys(app: typer.Typer) -> None:
    """Put the commands into the admin group."""
    keys = typer.Typer(no_args_is_help=True)
    keys.command("rotate")(rotate)
    keys.command("show")(show)
    keys.command("prune")(prune)
    app.add_typer(keys, name="keys")


def rotate(
    ctx: typer.Context,
    use: Annotated[KeyUse, typer.Option("--use")],
    config: ConfigFile = Path(SETTINGS),
    notice_hours: Hours = None,
    overlap_hours: Hours = None,
    at_once: Annotated[bool, typer.Option("--at-once")] = False,  # noqa: FBT002 - an option of the command line
) -> None:
    """Make the next key of one use and have the exchange announce it."""
    call = invocation(ctx)
    if use not in USES or (at_once and use is not KeyUse.TOKEN):
        raise Fault("server-key-use", Exit.USAGE, use=use.value)
    settings = load_settings(config)
    call.confirm("ask.rekey", use=use.value)
    key = create_next(settings.keys_dir, use)
    overlap_h = overlap_hours or (LOG_OVERLAP_H if use is KeyUse.LOG else LEAST_H)
    hours = (0, 0) if at_once else (notice_hours or LEAST_H, overlap_h)
    asked = Asked(use, key.kid, *(3600 * one for one in hours))
    asked.ask(settings.keys_dir)
    announced = _await(settings, asked)
    path = settings.keys_dir / f"{use.value}.{key.kid}.pem"
    data: dict[str, Any] = {"use": use.value, "kid": key.kid, "file": str(path), "announced": announced is not None}
    if announced is None:
        lines = [call.screen.say("rekey.waits", use=use.value, kid=key.kid)]
        call.show(Shown(data, lines, [f"referral admin serve --config {config}"], Exit.PARTLY))
    keymap, tenure = announced
    until = next(one.ends_at for one in keymap.tenures(use) if one.key.kid == tenure.replaces)
    data |= {"from": tenure.begins_at, "until": until, "replaces": tenure.replaces}
    shown = {"use": use.value, "kid": key.kid, "begins": _shown(tenure.begins_at), "ends": _shown(until)}
    lines = [call.screen.say("rekey.announced", **shown), call.screen.say("rekey.file", path=path)]
    if use is KeyUse.LOG:
        data["vkeys"] = [log_keys(keymap, log)[-1].vkey for log in (KEYS, Term(year_of(int(time.time()))).log)]
        lines += [call.screen.say("rekey.pinned"), *(f"  {one}" for one in data["vkeys"])]
    call.show(Shown(data, lines, [f"referral admin keys show --config {config}"]))


def show(ctx: typer.Context, config: ConfigFile = Path(SETTINGS)) -> None:
    """Which key is used when, and which is here."""
    call = invocation(ctx)
    settings = load_settings(config)
    keymap, signers, now = _keymap(settings), load_signers(settings.keys_dir), int(time.time())
    data: list[dict[str, Any]] = []
    lines: list[str] = []
    for use in USES:
        for one in keymap.tenures(use):
            here = signers.find(use, one.key.kid) is not None
            ends = None if one.ends_at == FOREVER else one.ends_at
            word = "rekey.ended" if one.ends_at <= now else "rekey.coming" if one.begins_at > now else "rekey.counts"
            data.append({
                "use": use.value, "kid": one.key.kid, "from": one.begins_at or None, "until": ends, "here": here,
                "state": word.partition(".")[2],
            })  # fmt: skip
            span = f"{_shown(one.begins_at)} – {_shown(ends)}"
            said = call.screen.say("rekey.here" if here else "rekey.not_here")
            lines.append(f"{use.value:8}{one.key.kid}  {call.screen.say(word)}  {span}  {said}")
    call.show(Shown({"keys": data}, lines))


def prune(ctx: typer.Context, config: ConfigFile = Path(SETTINGS)) -> None:
    """Delete the private keys of which nothing counts any more that they sign."""
    call = invocation(ctx)
    settings = load_settings(config)
    gone = spent(_keymap(settings), load_signers(settings.keys_dir), int(time.time()))
    if gone:
        call.confirm("ask.prune", count=len(gone))
    deleted = [
        {"use": use.value, "kid": kid, "file": str(path)}
        for use, kid in gone
        if (path := delete_key(settings.keys_dir, use, kid)) is not None
    ]
    lines = [call.screen.say("rekey.deleted", **one) for one in deleted] or [call.screen.say("rekey.none_spent")]
    call.show(Shown({"deleted": deleted}, lines, status=Exit.OK if deleted else Exit.NOTHING_NEW))


def _await(settings: Settings, asked: Asked) -> tuple[KeyMap, Tenure] | None:
    """The key as it was announced; None where no exchange took up the question in time. Raises the fold's refusal."""
    ends = time.monotonic() + WAIT_S
    refusal = asked.refusal(settings.keys_dir)
    while time.monotonic() < ends:
        if refusal.exists():
            said = parse(refusal.read_bytes(), max_bytes=4096)
            delete_key(settings.keys_dir, asked.use, asked.kid)
            refusal.unlink()
            raise ReferralError(ErrorCode(said["code"]), **said["facts"])
        if not asked.path(settings.keys_dir).exists():
            keymap = _keymap(settings)
            found = next((one for one in keymap.tenures(asked.use) if one.key.kid == asked.kid), None)
            if found is not None:
                return keymap, found
        time.sleep(0.2)
    return None


def _keymap(settings: Settings) -> KeyMap:
    """The keys log as it is in the database now, whoever has that open."""
    with Database.look(settings.database) as database, database.read() as conn:
        return Directory.load(conn).current


def _shown(seconds: int | None) -> str:
    if not seconds:
        return "…"
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
