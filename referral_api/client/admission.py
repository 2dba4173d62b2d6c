"""Admitting: who invites, compares digits, and signs for a newcomer's keys.

The approver computes the thirty digits from what the exchange hands over, after verifying every key entry and signature
in it, and *types* what the newcomer reads out: a swapped key, entry or invitation gives other digits. Nothing is
admitted by a click.

Must never: approve without typed digits, show an approver digits to copy, or take the exchange's word for a key.

Implements: R-32, R-34 to R-36 (the approver's side); design §5.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from referral_api.client import alarms, exchange
from referral_api.client.keystore import CredentialKeys
from referral_api.client.session import Session
from referral_api.client.trust import Confirmed
from referral_api.domain.choosing import demand_telephone
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Act, ActId, CredentialKind, Digest, KeyUse, Kid
from referral_api.formats.act import RawAct, build_act, parse_act, verify_act
from referral_api.formats.directory_bodies import CredentialEntry, Statement
from referral_api.formats.enrolment import (
    APPROVERS,
    Completion,
    Proposal,
    build_invitation,
    enrolment_code,
    next_statement,
    parse_turn,
    recovery_statement,
    verify_code,
)
from referral_api.formats.key_entry import ENCRYPTION_USES, RawKeyEntry, parse_key_entry, verify_key_entry
from referral_api.formats.keys import Alg
from referral_api.formats.parties import Approver, Party
from referral_api.formats.strict_json import sha256_b64u, unb64u

INVITATION_TERM_S = 72 * 3600
MAX_TRIES = 3
"""How often the thirty digits may be typed wrong for one enrolment before it is void (design §5)."""
_UNLISTED = frozenset({"registrar", "keyholder"})
"""Whose turn it is while an applicant's keys are on no log yet."""
_FOLLOWED = frozenset({Act.STATEMENT, Act.APPROVE_STATEMENT, Act.REVOKE})
"""What always stands on the keys log once it is accepted (R-30)."""


@dataclass(frozen=True, slots=True)
class Applicant:
    """An enrolment that waits for us, verified as far as documents go. `code` is for comparing, never for showing."""

    enrolment: str
    party: str
    turn: str
    nonce: Digest
    entries: tuple[RawKeyEntry, ...]
    proposal: Proposal
    statement: RawAct | None
    code: str = field(repr=False)


def invite(
    session: Session, keys: CredentialKeys, entry: Mapping[str, Any], kinds: Sequence[CredentialKind], act_id: ActId
) -> tuple[bytes, Confirmed]:
    """Invite a party, or into one's own: the invitation file for the newcomer, and the exchange's answer.

    Raises as `domain.choosing.demand_telephone` for a party that is not in the directory yet, before anything is
    signed. Into one that is, and has no number, people are invited all the same: somebody there must be able to act.
    """
    if session.keymap.find_party(str(entry.get("id"))) is None:
        demand_telephone(str(entry.get("id")), str(entry.get("role")), entry.get("duty_phone"))
    secret = session.ambient.random(16)
    expires_at = session.now() + INVITATION_TERM_S
    body = {
        "nonce": sha256_b64u(secret),
        "party": dict(entry),
        "credential_kinds": [kind.value for kind in kinds],
        "expires_at": expires_at,
    }
    confirmed = send_directory_act(session, keys, Act.INVITE, body, act_id)
    file = build_invitation(
        exchange=session.profile.issuer,
        root=unb64u(session.profile.root),
        party=str(entry["id"]),
        role=str(entry["role"]),
        secret=secret,
        expires_at=expires_at,
        environment=session.profile.environment,
    )
    return file, confirmed


@alarms.shown("enrolment")
@exchange.told()
def applicants(session: Session) -> list[Applicant]:
    """The enrolments that wait for this person, each verified: every key entry, and the statement of a new party.

    Raises what their verification raises: one false document in the list is an alarm, not a line to leave out.
    """
    session.sync_keys()
    answer = session.read_json(exchange.enrolments()).get("enrolments")
    if not isinstance(answer, list):
        raise ReferralError(ErrorCode.MALFORMED, reason="members")
    return [_verify_applicant(session, one) for one in answer]


