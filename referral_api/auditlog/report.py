"""What a full verification found: every check that was made, every fault, and what may be pinned because of it.

Must never: call a check held that was not made, or let a long list of faults hide that another check failed too.

Implements: R-95 (what "complete" means); design §9.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from referral_api.auditlog.evidence import Chronicle
from referral_api.auditlog.losses import LostLog
from referral_api.auditlog.tiles import TileName
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.terms import Term
from referral_api.formats.exchange_bodies import FinalState

MAX_FAULTS_TOLD = 100
_ABSENT = frozenset({ErrorCode.NOT_FOUND, ErrorCode.UNAVAILABLE})


def is_absent(error: ReferralError) -> bool:
    """Whether something is only not to be had: not there, or refused by whoever has it, which a `status` says."""
    return error.code in _ABSENT or "status" in error.facts


class Check(StrEnum):
    """The numbered checks, in the order of R-95."""

    KEYS_LOG = "keys-log"
    CHECKPOINT = "checkpoint"
    GROWTH = "growth"
    WITNESSES = "witnesses"
    LEAVES = "leaves"
    RECORDS = "records"
    SIGNATURES = "signatures"
    RECEIPTS = "receipts"
    STATES = "states"
    BOTH_LOGS = "both-logs"


class Verdict(StrEnum):
    """What came of one check."""

    OK = "ok"
    FAILED = "failed"
    INCOMPLETE = "incomplete"
    NOT_REACHED = "not-reached"


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that does not hold: in which log, at which leaf (None: the log as a whole), and why."""

    check: Check
    log: str
    index: int | None
    error: ReferralError
    missing: bool = False
    exhibits: Mapping[str, bytes] = field(default_factory=dict, repr=False, compare=False)
    """What was looked at, by what it is: `checkpoint`, `leaf`, `record`, `receipt`, `entries`, `tile`."""


@dataclass(frozen=True, slots=True)
class Head:
    """A log as it was verified."""

    origin: str
    size: int
    root: bytes


OnProgress = Callable[[str, int, int], None]
"""Told how far something long is: what (a word, for a log its name too: `leaves keys`), how many done, of how many."""


def unheard(what: str, done: int, total: int) -> None:
    """The progress that nobody follows."""


@dataclass(frozen=True, slots=True)
class Told:
    """A log that has lost leaves: the witnesses that have cosigned its last checkpoint, and how many leaves were had
    here, be it of somebody who still has what the exchange has lost.
    """

    log: LostLog
    witnesses: tuple[str, ...]
    had: int

    @property
    def absent(self) -> int:
        """How many leaves nobody here has."""
        return max(0, self.log.signed - self.had)


@dataclass(slots=True)
class Report:
    """What was verified. `counts` says how many times each check was made; `faults` what did not hold.

    Of very many faults only the first are kept, but of every check always the first of its kind.
    """

    counts: dict[Check, int] = field(default_factory=lambda: dict.fromkeys(Check, 0))
    faults: list[Fault] = field(default_factory=list)
    heads: dict[str, Head] = field(default_factory=dict)
    """The heads that may be pinned: only of logs whose leaves hash to a signed root that grew from the pinned one."""
    chronicles: dict[str, Chronicle] = field(default_factory=dict)
    """Every referral as its acts and records fold."""
    relied: dict[str, int] = field(default_factory=dict)
    """Per log, how many leaves an earlier verification covered: their acts' signatures were not verified again."""
    exhibits: dict[str, bytes] = field(default_factory=dict, repr=False)
    """What is being looked at, to go with whatever fault it has."""
    lost: list[Told] = field(default_factory=list)
    """Logs that have lost leaves, as their next terms say."""
    witnessed: dict[str, int] | None = None
    """Per log, up to which size a quorum of witnesses has cosigned it; None where the genesis act names no witness."""
    erased: int = 0
    """How many leaves do not open because an `erase` act of the exchange names them."""
    unlogged: int = 0
    """How many reads, while writes were closed, were of something that is on no log (closed_reads.py)."""
    final_states: dict[str, tuple[FinalState, ...]] = field(default_factory=dict)
    """Of referrals of which something was erased: how each delivery ended, as the act says."""

    def hold(
        self,
        check: Check,
        log: str,
        index: int | None,
        judge: Callable[[], None],
        in_doubt: Collection[ErrorCode] = (),
    ) -> bool:
        """Make one check; note its fault. True if it held. Raises UNREACHABLE, which is no finding.

        A fault `in_doubt` may only follow from something that is missing, and is counted like that.
        """
        self.counts[check] += 1
        try:
            judge()
        except ReferralError as error:
            if error.code is ErrorCode.UNREACHABLE:
                raise
            self.note(check, log, index, error, missing=is_absent(error) or error.code in in_doubt)
            return False
        return True

    def note(self, check: Check, log: str, index: int | None, error: ReferralError, *, missing: bool = False) -> None:
        """Note a fault."""
        told = any(fault.check is check and fault.missing is missing for fault in self.faults)
        if len(self.faults) < MAX_FAULTS_TOLD or not told:
            self.faults.append(Fault(check, log, index, error, missing, dict(self.exhibits)))

    def verdict(self, check: Check) -> Verdict:
        """What came of a check: failed before incomplete, and never ok where it was not made once."""
        mine = [fault for fault in self.faults if fault.check is check]
        if any(not fault.missing for fault in mine):
            return Verdict.FAILED
        if mine:
            return Verdict.INCOMPLETE
        return Verdict.OK if self.counts[check] else Verdict.NOT_REACHED

    @property
    def failed(self) -> bool:
        """Whether something is wrong, rather than only absent."""
        return any(not fault.missing for fault in self.faults)

    @property
    def stands(self) -> bool:
        """Whether all that there is was there and held: complete, or lacking only leaves that their own log has lost,
        whose next term says so. Only `complete` is verified; but what stands may be built on.
        """
        lost = [fault for fault in self.faults if fault.missing and fault.error.facts.get("reason") == "lost"]
        return len(lost) == len(self.faults) and self._checked

    @property
    def _checked(self) -> bool:
        # An exchange that has carried no referral yet has no states, and one may run without witnesses.
        spared = {Check.STATES} if self.witnessed is not None else {Check.STATES, Check.WITNESSES}
        return all(self.counts[check] for check in Check if check not in spared)

    @property
    def complete(self) -> bool:
        """Whether everything was there and held. Anything else is not "verified"."""
        return not self.faults and self._checked


@dataclass(frozen=True, slots=True)
class RawRecord:
    """What a source gives for one leaf: the exact bytes behind it, and the receipt of an act."""

    index: int
    record: bytes
    receipt: bytes | None


class Source(Protocol):
    """Where logs and records are read: an exchange over HTTP, or a mirror on disk. Nothing it says is believed."""

    def checkpoint(self, log: str) -> bytes:
        """The newest checkpoint of `keys` or `audit/<term>`."""

    def cosigned(self, log: str) -> bytes:
        """The newest checkpoint that a quorum of witnesses has cosigned, not newer than `checkpoint`."""

    def tile(self, log: str, name: TileName) -> bytes:
        """A tile or entry bundle."""

    def records(self, term: Term, start: int, count: int) -> Sequence[RawRecord]:
        """The records behind so many leaves of the audit log of a year."""
