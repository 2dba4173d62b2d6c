"""How old the directory is by which a client seals, by the witnesses' own word (R-101)."""

from __future__ import annotations

from typing import Any

import pytest

from referral_api.auditlog.checkpoint import Cosignature, TrustPolicy, VerifiedCheckpoint
from referral_api.auditlog.note import SignatureType, VerifierKey
from referral_api.client.freshness import FRESH_S, quorum_time
from referral_api.client.sdk import Client
from referral_api.formats.strict_json import unb64u
from tests.client.clients import Clients, composition
from tests.client.world import THREE, SimulatedExchange, cosign, witnessed
from tests.formats.parties_world import NOW, key

LOG = VerifierKey("log.example/keys", SignatureType.ED25519, unb64u(key("log").public.jwk["x"]))


@pytest.fixture
def exchange() -> SimulatedExchange:
    return witnessed()


@pytest.fixture
def hotline(clients: Clients) -> Client:
    return clients.hotline()


def stale_after(exchange: SimulatedExchange, client: Client, seconds: int) -> int | None:
    """What a submission so long after the cosignatures says of them."""
    exchange.now = NOW + seconds
    client.submit(composition())
    return client.session.stale_since


def test_a_frozen_keys_log_is_told_and_stops_nobody(exchange: SimulatedExchange, hotline: Client) -> None:
    assert stale_after(exchange, hotline, 0) is None
    assert stale_after(exchange, hotline, FRESH_S) is None
    assert stale_after(exchange, hotline, FRESH_S + 1) == NOW


def test_it_is_remembered_across_calls_and_told_without_the_exchange(
    exchange: SimulatedExchange, hotline: Client, clients: Clients
) -> None:
    hotline.sync_keys()
    exchange.down = True
    again = clients.hotline()
    assert stale_after(exchange, again, 2 * FRESH_S) == NOW


def test_new_cosignatures_of_the_same_tree_end_it(
    exchange: SimulatedExchange, hotline: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    hotline.sync_keys()
    assert stale_after(exchange, hotline, 2 * FRESH_S) == NOW
    honest = exchange.log_answer

    def later(path: str, query: Any) -> Any:
        found = honest(path, query)
        if path == "keys/checkpoint" and "cosigned" in query:
            return found[0], cosign(exchange.checkpoint("keys"), *THREE[:2], at=NOW + 2 * FRESH_S)
        return found

    exchange.log_answer = later  # type: ignore[method-assign]
    assert stale_after(exchange, hotline, 2 * FRESH_S + 5) is None
    # An older text shown again makes nothing older than it was seen to be.
    exchange.log_answer = honest  # type: ignore[method-assign]
    assert stale_after(exchange, hotline, 2 * FRESH_S + 10) is None


def test_what_is_kept_counts_for_nothing_unless_it_verifies(exchange: SimulatedExchange, hotline: Client) -> None:
    hotline.sync_keys()
    kept = hotline.directory.keys_cosigned
    raw = kept.read_bytes()
    assert raw.count("— w".encode()) >= 2
    kept.write_bytes(raw.replace(raw[-20:-10], b"AAAAAAAAAA"))
    exchange.down = True
    assert stale_after(exchange, hotline, 2 * FRESH_S) is None
    kept.unlink()
    assert stale_after(exchange, hotline, 2 * FRESH_S) is None


def test_an_exchange_without_witnesses_is_not_spoken_of(clients: Clients) -> None:
    clients.exchange = exchange = SimulatedExchange()
    exchange.found()
    client = clients.hotline()
    assert stale_after(exchange, client, 10 * FRESH_S) is None
    assert not client.directory.keys_cosigned.exists()


@pytest.mark.parametrize(
    ("times", "newest"),
    [((50, 40, 30), 40), ((50, 0, 30), 30), ((50, 0, 0), 0), ((0, 0, 0), 0), ((30, 50, 50), 50)],
)
def test_the_quorum_is_as_old_as_the_newest_that_suffices(times: tuple[int, ...], newest: int) -> None:
    given = tuple(Cosignature(one, at) for one, at in zip(THREE, times, strict=True))
    policy = TrustPolicy(LOG, THREE, 2)
    assert quorum_time(policy, VerifiedCheckpoint(LOG.name, 7, bytes(32), given)) == newest
