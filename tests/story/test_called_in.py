"""A hotline that will not wait for the clocks calls in who stands by (R-78): who may, when, and what follows."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from referral_api.client import handed_on, passing
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Act, State
from referral_api.domain.worklists import Worklist
from tests.cli.shell import Shell
from tests.story.test_deadlines import HOUR, MINUTE, kinds, later, states
from tests.world import NATIONAL, OTHER_UNIT, REFERRAL, UNIT, World, check_database


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
    again = shell.run("operator", "escalate", ref, "--lang", "en")
    assert (again.exit, "No unit stands by any more." in again.err) == (7, True)
    assert f"referral timeline {ref}" in again.err
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


def test_a_release_names_whom_it_calls_in_so_that_no_other_unit_reads_of_it(sqlite_world: World) -> None:
    """R-62: what is said of the whole referral every unit reads, and the first may be whom it is kept from."""
    world = sqlite_world
    ref = str(world.submit().outgoing.ref)
    with pytest.raises(ReferralError) as caught:
        world.act("operator", ref, Act.RELEASED, {"reason": "hotline_manual"})
    assert (caught.value.code, caught.value.facts["reason"]) == (ErrorCode.ILLEGAL_TRANSITION, "release-names-no-unit")
    assert states(world.operator.referral(ref))[NATIONAL] is State.HELD
    assert shell_of(world).run("operator", "escalate", ref).exit == 0
    assert [one.act.act for one in world.officer.referral(ref).acts] == [Act.SUBMIT]
    assert kinds(world, "officer") == ["submit"]


def lists(world: World, ref: str, unit: str = NATIONAL) -> set[Worklist]:
    (own,) = [one for one in world.operator.worklist().items if (one.ref, one.unit) == (ref, unit)]
    return set(own.lists)


def test_whom_the_hotline_called_in_it_telephones_until_that_one_is_reached_or_has_read_it(sqlite_world: World) -> None:
    """R-70: the call of the submission was to another unit; whoever comes on shift sees that this one needs one."""
    world = sqlite_world
    shell = shell_of(world)
    called, read, taken = (str(world.submit().outgoing.ref) for _ in range(3))
    for ref in (called, read, taken):
        assert Worklist.TELEPHONE not in lists(world, ref)
        assert shell.run("operator", "escalate", ref).exit == 0
        assert Worklist.TELEPHONE in lists(world, ref)
        hint = shell.run("operator", "timeline", ref, "--json").json["next"][0]
        assert hint.startswith(f"referral phone {ref} ")
        assert NATIONAL in hint
    world.act("operator", called, Act.PHONE_ALERT, {"made": False}, unit=NATIONAL)
    assert Worklist.TELEPHONE in lists(world, called), "nobody answered"
    assert shell.run("operator", "phone", called, "--unit", NATIONAL, "--at", "00:00").exit == 0
    world.acknowledge("national", read)
    world.acknowledge("officer", taken)
    world.act("officer", taken, Act.ACCEPT)
    for ref in (called, read, taken):
        assert Worklist.TELEPHONE not in lists(world, ref), "there is nobody to telephone about it any more"


def test_whoever_declines_leaves_those_who_stand_by_as_the_first_to_be_asked(sqlite_world: World) -> None:
    """Unless it suggests somebody else. One way is named, and not two: both would bring in two units."""
    world = sqlite_world
    ref, shell = str(world.submit().outgoing.ref), shell_of(world)
    world.acknowledge("officer", ref)
    world.act("officer", ref, Act.DECLINE, {"reason": "no_capacity"})
    ways = [f"referral escalate {ref}", f"referral phone {ref} --at HORA --unit {UNIT}"]
    assert shell.run("operator", "timeline", ref, "--json").json["next"] == ways
    (own,) = [one for one in shell.run("operator", "list", "--json").json["deliveries"] if one["unit"] == UNIT]
    assert own["next"] == ways
    assert shell.run("operator", "escalate", ref).exit == 0
    follow = shell.run("operator", "timeline", ref, "--json").json["next"]
    assert not [one for one in follow if "escalate" in one or "readdress" in one], "somebody may take it"
    other = str(world.submit().outgoing.ref)
    world.acknowledge("officer", other)
    world.act("officer", other, Act.DECLINE, {"reason": "no_capacity", "suggested_unit": OTHER_UNIT})
    told = shell.run("operator", "timeline", other, "--json").json["next"]
    assert told[0] == f"referral readdress {other} --unit {OTHER_UNIT}"
    assert not [one for one in told if "escalate" in one]


def test_who_is_called_in_lacks_what_the_first_was_told_meanwhile_and_the_hotline_is_shown_that(
    sqlite_world: World,
) -> None:
    """R-73, R-78: a note to the first unit can be the address at which she is now; who stood by could not be told."""
    world = sqlite_world
    ref, shell = str(world.submit().outgoing.ref), shell_of(world)
    (world.folder / "more.json").write_text(json.dumps(REFERRAL), encoding="utf-8")
    assert shell.run("operator", "supplement", ref, "more.json").exit == 0
    assert handed_on.said_while_held(world.operator.referral(ref), NATIONAL) == [], "it went to who stands by as well"
    world.acknowledge("officer", ref)
    world.act("operator", ref, Act.NOTE, unit=UNIT, note="Está en la casa de al lado.")
    assert shell.run("operator", "supplement", ref, "more.json", "--unit", UNIT).exit == 0
    told = shell.run("operator", "escalate", ref, "--json").json
    lacks = [f"referral {verb} {ref} ARCHIVO --unit {NATIONAL}" for verb in ("supplement", "note")]
    assert told["next"][1:3] == lacks
    assert Worklist.TELL in lists(world, ref)
    shown = shell.run("operator", "timeline", ref, "--json").json
    assert [one for one in shown["next"] if one in lacks] == lacks
    world.act("operator", ref, Act.NOTE, unit=UNIT, note="Ahora hablan las dos.")
    world.act("operator", ref, Act.NOTE, unit=NATIONAL, note="Está en la casa de al lado.")
    assert Worklist.TELL not in lists(world, ref)
    assert handed_on.lacking(world.operator.referral(ref), UNIT) is None, "it had it all along"


def test_what_is_taken_from_who_was_called_in_needs_no_telling(sqlite_world: World) -> None:
    world = sqlite_world
    ref = str(world.submit().outgoing.ref)
    world.acknowledge("officer", ref)
    world.act("operator", ref, Act.NOTE, unit=UNIT, note="Está en la casa de al lado.")
    passing.call_in(world.operator.pen, world.operator.referral(ref))
    assert Worklist.TELL in lists(world, ref)
    world.act("officer", ref, Act.ACCEPT)
    assert Worklist.TELL not in lists(world, ref)


def test_a_release_that_waited_in_the_outbox_takes_nothing_from_who_accepted_meanwhile(sqlite_world: World) -> None:
    world = sqlite_world
    ref, shell = str(world.submit().outgoing.ref), shell_of(world)
    seen = world.operator.referral(ref)
    world.server.stop()
    waits = passing.call_in(world.operator.pen, seen)
    assert waits.receipt is None
    world.server.start()
    world.acknowledge("officer", ref)
    world.act("officer", ref, Act.ACCEPT)
    world.close_clients()
    flushed = shell.run("operator", "outbox", "flush", "--json")
    assert flushed.exit == 7, "as whoever had sent it at once would have been told"
    assert flushed.json["next"] == [f"referral timeline {ref}"], "where it says how things stand, and what may be done"
    sent = flushed.json["entries"]
    assert [(one["act"], one["progress"], one["code"]) for one in sent] == [
        ("released", "refused", "illegal-transition")
    ]
    assert states(world.operator.referral(ref)) == {UNIT: State.ACCEPTED, NATIONAL: State.HELD}
    assert kinds(world, "national") == []
    assert shell.run("auditor", "audit", "verify").exit == 0


def test_a_consent_withdrawn_from_one_unit_alone_stands_in_the_way_too(sqlite_world: World) -> None:
    world = sqlite_world
    ref, shell = str(world.submit().outgoing.ref), shell_of(world)
    world.acknowledge("officer", ref)
    assert shell.run("operator", "withdraw", ref, "--reason", "consent_withdrawn", "--unit", UNIT).exit == 0
    assert shell.run("operator", "escalate", ref).exit == 7
    assert shell.run("operator", "escalate", ref, "--despite-withdrawal").exit == 0
    shown = shell.run("national", "show", ref)
    assert (shown.exit, shown.out.startswith("✖ CONSENTIMIENTO RETIRADO")) == (0, True)


def test_whoever_gets_the_pack_of_who_was_called_in_can_prove_who_decided_it(sqlite_world: World) -> None:
    world = sqlite_world
    ref, shell = str(world.submit().outgoing.ref), shell_of(world)
    assert shell.run("operator", "escalate", ref).exit == 0
    world.acknowledge("national", ref)
    world.act("national", ref, Act.ACCEPT)
    for who in ("operator", "national", "auditor"):
        pack = str(world.folder / f"{who}.pack")
        assert shell.run(who, "audit", "pack", ref, "--out", pack).exit == 0, who
        proved = shell.run(who, "audit", "verify-pack", pack)
        assert proved.exit == 0, (who, proved)
    check_database(world)
