"""Brief reads: who must not wait is refused within seconds, and whoever finds no connection is told to come again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from referral_api.domain.errors import ErrorCode
from referral_api.server.storage.database import Database, RolledBack
from referral_api.server.storage.postgres import BRIEF, BRIEF_S

pytestmark = pytest.mark.postgres


@pytest.fixture
def database(postgres_database: str) -> Iterator[Database]:
    with Database.create(postgres_database) as opened:
        yield opened


def test_a_statement_that_takes_long_is_given_up(database: Database) -> None:
    started = time.monotonic()
    with pytest.raises(RolledBack), database.read(brief=True) as conn:
        conn.one("SELECT pg_sleep(?)", (5 * BRIEF_S,))
    assert time.monotonic() - started < 2 * BRIEF_S
    with database.read(brief=True) as conn:
        assert conn.one("SELECT 1") == (1,)


def test_without_a_free_connection_the_answer_is_to_try_again(database: Database) -> None:
    with ExitStack() as lent:
        for _ in range(4 * BRIEF):
            lent.enter_context(database.read(brief=True))
        with pytest.raises(RolledBack) as refused, database.read(brief=True):
            pytest.fail("there is no connection left")
    assert (refused.value.code, refused.value.facts["reason"]) == (ErrorCode.UNAVAILABLE, "contention")
    with database.read(brief=True) as conn:
        assert conn.one("SELECT 1") == (1,)
