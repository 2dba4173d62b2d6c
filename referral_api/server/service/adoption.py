"""Moving a log's signer here: authorised by its own state, or by a checkpoint that the witnesses' quorum has cosigned.

It takes over every log that was signed, each on an authority of its own, but for a log that is closed: for that one the
first record of the log after it vouches. The new signer has a claim of its own and a higher fence. Lease, record and
everything else of it commit in one transaction; the new state lies ready beside the old one and takes its place
right after. Killed anywhere, the same command again brings it to its end.

Must never: adopt over a database that holds less than, or something else than, what the authority says was signed, or
leave a log behind for another signer.

Implements: design §9 (`admin signer adopt`); R-93, R-97.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from referral_api.auditlog.checkpoint import verify_checkpoint
from referral_api.auditlog.leaf import parse_leaf
from referral_api.auditlog.merkle import EMPTY_ROOT, Frontier
from referral_api.auditlog.note import SignedNote, parse_note
from referral_api.auditlog.records import LogGenesis, SignerAdopted, TreeHead, encode_salt, parse_record
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.terms import Term
from referral_api.formats.strict_json import b64u, sha256_b64u, unb64u
from referral_api.server.service import new_year
from referral_api.server.service.batch import Batch, Done
from referral_api.server.service.exchange import Exchange, term_of
from referral_api.server.service.recorded import keep
from referral_api.server.service.witnesses import merge
from referral_api.server.service.writer import Writer
from referral_api.server.storage import lease, logbook, queries
from referral_api.server.storage.database import Connection
from referral_api.server.storage.gate import NOTHING, Promises, check_promise
from referral_api.server.storage.logbook import KEYS
from referral_api.server.storage.signer import SLOT_BYTES, LogSigners, SignerState, closed, state_path, sync_folder
from referral_api.server.storage.signer_state import encode_slot, read_state


@dataclass(frozen=True, slots=True)
class Authority:
    """What allows a signer to be moved: a log, how much of it was signed at least, and who says so."""

    log: str
    size: int
    root: bytes
    fence: int
    by: Literal["state", "witnesses"]


@dataclass(frozen=True, slots=True)
class Adopted:
    """One log whose signer is here now."""

    log: str
    size: int
    fence: int
    by: str


def authority_of_state(raw: bytes, signers: LogSigners, logs: Iterable[str]) -> Authority:
    """A predecessor's state file, of whichever of these logs it is. Raises WRITES_CLOSED as `read_state`."""
    for name in logs:
        try:
            state = read_state(raw, name=name, policy=signers.trust(name))
        except ReferralError as error:
            if error.facts.get("reason") == "signer-origin":
                continue
            raise
        return Authority(name, state.frontier.size, state.frontier.root(), state.claim.fence, "state")
    raise closed("signer-origin", "any")


def authorities_of_checkpoints(raws: Iterable[bytes], exchange: Exchange, logs: Sequence[str]) -> list[Authority]:
    """One a log, of cosigned checkpoints: what witnesses show each with its own line is put together first, and of
    several that suffice the largest counts. Raises as `authority_of_checkpoint` where none of a log does.
    """
    notes: dict[str, SignedNote] = {}
    for raw in raws:
        note = parse_note(raw)
        notes[note.text] = merge(notes[note.text], note.signatures) if note.text in notes else note
    found: dict[str, Authority] = {}
    refused: dict[str, ReferralError] = {}
    for note in notes.values():
        origin = note.text.partition("\n")[0]
        try:
            one = authority_of_checkpoint(note.to_bytes(), exchange, logs)
        except ReferralError as error:
            if error.code is not ErrorCode.NOT_WITNESSED:
                raise
            refused[origin] = error
        else:
            if one.log not in found or found[one.log].size < one.size:
                found[one.log] = one
    for origin, refusal in refused.items():
        if origin not in {exchange.origin(log) for log in found}:
            raise refusal
    return list(found.values())


