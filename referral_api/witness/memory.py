"""What a witness remembers: whom it trusts, for each log the largest tree that it cosigned, and what it refused.

Keys and memory are one file. Whoever brings back an older one has a witness that would cosign a second history, so its
keys are retired with it; nothing in the file can tell that by itself. Everything is compared and written in one
transaction, which is on disk when `changing` ends.

Must never: forget a tree, go back in size or time, or hold more than one key for an origin.

Implements: R-96; design §9; docs/decisions/0017.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import Final, Self

from referral_api.auditlog.merkle import EMPTY_ROOT
from referral_api.auditlog.note import SignatureType, VerifierKey, parse_vkey
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.formats.strict_json import malformed
from referral_api.witness.file import is_busy, open_file, unusable
from referral_api.witness.keys import MAX_NAME_BYTES, Seeds

EVIDENCE_KEPT: Final = 32
"""Of each kind and log; the newest stay."""
FORK: Final = "fork"
"""Another root at a size that was cosigned, or of the empty tree: the two notes convict the log by themselves."""
PROOF: Final = "proof"
"""The proof did not hold. Whoever holds the log's checkpoint may have sent a bad one: the log is to be asked."""
_TERM: Final = re.compile(r"(?<=/)[0-9]{4}(?:\.[2-9])?\Z")
_KEYS_OF: Final = """
SELECT public FROM trusted WHERE origin = :origin AND yearly = :yearly
UNION ALL SELECT public FROM further WHERE origin = :origin AND yearly = :yearly
"""
"""A year, or one of the terms that follow where its log has lost leaves: at the end of an origin."""
_TERM_CHARACTERS: Final = 6


@dataclass(frozen=True, slots=True)
class Trusted:
    """A log to cosign: one origin, or (`yearly`) all that are `origin` and a term's name, under one key."""

    origin: str
    yearly: bool
    public: bytes


def parse_log(vkey: str, *, yearly: bool) -> Trusted:
    """The log that a verifier key names; with `yearly`, the family of all its years.

    A family is named by the key of any of its years, or by its own name without a year, `<host>/v1/log/audit/`.
    Raises what `parse_vkey` raises, KEY_UNSUITABLE (`use`) unless it signs checkpoints, MALFORMED (`key-name`) for an
    origin that cannot be cosigned.
    """
    key = parse_vkey(vkey)
    if key.type is not SignatureType.ED25519:
        raise ReferralError(ErrorCode.KEY_UNSUITABLE, reason="use")
    origin = key.name
    if yearly:
        origin = _TERM.sub("", origin)
    longest = len(origin.encode()) + (_TERM_CHARACTERS if yearly else 0)
    if not origin or longest > MAX_NAME_BYTES or (yearly and not origin.endswith("/")):
        raise malformed("key-name")
    return Trusted(origin, yearly, key.public)


@dataclass(frozen=True, slots=True)
class Held:
    """The largest tree of a log that was cosigned. `note` is the checkpoint with the log's and the witness's lines."""

    size: int = 0
    root: bytes = EMPTY_ROOT
    note: bytes | None = None
    cosigned_s: int = 0


@dataclass(frozen=True, slots=True)
class Evidence:
    """A request that the log signed and the witness refused. `held` is the note that it was refused against, if any."""

    origin: str
    kind: str
    at_s: int
    size: int
    root: bytes
    request: bytes
    held: bytes | None


class Memory:
    """An open file. Thread-safe, and safe beside other processes that open the same file."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Use `open` or `create`. Takes over the connection."""
        self._connection = connection
        self._mutex = Lock()
        self._failed = False
        row = connection.execute("SELECT name, identity, ed25519_seed, ml_dsa_44_seed FROM witness").fetchone()
        self.name = str(row[0])
        self.seeds = Seeds(*row[1:])

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a witness's file. Raises what `open_file` raises."""
        return cls(open_file(path))

    def trusted_keys(self, origin: str) -> tuple[VerifierKey, ...]:
        """The keys any of which signs for this origin: its own, else its family's. Raises NOT_FOUND."""
        with self._reading() as connection:
            rows = connection.execute(_KEYS_OF, {"origin": origin, "yearly": 0}).fetchall()
            if not rows and _TERM.search(origin):
                rows = connection.execute(_KEYS_OF, {"origin": _TERM.sub("", origin), "yearly": 1}).fetchall()
        if not rows:
            raise ReferralError(ErrorCode.NOT_FOUND)
        return tuple(VerifierKey(origin, SignatureType.ED25519, public) for (public,) in rows)

    def trusted(self) -> list[Trusted]:
        """Every log and family that is cosigned."""
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT origin, yearly, public FROM trusted UNION ALL SELECT origin, yearly, public FROM further"
                " ORDER BY origin, yearly"
            ).fetchall()
        return [Trusted(origin, bool(yearly), public) for origin, yearly, public in rows]

    def held(self, origin: str) -> Held:
        """What was cosigned last of a log; size 0 and no note before the first time."""
        with self._reading() as connection:
            return _held(connection, origin)

    def note(self, origin_digest: str) -> bytes:
        """The checkpoint that was cosigned last of the log whose origin has this SHA-256 (hex). Raises NOT_FOUND."""
        with self._reading() as connection:
            row = connection.execute("SELECT note FROM held WHERE origin_sha256 = ?", (origin_digest,)).fetchone()
        if row is None:
            raise ReferralError(ErrorCode.NOT_FOUND)
        return bytes(row[0])

    def all_held(self) -> dict[str, Held]:
        """What was cosigned last, by origin."""
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT origin, size, root, note, cosigned_s FROM held ORDER BY origin"
            ).fetchall()
        return {origin: Held(*rest) for origin, *rest in rows}

    def evidence(self) -> list[Evidence]:
        """What was refused although a log had signed it, oldest first."""
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT origin, kind, at_s, size, root, request, held FROM evidence ORDER BY id"
            ).fetchall()
        return [Evidence(*row) for row in rows]

    def counts(self) -> tuple[int, int, int]:
        """When the file was made, the time of the newest cosignature (0: none), and how often it has cosigned."""
        with self._reading() as connection:
            created_s, newest_s, cosigned = connection.execute(
                "SELECT created_s, newest_s, cosigned FROM witness"
            ).fetchone()
        return created_s, newest_s, cosigned

    @contextmanager
    def changing(self) -> Iterator[Changes]:
        """One transaction, alone on the file from its first statement; on disk when the block has ended.

        Raises UNAVAILABLE: `witness-busy` (another process holds the file), `witness-unwritable` (from then on always:
        after a failed sync nothing that this process reads back proves what the disk holds).
        """
        with self._mutex:
            if self._failed:
                raise unusable("witness-unwritable")
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                yield Changes(self._connection)
                self._connection.execute("COMMIT")
            except sqlite3.Error as error:
                self._roll_back()
                if is_busy(error):
                    raise unusable("witness-busy") from error
                self._failed = True
                raise unusable("witness-unwritable") from error
            except BaseException:
                self._roll_back()
                raise

    def close(self) -> None:
        """Give the file back."""
        with self._mutex:
            self._connection.close()

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._mutex:
            try:
                yield self._connection
            except sqlite3.Error as error:
                raise unusable("witness-busy" if is_busy(error) else "witness-unreadable") from error

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            try:
                self._connection.execute("ROLLBACK")
            except sqlite3.Error:
                self._failed = True


