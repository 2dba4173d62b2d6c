"""What is forgotten when, on a real exchange whose time is made by hand (R-73, R-107)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Act, Role
from referral_api.formats.strict_json import sha256_b64u
from referral_api.server.storage import feeds
from tests.lifetime.house import DAY, House, open_house
from tests.lifetime.parcels import Parcel, Wanted, parcel, submission
from tests.world_check import check

LINE, LOCAL, OTHER = "linea-1818", "pnp-local", "pnp-otra"
ONWARD = {"to": OTHER, "reason": "jurisdiction"}


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    parties = {LINE: Role.HOTLINE, LOCAL: Role.POLICE_UNIT, OTHER: Role.POLICE_UNIT}
    with open_house(tmp_path, parties) as opened:
        yield opened
        check(opened)


def propose(house: House, *, retention: str) -> tuple[Parcel, Parcel]:
    """A referral that its unit has acknowledged and would pass on to the other, and that proposal."""
    operator, officer = house.desks[LINE].people[0], house.desks[LOCAL].people[0]
    made = submission(house, operator, Wanted([(LOCAL, "action")], retention=retention))
    house.send(operator, made.raw, **made.beside)
    seen = {"bundle": sha256_b64u(made.beside["sealed"]), "submit": made.digest, "decrypted": True}
    ack = parcel(house, officer, Act.ACK, seen, ref=made.ref, unit=LOCAL, prev=made.digest)
    house.send(officer, ack.raw)
    proposal = parcel(house, officer, Act.TRANSFER, ONWARD, ref=made.ref, unit=LOCAL, prev=ack.digest, to=[OTHER])
    house.send(officer, proposal.raw, **proposal.beside)
    return made, proposal


def pass_on(house: House) -> str:
    """A referral of the short class that one unit has passed on to the other; its id."""
    operator = house.desks[LINE].people[0]
    made, proposal = propose(house, retention="short")
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


def test_a_proposal_falls_with_the_purge_that_takes_its_bundle(house: House) -> None:
    """Approved later it would bring the new unit a referral that nobody can read; it is made anew instead."""
    (operator, colleague), officer = house.desks[LINE].people, house.desks[LOCAL].people[0]
    made, proposal = propose(house, retention="standard")
    prev = proposal.digest
    reason = {"reason": "data_subject_request"}
    for who, act in ((operator, Act.PURGE_REQUEST), (colleague, Act.APPROVE)):
        one = parcel(house, who, act, reason, ref=made.ref, unit=LOCAL, prev=prev)
        house.send(who, one.raw)
        prev, reason = one.digest, {"answers": one.digest}
    (shown,) = house.view(operator, made.ref)["deliveries"]
    assert (shown["state"], shown["open"]) == ("acknowledged", [])
    assert Act.APPROVE.value not in shown["allowed"]
    with house.runtime.exchange.database.read() as conn:
        assert feeds.feed_after(conn, LINE, 0, 100, pending=True) == []
    late = parcel(house, operator, Act.APPROVE, {"answers": proposal.digest}, ref=made.ref, unit=LOCAL, prev=prev)
    assert house.send(operator, late.raw).result.code is ErrorCode.ILLEGAL_TRANSITION
    again = parcel(house, officer, Act.TRANSFER, ONWARD, ref=made.ref, unit=LOCAL, prev=prev, to=[OTHER])
    house.send(officer, again.raw, **again.beside)
    agreed = parcel(
        house, operator, Act.APPROVE, {"answers": again.digest}, ref=made.ref, unit=LOCAL, prev=again.digest
    )
    house.send(operator, agreed.raw)
    assert house.fetch(house.desks[OTHER].people[0], made.ref) == again.beside["sealed"]
