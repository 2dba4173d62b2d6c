"""The inside of a bundle: what the sender signs and only recipients read.

Three kinds share one frame: `referral-bundle+jws` (the referral), `referral-forward+jws` (re-wrap, re-seal, transfer:
a new statement around the first bundle's JWS verbatim), `referral-note+jws` (the sealed text beside a later act).
Frame: {v, t, ref, iss, party, aud, to, sigs, hdr, keys_log, salt, iat}. `party` signed and equals the routing header's
`from`; `to` repeats the header's recipients, kids included; `hdr` is the header's digest; `sigs` names the signatures
that were made, so that a missing one shows; `salt` makes digests unguessable. A bundle adds {referral, attachments}, a
forward {reason, prev, original} (design §6 `from` and `to` are its `party` and `to`), a note {note}.

Must never: be written anywhere unsealed, or be believed before client/sealing.py has compared it with its envelope.

Implements: R-26, R-28; design §6 (Bundle, Attachments, re-wrap and transfer; keys_log of §5).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, TypeAlias

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import (
    CREDENTIAL_ID,
    DIGEST,
    UUID4,
    UUID7,
    ActId,
    CredentialId,
    Digest,
    PartyId,
    ReferralId,
)
from referral_api.formats.bundle import (
    KIB,
    LADDER,
    MAX_ATTACHMENT_BYTES,
    MAX_ATTACHMENTS,
    VERSION,
    Address,
    bundle_malformed,
    is_version,
    parse_addresses,
)
from referral_api.formats.keys import SIGNATURE_ALGS, Alg
from referral_api.formats.signed import BUNDLE, FORWARD, MAX_SIGNATURES, NOTE
from referral_api.formats.strict_json import b64u, compact, parse, unb64u

MAX_JWS_BYTES: Mapping[str, int] = {BUNDLE: 360 * KIB, FORWARD: LADDER[-1], NOTE: LADDER[0]}
"""Of the signed text, by typ. A bundle leaves room to be forwarded whole (base64url of it, the forwarder's frame for 64
recipients and two signatures fit the last rung); a note fits the first rung, so that its size says nothing."""
MAX_NOTE_CHARACTERS = 4000
SALT_BYTES = 16
ATTACHMENT_KEY_BYTES = 32
ATTACHMENT_CIPHER: Final = "cobblestone-256"
ATTACHMENT_CONTEXT: Final = b"referral-1/attachment"
"""Cobblestone's context is this, 0x00, the referral id, 0x00, the attachment id: a part fits no other
place (R-29)."""

_FRAME = frozenset({"v", "t", "ref", "iss", "party", "aud", "to", "sigs", "hdr", "keys_log", "salt", "iat"})
_UUID4, _UUID7 = re.compile(UUID4), re.compile(UUID7)
_CREDENTIAL, _DIGEST = re.compile(CREDENTIAL_ID), re.compile(DIGEST)
_ISSUER = re.compile(r"https?://[!-~]{1,240}")
_ORIGIN = re.compile(r"[!-*,-~]{1,240}")
_ATTACHMENT_ID = re.compile(r"a(0|[1-9][0-9]?)")
_MEDIA_TYPE = re.compile(r"[a-z0-9][a-z0-9.+-]{0,60}/[a-z0-9][a-z0-9.+-]{0,80}")
_FILE_NAME = re.compile(r"[^\x00-\x1f\x7f/\\]{1,120}")
SHORT_TEXT = re.compile(r"[^\x00-\x1f\x7f]{1,64}")


class ForwardReason(StrEnum):
    """Why a bundle travels in a second envelope: to one's own new key, to a replaced key, or to another unit."""

    REWRAP = "rewrap"
    RESEAL = "reseal"
    TRANSFER = "transfer"


@dataclass(frozen=True, slots=True)
class KeysLogView:
    """The keys log as the sender saw it when sealing: evidence against an exchange that shows each party its own."""

    origin: str
    size: int
    root: Digest


@dataclass(frozen=True, slots=True)
class AttachmentKey:
    """How to open one attachment; sizes and digest are of the plaintext. The key is shown in no representation."""

    id: str
    name: str
    media_type: str
    size: int
    sha256: Digest
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class BundleBody:
    """The referral as an object that formats/referral_body.py validates, and the keys of its attachments."""

    referral: dict[str, Any] = field(repr=False)
    attachments: tuple[AttachmentKey, ...] = ()


