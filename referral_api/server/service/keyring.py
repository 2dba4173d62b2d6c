"""With which of its own keys the exchange signs: the keys log says which at what time, the files say what is here.

A process reads the files again when the keys log names a key that it does not hold, so that one that was put there
while it ran is used from its time on without a restart. A host that was not given the next key yet signs with the one
before for as long as that counts, and says so.

Must never: use a key that the keys log does not name, or one outside its time.

Implements: docs/protocol.md R-37; design §5 ("The exchange is a party too").
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Final

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import KeyUse
from referral_api.formats.keys import PublicKey, SigningKey
from referral_api.formats.roster import Roster
from referral_api.server import observe
from referral_api.server.storage.keyfiles import USES, Signers

LOOK_AGAIN_S: Final = 5
"""How long a key that is not here is not looked for again."""


class Keyring:
    """The keys at hand. Thread-safe. `directory` is the newest fold of the keys log, `read` reads the files."""

    def __init__(
        self, directory: Callable[[], Roster], read: Callable[[], Signers], clock: Callable[[], float]
    ) -> None:
        self._directory = directory
        self._read = read
        self._clock = clock
        self._held = read()
        self._mutex = threading.Lock()
        self._missing: dict[str, int] = {}
        """Keys that the log names and that are not here, each with when it was looked for last."""

    def signers(self, use: KeyUse, now: int) -> list[SigningKey]:
        """The keys of one use that are in use at `now` and at hand, the preferred one first; one at least.

        Raises UNAVAILABLE (`keys-missing`, `use`).
        """
        wanted = self._directory().keys_in_use(use, now)
        found = [key for one in wanted if (key := self._find(use, one.kid, now)) is not None]
        if not found:
            raise ReferralError(ErrorCode.UNAVAILABLE, reason="keys-missing", use=use.value)
        return found

    def signer(self, use: KeyUse, now: int) -> SigningKey:
        """The preferred one of them."""
        return self.signers(use, now)[0]

    def act_signers(self, now: int) -> Sequence[SigningKey]:
        """What signs an act of the exchange: one key, as it was founded with (`founding.genesis`)."""
        return [self.signer(KeyUse.ACT, now)]

    def verifier(self, kid: str, now: int) -> PublicKey | None:
        """The token key of this thumbprint, if what it signed counts at `now`."""
        for tenure in self._directory().tenures(KeyUse.TOKEN):
            if tenure.key.kid == kid and tenure.holds_at(now):
                return tenure.key.public
        return None

    def first_token_key(self) -> SigningKey:
        """From this one all processes derive what they share (cursors, nonces), whichever key signs tokens now; it is
        kept for that.
        """
        first = self._directory().exchange_keys(KeyUse.TOKEN)[0]
        return self._held.find(KeyUse.TOKEN, first.kid) or self._held.token

    def check(self) -> None:
        """Raise UNAVAILABLE (`keys-missing`, `use`) unless there is a key here for every use."""
        for use in USES:
            self.signers(use, int(self._clock()))

    # What the log's signer asks (`signer.LogKeys`).

    def signing(self) -> list[SigningKey]:
        """Both the newest log key and the one before it, while that counts: who pinned it goes on until told."""
        return self.signers(KeyUse.LOG, int(self._clock()))

    def known(self) -> list[PublicKey]:
        """Every key by which the logs were ever signed."""
        return [record.public for record in self._directory().exchange_keys(KeyUse.LOG)]

    def _find(self, use: KeyUse, kid: str, now: int) -> SigningKey | None:
        found = self._held.find(use, kid)
        if found is not None or 0 <= now - self._missing.get(kid, -LOOK_AGAIN_S) < LOOK_AGAIN_S:
            return found
        with self._mutex:
            first_time, self._missing[kid] = kid not in self._missing, now
            try:
                self._held = self._read()
            except ReferralError as error:
                # What was read before is still good for what it holds.
                observe.log("key_files_unreadable", reason=error.facts["reason"])
            found = self._held.find(use, kid)
        if found is None and first_time:
            observe.log("key_missing", use=use.value, kid=kid)
        return found
