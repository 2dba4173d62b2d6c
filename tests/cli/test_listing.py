"""`referral list` as people see it: what waits for them first, in both languages, and nothing left out unsaid."""

from __future__ import annotations

import termios
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from referral_api.cli.listing import _pick
from referral_api.client.worklist import Agenda
from referral_api.domain.worklists import TO_DO, Worklist
from tests.cli.shell import Ran, Shell, served
from tests.cli.terminal import Terminal
from tests.client.test_worklist import REFS, item
from tests.world import HOTLINE, NATIONAL, OTHER_UNIT, PASSPHRASE, UNIT, Founded


@pytest.fixture
def fresh(founded: Founded, tmp_path: Path) -> Iterator[Shell]:
    """An exchange of this test's own, on which nothing has happened."""
    with served(founded, tmp_path / "served") as found:
        yield found


def send(shell: Shell, *more: str) -> str:
    ran = shell.run("operator", "send", "emergencia.json", "--unit", UNIT, *more, "--json")
    assert ran.exit == 0, ran
    return str(ran.json["ref"])


def done(shell: Shell, name: str, *words: str) -> None:
    ran = shell.run(name, *words, "--yes")
    assert ran.exit == 0, ran


def listed(shell: Shell, name: str, *more: str) -> Any:
    ran = shell.run(name, "list", *more, "--json")
    assert ran.exit == 0, ran
    return ran.json


def of(told: Any, ref: str, unit: str = UNIT) -> Any:
    (found,) = [one for one in told["deliveries"] if (one["ref"], one["unit"]) == (ref, unit)]
    return found


def entry(ran: Ran, ref: str) -> list[str]:
    """The lines of an entry on screen, its head first."""
    lines = ran.out.splitlines()
    at = lines.index(f"  {ref}")
    end = next((at + n for n, line in enumerate(lines[at:]) if not line.startswith("  ")), len(lines))
    return [lines[at - 1], *lines[at:end]]


@pytest.mark.parametrize(
    ("lang", "head", "group", "due", "possible"),
    [
        ("es", "EMERGENCIA · por leer · {} · enviada", "ESPERAN POR USTED: 1", "faltan", "Se puede: acuse de recibo"),
        ("en", "EMERGENCY · to read · {} · submitted", "WAIT FOR YOU: 1", "left", "Possible: acknowledgement"),
    ],
)
def test_a_shift_begins_with_what_is_to_be_read(
    fresh: Shell, lang: str, head: str, group: str, due: str, possible: str
) -> None:
    ref = send(fresh)
    ran = fresh.run("officer", "list", "--lang", lang)
    assert ran.exit == 0, ran
    assert ran.out.splitlines()[0] == group
    lines = entry(ran, ref)
    assert lines[0] == head.format(UNIT)
    assert due in lines[3]
    assert possible in lines[4]
    assert lines[5] == f"  → referral show {ref}"
    assert f"referral show {ref}" in ran.err, "and it is the next command"


def test_each_side_sees_whose_turn_it_is_until_it_is_over(fresh: Shell) -> None:
    """What is named next is done, and leads on: the list is how a shift works, not only how it begins."""
    ref, steps = send(fresh), []
    for words in (["ack"], ["accept"], ["status", "--to", "registered"], ["close", "--outcome", "not_located"]):
        own = of(listed(fresh, "officer"), ref)
        steps.append((own["lists"], own["next"][0].split()[1]))
        assert not of(listed(fresh, "operator"), ref)["asks"]
        done(fresh, "officer", words[0], ref, *words[1:])
    assert steps == [(["read"], "show"), (["decide"], "accept"), (["report"], "status"), (["report"], "status")]
    for name in ("officer", "operator"):
        told = listed(fresh, name)
        assert told["deliveries"] == []
        assert told["hidden"]["ended"] == (1 if name == "officer" else 2)
        assert told["next"] == ["referral inbox watch"]
        assert of(listed(fresh, name, "--all"), ref)["lists"] == ["ended"]
        assert of(listed(fresh, name, "--list", "ended"), ref)["over"] is True
    screen = fresh.run("officer", "list")
    assert screen.out.splitlines()[0] == "No hay nada en sus listas."
    assert "1 terminadas" in screen.out


def test_what_was_declined_is_readdressed_and_then_closed(fresh: Shell) -> None:
    ref = send(fresh)
    done(fresh, "officer", "ack", ref)
    done(fresh, "officer", "decline", ref, "--reason", "out_of_jurisdiction", "--suggest", OTHER_UNIT)
    own = of(listed(fresh, "operator"), ref)
    assert own["lists"] == ["telephone", "readdress"], "nobody has an emergency"
    assert own["next"] == [
        f"referral readdress {ref} --unit {OTHER_UNIT}",
        f"referral phone {ref} --at HORA --unit {UNIT}",
    ]
    done(fresh, "operator", "readdress", ref, "--unit", OTHER_UNIT)
    told = listed(fresh, "operator")
    assert of(told, ref)["next"] == [f"referral close {ref} --outcome CÓDIGO --unit {UNIT}"]
    done(fresh, "operator", "close", ref, "--outcome", "duplicate", "--unit", UNIT)
    assert ref not in {one["ref"] for one in listed(fresh, "operator")["deliveries"]}
    assert len(listed(fresh, "stranger")["deliveries"]) == 1


