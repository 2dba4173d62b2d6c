"""Prompts, progress and the QR code on a real terminal: what is typed, what is seen of it, and what must not be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import segno

from referral_api.cli.qr import qr_code
from tests.cli.shell import Shell
from tests.cli.terminal import Terminal
from tests.world import PASSPHRASE, UNIT

FICHA = (
    "id: comisaria-{name}\nrole: police_unit\nname: Comisaría\narea: ['20']\n"
    "escalation: [pnp-nacional]\nduty_phone: '+5173000000'\n"
)


def at_terminal(shell: Shell, name: str, *words: str, with_file: bool = False) -> Terminal:
    environment = {"REFERRAL_PROFILE": str(shell.folder / "profiles" / name), "REFERRAL_SERVER": shell.server}
    if with_file:
        passphrase = shell.folder / "passphrase"
        passphrase.write_text(PASSPHRASE + "\n", encoding="utf-8")
        environment["REFERRAL_PASSPHRASE_FILE"] = str(passphrase)
    return Terminal(*words, folder=shell.folder, **environment)


def newcomer(shell: Shell, name: str) -> str:
    """Somebody's enrolment that waits for the registrar; its digits."""
    (shell.folder / f"{name}.yaml").write_text(FICHA.format(name=name), encoding="utf-8")
    invited = shell.run("registrar", "invite", "--entry", f"{name}.yaml", "--out", f"{name}.json")
    assert invited.exit == 0, invited
    enrolled = shell.run(name, "enrol", f"{name}.json", "--entry", f"{name}.yaml", "--json")
    assert enrolled.exit == 0, enrolled
    return str(enrolled.json["code"])


def test_a_typed_passphrase_opens_the_keys_and_never_shows(shell: Shell) -> None:
    with at_terminal(shell, "registrar", "enrolments") as terminal:
        terminal.wait("Frase de contraseña:", hidden=True)
        terminal.type(PASSPHRASE)
        assert terminal.end() == 0, terminal.screen
        assert PASSPHRASE not in terminal.screen
        assert "Ninguna inscripción espera por usted." in terminal.screen


def test_a_wrong_passphrase_is_refused_and_never_shows_either(shell: Shell) -> None:
    with at_terminal(shell, "registrar", "enrolments") as terminal:
        terminal.wait("Frase de contraseña:", hidden=True)
        terminal.type("no es la frase correcta")
        assert terminal.end() == 4, terminal.screen
        assert "no es la frase" not in terminal.screen
        assert "Código: locked" in terminal.screen


def test_a_new_passphrase_is_typed_twice_alike_or_nothing_is_made(shell: Shell) -> None:
    (shell.folder / "dos.yaml").write_text(FICHA.format(name="dos"), encoding="utf-8")
    assert shell.run("registrar", "invite", "--entry", "dos.yaml", "--out", "dos.json").exit == 0
    with at_terminal(shell, "dos", "enrol", "dos.json", "--entry", "dos.yaml") as terminal:
        terminal.wait("Elija una frase de contraseña", hidden=True)
        terminal.type("una frase bastante larga")
        terminal.wait("Otra vez:", hidden=True)
        terminal.type("otra frase bastante larga")
        assert terminal.end() == 2, terminal.screen
        assert "Las dos frases no coinciden." in terminal.screen
        assert "bastante larga" not in terminal.screen
    assert not list((shell.folder / "profiles" / "dos").glob("keystore*"))


@pytest.mark.parametrize(("name", "lang"), [("tres", "es"), ("three", "en")])
def test_digits_typed_wrong_three_times_void_the_enrolment_and_say_whom_to_telephone(
    shell: Shell, name: str, lang: str
) -> None:
    code = newcomer(shell, name)
    wrong = str((int(code[0]) + 1) % 10) + code[1:]
    with at_terminal(shell, "registrar", "approve", f"comisaria-{name}", "--lang", lang, with_file=True) as terminal:
        for asked, typed in (
            (("teclee los 30 dígitos que le lean:", "type the 30 digits read out to you:"), wrong),
            (("intentos que quedan: 2", "attempts left: 2"), code[:-1]),
            (("No son 30 dígitos; esto no cuenta.", "These are not 30 digits; that does not count."), wrong),
            (("intentos que quedan: 1", "attempts left: 1"), wrong),
        ):
            terminal.wait(asked[lang == "en"])
            terminal.type(typed)
        assert terminal.end() == 5, terminal.screen
        for told in VOID[lang]:
            assert told.format(party=f"comisaria-{name}") in terminal.screen
        assert "code-mismatch" in terminal.screen
        assert code not in terminal.screen
    assert shell.run("registrar", "enrolments", "--json").json["enrolments"] == []
    assert shell.run(name, "enrol", "--json").json["turn"] == "void"
    (shell.folder / f"{name}.code").write_text(code, encoding="utf-8")
    late = shell.run("second_registrar", "approve", f"comisaria-{name}", "--code-file", f"{name}.code")
    assert late.exit == 6, "the right digits come too late, for everybody"


