"""Renewing one's own keys: encryption keys every month, seal keys when it is time, and destroying what is spent.

A new private key is in the keystore before its public half leaves this machine, and an old one leaves the keystore
before anybody is told that it is destroyed: whatever is interrupted, nothing that was promised is missing, and running
again goes on where it stopped.

Must never: send a key that is not kept, destroy one that something pending may name, or sign for another workstation.

Implements: R-32 (b, d), R-35; design §5 (encryption keys: 30 days, 15 of overlap, destroyed after 75).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from referral_api.client import admission, delivery, enrolment, exchange, sealing
from referral_api.client.keystore import CredentialKeys, Secret, new_signing_secret
from referral_api.client.session import Session
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Act, CredentialKind, KeyUse, Kid
from referral_api.formats.directory_bodies import Statement
from referral_api.formats.enrolment import TURNS as _TURNS
from referral_api.formats.enrolment import (
    Completion,
    Invitation,
    Proposal,
    next_statement,
    parse_invitation,
    parse_turn,
)
from referral_api.formats.key_entry import parse_key_entry
from referral_api.formats.keys import Alg
from referral_api.formats.parties import SKEW_S, EncKey, Party
from referral_api.formats.statement_rules import BACKUP_LIFE, rekeys, renews
from referral_api.formats.statements import KeyMap
from referral_api.formats.strict_json import b64u, sha256_b64u

DAY_S: Final = 24 * 3600
ROTATE_AFTER_S: Final = 30 * DAY_S
"""How long a workstation's encryption key is its newest one."""
URGENT_S: Final = 5 * DAY_S
"""With how much left to be sealed to a key is renewed whatever waits."""
DESTROY_AFTER_S: Final = 75 * DAY_S
"""How old a private half becomes, unless something pending may name it: what a thief of today can read at most."""
KEEP_AT_MOST_S: Final = 2 * DESTROY_AFTER_S
"""How old it becomes at most, whatever is pending: what nobody has answered by then opens with the backup key alone."""
DESTROYED: Final = "destroyed"
"""The reason of the `revoke` act that says so."""

Keep = Callable[[CredentialKeys], None]
"""Seals the person's compartment again with these keys; returns once they are durable."""


@dataclass(frozen=True, slots=True)
class Renewed:
    """What became of a renewal. `turn` is `done`, or whose approval it waits for with these thirty digits.

    `kids` are the new keys, `keys` the credential's keys as they are kept now.
    """

    kids: tuple[Kid, ...]
    turn: str
    code: str
    keys: CredentialKeys


@dataclass(frozen=True, slots=True)
class Spent:
    """Encryption keys that are destroyed, those past their time that something pending may still name, and backup keys
    that were `removed` from this machine.
    """

    destroyed: tuple[Kid, ...]
    needed: tuple[Kid, ...]
    removed: tuple[Kid, ...]
    keys: CredentialKeys


def own_party(session: Session) -> Party:
    """Our party by the newest keys log. Raises NOT_ENROLLED."""
    party = session.sync_keys().keymap.find_party(session.profile.party)
    if party is None:
        raise ReferralError(ErrorCode.NOT_ENROLLED)
    return party


def follow(session: Session) -> None:
    """Follow the keys log; where nobody answers, what is known of it serves. Raises alarms."""
    try:
        session.sync_keys(patient=False)
    except ReferralError as error:
        if error.code not in (ErrorCode.UNREACHABLE, ErrorCode.UNAVAILABLE):
            raise


def in_effect(keys: CredentialKeys, keymap: KeyMap) -> CredentialKeys:
    """The keys to sign with: those that were to come, once the statement in effect lists them."""
    found = keymap.find_credential(keys.credential)
    listed = () if found is None else found.seal
    chosen = tuple(one for one in keys.coming if one.signing_key().kid in listed)
    if not chosen or len(chosen) != len(listed):
        return keys
    return replace(keys, seal=chosen, coming=())


