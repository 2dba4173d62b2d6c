"""Whoever has a referral now lacks what was said to those before it, and whoever can say it is told so (R-62, R-73)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from referral_api.client import handed_on, passing, talking
from referral_api.client.submission import Composition
from referral_api.domain.rules import Rules
from referral_api.domain.words import Act, PartyId, Role, State
from referral_api.domain.worklists import Worklist
from referral_api.server.service.rulebook import ChangeRules
from tests.cli.shell import Shell
from tests.formats.test_referral_body import minimal
from tests.story.passed_on import transferred
from tests.world import ENTRIES, HOTLINE, NATIONAL, OTHER_UNIT, REFERRAL, UNIT, World

FILE = "ARCHIVO"
ROUTINE = {
    name: told for name, told in minimal().items() if name not in ("urgency_reason", "phone_alert", "victims")
} | {
    "urgency": "routine",
    "involves_minor": "no",
    "consent": {**minimal()["consent"], "subject": "reporter", "basis": "third_party_tip", "state": "not_possible"},
}
"""What no other unit is held ready for."""
MODES = [Role.HOTLINE, Role.EXCHANGE]
"""Who approves a transfer."""


def begun(world: World, approver: Role = Role.HOTLINE, **changes: Any) -> str:
    """A referral that its unit has read; transfers of it are approved by one of the two."""
    if approver is Role.EXCHANGE:
        runtime = world.server.runtime
        world.after(runtime.writer.run(ChangeRules(runtime.exchange, Rules(transfers=Role.EXCHANGE))))
        world.clock.ahead_s += 2
    ref = str(world.submit(**changes).outgoing.ref)
    world.acknowledge("officer", ref)
    return ref


def pass_on(world: World, ref: str, approver: Role = Role.HOTLINE) -> None:
    """The unit proposes another one, which gets it."""
    digest = transferred(world, ref)
    if approver is Role.HOTLINE:
        world.after(passing.approve(world.operator.pen, world.operator.referral(ref), UNIT, digest))
    assert world.operator.referral(ref).chronicle.deliveries[OTHER_UNIT].state is State.SUBMITTED


def supplement(world: World, ref: str, unit: str, body: dict[str, Any] = REFERRAL) -> None:
    entry = world.after(talking.supplement(world.operator.pen, world.operator.referral(ref), body, unit))
    assert entry.code is None


def write(world: World, ref: str, unit: str) -> None:
    assert world.act("operator", ref, Act.NOTE, unit=unit, note="Sigue allí.").code is None


def ask(world: World, ref: str) -> str:
    """The unit asks; the digest of that."""
    assert world.act("officer", ref, Act.ASK, {"topics": ["timing"]}).code is None
    return world.officer.outbox.entries()[-1].outgoing.digest


def answer(world: World, ref: str, digest: str, note: str | None = "Desde las seis.") -> None:
    body = {"code": "provided" if note else "not_known", "answers": digest}
    assert world.act("operator", ref, Act.ANSWER, body, unit=UNIT, note=note).code is None


def kinds(world: World, ref: str, unit: str = OTHER_UNIT) -> set[Act]:
    found = handed_on.lacking(world.operator.referral(ref), unit)
    return set() if found is None else set(found.kinds)


def told(world: World, ref: str) -> dict[str, list[str]]:
    """What the hotline's `list`, `show` and `timeline` hint of the new unit, each the whole of its hints."""
    shell = Shell(world.folder, world.server.url)
    listed: Any = shell.run("operator", "list", "--json").json
    own = [one for one in listed["deliveries"] if (one["ref"], one["unit"]) == (ref, OTHER_UNIT)]
    found = {"list": [command for one in own for command in one["next"]]}
    for verb in ("show", "timeline"):
        found[verb] = list(shell.run("operator", verb, ref, "--json").json["next"])
    return found


