"""The file that says who is woken, and through what: addresses that hold passwords, so it is a secret (R-109).

Members: `delay_s` and `digest_s` in seconds, `hint_urgency`, `admin` for the exchange's own alarms, and a table
`[parties]` of addresses by party (docs/runbooks.md, Notices).
It is read once, at the start, and never from anywhere else: who could write an address could make the exchange call
into the network that it stands in.

Must never: say a value of the file in an error, or read one that others can read or change.

Implements: R-109; docs/decisions/0032.
"""

from __future__ import annotations

import os
import re
import stat
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import PARTY_ID
from referral_api.server.storage.keyfiles import is_exposed

MAX_FILE_BYTES: Final = 1 << 19
MAX_CHANNELS: Final = 8
"""Of one party, and of the exchange's own operator."""
MAX_DELAY_S: Final = 3600
MAX_DIGEST_S: Final = 24 * 3600
_MEMBERS: Final = frozenset({"delay_s", "digest_s", "hint_urgency", "admin", "parties"})
_ADDRESS: Final = re.compile(r"[a-z0-9_.+-]{2,40}://[!-~]{1,2000}")


@dataclass(frozen=True, slots=True)
class NoticePlan:
    """Who is woken, and how. Whoever prints it sees no address."""

    parties: Mapping[str, Sequence[str]] = field(repr=False)
    """Addresses by party."""
    admin: Sequence[str] = field(default=(), repr=False)
    """Addresses for the exchange's own alarms."""
    delay_s: tuple[int, int] = (0, 90)
    digest_s: int = 300
    hint_urgency: bool = False


def load_plan(path: Path) -> NoticePlan:
    """Read the file. Raises UNAVAILABLE: `notices-missing`, `notices-exposed` (others may read or change it),
    `notices-unreadable` (`member`: which of it will not do).
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        raise _unusable("notices-missing") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise _unusable("notices-missing")
        if is_exposed(status):
            raise _unusable("notices-exposed")
        raw = os.read(descriptor, MAX_FILE_BYTES + 1)
    finally:
        os.close(descriptor)
    try:
        if len(raw) > MAX_FILE_BYTES:
            raise _unusable("notices-unreadable", "size")
        document = tomllib.loads(raw.decode())
    except ValueError:
        # The parser's own words can hold a piece of the file.
        raise _unusable("notices-unreadable", "toml") from None
    return _plan(document)


def _plan(document: Mapping[str, Any]) -> NoticePlan:
    for member in document.keys() - _MEMBERS:
        raise _unusable("notices-unreadable", member if re.fullmatch("[a-z_]{1,20}", member) else "—")
    parties = document.get("parties", {})
    if not isinstance(parties, dict) or not all(re.fullmatch(PARTY_ID, party) for party in parties):
        raise _unusable("notices-unreadable", "parties")
    delay, digest = document.get("delay_s", [0, 90]), document.get("digest_s", 300)
    if not isinstance(delay, list) or len(delay) != 2 or not 0 <= _whole(delay[0]) <= _whole(delay[1]) <= MAX_DELAY_S:
        raise _unusable("notices-unreadable", "delay_s")
    if not 0 <= _whole(digest) <= MAX_DIGEST_S:
        raise _unusable("notices-unreadable", "digest_s")
    if not isinstance(hint := document.get("hint_urgency", False), bool):
        raise _unusable("notices-unreadable", "hint_urgency")
    return NoticePlan(
        parties={party: _addresses(given, party) for party, given in parties.items()},
        admin=_addresses(document.get("admin", []), "admin"),
        delay_s=(delay[0], delay[1]),
        digest_s=digest,
        hint_urgency=hint,
    )


def _whole(value: object) -> int:
    """A whole number; what is none lies outside of every range here."""
    return value if isinstance(value, int) and not isinstance(value, bool) else -1


def _addresses(given: object, member: str) -> Sequence[str]:
    if not isinstance(given, list) or len(given) > MAX_CHANNELS:
        raise _unusable("notices-unreadable", member)
    for url in given:
        if not isinstance(url, str) or not _ADDRESS.fullmatch(url):
            raise _unusable("notices-unreadable", member)
    return tuple(given)


def _unusable(reason: str, member: str = "") -> ReferralError:
    return ReferralError(ErrorCode.UNAVAILABLE, reason=reason, **({"member": member} if member else {}))
