"""Keys that change, and nobody here did it: who notices, what the screen says, and what stops it (R-102, R-32 c)."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from referral_api.cli.output import Exit
from referral_api.client import sdk
from referral_api.client.changes import Cause
from referral_api.client.compartment import InsecureKdfForTests
from referral_api.client.delivery import InboxEntry
from referral_api.client.enrolment import Joined, Joining
from referral_api.client.sdk import Client
from referral_api.client.watching import KeysReport
from referral_api.domain.errors import ErrorCode
from referral_api.domain.words import Act, CredentialKind
from referral_api.formats.enrolment import parse_invitation
from tests.auditlog.refusals import refused
from tests.cli.shell import Shell
from tests.wire import Wire
from tests.world import ENTRIES, PASSPHRASE, UNIT, World

DAY_S = 24 * 3600
CHEAP = InsecureKdfForTests()
EVERYBODY = ("registrar", "second_registrar", "operator", "national", "officer", "second_officer", "auditor")


@pytest.fixture
def world(sqlite_world: World) -> World:
    """On SQLite alone: the exchange takes nothing here that test_renewal.py has not on both engines."""
    return sqlite_world


@pytest.fixture
def opened() -> Iterator[list[Client]]:
    clients: list[Client] = []
    yield clients
    for client in clients:
        client.close()


def shell_of(world: World) -> Shell:
    return Shell(world.folder, world.server.url)


def told(world: World, name: str) -> list[tuple[Act, Cause]]:
    """What waits for this person's answer, as a process that has just begun finds it."""
    return [(one.act, one.cause) for one in world.client(name).identity.watch().look().open]


def join(world: World, name: str, by: Client, *, keyholder: bool = False) -> Joined:
    """Somebody enrols with an invitation into the unit, at a workstation of his own."""
    invitation = parse_invitation(world.after(by.invite(ENTRIES[UNIT], [CredentialKind.PERSON])))
    what = Joining(
        invitation, PASSPHRASE, kdf=CHEAP, keyholder=keyholder, server=world.server.url, station=f"st{len(name)}"
    )
    folder = world.folder / "profiles" / name
    return world.after(sdk.join(folder, what, transport=Wire(world.tape), clock=world.clock))


def take_in(world: World, name: str, keyholder: Client) -> None:
    joined = join(world, name, keyholder)
    world.after(keyholder.approve(keyholder.applicants()[0], joined.code))


def recover(world: World) -> Joined:
    """A registrar person who has been deceived, or is a thief, begins to give the unit another keyholder."""
    joined = join(world, "heir", world.registrar, keyholder=True)
    world.after(world.registrar.approve(world.registrar.applicants()[0], joined.code))
    return joined


def test_nobody_is_told_of_what_was_done_at_the_own_workstation_or_with_others(world: World) -> None:
    """The founding, every admission, a colleague taken in, an own key renewed and one's own approval."""
    for name in EVERYBODY:
        assert told(world, name) == [], name
    take_in(world, "third_officer", world.officer)
    world.second_officer.identity.rotate(PASSPHRASE, stations=["st2"], kdf=CHEAP)
    world.check()
    assert told(world, "second_officer") == [(Act.STATEMENT, Cause.COLLEAGUE)], "the newcomer, and no more"
    assert told(world, "officer") == [(Act.STATEMENT, Cause.COLLEAGUE)], "the colleague's renewal, and no more"
    for name in ("registrar", "operator", "national", "auditor"):
        assert told(world, name) == [], name


