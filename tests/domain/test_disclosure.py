"""What may be published of a table (R-103; rule R12 of the field): against a reader who knows more than he can."""

from __future__ import annotations

import itertools
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from referral_api.domain import disclosure
from referral_api.domain.disclosure import THRESHOLD, Sum, disclose, percentage, percentile

COUNTS = st.integers(0, 40)


def one_way(cells: Sequence[int]) -> tuple[dict[str, int], list[Sum]]:
    """A list of cells and its total."""
    counts = {f"c{at}": cell for at, cell in enumerate(cells)}
    return counts | {"all": sum(cells)}, [Sum("all", tuple(counts))]


def two_way(rows: Sequence[Sequence[int]]) -> tuple[dict[str, int], list[Sum]]:
    """Cells in rows and columns, with the totals of both and of everything."""
    width = range(len(rows[0]))
    counts = {f"c{r}.{c}": rows[r][c] for r in range(len(rows)) for c in width}
    counts |= {f"r{r}": sum(row) for r, row in enumerate(rows)}
    counts |= {f"k{c}": sum(row[c] for row in rows) for c in width} | {"all": sum(map(sum, rows))}
    sums = [Sum(f"r{r}", tuple(f"c{r}.{c}" for c in width)) for r in range(len(rows))]
    sums += [Sum(f"k{c}", tuple(f"c{r}.{c}" for r in range(len(rows)))) for c in width]
    sums.append(Sum("all", tuple(f"r{r}" for r in range(len(rows)))))
    return counts, [*sums, Sum("all", tuple(f"k{c}" for c in width))]


def solutions(
    shown: Mapping[str, int | None], sums: Sequence[Sum], bounds: Mapping[str, range]
) -> Iterator[dict[str, int]]:
    """Every way to fill the blanks in, by trying; a sum with one open cell decides it."""

    def fill(known: dict[str, int]) -> Iterator[dict[str, int]]:
        for one in sums:
            unknown = [(name, sign) for name, sign in one.signs() if name not in known]
            off = sum(sign * known[name] for name, sign in one.signs() if name in known)
            if not unknown and off:
                return
            if len(unknown) == 1:
                name, sign = unknown[0]
                if -off * sign in bounds[name]:
                    yield from fill(known | {name: -off * sign})
                return
        still_open = [name for name in bounds if name not in known]
        if not still_open:
            yield known
        for value in bounds[still_open[0]] if still_open else ():
            yield from fill(known | {still_open[0]: value})

    yield from fill({name: value for name, value in shown.items() if value is not None})


def exposed(counts: Mapping[str, int], sums: Sequence[Sum]) -> set[str]:
    """The blanks that have one value in every solution, for a reader who is told which of them are small, and who
    tries what lies near the truth alone: that is enough to find two.
    """
    shown = disclose(counts, sums)
    near = {name: range(max(0, counts[name] - 2), counts[name] + 3) for name, value in shown.items() if value is None}
    bounds = {
        name: range(span.start, min(span.stop, THRESHOLD))
        if counts[name] < THRESHOLD
        else range(max(span.start, THRESHOLD), span.stop)
        for name, span in near.items()
    }
    fixed: dict[str, int] = {}
    left = set(bounds)
    for found in solutions(shown, sums, bounds):
        left = {name for name in left if fixed.setdefault(name, found[name]) == found[name]}
        if not left:
            break
    return left


def check(counts: Mapping[str, int], sums: Sequence[Sum]) -> None:
    """All that must hold of what is published."""
    shown = disclose(counts, sums)
    assert shown.keys() == counts.keys()
    for name, count in counts.items():
        assert shown[name] == (None if count < THRESHOLD or shown[name] is None else count)
    for one in sums:
        blanks = [part for part in one.parts if shown[part] is None]
        if blanks and shown[one.total] is not None:
            assert sum(counts[part] for part in blanks) >= THRESHOLD, "the blanks together are no small cell either"
    assert not exposed(counts, sums)


@given(st.lists(COUNTS, min_size=2, max_size=6))
@example([10, 10, 15])
@example([0, 0, 0, 40])
@example([11, 0])
@example([12, 10, 12])
def test_no_blank_of_a_list_can_be_computed_from_its_total(cells: list[int]) -> None:
    check(*one_way(cells))


@given(
    st.integers(2, 3).flatmap(
        lambda wide: st.lists(st.lists(COUNTS, min_size=wide, max_size=wide), min_size=2, max_size=3)
    )
)
@example([[5, 0], [10, 5]])
@example([[20, 20, 20], [20, 3, 20], [20, 20, 20]])
def test_no_blank_can_be_computed_from_the_totals_of_rows_and_columns(rows: list[list[int]]) -> None:
    check(*two_way(rows))


