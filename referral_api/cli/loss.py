"""`referral loss`: what the exchange has lost for good of what was seen here, and a person's word that it may go on.

Nothing is agreed to unasked: until somebody here says so, acts that the exchange answers from its next term end with an
alarm. What was lost of our own acts is kept as evidence and queued again (client/resending.py).

Must never: agree in silence, or for more than is shown.

Implements: R-94, R-97; docs/decisions/0022.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from referral_api.cli.invocation import invocation
from referral_api.cli.output import Screen, Shown
from referral_api.client.outbox import Entry, Progress
from referral_api.client.resending import Loss


def register(app: typer.Typer) -> None:
    """Add this verb."""
    app.command("loss")(loss)


def loss(
    ctx: typer.Context,
    accept: Annotated[bool, typer.Option("--accept")] = False,  # noqa: FBT002 - an option of the command line
) -> None:
    """What the exchange has lost for good, our own acts among it; `--accept` goes on and sends them again."""
    call = invocation(ctx)
    with call.person() as client:
        client.sync_keys()
        found = client.losses()
        lines = [line for one in found for line in _lines(call.screen, one)] or [call.screen.say("loss.none")]
        answered: list[Entry] = []
        if accept:
            for one in found:
                if not one.agreed or one.own:
                    call.confirm("ask.loss", log=one.log.term.log, lost=one.log.lost, own=len(one.own))
                    answered += client.accept_loss(one.log)
    purged = sum(entry.state is Progress.PURGED for entry in answered)
    queued = len(answered) - purged
    if accept and found:
        lines.append(call.screen.say("loss.accepted", count=queued, path=client.directory.lost))
        lines += [call.screen.say("loss.purged", count=purged)] if purged else []
    waiting = [one for one in found if not accept and (not one.agreed or one.own)]
    follow = "referral loss --accept" if waiting else "referral outbox flush" if queued else "referral whoami"
    call.show(Shown({"losses": [_data(one) for one in found], "queued": queued, "purged": purged}, lines, [follow]))


def _lines(screen: Screen, one: Loss) -> list[str]:
    log = one.log
    lines = [screen.say("loss.log", log=log.term.log, kept=log.kept, lost=log.lost, following=log.following.log)]
    lines.append(screen.say(f"loss.by.{log.authority}", size=log.size))
    lines += [
        screen.say("loss.own", act=screen.say(f"act.{entry.outgoing.act.value}"), ref=entry.outgoing.ref or "—")
        for entry in one.own
    ]
    return [*lines, screen.say("loss.agreed" if one.agreed else "loss.open")]


def _data(one: Loss) -> dict[str, Any]:
    log = one.log
    return {
        "log": log.term.log,
        "following": log.following.log,
        "kept": log.kept,
        "lost": log.lost,
        "checkpoint": log.size,
        "authority": log.authority,
        "agreed": one.agreed,
        "own": [
            {"id": entry.outgoing.id, "act": entry.outgoing.act.value, "ref": entry.outgoing.ref} for entry in one.own
        ],
    }
