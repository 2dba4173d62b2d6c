"""In which order a party's deliveries stand, and how long an exchange that does not answer is asked."""

from __future__ import annotations

from itertools import pairwise, permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from referral_api.client.outbox import Mark, Progress
from referral_api.client.view import Referral
from referral_api.client.worklist import PATIENCE, Agenda, Item, _acted_on, _Walk, unlooked
from referral_api.domain.clocks import Clock
from referral_api.domain.clockwork import Due
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Act, DeliveryRole, PartyId, ReferralId, Role, State, Urgency
from referral_api.domain.worklists import OVER, TO_DO, Worklist

REFS = [ReferralId(f"018f0000-0000-7000-8000-{number:012d}") for number in range(9)]
E, U, R = Urgency.EMERGENCY, Urgency.URGENT, Urgency.ROUTINE


def item(
    lists: tuple[Worklist, ...], urgency: Urgency = U, due_at: int | None = None, begun_at: int = 100, number: int = 0
) -> Item:
    dues = () if due_at is None else (Due(Clock.ACK, due_at),)
    over = OVER.issuperset(lists)
    unit = PartyId("pnp-piura")
    role, state = DeliveryRole.ACTION, State.SUBMITTED
    return Item(REFS[number], unit, role, state, urgency, lists, dues, begun_at, begun_at, (), over)


READ, WAITING, ENDED = (Worklist.READ,), (Worklist.WAITING,), (Worklist.ENDED,)
IN_ORDER = [
    item(READ, E, 900),
    item(READ, E, 1000, begun_at=90),
    item(READ, E, 1000, begun_at=95),
    item(READ, E, None, begun_at=10),
    item(READ, U, 50, begun_at=1),
    item(READ, R, 50, begun_at=1),
    item((Worklist.CLOSE,), E, 10, begun_at=1),
    item(WAITING, E, 10, begun_at=1),
    item(WAITING, R, 10, begun_at=1),
    item(ENDED, E, 10, begun_at=0),
]


def test_what_asks_comes_first_then_urgency_then_the_deadline_then_age() -> None:
    for some in permutations(range(len(IN_ORDER)), 3):
        chosen = [IN_ORDER[at] for at in some]
        assert sorted(chosen, key=lambda one: one.rank) == [IN_ORDER[at] for at in sorted(some)]
    backwards = list(reversed(IN_ORDER))
    backwards.sort(key=lambda one: one.rank)
    assert backwards == IN_ORDER


ITEMS = st.builds(
    item,
    st.sets(st.sampled_from(Worklist), min_size=1, max_size=3).map(lambda some: tuple(sorted(some))),
    st.sampled_from(Urgency),
    st.none() | st.integers(0, 9),
    st.integers(0, 9),
    st.integers(0, 8),
)


def group(one: Item) -> tuple[bool, bool, bool]:
    """What is only to be closed comes after whatever else asks."""
    return one.asks, one.is_over, set(one.lists) & TO_DO == {Worklist.CLOSE}


@given(st.lists(ITEMS, max_size=9))
def test_no_entry_that_waits_for_others_stands_before_one_that_waits_for_us(items: list[Item]) -> None:
    ordered = sorted(items, key=lambda one: one.rank)
    assert [one.asks for one in ordered] == sorted((one.asks for one in items), reverse=True)
    assert [one.asks for one in items] == [bool(TO_DO & set(one.lists)) for one in items]
    for before, after in pairwise(ordered):
        if group(before) == group(after):
            assert [E, U, R].index(before.urgency) <= [E, U, R].index(after.urgency)
            if before.urgency is after.urgency and before.due is not None and after.due is not None:
                assert before.due.due_at <= after.due.due_at


def looked(
    errors: dict[ReferralId, ReferralError], forgotten: frozenset[ReferralId] = frozenset()
) -> tuple[Agenda, list[str]]:
    """What comes of a look at referrals each of which fails so, and which of them were asked for."""
    asked: list[str] = []

    def fetch(ref: str) -> Referral:
        asked.append(ref)
        raise errors[ReferralId(ref)]

    walk = _Walk("linea-1818", Role.HOTLINE, fetch, unlooked)
    walk.look(list(errors), forgotten.__contains__, lambda _what, _done, _total: None)
    return walk.agenda(), asked


def test_failures_in_a_row_that_pass_by_themselves_end_the_asking_and_what_was_left_is_named() -> None:
    away = ReferralError(ErrorCode.UNAVAILABLE, status=503)
    agenda, asked = looked(dict.fromkeys(REFS, away))
    assert asked == list(REFS[:PATIENCE])
    assert [one.ref for one in agenda.problems] == asked
    assert (agenda.unseen, agenda.ended_by, agenda.complete) == (tuple(REFS[PATIENCE:]), away, False)


def test_a_line_that_is_down_is_asked_once() -> None:
    agenda, asked = looked(dict.fromkeys(REFS, ReferralError(ErrorCode.UNREACHABLE)))
    assert asked == REFS[:1]
    assert agenda.unseen == tuple(REFS[1:])


def test_what_is_false_of_one_never_ends_the_asking() -> None:
    false = ReferralError(ErrorCode.TAMPERED, shown="referral")
    away = ReferralError(ErrorCode.UNAVAILABLE, status=200, reason="too-large")
    errors = {ref: (false, away, away)[at % 3] for at, ref in enumerate(REFS)}
    agenda, asked = looked(errors)
    assert asked == list(REFS)
    assert (len(agenda.problems), agenda.unseen, agenda.ended_by) == (len(REFS), (), None)


@pytest.mark.parametrize(
    "error",
    [
        ReferralError(ErrorCode.INVALID_TOKEN),
        ReferralError(ErrorCode.WRONG_ROOT),
        ReferralError(ErrorCode.INCONSISTENT, shown="keys-log"),
    ],
)
def test_what_is_wrong_with_everything_is_said_once(error: ReferralError) -> None:
    with pytest.raises(ReferralError) as caught:
        looked(dict.fromkeys(REFS, error))
    assert caught.value is error


def test_only_what_was_seen_purged_here_may_be_gone() -> None:
    absent = ReferralError(ErrorCode.NOT_FOUND, status=404)
    agenda, _ = looked(dict.fromkeys(REFS[:3], absent), frozenset(REFS[1:2]))
    assert (agenda.gone, [one.ref for one in agenda.problems]) == ((REFS[1],), [REFS[0], REFS[2]])
    assert not agenda.complete


def test_what_we_acted_on_is_known_whatever_an_inbox_leaves_out() -> None:
    """A unit has sent nothing, but its own receipts say on what it acted; what nobody took has no receipt."""
    marks = [
        Mark(Act.ACK, REFS[0], Progress.RECEIVED, received=True),
        Mark(Act.ACCEPT, REFS[0], Progress.RECEIVED, received=True),
        Mark(Act.NOTE, REFS[1], Progress.QUEUED, received=False),
        Mark(Act.CALL_TOTAL, None, Progress.RECEIVED, received=True),
    ]
    assert _acted_on(marks) == [REFS[0]]
