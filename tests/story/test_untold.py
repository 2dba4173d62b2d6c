"""Who was not told of a withdrawn consent stands on the hotline's list, and who cannot be told any more is telephoned.

Rule R7 of the field; clauses R-75, R-110.
"""

from __future__ import annotations

from typing import Any

import pytest

from referral_api.client import consented, passing, recalling
from referral_api.client.recalling import Outcome
from referral_api.domain.words import Act, State
from referral_api.domain.worklists import Worklist
from tests.cli.shell import Shell
from tests.story.passed_on import declined, lost, readdress, transferred
from tests.story.test_forgetting import closed, pass_days
from tests.world import ENTRIES, OTHER_UNIT, UNIT, World


def to_tell(world: World) -> set[tuple[str, str]]:
    """The deliveries that the hotline's list says are to be told, and only for this."""
    items = world.operator.worklist().items
    assert all((Worklist.TELL in one.lists) == one.untold for one in items)
    assert all(one.asks and not one.is_over for one in items if one.untold)
    return {(one.ref, one.unit) for one in items if one.untold}


def listed(world: World, ref: str, unit: str) -> Any:
    told: Any = Shell(world.folder, world.server.url).run("operator", "list", "--all", "--json").json
    (found,) = [one for one in told["deliveries"] if (one["ref"], one["unit"]) == (ref, unit)]
    return found


def test_what_closed_and_was_purged_is_not_said_to_be_told_but_to_be_telephoned(sqlite_world: World) -> None:
    """The unit keeps its own copy; nobody ever told it, and the exchange has nothing left to tell it by."""
    world = sqlite_world
    ref = closed(world)
    pass_days(world, 22)
    deliveries = world.operator.referral(ref).chronicle.deliveries
    assert {one.state for one in deliveries.values()} == {State.PURGED}
    report = world.after(recalling.withdraw_consent(world.operator.pen, ref))
    assert [(one.outcome, one.beyond) for one in report.done] == [(Outcome.BEYOND, (UNIT,))]
    assert (report.to_phone, report.remaining) == (((ref, UNIT),), ()), "who never had it is not telephoned"
    shell, phone = Shell(world.folder, world.server.url), ENTRIES[UNIT]["duty_phone"]
    for lang, words, call in (
        ("es", "YA NO SE PUEDE AVISAR POR AQUÍ", "tiene copia propia"),
        ("en", "CANNOT BE TOLD HERE ANY MORE", "has its own copy"),
    ):
        ran = shell.run("operator", "consent-withdrawn", ref, "--yes", "--lang", lang)
        assert ran.exit == 8, ran
        line = next(line for line in ran.out.splitlines() if call in line)
        assert all(one in line for one in (UNIT, ref, phone))
        assert words.split()[0] in ran.out
        assert "ya estaba avisada" not in ran.out
        assert "was told before" not in ran.out
    told: Any = shell.run("operator", "consent-withdrawn", ref, "--yes", "--json").json
    assert told["to_phone"] == [{"ref": ref, "unit": UNIT, "duty_phone": phone}]
    assert (told["told"], told["left"]) == (0, 0)


def test_who_was_told_before_its_purge_is_not_telephoned_and_of_two_only_who_can_be_is_told(
    sqlite_world: World,
) -> None:
    world = sqlite_world
    known, first = closed(world), closed(world)
    world.act("operator", known, Act.CONSENT_WITHDRAWN)
    question = next(one for one in world.officer.referral(known).chronicle.deliveries[UNIT].questions)
    answer = {"code": "stopped_and_destroyed", "answers": question.digest}
    world.act("officer", known, Act.WITHDRAWAL_ANSWER, answer)
    pass_days(world, 22)
    report = world.after(recalling.withdraw_consent(world.operator.pen, known))
    assert [(one.outcome, one.beyond) for one in report.done] == [(Outcome.KNEW, ())]
    # Another person withdraws: that nobody can tell it any more is as true of who was told of the first one.
    again = world.after(recalling.withdraw_consent(world.operator.pen, known, again=True))
    assert [(one.outcome, one.beyond) for one in again.done] == [(Outcome.BEYOND, (UNIT,))]
    later = str(world.submit(relation={"type": "supplements", "ref": first}).outgoing.ref)
    both = world.after(recalling.withdraw_consent(world.operator.pen, later))
    assert {one.ref: (one.outcome, one.beyond) for one in both.done} == {
        later: (Outcome.TOLD, ()),
        first: (Outcome.BEYOND, (UNIT,)),
    }


@pytest.mark.parametrize("kind", ["duplicate_of", "related_to"])
def test_a_successor_and_a_copy_that_were_not_told_stand_on_the_list(sqlite_world: World, kind: str) -> None:
    """The act went to one referral alone; the list says so of every other one, until they are told."""
    world = sqlite_world
    ref = declined(world, suggested_unit=OTHER_UNIT)
    renewed = str(readdress(world, ref).outgoing.ref)
    other = str(world.submit(relation={"type": kind, "ref": renewed}).outgoing.ref)
    assert to_tell(world) == set()
    world.act("operator", ref, Act.CONSENT_WITHDRAWN)
    expected = {(renewed, OTHER_UNIT)}
    expected |= {(renewed, unit) for unit in world.operator.referral(renewed).chronicle.deliveries}
    if kind == "duplicate_of":
        expected |= {(other, unit) for unit in world.operator.referral(other).chronicle.deliveries}
    assert to_tell(world) == expected
    own = listed(world, renewed, OTHER_UNIT)
    assert (own["untold"], own["asks"], "tell" in own["lists"]) == (True, True, True)
    assert own["next"][0] == f"referral consent-withdrawn {renewed}"
    ran = Shell(world.folder, world.server.url).run("operator", "list", "--list", "tell")
    assert f"A {OTHER_UNIT} NO SE LE HA DICHO" in ran.out
    assert ran.out.count(f"→ referral consent-withdrawn {renewed}") == len(
        [one for one in expected if one[0] == renewed]
    )
    report = world.after(recalling.withdraw_consent(world.operator.pen, renewed))
    assert report.remaining == ()
    assert to_tell(world) == set()


def test_a_unit_that_a_transfer_brought_in_and_that_was_not_told_stands_on_the_list(sqlite_world: World) -> None:
    world = sqlite_world
    ref = str(world.submit().outgoing.ref)
    world.acknowledge("officer", ref)
    digest = transferred(world, ref)
    world.act("operator", ref, Act.CONSENT_WITHDRAWN)
    operator = world.operator
    seen = operator.referral(ref)
    world.wires["operator"].lies[f"/v1/referrals/{ref}"] = lambda one: (
        one if "deliveries" not in one.json else lost(one)
    )
    passing.approve(operator.pen, seen, UNIT, digest, despite_withdrawal=True)
    world.wires["operator"].lies.clear()
    assert to_tell(world) == {(ref, OTHER_UNIT)}
    command, shell = f"referral consent-withdrawn {ref}", Shell(world.folder, world.server.url)
    for verb in ("show", "timeline"):
        told: Any = shell.run("operator", verb, ref, "--json").json
        assert (told["next"][0], told["unsaid"]) == (command, {"lacking": [], "untold": [OTHER_UNIT]})
    assert listed(world, ref, OTHER_UNIT)["next"] == [command]
    assert shell.run("operator", *command.split()[1:], "--yes").exit == 0
    assert to_tell(world) == set()
    assert consented.untold(operator.referral(ref)) == []
