"""Workstations whose clocks are wrong: their referrals arrive all the same, dated with the exchange's time (R-43)."""

from __future__ import annotations

import pytest

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Act
from referral_api.formats.act import parse_act
from tests.world import World, composition

TWENTY_MINUTES_S = 20 * 60
NEAR_S = 60


@pytest.mark.parametrize("wrong_s", [TWENTY_MINUTES_S, -TWENTY_MINUTES_S], ids=["ahead", "behind"])
def test_a_referral_of_two_wrong_clocks_lives_as_any_other(world: World, wrong_s: int) -> None:
    """A hotline's clock is wrong the one way, the unit's the other: what both sign is dated with the time there is."""
    operator = world.client("operator", clock=lambda: world.clock() + wrong_s)
    officer = world.client("officer", clock=lambda: world.clock() - wrong_s)
    entry = operator.submit(composition())
    assert entry.code is None, entry
    ref = str(entry.outgoing.ref)
    acknowledged = officer.acknowledge(officer.open(ref))
    accepted = officer.act(ref, Act.ACCEPT, {})
    for one in (entry, acknowledged, accepted):
        assert one.receipt is not None
        assert abs(parse_act(one.outgoing.jws).iat - world.clock()) <= NEAR_S
    for client, off_s in ((operator, wrong_s), (officer, -wrong_s)):
        assert abs(client.session.skew_s - off_s) <= NEAR_S
    assert [shown.act.act for shown in operator.referral(ref).acts] == [Act.SUBMIT, Act.ACK, Act.ACCEPT]


def test_a_clock_that_is_hours_wrong_is_for_a_person_to_mend(world: World) -> None:
    """What could have us sign in another year is not followed; nothing is lost, and the words say what to do."""
    operator = world.client("operator", clock=lambda: world.clock() + 3 * 3600)
    with pytest.raises(ReferralError) as caught:
        operator.submit(composition())
    assert caught.value.code is ErrorCode.CLOCK_SKEW
    assert abs(caught.value.facts["skew_s"] - 3 * 3600) <= NEAR_S
    assert len(operator.outbox.entries()) == 0
