"""Enrolment as the exchange sees it: an invitation's secret, then keys and proofs, then somebody's turn (R-34 to R-36).

Nothing that an invitee sends is on a log: it waits in its row until a registrar or a keyholder signs for it
(service/directory.py). What is checked here is checked by the same fold that every client runs.

Must never: learn or keep an invitation's secret or a nonce in clear, admit anybody, or draw randomness of its own.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from referral_api.domain import policy
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import CredentialKind, KeyUse, Kid, PartyId, Role
from referral_api.formats.act import RawAct, parse_act
from referral_api.formats.directory_bodies import Invite, Statement
from referral_api.formats.enrolment import (
    Begin,
    Begun,
    Challenge,
    Completion,
    Proposal,
    enrolment_code,
    next_statement,
    nonce_of,
)
from referral_api.formats.key_entry import ENCRYPTION_USES, RawKeyEntry, parse_key_entry
from referral_api.formats.keys import ENCRYPTION_ALGS, parse_public_key
from referral_api.formats.parties import GRACE_S, SKEW_S, Approver
from referral_api.formats.possession import NONCE_BYTES, challenge
from referral_api.formats.statement_rules import check_statement
from referral_api.formats.statements import KeyMap
from referral_api.formats.strict_json import b64u, sha256_b64u, unb64u
from referral_api.server.storage import enrolments, queries
from referral_api.server.storage.database import Connection, Transaction
from referral_api.server.storage.enrolments import EnrolmentState, StoredEnrolment, StoredInvitation

ENROLMENT_LIFE_S = 7 * 24 * 3600
"""From its beginning to somebody's signature. A key entry or statement older than that is refused anyway (R-05)."""
MAX_BEGINNINGS = 10
"""How often one invitation may ask for fresh challenges, so that a lost answer does not burn it."""

_USE_ORDER = {KeyUse.ACCESS: 0, KeyUse.SEAL: 1, KeyUse.ENC: 2, KeyUse.BACKUP: 3}


class Turn(StrEnum):
    """Whose turn an enrolment is."""

    INVITEE = "invitee"
    EXCHANGE = "exchange"
    REGISTRAR = "registrar"
    KEYHOLDER = "keyholder"
    SECOND_KEYHOLDER = "second_keyholder"
    SECOND_REGISTRAR = "second_registrar"
    DONE = "done"
    VOID = "void"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Waiting:
    """A completed enrolment, read: its key entries in the order of the log, its proposal, a new party's statement."""

    stored: StoredEnrolment
    entries: tuple[RawKeyEntry, ...]
    proposal: Proposal
    statement: RawAct | None

    @property
    def leaves(self) -> tuple[bytes, ...]:
        """The leaves of the keys log that it would bring, in order, before whatever act lists them."""
        own = () if self.statement is None else (self.statement.jws.raw,)
        return (*(entry.jws.raw for entry in self.entries), *own)


def check_secret(conn: Connection, secret: str) -> None:
    """Whether anybody was invited with this secret: asked before the writer is troubled. Raises INVITE_UNKNOWN."""
    if enrolments.find_invitation(conn, nonce_of(secret)) is None:
        raise ReferralError(ErrorCode.INVITE_UNKNOWN)


def begin(
    tx: Transaction, keymap: KeyMap, secret: str, request: Begin, token_bytes: Callable[[int], bytes], now: int
) -> Begun:
    """Take the invitation and send a challenge for every encryption key (`POST /v1/enrolments`).

    May be repeated with other keys until it is completed; only the newest challenges count. Raises INVITE_UNKNOWN,
    INVITE_EXPIRED, INVITE_USED; KEY_UNSUITABLE, KEY_REUSED (`kid`).
    """
    invitation = _get_invitation(tx, secret, now)
    fresh = [(kid, jwk, token_bytes(NONCE_BYTES)) for kid, jwk in _fresh_encryption_keys(keymap, request).items()]
    challenges: dict[str, str] = {kid: sha256_b64u(nonce) for kid, _, nonce in fresh}
    if invitation.enrolment is None:
        enrolment = str(uuid.UUID(bytes=token_bytes(16), version=4))
        enrolments.insert_enrolment(
            tx,
            StoredEnrolment(
                id=enrolment,
                nonce=invitation.nonce,
                party=invitation.party,
                state=EnrolmentState.BEGUN,
                challenges=challenges,
                body=None,
                tries=1,
                created_at=now,
                updated_at=now,
            ),
        )
        if not enrolments.take_invitation(tx, invitation.nonce, enrolment):
            raise ReferralError(ErrorCode.INVITE_USED)
    else:
        enrolment = invitation.enrolment
        stored = enrolments.find_enrolment(tx, enrolment)
        if stored is None or stored.state is not EnrolmentState.BEGUN or stored.tries >= MAX_BEGINNINGS:
            raise ReferralError(ErrorCode.INVITE_USED)
        again = replace(stored, challenges=challenges, tries=stored.tries + 1, updated_at=now)
        if not enrolments.swap_enrolment(tx, stored, again):
            raise ReferralError(ErrorCode.INVITE_USED)
    sealed = [Challenge(kid=kid, sealed=b64u(challenge(jwk, nonce))) for kid, jwk, nonce in fresh]
    return Begun(enrolment=enrolment, challenges=tuple(sealed))


