"""The key map: the fold of the keys log into parties, credentials and keys (docs/protocol.md §6).

Exchange and client alike compute it from the log's leaves, in order, and believe nothing else about anybody's keys. The
exchange admits a directory act by extending a copy of its map: what its door accepts is what every client accepts.

Time inside the fold is the latest `iat` of the acts so far: it never runs backwards, and is the same for every reader.

Must never: read a clock, skip a leaf, or keep half of a leaf that it refused.

Implements: docs/protocol.md R-30, R-32, R-33, R-37; design §5. Content rules: formats/statement_rules.py.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import lru_cache

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import CredentialId, CredentialKind, KeyUse, PartyId, Role
from referral_api.formats import signed
from referral_api.formats.act import RawAct, parse_act, verify_act
from referral_api.formats.directory_bodies import (
    ApproveStatement,
    CredentialEntry,
    EncryptionEntry,
    Genesis,
    Object,
    Rekey,
    Revoke,
    Statement,
)
from referral_api.formats.key_entry import (
    ENCRYPTION_USES,
    EXCHANGE_USES,
    RawKeyEntry,
    parse_key_entry,
    verify_key_entry,
)
from referral_api.formats.parties import (
    EXCHANGE,
    GRACE_S,
    OBJECTION_S,
    Approver,
    Credential,
    EncKey,
    KeyRecord,
    Party,
    Pending,
    Sealing,
    SealKeys,
)
from referral_api.formats.rekeying import FOREVER, founded, rekeyed, resealed
from referral_api.formats.roster import Roster, not_valid
from referral_api.formats.statement_rules import adds, check_statement, recovers, rekeys, renews, required_algs
from referral_api.formats.strict_json import b64u


@lru_cache(maxsize=512)
def parse_keys_leaf(leaf: bytes) -> RawAct | RawKeyEntry:
    """What a leaf of the keys log is: a directory act, or a key. Raises as `parse_act` and `parse_key_entry`.

    The same leaf again, which an audit reads several times, is answered from a bounded cache; it cannot be changed.
    """
    try:
        return parse_act(leaf)
    except ReferralError as error:
        if error.code is not ErrorCode.WRONG_TYPE:
            raise
    return parse_key_entry(leaf)


class KeyMap(Roster):
    """The directory as of one size of the keys log, and the only way to make the next one."""

    __slots__ = ()

    @classmethod
    def start(cls, genesis_leaf: bytes, *, root: bytes | None = None) -> KeyMap:
        """The map of a log of one leaf. The genesis act must be signed by all act keys that it lists itself.

        Raises WRONG_ROOT where `root` (32 bytes, pinned) is given and differs; ACT_SCHEMA, KEY_UNSUITABLE,
        ACT_SIGNATURE_INVALID, and what `parse_act` raises.
        """
        found = hashlib.sha256(genesis_leaf).digest()
        if root is not None and found != root:
            raise ReferralError(ErrorCode.WRONG_ROOT)
        act = parse_act(genesis_leaf)
        if not isinstance(act.body, Genesis) or act.party != EXCHANGE:
            raise ReferralError(ErrorCode.ACT_SCHEMA, where="/act", reason="not-genesis")
        if act.aud != act.body.issuer:
            raise ReferralError(ErrorCode.WRONG_AUDIENCE)
        new = cls(act.body, found, act.iss, act.iat)
        new._found_exchange(act)
        seal = new.seal_keys(act.iss, act.iat, act.iat)
        verify_act(act, seal.keys, required=seal.require)
        return new

    def copy(self) -> KeyMap:
        """An independent copy: extending one does not change the other."""
        twin = KeyMap(self.genesis, self.root, self._exchange, self._clock)
        twin.size = self.size
        twin._keys, twin._parties = dict(self._keys), dict(self._parties)
        twin._credentials, twin._sealing = dict(self._credentials), dict(self._sealing)
        twin._pending, twin._proposed = dict(self._pending), dict(self._proposed)
        twin._owners = dict(self._owners)
        twin._tenures = dict(self._tenures)
        return twin

    def extend(self, leaf: bytes, *, verify: bool = True) -> None:
        """Fold in the next leaf. `verify=False` leaves signatures alone and is for the exchange's own stored log only;
        those that say who the exchange is are verified even so.

        Raises, and stays as it was: what `parse_act`, `parse_key_entry` and `check_statement` raise; WRONG_AUDIENCE;
        NOT_PERMITTED (`needs`); KEY_NOT_VALID; KEY_REUSED; ACT_SIGNATURE_INVALID; POSSESSION_NOT_PROVED;
        STATEMENT_OUT_OF_SEQUENCE (`reason` sequence, repeated, not-pending, party-taken; `seq`, `statement` in effect).
        """
        parsed = parse_keys_leaf(leaf)
        if isinstance(parsed, RawKeyEntry):
            self._add_key(parsed, verify=verify)
        else:
            self._apply(parsed, verify=verify)
            self._clock = max(self._clock, parsed.iat)
        self.size += 1

    def _found_exchange(self, act: RawAct) -> None:
        self._tenures = founded(self.genesis)
        for tenures in self._tenures.values():
            self._keys |= {one.key.kid: one.key for one in tenures}
        seal = {one.key.kid: one.key.public for one in self._tenures[KeyUse.ACT]}
        require = tuple(public.alg for public in seal.values())
        if len(set(require)) != len(require) or len(require) > signed.MAX_SIGNATURES:
            raise ReferralError(ErrorCode.ACT_SCHEMA, where="/body/keys", reason="repeated-entry")
        self._credentials[act.iss] = Credential(
            act.iss, EXCHANGE, Role.EXCHANGE, CredentialKind.SERVICE, keyholder=False, access=next(iter(seal)),
            seal=tuple(seal), require=require, valid_from=act.iat, valid_until=FOREVER,
        )  # fmt: skip
        self._sealing[act.iss] = (Sealing(SealKeys(seal, require, CredentialKind.SERVICE), act.iat, FOREVER),)

    def _add_key(self, entry: RawKeyEntry, *, verify: bool) -> None:
        if entry.kid in self._keys:
            raise ReferralError(ErrorCode.KEY_REUSED, kid=entry.kid)
        own = entry.party == EXCHANGE
        if own != (entry.use in EXCHANGE_USES):
            raise ReferralError(ErrorCode.NOT_PERMITTED, needs="party" if own else "exchange")
        if own and entry.nonce != b64u(self.root):
            raise ReferralError(ErrorCode.POSSESSION_NOT_PROVED, reason="foreign", kid=entry.kid)
        if entry.use in ENCRYPTION_USES:
            seals = {
                kid: record.public
                for kid in entry.signed_by
                if (record := self._keys.get(kid)) is not None
                and (record.party, record.use, record.revoked) == (entry.party, KeyUse.SEAL, False)
            }
            if len(seals) != len(entry.signed_by):
                raise ReferralError(ErrorCode.POSSESSION_NOT_PROVED, reason="unknown-key", kid=entry.kid)
        else:
            seals = {}
        if verify or own:
            verify_key_entry(entry, seals)
        self._keys[entry.kid] = KeyRecord(entry.public, entry.party, entry.use, self.size, entry.signed_by)

    def _apply(self, act: RawAct, *, verify: bool) -> None:
        if act.aud != self.issuer:
            raise ReferralError(ErrorCode.WRONG_AUDIENCE)
        now = max(self._clock, act.iat)
        if isinstance(act.body, Statement):
            self._apply_statement(act, act.body, now, verify=verify)
        elif isinstance(act.body, ApproveStatement):
            self._apply_approval(act, act.body, now, verify=verify)
        elif isinstance(act.body, Revoke):
            self._apply_revocation(act, act.body, now, verify=verify)
        elif isinstance(act.body, Object):
            self._apply_objection(act, act.body, now, verify=verify)
        elif isinstance(act.body, Rekey):
            self._apply_rekey(act, act.body, now)
        else:
            raise ReferralError(ErrorCode.ACT_SCHEMA, where="/act", reason="not-in-list")

    def _apply_statement(self, act: RawAct, body: Statement, now: int, *, verify: bool) -> None:
        party = self._whose(act, body)
        before = self._parties.get(party)
        expected = (1, None) if before is None else (before.seq + 1, before.statement)
        if (body.seq, body.prev_statement) != expected:
            raise ReferralError(
                ErrorCode.STATEMENT_OUT_OF_SEQUENCE, reason="sequence", seq=expected[0] - 1, statement=expected[1]
            )
        proposed = self._proposed.get(party, frozenset())
        if act.digest in proposed:
            # What was voided has its signer's name on it for ever, and perhaps an approval that came too late: whoever
            # keeps the log must not put both there again.
            raise ReferralError(ErrorCode.STATEMENT_OUT_OF_SEQUENCE, reason="repeated", statement=act.digest)
        if before is None:
            self._check_newcomer(act.party, body)
        check_statement(party, body, None if before is None else before.body, self.find_key, self.owners_of(party))
        waits_for = self._sign_off(act, body, before, now, verify=verify)
        opens_at = now + OBJECTION_S if party != act.party else 0
        old = self._pending.get(party)
        if old is not None and old.opens_at and waits_for is not None and not opens_at:
            # Only an objection, or a statement that holds, ends a recovery: no proposal does it by the way.
            raise ReferralError(ErrorCode.STATEMENT_OUT_OF_SEQUENCE, reason="recovery", statement=old.digest)
        pending = Pending(party, body, act.digest, act.iss, self.size, waits_for or Approver.KEYHOLDER, opens_at)
        if waits_for is None:
            self._take_effect(pending, now)
        else:
            # A newer proposal replaces an older one that nobody approved: an approval names the one it means.
            self._pending[party] = pending
            self._proposed[party] = proposed | {act.digest}

    def _whose(self, act: RawAct, body: Statement) -> PartyId:
        """The party whose statement it is: the signer's, or one that exists and that a registrar person recovers."""
        named, signer = PartyId(body.entry.id), self._credentials.get(act.iss)
        foreign = named != act.party and named in self._parties
        return named if foreign and signer is not None and signer.role is Role.REGISTRAR else act.party

    def _check_newcomer(self, party: PartyId, body: Statement) -> None:
        if party == EXCHANGE or body.entry.role is Role.EXCHANGE:
            raise ReferralError(ErrorCode.NOT_PERMITTED, needs="party")
        if body.entry.role is Role.REGISTRAR and self._registrar() is not None:
            raise ReferralError(ErrorCode.STATEMENT_OUT_OF_SEQUENCE, reason="party-taken", seq=0, statement=None)

    def _sign_off(
        self, act: RawAct, body: Statement, before: Party | None, now: int, *, verify: bool
    ) -> Approver | None:
        if before is None:
            self._check_first_signer(act, body, now, verify=verify)
            return Approver.EXCHANGE if body.entry.role is Role.REGISTRAR else Approver.REGISTRAR
        if before.id != act.party:
            self._check_signer(act, now, keyholder=False, verify=verify)
            if not (recovers(body, before.body) and self._has_registrars(now)):
                raise ReferralError(ErrorCode.NOT_PERMITTED, needs="keyholder")
            return Approver.SECOND_REGISTRAR
        short, owners = act.iss.partition(".")[2], self.owners_of(act.party)
        if renews(body, before.body, short, self.find_key, owners):
            self._check_signer(act, now, keyholder=False, verify=verify)
            return None
        own = rekeys(body, before.body, short, self.find_key, owners)
        signer = self._check_signer(act, now, keyholder=not own, verify=verify)
        if before.role is Role.REGISTRAR and adds(body, before.body) and self.needs_second(act.party):
            # One of two registrar persons must not become both: not by dropping the other, nor by adding a third.
            return Approver.SECOND_REGISTRAR if self._has_registrars(now) else Approver.EXCHANGE
        waits = not signer.keyholder or (len(self.keyholders(before, now)) > 1 and adds(body, before.body))
        return Approver.KEYHOLDER if waits else None

    def _check_first_signer(self, act: RawAct, body: Statement, now: int, *, verify: bool) -> None:
        entry = next((one for one in body.credentials if body.credential_id(one) == act.iss), None)
        if entry is None or not entry.keyholder:
            raise ReferralError(ErrorCode.NOT_PERMITTED, needs="keyholder")
        if now >= int(entry.until_at.timestamp()):
            raise not_valid("ended", act.iss)
        if verify:
            keys = {kid: self._keys[kid].public for kid in entry.seal}
            verify_act(act, keys, required=required_algs(entry, self.find_key))

    def _check_signer(self, act: RawAct, now: int, *, keyholder: bool, verify: bool) -> Credential:
        """The signer as it stands: listed now, a person (or the exchange), in time, no key of it revoked."""
        signer = self._credentials.get(act.iss)
        if signer is None:
            raise not_valid("unknown", act.iss)
        if signer.kind is not CredentialKind.PERSON and signer.id != self._exchange:
            raise ReferralError(ErrorCode.NOT_PERMITTED, needs="person")
        if keyholder and not signer.keyholder:
            raise ReferralError(ErrorCode.NOT_PERMITTED, needs="keyholder")
        if not signer.holds_at(now):
            raise not_valid("ended" if now >= signer.valid_until else "not-yet", act.iss)
        # The grace that other acts of a superseded key enjoy would let it change the directory after its end.
        seal = self._sealing[signer.id][0].seal
        if signer.id == self._exchange:  # Its next act key may be on the log and not in use yet.
            seal = self.exchange_seal([one.kid for one in act.jws.signatures], now)
        if any(self._keys[kid].revoked for kid in seal.keys):
            raise not_valid("revoked", act.iss)
        if verify:
            verify_act(act, seal.keys, required=seal.require)
        return signer

    def _apply_approval(self, act: RawAct, body: ApproveStatement, now: int, *, verify: bool) -> None:
        pending = self._pending.get(body.party)
        if pending is None or pending.digest != body.statement:
            raise ReferralError(ErrorCode.STATEMENT_OUT_OF_SEQUENCE, reason="not-pending", statement=body.statement)
        signer = self._check_signer(act, now, keyholder=pending.waits_for is Approver.KEYHOLDER, verify=verify)
        if pending.waits_for is Approver.EXCHANGE:
            allowed = signer.id == self._exchange
        elif pending.waits_for is Approver.KEYHOLDER:
            allowed = signer.party == pending.party and signer.id != pending.signer
        else:
            # In a sandbox with one registrar person that one is also the second.
            another = signer.id != pending.signer or self.genesis.registrars_required == 1
            allowed = signer.role is Role.REGISTRAR and self._has_registrars(now) and another
        if not allowed:
            raise ReferralError(ErrorCode.NOT_PERMITTED, needs=pending.waits_for.value)
        if act.iat < pending.opens_at:
            raise ReferralError(
                ErrorCode.STATEMENT_OUT_OF_SEQUENCE, reason="objection-window", opens_at=pending.opens_at
            )
        self._take_effect(pending, now)

    def _apply_revocation(self, act: RawAct, body: Revoke, now: int, *, verify: bool) -> None:
        record = self.get_key(body.kid)
        signer = self._check_signer(act, now, keyholder=False, verify=verify)
        own = record.party == signer.party and (signer.keyholder or self._keeps(record, signer))
        # Revoking only ever takes away, and waits for nobody: the exchange may do it while no registrar is awake.
        if record.party == EXCHANGE or not (own or signer.role is Role.REGISTRAR or signer.id == self._exchange):
            raise ReferralError(ErrorCode.NOT_PERMITTED, needs="keyholder")
        if record.revoked:
            raise ReferralError(ErrorCode.KEY_NOT_VALID, reason="revoked", kid=body.kid)
        self._keys[body.kid] = replace(record, revoked_index=self.size)

    def _apply_objection(self, act: RawAct, body: Object, now: int, *, verify: bool) -> None:
        pending = next((one for one in self._pending.values() if one.digest == body.statement), None)
        if pending is None:
            raise ReferralError(ErrorCode.STATEMENT_OUT_OF_SEQUENCE, reason="not-pending", statement=body.statement)
        signer = self._check_signer(act, now, keyholder=False, verify=verify)
        if signer.party != pending.party and signer.role is not Role.REGISTRAR:
            raise ReferralError(ErrorCode.NOT_PERMITTED, needs="party")
        del self._pending[pending.party]

    def _apply_rekey(self, act: RawAct, body: Rekey, now: int) -> None:
        if act.iss != self._exchange:
            raise ReferralError(ErrorCode.NOT_PERMITTED, needs="exchange")
        self._check_signer(act, now, keyholder=False, verify=True)
        use = KeyUse(body.use)
        self._tenures[use] = rekeyed(self._tenures, body, self.find_key, now)
        if use is KeyUse.ACT:
            held = resealed(self._sealing[act.iss], body, self._keys[body.kid].public)
            newest = held[0].seal
            before = self._credentials[act.iss]
            self._credentials[act.iss] = replace(before, seal=tuple(newest.keys), require=newest.require)
            self._sealing[act.iss] = held

    def _take_effect(self, pending: Pending, now: int) -> None:
        body, party = pending.body, pending.party
        before = self._parties.get(party)
        credentials = tuple(self._credential(party, body, entry, now) for entry in body.credentials)
        enc = tuple(self._enc_key(entry) for entry in body.enc)
        owners = dict(self._owners.get(party, {}))
        for entry in body.credentials:
            owners |= dict.fromkeys((entry.access, *entry.seal), entry.id)
        self._owners[party] = owners | {key.kid: "" for key in enc}
        for gone in before.credentials if before is not None else ():
            self._credentials.pop(gone.id, None)
            if all(credential.id != gone.id for credential in credentials):
                self._end_sealing(gone.id, now)
        for credential in credentials:
            self._credentials[credential.id] = credential
            self._renew_sealing(credential, now)
        self._parties[party] = Party(
            id=party,
            role=body.entry.role,
            entry=body.entry,
            seq=body.seq,
            statement=pending.digest,
            index=pending.index,
            effect_index=self.size,
            credentials=credentials,
            enc=enc,
            body=body,
        )
        self._pending.pop(party, None)
        self._proposed.pop(party, None)

    def _credential(self, party: PartyId, body: Statement, entry: CredentialEntry, now: int) -> Credential:
        was = self._credentials.get(body.credential_id(entry))
        begins = now if was is None else was.valid_from
        return Credential(
            id=body.credential_id(entry),
            party=party,
            role=body.entry.role,
            kind=entry.kind,
            keyholder=bool(entry.keyholder),
            access=entry.access,
            seal=entry.seal,
            require=required_algs(entry, self.find_key),
            valid_from=begins if entry.from_at is None else int(entry.from_at.timestamp()),
            valid_until=int(entry.until_at.timestamp()),
        )

    def _enc_key(self, entry: EncryptionEntry) -> EncKey:
        public = self._keys[entry.kid].public
        begins, ends = int(entry.from_at.timestamp()), int(entry.until_at.timestamp())
        return EncKey(public, KeyUse(entry.use), entry.station, begins, ends)

    def _renew_sealing(self, credential: Credential, now: int) -> None:
        seal = SealKeys({kid: self._keys[kid].public for kid in credential.seal}, credential.require, credential.kind)
        held = self._sealing.get(credential.id, ())
        if held and held[0].seal == seal:
            begins = held[0].begins_at
            self._sealing[credential.id] = (Sealing(seal, begins, credential.valid_until), *held[1:])
            return
        self._end_sealing(credential.id, now)
        if not seal.keys:
            return
        # The first keys of a credential begin with it; later ones when their statement takes effect.
        begins = now if held else credential.valid_from
        renewed = Sealing(seal, begins, credential.valid_until)
        self._sealing[credential.id] = (renewed, *self._sealing.get(credential.id, ()))

    def _end_sealing(self, credential: CredentialId, now: int) -> None:
        ended = [replace(one, ends_at=min(one.ends_at, now)) for one in self._sealing.get(credential, ())]
        self._sealing[credential] = tuple(one for one in ended if now <= one.ends_at + GRACE_S)