@given(st.lists(COUNTS, min_size=2, max_size=4), st.lists(COUNTS, min_size=2, max_size=4))
def test_two_lists_of_one_total_do_not_give_each_other_away(one: list[int], other: list[int]) -> None:
    missing = sum(one) - sum(other)
    longer, shorter = (one, other) if missing >= 0 else (other, one)
    shorter[0] += abs(missing)
    counts = {f"a{at}": cell for at, cell in enumerate(longer)} | {f"b{at}": cell for at, cell in enumerate(shorter)}
    names = (tuple(f"a{at}" for at in range(len(longer))), tuple(f"b{at}" for at in range(len(shorter))))
    check(counts | {"all": sum(longer)}, [Sum("all", part) for part in names])


def test_what_is_large_is_shown_and_a_single_small_cell_takes_one_with_it() -> None:
    counts, sums = one_way([30, 20, 40])
    assert disclose(counts, sums) == counts
    counts, sums = one_way([30, 7, 40])
    assert disclose(counts, sums) == {"c0": None, "c1": None, "c2": 40, "all": 77}


def test_a_small_total_leaves_nothing() -> None:
    counts, sums = one_way([3, 4, 0])
    assert set(disclose(counts, sums).values()) == {None}


def test_which_cell_is_sacrificed_does_not_hang_on_its_size() -> None:
    for sizes in ((90, 11), (11, 90)):
        counts, sums = one_way([*sizes, 5, 60])
        assert disclose(counts, sums)["c0"] is None


@given(st.lists(st.lists(COUNTS, min_size=2, max_size=2), min_size=2, max_size=3), st.integers(0, 60))
@example([[13, 0], [0, 12]], 0)
@example([[11, 0], [0, 11]], 11)
def test_a_list_of_the_same_total_gives_no_row_and_no_column_away(rows: list[list[int]], first: int) -> None:
    """As `basis` stands beside the acknowledgements of each urgency (R-103)."""
    counts, sums = two_way(rows)
    first = min(first, counts["all"])
    check(counts | {"b0": first, "b1": counts["all"] - first}, [*sums, Sum("all", ("b0", "b1"))])


def parted(total: int, parts: int) -> Iterator[tuple[int, ...]]:
    """Every way in which so many cells come to a total."""
    if parts == 1:
        yield (total,)
        return
    for first in range(total + 1):
        yield from ((first, *rest) for rest in parted(total - first, parts - 1))


def read_off(tables: Iterable[tuple[dict[str, int], list[Sum]]]) -> list[tuple[dict[str, int | None], str]]:
    """What a reader learns who tries the program on every table with one total: blanks that have the same value in
    each of those of which the same is published. Where the total is blank there are more tables than these.
    """
    alike: defaultdict[tuple[tuple[str, int | None], ...], list[dict[str, int]]] = defaultdict(list)
    for counts, sums in tables:
        alike[tuple(disclose(counts, sums).items())].append(counts)
    return [
        (dict(shown), name)
        for shown, truths in alike.items()
        for name, value in shown
        if value is None and dict(shown)["all"] is not None and len({truth[name] for truth in truths}) == 1
    ]


@pytest.mark.parametrize("total", [11, 12, 13, 20, 21, 22, 23, 24, 31, 33, 34, 44])
def test_whoever_tries_the_program_on_every_list_reads_no_blank_off(total: int) -> None:
    for cells in (2, 3, 4):
        assert not read_off(one_way(found) for found in parted(total, cells))


@pytest.mark.parametrize("total", [11, 12, 21, 22, 23, 24, 30])
def test_whoever_tries_the_program_on_every_two_way_table_reads_no_blank_off(total: int) -> None:
    assert not read_off(two_way((found[:2], found[2:])) for found in parted(total, 4))


def test_which_cells_are_given_up_follows_from_which_are_small_alone() -> None:
    """Small ones that come to eleven or more are no exception: that there is none given up beside them would tell."""
    seen = set()
    for few in (0, 3, 10):
        for many in (12, 15, 200):
            counts, sums = one_way([many, 30, few, 10 - few, 10, 40])
            seen.add(frozenset(name for name, shown in disclose(counts, sums).items() if shown is None))
    assert seen == {frozenset({"c0", "c2", "c3", "c4"})}


def test_a_search_without_end_gives_up_cells_and_no_secret() -> None:
    """A wide table full of zeros, in which next to nothing may move: it is over soon, and all the more is blank."""
    rows = [[11 if (r + c) % 5 == 0 else 0 for c in range(9)] for r in range(9)]
    counts, sums = two_way(rows)
    began = time.process_time()
    shown = disclose(counts, sums)
    assert time.process_time() - began < 2
    assert not [name for name, count in counts.items() if count < THRESHOLD and shown[name] is not None]
    for one in sums:
        blanks = [part for part in one.parts if shown[part] is None]
        assert len(blanks) != 1 or shown[one.total] is None