def approve(session: Session, keys: CredentialKeys, applicant: Applicant, typed_code: str, act_id: ActId) -> Confirmed:
    """Sign for an applicant, once the typed digits are those computed here.

    A registrar approves a new party's statement; a keyholder writes the statement that takes the applicant in, and a
    registrar person the one that gives a party new keyholders (R-32 e). Raises CODE_MISMATCH as
    `compare_code` before anything is signed, and as `check_replaces`.
    """
    check_replaces(session, applicant)
    code_sha256 = compare_code(session, keys, applicant, typed_code)
    if applicant.statement is not None:
        body = {"party": applicant.party, "statement": applicant.statement.digest, "code_sha256": code_sha256}
        return send_directory_act(session, keys, Act.APPROVE_STATEMENT, body, act_id)
    keymap = session.sync_keys().keymap
    party = keymap.find_party(applicant.party)
    if party is not None and applicant.turn == "registrar":
        body = recovery_statement(party, applicant.proposal, keymap.find_key, keymap.owners_of(party.id))
    elif party is not None and party.id == session.profile.party:
        body = next_statement(
            party, applicant.proposal, keymap.find_key, session.now(), owners=keymap.owners_of(party.id)
        )
    else:
        raise ReferralError(ErrorCode.NOT_PERMITTED, needs="keyholder")
    return send_directory_act(session, keys, Act.STATEMENT, body, act_id, enrolment=applicant.enrolment)


def second(session: Session, keys: CredentialKeys, applicant: Applicant, typed_code: str, act_id: ActId) -> Confirmed:
    """Approve the statement that another person wrote for an applicant: as second keyholder, or second registrar.

    The statement on the keys log must list exactly what the digits cover. Raises CODE_MISMATCH as `compare_code` and
    `check_replaces`, STATEMENT_OUT_OF_SEQUENCE (`not-pending`; `objection-window` with `opens_at`: a recovery may not
    take effect yet).
    """
    check_replaces(session, applicant)
    code_sha256 = compare_code(session, keys, applicant, typed_code)
    pending = session.sync_keys().keymap.find_pending(applicant.party)
    if pending is None or pending.waits_for not in (Approver.KEYHOLDER, Approver.SECOND_REGISTRAR):
        raise ReferralError(ErrorCode.STATEMENT_OUT_OF_SEQUENCE, reason="not-pending")
    listed = {credential.id: credential for credential in pending.body.credentials}
    if any(listed.get(credential.id) != credential for credential in applicant.proposal.credentials):
        raise ReferralError(ErrorCode.CODE_MISMATCH, reason="differs")
    if not {key.kid for key in applicant.proposal.enc} <= {key.kid for key in pending.body.enc}:
        raise ReferralError(ErrorCode.CODE_MISMATCH, reason="differs")
    _check_nothing_else(session.keymap.find_party(applicant.party), pending.body, applicant.proposal)
    if session.now() < pending.opens_at:
        raise ReferralError(ErrorCode.STATEMENT_OUT_OF_SEQUENCE, reason="objection-window", opens_at=pending.opens_at)
    body = {"party": applicant.party, "statement": pending.digest, "code_sha256": code_sha256}
    return send_directory_act(session, keys, Act.APPROVE_STATEMENT, body, act_id)


def _check_nothing_else(party: Party | None, statement: Statement, proposal: Proposal) -> None:
    """That a statement changes nothing beside what was proposed, but for what it leaves out: nobody compared the rest.

    Raises CODE_MISMATCH (`more`).
    """
    before = None if party is None else party.body
    allowed = [*proposal.credentials, *proposal.enc]
    allowed += [] if before is None else [*before.credentials, *before.enc]
    if any(one not in allowed for one in (*statement.credentials, *statement.enc)) or (
        before is not None and statement.entry != before.entry
    ):
        raise ReferralError(ErrorCode.CODE_MISMATCH, reason="more")


def replaced(session: Session, applicant: Applicant) -> dict[str, CredentialEntry]:
    """The credentials whose keys the proposal exchanges for others, as they are in effect, by their short ids."""
    party = session.keymap.find_party(applicant.party)
    held = {} if party is None else {one.id: one for one in party.body.credentials}
    proposed = {one.id: one for one in applicant.proposal.credentials}
    return {name: was for name, was in held.items() if name in proposed and _kids(proposed[name]) != _kids(was)}


