"""`referral keys`: the credentials and keys of one's own party, and what is done about them.

Must never: show a key as usable that the keys log does not vouch for.

Implements: R-30, R-32, R-33; design §5.
"""

from __future__ import annotations

from typing import Any

import typer

from referral_api.cli import roster, watching
from referral_api.cli.directory import follow_keys, party_data
from referral_api.cli.invocation import invocation
from referral_api.cli.output import Shown
from referral_api.cli.renewing import add_renewing
from referral_api.domain.errors import ErrorCode, ReferralError


def register(app: typer.Typer) -> None:
    """Add these verbs to the command."""
    keys = typer.Typer(no_args_is_help=True)
    keys.command("show")(show)
    watching.register(keys)
    add_renewing(keys)
    roster.register(keys)
    app.add_typer(keys, name="keys")


def show(ctx: typer.Context) -> None:
    """The credentials and keys of one's own party."""
    call = invocation(ctx)
    with call.anyone() as client:
        follow_keys(client)
        party = client.session.keymap.find_party(client.profile.party)
        if party is None:
            raise ReferralError(ErrorCode.NOT_ENROLLED)
        own = {client.profile.person, client.profile.service}
        data = party_data(client, party)
    screen = call.screen
    rows = [
        [
            one["id"],
            one["kind"],
            screen.say("yes" if one["keyholder"] else "no"),
            screen.at(one["until"]),
            one["access"],
        ]
        for one in data["credentials"]
    ]
    columns = ("col.credential", "col.kind", "col.keyholder", "col.until", "col.key")
    lines: list[Any] = [screen.table(columns, rows)]
    enc = [[one["use"], one["station"] or "—", screen.at(one["until"]), one["kid"]] for one in data["enc"]]
    if enc:
        lines += ["", screen.table(("col.use", "col.station", "col.until", "col.key"), enc)]
    mine = [one["id"] for one in data["credentials"] if one["id"] in own]
    call.show(Shown({"party": data, "mine": mine}, lines, ["referral whoami"]))
