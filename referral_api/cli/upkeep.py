"""What a person's command does about keys that are due, once it has done what it was called for.

Keys that only a careful person renews are never renewed, and destroying on schedule that is not automatic is fiction.

Must never: be in the way of a command (its failure is told in one line), or go to the network for nothing.

Implements: R-32 (d); design §5 (30 days, destroyed after 75).
"""

from __future__ import annotations

import typer

from referral_api.cli.output import Screen
from referral_api.client.sdk import Client
from referral_api.domain.errors import ReferralError


class KeepingClient(Client):
    """A person's client that renews this workstation's keys when it is closed after a call that came through."""

    _screen: Screen | None = None
    _passphrase = ""

    def keep_up_with(self, screen: Screen, passphrase: str) -> None:
        """Say where to tell of it, and what seals the new keys."""
        self._screen, self._passphrase = screen, passphrase

    def __exit__(self, *raised: object) -> None:
        try:
            if self._screen is not None and self.session.latest and raised[0] in (None, typer.Exit):
                self._keep_up(self._screen)
        finally:
            super().__exit__(*raised)

    def _keep_up(self, screen: Screen) -> None:
        identity = self.identity
        try:
            if identity.due() and (renewed := identity.rotate(self._passphrase)) is not None:
                screen.talk("upkeep.renewed" if renewed.turn == "done" else "upkeep.proposed")
            if identity.past():
                spent = identity.destroy(self._passphrase)
                for word, kids in (("destroyed", spent.destroyed), ("removed", spent.removed)):
                    for kid in kids:
                        screen.talk(f"rotate.{word}", kid=kid)
        except ReferralError as failure:
            screen.talk("upkeep.failed", code=failure.code.value)
