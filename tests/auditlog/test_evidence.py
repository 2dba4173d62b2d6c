"""The chronicle of a referral (R-65 to R-68): what acts and retrievals give, whoever tells them in whatever order."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from referral_api.auditlog.evidence import Chronicle, Told, fold_told
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.fold import Event
from referral_api.domain.terms import Term
from referral_api.domain.words import Act, CredentialKind, DeliveryRole, Role, State

HOTLINE, UNIT, OTHER, FAR = "linea-piura", "pnp-trata-piura", "pnp-otra", "pnp-lejos"
H, U = Role.HOTLINE, Role.POLICE_UNIT


def event(act: Act, by: Role, digest: str, prev: str | None, unit: str | None = UNIT, **more: Any) -> Event:
    party = HOTLINE if by is H else unit or UNIT
    return Event(act, by, party, digest, 1000, unit=unit, prev=prev, **more)


TARGETS = ((UNIT, DeliveryRole.ACTION), (OTHER, DeliveryRole.INFORMATION))
SUBMIT = event(Act.SUBMIT, H, "s", None, None, targets=TARGETS)
ACK = event(Act.ACK, U, "a", "s")
ACCEPT = event(Act.ACCEPT, U, "c", "a")
WITHDRAW = event(Act.WITHDRAW, H, "w", "c", None)


def story() -> list[Told]:
    return [
        Told(Term(2026), 7, event=SUBMIT),
        Told(Term(2026), 8, retrieved_by=UNIT, at=1001),
        Told(Term(2026), 9, event=ACK),
        Told(Term(2026), 12, event=ACCEPT),
        Told(Term(2027), 0, event=WITHDRAW),
    ]


@given(st.randoms(use_true_random=False))
def test_the_order_of_telling_changes_nothing(shuffler: random.Random) -> None:
    told = story()
    shuffler.shuffle(told)
    chronicle = fold_told(told)
    assert chronicle.sender == HOTLINE
    states = {unit: one.state for unit, one in chronicle.deliveries.items()}
    assert states == {UNIT: State.WITHDRAWAL_NOTIFIED, OTHER: State.WITHDRAWN}
    assert chronicle.deliveries[UNIT].retrieved_at == 1001


@pytest.mark.parametrize("left_out", [0, 2, 3])
def test_an_act_that_is_left_out_shows_in_what_builds_on_it(left_out: int) -> None:
    told = story()
    del told[left_out]
    with pytest.raises(ReferralError) as refused:
        fold_told(told)
    assert refused.value.code is ErrorCode.TAMPERED


def test_a_unit_folds_its_own_delivery_and_needs_nothing_of_the_others() -> None:
    mine = fold_told([Told(Term(2026), 7, event=SUBMIT), Told(Term(2026), 9, event=WITHDRAW)], only=OTHER)
    assert {unit: one.state for unit, one in mine.deliveries.items()} == {OTHER: State.WITHDRAWN}


def test_an_act_on_the_whole_referral_that_moves_only_others_is_no_contradiction_for_a_unit() -> None:
    told = [
        Told(Term(2026), 7, event=SUBMIT),
        Told(Term(2026), 8, event=WITHDRAW),
        Told(Term(2026), 9, event=event(Act.CLOSE, H, "x", "s")),
    ]
    with pytest.raises(ReferralError, match=ErrorCode.TAMPERED.value):
        fold_told(told, only=UNIT)
    again = [*told[:2], Told(Term(2026), 9, event=event(Act.WITHDRAW, H, "w2", "s", None))]
    assert fold_told(again, only=OTHER).deliveries[OTHER].state is State.WITHDRAWN


def test_a_retrieval_by_a_unit_without_a_delivery_is_a_contradiction() -> None:
    with pytest.raises(ReferralError, match="no-delivery"):
        fold_told([Told(Term(2026), 7, event=SUBMIT), Told(Term(2026), 8, retrieved_by="pnp-nadie", at=1)])
    assert fold_told(
        [Told(Term(2026), 7, event=SUBMIT), Told(Term(2026), 8, retrieved_by=UNIT, at=1)], only=OTHER
    ).deliveries


def test_two_things_at_one_place_of_the_log_are_a_contradiction() -> None:
    with pytest.raises(ReferralError, match="same-place"):
        fold_told([Told(Term(2026), 7, event=SUBMIT), Told(Term(2026), 7, retrieved_by=UNIT, at=1)])


def test_a_referral_is_submitted_once() -> None:
    with pytest.raises(ReferralError, match="illegal-transition"):
        fold_told([Told(Term(2026), 7, event=SUBMIT), Told(Term(2026), 8, event=SUBMIT)])


@pytest.mark.parametrize(
    ("unit", "state", "head"),
    [(UNIT, "submitted", "x"), (UNIT, "acknowledged", "s"), (UNIT, "closed", "a"), ("pnp-nadie", "acknowledged", "a")],
)
def test_a_claimed_state_or_head_that_the_acts_do_not_give_is_evidence_of_tampering(
    unit: str, state: str, head: str
) -> None:
    chronicle = fold_told(story()[:3])
    assert chronicle.verify_state(UNIT, "acknowledged", "a").unit == UNIT
    with pytest.raises(ReferralError) as refused:
        chronicle.verify_state(unit, state, head)
    assert (refused.value.code, refused.value.facts["what"]) == (ErrorCode.TAMPERED, "state")


def test_a_decision_on_a_stale_head_could_not_have_been_accepted() -> None:
    stale = event(Act.ACCEPT, U, "c", "s")
    with pytest.raises(ReferralError, match="stale-head"):
        fold_told([*story()[:3], Told(Term(2026), 12, event=stale)])


def test_a_fact_that_names_an_act_nobody_could_see_could_not_have_been_accepted() -> None:
    unknown = event(Act.STATUS, U, "t", "never-seen", code="registered")
    with pytest.raises(ReferralError, match="stale-head"):
        fold_told([*story()[:3], Told(Term(2026), 12, event=unknown)])
    others = event(Act.ACK, U, "o", "a", OTHER)
    with pytest.raises(ReferralError, match="stale-head"):
        fold_told([*story()[:3], Told(Term(2026), 12, event=others)])


def test_the_exchanges_own_acts_move_no_head() -> None:
    overdue = Event(Act.OVERDUE, Role.EXCHANGE, "exchange", "o", 1002, unit=UNIT)
    told = [*story()[:3], Told(Term(2026), 10, event=overdue), story()[3]]
    assert fold_told(told).deliveries[UNIT].state is State.ACCEPTED


def test_a_route_act_beside_a_referral_moves_nothing() -> None:
    chronicle = Chronicle()
    chronicle.accept(SUBMIT)
    before = dict(chronicle.deliveries)
    chronicle.accept(event(Act.ROUTE, H, "r", None, None))
    assert chronicle.deliveries == before


def by(party: str, event: Event) -> Event:
    return replace(event, party=party)


FOREIGN = {
    "another unit's acknowledgement": by(OTHER, ACK),
    "another hotline's withdrawal": by("linea-lima", event(Act.WITHDRAW, H, "w", "s", None)),
    "another hotline's route": by("linea-lima", event(Act.ROUTE, H, "r", None, None)),
    "a unit's act on the whole referral": by(UNIT, event(Act.NOTE, U, "n", "s", None)),
    "a unit's own submit": by(UNIT, replace(SUBMIT, by=U, digest="s2")),
    "an auditor's note": by("defensoria", event(Act.NOTE, Role.AUDITOR, "n", "s")),
    "the exchange's acknowledgement": by("exchange", replace(ACK, by=Role.EXCHANGE)),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_an_act_of_a_party_that_had_no_right_to_it_could_not_have_been_accepted(name: str) -> None:
    """R-60: a hostile exchange and one colluding party must not speak for another."""
    with pytest.raises(ReferralError) as refused:
        fold_told([*story()[:2], Told(Term(2026), 9, event=FOREIGN[name])])
    assert refused.value.code is ErrorCode.TAMPERED


def test_an_acknowledgement_signed_by_a_service_could_not_have_been_accepted() -> None:
    """R-61."""
    fold_told([*story()[:2], Told(Term(2026), 9, event=ACK, kind=CredentialKind.PERSON)])
    with pytest.raises(ReferralError, match="not-permitted"):
        fold_told([*story()[:2], Told(Term(2026), 9, event=ACK, kind=CredentialKind.SERVICE)])


def test_a_submit_that_builds_on_something_could_not_have_been_accepted() -> None:
    for wrong in (replace(SUBMIT, prev="x"), replace(SUBMIT, unit=UNIT)):
        with pytest.raises(ReferralError, match="stale-head"):
            fold_told([Told(Term(2026), 7, event=wrong)])


def test_a_second_submit_shows_to_a_unit_that_neither_addresses() -> None:
    again = replace(SUBMIT, digest="s2")
    with pytest.raises(ReferralError, match="illegal-transition"):
        fold_told([Told(Term(2026), 7, event=SUBMIT), Told(Term(2026), 8, event=again)], only="pnp-nadie")


def test_a_bundle_that_had_to_be_kept_back_cannot_have_been_handed_out() -> None:
    """R-63: of a held delivery its unit knows nothing, and what was withdrawn unread is served no more."""
    held = replace(SUBMIT, targets=((UNIT, DeliveryRole.ACTION), (FAR, DeliveryRole.ESCALATION)))
    with pytest.raises(ReferralError, match="not-served"):
        fold_told([Told(Term(2026), 7, event=held), Told(Term(2026), 8, retrieved_by=FAR, at=1001)])
    with pytest.raises(ReferralError, match="not-served"):
        fold_told(
            [
                Told(Term(2026), 7, event=SUBMIT),
                Told(Term(2026), 8, event=event(Act.WITHDRAW, H, "w", "s", None)),
                Told(Term(2026), 9, retrieved_by=UNIT, at=1001),
            ]
        )


def test_a_units_own_fact_must_build_on_what_was_shown_to_it() -> None:
    with pytest.raises(ReferralError, match="stale-head"):
        fold_told([*story()[:2], Told(Term(2026), 9, event=replace(ACK, prev="never-shown"))], only=UNIT)


# A referral that was passed on.

TRANSFER = event(Act.TRANSFER, U, "t", "c", targets=((FAR, DeliveryRole.ACTION),))
APPROVE = event(Act.APPROVE, H, "p", "t", question="t")


def passed() -> list[Told]:
    return [*story()[:4], Told(Term(2026), 13, event=TRANSFER), Told(Term(2026), 14, event=APPROVE)]


def test_a_unit_brought_in_by_a_transfer_folds_its_delivery_like_everybody_else() -> None:
    seen = [one for one in passed() if one.event in (SUBMIT, TRANSFER, APPROVE)]
    mine, whole = fold_told(seen, only=FAR), fold_told(passed())
    assert set(mine.deliveries) == {FAR}
    assert mine.deliveries[FAR] == whole.deliveries[FAR]


def test_a_referral_passed_on_twice_is_folded_along_its_path() -> None:
    last = "pnp-sur"
    steps = [
        *passed(),
        Told(Term(2026), 15, retrieved_by=FAR, at=1002),
        Told(Term(2026), 16, event=event(Act.ACK, U, "a2", "s", FAR)),
        Told(Term(2026), 17, event=event(Act.TRANSFER, U, "t2", "a2", FAR, targets=((last, DeliveryRole.ACTION),))),
        Told(Term(2026), 18, event=event(Act.APPROVE, H, "p2", "t2", FAR, question="t2")),
    ]
    path = [one for one in steps if one.event is not None and one.event.digest in {"s", "t", "p", "t2", "p2"}]
    assert fold_told(path, only=last).deliveries[last] == fold_told(steps).deliveries[last]


def test_without_the_approval_a_unit_has_no_delivery_and_without_the_transfer_the_approval_is_of_nothing() -> None:
    begun = [Told(Term(2026), 7, event=SUBMIT)]
    assert fold_told([*begun, Told(Term(2026), 13, event=TRANSFER)], only=FAR).deliveries == {}
    with pytest.raises(ReferralError, match=ErrorCode.TAMPERED.value):
        fold_told([*begun, Told(Term(2026), 14, event=APPROVE)], only=FAR)
