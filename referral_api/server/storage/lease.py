"""The fenced lease: which signer may sign a log is said by the database, who it is by the signer's state file.

The claim is made in the transaction that makes a log's first leaf, and looked at again in every transaction that
appends. Only an adoption changes it. A state that was copied and left behind is told by its size as well: a checkpoint
that the database has kept, and that this state never signed, is another signer's.

Must never: let a signer take over a log that was ever signed, except by adoption.

Implements: design §9 ("a fenced lease"); R-93.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from referral_api.auditlog.merkle import Frontier
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.server.storage import logbook
from referral_api.server.storage.database import Connection, Database, Transaction
from referral_api.server.storage.logbook import KEYS
from referral_api.server.storage.signer import Claim, LogSigner, LogSigners, closed


@dataclass(frozen=True, slots=True)
class Holder:
    """Who may sign a log. `signed` is the largest checkpoint that the database has kept of it (0: none)."""

    signer: str
    fence: int
    adopted_at: int
    signed: int

    def is_held_by(self, claim: Claim) -> bool:
        """Whether this claim is the one."""
        return (self.signer, self.fence) == (claim.signer, claim.fence)


def find_holder(conn: Connection, log: str) -> Holder | None:
    """Who may sign a log; None before its first leaf."""
    row = conn.one(
        "SELECT signer_id, fence, adopted_at,"
        " (SELECT size FROM log_checkpoint WHERE log = ? ORDER BY size DESC LIMIT 1) FROM log_signer WHERE log = ?",
        (log, log),
    )
    return None if row is None else Holder(row[0], row[1], row[2], row[3] or 0)


def hold(tx: Transaction, signers: LogSigners, log: str, size: int, now: int, *, edge: Frontier | None = None) -> None:
    """See that this process may sign the locked log `log`; an empty one is claimed, and one that a host which does not
    sign has begun (a new year's). With `edge`, the database's, that is held against what was signed.

    Raises WRITES_CLOSED: `signer-fenced`, `signer-state-rolled-back`, or what the signer raises.
    """
    if size and not is_unclaimed(tx, signers, log):
        check(tx, signers(log), log, edge=edge)
        return
    signer = signers.begin(log)
    claim = signer.claim
    holder = find_holder(tx, log)
    if holder is None:
        tx.run(
            "INSERT INTO log_signer (log, signer_id, fence, adopted_at) VALUES (?,?,?,?)",
            (log, claim.signer, claim.fence, now),
        )
    elif not holder.is_held_by(claim):
        raise closed("signer-fenced", log)
    if edge is not None:
        signer.meet(edge, partial(logbook.leaf_hashes, tx, log))


def is_unclaimed(conn: Connection, signers: LogSigners, log: str) -> bool:
    """Whether nobody has ever signed a log, and it is for this host's signer to do so: for it signs the keys log.

    Of a log that was signed the database names the signer, unless it went back to before: then the signer's own state
    tells (signer.py, `meet`).
    """
    if log == KEYS or find_holder(conn, log) is not None:
        return False
    first = find_holder(conn, KEYS)
    return first is not None and first.is_held_by(signers(KEYS).claim)


def is_elsewhere(database: Database, signers: LogSigners) -> bool:
    """Whether the database names another host's signer. A state here that is damaged is no other host's."""
    with database.read() as conn:
        holder = find_holder(conn, KEYS)
    if holder is None:
        return False
    try:
        return not holder.is_held_by(signers(KEYS).claim)
    except ReferralError as error:
        return error.facts.get("reason") in ("signer-state-missing", "signer-fenced")


def check(conn: Connection, signer: LogSigner, log: str, *, edge: Frontier | None = None) -> None:
    """See that the signer of a log that has leaves is the one that may sign it. Raises as `hold`."""
    holder = find_holder(conn, log)
    if holder is None or not holder.is_held_by(signer.claim):
        raise closed("signer-fenced", log)
    if edge is not None:
        signer.meet(edge, partial(logbook.leaf_hashes, conn, log))
    newest = signer.newest()
    if holder.signed > (0 if newest is None else newest.size):
        raise closed("signer-state-rolled-back", log)


def close(tx: Transaction, log: str) -> None:
    """Let nobody sign a log any more, on whatever host: it has lost leaves, and its year's next term continues it."""
    tx.run("UPDATE log_signer SET signer_id = '', fence = fence + 1 WHERE log = ?", (log,))


def move(tx: Transaction, log: str, seen: Holder | None, claim: Claim, now: int) -> None:
    """Let another claim sign from now on. The log is locked. Raises WRITES_CLOSED if the lease moved meanwhile."""
    if seen is None:
        moved = tx.run(
            "INSERT INTO log_signer (log, signer_id, fence, adopted_at) VALUES (?,?,?,?) ON CONFLICT DO NOTHING",
            (log, claim.signer, claim.fence, now),
        )
    else:
        moved = tx.run(
            "UPDATE log_signer SET signer_id = ?, fence = ?, adopted_at = ? WHERE log = ? AND fence = ?",
            (claim.signer, claim.fence, now, log, seen.fence),
        )
    if moved != 1:
        raise ReferralError(ErrorCode.WRITES_CLOSED, reason="signer-fenced", log=log)
