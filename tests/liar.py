"""A liar between a real client and a real exchange: an HTTP server that passes everything on, and lies in one way.

The operator is hostile here: it has the exchange's four keys and its whole database, so a liar may sign whatever the
exchange can sign; it never has a key of a party. Which lies there are, and who must notice them, is tests/lies.py.

    with Liar(world) as liar:
        liar.lie = LIES["rollback of the keys log"]
        client = Client(folder, keys, server=liar.url)

Must never: lie in more than one way at once, sign with a party's key, or change anything on the exchange.
"""

from __future__ import annotations

import http.client
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from http.server import BaseHTTPRequestHandler
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from referral_api.auditlog.checkpoint import sign_checkpoint
from referral_api.auditlog.merkle import Frontier, append, consistency_proof, leaf_hash
from referral_api.auditlog.proof import format_proof
from referral_api.auditlog.tiles import ENTRIES, TILE_WIDTH, TileName, encode_entries, parse_tile_path
from referral_api.cli.output import Exit
from referral_api.formats.keys import SigningKey
from referral_api.server.storage.keyfiles import load_signers
from tests.listening import Listening
from tests.wire import Answer
from tests.world import World


class Kind(StrEnum):
    """What a call is about; a lie is told about some of these."""

    TOKEN = "token"
    PING = "ping"
    PARTIES = "parties"
    KEYS_CHECKPOINT = "keys-checkpoint"
    KEYS_COSIGNED = "keys-cosigned"
    KEYS_ENTRIES = "keys-entries"
    AUDIT_CHECKPOINT = "audit-checkpoint"
    AUDIT_COSIGNED = "audit-cosigned"
    AUDIT_ENTRIES = "audit-entries"
    AUDIT_TILES = "audit-tiles"
    CONSISTENCY = "consistency"
    RECORDS = "records"
    PUT = "put"
    RECEIPT = "receipt"
    VIEW = "view"
    BUNDLE = "bundle"
    SEALED = "sealed"
    INBOX = "inbox"
    ENROLMENTS = "enrolments"
    ENROLMENT = "enrolment"
    EVIDENCE = "evidence"
    STATISTICS = "statistics"
    OTHER = "other"


_KINDS: tuple[tuple[str, Kind], ...] = (
    (r"POST /oauth/token", Kind.TOKEN),
    (r"GET /v1/ping", Kind.PING),
    (r"GET /v1/parties", Kind.PARTIES),
    (r"GET /v1/log/keys/checkpoint\?.*cosigned=1", Kind.KEYS_COSIGNED),
    (r"GET /v1/log/keys/checkpoint", Kind.KEYS_CHECKPOINT),
    (r"GET /v1/log/keys/tile/entries/", Kind.KEYS_ENTRIES),
    (r"GET /v1/log/audit/\d+/checkpoint\?.*cosigned=1", Kind.AUDIT_COSIGNED),
    (r"GET /v1/log/audit/\d+/checkpoint", Kind.AUDIT_CHECKPOINT),
    (r"GET /v1/log/audit/\d+/tile/entries/", Kind.AUDIT_ENTRIES),
    (r"GET /v1/log/(audit/\d+|keys)/tile/", Kind.AUDIT_TILES),
    (r"GET /v1/log/.*/consistency", Kind.CONSISTENCY),
    (r"GET /v1/records/", Kind.RECORDS),
    (r"PUT /v1/(referrals|directory)/", Kind.PUT),
    (r"GET /v1/receipts/", Kind.RECEIPT),
    (r"GET /v1/evidence/", Kind.EVIDENCE),
    (r"GET /v1/statistics", Kind.STATISTICS),
    (r"GET /v1/referrals/[^/]+/bundle", Kind.BUNDLE),
    (r"GET /v1/referrals/[^/]+/sealed/", Kind.SEALED),
    (r"GET /v1/referrals/", Kind.VIEW),
    (r"GET /v1/inbox", Kind.INBOX),
    (r"GET /v1/enrolments(\?|$)", Kind.ENROLMENTS),
    (r"(POST|PUT|GET) /v1/enrolments", Kind.ENROLMENT),
)


