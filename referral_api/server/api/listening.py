"""One connection before it is a call: what a peer may send, and how slowly, before anybody knows who it is.

The HTTP parser beneath counts nothing and waits for ever while a header block is unfinished; here it may neither grow
beyond its limit nor take longer than HEAD_S. Bodies are bounded in size and time by call.py.

Must never: read a header's value, or log a peer's address.

Implements: R-05 (header block).
"""

from __future__ import annotations

import asyncio
from typing import ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from referral_api.server.api.call import MAX_HEADER_BYTES

HEAD_S = 20.0
"""How long a header block may take, from the connection's or its own first byte on."""
MAX_HEAD_BYTES = 2 * MAX_HEADER_BYTES
"""Where an unfinished head is cut off; a finished one is measured exactly, and answered in full, by call.py."""
_REFUSAL = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class BoundedHttp(HttpToolsProtocol):
    """The server's protocol with an end to every header block. One timer a connection that is reading one."""

    head_s: ClassVar[float] = HEAD_S
    _head_bytes = 0
    _head_ends: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as its base narrows it
        """Begin to wait for the first head."""
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more."""
        self._end_head()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, unless the head that is being read has become too large."""
        super().data_received(data)
        if self._head_ends is None or self.transport.is_closing():
            return
        self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD_BYTES:
            self._end_head()
            self.transport.write(_REFUSAL)
            self.transport.close()

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        super().on_message_begin()
        if self._head_ends is None:
            self._expect_head()

    def on_headers_complete(self) -> None:
        """The head is whole: what follows is call.py's to bound."""
        self._end_head()
        super().on_headers_complete()

    def _expect_head(self) -> None:
        self._head_bytes = 0
        self._head_ends = self.loop.call_later(self.head_s, self._give_up)

    def _end_head(self) -> None:
        if self._head_ends is not None:
            self._head_ends.cancel()
            self._head_ends = None

    def _give_up(self) -> None:
        self._head_ends = None
        self.transport.close()
