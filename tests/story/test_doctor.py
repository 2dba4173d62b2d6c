"""What `referral doctor` finds on a workstation: each finding by what really causes it, and none where all is well."""

from __future__ import annotations

import errno
import json
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from referral_api.client.compartment import Kdf
from referral_api.client.doctor import Means, Room, examine
from referral_api.client.keystore import Keystore
from referral_api.client.profile import ProfileDir
from referral_api.domain.errors import ErrorCode
from referral_api.domain.findings import Finding, Level
from referral_api.domain.words import CredentialKind
from referral_api.server import app
from tests.front import certificate, encrypting, kept_clock, portal, relaying
from tests.world import PASSPHRASE, Founded, Office, Server, World, composition, entry, settings_of

AWAY = "http://127.0.0.1:9"
DAY = 24 * 3600


@dataclass
class Machine:
    """A copy of somebody's profile, in front of the exchange."""

    path: Path
    server: str
    found: list[Finding] = field(default_factory=list)

    def examine(self, *, person: bool = True, room: Room | None = None, **options: Any) -> dict[str, Finding]:
        """Every finding by its code."""
        given = {"server": self.server, "answer_s": 5.0} | options
        means = Means(
            self.path, self.path / "service.key", (lambda: PASSPHRASE) if person else None, room or Room(), given
        )
        self.found = list(examine(means))
        return {one.code: one for one in self.found}

    def worst(self) -> set[str]:
        """The codes for which somebody has to do something."""
        return {one.code for one in self.found if one.asks}


