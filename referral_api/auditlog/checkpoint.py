"""Checkpoints: a log's size and root, signed by its key and cosigned by witnesses.

A checkpoint is a signed note of exactly three lines: origin, size, root. The log's key has the origin as its name, so
one pinned key says both whose log this is and who may sign for it. Witnesses sign the same text with a time before it,
or (ML-DSA-44) a binary structure that holds their own name too.

Must never: read a clock, sign what is not durable (its caller's duty, R-93), or believe an unpinned key.

Implements: C2SP tlog-checkpoint v1.0.0 without extension lines (ML-DSA cosignatures would not cover them),
tlog-cosignature v1.1.0; R-90; design §9.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

from referral_api.auditlog.merkle import EMPTY_ROOT, HASH_BYTES, MAX_SIZE
from referral_api.auditlog.note import (
    NoteSignature,
    SignatureType,
    SignedNote,
    VerifierKey,
    decode_base64,
    encode_base64,
    parse_note,
)
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.formats.keys import Alg, PublicKey, SigningKey
from referral_api.formats.strict_json import malformed, unb64u

_DECIMAL: Final = re.compile(r"0|[1-9][0-9]{0,18}")
_TIMESTAMP_BYTES: Final = 8
_SUBTREE_LABEL: Final = b"subtree/v1\n\0"
_COSIGNATURE_TYPES: Final = frozenset({SignatureType.COSIGNATURE_ED25519, SignatureType.COSIGNATURE_ML_DSA_44})


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The three lines: which log, how many leaves, and the root over them (32 bytes)."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """The note text: three lines, each with its newline."""
        return f"{self.origin}\n{self.size}\n{encode_base64(self.root)}\n"


@dataclass(frozen=True, slots=True)
class Cosignature:
    """A witness's verified statement that, at `cosigned_s`, it knew no larger or different tree of this log.

    `cosigned_s` 0 (ML-DSA-44 alone allows it) says only that the tree is consistent with all that the witness saw.
    """

    key: VerifierKey
    cosigned_s: int

    @property
    def witness(self) -> str:
        """The witness's name."""
        return self.key.name


@dataclass(frozen=True, slots=True)
class VerifiedCheckpoint(Checkpoint):
    """A checkpoint that the log signed, and its cosignatures by known witnesses."""

    cosignatures: tuple[Cosignature, ...] = ()
    signers: tuple[VerifierKey, ...] = ()
    """Which of the log's keys signed it: while one is being replaced, both do."""

    def witnesses(self) -> frozenset[str]:
        """The names of the witnesses who stated that this was the largest tree at some time."""
        return frozenset(one.witness for one in self.cosignatures if one.cosigned_s)


@dataclass(frozen=True, slots=True)
class Quorum:
    """So many of these members must have cosigned; a member is one key, or again a quorum (C2SP tlog-policy, group)."""

    threshold: int
    members: tuple[Quorum | VerifierKey, ...]

    def __post_init__(self) -> None:
        if not 1 <= self.threshold <= len(self.members):
            raise ValueError("the quorum must be reachable")

    def count(self, keys: Collection[VerifierKey]) -> int:
        """How many members have cosigned, where `keys` have."""
        return sum(
            member.count(keys) >= member.threshold if isinstance(member, Quorum) else member in keys
            for member in self.members
        )

    def keys(self) -> tuple[VerifierKey, ...]:
        """Every key that may count, once for each place where it stands."""
        return tuple(
            key for member in self.members for key in (member.keys() if isinstance(member, Quorum) else (member,))
        )