def own_stations(keys: CredentialKeys, party: Party) -> dict[str, EncKey]:
    """The workstations of which this keystore holds the newest listed key, by code, and that key."""
    mine = delivery.private_keys(keys).keys()
    newest: dict[str, EncKey] = {}
    for key in party.enc:
        if key.use is KeyUse.ENC and key.station is not None:
            other = newest.get(key.station)
            if other is None or (key.valid_from, key.kid) > (other.valid_from, other.kid):
                newest[key.station] = key
    return {station: key for station, key in newest.items() if key.kid in mine}


def due(keys: CredentialKeys, party: Party, now: int) -> dict[str, EncKey]:
    """Those of them whose key is old enough for another."""
    return {
        station: key for station, key in own_stations(keys, party).items() if now - key.valid_from >= ROTATE_AFTER_S
    }


def due_unasked(keymap: KeyMap, keys: CredentialKeys, party: Party, now: int) -> list[str]:
    """Which of those to renew where nobody asked for it.

    What takes effect voids a statement of the party that waits (for a second keyholder; a recovery): then only what can
    be sealed to for no longer than URGENT_S.
    """
    waits = keymap.find_pending(party.id) is not None
    found = due(keys, party, now)
    return [station for station, key in found.items() if not waits or key.valid_until - now <= URGENT_S]


def rotate(session: Session, keys: CredentialKeys, keep: Keep, stations: Sequence[str]) -> Renewed:
    """Give each of these workstations a new encryption key. Alone and at once where R-32 (d) allows it.

    Raises NOT_PERMITTED (`needs`), KEY_NOT_VALID, what an enrolment raises, and alarms.
    """
    party, now = own_party(session), session.now()
    unused = [one for one in keys.enc if _never_logged(session, one)]
    fresh = [sealing.generate_enc_key(Alg.HPKE_9) for _ in stations[len(unused) :]]
    # Whatever was kept and never sent begins its life only now: by its age it is destroyed.
    made = [*(replace(one, created_at=now) for one in unused), *(Secret(Alg.HPKE_9, key.seed, now) for key in fresh)]
    made = made[: len(stations)]
    again = {one.secret for one in made}
    keys = replace(keys, enc=(*(one for one in keys.enc if one.secret not in again), *made))
    keep(keys)
    private = [sealing.enc_private_key(one.alg, one.secret) for one in made]
    listed = [_enc_listed(key.kid, station, now) for key, station in zip(private, stations, strict=True)]
    turn, code = propose(session, keys, party, private, {"credentials": [], "enc": listed})
    return Renewed(tuple(key.kid for key in private), turn, code, keys)


def rotate_seal(session: Session, keys: CredentialKeys, keep: Keep) -> Renewed:
    """Give this credential new seal keys, of the same algorithms; the old ones sign for them.

    A person who is no keyholder, and one of several keyholders, waits for a keyholder. Raises as `rotate`.
    """
    party, now = own_party(session), session.now()
    entry = next((one for one in party.body.credentials if party.body.credential_id(one) == keys.credential), None)
    if entry is None:
        raise ReferralError(ErrorCode.KEY_NOT_VALID, reason="unknown", credential=keys.credential)
    # Until one set is in effect every one is kept: whichever of them is approved must be in somebody's hands.
    unused = {one.alg: one for one in keys.coming if _never_logged(session, one)}
    made = tuple(unused.get(one.alg) or new_signing_secret(one.alg, now) for one in keys.seal)
    keys = replace(keys, coming=(*keys.coming, *(one for one in made if one not in keys.coming)))
    keep(keys)
    signers = [one.signing_key() for one in made]
    listed = entry.wire() | {"seal": [one.kid for one in signers]}
    turn, code = propose(session, keys, party, [], {"credentials": [listed], "enc": []}, signers)
    session.sync_keys()
    renewed = in_effect(keys, session.keymap)
    if renewed is not keys:
        keep(renewed)
    return Renewed(tuple(one.kid for one in signers), turn, code, renewed)