def authority_of_checkpoint(raw: bytes, exchange: Exchange, logs: Iterable[str]) -> Authority:
    """A checkpoint that suffices for the genesis' witness policy.

    Raises NOT_WITNESSED (also where the exchange has no witnesses: then nobody but the state can vouch), WRONG_ORIGIN,
    SIGNATURE_INVALID, MALFORMED.
    """
    origin = parse_note(raw).text.partition("\n")[0]
    name = next((log for log in logs if exchange.origin(log) == origin), None)
    if name is None:
        raise ReferralError(ErrorCode.WRONG_ORIGIN, found=origin)
    if exchange.policy.rule() is None:
        raise ReferralError(ErrorCode.NOT_WITNESSED, cosigned=0, quorum=0)
    checkpoint = verify_checkpoint(raw, exchange.trust(name))
    return Authority(name, checkpoint.size, checkpoint.root, 0, "witnesses")


def adopt(
    exchange: Exchange,
    signers: LogSigners,
    authorities: Sequence[Authority],
    *,
    clock: Callable[[], float],
    promised: Promises = NOTHING,
    on_step: Callable[[str], None] = lambda _: None,
) -> list[Adopted]:
    """Make this host's signer the one of these logs. Nothing else may be open on a SQLite database.

    `promised` is what the witnesses say now that they have cosigned. Raises WRITES_CLOSED: `database-shorter`,
    `database-differs`, `witness-ahead`, `witness-differs`, `signer-state-missing` (with the log for which an authority
    is missing), `signer-state-rolled-back` (a state here, or a quorum that the database knows of, has signed more than
    the authority says), or what keeps this year's log from being written to.
    """
    for log, sizes in promised.items():
        for size, root in sizes:
            check_promise(exchange.database, log, size, root)
    with exchange.database.read(snapshot=True) as conn:
        authorities = _complete(conn, exchange, signers, authorities)
    moves = {one.log: _prepare(exchange, signers, one) for one in authorities}
    on_step("prepared")

    def begin(batch: Batch) -> None:
        for log, (state, _, holder) in moves.items():
            if log not in batch.heads:
                logbook.lock(batch.tx, [log])
            lease.move(batch.tx, log, holder, state.claim, batch.now)
        for log, head in batch.heads.items():
            if log not in moves:
                lease.hold(batch.tx, signers, log, head.size, batch.now)
        new_year.begin_term(exchange, batch)

    def install(_batch: Batch) -> None:
        for log, (_, draft, _) in moves.items():
            signers.forget(log)
            draft.replace(state_path(signers.state_dir, log))
        sync_folder(signers.state_dir)
        on_step("installed")

    writer = Writer(
        exchange.database,
        signers,
        clock=lambda _newest_s: clock(),
        term_of=term_of,
        begin=begin,
        committed=install,
        checkpoints={},
        on_step=on_step,
    )
    writer.start()
    try:
        writer.run(_Record(exchange, authorities))
    finally:
        writer.stop()
    return [
        Adopted(one.log, moves[one.log][0].frontier.size, moves[one.log][0].claim.fence, one.by) for one in authorities
    ]


class _Record:
    """The job that writes down which signers moved, and on whose word."""

    def __init__(self, exchange: Exchange, authorities: Sequence[Authority]) -> None:
        self._exchange = exchange
        self._authorities = authorities

    def __call__(self, batch: Batch) -> Done[None]:
        """One record a log that had a signer before."""
        for one in self._authorities:
            if one.size == 0:
                continue
            head = TreeHead(origin=self._exchange.origin(one.log), size=one.size, root=b64u(one.root))
            salt = encode_salt(self._exchange.token_bytes(16))
            keep(batch, SignerAdopted(t=batch.now, salt=salt, head=head, authority=one.by))
        return Done(None)


