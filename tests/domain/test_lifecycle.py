"""Every act × role × state × open question against a grid written by hand from the protocol's clauses (R-70).

A row of the grid says what one role's act does in each state: a letter is the state it leads to, `=` leaves the state
as it is, `-` is refused. The grid knows nothing of how `MOVES` is written, so a slip in either of them shows.
"""

from __future__ import annotations

from itertools import combinations, product

import pytest

from referral_api.domain import lifecycle
from referral_api.domain.clocks import due
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.lifecycle import GOING_ON, MOVES, STOPPED, allowed, find_move, step
from referral_api.domain.policy import SEES, Viewer
from referral_api.domain.words import DIRECTORY_ACTS, Act, DeliveryRole, Nature, Role, State, Urgency
from tests.domain.moments import at

H, U, X = Role.HOTLINE, Role.POLICE_UNIT, Role.EXCHANGE
STATES = {
    "h": State.HELD,
    "s": State.SUBMITTED,
    "r": State.RETRIEVED,
    "f": State.RECEIPT_FAILED,
    "k": State.ACKNOWLEDGED,
    "a": State.ACCEPTED,
    "d": State.DECLINED,
    "t": State.TRANSFERRED,
    "c": State.CLOSED,
    "w": State.WITHDRAWN,
    "n": State.WITHDRAWAL_NOTIFIED,
    "x": State.EXPIRED,
    "p": State.PURGED,
}
ANY = "any"
NOTICES = frozenset({Act.WITHDRAW, Act.CONSENT_WITHDRAWN})

# act, code, roles, questions of which one must be open: h s r f k a d t c w n x p; clause.
GRID = """
ack               any     U  -                 - k k k - - - - - = = = -  R-71
receipt_failed    any     U  -                 - f f f - - - - - = = = -  R-71
accept            any     U  -                 - - - - a - - - - - - - -  R-72
decline           any     U  -                 - - - - d d - - - - - - -  R-72
transfer          any     U  -                 - - - - = = - - - - - - -  R-73
approve           any     HX transfer          - - - - t t - - - - - - -  R-73
decline           any     H  transfer          - - - - = = - - - - - - -  R-73
status            any     U  -                 - - - - = = - - = - = = -  R-74
close             any     U  -                 - - - - - c - - - - - - -  R-74
close             any     H  -                 - - - c c c - - - - - c -  R-74
reopen            any     HU -                 - - - - - - - - a - - - -  R-74
withdraw          any     H  -                 w w n n n n = = = - - n -  R-75
consent_withdrawn any     H  -                 = = = = = = = = = = = = -  R-75
withdrawal_answer stopped U  withdraw,consent  - = = = = = = = = = w = -  R-75
withdrawal_answer going   U  withdraw,consent  - = = = = = = = = = a = -  R-75
withdrawal_answer any     U  withdraw,consent  - = = = = = = = = = - = -  R-75
note              any     HU -                 - = = = = = = = = = = = -  R-76
ask               any     HU -                 - - = = = = = = = = = = -  R-76
answer            any     HU ask               - = = = = = = = = = = = -  R-76
supplement        any     H  -                 = = = = = = = = = = = = -  R-76
phone_alert       any     H  -                 = = = = = = = = = = = = -  R-76
rewrap            any     U  -                 - = = = = = = = = - = = -  R-76
hold              any     H  -                 = = = = = = = = = = = = -  R-77
hold              any     U  -                 - = = = = = = = = = = = -  R-77
purge_request     any     H  -                 = = = = = = = = = = = = -  R-77
purge_request     any     U  -                 - = = = = = = = = = = = -  R-77
approve           any     H  purge_request     = = = = = = = = = = = = -  R-77
approve           any     U  purge_request     - = = = = = = = = = = = -  R-77
purged            any     X  -                 - - - - = = p p p p = - -  R-77
overdue           any     X  -                 - = = = = = - - - - = - -  R-78
escalated         any     X  -                 - = = = - - - - - - - - -  R-78
telephone_now     any     X  -                 - = = = - - - - - - - = -  R-78
released          any     X  -                 s - - - - - - - - - - - -  R-78
taken             any     X  -                 - = = = = = - - - - - - -  R-78
expired           any     X  -                 - x x x - - - - - - - - -  R-78
"""
QUESTIONS = {
    "-": frozenset[Act](),
    "transfer": frozenset({Act.TRANSFER}),
    "ask": frozenset({Act.ASK}),
    "purge_request": frozenset({Act.PURGE_REQUEST}),
    "withdraw,consent": NOTICES,
}
CODES = {ANY: [None], "stopped": list(STOPPED), "going": list(GOING_ON)}


class Row:
    """One line of the grid, read."""

    def __init__(self, line: str) -> None:
        act, code, roles, needs, *cells = line.split()
        *cells, self.clause = cells
        self.act, self.code = Act(act), code
        self.roles = {{"H": H, "U": U, "X": X}[letter] for letter in roles}
        self.needs = QUESTIONS[needs]
        self.cells = dict(zip(STATES.values(), cells, strict=True))

    def result(self, state: State) -> State | None:
        cell = self.cells[state]
        return {"=": state, "-": None}.get(cell) or STATES.get(cell)


ROWS = [Row(line) for line in GRID.strip().splitlines()]


def expected(act: Act, by: Role, state: State, questions: frozenset[Act], code: str | None) -> tuple[State, str] | None:
    """The state and clause that the grid asks for, or None where it refuses. The first row that fits decides."""
    kind = "stopped" if code in STOPPED else "going" if code in GOING_ON else ANY
    for row in ROWS:
        if row.act is not act or by not in row.roles or (row.needs and not row.needs & questions):
            continue
        if act is Act.WITHDRAWAL_ANSWER and row.code != kind:
            continue
        result = row.result(state)
        if result is not None:
            return result, row.clause
    return None


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
    on_deliveries = set(Act) - DIRECTORY_ACTS - {Act.SUBMIT, Act.ROUTE, Act.UNIT_OFFLINE, Act.ERASE}
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
    """R-55: a pending entry that nothing could settle would stay for ever."""
    for move in MOVES:
        for answer in move.answered_by - lifecycle.SUBMIT_ANSWERED_BY:
            assert any(move.act in other.answers for other in MOVES if other.act is answer), (move.act, answer)
    assert {move.act: move.answered_by for move in MOVES if move.act is Act.ASK} == {Act.ASK: frozenset({Act.ANSWER})}


@pytest.mark.parametrize("state", [s for s in State if s is not State.PURGED])
def test_no_state_is_on_zero_worklists(state: State) -> None:
    """A delivery that nobody's list shows is a lost referral: in each state somebody owes or may do something."""
    owed = due(Urgency.URGENT, state, submitted_at=at(0), accepted_at=at(0), notified_at=at(0))
    may_act = {by for by in (H, U, X) if allowed(by, state)}
    assert H in may_act, "the hotline can always do something about what it sent"
    assert (U in may_act) == (state in lifecycle.REACHED)
    if state in lifecycle.UNREAD | lifecycle.WORKING | {State.WITHDRAWAL_NOTIFIED}:
        assert owed is not None
        assert Act.OVERDUE in allowed(X, state), "and the exchange may say that it is late"
    else:
        assert owed is None


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


def test_what_nobody_acknowledged_is_never_purged_by_itself() -> None:
    """R-77: the exchange forgets what has ended, never what still waits to be read."""
    for state in lifecycle.UNREAD | {State.EXPIRED, State.HELD}:
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