def propose(
    session: Session,
    keys: CredentialKeys,
    party: Party,
    private: Sequence[sealing.EncPrivateKey],
    proposal: Mapping[str, Any],
    signers: Sequence[Any] = (),
    use: KeyUse = KeyUse.ENC,
) -> tuple[str, str]:
    """Invite ourselves, enrol these keys, and sign the statement that lists them, where we may: turn and digits.

    `private` are encryption keys (of this `use`), `signers` new seal keys. Where a keyholder has to sign, the enrolment
    waits for one.
    """
    invitation = _invitation(session, keys, party)
    enrolled, nonces = enrolment.begin(session, invitation.secret, private)
    now = session.now()
    entries = [enrolment.key_entry(invitation, KeyUse.SEAL, one.public.jwk, [one], None, now) for one in signers]
    entries += [
        enrolment.key_entry(invitation, use, key.public.jwk, keys.signers(), sha256_b64u(nonces[key.kid]), now)
        for key in private
    ]
    document = {
        "keys": [entry.decode("ascii") for entry in entries],
        "possession": [{"kid": kid, "nonce": b64u(nonce)} for kid, nonce in nonces.items()],
        "proposal": {**proposal, "entry": None},
        "statement": None,
    }
    completion = Completion.parse(document, code=ErrorCode.ACT_SCHEMA)
    session.read_json(exchange.complete_enrolment(invitation.secret, enrolled, document))
    code = enrolment.code_of(session.profile, invitation.secret, completion)
    body = _own_statement(session, keys, party, completion.proposal, entries)
    if body is not None:
        act_id = session.ambient.act_id()
        admission.send_directory_act(session, keys, Act.STATEMENT, body, act_id, enrolment=enrolled)
    answer = session.read_json(exchange.enrolment_turn(invitation.secret, enrolled))
    with exchange.told():
        return parse_turn(answer, _TURNS), code


def _own_statement(
    session: Session, keys: CredentialKeys, party: Party, proposal: Proposal, entries: Sequence[bytes]
) -> dict[str, Any] | None:
    """The statement that we may sign ourselves, if there is one: a renewal, or as a keyholder anything."""
    keymap = session.keymap.copy()
    for entry in entries:
        keymap.extend(entry)
    owners, short = keymap.owners_of(party.id), keys.credential.partition(".")[2]
    body = next_statement(party, proposal, keymap.find_key, session.now(), owners=owners, renewal=True)
    statement = Statement.parse(body, code=ErrorCode.ACT_SCHEMA)
    for allowed in (renews, rekeys):
        if allowed(statement, party.body, short, keymap.find_key, owners):
            return body
    me = keymap.find_credential(keys.credential)
    if me is not None and me.keyholder:
        return next_statement(party, proposal, keymap.find_key, session.now(), owners=owners)
    return None


def destroy(session: Session, keys: CredentialKeys, keep: Keep) -> Spent:
    """Destroy the private halves that are past their time, and have it receipted that they are (a `revoke` act each).

    Nothing is destroyed whose public half may still be sealed to, or that anything pending in our inbox may name; that
    much for KEEP_AT_MOST_S. A backup key that was put back here only leaves this keystore: no act, for it is on paper.
    """
    party, now = own_party(session), session.now()
    old = past_their_time(session.keymap, keys, party, now)
    backups = ended_backups(session, keys, party)
    times = [one.time for one in _pending(session)] if old or backups else []
    needed = {kid for kid, made_at in old.items() if may_be_named(made_at, times, now)}
    needed |= {kid for kid, span in backups.items() if any(span[0] <= time <= span[1] for time in times)}
    gone = {kid for kid in old if kid not in needed}
    left = {kid for kid in backups if kid not in needed}
    if gone or left:
        enc = tuple(one for one in keys.enc if _kid(one) not in gone | left)
        keys = replace(keys, enc=enc, destroyed=(*keys.destroyed, *sorted(gone)))
        keep(keys)
    told = keys.destroyed
    for kid in told:
        if not session.keymap.get_key(kid).revoked:
            body = {"kid": kid, "reason": DESTROYED, "at": now}
            admission.send_directory_act(session, keys, Act.REVOKE, body, session.ambient.act_id())
        keys = replace(keys, destroyed=tuple(one for one in keys.destroyed if one != kid))
    if told:
        keep(keys)
    return Spent(told, tuple(sorted(needed)), tuple(sorted(left)), keys)