@dataclass(frozen=True, slots=True)
class Asked:
    """One call, as it arrived."""

    method: str
    target: str
    body: bytes = field(repr=False)

    @property
    def kind(self) -> Kind:
        """What it is about."""
        line = f"{self.method} {self.target}"
        return next((kind for pattern, kind in _KINDS if re.match(pattern, line)), Kind.OTHER)

    @property
    def query(self) -> dict[str, str]:
        """Its parameters."""
        return {name: values[0] for name, values in parse_qs(urlsplit(self.target).query).items()}

    @property
    def log(self) -> str:
        """Which log it asks about: `keys` or `audit/<year>`."""
        found = re.match(r"/v1/(?:log/(keys|audit/\d+)|records/(\d+))", self.target)
        assert found is not None, self.target
        return found[1] or f"audit/{found[2]}"

    @property
    def tile(self) -> TileName:
        """Which tile it asks for."""
        return parse_tile_path("tile/" + self.target.partition("/tile/")[2])


Tell = Callable[["Liar", Asked, Answer], Answer | None]
"""What is answered instead of the true answer; None: this time nothing but the truth."""


@dataclass(frozen=True, slots=True)
class Lie:
    """One way of lying. `says` what it does, `noticed` which step must notice; `exits` are the exit codes of that.

    `memory` is what the client knows before: `none` (a newcomer to the logs), `old` (it has seen them when they were
    shorter), `new` (as they are). `family` groups lies of one class; `evidence`: the client holds a fork afterwards.
    """

    name: str
    says: str
    noticed: str
    about: frozenset[Kind]
    tell: Tell = field(repr=False)
    memory: str = "new"
    exits: frozenset[int] = frozenset({Exit.VERIFICATION_FAILED})
    family: str = "log"
    slow: bool = False
    evidence: bool = False


@dataclass(frozen=True, slots=True)
class Tree:
    """The leaves of one log as somebody tells it, and everything that follows from them."""

    origin: str
    leaves: tuple[bytes, ...]
    key: SigningKey = field(repr=False)

    @property
    def hashes(self) -> list[bytes]:
        """The leaves' hashes."""
        return _hashes(self.leaves)

    @property
    def checkpoint(self) -> bytes:
        """The checkpoint, signed with the log's own key."""
        return self.signed()

    def signed(self, *, origin: str | None = None, key: SigningKey | None = None) -> bytes:
        """The checkpoint under another name or another key."""
        frontier = Frontier().extend(self.hashes)
        return sign_checkpoint(origin or self.origin, frontier.size, frontier.root(), key or self.key)

    def tile(self, name: TileName) -> bytes:
        """A tile or entry bundle of it, as much of it as there is."""
        start = name.index * TILE_WIDTH
        if name.level == ENTRIES:
            return encode_entries(self.leaves[start : start + name.width])
        span = TILE_WIDTH**name.level
        hashes = self.hashes
        parts = [hashes[(start + at) * span : (start + at + 1) * span] for at in range(name.width)]
        return b"".join(Frontier().extend(part).root() for part in parts if part)

    def proof(self, index: int) -> bytes:
        """That a leaf is in it."""
        return format_proof(index, append(Frontier(), self.hashes).proofs[index], self.checkpoint, self.leaves[index])

    def consistency(self, old: int, new: int) -> tuple[bytes, ...]:
        """That it only grew."""

        def read(level: int, position: int) -> bytes:
            start = position << level
            return Frontier().extend(self.hashes[start : start + (1 << level)]).root()

        return consistency_proof(old, new, read)


@cache
def _hashes(leaves: tuple[bytes, ...]) -> list[bytes]:
    return [leaf_hash(leaf) for leaf in leaves]


