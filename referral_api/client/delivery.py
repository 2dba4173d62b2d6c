"""A referral from either side: what arrived, what it says, what became of it, and the acts that follow.

What the exchange shows of a referral is verified in view.py; an inbox is a hint where to look and is held to its form.
Opening a bundle checks once more what its sender had to check before sealing it.

Must never: act on what view.py has not verified, acknowledge a bundle that did not open, or move the cursor past what
was not yielded.

Implements: R-54, R-55, R-65, R-69, R-81, R-83, R-85; design §10.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from referral_api.client import exchange, forgetting, sealing
from referral_api.client.keystore import CredentialKeys
from referral_api.client.sealing import EncPrivateKey, OpenedBundle, OpenedDocument, TrustedSender
from referral_api.client.session import Session
from referral_api.client.view import Referral, ShownAct
from referral_api.domain import borders, lifecycle
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.terms import Term
from referral_api.domain.words import (
    DIGEST,
    PARTY_ID,
    UUID7,
    Act,
    ActId,
    CredentialId,
    Digest,
    Kid,
    Nature,
    PartyId,
    ReferralId,
    Urgency,
)
from referral_api.formats import signed
from referral_api.formats.act import build_act
from referral_api.formats.bodies import Submit, sealed_of
from referral_api.formats.bundle import Address, SealedBundle, SealRole, parse_bundle
from referral_api.formats.contents import ForwardBody, ForwardReason
from referral_api.formats.fields import LATEST_S
from referral_api.formats.referral_body import ReferralBody, parse_referral
from referral_api.formats.referral_findings import faults_of

MAX_CURSOR_CHARACTERS = 512
MAX_POLL_AFTER_S = 300
_KIND = re.compile(r"[a-z][a-z_]{0,39}")
_PATTERNS = {"act": DIGEST, "ref": UUID7, "unit": PARTY_ID, "from": PARTY_ID}
_OWN_KEYS = frozenset({SealRole.SENDER, SealRole.ARCHIVE})


_ONE_ENVELOPE = frozenset(
    {
        *(ErrorCode.NO_USABLE_KEY, ErrorCode.NOT_FOUND, ErrorCode.DECRYPT_FAILED, ErrorCode.DIGEST_MISMATCH),
        *(ErrorCode.SIGNATURE_INVALID, ErrorCode.RECIPIENT_MISMATCH, ErrorCode.BUNDLE_MALFORMED),
        *(ErrorCode.WRONG_TYPE, ErrorCode.KEY_NOT_VALID),
    }
)
"""What is wrong with one envelope of several, and says nothing about the exchange or the others."""


@dataclass(frozen=True, slots=True)
class InboxEntry:
    """One line of the inbox: a hint where to look. Nothing in it is evidence; the acts are."""

    term: Term
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
class Opened:
    """A bundle that opened and verified, the referral body in it, and what the officer must be told about it."""

    bundle: OpenedBundle
    body: ReferralBody = field(repr=False)
    brought_by: Digest
    faults: tuple[ReferralError, ...]
    """FLOOR_NOT_MET, CONSENT_GATE and ACT_SCHEMA where the sender's software let through what it had to refuse."""

    @property
    def warning(self) -> ReferralError | None:
        """The first of the faults, or None."""
        return self.faults[0] if self.faults else None


@exchange.told()
def fetch_inbox(
    session: Session, after: str | None, *, wait_s: int = 0, pending: bool = False, limit: int = exchange.INBOX_LIMIT
) -> InboxPage:
    """One page of the inbox, of at most `limit` entries. Raises MALFORMED for an answer that is none."""
    answer = session.read_json(exchange.inbox(after, wait_s=wait_s, pending=pending, limit=limit))
    lines, cursor, more, pause = (answer.get(name) for name in ("entries", "cursor", "more", "poll_after_s"))
    if not isinstance(lines, list) or len(lines) > limit or not isinstance(cursor, str) or not isinstance(more, bool):
        raise _no_page()
    if not 0 < len(cursor) <= MAX_CURSOR_CHARACTERS or type(pause) is not int:
        raise _no_page()
    if more and (cursor == after or not lines):
        raise _no_page()  # There would be no end to asking.
    return InboxPage(tuple(_entry(line) for line in lines), cursor, more, min(max(pause, 0), MAX_POLL_AFTER_S))


