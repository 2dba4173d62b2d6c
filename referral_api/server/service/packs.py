"""Evidence packs: everything about one referral that a caller may see, made provable (R-89).

A pack is built from one moment of the database, before the writer hears of it, because a long keys log takes a while to
read. The record that this credential was handed this very pack commits before the first byte leaves, and the right to
it is asked for again in that transaction.

Must never: put into a pack what `GET /v1/referrals/{ref}` would not show the same caller, or cover what is not signed.

Implements: R-52, R-60 to R-63, R-89; design §7, §9.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, get_args

from referral_api.auditlog.checkpoint import parse_checkpoint
from referral_api.auditlog.merkle import Frontier, leaf_hash
from referral_api.auditlog.note import parse_note
from referral_api.auditlog.pack import Evidence, Piece, Relation, build_pack
from referral_api.auditlog.records import PackRead, Retrieved, ServerRecord, encode_salt, parse_record
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.policy import Read
from referral_api.domain.terms import Term
from referral_api.domain.words import Role
from referral_api.formats.strict_json import sha256_b64u
from referral_api.server.service.callers import Caller
from referral_api.server.service.covering import path_under
from referral_api.server.service.exchange import Exchange
from referral_api.server.service.reading import Access, access
from referral_api.server.service.recorded import RecordedRead, Shown
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


def build(exchange: Exchange, ref: str, caller: Caller) -> bytes:
    """The pack about a referral for this caller, as of the newest checkpoints; of those that a quorum of witnesses has
    cosigned, wherever they cover every act and retrieval. Who has read since then stands in a later pack.

    Raises NOT_FOUND as `access`, TOO_LARGE, CHECKPOINT_PENDING while something that belongs to it is not signed over.
    """
    with exchange.database.read() as conn:
        # Before the moment that is shown, which then has every leaf that these cover.
        heads = {log: _Heads.read(conn, exchange, log) for log in logbook.names(conn)}
    with exchange.database.read(snapshot=True) as conn:
        found = sorted(_found(conn, access(conn, ref, caller, Read.EVIDENCE)), key=lambda one: one.pos)
        needed = {logbook.term_index(one.pos)[0]: -1 for one in found}
        needed |= dict(logbook.term_index(one.pos) for one in found if one.is_needed)  # of a log, the last one
        checkpoints = {term: heads.get(term.log, _Heads()).covering(last) for term, last in needed.items()}
        keys = heads.get(KEYS, _Heads())
        size, keys_checkpoint = keys.covering(0 if keys.newest is None else keys.newest[0] - 1)
        evidence = Evidence(
            ref=ref,
            relation=_RELATIONS[caller.role],
            unit=caller.party if caller.role is Role.POLICE_UNIT else None,
            keys_leaves=_keys_leaves(conn, size, keys_checkpoint),
            keys_checkpoint=keys_checkpoint,
            checkpoints={term: note for term, (_, note) in checkpoints.items()},
            pieces=[piece for one in found if (piece := one.prove(conn, checkpoints)) is not None],
        )
    return build_pack(evidence, exchange.keymap)


def _keys_leaves(conn: Connection, size: int, note: bytes) -> list[bytes]:
    """The whole keys log as a checkpoint signs it. Raises CHECKPOINT_PENDING where these leaves are others (R-97)."""
    leaves = logbook.leaves(conn, KEYS, 0, size)
    if Frontier().extend([leaf_hash(leaf) for leaf in leaves]).root() != parse_checkpoint(parse_note(note).text).root:
        raise ReferralError(ErrorCode.CHECKPOINT_PENDING)
    return leaves


@dataclass(frozen=True, slots=True)
class _Heads:
    """The checkpoints of a log, size and note each, that a pack may name."""

    newest: tuple[int, bytes] | None = None
    witnessed: tuple[int, bytes] | None = None

    @classmethod
    def read(cls, conn: Connection, exchange: Exchange, log: str) -> _Heads:
        return cls(
            exchange.newest_checkpoint(conn, log, provable=True), exchange.newest_witnessed(conn, log, provable=True)
        )

    def covering(self, index: int) -> tuple[int, bytes]:
        """The better one that covers a leaf. Raises CHECKPOINT_PENDING."""
        for head in (self.witnessed, self.newest):
            if head is not None and head[0] > index:
                return head
        raise ReferralError(ErrorCode.CHECKPOINT_PENDING)


@dataclass(frozen=True, slots=True)
class _Found:
    """Something of a referral that a caller may see, and where its leaf is."""

    pos: int
    content: bytes
    is_act: bool
    is_needed: bool
    """Whether a pack without it would tell another story: an act or a retrieval."""
    receipt: bytes | None = None

    def prove(self, conn: Connection, checkpoints: Mapping[Term, tuple[int, bytes]]) -> Piece | None:
        term, index = logbook.term_index(self.pos)
        if index >= checkpoints[term][0]:
            return None
        leaf, hashes = path_under(conn, term.log, index, checkpoints[term])
        return Piece(term, index, leaf, hashes, self.content, is_act=self.is_act, receipt=self.receipt)


class PackHandedOut(RecordedRead[bytes]):
    """Record that a pack was made for a caller, who may still have it."""

    def __init__(self, exchange: Exchange, ref: str, pack: bytes, caller: Caller) -> None:
        self._exchange = exchange
        self._ref = ref
        self._pack = pack
        self._caller = caller

    def show(self, conn: Connection, now: int, *, fetched: Container[tuple[str, str]] = ()) -> Shown[bytes]:  # noqa: ARG002
        """Its bytes, and the record of them."""
        access(conn, self._ref, self._caller, Read.EVIDENCE)
        record = PackRead(
            t=now,
            salt=encode_salt(self._exchange.token_bytes(16)),
            party=self._caller.party,
            credential=self._caller.credential,
            ref=self._ref,
            digest=sha256_b64u(self._pack),
        )
        return Shown(self._pack, record)


def _found(conn: Connection, granted: Access) -> Iterator[_Found]:
    ref = granted.referral.ref
    for act in queries.acts_of(conn, ref):
        if granted.sees(act):
            # The exchange's own acts answer nobody and may have no receipt.
            receipt = act.receipt.encode("ascii") or None
            yield _Found(act.pos, act.jws.encode("ascii"), is_act=True, is_needed=True, receipt=receipt)
    for record in queries.records_of(conn, ref, _ABOUT_A_REFERRAL):
        body = record.body.encode("ascii")
        read = parse_record(body)
        if _may_see(granted, read):
            yield _Found(record.pos, body, is_act=False, is_needed=isinstance(read, Retrieved))


def _may_see(granted: Access, record: ServerRecord) -> bool:
    """Auditors see every record; the parties see that a unit was handed its bundle, a unit that it was itself."""
    if granted.caller.role is Role.AUDITOR:
        return True
    if not isinstance(record, Retrieved) or record.sealed != "bundle" or record.unit is None:
        return False
    return granted.caller.role is Role.HOTLINE or record.unit == granted.caller.party
