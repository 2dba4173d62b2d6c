"""Thousands of credentials that may wait: units of 110 services each, on the keys log of the template exchange.

An exchange holds one poll a credential (waiters.py lets the older one go), and a statement lists 128 credentials at
most, so a crowd takes a unit for every 110 of them. Their key entries, statements and approvals are folded as any
others, with every rule and every signature; only the enrolment calls before them are left out.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bench import load
from bench.world import Template, settings_of, sign_act
from referral_api.client import access
from referral_api.client.enrolment import CREDENTIAL_TERM_S
from referral_api.client.keystore import CredentialKeys, new_credential_keys
from referral_api.domain.words import Act, CredentialId, CredentialKind, KeyUse
from referral_api.formats.act import parse_act
from referral_api.formats.key_entry import build_key_entry
from referral_api.formats.statements import KeyMap
from referral_api.formats.strict_json import b64u, parse
from referral_api.server import app
from referral_api.server.service.batch import Batch, Done
from referral_api.server.storage.logbook import KEYS

A_UNIT = 110
"""Services of one unit: with its keyholder they fit into the 16 KiB of a statement."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """What one poller calls with: its token, and the secret of the key that the token is bound to."""

    token: str
    secret: bytes


def enrol(template: Template, count: int) -> list[CredentialKeys]:
    """Put `count` services into the template's directory, each with an access key of its own."""
    registrar = template.keys("registrar")
    services: list[CredentialKeys] = []
    leaves: list[bytes] = []
    while len(services) < count:
        unit, share = f"espera-{len(services) // A_UNIT:03}", min(A_UNIT, count - len(services))
        own = [_keys(unit, n, CredentialKind.SERVICE) for n in range(share)]
        leaves += _unit(template.issuer, unit, _keys(unit, 0, CredentialKind.PERSON), own, registrar)
        services += own
    runtime = app.open_runtime(settings_of(template.folder, template.port))
    runtime.writer.start()
    runtime.writer.run(lambda batch: _append(batch, runtime.exchange.keymap, leaves))
    runtime.close()
    return services


def tickets(template: Template, services: list[CredentialKeys]) -> list[Ticket]:
    """A token for each of them from the token endpoint, as every client gets it."""
    now = int(time.time())
    bound = [secrets.token_bytes(32) for _ in services]
    bodies = [
        access.token_form(
            access.build_assertion(
                keys.access.signing_key(), keys.credential, template.issuer, jti=b64u(secrets.token_bytes(16)), now=now
            )
        )
        for keys in services
    ]
    heads = [_token_head(template, secret, len(body), now) for secret, body in zip(bound, bodies, strict=True)]
    result = load.fire(template.port, heads, bodies, connections=8, warm=0, keep_every=1)
    answers = [parse(result.kept[at], max_bytes=65536) for at in range(len(services))]
    return [
        Ticket(access.parse_token(answer, secret, now).value, secret)
        for answer, secret in zip(answers, bound, strict=True)
    ]


def _keys(unit: str, number: int, kind: CredentialKind) -> CredentialKeys:
    name = CredentialId(f"{unit}.{kind.value[0]}{number:05}")
    return new_credential_keys(name, kind, int(time.time()), seals=kind is CredentialKind.PERSON)


def _unit(
    issuer: str, unit: str, keyholder: CredentialKeys, services: list[CredentialKeys], registrar: CredentialKeys
) -> Iterator[bytes]:
    """The leaves that a new unit brings: its keys, its statement, and the registrar's approval."""
    now, nonce = int(time.time()), b64u(secrets.token_bytes(32))
    uses = [(KeyUse.ACCESS, keys.access.signing_key()) for keys in (keyholder, *services)]
    for use, key in (*uses, *((KeyUse.SEAL, key) for key in keyholder.signers())):
        yield build_key_entry(
            party=unit, use=use, jwk=key.public.jwk, nonce=nonce, iat=now, possession=None, signers=[key]
        )
    entry = {"id": unit, "role": "police_unit", "name": f"Parte {unit}", "area": [], "escalation": []}
    listed = [_listed(keyholder, now) | {"kind": "person", "keyholder": True}, *(_listed(one, now) for one in services)]
    body = {"seq": 1, "prev_statement": None, "entry": entry, "credentials": listed, "enc": []}
    statement = sign_act(keyholder, issuer, Act.STATEMENT, body)
    yield statement
    approval = {"party": unit, "statement": parse_act(statement).digest}
    yield sign_act(registrar, issuer, Act.APPROVE_STATEMENT, approval)


def _listed(keys: CredentialKeys, now: int) -> dict[str, Any]:
    return {
        "id": keys.credential.partition(".")[2],
        "kind": "service",
        "access": keys.access.signing_key().kid,
        "seal": [key.kid for key in keys.signers()],
        "until": now + CREDENTIAL_TERM_S,
    }


def _append(batch: Batch, keymap: KeyMap, leaves: list[bytes]) -> Done[None]:
    grown = keymap.copy()
    for leaf in leaves:
        grown.extend(leaf)
        batch.append_leaf(KEYS, leaf)
    batch.keymap = grown
    return Done(None)


def _token_head(template: Template, secret: bytes, length: int, now: int) -> bytes:
    url, jti = f"{template.issuer}/oauth/token", b64u(secrets.token_bytes(16))
    return load.request_head(
        "POST /oauth/token", template.issuer.partition("://")[2],
        Content_Type="application/x-www-form-urlencoded", Content_Length=length,
        DPoP=access.build_proof(access.proof_key(secret), "POST", url, jti=jti, now=now),
    )  # fmt: skip
