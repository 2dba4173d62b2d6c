"""One call of the command line: its global options, the profile it acts for, and how secrets reach it.

A passphrase comes from the terminal or from a file that its option or environment variable names; a service's key from
its key file. Neither is ever an argument, because arguments can be read by every process of the machine.

Must never: keep a secret longer than the call, or ask a question where nobody sits at a terminal.
"""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

import typer
import yaml

from referral_api.cli.output import Exit, Fault, Screen, Shown
from referral_api.cli.upkeep import KeepingClient
from referral_api.client.compartment import MIN_PASSPHRASE_CHARACTERS
from referral_api.client.keystore import Keystore, read_service_secret
from referral_api.client.profile import Profile, ProfileDir
from referral_api.client.sdk import Client
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import CredentialKind, Role
from referral_api.formats.enrolment import verify_code
from referral_api.formats.strict_json import parse

SERVICE_KEY = "service.key"
"""The service's key file within a profile, where no option names another."""
MAX_DOCUMENT_BYTES = 1 << 20
MAX_SECRET_BYTES = 1024
CODE_ATTEMPTS = 3
_CREDENTIALS = "CREDENTIALS_DIRECTORY"  # systemd puts LoadCredential= there.
_SYSTEMD_NAME = "referral-service"


@dataclass(slots=True)
class Invocation:
    """The global options of one call."""

    screen: Screen
    profile_dir: Path
    server: str | None
    timeout_s: float
    yes: bool
    passphrase_file: Path | None
    service_key: Path | None
    _clients: list[Client] = field(default_factory=list)
    _passphrase: str | None = field(default=None, repr=False)

    @property
    def directory(self) -> ProfileDir:
        """The profile's files."""
        return ProfileDir(self.profile_dir)

    def profile(self) -> Profile:
        """The profile as enrolled. Raises NOT_ENROLLED."""
        return Keystore.open(self.directory).profile

    def nobody(self) -> Client:
        """A client without keys: for what lies on this machine. Raises NOT_ENROLLED."""
        return self._made(Client(self.profile_dir, **self._options()))

    def person(self) -> Client:
        """The person of this profile, asked for the passphrase. Raises NOT_ENROLLED, LOCKED."""
        if not Keystore.open(self.directory).has(CredentialKind.PERSON):
            raise ReferralError(ErrorCode.NOT_ENROLLED, kind=CredentialKind.PERSON.value)
        client = KeepingClient.person(self.profile_dir, self.passphrase(), **self._options())
        client.keep_up_with(self.screen, self.passphrase())
        return self._made(client)

    def service(self) -> Client:
        """The service of this profile, with its key file. Raises NOT_ENROLLED, LOCKED."""
        if not Keystore.open(self.directory).has(CredentialKind.SERVICE):
            raise ReferralError(ErrorCode.NOT_ENROLLED, kind=CredentialKind.SERVICE.value)
        return self._made(Client.service(self.profile_dir, self.read_service_key(), **self._options()))

    def anyone(self) -> Client:
        """The service where this machine can unlock it, else the person: for reading, nobody need type anything."""
        has_service = Keystore.open(self.directory).has(CredentialKind.SERVICE)
        return self.service() if has_service and self.service_key_path().is_file() else self.person()

    def reader(self) -> Client:
        """Who may read a referral: like `anyone`, but of an auditing body a person only (docs/permissions.md)."""
        client = self.anyone()
        own = client.session.keymap.find_party(client.profile.party)
        if own is None or own.role is not Role.AUDITOR:
            return client
        client.close()
        return self.person()

    def service_key_path(self) -> Path:
        """Where the service's key is: the option, systemd's credential, or the profile's own file."""
        if self.service_key is not None:
            return self.service_key
        given = Path(os.environ.get(_CREDENTIALS, "/nonexistent")) / _SYSTEMD_NAME
        return given if given.is_file() else self.profile_dir / SERVICE_KEY

    def read_service_key(self) -> bytes:
        """The service's 32 bytes. Raises LOCKED, KEYSTORE_CORRUPT; Fault where the file is missing."""
        path = self.service_key_path()
        try:
            return read_service_secret(path)
        except OSError:
            raise Fault("service-key-missing", Exit.NOT_ENROLLED, path=path) from None

    def passphrase(self) -> str:
        """The person's passphrase, from its file or from the terminal, asked for once a call."""
        if self._passphrase is None:
            if self.passphrase_file is not None:
                self._passphrase = read_line(self.passphrase_file)
            else:
                self._demand_terminal("passphrase-not-asked", Exit.NOT_ENROLLED)
                self._passphrase = getpass.getpass(self.screen.say("ask.passphrase") + " ")
        return self._passphrase

    def new_passphrase(self) -> str:
        """A passphrase for a new keystore: typed twice alike, or from its file. Raises LOCKED (`too-short`)."""
        chosen = self._chosen_passphrase()
        if len(chosen) < MIN_PASSPHRASE_CHARACTERS:
            raise ReferralError(ErrorCode.LOCKED, reason="too-short", minimum=MIN_PASSPHRASE_CHARACTERS)
        return chosen

    def _chosen_passphrase(self) -> str:
        if self.passphrase_file is not None:
            return read_line(self.passphrase_file)
        self._demand_terminal("passphrase-not-asked", Exit.NOT_ENROLLED)
        first = getpass.getpass(self.screen.say("ask.new_passphrase", minimum=MIN_PASSPHRASE_CHARACTERS) + " ")
        if first != getpass.getpass(self.screen.say("ask.again") + " "):
            raise Fault("passphrases-differ")
        return first

    def confirm(self, key: str, **values: Any) -> None:
        """Ask before what cannot be undone; `--yes` answers, and so does standing in a script. Raises Fault."""
        if self.yes or not sys.stdin.isatty():
            return
        self.screen.ask(key, **values)
        if sys.stdin.readline().strip().lower() not in ("s", "si", "sí", "y", "yes"):
            raise Fault("not-confirmed")

    def prompt(self, key: str, fault: str, **values: Any) -> str:
        """One line typed at the terminal. Raises Fault where there is none."""
        self._demand_terminal(fault, Exit.USAGE)
        self.screen.ask(key, **values)
        return sys.stdin.readline().rstrip("\n")

    def typed_code(self, expected: str, code_file: Path | None) -> str:
        """The thirty digits of an enrolment, from their file or typed here, where a slip may be put right twice.

        Raises CODE_MISMATCH after the third attempt, Fault where nobody is there to type. Digits from a file are
        returned as they are: whoever signs compares them.
        """
        if code_file is not None:
            return read_line(code_file)
        typed = self.prompt("ask.code", "code-not-typed")
        for left in range(CODE_ATTEMPTS - 1, 0, -1):
            with suppress(ReferralError):
                verify_code(typed, expected)
                return typed
            typed = self.prompt("ask.code_again", "code-not-typed", left=left)
        verify_code(typed, expected)
        return typed

    def show(self, shown: Shown) -> NoReturn:
        """Print a result, keep up with the keys, and end the call with the result's exit code, or with an alarm.

        First, if what was sealed by is old, that it is.
        """
        stale = [at for client in self._clients if (at := client.session.stale_since) is not None]
        if stale:
            self.screen.talk("witnesses.stale", at=self.screen.at(min(stale)))
            shown = replace(shown, data={**shown.data, "keys_cosigned_at": min(stale)})
        status = int(self.screen.show(shown))
        self.keep_up()
        raise typer.Exit(status)

    def keep_up(self) -> None:
        """Renew what is due, of every person's client whose call came through. Raises alarms."""
        for client in self._clients:
            if isinstance(client, KeepingClient):
                client.keep_up()

    def close(self) -> None:
        """Close what is open still."""
        for client in self._clients:
            client.close()

    def _made(self, client: Client) -> Client:
        self._clients.append(client)
        return client

    def _options(self) -> dict[str, Any]:
        return {"server": self.server, "answer_s": self.timeout_s}

    @staticmethod
    def _demand_terminal(fault: str, status: Exit) -> None:
        if not sys.stdin.isatty():
            raise Fault(fault, status)


