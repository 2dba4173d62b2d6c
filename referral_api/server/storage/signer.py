"""The log signer: signs a log's checkpoints, only over committed growth, and never over two histories.

What it has signed stands in one small file outside the database, best on another disk. It recomputes the right edge
itself from leaf hashes, so a database that was rolled back, restored or rewritten does not fit its state any more and
is refused before any witness sees the fork. Several processes of one host share the file under its lock; whether it is
this host's turn, the database says (lease.py). Its two slots are written in turn, synced in place: a torn write spoils
the older one. A state is on disk before its signature leaves, which a mark in the file tells the other processes; who
goes on from a state without one writes and syncs it anew. Ed25519 signs the same text the same way.

Must never: be called inside a transaction, release what is not synced, or follow a database that went back.
Implements: design §9 ("One signer a log"); R-93.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import Final, Self, TypeAlias

from referral_api.auditlog.checkpoint import TrustPolicy, sign_checkpoint
from referral_api.auditlog.merkle import Frontier
from referral_api.domain.errors import ReferralError
from referral_api.formats.strict_json import b64u
from referral_api.server.storage.signer_state import (
    CLAIM_BYTES,
    CLOSED_REASONS,
    MARK_AT,
    SLOT_BYTES,
    STATE_BYTES,
    Claim,
    LogKeys,
    SignedCheckpoint,
    SignerState,
    checkpoint_of,
    closed,
    encode_slot,
    mark_of,
    marked_slot,
    newest_of,
    parse_slot,
    signed_by_all,
    state_path,
    sync_folder,
    trust_in,
    write_at,
)

__all__ = [
    "CLOSED_REASONS",
    "SLOT_BYTES",
    "STATE_BYTES",
    "Claim",
    "LogKeys",
    "LogSigner",
    "LogSigners",
    "SignedCheckpoint",
    "SignerState",
    "closed",
    "state_path",
    "sync_folder",
]

_READINGS: Final = 3
"""How often the file is read again whose mark is just being changed."""
ReadMissing: TypeAlias = Callable[[int, int], Sequence[bytes]]
"""(first, last) -> the leaf hashes [first, last) as committed in the database now."""


class LogSigner:
    """The signer of one log on this host. Thread-safe, and safe beside other processes that open the same file."""

    def __init__(self, descriptor: int, name: str, origin: str, keys: LogKeys, host: str) -> None:
        """Use `open` or `create`. Takes over the descriptor of the state file."""
        self._descriptor = descriptor
        self._name = name
        self._origin = origin
        self._keys, self._host = keys, host
        self._mutex = Lock()
        self._failed: str | None = None
        self._raw = b""
        self._torn = False
        self._newest: tuple[bytes, SignedCheckpoint | None] = (b"", None)
        """The bytes that `newest` read last, and what they say; nothing that was not on disk."""
        with self._exclusive():
            self._state = self._load()
            self.newest()
            # On a disk that takes nothing, what was released before can still be read.
            with suppress(ReferralError):
                self._settle(self._state)
        # The right edge that this process has itself seen in the database or found at start: what comes must extend it.
        self._seen = self._state.frontier

    @classmethod
    def create(cls, state_dir: Path, name: str, origin: str, keys: LogKeys, claim: Claim) -> Self:
        """Start a log's state at size 0, before its first leaf commits. Raises FileExistsError if it has one."""
        path = state_path(state_dir, name)
        draft = path.with_name(path.name + ".new")
        first = encode_slot(origin, SignerState(Frontier(), None, claim))
        # A draft can only be left by a crash inside this function, before anything was signed with it.
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            os.pwrite(descriptor, first + bytes(SLOT_BYTES) + mark_of(first), 0)
            os.fsync(descriptor)
            # A link, unlike a rename, never replaces a state that another process has just begun.
            os.link(draft, path)
            draft.unlink()
            sync_folder(state_dir)
            return cls(descriptor, name, origin, keys, claim.host)
        except BaseException:
            os.close(descriptor)
            raise

    @classmethod
    def open(cls, state_dir: Path, name: str, origin: str, keys: LogKeys, host: str) -> Self:
        """Open a log's state. Raises WRITES_CLOSED if it is missing, unreadable, or of another origin, key or host."""
        try:
            descriptor = os.open(state_path(state_dir, name), os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            raise closed("signer-state-missing", name) from None
        try:
            return cls(descriptor, name, origin, keys, host)
        except BaseException:
            os.close(descriptor)
            raise

    @property
    def size(self) -> int:
        """The size up to which this process knows the log to be signed."""
        return self._seen.size

    @property
    def claim(self) -> Claim:
        """As whom this process may sign; the database knows whether that still holds (lease.py)."""
        return self._state.claim

    @property
    def torn(self) -> bool:
        """Whether one slot is spoilt: written in vain, so that the database must hold more than was signed."""
        return self._torn

    def extend(
        self,
        first: int,
        leaf_hashes: Sequence[bytes],
        read_missing: ReadMissing,
        *,
        expected: Frontier | None = None,
    ) -> SignedCheckpoint:
        """Sign the growth that leaves `first` and following are; call it after COMMIT has returned, never before.

        Leaves between what this process has seen and `first` are read through `read_missing`, as are those that another
        process has signed meanwhile: then its later checkpoint is returned. `expected` is the database's own right edge
        after these leaves, compared where it is given. Nothing is signed unless everything fits.

        Raises WRITES_CLOSED with a `reason` of CLOSED_REASONS; where the database is at fault, from then on always.
        """
        end = first + len(leaf_hashes)
        with self._mutex, self._exclusive():
            state, seen = self._begin(first)
            hashes = [*self._read(read_missing, seen.size, first), *leaf_hashes]
            edge = seen.extend(hashes)
            if expected not in (None, edge):
                raise self._give_up("database-differs")
            if state.frontier.size > end:
                hashes += self._read(read_missing, end, state.frontier.size)
            common = state.frontier.size - seen.size
            if seen.extend(hashes[:common]) != state.frontier:
                raise self._give_up("database-differs")
            if state.frontier.size < end or state.note is None:
                state = self._sign(state, edge)
            self._state, self._seen = state, state.frontier
            if (signed := checkpoint_of(state)) is None:
                raise AssertionError("unreachable: a state without note has just been signed")
            return signed

    def renew(self) -> SignedCheckpoint | None:
        """What was signed last, by every key that is in use now (R-37): signed again where one has not. Raises as
        `extend`.
        """
        with self._mutex, self._exclusive():
            state, _ = self._begin(self._seen.size)
            if state.note is not None and not signed_by_all(state.note, self._origin, self._keys.signing()):
                self._state = state = self._sign(state, state.frontier)
            return checkpoint_of(state)

    def meet(self, edge: Frontier, read_missing: ReadMissing) -> None:
        """Hold the right edge of the locked log against what was signed, before anything is appended to it.

        Whoever has the lock finds all that was ever signed committed, and so do the leaves that were seen: a database
        that went back beneath a running process is refused here, also once it has grown again. Raises as `extend`.
        """
        with self._mutex, self._exclusive():
            state, seen = self._begin(edge.size)
            if edge.size < state.frontier.size:
                raise self._give_up("database-shorter")
            hashes = self._read(read_missing, seen.size, edge.size)
            signed = state.frontier.size - seen.size
            if seen.extend(hashes[:signed]) != state.frontier or seen.extend(hashes) != edge:
                raise self._give_up("database-differs")

    def newest(self) -> SignedCheckpoint | None:
        """What was signed last and is on disk, by whichever process; None before the first signature.

        Takes no lock and waits for no sync: what is being written has no mark yet, and the other slot then has it. Once
        this process may sign no more, nothing newer than what it has met.
        """
        known, checkpoint = self._newest
        if self._failed is not None:
            return checkpoint
        for _ in range(_READINGS):
            raw = os.pread(self._descriptor, STATE_BYTES, 0)
            if raw == known:
                return checkpoint
            at = marked_slot(raw)
            state = None if at is None else self._parse(raw, at)
            if state is not None:
                self._newest = (raw, checkpoint_of(state))
                return self._newest[1]
        return checkpoint

    def close(self) -> None:
        """Give the file back."""
        os.close(self._descriptor)

    def _begin(self, first: int) -> tuple[SignerState, Frontier]:
        """The state on disk, and what this process has seen, where both may be gone on from with leaf `first`."""
        if self._failed is not None:
            raise closed(self._failed, self._name)
        state, seen = self._load(), self._seen
        if state.frontier.size < seen.size:
            raise closed("signer-state-rolled-back", self._name)
        if first < seen.size:
            raise self._give_up("database-shorter")
        self._settle(state)
        return state, seen

    def _give_up(self, reason: str) -> ReferralError:
        """Sign nothing more: a database that was once not what was signed may grow until it looks like it again."""
        self._failed = reason
        return closed(reason, self._name)

    def _sign(self, old: SignerState, frontier: Frontier) -> SignerState:
        note = sign_checkpoint(self._origin, frontier.size, frontier.root(), *self._keys.signing())
        state = SignerState(frontier, note, old.claim, 1 - old.slot)
        self._put(state, encode_slot(self._origin, state))
        # A spoilt slot is the older one, and has just been written over.
        self._torn = False
        return state

    def _settle(self, state: SignerState) -> None:
        """See that the newest state is on disk before anything is built on it, whoever wrote it and failed, or died."""
        if marked_slot(self._raw) != state.slot:
            # Written once more: a sync alone might find nothing to do.
            self._put(state, self._raw[state.slot * SLOT_BYTES :][:SLOT_BYTES])

    def _put(self, state: SignerState, raw: bytes) -> None:
        """Write a state into its slot, sync it, and mark it. Raises WRITES_CLOSED, `signer-state-unwritable`."""
        try:
            write_at(self._descriptor, raw, state.slot * SLOT_BYTES)
            os.fdatasync(self._descriptor)
            # The mark is not synced: a process that starts without it only has to sync once more.
            write_at(self._descriptor, mark_of(raw), MARK_AT)
        except OSError as error:
            # After a failed sync the kernel may forget that the page was dirty: a second one would prove nothing.
            raise self._give_up("signer-state-unwritable") from error
        slots = [self._raw[:SLOT_BYTES], self._raw[SLOT_BYTES:MARK_AT]]
        slots[state.slot] = raw
        self._raw = b"".join([*slots, mark_of(raw)])
        self._newest = (self._raw, checkpoint_of(state))

    def _read(self, read_missing: ReadMissing, first: int, last: int) -> Sequence[bytes]:
        if first >= last:
            return ()
        found = read_missing(first, last)
        if len(found) != last - first:
            raise self._give_up("database-shorter")
        return found

    def _load(self) -> SignerState:
        """The state on disk now; the bytes are judged again only when another process has changed them."""
        raw = os.pread(self._descriptor, STATE_BYTES, 0).ljust(STATE_BYTES, b"\0")
        if raw == self._raw:
            return self._state
        slots = [self._parse(raw, at) for at in (0, 1)]
        states = [state for state in slots if state is not None]
        if not states:
            raise closed("signer-state-unreadable", self._name)
        # An unused slot is all zero; anything else that cannot be read was torn by a crash, or spoilt later.
        if len(states) == 1 and raw[SLOT_BYTES * (1 - states[0].slot) :][:SLOT_BYTES].strip(b"\0"):
            self._torn = True
        self._raw = raw
        self._state = newest_of(states, marked_slot(raw))
        return self._state

    def _parse(self, raw: bytes, at: int) -> SignerState | None:
        slot = raw[at * SLOT_BYTES : (at + 1) * SLOT_BYTES]
        state = parse_slot(slot, at, name=self._name, policy=trust_in(self._origin, self._keys))
        if state is not None and state.claim.host != self._host:
            raise closed("signer-fenced", self._name)
        return state

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)


