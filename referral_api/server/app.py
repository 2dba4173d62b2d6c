"""The composition root: settings, clock, keys, database and logs become one running exchange.

`Runtime` is an exchange with its writer and without HTTP (what `admin init` needs); `create_app` puts the edge before
it. Clock, signers and folders are arguments, so that the program under test is the program that runs.

Must never: hold a rule of the protocol.
"""

from __future__ import annotations

import asyncio
import gc
import secrets
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import uvicorn

from referral_api import __version__
from referral_api.domain import clocks
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import KeyUse
from referral_api.formats.statements import KeyMap
from referral_api.formats.strict_json import b64u, canonical
from referral_api.server import observe
from referral_api.server.api import problems
from referral_api.server.api.call import MAX_BODY_BYTES, MAX_HEADER_BYTES, MAX_PUT_BYTES
from referral_api.server.api.cold import cold_app
from referral_api.server.api.edge import Edge
from referral_api.server.api.listening import BoundedHttp
from referral_api.server.api.site import Lane, Site
from referral_api.server.service import feed, founding
from referral_api.server.service.acts import Door
from referral_api.server.service.batch import Batch, Done, audit_log
from referral_api.server.service.exchange import Directory, Exchange, year_of
from referral_api.server.service.new_year import begin_year
from referral_api.server.service.recording import ClockWatch, Configured, Recording
from referral_api.server.service.replay import MemoryReplayStore, ReplayStore
from referral_api.server.service.tokens import TokenService
from referral_api.server.service.waiters import Waiters, turn
from referral_api.server.service.writer import Gathering, Writer
from referral_api.server.settings import Settings
from referral_api.server.storage import feeds
from referral_api.server.storage.database import Database
from referral_api.server.storage.gate import gate
from referral_api.server.storage.keyfiles import Signers, create_signers, load_signers
from referral_api.server.storage.logbook import KEYS
from referral_api.server.storage.replay import SharedReplayStore
from referral_api.server.storage.signer import LogSigners

if TYPE_CHECKING:
    from referral_api.server.storage.notices import Notice, Notices

POLLS_SAVED_EVERY_S = 30
SWITCH_INTERVAL_S = 0.0005
"""How long one Python thread runs before another may: short, because three threads share each call (design §16)."""


@dataclass(slots=True)
class Runtime:
    """An exchange with its writer, not yet started."""

    settings: Settings
    exchange: Exchange
    signers: Signers
    log_signers: LogSigners
    writer: Writer
    clock: Callable[[], float]
    polled: dict[str, int]
    notices: Notices | None
    """The line to the exchange's other processes (PostgreSQL)."""

    def close(self) -> None:
        """Stop the writer and give files and connections back."""
        if self.notices is not None:
            self.notices.stop()
        self.writer.stop()
        self.log_signers.close()
        self.exchange.database.close()


def open_runtime(
    settings: Settings,
    *,
    clock: Callable[[], float] = time.time,
    on_step: Callable[[str], None] = lambda _: None,
    raw_genesis: bytes | None = None,
) -> Runtime:
    """Open a founded exchange and pass its start-up gate. `raw_genesis` is `found`'s, whose log is still empty.

    Raises what database, keys and gate raise: WRITES_CLOSED with the runbook's name among others.
    """
    signers = load_signers(settings.keys_dir)
    database = Database.open(settings.database)
    log_signers = LogSigners(settings.signer_dir, f"{settings.issuer_host}/v1/log", signers.log)
    checkpoints = gate(database, log_signers)
    if raw_genesis is not None:
        directory = Directory(KeyMap.start(raw_genesis))
    else:
        with database.read() as conn:
            directory = Directory.load(conn)
    keymap = directory.current
    if keymap.issuer != settings.issuer or keymap.environment != settings.environment:
        raise ReferralError(ErrorCode.WRITES_CLOSED, reason="settings-differ-from-genesis")
    exchange = Exchange(
        issuer=settings.issuer,
        environment=settings.environment,
        host=settings.issuer_host,
        party=keymap.exchange_credential.partition(".")[0],  # type: ignore[arg-type]  # a party id by construction
        credential=keymap.exchange_credential,
        database=database,
        directory=directory,
        receipt_key=signers.receipt,
        act_key=signers.act,
        token_bytes=secrets.token_bytes,
        signed=log_signers.newest,
        checkpoints=checkpoints,
    )
    notices = _notices(settings, exchange)
    polled: dict[str, int] = {}
    watch = ClockWatch(exchange, clock, time.monotonic)
    writer = Writer(
        database,
        log_signers,
        clock=clock,
        year_of=year_of,
        begin=lambda batch: _begin(exchange, log_signers, watch, polled, batch),
        announce=lambda batch: _announce(notices, batch),
        committed=lambda batch: _committed(exchange, watch, batch),
        checkpoints=checkpoints,
        on_step=on_step,
    )
    return Runtime(settings, exchange, signers, log_signers, writer, clock, polled, notices)