def test_a_colleagues_change_is_a_notice_until_somebody_has_asked_the_colleague(world: World) -> None:
    shell = shell_of(world)
    assert shell.run("second_officer", "keys", "watch", "--once").exit == 0
    take_in(world, "third_officer", world.officer)
    ran = shell.run("second_officer", "keys", "watch", "--once", "--lang", "en")
    assert ran.exit == 0
    by = world.officer.keys.credential
    assert f"• A change to the keys of {UNIT}, made elsewhere: key statement, by {by}" in ran.out
    assert "New keys: " in ran.out
    assert f"Ask {by} in person or by telephone whether it was so" in ran.out
    found = shell.run("second_officer", "keys", "watch", "--once", "--json").json
    (notice,) = found["notices"]
    assert (found["alarms"], found["alarm"], notice["cause"], notice["standing"]) == (
        [],
        False,
        "colleague",
        "in_effect",
    )
    assert found["next"] == [f"referral keys watch --seen {notice['digest']}"]
    seen = shell.run("second_officer", *found["next"][0].split()[1:])
    assert (seen.exit, "✔ Averiguado" in seen.out) == (0, True)
    assert shell.run("second_officer", "keys", "watch", "--once", "--json").json["notices"] == []
    assert shell.run("second_officer", *found["next"][0].split()[1:]).exit == 6


def test_a_recovery_against_the_units_will_is_seen_and_stopped(world: World) -> None:
    """R-32 c, e: both officers are told, one objects, and the second registrar person comes too late."""
    shell = shell_of(world)
    for name in ("officer", "second_officer"):
        assert told(world, name) == []
    joined = recover(world)
    waiting = world.second_registrar.applicants()[0]
    assert shell.run("officer", "inbox", "watch", "--wait", "0", "--exit-code", "--json").exit == 9
    heard = shell.run("officer", "inbox", "watch", "--wait", "0", "--exit-code", "--json").out.splitlines()
    event = json.loads(heard[0])
    assert (event["event"], event["alarm"], event["notices"]) == ("keys", True, [])
    alarm = event["alarms"][0]
    assert (alarm["cause"], alarm["by"]) == ("outsider", world.registrar.keys.credential)
    assert (alarm["standing"], alarm["waits_for"]) == ("waiting", "second_registrar")
    assert alarm["opens_at"] == pytest.approx(world.clock() + DAY_S, abs=120)
    watched = shell.run("officer", "keys", "watch", "--once", "--lang", "en")
    assert watched.exit == 10
    for words in (
        f"✖ ALARM: the keys of {UNIT} change, and it was not done here.",
        "signed by somebody who is not of this party",
        "New keys: ",
        "NOT IN EFFECT YET. It is YOUR turn: object before ",
        "Telephone your colleagues and the registrar (— is listed; use a number you know from elsewhere)",
    ):
        assert words in watched.out
    command = f"referral keys object {alarm['digest']} --reason not_authorised"
    assert f"Next: {command}" in watched.err
    wrong = shell.run("officer", "keys", "object", alarm["digest"], "--reason", "because")
    assert wrong.exit == 2
    objected = shell.run("officer", *command.split()[1:], "--lang", "en")
    assert objected.exit == 0
    assert f"Key statement of {UNIT}, signed by {world.registrar.keys.credential}" in objected.err
    assert f"✔ Objected to the statement of {UNIT}" in objected.out
    world.check()
    assert told(world, "officer") == [], "whoever objects has answered"
    # The colleague's own workstation still says so, what has become of it, and who saw to it.
    her = shell.run("second_officer", "keys", "watch", "--once", "--json").json
    assert [(one["act"], one["standing"]) for one in her["alarms"]] == [("statement", "ended")]
    assert [(one["act"], one["standing"]) for one in her["notices"]] == [("object", "voided")]
    world.clock.ahead_s += DAY_S + 5
    world.restart()
    assert (
        refused(ErrorCode.STATEMENT_OUT_OF_SEQUENCE, world.second_registrar.approve, waiting, joined.code)
        == "not-pending"
    )
    world.check()
    assert refused(ErrorCode.STATEMENT_OUT_OF_SEQUENCE, world.officer.identity.object_to, alarm["digest"], "not_ours")


