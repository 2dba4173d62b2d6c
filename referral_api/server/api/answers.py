"""What each call answers, as JSON Schemas for openapi.yaml: the views, inboxes, logs and tables of docs/protocol.md §8.

They are for who writes a client; tests hold real answers against them. A later version may add members, so a reader
passes over what it does not know.

Must never: be read at run time, or promise what a client must verify: signed texts are strings here.
"""

from __future__ import annotations

from typing import Any, Final

from referral_api.auditlog.figures import RANKS, TABLES, URGENCIES
from referral_api.auditlog.records import KINDS
from referral_api.domain.clocks import Clock
from referral_api.domain.disclosure import THRESHOLD
from referral_api.domain.words import (
    DIGEST,
    PARTY_ID,
    UUID4,
    UUID7,
    Act,
    CredentialKind,
    DeliveryRole,
    Investigation,
    Role,
    State,
    Urgency,
)
from referral_api.server.service.enrolment import Turn

Schema = dict[str, Any]


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _text(pattern: str) -> Schema:
    return {"type": "string", "pattern": f"^{pattern}$"}


def _of(values: Any) -> Schema:
    return {"type": "string", "enum": sorted(map(str, values))}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _object(optional: dict[str, Schema] | None = None, **members: Schema) -> Schema:
    return {"type": "object", "required": list(members), "properties": members | (optional or {})}


TEXT: Final[Schema] = {"type": "string"}
_COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
_SECONDS: Final[Schema] = {"type": "integer", "description": "Unix seconds by the exchange's clock"}
_FLAG: Final[Schema] = {"type": "boolean"}
_PARTY, _DIGEST, _REF, _ID = _text(PARTY_ID), _text(DIGEST), _text(UUID7), _text(UUID4)
_ACT, _STATE, _URGENCY = _of(Act), _of(State), _of(Urgency)
_JWS: Final[Schema] = {**TEXT, "description": "JWS (R-08), verbatim"}
_RECEIPT: Final[Schema] = {**TEXT, "description": "JWS, see schemas/receipt-payload.json"}
_PROOF: Final[Schema] = {**TEXT, "description": "C2SP tlog-proof; its extra line is the leaf (R-18)"}
_YEAR: Final[Schema] = {"type": "integer", "minimum": 1000, "maximum": 7999}
_TERM: Final[dict[str, Schema]] = {"term": {"type": "integer", "minimum": 2, "maximum": 9}}
"""Beside `year` where the log is not that year's first (R-90)."""
_CELL: Final[Schema] = _or_null(_COUNT)
"""A figure, or null for a blank (R-103)."""

_PROVED = _object(receipt=_RECEIPT, proof=_PROOF)
_DELIVERY = _object(
    unit=_PARTY,
    role=_of(DeliveryRole),
    state=_STATE,
    head=_DIGEST,
    due=_or_null(_object(clock=_of(Clock), due_at=_SECONDS)),
    allowed=_list(_ACT),
    investigation=_list(_of(Investigation)),
    retrieved_at=_or_null(_SECONDS),
    taken=_FLAG,
    holds=_list(_object(party=_PARTY, review_at=_SECONDS)),
    purge_at=_or_null(_SECONDS),
    purged_at=_or_null(_SECONDS),
    open=_list(_object(act=_ACT, digest=_DIGEST)),
)
_VIEW = _object(
    ref=_REF,
    relation=_of(("sender", "recipient", "stranger")),
    urgency=_URGENCY,
    rules=_or_null(_JWS),
    deliveries=_list({"$ref": "#/components/schemas/Delivery"}),
    acts=_list(
        _object(_TERM, act=_JWS, receipt=_or_null(_RECEIPT), year=_YEAR, index=_COUNT, sealed=_or_null(_DIGEST))
    ),
    records=_list(_object(_TERM, kind=_of(("retrieved",)), unit=_PARTY, time=_SECONDS, year=_YEAR, index=_COUNT)),
    related=_list(_REF),
)
_LINE = _object(
    _TERM,
    **{
        "year": _YEAR,
        "index": _COUNT,
        "kind": _of({*Act, "retrieved"}),
        "id": _or_null(_ID),
        "act": _DIGEST,
        "ref": _or_null(_REF),
        "unit": _or_null(_PARTY),
        "from": _PARTY,
        "urgency": _or_null(_URGENCY),
        "time": _SECONDS,
        "pending": _FLAG,
        "answered_by": _list(_ACT),
    },
)
_LISTED = _object(
    id=_PARTY,
    role=_of(Role),
    entry={"type": "object", "description": "As `entry` in schemas/acts/statement.json"},
    statement=_object(digest=_DIGEST, seq=_COUNT, index=_COUNT),
    live_at=_or_null(_SECONDS),
    live=_FLAG,
)
_PERCENTILES = _object(**{one: _object(**{f"p{rank}": _CELL for rank in RANKS}) for one in URGENCIES})
_STATISTICS = _object(
    v={"const": 1},
    year=_YEAR,
    threshold={"const": THRESHOLD},
    tables=_object(
        **{one.name: _object(total=_CELL, cells=_object(**dict.fromkeys(one.codes, _CELL))) for one in TABLES}
    ),
    times_s=_object(created_to_sent=_PERCENTILES, sent_to_acknowledged=_PERCENTILES),
    percent=_object(
        acknowledged_on_time=_object(**dict.fromkeys((*URGENCIES, "all"), _CELL)), outcomes_known=_object(all=_CELL)
    ),
    erased=_CELL,
    calls=_object(months=_COUNT, total=_CELL, per_referral=_CELL),
)
_RECORD = _object(
    {"receipt": _or_null(_RECEIPT)},
    index=_COUNT,
    kind=_of(KINDS | {act.value for act in Act}),
    record={**TEXT, "description": "The exact bytes behind the leaf"},
)
_RECORDS = _object(records=_list({"$ref": "#/components/schemas/LoggedRecord"}), next=_or_null(_COUNT), reading=TEXT)
_CONSISTENCY = _object({"following": TEXT}, **{"from": _COUNT, "to": _COUNT, "proof": _list(TEXT), "checkpoint": TEXT})
_TURN = _object(enrolment=_ID, party=_PARTY, turn=_of(Turn), expires_at=_SECONDS)
_WAITING = _object(
    id=_ID,
    party=_PARTY,
    nonce=TEXT,
    keys=_list(TEXT),
    proposal={"type": "object"},
    statement=_or_null(_JWS),
    expires_at=_SECONDS,
    turn=_of(Turn),
)

