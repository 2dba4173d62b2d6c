"""A referral from either side: what arrived, what it says, what became of it, and the acts that follow.

Whatever the exchange shows is verified before anybody sees it: every act's signatures, every receipt, and the states,
which are folded anew from the acts and must be the ones that are claimed. Opening a bundle checks once more what its
sender had to check before sealing it.

Must never: show an act that does not verify, acknowledge a bundle that did not open, or move the cursor past what was
not yielded.

Implements: R-54, R-55, R-65, R-69, R-81, R-83; design §10.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from referral_api.auditlog.evidence import Chronicle, Told, event_of, fold_told
from referral_api.client import exchange, sealing
from referral_api.client.keystore import CredentialKeys
from referral_api.client.sealing import EncPrivateKey, OpenedBundle, TrustedSender
from referral_api.client.session import Session
from referral_api.client.trust import receipt_keys
from referral_api.domain import lifecycle
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Act, ActId, CredentialId, Digest, Kid, Nature, PartyId, ReferralId, Role
from referral_api.formats.act import RawAct, build_act, parse_act, verify_act
from referral_api.formats.bodies import Submit
from referral_api.formats.parties import EXCHANGE
from referral_api.formats.receipt import Receipt, match_receipt, verify_receipt
from referral_api.formats.referral_body import ReferralBody, parse_referral
from referral_api.formats.referral_findings import check_referral

BRINGS_BUNDLE = frozenset({Act.SUBMIT, Act.SUPPLEMENT, Act.TRANSFER, Act.REWRAP})


@dataclass(frozen=True, slots=True)
class InboxEntry:
    """One line of the inbox: a hint where to look. Nothing in it is evidence; the acts are."""

    year: int
    index: int
    kind: str
    act: str | None
    ref: ReferralId | None
    unit: str | None
    from_party: str | None
    urgency: str | None
    time: int
    pending: bool
    answered_by: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class InboxPage:
    """Some lines, where to go on, and how long the exchange would rather not be asked again (seconds)."""

    entries: tuple[InboxEntry, ...]
    cursor: str
    more: bool
    poll_after_s: int


@dataclass(frozen=True, slots=True)
class ShownAct:
    """A verified act of a referral: its place in the log, the exchange's receipt, and what went sealed beside it."""

    act: RawAct
    receipt: Receipt | None
    year: int
    index: int
    sealed: Digest | None

    @property
    def at(self) -> int:
        """When the exchange took it (unix seconds)."""
        return self.receipt.payload.time if self.receipt is not None else self.act.iat


@dataclass(frozen=True, slots=True)
class Referral:
    """A referral as this party can prove it. `chronicle` holds the states; `claimed` is the exchange's own view."""

    ref: ReferralId
    relation: str
    acts: tuple[ShownAct, ...]
    chronicle: Chronicle
    claimed: dict[str, Any] = field(repr=False)

    def submit(self) -> ShownAct:
        """The act that began it. Raises TAMPERED where it is not among what was shown."""
        for shown in self.acts:
            if shown.act.act is Act.SUBMIT:
                return shown
        raise ReferralError(ErrorCode.TAMPERED, what="view", reason="no-submit")

    def brought(self, party: str) -> ShownAct:
        """The act beside which this party's bundle travelled: the newest accepted transfer to it, else the submit."""
        for shown in reversed(self.acts):
            body: Any = shown.act.body
            accepted = shown.receipt is None or shown.receipt.accepted
            if shown.act.act is Act.TRANSFER and accepted and body.to == party:
                return shown
        return self.submit()


@dataclass(frozen=True, slots=True)
class Opened:
    """A bundle that opened and verified, the referral body in it, and what the officer must be told about it."""

    bundle: OpenedBundle
    body: ReferralBody = field(repr=False)
    brought_by: Digest
    warning: ReferralError | None
    """FLOOR_NOT_MET, CONSENT_GATE or ACT_SCHEMA if the sender's software let through what it had to refuse."""


def fetch_inbox(
    session: Session, after: str | None, *, wait_s: int = 0, pending: bool = False, limit: int = exchange.INBOX_LIMIT
) -> InboxPage:
    """One page of the inbox, of at most `limit` entries. Raises MALFORMED for an answer that is none."""
    answer = session.read_json(exchange.inbox(after, wait_s=wait_s, pending=pending, limit=limit))
    try:
        entries = tuple(_entry(line) for line in answer["entries"])
        page = InboxPage(entries, answer["cursor"], bool(answer["more"]), int(answer["poll_after_s"]))
    except (LookupError, TypeError, ValueError):
        raise ReferralError(ErrorCode.MALFORMED, reason="members") from None
    if not isinstance(page.cursor, str):
        raise ReferralError(ErrorCode.MALFORMED, reason="members")
    return page


