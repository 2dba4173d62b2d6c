"""The wire between a client and the exchange: real HTTP, everything written on a tape, and a place to lie or to lose.

`Wire` is the client's transport. It really sends and really receives; a test may then change what the client gets to
see (a dishonest exchange) or let the answer get lost after the exchange has given it (a cut line). `Caller` sends what
no client of ours would: authenticated calls whose every part a test chooses.

Must never: answer by itself.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx2

from referral_api.client import access
from referral_api.client.sdk import Client
from referral_api.formats.strict_json import b64u
from referral_api.outside import tls


def everything(line: socket.socket) -> bytes:
    """What comes over a connection until the other side closes it."""
    found = b""
    try:
        while chunk := line.recv(65536):
            found += chunk
    except ConnectionResetError:
        pass
    return found


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, or what a test makes of it."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def code(self) -> str | None:
        """The code of a problem document, or None."""
        if not self.body or self.headers.get("content-type") != "application/problem+json":
            return None
        return str(self.json["code"])

    def with_json(self, document: Any) -> Answer:
        """The same answer with another document."""
        return Answer(self.status, self.headers, json.dumps(document).encode())


Lie = Callable[[Answer], Answer]


class Wire(httpx2.BaseTransport):
    """One client's line. `lies` are applied in order to answers whose path holds their key."""

    def __init__(self, tape: list[bytes]) -> None:
        self.tape = tape
        self.lies: dict[str, Lie] = {}
        self.cut: set[str] = set()
        """Paths whose next success gets lost on the way."""
        self._http = httpx2.HTTPTransport(verify=tls())

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send, record, and hand on what the test lets through."""
        sent = request.read()
        self.tape.append(f"{request.method} {request.url}\n{request.headers.raw!r}\n\n".encode() + sent)
        with_answer = self._http.handle_request(request)
        body = with_answer.read()
        with_answer.close()
        self.tape.append(f"{with_answer.status_code}\n{with_answer.headers.raw!r}\n\n".encode() + body)
        answer = Answer(with_answer.status_code, dict(with_answer.headers), body)
        for part in [part for part in self.cut if part in request.url.path and answer.status < 300]:
            self.cut.discard(part)
            raise httpx2.ReadError("the line was cut", request=request)
        for part, lie in self.lies.items():
            if part in request.url.path:
                answer = lie(answer)
        return httpx2.Response(answer.status, headers=dict(answer.headers), stream=httpx2.ByteStream(answer.body))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


@dataclass(slots=True)
class Caller:
    """Calls of one client's credential, as wrong as a test wants them."""

    client: Client
    base: str
    tape: list[bytes]
    http: httpx2.Client = field(init=False)

    def __post_init__(self) -> None:
        self.http = httpx2.Client(base_url=self.base, verify=tls(), timeout=30, headers={"Accept-Encoding": "identity"})

    def close(self) -> None:
        """Close the connections."""
        self.http.close()

    def credentials(self, method: str, path: str, **proof: Any) -> dict[str, str]:
        """Authorization and DPoP headers for one call; `proof` overrides arguments of the proof."""
        session = self.client.session
        token = session._token()
        given: dict[str, Any] = {
            "jti": b64u(session.ambient.random(16)),
            "now": session.now(),
            "token": token.value,
        } | proof
        url = session.profile.issuer + path.partition("?")[0]
        made = access.build_proof(access.proof_key(token.dpop_secret), method, url, **given)
        return {"Authorization": f"DPoP {token.value}", "DPoP": made}

    def call(
        self,
        method: str,
        path: str,
        document: Any = None,
        *,
        raw: bytes | None = None,
        headers: Mapping[str, str | None] | None = None,
        signed: bool = True,
    ) -> Answer:
        """One call. `document` is sent as JSON, `raw` as it is; a header given as None is left out.

        A proof made before the exchange's last start is asked for again with a nonce, which is answered here.
        """
        body = raw if raw is not None else b"" if document is None else json.dumps(document).encode()
        answer = self._once(method, path, body, headers or {}, self.credentials(method, path) if signed else {})
        # Told by the header, for the answer to HEAD has no body that would say so.
        if signed and answer.status == 401 and "dpop-nonce" in answer.headers:
            nonce = answer.headers["dpop-nonce"]
            answer = self._once(method, path, body, headers or {}, self.credentials(method, path, nonce=nonce))
        return answer

    def _once(
        self, method: str, path: str, body: bytes, headers: Mapping[str, str | None], credentials: Mapping[str, str]
    ) -> Answer:
        sent: dict[str, str | None] = {**credentials}
        if body:
            sent["Content-Type"] = "application/json"
        sent |= headers
        given = {name: text for name, text in sent.items() if text is not None}
        found = self.http.request(method, path, content=body or None, headers=given)
        self.tape.append(f"{method} {path}\n{given!r}\n\n".encode() + body)
        self.tape.append(f"{found.status_code}\n{found.headers.raw!r}\n\n".encode() + found.content)
        return Answer(found.status_code, dict(found.headers), found.content)
