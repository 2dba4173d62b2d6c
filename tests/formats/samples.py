"""One full and one sparse body of every act, for the tests of bodies and schemas."""

from __future__ import annotations

from typing import Any

from referral_api.domain.rules import DEFAULT, Rules
from referral_api.domain.words import Act, Role
from referral_api.formats.exchange_bodies import rules_wire

D1, D2, D3 = "A" * 43, "B" * 42 + "A", "C" * 42 + "A"
REF = "0199b0a4-0000-7000-8000-000000000001"
NOON = 1_795_000_000
SEALED = {"sha256": D1, "size": 49_152}


def kid(number: int) -> str:
    """A thumbprint-shaped text, another one for every number."""
    return f"{number:042d}A"


def submit() -> dict[str, Any]:
    """The smallest submission."""
    return {
        "bundle": dict(SEALED),
        "to": [{"unit": "pnp-trata-piura", "role": "action"}],
        "urgency": "routine",
        "basis": "consent",
        "identity_level": "identified",
        "retention_class": "standard",
        "created_at": NOON,
    }


def full_submit() -> dict[str, Any]:
    """A submission with every member."""
    return submit() | {
        "to": [
            {"unit": "pnp-trata-piura", "role": "action"},
            {"unit": "pnp-region-piura", "role": "escalation"},
            {"unit": "fiscalia-piura", "role": "information"},
        ],
        "urgency": "emergency",
        "basis": "vital_interest",
        "override": {"reason": "held_captive", "second_person": "linea-peru.sup1"},
        "retention_class": "short",
        "relation": {"type": "supplements", "ref": REF},
        "agreement": "mou-2026-03",
        "phone_alert": {"made": True, "at": NOON, "to_unit": "pnp-trata-piura", "by": "op-2"},
        "operator": "op-2",
    }


def entry() -> dict[str, Any]:
    """The directory entry of a police unit."""
    return {
        "id": "pnp-trata-piura",
        "role": "police_unit",
        "name": "Departamento contra la Trata de Personas – Piura",
        "duty_phone": "+51730000199",
        "area": ["20", "2401"],
        "parent": "pnp-region-piura",
        "escalation": ["pnp-region-piura", "pnp-dirctptim"],
        "hours": "24x7",
        "languages": ["spa", "que"],
        "specialities": ["trafficking", "children"],
    }


def statement() -> dict[str, Any]:
    """The first statement of a unit with one keyholder, one service and two encryption keys."""
    return {
        "seq": 1,
        "prev_statement": None,
        "entry": entry(),
        "credentials": [
            {
                "id": "ab12",
                "kind": "person",
                "keyholder": True,
                "operator": "op-2",
                "access": kid(1),
                "seal": [kid(2), kid(3)],
                "require": ["Ed25519", "ML-DSA-65"],
                "from": NOON,
                "until": NOON + 31_536_000,
            },
            {"id": "svc1", "kind": "service", "access": kid(4), "seal": [], "until": NOON + 31_536_000},
        ],
        "enc": [
            {"kid": kid(5), "use": "enc", "from": NOON, "until": NOON + 2_592_000},
            {"kid": kid(6), "use": "backup", "from": NOON, "until": NOON + 31_536_000},
        ],
    }


def genesis() -> dict[str, Any]:
    """The first act of an exchange without witnesses."""
    key = {"alg": "Ed25519", "crv": "Ed25519", "kty": "OKP", "x": D1}
    uses = ("token", "receipt", "act", "log")
    return {
        "issuer": "https://exchange.example",
        "environment": "production",
        "keys": [{"kid": kid(number), "jwk": key, "use": use} for number, use in enumerate(uses)],
        "witness_policy": "none",
        "registrars_required": 2,
    }


def _full_genesis() -> dict[str, Any]:
    document = genesis()
    document["issuer"] = "http://127.0.0.1:8443/ex"
    document["keys"][0]["jwk"] = {"alg": "ES256", "crv": "P-256", "kty": "EC", "x": D1, "y": D2}
    document["keys"][2]["jwk"] = {"alg": "ML-DSA-65", "kty": "AKP", "pub": "a" * 2602 + "A"}
    document["log_origins"] = {"audit": "exchange.example/audit", "keys": "exchange.example/keys"}
    document["witness_policy"] = {"quorum": 1, "witnesses": ["witness.example+1a2b3c4d+" + "A" * 44]}
    return document


def copied() -> dict[str, Any]:
    """A copy, which only informs."""
    to = [{"unit": "pnp-trata-lima", "role": "information"}, {"unit": "fiscalia-lima", "role": "information"}]
    return submit() | {"to": to, "relation": {"type": "copy_of", "ref": REF}}


