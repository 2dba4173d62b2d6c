"""The outbox: signed acts on their way to the exchange, in one SQLite file that survives a kill at any moment.

An act's id and exact bytes are durable before the first byte is sent, so a retry always sends the same and the exchange
answers the same (R-14). The draft from which it was made is kept encrypted under the keystore's storage key until a
verified receipt, because a recipient's key may be replaced meanwhile: then the entry says `needs_resealing`, loudly.

What was sealed beside an act goes from here once its purge is verified (client/forgetting.py); act and receipt stay.

Must never: hold plaintext, change the bytes of an act, forget an entry that has no verified outcome, or go by an
answer that client/trust.py has not verified.

Implements: design §12 (outbox), R-14, R-53, R-107; SQLite in WAL with synchronous=FULL.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Act, ActId, Digest, ReferralId

_FORMAT = 1
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 2, 300

_SCHEMA = """
create table entry (
    id text primary key,
    act text not null,
    ref text,
    digest text not null,
    jws blob not null,
    beside blob,
    route blob,
    enrolment text,
    draft blob,
    state text not null,
    queued_at integer not null,
    due_at integer not null,
    attempts integer not null default 0,
    code text,
    receipt blob,
    proof blob
) strict;
create index entry_due on entry (state, due_at);
create index entry_ref on entry (ref);
"""


class Progress(StrEnum):
    """How far an entry got. Only what verifies moves it past `sending`: a receipt, then what followed from it."""

    QUEUED = "queued"
    """Signed and durable here; never sent."""
    SENDING = "sending"
    """Sent at least once; the outcome is not known yet."""
    RECEIVED = "received"
    """The exchange's receipt and its place in the log are verified."""
    RETRIEVED = "retrieved"
    """The exchange has it on record that the unit was handed the bundle: its word, which auditors find in the log."""
    ACKNOWLEDGED = "acknowledged"
    """The unit's signed acknowledgement is verified."""
    NEEDS_RESEALING = "needs_resealing"
    """A recipient's key went stale, or the act grew too old: sign and seal again from the draft."""
    REFUSED = "refused"
    """Refused for good; `code` says why, and a final refusal has its receipt."""
    PURGED = "purged"
    """The log has lost it, and what was sealed beside it was purged before: it cannot be sent again (R-107)."""


