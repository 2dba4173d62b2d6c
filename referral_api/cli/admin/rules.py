"""`referral admin rules`: the rules that the exchange runs by, and their change by its own signed act.

A change counts for referrals that are submitted after it: nobody's deadline moves. On SQLite the exchange is stopped
for it; on PostgreSQL the processes that run take it in within a second.

Must never: sign rules that cannot be, or rules in which nobody has seen what differs.

Implements: R-105.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from referral_api.cli.admin.settings import SETTINGS, ConfigFile, load_settings, open_alone
from referral_api.cli.invocation import Invocation, invocation, read_document
from referral_api.cli.output import Exit, Fault, Shown
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.rules import Rules
from referral_api.domain.words import Act
from referral_api.formats.bodies import parse_body
from referral_api.formats.exchange_bodies import RulesBody, rules_wire
from referral_api.server.service.rulebook import ChangeRules, load_rules
from referral_api.server.settings import Settings
from referral_api.server.storage.database import Database


def add_rules(app: typer.Typer) -> None:
    """Put the commands into the admin group."""
    group = typer.Typer(callback=rules, invoke_without_command=True)
    group.command("show")(show)
    app.add_typer(group, name="rules")


def rules(
    ctx: typer.Context,
    file: Annotated[Path | None, typer.Option("--file", "-f")] = None,
    config: ConfigFile = Path(SETTINGS),
) -> None:
    """Show the rules in force, or change them to those of a file."""
    if ctx.invoked_subcommand is not None:
        return
    call, settings = invocation(ctx), load_settings(config)
    if file is None:
        _show(call, settings, config)
    else:
        _change(call, settings, config, _read(file))


def _change(call: Invocation, settings: Settings, config: Path, wanted: Rules) -> None:
    while True:
        # Nobody is kept from an exchange while somebody reads and thinks: it is stopped for the change alone.
        seen, differs = _confirmed(call, settings, wanted)
        digest = _sign(settings, seen, wanted)
        if digest is not None:
            break
    lines = [call.screen.say("rules.differs", **one) for one in differs]
    lines.append(call.screen.say("rules.changed", digest=digest))
    call.show(Shown({"differs": differs, "act": digest}, lines, [f"referral admin serve --config {config}"]))


def _confirmed(call: Invocation, settings: Settings, wanted: Rules) -> tuple[Rules, list[dict[str, str]]]:
    """The rules in force, and how the wanted ones differ, once somebody has seen that and said yes."""
    with Database.look(settings.database) as database, database.read() as conn:
        seen = load_rules(conn).book.current
    pairs = _differences(rules_wire(seen), rules_wire(wanted))
    differs = [{"where": where, "old": old, "new": new} for where, old, new in pairs]
    if not differs:
        call.show(Shown({"differs": [], "act": None}, [call.screen.say("rules.same")], [], Exit.NOTHING_NEW))
    for one in differs:
        call.screen.talk("rules.line", line=call.screen.say("rules.differs", **one))
    call.confirm("ask.rules", count=len(differs))
    return seen, differs


def _sign(settings: Settings, seen: Rules, wanted: Rules) -> str | None:
    """Change the rules; None where they are not any more what was `seen`."""
    runtime = open_alone(settings)
    try:
        if runtime.exchange.ruling.book.current != seen:
            return None
        runtime.writer.start()
        return runtime.writer.run(ChangeRules(runtime.exchange, wanted)).result
    finally:
        runtime.close()


def show(ctx: typer.Context, config: ConfigFile = Path(SETTINGS)) -> None:
    """Show the rules in force; with --json as the file that changes them."""
    _show(invocation(ctx), load_settings(config), config)


def _show(call: Invocation, settings: Settings, config: Path) -> None:
    with Database.look(settings.database) as database, database.read() as conn:
        ruling = load_rules(conn)
    current = rules_wire(ruling.book.current)
    changes = [since for since, _ in ruling.acts]
    lines = [
        call.screen.say("rules.since", at=call.screen.at(changes[-1])) if changes else call.screen.say("rules.default")
    ]
    lines += [f"  {where}: {value}" for where, value in _flat(current)]
    follow = [f"referral admin rules --file {call.screen.say('place.file')} --config {config}"]
    call.show(Shown({"rules": current, "changed_at": changes}, lines, follow))


def _read(path: Path) -> Rules:
    """The rules of a file: the body of a `rules` act, or what `rules show --json` printed. Raises Fault, MALFORMED."""
    document = read_document(path)
    members = document["rules"] if isinstance(document.get("rules"), Mapping) else document
    try:
        body = parse_body(Act.RULES, members)
    except ReferralError as error:
        if error.code is not ErrorCode.ACT_SCHEMA:
            raise
        raise Fault(
            "rules-wrong", path=path, where=error.facts.get("where") or "/", reason=error.facts.get("reason", "")
        ) from None
    if not isinstance(body, RulesBody):
        raise TypeError("the body of a rules act")
    return body.rules()


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    before, after = dict(_flat(old)), dict(_flat(new))
    for where in dict.fromkeys([*before, *after]):
        if before.get(where) != after.get(where):
            yield where, before.get(where, "—"), after.get(where, "—")


def _flat(wire: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Every rule as its name and value: terms by their urgency, retention by its class, a ladder as one line."""
    for one in wire["clocks"]:
        for name, value in one.items():
            if name == "ladder":
                yield (
                    f"clocks.{one['urgency']}.ladder",
                    " · ".join(f"{rung['after_s']} {rung['rung']}" for rung in value),
                )
            elif name != "urgency":
                yield f"clocks.{one['urgency']}.{name}", str(value)
    yield "withdrawal_answer_s", str(wire["withdrawal_answer_s"])
    for one in wire["retention"]:
        for name in ("after_end_s", "after_ack_s"):
            yield f"retention.{one['retention_class']}.{name}", str(one[name])
    yield "transfers", str(wire["transfers"])
