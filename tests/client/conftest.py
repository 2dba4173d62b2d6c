"""Fixtures of the client's tests: a simulated exchange, clients of it, and no patience with dead lines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import stamina

from tests.client.clients import Clients
from tests.client.world import SimulatedExchange


@pytest.fixture(autouse=True)
def _no_patience() -> Iterator[None]:
    with stamina.set_testing(True, attempts=2):
        yield


@pytest.fixture
def exchange() -> SimulatedExchange:
    simulated = SimulatedExchange()
    simulated.found()
    return simulated


@pytest.fixture
def clients(exchange: SimulatedExchange, tmp_path: Path) -> Iterator[Clients]:
    made = Clients(exchange, tmp_path)
    yield made
    for client in made.opened:
        client.close()