@pytest.mark.parametrize("approver", MODES)
def test_what_was_said_before_a_transfer_is_said_on_by_the_hotline_however_that_was_approved(
    sqlite_world: World, approver: Role
) -> None:
    """A supplement that stays with the first unit can be the address at which she is now."""
    world = sqlite_world
    ref = begun(world, approver)
    supplement(world, ref, UNIT)
    assert kinds(world, ref) == set(), "nobody else has it"
    pass_on(world, ref, approver)
    assert kinds(world, ref) == {Act.SUPPLEMENT}
    command = f"referral supplement {ref} {FILE} --unit {OTHER_UNIT}"
    assert told(world, ref) == {
        "list": [command],
        "show": [command, f"referral timeline {ref}"],
        "timeline": [command],
    }
    shell = Shell(world.folder, world.server.url)
    for lang, words in (("es", "NO HA RECIBIDO lo que se dijo sólo a"), ("en", "HAS NOT GOT what was said to")):
        for verb in (["list"], ["show", ref], ["timeline", ref]):
            ran = shell.run("operator", *verb, "--lang", lang)
            assert f"  ✖ {OTHER_UNIT} {words} {UNIT}" in ran.out, (verb, ran)
    (own,) = [one for one in shell.run("operator", "list", "--json").json["deliveries"] if one["unit"] == OTHER_UNIT]
    assert (own["lists"], own["asks"]) == (["tell", "waiting"], True)
    (said,) = shell.run("operator", "timeline", ref, "--json").json["unsaid"]["lacking"]
    assert (said["unit"], [one["act"] for one in said["said"]]) == (OTHER_UNIT, ["supplement"])
    supplement(world, ref, OTHER_UNIT)
    assert kinds(world, ref) == set()
    assert told(world, ref) == {
        "list": [],
        "show": [f"referral timeline {ref}"],
        "timeline": ["referral inbox watch"],
    }
    assert "NO HA RECIBIDO" not in shell.run("operator", "list").out


@pytest.mark.parametrize("approver", MODES)
def test_an_answer_to_who_passed_it_on_is_for_the_new_unit_too(sqlite_world: World, approver: Role) -> None:
    """The question stays open at the unit that asked, and only that unit reads what it is answered."""
    world = sqlite_world
    ref = begun(world, approver, excluded=(NATIONAL,))
    digest = ask(world, ref)
    pass_on(world, ref, approver)
    shell = Shell(world.folder, world.server.url)
    listed: Any = shell.run("operator", "list", "--json").json
    (own,) = [one for one in listed["deliveries"] if one["unit"] == UNIT]
    note = f"referral note {ref} {FILE} --unit {OTHER_UNIT}"
    assert own["next"] == [f"referral answer {ref} --reply CÓDIGO --unit {UNIT}", note]
    assert f"Ahora la tiene {OTHER_UNIT}" in shell.run("operator", "list").out
    (world.folder / "nota").write_text("Desde las seis.", encoding="utf-8")
    ran = shell.run("operator", "answer", ref, "--reply", "provided", "--note", "nota", "--lang", "en")
    assert ran.exit == 0, ran
    assert f"ONLY {UNIT} reads this, and it has passed the referral on. {OTHER_UNIT} has it now" in ran.out
    assert note.replace(FILE, "FILE") in ran.err
    assert digest not in {one.digest for one in world.operator.referral(ref).chronicle.deliveries[UNIT].questions}
    assert kinds(world, ref) == {Act.ANSWER}
    assert told(world, ref)["list"] == [note]
    assert shell.run("operator", "note", ref, "nota", "--unit", OTHER_UNIT).exit == 0
    assert (kinds(world, ref), told(world, ref)["list"]) == (set(), [])


def test_an_answer_before_the_transfer_and_one_without_words(sqlite_world: World) -> None:
    world = sqlite_world
    ref = begun(world)
    answer(world, ref, ask(world, ref), note=None)
    pass_on(world, ref)
    assert kinds(world, ref) == set(), "nothing was said in words"
    second = begun(world)
    answer(world, second, ask(world, second))
    pass_on(world, second)
    assert kinds(world, second) == {Act.ANSWER}


@pytest.mark.parametrize("say", [write, supplement])
def test_whatever_is_said_to_the_first_unit_later_is_lacking_again(
    sqlite_world: World, say: Callable[[World, str, str], None]
) -> None:
    world = sqlite_world
    ref = begun(world)
    pass_on(world, ref)
    say(world, ref, UNIT)
    assert len(kinds(world, ref)) == 1
    write(world, ref, OTHER_UNIT)
    assert kinds(world, ref) == set()
    say(world, ref, UNIT)
    assert len(kinds(world, ref)) == 1, "what came after"
    say(world, ref, OTHER_UNIT)
    assert kinds(world, ref) == set()
    assert kinds(world, ref, UNIT) == set()
    assert handed_on.lacking(world.stranger.referral(ref), OTHER_UNIT) is None


