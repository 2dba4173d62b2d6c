"""`referral audit db`: green over what an exchange wrote, red and exact over what somebody changed, never halfway."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from referral_api.cli.main import run
from tests.cli.test_admin import Exchange, init, referral


@pytest.fixture
def founded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    code, told = init(capsys, tmp_path / "x", "--sandbox")
    assert code == 0
    return told


def audit(capsys: pytest.CaptureFixture[str], founded: dict[str, Any], *words: str) -> tuple[int, dict[str, Any]]:
    return referral(capsys, "audit", "db", "--config", founded["config"], *words)


def database(founded: dict[str, Any]) -> Path:
    return Path(founded["config"]).parent / "data" / "exchange.sqlite"


def test_a_database_that_agrees_is_green_with_the_root_that_everybody_pins(
    founded: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    code, told = audit(capsys, founded)
    assert (code, told["complete"], told["differences"], told["pinned"]) == (0, True, [], False)
    assert told["root"] == founded["root"]
    assert told["rows"]["act"] == 2
    assert "poll.last_at" in told["not_compared"]
    code, told = audit(capsys, founded, "--root", founded["root"])
    assert (code, told["pinned"]) == (0, True)


def test_it_runs_beside_a_running_exchange(
    founded: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exchange = Exchange(Path(founded["config"]), tmp_path / "log")
    try:
        assert audit(capsys, founded)[0] == 0
    finally:
        assert exchange.stop() == 0
    assert audit(capsys, founded)[0] == 0


def test_what_was_changed_is_told_by_place_and_never_by_value(
    founded: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(sqlite3.connect(database(founded), isolation_level=None)) as connection:
        connection.execute("UPDATE invitation SET party = 'ajeno'")
    code, told = audit(capsys, founded)
    assert (code, told["complete"], told["count"]) == (1, False, 1)
    [difference] = told["differences"]
    assert (difference["table"], difference["column"], difference["what"]) == ("invitation", "party", "differs")
    assert run(["audit", "db", "--config", founded["config"], "--lang", "en"], {}) == 1
    out, _ = capsys.readouterr()
    assert "THE DATABASE DISAGREES: 1 differences" in out
    assert "invitation" in out
    assert "ajeno" not in out


def test_another_root_is_no_success(founded: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    code, told = audit(capsys, founded, "--root", "A" * 43)
    assert (code, told["differences"][0]["what"]) == (1, "wrong-root")
    code, told = audit(capsys, founded, "--root", "nothing")
    assert (code, told["error"]["code"]) == (2, "malformed")


def test_what_cannot_be_read_is_neither_green_nor_red(
    founded: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    database(founded).unlink()
    code, told = audit(capsys, founded)
    assert (code, told["error"]["code"]) == (3, "unavailable")
    assert json.dumps(told).count("Traceback") == 0
    code, told = referral(capsys, "audit", "db", "--config", "nowhere.toml")
    assert (code, told["error"]["code"]) == (2, "config-missing")
