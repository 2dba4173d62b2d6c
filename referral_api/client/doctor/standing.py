"""How our party and all others stand by the replicated keys log: keys and their ages, credentials, who is reachable.

It is read from its file, as last verified, so that it can be said with nothing unlocked and nobody answering; whether
the log is fresh is told beside it. With the person's keys it is also said whether what is listed is what is held here.

Must never: believe what is not in the log, or sync it (calls.py does).

Implements: R-30, R-33, R-101; design §5 (encryption keys, rotation).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from referral_api.client import freshness, trust
from referral_api.client.enrolment import SEALABLE_TERM_S, SEALED_TO
from referral_api.client.keystore import CredentialKeys
from referral_api.client.profile import Profile, ProfileDir, read_private
from referral_api.client.renewal import DAY_S, DESTROY_AFTER_S, ROTATE_AFTER_S
from referral_api.client.sealing import enc_private_key
from referral_api.client.trust import Replica
from referral_api.domain.errors import ReferralError
from referral_api.domain.findings import Finding, Level, at_least, at_most, failed, found
from referral_api.domain.words import CredentialId, KeyUse, Kid, Role
from referral_api.formats.act import RawAct
from referral_api.formats.directory_bodies import Object, Statement
from referral_api.formats.parties import EncKey, Party
from referral_api.formats.statements import KeyMap, parse_keys_leaf

ENDS_SOON_S: Final = 30 * DAY_S
"""How long before the end of a credential or backup key somebody is told: its renewal takes other people's time."""
OBJECTED_S: Final = 30 * DAY_S
"""For how long an objection is told of."""
BACK_UP: Final = "referral keys backup"
MOST_NAMES: Final = 16
"""How many parties one finding names; it counts all of them."""


def read_replica(profile: Profile, directory: ProfileDir) -> tuple[Replica | None, Finding]:
    """The keys log as its file holds it, verified against the pin."""
    command = "referral units list"
    try:
        pin = directory.find_pin(trust.issuer_origin(profile.issuer, "keys"))
        if pin is None:
            return None, found("keys-log.none", Level.UNKNOWN, command)
        raw = read_private(directory.keys_log, max_bytes=trust.MAX_KEYS_LOG_FILE_BYTES)
        replica = trust.load_replica(profile, raw, pin)
    except FileNotFoundError:
        return None, found("keys-log.missing", Level.WARNING, command)
    except ReferralError as error:
        return None, failed("keys-log", error, command)
    return replica, found("keys-log", Level.OK, size=replica.size)


def look_at_witnesses(directory: ProfileDir, replica: Replica, now: int) -> Finding:
    """Whether witnesses vouch for the directory by which this client seals, and since when they do not."""
    policy = replica.keymap.witness_policy
    if policy is None:
        return found("witnesses.none", Level.NOTE)
    names = len({one.partition("+")[0] for one in policy.witnesses})
    try:
        replica.sealing_map(directory.find_pin(trust.witnessed_pin(replica.keymap.issuer)))
    except ReferralError as error:
        return failed("witnesses", error, "referral units list")
    stale = freshness.stale_since(directory, replica, now)
    if stale is not None:
        return found("witnesses.stale", Level.WARNING, "referral units list", since_at=stale, quorum=policy.quorum)
    return found("witnesses", Level.OK, quorum=policy.quorum, witnesses=names)


def look_at_party(profile: Profile, replica: Replica, now: int) -> Iterator[Finding]:
    """Our own party: whether it is in effect, until when its credentials hold, how old its keys are."""
    keymap = replica.keymap
    party = keymap.find_party(profile.party)
    if party is None:
        yield found("party.unlisted", Level.PROBLEM, "referral enrol", party=profile.party)
        return
    yield found("party", Level.OK, party=party.id, seq=party.seq)
    for credential in (profile.person, profile.service):
        if credential is not None:
            yield _credential(keymap, credential, now)
    if party.role in SEALED_TO:
        yield from _encryption(keymap, party, now)
    pending = keymap.find_pending(party.id)
    if pending is not None:
        yield found("party.pending", Level.WARNING, "referral keys watch", waits_for=pending.waits_for.value)
    objected = _objections(replica, party, now)
    if objected:
        yield found("party.objected", Level.WARNING, "referral keys watch", count=objected)


