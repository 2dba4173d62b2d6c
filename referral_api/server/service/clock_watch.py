"""The exchange's clock, held against one that nobody sets: what is written under a wrong time stays wrong for ever.

Times in the log never run backwards (writer.py): one batch under a clock that is years ahead would date everything that
follows. So nothing is written while the clock cannot be right: in a running process where it left the line of the
machine's steady clock, at a start where it is too far from the newest leaf. Smaller jumps are recorded. While the clock
is set back within those bounds, the time goes on by the steady one, so that no deadline waits until it has caught up.

Must never: let a batch begin under a time that cannot be, let time stand or run backwards because a clock was set, or
believe a time that a file system says.

Implements: R-82, R-97 (`clock-ahead`, `clock-behind`), R-98 (clock jumps); design §9; docs/decisions/0034.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from referral_api.auditlog.checkpoint import verify_checkpoint
from referral_api.auditlog.leaf import parse_leaf
from referral_api.auditlog.records import ClockJump, encode_salt
from referral_api.domain.errors import ReferralError
from referral_api.server.service.batch import Batch
from referral_api.server.service.exchange import Exchange
from referral_api.server.storage import logbook
from referral_api.server.storage.database import Database
from referral_api.server.storage.logbook import KEYS
from referral_api.server.storage.signer_state import closed

DAY_S: Final = 24 * 3600
JUMP_S: Final = 5
"""By how many seconds the clock may differ from what it should show, before that is recorded."""
AHEAD_S: Final = 300
"""How far it may run ahead of the steady clock: as far as an auditor forgives (auditlog/trail.py)."""
BEHIND_S: Final = 3600
"""How far it may lie behind what has been: as long, the time goes on without it. Less than a time zone."""
FALLS: Final = 0.1
"""By how much slower than the steady clock the time runs until a clock that was set back has caught up with it: fast
enough to be over in hours, slow enough that a deadline of a quarter of an hour is late by a minute and a half at most.
"""
OFF_S: Final = 30 * DAY_S
"""How long an exchange may have been off and start as if nothing were. Longer than any holiday."""
WORD_S: Final = DAY_S
"""How long the operator's word holds that the clock is right."""
WORD_FILE: Final = "clock-is-right"
MAY_PASS: Final = frozenset({"clock-ahead", "clock-behind"})
"""Why writes are closed, where they open again by themselves once the clock is right (R-97)."""
_LOG: Final = "audit"


