"""`referral witness`: make a witness, serve it, show what it knows, tell it whom to cosign.

It is run by somebody else than the exchange, on a machine of their own, and needs nothing of an enrolled party.

Must never: print a private key, replace a witness's file, or let a log's second key in beside the first.

Implements: R-96; design §9 (ours: `referral witness`).
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from referral_api.auditlog.note import VerifierKey, encode_base64
from referral_api.auditlog.policy import Group, Policy, Witness, format_policy
from referral_api.cli.invocation import invocation
from referral_api.cli.output import Exit, Fault, Screen, Shown
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.witness import app as program
from referral_api.witness.cosigner import Cosigner
from referral_api.witness.file import create_file
from referral_api.witness.keys import IDENTITY_BYTES, SEED_BYTES, Seeds
from referral_api.witness.memory import FORK, PROOF, Evidence, Memory, Trusted, parse_log

DEFAULT_FILE = "witness.db"
DEFAULT_PORT = 8450
_EVIDENCE = {FORK: "witness.fork", PROOF: "witness.proof"}
WitnessFile = Annotated[Path, typer.Option("--file", "-f", envvar="REFERRAL_WITNESS")]

app = typer.Typer(no_args_is_help=True)


@app.command("init")
def init(
    ctx: typer.Context,
    witness_name: Annotated[str, typer.Argument(metavar="NAME")],
    witness_file: WitnessFile = Path(DEFAULT_FILE),
    logs: Annotated[list[str] | None, typer.Option("--log", metavar="VKEY")] = None,
    families: Annotated[list[str] | None, typer.Option("--log-family", metavar="VKEY")] = None,
) -> None:
    """Make a witness."""
    call = invocation(ctx)
    trusted = [_log(one, yearly=False) for one in logs or ()] + [_log(one, yearly=True) for one in families or ()]
    seeds = Seeds(*(secrets.token_bytes(length) for length in (IDENTITY_BYTES, SEED_BYTES, SEED_BYTES)))
    with _told(witness_file):
        try:
            create_file(witness_file, witness_name, seeds, int(time.time()))
        except ReferralError as error:
            if error.code is ErrorCode.MALFORMED:
                raise Fault("witness-name", name=witness_name) from None
            raise
    with _opened(witness_file) as memory:
        for log in trusted:
            _trust(memory, log)
        keys = Cosigner(memory).verifier_keys
    lines = [
        call.screen.say("witness.made", name=witness_name, path=witness_file),
        call.screen.say("witness.one_file", identity=seeds.identity.hex()),
        *_key_lines(call.screen, keys, ""),
    ]
    data: dict[str, Any] = {"name": witness_name, "identity": seeds.identity.hex(), "keys": [key.vkey for key in keys]}
    data |= {"logs": [_log_data(one) for one in trusted], "file": str(witness_file)}
    more = [] if trusted else [f"referral witness add-log {call.screen.say('place.vkey')} --file {witness_file}"]
    call.show(Shown(data, lines, [*more, f"referral witness serve --file {witness_file}"]))


@app.command("serve")
def serve(
    ctx: typer.Context,
    witness_file: WitnessFile = Path(DEFAULT_FILE),
    host: Annotated[str, typer.Option()] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535)] = DEFAULT_PORT,
) -> None:
    """Run the witness until SIGTERM or SIGINT."""
    call = invocation(ctx)
    shown = f"[{host}]" if ":" in host else host
    with _told(witness_file):
        try:
            program.serve(
                witness_file,
                host,
                port,
                lambda bound: call.screen.talk("witness.begins", url=f"http://{shown}:{bound}"),
            )
        except OSError:
            raise Fault("cannot-listen", Exit.UNEXPECTED, host=host, port=port) from None
    call.screen.talk("witness.ended")


@app.command("show")
def show(
    ctx: typer.Context,
    witness_file: WitnessFile = Path(DEFAULT_FILE),
    url: Annotated[str, typer.Option()] = "",
) -> None:
    """Show keys, logs, sizes and kept evidence."""
    call = invocation(ctx)
    with _opened(witness_file) as memory:
        data, lines = _everything(call.screen, memory, witness_file, url)
    call.show(Shown(data, lines))


@app.command("add-log")
def add_log(
    ctx: typer.Context,
    log_vkey: Annotated[str, typer.Argument(metavar="VKEY")],
    witness_file: WitnessFile = Path(DEFAULT_FILE),
    yearly: Annotated[bool, typer.Option("--yearly")] = False,  # noqa: FBT002 - an option of the command line
    also: Annotated[bool, typer.Option("--also")] = False,  # noqa: FBT002 - as above
) -> None:
    """Cosign another log, or a log by another key too; a witness that serves learns of it at once."""
    call = invocation(ctx)
    log = _log(log_vkey, yearly=yearly)
    with _opened(witness_file) as memory:
        _trust(memory, log, also=also)
    call.show(Shown(_log_data(log), [call.screen.say("witness.trusted", origin=_shown_origin(call.screen, log))]))


@app.command("remove-log")
def remove_log(
    ctx: typer.Context,
    origin: Annotated[str, typer.Argument(metavar="NAME")],
    witness_file: WitnessFile = Path(DEFAULT_FILE),
) -> None:
    """Cosign a log no more."""
    call = invocation(ctx)
    with _opened(witness_file) as memory:
        try:
            with memory.changing() as changes:
                changes.distrust(origin)
        except ReferralError as error:
            if error.code is ErrorCode.NOT_FOUND:
                raise Fault("log-unknown", Exit.NOT_FOUND, origin=origin) from None
            raise
    call.show(Shown({"origin": origin}, [call.screen.say("witness.distrusted", origin=origin)]))


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Tell what is wrong with a witness's file in words of its own."""
    try:
        yield
    except ReferralError as error:
        reason = error.facts.get("reason") if error.code is ErrorCode.UNAVAILABLE else None
        match reason:
            case "witness-exists":
                raise Fault("witness-exists", path=path) from None
            case "witness-missing":
                raise Fault("witness-missing", path=path) from None
            case "witness-exposed":
                raise Fault("witness-exposed", path=path) from None
            case "witness-unreadable":
                raise Fault("witness-unreadable", path=path) from None
            case "witness-busy":
                raise Fault("witness-busy", Exit.UNREACHABLE, path=path) from None
            case _:
                raise


