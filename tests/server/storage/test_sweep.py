"""What a purge leaves of ciphertext in the engine's files: on SQLite nothing, on PostgreSQL what decision 0033 says."""

from __future__ import annotations

import hashlib
import random
import shutil
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from referral_api.server.storage import erasures, queries, sqlite
from referral_api.server.storage.database import Database
from tests.traces import hex_digest_of_files, left_of

SIZES = (200, 1_000, 4_000, 8_100, 8_200, 20_000, 70_000)


def texts(seed: int, count: int) -> dict[int, bytes]:
    """Ciphertext of many sizes, by position."""
    chance = random.Random(seed)  # noqa: S311 - nothing is secret
    return {pos: chance.randbytes(chance.choice(SIZES)) for pos in range(1, count + 1)}


def keep(database: Database, kept: dict[int, bytes]) -> None:
    with database.write() as tx:
        for pos, text in kept.items():
            queries.insert_sealed(tx, pos, hashlib.sha256(text).hexdigest(), text)


def purge(database: Database, positions: Iterable[int]) -> None:
    with database.write() as tx, tx.savepoint():
        erasures.empty_sealed(tx, list(positions))


@settings(max_examples=12)
@example(seed=10179, rounds=[9, 3])
@example(seed=1736404157, rounds=[6, 9])
@given(seed=st.integers(0, 2**32), rounds=st.lists(st.integers(1, 12), min_size=1, max_size=4))
def test_no_file_of_the_engine_holds_a_piece_of_what_was_purged(
    tmp_path_factory: pytest.TempPathFactory, seed: int, rounds: list[int]
) -> None:
    """Rule R4 of the field, whatever else was written and purged. The two examples left pieces in pages' slack."""
    folder = tmp_path_factory.mktemp("swept")
    kept = texts(seed, 30)
    waiting = list(kept)
    random.Random(seed).shuffle(waiting)  # noqa: S311 - as above
    with Database.create(f"sqlite:///{folder}/exchange.db") as database:
        gone: list[int] = []
        for number, count in enumerate(rounds):
            fresh = {pos: text for pos, text in kept.items() if pos % len(rounds) == number}
            keep(database, fresh)
            known = [pos for pos in waiting if pos in fresh or pos % len(rounds) < number][:count]
            waiting = [pos for pos in waiting if pos not in known]
            purge(database, known)
            gone += known
        assert left_of([kept[pos] for pos in gone], folder), "the WAL was empty by itself"
        assert not database.swept
        assert database.sweep()
        assert left_of([kept[pos] for pos in gone], folder) == []
        with database.read() as conn:
            found = {row[0]: row[1] for row in conn.all("SELECT pos, body FROM sealed WHERE body IS NOT NULL")}
    assert found == {pos: text for pos, text in kept.items() if pos in found}
    assert not found.keys() & set(gone)


def test_a_reader_in_the_way_puts_it_off_and_no_longer(tmp_path: Path) -> None:
    kept = texts(1, 8)
    with Database.create(f"sqlite:///{tmp_path}/exchange.db") as database:
        keep(database, kept)
        with closing(sqlite3.connect(f"file:{tmp_path}/exchange.db?mode=ro", uri=True)) as onlooker:
            onlooker.execute("BEGIN")
            onlooker.execute("SELECT count(*) FROM sealed").fetchone()
            purge(database, kept)
            assert not database.sweep()
            assert left_of(kept.values(), tmp_path), "the reader still sees it"
            keep(database, {100: b"written meanwhile"})
        assert not database.swept
        assert database.sweep()
        assert left_of(kept.values(), tmp_path) == []


def test_what_a_killed_process_left_is_cleared_away_by_the_next(tmp_path: Path) -> None:
    kept, alive, dead = texts(2, 8), tmp_path / "alive", tmp_path / "dead"
    alive.mkdir()
    with Database.create(f"sqlite:///{alive}/exchange.db") as database:
        keep(database, kept)
        purge(database, kept)
        shutil.copytree(alive, dead)
    assert left_of(kept.values(), dead)
    with Database.open(f"sqlite:///{dead}/exchange.db") as database:
        assert not database.swept, "a WAL was left behind"
        assert database.sweep()
        assert left_of(kept.values(), dead) == []


