"""What `next` says can be done: every hint, its placeholders filled, is run by whoever got it, and none is refused."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest

from tests.cli.shell import Shell
from tests.world import NATIONAL, OTHER_UNIT, UNIT

ACK, ACCEPT = ["ack"], ["accept"]
STATES: dict[str, list[list[str]]] = {
    "submitted": [],
    "acknowledged": [ACK],
    "accepted": [ACK, ACCEPT],
    "declined": [ACK, ["decline", "--reason", "conflict_of_interest"]],
    "closed": [ACK, ACCEPT, ["close", "--outcome", "not_located"]],
}
CODES = {"status": "registered", "close": "not_located", "answer-notice": "stopped_and_destroyed"}
REFUSED = {2, 6, 7}
"""The command is wrong; not there, or not yours; conflict, or not permitted."""


def send(shell: Shell, *more: str) -> str:
    ran = shell.run("operator", "send", "emergencia.json", "--unit", UNIT, *more, "--json")
    assert ran.exit == 0, ran
    return str(ran.json["ref"])


def follow(shell: Shell, name: str, command: str) -> None:
    program, verb, *rest = shlex.split(command)
    filled = [
        {"CÓDIGO": CODES.get(verb, ""), "ARCHIVO": "passphrase", "UNIDAD": OTHER_UNIT, "HORA": "00:00"}.get(word, word)
        for word in rest
    ]
    once = ["--wait", "0", "--exit-code"] if rest[:1] == ["watch"] else []
    ran = shell.run(name, verb, *filled, *once)
    assert program == "referral"
    assert ran.exit not in REFUSED, (name, command, ran)


def hints(shell: Shell, name: str, verb: str, ref: str) -> list[str]:
    told: Any = shell.run(name, verb, ref, "--json").json
    assert told["next"], (name, verb, told)
    return list(told["next"])


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize(
    ("name", "verbs"),
    [("operator", ["show", "timeline"]), ("officer", ["show", "timeline"]), ("auditor", ["timeline"])],
)
def test_what_is_hinted_is_never_refused(shell: Shell, name: str, verbs: list[str], state: str) -> None:
    ref = send(shell)
    for verb, *options in STATES[state]:
        assert shell.run("officer", verb, ref, *options).exit == 0
    for verb in verbs:
        for command in hints(shell, name, verb, ref):
            assert command != f"referral {verb} {ref}"
            follow(shell, name, command)


def test_a_unit_s_timeline_leads_through_the_whole_life(shell: Shell) -> None:
    ref, led = send(shell), []
    for _ in range(3):
        commands = hints(shell, "officer", "timeline", ref)
        led.append([shlex.split(command)[1] for command in commands])
        for command in commands:
            follow(shell, "officer", command)
    assert led == [["show"], ["ack"], ["accept"]]
    assert hints(shell, "officer", "timeline", ref) == [
        f"referral status {ref} --to CÓDIGO",
        f"referral close {ref} --outcome CÓDIGO",
    ]


def test_a_unit_that_is_only_informed_is_not_told_to_decide(shell: Shell) -> None:
    ref = send(shell, "--inform", OTHER_UNIT)
    assert hints(shell, "stranger", "show", ref) == [f"referral ack {ref}"]
    assert hints(shell, "stranger", "ack", ref) == ["referral inbox list --pending"]
    assert hints(shell, "stranger", "show", ref) == ["referral inbox list --pending"]


def test_a_withdrawn_delivery_is_not_offered_for_reading(shell: Shell) -> None:
    ref = send(shell)
    assert shell.run("operator", "withdraw", ref, "--reason", "safety_risk").exit == 0
    assert hints(shell, "officer", "timeline", ref) == ["referral inbox list --pending"]


def test_an_inbox_does_not_offer_what_was_withdrawn_for_reading(shell: Shell) -> None:
    """R-66: withdrawn before it was read, it is handed out no more."""
    ref = send(shell)
    assert shell.run("operator", "withdraw", ref, "--reason", "safety_risk").exit == 0
    told: Any = shell.run("officer", "inbox", "watch", "--count", "64", "--wait", "0", "--exit-code", "--json")
    lines = [json.loads(line) for line in told.out.splitlines()]
    (withdrawn,) = [
        line for line in lines if line["entry"] and line["entry"]["kind"] == "withdraw" and line["entry"]["ref"] == ref
    ]
    assert withdrawn["next"] == [f"referral timeline {ref}"]
    follow(shell, "officer", withdrawn["next"][0])


def test_a_withdrawal_after_reading_leads_to_the_answer_that_it_wants(shell: Shell) -> None:
    ref = send(shell)
    assert shell.run("officer", "ack", ref).exit == 0
    assert shell.run("operator", "withdraw", ref, "--reason", "safety_risk").exit == 0
    (command,) = hints(shell, "officer", "timeline", ref)
    assert command == f"referral answer-notice {ref} --reply CÓDIGO"
    follow(shell, "officer", command)


def declined(shell: Shell) -> str:
    """Turned down by its unit, with nobody above it who would get it then."""
    ref = send(shell, "--exclude", NATIONAL)
    assert shell.run("officer", "ack", ref).exit == 0
    assert shell.run("officer", "decline", ref, "--reason", "no_capacity").exit == 0
    return ref


def closed(shell: Shell, name: str, ref: str, outcome: str) -> None:
    ran = shell.run(name, "close", ref, "--outcome", outcome)
    assert ran.exit == 0, ran


def test_what_was_closed_without_anybody_having_taken_it_leads_to_another_unit(shell: Shell) -> None:
    """R-110: closing it gave it to nobody; whether that was meant, a person knows, so it is offered and not pressed."""
    ref = declined(shell)
    closed(shell, "operator", ref, "cannot_disclose")
    onward = f"referral readdress {ref} --unit UNIDAD"
    assert hints(shell, "operator", "timeline", ref) == ["referral inbox list --pending", onward]
    told: Any = shell.run("operator", "list", "--all", "--json").json
    (own,) = [one for one in told["deliveries"] if one["ref"] == ref]
    assert own["lists"] == ["ended"], "on no list of what is to be done"
    follow(shell, "operator", onward)
    # Once another referral stands in its place, nobody is to be found for it any more.
    assert hints(shell, "operator", "timeline", ref) == ["referral inbox list --pending"]


@pytest.mark.parametrize("why", ["accepted", "consent"])
def test_what_was_closed_otherwise_leads_to_nobody(shell: Shell, why: str) -> None:
    """After work on it, or with the consent withdrawn, nobody else is to have it."""
    if why == "accepted":
        ref = send(shell, "--exclude", NATIONAL)
        for verb in ("ack", "accept"):
            assert shell.run("officer", verb, ref).exit == 0
        closed(shell, "officer", ref, "not_located")
    else:
        ref = declined(shell)
        closed(shell, "operator", ref, "victim_declined")
        assert shell.run("operator", "consent-withdrawn", ref).exit == 0
    assert hints(shell, "operator", "timeline", ref) == ["referral inbox list --pending"]


def test_lists_with_nothing_in_them_lead_on(shell: Shell) -> None:
    send(shell)
    for name, words in (
        ("second_registrar", ["outbox", "list"]),
        ("operator", ["outbox", "list"]),
        ("operator", ["outbox", "flush"]),
    ):
        (command,) = shell.run(name, *words, "--json").json["next"]
        follow(shell, name, command)
    assert shell.run("registrar", "enrolments", "--json").json["next"] == ["referral invite --out ARCHIVO"]
