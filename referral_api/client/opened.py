"""What was opened on this machine stays readable on it, after the key that it was sealed to is destroyed.

Of each envelope its content key is kept, 32 bytes, sealed under the credential's storage key. The envelope itself stays
with the exchange. Once this workstation has seen that it was purged there, the key goes too (client/forgetting.py):
whoever has kept a copy of the envelope cannot read it with what is left here.

Must never: keep a text, or a content key in clear.

Implements: design §5 (opened bundles are re-sealed to a local storage key), R-107.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from referral_api.client.keystore import CredentialKeys
from referral_api.client.profile import ProfileDir, read_private, write_private
from referral_api.domain.errors import ReferralError
from referral_api.domain.words import Digest

_MAX_BYTES = 256
_CONTEXT = b"referral-1/opened\x00"


@dataclass(frozen=True, slots=True)
class OpenedKeys:
    """The content keys kept in a profile, for one credential (`sealing.ContentKeys`)."""

    directory: ProfileDir
    keys: CredentialKeys

    def find(self, bundle: Digest) -> bytes | None:
        """The content key of an envelope; None where it was never opened here, or by another credential."""
        with suppress(FileNotFoundError, ReferralError):
            raw = read_private(self.directory.opened / bundle, max_bytes=_MAX_BYTES)
            return self.keys.restore(raw, _CONTEXT + bundle.encode("ascii"))
        return None

    def keep(self, bundle: Digest, key: bytes) -> None:
        """Keep it, unless it is kept, or the disk takes nothing: an emergency is read first."""
        path = self.directory.opened / bundle
        with suppress(OSError):
            if not path.exists():
                self.directory.opened.mkdir(mode=0o700, exist_ok=True)
                write_private(path, self.keys.store(key, _CONTEXT + bundle.encode("ascii")))


def forget(directory: ProfileDir, bundle: Digest) -> None:
    """Destroy what is kept of an envelope, whichever credential of this profile opened it. It takes no keys."""
    with suppress(FileNotFoundError):
        (directory.opened / bundle).unlink()
