"""Who is shown what of a delivery, on a real exchange whose time is made by hand (R-54, R-62)."""

from __future__ import annotations

from pathlib import Path

from referral_api.domain.words import Act, Role
from tests.lifetime.house import House, open_house
from tests.lifetime.model import MINUTE
from tests.lifetime.parcels import Wanted, submission

LINE, LOCAL, AUDIT = "linea-1818", "pnp-local", "defensoria"


def test_a_unit_is_not_told_that_the_hotline_must_telephone_it(tmp_path: Path) -> None:
    """Not by the act, and not by the question that waits for an answer either; the sender and auditors are."""
    parties = {LINE: Role.HOTLINE, LOCAL: Role.POLICE_UNIT, AUDIT: Role.AUDITOR}
    with open_house(tmp_path, parties) as house:
        operator = house.desks[LINE].people[0]
        made = submission(house, operator, Wanted([(LOCAL, "action")], "emergency"))
        house.send(operator, made.raw, **made.beside)
        house.clock.ahead_s += 16 * MINUTE
        house.keep_alive()
        house.turn()
        assert asked(house, LINE, made.ref) == asked(house, AUDIT, made.ref) == [Act.TELEPHONE_NOW.value]
        assert asked(house, LOCAL, made.ref) == []


def asked(house: House, party: str, ref: str) -> list[str]:
    """The kinds of open questions that a party is shown."""
    (shown,) = house.view(house.desks[party].people[0], ref)["deliveries"]
    return [one["act"] for one in shown["open"]]
