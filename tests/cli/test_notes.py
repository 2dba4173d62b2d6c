"""Sealed notes on screen and in JSON: opened for whom they are sealed to, told as closed for everybody else."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

import pytest

from tests.cli.shell import Ran, Shell
from tests.world import UNIT

NOTE = {
    *("act", "what", "at", "by", "unit", "year", "index", "opened", "code", "text", "case_number", "contact"),
}
WORDS = "La madre llamó desde el +51911111111.\n→ Siguiente: referral decline"


@pytest.fixture
def ref(shell: Shell) -> str:
    return str(done(shell.run("operator", "send", "emergencia.json", "--unit", UNIT, "--json")).json["ref"])


def done(ran: Ran) -> Ran:
    assert ran.exit == 0, ran
    return ran


def noted(shell: Shell, ref: str) -> None:
    """A note of the hotline to the unit, and one of the unit back, with its number."""
    done(shell.run("operator", "note", ref, "-", "--unit", UNIT, given=WORDS))
    done(shell.run("officer", "ack", ref))
    done(shell.run("officer", "accept", ref, "--case-number", "PIU-77", "--note", "-", given="Vamos."))


def notes(ran: Ran, code: int = 0) -> list[dict[str, Any]]:
    assert ran.exit == code, ran
    assert all(set(one) == NOTE for one in ran.json["notes"])
    return list(ran.json["notes"])


def test_each_side_reads_the_notes_of_the_other_and_nobody_else_any(shell: Shell, ref: str) -> None:
    noted(shell, ref)
    for verb in ("show", "timeline"):
        (theirs,) = notes(shell.run("officer", verb, ref, "--json"))
        assert (theirs["what"], theirs["text"], theirs["opened"], theirs["code"]) == ("note", WORDS, True, None)
    (ours,) = notes(shell.run("operator", "timeline", ref, "--json"))
    assert (ours["what"], ours["text"], ours["case_number"], ours["unit"]) == ("accept", "Vamos.", "PIU-77", UNIT)
    assert notes(shell.run("auditor", "timeline", ref, "--json")) == []


@pytest.mark.parametrize("verb", ["show", "timeline"])
def test_on_screen_a_note_stands_below_the_blocks_and_none_of_its_lines_passes_for_ours(
    shell: Shell, ref: str, verb: str
) -> None:
    noted(shell, ref)
    out = done(shell.run("officer", verb, ref)).out
    places = [out.index(part) for part in ("NO HACER", "CONTACTO SEGURO", "NOTAS SELLADAS PARA USTED", "+51911111111")]
    assert places == sorted(places)
    assert "    → Siguiente: referral decline" in out.splitlines()
    assert "→ Siguiente: referral decline" not in out.splitlines()


def test_a_note_whose_bundle_was_not_fetched_stays_closed_and_a_look_is_no_retrieval(shell: Shell, ref: str) -> None:
    done(shell.run("operator", "note", ref, "-", "--unit", UNIT, given=WORDS))
    for _ in range(2):
        ran = shell.run("officer", "timeline", ref, "--json")
        (closed,) = notes(ran, code=8)
        assert (closed["opened"], closed["code"], closed["text"]) == (False, "not-retrieved", None)
        assert [one["state"] for one in ran.json["deliveries"]] == ["submitted"]
    shown = shell.run("officer", "timeline", ref, "--lang", "en")
    assert (shown.exit, WORDS in shown.out) == (8, False)
    assert "✖ It did not open: The referral is opened first: referral show [not-retrieved]" in shown.out


def test_where_nobody_can_unlock_the_keys_a_note_is_told_as_locked(shell: Shell, ref: str) -> None:
    noted(shell, ref)
    # The service reads what happened with nobody there; the notes take a person.
    ran = shell.run("officer", "timeline", ref, "--json", REFERRAL_PASSPHRASE_FILE="")
    (closed,) = notes(ran, code=8)
    assert (closed["opened"], closed["code"]) == (False, "locked")
    assert "safe_contact" not in ran.json


def test_a_note_that_was_changed_at_the_exchange_is_an_alarm_and_the_referral_still_shown(
    shell: Shell, ref: str
) -> None:
    noted(shell, ref)
    damage(shell, ref)
    ran = shell.run("officer", "show", ref, "--json")
    (closed,) = notes(ran, code=5)
    assert (closed["opened"], closed["text"]) == (False, None)
    assert closed["code"] in ("decrypt-failed", "digest-mismatch")
    assert ran.json["referral"]["urgency"] == "emergency"
    shown = shell.run("officer", "show", ref)
    assert shown.exit == 5
    assert f"[{closed['code']}]" in shown.out
    assert "CONTACTO SEGURO" in shown.out


def damage(shell: Shell, ref: str) -> None:
    """Change one character of the ciphertext beside the hotline's note, in the exchange's own database."""
    with closing(sqlite3.connect(shell.folder / "data" / "exchange.sqlite", timeout=10)) as connection, connection:
        where = "pos = (select pos from act where ref = ? and act = 'note')"
        ((body,),) = connection.execute(f"select body from sealed where {where}", (ref,)).fetchall()
        at = body.index(b'"ciphertext":"') + 40
        changed = body[:at] + (b"A" if body[at : at + 1] != b"A" else b"B") + body[at + 1 :]
        connection.execute(f"update sealed set body = ? where {where}", (changed, ref))


def test_a_unit_s_own_number_travels_sealed_with_a_status_and_a_note_too(shell: Shell, ref: str) -> None:
    """A prosecutor's file gets its number long after the referral was taken."""
    done(shell.run("officer", "ack", ref))
    done(shell.run("officer", "accept", ref))
    done(shell.run("officer", "status", ref, "--to", "prosecutor_informed", "--case-number", "CF 506-2026-12"))
    done(shell.run("officer", "note", ref, "-", "--case-number", "RETA 2026-77", given="Van dos."))
    expected = [("status", "", "CF 506-2026-12"), ("note", "Van dos.", "RETA 2026-77")]
    for verb in ("show", "timeline"):
        told = notes(shell.run("operator", verb, ref, "--json"))
        assert [(one["what"], one["text"], one["case_number"]) for one in told] == expected
        out = done(shell.run("operator", verb, ref, "--lang", "en")).out
        assert "    The unit's own number: CF 506-2026-12" in out.splitlines()
    database = (shell.folder / "data" / "exchange.sqlite").read_bytes()
    assert b"506-2026-12" not in database


@pytest.mark.parametrize("number", ["x" * 65, "CF\t506", ""])
def test_a_number_that_no_other_side_could_read_is_refused_before_anything_is_signed(
    shell: Shell, ref: str, number: str
) -> None:
    done(shell.run("officer", "ack", ref))
    ran = shell.run("officer", "status", ref, "--to", "registered", "--case-number", number, "--json")
    assert (ran.exit, "case-number-unreadable") == (2, ran.json["error"]["code"]), ran
    assert [one["what"] for one in shell.run("officer", "timeline", ref, "--json").json["events"]][-1] == "ack"
