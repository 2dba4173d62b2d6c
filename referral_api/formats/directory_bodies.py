"""The bodies of the acts about parties and keys: genesis, invitation, key statement, approval, revocation, objection,
and the change of one of the exchange's own keys.

A statement is the complete set of a party's keys by thumbprint (the keys themselves are leaves of the keys log), what
each credential may do, and what senders rely on. It holds no person's name: `name` is the institution's. Member names
are short because 60 persons and 9 workstations must fit into 16 KiB; what is usual is left out:

* `from`: absent, the key is valid from the moment its statement is committed;
* `keyholder`: absent, the credential does not sign statements;
* `require`: absent, every seal key listed must sign, so that no signature can be stripped.

Must never: hold a private key, a person's name or free text about a person. Implements: design §5.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from referral_api.domain import words
from referral_api.domain.words import Act, CredentialId
from referral_api.formats.exchange_bodies import LogOrigin
from referral_api.formats.fields import (
    Coded,
    CredentialKind,
    Distinct,
    Document,
    Instant,
    KeyId,
    Many,
    Maybe,
    OperatorCode,
    Party,
    Role,
    Sha256,
    Yes,
    all_distinct,
    broken,
)

MAX_STATEMENT_BYTES = 16 * 1024
"""Largest payload of a `statement` act (design §5)."""
MAX_CREDENTIALS = 128
MAX_ENCRYPTION_KEYS = 24
"""Sealable, overlapping and backup keys together; how many are sealable at once is policy (8 + 1), not format."""

SignatureAlg = Literal["Ed25519", "ES256", "ML-DSA-65"]
Bytes32 = Annotated[str, Field(pattern=f"^{words.DIGEST}$")]
Phone = Annotated[str, Field(pattern=r"^\+[1-9][0-9]{5,14}$")]
"""E.164."""
Area = Annotated[str, Field(pattern=r"^[0-9]{2}(?:[0-9]{2}){0,2}$")]
"""UBIGEO of a department (2 digits), province (4) or district (6)."""
_HOST = r"(?:https://[a-z0-9][a-z0-9.-]{0,252}|http://(?:127\.0\.0\.1|localhost))"
Issuer = Annotated[str, Field(pattern=f"^{_HOST}(?::[0-9]{{1,5}})?(?:/[a-z0-9._-]{{1,64}}){{0,4}}$")]
"""The exchange's issuer URL. Plain HTTP is for loopback only."""
Country = Annotated[str, Field(pattern=r"^[A-Z]{2}$")]
"""ISO 3166-1 alpha-2."""
Language = Annotated[str, Coded(("language",))]


class Ed25519Jwk(Document):
    """An Ed25519 public key (RFC 8037)."""

    alg: Literal["Ed25519"]
    crv: Literal["Ed25519"]
    kty: Literal["OKP"]
    x: Bytes32


class Es256Jwk(Document):
    """A P-256 public key (RFC 7518 §6.2)."""

    alg: Literal["ES256"]
    crv: Literal["P-256"]
    kty: Literal["EC"]
    x: Bytes32
    y: Bytes32


class MlDsaJwk(Document):
    """An ML-DSA-65 public key (RFC 9964): 1952 bytes."""

    alg: Literal["ML-DSA-65"]
    kty: Literal["AKP"]
    pub: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{2602}[AEIMQUYcgkosw048]$")]


SignatureJwk = Annotated[Ed25519Jwk | Es256Jwk | MlDsaJwk, Field(discriminator="alg")]
"""The shape of a signature key; formats/keys.py checks the point itself."""


class ExchangeKey(Document):
    """One key of the exchange, with its one use."""

    kid: KeyId
    jwk: SignatureJwk
    use: Literal["token", "receipt", "act", "log"]


class LogOrigins(Document):
    """The origins of the exchange's logs: `keys` whole, `audit` as the prefix that gets the year appended."""

    audit: LogOrigin
    keys: LogOrigin


