"""A read that is on the record: what is shown, and the record that it was shown, made one of two ways.

While the log takes writes, the record commits in the writer's transaction before the first byte leaves. While it is
closed, the record goes to an fsynced spool instead (storage/spool.py) and is logged first when the exchange opens.

Must never: hand out anything whose record is not durable, or log a spooled record twice.

Implements: R-52, R-66, R-97; design §9.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Container
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, Literal, TypeVar

from referral_api.auditlog.leaf import parse_leaf
from referral_api.auditlog.records import PackRead, Retrieved, ServerRecord, UnloggedRead, Viewed
from referral_api.domain import fold, lifecycle
from referral_api.domain.deliveries import Delivery
from referral_api.domain.words import Act
from referral_api.server.service.batch import Batch, Committed, Done, Place
from referral_api.server.service.callers import Caller, check_access
from referral_api.server.service.exchange import Exchange
from referral_api.server.service.ledger import retrieval_line
from referral_api.server.storage import feeds, logbook, queries, recovery
from referral_api.server.storage.database import Connection
from referral_api.server.storage.spool import Spool, Spooled

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Shown(Generic[T_co]):
    """What a read hands out, and its record. `first` is the delivery that this moves: its first retrieval (R-66)."""

    result: T_co
    record: ServerRecord
    first: Delivery | None = None


class RecordedRead(ABC, Generic[T]):
    """A read as a job of the writer; `show` alone for when there is none to write."""

    @abstractmethod
    def show(self, conn: Connection, now: int, *, fetched: Container[tuple[str, str]] = ()) -> Shown[T]:
        """What is handed out at `now`; `fetched` are deliveries whose retrieval is spooled. Raises as its caller."""

    def __call__(self, batch: Batch) -> Done[T]:
        """Record it, move the delivery on its first retrieval, and hand it out after the commit."""
        shown = self.show(batch.tx, batch.now)
        place = keep(batch, shown.record)
        if shown.first is not None and isinstance(shown.record, Retrieved):
            _step(batch, shown.record, shown.first, place)
        return Done(shown.result)


def keep(batch: Batch, record: ServerRecord) -> Place:
    """Log a record of the exchange's own under the referral and the party that it names."""
    return batch.record(record)


def read_closed(
    exchange: Exchange,
    spool: Spool,
    reason: Callable[[], str | None],
    job: RecordedRead[T],
    caller: Caller,
    now: int,
) -> Committed[T] | None:
    """A read while writes are closed, and why (`reason`): the record is in the spool when this returns. None where they
    are open by now. Raises as the read, and WRITES_CLOSED (`spool-unwritable`).
    """
    check_access(exchange.keymap, caller, now)
    with exchange.database.read(snapshot=True) as conn:
        shown = job.show(conn, now, fetched=spool.fetched)
    return Committed(shown.result, None) if spool.append(reason, shown.record, now) else None


class LogSpool:
    """The job that logs one spool, all of it or nothing, once."""

    def __init__(self, spooled: Spooled) -> None:
        self._spooled = spooled

    def __call__(self, batch: Batch) -> Done[int]:
        """How many records it logged; 0 for a spool that was logged before a crash."""
        if not self._spooled.records or not recovery.note_spool(batch.tx, self._spooled.id, batch.now):
            return Done(0)
        for record in self._spooled.records:
            self._log(batch, record)
        return Done(len(self._spooled.records))

    @staticmethod
    def _log(batch: Batch, record: ServerRecord) -> None:
        """One record, with the time of its reading as far as the log's order allows it: time never runs backwards."""
        record = record.model_copy(update={"t": min(max(record.t, _floor(batch)), batch.now)})
        if (unlogged := _unlogged(batch.tx, record)) is not None:
            keep(batch, unlogged)
            return
        if not isinstance(record, Retrieved) or record.sealed != "bundle" or record.unit is None:
            keep(batch, record)
            return
        own = queries.deliveries_of(batch.tx, record.ref).get(record.unit)
        if own is None or own.state not in lifecycle.SERVED:
            # Recovery has brought back acts that closed the delivery before this reading: it was of ciphertext all the
            # same, but moved no delivery.
            keep(batch, record.model_copy(update={"unit": None}))
            return
        place = keep(batch, record)
        if own.retrieved_at is None:
            _step(batch, record, own, place)


def _unlogged(conn: Connection, record: ServerRecord) -> UnloggedRead | None:
    """What to write down of a read of something that this database has not: the one it came from was not what was
    signed. None where the log knows of it, be it that it has been erased since.
    """
    act = digest = None
    what: Literal["bundle", "beside", "view", "pack"]
    if isinstance(record, Retrieved):
        what, act, digest = record.sealed, record.act, record.digest
        known = queries.prev_places(conn, record.ref, act) is not None
    elif isinstance(record, Viewed | PackRead):
        what, digest = ("pack", record.digest) if isinstance(record, PackRead) else ("view", None)
        known = queries.find_referral(conn, record.ref) is not None
    else:
        return None
    if known or queries.acts_of_kind(conn, record.ref, Act.ERASE):
        return None
    told: dict[str, Any] = record.model_dump(include={"t", "salt", "party", "credential", "ref"})
    return UnloggedRead(**told, what=what, act=act, digest=digest)


def _floor(batch: Batch) -> int:
    """The earliest time that the next leaf may have: that of the newest one, in the year of the batch's log."""
    starts = int(datetime(batch.term.year, 1, 1, tzinfo=UTC).timestamp())
    reserved = batch.leaves.get(batch.term.log)
    if reserved:
        return max(starts, parse_leaf(reserved[-1]).logged_s)
    newest = logbook.newest_audit(batch.tx)
    if newest is None:
        return starts
    return max(starts, parse_leaf(logbook.leaf(batch.tx, newest[0], newest[1] - 1)).logged_s)


def _step(batch: Batch, record: Retrieved, own: Delivery, place: Place) -> None:
    """A unit's first retrieval moves its delivery, and the hotline learns of it: "downloaded" is not yet "read"."""
    if not queries.swap_delivery(batch.tx, record.ref, own, fold.retrieve(own, record.t)):
        raise RuntimeError("a delivery changed under the log's lock")
    referral = queries.find_referral(batch.tx, record.ref)
    if referral is None:
        raise RuntimeError("a delivery without its referral")
    tell_sender(batch, referral, record, place.pos)


def tell_sender(batch: Batch, referral: queries.Referral, record: Retrieved, pos: int) -> None:
    """The line in the sender's inbox that says that a unit fetched the bundle."""
    feeds.insert_feed(batch.tx, retrieval_line(referral, record, pos))
    batch.wake.add(referral.sender)
