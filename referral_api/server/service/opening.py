"""What every batch begins with, and what an exchange does first when it opens: leases, a new year's log, spooled reads.

Must never: let a batch begin whose logs this process may not sign, unless another host signs what it commits.

Implements: R-92 (a year's first leaf), R-93 (one signer), R-97 (spooled records first).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.server import observe
from referral_api.server.service import rulebook
from referral_api.server.service.batch import Batch
from referral_api.server.service.clock_watch import MAY_PASS, ClockWatch
from referral_api.server.service.exchange import Exchange
from referral_api.server.service.new_year import begin_term
from referral_api.server.service.recorded import LogSpool
from referral_api.server.service.second_host import SigningHost
from referral_api.server.service.writer import Writer
from referral_api.server.storage import feeds, lease, logbook, spool
from referral_api.server.storage.logbook import KEYS
from referral_api.server.storage.signer import LogSigners
from referral_api.server.storage.spool import Spool

REOPENING_TRIES: Final = 5
"""How often what was read while spools were being logged is logged too, before everybody else has a turn."""


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
    if writer.closed is not None:
        return 0
    try:
        return _log_spools(writer, folder)
    except (ReferralError, OSError) as fault:
        if not (isinstance(fault, ReferralError) and fault.code is ErrorCode.WRITES_CLOSED):
            fault = ReferralError(ErrorCode.WRITES_CLOSED, reason="spool-unreadable", log=spool.LOG)
        writer.close(fault)
    return 0


def reopen(writer: Writer, watch: ClockWatch, kept: Spool, folder: Path) -> bool:
    """Open writes again where only the clock was wrong and is right now; whether they are open.

    What was read meanwhile is on the log before anything else. What fails is tried at the next call.
    """
    if writer.closed not in MAY_PASS or not watch.is_right():
        return writer.closed is None
    try:
        for _ in range(REOPENING_TRIES):
            _log_spools(writer, folder, though_closed=True)
            if kept.end(writer.reopen):
                break
    except (ReferralError, OSError) as fault:
        observe.log("reopening_failed", fault=type(fault).__name__)
        if isinstance(fault, ReferralError) and fault.code is ErrorCode.WRITES_CLOSED:
            writer.close(fault)
    return writer.closed is None


def _log_spools(writer: Writer, folder: Path, *, though_closed: bool = False) -> int:
    logged = 0
    for waiting in spool.waiting(folder):
        logged += writer.run(LogSpool(waiting), though_closed=though_closed).result
        spool.remove(waiting)
    if logged:
        observe.log("spool_logged", size=logged)
    return logged
