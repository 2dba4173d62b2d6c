"""Keys renewed, revoked, put on paper and put back by command; and renewed after a command that was about else."""

from __future__ import annotations

import io
import re
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
import typer

from referral_api.cli.invocation import Invocation
from referral_api.cli.output import EXIT_OF, Exit, Screen, Shown
from referral_api.cli.texts import say
from referral_api.cli.upkeep import KeepingClient
from referral_api.client import alarms, renewal
from referral_api.client.compartment import InsecureKdfForTests
from referral_api.client.keystore import CredentialKeys
from referral_api.client.watching import kids_of
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import KeyUse
from tests.auditlog.refusals import refused
from tests.cli.shell import Ran, Shell
from tests.cli.terminal import Terminal
from tests.liar import Liar
from tests.lies_of_keys import OF_KEYS
from tests.story.test_renewal import later
from tests.world import PASSPHRASE, UNIT, Founded, World

FILE_PASSPHRASE = "una frase para el cajón"
NOTHING = " ".join(["abandon"] * 23 + ["art"])
"""Twenty-four words that check, and name a key of nobody."""


def done(ran: Ran) -> Ran:
    assert ran.exit == 0, ran
    return ran


def enrol(shell: Shell, name: str, *more: str, by: str = "officer") -> str:
    """A newcomer of the unit, admitted command by command; the credential."""
    done(shell.run(by, "invite", "--kind", "person", "--out", f"{name}.json"))
    told = done(shell.run(name, "enrol", f"{name}.json", "--no-service", "--json", *more)).json
    (shell.folder / f"{name}.digits").write_text(told["code"] + "\n")
    done(shell.run(by, "approve", told["enrolment"], "--code-file", f"{name}.digits"))
    return str(told["person"])


@pytest.fixture
def frase(shell: Shell) -> str:
    (shell.folder / "frase").write_text(FILE_PASSPHRASE + "\n", encoding="utf-8")
    return "frase"


def test_nothing_is_renewed_before_its_time_unless_somebody_insists(shell: Shell) -> None:
    told = done(shell.run("officer", "keys", "rotate"))
    assert say("es", "rotate.nothing") in told.out
    before = {one["kid"] for one in done(shell.run("officer", "keys", "show", "--json")).json["party"]["enc"]}
    renewed = done(shell.run("officer", "keys", "rotate", "--now", "--json")).json
    assert (len(renewed["renewed"]), renewed["turn"], renewed["code"]) == (1, "done", None)
    after = {one["kid"] for one in done(shell.run("officer", "keys", "show", "--json")).json["party"]["enc"]}
    assert after - before == set(renewed["renewed"])
    strange = shell.run("officer", "keys", "rotate", "--station", "st2")
    assert (strange.exit, "Traceback" in strange.err) == (7, False)


def test_new_seal_keys_of_a_second_officer_show_the_digits_to_read_out(shell: Shell) -> None:
    told = done(shell.run("second_officer", "keys", "rotate", "--seal", "--json")).json
    assert told["turn"] == "second_keyholder"
    assert len(told["code"].replace(" ", "")) == 30
    (shell.folder / "seal.digits").write_text(told["code"] + "\n")
    person = done(shell.run("second_officer", "whoami", "--json")).json["person"]
    approved = done(shell.run("officer", "approve", UNIT, "--code-file", "seal.digits"))
    assert say("es", "approve.replaces", credential=person) in approved.err
    assert f"{person} valdría hasta el " in approved.err
    shown = done(shell.run("officer", "keys", "show", "--json")).json["party"]["credentials"]
    assert any(one["seal"] == told["renewed"] for one in shown)


def test_a_stolen_workstation_is_revoked_with_all_that_belongs_to_it(shell: Shell) -> None:
    """The runbook, command by command."""
    person = enrol(shell, "robado", "--station", "robado")
    told = done(shell.run("officer", "keys", "revoke", person, "--reason", "compromised", "--json")).json
    assert len(told["revoked"]) == 4, "its encryption key, its access key, and the two that sign"
    assert shell.run("robado", "whoami").exit == 4
    assert shell.run("officer", "keys", "revoke", person).exit == 0, (
        "all of it is revoked: nothing to do, nothing wrong"
    )
    wrong = shell.run("officer", "keys", "revoke", "pnp-trata-piura.nadie1")
    assert (wrong.exit, "Traceback" in wrong.err) == (6, False)
    badly = shell.run("officer", "keys", "revoke", told["revoked"][0]["kid"], "--reason", "porque sí")
    assert badly.exit == 2


