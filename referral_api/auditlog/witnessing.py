"""What a log says to a witness and what the witness answers, as bytes: the add-checkpoint call of the witness protocol.

A request names the size that the witness is thought to hold, proves that the new tree extends it, and carries the new
checkpoint as its log signed it. The answer is signature lines for that checkpoint, or the size that the witness holds.

Must never: decide whether a tree is consistent, count a line of a key that nobody pinned, or touch the network.

Implements: C2SP tlog-witness v1.0.0 (add-checkpoint and the monitors' path); R-96; design §9.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from referral_api.auditlog.checkpoint import (
    Checkpoint,
    Cosignature,
    parse_claim,
    parse_decimal,
    verify_cosignature,
)
from referral_api.auditlog.merkle import HASH_BYTES, MAX_SIZE, Proof
from referral_api.auditlog.note import (
    NoteSignature,
    SignedNote,
    VerifierKey,
    decode_base64,
    encode_base64,
    parse_note,
)
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.formats.strict_json import malformed

ADD_CHECKPOINT: Final = "add-checkpoint"
"""The call's name below a witness's submission prefix."""
SIZE_MEDIA_TYPE: Final = "text/x.tlog.size"
"""What a 409 carries that says which size the witness holds."""
NOTE_MEDIA_TYPE: Final = "text/plain; charset=utf-8"
MAX_PROOF_LINES: Final = MAX_SIZE.bit_length()
MAX_SENT_BYTES: Final = 10 * 1024
"""What every witness takes: some refuse a longer request, so logs send their own signature lines alone."""
MAX_REQUEST_BYTES: Final = 64 * 1024
"""What ours takes: room for sixteen lines of the largest kind, which it may ignore."""
MAX_ANSWER_BYTES: Final = 64 * 1024
_MAX_SIZE_BYTES: Final = 20
_OLD: Final = "old "


@dataclass(frozen=True, slots=True)
class AddCheckpoint:
    """A request, unverified: the size that the log believes the witness to hold, the proof from there, the note."""

    old_size: int
    proof: Proof
    raw_checkpoint: bytes


@dataclass(frozen=True, slots=True)
class Cosigned:
    """One verified line of an answer: to be added to the note as it is, and what it states."""

    line: NoteSignature
    cosignature: Cosignature


def format_request(old_size: int, proof: Sequence[bytes], raw_checkpoint: bytes) -> bytes:
    """The request that pushes a checkpoint; of its signature lines the log's own alone are sent.

    Raises what `parse_note` and `parse_claim` raise, MALFORMED (`old-size`, `hash`), and TOO_LARGE (`limit`) for
    what witnesses would refuse unread.
    """
    note = parse_note(raw_checkpoint)
    origin = parse_claim(note.text).origin
    own = SignedNote(note.text, tuple(one for one in note.signatures if one.name == origin))
    raw = _format(old_size, proof, own.to_bytes())
    if len(raw) > MAX_SENT_BYTES:
        raise ReferralError(ErrorCode.TOO_LARGE, limit=MAX_SENT_BYTES)
    parse_request(raw)
    return raw


def parse_request(raw: bytes) -> AddCheckpoint:
    """Read a request without judging it; the checkpoint within is read by whoever verifies it.

    Raises TOO_LARGE (`limit`), MALFORMED with `reason` `not-utf8`, `request` (no checkpoint after an empty line),
    `old-size` or `hash`.
    """
    if len(raw) > MAX_REQUEST_BYTES:
        raise ReferralError(ErrorCode.TOO_LARGE, limit=MAX_REQUEST_BYTES)
    # Up to the first empty line the text is the request's own; what follows is the note, which may hold empty lines.
    head, separator, raw_checkpoint = raw.partition(b"\n\n")
    if not separator or not raw_checkpoint:
        raise malformed("request")
    try:
        old, *lines = head.decode("utf-8").split("\n")
    except UnicodeDecodeError:
        raise malformed("not-utf8") from None
    if not old.startswith(_OLD):
        raise malformed("old-size")
    old_size = parse_decimal(old.removeprefix(_OLD), "old-size")
    if len(lines) > MAX_PROOF_LINES:
        raise malformed("hash")
    proof = tuple(decode_base64(line, "hash") for line in lines)
    if any(len(one) != HASH_BYTES for one in proof):
        raise malformed("hash")
    return AddCheckpoint(old_size, proof, raw_checkpoint)


def format_answer(lines: Sequence[NoteSignature]) -> bytes:
    """The body of a 200: the witness's signature lines, at least one."""
    if not lines:
        raise ValueError("a witness that agrees has signed")
    return "".join(line.line() for line in lines).encode()


def verify_answer(raw: bytes, checkpoint: Checkpoint, witness: Collection[VerifierKey]) -> tuple[Cosigned, ...]:
    """Check the body of a 200 against the checkpoint that was sent; other keys' lines than this witness's drop out.

    Raises TOO_LARGE, MALFORMED (what `parse_note` raises; `time`: a cosignature without one), SIGNATURE_INVALID
    (`absent`: no line of these keys; `forged`: one of them does not verify, and so none counts).
    """
    if len(raw) > MAX_ANSWER_BYTES:
        raise ReferralError(ErrorCode.TOO_LARGE, limit=MAX_ANSWER_BYTES)
    text = checkpoint.text()
    note = parse_note(text.encode() + b"\n" + raw)
    if note.text != text:
        raise malformed("note")
    found: list[Cosigned] = []
    for key in witness:
        for raw_cosignature in note.signed_by(key):
            cosignature = verify_cosignature(checkpoint, key, raw_cosignature)
            if cosignature.cosigned_s == 0:
                raise malformed("time")
            found.append(Cosigned(NoteSignature(key.name, key.key_id, raw_cosignature), cosignature))
    if not found:
        raise ReferralError(ErrorCode.SIGNATURE_INVALID, reason="absent")
    return tuple(found)


def format_size(size: int) -> bytes:
    """The body of a 409 that says which size the witness holds."""
    return b"%d\n" % size


def parse_size(raw: bytes) -> int:
    """Read the body of a 409 of type `SIZE_MEDIA_TYPE`. Raises MALFORMED (`size`)."""
    if len(raw) > _MAX_SIZE_BYTES or not raw.endswith(b"\n"):
        raise malformed("size")
    return parse_decimal(raw[:-1].decode("latin-1"), "size")


def monitoring_path(origin: str) -> str:
    """Where, below its monitoring prefix, a witness shows the checkpoint of this log that it cosigned last."""
    return f"{sha256(origin.encode()).hexdigest()}/checkpoint"


def _format(old_size: int, proof: Sequence[bytes], raw_checkpoint: bytes) -> bytes:
    lines = [f"{_OLD}{old_size}", *(encode_base64(one) for one in proof)]
    return ("\n".join(lines) + "\n\n").encode() + raw_checkpoint
