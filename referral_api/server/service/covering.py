"""The checkpoints of what the writer commits: signed after the commit, kept by a later one, and the proofs under them.

A checkpoint is kept in the database by the next commit; the signer's own file has it meanwhile. Where the exchange has
several hosts it is kept at once, before anything that names it leaves: the other hosts know of it by the database.

Must never: sign inside a transaction, or make a proof under a checkpoint that does not cover its leaf.

Implements: design §8 (checkpoint over durable state), §9; R-18, R-93.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TypeAlias

from referral_api.auditlog.checkpoint import parse_checkpoint
from referral_api.auditlog.merkle import Frontier, Proof, leaf_hash, verify_inclusion
from referral_api.auditlog.note import parse_note
from referral_api.auditlog.proof import format_proof
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.server.service.batch import Place
from referral_api.server.service.exchange import Exchange
from referral_api.server.storage import lease, logbook
from referral_api.server.storage.database import Connection, Database, Transaction
from referral_api.server.storage.logbook import Appended
from referral_api.server.storage.signer import LogSigner, SignedCheckpoint

Publish: TypeAlias = Callable[[Transaction], None]
"""Tells the other hosts, when the transaction commits, that checkpoints have been kept."""


class Covering:
    """The writer's signatures and proofs; its thread's alone, but for `prove`."""

    def __init__(
        self,
        database: Database,
        signers: Callable[[str], LogSigner],
        checkpoints: dict[str, SignedCheckpoint],
        publish: Publish | None = None,
    ) -> None:
        """`checkpoints` are the newest ones by log, to which this adds. With `publish` they are kept at once."""
        self._database = database
        self._signers = signers
        self._checkpoints = checkpoints
        self._publish = publish
        self._saved: dict[str, int] = {}

    def save(self, tx: Transaction, now: int) -> dict[str, int]:
        """Keep what was signed since the last time; the sizes by log, which `saved` takes once this has committed."""
        saved: dict[str, int] = {}
        for log, checkpoint in self._checkpoints.items():
            if checkpoint.size > self._saved.get(log, -1):
                logbook.save_checkpoint(tx, log, checkpoint.size, checkpoint.note, now)
                saved[log] = checkpoint.size
        return saved

    def saved(self, sizes: Mapping[str, int]) -> None:
        """These are kept."""
        self._saved.update(sizes)

    def sign(
        self, appended: Mapping[str, Appended], places: Iterable[Place], own_sizes: Mapping[str, int], now: int
    ) -> dict[str, SignedCheckpoint]:
        """Sign over a batch that has committed, over the leaves that its answers are about, and over our own.

        Raises as the signer, or as the database where a checkpoint must be kept before it is released.
        """
        signed = {
            log: self._extend(log, grown.first, grown.leaf_hashes, grown.frontier) for log, grown in appended.items()
        }
        signed |= self._catch_up(places, own_sizes, signed)
        self._checkpoints.update(signed)
        if self._publish is not None and signed:
            with self._database.write() as tx:
                saved = self.save(tx, now)
                self._publish(tx)
            self.saved(saved)
        return signed

    def prove(self, place: Place, appended: Mapping[str, Appended], signed: Mapping[str, SignedCheckpoint]) -> str:
        """The tlog-proof of a leaf under the newest checkpoint of its log."""
        grown = appended.get(place.log)
        checkpoint = signed.get(place.log) or self._checkpoints[place.log]
        if grown is not None and checkpoint.size == grown.size and place.index >= grown.first:
            path = grown.proofs[place.index - grown.first]
        else:
            with self._database.read() as conn:
                path = logbook.inclusion(conn, place.log, place.index, checkpoint.size)
        return format_proof(place.index, path, checkpoint.note, extra=place.leaf).decode("utf-8")

    def _catch_up(
        self, places: Iterable[Place], own_sizes: Mapping[str, int], signed: Mapping[str, SignedCheckpoint]
    ) -> dict[str, SignedCheckpoint]:
        """Sign over leaves that were committed before this batch and are unsigned until now: those that its answers are
        about, whose process ended or could not sign, and our own, for a closed log is appended to no more.
        """
        found: dict[str, SignedCheckpoint] = {}

        def cover(log: str, least: int) -> None:
            held = found.get(log) or signed.get(log) or self._checkpoints.get(log)
            if held is None or held.size < least:
                with self._database.read() as conn:
                    lease.check(conn, self._signers(log), log)
                    size = logbook.size(conn, log)
                found[log] = self._extend(log, size, ())

        for place in places:
            cover(place.log, place.index + 1)
        for log, size in own_sizes.items():
            # Nobody waits for these now.
            with suppress(ReferralError):
                cover(log, size)
        return found

    def _extend(
        self, log: str, first: int, leaf_hashes: Sequence[bytes], expected: Frontier | None = None
    ) -> SignedCheckpoint:
        def read_missing(start: int, end: int) -> Sequence[bytes]:
            with self._database.read() as conn:
                return logbook.leaf_hashes(conn, log, start, end)

        return self._signers(log).extend(first, leaf_hashes, read_missing, expected=expected)


def path_under(conn: Connection, log: str, index: int, head: tuple[int, bytes]) -> tuple[bytes, Proof]:
    """A leaf and its path to the root of a signed checkpoint (size and note) that this database is long enough for.

    Raises CHECKPOINT_PENDING where it leads elsewhere: these leaves are not those that were signed (R-97).
    """
    size, note = head
    try:
        leaf, path = logbook.leaf(conn, log, index), logbook.inclusion(conn, log, index, size)
        verify_inclusion(index, size, leaf_hash(leaf), path, parse_checkpoint(parse_note(note).text).root)
    except ReferralError as error:
        raise ReferralError(ErrorCode.CHECKPOINT_PENDING) from error
    return leaf, path


def proof_of(conn: Connection, exchange: Exchange, pos: int) -> str:
    """A tlog-proof of the audit leaf at `pos` as of the newest checkpoint, of those that a quorum has cosigned if one
    covers it.

    Raises CHECKPOINT_PENDING while no checkpoint covers it, as far as this database tells: no receipt leaves without
    one (R-18).
    """
    term, index = logbook.term_index(pos)
    log = term.log
    newest = exchange.newest_witnessed(conn, log, provable=True)
    if newest is None or newest[0] <= index:
        newest = exchange.newest_checkpoint(conn, log, provable=True)
    if newest is None or newest[0] <= index:
        raise ReferralError(ErrorCode.CHECKPOINT_PENDING)
    leaf, path = path_under(conn, log, index, newest)
    return format_proof(index, path, newest[1], extra=leaf).decode("utf-8")
