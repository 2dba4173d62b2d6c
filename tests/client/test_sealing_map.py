"""To whose keys a client seals, by how much of the keys log it has seen, how much is cosigned, and since when."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from referral_api.client.addressing import recipients_for
from referral_api.client.freshness import FRESH_S
from referral_api.client.sdk import Client
from referral_api.domain.errors import ErrorCode
from referral_api.domain.words import Act
from referral_api.formats.bundle import parse_bundle
from referral_api.formats.parties import OBJECTION_S
from tests.client.clients import Clients, composition, refused
from tests.client.world import NATIONAL, OFFICER, REGISTRAR, THREE, SimulatedExchange, cosign, enc_key, witnessed
from tests.formats import parties_world as pw
from tests.formats.parties_world import NOW, Someone

UNIT = OFFICER.party


@pytest.fixture
def exchange() -> SimulatedExchange:
    return witnessed()


@pytest.fixture
def hotline(clients: Clients) -> Client:
    return clients.hotline()


def enc_of(party: str, log: pw.Log) -> list[dict[str, Any]]:
    found = log.keymap.find_party(party)
    assert found is not None
    return [one.wire() for one in found.body.enc]


def state(exchange: SimulatedExchange, who: Someone, enc: Sequence[dict[str, Any]], **entry: Any) -> None:
    """A statement of this unit that lists these encryption keys; those that are new get their entries."""
    log = exchange.log
    for one in enc:
        if log.keymap.find_key(one["kid"]) is None:
            log.put(pw.enc_entry(who.party, str(entry.pop("named")), who.seals))
    log.put(who.sign(Act.STATEMENT, log.next_body(who.party, [who], enc=list(enc), **entry), iat=exchange.now))


def freeze(exchange: SimulatedExchange, size: int, *, at: int = NOW) -> None:
    """From now on the exchange shows as cosigned a checkpoint of that many leaves, from that time."""
    honest, leaves = exchange.log_answer, list(exchange.log.leaves)

    def frozen(path: str, query: Any) -> Any:
        if path == "keys/checkpoint" and "cosigned" in query:
            now, exchange.log.leaves = exchange.log.leaves, leaves[:size]
            raw = exchange.checkpoint("keys")
            exchange.log.leaves = now
            return "text/plain", cosign(raw, *THREE[:2], at=at)
        return honest(path, query)

    exchange.log_answer = frozen  # type: ignore[method-assign]


def sealed_to(client: Client, **changes: Any) -> set[str]:
    entry = client.submit(composition(**changes))
    assert entry.outgoing.beside is not None
    return {str(one.kid) for one in parse_bundle(entry.outgoing.beside).routing.to if one.party == UNIT}


def stale(client: Client) -> int | None:
    return client.session.stale_since


OLD = str(enc_key("piura").kid)
NEW = pw.enc_kid("renewed")


# What no quorum has cosigned: added, it waits; taken away, it does not.


def test_a_key_that_no_quorum_has_cosigned_is_not_sealed_to(exchange: SimulatedExchange, hotline: Client) -> None:
    hotline.sync_keys()
    freeze(exchange, len(exchange.log.leaves))
    state(
        exchange,
        OFFICER,
        [*enc_of(UNIT, exchange.log), pw.enc_listed("renewed", "st1") | {"from": NOW + 1}],
        named="renewed",
    )
    assert sealed_to(hotline) == {OLD}
    assert hotline.session.keymap.sealable(UNIT, NOW + 1)[0].kid == NEW


def test_a_key_that_its_party_dropped_is_sealed_to_no_more_cosigned_or_not(
    exchange: SimulatedExchange, hotline: Client
) -> None:
    hotline.sync_keys()
    freeze(exchange, len(exchange.log.leaves))
    state(exchange, OFFICER, [])
    with refused(ErrorCode.NO_USABLE_KEY) as caught:
        hotline.submit(composition())
    assert "reason" not in caught.value.facts


def test_a_key_that_its_party_lets_end_earlier_ends_then_cosigned_or_not(
    exchange: SimulatedExchange, hotline: Client
) -> None:
    hotline.sync_keys()
    freeze(exchange, len(exchange.log.leaves))
    state(exchange, OFFICER, [enc_of(UNIT, exchange.log)[0] | {"until": NOW + 60}])
    assert sealed_to(hotline) == {OLD}
    exchange.now = NOW + 61
    with refused(ErrorCode.NO_USABLE_KEY):
        hotline.submit(composition())


def test_time_that_a_statement_adds_to_a_key_waits_for_the_quorum(exchange: SimulatedExchange, hotline: Client) -> None:
    state(exchange, OFFICER, [enc_of(UNIT, exchange.log)[0] | {"until": NOW + 60}])
    hotline.sync_keys()
    freeze(exchange, len(exchange.log.leaves))
    state(exchange, OFFICER, [enc_of(UNIT, exchange.log)[0] | {"until": NOW + 45 * pw.DAY}])
    exchange.now = NOW + 61
    with refused(ErrorCode.NO_USABLE_KEY):
        hotline.submit(composition())


def test_what_was_objected_to_is_sealed_to_by_nobody(exchange: SimulatedExchange, hotline: Client) -> None:
    """R-32 c: the objection needs no quorum; the statement never took effect anywhere."""
    recovered = pw.person(UNIT, "nuevo1", keyholder=True)
    exchange.log.put(*recovered.entries(), pw.enc_entry(UNIT, "renewed", recovered.seals))
    body = exchange.log.next_body(
        UNIT, [OFFICER, recovered], enc=[*enc_of(UNIT, exchange.log), pw.enc_listed("renewed", "st9")]
    )
    statement = REGISTRAR.sign(Act.STATEMENT, body)
    exchange.log.put(statement)
    hotline.sync_keys()
    freeze(exchange, len(exchange.log.leaves), at=NOW + OBJECTION_S)
    exchange.log.put(OFFICER.sign(Act.OBJECT, {"statement": pw.digest(statement), "reason": "not_ours"}))
    exchange.now = NOW + OBJECTION_S
    assert sealed_to(hotline) == {OLD}
    late = REGISTRAR.sign(Act.APPROVE_STATEMENT, pw.approval(UNIT, statement), iat=exchange.now)
    with refused(ErrorCode.STATEMENT_OUT_OF_SEQUENCE, "not-pending"):
        exchange.log.put(late)


# What a quorum has cosigned, but not within the hour.


def test_by_an_old_log_a_unit_is_sealed_to_by_the_keys_that_a_fresh_one_had(
    exchange: SimulatedExchange, hotline: Client
) -> None:
    hotline.sync_keys()
    renewed = pw.enc_listed("renewed", "st1") | {"from": NOW + 1}
    state(exchange, OFFICER, [*enc_of(UNIT, exchange.log), renewed], named="renewed")
    freeze(exchange, len(exchange.log.leaves), at=NOW + 10)
    exchange.now = NOW + 10 + FRESH_S + 1
    assert sealed_to(hotline) == {OLD}
    assert stale(hotline) == NOW + 10
    # Cosigned again, it is known: the newest key of the workstation is the one.
    freeze(exchange, len(exchange.log.leaves), at=exchange.now)
    assert sealed_to(hotline) == {NEW}
    assert stale(hotline) is None
    # And it stays known for as long as nothing takes it away, however old the log becomes.
    exchange.now += 5 * FRESH_S
    assert sealed_to(hotline) == {NEW}


def test_by_an_old_log_a_unit_whose_keys_have_all_changed_is_refused_with_the_number_known_before(
    exchange: SimulatedExchange, hotline: Client
) -> None:
    hotline.sync_keys()
    state(exchange, OFFICER, [pw.enc_listed("renewed", "st2")], named="renewed", duty_phone="+51999999999")
    freeze(exchange, len(exchange.log.leaves), at=NOW + 10)
    exchange.now = NOW + 10 + FRESH_S + 1
    with refused(ErrorCode.NO_USABLE_KEY) as caught:
        hotline.submit(composition())
    known = {"unit": UNIT, "instead": [NATIONAL.party], "reason": "changed", "phone": "+51730000199"}
    assert caught.value.facts == known
    # Nor a note, which tells as much.
    with refused(ErrorCode.NO_USABLE_KEY, "changed"):
        recipients_for(hotline.session, UNIT, hotline.session.now())
    # Others go on.
    hotline.submit(composition(action=NATIONAL.party))


def test_whoever_has_never_seen_a_fresh_log_seals_to_nobody(exchange: SimulatedExchange, hotline: Client) -> None:
    """An exchange could show a new workstation a log of last week, in which a stolen key is still good."""
    exchange.now = NOW + FRESH_S + 1
    with refused(ErrorCode.NO_USABLE_KEY, "changed") as caught:
        hotline.submit(composition())
    assert caught.value.facts["phone"] == "—"
    freeze(exchange, len(exchange.log.leaves), at=exchange.now)
    assert sealed_to(hotline) == {OLD}


def test_a_lost_text_of_the_cosignatures_makes_no_old_log_fresh(exchange: SimulatedExchange, hotline: Client) -> None:
    hotline.sync_keys()
    state(exchange, OFFICER, [pw.enc_listed("renewed", "st2")], named="renewed")
    freeze(exchange, len(exchange.log.leaves), at=NOW - FRESH_S - 1)
    hotline.sync_keys()
    hotline.directory.keys_cosigned.unlink()
    exchange.down = True
    with refused(ErrorCode.NO_USABLE_KEY, "changed"):
        hotline.queue(composition())
    hotline.queue(composition(action=NATIONAL.party))


def test_a_revocation_counts_at_once_by_an_old_log_too(exchange: SimulatedExchange, hotline: Client) -> None:
    hotline.sync_keys()
    freeze(exchange, len(exchange.log.leaves))
    exchange.now = NOW + FRESH_S + 1
    exchange.log.put(OFFICER.sign(Act.REVOKE, {"kid": OLD, "reason": "lost", "at": NOW}))
    with refused(ErrorCode.NO_USABLE_KEY) as caught:
        hotline.submit(composition())
    assert "reason" not in caught.value.facts


def test_without_witnesses_there_is_no_old_log(clients: Clients) -> None:
    clients.exchange = exchange = SimulatedExchange()
    exchange.found()
    client = clients.hotline()
    client.sync_keys()
    state(exchange, OFFICER, [pw.enc_listed("renewed", "st2")], named="renewed")
    exchange.now = NOW + 100 * FRESH_S
    assert sealed_to(client) == {NEW}
