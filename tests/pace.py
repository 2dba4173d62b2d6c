"""In what order the workers of one run take the tests: what takes long first.

A run ends when its last worker does. pytest-xdist's `worksteal` gives every worker an equal share of the list, from the
front to the back, and who has done his takes half of what another has left, from its end. So each share begins with
long files, dealt out by how long they take, and ends with thousands of tests of a few milliseconds, which are what is
taken; whoever begins a test of two minutes in the end holds up all the others, who have nothing left to do.

Must never: leave a test out, or put the tests of one file in another order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

LONG_S: Mapping[str, int] = {
    "tests/story/test_liar_witnessed.py": 350,
    "tests/story/test_liar.py": 150,
    "tests/faults/test_flips.py": 130,
    "tests/story/test_witnesses.py": 110,
    "tests/story/test_server_keys.py": 100,
    "tests/story/test_renewal.py": 90,
    "tests/story/test_waking.py": 90,
    "tests/cli/test_liar.py": 90,
    "tests/faults/test_statements.py": 85,
    "tests/server/test_schemathesis.py": 85,
    "tests/story/test_second_host.py": 85,
    "tests/story/test_server_keys_live.py": 85,
    "tests/cli/test_renewing.py": 75,
    "tests/server/test_limits_shared.py": 75,
    "tests/story/test_passing_on.py": 70,
    "tests/lifetime/test_life_machine.py": 65,
    "tests/story/test_new_year.py": 60,
    "tests/server/test_processes.py": 60,
    "tests/story/test_witness_processes.py": 50,
    "tests/story/test_keys_of_two_hosts.py": 40,
    "tests/story/test_rolled_back.py": 40,
    "tests/faults/test_read_kills.py": 40,
    "tests/faults/test_kills.py": 40,
    "tests/faults/test_flips_postgres.py": 35,
    "tests/story/test_next_term_by_command.py": 20,
    "tests/story/test_log_key_witnessed.py": 20,
}
"""About how many seconds a file takes on two cores, where it takes a minute or one of its tests a quarter of one."""
T = TypeVar("T")


def hands(files: Mapping[str, Sequence[T]], workers: int) -> list[list[T]]:
    """The tests of the long files, dealt out to so many workers: the longest file goes to who has least so far."""
    dealt: list[list[T]] = [[] for _ in range(workers)]
    takes = [0] * workers
    for file in sorted(files.keys() & LONG_S.keys(), key=lambda file: (-LONG_S[file], file)):
        least = takes.index(min(takes))
        dealt[least] += files[file]
        takes[least] += LONG_S[file]
    return dealt


def ordered(tests: Sequence[tuple[str, T]], workers: int) -> list[T]:
    """All tests, each given with its file, as so many workers shall have them."""
    files: dict[str, list[T]] = {}
    for file, test in tests:
        files.setdefault(file, []).append(test)
    rest = [test for file, test in tests if file not in LONG_S]
    found: list[T] = []
    for at, hand in enumerate(hands(files, workers)):
        # As xdist shares out: of what is left, so many parts as workers are left.
        share = (len(tests) - len(found)) // (workers - at)
        fill = len(rest) if at == workers - 1 else max(0, share - len(hand))
        found += hand + rest[:fill]
        del rest[:fill]
    return found
