"""What openapi.yaml says of each operation: parameters, request, responses, security (design §7).

Generated from the operations table and compared byte for byte with the committed file; the schemas of signed documents
are in schemas/, which this document points to.

Must never: describe a status that no code sends, or leave out one that a code sends.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from referral_api.auditlog.records import KINDS
from referral_api.domain.policy import Read
from referral_api.domain.words import PARTY_ID, UUID7, Act
from referral_api.server.api.answers import answer_of, answer_schemas
from referral_api.server.api.evidence import MAX_SIZE_DIGITS
from referral_api.server.api.operations import PATTERNS, Operation
from referral_api.server.api.problems import PROBLEM_TYPE, TABLE

_TEXT = {"type": "string"}
_NUMBER = {"type": "integer"}
_LARGEST = 10**MAX_SIZE_DIGITS - 1
_SIZE = {"type": "integer", "minimum": 1, "maximum": _LARGEST}
_PROBLEM: dict[str, Any] = {
    "description": "Problem (RFC 9457); codes in docs/http.md",
    "content": {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
}
_BODIES: dict[str, dict[str, Any]] = {
    "put_referral": {"required": ["act", "bundle"], "properties": {"act": _TEXT, "bundle": _TEXT, "route": _TEXT}},
    "put_act": {"required": ["act"], "properties": {"act": _TEXT, "sealed": _TEXT}},
    "put_directory_act": {"required": ["act"], "properties": {"act": _TEXT, "enrolment": _TEXT}},
    "post_enrolment": {"required": ["enc"], "properties": {"enc": {"type": "array", "items": {"type": "object"}}}},
    "put_enrolment": {
        "required": ["keys", "possession", "proposal", "statement"],
        "properties": {
            "keys": {"type": "array", "items": _TEXT},
            "possession": {"type": "array", "items": {"type": "object"}},
            "proposal": {"type": "object"},
            "statement": {"type": ["string", "null"]},
        },
    },
}
_QUERIES: dict[str, dict[str, dict[str, Any]]] = {
    "get_inbox": {
        "after": {"type": "string", "maxLength": 64},
        "limit": {"type": "integer", "minimum": 1, "maximum": 200},
        "wait": {"type": "integer", "minimum": 0, "maximum": 25},
        "pending": {"type": "boolean"},
    },
    "get_records": {
        "from": {"type": "integer", "minimum": 0, "maximum": _LARGEST},
        "limit": {"type": "integer", "minimum": 1, "maximum": 200},
        "party": {"type": "string", "pattern": f"^{PARTY_ID}$"},
        "ref": {"type": "string", "pattern": f"^{UUID7}$"},
        "kind": {"type": "string", "enum": sorted(KINDS | {act.value for act in Act})},
        "since": {"type": "integer", "minimum": 0, "maximum": _LARGEST},
        "until": {"type": "integer", "minimum": 0, "maximum": _LARGEST},
    },
    "get_statistics": {"year": {"type": "integer", "minimum": 2000, "maximum": 7998}},
    "get_keys_consistency": {"from": _SIZE, "to": _SIZE},
    "get_audit_consistency": {"from": _SIZE, "to": _SIZE},
    "get_keys_checkpoint": {"cosigned": {"type": "integer", "enum": [1]}},
    "get_audit_checkpoint": {"cosigned": {"type": "integer", "enum": [1]}},
}
_REQUIRED_QUERIES = {
    ("get_keys_consistency", "from"), ("get_audit_consistency", "from"), ("get_statistics", "year"),
}  # fmt: skip
_MEDIA = {
    "get_bundle": "application/jose+json",
    "get_sealed": "application/jose+json",
    "get_keys_tile": "application/octet-stream",
    "get_audit_tile": "application/octet-stream",
    "get_keys_checkpoint": "text/plain",
    "get_audit_checkpoint": "text/plain",
    "get_evidence": "application/zip",
}
_AT_HAND = {
    "/.well-known/oauth-authorization-server",
    "/.well-known/jwks.json",
    "/.well-known/referral-configuration",
}
"""Answered without asking a thread for it, so that no queue can be full."""
_INVITED = {"post_enrolment", "put_enrolment", "get_enrolment"}


def document_of(operation: Operation) -> dict[str, Any]:
    """The arguments with which FastAPI documents an operation."""
    extra: dict[str, Any] = {"parameters": _parameters(operation)}
    if operation.name in _BODIES:
        schema = {"type": "object", "additionalProperties": False, **_BODIES[operation.name]}
        extra["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    if operation.name == "post_token":
        extra["requestBody"] = {
            "required": True,
            "content": {"application/x-www-form-urlencoded": {"schema": {"type": "object"}}},
        }
    if operation.action is not None:
        extra["security"] = [{"dpop": []}]
    description = (operation.handler.__doc__ or "").strip()
    return {
        "description": description,
        "responses": {status: _response(operation, status) for status in operation.statuses} | _problems(operation),
        "openapi_extra": extra,
        "tags": [_tag(operation)],
    }


def finish(app: FastAPI) -> dict[str, Any]:
    """The whole document, with the security scheme and the problem schema; made once."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title, version=app.version, summary=app.summary, routes=app.routes, openapi_version="3.1.0"
        )
        components = document.setdefault("components", {})
        components.pop("schemas", None)
        components["schemas"] = {"Problem": _problem_schema(), **answer_schemas()}
        components["securitySchemes"] = {
            "dpop": {
                "type": "http",
                "scheme": "DPoP",
                "description": "RFC 9449; token from POST /oauth/token with private_key_jwt (R-40 to R-45)",
            }
        }
        app.openapi_schema = document
    return app.openapi_schema


