"""Joining: keys made on this workstation, proofs that they are held here, and the thirty digits to read out.

The newcomer's digits cover everything that it made and what the invitation pins; whoever approves computes them from
what the exchange hands over (admission.py), so a key swapped on the way shows.

Must never: send a private key, promise anything before the keystore is written, or make keys anywhere else.

Implements: R-31, R-34 to R-36 (the newcomer's side); design §5 (enrolment in three steps).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from referral_api.client import exchange, sealing
from referral_api.client.ambient import Ambient
from referral_api.client.compartment import Kdf
from referral_api.client.keystore import CredentialKeys, Keystore, Secret, new_credential_keys
from referral_api.client.profile import Language, Profile, ProfileDir, read_private, write_private
from referral_api.client.session import Session
from referral_api.domain.choosing import demand_telephone
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Act, CredentialId, CredentialKind, Digest, KeyUse, Kid, Role
from referral_api.formats.act import build_act
from referral_api.formats.enrolment import (
    TURNS,
    Begun,
    Completion,
    Invitation,
    enrolment_code,
    parse_turn,
)
from referral_api.formats.key_entry import (
    build_key_entry,
    parse_key_entry,
)
from referral_api.formats.keys import Alg, SigningKey
from referral_api.formats.strict_json import b64u, canonical, parse, sha256_b64u, unb64u

CREDENTIAL_TERM_S = 365 * 24 * 3600
SEALABLE_TERM_S = 45 * 24 * 3600
SEALED_TO = frozenset({Role.HOTLINE, Role.POLICE_UNIT})
"""The roles to which anything is ever sealed; auditors and registrars need no encryption key."""
_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
_MAX_STATE_BYTES = 128 * 1024


@dataclass(frozen=True, slots=True)
class Joining:
    """What a newcomer decides. `entry` describes a new party; None joins one that exists.

    `service_secret` None makes no service credential; `passphrase` opens the person's compartment. `station` is the
    workstation's code within the party; by default the person's own, because two workstations must never share one.
    Without `opens` there is no encryption key: a person who signs, and opens nothing on this machine (of workstations a
    party has eight at most, of persons more).
    """

    invitation: Invitation
    passphrase: str = field(repr=False)
    service_secret: bytes | None = field(default=None, repr=False)
    entry: Mapping[str, Any] | None = None
    keyholder: bool = False
    operator: str | None = None
    station: str | None = None
    opens: bool = True
    server: str | None = None
    lang: Language = "es"
    kdf: Kdf | None = None


@dataclass(frozen=True, slots=True)
class Joined:
    """An enrolment that waits for its approver. `code` is to be read out over the telephone."""

    enrolment: str
    code: str
    turn: str


def join(ambient: Ambient, directory: ProfileDir, what: Joining, session: Session) -> Joined:
    """Make the keys, prove them, and hand in the proposal. `session` is of `profile_of(what)` and needs no keys.

    The keystore is written before anything is promised; a call that got no answer is repeated by `resume`. Raises
    INVITE_UNKNOWN, INVITE_EXPIRED, INVITE_USED; FileExistsError where this profile has a keystore already; as
    `domain.choosing.demand_telephone` for a new party, before anything is made.
    """
    if what.entry is not None:
        demand_telephone(str(what.entry.get("id")), str(what.entry.get("role")), what.entry.get("duty_phone"))
    keystore = Keystore.create(directory, profile_of(what))
    try:
        _propose(ambient, directory, what, session, keystore)
        return resume(directory, session)
    except BaseException as error:
        if _is_refusal(error) or not directory.enrolment.exists():
            # Nothing was promised with these keys, so the same invitation may be tried again from the beginning.
            directory.forget_keys()
        raise


def _is_refusal(error: BaseException) -> bool:
    """Whether the exchange has judged the proposal and stands by its answer."""
    facts = error.facts if isinstance(error, ReferralError) else {}
    return facts.get("retry") == "never" and 400 <= int(facts.get("status", 0)) < 500


def _propose(ambient: Ambient, directory: ProfileDir, what: Joining, session: Session, keystore: Keystore) -> None:
    """Make keys, prove those that decrypt, and write keystore and proposal: what `resume` then hands in."""
    now = session.now()
    person, service = _make_keys(ambient, what, now)
    private = [sealing.enc_private_key(secret.alg, secret.secret) for secret in person.enc]
    secret_text = what.invitation.secret
    begun, nonces = begin(session, secret_text, private)
    entries = _own_entries(what, person, service, now) + [
        key_entry(what.invitation, KeyUse.ENC, key.public.jwk, person.signers(), sha256_b64u(nonces[key.kid]), now)
        for key in private
    ]
    credentials = [_listed(person, CredentialKind.PERSON, what, now)]
    credentials += [_listed(service, CredentialKind.SERVICE, what, now)] if service is not None else []
    station = what.station or person.credential.partition(".")[2]
    enc = [_enc_listed(key.kid, station, now) for key in private]
    completion = {
        "keys": [entry.decode("ascii") for entry in entries],
        "possession": [{"kid": kid, "nonce": b64u(nonce)} for kid, nonce in nonces.items()],
        "proposal": {"credentials": credentials, "enc": enc, "entry": None if what.entry is None else dict(what.entry)},
        "statement": None,
    }
    if what.entry is not None:
        completion["statement"] = _first_statement(ambient, what, person, credentials, enc, now).decode("ascii")
    Completion.parse(completion, code=ErrorCode.ACT_SCHEMA)
    keystore.keep_person(person, what.passphrase, what.kdf)
    if service is not None and what.service_secret is not None:
        keystore.keep_service(service, what.service_secret)
    write_private(
        directory.enrolment,
        canonical({"completion": completion, "enrolment": begun, "secret": secret_text, "v": 1}),
    )


def begin(session: Session, secret: str, private: Sequence[sealing.EncPrivateKey]) -> tuple[str, dict[Kid, bytes]]:
    """Begin an enrolment with an invitation's secret: its id, and the nonces that prove who holds these keys (R-35).

    Raises INVITE_UNKNOWN, INVITE_EXPIRED, INVITE_USED; KEY_UNSUITABLE, KEY_REUSED; POSSESSION_NOT_PROVED (`challenges`)
    where the exchange asks for something else, DECRYPT_FAILED.
    """
    answer = session.read_json(exchange.begin_enrolment(secret, [key.public.jwk for key in private]))
    with exchange.told():
        begun = Begun.parse(answer, code=ErrorCode.MALFORMED)
    sealed = {challenge.kid: unb64u(challenge.sealed) for challenge in begun.challenges}
    if sealed.keys() != {key.kid for key in private}:
        raise ReferralError(ErrorCode.POSSESSION_NOT_PROVED, reason="challenges")
    return begun.enrolment, {key.kid: sealing.answer_challenge(key, sealed[key.kid]) for key in private}


def resume(directory: ProfileDir, session: Session) -> Joined:
    """Hand in the proposal, again where the answer was lost, and say whose turn it is. Raises NOT_ENROLLED."""
    state, completion = _state(directory)
    answer = session.read_json(exchange.complete_enrolment(state["secret"], state["enrolment"], state["completion"]))
    return _joined(session, state, completion, answer)


def turn(directory: ProfileDir, session: Session) -> Joined:
    """Whose turn our enrolment is. Raises NOT_ENROLLED where none was begun here."""
    state, completion = _state(directory)
    answer = session.read_json(exchange.enrolment_turn(state["secret"], state["enrolment"]))
    return _joined(session, state, completion, answer)


def _joined(session: Session, state: Mapping[str, Any], completion: Completion, answer: Mapping[str, Any]) -> Joined:
    with exchange.told():
        turn = parse_turn(answer, TURNS)
    return Joined(state["enrolment"], code_of(session.profile, state["secret"], completion), turn)


def profile_of(what: Joining) -> Profile:
    """The profile that an invitation pins."""
    invitation = what.invitation
    return Profile(
        server=what.server or invitation.exchange,
        issuer=invitation.exchange,
        root=invitation.root,
        environment=invitation.environment,
        party=invitation.party,
        lang=what.lang,
    )


def _make_keys(ambient: Ambient, what: Joining, now: int) -> tuple[CredentialKeys, CredentialKeys | None]:
    role = what.invitation.role
    enc: list[Secret] = []
    if role in SEALED_TO and what.opens:
        key = sealing.generate_enc_key(Alg.HPKE_9)
        enc.append(Secret(Alg.HPKE_9, key.seed, now))
    person = new_credential_keys(_credential(ambient, what, "p"), CredentialKind.PERSON, now, enc=enc)
    if what.service_secret is None:
        return person, None
    # Only a hotline's service signs anything (design §5).
    seals = role is Role.HOTLINE
    return person, new_credential_keys(_credential(ambient, what, "s"), CredentialKind.SERVICE, now, seals=seals)


def _credential(ambient: Ambient, what: Joining, prefix: str) -> CredentialId:
    suffix = "".join(_ALPHABET[byte % 32] for byte in ambient.random(7))
    return CredentialId(f"{what.invitation.party}.{prefix}{suffix}")


def _own_entries(what: Joining, person: CredentialKeys, service: CredentialKeys | None, now: int) -> list[bytes]:
    entries: list[bytes] = []
    for keys in (person, *((service,) if service is not None else ())):
        access = keys.access.signing_key()
        entries.append(key_entry(what.invitation, KeyUse.ACCESS, access.public.jwk, [access], None, now))
        entries += [key_entry(what.invitation, KeyUse.SEAL, one.public.jwk, [one], None, now) for one in keys.signers()]
    return entries


def key_entry(
    invitation: Invitation,
    use: KeyUse,
    jwk: Mapping[str, str],
    signers: Sequence[SigningKey],
    possession: Digest | None,
    now: int,
) -> bytes:
    """An entry for the keys log of a key that this invitation brings (R-31)."""
    return build_key_entry(
        party=invitation.party,
        use=use,
        jwk=jwk,
        nonce=invitation.nonce,
        iat=now,
        possession=possession,
        signers=signers,
    )


def _listed(keys: CredentialKeys, kind: CredentialKind, what: Joining, now: int) -> dict[str, Any]:
    listed: dict[str, Any] = {
        "id": keys.credential.partition(".")[2],
        "kind": kind.value,
        "access": keys.access.signing_key().kid,
        "seal": [one.kid for one in keys.signers()],
        "until": now + CREDENTIAL_TERM_S,
    }
    if kind is CredentialKind.PERSON:
        # Whoever founds a party must be able to sign for its keys.
        listed |= {"keyholder": True} if what.keyholder or what.entry is not None else {}
        listed |= {"operator": what.operator} if what.operator is not None else {}
    return listed


def _enc_listed(kid: Kid, station: str, now: int) -> dict[str, Any]:
    return {"from": now, "kid": kid, "station": station, "until": now + SEALABLE_TERM_S, "use": "enc"}


def _first_statement(
    ambient: Ambient,
    what: Joining,
    person: CredentialKeys,
    credentials: Sequence[Mapping[str, Any]],
    enc: Sequence[Mapping[str, Any]],
    now: int,
) -> bytes:
    body = {
        "seq": 1,
        "prev_statement": None,
        "entry": dict(what.entry or {}),
        "credentials": [dict(one) for one in credentials],
        "enc": [dict(one) for one in enc],
    }
    return build_act(
        act_id=ambient.act_id(),
        iss=person.credential,
        aud=what.invitation.exchange,
        iat=now,
        act=Act.STATEMENT,
        ref=None,
        unit=None,
        prev=None,
        body=body,
        signers=person.signers(),
    )


def _state(directory: ProfileDir) -> tuple[dict[str, Any], Completion]:
    try:
        state = parse(read_private(directory.enrolment, max_bytes=_MAX_STATE_BYTES), max_bytes=_MAX_STATE_BYTES)
    except FileNotFoundError:
        raise ReferralError(ErrorCode.NOT_ENROLLED) from None
    return state, Completion.parse(state["completion"], code=ErrorCode.KEYSTORE_CORRUPT)


def code_of(profile: Profile, secret: str, completion: Completion) -> str:
    """The thirty digits of what this completion proposes (R-36)."""
    return enrolment_code(
        root=unb64u(profile.root),
        issuer=profile.issuer,
        party=profile.party,
        nonce=sha256_b64u(unb64u(secret)),
        keys=[parse_key_entry(text.encode()).kid for text in completion.keys],
        credentials=completion.proposal.credentials,
        enc=completion.proposal.enc,
        entry=completion.proposal.entry,
    )
