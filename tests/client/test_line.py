"""A call ends in time, whoever is at the other end: real sockets, plain and TLS, new connections and kept ones."""

from __future__ import annotations

import datetime
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from referral_api.client.exchange import Request
from referral_api.client.line import Line
from referral_api.domain.errors import ErrorCode, ReferralError

WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
ANSWER_S = 1.2

Says = Callable[[socket.socket], None]


def drip_head(line: socket.socket) -> None:
    """The head of an answer, a byte at a time, for far longer than anybody waits."""
    line.sendall(b"HTTP/1.1 200 OK\r\nX-More: ")
    ends = time.monotonic() + 20
    while time.monotonic() < ends:
        line.sendall(b"x")
        time.sleep(0.1)


def take_request(line: socket.socket) -> None:
    taken = b""
    while b"\r\n\r\n" not in taken:
        more = line.recv(65536)
        if not more:
            raise ConnectionResetError
        taken += more


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate of this machine, in one file."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    unlocked = serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, unlocked)
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


@contextmanager
def talking(says: Says, certificate: Path | None = None, *, answer_s: float = ANSWER_S) -> Iterator[Line]:
    """A line to a server that does `says` with each connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    line, _ = listener.accept()
                    threading.Thread(target=one, args=(line,), daemon=True).start()

        def one(line: socket.socket) -> None:
            with suppress(OSError):
                if certificate is not None:
                    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                    context.load_cert_chain(certificate)
                    line = context.wrap_socket(line, server_side=True)
                with line:
                    says(line)

        threading.Thread(target=serve, daemon=True).start()
        scheme, transport = "http", None
        if certificate is not None:
            scheme, transport = "https", httpx2.HTTPTransport(verify=ssl.create_default_context(cafile=certificate))
        made = Line(f"{scheme}://localhost:{listener.getsockname()[1]}", "en", transport, answer_s)
        try:
            yield made
        finally:
            made.close()
            listener.shutdown(socket.SHUT_RDWR)


def demand_too_slow(line: Line, request: Request, at_most_s: float = 2 * ANSWER_S) -> None:
    begun = time.monotonic()
    with pytest.raises(ReferralError) as caught:
        line.transmit(request, {})
    assert (caught.value.code, caught.value.facts) == (ErrorCode.UNREACHABLE, {"reason": "too-slow"})
    assert ANSWER_S - 0.1 < time.monotonic() - begun < at_most_s


@pytest.fixture(params=["plain", "tls"])
def secured(request: pytest.FixtureRequest, certificate: Path) -> Path | None:
    return certificate if request.param == "tls" else None


def test_the_head_of_an_answer_that_drips_is_not_waited_for(secured: Path | None) -> None:
    with talking(drip_head, secured) as line:
        demand_too_slow(line, Request("GET", "/v1/ping"))


def test_nor_is_it_over_a_connection_that_was_kept(secured: Path | None) -> None:
    taken: list[int] = []

    def says(line: socket.socket) -> None:
        take_request(line)
        taken.append(1)
        line.sendall(WHOLE)
        take_request(line)
        taken.append(2)
        drip_head(line)

    with talking(says, secured) as line:
        assert line.transmit(Request("GET", "/v1/ping"), {}).body == b"ok"
        demand_too_slow(line, Request("GET", "/v1/ping"))
        assert taken == [1, 2], "it was the same connection"
        # Whoever calls again has a new one.
        assert line.transmit(Request("GET", "/v1/ping"), {}).body == b"ok"


def test_a_handshake_that_drips_is_not_waited_for(certificate: Path) -> None:
    def says(line: socket.socket) -> None:
        line.recv(65536)
        line.sendall(b"\x16\x03\x03\x40\x00")
        for _ in range(200):
            line.sendall(b"\0")
            time.sleep(0.1)

    with talking(says) as plain:
        url = str(plain._http.base_url).replace("http:", "https:")
        transport = httpx2.HTTPTransport(verify=ssl.create_default_context(cafile=certificate))
        line = Line(url, "en", transport, ANSWER_S)
        demand_too_slow(line, Request("GET", "/v1/ping"))
        line.close()


def test_a_body_that_drips_is_not_waited_for() -> None:
    def says(line: socket.socket) -> None:
        take_request(line)
        line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n")
        for _ in range(200):
            line.sendall(b"x")
            time.sleep(0.1)

    with talking(says) as line:
        demand_too_slow(line, Request("GET", "/v1/ping"))


def test_who_is_asked_to_wait_and_does_is_waited_for(secured: Path | None) -> None:
    def says(line: socket.socket) -> None:
        take_request(line)
        time.sleep(2 * ANSWER_S)
        line.sendall(WHOLE)

    with talking(says, secured) as line:
        assert line.transmit(Request("GET", "/v1/inbox", wait_s=3), {}).body == b"ok"


def test_what_takes_long_to_send_is_not_too_slow() -> None:
    """A slow line carries it: the time that its bytes take is not the answer's."""
    sent = bytes(12 << 20)

    def says(line: socket.socket) -> None:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        taken, begun = 0, time.monotonic()
        while taken < len(sent):
            taken += len(line.recv(1 << 20))
            time.sleep(max(0.0, begun + 2.5 * ANSWER_S * taken / len(sent) - time.monotonic()))
        line.sendall(WHOLE)

    with talking(says) as line:
        begun = time.monotonic()
        assert line.transmit(Request("PUT", "/v1/x", body=sent), {}).body == b"ok"
        assert time.monotonic() - begun > 2 * ANSWER_S


def test_connections_that_ended_are_not_kept_in_mind() -> None:
    def says(line: socket.socket) -> None:
        take_request(line)
        line.sendall(WHOLE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))

    with talking(says) as line:
        for _ in range(5):
            assert line.transmit(Request("GET", "/v1/ping"), {}).body == b"ok"
        assert len(line._kept) <= 1
