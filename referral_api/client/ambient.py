"""What the protocol takes from its surroundings: time, randomness and identifiers, all handed in.

Must never: read a clock or draw a number by itself; `sdk.ambient` makes the real one.

Implements: design §6 (ids of acts and referrals), §12.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass

from referral_api.domain.words import ActId, ReferralId


@dataclass(frozen=True, slots=True)
class Ambient:
    """What a session takes from its surroundings: unix seconds, random bytes, and UUIDv7s of a unix millisecond."""

    time: Callable[[], float]
    random: Callable[[int], bytes]
    uuid7: Callable[[int], str]

    def now(self) -> int:
        """Whole unix seconds."""
        return int(self.time())

    def act_id(self) -> ActId:
        """A fresh UUIDv4: it makes an act's digest unguessable, and its retries recognisable."""
        return ActId(str(uuid.UUID(bytes=self.random(16), version=4)))

    def referral_id(self) -> ReferralId:
        """A fresh UUIDv7 (RFC 9562 §5.7): milliseconds, then random bits."""
        return ReferralId(self.uuid7(int(self.time() * 1000)))
