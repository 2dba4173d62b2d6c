"""Passing on: a unit that proposes another one; a hotline that calls in who stands by, or sends the same referral anew
to a second unit.

A transfer is sealed before it is asked for: only who holds the plaintext can seal it to the new unit, and what the
hotline signed travels inside, verbatim. Re-addressing is a new referral made out of the hotline's own copy, with the
relation `replaces`; whom the first one kept out stays out, and every check before sealing runs again.

Must never: seal to a unit that is known to be kept out or has said that it has a conflict, carry an agreement into
another country, take a consent that was withdrawn for one that stands, or say
of a unit that it was telephoned when another one was.

Implements: R-28, R-64, R-73, R-78, R-110; design §6 (transfer), §10.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from referral_api.client import addressing, carrying, consented, delivery, lineage, outage, recalling, submission
from referral_api.client.outbox import Entry, Progress
from referral_api.client.pen import Pen
from referral_api.client.renewal import follow
from referral_api.client.session import Session
from referral_api.client.submission import Composition
from referral_api.client.view import Referral
from referral_api.domain import borders, fold, lifecycle
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.policy import Relation
from referral_api.domain.words import Act, ActId, DeliveryRole, PartyId, ReferralId, Role, State, Urgency
from referral_api.formats.bundle import SealedBundle, SealRole
from referral_api.formats.contents import ForwardBody, ForwardReason

LEFT_OPEN = frozenset({State.DECLINED, State.EXPIRED, State.RECEIPT_FAILED, State.WITHDRAWN})
"""States in which a referral has reached nobody who acts on it: it may be addressed anew."""
IN_HAND = (lifecycle.UNREAD | lifecycle.WORKING | {State.WITHDRAWAL_NOTIFIED}) - LEFT_OPEN
"""States in which a unit acts on it, or may yet."""
REPLACES = "replaces"


def transfer(pen: Pen, referral: Referral, to: str, reason: str) -> Entry:
    """Propose another unit, with the referral sealed to it already (R-73). What follows is the hotline's to say.

    Raises ILLEGAL_TRANSITION, TARGET_NOT_ALLOWED (`reason` itself, has-it, held-for-it, not-a-unit), NO_USABLE_KEY
    (`unit`, `instead`), NOT_WITNESSED, and whatever opening the bundle raises; all before anything is sealed.
    """
    session, unit = pen.session, pen.session.profile.party
    own = referral.chronicle.deliveries.get(PartyId(unit))
    if own is None:
        raise ReferralError(ErrorCode.NOT_PERMITTED, act=Act.TRANSFER.value, needs="unit")
    lifecycle.step(Act.TRANSFER, Role.POLICE_UNIT, own.state)
    if to == unit:
        raise ReferralError(ErrorCode.TARGET_NOT_ALLOWED, unit=to, reason="itself")
    _demand_new(session, referral, to)
    follow(session)
    _demand_reachable(session, to, referral.submit().act.party, instead_of=unit)
    opened = delivery.open_bundle(session, delivery.private_keys(pen.keys()), referral)
    held = opened.bundle
    body = ForwardBody(ForwardReason.TRANSFER, held.document.jws.digest, held.referral.jws.raw)

    def sealed(_: ActId) -> SealedBundle:
        recipients = addressing.recipients_as(session, to, SealRole(own.role.value), session.now())
        return submission.seal_beside(session, pen.keys(), referral.ref, body, recipients)

    return pen.enclose(referral, Act.TRANSFER, {"to": to, "reason": reason}, unit, sealed)


def _demand_new(session: Session, referral: Referral, to: str) -> None:
    """Refuse a unit that has a delivery already, as far as the proposing one can see: whom the submit addresses, and
    whose acts are shown (R-62). An excluded unit is among neither, so nothing is told of exclusions (R-64).

    Raises TARGET_NOT_ALLOWED (`held-for-it` of an escalation party, which may not know of it yet, else `has-it`;
    `phone` of that unit, `line` of the hotline).
    """
    submitted = referral.submit().act
    body: Any = submitted.body
    addressed = {one.unit: one.role for one in body.to}
    shown = {one.act.unit for one in referral.acts if one.accepted}
    if to not in addressed and to not in shown:
        return
    is_held = addressed.get(PartyId(to)) is DeliveryRole.ESCALATION and to not in shown
    phone, line = (duty_phone(session, one) for one in (to, submitted.party))
    reason = "held-for-it" if is_held else "has-it"
    raise ReferralError(ErrorCode.TARGET_NOT_ALLOWED, unit=to, ref=referral.ref, reason=reason, phone=phone, line=line)


def duty_phone(session: Session, party: str) -> str:
    """The duty number of a party by the keys log; a dash where none is known."""
    found = session.keymap.find_party(party)
    return "—" if found is None else found.entry.duty_phone or "—"


def _demand_reachable(session: Session, unit: str, sender: str, *, instead_of: str) -> None:
    """Refuse what cannot be sealed to, before anything is: no unit, not cosigned yet, or without a usable key.

    Raises TARGET_NOT_ALLOWED (`not-a-unit`; `cross-border` for one abroad as the `sender` sees it), NOT_WITNESSED,
    NO_USABLE_KEY (`unit`, `instead`: who can be reached in its place, apart from `instead_of`).
    """
    keymap, now = session.sealing_keymap, session.now()
    party = keymap.find_party(unit)
    if party is None and session.keymap.find_party(unit) is not None:
        raise ReferralError(ErrorCode.NOT_WITNESSED, unit=unit)
    if party is None or party.role is not Role.POLICE_UNIT:
        raise ReferralError(ErrorCode.TARGET_NOT_ALLOWED, unit=unit, reason="not-a-unit")
    home = keymap.country_of(sender)
    borders.check_passed_on(unit, party.entry.country, home)
    addressing.demand_known(session, keymap, unit, (instead_of,), now)
    if not keymap.sealable(unit, now):
        instead = [one for one in addressing.escalation(keymap, unit, home, now) if one != instead_of]
        raise ReferralError(ErrorCode.NO_USABLE_KEY, unit=unit, instead=instead)


def standing_by(referral: Referral) -> list[PartyId]:
    """The units for which the referral is held, in the order in which the clocks would release it to them; none where
    what is held has gone with the purge of the others.
    """
    deliveries = referral.chronicle.deliveries
    held = [] if fold.is_spent(deliveries) else [one for one in deliveries.values() if one.state is State.HELD]
    return [PartyId(one.unit) for one in sorted(held, key=lambda one: one.rank)]


def check_call_in(referral: Referral, unit: str | None, *, despite_withdrawal: bool = False) -> PartyId:
    """Whom the hotline would call in before the clocks do: `unit`, or the first of those that stand by.

    Raises NOT_PERMITTED for who did not send it; ILLEGAL_TRANSITION (`taken` while another unit has accepted it;
    `nobody-stands-by`, or `nothing-held` where that unit does not, with `units`: who does); CONSENT_GATE
    (`call-in-despite-withdrawal`) where the person no longer agrees, unless the hotline says that it means it.
    """
    if referral.relation is not Relation.SENDER:
        raise ReferralError(ErrorCode.NOT_PERMITTED, act=Act.RELEASED.value, needs="hotline")
    waiting = standing_by(referral)
    if not waiting:
        why = "nobody-stands-by"
        raise ReferralError(ErrorCode.ILLEGAL_TRANSITION, act=Act.RELEASED.value, reason=why, ref=referral.ref)
    if unit is not None and unit not in waiting:
        facts = {"ref": referral.ref, "unit": unit, "units": ", ".join(waiting)}
        raise ReferralError(ErrorCode.ILLEGAL_TRANSITION, act=Act.RELEASED.value, reason="nothing-held", **facts)
    called = waiting[0] if unit is None else PartyId(unit)
    if fold.is_accepted(referral.chronicle.deliveries):
        raise ReferralError(ErrorCode.ILLEGAL_TRANSITION, act=Act.RELEASED.value, reason="taken")
    if consented.is_withdrawn(referral) and not despite_withdrawal:
        facts = {"ref": referral.ref, "unit": called, "reason": "call-in-despite-withdrawal"}
        raise ReferralError(ErrorCode.CONSENT_GATE, act=Act.RELEASED.value, **facts)
    return called


def call_in(pen: Pen, referral: Referral, unit: str | None = None, *, despite_withdrawal: bool = False) -> Entry:
    """Release at once what is held for a unit that stands by, because the hotline will not wait for the clocks (R-78).

    Its own clocks run from then on. Raises as `check_call_in`, before anything is sent.
    """
    called = check_call_in(referral, unit, despite_withdrawal=despite_withdrawal)
    return pen.act(referral, Act.RELEASED, {"reason": lifecycle.BY_HAND}, unit=called)


def proposed_to(referral: Referral, digest: str) -> str | None:
    """The unit that a transfer proposes, by the digest of that act; None for any other act."""
    for shown in referral.acts:
        if shown.act.digest == digest and shown.act.act is Act.TRANSFER:
            body: Any = shown.act.body
            return str(body.to)
    return None


@dataclass(frozen=True, slots=True)
class Approved:
    """What was agreed to. `told` is the notice of a withdrawn consent to the unit that it brought in; where one is
    `owed` and there is none, repeating `recalling.withdraw_consent` tells that unit.
    """

    entry: Entry
    owed: bool = False
    told: Entry | None = None


def approve(
    pen: Pen, referral: Referral, unit: str | None, answers: str, *, despite_withdrawal: bool = False
) -> Approved:
    """Agree to a proposed transfer or a requested purge, and tell the new unit at once of a consent that is withdrawn.

    Raises as `check_approval` before anything is sent.
    """
    target = proposed_to(referral, answers)
    check_approval(pen, referral, target, despite_withdrawal=despite_withdrawal)
    entry = pen.act(referral, Act.APPROVE, {"answers": answers}, unit=unit)
    owed = target is not None and consented.is_withdrawn(referral) and entry.state is not Progress.REFUSED
    if not owed or entry.receipt is None:
        return Approved(entry, owed)
    try:
        told = pen.act(pen.fetch(referral.ref), Act.CONSENT_WITHDRAWN, {}, unit=target)
    except ReferralError as error:
        if not outage.is_passing(error):
            raise
        return Approved(entry, owed)
    return Approved(entry, owed, told)


def check_approval(pen: Pen, referral: Referral, target: str | None, *, despite_withdrawal: bool = False) -> None:
    """Refuse to let a `target` in that must not have it; None, of a purge, is let pass.

    Raises TARGET_NOT_ALLOWED (`excluded`) for whom this referral keeps out, or anything that it comes from;
    CONSENT_GATE (`transfer-despite-withdrawal`) where the person no longer agrees, unless the hotline says that it
    means it: police go on by public prosecution, and for a child whatever was said. Also as `lineage.line_of`.
    """
    if target is None:
        return
    # A unit may have declared its conflict on an earlier referral after this one was made out of it.
    if target in lineage.kept_out(*lineage.line_of(pen.fetch, referral)):
        raise ReferralError(ErrorCode.TARGET_NOT_ALLOWED, unit=target, reason="excluded")
    if consented.is_withdrawn(referral) and not despite_withdrawal:
        raise ReferralError(
            ErrorCode.CONSENT_GATE,
            act=Act.APPROVE.value,
            ref=referral.ref,
            unit=target,
            reason="transfer-despite-withdrawal",
        )


@dataclass(frozen=True, slots=True)
class Declined:
    """A unit that declined, why, and whom it suggests in its place."""

    unit: PartyId
    reason: str
    suggested: PartyId | None


def declined_by(referral: Referral) -> list[Declined]:
    """Every unit that declined and has not taken it up again, oldest first, also where its delivery is closed since."""
    found = []
    for shown in referral.acts:
        unit = shown.act.unit
        own = None if unit is None else referral.chronicle.deliveries.get(unit)
        if unit is None or own is None or own.state in lifecycle.WORKING:
            continue
        if shown.accepted and shown.act.act is Act.DECLINE and shown.act.party == unit:
            body: Any = shown.act.body
            found.append(Declined(unit, str(body.reason), body.suggested_unit))
    return found


def suggested_by(referral: Referral) -> PartyId | None:
    """Whom the unit that declined last suggests, unless that one is kept out or has had it already."""
    declined = declined_by(referral)
    passed_over = {*lineage.kept_out(referral), *(one.unit for one in declined)}
    named = [one.suggested for one in declined if one.suggested not in passed_over]
    return named[-1] if named else None


@dataclass(frozen=True, slots=True)
class Anew:
    """What the hotline decides of a referral that is addressed anew. `phoned_at`: when the new unit was telephoned.

    `second_person` agrees once more where the referral is shared against a refusal: an agreement was to one unit.
    `agreement` is the one under which it goes to a country to which the first submit did not go (R-85). `beside`: it is
    meant although another unit has it in hand; `despite_closed`: although a supplement does not open (carrying.py).
    """

    unit: PartyId
    exclude_declined: bool = False
    exclude: tuple[PartyId, ...] = ()
    phoned_at: str | None = None
    second_person: str | None = None
    operator: str | None = None
    agreement: str | None = None
    beside: bool = False
    despite_closed: bool = False


def readdressed(pen: Pen, referral: Referral, what: Anew) -> Composition:
    """The same referral for another unit, as its supplements left it, ready for the checks before sealing (R-110).

    Raises NOT_PERMITTED for who did not send it; ILLEGAL_TRANSITION (`still-awaited`) while nobody has given it up,
    (`in-hand`, `units`) while another unit has it or its successor in hand and that is not meant; CONSENT_GATE
    (`consent-withdrawn`; `second-person` where one must agree anew); TARGET_NOT_ALLOWED (`declined-it`; `excluded` for
    a unit that is kept out; `agreement-missing`); and as `carrying.carried`.
    """
    if referral.relation is not Relation.SENDER:
        raise ReferralError(ErrorCode.NOT_PERMITTED, act=Act.SUBMIT.value, needs="hotline")
    _demand_left_open(referral)
    line = lineage.line_of(pen.fetch, referral)
    lineage.demand_consent(line)
    turned_down = declined_by(referral)
    if what.unit in {one.unit for one in turned_down}:
        raise ReferralError(ErrorCode.TARGET_NOT_ALLOWED, unit=what.unit, reason="declined-it")
    declined = [one.unit for one in turned_down] if what.exclude_declined else []
    excluded = tuple(dict.fromkeys([*lineage.kept_out(*line), *what.exclude, *declined]))
    if what.unit in excluded:
        raise ReferralError(ErrorCode.TARGET_NOT_ALLOWED, unit=what.unit, reason="excluded")
    if not what.beside:
        _demand_in_no_hands(pen, line)
    submit: Any = referral.submit().act.body
    agreement = _agreement(pen.session, referral, what)
    return Composition(
        body=_for_another(carrying.carried(pen, referral, despite_closed=what.despite_closed).members, what),
        action=what.unit,
        excluded=excluded,
        retention_class=submit.retention_class,
        relation={"type": REPLACES, "ref": referral.ref},
        agreement=agreement,
        operator=what.operator or submit.operator,
    )


def _demand_left_open(referral: Referral) -> None:
    acting = [one for one in referral.chronicle.deliveries.values() if one.role is DeliveryRole.ACTION]
    # Closing what nobody ever took ends its worklist entry, and gives the referral to nobody.
    if not any(one.state in LEFT_OPEN or (one.state is State.CLOSED and not one.was_accepted) for one in acting):
        state = acting[-1].state.value if acting else State.HELD.value
        raise ReferralError(
            ErrorCode.ILLEGAL_TRANSITION, act=Act.SUBMIT.value, state=state, allowed=[], reason="still-awaited"
        )


def _demand_in_no_hands(pen: Pen, line: list[Referral]) -> None:
    """Refuse a second unit where one has it, or what was made of it: two would act, neither knowing of the other.

    The first of a `line` may have been replaced, and so may what it replaces itself, each more than once. Raises
    ILLEGAL_TRANSITION (`in-hand`, `units`, `ref`); and what fetching any of them raises.
    """
    queue = line[:1]
    for before, one in pairwise(line):
        if consented.relation_of(before) != (REPLACES, one.ref):
            break
        queue.append(one)
    family = {one.ref: one for one in queue}
    while queue:
        earlier = queue.pop(0)
        for ref in recalling.later_of(pen.outbox, earlier):
            later = None if ref in family else _find(pen, ref)
            if later is not None and consented.relation_of(later) == (REPLACES, earlier.ref):
                family[ref] = later
                queue.append(later)
    found = [(one.ref, unit) for one in family.values() for unit in in_hand(one)]
    if found:
        raise ReferralError(
            ErrorCode.ILLEGAL_TRANSITION,
            act=Act.SUBMIT.value,
            reason="in-hand",
            ref=found[0][0],
            units=", ".join(dict.fromkeys(unit for _, unit in found)),
        )


def _find(pen: Pen, ref: ReferralId) -> Referral | None:
    try:
        return pen.fetch(ref)
    except ReferralError as error:
        if error.code is not ErrorCode.NOT_FOUND:
            raise
        return None


def in_hand(referral: Referral) -> list[PartyId]:
    """The units, but for those that are only informed, that work on it or have yet to answer."""
    deliveries = referral.chronicle.deliveries.values()
    acting = [one for one in deliveries if one.role is not DeliveryRole.INFORMATION]
    return [PartyId(one.unit) for one in acting if one.state in IN_HAND]


def _agreement(session: Session, referral: Referral, what: Anew) -> str | None:
    """Under which agreement it goes to this unit: the one that is named, or, to a country to which the first submit
    went under one, that. At home none is needed.

    Raises TARGET_NOT_ALLOWED (`agreement-missing`) for a unit abroad.
    """
    if what.agreement is not None:
        return what.agreement
    submit: Any = referral.submit().act.body
    home, country = (session.keymap.country_of(one) for one in (referral.submit().act.party, what.unit))
    if not borders.is_abroad(country, home):
        return None
    agreed = submit.agreement if country in {session.keymap.country_of(to.unit) for to in submit.to} else None
    borders.check_addressed(what.unit, country, home, agreed)
    return None if agreed is None else str(agreed)


def _for_another(body: Mapping[str, Any], what: Anew) -> dict[str, Any]:
    """The body as it was, with what was true of the first unit alone said anew of this one."""
    anew = dict(body)
    if "phone_alert" in anew or anew.get("urgency") == Urgency.EMERGENCY.value:
        anew["phone_alert"] = (
            {"made": False}
            if what.phoned_at is None
            else {"made": True, "at": what.phoned_at, "to_unit": what.unit}
            | ({} if what.operator is None else {"by": what.operator})
        )
    consent = anew.get("consent")
    if isinstance(consent, Mapping) and consent.get("override") is not None:
        if what.second_person is None:
            raise ReferralError(ErrorCode.CONSENT_GATE, where="/consent/override", reason="second-person")
        anew["consent"] = {**consent, "override": {**consent["override"], "second_person": what.second_person}}
    return anew
