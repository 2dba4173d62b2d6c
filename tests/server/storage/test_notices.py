"""Notices between processes: what they carry, that they travel with the commit alone, and a line that comes back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from referral_api.domain.words import PARTY_ID
from referral_api.server.storage.database import Database
from referral_api.server.storage.notices import (
    ANYTHING,
    MAX_PAYLOAD_BYTES,
    Notice,
    Notices,
    encode_notice,
    parse_notice,
)

PARTIES = st.frozensets(st.from_regex(PARTY_ID, fullmatch=True), max_size=400)
HEARD_S = 5.0


@given(parties=PARTIES, keys_grew=st.booleans())
def test_a_notice_says_who_and_fits_or_says_everybody(parties: frozenset[str], keys_grew: bool) -> None:
    payload = encode_notice(Notice(parties, keys_grew), "a1b2")
    assert len(payload.encode()) <= MAX_PAYLOAD_BYTES
    heard = parse_notice(payload, "another")
    assert heard in {Notice(parties, keys_grew), Notice(None, keys_grew)}
    exact = sum(len(party) + 1 for party in parties) + len("a1b2 #keys") <= MAX_PAYLOAD_BYTES
    assert not exact or heard == Notice(parties, keys_grew)
    assert parse_notice(payload, "a1b2") is None


@given(payload=st.text(max_size=60))
def test_any_payload_is_read(payload: str) -> None:
    heard = parse_notice(payload, "own")
    assert (heard is None) == (payload.partition(" ")[0] == "own")


@contextmanager
def listening(url: str, sender: str) -> Iterator[tuple[Notices, SimpleQueue[Notice]]]:
    told: SimpleQueue[Notice] = SimpleQueue()
    line = Notices(url, sender)
    line.start(told.put)
    try:
        assert told.get(timeout=HEARD_S) == ANYTHING
        yield line, told
    finally:
        line.stop()


@pytest.fixture
def database(postgres_database: str) -> Iterator[Database]:
    with Database.create(postgres_database) as opened:
        yield opened


@pytest.mark.postgres
def test_a_notice_arrives_with_the_commit_at_all_others_and_never_without_it(
    database: Database, postgres_database: str
) -> None:
    with listening(postgres_database, "one") as (one, own), listening(postgres_database, "two") as (_, told):
        with suppress(ZeroDivisionError), database.write() as tx:
            one.send(tx, ["linea-1818"], keys_grew=True)
            raise ZeroDivisionError
        with database.write() as tx:
            one.send(tx, [], keys_grew=False)
        with database.write() as tx:
            one.send(tx, ["pnp-lima", "linea-1818"], keys_grew=False)
            with pytest.raises(Empty):
                told.get(timeout=0.2)
        assert told.get(timeout=HEARD_S) == Notice(frozenset({"linea-1818", "pnp-lima"}), keys_grew=False)
        with database.write() as tx:
            one.send(tx, [], keys_grew=True)
        assert told.get(timeout=HEARD_S) == Notice(frozenset(), keys_grew=True)
        with database.write() as tx:
            one.send(tx, [f"a-party-with-quite-a-long-name-{n:08}" for n in range(256)], keys_grew=False)
        assert told.get(timeout=HEARD_S) == Notice(None, keys_grew=False)
        assert own.empty()


@pytest.mark.postgres
def test_a_line_that_was_cut_comes_back_and_says_that_anything_may_have_happened(
    database: Database, postgres_database: str
) -> None:
    with listening(postgres_database, "one") as (one, _), listening(postgres_database, "two") as (_, told):
        with psycopg.connect(postgres_database, autocommit=True) as killer:
            killer.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE query = 'LISTEN referral_feed' AND datname = current_database()"
            )
        assert told.get(timeout=HEARD_S) == ANYTHING
        with database.write() as tx:
            one.send(tx, ["linea-1818"], keys_grew=False)
        assert told.get(timeout=HEARD_S) == Notice(frozenset({"linea-1818"}), keys_grew=False)


@pytest.mark.postgres
def test_a_line_that_was_never_listened_to_can_be_stopped(postgres_database: str) -> None:
    line = Notices(postgres_database, "one")
    line.stop()
    assert not line._thread.is_alive()


def test_a_host_asks_for_a_signature_at_once_and_is_answered_with_the_commit(
    database: Database, postgres_database: str
) -> None:
    with (
        listening(postgres_database, "signing") as (here, told),
        listening(postgres_database, "second") as (there, heard),
    ):
        with database.read() as conn:
            there.ask(conn)
        assert told.get(timeout=HEARD_S) == Notice(frozenset(), keys_grew=False, asks=True)
        with database.write() as tx:
            here.tell_signed(tx)
            with pytest.raises(Empty):
                heard.get(timeout=0.3)
        assert heard.get(timeout=HEARD_S) == Notice(frozenset(), keys_grew=False, signed=True)
