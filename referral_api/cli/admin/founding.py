"""`referral admin`: found an exchange, serve it, migrate its database, approve its registrar.

`init` writes settings, keys, database, genesis and the registrar's invitation, and overwrites nothing. Whoever runs
these commands holds the exchange's keys; all other parties are admitted by the registrar, with the client's commands.

Must never: run with a setting that nobody chose, weaken production to one registrar person, or touch the database of a
running exchange.

Implements: design §5 (two registrar persons), §9 (gate), §11; R-30, R-32 (a), R-34.
"""

from __future__ import annotations

import secrets
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from referral_api.cli.admin.clock import clock
from referral_api.cli.admin.doctor import doctor
from referral_api.cli.admin.keys import add_keys
from referral_api.cli.admin.notices import add_notices
from referral_api.cli.admin.recovery import add_recovery
from referral_api.cli.admin.retention import add_retention
from referral_api.cli.admin.revoke import revoke
from referral_api.cli.admin.rules import add_rules
from referral_api.cli.admin.settings import SETTINGS, ConfigFile, load_settings, open_alone, setting_fault
from referral_api.cli.invocation import Invocation, invocation, write_private_file
from referral_api.cli.output import Fault, Shown
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.terms import Term
from referral_api.domain.words import Act, CredentialKind, Role
from referral_api.formats.enrolment import SECRET_BYTES, build_invitation, verify_code
from referral_api.formats.strict_json import b64u, canonical, sha256_b64u
from referral_api.server import app as server
from referral_api.server.service import enrolment
from referral_api.server.service.directory import INVITATION_LIFE_S
from referral_api.server.service.exchange import Exchange, year_of
from referral_api.server.service.founding import exchange_signs
from referral_api.server.settings import Settings
from referral_api.server.storage.database import Database
from referral_api.server.storage.enrolments import EnrolmentState, enrolments_in
from referral_api.server.storage.logbook import KEYS

INVITATION = "invitation-registrar.json"
ENTRY = "entry-registrar.json"
DEFAULT_PORT = 8440

app = typer.Typer(no_args_is_help=True)
add_recovery(app)
add_keys(app)
add_retention(app)
add_rules(app)
add_notices(app)
app.command("clock")(clock)
app.command("doctor")(doctor)
app.command("revoke")(revoke)


@app.command("init")
def init(
    ctx: typer.Context,
    folder: Annotated[Path, typer.Option("--dir", "-d")] = Path("referral-exchange"),
    issuer: Annotated[str | None, typer.Option()] = None,
    port: Annotated[int, typer.Option(min=1, max=65535)] = DEFAULT_PORT,
    database_url: Annotated[str, typer.Option()] = "",
    witness_policy: Annotated[Path | None, typer.Option()] = None,
    registrar: Annotated[str, typer.Option()] = "registro",
    registrar_name: Annotated[str, typer.Option()] = "Registro",
    sandbox: Annotated[bool, typer.Option("--sandbox")] = False,  # noqa: FBT002 - an option of the command line
    defaults: Annotated[bool, typer.Option("--defaults")] = False,  # noqa: FBT002 - as above
) -> None:
    """Found an exchange: keys, database, genesis, and the invitation of its registrar."""
    call = invocation(ctx)
    if issuer is None:
        issuer = f"http://127.0.0.1:{port}" if defaults else call.prompt("ask.issuer", "issuer-missing")
    settings = _settings(folder.absolute(), issuer, port, database_url, witness_policy, sandbox=sandbox)
    if not defaults:
        call.confirm("ask.init", folder=folder, issuer=issuer, environment=settings.environment)
    entry = {"id": registrar, "role": Role.REGISTRAR.value, "name": registrar_name, "area": [], "escalation": []}
    _refuse_existing(folder)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    runtime = server.found(settings, registrars_required=1 if sandbox else 2)
    try:
        raw = _invite_registrar(runtime, entry)
    finally:
        runtime.close()
    write_private_file(folder / SETTINGS, _toml(settings, folder.absolute()))
    write_private_file(folder / ENTRY, canonical(entry) + b"\n")
    write_private_file(folder / INVITATION, raw)
    _show_founded(call, settings, folder, runtime.exchange, registrar)


@app.command("serve")
def serve(ctx: typer.Context, config: ConfigFile = Path(SETTINGS)) -> None:
    """Run the exchange until SIGTERM or SIGINT."""
    call = invocation(ctx)
    settings = load_settings(config)
    call.screen.talk("serve.begins", issuer=settings.issuer, host=settings.host, port=settings.port)
    call.screen.talk("witnesses.none" if settings.witness_policy is None else "witnesses.some")
    server.serve(settings)
    call.screen.talk("serve.ended")


@app.command("migrate")
def migrate(ctx: typer.Context, config: ConfigFile = Path(SETTINGS)) -> None:
    """Bring the database to this version's schema."""
    call = invocation(ctx)
    settings = load_settings(config)
    Database.migrate(settings.database).close()
    call.show(Shown({"migrated": True}, [call.screen.say("migrate.done")], [f"referral admin serve --config {config}"]))


@app.command("approve")
def approve(
    ctx: typer.Context,
    config: ConfigFile = Path(SETTINGS),
    code_file: Annotated[Path | None, typer.Option("--code-file")] = None,
) -> None:
    """Approve the registrar's first statement by its thirty digits. Needs the database to itself (R-32 a)."""
    call = invocation(ctx)
    settings = load_settings(config)
    runtime = open_alone(settings)
    try:
        runtime.writer.start()
        place = _approve_registrar(call, runtime, code_file)
    finally:
        runtime.close()
    lines = [
        call.screen.say("admin.approved", party=place["party"], index=place["index"]),
        call.screen.say("turn.done"),
    ]
    call.show(
        Shown(
            place,
            lines,
            [f"referral admin serve --config {config}", f"referral invite --out {call.screen.say('place.file')}"],
        )
    )


