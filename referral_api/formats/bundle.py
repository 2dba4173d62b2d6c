"""The outside of a sealed bundle: what everybody may check, the blind server included.

A bundle is a JWE in General JSON serialisation with exactly the members protected, aad, recipients, iv, ciphertext and
tag. `protected` is exactly {enc, typ, cty}; `aad` is the routing header {v, ref, from, to:[{party, kid, role}], kc,
att:[{id, manifest, size}]}; recipients stand in the order of `to`. Sizes are hidden by a ladder (bundles) and by Padmé
(attachments); the ladder is enforced here, since GCM keeps the length of what it encrypts.

Must never: hold a private key, decrypt, or let a recipient through that no quantum-resistant key protects.

Implements: R-20, R-21, R-22, R-24 (design §6, bundle, attachments); RFC 7516 §7.2.1 narrowed;
draft-ietf-jose-hpke-encrypt-22 (`ek`); draft-ietf-jose-hpke-pq-pqt-01 (algorithm names).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import DIGEST, PARTY_ID, UUID7, Digest, Kid, PartyId, ReferralId
from referral_api.formats.keys import ENCRYPTION_ALGS, Alg
from referral_api.formats.signed import BUNDLE, FORWARD, NOTE
from referral_api.formats.strict_json import b64u, b64u_length, canonical, parse, sha256_b64u, unb64u

VERSION = 1
"""The only `v` that any document of profile `referral-1` carries."""
KIB = 1024
MAX_BUNDLE_BYTES = 1024 * KIB
MAX_RECIPIENTS = 64
MAX_ROUTING_BYTES = 16 * KIB
MAX_PROTECTED_BYTES = KIB
MAX_ATTACHMENTS = 64
MAX_ATTACHMENT_BYTES = 2 * 1024 * 1024 * KIB
"""Of one attachment and of all of them together, as encrypted (design §6)."""
LADDER = tuple(KIB * step for step in (32, 64, 96, 128, 192, 256, 384, 512))
"""The only sizes, in bytes, that the text inside a bundle ever has."""
PADME_FLOOR = 64 * KIB
"""Attachments below this size are padded to it, so that small ones look alike."""

JWE_TYPE = "referral-bundle+jwe"
CONTENT_TYPES = frozenset({BUNDLE, FORWARD, NOTE})
ENC = "A256GCM"
EK_BYTES: Mapping[Alg, int] = {Alg.HPKE_9: 1120, Alg.HPKE_10: 1665}
ENCRYPTED_KEY_BYTES = 48
IV_BYTES = 12
TAG_BYTES = 16
COMMITMENT_BYTES = 32

_MEMBERS = {"protected", "aad", "recipients", "iv", "ciphertext", "tag"}
_UUID7 = re.compile(UUID7)
_PARTY = re.compile(PARTY_ID)
_DIGEST = re.compile(DIGEST)
_ATTACHMENT_ID = re.compile(r"a(0|[1-9][0-9]?)")


class SealRole(StrEnum):
    """Why a key is among a bundle's recipients.

    The first three are the delivery's role of the party that the key belongs to. `sender` and `archive` are the sealing
    party's own keys, and only its own: a workstation key, so that it can reopen what it sent, and its backup key.
    """

    ACTION = "action"
    INFORMATION = "information"
    ESCALATION = "escalation"
    SENDER = "sender"
    ARCHIVE = "archive"


@dataclass(frozen=True, slots=True)
class Address:
    """One recipient as the routing header and the signed contents name it."""

    party: PartyId
    kid: Kid
    role: SealRole

    def document(self) -> dict[str, str]:
        """The JSON form, the same in the routing header and in the signed contents."""
        return {"kid": self.kid, "party": self.party, "role": self.role.value}


@dataclass(frozen=True, slots=True)
class PartsNotice:
    """What the server needs to know of an attachment: the digest of its parts manifest and its size as encrypted."""

    id: str
    manifest: Digest
    size: int


@dataclass(frozen=True, slots=True)
class RoutingHeader:
    """The part of a bundle that travels in clear: authenticated by the envelope, believed by nobody before opening."""

    ref: ReferralId
    from_party: PartyId
    to: tuple[Address, ...]
    commitment: bytes
    attachments: tuple[PartsNotice, ...] = ()

    def encode(self) -> bytes:
        """The bytes that the envelope authenticates and the contents name by digest (`hdr`)."""
        return canonical(
            {
                "att": [{"id": a.id, "manifest": a.manifest, "size": a.size} for a in self.attachments],
                "from": self.from_party,
                "kc": b64u(self.commitment),
                "ref": self.ref,
                "to": [address.document() for address in self.to],
                "v": VERSION,
            }
        )


@dataclass(frozen=True, slots=True)
class SealedRecipient:
    """The content key, encapsulated for one recipient; both texts are canonical base64url of the right length."""

    alg: Alg
    kid: Kid
    ek_text: str
    encrypted_key_text: str


@dataclass(frozen=True, slots=True)
class SealedBundle:
    """A well-formed envelope. What it holds, and whether its outside is true, only a recipient can tell."""

    raw: bytes
    sha256: Digest
    cty: str
    routing: RoutingHeader
    recipients: tuple[SealedRecipient, ...]
    protected_text: str
    aad_text: str
    iv: bytes
    ciphertext_text: str
    tag: bytes

    @property
    def size(self) -> int:
        """Bytes of the envelope as it travels and is stored."""
        return len(self.raw)

    @property
    def routing_digest(self) -> Digest:
        """SHA-256 of the routing header's bytes, which the signed contents repeat as `hdr`."""
        return sha256_b64u(unb64u(self.aad_text))


