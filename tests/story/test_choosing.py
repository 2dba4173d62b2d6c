"""An operator picks a unit from a place: who covers it, who listens there, and what it takes to go across a border."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from referral_api.client import choosing
from referral_api.client.choosing import Missing, Presence, Unit
from referral_api.client.submission import Composition
from referral_api.domain.choosing import OFFLINE_AFTER_S, POLL_INTERVAL_S, Suggestion
from referral_api.domain.errors import ErrorCode
from referral_api.domain.words import PartyId, State
from tests.auditlog.refusals import refused
from tests.liar import Liar
from tests.liar_scene import Scene
from tests.lies import LIES
from tests.story.newcomers import Newcomers
from tests.world import NATIONAL, OTHER_UNIT, REFERRAL, UNIT, Founded, World, entry

GUAYAS = entry("ec-guayas", "police_unit", duty_phone="+441632960990", country="EC")
BORDER = entry(
    "pnp-frontera", "police_unit", area=["2002"], duty_phone="+441632960991", escalation=[GUAYAS["id"], NATIONAL]
)
COAST = entry(
    *("pnp-costa", "police_unit"), area=["2003"], duty_phone="+441632960992", parent=OTHER_UNIT,
    escalation=[GUAYAS["id"], NATIONAL, "pnp-por-venir"],
)  # fmt: skip
AGREEMENT = "acuerdo-2026-1"
AYABACA = "200201"
SHARED = {
    "subject": "reporter",
    "state": "given",
    "basis": "consent",
    "identity_level": "anonymous",
    "scope": ["share_with_police"],
    "obtained_by": "op-2",
}
"""Consent of an adult who did not speak of other countries."""


@pytest.fixture
def world(sqlite_world: World) -> World:
    """What clients do here is the same before either engine; the door's own rules are tried on both elsewhere."""
    return sqlite_world


def suggested(world: World, ubigeo: str, **more: Any) -> list[tuple[Unit, Suggestion]]:
    world.operator.sync_keys()
    session = world.operator.session
    return choosing.suggest(choosing.units(session, choosing.fetch_presence(session)), ubigeo, **more)


def adult(scope: list[str]) -> dict[str, Any]:
    """The referral, of an adult who has agreed to this much."""
    victims = [{"ref": "V1", "age_group": "adult", "safe_contact": {"channel": "none"}}]
    consent = SHARED | {"subject": "V1", "scope": scope}
    return REFERRAL | {"involves_minor": "no", "victims": victims, "consent": consent}


def test_the_operator_is_shown_who_covers_the_place_and_whether_anybody_listens_there(world: World) -> None:
    """R-84: the exchange's word, and it makes no difference to the order who has the keys."""
    found = suggested(world, "200101")
    assert [one.party.id for one, _ in found] == [UNIT, NATIONAL]
    assert [one.presence for one, _ in found] == [Presence(live=False, live_at=None)] * 2
    list(world.officer.inbox())
    asked_at = int(world.clock())
    (unit, why), _ = suggested(world, "200101")
    assert unit.presence is not None
    assert (unit.presence.live, unit.reachable, why.area) == (True, True, "20")
    assert abs((unit.presence.live_at or 0) - asked_at) <= 5

    # Two looks missed is a slow line; three is nobody there. The referral goes all the same, and is read later.
    world.clock.ahead_s += 2 * POLL_INTERVAL_S
    assert suggested(world, "200101")[0][0].presence.live is True  # type: ignore[union-attr]
    world.clock.ahead_s += POLL_INTERVAL_S + 10
    offline = suggested(world, "200101")[0][0]
    assert (offline.party.id, offline.presence.live) == (UNIT, False)  # type: ignore[union-attr]
    ref = str(world.submit().outgoing.ref)
    world.acknowledge("officer", ref)
    assert suggested(world, "200101")[0][0].reachable


def test_who_last_polled_is_told_after_a_restart_too(world: World) -> None:
    list(world.officer.inbox())
    before = world.caller("operator").call("GET", f"/v1/parties/{UNIT}").json
    assert before["live"] is True
    world.submit()  # What was noted is stored with the next batch.
    world.close_clients()
    world.restart()
    after = world.caller("operator").call("GET", "/v1/parties").json
    told = {one["id"]: (one["live_at"], one["live"]) for one in after["parties"]}
    assert told[UNIT] == (before["live_at"], True)
    assert told[OTHER_UNIT] == (None, False)
    assert abs(after["server_time"] - int(world.clock())) <= 5
    published = world.caller("operator").call("GET", "/.well-known/referral-configuration").json
    assert published["polling"] == {"interval_s": POLL_INTERVAL_S, "offline_after_s": OFFLINE_AFTER_S}


def test_a_unit_that_cannot_be_sealed_to_is_shown_with_those_that_can(world: World) -> None:
    world.clock.ahead_s += 46 * 24 * 3600  # Nobody has renewed a key since.
    unit, _ = suggested(world, "200101")[0]
    assert (unit.party.id, unit.reachable, unit.instead) == (UNIT, False, ())


