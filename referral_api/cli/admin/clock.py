"""`referral admin clock`: what this machine's clock shows, what the log says, and the operator's word that it is right.

Needed after a very long stop, or while the newest leaf lies ahead because the clock was wrong when it was written:
else nothing is written (R-97, `clock-ahead`, `clock-behind`). The word holds for a day, and its use is recorded.

Must never: write to a log, or set a clock.

Implements: R-97, R-98; docs/runbooks.md.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from referral_api.cli.admin.recovery import opened
from referral_api.cli.admin.settings import SETTINGS, ConfigFile, load_settings
from referral_api.cli.invocation import invocation
from referral_api.cli.output import Shown
from referral_api.domain.errors import ReferralError
from referral_api.server.service import clock_watch


def clock(
    ctx: typer.Context,
    config: ConfigFile = Path(SETTINGS),
    is_right: Annotated[bool, typer.Option("--is-right")] = False,  # noqa: FBT002 - an option of the command line
) -> None:
    """Show the clock and the newest leaf's time (with the exchange stopped), or say that the clock is right."""
    call = invocation(ctx)
    settings = load_settings(config)
    with opened(settings) as runtime:
        newest_s = clock_watch.newest_leaf_s(runtime.exchange.database)
        observed = time.time()
        data = {"clock": _shown(observed), "newest_leaf": _shown(newest_s) if newest_s else None}
        if is_right:
            call.confirm("ask.clock", **data)
            clock_watch.confirm(settings.data_dir, observed)
    reason = None
    try:
        clock_watch.demand_right(settings.data_dir, newest_s, observed)
    except ReferralError as refusal:
        reason = str(refusal.facts["reason"])
    lines = [call.screen.say("clock.shown", **data)]
    lines.append(call.screen.say("clock.good" if reason is None else "clock.doubtful", reason=reason))
    follow = f"referral admin serve --config {config}" if reason is None else "date -u"
    call.show(Shown(data | {"reason": reason, "confirmed": is_right}, lines, [follow]))


def _shown(seconds: float) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).isoformat().replace("+00:00", "Z")
