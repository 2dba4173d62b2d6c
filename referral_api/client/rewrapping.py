"""Sealing open bundles again for workstations of one's own unit that came later, or whose keys did (design §6).

Whoever can open a bundle, or a supplement to it, seals what it holds, the first sender's signed document verbatim, to
the keys that it does not address: a `rewrap` act with a new envelope beside it, by way of the outbox. Which keys an
envelope addresses stands in its header, so an interrupted call goes on where it ended. Only the very key counts: a
workstation that lost its keys has new ones under the same name.

Must never: seal to a key of another party, or to one that the keys log does not vouch for; count what merely waits in
the outbox as done; or leave out a delivery without saying so.

Implements: R-28, R-66; design §5 (workstations), §6.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from referral_api.auditlog.report import OnProgress, unheard
from referral_api.client import delivery, exchange, forgetting, reached, sealing, submission
from referral_api.client.keystore import CredentialKeys
from referral_api.client.outbox import Entry, Outbox, Outgoing, Progress
from referral_api.client.sealing import Draft, OpenedBundle, Recipient
from referral_api.client.session import Session
from referral_api.client.view import Referral, ShownAct
from referral_api.domain import lifecycle
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Act, Digest, KeyUse, Kid, PartyId, ReferralId, Role
from referral_api.formats.act import parse_act
from referral_api.formats.bodies import sealed_of
from referral_api.formats.bundle import SealedBundle, SealRole, parse_bundle
from referral_api.formats.contents import ForwardBody, ForwardReason
from referral_api.formats.parties import EncKey

OPEN = lifecycle.SERVED - lifecycle.ENDED
"""States of a delivery with which somebody still has something to do: these are sealed again unasked."""
_ROLES = {KeyUse.ENC: SealRole.SENDER, KeyUse.BACKUP: SealRole.ARCHIVE}
_AWAY = frozenset({ErrorCode.UNREACHABLE, ErrorCode.UNAVAILABLE, ErrorCode.RATE_LIMITED})


class Outcome(StrEnum):
    """What became of one delivery."""

    WRAPPED = "wrapped"
    """Sealed again, and the exchange's receipt is verified."""
    HELD = "held"
    """Every workstation of the unit has an envelope already."""
    WAITS = "waits"
    """Sealed again and durable in the outbox; not yet with the exchange."""
    CLOSED = "closed"
    """Not open any more: nothing to do, unless it is named."""
    LOCKED = "locked"
    """This workstation cannot open it itself: another one of the unit must."""
    REFUSED = "refused"
    """The exchange refused the act for good, or hands out nothing; `code` says why."""


_WORST_FIRST = (Outcome.REFUSED, Outcome.LOCKED, Outcome.WAITS, Outcome.WRAPPED, Outcome.HELD)


@dataclass(frozen=True, slots=True)
class Rewrapped:
    """One delivery; where its bundle and its supplements differ, `outcome` is the worst. `stations` are those to which
    something was sealed now, by their codes (`backup`: the backup key).
    """

    ref: ReferralId
    outcome: Outcome
    stations: tuple[str, ...] = ()
    code: ErrorCode | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """Every delivery that was looked at. `unwitnessed`: workstations that no quorum has cosigned yet, so that nothing
    could be sealed to them. `ended_by`: what stopped the work before its end; what stands here is done all the same.
    """

    done: tuple[Rewrapped, ...]
    unwitnessed: tuple[str, ...] = ()
    ended_by: ReferralError | None = None

    @property
    def complete(self) -> bool:
        """Whether nothing is left to do or to try again."""
        finished = {Outcome.WRAPPED, Outcome.HELD, Outcome.CLOSED}
        return self.ended_by is None and not self.unwitnessed and all(one.outcome in finished for one in self.done)


