"""The door's judgement on directory acts: invitations, statements, approvals, revocations, objections.

What goes on the keys log is tried on a copy of the key map first, signatures and all. So the exchange accepts exactly
what every client will accept when it replicates the log: there is no second set of rules that could differ.

Must never: write a row before everything is judged, approve anything by itself, or let an act onto the keys log without
the key entries that it lists.

Implements: docs/protocol.md R-30 to R-36; design §5.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial

from referral_api.domain import policy
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Act, CredentialKind, Role
from referral_api.formats.act import RawAct
from referral_api.formats.directory_bodies import ApproveStatement, Invite, Object, Statement
from referral_api.formats.enrolment import code_digest
from referral_api.formats.parties import EXCHANGE, SKEW_S, Approver, Credential
from referral_api.formats.statements import KeyMap
from referral_api.server.service.enrolment import (
    ENROLMENT_LIFE_S,
    Turn,
    Waiting,
    digits_of,
    read_waiting,
    settled,
    turn_of,
)
from referral_api.server.storage import enrolments
from referral_api.server.storage.database import Transaction
from referral_api.server.storage.enrolments import EnrolmentState, StoredEnrolment, StoredInvitation

INVITATION_LIFE_S = 72 * 3600


@dataclass(frozen=True, slots=True)
class Effects:
    """What an accepted directory act brings with it. Its rows are written; logs, receipts and acts are the caller's.

    `carried` are acts that are accepted with it and stored before it: a new party's statement, which waited in its
    enrolment. `keys_log` are the next leaves of the keys log, in order, the act itself (if it belongs there) last.
    `keymap` is the directory after them, to be used once the transaction has committed.
    """

    carried: tuple[RawAct, ...]
    keys_log: tuple[bytes, ...]
    keymap: KeyMap


def judge_directory(tx: Transaction, keymap: KeyMap, act: RawAct, enrolment: str | None, now: int) -> Effects:
    """Judge one directory act whose signatures the door has verified, and write its invitation and enrolment rows.

    `keymap` is the directory as of the keys log's size under its lock; it is not changed. `enrolment` is the completed
    enrolment whose keys a statement lists. Raises NOT_PERMITTED (`needs`); KEY_NOT_VALID, KEY_REUSED, KEY_UNSUITABLE,
    POSSESSION_NOT_PROVED; STATEMENT_OUT_OF_SEQUENCE; INVITE_USED; CODE_MISMATCH, CODE_VOID; ACT_SCHEMA; NOT_FOUND (no
    such enrolment). Nothing has been written when it raises.
    """
    signer = keymap.get_credential(act.iss)
    policy.demand(act.act, signer.role, signer.kind, policy.Relation.OWN)
    if not signer.holds_at(now):
        # Seven days of grace are for what a person did before the end; the directory changes only by who still holds.
        raise ReferralError(ErrorCode.KEY_NOT_VALID, reason="ended", credential=act.iss)
    if enrolment is not None and act.act is not Act.STATEMENT:
        raise ReferralError(ErrorCode.ACT_SCHEMA, where="/enrolment", reason="contradiction")
    body = act.body
    if isinstance(body, Invite):
        return _invite(tx, keymap, act, body, signer, now)
    if isinstance(body, Statement):
        return _state(tx, keymap, act, body, enrolment, now)
    if isinstance(body, ApproveStatement):
        return _approve(tx, keymap, act, body, now)
    if isinstance(body, Object):
        return _object(tx, keymap, act, body, signer, now)
    return _alone(tx, keymap, act, now)


def _try(keymap: KeyMap, leaves: Sequence[bytes], carried: tuple[RawAct, ...] = ()) -> Effects:
    """The effects of these leaves, if the fold accepts every one of them. Writes nothing."""
    grown = keymap.copy()
    for leaf in leaves:
        grown.extend(leaf)
    return Effects(carried, tuple(leaves), grown)


def _alone(tx: Transaction, keymap: KeyMap, act: RawAct, now: int) -> Effects:
    """An act that the fold judges by itself."""
    effects = _try(keymap, (act.jws.raw,))
    _settle(tx, effects.keymap, now)
    return effects


def _invite(tx: Transaction, keymap: KeyMap, act: RawAct, body: Invite, signer: Credential, now: int) -> Effects:
    _check_may_invite(keymap, body, signer)
    at = datetime.fromtimestamp(now, UTC)
    if not at < body.expires_at <= at + timedelta(seconds=INVITATION_LIFE_S + SKEW_S):
        raise ReferralError(ErrorCode.ACT_SCHEMA, where="/body/expires_at", reason="out-of-range")
    if enrolments.find_invitation(tx, body.nonce) is not None:
        raise ReferralError(ErrorCode.INVITE_USED)
    enrolments.insert_invitation(tx, invitation_row(act, body))
    return Effects((), (), keymap)


def invitation_row(act: RawAct, body: Invite) -> StoredInvitation:
    """An invitation as it is stored, which nobody has used yet."""
    return StoredInvitation(
        nonce=body.nonce,
        party=body.party.id,
        role=body.party.role.value,
        act_digest=act.digest,
        expires_at=int(body.expires_at.timestamp()),
        enrolment=None,
    )


def _check_may_invite(keymap: KeyMap, body: Invite, signer: Credential) -> None:
    """A keyholder invites into its own party, another person a person (itself, with new keys: R-32 d); a registrar
    person new parties, and those that have lost their keyholders (R-32 e); the exchange, the registrar.
    """
    wanted, role = body.party.id, body.party.role
    existing = keymap.find_party(wanted)
    if wanted == signer.party and existing is not None:
        persons_only = set(body.credential_kinds) == {CredentialKind.PERSON}
        if not (signer.keyholder or persons_only) or role is not existing.role:
            raise ReferralError(ErrorCode.NOT_PERMITTED, needs="keyholder")
        return
    if existing is not None and signer.role is Role.REGISTRAR and role is existing.role:
        if CredentialKind.PERSON not in body.credential_kinds:
            raise ReferralError(ErrorCode.ACT_SCHEMA, where="/body/credential_kinds", reason="no-keyholder")
        return
    if existing is not None or wanted == EXCHANGE or role is Role.EXCHANGE:
        raise ReferralError(ErrorCode.NOT_PERMITTED, needs="party")
    founding = role is Role.REGISTRAR and all(party.role is not Role.REGISTRAR for party in keymap.parties())
    if not (founding if signer.role is Role.EXCHANGE else signer.role is Role.REGISTRAR and role is not Role.REGISTRAR):
        raise ReferralError(ErrorCode.NOT_PERMITTED, needs="registrar")
    if founding and CredentialKind.PERSON not in body.credential_kinds:
        raise ReferralError(ErrorCode.ACT_SCHEMA, where="/body/credential_kinds", reason="no-keyholder")


def _state(tx: Transaction, keymap: KeyMap, act: RawAct, body: Statement, enrolment: str | None, now: int) -> Effects:
    """A statement of a party that exists, with the key entries of the enrolment that it takes in, if any (R-32 b)."""
    if body.entry.id != act.party and act.iat < now - SKEW_S:
        # The day to object runs from `iat` in the fold: one that lies back would shorten it.
        raise ReferralError(ErrorCode.CLOCK_SKEW, skew_s=act.iat - now)
    party = keymap.find_party(body.entry.id)
    known = () if party is None else (*party.body.credentials, *party.body.enc)
    if enrolment is None:
        effects = _try(keymap, (act.jws.raw,))
        if party is None or not set(body.kids()) <= set(party.body.kids()):
            # In the place of one that waits it would bring them in by the digits of that one's newcomer.
            raise ReferralError(ErrorCode.ACT_SCHEMA, where="/body", reason="not-as-proposed")
        _settle(tx, effects.keymap, now)
        return effects
    waiting = _get_waiting(tx, keymap, act, body, enrolment, now)
    listed = {credential.id: credential for credential in body.credentials}
    listed_enc = {key.kid: key for key in body.enc}
    proposal = waiting.proposal
    if any(listed.get(one.id) != one for one in proposal.credentials) or any(
        listed_enc.get(one.kid) != one for one in proposal.enc
    ):
        # The keyholder compared thirty digits over the proposal; a statement that says something else was not compared.
        raise ReferralError(ErrorCode.ACT_SCHEMA, where="/body/credentials", reason="not-as-proposed")
    compared = [*known, *proposal.credentials, *proposal.enc]
    if any(one not in compared for one in (*body.credentials, *body.enc)) or (
        party is not None and body.entry != party.entry
    ):
        # Keys of another enrolment, on the log and in nobody's hands, or somebody's rights: who compares these digits
        # has not seen them.
        raise ReferralError(ErrorCode.ACT_SCHEMA, where="/body", reason="not-as-proposed")
    effects = _try(keymap, (*waiting.leaves, act.jws.raw))
    _settle(tx, effects.keymap, now)
    _become(tx, waiting.stored, settled(effects.keymap, waiting.stored, proposal.kids()), now)
    return effects


def _get_waiting(tx: Transaction, keymap: KeyMap, act: RawAct, body: Statement, enrolment: str, now: int) -> Waiting:
    """The enrolment that a statement takes in: of the signer's own party, or one that a registrar person recovers."""
    stored = enrolments.find_enrolment(tx, enrolment)
    if stored is None or stored.party != body.entry.id:
        raise ReferralError(ErrorCode.NOT_FOUND)
    turn = turn_of(keymap, stored, now)
    if stored.party == act.party:
        mine = turn is Turn.KEYHOLDER
    elif keymap.get_credential(act.iss).role is Role.REGISTRAR:
        mine = stored.state is EnrolmentState.RECOVERING and turn is Turn.REGISTRAR
    else:
        raise ReferralError(ErrorCode.NOT_FOUND)
    if not mine:
        raise ReferralError(ErrorCode.CODE_VOID, reason=turn.value)
    return read_waiting(stored)