def complete(
    tx: Transaction, keymap: KeyMap, secret: str, enrolment: str, completion: Completion, now: int
) -> dict[str, Any]:
    """Take in keys, proofs and proposal (`PUT /v1/enrolments/{id}`); the answer is that of `status`.

    The same body again gets the same answer. Raises INVITE_UNKNOWN, INVITE_EXPIRED, INVITE_USED (completed otherwise);
    POSSESSION_NOT_PROVED, KEY_REUSED, KEY_UNSUITABLE, CLOCK_SKEW; ACT_SCHEMA and all else that the fold of the keys log
    would refuse.
    """
    stored = _get_enrolment(tx, secret, enrolment)
    body = completion.wire() | {"possession": []}
    if stored.body is not None and stored.body == body:
        return _told(keymap, stored, now)
    if stored.state is not EnrolmentState.BEGUN:
        raise ReferralError(ErrorCode.INVITE_USED)
    if now >= stored.created_at + ENROLMENT_LIFE_S:
        raise ReferralError(ErrorCode.INVITE_EXPIRED)
    act, invite = _get_invite(tx, stored)
    state = EnrolmentState.RECOVERING if _recovers(keymap, act, invite) else EnrolmentState.COMPLETED
    done = replace(stored, state=state, body=body, updated_at=now)
    waiting = read_waiting(done)
    _check_entries(waiting, stored, completion, now)
    _check_invited(keymap, invite, waiting, now)
    trial = keymap.copy()
    for leaf in waiting.leaves:
        trial.extend(leaf)
    if waiting.statement is None:
        _check_proposal(trial, waiting, now)
    if not enrolments.swap_enrolment(tx, stored, done):
        raise ReferralError(ErrorCode.INVITE_USED)
    return _told(keymap, done, now)


def status(conn: Connection, keymap: KeyMap, secret: str, enrolment: str, now: int) -> dict[str, Any]:
    """Whose turn it is (`GET /v1/enrolments/{id}`), for whoever holds the secret. Raises INVITE_UNKNOWN."""
    return _told(keymap, _get_enrolment(conn, secret, enrolment), now)


def pending_for(conn: Connection, keymap: KeyMap, credential: str, now: int) -> list[dict[str, Any]]:
    """The enrolments that wait for this person (`GET /v1/enrolments`): new parties (registrar), own ones (keyholder).

    Raises NOT_PERMITTED for services, KEY_NOT_VALID for a credential that is gone.
    """
    caller = keymap.get_credential(credential)
    policy.demand(policy.Read.ENROLMENTS, caller.role, caller.kind, policy.Relation.OWN)
    shown: list[dict[str, Any]] = []
    since = now - ENROLMENT_LIFE_S
    unsigned = (EnrolmentState.COMPLETED, EnrolmentState.RECOVERING)
    waiting = [one for state in unsigned for one in enrolments.enrolments_in(conn, state, since=since)]
    for stored in (*waiting, *enrolments.enrolments_in(conn, EnrolmentState.LISTED)):
        turn = turn_of(keymap, stored, now)
        own = stored.party == caller.party and caller.keyholder and turn in (Turn.KEYHOLDER, Turn.SECOND_KEYHOLDER)
        registrars = caller.role is Role.REGISTRAR and turn in (Turn.REGISTRAR, Turn.SECOND_REGISTRAR)
        if stored.body is not None and (own or registrars):
            shown.append(
                {
                    "id": stored.id,
                    "party": stored.party,
                    "nonce": stored.nonce,
                    "keys": stored.body["keys"],
                    "proposal": stored.body["proposal"],
                    "statement": stored.body["statement"],
                    "expires_at": stored.created_at + ENROLMENT_LIFE_S,
                    "turn": turn.value,
                }
            )
    return shown


