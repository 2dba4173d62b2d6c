"""What a log signer keeps on disk: two slots, each a right edge, its signed note, and the claim that signs; and a mark.

A slot is its own digest and padded canonical JSON, so that a torn one is told from a whole one, and `cat` shows it. The
mark behind them repeats the digest of the newest slot that a sync has put on the disk: what is only in the system's
memory looks the same to whoever reads the file, and is lost with the power.

Must never: sign, or read a slot that is damaged as if it were not.

Implements: design §9 ("One signer a log"); R-93.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Final, Protocol

from referral_api.auditlog.checkpoint import Checkpoint, TrustPolicy, log_key, verify_checkpoint
from referral_api.auditlog.merkle import Frontier, parse_frontier
from referral_api.auditlog.note import parse_note
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.formats.keys import PublicKey, SigningKey
from referral_api.formats.strict_json import b64u, canonical, parse, unb64u

SLOT_BYTES: Final = 4096
"""Holds the largest state there can be: 63 edge hashes, an origin of 255 characters and its note; while a log key is
replaced, whose note has a second line, any that there will be.
"""
MARK_AT: Final = 2 * SLOT_BYTES
CLAIM_BYTES: Final = 16
MACHINE_ID: Final = Path("/etc/machine-id")
_DIGEST_CHARS: Final = 43
MARK_BYTES: Final = _DIGEST_CHARS + 1
STATE_BYTES: Final = MARK_AT + MARK_BYTES
_MEMBERS: Final = frozenset({"fence", "frontier", "host", "note", "origin", "signer", "v"})
_VERSION: Final = 2

CLOSED_REASONS: Final = frozenset(
    {
        "clock-ahead",
        "clock-behind",
        "commit-failed",
        "database-differs",
        "database-shorter",
        "settings-differ-from-genesis",
        "signer-fenced",
        "signer-key",
        "signer-origin",
        "signer-state-missing",
        "signer-state-rolled-back",
        "signer-state-torn",
        "signer-state-unreadable",
        "signer-state-unwritable",
        "spool-unreadable",
        "spool-unwritable",
        "witness-ahead",
        "witness-differs",
        "witness-policy-differs-from-genesis",
    }
)
"""Why writes are closed: the `reason` of WRITES_CLOSED, each the name of a runbook."""


class LogKeys(Protocol):
    """The log's keys: those that sign now (one, or while it is replaced both) and all that ever could (R-37)."""

    def signing(self) -> Sequence[SigningKey]:
        """Those that sign now, one at least."""

    def known(self) -> Sequence[PublicKey]:
        """Every key that a note of this log may be signed by."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Which signer signs a log, in which of its tenures, on which machine ("" where the machine has no id)."""

    signer: str
    fence: int
    host: str


@dataclass(frozen=True, slots=True)
class SignerState:
    """What one slot says: the right edge as of the last signature, its note (None before the first), whose it is."""

    frontier: Frontier
    note: bytes | None
    claim: Claim
    slot: int = field(compare=False, default=0)


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """A checkpoint that may be released: durable in the database and in the signer's file."""

    size: int
    root: bytes
    note: bytes


def checkpoint_of(state: SignerState) -> SignedCheckpoint | None:
    """What a state says was signed last; None before the first."""
    return None if state.note is None else SignedCheckpoint(state.frontier.size, state.frontier.root(), state.note)


def signed_by_all(note: bytes, origin: str, keys: Sequence[SigningKey]) -> bool:
    """Whether a note bears a line of each of these keys of its log."""
    signed = parse_note(note)
    return all(signed.signed_by(log_key(origin, key.public)) for key in keys)


def trust_in(origin: str, keys: LogKeys) -> TrustPolicy:
    """Whom to believe about a log that any of these may sign."""
    first, *others = (log_key(origin, key) for key in keys.known())
    return TrustPolicy(first, others=tuple(others))


def closed(reason: str, name: str) -> ReferralError:
    """The refusal of every write to the log `name` until somebody has followed the runbook `reason`."""
    if reason not in CLOSED_REASONS:
        raise ValueError(reason)
    return ReferralError(ErrorCode.WRITES_CLOSED, reason=reason, log=name)