def _approve(tx: Transaction, keymap: KeyMap, act: RawAct, body: ApproveStatement, now: int) -> Effects:
    """An approval of what is on the log already, or of a new party's statement that waits in its enrolment (R-32 a)."""
    pending = keymap.find_pending(body.party)
    if pending is not None and pending.waits_for is Approver.SECOND_REGISTRAR:
        return _recover(tx, keymap, act, body, now)
    own = partial(enrolments.enrolments_of, tx, body.party)
    waiting = None if pending is not None else _find_held(own(EnrolmentState.COMPLETED), body.statement)
    if waiting is None or waiting.statement is None:
        if pending is None and _find_held(own(EnrolmentState.VOID), body.statement) is not None:
            raise ReferralError(ErrorCode.CODE_VOID, reason=Turn.VOID.value)
        return _alone(tx, keymap, act, now)
    if now >= waiting.stored.created_at + ENROLMENT_LIFE_S:
        raise ReferralError(ErrorCode.CODE_VOID, reason=Turn.EXPIRED.value)
    effects = _try(keymap, (*waiting.leaves, act.jws.raw), carried=(waiting.statement,))
    if act.iss != keymap.exchange_credential and body.code_sha256 != code_digest(digits_of(keymap, waiting)):
        raise ReferralError(ErrorCode.CODE_MISMATCH, reason="differs")
    _become(tx, waiting.stored, EnrolmentState.DONE, now)
    return effects


