"""Portable proofs: one text file that shows offline, years later, that a leaf is in a log.

It holds the leaf's index, the hashes up to the root, and the signed checkpoint with that root. The `extra` line may
carry the leaf itself, so that the file needs nothing beside it; nobody vouches for that line until its hash is found in
the tree.

Must never: take a proof for the origin or the key that it names itself; both are the caller's policy.

Implements: C2SP tlog-proof (v1, as of 2026-07), R-18; design §6 (Receipt).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from referral_api.auditlog.checkpoint import TrustPolicy, VerifiedCheckpoint, parse_decimal, verify_checkpoint
from referral_api.auditlog.merkle import HASH_BYTES, MAX_SIZE, Proof, leaf_hash, verify_inclusion
from referral_api.auditlog.note import MAX_NOTE_BYTES, decode_base64, encode_base64
from referral_api.auditlog.tiles import MAX_ENTRY_BYTES
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.formats.strict_json import malformed

HEADER: Final = "c2sp.org/tlog-proof@v1"
MAX_PATH: Final = MAX_SIZE.bit_length()
"""No inclusion proof has more hashes than the largest tree has levels."""
MAX_PROOF_BYTES: Final = MAX_NOTE_BYTES + 2 * MAX_ENTRY_BYTES


@dataclass(frozen=True, slots=True)
class LogProof:
    """A proof as it arrived, unverified: `raw_checkpoint` is the exact signed note, `extra` is anybody's word."""

    index: int
    hashes: Proof
    raw_checkpoint: bytes
    extra: bytes | None = None


@dataclass(frozen=True, slots=True)
class Included:
    """What a verified proof says: these leaf bytes stand at `index` of the log, as of `checkpoint`."""

    index: int
    leaf: bytes
    checkpoint: VerifiedCheckpoint


def format_proof(index: int, hashes: Sequence[bytes], raw_checkpoint: bytes, extra: bytes | None = None) -> bytes:
    """The text of a proof, around an exact signed checkpoint. Whoever formats a proof has verified it, or made it."""
    lines = [HEADER]
    if extra is not None:
        lines.append(f"extra {encode_base64(extra)}")
    lines.append(f"index {index}")
    lines += [encode_base64(one) for one in hashes]
    return ("\n".join(lines) + "\n\n").encode() + raw_checkpoint


def parse_proof(raw: bytes) -> LogProof:
    """Read a proof without judging it.

    Raises TOO_LARGE (`limit`), MALFORMED with `reason` `not-utf8`, `header`, `extra`, `index`, `hash` or `proof` (no
    checkpoint after an empty line). The checkpoint is read by whoever verifies it.
    """
    if len(raw) > MAX_PROOF_BYTES:
        raise ReferralError(ErrorCode.TOO_LARGE, limit=MAX_PROOF_BYTES)
    # Before the first empty line everything is ours; after it everything is the note, which may hold empty lines.
    head, separator, raw_checkpoint = raw.partition(b"\n\n")
    if not separator or not raw_checkpoint:
        raise malformed("proof")
    try:
        lines = head.decode("utf-8").split("\n")
    except UnicodeDecodeError:
        raise malformed("not-utf8") from None
    if lines.pop(0) != HEADER:
        raise malformed("header")
    extra = None
    if lines and lines[0].startswith("extra "):
        extra = decode_base64(lines.pop(0).removeprefix("extra "), "extra")
    if not lines or not lines[0].startswith("index "):
        raise malformed("index")
    index = parse_decimal(lines.pop(0).removeprefix("index "), "index")
    hashes = tuple(decode_base64(line, "hash") for line in lines)
    if len(hashes) > MAX_PATH or any(len(one) != HASH_BYTES for one in hashes):
        raise malformed("hash")
    return LogProof(index, hashes, raw_checkpoint, extra)


def verify_proof(raw: bytes, leaf: bytes, policy: TrustPolicy) -> Included:
    """Check that these exact leaf bytes are in the log that the policy pins.

    The caller compares the index with the one that it was promised. Raises what `parse_proof`, `verify_checkpoint` and
    `verify_inclusion` raise.
    """
    proof = parse_proof(raw)
    checkpoint = verify_checkpoint(proof.raw_checkpoint, policy)
    verify_inclusion(proof.index, checkpoint.size, leaf_hash(leaf), proof.hashes, checkpoint.root)
    return Included(proof.index, leaf, checkpoint)
