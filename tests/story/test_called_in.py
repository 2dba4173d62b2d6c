"""A hotline that will not wait for the clocks calls in who stands by (R-78): who may, when, and what follows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from referral_api.client import passing
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Act, State
from tests.cli.shell import Shell
from tests.story.test_deadlines import HOUR, MINUTE, kinds, later, states
from tests.world import NATIONAL, OTHER_UNIT, UNIT, World


def shell_of(world: World) -> Shell:
    return Shell(world.folder, world.server.url)


def test_at_three_in_the_morning_the_hotline_waits_for_no_clock(world: World) -> None:
    """The local unit has said on the telephone that it has nobody: the national one has it a minute later."""
    ref, shell = str(world.submit().outgoing.ref), shell_of(world)
    later(world, 2 * MINUTE)
    assert kinds(world, "national") == []
    called = shell.run("operator", "phone", ref, "--not-made", "--unit", UNIT, "--json")
    assert called.json["next"] == [f"referral escalate {ref}", f"referral timeline {ref}"]
    told = shell.run("operator", "escalate", ref, "--json")
    assert told.exit == 0, told
    assert told.json["states"] == [{"unit": NATIONAL, "state": "submitted"}]
    assert (told.json["standing_by"], told.json["next"][0]) == (
        [],
        f"referral phone {ref} --at HORA --unit {NATIONAL}",
    )
    assert kinds(world, "national", pending=True) == ["released"]
    assert shell.run("national", "ack", ref).exit == 0
    assert kinds(world, "national", pending=True) == []
    assert shell.run("national", "accept", ref).exit == 0
    assert kinds(world, "officer")[-1] == "taken", "the first to accept takes it, whoever called it in"
    shown = shell.run("operator", "timeline", ref).out
    assert "Decisión de la línea" in shown
    assert shell.run("auditor", "audit", "verify").exit == 0


def test_its_own_clocks_run_from_when_it_was_called_in(sqlite_world: World) -> None:
    world = sqlite_world
    ref = str(world.submit().outgoing.ref)
    later(world, 2 * MINUTE)
    passing.call_in(world.operator.pen, world.operator.referral(ref))
    called_at = int(world.clock())
    own = world.operator.referral(ref)
    (due,) = own.standings[NATIONAL].dues
    assert abs(due.due_at - (called_at + 15 * MINUTE)) <= 2
    assert Act.RELEASED not in own.standings[NATIONAL].allowed
    later(world, 14 * MINUTE)
    told = shell_of(world).run("operator", "timeline", ref, "--json").json["events"]
    rungs = {(one["unit"], one["detail"]): one["released"] for one in told if one["what"] == "escalated"}
    assert rungs[UNIT, "ack_timeout release_parent"] is False, "nobody was left for the clock to release it to"
    assert [one["detail"] for one in told if one["what"] == "released"] == ["hotline_manual"]
    assert [line.unit for line in world.operator.inbox(pending=True) if line.kind == "telephone_now"] == [UNIT]
    later(world, 5 * MINUTE)
    rings = {line.unit for line in world.operator.inbox(pending=True) if line.kind == "telephone_now"}
    assert rings == {UNIT, NATIONAL}, "who was called in and sleeps is telephoned too"


def test_nobody_is_called_in_from_whom_has_accepted_it(sqlite_world: World) -> None:
    """Its acceptance would take it from the unit that works on it; once that one has it no more, it may be."""
    world = sqlite_world
    ref, shell = str(world.submit().outgoing.ref), shell_of(world)
    assert "escalate" in shell.run("operator", "timeline", ref).out
    world.acknowledge("officer", ref)
    world.act("officer", ref, Act.ACCEPT)
    assert "escalate" not in shell.run("operator", "timeline", ref).out
    refused = shell.run("operator", "escalate", ref)
    assert refused.exit == 7
    assert UNIT in refused.err
    with pytest.raises(ReferralError) as caught:
        world.act("operator", ref, Act.RELEASED, {"reason": "hotline_manual"}, unit=NATIONAL)
    assert caught.value.facts["reason"] == "taken"
    world.act("officer", ref, Act.DECLINE, {"reason": "no_capacity"})
    assert shell.run("operator", "escalate", ref, "--unit", NATIONAL).exit == 0
    assert states(world.operator.referral(ref))[NATIONAL] is State.SUBMITTED


def test_what_is_held_for_nobody_is_said_and_what_can_be_done_instead(sqlite_world: World) -> None:
    world = sqlite_world
    ref, shell = str(world.submit().outgoing.ref), shell_of(world)
    for wrong in (UNIT, OTHER_UNIT):
        refused = shell.run("operator", "escalate", ref, "--unit", wrong, "--lang", "en")
        assert refused.exit == 7
        assert f"Still standing by: {NATIONAL}" in refused.err
        assert f"referral readdress {ref} --unit UNIT" in refused.err
    assert shell.run("operator", "escalate", ref).exit == 0
    assert shell.run("operator", "escalate", ref).exit == 7
    assert shell.run("officer", "escalate", ref).exit == 7, "only its sender calls anybody in"


def test_of_several_that_stand_by_the_one_whom_the_clocks_would_call_first_is_called(sqlite_world: World) -> None:
    ref = str(sqlite_world.submit().outgoing.ref)
    referral = sqlite_world.operator.referral(ref)
    deliveries = referral.chronicle.deliveries
    deliveries[OTHER_UNIT] = replace(deliveries[NATIONAL], unit=OTHER_UNIT, rank=0)
    assert passing.standing_by(referral) == [OTHER_UNIT, NATIONAL]
    assert passing.check_call_in(referral, None) == OTHER_UNIT
    assert passing.check_call_in(referral, NATIONAL) == NATIONAL


def test_after_a_withdrawn_consent_it_takes_a_yes_of_its_own_and_the_unit_reads_the_notice_first(
    sqlite_world: World,
) -> None:
    world = sqlite_world
    ref, shell = str(world.submit().outgoing.ref), shell_of(world)
    assert shell.run("operator", "consent-withdrawn", ref).exit == 0
    refused = shell.run("operator", "escalate", ref)
    assert (refused.exit, "--despite-withdrawal" in refused.err) == (7, True)
    with pytest.raises(ReferralError) as caught:
        passing.call_in(world.operator.pen, world.operator.referral(ref), NATIONAL)
    assert (caught.value.code, caught.value.facts["reason"]) == (ErrorCode.CONSENT_GATE, "call-in-despite-withdrawal")
    assert kinds(world, "national") == []
    called = shell.run("operator", "phone", ref, "--not-made", "--unit", UNIT, "--json")
    assert called.json["next"] == [f"referral timeline {ref}"], "that is nobody's next step now"
    told = shell.run("operator", "escalate", ref, "--despite-withdrawal", "--json")
    assert told.exit == 0, told
    assert told.json["next"][0].startswith("referral phone"), "it has been told already"
    own = world.national.referral(ref).chronicle.deliveries[NATIONAL]
    assert Act.CONSENT_WITHDRAWN in own.open_questions
    later(world, 73 * HOUR)
    assert "overdue" in kinds(world, "national"), "the time for its answer runs from when it was called in"
