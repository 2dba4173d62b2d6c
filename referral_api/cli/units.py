"""`referral units`: the directory of those to whom referrals go, and which of them suits a place; and what is said of a
unit before anything is sealed to it.

Names, numbers and keys are those of the replicated keys log. Whether a unit is live is the exchange's word and is
called so on every screen: the duty telephone stands beside it.

Must never: show a unit as reachable that cannot be sealed to, or ask a question where `--json` is wanted.

Implements: R-30, R-33, R-84, R-85; design §12.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NoReturn

import typer

from referral_api.cli import remarks
from referral_api.cli.directory import follow_keys, party_data
from referral_api.cli.invocation import Invocation, invocation
from referral_api.cli.output import Screen, Shown, harmless
from referral_api.client import choosing, outage
from referral_api.client.choosing import Presence, Unit
from referral_api.client.renewal import follow
from referral_api.client.sdk import Client
from referral_api.client.submission import Composition
from referral_api.domain import clocks
from referral_api.domain.choosing import Suggestion
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import CredentialKind, Role, Urgency
from referral_api.formats.codelists import codes, label

DEFAULT_LIMIT = 10


def register(app: typer.Typer) -> None:
    """Add these verbs to the command."""
    units = typer.Typer(no_args_is_help=True)
    for name, verb in (("list", units_list), ("show", units_show), ("suggest", units_suggest)):
        units.command(name)(verb)
    app.add_typer(units, name="units")


def units_list(ctx: typer.Context) -> None:
    """The units of the directory, which of them can be sealed to now, and which are live."""
    call = invocation(ctx)
    with call.anyone() as client:
        presence, away = _presence_of_all(call, client)
        rows = [_unit_data(client, one) for one in choosing.units(client.session, presence)]
    screen = call.screen
    cells = [
        [
            row["id"],
            row["name"],
            _areas(screen, row),
            screen.say("yes" if row["reachable"] else "no"),
            "—" if row["live"] is None else screen.say("yes" if row["live"] else "no"),
            row["duty_phone"],
        ]
        for row in rows
    ]
    columns = ("col.unit", "col.name", "col.area", "col.reachable", "col.live", "col.duty_phone")
    follow_up = [f"referral units show {row['id']}" for row in rows[:1]] or ["referral whoami"]
    lines = [screen.table(columns, cells)] if rows else [screen.say("units.none")]
    _end(call, Shown({"units": rows}, lines, follow_up), away)


def units_show(ctx: typer.Context, unit: Annotated[str, typer.Argument()]) -> None:
    """One party of the directory."""
    call = invocation(ctx)
    with call.anyone() as client:
        presence, away = _presence_of_all(call, client)
        party = client.session.keymap.find_party(unit)
        if party is None:
            raise ReferralError(ErrorCode.NOT_FOUND)
        found = choosing.look(client.session, party, presence)
        data = _unit_data(client, found)
        lines = [*_unit_lines(call.screen, data), *_no_phone(call.screen, client, found)]
    follow_up = f"referral send {call.screen.say('place.file')} --unit {unit}"
    _end(call, Shown({"unit": data}, lines, [follow_up]), away)


def units_suggest(
    ctx: typer.Context,
    ubigeo: Annotated[str, typer.Option("--ubigeo")],
    speciality: Annotated[list[str] | None, typer.Option("--speciality")] = None,
    exclude: Annotated[list[str] | None, typer.Option("--exclude")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1)] = DEFAULT_LIMIT,
    abroad: Annotated[bool, typer.Option("--abroad")] = False,  # noqa: FBT002 - an option of the command line
) -> None:
    """The units that suit a place, the most suitable first, each with the reasons."""
    call = invocation(ctx)
    choosing.check_ubigeo(ubigeo)
    with call.anyone() as client:
        presence, away = _presence_of_all(call, client)
        known = choosing.units(client.session, presence)
        found = choosing.suggest(
            known, ubigeo, wanted=speciality or (), excluded=frozenset(exclude or ()), abroad=abroad
        )[:limit]
        rows = [_unit_data(client, one) | _reasons(why) for one, why in found]
        silent = {one.party.id: _no_phone(call.screen, client, one) for one, _ in found}
    screen = call.screen
    region = label(choosing.REGIONS, ubigeo[:2], screen.lang)
    lines = [screen.say("suggest.place", ubigeo=ubigeo, region=region), ""]
    for number, row in enumerate(rows, start=1):
        lines += [*_suggestion(screen, number, row), *(f"   {line}" for line in silent[row["id"]]), ""]
    if not rows:
        lines = [screen.say("suggest.none", region=region)]
    data = {"ubigeo": ubigeo, "region": region, "suggestions": rows}
    _end(call, Shown(data, lines, [_after_suggesting(screen, rows, exclude or [])]), away)


def _presence_of_all(call: Invocation, client: Client) -> tuple[Mapping[str, Presence] | None, ReferralError | None]:
    """What the exchange says of everybody, after its newest keys. None, and why, where it does not answer: people are
    shown then what this machine has of the keys log, for whoever cannot send must know whom to telephone.
    """
    try:
        follow_keys(client)
        return choosing.fetch_presence(client.session), None
    except ReferralError as error:
        if call.screen.as_json or not outage.is_passing(error):
            raise
        call.screen.talk("units.kept", size=client.session.replica.size)
        return None, error


def _end(call: Invocation, shown: Shown, away: ReferralError | None) -> NoReturn:
    """End the call with what was found, or, where the exchange did not answer, with that after it."""
    if away is None:
        call.show(shown)
    call.screen.show(shown)
    raise away


def announce(call: Invocation, client: Client, what: Composition) -> dict[str, Any]:
    """Say to whom a referral is about to be sealed, and whether anybody listens there; JSON members of it. Whoever is
    only informed is said first, and nothing is asked about.

    A unit that is offline takes a yes, which `--yes`, `--json` and a script give, and so does an emergency or urgent
    referral that nobody could take over; an emergency is telephoned first whatever anybody answers. Nothing is asked of
    a unit that sealing will refuse. Raises Fault for a no.
    """
    follow(client.session)
    presence = choosing.find_presence(client.session)
    informed = [_introduce(call, unit) for unit in _looked(client, what.information, presence)]
    beside = {"informed": informed} if informed else {}
    found = _looked(client, () if what.action is None else (what.action,), presence)
    if not found:
        return beside
    unit, screen = found[0], call.screen
    told = {"unit": _introduce(call, unit)} | beside
    stated = what.body.get("phone_alert")
    if isinstance(stated, Mapping) and stated.get("made") is True and not what.is_telephoned:
        screen.talk("send.call_elsewhere", unit=unit.party.id, called=harmless(str(stated.get("to_unit"))))
    is_live = unit.presence is not None and unit.presence.live
    if not is_live and what.body.get("urgency") == Urgency.EMERGENCY.value:
        screen.talk("send.telephone", phone=remarks.dial(screen, client.session, unit.party.id))
    elif unit.party.entry.duty_phone is None:
        screen.talk("send.no_phone", unit=unit.party.id, phone=remarks.dial(screen, client.session, unit.party.id))
    if unit.presence is not None and not is_live and not screen.as_json:
        call.confirm("ask.offline", unit=unit.party.id)
    return told | _announce_successors(call, client, what, unit)


def silence(call: Invocation, what: Composition, ref: str) -> tuple[list[str], list[str]]:
    """Of an emergency whose unit was not telephoned: the command that states the call, and the line that says it is
    still to be made. Empty where there is nothing to say.
    """
    if what.body.get("urgency") != Urgency.EMERGENCY.value or what.is_telephoned:
        return [], []
    screen, unit = call.screen, what.action
    ring = f"referral phone {ref} --at {screen.say('place.time')} --unit {unit}"
    return [ring], [screen.say("readdress.silent", unit=unit)]


def announce_each(call: Invocation, client: Client, parties: Sequence[str]) -> list[dict[str, Any]]:
    """Say of each of these units who it is, its duty telephone and whether anybody listens there; JSON members of them.
    Nothing is asked; who is no unit of the directory is left to the checks before sealing.
    """
    follow(client.session)
    presence, told = choosing.find_presence(client.session), list[dict[str, Any]]()
    for unit in _looked(client, parties, presence):
        told.append(_introduce(call, unit))
        if unit.party.entry.duty_phone is None:
            phone = remarks.dial(call.screen, client.session, unit.party.id)
            call.screen.talk("send.no_phone", unit=unit.party.id, phone=phone)
    return told


def _looked(client: Client, parties: Sequence[str], presence: Mapping[str, Presence] | None) -> list[Unit]:
    found = [client.session.keymap.find_party(one) for one in parties]
    known = [one for one in found if one is not None and one.role is Role.POLICE_UNIT]
    return [choosing.look(client.session, one, presence) for one in known]


def _introduce(call: Invocation, unit: Unit) -> dict[str, Any]:
    screen, entry = call.screen, unit.party.entry
    phone = entry.duty_phone or "—"
    screen.talk("send.unit", unit=unit.party.id, name=entry.name, phone=phone)
    screen.talk("send.mark", mark=_mark(screen, unit.presence))
    if unit.abroad:
        screen.talk("send.abroad", unit=unit.party.id, country=entry.country or "—")
    return {"id": unit.party.id, "name": entry.name, "duty_phone": phone} | _presence_data(unit)


def _announce_successors(call: Invocation, client: Client, what: Composition, unit: Unit) -> dict[str, Any]:
    """Say where nobody would take over an emergency or urgent referral that this unit sleeps through, and why."""
    urgency = what.body.get("urgency")
    if urgency not in [one.value for one in Urgency if clocks.escalation_sealed(one)] or not unit.reachable:
        return {}
    found = choosing.successors(client.session, what)
    if any(why is None for why in found.values()):
        return {}
    screen = call.screen
    listed = [f"{party}: {screen.say(f'successor.{why}')}" for party, why in found.items()]
    screen.talk("send.no_successor", unit=unit.party.id, why="; ".join(listed) or screen.say("successor.none"))
    if not screen.as_json:
        call.confirm("ask.no_successor", unit=unit.party.id)
    return {"no_successor": [{"party": party, "why": why} for party, why in found.items()]}


def _unit_data(client: Client, unit: Unit) -> dict[str, Any]:
    return (
        party_data(client, unit.party)
        | _presence_data(unit)
        | {"reachable": unit.reachable, "instead": list(unit.instead), "abroad": unit.abroad}
    )


def _presence_data(unit: Unit) -> dict[str, Any]:
    said = unit.presence
    return {"live": None if said is None else said.live, "live_at": None if said is None else said.live_at}


def _reasons(why: Suggestion) -> dict[str, Any]:
    return {
        "why": [one.value for one in why.why],
        "matched_area": why.area,
        "matched_specialities": sorted(why.specialities),
    }


def _unit_lines(screen: Screen, data: Mapping[str, Any]) -> list[str]:
    persons = [one for one in data["credentials"] if one["kind"] == CredentialKind.PERSON.value]
    return [
        f"{data['id']} — {screen.say('quoted', words=data['name'])}",
        *_reach(screen, data),
        screen.say("unit.phone", phone=data["duty_phone"] or "—"),
        screen.say("unit.area", area=_areas(screen, data)),
        screen.say("unit.hours", hours=_hours(screen, data)),
        screen.say("unit.languages", languages=_labels(screen, "language", data["languages"])),
        screen.say("unit.specialities", specialities=_labels(screen, "speciality", data["specialities"])),
        screen.say("unit.parent", parent=data["parent"] or "—"),
        screen.say("unit.escalation", parties=", ".join(data["escalation"]) or "—"),
        *([] if data["country"] is None else [screen.say("unit.country", country=data["country"])]),
        screen.say("unit.persons", persons=len(persons), keys=len(data["enc"])),
        screen.say("unit.statement", seq=data["statement"]["seq"], index=data["statement"]["index"]),
    ]


def _no_phone(screen: Screen, client: Client, unit: Unit) -> list[str]:
    """That a unit of the directory has no duty telephone, and whom to call instead."""
    party = unit.party
    if party.role is not Role.POLICE_UNIT or party.entry.duty_phone is not None:
        return []
    return [screen.say("send.no_phone", unit=party.id, phone=remarks.dial(screen, client.session, party.id))]


def _suggestion(screen: Screen, number: int, data: Mapping[str, Any]) -> list[str]:
    reasons = [screen.say(f"why.{one}") for one in data["why"]]
    return [
        f"{number}. {data['id']} — {screen.say('quoted', words=data['name'])} · {_areas(screen, data)}",
        "   " + screen.say("suggest.why", reasons="; ".join(reasons)),
        *(f"   {line}" for line in _reach(screen, data)),
        "   " + screen.say("unit.phone", phone=data["duty_phone"] or "—"),
        "   " + screen.say("unit.hours", hours=_hours(screen, data)),
        "   " + screen.say("unit.languages", languages=_labels(screen, "language", data["languages"])),
        "   " + screen.say("unit.parent", parent=data["parent"] or "—"),
    ]


def _reach(screen: Screen, data: Mapping[str, Any]) -> list[str]:
    """Whether it can be sealed to, to whom instead, and whether anybody listens."""
    lines = [screen.say("unit.reachable" if data["reachable"] else "unit.unreachable")]
    if not data["reachable"]:
        lines.append(screen.say("unit.instead", parties=", ".join(data["instead"]) or "—"))
    said = None if data["live"] is None else Presence(data["live"], data["live_at"])
    return [*lines, _mark(screen, said)]


def _mark(screen: Screen, said: Presence | None) -> str:
    if said is None:
        return screen.say("mark.unknown")
    if said.live_at is None:
        return screen.say("mark.never")
    return screen.say("mark.live" if said.live else "mark.offline", at=screen.at(said.live_at))


def _areas(screen: Screen, data: Mapping[str, Any]) -> str:
    """Areas with the names of their departments; of none, that it is the whole country."""
    if not data["area"]:
        return screen.say("area.country") if data["role"] == Role.POLICE_UNIT.value else "—"
    known = codes(choosing.REGIONS)
    named = [f"{area} {label(choosing.REGIONS, area[:2], screen.lang)}" for area in data["area"] if area[:2] in known]
    return ", ".join(named + [area for area in data["area"] if area[:2] not in known])


def _hours(screen: Screen, data: Mapping[str, Any]) -> str:
    return "—" if data["hours"] is None else label("duty_hours", data["hours"], screen.lang)


def _labels(screen: Screen, name: str, found: list[str]) -> str:
    return ", ".join(label(name, code, screen.lang) for code in found) or "—"


def _after_suggesting(screen: Screen, rows: list[dict[str, Any]], excluded: list[str]) -> str:
    """The first that can be sealed to; an exclusion goes along, or the referral would not know of it."""
    reachable = [row["id"] for row in rows if row["reachable"] and not row["abroad"]]
    if reachable:
        left_out = "".join(f" --exclude {one}" for one in excluded)
        return f"referral send {screen.say('place.file')} --unit {reachable[0]}{left_out}"
    return f"referral units show {rows[0]['id']}" if rows else "referral units list"
