"""What travels beside acts, with a real outside: sealed texts whose ciphertext says of every few bytes whose they are.

The exchange can no more open these than any others. Everything that it can check is right: members, recipients, sizes,
digests (formats/bundle.py). Ciphertext and wrapped keys repeat a mark of their own text from end to end, so that any
piece of it that is left somewhere, half a page of a database even, tells from which text it is (`marks_in`).

Must never: hold anything that could be read, or the same ciphertext twice.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from referral_api.domain.words import Act
from referral_api.formats.act import parse_act
from referral_api.formats.bundle import EK_BYTES, LADDER, Address, RoutingHeader, SealRole
from referral_api.formats.keys import Alg
from referral_api.formats.signed import BUNDLE, FORWARD, NOTE
from referral_api.formats.strict_json import b64u, canonical, sha256_b64u
from tests.formats.parties_world import Someone
from tests.lifetime.house import House

TAG: Final = hashlib.shake_256(b"ciphertext").digest(12)
"""With what each block of ciphertext begins; 18 bytes of its own text's mark end it: 40 letters in base64url."""
MARK_BYTES: Final = 18
MARKED: Final = re.compile(
    re.escape(b64u(TAG).encode()) + rb"([A-Za-z0-9_-]{24})"
    rb"|" + re.escape(TAG) + rb"(.{18})|" + TAG.hex().encode() + rb"([0-9a-f]{36})",
    re.DOTALL,
)
KIND: Final = {Act.SUBMIT: BUNDLE, Act.SUPPLEMENT: BUNDLE, Act.TRANSFER: FORWARD, Act.REWRAP: FORWARD}
SEALED_ALWAYS: Final = frozenset({Act.SUBMIT, Act.SUPPLEMENT, Act.TRANSFER, Act.REWRAP, Act.NOTE})


def envelope(house: House, sender: str, ref: str, to: Sequence[tuple[str, str]], kind: str) -> bytes:
    """A sealed text to the keys of these parties, each with its role."""
    keys = [(party, role, kid, alg) for party, role in to for kid, alg in house.recipients(party)]
    mark = house.draw().encode()
    addresses = tuple(Address(party, kid, SealRole(role)) for party, role, kid, _ in keys)  # type: ignore[arg-type]
    routing = RoutingHeader(ref, sender, addresses, _bytes(mark, 32)).encode()  # type: ignore[arg-type]
    return canonical(
        {
            "protected": b64u(canonical({"cty": kind, "enc": "A256GCM", "typ": "referral-bundle+jwe"})),
            "aad": b64u(routing),
            "recipients": [_recipient(mark, kid, alg) for _, _, kid, alg in keys],
            "iv": b64u(_bytes(mark, 12)),
            "ciphertext": b64u(_marked(mark, LADDER[0])),
            "tag": b64u(_bytes(mark, 16)),
        }
    )


def _recipient(mark: bytes, kid: str, alg: Alg) -> dict[str, Any]:
    return {
        "encrypted_key": b64u(_marked(mark, 30) + _bytes(mark + kid.encode(), 18)),
        "header": {"alg": alg.value, "ek": b64u(_bytes(mark + kid.encode() + b"k", EK_BYTES[alg])), "kid": kid},
    }


def _marked(mark: bytes, count: int) -> bytes:
    block = TAG + _bytes(mark + b"c", MARK_BYTES)
    return (block * (count // len(block) + 1))[:count]


def marks_in(raw: bytes) -> set[bytes]:
    """Of which texts there is a piece in these bytes: as it was sent, as the bytes that this spells, or in hex."""
    return {_plain(text, own, digits) for text, own, digits in MARKED.findall(raw)}


def _plain(text: bytes, own: bytes, digits: bytes) -> bytes:
    return base64.urlsafe_b64decode(text) if text else own or bytes.fromhex(digits.decode())


def _bytes(mark: bytes, count: int) -> bytes:
    return hashlib.shake_256(mark).digest(count)


@dataclass(frozen=True, slots=True)
class Parcel:
    """One act and what is beside it, which can be sent as often as anybody likes."""

    by: Someone
    raw: bytes
    digest: str
    act: Act
    ref: str
    unit: str | None
    beside: Mapping[str, bytes] = field(default_factory=dict)
    carrier: Someone | None = None
    """Who brings it to the exchange, if not its signer."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A submission: who gets it for what, how urgent it is, and who must never."""

    to: Sequence[tuple[str, str]]
    urgency: str = "routine"
    retention: str = "standard"
    excluded: Sequence[str] = ()
    relation: Mapping[str, str] | None = None
    created_at: int | None = None
    operator: str | None = None
    """For whom a program submits."""


def submission(house: House, by: Someone, wanted: Wanted) -> Parcel:
    """A submit, and beside it the route act where units are excluded."""
    ref = house.draw(7)
    bundle = envelope(house, by.party, ref, wanted.to, BUNDLE)
    body: dict[str, Any] = {
        "bundle": {"sha256": sha256_b64u(bundle), "size": len(bundle)},
        "to": [{"unit": unit, "role": role} for unit, role in wanted.to],
        "urgency": wanted.urgency,
        "basis": "third_party_tip",
        "identity_level": "anonymous",
        "retention_class": wanted.retention,
        "created_at": house.now if wanted.created_at is None else wanted.created_at,
    }
    if wanted.urgency == "emergency":
        body["phone_alert"] = {"made": False}
    if wanted.operator is not None:
        body["operator"] = wanted.operator
    if wanted.relation is not None:
        body["relation"] = dict(wanted.relation)
    beside = {"sealed": bundle}
    if wanted.excluded:
        beside["route"] = house.sign(by, Act.ROUTE, {"excluded": list(wanted.excluded)}, ref=ref)
    raw = house.sign(by, Act.SUBMIT, body, ref=ref)
    return Parcel(by, raw, _digest(raw), Act.SUBMIT, ref, None, beside)


def parcel(
    house: House, by: Someone, act: Act, body: Mapping[str, Any], *, ref: str, unit: str | None, prev: str | None,
    to: Sequence[str] = (), iat: int | None = None,
) -> Parcel:  # fmt: skip
    """Any later act; with `to`, something sealed to these parties beside it."""
    beside: dict[str, bytes] = {}
    if to:
        role = "sender" if act is Act.REWRAP else "action"
        text = envelope(house, by.party, ref, [(party, role) for party in to], KIND.get(act, NOTE))
        body = {**body, "sealed": {"sha256": sha256_b64u(text), "size": len(text)}}
        beside["sealed"] = text
    raw = house.sign(by, act, body, ref=ref, unit=unit, prev=prev, iat=iat)
    return Parcel(by, raw, _digest(raw), act, ref, unit, beside)


def _digest(raw: bytes) -> str:
    return parse_act(raw).digest
