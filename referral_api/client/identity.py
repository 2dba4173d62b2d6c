"""`Identity`: what a party does about its own keys, as methods of the client; the modules named below have the rules.

Must never: hold a rule of the protocol, or send a key before its private half is kept on disk.

Implements: R-32 c, R-102; design §5, §12.
"""

from __future__ import annotations

from referral_api.client import admission
from referral_api.client.changes import Change
from referral_api.client.keystore import CredentialKeys, Keystore
from referral_api.client.session import Session
from referral_api.client.trust import Confirmed
from referral_api.client.watching import Watch, answer, find_waiting
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Act


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

    def watch(self) -> Watch:
        """A watch over this party's keys (R-102): what of the keys log was not done here."""
        return Watch(self.session, self._keys)

    def answer(self, *digests: str) -> tuple[Change, ...]:
        """Close changes that a person has looked into, by the digests of their acts; those that were open.

        Raises NOT_PERMITTED (`needs` person) for a service, which cannot telephone anybody.
        """
        if self.keys.credential != self.session.profile.person:
            raise ReferralError(ErrorCode.NOT_PERMITTED, needs="person")
        return answer(self.session.directory, *digests)

    def object_to(self, statement: str, reason: str) -> Confirmed:
        """Object to a statement of this party that waits (a registrar person: of any), so that it never takes effect.

        `reason` is a code of `object_reason`. What was told of the statement is answered by this. Raises as
        `send_directory_act`: STATEMENT_OUT_OF_SEQUENCE (`not-pending`) where nothing waits any more, NOT_PERMITTED;
        NOT_INCLUDED (`keys-log`) where the keys log is shown without the objection.
        """
        session = self.session
        waited = find_waiting(session.sync_keys().keymap, statement) is not None
        body = {"statement": statement, "reason": reason}
        confirmed = admission.send_directory_act(session, self.keys, Act.OBJECT, body, session.ambient.act_id())
        if waited and find_waiting(session.keymap, statement) is not None:
            raise ReferralError(ErrorCode.NOT_INCLUDED, reason="keys-log", digest=confirmed.receipt.payload.act)
        answer(session.directory, statement)
        return confirmed
