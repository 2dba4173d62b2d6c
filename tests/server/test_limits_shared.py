"""Limits and revocation among real server processes over one PostgreSQL (R-45, R-46, R-47)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import httpx2
import psycopg
import pytest

from referral_api.client import access
from referral_api.client.keystore import new_signing_secret
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.formats.keys import Alg
from referral_api.formats.strict_json import b64u
from referral_api.server.service.limits import FAILURES_A_MINUTE, MINUTE_S, SHARE_S, TOKENS_A_MINUTE
from referral_api.server.storage.database import Database
from referral_api.server.storage.quotas import KEPT_MINUTES, SharedCounts
from tests.processes import Process, serving
from tests.server.test_processes import client_at, meanwhile
from tests.wire import Caller
from tests.world import ISSUER, World

pytestmark = pytest.mark.postgres
REVOKED_WITHIN_S = 5.0
"""What is promised of every process of an exchange."""
LOW = 60
"""The lowest limit that the settings take."""


@pytest.fixture
def database(postgres_database: str) -> Iterator[Database]:
    with Database.create(postgres_database) as opened:
        yield opened


def early_in_a_minute() -> None:
    """Wait for a minute that has long enough to run for what is counted in one."""
    left = MINUTE_S - time.time() % MINUTE_S
    if left < 40:
        time.sleep(left + 0.1)


class Asking:
    """Token requests as a client sends them, to whichever process; `signer` None: the credential's own key."""

    def __init__(self, world: World) -> None:
        self.keys = world.colleague.keys
        self.random = world.colleague.session.ambient.random
        self.proving = new_signing_secret(Alg.ED25519, 0).signing_key()
        self.nonce: str | None = None

    def ask(self, base: str, signer: Any = None) -> httpx2.Response:
        """One request; a nonce that is asked for is given."""
        answer = self._once(base, signer)
        if answer.headers.get("dpop-nonce"):
            self.nonce = answer.headers["dpop-nonce"]
            answer = self._once(base, signer)
        return answer

    def _once(self, base: str, signer: Any) -> httpx2.Response:
        now = int(time.time())
        key, credential = signer or self.keys.access.signing_key(), self.keys.credential
        assertion = access.build_assertion(key, credential, ISSUER, jti=b64u(self.random(16)), now=now)
        url, jti = f"{ISSUER}/oauth/token", b64u(self.random(16))
        proof = access.build_proof(self.proving, "POST", url, jti=jti, now=now, nonce=self.nonce)
        headers = {"DPoP": proof, "Content-Type": "application/x-www-form-urlencoded"}
        return httpx2.post(f"{base}/oauth/token", content=access.token_form(assertion), headers=headers)


@contextmanager
def processes(world: World, folder: Path, **settings: Any) -> Iterator[list[Process]]:
    """Two further processes of an exchange."""
    changed = world.settings.model_copy(update=settings)
    with ExitStack() as every:
        yield [every.enter_context(serving(changed, folder / f"process-{number}.log")) for number in range(2)]


def test_a_count_is_one_for_all_processes_and_is_forgotten_after_its_minute(database: Database) -> None:
    here, there = SharedCounts(database), SharedCounts(database)
    assert [store.add("call/a", by, 100) for store, by in ((here, 3), (there, 4), (here, 0))] == [3, 7, 7]
    assert (here.add("call/a", 1, 101), here.add("call/b", 1, 100)) == (1, 1)
    there.add("call/a", 1, 100 + KEPT_MINUTES + 1)
    with database.read() as connection:
        assert {row[0] for row in connection.all("SELECT minute FROM quota")} == {101, 100 + KEPT_MINUTES + 1}


def test_a_database_that_does_not_count_says_so(database: Database) -> None:
    with database.read() as connection:
        connection.run("DROP TABLE quota")
    with pytest.raises(ReferralError) as error:
        SharedCounts(database).add("call/a", 1, 100)
    assert error.value.code is ErrorCode.REPLAY_STORE_UNAVAILABLE


def test_the_one_process_edition_counts_in_memory(tmp_path: Path) -> None:
    with Database.create(f"sqlite:///{tmp_path}/exchange.db") as opened, pytest.raises(ValueError, match="memory"):
        SharedCounts(opened)


def test_tokens_are_counted_by_all_processes_together(postgres_world: World, tmp_path: Path) -> None:
    asking = Asking(postgres_world)
    with processes(postgres_world, tmp_path) as both:
        early_in_a_minute()
        statuses = [asking.ask(both[number % 2].url).status_code for number in range(TOKENS_A_MINUTE + 2)]
        refused = asking.ask(both[0].url)
    assert statuses.count(200) <= TOKENS_A_MINUTE
    assert statuses[:18] == [200] * 18  # The world's own seats have asked for a token or two in this minute.
    assert (refused.status_code, refused.json()["error"]) == (429, "rate-limited")
    assert 0 < int(refused.headers["retry-after"]) <= MINUTE_S


