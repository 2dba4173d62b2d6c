"""Who receives notices in the tests: a real HTTP service and a real mail server on this machine, which keep every byte.

Must never: answer what a test did not ask for.
"""

from __future__ import annotations

import json
import socketserver
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Self

from tests.listening import Listening
from tests.world import World

CANARY = "contrasena-del-canal-7Q"
"""Stands in every address, and must never be seen outside of the notices file and of the wire to the channel."""
ENOUGH_S = 10.0


@dataclass(frozen=True, slots=True)
class Got:
    """One notice as it came: its path without the secret, all of its bytes, and when (monotonic seconds)."""

    name: str
    raw: bytes
    at: float


@dataclass
class Receiver:
    """An HTTP service for `json://`. `status` is what it answers; None: it takes the call and never answers."""

    status: int | None = 200
    got: list[Got] = field(default_factory=list)
    port: int = 0
    location: str = ""
    """Host and path of where it sends who calls, if it answers with a redirect."""

    def __enter__(self) -> Self:
        self._ends = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                head = f"{self.requestline}\n{self.headers}".encode()
                name = self.path.split("/")[1]
                receiver.got.append(Got(name, (head + body).replace(name.encode(), b"NAME"), time.monotonic()))
                if receiver.status is None:
                    receiver._ends.wait(120)
                    return
                self.send_response(receiver.status)
                if receiver.location:
                    self.send_header("Location", f"http://{receiver.location}")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nothing: what came is kept."""

        self._http = Listening(("127.0.0.1", self.port), Handler)
        self.port = self._http.server_address[1]
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._http.shutdown()
        self._http.server_close()

    def address(self, name: str) -> str:
        """An address of it, with a secret in it. `name` has five letters, so that all notices are equally long."""
        assert len(name) == 5, name
        return f"json://aviso:{CANARY}@127.0.0.1:{self.port}/{name}/{CANARY}"

    def of(self, name: str) -> list[Got]:
        """What came for one address."""
        return [one for one in self.got if one.name == name]

    def wait(self, name: str, count: int, seconds: float = ENOUGH_S) -> list[Got]:
        """What came for one address, as soon as there is so much. Fails where there is not in time."""
        ends = time.monotonic() + seconds
        while len(self.of(name)) < count:
            assert time.monotonic() < ends, f"{len(self.of(name))} of {count} notices for {name}"
            time.sleep(0.02)
        return self.of(name)


def write_plan(path: Path, parties: Mapping[str, Sequence[str]], *, mode: int = 0o600, **members: Any) -> Path:
    """A notices file."""
    lines = [f"{name} = {json.dumps(value)}" for name, value in members.items()]
    lines += ["[parties]", *(f"{party} = {json.dumps(list(urls))}" for party, urls in parties.items())]
    path.write_text("\n".join(lines) + "\n")
    path.chmod(mode)
    return path


def with_plan(world: World, path: Path | None) -> None:
    """Start the exchange again, with this file of notices."""
    world.server.stop()
    world.settings = world.server.settings = world.settings.model_copy(update={"notices": path})
    world.server.start()


@contextmanager
def mail_server() -> Iterator[tuple[int, list[bytes]]]:
    """A mail server that takes everything: its port, and the messages that came."""
    messages: list[bytes] = []

    class Session(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"220 here\r\n")
            while line := self.rfile.readline():
                word = line[:4].upper()
                if word == b"DATA":
                    self.wfile.write(b"354 go on\r\n")
                    text = b""
                    while (line := self.rfile.readline()) not in (b".\r\n", b""):
                        text += line
                    messages.append(text)
                self.wfile.write(b"221 bye\r\n" if word == b"QUIT" else b"250 ok\r\n")
                if word == b"QUIT":
                    return

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Session) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield server.server_address[1], messages
        server.shutdown()