def invocation(ctx: typer.Context) -> Invocation:
    """The invocation that the top command made."""
    found = ctx.find_object(Invocation)
    if found is None:
        raise RuntimeError("the top command has run")
    return found


def group_meaning(verb: Callable[[typer.Context], None]) -> typer.Typer:
    """A group of verbs whose bare name means this one of them."""

    def bare(ctx: typer.Context) -> None:
        if ctx.invoked_subcommand is None:
            verb(ctx)

    return typer.Typer(callback=bare, invoke_without_command=True)


def read_file(path: Path, limit: int = MAX_DOCUMENT_BYTES) -> bytes:
    """The bytes of a file that the caller names; `-` is stdin. Raises Fault, TOO_LARGE."""
    try:
        if str(path) == "-":
            raw = sys.stdin.buffer.read(limit + 1)
        else:
            with path.open("rb") as handle:
                raw = handle.read(limit + 1)
    except OSError:
        raise Fault("file-unreadable", path=path) from None
    if len(raw) > limit:
        raise ReferralError(ErrorCode.TOO_LARGE, limit=limit)
    return raw


def read_line(path: Path) -> str:
    """The one line of a secret's file; `-` is stdin. Raises Fault."""
    try:
        return read_file(path, MAX_SECRET_BYTES).decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise Fault("file-unreadable", path=path) from None


