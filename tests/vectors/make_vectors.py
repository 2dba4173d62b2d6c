"""Writes schemas/vectors/: what an implementation in any language must accept, and what it must refuse and why.

Run as `python -m tests.vectors.make_vectors [DIRECTORY]`. Encapsulations and ML-DSA signatures are random, so a vector
that is already in its file stays as it is; to renew one, delete it from the file. Tables and whatever else is
deterministic are rebuilt every time, so that a change of meaning shows in the diff.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from referral_api.formats.strict_json import parse
from tests.vectors import bundle_vectors, key_vectors, text_vectors

Vector = dict[str, Any]
DIRECTORY = Path(__file__).resolve().parents[2] / "schemas" / "vectors"
MAX_FILE_BYTES = 16 * 1024 * 1024

SIZES = "The padding ladder of bundles and Padmé of attachments: [size, padded size]."
JWS = "Signed documents: `keys` are the signer's, `required` the algorithms of its statement."
BUNDLES = """Envelopes. `seeds` are the reader's decryption keys, `senders` its replica of the keys log.
A negative either has its own `bundle` or names its `base` and the `edits` to make on it."""
FILES: dict[str, tuple[str, Callable[[dict[str, Vector]], Iterator[Vector]]]] = {
    "json": ("Strict JSON: `raw` is base64url of the text.", text_vectors.json_vectors),
    "base64url": ("Canonical base64url without padding.", text_vectors.base64url_vectors),
    "sizes": (SIZES, text_vectors.size_vectors),
    "keys": ("Public keys and their RFC 7638 thumbprints.", key_vectors.key_vectors),
    "jws": (JWS, key_vectors.jws_vectors),
    "possession": ("A nonce sealed to an encryption key of a seed.", key_vectors.possession_vectors),
    "bundles": (BUNDLES, bundle_vectors.bundle_vectors),
}


def build(name: str, existing: dict[str, Vector]) -> bytes:
    """The text of one file; what is random comes from `existing` where it is there."""
    about, make = FILES[name]
    return json.dumps({"about": about, "vectors": list(make(existing))}, indent=1, ensure_ascii=False).encode() + b"\n"


def read_existing(path: Path) -> dict[str, Vector]:
    """Vectors of a file by name; none when there is no file yet."""
    if not path.exists():
        return {}
    document = parse(path.read_bytes(), max_bytes=MAX_FILE_BYTES)
    return {vector["name"]: vector for vector in document["vectors"]}


def main(directory: Path) -> None:
    """Write every file."""
    directory.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        path = directory / f"{name}.json"
        path.write_bytes(build(name, read_existing(path)))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else DIRECTORY)
