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

import uuid_utils

from bench.world import PASSPHRASE, UNITS, Template
from referral_api.client import access
from referral_api.client.keystore import CredentialKeys, Keystore
from referral_api.client.profile import ProfileDir
from referral_api.domain.words import Act
from referral_api.formats.act import build_act
from referral_api.formats.bundle import EK_BYTES, LADDER, Address, RoutingHeader, SealRole
from referral_api.formats.keys import Alg
from referral_api.formats.signed import BUNDLE
from referral_api.formats.strict_json import b64u, canonical, sha256_b64u

SIZES = {"20kB": LADDER[0], "200kB": LADDER[5]}
"""What a referral of that size is padded to before it is sealed."""


@dataclass(frozen=True, slots=True)
class Shot:
    """One request: its path and body. Headers, with a fresh proof, are made before the run."""

    path: str
    body: bytes


def shots(
    template: Template, count: int, size: int, *, both_signatures: bool = True, units: Sequence[str] = UNITS
) -> list[Shot]:
    """`count` submits to these units in turn, made on two processes."""
    recipients = {
        unit: [(key.kid, key.public.alg) for key in template.keymap.sealable(unit, int(time.time()))] for unit in units
    }
    share = [(template.folder, template.issuer, recipients, (count + 1) // 2, size, both_signatures)] * 2
    with ProcessPoolExecutor(2) as pool:
        halves = list(pool.map(_make, share))
    return [shot for half in halves for shot in half][:count]


def _make(job: tuple[Path, str, dict[str, list[tuple[str, Alg]]], int, int, bool]) -> list[Shot]:
    folder, issuer, recipients, count, size, both = job
    keys = Keystore.open(ProfileDir(folder / "hotline")).unlock_person(PASSPHRASE)
    ciphertext = b64u(secrets.token_bytes(size))
    return [_shot(keys, issuer, recipients, ciphertext, n, both=both) for n in range(count)]


def _shot(
    keys: CredentialKeys,
    issuer: str,
    recipients: dict[str, list[tuple[str, Alg]]],
    ciphertext: str,
    number: int,
    *,
    both: bool,
) -> Shot:
    ref, unit, now = str(uuid_utils.uuid7()), list(recipients)[number % len(recipients)], int(time.time())
    to = tuple(Address(unit, kid, SealRole.ACTION) for kid, _ in recipients[unit])  # type: ignore[arg-type]
    routing = RoutingHeader(ref, "linea", to, os.urandom(32)).encode()  # type: ignore[arg-type]
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
    act = build_act(
        act_id=str(uuid.uuid4()),
        iss=keys.credential,
        aud=issuer,
        iat=now,
        act=Act.SUBMIT,
        ref=ref,
        unit=None,
        prev=None,
        body={
            "bundle": {"sha256": sha256_b64u(bundle), "size": len(bundle)},
            "to": [{"unit": unit, "role": "action"}],
            "urgency": "routine",
            "basis": "third_party_tip",
            "identity_level": "anonymous",
            "retention_class": "standard",
            "created_at": now,
        },
        signers=keys.signers() if both else keys.signers()[:1],
    )
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
        lines = [
            f"PUT {shot.path} HTTP/1.1",
            f"Host: {host}",
            "Content-Type: application/json",
            f"Content-Length: {len(shot.body)}",
            f"Authorization: DPoP {token}",
            f"DPoP: {proof}",
        ]
        made.append(("\r\n".join(lines) + "\r\n\r\n").encode("ascii"))
    return made
