"""The exchange's own machine: its folders, their room and permissions, its four keys, reads that wait to be logged.

Must never: read more of a key than loading it does, say what a secret is, or make anything that is not there.

Implements: design §5 (the exchange's keys), §9 (signer's state on another disk); R-97.
"""

from __future__ import annotations

import shutil
import ssl
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from platform import python_version
from typing import Final

from referral_api import __version__
from referral_api.auditlog.policy import Policy
from referral_api.domain.errors import ReferralError
from referral_api.domain.findings import Finding, Level, at_least, failed, found
from referral_api.formats.signed import self_test
from referral_api.formats.statements import KeyMap
from referral_api.server.storage.backup import known_backups
from referral_api.server.storage.keyfiles import USES, Signers, load_signers
from referral_api.server.storage.operator_token import read_operator_token
from referral_api.server.storage.spool import SUFFIX

_SERVER_LIBRARIES: Final = ("cryptography", "fastapi", "uvicorn", "sqlalchemy", "joserfc", "authlib")


@dataclass(frozen=True, slots=True)
class Room:
    """How many bytes must be free in each folder: fewer is a warning, then a problem."""

    warning: int = 5 << 30
    problem: int = 512 << 20


@dataclass(frozen=True, slots=True)
class Premises:
    """What an exchange's settings say of where it lives: plain values, handed in by the command."""

    issuer: str
    environment: str
    database: str
    database_file: Path | None
    """The file of an SQLite database."""
    data_dir: Path
    keys_dir: Path
    signer_dir: Path
    listens: str
    """Its own address, `http://host:port`."""
    several_hosts: bool
    policy: Policy | None
    """The witnesses and where they are; None where the settings name none."""
    config: str
    """How commands name the settings file."""
    room: Room = field(default_factory=Room)

    @property
    def token(self) -> str | None:
        """The operator's token for the running process; None where it cannot be read, which costs details alone."""
        try:
            return read_operator_token(self.data_dir)
        except ReferralError:
            return None

    @property
    def folders(self) -> Mapping[str, Path]:
        """The three folders by the names of their settings."""
        return {"data_dir": self.data_dir, "keys_dir": self.keys_dir, "signer_dir": self.signer_dir}


def look_at_programs() -> Iterator[Finding]:
    """Which versions are installed here, and whether the signatures do what they must."""
    libraries = [f"{name} {metadata.version(name)}" for name in _SERVER_LIBRARIES]
    seen = {"referral": __version__, "python": python_version(), "openssl": ssl.OPENSSL_VERSION}
    yield found("host.versions", Level.OK, **seen, libraries=libraries)
    try:
        self_test()
    except ReferralError as error:
        yield failed("self-test", error)
    else:
        yield found("self-test", Level.OK)


def look_at_folders(premises: Premises) -> Iterator[Finding]:
    """Of each folder: whether it is there, closed to others, and has room; whether the signer's is on its own disk."""
    disks: dict[str, int] = {}
    for name, path in premises.folders.items():
        try:
            status = path.stat()
            disks[name] = status.st_dev
            mode = stat.S_IMODE(status.st_mode)
            yield found("host.folder", Level.PROBLEM if mode & 0o077 else Level.OK, "", folder=name, mode=f"{mode:04o}")
            free = shutil.disk_usage(path).free
        except OSError as error:
            yield found("host.folder-missing", Level.PROBLEM, folder=name, errno=error.errno)
            continue
        room = premises.room
        yield found(
            "host.disk", at_least(free, warning=room.warning, problem=room.problem), folder=name, free_bytes=free
        )
    if "signer_dir" in disks and disks["signer_dir"] == disks.get("data_dir"):
        yield found("host.one-disk", Level.NOTE)


def look_at_keys(premises: Premises) -> tuple[Signers | None, list[Finding]]:
    """The four keys, if they can be loaded, and why not."""
    try:
        return load_signers(premises.keys_dir), []
    except ReferralError as error:
        return None, [failed("host.keys", error, use=str(error.facts.get("use", "—")))]


def match_keys(signers: Signers, keymap: KeyMap, now: int) -> Finding:
    """Whether the keys that the keys log has in use now are here, each use's, and those that it has announced."""
    lacking = {
        use: [one for one in keymap.tenures(use) if one.ends_at > now and signers.find(use, one.key.kid) is None]
        for use in USES
    }
    wrong = [use.value for use, tenures in lacking.items() if tenures]
    if not wrong:
        return found("host.keys", Level.OK, uses=wrong)
    begun = any(one.begins_at <= now for tenures in lacking.values() for one in tenures)
    return found("host.keys-differ", Level.PROBLEM if begun else Level.WARNING, uses=wrong)


def look_at_spools(premises: Premises, now: int) -> Finding:
    """Reads of a closed time that the next start logs."""
    spools = list(premises.data_dir.glob(f"*{SUFFIX}"))
    ages = [now - int(path.stat().st_mtime) for path in spools]
    size = sum(path.stat().st_size for path in spools)
    level = Level.WARNING if spools else Level.OK
    return found("host.spools", level, count=len(spools), size_bytes=size, oldest_s=max(ages, default=0))


def look_at_backups(premises: Premises, now: int) -> Iterator[Finding]:
    """Of the backups that were made here and are still there: whether one is kept beyond its time (R-107)."""
    known = known_backups(premises.data_dir)
    overdue = [one.path for one in known if one.keep_until < now]
    if known:
        yield found("backups.kept", Level.WARNING if overdue else Level.OK, count=len(known), paths=overdue)