def check_replaces(session: Session, applicant: Applicant) -> None:
    """Whoever is there already has new keys from nobody but itself: the access key stays, and its old keys signed.

    Otherwise a newcomer would become that person, with that person's rights and name. Raises CODE_MISMATCH
    (`replaces`, `credential`), and as `sync_keys`.
    """
    keymap = session.sync_keys().keymap
    pending = keymap.find_pending(applicant.party)
    proposed = {one.id: one for one in applicant.proposal.credentials}
    for name, was in replaced(session, applicant).items():
        credential = f"{applicant.party}.{name}"
        # What it signed for is this very change, not whatever it asked for beside it.
        itself = pending is not None and pending.signer == credential and proposed[name] in pending.body.credentials
        if not itself or proposed[name].access != was.access:
            raise ReferralError(
                ErrorCode.CODE_MISMATCH, reason="replaces", party=applicant.party, credential=credential
            )


def _kids(credential: CredentialEntry) -> tuple[Kid, frozenset[Kid]]:
    return credential.access, frozenset(credential.seal)


def compare_code(session: Session, keys: CredentialKeys, applicant: Applicant, typed_code: str) -> Digest:
    """The `code_sha256` of typed digits, once they are those computed here; the third wrong ones void the enrolment.

    What is typed wrong is counted in the profile, by invitation, so that starting again gives no further try; what is
    not thirty digits is a slip, and counts for nothing. With the third, and whenever this enrolment is
    shown again after it, this person's objection is signed and sent (R-36): then it is void for everybody.

    Raises CODE_MISMATCH with `reason` (`digits`, `differs`), `party` and `left`, the tries that are left; with `left` 0
    it is void. Raises as `sync_keys` before anything else, and what sending an act raises where the objection did not
    arrive: it is sent with the next attempt.
    """
    session.sync_keys()  # Who approves by a false directory signs nothing: better an alarm before than after.
    tries = session.directory.tries(applicant.nonce)
    if tries < MAX_TRIES:
        try:
            return verify_code(typed_code, applicant.code)
        except ReferralError as error:
            reason = str(error.facts["reason"])
        if reason == "differs":
            tries = session.directory.count_try(applicant.nonce)
        if tries < MAX_TRIES:
            raise ReferralError(ErrorCode.CODE_MISMATCH, reason=reason, party=applicant.party, left=MAX_TRIES - tries)
    _void(session, keys, applicant)
    raise ReferralError(ErrorCode.CODE_MISMATCH, reason="differs", party=applicant.party, left=0)


def _void(session: Session, keys: CredentialKeys, applicant: Applicant) -> None:
    """Object to an enrolment: to its statement where that is on the keys log, else to what its invitation brought."""
    pending = session.sync_keys().keymap.find_pending(applicant.party)
    listed = pending is not None and set(applicant.proposal.kids()) <= set(pending.body.kids())
    named = pending.digest if pending is not None and listed else applicant.nonce
    body = {"statement": named, "reason": "suspected_compromise"}
    try:
        confirmed = send_directory_act(session, keys, Act.OBJECT, body, session.ambient.act_id())
    except ReferralError as error:
        if error.code is not ErrorCode.STATEMENT_OUT_OF_SEQUENCE:
            raise
        return  # Somebody else was faster, or its time is over.
    still = session.keymap.find_pending(applicant.party)
    if still is not None and still.digest == named:
        # Accepted, and kept from whoever goes by the keys log.
        raise ReferralError(ErrorCode.NOT_INCLUDED, reason="keys-log", digest=confirmed.receipt.payload.act)


def send_directory_act(
    session: Session,
    keys: CredentialKeys,
    act: Act,
    body: Mapping[str, Any],
    act_id: ActId,
    *,
    enrolment: str | None = None,
) -> Confirmed:
    """Sign a directory act, send it, verify the answer, and follow the keys log to what came of it.

    Raises the final refusal that a verified receipt states, as well as all that cannot be verified; NOT_INCLUDED
    (`reason` keys-log) where the keys log is shown without what was accepted.
    """
    raw_act = build_act(
        act_id=act_id,
        iss=keys.credential,
        aud=session.profile.issuer,
        iat=session.now(),
        act=act,
        ref=None,
        unit=None,
        prev=None,
        body=body,
        signers=keys.signers(),
    )
    confirmed = session.confirm(exchange.directory_act(act_id, raw_act, enrolment), raw_act)
    if confirmed.receipt.refusal is not None:
        raise ReferralError(confirmed.receipt.refusal, act=act.value)
    if raw_act not in session.sync_keys().leaves and act in _FOLLOWED:
        # Accepted, and kept from whoever goes by the keys log: a revocation that nobody learns of.
        raise ReferralError(ErrorCode.NOT_INCLUDED, reason="keys-log", digest=confirmed.receipt.payload.act)
    return confirmed