VOID = {
    "es": (
        "TRES VECES LOS DÍGITOS NO COINCIDIERON: la inscripción de {party} quedó anulada.",
        "No acepte otra lectura. Llame usted a {party}, a un número que ya conocía; después, una invitación nueva.",
    ),
    "en": (
        "THREE TIMES THE DIGITS DIFFERED: the enrolment of {party} is void.",
        "Accept no other reading. Telephone {party} yourself, at a number that you knew before; then invite them anew.",
    ),
}


def test_digits_from_a_file_are_counted_from_one_command_to_the_next(shell: Shell) -> None:
    code = newcomer(shell, "archivo")
    (shell.folder / "mal").write_text(code[:-1] + str((int(code[-1]) + 1) % 10), encoding="utf-8")
    words = ("approve", "comisaria-archivo", "--code-file", "mal", "--json")
    ran = [shell.run("registrar", *words) for _ in range(3)]
    assert [(one.exit, one.json["error"]["facts"]["left"]) for one in ran] == [(5, 2), (5, 1), (5, 0)]
    assert ran[-1].json["error"]["title"].startswith("TRES VECES")
    assert shell.run("registrar", "approve", "comisaria-archivo", "--code-file", "mal").exit == 6


def test_a_slip_in_the_digits_can_be_put_right(shell: Shell) -> None:
    code = newcomer(shell, "slip")
    with at_terminal(shell, "registrar", "approve", "comisaria-slip", with_file=True) as terminal:
        # The digits prove that this is what the newcomer wrote; whether it is what was invited, only a person can see.
        terminal.wait("Se describe como")
        terminal.wait("Compárelo con la invitación:")
        terminal.wait("teclee los 30 dígitos que le lean:")
        terminal.type("")
        terminal.wait("intentos que quedan: 3")
        terminal.type(code)
        assert terminal.end() == 0, terminal.screen
        assert "Los dígitos coinciden." in terminal.screen


@pytest.mark.parametrize(("answer", "exit_code"), [("n", 2), ("", 2), ("nope", 2), ("s", 0)])
def test_an_exchange_is_founded_only_once_somebody_confirms_it(tmp_path: Path, answer: str, exit_code: int) -> None:
    folder = tmp_path / "exchange"
    with Terminal("admin", "init", "--dir", str(folder), "--sandbox", folder=tmp_path) as terminal:
        terminal.wait("Dirección pública")
        terminal.type("https://exchange.example")
        terminal.wait(f"¿Fundar https://exchange.example (sandbox) en {folder}? [s/N]")
        assert not folder.exists()
        terminal.type(answer)
        assert terminal.end() == exit_code, terminal.screen
    assert folder.exists() is (exit_code == 0)
    assert ("No se hizo nada." in terminal.screen) is (exit_code != 0)


def test_the_digits_are_drawn_as_a_qr_code_at_a_terminal_and_elsewhere_only_where_asked_for(shell: Shell) -> None:
    code = newcomer(shell, "qr").replace(" ", "")
    drawn = drawing(f"referral-code:1:comisaria-qr:{code}")
    with at_terminal(shell, "qr", "enrol") as terminal:
        assert terminal.end() == 0, terminal.screen
        assert drawn in "\n".join(line.rstrip() for line in terminal.screen.splitlines())
    assert "█" not in shell.run("qr", "enrol").out
    asked = shell.run("qr", "enrol", "--qr")
    assert drawn in "\n".join(line.rstrip() for line in asked.out.splitlines())
    told = shell.run("qr", "enrol", "--qr", "--json")
    assert told.json["code"].replace(" ", "") == code
    assert not {"█", "▀", "▄"} & set(told.out)
    with at_terminal(shell, "qr", "enrol", "--json") as terminal:
        assert terminal.end() == 0
        assert json.loads(terminal.screen)["code"].replace(" ", "") == code


