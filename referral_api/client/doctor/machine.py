"""What this machine itself says of a profile: its folder and files, the disk, keystore, pins, outbox, and the programs.

Nothing here needs the exchange, and only the service's key file is ever opened: whoever is at the door sees it too.

Must never: ask for a passphrase, make a folder or an outbox that is not there, or say where in the machine they lie.

Implements: design §5 (two compartments), §12, §15 (self-test).
"""

from __future__ import annotations

import shutil
import ssl
import stat
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from platform import python_version
from time import monotonic
from typing import Final

from referral_api import __version__
from referral_api.client.compartment import Kdf
from referral_api.client.keystore import CredentialKeys, Keystore, read_service_secret
from referral_api.client.outbox import Entry, Outbox, Progress
from referral_api.client.profile import ProfileDir, write_private
from referral_api.client.self_test import self_test
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.findings import Finding, Level, at_least, at_most, failed, found
from referral_api.domain.words import CredentialKind

OLD_S: Final = 24 * 3600
"""What has waited longer for the exchange will not be taken there much longer either (R-14)."""
SLOW_MS: Final = 1_000
_OURS: Final = frozenset({".json", ".sqlite3", ".bin", ".txt", ".key"})
_MOST_NAMES: Final = 8


@dataclass(frozen=True, slots=True)
class Room:
    """How many bytes must be free: fewer is a warning, then a problem. A referral with attachments may take 2 GiB."""

    warning: int = 2 << 30
    problem: int = 200 << 20


def look_at_programs() -> Iterator[Finding]:
    """Versions, and whether the cryptography does on this machine what it must."""
    bits = sys.maxsize.bit_length() + 1
    yield found(
        "versions",
        Level.OK if bits == 64 else Level.PROBLEM,
        referral=__version__,
        python=python_version(),
        openssl=ssl.OPENSSL_VERSION,
        cryptography=metadata.version("cryptography"),
        bits=bits,
    )
    try:
        self_test()
    except ReferralError as error:
        yield failed("self-test", error)
    else:
        yield found("self-test", Level.OK)


def look_at_folder(directory: ProfileDir, room: Room) -> Iterator[Finding]:
    """Whether the folder is there, closed to others with all its files, writable for good, and has room."""
    try:
        mode = stat.S_IMODE(directory.path.stat().st_mode)
    except OSError:
        yield found("folder.missing", Level.PROBLEM, "referral enrol")
        return
    yield found("folder", Level.PROBLEM if mode & 0o077 else Level.OK, "chmod 700", mode=f"{mode:04o}")
    try:
        exposed = sorted(path.name for path in directory.path.iterdir() if _is_exposed(path))
        yield found("files", Level.PROBLEM if exposed else Level.OK, "chmod 600", exposed=exposed[:_MOST_NAMES])
        free = shutil.disk_usage(directory.path).free
        yield found("disk", at_least(free, warning=room.warning, problem=room.problem), "df -h", free_bytes=free)
        begun = monotonic()
        probe = directory.path / ".doctor"
        write_private(probe, b"\n")
        probe.unlink()
        took = int((monotonic() - begun) * 1000)
        yield found("durable", at_most(took, warning=SLOW_MS, problem=10 * SLOW_MS), "df -h", milliseconds=took)
    except OSError as error:
        yield found("unwritable", Level.PROBLEM, "df -h", errno=error.errno)


def _is_exposed(path: Path) -> bool:
    found_mode = path.lstat().st_mode
    return path.suffix in _OURS and stat.S_ISREG(found_mode) and bool(found_mode & 0o077)


def look_at_keystore(directory: ProfileDir) -> tuple[Keystore | None, list[Finding]]:
    """The keystore, where it can be read, and what its outside says."""
    try:
        keystore = Keystore.open(directory)
        kdf = keystore.kdf()
    except ReferralError as error:
        return None, [failed("keystore", error, "referral enrol" if error.code is ErrorCode.NOT_ENROLLED else "")]
    except OSError as error:
        return None, [found("keystore.unreadable", Level.PROBLEM, "ls -l", errno=error.errno)]
    kinds = [kind.value for kind in CredentialKind if keystore.has(kind)]
    findings = [found("keystore", Level.OK if kinds else Level.PROBLEM, "referral enrol", compartments=kinds)]
    if kdf is not None:
        least = Kdf()
        weak = kdf.memory_kib < least.memory_kib or kdf.passes < least.passes
        seen = {"memory_kib": kdf.memory_kib, "passes": kdf.passes, "lanes": kdf.lanes}
        seen |= {"least_memory_kib": least.memory_kib, "least_passes": least.passes}
        findings.append(found("kdf", Level.PROBLEM if weak else Level.OK, "referral keys rotate --seal", **seen))
    return keystore, findings


def open_service(keystore: Keystore, path: Path) -> tuple[CredentialKeys | None, list[Finding]]:
    """The service's keys, if its key file opens them, and what became of that."""
    if not keystore.has(CredentialKind.SERVICE):
        return None, []
    try:
        keys = keystore.unlock_service(read_service_secret(path))
    except ReferralError as error:
        return None, [failed("service-key", error, "chmod 600" if error.facts.get("reason") == "permissions" else "")]
    except OSError as error:
        return None, [found("service-key.missing", Level.PROBLEM, errno=error.errno)]
    return keys, [found("service-key", Level.OK)]


def look_at_pins(directory: ProfileDir) -> Finding:
    """Whether what was seen of the logs is still remembered."""
    try:
        return found("pins", Level.OK, count=len(directory.pinned()))
    except ReferralError as error:
        return failed("pins", error)


def look_at_outbox(directory: ProfileDir, now: int) -> Iterator[Finding]:
    """What waits here for a receipt, and what a person has to look at."""
    if not directory.outbox.exists():
        yield found("outbox", Level.OK, waiting=0, oldest_s=0)
        return
    try:
        with closing(Outbox.open(directory.outbox)) as outbox:
            entries = outbox.entries()
    except ReferralError as error:
        yield failed("outbox", error)
        return
    except OSError as error:
        yield found("outbox.unreadable", Level.PROBLEM, "df -h", errno=error.errno)
        return
    waiting = _those(entries, Progress.QUEUED, Progress.SENDING)
    oldest = max((now - one.queued_at for one in waiting), default=0)
    # Whatever waits is not with the unit: also what has waited for a minute only.
    level = at_most(oldest, warning=-1 if waiting else 0, problem=OLD_S)
    yield found("outbox", level, "referral outbox flush", waiting=len(waiting), oldest_s=oldest)
    stale, refused = _those(entries, Progress.NEEDS_RESEALING), _those(entries, Progress.REFUSED)
    if stale:
        first = stale[0].outgoing.id
        yield found("outbox.reseal", Level.PROBLEM, f"referral outbox reseal {first}", count=len(stale))
    if refused:
        yield found("outbox.refused", Level.WARNING, "referral outbox list", count=len(refused))


def _those(entries: list[Entry], *states: Progress) -> list[Entry]:
    return [one for one in entries if one.state in states]
