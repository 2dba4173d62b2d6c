"""A backup of PostgreSQL by its own programs: one snapshot, proved elsewhere, never over a database that is there."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.server.storage import backup
from referral_api.server.storage.database import Database
from tests.auditlog.refusals import refused
from tests.postgres import create_database, drop_database, programs
from tests.server.storage.ledger import AUDIT, append, leaves_of, reader, signers_in

pytestmark = pytest.mark.postgres


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
    assert backup.verify(scratch, manifest, lambda _: signers_in(tmp_path / "signer").trust) == []
    drop_database(postgres_url, "scratch")


def test_without_its_programs_a_postgres_backup_is_refused_by_name(
    postgres_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    Database.create(postgres_database).close()
    args: tuple[Any, ...] = (postgres_database, tmp_path / "copy", {}, {})
    assert refused(ErrorCode.UNAVAILABLE, backup.back_up, *args) == "pg-dump-missing"
    assert not (tmp_path / "copy").exists(), "what failed does not stand in the way of the next attempt"


def test_what_postgresql_itself_says_is_told(
    postgres_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Most often that the program is older than the server: nobody guesses that from a bare refusal."""
    own = tmp_path / "pg_dump"
    own.write_text("#!/bin/sh\necho 'pg_dump: error: aborting because of server version mismatch' >&2\nexit 1\n")
    own.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    Database.create(postgres_database).close()
    with pytest.raises(ReferralError) as caught:
        backup.back_up(postgres_database, tmp_path / "copy", {}, {})
    assert caught.value.facts["reason"] == "pg-dump-failed"
    assert "version mismatch" in caught.value.facts["said"]


@pytest.mark.parametrize(
    "manifest",
    [
        {"v": 1, "engine": "sqlite", "logs": []},
        {"v": 1, "engine": "sqlite", "files": [], "logs": []},
        {"v": 1, "engine": "sqlite", "files": {}, "logs": []},
        {"v": 1, "engine": "sqlite", "files": {"exchange.sqlite": "x"}, "logs": {}},
        {"v": 1, "engine": "sqlite", "files": {"exchange.sqlite": "x"}, "logs": [{"log": "keys"}]},
    ],
)
def test_a_manifest_that_lacks_what_it_must_say_is_refused(manifest: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    assert refused(ErrorCode.MALFORMED, backup.read_manifest, tmp_path) == "members"