_SECONDS = {
    Approver.KEYHOLDER: Turn.SECOND_KEYHOLDER,
    Approver.SECOND_REGISTRAR: Turn.SECOND_REGISTRAR,
    Approver.EXCHANGE: Turn.EXCHANGE,
    Approver.REGISTRAR: Turn.REGISTRAR,
}
"""Whose turn it is once a statement with the enrolment's keys is on the log."""


def turn_of(keymap: KeyMap, stored: StoredEnrolment, now: int) -> Turn:
    """Whose turn it is at `now`."""
    if stored.state is EnrolmentState.DONE:
        return Turn.DONE
    if stored.state is EnrolmentState.VOID:
        return Turn.VOID
    if stored.state is EnrolmentState.LISTED:
        pending = keymap.find_pending(stored.party)
        return _SECONDS[Approver.KEYHOLDER if pending is None else pending.waits_for]
    if now >= stored.created_at + ENROLMENT_LIFE_S:
        return Turn.EXPIRED
    if stored.state is EnrolmentState.BEGUN:
        return Turn.INVITEE
    if stored.state is EnrolmentState.RECOVERING:
        return Turn.REGISTRAR
    if stored.body is None or stored.body["statement"] is None:
        return Turn.KEYHOLDER
    entry = stored.body["proposal"]["entry"]
    is_registrar = entry["role"] == Role.REGISTRAR.value and keymap.find_party(stored.party) is None
    return Turn.EXCHANGE if is_registrar else Turn.REGISTRAR


def read_waiting(stored: StoredEnrolment) -> Waiting:
    """A completed enrolment's documents, parsed again from what was stored.

    Raises what their parsers raise; for a row that was completed here that cannot happen.
    """
    completion = Completion.parse(dict(stored.body or {}), code=ErrorCode.ACT_SCHEMA)
    # Signing keys first: they vouch for the encryption keys that follow them on the log.
    entries = sorted(
        (parse_key_entry(text.encode("utf-8")) for text in completion.keys), key=lambda entry: _USE_ORDER[entry.use]
    )
    statement = None if completion.statement is None else parse_act(completion.statement.encode("utf-8"))
    return Waiting(stored, tuple(entries), completion.proposal, statement)


def digits_of(keymap: KeyMap, waiting: Waiting) -> str:
    """The thirty digits of an enrolment as the exchange computes them (R-36)."""
    return enrolment_code(
        root=keymap.root,
        issuer=keymap.issuer,
        party=waiting.stored.party,
        nonce=waiting.stored.nonce,
        keys=[entry.kid for entry in waiting.entries],
        credentials=waiting.proposal.credentials,
        enc=waiting.proposal.enc,
        entry=waiting.proposal.entry,
    )


def _told(keymap: KeyMap, stored: StoredEnrolment, now: int) -> dict[str, Any]:
    return {
        "enrolment": stored.id,
        "party": stored.party,
        "turn": turn_of(keymap, stored, now).value,
        "expires_at": stored.created_at + ENROLMENT_LIFE_S,
    }


def _get_invitation(conn: Connection, secret: str, now: int) -> StoredInvitation:
    invitation = enrolments.find_invitation(conn, nonce_of(secret))
    if invitation is None:
        raise ReferralError(ErrorCode.INVITE_UNKNOWN)
    if now >= invitation.expires_at:
        raise ReferralError(ErrorCode.INVITE_EXPIRED)
    return invitation


def _get_enrolment(conn: Connection, secret: str, enrolment: str) -> StoredEnrolment:
    stored = enrolments.find_enrolment(conn, enrolment)
    # Somebody else's enrolment and none at all are the same to a caller.
    if stored is None or stored.nonce != nonce_of(secret):
        raise ReferralError(ErrorCode.INVITE_UNKNOWN)
    return stored


def _get_invite(conn: Connection, stored: StoredEnrolment) -> tuple[RawAct, Invite]:
    """The `invite` act behind an enrolment, and its body; the row holds only what is looked up by."""
    invitation = enrolments.find_invitation(conn, stored.nonce)
    act = None if invitation is None else queries.find_act_by_digest(conn, invitation.act_digest)
    if act is None:
        raise ReferralError(ErrorCode.INVITE_UNKNOWN)
    invite = parse_act(act.jws.encode("ascii"))
    if not isinstance(invite.body, Invite):
        raise TypeError("an invitation row names an act of another kind")
    return invite, invite.body


def _recovers(keymap: KeyMap, act: RawAct, invite: Invite) -> bool:
    """Whether somebody else's party was invited though it exists: a registrar person alone can have done that."""
    return act.party != invite.party.id and keymap.find_party(invite.party.id) is not None


