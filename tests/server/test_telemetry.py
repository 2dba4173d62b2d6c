"""FastAPI's own telemetry stays off: whatever collects spans in a process learns nothing of the exchange's calls."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from fastapi import FastAPI
from opentelemetry import trace
from opentelemetry.trace import INVALID_SPAN, Span, Tracer, TracerProvider
from opentelemetry.util._decorator import _agnosticcontextmanager

from referral_api.server.api.cold import cold_app


class Collector(TracerProvider, Tracer):
    """A provider of spans that keeps what it is told about each."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def get_tracer(self, *_: Any, **__: Any) -> Tracer:
        return self

    def start_span(self, name: str, *_: Any, **told: Any) -> Span:
        self.told.append(f"{name} {told}")
        return INVALID_SPAN

    @_agnosticcontextmanager
    def start_as_current_span(self, name: str, *_: Any, **told: Any) -> Iterator[Span]:
        yield self.start_span(name, **told)


def call(app: FastAPI, path: str) -> None:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(_message: Any) -> None:
        return

    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [],
        "http_version": "1.1",
        "scheme": "http",
        "server": ("localhost", 80),
        "client": ("127.0.0.1", 9),
        "root_path": "",
    }
    asyncio.run(app(scope, receive, send))


def test_no_span_tells_of_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """Design: telemetry is off unless somebody turns it on; a path names a referral, so a span would too."""
    collector = Collector()
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", collector)
    call(FastAPI(), "/v1/referrals/01890a5d")
    assert collector.told, "FastAPI by itself tells whoever collects"
    collector.told.clear()
    # Without an exchange behind it the application ends where its handlers would begin, within what would be the span.
    with suppress(RuntimeError):
        call(cold_app(None, version="0"), "/v1/referrals/01890a5d")
    assert collector.told == []