class WitnessPolicy(Document):
    """How many of these witnesses (verifier keys, C2SP signed-note) must cosign what is relied on."""

    quorum: Annotated[int, Field(ge=1, le=16)]
    witnesses: Annotated[
        Distinct[Annotated[str, Field(pattern=r"^[^\s+]{1,255}\+[0-9a-f]{8}\+[A-Za-z0-9+/]{44,4096}={0,2}$")]],
        Field(min_length=1, max_length=16),
    ]

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        # A witness may have several keys, all under its name, and counts once.
        if self.quorum > len({key.partition("+")[0] for key in self.witnesses}):
            raise broken("quorum-too-large")
        return self


class Genesis(Document):
    """The first act of an exchange, signed by its own act key: who it is, with which keys, under which rules.

    `witness_policy` is `none` only where running without witnesses is the explicit choice that every screen shows.
    """

    issuer: Issuer
    environment: Literal["production", "sandbox"]
    keys: Annotated[Many[ExchangeKey], Field(min_length=4, max_length=8)]
    log_origins: Maybe[LogOrigins] = None
    witness_policy: Annotated[
        Annotated[Literal["none"], Tag("none")] | Annotated[WitnessPolicy, Tag("policy")],
        Discriminator(lambda value: "none" if isinstance(value, str) else "policy"),
    ]
    registrars_required: Annotated[int, Field(ge=1, le=2)]

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if not all_distinct(key.kid for key in self.keys):
            raise broken("repeated-entry")
        if {key.use for key in self.keys} != {"token", "receipt", "act", "log"}:
            raise broken("every-use")
        if self.environment == "production" and self.registrars_required != 2:
            raise broken("two-registrars")
        return self


class Entry(Document):
    """A party as the directory shows it. `name` is the institution's name, `escalation` the parties sealed to beside
    it; `country` is absent of a party of the exchange's own country (R-85).
    """

    id: Party
    role: Role
    name: Annotated[str, Field(min_length=2, max_length=80, pattern=r"^[^\x00-\x1f\x7f-\x9f]+$")]
    duty_phone: Maybe[Phone] = None
    area: Annotated[Distinct[Area], Field(max_length=64)]
    country: Maybe[Country] = None
    parent: Maybe[Party] = None
    escalation: Annotated[Distinct[Party], Field(max_length=8)]
    hours: Maybe[Annotated[str, Coded(("duty_hours",))]] = None
    languages: Maybe[Annotated[Distinct[Language], Field(max_length=16)]] = None
    specialities: Maybe[Annotated[Distinct[Annotated[str, Coded(("speciality",))]], Field(max_length=16)]] = None

    @model_validator(mode="after")
    def _others(self) -> Self:
        if self.id in self.escalation or self.id == self.parent:
            raise broken("refers-to-itself")
        return self


class Invite(Document):
    """Permission to enrol, once: `nonce` is the SHA-256 of the invitation's 16 random bytes."""

    nonce: Sha256
    party: Entry
    credential_kinds: Annotated[Distinct[CredentialKind], Field(min_length=1, max_length=2)]
    expires_at: Instant


class CredentialEntry(Document):
    """One person's or service's keys by thumbprint. `id` is what follows the dot of the credential id.

    A person has an access key and one or two seal keys (two algorithms). A service may have no seal key: it only reads.
    """

    id: Annotated[str, Field(pattern=r"^[a-z0-9]{4,12}$")]
    kind: CredentialKind
    keyholder: Maybe[Yes] = None
    operator: Maybe[OperatorCode] = None
    access: KeyId
    seal: Annotated[Distinct[KeyId], Field(max_length=2)]
    require: Maybe[Annotated[Distinct[SignatureAlg], Field(min_length=1, max_length=2)]] = None
    from_at: Maybe[Instant] = Field(default=None, alias="from")
    until_at: Instant = Field(alias="until")

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if self.kind is words.CredentialKind.PERSON and not self.seal:
            raise broken("person-without-seal")
        if self.keyholder and self.kind is not words.CredentialKind.PERSON:
            raise broken("keyholder-not-a-person")
        if self.require is not None and len(self.require) > len(self.seal):
            raise broken("requires-more-than-listed")
        if self.from_at is not None and self.until_at <= self.from_at:
            raise broken("ends-before-it-begins")
        return self