@dataclass(frozen=True, slots=True)
class ForwardBody:
    """`prev`: digest of the document that the forwarder itself opened; `original`: the first bundle's JWS, verbatim."""

    reason: ForwardReason
    prev: Digest
    original: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class NoteBody:
    """The sealed text beside the act `act`, with the unit's own file number and a contact where they apply."""

    act: ActId
    text: str = field(repr=False)
    case_number: str | None = field(default=None, repr=False)
    contact: str | None = field(default=None, repr=False)


Body: TypeAlias = BundleBody | ForwardBody | NoteBody
_KINDS: Mapping[type, str] = {BundleBody: BUNDLE, ForwardBody: FORWARD, NoteBody: NOTE}
_NAMES: Mapping[str, str] = {BUNDLE: "bundle", FORWARD: "forward", NOTE: "note"}


@dataclass(frozen=True, slots=True)
class Contents:
    """One signed inner document, whole. `issued_at_s` is Unix seconds, `audience` the issuer URL of the exchange."""

    ref: ReferralId
    issuer: CredentialId
    party: PartyId
    audience: str
    to: tuple[Address, ...]
    signature_algs: tuple[Alg, ...]
    routing_digest: Digest
    keys_log: KeysLogView
    salt: bytes
    issued_at_s: int
    body: Body

    @property
    def typ(self) -> str:
        """The JWS `typ`, which is also the envelope's `cty`."""
        return _KINDS[type(self.body)]

    def encode(self) -> bytes:
        """The payload bytes to sign."""
        frame: dict[str, Any] = {
            "v": VERSION,
            "t": _NAMES[self.typ],
            "ref": self.ref,
            "iss": self.issuer,
            "party": self.party,
            "aud": self.audience,
            "to": [address.document() for address in self.to],
            "sigs": [alg.value for alg in self.signature_algs],
            "hdr": self.routing_digest,
            "keys_log": {"origin": self.keys_log.origin, "size": self.keys_log.size, "root": self.keys_log.root},
            "salt": b64u(self.salt),
            "iat": self.issued_at_s,
        }
        return compact(frame | _encode_body(self.body))


def parse_contents(payload: bytes, typ: str) -> Contents:
    """Read the payload of an inner document of this `typ`; nothing in it is verified yet.

    Raises BUNDLE_MALFORMED (`reason` `contents`, or one of formats/strict_json.py), RECIPIENT_MISMATCH (`duplicate`).
    """
    try:
        return _parse_contents(payload, typ)
    except ReferralError as error:
        if error.code is ErrorCode.MALFORMED:
            raise bundle_malformed(error.facts["reason"]) from None
        raise


def _parse_contents(payload: bytes, typ: str) -> Contents:
    document = parse(payload, max_bytes=MAX_JWS_BYTES[typ])
    if not isinstance(document, dict) or document.keys() != _FRAME | _BODY_MEMBERS[typ]:
        raise _malformed()
    if not is_version(document["v"]) or document["t"] != _NAMES[typ]:
        raise _malformed()
    issuer = CredentialId(_text(document["iss"], _CREDENTIAL))
    party = PartyId(issuer.partition(".")[0])
    if document["party"] != party:
        raise _malformed()
    return Contents(
        ref=ReferralId(_text(document["ref"], _UUID7)),
        issuer=issuer,
        party=party,
        audience=_text(document["aud"], _ISSUER),
        to=parse_addresses(document["to"], sealed_by=party, malformed=_malformed()),
        signature_algs=_parse_algs(document["sigs"]),
        routing_digest=Digest(_text(document["hdr"], _DIGEST)),
        keys_log=_parse_keys_log(document["keys_log"]),
        salt=_binary(document["salt"], SALT_BYTES),
        issued_at_s=_count(document["iat"]),
        body=_PARSERS[typ](document),
    )


def _encode_body(body: Body) -> dict[str, Any]:
    if isinstance(body, BundleBody):
        return {"referral": body.referral, "attachments": [_encode_attachment(each) for each in body.attachments]}
    if isinstance(body, ForwardBody):
        return {"reason": body.reason.value, "prev": body.prev, "original": body.original.decode("ascii")}
    optional = {"case_number": body.case_number, "contact": body.contact}
    present = {name: text for name, text in optional.items() if text is not None}
    return {"note": {"act": body.act, "text": body.text} | present}


