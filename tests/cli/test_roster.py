"""Workstations and officers of a unit on the command line: the runbooks "A new workstation" and "An officer leaves"."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from referral_api.cli.output import EXIT_OF, Screen
from referral_api.cli.texts import say
from referral_api.domain.catalogue import Language
from referral_api.domain.errors import ErrorCode, ReferralError
from tests.cli.shell import Ran, Shell
from tests.world import CANARY, UNIT

_NAMES = itertools.count(1)


def done(ran: Ran) -> Ran:
    assert ran.exit == 0, ran
    return ran


def send(shell: Shell) -> str:
    return str(done(shell.run("operator", "send", "emergencia.json", "--unit", UNIT, "--json")).json["ref"])


def enrol(shell: Shell, *more: str, by: str = "officer") -> tuple[str, Any]:
    """A newcomer of the unit: invited, enrolled and approved, command by command; the profile, and what enrol said."""
    name = f"noche{next(_NAMES)}"
    done(shell.run(by, "invite", "--kind", "person", "--out", f"{name}.json"))
    told = done(shell.run(name, "enrol", f"{name}.json", "--no-service", "--json", *more)).json
    (shell.folder / f"{name}.digits").write_text(told["code"] + "\n")
    done(shell.run(by, "approve", told["enrolment"], "--code-file", f"{name}.digits"))
    return name, told


def lines(ran: Ran) -> dict[str, Any]:
    return {one["name"]: one for one in done(ran).json["lines"]}


def test_a_new_workstation_opens_what_was_sealed_before_it_came(shell: Shell) -> None:
    """The runbook, command by command: whoever has the referral seals it again, and the newcomer answers for it."""
    ref = send(shell)
    name, _ = enrol(shell, "--station", "noche1")
    closed = shell.run(name, "show", ref, "--json")
    assert (closed.exit, closed.json["error"]["code"]) == (EXIT_OF[ErrorCode.NO_USABLE_KEY], "no-usable-key")

    told = done(shell.run("officer", "keys", "rewrap", "--json")).json
    assert {"ref": ref, "outcome": "wrapped", "stations": ["noche1"], "code": None} in told["deliveries"]
    assert (told["complete"], told["ended_by"]) == (True, None)
    again = done(shell.run("second_officer", "keys", "rewrap", ref))
    assert "ya la tienen todos" in again.out

    assert CANARY in done(shell.run(name, "show", ref)).out
    done(shell.run(name, "ack", ref))
    (delivery,) = [
        one for one in done(shell.run("operator", "timeline", ref, "--json")).json["deliveries"] if one["unit"] == UNIT
    ]
    assert delivery["state"] == "acknowledged"
    lost = shell.run("operator", "keys", "rewrap", ref, "--json")
    assert (lost.exit, lost.json["error"]["facts"]["needs"]) == (7, "unit")


def test_an_officer_leaves_and_what_ends_is_shown_before_it_does(shell: Shell) -> None:
    name, told = enrol(shell, "--station", "noche2")
    person = told["person"]
    ran = done(shell.run("officer", "keys", "remove", "--person", person))
    assert f"Termina: persona · {person.partition('.')[2]}" in ran.err
    assert "Termina: equipo · station/noche2" in ran.err
    assert "referral keys rewrap" in ran.err
    assert "Está vigente desde ahora" in ran.out
    assert shell.run(name, "whoami").exit == 4
    assert person.partition(".")[2] not in lines(shell.run("officer", "keys", "review", "--json"))
    assert shell.run("officer", "keys", "remove", "--person", person).exit == 6


def test_a_workstation_is_taken_away_and_nothing_else(shell: Shell) -> None:
    name, told = enrol(shell, "--station", "noche3")
    ran = done(shell.run("officer", "keys", "remove", "--station", "noche3", "--json")).json
    assert (ran["ends"], ran["turn"]) == (["station/noche3"], "done")
    assert told["person"].partition(".")[2] in lines(shell.run("officer", "keys", "review", "--json"))
    done(shell.run(name, "whoami"))
    assert shell.run("officer", "keys", "remove").exit == 2
    own = next(one for one in lines(shell.run("officer", "keys", "review", "--json")).values() if one["own"])
    refused = shell.run("officer", "keys", "remove", "--person", own["name"])
    assert (refused.exit, "NO QUEDARÍA NINGÚN CUSTODIO" in refused.err) == (7, True)


def test_a_person_without_a_workstation_signs_and_opens_nothing(shell: Shell) -> None:
    name, told = enrol(shell, "--no-station")
    found = lines(shell.run("officer", "keys", "review", "--json"))
    assert told["person"].partition(".")[2] in found
    assert not [one for one in found.values() if one["keeper"] == told["person"].partition(".")[2]]
    ref = send(shell)
    assert shell.run(name, "show", ref).exit == EXIT_OF[ErrorCode.NO_USABLE_KEY]
    done(shell.run("officer", "ack", ref))
    done(shell.run(name, "accept", ref))
    assert shell.run(name, "keys", "rewrap").exit == EXIT_OF[ErrorCode.NO_USABLE_KEY]


def test_a_review_answers_for_every_line_and_waits_for_the_second_keyholder(shell: Shell) -> None:
    """R-32 b: prolonging adds, so it takes two where there are two; who is gone is dropped, a workstation with them."""
    leaver = enrol(shell, "--station", "noche4")[1]["person"].partition(".")[2]
    second, told = enrol(shell, "--station", "noche5", "--keyholder")
    found = lines(shell.run("officer", "keys", "review", "--json"))
    assert found[told["person"].partition(".")[2]]["keyholder"]
    assert found["station/noche5"]["ends_soon"]
    assert not found[leaver]["ends_soon"]
    assert len(found[leaver]["vouched_by"]) == 1

    missing = shell.run("officer", "keys", "review", "--gone", leaver, "--json")
    assert (missing.exit, "station/noche5" in missing.json["error"]["detail"]) == (2, True)
    assert leaver in lines(shell.run("officer", "keys", "review", "--json"))

    staying = [word for name, one in found.items() if leaver not in (name, one["keeper"]) for word in ("--here", name)]
    contradicting = shell.run("officer", "keys", "review", "--gone", leaver, "--here", leaver, *staying)
    assert contradicting.exit == 2
    told = done(shell.run("officer", "keys", "review", "--gone", leaver, *staying, "--json")).json
    assert (told["turn"], told["ends"]) == ("second_keyholder", [leaver, "station/noche4"])
    waiting = done(shell.run("officer", "keys", "review", "--json")).json["pending"]
    assert waiting["ends"] == told["ends"]
    assert leaver not in waiting["prolongs"]
    assert shell.run("officer", "keys", "review", "--confirm", waiting["digest"]).exit == 7

    ran = done(shell.run(second, "keys", "review", "--json")).json
    assert ran["next"] == [f"referral keys review --confirm {waiting['digest']}"]
    ran_ = done(shell.run(second, "keys", "review", "--confirm", waiting["digest"]))
    assert f"Termina: persona · {leaver}" in ran_.err
    after = lines(shell.run("officer", "keys", "review", "--json"))
    assert leaver not in after
    persons = [(one["until"], found[name]["until"]) for name, one in after.items() if one["keeper"] is None]
    # Who joined within this very second has no second more.
    assert all(until >= before for until, before in persons)
    assert any(until > before for until, before in persons)
    assert all(one["until"] == found[name]["until"] for name, one in after.items() if one["keeper"] is not None)
    assert shell.run(second, "keys", "review", "--confirm", waiting["digest"]).exit == 7


@pytest.mark.parametrize("lang", ["es", "en"])
@pytest.mark.parametrize(
    ("code", "reason", "fault"),
    [
        (ErrorCode.ACT_SCHEMA, "too-many-keys", "too-many-keys"),
        (ErrorCode.ACT_SCHEMA, "station-taken", "station-taken"),
        (ErrorCode.ACT_SCHEMA, "no-keyholder", "last-keyholder"),
        (ErrorCode.NOT_PERMITTED, "last-keyholder", "last-keyholder"),
        (ErrorCode.NOT_PERMITTED, "not-a-review", "not-a-review"),
    ],
)
def test_what_a_party_has_no_room_for_is_said_in_words(
    code: ErrorCode, reason: str, fault: str, lang: Language, capsys: pytest.CaptureFixture[str]
) -> None:
    Screen(lang=lang).fail(ReferralError(code, act="statement", reason=reason))
    told = capsys.readouterr().err
    assert all(say(lang, f"fault.{fault}.{part}") in told for part in ("what", "why", "do"))