def parse_slot(raw: bytes, slot: int, *, name: str, policy: TrustPolicy) -> SignerState | None:
    """What a slot holds, or None if it is unused or torn. Raises WRITES_CLOSED for one of another log or key."""
    body = raw[_DIGEST_CHARS + 1 : -1]
    if len(raw) != SLOT_BYTES or raw != _frame(body):
        return None
    members = parse(body.rstrip(b" "), max_bytes=SLOT_BYTES)
    if members.keys() != _MEMBERS or members["v"] != _VERSION:
        raise closed("signer-state-unreadable", name)
    if members["origin"] != policy.log.name:
        raise closed("signer-origin", name)
    claim = Claim(members["signer"], members["fence"], members["host"])
    frontier = parse_frontier(unb64u(members["frontier"]))
    if members["note"] is None:
        return SignerState(frontier, None, claim, slot)
    note = members["note"].encode()
    try:
        checkpoint = verify_checkpoint(note, policy)
    except ReferralError as error:
        raise closed("signer-key", name) from error
    if Checkpoint(policy.log.name, frontier.size, frontier.root()).text() != checkpoint.text():
        raise closed("signer-state-unreadable", name)
    return SignerState(frontier, note, claim, slot)


def read_state(raw: bytes, *, name: str, policy: TrustPolicy) -> SignerState:
    """The newest state that the bytes of a state file hold, whichever machine they come from.

    Raises WRITES_CLOSED as `parse_slot`, or `signer-state-unreadable` where neither slot can be read.
    """
    slots = [raw[at * SLOT_BYTES : (at + 1) * SLOT_BYTES] for at in (0, 1)]
    states = [state for at, slot in enumerate(slots) if (state := parse_slot(slot, at, name=name, policy=policy))]
    if not states:
        raise closed("signer-state-unreadable", name)
    return newest_of(states, marked_slot(raw))


def newest_of(states: list[SignerState], marked: int | None) -> SignerState:
    """The state that was written last; of two that one checkpoint was signed in, by other keys, the marked one."""
    return max(states, key=lambda state: (state.frontier.size, state.note is not None, state.slot == marked))


def mark_of(slot: bytes) -> bytes:
    """The mark that says of a slot that it is on the disk."""
    return slot[:_DIGEST_CHARS] + b"\n"


def marked_slot(raw: bytes) -> int | None:
    """Which slot of a state file's bytes is said to be on the disk; None where the mark names neither."""
    mark = raw[MARK_AT:STATE_BYTES]
    return next((at for at in (0, 1) if mark_of(raw[at * SLOT_BYTES :][:SLOT_BYTES]) == mark), None)


def state_path(state_dir: Path, name: str) -> Path:
    """Where the state of a log lies: `keys.signer`, `audit-2026.signer`."""
    return state_dir / (name.replace("/", "-") + ".signer")


def write_at(descriptor: int, raw: bytes, at: int) -> None:
    """Write all of it. Raises OSError."""
    if os.pwrite(descriptor, raw, at) != len(raw):
        raise OSError("short write")


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_host(machine_id: Path = MACHINE_ID) -> str:
    """The machine as a claim names it: a digest, because the machine's id itself is not for files that travel."""
    try:
        found = machine_id.read_bytes().strip()
    except OSError:
        return ""
    return b64u(sha256(b"referral-1 signer host\0" + found).digest()[:CLAIM_BYTES]) if found else ""


def encode_slot(origin: str, state: SignerState) -> bytes:
    """One slot, readable with `cat`: the digest of what follows, a space, padded canonical JSON, a newline."""
    members = {
        "fence": state.claim.fence,
        "frontier": b64u(state.frontier.to_bytes()),
        "host": state.claim.host,
        "note": None if state.note is None else state.note.decode(),
        "origin": origin,
        "signer": state.claim.signer,
        "v": _VERSION,
    }
    body = canonical(members).ljust(SLOT_BYTES - _DIGEST_CHARS - 2, b" ")
    raw = _frame(body)
    if len(raw) != SLOT_BYTES:
        raise ValueError("the origin is too long for a signer's state")
    return raw


def _frame(body: bytes) -> bytes:
    return b64u(sha256(body).digest()).encode() + b" " + body + b"\n"
