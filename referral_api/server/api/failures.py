"""Every failure becomes an answer here: problem documents for what was raised, and the one way to send a reply.

An unexpected exception is an opaque 500 with a request id, and one log line that says where, never what.

Must never: let an exception's text out.
"""

from __future__ import annotations

from typing import Any

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.server import observe
from referral_api.server.api.call import Reply, Scope, Send
from referral_api.server.api.exchange import RefusedError, answer_document
from referral_api.server.api.problems import language_of, problem_of
from referral_api.server.api.site import Site

_SECURITY: tuple[tuple[bytes, bytes], ...] = (
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)
"""On every answer. There is no `access-control-` header on any: no other site's script may read the exchange."""


def failed(site: Site, fault: Exception, scope: Scope, request_id: str) -> Reply:
    """The problem document for whatever was raised (R-50)."""
    extra: dict[str, Any] | None = None
    if isinstance(fault, RefusedError):
        extra, fault = answer_document(fault.committed), fault.error
    if not isinstance(fault, ReferralError):
        observe.log(
            "internal_error", request_id=request_id, fault=type(fault).__name__, where=observe.fault_place(fault)
        )
        fault = ReferralError(ErrorCode.INTERNAL)
    accepted = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"accept-language"), "")
    problem = problem_of(
        fault,
        language=language_of(accepted),
        request_id=request_id,
        now=int(site.clock()),
        issuer=site.exchange.issuer,
        extra=extra,
    )
    media = next(value for name, value in problem.headers if name == b"content-type")
    rest = tuple((name, value) for name, value in problem.headers if name != b"content-type")
    return Reply(problem.status, problem.body, media.decode("ascii"), rest)


def headers_of(reply: Reply, request_id: str) -> list[tuple[bytes, bytes]]:
    """The headers of a reply."""
    headers = [
        (b"content-length", str(len(reply.body)).encode("ascii")),
        (b"x-request-id", request_id.encode("ascii")),
        *_SECURITY,
        *reply.headers,
    ]
    if reply.status != 304:
        headers.append((b"content-type", reply.content_type.encode("ascii")))
    return headers


def secured(headers: list[tuple[bytes, bytes]], request_id: str) -> list[tuple[bytes, bytes]]:
    """The headers of an answer that was not made here, with those that every answer has where they are missing."""
    present = {name.lower() for name, _ in headers}
    every = ((b"x-request-id", request_id.encode("ascii")), *_SECURITY)
    return [*headers, *((name, value) for name, value in every if name not in present)]


async def send_reply(send: Send, reply: Reply, request_id: str) -> None:
    """Send a reply in one body message."""
    await send({"type": "http.response.start", "status": reply.status, "headers": headers_of(reply, request_id)})
    await send({"type": "http.response.body", "body": reply.body})
