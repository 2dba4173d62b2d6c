"""Every byte below a folder, searched for every text that was ever sealed: of what was purged there must be nothing.

A text is found by any piece of a hundred bytes, of its ciphertext or of a key that is wrapped inside it, in a row, in a
page that the engine has given up, in a journal (rules R1 and R4 of the field; R-107).

Must never: ask the exchange what it has kept, or pass where it finds nothing at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.lifetime.parcels import marks_in


class LeftOnDiskError(AssertionError):
    """Something is on the disk that was purged, or what was not is not there."""


def search(folder: Path, sent: Mapping[bytes, str], kept: Iterable[bytes]) -> int:
    """Search for all texts (by their marks, with what each is) where just those of `kept` may and must be found.

    Returns how many were searched for and not there. Raises LeftOnDiskError.
    """
    kept = set(kept)
    found: set[bytes] = set()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            found |= marks_in(path.read_bytes())
    if found - kept:
        raise LeftOnDiskError(f"on the disk after its purge: {sorted(sent.get(one, '?') for one in found - kept)[:5]}")
    if kept - found:
        # What is not purged is its own proof that the search would find what is.
        raise LeftOnDiskError(f"not found where it is: {sorted(sent.get(one, '?') for one in kept - found)[:5]}")
    return len(sent.keys() - kept)
