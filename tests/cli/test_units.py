"""Choosing a unit on the command line, and what is said of it before anything is sealed (R-84, R-85)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from referral_api.cli.texts import say
from referral_api.client import choosing
from referral_api.domain.catalogue import Language
from tests.cli.shell import EXAMPLES, Shell
from tests.cli.test_terminal import at_terminal
from tests.world import ENTRIES, NATIONAL, OTHER_UNIT, UNIT

UNITS = "unidades-inventadas.json"
ABROAD = {
    "id": "ec-guayas", "role": "police_unit", "name": "Unidad del Guayas (inventada)", "duty_phone": "+441632960990",
    "area": [], "escalation": [], "country": "EC",
}  # fmt: skip


@pytest.mark.parametrize("lang", ["es", "en"])
def test_a_place_is_answered_by_its_units_with_reasons_and_the_exchange_s_word(shell: Shell, lang: Language) -> None:
    ran = shell.run("operator", "units", "suggest", "--ubigeo", "200101", "--lang", lang)
    assert ran.exit == 0, ran
    first, second = ran.out.index(f"1. {UNIT}"), ran.out.index(f"2. {NATIONAL}")
    told = ran.out[first:second]
    assert say(lang, "why.covers") in told
    assert say(lang, "mark.never") in told
    assert say(lang, "unit.phone", phone="+51731234567") in told
    assert say(lang, "unit.parent", parent=NATIONAL) in told
    assert say(lang, "why.national") in ran.out[second:]
    assert OTHER_UNIT not in ran.out
    assert f"referral send {say(lang, 'place.file')} --unit {UNIT}" in ran.err


def test_suggestions_are_whole_in_json_and_an_exclusion_goes_along_to_the_next_command(shell: Shell) -> None:
    ran = shell.run("operator", "units", "suggest", "--ubigeo", "1501", "--exclude", UNIT, "--exclude", "x-y", "--json")
    (unit, national) = ran.json["suggestions"]
    assert (unit["id"], unit["why"], unit["matched_area"]) == (OTHER_UNIT, ["covers"], "15")
    assert (unit["live"], unit["live_at"], unit["reachable"], unit["instead"]) == (False, None, True, [])
    assert (national["id"], national["why"]) == (NATIONAL, ["national"])
    assert ran.json["next"] == [f"referral send ARCHIVO --unit {OTHER_UNIT} --exclude {UNIT} --exclude x-y"]
    limited = shell.run("operator", "units", "suggest", "--ubigeo", "1501", "--limit", "1", "--json")
    assert [one["id"] for one in limited.json["suggestions"]] == [OTHER_UNIT]


def test_where_nobody_is_left_the_directory_is_offered(shell: Shell) -> None:
    ran = shell.run("operator", "units", "suggest", "--ubigeo", "07", "--exclude", NATIONAL)
    assert (ran.exit, "Ninguna unidad" in ran.out, "Callao" in ran.out) == (0, True, True)
    assert "referral units list" in ran.err


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--ubigeo", "26"], "no-such-region"),
        (["--ubigeo", "piura"], "bad-format"),
        (["--ubigeo", "200101", "--speciality", "flying"], "not-in-list"),
    ],
)
def test_a_place_or_speciality_that_is_none_is_refused(shell: Shell, words: list[str], reason: str) -> None:
    ran = shell.run("operator", "units", "suggest", *words, "--json")
    assert (ran.exit, ran.json["error"]["facts"]["reason"]) == (2, reason)


@pytest.mark.parametrize(("lang", "no", "yes"), [("es", "n", "s"), ("en", "n", "y")])
def test_an_offline_unit_takes_a_yes_and_an_emergency_is_telephoned_first(
    shell: Shell, lang: Language, no: str, yes: str
) -> None:
    words = ("send", "emergencia.json", "--unit", OTHER_UNIT, "--lang", lang)
    before = shell.run("operator", "outbox", "list", "--json").json["entries"]
    with at_terminal(shell, "operator", *words, with_file=True) as terminal:
        terminal.wait(say(lang, "mark.never"))
        terminal.wait(say(lang, "send.telephone", phone="+5117654321"))
        terminal.wait(say(lang, "ask.offline", unit=OTHER_UNIT))
        terminal.type(no)
        assert terminal.end() == 2, terminal.screen
    assert shell.run("operator", "outbox", "list", "--json").json["entries"] == before
    with at_terminal(shell, "operator", *words, with_file=True) as terminal:
        terminal.wait(say(lang, "ask.offline", unit=OTHER_UNIT))
        terminal.type(yes)
        assert terminal.end() == 0, terminal.screen


@pytest.mark.parametrize("option", ["--yes", "--json"])
def test_a_script_is_not_asked_and_is_told(shell: Shell, option: str) -> None:
    words = ("send", "emergencia.json", "--unit", OTHER_UNIT, option)
    with at_terminal(shell, "operator", *words, with_file=True) as terminal:
        assert terminal.end() == 0, terminal.screen
        assert say("es", "ask.offline", unit=OTHER_UNIT) not in terminal.screen
        if option == "--yes":
            assert say("es", "mark.never") in terminal.screen
        else:
            told = json.loads(terminal.screen.splitlines()[-1])["unit"]
            assert (told["id"], told["live"], told["duty_phone"]) == (OTHER_UNIT, False, "+5117654321")


def test_a_live_unit_is_sent_to_without_a_question(shell: Shell) -> None:
    assert shell.run("officer", "inbox", "list").exit == 0
    with at_terminal(shell, "operator", "send", "emergencia.json", "--unit", UNIT, with_file=True) as terminal:
        assert terminal.end() == 0, terminal.screen
        assert "En línea, según el servidor" in terminal.screen
        assert "LLAME PRIMERO" not in terminal.screen
    listed = {one["id"]: one["live"] for one in shell.run("operator", "units", "list", "--json").json["units"]}
    assert (listed[UNIT], listed[OTHER_UNIT]) == (True, False)


@pytest.mark.parametrize("verb", [["list"], ["show", UNIT], ["suggest", "--ubigeo", "200101"]])
def test_whom_to_telephone_is_known_without_the_exchange(shell: Shell, verb: list[str]) -> None:
    """Who cannot send must know whom to call: names and numbers are this machine's own, and nobody is called live."""
    away = {"REFERRAL_SERVER": "http://127.0.0.1:9"}
    assert shell.run("operator", "units", "list").exit == 0
    ran = shell.run("operator", "units", *verb, **away)
    assert ran.exit == 3, ran
    assert "El servidor no responde" in ran.err
    known = {one["id"]: one for one in shell.run("operator", "units", "list", "--json").json["units"]}
    assert known[UNIT]["duty_phone"] in ran.out
    told = shell.run("operator", "units", *verb, "--json", **away)
    assert (told.exit, told.json["error"]["code"]) == (3, "unreachable"), "a program gets no answer that is half of one"


