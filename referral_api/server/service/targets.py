"""Whom an act may bring a referral to: police units of the directory, none that is excluded, none abroad unagreed.

Must never: tell a unit which others are excluded (decision.py asks that of the hotline's own acts alone).

Implements: R-64, R-85.
"""

from __future__ import annotations

from collections.abc import Collection

from referral_api.domain import borders
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.fold import Event
from referral_api.domain.words import Role
from referral_api.formats.parties import Party
from referral_api.formats.statements import KeyMap


def check_addressed(keymap: KeyMap, submit: Event, excluded: Collection[str], agreement: str | None) -> None:
    """A submit's addressees, of every role. Raises TARGET_NOT_ALLOWED (`unit`, `reason`)."""
    for unit, _ in submit.targets:
        if unit in excluded:
            raise ReferralError(ErrorCode.TARGET_NOT_ALLOWED, unit=unit, reason="excluded")
        country = _unit(keymap, unit).entry.country
        borders.check_addressed(unit, country, keymap.country_of(submit.party), agreement)


def check_passed_on(keymap: KeyMap, sender: str, unit: str) -> None:
    """The unit that a transfer proposes, of a referral of the hotline `sender`. Raises as `check_addressed`."""
    borders.check_passed_on(unit, _unit(keymap, unit).entry.country, keymap.country_of(sender))


def _unit(keymap: KeyMap, unit: str) -> Party:
    party = keymap.find_party(unit)
    if party is None or party.role is not Role.POLICE_UNIT:
        raise ReferralError(ErrorCode.TARGET_NOT_ALLOWED, unit=unit, reason="not-a-unit")
    return party
