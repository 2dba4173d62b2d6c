"""What the exchange does by itself leads each side on: every line of an inbox has a command, and none of them fails."""

from __future__ import annotations

import shlex
from typing import Any

import pytest

from referral_api.cli import arriving
from referral_api.cli.output import Screen
from referral_api.client import passing
from referral_api.domain.words import EXCHANGE_ACTS, Act, Role
from tests.cli.shell import Shell
from tests.story.passed_on import transferred
from tests.story.test_deadlines import later
from tests.story.test_forgetting import closed, pass_days
from tests.story.test_handed_on import begun, pass_on
from tests.world import NATIONAL, OTHER_UNIT, UNIT, World


def led(world: World, name: str, ref: str) -> dict[tuple[str, str | None], str]:
    """To which verb each line of an inbox leads, by its kind and unit; each is run, and is refused to nobody."""
    client, shell = world.client(name), Shell(world.folder, world.server.url)
    found = {}
    for entry in client.inbox():
        if entry.ref != ref:
            continue
        (command,) = arriving.follow(Screen(), client, entry)
        _, verb, *rest = shlex.split(command)
        found[entry.kind, entry.unit] = verb
        if entry.kind in EXCHANGE_ACTS and verb != "phone":
            told = shell.run(name, verb, *rest, "--json")
            assert told.exit == 0, (name, command, told)
            assert told.json["next"], told
    return found


def hints(world: World, name: str, ref: str, unit: str) -> tuple[list[str], list[str]]:
    """On which lists a delivery stands, and what comes next."""
    told: Any = Shell(world.folder, world.server.url).run(name, "list", "--all", "--json").json
    (own,) = [one for one in told["deliveries"] if (one["ref"], one["unit"]) == (ref, unit)]
    return own["lists"], [command.split()[1] for command in own["next"]]


def test_one_that_nobody_reads_is_released_telephoned_expired_and_read_late(sqlite_world: World) -> None:
    world = sqlite_world
    ref = str(world.submit().outgoing.ref)
    later(world, 16 * 60)
    assert hints(world, "operator", ref, UNIT) == (["telephone", "waiting"], ["phone"])
    assert hints(world, "national", ref, NATIONAL) == (["read"], ["show"])
    later(world, 31 * 60)
    later(world, 3 * 3600)
    told = led(world, "operator", ref)
    assert told["telephone_now", UNIT] == "phone"
    assert {told[kind, UNIT] for kind in ("overdue", "escalated", "expired")} == {"timeline"}
    assert told["released", NATIONAL] == "timeline"
    assert led(world, "national", ref)["released", NATIONAL] == "show"
    assert led(world, "officer", ref)["expired", UNIT] == "show"
    world.acknowledge("officer", ref)
    assert hints(world, "officer", ref, UNIT) == (["waiting"], [])
    assert hints(world, "operator", ref, UNIT)[0][-1] == "readdress"


def test_one_that_another_took_asks_nothing_until_it_is_given_back(sqlite_world: World) -> None:
    world = sqlite_world
    ref = str(world.submit().outgoing.ref)
    later(world, 16 * 60)
    for name in ("officer", "national"):
        world.acknowledge(name, ref)
    world.act("national", ref, Act.ACCEPT)
    assert hints(world, "officer", ref, UNIT) == (["standing_by"], [])
    told = led(world, "officer", ref)
    assert told["taken", UNIT] == "show"
    out = Shell(world.folder, world.server.url).run("officer", "show", ref).out
    assert "OTRA UNIDAD LA TOMÓ" in out
    assert led(world, "operator", ref)["taken", UNIT] == "timeline"
    world.act("national", ref, Act.DECLINE, {"reason": "no_capacity"})
    assert hints(world, "officer", ref, UNIT) == (["decide"], ["accept"])
    assert led(world, "officer", ref)["released", UNIT] == "show"


@pytest.mark.parametrize("approver", [Role.HOTLINE, Role.EXCHANGE])
def test_a_transfer_that_was_approved_leads_the_new_unit_to_it_and_the_others_to_what_happened(
    sqlite_world: World, approver: Role
) -> None:
    world = sqlite_world
    ref = begun(world, approver)
    pass_on(world, ref, approver)
    assert led(world, "officer", ref)["approve", UNIT] == "timeline"
    assert led(world, "stranger", ref)["approve", OTHER_UNIT] == "show"
    if approver is Role.EXCHANGE:
        assert led(world, "operator", ref)["approve", UNIT] == "timeline"


def test_what_is_purged_is_not_offered_for_reading(sqlite_world: World) -> None:
    """R-107: warned of with its date, then gone: `show` would find nothing."""
    world = sqlite_world
    ref = closed(world)
    for days in (1, 10, 11):
        pass_days(world, days)
    for name in ("operator", "officer"):
        told = led(world, name, ref)
        assert {told[kind, UNIT] for kind in ("purge_due", "purged")} == {"timeline"}, told


def test_a_proposal_that_was_refused_gives_the_unit_its_turn_back(sqlite_world: World) -> None:
    world = sqlite_world
    ref = begun(world)
    digest = transferred(world, ref)
    assert hints(world, "officer", ref, UNIT) == (["waiting"], [])
    world.act("operator", ref, Act.DECLINE, {"reason": "no_capacity", "answers": digest}, unit=UNIT)
    assert hints(world, "officer", ref, UNIT) == (["decide"], ["accept"])
    assert passing.proposed_to(world.operator.referral(ref), digest) == OTHER_UNIT
