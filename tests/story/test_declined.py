"""A referral that nobody takes on, on a running exchange: who is rung, who gets it next, what ends it (R-106)."""

from __future__ import annotations

from referral_api.domain.words import Act, State
from tests.cli.shell import Shell
from tests.story.test_deadlines import HOUR, MINUTE, kinds, later, states
from tests.world import NATIONAL, UNIT, World

DECLINE = {"reason": "no_capacity"}


def test_a_declined_emergency_rings_and_the_next_party_gets_it(world: World) -> None:
    ref = str(world.submit().outgoing.ref)
    world.acknowledge("officer", ref)
    assert world.act("officer", ref, Act.DECLINE, DECLINE).code is None
    assert kinds(world, "operator", pending=True) == ["decline", "telephone_now"]
    later(world, 15 * MINUTE)
    assert kinds(world, "national", pending=True) == ["released"]
    world.acknowledge("national", ref)
    assert world.act("national", ref, Act.ACCEPT).code is None
    assert world.act("operator", ref, Act.CLOSE, {"outcome": "passed_abroad"}, unit=UNIT).code is None
    assert kinds(world, "operator", pending=True) == [], "what the hotline has closed rings no more"
    assert states(world.operator.referral(ref)) == {UNIT: State.CLOSED, NATIONAL: State.ACCEPTED}


def test_what_the_taker_declines_goes_back_to_who_slept(sqlite_world: World) -> None:
    """The unit is told of it as of a new one, and reads on its first line why it is its turn again."""
    world = sqlite_world
    ref = str(world.submit().outgoing.ref)
    later(world, 16 * MINUTE)
    world.acknowledge("national", ref)
    world.act("national", ref, Act.ACCEPT)
    assert kinds(world, "officer")[-1] == "taken"
    world.act("national", ref, Act.DECLINE, DECLINE)
    assert kinds(world, "officer", pending=True) == ["submit", "released"]
    delivery = world.officer.referral(ref).chronicle.deliveries[UNIT]
    assert (delivery.taken, delivery.state) == (False, State.SUBMITTED)
    assert int(world.clock()) - (delivery.begun or 0) < MINUTE
    shell = Shell(world.folder, world.server.url)
    assert shell.run("officer", "ack", ref).exit == 0
    shown = shell.run("officer", "show", ref)
    assert "LA UNIDAD QUE LA HABÍA TOMADO YA NO LA TIENE" in shown.out
    taken = shell.run("officer", "accept", ref, "--json")
    assert taken.exit == 0, taken
    told = shell.run("officer", "show", ref, "--json").json
    assert told["standing"]["given_back_at"] is None, "it is at work on it"
    assert kinds(world, "operator", pending=True).count("decline") == 1


def test_what_goes_back_to_a_unit_that_has_read_it_asks_it_to_decide(sqlite_world: World) -> None:
    """It believed that another had it: its inbox says so until it has decided, or another takes it again."""
    world = sqlite_world
    ref = str(world.submit().outgoing.ref)
    later(world, 16 * MINUTE)
    for unit in ("officer", "national"):
        world.acknowledge(unit, ref)
    for act, body in ((Act.ACCEPT, None), (Act.DECLINE, DECLINE)):
        assert world.act("national", ref, act, body).code is None
    assert kinds(world, "officer", pending=True) == ["released"]
    assert world.act("officer", ref, Act.ACCEPT).code is None
    assert kinds(world, "officer", pending=True) == []


def test_a_call_that_nobody_took_ends_no_alarm(sqlite_world: World) -> None:
    world = sqlite_world
    ref = str(world.submit().outgoing.ref)
    later(world, 16 * MINUTE)
    shell = Shell(world.folder, world.server.url)
    assert shell.run("operator", "phone", ref, "--not-made", "--unit", UNIT).exit == 0
    assert "telephone_now" not in kinds(world, "operator", pending=True)
    later(world, 15 * MINUTE)
    assert kinds(world, "operator", pending=True).count("telephone_now") >= 1
    ring = [line for line in world.operator.inbox(pending=True) if line.kind == "telephone_now" and line.unit == UNIT]
    assert len(ring) == 1
    world.acknowledge("officer", ref)
    assert shell.run("operator", "phone", ref, "--at", "03:00", "--unit", UNIT).exit == 0
    later(world, 20 * MINUTE)
    assert [line.unit for line in world.operator.inbox(pending=True) if line.unit == UNIT] == [], "it was read"


def test_an_emergency_that_is_read_and_not_decided_is_released_too(sqlite_world: World) -> None:
    world = sqlite_world
    ref = str(world.submit().outgoing.ref)
    world.acknowledge("officer", ref)
    later(world, HOUR)
    assert kinds(world, "operator", pending=True) == ["telephone_now"]
    assert kinds(world, "national") == []
    later(world, 15 * MINUTE)
    assert kinds(world, "national", pending=True) == ["released"]
    assert states(world.operator.referral(ref))[NATIONAL] is State.SUBMITTED
