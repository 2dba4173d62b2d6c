"""One call to somebody who does not know us, such as a witness: it ends in time, and the answer in size.

The HTTP library bounds every read by itself, so that whoever sends a byte a second would be waited for without end, in
the head of an answer as in its body. Here one moment ends the whole call: what is connected then is cut, whatever
waits for it. Only the look-up of a name and the dialling of its addresses have the ends of their own.

So it is with a file of a folder that somebody else has made, such as a mirror: a pipe would be waited for, and a device
read, without end. And `dial` says how far a call would come, for whoever looks for the reason why one does not.

Must never: send a credential, follow a redirect, keep a connection, or read without an end.

Implements: R-96, R-101; design §9.
"""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import stat
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

import httpx2

from referral_api.domain.errors import ErrorCode, ReferralError

tls = cache(httpx2.create_ssl_context)
"""The machine's trusted authorities: reading them takes longer than a call, so every line of a process shares them."""


def read_handed(path: Path, most: int) -> bytes:
    """A file of a folder that somebody else has made, whole.

    Raises NOT_FOUND (`what`) for what is no file, or cannot be read; TOO_LARGE (`limit`, in bytes).
    """
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as handle:
            if not stat.S_ISREG(os.fstat(handle.fileno()).st_mode):
                raise ReferralError(ErrorCode.NOT_FOUND, what=path.name)
            raw = handle.read(most + 1)
    except OSError:
        raise ReferralError(ErrorCode.NOT_FOUND, what=path.name) from None
    if len(raw) > most:
        raise ReferralError(ErrorCode.TOO_LARGE, limit=most)
    return raw


@dataclass(frozen=True, slots=True)
class Heard:
    """One answer, whole: status, media type in small letters, body."""

    status: int
    media_type: str
    body: bytes


class Outside:
    """Makes calls, each over a connection of its own, from as many threads as like to."""

    def __init__(self, *, answer_s: float, connect_s: float, max_bytes: int) -> None:
        """A call has `answer_s` seconds from its start to the end of the answer, which has `max_bytes` at most."""
        self._answer_s = answer_s
        self._max_bytes = max_bytes
        self._http = httpx2.Client(
            verify=tls(),
            timeout=httpx2.Timeout(answer_s, connect=min(connect_s, answer_s)),
            follow_redirects=False,
            limits=httpx2.Limits(max_keepalive_connections=0),
            # A compressed answer could be a thousand times larger than it looks.
            headers={"Accept-Encoding": "identity"},
        )
        self._guard = threading.Lock()
        self._under_way: set[_End] = set()
        self._is_cut = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def cut(self) -> None:
        """End every call that is under way, and each that is begun from now on."""
        with self._guard:
            self._is_cut = True
            under_way = list(self._under_way)
        for end in under_way:
            end.come()

    def close(self) -> None:
        """Give everything back; a call still under way in another thread is cut, and cleans up behind itself."""
        self.cut()
        with self._guard:
            is_quiet = not self._under_way
        if is_quiet:
            self._http.close()

    def call(self, method: str, url: str, content: bytes | None = None, *, token: str | None = None) -> Heard:
        """Ask, and hear the whole answer, whatever its status; `token` is a bearer token to show.

        Raises UNREACHABLE (`too-slow`: it had not ended in time), UNAVAILABLE (`limit`: it was too long).
        """
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        try:
            with (
                self._end() as end,
                self._http.stream(
                    method, url, content=content, headers=headers, extensions={"trace": end.watch}
                ) as answer,
            ):
                body = bytearray()
                for chunk in answer.iter_raw():
                    body += chunk
                    if len(body) > self._max_bytes:
                        raise ReferralError(ErrorCode.UNAVAILABLE, status=answer.status_code, limit=self._max_bytes)
                    end.verify()
                # An answer without a length ends like this where it was cut.
                end.verify()
                media_type = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
                return Heard(answer.status_code, media_type, bytes(body))
        except (httpx2.TransportError, httpx2.InvalidURL):
            # The library's message can hold addresses of the network; that nobody answered is all there is to say.
            raise ReferralError(ErrorCode.UNREACHABLE) from None

    @contextmanager
    def _end(self) -> Iterator[_End]:
        end = _End(self._answer_s)
        try:
            with self._guard:
                self._under_way.add(end)
                is_late = self._is_cut
            if is_late:
                end.come()
            end.verify()
            yield end
        finally:
            with self._guard:
                self._under_way.discard(end)
            end.close()


