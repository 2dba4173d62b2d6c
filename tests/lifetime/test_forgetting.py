"""What is forgotten when, on a real exchange whose time is made by hand (R-73, R-107)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Act, Role
from referral_api.formats.strict_json import sha256_b64u
from tests.lifetime.house import DAY, House, open_house
from tests.lifetime.parcels import Wanted, parcel, submission
from tests.world_check import check

LINE, LOCAL, OTHER = "linea-1818", "pnp-local", "pnp-otra"


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    parties = {LINE: Role.HOTLINE, LOCAL: Role.POLICE_UNIT, OTHER: Role.POLICE_UNIT}
    with open_house(tmp_path, parties) as opened:
        yield opened
        check(opened)


def pass_on(house: House) -> str:
    """A referral of the short class that one unit has passed on to the other; its id."""
    operator, officer = house.desks[LINE].people[0], house.desks[LOCAL].people[0]
    made = submission(house, operator, Wanted([(LOCAL, "action")], retention="short"))
    house.send(operator, made.raw, **made.beside)
    seen = {"bundle": sha256_b64u(made.beside["sealed"]), "submit": made.digest, "decrypted": True}
    ack = parcel(house, officer, Act.ACK, seen, ref=made.ref, unit=LOCAL, prev=made.digest)
    house.send(officer, ack.raw)
    body = {"to": OTHER, "reason": "jurisdiction"}
    proposal = parcel(house, officer, Act.TRANSFER, body, ref=made.ref, unit=LOCAL, prev=ack.digest, to=[OTHER])
    house.send(officer, proposal.raw, **proposal.beside)
    answer = {"answers": proposal.digest}
    approval = parcel(house, operator, Act.APPROVE, answer, ref=made.ref, unit=LOCAL, prev=proposal.digest)
    house.send(operator, approval.raw)
    return made.ref


def test_what_was_passed_on_stays_readable_for_whoever_got_it(house: House) -> None:
    """Rule R1 of the field: it is purged where it came from, and nobody has acknowledged it where it went."""
    ref = pass_on(house)
    house.clock.ahead_s += 40 * DAY
    house.keep_alive()
    house.turn()
    operator, officer, other = (house.desks[one].people[0] for one in (LINE, LOCAL, OTHER))
    states = {one["unit"]: one["state"] for one in house.view(operator, ref)["deliveries"]}
    assert states == {LOCAL: "purged", OTHER: "submitted"}
    assert house.fetch(other, ref)
    with pytest.raises(ReferralError) as caught:
        house.fetch(officer, ref)
    assert caught.value.code is ErrorCode.NOT_FOUND
