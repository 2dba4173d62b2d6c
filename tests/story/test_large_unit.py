"""The largest unit that the design allows for (§5): 60 persons, eight workstations and the backup, over real HTTP."""

from __future__ import annotations

import pytest

from referral_api.client import sdk
from referral_api.client.compartment import InsecureKdfForTests
from referral_api.client.enrolment import Joining
from referral_api.client.profile import ProfileDir
from referral_api.client.rewrapping import Outcome
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import CredentialKind, PartyId
from referral_api.formats.act import parse_act
from referral_api.formats.bundle import MAX_RECIPIENTS, parse_bundle
from referral_api.formats.directory_bodies import MAX_STATEMENT_BYTES
from referral_api.formats.enrolment import parse_invitation
from tests.crowd import admit_crowd
from tests.world import CANARY, ENTRIES, PASSPHRASE, UNIT, World, composition, entry

PERSONS, STATIONS = 60, 8
NEIGHBOURS = (*[5] * 10, 3, 1)
"""Of units that are informed, how many workstations each has."""


def fill(world: World) -> None:
    """The founded unit has two officers with a workstation each; take in whoever is missing."""
    names = [f"oficial{number:04}" for number in range(PERSONS - 2)]
    stations = [f"equipo{number}" for number in range(STATIONS - 2)]
    admit_crowd(world, world.officer, UNIT, names=names[:1], stations=stations[:5])
    admit_crowd(world, world.officer, UNIT, names=names[1:2], stations=stations[5:], backup=True)
    for at in range(2, len(names), 5):
        admit_crowd(world, world.officer, UNIT, names=names[at : at + 5])


def statement_bytes(world: World) -> int:
    """How large the unit's statement in effect is."""
    session = world.officer.session
    party = session.sync_keys().keymap.find_party(UNIT)
    assert party is not None
    return len(parse_act(session.replica.leaves[party.index]).jws.payload)


def test_sixty_persons_and_eight_workstations_are_one_unit(sqlite_world: World) -> None:
    world = sqlite_world
    before = str(world.submit().outgoing.ref)
    fill(world)
    world.check()
    party = world.officer.session.sync_keys().keymap.find_party(UNIT)
    assert party is not None
    assert (len(party.credentials), len(party.enc)) == (PERSONS + 1, STATIONS + 1)  # and the desk's service
    assert statement_bytes(world) <= MAX_STATEMENT_BYTES

    # Senders seal to every one of them, and what came before is sealed again to those that were not there.
    sent = world.submit()
    assert sent.outgoing.beside is not None
    to = [one for one in parse_bundle(sent.outgoing.beside).routing.to if one.party == UNIT]
    assert len(to) == STATIONS + 1
    assert CANARY in world.open("second_officer", str(sent.outgoing.ref)).body.situation.summary
    report = world.after(world.officer.identity.rewrap())
    outcomes = {one.ref: (one.outcome, len(one.stations)) for one in report.done}
    assert outcomes == {before: (Outcome.WRAPPED, STATIONS - 2 + 1), str(sent.outgoing.ref): (Outcome.HELD, 0)}

    # The ninth is refused with the reason, and nothing is lost: the same invitation takes in who only signs.
    keyholder, folder = world.officer, world.folder / "profiles" / "noveno"
    invitation = parse_invitation(keyholder.invite(ENTRIES[UNIT], [CredentialKind.PERSON]))
    what = Joining(invitation, PASSPHRASE, kdf=InsecureKdfForTests(), server=world.server.url, station="equipo9")
    with pytest.raises(ReferralError) as caught:
        sdk.join(folder, what, clock=world.clock)
    assert (caught.value.code, caught.value.facts["reason"]) == (ErrorCode.ACT_SCHEMA, "too-many-keys")
    assert not ProfileDir(folder).keystore.exists()
    assert len(parse_bundle(world.submit().outgoing.beside or b"").routing.to) == STATIONS + 1 + 2

    # Where a workstation is taken away there is room, with that very invitation.
    world.after(keyholder.identity.sign(keyholder.identity.removal(["station/equipo0"])))
    joined = sdk.join(folder, what, clock=world.clock)
    (applicant,) = keyholder.applicants()
    world.after(keyholder.approve(applicant, joined.code))
    assert statement_bytes(world) <= MAX_STATEMENT_BYTES

    # The yearly review prolongs all of them in one statement.
    found = keyholder.identity.roster()
    what_ = keyholder.identity.review([line.name for line in found.lines], [])
    assert not what_.ends
    world.after(keyholder.identity.sign(what_))
    assert statement_bytes(world) <= MAX_STATEMENT_BYTES


def test_a_referral_is_sealed_to_sixty_four_keys_and_not_to_more(sqlite_world: World) -> None:
    """R-22: the unit with all its workstations, eleven others that are informed, and who steps in; one key more is too
    many, and that is said before anything is sealed.
    """
    world = sqlite_world
    stations = [f"equipo{number}" for number in range(STATIONS)]
    for number, keys in enumerate(NEIGHBOURS):
        unit = f"comisaria-{number}"
        described = entry(unit, "police_unit", duty_phone=f"+517312345{number:02}")
        admit_crowd(world, world.registrar, unit, names=["jefe01"], stations=stations[:keys], entry=described)
    admit_crowd(world, world.officer, UNIT, names=["otro01"], stations=stations[:5])
    admit_crowd(world, world.officer, UNIT, names=["otro02"], stations=stations[5:6], backup=True)
    world.check()
    informed = tuple(PartyId(f"comisaria-{number}") for number in range(len(NEIGHBOURS)))

    sent = world.submit(information=informed[:-1])
    assert len(parse_bundle(sent.outgoing.beside or b"").routing.to) == MAX_RECIPIENTS
    assert sent.code is None
    assert CANARY in world.open("officer", str(sent.outgoing.ref)).body.situation.summary

    waiting = len(world.operator.outbox.entries())
    with pytest.raises(ReferralError) as caught:
        world.operator.submit(composition(information=informed))
    assert (caught.value.code, caught.value.facts) == (
        ErrorCode.TARGET_NOT_ALLOWED,
        {"reason": "too-many-recipients", "found": MAX_RECIPIENTS + 1, "limit": MAX_RECIPIENTS},
    )
    assert len(world.operator.outbox.entries()) == waiting
    assert world.submit(information=informed[1:]).code is None
