"""What has become of a referral is said before anything else: nobody reads an old consent as one that stands."""

from __future__ import annotations

from typing import Any

import pytest

from referral_api.cli.texts import say
from tests.cli.shell import Ran, Shell
from tests.cli.terminal import Terminal
from tests.world import OTHER_UNIT, PASSPHRASE, UNIT


def done(ran: Ran) -> Any:
    assert ran.exit == 0, ran
    return ran.json


def send(shell: Shell, unit: str = UNIT) -> str:
    return str(done(shell.run("operator", "send", "emergencia.json", "--unit", unit, "--json"))["ref"])


def first_line(ran: Ran) -> str:
    assert ran.exit == 0, ran
    return ran.out.splitlines()[0]


def at_terminal(shell: Shell, name: str, *words: str) -> Terminal:
    passphrase = shell.folder / "passphrase"
    passphrase.write_text(PASSPHRASE + "\n", encoding="utf-8")
    return Terminal(
        *words,
        folder=shell.folder,
        REFERRAL_PROFILE=str(shell.folder / "profiles" / name),
        REFERRAL_SERVER=shell.server,
        REFERRAL_PASSPHRASE_FILE=str(passphrase),
    )


def test_a_consent_withdrawn_after_reading_stands_above_the_old_one(shell: Shell) -> None:
    """R7 of the field: what is owed, until when and by which command stands before what was sealed."""
    ref = send(shell)
    assert shell.run("officer", "show", ref).exit == 0
    assert done(shell.run("operator", "consent-withdrawn", ref, "--json"))["told"] == 1
    answer = f"referral answer-notice {ref} --reply CÓDIGO"
    shown = shell.run("officer", "show", ref)
    assert first_line(shown).startswith("✖ CONSENTIMIENTO RETIRADO el ")
    assert f"qué se detuvo y qué continúa: {answer}" in shown.out.splitlines()[1]
    assert shown.out.index("CONSENTIMIENTO RETIRADO") < shown.out.index("CONTACTO SEGURO")
    told = done(shell.run("officer", "show", ref, "--json"))
    assert told["next"] == [answer, f"referral ack {ref}"]
    stands = told["standing"]
    assert isinstance(stands["consent_withdrawn_at"], int)
    (owed,) = stands["owes"]
    assert (owed["command"], owed["due_at"] > stands["consent_withdrawn_at"]) == (answer, True)
    english = shell.run("officer", "ack", ref, "--lang", "en")
    assert first_line(english).startswith("✖ CONSENT WITHDRAWN on ")
    assert f"referral answer-notice {ref} --reply CODE" in english.err
    done(shell.run("officer", "answer-notice", ref, "--reply", "stopped_and_destroyed", "--json"))
    # What it has destroyed is handed out to it no more; that it was taken back is all there is to show.
    stopped, told = shell.run("officer", "show", ref), shell.run("officer", "show", ref, "--json")
    assert (stopped.exit, told.exit) == (6, 6)
    assert "CONSENTIMIENTO RETIRADO el " in stopped.out + stopped.err
    assert told.json["standing"]["owes"] == []


@pytest.mark.parametrize(
    ("reason", "words", "consent"),
    [
        ("consent_withdrawn", "La persona retiró su consentimiento", True),
        ("safety_risk", "La derivación pone en riesgo a la persona", False),
    ],
)
def test_a_withdrawal_is_said_with_its_reason(shell: Shell, reason: str, words: str, consent: bool) -> None:
    ref = send(shell)
    assert shell.run("officer", "ack", ref).exit == 0
    done(shell.run("operator", "withdraw", ref, "--reason", reason, "--json"))
    shown = shell.run("officer", "show", ref)
    head = shown.out[: shown.out.index("Íntegro y firmado")]
    assert "LA LÍNEA RETIRÓ ESTA DERIVACIÓN el " in head
    assert f": {words}." in head
    assert ("CONSENTIMIENTO RETIRADO" in head) is consent
    assert f"referral answer-notice {ref}" in head
    told = done(shell.run("officer", "show", ref, "--json"))["standing"]
    assert [one["reason"] for one in told["withdrawn"]] == [reason]
    assert (told["consent_withdrawn_at"] is not None) is consent
    # Its sender reads it too, and owes nothing.
    own = shell.run("operator", "show", ref)
    assert "LA LÍNEA RETIRÓ ESTA DERIVACIÓN" in own.out.splitlines()[int(consent)]
    assert done(shell.run("operator", "show", ref, "--json"))["standing"]["owes"] == []


def test_a_unit_that_got_it_after_the_notice_reads_that_consent_is_withdrawn(shell: Shell) -> None:
    ref = send(shell)
    assert shell.run("officer", "ack", ref).exit == 0
    done(shell.run("officer", "transfer", ref, "--to", OTHER_UNIT, "--reason", "jurisdiction", "--json"))
    done(shell.run("operator", "consent-withdrawn", ref, "--json"))
    done(shell.run("operator", "approve", ref, "--despite-withdrawal", "--yes", "--json"))
    for verb in ("show", "ack"):
        assert first_line(shell.run("stranger", verb, ref)).startswith("✖ CONSENTIMIENTO RETIRADO el ")


def test_who_takes_it_all_the_same_has_said_yes_to_that(shell: Shell) -> None:
    ref = send(shell)
    assert shell.run("officer", "ack", ref).exit == 0
    done(shell.run("operator", "consent-withdrawn", ref, "--json"))
    question = say("es", "ask.accept_without_consent", ref=ref)
    with at_terminal(shell, "officer", "accept", ref) as terminal:
        terminal.wait("CONSENTIMIENTO RETIRADO el ")
        terminal.wait(question)
        terminal.type("n")
        assert terminal.end() == 2, terminal.screen
    with at_terminal(shell, "officer", "accept", ref, "--yes") as terminal:
        assert terminal.end() == 0, terminal.screen
        assert "CONSENTIMIENTO RETIRADO el " in terminal.screen
        assert question not in terminal.screen


def test_a_referral_to_which_nothing_has_happened_is_read_and_taken_as_ever(shell: Shell) -> None:
    ref = send(shell)
    assert first_line(shell.run("officer", "ack", ref)) == "NO HACER"
    nothing = dict.fromkeys(("consent_withdrawn_at", "taken_at", "given_back_at"))
    empty: dict[str, Any] = {"withdrawn": [], "owes": []} | nothing
    assert done(shell.run("officer", "show", ref, "--json"))["standing"] == empty
    with at_terminal(shell, "officer", "accept", ref) as terminal:
        assert terminal.end() == 0, terminal.screen
        assert "[s/N]" not in terminal.screen
