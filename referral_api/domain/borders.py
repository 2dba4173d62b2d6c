"""Across a border: who is abroad, and what it takes to address somebody there (rule R14 of the field).

Abroad is a unit whose directory entry names another country than the entry of the hotline that submits; most entries
name none, which is the exchange's own country. By default nothing leaves the country. The exchange sees that an
agreement is named and not what it says; that the person agreed to it stands in the sealed body and is judged with the
rest of the consent table (domain/consent.py), by the sender before sealing and by the reader after opening.

Must never: guess a country, or take an unknown one for one's own. Clause: docs/protocol.md R-85;
docs/decisions/0029-who-is-abroad.md.
"""

from __future__ import annotations

from referral_api.domain.errors import ErrorCode, ReferralError

SCOPE = "cross_border_share"
"""What consent must cover where somebody abroad is addressed (code list `consent_scope`)."""


def is_abroad(country: str | None, home: str | None) -> bool:
    """Whether a party of `country` is abroad for one of `home`; None is the exchange's own country."""
    return country != home


def check_addressed(unit: str, country: str | None, home: str | None, agreement: str | None) -> None:
    """A submit of a hotline of `home` may address this unit, in whatever role.

    Raises TARGET_NOT_ALLOWED (`unit`, `reason` agreement-missing) for a unit abroad where no agreement is named.
    """
    if is_abroad(country, home) and agreement is None:
        raise ReferralError(ErrorCode.TARGET_NOT_ALLOWED, unit=unit, reason="agreement-missing")


def check_passed_on(unit: str, country: str | None, home: str | None) -> None:
    """A referral of a hotline of `home` may be passed on to this unit by another one.

    Raises TARGET_NOT_ALLOWED (`unit`, `reason` cross-border) for a unit abroad: only the hotline knows what was agreed
    and consented to, so it addresses that unit itself.
    """
    if is_abroad(country, home):
        raise ReferralError(ErrorCode.TARGET_NOT_ALLOWED, unit=unit, reason="cross-border")
