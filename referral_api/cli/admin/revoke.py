"""`referral admin revoke`: the exchange itself revokes a party's key, at an hour when nobody else is there to do it.

It only takes away, and stands on the keys log with the exchange's name on it, where every client reads who did it.

Must never: revoke a key of the exchange's own, or give anybody a key.

Implements: R-32, R-33; design §5 (revocation acts at commit).
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from referral_api.cli.admin.settings import SETTINGS, ConfigFile, load_settings, open_alone
from referral_api.cli.invocation import invocation
from referral_api.cli.output import Shown
from referral_api.cli.renewing import kids_of
from referral_api.domain.words import Act
from referral_api.server.service.founding import exchange_signs


def revoke(
    ctx: typer.Context,
    what: Annotated[str, typer.Argument()],
    reason: Annotated[str, typer.Option("--reason")] = "compromised",
    config: ConfigFile = Path(SETTINGS),
) -> None:
    """Revoke a key, or all keys of a credential. Needs the database to itself (R-33)."""
    call = invocation(ctx)
    settings = load_settings(config)
    runtime = open_alone(settings)
    try:
        kids = kids_of(runtime.exchange.keymap, what)
        call.confirm("ask.revoke", what=what, count=len(kids))
        runtime.writer.start()
        for kid in kids:
            now = int(time.time())
            body = {"kid": kid, "reason": reason, "at": now}
            exchange_signs(runtime.exchange, runtime.writer, Act.REVOKE, body, now)
    finally:
        runtime.close()
    lines = [call.screen.say("admin.revoked", kid=kid) for kid in kids] + [call.screen.say("revoke.next")]
    call.show(Shown({"revoked": list(kids)}, lines, [f"referral admin serve --config {config}"]))
