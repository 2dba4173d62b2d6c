"""A witness's one file on disk: its tables, how it is made, and what it must be like to be opened.

The rollback journal, not a write-ahead log: between transactions the file is whole by itself and can be copied. EXTRA
syncs the folder too when a transaction ends; without it a power cut could bring the journal back, and with it the past.

Must never: open a file that others may read, replace one, or make keys from anything but the caller's seeds.

Implements: R-96.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from pathlib import Path
from typing import Final

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.witness.keys import Seeds, cosigning_keys

APPLICATION_ID: Final = 0x52575431
"""`RWT1`, so that `file` and we know what this is."""
_BUSY_S: Final = 5.0
_FURTHER: Final = """
CREATE TABLE IF NOT EXISTS further (
    origin TEXT NOT NULL,
    yearly INTEGER NOT NULL CHECK (yearly IN (0, 1)),
    public BLOB NOT NULL CHECK (length(public) = 32),
    PRIMARY KEY (origin, yearly, public)
) STRICT, WITHOUT ROWID;
"""
"""Further keys of logs that are trusted already, for a log may go over from one key to the next (R-37). Files made
before there was any are given this table when they are opened.
"""
_SCHEMA: Final = f"""
CREATE TABLE witness (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    name TEXT NOT NULL,
    identity BLOB NOT NULL CHECK (length(identity) = 16),
    ed25519_seed BLOB NOT NULL CHECK (length(ed25519_seed) = 32),
    ml_dsa_44_seed BLOB NOT NULL CHECK (length(ml_dsa_44_seed) = 32),
    created_s INTEGER NOT NULL,
    newest_s INTEGER NOT NULL,
    cosigned INTEGER NOT NULL
) STRICT;
CREATE TABLE trusted (
    origin TEXT NOT NULL,
    yearly INTEGER NOT NULL CHECK (yearly IN (0, 1)),
    public BLOB NOT NULL CHECK (length(public) = 32),
    PRIMARY KEY (origin, yearly)
) STRICT, WITHOUT ROWID;
CREATE TABLE held (
    origin TEXT PRIMARY KEY,
    origin_sha256 TEXT NOT NULL UNIQUE,
    size INTEGER NOT NULL CHECK (size >= 0),
    root BLOB NOT NULL CHECK (length(root) = 32),
    note BLOB NOT NULL,
    cosigned_s INTEGER NOT NULL CHECK (cosigned_s > 0)
) STRICT, WITHOUT ROWID;
CREATE TABLE evidence (
    id INTEGER PRIMARY KEY,
    origin TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('fork', 'proof')),
    at_s INTEGER NOT NULL,
    size INTEGER NOT NULL,
    root BLOB NOT NULL,
    request BLOB NOT NULL,
    held BLOB,
    UNIQUE (origin, kind, size, root)
) STRICT;
{_FURTHER}
CREATE TRIGGER held_only_grows BEFORE UPDATE ON held
WHEN NEW.origin <> OLD.origin OR NEW.size < OLD.size OR NEW.cosigned_s < OLD.cosigned_s
    OR (NEW.size = OLD.size AND NEW.root <> OLD.root)
BEGIN SELECT RAISE(ABORT, 'a witness never goes back'); END;
CREATE TRIGGER held_stays BEFORE DELETE ON held BEGIN SELECT RAISE(ABORT, 'a witness never forgets'); END;
"""


def create_file(path: Path, name: str, seeds: Seeds, now: int) -> None:
    """Make a new witness's file, of mode 0600; nothing that is there is touched.

    Raises MALFORMED (`key-name`) for a name that no key can have, UNAVAILABLE (`witness-exists`).
    """
    cosigning_keys(name, seeds)
    draft = path.with_name(path.name + ".new")
    # A draft can only be left by a crash inside this function; no key of it has signed anything.
    draft.unlink(missing_ok=True)
    os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
    connection = _connect(draft)
    try:
        connection.executescript(f"PRAGMA application_id = {APPLICATION_ID}; BEGIN;{_SCHEMA} COMMIT;")
        connection.execute(
            "INSERT INTO witness VALUES (1, ?, ?, ?, ?, ?, 0, 0)",
            (name, seeds.identity, seeds.ed25519, seeds.ml_dsa_44, now),
        )
    finally:
        connection.close()
    try:
        # A link, unlike a rename, never replaces what somebody else has just made.
        os.link(draft, path)
    except FileExistsError:
        raise unusable("witness-exists") from None
    finally:
        draft.unlink()
    _sync_folder(path.parent)


def open_file(path: Path) -> sqlite3.Connection:
    """A connection to a witness's file, for one thread at a time, in autocommit.

    Raises UNAVAILABLE with `reason` `witness-missing`, `witness-exposed` (others may read or change it, or it is
    somebody else's) or `witness-unreadable` (no such file of ours, or spoilt).
    """
    try:
        # Looked at, not opened: closing a descriptor of our own would take the locks of an open connection with it.
        status = path.stat()
    except OSError:
        raise unusable("witness-missing") from None
    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
        raise unusable("witness-exposed")
    connection = None
    try:
        connection = _connect(path)
        _demand_sound(connection)
        connection.executescript(_FURTHER)
    except (sqlite3.Error, ReferralError):
        if connection is not None:
            connection.close()
        raise unusable("witness-unreadable") from None
    return connection


def is_busy(error: sqlite3.Error) -> bool:
    """Whether another process held the file for too long, so that nothing was tried."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def unusable(reason: str) -> ReferralError:
    """Why a witness's file cannot be used."""
    return ReferralError(ErrorCode.UNAVAILABLE, reason=reason)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",
        uri=True,
        timeout=_BUSY_S,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        connection.executescript(
            "PRAGMA journal_mode = DELETE; PRAGMA synchronous = EXTRA; PRAGMA trusted_schema = OFF;"
        )
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _demand_sound(connection: sqlite3.Connection) -> None:
    if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise unusable("witness-unreadable")
    if connection.execute("PRAGMA integrity_check(1)").fetchone()[0] != "ok":
        raise unusable("witness-unreadable")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
