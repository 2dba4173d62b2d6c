"""The start-up gate: before anything is written, the database and the log signer must tell one history.

For every log it compares size and right edge of the database, the leaves behind that edge, the newest stored
checkpoint, the signer's lease and state, and what witnesses were promised; then it signs what was committed before a
crash and not yet signed. Whatever does not fit closes the exchange for writing, with the runbook's name as `reason`.
A log that has lost leaves is only held against what its next term says of it.

Must never: repair anything but the missing signature, or accept a database that holds less than was signed.

Implements: design §9 (start-up gate); R-93, R-97.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias

from referral_api.auditlog.checkpoint import TrustPolicy, verify_checkpoint
from referral_api.auditlog.merkle import Frontier
from referral_api.auditlog.records import LogLost, parse_record
from referral_api.auditlog.tiles import TILE_WIDTH
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.terms import Term
from referral_api.formats.strict_json import b64u
from referral_api.server.storage import lease, logbook, queries
from referral_api.server.storage.database import Connection, Database
from referral_api.server.storage.signer import LogSigner, LogSigners, SignedCheckpoint, closed

Promises: TypeAlias = Mapping[str, Sequence[tuple[int, bytes]]]
"""Sizes and roots by log, as witnesses say that they have cosigned them."""
NOTHING: Final[Promises] = {}


def gate(db: Database, signers: LogSigners, promised: Promises = NOTHING) -> dict[str, SignedCheckpoint]:
    """Check every log and sign its committed tail; the newest checkpoint of each log that has leaves.

    Raises WRITES_CLOSED with `reason` (signer.CLOSED_REASONS) and `log`.
    """
    # A state without its log is a database that was lost; a log without its state may be anybody's history.
    with db.read() as conn:
        found = {*logbook.names(conn), *signers.names(), *promised}
    checkpoints: dict[str, SignedCheckpoint] = {}
    for name in sorted(found, key=lambda name: (name != logbook.KEYS, name)):
        with db.read(snapshot=True) as conn:
            if (after := logbook.following(conn, name)) is not None:
                _check_lost(conn, name, after)
                continue
        with db.read() as conn:
            is_unused = name not in signers.names() and logbook.size(conn, name) == 0
        # A crash between locking a new year's log and its first leaf may leave an empty row, and no state yet.
        if is_unused and not promised.get(name):
            continue
        for size, root in promised.get(name, ()):
            check_promise(db, name, size, root)
        if name not in signers.names() and _is_begun_elsewhere(db, name, signers):
            continue
        if (checkpoint := _judge(db, name, signers(name))).size:
            checkpoints[name] = checkpoint
    return checkpoints


def pass_gate(
    db: Database, signers: LogSigners, promised: Promises = NOTHING
) -> tuple[dict[str, SignedCheckpoint], ReferralError | None]:
    """The gate's checkpoints; or none, and why writes are closed (R-97).

    Raises WRITES_CLOSED, `signer-fenced`: another host may be running this exchange, and has all the reads.
    """
    try:
        return gate(db, signers, promised), None
    except ReferralError as error:
        if error.code is not ErrorCode.WRITES_CLOSED or error.facts["reason"] == "signer-fenced":
            raise
        return {}, error


def gate_beside(
    db: Database, trust: Callable[[str], TrustPolicy], promised: Promises = NOTHING
) -> tuple[dict[str, SignedCheckpoint], ReferralError | None]:
    """The gate of a host that does not sign: the database against itself, what it keeps as signed, and the witnesses.

    Returns as `pass_gate`.
    """
    checkpoints: dict[str, SignedCheckpoint] = {}
    try:
        with db.read() as conn:
            found = {*logbook.names(conn), *promised}
        for name in sorted(found):
            with db.read(snapshot=True) as conn:
                if (after := logbook.following(conn, name)) is not None:
                    _check_lost(conn, name, after)
                    continue
            for size, root in promised.get(name, ()):
                check_promise(db, name, size, root)
            with db.read(snapshot=True) as conn:
                _check_edge(conn, name, logbook.frontier(conn, name))
                stored = logbook.latest_checkpoint(conn, name)
                if stored is None:
                    continue
                if stored.size > logbook.size(conn, name):
                    raise closed("database-shorter", name)
                try:
                    checkpoint = verify_checkpoint(stored.note, trust(name))
                    same = logbook.frontier_at(conn, name, stored.size).root() == checkpoint.root
                except ReferralError as error:
                    raise closed("database-differs", name) from error
                if not same:
                    raise closed("database-differs", name)
                checkpoints[name] = SignedCheckpoint(checkpoint.size, checkpoint.root, stored.note)
    except ReferralError as error:
        if error.code is not ErrorCode.WRITES_CLOSED:
            raise
        return {}, error
    return checkpoints, None


def _is_begun_elsewhere(db: Database, name: str, signers: LogSigners) -> bool:
    """Whether another host has begun this log and it is for the first batch here to claim it (lease.py)."""
    with db.read(snapshot=True) as conn:
        if not lease.is_unclaimed(conn, signers, name) or logbook.latest_checkpoint(conn, name) is not None:
            return False
        _check_edge(conn, name, logbook.frontier(conn, name))
    return True


def check_promise(db: Database, name: str, size: int, root: bytes) -> None:
    """What a witness has cosigned, this database must hold, and the same. Raises WRITES_CLOSED: `witness-ahead`,
    `witness-differs`, `database-differs`.
    """
    with db.read(snapshot=True) as conn:
        if size > logbook.size(conn, name):
            raise closed("witness-ahead", name)
        try:
            found = logbook.frontier_at(conn, name, size).root()
        except ReferralError as error:
            raise closed("database-differs", name) from error
    if found != root:
        raise closed("witness-differs", name)


def _check_lost(conn: Connection, name: str, after: Term) -> None:
    """A log that has lost leaves is signed no more, and is as long for ever as its next term says."""
    edge = logbook.frontier(conn, name)
    _check_edge(conn, name, edge)
    place = logbook.position(after, 1)
    for stored in queries.records_sought(conn, queries.Sought(place, place, 1, kind="log.lost")):
        record = parse_record(stored.body.encode("ascii"))
        if isinstance(record, LogLost) and (record.kept.size, record.kept.root) == (edge.size, b64u(edge.root())):
            return
    raise closed("database-differs", name)


def _judge(db: Database, name: str, signer: LogSigner) -> SignedCheckpoint:
    # The signer's size was read before this snapshot: it can only be larger if the database went back.
    with db.read(snapshot=True) as conn:
        edge = logbook.frontier(conn, name)
        if edge.size < signer.size:
            raise closed("database-shorter", name)
        if signer.torn and edge.size == signer.size:
            # A slot is written after its leaves have committed, so that a torn one promises more than this.
            raise closed("signer-state-torn", name)
        _check_edge(conn, name, edge)
        stored = logbook.latest_checkpoint(conn, name)
        if stored is not None and stored.size > edge.size:
            raise closed("database-shorter", name)
        if edge.size:
            # What was signed first: a history that somebody else has signed on would look like an older state.
            lease.check(conn, signer, name, edge=edge)

    def read_missing(first: int, last: int) -> list[bytes]:
        with db.read() as fresh:
            return logbook.leaf_hashes(fresh, name, first, last)

    return signer.extend(edge.size, (), read_missing, expected=edge)


def _check_edge(conn: Connection, name: str, edge: Frontier) -> None:
    """Compute the right edge again, from stored tiles and the newest leaves, at least one and at most 256 of them."""
    if edge.size == 0:
        if logbook.leaves(conn, name, 0, 1):
            raise closed("database-differs", name)
        return
    start = (edge.size - 1) // TILE_WIDTH * TILE_WIDTH
    try:
        before = logbook.frontier_at(conn, name, start)
        # One leaf beyond the end is asked for: it must not exist.
        newest = logbook.leaf_hashes(conn, name, start, edge.size + 1)
    except ReferralError as error:
        raise closed("database-differs", name) from error
    if len(newest) != edge.size - start or before.extend(newest) != edge:
        raise closed("database-differs", name)
