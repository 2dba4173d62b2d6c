"""What a person's command does about keys that are due, once it has done what it was called for and shown it.

Keys that only a careful person renews are never renewed, and destroying on schedule that is not automatic is fiction.

Must never: be in the way of a command (its failure is told in one line, except an alarm, which ends it as one), go to
the network for nothing, or renew where that would undo what waits for somebody's approval.

Implements: R-32 (d); design §5 (30 days, destroyed after 75).
"""

from __future__ import annotations

from referral_api.cli.output import Screen
from referral_api.client import alarms
from referral_api.client.renewal import DAY_S
from referral_api.client.sdk import Client
from referral_api.domain.errors import ReferralError


class KeepingClient(Client):
    """A person's client that stays open after a call that came through, for `keep_up` when its result is shown."""

    _screen: Screen | None = None
    _passphrase = ""
    _left = False
    _keeps_at = 0

    def keep_up_with(self, screen: Screen, passphrase: str) -> None:
        """Say where to tell of it, and what seals the new keys."""
        self._screen, self._passphrase = screen, passphrase

    def __exit__(self, *raised: object) -> None:
        if self._screen is not None and self.session.latest and raised[0] is None:
            self._left = True
            return
        super().__exit__(*raised)

    def close(self) -> None:
        """Close it as ever: nothing is renewed any more."""
        self._screen = None
        super().close()

    def keep_up(self) -> None:
        """Renew and destroy what is due, once a day, if the exchange has answered at all; close what was left.

        Raises alarms (`alarms.is_alarm`); any other failure is told.
        """
        screen = self._screen
        if screen is None or not self.session.latest:
            return
        try:
            if self._keeps_at <= self.session.now():
                self._keeps_at = self.session.now() + DAY_S
                self._keep_up(screen)
        except ReferralError as failure:
            if alarms.is_alarm(failure):
                raise
            screen.talk("upkeep.failed", code=failure.code.value)
        except OSError as failure:
            screen.talk("upkeep.failed", code=type(failure).__name__)
        finally:
            if self._left:
                self.close()

    def _keep_up(self, screen: Screen) -> None:
        identity = self.identity
        if identity.due():
            self.sync_keys()
            stations = identity.due_unasked()
            if stations and (renewed := identity.rotate(self._passphrase, stations=stations)) is not None:
                screen.talk("upkeep.renewed" if renewed.turn == "done" else "upkeep.proposed")
        if identity.past():
            spent = identity.destroy(self._passphrase)
            for word, kids in (("destroyed", spent.destroyed), ("removed", spent.removed)):
                for kid in kids:
                    screen.talk(f"rotate.{word}", kid=kid)
