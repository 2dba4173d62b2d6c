"""THE DOOR: every change of state of the exchange enters through `Door.accept` (design §8).

Nine steps, cheap ones first; nothing is written before step 9, and what step 9 writes is written in one transaction by
the one writer. Steps 5 to 8 are judged inside that transaction, under the log's lock, so that what they saw is still
true when it commits; UNIQUE and compare-and-swap assert 5 and 7 once more in the statements themselves. Where a step
fails, and while the writer is in trouble, an act that was taken before is looked up first: what was valid then need not
be valid now, and its receipt needs nobody to write (R-14, R-53).

Must never: commit outside the writer, answer before the commit and its checkpoint, or know HTTP.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import ACCOUNTS, DIRECTORY_ACTS, Act
from referral_api.formats import signed
from referral_api.formats.act import RawAct, parse_act, verify_act
from referral_api.formats.bundle import SealedBundle, SealRole, bundle_malformed, parse_bundle
from referral_api.formats.fields import Sealed
from referral_api.server.service.accounts import AccountDecision
from referral_api.server.service.batch import Committed
from referral_api.server.service.callers import Caller
from referral_api.server.service.decision import Accepted, Checked, DirectoryDecision, ReferralDecision, Repeat
from referral_api.server.service.exchange import Exchange
from referral_api.server.service.writer import Gathering, Writer
from referral_api.server.storage import queries

MAX_LAG_S = 7 * 24 * 3600
MAX_LEAD_S = 60

_CONTENTS: Mapping[Act, frozenset[str]] = {
    Act.SUBMIT: frozenset({signed.BUNDLE}),
    Act.SUPPLEMENT: frozenset({signed.BUNDLE, signed.FORWARD}),
    Act.TRANSFER: frozenset({signed.FORWARD}),
    Act.REWRAP: frozenset({signed.FORWARD}),
}
"""What an envelope says that it holds, by the act that it travels beside; a note everywhere else (R-20, R-28)."""


@dataclass(frozen=True, slots=True)
class Received:
    """An act that has passed steps 1 and 2, what is sealed beside it, and who carries it if not its issuer."""

    act: RawAct
    sealed: SealedBundle | None
    carrier: str | None


Answered = Callable[[Committed[Accepted] | ReferralError], None]


@dataclass(frozen=True, slots=True)
class Submission:
    """What one PUT brings: the act, what is sealed beside it, and the ids that its path promises."""

    act: bytes
    act_id: str | None = None
    ref: str | None = None
    sealed: bytes | None = None
    route: bytes | None = None
    enrolment: str | None = None


class Door:
    """One a process. Holds no state of its own."""

    def __init__(self, exchange: Exchange, writer: Writer | Gathering) -> None:
        self._exchange = exchange
        self._writer = writer

    def accept(self, submission: Submission, caller: Caller, answer: Answered, now: int) -> Committed[Accepted] | None:
        """Let one signed act change the state of the world, or refuse it.

        With None returned, `answer` is called exactly once, after the commit and its checkpoint. What is returned
        otherwise is the first answer to an act that was taken before, where a step fails now or nothing can be written.

        1 parse strictly (R-01, R-11)
        2 the issuer is the caller, or the caller carries it for its own party (R-15)
        3 signatures verify, under keys valid now (R-10, R-33)
        4 meant for this exchange, and for now (R-11)
        5 seen before? the same receipt, however late (R-14)
        6 the caller may do this here (R-60)
        7 `prev` fits: fact or decision (R-65)
        8 the lifecycle allows it (R-70)
        9 one transaction (R-92)

        Raises ReferralError for what fails before step 6; later refusals come through `answer`. A receipt exists only
        after commit: a crash before it leaves nothing, after it a retry meets step 5.
        """
        received = _read(submission, caller)  # (1), (2)
        beside = None
        if submission.route is not None:
            beside = _read(Submission(submission.route, ref=submission.ref), caller)
            _check_route(received.act, beside.act)
        if not self._writer.went_well:
            stored = self._find_answer(received, beside)  # (5)
            if isinstance(stored, Committed):
                return stored
        try:
            checked = self._check(received, now)  # (3), (4)
            route = None if beside is None else self._check(beside, now)
            self._submit(checked, route, submission.enrolment, caller, answer)  # (5) to (9), inside its transaction
        except ReferralError:
            # What was valid then need not be valid now, and whoever has a receipt gets it, whatever fails here.
            stored = self._find_answer(received, beside)
            if stored is None:
                raise
            if isinstance(stored, Committed):
                return stored
            self._writer.submit(stored, answer)
        return None

    def _submit(
        self, checked: Checked, route: Checked | None, enrolment: str | None, caller: Caller, answer: Answered
    ) -> None:
        if checked.act.act in DIRECTORY_ACTS:
            self._writer.submit(DirectoryDecision(self._exchange, checked, enrolment), answer)
        elif checked.act.act in ACCOUNTS:
            self._writer.submit(AccountDecision(self._exchange, checked, caller), answer)
        else:
            self._writer.submit(ReferralDecision(self._exchange, checked, caller, route), answer)

    def _find_answer(self, received: Received, beside: Received | None) -> Committed[Accepted] | Repeat | None:
        """The first receipt of this very act, which is the writer's to give where it is committed and not yet signed.

        None for an act that is new here, or whose id had another payload.
        """
        with self._exchange.database.read() as conn:
            seen = queries.find_act(conn, received.act.iss, received.act.id)
            if seen is None or seen.digest != received.act.digest:
                return None
            repeat = Repeat.find(conn, seen, None if beside is None else beside.act)
            try:
                return repeat.answer(conn, self._exchange)
            except ReferralError as error:
                if error.code is ErrorCode.CHECKPOINT_PENDING:
                    return repeat
                raise

    def _check(self, received: Received, now: int) -> Checked:
        raw_act, sealed = received.act, received.sealed
        keymap = self._exchange.keymap  # (3)
        kids = [signature.kid for signature in raw_act.jws.signatures]
        keys = keymap.seal_keys(raw_act.iss, raw_act.iat, now, kids=kids)
        verify_act(raw_act, keys.keys, required=keys.require)
        if raw_act.aud != self._exchange.issuer:  # (4)
            raise ReferralError(ErrorCode.WRONG_AUDIENCE)
        if not now - MAX_LAG_S <= raw_act.iat <= now + MAX_LEAD_S:
            raise ReferralError(ErrorCode.CLOCK_SKEW, skew_s=raw_act.iat - now)
        if sealed is not None:
            check_recipients(self._exchange, raw_act, sealed, now)
        return Checked(raw_act, received.carrier, sealed, keymap.size)


def check_recipients(exchange: Exchange, act: RawAct, sealed: SealedBundle, now: int) -> None:
    """R-64: every recipient key is its party's own and sealable now; every addressed unit is among the recipients.

    Raises RECIPIENT_KEY_STALE with `party` and `kid` (fetch the keys log and seal again) or RECIPIENT_MISMATCH.
    """
    keymap = exchange.keymap
    sealable: dict[str, set[str]] = {}
    for address in sealed.routing.to:
        if address.party not in sealable:
            sealable[address.party] = {key.kid for key in keymap.usable_enc(address.party, now)}
        if address.kid not in sealable[address.party]:
            raise ReferralError(ErrorCode.RECIPIENT_KEY_STALE, party=address.party, kid=address.kid)
    body: Any = act.body
    others = [address for address in sealed.routing.to if address.role not in (SealRole.SENDER, SealRole.ARCHIVE)]
    fits = True
    if act.act is Act.SUBMIT:
        fits = {(to.unit, to.role.value) for to in body.to} == {(one.party, one.role.value) for one in others}
    elif act.act is Act.TRANSFER:
        fits = {one.party for one in others} == {body.to}
    if not fits:
        raise ReferralError(ErrorCode.RECIPIENT_MISMATCH, reason="addressees")


def _read(submission: Submission, caller: Caller) -> Received:
    """Steps 1 and 2: a well-formed act with what it names beside it, of the caller's own party."""
    raw_act = parse_act(submission.act)  # (1)
    _check_path(raw_act, submission)
    sealed = _check_sealed(raw_act, submission.sealed)
    if raw_act.party != caller.party:  # (2)
        raise ReferralError(ErrorCode.ISSUER_MISMATCH)
    return Received(raw_act, sealed, None if raw_act.iss == caller.credential else caller.credential)