def parse_bundle(raw: bytes) -> SealedBundle:
    """Check an envelope from outside: exact members, limits, the ladder, both hybrid suites, and `to` = recipients.

    Raises TOO_LARGE (`limit`); BUNDLE_MALFORMED (`reason`: those of formats/strict_json.py and `members`, `protected`,
    `routing`, `recipients`, `padding`); CLASSICAL_RECIPIENT (`recipient`, an index); WRONG_TYPE; RECIPIENT_MISMATCH
    (`reason` `duplicate` or `routing`).
    """
    try:
        return _parse_bundle(raw)
    except ReferralError as error:
        if error.code is ErrorCode.MALFORMED:
            raise bundle_malformed(error.facts["reason"]) from None
        raise


def bundle_malformed(reason: str) -> ReferralError:
    """The error for an envelope, or for contents, that the profile does not allow."""
    return ReferralError(ErrorCode.BUNDLE_MALFORMED, reason=reason)


def is_version(claimed: Any) -> bool:
    """Whether a `v` is the number 1, which in Python `True` would pass for."""
    return type(claimed) is int and claimed == VERSION


def padded_length(length: int) -> int:
    """The first rung of the ladder that holds `length` bytes; raises TOO_LARGE above the last."""
    for rung in LADDER:
        if length <= rung:
            return rung
    raise ReferralError(ErrorCode.TOO_LARGE, limit=LADDER[-1])


