"""The bytes underneath every document: strict JSON, canonical base64url, SHA-256.

Two readers must never understand one text differently, so whatever JSON leaves open is refused here: duplicate members,
NaN, floats in signed data, integers that a double cannot hold, lone surrogates, NUL, deep nesting, a byte order mark,
base64url with spare bits or padding. This module is the only caller of `json.loads` (a lint enforces it).

Must never: repair input, guess an encoding, or put any of the text into an error.

Implements: R-01, R-02 (design §6 "Strict JSON everywhere"); RFC 8259 narrowed as RFC 7493 (I-JSON) does; RFC 4648 §5
without padding.
"""

from __future__ import annotations

import binascii
import hashlib
import json
import math
from collections.abc import Collection
from typing import Any, Never

from pydantic_core import from_json

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Digest

MAX_SAFE_INTEGER = 2**53 - 1
"""The largest integer that every JSON reader holds exactly (RFC 7493 §2.2)."""
MAX_DEPTH = 16
"""Nesting allowed in any document: the outermost object or array counts as one."""

_UNSURE = object()
_TEXT = frozenset({str})
_LEAVES = frozenset({str, int, bool, type(None)})
_NO_LENGTH = 1 << 62
_MAX_ESCAPES = 4096
"""More of them than an envelope inside a request has; a text with more is read slowly."""
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_LONGEST_SAFE_INTEGER = len(str(-MAX_SAFE_INTEGER))
_TO_STANDARD = bytes.maketrans(b"-_+/=", b"+/!!!")
"""The three characters that only the other alphabet has become one that none has."""
_TO_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_ENCODER = json.JSONEncoder(ensure_ascii=True, allow_nan=False, sort_keys=True, separators=(",", ":"))
"""Made once: the library's own short form makes an encoder a call."""
_PADDING = (b"", b"", b"==", b"=")
_LAST = ("", "", "AQgw", "AEIMQUYcgkosw048")
"""The last characters that leave no bit behind: four bits over after two of a group, two after three."""


def malformed(reason: str) -> ReferralError:
    """The error for text that is not what the profile allows.

    `reason` is one of: `too-deep`, `byte-order-mark`, `not-utf8`, `syntax`, `duplicate-member`, `not-a-number`,
    `float`, `integer-range`, `character` (lone surrogate or NUL), `base64url`, `length`, and, from formats/signed.py,
    `members`, `header`, `algorithm`, `signatures`.
    """
    return ReferralError(ErrorCode.MALFORMED, reason=reason)


def parse(raw: bytes, *, max_bytes: int, floats: bool = False, depth: int = MAX_DEPTH) -> Any:
    """Read one JSON text as design §6 allows it; `floats` admits finite fractions (never used for signed data).

    Raises TOO_LARGE (`limit` in bytes) before anything is decoded, MALFORMED with the `reason` slugs of `malformed`.
    """
    if len(raw) > max_bytes:
        raise ReferralError(ErrorCode.TOO_LARGE, limit=max_bytes)
    value = _find_quickly(raw, depth)
    return _read_slowly(raw, floats=floats, depth=depth) if value is _UNSURE else value


def _find_quickly(raw: bytes, depth: int) -> Any:
    """The value of a text that is spelled as shortly as JSON can spell it, else `_UNSURE`.

    Whatever the fast reader tolerates costs more bytes than the value needs: a member that came twice, white space, an
    escape that was not necessary. So a text of exactly the least length has one reading. On the hot path this takes a
    tenth of the time; a text that fails here is only read again, by the reader that says what is wrong.
    """
    try:
        value = from_json(raw, allow_inf_nan=False)
    except (ValueError, RecursionError):
        return _UNSURE
    texts: list[str] = []
    spare = len(raw) - _least_length(value, depth, texts)
    return value if 0 <= spare <= _MAX_ESCAPES and _count_escapes(texts, spare) == spare else _UNSURE


def _least_length(value: Any, depth: int, texts: list[str]) -> int:
    """How many bytes `value` takes at least, were no character to be escaped; its strings go to `texts`.

    More than any text has for what no document has: a fraction, an integer out of range, nesting deeper than `depth`.
    """
    length = 0
    level = [value]
    for left in range(depth, -1, -1):
        below: list[Any] = []
        for one in level:
            kind = type(one)
            if kind is str:
                texts.append(one)
            elif (kind is dict or kind is list) and left:
                # Brackets and commas; colons.
                length += (len(one) or 1) + 1
                if kind is dict:
                    length += len(one)
                    texts.extend(one)
                    below.extend(one.values())
                else:
                    below.extend(one)
            elif one is None or one is True:
                length += 4
            elif one is False:
                length += 5
            elif kind is int and -MAX_SAFE_INTEGER <= one <= MAX_SAFE_INTEGER:
                length += len(str(one))
            else:
                return _NO_LENGTH
        if not below:
            break
        level = below
    if all(map(str.isascii, texts)):
        return length + 2 * len(texts) + sum(map(len, texts))
    return length + 2 * len(texts) + sum(len(text.encode()) for text in texts)


