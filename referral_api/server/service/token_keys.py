"""What the token service asks about the exchange's token keys: which signs now, and which still counts (R-37).

Must never: know where a key is kept.

Implements: docs/protocol.md R-37, R-42.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from referral_api.domain.words import KeyUse
from referral_api.formats.keys import PublicKey, SigningKey


class TokenKeys(Protocol):
    """The exchange's token keys over time (R-37): which signs now, and which still counts."""

    def signer(self, use: KeyUse, now: int) -> SigningKey:
        """The key that signs a token now; `use` is `token`."""

    def verifier(self, kid: str, now: int) -> PublicKey | None:
        """The key of this thumbprint, if a token that it signed counts now."""


@dataclass(frozen=True, slots=True)
class OneTokenKey:
    """A token key that nothing follows."""

    key: SigningKey

    def signer(self, use: KeyUse, now: int) -> SigningKey:
        """It."""
        del use, now
        return self.key

    def verifier(self, kid: str, now: int) -> PublicKey | None:
        """It, if it is meant."""
        del now
        return self.key.public if kid == self.key.kid else None