def _tag(operation: Operation) -> str:
    if operation.path.startswith("/v1/referrals") or operation.path == "/v1/inbox":
        return "exchange"
    if operation.action in (
        Read.RECEIPT,
        Read.CONSISTENCY,
        Read.AUDIT_LOG,
        Read.RECORDS,
        Read.KEYS_LOG,
        Read.EVIDENCE,
        Read.STATISTICS,
    ):
        return "evidence"
    return "directory"


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    found = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", "pattern": f"^{PATTERNS[name]}$"},
        }
        for name in re.findall(r"\{(\w+)\}", operation.path)
    ]
    for name, schema in _QUERIES.get(operation.name, {}).items():
        required = (operation.name, name) in _REQUIRED_QUERIES
        found.append({"name": name, "in": "query", "required": required, "schema": schema})
    if operation.name in _INVITED:
        found.append({"name": "Referral-Invitation", "in": "header", "required": True, "schema": _TEXT})
    if operation.name == "get_referral":
        found.append({"name": "If-None-Match", "in": "header", "required": False, "schema": _TEXT})
    return found


def _response(operation: Operation, status: int) -> dict[str, Any]:
    if status == 304:
        return {"description": "Nothing new since the ETag given"}
    if operation.name == "post_token" and status >= 400:
        content: dict[str, Any] = {"application/json": {"schema": {"type": "object"}}}
        if status in (429, 503):
            # A client that asks too often is told by OAuth, one that meets a full queue by the exchange.
            content |= _PROBLEM["content"]
        return {"description": "OAuth 2.0 error (RFC 6749 §5.2)", "content": content}
    media = _MEDIA.get(operation.name, "application/json")
    content = {media: {"schema": answer_of(operation.name) if media == "application/json" else _TEXT}}
    if operation.name == "get_statistics":
        content["text/csv"] = {"schema": {"type": "string"}}
    return {"description": "OK", "content": content}


def _problems(operation: Operation) -> dict[int | str, dict[str, Any]]:
    """The problems that this kind of call can meet, beside those that every call can."""
    statuses = {405, 413, 415, 431, 500, 503}
    if operation.path not in _AT_HAND:
        statuses.add(429)
    if operation.action is not None:
        statuses |= {401, 403}
    if operation.name in _QUERIES or operation.name in _BODIES or operation.name in _INVITED:
        statuses.add(400)
    if (
        "{" in operation.path
        or operation.name in _INVITED
        or operation.name in ("get_keys_checkpoint", "get_statistics")
    ):
        statuses.add(404)
    if operation.name in _BODIES:
        statuses |= {409, 422}
    if operation.name in _INVITED or operation.name == "put_directory_act":
        statuses |= {409, 410}
    return problems_of(statuses - set(operation.statuses))


def problems_of(statuses: Iterable[int]) -> dict[int | str, dict[str, Any]]:
    """Problem documents with these statuses, as FastAPI documents responses."""
    return dict.fromkeys(sorted(statuses), _PROBLEM)


def _problem_schema() -> dict[str, Any]:
    properties: dict[str, Any] = dict.fromkeys(("type", "title", "detail", "hint", "request_id"), _TEXT)
    properties["status"] = _NUMBER
    properties["server_time"] = _NUMBER
    properties["code"] = {"type": "string", "enum": sorted(code.value for code in TABLE)}
    properties["retry"] = {"type": "string", "enum": ["never", "same", "new-proof", "after"]}
    properties["receipt"] = _TEXT
    properties["proof"] = _TEXT
    return {"type": "object", "required": ["type", "title", "status", "code", "retry"], "properties": properties}
