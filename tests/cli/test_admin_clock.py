"""`referral admin clock`: both times are shown, and the operator's word opens what a doubtful clock keeps closed."""

from __future__ import annotations

import httpx2
import pytest

from referral_api.cli.main import run
from tests.cli.test_recovery import config_of, referral
from tests.server.test_writer_batches import record
from tests.world import World

TWO_DAYS_S = 2 * 24 * 3600


def test_the_operators_word_opens_what_a_doubtful_clock_keeps_closed(
    sqlite_world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world = sqlite_world
    config = config_of(world)
    assert referral(capsys, "admin", "clock", "--config", config)[1]["error"]["code"] == "exchange-running"
    world.server.stop()
    code, told = referral(capsys, "admin", "clock", "--config", config)
    assert (code, told["reason"], told["confirmed"]) == (0, None, False)
    # A start under a clock that was wrong by two days, as nobody could tell then.
    world.clock.wrong_s = TWO_DAYS_S
    world.server.start()
    world.server.runtime.writer.run(record)
    world.server.stop()
    world.clock.wrong_s = 0
    code, told = referral(capsys, "admin", "clock", "--config", config)
    assert (code, told["reason"]) == (0, "clock-behind")
    assert told["newest_leaf"] > told["clock"]
    # Nor do other commands write under it.
    code, told = referral(capsys, "admin", "reconcile", "--config", config)
    assert (code != 0, told["error"]["code"]) == (True, "writes-closed")
    assert run(["--lang", "es", "admin", "clock", "--config", str(config)], {}) == 0
    assert "clock-behind" in capsys.readouterr().out
    world.server.start()
    assert httpx2.get(f"{world.server.url}/readyz").json()["closed"] == "clock-behind"
    world.server.stop()
    code, told = referral(capsys, "admin", "clock", "--is-right", "--config", config)
    assert (code, told["reason"], told["confirmed"]) == (0, None, True)
    world.server.start()
    assert httpx2.get(f"{world.server.url}/readyz").json()["closed"] is None
    assert world.submit().receipt is not None