def _recover(tx: Transaction, keymap: KeyMap, act: RawAct, body: ApproveStatement, now: int) -> Effects:
    """The second registrar person's approval of a recovery. It has compared the digits too (R-32 e)."""
    effects = _try(keymap, (act.jws.raw,))
    for stored in enrolments.enrolments_of(tx, body.party, EnrolmentState.LISTED):
        if body.code_sha256 != code_digest(digits_of(keymap, read_waiting(stored))):
            raise ReferralError(ErrorCode.CODE_MISMATCH, reason="differs")
    _settle(tx, effects.keymap, now)
    return effects


def _object(tx: Transaction, keymap: KeyMap, act: RawAct, body: Object, signer: Credential, now: int) -> Effects:
    """An objection to what is pending on the log, or to what waits in an enrolment for whoever objects (R-32 c)."""
    if any(pending.digest == body.statement for pending in keymap.pending()):
        return _alone(tx, keymap, act, now)
    stored = _find_objectionable(tx, keymap, body.statement, signer, now)
    if stored is None:
        return _alone(tx, keymap, act, now)
    # Its keys never reach the log, so the objection has nothing to void there: it stands in the audit log alone.
    _become(tx, stored, EnrolmentState.VOID, now)
    return Effects((), (), keymap)


def _find_objectionable(
    tx: Transaction, keymap: KeyMap, named: str, signer: Credential, now: int
) -> StoredEnrolment | None:
    """The enrolment that is meant, by its invitation's nonce or its statement's digest, if it is this person's turn.

    Anybody else it is not there for.
    """
    is_registrar = signer.role is Role.REGISTRAR
    invitation = enrolments.find_invitation(tx, named)
    if invitation is not None:
        stored = None if invitation.enrolment is None else enrolments.find_enrolment(tx, invitation.enrolment)
        turn = None if stored is None else turn_of(keymap, stored, now)
        if turn is Turn.KEYHOLDER and stored is not None:
            return stored if signer.keyholder and signer.party == stored.party else None
        return stored if turn is Turn.REGISTRAR and is_registrar else None
    held = enrolments.enrolments_in(tx, EnrolmentState.COMPLETED, since=now - ENROLMENT_LIFE_S) if is_registrar else ()
    waiting = _find_held(held, named)
    return None if waiting is None else waiting.stored


def _find_held(found: Iterable[StoredEnrolment], statement: str) -> Waiting | None:
    """The one of these enrolments that holds a new party's statement of this digest."""
    for stored in found:
        if stored.body is not None and stored.body["statement"] is not None:
            waiting = read_waiting(stored)
            if waiting.statement is not None and waiting.statement.digest == statement:
                return waiting
    return None


def _settle(tx: Transaction, grown: KeyMap, now: int) -> None:
    """What a grown directory means for enrolments whose keys are on the log: in effect, still waiting, or overtaken."""
    for stored in enrolments.enrolments_in(tx, EnrolmentState.LISTED):
        state = settled(grown, stored, read_waiting(stored).proposal.kids())
        if state is not EnrolmentState.LISTED:
            _become(tx, stored, state, now)


def _become(tx: Transaction, stored: StoredEnrolment, state: EnrolmentState, now: int) -> None:
    if not enrolments.swap_enrolment(tx, stored, replace(stored, state=state, updated_at=now)):
        raise RuntimeError("an enrolment changed under the keys log's lock")
