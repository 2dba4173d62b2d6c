"""Keeping and forgetting as the operator sees them: which ciphertext goes when, what is held, what may be erased.

Purges need nobody: the exchange's clocks post them. Erasure, years later, is the operator's act, and here stands what
it may take: a referral whose every delivery is purged, that nobody holds, and of which every leaf is old enough. One
whose erasure has begun is finished, whatever has been written of it since.

Must never: write, or call a referral erasable of which anything is kept.

Implements: R-99, R-107; rules R1 to R3 of the field; design §9 (two stages of forgetting).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

from referral_api.auditlog.leaf import parse_leaf
from referral_api.domain import clockwork
from referral_api.domain.clocks import Clock
from referral_api.domain.deliveries import Delivery
from referral_api.domain.rules import DEFAULT, RuleBook
from referral_api.domain.terms import Term
from referral_api.domain.words import Act, State
from referral_api.formats.act import parse_act
from referral_api.formats.exchange_bodies import MAX_ERASED
from referral_api.server.storage import erasures, logbook, queries
from referral_api.server.storage.database import Connection
from referral_api.server.storage.queries import Referral
from referral_api.server.storage.retention import positions_about, referrals_after

PAGE: Final = 256
_UNREAD = frozenset({State.EXPIRED, State.RECEIPT_FAILED, State.WITHDRAWAL_NOTIFIED})
"""States in which a delivery that nobody has acknowledged stays for ever, whatever its clocks say."""


@dataclass(frozen=True, slots=True)
class Hold:
    """A hold that stands: whose, who signed it, why, and when it is looked at again (unix seconds)."""

    party: str
    by: str
    basis: str
    review_at: int


@dataclass(frozen=True, slots=True)
class Kept:
    """A delivery whose ciphertext is kept: until when, by whom beyond that, and whether it is never to go because
    nobody has acknowledged it in time, which is an alarm.
    """

    ref: str
    unit: str
    state: State
    purge_at: int | None
    holds: tuple[Hold, ...]
    unread: bool


@dataclass(frozen=True, slots=True)
class Erasable:
    """A referral whose records may be erased, or why not; `positions` are those of its leaves, in log order."""

    ref: str
    positions: tuple[int, ...]
    obstacle: str | None = None


def backup_life_s(book: RuleBook) -> int:
    """For how long a backup may be kept (seconds): no longer than anything in it that was fresh when it was made, be it
    that it keeps the rules that it came under, which were changed since.
    """
    spans = [
        span
        for rules in (DEFAULT, *(changed for _, changed in book.changes))
        for one in rules.retention.values()
        for span in (one.after_end, one.after_ack)
    ]
    return int(min(spans).total_seconds())


def kept(conn: Connection, book: RuleBook, now: int) -> Iterator[Kept]:
    """Every delivery whose ciphertext is kept, by referral."""
    for referral, deliveries in _referrals(conn):
        rules = book.at(referral.created_at)
        for unit in sorted(deliveries):
            one = deliveries[unit]
            at = clockwork.purge_at(rules, referral.retention, one)
            if one.state is State.PURGED or (one.purged_at is not None and at is None):
                continue
            dues = clockwork.dues(rules, referral.urgency, one)
            late = any(due.clock is Clock.ACK and due.due_at <= now for due in dues)
            never = at is None and one.acknowledged_at is None and one.state in _UNREAD
            holds = tuple(_hold(conn, referral.ref, unit, held) for held in one.holds)
            yield Kept(referral.ref, unit, one.state, at, holds, unread=late or never)


def erasable(conn: Connection, before: int) -> Iterator[Erasable]:
    """Every referral, and whether all of it is older than `before` (unix seconds) and may be erased."""
    for referral, deliveries in _referrals(conn):
        positions = tuple(positions_about(conn, referral.ref))
        yield Erasable(referral.ref, positions, _obstacle(conn, referral, deliveries, positions, before))


def portions(positions: Sequence[int]) -> list[tuple[Term, list[int]]]:
    """The leaves of a referral as the `erase` acts that take them: each of one log, none too large.

    From the newest to the oldest, so that the referral is known until the last of them, which takes its submission: a
    process that dies in between leaves something that can be gone on with.
    """
    found: list[tuple[Term, list[int]]] = []
    places = [logbook.term_index(pos) for pos in sorted(positions, reverse=True)]
    for term, group in groupby(places, key=lambda place: place[0]):
        indices = [index for _, index in group]
        found += [(term, sorted(indices[at : at + MAX_ERASED])) for at in range(0, len(indices), MAX_ERASED)]
    return found


def _obstacle(
    conn: Connection, referral: Referral, deliveries: Mapping[str, Delivery], positions: Sequence[int], before: int
) -> str | None:
    if any(act.outcome == "accepted" for act in queries.acts_of_kind(conn, referral.ref, Act.ERASE)):
        return None
    if any(one.holds for one in deliveries.values()):
        return "held"
    if any(one.state is not State.PURGED for one in deliveries.values()):
        return "not-purged"
    if any(text.kept for text in erasures.sealed_of_referral(conn, referral.ref)):
        return "not-purged"
    term, index = logbook.term_index(positions[-1])
    newest = parse_leaf(logbook.leaf(conn, term.log, index))
    return None if newest.logged_s < before else "younger"


def _referrals(conn: Connection) -> Iterator[tuple[Referral, dict[str, Delivery]]]:
    after = ""
    while page := referrals_after(conn, after, PAGE):
        for referral in page:
            yield referral, queries.deliveries_of(conn, referral.ref)
        after = page[-1].ref


def _hold(conn: Connection, ref: str, unit: str, held: tuple[str, int]) -> Hold:
    """A hold with what only its act says: who signed it, and why."""
    party, review_at = held
    by = basis = ""
    for stored in queries.acts_of_kind(conn, ref, Act.HOLD):
        body: Any = parse_act(stored.jws.encode("ascii")).body
        if (stored.outcome, stored.party) == ("accepted", party) and stored.unit in (None, unit) and body.on:
            by, basis = stored.iss, body.basis
    return Hold(party, by, basis, review_at)