def test_a_damaged_memory_of_the_keys_watch_silences_no_emergency(world: World) -> None:
    assert told(world, "officer") == []
    recover(world)
    ref = str(world.submit().outgoing.ref)
    path = world.folder / "profiles" / "officer" / "keys-watch.json"
    path.write_bytes(b"damaged")
    heard = shell_of(world).run("officer", "inbox", "watch", "--wait", "0", "--once", "--json")
    assert heard.exit == 0
    event, entry = (json.loads(line) for line in heard.out.splitlines())
    assert (event["trouble"], event["alarm"]) == ("begun_anew", True)
    assert [one["cause"] for one in event["alarms"]] == ["outsider"]
    assert entry["entry"]["ref"] == ref
    assert path.with_name("keys-watch.json.damaged").read_bytes() == b"damaged"
    path.write_bytes(b"damaged again")
    ran = shell_of(world).run("officer", "inbox", "watch", "--wait", "0", "--exit-code", "--lang", "en")
    assert "keys-watch.json was damaged. It is set aside" in ran.out


def test_a_damaged_memory_is_begun_anew_by_command_and_what_it_held_is_answered_again(world: World) -> None:
    shell = shell_of(world)
    recover(world)
    seen = shell.run("officer", "keys", "watch", "--once", "--json")
    assert seen.exit == Exit.PROBLEMS
    [alarm] = seen.json["alarms"]
    path = world.folder / "profiles" / "officer" / "keys-watch.json"
    path.write_bytes(b"damaged")
    answered = shell.run("officer", "keys", "watch", "--seen", alarm["digest"], "--json")
    assert (answered.exit, answered.json["trouble"]) == (Exit.PROBLEMS, "begun_anew")
    assert [one["digest"] for one in answered.json["alarms"]] == [alarm["digest"]]
    path.write_bytes(b"damaged")
    again = shell.run("officer", "keys", "watch", "--once", "--json")
    assert (again.exit, again.json["trouble"]) == (Exit.PROBLEMS, "begun_anew")
    answered = shell.run("officer", "keys", "watch", "--seen", alarm["digest"], "--json")
    assert (answered.exit, answered.json["answered"]) == (Exit.OK, [alarm["digest"]])
    path.write_bytes(b"damaged")
    path.parent.joinpath("made-here.json").write_bytes(b"damaged too")
    assert shell.run("officer", "keys", "watch", "--once").exit == Exit.NOT_ENROLLED


def test_a_recovery_that_nobody_objected_to_is_still_an_alarm_when_it_is_in_effect(
    world: World, opened: list[Client]
) -> None:
    assert told(world, "second_officer") == []
    joined = recover(world)
    world.clock.ahead_s += DAY_S + 5
    world.restart()
    world.after(world.second_registrar.approve(world.second_registrar.applicants()[0], joined.code))
    assert told(world, "second_officer") == [
        (Act.STATEMENT, Cause.OUTSIDER),
        (Act.APPROVE_STATEMENT, Cause.OUTSIDER),
    ]
    # The heir joined by it, and is told nothing of how.
    folder, wire = world.folder / "profiles" / "heir", Wire(world.tape)
    heir = Client.person(folder, PASSPHRASE, server=world.server.url, transport=wire, clock=world.clock)
    opened.append(heir)
    assert heir.identity.watch().look().open == ()


def test_a_registrar_person_stops_what_another_one_began(world: World) -> None:
    recover(world)
    pending = world.second_registrar.session.sync_keys().keymap.find_pending(UNIT)
    assert pending is not None
    ran = shell_of(world).run("second_registrar", "keys", "object", pending.digest, "--reason", "suspected_compromise")
    assert (ran.exit, f"✔ Objetada la declaración de {UNIT}" in ran.out) == (0, True)
    world.check()


def test_a_stranger_objects_to_nothing(world: World) -> None:
    recover(world)
    pending = world.operator.session.sync_keys().keymap.find_pending(UNIT)
    assert pending is not None
    refused(ErrorCode.NOT_PERMITTED, world.operator.identity.object_to, pending.digest, "not_ours")
    world.check()
    assert world.operator.session.sync_keys().keymap.find_pending(UNIT) == pending