def _count_escapes(texts: list[str], most: int) -> int:
    """How many characters of these texts can only be written as two; `most` + 1 stands for all above `most`.

    Control characters are not counted: whoever writes one needs more bytes than this allows, and is read slowly.
    """
    found = 0
    if most:
        for text in texts:
            for character in '"\\':
                # Where there are few, looking for the next one is many times faster than counting.
                at = text.find(character)
                while at >= 0 and found <= most:
                    found += 1
                    at = text.find(character, at + 1)
    return found


def _read_slowly(raw: bytes, *, floats: bool, depth: int) -> Any:
    if raw.startswith(_BYTE_ORDER_MARK):
        raise malformed("byte-order-mark")
    value, fault = None, ""
    try:
        value = json.loads(
            raw.decode("utf-8"),
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_float if floats else _no_float,
            parse_constant=_no_constant,
        )
    except UnicodeDecodeError:
        fault = "not-utf8"
    except json.JSONDecodeError:
        fault = "syntax"
    except RecursionError:
        fault = "too-deep"
    if fault:
        # Raised out here: the library's errors hold the whole text, and must not travel along as context.
        raise malformed(fault)
    _check_depth(value, depth)
    # Only a u-escape can spell a character that UTF-8 itself forbids.
    if b"\\u" in raw:
        _check_characters(value)
    return value


def canonical(value: Any) -> bytes:
    """The one text of a value that is compared or hashed rather than signed: sorted members, no space, ASCII only.

    Takes str, int, bool, None, lists and string-keyed dicts; anything else is a programmer's error (TypeError).
    """
    _check_canonical(value)
    return _ENCODER.encode(value).encode("ascii")


def compact(value: Any) -> bytes:
    """Text for data that is signed as written: UTF-8, no space, members as given; types as for `canonical`."""
    _check_canonical(value)
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8")


def b64u(raw: bytes) -> str:
    """Encode as base64url without padding."""
    return binascii.b2a_base64(raw, newline=False).translate(_TO_URL_SAFE).rstrip(b"=").decode("ascii")


def unb64u(text: str, *, exact: int | None = None) -> bytes:
    """Decode canonical base64url without padding, of `exact` bytes if given; what it accepts re-encodes the same.

    Raises MALFORMED (`base64url`, `length`).
    """
    rest = len(text) % 4
    try:
        raw = binascii.a2b_base64(text.encode("ascii").translate(_TO_STANDARD) + _PADDING[rest], strict_mode=True)
    except (UnicodeEncodeError, binascii.Error):
        raise malformed("base64url") from None
    # Only the bits after the last whole byte can differ between two spellings.
    if rest and text[-1] not in _LAST[rest]:
        raise malformed("base64url")
    if exact is not None and len(raw) != exact:
        raise malformed("length")
    return raw


def b64u_length(text: str) -> int:
    """How many bytes a canonical base64url text stands for, without decoding it (for text of hundreds of kilobytes).

    Raises MALFORMED (`base64url`) exactly when `unb64u` would.
    """
    try:
        odd = text.encode("ascii").translate(None, _ALPHABET)
    except UnicodeEncodeError:
        raise malformed("base64url") from None
    groups, rest = divmod(len(text), 4)
    if odd or rest == 1:
        raise malformed("base64url")
    return groups * 3 + (len(unb64u(text[-rest:])) if rest else 0)


def sha256_b64u(raw: bytes) -> Digest:
    """SHA-256 of exact bytes as documents carry it: 43 characters of base64url."""
    return Digest(b64u(hashlib.sha256(raw).digest()))


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise malformed("duplicate-member")
    return members


def _integer(digits: str) -> int:
    if len(digits) > _LONGEST_SAFE_INTEGER or abs(value := int(digits)) > MAX_SAFE_INTEGER:
        raise malformed("integer-range")
    return value


def _float(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise malformed("not-a-number")
    return value


def _no_float(_: str) -> Never:
    raise malformed("float")


def _no_constant(_: str) -> Never:
    raise malformed("not-a-number")


def _check_depth(value: Any, depth: int) -> None:
    level = [value] if isinstance(value, (dict, list)) else []
    for _ in range(depth):
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, (dict, list))
        ]
        if not level:
            return
    raise malformed("too-deep")


def _check_characters(value: Any) -> None:
    """Recursion is bounded: the depth has been checked."""
    if isinstance(value, str):
        if "\0" in value or not _encodable(value):
            raise malformed("character")
    elif isinstance(value, dict):
        for name, child in value.items():
            _check_characters(name)
            _check_characters(child)
    elif isinstance(value, list):
        for child in value:
            _check_characters(child)


def _encodable(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _check_canonical(value: Any) -> None:
    """Refuse what has no canonical form, without recursion: receipts and answers pass here on the hot path."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            if not _TEXT.issuperset(map(type, one)) and not all(isinstance(name, str) for name in one):
                raise TypeError("a member name must be text")
            children: Collection[Any] = one.values()
        elif isinstance(one, list):
            children = one
        elif isinstance(one, (str, int)) or one is None:
            continue
        else:
            raise TypeError(f"{type(one).__name__} has no canonical form")
        # Most objects hold nothing but plain leaves.
        if not _LEAVES.issuperset(map(type, children)):
            waiting.extend(children)
