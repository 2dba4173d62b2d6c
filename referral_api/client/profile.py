"""A client's own directory: who it is, what it has pinned, and what it may reuse until it expires.

The directory is 0700, every file in it 0600 and replaced as a whole: after a crash there is the old text or the new.
Pins only ever advance, by compare-and-swap under a lock, so that two processes of one user cannot follow two different
histories of a log. Losing `tokens.json` costs a round trip; losing `pins.json` costs the memory of what was seen.

Must never: hold a private key other than a token's own short-lived one (keystore.py does), or accept a file that others
may read.

Implements: design §7 (token and DPoP key kept until expiry), R-34 (what an invitation pins), R-94.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import CredentialId, CredentialKind, Digest, PartyId
from referral_api.formats.strict_json import canonical, parse, unb64u

MAX_FILE_BYTES = 1 << 20
_READ_BY_OTHERS = 0o077
_DIGEST_BYTES = 32
MAX_MADE = 4096
"""Of what was made here the newest so many are remembered; it is asked for within minutes."""

Language = Literal["es", "en"]


@dataclass(frozen=True, slots=True)
class Profile:
    """The public part of a keystore: one party on one exchange, as this workstation knows it.

    `server` is where calls go, `issuer` what the exchange calls itself (audience of assertions and acts), `root` the
    SHA-256 of the first leaf of its keys log: with it everything else can be checked.
    """

    server: str
    issuer: str
    root: Digest
    environment: Literal["production", "sandbox"]
    party: PartyId
    lang: Language = "es"
    person: CredentialId | None = None
    service: CredentialId | None = None

    def credential(self, kind: CredentialKind) -> CredentialId:
        """The credential of this kind. Raises NOT_ENROLLED (`kind`) where the workstation has none."""
        found = self.person if kind is CredentialKind.PERSON else self.service
        if found is None:
            raise ReferralError(ErrorCode.NOT_ENROLLED, kind=kind.value)
        return found

    def enrolled(self, kind: CredentialKind, credential: CredentialId) -> Profile:
        """The same profile with one more credential."""
        if kind is CredentialKind.PERSON:
            return replace(self, person=credential)
        return replace(self, service=credential)

    def wire(self) -> dict[str, Any]:
        """The JSON members."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Pin:
    """The newest verified head of one log: this many leaves, this root."""

    size: int
    root: bytes


@dataclass(frozen=True, slots=True)
class Token:
    """An access token, the secret of the DPoP key that it is bound to, and when it stops working (unix seconds)."""

    value: str
    expires_at: int
    dpop_secret: bytes


def parse_profile(value: Any) -> Profile:
    """Read the members of a profile. Raises KEYSTORE_CORRUPT (`reason` profile)."""
    fields = set(Profile.__slots__)
    texts = ("server", "issuer", "root", "environment", "party", "lang")
    if not isinstance(value, dict) or value.keys() != fields:
        raise corrupt("profile")
    if not all(isinstance(value[name], str) for name in texts):
        raise corrupt("profile")
    if not all(value[name] is None or isinstance(value[name], str) for name in ("person", "service")):
        raise corrupt("profile")
    if value["lang"] not in ("es", "en") or value["environment"] not in ("production", "sandbox"):
        raise corrupt("profile")
    return Profile(**value)


def corrupt(reason: str) -> ReferralError:
    """The error for a file of the client that is not what the client wrote.

    `reason` is one of `syntax`, `members`, `profile`, `checksum`, `header`, `parameters`, `contents`, `permissions`.
    """
    return ReferralError(ErrorCode.KEYSTORE_CORRUPT, reason=reason)


