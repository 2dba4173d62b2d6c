"""What `referral admin doctor` finds at an exchange, running or not: each finding by what really causes it."""

from __future__ import annotations

import fcntl
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from referral_api import __version__
from referral_api.auditlog.policy import Policy, format_policy, parse_policy, policy_of
from referral_api.domain.findings import Finding, Level
from referral_api.domain.words import Act, CredentialKind
from referral_api.formats.enrolment import parse_invitation
from referral_api.server.service.doctor import Premises, Room, books, examine
from referral_api.server.service.doctor.street import look_at_process
from referral_api.server.storage.keyfiles import create_signers
from tests.client.world import OFFICER, REGISTRAR, directory
from tests.formats import parties_world as pw
from tests.front import answering, certificate, encrypting, kept_clock
from tests.lying_witness import LyingWitness, policy_at
from tests.server.storage.ledger import roll_back, tamper
from tests.story.test_closed import closed
from tests.story.test_witnesses import eventually, is_witnessed
from tests.world import ISSUER, WITNESSES, Founded, Office, World, entry

DAY = 24 * 3600
Examined = dict[str, Finding]


def premises(world: World, **changes: Any) -> Premises:
    settings = world.settings
    policy = None if settings.witness_policy is None else parse_policy(settings.read_witness_policy())
    file = settings.data_dir / "exchange.sqlite"
    return replace(
        Premises(
            settings.issuer, settings.environment, settings.database, file if not settings.database_url else None,
            settings.data_dir, settings.keys_dir, settings.signer_dir,
            f"http://127.0.0.1:{world.server.port}", settings.several_hosts, policy, "exchange.toml",
        ),
        **changes,
    )  # fmt: skip


def found(world: World, *, ahead_s: float = 0, **changes: Any) -> Examined:
    """Every finding by its code; of the several of one code the worst."""
    levels = list(Level)
    examined: Examined = {}
    for one in examine(premises(world, **changes), time.time() + ahead_s):
        if one.code not in examined or levels.index(one.level) > levels.index(examined[one.code].level):
            examined[one.code] = one
    return examined


