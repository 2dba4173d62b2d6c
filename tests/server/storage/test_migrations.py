"""The steps lead to exactly the tables that the code knows, on both engines."""

from __future__ import annotations

import re
from pathlib import Path

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine

from referral_api.domain.errors import ErrorCode
from referral_api.server.storage.database import Database
from referral_api.server.storage.tables import METADATA
from tests.auditlog.refusals import refused


def engine_of(database: Database) -> Engine:
    return database._driver.writer


def test_the_steps_lead_to_the_tables(database: Database) -> None:
    with engine_of(database).connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, METADATA) == []


def test_a_database_of_the_first_step_is_brought_to_the_tables(database_url: str) -> None:
    with Database.create(database_url) as created, created.write() as tx:
        tx.run("DROP INDEX enrolment_state_created_at")
        tx.run("DROP TABLE tally")
        if created.dialect == "sqlite":
            for table in ("act", "record"):
                tx.run(f"DROP TRIGGER {table}_no_delete")
        tx.run("DROP TABLE erasure")
        if created.dialect == "sqlite":
            for table in ("act", "record"):
                tx.run(
                    f"CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table}"
                    " BEGIN SELECT RAISE(ABORT, 'append-only'); END"
                )
        if created.dialect == "postgresql":
            for table in ("act", "record"):
                tx.run(f"DROP TRIGGER {table}_erased_only ON {table}")
            tx.run("DROP FUNCTION erased_only")
        for table in ("log_signer", "spool_logged", "sealed_lost", "quota", "wake_up"):
            tx.run(f"DROP TABLE {table}")
        tx.run("DROP INDEX referral_relates_to")
        tx.run("ALTER TABLE referral DROP COLUMN relates_to")
        tx.run("DROP TABLE refusal")
        tx.run("DROP INDEX log_checkpoint_witnessed")
        tx.run("ALTER TABLE log_checkpoint DROP COLUMN witnessed_at")
        tx.run("DROP TABLE alarm")
        for table, column in (("referral", "retention"), ("delivery", "rank"), ("delivery", "clockwork")):
            tx.run(f"ALTER TABLE {table} DROP COLUMN {column}")
        tx.run("UPDATE alembic_version SET version_num = '0001'")
    assert refused(ErrorCode.UNAVAILABLE, Database.open, database_url) == "schema-behind"
    with Database.migrate(database_url) as migrated, engine_of(migrated).connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []


def test_a_difference_would_be_seen(database: Database) -> None:
    with database.write() as tx:
        tx.run("ALTER TABLE poll ADD COLUMN extra TEXT")
        tx.run("DROP INDEX act_ref_pos")
    with engine_of(database).connect() as connection:
        found = {str(entry[0]) for entry in compare_metadata(MigrationContext.configure(connection), METADATA)}
    assert found == {"remove_column", "add_index"}


def test_every_table_has_a_key_and_sqlite_is_strict_about_types(tmp_path: Path) -> None:
    with Database.create(f"sqlite:///{tmp_path}/exchange.db") as database, database.read() as conn:
        rows = conn.all("SELECT name, sql FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'alembic%'")
    made = {str(name): str(sql) for name, sql in rows}
    assert set(made) == set(METADATA.tables)
    for sql in made.values():
        assert "PRIMARY KEY" in sql
        assert re.search(r"\)\s*(WITHOUT ROWID,\s*)?STRICT|\)\s*STRICT(,\s*WITHOUT ROWID)?", sql)
    # Rows with bodies stay out of the key's own tree; of the narrow ones only these are worth it.
    assert "WITHOUT ROWID" in made["feed"]
    assert "WITHOUT ROWID" not in made["sealed"]


@pytest.mark.postgres
def test_postgres_gets_what_only_it_knows(postgres_database: str) -> None:
    Database.create(postgres_database).close()
    with psycopg.connect(postgres_database) as session:
        unlogged = session.execute(
            "SELECT relname FROM pg_class WHERE relpersistence = 'u' AND relkind = 'r'"
        ).fetchall()
        external = session.execute(
            "SELECT attrelid::regclass::text, attname FROM pg_attribute WHERE attstorage = 'e' AND attnum > 0"
            " AND attrelid::regclass::text IN ('sealed', 'log_tile')"
        ).fetchall()
        options = session.execute("SELECT reloptions FROM pg_class WHERE relname = 'log_state'").fetchone()
        kinds = session.execute(
            "SELECT data_type FROM information_schema.columns WHERE table_name = 'act' AND column_name = 'pos'"
        ).fetchone()
    assert sorted(unlogged) == [("quota",), ("replay",), ("replay_epoch",)]
    assert sorted(external) == [("log_tile", "data"), ("sealed", "body")]
    assert options == (["fillfactor=20"],)
    assert kinds == ("bigint",)


def test_a_creation_that_fails_midway_leaves_nothing(database_url: str, tmp_path: Path) -> None:
    if database_url.startswith("sqlite"):
        (tmp_path / "exchange.db.new").mkdir()
        with pytest.raises(OSError, match=r"exchange\.db\.new"):
            Database.create(database_url)
        assert not (tmp_path / "exchange.db").exists()
        (tmp_path / "exchange.db.new").rmdir()
    else:
        with psycopg.connect(database_url) as session:
            # The twelfth table of the first step is in the way.
            session.execute("CREATE TABLE log_entry (somebody_elses TEXT)")
        assert refused(ErrorCode.UNAVAILABLE, Database.create, database_url) == "database-exists"
        with psycopg.connect(database_url) as session:
            left = session.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
            assert left == [("log_entry",)]
            session.execute("DROP TABLE log_entry")
    Database.create(database_url).close()


def test_the_steps_are_known_by_file_name() -> None:
    versions = Path("referral_api/server/storage/migrations/versions")
    names = sorted(path.name for path in versions.glob("*.py"))
    assert names[0] == "0001_start.py"
    assert [name[:4] for name in names] == [f"{number:04}" for number in range(1, len(names) + 1)]
