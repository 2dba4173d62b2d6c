"""A signer is moved: by its state across New Year, and by what a quorum of real witnesses has cosigned (R-93, R-97)."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from referral_api.auditlog.records import SignerAdopted
from referral_api.domain.errors import ReferralError
from referral_api.server import app
from tests.conftest import ENGINES
from tests.postgres import create_database
from tests.story.test_closed import logged, ready
from tests.story.test_new_year import YEAR, moment, record, set_clock, sizes
from tests.story.test_recovery import run_adopt
from tests.world import Clock, World, found
from tests.world_check import Rows


@pytest.fixture(params=ENGINES)
def december(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """An exchange at rest on the evening of 31 December, with a leaf that was committed and not signed."""
    clock, url = Clock(), ""
    if request.param != "sqlite":
        url = create_database(request.getfixturevalue("postgres_url"), f"dec_{tmp_path.name[-8:].lower().strip('_')}")
    set_clock(clock, moment(YEAR, 12, 31, 12))
    made = found(tmp_path / "founded", database_url=url, clock=clock)
    with World(made, tmp_path / "world", url) as world:
        set_clock(world.clock, moment(YEAR, 12, 31, 20))
        world.submit()
        world.server.stop()
        write_and_die(world)
        yield world
        world.check()


def write_and_die(world: World) -> None:
    """A life of the exchange that commits a leaf and is killed before it signs."""
    child = os.fork()
    if child == 0:

        def on_step(name: str) -> None:
            if name == "after-commit":
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            runtime = app.open_runtime(world.settings, clock=world.clock, on_step=on_step)
            runtime.writer.start()
            runtime.writer.run(record)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def move_house(world: World) -> dict[str, Path]:
    """This machine's states are another one's from now on; where they are, by log."""
    old = world.folder / "old-host"
    world.settings.signer_dir.rename(old)
    world.settings.signer_dir.mkdir()
    return {path.stem: path for path in old.glob("*.signer")}


def holders(world: World) -> dict[str, tuple[str, int]]:
    return {row["log"]: (row["signer_id"], row["fence"]) for row in Rows(world)["log_signer"]}


def test_after_new_year_the_last_years_log_is_taken_over_with_what_was_pending(december: World) -> None:
    world, states = december, move_house(december)
    set_clock(world.clock, moment(YEAR + 1, 1, 2))
    before = holders(world)
    with pytest.raises(ReferralError) as caught:
        run_adopt(world, [states["keys"]])
    assert caught.value.facts == {"reason": "signer-state-missing", "log": f"audit/{YEAR}"}
    assert holders(world) == before, "nothing was moved"
    run_adopt(world, list(states.values()))
    assert {path.stem for path in world.settings.signer_dir.glob("*.signer")} == {*states, f"audit-{YEAR + 1}"}
    assert {log: fence for log, (_, fence) in holders(world).items()} == {
        "keys": 2, f"audit/{YEAR}": 2, f"audit/{YEAR + 1}": 1
    }  # fmt: skip
    world.server.start()
    assert ready(world)[0] == 200
    world.submit()
    assert sizes(Rows(world)).keys() == {f"audit/{YEAR}", f"audit/{YEAR + 1}"}


def test_a_log_that_is_closed_needs_no_authority_but_the_genesis_that_names_its_end(december: World) -> None:
    world = december
    set_clock(world.clock, moment(YEAR + 1, 1, 1, second=5))
    write_and_die(world)  # It begins the new year; the closing leaf of the old one is signed by nobody yet.
    world.server.start()
    world.submit()
    world.server.stop()
    states = move_house(world)
    run_adopt(world, [states["keys"], states[f"audit-{YEAR + 1}"]])
    moved = holders(world)
    assert {log: fence for log, (_, fence) in moved.items()} == dict.fromkeys(moved, 2)
    world.server.start()
    assert ready(world)[0] == 200
    world.submit()
    heads = [one.head.origin.rpartition("/v1/log/")[2] for one in logged(world) if isinstance(one, SignerAdopted)]
    assert sorted(heads) == sorted(moved)
