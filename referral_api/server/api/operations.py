"""Every call of the exchange in one table: method, path, handler, whether it is hot (docs/protocol.md §8).

The edge dispatches hot calls straight to their handlers; FastAPI serves the others through the same handlers and
documents all of them. A call that is not in this table does not exist.

Must never: hold logic; a row is data.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.policy import Action, Read
from referral_api.domain.terms import TERM
from referral_api.domain.words import CREDENTIAL_ID, DIGEST, PARTY_ID, UUID4, UUID7, Act
from referral_api.server.api import directory, evidence, exchange, statistics
from referral_api.server.api.call import MAX_BODY_BYTES, MAX_PUT_BYTES, Call, Reply
from referral_api.server.api.site import Site

Handler = Callable[[Site, Call], Awaitable[Reply]]
PATTERNS = {
    "ref": UUID7,
    "id": UUID4,
    "digest": DIGEST,
    "enrolment": UUID4,
    "party": PARTY_ID,
    "credential": CREDENTIAL_ID,
    "term": TERM,
    "index": "[0-9]{1,10}",
    "path": r"[0-9a-z./]{1,80}",
}
"""What a path's parameters look like; a path that does not match is 404 like any other unknown one."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One call. `action` is the right that the caller needs (None: public, or checked by an invitation)."""

    name: str
    method: str
    path: str
    handler: Handler
    action: Action | None
    summary: str
    hot: bool = False
    max_body: int = MAX_BODY_BYTES
    statuses: tuple[int, ...] = ()

    @property
    def pattern(self) -> re.Pattern[str]:
        """The path as a regular expression with the parameters as groups."""
        return re.compile(re.sub(r"\{(\w+)\}", lambda m: f"(?P<{m[1]}>{PATTERNS[m[1]]})", self.path))


def _op(
    name: str, call: str, handler: Handler, action: Action | None, summary: str, *statuses: int, hot: bool = False
) -> Operation:
    method, _, path = call.partition(" ")
    largest = MAX_PUT_BYTES if name in ("put_referral", "put_act") else MAX_BODY_BYTES
    return Operation(name, method, path, handler, action, summary, hot=hot, max_body=largest, statuses=statuses)


