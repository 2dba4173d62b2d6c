"""Copies of a referral for further units, and what belongs together because of them.

A copy is a referral of its own with a reduced body, so nothing that the first one says travels with it. What a person
takes back is taken back everywhere: whoever withdraws a consent reaches every copy and successor of which this
machine's outbox knows.

Must never: pass on more than referral_copy.py leaves, or leave out a copy that this machine has sent.

Implements: R-86, R-75 (withdrawn consent); rules R7 and R9 of the field; docs/decisions/0030.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from referral_api.client.outbox import Entry, Progress
from referral_api.client.sdk import Client
from referral_api.client.submission import Composition
from referral_api.client.view import Referral
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.policy import Relation
from referral_api.domain.words import COPY_OF, Act, PartyId, ReferralId, State
from referral_api.formats.act import parse_act
from referral_api.formats.referral_copy import reduce_body

CARRIES_ON: Final = frozenset({COPY_OF, "replaces", "supplements", "transferred_from"})
"""Relations of a referral that tells of the same person as the one it names (code list `relation_type`)."""


def make_copy(
    client: Client, ref: str, units: Sequence[str], summary: str | None = None, operator: str | None = None
) -> Entry:
    """Open a referral that this hotline sent, reduce it, and send that to further units for their information.

    Units that the referral excludes stay excluded. Raises NOT_PERMITTED (`needs`) for who did not send it;
    TARGET_NOT_ALLOWED (`unit`, `reason`: `excluded`, or `addressed` for one that may read the referral itself);
    CONSENT_GATE (`reason` withdrawn) once consent to it was withdrawn; ILLEGAL_TRANSITION for a referral that was taken
    back; and as `delivery.open_bundle`, `reduce_body` and `submission.compose`.
    """
    referral = client.referral(ref)
    if referral.relation is not Relation.SENDER:
        raise ReferralError(ErrorCode.NOT_PERMITTED, needs="sender")
    _demand_standing(referral)
    excluded = _excluded(referral)
    for unit in units:
        if unit in excluded:
            raise ReferralError(ErrorCode.TARGET_NOT_ALLOWED, unit=unit, reason="excluded")
        delivery = referral.chronicle.deliveries.get(unit)
        if delivery is not None and delivery.shown_state is not State.HELD:
            raise ReferralError(ErrorCode.TARGET_NOT_ALLOWED, unit=unit, reason="addressed")
    submit: Any = referral.submit().act.body
    what = Composition(
        body=reduce_body(client.open_referral(referral).body, summary),
        action=None,
        information=tuple(PartyId(unit) for unit in units),
        excluded=excluded,
        retention_class=submit.retention_class.value,
        relation={"type": COPY_OF, "ref": referral.ref},
        operator=operator,
    )
    return client.submit(what)


def withdraw_consent(client: Client, ref: str) -> Mapping[ReferralId, Entry | ReferralError]:
    """Say of a referral, and of every copy and successor of it that this machine knows, that the person no longer
    agrees: each of their units must answer within the term of R-75. What became of each, by referral.

    Raises whatever the referral itself meets; what a copy or successor meets is told beside its id.
    """
    told: dict[ReferralId, Entry | ReferralError] = {
        ReferralId(ref): client.act(ref, Act.CONSENT_WITHDRAWN, {}),
    }
    for other in family(client.outbox.entries(), ref):
        if other in told:
            continue
        try:
            told[other] = client.act(other, Act.CONSENT_WITHDRAWN, {})
        except ReferralError as error:
            told[other] = error
    return told


def family(entries: Iterable[Entry], ref: str) -> list[ReferralId]:
    """The referral itself, what it is a copy or successor of, and all copies and successors of those, in the order in
    which they were sent from here; whatever was refused is none.
    """
    named = {
        ReferralId(one.outgoing.ref): _carries_on(one)
        for one in entries
        if one.outgoing.act is Act.SUBMIT and one.outgoing.ref is not None and one.state is not Progress.REFUSED
    }
    found = {ReferralId(ref)}
    while True:
        more = {one for one, first in named.items() if one in found or first in found}
        more |= {first for one, first in named.items() if one in found and first is not None}
        if more <= found:
            return [ReferralId(ref), *(one for one in named if one in found and one != ref)]
        found |= more


def _carries_on(entry: Entry) -> ReferralId | None:
    """The earlier referral of the same person that a submission names."""
    body: Any = parse_act(entry.outgoing.jws).body
    if body.relation is None or body.relation.type not in CARRIES_ON:
        return None
    return ReferralId(body.relation.ref)


def _excluded(referral: Referral) -> tuple[PartyId, ...]:
    bodies: list[Any] = [one.act.body for one in referral.acts if one.act.act is Act.ROUTE and one.accepted]
    return tuple(unit for body in bodies for unit in body.excluded)


def _demand_standing(referral: Referral) -> None:
    """What was taken back is spread no further."""
    if any(one.act.act is Act.CONSENT_WITHDRAWN and one.accepted for one in referral.acts):
        raise ReferralError(ErrorCode.CONSENT_GATE, reason="withdrawn", where="/consent/state")
    states = {one.state for one in referral.chronicle.deliveries.values()}
    if states <= {State.WITHDRAWN, State.PURGED}:
        raise ReferralError(ErrorCode.ILLEGAL_TRANSITION, act=Act.SUBMIT.value, reason="withdrawn")
