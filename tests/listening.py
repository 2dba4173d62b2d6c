"""The HTTP server under the tests' liars: each call in a thread of its own, and a client that hangs up is no news.

Must never: hide any other failure than that of a client that left.
"""

from __future__ import annotations

import sys
from http.server import ThreadingHTTPServer
from typing import Any


class Listening(ThreadingHTTPServer):
    """Such a server. Handlers raise what went wrong within them as something else than a lost connection."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever is lied to may hang up in the midst of it; whatever else went wrong is printed."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)