@dataclass(frozen=True, slots=True)
class TrustPolicy:
    """Whom to believe about one log: its key (named like the origin), known witnesses, and which must have cosigned.

    `others` are further keys of the same log, before or after it: any of them suffices. `quorum` is a rule over known
    witnesses, or a number: so many of them, counted by name. Keys that would let one key count twice are a programmer's
    error (ValueError).
    """

    log: VerifierKey
    known_witnesses: tuple[VerifierKey, ...] = ()
    quorum: int | Quorum = 0
    others: tuple[VerifierKey, ...] = ()

    def __post_init__(self) -> None:
        publics = [key.public for key in (*self.logs, *self.known_witnesses)]
        if any((key.name, key.type) != (self.log.name, SignatureType.ED25519) for key in self.logs):
            raise ValueError("a log signs with Ed25519, under one name")
        if not {key.type for key in self.known_witnesses} <= _COSIGNATURE_TYPES:
            raise ValueError("a witness has a cosignature key")
        # An Ed25519 cosignature does not say whose it is: one key under two names would count as two witnesses.
        if len(set(publics)) != len(publics):
            raise ValueError("each key may stand once in a policy")
        if isinstance(self.quorum, Quorum):
            counted = self.quorum.keys()
            if len(set(counted)) != len(counted) or not set(counted) <= set(self.known_witnesses):
                raise ValueError("a quorum counts each known witness once")
        elif not 0 <= self.quorum <= len(self._by_name()):
            raise ValueError("the quorum must be reachable")

    @property
    def logs(self) -> tuple[VerifierKey, ...]:
        """Every key by which this log may have signed."""
        return (self.log, *self.others)

    @property
    def rule(self) -> Quorum | None:
        """The quorum as a rule; None where no cosignature is asked for."""
        if isinstance(self.quorum, Quorum):
            return self.quorum
        members = tuple(Quorum(1, tuple(keys)) for keys in self._by_name().values())
        return Quorum(self.quorum, members) if self.quorum else None

    def verify_quorum(self, keys: Collection[VerifierKey]) -> None:
        """Raise NOT_WITNESSED (`cosigned`, `quorum`) unless the witnesses whose keys these are suffice."""
        rule = self.rule
        if rule is not None and (cosigned := rule.count(keys)) < rule.threshold:
            raise ReferralError(ErrorCode.NOT_WITNESSED, cosigned=cosigned, quorum=rule.threshold)

    def _by_name(self) -> dict[str, list[VerifierKey]]:
        # What a log's own key cosigns says nothing that its signature does not.
        named: dict[str, list[VerifierKey]] = {}
        for key in self.known_witnesses:
            if key.name != self.log.name:
                named.setdefault(key.name, []).append(key)
        return named


def log_key(origin: str, public: PublicKey) -> VerifierKey:
    """The pinned form of a log's public key as documents carry it (a JWK). Raises KEY_UNSUITABLE unless Ed25519."""
    if public.alg is not Alg.ED25519:
        raise ReferralError(ErrorCode.KEY_UNSUITABLE, reason="algorithm")
    return VerifierKey(origin, SignatureType.ED25519, unb64u(public.jwk["x"]))


def parse_checkpoint(text: str) -> Checkpoint:
    """Read the text of a checkpoint note.

    Raises MALFORMED with `reason` `lines` (not exactly three: extension lines are not part of this profile), `origin`,
    `size` or `root`.
    """
    checkpoint = parse_claim(text)
    if checkpoint.size == 0 and checkpoint.root != EMPTY_ROOT:
        raise malformed("root")
    return checkpoint


def parse_claim(text: str) -> Checkpoint:
    """As `parse_checkpoint`, but size 0 may claim any root: a witness must tell that from what cannot be read."""
    lines = text.split("\n")
    if len(lines) != 4 or lines[3]:
        raise malformed("lines")
    origin, size, root = lines[0], parse_decimal(lines[1], "size"), decode_base64(lines[2], "root")
    if not origin:
        raise malformed("origin")
    if len(root) != HASH_BYTES:
        raise malformed("root")
    return Checkpoint(origin, size, root)


def sign_checkpoint(origin: str, size: int, root: bytes, *signers: SigningKey) -> bytes:
    """The signed note of a checkpoint, to be released only after what it covers is durable (R-93), a line a signer.

    Raises MALFORMED for values that no reader would accept, KEY_UNSUITABLE for a key that is not Ed25519.
    """
    text = Checkpoint(origin, size, root).text()
    parse_checkpoint(text)
    lines = [NoteSignature(origin, log_key(origin, one.public).key_id, one.sign(text.encode())) for one in signers]
    return SignedNote(text, tuple(lines)).to_bytes()


