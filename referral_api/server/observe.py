"""What the exchange says about itself: one line a fact, through an allow-list of fields.

A line holds an event's name and fields of ALLOWED, of which none can name a person, a referral or an address. Anything
else is a programmer's error and is dropped with a line that says so, because a log file is the easiest thing to leak.

Must never: log a request's path, query, body, token or peer address, an exception's text or a traceback.
"""

from __future__ import annotations

import io
import sys
from typing import Any, TextIO, cast

import structlog

ALLOWED = frozenset(
    {
        "batch",
        "code",
        "count",
        "database",
        "environment",
        "fault",
        "issuer",
        "kid",
        "log",
        "operation",
        "port",
        "reason",
        "request_id",
        "size",
        "status",
        "use",
        "version",
        "where",
        "witness",
    }
)


class _StandardError(io.TextIOBase):
    """Standard error as it is when a line is written: whoever redirects it later gets the lines."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


_logger = structlog.wrap_logger(
    structlog.WriteLogger(cast(TextIO, _StandardError())),
    processors=[structlog.processors.TimeStamper(fmt="iso", utc=True), structlog.processors.JSONRenderer()],
)


def log(event: str, **fields: Any) -> None:
    """Write one line. `event` is a constant slug; fields outside ALLOWED are left out and counted."""
    kept = {name: value for name, value in fields.items() if name in ALLOWED}
    if len(kept) != len(fields):
        kept["count"] = len(fields) - len(kept)
        _logger.msg("fields_left_out", about=event, count=kept["count"])
    _logger.msg(event, **kept)


def fault_place(fault: BaseException) -> str:
    """Where an unexpected exception came from, as `module:line`: enough to find the defect, nothing of its data."""
    trace = fault.__traceback__
    place = "unknown"
    while trace is not None:
        name = trace.tb_frame.f_globals.get("__name__", "unknown")
        if str(name).startswith("referral_api"):
            place = f"{name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place
