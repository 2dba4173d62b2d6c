"""Every failure becomes an answer here: problem documents for what was raised, and the one way to send a reply.

An unexpected exception is an opaque 500 with a request id, and one log line that says where, never what. What was
refused is noted for the log before its answer leaves (service/recording.py), and told to the operator in a line.

Must never: let an exception's text out, or record what a stranger claims to be about.
"""

from __future__ import annotations

from typing import Any

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.formats.act import parse_act
from referral_api.server import observe
from referral_api.server.api.call import Call, Reply, Scope, Send
from referral_api.server.api.exchange import RefusedError, answer_document
from referral_api.server.api.problems import REFUSALS, language_of, problem_of
from referral_api.server.api.site import Site
from referral_api.server.service.recording import Refusal

_SECURITY: tuple[tuple[bytes, bytes], ...] = (
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)
"""On every answer. There is no `access-control-` header on any: no other site's script may read the exchange."""


async def refuse(site: Site, fault: Exception, scope: Scope, request_id: str, call: Call | None) -> Reply:
    """The problem document for whatever was raised; if it is a refusal, it is on the record or counted first (R-98).

    `call` is None where the request was refused before it was one.
    """
    refusal = _refusal_of(fault, call)
    if refusal is not None and isinstance(fault, ReferralError):
        site.refused.note(site.clock(), code=fault.code.value, reason=fault.facts.get("reason"))
    if refusal is not None and site.recording.is_single(refusal, int(site.clock())):
        try:
            await site.run(lambda batch: site.recording.refused(refusal, batch))
        except ReferralError:
            site.recording.count_refusal(refusal, int(site.clock()))
    return failed(site, fault, scope, request_id)


def _refusal_of(fault: Exception, call: Call | None) -> Refusal | None:
    """What is to be recorded of a failure: not a final refusal, whose act has its leaf, nor what is none at all."""
    if not isinstance(fault, ReferralError) or fault.code not in REFUSALS:
        return None
    if call is None or call.credential is None:
        return Refusal(None, None, fault.code)
    if fault.code is ErrorCode.RATE_LIMITED:
        # Whoever asks too often is not answered by more writing.
        return Refusal(call.party, call.credential, fault.code)
    act = call.params.get("digest") or _digest_of_act(call)
    about = call.path if call.params.keys() & {"ref", "id", "digest"} else None
    return Refusal(call.party, call.credential, fault.code, call.params.get("ref"), act, about)


def _digest_of_act(call: Call) -> str | None:
    """The digest of the act that a PUT brought, where there is one to be read."""
    if call.method != "PUT":
        return None
    try:
        members = call.json(required=frozenset({"act"}), optional=frozenset({"bundle", "route", "sealed", "enrolment"}))
        return parse_act(str(members["act"]).encode()).digest
    except ReferralError:
        return None


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
