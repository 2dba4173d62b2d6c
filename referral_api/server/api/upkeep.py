"""What an exchange does while nobody calls: counts saved, its directory kept up, waiters woken by other processes.

Must never: hold a rule of the protocol, or let a failure of one turn end the next.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from referral_api.domain.errors import ReferralError
from referral_api.server import observe
from referral_api.server.api.site import Site
from referral_api.server.service.exchange import Exchange
from referral_api.server.service.limits import SHARE_S
from referral_api.server.service.rekeying import LOOKED_FOR_EVERY_S, sign_again, take_asked
from referral_api.server.service.rulebook import keep_up
from referral_api.server.service.timers import EVERY_S
from referral_api.server.service.waiters import turn
from referral_api.server.storage.signer import LogSigners

if TYPE_CHECKING:
    from referral_api.server.storage.notices import Notice

T = TypeVar("T")
POLLS_SAVED_EVERY_S = 30
SWEPT_EVERY_S = 1


def begin(
    site: Site, loop: asyncio.AbstractEventLoop, keys_dir: Path, signers: LogSigners, *, beside_others: bool
) -> Sequence[asyncio.Task[None]]:
    """Begin what goes on until `end`; with `beside_others` also what several processes over one database need."""
    work = [
        turn(site.waiters, partial(keep, site)),
        turn(site.quorums, lambda _second: None),
        keep_keys(site, keys_dir, signers),
        keep_clocks(site),
        keep_swept(site),
    ]
    if beside_others:
        work += [keep_directory(site), share_limits(site)]
    return [loop.create_task(one) for one in work]


async def end(site: Site, tasks: Sequence[asyncio.Task[None]]) -> None:
    """End it: every poll is let go, and what was refused again is said. What runs on a thread is waited for."""
    for task in tasks:
        task.cancel()
    site.waiters.close()
    site.quorums.close()
    await asyncio.gather(*tasks, return_exceptions=True)
    site.refused.flush(site.clock(), force=True)


async def _on_thread(work: Callable[..., T], *arguments: Any) -> T:
    """Run it on a thread. Whoever is cancelled meanwhile waits for its end: it has a connection to give back."""
    running = asyncio.create_task(asyncio.to_thread(work, *arguments))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.gather(running, return_exceptions=True)
        raise


def keep(site: Site, second: int) -> None:
    """Now and then: let a batch take along what was counted and who polled, and say what was refused again."""
    site.refused.flush(site.clock())
    if second % POLLS_SAVED_EVERY_S == 0:
        site.recording.turn(int(site.clock()), force=bool(site.polled))


def alarms(site: Site) -> Mapping[str, Callable[[], bool]]:
    """What the exchange's own operator is woken for (R-109), by the word that stands in the log with it."""
    return {
        "writes-closed": lambda: site.writer.closed is not None,
        "signer": lambda: not site.writer.signing,
        "clocks": lambda: site.timers.stopped,
        "witnesses": lambda: site.witnessing is not None and site.witnessing.late,
    }


async def keep_directory(site: Site) -> None:
    """Once a second, beneath the notices: look whether the keys log has grown, and whether rules were changed."""
    while True:
        await asyncio.sleep(1)
        # While the database does not answer, calls are refused on their own account.
        with suppress(ReferralError):
            await site.work(lambda: _refresh(site.exchange))


async def share_limits(site: Site) -> None:
    """Every SHARE_S seconds: exchange with the other processes who has come near a limit (R-46)."""
    while True:
        await asyncio.sleep(SHARE_S)
        # Where the counts do not answer, each process counts alone meanwhile.
        with suppress(ReferralError):
            await site.work(site.tokens.limits.share)


async def keep_keys(site: Site, keys_dir: Path, signers: LogSigners) -> None:
    """Now and then: look which keys are missing here, and whether a next one is asked for, and put that on the keys log
    (R-37); where this host signs, see that a log which does not grow is signed by the key that is in use.
    """
    settled: Sequence[str] = ()
    while True:
        await asyncio.sleep(LOOKED_FOR_EVERY_S)
        # Beside the lane: it waits for the writer, whose answers come over this loop.
        await _on_thread(site.exchange.keyring.look)
        with suppress(ReferralError, OSError):
            await _on_thread(take_asked, site.exchange, site.writer, keys_dir)
        if site.elsewhere is None:
            with suppress(ReferralError):
                settled = await _on_thread(sign_again, site.exchange, site.writer, signers, settled)


async def keep_clocks(site: Site) -> None:
    """About once a second: post what is due. While that fails, the exchange says that its clocks stand (R-106)."""
    while True:
        await asyncio.sleep(EVERY_S)
        try:
            await _on_thread(site.timers.turn)
        except ReferralError as fault:
            site.refused.note(site.clock(), code=fault.code.value, reason="clocks")
        except Exception as fault:  # noqa: BLE001 - whatever it is, the next turn must come
            observe.log("clocks_failed", fault=type(fault).__name__, where=observe.fault_place(fault))


async def keep_open(reopen: Callable[[], bool], begin_open: Callable[[], Awaitable[bool]], *, is_open: bool) -> None:
    """About once a second: open again where only the clock was wrong and is right (R-97). `reopen` says whether writes
    are open; `begin_open` is called then until it says that this is so, where the exchange was not yet (`is_open`).
    """
    while True:
        await asyncio.sleep(EVERY_S)
        try:
            if await _on_thread(reopen) and not is_open:
                is_open = await begin_open()
        except Exception as fault:  # noqa: BLE001 - whatever it is, the next look must come
            observe.log("reopening_failed", fault=type(fault).__name__)


async def keep_swept(site: Site) -> None:
    """About once a second: clear away what a purge or an erasure has left beside the tables, until it is done (R-107).

    Beside the clocks, which it must not hold up: on PostgreSQL it may take a while.
    """
    while True:
        await asyncio.sleep(SWEPT_EVERY_S)
        try:
            await _on_thread(site.exchange.database.sweep)
        except ReferralError as fault:
            site.refused.note(site.clock(), code=fault.code.value, reason="sweep")


def heard(site: Site, loop: asyncio.AbstractEventLoop, notice: Notice) -> None:
    """On the listening thread: take in others' directory acts, then wake those whose inbox grew."""
    if notice.keys_grew:
        # What fails here is tried again within a second.
        with suppress(ReferralError):
            _refresh(site.exchange)
    if notice.asks and site.signing_here is not None:
        site.signing_here.asked()
    if notice.signed and site.elsewhere is not None:
        site.elsewhere.heard()
    parties = notice.parties
    hop_to(loop, site.waiters.wake_all if parties is None else partial(site.waiters.wake, parties))


def hop_to(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    """Call this on the loop's thread."""
    # A loop that is closed belongs to a process that ends.
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(call)


def _refresh(exchange: Exchange) -> None:
    with exchange.database.read() as conn:
        exchange.directory.refresh(conn)
        keep_up(exchange.ruling, conn)
