"""`Identity`: what a party does about its own keys, as methods of the client; the modules named below have the rules.

Must never: hold a rule of the protocol, or send a key before its private half is kept on disk.

Implements: design §5, §12.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from referral_api.client import backup as backups
from referral_api.client import renewal
from referral_api.client.backup import Backup
from referral_api.client.compartment import Kdf
from referral_api.client.keystore import CredentialKeys, Keystore
from referral_api.client.renewal import Renewed, Spent
from referral_api.client.session import Session
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Kid


class Identity:
    """A client's `identity`. `keys` None: nothing is unlocked; `changed` is told of keys that were kept anew.

    What seals keys anew takes the person's `passphrase` once more, because nobody keeps it.
    """

    def __init__(
        self,
        session: Session,
        keys: CredentialKeys | None,
        changed: Callable[[CredentialKeys], None],
    ) -> None:
        self.session = session
        self._keys = keys
        self._changed = changed

    @property
    def keys(self) -> CredentialKeys:
        """The unlocked keys. Raises LOCKED for a client opened without."""
        if self._keys is None:
            raise ReferralError(ErrorCode.LOCKED, reason="no-keys")
        return self._keys

    def due(self) -> list[str]:
        """The workstations of ours whose encryption key is 30 days old, as far as this machine knows."""
        party = self.session.keymap.find_party(self.session.profile.party)
        return [] if party is None else list(renewal.due(self.keys, party, self.session.now()))

    def past(self) -> list[Kid]:
        """The encryption keys that are due to be destroyed, or of which that has not been receipted yet."""
        party, keys = self.session.keymap.find_party(self.session.profile.party), self.keys
        if party is None:
            return []
        return [*renewal.past_their_time(self.session.keymap, keys, party, self.session.now()), *keys.destroyed]

    def rotate(
        self, passphrase: str, *, stations: Sequence[str] | None = None, kdf: Kdf | None = None
    ) -> Renewed | None:
        """Renew the encryption keys of these workstations of ours, by default of those that are due; None for none.

        Raises LOCKED (`wrong-secret`), and as `renewal.rotate`; NOT_PERMITTED (`station`) for one that is not ours.
        """
        with self._changing(passphrase, kdf) as (keys, keep):
            party = renewal.own_party(self.session)
            own = renewal.own_stations(keys, party)
            chosen = list(renewal.due(keys, party, self.session.now())) if stations is None else list(stations)
            if strange := [one for one in chosen if one not in own]:
                raise ReferralError(ErrorCode.NOT_PERMITTED, needs="keyholder", station=strange[0])
            return renewal.rotate(self.session, keys, keep, chosen) if chosen else None

    def rotate_seal(self, passphrase: str, *, kdf: Kdf | None = None) -> Renewed:
        """Renew the keys that this person signs with; the old ones sign for them. Raises as `renewal.rotate_seal`."""
        with self._changing(passphrase, kdf) as (keys, keep):
            return renewal.rotate_seal(self.session, keys, keep)

    def destroy(self, passphrase: str, *, kdf: Kdf | None = None) -> Spent:
        """Destroy the private halves past their 75 days that nothing pending may name. Raises as `renewal.destroy`."""
        with self._changing(passphrase, kdf) as (keys, keep):
            return renewal.destroy(self.session, keys, keep)

    def new_backup(self) -> Backup:
        """A backup key, to be written down before `list_backup` has senders seal to it."""
        return backups.new_backup(self.session.now())

    def list_backup(self, backup: Backup) -> Renewed:
        """Have it listed. Raises as `backup.list_backup`."""
        return backups.list_backup(self.session, self.keys, backup)

    def restore(self, backup: Backup, passphrase: str, *, kdf: Kdf | None = None) -> None:
        """Put a backup key into this keystore. Raises as `backup.restore`."""
        with self._changing(passphrase, kdf) as (keys, keep):
            backups.restore(self.session, keys, keep, backup)

    @contextmanager
    def _changing(self, passphrase: str, kdf: Kdf | None) -> Iterator[tuple[CredentialKeys, renewal.Keep]]:
        """The keys as they are on disk, and how changed ones are kept, while no other process changes them.

        Two of them at once would each write back what the other has not: a key that is listed, and nowhere.
        """
        directory = self.session.directory
        with directory.keys_locked():
            keystore = Keystore.open(directory)
            keys = renewal.in_effect(keystore.unlock_person(passphrase), self.session.keymap)

            def keep(changed: CredentialKeys) -> None:
                keystore.keep_person(changed, passphrase, kdf)
                self._keys = changed
                self._changed(changed)

            yield keys, keep
