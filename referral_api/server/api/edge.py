"""The edge: the first and last code of every call (design §16). Limits, request id, dispatch, problem documents.

Hot calls go from here straight to their handlers; all others pass through FastAPI to the same kind of handler.
Whatever raises below becomes a problem document here; an unexpected exception is an opaque 500 with a request id, and
one log line that says where, never what.

Must never: trust a forwarded header, redirect, or let an exception's text out.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.server import observe
from referral_api.server.api.call import Message, Receive, Reply, Scope, Send, check_headers, make_call, read_body
from referral_api.server.api.exchange import RefusedError, answer_document
from referral_api.server.api.operations import Operation, find_operation
from referral_api.server.api.problems import language_of, problem_of
from referral_api.server.api.site import Site

Application = Callable[[Scope, Receive, Send], Awaitable[None]]
_SECURITY: tuple[tuple[bytes, bytes], ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)


class Edge:
    """The ASGI application that the server runs; `cold` is the FastAPI application behind it."""

    def __init__(self, site: Site, cold: Application) -> None:
        self._site = site
        self._cold = cold

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event."""
        if scope["type"] != "http":
            await self._cold(scope, receive, send)
            return
        request_id = self._site.exchange.token_bytes(16).hex()
        try:
            check_headers(scope["headers"])
            operation, params = _find(scope)
            if operation is None:
                await self._pass_on(scope, receive, send, request_id)
                return
            body = await read_body(scope["headers"], receive, operation.max_body)
            reply = await operation.handler(
                self._site, make_call(scope, body, params, request_id, int(self._site.clock()))
            )
        except Exception as fault:
            reply = self.failed(fault, scope, request_id)
        await send_reply(send, reply, request_id)

    def failed(self, fault: Exception, scope: Scope, request_id: str) -> Reply:
        """The problem document for whatever was raised."""
        extra: dict[str, Any] | None = None
        if isinstance(fault, RefusedError):
            extra, fault = answer_document(fault.committed), fault.error
        if not isinstance(fault, ReferralError):
            observe.log(
                "internal_error",
                request_id=request_id,
                fault=type(fault).__name__,
                where=observe.fault_place(fault),
            )
            fault = ReferralError(ErrorCode.INTERNAL)
        accepted = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"accept-language"), "")
        problem = problem_of(
            fault,
            language=language_of(accepted),
            request_id=request_id,
            now=int(self._site.clock()),
            issuer=self._site.exchange.issuer,
            extra=extra,
        )
        media = next(value for name, value in problem.headers if name == b"content-type")
        rest = tuple((name, value) for name, value in problem.headers if name != b"content-type")
        return Reply(problem.status, problem.body, media.decode("ascii"), rest)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        """Give a call to FastAPI with its body read within the limit, and its failures back to us."""
        body = await read_body(scope["headers"], receive, _cold_limit(scope))
        delivered = False

        async def replay() -> Message:
            nonlocal delivered
            if delivered:
                return await receive()
            delivered = True
            return {"type": "http.request", "body": body, "more_body": False}

        scope.setdefault("state", {})["request_id"] = request_id
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._cold(scope, replay, watched)
        except Exception as fault:
            if started:
                raise
            await send_reply(send, self.failed(fault, scope, request_id), request_id)


def _find(scope: Scope) -> tuple[Operation | None, Mapping[str, str]]:
    """The hot operation of a request; None leaves it to FastAPI."""
    try:
        return find_operation(scope["method"], scope["path"], hot_only=True)
    except ReferralError as error:
        if error.code is ErrorCode.METHOD_NOT_ALLOWED:
            raise
        return None, {}


def _cold_limit(scope: Scope) -> int:
    try:
        return find_operation(scope["method"], scope["path"])[0].max_body
    except ReferralError:
        return 0


async def send_reply(send: Send, reply: Reply, request_id: str) -> None:
    """Send a reply in one body message."""
    headers = [
        (b"content-length", str(len(reply.body)).encode("ascii")),
        (b"x-request-id", request_id.encode("ascii")),
        *_SECURITY,
        *reply.headers,
    ]
    if reply.status != 304:
        headers.append((b"content-type", reply.content_type.encode("ascii")))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})
