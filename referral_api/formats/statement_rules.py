"""What a statement may say, given what its party's statement before it said and which keys the log holds.

A statement is complete, so the rules compare two whole sets: nothing changes sides, nothing that was dropped comes
back, and what is new is known as new, because new credentials, keys and rights may need a second keyholder.

Must never: look at the log or at signatures; the fold (formats/statements.py) hands in what it knows.

Implements: docs/protocol.md R-32, R-33; design §5 (limits of workstations and lifetimes).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import CredentialKind, KeyUse, Kid, PartyId, Role
from referral_api.formats.directory_bodies import CredentialEntry, EncryptionEntry, Statement
from referral_api.formats.keys import Alg
from referral_api.formats.parties import KeyRecord

MAX_STATIONS = 8
"""Workstations of a party that bundles are sealed to (design §5)."""
MAX_KEYS_A_STATION = 2
"""The newest, and the one it replaces while senders learn of it; the backup key likewise."""
ENC_LIFE = timedelta(days=45)
"""30 days as the newest key of its workstation and 15 of overlap: a stolen key opens no more than that."""
BACKUP_LIFE = timedelta(days=400)
"""A year and the time to fetch the paper."""

DORMANT = timedelta(days=365)
"""How long a workstation stays listed after its last key has ended: as long as a credential lasts at most."""

KeyLookup = Callable[[Kid], KeyRecord | None]


def required_algs(entry: CredentialEntry, keys: KeyLookup) -> tuple[Alg, ...]:
    """The algorithms that must be among this credential's signatures: those stated, else those of all its seal keys."""
    if entry.require is not None:
        return tuple(Alg(alg) for alg in entry.require)
    return tuple(record.public.alg for kid in entry.seal if (record := keys(kid)) is not None)


def check_statement(
    party: PartyId, statement: Statement, before: Statement | None, keys: KeyLookup, owners: Mapping[Kid, str]
) -> None:
    """Hold a statement against every rule that looks at its content.

    `owners` says for every key that was ever in effect whose it was: a credential's id within the party, or empty for
    an encryption key. Raises ACT_SCHEMA (`where`, `reason`), KEY_REUSED, KEY_NOT_VALID and KEY_UNSUITABLE (`kid`,
    `reason`), POSSESSION_NOT_PROVED (an encryption key that no credential of the statement vouches for).
    """
    if statement.entry.id != party:
        raise _broken("/body/entry/id", "contradiction")
    if before is not None and statement.entry.role is not before.entry.role:
        raise _broken("/body/entry/role", "role-changed")
    if before is not None and statement.entry.country != before.entry.country:
        raise _broken("/body/entry/country", "country-changed")  # Who is abroad stays abroad.
    known = {} if before is None else {credential.id: credential for credential in before.credentials}
    present = frozenset[Kid]() if before is None else frozenset(before.kids())
    retired = {owner for owner in owners.values() if owner and owner not in known}
    for at, credential in enumerate(statement.credentials):
        where = f"/body/credentials/{at}"
        if credential.id in retired:
            raise _broken(where, "credential-returns")
        _check_credential(where, statement.entry.role, credential, known.get(credential.id), keys)
        for kid, use in ((credential.access, KeyUse.ACCESS), *((kid, KeyUse.SEAL) for kid in credential.seal)):
            _check_key(party, kid, use, keys, owners, present, owner=credential.id)
    if not any(credential.keyholder for credential in statement.credentials):
        raise _broken("/body/credentials", "no-keyholder")
    _check_encryption_keys(party, statement, before, keys, owners)


def adds(statement: Statement, before: Statement) -> bool:
    """Whether it adds to the statement before it: credentials, keys, rights (a keyholder, a longer validity of a
    credential or an encryption key, fewer required signatures), or parties that are sealed to beside this one. What
    only takes away never waits for a second keyholder.
    """
    if not set(statement.kids()) <= set(before.kids()) or not _beside(statement) <= _beside(before):
        return True
    ends = {key.kid: key.until_at for key in before.enc}
    if any(key.until_at > ends[key.kid] for key in statement.enc):
        return True
    known = {credential.id: credential for credential in before.credentials}
    return any(
        (was := known.get(credential.id)) is None
        or (credential.keyholder and not was.keyholder)
        or credential.until_at > was.until_at
        or _begins_earlier(credential, was)
        or _drops_signature(credential, was)
        for credential in statement.credentials
    )


