"""Newcomers of a party, each at a workstation of their own: invited, enrolled and taken in as in life.

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
from tests.world import ENTRIES, PASSPHRASE, UNIT, World


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