def _check_path(act: RawAct, submission: Submission) -> None:
    """The path's promise: an act is stored under the ids that it was signed with."""
    if submission.act_id is not None and act.id != submission.act_id:
        raise ReferralError(ErrorCode.PATH_MISMATCH, member="id")
    if act.ref != submission.ref:
        raise ReferralError(ErrorCode.PATH_MISMATCH, member="ref")


def _check_sealed(act: RawAct, text: bytes | None) -> SealedBundle | None:
    """What the body names by digest is there, whole and from the same party; what it does not name is not."""
    named: Sealed | None = getattr(act.body, "bundle" if act.act is Act.SUBMIT else "sealed", None)
    if named is None:
        if text is not None:
            raise ReferralError(ErrorCode.DIGEST_MISMATCH, reason="not-named")
        return None
    if text is None:
        raise ReferralError(ErrorCode.DIGEST_MISMATCH, reason="absent")
    sealed = parse_bundle(text)
    if sealed.cty not in _CONTENTS.get(act.act, {signed.NOTE}):
        raise ReferralError(ErrorCode.WRONG_TYPE, act=act.act.value, found=sealed.cty)
    if (sealed.sha256, sealed.size) != (named.sha256, named.size):
        raise ReferralError(ErrorCode.DIGEST_MISMATCH, reason="differs")
    if sealed.routing.attachments:
        # There is no call yet that would take their parts: the unit would be promised what never comes.
        raise bundle_malformed("attachments")
    if sealed.routing.from_party != act.party or sealed.routing.ref != act.ref:
        raise ReferralError(ErrorCode.RECIPIENT_MISMATCH, reason="routing")
    return sealed


def _check_route(submit: RawAct, route: RawAct) -> None:
    """A route act travels beside a submit and nowhere else, concerns all of it, and follows nothing (R-65)."""
    if submit.act is not Act.SUBMIT or route.act is not Act.ROUTE:
        raise ReferralError(ErrorCode.PATH_MISMATCH, member="route")
    for member in ("unit", "prev"):
        if getattr(route, member) is not None:
            raise ReferralError(ErrorCode.ACT_SCHEMA, act=route.act.value, where=f"/{member}", reason="contradiction")
