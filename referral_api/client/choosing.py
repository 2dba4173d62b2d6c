"""Choosing whom to seal to: the units of the directory beside what the exchange says of who listens there.

Who a unit is, its number and its keys come from the replicated keys log. That it is live or offline is the exchange's
word: it knows who asks for his inbox, and could say otherwise. So the mark never decides anything here; it is shown,
and a person telephones.

Must never: let a mark keep a referral from being sent, or wait long for one while somebody holds the line.

Implements: R-84, R-85; design §5 (a unit with no usable key), §12.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from referral_api.client import exchange
from referral_api.client.addressing import escalation
from referral_api.client.session import Session
from referral_api.client.submission import Composition
from referral_api.domain import borders, choosing
from referral_api.domain.choosing import Candidate, Suggestion
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import PartyId, Role
from referral_api.formats.codelists import codes
from referral_api.formats.fields import LATEST_S
from referral_api.formats.parties import Party
from referral_api.formats.statements import KeyMap

REGIONS = "region"
"""The code list of the country's departments, by the first two digits of a UBIGEO."""
_DIGITS = (2, 4, 6)


@dataclass(frozen=True, slots=True)
class Presence:
    """What the exchange says of a party: whether anybody listens there, and who last did (unix seconds, or never)."""

    live: bool
    live_at: int | None


class Missing(StrEnum):
    """Why a party that a unit names to step in for it will not be sealed to."""

    EXCLUDED = "excluded"
    ADDRESSED = "addressed"
    """It is addressed already, to act or to know."""
    ABROAD = "abroad"
    NO_KEY = "no_key"


@dataclass(frozen=True, slots=True)
class Unit:
    """A party of the directory as whoever chooses sees it.

    `reachable`: it has a key that may be sealed to now; `instead`: where it has none, its escalation parties that have
    one. `presence` is None where the exchange was not asked or says nothing.
    """

    party: Party
    reachable: bool
    instead: tuple[PartyId, ...]
    abroad: bool
    presence: Presence | None


@exchange.told()
def fetch_presence(session: Session, *, patient: bool = True) -> dict[str, Presence]:
    """What the exchange says of every party of the directory. Raises TAMPERED for an answer that is none.

    Not `patient`: one attempt, for who has better things to do than to wait for a dead line.
    """
    answer = session.read_json(replace(exchange.parties(), repeatable=patient))
    parties = answer.get("parties")
    if not isinstance(parties, list):
        raise _no_answer()
    return dict(_presence(one) for one in parties)


def find_presence(session: Session) -> dict[str, Presence] | None:
    """The same in one attempt; None where nobody says it, or says it so that it cannot be read.

    Whatever is wrong then is found by what follows, and an emergency is not kept back by a mark that decides nothing.
    """
    try:
        return fetch_presence(session, patient=False)
    except ReferralError:
        return None


def units(session: Session, presence: Mapping[str, Presence] | None) -> list[Unit]:
    """Every police unit of the replicated directory, by id."""
    return [look(session, party, presence) for party in session.keymap.parties() if party.role is Role.POLICE_UNIT]


def look(session: Session, party: Party, presence: Mapping[str, Presence] | None) -> Unit:
    """One party, as the newest directory that may be sealed by has it."""
    keymap, now = _sealing_keymap(session), session.now()
    home = session.keymap.country_of(session.profile.party)
    reachable = keymap is not None and bool(keymap.sealable(party.id, now))
    instead = [] if reachable or keymap is None else escalation(keymap, party.id, home, now)
    said = None if presence is None else presence.get(party.id)
    return Unit(party, reachable, tuple(instead), borders.is_abroad(party.entry.country, home), said)


