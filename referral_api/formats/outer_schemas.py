"""JSON Schemas of what hot code reads by hand: keys, act payload, JWS, bundle, routing header, contents, leaf.

They say for implementers what keys.py, act.py, signed.py, bundle.py, contents.py and the log's leaf accept. Tests hold
each of them against documents that the code itself makes, and against wrong ones that it refuses.

Must never: be read at run time; the parsers decide.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from referral_api.domain import words
from referral_api.formats.bundle import (
    CONTENT_TYPES,
    ENC,
    JWE_TYPE,
    MAX_ATTACHMENT_BYTES,
    MAX_ATTACHMENTS,
    MAX_RECIPIENTS,
    SealRole,
)
from referral_api.formats.contents import ATTACHMENT_CIPHER, MAX_NOTE_CHARACTERS, ForwardReason
from referral_api.formats.keys import ENCRYPTION_ALGS, SIGNATURE_ALGS, Alg
from referral_api.formats.signed import TYPES
from referral_api.formats.strict_json import MAX_SAFE_INTEGER

Schema = Mapping[str, Any]


def _text(pattern: str, **more: Any) -> Schema:
    return {"type": "string", "pattern": f"^(?:{pattern})$", **more}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _object(description: str, members: Mapping[str, Schema], *, optional: Mapping[str, Schema] | None = None) -> Schema:
    return {
        "description": description,
        "type": "object",
        "properties": {**members, **(optional or {})},
        "required": list(members),
        "additionalProperties": False,
    }


def _array(items: Schema, least: int, most: int) -> Schema:
    return {"type": "array", "items": items, "minItems": least, "maxItems": most}


def _one_of(values: Any) -> Schema:
    return {"type": "string", "enum": sorted(values)}


BASE64URL = _text(r"[A-Za-z0-9_-]+", description="Canonical base64url without padding.")
DIGEST, PARTY, CREDENTIAL = _text(words.DIGEST), _text(words.PARTY_ID), _text(words.CREDENTIAL_ID)
REF, ACT_ID = _text(words.UUID7), _text(words.UUID4)
COUNT: Schema = {"type": "integer", "minimum": 0, "maximum": MAX_SAFE_INTEGER}
ONE: Schema = {"const": 1}

_ADDRESSES = _array(
    _object("One key that can open the bundle.", {"party": PARTY, "kid": DIGEST, "role": _one_of(SealRole)}),
    1,
    MAX_RECIPIENTS,
)
_SIZE: Schema = {"type": "integer", "minimum": 1, "maximum": MAX_ATTACHMENT_BYTES}
_ATTACHMENT_ID = _text(r"a(?:0|[1-9][0-9]?)")

_ACT_PAYLOAD = _object(
    "What an act's signatures cover (R-11). `body` has a schema of its own in acts/, by the value of `act`.",
    {
        "v": ONE,
        "id": ACT_ID,
        "iss": CREDENTIAL,
        "party": PARTY,
        "aud": {"type": "string", "minLength": 1, "maxLength": 400},
        "iat": COUNT,
        "act": {"type": "string", "enum": [act.value for act in words.Act]},
        "ref": _or_null(REF),
        "unit": _or_null(PARTY),
        "prev": _or_null(DIGEST),
        "body": {"type": "object"},
    },
)
_JWS = _object(
    "JWS General JSON serialisation of acts, receipts, contents and key entries (RFC 7515 §7.2.1, narrowed).",
    {
        "payload": BASE64URL,
        "signatures": _array(_object("One signature.", {"protected": BASE64URL, "signature": BASE64URL}), 1, 2),
    },
)
_JWS_HEADER = _object(
    "The decoded protected header of each signature: these three members and nothing else.",
    {"alg": _one_of(SIGNATURE_ALGS), "kid": DIGEST, "typ": _one_of(TYPES)},
)
_BUNDLE = _object(
    "A sealed bundle: JWE General JSON serialisation (RFC 7516 §7.2.1, narrowed). `aad` is the routing header.",
    {
        "protected": BASE64URL,
        "aad": BASE64URL,
        "recipients": _array(
            _object(
                "The content key for one recipient, in the order of the routing header's `to`.",
                {
                    "header": _object(
                        "Algorithm, key and encapsulated secret.",
                        {"alg": _one_of(ENCRYPTION_ALGS), "kid": DIGEST, "ek": BASE64URL},
                    ),
                    "encrypted_key": _text(r"[A-Za-z0-9_-]{64}"),
                },
            ),
            1,
            MAX_RECIPIENTS,
        ),
        "iv": _text(r"[A-Za-z0-9_-]{16}"),
        "ciphertext": BASE64URL,
        "tag": _text(r"[A-Za-z0-9_-]{21}[AQgw]"),
    },
)
_BUNDLE_HEADER = _object(
    "The decoded protected header of a bundle.",
    {"enc": {"const": ENC}, "typ": {"const": JWE_TYPE}, "cty": _one_of(CONTENT_TYPES)},
)
_ROUTING = _object(
    "The routing header: the part of a bundle that travels in clear, authenticated by the envelope.",
    {
        "v": ONE,
        "ref": REF,
        "from": PARTY,
        "to": _ADDRESSES,
        "kc": DIGEST,
        "att": _array(
            _object(
                "One attachment: its parts manifest, and its size as encrypted.",
                {"id": _ATTACHMENT_ID, "manifest": DIGEST, "size": _SIZE},
            ),
            0,
            MAX_ATTACHMENTS,
        ),
    },
)
_FRAME: Mapping[str, Schema] = {
    "v": ONE,
    "t": {"type": "string"},
    "ref": REF,
    "iss": CREDENTIAL,
    "party": PARTY,
    "aud": _text(r"https?://[!-~]{1,240}"),
    "to": _ADDRESSES,
    "sigs": {**_array(_one_of(SIGNATURE_ALGS), 1, 2), "uniqueItems": True},
    "hdr": DIGEST,
    "keys_log": _object(
        "The keys log as the sender saw it.", {"origin": _text(r"[!-*,-~]{1,240}"), "size": COUNT, "root": DIGEST}
    ),
    "salt": _text(r"[A-Za-z0-9_-]{21}[AQgw]"),
    "iat": COUNT,
}
_ATTACHMENT_KEY = _object(
    "How to open one attachment; size and digest are of the plaintext.",
    {
        "id": _ATTACHMENT_ID,
        "name": _text(r"[^\x00-\x1f\x7f/\\]{1,120}"),
        "type": _text(r"[a-z0-9][a-z0-9.+-]{0,60}/[a-z0-9][a-z0-9.+-]{0,80}"),
        "size": {**_SIZE, "minimum": 0},
        "sha256": DIGEST,
        "enc": {"const": ATTACHMENT_CIPHER},
        "key": DIGEST,
    },
)
_SHORT = _text(r"[^\x00-\x1f\x7f]{1,64}")
_NOTE_BODY = _object(
    "The sealed words beside an act, with the unit's own file number and contact where they apply.",
    {"act": ACT_ID, "text": {"type": "string", "maxLength": MAX_NOTE_CHARACTERS}},
    optional={"case_number": _SHORT, "contact": _SHORT},
)

_FULL = r"[A-Za-z0-9_-]"


def _jwk(alg: Alg, kty: str, material: Mapping[str, Schema], crv: str | None = None) -> Schema:
    fixed: Mapping[str, Schema] = {"alg": {"const": alg.value}, "kty": {"const": kty}}
    return _object(f"A public key for {alg.value}.", {**fixed, **({"crv": {"const": crv}} if crv else {}), **material})


_JWK: Schema = {
    "description": "A public key: exactly these members; `kid` is its RFC 7638 thumbprint, always recomputed (R-06).",
    "oneOf": [
        _jwk(Alg.ED25519, "OKP", {"x": DIGEST}, "Ed25519"),
        _jwk(Alg.ES256, "EC", {"x": DIGEST, "y": DIGEST}, "P-256"),
        _jwk(Alg.ML_DSA_65, "AKP", {"pub": _text(_FULL + r"{2602}[AEIMQUYcgkosw048]")}),
        _jwk(Alg.HPKE_9, "AKP", {"pub": _text(_FULL + r"{1621}[AQgw]")}),
        _jwk(Alg.HPKE_10, "AKP", {"pub": _text(_FULL + r"{2220}")}),
    ],
}

OUTER: Mapping[str, Schema] = {
    "jwk": _JWK,
    "act-payload": _ACT_PAYLOAD,
    "jws": _JWS,
    "jws-header": _JWS_HEADER,
    "bundle": _BUNDLE,
    "bundle-header": _BUNDLE_HEADER,
    "routing-header": _ROUTING,
    "contents/bundle": _object(
        "What the sender of a referral signs and seals. `referral` has the schema referral.json.",
        {
            **_FRAME,
            "t": {"const": "bundle"},
            "referral": {"$ref": "urn:referral-1:schema:referral"},
            "attachments": _array(_ATTACHMENT_KEY, 0, MAX_ATTACHMENTS),
        },
    ),
    "contents/forward": _object(
        "A second envelope around the first bundle's JWS, verbatim: re-wrap, re-seal or transfer.",
        {
            **_FRAME,
            "t": {"const": "forward"},
            "reason": _one_of(ForwardReason),
            "prev": DIGEST,
            "original": {"type": "string", "pattern": r"^[\x00-\x7f]+$"},
        },
    ),
    "contents/note": _object(
        "The sealed words beside a later act.", {**_FRAME, "t": {"const": "note"}, "note": _NOTE_BODY}
    ),
    "leaf": _object(
        "A leaf of the audit log: canonical JSON, members in this order, no space (R-91).",
        {
            "d": DIGEST,
            "k": {"type": "string", "enum": ["act", "server", "access", "system", "erase"]},
            "t": COUNT,
            "v": ONE,
        },
    ),
}
"""By the path of the schema below schemas/, without `.json`."""
