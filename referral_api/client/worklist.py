"""Every delivery that concerns a party, on which of its worklists each stands, what is due on it, and in which order.

What there is to look at, the inbox says; the outbox says on what this workstation has acted, whatever an inbox leaves
out, and what a hotline sees of one referral names those that are tied to it. Each is fetched and verified, and only
what verified is listed. One that cannot be verified or had stands among the problems and hides no other.

Must never: list what did not verify, leave a delivery on no list, show a unit what is held for it, or be silent about
what could not be looked at.

Implements: R-70, R-54; design §10 (no state is on no worklist).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, TypeAlias

from referral_api.auditlog.report import OnProgress, unheard
from referral_api.client import consented, handed_on, outage, phoned, reached, replacing
from referral_api.client.keptviews import KeptViews
from referral_api.client.outbox import Mark, Outbox, Progress
from referral_api.client.session import Session
from referral_api.client.view import Referral
from referral_api.domain import lifecycle
from referral_api.domain.clockwork import Due
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.policy import Relation
from referral_api.domain.words import Act, DeliveryRole, PartyId, ReferralId, Role, State, Urgency
from referral_api.domain.worklists import OVER, TO_DO, Worklist, superseded, worklists

PATIENCE: Final = 3
"""After how many failures in a row that pass by themselves the exchange is asked no more."""
_SIDES: Final = {Role.HOTLINE: Relation.SENDER, Role.POLICE_UNIT: Relation.RECIPIENT}
_UNSENT: Final = frozenset({Progress.QUEUED, Progress.SENDING, Progress.NEEDS_RESEALING})
_OF_ALL: Final = frozenset(
    {
        *(ErrorCode.NOT_ENROLLED, ErrorCode.LOCKED, ErrorCode.KEYSTORE_CORRUPT, ErrorCode.INVALID_TOKEN),
        *(ErrorCode.INVALID_DPOP_PROOF, ErrorCode.INSUFFICIENT_SCOPE, ErrorCode.ISSUER_MISMATCH),
        *(ErrorCode.CLOCK_SKEW, ErrorCode.WRONG_ROOT),
    }
)
"""What is wrong with this workstation or the whole exchange, and would be told of every referral in turn."""
_URGENCIES: Final = (Urgency.EMERGENCY, Urgency.URGENT, Urgency.ROUTINE)
_NEVER: Final = 1 << 60
_TELL: Final = frozenset({Worklist.TELL})
_TELEPHONE: Final = frozenset({Worklist.TELEPHONE})
_CLOSE: Final = frozenset({Worklist.CLOSE})


@dataclass(frozen=True, slots=True)
class Item:
    """One delivery. Times are unix seconds of the exchange; `begun_at` is when the referral was submitted, `since` when
    it reached its unit (None: held). `lists` stand in the order of `Worklist`, `dues` the most pressing first.
    `allowed` is what this very credential may do. `is_over`: as things are nobody has anything to do with it; it has
    ended, or stands by for what has been read already. `untold`: consent was withdrawn on this referral, or on one that
    it is a copy or successor of or that is one of it, and this unit has not been told. `replaced`: a later referral of
    ours, which verified and somebody has, stands in its place.
    """

    ref: ReferralId
    unit: PartyId
    role: DeliveryRole
    state: State
    urgency: Urgency
    lists: tuple[Worklist, ...]
    dues: tuple[Due, ...]
    begun_at: int
    since: int | None
    allowed: tuple[Act, ...]
    is_over: bool
    untold: bool = False
    replaced: bool = False

    @property
    def asks(self) -> bool:
        """Whether it waits for this very party."""
        return not TO_DO.isdisjoint(self.lists)

    @property
    def due(self) -> Due | None:
        """The most pressing of `dues`."""
        return next(iter(self.dues), None)

    @property
    def rank(self) -> tuple[Any, ...]:
        """What asks something of this party first, and of that what is only to be closed last, what is over at the end;
        by urgency, the most pressing deadline, age.
        """
        deadline = _NEVER if self.due is None else self.due.due_at
        return (
            not self.asks,
            self.is_over,
            set(self.lists) & TO_DO == _CLOSE,
            _URGENCIES.index(self.urgency),
            deadline,
            self.begun_at,
            self.ref,
            self.unit,
        )


@dataclass(frozen=True, slots=True)
class Problem:
    """A referral that could not be verified, or could not be had, and why."""

    ref: ReferralId
    error: ReferralError


@dataclass(frozen=True, slots=True)
class Agenda:
    """Everything that was found, in the order of `Item.rank`.

    `gone` are referrals whose purge was verified here, and of which the exchange keeps nothing any more (R-99).
    `unseen` were not looked at, because of `ended_by`. `unsent` is how many acts of ours wait in the outbox here.
    """

    items: tuple[Item, ...]
    problems: tuple[Problem, ...] = ()
    gone: tuple[ReferralId, ...] = ()
    unseen: tuple[ReferralId, ...] = ()
    ended_by: ReferralError | None = None
    unsent: int = 0

    @property
    def complete(self) -> bool:
        """Whether everything that was heard of has been verified."""
        return not self.problems and self.ended_by is None


Look: TypeAlias = Callable[[Referral, Item], None]
"""Is shown each delivery with its referral, as it was verified."""


def unlooked(_referral: Referral, _item: Item) -> None:
    """Nobody looks."""


def agenda_of(
    session: Session,
    outbox: Outbox,
    fetch: Callable[[str], Referral],
    each: Look = unlooked,
    progress: OnProgress = unheard,
) -> Agenda:
    """The worklists of our party. `fetch` is `Client.referral`, which verifies what it shows.

    `progress` is told of `referrals`. Raises NOT_PERMITTED (`no-deliveries`) for who neither sends nor receives, every
    failure of the inbox and the keys log, and what is wrong with this workstation rather than with one referral.
    """
    session.sync_keys()
    own = session.keymap.find_party(session.profile.party)
    if own is None or own.role not in _SIDES:
        role = None if own is None else own.role.value
        raise ReferralError(ErrorCode.NOT_PERMITTED, reason="no-deliveries", role=role)
    marks = outbox.marks()
    walk = _Walk(session.profile.party, own.role, fetch, each)
    wanted = [*_acted_on(marks), *(one.ref for one in reached.heard(session))]
    walk.look(wanted, partial(_is_gone, session.views), progress)
    unsent = sum(one.ref is not None and one.state in _UNSENT for one in marks)
    return replace(walk.agenda(), unsent=unsent)


def _acted_on(marks: Sequence[Mark]) -> list[ReferralId]:
    """The referrals of acts that went out from here and were accepted, newest first."""
    return list(dict.fromkeys(one.ref for one in reversed(marks) if one.received and one.ref is not None))


def _is_gone(views: KeptViews | None, ref: ReferralId) -> bool:
    return views is not None and views.bury_if_purged(ref)


@dataclass(frozen=True, slots=True)
class _Consent:
    """What one referral says of consent: the earlier one of the same case, whom nobody has told on it, whether it is
    withdrawn there.
    """

    earlier: ReferralId | None
    untold: tuple[PartyId, ...]
    withdrawn: bool


def _untold(consents: Mapping[ReferralId, _Consent]) -> set[tuple[ReferralId, PartyId]]:
    """The deliveries that a withdrawn consent must reach and has not: it reaches what is tied, either way and in turn,
    by what the submits themselves say (R-110).
    """
    tied: dict[ReferralId, list[ReferralId]] = {ref: [] for ref in consents}
    for ref, one in consents.items():
        if one.earlier in tied:
            tied[ref].append(one.earlier)
            tied[one.earlier].append(ref)
    queue = [ref for ref, one in consents.items() if one.withdrawn]
    reached_by = set(queue)
    while queue:
        fresh = [one for one in tied[queue.pop()] if one not in reached_by]
        reached_by.update(fresh)
        queue += fresh
    return {(ref, unit) for ref in reached_by for unit in consents[ref].untold}


def _marked(item: Item) -> Item:
    """The entry of a delivery that has to be told of a withdrawn consent."""
    lists = tuple(one for one in Worklist if one in {*item.lists, Worklist.TELL})
    return replace(item, lists=lists, is_over=False, untold=True)


def _replaced(item: Item) -> Item:
    """The entry of a referral in whose place another one stands."""
    found = superseded(item.lists)
    return replace(item, lists=tuple(one for one in Worklist if one in found), replaced=True)


class _Walk:
    """One look at everything."""

    def __init__(self, party: str, role: Role, fetch: Callable[[str], Referral], each: Look) -> None:
        self._party = party
        self._role = role
        self._fetch = fetch
        self._each = each
        self._items: list[Item] = []
        self._consents: dict[ReferralId, _Consent] = {}
        self._places: dict[ReferralId, replacing.Place] = {}
        self._earlier = set[ReferralId]()
        self._problems: list[Problem] = []
        self._gone: list[ReferralId] = []
        self._unseen: tuple[ReferralId, ...] = ()
        self._ended_by: ReferralError | None = None

    def agenda(self) -> Agenda:
        """What was found."""
        owed, replaced = _untold(self._consents), replacing.replaced(self._places)
        items_ = (_replaced(one) if one.ref in replaced else one for one in self._items)
        marked = (_marked(one) if (one.ref, one.unit) in owed else one for one in items_)
        items = tuple(sorted(marked, key=lambda one: one.rank))
        return Agenda(items, tuple(self._problems), tuple(self._gone), self._unseen, self._ended_by)

    def look(self, wanted: Sequence[ReferralId], purged: Callable[[ReferralId], bool], progress: OnProgress) -> None:
        """Look at what is wanted, and at what that leads to."""
        queue = deque(dict.fromkeys(wanted))
        told, failed, done = set(queue), 0, 0
        while queue:
            progress("referrals", done, len(told))
            ref, done = queue.popleft(), done + 1
            try:
                tied = self._one(ref)
            except ReferralError as error:
                if error.code in _OF_ALL or error.facts.get("shown") == "keys-log":
                    raise
                if error.code is ErrorCode.NOT_FOUND and purged(ref):
                    self._gone.append(ref)
                elif error.code is not ErrorCode.NOT_FOUND or ref not in self._earlier:
                    self._problems.append(Problem(ref, error))
                failed = failed + 1 if outage.is_passing(error) else 0
                if failed == PATIENCE or error.code is ErrorCode.UNREACHABLE:
                    # For the others there would be no answer either.
                    self._ended_by, self._unseen = error, tuple(queue)
                    break
            else:
                failed = 0
                fresh = [one for one in tied if one not in told]
                told.update(fresh)
                queue.extend(dict.fromkeys(fresh))
        progress("referrals", done, len(told))

    def _one(self, ref: ReferralId) -> list[ReferralId]:
        """List what concerns us of one referral; those that it is tied to, which a colleague may have sent."""
        referral = self._fetch(ref)
        if referral.relation is not _SIDES[self._role]:
            raise ReferralError(ErrorCode.TAMPERED, shown="referral", what="view", reason="not-ours")
        for item in self._of(referral):
            self._items.append(item)
            self._each(referral, item)
        if self._role is not Role.HOTLINE:
            return []
        earlier = consented.relation_of(referral)
        same = earlier[1] if earlier is not None and earlier[0] != consented.APART else None
        withdrawn, untold = consented.is_withdrawn(referral), tuple(consented.untold(referral))
        self._consents[referral.ref] = _Consent(same, untold, withdrawn=withdrawn)
        self._places[referral.ref] = replacing.place_of(referral)
        if earlier is None:
            return [*referral.later]
        # What it came after may be erased by now; what the exchange names as later must be there.
        self._earlier.add(earlier[1])
        return [*referral.later, earlier[1]]

    def _of(self, referral: Referral) -> Iterator[Item]:
        submit: Any = referral.submit().act.body
        found = {one: worklists(self._role, self._party, one) for one in referral.chronicle.deliveries.values()}
        found |= {one: lists | _TELL for one, lists in found.items() if handed_on.lacking(referral, one.unit)}
        silent = phoned.unreached(referral)
        found |= {one: lists | _TELEPHONE for one, lists in found.items() if one.unit in silent}
        ended = lifecycle.FINISHED | {State.HELD}
        is_open = any(one.state not in ended and one.role is not DeliveryRole.INFORMATION for one in found)
        for own, lists in found.items():
            # What all others have ended comes to nobody any more who stands by.
            idle = lists == {Worklist.STANDING_BY} and not is_open
            standing = referral.standings[own.unit]
            yield Item(
                ref=referral.ref,
                unit=PartyId(own.unit),
                role=own.role,
                state=own.state,
                urgency=submit.urgency,
                lists=tuple(one for one in Worklist if one in lists),
                dues=standing.dues,
                begun_at=referral.chronicle.submitted_at or 0,
                since=own.submitted_at,
                allowed=standing.allowed,
                is_over=(lists <= OVER or idle) and not standing.dues,
            )