def renews(statement: Statement, before: Statement, signer: str, keys: KeyLookup, owners: Mapping[Kid, str]) -> bool:
    """Whether it changes nothing but the encryption keys of workstations that `signer`, a credential's id within the
    party, keeps: for that, those keys' own person suffices (R-32 d). Whoever signs as that person reads there anyway.
    """
    credentials, enc = standing(before, keys)
    as_before = (statement.entry, statement.credentials) == (before.entry, credentials)
    return as_before and statement.enc != enc and _keeps(statement, enc, signer, keys, owners)


def rekeys(statement: Statement, before: Statement, signer: str, keys: KeyLookup, owners: Mapping[Kid, str]) -> bool:
    """Whether it changes nothing but the keys of the credential `signer` itself, and of the workstations that it keeps:
    its person may propose that, and a keyholder decides (R-32 d). It gains neither rights nor time.
    """
    credentials, enc = standing(before, keys)
    own = next((one for one in statement.credentials if one.id == signer), None)
    was = next((one for one in credentials if one.id == signer), None)
    if own is None or was is None or own == was:
        return False
    if not set(required_algs(was, keys)) <= set(required_algs(own, keys)):
        return False
    if own.model_copy(update={"access": was.access, "seal": was.seal}) != was:
        return False
    as_before = tuple(was if one.id == signer else one for one in statement.credentials)
    if (statement.entry, as_before) != (before.entry, credentials):
        return False
    return _keeps(statement, enc, signer, keys, owners)


def standing(before: Statement, keys: KeyLookup) -> tuple[tuple[CredentialEntry, ...], tuple[EncryptionEntry, ...]]:
    """What the next statement may go on listing: the credentials and encryption keys of which no key is revoked."""

    def stands(kid: Kid) -> bool:
        record = keys(kid)
        return record is not None and not record.revoked

    credentials = tuple(one for one in before.credentials if all(map(stands, (one.access, *one.seal))))
    return credentials, tuple(key for key in before.enc if stands(key.kid))


def dormant(
    enc: Sequence[EncryptionEntry],
    credentials: Sequence[CredentialEntry],
    keys: KeyLookup,
    owners: Mapping[Kid, str],
    now: int,
) -> frozenset[Kid]:
    """Of these keys those to go on listing although they have ended: the last one of a workstation that was off, while
    the credential that keeps it is among `credentials`. Nobody seals to it; its person can renew it by it (R-32 d).
    """
    newest = {
        key.station: key for key in sorted(enc, key=lambda one: (one.from_at, one.kid)) if key.station is not None
    }
    staying = {one.id for one in credentials}
    found: set[Kid] = set()
    for key in newest.values():
        record = keys(key.kid)
        if record is None or not key.until_at.timestamp() <= now < (key.until_at + DORMANT).timestamp():
            continue
        if _keeper(credentials, record, owners) in staying:
            found.add(key.kid)
    return frozenset(found)


def _keeps(
    statement: Statement,
    before: Sequence[EncryptionEntry],
    signer: str,
    keys: KeyLookup,
    owners: Mapping[Kid, str],
) -> bool:
    """Whether each encryption key that differs is of a workstation that `signer` keeps, and every workstation stays."""
    if {key.station for key in statement.enc} != {key.station for key in before}:
        return False
    changed = [(key, keys(key.kid)) for key in set(before).symmetric_difference(statement.enc)]
    return all(
        key.station is not None and record is not None and _keeper(statement.credentials, record, owners) == signer
        for key, record in changed
    )


def recovers(statement: Statement, before: Statement) -> bool:
    """Whether it does no more than give a party that has lost its keyholders new ones: the entry as it was, everything
    else listed as it was, dropped, or new (R-32 e).
    """
    known = {one.id: one for one in before.credentials}
    held = {key.kid: key for key in before.enc}
    return (
        statement.entry == before.entry
        and all(known.get(one.id, one) == one for one in statement.credentials)
        and all(held.get(key.kid, key) == key for key in statement.enc)
    )


def _beside(statement: Statement) -> set[PartyId | None]:
    """The parties to which senders of emergencies seal beside this one."""
    return {*statement.entry.escalation, statement.entry.parent} - {None}


def _begins_earlier(new: CredentialEntry, was: CredentialEntry) -> bool:
    # Where none is stated it is as it was, and no statement says what that was: only of two that are stated is it
    # certain that the new one takes time away.
    if new.from_at == was.from_at:
        return False
    return new.from_at is None or was.from_at is None or new.from_at < was.from_at


def _drops_signature(new: CredentialEntry, was: CredentialEntry) -> bool:
    # Fewer seal keys, or a list of required algorithms that is shorter or newly given, lets a signature be left out.
    if new.require is None:
        return not set(was.seal) <= set(new.seal)
    return was.require is None or not set(was.require) <= set(new.require)


