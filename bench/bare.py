"""The ceiling: the same server stack and the same group commit, inserting the same bytes and doing nothing else.

No authentication, no parsing, no log, no receipt. Its database is opened by the exchange's own storage code, with the
same durability.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import MutableMapping
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

from referral_api.server.storage.database import Database

MAX_BATCH = 256


class Bare:
    """An ASGI application that makes request bodies durable."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queue: SimpleQueue[tuple[bytes, asyncio.Future[int]]] = SimpleQueue()
        self._loop: asyncio.AbstractEventLoop | None = None
        with database.write() as tx:
            tx.run("CREATE TABLE IF NOT EXISTS bare (pos INTEGER PRIMARY KEY, body BLOB NOT NULL)")

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await receive()
            self._loop = asyncio.get_running_loop()
            threading.Thread(target=self._write, daemon=True).start()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        body, more = b"", True
        while more:
            message = await receive()
            chunk = message.get("body", b"")
            body = body + chunk if body else chunk
            more = message.get("more_body", False)
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._queue.put((body, done))
        answer = b'{"n":%d}' % await done
        headers = [(b"content-length", b"%d" % len(answer)), (b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 201, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    def _write(self) -> None:
        assert self._loop is not None
        while True:
            batch = [self._queue.get()]
            with suppress(Empty):
                while len(batch) < MAX_BATCH:
                    batch.append(self._queue.get_nowait())
            with self._database.write() as tx:
                tx.run_many("INSERT INTO bare (body) VALUES (?)", [(body,) for body, _ in batch])
            self._loop.call_soon_threadsafe(_answer, batch)


def _answer(batch: list[tuple[bytes, asyncio.Future[int]]]) -> None:
    for _, done in batch:
        if not done.done():
            done.set_result(len(batch))
