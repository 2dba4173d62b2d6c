"""Acts as somebody may sign them who does not go by the rules: every member of the payload is the test's to choose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from referral_api.client.sdk import Client
from referral_api.domain.words import Act
from referral_api.formats import signed
from referral_api.formats.keys import SigningKey
from referral_api.formats.strict_json import canonical


def payload_of(client: Client, act: Act, body: Mapping[str, Any], ref: str | None, **members: Any) -> dict[str, Any]:
    """The payload of a right act of this client's credential; `members` replace or add members."""
    return {
        "v": 1,
        "id": client.session.ambient.act_id(),
        "iss": client.keys.credential,
        "party": client.profile.party,
        "aud": client.profile.issuer,
        "iat": client.session.now(),
        "act": act.value,
        "ref": ref,
        "unit": None,
        "prev": None,
        "body": dict(body),
    } | members


def sign_payload(
    client: Client, payload: Any, *, typ: str = signed.ACT, signers: Sequence[SigningKey] | None = None
) -> str:
    """The JWS text over a payload, or over bytes that are none."""
    raw = payload if isinstance(payload, bytes) else canonical(payload)
    return signed.sign_jws(raw, typ=typ, signers=client.keys.signers() if signers is None else signers).decode()


def sign(client: Client, act: Act, body: Mapping[str, Any], ref: str | None, **members: Any) -> tuple[str, str]:
    """An act's id and JWS text."""
    payload = payload_of(client, act, body, ref, **members)
    return payload["id"], sign_payload(client, payload)
