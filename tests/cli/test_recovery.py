"""Recovery by command: backup, restore, reconcile, signer; each says what it did, what is lost and what follows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from referral_api.cli.main import run
from referral_api.server.settings import Settings
from tests.postgres import create_database, drop_database, programs
from tests.story.test_recovery import receipt_file
from tests.world import World


def referral(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, dict[str, Any]]:
    code = run([*map(str, words), "--json"], {})
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    return int(code), json.loads(out.splitlines()[-1])


def config_of(world: World) -> Path:
    settings: Settings = world.settings
    path = world.folder / "exchange.toml"
    members = {
        "issuer": settings.issuer,
        "environment": settings.environment,
        "data_dir": str(settings.data_dir),
        "keys_dir": str(settings.keys_dir),
        "signer_dir": str(settings.signer_dir),
        "database_url": settings.database_url,
    }
    path.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in members.items()))
    return path


def test_backup_restore_and_reconcile_bring_an_exchange_back(
    sqlite_world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world = sqlite_world
    world.submit()
    config, folder = config_of(world), world.folder / "copy"
    code, made = referral(capsys, "admin", "backup", "--to", folder, "--config", config)
    assert code == 0
    assert {one["log"].partition("/")[0] for one in made["logs"]} == {"audit", "keys"}
    assert not (folder / "keys").exists()
    assert referral(capsys, "admin", "backup", "--to", folder, "--config", config)[0] != 0
    assert referral(capsys, "admin", "restore", "--from", folder, "--verify")[1]["whole"] is True
    last = receipt_file(world.submit(), world.folder / "last.json")
    # A running exchange keeps its database to itself.
    code, told = referral(capsys, "admin", "signer", "show", "--config", config)
    assert (code, told["error"]["code"]) == (2, "exchange-running")
    world.server.stop()
    assert referral(capsys, "admin", "restore", "--from", folder, "--config", config)[0] != 0
    for path in world.settings.data_dir.glob("exchange.sqlite*"):
        path.unlink()
    assert referral(capsys, "admin", "restore", "--from", folder, "--config", config)[0] == 0
    code, told = referral(capsys, "admin", "signer", "show", "--config", config)
    assert {one["log"].partition("/")[0]: one["here"] for one in told["logs"]} == {
        "audit": "database-shorter",
        "keys": "ok",
    }
    code, told = referral(capsys, "admin", "reconcile", "--config", config)
    assert told["error"]["code"] == "writes-closed"
    code, told = referral(capsys, "admin", "reconcile", "--receipts", last, "--config", config)
    assert (code, list(told["imported"].values()), told["closed"], len(told["lost"])) == (0, [1], None, 1)
    code, told = referral(capsys, "admin", "reconcile", "--receipts", last, "--config", config)
    assert (code, told["imported"]) == (0, {})
    world.server.start()


@pytest.mark.postgres
def test_the_same_on_postgresql_with_its_own_programs(
    postgres_world: World, postgres_url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """docs/runbooks.md, the usual way back, word for word."""
    monkeypatch.setenv("PATH", programs())
    world = postgres_world
    world.submit()
    config, folder = config_of(world), world.folder / "copy"
    assert referral(capsys, "admin", "backup", "--to", folder, "--config", config)[0] == 0
    scratch = create_database(postgres_url, "drill")
    proved = referral(capsys, "admin", "restore", "--from", folder, "--verify", "--scratch", scratch)
    assert (proved[0], proved[1]["whole"]) == (0, True)
    drop_database(postgres_url, "drill")
    last = receipt_file(world.submit(), world.folder / "last.json")
    world.server.stop()
    code, told = referral(capsys, "admin", "restore", "--from", folder, "--config", config)
    assert (code != 0, told["error"]["facts"]["reason"]) == (True, "database-exists")
    name = world.settings.database_url.partition("?")[0].rpartition("/")[2]
    drop_database(postgres_url, name)
    create_database(postgres_url, name)
    code, told = referral(capsys, "admin", "restore", "--from", folder, "--config", config)
    assert code == 0, told
    code, told = referral(capsys, "admin", "reconcile", "--config", config)
    assert told["error"]["code"] == "writes-closed"
    code, told = referral(capsys, "admin", "reconcile", "--receipts", last, "--config", config)
    assert (code, list(told["imported"].values()), told["closed"], len(told["lost"])) == (0, [1], None, 1)
    world.server.start()


def test_an_exchange_that_stays_closed_after_reconciling_is_no_success(
    sqlite_world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world = sqlite_world
    world.submit()
    world.server.stop()
    (state,) = world.settings.signer_dir.glob("audit-*.signer")
    moved = state.rename(world.folder / state.name)
    config = config_of(world)
    code, told = referral(capsys, "admin", "reconcile", "--config", config)
    assert (code, told["closed"]) == (8, "signer-state-missing")
    moved.rename(state)
    code, told = referral(capsys, "admin", "reconcile", "--config", config)
    assert (code, told["closed"]) == (0, None)


def test_a_signer_is_adopted_by_command(sqlite_world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world = sqlite_world
    world.submit()
    world.server.stop()
    config = config_of(world)
    assert referral(capsys, "admin", "signer", "adopt", "--config", config)[1]["error"]["code"] == "no-authority"
    states: list[str | Path] = []
    for path in sorted(world.settings.signer_dir.glob("*.signer")):
        moved = path.rename(world.folder / path.name)
        states += ["--state", moved]
    code, told = referral(capsys, "admin", "signer", "adopt", *states, "--config", config)
    assert code == 0
    assert {one["fence"] for one in told["adopted"]} == {2}
    assert run(["--lang", "es", "admin", "signer", "show", "--config", str(config)], {}) == 0
    assert "turno 2" in capsys.readouterr().out
    world.server.start()
    world.submit()


def test_a_backup_that_was_changed_is_not_whole(sqlite_world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world = sqlite_world
    config, folder = config_of(world), world.folder / "copy"
    assert referral(capsys, "admin", "backup", "--to", folder, "--config", config, "--with-keys")[0] == 0
    assert len(list((folder / "keys").glob("*.pem"))) == 4
    database = folder / "exchange.sqlite"
    whole = database.read_bytes()
    database.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    code, told = referral(capsys, "admin", "restore", "--from", folder, "--verify")
    assert (code, told["error"]["code"]) == (5, "tampered")
    database.write_bytes(whole)
    # A manifest that promises more than the backup holds is found by recomputing.
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["logs"][0]["size"] += 1
    (folder / "manifest.json").write_text(json.dumps(manifest))
    code, told = referral(capsys, "admin", "restore", "--from", folder, "--verify")
    assert (code, told["whole"]) == (5, False)
    assert told["faults"] == [f"{manifest['logs'][0]['log']}: manifest"]


def test_another_origin_is_refused_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert referral(capsys, "admin", "reconcile", "--new-origin")[1]["error"]["code"] == "new-origin"
    assert run(["--lang", "en", "admin", "reconcile", "--new-origin"], {}) == 2
    assert "--checkpoint FILE" in capsys.readouterr().err
