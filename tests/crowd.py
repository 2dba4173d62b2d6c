"""Many persons and workstations at once: one enrolment with as many keys as it may hold, over real HTTP.

Must never: skip a proof or a signature that a single newcomer would have to give.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from referral_api.client import enrolment, exchange, sdk, sealing
from referral_api.client.enrolment import Joining
from referral_api.client.keystore import CredentialKeys, new_credential_keys
from referral_api.client.profile import ProfileDir
from referral_api.client.sdk import Client
from referral_api.client.sealing import EncPrivateKey
from referral_api.client.session import Session
from referral_api.domain.words import CredentialId, CredentialKind, KeyUse
from referral_api.formats.enrolment import Invitation, parse_invitation
from referral_api.formats.keys import Alg
from referral_api.formats.strict_json import b64u, sha256_b64u, unb64u
from tests.world import ENTRIES, PASSPHRASE, World

BACKUP_TERM_S = 400 * 24 * 3600
PERSON = CredentialKind.PERSON


def admit_crowd(
    world: World,
    approver: Client,
    party: str,
    *,
    names: Sequence[str],
    stations: Sequence[str] = (),
    backup: bool = False,
    entry: Mapping[str, Any] | None = None,
    invitation: Invitation | None = None,
) -> dict[str, EncPrivateKey]:
    """Take persons and workstations into a party (a new one where `entry` describes it): the keys, by workstation.

    The first person vouches for all of them; an `invitation` that is not given the approver makes. A request holds
    64 KiB: five persons, or one with five workstations.
    """
    approver.sync_keys()
    invitation = invitation or parse_invitation(approver.invite(entry or ENTRIES[party], [PERSON]))
    what = Joining(invitation, PASSPHRASE, entry=entry, server=world.server.url)
    around = sdk.ambient(world.clock)
    session = Session(ProfileDir(Path("/nonexistent")), enrolment.profile_of(what), None, around)
    try:
        places = [*stations, *(["backup"] if backup else [])]
        enc = {place: sealing.generate_enc_key(Alg.HPKE_9) for place in places}
        persons = [new_credential_keys(CredentialId(f"{party}.{name}"), PERSON, session.now()) for name in names]
        completion, begun = _completion(session, what, persons, enc)
        session.read_json(exchange.complete_enrolment(invitation.secret, begun, completion))
    finally:
        session.close()
    (applicant,) = [one for one in approver.applicants() if one.enrolment == begun]
    approver.approve(applicant, applicant.code)
    return enc


def _completion(
    session: Session, what: Joining, persons: Sequence[CredentialKeys], enc: Mapping[str, EncPrivateKey]
) -> tuple[dict[str, Any], str]:
    now, first = session.now(), persons[0]
    asked = session.read_json(
        exchange.begin_enrolment(what.invitation.secret, [key.public.jwk for key in enc.values()])
    )
    sealed = {one["kid"]: unb64u(one["sealed"]) for one in asked["challenges"]}
    nonces = {key.kid: sealing.answer_challenge(key, sealed[key.kid]) for key in enc.values()}
    entries = [one for person in persons for one in enrolment._own_entries(what, person, None, now)]
    listed = []
    for place, key in enc.items():
        use = KeyUse.BACKUP if place == "backup" else KeyUse.ENC
        entries.append(
            enrolment.key_entry(
                what.invitation, use, key.public.jwk, first.signers(), sha256_b64u(nonces[key.kid]), now
            )
        )
        one = enrolment._enc_listed(key.kid, place, now)
        if use is KeyUse.BACKUP:
            one = {"from": now, "kid": key.kid, "until": now + BACKUP_TERM_S, "use": "backup"}
        listed.append(one)
    credentials = [enrolment._listed(person, PERSON, what, now) for person in persons]
    statement = None
    if what.entry is not None:
        statement = enrolment._first_statement(session.ambient, what, first, credentials, listed, now).decode()
    body = {
        "keys": [one.decode() for one in entries],
        "possession": [{"kid": kid, "nonce": b64u(nonce)} for kid, nonce in nonces.items()],
        "proposal": {"credentials": credentials, "enc": listed, "entry": what.entry},
        "statement": statement,
    }
    return body, str(asked["enrolment"])
