"""What anybody can read ends, in time and in size, whatever the other side does (R-96)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from referral_api.client.audit.public import MAX_PUBLIC_BYTES, read_public
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.outside import Outside
from tests.auditlog.refusals import refused
from tests.lying_witness import never_end

Says = Callable[[BaseHTTPRequestHandler], None]


@contextmanager
def answering(says: Says) -> Iterator[str]:
    """The address of a server on the loopback that answers like this."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.close_connection = True
            try:
                says(self)
            except OSError:
                return

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/x"
    finally:
        server.shutdown()
        server.server_close()


def without_length(handler: BaseHTTPRequestHandler) -> None:
    """Bytes until the connection closes; it stays open."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\nwhole?")
    time.sleep(20)


@pytest.mark.parametrize("how", ["drips", "drips-head"])
def test_who_sends_a_byte_a_second_is_waited_for_no_longer_than_said(how: str) -> None:
    with answering(lambda handler: never_end(handler.wfile, how)) as url:
        begun = time.monotonic()
        refused(ErrorCode.UNREACHABLE, lambda: read_public(url, answer_s=1.5))
        assert 1.4 < time.monotonic() - begun < 3


def test_an_answer_that_is_cut_is_none() -> None:
    with answering(without_length) as url:
        refused(ErrorCode.UNREACHABLE, lambda: read_public(url, answer_s=0.5))


def test_an_answer_without_an_end_is_not_read_to_it() -> None:
    with answering(lambda handler: never_end(handler.wfile, "endless")) as url:
        with pytest.raises(ReferralError) as caught:
            read_public(url)
        assert dict(caught.value.facts) == {"status": 200, "limit": MAX_PUBLIC_BYTES}


@pytest.mark.parametrize(
    ("status", "code"), [(404, ErrorCode.NOT_FOUND), (302, ErrorCode.UNAVAILABLE), (503, ErrorCode.UNAVAILABLE)]
)
def test_what_is_not_there_is_said(status: int, code: ErrorCode) -> None:
    def says(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("location", "http://127.0.0.1:9/")
        handler.end_headers()

    with answering(says) as url:
        refused(code, lambda: read_public(url))


def test_nobody_at_home_is_unreachable() -> None:
    for url in ("http://127.0.0.1:9/", "http://127.0.0.1:x/", "gopher://127.0.0.1/"):
        refused(ErrorCode.UNREACHABLE, lambda url=url: read_public(url))


def test_a_cut_ends_what_is_under_way_and_lets_nothing_begin() -> None:
    with (
        answering(lambda handler: never_end(handler.wfile, "drips")) as url,
        Outside(answer_s=30, connect_s=5, max_bytes=100) as outside,
    ):
        threading.Timer(0.3, outside.cut).start()
        begun = time.monotonic()
        refused(ErrorCode.UNREACHABLE, lambda: outside.call("GET", url))
        refused(ErrorCode.UNREACHABLE, lambda: outside.call("GET", url))
        assert time.monotonic() - begun < 3
