"""The leaf of the audit log: what the tree commits to, and nothing that tells who or what it is about.

A leaf is one canonical JSON text `{"d":<digest>,"k":<kind>,"t":<seconds>,"v":1}`. Behind `d` stands a *record*: the
stored JWS bytes of an act, or one of the exchange's own records (records.py). After a lawful erasure of the record the
leaf reveals its kind and its time alone, and every proof still verifies. (Leaves of the keys log are the signed texts
themselves, because every client replicates that log whole.)

Must never: hold anything but these four members, or accept a second spelling of a leaf.

Implements: design §6 (Leaf), R-91.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from referral_api.domain.words import DIGEST, Digest
from referral_api.formats.strict_json import MAX_SAFE_INTEGER, malformed, sha256_b64u


class LeafKind(StrEnum):
    """What kind of record stands behind a leaf."""

    ACT = "act"
    """A signed act of a party or of the exchange's timers, accepted or finally refused."""
    ERASE = "erase"
    """A signed `erase` act, which names the leaves whose records may be gone."""
    SERVER = "server"
    """The exchange's own record of what it did with a call, other than handing something out."""
    ACCESS = "access"
    """The exchange's own record that a credential was given something to read."""
    SYSTEM = "system"
    """The exchange's own record about itself: its logs, configuration, clock and recovery."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """`digest` is SHA-256 of the exact record, `logged_s` the exchange's time in whole seconds since 1970."""

    digest: Digest
    kind: LeafKind
    logged_s: int


_KINDS: Final = {kind.value: kind for kind in LeafKind}
_LEAF: Final = re.compile(
    rf'{{"d":"({DIGEST})","k":"({"|".join(LeafKind)})","t":(0|[1-9][0-9]{{0,15}}),"v":1}}'.encode("ascii")
)


def leaf_of(record: bytes, kind: LeafKind, logged_s: int) -> Leaf:
    """The leaf that commits to these exact record bytes."""
    return Leaf(sha256_b64u(record), kind, logged_s)


def encode_leaf(leaf: Leaf) -> bytes:
    """The one spelling of a leaf. Raises MALFORMED (`leaf`) for fields that no reader would take for a leaf."""
    raw = f'{{"d":"{leaf.digest}","k":"{leaf.kind.value}","t":{leaf.logged_s},"v":1}}'.encode()
    parse_leaf(raw)
    return raw


def parse_leaf(raw: bytes) -> Leaf:
    """Read a leaf. What is accepted is exactly what `encode_leaf` writes, byte for byte; else MALFORMED (`leaf`)."""
    match = _LEAF.fullmatch(raw)
    if match is None or (logged_s := int(match[3])) > MAX_SAFE_INTEGER:
        raise malformed("leaf")
    return Leaf(Digest(match[1].decode()), _KINDS[match[2].decode()], logged_s)