def test_what_is_revoked_of_a_person_includes_what_was_vouched_for_under_earlier_keys(shell: Shell) -> None:
    """A workstation's key is its person's, though the person signs with other keys by now."""
    name = "renovado"
    person = enrol(shell, name, "--station", name)
    told = done(shell.run(name, "keys", "rotate", "--seal", "--json")).json
    (shell.folder / "r.digits").write_text(told["code"] + "\n")
    done(shell.run("officer", "approve", UNIT, "--code-file", "r.digits"))
    listed = done(shell.run("officer", "keys", "show", "--json")).json["party"]["enc"]
    station = next(one["kid"] for one in listed if one["station"] == name)
    revoked = done(shell.run("officer", "keys", "revoke", person, "--json")).json["revoked"]
    assert station in {one["kid"] for one in revoked}


def test_nobody_cuts_off_the_branch_on_which_they_sit(shell: Shell) -> None:
    own = done(shell.run("officer", "whoami", "--json")).json["person"]
    for lang in ("es", "en"):
        ran = shell.run("officer", "keys", "revoke", own, "--lang", lang)
        assert ran.exit == 2
        assert say(lang, "fault.revoke-own.what") in ran.err


@pytest.mark.parametrize("form", ["words", "file"])
def test_a_backup_comes_back_on_another_workstation(shell: Shell, frase: str, form: str) -> None:
    how = ["--words"] if form == "words" else ["--out", "respaldo.json", "--backup-passphrase-file", frase]
    made = done(shell.run("officer", "keys", "backup", *how, "--json")).json
    assert made["turn"] == "done"
    ref = done(shell.run("operator", "send", "emergencia.json", "--unit", UNIT, "--json")).json["ref"]
    name = f"nuevo-{form}"
    enrol(shell, name, "--station", form)
    assert shell.run(name, "show", ref).exit == 7
    if form == "words":
        (shell.folder / "papel").write_text(" ".join(made["words"]).upper() + "\n", encoding="utf-8")
        back = ["--words-file", "papel"]
    else:
        listed = done(shell.run("officer", "keys", "show", "--json")).json["party"]["enc"]
        assert "backup" in {one["use"] for one in listed}
        back = ["respaldo.json", "--backup-passphrase-file", frase]
    assert done(shell.run(name, "keys", "recover", *back, "--json")).json["kid"] == made["kid"]
    done(shell.run(name, "ack", ref))


def officers(world: World) -> dict[str, str]:
    """The environment of the officer's terminal."""
    (world.folder / "passphrase").write_text(PASSPHRASE + "\n")
    return {
        "REFERRAL_PROFILE": str(world.folder / "profiles" / "officer"),
        "REFERRAL_SERVER": world.server.url,
        "REFERRAL_PASSPHRASE_FILE": str(world.folder / "passphrase"),
    }


def test_the_words_are_on_paper_before_anybody_seals_to_them(world: World) -> None:
    """And where the exchange goes away then, it is said what the paper is worth, and which key to look for."""
    environment = officers(world)
    with Terminal("keys", "backup", "--words", folder=world.folder, **environment) as terminal:
        terminal.wait("teclee la palabra n.º")
        terminal.wait(":")
        words = dict(re.findall(r"(\d+) ([^\W\d_]+)", terminal.screen.partition("Ya escritas")[0]))
        at = re.findall(r"n\.º (\d+):", terminal.screen)[-1]
        assert set(words) >= {str(one + 1) for one in range(24)}
        party = renewal.own_party(world.officer.session)
        assert KeyUse.BACKUP not in {key.use for key in party.enc}, "it waits for the paper"
        terminal.type(words[str(int(at) % 24 + 1)])
        terminal.wait("Esa no es.")
        world.server.stop()
        terminal.type(unaccented(words[at]).upper())
        assert terminal.end() == 3, terminal.screen
    kid = re.findall(r"backup=(\S+)", terminal.screen)[-1]
    assert say("es", "backup.unlisted", kid=kid) in terminal.screen
    world.server.start()


def test_words_that_nobody_wrote_down_are_not_listed(world: World) -> None:
    environment = officers(world)
    with Terminal("keys", "backup", "--words", folder=world.folder, **environment) as terminal:
        terminal.wait("teclee la palabra n.º")
        for _ in range(3):
            terminal.type("ninguna")
        assert terminal.end() == 2, terminal.screen
    assert say("es", "fault.word-differs.what") in terminal.screen
    party = renewal.own_party(world.officer.session)
    assert KeyUse.BACKUP not in {key.use for key in party.enc}


def unaccented(word: str) -> str:
    return "".join(one for one in unicodedata.normalize("NFKD", word) if not unicodedata.combining(one))


