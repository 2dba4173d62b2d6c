"""Which units suit a place, in which order and why (R-84)."""

from __future__ import annotations

from itertools import permutations

import pytest

from referral_api.domain.choosing import (
    MISSED_POLLS,
    OFFLINE_AFTER_S,
    POLL_INTERVAL_S,
    Candidate,
    Suggestion,
    Why,
    is_live,
    suggest,
)

CHILDREN = frozenset({"children"})
DISTRICT = Candidate("z-distrito", ("200101",), parent="b-regional", live=False)
PROVINCE = Candidate("y-provincia", ("2001",), parent="b-regional", live=True)
REGION = Candidate("x-region", ("20", "24"), parent="a-nacional", live=True)
NEIGHBOUR = Candidate("w-paita", ("2005",), live=True)
REGIONAL = Candidate("b-regional", ("13", "14"), live=True)
NATIONAL = Candidate("a-nacional", (), live=True)
ELSEWHERE = Candidate("a-lima", ("15",), parent="a-lejana", live=True)
FAR_PARENT = Candidate("a-lejana", ("16",), live=True)
FOREIGN = Candidate("a-guayaquil", ("20",), parent="a-quito", live=True, abroad=True)
ALL = [DISTRICT, PROVINCE, REGION, NEIGHBOUR, REGIONAL, NATIONAL, ELSEWHERE, FAR_PARENT, FOREIGN]


def order(place: str, **more: object) -> list[str]:
    return [one.unit for one in suggest(ALL, place, **more)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("place", "units"),
    [
        ("200101", ["z-distrito", "y-provincia", "x-region", "w-paita", "a-nacional", "b-regional"]),
        ("200199", ["y-provincia", "x-region", "w-paita", "z-distrito", "a-nacional", "b-regional"]),
        ("2001", ["y-provincia", "x-region", "w-paita", "z-distrito", "a-nacional", "b-regional"]),
        ("20", ["x-region", "w-paita", "y-provincia", "z-distrito", "a-nacional", "b-regional"]),
        ("15", ["a-lima", "a-lejana", "a-nacional"]),
        ("07", ["a-nacional"]),
    ],
)
def test_the_nearest_comes_first_then_the_department_then_those_above(place: str, units: list[str]) -> None:
    assert order(place) == units


def test_the_same_directory_gives_the_same_list_however_it_is_told() -> None:
    told = [DISTRICT, REGION, NEIGHBOUR, NATIONAL, FOREIGN]
    lists = [suggest(each, "200101", wanted=CHILDREN) for each in permutations(told)]
    assert all(one == lists[0] for one in lists)


def test_each_says_why_it_is_there() -> None:
    found = {one.unit: one for one in suggest(ALL, "200101")}
    assert found["z-distrito"] == Suggestion("z-distrito", (Why.COVERS,), "200101", frozenset())
    assert found["x-region"].area == "20"
    assert found["w-paita"].why == (Why.SAME_DEPARTMENT,)
    assert found["b-regional"].why == (Why.PARENT,)
    assert found["a-nacional"].why == (Why.PARENT, Why.NATIONAL)
    assert suggest([NATIONAL], "20")[0].why == (Why.NATIONAL,)


def test_a_parent_that_covers_the_place_itself_is_ranked_as_one_that_does() -> None:
    above = Candidate("a-arriba", ("20",))
    below = Candidate("b-abajo", ("2001",), parent="a-arriba")
    assert [(one.unit, one.why) for one in suggest([above, below], "200101")] == [
        ("b-abajo", (Why.COVERS,)),
        ("a-arriba", (Why.COVERS, Why.PARENT)),
    ]


def test_among_equals_comes_who_has_the_speciality_then_who_is_live_then_by_id() -> None:
    def unit(name: str, *specialities: str, live: bool | None) -> Candidate:
        return Candidate(name, ("20",), specialities=frozenset(specialities), live=live)

    units = [
        unit("d", live=True),
        unit("c", live=True),
        unit("b", live=None),
        unit("a", live=False),
        unit("y", "children", live=False),
        unit("z", "children", "smuggling", live=False),
    ]
    assert [one.unit for one in suggest(units, "2001")] == ["c", "d", "b", "a", "y", "z"]
    wanted = suggest(units, "2001", wanted=("children", "smuggling"))
    assert [one.unit for one in wanted] == ["z", "y", "c", "d", "b", "a"]
    assert wanted[0].why == (Why.COVERS, Why.SPECIALITY)
    assert wanted[1].specialities == CHILDREN


def test_no_speciality_brings_a_unit_before_a_nearer_one() -> None:
    near = Candidate("cerca", ("2001",))
    far = Candidate("lejos", ("20",), specialities=CHILDREN, live=True)
    assert [one.unit for one in suggest([near, far], "200101", wanted=CHILDREN)] == ["cerca", "lejos"]


def test_an_excluded_unit_never_appears_and_its_parent_still_does() -> None:
    found = order("200101", excluded={"z-distrito", "y-provincia", "a-nacional"})
    assert found == ["x-region", "w-paita", "b-regional"]


def test_an_offline_unit_is_never_left_out() -> None:
    assert "z-distrito" in order("200101")


def test_nobody_abroad_appears_unless_asked_for_and_then_last() -> None:
    """Rule R14 of the field."""
    assert "a-guayaquil" not in order("200101")
    asked = suggest(ALL, "200101", abroad=True)
    assert (asked[-1].unit, asked[-1].why) == ("a-guayaquil", (Why.ABROAD,))
    assert "a-quito" not in {one.unit for one in asked}


def test_a_unit_abroad_makes_nobody_a_parent() -> None:
    parent = Candidate("a-quito", ("16",))
    assert suggest([FOREIGN, parent], "200101", abroad=True) == [
        Suggestion("a-guayaquil", (Why.ABROAD,), None, frozenset())
    ]


@pytest.mark.parametrize(
    ("live_at", "live"),
    [
        (None, False),
        (1000 - OFFLINE_AFTER_S - 1, False),
        (1000 - OFFLINE_AFTER_S, True),
        (1000, True),
        (1005, True),
    ],
)
def test_who_has_missed_three_looks_is_offline(live_at: int | None, live: bool) -> None:
    assert OFFLINE_AFTER_S == MISSED_POLLS * POLL_INTERVAL_S == 180
    assert is_live(live_at, 1000) is live
