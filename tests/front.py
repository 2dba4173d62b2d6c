"""What may stand before an exchange: TLS with a certificate of a test's choice, a portal, a relay that changes answers.

    with encrypting(certificate(folder, days=10), world.server.port) as url: ...

Must never: know anything of the exchange behind it but where it is.
"""

from __future__ import annotations

import datetime
import http.client
import json
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from tests.listening import Listening


def kept_clock(folder: Path, does: str = "echo yes") -> str:
    """A PATH on which `timedatectl` does this: what the system of a test's machine says must not decide the test."""
    program = folder / "bin" / "timedatectl"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f"#!/bin/sh\n{does}\n")
    program.chmod(0o755)
    return f"{program.parent}:{os.environ['PATH']}"


def certificate(folder: Path, *, days: float, name: str = "localhost") -> Path:
    """A key and a certificate that ends in so many days, in one file."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=90))
        .not_valid_after(now + datetime.timedelta(days=days, minutes=5))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, SHA256())
    )
    path = folder / f"{name}-{days}.pem"
    unlocked = serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, unlocked)
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


@contextmanager
def encrypting(pem: Path, port: int) -> Iterator[str]:
    """TLS before a port of this machine; the URL of it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)

    def carry(line: socket.socket) -> None:
        with suppress(OSError), line:
            secured = context.wrap_socket(line, server_side=True)
            with secured, socket.create_connection(("127.0.0.1", port)) as behind:
                back = threading.Thread(target=_pump, args=(behind, secured), daemon=True)
                back.start()
                _pump(secured, behind)
                back.join()

    with _accepting(carry) as taken:
        yield f"https://localhost:{taken}"


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while chunk := source.recv(65536):
            target.sendall(chunk)
        target.shutdown(socket.SHUT_WR)


@contextmanager
def _accepting(carry: Callable[[socket.socket], None]) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            with suppress(OSError):
                while True:
                    line, _ = listener.accept()
                    threading.Thread(target=carry, args=(line,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            listener.shutdown(socket.SHUT_RDWR)


@contextmanager
def portal() -> Iterator[str]:
    """A network's portal, which answers every call with its own page."""
    with _handling(lambda handler: _send(handler, 200, "text/html", b"<h1>Bienvenido</h1>", None)) as url:
        yield url


@contextmanager
def answering(documents: Mapping[str, Any]) -> Iterator[str]:
    """A program that answers these paths with these documents, and every other with 404."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        known = handler.path in documents
        body = json.dumps(documents.get(handler.path, {})).encode()
        _send(handler, 200 if known else 404, "application/json", body, None)

    with _handling(answer) as url:
        yield url


@contextmanager
def relaying(port: int, change: Callable[[dict[str, Any]], None], date: str | None = None) -> Iterator[str]:
    """A relay that hands calls on, changes what an exchange publishes of itself, and tells another date in its head."""

    def hand_on(handler: BaseHTTPRequestHandler) -> None:
        behind = http.client.HTTPConnection("127.0.0.1", port)
        length = int(handler.headers.get("content-length", 0))
        names = ("authorization", "dpop", "content-type", "accept")
        headers = {name: value for name in names if (value := handler.headers.get(name)) is not None}
        behind.request(handler.command, handler.path, handler.rfile.read(length) or None, headers)
        answer = behind.getresponse()
        body = answer.read()
        if handler.path.endswith("/referral-configuration"):
            document = json.loads(body)
            change(document)
            body = json.dumps(document).encode()
        told = {name: value for name in ("dpop-nonce", "www-authenticate") if (value := answer.getheader(name))}
        _send(handler, answer.status, answer.getheader("content-type", ""), body, date, **told)
        behind.close()

    with _handling(hand_on) as url:
        yield url


def _send(
    handler: BaseHTTPRequestHandler, status: int, kind: str, body: bytes, date: str | None, **headers: str
) -> None:
    handler.send_response_only(status)
    if date is not None:
        handler.send_header("date", date)
    for name, value in ({"content-type": kind, "content-length": str(len(body))} | headers).items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)


@contextmanager
def _handling(handle: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _any(self) -> None:
            handle(self)

        do_GET = do_POST = do_PUT = _any  # noqa: N815 - the library's names

        def log_message(self, *_: Any) -> None:
            """Nobody reads it."""

    with Listening(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
