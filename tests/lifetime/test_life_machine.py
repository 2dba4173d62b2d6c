"""An exchange stays what the model says, whatever two hotlines, four units, clocks and power cuts do to it (design §10,
§14): R-14, R-60 to R-80, R-97, R-106, R-107.

`make machine` is the long run; REFERRAL_STEPS says how many steps, REFERRAL_SEED which.
"""

from __future__ import annotations

import itertools
import os
import secrets
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from referral_api.domain.words import EXCHANGE_ACTS, WITHOUT_REFERRAL, Act, State
from tests.lifetime import unowned
from tests.lifetime.house import House, memory
from tests.lifetime.machine import PARTIES, SENSIBLE
from tests.lifetime.others import WholeMachine
from tests.postgres import create_database, drop_database

A_LIFE = 50
"""Steps of one life."""
PHASES = [Phase.generate, Phase.shrink] if os.environ.get("REFERRAL_SHRINK") else [Phase.generate]
"""A failing life is long to shorten: REFERRAL_SHRINK=1 does it."""
STEPS = int(os.environ.get("REFERRAL_STEPS", "2000"))
SEED = int(os.environ.get("REFERRAL_SEED") or ("REFERRAL_STEPS" in os.environ and secrets.randbits(32)))
"""The short run lives the same lives every time, a long one others; a failure names it."""


@pytest.fixture(scope="module")
def fast_disk() -> Iterator[Path]:
    """Memory where there is some: thousands of commits wait for no disk."""
    with tempfile.TemporaryDirectory(dir=memory()) as folder:
        yield Path(folder)


IN_LIFE = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:Exception in thread writer:pytest.PytestUnhandledThreadExceptionWarning"),
]
"""The writer's thread ends in the midst of a batch, as often as the machine wants it."""


PEOPLE: Final = ("hotline person", "police_unit person", "auditor person", "registrar person")
PROGRAMS: Final = ("hotline service", "police_unit service")
EVERYTHING: Final = {
    *((by, act) for by, acts in SENSIBLE.items() for act in acts),
    *State,
    *(("shown to", who) for who in (*PROGRAMS, *PEOPLE[:3])),
    *(("hidden from", who) for who in (*PROGRAMS[1:], *PEOPLE) if who != "auditor person"),
    ("held, hidden from", "police_unit person"),
    *(("barred", who) for who in (*PROGRAMS, *PEOPLE)),
    *(("as the exchange", act) for act in EXCHANGE_ACTS - WITHOUT_REFERRAL),
    *(("as the exchange", what) for what in ("in its name", "as itself", *PROGRAMS[:1], *PEOPLE)),
    *(("silence", what) for what in ("short", "noticed", "telephoned", "of who has nothing to read")),
    *(("unowned", what) for what in unowned.ALL),
    ("service submits", Act.SUBMIT),
    ("person submits", Act.SUBMIT),
    ("service refused", Act.SUBMIT),
    ("carried by", "service"),
    ("fetches", "person"),
    ("fetches", "service"),
}
"""What must have happened, been shown, hidden and refused in one run: what reaches nothing proves nothing."""
ROUNDS: Final = 3


def live(steps: int, **members: object) -> None:
    """So many steps, in lives of their own; and again where something was never done in them."""
    bounds = settings(
        max_examples=max(1, -(-steps // A_LIFE)),
        stateful_step_count=A_LIFE,
        deadline=None,
        phases=PHASES,
        suppress_health_check=list(HealthCheck),
    )
    reached: Counter[object] = Counter()
    missed = set(EVERYTHING)
    for number in range(ROUNDS):
        machine = seed(SEED + number)(type("Life", (WholeMachine,), members | {"reached": reached}))
        try:
            run_state_machine_as_test(machine, settings=bounds)
        except BaseException as error:
            error.add_note(f"REFERRAL_SEED={SEED + number}")
            raise
        missed = {one for one in EVERYTHING if not reached[one]}
        if not missed:
            return
    raise AssertionError(f"nobody has ever come to {missed}")


class TestLife:
    """Each of them is long; what they share is that nothing may ever differ from the model."""

    pytestmark = IN_LIFE

    def test_whatever_happens_the_exchange_is_what_the_model_says(self, fast_disk: Path) -> None:
        house = House.found(fast_disk / "template", PARTIES)
        house.close()
        live(STEPS, template=fast_disk / "template", found=house)

    @pytest.mark.postgres
    @pytest.mark.skipif("REFERRAL_STEPS" not in os.environ, reason="the long run is `make machine`")
    def test_and_on_postgresql_too(self, fast_disk: Path, postgres_url: str) -> None:
        names = (f"life_{number}" for number in itertools.count())
        house = House.found(fast_disk / "on-postgres", PARTIES, create_database(postgres_url, "lives"))
        house.close()
        made: list[str] = []

        def fresh() -> str:
            if made:
                drop_database(postgres_url, made.pop())
            made.append(next(names))
            return create_database(postgres_url, made[-1], "lives")

        live(max(A_LIFE, STEPS // 10), template=fast_disk / "on-postgres", found=house, database=staticmethod(fresh))
