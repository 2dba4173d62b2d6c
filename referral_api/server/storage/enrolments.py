"""Invitations and enrolments as rows: plain values in, frozen dataclasses out.

An invitation's secret is never here, only its digest; of a challenge only the digest of its nonce.

Must never: decide who may enrol (service/enrolment.py and service/directory.py do), or let a row leave this folder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from referral_api.domain.errors import ReferralError
from referral_api.formats.strict_json import canonical, parse
from referral_api.server.storage.database import Connection, Transaction

_MAX_COLUMN_BYTES = 128 * 1024
_COLUMNS = "id, nonce, party, state, challenges, body, tries, created_at, updated_at"
_INVITATION = "nonce, party, role, act_digest, expires_at, enrolment"


class EnrolmentState(StrEnum):
    """Where an enrolment is. Its end by time is not a state: `created_at` tells."""

    BEGUN = "begun"
    """Challenges are out; nothing has come back."""
    COMPLETED = "completed"
    """Keys, proofs and proposal are here; somebody of the party or the registrar has to act."""
    RECOVERING = "recovering"
    """The same for a party that has lost its keyholders, to whom a registrar person gave the invitation: one has to
    act.
    """
    LISTED = "listed"
    """A statement that lists the keys is on the log and waits for a second signer."""
    DONE = "done"
    VOID = "void"


@dataclass(frozen=True, slots=True)
class StoredInvitation:
    """One `invite` act's row. `enrolment` is the one enrolment that began with it."""

    nonce: str
    party: str
    role: str
    act_digest: str
    expires_at: int
    enrolment: str | None


@dataclass(frozen=True, slots=True)
class StoredEnrolment:
    """One enrolment. `challenges` maps a kid to the digest of the nonce sealed to it; `body` is what completed it."""

    id: str
    nonce: str
    party: str
    state: EnrolmentState
    challenges: Mapping[str, str]
    body: Mapping[str, Any] | None
    tries: int
    created_at: int
    updated_at: int


def find_invitation(conn: Connection, nonce: str) -> StoredInvitation | None:
    """The invitation of this digest."""
    row = conn.one(f"SELECT {_INVITATION} FROM invitation WHERE nonce = ?", (nonce,))  # noqa: S608 (constant)
    return None if row is None else StoredInvitation(*row)


def insert_invitation(tx: Transaction, invitation: StoredInvitation) -> None:
    """Store a new invitation; its digest is unique."""
    tx.run(
        f"INSERT INTO invitation ({_INVITATION}) VALUES (?,?,?,?,?,?)",  # noqa: S608 (constant)
        (
            invitation.nonce,
            invitation.party,
            invitation.role,
            invitation.act_digest,
            invitation.expires_at,
            invitation.enrolment,
        ),
    )


def take_invitation(tx: Transaction, nonce: str, enrolment: str) -> bool:
    """Bind an unused invitation to its one enrolment; False if another was faster."""
    return tx.run("UPDATE invitation SET enrolment = ? WHERE nonce = ? AND enrolment IS NULL", (enrolment, nonce)) == 1


def find_enrolment(conn: Connection, enrolment: str) -> StoredEnrolment | None:
    """The enrolment of this id."""
    row = conn.one(f"SELECT {_COLUMNS} FROM enrolment WHERE id = ?", (enrolment,))  # noqa: S608 (constant)
    return None if row is None else _enrolment(row)


def enrolments_in(conn: Connection, state: EnrolmentState, *, since: int = 0) -> list[StoredEnrolment]:
    """Enrolments in this state that began after `since`, the oldest first.

    At most 1,000: `since` keeps those whose time is over from hiding the others.
    """
    rows = conn.all(
        f"SELECT {_COLUMNS} FROM enrolment WHERE state = ? AND created_at > ?"  # noqa: S608 (constants)
        " ORDER BY created_at, id LIMIT 1000",
        (state.value, since),
    )
    return [_enrolment(row) for row in rows]


def enrolments_of(conn: Connection, party: str, state: EnrolmentState) -> list[StoredEnrolment]:
    """A party's enrolments in this state, at most 1,000. In no order, for which those of all parties would be read."""
    rows = conn.all(
        f"SELECT {_COLUMNS} FROM enrolment WHERE party = ? AND state = ? LIMIT 1000",  # noqa: S608 (constants)
        (party, state.value),
    )
    return [_enrolment(row) for row in rows]


def insert_enrolment(tx: Transaction, enrolment: StoredEnrolment) -> None:
    """Store a new enrolment."""
    tx.run(
        f"INSERT INTO enrolment ({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?)",  # noqa: S608 (constant)
        (
            enrolment.id,
            enrolment.nonce,
            enrolment.party,
            enrolment.state.value,
            _written(enrolment.challenges),
            None if enrolment.body is None else _written(enrolment.body),
            enrolment.tries,
            enrolment.created_at,
            enrolment.updated_at,
        ),
    )


def swap_enrolment(tx: Transaction, before: StoredEnrolment, after: StoredEnrolment) -> bool:
    """Replace an enrolment's changing columns if it is still as it was read; False if it is not."""
    changed = tx.run(
        "UPDATE enrolment SET state = ?, challenges = ?, body = ?, tries = ?, updated_at = ?"
        " WHERE id = ? AND state = ? AND tries = ?",
        (
            after.state.value,
            _written(after.challenges),
            None if after.body is None else _written(after.body),
            after.tries,
            after.updated_at,
            before.id,
            before.state.value,
            before.tries,
        ),
    )
    return changed == 1


def read_enrolment(row: Mapping[str, Any]) -> StoredEnrolment:
    """An enrolment from its row by column. Raises ValueError for what this module never wrote."""
    if unreadable(row):
        raise ValueError("no row of this module's")
    return _enrolment(tuple(row[column] for column in _COLUMNS.split(", ")))


def _enrolment(row: tuple[Any, ...]) -> StoredEnrolment:
    enrolment, nonce, party, state, challenges, body, tries, created_at, updated_at = row
    return StoredEnrolment(
        id=enrolment,
        nonce=nonce,
        party=party,
        state=EnrolmentState(state),
        challenges=_read(challenges),
        body=None if body is None else _read(body),
        tries=tries,
        created_at=created_at,
        updated_at=updated_at,
    )


def _written(value: Mapping[str, Any]) -> str:
    return canonical(dict(value)).decode("ascii")


def _read(column: str) -> dict[str, Any]:
    """A JSON column that this module wrote."""
    value = parse(column.encode("ascii"), max_bytes=_MAX_COLUMN_BYTES)
    if not isinstance(value, dict):
        raise TypeError("a JSON column holds something else")
    return value


def _read_exactly(column: str | None) -> None:
    if column is not None and _written(_read(column)) != column:
        raise ValueError("a JSON column is not as it was written")


_READERS: Mapping[str, Callable[[Any], object]] = {
    "state": EnrolmentState,
    "challenges": _read_exactly,
    "body": _read_exactly,
}
"""How the columns are read whose text could be anything."""


def unreadable(row: Mapping[str, Any]) -> list[str]:
    """Columns of a row that this module never wrote as they stand."""
    found: list[str] = []
    for column, read in _READERS.items():
        try:
            read(row[column])
        except (ReferralError, ValueError, TypeError):
            found.append(column)
    return found