def _settings(
    folder: Path, issuer: str, port: int, database_url: str, witness_policy: Path | None, *, sandbox: bool
) -> Settings:
    try:
        return Settings(
            issuer=issuer,
            environment="sandbox" if sandbox else "production",
            data_dir=folder / "data",
            database_url=database_url,
            keys_dir=folder / "keys",
            signer_dir=folder / "signer",
            port=port,
            witness_policy=None if witness_policy is None else witness_policy.absolute(),
        )
    except ValidationError as error:
        raise setting_fault(error) from None


def _refuse_existing(folder: Path) -> None:
    for name in (SETTINGS, INVITATION, ENTRY):
        if (folder / name).exists():
            raise Fault("exchange-exists", path=folder / name)


def _toml(settings: Settings, folder: Path) -> bytes:
    """The settings as the file that `serve` reads; texts as TOML basic strings, which JSON strings are."""
    members: dict[str, Any] = {
        "issuer": settings.issuer,
        "environment": settings.environment,
        "data_dir": str(folder / "data"),
        "keys_dir": str(folder / "keys"),
        "signer_dir": str(folder / "signer"),
        "host": settings.host,
        "port": settings.port,
    }
    if settings.database_url:
        members["database_url"] = settings.database_url
    if settings.witness_policy is not None:
        members["witness_policy"] = str(settings.witness_policy)
    return b"".join(b"%s = %s\n" % (name.encode(), canonical([value])[1:-1]) for name, value in members.items())


def _invite_registrar(runtime: server.Runtime, entry: dict[str, Any]) -> bytes:
    """The first invitation: the exchange itself invites the registrar, and nobody else ever."""
    now = int(time.time())
    secret = secrets.token_bytes(SECRET_BYTES)
    body = {
        "nonce": sha256_b64u(secret),
        "party": entry,
        "credential_kinds": [CredentialKind.PERSON.value],
        "expires_at": now + INVITATION_LIFE_S,
    }
    exchange_signs(runtime.exchange, runtime.writer, Act.INVITE, body, now)
    return build_invitation(
        exchange=runtime.exchange.issuer,
        root=runtime.exchange.keymap.root,
        party=entry["id"],
        role=entry["role"],
        secret=secret,
        expires_at=now + INVITATION_LIFE_S,
        environment=runtime.exchange.environment,
    )


def _approve_registrar(call: Invocation, runtime: server.Runtime, code_file: Path | None) -> dict[str, Any]:
    """Compare the digits and sign for the registrar's first statement, or for the successor of a person that it has
    lost (R-32 b). Raises NOT_FOUND, CODE_MISMATCH.
    """
    exchange, now = runtime.exchange, int(time.time())
    with exchange.database.read() as conn:
        waiting = [
            enrolment.read_waiting(stored)
            for state in (EnrolmentState.COMPLETED, EnrolmentState.LISTED)
            for stored in enrolments_in(conn, state)
            if enrolment.turn_of(exchange.keymap, stored, now) is enrolment.Turn.EXCHANGE
        ]
    newcomer = waiting[-1] if waiting else None
    statement = None if newcomer is None else newcomer.statement or exchange.keymap.find_pending(newcomer.stored.party)
    if newcomer is None or statement is None:
        raise ReferralError(ErrorCode.NOT_FOUND)
    call.screen.talk(
        "approve.who", party=newcomer.stored.party, asks=", ".join(one.use.value for one in newcomer.entries)
    )
    expected = enrolment.digits_of(exchange.keymap, newcomer)
    digest = verify_code(call.typed_code(expected, code_file), expected)
    body = {"party": newcomer.stored.party, "statement": statement.digest, "code_sha256": digest}
    exchange_signs(exchange, runtime.writer, Act.APPROVE_STATEMENT, body, now)
    return {"party": newcomer.stored.party, "index": exchange.keymap.size - 1, "turn": "done"}


def _show_founded(call: Invocation, settings: Settings, folder: Path, exchange: Exchange, registrar: str) -> None:
    screen, root = call.screen, b64u(exchange.keymap.root)
    # What the operators of witnesses are told: the keys log's key, and the audit log's for every year.
    logs = [exchange.trust(KEYS).log.vkey, exchange.trust(Term(year_of(int(time.time()))).log).log.vkey]
    lines = [
        screen.say("init.done", issuer=settings.issuer, environment=settings.environment),
        screen.say("init.root", root=root),
        screen.say("init.files", config=folder / SETTINGS, keys=settings.keys_dir, signer=settings.signer_dir),
        screen.say("init.invitation", path=folder / INVITATION, entry=folder / ENTRY, party=registrar),
        *(screen.say("init.log", vkey=vkey) for vkey in logs),
        screen.say("init.sandbox" if settings.environment == "sandbox" else "init.production"),
        screen.say("witnesses.none" if settings.witness_policy is None else "witnesses.some"),
        screen.say("turn.invitee"),
    ]
    data = {
        "issuer": settings.issuer,
        "environment": settings.environment,
        "root": root,
        "config": str(folder / SETTINGS),
        "invitation": str(folder / INVITATION),
        "entry": str(folder / ENTRY),
        "logs": logs,
        "turn": "invitee",
    }
    follow = [
        f"referral admin serve --config {folder / SETTINGS}",
        f"referral enrol {folder / INVITATION} --entry {folder / ENTRY} --no-service",
    ]
    call.show(Shown(data, lines, follow))
