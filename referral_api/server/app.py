"""The composition root: settings, clock, keys, database and logs become one running exchange.

`Runtime` is an exchange with its writer and without HTTP (what `admin init` needs); `create_app` puts the edge before
it. Clock, signers and folders are arguments, so that the program under test is the program that runs.

Must never: hold a rule of the protocol.
"""

from __future__ import annotations

import asyncio
import gc
import secrets
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from referral_api import __version__
from referral_api.auditlog.policy import genesis_policy
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.formats.statements import KeyMap
from referral_api.formats.strict_json import canonical
from referral_api.server import beside, observe
from referral_api.server.api import upkeep
from referral_api.server.api.cold import cold_app
from referral_api.server.api.configuration import configuration
from referral_api.server.api.edge import Edge
from referral_api.server.api.evidence import ANY_LOG
from referral_api.server.api.serving import HttpServer
from referral_api.server.api.site import Lane, Site
from referral_api.server.service import feed, founding, opening
from referral_api.server.service.acts import Door
from referral_api.server.service.batch import Batch
from referral_api.server.service.clock_watch import ClockWatch, steady
from referral_api.server.service.exchange import Directory, Exchange, term_of
from referral_api.server.service.keyring import Keyring
from referral_api.server.service.limits import Limits, MemoryCounts
from referral_api.server.service.recording import Configured, Recording
from referral_api.server.service.replay import MemoryReplayStore, ReplayStore
from referral_api.server.service.rulebook import load_rules
from referral_api.server.service.second_host import SigningHere, SigningHost
from referral_api.server.service.timers import Timers
from referral_api.server.service.tokens import TokenService
from referral_api.server.service.waiters import Waiters
from referral_api.server.service.waking import Waking
from referral_api.server.service.witnesses import Witnessing
from referral_api.server.service.writer import Gathering, Writer
from referral_api.server.settings import Settings
from referral_api.server.storage import lease
from referral_api.server.storage.database import Database
from referral_api.server.storage.gate import NOTHING, gate_beside, pass_gate
from referral_api.server.storage.keyfiles import create_signers, load_signers
from referral_api.server.storage.logbook import KEYS, position
from referral_api.server.storage.operator_token import make_operator_token
from referral_api.server.storage.quotas import SharedCounts
from referral_api.server.storage.replay import SharedReplayStore
from referral_api.server.storage.signer import LogKeys, LogSigners
from referral_api.server.storage.signer_state import read_host
from referral_api.server.storage.spool import Spool

if TYPE_CHECKING:
    from referral_api.server.storage.notices import Notices

SWITCH_INTERVAL_S = 0.0005
"""How long one Python thread runs before another may: short, because three threads share each call (design §16)."""


@dataclass(slots=True)
class Runtime:
    """An exchange with its writer, not yet started."""

    settings: Settings
    exchange: Exchange
    log_signers: LogSigners
    writer: Writer
    clock: Callable[[], float]
    polled: dict[str, int]
    notices: Notices | None
    """The line to the exchange's other processes (PostgreSQL)."""
    waking: Waking
    witnessing: Witnessing | None
    """The line to the witnesses; None where the genesis act declares none."""
    spool: Spool
    """Where reads are recorded while writes are closed."""
    elsewhere: SigningHost | None
    """The host that signs the logs, where that is another."""
    timers: Timers
    watch: ClockWatch

    def close(self) -> None:
        """Stop clocks and writer, and give files and connections back."""
        self.timers.close()
        if self.notices is not None:
            self.notices.stop()
        self.waking.stop()
        if self.witnessing is not None:
            self.witnessing.stop()
        self.writer.stop()
        self.spool.close()
        self.log_signers.close()
        self.exchange.database.close()