def _check_credential(
    where: str, role: Role, credential: CredentialEntry, was: CredentialEntry | None, keys: KeyLookup
) -> None:
    if was is not None and was.kind is not credential.kind:
        raise _broken(f"{where}/kind", "kind-changed")
    if credential.kind is CredentialKind.SERVICE and credential.seal and role is not Role.HOTLINE:
        raise _broken(f"{where}/seal", "service-seals")
    algs = [record.public.alg for kid in credential.seal if (record := keys(kid)) is not None]
    if len(set(algs)) != len(algs):
        raise _broken(f"{where}/seal", "repeated-entry")
    if credential.require is not None and not {Alg(alg) for alg in credential.require} <= set(algs):
        raise _broken(f"{where}/require", "requires-more-than-listed")


def _check_key(
    party: PartyId,
    kid: Kid,
    use: KeyUse,
    keys: KeyLookup,
    owners: Mapping[Kid, str],
    present: frozenset[Kid],
    *,
    owner: str,
) -> KeyRecord:
    record = keys(kid)
    if record is None or record.party != party:
        # A foreign party's key and a key that is on no leaf look alike from here: this party has no such key.
        raise ReferralError(ErrorCode.KEY_NOT_VALID, reason="no-entry", kid=kid)
    if record.use is not use:
        raise ReferralError(ErrorCode.KEY_UNSUITABLE, reason="use", kid=kid)
    if record.revoked:
        raise ReferralError(ErrorCode.KEY_NOT_VALID, reason="revoked", kid=kid)
    if kid in owners and (owners[kid] != owner or kid not in present):
        raise ReferralError(ErrorCode.KEY_REUSED, kid=kid)
    return record


def _check_encryption_keys(
    party: PartyId, statement: Statement, before: Statement | None, keys: KeyLookup, owners: Mapping[Kid, str]
) -> None:
    listed = {} if before is None else {key.kid: key for key in before.enc}
    present = frozenset(listed)
    held: Counter[str] = Counter()
    keepers: dict[str, str] = {}
    for at, key in enumerate(statement.enc):
        where = f"/body/enc/{at}"
        record = _check_key(party, key.kid, KeyUse(key.use), keys, owners, present, owner="")
        _check_lifetime(where, key, listed.get(key.kid))
        if key.kid not in listed and not any(
            _vouches(party, credential, record, keys) for credential in statement.credentials
        ):
            raise ReferralError(ErrorCode.POSSESSION_NOT_PROVED, reason="not-vouched-for", kid=key.kid)
        held["" if key.use == "backup" else key.station or key.kid] += 1
        if key.station is not None:
            # Of one workstation only the newest key is sealed to, so a second workstation under the same code would
            # silently cut off the first: whoever vouched for the one must have vouched for the other.
            keeper = _keeper(statement.credentials, record, owners)
            if keepers.setdefault(key.station, keeper) != keeper:
                raise _broken(f"{where}/station", "station-taken")
    if len(held) - ("" in held) > MAX_STATIONS or any(count > MAX_KEYS_A_STATION for count in held.values()):
        raise _broken("/body/enc", "too-many-keys")


def _keeper(credentials: Sequence[CredentialEntry], record: KeyRecord, owners: Mapping[Kid, str]) -> str:
    """The credential that vouched for an encryption key: one of these, or under whatever keys it had earlier."""
    signer = record.signed_by[0]
    return next((one.id for one in credentials if signer in one.seal), owners.get(signer, ""))


def _check_lifetime(where: str, key: EncryptionEntry, was: EncryptionEntry | None) -> None:
    if key.until_at - key.from_at > (BACKUP_LIFE if key.use == "backup" else ENC_LIFE):
        raise _broken(f"{where}/until", "lives-too-long")
    # Moving the beginning along would stretch a life without end; moving a key to another workstation would hide one.
    if was is not None and (key.from_at != was.from_at or key.station != was.station):
        raise _broken(where, "moved")


def _vouches(party: PartyId, credential: CredentialEntry, record: KeyRecord, keys: KeyLookup) -> bool:
    signers = set(record.signed_by)
    if not credential.seal or not signers <= set(credential.seal):
        return False
    algs = {signer.public.alg for kid in signers if (signer := keys(kid)) is not None and signer.party == party}
    return set(required_algs(credential, keys)) <= algs


def _broken(where: str, reason: str) -> ReferralError:
    return ReferralError(ErrorCode.ACT_SCHEMA, act="statement", where=where, reason=reason)
