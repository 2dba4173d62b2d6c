"""What a witness decides: whether a checkpoint only appends to what it cosigned before, and then its two cosignatures.

Comparing, signing and remembering are one transaction, and the answer leaves after it is on disk. So two requests at
once can never both be compared with the same old tree, and a crash at any step loses an answer, never a memory.

Must never: cosign two trees of one size or a smaller one, ask a log whether it may, or answer before the commit.

Implements: C2SP tlog-witness (as of 2026-07) but for its HTTP; R-96; design §9.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from referral_api.auditlog.checkpoint import Checkpoint, cosign_checkpoint, parse_claim
from referral_api.auditlog.merkle import EMPTY_ROOT, verify_consistency
from referral_api.auditlog.note import NoteSignature, SignedNote, VerifierKey, parse_note
from referral_api.auditlog.witnessing import AddCheckpoint, format_answer, format_request, parse_request
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.formats.strict_json import malformed
from referral_api.witness.keys import cosigning_keys
from referral_api.witness.memory import FORK, PROOF, Changes, Evidence, Held, Memory

STEPS: Final = ("verified", "begun", "cosigned", "committed")
"""The moments between which a request can be lost, in order; the answer leaves after the last."""


class Cosigner:
    """A witness without its HTTP. Thread-safe."""

    def __init__(self, memory: Memory, on_step: Callable[[str], None] = lambda _: None) -> None:
        """`on_step` is called at each of `STEPS`."""
        self._memory = memory
        self._keys = cosigning_keys(memory.name, memory.seeds)
        self._on_step = on_step

    @property
    def verifier_keys(self) -> tuple[VerifierKey, ...]:
        """What others pin of this witness."""
        return tuple(key.verifier for key in self._keys)

    def add_checkpoint(self, raw: bytes, now: int) -> bytes:
        """Judge one request; the signature lines of a 200.

        Raises TOO_LARGE; MALFORMED (unreadable, or `old-size`: above the checkpoint's); NOT_FOUND (no such log);
        SIGNATURE_INVALID (not signed by its key); STALE_HEAD with the `size` that is held, where another was assumed;
        INCONSISTENT (it does not append to what is held); UNAVAILABLE. Where evidence was kept, `kept` is its kind.
        """
        request = parse_request(raw)
        note = parse_note(request.raw_checkpoint)
        claim = parse_claim(note.text)
        signed = _signed_by_its_log(note, self._memory.trusted_keys(claim.origin))
        if request.old_size > claim.size:
            raise malformed("old-size")
        self._on_step("verified")
        refusal: ReferralError | None = None
        lines: tuple[NoteSignature, ...] = ()
        with self._memory.changing() as changes:
            self._on_step("begun")
            held = changes.held(claim.origin)
            try:
                _demand_growth(held, request, claim)
            except ReferralError as error:
                refusal = error
                _keep_evidence(changes, held, request, claim, signed, error, now)
            else:
                lines = self._cosign(changes, claim, signed, now)
        if refusal is not None:
            raise refusal
        self._on_step("committed")
        return format_answer(lines)

    def checkpoint(self, origin_digest: str) -> bytes:
        """The checkpoint that was cosigned last of the log whose origin has this digest. Raises NOT_FOUND."""
        return self._memory.note(origin_digest)

    def _cosign(self, changes: Changes, claim: Checkpoint, signed: SignedNote, now: int) -> tuple[NoteSignature, ...]:
        at_s = changes.time(now)
        lines = tuple(cosign_checkpoint(claim, key.verifier, key.sign, at_s) for key in self._keys)
        cosigned = SignedNote(signed.text, signed.signatures + lines)
        changes.hold(claim.origin, Held(claim.size, claim.root, cosigned.to_bytes(), at_s))
        self._on_step("cosigned")
        return lines


def _signed_by_its_log(note: SignedNote, keys: Sequence[VerifierKey]) -> SignedNote:
    """The note with its log's signatures alone, one a key. Raises SIGNATURE_INVALID: `absent`, or `forged` where one
    line is.
    """
    lines: list[NoteSignature] = []
    for key in keys:
        signatures = note.signed_by(key)
        for signature in signatures:
            key.verify(note.text.encode(), signature)
        lines += [NoteSignature(key.name, key.key_id, signature) for signature in signatures[:1]]
    if not lines:
        raise ReferralError(ErrorCode.SIGNATURE_INVALID, reason="absent", key=keys[0].name)
    return SignedNote(note.text, tuple(lines))


def _demand_growth(held: Held, request: AddCheckpoint, claim: Checkpoint) -> None:
    if request.old_size != held.size:
        raise ReferralError(ErrorCode.STALE_HEAD, size=held.size)
    verify_consistency(held.size, held.root, claim.size, claim.root, request.proof)


def _keep_evidence(
    changes: Changes,
    held: Held,
    request: AddCheckpoint,
    claim: Checkpoint,
    signed: SignedNote,
    refusal: ReferralError,
    now: int,
) -> None:
    """Keep what a log signed and cannot have meant; `refusal` learns of it (`kept`)."""
    size_has_root = claim.root == (EMPTY_ROOT if claim.size == 0 else held.root)
    if claim.size in {0, held.size} and not size_has_root:
        kind = FORK
    elif refusal.code is ErrorCode.INCONSISTENT:
        kind = PROOF
    else:
        return
    refusal.facts.update(kept=kind, origin=claim.origin)
    # What is kept is bounded: the request in the spelling that every witness takes, without anybody else's lines.
    raw = format_request(request.old_size, request.proof, signed.to_bytes())
    changes.keep(Evidence(claim.origin, kind, now, claim.size, claim.root, raw, held.note))
