"""Who is who: `whoami`, and a party as the screens show it, by the replicated keys log and nothing else.

Must never: show a key as usable that the keys log does not vouch for.

Implements: R-30, R-33; design §5 (keys log), §12.
"""

from __future__ import annotations

from typing import Any

import typer

from referral_api.cli.invocation import Invocation, invocation
from referral_api.cli.output import Shown
from referral_api.client import freshness
from referral_api.client.sdk import Client
from referral_api.domain.words import KeyUse, Role
from referral_api.formats.parties import Party


def register(app: typer.Typer) -> None:
    """Add these verbs to the command."""
    app.command("whoami")(whoami)


def whoami(ctx: typer.Context) -> None:
    """Who the exchange takes us for, and what is pinned here."""
    call = invocation(ctx)
    with call.anyone() as client:
        told = client.ping()
        profile, skew_s = client.profile, client.session.skew_s
        witnessed = client.session.keymap.witness_policy is not None
        log_key = client.session.keymap.exchange_keys(KeyUse.LOG)[0].kid
    screen = call.screen
    lines = [
        screen.say("whoami.who", credential=told["credential"], party=told["party"], role=told["role"]),
        screen.say("whoami.where", issuer=profile.issuer, environment=told["environment"], version=told["version"]),
        screen.say("whoami.root", root=profile.root),
        screen.say("whoami.log_key", kid=log_key),
        screen.say("whoami.time", at=screen.at(int(told["server_time"])), skew=skew_s),
        screen.say("witnesses.some" if witnessed else "witnesses.none"),
    ]
    data = {
        "credential": told["credential"],
        "party": told["party"],
        "role": told["role"],
        "kind": told["kind"],
        "environment": told["environment"],
        "issuer": profile.issuer,
        "root": profile.root,
        "log_key": log_key,
        "person": profile.person,
        "service": profile.service,
        "server_time": int(told["server_time"]),
        "skew_s": skew_s,
        "witnesses": witnessed,
    }
    call.show(Shown(data, lines, [_next_of(call, str(told["role"]))]))


def follow_keys(client: Client) -> None:
    """The newest keys, and how old it is what this client would seal by."""
    client.sync_keys()
    session = client.session
    session.stale_since = freshness.stale_since(client.directory, session.replica, session.now())


def party_data(client: Client, party: Party) -> dict[str, Any]:
    """A party as `--json` shows it, by the replicated keys log."""
    sealable = client.session.keymap.sealable(party.id, client.session.now())
    return {
        "id": party.id,
        "role": party.role.value,
        "name": party.entry.name,
        "area": list(party.entry.area),
        "country": party.entry.country,
        "duty_phone": party.entry.duty_phone or "",
        "hours": party.entry.hours,
        "languages": list(party.entry.languages or ()),
        "specialities": list(party.entry.specialities or ()),
        "parent": party.entry.parent,
        "escalation": list(party.entry.escalation),
        "reachable": bool(sealable),
        "statement": {"seq": party.seq, "digest": party.statement, "index": party.index},
        "credentials": [
            {
                "id": one.id,
                "kind": one.kind.value,
                "keyholder": one.keyholder,
                "access": one.access,
                "seal": list(one.seal),
                "until": one.valid_until,
            }
            for one in party.credentials
        ],
        "enc": [
            {"kid": one.kid, "use": one.use.value, "station": one.station, "until": one.valid_until}
            for one in party.enc
        ],
    }


def _next_of(call: Invocation, role: str) -> str:
    say = call.screen.say
    return {
        Role.HOTLINE.value: f"referral send {say('place.file')} --unit {say('place.unit')}",
        Role.POLICE_UNIT.value: "referral inbox watch",
        Role.AUDITOR.value: "referral audit verify",
    }.get(role, "referral enrolments")
