"""Vectors of sealed bundles: envelopes that open, and one for every way in which they must not (R-20 to R-28)."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

from referral_api.client.sealing import EncPrivateKey, Recipient, commitment
from referral_api.domain.words import PartyId
from referral_api.formats.bundle import Address, SealRole
from referral_api.formats.keys import Alg
from referral_api.formats.signed import FORWARD
from referral_api.formats.strict_json import b64u, parse, sha256_b64u, unb64u
from tests.vectors import scene
from tests.vectors.scene import (
    FAR_KEY,
    HOTLINE_ED,
    HOTLINE_KEY,
    HOTLINE_ML,
    NATIONAL_KEY,
    NEAR_KEY,
    OFFICER_ED,
    OFFICER_ES,
    STRANGER_ED,
    TO_FAR,
    TO_NATIONAL,
    TO_NEAR,
    TO_SELF,
)

Vector = dict[str, Any]
ONE, THREE, MIXED = "one recipient, HPKE-9", "three recipients, HPKE-9", "mixed suites"
Edit = tuple[str, str, str, list[dict[str, Any]], str, str | None]
SENDERS = [
    {"iss": issuer, "keys": [key.jwk for key in sender.keys], "required": [alg.value for alg in sender.required]}
    for issuer, sender in scene.SENDERS.items()
]


def bundle_vectors(existing: dict[str, Vector]) -> Iterator[Vector]:
    """Commitment, positives, contradictions made with real keys, then edits of the positives."""
    cek = bytes(range(32))
    kc = b64u(commitment(cek, scene.REF))
    yield {"name": "kc", "clause": "R-23", "cek": b64u(cek), "ref": scene.REF, "kc": kc, "expect": "ok"}
    made: dict[str, Vector] = {}
    for name, clause, key, make in _positives():
        made[name] = _opening(existing, name, clause, key, make)
        yield made[name]
    for name, clause, expect, reason, make in _contradictions():
        vector = _opening(existing, name, clause, NEAR_KEY, make, opens=False)
        yield vector | {"expect": expect} | ({"reason": reason} if reason else {})
    for name, clause, base, edits, expect, reason in _edits(made):
        vector = {"name": name, "clause": clause, "base": base, "edits": edits, "expect": expect}
        yield vector | ({"reason": reason} if reason else {})


def _opening(
    existing: dict[str, Vector],
    name: str,
    clause: str,
    key: EncPrivateKey,
    make: Callable[[], bytes],
    *,
    opens: bool = True,
) -> Vector:
    text = existing[name]["bundle"] if name in existing else make().decode()
    vector = {
        "name": name,
        "clause": clause,
        "seeds": [{"alg": key.public.alg.value, "seed": b64u(key.seed)}],
        "senders": SENDERS,
        "bundle": text,
        "expect": "ok",
    }
    if opens:
        opened = scene.open_with(text.encode(), key)
        vector["payload_sha256"] = opened.document.jws.digest
        vector["referral"] = parse(opened.document.jws.payload, max_bytes=1 << 20).get("referral")
    return vector


def _positives() -> Iterator[tuple[str, str, EncPrivateKey, Callable[[], bytes]]]:
    seal = functools.partial(functools.partial, scene.seal)
    strong = (TO_NATIONAL,)
    yield ONE, "R-21", NEAR_KEY, seal()
    yield "two recipients, HPKE-9", "R-21", FAR_KEY, seal(recipients=(TO_NEAR, TO_FAR))
    yield THREE, "R-21", HOTLINE_KEY, seal(recipients=(TO_NEAR, TO_FAR, TO_SELF))
    yield "one recipient, HPKE-10", "R-21", NATIONAL_KEY, seal(recipients=strong)
    yield MIXED, "R-21", NEAR_KEY, seal(recipients=(TO_NEAR, TO_NATIONAL, TO_SELF))
    yield "a sealed note by an ES256 card", "R-20", HOTLINE_KEY, functools.partial(_note)
    yield "a forwarded bundle", "R-28", FAR_KEY, functools.partial(_forward)
    yield "a higher rung than needed", "R-24", NEAR_KEY, functools.partial(scene.hostile, padding=40 * 1024)


def _note() -> bytes:
    to = (Recipient(HOTLINE_KEY.public, scene.HOTLINE, SealRole.INFORMATION),)
    return scene.seal(scene.note_draft(), to, (OFFICER_ED, OFFICER_ES))


def _forward(original: bytes | None = None) -> bytes:
    opened = scene.open_with(scene.seal(), NEAR_KEY).document.jws
    to = (Recipient(FAR_KEY.public, scene.FAR, SealRole.ACTION),)
    return scene.seal(scene.forward_draft(original or opened.raw, opened.digest), to, (OFFICER_ED,))


def _contradictions() -> Iterator[tuple[str, str, str, str | None, Callable[[], bytes]]]:
    def to(party: PartyId, key: EncPrivateKey, role: SealRole = SealRole.ACTION) -> Address:
        return Address(party, key.kid, role)

    near, far = to(scene.NEAR, NEAR_KEY), to(scene.FAR, FAR_KEY)
    foreign = {"issuer": scene.OFFICER, "party": scene.NEAR, "to": (to(scene.FAR, NEAR_KEY),)}
    other_cek = {"commitment": bytes(32)}
    other_ref = {"commitment": commitment(b"\x31" * 32, scene.OTHER_REF)}
    informed = to(scene.NEAR, NEAR_KEY, SealRole.INFORMATION)
    undeclared, missing = (Alg.ED25519,), (Alg.ED25519, Alg.ES256)
    mismatch, forged, digest = "recipient-mismatch", "signature-invalid", "digest-mismatch"
    bad, failed = "bundle-malformed", "decrypt-failed"
    cases: list[tuple[str, str, str, str | None, dict[str, Any]]] = [
        ("signed kids differ", "R-25", mismatch, "signed", {"to": (to(scene.NEAR, FAR_KEY),)}),
        ("signed parties differ", "R-25", mismatch, "signed", {"to": (to(scene.FAR, NEAR_KEY),)}),
        ("signed roles differ", "R-25", mismatch, "signed", {"to": (informed,)}),
        ("signed set is larger", "R-25", mismatch, "signed", {"to": (near, far)}),
        ("signed by another party than the header says", "R-26", forged, "sender", foreign),
        ("another header's digest is signed", "R-26", digest, "header", {"routing_digest": sha256_b64u(b"another")}),
        ("another referral is signed", "R-26", digest, "ref", {"ref": scene.OTHER_REF}),
        ("a declared signature is missing", "R-10", forged, "required", {"signature_algs": missing}),
        ("a signature is undeclared", "R-10", forged, "undeclared", {"signature_algs": undeclared}),
        ("the statement's second algorithm is missing", "R-10", forged, "required", {"signers": (HOTLINE_ED,)}),
        ("signed by a stranger", "R-10", forged, "unknown-key", {"signers": (STRANGER_ED, HOTLINE_ML)}),
        ("the commitment is to another content key", "R-23", failed, None, {"routing_changes": other_cek}),
        ("the commitment is for another referral", "R-23", failed, None, {"routing_changes": other_ref}),
        ("a bundle inside an envelope that says forward", "R-24", "wrong-type", None, {"cty": FORWARD}),
        ("no JSON object inside", "R-26", bad, "contents", {"payload": b"[]"}),
        ("a float inside", "R-01", bad, "float", {"payload": b'{"lat":-5.19}'}),
    ]
    for name, clause, expect, reason, changes in cases:
        yield name, clause, expect, reason, functools.partial(scene.hostile, **changes)


def _edits(made: dict[str, Vector]) -> Iterator[Edit]:
    yield from _outer_edits(made)
    yield from _recipient_edits(made)
    yield from _header_edits()


def _set(*path: Any, to: Any) -> dict[str, Any]:
    return {"op": "set", "path": list(path), "value": to}


def _inside(member: str, *edits: dict[str, Any]) -> dict[str, Any]:
    return {"op": "inside", "path": [member], "edits": list(edits)}


def _flip(text: str) -> str:
    return ("B" if text[0] == "A" else "A") + text[1:]


def _outer_edits(made: dict[str, Vector]) -> Iterator[Edit]:
    whole = parse(made[ONE]["bundle"].encode(), max_bytes=1 << 20)
    bad, failed = "bundle-malformed", "decrypt-failed"
    aad, ciphertext, tag, iv = (whole[name] for name in ("aad", "ciphertext", "tag", "iv"))
    yield "truncated", "R-20", ONE, [{"op": "cut", "count": 100}], bad, "syntax"
    yield "byte order mark", "R-01", ONE, [{"op": "prefix", "bytes": b64u(b"\xef\xbb\xbf")}], bad, "byte-order-mark"
    twice = {"op": "text", "find": '{"aad":', "with": '{"aad":"","aad":'}
    yield "aad twice", "R-01", ONE, [twice], bad, "duplicate-member"
    grown = {"op": "grow", "path": ["ciphertext"], "count": 1 << 20}
    yield "over 1 MiB", "R-05", ONE, [grown], "too-large", None
    for name in ("zip", "unprotected", "crit", "encrypted_key"):
        yield f"outer member {name}", "R-20", ONE, [_set(name, to={})], bad, "members"
    yield "no aad", "R-20", ONE, [{"op": "remove", "path": ["aad"]}], bad, "members"
    yield "iv of 16 bytes", "R-27", ONE, [_set("iv", to=b64u(bytes(16)))], bad, "length"
    yield "tag of 12 bytes", "R-27", ONE, [_set("tag", to=tag[:16])], bad, "length"
    yield "ciphertext off the ladder", "R-24", ONE, [_set("ciphertext", to=ciphertext[:-3])], bad, "padding"
    yield "empty ciphertext", "R-24", ONE, [_set("ciphertext", to="")], bad, "padding"
    high = tag[:-1] + chr(ord(tag[-1]) + 1)
    yield "spare bits in the tag", "R-02", ONE, [_set("tag", to=high)], bad, "base64url"
    yield "padded ciphertext", "R-02", ONE, [_set("ciphertext", to=ciphertext + "=")], bad, "base64url"
    yield "flipped ciphertext", "R-27", ONE, [_set("ciphertext", to=_flip(ciphertext))], failed, None
    yield "flipped tag", "R-27", ONE, [_set("tag", to=_flip(tag))], failed, None
    yield "flipped iv", "R-27", ONE, [_set("iv", to=_flip(iv))], failed, None
    spaced = b64u(unb64u(aad) + b" ")
    yield "a space added to the routing header", "R-27", ONE, [_set("aad", to=spaced)], failed, None
    reordered = b64u(b'{"typ":"referral-bundle+jwe","enc":"A256GCM","cty":"referral-bundle+jws"}')
    yield "the protected header spelt anew", "R-27", ONE, [_set("protected", to=reordered)], failed, None
    other = parse(made[THREE]["bundle"].encode(), max_bytes=1 << 20)
    moved = [_set(name, to=other[name]) for name in ("ciphertext", "iv", "tag")]
    yield "the ciphertext of another bundle", "R-27", ONE, moved, failed, None


def _recipient_edits(made: dict[str, Vector]) -> Iterator[Edit]:
    three = parse(made[THREE]["bundle"].encode(), max_bytes=1 << 20)["recipients"]
    bad, mismatch = "bundle-malformed", "recipient-mismatch"
    yield "a recipient dropped", "R-25", THREE, [{"op": "remove", "path": ["recipients", 0]}], mismatch, "routing"
    yield "a recipient doubled", "R-25", THREE, [_set("recipients", 3, to=three[0])], mismatch, "routing"
    yield "recipients swapped", "R-25", THREE, [{"op": "swap", "path": ["recipients", [0, 1]]}], mismatch, "routing"
    both = [{"op": "swap", "path": ["recipients", [0, 1]]}, _inside("aad", {"op": "swap", "path": ["to", [0, 1]]})]
    yield "recipients swapped in the header too", "R-25", THREE, both, "decrypt-failed", None
    gone = [{"op": "remove", "path": ["recipients", 0]}, _inside("aad", {"op": "remove", "path": ["to", 0]})]
    yield "a recipient dropped from the header too", "R-25", THREE, gone, "decrypt-failed", None
    to = {"party": scene.FAR, "kid": three[0]["header"]["kid"], "role": "information"}
    doubled = [_set("recipients", 3, to=three[0]), _inside("aad", _set("to", 3, to=to))]
    yield "a kid doubled in the header too", "R-25", THREE, doubled, mismatch, "duplicate"
    yield "no recipients", "R-20", ONE, [_set("recipients", to=[])], bad, "recipients"
    crowd = {"op": "grow", "path": ["recipients"], "count": 64}
    yield "65 recipients", "R-05", ONE, [crowd], bad, "recipients"
    first = ("recipients", 0)
    for alg in ("ECDH-ES+A256KW", "RSA-OAEP-256", "HPKE-3-KE", "dir"):
        yield f"recipient {alg}", "R-21", ONE, [_set(*first, "header", "alg", to=alg)], "classical-recipient", None
    mixed = [_set("recipients", 1, to={"header": {"alg": "ECDH-ES+A256KW", "epk": {}}, "encrypted_key": "AA"})]
    yield "a classical recipient beside a hybrid one", "R-21", ONE, mixed, "classical-recipient", None
    yield "the other suite's name", "R-21", ONE, [_set(*first, "header", "alg", to="HPKE-10-KE")], bad, "length"
    yield "epk in the header", "R-20", ONE, [_set(*first, "header", "epk", to={})], bad, "recipients"
    yield "psk_id in the header", "R-20", ONE, [_set(*first, "header", "psk_id", to="x")], bad, "recipients"
    ek, wrapped = three[2]["header"]["ek"], three[2]["encrypted_key"]
    yield "flipped ek", "R-27", THREE, [_set("recipients", 2, "header", "ek", to=_flip(ek))], "decrypt-failed", None
    yield (
        "flipped encrypted_key",
        "R-27",
        THREE,
        [_set("recipients", 2, "encrypted_key", to=_flip(wrapped))],
        "decrypt-failed",
        None,
    )
    others = [_set("recipients", 2, "header", "ek", to=three[0]["header"]["ek"])]
    yield "another recipient's ek", "R-27", THREE, others, "decrypt-failed", None
    yield "ek one byte short", "R-21", ONE, [_set(*first, "header", "ek", to=b64u(bytes(1119)))], bad, "length"
    yield "encrypted_key of 40 bytes", "R-21", ONE, [_set(*first, "encrypted_key", to=b64u(bytes(40)))], bad, "length"


def _header_edits() -> Iterator[Edit]:
    bad = "bundle-malformed"
    for name in ("zip", "crit", "jku", "alg", "p2c"):
        yield f"protected member {name}", "R-20", ONE, [_inside("protected", _set(name, to="DEF"))], bad, "protected"
    yield "enc A128GCM", "R-20", ONE, [_inside("protected", _set("enc", to="A128GCM"))], bad, "protected"
    yield "typ of a JWT", "R-20", ONE, [_inside("protected", _set("typ", to="JWT"))], "wrong-type", None
    yield "cty unknown", "R-20", ONE, [_inside("protected", _set("cty", to="text/plain"))], bad, "protected"
    yield (
        "cty of a note",
        "R-27",
        ONE,
        [_inside("protected", _set("cty", to="referral-note+jws"))],
        "decrypt-failed",
        None,
    )
    yield "from edited", "R-27", ONE, [_inside("aad", _set("from", to="linea-ajena"))], "decrypt-failed", None
    yield "role edited", "R-27", ONE, [_inside("aad", _set("to", 0, "role", to="information"))], "decrypt-failed", None
    yield "ref edited", "R-23", ONE, [_inside("aad", _set("ref", to=scene.OTHER_REF))], "decrypt-failed", None
    notice = {"id": "a0", "manifest": sha256_b64u(b"m"), "size": 65536}
    yield "an attachment added", "R-27", ONE, [_inside("aad", _set("att", 0, to=notice))], "decrypt-failed", None
    for member, value in (("v", 2), ("v", True), ("from", "X"), ("to", []), ("urgency", "emergency"), ("ref", "1")):
        name = f"routing header {member} {value!r}"
        yield name, "R-22", ONE, [_inside("aad", _set(member, to=value))], bad, "routing"
    yield (
        "own key with another's role",
        "R-22",
        ONE,
        [_inside("aad", _set("to", 0, "role", to="sender"))],
        bad,
        "routing",
    )
