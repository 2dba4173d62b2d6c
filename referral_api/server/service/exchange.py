"""The exchange as its services see it: who it is, its keys, its directory, its logs, its writer.

One object, made by the composition root (`server/app.py`) and handed to every service. The directory is the fold of
the keys log: it grows inside the writer's transaction and is read without a lock, because a new fold replaces the old
one whole.

Must never: read settings, open a database, or hold a key that opens a bundle.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from referral_api.auditlog.checkpoint import TrustPolicy, parse_checkpoint
from referral_api.auditlog.keyslog import log_keys
from referral_api.auditlog.note import parse_note
from referral_api.auditlog.policy import Policy
from referral_api.domain.errors import ReferralError
from referral_api.domain.rules import RuleBook, Rules
from referral_api.domain.terms import Term
from referral_api.domain.words import CredentialId, PartyId
from referral_api.formats.statements import KeyMap
from referral_api.server.service.keyring import Keyring
from referral_api.server.storage import logbook
from referral_api.server.storage.database import Connection, Database
from referral_api.server.storage.logbook import KEYS, StoredCheckpoint
from referral_api.server.storage.signer import SignedCheckpoint

MAX_ENTRIES_A_READ = 256


def year_of(now: int) -> int:
    """The calendar year (UTC) whose audit log takes a leaf of this time."""
    return datetime.fromtimestamp(now, UTC).year


def term_of(newest: str | None, now: int) -> Term:
    """The term whose audit log takes a leaf of this time: the year's, or where there is a later one, the newest."""
    term = Term(year_of(now))
    return term if newest is None else max(term, Term.of_log(newest))


class Directory:
    """The current fold of the keys log. `current` may be read from any thread; it only ever grows, whoever is late."""

    def __init__(self, keymap: KeyMap) -> None:
        self._current = keymap
        self._growing = threading.Lock()

    @property
    def current(self) -> KeyMap:
        """The newest fold. It is never changed, only replaced."""
        return self._current

    def advance(self, keymap: KeyMap) -> None:
        """Take a fold that is longer; an older one would give back what was revoked."""
        with self._growing:
            if keymap.size > self._current.size:
                self._current = keymap

    @classmethod
    def load(cls, conn: Connection, *, verify: bool = False) -> Directory:
        """Fold the whole keys log. Its signatures were verified when its leaves were accepted; `verify` does it again,
        for a database that may not be the one that accepted them.
        """
        directory = cls(KeyMap.start(logbook.leaf(conn, KEYS, 0)))
        directory.refresh(conn, verify=verify)
        return directory

    def refresh(self, conn: Connection, *, size: int | None = None, verify: bool = False) -> None:
        """Take in what other processes added. `size` is the keys log's size where the caller has just read it."""
        size = logbook.size(conn, KEYS) if size is None else size
        if size <= self.current.size:
            return
        grown = self.current.copy()
        for first in range(grown.size, size, MAX_ENTRIES_A_READ):
            for leaf in logbook.leaves(conn, KEYS, first, min(first + MAX_ENTRIES_A_READ, size)):
                grown.extend(leaf, verify=verify)
        self.advance(grown)


@dataclass(slots=True)
class Ruling:
    """The rules of the exchange over time, and the acts that changed them.

    May be read from any thread; both are replaced whole, after the commit of an act.
    """

    book: RuleBook = field(default_factory=RuleBook)
    acts: tuple[tuple[int, str], ...] = ()
    """From when each counts, and its text; the oldest first."""
    end: int = 0
    """The position in the log up to which it is known (not included)."""

    def change(self, logged_s: int, rules: Rules, act: str) -> None:
        """Take a change, in the order of the log; what is known already, again, is not taken twice. It counts for what
        is submitted after the second of its leaf.
        """
        if any(known == act for _, known in self.acts):
            return
        self.book = self.book.changed(logged_s + 1, rules)
        self.acts = (*self.acts, (logged_s + 1, act))

    def act_at(self, time: int) -> str | None:
        """The act whose rules are in force at a moment; None where nobody had ever changed them."""
        return next((act for since, act in reversed(self.acts) if since <= time), None)


