"""The exchange's last answers about referrals, kept so that who looks at all of them asks only for what is new.

A worklist reads every referral of a party. An answer that is known is not sent again (`If-None-Match`, 304), and what
is not handed out is not on the record (R-98): else each look of a shift would fill the log with views. What is kept is
the answer as it was told, sealed under the credential's storage key, and is verified anew at every look like one that
has just come.

Must never: be believed more than the exchange itself, hold a text of a referral, or be in a reader's way: what cannot
be read or written here is asked for.

Implements: R-54 (`ETag`), R-98.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from referral_api.client import exchange
from referral_api.client.exchange import Request, Response
from referral_api.client.keystore import CredentialKeys
from referral_api.client.profile import ProfileDir, read_private
from referral_api.domain.errors import ReferralError
from referral_api.domain.words import ReferralId, State
from referral_api.formats.strict_json import parse

_CONTEXT = b"referral-1/view\x00"
_MAX_TAG_CHARACTERS = 128
_BURIED = '"buried"'
_MAX_BYTES = exchange.MAX_ANSWER_BYTES + 4096


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, the object that it holds, and the tag by which the exchange knows it again ("": it has none)."""

    etag: str
    body: bytes = field(repr=False)
    document: dict[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class KeptViews:
    """What is kept in a profile for one credential. `allowed` differs between credentials, and so do the answers."""

    directory: ProfileDir
    keys: CredentialKeys

    def find(self, ref: ReferralId) -> Answer | None:
        """What is kept of a referral."""
        with suppress(OSError, ReferralError, ValueError):
            raw = self.keys.restore(read_private(self._path(ref), max_bytes=_MAX_BYTES), self._context(ref))
            etag, _, body = raw.partition(b"\n")
            document = parse(body, max_bytes=exchange.MAX_ANSWER_BYTES)
            return Answer(etag.decode("ascii"), body, document) if isinstance(document, dict) else None
        return None

    def keep(self, ref: ReferralId, answer: Answer) -> None:
        """Keep an answer that has been verified, in the place of the last one, unless the disk takes nothing."""
        if not answer.etag:
            return
        path, raw = self._path(ref), answer.etag.encode("ascii") + b"\n" + answer.body
        # Not forced to the disk: what is cut off there does not open, and is asked for.
        beside = path.with_name(f".{path.name}.{os.getpid()}")
        with suppress(OSError):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as handle:
                handle.write(self.keys.store(raw, self._context(ref)))
            beside.replace(path)

    def forget(self, ref: ReferralId) -> None:
        """Let go of what is kept: the exchange has nothing of it any more, or it did not verify."""
        with suppress(OSError):
            self._path(ref).unlink()

    def bury(self, ref: ReferralId) -> None:
        """Keep of what was erased only that it had been purged (R-99): nothing else is left to be told of it."""
        self.keep(ref, Answer(_BURIED, b'{"deliveries":[{"state":"purged"}]}', {}))

    def bury_if_purged(self, ref: ReferralId) -> bool:
        """Whether all that we may see of it was purged when it was last verified here: nothing less is erased (R-99).
        Then of the answer that told so nothing but that is kept.
        """
        kept = self.find(ref)
        shown = [] if kept is None else kept.document.get("deliveries", [])
        was = bool(shown) and all(one.get("state") == State.PURGED.value for one in shown)
        if was:
            self.bury(ref)
        return was

    def _path(self, ref: ReferralId) -> Path:
        return self.directory.views / self.keys.credential / ref

    def _context(self, ref: ReferralId) -> bytes:
        return _CONTEXT + ref.encode("ascii")


def judge(request: Request, response: Response) -> Answer | None:
    """What is new; None where the answer that was named is still the answer. Raises as `exchange.judge_json`."""
    if response.status == 304 and any(name == "If-None-Match" for name, _ in request.headers):
        return None
    document, etag = exchange.judge_json(request, response), response.headers.get("etag", "")
    is_plain = etag.isascii() and etag.isprintable() and len(etag) <= _MAX_TAG_CHARACTERS
    return Answer(etag if is_plain else "", response.body, document)
