"""The keystore: one file with the private keys of this workstation in two compartments, and the public profile.

*service* holds what polls and submits with nobody there, and opens with 32 bytes of a key file or systemd credential;
*person* holds what binds a human being, and opens with a passphrase through Argon2id. Each is AES-256-GCM under its own
key, and authenticates the exact bytes of its header: derivation parameters, credential, issuer and root. A damaged file
says so and so does a wrong secret; compartment.py seals and opens.

Must never: write a secret unsealed, or sign or open.

Implements: design §5 (two compartments), §12.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from referral_api.client.compartment import (
    Compartment,
    Kdf,
    open_compartment,
    parse_compartment,
    parse_header,
    passphrase_bytes,
    seal_with_key,
    seal_with_passphrase,
)
from referral_api.client.profile import (
    MAX_FILE_BYTES,
    Profile,
    ProfileDir,
    corrupt,
    parse_profile,
    read_private,
    write_private,
)
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import CredentialId, CredentialKind, Kid
from referral_api.formats.keys import ENCRYPTION_ALGS, SIGNATURE_ALGS, Alg, SoftwareSigningKey, signing_key
from referral_api.formats.strict_json import b64u, canonical, parse, sha256_b64u, unb64u

SERVICE_SECRET_BYTES = 32
_KEY_BYTES, _NONCE_BYTES = 32, 12
_BOUND = frozenset({"credential", "issuer", "root"})


@dataclass(frozen=True, slots=True)
class Secret:
    """One private key as it is kept: its algorithm, its secret bytes (a seed), and when it was made (unix seconds)."""

    alg: Alg
    secret: bytes = field(repr=False)
    created_at: int

    def signing_key(self) -> SoftwareSigningKey:
        """The key that signs, for a signature algorithm."""
        return signing_key(self.alg, self.secret)


@dataclass(frozen=True, slots=True)
class CredentialKeys:
    """Everything secret of one credential. `storage` re-seals on this machine what was opened on it.

    `coming` are seal keys that are to follow these, once a statement with them is in effect; `destroyed` encryption
    keys whose private halves are gone from here, while the exchange has not been told yet.
    """

    credential: CredentialId
    access: Secret
    seal: tuple[Secret, ...]
    enc: tuple[Secret, ...]
    storage: bytes = field(repr=False)
    coming: tuple[Secret, ...] = ()
    destroyed: tuple[Kid, ...] = ()

    def signers(self) -> tuple[SoftwareSigningKey, ...]:
        """The seal keys, in the order in which an act carries their signatures."""
        return tuple(secret.signing_key() for secret in self.seal)

    def store(self, plaintext: bytes, context: bytes) -> bytes:
        """Encrypt for this machine alone, under the storage key; `context` must be given again to read it."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + AESGCM(self.storage).encrypt(nonce, plaintext, context)

    def restore(self, raw: bytes, context: bytes) -> bytes:
        """What `store` encrypted. Raises DECRYPT_FAILED."""
        try:
            return AESGCM(self.storage).decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], context)
        except (InvalidTag, ValueError):
            raise ReferralError(ErrorCode.DECRYPT_FAILED) from None


def new_signing_secret(alg: Alg, now: int) -> Secret:
    """A fresh signing secret. For ES256 a draw that is no private number of the curve is drawn again."""
    while True:
        secret = Secret(alg, secrets.token_bytes(32), now)
        try:
            secret.signing_key()
        except ReferralError as error:
            if error.facts.get("reason") != "scalar":
                raise
        else:
            return secret


def new_credential_keys(
    credential: CredentialId, kind: CredentialKind, now: int, *, enc: Sequence[Secret] = (), seals: bool = True
) -> CredentialKeys:
    """Fresh keys: an Ed25519 access key; for whoever seals, Ed25519 and ML-DSA-65; the encryption keys given.

    A person always seals. A service does only where it submits (a hotline's).
    """
    if kind is CredentialKind.PERSON and not seals:
        raise ValueError("a person has seal keys")
    seal = tuple(new_signing_secret(alg, now) for alg in (Alg.ED25519, Alg.ML_DSA_65)) if seals else ()
    return CredentialKeys(
        credential, new_signing_secret(Alg.ED25519, now), seal, tuple(enc), secrets.token_bytes(_KEY_BYTES)
    )


