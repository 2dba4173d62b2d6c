"""What a hotline's screens advise: never to close what nobody has, and never on the exchange's word alone.

Clauses R-70, R-75, R-84, R-86, R-110; design §10.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.shell import EXAMPLES, Ran, Shell, served
from tests.liar import Kind, Liar, Lie
from tests.lies import view
from tests.world import NATIONAL, OTHER_UNIT, UNIT, Founded, World, composition

STRANGE = "018f0000-0000-7000-8000-000000000000"
EMERGENCY = json.loads((EXAMPLES / "emergencia-piura.json").read_text(encoding="utf-8"))


@pytest.fixture
def fresh(founded: Founded, tmp_path: Path) -> Iterator[Shell]:
    """An exchange of this test's own, on which nothing has happened."""
    with served(founded, tmp_path / "served") as found:
        yield found


def done(ran: Ran, code: int = 0) -> Any:
    assert ran.exit == code, ran
    return ran.json


def send(shell: Shell, *more: str, unit: str = UNIT, file: str = "emergencia.json") -> str:
    return str(done(shell.run("operator", "send", file, "--unit", unit, *more, "--json"))["ref"])


def fail(shell: Shell, ref: str, how: str) -> None:
    """The unit that was to act on it cannot, or will not."""
    if how == "receipt_failed":
        done(shell.run("officer", "receipt-failed", ref, "--reason", "cannot_decrypt", "--json"))
        return
    done(shell.run("officer", "ack", ref, "--json"))
    done(shell.run("officer", "decline", ref, "--reason", "no_capacity", "--json"))


def entry(shell: Shell, ref: str, unit: str = UNIT, code: int = 0) -> Any:
    told = done(shell.run("operator", "list", "--all", "--json"), code)
    (found,) = [one for one in told["deliveries"] if (one["ref"], one["unit"]) == (ref, unit)]
    return found


@pytest.mark.parametrize("how", ["receipt_failed", "declined"])
def test_a_copy_or_another_relation_takes_no_emergencys_place(shell: Shell, how: str) -> None:
    """R-110, R-86: only `replaces` does; else nobody has it, and the advice is to find somebody."""
    ref = send(shell)
    done(shell.run("operator", "copy", ref, "--unit", OTHER_UNIT, "--json"))
    for kind in ("related_to", "supplements", "duplicate_of"):
        send(shell, "--relates", f"{kind}:{ref}", unit=OTHER_UNIT)
    fail(shell, ref, how)
    commands = [f"referral readdress {ref} --unit UNIDAD", f"referral phone {ref} --at HORA --unit {UNIT}"]
    told = entry(shell, ref)
    assert (told["lists"], told["replaced"]) == (["telephone", "readdress"], False)
    shown = done(shell.run("operator", "timeline", ref, "--json"))
    assert len(shown["later"]) == 4
    for found in (told["next"], shown["next"]):
        assert not [one for one in found if one.startswith("referral close")], found
        assert set(commands) & set(found), found
    assert commands[1] in told["next"]


def test_what_was_replaced_is_to_be_closed_and_is_looked_after_again_when_that_fell_too(shell: Shell) -> None:
    """R-110: what stands in its place is what a unit has, not what was sent."""
    ref = send(shell)
    fail(shell, ref, "declined")
    ran = shell.run("operator", "readdress", ref, "--unit", OTHER_UNIT, "--phoned", "00:00")
    close = f"referral close {ref} --outcome CÓDIGO --unit {UNIT}"
    assert ran.exit == 0, ran
    assert "ciérrela" in ran.out
    assert close in ran.err
    told = entry(shell, ref)
    assert (told["lists"], told["replaced"], told["next"]) == (["close"], True, [close])
    (renewed,) = done(shell.run("operator", "timeline", ref, "--json"))["later"]
    ran = shell.run("operator", "readdress", ref, "--unit", NATIONAL)
    assert ran.exit == 7, "two units would act"
    done(shell.run("stranger", "ack", renewed, "--json"))
    done(shell.run("stranger", "decline", renewed, "--reason", "no_capacity", "--json"))
    told = entry(shell, ref)
    assert ("readdress" in told["lists"], told["replaced"]) == (True, False)
    third = done(shell.run("operator", "readdress", renewed, "--unit", NATIONAL, "--phoned", "00:00", "--json"))["ref"]
    for one, unit in ((ref, UNIT), (renewed, OTHER_UNIT)):
        told = entry(shell, one, unit)
        assert (told["lists"], told["replaced"]) == (["close"], True)
    assert third
    ran = shell.run("operator", "readdress", ref, "--unit", "pnp-trata-cusco")
    assert ran.exit == 7, "the successor of a successor has it in hand"
    assert NATIONAL in ran.err


