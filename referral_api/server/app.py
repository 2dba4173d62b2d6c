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
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from referral_api import __version__
from referral_api.auditlog.note import VerifierKey
from referral_api.auditlog.policy import Policy, genesis_policy, parse_policy, short_form
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import KeyUse
from referral_api.formats.statements import KeyMap
from referral_api.server import observe
from referral_api.server.api.cold import cold_app
from referral_api.server.api.configuration import configuration
from referral_api.server.api.edge import Edge
from referral_api.server.api.evidence import ANY_LOG
from referral_api.server.api.serving import HttpServer
from referral_api.server.api.site import Lane, Site
from referral_api.server.service import feed, founding
from referral_api.server.service.acts import Door
from referral_api.server.service.batch import Batch, Done, audit_log
from referral_api.server.service.exchange import Directory, Exchange, year_of
from referral_api.server.service.new_year import begin_year
from referral_api.server.service.replay import MemoryReplayStore, ReplayStore
from referral_api.server.service.tokens import TokenService
from referral_api.server.service.waiters import Waiters, turn
from referral_api.server.service.witnesses import Witnessing
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
    witnessing: Witnessing | None
    """The line to the witnesses; None where the genesis act declares none."""

    def close(self) -> None:
        """Stop the writer and give files and connections back."""
        if self.notices is not None:
            self.notices.stop()
        if self.witnessing is not None:
            self.witnessing.stop()
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
    try:
        exchange = _exchange(settings, signers, database, log_signers, raw_genesis)
        witnesses = _witnesses(settings, exchange.policy)
    except BaseException:
        # Whoever mends what was wrong must be able to open the files again, in this process too.
        log_signers.close()
        database.close()
        raise
    notices = _notices(settings, exchange)
    polled: dict[str, int] = {}
    writer = Writer(
        database,
        log_signers,
        clock=clock,
        year_of=year_of,
        begin=lambda batch: _begin(exchange, log_signers, polled, batch),
        announce=lambda batch: _announce(notices, batch),
        committed=lambda batch: _committed(exchange, batch),
        checkpoints=exchange.checkpoints,
        on_step=on_step,
    )
    witnessing = None if witnesses is None else _witnessing(settings, exchange, writer, witnesses)
    return Runtime(settings, exchange, signers, log_signers, writer, clock, polled, notices, witnessing)


def _exchange(
    settings: Settings, signers: Signers, database: Database, log_signers: LogSigners, raw_genesis: bytes | None
) -> Exchange:
    """The exchange of these settings, its gate passed. Raises WRITES_CLOSED where its genesis says something else."""
    checkpoints = gate(database, log_signers)
    if raw_genesis is not None:
        directory = Directory(KeyMap.start(raw_genesis))
    else:
        with database.read() as conn:
            directory = Directory.load(conn)
    keymap = directory.current
    if keymap.issuer != settings.issuer or keymap.environment != settings.environment:
        raise ReferralError(ErrorCode.WRITES_CLOSED, reason="settings-differ-from-genesis")
    return Exchange(
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
        policy=genesis_policy(keymap.genesis),
        checkpoints=checkpoints,
    )


def _witnesses(settings: Settings, stated: Policy) -> Policy | None:
    """The settings' policy file, which says where the witnesses are; None where the genesis act declares that there are
    none. Raises WRITES_CLOSED where the two do not state the same.
    """
    given = None if settings.witness_policy is None else parse_policy(settings.read_witness_policy())
    if given is None and stated.rule() is None:
        return None
    if given is None or stated.rule() is None or not _same(short_form(given), short_form(stated)):
        raise ReferralError(ErrorCode.WRITES_CLOSED, reason="witness-policy-differs-from-genesis")
    return given