def open_runtime(
    settings: Settings,
    *,
    clock: Callable[[], float] = time.time,
    runs_on: Callable[[], float] = steady,
    on_step: Callable[[str], None] = lambda _: None,
    raw_genesis: bytes | None = None,
    recovering: bool = False,
) -> Runtime:
    """Open a founded exchange and pass its start-up gate. `raw_genesis` is `found`'s, whose log is still empty.

    What the gate finds closes the writer (R-97); `recovering` leaves it out, for commands that mend what it finds.
    `clock` is the time, `runs_on` a clock that nobody sets. Raises what database and keys raise, and WRITES_CLOSED:
    `signer-fenced` (another host runs this, and it is not said to have several), `settings-differ-from-genesis`.
    """
    database = Database.open(settings.database)
    try:
        directory = _directory(settings, database, raw_genesis)
        keyring = Keyring(lambda: directory.current, partial(load_signers, settings.keys_dir), clock)
        keyring.check()
        log_signers = open_log_signers(settings, keyring)
    except BaseException:
        database.close()
        raise
    try:
        asks = not recovering and raw_genesis is None
        promises = beside.ask_witnesses(settings, log_signers, clock) if asks else NOTHING
        away = settings.several_hosts and not recovering and lease.is_elsewhere(database, log_signers)
        if away:
            checkpoints, closed = gate_beside(database, log_signers.trust, promises)
        else:
            checkpoints, closed = ({}, None) if recovering else pass_gate(database, log_signers, promises)
        doubtful = recovering or closed is not None
        if doubtful:
            with database.read() as conn:
                Directory.load(conn, verify=True)
        exchange = _exchange(settings, database, directory, keyring, log_signers)
        exchange.checkpoints.update(checkpoints)
        witnesses = beside.witnesses_of(settings, exchange.policy)
        spool = Spool(settings.data_dir, secrets.token_bytes)
        if closed is not None:
            spool.begin(str(closed.facts["reason"]), int(clock()))
    except BaseException:
        # Whoever mends what was wrong must be able to open the files again, in this process too.
        log_signers.close()
        database.close()
        raise
    notices = beside.notices(settings, exchange)
    elsewhere = None
    if away and notices is not None:
        # A state that lies here is none to speak by.
        exchange = replace(exchange, signed=lambda _log: None)
        elsewhere = SigningHost(database, log_signers.trust, exchange.checkpoints, notices.ask)
    polled: dict[str, int] = {}
    waking = Waking(exchange, clock=time.monotonic, polled=polled)
    watch = ClockWatch(exchange, clock, runs_on, settings.data_dir)
    writer = Writer(
        database,
        log_signers,
        clock=watch,
        term_of=term_of,
        begin=lambda batch: opening.begin(exchange, elsewhere or log_signers, watch, polled, batch),
        announce=lambda batch: _announce(notices, batch),
        committed=lambda batch: _committed(exchange, watch, waking, batch),
        checkpoints=exchange.checkpoints,
        publish=notices.tell_signed if settings.several_hosts and notices else None,
        elsewhere=elsewhere,
        closed=closed,
        on_step=on_step,
    )
    witnessing = None if witnesses is None else beside.witnessing(settings, exchange, writer, witnesses)
    leader = beside.leader(settings, exchange)
    timers = Timers(exchange, writer, leader, watch.now, polled, time.monotonic, watch.set_back_s)
    parts = (settings, exchange, log_signers, writer, clock, polled, notices, waking, witnessing, spool, elsewhere)
    return Runtime(*parts, timers, watch)


def open_log_signers(settings: Settings, keys: LogKeys) -> LogSigners:
    """The log signers of this host."""
    prefix = f"{settings.issuer_host}/v1/log"
    return LogSigners(settings.signer_dir, prefix, keys, token_bytes=secrets.token_bytes, host=read_host())


def _directory(settings: Settings, database: Database, raw_genesis: bytes | None) -> Directory:
    """The directory of these settings. Raises WRITES_CLOSED where its genesis differs."""
    if raw_genesis is not None:
        directory = Directory(KeyMap.start(raw_genesis))
    else:
        with database.read() as conn:
            directory = Directory.load(conn)
    keymap = directory.current
    if keymap.issuer != settings.issuer or keymap.environment != settings.environment:
        raise ReferralError(ErrorCode.WRITES_CLOSED, reason="settings-differ-from-genesis")
    return directory


def _exchange(
    settings: Settings, database: Database, directory: Directory, keyring: Keyring, log_signers: LogSigners
) -> Exchange:
    keymap = directory.current
    with database.read() as conn:
        ruling = load_rules(conn)
    return Exchange(
        issuer=settings.issuer,
        environment=settings.environment,
        host=settings.issuer_host,
        party=keymap.exchange_credential.partition(".")[0],  # type: ignore[arg-type]  # a party id by construction
        credential=keymap.exchange_credential,
        database=database,
        directory=directory,
        keyring=keyring,
        token_bytes=secrets.token_bytes,
        signed=log_signers.newest,
        policy=genesis_policy(keymap.genesis),
        ruling=ruling,
    )


def found(settings: Settings, *, registrars_required: int, clock: Callable[[], float] = time.time) -> Runtime:
    """Make a new exchange: keys, database, genesis. Returns its runtime, started.

    Raises UNAVAILABLE (`keys-exist`, `database-exists`): nothing that is there is touched.
    """
    witnesses = beside.chosen_witnesses(settings)
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    settings.signer_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    signers = create_signers(settings.keys_dir)
    Database.create(settings.database).close()
    raw_genesis = founding.genesis(
        issuer=settings.issuer,
        host=settings.issuer_host,
        environment=settings.environment,
        registrars_required=registrars_required,
        witnesses=witnesses,
        keys={use: keys[0] for use, keys in signers.held.items()},
        token_bytes=secrets.token_bytes,
        now=int(clock()),
    )
    runtime = open_runtime(settings, clock=clock, raw_genesis=raw_genesis)
    runtime.writer.start()
    runtime.writer.run(founding.Founding(runtime.exchange, raw_genesis))
    return runtime


def _announce(notices: Notices | None, batch: Batch) -> None:
    """Last in the transaction: what the other processes learn with its commit."""
    if notices is not None:
        notices.send(batch.tx, batch.wake, keys_grew=bool(batch.leaves.get(KEYS)))


