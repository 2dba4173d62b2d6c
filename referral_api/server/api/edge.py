"""The edge: the first and last code of every call (design §16). Limits, request id, dispatch, problem documents.

Hot calls go from here straight to their handlers; all others pass through FastAPI to the same kind of handler.
Whatever raises below becomes a problem document here; an unexpected exception is an opaque 500 with a request id, and
one log line that says where, never what.

Must never: trust a forwarded header, redirect, or let an exception's text out.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.server.api.call import (
    ASKED,
    Call,
    Message,
    Receive,
    Scope,
    Send,
    check_headers,
    make_call,
    read_body,
)
from referral_api.server.api.failures import failed, refuse, secured, send_reply
from referral_api.server.api.operations import Operation, find_operation
from referral_api.server.api.site import Site

_IDS_AT_ONCE = 256

Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class Edge:
    """The ASGI application that the server runs; `cold` is the FastAPI application behind it."""

    def __init__(self, site: Site, cold: Application) -> None:
        self._site = site
        self._cold = cold
        self._ids: list[str] = []

    def let_go(self) -> None:
        """Answer every waiting poll now, and let none wait any more."""
        self._site.waiters.close()
        self._site.quorums.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event."""
        if scope["type"] != "http":
            await self._cold(scope, receive, send)
            return
        if scope["method"] == "HEAD":
            scope, send = _as_get(scope, send)
        request_id = self._request_id()
        call: Call | None = None
        try:
            check_headers(scope["headers"])
            operation, params = _find(scope)
            if operation is None:
                await self._pass_on(scope, receive, send, request_id)
                return
            body = await read_body(scope["headers"], receive, operation.max_body)
            call = make_call(scope, body, params, request_id, int(self._site.clock()))
            reply = await operation.handler(self._site, call)
        except TimeoutError:
            # Whoever trickles a body is told to send it again, and does so over another connection.
            reply = failed(self._site, ReferralError(ErrorCode.UNAVAILABLE), scope, request_id)
            reply.headers += ((b"connection", b"close"),)
        except Exception as fault:
            reply = await refuse(self._site, fault, scope, request_id, call)
        await send_reply(send, reply, request_id)

    def _request_id(self) -> str:
        # Drawn many at a time: one question to the system for each costs as much as the dispatch.
        if not self._ids:
            drawn = self._site.exchange.token_bytes(_IDS_AT_ONCE * 16).hex()
            self._ids = [drawn[at : at + 32] for at in range(0, len(drawn), 32)]
        return self._ids.pop()

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        """Give a call to FastAPI with its body read within the limit. Its endpoints fail by themselves."""
        body = await _read_cold(scope, receive)
        delivered = False

        async def replay() -> Message:
            nonlocal delivered
            if delivered:
                return await receive()
            delivered = True
            return {"type": "http.request", "body": body, "more_body": False}

        async def send_secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = secured(list(message["headers"]), request_id)
            await send(message)

        scope.setdefault("state", {})["request_id"] = request_id
        await self._cold(scope, replay, send_secured)


def _as_get(scope: Scope, send: Send) -> tuple[Scope, Send]:
    """A HEAD as the GET that it asks about (RFC 9110 §9.3.2): the same work, records and headers, and no body.

    Its proof of possession is for HEAD all the same: that is what was asked.
    """

    async def send_head(message: Message) -> None:
        await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

    return {**scope, "method": "GET", ASKED: "HEAD"}, send_head


def _find(scope: Scope) -> tuple[Operation | None, Mapping[str, str]]:
    """The hot operation of a request; None leaves it to FastAPI."""
    try:
        return find_operation(scope["method"], scope["path"], hot_only=True)
    except ReferralError as error:
        if error.code is ErrorCode.METHOD_NOT_ALLOWED:
            raise
        return None, {}


async def _read_cold(scope: Scope, receive: Receive) -> bytes:
    """The body of a call that FastAPI serves; health, the docs page and what is nothing take none, so none is read."""
    try:
        operation, _ = find_operation(scope["method"], scope["path"])
    except ReferralError as error:
        if error.code is ErrorCode.METHOD_NOT_ALLOWED:
            raise
        return b""
    return await read_body(scope["headers"], receive, operation.max_body)
