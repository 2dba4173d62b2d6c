"""Joining: the right way is every world's beginning (tests/world.py: found); here is what goes wrong on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from referral_api.client import sdk
from referral_api.client.compartment import InsecureKdfForTests
from referral_api.client.enrolment import Joined, Joining
from referral_api.client.sdk import Client
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Act, CredentialKind, State
from referral_api.formats.enrolment import Invitation, parse_invitation
from tests.auditlog.refusals import refused
from tests.wire import Wire
from tests.world import ENTRIES, PASSPHRASE, UNIT, World, composition, entry

PERSON = CredentialKind.PERSON
NEW = entry("pnp-trata-cusco", "police_unit", area=["08"], duty_phone="+51842345678")
DAY_S = 24 * 3600


def invited(world: World, by: str = "registrar", described: dict[str, object] | None = None) -> Invitation:
    """An invitation file, as the newcomer gets it."""
    return parse_invitation(world.after(world.client(by).invite(described or NEW, [PERSON])))


def join(world: World, name: str, invitation: Invitation, described: dict[str, object] | None = None) -> Joined:
    """What the newcomer does."""
    what = Joining(
        invitation, PASSPHRASE, entry=described, kdf=InsecureKdfForTests(), server=world.server.url, station="st5"
    )
    return world.after(sdk.join(world.folder / "profiles" / name, what, transport=Wire(world.tape), clock=world.clock))


@pytest.fixture
def opened(world: World) -> Iterator[list[Client]]:
    """Clients of newcomers, closed afterwards."""
    clients: list[Client] = []
    yield clients
    for client in clients:
        client.close()


def test_a_new_unit_is_admitted_and_can_be_sent_to(world: World, opened: list[Client]) -> None:
    """R-32 a, R-34, R-35, R-36: nothing of it is on any log until the registrar has typed what the officer read out."""
    joined = join(world, "cusco", invited(world), NEW)
    assert joined.turn == "registrar"
    world.operator.sync_keys()
    assert all(party.id != NEW["id"] for party in world.operator.parties())
    refused(ErrorCode.TARGET_NOT_ALLOWED, lambda: world.operator.submit(composition(action="pnp-trata-cusco")))
    world.check()

    applicant = world.registrar.applicants()[0]
    assert applicant.code == joined.code
    world.after(world.registrar.approve(applicant, joined.code))
    profile, wire = world.folder / "profiles" / "cusco", Wire(world.tape)
    officer = Client.person(profile, PASSPHRASE, server=world.server.url, transport=wire, clock=world.clock)
    opened.append(officer)
    assert officer.joining().turn == "done"
    ref = str(world.submit(action="pnp-trata-cusco").outgoing.ref)
    world.after(officer.acknowledge(world.after(officer.open(ref))))
    assert world.operator.referral(ref).chronicle.deliveries["pnp-trata-cusco"].state is State.ACKNOWLEDGED


def test_digits_that_differ_admit_nobody(world: World) -> None:
    """R-36: one digit wrong, and another newcomer's."""
    joined = join(world, "cusco", invited(world), NEW)
    applicant = world.registrar.applicants()[0]
    last = joined.code[-1]
    for wrong in (joined.code[:-1] + ("0" if last != "0" else "1"), " ".join(["00000"] * 6)):
        refused(ErrorCode.CODE_MISMATCH, world.registrar.approve, applicant, wrong)
        world.check()
    assert world.registrar.applicants()[0].turn == "registrar"
    world.after(world.registrar.approve(applicant, joined.code.replace(" ", "")))


def test_an_invitation_works_once(world: World) -> None:
    """R-34."""
    invitation = invited(world)
    join(world, "cusco", invitation, NEW)
    refused(ErrorCode.INVITE_USED, join, world, "thief", invitation, NEW)
    world.check()


def test_an_invitation_ends_after_72_hours(world: World) -> None:
    """R-34."""
    invitation = invited(world)
    world.clock.ahead_s += 3 * DAY_S + 120
    refused(ErrorCode.INVITE_EXPIRED, join, world, "cusco", invitation, NEW)
    world.check()


def test_an_invented_invitation_is_unknown(world: World) -> None:
    invitation = invited(world)
    invented = invitation.model_copy(update={"secret": "A" * 21 + "A"})
    refused(ErrorCode.INVITE_UNKNOWN, join, world, "cusco", invented, NEW)
    world.check()


def test_an_invitation_of_another_exchange_pins_another_root(world: World) -> None:
    """R-30: whoever swaps the invitation swaps the root, and what is served does not fold from it."""
    invitation = invited(world)
    swapped = invitation.model_copy(update={"root": "A" * 43})
    joined = join(world, "cusco", swapped, NEW)
    # The digits cover the root: what the newcomer reads out is not what the registrar's own replica gives.
    applicant = world.registrar.applicants()[0]
    refused(ErrorCode.CODE_MISMATCH, world.registrar.approve, applicant, joined.code)
    world.check()


def test_only_a_registrar_invites_a_new_party_and_only_a_keyholder_into_his_own(world: World) -> None:
    """R-60. A person who is no keyholder may invite a person (itself, with new keys: R-32 d), and no service."""
    service = CredentialKind.SERVICE
    for by, described, kind in (("operator", NEW, PERSON), ("second_officer", ENTRIES[UNIT], service)):
        refused(ErrorCode.NOT_PERMITTED, world.client(by).invite, described, [kind])
        world.check()


def test_a_second_officer_is_taken_in_by_the_units_own_keyholder_alone(world: World) -> None:
    joined = join(world, "third_officer", invited(world, "officer", ENTRIES[UNIT]))
    assert joined.turn == "keyholder"
    assert world.registrar.applicants() == []
    world.after(world.officer.approve(world.officer.applicants()[0], joined.code))
    assert world.officer.applicants() == []
    world.operator.sync_keys()
    party = next(party for party in world.operator.parties() if party.id == UNIT)
    assert [one.kind for one in party.credentials].count(PERSON) == 3


def test_a_revoked_key_signs_and_authenticates_no_more(world: World) -> None:
    """R-33, R-45: from its leaf on, tokens that were issued before included."""
    ref = str(world.submit().outgoing.ref)
    world.acknowledge("officer", ref)
    lost = world.second_officer.keys
    world.second_officer.ping()
    seal = lost.signers()[0].kid
    world.after(world.officer.revoke(seal, "lost", int(world.clock())))
    refused(ErrorCode.KEY_NOT_VALID, _act_refused, world, ref)
    world.after(world.officer.revoke(lost.access.signing_key().kid, "lost", int(world.clock())))
    answer = world.caller("second_officer").call("GET", "/v1/ping")
    assert (answer.status, answer.code) == (401, "invalid_token")
    assert world.auditor.audit().complete


def _act_refused(world: World, ref: str) -> None:
    entry = world.second_officer.act(ref, Act.STATUS, {"code": "registered"})
    world.check()
    if entry.code is not None:
        raise ReferralError(entry.code)
