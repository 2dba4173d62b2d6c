"""Vectors of the bytes underneath: strict JSON, base64url, padded sizes (R-01, R-02, R-24)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from referral_api.formats.bundle import LADDER, MAX_ATTACHMENT_BYTES, padded_length, padme
from referral_api.formats.strict_json import b64u

Vector = dict[str, Any]

GOOD_JSON: dict[str, bytes] = {
    "an object": b'{"a":[1,true,null,"x"]}',
    "white space around and inside": b' { "a" : 1 }\n  ',
    "sixteen levels": b"[" * 16 + b"]" * 16,
    "the largest safe integers": b"[9007199254740991,-9007199254740991]",
    "letters beyond ASCII": '{"año":"ñandú 😀"}'.encode(),
    "a surrogate pair as escapes": b'["\\ud83d\\ude00"]',
}
BAD_JSON: dict[str, tuple[bytes, str]] = {
    "byte order mark": (b'\xef\xbb\xbf{"a":1}', "byte-order-mark"),
    "UTF-16": ('{"a":1}'.encode("utf-16-le"), "syntax"),
    "overlong UTF-8": (b'"\xc0\xaf"', "not-utf8"),
    "a surrogate in UTF-8": (b'"\xed\xa0\x80"', "not-utf8"),
    "empty": (b"", "syntax"),
    "truncated": (b'{"a":', "syntax"),
    "two values": (b"{}{}", "syntax"),
    "trailing comma": (b"[1,]", "syntax"),
    "comment": (b"[1]//x", "syntax"),
    "leading zero": (b"[01]", "syntax"),
    "single quotes": (b"{'a':1}", "syntax"),
    "a raw line feed in a string": (b'"a\nb"', "syntax"),
    "duplicate member": (b'{"a":1,"a":1}', "duplicate-member"),
    "duplicate member, spelt differently": (b'{"a":1,"\\u0061":2}', "duplicate-member"),
    "duplicate member, deep inside": (b'[{"x":{"b":1,"b":2}}]', "duplicate-member"),
    "NaN": (b"[NaN]", "not-a-number"),
    "Infinity": (b"[-Infinity]", "not-a-number"),
    "fraction": (b"[1.0]", "float"),
    "exponent": (b"[1e2]", "float"),
    "integer beyond 2^53": (b"[9007199254740992]", "integer-range"),
    "seventeen levels": (b"[" * 17 + b"]" * 17, "too-deep"),
    "a lone high surrogate": (b'["\\ud800"]', "character"),
    "surrogates in the wrong order": (b'["\\ude00\\ud83d"]', "character"),
    "NUL": (b'["\\u0000"]', "character"),
}
GOOD_BASE64URL = {"": b"", "AA": b"\x00", "AAA": b"\x00\x00", "AAAA": b"\x00\x00\x00", "-_8": b"\xfb\xff"}
BAD_BASE64URL = {
    "padding": "AA==",
    "spare bits after one byte": "AB",
    "spare bits after two bytes": "AAB",
    "one letter left over": "AAAAA",
    "standard alphabet, plus": "+/8",
    "standard alphabet, slash": "AA/A",
    "space": "AA AA",
    "line feed at the end": "AAAA\n",
    "a letter beyond ASCII": "AAÁA",
}


def json_vectors(_: dict[str, Vector]) -> Iterator[Vector]:
    """R-01."""
    for name, raw in GOOD_JSON.items():
        yield {"name": name, "clause": "R-01", "raw": b64u(raw), "expect": "ok"}
    for name, (raw, reason) in BAD_JSON.items():
        yield {"name": name, "clause": "R-01", "raw": b64u(raw), "expect": "malformed", "reason": reason}


def base64url_vectors(_: dict[str, Vector]) -> Iterator[Vector]:
    """R-02."""
    for text, raw in GOOD_BASE64URL.items():
        yield {
            "name": f"{len(raw)} bytes: {raw.hex()}",
            "clause": "R-02",
            "text": text,
            "hex": raw.hex(),
            "expect": "ok",
        }
    for name, text in BAD_BASE64URL.items():
        yield {"name": name, "clause": "R-02", "text": text, "expect": "malformed", "reason": "base64url"}


def size_vectors(_: dict[str, Vector]) -> Iterator[Vector]:
    """R-24 and the padding of attachments."""
    around = sorted({max(0, rung + step) for rung in (0, *LADDER) for step in (-1, 0, 1)} - {LADDER[-1] + 1})
    yield {
        "name": "ladder",
        "clause": "R-24",
        "table": [[size, padded_length(size)] for size in around],
        "expect": "ok",
    }
    yield {"name": "above the ladder", "clause": "R-24", "size": LADDER[-1] + 1, "expect": "too-large"}
    sizes = [0, 1, 65535, 65536, 65537, 67584, 67585, 100_000, 131_071, 131_072, 131_073, 303_464, 1_000_000, 9_999_999]
    sizes += [2**26, 2**26 + 1, 10**9, MAX_ATTACHMENT_BYTES - 1, MAX_ATTACHMENT_BYTES]
    yield {"name": "padme", "clause": "R-29", "table": [[size, padme(size)] for size in sizes], "expect": "ok"}