def new_service_secret() -> bytes:
    """The content of a key file that opens a service compartment."""
    return secrets.token_bytes(SERVICE_SECRET_BYTES)


class Keystore:
    """The file, read once. Every change replaces it as a whole; `profile` is what it says in clear."""

    def __init__(
        self, directory: ProfileDir, profile: Profile, compartments: dict[CredentialKind, Compartment]
    ) -> None:
        self._directory = directory
        self._compartments = compartments
        self.profile = profile

    @classmethod
    def create(cls, directory: ProfileDir, profile: Profile) -> Keystore:
        """Start an empty keystore in a directory closed to others. Never overwrites one (FileExistsError)."""
        directory.create()
        if directory.keystore.exists():
            raise FileExistsError(directory.keystore)
        keystore = cls(directory, profile, {})
        keystore._write()
        return keystore

    @classmethod
    def open(cls, directory: ProfileDir) -> Keystore:
        """Read the file and check all that needs no secret.

        Raises NOT_ENROLLED (there is none), KEYSTORE_CORRUPT with the reasons of `profile.corrupt`.
        """
        try:
            raw = read_private(directory.keystore)
        except FileNotFoundError:
            raise ReferralError(ErrorCode.NOT_ENROLLED) from None
        try:
            document = parse(raw, max_bytes=MAX_FILE_BYTES)
        except ReferralError:
            raise corrupt("syntax") from None
        if not isinstance(document, dict) or document.keys() != {"v", "profile", "person", "service", "sha256"}:
            raise corrupt("members")
        # The checksum tells damage from a wrong secret; deliberate changes are the tag's business.
        if document.pop("sha256") != sha256_b64u(canonical(document)) or document["v"] != 1:
            raise corrupt("checksum")
        compartments = {
            kind: parse_compartment(document[kind.value]) for kind in CredentialKind if document[kind.value] is not None
        }
        return cls(directory, parse_profile(document["profile"]), compartments)

    def has(self, kind: CredentialKind) -> bool:
        """Whether there is such a compartment."""
        return kind in self._compartments

    def kdf(self) -> Kdf | None:
        """What a guess at the passphrase costs; None without a person's compartment. Raises KEYSTORE_CORRUPT."""
        sealed = self._compartments.get(CredentialKind.PERSON)
        if sealed is None:
            return None
        header = parse_header(sealed.header, CredentialKind.PERSON.value, _BOUND, passphrase=True)
        return Kdf(header["memory_kib"], header["passes"], header["lanes"])

    def keep_profile(self, profile: Profile) -> None:
        """Replace the public part. Issuer and root are part of every compartment and cannot change under them."""
        if self._compartments and (profile.issuer, profile.root) != (self.profile.issuer, self.profile.root):
            raise ValueError("another exchange takes another keystore")
        self.profile = profile
        self._write()

    def keep_person(self, keys: CredentialKeys, passphrase: str, kdf: Kdf | None = None) -> None:
        """Seal the person's compartment with a passphrase. Raises LOCKED (`too-short`, `minimum`)."""
        bound = self._bound(CredentialKind.PERSON, keys)
        sealed = seal_with_passphrase(bound, _encode_keys(keys), passphrase, kdf)
        self._keep(CredentialKind.PERSON, keys, sealed)

    def keep_service(self, keys: CredentialKeys, secret: bytes) -> None:
        """Seal the service's compartment with the 32 bytes of its key file."""
        bound = self._bound(CredentialKind.SERVICE, keys)
        sealed = seal_with_key(bound, _encode_keys(keys), _service_secret(secret))
        self._keep(CredentialKind.SERVICE, keys, sealed)

    def unlock_person(self, passphrase: str) -> CredentialKeys:
        """Open the person's compartment. Raises NOT_ENROLLED, LOCKED (`wrong-secret`), KEYSTORE_CORRUPT."""
        return self._unlock(CredentialKind.PERSON, passphrase_bytes(passphrase))

    def unlock_service(self, secret: bytes) -> CredentialKeys:
        """Open the service's compartment. Raises NOT_ENROLLED, LOCKED (`wrong-secret`, `length`), KEYSTORE_CORRUPT."""
        return self._unlock(CredentialKind.SERVICE, _service_secret(secret))

    def _bound(self, kind: CredentialKind, keys: CredentialKeys) -> dict[str, Any]:
        return {
            "compartment": kind.value,
            "credential": keys.credential,
            "issuer": self.profile.issuer,
            "root": self.profile.root,
        }

    def _keep(self, kind: CredentialKind, keys: CredentialKeys, sealed: Compartment) -> None:
        self._compartments[kind] = sealed
        self.profile = self.profile.enrolled(kind, keys.credential)
        self._write()

    def _unlock(self, kind: CredentialKind, secret: bytes) -> CredentialKeys:
        sealed = self._compartments.get(kind)
        if sealed is None:
            raise ReferralError(ErrorCode.NOT_ENROLLED, kind=kind.value)
        header = parse_header(sealed.header, kind.value, _BOUND, passphrase=kind is CredentialKind.PERSON)
        if (header["issuer"], header["root"]) != (self.profile.issuer, self.profile.root):
            raise corrupt("profile")
        try:
            raw = open_compartment(sealed, header, secret)
        except ReferralError as error:
            raise ReferralError(error.code, **error.facts, kind=kind.value) from None
        keys = _decode_keys(raw)
        if keys.credential != header["credential"] or keys.credential != self.profile.credential(kind):
            raise corrupt("contents")
        return keys

    def _write(self) -> None:
        document: dict[str, Any] = {"person": None, "profile": self.profile.wire(), "service": None, "v": 1}
        for kind, sealed in self._compartments.items():
            document[kind.value] = sealed.wire()
        write_private(self._directory.keystore, canonical(document | {"sha256": sha256_b64u(canonical(document))}))


