"""The replay store of several processes over one PostgreSQL: every claim is one short statement of its own.

Proofs live in an unlogged table, which costs no sync; a crash or a fail-over empties it together with the row that
names its epoch, so a claim that finds no such row knows that it cannot know. Assertions live in an ordinary table: no
nonce can vouch for one after a loss. Claims have a small pool of their own with time-outs of seconds, for every call
waits for one; they never pass through the writer.

Must never: split reading the epoch and inserting a claim into two statements, or answer when the database does not.

Implements: R-44; design §7 (DPoP replay store, epoch row).
"""

from __future__ import annotations

import threading
from typing import Final, NamedTuple

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.formats.strict_json import b64u
from referral_api.server.storage.database import Database

CLOCK_SKEW_S: Final = 30
"""How far the database's clock and those of the exchange's processes may differ."""
SWEEP_S: Final = 10
SWEEP_ROWS: Final = 100_000
_SET_BACK_S: Final = 20
_KEPT_LONGER_S: Final = 3600
"""Assertions stay an hour longer than needed, in case a clock is set back."""

_CLAIM_PROOF: Final = (
    "INSERT INTO replay (key, expires_at) SELECT CAST(? AS TEXT), CAST(? AS BIGINT) FROM replay_epoch WHERE id = ? "
    "ON CONFLICT (key) DO NOTHING"
)
_CLAIM_ASSERTION: Final = "INSERT INTO assertion (key, expires_at) VALUES (?, ?) ON CONFLICT (key) DO NOTHING"
# Two processes that begin an epoch at once may both leave a row; everybody goes by the lower id.
_FIND_EPOCH: Final = "SELECT id, started_at FROM replay_epoch ORDER BY id LIMIT 1"
_BEGIN_EPOCH: Final = (
    "INSERT INTO replay_epoch (id, started_at) SELECT CAST(EXTRACT(EPOCH FROM at) * 1000000 AS BIGINT), "
    "CAST(EXTRACT(EPOCH FROM at) AS BIGINT) FROM (SELECT clock_timestamp() AS at) AS clock "
    "WHERE NOT EXISTS (SELECT 1 FROM replay_epoch)"
)
_MOVE_EPOCH: Final = "UPDATE replay_epoch SET id = id + 1, started_at = ? WHERE id = ?"
# Whichever of the two clocks is behind decides, so that one machine with a wrong clock cannot make the others forget.
_SWEEP_PROOFS: Final = (
    "DELETE FROM replay WHERE key IN (SELECT key FROM replay WHERE expires_at < "
    "LEAST(?, CAST(EXTRACT(EPOCH FROM clock_timestamp()) AS BIGINT)) - ? ORDER BY expires_at LIMIT ?)"
)
_SWEEP_ASSERTIONS: Final = (
    "DELETE FROM assertion WHERE key IN (SELECT key FROM assertion WHERE expires_at < "
    "LEAST(?, CAST(EXTRACT(EPOCH FROM clock_timestamp()) AS BIGINT)) - ? ORDER BY expires_at LIMIT ?)"
)


class _Epoch(NamedTuple):
    id: int
    started_at: int


class SharedReplayStore:
    """The `ReplayStore` of service/replay.py on PostgreSQL. Thread-safe."""

    def __init__(self, database: Database) -> None:
        """Raises ValueError for an engine without unlogged tables."""
        if database.dialect != "postgresql":
            raise ValueError("the one-process edition keeps its claims in memory")
        self._database = database
        self._known: _Epoch | None = None
        self._sweep_lock = threading.Lock()
        self._sweep_at = 0
        self._latest = 0

    def epoch(self, now: int) -> int:
        """The number of the table's present life, begun if there is none; asked of the database every time.

        Raises REPLAY_STORE_UNAVAILABLE.
        """
        self._notice_time(now)
        self._known = self._read_epoch()
        return self._known.id

    def claim_proof(self, key: bytes, use_from: int, until: int, epoch: int | None, now: int) -> None:
        """Claim the single use of a proof, in one statement that also finds the epoch unchanged.

        Raises INVALID_DPOP_PROOF (reason `replayed`), USE_DPOP_NONCE, REPLAY_STORE_UNAVAILABLE.
        """
        self._notice_time(now)
        known = self._known or self._read_epoch()
        if not _is_of(known, use_from, epoch):
            # Another process may have begun a newer epoch, of which this nonce is.
            known = self._read_epoch()
        while True:
            self._known = known
            if not _is_of(known, use_from, epoch):
                raise ReferralError(ErrorCode.USE_DPOP_NONCE)
            if self._run(_CLAIM_PROOF, (b64u(key), until, known.id)):
                break
            found = self._read_epoch()
            if found == known:
                raise ReferralError(ErrorCode.INVALID_DPOP_PROOF, reason="replayed")
            known = found
        self._sweep(now)

    def claim_assertion(self, key: bytes, until: int, now: int) -> None:
        """Claim the single use of a client assertion; durable when it returns.

        Raises INVALID_TOKEN (reason `replayed`), REPLAY_STORE_UNAVAILABLE.
        """
        if not self._run(_CLAIM_ASSERTION, (b64u(key), until)):
            raise ReferralError(ErrorCode.INVALID_TOKEN, reason="replayed")
        self._sweep(now)

    def _notice_time(self, now: int) -> None:
        """A clock that is set back could reopen claims already swept: a new epoch begins where the clock had been."""
        if now < self._latest - _SET_BACK_S:
            latest, self._latest = self._latest, now
            self._run(_MOVE_EPOCH, (latest, self._read_epoch().id))
            self._known = None
            self._sweep_at = now
        self._latest = max(self._latest, now)

    def _read_epoch(self) -> _Epoch:
        try:
            with self._database.read(brief=True) as connection:
                row = connection.one(_FIND_EPOCH)
                if row is None:
                    connection.run(_BEGIN_EPOCH)
                    row = connection.one(_FIND_EPOCH)
        except ReferralError as error:
            raise _unavailable() from error
        if row is None:
            raise _unavailable()
        return _Epoch(*row)

    def _run(self, sql: str, params: tuple[str | int, ...]) -> bool:
        try:
            with self._database.read(brief=True) as connection:
                return connection.run(sql, params) == 1
        except ReferralError as error:
            raise _unavailable() from error

    def _sweep(self, now: int) -> None:
        """Delete what is past, every SWEEP_S seconds and in one thread; what fails is left to the next sweep."""
        if now < self._sweep_at or not self._sweep_lock.acquire(blocking=False):
            return
        try:
            self._sweep_at = now + SWEEP_S
            with self._database.read() as connection:
                connection.run(_SWEEP_PROOFS, (now, CLOCK_SKEW_S, SWEEP_ROWS))
                connection.run(_SWEEP_ASSERTIONS, (now, _KEPT_LONGER_S, SWEEP_ROWS))
        except ReferralError:
            # The claim itself stands. Rows that stay longer only take room.
            return
        finally:
            self._sweep_lock.release()


def _is_of(known: _Epoch, use_from: int, epoch: int | None) -> bool:
    return use_from >= known.started_at + CLOCK_SKEW_S if epoch is None else epoch == known.id


def _unavailable() -> ReferralError:
    return ReferralError(ErrorCode.REPLAY_STORE_UNAVAILABLE, reason="database")