class Changes:
    """What one transaction reads and writes."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def held(self, origin: str) -> Held:
        """What was cosigned last of a log, and by nobody changed before this transaction ends."""
        return _held(self._connection, origin)

    def time(self, now: int) -> int:
        """The time of the next cosignature: now, but never earlier than one of this file, and never 0."""
        newest_s: int = self._connection.execute("SELECT newest_s FROM witness").fetchone()[0]
        return max(now, newest_s, 1)

    def hold(self, origin: str, held: Held) -> None:
        """Remember what is being cosigned."""
        self._connection.execute(
            "INSERT INTO held (origin, origin_sha256, size, root, note, cosigned_s) VALUES (?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (origin) DO UPDATE SET size = excluded.size, root = excluded.root, note = excluded.note,"
            " cosigned_s = excluded.cosigned_s",
            (origin, sha256(origin.encode()).hexdigest(), held.size, held.root, held.note, held.cosigned_s),
        )
        self._connection.execute("UPDATE witness SET newest_s = ?, cosigned = cosigned + 1", (held.cosigned_s,))

    def keep(self, found: Evidence) -> None:
        """Keep evidence, once for each tree; of each log and kind the newest `EVIDENCE_KEPT` stay."""
        self._connection.execute(
            "INSERT INTO evidence (origin, kind, at_s, size, root, request, held) VALUES (?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT DO NOTHING",
            (found.origin, found.kind, found.at_s, found.size, found.root, found.request, found.held),
        )
        self._connection.execute(
            "DELETE FROM evidence WHERE origin = ?1 AND kind = ?2 AND id NOT IN"
            " (SELECT id FROM evidence WHERE origin = ?1 AND kind = ?2 ORDER BY id DESC LIMIT ?3)",
            (found.origin, found.kind, EVIDENCE_KEPT),
        )

    def trust(self, log: Trusted) -> None:
        """Cosign this log from now on; the same again is nothing new.

        Raises KEY_UNSUITABLE (`origin-has-another-key`): whether a log has really gone over to another key somebody
        must have asked who runs it (`trust_also`).
        """
        row = self._connection.execute(
            "SELECT public FROM trusted WHERE origin = ? AND yearly = ?", (log.origin, log.yearly)
        ).fetchone()
        if row is not None and row[0] != log.public:
            raise ReferralError(ErrorCode.KEY_UNSUITABLE, reason="origin-has-another-key", origin=log.origin)
        if row is None:
            self._connection.execute("INSERT INTO trusted VALUES (?, ?, ?)", (log.origin, log.yearly, log.public))

    def trust_also(self, log: Trusted) -> None:
        """Take this key beside those that the log has, for it goes over to it (R-37). Raises NOT_FOUND: no such log."""
        known = self._connection.execute(
            "SELECT public FROM trusted WHERE origin = ? AND yearly = ?", (log.origin, log.yearly)
        ).fetchone()
        if known is None:
            raise ReferralError(ErrorCode.NOT_FOUND)
        if known[0] != log.public:
            place = (log.origin, log.yearly, log.public)
            self._connection.execute("INSERT OR IGNORE INTO further VALUES (?, ?, ?)", place)

    def distrust(self, origin: str) -> None:
        """Cosign this log or family no more, by whichever key; what is remembered of it stays. Raises NOT_FOUND."""
        self._connection.execute("DELETE FROM further WHERE origin = ?", (origin,))
        if self._connection.execute("DELETE FROM trusted WHERE origin = ?", (origin,)).rowcount == 0:
            raise ReferralError(ErrorCode.NOT_FOUND)


def _held(connection: sqlite3.Connection, origin: str) -> Held:
    row = connection.execute("SELECT size, root, note, cosigned_s FROM held WHERE origin = ?", (origin,)).fetchone()
    return Held() if row is None else Held(*row)
