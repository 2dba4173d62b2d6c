"""Both engines, for every test that asks for `database` or `database_url`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from referral_api.server.storage.database import Database


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a database may be created: nothing is there yet."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/exchange.db"
    return str(request.getfixturevalue("postgres_database"))


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    with Database.create(database_url) as created:
        yield created
