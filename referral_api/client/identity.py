"""`Identity`: what a party does about its own keys, as methods of the client; the modules named below have the rules.

Must never: hold a rule of the protocol, or send a key before its private half is kept on disk.

Implements: R-32 c, R-102; design §5, §12.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager

from referral_api.auditlog.report import OnProgress, unheard
from referral_api.client import admission, renewal, rewrapping, roster
from referral_api.client import backup as backups
from referral_api.client.backup import Backup
from referral_api.client.changes import Change
from referral_api.client.compartment import Kdf
from referral_api.client.keystore import CredentialKeys, Keystore
from referral_api.client.outbox import Outbox
from referral_api.client.renewal import Renewed, Spent
from referral_api.client.roster import Removal, Roster
from referral_api.client.session import Session
from referral_api.client.trust import Confirmed
from referral_api.client.watching import Watch, answer, find_waiting, kids_of
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Act, Digest, Kid


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

    def due_unasked(self) -> list[str]:
        """Those of `due` to be renewed without being asked: what waits for an approval goes first, while it can."""
        party, keymap = self.session.keymap.find_party(self.session.profile.party), self.session.keymap
        return [] if party is None else renewal.due_unasked(keymap, self.keys, party, self.session.now())

    def past(self) -> list[Kid]:
        """The encryption keys that are due to be destroyed, or of which that has not been receipted yet, and backup
        keys that were put back here and have ended.
        """
        session, keys = self.session, self.keys
        party = session.keymap.find_party(session.profile.party)
        if party is None:
            return []
        old = renewal.past_their_time(session.keymap, keys, party, session.now())
        return [*old, *renewal.ended_backups(session, keys, party), *keys.destroyed]

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

    # What was not done here.

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
                # Whoever lists them, they are ours.
                directory.note_made(*kids_of(changed))
                keystore.keep_person(changed, passphrase, kdf)
                self._keys = changed
                self._changed(changed)

            yield keys, keep