@exchange.told()
def open_bundle(
    session: Session, private_keys: Mapping[Kid, EncPrivateKey], referral: Referral, raw: bytes | None = None
) -> Opened:
    """Fetch and open this party's bundle of a referral, or what a colleague sealed again for this workstation (R-28).

    That it was handed out is on the record. `raw` is the bundle where it has been fetched already.

    Raises as `sealing.open_bundle`; DIGEST_MISMATCH (`bundle`: not the one that the act names; `sender`: not sealed by
    the party that signed the act; `original`: a colleague sealed another one), RECIPIENT_MISMATCH (`addressees`: sealed
    to others than the act addresses), WRONG_AUDIENCE, and INCONSISTENT where the sender saw another keys log than we
    do. A floor or consent table that was not kept is told in `Opened.faults`, because refusing to show an emergency
    would punish the wrong person.
    """
    shown, submit = referral.brought(session.profile.party), referral.submit()
    if raw is None:
        forgetting.demand_kept(referral, shown)
        raw = session.read(exchange.bundle(referral.ref))
    brought_by = shown
    try:
        opened = _open(session, private_keys, referral, shown, raw)
    except ReferralError as error:
        if error.code is not ErrorCode.NO_USABLE_KEY:
            raise
        brought_by, opened = _open_rewrapped(session, private_keys, referral, shown, raw)
    if opened.referral.contents.party != submit.act.party:
        raise ReferralError(ErrorCode.DIGEST_MISMATCH, reason="sender")
    content: Any = opened.referral.contents.body
    body = parse_referral(content.referral)
    faults: list[ReferralError] = []
    if isinstance(submit.act.body, Submit):
        if shown is submit:
            _check_addressees(opened.referral.contents.to, submit.act.body)
        abroad = crosses(session, submit.act.party, [to.unit for to in submit.act.body.to])
        faults = faults_of(body, submit.act.body, on=opened.written_at.date(), abroad=abroad)
    return Opened(opened, body, brought_by.act.digest, tuple(faults))


@exchange.told()
def open_beside(
    session: Session,
    private_keys: Mapping[Kid, EncPrivateKey],
    referral: Referral,
    shown: ShownAct,
    raw: bytes | None = None,
) -> OpenedBundle:
    """Fetch and open what travelled sealed beside a later act, a supplement also as a colleague sealed it again.

    Raises as `open_bundle`; NOT_FOUND for nothing.
    """
    if shown.act.act is Act.SUBMIT or sealed_of(shown.act.body) is None:
        raise ReferralError(ErrorCode.NOT_FOUND)
    if raw is None:
        forgetting.demand_kept(referral, shown)
        raw = session.read(exchange.sealed(referral.ref, shown.act.digest))
    try:
        opened = _open(session, private_keys, referral, shown, raw)
    except ReferralError as error:
        if error.code is not ErrorCode.NO_USABLE_KEY or shown.act.act is not Act.SUPPLEMENT:
            raise
        return _open_rewrapped(session, private_keys, referral, shown, raw)[1]
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
        asked = delivery.questions_for(session.profile.party, session.credential or "")
        lifecycle.step(act, role.role, delivery.state, open_questions=asked, code=code)
    if lifecycle.NATURE[act] is Nature.DECISION:
        return Digest(delivery.head)
    return referral.latest(unit)


def _open(
    session: Session, private_keys: Mapping[Kid, EncPrivateKey], referral: Referral, shown: ShownAct, raw: bytes
) -> OpenedBundle:
    """Open what a verified act names by digest, and hold it against that act and against what we know ourselves."""
    # What is passed on was first sealed beside the submit or a supplement.
    first = [one for one in referral.acts if one.accepted and one.act.act in (Act.SUBMIT, Act.SUPPLEMENT)]
    senders = (_find_sender(session, [shown]), _find_sender(session, first))
    opened = sealing.open_bundle(raw, private_keys, *senders, kept=session.opened)
    named = sealed_of(shown.act.body)
    if named is None or (opened.sealed.sha256, opened.sealed.size) != (named.sha256, named.size):
        raise ReferralError(ErrorCode.DIGEST_MISMATCH, reason="bundle")
    if opened.sealed.routing.ref != referral.ref or opened.sealed.routing.from_party != shown.act.party:
        raise ReferralError(ErrorCode.DIGEST_MISMATCH, reason="sender")
    for document in (opened.document, opened.original):
        if document is not None:
            _believe(session, document)
    return opened


def _open_rewrapped(
    session: Session,
    private_keys: Mapping[Kid, EncPrivateKey],
    referral: Referral,
    original: ShownAct,
    raw: bytes,
) -> tuple[ShownAct, OpenedBundle]:
    """Open what `original` brought (`raw`, sealed to none of our keys) out of a colleague's new envelope, if there is
    one for us: the act that brought that, and the envelope. The first one that holds is the answer; one that does not
    hides no other. Raises what the newest of them raised, or NO_USABLE_KEY.
    """
    first = parse_bundle(raw)
    named = sealed_of(original.act.body)
    if named is None or (first.sha256, first.size) != (named.sha256, named.size):
        raise ReferralError(ErrorCode.DIGEST_MISMATCH, reason="bundle")
    refused: ReferralError | None = None
    for shown in referral.rewraps(session.profile.party, original):
        try:
            envelope = session.read(exchange.sealed(referral.ref, shown.act.digest))
            opened = _open(session, private_keys, referral, shown, envelope)
            _check_rewrapped(opened, first)
        except ReferralError as error:
            if error.code not in _ONE_ENVELOPE:
                raise
            # Sealed for another of our workstations, it says nothing about this one.
            refused = refused if error.code is ErrorCode.NO_USABLE_KEY else refused or error
        else:
            return shown, opened
    raise refused or ReferralError(ErrorCode.NO_USABLE_KEY)


