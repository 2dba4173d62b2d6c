"""What a hotline tells of itself: `calls`, how many calls it took in a month.

Must never: send a month that has not begun, or anything but a number.

Implements: R-103; rule R12 of the field ("calls : referrals").
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from referral_api.cli.invocation import invocation
from referral_api.cli.output import Fault, Shown
from referral_api.client import admission
from referral_api.domain.words import Act
from referral_api.formats.account_bodies import MAX_CALLS


def register(app: typer.Typer) -> None:
    """Add this verb to the command."""
    app.command("calls")(calls)


def calls(
    ctx: typer.Context,
    month: Annotated[datetime, typer.Option(formats=["%Y-%m"])],
    total: Annotated[int, typer.Option(min=0, max=MAX_CALLS)],
) -> None:
    """Tell the exchange, signed, how many calls came in a month; a later word for the same month replaces it."""
    call, told = invocation(ctx), month.strftime("%Y-%m")
    with call.person() as client:
        session = client.session
        if told > datetime.fromtimestamp(session.now(), UTC).strftime("%Y-%m"):
            raise Fault("month-to-come", month=told)
        body = {"month": told, "calls": total}
        confirmed = admission.send_directory_act(session, client.keys, Act.CALL_TOTAL, body, session.ambient.act_id())
    screen, payload = call.screen, confirmed.receipt.payload
    lines = [screen.say("calls.told", month=told, total=total, at=screen.at(payload.time))]
    data = {"month": told, "calls": total, "id": payload.id, "receipt": payload.wire()}
    call.show(Shown(data, lines, ["referral whoami"]))
