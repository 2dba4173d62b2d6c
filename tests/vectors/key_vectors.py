"""Vectors of keys, signed documents and possession challenges (R-06 to R-10, R-35)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from referral_api.client.sealing import enc_private_key
from referral_api.formats.keys import Alg, PublicKey, SigningKey, thumbprint
from referral_api.formats.possession import challenge
from referral_api.formats.signed import ACT, RECEIPT, sign_jws
from referral_api.formats.strict_json import b64u, canonical, parse, unb64u
from tests.vectors.scene import HOTLINE_ED, HOTLINE_ML, NATIONAL_KEY, NEAR_KEY, OFFICER_ES, STRANGER_ED

Vector = dict[str, Any]
P = 2**255 - 19
ORDER_8 = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
FOREIGN_ALGS = ("none", "HS256", "EdDSA", "RS256", "ML-DSA-44")
FOREIGN_MEMBERS = ("jwk", "jku", "x5u", "crit", "b64", "cty")
PAYLOAD = b'{"v":1,"text":"exact bytes, never canonicalised"}'


def _ed(y: int) -> dict[str, str]:
    return {"alg": "Ed25519", "crv": "Ed25519", "kty": "OKP", "x": b64u(y.to_bytes(32, "little"))}


def _akp(alg: str, raw: bytes) -> dict[str, str]:
    return {"alg": alg, "kty": "AKP", "pub": b64u(raw)}


def key_vectors(_: dict[str, Vector]) -> Iterator[Vector]:
    """Five kinds of key, then those that must not become keys."""
    good = {
        "RFC 8037 example": _ed(int.from_bytes(unb64u("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"), "little")),
        "Ed25519": HOTLINE_ED.public.jwk,
        "ES256": OFFICER_ES.public.jwk,
        "ML-DSA-65": HOTLINE_ML.public.jwk,
        "HPKE-9-KE": NEAR_KEY.public.jwk,
        "HPKE-10-KE": NATIONAL_KEY.public.jwk,
    }
    for name, jwk in good.items():
        yield {"name": name, "clause": "R-06", "jwk": jwk, "kid": thumbprint(jwk), "expect": "ok"}
    ed, es, kem, strong = (good[name] for name in ("Ed25519", "ES256", "HPKE-9-KE", "HPKE-10-KE"))
    raw, raw_strong = unb64u(kem["pub"]), unb64u(strong["pub"])
    bad: dict[str, tuple[str, Any, str]] = {
        "small order: the identity": ("R-07", _ed(1), "small-order"),
        "small order: the identity with its sign bit set": ("R-07", _ed(1 | 1 << 255), "small-order"),
        "small order: order two": ("R-07", _ed(P - 1), "small-order"),
        "small order: order four": ("R-07", _ed(0), "small-order"),
        "small order: order eight": ("R-07", _ed(ORDER_8), "small-order"),
        "small order: order eight, the other": ("R-07", _ed(P - ORDER_8 | 1 << 255), "small-order"),
        "non-canonical point: p": ("R-07", _ed(P), "encoding"),
        "non-canonical point: p + 1": ("R-07", _ed(P + 1), "encoding"),
        "non-canonical point of full order": ("R-07", _ed(P + 3), "encoding"),
        "no point of Edwards25519": ("R-07", _ed(2), "off-curve"),
        "off P-256": ("R-07", es | {"y": es["x"]}, "off-curve"),
        "all-zero ML-KEM-768 half": ("R-07", _akp("HPKE-9-KE", bytes(1184) + raw[1184:]), "all-zero"),
        "all-zero X25519 half": ("R-07", _akp("HPKE-9-KE", raw[:1184] + bytes(32)), "small-order"),
        "all-zero ML-KEM-1024 half": ("R-07", _akp("HPKE-10-KE", bytes(1568) + raw_strong[1568:]), "all-zero"),
        "ML-KEM coefficient out of range": ("R-07", _akp("HPKE-9-KE", b"\xff" * 1184 + raw[1184:]), "encoding"),
        "compressed P-384 half": (
            "R-07",
            _akp("HPKE-10-KE", raw_strong[:1568] + b"\x02" + raw_strong[1569:]),
            "encoding",
        ),
        "one byte short": ("R-07", _akp("HPKE-9-KE", raw[:-1]), "length"),
        "an HPKE-9 key called HPKE-10": ("R-07", kem | {"alg": "HPKE-10-KE"}, "length"),
        "no alg": ("R-06", {name: ed[name] for name in ("crv", "kty", "x")}, "algorithm"),
        "the name EdDSA": ("R-06", ed | {"alg": "EdDSA"}, "algorithm"),
        "a classical KEM": ("R-06", ed | {"alg": "HPKE-3-KE", "crv": "X25519"}, "algorithm"),
        "a member too many": ("R-06", ed | {"use": "sig"}, "members"),
        "a private member": ("R-06", ed | {"d": ed["x"]}, "members"),
        "spare bits in x": ("R-06", ed | {"x": ed["x"][:-1] + "_"}, "encoding"),
    }
    for name, (clause, jwk, reason) in bad.items():
        yield {"name": name, "clause": clause, "jwk": jwk, "expect": "key-unsuitable", "reason": reason}


def jws_vectors(existing: dict[str, Vector]) -> Iterator[Vector]:
    """Documents signed by one and two keys, then every way to strip, borrow, rename or smuggle."""
    bases = {
        "Ed25519": _signed(existing, "Ed25519", [HOTLINE_ED]),
        "ES256": _signed(existing, "ES256", [OFFICER_ES]),
        "Ed25519 and ML-DSA-65": _signed(existing, "Ed25519 and ML-DSA-65", [HOTLINE_ED, HOTLINE_ML]),
        "ES256 and ML-DSA-65": _signed(existing, "ES256 and ML-DSA-65", [OFFICER_ES, HOTLINE_ML]),
    }
    yield from bases.values()
    one, two = (parse(bases[name]["jws"].encode(), max_bytes=65536) for name in ("Ed25519", "Ed25519 and ML-DSA-65"))
    yield from _stripped_and_borrowed(one, two)
    yield from _smuggled(one)


def _signed(existing: dict[str, Vector], name: str, signers: Sequence[SigningKey]) -> Vector:
    made = existing.get(name) or {"jws": sign_jws(PAYLOAD, typ=ACT, signers=signers).decode()}
    keys = [signer.public for signer in signers]
    return _vector(name, "R-08", made["jws"], keys, [signer.alg for signer in signers]) | {"payload": b64u(PAYLOAD)}


def _vector(name: str, clause: str, jws: Any, keys: Sequence[PublicKey], required: Sequence[Alg] = ()) -> Vector:
    return {
        "name": name,
        "clause": clause,
        "typ": ACT,
        "keys": [key.jwk for key in keys],
        "required": [alg.value for alg in required],
        "jws": jws if isinstance(jws, str) else canonical(jws).decode(),
        "expect": "ok",
    }


def _stripped_and_borrowed(one: Any, two: Any) -> Iterator[Vector]:
    both = [HOTLINE_ED.public, HOTLINE_ML.public]
    required = [Alg.ED25519, Alg.ML_DSA_65]
    refused = {"expect": "signature-invalid"}
    ed_entry, ml_entry = two["signatures"]
    zero = ml_entry | {"signature": b64u(bytes(3309))}
    cases: list[tuple[str, Any, list[PublicKey], list[Alg], str]] = [
        ("the ML-DSA-65 signature stripped", two | {"signatures": [ed_entry]}, both, required, "required"),
        ("the Ed25519 signature stripped", two | {"signatures": [ml_entry]}, both, required, "required"),
        (
            "a second signature that nobody required and that fails",
            two | {"signatures": [ed_entry, zero]},
            both,
            [],
            "forged",
        ),
        ("another payload", two | {"payload": b64u(PAYLOAD + b" ")}, both, required, "forged"),
        ("signed by a key outside the signer's", one, [STRANGER_ED.public], [], "unknown-key"),
    ]
    for name, document, keys, algs, reason in cases:
        yield _vector(name, "R-10", document, keys, algs) | refused | {"reason": reason}
    spoofed = _reheaded(one, lambda h: h | {"kid": STRANGER_ED.kid})
    yield (
        _vector("a borrowed kid", "R-10", spoofed, [HOTLINE_ED.public, STRANGER_ED.public])
        | refused
        | {"reason": "forged"}
    )
    confused = _reheaded(one, lambda h: h | {"alg": "ES256"})
    yield _vector("alg of another key", "R-09", confused, [HOTLINE_ED.public]) | refused | {"reason": "algorithm"}


def _smuggled(one: Any) -> Iterator[Vector]:
    entry = one["signatures"][0]
    header = parse(unb64u(entry["protected"]), max_bytes=1024)
    twice = canonical(header).decode().replace('"alg":', '"alg":"none","alg":', 1)
    high_bit = entry["signature"][:-1] + chr(ord(entry["signature"][-1]) + 1)
    cases: list[tuple[str, str, Any, str]] = [
        *((f"alg {alg}", "R-09", _reheaded(one, _member("alg", alg)), "algorithm") for alg in FOREIGN_ALGS),
        *((f"header member {name}", "R-09", _reheaded(one, _member(name, "x")), "header") for name in FOREIGN_MEMBERS),
        ("no kid", "R-09", _reheaded(one, lambda h: {"alg": h["alg"], "typ": h["typ"]}), "header"),
        ("a kid that is no thumbprint", "R-09", _reheaded(one, lambda h: h | {"kid": "1"}), "header"),
        ("a header over 1 KiB", "R-09", _reheaded(one, lambda h: h | {"typ": "x" * 1024}), "header"),
        ("alg twice", "R-01", _with_entry(one, {"protected": b64u(twice.encode())}), "duplicate-member"),
        ("spare bits in the signature", "R-02", _with_entry(one, {"signature": high_bit}), "base64url"),
        ("a padded signature", "R-02", _with_entry(one, {"signature": entry["signature"] + "=="}), "base64url"),
        ("a signature one byte short", "R-08", _with_entry(one, {"signature": b64u(bytes(63))}), "length"),
        ("an unprotected header", "R-08", _with_entry(one, {"header": {"kid": "x"}}), "members"),
        ("flattened serialisation", "R-08", {"payload": one["payload"]} | entry, "members"),
        ("a member too many", "R-08", one | {"iat": 1}, "members"),
        ("no signature", "R-08", one | {"signatures": []}, "signatures"),
        ("three signatures", "R-08", one | {"signatures": [entry] * 3}, "signatures"),
        ("the same signature twice", "R-08", one | {"signatures": [entry] * 2}, "signatures"),
        ("compact serialisation", "R-08", f"{entry['protected']}.{one['payload']}.{entry['signature']}", "syntax"),
    ]
    for name, clause, document, reason in cases:
        yield _vector(name, clause, document, [HOTLINE_ED.public]) | {"expect": "malformed", "reason": reason}
    receipt = sign_jws(PAYLOAD, typ=RECEIPT, signers=[HOTLINE_ED]).decode()
    yield _vector("a receipt offered as an act", "R-09", receipt, [HOTLINE_ED.public]) | {"expect": "wrong-type"}


def _member(name: str, value: str) -> Callable[[Any], Any]:
    return lambda header: header | {name: value}


def _reheaded(document: Any, change: Callable[[Any], Any]) -> Any:
    header = parse(unb64u(document["signatures"][0]["protected"]), max_bytes=1024)
    return _with_entry(document, {"protected": b64u(canonical(change(header)))})


def _with_entry(document: Any, changes: dict[str, Any]) -> Any:
    return document | {"signatures": [document["signatures"][0] | changes]}


def possession_vectors(existing: dict[str, Vector]) -> Iterator[Vector]:
    """R-35."""
    nonce = bytes(range(32))
    for alg, seed in ((Alg.HPKE_9, b"\x71" * 32), (Alg.HPKE_10, b"\x72" * 32)):
        key = enc_private_key(alg, seed)
        good = {"alg": alg.value, "seed": b64u(seed), "jwk": key.public.jwk, "clause": "R-35"}
        kept = existing.get(alg.value)
        sealed = unb64u(kept["sealed"]) if kept else challenge(key.public.jwk, nonce)
        yield {"name": alg.value, **good, "sealed": b64u(sealed), "nonce": b64u(nonce), "expect": "ok"}
        for name, damaged in (
            ("flipped encapsulation", bytes([sealed[0] ^ 1]) + sealed[1:]),
            ("flipped tag", sealed[:-1] + bytes([sealed[-1] ^ 1])),
            ("truncated", sealed[:-1]),
        ):
            yield {"name": f"{alg.value}: {name}", **good, "sealed": b64u(damaged), "expect": "decrypt-failed"}
