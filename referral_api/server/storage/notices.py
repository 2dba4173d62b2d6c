"""Notices between the processes of one exchange over one PostgreSQL: whose inbox grew, that the keys log grew, and
between hosts, that something is to be signed, and that it was.

A batch sends one notice inside its own transaction. That costs no concurrency: PostgreSQL lets commits with notices
pass one at a time, and the log's row lock does so already. One thread listens on its own connection, which must lead to
the server itself (a pooler that lends connections by transaction loses LISTEN). A notice is a hint; who misses one
finds out: a waiting poll ends after 25 s, the keys log's size is read every second and in every writing transaction.

Must never: carry more than ids, be believed about what it announces, or stop listening because of what it hears.

Implements: design §8, §11 (LISTEN/NOTIFY); R-55.
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from sqlalchemy import make_url

from referral_api.domain.errors import ReferralError
from referral_api.server import observe
from referral_api.server.storage.database import Connection, Transaction
from referral_api.server.storage.postgres import connect_engine

CHANNEL: Final = "referral_feed"
MAX_PAYLOAD_BYTES: Final = 7900
"""PostgreSQL refuses 8,000; beyond this a notice says "everybody"."""
PROBE_S: Final = 15
"""How long the line may be silent before it is asked whether it still holds."""
FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 5.0
_EVERYBODY: Final = "*"
_KEYS: Final = "#keys"
_ASKS: Final = "#sign"
_SIGNED: Final = "#signed"
_MARKS: Final = frozenset({_KEYS, _ASKS, _SIGNED, ""})


@dataclass(frozen=True, slots=True)
class Notice:
    """What another process has committed. `parties` None means that anybody's inbox may have grown."""

    parties: frozenset[str] | None
    keys_grew: bool
    asks: bool = False
    """A host that does not sign asks the one that does to sign over what it has committed."""
    signed: bool = False
    """The signing host answers, or has kept a checkpoint."""


ANYTHING: Final = Notice(None, keys_grew=True)
"""What is told whenever notices may have been missed."""


class Notices:
    """Sends this process's notices, and listens for those of the others on a thread of its own."""

    def __init__(self, url: str, sender: str) -> None:
        """`sender` is a text without spaces that no other process has: one's own notices are not heard."""
        self._engine = connect_engine(make_url(url), size=1, overflow=0)
        self._sender = sender
        self._heard: Callable[[Notice], None] = lambda _: None
        self._stop_read, self._stop_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._thread = threading.Thread(target=self._loop, name="notices", daemon=True)

    def send(self, tx: Transaction, parties: Iterable[str], *, keys_grew: bool) -> None:
        """Announce, when `tx` commits, that these parties' inboxes grew; nothing is sent if nothing did."""
        notice = Notice(frozenset(parties), keys_grew)
        if notice.parties or keys_grew:
            tx.one("SELECT pg_notify(?, ?)", (CHANNEL, encode_notice(notice, self._sender)))

    def ask(self, conn: Connection) -> None:
        """Ask the signing host to sign, now."""
        conn.one("SELECT pg_notify(?, ?)", (CHANNEL, f"{self._sender} {_ASKS}"))

    def tell_signed(self, tx: Transaction) -> None:
        """Tell the hosts that do not sign, when `tx` commits, that this one does, and to look for checkpoints."""
        tx.one("SELECT pg_notify(?, ?)", (CHANNEL, f"{self._sender} {_SIGNED}"))

    def start(self, heard: Callable[[Notice], None]) -> None:
        """Listen; `heard` runs on the listening thread, first of all with ANYTHING and again after every lost line."""
        self._heard = heard
        self._thread.start()

    def stop(self) -> None:
        """Stop listening and give the connection back; once."""
        os.write(self._stop_write, b".")
        if self._thread.ident is not None:
            self._thread.join()
        self._engine.dispose()
        os.close(self._stop_read)
        os.close(self._stop_write)

    def _loop(self) -> None:
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                with self._line() as connection:
                    pause_s = FIRST_PAUSE_S
                    if not self._listen(connection):
                        return
            except (psycopg.Error, ReferralError) as error:
                observe.log("notices_lost", fault=type(error).__name__)
            if self._stopped(pause_s):
                return
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    @contextmanager
    def _line(self) -> Iterator[psycopg.Connection[Any]]:
        """A new connection that listens already: what is read after this misses nothing."""
        session = self._engine.raw_connection()
        try:
            connection = session.driver_connection
            if not isinstance(connection, psycopg.Connection):
                raise TypeError("not a connection of psycopg")
            connection.execute(f"LISTEN {CHANNEL}")
            yield connection
        finally:
            session.invalidate()
            session.close()

    def _listen(self, connection: psycopg.Connection[Any]) -> bool:
        """Hear notices until told to stop (False); raises psycopg.Error when the line is lost."""
        self._heard(ANYTHING)
        waiting = select.poll()
        waiting.register(connection.fileno(), select.POLLIN)
        waiting.register(self._stop_read, select.POLLIN)
        while True:
            ready = [descriptor for descriptor, _ in waiting.poll(PROBE_S * 1000)]
            if self._stop_read in ready:
                return False
            if not ready:
                connection.execute("SELECT 1")
            for heard in connection.notifies(timeout=0):
                notice = parse_notice(heard.payload, self._sender)
                if notice is not None:
                    self._heard(notice)

    def _stopped(self, pause_s: float) -> bool:
        waiting = select.poll()
        waiting.register(self._stop_read, select.POLLIN)
        return bool(waiting.poll(pause_s * 1000))


def encode_notice(notice: Notice, sender: str) -> str:
    """The payload: the sender, `#keys` if the keys log grew, then party ids, or `*` for all of them."""
    words = [sender, *([_KEYS] if notice.keys_grew else [])]
    parties = [_EVERYBODY] if notice.parties is None else sorted(notice.parties)
    payload = " ".join([*words, *parties])
    return payload if len(payload.encode()) <= MAX_PAYLOAD_BYTES else " ".join([*words, _EVERYBODY])


def parse_notice(payload: str, own: str) -> Notice | None:
    """What a payload says; None for one's own. Whatever it is, it is at worst a look too many."""
    sender, *words = payload.split(" ")
    if sender == own:
        return None
    parties = None if _EVERYBODY in words else frozenset(word for word in words if word not in _MARKS)
    return Notice(parties, _KEYS in words, _ASKS in words, _SIGNED in words)