def read_document(path: Path) -> dict[str, Any]:
    """A JSON or YAML file with one object in it. Raises MALFORMED (`reason`), TOO_LARGE, Fault.

    YAML is a way of writing here: what it says must be sayable in strict JSON too.
    """
    raw = read_file(path)
    value = parse(raw, max_bytes=MAX_DOCUMENT_BYTES) if _is_json(path, raw) else _read_yaml(raw)
    if not isinstance(value, Mapping):
        raise ReferralError(ErrorCode.MALFORMED, reason="wrong-type")
    return dict(value)


def write_private_file(path: Path, raw: bytes, *, replace: bool = False) -> None:
    """Write a file that only its owner may read. One that exists is only replaced where `replace` says so."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | (os.O_TRUNC if replace else os.O_EXCL)
    try:
        with os.fdopen(os.open(path, flags, 0o600), "wb") as handle:
            handle.write(raw)
    except FileExistsError:
        raise Fault("file-exists", path=path) from None
    except OSError:
        raise Fault("file-unwritable", path=path) from None


class _UniqueLoader(yaml.SafeLoader):
    """Safe YAML that refuses aliases, and a member given twice as strict JSON does."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        # Aliases of aliases are how a small file becomes a large document.
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("an alias")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 - the library's signature
        names = [self.construct_object(key, deep=True) for key, _ in node.value]
        if len(names) != len({str(name) for name in names}):
            raise yaml.YAMLError("a member stands twice")
        return super().construct_mapping(node, deep)


# Times and dates stay the texts that they are in JSON, as the formats want them.
_UniqueLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _is_json(path: Path, raw: bytes) -> bool:
    return path.suffix == ".json" or (path.suffix not in (".yaml", ".yml") and raw.lstrip()[:1] == b"{")


def _read_yaml(raw: bytes) -> Any:
    try:
        return yaml.load(raw, Loader=_UniqueLoader)  # noqa: S506 - a SafeLoader that refuses more
    except (yaml.YAMLError, ValueError, RecursionError):
        raise ReferralError(ErrorCode.MALFORMED, reason="syntax") from None
