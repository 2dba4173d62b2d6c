"""The operator's own word to his process: a random token in a file that nobody else can read.

Whoever reads it is on the exchange's machine anyway; a proxy before the exchange lets nobody guess it. It opens figures
and details of channels, nothing of the protocol.

Must never: stand in a log or an answer, or be made anew while it is there.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.formats.strict_json import b64u
from referral_api.server.storage.keyfiles import is_exposed

FILE: Final = "operator.token"


def make_operator_token(data_dir: Path, token_bytes: Callable[[int], bytes]) -> str:
    """The token, made with its file (mode 0600) where there is none. Raises as `read_operator_token`, and OSError."""
    try:
        descriptor = os.open(data_dir / FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return read_operator_token(data_dir)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(b64u(token_bytes(32)) + "\n")
    return read_operator_token(data_dir)


def read_operator_token(data_dir: Path) -> str:
    """The token as it stands. Raises UNAVAILABLE, reason `operator-token`: missing, empty, or open to others."""
    path = data_dir / FILE
    try:
        token = path.read_text(encoding="ascii").strip()
        exposed = is_exposed(path.stat())
    except (OSError, ValueError):
        raise ReferralError(ErrorCode.UNAVAILABLE, reason="operator-token") from None
    if exposed or len(token) != len(b64u(bytes(32))):
        raise ReferralError(ErrorCode.UNAVAILABLE, reason="operator-token")
    return token
