"""The next term: a log that has lost leaves for good is closed as it is held, and another one of its year follows.

Nothing is signed that contradicts what was: of the old log only the end of what is held, once. The new log's first leaf
names the last checkpoint of the lost one that somebody vouches for, its second how far that log is held, and nobody may
sign the old one any more. The old log gets no closing leaf: that would be a fork of what was signed. Where the year is
over, both leaves have its last second, and the turn of the year follows as ever.

Must never: follow a log from which nothing is lost, or whose checkpoint nobody vouches for.

Implements: R-92, R-97; docs/decisions/0022; design §9 ("else a new origin that names the last cosigned checkpoint").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from referral_api.auditlog.checkpoint import VerifiedCheckpoint, verify_checkpoint
from referral_api.auditlog.leaf import parse_leaf
from referral_api.auditlog.merkle import leaf_hash
from referral_api.auditlog.note import parse_note
from referral_api.auditlog.records import LogGenesis, LogLost, TreeHead, encode_salt
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.terms import Term, is_audit
from referral_api.domain.words import KeyUse
from referral_api.formats.act import RawAct
from referral_api.formats.statements import parse_keys_leaf
from referral_api.formats.strict_json import b64u
from referral_api.server.service.batch import Batch
from referral_api.server.service.exchange import Exchange, term_of, year_of
from referral_api.server.service.new_year import last_second
from referral_api.server.storage import lease, logbook, queries
from referral_api.server.storage.logbook import KEYS
from referral_api.server.storage.signer import LogSigners


@dataclass(frozen=True, slots=True)
class Vouched:
    """The last checkpoint of a log that somebody vouches for: a quorum of witnesses, or without any the log's key."""

    log: str
    head: VerifiedCheckpoint
    note: bytes
    authority: Literal["witnesses", "log"]


@dataclass(frozen=True, slots=True)
class Opening:
    """What is given up: leaves of a log that was signed at `signed`, beyond what will be held."""

    vouched: Vouched
    signed: int

    @property
    def term(self) -> Term:
        """The term that has lost leaves."""
        return Term.of_log(self.vouched.log)


@dataclass(frozen=True, slots=True)
class Opened:
    """The term that follows now, and what the one before has lost."""

    log: str
    following: str
    kept: int
    lost: int
    checkpoint: int
    witnesses: tuple[str, ...]


def vouch(exchange: Exchange, raw: bytes) -> Vouched:
    """The checkpoint of an audit log that an operator brings.

    Raises WRONG_ORIGIN for another log's, SIGNATURE_INVALID, MALFORMED, NOT_WITNESSED short of the genesis' quorum.
    """
    origin = parse_note(raw).text.partition("\n")[0]
    log = origin.removeprefix(exchange.origin(""))
    if not is_audit(log) or origin != exchange.origin(log):
        raise ReferralError(ErrorCode.WRONG_ORIGIN, found=origin)
    Term.of_log(log)
    head = verify_checkpoint(raw, exchange.trust(log))
    return Vouched(log, head, raw, "log" if exchange.policy.rule() is None else "witnesses")


def demand_newest(exchange: Exchange, opening: Opening, short: Sequence[str]) -> None:
    """Raise WRITES_CLOSED unless it is the newest audit log that has lost leaves, it alone, and a term can follow.

    `short` are the logs of which not all can be had. `database-differs`: the checkpoint is of another history.
    """
    lost, head = opening.vouched.log, opening.vouched.head
    for log in short:
        if log != lost:
            raise ReferralError(ErrorCode.WRITES_CLOSED, reason="database-shorter", log=log)
    with exchange.database.read(snapshot=True) as conn:
        held = [name for name in logbook.names(conn) if is_audit(name) and logbook.size(conn, name)]
        if opening.term.following is None or any(name > lost for name in held):
            raise ReferralError(ErrorCode.WRITES_CLOSED, reason="database-shorter", log=lost)
        if head.size <= logbook.size(conn, lost) and logbook.frontier_at(conn, lost, head.size).root() != head.root:
            raise ReferralError(ErrorCode.WRITES_CLOSED, reason="database-differs", log=lost)