def test_what_was_not_found_to_be_safe_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    counts, sums = one_way([30, 7, 40])
    monkeypatch.setattr(disclosure, "PATIENCE", 0)
    assert set(disclose(counts, sums).values()) == {None}
    counts, sums = one_way([30, 20, 40])
    assert disclose(counts, sums) == counts, "where nothing is blank there is nothing to search for"


def test_a_total_that_is_none_is_a_defect() -> None:
    with pytest.raises(ValueError, match="all"):
        disclose({"all": 3, "a": 1}, [Sum("all", ("a",))])


def test_percentages_and_percentiles_speak_of_what_is_shown_alone() -> None:
    assert percentage(20, 80) == 25
    assert percentage(None, 80) is percentage(20, None) is percentage(0, 0) is None
    values = list(range(1, 101))
    assert (percentile(values, 50, shown=100), percentile(values, 95, shown=100)) == (50, 95)
    assert percentile(values[:10], 50, shown=10) is percentile(values, 50, shown=None) is None
    assert percentile([7] * 11, 50, shown=11) == percentile([7] * 20, 95, shown=20) == 7
    assert percentile([7] * 19, 95, shown=19) is None, "it would be the longest time of all"
    assert (percentile(values[:50], 50, shown=100), percentile(values[:49], 50, shown=100)) == (50, None)
    assert percentile(list(range(21)), 50, shown=21) == 10, "the nearest rank, rounded up"
    assert [percentage(part, 200) for part in (1, 3, 5)] == [0, 2, 2], "halves go to the even number"


def moves(cell: str, blank: set[str], sums: Sequence[Sum], room: Mapping[str, range]) -> bool:
    """Whether some blanks, this one among them, can each be one more or one less together; by trying them all."""
    names = sorted(blank - {cell})
    for rest in itertools.product((-1, 0, 1), repeat=len(names)):
        for own in (1, -1):
            step = dict(zip(names, rest, strict=True)) | {cell: own}
            fits = all(not by or by in room[name] for name, by in step.items())
            if fits and all(not sum(sign * step.get(name, 0) for name, sign in one.signs()) for one in sums):
                return True
    return False


def nearest(cell: str, blank: set[str], sums: Sequence[Sum]) -> str | None:
    """The shown cell next to a blank one, through ever more sums."""
    near, before = {cell}, set[str]()
    while near != before:
        before = set(near)
        touching = [one for one in sums if before & {one.total, *one.parts}]
        shown = [name for one in touching for name in (*one.parts, one.total) if name not in blank]
        if shown:
            return shown[0]
        near |= {name for one in touching for name in (one.total, *one.parts)}
    return None


def fixed(blank: set[str], sums: Sequence[Sum], room: Mapping[str, range]) -> str | None:
    """What is given up for the first blank that can be nothing else."""
    in_turn = (cell for one in sums for cell in (one.total, *one.parts) if cell in blank)
    found = (nearest(cell, blank, sums) for cell in in_turn if not moves(cell, blank, sums, room))
    return next((cell for cell in found if cell is not None), None)


def lacking(blank: set[str], low: set[str], sums: Sequence[Sum]) -> str | None:
    """What is given up beside low cells that stand alone with their total."""
    for one in sums:
        hidden, shown = ([part for part in one.parts if (part in blank) is is_blank] for is_blank in (True, False))
        if one.total not in blank and hidden and shown and low >= set(hidden):
            return shown[0]
    return None


def by_the_book(counts: Mapping[str, int], sums: Sequence[Sum]) -> dict[str, int | None]:
    """R-103 as a stranger would write it who has read the protocol alone."""
    low = {cell for cell, count in counts.items() if count < 11}
    free = dict.fromkeys(counts, range(-1, 2))
    bounded = {
        cell: range(max(-1, 0 - count), min(1, 10 - count) + 1) if count < 11 else range(max(-1, 11 - count), 2)
        for cell, count in counts.items()
    }
    blank = set(low)
    while True:
        if (cell := lacking(blank, low, sums) or fixed(blank, sums, free)) is not None:
            blank.add(cell)
        elif (cell := fixed(blank, sums, bounded)) is not None:
            blank.add(cell)
            low.add(cell)
        else:
            return {name: None if name in blank else count for name, count in counts.items()}


@settings(max_examples=20)
@given(st.lists(st.lists(COUNTS, min_size=2, max_size=2), min_size=2, max_size=2))
@example([[13, 0], [0, 12]])
@example([[11, 0], [0, 11]])
@example([[40, 5], [30, 20]])
def test_whoever_writes_it_from_the_protocol_blanks_the_same(rows: list[list[int]]) -> None:
    counts, sums = two_way(rows)
    assert disclose(counts, sums) == by_the_book(counts, sums)
    counts, sums = one_way([*rows[0], 11, *rows[1]])
    assert disclose(counts, sums) == by_the_book(counts, sums)
