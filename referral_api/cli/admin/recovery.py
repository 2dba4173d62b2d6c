"""`referral admin backup | restore | reconcile | signer`: what an operator does before and after a disk is lost.

Each command says in the end what is open and what is lost, and which command follows. docs/runbooks.md has the order.

Must never: touch the database of a running exchange (but for a backup), overwrite anything, or take keys along unasked.

Implements: design §9 (recovery is a verb); R-93, R-97.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from referral_api import __version__
from referral_api.auditlog.checkpoint import TrustPolicy
from referral_api.auditlog.keyslog import log_keys
from referral_api.auditlog.policy import Policy
from referral_api.cli.admin.settings import SETTINGS, ConfigFile, load_settings, open_alone
from referral_api.cli.invocation import invocation, read_file, write_private_file
from referral_api.cli.output import Exit, Fault, Screen, Shown
from referral_api.domain.errors import ReferralError
from referral_api.domain.rules import RuleBook
from referral_api.server import app as server
from referral_api.server import beside
from referral_api.server.service import adoption, clock_watch, new_term, salvage
from referral_api.server.service.clock_watch import newest_leaf_s
from referral_api.server.service.exchange import Directory
from referral_api.server.service.reconcile import plan, survey
from referral_api.server.service.reconcile import reconcile as bring_back
from referral_api.server.service.retention import backup_life_s
from referral_api.server.service.rulebook import load_rules
from referral_api.server.settings import Settings
from referral_api.server.storage import backup, lease, logbook
from referral_api.server.storage.database import Database
from referral_api.server.storage.signer import STATE_BYTES, state_path

MAX_NOTE_BYTES = 1 << 16
Folder = Annotated[Path, typer.Option()]


def add_recovery(app: typer.Typer) -> None:
    """Put the commands into the admin group."""
    app.command("backup")(back_up)
    app.command("restore")(restore)
    app.command("reconcile")(reconcile)
    signer = typer.Typer(no_args_is_help=True)
    signer.command("show")(signer_show)
    signer.command("adopt")(signer_adopt)
    app.add_typer(signer, name="signer")


def back_up(
    ctx: typer.Context,
    target: Annotated[Path, typer.Option("--to")],
    config: ConfigFile = Path(SETTINGS),
    with_keys: Annotated[bool, typer.Option("--with-keys")] = False,  # noqa: FBT002 - an option of the command line
) -> None:
    """Copy the database while the exchange runs, with a manifest that proves the copy."""
    call = invocation(ctx)
    settings = load_settings(config)
    extra = {SETTINGS: read_file(config)}
    for path in sorted(settings.signer_dir.glob("*.signer")):
        # For information: a state that was copied is another signer's, and opens nothing by itself.
        extra[f"signer/{path.name}"] = path.read_bytes()
    if with_keys:
        extra |= {f"keys/{path.name}": path.read_bytes() for path in sorted(settings.keys_dir.glob("*.pem"))}
    life_s = backup_life_s(_rule_book(settings))
    now = int(time.time())
    facts = {"created_at": now, "keep_until": now + life_s, "version": __version__, "issuer": settings.issuer}
    manifest = backup.back_up(settings.database, target, extra, facts)
    backup.remember(settings.data_dir, target, now + life_s)
    lines = [call.screen.say("backup.done", path=target)]
    lines.append(call.screen.say("backup.until", at=call.screen.at(now + life_s)))
    lines += [call.screen.say("recovery.log", **one) for one in manifest["logs"]]
    if not with_keys:
        lines.append(call.screen.say("backup.no_keys", path=settings.keys_dir))
    call.show(Shown(manifest, lines, [f"referral admin restore --from {target} --verify"]))


def restore(
    ctx: typer.Context,
    source: Annotated[Path, typer.Option("--from")],
    config: ConfigFile = Path(SETTINGS),
    verify: Annotated[bool, typer.Option("--verify")] = False,  # noqa: FBT002 - an option of the command line
    scratch: Annotated[str, typer.Option("--scratch")] = "",
) -> None:
    """Put a backup where there is no database, or (`--verify`) prove in a scratch place that it is whole."""
    call = invocation(ctx)
    manifest = backup.read_manifest(source)
    if verify:
        faults = _verify(source, manifest, scratch)
        data = {"whole": not faults, "faults": faults, "logs": manifest["logs"]}
        lines = [call.screen.say("restore.whole" if not faults else "restore.broken", path=source), *faults]
        call.show(Shown(data, lines, [], Exit.OK if not faults else Exit.VERIFICATION_FAILED))
    if not config.exists():
        write_private_file(config, (source / SETTINGS).read_bytes())
    settings = load_settings(config)
    backup.restore(source, settings.database, manifest)
    settings.signer_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    _restore_keys(source, settings)
    lines = [call.screen.say("restore.done", path=source)]
    lines += [call.screen.say("recovery.log", **one) for one in manifest["logs"]]
    if not settings.keys_dir.is_dir():
        lines.append(call.screen.say("restore.no_keys", path=settings.keys_dir))
    follow = [
        f"referral admin serve --config {config}",
        f"referral admin reconcile --mirror {call.screen.say('place.folder')} --config {config}",
    ]
    call.show(Shown({"restored": True, "logs": manifest["logs"]}, lines, follow))


def reconcile(
    ctx: typer.Context,
    mirrored: Annotated[Path | None, typer.Option("--mirror")] = None,
    receipts: Annotated[list[Path] | None, typer.Option("--receipts")] = None,
    config: ConfigFile = Path(SETTINGS),
    new_origin: Annotated[bool, typer.Option("--new-origin")] = False,  # noqa: FBT002 - an option of the command line
    checkpoint: Annotated[Path | None, typer.Option("--checkpoint")] = None,
) -> None:
    """Bring back lost leaves and their rows from a mirror and from parties' receipts (with the exchange stopped).

    What nobody has is given up only with `--new-origin`: the log is closed for ever, and its next term begins.
    """
    call = invocation(ctx)
    if new_origin != (checkpoint is not None):
        raise Fault("new-origin")
    settings = load_settings(config)
    with opened(settings) as runtime:
        found = salvage.Salvager(runtime.exchange, runtime.log_signers)
        if mirrored is not None:
            found.mirror(mirrored)
        for path in receipts or ():
            found.receipt(read_file(path))
        found.states()
        opening = None if checkpoint is None else _opening(runtime, found, read_file(checkpoint, MAX_NOTE_BYTES))
        if opening is None:
            missing = plan(runtime.exchange, found.found)
        else:
            missing = survey(runtime.exchange, found.found)[0]
            call.confirm("ask.new_origin", log=opening.vouched.log, following=str(opening.term.following))
        clock_watch.demand_right(settings.data_dir, newest_leaf_s(runtime.exchange.database), time.time())
        outcome = bring_back(runtime.exchange, runtime.log_signers, missing, opening=opening, clock=time.time)
    say = call.screen.say
    lines = [say("reconcile.log", log=log, count=count) for log, count in outcome.imported.items()]
    lines = lines or [say("reconcile.nothing")]
    if outcome.lost:
        lines.append(say("reconcile.lost", count=len(outcome.lost)))
        lines += [f"  {ref}" for ref in outcome.lost]
    if outcome.invited:
        lines.append(say("reconcile.invited", parties=", ".join(outcome.invited)))
    if outcome.opened is not None:
        lines += _opened_lines(call.screen, outcome.opened)
    if outcome.closed is not None:
        lines.append(say("reconcile.closed", reason=outcome.closed))
    follow = f"referral admin {'serve' if outcome.closed is None else 'signer show'} --config {config}"
    data = {"imported": outcome.imported, "lost": outcome.lost, "invited": outcome.invited, "closed": outcome.closed}
    if outcome.opened is not None:
        data["opened"] = asdict(outcome.opened) | {"witnesses": list(outcome.opened.witnesses)}
    call.show(Shown(data, lines, [follow], Exit.OK if outcome.closed is None else Exit.PARTLY))


def _opening(runtime: server.Runtime, found: salvage.Salvager, note: bytes) -> new_term.Opening:
    """What is given up, once it is seen that it must be."""
    vouched = new_term.vouch(runtime.exchange, note)
    found.found.promise(vouched.log, vouched.head.size, vouched.head.root)
    short = {one.log: one for one in survey(runtime.exchange, found.found)[1]}
    if vouched.log not in short:
        if short:
            raise Fault("new-origin-other", log=next(iter(short)))
        raise Fault("nothing-lost", log=vouched.log)
    opening = new_term.Opening(vouched, short[vouched.log].signed)
    new_term.demand_newest(runtime.exchange, opening, list(short))
    return opening


def _opened_lines(screen: Screen, opened: new_term.Opened) -> list[str]:
    lines = [screen.say("reconcile.opened", log=opened.log, following=opened.following, kept=opened.kept)]
    who = ", ".join(opened.witnesses) or screen.say("reconcile.nobody")
    lines.append(screen.say("reconcile.gone", lost=opened.lost, log=opened.log, size=opened.checkpoint, who=who))
    return [*lines, screen.say("reconcile.resend")]


def signer_show(ctx: typer.Context, config: ConfigFile = Path(SETTINGS)) -> None:
    """Show for each log which signer may sign it, and what this host's has signed (with the exchange stopped)."""
    call = invocation(ctx)
    settings = load_settings(config)
    shown: list[dict[str, Any]] = []
    with opened(settings) as runtime, runtime.exchange.database.read() as conn:
        for log in logbook.names(conn):
            holder = lease.find_holder(conn, log)
            shown.append(_standing(runtime, log, holder, logbook.size(conn, log)))
    lines = [call.screen.say("signer.log", **one) for one in shown]
    call.show(Shown({"logs": shown}, lines, []))


