"""Which referrals have reached a party, as its inbox tells of them from its beginning (R-55).

An inbox is a hint where to look: whoever goes by it fetches what it names and verifies that. What it leaves out nobody
can tell from it, so nothing is concluded here from a line that is missing.

Must never: move the kept cursor, or be taken for evidence of anything.

Implements: R-55.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from referral_api.client import delivery
from referral_api.client.delivery import InboxEntry
from referral_api.client.session import Session
from referral_api.domain.words import Act, ReferralId

_BRINGS = frozenset({Act.SUBMIT.value, Act.APPROVE.value, Act.RELEASED.value})
"""Kinds of lines with which a delivery reaches a unit."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A referral of which the inbox has lines: whether one brought it to a unit, and none said since that it was
    purged. Both are the exchange's word.
    """

    ref: ReferralId
    brought: bool


def inbox_lines(session: Session, *, pending: bool = False) -> Iterator[InboxEntry]:
    """Everything in the inbox, from its beginning. The kept cursor is left alone."""
    after: str | None = None
    while True:
        page = delivery.fetch_inbox(session, after, pending=pending)
        yield from page.entries
        if not page.more:
            return
        after = page.cursor


def heard(session: Session) -> list[Heard]:
    """Every referral that a line names, newest first: by the line that brought it, else by the first one."""
    brought: dict[ReferralId, None] = {}
    named: dict[ReferralId, None] = {}
    for entry in inbox_lines(session):
        if entry.ref is None:
            continue
        named.setdefault(entry.ref)
        if entry.kind in _BRINGS and entry.from_party != session.profile.party:
            brought[entry.ref] = None
        elif entry.kind == Act.PURGED.value:
            brought.pop(entry.ref, None)
    others = [ref for ref in named if ref not in brought]
    return [Heard(ref, ref in brought) for ref in (*reversed(brought), *reversed(others))]
