"""What witnesses have seen of the logs that are verified: the newest head that a quorum has cosigned, and what is new.

Who shows an auditor a history of his own cannot show it to the witnesses as well. So the log must contain what a quorum
has cosigned, and what no quorum has seen yet must be new: the exchange shows them every growth within seconds (R-101).

Must never: count a witness twice, or take for seen what is only signed by the log's own key.

Implements: R-95, R-101; design §9.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from referral_api.auditlog.checkpoint import Checkpoint, TrustPolicy, verify_checkpoint
from referral_api.auditlog.leaf import parse_leaf
from referral_api.auditlog.report import Check, Head, Report, Source
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.terms import is_audit
from referral_api.formats.statements import parse_keys_leaf

LATE_S = 3600
"""How much older than the newest leaf of all logs one may be that no quorum has cosigned (seconds)."""


class Coverage:
    """The witnesses' part in one verification."""

    def __init__(self, report: Report, source: Source) -> None:
        self._report = report
        self._source = source
        self._heads: dict[str, Head] = {}
        self._first: dict[str, bytes] = {}
        """By log, the first leaf that no quorum has cosigned."""
        self._newest_s = 0

    def quorum(self, log: str, checkpoint: Checkpoint, trusted: TrustPolicy) -> Head | None:
        """The newest head that a quorum has cosigned; None where there is none, or the genesis names no witness.

        Notes NOT_WITNESSED as missing; what else `verify_checkpoint` raises and INCONSISTENT (`shrunk`) as false.
        """
        if trusted.rule is None:
            return None
        sizes = self._report.witnessed = self._report.witnessed or {}

        def judge() -> None:
            raw = self._source.cosigned(log)
            self._report.exhibits["cosigned"] = raw
            cosigned = verify_checkpoint(raw, trusted)
            if cosigned.size > checkpoint.size:
                facts = {"pinned": cosigned.size, "found": checkpoint.size}
                raise ReferralError(ErrorCode.INCONSISTENT, reason="shrunk", **facts)
            self._heads[log] = Head(cosigned.origin, cosigned.size, cosigned.root)
            sizes[log] = cosigned.size

        self._report.hold(Check.WITNESSES, log, None, judge, {ErrorCode.NOT_WITNESSED})
        return self._heads.get(log)

    def take(self, log: str, start: int, leaves: Sequence[bytes]) -> None:
        """The next leaves of a log, as they are read."""
        head = self._heads.get(log)
        if head is not None and 0 <= head.size - start < len(leaves):
            self._first[log] = leaves[head.size - start]
        if is_audit(log):
            self._newest_s = max(self._newest_s, _time_of(log, leaves[-1]))

    def settle(self) -> None:
        """Note what no quorum has cosigned although it has been there for long: others may not have been shown it."""
        for log, leaf in self._first.items():
            if self._newest_s - _time_of(log, leaf) > LATE_S:
                index = self._heads[log].size
                error = ReferralError(ErrorCode.NOT_WITNESSED, reason="late", log=log, index=index)
                self._report.note(Check.WITNESSES, log, index, error, missing=True)


def _time_of(log: str, leaf: bytes) -> int:
    """When a leaf was logged; of the keys log when it was signed. 0 for what is no leaf: its own check says so."""
    with suppress(ReferralError):
        return parse_leaf(leaf).logged_s if is_audit(log) else parse_keys_leaf(leaf).iat
    return 0
