"""`Client`: everything that a party does, as methods; the one place here that reads a clock or draws ids and nonces.

A client is opened on a profile directory and unlocked with a passphrase (person) or a key file (service). Every method
returns what was verified or raises ReferralError with a code that says whether to repeat, to correct, or to sound an
alarm. Nothing is printed. One client belongs to one thread.

Must never: hold a rule of the protocol (the modules below do), keep plaintext on disk, or return a claim of the
exchange as if it were a fact.

Implements: design §12 (SDK); R-50 to R-55 by way of client/exchange.py.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Self

import httpx2
import uuid_utils

from referral_api.auditlog.losses import LostLog
from referral_api.auditlog.pack_verification import PackReport
from referral_api.auditlog.policy import Policy
from referral_api.auditlog.report import OnProgress, Report, Source, unheard
from referral_api.client import admission, delivery, enrolment, exchange, forgetting, receipts, resending, submission
from referral_api.client.ambient import Ambient
from referral_api.client.audit import packs, sources, verifying
from referral_api.client.correcting import demand_reported
from referral_api.client.delivery import InboxEntry, InboxPage, Opened
from referral_api.client.identity import Identity
from referral_api.client.keptviews import KeptViews
from referral_api.client.keystore import CredentialKeys, Keystore
from referral_api.client.outbox import Entry, Outbox, Outgoing
from referral_api.client.pen import Pen
from referral_api.client.profile import ProfileDir
from referral_api.client.reached import inbox_lines
from referral_api.client.renewal import follow, in_effect
from referral_api.client.sealing import OpenedBundle
from referral_api.client.self_test import self_test
from referral_api.client.session import ANSWER_S, Session
from referral_api.client.submission import Composition, Ids
from referral_api.client.trust import Confirmed
from referral_api.client.view import Referral, ShownAct
from referral_api.client.watching import KeysReport
from referral_api.client.worklist import Agenda, Look, agenda_of, unlooked
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.terms import Term
from referral_api.domain.words import Act, CredentialKind, Investigation, Kid, ReferralId
from referral_api.formats.parties import Party

COSIGN_WAIT_S = 20
"""How long the exchange is asked to wait for its witnesses: they are shown a new checkpoint every five seconds."""


def ambient(clock: Callable[[], float] = time.time) -> Ambient:
    """The surroundings of a real client: this machine's clock (or another's, for tests) and its randomness."""
    return Ambient(clock, secrets.token_bytes, lambda ms: str(uuid_utils.uuid7(nanoseconds=ms * 1_000_000)))


def join(
    profile_dir: Path,
    what: enrolment.Joining,
    *,
    transport: httpx2.BaseTransport | None = None,
    clock: Callable[[], float] = time.time,
) -> enrolment.Joined:
    """Enrol this workstation: make keys, prove them, hand in the proposal; `code` is to be read out (R-36).

    Raises as `enrolment.join`. Where the answer was lost, `resume_joining` repeats the last step.
    """
    self_test()
    directory, around = ProfileDir(profile_dir), ambient(clock)
    session = Session(directory, enrolment.profile_of(what), None, around, transport)
    try:
        return enrolment.join(around, directory, what, session)
    finally:
        session.close()


class Client:
    """One credential of one party. Use as a context manager, or `close` it.

    `server` is another address of the same exchange for this client alone; what is signed names the issuer as ever.
    """

    def __init__(
        self,
        profile_dir: Path,
        keys: CredentialKeys | None = None,
        *,
        server: str | None = None,
        answer_s: float = ANSWER_S,
        transport: httpx2.BaseTransport | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.directory = ProfileDir(profile_dir)
        self.keystore = Keystore.open(self.directory)
        self.profile = replace(self.keystore.profile, server=server or self.keystore.profile.server)
        self.session = Session(self.directory, self.profile, keys, ambient(clock), transport, answer_s=answer_s)
        self._keys = keys
        self._followed = False
        self._outbox: Outbox | None = None

    @classmethod
    def person(cls, profile_dir: Path, passphrase: str, **options: Any) -> Self:
        """A person's client. Raises NOT_ENROLLED, LOCKED, KEYSTORE_CORRUPT."""
        return cls(profile_dir, Keystore.open(ProfileDir(profile_dir)).unlock_person(passphrase), **options)

    @classmethod
    def service(cls, profile_dir: Path, secret: bytes, **options: Any) -> Self:
        """A service's client. Raises NOT_ENROLLED, LOCKED, KEYSTORE_CORRUPT."""
        return cls(profile_dir, Keystore.open(ProfileDir(profile_dir)).unlock_service(secret), **options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close connections and the outbox."""
        self.session.close()
        if self._outbox is not None:
            self._outbox.close()

    @property
    def keys(self) -> CredentialKeys:
        """The unlocked keys. Raises LOCKED for a client opened without."""
        if self._keys is None:
            raise ReferralError(ErrorCode.LOCKED, reason="no-keys")
        if self._keys.coming:
            if not self._followed:  # A replica from before they came into effect would have the old ones sign.
                self._followed = True
                follow(self.session)
            self._take_keys(in_effect(self._keys, self.session.keymap))
        return self._keys

    def _take_keys(self, keys: CredentialKeys) -> None:
        self._keys = keys

    @property
    def outbox(self) -> Outbox:
        """The outbox of this profile, opened when first needed."""
        if self._outbox is None:
            self._outbox = Outbox.open(self.directory.outbox)
        return self._outbox

    @property
    def pen(self) -> Pen:
        """What signs later acts: for the modules that say which (passing, talking, recalling)."""
        return Pen(self.session, lambda: self.keys, self.outbox)

    @property
    def identity(self) -> Identity:
        """The keys of one's own party and workstation: renewing, losing, getting back."""
        return Identity(self.session, None if self._keys is None else self.keys, self._take_keys)

    # Everybody.

    def ping(self) -> dict[str, Any]:
        """Who the exchange takes us for, its version and its time. Raises TAMPERED where it takes us for another."""
        profile, answer = self.profile, self.session.read_json(exchange.ping())
        return exchange.parse_ping(answer, self.keys.credential, profile.party, profile.environment)

    def sync_keys(self) -> int:
        """Follow the keys log to its newest checkpoint; its size. INCONSISTENT, WRONG_ROOT, TAMPERED are alarms."""
        return self.session.sync_keys().size

    def parties(self) -> list[Party]:
        """The directory, from the replicated keys log and from nothing else."""
        return self.session.keymap.parties()

    def joining(self) -> enrolment.Joined:
        """Whose turn our own enrolment is."""
        return enrolment.turn(self.directory, self.session)

    def resume_joining(self) -> enrolment.Joined:
        """Hand in the proposal once more, where the answer was lost."""
        return enrolment.resume(self.directory, self.session)

    def verify_receipt(self, act: bytes, receipt: bytes, proof: bytes) -> Confirmed:
        """Believe an act, receipt and proof offline, by the replicated keys log (R-10, R-18), or raise as `verify`."""
        return receipts.verify(self.session, act, receipt, proof)

    def cosign_receipt(self, entry: Entry, *, wait_s: int = COSIGN_WAIT_S) -> Confirmed:
        """The proof of an act of ours as a quorum of witnesses has cosigned it; it takes the older one's place
        (R-101). Raises as `receipts.cosigned`.
        """
        confirmed = receipts.cosigned(self.session, entry, wait_s)
        if entry.receipt is not None:
            self.outbox.cosigned(entry.outgoing.id, entry.receipt, confirmed.raw_proof)
        return confirmed

    # A hotline.

    def submit(self, what: Composition, progress: OnProgress = unheard) -> Entry:
        """Check, seal, queue and send a referral; the entry says whether it was received, refused, or waits.

        Raises what the checks before sealing raise (`submission.compose`), and alarms of `flush`. Once this returns, or
        raises UNREACHABLE later, the referral is durable and `flush` sends it.
        """
        entry = self.queue(what)
        self.flush(progress=progress)
        return self.outbox.get(entry.outgoing.id)

    def queue(self, what: Composition) -> Entry:
        """Check, seal and queue a referral without sending it, with the newest keys that can be had.

        Where nobody answers, the replica of the keys log serves: keys that were good stay good until they end.
        """
        follow(self.session)
        around = self.session.ambient
        ids = Ids(around.referral_id(), around.act_id(), around.act_id())
        return self._put(submission.compose(self.session, self.keys, what, ids))

    def flush(self, *, impatient: bool = False, progress: OnProgress = unheard) -> list[Entry]:
        """Send what is due from the outbox, `impatient` also what is not yet; the entries as they are afterwards."""
        return submission.flush(self.session, self.outbox, impatient=impatient, progress=progress)

    def reseal(self, act_id: str) -> Entry:
        """Make a submission anew whose recipients' keys went stale, with the newest keys, and queue it."""
        self.sync_keys()
        around, entry = self.session.ambient, self.outbox.get(act_id)
        ids = Ids(ReferralId(entry.outgoing.ref or ""), around.act_id(), around.act_id())
        successor = submission.recompose(self.session, self.keys, entry, ids)
        return self.outbox.replace(act_id, successor, around.now())

    # Either side of a referral.

    def resend(self, ref: str, progress: OnProgress = unheard) -> list[Entry]:
        """Send again what an exchange that was recovered has lost of a referral. Raises as `submission.resend`."""
        return submission.resend(self.session, self.outbox, ReferralId(ref), progress=progress)

    def inbox(self, *, pending: bool = False) -> Iterator[InboxEntry]:
        """Everything in the inbox, from its beginning. The kept cursor is left alone."""
        return inbox_lines(self.session, pending=pending)

    def worklist(self, each: Look = unlooked, progress: OnProgress = unheard) -> Agenda:
        """Every delivery that concerns this party, verified, and on which of its lists each stands (R-70).

        `each` is shown every one with its referral, which is not kept. Raises as `agenda_of`.
        """
        fetch = partial(self.referral, views=self.session.views)
        return agenda_of(self.session, self.outbox, fetch, each, progress)

    def watch(self, *, wait_s: int = exchange.INBOX_WAIT_S) -> Iterator[InboxEntry | KeysReport | None]:
        """What arrives, for ever, from the kept cursor on, and what is to be said of our keys (R-102); None after each
        wait in which nothing arrived.

        The cursor advances only after every entry of a page was taken: at least once, never lost.
        """
        after, keys = self.directory.find_cursor(), self.identity.watch()
        while True:
            yield from filter(None, (keys.news(),))
            page = delivery.fetch_inbox(self.session, after, wait_s=wait_s)
            yield from page.entries or (None,)
            if page.cursor != after:
                self.keep(page)
                after = page.cursor

    def next_page(self, *, wait_s: int = 0, limit: int = exchange.INBOX_LIMIT) -> InboxPage:
        """The page after the kept cursor. `keep` moves the cursor once its entries are dealt with."""
        return delivery.fetch_inbox(self.session, self.directory.find_cursor(), wait_s=wait_s, limit=limit)

    def keep(self, page: InboxPage) -> None:
        """Move the kept cursor past a page. What it says was purged is looked at, so that it goes from here as well."""
        self.directory.keep_cursor(page.cursor)
        purged = {line.ref for line in page.entries if line.ref is not None and line.kind == Act.PURGED.value}
        look = partial(self.referral, views=self.session.views)
        forgetting.look_at(self.session, self.outbox, purged, look)

    def referral(self, ref: str, *, views: KeptViews | None = None) -> Referral:
        """A referral with every act, receipt and state verified; a submission in the outbox learns how far it got, and
        what was purged goes from this workstation too. `views`: only what is new since then is asked for.
        """
        found = forgetting.fetch(self.session, self.outbox, ReferralId(ref), views)
        if found.chronicle.sender == self.profile.party:
            submission.learn(self.outbox, found)
        return found

    def open(self, ref: str) -> Opened:
        """Fetch and open the bundle of a referral, with a person's keys. Raises as `delivery.open_bundle`."""
        return self.open_referral(self.referral(ref))

    def open_referral(self, referral: Referral) -> Opened:
        """The same for a referral that has been fetched."""
        return delivery.open_bundle(self.session, self._private_keys(), referral)

    def open_note(self, referral: Referral, shown: ShownAct) -> OpenedBundle:
        """Fetch and open what travelled sealed beside a later act."""
        return delivery.open_beside(self.session, self._private_keys(), referral, shown)

    def act(
        self,
        ref: str,
        act: Act,
        body: Mapping[str, Any],
        *,
        unit: str | None = None,
        note: str | None = None,
        case_number: str | None = None,
    ) -> Entry:
        """Sign any later act on a referral, seal a note to the other side beside it, queue it and send it.

        `unit` names the delivery: a unit's own by itself; None for a hotline's act on the whole referral. Raises
        ILLEGAL_TRANSITION before anything is sent; the entry's `code` tells of a refusal by the exchange.
        """
        return self.pen.act(self.referral(ref), act, body, unit=unit, note=note, case_number=case_number)

    def report(
        self,
        ref: str,
        code: Investigation,
        *,
        corrects: str | None = None,
        note: str | None = None,
        case_number: str | None = None,
    ) -> Entry:
        """Report one step of the investigation; `corrects` is the digest of an earlier one of ours that was wrong. The
        note and the case number travel sealed. Raises as `act`; ILLEGAL_TRANSITION (`no-such-status`, `known`).
        """
        referral, body = self.referral(ref), {"code": code.value}
        if corrects is not None:
            demand_reported(referral, self.profile.party, corrects)
            body["corrects"] = corrects
        return self.pen.act(referral, Act.STATUS, body, note=note, case_number=case_number)

    def acknowledge(self, opened: Opened) -> Entry:
        """Acknowledge a bundle that was opened: its digests are what is signed (R-69)."""
        return self.act(opened.bundle.sealed.routing.ref, Act.ACK, delivery.ack_body(opened))

    # Keyholders and registrars.

    def invite(self, entry: Mapping[str, Any], kinds: Sequence[CredentialKind]) -> bytes:
        """Invite a party by its entry, or into one's own: the invitation file. Raises as `admission.invite`."""
        return admission.invite(self.session, self.keys, entry, kinds, self.session.ambient.act_id())[0]

    def applicants(self) -> list[admission.Applicant]:
        """The enrolments that wait for us, verified."""
        return admission.applicants(self.session)

    def approve(self, applicant: admission.Applicant, typed_code: str) -> Confirmed:
        """Sign for an applicant with the digits that were read out. Raises CODE_MISMATCH."""
        act_id = self.session.ambient.act_id()
        if applicant.turn in ("second_keyholder", "second_registrar"):
            return admission.second(self.session, self.keys, applicant, typed_code, act_id)
        return admission.approve(self.session, self.keys, applicant, typed_code, act_id)

    def revoke(self, kid: Kid, reason: str, at: int) -> Confirmed:
        """Declare that a key must not be trusted any more; it takes effect at its leaf."""
        body = {"kid": kid, "reason": reason, "at": at}
        return admission.send_directory_act(self.session, self.keys, Act.REVOKE, body, self.session.ambient.act_id())

    # What the exchange has lost.

    def losses(self) -> list[resending.Loss]:
        """Every loss of a log that we have seen, and what was lost of our own acts."""
        return resending.find(self.session, self.outbox)

    def accept_loss(self, lost: LostLog) -> list[Entry]:
        """Agree to a loss, and queue what was lost of our own acts again. Raises as `resending.accept`."""
        return resending.accept(self.session, self.outbox, lost)

    # Auditors.

    def mirror(self, path: Path, progress: OnProgress = unheard) -> dict[str, int]:
        """Copy the logs and records to a directory; sizes by log."""
        with exchange.told():
            return verifying.mirror(self.session, path, verifying.terms_of(self.session), progress)

    def audit(self, path: Path | None = None, progress: OnProgress = unheard) -> Report:
        """Verify everything, from a mirror or from the exchange itself (R-95)."""
        return verifying.verify(self.session, *self.audited(path), progress)

    def audit_since(
        self, path: Path | None = None, *, trust_first: bool = False, progress: OnProgress = unheard
    ) -> Report:
        """Verify what is new since the last time. Raises as `verifying.verify_since`."""
        return verifying.verify_since(self.session, *self.audited(path), trust_first=trust_first, progress=progress)

    def audited(self, path: Path | None = None) -> tuple[Source, list[Term]]:
        """What there is to verify, of a mirror or of the exchange itself: where it is read, and for which years."""
        if path is None:
            return sources.HttpSource(self.session), verifying.terms_of(self.session)
        return sources.MirrorSource(path), verifying.terms_in(self.session, path)

    def evidence_pack(self, ref: ReferralId, policy: Policy | None = None) -> tuple[bytes, PackReport]:
        """A referral's evidence pack, verified against what is pinned here (R-89). Raises as `fetch_pack`."""
        return packs.fetch_pack(self.session, ref, policy)

    def _put(self, outgoing: Outgoing) -> Entry:
        return self.outbox.put(outgoing, self.session.ambient.now())

    def _private_keys(self) -> dict[Kid, Any]:
        return dict(delivery.private_keys(self.keys))
