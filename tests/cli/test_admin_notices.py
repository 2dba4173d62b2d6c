"""`referral admin notices test` and what the doctor says: by party and number, and never an address."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from referral_api.cli.main import run
from tests.cli.test_recovery import config_of, referral
from tests.receiving import CANARY, ENOUGH_S, Receiver, with_plan, write_plan
from tests.world import HOTLINE, UNIT, World


def test_one_notice_goes_over_each_channel_and_is_told_by_number(
    sqlite_world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world = sqlite_world
    config = config_of(world)
    code, told = referral(capsys, "admin", "notices", "test", UNIT, "--config", config)
    assert (code, told["error"]["code"]) == (2, "no-notices")
    with Receiver() as well, Receiver(status=500) as refusing:
        parties = {UNIT: [well.address("unit1"), refusing.address("unit2")]}
        plan = write_plan(world.folder / "notices.toml", parties, admin=[well.address("admin")])
        config.write_text(config.read_text() + f'notices = "{plan}"\n')
        code, told = referral(capsys, "admin", "notices", "test", UNIT, "--config", config)
        outcomes = [{"channel": 1, "outcome": "taken"}, {"channel": 2, "outcome": "not-taken"}]
        assert (code, told["party"], told["channels"]) == (10, UNIT, outcomes)
        code, told = referral(capsys, "admin", "notices", "test", "--config", config)
        assert (code, told["party"], told["channels"]) == (0, None, [{"channel": 1, "outcome": "taken"}])
        assert well.of("unit1")[0].raw == well.of("admin")[0].raw
        code, told = referral(capsys, "admin", "notices", "test", HOTLINE, "--config", config)
        assert (code, told["error"]["code"]) == (6, "no-channels")
        for lang in ("es", "en"):
            assert run(["--lang", lang, "admin", "notices", "test", UNIT, "--config", str(config)], {}) == 10
            out, err = capsys.readouterr()
            assert "✔" in out
            assert "✖" in out
            assert CANARY not in out + err
        plan.chmod(0o644)
        code, told = referral(capsys, "admin", "notices", "test", UNIT, "--config", config)
        assert (code != 0, told["error"]["facts"]["reason"]) == (True, "notices-exposed")


def test_the_doctor_says_which_channels_fail_and_what_is_wrong_with_the_file(
    sqlite_world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world = sqlite_world
    with Receiver(status=500) as refusing:
        parties = {UNIT: [refusing.address("unit1"), refusing.address("unit2")]}
        plan = write_plan(world.folder / "notices.toml", parties, delay_s=[0, 0], digest_s=0)
        with_plan(world, plan)
        config = config_of(world)
        config.write_text(config.read_text() + f'notices = "{plan}"\nport = {world.server.port}\n')
        config.chmod(0o600)
        assert findings(capsys, config)["process.notices"]["level"] == "ok"
        world.submit()
        ends = time.monotonic() + ENOUGH_S
        while findings(capsys, config)["process.notices"]["seen"]["failing"] < 2 and time.monotonic() < ends:
            time.sleep(0.1)
        found = findings(capsys, config)
        assert found["settings.notices"]["seen"] == {"channels": 2}
        told = found["process.notices"]
        assert (told["level"], told["seen"]["failing"], told["seen"]["channels"]) == ("warning", 2, 2)
        assert [which.partition(":")[0] for which in told["seen"]["which"]] == [f"{UNIT} 1", f"{UNIT} 2"]
        assert told["command"] == f"referral admin notices test {UNIT} --config {config}"
        plan.write_text("delay_s = 1\n")
        assert findings(capsys, config)["settings.notices"]["level"] == "problem"
        for lang in ("es", "en"):
            assert run(["--lang", lang, "admin", "doctor", "--config", str(config)], {}) == 10
            out, err = capsys.readouterr()
            assert UNIT in out
            assert CANARY not in out + err
    with_plan(world, None)


def findings(capsys: pytest.CaptureFixture[str], config: Path) -> dict[str, dict[str, Any]]:
    """What the doctor finds, by code."""
    _, told = referral(capsys, "admin", "doctor", "--config", config)
    return {one["code"]: one for one in told["findings"]}
