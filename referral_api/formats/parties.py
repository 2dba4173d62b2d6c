"""What the keys log says once it is folded: parties, credentials, keys, and which of them hold when.

Plain frozen records; formats/statements.py makes them and is the only place that does. Times are integer Unix seconds.

Must never: read a log, verify a signature, or hold a private key. Implements: design §5; docs/protocol.md R-33.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from referral_api.domain.words import CredentialId, CredentialKind, Digest, KeyUse, Kid, PartyId, Role
from referral_api.formats.directory_bodies import Entry, Statement
from referral_api.formats.keys import Alg, PublicKey

EXCHANGE = PartyId("exchange")
"""The party id of the exchange itself; no statement may claim it."""
GRACE_S = 7 * 24 * 3600
"""How long after its end an act signed with a key before that end may still arrive (R-33)."""
OBJECTION_S = 24 * 3600
"""How long a party's persons have to object before somebody else's keys become its own (R-32 e)."""
SKEW_S = 60
"""How far two honest clocks may differ, where a key's beginning is compared (R-05)."""


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """One key of the log: whose, for what, at which leaf, and the leaf of its revocation if there is one.

    `signed_by` are the keys that signed its entry: itself, or for an encryption key the seal keys that vouch for it.
    """

    public: PublicKey
    party: PartyId
    use: KeyUse
    index: int
    signed_by: tuple[Kid, ...]
    revoked_index: int | None = None

    @property
    def kid(self) -> Kid:
        """The key's thumbprint."""
        return self.public.kid

    @property
    def revoked(self) -> bool:
        """Whether a `revoke` act names it."""
        return self.revoked_index is not None


@dataclass(frozen=True, slots=True)
class Tenure:
    """One key of the exchange over the time in which it is in use: from `begins_at`; what it signed counts until
    `ends_at` (R-37). Of two that overlap the one that began later is the one that the exchange prefers.
    """

    key: KeyRecord
    begins_at: int
    ends_at: int
    replaces: Kid | None = None
    """The key that it followed; None for one of the genesis act."""

    def holds_at(self, time: int) -> bool:
        """Whether what it signed at this time counts, give or take the skew of two clocks at its beginning."""
        return self.begins_at - SKEW_S <= time < self.ends_at


@dataclass(frozen=True, slots=True)
class Credential:
    """One person's or service's keys and rights, as its party's statement in effect lists them.

    `require` are the algorithms that must be among an act's signatures; empty where there is no seal key.
    """

    id: CredentialId
    party: PartyId
    role: Role
    kind: CredentialKind
    keyholder: bool
    access: Kid
    seal: tuple[Kid, ...]
    require: tuple[Alg, ...]
    valid_from: int
    valid_until: int

    def holds_at(self, now: int) -> bool:
        """Whether `now` lies within its validity, give or take the skew of two clocks at its beginning."""
        return self.valid_from - SKEW_S <= now < self.valid_until


@dataclass(frozen=True, slots=True)
class EncKey:
    """One encryption key that a statement lists, with the time in which bundles may be sealed to it."""

    public: PublicKey
    use: KeyUse
    station: str | None
    valid_from: int
    valid_until: int

    @property
    def kid(self) -> Kid:
        """The key's thumbprint."""
        return self.public.kid

    @property
    def replaces(self) -> str:
        """What the newest key stands for: its workstation, the backup, or (no station named) itself alone."""
        if self.use is KeyUse.BACKUP:
            return "backup"
        return f"station {self.station}" if self.station is not None else f"key {self.kid}"


@dataclass(frozen=True, slots=True)
class SealKeys:
    """The keys that one credential signs acts with, the algorithms that must be among the signatures, and whether a
    person or a service signs.
    """

    keys: Mapping[Kid, PublicKey]
    require: tuple[Alg, ...]
    kind: CredentialKind


@dataclass(frozen=True, slots=True)
class Sealing:
    """A credential's seal keys over one stretch of time; a new set of keys or of required algorithms begins another."""

    seal: SealKeys
    begins_at: int
    ends_at: int

    def stands(self, iat: int, now: int) -> str | None:
        """Why an act signed at `iat` and arriving at `now` does not stand: a reason slug, or None if it does."""
        if iat < self.begins_at - SKEW_S or now < self.begins_at - SKEW_S:
            return "not-yet"
        if iat >= self.ends_at or now > self.ends_at + GRACE_S:
            return "ended"
        return None


@dataclass(frozen=True, slots=True)
class Party:
    """A party as its statement in effect describes it. `index` is that statement's leaf, `effect_index` the leaf that
    put it into effect (its own, or its approval's).
    """

    id: PartyId
    role: Role
    entry: Entry
    seq: int
    statement: Digest
    index: int
    effect_index: int
    credentials: tuple[Credential, ...]
    enc: tuple[EncKey, ...]
    body: Statement


class Approver(StrEnum):
    """Whose approval a statement waits for."""

    REGISTRAR = "registrar"
    EXCHANGE = "exchange"
    KEYHOLDER = "keyholder"
    SECOND_REGISTRAR = "second_registrar"
    """Of a party that has lost its keyholders: a registrar person has signed for it, another one must a day later."""


@dataclass(frozen=True, slots=True)
class Pending:
    """A statement on the log that is not in effect: whose, signed by which credential, and who must approve it."""

    party: PartyId
    body: Statement
    digest: Digest
    signer: CredentialId
    index: int
    waits_for: Approver
    opens_at: int = 0
    """From when on it may be approved: of a recovery a day after it reached the log, in the time of the fold."""
