"""What parties and auditors check the exchange with: receipts with fresh proofs, log tiles, consistency, records.

Everything here is verifiable by its reader; nothing here is trusted. Tiles of the keys log are for every party, those
of the audit log for auditors, whose reads are recorded (design §9).

Must never: serve a full tile before it is full, or a checkpoint that covers what is not durable.
"""

from __future__ import annotations

import base64
from bisect import bisect_left
from collections.abc import Container
from dataclasses import dataclass
from typing import Any

from referral_api.auditlog import tiles
from referral_api.auditlog.leaf import parse_leaf
from referral_api.auditlog.records import AuditSession, ProofRead, RecordRead, Sought, encode_record, encode_salt
from referral_api.domain import policy
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.policy import Read, Relation
from referral_api.domain.terms import Term
from referral_api.server.service.callers import Caller
from referral_api.server.service.covering import proof_of
from referral_api.server.service.exchange import Exchange
from referral_api.server.service.reading import access
from referral_api.server.service.recorded import RecordedRead, Shown
from referral_api.server.storage import logbook, queries
from referral_api.server.storage.database import Connection
from referral_api.server.storage.logbook import KEYS

MAX_RECORDS = 200
MAX_LOOKED_THROUGH = 2048
"""Leaves behind which one call looks for records of a party or kind; the writer has nothing else to do meanwhile."""


def receipt(conn: Connection, exchange: Exchange, digest: str, caller: Caller) -> dict[str, Any]:
    """The stored receipt of an act and a fresh proof; only for who may see that act. One's own acts are always seen,
    those too that were refused about a referral that is none, or is not one's own.
    """
    act = queries.find_act_by_digest(conn, digest)
    if act is None:
        raise ReferralError(ErrorCode.NOT_FOUND)
    own = act.party == caller.party
    if own or act.ref is None:
        policy.demand(Read.RECEIPT, caller.role, caller.kind, Relation.OWN if own else Relation.STRANGER)
    elif not access(conn, act.ref, caller, Read.REFERRAL).sees(act):
        raise ReferralError(ErrorCode.NOT_FOUND)
    return {"receipt": act.receipt, "proof": proof_of(conn, exchange, act.pos)}


def waits_for(conn: Connection, exchange: Exchange, digest: str) -> str | None:
    """The log whose next quorum would cosign the proof of this act; None where nothing is to be waited for."""
    act = None if exchange.policy.rule() is None else queries.find_act_by_digest(conn, digest)
    if act is None:
        return None
    term, index = logbook.term_index(act.pos)
    witnessed = exchange.newest_witnessed(conn, term.log)
    return term.log if witnessed is None or witnessed[0] <= index else None


def log_of(name: str, caller: Caller, *, read: Read | None = None) -> str:
    """The log's name if this caller may read it: `keys`, or `audit/<term>` for auditors (of growth: everyone)."""
    action = read or (Read.KEYS_LOG if name == KEYS else Read.AUDIT_LOG)
    relation = Relation.STRANGER if action is Read.AUDIT_LOG else Relation.OWN
    policy.demand(action, caller.role, caller.kind, relation)
    return name


def checkpoint(conn: Connection, exchange: Exchange, log: str, *, cosigned: bool = False) -> tuple[int, bytes]:
    """Size and text of the newest signed checkpoint of a log, or of those that a quorum has cosigned.

    NOT_FOUND for a log that does not exist (yet), and where no quorum has cosigned anything.
    """
    newest = exchange.newest_witnessed(conn, log) if cosigned else exchange.newest_checkpoint(conn, log)
    if newest is None:
        raise ReferralError(ErrorCode.NOT_FOUND)
    return newest


@dataclass(frozen=True, slots=True)
class TileRead:
    """What is at a tile path, which size of the log it takes to have it, and how large the log is that is shown."""

    body: bytes
    reach: int
    size: int