def test_a_withdrawal_is_answered_from_the_list(fresh: Shell) -> None:
    ref = send(fresh)
    done(fresh, "officer", "ack", ref)
    done(fresh, "operator", "withdraw", ref, "--reason", "safety_risk")
    own = of(listed(fresh, "officer"), ref)
    assert (own["lists"], own["due"]["clock"]) == (["answer"], "withdrawal_answer")
    assert own["next"] == [f"referral answer-notice {ref} --reply CÓDIGO"]
    assert "withdrawal_answer" in own["possible"]
    done(fresh, "officer", "answer-notice", ref, "--reply", "stopped_and_destroyed")
    assert listed(fresh, "officer")["deliveries"] == []


def test_a_list_is_named_and_what_stands_on_others_is_counted(fresh: Shell) -> None:
    first, second = send(fresh), send(fresh)
    done(fresh, "officer", "ack", first)
    told = listed(fresh, "officer", "--list", "decide")
    assert [one["ref"] for one in told["deliveries"]] == [first]
    assert told["hidden"] == {"ended": 0, "forgotten": 0, "elsewhere": 1}
    ran = fresh.run("officer", "list", "--list", "decide", "--lang", "en")
    assert "On other lists: 1." in ran.out
    assert second not in ran.out
    assert fresh.run("officer", "list", "--list", "nonsense").exit == 2


def test_an_act_that_waits_in_the_outbox_is_said_first(fresh: Shell) -> None:
    assert fresh.run("operator", "units", "list").exit == 0
    nowhere = "http://127.0.0.1:9"
    assert fresh.run("operator", "send", "emergencia.json", "--unit", UNIT, "--server", nowhere).exit == 8
    ran = fresh.run("operator", "list")
    assert ran.exit == 8, ran
    assert ran.out.startswith("⚠ 1 acto(s) de este equipo esperan en la bandeja de salida")
    assert "referral outbox flush" in ran.err
    told = fresh.run("operator", "list", "--json")
    assert (told.exit, told.json["unsent"], told.json["next"]) == (8, 1, ["referral outbox flush"])
    done(fresh, "operator", "outbox", "flush")
    assert listed(fresh, "operator")["unsent"] == 0


@pytest.mark.parametrize(("lang", "words"), [("es", "no tiene listas"), ("en", "it has no lists")])
def test_who_has_no_referrals_is_told_so(shell: Shell, lang: str, words: str) -> None:
    for name in ("auditor", "registrar"):
        ran = shell.run(name, "list", "--lang", lang)
        assert ran.exit == 7, ran
        assert words in ran.err
        assert ran.out == ""


def test_what_is_not_shown_is_counted_whatever_was_asked_for() -> None:
    items = [
        item((Worklist.READ,)),
        item((Worklist.ENDED,), number=1),
        item((Worklist.FORGOTTEN,), number=2),
        item((Worklist.ENDED, Worklist.ANSWER), number=3),
    ]
    agenda = Agenda(tuple(items), gone=(REFS[8],))
    for only, every, shown, hidden in (
        (None, False, [0, 3], (1, 2, 0)),
        (None, True, [0, 1, 2, 3], (0, 0, 0)),
        (Worklist.ENDED, False, [1, 3], (0, 2, 1)),
        (Worklist.FORGOTTEN, True, [2], (1, 0, 2)),
    ):
        picked = _pick(agenda, only, every=every)
        assert list(picked.items) == [items[at] for at in shown]
        assert (picked.ended, picked.forgotten, picked.elsewhere) == hidden


def at_terminal(shell: Shell, columns: int, *words: str) -> Terminal:
    passphrase = shell.folder / "passphrase"
    passphrase.write_text(PASSPHRASE + "\n", encoding="utf-8")
    terminal = Terminal(
        *words,
        folder=shell.folder,
        REFERRAL_PROFILE=str(shell.folder / "profiles" / "officer"),
        REFERRAL_SERVER=shell.server,
        REFERRAL_PASSPHRASE_FILE=str(passphrase),
    )
    termios.tcsetwinsize(terminal._fd, (24, columns))
    return terminal


def test_on_a_narrow_terminal_ids_and_commands_stay_whole_and_the_work_shows(fresh: Shell) -> None:
    refs = [send(fresh) for _ in range(2)]
    with at_terminal(fresh, 46, "list") as terminal:
        assert terminal.end() == 0, terminal.screen
    lines = terminal.screen.splitlines()
    for ref in refs:
        assert f"  {ref}" in [line.rstrip() for line in lines]
        assert f"  → referral show {ref}" in [line.rstrip() for line in lines]
    assert "Comprobando derivaciones" in terminal.screen
    for quiet in ("--quiet", "--json"):
        with at_terminal(fresh, 46, "list", quiet) as terminal:
            assert terminal.end() == 0, terminal.screen
            assert "Comprobando" not in terminal.screen


def test_everything_that_asks_names_a_command_and_lists_are_those_of_the_domain(fresh: Shell) -> None:
    read, accepted, declined = send(fresh), send(fresh), send(fresh)
    for ref in (accepted, declined):
        done(fresh, "officer", "ack", ref)
    done(fresh, "officer", "accept", accepted)
    done(fresh, "officer", "decline", declined, "--reason", "conflict_of_interest")
    done(fresh, "officer", "ask", accepted, "--topic", "timing")
    for name, party in (("officer", UNIT), ("operator", HOTLINE), ("national", NATIONAL)):
        told = listed(fresh, name)
        assert told["party"] == party
        for one in told["deliveries"]:
            assert one["asks"] == bool({*one["lists"]} & {on.value for on in TO_DO})
            assert bool(one["next"]) == one["asks"], one
            assert one["age_s"] >= 0
    assert read in {one["ref"] for one in listed(fresh, "officer")["deliveries"]}