def _is_foreign(conn: Connection, log: str, stored: StoredCheckpoint | None, signed: SignedCheckpoint | None) -> bool:
    """Whether a stored checkpoint is of a history that somebody else has signed into this database: as large as what
    this host has signed and another, or larger, and these leaves do not continue that one.
    """
    if stored is None or signed is None or stored.size < signed.size:
        return False
    try:
        if stored.size == signed.size:
            return parse_checkpoint(parse_note(stored.note).text).root != signed.root
        return logbook.frontier_at(conn, log, signed.size).root() != signed.root
    except ReferralError:
        return True


@dataclass(frozen=True, slots=True)
class Exchange:
    """What the services share."""

    issuer: str
    environment: str
    host: str
    """The issuer without its scheme: the beginning of every log's origin."""
    party: PartyId
    credential: CredentialId
    """The credential under which the exchange signs its own acts."""
    database: Database
    directory: Directory
    keyring: Keyring
    """With which of its keys the exchange signs at a time."""
    token_bytes: Callable[[int], bytes]
    signed: Callable[[str], SignedCheckpoint | None]
    """What the log's signer has signed last, in whichever process of this host."""
    policy: Policy = field(default_factory=Policy)
    """The witnesses that the genesis act names, without where they are."""
    ruling: Ruling = field(default_factory=Ruling)
    """The rules that it runs by, over time."""
    checkpoints: dict[str, SignedCheckpoint] = field(default_factory=dict)
    """The newest checkpoint of each log that this process has signed or seen; the writer's to change."""

    def draw_act_id(self) -> str:
        """A new act's id (R-04)."""
        return str(uuid.UUID(bytes=self.token_bytes(16), version=4))

    def rules_at(self, time: int) -> Rules:
        """The rules that a referral submitted at this moment lives by (R-105)."""
        return self.ruling.book.at(time)

    @property
    def keymap(self) -> KeyMap:
        """The directory as of the newest keys-log leaf this process has seen."""
        return self.directory.current

    def origin(self, log: str) -> str:
        """The C2SP origin of a log (R-90)."""
        return f"{self.host}/v1/log/{log}"

    def audit_origin(self, term: Term) -> str:
        """The origin of a year's audit log."""
        return self.origin(term.log)

    def trust(self, log: str) -> TrustPolicy:
        """The log's keys and the witnesses of the genesis act, whose quorum every client asks for (R-101)."""
        return self.policy.trust(*log_keys(self.keymap, log))

    def newest_witnessed(self, conn: Connection, log: str, *, provable: bool = False) -> tuple[int, bytes] | None:
        """Size and note of the newest checkpoint that a quorum has cosigned; None where there is none, or no policy.

        That of a log which has lost leaves may cover more than the database holds; `provable` leaves such a one out.
        """
        if self.policy.rule() is None:
            return None
        found = logbook.latest_witnessed(conn, log, logbook.size(conn, log) if provable else logbook.MAX_SIZE)
        return None if found is None else (found.size, found.note)

    def newest_checkpoint(self, conn: Connection, log: str, *, provable: bool = False) -> tuple[int, bytes] | None:
        """Size and note of the newest signed checkpoint; the saved one lags behind the signer by a batch.

        The signer is asked as well, for another process may have signed since: who meets both must see one log grow.
        While writes are closed it may have signed more than the database holds; `provable` leaves such a one out.
        """
        size = logbook.size(conn, log) if provable else logbook.MAX_SIZE
        stored = logbook.latest_checkpoint(conn, log, size)
        known: list[StoredCheckpoint | SignedCheckpoint | None] = [stored]
        if logbook.following(conn, log) is None:
            signed = self._signed(log)
            known = [None if _is_foreign(conn, log, stored, signed) else stored, self.checkpoints.get(log), signed]
        # What its next term names as signed last is the end of a log that has lost leaves, whatever else was signed.
        found = [(one.size, one.note) for one in known if one is not None and one.size <= size]
        return max(found, key=lambda one: one[0], default=None)

    def _signed(self, log: str) -> SignedCheckpoint | None:
        try:
            return self.signed(log)
        except ReferralError:
            # A signer's state that cannot be read closes the log for writing, not for reading.
            return None