def _notices(settings: Settings, exchange: Exchange) -> Notices | None:
    """The line to the exchange's other processes; None where there can be none."""
    if exchange.database.dialect == "sqlite":
        return None
    from referral_api.server.storage.notices import Notices  # noqa: PLC0415  # psycopg is an extra

    return Notices(settings.database, exchange.token_bytes(8).hex())


def found(settings: Settings, *, registrars_required: int, clock: Callable[[], float] = time.time) -> Runtime:
    """Make a new exchange: keys, database, genesis. Returns its runtime, started.

    Raises UNAVAILABLE (`keys-exist`, `database-exists`): nothing that is there is touched.
    """
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    settings.signer_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    signers = create_signers(settings.keys_dir)
    Database.create(settings.database).close()
    keys = {
        KeyUse.TOKEN: signers.token,
        KeyUse.RECEIPT: signers.receipt,
        KeyUse.ACT: signers.act,
        KeyUse.LOG: signers.log,
    }
    raw_genesis = founding.genesis(
        issuer=settings.issuer,
        host=settings.issuer_host,
        environment=settings.environment,
        registrars_required=registrars_required,
        keys=keys,
        token_bytes=secrets.token_bytes,
        now=int(clock()),
    )
    runtime = open_runtime(settings, clock=clock, raw_genesis=raw_genesis)
    runtime.writer.start()
    runtime.writer.run(founding.Founding(runtime.exchange, raw_genesis))
    return runtime


def _begin(
    exchange: Exchange, log_signers: LogSigners, watch: ClockWatch, polled: dict[str, int], batch: Batch
) -> None:
    """What every batch starts with: the newest directory, this year's log, the clock, who polled."""
    if batch.heads[KEYS].size:
        exchange.directory.refresh(batch.tx, size=batch.heads[KEYS].size)
    else:
        log_signers.begin(KEYS)
    log = audit_log(batch.year)
    if batch.heads[log].size == 0:
        log_signers.begin(log)
        begin_year(exchange, batch)
    watch.look(batch)
    if polled:
        seen = dict(polled)
        polled.clear()
        feeds.touch_poll(batch.tx, seen.items())


def _announce(notices: Notices | None, batch: Batch) -> None:
    """Last in the transaction: what the other processes learn with its commit."""
    if notices is not None:
        notices.send(batch.tx, batch.wake, keys_grew=bool(batch.leaves.get(KEYS)))


def _committed(exchange: Exchange, watch: ClockWatch, batch: Batch) -> None:
    """After the commit: the directory that this batch made is everybody's from now on."""
    watch.settled()
    if batch.keymap is not None:
        exchange.directory.advance(batch.keymap)


def create_app(runtime: Runtime) -> Edge:
    """The ASGI application of an exchange; its lifespan starts and stops lane, writer and wheel."""
    exchange, settings = runtime.exchange, runtime.settings
    on_sqlite = exchange.database.dialect == "sqlite"
    replay: ReplayStore = (
        MemoryReplayStore.open(settings.data_dir / "replay.journal", int(runtime.clock()))
        if on_sqlite
        else SharedReplayStore(exchange.database)
    )
    secret = runtime.signers.token.sign(b"referral-1 secret of the cursors")
    gathering = Gathering(runtime.writer)
    site = Site(
        exchange=exchange,
        writer=runtime.writer,
        gathering=gathering,
        door=Door(exchange, gathering),
        tokens=TokenService(
            issuer=exchange.issuer,
            token_key=runtime.signers.token,
            directory=lambda: exchange.keymap,
            replay=replay,
        ),
        cursors=feed.Cursors(secret),
        waiters=Waiters(shared=not on_sqlite),
        lane=Lane(settings.lanes or (1 if on_sqlite else 4), after_take=gathering.release),
        desk=Lane(1),
        clock=runtime.clock,
        version=__version__,
        configuration=configuration(exchange, settings.contact),
        recording=Recording(exchange, runtime.writer),
        polled=runtime.polled,
    )

    @asynccontextmanager
    async def lifespan(_app: object) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        site.lane.start(loop)
        site.desk.start(loop)
        runtime.writer.start(site.deliver(loop))
        # Ciphertext is served by an exchange that cannot write; it says so at /readyz.
        with suppress(ReferralError):
            await site.run(Configured(exchange, __version__, canonical(site.configuration), settings.shared))
        tasks = [loop.create_task(turn(site.waiters, partial(_keep, site)))]
        if runtime.notices is not None:
            tasks.append(loop.create_task(_keep_directory(site)))
            runtime.notices.start(lambda notice: _heard(site, loop, notice))
        observe.log("serving", issuer=exchange.issuer, environment=exchange.environment, version=__version__)
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            site.waiters.close()
            await asyncio.to_thread(site.desk.stop)
            await asyncio.to_thread(site.lane.stop)
            await asyncio.to_thread(site.recording.finish)
            await asyncio.to_thread(runtime.close)

    return Edge(site, cold_app(site, version=__version__, lifespan=lifespan))


