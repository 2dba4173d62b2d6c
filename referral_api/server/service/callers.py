"""Whom access control knows: the caller of one call, and the part of the directory that it is made from.

Must never: hold a right that did not come from the directory at this very call.

Implements: R-45; design §5 (credential), §13 (services take plain values).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import CredentialId, CredentialKind, PartyId, Role
from referral_api.formats.keys import PublicKey


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated credential, as the directory describes it at this moment."""

    credential: str
    party: str
    role: Role
    kind: CredentialKind
    keyholder: bool


class DirectoryCredential(Protocol):
    """What access control needs to know of a credential; formats/statements.py has the whole."""

    @property
    def id(self) -> CredentialId:
        """The OAuth client_id."""

    @property
    def party(self) -> PartyId:
        """The party that it belongs to."""

    @property
    def role(self) -> Role:
        """The party's role."""

    @property
    def kind(self) -> CredentialKind:
        """Person or service."""

    @property
    def keyholder(self) -> bool:
        """Whether it may sign its party's statements."""


class Directory(Protocol):
    """The directory as of now; formats/statements.py: KeyMap is one."""

    def find_credential(self, credential_id: CredentialId, /) -> DirectoryCredential | None:
        """The credential as its party's statement in effect lists it."""

    def find_key(self, kid: str, /) -> object | None:
        """Something, if the keys log holds a key of this thumbprint, whoever's and whatever for."""

    def access_key(self, credential_id: CredentialId, now: int, /) -> PublicKey:
        """The credential's access key; raises KEY_NOT_VALID if it may not be used now (R-33)."""


def check_access(directory: Directory, caller: Caller, now: int) -> None:
    """Look again whether a caller who was authenticated and has waited since still has access (R-45).

    Raises INVALID_TOKEN with `reason` `credential`.
    """
    try:
        directory.access_key(CredentialId(caller.credential), now)
    except ReferralError:
        raise ReferralError(ErrorCode.INVALID_TOKEN, reason="credential") from None
