"""Backups: one consistent copy of the database with a manifest of what it holds, and the way back from it.

SQLite is copied through its own backup call, while the exchange runs; PostgreSQL by `pg_dump` over one exported
snapshot. The manifest names every file's digest and every log's size and root, so that a backup can be proved to be
whole without the exchange it came from.

Must never: restore over a database that exists, take keys along unasked, or call a backup whole that was not
recomputed.

Implements: design §9 (`admin backup | restore`); R-97.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from referral_api.auditlog.checkpoint import TrustPolicy, verify_checkpoint
from referral_api.auditlog.merkle import Frontier, parse_frontier
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.formats.strict_json import b64u, canonical, parse
from referral_api.server.storage import logbook
from referral_api.server.storage.database import Connection, Database
from referral_api.server.storage.driver import refuse
from referral_api.server.storage.signer import sync_folder
from referral_api.server.storage.sqlite import lock_file

MANIFEST: Final = "manifest.json"
KNOWN: Final = "backups.json"
"""Beside the database: which backups were made of it here, and until when each may be kept."""
FILES: Final[Mapping[str, str]] = {"sqlite": "exchange.sqlite", "postgresql": "exchange.dump"}
MAX_MANIFEST_BYTES: Final = 1 << 20
_LEAVES_A_READ: Final = 4096
_MAX_WORDS: Final = 500
_ENVIRONMENT: Final = {
    "host": "PGHOST",
    "port": "PGPORT",
    "user": "PGUSER",
    "dbname": "PGDATABASE",
    "password": "PGPASSWORD",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
}


def back_up(url: str, folder: Path, extra: Mapping[str, bytes], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Write a backup into `folder`, made for it; its manifest. `extra` are small files by their path in it.

    Raises UNAVAILABLE: `backup-exists`, `pg-dump-missing`, `pg-dump-failed`, or what the database raises.
    """
    try:
        folder.mkdir(mode=0o700, parents=True)
    except FileExistsError:
        raise refuse("backup-exists") from None
    try:
        return _fill(url, folder, extra, facts)
    except BaseException:
        # It was made for this backup; what is left of it would stand in the way of the next attempt.
        shutil.rmtree(folder, ignore_errors=True)
        raise


@dataclass(frozen=True, slots=True)
class Known:
    """A backup that was made here: its folder, and until when it may be kept (unix seconds, R-107)."""

    path: str
    keep_until: int


def known_backups(data_dir: Path) -> list[Known]:
    """The backups that are known and still where they were made. What cannot be read is none."""
    try:
        told = parse((data_dir / KNOWN).read_bytes(), max_bytes=MAX_MANIFEST_BYTES)
        found = [Known(str(one["path"]), int(one["keep_until"])) for one in told["backups"]]
    except (OSError, ReferralError, LookupError, TypeError, ValueError):
        return []
    return [one for one in found if (Path(one.path) / MANIFEST).is_file()]


def remember(data_dir: Path, folder: Path, keep_until: int) -> None:
    """Note a backup, and forget those that are gone."""
    kept = [*known_backups(data_dir), Known(str(folder.absolute()), keep_until)]
    members = {"backups": [{"keep_until": one.keep_until, "path": one.path} for one in kept], "v": 1}
    draft = data_dir / f"{KNOWN}.new"
    draft.write_bytes(canonical(members) + b"\n")
    draft.chmod(0o600)
    draft.replace(data_dir / KNOWN)


def _fill(url: str, folder: Path, extra: Mapping[str, bytes], facts: Mapping[str, Any]) -> dict[str, Any]:
    engine = "sqlite" if url.startswith("sqlite") else "postgresql"
    target = folder / FILES[engine]
    logs = _copy_sqlite(_file_of(url), target) if engine == "sqlite" else _dump_postgres(url, target)
    for name, raw in extra.items():
        (folder / name).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write(folder / name, raw)
    names = [FILES[engine], *extra]
    manifest = {
        "v": 1,
        **facts,
        "engine": engine,
        "files": {name: _digest(folder / name) for name in sorted(names)},
        "logs": logs,
    }
    _write(folder / MANIFEST, canonical(manifest) + b"\n")
    for made in {folder, *((folder / name).parent for name in names)}:
        sync_folder(made)
    return manifest