def test_nothing_is_advised_on_what_the_exchange_alone_calls_related(
    founded: Founded, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """R-54, R-110: a hint that leads nowhere is a problem, and hides neither the call nor the next unit."""
    with World(founded, tmp_path_factory.mktemp("hint") / "world") as world, Liar(world) as liar:
        ref = str(world.operator.submit(composition()).outgoing.ref)
        shell = Shell(world.folder, liar.url)
        assert shell.run("officer", "receipt-failed", ref, "--reason", "cannot_decrypt").exit == 0
        named = view(lambda _l, shown: shown.update(related=[STRANGE]))
        liar.begin(Lie("a hint", "nothing", "the later submit", frozenset({Kind.VIEW}), named))
        told = done(shell.run("operator", "list", "--json"), 8)
        (own,) = [one for one in told["deliveries"] if one["unit"] == UNIT]
        assert not told["complete"]
        assert [(one["ref"], one["code"]) for one in told["problems"]] == [(STRANGE, "not-found")]
        shown = done(shell.run("operator", "timeline", ref, "--json"), 8)
        assert shown["unverified"] == [{"ref": STRANGE, "code": "not-found"}]
        assert STRANGE in shell.run("operator", "timeline", ref).out
        for found in (own["next"], shown["next"]):
            assert found
            assert not [one for one in found if one.startswith("referral close")], found
        ran = shell.run("officer", "timeline", ref)
        assert ran.exit == 5, "to a unit nothing is named"


def test_who_was_only_informed_keeps_nobody_looking_for_a_unit(shell: Shell) -> None:
    """R-70: the one that acts has it."""
    ref = send(shell, "--inform", OTHER_UNIT)
    done(shell.run("officer", "ack", ref, "--json"))
    done(shell.run("officer", "accept", ref, "--json"))
    done(shell.run("stranger", "receipt-failed", ref, "--reason", "cannot_decrypt", "--json"))
    told = entry(shell, ref, OTHER_UNIT)
    # The exchange asks to telephone whoever cannot open it; nobody else is looked for.
    assert told["lists"] == ["telephone", "waiting"]
    assert not [one for one in told["next"] if "readdress" in one]


def test_a_withdrawal_reaches_every_copy_and_says_what_became_of_each(fresh: Shell) -> None:
    """R-86, R-75."""
    ref = send(fresh)
    first = done(fresh.run("operator", "copy", ref, "--unit", OTHER_UNIT, "--json"))["ref"]
    other = send(fresh, "--relates", f"related_to:{ref}", unit=OTHER_UNIT)
    for name, one in (("officer", ref), ("stranger", first)):
        done(fresh.run(name, "ack", one, "--json"))
    told = done(fresh.run("operator", "withdraw", ref, "--reason", "safety_risk", "--json"))
    assert told["copies"] == [{"ref": first, "outcome": "told", "code": None}]
    assert {"unit": UNIT, "state": "withdrawal_notified"} in told["deliveries"]
    state = done(fresh.run("operator", "timeline", first, "--json"))["deliveries"][0]["state"]
    assert state == "withdrawal_notified"
    assert done(fresh.run("operator", "timeline", other, "--json"))["deliveries"][0]["state"] == "submitted"


def test_a_withdrawal_says_who_had_it_and_leaves_a_copy_alone_where_one_unit_was_meant(fresh: Shell) -> None:
    ref = send(fresh)
    copied = done(fresh.run("operator", "copy", ref, "--unit", OTHER_UNIT, "--json"))["ref"]
    ran = fresh.run("operator", "withdraw", ref, "--reason", "sent_to_wrong_unit", "--unit", UNIT)
    assert ran.exit == 0, ran
    assert f"{UNIT}: retirada; nadie la había leído" in ran.out
    assert done(fresh.run("operator", "timeline", copied, "--json"))["deliveries"][0]["state"] == "submitted"


def test_a_copy_that_cannot_be_taken_back_is_said_with_its_command(
    founded: Founded, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with World(founded, tmp_path_factory.mktemp("left") / "world") as world, Liar(world) as liar:
        shell = Shell(world.folder, liar.url)
        ref = str(world.operator.submit(composition()).outgoing.ref)
        copied = done(shell.run("operator", "copy", ref, "--unit", OTHER_UNIT, "--json"))["ref"]
        wrong = view(lambda _l, shown: shown.update(acts=[1]) if shown["ref"] == copied else False)
        liar.begin(Lie("a copy of no form", "nothing", "its form", frozenset({Kind.VIEW}), wrong))
        ran = shell.run("operator", "withdraw", ref, "--reason", "safety_risk")
        assert ran.exit == 8, ran
        assert f"Copia {copied}: SIGUE VIGENTE" in ran.out
        assert f"referral withdraw {copied} --reason safety_risk" in ran.err
        liar.begin(None)
        assert shell.run("operator", "withdraw", copied, "--reason", "safety_risk").exit == 0


def test_an_emergency_that_nobody_telephoned_is_telephoned_until_somebody_was_reached_or_read_it(shell: Shell) -> None:
    """R-81, R-70: whether or not the unit is live."""
    silent = shell.folder / "sin-llamar.json"
    silent.write_text(json.dumps(EMERGENCY | {"phone_alert": {"made": False}}), encoding="utf-8")
    assert shell.run("officer", "inbox", "list").exit == 0, "it is live"
    ran = shell.run("operator", "send", silent.name, "--unit", UNIT, "--json")
    ref = done(ran)["ref"]
    phone = f"referral phone {ref} --at HORA --unit {UNIT}"
    assert ran.json["next"][0] == phone
    assert f"NO se llamó a {UNIT}" in shell.run("operator", "send", silent.name, "--unit", UNIT).out
    told = entry(shell, ref)
    assert (told["lists"], told["next"]) == (["telephone", "waiting"], [phone])
    done(shell.run("operator", "phone", ref, "--not-made", "--unit", UNIT, "--json"))
    assert entry(shell, ref)["lists"] == ["telephone", "waiting"]
    done(shell.run("operator", "phone", ref, "--at", "00:00", "--unit", UNIT, "--json"))
    assert entry(shell, ref)["lists"] == ["waiting"]
    read = send(shell, file=silent.name)
    done(shell.run("officer", "ack", read, "--json"))
    assert entry(shell, read)["lists"] == ["waiting"]
