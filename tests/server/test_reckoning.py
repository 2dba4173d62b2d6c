"""`audit db`: an exchange that lived agrees with its logs, and whatever was changed in its tables is named."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Act
from referral_api.formats.strict_json import b64u
from referral_api.server.service.reckoning import Findings, reckon
from referral_api.server.storage import inventory
from referral_api.server.storage.database import Database
from referral_api.server.storage.tables import METADATA
from tests.auditlog.refusals import refused
from tests.story.test_check_notices import BROKEN, tampering
from tests.whole_life import live_whole
from tests.world import ISSUER, UNIT, Founded, World
from tests.world_check import Rows


def audit(url: str, root: bytes | None = None, issuer: str = ISSUER) -> Findings:
    with Database.look(url) as database, database.read(snapshot=True) as conn:
        return reckon(conn, root=root, issuer=issuer)


def places(findings: Findings) -> set[tuple[str, str | None]]:
    return {(one.table, one.column) for one in findings.differences}


def test_a_whole_life_agrees_with_its_logs_while_the_exchange_runs(world: World) -> None:
    live_whole(world, leaves=300)
    findings = audit(world.settings.database)
    assert findings.differences == []
    assert findings.complete
    assert set(findings.rows) == set(inventory.tables()) - {"erasure", "sealed_lost"}
    assert min(findings.rows.values()) > 0
    assert findings.root == b64u(world.server.runtime.exchange.keymap.root)
    assert findings.signed.keys() == findings.sizes.keys()


@pytest.fixture(scope="module")
def at_rest(founded: Founded, tmp_path_factory: pytest.TempPathFactory) -> Founded:
    folder = tmp_path_factory.mktemp("reckoned")
    with World(founded, folder) as world:
        live_whole(world, leaves=300)
    return Founded(folder, founded.seats, "", founded.heads)


@pytest.fixture
def lived(at_rest: Founded, tmp_path: Path) -> World:
    return World(at_rest, tmp_path / "world")


EXPECTED: dict[str, set[tuple[str, str | None]]] = {
    "an act's signature is changed": {("act", "jws")},
    "an act is gone": {("act", None), ("delivery", "state")},
    "an act stands twice": {("act", None)},
    "a receipt is another act's": {("act", "receipt")},
    "a column says another party": {("act", "party")},
    "a leaf is changed": {("log_entry", "leaf")},
    "the last leaf is gone": {("log_state", "size")},
    "a leaf of the keys log is gone": {("log_entry", None)},
    "a record is changed": {("record", "body")},
    "a state is changed": {("delivery", "state")},
    "a head is changed": {("delivery", "head")},
    "a time is changed": {("delivery", "retrieved_at")},
    "a question is forgotten": {("delivery", "questions")},
    "a delivery is gone": {("delivery", None)},
    "ciphertext is changed": {("sealed", "body")},
    "ciphertext is gone": {("sealed", None)},
    "a question is not pending": {("feed", "pending")},
    "an answered line is pending": {("feed", "pending")},
    "a note of information is pending": {("feed", "pending")},
    "a held delivery is in an inbox": {("feed", None)},
    "plaintext is in a column": {("feed", "urgency")},
}
MORE = {
    "a line of an inbox is gone": ("DELETE FROM feed WHERE kind = 'ack'", ("feed", None)),
    "ciphertext is purged and no act says so": ("UPDATE sealed SET body = NULL", ("sealed", "body")),
    "an invitation is gone": (
        "PRAGMA foreign_keys = OFF; DELETE FROM invitation WHERE enrolment IS NOT NULL",
        ("invitation", None),
    ),
    "an enrolment is voided": ("UPDATE enrolment SET state = 'void'", ("enrolment", "state")),
    "an enrolment has other keys": (
        "UPDATE enrolment SET body = replace(body, '\"st1\"', '\"st9\"')",
        ("enrolment", "body"),
    ),
    "ciphertext is called lost": (
        "INSERT INTO sealed_lost SELECT pos FROM sealed; UPDATE sealed SET body = NULL",
        ("sealed_lost", None),
    ),
    "a leaf is called erased": ("INSERT INTO erasure VALUES (7, 'digest')", ("erasure", None)),
    "a tile is gone": ("DELETE FROM log_tile WHERE lvl = 0", ("log_tile", None)),
    "a tile too many": ("INSERT INTO log_tile VALUES ('keys', 0, 9, x'00')", ("log_tile", None)),
    "a checkpoint is of another size": (
        "UPDATE log_checkpoint SET size = size + 100000 WHERE log = 'keys' AND size = 55",
        ("log_checkpoint", None),
    ),
    "a checkpoint is called witnessed": (
        "UPDATE log_checkpoint SET witnessed_at = 1",
        ("log_checkpoint", "witnessed_at"),
    ),
    "a record is far away": ("UPDATE record SET pos = pos + 100000 WHERE kind = 'viewed'", ("record", None)),
    "a log that is none": ("INSERT INTO log_state VALUES ('audit/abc', 0, x'0000000000000000')", ("log_state", "log")),
    "an act was accepted that was refused": (
        "UPDATE act SET outcome = 'accepted', code = NULL WHERE outcome = 'refused'",
        ("act", "outcome"),
    ),
}


@pytest.mark.parametrize("what", EXPECTED)
def test_what_the_check_of_every_story_notices_is_noticed_and_named(lived: World, what: str) -> None:
    with tampering(lived) as connection:
        assert connection.execute(BROKEN[what].replace("{canary}", "x")).rowcount > 0
    findings = audit(lived.settings.database)
    assert not findings.complete
    assert places(findings) >= EXPECTED[what], findings.differences


@pytest.mark.parametrize("what", MORE)
def test_what_else_is_changed_is_noticed_and_named(lived: World, what: str) -> None:
    sql, expected = MORE[what]
    with tampering(lived) as connection:
        before = connection.total_changes
        connection.executescript(sql)
        assert connection.total_changes > before
    findings = audit(lived.settings.database)
    assert expected in places(findings), findings.differences


def test_a_changed_leaf_is_named_by_its_place_beside_the_record_that_it_fits_no_more(lived: World) -> None:
    """Where what the log's key signed is not what stands in the log, the record may be the true one of the two."""
    with tampering(lived) as connection:
        log, index, leaf = connection.execute(
            "SELECT log, idx, leaf FROM log_entry WHERE log <> 'keys' AND idx = 5"
        ).fetchone()
        changed = leaf[:6] + bytes([leaf[6] ^ 1]) + leaf[7:]
        connection.execute("UPDATE log_entry SET leaf = ? WHERE log = ? AND idx = ?", (changed, log, index))
    found = audit(lived.settings.database).differences
    assert ("log_entry", f"{log}#{index}", "leaf") in {(one.table, one.key, one.column) for one in found}, found


