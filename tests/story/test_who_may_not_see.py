"""The wrong unit, the withheld escalation party, the excluded unit, the other hotline: for them there is nothing."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import psycopg
import pytest

from referral_api.client import sealing
from referral_api.client.delivery import private_keys
from referral_api.domain.errors import ErrorCode
from referral_api.domain.words import Act, CredentialId, PartyId, State
from referral_api.formats.bundle import parse_bundle
from tests.auditlog.refusals import refused
from tests.signing import sign
from tests.world import NATIONAL, OTHER_UNIT, UNIT, World

ABSENT = "01900000-0000-7000-8000-000000000000"


def nobody(_credential: CredentialId, _party: PartyId, _kids: object) -> sealing.TrustedSender:
    """No sender is known: never reached by who cannot decrypt."""
    raise AssertionError("the bundle was opened")


def stolen_bundle(world: World) -> bytes:
    """The ciphertext, taken from the exchange's database behind its back."""
    if world.settings.database_url:
        with psycopg.connect(world.settings.database_url) as connection:
            row = connection.execute("SELECT body FROM sealed").fetchone()
    else:
        path = world.settings.data_dir / "exchange.sqlite"
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            row = connection.execute("SELECT body FROM sealed").fetchone()
    assert row is not None
    return bytes(row[0])


@pytest.mark.parametrize("who", ["stranger", "national", "colleague"])
def test_a_referral_of_others_is_like_one_that_does_not_exist(world: World, who: str) -> None:
    """R-51 (rule R5 of the field): same status, same document but for the request's id and time; R-63."""
    ref = str(world.submit().outgoing.ref)
    digest = world.operator.referral(ref).submit().act.digest
    caller = world.caller(who)
    for path in ("/v1/referrals/{}", "/v1/referrals/{}/bundle", f"/v1/referrals/{{}}/sealed/{digest}"):
        there, absent = (caller.call("GET", path.format(one)) for one in (ref, ABSENT))
        assert there.status == absent.status == 404
        varying = {"request_id": None, "server_time": None}
        assert there.json | varying == absent.json | varying
        assert there.headers.keys() == absent.headers.keys()
    assert caller.call("GET", f"/v1/receipts/{digest}").code == "not-found"
    assert list(world.client(who).inbox()) == []
    world.check()


def test_who_was_not_sealed_to_cannot_open_what_he_steals(world: World) -> None:
    world.submit()
    stolen = stolen_bundle(world)
    refused(ErrorCode.NO_USABLE_KEY, lambda: sealing.open_bundle(stolen, private_keys(world.stranger.keys), nobody))
    # Not even by putting his own thumbprint over a recipient's: the key still opens nothing.
    mine = private_keys(world.stranger.keys)
    kid, private = next(iter(mine.items()))
    theirs = parse_bundle(stolen).recipients[0].kid
    refused(ErrorCode.DECRYPT_FAILED, lambda: sealing.open_bundle(stolen, {theirs: private}, nobody))
    assert kid != theirs


def test_an_escalation_party_holds_a_sealed_delivery_and_knows_of_nothing(world: World) -> None:
    """R-63: the hotline sees that it is held; the unit of the action sees nothing of it; the party itself nothing."""
    ref = str(world.submit().outgoing.ref)
    deliveries = world.operator.referral(ref).chronicle.deliveries
    assert deliveries[NATIONAL].state is State.HELD
    assert set(world.officer.referral(ref).chronicle.deliveries) == {UNIT}
    world.act("operator", ref, Act.NOTE, note="Llamó de nuevo.", unit=UNIT)
    world.act("operator", ref, Act.CONSENT_WITHDRAWN)
    assert list(world.national.inbox()) == []


def test_an_excluded_unit_is_never_addressed_and_only_the_hotline_sees_that(world: World) -> None:
    """R-62, R-64: the route act travels beside the submit; a unit sees neither it nor who was passed over."""
    sent = world.submit(excluded=(OTHER_UNIT, NATIONAL))
    ref = str(sent.outgoing.ref)
    assert [shown.act.act for shown in world.operator.referral(ref).acts] == [Act.SUBMIT, Act.ROUTE]
    assert set(world.operator.referral(ref).chronicle.deliveries) == {UNIT}
    seen = world.officer.referral(ref)
    assert [shown.act.act for shown in seen.acts] == [Act.SUBMIT]
    answer = world.caller("officer").call("GET", f"/v1/referrals/{ref}")
    assert OTHER_UNIT.encode() not in answer.body
    report = world.after(world.auditor.audit())
    assert report.complete, report.faults
    refused(ErrorCode.TARGET_NOT_ALLOWED, lambda: world.submit(action=OTHER_UNIT, excluded=(OTHER_UNIT,)))


def test_a_unit_for_information_reads_and_decides_nothing(world: World) -> None:
    ref = str(world.submit(information=(PartyId(OTHER_UNIT),)).outgoing.ref)
    world.acknowledge("stranger", ref)
    refused(ErrorCode.ILLEGAL_TRANSITION, lambda: world.stranger.act(ref, Act.ACCEPT, {}))
    head = world.stranger.referral(ref).chronicle.deliveries[OTHER_UNIT].head
    act_id, text = sign(world.stranger, Act.ACCEPT, {}, ref, unit=OTHER_UNIT, prev=head)
    answer = world.caller("stranger").call("PUT", f"/v1/referrals/{ref}/acts/{act_id}", {"act": text})
    assert (answer.status, answer.code) == (409, "illegal-transition"), answer.body
    assert world.operator.referral(ref).chronicle.deliveries[OTHER_UNIT].state is State.ACKNOWLEDGED
    assert set(world.stranger.referral(ref).chronicle.deliveries) == {OTHER_UNIT}
    assert set(world.officer.referral(ref).chronicle.deliveries) == {UNIT}


def test_an_auditor_reads_every_act_and_no_bundle(world: World) -> None:
    ref = str(world.submit().outgoing.ref)
    caller = world.caller("auditor")
    assert caller.call("GET", f"/v1/referrals/{ref}").status == 200
    assert caller.call("GET", f"/v1/referrals/{ref}/bundle").code == "not-found"
    world.check()