def test_who_fails_at_one_process_is_locked_out_at_the_other_and_the_owner_at_neither(
    postgres_world: World, tmp_path: Path
) -> None:
    asking, thief = Asking(postgres_world), new_signing_secret(Alg.ED25519, 0).signing_key()
    with processes(postgres_world, tmp_path) as both:
        early_in_a_minute()
        failed = [asking.ask(both[0].url, thief).status_code for _ in range(FAILURES_A_MINUTE + 1)]
        elsewhere = asking.ask(both[1].url, thief)
        own = [asking.ask(one.url).status_code for one in both]
    assert failed == [401] * FAILURES_A_MINUTE + [429]
    assert (elsewhere.status_code, elsewhere.json()["error"]) == (429, "rate-limited")
    assert own == [200, 200]
    assert "rate-limited" in both[0].log.read_text()


def test_calls_at_one_process_count_at_the_other_within_seconds(postgres_world: World, tmp_path: Path) -> None:
    with processes(postgres_world, tmp_path, calls_a_minute=LOW) as both, ExitStack() as lines:
        here, there = (lines.enter_context(closing(Caller(postgres_world.officer, one.url, []))) for one in both)
        early_in_a_minute()
        statuses: list[int] = []
        while 429 not in statuses and len(statuses) < LOW + 2:
            statuses.append(here.call("GET", "/v1/ping").status)
        assert statuses.count(200) <= LOW
        assert len(statuses) > LOW * 0.8
        # The other has counted nothing near the limit: it learns of it with a tenth of it, and SHARE_S later.
        passed, began = 0, time.monotonic()
        while (answer := there.call("GET", "/v1/ping")).status == 200:
            passed += 1
            assert time.monotonic() - began < 30
    assert (answer.status, answer.code, answer.json["retry"]) == (429, "rate-limited", "after")
    assert 0 < int(answer.headers["retry-after"]) <= MINUTE_S
    assert passed <= LOW / 10 + SHARE_S * 2 * passed / (time.monotonic() - began) + 100


def until_refused(call: Callable[[], object], since: float) -> float:
    """How long after `since` a call is refused for want of access."""
    refused = None
    while refused is None and time.monotonic() - since < REVOKED_WITHIN_S:
        try:
            call()
        except ReferralError as error:
            refused = error.code
    assert refused is ErrorCode.INVALID_TOKEN
    return time.monotonic() - since


def lose_notices(world: World) -> None:
    """From the next start on nothing that is announced in this exchange's database is heard by anybody."""
    with psycopg.connect(world.settings.database_url, autocommit=True) as connection:
        connection.execute("CREATE FUNCTION public.pg_notify(text, text) RETURNS void LANGUAGE sql AS 'SELECT'")
        name = connection.info.dbname
        connection.execute(f"ALTER DATABASE {name} SET search_path = public, pg_catalog")
    world.restart()


@pytest.mark.parametrize("hearing", [True, False], ids=["notices are heard", "notices are lost"])
def test_a_revoked_key_opens_nothing_at_any_process_five_seconds_later(
    postgres_world: World, tmp_path: Path, hearing: bool
) -> None:
    """R-45, measured, and printed with `-s`."""
    world, took = postgres_world, list[float]()
    if not hearing:
        lose_notices(world)
    with processes(world, tmp_path) as both:
        for seat in ("colleague", "stranger", "officer"):
            with ExitStack() as clients:
                everywhere = [world.client(seat), *(clients.enter_context(client_at(world, one, seat)) for one in both)]
                for client in everywhere:
                    assert client.ping()["credential"] == client.keys.credential
                kid = everywhere[0].keys.access.signing_key().public.kid
                world.registrar.revoke(kid, "lost", int(time.time()))
                since = time.monotonic()
                took += [until_refused(client.ping, since) for client in everywhere]
                # Neither a token that is still running nor a new one: no process gives one to this key again.
                for client in everywhere:
                    with pytest.raises(ReferralError) as error:
                        client.session._ask_for_token(client.keys, client.session.ambient.random(32))
                    assert error.value.code is ErrorCode.INVALID_TOKEN
    what = "hear" if hearing else "hear nothing"
    print(f"\nprocesses that {what}: a token dies {median(took):.3f} s after its key, {max(took):.3f} s at most")
    assert max(took) < REVOKED_WITHIN_S


def test_a_poll_that_waits_ends_with_its_key(postgres_world: World, tmp_path: Path) -> None:
    """R-45: who was let in before the revocation is told nothing after it."""
    with processes(postgres_world, tmp_path) as both, client_at(postgres_world, both[0], "officer") as waiting:
        kid, asking = waiting.keys.access.signing_key().public.kid, threading.Event()
        told = meanwhile(lambda: refused_while_waiting(postgres_world, both[1], asking))
        assert asking.wait(30)
        time.sleep(1.5)
        revoked_at = time.monotonic()
        postgres_world.registrar.revoke(kid, "lost", int(time.time()))
        postgres_world.submit()
        code, asked_at = told()
        assert code is ErrorCode.INVALID_TOKEN
        assert asked_at < revoked_at


def refused_while_waiting(world: World, process: Process, asking: threading.Event) -> tuple[ErrorCode | None, float]:
    """What long polls of the officer end with, once one brings more than an empty page; and when that one was asked.

    A process that has only just begun to listen wakes everybody once, with nothing to tell.
    """
    until = time.monotonic() + 60
    with client_at(world, process, "officer") as client:
        while (asked_at := time.monotonic()) < until:
            asking.set()
            try:
                if client.next_page(wait_s=20).entries:
                    break
            except ReferralError as error:
                return error.code, asked_at
    return None, asked_at
