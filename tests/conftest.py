"""What holds for every test: no network but the loopback, no property test that fails for being slow, one PostgreSQL.

Must never: replace anything of our own by something else.
"""

from __future__ import annotations

import ipaddress
import itertools
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from referral_api import outside
from referral_api.auditlog.policy import format_policy, policy_of
from referral_api.client.compartment import InsecureKdfForTests, seal_by_default
from tests.lying_witness import NAMES, LyingWitness, policy_at
from tests.pace import ordered
from tests.postgres import create_database, drop_database, start_postgres
from tests.world import WITNESSES, Founded, World, check_database, found

# Machines that run the tests are shared: time says nothing about correctness.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("shared")


class NetworkInTestsError(RuntimeError):
    """A test reached for something that is not on this machine."""


def _is_here(host: object) -> bool:
    if host in {None, "", "localhost", b"localhost"}:
        return True
    try:
        address = ipaddress.ip_address(host.decode() if isinstance(host, bytes) else str(host))
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def _refuse_network(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.connect" and isinstance(arguments[1], tuple) and not _is_here(arguments[1][0]):
        raise NetworkInTestsError(f"connection to {arguments[1][0]}")
    if event == "socket.getaddrinfo" and not _is_here(arguments[0]):
        raise NetworkInTestsError(f"look-up of {arguments[0]}")


sys.addaudithook(_refuse_network)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where several workers run the tests, what takes long comes first (tests/pace.py)."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if workers > 1:
        items[:] = ordered([(item.nodeid.partition("::")[0], item) for item in items], workers)


@pytest.fixture(scope="session", autouse=True)
def _cheap_passphrases() -> Iterator[None]:
    """Commands seal keystores with parameters that a test suite can afford; tests of the real ones name those."""
    before = seal_by_default(InsecureKdfForTests())
    yield
    seal_by_default(before)


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The libpq URL of a real PostgreSQL of this worker; tests make databases in it (`postgres_database`)."""
    with start_postgres() as url:
        yield url


_numbers = itertools.count(1)


@pytest.fixture
def postgres_database(postgres_url: str) -> Iterator[str]:
    """The libpq URL of a fresh, empty database, dropped after the test."""
    name = f"test_{next(_numbers)}"
    yield create_database(postgres_url, name)
    drop_database(postgres_url, name)


@pytest.fixture(scope="session")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Founded:
    """An exchange on SQLite with everybody enrolled, to be copied."""
    return found(tmp_path_factory.mktemp("founded"))


@pytest.fixture(scope="session")
def founded_on_postgres(tmp_path_factory: pytest.TempPathFactory, postgres_url: str) -> Founded:
    """The same on PostgreSQL."""
    name = "founded"
    url = create_database(postgres_url, name)
    return found(tmp_path_factory.mktemp("founded-postgres"), database_url=url, database=name)


ENGINES = ("sqlite", pytest.param("postgresql", marks=pytest.mark.postgres))


@contextmanager
def _serving(request: pytest.FixtureRequest, engine: str, folder: Path) -> Iterator[World]:
    """A copy of the founded exchange, served for the length of the block, at whose end everything must hold."""
    if engine == "sqlite":
        with World(request.getfixturevalue("founded"), folder) as world:
            yield world
            world.check()
            check_database(world)
        return
    founded: Founded = request.getfixturevalue("founded_on_postgres")
    postgres: str = request.getfixturevalue("postgres_url")
    name = f"world_{next(_numbers)}"
    with World(founded, folder, create_database(postgres, name, founded.database)) as world:
        yield world
        world.check()
        check_database(world)
    drop_database(postgres, name)


@pytest.fixture
def sqlite_world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """A served exchange of this test's own, on SQLite: for what only that engine does, and for stories of what people
    and clients do, where other files try both engines.
    """
    with _serving(request, "sqlite", tmp_path / "world") as world:
        yield world


@pytest.fixture
def story_world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """A served exchange of this test's own: on SQLite, and where the test says `on_both_engines` on each.

    For stories of what people and clients do with their keys. To the exchange they are few kinds of directory acts, of
    which one or two each say so; the others differ only on the clients' side, and the whole suite has its time limit.
    """
    with _serving(request, getattr(request, "param", "sqlite"), tmp_path / "world") as world:
        yield world


on_both_engines = pytest.mark.parametrize("story_world", ENGINES, indirect=True)


@pytest.fixture
def postgres_world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """A served exchange of this test's own, on PostgreSQL: for what only that engine does."""
    with _serving(request, "postgresql", tmp_path / "world") as world:
        yield world


@pytest.fixture(params=ENGINES)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """A served exchange of this test's own, on each engine."""
    with _serving(request, request.param, tmp_path / "world") as world:
        yield world


@pytest.fixture(scope="module", params=ENGINES)
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One served exchange for a whole file, on each engine."""
    with _serving(request, request.param, tmp_path_factory.mktemp("served") / "world") as world:
        yield world


@pytest.fixture(scope="module")
def witnessed(tmp_path_factory: pytest.TempPathFactory) -> Founded:
    """An exchange whose genesis act names three witnesses, two of whom must cosign."""
    policy = policy_of(2, [LyingWitness(name).key for name in NAMES])
    # Nobody is there yet; where they are is written into the file before each test's exchange starts.
    nowhere = tuple(replace(witness, url="http://127.0.0.1:9") for witness in policy.witnesses)
    return found(tmp_path_factory.mktemp("witnessed"), policy=replace(policy, witnesses=nowhere))


@pytest.fixture
def three() -> Iterator[list[LyingWitness]]:
    """Its witnesses, which answer whatever a test wants."""
    with ExitStack() as stack:
        yield [stack.enter_context(LyingWitness(name)) for name in NAMES]


@pytest.fixture
def witnessed_world(witnessed: Founded, three: list[LyingWitness], tmp_path: Path) -> Iterator[World]:
    """A copy of that exchange, served, that knows where its witnesses are."""
    world = World(witnessed, tmp_path / "exchange")
    (world.folder / WITNESSES).write_bytes(format_policy(policy_at(three)))
    with world:
        yield world


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], None]]:
    """Let this machine trust a certificate, as its administrator would."""

    def trust(pem: Path) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", str(pem))
        outside.tls.cache_clear()

    yield trust
    outside.tls.cache_clear()
