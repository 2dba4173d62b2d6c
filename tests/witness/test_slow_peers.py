"""Peers who send without end or without haste: none may hold memory or a connection for ever."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from referral_api.auditlog.witnessing import MAX_REQUEST_BYTES
from referral_api.witness import app
from referral_api.witness.app import MAX_HEADER_BYTES, PatientHttp, WitnessApp, http_server
from referral_api.witness.cosigner import Cosigner
from tests.witness.histories import History


class _Hasty(PatientHttp):
    head_s = 0.2


@contextmanager
def serving(cosigner: Cosigner, protocol: type[PatientHttp]) -> Iterator[int]:
    listener = socket.create_server(("127.0.0.1", 0))
    server = http_server(WitnessApp(cosigner))
    server.config.http = protocol
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])))
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


def everything(line: socket.socket) -> bytes:
    found = b""
    try:
        while chunk := line.recv(65536):
            found += chunk
    except ConnectionResetError:
        pass
    return found


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nhost: x\r\n\r\nGET / HTTP"])
def test_a_head_that_does_not_come_ends_its_connection(cosigner: Cosigner, said: bytes) -> None:
    with serving(cosigner, _Hasty) as port, socket.create_connection(("127.0.0.1", port), timeout=10) as line:
        line.sendall(said)
        began = time.monotonic()
        everything(line)
        assert time.monotonic() - began < 5


def test_a_header_block_without_end_is_cut_off(cosigner: Cosigner) -> None:
    with serving(cosigner, PatientHttp) as port, socket.create_connection(("127.0.0.1", port), timeout=10) as line:
        line.sendall(b"GET / HTTP/1.1\r\nhost: x\r\nx-endless: " + b"a" * 4 * MAX_HEADER_BYTES)
        assert everything(line).startswith(b"HTTP/1.1 400 ")


def test_a_body_without_end_is_answered_before_it_has_come(cosigner: Cosigner) -> None:
    with serving(cosigner, PatientHttp) as port, socket.create_connection(("127.0.0.1", port), timeout=10) as line:
        line.sendall(b"POST /add-checkpoint HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        line.sendall(b"%x\r\n" % (MAX_REQUEST_BYTES + 1) + b"a" * (MAX_REQUEST_BYTES + 1))
        assert everything(line).startswith(b"HTTP/1.1 413 ")


def test_a_body_that_does_not_come_is_given_up(cosigner: Cosigner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "BODY_S", 0.2)
    with serving(cosigner, PatientHttp) as port, socket.create_connection(("127.0.0.1", port), timeout=10) as line:
        line.sendall(b"POST /add-checkpoint HTTP/1.1\r\nhost: x\r\ncontent-length: 500\r\n\r\nold 0")
        assert everything(line).startswith(b"HTTP/1.1 408 ")


def test_a_request_that_comes_in_many_pieces_is_one_request(cosigner: Cosigner) -> None:
    raw = History().request(0, 5)
    with serving(cosigner, PatientHttp) as port, socket.create_connection(("127.0.0.1", port), timeout=10) as line:
        line.sendall(b"POST /add-checkpoint HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(raw))
        for at in range(0, len(raw), 50):
            line.sendall(raw[at : at + 50])
        assert line.recv(65536).startswith(b"HTTP/1.1 200 ")
