"""What the database engine says of itself: its version, and the settings without which a commit is not durable.

Must never: change a setting, or open the file for writing.

Implements: design §9, §11 (synchronous=FULL, synchronous_commit=on).
"""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Final

from referral_api.server.storage.database import Database

_HEADER_BYTES: Final = 100
_MAGIC: Final = b"SQLite format 3\0"
_WAL: Final = b"\x02\x02"
"""Bytes 18 and 19 of a file that is written and read by its write-ahead log (SQLite, "Database File Format")."""
_POSTGRES: Final = ("fsync", "synchronous_commit", "full_page_writes")
_DURABLE: Final = frozenset({"on", "remote_apply"})


def ask_engine(database: Database) -> dict[str, str]:
    """The engine's version and settings by name. Raises RolledBack."""
    with database.read() as conn:
        if database.dialect == "sqlite":
            (version,), (mode,) = (conn.one(one) or ("",) for one in ("SELECT sqlite_version()", "PRAGMA journal_mode"))
            return {"version": str(version), "journal_mode": str(mode)}
        asked = ", ".join(f"current_setting('{name}')" for name in ("server_version", *_POSTGRES))
        row = conn.one(f"SELECT {asked}") or ()
        return dict(zip(("version", *_POSTGRES), (str(one) for one in row), strict=True))


def is_durable(settings: dict[str, str]) -> bool:
    """Whether what these settings commit survives a power cut."""
    return settings.get("journal_mode", "wal") == "wal" and all(
        settings.get(name, "on") in _DURABLE for name in _POSTGRES
    )


def look_at_file(path: Path) -> tuple[bool, int]:
    """Whether an SQLite file keeps its write-ahead log, and its permissions. Raises OSError."""
    with path.open("rb") as handle:
        header = handle.read(_HEADER_BYTES)
    mode = stat.S_IMODE(path.stat().st_mode)
    return header[:16] == _MAGIC and header[18:20] == _WAL, mode
