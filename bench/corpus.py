"""Requests made beforehand: signed acts with their bundles, and DPoP proofs fresh enough for one run.

A body is a real submit with both signatures and a bundle whose outside is real; its ciphertext is the same random
bytes each time, which the exchange can no more open than any other.
"""

from __future__ import annotations

import os
import secrets
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uuid_utils

from bench.load import request_head
from bench.world import HOTLINE, UNITS, Template, keys_in, sign_act
from referral_api.client import access
from referral_api.client.keystore import CredentialKeys
from referral_api.domain.words import Act
from referral_api.formats.act import parse_act
from referral_api.formats.bundle import EK_BYTES, LADDER, Address, RoutingHeader, SealRole
from referral_api.formats.keys import Alg
from referral_api.formats.signed import BUNDLE
from referral_api.formats.strict_json import b64u, canonical, parse, sha256_b64u

SIZES = {"20kB": LADDER[0], "200kB": LADDER[5]}
"""What a referral of that size is padded to before it is sealed."""


@dataclass(frozen=True, slots=True)
class Shot:
    """One request: its path and body. Headers, with a fresh proof, are made before the run."""

    path: str
    body: bytes


def shots(
    template: Template, count: int, size: int, *, hotline: str = HOTLINE, units: Sequence[str] = UNITS
) -> list[Shot]:
    """`count` submits by this hotline to these units in turn, made on two processes."""
    recipients = {
        unit: [(key.kid, key.public.alg) for key in template.keymap.sealable(unit, int(time.time()))] for unit in units
    }
    share = [(template.folder / hotline, template.issuer, recipients, (count + 1) // 2, size)] * 2
    with ProcessPoolExecutor(2) as pool:
        halves = list(pool.map(_make, share))
    return [shot for half in halves for shot in half][:count]


def acks(template: Template, submits: Sequence[Shot], unit: str) -> list[Shot]:
    """The unit's acknowledgement of each of these submits, which were to it."""
    keys, made = template.keys(unit), []
    for submit in submits:
        act = parse_act(parse(submit.body, max_bytes=len(submit.body))["act"].encode())
        body: Any = act.body
        act_id = str(uuid.uuid4())
        ack = {"bundle": body.bundle.sha256, "submit": act.digest, "decrypted": True}
        raw = sign_act(keys, template.issuer, Act.ACK, ack, act_id=act_id, ref=act.ref, unit=unit, prev=act.digest)
        made.append(Shot(f"{submit.path}/acts/{act_id}", canonical({"act": raw.decode("ascii")})))
    return made


def _make(job: tuple[Path, str, dict[str, list[tuple[str, Alg]]], int, int]) -> list[Shot]:
    profile, issuer, recipients, count, size = job
    keys = keys_in(profile)
    ciphertext = b64u(secrets.token_bytes(size))
    return [_shot(keys, issuer, recipients, ciphertext, n) for n in range(count)]


def _shot(
    keys: CredentialKeys, issuer: str, recipients: dict[str, list[tuple[str, Alg]]], ciphertext: str, number: int
) -> Shot:
    ref, unit, hotline = (
        str(uuid_utils.uuid7()),
        list(recipients)[number % len(recipients)],
        keys.credential.partition(".")[0],
    )
    to = tuple(Address(unit, kid, SealRole.ACTION) for kid, _ in recipients[unit])  # type: ignore[arg-type]
    routing = RoutingHeader(ref, hotline, to, os.urandom(32)).encode()  # type: ignore[arg-type]
    bundle = canonical(
        {
            "protected": b64u(canonical({"cty": BUNDLE, "enc": "A256GCM", "typ": "referral-bundle+jwe"})),
            "aad": b64u(routing),
            "recipients": [
                {
                    "encrypted_key": b64u(os.urandom(48)),
                    "header": {"alg": alg.value, "ek": b64u(os.urandom(EK_BYTES[alg])), "kid": kid},
                }
                for kid, alg in recipients[unit]
            ],
            "iv": b64u(os.urandom(12)),
            "ciphertext": ciphertext,
            "tag": b64u(os.urandom(16)),
        }
    )
    said = {
        "bundle": {"sha256": sha256_b64u(bundle), "size": len(bundle)},
        "to": [{"unit": unit, "role": "action"}],
        "urgency": "routine",
        "basis": "third_party_tip",
        "identity_level": "anonymous",
        "retention_class": "standard",
        "created_at": int(time.time()),
    }
    act = sign_act(keys, issuer, Act.SUBMIT, said, ref=ref)
    body = canonical({"act": act.decode("ascii"), "bundle": bundle.decode("ascii")})
    return Shot(f"/v1/referrals/{ref}", body)


def heads(template: Template, requests: Sequence[Shot], token: str, secret: bytes, nonce: str) -> list[bytes]:
    """The request heads with a proof each, made now: a proof lives a minute."""
    now = int(time.time())
    host = template.issuer.partition("://")[2]
    made: list[bytes] = []
    key = access.proof_key(secret)
    for shot in requests:
        url = template.issuer + shot.path
        proof = access.build_proof(key, "PUT", url, jti=b64u(os.urandom(16)), now=now, token=token, nonce=nonce)
        made.append(
            request_head(
                f"PUT {shot.path}", host, Content_Type="application/json", Content_Length=len(shot.body),
                Authorization=f"DPoP {token}", DPoP=proof,
            )
        )  # fmt: skip
    return made