def steady() -> float:
    """Seconds of a clock that only ever runs on, also while the machine sleeps (Linux)."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class _Line:
    """By how much a time is ahead of the steady clock; where nothing keeps it up, it falls to what the clock says."""

    def __init__(self, ahead: float, runs: float) -> None:
        self._ahead = ahead
        self._since = runs

    def ahead(self, runs: float) -> float:
        """How far ahead it is at a moment of the steady clock, if no clock keeps it up."""
        return self._ahead - max(0.0, runs - self._since) * FALLS

    def rise(self, ahead: float, runs: float) -> None:
        """Follow what the clock has shown to a batch, in both directions."""
        self._ahead, self._since = max(ahead, self.ahead(runs)), runs

    def follow(self, ahead: float, runs: float) -> None:
        """Follow what it shows in between, which may be wrong: never upwards."""
        self._ahead, self._since = min(self._ahead, max(ahead, self.ahead(runs))), runs


class ClockWatch:
    """One a process. The writer's thread calls it at the beginning of each batch, and it gives the batch its time;
    `now`, `set_back_s` and `is_right` are for any thread.
    """

    def __init__(
        self, exchange: Exchange, clock: Callable[[], float], runs_on: Callable[[], float], data_dir: Path
    ) -> None:
        """`runs_on` is a clock that nobody sets; in `data_dir` is the operator's word, if he gave it."""
        self._exchange = exchange
        self._clock = clock
        self._runs_on = runs_on
        self._data_dir = data_dir
        self._seen: tuple[float, float] | None = None
        self._looked = (0.0, 0.0)
        self._expected = 0.0
        self._from = 0.0
        """The time at this process's first batch: the clock's, or the newest leaf's where the clock lies behind it."""
        self._newest_s = 0
        self._mutex = threading.Lock()
        self._furthest: float | None = None
        """By how much the time was ahead of the steady clock when it was furthest ahead: a clock that was set back by
        mistake may be set right again.
        """
        self._line = _Line(0.0, 0.0)
        """The time that is given out."""
        self._own = _Line(0.0, 0.0)
        """The same of this process's clock alone, whatever other clocks have written."""

    def __call__(self, newest_s: int) -> float:
        """The time now. `newest_s` is that of the newest leaf, which only the process's first batches need (0: none).

        Raises WRITES_CLOSED, `clock-ahead` or `clock-behind`.
        """
        observed, runs = self._looked = self._clock(), self._runs_on()
        if self._seen is None or self._furthest is None:
            self._newest_s = newest_s
            self._expected, self._from = self._at_start(observed, newest_s)
            return self._from
        _check(observed, runs + self._furthest, AHEAD_S)
        wall, then = self._seen
        self._expected = wall + runs - then
        return max(observed, runs + self._line.ahead(runs))

    def look(self, batch: Batch) -> None:
        """At the beginning of a batch: record where the clock is not where it was expected."""
        observed, _ = self._looked
        if abs(observed - self._expected) > JUMP_S:
            salt = encode_salt(self._exchange.token_bytes(16))
            batch.record(
                ClockJump(t=batch.now, salt=salt, expected=max(0, int(self._expected)), observed=max(0, int(observed)))
            )

    def settled(self) -> None:
        """The batch has been committed: what it recorded is not recorded again."""
        self._seen = observed, runs = self._looked
        ahead = observed - runs
        with self._mutex:
            if self._furthest is None:
                self._furthest = self._from - runs
                self._line, self._own = _Line(self._furthest, runs), _Line(ahead, runs)
            self._furthest = max(self._furthest, ahead)
            self._line.rise(ahead, runs)
            self._own.rise(ahead, runs)

    def now(self) -> float:
        """The time by which is due what is due: a batch's, if one began now, or what it would be if the clock, which is
        ahead of all that can be, were right.
        """
        observed, runs = self._clock(), self._runs_on()
        with self._mutex:
            if self._furthest is None:
                return observed
            if observed - runs - self._furthest > AHEAD_S:
                return runs + self._line.ahead(runs)
            self._line.follow(observed - runs, runs)
            self._own.follow(observed - runs, runs)
            return max(observed, runs + self._line.ahead(runs))

    def set_back_s(self) -> float:
        """By how much the clock lies behind what it has shown in this process, as far as time has not caught up."""
        observed, runs = self._clock(), self._runs_on()
        with self._mutex:
            return 0.0 if self._furthest is None else max(0.0, self._own.ahead(runs) - (observed - runs))

    def is_right(self) -> bool:
        """Whether a batch could begin now, after one could not."""
        try:
            if self._furthest is None:
                self._at_start(self._clock(), self._newest_s)
            else:
                _check(self._clock(), self._runs_on() + self._furthest, AHEAD_S)
        except ReferralError:
            return False
        return True

    def _at_start(self, observed: float, newest_s: int) -> tuple[float, float]:
        """What the clock should show, and the time that it is. One that stands before the newest leaf is wrong, or was
        when that was made.
        """
        if not newest_s:
            return observed, observed
        try:
            check_start(observed, newest_s)
        except ReferralError:
            if is_confirmed(self._data_dir, observed):
                # The record that comes of it says what the operator's word was.
                return float(newest_s), observed
            # Of an exchange that nobody has used for long, the witnesses have still seen each checkpoint.
            check_start(observed, max(newest_s, self._cosigned_s()))
        should = max(observed, float(newest_s))
        return should, should

    def _cosigned_s(self) -> int:
        """When the last witness of a quorum saw the keys log; 0 where none ever did."""
        with self._exchange.database.read() as conn:
            found = self._exchange.newest_witnessed(conn, KEYS)
        if found is None:
            return 0
        cosignatures = verify_checkpoint(found[1], self._exchange.trust(KEYS)).cosignatures
        # The earliest of them: one witness alone, whose clock is wrong or who lies, must not vouch for ours.
        return min((one.cosigned_s for one in cosignatures if one.cosigned_s), default=0)


def newest_leaf_s(database: Database) -> int:
    """The time of the newest leaf of all audit logs; 0 where there is none."""
    with database.read() as conn:
        newest = logbook.newest_audit(conn)
        return 0 if newest is None else parse_leaf(logbook.leaf(conn, newest[0], newest[1] - 1)).logged_s


def check_start(observed: float, newest_s: int) -> None:
    """Hold the clock against the newest leaf. Raises WRITES_CLOSED, `clock-ahead` or `clock-behind`."""
    _check(observed, newest_s, OFF_S)


def demand_right(data_dir: Path, newest_s: int, observed: float) -> None:
    """The same before a command writes, unless the operator has said that the clock is right."""
    if newest_s and not is_confirmed(data_dir, observed):
        check_start(observed, newest_s)


def confirm(data_dir: Path, observed: float) -> None:
    """Keep the operator's word that the clock is right."""
    (data_dir / WORD_FILE).write_text(f"{int(observed)}\n", encoding="ascii")


def is_confirmed(data_dir: Path, observed: float) -> bool:
    """Whether the operator has said, within the last day by this very clock, that it is right."""
    try:
        said = int((data_dir / WORD_FILE).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return False
    return 0 <= int(observed) - said <= WORD_S


def _check(observed: float, expected: float, ahead_s: float) -> None:
    if observed - expected > ahead_s:
        raise closed("clock-ahead", _LOG)
    if expected - observed > BEHIND_S:
        raise closed("clock-behind", _LOG)
