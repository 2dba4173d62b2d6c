"""`World.check()` is worth something: whatever is broken behind the exchange's back, it notices."""

from __future__ import annotations

import base64
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from referral_api.domain.words import Act
from tests.world import CANARY, Founded, World
from tests.world_check import shows_canary


@contextmanager
def tampering(world: World) -> Iterator[sqlite3.Connection]:
    """The database's file in the hands of its owner, who drops the triggers that stand in his way."""
    with closing(sqlite3.connect(world.settings.data_dir / "exchange.sqlite", isolation_level=None)) as connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
            connection.execute(f'DROP TRIGGER "{name}"')
        yield connection


@pytest.fixture(scope="module")
def at_rest(founded: Founded, tmp_path_factory: pytest.TempPathFactory) -> Founded:
    """An exchange on which a referral was sent, read, acknowledged and asked about; it does not run."""
    folder = tmp_path_factory.mktemp("lived")
    with World(founded, folder) as world:
        ref = str(world.submit().outgoing.ref)
        world.acknowledge("officer", ref)
        world.act("officer", ref, Act.ASK, {"topics": ["timing"]}, note="¿Hasta cuándo?")
    return Founded(folder, founded.seats, "", founded.heads)


@pytest.fixture
def lived(at_rest: Founded, tmp_path: Path) -> World:
    """A copy of it, which holds until somebody breaks it."""
    world = World(at_rest, tmp_path / "world")
    world.check()
    return world


BROKEN = {
    "an act's signature is changed": (
        "UPDATE act SET jws = replace(jws, 'signature\":\"', 'signature\":\"A') WHERE act = 'ack'"
    ),
    "an act is gone": "DELETE FROM act WHERE act = 'ack'",
    "an act stands twice": (
        "INSERT INTO act SELECT pos + 1000, 'x' || digest, iss, 'x' || id, party, act, ref, unit, prev, jws, outcome,"
        " code, receipt, carrier, received_at FROM act WHERE act = 'ack'"
    ),
    "a receipt is another act's": (
        "UPDATE act SET receipt = (SELECT receipt FROM act WHERE act = 'submit') WHERE act = 'ack'"
    ),
    "a column says another party": "UPDATE act SET party = 'pnp-nacional' WHERE act = 'ack'",
    "a leaf is changed": (
        "UPDATE log_entry SET leaf = CAST(replace(CAST(leaf AS TEXT), 't\":1', 't\":2') AS BLOB)"
        " WHERE log <> 'keys' AND idx = 5"
    ),
    "the last leaf is gone": (
        "DELETE FROM log_entry WHERE log <> 'keys' AND idx = (SELECT max(idx) FROM log_entry WHERE log <> 'keys')"
    ),
    "a leaf of the keys log is gone": "DELETE FROM log_entry WHERE log = 'keys' AND idx = 7",
    "a record is changed": "UPDATE record SET body = replace(body, 'pnp-trata-piura', 'pnp-trata-lima')",
    "a state is changed": "UPDATE delivery SET state = 'accepted' WHERE state = 'acknowledged'",
    "a head is changed": "UPDATE delivery SET head = (SELECT digest FROM act WHERE act = 'submit')",
    "a time is changed": "UPDATE delivery SET retrieved_at = retrieved_at + 1 WHERE retrieved_at IS NOT NULL",
    "a question is forgotten": "UPDATE delivery SET questions = '[]' WHERE questions <> '[]'",
    "a delivery is gone": "DELETE FROM delivery WHERE state = 'held'",
    "ciphertext is changed": "UPDATE sealed SET body = CAST(replace(CAST(body AS TEXT), 'A', 'B') AS BLOB)",
    "ciphertext is gone": "DELETE FROM sealed",
    "a question is not pending": "UPDATE feed SET pending = 0 WHERE kind = 'ask'",
    "an answered line is pending": "UPDATE feed SET pending = 1 WHERE kind = 'submit'",
    "a note of information is pending": "UPDATE feed SET pending = 1 WHERE kind = 'ack'",
    "a held delivery is in an inbox": (
        "INSERT INTO feed SELECT 'pnp-nacional', pos, act_digest, act_id, kind, ref, 'pnp-nacional', sender, urgency,"
        " at, '', 0 FROM feed WHERE kind = 'submit' AND unit IS NOT NULL"
    ),
    "plaintext is in a column": "UPDATE feed SET urgency = '{canary}'",
    "plaintext is in base64 in a blob": "INSERT INTO poll VALUES ('{base64}', 1)",
}


@pytest.mark.parametrize("statement", BROKEN.values(), ids=BROKEN.keys())
def test_what_is_broken_in_the_database_is_noticed(lived: World, statement: str) -> None:
    with tampering(lived) as connection:
        encoded = base64.b64encode(b"x" + CANARY.encode() + b"y").decode()
        changed = connection.execute(statement.replace("{base64}", encoded).replace("{canary}", CANARY))
        assert changed.rowcount > 0, "the statement broke nothing"
    with pytest.raises(AssertionError):
        lived.check()


def _in_a_file(world: World) -> None:
    (world.settings.data_dir / "spool").write_text(CANARY)


def _in_the_log(world: World) -> None:
    world._tee.write(f"work_failed {CANARY}\n")


def _on_the_wire(world: World) -> None:
    world.tape.append(b"GET /v1/inbox?after=" + CANARY.encode().hex().encode())


@pytest.mark.parametrize("leak", [_in_a_file, _in_the_log, _on_the_wire])
def test_a_leak_outside_the_database_is_noticed(lived: World, leak: Callable[[World], None]) -> None:
    leak(lived)
    with pytest.raises(AssertionError, match="plaintext"):
        lived.check()


def test_a_signer_that_has_not_signed_all_of_the_log_is_noticed(lived: World) -> None:
    state = next(lived.settings.signer_dir.glob("*audit*"))
    before = state.read_bytes()
    with lived:
        lived.desk.referral(str(lived.operator.outbox.entries()[0].outgoing.ref))
    lived.check()
    state.write_bytes(before)
    with pytest.raises(AssertionError, match="signed for"):
        lived.check()


def test_a_log_that_shrank_since_the_last_check_is_noticed(lived: World, at_rest: Founded) -> None:
    with lived:
        lived.desk.referral(str(lived.operator.outbox.entries()[0].outgoing.ref))
    lived.check()
    for folder in ("data", "signer"):
        shutil.rmtree(lived.folder / folder)
        shutil.copytree(at_rest.folder / folder, lived.folder / folder)
    with pytest.raises(AssertionError, match="shrunk"):
        lived.check()


def test_the_canary_is_recognised_in_what_the_officer_opens_and_not_in_what_is_sent(lived: World) -> None:
    with lived:
        ref = str(lived.operator.outbox.entries()[0].outgoing.ref)
        assert shows_canary(lived.officer.open(ref).body.situation.summary.encode())
        answer = lived.caller("officer").call("GET", f"/v1/referrals/{ref}/bundle")
    assert answer.status == 200
    assert not shows_canary(answer.body)