SAMPLES: dict[Act, list[dict[str, Any]]] = {
    Act.SUBMIT: [submit(), full_submit(), copied()],
    Act.ROUTE: [{"excluded": ["pnp-comisaria-sur"]}],
    Act.PHONE_ALERT: [
        {"made": False},
        {"made": True, "at": NOON, "to_unit": "pnp-trata-piura", "by": "op-2", "answers": D1},
    ],
    Act.SUPPLEMENT: [{"sealed": SEALED}],
    Act.WITHDRAW: [{"reason": "safety_risk"}, {"reason": "court_order", "sealed": SEALED}],
    Act.CONSENT_WITHDRAWN: [{}, {"sealed": SEALED}],
    Act.ACK: [
        {"bundle": D1, "submit": D2, "decrypted": True},
        {"bundle": D1, "submit": D2, "decrypted": True, "parts": [D3]},
    ],
    Act.RECEIPT_FAILED: [{"reason": "malformed"}, {"reason": "cannot_decrypt", "bundle": D1, "kid": kid(5)}],
    Act.ACCEPT: [{}, {"joint": "joint_operation", "sealed": SEALED}],
    Act.DECLINE: [
        {"reason": "no_capacity"},
        {"reason": "duplicate_of", "duplicate_of": REF, "suggested_unit": "pnp-trata-lima", "sealed": SEALED},
        {"reason": "other", "sealed": SEALED, "answers": D1},
    ],
    Act.TRANSFER: [{"to": "pnp-trata-lima", "reason": "victim_moved", "sealed": SEALED}],
    Act.STATUS: [{"code": "victim_safe"}, {"code": "cannot_disclose", "corrects": D1, "sealed": SEALED}],
    Act.WITHDRAWAL_ANSWER: [
        {"code": "already_acted", "answers": D1},
        {"code": "stopped_and_destroyed", "answers": D1, "sealed": SEALED},
    ],
    Act.NOTE: [{"sealed": SEALED}],
    Act.ASK: [{"topics": ["timing"]}, {"topics": ["timing", "evidence"], "sealed": SEALED}],
    Act.ANSWER: [
        {"answers": D1, "code": "cannot_provide_unsafe"},
        {"answers": D1, "code": "provided", "sealed": SEALED},
    ],
    Act.APPROVE: [{"answers": D1}],
    Act.CLOSE: [{"outcome": "trafficking_confirmed"}, {"outcome": "other_crime", "sealed": SEALED}],
    Act.REOPEN: [{"reason": "new_information"}, {"reason": "other", "sealed": SEALED}],
    Act.REWRAP: [{"original": D1, "reason": "new_workstation", "sealed": SEALED}],
    Act.HOLD: [
        {"on": True, "basis": "court_order", "review_at": NOON},
        {"on": False, "basis": "prosecutor_order"},
    ],
    Act.PURGE_REQUEST: [{"reason": "data_subject_request"}],
    Act.OVERDUE: [{"clock": "next_status", "due_at": NOON}],
    Act.ESCALATED: [{"reason": "ack_timeout", "rung": "release_parent"}],
    Act.RELEASED: [{"reason": "unit_offline"}],
    Act.TAKEN: [{"accept": D1}],
    Act.TELEPHONE_NOW: [{"reason": "receipt_failed"}],
    Act.EXPIRED: [{"due_at": NOON}],
    Act.UNIT_OFFLINE: [{}, {"last_seen_at": NOON}],
    Act.PURGE_DUE: [{"days": 14, "due_at": NOON}, {"days": 3, "due_at": NOON}],
    Act.RULES: [rules_wire(DEFAULT), rules_wire(Rules(transfers=Role.EXCHANGE))],
    Act.PURGED: [{"reason": "retention_ended", "sealed_count": 3, "parts_count": 0}],
    Act.ERASE: [
        {
            "origin": "exchange.example/audit/2026",
            "indices": [0, 7, 4096],
            "basis": "authority_order",
            "states": [{"unit": "pnp-trata-piura", "state": "purged", "investigation": "concluded"}],
        }
    ],
    Act.CALL_TOTAL: [{"month": "2026-10", "calls": 512}, {"month": "2000-01", "calls": 0}],
    Act.GENESIS: [genesis(), _full_genesis()],
    Act.INVITE: [
        {"nonce": D1, "party": entry(), "credential_kinds": ["person", "service"], "expires_at": NOON},
        {
            "nonce": D1,
            "party": {"id": "linea-peru", "role": "hotline", "name": "Línea de ayuda", "area": [], "escalation": []},
            "credential_kinds": ["person"],
            "expires_at": NOON,
        },
    ],
    Act.STATEMENT: [statement(), statement() | {"seq": 2, "prev_statement": D1, "credentials": [], "enc": []}],
    Act.APPROVE_STATEMENT: [
        {"party": "pnp-trata-piura", "statement": D1},
        {"party": "pnp-trata-piura", "statement": D1, "code_sha256": D2},
    ],
    Act.REVOKE: [{"kid": kid(1), "reason": "lost", "at": NOON}],
    Act.OBJECT: [{"statement": D1, "reason": "not_ours"}],
    Act.REKEY: [{"use": "receipt", "kid": kid(2), "replaces": kid(1), "from": NOON, "until": NOON + 86400}],
}
