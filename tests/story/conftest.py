"""What holds for every story: nobody waits between attempts; and who joins in several of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import stamina

from tests.story.newcomers import Newcomers, Unit
from tests.world import World


@pytest.fixture(autouse=True)
def _no_pauses() -> Iterator[None]:
    with stamina.set_testing(True, attempts=3):
        yield


@pytest.fixture
def unit(world: World) -> Iterator[Unit]:
    """The unit's newcomers in this story."""
    made = Unit(world)
    yield made
    made.close()


@pytest.fixture
def newcomers(world: World) -> Iterator[Newcomers]:
    """Parties that join in this story."""
    made = Newcomers(world)
    yield made
    made.close()
