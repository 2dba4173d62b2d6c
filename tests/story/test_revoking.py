"""Whoever is revoked is revoked whole, also a thief who is awake and signs as long as that counts (R-33)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from referral_api.cli.renewing import kids_of, revoke_all
from referral_api.client.compartment import InsecureKdfForTests
from referral_api.client.delivery import private_keys
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Act, Kid
from tests.formats.parties_world import DAY, NOW, Log, enc_entry, enc_kid, enc_listed, person
from tests.world import PASSPHRASE, UNIT, World

CHEAP = InsecureKdfForTests()


@pytest.fixture
def world(sqlite_world: World) -> World:
    """Both engines live through tests/story/test_enrolment.py and tests/server/test_directory.py."""
    return sqlite_world


def sealed_to(world: World) -> set[Kid]:
    world.operator.sync_keys()
    return {key.kid for key in world.operator.session.keymap.sealable(UNIT, int(world.clock()))}


def test_a_thief_who_renews_while_being_revoked_keeps_no_key(world: World) -> None:
    """The keys that sign go first; what they have signed by then is looked for again."""
    officer, thief = world.officer, world.second_officer
    officer.sync_keys()
    true, made = officer.session.ambient, list[Kid]()

    def random(size: int) -> bytes:
        if not made:
            made.append(Kid("on its way"))
            renewed = thief.identity.rotate(PASSPHRASE, stations=["st2"], kdf=CHEAP)
            assert renewed is not None
            made[:] = renewed.kids
        return true.random(size)

    officer.session.ambient = replace(true, random=random)
    revoked = revoke_all(officer, thief.keys.credential, "compromised")
    assert set(made) <= set(revoked)
    assert not sealed_to(world) & set(private_keys(thief.keys))
    signing = [one.kid for one in thief.keys.signers()]
    assert set(list(revoked)[: len(signing)]) == set(signing)
    world.check()


def test_what_somebody_vouched_for_is_found_though_nobody_lists_that_person_any_more() -> None:
    """Whoever renews leaves out whom a revoked key belongs to; the workstation's key stands there till it ends."""
    luis, nora = person("divtrata", "luis", keyholder=True), person("divtrata", "nora")
    mara = person("registro", "r001", keyholder=True)
    log = Log()
    log.registrar(mara)
    log.admit("police_unit", [luis, nora], mara, enc=["l1"])
    both = [enc_listed("l1", "st1"), enc_listed("n1", "st2")]
    log.put(enc_entry("divtrata", "n1", nora.seals))
    log.put(luis.sign(Act.STATEMENT, log.next_body("divtrata", [luis, nora], enc=both)))
    log.put(mara.sign(Act.REVOKE, {"kid": nora.seals[0].kid, "reason": "lost", "at": NOW}, iat=NOW + DAY))
    log.put(luis.sign(Act.STATEMENT, log.next_body("divtrata", [luis], enc=both), iat=NOW + DAY))
    assert kids_of(log.keymap, nora.id) == [nora.access.kid, enc_kid("n1")]
    later = replace(luis, generation=2)
    log.put(*later.entries(), luis.sign(Act.STATEMENT, log.next_body("divtrata", [later], enc=both), iat=NOW + DAY))
    keys = [later.seals[0].kid, luis.seals[0].kid, luis.access.kid, later.access.kid, enc_kid("l1")]
    assert sorted(kids_of(log.keymap, luis.id)) == sorted(keys), "an act by the earlier ones may still be on its way"
    for nobody in ("divtrata.nadie", "divtrata", "exchange.acts", "otra.luis"):
        with pytest.raises(ReferralError) as caught:
            kids_of(log.keymap, nobody)
        assert caught.value.code is ErrorCode.NOT_FOUND
