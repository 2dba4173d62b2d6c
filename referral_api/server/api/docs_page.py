"""The local documentation page: openapi.yaml made readable, every byte of it from this machine.

Swagger UI comes out of the `fastapi-offline` wheel. The page has no inline script, so that its content policy allows
this origin's own scripts and nothing else; no other answer of the exchange allows any.

Must never: load anything from elsewhere, or serve a file that is not named here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from fastapi import FastAPI, Response

PAGE = "/v1/docs"
OPENAPI = "/v1/openapi.json"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Swagger UI styles its elements one by one and holds its icons in its style sheet."""
_HTML = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>referral_api</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="{PAGE}/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<noscript>This page needs JavaScript. The same document as JSON: <a href="{OPENAPI}">{OPENAPI}</a></noscript>
<script src="{PAGE}/swagger-ui-bundle.js"></script>
<script src="{PAGE}/start.js"></script>
</body>
</html>
"""
_START = f"""SwaggerUIBundle({{
  url: "{OPENAPI}",
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null,
  supportedSubmitMethods: [],
}});
"""


def add_docs_page(app: FastAPI) -> None:
    """Serve the page, its script and style, and the document that it shows."""

    @app.get(OPENAPI, include_in_schema=False)
    async def get_openapi_document() -> dict[str, Any]:
        return app.openapi()

    pages: Mapping[str, tuple[str, Callable[[], bytes]]] = {
        PAGE: ("text/html", _HTML.encode),
        f"{PAGE}/start.js": ("text/javascript", _START.encode),
        f"{PAGE}/swagger-ui-bundle.js": ("text/javascript", lambda: _asset("swagger-ui-bundle.js")),
        f"{PAGE}/swagger-ui.css": ("text/css", lambda: _asset("swagger-ui.css")),
    }
    for path, (media, read) in pages.items():
        app.add_api_route(path, _page(media, read), methods=["GET"], include_in_schema=False)


def _page(media: str, read: Callable[[], bytes]) -> Callable[[], Response]:
    def get_page() -> Response:
        return Response(read(), media_type=media, headers={"content-security-policy": POLICY})

    return get_page


@cache
def _asset(name: str) -> bytes:
    return (files("fastapi_offline") / "static" / name).read_bytes()
