"""The PostgreSQL that other tests stand on: it is real, private, and gone afterwards."""

from __future__ import annotations

import contextlib
from pathlib import Path

import psycopg
import pytest

from tests.postgres import create_database, drop_database, start_postgres


@pytest.mark.postgres
def test_postgres_starts_answers_notifies_and_leaves_nothing_behind() -> None:
    with start_postgres() as url:
        folder = Path(url.partition("host=")[2])
        other = create_database(url, "another")
        with psycopg.connect(other, autocommit=True) as listener, psycopg.connect(other, autocommit=True) as speaker:
            listener.execute("LISTEN acts")
            speaker.execute("SELECT pg_notify('acts', 'unit')")
            heard = next(listener.notifies(timeout=5, stop_after=1))
            assert heard.payload == "unit"
            row = speaker.execute("SELECT current_database(), current_setting('listen_addresses')").fetchone()
            assert row == ("another", "")
            drop_database(url, "another")
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(other)
    assert not folder.exists()
    assert not [line for line in _command_lines() if str(folder) in line]


def _command_lines() -> list[str]:
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # A process may end while we look.
            found.append(file.read_text(errors="replace"))
    return found


@pytest.mark.postgres
def test_a_durable_postgres_syncs_every_commit() -> None:
    with start_postgres(durable=True) as url, psycopg.connect(url) as connection:
        assert connection.execute("SHOW fsync").fetchone() == ("on",)
        assert connection.execute("SHOW synchronous_commit").fetchone() == ("on",)