def _fresh_encryption_keys(keymap: KeyMap, request: Begin) -> dict[Kid, dict[str, str]]:
    fresh: dict[Kid, dict[str, str]] = {}
    for jwk in request.enc:
        public = parse_public_key(jwk)
        if public.alg not in ENCRYPTION_ALGS:
            raise ReferralError(ErrorCode.KEY_UNSUITABLE, reason="use", kid=public.kid)
        if public.kid in fresh or keymap.find_key(public.kid) is not None:
            raise ReferralError(ErrorCode.KEY_REUSED, kid=public.kid)
        fresh[public.kid] = jwk
    return fresh


def _check_entries(waiting: Waiting, stored: StoredEnrolment, completion: Completion, now: int) -> None:
    """Every entry is for this invitation and recent; every encryption key has answered its own newest challenge."""
    answers = {proof.kid: sha256_b64u(unb64u(proof.nonce, exact=NONCE_BYTES)) for proof in completion.possession}
    for entry in waiting.entries:
        if entry.party != stored.party or entry.nonce != stored.nonce:
            raise _contradiction("/keys")
        if not now - GRACE_S <= entry.iat <= now + SKEW_S:
            raise ReferralError(ErrorCode.CLOCK_SKEW, skew_s=entry.iat - now)
        if entry.use in ENCRYPTION_USES:
            sent = stored.challenges.get(entry.kid)
            if sent is None or not sent == answers.get(entry.kid) == entry.possession:
                raise ReferralError(ErrorCode.POSSESSION_NOT_PROVED, reason="nonce", kid=entry.kid)
    if not {entry.kid for entry in waiting.entries} <= set(waiting.proposal.kids()):
        raise _contradiction("/keys")


def _check_invited(keymap: KeyMap, invite: Invite, waiting: Waiting, now: int) -> None:
    """The proposal stays within the invitation, and a new party's statement says what the proposal says."""
    proposal, act = waiting.proposal, waiting.statement
    for credential in proposal.credentials:
        if CredentialKind(credential.kind) not in invite.credential_kinds:
            raise ReferralError(ErrorCode.NOT_PERMITTED, needs="invitation", kind=credential.kind.value)
    is_new = keymap.find_party(invite.party.id) is None
    if is_new != (act is not None) or is_new != (proposal.entry is not None):
        raise _contradiction("/statement")
    if act is None or proposal.entry is None:
        return
    if not isinstance(act.body, Statement) or act.party != invite.party.id:
        raise _contradiction("/statement")
    if (act.body.credentials, act.body.enc, act.body.entry) != (proposal.credentials, proposal.enc, proposal.entry):
        raise _contradiction("/proposal")
    if proposal.entry.role is not invite.party.role:
        raise _contradiction("/proposal/entry/role")
    if not now - GRACE_S <= act.iat <= now + SKEW_S:
        raise ReferralError(ErrorCode.CLOCK_SKEW, skew_s=act.iat - now)


def _check_proposal(trial: KeyMap, waiting: Waiting, now: int) -> None:
    """A keyholder could sign it as it stands: better refused to the invitee now than to the keyholder tomorrow."""
    party = trial.find_party(waiting.stored.party)
    if party is None:
        raise _contradiction("/statement")
    body = next_statement(party, waiting.proposal, trial.find_key, now, owners=trial.owners_of(party.id))
    if waiting.stored.state is EnrolmentState.RECOVERING:
        # How much of the rest is lost, the registrar person says who signs; it may be all of it.
        body |= {name: waiting.proposal.wire()[name] for name in ("credentials", "enc")}
    statement = Statement.parse(body, code=ErrorCode.ACT_SCHEMA)
    check_statement(party.id, statement, party.body, trial.find_key, trial.owners_of(party.id))


def _contradiction(where: str) -> ReferralError:
    return ReferralError(ErrorCode.ACT_SCHEMA, where=where, reason="contradiction")


def settled(keymap: KeyMap, stored: StoredEnrolment, proposed: Sequence[Kid]) -> EnrolmentState:
    """What has become of an enrolment whose keys are on the log: in effect, still waiting, or overtaken."""
    party = keymap.find_party(stored.party)
    if party is not None and set(proposed) <= set(party.body.kids()):
        return EnrolmentState.DONE
    pending = keymap.find_pending(PartyId(stored.party))
    if pending is not None and party is not None and set(proposed) <= set(pending.body.kids()):
        return EnrolmentState.LISTED
    return EnrolmentState.VOID
