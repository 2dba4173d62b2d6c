"""The exchange's clock, held against one that nobody sets: what is written under a wrong time stays wrong for ever.

Times in the log never run backwards (writer.py): one batch under a clock that is years ahead would date everything that
follows. So nothing is written while the clock cannot be right: in a running process where it left the line of the
machine's steady clock, at a start where it is too far from the newest leaf. Smaller jumps are recorded.

Must never: let a batch begin under a time that cannot be, or believe a time that a file system says.

Implements: R-97 (`clock-ahead`, `clock-behind`), R-98 (clock jumps); design §9.
"""

from __future__ import annotations

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
"""How far it may lie behind what has been: as long, everything is dated with the newest leaf. Less than a time zone."""
OFF_S: Final = 30 * DAY_S
"""How long an exchange may have been off and start as if nothing were. Longer than any holiday."""
WORD_S: Final = DAY_S
"""How long the operator's word holds that the clock is right."""
WORD_FILE: Final = "clock-is-right"
_LOG: Final = "audit"


def steady() -> float:
    """Seconds of a clock that only ever runs on, also while the machine sleeps (Linux)."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class ClockWatch:
    """One a process, the writer's thread alone: called at the beginning of each batch, it gives the batch its time."""

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
        self._line: float | None = None
        """By how much the clock was ahead of the steady one when it was furthest ahead: a clock that was set back by
        mistake may be set right again.
        """

    def __call__(self, newest_s: int) -> float:
        """The time now. `newest_s` is that of the newest leaf, which only the process's first batches need (0: none).

        Raises WRITES_CLOSED, `clock-ahead` or `clock-behind`.
        """
        observed, runs = self._looked = self._clock(), self._runs_on()
        if self._seen is None or self._line is None:
            self._expected = self._at_start(observed, newest_s)
        else:
            _check(observed, runs + self._line, AHEAD_S)
            wall, then = self._seen
            self._expected = wall + runs - then
        return observed

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
        self._seen = self._looked
        ahead = self._looked[0] - self._looked[1]
        self._line = ahead if self._line is None else max(self._line, ahead)

    def _at_start(self, observed: float, newest_s: int) -> float:
        """What the clock should show. One that stands before the newest leaf is wrong, or was when that was made."""
        if not newest_s:
            return observed
        try:
            check_start(observed, newest_s)
        except ReferralError:
            if is_confirmed(self._data_dir, observed):
                # The record that comes of it says what the operator's word was.
                return float(newest_s)
            # Of an exchange that nobody has used for long, the witnesses have still seen each checkpoint.
            check_start(observed, max(newest_s, self._cosigned_s()))
        return max(observed, float(newest_s))

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