def test_another_root_or_issuer_is_refused(lived: World) -> None:
    url = lived.settings.database
    for findings in (audit(url, root=b"\x00" * 32), audit(url, issuer="https://else.example")):
        assert [(one.table, one.key, one.what) for one in findings.differences] == [
            ("log_entry", "keys#0", ErrorCode.WRONG_ROOT.value)
        ]


def test_looking_writes_nothing_and_keeps_the_exchange_out_of_a_file_that_nobody_has(lived: World) -> None:
    url = lived.settings.database
    before = (lived.settings.data_dir / "exchange.sqlite").read_bytes()
    with Database.look(url) as database:
        assert refused(ErrorCode.UNAVAILABLE, Database.open, url) == "database-in-use"
        assert not database.writable
        with pytest.raises(ReferralError) as caught, database.write():
            raise AssertionError("nobody writes here")
        assert caught.value.code is ErrorCode.WRITES_CLOSED
        with database.read() as conn, pytest.raises(ReferralError):
            conn.run("DELETE FROM poll")
    assert (lived.settings.data_dir / "exchange.sqlite").read_bytes() == before
    Database.open(url).close()


def test_an_interrupted_write_is_seen_as_far_as_it_was_committed(lived: World) -> None:
    """A killed exchange leaves its newest commits in the WAL alone; they are looked at like all else."""
    path = lived.settings.data_dir / "exchange.sqlite"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute("INSERT INTO erasure VALUES (7, 'digest')")
        copy = lived.folder / "copy"
        copy.mkdir()
        for name in (path.name, f"{path.name}-wal"):
            (copy / name).write_bytes((path.parent / name).read_bytes())
    findings = audit(f"sqlite:///{copy / path.name}")
    assert places(findings) == {("erasure", None)}


