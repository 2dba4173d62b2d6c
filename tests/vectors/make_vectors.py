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

FILES: dict[str, Callable[[dict[str, Vector]], Iterator[Vector]]] = {
    "json": text_vectors.json_vectors,
    "base64url": text_vectors.base64url_vectors,
    "sizes": text_vectors.size_vectors,
    "keys": key_vectors.key_vectors,
    "jws": key_vectors.jws_vectors,
    "possession": key_vectors.possession_vectors,
    "bundles": bundle_vectors.bundle_vectors,
}
VERDICT = ("expect", "reason")
RESULTS = ("hex", "kid", "payload", "payload_sha256", "referral", "kc", "nonce", "table")
"""What a positive vector's reader ends up with, as opposed to what it is given."""


def build(name: str, existing: dict[str, Vector]) -> bytes:
    """The text of one file; what is random comes from `existing` where it is there."""
    vectors = [_published(vector) for vector in FILES[name](existing)]
    return json.dumps(vectors, indent=1, ensure_ascii=False).encode() + b"\n"


def read_existing(path: Path) -> dict[str, Vector]:
    """Vectors of a file by name, input and output merged; none when there is no file yet."""
    if not path.exists():
        return {}
    vectors = parse(path.read_bytes(), max_bytes=MAX_FILE_BYTES)
    return {vector["name"]: vector.pop("input") | vector.pop("output", {}) | vector for vector in vectors}


def _published(vector: Vector) -> Vector:
    head = {name: vector[name] for name in ("name", "clause")}
    given = {name: value for name, value in vector.items() if name not in (*head, *VERDICT, *RESULTS)}
    output = {name: vector[name] for name in RESULTS if name in vector}
    verdict = {name: vector[name] for name in VERDICT if name in vector}
    return head | {"input": given} | ({"output": output} if output else {}) | verdict


def main(directory: Path) -> None:
    """Write every file."""
    directory.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        path = directory / f"{name}.json"
        path.write_bytes(build(name, read_existing(path)))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else DIRECTORY)
