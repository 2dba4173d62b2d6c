"""The order of a run: nothing is left out, and what takes long comes first with every worker (tests/pace.py)."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.pace import LONG_S, ordered
from tests.rules.tree import TOP

LISTED = [(file, f"{file}::{at}") for file in LONG_S for at in range(20)]
BRIEF = [(f"tests/brief/test_{file}.py", f"{file}::{at}") for file in range(100) for at in range(30)]


def shares(tests: list[str], workers: int) -> list[list[str]]:
    """What each worker is given first, as pytest-xdist's `worksteal` does it."""
    left, found = list(tests), []
    for at in range(workers):
        count = len(left) // (workers - at)
        found.append(left[:count])
        del left[:count]
    return found


def test_each_file_that_is_said_to_take_long_is_there() -> None:
    assert [file for file in LONG_S if not (TOP / file).is_file()] == []


@pytest.mark.parametrize("workers", [2, 3, 4, 5, 10])
def test_every_worker_begins_with_what_takes_long(workers: int) -> None:
    given = ordered(BRIEF[:1000] + LISTED + BRIEF[1000:], workers)
    takes = []
    for share in shares(given, workers):
        files = list(dict.fromkeys(test.partition("::")[0] for test in share))
        long = [file for file in files if file in LONG_S]
        assert files[: len(long)] == long
        assert files[len(long) :], "nothing is left that another could take"
        takes.append(sum(LONG_S[file] for file in long))
    assert max(takes) <= max(*LONG_S.values(), 1.2 * sum(takes) / workers)


@pytest.mark.parametrize("workers", [1, 2, 3, 7])
@pytest.mark.parametrize("tests", [[], LISTED[:1], LISTED, BRIEF[:5], BRIEF[:50] + LISTED], ids=len)
def test_no_test_is_left_out_or_doubled_and_a_file_keeps_its_order(tests: list[tuple[str, str]], workers: int) -> None:
    given = ordered(tests, workers)
    assert Counter(given) == Counter(name for _, name in tests)
    for file in {file for file, _ in tests}:
        mine = [name for of, name in tests if of == file]
        assert [name for name in given if name in set(mine)] == mine
