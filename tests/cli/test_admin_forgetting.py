"""The operator's side of forgetting: `admin retention`, `erase`, `hold`, `rules`, and how long a backup lives."""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
from contextlib import closing as closing_connection
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest

from referral_api.auditlog.leaf import parse_leaf
from referral_api.cli.texts import say
from referral_api.domain.errors import ErrorCode
from referral_api.domain.rules import DEFAULT
from referral_api.domain.words import Act, RetentionClass, State
from referral_api.formats.exchange_bodies import rules_wire
from referral_api.server import app
from referral_api.server.service import retention
from referral_api.server.service.erasure import Erasure
from referral_api.server.storage import sqlite
from tests.auditlog.refusals import refused
from tests.cli.terminal import Terminal
from tests.cli.test_recovery import config_of, referral
from tests.story.test_forgetting import DAY_S, closed, kept_texts, pass_days, sweep
from tests.world import HOTLINE, NATIONAL, UNIT, World, check_database
from tests.world_check import Rows


@pytest.fixture
def ahead(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """By how much the commands' clock is ahead of this machine's."""
    real, jump = time.time, [0.0]
    monkeypatch.setattr(time, "time", lambda: real() + jump[0])
    return jump


def test_the_operator_sees_what_goes_when_who_keeps_it_and_what_never_goes(
    sqlite_world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """R-107, beside the running exchange: counts, dates, owners; what nobody acknowledged is an alarm (rule R1)."""
    world = sqlite_world
    going, held, unread = closed(world), closed(world), str(world.submit().outgoing.ref)
    review_at = int(world.clock()) + 2 * DAY_S
    world.act("officer", held, Act.HOLD, {"on": True, "basis": "court_order", "review_at": review_at})
    config = config_of(world)
    code, told = referral(capsys, "admin", "retention", "--config", config)
    assert code == 0, "it may still be acknowledged in time"
    listed = {one["ref"]: one for one in told["going"] if one["unit"] == UNIT}
    assert set(listed) == {going, held}
    assert listed[going]["purge_at"] == world.operator.referral(going).standings[UNIT].purge_at
    hold = {"party": UNIT, "by": world.officer.keys.credential, "basis": "court_order", "review_at": review_at}
    assert (listed[held]["holds"], listed[going]["holds"]) == ([hold], [])
    assert referral(capsys, "admin", "retention", "--within", "6", "--config", config)[1]["going"] == []
    assert referral(capsys, "admin", "hold", "--config", config) == (
        0, {"schema": told["schema"], "next": [], "holds": [{"ref": held, "unit": UNIT, "overdue": False, **hold}]},
    )  # fmt: skip

    for days in (1, 1, 1):
        pass_days(world, days)
    with world.server.runtime.exchange.database.read() as conn:
        found = list(retention.kept(conn, world.server.runtime.exchange.ruling.book, int(world.clock())))
    never = {(one.ref, one.unit) for one in found if one.unread}
    assert never == {(unread, UNIT), (unread, NATIONAL)}
    assert world.operator.referral(unread).chronicle.deliveries[UNIT].state is State.EXPIRED


def test_what_is_never_purged_and_what_is_overdue_for_review_ends_the_command_with_an_alarm(
    sqlite_world: World, capsys: pytest.CaptureFixture[str], ahead: list[float]
) -> None:
    world = sqlite_world
    unread, held = str(world.submit().outgoing.ref), closed(world)
    review_at = int(world.clock()) + 3600
    world.act("operator", held, Act.HOLD, {"on": True, "basis": "audit", "review_at": review_at}, unit=UNIT)
    world.server.stop()
    ahead[0] = 2 * 3600
    code, told = referral(capsys, "admin", "retention", "--config", config_of(world))
    assert (code, [one["ref"] for one in told["never"]]) == (10, [unread])
    code, told = referral(capsys, "admin", "hold", "--config", config_of(world))
    assert (code, [(one["ref"], one["party"], one["overdue"]) for one in told["holds"]]) == (
        10, [(held, HOTLINE, True)],
    )  # fmt: skip
    ahead[0] = 0
    world.server.start()


def _place(pos: int) -> int:
    return pos & (1 << 36) - 1


def test_what_is_purged_and_old_is_erased_and_nothing_else(
    sqlite_world: World, capsys: pytest.CaptureFixture[str], ahead: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """R-99, R-107: one is too young, one is not purged; and what a crash between two acts left is gone on from."""
    world = sqlite_world
    old, held, fresh = closed(world), closed(world), closed(world, retention="standard")
    pass_days(world, 7)
    assert kept_texts(world, old) == kept_texts(world, held) == []
    assert kept_texts(world, fresh)
    with world.server.runtime.exchange.database.read() as conn:
        found = {one.ref: one for one in retention.erasable(conn, int(world.clock()) + 1)}
        younger = {one.ref: one.obstacle for one in retention.erasable(conn, int(world.clock()) - DAY_S)}
    assert {ref: one.obstacle for ref, one in found.items()} == {old: None, held: None, fresh: "not-purged"}
    assert younger == {old: "younger", held: "younger", fresh: "not-purged"}

    # As if the process had died after the first of several acts.
    exchange = world.server.runtime.exchange
    acts = retention.portions(found[old].positions)
    term, indices = acts[0]
    world.server.runtime.writer.run(Erasure(exchange, old, term, indices[3:], "retention_ended"))
    world.check()
    check_database(world)
    with exchange.database.read() as conn:
        begun = {one.ref: one for one in retention.erasable(conn, 0)}
    assert begun[old].obstacle is None, "what has begun is finished, whatever its age"
    assert begun[old].positions == found[old].positions[:3]
    assert begun[held].obstacle == "younger"
    world.server.stop()

    config = config_of(world)
    later, clock = world.clock.ahead_s, world.clock
    ahead[0], clock.ahead_s = later, 0.0
    runs = partial(app.open_runtime, clock=clock, runs_on=clock.runs_on)
    monkeypatch.setattr("referral_api.cli.admin.settings.server.open_runtime", runs)
    tomorrow = time.strftime("%Y-%m-%d", time.gmtime(time.time()))
    code, told = referral(capsys, "admin", "retention", "erase", "--before", tomorrow, "--basis", "retention_ended",
                          "--config", config)  # fmt: skip
    assert (code, [one["ref"] for one in told["erased"]]) == (0, [old])
    assert told["left"] == {held: "younger", fresh: "not-purged"}
    code, told = referral(capsys, "admin", "retention", "erase", "--before", "2099-01-01", "--basis", "retention_ended",
                          "--config", config)  # fmt: skip
    assert (code, told["error"]["code"]) == (2, "day-to-come")
    code, told = referral(capsys, "admin", "retention", "erase", "--before", "2001-01-01", "--basis", "whim",
                          "--config", config)  # fmt: skip
    assert (code, told["error"]["code"]) == (2, "no-such-code")
    ahead[0], clock.ahead_s = 0.0, later
    world.server.start()
    rows = Rows(world)
    for table in ("record", "sealed", "feed", "delivery", "referral", "alarm"):
        assert not any(old in str(row) for row in rows[table]), table
    assert {row["act"] for row in rows["act"] if row["ref"] == old} == {"erase"}
    report = world.auditor.audit()
    assert report.complete, report.faults
    assert {(one.unit, one.state) for one in report.final_states[old]} == {(UNIT, "purged"), (NATIONAL, "purged")}


def test_portions_of_an_erasure_end_with_the_submission_and_fit_into_acts() -> None:
    year = 2026 << 40
    positions = [year + at for at in range(5, 3005)] + [year + (1 << 40) + at for at in range(3)]
    acts = retention.portions(positions)
    assert [(str(term.log), len(indices)) for term, indices in acts] == [
        ("audit/2027", 3), ("audit/2026", 1024), ("audit/2026", 1024), ("audit/2026", 952),
    ]  # fmt: skip
    assert acts[-1][1][0] == 5, "the referral is known until its submission goes"
    assert sorted(index for term, indices in acts if term.year == 2026 for index in indices) == list(range(5, 3005))
    assert all(indices == sorted(indices) for _, indices in acts)


def _rules(path: Path, **changes: Any) -> Path:
    path.write_text(json.dumps({**rules_wire(DEFAULT), **changes}))
    return path


def test_rules_are_changed_by_an_act_and_count_for_what_comes_after(
    sqlite_world: World, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """R-105: what differs is shown; the exchange publishes the rules in force; a referral keeps those of its submit."""
    world = sqlite_world
    config = config_of(world)
    before = str(world.submit().outgoing.ref)
    code, shown = referral(capsys, "admin", "rules", "--config", config)
    assert (code, shown["rules"], shown["changed_at"]) == (0, rules_wire(DEFAULT), [])
    wanted = [dict(one) for one in rules_wire(DEFAULT)["retention"]]
    wanted[0]["after_end_s"] = 10 * DAY_S
    path = _rules(tmp_path / "reglas.json", retention=wanted)
    assert (
        referral(capsys, "admin", "rules", "--file", path, "--config", config)[1]["error"]["code"] == "exchange-running"
    )
    world.server.stop()
    code, told = referral(capsys, "admin", "rules", "--file", path, "--config", config)
    assert (code, told["differs"]) == (
        0, [{"where": "retention.standard.after_end_s", "old": str(30 * DAY_S), "new": str(10 * DAY_S)}],
    )  # fmt: skip
    assert referral(capsys, "admin", "rules", "--file", path, "--config", config)[0] == 9, "nothing differs any more"
    code, shown = referral(capsys, "admin", "rules", "show", "--config", config)
    path.write_text(json.dumps(shown))
    assert referral(capsys, "admin", "rules", "--file", path, "--config", config)[0] == 9, "what it prints, it takes"
    time.sleep(2)  # A change counts from the second after its leaf on.
    world.server.start()
    published = httpx2.get(f"{world.server.url}/.well-known/referral-configuration").json()
    assert published["rules"] == shown["rules"]
    after = closed(world, retention="standard")
    world.acknowledge("officer", before)
    world.act("officer", before, Act.ACCEPT)
    world.act("officer", before, Act.CLOSE, {"outcome": "not_located"})
    now = world.clock()
    spans = [world.operator.referral(ref).standings[UNIT].purge_at or 0 for ref in (before, after)]
    assert [round((at - now) / DAY_S) for at in spans] == [30, 10]
    assert world.auditor.audit().complete


def test_what_a_change_of_rules_differs_in_is_read_while_the_exchange_runs(
    sqlite_world: World, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """It is stopped for the change, not for somebody who reads, thinks, or is called away."""
    world = sqlite_world
    config = config_of(world)
    path = _rules(tmp_path / "reglas.json", transfers="exchange")
    with Terminal("admin", "rules", "--file", str(path), "--config", str(config), folder=world.folder) as terminal:
        terminal.wait(say("es", "ask.rules", count=1))
        assert world.submit().receipt is not None
        world.server.stop()
        terminal.type("s\r")
        assert terminal.end() == 0, terminal.screen
    shown = referral(capsys, "admin", "rules", "show", "--config", config)[1]["rules"]
    assert shown["transfers"] == "exchange"
    world.server.start()


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"transfers": "nobody"}, "/transfers"),
        ({"retention": []}, "/retention"),
        ({"withdrawal_answer_s": 5}, "/withdrawal_answer_s"),
        ({"more": 1}, ": /."),
    ],
    ids=["a role that is none", "a class left out", "a minute at least", "a rule that is none"],
)
def test_a_file_of_rules_that_cannot_be_is_refused_with_its_place(
    sqlite_world: World, capsys: pytest.CaptureFixture[str], tmp_path: Path, changes: dict[str, Any], where: str
) -> None:
    path = _rules(tmp_path / "reglas.json", **changes)
    code, told = referral(capsys, "admin", "rules", "--file", path, "--config", config_of(sqlite_world))
    assert (code, told["error"]["code"]) == (2, "rules-wrong")
    assert where in told["error"]["title"]


def test_a_backup_says_until_when_it_may_be_kept_and_the_doctor_remembers(
    sqlite_world: World, capsys: pytest.CaptureFixture[str], ahead: list[float], tmp_path: Path
) -> None:
    """Rule R4 of the field: backups expire no later than what is in them."""
    world = sqlite_world
    config, copy = config_of(world), tmp_path / "copy"
    code, manifest = referral(capsys, "admin", "backup", "--to", copy, "--config", config)
    shortest = DEFAULT.retention[RetentionClass.SHORT].after_end.total_seconds()
    assert (code, manifest["keep_until"] - manifest["created_at"]) == (0, shortest)
    # What came under shorter rules keeps them, whatever was decided since (R-105).
    world.server.stop()
    for days, name in ((5, "shorter"), (60, "longer")):
        retention = [{**one, "after_end_s": days * DAY_S} for one in rules_wire(DEFAULT)["retention"]]
        rules = _rules(tmp_path / f"{name}.json", retention=retention)
        assert referral(capsys, "admin", "rules", "--file", rules, "--config", config)[0] == 0
        time.sleep(1.1)
    later = referral(capsys, "admin", "backup", "--to", tmp_path / "later", "--config", config)[1]
    assert later["keep_until"] - later["created_at"] == 5 * DAY_S
    world.server.start()
    shutil.rmtree(tmp_path / "later")
    assert json.loads((copy / "manifest.json").read_bytes())["keep_until"] == manifest["keep_until"]

    def doctor() -> tuple[str, dict[str, Any]] | None:
        told = referral(capsys, "admin", "doctor", "--config", config)[1]
        found = [one for one in told["findings"] if one["code"] == "backups.kept"]
        return (found[0]["level"], found[0]["seen"]) if found else None

    assert doctor() == ("ok", {"count": 1, "paths": []})
    ahead[0] = shortest + 60
    assert doctor() == ("warning", {"count": 1, "paths": [str(copy)]})
    (copy / "manifest.json").unlink()
    assert doctor() is None, "what is gone is not warned of"


def test_the_doctor_warns_of_a_file_that_no_purge_has_written_anew(
    sqlite_world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """R-107: beyond a size the sweep leaves the slack of pages to the operator, and he is told so (decision 0033)."""
    world = sqlite_world
    config, file = config_of(world), world.settings.data_dir / "exchange.sqlite"

    def doctor() -> list[dict[str, Any]]:
        told = referral(capsys, "admin", "doctor", "--config", config)[1]
        return [one for one in told["findings"] if one["code"] == "database.slack"]

    closed(world)
    monkeypatch.setattr(sqlite, "REWRITTEN_BYTES", 1)
    pass_days(world, 7)
    sweep(world)
    (warning,) = doctor()
    assert (warning["level"], warning["command"]) == ("warning", f"sqlite3 {file} VACUUM")
    assert warning["seen"]["size_bytes"] > 0
    world.server.stop()
    with closing_connection(sqlite3.connect(file)) as operator:
        operator.execute("VACUUM")
    assert doctor() == []
    world.server.start()


def test_an_erasure_of_what_is_kept_is_refused(sqlite_world: World) -> None:
    """The leaves of what may be erased are those of the log, each dated before the day."""
    world = sqlite_world
    closed(world)
    pass_days(world, 7)
    with world.server.runtime.exchange.database.read() as conn:
        (one,) = retention.erasable(conn, int(world.clock()) + 1)
    leaves = Rows(world).logs[f"audit/{time.gmtime(world.clock()).tm_year}"]
    assert max(parse_leaf(leaves[_place(pos)]).logged_s for pos in one.positions) <= int(world.clock())
    job = Erasure(world.server.runtime.exchange, one.ref, retention.portions(one.positions)[0][0], [0], "court_order")
    refused(ErrorCode.NOT_FOUND, lambda: world.server.runtime.writer.run(job))