def may_be_named(made_at: int, pending: Iterable[int], now: int) -> bool:
    """Whether something pending, by these times of the inbox, may have been sealed to a key made then.

    What was held for an approval stands in the inbox later than it was sealed, so the time in which it may is as long
    as a key is kept anyway. Of what came before the key was made, and long after, nothing can name it.
    """
    if now - made_at > KEEP_AT_MOST_S:
        return False
    return any(made_at - SKEW_S <= time <= made_at + DESTROY_AFTER_S for time in pending)


def past_their_time(keymap: KeyMap, keys: CredentialKeys, party: Party, now: int) -> dict[Kid, int]:
    """The encryption keys of ours that are due to be destroyed, by thumbprint, and when each was made."""
    usable = {key.kid for key in keymap.usable_enc(party.id, now)}
    found: dict[Kid, int] = {}
    for one in keys.enc:
        record = keymap.find_key(kid := _kid(one))
        # A key that is on no log was never offered to anybody; one of the paper backup is not of this machine.
        ours = record is not None and record.use is KeyUse.ENC
        if ours and kid not in usable and now - one.created_at >= DESTROY_AFTER_S:
            found[kid] = one.created_at
    return found


def ended_backups(session: Session, keys: CredentialKeys, party: Party) -> dict[Kid, tuple[int, int]]:
    """The backup keys that were put back here (a day ago, so that there is time to read) and are sealed to no more, and
    from when to when something that arrived may name each. One that is revoked goes at once.
    """
    now = session.now()
    usable = {key.kid for key in session.keymap.usable_enc(party.id, now)}
    found: dict[Kid, tuple[int, int]] = {}
    for one in keys.enc:
        record = session.keymap.find_key(kid := _kid(one))
        if record is None or record.use is not KeyUse.BACKUP or kid in usable:
            continue
        if not record.revoked and now - one.created_at < DAY_S:
            continue
        # The words do not say when the key was made; its entry on the log does.
        made_at = parse_key_entry(session.replica.leaves[record.index]).iat
        held = DESTROY_AFTER_S - enrolment.SEALABLE_TERM_S
        ends = made_at + int(BACKUP_LIFE.total_seconds()) + held
        found[kid] = (made_at - SKEW_S, 0 if record.revoked else ends)
    return found


def _pending(session: Session) -> list[delivery.InboxEntry]:
    after: str | None = None
    found: list[delivery.InboxEntry] = []
    while True:
        page = delivery.fetch_inbox(session, after, pending=True)
        found += page.entries
        if not page.more:
            return found
        after = page.cursor


def _invitation(session: Session, keys: CredentialKeys, party: Party) -> Invitation:
    kinds = [CredentialKind.PERSON]
    raw, _ = admission.invite(session, keys, party.entry.wire(), kinds, session.ambient.act_id())
    return parse_invitation(raw)


def _never_logged(session: Session, secret: Secret) -> bool:
    kid = _kid(secret) if secret.alg in (Alg.HPKE_9, Alg.HPKE_10) else secret.signing_key().kid
    return session.keymap.find_key(kid) is None


def _kid(secret: Secret) -> Kid:
    return sealing.enc_private_key(secret.alg, secret.secret).kid


def _enc_listed(kid: Kid, station: str, now: int) -> dict[str, Any]:
    return {"from": now, "kid": kid, "station": station, "until": now + enrolment.SEALABLE_TERM_S, "use": "enc"}