def _committed(exchange: Exchange, watch: ClockWatch, waking: Waking, batch: Batch) -> None:
    """After the commit: the directory that this batch made is everybody's from now on, and who got a line is woken."""
    watch.settled()
    waking.told(batch.wake, batch.urgent, batch.now)
    if batch.keymap is not None:
        exchange.directory.advance(batch.keymap)
    if batch.ruled is not None:
        exchange.ruling.change(*batch.ruled)
    exchange.ruling.end = max(exchange.ruling.end, position(batch.term, batch.next_index(batch.term.log)))


def create_app(runtime: Runtime) -> Edge:
    """The ASGI application of an exchange; its lifespan starts and stops lane, writer and wheel. Raises UNAVAILABLE as
    `Waking.take`.
    """
    runtime.waking.take(runtime.settings.notices)
    site, settings, exchange = _site(runtime), runtime.settings, runtime.exchange

    @asynccontextmanager
    async def lifespan(_app: object) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        site.lane.start(loop)
        site.desk.start(loop)
        runtime.writer.start(site.deliver(loop))
        if runtime.writer.closed is None:
            await asyncio.to_thread(opening.log_spools, runtime.writer, settings.data_dir)
        is_open = await _begin_open(runtime, site, loop)
        beside_others, signers = runtime.notices is not None, runtime.log_signers
        reopen = partial(opening.reopen, runtime.writer, runtime.watch, runtime.spool, settings.data_dir)
        tasks = [
            *upkeep.begin(site, loop, settings.keys_dir, signers, beside_others=beside_others),
            loop.create_task(upkeep.keep_open(reopen, partial(_begin_open, runtime, site, loop), is_open=is_open)),
        ]
        runtime.waking.start(runtime.writer, upkeep.alarms(site))
        if runtime.notices is not None:
            runtime.notices.start(lambda notice: upkeep.heard(site, loop, notice))
        observe.log("serving", issuer=exchange.issuer, environment=exchange.environment, version=__version__)
        try:
            yield
        finally:
            await upkeep.end(site, tasks)
            await asyncio.to_thread(site.desk.stop)
            await asyncio.to_thread(site.lane.stop)
            await asyncio.to_thread(site.recording.finish)
            await asyncio.to_thread(runtime.close)

    return Edge(site, cold_app(site, version=__version__, lifespan=lifespan))


async def _begin_open(runtime: Runtime, site: Site, loop: asyncio.AbstractEventLoop) -> bool:
    """What an exchange does when it takes writes for the first time, at its start or when its clock is right; whether
    it takes them.
    """
    if runtime.writer.closed is None:
        with suppress(ReferralError):  # It serves ciphertext even so, and says so at /readyz.
            configured = canonical(site.configuration)
            await site.run(Configured(site.exchange, __version__, configured, runtime.settings.shared))
    # A closed exchange cannot keep what witnesses would answer, and has nothing new to show.
    if runtime.writer.closed is not None:
        return False
    if runtime.witnessing is not None:
        runtime.witnessing.start(lambda: upkeep.hop_to(loop, partial(site.quorums.wake, [ANY_LOG])))
    return True


def _site(runtime: Runtime) -> Site:
    """Everything that handlers may use."""
    exchange, settings, notices = runtime.exchange, runtime.settings, runtime.notices
    on_sqlite = exchange.database.dialect == "sqlite"
    token_key = exchange.keyring.first_token_key()
    gathering = Gathering(runtime.writer)
    return Site(
        exchange=exchange,
        writer=runtime.writer,
        gathering=gathering,
        door=Door(exchange, gathering),
        tokens=TokenService(
            issuer=exchange.issuer,
            token_key=token_key,
            keys=exchange.keyring,
            directory=lambda: exchange.keymap,
            replay=_replay_store(runtime),
            limits=Limits(MemoryCounts() if on_sqlite else SharedCounts(exchange.database), settings.calls_a_minute),
        ),
        cursors=feed.Cursors(token_key.sign(b"referral-1 secret of the cursors")),
        waiters=Waiters(shared=not on_sqlite),
        quorums=Waiters(shared=not on_sqlite),
        lane=Lane(settings.lanes or (1 if on_sqlite else 4), after_take=gathering.release),
        desk=Lane(1),
        clock=runtime.clock,
        version=__version__,
        configuration=configuration(exchange, settings.contact, settings.calls_a_minute),
        recording=Recording(exchange, runtime.writer),
        witnessing=runtime.witnessing,
        waking=runtime.waking,
        polled=runtime.polled,
        operator_token=make_operator_token(settings.data_dir, exchange.token_bytes),
        timers=runtime.timers,
        spool=runtime.spool,
        elsewhere=runtime.elsewhere,
        signing_here=None
        if notices is None or runtime.elsewhere is not None
        else SigningHere(runtime.writer, runtime.log_signers.newest, notices.tell_signed),
    )


def _replay_store(runtime: Runtime) -> ReplayStore:
    """Where it is remembered which proofs were used (R-44)."""
    if runtime.exchange.database.dialect == "sqlite":
        return MemoryReplayStore.open(runtime.settings.data_dir / "replay.journal", int(runtime.clock()))
    return SharedReplayStore(runtime.exchange.database)


def http_server(app: Edge, settings: Settings) -> HttpServer:
    """The HTTP server before the application."""
    return HttpServer.before(app, settings.host, settings.port)


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