def _chosen_witnesses(settings: Settings) -> Policy | None:
    """The witnesses that a genesis act shall name. Raises MALFORMED: what it cannot state, or who cannot be asked."""
    if settings.witness_policy is None:
        return None
    policy = parse_policy(settings.read_witness_policy())
    short_form(policy)
    if any(witness.url is None for witness in policy.witnesses):
        raise ReferralError(ErrorCode.MALFORMED, reason="witness-url")
    return policy


def _same(given: tuple[int, Sequence[VerifierKey]], stated: tuple[int, Sequence[VerifierKey]]) -> bool:
    return given[0] == stated[0] and set(given[1]) == set(stated[1])


def _witnessing(settings: Settings, exchange: Exchange, writer: Writer, witnesses: Policy) -> Witnessing:
    """The line to the witnesses. What one of them holds against us is kept beside the signer's state."""
    folder = settings.signer_dir / "witness-evidence"

    def keep_evidence(name: str, said: bytes) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        (folder / name).write_bytes(said)

    return Witnessing(exchange, writer, witnesses, clock=time.monotonic, keep_evidence=keep_evidence)


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
    witnesses = _chosen_witnesses(settings)
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
        witnesses=witnesses,
        keys=keys,
        token_bytes=secrets.token_bytes,
        now=int(clock()),
    )
    runtime = open_runtime(settings, clock=clock, raw_genesis=raw_genesis)
    runtime.writer.start()
    runtime.writer.run(founding.Founding(runtime.exchange, raw_genesis))
    return runtime


def _begin(exchange: Exchange, log_signers: LogSigners, polled: dict[str, int], batch: Batch) -> None:
    """What every batch starts with: the newest directory, this year's log, who polled."""
    if batch.heads[KEYS].size:
        exchange.directory.refresh(batch.tx, size=batch.heads[KEYS].size)
    else:
        log_signers.begin(KEYS)
    log = audit_log(batch.year)
    if batch.heads[log].size == 0:
        log_signers.begin(log)
        begin_year(exchange, batch)
    if polled:
        seen = dict(polled)
        polled.clear()
        feeds.touch_poll(batch.tx, seen.items())


def _announce(notices: Notices | None, batch: Batch) -> None:
    """Last in the transaction: what the other processes learn with its commit."""
    if notices is not None:
        notices.send(batch.tx, batch.wake, keys_grew=bool(batch.leaves.get(KEYS)))


def _committed(exchange: Exchange, batch: Batch) -> None:
    """After the commit: the directory that this batch made is everybody's from now on."""
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
        quorums=Waiters(shared=not on_sqlite),
        lane=Lane(settings.lanes or (1 if on_sqlite else 4), after_take=gathering.release),
        desk=Lane(1),
        clock=runtime.clock,
        version=__version__,
        configuration=configuration(exchange, settings.contact),
        witnessing=runtime.witnessing,
        polled=runtime.polled,
    )

    @asynccontextmanager
    async def lifespan(_app: object) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        site.lane.start(loop)
        site.desk.start(loop)
        runtime.writer.start(site.deliver(loop))
        tasks = [
            loop.create_task(turn(site.waiters, partial(_keep_polls, site))),
            loop.create_task(turn(site.quorums, lambda _second: None)),
        ]
        if runtime.witnessing is not None:
            runtime.witnessing.start(lambda: _hop_to(loop, partial(site.quorums.wake, [ANY_LOG])))
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
            site.quorums.close()
            await asyncio.to_thread(site.desk.stop)
            await asyncio.to_thread(site.lane.stop)
            await asyncio.to_thread(runtime.close)

    return Edge(site, cold_app(site, version=__version__, lifespan=lifespan))


def _keep_polls(site: Site, second: int) -> None:
    """Now and then: let a batch take along who polled."""
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
    parties = notice.parties
    _hop_to(loop, site.waiters.wake_all if parties is None else partial(site.waiters.wake, parties))


def _hop_to(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    # A loop that is closed belongs to a process that ends.
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(call)


def _refresh(exchange: Exchange) -> None:
    with exchange.database.read() as conn:
        exchange.directory.refresh(conn)


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
