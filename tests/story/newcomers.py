"""Newcomers, each at a workstation of their own: persons of a party, and new parties; invited, enrolled and taken in
as in life.

Must never: take a step that no person takes.
"""

from __future__ import annotations

from typing import Any

from referral_api.client import sdk
from referral_api.client.compartment import InsecureKdfForTests
from referral_api.client.enrolment import Joined, Joining
from referral_api.client.sdk import Client
from referral_api.domain.words import CredentialKind
from referral_api.formats.enrolment import parse_invitation
from tests.wire import Wire
from tests.world import ENTRIES, PASSPHRASE, UNIT, Seat, World


class Unit:
    """Newcomers of the unit, on machines of their own."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.opened: list[Client] = []

    def join(self, name: str, *, by: str = "officer", party: str = UNIT, **more: Any) -> tuple[Joined, Client]:
        """Invited, enrolled and approved by a keyholder; the second keyholder, where there is one, comes later."""
        world = self.world
        keyholder = world.client(by)
        keyholder.sync_keys()
        invitation = parse_invitation(world.after(keyholder.invite(ENTRIES[party], [CredentialKind.PERSON])))
        what = Joining(
            invitation, PASSPHRASE, kdf=InsecureKdfForTests(), server=world.server.url, **{"station": name} | more
        )
        folder = world.folder / "profiles" / name
        joined = world.after(sdk.join(folder, what, transport=Wire(world.tape), clock=world.clock))
        (applicant,) = [one for one in keyholder.applicants() if one.code == joined.code]
        world.after(keyholder.approve(applicant, joined.code))
        client = Client.person(
            folder, PASSPHRASE, server=world.server.url, transport=Wire(world.tape), clock=world.clock
        )
        self.opened.append(client)
        return joined, client

    def close(self) -> None:
        """Close their clients."""
        for client in self.opened:
            client.close()

    def stations(self, client: Client) -> set[str | None]:
        """Whom a sender seals to now."""
        client.sync_keys()
        return {one.station for one in client.session.sealing_keymap.sealable(UNIT, client.session.now())}


class Newcomers:
    """New parties of one person each, admitted by the registrar. `world.client` knows them by their party's id."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.opened: list[Client] = []

    def admit(self, described: dict[str, Any]) -> Client:
        """The client of a new party's first person."""
        world, party = self.world, str(described["id"])
        registrar = world.registrar
        registrar.sync_keys()
        invitation = parse_invitation(world.after(registrar.invite(described, [CredentialKind.PERSON])))
        what = Joining(
            invitation, PASSPHRASE, entry=described, kdf=InsecureKdfForTests(), server=world.server.url, station="st1"
        )
        folder = world.folder / "profiles" / party
        joined = world.after(sdk.join(folder, what, transport=Wire(world.tape), clock=world.clock))
        (applicant,) = [one for one in registrar.applicants() if one.code == joined.code]
        world.after(registrar.approve(applicant, joined.code))
        world.seats = world.seats | {party: Seat(party)}
        client = Client.person(
            folder, PASSPHRASE, server=world.server.url, transport=Wire(world.tape), clock=world.clock
        )
        self.opened.append(client)
        client.sync_keys()
        return client

    def close(self) -> None:
        """Close their clients."""
        for client in self.opened:
            client.close()
