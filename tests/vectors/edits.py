"""The edits that turn a good envelope into a bad one, small enough to be rewritten in any language.

`set` and `remove` act on a path of member names and indexes (setting at the length of an array appends); `inside`
makes such edits in the JSON that a member holds as base64url; `swap` exchanges two array entries; `grow` appends
`count` copies of an array's first entry, or of the letter A; `text` replaces the first occurrence in the serialised
envelope; `cut` drops characters from its end; `prefix` puts base64url bytes before it.
"""

from __future__ import annotations

from typing import Any

from referral_api.formats.strict_json import b64u, canonical, parse, unb64u

MAX_BYTES = 2 * 1024 * 1024


def apply(raw: bytes, edits: list[dict[str, Any]]) -> bytes:
    """The envelope after all edits, in order."""
    for edit in edits:
        match edit["op"]:
            case "text":
                assert edit["find"].encode() in raw
                raw = raw.replace(edit["find"].encode(), edit["with"].encode(), 1)
            case "cut":
                raw = raw[: -edit["count"]]
            case "prefix":
                raw = unb64u(edit["bytes"]) + raw
            case _:
                document = parse(raw, max_bytes=MAX_BYTES)
                _edit(document, edit)
                raw = canonical(document)
    return raw


def _edit(document: Any, edit: dict[str, Any]) -> None:
    *way, last = edit["path"]
    for step in way:
        document = document[step]
    match edit["op"]:
        case "set" if isinstance(document, list) and last == len(document):
            document.append(edit["value"])
        case "set":
            document[last] = edit["value"]
        case "remove":
            del document[last]
        case "grow" if isinstance(document[last], str):
            document[last] += "A" * edit["count"]
        case "grow":
            document[last] += document[last][:1] * edit["count"]
        case "swap":
            document[last[0]], document[last[1]] = document[last[1]], document[last[0]]
        case "inside":
            inner = parse(unb64u(document[last]), max_bytes=MAX_BYTES)
            for deeper in edit["edits"]:
                _edit(inner, deeper)
            document[last] = b64u(canonical(inner))
        case unknown:
            raise ValueError(unknown)