def fetch_referral(session: Session, ref: ReferralId) -> Referral:
    """A referral with everything verified that this party may see of it.

    Raises NOT_FOUND; ACT_SIGNATURE_INVALID, KEY_NOT_VALID, SIGNATURE_INVALID, RECEIPT_MISMATCH; TAMPERED where the
    acts do not fold to the states that are claimed, or something of the referral was left out.
    """
    answer = session.read_json(exchange.referral(ref))
    try:
        return _verify_view(session, ref, answer)
    except ReferralError as error:
        if error.code is not ErrorCode.KEY_NOT_VALID:
            raise
    # Somebody may have joined since the keys log was last replicated.
    session.sync_keys()
    return _verify_view(session, ref, answer)


def _verify_view(session: Session, ref: ReferralId, answer: dict[str, Any]) -> Referral:
    try:
        if answer["ref"] != ref:
            raise ReferralError(ErrorCode.TAMPERED, what="view", reason="ref")
        acts = tuple(_verify_shown(session, ref, one) for one in answer["acts"])
        told = [_told(session, one) for one in acts if one.receipt is None or one.receipt.accepted]
        told += [
            Told(int(one["year"]), int(one["index"]), retrieved_by=str(one["unit"]), at=int(one["time"]))
            for one in answer["records"]
            if one["kind"] == "retrieved"
        ]
        chronicle = fold_told(told, only=_own_unit(session))
        for claim in answer["deliveries"]:
            chronicle.verify_state(str(claim["unit"]), str(claim["state"]), str(claim["head"]))
    except (LookupError, TypeError, ValueError, AttributeError):
        raise ReferralError(ErrorCode.MALFORMED, reason="members") from None
    if {claim["unit"] for claim in answer["deliveries"]} != set(chronicle.deliveries):
        raise ReferralError(ErrorCode.TAMPERED, what="view", reason="deliveries")
    return Referral(ref, str(answer["relation"]), acts, chronicle, answer)


def open_bundle(session: Session, private_keys: Mapping[Kid, EncPrivateKey], referral: Referral) -> Opened:
    """Fetch and open this party's bundle of a referral. That it was handed out is on the record.

    Raises as `sealing.open_bundle`; DIGEST_MISMATCH (`bundle`: not the one that the act names; `sender`: not sealed by
    the party that signed the act). A floor or consent table that was not kept is told in `Opened.warning`, because
    refusing to show an emergency would punish the wrong person.
    """
    shown = referral.brought(session.profile.party)
    named: Any = shown.act.body
    named = named.bundle if isinstance(shown.act.body, Submit) else named.sealed
    raw = session.read(exchange.bundle(referral.ref))
    opened = sealing.open_bundle(raw, private_keys, _find_sender(session, shown))
    if (opened.sealed.sha256, opened.sealed.size) != (named.sha256, named.size):
        raise ReferralError(ErrorCode.DIGEST_MISMATCH, reason="bundle")
    if opened.sealed.routing.ref != referral.ref or opened.sealed.routing.from_party != shown.act.party:
        raise ReferralError(ErrorCode.DIGEST_MISMATCH, reason="sender")
    submit = referral.submit().act
    if opened.referral.contents.party != submit.party:
        raise ReferralError(ErrorCode.DIGEST_MISMATCH, reason="sender")
    content: Any = opened.referral.contents.body
    body = parse_referral(content.referral)
    warning = None
    try:
        if isinstance(submit.body, Submit):
            check_referral(body, submit.body)
    except ReferralError as fault:
        warning = fault
    return Opened(opened, body, shown.act.digest, warning)


def open_beside(
    session: Session, private_keys: Mapping[Kid, EncPrivateKey], referral: Referral, shown: ShownAct
) -> OpenedBundle:
    """Fetch and open what travelled sealed beside a later act. Raises as `open_bundle`; NOT_FOUND for nothing."""
    named: Any = getattr(shown.act.body, "sealed", None)
    if named is None:
        raise ReferralError(ErrorCode.NOT_FOUND)
    raw = session.read(exchange.sealed(referral.ref, shown.act.digest))
    opened = sealing.open_bundle(raw, private_keys, _find_sender(session, shown))
    if (opened.sealed.sha256, opened.sealed.routing.ref) != (named.sha256, referral.ref):
        raise ReferralError(ErrorCode.DIGEST_MISMATCH, reason="bundle")
    if opened.sealed.routing.from_party != shown.act.party:
        raise ReferralError(ErrorCode.DIGEST_MISMATCH, reason="sender")
    note = getattr(opened.document.contents.body, "act", None)
    if note is not None and note != shown.act.id:
        raise ReferralError(ErrorCode.DIGEST_MISMATCH, reason="act")
    return opened


