"""`referral admin notices`: whether those who are to be woken can be, tried once, with what came of each channel.

What is sent is the notice itself, for even a test shall not look like one from outside. The exchange may run or not.

Must never: show an address, or send another text.

Implements: R-109; docs/decisions/0032.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from referral_api.cli.admin.settings import SETTINGS, ConfigFile, load_settings
from referral_api.cli.invocation import invocation
from referral_api.cli.output import Exit, Fault, Shown
from referral_api.server.service.channels import ADMIN, Outcome, channels_of, try_once
from referral_api.server.service.waking import TEXT, TITLE
from referral_api.server.storage.notice_file import load_plan


def add_notices(app: typer.Typer) -> None:
    """Put the command into the admin group."""
    notices = typer.Typer(no_args_is_help=True)
    # With a callback a group of one verb stays a group.
    notices.callback()(lambda: None)
    notices.command("test")(try_channels)
    app.add_typer(notices, name="notices")


def try_channels(
    ctx: typer.Context,
    party: Annotated[str, typer.Argument()] = ADMIN,
    config: ConfigFile = Path(SETTINGS),
) -> None:
    """Send one notice to a party over each of its channels; without one, to the exchange's own operator."""
    call = invocation(ctx)
    settings = load_settings(config)
    if settings.notices is None:
        raise Fault("no-notices", path=config)
    plan = load_plan(settings.notices)
    if party not in channels_of(plan):
        raise Fault("no-channels", Exit.NOT_FOUND, party=party or call.screen.say("notices.own"))
    call.screen.talk("notices.trying", count=len(channels_of(plan)[party]))
    outcomes = try_once(plan, party, TITLE, TEXT)
    failed = [number for number, outcome in outcomes if outcome is not Outcome.TAKEN]
    data = {
        "party": party or None,
        "channels": [{"channel": number, "outcome": outcome.value} for number, outcome in outcomes],
    }
    lines = [call.screen.say(f"notices.{outcome.value}", channel=number) for number, outcome in outcomes]
    call.show(Shown(data, lines, status=Exit.PROBLEMS if failed else Exit.OK))