class EncryptionEntry(Document):
    """One encryption key by thumbprint: a workstation's (`enc`) or the yearly backup (`backup`). `until` ends sealing
    to it.

    `station` is the workstation's short code: of several keys with one code, senders use the newest.
    """

    kid: KeyId
    use: Literal["enc", "backup"]
    station: Maybe[Annotated[str, Field(pattern=r"^[a-z0-9]{1,12}$")]] = None
    from_at: Instant = Field(alias="from")
    until_at: Instant = Field(alias="until")

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if self.until_at <= self.from_at:
            raise broken("ends-before-it-begins")
        if self.use == "backup" and self.station is not None:
            raise broken("members-contradict")
        return self


class Statement(Document):
    """A party's keys and entry, complete, chained by `seq` and the act digest of the statement before."""

    seq: Annotated[int, Field(ge=1, le=2**31 - 1)]
    prev_statement: Sha256 | None
    entry: Entry
    credentials: Annotated[Many[CredentialEntry], Field(max_length=MAX_CREDENTIALS)]
    enc: Annotated[Many[EncryptionEntry], Field(max_length=MAX_ENCRYPTION_KEYS)]

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if (self.seq == 1) != (self.prev_statement is None):
            raise broken("chain-broken")
        if not all_distinct(credential.id for credential in self.credentials) or not all_distinct(self.kids()):
            raise broken("repeated-entry")
        return self

    def kids(self) -> Iterator[words.Kid]:
        """Every key thumbprint of the statement; none may stand twice, because a key has one use."""
        for credential in self.credentials:
            yield credential.access
            yield from credential.seal
        for key in self.enc:
            yield key.kid

    def credential_id(self, credential: CredentialEntry) -> CredentialId:
        """The full id of one of its credentials: `<party>.<id>`."""
        return CredentialId(f"{self.entry.id}.{credential.id}")


class ApproveStatement(Document):
    """A registrar (or the party's second keyholder) approves a statement by its act digest.

    `code_sha256` is the SHA-256 of the 30 digits that the registrar typed, where the approval rests on a telephone
    call.
    """

    party: Party
    statement: Sha256
    code_sha256: Maybe[Sha256] = None


class Revoke(Document):
    """A key of the party is not to be trusted: nothing that it signed is accepted from the commit of this act on.

    `at` is when the signer says that it went wrong, for the people who judge what happened before.
    """

    kid: KeyId
    reason: Annotated[str, Coded(("revoke_reason",))]
    at: Instant


class Object(Document):
    """An objection to a statement, by the party it speaks for: it stops at commit."""

    statement: Sha256
    reason: Annotated[str, Coded(("object_reason",))]


class Rekey(Document):
    """The exchange goes over from one of its own keys to another of the same use, whose key entry stands before this.

    `from` is when it begins to use the new one, `until` when nothing new that the old one signed counts any more.
    """

    use: Literal["token", "receipt", "act", "log"]
    kid: KeyId
    replaces: KeyId
    from_at: Instant = Field(alias="from")
    until_at: Instant = Field(alias="until")

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if self.kid == self.replaces:
            raise broken("refers-to-itself")
        if self.until_at < self.from_at:
            raise broken("ends-before-it-begins")
        return self


BODIES: Mapping[Act, type[Document]] = {
    Act.GENESIS: Genesis,
    Act.INVITE: Invite,
    Act.STATEMENT: Statement,
    Act.APPROVE_STATEMENT: ApproveStatement,
    Act.REVOKE: Revoke,
    Act.OBJECT: Object,
    Act.REKEY: Rekey,
}
