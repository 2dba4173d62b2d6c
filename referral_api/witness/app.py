"""The witness over HTTP: two calls, their limits in size and time, and the process that serves them.

It reads the clock and nothing else of its surroundings. Whoever reaches it may call: a request counts by the log's
signature alone. A witness that has something to tell its operator writes one line to standard error.

Must never: decide about a tree, log a peer's address, or answer before the cosigner has returned.

Implements: C2SP tlog-witness, HTTP interface; R-96.
"""

from __future__ import annotations

import asyncio
import re
import socket
import sys
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from referral_api.auditlog.witnessing import (
    ADD_CHECKPOINT,
    MAX_REQUEST_BYTES,
    NOTE_MEDIA_TYPE,
    SIZE_MEDIA_TYPE,
    format_size,
)
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.formats.strict_json import canonical
from referral_api.witness.cosigner import Cosigner
from referral_api.witness.memory import Memory

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

MAX_HEADER_BYTES: Final = 16 * 1024
HEAD_S: Final = 10.0
BODY_S: Final = 10.0
"""How long a head, and then a body, may take: a request is a few kilobytes, and logs give up after five seconds."""
MAX_AT_ONCE: Final = 256
_CHECKPOINT_PATH: Final = re.compile(r"/([0-9a-f]{64})/checkpoint")
_STATUS: Final = {
    ErrorCode.MALFORMED: 400,
    ErrorCode.SIGNATURE_INVALID: 403,
    ErrorCode.NOT_FOUND: 404,
    ErrorCode.METHOD_NOT_ALLOWED: 405,
    ErrorCode.STALE_HEAD: 409,
    ErrorCode.TOO_LARGE: 413,
    ErrorCode.INCONSISTENT: 422,
    ErrorCode.UNAVAILABLE: 503,
}


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, whole."""

    status: int
    body: bytes
    media_type: str = NOTE_MEDIA_TYPE
    headers: tuple[tuple[bytes, bytes], ...] = ()


class WitnessApp:
    """The ASGI application."""

    def __init__(self, cosigner: Cosigner, clock: Callable[[], float] = time.time) -> None:
        self._cosigner = cosigner
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        try:
            answer = await self._answer(scope, receive)
        except TimeoutError:
            answer = Answer(408, b"slow\n", headers=((b"connection", b"close"),))
        except ReferralError as error:
            answer = _refusal(error)
        except Exception as error:
            # An exception's own text can hold anything; its kind and place are enough to find the defect.
            _tell("defect", kind=type(error).__name__)
            answer = Answer(500, b"internal\n")
        headers = [
            (b"content-type", answer.media_type.encode()),
            (b"content-length", b"%d" % len(answer.body)),
            (b"cache-control", b"no-store"),
            (b"x-content-type-options", b"nosniff"),
            *answer.headers,
        ]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        path, method = scope["path"], scope["method"]
        if path == f"/{ADD_CHECKPOINT}":
            _demand_method(method, "POST")
            raw = await _read_body(receive)
            now = int(self._clock())
            return Answer(200, await asyncio.to_thread(self._cosigner.add_checkpoint, raw, now))
        if found := _CHECKPOINT_PATH.fullmatch(path):
            _demand_method(method, "GET")
            return Answer(200, await asyncio.to_thread(self._cosigner.checkpoint, found[1]))
        raise ReferralError(ErrorCode.NOT_FOUND)


class PatientHttp(H11Protocol):
    """The HTTP protocol with an end to every head; h11 itself bounds its size."""

    head_s: float = HEAD_S
    _head_ends: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as its base narrows it
        """Begin to wait for the first head."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Read on, and wait no longer than told while a head is unfinished."""
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """Wait for the next head, where it has begun before this answer went; a silent connection is just kept."""
        super().on_response_complete()
        if self.conn.trailing_data[0]:
            self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more."""
        self._end()
        super().connection_lost(exc)

    def _watch(self) -> None:
        if self.conn.their_state is not h11.IDLE:
            self._end()
        elif self._head_ends is None:
            self._head_ends = self.loop.call_later(self.head_s, self._give_up)

    def _end(self) -> None:
        if self._head_ends is not None:
            self._head_ends.cancel()
            self._head_ends = None

    def _give_up(self) -> None:
        self._head_ends = None
        # Between a whole request and its answer nothing is waited for; the next head has its own time.
        if self.conn.their_state is h11.IDLE:
            self.transport.close()


def http_server(app: WitnessApp) -> uvicorn.Server:
    """The HTTP server: no access log, no header that names it, no trust in a proxy's word."""
    config = uvicorn.Config(
        app,
        http=PatientHttp,
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        log_level="error",
        server_header=False,
        proxy_headers=False,
        h11_max_incomplete_event_size=MAX_HEADER_BYTES,
        limit_concurrency=MAX_AT_ONCE,
        timeout_keep_alive=60,
        timeout_graceful_shutdown=10,
    )
    return uvicorn.Server(config)


def serve(path: Path, host: str, port: int, ready: Callable[[int], None]) -> None:
    """Serve a witness's file until SIGTERM or SIGINT; `ready` is told the port, once it can be reached.

    Raises what `Memory.open` raises, and OSError where it cannot listen.
    """
    memory = Memory.open(path)
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.create_server((host, port), family=family, backlog=MAX_AT_ONCE) as listener:
            ready(listener.getsockname()[1])
            http_server(WitnessApp(Cosigner(memory))).run(sockets=[listener])
    finally:
        memory.close()


def _demand_method(method: str, only: str) -> None:
    if method != only:
        raise ReferralError(ErrorCode.METHOD_NOT_ALLOWED, allow=only)


def _refusal(error: ReferralError) -> Answer:
    status = _STATUS.get(error.code, 500)
    if kept := error.facts.get("kept"):
        _tell("evidence", kind=kept, origin=error.facts["origin"])
    if error.code is ErrorCode.STALE_HEAD:
        return Answer(status, format_size(error.facts["size"]), SIZE_MEDIA_TYPE)
    if status == 503:
        _tell("unavailable", reason=str(error.facts.get("reason")))
    # For whoever looks into a log that is not cosigned; closed words, nothing of what was sent.
    words = " ".join((error.code.value, str(error.facts.get("reason", ""))))
    headers = ((b"allow", error.facts["allow"].encode()),) if "allow" in error.facts else ()
    if status == 413:
        headers = ((b"connection", b"close"),)
    return Answer(status, words.strip().encode() + b"\n", headers=headers)


async def _read_body(receive: Receive) -> bytes:
    chunks: list[bytes] = []
    length = 0
    async with asyncio.timeout(BODY_S):
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ReferralError(ErrorCode.MALFORMED, reason="request")
            chunks.append(message.get("body", b""))
            length += len(chunks[-1])
            if length > MAX_REQUEST_BYTES:
                raise ReferralError(ErrorCode.TOO_LARGE, limit=MAX_REQUEST_BYTES)
            if not message.get("more_body"):
                return b"".join(chunks)


def _tell(event: str, **facts: str) -> None:
    sys.stderr.write(canonical({"event": event, **facts}).decode() + "\n")
    sys.stderr.flush()