def test_whoever_closes_sweeps_what_was_forgotten_a_moment_ago(tmp_path: Path) -> None:
    with Database.create(f"sqlite:///{tmp_path}/exchange.db") as database:
        keep(database, texts(10179, 30))
        purge(database, range(1, 31, 2))
    gone = [text for pos, text in texts(10179, 30).items() if pos % 2]
    assert left_of(gone, tmp_path) == []
    with Database.open(f"sqlite:///{tmp_path}/exchange.db") as database:
        assert database.swept


def test_a_file_too_large_to_be_written_anew_says_so_until_somebody_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Decision 0033: the sweep ends, and what it did not do is not kept quiet; the operator's own VACUUM ends that."""
    url, file = f"sqlite:///{tmp_path}/exchange.db", tmp_path / "exchange.db"
    kept = texts(10179, 30)
    with Database.create(url) as database:
        keep(database, kept)
        purge(database, [1])
        assert database.sweep()
        assert database.slack_bytes() == 0
        monkeypatch.setattr(sqlite, "REWRITTEN_BYTES", 1)
        purge(database, range(3, 31, 2))
        assert database.sweep()
        assert database.slack_bytes() == file.stat().st_size
    with Database.look(url) as database:
        assert database.slack_bytes() > 0, "another process is told as well"
    with Database.migrate(url) as database:
        assert database.slack_bytes() > 0
    gone = [text for pos, text in kept.items() if pos % 2]
    with closing(sqlite3.connect(file)) as operator:
        operator.execute("VACUUM")
    assert left_of(gone, tmp_path) == []
    with Database.look(url) as database:
        assert database.slack_bytes() == 0


def test_where_nothing_was_forgotten_nothing_is_swept(tmp_path: Path) -> None:
    with Database.create(f"sqlite:///{tmp_path}/exchange.db") as database:
        assert database.sweep()
        keep(database, texts(3, 3))
        purge(database, [])
        before = hex_digest_of_files(tmp_path)
        assert database.sweep()
        assert hex_digest_of_files(tmp_path) == before, "an ordinary commit is checkpointed when its time has come"


@pytest.mark.postgres
def test_on_postgresql_no_row_is_left_to_be_read_and_what_the_files_hold_is_the_operators(
    postgres_database: str,
) -> None:
    kept = texts(4, 12)
    with Database.create(postgres_database) as database:
        keep(database, kept)
        purge(database, list(kept)[:6])
        assert database.sweep()
        with psycopg.connect(postgres_database, autocommit=True) as session:
            told = _told(session)
            assert {name: dead for name, dead, _ in told} == {"sealed": 0, "toast": 0}
            assert all(vacuumed for _, _, vacuumed in told)
            options = session.execute("SELECT reloptions FROM pg_class WHERE relname = 'sealed'").fetchone()
            assert options is not None
            assert "autovacuum_vacuum_scale_factor=0" in options[0]
            # What the runbook has the operator do, where the files themselves must not hold it any more.
            session.execute("VACUUM FULL sealed")
            session.execute("CHECKPOINT")
            files = [_file(session, name) for name in ("sealed", _toast(session))]
        assert left_of([kept[pos] for pos in list(kept)[:6]], *files) == []
        assert left_of([kept[pos] for pos in list(kept)[6:]], *files), "these files are where they stood"


def _told(session: psycopg.Connection) -> list[tuple[str, int, bool]]:
    session.execute("SELECT pg_stat_clear_snapshot()")
    found = session.execute(
        "SELECT CASE WHEN relname = 'sealed' THEN relname ELSE 'toast' END, n_dead_tup, last_vacuum IS NOT NULL"
        " FROM pg_stat_all_tables WHERE relname = 'sealed' OR relid = (SELECT reltoastrelid FROM pg_class"
        " WHERE relname = 'sealed')"
    ).fetchall()
    return [(str(name), int(dead), bool(vacuumed)) for name, dead, vacuumed in found]


def _toast(session: psycopg.Connection) -> str:
    found = session.execute("SELECT reltoastrelid::regclass::text FROM pg_class WHERE relname = 'sealed'").fetchone()
    assert found is not None
    return str(found[0])


def _file(session: psycopg.Connection, name: str) -> Path:
    found = session.execute(
        "SELECT current_setting('data_directory'), pg_relation_filepath(%s::regclass)", (name,)
    ).fetchone()
    assert found is not None
    return Path(str(found[0]), str(found[1]))