_COMPONENTS: Final[dict[str, Schema]] = {
    "Answer": {**_PROVED, "properties": {**_PROVED["properties"], "route": _PROVED}},
    "Proved": _PROVED,
    "Referral": _VIEW,
    "Delivery": _DELIVERY,
    "Inbox": _object(
        entries=_list({"$ref": "#/components/schemas/InboxLine"}),
        cursor=TEXT,
        more=_FLAG,
        poll_after_s=_COUNT,
        server_time=_SECONDS,
    ),
    "InboxLine": _LINE,
    "Party": _LISTED,
    "Parties": _object(parties=_list({"$ref": "#/components/schemas/Party"}), server_time=_SECONDS),
    "Statistics": _STATISTICS,
    "LoggedRecord": _RECORD,
    "Records": _RECORDS,
    "Record": _object(records=_list({"$ref": "#/components/schemas/LoggedRecord"}), reading=TEXT),
    "Consistency": _CONSISTENCY,
    "Beginning": _object(records=_list(_object(index=_COUNT, record=TEXT, proof=_PROOF))),
    "Ping": _object(
        credential=TEXT,
        party=_PARTY,
        role=_of(Role),
        kind=_of(CredentialKind),
        environment=TEXT,
        version=TEXT,
        server_time=_SECONDS,
    ),
    "Challenges": _object(enrolment=_ID, challenges=_list(_object(kid=_DIGEST, sealed=TEXT))),
    "Turn": _TURN,
    "Waiting": _object(enrolments=_list(_WAITING)),
    "Token": _object({"scope": TEXT}, access_token=TEXT, token_type=_of(("DPoP",)), expires_in=_COUNT),
}
_NAMED: Final[dict[str, str]] = {
    "put_referral": "Answer",
    "put_act": "Answer",
    "put_directory_act": "Answer",
    "get_receipt": "Proved",
    "get_referral": "Referral",
    "get_inbox": "Inbox",
    "get_parties": "Parties",
    "get_party": "Party",
    "get_statistics": "Statistics",
    "get_records": "Records",
    "get_record": "Record",
    "get_keys_consistency": "Consistency",
    "get_audit_consistency": "Consistency",
    "get_audit_beginning": "Beginning",
    "get_ping": "Ping",
    "post_enrolment": "Challenges",
    "put_enrolment": "Turn",
    "get_enrolment": "Turn",
    "get_enrolments": "Waiting",
    "post_token": "Token",
}


def answer_schemas() -> dict[str, Schema]:
    """The schemas that openapi.yaml names, each written out: YAML would mark what two of them share."""
    return {name: _written_out(schema) for name, schema in _COMPONENTS.items()}


def _written_out(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _written_out(inside) for name, inside in value.items()}
    return [_written_out(inside) for inside in value] if isinstance(value, list) else value


def answer_of(operation: str) -> Schema:
    """The schema of what an operation answers in JSON; of others, whose form a standard gives, that it is an object."""
    name = _NAMED.get(operation)
    return {"type": "object"} if name is None else {"$ref": f"#/components/schemas/{name}"}
