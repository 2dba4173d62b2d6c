"""`Identity`: what a party does about its own keys, as methods of the client; the modules named below have the rules.

Must never: hold a rule of the protocol, or send a key before its private half is kept on disk.

Implements: design §5, §12.
"""

from __future__ import annotations

from referral_api.client.keystore import CredentialKeys, Keystore
from referral_api.client.session import Session
from referral_api.domain.errors import ErrorCode, ReferralError


class Identity:
    """A client's `identity`. `keystore` is where new private keys are kept; `keys` None: nothing is unlocked."""

    def __init__(self, session: Session, keystore: Keystore, keys: CredentialKeys | None) -> None:
        self.session = session
        self.keystore = keystore
        self._keys = keys

    @property
    def keys(self) -> CredentialKeys:
        """The unlocked keys. Raises LOCKED for a client opened without."""
        if self._keys is None:
            raise ReferralError(ErrorCode.LOCKED, reason="no-keys")
        return self._keys