def read_manifest(folder: Path) -> dict[str, Any]:
    """A backup's manifest, with every file held against it. Raises NOT_FOUND, MALFORMED, TAMPERED (`what`)."""
    try:
        raw = (folder / MANIFEST).read_bytes()
    except OSError:
        raise ReferralError(ErrorCode.NOT_FOUND, what=MANIFEST) from None
    manifest = parse(raw, max_bytes=MAX_MANIFEST_BYTES)
    if not isinstance(manifest, dict) or manifest.get("v") != 1 or manifest.get("engine") not in FILES:
        raise ReferralError(ErrorCode.MALFORMED, reason="members")
    files, logs = manifest.get("files"), manifest.get("logs")
    if not isinstance(files, dict) or FILES[manifest["engine"]] not in files or not isinstance(logs, list):
        raise ReferralError(ErrorCode.MALFORMED, reason="members")
    if not all(isinstance(one, dict) and one.keys() == {"log", "size", "root"} for one in logs):
        raise ReferralError(ErrorCode.MALFORMED, reason="members")
    for name, digest in files.items():
        if not (folder / name).is_file() or _digest(folder / name) != digest:
            raise ReferralError(ErrorCode.TAMPERED, what="backup", file=name)
    return manifest


def restore(folder: Path, url: str, manifest: Mapping[str, Any]) -> None:
    """Put a backup's database where there is none.

    Raises UNAVAILABLE: `database-exists`, `engine-differs`, `pg-restore-missing`, `pg-restore-failed`.
    """
    engine = "sqlite" if url.startswith("sqlite") else "postgresql"
    if manifest["engine"] != engine:
        raise refuse("engine-differs")
    source = folder / FILES[engine]
    if engine == "postgresql":
        _restore_postgres(source, url)
        return
    path = _file_of(url)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = lock_file(path)
    try:
        if path.exists() or Path(f"{path}-wal").exists():
            raise refuse("database-exists")
        draft = path.with_name(path.name + ".new")
        draft.unlink(missing_ok=True)
        shutil.copyfile(source, draft)
        draft.chmod(0o600)
        with draft.open("rb") as handle:
            os.fsync(handle.fileno())
        draft.rename(path)
        sync_folder(path.parent)
    finally:
        os.close(lock)


def verify(
    url: str, manifest: Mapping[str, Any], trust_of: Callable[[Database], Callable[[str], TrustPolicy]]
) -> list[str]:
    """Recompute every log of a restored database from its leaves; the faults found, none if it is whole.

    `trust_of` finds in the keys log by which keys each log may be signed.
    """
    faults: list[str] = []
    promised = {str(one["log"]): (int(one["size"]), str(one["root"])) for one in manifest["logs"]}
    with Database.open(url) as database:
        trust = trust_of(database)
        with database.read(snapshot=True) as conn:
            faults += [f"{log}: absent" for log in promised.keys() - set(logbook.names(conn))]
            for log in logbook.names(conn):
                notes = conn.all("SELECT size, note FROM log_checkpoint WHERE log = ? ORDER BY size", (log,))
                roots, edge = _grow(conn, log, [int(size) for size, _ in notes])
                if edge != logbook.frontier(conn, log):
                    faults.append(f"{log}: edge")
                if promised.get(log) != (edge.size, b64u(edge.root())):
                    faults.append(f"{log}: manifest")
                policy = trust(log)
                for size, note in notes:
                    checkpoint = verify_checkpoint(note.encode(), policy)
                    if (checkpoint.size, checkpoint.root) != (size, roots.get(size)):
                        faults.append(f"{log}: checkpoint {size}")
    return faults


def _grow(conn: Connection, log: str, wanted: Sequence[int]) -> tuple[dict[int, bytes], Frontier]:
    """The tree over all leaves, and its root at the wanted sizes."""
    roots: dict[int, bytes] = {}
    edge, stops = Frontier(), [*wanted, logbook.size(conn, log)]
    for stop in stops:
        while edge.size < stop:
            found = logbook.leaf_hashes(conn, log, edge.size, min(stop, edge.size + _LEAVES_A_READ))
            if not found:
                return roots, edge
            edge = edge.extend(found)
        roots[stop] = edge.root()
    return roots, edge