def padme(size: int) -> int:
    """The padded size in bytes of an attachment of `size` bytes (R-29): Padmé over at least 64 KiB, at most 3.2 % more.

    Padmé (Nikitin et al., "Reducing Metadata Leakage from Encrypted Files", 2019) keeps as many leading bits of the
    size as its own length has bits. Raises TOO_LARGE above `MAX_ATTACHMENT_BYTES`.
    """
    if size > MAX_ATTACHMENT_BYTES:
        raise ReferralError(ErrorCode.TOO_LARGE, limit=MAX_ATTACHMENT_BYTES)
    size = max(size, PADME_FLOOR)
    exponent = size.bit_length() - 1
    free_bits = exponent - exponent.bit_length()
    step = 1 << free_bits
    return -(-size // step) * step


def parse_addresses(entries: Any, *, sealed_by: PartyId, malformed: ReferralError) -> tuple[Address, ...]:
    """Read a `to` list and hold it to its rules; raises `malformed`, or RECIPIENT_MISMATCH (`duplicate`).

    1 to 64 entries of exactly {party, kid, role}; no kid twice; `sender` and `archive` are for the sealing party's own
    keys and for nothing else; the keys of one party share its one delivery role.
    """
    if not isinstance(entries, list) or not 1 <= len(entries) <= MAX_RECIPIENTS:
        raise malformed
    addresses = tuple(_parse_address(entry, malformed) for entry in entries)
    roles: dict[PartyId, SealRole] = {}
    for address in addresses:
        own = address.role in {SealRole.SENDER, SealRole.ARCHIVE}
        if own != (address.party == sealed_by):
            raise malformed
        if not own and roles.setdefault(address.party, address.role) is not address.role:
            raise malformed
    if len({address.kid for address in addresses}) != len(addresses):
        raise ReferralError(ErrorCode.RECIPIENT_MISMATCH, reason="duplicate")
    return addresses


def _parse_bundle(raw: bytes) -> SealedBundle:
    document = parse(raw, max_bytes=MAX_BUNDLE_BYTES)
    if not isinstance(document, dict) or document.keys() != _MEMBERS:
        raise bundle_malformed("members")
    texts = [document[name] for name in ("protected", "aad", "iv", "ciphertext", "tag")]
    if not all(isinstance(text, str) for text in texts):
        raise bundle_malformed("members")
    protected_text, aad_text, iv_text, ciphertext_text, tag_text = texts
    cty = _parse_protected(protected_text)
    recipients = _parse_recipients(document["recipients"])
    routing = _parse_routing(aad_text)
    if [r.kid for r in recipients] != [address.kid for address in routing.to]:
        raise ReferralError(ErrorCode.RECIPIENT_MISMATCH, reason="routing")
    if b64u_length(ciphertext_text) not in LADDER:
        raise bundle_malformed("padding")
    return SealedBundle(
        raw=raw,
        sha256=sha256_b64u(raw),
        cty=cty,
        routing=routing,
        recipients=recipients,
        protected_text=protected_text,
        aad_text=aad_text,
        iv=unb64u(iv_text, exact=IV_BYTES),
        ciphertext_text=ciphertext_text,
        tag=unb64u(tag_text, exact=TAG_BYTES),
    )


@lru_cache(maxsize=64)
def _parse_protected(text: str) -> str:
    # Three texts say all that an honest sender may say here.
    header = parse(unb64u(text), max_bytes=MAX_PROTECTED_BYTES)
    if not isinstance(header, dict) or header.keys() != {"enc", "typ", "cty"} or header["enc"] != ENC:
        raise bundle_malformed("protected")
    if header["typ"] != JWE_TYPE:
        raise ReferralError(ErrorCode.WRONG_TYPE, expected=JWE_TYPE)
    cty = header["cty"]
    if not isinstance(cty, str) or cty not in CONTENT_TYPES:
        raise bundle_malformed("protected")
    return cty


def _parse_recipients(entries: Any) -> tuple[SealedRecipient, ...]:
    if not isinstance(entries, list) or not 1 <= len(entries) <= MAX_RECIPIENTS:
        raise bundle_malformed("recipients")
    return tuple(_parse_recipient(index, entry) for index, entry in enumerate(entries))


def _parse_recipient(index: int, entry: Any) -> SealedRecipient:
    if not isinstance(entry, dict) or entry.keys() != {"header", "encrypted_key"}:
        raise bundle_malformed("recipients")
    header, encrypted_key = entry["header"], entry["encrypted_key"]
    if not isinstance(header, dict):
        raise bundle_malformed("recipients")
    # The algorithm is judged first, so that a classical recipient is called by its name and not by its members.
    alg = header.get("alg")
    if not isinstance(alg, str) or alg not in ENCRYPTION_ALGS:
        raise ReferralError(ErrorCode.CLASSICAL_RECIPIENT, recipient=index)
    if header.keys() != {"alg", "kid", "ek"}:
        raise bundle_malformed("recipients")
    kid, ek = header["kid"], header["ek"]
    if not (isinstance(kid, str) and isinstance(ek, str) and isinstance(encrypted_key, str)):
        raise bundle_malformed("recipients")
    if not _DIGEST.fullmatch(kid):
        raise bundle_malformed("recipients")
    if b64u_length(ek) != EK_BYTES[Alg(alg)] or b64u_length(encrypted_key) != ENCRYPTED_KEY_BYTES:
        raise bundle_malformed("length")
    return SealedRecipient(Alg(alg), Kid(kid), ek, encrypted_key)


def _parse_routing(aad_text: str) -> RoutingHeader:
    malformed = bundle_malformed("routing")
    header = parse(unb64u(aad_text), max_bytes=MAX_ROUTING_BYTES)
    if not isinstance(header, dict) or header.keys() != {"v", "ref", "from", "to", "kc", "att"}:
        raise malformed
    ref, from_party, commitment = header["ref"], header["from"], header["kc"]
    if not is_version(header["v"]) or not _matches(_UUID7, ref) or not _matches(_PARTY, from_party):
        raise malformed
    if not isinstance(commitment, str):
        raise malformed
    return RoutingHeader(
        ref=ReferralId(ref),
        from_party=PartyId(from_party),
        to=parse_addresses(header["to"], sealed_by=PartyId(from_party), malformed=malformed),
        commitment=unb64u(commitment, exact=COMMITMENT_BYTES),
        attachments=_parse_notices(header["att"]),
    )


def _parse_notices(entries: Any) -> tuple[PartsNotice, ...]:
    malformed = bundle_malformed("routing")
    if not isinstance(entries, list) or len(entries) > MAX_ATTACHMENTS:
        raise malformed
    notices: list[PartsNotice] = []
    for entry in entries:
        if not isinstance(entry, dict) or entry.keys() != {"id", "manifest", "size"}:
            raise malformed
        size = entry["size"]
        if not (_matches(_ATTACHMENT_ID, entry["id"]) and _matches(_DIGEST, entry["manifest"])):
            raise malformed
        if not isinstance(size, int) or isinstance(size, bool) or not 0 < size <= MAX_ATTACHMENT_BYTES:
            raise malformed
        notices.append(PartsNotice(entry["id"], Digest(entry["manifest"]), size))
    _check_notices(notices)
    return tuple(notices)


def _check_notices(notices: Sequence[PartsNotice]) -> None:
    if len({notice.id for notice in notices}) != len(notices):
        raise bundle_malformed("routing")
    if sum(notice.size for notice in notices) > MAX_ATTACHMENT_BYTES:
        raise bundle_malformed("routing")


def _parse_address(entry: Any, malformed: ReferralError) -> Address:
    if not isinstance(entry, dict) or entry.keys() != {"party", "kid", "role"}:
        raise malformed
    if not (_matches(_PARTY, entry["party"]) and _matches(_DIGEST, entry["kid"])):
        raise malformed
    try:
        return Address(PartyId(entry["party"]), Kid(entry["kid"]), SealRole(entry["role"]))
    except ValueError:
        raise malformed from None


def _matches(pattern: re.Pattern[str], value: Any) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None