def rewrap(
    session: Session,
    keys: CredentialKeys,
    outbox: Outbox,
    refs: Iterable[str] = (),
    progress: OnProgress = unheard,
) -> Report:
    """Seal the open deliveries of our unit (or those named, whatever their state) to the workstations without them.

    What waits in the outbox is sent first. `progress` is told of `deliveries`. Raises NOT_PERMITTED (`needs`) for who
    is no unit's, NO_USABLE_KEY for who opens nothing, NOT_WITNESSED, and every alarm of a view, an envelope or a
    receipt that does not verify: what was done until then stays done, and the next call goes on from there.
    """
    session.sync_keys()
    unit = session.keymap.find_party(session.profile.party)
    if unit is None or unit.role is not Role.POLICE_UNIT:
        raise ReferralError(ErrorCode.NOT_PERMITTED, act=Act.REWRAP.value, needs="unit")
    if not keys.enc:
        raise ReferralError(ErrorCode.NO_USABLE_KEY, unit=unit.id, instead=[])
    named = [ReferralId(ref) for ref in refs]
    done: list[Rewrapped] = []
    ended_by = None
    try:
        submission.flush(session, outbox, impatient=True)
        wanted = named or [one.ref for one in reached.heard(session) if one.brought]
        work = _Work(session, keys, outbox)
        for number, ref in enumerate(wanted):
            progress("deliveries", number, len(wanted))
            done.append(work.one(ref, asked=bool(named)))
        progress("deliveries", len(wanted), len(wanted))
    except ReferralError as error:
        if error.code not in _AWAY:
            raise
        ended_by = error
    return Report(tuple(done), _unwitnessed(session), ended_by)


def _unwitnessed(session: Session) -> tuple[str, ...]:
    """Our workstations that are in the keys log, and in nothing that a quorum of witnesses has cosigned."""
    party, now = session.profile.party, session.now()
    known = {key.kid for key in session.sealing_keymap.sealable(party, now)}
    return tuple(_place(key) for key in session.keymap.sealable(party, now) if key.kid not in known)


def _place(key: EncKey) -> str:
    return key.station or ("backup" if key.use is KeyUse.BACKUP else str(key.kid))


