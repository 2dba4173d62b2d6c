"""`referral admin revoke`: when nobody else is there the operator takes keys away, and everybody sees who did."""

from __future__ import annotations

import pytest

from referral_api.client.changes import Cause
from referral_api.domain.errors import ErrorCode
from referral_api.domain.words import Act, KeyUse
from referral_api.formats.act import parse_act
from referral_api.server.service.founding import EXCHANGE_CREDENTIAL
from tests.auditlog.refusals import refused
from tests.cli.test_recovery import config_of, referral
from tests.world import World


@pytest.fixture
def world(sqlite_world: World) -> World:
    """The command is above the engines."""
    return sqlite_world


def test_a_person_in_wrong_hands_is_shut_out_while_the_exchange_stands_still(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """docs/runbooks.md, a key or a person is lost: nobody of the registrar can be reached, and it cannot wait."""
    config, lost = config_of(world), world.officer.keys
    before = {one.digest for one in world.second_officer.identity.watch().look().open}
    code, told = referral(capsys, "admin", "revoke", lost.credential, "--config", config)
    assert (code, told["error"]["code"]) == (2, "exchange-running")
    world.server.stop()
    code, told = referral(capsys, "admin", "revoke", lost.credential, "--config", config)
    assert (code, len(told["revoked"])) == (0, 4), "the workstation's key, the one for access, and the two that sign"
    code, again = referral(capsys, "admin", "revoke", lost.credential, "--config", config)
    assert (code, again["revoked"]) == (0, [])
    world.server.start()
    refused(ErrorCode.INVALID_TOKEN, world.officer.ping)
    ref = str(world.submit().outgoing.ref)
    world.after(world.second_officer.acknowledge(world.after(world.second_officer.open(ref))))
    replica = world.second_officer.session.sync_keys()
    acts = [parse_act(leaf) for leaf in replica.leaves[-4:]]
    assert {(one.act, one.iss) for one in acts} == {(Act.REVOKE, EXCHANGE_CREDENTIAL)}
    assert all(replica.keymap.get_key(kid).revoked for kid in told["revoked"])
    new = [one for one in world.second_officer.identity.watch().look().open if one.digest not in before]
    assert {(one.act, one.cause) for one in new} == {(Act.REVOKE, Cause.OUTSIDER)}
    world.check()


def test_it_takes_no_key_of_the_exchange_and_none_that_nobody_knows(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    keymap = world.officer.session.sync_keys().keymap
    [own] = keymap.exchange_keys(KeyUse.RECEIPT)
    world.server.stop()
    config = config_of(world)
    code, told = referral(capsys, "admin", "revoke", own.kid, "--config", config)
    assert (code, told["error"]["code"]) == (7, "not-permitted")
    code, told = referral(capsys, "admin", "revoke", "pnp-trata-piura.nadie1", "--config", config)
    assert (code, told["error"]["code"]) == (6, "not-found")
    world.server.start()
    assert world.officer.session.sync_keys().keymap.size == keymap.size
    world.submit()
    world.check()