def verify_checkpoint(raw: bytes, policy: TrustPolicy) -> VerifiedCheckpoint:
    """Check a checkpoint note: origin as pinned, signed by a key of the log, cosigned by enough known witnesses.

    Raises MALFORMED, TOO_LARGE, WRONG_ORIGIN, SIGNATURE_INVALID (`reason` `absent`: no line of the log's key; `forged`:
    a line of the log or of a known witness does not verify), NOT_WITNESSED (`cosigned`, `quorum`).
    """
    note = parse_note(raw)
    checkpoint = parse_checkpoint(note.text)
    if checkpoint.origin != policy.log.name:
        raise ReferralError(ErrorCode.WRONG_ORIGIN, expected=policy.log.name, found=checkpoint.origin)
    signers = tuple(key for key in policy.logs if note.signed_by(key))
    if not signers:
        raise ReferralError(ErrorCode.SIGNATURE_INVALID, reason="absent", key=policy.log.name)
    for key in signers:
        for signature in note.signed_by(key):
            key.verify(note.text.encode(), signature)
    cosignatures = tuple(
        verify_cosignature(checkpoint, witness, raw_cosignature)
        for witness in policy.known_witnesses
        for raw_cosignature in note.signed_by(witness)
    )
    policy.verify_quorum({one.key for one in cosignatures if one.cosigned_s})
    return VerifiedCheckpoint(checkpoint.origin, checkpoint.size, checkpoint.root, cosignatures, signers)


def cosign_checkpoint(
    checkpoint: Checkpoint, witness: VerifierKey, sign: Callable[[bytes], bytes], cosigned_s: int
) -> NoteSignature:
    """A witness's signature line, made after it has verified the log's signature and consistency with all it saw."""
    message = _cosigned_message(checkpoint, witness, cosigned_s)
    raw_cosignature = cosigned_s.to_bytes(_TIMESTAMP_BYTES, "big") + sign(message)
    return NoteSignature(witness.name, witness.key_id, raw_cosignature)


def verify_cosignature(checkpoint: Checkpoint, witness: VerifierKey, raw_cosignature: bytes) -> Cosignature:
    """Check one cosignature (eight bytes of time, then the signature). Raises SIGNATURE_INVALID."""
    cosigned_s = int.from_bytes(raw_cosignature[:_TIMESTAMP_BYTES], "big")
    if len(raw_cosignature) <= _TIMESTAMP_BYTES or cosigned_s >= 2**63:
        raise ReferralError(ErrorCode.SIGNATURE_INVALID, reason="forged", key=witness.name)
    witness.verify(_cosigned_message(checkpoint, witness, cosigned_s), raw_cosignature[_TIMESTAMP_BYTES:])
    return Cosignature(witness, cosigned_s)


def parse_decimal(text: str, reason: str) -> int:
    """A size or index as C2SP texts write it: ASCII digits, no sign, no leading zero. Raises MALFORMED (`reason`)."""
    if not _DECIMAL.fullmatch(text) or (value := int(text)) > MAX_SIZE:
        raise malformed(reason)
    return value


def _cosigned_message(checkpoint: Checkpoint, witness: VerifierKey, cosigned_s: int) -> bytes:
    if witness.type is SignatureType.COSIGNATURE_ED25519:
        return f"cosignature/v1\ntime {cosigned_s}\n{checkpoint.text()}".encode()
    name, origin = witness.name.encode(), checkpoint.origin.encode()
    if len(name) > 255 or len(origin) > 255:
        raise malformed("key-name")
    time = cosigned_s.to_bytes(_TIMESTAMP_BYTES, "big")
    start, end = bytes(8), checkpoint.size.to_bytes(8, "big")
    return b"".join(
        (_SUBTREE_LABEL, bytes([len(name)]), name, time, bytes([len(origin)]), origin, start, end, checkpoint.root)
    )
