"""What a client does when the exchange goes on in another term because its log has lost leaves (R-94).

The new term is entered only over its proved beginning. Whoever has seen no more of the lost log than is held checks
that the held part continues what was seen, and goes on. Whoever has seen more is stopped until a person has agreed;
then what was lost of its own acts can be sent again.

Must never: enter a following term in silence, or take a head that was seen for lost without a person's word.

Implements: R-92, R-94; docs/decisions/0022.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from referral_api.auditlog.checkpoint import Checkpoint, verify_checkpoint
from referral_api.auditlog.leaf import encode_leaf
from referral_api.auditlog.losses import LEAVES_TO_TELL, LostLog, read_lost
from referral_api.auditlog.proof import verify_proof
from referral_api.auditlog.records import leaf_of_record, parse_record
from referral_api.client import exchange, trust
from referral_api.client.exchange import Request
from referral_api.client.profile import Pin, Profile, ProfileDir
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.terms import Term, is_audit
from referral_api.formats.receipt import parse_receipt
from referral_api.formats.statements import KeyMap


class Caller(Protocol):
    """A session, as far as it is needed here."""

    directory: ProfileDir
    profile: Profile

    @property
    def keymap(self) -> KeyMap:
        """Every party and key."""

    def read_json(self, request: Request) -> dict[str, Any]:
        """The object of a successful JSON answer."""


def find_following(caller: Caller, term: Term) -> Term | None:
    """The term that the exchange says follows this one because leaves were lost; None where it says none.

    Only where to look: `fetch_lost` proves it.
    """
    try:
        answer = caller.read_json(exchange.consistency(term.log, 1, 1))
        trust.parse_consistency(answer, (1, 1))
    except ReferralError as error:
        if error.code is not ErrorCode.NOT_FOUND:
            raise
        return term.following if error.facts.get("reason") == "lost" else None
    return term.following if term.following is not None and answer.get("following") == str(term.following) else None


@exchange.told()
def fetch_lost(caller: Caller, following: Term) -> LostLog:
    """What the beginning of a term proves of the log before it. Raises as `verify_proof` and `read_lost`."""
    if following.before is None:
        raise ReferralError(ErrorCode.TAMPERED, what="log-lost", reason="absent")
    answer = caller.read_json(exchange.beginning(following))
    told = answer.get("records")
    if not isinstance(told, list) or len(told) != LEAVES_TO_TELL:
        raise ReferralError(ErrorCode.MALFORMED, reason="members")
    genesis, second = (_proved(caller.keymap, following, index, one) for index, one in enumerate(told))
    return read_lost(following, trust.issuer_origin(caller.profile.issuer, following.before.log), genesis, second)


def enter(caller: Caller, term: Term) -> None:
    """See what was lost before this term, of which nothing is pinned yet, or that nothing was. Raises as `settle`."""
    pinned = [one for one in _pinned(caller) if one < term]
    if term.number == 1:
        # Whoever comes from another year was perhaps told in its last term that leaves were lost.
        after = find_following(caller, pinned[-1]) if pinned else None
        if after is not None:
            settle(caller, fetch_lost(caller, after))
        elif pinned:
            _demand_kept(caller, pinned[-1])
        return
    for number in range(2, term.number + 1):
        settle(caller, fetch_lost(caller, Term(term.year, number)))


def _demand_kept(caller: Caller, term: Term) -> None:
    """See that the log of a year which has ended still contains what was seen of it: no receipt would ask again.

    That the new year's log continues this very end, auditors see (R-92). Raises INCONSISTENT.
    """
    pin = caller.directory.find_pin(trust.issuer_origin(caller.profile.issuer, term.log))
    if pin is None:
        return
    try:
        answer = caller.read_json(exchange.consistency(term.log, 1, 1))
    except ReferralError as error:
        if error.code is not ErrorCode.NOT_FOUND:
            raise
        raise ReferralError(ErrorCode.INCONSISTENT, reason="shrunk", pinned=pin.size, found=0) from None
    with exchange.told():
        end = verify_checkpoint(str(answer.get("checkpoint")).encode(), trust.audit_policy(caller.keymap, term))
    if end.size < pin.size:
        raise ReferralError(ErrorCode.INCONSISTENT, reason="shrunk", pinned=pin.size, found=end.size)
    trust.verify_growth(pin, end, growth(caller, term.log, pin, end))


def settle(caller: Caller, lost: LostLog) -> None:
    """Go on behind a loss, if nothing that was seen here is among what was lost, or a person has agreed.

    Raises INCONSISTENT: `lost` (`log`, `kept`, `lost`, `pinned`) until somebody agrees, `shrunk` and `forked` for good.
    """
    pin, agreed = caller.directory.find_pin(lost.origin), find_agreed(caller, lost.origin)
    kept = Pin(lost.kept, lost.kept_root)
    if agreed is not None:
        if agreed != kept:
            raise ReferralError(ErrorCode.INCONSISTENT, reason="forked", pinned=agreed.size)
        return
    if pin is not None:
        lost.admit(pin.size, pin.root)
        if pin.size > lost.kept:
            raise lost.refusal(pin.size)
        proof = []
        if 0 < pin.size < lost.kept:
            answer = caller.read_json(exchange.consistency(lost.term.log, pin.size, lost.kept))
            proof = trust.parse_consistency(answer, (pin.size, lost.kept))
        trust.verify_growth(pin, Checkpoint(lost.origin, lost.kept, lost.kept_root), proof)
    agree(caller, lost)


def growth(caller: Caller, log: str, pin: Pin | None, checkpoint: Checkpoint) -> list[bytes]:
    """The proof that `trust.verify_growth` wants. Raises as `settle` where the exchange has lost what it would take."""
    sizes = trust.growth_to_prove(pin, checkpoint)
    if sizes is None or sizes[0] == 0:
        return []
    try:
        return trust.parse_consistency(caller.read_json(exchange.consistency(log, *sizes)), sizes)
    except ReferralError as error:
        lost_at = Term.of_log(log).following if error.facts.get("reason") == "lost" and is_audit(log) else None
        if error.code is ErrorCode.NOT_FOUND and lost_at is not None:
            settle(caller, fetch_lost(caller, lost_at))
        raise


def excuse(caller: Caller, raw_receipt: bytes) -> None:
    """Raise INCONSISTENT (`lost`) where a receipt of ours stands in what a log has lost: that it is not shown, or
    another in its stead, convicts nobody then. Returns where nothing excuses it.
    """
    place = parse_receipt(raw_receipt).payload.log
    term = trust.audit_term(caller.profile.issuer, place.origin)
    after = find_following(caller, term)
    lost = None if after is None else fetch_lost(caller, after)
    if lost is not None and place.index >= lost.kept:
        pin = caller.directory.find_pin(lost.origin)
        seen = place.index + 1 if pin is None else max(pin.size, place.index + 1)
        lost.admit(seen, lost.root if pin is None or seen != pin.size else pin.root)
        raise lost.refusal(seen)


def agree(caller: Caller, lost: LostLog) -> None:
    """Remember that this log ends where it is held. Raises INCONSISTENT for a head that no consent can settle."""
    pin = caller.directory.find_pin(lost.origin)
    if pin is not None:
        lost.admit(pin.size, pin.root)
    caller.directory.advance_pin(
        _ended(lost.origin), Pin(lost.kept, lost.kept_root), seen=find_agreed(caller, lost.origin)
    )


def find_agreed(caller: Caller, origin: str) -> Pin | None:
    """Where a log ends for good, as was settled here; None for one of which nothing is known to be lost."""
    return caller.directory.find_pin(_ended(origin))


def found(caller: Caller) -> list[LostLog]:
    """Every loss of a log that is pinned here, proved; whether or not it was agreed to."""
    lost: list[LostLog] = []
    for term in _pinned(caller):
        after = find_following(caller, term)
        if after is not None:
            lost.append(fetch_lost(caller, after))
    return lost


def _ended(origin: str) -> str:
    """Under which name the end of a log is pinned; no origin holds a space."""
    return f"{origin} ended"


def _pinned(caller: Caller) -> list[Term]:
    terms: list[Term] = []
    for origin in caller.directory.pinned():
        try:
            terms.append(trust.audit_term(caller.profile.issuer, origin))
        except ReferralError:
            continue  # The keys log, or how far something is.
    return sorted(terms)


def _proved(keymap: KeyMap, term: Term, index: int, told: Mapping[str, Any]) -> bytes:
    try:
        raw, proof = told["record"].encode(), told["proof"].encode()
    except (LookupError, TypeError, AttributeError):
        raise ReferralError(ErrorCode.MALFORMED, reason="members") from None
    leaf = encode_leaf(leaf_of_record(parse_record(raw), raw))
    if verify_proof(proof, leaf, trust.audit_policy(keymap, term)).index != index:
        raise ReferralError(ErrorCode.NOT_INCLUDED, reason="index")
    return bytes(raw)
