"""`referral admin retention | hold`: which ciphertext goes when, what is kept beyond that and why, and erasure.

Looking runs beside the exchange and changes nothing. `retention erase` signs `erase` acts and needs the database to
itself on SQLite; a process that dies between two of them leaves what the same command goes on with.

Must never: take a referral that is not purged, is held, or has a younger leaf; or erase without having said what.

Implements: R-99, R-107; rules R1 to R3 of the field.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from referral_api.cli import choices
from referral_api.cli.admin.settings import SETTINGS, ConfigFile, load_settings, open_alone
from referral_api.cli.invocation import Invocation, invocation
from referral_api.cli.output import Exit, Fault, Screen, Shown
from referral_api.formats.codelists import codes, label
from referral_api.server.app import Runtime
from referral_api.server.service.erasure import Erasure
from referral_api.server.service.retention import Erasable, Hold, Kept, erasable, kept, portions
from referral_api.server.service.rulebook import load_rules
from referral_api.server.settings import Settings
from referral_api.server.storage.database import Database

DAY_S = 24 * 3600
WITHIN_DAYS = 30
_LEFT = {"held": "erase.left_held", "not-purged": "erase.left_not_purged", "younger": "erase.left_younger"}
"""What is said of the referrals that stay, by what stands in the way."""


def add_retention(app: typer.Typer) -> None:
    """Put the commands into the admin group."""
    group = typer.Typer(callback=retention, invoke_without_command=True)
    group.command("erase")(erase)
    app.add_typer(group, name="retention")
    app.command("hold")(hold)


def retention(
    ctx: typer.Context,
    config: ConfigFile = Path(SETTINGS),
    within: Annotated[int, typer.Option("--within", min=0, max=4000)] = WITHIN_DAYS,
) -> None:
    """Which ciphertext goes in the next days, and what never goes because nobody has acknowledged it: an alarm."""
    if ctx.invoked_subcommand is not None:
        return
    call = invocation(ctx)
    now = int(time.time())
    every = _look(load_settings(config), now)
    going = sorted(
        (one for one in every if one.purge_at is not None and one.purge_at <= now + within * DAY_S),
        key=lambda one: (one.purge_at or 0, one.ref, one.unit),
    )
    never = [one for one in every if one.unread]
    screen = call.screen
    lines: list[Any] = [screen.say("retention.kept", count=len(every), going=len(going), days=within)]
    if going:
        lines.append(
            screen.table(("col.purge", "col.ref", "col.unit", "col.state"), [_row(screen, one) for one in going])
        )
    lines += [line for one in going for line in _held_lines(screen, one)]
    lines += [screen.say("retention.never", count=len(never)) if never else screen.say("retention.none_never")]
    lines += [f"  {one.ref}  {one.unit}  {screen.say(f'state.{one.state.value}')}" for one in never]
    data = {
        "kept": len(every), "within_days": within, "going": [_data(one) for one in going],
        "never": [_data(one) for one in never],
    }  # fmt: skip
    follow = [f"referral admin hold --config {config}"]
    call.show(Shown(data, lines, follow, Exit.PROBLEMS if never else Exit.OK))


def hold(ctx: typer.Context, config: ConfigFile = Path(SETTINGS)) -> None:
    """Every hold that stands, with its owner, basis and day of review; one whose day is over is an alarm."""
    call = invocation(ctx)
    now = int(time.time())
    held = [(one, hold) for one in _look(load_settings(config), now) for hold in one.holds]
    held.sort(key=lambda pair: (pair[1].review_at, pair[0].ref))
    overdue = [pair for pair in held if pair[1].review_at <= now]
    lines = [call.screen.say("holds.count", count=len(held), overdue=len(overdue))]
    lines += [_hold_line(call.screen, one, hold, overdue=hold.review_at <= now) for one, hold in held]
    data = {
        "holds": [
            {"ref": one.ref, "unit": one.unit, "overdue": hold.review_at <= now, **_hold_data(hold)}
            for one, hold in held
        ]
    }
    call.show(Shown(data, lines, [], Exit.PROBLEMS if overdue else Exit.OK))


def erase(
    ctx: typer.Context,
    before: Annotated[datetime, typer.Option("--before", formats=["%Y-%m-%d"])],
    erase_basis: Annotated[str, typer.Option("--basis")],
    config: ConfigFile = Path(SETTINGS),
) -> None:
    """Erase the records of referrals that are purged and older than a day, by signed acts."""
    call = invocation(ctx)
    day_s = int(before.replace(tzinfo=UTC).timestamp())
    if day_s > time.time():
        raise Fault("day-to-come", day=before.date())
    choices.check_code(call, "erase_basis", erase_basis)
    runtime = open_alone(load_settings(config))
    try:
        with runtime.exchange.database.read() as conn:
            found = list(erasable(conn, day_s))
        going = [one for one in found if one.obstacle is None]
        _tell_plan(call, found, str(before.date()))
        taken = _erase(call, runtime, going, erase_basis, str(before.date())) if going else []
    finally:
        runtime.close()
    lines = [call.screen.say("erase.done", ref=ref, leaves=leaves, acts=acts) for ref, leaves, acts in taken]
    data = {
        "erased": [{"ref": ref, "leaves": leaves, "acts": acts} for ref, leaves, acts in taken],
        "left": {one.ref: one.obstacle for one in found if one.obstacle is not None},
    }
    follow = [f"referral admin serve --config {config}"]
    call.show(Shown(data, lines or [call.screen.say("erase.none")], follow, Exit.OK if taken else Exit.NOTHING_NEW))


def _tell_plan(call: Invocation, found: Sequence[Erasable], before: str) -> None:
    """What would go, and what stays and why, before anybody is asked."""
    going = [one for one in found if one.obstacle is None]
    leaves = sum(len(one.positions) for one in going)
    call.screen.talk("erase.plan", count=len(going), leaves=leaves, before=before)
    for obstacle, count in sorted(Counter(one.obstacle for one in found if one.obstacle is not None).items()):
        call.screen.talk(_LEFT[obstacle], count=count)


def _erase(
    call: Invocation, runtime: Runtime, going: Sequence[Erasable], basis: str, before: str
) -> list[tuple[str, int, int]]:
    """Erase them, one after the other: ref, leaves, acts of each. Then nothing of it is left beside the tables."""
    call.confirm("ask.erase", count=len(going), before=before)
    runtime.writer.start()
    taken: list[tuple[str, int, int]] = []
    for one in going:
        acts = portions(one.positions)
        for term, indices in acts:
            runtime.writer.run(Erasure(runtime.exchange, one.ref, term, indices, basis))
        taken.append((one.ref, len(one.positions), len(acts)))
    runtime.exchange.database.sweep()
    return taken


def _look(settings: Settings, now: int) -> list[Kept]:
    """What is kept, as the database says it now, whoever has that open."""
    with Database.look(settings.database) as database, database.read(snapshot=True) as conn:
        return list(kept(conn, load_rules(conn).book, now))


def _row(screen: Screen, one: Kept) -> list[str]:
    return [screen.at(one.purge_at or 0), one.ref, one.unit, screen.say(f"state.{one.state.value}")]


def _held_lines(screen: Screen, one: Kept) -> list[str]:
    return [_hold_line(screen, one, hold, overdue=False) for hold in one.holds]


def _hold_line(screen: Screen, one: Kept, hold: Hold, *, overdue: bool) -> str:
    basis = label("hold_basis", hold.basis, screen.lang) if hold.basis in codes("hold_basis") else hold.basis
    words = {"ref": one.ref, "unit": one.unit, "by": hold.by, "basis": basis, "at": screen.at(hold.review_at)}
    return screen.say("holds.overdue" if overdue else "holds.line", **words)


def _data(one: Kept) -> dict[str, Any]:
    return {
        "ref": one.ref, "unit": one.unit, "state": one.state.value, "purge_at": one.purge_at,
        "holds": [_hold_data(hold) for hold in one.holds],
    }  # fmt: skip


def _hold_data(hold: Hold) -> dict[str, Any]:
    return {"party": hold.party, "by": hold.by, "basis": hold.basis, "review_at": hold.review_at}
