"""Databases of an exchange on both engines, already migrated: migrating is storage's own tests' business."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from referral_api.server.storage.database import Database
from tests.postgres import create_database, drop_database

TEMPLATE = "exchange_template"
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file to copy."""
    path = tmp_path_factory.mktemp("template") / "exchange.db"
    Database.create(f"sqlite:///{path}").close()
    return path


@pytest.fixture(scope="session")
def postgres_template(postgres_url: str) -> str:
    """The name of a migrated PostgreSQL database to copy."""
    Database.create(create_database(postgres_url, TEMPLATE)).close()
    return TEMPLATE


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def exchange_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a migrated, empty database of an exchange, on each engine."""
    if request.param == "sqlite":
        path = tmp_path / "exchange.db"
        shutil.copyfile(request.getfixturevalue("sqlite_template"), path)
        yield f"sqlite:///{path}"
        return
    server = request.getfixturevalue("postgres_url")
    name = f"exchange_{next(_numbers)}"
    yield create_database(server, name, request.getfixturevalue("postgres_template"))
    drop_database(server, name)


@pytest.fixture
def exchange_database(exchange_url: str) -> Iterator[Database]:
    """The same, open."""
    with Database.open(exchange_url) as database:
        yield database
