"""A witness that answers whatever a test wants: the exchange must take nothing from it that does not verify.

The honest witness program is referral_api/witness; this one keeps no state and checks nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import sha256
from http.server import BaseHTTPRequestHandler
from io import BufferedIOBase
from typing import Self

from cryptography.hazmat.primitives.asymmetric import ed25519

from referral_api.auditlog.checkpoint import Checkpoint, cosign_checkpoint, parse_checkpoint
from referral_api.auditlog.note import NoteSignature, SignatureType, VerifierKey, parse_note
from referral_api.auditlog.policy import Policy, Witness, policy_of
from referral_api.auditlog.witnessing import format_answer, monitoring_path, parse_request
from tests.listening import Listening

Said = tuple[int, str, bytes]
"""Status, media type, body."""


def policy_at(witnesses: Sequence[LyingWitness], quorum: int = 2) -> Policy:
    """So many of these witnesses, with where they are."""
    named = {witness.key: witness.url for witness in witnesses}
    policy = policy_of(quorum, list(named))
    return replace(policy, witnesses=tuple(Witness(one.name, one.key, named[one.key]) for one in policy.witnesses))


def never_end(out: BufferedIOBase, how: str) -> None:
    """An answer without an end, until whoever asked goes away (OSError), or for half a minute."""
    more = {"drips": b"Content-Length: 60000\r\n\r\n", "drips-head": b"X-More: ", "endless": b"\r\n"}[how]
    out.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n" + more)
    ends = time.monotonic() + 30
    while time.monotonic() < ends:
        out.write(b"x" * (1 << 16) if how == "endless" else b"x")
        time.sleep(0 if how == "endless" else 1)


class LyingWitness:
    """One witness on a loopback port. `says` is asked what to answer to a checkpoint; it signs anything by default."""

    def __init__(self, name: str) -> None:
        secret = ed25519.Ed25519PrivateKey.from_private_bytes(sha256(name.encode()).digest())
        self.secret = secret
        self.key = VerifierKey(name, SignatureType.COSIGNATURE_ED25519, secret.public_key().public_bytes_raw())
        self.asked: list[Checkpoint] = []
        self.shown: dict[str, bytes] = {}
        """What it shows to monitors, by path below its prefix: the last text of each log that it cosigned."""
        self.olds: list[int] = []
        self.says: Callable[[Checkpoint, int], Said] = lambda checkpoint, _old: self.cosigned(checkpoint)
        self.how = ""
        """How it answers, instead of saying anything: `drips` its answer's body or `drips-head`, a byte a second, or
        sends one that is `endless`."""
        self.slow_now = 0
        """How many such answers are under way."""

    @property
    def url(self) -> str:
        """Its submission prefix, while it listens."""
        return f"http://127.0.0.1:{self._http.server_address[1]}/prefix"

    def line(self, checkpoint: Checkpoint, at: int | None = None) -> NoteSignature:
        """Its cosignature, over whatever checkpoint."""
        return cosign_checkpoint(checkpoint, self.key, self.secret.sign, int(time.time()) if at is None else at)

    def cosigned(self, checkpoint: Checkpoint) -> Said:
        """The answer of a witness that agrees."""
        return 200, "text/plain", format_answer([self.line(checkpoint)])

    def __enter__(self) -> Self:
        self._http = Listening(("127.0.0.1", 0), self._handler())
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        witness = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked = parse_request(self.rfile.read(int(self.headers["content-length"])))
                checkpoint = parse_checkpoint(parse_note(asked.raw_checkpoint).text)
                witness.asked.append(checkpoint)
                witness.olds.append(asked.old_size)
                if witness.how:
                    self._never_end()
                    return
                status, media_type, body = witness.says(checkpoint, asked.old_size)
                if status == 200:
                    witness.shown[monitoring_path(checkpoint.origin)] = asked.raw_checkpoint + body
                self._answer(status, media_type, body)

            def do_GET(self) -> None:
                if witness.how:
                    self._never_end()
                    return
                body = witness.shown.get(self.path.removeprefix("/prefix/"))
                self._answer(404 if body is None else 200, "text/plain", body or b"")

            def _answer(self, status: int, media_type: str, body: bytes) -> None:
                self.send_response(status)
                self.send_header("content-type", media_type)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def _never_end(self) -> None:
                self.close_connection = True
                witness.slow_now += 1
                try:
                    never_end(self.wfile, witness.how)
                finally:
                    witness.slow_now -= 1

            def log_message(self, *_: object) -> None:
                pass

        return Handler