def tile(conn: Connection, exchange: Exchange, log: str, path: str) -> TileRead:
    """What is at a tile path (`tile/…`), once every hash or entry of it is under a signed checkpoint.

    Raises NOT_FOUND for a path that is no tile path, or beyond what the newest checkpoint covers (R-90).
    """
    size, _ = checkpoint(conn, exchange, log)
    wanted = tiles.verify_servable(tiles.parse_tile_path(path), size)
    if (after := logbook.following(conn, log)) is not None:
        held = logbook.size(conn, log)
        try:
            tiles.verify_servable(wanted, held)
        except ReferralError:
            raise _lost(log, held, after) from None
    if wanted.level == tiles.ENTRIES:
        body = tiles.encode_entries(logbook.entries(conn, log, wanted.index, wanted.width))
    else:
        body = logbook.tile(conn, log, wanted.level, wanted.index, wanted.width)
    return TileRead(body, wanted.reach, size)


def consistency(conn: Connection, exchange: Exchange, log: str, old: int, new: int | None) -> dict[str, Any]:
    """Proof that the log of size `new` (None: the newest checkpoint's) extends the one of size `old` (R-94)."""
    size, note = checkpoint(conn, exchange, log)
    after = logbook.following(conn, log)
    held = size if after is None else logbook.size(conn, log)
    to = min(size, held) if new is None else new
    if after is not None and held < max(old, to) <= size:
        raise _lost(log, held, after)
    if not 0 < old <= to <= size:
        raise ReferralError(ErrorCode.MALFORMED, reason="parameter", param="from")
    proof = [base64.b64encode(node).decode("ascii") for node in logbook.consistency(conn, log, old, to)]
    answer = {"from": old, "to": to, "proof": proof, "checkpoint": note.decode("utf-8")}
    return answer if after is None else answer | {"following": str(after)}


def beginning(conn: Connection, exchange: Exchange, term: Term) -> dict[str, Any]:
    """The first records of an audit log, proved: which log it continues, and what that one has lost (R-92).

    Raises NOT_FOUND for a log that does not exist (yet).
    """
    count = 1 if term.before is None else 2
    first = logbook.position(term, 0)
    found = queries.records_sought(conn, queries.Sought(first, first + count - 1, count))
    if len(found) != count:
        raise ReferralError(ErrorCode.NOT_FOUND)
    return {
        "records": [
            {"index": index, "record": one.body, "proof": proof_of(conn, exchange, one.pos)}
            for index, one in enumerate(found)
        ]
    }


