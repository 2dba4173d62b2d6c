"""A small keys log to test with: parties whose keys come from fixed seeds, and the acts that they sign.

Nothing here is checked: the builders make what a test asks for, broken or not, with the real formats.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from referral_api.domain.words import Act, CredentialKind, KeyUse
from referral_api.formats import signed
from referral_api.formats.act import parse_act
from referral_api.formats.key_entry import build_key_entry
from referral_api.formats.keys import Alg, SoftwareSigningKey, signing_key
from referral_api.formats.statements import KeyMap
from referral_api.formats.strict_json import b64u, canonical, sha256_b64u

NOW = 1_795_430_000
DAY = 24 * 3600
YEAR = 365 * DAY
ISSUER = "https://exchange.example"
NONCE = sha256_b64u(b"invitation")


def seed(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


def key(name: str, alg: Alg = Alg.ED25519) -> SoftwareSigningKey:
    return signing_key(alg, seed(f"{name}/{alg}"))


def enc_jwk(name: str) -> dict[str, str]:
    """An HPKE-9 public key of fixed random-looking bytes; nobody holds its private half, and no test here needs it."""
    from cryptography.hazmat.primitives.asymmetric import mlkem, x25519

    lattice = mlkem.MLKEM768PrivateKey.from_seed_bytes(seed(name) + seed(name + "z")).public_key().public_bytes_raw()
    curve = x25519.X25519PrivateKey.from_private_bytes(seed(name + "x")).public_key().public_bytes_raw()
    return {"alg": "HPKE-9-KE", "kty": "AKP", "pub": b64u(lattice + curve)}


EXCHANGE_ACT = key("exchange/act")
EXCHANGE_CREDENTIAL = "exchange.acts"


def act(
    kind: Act,
    iss: str,
    body: Mapping[str, Any],
    signers: Sequence[SoftwareSigningKey],
    *,
    iat: int = NOW,
    aud: str = ISSUER,
    act_id: str | None = None,
) -> bytes:
    """Sign any payload, also one that `build_act` would refuse."""
    seeded = hashlib.sha256(repr((kind, iss, body, iat)).encode()).digest()[:16]
    payload = {
        "v": 1,
        "id": act_id or str(uuid.UUID(bytes=seeded, version=4)),
        "iss": iss,
        "party": iss.partition(".")[0],
        "aud": aud,
        "iat": iat,
        "act": kind.value,
        "ref": None,
        "unit": None,
        "prev": None,
        "body": dict(body),
    }
    return signed.sign_jws(canonical(payload), typ=signed.ACT, signers=signers)


def genesis_body(**changes: Any) -> dict[str, Any]:
    keys = [
        {"kid": one.kid, "jwk": one.public.jwk, "use": use}
        for use, one in (("act", EXCHANGE_ACT), *((use, key(f"exchange/{use}")) for use in ("token", "receipt", "log")))
    ]
    return {
        "issuer": ISSUER,
        "environment": "sandbox",
        "keys": keys,
        "witness_policy": "none",
        "registrars_required": 1,
    } | changes


def genesis(**changes: Any) -> bytes:
    return act(Act.GENESIS, EXCHANGE_CREDENTIAL, genesis_body(**changes), [EXCHANGE_ACT])


@dataclass
class Someone:
    """One credential and its keys; `seals` are two algorithms for a person, none for a service by default."""

    party: str
    short: str
    kind: CredentialKind = CredentialKind.PERSON
    algs: tuple[Alg, ...] = (Alg.ED25519,)
    keyholder: bool = False
    until: int = NOW + YEAR
    generation: int = 1
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return f"{self.party}.{self.short}"

    @property
    def name(self) -> str:
        return f"{self.id}/{self.generation}"

    @property
    def access(self) -> SoftwareSigningKey:
        return key(f"{self.name}/access")

    @property
    def seals(self) -> list[SoftwareSigningKey]:
        return [key(f"{self.name}/seal", alg) for alg in self.algs]

    def listed(self, **changes: Any) -> dict[str, Any]:
        entry = {
            "id": self.short,
            "kind": self.kind.value,
            "access": self.access.kid,
            "seal": [one.kid for one in self.seals],
            "until": self.until,
        }
        if self.keyholder:
            entry["keyholder"] = True
        return entry | self.extra | changes

    def entries(self) -> list[bytes]:
        """Its key entries, each signed by its own key."""
        return [
            key_entry(self.party, KeyUse.ACCESS, self.access),
            *(key_entry(self.party, KeyUse.SEAL, one) for one in self.seals),
        ]

    def sign(self, kind: Act, body: Mapping[str, Any], **options: Any) -> bytes:
        return act(kind, self.id, body, self.seals, **options)


def person(party: str, short: str, **options: Any) -> Someone:
    return Someone(party, short, **options)


def service(party: str, short: str, **options: Any) -> Someone:
    return Someone(party, short, **({"kind": CredentialKind.SERVICE, "algs": ()} | options))


def key_entry(party: str, use: KeyUse, own: SoftwareSigningKey) -> bytes:
    return build_key_entry(
        party=party, use=use, jwk=own.public.jwk, nonce=NONCE, iat=NOW, possession=None, signers=[own]
    )


def enc_entry(party: str, name: str, signers: Sequence[SoftwareSigningKey], use: KeyUse = KeyUse.ENC) -> bytes:
    return build_key_entry(
        party=party, use=use, jwk=enc_jwk(name), nonce=NONCE, iat=NOW, possession=NONCE, signers=signers
    )


def enc_kid(name: str) -> str:
    from referral_api.formats.keys import thumbprint

    return thumbprint(enc_jwk(name))


def enc_listed(name: str, station: str | None = "st1", use: str = "enc", **changes: Any) -> dict[str, Any]:
    entry: dict[str, Any] = {"kid": enc_kid(name), "use": use, "from": NOW, "until": NOW + 45 * DAY}
    if station is not None:
        entry["station"] = station
    return entry | changes


def entry_of(party: str, role: str, **changes: Any) -> dict[str, Any]:
    return {"id": party, "role": role, "name": f"Institución {party}", "area": ["20"], "escalation": []} | changes


def statement_body(
    party: str,
    role: str,
    credentials: Sequence[Someone | dict[str, Any]],
    *,
    seq: int = 1,
    prev: str | None = None,
    enc: Sequence[dict[str, Any]] = (),
    **entry: Any,
) -> dict[str, Any]:
    return {
        "seq": seq,
        "prev_statement": prev,
        "entry": entry_of(party, role, **entry),
        "credentials": [one.listed() if isinstance(one, Someone) else one for one in credentials],
        "enc": list(enc),
    }


def digest(raw: bytes) -> str:
    return parse_act(raw).digest


def approval(party: str, statement: bytes) -> dict[str, Any]:
    return {"party": party, "statement": digest(statement)}


class Log:
    """A keys log under construction with its key map; `put` extends both or neither."""

    def __init__(self, **changes: Any) -> None:
        self.leaves = [genesis(**changes)]
        self.keymap = KeyMap.start(self.leaves[0])

    def put(self, *leaves: bytes) -> None:
        for leaf in leaves:
            self.keymap.extend(leaf)
            self.leaves.append(leaf)

    def found(self, leaves: Sequence[bytes], statement: bytes, approver: bytes) -> None:
        self.put(*leaves, statement, approver)

    def registrar(self, *persons: Someone) -> None:
        """Admit the registrar party with these persons, by the exchange's own approval."""
        party = persons[0].party
        statement = persons[0].sign(Act.STATEMENT, statement_body(party, "registrar", persons))
        self.put(*(leaf for one in persons for leaf in one.entries()), statement)
        self.put(act(Act.APPROVE_STATEMENT, EXCHANGE_CREDENTIAL, approval(party, statement), [EXCHANGE_ACT]))

    def admit(
        self, role: str, credentials: Sequence[Someone], registrar: Someone, enc: Sequence[str] = (), **entry: Any
    ) -> None:
        """Admit a party whose first credential signs; `enc` names encryption keys, one a workstation."""
        first = credentials[0]
        listed = [enc_listed(name, f"st{at}") for at, name in enumerate(enc, 1)]
        body = statement_body(first.party, role, credentials, enc=listed, **entry)
        statement = first.sign(Act.STATEMENT, body)
        self.put(*(leaf for one in credentials for leaf in one.entries()))
        self.put(*(enc_entry(first.party, name, first.seals) for name in enc))
        self.put(statement, registrar.sign(Act.APPROVE_STATEMENT, approval(first.party, statement)))

    def next_body(self, party: str, credentials: Sequence[Someone | dict[str, Any]], **options: Any) -> dict[str, Any]:
        """The body that follows the party's statement in effect."""
        before = self.keymap.find_party(party)
        assert before is not None
        entry = {name: value for name, value in before.entry.wire().items() if name not in ("id", "role")}
        enc = options.pop("enc", [one.wire() for one in before.body.enc])
        return statement_body(
            party,
            before.role.value,
            credentials,
            seq=before.seq + 1,
            prev=before.statement,
            enc=enc,
            **(entry | options),
        )
