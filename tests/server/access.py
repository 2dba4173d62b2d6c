"""An exchange's access control with a clock in hand, and clients that can break every rule on purpose.

The directory is a small one that satisfies the same Protocol as formats/statements.py: KeyMap.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import CredentialId, CredentialKind, PartyId, Role
from referral_api.formats.keys import Alg, PublicKey, SigningKey, signing_key
from referral_api.formats.strict_json import b64u, parse, unb64u
from referral_api.server.service.limits import Counts, Limits, MemoryCounts
from referral_api.server.service.replay import MemoryReplayStore, ReplayStore
from referral_api.server.service.tokens import Caller, TokenAnswer, TokenService

ISSUER = "https://exchange.example"
TOKEN_URL = f"{ISSUER}/oauth/token"
START = 1_800_000_000
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
FORM_TYPE = (b"content-type", b"application/x-www-form-urlencoded")


def key(name: str, alg: Alg = Alg.ED25519) -> SigningKey:
    """The signing key of this name, always the same."""
    return signing_key(alg, hashlib.sha256(name.encode()).digest())


def compact(header: Mapping[str, Any] | bytes, payload: Mapping[str, Any] | bytes, signer: SigningKey) -> bytes:
    """A compact JWS over whatever is asked for, right or wrong."""
    parts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, payload)]
    signing_input = ".".join(map(b64u, parts)).encode()
    return signing_input + b"." + b64u(signer.sign(signing_input)).encode()


def claims_of(token: str) -> dict[str, Any]:
    """The payload of a compact JWS, unverified."""
    claims: dict[str, Any] = parse(unb64u(token.split(".")[1]), max_bytes=8192)
    return claims


def header_of(token: str) -> dict[str, Any]:
    """The header of a compact JWS, unverified."""
    header: dict[str, Any] = parse(unb64u(token.split(".", maxsplit=1)[0]), max_bytes=8192)
    return header


@dataclass(frozen=True)
class Credential:
    id: CredentialId
    party: PartyId
    role: Role
    kind: CredentialKind
    keyholder: bool


@dataclass
class Roll:
    """Credentials with their access keys, changed at will."""

    credentials: dict[str, Credential] = field(default_factory=dict)
    keys: dict[str, PublicKey] = field(default_factory=dict)
    valid_until: dict[str, int] = field(default_factory=dict)

    def find_credential(self, credential_id: CredentialId, /) -> Credential | None:
        return self.credentials.get(credential_id)

    def find_key(self, kid: str, /) -> PublicKey | None:
        return next((public for public in self.keys.values() if public.kid == kid), None)

    def access_key(self, credential_id: CredentialId, now: int, /) -> PublicKey:
        if credential_id not in self.keys or now >= self.valid_until.get(credential_id, 2**40):
            raise ReferralError(ErrorCode.KEY_NOT_VALID, reason="ended")
        return self.keys[credential_id]


class Client:
    """One credential's software: an access key and an ephemeral proof key."""

    def __init__(self, world: AccessWorld, name: str, alg: Alg, proof_alg: Alg) -> None:
        self.world = world
        self.id = name
        self.access = key(f"{name} access", alg)
        self.dpop = key(f"{name} dpop", proof_alg)
        self._serial = 0

    def serial(self) -> str:
        """A jti that was not used before."""
        self._serial += 1
        return f"{self.id}-{self._serial}"

    def assertion(
        self, *, signer: SigningKey | None = None, header: Mapping[str, Any] | None = None, **claims: Any
    ) -> bytes:
        """A client assertion; a claim or header member given as None is left out, any other replaces the right one."""
        now = self.world.now
        right = {"iss": self.id, "sub": self.id, "aud": ISSUER, "exp": now + 60, "iat": now, "jti": self.serial()}
        signer = signer or self.access
        head = {"alg": signer.alg.value, "kid": signer.kid, **(header or {})}
        return compact(_present(head), _present({**right, **claims}), signer)

    def proof(
        self,
        method: str,
        url: str,
        *,
        token: str | None = None,
        signer: SigningKey | None = None,
        header: Mapping[str, Any] | None = None,
        jwk: Mapping[str, Any] | None = None,
        **claims: Any,
    ) -> bytes:
        """A DPoP proof; None leaves a member out, anything else replaces the right one."""
        signer = signer or self.dpop
        public: dict[str, Any] = {name: text for name, text in signer.public.jwk.items() if name != "alg"}
        head = {
            "typ": "dpop+jwt",
            "alg": signer.alg.value,
            "jwk": _present({**public, **(jwk or {})}),
            **(header or {}),
        }
        right: dict[str, Any] = {"htm": method, "htu": url, "iat": self.world.now, "jti": self.serial()}
        if token is not None:
            right["ath"] = b64u(hashlib.sha256(token.encode()).digest())
        return compact(_present(head), _present({**right, **claims}), signer)

    def ask(self, assertion: bytes | None = None, *proofs: bytes, headers: Any = (), **form: str | None) -> TokenAnswer:
        """One token request."""
        right = {
            "grant_type": "client_credentials",
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": (assertion or self.assertion()).decode(),
        }
        body = urlencode(_present({**right, **form})).encode()
        sent = [FORM_TYPE, *((b"dpop", proof) for proof in (proofs or (self.proof("POST", TOKEN_URL),))), *headers]
        service, now = self.world.service, self.world.now
        return service.turn_away(body, sent, now) or service.issue(body, sent, now)

    def token(self) -> str:
        """A good token."""
        answer = self.ask()
        assert answer.status == 200, answer
        text: str = answer.document["access_token"]
        return text

    def call(
        self,
        token: str,
        *,
        method: str = "GET",
        path: str = "/v1/inbox",
        proof: bytes | None = None,
        scheme: str = "DPoP",
    ) -> Caller:
        """One API call."""
        proof = proof if proof is not None else self.proof(method, ISSUER + path, token=token)
        headers = [(b"host", b"other.example"), (b"authorization", f"{scheme} {token}".encode()), (b"dpop", proof)]
        return self.world.service.authenticate(method, path, headers, self.world.now)