def test_where_nobody_would_take_over_it_is_said_and_takes_a_yes(shell: Shell) -> None:
    """An emergency at a unit that sleeps must not end there without a word."""
    assert shell.run("officer", "inbox", "list").exit == 0
    words = ("send", "emergencia.json", "--unit", UNIT, "--exclude", NATIONAL)
    told = say("es", "send.no_successor", unit=UNIT, why=f"{NATIONAL}: {say('es', 'successor.excluded')}")
    before = shell.run("operator", "outbox", "list", "--json").json["entries"]
    with at_terminal(shell, "operator", *words, with_file=True) as terminal:
        terminal.wait(told)
        terminal.wait(say("es", "ask.no_successor", unit=UNIT))
        terminal.type("n")
        assert terminal.end() == 2, terminal.screen
    assert shell.run("operator", "outbox", "list", "--json").json["entries"] == before
    with at_terminal(shell, "operator", *words, "--yes", with_file=True) as terminal:
        assert terminal.end() == 0, terminal.screen
        assert told in terminal.screen
    scripted = shell.run("operator", *words, "--json")
    assert (scripted.exit, scripted.json["no_successor"]) == (0, [{"party": NATIONAL, "why": "excluded"}])
    informed = shell.run("operator", *words[:4], "--inform", NATIONAL)
    assert say("es", "successor.addressed") in informed.err
    # The highest unit has nobody above it, and a routine referral is never escalated.
    assert say("es", "successor.none") in shell.run("operator", "send", "emergencia.json", "--unit", NATIONAL).err
    ordinary = shell.run("operator", *words[:4])
    assert "SIN RELEVO" not in ordinary.err


@pytest.mark.parametrize("lang", ["es", "en"])
def test_whatever_keeps_a_party_from_standing_by_has_its_words(lang: Language) -> None:
    words = [say(lang, f"successor.{one}") for one in choosing.Missing]
    assert len(set(words)) == len(choosing.Missing)


def test_a_unit_addressed_anew_is_announced_as_the_first_one_was(shell: Shell) -> None:
    """R-84: its number, whether anybody listens there, and an emergency is telephoned first."""
    assert shell.run("officer", "inbox", "list").exit == 0
    ref = str(shell.run("operator", "send", "emergencia.json", "--unit", UNIT, "--json").json["ref"])
    assert shell.run("officer", "ack", ref).exit == 0
    assert shell.run("officer", "decline", ref, "--reason", "no_capacity").exit == 0
    words = ("readdress", ref, "--unit", OTHER_UNIT)
    with at_terminal(shell, "operator", *words, with_file=True) as terminal:
        terminal.wait("Guardia: +5117654321")
        terminal.wait(say("es", "mark.never"))
        terminal.wait(say("es", "send.telephone", phone="+5117654321"))
        terminal.wait(say("es", "ask.offline", unit=OTHER_UNIT))
        terminal.type("n")
        assert terminal.end() == 2, terminal.screen
    alone = shell.run("operator", *words, "--exclude", NATIONAL)
    assert "SIN RELEVO" in alone.err, alone
    assert f"Guardia: {ENTRIES[OTHER_UNIT]['duty_phone']}" in alone.err