def drawing(text: str) -> str:
    return "\n".join(line.rstrip() for line in qr_code(text).plain.splitlines())


def test_a_qr_code_is_the_modules_of_its_text_in_half_blocks_with_a_quiet_zone() -> None:
    text = "referral-code:1:pnp-trata-piura:" + "1234567890" * 3
    lines = qr_code(text).plain.splitlines()
    halves = {" ": (0, 0), "▀": (1, 0), "▄": (0, 1), "█": (1, 1)}
    rows = [[halves[one][half] for one in line] for line in lines for half in (0, 1)]
    modules = [list(row) for row in segno.make_qr(text, error="m").matrix]
    size = len(modules)
    assert [row[4 : 4 + size] for row in rows[4 : 4 + size]] == modules
    assert not any(any(row) for row in (*rows[:4], *rows[4 + size :]))
    assert not any(any(row[:4]) or any(row[4 + size :]) for row in rows)


def test_an_approver_is_never_shown_the_digits_in_any_form(shell: Shell) -> None:
    code = newcomer(shell, "callado")
    with at_terminal(shell, "registrar", "enrolments", with_file=True) as terminal:
        assert terminal.end() == 0, terminal.screen
        assert "comisaria-callado" in terminal.screen
        assert code not in terminal.screen
        assert "█" not in terminal.screen


def test_a_verification_tells_at_a_terminal_how_far_it_is(shell: Shell) -> None:
    with at_terminal(shell, "auditor", "audit", "verify", with_file=True) as terminal:
        assert terminal.end() == 0, terminal.screen
        assert "Hojas de audit/" in terminal.screen
        assert "Comprobados de audit/" in terminal.screen
    with at_terminal(shell, "auditor", "audit", "mirror", "espejo", with_file=True) as terminal:
        assert terminal.end() == 0, terminal.screen
        assert "Hojas de keys" in terminal.screen
        assert "Registros de audit/" in terminal.screen
    for words in (["--quiet"], ["--json"]):
        with at_terminal(shell, "auditor", "audit", "verify", *words, with_file=True) as terminal:
            assert terminal.end() == 0, terminal.screen
            assert "Hojas de" not in terminal.screen
    assert "Hojas de" not in shell.run("auditor", "audit", "verify").err


def test_an_outbox_of_several_tells_how_far_it_is_and_of_one_does_not(shell: Shell) -> None:
    nowhere = "http://127.0.0.1:9"
    assert shell.run("operator", "units", "list").exit == 0  # Sealing without a connection takes a known directory.
    for waiting in (1, 2):
        for _ in range(waiting):
            queued = shell.run("operator", "send", "emergencia.json", "--unit", UNIT, "--server", nowhere)
            assert queued.exit == 8, queued
        with at_terminal(shell, "operator", "outbox", "flush", with_file=True) as terminal:
            assert terminal.end() == 0, terminal.screen
            assert ("Enviando la bandeja de salida" in terminal.screen) is (waiting > 1)
            assert "recibido por el servidor" in terminal.screen


def test_a_review_at_the_terminal_asks_of_every_line_but_one_s_own(shell: Shell) -> None:
    """Who answers no is gone, and so is the workstation with them, unasked; nothing is signed before the last yes."""
    lines = shell.run("officer", "keys", "review", "--json").json["lines"]
    (other,) = [one["name"] for one in lines if one["kind"] == "person" and not one["own"]]
    with at_terminal(shell, "officer", "keys", "review", "--sign", with_file=True) as terminal:
        terminal.wait(f"¿{other} sigue aquí?")
        terminal.type("n")
        terminal.wait("¿station/st1 sigue aquí?")
        terminal.type("s")
        terminal.wait("Termina: persona")
        terminal.wait("¿Firmar:")
        terminal.type("n")
        assert terminal.end() == 2, terminal.screen
        assert "¿station/st2" not in terminal.screen
        assert "Firmado y registrado" not in terminal.screen
    assert shell.run("officer", "keys", "review", "--json").json["lines"] == lines
