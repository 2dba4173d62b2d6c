"""The HTTP server before the application: uvicorn, told what to leave out.

Must never: write an access log, name itself in a header, or believe what a proxy says of a caller.
"""

from __future__ import annotations

import socket
from typing import Self

import uvicorn

from referral_api.server.api.edge import Edge
from referral_api.server.api.listening import BoundedHttp


class HttpServer(uvicorn.Server):
    """uvicorn ends the application only when no call is under way: polls are let go before it begins to wait."""

    def __init__(self, config: uvicorn.Config, edge: Edge) -> None:
        super().__init__(config)
        self._edge = edge

    @classmethod
    def before(cls, app: Edge, host: str, port: int) -> Self:
        """The server of this application at this address."""
        config = uvicorn.Config(
            app,
            host=host,
            port=port,
            loop="uvloop",
            http=BoundedHttp,
            ws="none",
            access_log=False,
            log_config=None,
            # What it says of bad requests is said by whoever sends them, and as often as they like.
            log_level="error",
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=10,
            backlog=4096,
        )
        return cls(config, app)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let the polls go, then wait for the calls under way."""
        self._edge.let_go()
        await super().shutdown(sockets)