def _verify_applicant(session: Session, one: Mapping[str, Any]) -> Applicant:
    try:
        texts = {"keys": one["keys"], "possession": [], "proposal": one["proposal"], "statement": one["statement"]}
        nonce, party, enrolment = (str(one[name]) for name in ("nonce", "party", "id"))
        whose = parse_turn(one, APPROVERS)
    except (LookupError, TypeError, AttributeError):
        raise ReferralError(ErrorCode.MALFORMED, reason="members") from None
    completion = Completion.parse(texts, code=ErrorCode.ACT_SCHEMA)
    entries = _verify_entries(completion, party, nonce)
    known = {entry.kid: entry for entry in entries}
    proposal = completion.proposal
    _check_covered(session.keymap.find_party(party), proposal, known.keys())
    if whose in _UNLISTED and (taken := next((kid for kid in known if session.keymap.find_key(kid)), None)):
        # Possession of a key that another holds too proves nothing: what is sealed to it would be read by both.
        raise ReferralError(ErrorCode.KEY_REUSED, kid=taken)
    statement = None
    if completion.statement is not None:
        statement = _verify_first_statement(session, completion.statement, party, proposal, known)
    code = enrolment_code(
        root=unb64u(session.profile.root),
        issuer=session.profile.issuer,
        party=party,
        nonce=nonce,
        keys=known,
        credentials=proposal.credentials,
        enc=proposal.enc,
        entry=proposal.entry,
    )
    return Applicant(enrolment, party, whose, Digest(nonce), entries, proposal, statement, code)


def _check_covered(party: Party | None, proposal: Proposal, entries: Collection[Kid]) -> None:
    """Every key proposed has its entry here, or is listed already for the very credential that goes on with it.

    Another one would not be among the keys of the digits. Raises CODE_MISMATCH (`keys`).
    """
    held = {one.id: {one.access, *one.seal} for one in (party.body.credentials if party is not None else ())}
    kept = {kid for one in proposal.credentials for kid in held.get(one.id, set())}
    proposed = set(proposal.kids())
    if not set(entries) <= proposed or not proposed <= {*entries, *kept}:
        raise ReferralError(ErrorCode.CODE_MISMATCH, reason="keys")


def _verify_entries(completion: Completion, party: str, nonce: str) -> tuple[RawKeyEntry, ...]:
    entries = tuple(parse_key_entry(text.encode()) for text in completion.keys)
    seals = {entry.kid: entry.public for entry in entries if entry.use is KeyUse.SEAL}
    for entry in entries:
        if (entry.party, entry.nonce) != (party, nonce):
            raise ReferralError(ErrorCode.POSSESSION_NOT_PROVED, reason="invitation", kid=entry.kid)
        verify_key_entry(entry, seals if entry.use in ENCRYPTION_USES else {})
    return entries


def _verify_first_statement(
    session: Session, text: str, party: str, proposal: Proposal, known: Mapping[Kid, RawKeyEntry]
) -> RawAct:
    act = parse_act(text.encode())
    body = act.body
    if not isinstance(body, Statement) or (act.aud, act.party) != (session.profile.issuer, party):
        raise ReferralError(ErrorCode.ACT_SCHEMA, where="/statement", reason="contradiction")
    if (body.credentials, body.enc, body.entry) != (proposal.credentials, proposal.enc, proposal.entry):
        raise ReferralError(ErrorCode.ACT_SCHEMA, where="/statement", reason="contradiction")
    signer = next((one for one in body.credentials if body.credential_id(one) == act.iss), None)
    if signer is None:
        raise ReferralError(ErrorCode.ACT_SIGNATURE_INVALID, reason="unknown-key")
    keys = [known[kid].public for kid in signer.seal]
    stated = [Alg(alg) for alg in signer.require] if signer.require is not None else [key.alg for key in keys]
    verify_act(act, keys, required=stated)
    return act