R = "/v1/referrals/{ref}"
OPERATIONS: tuple[Operation, ...] = (
    _op(
        "get_metadata",
        "GET /.well-known/oauth-authorization-server",
        directory.get_metadata,
        None,
        "Authorization server metadata (RFC 8414)",
        200,
    ),
    _op("get_jwks", "GET /.well-known/jwks.json", directory.get_jwks, None, "Public keys of the exchange", 200),
    _op(
        "get_configuration",
        "GET /.well-known/referral-configuration",
        directory.get_configuration,
        None,
        "Endpoints, limits, clocks, logs",
        200,
    ),
    _op("post_token", "POST /oauth/token", directory.post_token, None, "Access token (R-40)", 200, 400, 401, 429, 503),
    _op("get_ping", "GET /v1/ping", directory.get_ping, Read.PING, "Who am I", 200),
    _op("get_parties", "GET /v1/parties", directory.get_parties, Read.DIRECTORY, "The directory", 200),
    _op("get_party", "GET /v1/parties/{party}", directory.get_party, Read.DIRECTORY, "One party", 200),
    _op("post_enrolment", "POST /v1/enrolments", directory.post_enrolment, None, "Begin an enrolment", 201),
    _op("get_enrolments", "GET /v1/enrolments", directory.get_enrolments, Read.ENROLMENTS, "Waiting enrolments", 200),
    _op("put_enrolment", "PUT /v1/enrolments/{enrolment}", directory.put_enrolment, None, "Complete one", 200),
    _op("get_enrolment", "GET /v1/enrolments/{enrolment}", directory.get_enrolment, None, "Whose turn it is", 200),
    _op(
        "put_directory_act",
        "PUT /v1/directory/acts/{id}",
        directory.put_directory_act,
        Act.STATEMENT,
        "An act about parties and keys",
        200,
        201,
    ),
    _op("put_referral", f"PUT {R}", exchange.put_referral, Act.SUBMIT, "Submit a referral", 200, 201, hot=True),
    _op("put_act", f"PUT {R}/acts/{{id}}", exchange.put_act, Act.ACK, "Any later act", 200, 201, hot=True),
    _op("get_referral", f"GET {R}", exchange.get_referral, Read.REFERRAL, "Acts and states", 200, 304, hot=True),
    _op("get_bundle", f"GET {R}/bundle", exchange.get_bundle, Read.BUNDLE, "The sealed bundle", 200, hot=True),
    _op(
        "get_sealed",
        f"GET {R}/sealed/{{digest}}",
        exchange.get_sealed,
        Read.SEALED,
        "What went sealed beside an act",
        200,
        hot=True,
    ),
    _op("get_inbox", "GET /v1/inbox", exchange.get_inbox, Read.INBOX, "The caller's inbox", 200, hot=True),
    _op("get_receipt", "GET /v1/receipts/{digest}", evidence.get_receipt, Read.RECEIPT, "Receipt and fresh proof", 200),
    _op(
        "get_keys_checkpoint",
        "GET /v1/log/keys/checkpoint",
        evidence.get_checkpoint,
        Read.KEYS_LOG,
        "Newest checkpoint",
        200,
    ),
    _op(
        "get_keys_consistency",
        "GET /v1/log/keys/consistency",
        evidence.get_consistency,
        Read.CONSISTENCY,
        "Growth of the keys log",
        200,
    ),
    _op("get_keys_tile", "GET /v1/log/keys/tile/{path}", evidence.get_tile, Read.KEYS_LOG, "Keys log tile", 200),
    _op(
        "get_audit_checkpoint",
        "GET /v1/log/audit/{term}/checkpoint",
        evidence.get_checkpoint,
        Read.AUDIT_LOG,
        "Newest checkpoint of a term",
        200,
    ),
    _op(
        "get_audit_consistency",
        "GET /v1/log/audit/{term}/consistency",
        evidence.get_consistency,
        Read.CONSISTENCY,
        "Growth of an audit log",
        200,
    ),
    _op(
        "get_audit_beginning",
        "GET /v1/log/audit/{term}/beginning",
        evidence.get_beginning,
        Read.CONSISTENCY,
        "What an audit log continues, and what was lost before it",
        200,
    ),
    _op("get_audit_tile", "GET /v1/log/audit/{term}/tile/{path}", evidence.get_tile, Read.AUDIT_LOG, "Audit tile", 200),
    _op("get_records", "GET /v1/records/{term}", evidence.get_records, Read.RECORDS, "Records behind leaves", 200),
    _op("get_record", "GET /v1/records/{term}/{index}", evidence.get_record, Read.RECORDS, "One record", 200),
    _op("get_evidence", "GET /v1/evidence/{ref}", evidence.get_evidence, Read.EVIDENCE, "Evidence pack", 200),
    _op("get_statistics", "GET /v1/statistics", statistics.get_statistics, Read.STATISTICS, "Annual tables", 200),
)

_COMPILED = [(operation, operation.pattern) for operation in OPERATIONS]
_HOT = [(operation, pattern) for operation, pattern in _COMPILED if operation.hot]


def find_operation(method: str, path: str, *, hot_only: bool = False) -> tuple[Operation, dict[str, str]]:
    """The operation for a request, with its path parameters.

    Raises NOT_FOUND for a path that is nothing, METHOD_NOT_ALLOWED with `methods` for one that takes others.
    """
    methods = []
    for operation, pattern in _HOT if hot_only else _COMPILED:
        match = pattern.fullmatch(path)
        if match is not None:
            if operation.method == method:
                return operation, match.groupdict()
            methods.append(operation.method)
    if methods:
        raise ReferralError(ErrorCode.METHOD_NOT_ALLOWED, methods=sorted(methods))
    raise ReferralError(ErrorCode.NOT_FOUND)
