"""The exchange's own keys at rest, one use each: access tokens, receipts, its own acts, log checkpoints.

Each is a PKCS#8 PEM file that only the server's account may read, or a systemd credential of the same name. The first
of a use is `<use>.pem`, one that follows it `<use>.<thumbprint>.pem`; which of them is in use when, the keys log says
(service/keyring.py). They are not encrypted: a server that starts by itself would keep the passphrase beside them. What
is above storage sees `Signer`, so that a key in an HSM can follow without any change there.

Must never: overwrite a key, read one that others can read, or hand out the secret itself.

Implements: docs/protocol.md R-37 (the keys' side of it); design §5.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import KeyUse
from referral_api.formats.keys import Alg, PublicKey, SigningKey, signing_key
from referral_api.server.storage.signer import sync_folder

Signer: TypeAlias = SigningKey
"""Signs for one public key: `sign(bytes) -> bytes`, `public`, `kid`, `alg`. In software, or an HSM with these names."""
USES: Final = (KeyUse.TOKEN, KeyUse.RECEIPT, KeyUse.ACT, KeyUse.LOG)
MAX_FILE_BYTES: Final = 4096
_KID_CHARS: Final = 43


@dataclass(frozen=True, slots=True)
class Signers:
    """The exchange's signers that are at hand, one or more a use: that of `<use>.pem` first, where there is one."""

    held: Mapping[KeyUse, tuple[Signer, ...]]

    @property
    def token(self) -> Signer:
        """The first token key at hand."""
        return self.held[KeyUse.TOKEN][0]

    @property
    def receipt(self) -> Signer:
        """The first receipt key at hand."""
        return self.held[KeyUse.RECEIPT][0]

    @property
    def act(self) -> Signer:
        """The first act key at hand."""
        return self.held[KeyUse.ACT][0]

    @property
    def log(self) -> Signer:
        """The first log key at hand."""
        return self.held[KeyUse.LOG][0]

    def find(self, use: KeyUse, kid: str) -> Signer | None:
        """The signer of this thumbprint, if it is here."""
        return next((one for one in self.held[use] if one.kid == kid), None)

    def signing(self) -> tuple[Signer, ...]:
        """What signs a log by these files alone (`signer.LogKeys`)."""
        return (self.log,)

    def known(self) -> tuple[PublicKey, ...]:
        """Every log key of which there is a file here."""
        return tuple(one.public for one in self.held[KeyUse.LOG])


def create_signers(keys_dir: Path) -> Signers:
    """Generate the four Ed25519 keys as files of mode 0600 in `keys_dir`, made with mode 0700 if it is missing.

    Raises UNAVAILABLE, reason `keys-exist`, if there is any of them already; then none is touched.
    """
    keys_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    if any(_path(keys_dir, use).exists() for use in USES):
        raise ReferralError(ErrorCode.UNAVAILABLE, reason="keys-exist")
    for use in USES:
        _write(_path(keys_dir, use), Ed25519PrivateKey.generate())
    sync_folder(keys_dir)
    return load_signers(keys_dir)


def create_next(keys_dir: Path, use: KeyUse) -> Signer:
    """Generate a key that shall follow the one in use, as a file of its own: it signs nothing before the keys log names
    it. Raises OSError.
    """
    private = Ed25519PrivateKey.generate()
    signer = signing_key(Alg.ED25519, private.private_bytes_raw())
    _write(keys_dir / f"{use.value}.{signer.kid}.pem", private)
    sync_folder(keys_dir)
    return signer


def delete_key(keys_dir: Path, use: KeyUse, kid: str) -> Path | None:
    """Delete the file of a key; its path, or None where there is none (a credential of systemd is not ours to delete).

    Raises as `load_signers`, OSError.
    """
    for path in _paths(keys_dir, use):
        if _load(path, use).kid == kid:
            path.unlink()
            sync_folder(keys_dir)
            return path
    return None


def load_signers(keys_dir: Path) -> Signers:
    """Load every key from `token.pem`, `receipt.pem`, `act.pem`, `log.pem` and those that follow them.

    Raises UNAVAILABLE with `use` and `reason`: `keys-missing`, `keys-exposed` (others may read or change the file),
    `keys-unreadable` (not an Ed25519 PKCS#8 PEM), `keys-reused` (two uses share one key).
    """
    held = {use: tuple(_load(path, use) for path in _paths(keys_dir, use)) for use in USES}
    kids = [key.kid for keys in held.values() for key in keys]
    if len(set(kids)) != len(kids):
        raise ReferralError(ErrorCode.UNAVAILABLE, reason="keys-reused")
    return Signers(held)


def _path(keys_dir: Path, use: KeyUse) -> Path:
    return keys_dir / f"{use.value}.pem"


def _paths(keys_dir: Path, use: KeyUse) -> list[Path]:
    """The files of one use: the first one's own, or it is said to be missing, unless others have taken its place."""
    first, others = _path(keys_dir, use), sorted(keys_dir.glob(f"{use.value}.{'?' * _KID_CHARS}.pem"))
    return [first, *others] if first.exists() or not others else others


def _write(path: Path, private: Ed25519PrivateKey) -> None:
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    # Whole before it has its name: half a key file after a crash would keep the exchange from starting.
    unnamed = path.with_name(f".{path.name}.new")
    unnamed.unlink(missing_ok=True)
    descriptor = os.open(unnamed, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, pem)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.link(unnamed, path)  # A link, for it overwrites nothing.
    unnamed.unlink()


def _load(path: Path, use: KeyUse) -> Signer:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise _unusable("keys-missing", use) from error
    try:
        if is_exposed(os.fstat(descriptor)):
            raise _unusable("keys-exposed", use)
        pem = os.read(descriptor, MAX_FILE_BYTES)
    finally:
        os.close(descriptor)
    try:
        private = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise _unusable("keys-unreadable", use) from error
    if not isinstance(private, Ed25519PrivateKey):
        raise _unusable("keys-unreadable", use)
    return signing_key(Alg.ED25519, private.private_bytes_raw())


def is_exposed(status: os.stat_result) -> bool:
    """Whether others may read or change a file that is a secret.

    A systemd credential belongs to root and is opened to the service by an access list, whose mask shows as the group's
    read bit; on a file of our own that bit would really mean the group.
    """
    mode = stat.S_IMODE(status.st_mode)
    if status.st_uid == os.geteuid():
        return bool(mode & 0o077)
    return status.st_uid != 0 or bool(mode & 0o037)


def _unusable(reason: str, use: KeyUse) -> ReferralError:
    return ReferralError(ErrorCode.UNAVAILABLE, reason=reason, use=use.value)