def _complete(conn: Connection, exchange: Exchange, signers: LogSigners, given: Sequence[Authority]) -> list[Authority]:
    """Those that were given, and what follows from them, so that no log is left to another signer.

    A log that is followed by another is closed: the first record of that one, which is under its authority, names its
    end. One that has lost leaves is signed no more by anybody; the term after it speaks for it. One that a host began
    which does not sign is still nobody's. Raises WRITES_CLOSED, `signer-state-missing`.
    """
    known = {one.log: one for one in given}
    years = sorted((log for log in logbook.names(conn) if log != KEYS and logbook.size(conn, log)), reverse=True)
    for log in (KEYS, *years):
        after = logbook.following(conn, log)
        if after is not None:
            known.pop(log, None)
        elif log not in known and log != KEYS and _is_nobodys(conn, log):
            known[log] = Authority(log, 0, EMPTY_ROOT, 0, given[0].by)
        elif log not in known:
            if not state_path(signers.state_dir, log).exists():
                raise closed("signer-state-missing", log)
            lease.check(conn, signers(log), log)
        vouches = known.get(log if after is None else after.log)
        if log != KEYS and (vouches is None or vouches.size):
            before = _named_before(conn, log)
            if before is not None:
                name = before.origin.removeprefix(exchange.origin(""))
                by: Literal["state", "witnesses"] = "state" if vouches is None else vouches.by
                known.setdefault(name, Authority(name, before.size, unb64u(before.root), 0, by))
    return list(known.values())


def _is_nobodys(conn: Connection, log: str) -> bool:
    return lease.find_holder(conn, log) is None and logbook.latest_checkpoint(conn, log) is None


def _named_before(conn: Connection, log: str) -> TreeHead | None:
    """The head of the log before this one, as its first record names it; None for the first log.

    Raises WRITES_CLOSED, `database-differs`, where that record is not the one that the first leaf commits to.
    """
    first = logbook.position(Term.of_log(log), 0)
    found = queries.records_sought(conn, queries.Sought(first, first, 1))
    body = found[0].body.encode() if found else b""
    if parse_leaf(logbook.leaf(conn, log, 0)).digest != sha256_b64u(body):
        raise closed("database-differs", log)
    record = parse_record(body)
    return record.previous if isinstance(record, LogGenesis) else None


def _prepare(
    exchange: Exchange, signers: LogSigners, authority: Authority
) -> tuple[SignerState, Path, lease.Holder | None]:
    """Hold the database against the authority; the new state, on disk beside the old one, and who holds the log."""
    log = authority.log
    with exchange.database.read(snapshot=True) as conn:
        holder = lease.find_holder(conn, log)
        frontier = _edge_at(conn, log, authority.size, authority.root)
        cosigned = logbook.latest_witnessed(conn, log) if authority.by == "witnesses" else None
        if cosigned is not None and cosigned.size > authority.size:
            # There is a newer one, whose cosigners may know of more than this database holds.
            raise closed("signer-state-rolled-back", log)
        stored = logbook.latest_checkpoint(conn, log)
        if stored is not None and stored.size > authority.size:
            # Signed after what the authority knows of, and kept: it was promised too.
            checkpoint = verify_checkpoint(stored.note, signers.trust(log))
            frontier = _edge_at(conn, log, checkpoint.size, checkpoint.root)
    _demand_newest(signers, log, frontier.size)
    claim = signers.new_claim(max(authority.fence, 0 if holder is None else holder.fence) + 1)
    note = signers.sign(log, frontier) if frontier.size else None
    state = SignerState(frontier, note, claim)
    return state, _draft(signers.state_dir, log, encode_slot(exchange.origin(log), state)), holder


def _edge_at(conn: Connection, log: str, size: int, root: bytes) -> Frontier:
    """The right edge at a size that was promised. Raises WRITES_CLOSED unless the database holds that much, and it."""
    if size > logbook.size(conn, log):
        raise closed("database-shorter", log)
    try:
        found = logbook.frontier_at(conn, log, size)
    except ReferralError as error:
        raise closed("database-differs", log) from error
    if found.root() != root:
        raise closed("database-differs", log)
    return found


def _demand_newest(signers: LogSigners, log: str, size: int) -> None:
    """A state on this host that has signed more than the authority says is the better one."""
    path = state_path(signers.state_dir, log)
    if not path.exists():
        return
    try:
        here = read_state(path.read_bytes(), name=log, policy=signers.trust(log))
    except ReferralError:
        return  # Damaged, or of another log or key: that is what the adoption replaces.
    if here.frontier.size > size:
        raise closed("signer-state-rolled-back", log)


def _draft(folder: Path, log: str, slot: bytes) -> Path:
    path = state_path(folder, log)
    draft = path.with_name(path.name + ".adopting")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, slot + bytes(SLOT_BYTES))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return draft
