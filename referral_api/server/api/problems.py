"""Errors as HTTP shows them: RFC 9457 problem documents, decided in this one file (R-50).

The status, the retry class and which facts may leave stand in one table keyed by ErrorCode; a test proves that every
code has a row and that every row is in docs/http.md. Words come from domain/catalogue.py in the caller's language.

Must never: show an exception's text, or any fact that is not in the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from referral_api.domain.catalogue import Language, text_of
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.formats.strict_json import canonical
from referral_api.server.service.tokens import challenge_headers

Retry = Literal["never", "same", "new-proof", "after"]
PROBLEM_TYPE = "application/problem+json"
PUBLIC_FACTS = frozenset(
    {
        "act",
        "alg",
        "allowed",
        "digest",
        "head",
        "kid",
        "least",
        "limit",
        "member",
        "most",
        "needs",
        "nonce_seconds",
        "param",
        "party",
        "purged_at",
        "reason",
        "recipient",
        "skew_s",
        "state",
        "unit",
        "where",
    }
)
"""Facts that a problem document may carry: closed codes, ids, numbers and digests of the caller's own objects."""


@dataclass(frozen=True, slots=True)
class Row:
    """How one code is answered."""

    status: int
    retry: Retry = "never"
    retry_after_s: int | None = None


E = ErrorCode
TABLE: Mapping[ErrorCode, Row] = {
    E.MALFORMED: Row(400),
    E.CURSOR_INVALID: Row(400),
    E.INVALID_TOKEN: Row(401, "new-proof"),
    E.INVALID_DPOP_PROOF: Row(401, "new-proof"),
    E.USE_DPOP_NONCE: Row(401, "new-proof"),
    E.INSUFFICIENT_SCOPE: Row(403),
    E.ISSUER_MISMATCH: Row(403),
    E.NOT_PERMITTED: Row(403),
    E.CONSENT_GATE: Row(403),
    E.TARGET_NOT_ALLOWED: Row(403),
    E.NOT_FOUND: Row(404),
    E.INVITE_UNKNOWN: Row(404),
    E.METHOD_NOT_ALLOWED: Row(405),
    E.ACT_ID_REUSED: Row(409),
    E.STALE_HEAD: Row(409),
    E.ILLEGAL_TRANSITION: Row(409),
    E.STATEMENT_OUT_OF_SEQUENCE: Row(409),
    E.INVITE_USED: Row(409),
    E.CODE_VOID: Row(409),
    E.PART_PENDING: Row(409, "after", 5),
    E.CURSOR_GONE: Row(410),
    E.INVITE_EXPIRED: Row(410),
    E.LENGTH_REQUIRED: Row(411),
    E.TOO_LARGE: Row(413),
    E.MEDIA_TYPE: Row(415),
    E.ENCODING_NOT_ALLOWED: Row(415),
    E.RANGE_NOT_SATISFIABLE: Row(416),
    E.HEADERS_TOO_LARGE: Row(431),
    E.WRONG_TYPE: Row(422),
    E.ACT_SCHEMA: Row(422),
    E.BUNDLE_MALFORMED: Row(422),
    E.CLASSICAL_RECIPIENT: Row(422),
    E.RECIPIENT_MISMATCH: Row(422),
    E.DIGEST_MISMATCH: Row(422),
    E.PATH_MISMATCH: Row(422),
    E.WRONG_AUDIENCE: Row(422),
    E.ACT_SIGNATURE_INVALID: Row(422),
    E.SIGNATURE_INVALID: Row(422),
    E.KEY_NOT_VALID: Row(422),
    E.KEY_UNSUITABLE: Row(422),
    E.KEY_REUSED: Row(422),
    E.POSSESSION_NOT_PROVED: Row(422),
    E.CODE_MISMATCH: Row(422),
    E.CLOCK_SKEW: Row(422),
    E.RECIPIENT_KEY_STALE: Row(422),
    E.RATE_LIMITED: Row(429, "after", 60),
    E.QUEUE_FULL: Row(429, "after", 1),
    E.OUTCOME_UNKNOWN: Row(503, "same", 1),
    E.CHECKPOINT_PENDING: Row(503, "same", 1),
    E.REPLAY_STORE_UNAVAILABLE: Row(503, "new-proof", 1),
    E.WRITES_CLOSED: Row(503, "same", 30),
    E.UNAVAILABLE: Row(503, "same", 1),
    E.INTERNAL: Row(500, "same"),
}
REFUSALS = frozenset(
    {code for code, row in TABLE.items() if row.status < 429 or row.status == 431} - {E.USE_DPOP_NONCE}
    | {E.RATE_LIMITED}
)
"""What is the caller's to mend and is recorded (R-98): not that the exchange is busy or ill, nor a question back."""
CLIENT_ONLY = frozenset(ErrorCode) - TABLE.keys()
"""Codes that only a client or an auditor raises; if one reached HTTP it would be a defect and shows as `internal`."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem document ready to send."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


def problem_of(
    error: ReferralError,
    *,
    language: Language,
    request_id: str,
    now: int,
    issuer: str,
    extra: Mapping[str, Any] | None = None,
) -> Problem:
    """The document for an error. `extra` adds `receipt` and `proof` of a final refusal (R-17, R-50)."""
    code = error.code if error.code in TABLE else ErrorCode.INTERNAL
    row = TABLE[code]
    words = text_of(code, language)
    members: dict[str, Any] = {
        "type": f"{issuer}/problems/{code.value}",
        "title": words.title,
        "status": row.status,
        "code": code.value,
        "detail": words.detail,
        "hint": words.hint,
        "retry": row.retry,
        "request_id": request_id,
        "server_time": now,
    }
    if code is error.code:
        members |= {name: value for name, value in error.facts.items() if name in PUBLIC_FACTS}
    members |= extra or {}
    headers = [
        (b"content-type", PROBLEM_TYPE.encode("ascii")),
        (b"content-language", language.encode("ascii")),
        (b"cache-control", b"no-store"),
    ]
    if row.retry_after_s is not None:
        wait_s = error.facts.get("retry_after_s", row.retry_after_s) if code is error.code else row.retry_after_s
        headers.append((b"retry-after", str(wait_s).encode("ascii")))
    if "methods" in error.facts:
        methods = set(error.facts["methods"])
        # Whatever answers GET answers HEAD (edge.py).
        methods |= {"HEAD"} if "GET" in methods else set()
        headers.append((b"allow", ", ".join(sorted(methods)).encode("ascii")))
    if row.status == 401:
        headers += challenge_headers(error)
    return Problem(row.status, headers, canonical(members))


def language_of(accept_language: str | None) -> Language:
    """Spanish unless English is preferred (R-50). Quality values decide; what cannot be read counts as Spanish."""
    best: tuple[float, Language] = (0.0, "es")
    for part in (accept_language or "").split(",")[:20]:
        tag, _, quality = part.strip().partition(";q=")
        primary = tag.strip().lower().partition("-")[0]
        try:
            weight = float(quality) if quality else 1.0
        except ValueError:
            weight = 0.0
        if primary in ("es", "en") and weight > best[0]:
            best = (weight, "en" if primary == "en" else "es")
    return best[1]
