"""The list of mutations fits the code, and every step of the door is on it."""

from __future__ import annotations

import ast

import pytest

from tests.mutate import Mutation, mutations
from tests.rules.tree import TOP


@pytest.mark.parametrize("mutation", mutations(), ids=lambda mutation: mutation.name)
def test_a_mutation_fits_its_file_and_leaves_valid_python(mutation: Mutation) -> None:
    source = (TOP / mutation.file).read_text()
    mutated = mutation.applied(source)
    assert mutated != source
    assert ast.parse(mutated).body
    assert all((TOP / test.partition("::")[0]).exists() for test in mutation.tests.split())


def test_a_mutation_that_no_longer_fits_says_so() -> None:
    with pytest.raises(ValueError, match="stands 0 times"):
        Mutation(name="n", file="f", old="absent", new="", tests="").applied("text")


def test_every_step_of_the_door_has_a_mutation() -> None:
    steps = {mutation.step for mutation in mutations() if mutation.file.startswith("referral_api/server/service/")}
    assert steps >= set(range(1, 10)), sorted(set(range(1, 10)) - steps)