class LogSigners:
    """The signers of all logs of this exchange on this host, opened when first asked for."""

    def __init__(
        self, state_dir: Path, origin_prefix: str, keys: LogKeys, *, token_bytes: Callable[[int], bytes], host: str
    ) -> None:
        """`origin_prefix` is the public host and path below which the logs lie: `exchange.example/v1/log`.

        `host` is `read_host`'s; new signers draw their ids from `token_bytes`.
        """
        self.state_dir = state_dir
        self._keys = keys
        self.host = host
        self._origin_prefix = origin_prefix
        self._token_bytes = token_bytes
        self._open: dict[str, LogSigner] = {}
        self._mutex = Lock()

    def __call__(self, name: str) -> LogSigner:
        """The signer of a log. Raises WRITES_CLOSED, `signer-state-missing` among others."""
        with self._mutex:
            if name not in self._open:
                self._open[name] = LogSigner.open(self.state_dir, name, self.origin(name), self._keys, self.host)
            return self._open[name]

    def begin(self, name: str) -> LogSigner:
        """The signer of a log that is still empty: its state is made now, before the first leaf commits.

        Harmless where the state exists. For a log that has leaves it would accept whatever the database says, so call
        it only with the log's lock held and its size seen to be 0.
        """
        with self._mutex:
            if name not in self._open and not state_path(self.state_dir, name).exists():
                # Another process of this host may be quicker; its state is as empty as ours would be.
                with suppress(FileExistsError):
                    self._open[name] = self._create(name)
        return self(name)

    def forget(self, name: str) -> None:
        """Let go of a log's state, which somebody is about to replace."""
        with self._mutex:
            if name in self._open:
                self._open.pop(name).close()

    def new_claim(self, fence: int) -> Claim:
        """A claim of a signer that has never been, on this machine."""
        return Claim(b64u(self._token_bytes(CLAIM_BYTES)), fence, self.host)

    def _create(self, name: str) -> LogSigner:
        try:
            return LogSigner.create(self.state_dir, name, self.origin(name), self._keys, self.new_claim(1))
        except FileExistsError:
            raise
        except OSError as error:
            raise closed("signer-state-unwritable", name) from error

    def newest(self, name: str) -> SignedCheckpoint | None:
        """What was signed last of a log; None for one that has no state on this host."""
        if name not in self._open and not state_path(self.state_dir, name).exists():
            return None
        return self(name).newest()

    def names(self) -> list[str]:
        """Every log that has a state on this host."""
        return sorted(path.stem.replace("-", "/") for path in self.state_dir.glob("*.signer"))

    def origin(self, name: str) -> str:
        """The origin of a log (R-90)."""
        return f"{self._origin_prefix}/{name}"

    def trust(self, name: str) -> TrustPolicy:
        """The log's own keys, whichever host signs with them."""
        return trust_in(self.origin(name), self._keys)

    def sign(self, name: str, edge: Frontier) -> bytes:
        """A note of a log at this edge that no state remembers, for recovery; whoever asks has proved the edge."""
        return sign_checkpoint(self.origin(name), edge.size, edge.root(), *self._keys.signing())

    def close(self) -> None:
        """Give every file back."""
        with self._mutex:
            for signer in self._open.values():
                signer.close()
            self._open.clear()