def test_what_is_wrong_with_words_and_files_is_said_and_changes_nothing(shell: Shell, frase: str) -> None:
    (shell.folder / "palabras").write_text(NOTHING + "\n")
    nobodys = shell.run("officer", "keys", "recover", "--words-file", "palabras", "--json")
    assert (nobodys.exit, nobodys.json["error"]["code"]) == (5, ErrorCode.KEY_NOT_VALID.value)
    for wrong in ("abandon art", NOTHING.replace("art", "arte"), " ".join(["abandon"] * 24)):
        (shell.folder / "palabras").write_text(wrong + "\n")
        ran = shell.run("officer", "keys", "recover", "--words-file", "palabras")
        assert ran.exit == 2
        assert say("es", "fault.words-wrong.what") in ran.err
    done(shell.run("officer", "keys", "backup", "--out", "otro.json", "--backup-passphrase-file", frase))
    assert shell.run("officer", "keys", "recover", "otro.json", "--backup-passphrase-file", "passphrase").exit == 4
    assert shell.run("officer", "keys", "backup", "--out", "otro.json").exit == 2, "nothing is overwritten"
    assert shell.run("officer", "keys", "backup").exit == 2
    (shell.folder / "roto.json").write_text("{}")
    assert shell.run("officer", "keys", "recover", "roto.json", "--backup-passphrase-file", frase).exit == 4


def test_a_recovery_shows_the_registrar_who_loses_and_when_it_may_hold(shell: Shell) -> None:
    done(shell.run("registrar", "invite", "--recover", "pnp-nacional", "--out", "nacional.json"))
    told = done(
        shell.run("heredera", "enrol", "nacional.json", "--keyholder", "--no-service", "--station", "h1", "--json")
    ).json
    assert told["turn"] == "registrar"
    (shell.folder / "h.digits").write_text(told["code"] + "\n")
    first = done(shell.run("registrar", "approve", "pnp-nacional", "--code-file", "h.digits"))
    assert say("es", "approve.keyholder", credential=told["person"], party="pnp-nacional") in first.err
    assert "ATENCIÓN: es una recuperación. Pierden sus derechos en pnp-nacional: pnp-nacional." in first.err
    assert say("es", "turn.second_registrar") in first.out
    second = shell.run("second_registrar", "approve", "pnp-nacional", "--code-file", "h.digits")
    assert second.exit == 7
    assert say("es", "fault.objection-window.what") in second.err
    assert shell.run("registrar", "invite", "--recover", "nadie-aqui", "--out", "x.json").exit == 6


# Without being asked.


@pytest.fixture
def aged(world: World) -> Iterator[World]:
    later(world, 30)
    yield world
    world.check()


@contextmanager
def keeping(world: World, server: str = "") -> Iterator[tuple[Invocation, KeepingClient]]:
    """An officer's call, with the clock of this world."""
    profile = world.folder / "profiles" / "officer"
    screen = Screen("es", as_json=False, quiet=False, verbose=False, color=False)
    call = Invocation(screen, profile, None, 30, True, None, None)
    client = KeepingClient.person(profile, PASSPHRASE, server=server or world.server.url, clock=world.clock)
    client.keep_up_with(screen, PASSPHRASE)
    call._made(client)
    try:
        yield call, client
    finally:
        call.close()


def after_a_command(
    world: World,
    server: str = "",
    *,
    before_showing: Callable[[], object] = lambda: None,
    within: bool = False,
    status: Exit = Exit.OK,
) -> str:
    """What an officer's command prints; the result is the word `RESULTADO`, and its exit code stays what it was."""
    told = io.StringIO()
    # Whoever serves the exchange prints there too.
    with redirect_stdout(told), redirect_stderr(told), keeping(world, server) as (call, client):
        shown = Shown({}, ["RESULTADO"], status=status)

        def command() -> None:
            with client:
                client.sync_keys()
                list(client.inbox())
                if within:
                    call.show(shown)
            before_showing()
            call.show(shown)

        with pytest.raises(typer.Exit) as ended:
            command()
        assert ended.value.exit_code == status
    return "".join(line + "\n" for line in told.getvalue().splitlines() if not line.startswith("{"))


@pytest.mark.parametrize("within", [True, False], ids=["shown before its client is left", "shown afterwards"])
def test_a_persons_command_renews_what_is_due_and_the_next_one_finds_nothing_to_do(aged: World, within: bool) -> None:
    """And what was asked for is shown first."""
    renewed = say("es", "upkeep.renewed")
    assert after_a_command(aged, within=within, status=Exit.NOTHING_NEW) == f"RESULTADO\n{renewed}\n"
    assert after_a_command(aged, within=within) == "RESULTADO\n"


def test_a_renewal_that_fails_is_one_line_and_no_failure_of_the_command(aged: World) -> None:
    """The exchange goes away while the command ends."""
    told = after_a_command(aged, before_showing=aged.server.stop)
    assert told.startswith("RESULTADO\nNo se pudo renovar")
    aged.server.start()


