"""The memory of proofs and assertions that were used: what makes each of them work once (R-44).

`ReplayStore` is the interface; `storage/replay.py` implements it for several processes over PostgreSQL,
`MemoryReplayStore` here for the one-process edition. DPoP proofs are claimed in memory alone: after a restart, a
proof that could have been used before it is answered with a nonce of the new epoch. Client assertions cannot be
answered so (no nonce is in them), and are rare, one in five minutes a client: each is written to a small journal and
synced before its token leaves.

Must never: forget a claim before its `until`, answer "not seen" when it cannot know, or touch the durable writer.

Implements: R-44; design §7 (DPoP replay store).
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Protocol, Self

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.formats.strict_json import b64u, unb64u

MAX_PROOFS = 2_000_000
"""Claims in memory, some 200 bytes each: two minutes at 15,000 calls a second. Beyond it the store refuses."""

_BUCKET_S = 16
_SET_BACK_S = 20
"""A smaller step back is within what `until` has in hand; a greater one begins a new epoch."""
_SET_BACKS_BITS = 20
_KEPT_LONGER_S = 3600
_KEY_BYTES = 32
_JOURNAL = "referral-replay 1"
_COMPACT_AFTER = 20_000


class ReplayStore(Protocol):
    """Claims are first come, first served, across every process that shares the store."""

    def epoch(self, now: int) -> int:
        """The number of the store's present life; another one after its contents were lost. For new nonces.

        Raises REPLAY_STORE_UNAVAILABLE.
        """

    def claim_proof(self, key: bytes, use_from: int, until: int, epoch: int | None, now: int) -> None:
        """Claim the single use of a proof; `key` is its 32-byte name, kept until the unix second `until`.

        `epoch` is what the proof's nonce names; without one, `use_from` is the first second in which the proof can have
        been used. Raises INVALID_DPOP_PROOF (reason `replayed`), USE_DPOP_NONCE (no facts) if the proof could have been
        used in an earlier epoch, REPLAY_STORE_UNAVAILABLE.
        """

    def claim_assertion(self, key: bytes, until: int, now: int) -> None:
        """Claim the single use of a client assertion, durably: it stays claimed across a crash.

        Raises INVALID_TOKEN (reason `replayed`), REPLAY_STORE_UNAVAILABLE.
        """


class TimedClaims:
    """Keys that are each remembered until a second of their own, in two steps of constant cost a claim."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._until: dict[bytes, int] = {}
        self._buckets: dict[int, list[bytes]] = {}

    def __len__(self) -> int:
        return len(self._until)

    def __contains__(self, key: bytes) -> bool:
        return key in self._until

    def add(self, key: bytes, until: int) -> None:
        """Remember a key that is not there yet. Raises REPLAY_STORE_UNAVAILABLE (reason `full`)."""
        if len(self._until) >= self._capacity:
            raise unavailable("full")
        self._until[key] = until
        self._buckets.setdefault(until // _BUCKET_S, []).append(key)

    def forget(self, now: int) -> None:
        """Drop the keys whose second has passed, a whole bucket at a time and never one early."""
        present = now // _BUCKET_S
        for bucket in [bucket for bucket in self._buckets if bucket < present]:
            for key in self._buckets.pop(bucket):
                del self._until[key]

    def items(self) -> list[tuple[bytes, int]]:
        """Every key with its second."""
        return list(self._until.items())


class MemoryReplayStore:
    """The store of the one-process edition; the lock on the database file keeps a second process away.

    A clock that is set back must not reopen a claim that a later reading let go. Proofs: a new epoch begins, and
    callers prove their freshness by nonces until time has caught up. Assertions: they are kept an hour longer than
    needed.
    """

    def __init__(self, journal: Path, start: int, assertions: TimedClaims, now: int) -> None:
        """`start` counts the openings of this journal, `assertions` what is left of it; use `open`."""
        self._journal = journal
        self._start = start
        self._epoch = start << _SET_BACKS_BITS
        self._epoch_from = now
        self._latest = now
        self._proofs = TimedClaims(MAX_PROOFS)
        self._assertions = assertions
        self._appended = 0
        self._broken = False
        self._proof_lock = threading.Lock()
        self._assertion_lock = threading.Lock()

    @classmethod
    def open(cls, journal: Path, now: int) -> Self:
        """Begin a new epoch over the journal's claims; a journal that does not exist is begun.

        Raises REPLAY_STORE_UNAVAILABLE (`reason` `journal`: unreadable or not a journal). An unfinished last line is a
        claim that was never answered, and is dropped.
        """
        assertions = TimedClaims(MAX_PROOFS)
        start = 1
        try:
            text = journal.read_text("ascii") if journal.exists() else ""
        except (OSError, UnicodeDecodeError):
            raise unavailable("journal") from None
        if text:
            start = _read_journal(text, assertions, now) + 1
        store = cls(journal, start, assertions, now)
        try:
            store._rewrite()
        except OSError:
            raise unavailable("journal") from None
        return store

    def epoch(self, now: int) -> int:
        """As ReplayStore; never fails."""
        with self._proof_lock:
            self._notice_time(now)
            return self._epoch

    def claim_proof(self, key: bytes, use_from: int, until: int, epoch: int | None, now: int) -> None:
        """As ReplayStore."""
        with self._proof_lock:
            self._notice_time(now)
            if (use_from < self._epoch_from) if epoch is None else (epoch != self._epoch):
                raise ReferralError(ErrorCode.USE_DPOP_NONCE)
            if key in self._proofs:
                raise ReferralError(ErrorCode.INVALID_DPOP_PROOF, reason="replayed")
            self._proofs.add(key, until)

    def claim_assertion(self, key: bytes, until: int, now: int) -> None:
        """As ReplayStore. Blocks for one disk sync."""
        with self._assertion_lock:
            if self._broken:
                raise unavailable("journal")
            if key in self._assertions:
                raise ReferralError(ErrorCode.INVALID_TOKEN, reason="replayed")
            self._assertions.forget(now - _KEPT_LONGER_S)
            self._assertions.add(key, until)
            try:
                if self._appended >= _COMPACT_AFTER:
                    self._rewrite()
                else:
                    _append_synced(self._journal, f"{until} {b64u(key)}\n".encode("ascii"))
                    self._appended += 1
            except OSError:
                # What a failed write left behind is unknown, and after a failed sync the file itself may lie.
                self._broken = True
                raise unavailable("journal") from None

    def _notice_time(self, now: int) -> None:
        if now < self._latest - _SET_BACK_S:
            self._epoch += 1
            self._epoch_from = self._latest
        elif now <= self._latest:
            return
        self._latest = now
        self._proofs.forget(now)

    def _rewrite(self) -> None:
        lines = [f"{_JOURNAL} {self._start}", *(f"{until} {b64u(key)}" for key, until in self._assertions.items())]
        draft = self._journal.with_name(self._journal.name + ".new")
        draft.unlink(missing_ok=True)
        _append_synced(draft, "".join(f"{line}\n" for line in lines).encode("ascii"))
        draft.replace(self._journal)
        _sync_folder(self._journal.parent)
        self._appended = 0


def unavailable(reason: str) -> ReferralError:
    """The store cannot say whether something was used: the call is refused, never waved through (R-44)."""
    return ReferralError(ErrorCode.REPLAY_STORE_UNAVAILABLE, reason=reason)


def _read_journal(text: str, assertions: TimedClaims, now: int) -> int:
    head, *lines = text.split("\n")
    name, _, start = head.rpartition(" ")
    if name != _JOURNAL or not start.isdecimal() or not lines:
        raise unavailable("journal")
    # The text ends with a line feed unless the last line was cut off; either way the last element is no claim.
    for line in lines[:-1]:
        until, _, key = line.partition(" ")
        if not until.isdecimal():
            raise unavailable("journal")
        try:
            raw_key = unb64u(key, exact=_KEY_BYTES)
        except ReferralError:
            raise unavailable("journal") from None
        if int(until) >= now - _KEPT_LONGER_S and raw_key not in assertions:
            assertions.add(raw_key, int(until))
    return int(start)


def _append_synced(path: Path, raw: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if os.write(descriptor, raw) != len(raw):
            raise OSError("the disk took a part of it")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
