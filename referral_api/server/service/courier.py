"""One notice through one channel, in a process of its own: `python -m referral_api.server.service.courier`.

Apprise speaks to more than a hundred services, and reads what they answer. It is given an address and a constant text,
on standard input, so that no list of processes shows either; it is not given the exchange's keys, database or
environment. Whatever it has to say of an address goes nowhere: its one word is how it ends. service/channels.py
starts it, and ends it in time.

Must never: load Apprise in the server's own process, write an address anywhere, follow a redirect, or keep anything.

Implements: R-109; docs/decisions/0032.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from apprise import NotifyBase

MAX_BYTES: Final = 1 << 20
TAKEN: Final = 0
NOT_TAKEN: Final = 10
UNKNOWN: Final = 11
"""The address is none that Apprise knows."""
CHECK: Final = "check"
SEND: Final = "send"
SENDER: Final = "Aviso"
"""What a channel is told of who sends: nothing, in one word."""


def main(lines: Sequence[str]) -> int:
    """`send`, title, text, address: how that ended. `check` and addresses: UNKNOWN where some is none, its number said.

    A line each; there is no line break in any of them.
    """
    if lines and lines[0] == CHECK:
        for number, url in enumerate(lines[1:], 1):
            if _channel(url) is None:
                sys.stdout.write(str(number))
                return UNKNOWN
        return TAKEN
    _, title, text, url = lines
    channel = _channel(url)
    if channel is None:
        return UNKNOWN
    return TAKEN if channel.notify(body=text, title=title) else NOT_TAKEN


def _channel(url: str) -> NotifyBase | None:
    from apprise import Apprise, AppriseAsset, PersistentStoreMode  # noqa: PLC0415  # an extra

    asset = AppriseAsset(
        app_id=SENDER,
        app_desc=SENDER,
        app_url="",
        # Else some services are told to show a picture that every reader's device fetches from a third party.
        image_url_mask="",
        image_url_logo="",
        async_mode=False,
        http_redirects=False,
        pgp_autogen=False,
        pem_autogen=False,
        storage_mode=PersistentStoreMode.MEMORY,
    )
    made = Apprise.instantiate(url, asset=asset, suppress_exceptions=True)
    return made if hasattr(made, "notify") else None


if __name__ == "__main__":
    sys.exit(main(sys.stdin.buffer.read(MAX_BYTES).decode().split("\n")))
