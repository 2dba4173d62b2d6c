"""To whose keys something is sealed: the units that are addressed, who steps in for them, and the sender itself.

Must never: seal to a key that the keys log does not vouch for, or to somebody abroad without an agreement.

Implements: R-22, R-85, R-101; design §5, §6.
"""

from __future__ import annotations

from collections.abc import Sequence

from referral_api.client import freshness
from referral_api.client.sealing import Recipient
from referral_api.client.session import Session
from referral_api.domain import borders
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import KeyUse, PartyId, Role
from referral_api.formats.bundle import SealRole
from referral_api.formats.statements import KeyMap


def escalation(keymap: KeyMap, unit: str, home: str | None, now: int, *, agreed: bool = False) -> list[PartyId]:
    """The escalation parties of a unit that can be sealed to, as its directory entry orders them; its parent first.

    None that is abroad for a hotline of `home`, unless the submit names what was `agreed` (R-85).
    """
    party = keymap.find_party(unit)
    if party is None:
        return []
    named = [party.entry.parent] if party.entry.parent is not None else []
    named += [one for one in party.entry.escalation if one not in named]
    units = [one for one in named if (found := keymap.find_party(one)) is not None and found.role is Role.POLICE_UNIT]
    near = [one for one in units if agreed or not borders.is_abroad(keymap.country_of(one), home)]
    return [one for one in near if keymap.sealable(one, now)]


def demand_known(
    session: Session, keymap: KeyMap, unit: str, excluded: Sequence[str], now: int, *, agreed: bool = False
) -> None:
    """Refuse a unit whose only keys have changed since the keys log was last seen freshly cosigned (R-101)."""
    facts = freshness.changed(session.directory, session.replica, unit, now)
    if facts is not None:
        home = keymap.country_of(session.profile.party)
        instead = [one for one in escalation(keymap, unit, home, now, agreed=agreed) if one not in excluded]
        raise ReferralError(ErrorCode.NO_USABLE_KEY, unit=unit, instead=instead, **facts)


def recipients_for(session: Session, party: str, now: int) -> list[Recipient]:
    """Whom a sealed note is for: the other side's keys, and our own so that we can read it again."""
    return recipients_as(session, party, SealRole.INFORMATION, now)


def recipients_as(session: Session, party: str, role: SealRole, now: int) -> list[Recipient]:
    """A party's keys in a role, and our own beside them. Raises NO_USABLE_KEY (`unit`, `instead`)."""
    keymap = session.sealing_keymap
    others = recipients_of(keymap, PartyId(party), role, now)
    if not others:
        demand_known(session, keymap, party, (), now)
        raise ReferralError(ErrorCode.NO_USABLE_KEY, unit=party, instead=[])
    return others + own_keys(keymap, session.profile.party, now)


def recipients_of(keymap: KeyMap, party: PartyId, role: SealRole, now: int) -> list[Recipient]:
    """A party's sealable keys, in a role."""
    return [Recipient(key.public, party, role) for key in keymap.sealable(party, now)]


def own_keys(keymap: KeyMap, party: PartyId, now: int) -> list[Recipient]:
    """The sealing party's own keys, so that it can read what it sent."""
    roles = {KeyUse.ENC: SealRole.SENDER, KeyUse.BACKUP: SealRole.ARCHIVE}
    return [Recipient(key.public, party, roles[key.use]) for key in keymap.sealable(party, now)]