def _encode_attachment(attachment: AttachmentKey) -> dict[str, Any]:
    return {
        "id": attachment.id,
        "name": attachment.name,
        "type": attachment.media_type,
        "size": attachment.size,
        "sha256": attachment.sha256,
        "enc": ATTACHMENT_CIPHER,
        "key": b64u(attachment.key),
    }


def _parse_bundle_body(document: dict[str, Any]) -> BundleBody:
    referral, entries = document["referral"], document["attachments"]
    if not isinstance(referral, dict) or not isinstance(entries, list) or len(entries) > MAX_ATTACHMENTS:
        raise _malformed()
    attachments = tuple(_parse_attachment(entry) for entry in entries)
    if len({attachment.id for attachment in attachments}) != len(attachments):
        raise _malformed()
    return BundleBody(referral, attachments)


def _parse_attachment(entry: Any) -> AttachmentKey:
    if not isinstance(entry, dict) or entry.keys() != {"id", "name", "type", "size", "sha256", "enc", "key"}:
        raise _malformed()
    if entry["enc"] != ATTACHMENT_CIPHER:
        raise _malformed()
    return AttachmentKey(
        id=_text(entry["id"], _ATTACHMENT_ID),
        name=_text(entry["name"], _FILE_NAME),
        media_type=_text(entry["type"], _MEDIA_TYPE),
        size=_count(entry["size"], most=MAX_ATTACHMENT_BYTES),
        sha256=Digest(_text(entry["sha256"], _DIGEST)),
        key=_binary(entry["key"], ATTACHMENT_KEY_BYTES),
    )


def _parse_forward_body(document: dict[str, Any]) -> ForwardBody:
    original = document["original"]
    if not isinstance(original, str) or not original.isascii():
        raise _malformed()
    try:
        reason = ForwardReason(document["reason"])
    except ValueError:
        raise _malformed() from None
    return ForwardBody(reason, Digest(_text(document["prev"], _DIGEST)), original.encode("ascii"))


def _parse_note_body(document: dict[str, Any]) -> NoteBody:
    note = document["note"]
    if not isinstance(note, dict) or not {"act", "text"} <= note.keys() <= {"act", "text", "case_number", "contact"}:
        raise _malformed()
    text = note["text"]
    if not isinstance(text, str) or not len(text) <= MAX_NOTE_CHARACTERS:
        raise _malformed()
    return NoteBody(
        act=ActId(_text(note["act"], _UUID4)),
        text=text,
        case_number=_text(note["case_number"], SHORT_TEXT) if "case_number" in note else None,
        contact=_text(note["contact"], SHORT_TEXT) if "contact" in note else None,
    )


def _parse_keys_log(entry: Any) -> KeysLogView:
    if not isinstance(entry, dict) or entry.keys() != {"origin", "size", "root"}:
        raise _malformed()
    return KeysLogView(
        origin=_text(entry["origin"], _ORIGIN),
        size=_count(entry["size"]),
        root=Digest(_text(entry["root"], _DIGEST)),
    )


def _parse_algs(names: Any) -> tuple[Alg, ...]:
    if not isinstance(names, list) or not 1 <= len(names) <= MAX_SIGNATURES:
        raise _malformed()
    if not all(isinstance(name, str) and name in SIGNATURE_ALGS for name in names) or len(set(names)) != len(names):
        raise _malformed()
    return tuple(Alg(name) for name in names)


def _text(value: Any, pattern: re.Pattern[str]) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise _malformed()
    return value


def _binary(value: Any, length: int) -> bytes:
    if not isinstance(value, str):
        raise _malformed()
    return unb64u(value, exact=length)


def _count(value: Any, most: int | None = None) -> int:
    if type(value) is not int or value < 0 or (most is not None and value > most):
        raise _malformed()
    return value


def _malformed() -> ReferralError:
    return bundle_malformed("contents")


_BODY_MEMBERS: Mapping[str, frozenset[str]] = {
    BUNDLE: frozenset({"referral", "attachments"}),
    FORWARD: frozenset({"reason", "prev", "original"}),
    NOTE: frozenset({"note"}),
}
_PARSERS: Mapping[str, Callable[[dict[str, Any]], Body]] = {
    BUNDLE: _parse_bundle_body,
    FORWARD: _parse_forward_body,
    NOTE: _parse_note_body,
}