def read_service_secret(path: Path) -> bytes:
    """The 32 bytes of a key file. Raises LOCKED (`length`) and KEYSTORE_CORRUPT (`permissions`); FileNotFoundError."""
    return _service_secret(read_private(path, max_bytes=SERVICE_SECRET_BYTES))


def write_service_secret(path: Path, secret: bytes) -> None:
    """Write a key file, 0600."""
    write_private(path, _service_secret(secret))


def _service_secret(secret: bytes) -> bytes:
    if len(secret) != SERVICE_SECRET_BYTES:
        raise ReferralError(ErrorCode.LOCKED, reason="length")
    return secret


def _encode_keys(keys: CredentialKeys) -> bytes:
    def entry(secret: Secret) -> dict[str, Any]:
        return {"alg": secret.alg.value, "created_at": secret.created_at, "secret": b64u(secret.secret)}

    return canonical(
        {
            "access": entry(keys.access),
            "coming": [entry(secret) for secret in keys.coming],
            "credential": keys.credential,
            "destroyed": list(keys.destroyed),
            "enc": [entry(secret) for secret in keys.enc],
            "seal": [entry(secret) for secret in keys.seal],
            "storage": b64u(keys.storage),
            "v": 1,
        }
    )


def _decode_keys(raw: bytes) -> CredentialKeys:
    def entry(value: Any, algs: frozenset[Alg]) -> Secret:
        secret = Secret(Alg(value["alg"]), unb64u(value["secret"]), int(value["created_at"]))
        if secret.alg not in algs:
            raise corrupt("contents")
        return secret

    try:
        value = parse(raw, max_bytes=MAX_FILE_BYTES)
        return CredentialKeys(
            value["credential"],
            entry(value["access"], SIGNATURE_ALGS),
            tuple(entry(secret, SIGNATURE_ALGS) for secret in value["seal"]),
            tuple(entry(secret, ENCRYPTION_ALGS) for secret in value["enc"]),
            unb64u(value["storage"], exact=_KEY_BYTES),
            tuple(entry(secret, SIGNATURE_ALGS) for secret in value.get("coming", [])),
            tuple(Kid(kid) for kid in value.get("destroyed", [])),
        )
    except (ReferralError, LookupError, TypeError, ValueError, AttributeError):
        raise corrupt("contents") from None