def _credential(keymap: KeyMap, named: CredentialId, now: int) -> Finding:
    credential = keymap.find_credential(named)
    if credential is None:
        return found("credential.unlisted", Level.PROBLEM, "referral keys recover", credential=named)
    keys = [credential.access, *credential.seal]
    if any((record := keymap.find_key(kid)) is not None and record.revoked for kid in keys):
        return found("credential.revoked", Level.PROBLEM, "referral keys recover", credential=named)
    left = credential.valid_until - now
    level = at_least(left, warning=ENDS_SOON_S, problem=1)
    seen = {"ends_at": credential.valid_until, "days": left // DAY_S}
    return found("credential.until", level, "referral invite --out invitation.json", credential=named, **seen)


def _encryption(keymap: KeyMap, party: Party, now: int) -> Iterator[Finding]:
    """The newest key of each workstation by its age, and the backup key by its end."""
    newest = {one.replaces: one for one in sorted(party.enc, key=lambda one: (one.valid_from, one.kid))}
    stations = [one for one in newest.values() if one.use is KeyUse.ENC]
    usable = {one.kid for one in keymap.usable_enc(party.id, now)}
    oldest = max((now - one.valid_from for one in stations), default=0)
    seen = {"workstations": len(stations), "days": oldest // DAY_S}
    seen |= {"rotate_days": ROTATE_AFTER_S // DAY_S, "sealable_days": SEALABLE_TERM_S // DAY_S}
    level = at_most(oldest, warning=ROTATE_AFTER_S, problem=SEALABLE_TERM_S)
    if not stations or any(one.kid not in usable for one in stations):
        level = Level.PROBLEM
    yield found("keys.age", level, "referral keys rotate", **seen)
    backup = newest.get("backup")
    if backup is None or backup.kid not in usable:
        # Of several workstations another one opens what waits; of a single one nobody does.
        level = Level.NOTE if len(stations) > 1 else Level.WARNING
        yield found("backup.none", level, BACK_UP, workstations=len(stations))
        return
    left = backup.valid_until - now
    level = at_least(left, warning=ENDS_SOON_S, problem=1)
    yield found("backup", level, BACK_UP, ends_at=backup.valid_until, days=left // DAY_S)


def _objections(replica: Replica, party: Party, now: int) -> int:
    """How many statements of this party somebody has lately objected to."""
    own: set[str] = set()
    objected: set[str] = set()
    for leaf in replica.leaves[1:]:
        one = parse_keys_leaf(leaf)
        if not isinstance(one, RawAct):
            continue
        if isinstance(one.body, Statement) and one.body.entry.id == party.id:
            own.add(one.digest)
        elif isinstance(one.body, Object) and now - one.iat <= OBJECTED_S:
            objected.add(one.body.statement)
    return len(own & objected)


def sealing_map(directory: ProfileDir, replica: Replica) -> KeyMap:
    """Whose keys this client would seal to; where no quorum has seen any, as `witnesses` tells, the log as it is."""
    try:
        return replica.sealing_map(directory.find_pin(trust.witnessed_pin(replica.keymap.issuer)))
    except ReferralError:
        return replica.keymap


def look_at_others(keymap: KeyMap, sealing: KeyMap, profile: Profile, now: int) -> Iterator[Finding]:
    """Who of the directory cannot be sealed to now, whose statement waits, and who names nobody's escalation."""
    parties = keymap.parties()
    sealed_to = [one for one in parties if one.role in SEALED_TO]
    away = [one.id for one in sealed_to if not sealing.sealable(one.id, now)]
    yield _named("parties.unreachable", away, Level.WARNING, "referral units list", total=len(sealed_to))
    own = keymap.find_party(profile.party)
    admits = own is not None and own.role is Role.REGISTRAR
    waiting = [one.party for one in keymap.pending() if one.party != profile.party]
    yield _named("parties.waiting", waiting, Level.WARNING if admits else Level.NOTE, "referral enrolments")
    known = {one.id for one in parties}
    lost = [one.id for one in parties if not known.issuperset(one.entry.escalation)]
    yield _named("parties.escalation", lost, Level.WARNING, "referral units list")


def _named(code: str, parties: Sequence[str], level: Level, command: str, **more: int) -> Finding:
    names = list(parties[:MOST_NAMES])
    return found(code, level if parties else Level.OK, command, count=len(parties), parties=names, **more)


def look_at_own_keys(keys: CredentialKeys, keymap: KeyMap, profile: Profile, now: int) -> Iterator[Finding]:
    """With the person's keys: whether the log lists these and no others in their place, and what is to be destroyed."""
    party, listed = keymap.find_party(profile.party), keymap.find_credential(keys.credential)
    if party is None or listed is None:
        return  # `party` and `credential` have told.
    held = {enc_private_key(one.alg, one.secret).kid: one for one in keys.enc}
    acts = {one.signing_key().kid for one in (keys.access, *keys.seal, *keys.coming)}
    strange = len({listed.access, *listed.seal} - acts)
    strange += len(_in_place_of(party.enc, set(held)))
    yield found("keys.own", Level.PROBLEM if strange else Level.OK, "referral keys watch", strange=strange)
    if party.role in SEALED_TO:
        usable = {one.kid for one in keymap.usable_enc(party.id, now)}
        opens = len(usable & set(held))
        level = Level.OK if opens else Level.PROBLEM
        yield found("keys.open", level, "referral keys rotate", usable=opens, others=len(usable) - opens)
        spent = [one for kid, one in held.items() if kid not in usable and _is_a_workstation_s(keymap, kid)]
        old = [one for one in spent if now - one.created_at >= DESTROY_AFTER_S]
        days = max((now - one.created_at for one in old), default=0) // DAY_S
        level = Level.WARNING if old else Level.OK
        limit = DESTROY_AFTER_S // DAY_S
        yield found("keys.destroy", level, "referral keys rotate", count=len(old), days=days, limit_days=limit)


def _is_a_workstation_s(keymap: KeyMap, kid: Kid) -> bool:
    """Whether a key was ever offered as a workstation's; what a paper backup brought back is not of this machine."""
    record = keymap.find_key(kid)
    return record is not None and record.use is KeyUse.ENC


def _in_place_of(listed: Sequence[EncKey], held: set[Kid]) -> list[EncKey]:
    """Keys at a workstation of ours, newer than any of ours there: who holds them opens what is for us."""
    newest = {one.replaces: one for one in sorted(listed, key=lambda one: (one.valid_from, one.kid))}
    ours = {one.replaces for one in listed if one.kid in held and one.use is KeyUse.ENC}
    return [one for place, one in newest.items() if place in ours and one.kid not in held]