def _check_rewrapped(opened: OpenedBundle, first: SealedBundle) -> None:
    """That an envelope holds the very document that the first one does, for our own party (R-28)."""
    body = opened.document.contents.body
    if not isinstance(body, ForwardBody) or body.reason is not ForwardReason.REWRAP:
        raise ReferralError(ErrorCode.WRONG_TYPE, expected=ForwardReason.REWRAP.value)
    if any(address.role not in _OWN_KEYS for address in opened.sealed.routing.to):
        raise ReferralError(ErrorCode.RECIPIENT_MISMATCH, reason="addressees")
    # The signed original names the digest of the header that it was sealed under; a passed-on one, the first unit's.
    if first.cty == signed.BUNDLE and opened.referral.contents.routing_digest != first.routing_digest:
        raise ReferralError(ErrorCode.DIGEST_MISMATCH, reason="original")


def _believe(session: Session, document: OpenedDocument) -> None:
    """Whom its author wrote it for, and that its author and we follow the same keys log (R-26).

    An exchange that shows each party its own directory could sign in anybody's name; only parties can find that out,
    by telling each other what they saw.
    """
    if document.contents.audience != session.profile.issuer:
        raise ReferralError(ErrorCode.WRONG_AUDIENCE)
    session.believe_view(document.contents.keys_log)


def crosses(session: Session, sender: str, units: Iterable[str]) -> bool:
    """Whether any of these units is abroad for a sender. Countries never change, so the newest one tells (R-85)."""
    home = session.keymap.country_of(sender)
    return any(borders.is_abroad(session.keymap.country_of(unit), home) for unit in units)


def _check_addressees(signed_to: Sequence[Address], submit: Submit) -> None:
    sealed_to = {(one.party, one.role.value) for one in signed_to if one.role not in _OWN_KEYS}
    if sealed_to != {(to.unit, to.role.value) for to in submit.to}:
        raise ReferralError(ErrorCode.RECIPIENT_MISMATCH, reason="addressees")


def _find_sender(session: Session, taken: Sequence[ShownAct]) -> sealing.FindSender:
    """Signers as they were when one of these acts was taken, of whichever of them they stood at (R-26)."""

    def find(credential: CredentialId, party: PartyId, kids: Collection[Kid]) -> TrustedSender:
        if credential.partition(".")[0] != party:
            raise ReferralError(ErrorCode.SIGNATURE_INVALID, reason="sender")
        refused: ReferralError | None = None
        for one in taken:
            if one.act.party != party:
                continue
            try:
                seal = session.replica.seal_keys_at(credential, one.act.iat, one.at, kids)
            except ReferralError as error:
                refused = refused or error
            else:
                return TrustedSender(list(seal.keys.values()), seal.require)
        raise refused or ReferralError(ErrorCode.KEY_NOT_VALID, reason="unknown", credential=credential)

    return find


def _entry(line: Any) -> InboxEntry:
    """One line, strictly: it is printed and offered as an argument of the next command. Raises MALFORMED."""
    if not isinstance(line, Mapping):
        raise _no_page()
    for name, pattern in _PATTERNS.items():
        value = line.get(name)
        if value is not None and (not isinstance(value, str) or re.fullmatch(pattern, value) is None):
            raise _no_page()
    numbers = [line.get(name) for name in ("index", "time")]
    kinds = [line.get("kind"), *_list(line.get("answered_by"))]
    if not all(type(one) is int and 0 <= one <= 2**53 for one in numbers) or line["time"] > LATEST_S:
        raise _no_page()
    if not all(isinstance(one, str) and _KIND.fullmatch(one) for one in kinds):
        raise _no_page()
    urgency, pending = line.get("urgency"), line.get("pending")
    if urgency not in (None, *Urgency) or not isinstance(pending, bool):
        raise _no_page()
    return InboxEntry(
        term=Term.of_members(line),
        index=line["index"],
        kind=line["kind"],
        act=line.get("act"),
        ref=line.get("ref"),
        unit=line.get("unit"),
        from_party=line.get("from"),
        urgency=urgency,
        time=line["time"],
        pending=pending,
        answered_by=tuple(line["answered_by"]),
    )


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list) or len(value) > len(Act):
        raise _no_page()
    return value


def _no_page() -> ReferralError:
    return ReferralError(ErrorCode.MALFORMED, reason="members")