def test_an_excluded_unit_is_not_suggested(world: World) -> None:
    assert [one.party.id for one, _ in suggested(world, "200101", excluded=[UNIT])] == [NATIONAL]


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"ubigeo": "260101"}, "no-such-region"),
        ({"ubigeo": "00"}, "no-such-region"),
        ({"ubigeo": "2"}, "bad-format"),
        ({"ubigeo": "²0"}, "bad-format"),
        ({"ubigeo": "200101", "wanted": ["flying"]}, "not-in-list"),
    ],
)
def test_a_place_or_speciality_that_does_not_exist_is_refused(world: World, asked: Any, reason: str) -> None:
    assert refused(ErrorCode.MALFORMED, lambda: suggested(world, **asked)) == reason


def test_a_unit_abroad_is_refused_without_agreement_and_accepted_with_it(world: World, newcomers: Newcomers) -> None:
    """R-85; rule R14 of the field: by default nothing leaves the country."""
    guayas = newcomers.admit(GUAYAS)
    assert GUAYAS["id"] not in {one.party.id for one, _ in suggested(world, AYABACA)}
    asked = suggested(world, AYABACA, abroad=True)
    assert (asked[-1][0].party.id, asked[-1][0].abroad) == (GUAYAS["id"], True)

    alone = refused(ErrorCode.TARGET_NOT_ALLOWED, lambda: world.submit(action=GUAYAS["id"]))
    assert alone == "agreement-missing"
    informed = (PartyId(GUAYAS["id"]),)
    refused(ErrorCode.TARGET_NOT_ALLOWED, lambda: world.submit(information=informed))

    ref = str(world.submit(action=GUAYAS["id"], agreement=AGREEMENT).outgoing.ref)
    opened = world.after(guayas.open(ref))
    assert opened.warning is None
    world.after(guayas.acknowledge(opened))
    assert world.operator.referral(ref).chronicle.deliveries[GUAYAS["id"]].state is State.ACKNOWLEDGED
    report = world.after(world.auditor.audit())
    assert report.complete, report.faults


def test_consent_that_does_not_cover_the_border_stops_it_before_sealing(world: World, newcomers: Newcomers) -> None:
    """R-85: an agreement is between institutions; the person is asked too."""
    newcomers.admit(GUAYAS)
    here, far = adult(["share_with_police"]), adult(["share_with_police", "cross_border_share"])
    assert world.submit(body=here).code is None
    across = {"action": str(GUAYAS["id"]), "agreement": AGREEMENT}
    assert refused(ErrorCode.CONSENT_GATE, lambda: world.submit(body=here, **across)) == "scope-without-border"
    assert world.submit(body=far, **across).code is None


def test_escalation_goes_abroad_only_where_an_agreement_is_named(world: World, newcomers: Newcomers) -> None:
    newcomers.admit(GUAYAS)
    newcomers.admit(BORDER)
    held = []
    for agreement in (None, AGREEMENT):
        ref = str(world.submit(action=BORDER["id"], agreement=agreement).outgoing.ref)
        deliveries = world.operator.referral(ref).chronicle.deliveries
        held.append({unit for unit, one in deliveries.items() if one.state is State.HELD})
    assert held == [{NATIONAL}, {NATIONAL, GUAYAS["id"]}]


def test_who_would_step_in_is_named_parent_first_with_why_one_will_not(world: World, newcomers: Newcomers) -> None:
    """R-84, R-85: a unit that sleeps must not be the end of an emergency, and who is sent one is told beforehand."""
    newcomers.admit(GUAYAS)
    newcomers.admit(COAST)
    world.operator.sync_keys()

    def found(**more: Any) -> dict[str, Missing | None]:
        what = Composition(body=REFERRAL, action=PartyId(COAST["id"]), operator="op-2", **more)
        return choosing.successors(world.operator.session, what)

    guayas, nobody = GUAYAS["id"], "pnp-por-venir"
    assert list(found().items()) == [
        *((OTHER_UNIT, None), (guayas, Missing.ABROAD), (NATIONAL, None), (nobody, Missing.NO_KEY)),
    ]
    assert found(agreement=AGREEMENT)[guayas] is None
    assert found(excluded=(PartyId(OTHER_UNIT),))[OTHER_UNIT] is Missing.EXCLUDED
    assert found(information=(PartyId(NATIONAL),))[NATIONAL] is Missing.ADDRESSED


def test_a_mark_that_cannot_be_read_keeps_no_referral_back(founded: Founded, tmp_path: Path) -> None:
    """R-84: whoever asks for it alone is told that it is false; before a referral is sealed it is merely unknown."""
    with World(founded, tmp_path / "world") as world, Liar(world) as liar:
        world.check()
        scene = Scene(world, liar)
        scene.live()
        liar.begin(LIES["presence: no mark"])
        with scene.client(scene.folder("operator", "new"), lied_to=True) as operator:
            refused(ErrorCode.TAMPERED, choosing.fetch_presence, operator.session)
            assert choosing.find_presence(operator.session) is None
        assert liar.told
