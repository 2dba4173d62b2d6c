"""Peers who send without end or without haste, over bare sockets: none of them may hold memory or wait for ever (R-05).

Must never: sleep as long as a peer might.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
import uvicorn

from referral_api.server.api.call import Message, Receive, Scope, Send, read_body
from referral_api.server.api.listening import MAX_HEAD_BYTES, BoundedHttp
from tests.wire import everything
from tests.world import World


def connect(port: int) -> closing[socket.socket]:
    return closing(socket.create_connection(("127.0.0.1", port), timeout=10))


def test_a_header_block_without_end_is_cut_off(served: World) -> None:
    """R-05: nothing is parsed, answered or kept of it, and others are served meanwhile."""
    with connect(served.server.port) as line:
        line.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\nx-endless: ")
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            line.sendall(b"a" * 2048 * MAX_HEAD_BYTES)
    with connect(served.server.port) as line:
        line.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\nx-endless: " + b"a" * MAX_HEAD_BYTES)
        assert everything(line).startswith(b"HTTP/1.1 431 ")
    assert served.caller("officer").call("GET", "/v1/ping").status == 200


def test_a_head_that_follows_another_call_on_its_connection_is_bounded_too(served: World) -> None:
    with connect(served.server.port) as line:
        line.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        assert line.recv(65536).startswith(b"HTTP/1.1 200 ")
        line.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\nx-endless: " + b"a" * MAX_HEAD_BYTES)
        assert b"HTTP/1.1 431 " in everything(line)


def test_what_cannot_be_parsed_leaves_no_line_in_the_log(served: World) -> None:
    """R-50: the log is the operator's, not of whoever connects."""
    before = served.log_lines
    with connect(served.server.port) as line:
        line.sendall(b"\x16\x03\x01 no HTTP at all\r\n\r\n")
        assert everything(line).startswith(b"HTTP/1.1 400 ")
    with connect(served.server.port) as line:
        line.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
        line.recv(65536)
    assert served.log_lines == before


class _Hasty(BoundedHttp):
    head_s = 0.1


@contextmanager
def saying_yes(protocol: type[BoundedHttp]) -> Iterator[int]:
    """An application that answers nothing but "yes", behind the protocol."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"3")]})
        await send({"type": "http.response.body", "body": b"yes"})

    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(application, http=protocol, lifespan="off", log_config=None, access_log=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nhost: x\r\n\r\nGET / HTTP"])
def test_a_head_that_does_not_come_ends_its_connection(said: bytes) -> None:
    with saying_yes(_Hasty) as port, connect(port) as line:
        line.sendall(said)
        began = time.monotonic()
        everything(line)
        assert time.monotonic() - began < 5, "only its keep-alive ended it"


def test_a_body_that_does_not_come_is_waited_for_no_longer_than_told() -> None:
    """R-05: each byte on its own is no progress; the whole body has one time."""

    async def trickle() -> Message:
        await asyncio.sleep(0.01)
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def read() -> None:
        await read_body([(b"content-length", b"5000")], trickle, 10_000, seconds=0.1)

    with pytest.raises(TimeoutError):
        asyncio.run(read())