@pytest.fixture(scope="module")
def world(founded: Founded, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(founded, tmp_path_factory.mktemp("doctor") / "world") as made:
        for seat in made.seats.values():
            if seat.secret is not None:
                key = made.folder / "profiles" / seat.folder / "service.key"
                key.write_bytes(seat.secret)
                key.chmod(0o600)
        yield made


@pytest.fixture(autouse=True)
def _kept_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", kept_clock(tmp_path))


@pytest.fixture
def machine(world: World, tmp_path: Path) -> Callable[[str], Machine]:
    def copied(seat: str) -> Machine:
        shutil.copytree(world.folder / "profiles" / seat, tmp_path / seat)
        return Machine(tmp_path / seat, world.server.url)

    return copied


def strengthen(path: Path) -> None:
    """Seal the person's compartment as every workstation does; the founding of tests seals it cheaply."""
    keystore = Keystore.open(ProfileDir(path))
    keystore.keep_person(keystore.unlock_person(PASSPHRASE), PASSPHRASE, Kdf())


def test_of_a_workstation_in_order_nothing_is_asked(machine: Callable[[str], Machine]) -> None:
    officer = machine("officer")
    strengthen(officer.path)
    found = officer.examine()
    assert officer.worst() == set()
    assert found["access"].seen["role"] == "police_unit"
    assert found["keys.open"].seen == {"usable": 1, "others": 1}
    # A unit with two workstations has another one that opens what waits.
    assert found["backup.none"].level is Level.NOTE
    assert found["witnesses.none"].level is Level.NOTE
    assert found["way.plain"].seen == {"loopback": True}


def test_with_nothing_unlocked_the_rest_is_seen_and_what_is_not_is_unknown(machine: Callable[[str], Machine]) -> None:
    person = machine("second_officer")
    person.examine()
    found = person.examine(person=False)
    assert {code for code, one in found.items() if one.level is Level.UNKNOWN} >= {"passphrase", "access.unseen"}
    assert found["way.exchange"].level is found["keys.age"].level is found["party"].level is Level.OK
    assert not {"keys.own", "access", "losses"} & found.keys()


def test_a_service_key_is_enough_for_what_takes_a_credential(machine: Callable[[str], Machine]) -> None:
    found = machine("operator").examine(person=False)
    assert [found[code].level for code in ("service-key", "access", "keys-log.growth", "losses")] == [Level.OK] * 4


def test_a_cheaply_sealed_keystore_is_a_problem_with_its_figures(machine: Callable[[str], Machine]) -> None:
    found = machine("officer").examine()["kdf"]
    assert (found.level, found.command) == (Level.PROBLEM, "referral keys rotate --seal")
    assert (found.seen["memory_kib"], found.seen["least_memory_kib"]) == (64, 256 * 1024)


def test_what_others_may_read_is_named(machine: Callable[[str], Machine]) -> None:
    operator = machine("operator")
    operator.path.chmod(0o755)
    (operator.path / "service.key").chmod(0o640)
    (operator.path / "keystore.json").chmod(0o644)
    found = operator.examine()
    assert found["folder"].seen == {"mode": "0755"}
    assert found["files"].seen == {"exposed": ["keystore.json", "service.key"]}
    assert found["keystore"].error is ErrorCode.KEYSTORE_CORRUPT
    (operator.path / "keystore.json").chmod(0o600)
    found = operator.examine()
    assert (found["service-key"].error, found["service-key"].command) == (ErrorCode.KEYSTORE_CORRUPT, "chmod 600")
    # The person still opens what the service does not.
    assert found["access"].level is Level.OK


def test_a_machine_that_never_enrolled_is_told_of_what_can_be_seen(tmp_path: Path) -> None:
    nobody = Machine(tmp_path / "nothing", AWAY)
    found = nobody.examine()
    assert nobody.worst() == {"folder.missing", "keystore"}
    assert found["self-test"].level is Level.OK
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize("damage", ["checksum", "syntax"])
def test_a_damaged_keystore_is_told_from_a_wrong_passphrase(machine: Callable[[str], Machine], damage: str) -> None:
    officer = machine("officer")
    file = officer.path / "keystore.json"
    raw = file.read_bytes()
    file.write_bytes(raw[:-1] if damage == "syntax" else raw.replace(b'"lang":"es"', b'"lang":"en"'))
    found = officer.examine()["keystore"]
    assert (found.error, found.seen["reason"]) == (ErrorCode.KEYSTORE_CORRUPT, damage)
    file.write_bytes(raw)
    means = Means(officer.path, officer.path / "service.key", lambda: "otra frase distinta", options={"server": AWAY})
    (wrong,) = [one for one in examine(means) if one.code == "passphrase"]
    assert (wrong.level, wrong.error, wrong.seen["reason"]) == (Level.PROBLEM, ErrorCode.LOCKED, "wrong-secret")


def test_a_missing_or_foreign_service_key_is_told(machine: Callable[[str], Machine]) -> None:
    operator = machine("operator")
    key = operator.path / "service.key"
    key.write_bytes(bytes(32))
    assert operator.examine(server=AWAY)["service-key"].error is ErrorCode.LOCKED
    key.unlink()
    assert operator.examine(server=AWAY)["service-key.missing"].level is Level.PROBLEM


def test_room_is_measured_on_the_profile_s_own_disk(machine: Callable[[str], Machine]) -> None:
    officer = machine("officer")
    free = shutil.disk_usage(officer.path).free
    assert officer.examine(server=AWAY, room=Room(2 * free, 1))["disk"].level is Level.WARNING
    found = officer.examine(server=AWAY, room=Room(3 * free, 2 * free))["disk"]
    assert (found.level, found.command) == (Level.PROBLEM, "df -h")
    assert 0 < int(str(found.seen["free_bytes"])) < 2 * free


def test_pins_that_cannot_be_read_are_a_problem_and_stop_nothing_else(machine: Callable[[str], Machine]) -> None:
    officer = machine("officer")
    (officer.path / "pins.json").write_bytes(b"{}")
    found = officer.examine()
    assert found["pins"].error is ErrorCode.KEYSTORE_CORRUPT
    assert found["way.exchange"].level is Level.OK
    assert "access" not in found


def test_a_keys_log_that_was_changed_here_is_found_offline(machine: Callable[[str], Machine]) -> None:
    officer = machine("officer")
    file = officer.path / "keys-log.bin"
    raw = bytearray(file.read_bytes())
    file.unlink()
    assert officer.examine(server=AWAY)["keys-log.missing"].level is Level.WARNING
    at = raw.rindex(b'"payload":"') + 40
    raw[at] ^= 1
    file.write_bytes(raw)
    file.chmod(0o600)
    assert officer.examine(server=AWAY)["keys-log"].level is Level.PROBLEM
    (officer.path / "pins.json").unlink()
    assert officer.examine(server=AWAY)["keys-log.none"].level is Level.UNKNOWN


def test_a_folder_that_takes_nothing_is_told_and_ends_nothing(machine: Callable[[str], Machine]) -> None:
    """As where a disk is full: the process may make no file longer than nothing."""
    officer = machine("officer")
    program = [str(Path(sys.executable).with_name("referral")), "doctor", "--json", "-p", str(officer.path)]
    ran = subprocess.run(
        [*program, "--server", officer.server],
        check=False,
        capture_output=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)),
    )
    found = {one["code"]: one for one in json.loads(ran.stdout)["findings"]}
    assert (ran.returncode, found["unwritable"]["level"]) == (10, "problem")
    assert found["unwritable"]["seen"] == {"errno": errno.EFBIG}
    assert found["way.exchange"]["level"] == found["party"]["level"] == "ok"
    assert not [*officer.path.glob(".doctor*")]


