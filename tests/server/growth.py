"""An exchange that has been in use for years: its rows written by the storage code itself, without the work before it.

Acts and receipts are invented texts of about their length, which nobody parses in a measurement; what the exchange
looks things up by is as real as it gets: random act ids, referral ids in the order of time, digests, leaves, tiles.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count

import uuid_utils

from referral_api.auditlog.leaf import LeafKind, encode_leaf, leaf_of
from referral_api.domain.deliveries import Delivery
from referral_api.domain.terms import Term
from referral_api.domain.words import Act, DeliveryRole, State, Urgency
from referral_api.formats.strict_json import sha256_b64u
from referral_api.server.settings import Settings
from referral_api.server.storage import feeds, logbook, queries
from referral_api.server.storage.database import Database, Transaction
from referral_api.server.storage.feeds import FeedEntry
from referral_api.server.storage.queries import Referral, StoredAct, StoredRecord
from tests.world import HOTLINE, NATIONAL, OTHER_UNIT, UNIT

UNITS = (UNIT, OTHER_UNIT, NATIONAL, *(f"pnp-inventada-{number}" for number in range(47)))
REFERRALS_A_BATCH = 32
WAITING_EVERY = 3
"""Of so many referrals one still waits for its unit; the others were retrieved, acknowledged, accepted, reported on."""
_JWS, _RECEIPT = "j" * 550, "r" * 350
_FILLING = ("journal_mode = OFF", "synchronous = OFF", "cache_size = -500000")
"""A database that is being filled may be lost; the exchange sets its own again when it opens it."""


def grow(settings: Settings, acts: int) -> None:
    """Fill the database of a founded exchange at rest, on SQLite, until it has so many acts more."""
    with Database.open(settings.database) as database:
        session = database._driver.writer.raw_connection()
        for pragma in _FILLING:
            session.cursor().execute(f"PRAGMA {pragma}")
        session.close()
        with database.write() as tx:
            name = next(name for name in logbook.names(tx) if name != logbook.KEYS)
            filling = _Filling(tx, logbook.lock(tx, [name])[name], int(time.time()))
            while filling.acts < acts:
                filling.batch()


@dataclass(slots=True)
class _Filling:
    tx: Transaction
    head: logbook.Head
    now: int
    acts: int = 0
    leaves: list[bytes] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=count)

    def batch(self) -> None:
        """What one batch of the writer leaves: rows, leaves, tiles. No checkpoint: an exchange opens on none that its
        signer never signed.
        """
        for _ in range(REFERRALS_A_BATCH):
            self.referral(next(self.numbers))
        self.head = logbook.append(self.tx, self.head, self.leaves).head
        self.leaves.clear()

    def referral(self, number: int) -> None:
        """One referral with its acts, and the lines that they are in inboxes."""
        tx, unit, ref = self.tx, UNITS[number % len(UNITS)], str(uuid_utils.uuid7())
        waits = number % WAITING_EVERY == 0
        submit = self.act(Act.SUBMIT, ref, HOTLINE, None)
        queries.insert_referral(tx, Referral(ref, HOTLINE, Urgency.ROUTINE, submit.digest, self.now, frozenset()))
        # Its bundle is purged, as that of most referrals of an old exchange.
        purged = (submit.pos, submit.digest, 40_000, None)
        tx.later("INSERT INTO sealed (pos, sha256, size, body) VALUES (?,?,?,?)", purged)
        self.line(unit, submit, unit, frozenset({"ack", "receipt_failed"}), pending=waits)
        head = submit
        if not waits:
            body = f'{{"kind":"retrieved","ref":"{ref}","unit":"{unit}"}}'.ljust(300)
            queries.insert_record(tx, StoredRecord(self.leaf(LeafKind.ACCESS, body), "retrieved", ref, unit, body))
            for kind in (Act.ACK, Act.ACCEPT, Act.STATUS):
                head = self.act(kind, ref, unit, unit)
                self.line(HOTLINE, head, unit, frozenset(), pending=False)
        state = State.SUBMITTED if waits else State.ACCEPTED
        queries.insert_delivery(tx, ref, Delivery(unit, DeliveryRole.ACTION, state, head.digest, self.now))

    def act(self, kind: Act, ref: str, party: str, unit: str | None) -> StoredAct:
        """An act with its leaf."""
        act_id = str(uuid_utils.uuid4())
        jws = f'{{"id":"{act_id}","ref":"{ref}","act":"{kind.value}","{_JWS}":0}}'
        stored = StoredAct(
            pos=self.leaf(LeafKind.ACT, jws), digest=sha256_b64u(jws.encode()), iss=f"{party}.aaaa", id=act_id,
            party=party, act=kind, ref=ref, unit=unit, prev=None, jws=jws, outcome="accepted", code=None,
            receipt=_RECEIPT, carrier=None, received_at=self.now,
        )  # fmt: skip
        queries.insert_act(self.tx, stored)
        self.acts += 1
        return stored

    def leaf(self, kind: LeafKind, record: str) -> int:
        """The position of a record's new leaf."""
        index = self.head.size + len(self.leaves)
        self.leaves.append(encode_leaf(leaf_of(record.encode(), kind, self.now)))
        return logbook.position(Term.of_log(self.head.name), index)

    def line(self, party: str, act: StoredAct, unit: str, answered_by: frozenset[str], *, pending: bool) -> None:
        """A line in an inbox."""
        entry = FeedEntry(
            party=party, pos=act.pos, act_digest=act.digest, act_id=act.id, kind=act.act.value, ref=act.ref, unit=unit,
            sender=act.party, urgency="routine", at=self.now, answered_by=answered_by, pending=pending,
        )  # fmt: skip
        feeds.insert_feed(self.tx, entry)
