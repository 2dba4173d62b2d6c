"""`referral admin keys`: the operator changes the exchange's own keys while it runs (R-37)."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from referral_api.cli.admin import keys as admin_keys
from referral_api.domain.words import KeyUse
from tests.cli.test_recovery import config_of, referral
from tests.story.test_server_keys import eventually, keymap_of
from tests.world import World


def test_a_key_is_announced_by_the_running_exchange_shown_and_in_the_end_deleted(
    sqlite_world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = sqlite_world
    config = config_of(world)
    real, jump = time.time, [0]
    monkeypatch.setattr(time, "time", lambda: real() + jump[0])
    code, told = referral(capsys, "admin", "keys", "rotate", "--use", "receipt", "--config", config)
    assert (code, told["announced"], told["until"] - told["from"]) == (0, True, 24 * 3600)
    assert Path(told["file"]).stat().st_mode & 0o777 == 0o600
    code, again = referral(capsys, "admin", "keys", "rotate", "--use", "receipt", "--config", config)
    assert (code != 0, again["error"]["code"]) == (True, "statement-out-of-sequence")
    assert len(list(world.settings.keys_dir.glob("receipt.*"))) == 2, "the refused key is gone again"
    _, shown = referral(capsys, "admin", "keys", "show", "--config", config)
    mine = [one for one in shown["keys"] if one["use"] == "receipt"]
    assert [(one["state"], one["here"]) for one in mine] == [("counts", True), ("coming", True)]
    assert referral(capsys, "admin", "keys", "prune", "--config", config)[0] == 9
    jump[0] = told["until"] + 1 - int(real())
    code, gone = referral(capsys, "admin", "keys", "prune", "--config", config)
    assert (code, [one["kid"] for one in gone["deleted"]]) == (0, [told["replaces"]])
    assert [path.name for path in world.settings.keys_dir.glob("receipt*.pem")] == [f"receipt.{told['kid']}.pem"]
    world.restart()
    world.submit()
    _, shown = referral(capsys, "admin", "keys", "show", "--config", config)
    assert [(one["state"], one["here"]) for one in shown["keys"] if one["use"] == "receipt"] == [
        ("ended", False),
        ("counts", True),
    ]


def test_the_logs_next_key_is_shown_as_others_pin_it(sqlite_world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world = sqlite_world
    code, told = referral(capsys, "admin", "keys", "rotate", "--use", "log", "--config", config_of(world))
    assert (code, told["until"] - told["from"]) == (0, 30 * 24 * 3600)
    assert all(one.startswith("localhost:8440/v1/log/") for one in told["vkeys"])


def test_a_stopped_exchange_announces_it_when_it_starts(
    sqlite_world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = sqlite_world
    world.server.stop()
    monkeypatch.setattr(admin_keys, "WAIT_S", 0.5)
    words = ("admin", "keys", "rotate", "--use", "token", "--at-once")
    code, told = referral(capsys, *words, "--config", config_of(world))
    assert (code, told["announced"]) == (8, False)
    world.server.start()
    eventually(lambda: not list(world.settings.keys_dir.glob("*.asked")))
    assert told["kid"] in {one.kid for one in keymap_of(world).exchange_keys(KeyUse.TOKEN)}
    world.submit()


@pytest.mark.parametrize("words", [("--use", "seal"), ("--use", "log", "--at-once")])
def test_what_cannot_be_changed_is_told(
    sqlite_world: World, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    config = config_of(sqlite_world)
    code, told = referral(capsys, "admin", "keys", "rotate", *words, "--config", config)
    assert (code, told["error"]["code"]) == (2, "server-key-use")
