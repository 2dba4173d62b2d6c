"""The FastAPI application behind the edge: every operation documented, the cold ones served, health, the local docs
page.

Handlers are those of the operations table; FastAPI routes, documents and renders the docs page from local files, so
that nobody's browser asks a third party for scripts.

Must never: parse what a handler parses, or carry telemetry (it would hold paths).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import KeyUse
from referral_api.server.api.call import Reply, make_call
from referral_api.server.api.docs_page import add_docs_page
from referral_api.server.api.documents import document_of, finish, problems_of
from referral_api.server.api.failures import headers_of, refuse
from referral_api.server.api.metrics import MEDIA_TYPE, figures_of
from referral_api.server.api.operations import OPERATIONS, Operation, find_operation
from referral_api.server.api.site import Site

LONGEST_CHECK_S = 5.0


def cold_app(site: Site | None, *, version: str, lifespan: Any = None) -> FastAPI:
    """Build it. `site` None is enough to generate openapi.yaml."""
    app = FastAPI(
        title="referral_api",
        version=version,
        summary="Sealed, signed and provable referrals between a hotline and police units",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
        telemetry={
            "auto_configure": False,
            "tracing": False,
            "metrics": False,
            "logs": False,
            "operation_spans": False,
        },
    )
    for operation in OPERATIONS:
        path = operation.path.replace("{path}", "{path:path}")
        app.add_api_route(
            path,
            _endpoint(operation, site),
            methods=[operation.method],
            operation_id=operation.name,
            summary=operation.summary,
            response_model=None,
            response_class=Response,
            status_code=operation.statuses[0],
            **document_of(operation),
        )
    _add_health(app, site, version)
    add_docs_page(app)
    app.add_exception_handler(HTTPException, _unrouted(site))
    app.openapi = lambda: finish(app)  # type: ignore[method-assign]  # FastAPI's documented way to extend the document
    return app


def _endpoint(operation: Operation, site: Site | None) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        if site is None:
            raise RuntimeError("this application only documents")
        request_id, call = request.scope["state"]["request_id"], None
        try:
            # The path is matched once more against the operation's own pattern: FastAPI's parameters take any text.
            found, params = find_operation(request.method, request.scope["path"])
            call = make_call(request.scope, await request.body(), params, request_id, int(site.clock()))
            reply = await found.handler(site, call)
        except Exception as fault:
            reply = await refuse(site, fault, request.scope, request_id, call)
        return _response(reply, request_id)

    endpoint.__name__ = operation.name
    return endpoint


def _response(reply: Reply, request_id: str) -> Response:
    response = Response(reply.body, reply.status)
    response.raw_headers = headers_of(reply, request_id)
    return response


def _add_health(app: FastAPI, site: Site | None, version: str) -> None:
    @app.get("/healthz", operation_id="get_healthz", summary="The process answers", tags=["operator"])
    async def get_healthz() -> dict[str, str]:
        """Alive: nothing is looked at."""
        return {"status": "ok"}

    @app.get("/readyz", operation_id="get_readyz", summary="The exchange can accept acts", tags=["operator"])
    async def get_readyz(request: Request, response: Response) -> dict[str, Any]:
        """Ready: database, writer and signer answer, writes are open. 503 says which not, and why (`closed`).

        `signs` is `elsewhere` at a host that waits for another's signatures; `signer` is then whether that one answers.
        Witnesses that are late, away or against us are told too; business does not wait for them (design §9). So are
        keys of the exchange that this host was not given: `keys` is false once one of them leaves nothing to sign with;
        and channels of notices that fail (`notices`, R-109), which ones to whoever shows the operator's token.
        `clocks` is false where a deadline may pass without a word (R-106).
        """
        checks = await _checks(site)
        response.status_code = 200 if all(checks.values()) else 503
        return {
            "status": "ready" if all(checks.values()) else "not-ready",
            "checks": checks,
            "closed": site.writer.closed if site else None,
            "signs": "here" if site is None or site.elsewhere is None else "elsewhere",
            "witnesses": _witnesses(site),
            "keys_missing": _keys_missing(site),
            "notices": _notices(site, request.headers),
        }

    @app.get(
        "/metrics",
        operation_id="get_metrics",
        summary="Figures for monitoring",
        tags=["operator"],
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **problems_of({401})},
    )
    async def get_metrics(request: Request) -> Response:
        """Counts without names, in Prometheus' text form, for whoever shows the operator's token: when something
        happens here is nobody else's business.
        """
        if site is None or not site.is_operator(request.headers):
            raise HTTPException(401)
        return Response(figures_of(site), media_type=MEDIA_TYPE)

    @app.get("/version", operation_id="get_version", summary="Version and environment", tags=["operator"])
    async def get_version() -> dict[str, str]:
        """Which code runs, for which environment."""
        return {"version": version, "environment": site.exchange.environment if site else "none"}


def _witnesses(site: Site | None) -> str | dict[str, Any]:
    """`none` by declared choice; else whether the quorum is late, and how things stand with each witness."""
    if site is None or site.witnessing is None:
        return "none"
    return {"late": site.witnessing.late, "standing": site.witnessing.standing()}


def _notices(site: Site | None, headers: Mapping[str, str]) -> str | dict[str, Any]:
    """`none` without a plan; else how many channels there are and how many fail, to the operator which ones."""
    standing = None if site is None else site.waking.standing()
    if site is None or standing is None:
        return "none"
    return standing if site.is_operator(headers) else standing | {"failing": len(standing["failing"])}


def _keys_missing(site: Site | None) -> list[dict[str, str]]:
    """The exchange's own keys that are not on this host, though they count or will (R-37)."""
    missing = () if site is None else site.exchange.keyring.missing
    return [{"use": one.use.value, "kid": one.kid, "status": one.status} for one in missing]


