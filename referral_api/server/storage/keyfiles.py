"""The exchange's own four keys at rest, one use each: access tokens, receipts, its own acts, log checkpoints.

Each is a PKCS#8 PEM file that only the server's account may read, or a systemd credential of the same name. They are
not encrypted: a server that starts by itself would keep the passphrase beside them. What is above storage sees
`Signer`, so that a key in an HSM can follow without any change there.

Must never: overwrite a key, read one that others can read, or hand out the secret itself.
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
from referral_api.formats.keys import Alg, SigningKey, signing_key
from referral_api.server.storage.signer import sync_folder

Signer: TypeAlias = SigningKey
"""Signs for one public key: `sign(bytes) -> bytes`, `public`, `kid`, `alg`. In software, or an HSM with these names."""
USES: Final = (KeyUse.TOKEN, KeyUse.RECEIPT, KeyUse.ACT, KeyUse.LOG)
MAX_FILE_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class Signers:
    """The exchange's signers, one a use."""

    token: Signer
    receipt: Signer
    act: Signer
    log: Signer


def create_signers(keys_dir: Path) -> Signers:
    """Generate the four Ed25519 keys as files of mode 0600 in `keys_dir`, made with mode 0700 if it is missing.

    Raises UNAVAILABLE, reason `keys-exist`, if there is any of them already; then none is touched.
    """
    keys_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    if any(_path(keys_dir, use).exists() for use in USES):
        raise ReferralError(ErrorCode.UNAVAILABLE, reason="keys-exist")
    for use in USES:
        pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        descriptor = os.open(_path(keys_dir, use), os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, pem)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    sync_folder(keys_dir)
    return load_signers(keys_dir)


def load_signers(keys_dir: Path) -> Signers:
    """Load the four keys from files `token.pem`, `receipt.pem`, `act.pem` and `log.pem`.

    Raises UNAVAILABLE with `use` and `reason`: `keys-missing`, `keys-exposed` (others may read or change the file),
    `keys-unreadable` (not an Ed25519 PKCS#8 PEM), `keys-reused` (two uses share one key).
    """
    keys: Mapping[KeyUse, Signer] = {use: _load(_path(keys_dir, use), use) for use in USES}
    if len({key.kid for key in keys.values()}) != len(USES):
        raise ReferralError(ErrorCode.UNAVAILABLE, reason="keys-reused")
    return Signers(keys[KeyUse.TOKEN], keys[KeyUse.RECEIPT], keys[KeyUse.ACT], keys[KeyUse.LOG])


def _path(keys_dir: Path, use: KeyUse) -> Path:
    return keys_dir / f"{use.value}.pem"


def _load(path: Path, use: KeyUse) -> Signer:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise _unusable("keys-missing", use) from error
    try:
        if _is_exposed(os.fstat(descriptor)):
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


def _is_exposed(status: os.stat_result) -> bool:
    """Whether others may read or change the file.

    A systemd credential belongs to root and is opened to the service by an access list, whose mask shows as the group's
    read bit; on a file of our own that bit would really mean the group.
    """
    mode = stat.S_IMODE(status.st_mode)
    if status.st_uid == os.geteuid():
        return bool(mode & 0o077)
    return status.st_uid != 0 or bool(mode & 0o037)


def _unusable(reason: str, use: KeyUse) -> ReferralError:
    return ReferralError(ErrorCode.UNAVAILABLE, reason=reason, use=use.value)