class Liar:
    """The server. `lie` None: it tells the truth. `asked` is every call, `told` how many of them got a lie."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.signers = load_signers(world.settings.keys_dir)
        self.lie: Lie | None = None
        self.asked: list[Asked] = []
        self.told = 0
        self.broken: list[Exception] = []
        """What went wrong within the liar itself: a call that it left without an answer has met no lie."""
        self.kept: dict[str, Any] = {}
        """Material for replays, by name: what the exchange truly said at another time or of something else."""

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def __enter__(self) -> Self:
        self._http = Listening(("127.0.0.1", 0), self._handler())
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    def begin(self, lie: Lie | None) -> None:
        """From now on this lie, and a fresh count."""
        broken, self.broken = self.broken, []
        assert not broken, broken
        self.lie, self.told, self.asked = lie, 0, []

    # What it can forge with.

    @property
    def host(self) -> str:
        """The exchange's host, as origins begin."""
        return self.world.settings.issuer_host

    def tree(self, log: str, leaves: Sequence[bytes] | None = None) -> Tree:
        """A log with these leaves; without, as it truly is now."""
        told = self.leaves(log) if leaves is None else leaves
        return Tree(f"{self.host}/v1/log/{log}", tuple(told), self.signers.log)

    def leaves(self, log: str) -> list[bytes]:
        """The leaves of a log, read from the exchange's database."""
        path = self.world.settings.data_dir / "exchange.sqlite"
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            rows = connection.execute("select leaf from log_entry where log = ? order by idx", (log,)).fetchall()
        return [bytes(row[0]) for row in rows]

    def truth(self, target: str, headers: Mapping[str, str]) -> Answer:
        """What the exchange itself answers to a GET with these credentials-free headers."""
        return self._pass_on("GET", target, dict(headers), b"")

    # Serving.

    def answer(self, asked: Asked, headers: Mapping[str, str]) -> tuple[Answer, bool]:
        """The answer to a call, and whether it shall be dribbled."""
        self.asked.append(asked)
        true = self._pass_on(asked.method, asked.target, dict(headers), asked.body)
        lie = self.lie
        if lie is None or asked.kind not in lie.about:
            return true, False
        told = lie.tell(self, asked, true)
        if told is None:
            return true, False
        self.told += 1
        return told, lie.slow

    def _pass_on(self, method: str, target: str, headers: dict[str, str], body: bytes) -> Answer:
        with closing(http.client.HTTPConnection("127.0.0.1", self.world.server.port, timeout=30)) as line:
            line.request(method, target, body=body or None, headers=headers)
            response = line.getresponse()
            found = {name.lower(): text for name, text in response.getheaders()}
            return Answer(response.status, found, response.read())

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        liar = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            wbufsize = -1

            def _handle(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                hops = ("host", "connection", "content-length")
                given = {name: text for name, text in self.headers.items() if name.lower() not in hops}
                try:
                    answer, slow = liar.answer(Asked(self.command, self.path, body), given)
                except Exception as error:
                    liar.broken.append(error)
                    raise RuntimeError("the liar itself has failed") from error
                self.send_response_only(answer.status)
                for name, text in answer.headers.items():
                    if name not in ("content-length", "transfer-encoding", "connection"):
                        self.send_header(name, text)
                self.send_header("content-length", str(len(answer.body)))
                self.end_headers()
                self._dribble(answer.body) if slow else self.wfile.write(answer.body)
                self.wfile.flush()

            def _dribble(self, body: bytes) -> None:
                for at in range(len(body)):
                    self.wfile.write(body[at : at + 1])
                    self.wfile.flush()
                    time.sleep(0.2)

            do_GET = do_PUT = do_POST = do_HEAD = _handle  # noqa: N815 - the library's names

            def log_message(self, *_: object) -> None:
                pass

        return Handler
