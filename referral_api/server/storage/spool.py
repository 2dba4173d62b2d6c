"""What was handed out while the log was closed for writing: records in a file, durable before the first byte leaves.

One file each time that a process closes. Each line is the digest of a record, a space, and the record; the first says
that writes were closed, and why. When the exchange opens again its first batch logs them all, in order, and only then
is the file removed (service/recorded.py).

Must never: let a read be answered whose record is not on disk, or hold what a record must not hold.

Implements: design §9 ("its read records go to an fsynced spool"); R-97.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Final

from referral_api.auditlog.records import (
    MAX_RECORD_BYTES,
    SALT_BYTES,
    Retrieved,
    ServerRecord,
    WritesClosed,
    encode_record,
    encode_salt,
    parse_record,
)
from referral_api.domain.errors import ReferralError
from referral_api.formats.strict_json import sha256_b64u
from referral_api.server.storage.signer import closed, sync_folder

SUFFIX: Final = ".spool"
LOG: Final = "audit"
"""What a spool's own refusals name as the log: every year's records are of it."""
_DIGEST_CHARS: Final = 43


@dataclass(frozen=True, slots=True)
class Spooled:
    """One spool that waits to be logged. `id` is the digest of its first, salted record; `path` is removed after."""

    id: str
    path: Path
    records: tuple[ServerRecord, ...]


class Spool:
    """The spool of this process, begun when it closes. Thread-safe."""

    def __init__(self, folder: Path, token_bytes: Callable[[int], bytes]) -> None:
        self._folder = folder
        self._token_bytes = token_bytes
        self._descriptor: int | None = None
        self._broken = False
        self._mutex = Lock()
        self.fetched: set[tuple[str, str]] = set()
        """(referral, unit) whose bundle was handed out since."""

    def begin(self, reason: str, now: int) -> None:
        """Write down that writes are closed, unless this process has. Raises WRITES_CLOSED, `spool-unwritable`."""
        with self._mutex:
            self._begin(reason, now)

    def append(self, reason: Callable[[], str | None], record: ServerRecord, now: int) -> bool:
        """Make one record durable, or nothing where writes are open by now (`reason`: why they are closed, or None).

        Raises WRITES_CLOSED, `spool-unwritable`: then nothing may be handed out.
        """
        with self._mutex:
            why = reason()
            if why is None:
                return False
            self._write(self._begin(why, now), record)
            if isinstance(record, Retrieved) and record.sealed == "bundle" and record.unit is not None:
                self.fetched.add((record.ref, record.unit))
            return True

    def close(self) -> None:
        """Give the file back, to be logged by whoever starts next."""
        with self._mutex:
            self._end()

    def end(self, opens: Callable[[], None]) -> bool:
        """Give the file back, to be logged now; or, where nothing was written since the last time, let writes open:
        then nothing more is.
        """
        with self._mutex:
            if self._end():
                return False
            opens()
            return True

    def _end(self) -> bool:
        """Close the file; whether there was one."""
        if self._descriptor is None:
            return False
        os.close(self._descriptor)
        self._descriptor, self._broken = None, False
        return True

    def _begin(self, reason: str, now: int) -> int:
        if self._descriptor is None:
            path = self._folder / f"reads-{self._token_bytes(6).hex()}{SUFFIX}"
            try:
                self._descriptor = os.open(
                    path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o600
                )
                # Nobody else may log and remove it while this process still writes to it.
                fcntl.flock(self._descriptor, fcntl.LOCK_EX)
                sync_folder(self._folder)
            except OSError as error:
                raise closed("spool-unwritable", LOG) from error
            salt = encode_salt(self._token_bytes(SALT_BYTES))
            self._write(self._descriptor, WritesClosed(t=now, salt=salt, reason=reason))
        return self._descriptor

    def _write(self, descriptor: int, record: ServerRecord) -> None:
        line = _frame(encode_record(record))
        if self._broken:
            # Behind a line that was not written whole, nothing would be read again.
            raise closed("spool-unwritable", LOG)
        try:
            if os.write(descriptor, line) != len(line):
                raise OSError("short write")  # noqa: TRY301  # one handler for every way in which the disk fails
            os.fdatasync(descriptor)
        except OSError as error:
            self._broken = True
            raise closed("spool-unwritable", LOG) from error


def waiting(folder: Path) -> list[Spooled]:
    """The spools of processes that have ended, the oldest first.

    A last line that was torn by a crash is none: its read was never answered. Raises WRITES_CLOSED, `spool-unreadable`,
    for a spool that is damaged anywhere else.
    """
    found = [spooled for path in sorted(folder.glob(f"*{SUFFIX}")) if (spooled := _read(path)) is not None]
    return sorted(found, key=lambda spooled: spooled.records[0].t if spooled.records else 0)


def remove(spooled: Spooled) -> None:
    """Take away a spool whose records are on the log, durably."""
    with suppress(FileNotFoundError):
        spooled.path.unlink()
    sync_folder(spooled.path.parent)


def _read(path: Path) -> Spooled | None:
    """What a spool holds; None while its process lives."""
    with path.open("rb") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return None
        lines = handle.read().split(b"\n")
    # What follows the last newline was never synced as a whole.
    bodies = [_unframe(line) for line in lines[:-1]]
    try:
        records = tuple(parse_record(body) for body in bodies)
    except ReferralError as error:
        raise closed("spool-unreadable", LOG) from error
    if records and not isinstance(records[0], WritesClosed):
        raise closed("spool-unreadable", LOG)
    return Spooled(sha256_b64u(bodies[0]) if bodies else "", path, records)


def _frame(body: bytes) -> bytes:
    return sha256_b64u(body).encode("ascii") + b" " + body + b"\n"


def _unframe(line: bytes) -> bytes:
    body = line[_DIGEST_CHARS + 1 :]
    if len(body) > MAX_RECORD_BYTES or line != _frame(body)[:-1]:
        raise closed("spool-unreadable", LOG)
    return body