# The way.


@pytest.mark.parametrize(
    ("server", "code", "reason"), [("http://a..b", "way.name", "name"), (AWAY, "way.connection", "connection")]
)
def test_a_way_that_ends_early_says_where(
    machine: Callable[[str], Machine], server: str, code: str, reason: str
) -> None:
    officer = machine("officer")
    found = officer.examine(server=server)
    assert (found[code].level, found[code].error) == (Level.PROBLEM, ErrorCode.UNREACHABLE)
    assert found[code].seen["reason"] == reason
    # What was replicated is still read, and the rest is not guessed.
    assert found["party"].level is Level.OK
    assert not {"way.exchange", "clock", "access"} & found.keys()


@pytest.mark.parametrize(("days", "level"), [(60, Level.OK), (20, Level.WARNING), (2, Level.PROBLEM)])
def test_a_certificate_s_end_is_told_in_days(
    machine: Callable[[str], Machine],
    trusted: Callable[[Path], None],
    world: World,
    tmp_path: Path,
    days: int,
    level: Level,
) -> None:
    officer, pem = machine("officer"), certificate(tmp_path, days=days)
    trusted(pem)
    with encrypting(pem, world.server.port) as url:
        found = officer.examine(server=url)
    assert (found["way.certificate"].level, found["way.certificate"].seen["days"]) == (level, days)
    assert found["way.certificate"].seen["tls"] == "TLSv1.3"
    assert found["access"].level is Level.OK


@pytest.mark.parametrize(
    ("days", "name", "is_trusted", "why"),
    [(-1, "localhost", True, "ended"), (60, "otro.example", True, "name"), (60, "localhost", False, "issuer")],
)
def test_a_certificate_that_does_not_do_says_why(
    machine: Callable[[str], Machine],
    trusted: Callable[[Path], None],
    world: World,
    tmp_path: Path,
    days: int,
    name: str,
    is_trusted: bool,
    why: str,
) -> None:
    officer, pem = machine("officer"), certificate(tmp_path, days=days, name=name)
    trusted(pem if is_trusted else certificate(tmp_path, days=61))
    with encrypting(pem, world.server.port) as url:
        found = officer.examine(server=url)["way.certificate"]
    assert (found.level, found.seen["why"]) == (Level.PROBLEM, why)


def test_an_answer_without_tls_and_a_plain_address_elsewhere_are_problems(
    machine: Callable[[str], Machine], world: World
) -> None:
    officer = machine("officer")
    assert officer.examine(server=f"https://127.0.0.1:{world.server.port}")["way.tls"].seen["reason"] == "tls"
    found = officer.examine(server=f"http://0.0.0.0:{world.server.port}")
    assert found["way.plain"].level is Level.PROBLEM


def test_a_portal_is_no_exchange(machine: Callable[[str], Machine]) -> None:
    with portal() as url:
        found = machine("officer").examine(server=url)
    assert found["way.answer"].error is ErrorCode.UNAVAILABLE
    assert "access" not in found


def test_another_exchange_at_the_address_is_told_and_nothing_is_sent_to_it(
    machine: Callable[[str], Machine], tmp_path: Path
) -> None:
    settings = settings_of(tmp_path / "other")
    app.found(settings, registrars_required=1).close()
    other = Server(settings, time.time)
    other.start()
    try:
        found = machine("officer").examine(server=other.url)
    finally:
        other.stop()
    assert (found["way.exchange"].error, found["way.exchange"].seen) == (ErrorCode.WRONG_ROOT, {"differs": ["root"]})
    assert "access" not in found


def test_the_protocol_s_profile_must_be_the_same_and_one_not_told_is_unknown(
    machine: Callable[[str], Machine], world: World
) -> None:
    officer = machine("officer")
    with relaying(world.server.port, lambda told: told.update(profile="referral-2")) as url:
        found = officer.examine(server=url)["way.profile"]
    assert (found.level, found.seen["profile"], found.seen["expected"]) == (Level.PROBLEM, "referral-2", "referral-1")
    with relaying(world.server.port, lambda told: told.pop("profile")) as url:
        assert officer.examine(server=url)["way.profile"].level is Level.UNKNOWN