def signer_adopt(
    ctx: typer.Context,
    state: Annotated[list[Path] | None, typer.Option("--state")] = None,
    checkpoint: Annotated[list[Path] | None, typer.Option("--checkpoint")] = None,
    config: ConfigFile = Path(SETTINGS),
) -> None:
    """Make this host the signer of logs, by their states or by cosigned checkpoints (with the exchange stopped)."""
    call = invocation(ctx)
    settings = load_settings(config)
    if not state and not checkpoint:
        raise Fault("no-authority")
    with opened(settings) as runtime:
        exchange, signers = runtime.exchange, runtime.log_signers
        with exchange.database.read() as conn:
            # A log that has lost leaves has no signer any more.
            logs = [log for log in logbook.names(conn) if logbook.following(conn, log) is None]
        clock_watch.demand_right(settings.data_dir, newest_leaf_s(exchange.database), time.time())
        given = [adoption.authority_of_state(read_file(path, STATE_BYTES), signers, logs) for path in state or ()]
        cosigned = [read_file(path, MAX_NOTE_BYTES) for path in checkpoint or ()]
        given += adoption.authorities_of_checkpoints(cosigned, exchange, logs)
        call.confirm("ask.adopt", logs=", ".join(one.log for one in given))
        promised = beside.ask_witnesses(settings, signers, time.time)
        adopted = adoption.adopt(exchange, signers, given, clock=time.time, promised=promised)
    shown = [{"log": one.log, "size": one.size, "fence": one.fence, "by": one.by} for one in adopted]
    lines = [call.screen.say("signer.adopted", **one) for one in shown]
    call.show(Shown({"adopted": shown}, lines, [f"referral admin serve --config {config}"]))


