"""A log that a test can make say anything: honest growth, forks, checkpoints that nobody should cosign."""

from __future__ import annotations

from collections.abc import Sequence

from referral_api.auditlog.checkpoint import log_key, sign_checkpoint
from referral_api.auditlog.merkle import Proof, consistency_proof
from referral_api.auditlog.note import VerifierKey
from referral_api.auditlog.witnessing import format_request
from referral_api.formats.keys import Alg, signing_key
from tests.auditlog import naive

ORIGIN = "exchange.example/v1/log/keys"


class History:
    """One version of a log: its leaves up to `honest` are everybody's, those after it are `branch`'s own."""

    def __init__(self, origin: str = ORIGIN, branch: bytes = b"", honest: int = 0, seed: bytes = b"\1" * 32) -> None:
        self.origin = origin
        self.key = signing_key(Alg.ED25519, seed)
        self._branch = branch
        self._honest = honest

    @property
    def verifier(self) -> VerifierKey:
        return log_key(self.origin, self.key.public)

    def leaves(self, start: int, end: int) -> list[bytes]:
        return [naive.leaf(at) + (self._branch if at >= self._honest else b"") for at in range(start, end)]

    def root(self, size: int) -> bytes:
        return naive.mth(self.leaves(0, size))

    def proof(self, old: int, new: int) -> Proof:
        return consistency_proof(old, new, lambda level, at: naive.mth(self.leaves(at << level, (at + 1) << level)))

    def note(self, size: int, root: bytes | None = None) -> bytes:
        if root is None:
            return sign_checkpoint(self.origin, size, self.root(size), self.key)
        return sign_checkpoint(self.origin, size, root, self.key)

    def request(self, old: int, new: int, proof: Sequence[bytes] | None = None) -> bytes:
        """What an honest log would send to a witness that holds `old`, or with another proof."""
        return format_request(old, self.proof(old, new) if proof is None else proof, self.note(new))
