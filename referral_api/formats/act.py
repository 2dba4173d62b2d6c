"""Acts: from received bytes to a statement whose signer is known (design §6, Act; docs/protocol.md §3).

Three steps, each a function, because between them the reader needs things that this floor may not have: `parse_act`
reads form and body, `verify_act` checks the signatures against keys that the caller looked up, `build_act` makes one.

Must never: decide whether an act is allowed, look up a key, or identify an act by its signature bytes.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import (
    ACCOUNTS,
    CREDENTIAL_ID,
    DIGEST,
    DIRECTORY_ACTS,
    PARTY_ID,
    UUID4,
    UUID7,
    WITHOUT_REFERRAL,
    Act,
    ActId,
    CredentialId,
    Digest,
    Kid,
    PartyId,
    ReferralId,
)
from referral_api.formats import bodies, signed
from referral_api.formats.directory_bodies import MAX_STATEMENT_BYTES
from referral_api.formats.fields import Document
from referral_api.formats.keys import Alg, PublicKey, SigningKey
from referral_api.formats.strict_json import canonical, parse

MAX_ACT_BYTES = 32 * 1024
MEMBERS = ("v", "id", "iss", "party", "aud", "iat", "act", "ref", "unit", "prev", "body")
_MEMBER_SET = frozenset(MEMBERS)
_PATTERNS = {
    "id": re.compile(UUID4),
    "iss": re.compile(CREDENTIAL_ID),
    "party": re.compile(PARTY_ID),
    "ref": re.compile(UUID7),
    "unit": re.compile(PARTY_ID),
    "prev": re.compile(DIGEST),
}
_MAX_ISSUER_CHARS = 400
_ALONE = DIRECTORY_ACTS | ACCOUNTS
"""Acts about no referral, which follow nothing."""


@dataclass(frozen=True, slots=True)
class RawAct:
    """A well-formed act whose signatures nobody has checked. Every field is what the document claims."""

    jws: signed.RawJws
    id: ActId
    iss: CredentialId
    party: PartyId
    aud: str
    iat: int
    act: Act
    ref: ReferralId | None
    unit: PartyId | None
    prev: Digest | None
    body: Document

    @property
    def digest(self) -> Digest:
        """The act digest: SHA-256 of the decoded payload (R-12)."""
        return self.jws.digest

    @property
    def leaf_digest(self) -> Digest:
        """SHA-256 of the JWS text as received: what its leaf commits to (R-91)."""
        return self.jws.raw_digest


@dataclass(frozen=True, slots=True)
class VerifiedAct:
    """An act whose every signature verified under its issuer's keys. Only `verify_act` makes one."""

    raw: RawAct

    @property
    def digest(self) -> Digest:
        """The act digest (R-12)."""
        return self.raw.digest


def parse_act(raw: bytes) -> RawAct:
    """Read an act: form, members, identifiers and the body of its kind (R-11).

    Raises TOO_LARGE, MALFORMED, WRONG_TYPE as formats/signed.py does, and ACT_SCHEMA with `where` and `reason`.
    """
    jws = signed.parse_jws(raw, typ=signed.ACT, max_bytes=MAX_ACT_BYTES)
    payload = parse(jws.payload, max_bytes=MAX_ACT_BYTES)
    if not isinstance(payload, dict) or payload.keys() != _MEMBER_SET:
        raise _schema("", "members")
    _check_members(payload)
    kind = Act(payload["act"])
    if kind is Act.STATEMENT and len(jws.payload) > MAX_STATEMENT_BYTES:
        raise ReferralError(ErrorCode.TOO_LARGE, limit=MAX_STATEMENT_BYTES)
    if not isinstance(payload["body"], dict):
        raise _schema("/body", "wrong-type")
    return RawAct(
        jws=jws,
        id=ActId(payload["id"]),
        iss=CredentialId(payload["iss"]),
        party=PartyId(payload["party"]),
        aud=payload["aud"],
        iat=payload["iat"],
        act=kind,
        ref=payload["ref"],
        unit=payload["unit"],
        prev=payload["prev"],
        body=bodies.parse_body(kind, payload["body"]),
    )


def verify_act(
    raw_act: RawAct, keys: Mapping[Kid, PublicKey] | Sequence[PublicKey], *, required: Collection[Alg] = ()
) -> VerifiedAct:
    """The act once all its signatures verify under `keys` (its issuer's) and every `required` algorithm is present.

    Raises ACT_SIGNATURE_INVALID with the `reason` of formats/signed.py: unknown-key, algorithm, required, forged
    (R-10).
    """
    try:
        signed.verify_jws(raw_act.jws, keys, required=required)
    except ReferralError as error:
        raise ReferralError(ErrorCode.ACT_SIGNATURE_INVALID, **error.facts) from None
    return VerifiedAct(raw_act)


def build_act(
    *,
    act_id: str,
    iss: str,
    aud: str,
    iat: int,
    act: Act,
    ref: str | None,
    unit: str | None,
    prev: str | None,
    body: Mapping[str, Any],
    signers: Sequence[SigningKey],
) -> bytes:
    """Sign one act; `iss` names the credential and, before the dot, its party. The result has passed `parse_act`.

    Raises what `parse_act` raises, so that nothing leaves that the exchange would refuse for its form.
    """
    payload = {
        "v": 1,
        "id": act_id,
        "iss": iss,
        "party": iss.partition(".")[0],
        "aud": aud,
        "iat": iat,
        "act": act.value,
        "ref": ref,
        "unit": unit,
        "prev": prev,
        "body": dict(body),
    }
    raw = signed.sign_jws(canonical(payload), typ=signed.ACT, signers=signers)
    parse_act(raw)
    return raw


def _check_members(payload: dict[str, Any]) -> None:
    if payload["v"] != 1 or isinstance(payload["v"], bool):
        raise _schema("/v", "not-in-list")
    if not isinstance(payload["act"], str) or payload["act"] not in Act._value2member_map_:
        raise _schema("/act", "not-in-list")
    for name, pattern in _PATTERNS.items():
        value = payload[name]
        if value is None and name in ("ref", "unit", "prev"):
            continue
        if not isinstance(value, str) or pattern.fullmatch(value) is None:
            raise _schema(f"/{name}", "bad-format")
    if not isinstance(payload["aud"], str) or not 0 < len(payload["aud"]) <= _MAX_ISSUER_CHARS:
        raise _schema("/aud", "bad-format")
    if type(payload["iat"]) is not int or payload["iat"] < 0:
        raise _schema("/iat", "wrong-type")
    if payload["iss"].partition(".")[0] != payload["party"]:
        raise _schema("/party", "contradiction")
    if (payload["ref"] is None) != (payload["act"] in WITHOUT_REFERRAL):
        raise _schema("/ref", "contradiction")
    if payload["act"] in _ALONE and (payload["unit"], payload["prev"]) != (None, None):
        raise _schema("/unit" if payload["unit"] is not None else "/prev", "contradiction")


def _schema(where: str, reason: str) -> ReferralError:
    return ReferralError(ErrorCode.ACT_SCHEMA, where=where, reason=reason)
