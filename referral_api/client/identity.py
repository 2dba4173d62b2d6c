"""`Identity`: what a party does about its own keys, as methods of the client; the modules named below have the rules.

Must never: hold a rule of the protocol, or send a key before its private half is kept on disk.

Implements: design §5, §12.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from referral_api.auditlog.report import OnProgress, unheard
from referral_api.client import rewrapping, roster
from referral_api.client.keystore import CredentialKeys, Keystore
from referral_api.client.outbox import Outbox
from referral_api.client.roster import Removal, Roster
from referral_api.client.session import Session
from referral_api.client.trust import Confirmed
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Digest


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

    # Workstations and officers.

    def rewrap(self, refs: Iterable[str] = (), progress: OnProgress = unheard) -> rewrapping.Report:
        """Seal open deliveries again for the workstations that came after them. Raises as `rewrapping.rewrap`."""
        outbox = Outbox.open(self.session.directory.outbox)
        try:
            return rewrapping.rewrap(self.session, self.keys, outbox, refs, progress)
        finally:
            outbox.close()

    def roster(self) -> Roster:
        """Our own party, line by line."""
        return roster.roster(self.session)

    def removal(self, gone: Collection[str]) -> Removal:
        """What it means to drop these lines of the roster: to be shown before `sign`. Raises as `roster.removal`."""
        return roster.removal(self.session, self.keys, gone)

    def review(self, here: Collection[str], gone: Collection[str]) -> Removal:
        """What a review changes: to be shown before `sign`. Raises as `roster.reviewed`."""
        return roster.reviewed(self.session, self.keys, here, gone)

    def sign(self, what: Removal) -> Confirmed:
        """Sign and send the statement of a removal or a review. Raises as `roster.remove`."""
        return roster.remove(self.session, self.keys, what, self.session.ambient.act_id())

    def confirm_review(self, statement: Digest) -> Confirmed:
        """Approve another keyholder's review as the second one. Raises as `roster.confirm`."""
        return roster.confirm(self.session, self.keys, statement, self.session.ambient.act_id())
