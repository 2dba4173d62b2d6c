"""With which of its own keys the exchange signs: the keys log says which at what time, the files say what is here.

A process reads the files again when the keys log names a key that it does not hold, so that one that was put there
while it ran is used from its time on without a restart. A host that was not given the next key yet signs with the one
before for as long as that counts, and says so from the key's announcement on: there is a day to bring it.

Must never: use a key that the keys log does not name, one outside its time, or another in the first token key's place.

Implements: docs/protocol.md R-37; design §5 ("The exchange is a party too").
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import KeyUse
from referral_api.formats.keys import PublicKey, SigningKey
from referral_api.formats.roster import Roster
from referral_api.server import observe
from referral_api.server.storage.keyfiles import USES, Signers

LOOK_AGAIN_S: Final = 2
"""How long a key that is not here is not looked for again."""
Status: TypeAlias = Literal["coming", "another-signs", "none-signs"]


@dataclass(frozen=True, slots=True)
class MissingKey:
    """A key that the keys log names and that is not here: it is not used yet, another one still serves, or none is left
    to sign with.
    """

    use: KeyUse
    kid: str
    status: Status


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
        self._sought: dict[str, int] = {}
        """Keys that the log names and that are not here, each with when it was looked for last."""
        self.missing: tuple[MissingKey, ...] = ()
        """What is not here, as of the last `look`."""

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
        kept for that. Raises UNAVAILABLE (`keys-missing`, `use`).
        """
        first = self._directory().exchange_keys(KeyUse.TOKEN)[0]
        found = self._held.find(KeyUse.TOKEN, first.kid)
        if found is None:
            raise ReferralError(ErrorCode.UNAVAILABLE, reason="keys-missing", use=KeyUse.TOKEN.value)
        return found

    def check(self) -> None:
        """Raise UNAVAILABLE (`keys-missing`, `use`) unless a key for every use is here, and the first token key."""
        self.first_token_key()
        for use in USES:
            self.signers(use, int(self._clock()))
        self.look()

    def look(self) -> None:
        """See which keys are not here, of those that count or will, and say once what has changed. Any thread."""
        now = int(self._clock())
        missing = tuple(found for use in USES for found in self._missing(use, now))
        before = {one.kid: one for one in self.missing}
        for one in missing:
            if before.pop(one.kid, None) != one:
                observe.log("key_missing", use=one.use.value, kid=one.kid, status=one.status)
        for one in before.values():
            observe.log("key_missing", use=one.use.value, kid=one.kid, status="no-more")
        self.missing = missing

    def _missing(self, use: KeyUse, now: int) -> list[MissingKey]:
        """Of one use. A key that another one which is here has replaced is missed by a log alone, which both sign."""
        wanted = [one for one in self._directory().tenures(use) if one.ends_at > now]
        here = [one for one in wanted if self._find(use, one.key.kid, now) is not None]
        newest = max((one.begins_at for one in here if one.begins_at <= now), default=None)
        found: list[MissingKey] = []
        for one in wanted:
            if one in here or (use is not KeyUse.LOG and newest is not None and one.begins_at < newest):
                continue
            status: Status = "coming" if one.begins_at > now else "none-signs" if newest is None else "another-signs"
            found.append(MissingKey(use, one.key.kid, status))
        return found

    # What the log's signer asks (`signer.LogKeys`).

    def signing(self) -> list[SigningKey]:
        """Both the newest log key and the one before it, while that counts: who pinned it goes on until told."""
        return self.signers(KeyUse.LOG, int(self._clock()))

    def known(self) -> list[PublicKey]:
        """Every key by which the logs were ever signed."""
        return [record.public for record in self._directory().exchange_keys(KeyUse.LOG)]

    def _find(self, use: KeyUse, kid: str, now: int) -> SigningKey | None:
        found = self._held.find(use, kid)
        if found is not None or 0 <= now - self._sought.get(kid, -LOOK_AGAIN_S) < LOOK_AGAIN_S:
            return found
        with self._mutex:
            self._sought[kid] = now
            try:
                self._held = self._read()
            except ReferralError as error:
                # What was read before is still good for what it holds.
                observe.log("key_files_unreadable", reason=error.facts["reason"])
            return self._held.find(use, kid)