def _copy_sqlite(path: Path, target: Path) -> list[dict[str, Any]]:
    try:
        # Nobody is there: the file may be opened for writing, as its WAL's index wants it.
        lock, mode = lock_file(path), "rw"
    except ReferralError as error:
        if error.facts.get("reason") != "database-in-use":
            raise
        # The exchange runs. A connection that only reads neither writes nor checkpoints (sqlite.py says why).
        lock, mode = None, "ro"
    try:
        if not path.is_file():
            raise refuse("database-missing")
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        with (
            closing(sqlite3.connect(f"file:{path.absolute()}?mode={mode}", uri=True, timeout=10)) as source,
            closing(sqlite3.connect(target)) as copy,
        ):
            source.backup(copy)
            rows = copy.execute("SELECT log, size, frontier FROM log_state ORDER BY log").fetchall()
    except sqlite3.Error as error:
        raise refuse("database-unreachable") from error
    finally:
        if lock is not None:
            os.close(lock)
    with target.open("rb") as handle:
        os.fsync(handle.fileno())
    return _logs(rows)


def _dump_postgres(url: str, target: Path) -> list[dict[str, Any]]:
    import psycopg  # noqa: PLC0415  # an extra

    program = _program("pg_dump")
    try:
        with psycopg.connect(url) as session:
            session.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            exported = session.execute("SELECT pg_export_snapshot()").fetchone()
            rows = session.execute("SELECT log, size, frontier FROM log_state ORDER BY log").fetchall()
            snapshot = "" if exported is None else str(exported[0])
            _run([program, "--format=custom", "--no-owner", f"--snapshot={snapshot}", f"--file={target}"], url)
    except psycopg.Error as error:
        raise refuse("database-unreachable") from error
    target.chmod(0o600)
    with target.open("rb") as handle:
        os.fsync(handle.fileno())
    return _logs(rows)


def _restore_postgres(source: Path, url: str) -> None:
    import psycopg  # noqa: PLC0415  # an extra

    program = _program("pg_restore")
    try:
        with psycopg.connect(url) as session:
            found = session.execute("SELECT 1 FROM pg_tables WHERE schemaname = current_schema() LIMIT 1").fetchone()
    except psycopg.Error as error:
        raise refuse("database-unreachable") from error
    if found is not None:
        raise refuse("database-exists")
    name = _environment(url)["PGDATABASE"]
    _run([program, "--no-owner", "--exit-on-error", "--single-transaction", f"--dbname={name}", str(source)], url)


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise refuse(f"{name.replace('_', '-')}-missing")
    return found


def _run(command: list[str], url: str) -> None:
    """Run one of PostgreSQL's programs. Where the database is, and its password, are not on its command line."""
    environment = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", **_environment(url)}
    done = subprocess.run(command, env=environment, capture_output=True, check=False)  # noqa: S603 - found above
    if done.returncode:
        words = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise refuse(f"{Path(command[0]).name.replace('_', '-')}-failed", said=" ".join(words)[:_MAX_WORDS])


def _environment(url: str) -> dict[str, str]:
    from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415  # an extra

    given = conninfo_to_dict(url)
    return {_ENVIRONMENT[name]: str(value) for name, value in given.items() if name in _ENVIRONMENT and value}


def _logs(rows: Sequence[Sequence[Any]]) -> list[dict[str, Any]]:
    return [
        {"log": log, "size": size, "root": b64u(parse_frontier(bytes(frontier)).root())} for log, size, frontier in rows
    ]


def _file_of(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///"))


def _digest(path: Path) -> str:
    with path.open("rb") as handle:
        return b64u(hashlib.file_digest(handle, "sha256").digest())


def _write(path: Path, raw: bytes) -> None:
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as handle:
        handle.write(raw)
        handle.flush()
        os.fsync(handle.fileno())