def test_a_profile_that_cannot_be_written_is_no_failure_of_the_command_either(aged: World) -> None:
    lock = aged.folder / "profiles" / "officer" / ".keys.lock"
    lock.unlink(missing_ok=True)
    lock.mkdir()
    assert say("es", "upkeep.failed", code="IsADirectoryError") in after_a_command(aged)
    lock.rmdir()
    assert say("es", "upkeep.renewed") in after_a_command(aged)


def test_a_command_that_failed_renews_nothing(aged: World) -> None:
    with keeping(aged) as (call, client):

        def command() -> None:
            with client:
                list(client.inbox())
                client.referral("00000000-0000-7000-8000-000000000000")

        refused(ErrorCode.NOT_FOUND, command)
        call.keep_up()
        assert len(client.identity.due()) == 1


def test_a_renewal_leaves_alone_what_waits_for_the_second_keyholder_until_it_is_urgent(aged: World) -> None:
    """What takes effect meanwhile would void it; a workstation to which nobody can seal any more would be worse."""
    proposed = aged.second_officer.identity.rotate_seal(PASSPHRASE, kdf=InsecureKdfForTests())
    assert proposed.turn == "second_keyholder"
    assert after_a_command(aged) == "RESULTADO\n"
    aged.officer.sync_keys()
    assert aged.officer.session.keymap.find_pending(UNIT) is not None
    later(aged, 9)
    assert after_a_command(aged) == "RESULTADO\n"
    later(aged, 1)
    assert say("es", "upkeep.renewed") in after_a_command(aged)


def test_a_renewal_that_was_interrupted_goes_on_with_the_next_command(aged: World) -> None:
    """The key is kept, and the exchange has never heard of it."""
    identity = aged.officer.identity
    aged.officer.sync_keys()
    with identity._changing(PASSPHRASE, InsecureKdfForTests()) as (keys, keep):
        stations = identity.due()

        def keep_and_lose_the_line(changed: CredentialKeys) -> None:
            keep(changed)
            aged.server.stop()

        refused(ErrorCode.UNREACHABLE, renewal.rotate, aged.officer.session, keys, keep_and_lose_the_line, stations)
        kept = kids_of(identity.keys) - kids_of(keys)
    aged.server.start()
    assert len(kept) == 1
    assert say("es", "upkeep.renewed") in after_a_command(aged)
    aged.officer.sync_keys()
    assert kept <= {key.kid for key in aged.officer.session.keymap.usable_enc(UNIT, int(aged.clock()))}


def test_a_watch_that_never_ends_keeps_up_every_day(world: World) -> None:
    told = io.StringIO()
    with redirect_stdout(told), redirect_stderr(told), keeping(world) as (call, client):

        def page() -> str:
            told.truncate(0)
            client.keep(client.next_page())
            call.keep_up()
            return told.getvalue()

        assert say("es", "upkeep.renewed") not in page()
        later(world, 30)
        assert say("es", "upkeep.renewed") in page()
        assert say("es", "upkeep.renewed") not in page()
        later(world, 75)
        told_last = page()
        assert say("es", "upkeep.renewed") in told_last
        assert "Destruida, con acuse" in told_last
    world.check()


def test_an_alarm_found_while_renewing_ends_the_command_as_one(founded: Founded, tmp_path: Path) -> None:
    """R-94: what was asked for is shown; that the exchange shows a false keys log is not one line among others."""
    with World(founded, tmp_path / "world") as world, Liar(world) as liar:
        later(world, 30)
        told = io.StringIO()
        with redirect_stdout(told), redirect_stderr(told), keeping(world, liar.url) as (call, client):
            with client:
                client.sync_keys()
                list(client.inbox())
            liar.begin(OF_KEYS["swapped key: in place, seen before"])
            with pytest.raises(ReferralError) as raised:
                call.show(Shown({}, ["RESULTADO"]))
        assert "RESULTADO" in told.getvalue()
        assert EXIT_OF[raised.value.code] == Exit.VERIFICATION_FAILED
        assert raised.value.facts.get("shown") == "keys-log"
        liar.begin(None)
        world.check()


def test_a_refusal_is_no_alarm() -> None:
    """What the exchange refuses by a receipt that verifies, it has a right to refuse."""
    assert alarms.is_alarm(ReferralError(ErrorCode.WRONG_ROOT))
    assert alarms.is_alarm(ReferralError(ErrorCode.NOT_INCLUDED, reason="keys-log", digest="x"))
    assert not alarms.is_alarm(ReferralError(ErrorCode.KEY_NOT_VALID, act="statement"))
    assert not alarms.is_alarm(ReferralError(ErrorCode.KEY_NOT_VALID, status=422))
    assert not alarms.is_alarm(ReferralError(ErrorCode.UNREACHABLE))
