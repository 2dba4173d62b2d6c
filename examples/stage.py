"""The stage of the demo: people who act by the command `referral` alone, an exchange's process, steps that hold or not.

Everybody has a profile and a passphrase of their own; the exchange is a real process on loopback.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from referral_api.formats.strict_json import parse

REFERRAL = Path(sys.executable).with_name("referral")


class NotHeld(Exception):  # noqa: N818 - it is the demo's word for it
    """A step that did not hold, and why."""


@dataclass
class Person:
    """Somebody with a profile, and a passphrase of their own in a file."""

    name: str
    home: Path

    @property
    def passphrase(self) -> Path:
        """The file that stands for this person's memory."""
        path = self.home / f"{self.name}.frase"
        if not path.exists():
            path.write_text(f"la frase inventada de {self.name}\n", encoding="utf-8")
            path.chmod(0o600)
        return path

    def command(self, *words: str | Path) -> list[str]:
        """The command line by which this person acts."""
        profile = ["--profile", str(self.home / self.name), "--passphrase-file", str(self.passphrase), "--json"]
        return [str(REFERRAL), *profile, *(str(word) for word in words)]

    def run(self, *words: str | Path, exits: int = 0, given: str = "") -> dict[str, Any]:
        """Act, and return what the command found. Raises NotHeld for any other exit code."""
        return run(self.command(*words), exits, given)


@dataclass
class Exchange:
    """The exchange's folder, and its process while it runs."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def database(self) -> Path:
        """Its SQLite file."""
        return self.folder / "data" / "exchange.sqlite"

    def start(self) -> None:
        """Start `referral admin serve`, and wait until it listens."""
        command = [str(REFERRAL), "--quiet", "admin", "serve", "--config", str(self.folder / "exchange.toml")]
        log = (self.folder / "serve.log").open("ab")
        self.process = subprocess.Popen(
            command, stdout=log, stderr=log, env=environment(REFERRAL_PORT=str(self.port)), start_new_session=True
        )
        log.close()
        for _ in range(300):
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        raise NotHeld(f"el servidor no arrancó: vea {self.folder / 'serve.log'}")

    def stop(self) -> None:
        """Stop it as an administrator does."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            if self.process.wait(timeout=20) not in (0, -signal.SIGTERM):
                raise NotHeld(f"el servidor terminó mal: vea {self.folder / 'serve.log'}")
        self.process = None

    def copy(self, folder: Path) -> Exchange:
        """A copy of everything it has on disk, on another port; the database as one consistent file."""
        shutil.copytree(self.folder, folder, ignore=shutil.ignore_patterns("exchange.sqlite*", "serve.log"))
        twin = Exchange(folder, free_port())
        with closing(sqlite3.connect(self.database)) as source, closing(sqlite3.connect(twin.database)) as target:
            source.backup(target)
        settings = (folder / "exchange.toml").read_text(encoding="utf-8").replace(str(self.folder), str(folder))
        (folder / "exchange.toml").write_text(settings, encoding="utf-8")
        return twin


@dataclass
class Story:
    """The steps taken so far."""

    home: Path
    begun: float = field(default_factory=time.monotonic)
    steps: int = 0

    @contextmanager
    def step(self, words: str) -> Iterator[None]:
        """Announce a step, and count it once it has held."""
        print(f"{time.monotonic() - self.begun:5.1f} s  {words} …", end="", flush=True)
        try:
            yield
        except BaseException:
            print(" ✖", flush=True)
            raise
        self.steps += 1
        print(" ✔", flush=True)

    def person(self, name: str) -> Person:
        """Somebody of the story."""
        return Person(name, self.home / "personas")


def run(command: Sequence[str], exits: int, given: str = "") -> dict[str, Any]:
    """Run one command line; the JSON of its last line. Raises NotHeld for another exit code than `exits`."""
    done = subprocess.run(
        command, input=given.encode(), capture_output=True, timeout=120, check=False, env=environment()
    )
    if done.returncode != exits:
        told = (done.stdout[-1500:] + done.stderr[-1500:]).decode("utf-8", "replace")
        raise NotHeld(f"{' '.join(command[5:])} → {done.returncode}, se esperaba {exits}\n{told}")
    lines = done.stdout.splitlines()
    return dict(parse(lines[-1], max_bytes=1 << 22)) if lines else {}


def environment(**more: str) -> dict[str, str]:
    """Our environment without settings of some other exchange."""
    return {name: value for name, value in os.environ.items() if not name.startswith("REFERRAL_")} | more


def demand(held: bool, why: str) -> None:  # noqa: FBT001 - reads as a sentence: demand(this, else why)
    """Raise NotHeld unless it holds."""
    if not held:
        raise NotHeld(why)


def free_port() -> int:
    """A loopback port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def at_once(*tasks: Callable[[], Any]) -> list[Any]:
    """Do independent things side by side, two at a time; the first failure is raised."""
    with ThreadPoolExecutor(max_workers=2) as pool:
        return [done.result() for done in [pool.submit(task) for task in tasks]]
