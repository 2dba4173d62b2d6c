"""One HTTP call as handlers see it, and their reply: the same on the fast path and behind FastAPI.

Limits stand before anything costly (R-05, R-51): header block, `Content-Encoding`, declared and real body length.

Must never: parse a body, know a service, or keep anything of a call after its reply.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.formats.strict_json import canonical, parse

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

MAX_HEADER_BYTES = 16 * 1024
MAX_PUT_BYTES = 1280 * 1024  # 1.25 MiB
MAX_BODY_BYTES = 64 * 1024
BODY_S = 180.0
"""How long a body may take: the largest at 60 kbit/s, a bad telephone line's."""
MAX_PARAMETERS = 16
ASKED = "referral_api.method"
"""Where a scope says with which method the caller asked, if it is served as another (HEAD, as GET)."""


@dataclass(slots=True)
class Call:
    """A request whose body has been read within its limit. `path` is decoded once; `raw_path` is what was signed."""

    method: str
    path: str
    raw_path: str
    query: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes
    request_id: str
    now: int
    params: Mapping[str, str]
    party: str | None = None
    """Of whose credential the caller has proved to be, and which, once that is known."""
    credential: str | None = None

    def header(self, name: bytes) -> str | None:
        """The one header of this (lower-case) name, or None. Doubled ones are refused where that matters."""
        for key, value in self.headers:
            if key == name:
                return value.decode("latin-1")
        return None

    def parameters(self, *names: str) -> dict[str, str]:
        """The query parameters: each at most once, and none but these. Raises MALFORMED.

        What is passed over in silence, the caller believes to have asked for.
        """
        try:
            pairs = parse_qsl(
                self.query.decode("ascii"),
                keep_blank_values=True,
                strict_parsing=bool(self.query),
                max_num_fields=MAX_PARAMETERS,
            )
        except ValueError:
            raise ReferralError(ErrorCode.MALFORMED, reason="parameter") from None
        given: dict[str, str] = {}
        for name, value in pairs:
            if name not in names or name in given:
                raise ReferralError(ErrorCode.MALFORMED, reason="parameter")
            given[name] = value
        return given

    def json(self, *, required: frozenset[str], optional: frozenset[str] = frozenset()) -> dict[str, Any]:
        """The body as a JSON object with exactly these members.

        Raises MEDIA_TYPE unless it says `application/json`, and MALFORMED with `reason` members.
        """
        media = (self.header(b"content-type") or "").partition(";")[0].strip().lower()
        if media != "application/json":
            raise ReferralError(ErrorCode.MEDIA_TYPE)
        document = parse(self.body, max_bytes=MAX_PUT_BYTES)
        if not isinstance(document, dict) or not required <= document.keys() <= required | optional:
            raise ReferralError(ErrorCode.MALFORMED, reason="members")
        return document


def make_call(scope: Scope, body: bytes, params: Mapping[str, str], request_id: str, now: int) -> Call:
    """The call as handlers see it."""
    raw_path: bytes = scope.get("raw_path") or scope["path"].encode("utf-8")
    return Call(
        method=scope.get(ASKED, scope["method"]),
        path=scope["path"],
        raw_path=raw_path.partition(b"?")[0].decode("latin-1"),
        query=scope["query_string"],
        headers=scope["headers"],
        body=body,
        request_id=request_id,
        now=now,
        params=params,
    )


@dataclass(slots=True)
class Reply:
    """An answer ready to send."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: tuple[tuple[bytes, bytes], ...] = ()


def json_reply(document: Any, *, status: int = 200, headers: tuple[tuple[bytes, bytes], ...] = ()) -> Reply:
    """A JSON reply that no cache may keep."""
    return Reply(status, canonical(document), headers=((b"cache-control", b"no-store"), *headers))


def check_headers(headers: list[tuple[bytes, bytes]]) -> None:
    """Refuse an oversized header block and encoded bodies before reading anything."""
    if sum(len(name) + len(value) + 4 for name, value in headers) > MAX_HEADER_BYTES:
        raise ReferralError(ErrorCode.HEADERS_TOO_LARGE, limit=MAX_HEADER_BYTES)
    for name, value in headers:
        if name == b"content-encoding" and value.strip().lower() != b"identity":
            raise ReferralError(ErrorCode.ENCODING_NOT_ALLOWED)


async def read_body(
    headers: list[tuple[bytes, bytes]], receive: Receive, limit: int, *, seconds: float = BODY_S
) -> bytes:
    """Read a request body of at most `limit` bytes within `seconds`.

    Raises TOO_LARGE as soon as the declared or the real length exceeds it, UNAVAILABLE when the caller has gone, and
    TimeoutError.
    """
    for name, value in headers:
        if name == b"content-length" and (not value.isdigit() or int(value) > limit):
            raise ReferralError(ErrorCode.TOO_LARGE, limit=limit)
    if not any(name in (b"content-length", b"transfer-encoding") for name, _ in headers):
        return b""
    async with asyncio.timeout(seconds):
        return await _read_chunks(receive, limit)


async def _read_chunks(receive: Receive, limit: int) -> bytes:
    message = await receive()
    chunks: list[bytes] = []
    length = 0
    while True:
        if message["type"] == "http.disconnect":
            raise ReferralError(ErrorCode.UNAVAILABLE)
        chunks.append(message.get("body", b""))
        length += len(chunks[-1])
        if length > limit:
            raise ReferralError(ErrorCode.TOO_LARGE, limit=limit)
        if not message.get("more_body"):
            return b"".join(chunks)
        message = await receive()
