"""The closed list of things that can go wrong, free of transport and of prose.

One exception class carries a code from `ErrorCode` and typed facts (`facts["head"]`, `facts["limit"]`). HTTP status,
titles and translations live elsewhere: `server/api/problems.py` maps a code to a status, `domain/catalogue.py` to
words.

Must never: format text for people, know HTTP, or hold anything about a person in its facts.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any


class ErrorCode(StrEnum):
    """Stable slugs, part of the protocol (docs/protocol.md, docs/http.md). A code is never renamed or reused."""

    # What arrived cannot be read as what it claims to be.
    MALFORMED = "malformed"
    TOO_LARGE = "too-large"
    HEADERS_TOO_LARGE = "headers-too-large"
    LENGTH_REQUIRED = "length-required"
    MEDIA_TYPE = "media-type"
    ENCODING_NOT_ALLOWED = "encoding-not-allowed"
    WRONG_TYPE = "wrong-type"
    ACT_SCHEMA = "act-schema"
    BUNDLE_MALFORMED = "bundle-malformed"
    CLASSICAL_RECIPIENT = "classical-recipient"
    RECIPIENT_MISMATCH = "recipient-mismatch"
    DIGEST_MISMATCH = "digest-mismatch"
    PATH_MISMATCH = "path-mismatch"
    # Who is calling, and with which key.
    INVALID_TOKEN = "invalid_token"
    INVALID_DPOP_PROOF = "invalid_dpop_proof"
    USE_DPOP_NONCE = "use_dpop_nonce"
    INSUFFICIENT_SCOPE = "insufficient_scope"
    ISSUER_MISMATCH = "issuer-mismatch"
    WRONG_AUDIENCE = "wrong-audience"
    ACT_SIGNATURE_INVALID = "act-signature-invalid"
    KEY_NOT_VALID = "key-not-valid"
    KEY_UNSUITABLE = "key-unsuitable"
    KEY_REUSED = "key-reused"
    POSSESSION_NOT_PROVED = "possession-not-proved"
    CLOCK_SKEW = "clock-skew"
    RECIPIENT_KEY_STALE = "recipient-key-stale"
    # Final refusals of a validly signed act: signed, stored, never retried with the same id.
    STALE_HEAD = "stale-head"
    ILLEGAL_TRANSITION = "illegal-transition"
    NOT_PERMITTED = "not-permitted"
    CONSENT_GATE = "consent-gate"
    TARGET_NOT_ALLOWED = "target-not-allowed"
    # Idempotency, objects and feeds.
    ACT_ID_REUSED = "act-id-reused"
    NOT_FOUND = "not-found"
    METHOD_NOT_ALLOWED = "method-not-allowed"
    CURSOR_INVALID = "cursor-invalid"
    CURSOR_GONE = "cursor-gone"
    PART_PENDING = "part-pending"
    RANGE_NOT_SATISFIABLE = "range-not-satisfiable"
    # Enrolment.
    INVITE_UNKNOWN = "invite-unknown"
    INVITE_EXPIRED = "invite-expired"
    INVITE_USED = "invite-used"
    CODE_MISMATCH = "code-mismatch"
    CODE_VOID = "code-void"
    STATEMENT_OUT_OF_SEQUENCE = "statement-out-of-sequence"
    # The exchange cannot answer now.
    RATE_LIMITED = "rate-limited"
    QUEUE_FULL = "queue-full"
    OUTCOME_UNKNOWN = "outcome-unknown"
    CHECKPOINT_PENDING = "checkpoint-pending"
    REPLAY_STORE_UNAVAILABLE = "replay-store-unavailable"
    WRITES_CLOSED = "writes-closed"
    UNAVAILABLE = "unavailable"
    INTERNAL = "internal"
    # What a client or an auditor finds when it checks for itself. Never retried.
    SIGNATURE_INVALID = "signature-invalid"
    DECRYPT_FAILED = "decrypt-failed"
    NOT_INCLUDED = "not-included"
    INCONSISTENT = "inconsistent"
    WRONG_ORIGIN = "wrong-origin"
    WRONG_ROOT = "wrong-root"
    NOT_WITNESSED = "not-witnessed"
    RECEIPT_MISMATCH = "receipt-mismatch"
    TAMPERED = "tampered"
    # The user's own machine.
    UNREACHABLE = "unreachable"
    NOT_ENROLLED = "not-enrolled"
    LOCKED = "locked"
    KEYSTORE_CORRUPT = "keystore-corrupt"
    NO_USABLE_KEY = "no-usable-key"
    NEEDS_RESEALING = "needs-resealing"
    FLOOR_NOT_MET = "floor-not-met"
    SELF_TEST_FAILED = "self-test-failed"


FINAL_REFUSALS = frozenset(
    {
        ErrorCode.STALE_HEAD,
        ErrorCode.ILLEGAL_TRANSITION,
        ErrorCode.NOT_PERMITTED,
        ErrorCode.CONSENT_GATE,
        ErrorCode.TARGET_NOT_ALLOWED,
    }
)
"""Refusals that get a signed receipt and consume the act's id (design §6, Receipt). All others leave the id unused."""


class ReferralError(Exception):
    """The one exception of the project for bad input, refusal and failed verification.

    `code` says what happened; `facts` are machine-readable details (closed codes, digests, numbers, limits, state
    names), safe to show to the caller. Programmer errors are AssertionError or RuntimeError instead.
    """

    def __init__(self, code: ErrorCode, /, **facts: Any) -> None:
        super().__init__(code.value)
        self.code = code
        self.facts = facts

    def __str__(self) -> str:
        told = ", ".join(f"{name}={value!r}" for name, value in sorted(self.facts.items()))
        return f"{self.code.value} ({told})" if told else self.code.value
