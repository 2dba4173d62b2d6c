"""What every batch begins with, and what an exchange does first when it opens: leases, a new year's log, spooled reads.

Must never: let a batch begin whose logs this process may not sign.

Implements: R-92 (a year's first leaf), R-93 (one signer), R-97 (spooled records first).
"""

from __future__ import annotations

from pathlib import Path

from referral_api.auditlog.records import LogGenesis, TreeHead, encode_salt
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import KeyUse
from referral_api.formats.strict_json import b64u
from referral_api.server import observe
from referral_api.server.service.batch import Batch, audit_log
from referral_api.server.service.exchange import Exchange
from referral_api.server.service.recorded import LogSpool
from referral_api.server.service.writer import Writer
from referral_api.server.storage import feeds, lease, logbook, spool
from referral_api.server.storage.logbook import KEYS
from referral_api.server.storage.signer import LogSigners


def begin(exchange: Exchange, log_signers: LogSigners, polled: dict[str, int], batch: Batch) -> None:
    """What every batch starts with: its leases, the newest directory, this year's log, who polled.

    Raises WRITES_CLOSED where another signer may sign these logs, and not this process.
    """
    for log, head in batch.heads.items():
        lease.hold(batch.tx, log_signers, log, head.size, batch.now)
    if batch.heads[KEYS].size:
        exchange.directory.refresh(batch.tx, size=batch.heads[KEYS].size)
    begin_year(exchange, batch)
    if polled:
        seen = dict(polled)
        polled.clear()
        feeds.touch_poll(batch.tx, seen.items())


def begin_year(exchange: Exchange, batch: Batch) -> None:
    """The first leaf of a year's log names the log, its key, and last year's log as it stands (R-92)."""
    log = audit_log(batch.year)
    if batch.next_index(log):
        return
    key = exchange.keymap.exchange_keys(KeyUse.LOG)[0]
    salt, previous = encode_salt(exchange.token_bytes(16)), _previous_head(exchange, batch)
    batch.record(LogGenesis(t=batch.now, salt=salt, origin=exchange.origin(log), kid=key.kid, previous=previous))


def _previous_head(exchange: Exchange, batch: Batch) -> TreeHead | None:
    log = audit_log(batch.year - 1)
    size = logbook.size(batch.tx, log)
    if size == 0:
        return None
    root = logbook.frontier(batch.tx, log).root()
    return TreeHead(origin=exchange.origin(log), size=size, root=b64u(root))


def log_spools(writer: Writer, folder: Path) -> int:
    """Log what was read while writes were closed, before anything else; how many records there were.

    If that fails the writer closes again, with the spools untouched: nothing is logged past them.
    """
    logged = 0
    if writer.closed is not None:
        return logged
    try:
        for waiting in spool.waiting(folder):
            logged += writer.run(LogSpool(waiting)).result
            spool.remove(waiting)
    except (ReferralError, OSError) as fault:
        if not (isinstance(fault, ReferralError) and fault.code is ErrorCode.WRITES_CLOSED):
            fault = ReferralError(ErrorCode.WRITES_CLOSED, reason="spool-unreadable", log=spool.LOG)
        writer.close(fault)
    if logged:
        observe.log("spool_logged", size=logged)
    return logged