class _Work:
    """One run over the deliveries of our unit."""

    def __init__(self, session: Session, keys: CredentialKeys, outbox: Outbox) -> None:
        self._session = session
        self._keys = keys
        self._outbox = outbox
        self._private = delivery.private_keys(keys)
        self._party = PartyId(session.profile.party)

    def one(self, ref: ReferralId, *, asked: bool) -> Rewrapped:
        """Whatever one delivery needs: its bundle, and every supplement that the unit sees."""
        waiting = self._in_outbox(ref)
        unsent = next((one for one in waiting.values() if one.state is not Progress.NEEDS_RESEALING), None)
        if unsent is not None:
            return Rewrapped(ref, Outcome.WAITS, code=unsent.code)
        try:
            referral = forgetting.fetch(self._session, self._outbox, ref)
            state = referral.chronicle.deliveries[self._party].state
            if state not in (lifecycle.SERVED if asked else OPEN):
                return Rewrapped(ref, Outcome.CLOSED)
            texts = [referral.brought(self._party), *referral.supplements()]
            done = [self._text(referral, shown, waiting.get(shown.act.digest)) for shown in texts]
        except ReferralError as error:
            if error.code is ErrorCode.NOT_FOUND:
                return Rewrapped(ref, Outcome.REFUSED, code=error.code)
            raise
        worst = min(done, key=lambda one: _WORST_FIRST.index(one.outcome))
        return Rewrapped(
            ref, worst.outcome, tuple(dict.fromkeys(at for one in done for at in one.stations)), worst.code
        )

    def _text(self, referral: Referral, shown: ShownAct, stale: Entry | None) -> Rewrapped:
        """What one sealed text needs: the bundle, or a supplement, each of which has envelopes of its own."""
        brought = shown.act.act is not Act.SUPPLEMENT
        at = exchange.bundle(referral.ref) if brought else exchange.sealed(referral.ref, shown.act.digest)
        raw = self._session.read(at)
        missing = self._missing(referral, shown, raw)
        if not missing:
            return Rewrapped(referral.ref, Outcome.HELD)
        try:
            opened = (
                delivery.open_bundle(self._session, self._private, referral, raw).bundle
                if brought
                else delivery.open_beside(self._session, self._private, referral, shown, raw)
            )
        except ReferralError as error:
            if error.code is ErrorCode.NO_USABLE_KEY:
                return Rewrapped(referral.ref, Outcome.LOCKED, code=error.code)
            raise
        return self._send(self._seal(referral, shown, opened, missing), stale, missing)

    def _missing(self, referral: Referral, original: ShownAct, first: bytes) -> list[EncKey]:
        """The keys of ours that neither the first envelope (`first`) nor any beside a `rewrap` of it addresses."""
        sealable = self._session.sealing_keymap.sealable(self._party, self._session.now())
        missing = _unaddressed(sealable, _named(original, first))
        for shown in referral.rewraps(self._party, original):
            if not missing:
                break
            try:
                raw = self._session.read(exchange.sealed(referral.ref, shown.act.digest))
            except ReferralError as error:
                if error.code is not ErrorCode.NOT_FOUND:
                    raise
                continue  # Lost in a recovery: whoever it was for has no envelope.
            missing = _unaddressed(missing, _named(shown, raw))
        return missing

    def _seal(self, referral: Referral, shown: ShownAct, opened: OpenedBundle, missing: Sequence[EncKey]) -> Outgoing:
        session = self._session
        body = ForwardBody(ForwardReason.REWRAP, opened.document.jws.digest, opened.referral.jws.raw)
        draft = Draft(
            referral.ref,
            self._keys.credential,
            session.profile.issuer,
            submission.keys_log_view(session),
            body,
            opened.sealed.routing.attachments,
        )
        sealed = sealing.seal(
            draft,
            recipients=[Recipient(key.public, self._party, _ROLES[key.use]) for key in missing],
            signers=self._keys.signers(),
            now=datetime.fromtimestamp(session.now(), UTC),
        )
        members = {
            "original": shown.act.digest,
            "reason": "new_workstation",
            "sealed": {"sha256": sealed.sha256, "size": sealed.size},
        }
        act_id = session.ambient.act_id()
        act = parse_act(delivery.sign_act(session, self._keys, referral, act_id, Act.REWRAP, members, self._party))
        return Outgoing(act.id, act.act, act.ref, act.digest, act.jws.raw, sealed.raw)

    def _send(self, outgoing: Outgoing, stale: Entry | None, missing: Sequence[EncKey]) -> Rewrapped:
        """Durable before it is sent; in the place of one that can never be taken."""
        now = self._session.ambient.now()
        if stale is None:
            self._outbox.put(outgoing, now)
        else:
            self._outbox.replace(stale.outgoing.id, outgoing, now)
        submission.flush(self._session, self._outbox)
        entry = self._outbox.get(outgoing.id)
        outcome = {Progress.RECEIVED: Outcome.WRAPPED, Progress.REFUSED: Outcome.REFUSED}.get(
            entry.state, Outcome.WAITS
        )
        ref = ReferralId(str(outgoing.ref))
        return Rewrapped(ref, outcome, tuple(_place(key) for key in missing), entry.code)

    def _in_outbox(self, ref: ReferralId) -> dict[Digest, Entry]:
        """Our own `rewrap`s of a delivery that have no outcome yet, by the act whose text they seal again."""
        unsettled = (Progress.QUEUED, Progress.SENDING, Progress.NEEDS_RESEALING)
        found: dict[Digest, Entry] = {}
        for entry in self._outbox.entries():
            if (entry.outgoing.act, entry.outgoing.ref) == (Act.REWRAP, ref) and entry.state in unsettled:
                body: Any = parse_act(entry.outgoing.jws).body
                found[body.original] = entry
        return found


@exchange.told()
def _named(shown: ShownAct, raw: bytes) -> SealedBundle:
    """What was handed out for a verified act, if it is what that names: a forged header would pass somebody over."""
    sealed, named = parse_bundle(raw), sealed_of(shown.act.body)
    if named is None or (sealed.sha256, sealed.size) != (named.sha256, named.size):
        raise ReferralError(ErrorCode.DIGEST_MISMATCH, reason="bundle")
    return sealed


def _unaddressed(keys: Iterable[EncKey], sealed: SealedBundle) -> list[EncKey]:
    addressed: set[Kid] = {address.kid for address in sealed.routing.to}
    return [key for key in keys if key.kid not in addressed]
