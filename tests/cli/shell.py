"""A shell for the tests of the command line: real command lines against a served exchange, and transcripts of them.

A transcript is text: `name$ referral …` is somebody's command line, the lines below it are what it prints (standard
output, then standard error), `[exit n]` is its exit code. `…` stands for anything within a line; `<ref>` and other
names in angle brackets stand for a value that is the same wherever the name stands again; `<<<` before the command's
end gives it a line on standard input.
"""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from referral_api.cli.main import run
from referral_api.cli.output import SCHEMA
from tests.world import ISSUER, PASSPHRASE, Founded, settings_of

EXAMPLES = Path(__file__).parents[2] / "examples"
START_S = 30.0
"""How long the start of a server may take on a machine that is busy with other things."""
_PATTERNS = {
    "code": r"(?:[0-9]{5} ){5}[0-9]{5}",
    "ref": r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}",
    "act": r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}",
}


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command line did."""

    exit: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The object of its last line, which must be one of ours."""
        document = json.loads(self.out.splitlines()[-1])
        assert document["schema"] == SCHEMA
        return document


@dataclass
class Shell:
    """Somebody's machine in front of an exchange: profiles in `folder/profiles`, files in `folder`."""

    folder: Path
    server: str
    known: dict[str, str] = field(default_factory=dict)

    def run(self, name: str | None, *words: str, given: str = "", **environment: str) -> Ran:
        """Run `referral` as the owner of a profile (None: of no profile at all)."""
        profile = self.folder / "profiles" / (name or "nobody")
        passphrase = self.folder / "passphrase"
        passphrase.write_text(PASSPHRASE + "\n", encoding="utf-8")
        variables = {
            "REFERRAL_PROFILE": str(profile),
            "REFERRAL_SERVER": self.server,
            "REFERRAL_PASSPHRASE_FILE": str(passphrase),
        } | environment
        out, err = io.StringIO(), io.StringIO()
        with _surroundings(variables, self.folder, given), redirect_stdout(out), redirect_stderr(err):
            code = run(words, os.environ)
        # An exchange served from this process writes its own lines there too; they are JSON, ours never on stderr.
        told = [line for line in err.getvalue().splitlines() if not line.startswith("{")]
        return Ran(int(code), out.getvalue(), "\n".join(told))

    def play(self, transcript: str) -> int:
        """Play a transcript and compare; the number of commands in it."""
        played = 0
        for name, command, expected, code in parse_transcript(transcript):
            words, _, given = command.partition(" <<< ")
            for bound, value in self.known.items():
                words, given = words.replace(f"<{bound}>", value), given.replace(f"<{bound}>", value)
            ran = self.run(None if name == "nobody" else name, *shlex.split(words)[1:], given=given)
            printed = [line.rstrip() for line in (ran.out + ran.err).splitlines()]
            told = f"{name}$ {command}\n" + "\n".join(printed) + f"\n[exit {ran.exit}]"
            assert ran.exit == code, told
            assert len(printed) == len(expected), told
            for line, wanted in zip(printed, expected, strict=True):
                self._match(wanted, line, told)
            played += 1
        return played

    def _match(self, wanted: str, line: str, told: str) -> None:
        bound: set[str] = set()

        def place(named: re.Match[str]) -> str:
            name = named[1]
            if name in self.known:
                return re.escape(self.known[name])
            if name in bound:
                return f"(?P={name})"
            bound.add(name)
            return f"(?P<{name}>{_PATTERNS.get(name.rstrip('0123456789'), r'[^ ]+')})"

        pattern = re.sub(r"<([a-z0-9]+)>", place, re.escape(wanted).replace(re.escape("…"), ".*"))
        found = re.fullmatch(pattern, line)
        assert found, f"{told}\nwanted: {wanted}\nfound:  {line}"
        self.known |= found.groupdict()


def parse_transcript(text: str) -> Iterator[tuple[str, str, list[str], int]]:
    """The commands of a transcript: whose, the line, what is printed, the exit code."""
    lines = iter(line for line in text.splitlines() if not line.startswith("#"))
    for line in lines:
        if not line.strip():
            continue
        name, _, command = line.partition("$ ")
        expected: list[str] = []
        for printed in lines:
            if printed.startswith("[exit "):
                yield name, command, expected, int(printed[6:-1])
                break
            expected.append(printed.rstrip())
        else:
            raise ValueError(f"no exit code after {line}")


@contextmanager
def served(founded: Founded, folder: Path) -> Iterator[Shell]:
    """A copy of a founded exchange, served by `referral admin serve` in a process of its own."""
    shutil.copytree(founded.folder, folder, dirs_exist_ok=True)
    settings = settings_of(folder)
    members = {
        "issuer": ISSUER,
        "environment": settings.environment,
        "data_dir": str(settings.data_dir),
        "keys_dir": str(settings.keys_dir),
        "signer_dir": str(settings.signer_dir),
    }
    config = folder / "exchange.toml"
    config.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in members.items()))
    for seat in founded.seats.values():
        if seat.secret is not None:
            key = folder / "profiles" / seat.folder / "service.key"
            key.write_bytes(seat.secret)
            key.chmod(0o600)
    shutil.copy(EXAMPLES / "emergencia-piura.json", folder / "emergencia.json")
    port = free_port()
    command = [str(Path(sys.executable).with_name("referral")), "admin", "serve", "--config", str(config)]
    with (folder / "serve.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | {"REFERRAL_PORT": str(port)})
    try:
        url = f"http://127.0.0.1:{port}"
        _wait(port, process, folder / "serve.log")
        yield Shell(folder, url)
    finally:
        process.terminate()
        process.wait(timeout=20)


def free_port() -> int:
    """A loopback port that is free now."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _wait(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    # Asked by the bare library: a whole client each time, with its certificates, would hold up the start it waits for.
    ends = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < ends:
        with closing(HTTPConnection("127.0.0.1", port, timeout=2)) as line:
            try:
                line.request("GET", "/healthz")
                line.getresponse().read()
            except (OSError, HTTPException):
                time.sleep(0.02)
            else:
                return
    raise RuntimeError(log.read_text())


@contextmanager
def _surroundings(variables: dict[str, str], folder: Path, given: str) -> Iterator[None]:
    before, place, stdin = dict(os.environ), Path.cwd(), sys.stdin
    for name in [name for name in os.environ if name.startswith("REFERRAL_")]:
        del os.environ[name]
    os.environ.update(variables)
    os.chdir(folder)
    sys.stdin = io.TextIOWrapper(io.BytesIO(given.encode()))
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        os.chdir(place)
        sys.stdin = stdin
