"""What is kept of a referral and for how long, as its acts say it: holds with their owners, and texts that are gone.

Whoever looks at a referral forgets here what was purged there: `fetch` is how every command of a party looks at one.

Must never: believe the exchange that something was purged, or that it was not; the acts tell. Nor keep a referral from
being shown because something of it could not be forgotten.

Implements: R-107; rules R1 to R3 of the field.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from referral_api.client import opened
from referral_api.client.keptviews import KeptViews
from referral_api.client.outbox import Outbox
from referral_api.client.session import Session
from referral_api.client.view import Referral, ShownAct, fetch_referral
from referral_api.domain.deliveries import Delivery
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.policy import Relation
from referral_api.domain.words import Act, PartyId, ReferralId, State
from referral_api.formats.bodies import sealed_of


@dataclass(frozen=True, slots=True)
class Hold:
    """One that stands: whose, who signed it and why, since when, and when it is looked at again (unix seconds)."""

    party: str
    by: str
    basis: str
    since: int
    review_at: int


def fetch(session: Session, outbox: Outbox, ref: ReferralId, views: KeptViews | None = None) -> Referral:
    """A referral with everything verified, after which what is purged of it is gone from this workstation as well.

    `views` and what it raises as in `view.fetch_referral`.
    """
    referral = fetch_referral(session, ref, outbox.accepted(ref), views)
    forget_locally(session, outbox, referral)
    return referral


def forget_locally(session: Session, outbox: Outbox, referral: Referral) -> None:
    """Destroy what this profile keeps of texts whose purge is verified: envelopes it sent, content keys of those it
    opened (R-107). What a disk refuses now goes with the next look.
    """
    gone = [one.act for one in referral.acts if gone_at(referral, one) is not None]
    sealed = [(act.digest, named.sha256) for act in gone if (named := sealed_of(act.body)) is not None]
    if not sealed:
        return
    for _, envelope in sealed:
        with suppress(OSError):
            opened.forget(session.directory, envelope)
    with suppress(sqlite3.OperationalError):
        outbox.forget(digest for digest, _ in sealed)


def look_at(session: Session, outbox: Outbox, refs: Iterable[ReferralId], look: Callable[[str], Referral]) -> None:
    """Have a look at those that the exchange says were purged, where anything of them, or an answer, is kept here.

    A watch is there for emergencies: what cannot be had, or is false, is told to whoever looks at it next.
    """
    for ref in refs:
        with suppress(ReferralError):
            is_known = session.views is not None and session.views.find(ref) is not None
            if is_known or may_keep(session, outbox, ref):
                look(ref)


def may_keep(session: Session, outbox: Outbox, ref: ReferralId) -> bool:
    """Whether anything in this profile may be of this referral's texts. A content key does not say whose it is."""
    has_keys = session.directory.opened.is_dir() and any(session.directory.opened.iterdir())
    return has_keys or any(one.outgoing.ref == ref and one.outgoing.beside for one in outbox.entries())


def holds_of(referral: Referral, unit: str) -> list[Hold]:
    """The holds that stand on a delivery, by party."""
    found: list[Hold] = []
    for party, review_at in referral.chronicle.deliveries[unit].holds:
        newest = [one for one in referral.acts if _holds(one, party, unit)][-1]
        body: Any = newest.act.body
        found.append(Hold(party, newest.act.iss, body.basis, newest.at, review_at))
    return found


def own_hold(referral: Referral, party: str, unit: str | None) -> Hold:
    """The party's own hold on one delivery, or on any. Raises ILLEGAL_TRANSITION (`no-hold`)."""
    units = [unit] if unit is not None else list(referral.chronicle.deliveries)
    for one in units:
        if one in referral.chronicle.deliveries:
            for hold in holds_of(referral, one):
                if hold.party == party:
                    return hold
    raise ReferralError(ErrorCode.ILLEGAL_TRANSITION, act=Act.HOLD.value, reason="no-hold")


def gone_at(referral: Referral, shown: ShownAct) -> int | None:
    """When what travelled beside an act was purged, as far as this party is concerned (unix seconds); None if it is
    there. A purge takes what came before it, not what is written after it.
    """
    order = [one.act.digest for one in referral.acts]
    at: list[int] = []
    for delivery in _concerned(referral, shown):
        purges = [one for one in referral.acts if (one.act.act, one.act.unit) == (Act.PURGED, delivery.unit)]
        after = [one.at for one in purges if order.index(one.act.digest) > order.index(shown.act.digest)]
        if not after:
            return None
        at.append(after[0])
    return max(at, default=None)


def demand_kept(referral: Referral, shown: ShownAct) -> None:
    """Raises NOT_FOUND (`reason` `purged`, `purged_at`) where that is gone, before anybody is asked for it."""
    at = gone_at(referral, shown)
    if at is not None:
        raise ReferralError(ErrorCode.NOT_FOUND, reason="purged", purged_at=at)


def purgeable(referral: Referral, party: str, unit: str | None) -> list[PartyId]:
    """The deliveries, of one unit or of all, whose purge this party may ask for now."""
    own = [PartyId(party)] if referral.relation == Relation.RECIPIENT else None
    named = own or ([PartyId(unit)] if unit is not None else [PartyId(one) for one in referral.chronicle.deliveries])
    standings: Mapping[str, Any] = referral.standings
    return [one for one in named if one in standings and Act.PURGE_REQUEST in standings[one].allowed]


def _concerned(referral: Referral, shown: ShownAct) -> Iterator[Delivery]:
    """The deliveries that a text belongs to. A unit's view holds its own alone, whatever brought the text."""
    body: Any = shown.act.body
    units = {shown.act.unit, body.to} if shown.act.act is Act.TRANSFER else {shown.act.unit}
    whole = None in units or referral.relation == Relation.RECIPIENT
    for unit, delivery in referral.chronicle.deliveries.items():
        if (whole or unit in units) and (delivery.state is not State.HELD or delivery.holds):
            yield delivery


def _holds(shown: ShownAct, party: str, unit: str) -> bool:
    body: Any = shown.act.body
    is_on = shown.accepted and shown.act.act is Act.HOLD and bool(body.on)
    return is_on and shown.act.party == party and shown.act.unit in (None, unit)
