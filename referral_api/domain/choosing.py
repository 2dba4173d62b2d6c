"""Choosing a unit: which units suit a place, in which order and why, and whether anybody listens there.

A place is a UBIGEO: a department (2 digits), a province (4) or a district (6). Who covers it comes first, the nearest
of them before the others; then whoever works elsewhere in the department; then those above: the parents of these, and
whoever covers the whole country. The order is the same for everybody who knows the same directory, so that two
operators who are told the same place read the same list. It is a suggestion: a person chooses.

Must never: leave a unit out because nobody listens there (it is telephoned), show one that is excluded, or offer one
abroad that was not asked for. Clause: docs/protocol.md R-84.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Role

POLL_INTERVAL_S = 60
"""The longest pause between two looks into its inbox that a unit allows itself: an emergency has minutes. A client that
waits as it may (25 s) and pauses as it is told (5 s) asks twice as often.
"""
MISSED_POLLS = 3
OFFLINE_AFTER_S = MISSED_POLLS * POLL_INTERVAL_S
"""Who has not looked for so long is offline."""
_DEPARTMENT = 2


def demand_telephone(party: str, role: str, duty_phone: str | None) -> None:
    """A party about to be described in the directory can be telephoned where it must be.

    Raises MALFORMED (`duty-phone`, `unit`) for a police unit without a duty telephone: when an emergency is not read,
    that number is what the hotline has.
    """
    if role == Role.POLICE_UNIT.value and not duty_phone:
        raise ReferralError(ErrorCode.MALFORMED, reason="duty-phone", unit=party)


class Why(StrEnum):
    """Why a unit is suggested."""

    COVERS = "covers"
    """Its area covers the place."""
    SAME_DEPARTMENT = "same_department"
    PARENT = "parent"
    """A unit that covers the place, or works in its department, names it as its parent."""
    NATIONAL = "national"
    """It covers the whole country."""
    ABROAD = "abroad"
    SPECIALITY = "speciality"
    """It has a speciality that was asked for."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """What choosing needs of one unit. `live` is None where nobody can tell."""

    id: str
    area: tuple[str, ...] = ()
    parent: str | None = None
    specialities: frozenset[str] = frozenset()
    live: bool | None = None
    abroad: bool = False


@dataclass(frozen=True, slots=True)
class Suggestion:
    """One unit, and why: `area` is the part of its area that decided, `specialities` those that were asked for."""

    unit: str
    why: tuple[Why, ...]
    area: str | None
    specialities: frozenset[str]


def is_live(live_at: int | None, now: int) -> bool:
    """Whether somebody who last looked at `live_at` (None: never) is live at `now`, both of the exchange's clock."""
    return live_at is not None and now <= live_at + OFFLINE_AFTER_S


def suggest(
    units: Iterable[Candidate],
    place: str,
    *,
    wanted: Collection[str] = (),
    excluded: Collection[str] = (),
    abroad: bool = False,
) -> list[Suggestion]:
    """The units that suit `place`, the most suitable first; those abroad last, and only where `abroad` asks for them.

    Among equals come first those with more of the `wanted` specialities, then who is live, then by id.
    """
    known = list(units)
    near = {one.id: found for one in known if not one.abroad and (found := _near(one, place)) is not None}
    parents = {one.parent for one in known if one.id in near}
    ranked: list[tuple[tuple[int, int, int, int, str], Suggestion]] = []
    for one in known:
        if one.id in excluded or (one.abroad and not abroad):
            continue
        nearness, area = near.get(one.id, (None, None))
        reasons = _reasons(one, nearness, is_parent=one.id in parents)
        if not reasons:
            continue
        matched = one.specialities & set(wanted)
        order = (_RANK[reasons[0]], -len(area or ""), -len(matched), _listening(one), one.id)
        reasons += [Why.SPECIALITY] if matched else []
        ranked.append((order, Suggestion(one.id, tuple(reasons), area, matched)))
    return [suggestion for _, suggestion in sorted(ranked, key=lambda entry: entry[0])]


def _reasons(unit: Candidate, nearness: Why | None, *, is_parent: bool) -> list[Why]:
    """Why this unit might be chosen at all, the reason first by which it is ranked; empty: no reason."""
    if unit.abroad:
        return [Why.ABROAD]
    reasons = [] if nearness is None else [nearness]
    reasons += [Why.PARENT] if is_parent else []
    return reasons if unit.area else [*reasons, Why.NATIONAL]


def _near(unit: Candidate, place: str) -> tuple[Why, str | None] | None:
    """By which part of its area a unit covers a place, or that it works in the place's department; else None."""
    covering = [area for area in unit.area if place.startswith(area)]
    if covering:
        return Why.COVERS, max(covering, key=len)
    if any(area[:_DEPARTMENT] == place[:_DEPARTMENT] for area in unit.area):
        return Why.SAME_DEPARTMENT, None
    return None


def _listening(unit: Candidate) -> int:
    return {True: 0, None: 1, False: 2}[unit.live]


_RANK = {Why.COVERS: 0, Why.SAME_DEPARTMENT: 1, Why.PARENT: 2, Why.NATIONAL: 2, Why.ABROAD: 3}
