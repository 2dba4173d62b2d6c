"""What the exchange says about itself: one line a fact, through an allow-list of fields.

A line holds an event's name and fields of ALLOWED, of which none can name a person, a referral or an address. Anything
else is a programmer's error and is dropped with a line that says so, because a log file is the easiest thing to leak.

Must never: log a request's path, query, body, token or peer address, an exception's text or a traceback.
"""

from __future__ import annotations

import io
import re
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

REPEATED_S = 60
MAX_KINDS = 200
"""Beyond so many kinds in a minute, reasons are left out."""
_WORD = re.compile("[a-z][a-z_-]{0,39}")


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


class Repeated:
    """Lines of one event that anybody may cause as often as they like: the first of each kind in a minute is written at
    once, what repeats it in one line with its `count` when the minute is over. One thread's.
    """

    def __init__(self, event: str) -> None:
        self._event = event
        self._since = 0.0
        self._counts: dict[tuple[str, str], int] = {}

    def note(self, now: float, *, code: str, reason: object = None) -> None:
        """Tell of one more. A `reason` that is no word of ours is left out."""
        self.flush(now)
        word = reason if isinstance(reason, str) and _WORD.fullmatch(reason) else ""
        if len(self._counts) >= MAX_KINDS:
            word = ""
        kind = (code, word)
        self._counts[kind] = self._counts.get(kind, 0) + 1
        if self._counts[kind] == 1:
            self._write(kind)

    def flush(self, now: float, *, force: bool = False) -> None:
        """If the minute is over, or at the end: say how often each was repeated."""
        if not force and 0 <= now - self._since < REPEATED_S:
            return
        self._since = now
        counts, self._counts = self._counts, {}
        for kind, count in counts.items():
            if count > 1:
                self._write(kind, count=count - 1)

    def _write(self, kind: tuple[str, str], **more: int) -> None:
        code, word = kind
        log(self._event, code=code, **({"reason": word} if word else {}), **more)


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