def sign_act(
    session: Session,
    keys: CredentialKeys,
    referral: Referral,
    act_id: ActId,
    act: Act,
    body: Mapping[str, Any],
    unit: PartyId | None,
) -> bytes:
    """Sign a later act with the `prev` that it must have (R-65): the head for a decision, else what we saw last.

    Raises ILLEGAL_TRANSITION before anything is sent where the lifecycle does not allow it (facts as `lifecycle.step`),
    and KEY_NOT_VALID for a credential without seal keys.
    """
    if not keys.seal:
        raise ReferralError(ErrorCode.KEY_NOT_VALID, reason="no-seal-key", credential=keys.credential)
    return build_act(
        act_id=act_id,
        iss=keys.credential,
        aud=session.profile.issuer,
        iat=session.now(),
        act=act,
        ref=referral.ref,
        unit=unit,
        prev=_prev(session, referral, act, body, unit),
        body=body,
        signers=keys.signers(),
    )


def ack_body(opened: Opened) -> dict[str, Any]:
    """The body of an acknowledgement: what was opened, by digest (R-69)."""
    return {"bundle": opened.bundle.sealed.sha256, "submit": opened.brought_by, "decrypted": True}


def private_keys(keys: CredentialKeys) -> dict[Kid, EncPrivateKey]:
    """The decryption keys of a keystore, by thumbprint."""
    made = [sealing.enc_private_key(secret.alg, secret.secret) for secret in keys.enc]
    return {key.kid: key for key in made}


def _prev(session: Session, referral: Referral, act: Act, body: Mapping[str, Any], unit: PartyId | None) -> Digest:
    deliveries = referral.chronicle.deliveries
    if unit is None:
        return referral.submit().act.digest
    if unit not in deliveries:
        raise ReferralError(ErrorCode.NOT_FOUND)
    delivery = deliveries[unit]
    role = session.keymap.find_party(session.profile.party)
    if role is not None:
        code = str(body["code"]) if "code" in body else None
        lifecycle.step(act, role.role, delivery.state, open_questions=delivery.open_questions, code=code)
    if lifecycle.NATURE[act] is Nature.DECISION:
        return Digest(delivery.head)
    seen = [one for one in referral.acts if one.act.unit in (None, unit) and one.act.act is not Act.ROUTE]
    return seen[-1].act.digest


def _verify_shown(session: Session, ref: ReferralId, one: Mapping[str, Any]) -> ShownAct:
    act = parse_act(str(one["act"]).encode())
    if act.ref != ref:
        raise ReferralError(ErrorCode.TAMPERED, what="view", reason="ref")
    receipt = None
    if one["receipt"] is not None:
        receipt = verify_receipt(
            str(one["receipt"]).encode(), receipt_keys(session.keymap), issuer=session.profile.issuer
        )
        match_receipt(receipt, act=act.digest, act_id=act.id, sub=act.iss, ref=act.ref, unit=act.unit)
        if receipt.payload.log.index != one["index"]:
            raise ReferralError(ErrorCode.RECEIPT_MISMATCH, member="log")
    elif act.party != EXCHANGE:
        raise ReferralError(ErrorCode.RECEIPT_MISMATCH, member="absent")
    at = act.iat if receipt is None else receipt.payload.time
    kids = [signature.kid for signature in act.jws.signatures]
    seal = session.replica.seal_keys_at(act.iss, act.iat, at, kids)
    verify_act(act, seal.keys, required=seal.require)
    return ShownAct(act, receipt, int(one["year"]), int(one["index"]), one.get("sealed"))


def _told(session: Session, shown: ShownAct) -> Told:
    event = event_of(shown.act, _role(session, shown.act.party), shown.at)
    return Told(shown.year, shown.index, event=event, receipt=shown.receipt)


def _role(session: Session, party: str) -> Role:
    if party == EXCHANGE:
        return Role.EXCHANGE
    found = session.keymap.find_party(party)
    if found is None:
        raise ReferralError(ErrorCode.KEY_NOT_VALID, reason="unknown", party=party)
    return found.role


def _own_unit(session: Session) -> str | None:
    party = session.profile.party
    return party if _role(session, party) is Role.POLICE_UNIT else None


def _find_sender(session: Session, shown: ShownAct) -> sealing.FindSender:
    """Signers as they were when the act that brought the envelope was taken."""

    def find(credential: CredentialId, party: PartyId) -> TrustedSender:
        if credential.partition(".")[0] != party:
            raise ReferralError(ErrorCode.SIGNATURE_INVALID, reason="sender")
        seal = session.replica.seal_keys_at(credential, shown.act.iat, shown.at)
        return TrustedSender(list(seal.keys.values()), seal.require)

    return find


def _entry(line: Mapping[str, Any]) -> InboxEntry:
    answered_by: Sequence[Any] = line["answered_by"]
    return InboxEntry(
        year=int(line["year"]),
        index=int(line["index"]),
        kind=str(line["kind"]),
        act=line["act"],
        ref=line["ref"],
        unit=line["unit"],
        from_party=line["from"],
        urgency=line["urgency"],
        time=int(line["time"]),
        pending=bool(line["pending"]),
        answered_by=tuple(str(one) for one in answered_by),
    )