def _keep(site: Site, second: int) -> None:
    """Now and then: let a batch take along who polled, and what was counted."""
    if second % POLLS_SAVED_EVERY_S == 0:
        site.recording.turn(int(site.clock()))
    if site.polled and second % POLLS_SAVED_EVERY_S == 0:
        # A full queue is being emptied by the very batches that would take this along.
        with suppress(ReferralError):
            site.writer.submit(lambda _batch: Done(None), lambda _outcome: None)


async def _keep_directory(site: Site) -> None:
    """Once a second, beneath the notices: look whether the keys log has grown."""
    while True:
        await asyncio.sleep(1)
        # While the database does not answer, calls are refused on their own account.
        with suppress(ReferralError):
            await site.work(lambda: _refresh(site.exchange))


def _heard(site: Site, loop: asyncio.AbstractEventLoop, notice: Notice) -> None:
    """On the listening thread: take in others' directory acts, then wake those whose inbox grew."""
    if notice.keys_grew:
        # What fails here is tried again within a second.
        with suppress(ReferralError):
            _refresh(site.exchange)
    # A loop that is closed belongs to a process that ends.
    with suppress(RuntimeError):
        if notice.parties is None:
            loop.call_soon_threadsafe(site.waiters.wake_all)
        else:
            loop.call_soon_threadsafe(site.waiters.wake, notice.parties)


def _refresh(exchange: Exchange) -> None:
    with exchange.database.read() as conn:
        exchange.directory.refresh(conn)


def configuration(exchange: Exchange, contact: str) -> dict[str, Any]:
    """What `/.well-known/referral-configuration` says, but for the time."""
    terms = {
        urgency.value: {
            "ack_s": int(terms.ack.total_seconds()),
            "decision_s": int(terms.decision.total_seconds()),
            "first_status_s": int(terms.first_status.total_seconds()),
            "next_status_s": int(terms.next_status.total_seconds()),
            "ladder": [{"after_s": int(after.total_seconds()), "rung": rung.value} for after, rung in terms.ladder],
        }
        for urgency, terms in clocks.TERMS.items()
    }
    return {
        "issuer": exchange.issuer,
        "environment": exchange.environment,
        "contact": contact or None,
        "root": b64u(exchange.keymap.root),
        "endpoints": {"token": "/oauth/token", "api": "/v1"},
        "limits": {
            "headers_bytes": MAX_HEADER_BYTES,
            "put_bytes": MAX_PUT_BYTES,
            "body_bytes": MAX_BODY_BYTES,
            "list": feed.MAX_LIMIT,
            "wait_s": feed.MAX_WAIT_S,
        },
        "clocks": terms,
        "log_origins": {"audit": exchange.origin("audit"), "keys": exchange.origin("keys")},
        "witnesses": "none" if exchange.keymap.witness_policy is None else "policy",
        "problems": sorted(code.value for code in problems.TABLE),
        "version": __version__,
    }


class _Server(uvicorn.Server):
    """uvicorn ends the application only when no call is under way: polls are let go before it begins to wait."""

    def __init__(self, config: uvicorn.Config, edge: Edge) -> None:
        super().__init__(config)
        self._edge = edge

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._edge.let_go()
        await super().shutdown(sockets)


def http_server(app: Edge, settings: Settings) -> uvicorn.Server:
    """The HTTP server before the application: no access log, no header that names it, no trust in a proxy's word."""
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
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
    return _Server(config, app)


def serve(settings: Settings) -> None:
    """Run the exchange until SIGTERM or SIGINT; long polls are let go first."""
    runtime = open_runtime(settings)
    app = create_app(runtime)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    # What lives from here on is made by the hundred a call and has no cycles: they are looked for less often.
    gc.collect()
    gc.freeze()
    gc.set_threshold(70_000, 20, 50)
    http_server(app, settings).run()