# The time.


@pytest.mark.parametrize(("wrong_s", "level"), [(30, Level.WARNING), (-120, Level.PROBLEM), (7200, Level.PROBLEM)])
def test_a_wrong_clock_is_told_by_how_much(machine: Callable[[str], Machine], wrong_s: int, level: Level) -> None:
    officer = machine("officer")
    found = officer.examine(clock=lambda: time.time() + wrong_s)
    assert found["clock"].level is level
    assert abs(int(str(found["clock"].seen["skew_s"])) - wrong_s) <= 2
    # Up to an hour the exchange's time is used; beyond it a person has to mend the clock.
    assert found["access"].level is (Level.OK if abs(wrong_s) <= 3600 else Level.PROBLEM)


def test_who_tells_the_time_is_compared(machine: Callable[[str], Machine], world: World) -> None:
    officer = machine("officer")
    with relaying(world.server.port, lambda _: None, formatdate(time.time() - 3600, usegmt=True)) as url:
        found = officer.examine(server=url)
    assert (found["clock"].level, found["clock.sources"].level) == (Level.OK, Level.WARNING)
    assert abs(int(str(found["clock.sources"].seen["apart_s"])) - 3600) <= 2
    with relaying(world.server.port, lambda told: told.pop("server_time")) as url:
        assert officer.examine(server=url)["clock.not-told"].level is Level.UNKNOWN


@pytest.mark.parametrize(
    ("says", "code", "level"),
    [
        ("echo yes", "clock.kept", Level.OK),
        ("echo no", "clock.kept", Level.WARNING),
        ("exit 1", "clock.unseen", Level.UNKNOWN),
        ("echo maybe", "clock.unseen", Level.UNKNOWN),
    ],
)
def test_whether_the_network_sets_the_clock_is_the_system_s_word_and_never_guessed(
    machine: Callable[[str], Machine],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    says: str,
    code: str,
    level: Level,
) -> None:
    monkeypatch.setenv("PATH", kept_clock(tmp_path, says))
    assert machine("officer").examine()[code].level is level


# What waits, and what ends.


def test_what_waits_in_the_outbox_is_counted_with_its_age(machine: Callable[[str], Machine], world: World) -> None:
    operator = machine("operator")
    client = world.client("operator")
    entry_ = client.queue(composition())
    shutil.copy(client.directory.outbox, operator.path)
    for part in ("-wal", "-shm"):
        shutil.copy(f"{client.directory.outbox}{part}", operator.path)
    waits = operator.examine(server=AWAY)["outbox"]
    assert (waits.level, waits.seen["waiting"], waits.command) == (Level.WARNING, 1, "referral outbox flush")
    later = operator.examine(server=AWAY, clock=lambda: time.time() + 2 * DAY)["outbox"]
    assert (later.level, int(str(later.seen["oldest_s"])) >= 2 * DAY) == (Level.PROBLEM, True)
    client.outbox.sending(entry_.outgoing.id, int(time.time()))
    client.outbox.needs_resealing(entry_.outgoing.id, ErrorCode.RECIPIENT_KEY_STALE)
    other = client.queue(composition()).outgoing.id
    client.outbox.refused(other, ErrorCode.CONSENT_GATE)
    for part in ("", "-wal", "-shm"):
        shutil.copy(f"{client.directory.outbox}{part}", operator.path)
    found = operator.examine(server=AWAY)
    assert found["outbox.reseal"].command == f"referral outbox reseal {entry_.outgoing.id}"
    assert found["outbox.refused"].seen == {"count": 1}


@pytest.mark.parametrize(("days", "level"), [(29, Level.OK), (31, Level.WARNING), (46, Level.PROBLEM)])
def test_an_encryption_key_s_age_is_told_before_and_after_it_can_be_sealed_to(
    machine: Callable[[str], Machine], days: int, level: Level
) -> None:
    officer = machine("officer")
    found = officer.examine(server=AWAY, clock=lambda: time.time() + days * DAY + 60)
    assert (found["keys.age"].level, found["keys.age"].seen["days"]) == (level, days)
    assert found["parties.unreachable"].level is (Level.WARNING if days > 45 else Level.OK)
    assert found["keys.open"].level is (Level.PROBLEM if days > 45 else Level.OK)
    if level is not Level.OK:
        assert found["keys.age"].command == "referral keys rotate"


