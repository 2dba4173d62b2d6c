"""The line to the exchange: calls over connections that are kept, each of whose answers begins in time or is none.

The HTTP library bounds every read by itself: whoever sends the head of an answer a byte a second would be waited for
without end. Here one moment ends the wait for the head, as a slow body has its own; what is connected then is cut.

Must never: follow a redirect, send anything twice, or read without an end.

Implements: R-53; design §12.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from time import monotonic
from typing import Any

import httpx2

from referral_api.client.exchange import Request, Response
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.outside import hang_up, tls

CONNECT_S = 10.0
SLOWEST_BYTES_PER_S = 4096
"""What a line carries at the least, either way; a slower answer is none."""


class Line:
    """To one exchange. `answer_s` is how long an answer may take, beyond the time for which it was asked to be held
    back, and the time that its bytes and the request's take at SLOWEST_BYTES_PER_S.
    """

    def __init__(self, server: str, lang: str, transport: httpx2.BaseTransport | None, answer_s: float) -> None:
        """Connects when it is first used."""
        self._answer_s = answer_s
        self._http = httpx2.Client(
            base_url=server.rstrip("/"),
            transport=transport,
            verify=tls(),
            timeout=httpx2.Timeout(answer_s, connect=min(CONNECT_S, answer_s)),
            follow_redirects=False,
            # A compressed answer could be a thousand times larger than it looks.
            headers={"Accept-Encoding": "identity", "Accept-Language": lang},
        )
        self._kept: list[Any] = []
        """The library's connections; a later call may use one again."""

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def transmit(self, request: Request, headers: Mapping[str, str]) -> Response:
        """Send a request once; its answer, whole. Raises UNREACHABLE (`too-slow`), UNAVAILABLE (`too-large`)."""
        patience_s = self._answer_s + request.wait_s
        ends = monotonic() + patience_s + len(request.body or b"") / SLOWEST_BYTES_PER_S
        timeout = httpx2.Timeout(patience_s, connect=min(CONNECT_S, self._answer_s))
        content, target = request.body or None, request.target
        options: dict[str, Any] = {"content": content, "headers": dict(headers), "timeout": timeout}
        cut = _Cut(self._kept, ends)
        try:
            with (
                cut.at_end() as heard,
                self._http.stream(request.method, target, **options, extensions={"trace": cut.watch}) as answer,
            ):
                heard()
                body = bytearray()
                for chunk in answer.iter_raw():
                    body += chunk
                    if len(body) > request.max_answer:
                        raise ReferralError(ErrorCode.UNAVAILABLE, status=answer.status_code, reason="too-large")
                    if monotonic() > ends + len(body) / SLOWEST_BYTES_PER_S:
                        raise ReferralError(ErrorCode.UNREACHABLE, reason="too-slow")
                found = {name.lower(): text for name, text in answer.headers.items()}
                return Response(answer.status_code, found, bytes(body))
        except (httpx2.TransportError, httpx2.InvalidURL):
            # The library's message can hold addresses of the network; that nobody answered is all there is to say.
            # The library's own timeout may be a moment before the cut.
            if cut.has_come or monotonic() >= ends:
                raise ReferralError(ErrorCode.UNREACHABLE, reason="too-slow") from None
            raise ReferralError(ErrorCode.UNREACHABLE) from None


class _Cut:
    """The end of one wait for the head of an answer. It cuts all connections of the line: which one a call uses, the
    library tells only where it is new. Who calls at the same time from another thread calls again.
    """

    def __init__(self, kept: list[Any], ends: float) -> None:
        self.has_come = False
        self._kept = kept
        self._guard = threading.Lock()
        self._new: list[socket.socket] = []
        self._timer = threading.Timer(max(0.0, ends - monotonic()), self._come)
        self._timer.daemon = True

    @contextmanager
    def at_end(self) -> Iterator[Any]:
        """Cut, unless what this gives is called before: the head is there."""
        self._timer.start()
        try:
            yield self._release
        finally:
            self._release()

    def watch(self, event: str, facts: Mapping[str, Any]) -> None:
        """What the library tells of the call: a new connection, and then the same within TLS."""
        if event not in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            return
        connection = facts["return_value"]
        with self._guard:
            self._kept[:] = [one for one in self._kept if _line_of(one).fileno() >= 0] + [connection]
            if event == "connection.connect_tcp.complete":
                # A handle of our own, for the library's is another one once TLS begins; given back with the head.
                self._new.append(_line_of(connection).dup())
            if self.has_come:
                self._hang_up()

    def _come(self) -> None:
        with self._guard:
            self.has_come = True
            self._hang_up()

    def _hang_up(self) -> None:
        for line in [*self._new, *map(_line_of, self._kept)]:
            hang_up(line)

    def _release(self) -> None:
        self._timer.cancel()
        with self._guard:
            for line in self._new:
                line.close()
            self._new.clear()


def _line_of(connection: Any) -> socket.socket:
    found: socket.socket = connection.get_extra_info("socket")
    return found