class _End:
    """When one call ends, and what is then cut."""

    def __init__(self, seconds: float) -> None:
        self._at = monotonic() + seconds
        self._guard = threading.Lock()
        self._lines: list[socket.socket] = []
        self._has_come = False
        self._timer = threading.Timer(seconds, self.come)
        self._timer.daemon = True
        self._timer.start()

    def watch(self, event: str, facts: Mapping[str, Any]) -> None:
        """What the HTTP library tells of the call: a connection, as soon as there is one."""
        if event != "connection.connect_tcp.complete":
            return
        # Our own handle of the same connection: the library may wrap its one in TLS, and close it when it likes.
        line = facts["return_value"].get_extra_info("socket").dup()
        with self._guard:
            self._lines.append(line)
            if self._has_come:
                hang_up(line)

    def come(self) -> None:
        """Cut the call now."""
        with self._guard:
            self._has_come = True
            for line in self._lines:
                hang_up(line)

    def verify(self) -> None:
        """Raise UNREACHABLE where the call is over."""
        if self._has_come or monotonic() > self._at:
            raise ReferralError(ErrorCode.UNREACHABLE, reason="too-slow")

    def close(self) -> None:
        """Wait no more, and give the handles back."""
        self._timer.cancel()
        with self._guard:
            for line in self._lines:
                line.close()
            self._lines.clear()


LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
_TIMEDATECTL_S: Final = 5
_X509: Final = {9: "not-yet", 10: "ended", 62: "name", 64: "name"}
"""OpenSSL's reasons for refusing a certificate, by number; every other one is that nobody here trusts who issued it."""


@dataclass(frozen=True, slots=True)
class Dialled:
    """How far a call would come, and how long that took. `tls` is its version, `ends_at` when the certificate
    ends (unix seconds); "" and None without TLS.
    """

    addresses: int
    milliseconds: int
    tls: str
    ends_at: int | None


def dial(url: str, *, answer_s: float) -> Dialled:
    """Look up a name, connect, and agree on TLS as every call of ours does; then hang up.

    Raises UNREACHABLE with `reason`: `name` (it is not known), `connection` (nobody accepts it there, or in time),
    `tls` (no agreement), `certificate` with `why`: `ended`, `not-yet`, `name` (another's), `issuer` (not trusted here).
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    try:
        addresses = len({one[4][0] for one in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)})
    except (OSError, UnicodeError):
        raise ReferralError(ErrorCode.UNREACHABLE, reason="name") from None
    begun = monotonic()
    try:
        line = socket.create_connection((host, port), timeout=answer_s)
    except OSError:
        raise ReferralError(ErrorCode.UNREACHABLE, reason="connection") from None
    with line:
        if parts.scheme != "https":
            return Dialled(addresses, int((monotonic() - begun) * 1000), "", None)
        # Whoever sends a byte a second of the handshake is not waited for without end.
        twin = line.dup()
        end = threading.Timer(answer_s, hang_up, [twin])
        end.daemon = True
        end.start()
        try:
            with tls().wrap_socket(line, server_hostname=host) as secured:
                certificate, version = secured.getpeercert() or {}, secured.version() or ""
        except ssl.SSLCertVerificationError as error:
            why = _X509.get(error.verify_code, "issuer")
            raise ReferralError(ErrorCode.UNREACHABLE, reason="certificate", why=why) from None
        except OSError:
            raise ReferralError(ErrorCode.UNREACHABLE, reason="tls") from None
        finally:
            end.cancel()
            twin.close()
    ends_at = ssl.cert_time_to_seconds(str(certificate["notAfter"])) if "notAfter" in certificate else None
    return Dialled(addresses, int((monotonic() - begun) * 1000), version, ends_at)


def is_clock_kept() -> bool | None:
    """Whether this machine's clock is set by the network's time, as `timedatectl` says; None where nothing says so."""
    program = shutil.which("timedatectl")
    if program is None:
        return None
    command = [program, "show", "--property=NTPSynchronized", "--value"]
    try:
        told = subprocess.run(command, capture_output=True, check=True, timeout=_TIMEDATECTL_S)  # noqa: S603 - found above
    except (OSError, subprocess.SubprocessError):
        return None
    return {b"yes": True, b"no": False}.get(told.stdout.strip())


def hang_up(line: socket.socket) -> None:
    """Cut a connection, whoever waits for it, and leave the handle as it is."""
    try:
        # Of TLS too it is the connection that is cut: the library's own end of it would say nothing to who is waiting.
        socket.socket.shutdown(line, socket.SHUT_RDWR)
    except OSError:
        return  # The other side was quicker.