# Entries out of a file of several.


@pytest.fixture(scope="module")
def units_file(shell: Shell) -> Path:
    return Path(shutil.copy(EXAMPLES / UNITS, shell.folder / UNITS))


def test_an_entry_is_taken_out_of_the_invented_directory_to_invite_and_to_enrol(shell: Shell, units_file: Path) -> None:
    words = ("--entry", UNITS, "--unit", "pnp-trata-cusco")
    invited = shell.run("registrar", "invite", *words, "--out", "cusco.inv", "--json")
    assert (invited.exit, invited.json["party"]) == (0, "pnp-trata-cusco")
    assert invited.json["next"] == [f"referral enrol cusco.inv --entry {UNITS} --unit pnp-trata-cusco"]
    enrolled = shell.run("cusco", "enrol", "cusco.inv", *words, "--no-service", "--json")
    assert enrolled.exit == 0, enrolled
    (shell.folder / "digits").write_text(enrolled.json["code"])
    approved = shell.run("registrar", "approve", "pnp-trata-cusco", "--code-file", "digits")
    assert approved.exit == 0, approved
    assert "OTRO PAÍS" not in approved.err
    shown = shell.run("operator", "units", "show", "pnp-trata-cusco")
    assert "Español, Quechua" in shown.out
    assert "Niñas, niños y adolescentes" in shown.out
    found = shell.run("operator", "units", "suggest", "--ubigeo", "0801", "--speciality", "children", "--json").json
    assert found["suggestions"][0]["matched_specialities"] == ["children"]
    assert found["suggestions"][0]["why"] == ["covers", "speciality"]


@pytest.mark.parametrize("unit", [[], ["--unit", "pnp-trata-atlantida"]])
def test_which_entry_is_meant_has_to_be_said(shell: Shell, units_file: Path, unit: list[str]) -> None:
    ran = shell.run("registrar", "invite", "--entry", UNITS, *unit, "--out", "nadie.inv")
    assert ran.exit == 2
    assert "No está claro qué ficha se quiere." in ran.err
    assert not (shell.folder / "nadie.inv").exists()


def test_an_entry_with_an_area_in_no_department_is_not_written(shell: Shell) -> None:
    entry = ABROAD | {"id": "pnp-nada", "area": ["2601"]}
    del entry["country"]
    (shell.folder / "nada.json").write_text(json.dumps(entry))
    ran = shell.run("registrar", "invite", "--entry", "nada.json", "--out", "nada.inv", "--lang", "en")
    assert (ran.exit, "There is no such place." in ran.err) == (2, True)


@pytest.mark.parametrize("lang", ["es", "en"])
def test_who_is_abroad_is_said_when_it_is_approved_and_when_it_is_chosen(shell: Shell, lang: Language) -> None:
    party = f"{ABROAD['id']}-{lang}"
    (shell.folder / "fuera.json").write_text(json.dumps(ABROAD | {"id": party}))
    out = f"fuera-{lang}.inv"
    assert shell.run("registrar", "invite", "--entry", "fuera.json", "--out", out).exit == 0
    joined = shell.run(party, "enrol", out, "--entry", "fuera.json", "--no-service", "--json")
    (shell.folder / "digits").write_text(joined.json["code"])
    approved = shell.run("registrar", "approve", party, "--code-file", "digits", "--lang", lang)
    assert say(lang, "approve.country", country="EC") in approved.err
    assert say(lang, "unit.country", country="EC") in shell.run("operator", "units", "show", party, "--lang", lang).out

    plain = ("units", "suggest", "--ubigeo", "24", "--lang", lang)
    assert party not in shell.run("operator", *plain).out
    asked = shell.run("operator", *plain, "--abroad")
    assert say(lang, "why.abroad") in asked.out
    assert f"--unit {party}" not in asked.err

    sent = ("send", "emergencia.json", "--unit", party, "--lang", lang)
    refused = shell.run("operator", *sent)
    assert (refused.exit, say(lang, "fault.agreement-missing.what") in refused.err) == (7, True)
    agreed = shell.run("operator", *sent, "--agreement", "acuerdo-2026-1")
    assert agreed.exit == 0, agreed
    assert say(lang, "send.abroad", unit=party, country="EC") in agreed.err
