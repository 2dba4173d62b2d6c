"""What was read while writes were closed and stands on no log, as an auditor meets it in a log.

A closed exchange serves what its database holds, also where that is not what was signed: a sealed referral may be the
only copy. When it opens again over the right one, such a read has no act on any log that it could name, and is written
down as an `unlogged_read`. The kind must not become a place to hide ordinary reads in, so it is held to two things:
it stands among the reads behind a `writes_closed` record, and what it names is truly on no log so far.

Must never: let a read of something that is on the log pass for one.

Implements: R-95, R-97; design §9.
"""

from __future__ import annotations

from collections.abc import Container, Mapping

from referral_api.auditlog.evidence import Chronicle
from referral_api.auditlog.leaf import LeafKind
from referral_api.auditlog.records import ServerRecord, UnloggedRead, WritesClosed, kind_of
from referral_api.domain.errors import ErrorCode, ReferralError


class ClosedReads:
    """The reads behind each closing, in log order; `count` of them were of what is on no log."""

    def __init__(self) -> None:
        self.count = 0
        self._behind_closing = False

    def lack(self) -> None:
        """A record is not there. It may have been that of a closing."""
        self._behind_closing = True

    def pass_act(self) -> None:
        """An act: what was read before writes opened is over."""
        self._behind_closing = False

    def take(self, record: ServerRecord, sealed: Container[str], chronicles: Mapping[str, Chronicle]) -> None:
        """The next record. `sealed` are the digests of all acts so far with ciphertext, `chronicles` the referrals.

        Raises TAMPERED (`unlogged-read`): `open` where no closing stands before it, `known` where the log has the act
        or the referral.
        """
        if isinstance(record, UnloggedRead):
            if not self._behind_closing:
                raise ReferralError(ErrorCode.TAMPERED, what="unlogged-read", reason="open")
            told = chronicles.get(record.ref)
            known = told is not None and told.sender is not None
            if record.act in sealed if record.act is not None else known:
                raise ReferralError(ErrorCode.TAMPERED, what="unlogged-read", reason="known")
            self.count += 1
        elif kind_of(record) is not LeafKind.ACCESS:
            self._behind_closing = isinstance(record, WritesClosed)