def write_private(path: Path, raw: bytes) -> None:
    """Replace a file as a whole, 0600 and durable before it has its name."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as handle:
            handle.write(raw)
            handle.flush()
            os.fsync(handle.fileno())
        Path(temporary).replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            Path(temporary).unlink()
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def read_private(path: Path, *, max_bytes: int = MAX_FILE_BYTES) -> bytes:
    """The bytes of a file of ours. Raises KEYSTORE_CORRUPT (`permissions`) if others may read it; FileNotFoundError."""
    with path.open("rb") as handle:
        if os.fstat(handle.fileno()).st_mode & _READ_BY_OTHERS:
            raise corrupt("permissions")
        raw = handle.read(max_bytes + 1)
    if len(raw) > max_bytes:
        raise corrupt("syntax")
    return raw


class ProfileDir:
    """The files of one client, beside its keystore."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.keystore = path / "keystore.json"
        self.outbox = path / "outbox.sqlite3"
        self.keys_log = path / "keys-log.bin"
        self.keys_cosigned = path / "keys-cosigned.txt"
        """The checkpoint of the keys log that a quorum of witnesses has cosigned last, as far as it was seen here."""
        self.enrolment = path / "enrolment.json"
        self.audit = path / "audit"
        self.keys_watch = path / "keys-watch.json"
        """How far the keys log was looked at for changes of one's own party, and what of it waits for a person."""
        self.opened = path / "opened"
        """The content keys of envelopes that were opened here (opened.py)."""
        self.views = path / "views"
        """The exchange's last answers about referrals, by credential (keptviews.py)."""
        self.lost = path / "lost"
        """Receipts in leaves that the exchange has lost, one file an act, as `referral receipt show` writes it."""
        self._pins = path / "pins.json"
        self._tokens = path / "tokens.json"
        self._cursor = path / "cursor.json"
        self._made = path / "made-here.json"
        self._tries = path / "tries.json"

    def create(self) -> None:
        """Make the directory, 0700. One open to others is refused: KEYSTORE_CORRUPT (`permissions`)."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.path.stat().st_mode & _READ_BY_OTHERS:
            raise corrupt("permissions")

    def forget_keys(self) -> None:
        """Remove keystore and enrolment, where the exchange has never heard of these keys or has refused them."""
        for path in (self.enrolment, self.keystore):
            path.unlink(missing_ok=True)

    def find_pin(self, origin: str) -> Pin | None:
        """The newest head of this log that was ever verified here, or None."""
        return self._read_pins().get(origin)

    def pinned(self) -> list[str]:
        """The names of everything that is pinned."""
        return list(self._read_pins())

    def advance_pin(self, origin: str, pin: Pin, *, seen: Pin | None) -> bool:
        """Replace the pin `seen`, from which `pin` was verified to grow; False if another process moved it meanwhile.

        A pin that would shrink, or change its root at the same size, is a programmer's error: nobody verified that.
        """
        with self._locked():
            pins = self._read_pins()
            if pins.get(origin) != seen:
                return False
            if seen is not None and (pin.size < seen.size or (pin.size == seen.size and pin.root != seen.root)):
                raise RuntimeError("a pin only advances")
            pins[origin] = pin
            logs = {name: {"root": known.root.hex(), "size": known.size} for name, known in pins.items()}
            write_private(self._pins, canonical({"logs": logs, "v": 1}))
        return True

    def find_token(self, credential: CredentialId, now: int) -> Token | None:
        """A token of this credential that will still work for half a minute, or None."""
        # A profile holds a person and a service; a token of the one says nothing of the other's.
        with suppress(FileNotFoundError, LookupError, TypeError, AttributeError, ReferralError):
            entry = parse(read_private(self._tokens), max_bytes=MAX_FILE_BYTES)[credential]
            token = Token(entry["token"], entry["expires_at"], unb64u(entry["dpop_secret"], exact=32))
            return token if token.expires_at > now + 30 else None
        return None

    def keep_token(self, credential: CredentialId, entry: dict[str, str | int] | None) -> None:
        """Remember (or with None forget) the token of a credential: `token`, `expires_at`, `dpop_secret`."""
        with self._locked():
            try:
                tokens = parse(read_private(self._tokens), max_bytes=MAX_FILE_BYTES)
            except (FileNotFoundError, ReferralError):
                tokens = {}  # A damaged cache is only a cache.
            tokens.pop(credential, None)
            if entry is not None:
                tokens[credential] = entry
            write_private(self._tokens, canonical(tokens))

    def find_cursor(self) -> str | None:
        """How far the inbox was read, or None: from the beginning."""
        try:
            cursor = parse(read_private(self._cursor), max_bytes=MAX_FILE_BYTES)["cursor"]
        except FileNotFoundError:
            return None
        return cursor if isinstance(cursor, str) else None

    def keep_cursor(self, cursor: str) -> None:
        """Remember how far the inbox was read."""
        write_private(self._cursor, canonical({"cursor": cursor}))

    def swap(self, path: Path, seen: bytes | None, raw: bytes, *, max_bytes: int = MAX_FILE_BYTES) -> bool:
        """Replace one of these files, which was read as `seen` (None: it was not there); False if that has changed."""
        with self._locked():
            try:
                found = read_private(path, max_bytes=max_bytes)
            except FileNotFoundError:
                found = None
            if found != seen:
                return False
            write_private(path, raw)
        return True

    def note_made(self, *names: str) -> None:
        """Remember directory acts (by digest) and keys (by thumbprint) as made on this workstation, before any is sent:
        what the keys log holds in our name and is not among them was made elsewhere.
        """
        with self._locked():
            made = [one for one in self._read_made() if one not in names]
            write_private(self._made, canonical({"made": [*made, *names][-MAX_MADE:], "v": 1}))

    def made(self) -> frozenset[str]:
        """What was noted as made here. Raises KEYSTORE_CORRUPT."""
        return frozenset(self._read_made())

    def _read_made(self) -> list[str]:
        try:
            made = parse(read_private(self._made), max_bytes=MAX_FILE_BYTES)["made"]
        except FileNotFoundError:
            return []
        except (ReferralError, LookupError, TypeError):
            raise corrupt("contents") from None
        if not isinstance(made, list) or not all(isinstance(one, str) for one in made):
            raise corrupt("contents")
        return made

    def tries(self, nonce: str) -> int:
        """How often wrong digits were typed here for the enrolment of this invitation."""
        return self._read_tries().get(nonce, 0)

    def count_try(self, nonce: str) -> int:
        """Count one more, durably, before anything else is done about it; how many there are now."""
        with self._locked():
            tries = self._read_tries()
            tries[nonce] = tries.get(nonce, 0) + 1
            write_private(self._tries, canonical({"tries": tries, "v": 1}))
        return tries[nonce]

    def _read_tries(self) -> dict[str, int]:
        try:
            tries = parse(read_private(self._tries), max_bytes=MAX_FILE_BYTES)["tries"]
        except FileNotFoundError:
            return {}
        except (ReferralError, LookupError, TypeError):
            raise corrupt("contents") from None
        if not isinstance(tries, dict) or not all(type(count) is int and count > 0 for count in tries.values()):
            raise corrupt("contents")
        return tries

    @contextmanager
    def keys_locked(self) -> Iterator[None]:
        """While the private keys are changed: one process at a time."""
        with (self.path / ".keys.lock").open("ab") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    def _read_pins(self) -> dict[str, Pin]:
        try:
            raw = read_private(self._pins)
        except FileNotFoundError:
            return {}
        try:
            logs = parse(raw, max_bytes=MAX_FILE_BYTES)["logs"]
            pins = {name: Pin(int(pin["size"]), bytes.fromhex(pin["root"])) for name, pin in logs.items()}
        except (ReferralError, LookupError, TypeError, ValueError, AttributeError):
            # To start over silently would forget what was promised to us; a person has to look.
            raise corrupt("contents") from None
        if any(len(pin.root) != _DIGEST_BYTES or pin.size < 0 for pin in pins.values()):
            raise corrupt("contents")
        return pins

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with (self.path / ".lock").open("ab") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