def test_along_a_longer_way_the_last_unit_lacks_what_was_said_to_any_before_it(sqlite_world: World) -> None:
    world = sqlite_world
    ref = str(world.after(world.operator.submit(Composition(body=ROUTINE, action=PartyId(UNIT)))).outgoing.ref)
    world.acknowledge("officer", ref)
    supplement(world, ref, UNIT, ROUTINE)
    pass_on(world, ref)
    write(world, ref, OTHER_UNIT)
    world.acknowledge("stranger", ref)
    stranger = world.stranger
    entry = world.after(passing.transfer(stranger.pen, stranger.referral(ref), NATIONAL, "jurisdiction"))
    world.act("operator", ref, Act.APPROVE, {"answers": entry.outgoing.digest}, unit=OTHER_UNIT)
    assert (kinds(world, ref), kinds(world, ref, NATIONAL)) == (set(), {Act.SUPPLEMENT, Act.NOTE})
    seen = world.operator.referral(ref)
    assert [handed_on.has_it_now(seen, unit) for unit in (UNIT, OTHER_UNIT, NATIONAL)] == [NATIONAL, NATIONAL, None]
    supplement(world, ref, NATIONAL, ROUTINE)
    assert kinds(world, ref, NATIONAL) == set()


def test_nothing_is_lacking_where_nobody_acts_on_it_any_more(sqlite_world: World) -> None:
    world = sqlite_world
    ref = begun(world)
    supplement(world, ref, UNIT)
    pass_on(world, ref)
    world.act("operator", ref, Act.WITHDRAW, {"reason": "safety_risk"}, unit=OTHER_UNIT)
    assert handed_on.has_it_now(world.operator.referral(ref), UNIT) is None
    assert kinds(world, ref) == set()


def test_where_consent_is_withdrawn_nothing_further_is_sent_to_the_new_unit(sqlite_world: World) -> None:
    """Rule R7 of the field."""
    world = sqlite_world
    ref = begun(world)
    supplement(world, ref, UNIT)
    pass_on(world, ref)
    world.act("operator", ref, Act.CONSENT_WITHDRAWN)
    assert kinds(world, ref) == set()
    assert told(world, ref)["list"] == []


def test_who_approves_and_who_writes_to_the_first_unit_is_told_at_once(sqlite_world: World, tmp_path: Path) -> None:
    world = sqlite_world
    ref = begun(world)
    supplement(world, ref, UNIT)
    write(world, ref, UNIT)
    transferred(world, ref)
    shell = Shell(world.folder, world.server.url)
    note, more = (f"referral {verb} {ref} {FILE} --unit {OTHER_UNIT}" for verb in ("note", "supplement"))
    ran: Any = shell.run("operator", "approve", ref, "--yes", "--json").json
    assert ran["next"] == [more, note, f"referral timeline {ref}"]
    words = tmp_path / "nota"
    words.write_text("Salió de la casa.", encoding="utf-8")
    ran = shell.run("operator", "note", ref, str(words), "--unit", UNIT)
    assert f"Ahora la tiene {OTHER_UNIT}" in ran.out
    assert note in ran.err
    more_of_it = tmp_path / "ampliacion.json"
    more_of_it.write_text(json.dumps(REFERRAL), encoding="utf-8")
    told = shell.run("operator", "supplement", ref, str(more_of_it), "--unit", UNIT, "--json").json["next"]
    assert told == [f"referral supplement {ref} {more_of_it} --unit {OTHER_UNIT}"]
    assert shell.run("operator", *told[0].split()[1:]).exit == 0


def test_a_unit_is_told_for_whom_its_proposal_waits_and_whom_to_telephone(sqlite_world: World) -> None:
    """R-73: it can neither take the proposal back nor make another one; the hotline can answer it."""
    world = sqlite_world
    ref = begun(world)
    shell, phone = Shell(world.folder, world.server.url), ENTRIES[HOTLINE]["duty_phone"]
    ran = shell.run("officer", "transfer", ref, "--to", OTHER_UNIT, "--reason", "jurisdiction", "--yes")
    assert f"llame a {phone}" in ran.out, ran
    for lang, words in (("es", "no puede retirarla ni hacer otra"), ("en", "neither take it back nor make another")):
        for verb in (["list"], ["show", ref], ["timeline", ref]):
            ran = shell.run("officer", *verb, "--lang", lang)
            line = next(line for line in ran.out.splitlines() if words in line)
            assert all(one in line for one in (OTHER_UNIT, HOTLINE, phone)), (verb, line)
    assert {one.lists for one in world.officer.worklist().items} == {(Worklist.WAITING,)}
    digest = world.operator.referral(ref).chronicle.deliveries[UNIT].questions[0].digest
    body = {"reason": "no_capacity", "answers": digest}
    world.act("operator", ref, Act.DECLINE, body, unit=UNIT)
    assert "retirarla" not in shell.run("officer", "list").out