@pytest.fixture(scope="module")
def served(founded: Founded, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """An exchange that runs, for what changes nothing of it."""
    with World(founded, tmp_path_factory.mktemp("doctor") / "world") as made:
        made.submit()
        yield made


@pytest.fixture(autouse=True)
def _kept_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", kept_clock(tmp_path))


def test_a_clock_that_nothing_sets_is_a_problem_and_one_not_known_is_no_good_news(
    served: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert found(served)["clock.kept"].level is Level.OK
    monkeypatch.setenv("PATH", kept_clock(tmp_path, "echo no"))
    assert found(served)["clock.kept"].level is Level.PROBLEM
    monkeypatch.setenv("PATH", str(tmp_path))
    assert found(served)["clock.unseen"].level is Level.UNKNOWN


@pytest.fixture
def resting(founded: Founded, tmp_path: Path) -> World:
    """An exchange at rest, for what is done to its files."""
    return World(founded, tmp_path / "world")


def files_of(world: World) -> dict[str, str]:
    folders = (world.settings.signer_dir, world.settings.keys_dir)
    return {str(one): sha256(one.read_bytes()).hexdigest() for folder in folders for one in folder.iterdir()}


def test_a_running_exchange_is_examined_without_a_lock_and_goes_on_as_it_was(served: World) -> None:
    before = files_of(served)
    states = [path.open("rb+") for path in served.settings.signer_dir.glob("*.signer")]
    try:
        for state in states:
            fcntl.flock(state, fcntl.LOCK_EX)
        examined = found(served)
    finally:
        for state in states:
            state.close()
    assert files_of(served) == before
    served.submit()
    # Of the world of tests, which hangs on single persons and is not reached under its public name.
    asked = {code for code, one in examined.items() if one.asks}
    assert asked == {"keyholders.one", "issuer"}
    assert examined["process.version"].seen == {"runs": __version__, "installed": __version__}
    assert examined["process"].seen["signs"] == "here"
    assert examined["signer"].seen["size"] == examined["signer"].seen["signed"]


def test_a_stopped_exchange_is_examined_too_and_said_to_be_stopped(resting: World) -> None:
    examined = found(resting, listens="http://127.0.0.1:9")
    assert examined["process.none"].command == "referral admin serve --config exchange.toml"
    assert [examined[code].level for code in ("settings", "host.keys", "signer", "database.engine")] == [Level.OK] * 4
    # Nothing was left behind that would keep the exchange from starting.
    resting.server.start()
    resting.server.stop()


def test_folders_and_files_that_others_may_enter_are_problems(resting: World) -> None:
    settings = resting.settings
    settings.keys_dir.chmod(0o755)
    (settings.data_dir / "exchange.sqlite").chmod(0o644)
    examined = found(resting)
    assert examined["host.folder"].seen == {"folder": "keys_dir", "mode": "0755"}
    assert (examined["database.file"].level, examined["database.file"].seen["mode"]) == (Level.PROBLEM, "0644")
    (settings.keys_dir / "receipt.pem").chmod(0o640)
    exposed = found(resting)["host.keys"]
    assert (exposed.level, exposed.seen["reason"], exposed.seen["use"]) == (Level.PROBLEM, "keys-exposed", "receipt")


def test_room_is_measured_in_each_folder(resting: World) -> None:
    free = shutil.disk_usage(resting.folder).free
    assert found(resting)["host.disk"].level is Level.OK
    assert found(resting, room=Room(2 * free, 1))["host.disk"].level is Level.WARNING
    assert found(resting, room=Room(3 * free, 2 * free))["host.disk"].level is Level.PROBLEM
    assert found(resting)["host.one-disk"].level is Level.NOTE


def test_keys_of_another_exchange_are_told_from_missing_ones(resting: World) -> None:
    kept = resting.settings.keys_dir.rename(resting.folder / "kept")
    create_signers(resting.settings.keys_dir)
    examined = found(resting)
    assert examined["host.keys-differ"].seen == {"uses": ["token", "receipt", "act", "log"]}
    # What was signed before still fits: it is the next signature that would be another's.
    assert examined["signer"].level is Level.OK
    shutil.rmtree(resting.settings.keys_dir)
    shutil.copytree(kept, resting.settings.keys_dir)
    (resting.settings.keys_dir / "act.pem").unlink()
    assert found(resting)["host.keys"].seen["reason"] == "keys-missing"
    shutil.copy(kept / "log.pem", resting.settings.keys_dir / "act.pem")
    assert found(resting)["host.keys"].seen["reason"] == "keys-reused"


def test_a_signer_s_disk_that_is_away_is_two_findings(resting: World) -> None:
    shutil.rmtree(resting.settings.signer_dir)
    examined = found(resting)
    assert examined["host.folder-missing"].seen["folder"] == "signer_dir"
    assert examined["signer.closed"].seen["reason"] == "signer-state-missing"
    # Where the exchange runs on several hosts, another one signs.
    assert found(resting, several_hosts=True)["signer.elsewhere"].level is Level.NOTE


def test_what_was_signed_is_held_against_the_database(resting: World) -> None:
    (state,) = resting.settings.signer_dir.glob("audit-*.signer")
    raw = state.read_bytes()
    url, log = resting.settings.database, f"audit/{state.stem.removeprefix('audit-')}"
    with closing(sqlite3.connect(resting.settings.data_dir / "exchange.sqlite")) as conn:
        (size,) = conn.execute("select size from log_state where log = ?", (log,)).fetchone()
    told = [one.seen for one in examine(premises(resting), time.time()) if one.code == "signer"]
    assert told[-1] == {"log": log, "size": size, "signed": size, "reason": None}
    state.write_bytes(bytes(len(raw)))
    assert found(resting)["signer.closed"].seen["reason"] == "signer-state-unreadable"
    state.write_bytes(raw)
    tamper(url, "UPDATE log_signer SET fence = fence + 1")
    assert found(resting)["signer.closed"].seen["reason"] == "signer-fenced"
    tamper(url, "UPDATE log_signer SET fence = fence - 1")
    roll_back(url, size - 1, log)
    short = found(resting)["signer.closed"]
    assert (short.level, short.seen) == (
        Level.PROBLEM, {"log": log, "size": size - 1, "signed": size, "reason": "database-shorter"},
    )  # fmt: skip


def test_a_state_from_a_copy_and_a_database_that_differs_are_found(founded: Founded, tmp_path: Path) -> None:
    with World(founded, tmp_path / "world") as world:
        (state,) = world.settings.signer_dir.glob("audit-*.signer")
        old = state.read_bytes()
        for _ in range(3):
            world.submit()
    new = state.read_bytes()
    state.write_bytes(old)
    assert found(world)["signer.closed"].seen["reason"] == "signer-state-rolled-back"
    state.write_bytes(new)
    log = f"audit/{state.stem.removeprefix('audit-')}"
    tamper(world.settings.database, f"UPDATE log_entry SET leaf = {{0}} WHERE log = '{log}' AND idx = 3", (b"x",))
    assert found(world)["signer.closed"].seen["reason"] == "database-differs"


def test_a_database_that_is_away_behind_or_no_log_is_told(resting: World) -> None:
    file = resting.settings.data_dir / "exchange.sqlite"
    tamper(resting.settings.database, "UPDATE alembic_version SET version_num = '0004'")
    behind = found(resting)["database"]
    assert (behind.seen["reason"], behind.command) == ("schema-behind", "referral admin migrate --config exchange.toml")
    with closing(sqlite3.connect(file)) as conn:
        conn.execute("pragma journal_mode = delete")
    assert found(resting)["database.file"].seen["wal"] is False
    file.unlink()
    examined = found(resting)
    assert examined["database"].seen["reason"] == "database-missing"
    # The street is seen without books.
    assert "process.none" in examined


def test_a_keys_log_that_was_changed_does_not_end_the_examination(resting: World) -> None:
    tamper(resting.settings.database, "UPDATE log_entry SET leaf = {0} WHERE log = 'keys' AND idx = 2", (b"x",))
    examined = found(resting)
    assert (examined["database.content"].level, examined["database.content"].command) == (
        Level.PROBLEM, "referral audit db --config exchange.toml",
    )  # fmt: skip
    assert "backups" in examined


def test_settings_that_are_not_the_genesis_act_s_are_named(resting: World) -> None:
    witness = LyingWitness("w.example")
    given = found(resting, issuer="http://localhost:9", policy=policy_of(1, [witness.key]))["settings.differ"]
    assert (given.level, given.seen["differs"]) == (Level.PROBLEM, ["issuer", "witness_policy"])


@pytest.mark.parametrize(("ahead_s", "reason"), [(31 * DAY, "clock-ahead"), (-2 * 3600, "clock-behind")])
def test_a_clock_that_cannot_be_right_is_told_with_its_runbook(resting: World, ahead_s: int, reason: str) -> None:
    assert found(resting)["host.clock"].level is Level.OK
    wrong = found(resting, ahead_s=ahead_s)["host.clock-wrong"]
    assert (wrong.seen["reason"], wrong.command) == (reason, "referral admin clock --config exchange.toml")


def test_a_closed_exchange_says_why_and_its_spooled_reads_are_counted(sqlite_world: World) -> None:
    world = sqlite_world
    ref = str(world.submit().outgoing.ref)
    assert found(world)["host.spools"].level is Level.OK
    with closed(world):
        world.officer.open(ref)
        examined = found(world)
        assert examined["process.closed"].seen == {"reason": "signer-state-missing"}
        assert examined["process.away"].seen["away"] == ["writes"]
        assert (examined["host.spools"].level, examined["host.spools"].seen["count"]) == (Level.WARNING, 1)
    assert found(world)["host.spools"].level is Level.OK


def test_another_version_that_runs_and_a_process_that_is_none_of_ours_are_told() -> None:
    ready = {"checks": {"database": True}, "closed": None, "signs": "here", "witnesses": "none"}
    with answering({"/readyz": ready, "/version": {"version": "0.0.9"}}) as url:
        examined = {one.code: one for one in look_at_process(of_street(url))}
    assert (examined["process"].level, examined["process.version"].level) == (Level.OK, Level.WARNING)
    accused = {"late": False, "standing": {"w1": "ok", "w2": "forked", "w3\x1b": "ok"}}
    with answering({"/readyz": ready | {"witnesses": accused}, "/version": {}}) as url:
        examined = {one.code: one for one in look_at_process(of_street(url))}
    assert (examined["process.witnesses"].level, examined["process.witnesses"].seen["standing"]) == (
        Level.PROBLEM, ["w2: forked"],
    )  # fmt: skip
    with answering({"/readyz": {"nothing": 1}}) as url:
        examined = {one.code: one for one in look_at_process(of_street(url))}
    assert examined["process.away"].seen["away"] == ["checks"]


def of_street(listens: str) -> Premises:
    here = Path("/nonexistent")
    return Premises(
        ISSUER, "sandbox", "", None, here, here, here, listens, several_hosts=False, policy=None, config="c"
    )


@pytest.mark.parametrize(("days", "level"), [(60, Level.OK), (20, Level.WARNING), (2, Level.PROBLEM)])
def test_the_public_certificate_is_told_before_it_ends(
    served: World, trusted: Callable[[Path], None], tmp_path: Path, days: int, level: Level
) -> None:
    pem = certificate(tmp_path, days=days)
    trusted(pem)
    with encrypting(pem, served.server.port) as url:
        examined = found(served, issuer=url)
    assert (examined["issuer.certificate"].level, examined["issuer.certificate"].seen["days"]) == (level, days)
    # What answers there is not what these settings name.
    assert examined["issuer.other"].level is Level.PROBLEM


def test_a_public_address_whose_certificate_has_ended_or_is_plain_is_told(
    served: World, trusted: Callable[[Path], None], tmp_path: Path
) -> None:
    pem = certificate(tmp_path, days=-1)
    trusted(pem)
    with encrypting(pem, served.server.port) as url:
        assert found(served, issuer=url)["issuer"].seen["why"] == "ended"
    assert found(served, issuer=f"http://0.0.0.0:{served.server.port}")["issuer.plain"].level is Level.PROBLEM
    assert found(served, issuer="http://a..b")["issuer"].seen["why"] == "name"


def test_witnesses_are_reached_and_their_last_quorum_is_dated(witnessed_world: World) -> None:
    world = witnessed_world
    eventually(world, lambda: is_witnessed(world, "keys"))
    examined = found(world)
    assert (examined["quorum"].level, examined["quorum"].seen["behind"]) == (Level.OK, 0)
    assert (examined["witnesses.away"].level, examined["witnesses.away"].seen["total"]) == (Level.OK, 3)
    assert examined["process.witnesses"].level is Level.OK
    assert found(world, ahead_s=1200)["quorum"].level is Level.WARNING
    assert found(world, ahead_s=2 * 3600)["quorum"].level is Level.PROBLEM
    policy = parse_policy(world.settings.read_witness_policy())
    away = [replace(one, url="http://127.0.0.1:9/x") if at == 0 else one for at, one in enumerate(policy.witnesses)]
    told = found(world, policy=replace(policy, witnesses=tuple(away)))["witnesses.away"]
    assert (told.level, told.seen["count"], told.seen["total"]) == (Level.WARNING, 1, 3)


def test_a_log_that_no_quorum_has_ever_cosigned_is_a_problem(
    witnessed: Founded, three: list[LyingWitness], tmp_path: Path
) -> None:
    world = World(witnessed, tmp_path / "world")
    (world.folder / WITNESSES).write_bytes(format_policy(policy_at(three)))
    assert found(world)["quorum.never"].level is Level.PROBLEM


def test_registrars_keyholders_and_ends_are_told_by_party(served: World) -> None:
    examined = found(served)
    assert examined["registrars"].seen == {"persons": 2, "required": 2}
    assert examined["keyholders.one"].seen["count"] == examined["keyholders.one"].seen["total"] == 7
    later = found(served, ahead_s=46 * DAY)
    assert (later["parties.unreachable"].level, later["parties.unreachable"].seen["count"]) == (Level.PROBLEM, 5)
    ending = found(served, ahead_s=340 * DAY)["credentials.ending"]
    assert (ending.level, ending.seen["count"]) == (Level.WARNING, 7)
    soon = {days: found(served, ahead_s=days * DAY)["registrars.ending"] for days in (300, 310)}
    assert [(one.level, one.seen["lasting"]) for one in soon.values()] == [(Level.OK, 2), (Level.PROBLEM, 0)]
    ended = found(served, ahead_s=366 * DAY)
    assert ended["registrars"].seen["persons"] == 0
    assert ended["keyholders.none"].level is Level.PROBLEM


def test_an_enrolment_that_waits_for_days_is_told(founded: Founded, tmp_path: Path) -> None:
    with World(founded, tmp_path / "world") as world:
        office, described = Office(world.folder, world.server), entry("nueva", "police_unit", duty_phone="+51731234568")
        office.join("nueva", parse_invitation(world.registrar.invite(described, [CredentialKind.PERSON])), described)
        assert found(world)["enrolments.old"].level is Level.OK
        old = found(world, ahead_s=73 * 3600)["enrolments.old"]
        assert (old.level, old.seen["parties"], old.command) == (Level.WARNING, ["nueva"], "referral enrolments")


def test_a_statement_that_waits_for_the_registrar_is_told() -> None:
    log = directory()
    waiting = pw.person("nueva", "of6www", algs=OFFICER.algs, keyholder=True)
    log.put(*waiting.entries())
    log.put(
        waiting.sign(Act.STATEMENT, pw.statement_body("nueva", "police_unit", [waiting], duty_phone="+51730000201"))
    )
    examined = {one.code: one for one in books.look_at_directory(log.keymap, pw.NOW)}
    assert examined["statements.waiting"].seen["parties"] == ["nueva"]
    assert examined["registrars"].seen == {"persons": 1, "required": 1}
    assert REGISTRAR.party in str(examined["keyholders.one"].seen["parties"])


@pytest.mark.postgres
def test_a_postgresql_that_does_not_sync_is_a_problem(postgres_world: World) -> None:
    """The tests' own server does not; what it says is what is judged."""
    engine = found(postgres_world)["database.engine"]
    assert (engine.level, engine.seen["engine"]) == (Level.PROBLEM, "postgresql")
    assert engine.seen["settings"] == ["fsync=off", "synchronous_commit=on", "full_page_writes=off"]
    examined = found(postgres_world)
    assert "database.file" not in examined
    assert (examined["signer"].level, examined["settings"].level) == (Level.OK, Level.OK)


def test_an_empty_policy_is_no_policy(resting: World) -> None:
    assert found(resting, policy=Policy())["settings"].level is Level.OK
