"""The form of a token request: read strictly, and whom it claims to come from, of which nothing is proved.

Must never: believe a claim, echo what was sent, or know how a request is answered.

Implements: R-05 (token request), R-40; RFC 6749 §4.4.2.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple
from urllib.parse import parse_qsl

from referral_api.domain.errors import ReferralError
from referral_api.formats.strict_json import parse
from referral_api.server.service.oauth import MAX_ASSERTION_BYTES
from referral_api.server.service.proofs import parse_compact

MAX_FORM_BYTES = 16_384
_FIELDS = 20
_TYPE = b"application/x-www-form-urlencoded"


class FormError(Exception):
    """The request is no form of ours; `description` says why, in words that hold nothing of it."""

    def __init__(self, description: str) -> None:
        super().__init__(description)
        self.description = description


class Claimed(NamedTuple):
    """In whose name a request is made, and which key it names. Both are "" where no assertion can be read."""

    name: str
    kid: str


def read_form(body: bytes, headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """The parameters of a token request, each once. Raises FormError."""
    fields = list(headers)
    types = [value for name, value in fields if name == b"content-type"]
    if len(types) != 1 or types[0].partition(b";")[0].strip().lower() != _TYPE:
        raise FormError("The request is a form: application/x-www-form-urlencoded.")
    if any(name == b"authorization" for name, _ in fields):
        raise FormError("Clients authenticate by private_key_jwt alone, without an Authorization header.")
    if len(body) > MAX_FORM_BYTES:
        raise FormError("The form is too long.")
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=bool(body),
            max_num_fields=_FIELDS,
            errors="strict",
        )
    except ValueError:
        raise FormError("The form cannot be read.") from None
    form = dict(pairs)
    if len(form) != len(pairs):
        raise FormError("A parameter is repeated.")
    if "client_secret" in form:
        raise FormError("Clients authenticate by private_key_jwt alone.")
    if not form.get("grant_type"):
        raise FormError("grant_type is missing.")
    return form


def read_claimed(form: Mapping[str, str]) -> Claimed:
    """Whom a form's assertion names. Never raises; costs a few microseconds, and no signature is looked at."""
    assertion = form.get("client_assertion", "")
    if len(assertion) > MAX_ASSERTION_BYTES:
        return Claimed("", "")
    try:
        compact = parse_compact(assertion.encode("utf-8"))
        header, claims = (
            parse(part, max_bytes=MAX_ASSERTION_BYTES, floats=True) for part in (compact.header, compact.payload)
        )
    except ReferralError:
        return Claimed("", "")
    name = claims.get("sub") if isinstance(claims, dict) else None
    kid = header.get("kid") if isinstance(header, dict) else None
    if not isinstance(name, str) or not isinstance(kid, str):
        return Claimed("", "")
    return Claimed(name, kid)