def columns() -> Iterator[tuple[str, str]]:
    for table in METADATA.tables.values():
        for column in table.columns:
            yield table.name, column.name


def test_every_column_is_evidence_derived_or_says_why_it_is_neither() -> None:
    standing = [
        *(
            (table, column)
            for part in (inventory.EVIDENCE, inventory.DERIVED)
            for table in part
            for column in part[table]
        ),
        *((table, column) for table, reasons in inventory.LOOSE.items() for column in reasons),
    ]
    assert len(set(standing)) == len(standing), "a column has two standings"
    assert set(standing) - {("alembic_version", "version_num")} == set(columns())
    assert all(len(reason) > 20 for reasons in inventory.LOOSE.values() for reason in reasons.values())


def test_no_table_of_the_database_is_unknown_to_the_classification(lived: World) -> None:
    with closing(sqlite3.connect(lived.settings.data_dir / "exchange.sqlite")) as connection:
        names = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    assert names == inventory.EVIDENCE.keys() | inventory.DERIVED.keys() | inventory.LOOSE.keys()


def test_a_text_that_is_kept_after_its_purge_and_an_alarm_that_is_missing_are_named(sqlite_world: World) -> None:
    """R-106, R-107: what a purge took must be gone, and every referral that waits for a clock is looked at."""
    world = sqlite_world
    ref = str(world.submit().outgoing.ref)
    world.acknowledge("officer", ref)
    (text,) = [row for row in Rows(world)["sealed"] if row["pos"] in {act["pos"] for act in acts_of(world, ref)}]
    asked = world.act("officer", ref, Act.PURGE_REQUEST, {"reason": "court_order"}).outgoing.digest
    world.act("operator", ref, Act.APPROVE, {"answers": asked}, unit=UNIT)
    waiting = str(world.submit().outgoing.ref)
    world.server.stop()
    good = audit(world.settings.database)
    assert good.complete, good.differences
    with tampering(world) as connection:
        connection.execute("UPDATE sealed SET body = ? WHERE pos = ?", (text["body"], text["pos"]))
        connection.execute("DELETE FROM alarm WHERE ref = ?", (waiting,))
        connection.execute("INSERT INTO alarm VALUES ('0190a1b2-0000-7000-8000-000000000000', 5)")
    found = {(one.table, one.column, one.what, one.reason) for one in audit(world.settings.database).differences}
    assert ("sealed", "body", "extra", "purged") in found
    assert {("alarm", None, "missing", None), ("alarm", None, "extra", None)} <= found
    with tampering(world) as connection:
        connection.execute("UPDATE sealed SET body = NULL WHERE pos = ?", (text["pos"],))
        connection.execute("DELETE FROM alarm WHERE at = 5")
        connection.execute("UPDATE alarm SET at = at + 1")
        at = connection.execute("SELECT count(*) FROM alarm").fetchone()[0]
    assert places(audit(world.settings.database)) == ({("alarm", "at"), ("alarm", None)} if at else {("alarm", None)})
    with tampering(world) as connection:
        connection.execute("UPDATE alarm SET at = at - 1")
        connection.execute("INSERT INTO alarm VALUES (?, 1)", (waiting,))
    world.server.start()
    world.server.catch_up()
    assert audit(world.settings.database).complete, "the clocks have set it right by looking"


def acts_of(world: World, ref: str) -> list[dict[str, Any]]:
    return [row for row in Rows(world)["act"] if row["ref"] == ref]