def _can_sign(site: Site) -> bool:
    """Whether there is a key for all that this host signs: where another signs the logs, it needs no log key."""
    without = {one.use for one in site.exchange.keyring.missing if one.status == "none-signs"}
    return not (without - {KeyUse.LOG} if site.elsewhere is not None else without)


async def _checks(site: Site | None) -> dict[str, bool]:
    if site is None:
        raise RuntimeError("this application only documents")

    def database() -> bool:
        with site.exchange.database.read(brief=True) as conn:
            return conn.one("SELECT 1") is not None

    try:
        # A lane that does not come to it in this time is not ready either.
        answers = await asyncio.wait_for(site.work(database), LONGEST_CHECK_S)
    except (ReferralError, TimeoutError):
        answers = False
    answers = answers and site.exchange.database.writable
    return {
        "database": answers,
        "writer": site.writer.alive,
        "lane": site.lane.alive,
        "signer": site.writer.signing,
        "writes": site.writer.closed is None,
        "keys": _can_sign(site),
        "clocks": not site.timers.stopped,
    }


def _unrouted(site: Site | None) -> Callable[[Request, Exception], Awaitable[Response]]:
    """Starlette's own 404 and 405 are ours: same document, same words."""

    async def answer(request: Request, error: Exception) -> Response:
        if site is None:
            raise RuntimeError("this application only documents")
        request_id = request.scope["state"]["request_id"]
        return _response(await refuse(site, _refusal(request, error), request.scope, request_id, None), request_id)

    return answer


def _refusal(request: Request, error: Exception) -> ReferralError:
    status = error.status_code if isinstance(error, HTTPException) else 400
    if status != 405:
        codes = {401: ErrorCode.INVALID_TOKEN, 404: ErrorCode.NOT_FOUND}
        return ReferralError(codes.get(status, ErrorCode.MALFORMED))
    try:
        find_operation(request.method, request.scope["path"])
    except ReferralError as refusal:
        if refusal.code is ErrorCode.METHOD_NOT_ALLOWED:
            return refusal
    # Health and the docs page stand in no table; they take one method each, which the router names.
    told = error.headers or {} if isinstance(error, HTTPException) else {}
    return ReferralError(ErrorCode.METHOD_NOT_ALLOWED, methods=[told.get("Allow", "GET")])