@contextmanager
def _opened(path: Path) -> Iterator[Memory]:
    with _told(path):
        memory = Memory.open(path)
        try:
            yield memory
        finally:
            memory.close()


def _log(vkey: str, *, yearly: bool) -> Trusted:
    try:
        return parse_log(vkey, yearly=yearly)
    except ReferralError:
        raise Fault("log-key", key=vkey) from None


def _trust(memory: Memory, log: Trusted, *, also: bool = False) -> None:
    try:
        with memory.changing() as changes:
            (changes.trust_also if also else changes.trust)(log)
    except ReferralError as error:
        if error.code is ErrorCode.NOT_FOUND:
            raise Fault("log-unknown", Exit.NOT_FOUND, origin=log.origin) from None
        if error.code is ErrorCode.KEY_UNSUITABLE:
            raise Fault("log-key-differs", Exit.CONFLICT, origin=log.origin) from None
        raise


def _everything(
    screen: Screen, memory: Memory, path: Path, url: str
) -> tuple[dict[str, Any], list[str | Text | Table]]:
    keys = Cosigner(memory).verifier_keys
    created_s, newest_s, count = memory.counts()
    trusted, held, evidence = memory.trusted(), memory.all_held(), memory.evidence()
    identity = memory.seeds.identity.hex()
    at = screen.at(newest_s) if newest_s else screen.say("witness.never")
    lines: list[str | Text | Table] = [
        screen.say("witness.of", name=memory.name, path=path, identity=identity),
        screen.say("witness.counts", count=count, at=at),
        *_key_lines(screen, keys, url),
    ]
    lines += [f"  {_shown_origin(screen, one)}" for one in trusted] or [screen.say("witness.no_logs")]
    if held:
        rows = [(origin, str(one.size), screen.at(one.cosigned_s)) for origin, one in held.items()]
        lines.append(screen.table(["col.log", "col.size", "col.cosigned"], rows))
    for one in evidence:
        lines.append(screen.say(_EVIDENCE[one.kind], origin=one.origin, size=one.size, at=screen.at(one.at_s)))
    if evidence:
        lines.append(screen.say("witness.evidence"))
    data = {
        "name": memory.name,
        "identity": identity,
        "created_at": created_s,
        "cosigned": count,
        "newest_at": newest_s or None,
        "keys": [key.vkey for key in keys],
        "policy": _policy_lines(keys, url),
        "logs": [_log_data(one) for one in trusted],
        "held": [
            {"origin": origin, "size": one.size, "cosigned_at": one.cosigned_s, "note": _text(one.note)}
            for origin, one in held.items()
        ],
        "evidence": [_evidence_data(one) for one in evidence],
    }
    return data, lines


def _key_lines(screen: Screen, keys: tuple[VerifierKey, ...], url: str) -> list[str]:
    return [screen.say("witness.keys"), *(f"  {line}" for line in _policy_lines(keys, url))]


def _policy_lines(keys: tuple[VerifierKey, ...], url: str) -> list[str]:
    """What goes into a policy file of C2SP tlog-policy: both keys, and the group that makes them one witness."""
    name = keys[0].name
    witnesses = tuple(Witness(f"{name}#{at}", key, url or None) for at, key in enumerate(keys, 1))
    policy = Policy(witnesses=witnesses, groups=(Group(name, 1, tuple(one.name for one in witnesses)),), quorum=name)
    # The quorum is for whoever writes the policy to state.
    return format_policy(policy).decode().splitlines()[:-1]


def _log_data(log: Trusted) -> dict[str, Any]:
    return {"origin": log.origin, "yearly": log.yearly, "public": encode_base64(log.public)}


def _evidence_data(one: Evidence) -> dict[str, Any]:
    return {
        "origin": one.origin,
        "kind": one.kind,
        "at": one.at_s,
        "size": one.size,
        "root": encode_base64(one.root),
        "request": _text(one.request),
        "held": _text(one.held),
    }


def _text(raw: bytes | None) -> str | None:
    return None if raw is None else raw.decode()


def _shown_origin(screen: Screen, log: Trusted) -> str:
    return screen.say("witness.years", origin=log.origin) if log.yearly else log.origin
