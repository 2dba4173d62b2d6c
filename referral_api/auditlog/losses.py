"""Leaves that an audit log has lost, as the beginning of the term that follows it says.

The first leaf names the lost log's last checkpoint that somebody vouches for, the second how far that log is held. What
lies between is lost: nobody can prove any more that a head seen there belonged to the log, so whoever has seen one is
asked, and never passed over in silence. A head that convicts the exchange of having said less than it signed, or of
another history, is an alarm for good.

Must never: take a loss for smaller than a head that was seen shows it to be.

Implements: R-92, R-94, R-95; docs/decisions/0022.
"""

from __future__ import annotations

from dataclasses import dataclass

from referral_api.auditlog.records import LogGenesis, LogLost, parse_record
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.terms import Term
from referral_api.formats.strict_json import unb64u

LEAVES_TO_TELL = 2
"""With how many records a term begins that follows a loss."""


@dataclass(frozen=True, slots=True)
class LostLog:
    """A log that has lost leaves. `kept` of them are held, under `kept_root`; `signed` is the largest size known.

    `size` and `root` are its last checkpoint that `authority` vouches for: `witnesses`, or `log` (its own key alone).
    """

    following: Term
    origin: str
    size: int
    root: bytes
    kept: int
    kept_root: bytes
    signed: int
    authority: str

    @property
    def term(self) -> Term:
        """The term whose log it is."""
        return Term(self.following.year, self.following.number - 1)

    @property
    def lost(self) -> int:
        """How many leaves are lost, as far as is known."""
        return self.signed - self.kept

    def admit(self, size: int, root: bytes) -> None:
        """Raise INCONSISTENT for a head of this log, seen before, that the exchange cannot have signed and lost.

        `shrunk`: it has signed more than it says; `forked`: another tree of a size that it names.
        """
        if size > self.signed:
            raise ReferralError(ErrorCode.INCONSISTENT, reason="shrunk", pinned=size, found=self.signed)
        if (size == self.size and root != self.root) or (size == self.kept and root != self.kept_root):
            raise ReferralError(ErrorCode.INCONSISTENT, reason="forked", pinned=size)

    def refusal(self, pinned: int) -> ReferralError:
        """What whoever has seen more than is held is told, until a person says that it may be gone."""
        return ReferralError(
            ErrorCode.INCONSISTENT, reason="lost", log=self.term.log, kept=self.kept, lost=self.lost, pinned=pinned
        )


def read_lost(following: Term, origin: str, genesis: bytes, second: bytes) -> LostLog:
    """What the first two records of a term say of the log before it, whose origin is `origin`.

    Raises TAMPERED (`log-lost`) where they are not what such a term begins with, MALFORMED as `parse_record`.
    """
    first, told = parse_record(genesis), parse_record(second)
    if not isinstance(first, LogGenesis) or not isinstance(told, LogLost) or first.previous is None:
        raise ReferralError(ErrorCode.TAMPERED, what="log-lost", reason="absent")
    last, kept = first.previous, told.kept
    if (last.origin, kept.origin) != (origin, origin) or not kept.size < told.signed or last.size > told.signed:
        raise ReferralError(ErrorCode.TAMPERED, what="log-lost", reason="differs")
    return LostLog(
        following=following,
        origin=origin,
        size=last.size,
        root=unb64u(last.root, exact=32),
        kept=kept.size,
        kept_root=unb64u(kept.root, exact=32),
        signed=told.signed,
        authority=told.authority,
    )
