"""The shared replay store on a real PostgreSQL: one winner among processes, and never a guess (R-44)."""

from __future__ import annotations

import hashlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import psycopg
import pytest

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.server.storage.database import Database
from referral_api.server.storage.replay import CLOCK_SKEW_S, SharedReplayStore
from tests.postgres import create_database, start_postgres
from tests.server.access import ISSUER, AccessWorld

pytestmark = pytest.mark.postgres


def name(number: int) -> bytes:
    return hashlib.sha256(str(number).encode()).digest()


@pytest.fixture
def database(postgres_database: str) -> Iterator[Database]:
    with Database.create(postgres_database) as opened:
        yield opened


def code(error: pytest.ExceptionInfo[ReferralError]) -> ErrorCode:
    return error.value.code


def settle(database: Database) -> SharedReplayStore:
    """A store whose epoch began an hour ago."""
    store = SharedReplayStore(database)
    store.epoch(int(time.time()))
    with database.read() as connection:
        connection.run("UPDATE replay_epoch SET started_at = started_at - 3600")
    return SharedReplayStore(database)


def test_two_processes_grant_a_proof_and_an_assertion_once_between_them(database: Database) -> None:
    now = int(time.time())
    here, there = settle(database), SharedReplayStore(database)
    here.claim_proof(name(1), now - 15, now + 90, None, now)
    here.claim_assertion(name(1), now + 400, now)
    for store in (here, there):
        with pytest.raises(ReferralError) as error:
            store.claim_proof(name(1), now - 15, now + 90, None, now)
        assert (code(error), error.value.facts) == (ErrorCode.INVALID_DPOP_PROOF, {"reason": "replayed"})
        with pytest.raises(ReferralError) as error:
            store.claim_assertion(name(1), now + 400, now)
        assert (code(error), error.value.facts) == (ErrorCode.INVALID_TOKEN, {"reason": "replayed"})