@contextmanager
def opened(settings: Settings) -> Iterator[server.Runtime]:
    """The exchange's parts, with its gate left out. Raises Fault where an exchange is using them."""
    runtime = open_alone(settings, recovering=True)
    try:
        yield runtime
    finally:
        runtime.spool.close()
        runtime.log_signers.close()
        runtime.exchange.database.close()


def _rule_book(settings: Settings) -> RuleBook:
    """All rules so far; the defaults where the database cannot be read as it is, which is no reason for no backup."""
    try:
        with Database.look(settings.database) as database, database.read() as conn:
            return load_rules(conn).book
    except ReferralError:
        return RuleBook()


def _standing(runtime: server.Runtime, log: str, holder: lease.Holder | None, size: int) -> dict[str, Any]:
    """How one log's signer stands; `here` says why this host's may not sign, or `ok`."""
    newest, here = 0, "ok"
    try:
        signer = runtime.log_signers(log)
        signed = signer.newest()
        newest = 0 if signed is None else signed.size
        if holder is None or not holder.is_held_by(signer.claim):
            here = "signer-fenced"
        elif newest > size:
            here = "database-shorter"
    except ReferralError as error:
        here = str(error.facts.get("reason"))
    path = state_path(runtime.log_signers.state_dir, log)
    fence = 0 if holder is None else holder.fence
    return {"log": log, "fence": fence, "size": size, "signed": newest, "here": here, "path": str(path)}


def _verify(source: Path, manifest: dict[str, Any], scratch: str) -> list[str]:
    """Restore into a scratch place, recompute everything, and remove it again."""
    if manifest["engine"] == "postgresql":
        if not scratch:
            raise Fault("scratch-missing")
        backup.restore(source, scratch, manifest)
        return backup.verify(scratch, manifest, _trust)
    with tempfile.TemporaryDirectory(prefix="referral-verify-") as folder:
        url = f"sqlite:///{folder}/exchange.sqlite"
        backup.restore(source, url, manifest)
        return backup.verify(url, manifest, _trust)


def _trust(database: Database) -> Callable[[str], TrustPolicy]:
    """The logs' keys as the restored keys log names them, its signatures verified."""
    with database.read() as conn:
        keymap = Directory.load(conn, verify=True).current
    return lambda log: Policy().trust(*log_keys(keymap, log))


def _restore_keys(source: Path, settings: Settings) -> None:
    """Keys that were backed up, where there are none."""
    if settings.keys_dir.exists() or not (source / "keys").is_dir():
        return
    settings.keys_dir.mkdir(mode=0o700, parents=True)
    for path in sorted((source / "keys").glob("*.pem")):
        write_private_file(settings.keys_dir / path.name, path.read_bytes())
