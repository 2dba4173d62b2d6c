"""An exchange stays what the model says, whatever two hotlines, four units, clocks and power cuts do to it (design §10,
§14): R-14, R-60 to R-80, R-97, R-106, R-107.

`make machine` is the long run; REFERRAL_STEPS says how many steps.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.lifetime.house import House, memory
from tests.lifetime.machine import PARTIES, LifeMachine

A_LIFE = 50
"""Steps of one life."""
PHASES = [Phase.generate, Phase.shrink] if os.environ.get("REFERRAL_SHRINK") else [Phase.generate]
"""A failing life is long to shorten: REFERRAL_SHRINK=1 does it."""
STEPS = int(os.environ.get("REFERRAL_STEPS", "2000"))


@pytest.fixture(scope="module")
def fast_disk() -> Iterator[Path]:
    """Memory where there is some: thousands of commits wait for no disk."""
    with tempfile.TemporaryDirectory(dir=memory()) as folder:
        yield Path(folder)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Exception in thread writer:pytest.PytestUnhandledThreadExceptionWarning")
def test_whatever_happens_the_exchange_is_what_the_model_says(fast_disk: Path) -> None:
    house = House.found(fast_disk / "template", PARTIES)
    house.close()
    machine = type("Life", (LifeMachine,), {"template": fast_disk / "template", "found": house})
    bounds = settings(
        max_examples=max(1, -(-STEPS // A_LIFE)),
        stateful_step_count=A_LIFE,
        deadline=None,
        phases=PHASES,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(machine, settings=bounds)