def test_of_many_threads_in_two_processes_one_wins(database: Database) -> None:
    now = int(time.time())
    stores = [settle(database), SharedReplayStore(database)]
    outcomes: list[str] = []

    def claim(store: SharedReplayStore) -> None:
        for number in range(40):
            try:
                store.claim_proof(name(number), now - 15, now + 90, None, now)
                outcomes.append("won")
            except ReferralError as error:
                outcomes.append(error.code)

    threads = [threading.Thread(target=claim, args=(store,)) for store in stores for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count("won") == 40
    assert outcomes.count(ErrorCode.INVALID_DPOP_PROOF) == 200


def test_a_young_epoch_asks_for_a_nonce_of_its_own(database: Database) -> None:
    now = int(time.time())
    store = SharedReplayStore(database)
    epoch = store.epoch(now)
    with pytest.raises(ReferralError) as error:
        store.claim_proof(name(1), now, now + 90, None, now)
    assert code(error) is ErrorCode.USE_DPOP_NONCE
    store.claim_proof(name(1), now, now + 330, epoch, now)
    with pytest.raises(ReferralError) as error:
        store.claim_proof(name(2), now, now + 330, epoch - 1, now)
    assert code(error) is ErrorCode.USE_DPOP_NONCE
    store.claim_proof(name(3), now + CLOCK_SKEW_S + 5, now + 90, None, now)


def test_every_process_knows_the_epoch_that_another_began(database: Database) -> None:
    now = int(time.time())
    here, there = SharedReplayStore(database), SharedReplayStore(database)
    assert here.epoch(now) == there.epoch(now)
    with database.read() as connection:
        connection.run("TRUNCATE replay, replay_epoch")
    later = there.epoch(now)
    here.claim_proof(name(1), now, now + 330, later, now)


def test_a_lost_table_never_grants_what_it_may_have_granted_before(database: Database) -> None:
    now = int(time.time())
    store = settle(database)
    epoch = store.epoch(now)
    store.claim_proof(name(1), now - 15, now + 90, None, now)
    store.claim_proof(name(2), now, now + 330, epoch, now)
    with database.read() as connection:
        connection.run("TRUNCATE replay, replay_epoch")
    for number, named in ((1, None), (2, epoch)):
        with pytest.raises(ReferralError) as error:
            store.claim_proof(name(number), now - 15, now + 90, named, now)
        assert code(error) is ErrorCode.USE_DPOP_NONCE
    store.claim_proof(name(3), now, now + 330, store.epoch(now), now)


def test_a_clock_set_back_moves_the_epoch_to_where_the_clock_had_been(database: Database) -> None:
    now = int(time.time())
    store = settle(database)
    epoch = store.epoch(now)
    store.claim_proof(name(1), now - 15, now + 90, None, now)
    store.epoch(now + 7200)
    with pytest.raises(ReferralError) as error:
        store.claim_proof(name(1), now - 15, now + 90, None, now)
    assert code(error) is ErrorCode.USE_DPOP_NONCE
    assert store.epoch(now) == epoch + 1
    store.claim_proof(name(2), now, now + 330, epoch + 1, now)


def test_what_is_past_is_swept_and_what_is_not_stays_whatever_one_clock_says(database: Database) -> None:
    now = int(time.time())
    with database.read() as connection:
        rows = "(key, expires_at) VALUES ('past', ?), ('kept', ?)"
        connection.run(f"INSERT INTO replay {rows}", (now - 100, now + 60))
        connection.run(f"INSERT INTO assertion {rows}", (now - 3700, now - 60))
    store = settle(database)
    store.claim_proof(name(1), now + 86_000, now + 87_000, None, now + 86_400)
    with database.read() as connection:
        assert connection.all("SELECT key FROM replay WHERE length(key) < 20") == [("kept",)]
        assert connection.all("SELECT key FROM assertion") == [("kept",)]


def test_a_database_that_does_not_answer_refuses_the_call(database: Database, tmp_path: Path) -> None:
    world = AccessWorld(tmp_path, SharedReplayStore(database))
    world.now = int(time.time())
    nonce = world.service._proofs.ask_for_nonce(0, world.now).facts["nonce"]
    token_url = f"{ISSUER}/oauth/token"
    answer = world.hotline.ask(None, world.hotline.proof("POST", token_url, nonce=nonce))
    assert answer.status == 200, answer
    token = answer.document["access_token"]
    with database.read() as connection:
        connection.run("ALTER TABLE replay RENAME TO replay_gone")
    proof = world.hotline.proof("GET", f"{ISSUER}/v1/inbox", token=token, nonce=nonce)
    with pytest.raises(ReferralError) as error:
        world.hotline.call(token, proof=proof)
    assert code(error) is ErrorCode.REPLAY_STORE_UNAVAILABLE
    assert world.hotline.ask(None, world.hotline.proof("POST", token_url, nonce=nonce)).status == 503
    with database.read() as connection:
        connection.run("ALTER TABLE replay_gone RENAME TO replay")
    assert world.hotline.call(token, proof=proof).credential == world.hotline.id


def test_a_crash_of_the_server_loses_the_proofs_with_their_epoch_and_keeps_the_assertions() -> None:
    now = int(time.time())
    with start_postgres(durable=True) as url, Database.create(create_database(url, "crash")) as database:
        store = settle(database)
        epoch = store.epoch(now)
        store.claim_proof(name(1), now - 15, now + 90, None, now)
        store.claim_proof(name(2), now, now + 330, epoch, now)
        store.claim_assertion(name(1), now + 400, now)
        _crash(url)
        for number, named in ((1, None), (2, epoch)):
            with pytest.raises(ReferralError) as error:
                _insist(partial(store.claim_proof, name(number), now - 15, now + 90, named, now))
            assert code(error) is ErrorCode.USE_DPOP_NONCE
        with pytest.raises(ReferralError) as error:
            store.claim_assertion(name(1), now + 400, now)
        assert code(error) is ErrorCode.INVALID_TOKEN
        assert store.epoch(now) > epoch


def _crash(url: str) -> None:
    """Kill one back end outright: the server drops all connections and recovers from its log."""
    with psycopg.connect(url, autocommit=True) as bystander:
        with psycopg.connect(url) as victim:
            os.kill(victim.info.backend_pid, signal.SIGKILL)
        for _ in range(100):
            try:
                bystander.execute("SELECT 1")
            except psycopg.OperationalError:
                return
            time.sleep(0.1)
    raise AssertionError("the server did not notice")


def _insist(claim: Callable[[], None]) -> None:
    for _ in range(100):
        try:
            claim()
        except ReferralError as error:
            if error.code is not ErrorCode.REPLAY_STORE_UNAVAILABLE:
                raise
            time.sleep(0.1)
        else:
            return
    raise AssertionError("the server did not come back")


def test_sqlite_is_refused_because_its_claims_live_in_memory(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'exchange.db'}"
    with Database.create(url) as database, pytest.raises(ValueError, match="memory"):
        SharedReplayStore(database)
