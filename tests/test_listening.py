"""The server under the liars says what goes wrong in it, and nothing of a client that hangs up."""

from __future__ import annotations

import http.client
import socket
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler

import pytest

from tests.listening import Listening


class Handler(BaseHTTPRequestHandler):
    """Breaks, or answers without an end."""

    def do_GET(self) -> None:
        if self.path == "/broken":
            raise ValueError("something of our own")
        while True:
            self.wfile.write(b"x" * 65_536)

    def log_message(self, *_: object) -> None:
        pass


class Noted(Listening):
    """Tells when a failure has been dealt with."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.dealt = threading.Event()

    def handle_error(self, request: object, client_address: object) -> None:
        super().handle_error(request, client_address)
        self.dealt.set()


def told(path: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What is printed of one call that hangs up after the first bytes, if it gets any."""
    with Noted() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        with (
            socket.create_connection(("127.0.0.1", server.server_port)) as line,
            suppress(http.client.HTTPException, OSError),
        ):
            line.sendall(f"GET {path} HTTP/1.1\r\n\r\n".encode())
            line.recv(1)
        assert server.dealt.wait(10)
        server.shutdown()
    return capsys.readouterr().err


def test_a_client_that_leaves_is_no_news(capsys: pytest.CaptureFixture[str]) -> None:
    assert told("/", capsys) == ""


def test_any_other_failure_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert "something of our own" in told("/broken", capsys)