def _lost(log: str, held: int, after: Term) -> ReferralError:
    """What nobody can be shown any more; the beginning of the next term says so, signed."""
    return ReferralError(ErrorCode.NOT_FOUND, what="leaves", reason="lost", log=log, kept=held, following=str(after))


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which records an auditor asks for: from an index on, so many, of a party, referral or kind, within times (unix
    seconds; `since` included, `until` not).
    """

    first: int
    limit: int
    party: str | None = None
    ref: str | None = None
    kind: str | None = None
    since: int | None = None
    until: int | None = None

    @property
    def sought(self) -> Sought | None:
        """What the record of the reading says about it."""
        if (self.party, self.ref, self.kind) == (None, None, None):
            return None
        return Sought(party=self.party, ref=self.ref, kind=self.kind)


@dataclass(frozen=True, slots=True)
class Found:
    """The records that were found, and the leaves that were looked through for them: `count` from `start` on."""

    document: dict[str, Any]
    start: int
    count: int


def find_records(conn: Connection, term: Term, wanted: Wanted, caller: Caller) -> Found:
    """Exact bytes as text, in log order; acts come with their receipts. `next` is where to go on; null: that was all.

    Times never run backwards along a log, so a bound of time is found by halving. Party and kind have no index, which
    every act would pay for: MAX_LOOKED_THROUGH leaves are looked through, and an answer may be empty and go on.
    """
    policy.demand(Read.RECORDS, caller.role, caller.kind, Relation.STRANGER)
    log = term.log
    size = logbook.size(conn, log)

    def at(moment: int) -> int:
        return bisect_left(range(size), moment, key=lambda index: parse_leaf(logbook.leaf(conn, log, index)).logged_s)

    start = wanted.first if wanted.since is None else max(wanted.first, at(wanted.since))
    end = max(start, size if wanted.until is None else at(wanted.until))
    if wanted.sought is None and wanted.until is None:
        # Records of this very batch are shown too, so that the reading's own leaf follows the last of them.
        stop = start + wanted.limit
    else:
        stop = end if wanted.ref is not None else min(end, start + MAX_LOOKED_THROUGH)
    span = logbook.position(term, start), logbook.position(term, stop) - 1
    sought = queries.Sought(*span, wanted.limit + 1, wanted.party, wanted.ref, wanted.kind)
    shown: dict[int, dict[str, Any]] = {}
    for act in queries.acts_sought(conn, sought):
        shown[act.pos] = {"kind": act.act.value, "record": act.jws, "receipt": act.receipt}
    for record in queries.records_sought(conn, sought):
        shown[record.pos] = {"kind": record.kind, "record": record.body}
    places = sorted(shown)
    if len(places) > wanted.limit:
        stop = logbook.term_index(places[wanted.limit])[1]
    records = [{"index": logbook.term_index(pos)[1], **shown[pos]} for pos in places[: wanted.limit]]
    return Found({"records": records, "next": stop if stop < end else None}, start, stop - start)


class RecordsRead(RecordedRead[dict[str, Any]]):
    """Hand auditors the records behind leaves; that they were handed out is itself on the record."""

    def __init__(self, exchange: Exchange, term: Term, wanted: Wanted, caller: Caller) -> None:
        self._exchange = exchange
        self._term = term
        self._wanted = wanted
        self._caller = caller

    def show(self, conn: Connection, now: int, *, fetched: Container[tuple[str, str]] = ()) -> Shown[dict[str, Any]]:  # noqa: ARG002
        """The exact bytes as text, acts with their receipts, and the record of the read."""
        found = find_records(conn, self._term, self._wanted, self._caller)
        read = RecordRead(
            t=now,
            salt=encode_salt(self._exchange.token_bytes(16)),
            party=self._caller.party,
            credential=self._caller.credential,
            origin=self._exchange.audit_origin(self._term),
            start=found.start,
            count=found.count,
            sought=self._wanted.sought,
        )
        # Whoever keeps a mirror keeps the record of its own reading too: nobody else could bring it back.
        return Shown(found.document | {"reading": encode_record(read).decode("ascii")}, read)


class SessionRead(RecordedRead[None]):
    """Record that an auditor read a log's tiles up to a size: one record a session, not one a tile (design §9)."""

    def __init__(self, exchange: Exchange, term: Term, old: int, new: int, caller: Caller) -> None:
        self._exchange = exchange
        self._term = term
        self._sizes = (old, new)
        self._caller = caller

    def show(self, conn: Connection, now: int, *, fetched: Container[tuple[str, str]] = ()) -> Shown[None]:  # noqa: ARG002
        """The record alone."""
        old, new = self._sizes
        record = AuditSession(
            t=now,
            salt=encode_salt(self._exchange.token_bytes(16)),
            party=self._caller.party,
            credential=self._caller.credential,
            origin=self._exchange.audit_origin(self._term),
            old_size=old,
            new_size=new,
        )
        return Shown(None, record)


class ReceiptRead(RecordedRead[dict[str, Any]]):
    """Record that a stored receipt and its fresh proof were handed out."""

    def __init__(self, exchange: Exchange, digest: str, caller: Caller) -> None:
        self._exchange = exchange
        self._digest = digest
        self._caller = caller

    def show(self, conn: Connection, now: int, *, fetched: Container[tuple[str, str]] = ()) -> Shown[dict[str, Any]]:  # noqa: ARG002
        """Give receipt and proof, with the record behind them."""
        found = receipt(conn, self._exchange, self._digest, self._caller)
        record = ProofRead(
            t=now,
            salt=encode_salt(self._exchange.token_bytes(16)),
            party=self._caller.party,
            credential=self._caller.credential,
            act=self._digest,
        )
        return Shown(found, record)