def begin(exchange: Exchange, signers: LogSigners, batch: Batch, opening: Opening) -> Opened:
    """Write the new term's first leaves, behind whatever the batch brings back of the lost one.

    Raises NOT_FOUND (`loss`) where nothing is lost, WRITES_CLOSED (`database-shorter`) where an act of the keys log
    would be in no audit log any more.
    """
    lost, vouched, after = opening.term, opening.vouched, opening.term.following
    if after is None:
        raise RuntimeError("demand_newest has seen that a term can follow")
    batch.heads |= logbook.lock(batch.tx, [log for log in (lost.log, after.log) if log not in batch.heads])
    edge = batch.heads[lost.log].frontier.extend([leaf_hash(leaf) for leaf in batch.leaves.get(lost.log, ())])
    signed = max(opening.signed, vouched.head.size)
    if signed <= edge.size or batch.next_index(after.log):
        raise ReferralError(ErrorCode.NOT_FOUND, what="loss", log=lost.log)
    _demand_both_logs(batch, lost.log)
    lease.close(batch.tx, lost.log)
    lease.hold(batch.tx, signers, after.log, 0, batch.now)
    now, batch.term, batch.now = batch.now, after, _moment(batch, lost)
    origin = exchange.origin(lost.log)
    previous = TreeHead(origin=origin, size=vouched.head.size, root=b64u(vouched.head.root))
    kept = TreeHead(origin=origin, size=edge.size, root=b64u(edge.root()))
    kid = exchange.keymap.keys_in_use(KeyUse.LOG, batch.now)[0].kid
    salts = [encode_salt(exchange.token_bytes(16)) for _ in range(2)]
    batch.record(LogGenesis(t=batch.now, salt=salts[0], origin=exchange.origin(after.log), kid=kid, previous=previous))
    batch.record(LogLost(t=batch.now, salt=salts[1], kept=kept, signed=signed, authority=vouched.authority))
    witnessed = vouched.authority == "witnesses"
    logbook.save_cosigned(batch.tx, lost.log, vouched.head.size, vouched.note, now, witnessed=witnessed)
    if edge.size:
        # What is held is a beginning of what was signed. Without a signature at its very end, leaves behind the last
        # checkpoint that came back could be proved to nobody; with it, whoever has the lost leaves can convict a liar.
        logbook.save_checkpoint(batch.tx, lost.log, edge.size, signers.sign(lost.log, edge), now)
    batch.now, batch.term = max(now, batch.now), term_of(after.log, max(now, batch.now))
    witnesses = tuple(sorted(vouched.head.witnesses()))
    return Opened(lost.log, after.log, edge.size, signed - edge.size, vouched.head.size, witnesses)


def _demand_both_logs(batch: Batch, lost: str) -> None:
    """A directory act that counts for ever must stay in both logs (R-92): one whose leaf is lost is not given up."""
    held = logbook.leaves(batch.tx, KEYS, 0, logbook.size(batch.tx, KEYS))
    for raw in (*held, *batch.leaves.get(KEYS, ())):
        act = parse_keys_leaf(raw)
        # A key is in this log alone.
        if isinstance(act, RawAct) and queries.find_act_by_digest(batch.tx, act.digest) is None:
            raise ReferralError(ErrorCode.WRITES_CLOSED, reason="database-shorter", log=lost, act=act.digest)


def _moment(batch: Batch, lost: Term) -> int:
    """Now, within the lost log's year, and not before its last leaf that is held."""
    last = batch.leaves.get(lost.log)
    size = batch.heads[lost.log].size
    raw = last[-1] if last else logbook.leaf(batch.tx, lost.log, size - 1) if size else None
    year = year_of(batch.now)
    begins = int(datetime(lost.year, 1, 1, tzinfo=UTC).timestamp())
    now = batch.now if year == lost.year else begins if year < lost.year else last_second(lost.year)
    return now if raw is None else max(now, parse_leaf(raw).logged_s)