def test_a_registrar_person_sees_whose_statement_it_is_before_it_is_on_any_log(world: World) -> None:
    described = ENTRIES[UNIT] | {"id": "pnp-trata-cusco"}
    invitation = parse_invitation(world.after(world.registrar.invite(described, [CredentialKind.PERSON])))
    what = Joining(invitation, PASSPHRASE, entry=described, kdf=CHEAP, server=world.server.url, station="st1")
    folder = world.folder / "profiles" / "cusco"
    world.after(sdk.join(folder, what, transport=Wire(world.tape), clock=world.clock))
    statement = world.registrar.applicants()[0].statement
    assert statement is not None
    shell = shell_of(world)
    ran = shell.run("registrar", "keys", "object", statement.digest, "--reason", "wrong_entry")
    assert (ran.exit, "Declaración de claves de pnp-trata-cusco" in ran.err) == (0, True)
    world.check()
    assert world.registrar.applicants() == []
    assert shell.run("officer", "keys", "object", statement.digest, "--reason", "wrong_entry").exit == 7


def test_a_thief_of_a_keyholders_keys_is_seen_by_their_owner_and_by_every_colleague(
    world: World, opened: list[Client]
) -> None:
    """A copy of the keystore with its passphrase, on a machine elsewhere, takes somebody in."""
    for name in ("officer", "second_officer"):
        assert told(world, name) == []
    folder = world.folder / "stolen"
    shutil.copytree(world.folder / "profiles" / "officer", folder)
    thief = Client.person(folder, PASSPHRASE, server=world.server.url, transport=Wire(world.tape), clock=world.clock)
    opened.append(thief)
    take_in(world, "accomplice", thief)
    assert told(world, "officer") == [(Act.STATEMENT, Cause.NOT_HERE)]
    assert told(world, "second_officer") == [(Act.STATEMENT, Cause.COLLEAGUE)]
    ran = shell_of(world).run("officer", "keys", "watch", "--once", "--lang", "en")
    assert ran.exit == 10
    assert "and not on it: somebody else has them" in ran.out
    assert f"to run “referral keys revoke {world.officer.keys.credential}”" in ran.out
    # What he revokes of hers is an alarm at her own workstation.
    seal = world.second_officer.keys.signers()[0].kid
    world.after(thief.revoke(seal, "lost", int(world.clock())))
    found = world.second_officer.identity.watch().look()
    assert [(one.cause, one.revoked) for one in found.open] == [(Cause.COLLEAGUE, ()), (Cause.OWN_KEYS, (seal,))]
    assert found.alarm


def test_the_sdks_watch_tells_of_keys_between_what_arrives_and_again_after_a_restart(world: World) -> None:
    assert told(world, "officer") == []
    recover(world)
    ref = world.submit().outgoing.ref
    for _ in range(2):
        arrives = world.officer.watch(wait_s=0)
        report, entry = next(arrives), next(arrives)
        assert isinstance(report, KeysReport)
        assert [one.cause for one in report.told] == [Cause.OUTSIDER]
        assert isinstance(entry, InboxEntry)
        assert entry.ref == ref
        world.close_clients()


def test_the_watch_goes_on_by_itself_and_begins_anew_with_what_is_open(world: World) -> None:
    """`referral keys watch` as a process of its own, until somebody ends it."""
    assert told(world, "officer") == []
    recover(world)
    for _ in range(2):
        event = first_event(world)
        assert [one["cause"] for one in event["alarms"]] == ["outsider"]


def first_event(world: World) -> dict[str, list[dict[str, str]]]:
    passphrase = world.folder / "passphrase"
    passphrase.write_text(PASSPHRASE + "\n", encoding="utf-8")
    command = [str(Path(sys.executable).with_name("referral")), "--json", "keys", "watch"]
    variables = {
        "REFERRAL_PROFILE": str(world.folder / "profiles" / "officer"),
        "REFERRAL_SERVER": world.server.url,
        "REFERRAL_PASSPHRASE_FILE": str(passphrase),
    }
    # Where the tests themselves run in the background, an interrupt would be ignored by inheritance.
    heard = "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])"
    command = [sys.executable, "-c", heard, *command]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ | variables) as process:
        try:
            assert process.stdout is not None
            event: dict[str, list[dict[str, str]]] = json.loads(process.stdout.readline())
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=20) == 130
        finally:
            process.kill()
    return event
