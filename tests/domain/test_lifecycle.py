"""Every act × role × state × open question does what the hand-written grid says (R-70 to R-79)."""

from __future__ import annotations

from itertools import combinations, product

import pytest

from referral_api.domain import lifecycle
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.lifecycle import GOING_ON, MOVES, STOPPED, allowed, find_move, step
from referral_api.domain.policy import SEES, Viewer
from referral_api.domain.words import WITHOUT_REFERRAL, Act, DeliveryRole, Nature, Role, State
from tests.domain.grid import ROWS, expected

H, U, X = Role.HOTLINE, Role.POLICE_UNIT, Role.EXCHANGE
ASKING = sorted({act for move in MOVES for act in move.answers})
SUBSETS = [frozenset(some) for size in (0, 1, 2, len(ASKING)) for some in combinations(ASKING, size)]


@pytest.mark.parametrize("act", Act)
def test_every_combination_does_what_the_grid_says(act: Act) -> None:
    """R-70: each act, by each role, in each state, with none, one, two and all questions open, with each code."""
    codes = [None, *STOPPED, *GOING_ON, "something_else"] if act is Act.WITHDRAWAL_ANSWER else [None]
    for by, state, questions, code in product(Role, State, SUBSETS, codes):
        where = (act, by, state, sorted(questions), code)
        want = expected(act, by, state, questions, code)
        move = find_move(act, by, state, open_questions=questions, code=code)
        if want is None:
            assert move is None, where
            with pytest.raises(ReferralError) as caught:
                step(act, by, state, open_questions=questions, code=code)
            assert caught.value.code is ErrorCode.ILLEGAL_TRANSITION
            assert caught.value.facts == {
                "state": state.value,
                "act": act.value,
                "allowed": [one.value for one in allowed(by, state, open_questions=questions)],
            }
        else:
            assert move is not None, where
            assert (step(act, by, state, open_questions=questions, code=code), move.clause) == want, where


def test_allowed_names_exactly_the_acts_that_some_code_makes_legal() -> None:
    for by, state, questions in product(Role, State, SUBSETS):
        legal = {
            act
            for act in Act
            for code in (None, STOPPED[0], GOING_ON[0])
            if expected(act, by, state, questions, code) is not None
        }
        named = allowed(by, state, open_questions=questions)
        assert set(named) == legal, (by, state, questions)
        assert len(named) == len(legal), "each once"


def test_the_grid_covers_every_act_that_moves_a_delivery_and_no_other() -> None:
    on_deliveries = set(Act) - WITHOUT_REFERRAL - {Act.SUBMIT, Act.ROUTE, Act.ERASE}
    assert {row.act for row in ROWS} == on_deliveries == lifecycle.ACTS_ON_DELIVERIES


@pytest.mark.parametrize("state", [State.EXPIRED, State.WITHDRAWN, State.WITHDRAWAL_NOTIFIED])
@pytest.mark.parametrize("act", [Act.ACK, Act.RECEIPT_FAILED])
def test_a_late_word_of_receipt_is_recorded_and_changes_no_state(act: Act, state: State) -> None:
    """R-79: what the unit says about having received it is evidence, however late."""
    assert step(act, U, state) is state


def test_facts_and_decisions_are_as_the_design_lists_them() -> None:
    """R-65: a decision must have seen the head; whoever only tells what happened need not."""
    decisions = {
        *(Act.ACCEPT, Act.DECLINE, Act.TRANSFER, Act.APPROVE, Act.CLOSE, Act.REOPEN),
        *(Act.WITHDRAWAL_ANSWER, Act.PURGE_REQUEST),
    }
    assert {act for act, nature in lifecycle.NATURE.items() if nature is Nature.DECISION} == decisions
    assert {move.act for move in MOVES if move.nature is Nature.DECISION} == decisions
    for act in decisions:
        assert {Viewer.SENDER, Viewer.UNIT} <= SEES[act], "a decision moves the head, so both sides see it"


