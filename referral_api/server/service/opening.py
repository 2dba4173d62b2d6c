"""What every batch begins with, and what an exchange does first when it opens: leases, a new year's log, spooled reads.

Must never: let a batch begin whose logs this process may not sign, unless another host signs what it commits.

Implements: R-92 (a year's first leaf), R-93 (one signer), R-97 (spooled records first).
"""

from __future__ import annotations

from pathlib import Path

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.server import observe
from referral_api.server.service import rulebook
from referral_api.server.service.batch import Batch
from referral_api.server.service.clock_watch import ClockWatch
from referral_api.server.service.exchange import Exchange
from referral_api.server.service.new_year import begin_term
from referral_api.server.service.recorded import LogSpool
from referral_api.server.service.second_host import SigningHost
from referral_api.server.service.writer import Writer
from referral_api.server.storage import feeds, lease, logbook, spool
from referral_api.server.storage.logbook import KEYS
from referral_api.server.storage.signer import LogSigners


def begin(
    exchange: Exchange,
    signer: LogSigners | SigningHost,
    watch: ClockWatch,
    polled: dict[str, int],
    batch: Batch,
) -> None:
    """What every batch starts with: its leases, the newest directory and rules, this year's log, the clock, who polled.

    Raises WRITES_CLOSED where another signer may sign these logs, and not this process, or where the database is not
    the one that was signed: nothing is appended to a history that went back.
    """
    for log, head in batch.heads.items():
        if isinstance(signer, SigningHost):
            signer.meet(batch.tx, head)
        else:
            lease.hold(batch.tx, signer, log, head.size, batch.now, edge=head.frontier)
    if batch.heads[KEYS].size:
        exchange.directory.refresh(batch.tx, size=batch.heads[KEYS].size)
    begin_term(exchange, batch)
    rulebook.keep_up(exchange.ruling, batch.tx, logbook.position(batch.term, batch.heads[batch.term.log].size))
    watch.look(batch)
    if polled:
        seen = dict(polled)
        polled.clear()
        feeds.touch_poll(batch.tx, seen.items())


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
