"""What parties and auditors check the exchange with: receipts with fresh proofs, log tiles, consistency, records.

Everything here is verifiable by its reader; nothing here is trusted. Tiles of the keys log are for every party, those
of the audit log for auditors, whose reads are recorded (design §9).

Must never: serve a full tile before it is full, or a checkpoint that covers what is not durable.
"""

from __future__ import annotations

import base64
from typing import Any

from referral_api.auditlog import tiles
from referral_api.auditlog.records import AuditSession, ProofRead, RecordRead, encode_salt
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
    year, index = logbook.year_index(act.pos)
    witnessed = exchange.newest_witnessed(conn, audit_log(year))
    return audit_log(year) if witnessed is None or witnessed[0] <= index else None


def log_of(name: str, caller: Caller, *, read: Read | None = None) -> str:
    """The log's name if this caller may read it: `keys`, or `audit/<year>` for auditors (of growth: everyone)."""
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


class RecordsRead:
    """Hand auditors the records behind leaves; that they were handed out is itself on the record."""

    def __init__(self, exchange: Exchange, year: int, first: int, count: int, caller: Caller) -> None:
        self._exchange = exchange
        self._year = year
        self._first = first
        self._count = count
        self._caller = caller

    def __call__(self, batch: Batch) -> Done[dict[str, Any]]:
        """Record the read, then give exact bytes as text; acts come with their receipts."""
        policy.demand(Read.RECORDS, self._caller.role, self._caller.kind, Relation.STRANGER)
        first = logbook.position(self._year, self._first)
        last = first + self._count - 1
        shown: dict[int, dict[str, Any]] = {}
        for act in queries.acts_between(batch.tx, first, last):
            shown[act.pos] = {"kind": act.act.value, "record": act.jws, "receipt": act.receipt}
        for record in queries.records_between(batch.tx, first, last):
            shown[record.pos] = {"kind": record.kind, "record": record.body}
        read = RecordRead(
            t=batch.now,
            salt=encode_salt(self._exchange.token_bytes(16)),
            party=self._caller.party,
            credential=self._caller.credential,
            origin=self._exchange.audit_origin(self._year),
            start=self._first,
            count=self._count,
        )
        batch.record(read, party=self._caller.party)
        records = [{"index": logbook.year_index(pos)[1], **shown[pos]} for pos in sorted(shown)]
        return Done({"records": records})


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
