"""Evidence packs: everything about one referral that a caller may see, made provable (R-89).

A pack is built from one moment of the database, before the writer hears of it, because a long keys log takes a while to
read. The record that this credential was handed this very pack commits before the first byte leaves, and the right to
it is asked for again in that transaction.

Must never: put into a pack what `GET /v1/referrals/{ref}` would not show the same caller, or cover what is not signed.

Implements: R-52, R-60 to R-63, R-89; design §7, §9.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, get_args

from referral_api.auditlog.pack import Evidence, Piece, Relation, build_pack
from referral_api.auditlog.records import PackRead, Retrieved, ServerRecord, encode_salt, parse_record
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.policy import Read
from referral_api.domain.words import Role
from referral_api.formats.strict_json import sha256_b64u
from referral_api.server.service.batch import Batch, Done, audit_log
from referral_api.server.service.callers import Caller
from referral_api.server.service.exchange import Exchange
from referral_api.server.service.reading import Access, access
from referral_api.server.storage import logbook, queries
from referral_api.server.storage.database import Connection
from referral_api.server.storage.logbook import KEYS

_RELATIONS: Final[Mapping[Role, Relation]] = {
    Role.AUDITOR: "auditor",
    Role.HOTLINE: "sender",
    Role.POLICE_UNIT: "recipient",
}
_ABOUT_A_REFERRAL: Final = tuple(
    sorted(kind.model_fields["kind"].default for kind in get_args(ServerRecord) if "ref" in kind.model_fields)
)
_Notes = Mapping[str, tuple[int, bytes]]


def build(exchange: Exchange, ref: str, caller: Caller) -> bytes:
    """The pack about a referral for this caller, as of the newest checkpoints.

    Raises NOT_FOUND as `access`, TOO_LARGE, CHECKPOINT_PENDING while something that belongs to it is not signed over.
    """
    with exchange.database.read() as conn:
        # Before the moment that is shown, which then has every leaf that these cover.
        found = {log: exchange.newest_checkpoint(conn, log) for log in logbook.names(conn)}
    notes: _Notes = {log: newest for log, newest in found.items() if newest is not None}
    if KEYS not in notes:
        raise ReferralError(ErrorCode.CHECKPOINT_PENDING)
    with exchange.database.read(snapshot=True) as conn:
        granted = access(conn, ref, caller, Read.EVIDENCE)
        pieces = sorted(_pieces(conn, granted, notes), key=lambda piece: (piece.year, piece.index))
        size, keys_checkpoint = notes[KEYS]
        keys_leaves = logbook.leaves(conn, KEYS, 0, size)
    evidence = Evidence(
        ref=ref,
        relation=_RELATIONS[caller.role],
        unit=caller.party if caller.role is Role.POLICE_UNIT else None,
        keys_leaves=keys_leaves,
        keys_checkpoint=keys_checkpoint,
        checkpoints={year: notes[audit_log(year)][1] for year in sorted({piece.year for piece in pieces})},
        pieces=pieces,
    )
    return build_pack(evidence, exchange.keymap)


class PackHandedOut:
    """Record that a pack was made for a caller, who may still have it."""

    def __init__(self, exchange: Exchange, ref: str, pack: bytes, caller: Caller) -> None:
        self._exchange = exchange
        self._ref = ref
        self._pack = pack
        self._caller = caller

    def __call__(self, batch: Batch) -> Done[bytes]:
        """Record it, then give its bytes."""
        access(batch.tx, self._ref, self._caller, Read.EVIDENCE)
        record = PackRead(
            t=batch.now,
            salt=encode_salt(self._exchange.token_bytes(16)),
            party=self._caller.party,
            credential=self._caller.credential,
            ref=self._ref,
            digest=sha256_b64u(self._pack),
        )
        batch.record(record, ref=self._ref, party=self._caller.party)
        return Done(self._pack)


def _pieces(conn: Connection, granted: Access, notes: _Notes) -> Iterator[Piece]:
    ref = granted.referral.ref
    for act in queries.acts_of(conn, ref):
        if granted.sees(act):
            receipt = act.receipt.encode("ascii") or None
            yield _piece(conn, notes, act.pos, act.jws.encode("ascii"), is_act=True, receipt=receipt)
    for record in queries.records_of(conn, ref, _ABOUT_A_REFERRAL):
        body = record.body.encode("ascii")
        if _may_see(granted, parse_record(body)):
            yield _piece(conn, notes, record.pos, body, is_act=False)


def _may_see(granted: Access, record: ServerRecord) -> bool:
    """Auditors see every record; the parties see that a unit was handed its bundle, a unit that it was itself."""
    if granted.caller.role is Role.AUDITOR:
        return True
    if not isinstance(record, Retrieved) or record.sealed != "bundle" or record.unit is None:
        return False
    return granted.caller.role is Role.HOTLINE or record.unit == granted.caller.party


def _piece(
    conn: Connection, notes: _Notes, pos: int, content: bytes, *, is_act: bool, receipt: bytes | None = None
) -> Piece:
    year, index = logbook.year_index(pos)
    log = audit_log(year)
    size = notes[log][0] if log in notes else 0
    if index >= size:
        raise ReferralError(ErrorCode.CHECKPOINT_PENDING)
    hashes = logbook.inclusion(conn, log, index, size)
    leaf = logbook.leaf(conn, log, index)
    return Piece(year, index, leaf, hashes, content, is_act=is_act, receipt=receipt)
