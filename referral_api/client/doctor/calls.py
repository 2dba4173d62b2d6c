"""What takes a credential to see: that the exchange lets us in, what is new in the keys log, and what it has lost.

Must never: take part in a referral, or agree to a loss.

Implements: R-40, R-94; docs/decisions/0022.
"""

from __future__ import annotations

from collections.abc import Iterator

from referral_api.client import exchange, losses
from referral_api.client.session import Session
from referral_api.domain.errors import ReferralError
from referral_api.domain.findings import Finding, Level, failed, found
from referral_api.domain.words import CredentialId


def look_at_access(session: Session, credential: CredentialId) -> Finding:
    """Whether the exchange takes us for who we are."""
    profile = session.profile
    try:
        told = exchange.parse_ping(session.read_json(exchange.ping()), credential, profile.party, profile.environment)
    except ReferralError as error:
        return failed("access", error, "referral whoami")
    return found("access", Level.OK, credential=credential, role=str(told["role"]))


def look_at_growth(session: Session) -> Finding:
    """Follow the keys log to its newest checkpoint, with everything that is verified on the way."""
    try:
        replica = session.sync_keys()
    except ReferralError as error:
        return failed("keys-log.growth", error)
    return found("keys-log.growth", Level.OK, size=replica.size)


def look_at_losses(session: Session) -> Iterator[Finding]:
    """Whether the exchange has lost leaves that were seen here, and whether a person has agreed to that."""
    try:
        lost = losses.found(session)
    except ReferralError as error:
        yield failed("losses", error, "referral loss")
        return
    still_open = [one for one in lost if losses.find_agreed(session, one.origin) is None]
    level = Level.PROBLEM if still_open else Level.OK
    leaves = sum(one.lost for one in still_open)
    yield found(
        "losses", level, "referral loss", open=len(still_open), leaves=leaves, agreed=len(lost) - len(still_open)
    )