def test_what_waits_for_an_answer_waits_for_an_act_that_can_answer_it() -> None:
    """R-55: a pending entry that nothing could settle would stay for ever. A proposal falls with the work (R-73)."""
    falls = {Act.TRANSFER: {Act.CLOSE, Act.WITHDRAW}}
    for move in MOVES:
        for answer in move.answered_by - falls.get(move.act, set()) if move.act not in lifecycle.WAITS_WHILE else ():
            assert any(move.act in other.answers for other in MOVES if other.act is answer), (move.act, answer)
    assert {move.act: move.answered_by for move in MOVES if move.act is Act.ASK} == {Act.ASK: frozenset({Act.ANSWER})}


def test_every_state_can_be_reached_and_every_state_has_a_way_to_its_end() -> None:
    edges = {(source, target) for source, target, _, _ in lifecycle.arrows()} | {(State.SUBMITTED, State.RETRIEVED)}
    first = {lifecycle.first_state(role) for role in DeliveryRole}
    assert first == {State.HELD, State.SUBMITTED}
    assert _closure(first, edges) == set(State)
    assert _closure({State.PURGED}, {(target, source) for source, target in edges}) == set(State)


def _closure(start: set[State], edges: set[tuple[State, State]]) -> set[State]:
    found = set(start)
    while more := {target for source, target in edges if source in found} - found:
        found |= more
    return found


def test_what_waits_while_the_state_lasts_is_answered_by_every_act_that_ends_it() -> None:
    """R-55: such an entry is pending exactly as long as the delivery is in the state that it speaks of."""
    for act, states in lifecycle.WAITS_WHILE.items():
        answered_by = (
            lifecycle.SUBMIT_ANSWERED_BY
            if act in (Act.SUBMIT, Act.APPROVE)
            else next(move.answered_by for move in MOVES if move.act is act and move.answered_by)
        )
        leaving = {
            move.act
            for move in MOVES
            for source in move.source & states
            if move.to is not None and move.to not in states
        }
        # A unit that stops answers its notice, and the line falls because the state does.
        assert leaving - {Act.WITHDRAWAL_ANSWER} <= answered_by, act
        for move in MOVES:
            if move.act in answered_by and move.source & states:
                assert move.to is not None, (act, move.act)
                assert move.to not in states, (act, move.act)


def test_what_nobody_acknowledged_is_never_purged_by_itself() -> None:
    """R-77: the exchange forgets what has ended, never what still waits to be read; what expired, where it was read."""
    for state in lifecycle.UNREAD:
        assert find_move(Act.PURGED, X, state) is None, state


@pytest.mark.parametrize("state", State)
def test_only_a_first_retrieval_moves_a_delivery(state: State) -> None:
    """R-66: a second hand-out is recorded, and changes nothing."""
    assert lifecycle.retrieved(state) is (State.RETRIEVED if state is State.SUBMITTED else state)


def test_a_withdrawn_bundle_and_a_held_one_are_not_served() -> None:
    assert set(State) - lifecycle.SERVED == {State.HELD, State.WITHDRAWN, State.PURGED}


def test_every_state_belongs_to_exactly_one_group() -> None:
    groups = (
        lifecycle.UNREAD,
        lifecycle.WORKING,
        lifecycle.ENDED,
        lifecycle.PUT_OFF,
        frozenset({State.HELD}),
        frozenset({State.PURGED}),
    )
    assert sorted(state for group in groups for state in group) == sorted(State)


def test_the_picture_shows_every_change_of_state_and_no_other() -> None:
    drawn = set()
    for line in lifecycle.mermaid().splitlines():
        if "-->" in line and "[*]" not in line:
            source, _, rest = line.strip().partition(" --> ")
            into, _, names = rest.partition(": ")
            drawn |= {(source, into, name) for name in names.split(", ")}
    wanted = {
        (state.value, target.value, f"{row.act.value} ({by.value})")
        for row in ROWS
        for state in State
        for by in row.roles
        if (target := row.result(state)) not in (None, state) and target is not None
    }
    assert drawn == wanted | {("submitted", "retrieved", "bundle handed out")}
