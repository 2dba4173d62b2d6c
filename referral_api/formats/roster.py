"""Who is in the directory, with which keys, and which of them hold at a given time: the folded keys log as a question.

formats/statements.py fills it leaf by leaf; everybody else only asks. The answers are on the hot path of every call and
every act, so each is a look-up in what the fold prepared.

Must never: read a clock (`now` is an argument, integer Unix seconds), verify a signature, or change by being asked.

Implements: docs/protocol.md R-33, R-37, R-45, R-64; design §5.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import CredentialId, CredentialKind, Digest, KeyUse, Kid, PartyId, Role
from referral_api.formats.directory_bodies import Genesis, WitnessPolicy
from referral_api.formats.key_entry import ENCRYPTION_USES
from referral_api.formats.keys import PublicKey
from referral_api.formats.parties import (
    EXCHANGE,
    SKEW_S,
    Credential,
    EncKey,
    KeyRecord,
    Party,
    Pending,
    Sealing,
    SealKeys,
    Tenure,
)


class Roster:
    """The directory as of one size of the keys log. Made by `KeyMap`; not thread-safe while that extends it."""

    __slots__ = (
        "_clock", "_credentials", "_exchange", "_keys", "_owners", "_parties", "_pending", "_proposed", "_sealing",
        "_tenures", "environment", "genesis", "issuer", "root", "size",
    )  # fmt: skip

    issuer: str
    """The exchange's issuer URL, which is `aud` of every act."""
    environment: str
    """`production` or `sandbox`."""
    root: bytes
    """SHA-256 of leaf 0: what clients pin."""
    genesis: Genesis
    size: int
    """How many leaves are folded in."""

    def __init__(self, genesis: Genesis, root: bytes, exchange: CredentialId, clock: int) -> None:
        self.genesis = genesis
        self.issuer, self.environment = genesis.issuer, genesis.environment
        self.root = root
        self.size = 1
        self._exchange = exchange
        self._clock = clock
        self._keys: dict[Kid, KeyRecord] = {}
        self._parties: dict[PartyId, Party] = {}
        self._credentials: dict[CredentialId, Credential] = {}
        self._sealing: dict[CredentialId, tuple[Sealing, ...]] = {}
        self._pending: dict[PartyId, Pending] = {}
        self._proposed: dict[PartyId, frozenset[Digest]] = {}
        """What has waited for an approval since the statement in effect, whatever became of it."""
        self._owners: dict[PartyId, dict[Kid, str]] = {}
        self._tenures: dict[KeyUse, tuple[Tenure, ...]] = {}

    @property
    def clock(self) -> int:
        """The time of the fold: the latest `iat` of the acts so far, unix seconds."""
        return self._clock

    @property
    def exchange_credential(self) -> CredentialId:
        """The credential that the exchange's own acts name as `iss`."""
        return self._exchange

    @property
    def witness_policy(self) -> WitnessPolicy | None:
        """Which witnesses must cosign what is relied on; None where running without any is the declared choice."""
        policy = self.genesis.witness_policy
        return policy if isinstance(policy, WitnessPolicy) else None

    def find_party(self, party: str) -> Party | None:
        """The party as its statement in effect describes it; the exchange is none of them."""
        return self._parties.get(PartyId(party))

    def country_of(self, party: str) -> str | None:
        """The country that a party's entry names (R-85); None where it names none, and of one that is not there."""
        found = self._parties.get(PartyId(party))
        return None if found is None else found.entry.country

    def parties(self) -> list[Party]:
        """All parties in effect, by id."""
        return [self._parties[party] for party in sorted(self._parties)]

    def narrow(self, other: Roster) -> None:
        """Let this map seal to no key that `other`, of another size of the same log, does not seal to: what is revoked
        there, not listed there, or ends earlier there. What else `other` knows stays unknown here (design §5).

        A longer map takes away so, at once, what it no longer vouches for; a shorter one, what it does not yet know.
        """
        for kid in self._keys:
            if (record := other.find_key(kid)) is not None and record.revoked:
                self._keys[kid] = record
        for party in self._parties.values():
            twin = other.find_party(party.id)
            listed = {} if twin is None else {key.kid: key.valid_until for key in twin.enc}
            enc = [
                replace(key, valid_until=min(key.valid_until, listed[key.kid]))
                for key in party.enc
                if key.kid in listed
            ]
            self._parties[party.id] = replace(party, enc=tuple(enc))

    def find_pending(self, party: str) -> Pending | None:
        """The party's statement that waits for approval, if there is one."""
        return self._pending.get(PartyId(party))

    def pending(self) -> list[Pending]:
        """All statements that wait for approval, by party."""
        return [self._pending[party] for party in sorted(self._pending)]

    def find_credential(self, credential: str) -> Credential | None:
        """A credential that a statement in effect lists (or the exchange's), whether or not its time has come."""
        return self._credentials.get(CredentialId(credential))

    def get_credential(self, credential: str) -> Credential:
        """The same; raises KEY_NOT_VALID (`reason` unknown)."""
        found = self._credentials.get(CredentialId(credential))
        if found is None:
            raise not_valid("unknown", credential)
        return found

    def is_second_person(self, named: str, signer: str, now: int) -> bool:
        """Whether `named` is another person of the signer's party who holds at `now`: who may agree to share against a
        refusal (R-83).
        """
        one, other = self._credentials.get(CredentialId(signer)), self._credentials.get(CredentialId(named))
        if one is None or other is None or named == signer:
            return False
        return other.party == one.party and other.kind is CredentialKind.PERSON and other.holds_at(now)

    def find_key(self, kid: str) -> KeyRecord | None:
        """The key of this thumbprint, if the log holds it."""
        return self._keys.get(Kid(kid))

    def get_key(self, kid: str) -> KeyRecord:
        """The key of this thumbprint; raises KEY_NOT_VALID (`reason` no-entry)."""
        record = self._keys.get(Kid(kid))
        if record is None:
            raise ReferralError(ErrorCode.KEY_NOT_VALID, reason="no-entry", kid=kid)
        return record

    def owners_of(self, party: str) -> Mapping[Kid, str]:
        """Every key of this party that was ever in effect, with its credential's short id (encryption keys: empty)."""
        return self._owners.get(PartyId(party), {})

    def exchange_keys(self, use: KeyUse) -> list[KeyRecord]:
        """Every key of the exchange's of one use that was ever announced: those of the genesis act in its order, then
        those that followed them.
        """
        return [tenure.key for tenure in self._tenures.get(use, ())]

    def tenures(self, use: KeyUse) -> tuple[Tenure, ...]:
        """The same with the times in which they are in use (R-37)."""
        return self._tenures.get(use, ())

    def keys_in_use(self, use: KeyUse, now: int) -> list[KeyRecord]:
        """The exchange's keys of one use that it signs with at `now`, the one that it prefers first: one, or both where
        a key has been replaced and still counts.
        """
        begun = [one for one in self._tenures.get(use, ()) if one.begins_at <= now < one.ends_at]
        return [one.key for one in sorted(begun, key=lambda one: -one.begins_at)]

    def demand_standing(self, use: KeyUse, kid: str, time: int) -> None:
        """Raise KEY_NOT_VALID (`reason` no-entry, not-yet, ended; `kid`) unless what this key of the exchange signed at
        `time` counts.
        """
        found = next((one for one in self._tenures.get(use, ()) if one.key.kid == kid), None)
        if found is None or not found.holds_at(time):
            reason = "no-entry" if found is None else "ended" if time >= found.ends_at else "not-yet"
            raise ReferralError(ErrorCode.KEY_NOT_VALID, reason=reason, kid=kid)

    def access_key(self, credential: str, now: int) -> PublicKey:
        """The key that this credential authenticates with at `now` (R-45).

        Raises KEY_NOT_VALID with `reason`: unknown, not-yet, ended, revoked.
        """
        found = self._credentials.get(CredentialId(credential))
        if found is None or found.party == EXCHANGE:
            raise not_valid("unknown", credential)
        if not found.holds_at(now):
            raise not_valid("ended" if now >= found.valid_until else "not-yet", credential)
        record = self._keys[found.access]
        if record.revoked:
            raise not_valid("revoked", credential)
        return record.public

    def seal_keys(self, credential: str, iat: int, now: int, *, kids: Collection[Kid] = ()) -> SealKeys:
        """The keys that an act of this credential, signed at `iat` and arriving at `now`, may be signed with (R-33).

        A credential that was just re-keyed has two sets for seven days; `kids`, those that the signatures name, picks
        the one meant. Without them the newest set that stands is the answer. A set with a revoked key never stands.
        Raises KEY_NOT_VALID with `reason`: unknown (also: has no seal key), not-yet, ended, revoked.
        """
        refused = "unknown"
        for sealing in self._sealing.get(CredentialId(credential), ()):
            if kids and not all(kid in sealing.seal.keys for kid in kids):
                continue
            reason = sealing.stands(iat, now)
            if reason is None and any(self._keys[kid].revoked for kid in sealing.seal.keys):
                reason = "revoked"
            if reason is None:
                return sealing.seal
            # The newest set that was meant tells why; older ones could only say "ended".
            refused = reason if refused == "unknown" else refused
        raise not_valid(refused, credential)

    def exchange_seal(self, kids: Collection[Kid], now: int) -> SealKeys:
        """The act keys by which the exchange may have signed with `kids` at `now`; kids that are none of its pick none.

        Raises KEY_NOT_VALID (not-yet, ended) as `seal_keys`.
        """
        known = {record.kid for record in self.exchange_keys(KeyUse.ACT)}
        return self.seal_keys(self._exchange, now, now, kids=[kid for kid in kids if kid in known])

    def _registrar(self) -> Party | None:
        return next((party for party in self._parties.values() if party.role is Role.REGISTRAR), None)

    def needs_second(self, party: PartyId) -> bool:
        """Whether this registrar party has ever had the persons that the genesis act demands, if it demands two: from
        then on what it adds to itself takes another one of them, or the exchange where there is none (R-32 b).
        """
        ever = {owner for owner in self.owners_of(party).values() if owner}
        return 1 < self.genesis.registrars_required <= len(ever)

    def _has_registrars(self, now: int) -> bool:
        """Whether the registrar party has as many persons as the genesis act demands before it admits anybody."""
        registrar = self._registrar()
        persons = [
            credential
            for credential in (registrar.credentials if registrar is not None else ())
            if credential.kind is CredentialKind.PERSON and self.able(credential, now)
        ]
        return len(persons) >= self.genesis.registrars_required

    def able(self, credential: Credential, now: int) -> bool:
        """Whether it is in its time, and no key of it is revoked: whoever cannot sign is waited for by nobody."""
        revoked = any(self._keys[kid].revoked for kid in (credential.access, *credential.seal))
        return credential.holds_at(now) and not revoked

    def keyholders(self, party: Party, now: int) -> list[Credential]:
        """The persons of a party who can sign its statements."""
        return [one for one in party.credentials if one.keyholder and self.able(one, now)]

    def keeper_of(self, record: KeyRecord) -> str:
        """The short id of the credential that vouched for an encryption key, under whatever seal keys it had then.

        Empty where no statement in effect has listed those.
        """
        return self.owners_of(record.party).get(record.signed_by[0], "")

    def _keeps(self, record: KeyRecord, signer: Credential) -> bool:
        """Whether it is a key of this very credential, or an encryption key that it has vouched for."""
        if record.use in ENCRYPTION_USES:
            return self.keeper_of(record) == signer.id.partition(".")[2]
        return record.kid in (signer.access, *signer.seal)

    def usable_enc(self, party: str, now: int) -> list[EncKey]:
        """Every encryption key of this party that a bundle arriving at `now` may be sealed to (R-64).

        More than `sealable` where a sender has not learnt yet that a workstation has a newer key.
        """
        found = self._parties.get(PartyId(party))
        return [
            key
            for key in (found.enc if found is not None else ())
            if key.valid_from - SKEW_S <= now < key.valid_until and not self._keys[key.kid].revoked
        ]

    def sealable(self, party: str, now: int) -> list[EncKey]:
        """The encryption keys that a bundle for this party is sealed to at `now`: the newest of each workstation and
        of the backup. Empty: the party cannot be reached and senders seal to its escalation parties instead.
        """
        newest: dict[str, EncKey] = {}
        for key in self.usable_enc(party, now):
            other = newest.get(key.replaces)
            if other is None or (key.valid_from, key.kid) > (other.valid_from, other.kid):
                newest[key.replaces] = key
        return [newest[place] for place in sorted(newest)]


def not_valid(reason: str, credential: str) -> ReferralError:
    """KEY_NOT_VALID of a credential, for one of the reasons unknown, not-yet, ended, revoked."""
    return ReferralError(ErrorCode.KEY_NOT_VALID, reason=reason, credential=credential)
