"""What is left of texts in files: every window of 32 bytes of a text, looked for at every place of every file.

Must never: look at a place only where the text stood before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

WINDOW = 32


def left_of(texts: Iterable[bytes], *places: Path) -> list[str]:
    """The files under these places that hold any 32 bytes in a row of any of the texts."""
    windows = {text[at : at + WINDOW] for text in texts for at in range(len(text) - WINDOW + 1)}
    return [path.name for path in files_under(*places) if _holds(path.read_bytes(), windows)]


def files_under(*places: Path) -> list[Path]:
    """Every file, in order."""
    found: list[Path] = []
    for place in places:
        found += [place] if place.is_file() else sorted(path for path in place.rglob("*") if path.is_file())
    return found


def hex_digest_of_files(folder: Path) -> dict[str, str]:
    """The digest of every file under a folder."""
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files_under(folder)}


def _holds(raw: bytes, windows: set[bytes]) -> bool:
    return any(raw[at : at + WINDOW] in windows for at in range(len(raw) - WINDOW + 1))
