"""An exchange that is raised again after each kill, in front of a world's clients."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import ENGINES
from tests.faults.exchange_process import Nursery
from tests.postgres import create_database, drop_database
from tests.world import Founded, World


@pytest.fixture(params=ENGINES)
def nursery(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[World, Nursery]]:
    """A world that is not served by itself but by such an exchange, on each engine."""
    on_postgres, name = request.param == "postgresql", "kills"
    founded: Founded = request.getfixturevalue("founded_on_postgres" if on_postgres else "founded")
    server = request.getfixturevalue("postgres_url") if on_postgres else ""
    database = create_database(server, name, founded.database) if on_postgres else ""
    world = World(founded, tmp_path / "world", database)
    raised = Nursery(world.settings, world.folder)
    world.server.port = raised.port
    try:
        yield world, raised
    finally:
        world.close_clients()
        raised.close()
        if on_postgres:
            drop_database(server, name)


@pytest.fixture
def progress(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> Callable[[int, int], None]:
    """Says on the terminal how far the long run is, which takes an hour; the sample in `make test` says nothing."""

    def tell(done: int, of: int) -> None:
        if "REFERRAL_KILLS" in os.environ and (done == of or done % 25 == 0):
            with capsys.disabled():
                print(f"\n{request.node.name}: {done} of {of} kills", end="", flush=True)

    return tell
