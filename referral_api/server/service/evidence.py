"""What parties and auditors check the exchange with: receipts with fresh proofs, log tiles, consistency, records.

Everything here is verifiable by its reader; nothing here is trusted. Tiles of the keys log are for every party, those
of the audit log for auditors, whose reads are recorded (design §9).

Must never: serve a full tile before it is full, or a checkpoint that covers what is not durable.
"""

from __future__ import annotations

import base64
from bisect import bisect_left
from dataclasses import dataclass
from typing import Any

from referral_api.auditlog import tiles
from referral_api.auditlog.leaf import parse_leaf
from referral_api.auditlog.records import AuditSession, ProofRead, RecordRead, Sought, encode_salt
from referral_api.domain import policy
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.policy import Read, Relation
from referral_api.server.service.batch import Batch, Done, audit_log
from referral_api.server.service.callers import Caller
from referral_api.server.service.decision import proof_of
from referral_api.server.service.exchange import Exchange
from referral_api.server.service.reading import access
from referral_api.server.storage import logbook, queries
from referral_api.server.storage.database import Connection
from referral_api.server.storage.logbook import KEYS

MAX_RECORDS = 200
MAX_LOOKED_THROUGH = 4096
"""Leaves behind which one call looks for records of a party or kind."""


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


def log_of(name: str, caller: Caller, *, read: Read | None = None) -> str:
    """The log's name if this caller may read it: `keys`, or `audit/<year>` for auditors (of growth: everyone)."""
    action = read or (Read.KEYS_LOG if name == KEYS else Read.AUDIT_LOG)
    relation = Relation.STRANGER if action is Read.AUDIT_LOG else Relation.OWN
    policy.demand(action, caller.role, caller.kind, relation)
    return name


def checkpoint(conn: Connection, exchange: Exchange, log: str) -> tuple[int, bytes]:
    """Size and text of the newest signed checkpoint of a log. NOT_FOUND for a log that does not exist (yet)."""
    newest = exchange.newest_checkpoint(conn, log)
    if newest is None:
        raise ReferralError(ErrorCode.NOT_FOUND)
    return newest


def tile(conn: Connection, exchange: Exchange, log: str, path: str) -> bytes:
    """The bytes at a tile path (`tile/…`), once every hash or entry of it is under a signed checkpoint.

    Raises NOT_FOUND for a path that is no tile path, or beyond what the newest checkpoint covers (R-90).
    """
    size, _ = checkpoint(conn, exchange, log)
    wanted = tiles.verify_servable(tiles.parse_tile_path(path), size)
    if wanted.level == tiles.ENTRIES:
        return tiles.encode_entries(logbook.entries(conn, log, wanted.index, wanted.width))
    return logbook.tile(conn, log, wanted.level, wanted.index, wanted.width)


def consistency(conn: Connection, exchange: Exchange, log: str, old: int, new: int | None) -> dict[str, Any]:
    """Proof that the log of size `new` (None: the newest checkpoint's) extends the one of size `old` (R-94)."""
    size, note = checkpoint(conn, exchange, log)
    to = size if new is None else new
    if not 0 < old <= to <= size:
        raise ReferralError(ErrorCode.MALFORMED, reason="parameter", param="from")
    proof = [base64.b64encode(node).decode("ascii") for node in logbook.consistency(conn, log, old, to)]
    return {"from": old, "to": to, "proof": proof, "checkpoint": note.decode("utf-8")}


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


def find_records(conn: Connection, year: int, wanted: Wanted, caller: Caller) -> Found:
    """Exact bytes as text, in log order; acts come with their receipts. `next` is where to go on; null: that was all.

    Times never run backwards along a log, so a bound of time is found by halving. Party and kind have no index, which
    every act would pay for: MAX_LOOKED_THROUGH leaves are looked through, and an answer may be empty and go on.
    """
    policy.demand(Read.RECORDS, caller.role, caller.kind, Relation.STRANGER)
    log = audit_log(year)
    size = logbook.size(conn, log)

    def at(moment: int) -> int:
        return bisect_left(range(size), moment, key=lambda index: parse_leaf(logbook.leaf(conn, log, index)).logged_s)

    start = wanted.first if wanted.since is None else max(wanted.first, at(wanted.since))
    end = max(start, size if wanted.until is None else at(wanted.until))
    reach = wanted.limit if wanted.sought is None else MAX_LOOKED_THROUGH
    stop = end if wanted.ref is not None else min(end, start + reach)
    span = logbook.position(year, start), logbook.position(year, stop) - 1
    sought = queries.Sought(*span, wanted.limit + 1, wanted.party, wanted.ref, wanted.kind)
    shown: dict[int, dict[str, Any]] = {}
    for act in queries.acts_sought(conn, sought):
        shown[act.pos] = {"kind": act.act.value, "record": act.jws, "receipt": act.receipt}
    for record in queries.records_sought(conn, sought):
        shown[record.pos] = {"kind": record.kind, "record": record.body}
    places = sorted(shown)
    if len(places) > wanted.limit:
        stop = logbook.year_index(places[wanted.limit])[1]
    records = [{"index": logbook.year_index(pos)[1], **shown[pos]} for pos in places[: wanted.limit]]
    return Found({"records": records, "next": stop if stop < end else None}, start, stop - start)


class RecordsRead:
    """Record that records were found for an auditor, before they are handed out."""

    def __init__(self, exchange: Exchange, year: int, wanted: Wanted, found: Found, caller: Caller) -> None:
        self._exchange = exchange
        self._year = year
        self._wanted = wanted
        self._found = found
        self._caller = caller

    def __call__(self, batch: Batch) -> Done[dict[str, Any]]:
        """Record the reading, and give what was found."""
        read = RecordRead(
            t=batch.now,
            salt=encode_salt(self._exchange.token_bytes(16)),
            party=self._caller.party,
            credential=self._caller.credential,
            origin=self._exchange.audit_origin(self._year),
            start=self._found.start,
            count=self._found.count,
            sought=self._wanted.sought,
        )
        batch.record(read, ref=self._wanted.ref, party=self._caller.party)
        return Done(self._found.document)


class SessionRead:
    """Record that an auditor read a log's tiles up to a size: one record a session, not one a tile (design §9)."""

    def __init__(self, exchange: Exchange, year: int, old: int, new: int, caller: Caller) -> None:
        self._exchange = exchange
        self._year = year
        self._sizes = (old, new)
        self._caller = caller

    def __call__(self, batch: Batch) -> Done[None]:
        """Append the record."""
        old, new = self._sizes
        record = AuditSession(
            t=batch.now,
            salt=encode_salt(self._exchange.token_bytes(16)),
            party=self._caller.party,
            credential=self._caller.credential,
            origin=self._exchange.audit_origin(self._year),
            old_size=old,
            new_size=new,
        )
        batch.record(record, party=self._caller.party)
        return Done(None)


class ReceiptRead:
    """Record that a stored receipt and its fresh proof were handed out."""

    def __init__(self, exchange: Exchange, digest: str, caller: Caller) -> None:
        self._exchange = exchange
        self._digest = digest
        self._caller = caller

    def __call__(self, batch: Batch) -> Done[dict[str, Any]]:
        """Give receipt and proof, with the record behind them."""
        found = receipt(batch.tx, self._exchange, self._digest, self._caller)
        record = ProofRead(
            t=batch.now,
            salt=encode_salt(self._exchange.token_bytes(16)),
            party=self._caller.party,
            credential=self._caller.credential,
            act=self._digest,
        )
        batch.record(record, party=self._caller.party)
        return Done(found)
