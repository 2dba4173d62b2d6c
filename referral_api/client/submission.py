"""Sending: from a referral body to a signed, sealed and durable act, and from there to a verified receipt.

Everything that can be wrong is found before anything is sealed: urgency floors, the consent table, agreement of the
clear codes with the body, and whether every addressed unit can be reached. What is queued is final bytes; the draft
goes with it, encrypted for this machine, in case a recipient's key is replaced before the exchange has it.

Must never: send what the checks refuse, seal to a key that the keys log does not vouch for, or say "received" before
trust.py has verified it.

Implements: R-21, R-53, R-64, R-80 to R-83, R-85; design §6, §10, §12.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from referral_api.auditlog.verification import OnProgress, unheard
from referral_api.client import exchange, resending, sealing
from referral_api.client.addressing import demand_known, escalation, own_keys, recipients_of
from referral_api.client.care import demand_care
from referral_api.client.exchange import Request
from referral_api.client.keystore import CredentialKeys
from referral_api.client.outbox import Entry, Outbox, Outgoing, Progress, pause_s
from referral_api.client.sealing import Draft, Recipient
from referral_api.client.session import Session, is_repeatable
from referral_api.client.trust import keys_origin
from referral_api.client.view import Referral
from referral_api.domain import borders, clocks
from referral_api.domain.errors import FINAL_REFUSALS, ErrorCode, ReferralError
from referral_api.domain.words import Act, ActId, DeliveryRole, PartyId, ReferralId, Role
from referral_api.formats.act import build_act, parse_act
from referral_api.formats.bodies import Submit, parse_body
from referral_api.formats.bundle import MAX_RECIPIENTS, SealedBundle, SealRole
from referral_api.formats.contents import Body, BundleBody, KeysLogView
from referral_api.formats.referral_body import ReferralBody, parse_referral
from referral_api.formats.referral_findings import check_referral
from referral_api.formats.statements import KeyMap
from referral_api.formats.strict_json import b64u, canonical, parse, sha256_b64u

_MAX_DRAFT_BYTES = 1 << 20
LONGEST_PAUSE_S = 24 * 3600
"""Longer than anything is ever postponed (an exchange may ask for a day)."""
WAIT_FOR_OTHERS_S = 60
"""How long an act waits that builds on what somebody else has yet to send again."""
RESEAL = frozenset({ErrorCode.RECIPIENT_KEY_STALE, ErrorCode.CLOCK_SKEW})
"""Refusals that leave the id unused and that new bytes from the same draft would not meet."""


@dataclass(frozen=True, slots=True)
class Ids:
    """The identifiers of one submission, drawn by the caller."""

    ref: ReferralId
    submit: ActId
    route: ActId


@dataclass(frozen=True, slots=True)
class Composition:
    """What a hotline decides about one referral, beside the referral itself."""

    body: dict[str, Any] = field(repr=False)
    action: PartyId | None
    """None of a copy, which only informs (R-86)."""
    information: tuple[PartyId, ...] = ()
    excluded: tuple[PartyId, ...] = ()
    retention_class: str = "standard"
    relation: dict[str, str] | None = None
    agreement: str | None = None
    operator: str | None = None

    @property
    def units(self) -> tuple[PartyId, ...]:
        """Every unit addressed by name, the one that acts first."""
        return self.information if self.action is None else (self.action, *self.information)

    def encode(self) -> bytes:
        """The draft, as it is encrypted for this machine."""
        return canonical(
            {
                "action": self.action,
                "agreement": self.agreement,
                "body": self.body,
                "excluded": list(self.excluded),
                "information": list(self.information),
                "operator": self.operator,
                "relation": self.relation,
                "retention_class": self.retention_class,
            }
        )


def parse_composition(raw: bytes) -> Composition:
    """Read a draft that `Composition.encode` wrote."""
    value = parse(raw, max_bytes=_MAX_DRAFT_BYTES)
    return Composition(**value | {name: tuple(value[name]) for name in ("excluded", "information")})


def compose(session: Session, keys: CredentialKeys, what: Composition, ids: Ids) -> Outgoing:
    """Check, seal and sign one referral. Nothing is sent or stored yet.

    Raises MALFORMED (`where`, `reason`) and ACT_SCHEMA for the body and the codes; FLOOR_NOT_MET (`least`);
    CONSENT_GATE (`findings`); NO_USABLE_KEY (`unit`, `instead`: escalation parties that can be reached; `reason`
    changed, `phone`: its keys are newer than what was last seen freshly cosigned); TARGET_NOT_ALLOWED (`unit`, or
    `too-many-recipients` for units that have more keys together than a bundle holds); NOT_PERMITTED (`needs`) for who
    is no hotline; KEY_NOT_VALID if this credential may not sign; NOT_WITNESSED (`unit`) for a unit whose admission no
    quorum of witnesses has cosigned yet.
    """
    now = session.now()
    own = session.keymap.find_party(session.profile.party)
    if own is None or own.role is not Role.HOTLINE:
        raise ReferralError(ErrorCode.NOT_PERMITTED, needs="hotline")
    if not keys.seal:
        raise ReferralError(ErrorCode.KEY_NOT_VALID, reason="no-seal-key", credential=keys.credential)
    body = parse_referral(what.body, on=datetime.fromtimestamp(now, UTC).date())
    keymap = session.sealing_keymap
    demand_care(session, keys, body)
    for unit in what.units:
        if keymap.find_party(unit) is None and session.keymap.find_party(unit) is not None:
            raise ReferralError(ErrorCode.NOT_WITNESSED, unit=unit)
        demand_known(session, keymap, unit, what.excluded, now, agreed=what.agreement is not None)
    to = addressees(keymap, body, what, own.entry.country, now)
    members = _submit_members(body, what, to, now)
    is_abroad = any(borders.is_abroad(keymap.country_of(unit), own.entry.country) for unit, _ in to)
    placeholder = {"bundle": {"sha256": sha256_b64u(b""), "size": 1}}
    check_referral(body, _parse_submit(members | placeholder), abroad=is_abroad)
    recipients = [one for unit, role in to for one in recipients_of(keymap, unit, SealRole(role.value), now)]
    recipients += own_keys(keymap, session.profile.party, now)
    if len(recipients) > MAX_RECIPIENTS:
        raise ReferralError(
            ErrorCode.TARGET_NOT_ALLOWED, reason="too-many-recipients", found=len(recipients), limit=MAX_RECIPIENTS
        )
    sealed = sealing.seal(
        Draft(ids.ref, keys.credential, session.profile.issuer, keys_log_view(session), BundleBody(what.body)),
        recipients=recipients,
        signers=keys.signers(),
        now=datetime.fromtimestamp(now, UTC),
    )
    members["bundle"] = {"sha256": sealed.sha256, "size": sealed.size}
    raw_act = _sign(session, keys, ids.submit, Act.SUBMIT, ids.ref, members, now)
    route = None
    if what.excluded:
        route = _sign(session, keys, ids.route, Act.ROUTE, ids.ref, {"excluded": list(what.excluded)}, now)
    act = parse_act(raw_act)
    draft = keys.store(what.encode(), _context(ids.submit))
    return Outgoing(act.id, act.act, act.ref, act.digest, raw_act, sealed.raw, route, None, draft)


def recompose(session: Session, keys: CredentialKeys, entry: Entry, ids: Ids) -> Outgoing:
    """A new submission from the draft of one that can never be taken: new act, new envelope, same referral id.

    Raises as `compose` does; NOT_FOUND where the entry has no draft; DECRYPT_FAILED for another credential's keystore.
    """
    outgoing = entry.outgoing
    if outgoing.draft is None or outgoing.ref is None:
        raise ReferralError(ErrorCode.NOT_FOUND)
    what = parse_composition(keys.restore(outgoing.draft, _context(outgoing.id)))
    return compose(session, keys, what, Ids(outgoing.ref, ids.submit, ids.route))


def addressees(
    keymap: KeyMap, body: ReferralBody, what: Composition, home: str | None, now: int
) -> list[tuple[PartyId, DeliveryRole]]:
    """Who is addressed and why: the unit to act, those to know, and for emergencies and urgent ones who steps in.

    `home` is the hotline's country (R-85). Raises TARGET_NOT_ALLOWED (`unit`, `reason`), NO_USABLE_KEY (`unit`,
    `instead`).
    """
    agreed = what.agreement is not None
    to = [(unit, DeliveryRole.ACTION if unit == what.action else DeliveryRole.INFORMATION) for unit in what.units]
    for unit, _ in to:
        party = keymap.find_party(unit)
        if party is None or party.role is not Role.POLICE_UNIT:
            raise ReferralError(ErrorCode.TARGET_NOT_ALLOWED, unit=unit, reason="not-a-unit")
        if unit in what.excluded:
            raise ReferralError(ErrorCode.TARGET_NOT_ALLOWED, unit=unit, reason="excluded")
        borders.check_addressed(unit, party.entry.country, home, what.agreement)
        if not keymap.sealable(unit, now):
            instead = [one for one in escalation(keymap, unit, home, now, agreed=agreed) if one not in what.excluded]
            raise ReferralError(ErrorCode.NO_USABLE_KEY, unit=unit, instead=instead)
    if what.action is not None and clocks.escalation_sealed(body.urgency):
        taken = {unit for unit, _ in to} | set(what.excluded)
        standing_by = escalation(keymap, what.action, home, now, agreed=agreed)
        to += [(unit, DeliveryRole.ESCALATION) for unit in standing_by if unit not in taken]
    return to


def seal_beside(
    session: Session, keys: CredentialKeys, ref: ReferralId, body: Body, recipients: Sequence[Recipient]
) -> SealedBundle:
    """Seal what travels beside a later act."""
    draft = Draft(ref, keys.credential, session.profile.issuer, keys_log_view(session), body)
    at = datetime.fromtimestamp(session.now(), UTC)
    return sealing.seal(draft, recipients=recipients, signers=keys.signers(), now=at)


def keys_log_view(session: Session) -> KeysLogView:
    """The keys log as we see it now, which every envelope states."""
    replica = session.replica
    return KeysLogView(keys_origin(replica.keymap), replica.size, b64u(replica.frontier.root()))  # type: ignore[arg-type]


def learn(outbox: Outbox, referral: Referral) -> None:
    """Note in the outbox how far a submission of ours got: whether the unit that is to act has fetched and read it."""
    for one in referral.chronicle.deliveries.values():
        if one.role is DeliveryRole.ACTION and one.retrieved_at is not None:
            outbox.learn(referral.ref, Progress.RETRIEVED)
        if one.role is DeliveryRole.ACTION and one.acknowledged_at is not None:
            outbox.learn(referral.ref, Progress.ACKNOWLEDGED)


def flush(session: Session, outbox: Outbox, *, impatient: bool = False, progress: OnProgress = unheard) -> list[Entry]:
    """Send what is due, oldest first, and return the entries as they are afterwards.

    `impatient` sends what waits for its pause to be over too: somebody has asked for it. `progress` is told of `acts`.

    One entry's refusal does not stop the others; an unreachable exchange, and anything that fails verification, does.
    Raises UNREACHABLE only as `Entry.code`; raises what trust.py raises, because an exchange that answers falsely is an
    alarm and never a retry.
    """
    done: list[Entry] = []
    due = outbox.due(session.ambient.now() + (LONGEST_PAUSE_S if impatient else 0))
    for entry in due:
        progress("acts", len(done), len(due))
        send = _send if resending.may_follow(session, entry) else _wait
        done.append(send(session, outbox, entry))
        if done[-1].code is ErrorCode.UNREACHABLE:
            break
    return done


def resend(session: Session, outbox: Outbox, ref: ReferralId, *, progress: OnProgress = unheard) -> list[Entry]:
    """Send again, byte for byte, what the exchange has accepted of a referral from here, oldest first; the entries.

    For an exchange that came back from a backup without what was sealed beside its acts (R-97). It owes each act the
    receipt that it gave before. What was purged is not sent. Raises NOT_FOUND where nothing of the referral was
    accepted from here, or nothing sealed is left of it (`reason` `purged`), RECEIPT_MISMATCH for another receipt, and
    what refuses a call or trust.py raises: what was sent until then stays sent.
    """
    known = outbox.accepted(ref)
    entries = [entry for entry in outbox.entries() if entry.outgoing.digest in known]
    if not entries:
        raise ReferralError(ErrorCode.NOT_FOUND)
    kept = [entry for entry in entries if not resending.is_purged(entry)]
    if len(kept) < len(entries) and not any(entry.outgoing.beside for entry in kept):
        raise ReferralError(ErrorCode.NOT_FOUND, reason="purged")
    entries = kept
    for number, entry in enumerate(entries):
        progress("acts", number, len(entries))
        answer = session.call(_request(entry.outgoing), exchange.judge_receipted)
        confirmed = session.believe(answer, parse_act(entry.outgoing.jws))
        if confirmed.receipt.raw != entry.receipt:
            raise ReferralError(ErrorCode.RECEIPT_MISMATCH, member="receipt")
        if entry.outgoing.route is not None:
            _believe_route(session, answer, entry.outgoing.route)
    return entries


def _wait(session: Session, outbox: Outbox, entry: Entry) -> Entry:
    """What it builds on was lost too, and whoever signed that has not sent it again yet."""
    outbox.postpone(entry.outgoing.id, ErrorCode.NOT_FOUND, session.ambient.now() + WAIT_FOR_OTHERS_S)
    return outbox.get(entry.outgoing.id)


def _send(session: Session, outbox: Outbox, entry: Entry) -> Entry:
    outgoing = entry.outgoing
    outbox.sending(outgoing.id, session.ambient.now())
    request = _request(outgoing)
    try:
        answer = session.call(request, exchange.judge_receipted)
    except ReferralError as error:
        return _without_answer(session, outbox, entry, error)
    confirmed = session.believe(answer, parse_act(outgoing.jws))
    receipt, proof = confirmed.receipt.raw, confirmed.raw_proof
    if confirmed.receipt.refusal is not None:
        return outbox.refused(outgoing.id, confirmed.receipt.refusal, receipt, proof)
    if outgoing.route is not None:
        _believe_route(session, answer, outgoing.route)
    return outbox.received(outgoing.id, receipt, proof)


def _without_answer(session: Session, outbox: Outbox, entry: Entry, error: ReferralError) -> Entry:
    outgoing = entry.outgoing
    if error.code in RESEAL:
        return outbox.needs_resealing(outgoing.id, error.code)
    transient = error.code in (ErrorCode.RATE_LIMITED, ErrorCode.WRITES_CLOSED) or is_repeatable(error) is not False
    if transient or error.facts.get("retry") in ("same", "after", "new-proof"):
        wait = int(error.facts.get("retry_after_s", pause_s(entry.attempts)))
        outbox.postpone(outgoing.id, error.code, session.ambient.now() + wait)
        return outbox.get(outgoing.id)
    if error.facts.get("retry") == "never" and error.code not in FINAL_REFUSALS:
        return outbox.refused(outgoing.id, error.code)
    # Neither an answer nor a refusal that the exchange stands by: somebody has to look.
    outbox.postpone(outgoing.id, error.code, session.ambient.now() + pause_s(entry.attempts))
    raise error


def _believe_route(session: Session, answer: Mapping[str, Any], route: bytes) -> None:
    """The route act stands or falls with its submit, so its receipt is owed too."""
    act = parse_act(route)
    told = answer.get("route")
    if not isinstance(told, dict):
        told = session.read_json(exchange.receipt(act.digest))
    if not all(isinstance(told.get(name), str) for name in ("receipt", "proof")):
        raise ReferralError(ErrorCode.RECEIPT_MISMATCH, member="route")
    if not session.believe(told, act).receipt.accepted:
        raise ReferralError(ErrorCode.RECEIPT_MISMATCH, member="route")


def _request(outgoing: Outgoing) -> Request:
    if outgoing.act is Act.SUBMIT:
        if outgoing.ref is None or outgoing.beside is None:
            raise RuntimeError("a submit has a referral and a bundle")
        return exchange.submit(outgoing.ref, outgoing.jws, outgoing.beside, outgoing.route)
    if outgoing.ref is None:
        return exchange.directory_act(outgoing.id, outgoing.jws, outgoing.enrolment)
    return exchange.later_act(outgoing.ref, outgoing.id, outgoing.jws, outgoing.beside)


def _submit_members(
    body: ReferralBody, what: Composition, to: Sequence[tuple[PartyId, DeliveryRole]], now: int
) -> dict[str, Any]:
    said = body.consent
    members: dict[str, Any] = {
        "to": [{"unit": unit, "role": role.value} for unit, role in to],
        "urgency": body.urgency.value,
        "basis": said.basis.value,
        "identity_level": said.identity_level.value,
        "retention_class": what.retention_class,
        "created_at": now,
    }
    if said.override is not None:
        members["override"] = {"reason": said.override.reason, "second_person": said.override.second_person}
    if body.phone_alert is not None:
        call = body.phone_alert
        told: dict[str, Any] = {"made": call.made, "to_unit": call.to_unit, "by": call.by}
        told |= {"at": None if call.at is None else int(call.at.timestamp())}
        members["phone_alert"] = {name: value for name, value in told.items() if value is not None}
    optional = {"relation": what.relation, "agreement": what.agreement, "operator": what.operator}
    return members | {name: value for name, value in optional.items() if value is not None}


def _parse_submit(members: Mapping[str, Any]) -> Submit:
    submit = parse_body(Act.SUBMIT, members)
    if not isinstance(submit, Submit):
        raise TypeError("the body of a submit act is a Submit")
    return submit


def _sign(
    session: Session, keys: CredentialKeys, act_id: ActId, act: Act, ref: ReferralId, body: Mapping[str, Any], now: int
) -> bytes:
    return build_act(
        act_id=act_id,
        iss=keys.credential,
        aud=session.profile.issuer,
        iat=now,
        act=act,
        ref=ref,
        unit=None,
        prev=None,
        body=body,
        signers=keys.signers(),
    )


def _context(act_id: ActId) -> bytes:
    return b"referral-1/draft\x00" + act_id.encode("ascii")