class AccessWorld:
    """A token service over a fresh replay store that has been up for an hour."""

    def __init__(self, folder: Path, replay: ReplayStore | None = None, counts: Counts | None = None) -> None:
        self.now = START
        self.counts = counts or MemoryCounts()
        self.roll = Roll()
        self.journal = folder / "replay.journal"
        self.token_key = key("token")
        self.replay = replay or MemoryReplayStore.open(self.journal, START - 3600)
        self.service = self.make_service()
        self.hotline = self.enrol("linea-sur.svc1", Role.HOTLINE, CredentialKind.SERVICE)
        self.unit = self.enrol("unidad-7.ana1", Role.POLICE_UNIT, CredentialKind.PERSON, Alg.ES256, Alg.ES256)

    def make_service(self) -> TokenService:
        """Another service with the same key, as another process or after a restart."""
        return TokenService(
            issuer=ISSUER,
            token_key=self.token_key,
            directory=lambda: self.roll,
            replay=self.replay,
            limits=Limits(self.counts),
        )

    def restart(self) -> None:
        """Lose what is in memory and start again at once."""
        self.replay = MemoryReplayStore.open(self.journal, self.now)
        self.service = self.make_service()

    def enrol(
        self, name: str, role: Role, kind: CredentialKind, alg: Alg = Alg.ED25519, proof_alg: Alg = Alg.ED25519
    ) -> Client:
        """A credential with its access key."""
        client = Client(self, name, alg, proof_alg)
        party = PartyId(name.partition(".")[0])
        self.roll.credentials[name] = Credential(CredentialId(name), party, role, kind, keyholder=False)
        self.roll.keys[name] = client.access.public
        return client


def _present(members: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}
