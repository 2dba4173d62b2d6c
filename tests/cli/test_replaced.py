"""What a unit sees of a contact that a supplement replaced, and of a referral that was taken back, by command; and what
the hotline is told as it sends one anew.

Clauses R-69, R-75, R-87, R-110; rules R8, R10 and R11 of the field.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cli.shell import Ran, Shell
from tests.world import OTHER_UNIT, REFERRAL, UNIT

NUMBER, NEWER = "+51930000111", "+51930000222"


def done(ran: Ran, code: int = 0) -> Any:
    """The JSON of a command that ended as it should."""
    assert ran.exit == code, ran
    return ran.json


def written(shell: Shell, number: str | None, *codes: str, **more: Any) -> str:
    """The file of a referral with a way to V1 (None: only through the hotline) and these codes of `do_not`."""
    first, second = REFERRAL["victims"]
    phones = {} if number is None else {"phones": [number]}
    block = {"channel": "none"} if number is None else {"channel": "phone", "value": number}
    body = REFERRAL | {"victims": [first | phones | {"safe_contact": block}, second], "do_not": list(codes), **more}
    (shell.folder / "persona.json").write_text(json.dumps(body), encoding="utf-8")
    return "persona.json"


def sent(shell: Shell, *more: str) -> str:
    file = written(shell, NUMBER, "no_contact_family")
    return str(done(shell.run("operator", "send", file, "--unit", UNIT, *more, "--json"))["ref"])


def supplemented(shell: Shell, ref: str, number: str | None, *codes: str) -> None:
    done(shell.run("operator", "supplement", ref, written(shell, number, *codes), "--unit", UNIT, "--json"))


def test_who_acknowledges_reads_what_came_later_and_no_number_that_it_withdrew(shell: Shell) -> None:
    """R-69, R-87: what is accepted by the signature is what holds by then."""
    ref = sent(shell)
    supplemented(shell, ref, None, "no_phone_call")
    ran = shell.run("officer", "ack", ref)
    assert ran.exit == 0
    assert NUMBER not in ran.out
    order = (
        "HAY 1 AMPLIACIÓN",
        "REEMPLAZADO por una ampliación",
        "AMPLIACIÓN 1 ·",
        "No llamar por teléfono",
        "El acuse",
    )
    places = [ran.out.index(part) for part in order]
    assert places == sorted(places)
    for command in ("show", "timeline"):
        assert NUMBER not in shell.run("officer", command, ref).out
    told = done(shell.run("officer", "show", ref, "--json"))
    assert [(one["who"], one["unsafe"]) for one in told["safe_contact"]] == [("V1", "replaced"), ("V2", None)]
    assert told["hidden"] == ["/victims/0/phones", "/victims/0/safe_contact/value"]
    assert NUMBER in shell.run("officer", "show", ref, "--reveal-expired").out


def test_of_two_supplements_the_last_shows_its_number_and_the_first_hides_its_own(shell: Shell) -> None:
    ref = sent(shell)
    supplemented(shell, ref, NEWER)
    supplemented(shell, ref, NUMBER)
    told = done(shell.run("officer", "ack", ref, "--json"))
    assert [one["hidden"] for one in told["supplements"]] == [
        ["/victims/0/phones", "/victims/0/safe_contact/value"],
        [],
    ]
    # What the last one repeats as it stands is shown where it stood first.
    assert told["hidden"] == []


def test_a_number_that_nobody_says_was_verified_is_not_called_verified(shell: Shell) -> None:
    """R-87: the day on which a bundle was sealed is no day of a verification."""
    ref = sent(shell)
    shown = shell.run("officer", "show", ref).out
    assert "Vale hasta" in shown
    assert "Verificado hasta" not in shown


@pytest.mark.parametrize("answered", [False, True])
def test_a_referral_that_was_taken_back_says_so_instead_of_not_being_there(shell: Shell, answered: bool) -> None:
    """R-75: before it was fetched, and after the unit answered that it stopped."""
    ref = sent(shell)
    if answered:
        assert shell.run("officer", "ack", ref).exit == 0
    done(shell.run("operator", "withdraw", ref, "--reason", "safety_risk", "--unit", UNIT, "--json"))
    if answered:
        done(shell.run("officer", "answer-notice", ref, "--reply", "stopped_and_destroyed", "--json"))
    for command in ("show", "ack"):
        ran = shell.run("officer", command, ref)
        assert ran.exit == 6
        assert "LA LÍNEA RETIRÓ ESTA DERIVACIÓN" in ran.out
        assert "No existe" not in ran.out + ran.err
    told = done(shell.run("officer", "show", ref, "--json"), 6)
    assert (told["state"], told["opened"], told["standing"]["withdrawn"][0]["reason"]) == (
        *("withdrawn", False, "safety_risk"),
    )
    assert f"referral ack {ref}" not in shell.run("officer", "timeline", ref).out


def test_the_hotline_is_told_what_of_the_supplements_went_along_and_to_send_the_rest(shell: Shell) -> None:
    """R-110."""
    ref = sent(shell)
    assert shell.run("officer", "ack", ref).exit == 0
    supplemented(shell, ref, None, "no_phone_call")
    done(shell.run("officer", "decline", ref, "--reason", "no_capacity", "--json"))
    ran = shell.run("operator", "readdress", ref, "--unit", OTHER_UNIT, "--phoned", "00:00", "--json")
    renewed = done(ran)["ref"]
    assert ran.json["next"][0] == f"referral supplement {renewed} ARCHIVO --unit {OTHER_UNIT}"
    shown = shell.run("stranger", "show", renewed)
    assert NUMBER not in shown.out
    assert "No llamar por teléfono" in shown.out
    again = shell.run("operator", "readdress", ref, "--unit", "pnp-nacional")
    assert again.exit == 7
    assert "--beside" in again.err
    assert OTHER_UNIT in again.err