_WAITING = (Progress.QUEUED, Progress.SENDING)
_SETTLED = (Progress.RECEIVED, Progress.RETRIEVED, Progress.ACKNOWLEDGED, Progress.REFUSED)
_RANK = {Progress.RECEIVED: 0, Progress.RETRIEVED: 1, Progress.ACKNOWLEDGED: 2}


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What is queued: the signed act, and what travels with it. `draft` is ciphertext of this machine's own."""

    id: ActId
    act: Act
    ref: ReferralId | None
    digest: Digest
    jws: bytes = field(repr=False)
    beside: bytes | None = field(default=None, repr=False)
    route: bytes | None = field(default=None, repr=False)
    enrolment: str | None = None
    draft: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry as it stands. Times are unix seconds of this machine."""

    outgoing: Outgoing
    state: Progress
    queued_at: int
    due_at: int
    attempts: int
    code: ErrorCode | None
    receipt: bytes | None
    proof: bytes | None


@dataclass(frozen=True, slots=True)
class Mark:
    """An entry without its bytes, and whether its receipt of acceptance is verified."""

    act: Act
    ref: ReferralId | None
    state: Progress
    received: bool


def pause_s(attempts: int) -> int:
    """How long to wait after so many attempts: doubling from two seconds to five minutes."""
    return min(_FIRST_PAUSE_S << min(attempts, 16), _LONGEST_PAUSE_S)


class Outbox:
    """The file, opened. One connection of one thread; other processes may have their own."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @classmethod
    def open(cls, path: Path) -> Outbox:
        """Open the outbox, making it (0600) where there is none. Raises KEYSTORE_CORRUPT (`contents`)."""
        # SQLite gives its journal the permissions of the database, so the file must be closed to others from birth.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        connection = sqlite3.connect(path, isolation_level=None, timeout=30)
        try:
            connection.execute("pragma journal_mode = wal")
            connection.execute("pragma synchronous = full")
            connection.execute("pragma secure_delete = on")
            outbox = cls(connection)
            outbox._prepare()
        except sqlite3.DatabaseError:
            connection.close()
            raise ReferralError(ErrorCode.KEYSTORE_CORRUPT, reason="contents") from None
        except BaseException:
            connection.close()
            raise
        return outbox

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def put(self, outgoing: Outgoing, now: int) -> Entry:
        """Make an act durable before it is sent. The same again is the entry there; other bytes: ACT_ID_REUSED."""
        with self._transaction():
            known = self.find(outgoing.id)
            if known is not None:
                if known.outgoing.jws != outgoing.jws:
                    raise ReferralError(ErrorCode.ACT_ID_REUSED)
                return known
            self._insert(outgoing, now)
        return self.get(outgoing.id)

    def find(self, act_id: str) -> Entry | None:
        """The entry of an act, or None."""
        found = self._select("where id = ?", (act_id,))
        return found[0] if found else None

    def get(self, act_id: str) -> Entry:
        """The entry of an act. Raises NOT_FOUND."""
        entry = self.find(act_id)
        if entry is None:
            raise ReferralError(ErrorCode.NOT_FOUND)
        return entry

    def entries(self) -> list[Entry]:
        """All entries, oldest first."""
        return self._select("order by queued_at, rowid", ())

    def marks(self) -> list[Mark]:
        """All entries without their bytes, oldest first: thousands of envelopes need not be read to know of them."""
        rows = self._connection.execute(
            "select act, ref, state, receipt is not null from entry order by queued_at, rowid"
        )
        return [
            Mark(Act(act), ref, Progress(state), bool(received) and state in _RANK)
            for act, ref, state, received in rows
        ]

    def accepted(self, ref: ReferralId) -> dict[Digest, bytes]:
        """The acts on a referral with a verified receipt of acceptance, and that: every later view must show both."""
        found = self._select(
            "where ref = ? and receipt is not null and state not in (?, ?)", (ref, Progress.REFUSED, Progress.PURGED)
        )
        return {entry.outgoing.digest: entry.receipt for entry in found if entry.receipt is not None}

    def due(self, now: int) -> list[Entry]:
        """The entries to send now, oldest first: an act that another one builds on was queued before it."""
        return self._select("where state in (?, ?) and due_at <= ? order by queued_at, rowid", (*_WAITING, now))

    def sending(self, act_id: str, now: int) -> Entry:
        """Note an attempt, durably, before it is made; the next one is not before the pause is over."""
        with self._transaction():
            entry = self.get(act_id)
            if entry.state not in _WAITING:
                raise RuntimeError("an entry with an outcome is not sent")
            self._connection.execute(
                "update entry set state = ?, attempts = attempts + 1, due_at = ? where id = ?",
                (Progress.SENDING.value, now + pause_s(entry.attempts), act_id),
            )
        return self.get(act_id)

    def postpone(self, act_id: str, code: ErrorCode, until: int) -> None:
        """Note why an attempt has no outcome, and when to try again at the earliest."""
        self._connection.execute(
            "update entry set code = ?, due_at = max(due_at, ?) where id = ? and state in (?, ?)",
            (code.value, until, act_id, *_WAITING),
        )

    def received(self, act_id: str, receipt: bytes, proof: bytes) -> Entry:
        """Note a verified receipt of acceptance. Only now the draft is destroyed."""
        self._connection.execute(
            "update entry set state = ?, code = null, receipt = ?, proof = ?, draft = null where id = ?"
            " and state in (?, ?)",
            (Progress.RECEIVED.value, receipt, proof, act_id, *_WAITING),
        )
        return self.get(act_id)

    def cosigned(self, act_id: str, receipt: bytes, proof: bytes) -> Entry:
        """Keep a newer proof of the same receipt."""
        self._connection.execute("update entry set proof = ? where id = ? and receipt = ?", (proof, act_id, receipt))
        return self.get(act_id)

    def refused(self, act_id: str, code: ErrorCode, receipt: bytes | None = None, proof: bytes | None = None) -> Entry:
        """Note a refusal for good. The draft stays: a person decides what becomes of it."""
        self._connection.execute(
            "update entry set state = ?, code = ?, receipt = ?, proof = ? where id = ? and state in (?, ?)",
            (Progress.REFUSED.value, code.value, receipt, proof, act_id, *_WAITING),
        )
        return self.get(act_id)

    def needs_resealing(self, act_id: str, code: ErrorCode) -> Entry:
        """Note that these bytes will never be taken, and that the draft must be signed and sealed again."""
        self._connection.execute(
            "update entry set state = ?, code = ? where id = ? and state in (?, ?)",
            (Progress.NEEDS_RESEALING.value, code.value, act_id, *_WAITING),
        )
        return self.get(act_id)

    def replace(self, act_id: str, successor: Outgoing, now: int) -> Entry:
        """Queue what was made anew from an entry's draft and drop the old one, in one step.

        Only for `needs_resealing`: while an outcome is unknown, the old bytes may yet be taken.
        """
        with self._transaction():
            if self.get(act_id).state is not Progress.NEEDS_RESEALING:
                raise RuntimeError("only an entry that can never be taken is replaced")
            self._connection.execute("delete from entry where id = ?", (act_id,))
            self._insert(successor, now)
        return self.get(successor.id)

    def lose(self, act_id: str, receipt: bytes, now: int) -> Entry:
        """Queue an act again whose receipt stands in what the log has lost: to the exchange it never came."""
        self._connection.execute(
            "update entry set state = ?, code = null, receipt = null, proof = null, attempts = 0, due_at = ?"
            " where id = ? and receipt = ?",
            (Progress.QUEUED.value, now, act_id, receipt),
        )
        return self.get(act_id)

    def abandon(self, act_id: str, receipt: bytes) -> Entry:
        """Note that the log has lost an act, and that what it would be sent again with was purged."""
        self._connection.execute(
            "update entry set state = ? where id = ? and receipt = ?", (Progress.PURGED.value, act_id, receipt)
        )
        return self.get(act_id)

    def forget(self, digests: Iterable[Digest]) -> None:
        """Destroy what was sealed beside these acts, in every file of the outbox; their bytes and receipts stay.

        An act without an outcome keeps it: a retry sends the same (R-14), and is looked at again when it has one.
        """
        marks = ", ".join("?" * len(_SETTLED))
        with self._transaction():
            self._connection.executemany(
                f"update entry set beside = null where digest = ? and beside is not null and state in ({marks})",  # noqa: S608 - question marks
                [(digest, *_SETTLED) for digest in digests],
            )
        # Freed pages are zeroed (`secure_delete`), but the journal still holds them as they were. Tried each time: a
        # reader in another process may have stood in the way of the last one.
        self._connection.execute("pragma wal_checkpoint(truncate)").fetchone()

    def learn(self, ref: ReferralId, reached: Progress) -> None:
        """Note that a verified retrieval or acknowledgement moved the submission of a referral on, never back."""
        for entry in self._select("where ref = ? and act = ?", (ref, Act.SUBMIT.value)):
            if entry.state in _RANK and _RANK[reached] > _RANK[entry.state]:
                self._connection.execute("update entry set state = ? where id = ?", (reached.value, entry.outgoing.id))

    def _insert(self, outgoing: Outgoing, now: int) -> None:
        self._connection.execute(
            "insert into entry"
            " (id, act, ref, digest, jws, beside, route, enrolment, draft, state, queued_at, due_at)"
            " values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(outgoing.id, outgoing.act.value, outgoing.ref, outgoing.digest),
                *(outgoing.jws, outgoing.beside, outgoing.route, outgoing.enrolment, outgoing.draft),
                *(Progress.QUEUED.value, now, now),
            ),
        )

    def _prepare(self) -> None:
        with self._transaction():
            version = self._connection.execute("pragma user_version").fetchone()[0]
            if version == _FORMAT:
                return
            if version != 0:
                raise ReferralError(ErrorCode.KEYSTORE_CORRUPT, reason="members")
            for statement in _SCHEMA.split(";"):
                self._connection.execute(statement)
            self._connection.execute(f"pragma user_version = {_FORMAT}")

    def _select(self, clause: str, parameters: tuple[object, ...]) -> list[Entry]:
        columns = (
            "id, act, ref, digest, jws, beside, route, enrolment, draft, "
            "state, queued_at, due_at, attempts, code, receipt, proof"
        )
        # The clause is one of this module's own literals; every value is a parameter.
        rows = self._connection.execute(f"select {columns} from entry {clause}", parameters)  # noqa: S608
        return [_entry(row) for row in rows]

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("begin immediate")
        try:
            yield
        except BaseException:
            self._connection.execute("rollback")
            raise
        self._connection.execute("commit")


def _entry(row: tuple[Any, ...]) -> Entry:
    (
        act_id,
        act,
        ref,
        digest,
        jws,
        beside,
        route,
        enrolment,
        draft,
        state,
        queued,
        due,
        attempts,
        code,
        receipt,
        proof,
    ) = row
    outgoing = Outgoing(ActId(act_id), Act(act), ref, Digest(digest), jws, beside, route, enrolment, draft)
    told = None if code is None else ErrorCode(code)
    return Entry(outgoing, Progress(state), queued, due, attempts, told, receipt, proof)