def test_private_halves_that_should_be_gone_and_credentials_that_end_are_told(
    machine: Callable[[str], Machine],
) -> None:
    officer = machine("officer")
    assert officer.examine(server=AWAY)["keys.destroy"].level is Level.OK
    old = officer.examine(server=AWAY, clock=lambda: time.time() + 76 * DAY)["keys.destroy"]
    assert (old.level, old.seen["count"], old.seen["days"]) == (Level.WARNING, 1, 76)
    for days, level in ((334, Level.OK), (340, Level.WARNING), (366, Level.PROBLEM)):
        ending = officer.examine(server=AWAY, clock=lambda days=days: time.time() + days * DAY)["credential.until"]
        assert ending.level is level


def test_a_newcomer_who_waits_is_told_whose_turn_it_is(world: World, tmp_path: Path) -> None:
    from referral_api.formats.enrolment import parse_invitation

    office = Office(world.folder, world.server)
    described = entry("nueva", "police_unit", duty_phone="+51731234568", escalation=["nadie"])
    office.join("nueva", parse_invitation(world.registrar.invite(described, [CredentialKind.PERSON])), described)
    world.seats.pop("nueva", None)
    newcomer = Machine(world.folder / "profiles" / "nueva", world.server.url)
    found = newcomer.examine()
    assert found["access"].error is not None
    assert found["access"].level is Level.PROBLEM


def test_a_revoked_credential_is_told_and_no_longer_let_in(founded: Founded, tmp_path: Path) -> None:
    with World(founded, tmp_path / "world") as world:
        operator = world.client("operator")
        calls = operator.session.keymap.find_credential(str(operator.profile.service))
        assert calls is not None
        operator.revoke(calls.access, "lost", operator.session.now())
        operator.sync_keys()
        service = world.seats["calls"].secret
        assert service is not None
        key = operator.directory.path / "service.key"
        key.write_bytes(service)
        key.chmod(0o600)
        machine = Machine(operator.directory.path, world.server.url)
        found = machine.examine(person=False)
    assert found["credential.revoked"].command == "referral keys recover"
    assert found["access"].error is ErrorCode.INVALID_TOKEN


def test_lost_leaves_stay_a_problem_until_somebody_agrees(founded: Founded, tmp_path: Path) -> None:
    from tests.story.test_next_term import audit_of, live, newest_note, run_new_origin
    from tests.story.test_recovery import back_up, lose_disk

    with World(founded, tmp_path / "world") as world:
        world.operator.submit(composition())
        folder = back_up(world)
        live(world)
        note = newest_note(world, audit_of(world))
        lose_disk(world, folder)
        run_new_origin(world, note)
        world.server.start()
        world.close_clients()
        machine = Machine(world.folder / "profiles" / "operator", world.server.url)
        lost = machine.examine()["losses"]
        assert (lost.level, lost.seen["open"], lost.command) == (Level.PROBLEM, 1, "referral loss")
        operator = world.client("operator")
        for one in operator.losses():
            operator.accept_loss(one.log)
        lost = machine.examine()["losses"]
        assert (lost.level, lost.seen["agreed"]) == (Level.OK, 1)


def test_witnesses_that_have_not_been_seen_for_hours_are_told(witnessed_world: World) -> None:
    from tests.story.test_witnesses import eventually, is_witnessed

    eventually(witnessed_world, lambda: is_witnessed(witnessed_world, "keys"))
    witnessed_world.client("officer").sync_keys()
    machine = Machine(witnessed_world.folder / "profiles" / "officer", witnessed_world.server.url)
    found = machine.examine()["witnesses"]
    assert (found.level, found.seen) == (Level.OK, {"quorum": 2, "witnesses": 3})
    found = machine.examine(server=AWAY, clock=lambda: time.time() + 2 * 3600)["witnesses.stale"]
    assert (found.level, abs(int(str(found.seen["since_at"])) - time.time()) < 120) == (Level.WARNING, True)


def test_a_key_that_no_quorum_has_seen_reaches_nobody_yet(witnessed: Founded, tmp_path: Path) -> None:
    """R-101: what the log lists counts for senders once the witnesses have cosigned it; here none of them answers."""
    with World(witnessed, tmp_path / "world") as world:
        world.client("officer").sync_keys()
        found = Machine(world.folder / "profiles" / "officer", world.server.url).examine()
    assert (found["witnesses"].level, found["witnesses"].error) == (Level.PROBLEM, ErrorCode.NOT_WITNESSED)