def successors(session: Session, what: Composition) -> dict[str, Missing | None]:
    """Whom the acting unit's directory entry names to step in for it, its parent first, and why that one will not be
    sealed to (None: it will): `addressing.escalation` leaves out in silence whom it cannot seal to.
    """
    keymap, now = _sealing_keymap(session), session.now()
    party = None if keymap is None or what.action is None else keymap.find_party(what.action)
    if keymap is None or party is None:
        return {}
    home = session.keymap.country_of(session.profile.party)
    can = set(escalation(keymap, party.id, home, now, agreed=what.agreement is not None))
    named = [*([] if party.entry.parent is None else [party.entry.parent]), *party.entry.escalation]
    found: dict[str, Missing | None] = {}
    for one in dict.fromkeys(named):
        if one in what.excluded:
            found[one] = Missing.EXCLUDED
        elif one in what.units:
            found[one] = Missing.ADDRESSED
        elif one in can:
            found[one] = None
        else:
            abroad = keymap.sealable(one, now) and borders.is_abroad(keymap.country_of(one), home)
            found[one] = Missing.ABROAD if abroad else Missing.NO_KEY
    return found


def suggest(
    known: Collection[Unit],
    ubigeo: str,
    *,
    wanted: Collection[str] = (),
    excluded: Collection[str] = (),
    abroad: bool = False,
) -> list[tuple[Unit, Suggestion]]:
    """Of these units those that suit a place, the most suitable first (domain/choosing.py).

    `wanted` are codes of the list `speciality`. Raises MALFORMED (`param`, `reason`) for a place or a code that is
    none.
    """
    check_ubigeo(ubigeo)
    for code in wanted:
        if code not in codes("speciality"):
            raise ReferralError(
                ErrorCode.MALFORMED, param="speciality", reason="not-in-list", codes=", ".join(codes("speciality"))
            )
    by_id = {one.party.id: one for one in known}
    candidates = [_candidate(one) for one in known]
    found = choosing.suggest(candidates, ubigeo, wanted=wanted, excluded=excluded, abroad=abroad)
    return [(by_id[PartyId(one.unit)], one) for one in found]


def check_ubigeo(text: str) -> None:
    """Refuse what is no UBIGEO of this country: MALFORMED (`param`, `reason`).

    bad-format for other than 2, 4 or 6 digits, no-such-region for a department that does not exist.
    """
    if len(text) not in _DIGITS or not (text.isascii() and text.isdecimal()):
        raise ReferralError(ErrorCode.MALFORMED, param="ubigeo", reason="bad-format")
    if text[:2] not in codes(REGIONS):
        raise ReferralError(ErrorCode.MALFORMED, param="ubigeo", reason="no-such-region", region=text[:2])


def check_entry(entry: Mapping[str, Any]) -> None:
    """Refuse a directory entry, about to be written, whose areas are in no department of this country, and that of a
    police unit which nobody could telephone.

    Whatever else is wrong with it is said by who parses it. Raises as `check_ubigeo`; MALFORMED (`duty-phone`).
    """
    choosing.demand_telephone(str(entry.get("id")), str(entry.get("role")), entry.get("duty_phone"))
    area = entry.get("area")
    for one in area if isinstance(area, list) and entry.get("country") is None else ():
        if isinstance(one, str):
            check_ubigeo(one)


def _candidate(unit: Unit) -> Candidate:
    entry = unit.party.entry
    return Candidate(
        id=entry.id,
        area=entry.area,
        parent=entry.parent,
        specialities=frozenset(entry.specialities or ()),
        live=None if unit.presence is None else unit.presence.live,
        abroad=unit.abroad,
    )


def _sealing_keymap(session: Session) -> KeyMap | None:
    try:
        return session.sealing_keymap
    except ReferralError as error:
        if error.code is not ErrorCode.NOT_WITNESSED:
            raise
        return None  # Nothing is cosigned yet, and nobody is sealed to.


def _presence(line: Any) -> tuple[str, Presence]:
    if not isinstance(line, dict) or not isinstance(line.get("id"), str):
        raise _no_answer()
    live, at = line.get("live"), line.get("live_at")
    if not isinstance(live, bool) or (at is not None and not (type(at) is int and 0 <= at <= LATEST_S)):
        raise _no_answer()
    return line["id"], Presence(live, at)


def _no_answer() -> ReferralError:
    return ReferralError(ErrorCode.MALFORMED, reason="members")
