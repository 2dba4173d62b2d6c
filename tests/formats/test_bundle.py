"""The envelope from outside: what the blind server refuses, the ladder, Padmé, and the limits on both sides."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from referral_api.client.sealing import Recipient, enc_private_key
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import PartyId
from referral_api.formats.bundle import (
    LADDER,
    MAX_ATTACHMENT_BYTES,
    MAX_ATTACHMENTS,
    MAX_BUNDLE_BYTES,
    PADME_FLOOR,
    SealRole,
    padded_length,
    padme,
    parse_bundle,
)
from referral_api.formats.keys import Alg
from referral_api.formats.signed import BUNDLE
from referral_api.formats.strict_json import b64u, canonical, parse, sha256_b64u, unb64u
from tests.vectors import scene
from tests.vectors.scene import TO_NATIONAL, TO_NEAR, TO_SELF

RAW = scene.seal(recipients=(TO_NEAR, TO_NATIONAL, TO_SELF))
Document = dict[str, Any]


def document() -> Document:
    read: Document = parse(RAW, max_bytes=MAX_BUNDLE_BYTES)
    return read


def header(name: str) -> Document:
    read: Document = parse(unb64u(document()[name]), max_bytes=MAX_BUNDLE_BYTES)
    return read


def refusal(raw: bytes) -> tuple[str, Any]:
    with pytest.raises(ReferralError) as caught:
        parse_bundle(raw)
    facts = caught.value.facts
    return caught.value.code.value, facts.get("reason", facts.get("recipient"))


def with_member(name: str, value: Any) -> bytes:
    return canonical(document() | {name: value})


def with_protected(**changes: Any) -> bytes:
    return with_member("protected", b64u(canonical(header("protected") | changes)))


def with_routing(**changes: Any) -> bytes:
    return with_member("aad", b64u(canonical(header("aad") | changes)))


def with_recipient(index: int, edit: Callable[[Document], None]) -> bytes:
    whole = document()
    edit(whole["recipients"][index])
    return canonical(whole)


def test_an_honest_envelope_is_read_without_any_key() -> None:
    sealed = parse_bundle(RAW)
    assert sealed.cty == BUNDLE
    assert sealed.size == len(RAW)
    assert sealed.sha256 == sha256_b64u(RAW)
    assert sealed.routing.ref == scene.REF
    assert sealed.routing.from_party == scene.HOTLINE
    assert [(a.party, a.role) for a in sealed.routing.to] == [
        (scene.NEAR, SealRole.ACTION),
        (scene.NATIONAL, SealRole.ESCALATION),
        (scene.HOTLINE, SealRole.SENDER),
    ]
    assert sealed.routing_digest == sha256_b64u(sealed.routing.encode())


@pytest.mark.parametrize("name", ["protected", "aad", "recipients", "iv", "ciphertext", "tag"])
def test_each_member_is_needed_and_of_its_type(name: str) -> None:
    whole = document()
    del whole[name]
    assert refusal(canonical(whole)) == ("bundle-malformed", "members")
    assert refusal(with_member(name, 7))[0] == "bundle-malformed"
    assert refusal(with_member(name, None))[0] == "bundle-malformed"


@pytest.mark.parametrize("name", ["unprotected", "header", "zip", "encrypted_key", "crit", "jku"])
def test_no_other_member_is_allowed(name: str) -> None:
    assert refusal(with_member(name, {})) == ("bundle-malformed", "members")


@pytest.mark.parametrize(
    "changes",
    [
        {"zip": "DEF"},
        {"crit": ["x"]},
        {"jku": "x"},
        {"alg": "HPKE-9-KE"},
        {"kid": "x"},
        {"enc": "A128GCM"},
        {"cty": "x"},
    ],
)
def test_the_protected_header_is_exactly_enc_typ_and_cty(changes: Document) -> None:
    assert refusal(with_protected(**changes)) == ("bundle-malformed", "protected")


def test_an_envelope_of_another_typ_is_called_so() -> None:
    assert refusal(with_protected(typ="JWE"))[0] == "wrong-type"


@pytest.mark.parametrize(
    "alg", ["ECDH-ES+A256KW", "RSA-OAEP", "HPKE-3-KE", "HPKE-8-KE", "HPKE-9", "dir", "PBES2-HS256+A128KW", "A256KW", 5]
)
def test_a_classical_or_unknown_recipient_is_named_by_its_place(alg: Any) -> None:
    assert refusal(with_recipient(1, lambda r: r["header"].update(alg=alg))) == ("classical-recipient", 1)
    assert refusal(with_recipient(2, lambda r: r["header"].update(alg=alg, epk={}))) == ("classical-recipient", 2)


def test_recipient_headers_hold_nothing_else() -> None:
    for edit in (
        lambda r: r["header"].update(epk={}),
        lambda r: r["header"].pop("ek"),
        lambda r: r["header"].update(kid="x"),
        lambda r: r["header"].update(ek=None),
        lambda r: r.update(header=None),
        lambda r: r.update(extra=1),
        lambda r: r.pop("encrypted_key"),
    ):
        assert refusal(with_recipient(0, edit)) == ("bundle-malformed", "recipients")


def test_lengths_are_exact() -> None:
    for edit in (
        lambda r: r["header"].update(ek=b64u(bytes(1119))),
        lambda r: r["header"].update(ek=b64u(bytes(1121))),
        lambda r: r["header"].update(ek=b64u(bytes(1665))),
        lambda r: r["header"].update(alg="HPKE-10-KE"),
        lambda r: r.update(encrypted_key=b64u(bytes(47))),
        lambda r: r.update(encrypted_key=b64u(bytes(49))),
    ):
        assert refusal(with_recipient(0, edit)) == ("bundle-malformed", "length")
    for name, length in (("iv", 12), ("tag", 16)):
        for wrong in (length - 1, length + 1):
            assert refusal(with_member(name, b64u(bytes(wrong)))) == ("bundle-malformed", "length")


def test_the_ciphertext_is_on_the_ladder_and_canonical() -> None:
    for length in (0, 32 * 1024 - 1, 32 * 1024 + 1, 48 * 1024):
        assert refusal(with_member("ciphertext", b64u(bytes(length)))) == ("bundle-malformed", "padding")
    for text in ("A" * 43690 + "B", "A" * 43691 + "=", "+" + "A" * 43690, " " + "A" * 43690, "é" * 43691):
        assert refusal(with_member("ciphertext", text)) == ("bundle-malformed", "base64url")


def test_recipients_stand_in_the_order_of_the_routing_header() -> None:
    whole = document()
    entries = whole["recipients"]
    for wrong in (entries[:2], entries[::-1], [*entries, entries[0]], [entries[0], entries[1], entries[1]]):
        assert refusal(canonical(whole | {"recipients": wrong})) == ("recipient-mismatch", "routing")
    nothing: list[Any] = [[], {}, "x"]
    for none in nothing:
        assert refusal(canonical(whole | {"recipients": none})) == ("bundle-malformed", "recipients")


@pytest.mark.parametrize(
    "changes",
    [
        {"v": 2},
        {"v": True},
        {"v": "1"},
        {"ref": scene.ACT},
        {"ref": scene.REF.upper()},
        {"from": "Hotline"},
        {"from": None},
        {"kc": 5},
        {"to": []},
        {"to": {}},
        {"att": None},
        {"exp": 1},
        {"to": [{"party": scene.NEAR, "kid": "x", "role": "action"}]},
        {"to": [{"party": scene.NEAR, "kid": TO_NEAR.key.kid, "role": "primary"}]},
        {"to": [{"party": scene.NEAR, "kid": TO_NEAR.key.kid, "role": "sender"}]},
        {"to": [{"party": scene.HOTLINE, "kid": TO_NEAR.key.kid, "role": "action"}]},
        {"to": [{"party": scene.NEAR, "kid": TO_NEAR.key.kid, "role": "action", "name": "x"}]},
        {"to": ["x"]},
    ],
)
def test_the_routing_header_is_strict(changes: Document) -> None:
    assert refusal(with_routing(**changes)) == ("bundle-malformed", "routing")


def test_keys_of_one_party_share_its_role() -> None:
    second = enc_private_key(Alg.HPKE_9, b"\x61" * 32).public
    same = scene.seal(recipients=(TO_NEAR, Recipient(second, scene.NEAR, SealRole.ACTION)))
    assert len(parse_bundle(same).recipients) == 2
    to = [
        {"party": scene.NEAR, "kid": kid, "role": role}
        for kid, role in ((second.kid, "action"), ("A" * 43, "escalation"))
    ]
    assert refusal(with_routing(to=to)) == ("bundle-malformed", "routing")
    with pytest.raises(ReferralError) as caught:
        scene.seal(recipients=(TO_NEAR, Recipient(second, scene.NEAR, SealRole.ESCALATION)))
    assert caught.value.code is ErrorCode.BUNDLE_MALFORMED


def test_notices_are_strict_bounded_and_unlike() -> None:
    good = {"id": "a0", "manifest": sha256_b64u(b"m"), "size": 5}
    accepted = parse_bundle(with_routing(att=[good | {"id": f"a{n}"} for n in range(MAX_ATTACHMENTS)]))
    assert len(accepted.routing.attachments) == MAX_ATTACHMENTS
    assert parse_bundle(with_routing(att=[good | {"size": MAX_ATTACHMENT_BYTES}])).routing.attachments
    for wrong in (
        [good, good],
        [good | {"id": f"a{n}"} for n in range(MAX_ATTACHMENTS + 1)],
        [good | {"size": 0}],
        [good | {"size": True}],
        [good | {"size": "5"}],
        [good | {"size": MAX_ATTACHMENT_BYTES + 1}],
        [good | {"size": MAX_ATTACHMENT_BYTES}, good | {"id": "a1"}],
        [good | {"id": "A0"}],
        [good | {"id": "a00"}],
        [good | {"manifest": "x"}],
        [good | {"name": "x"}],
        ["x"],
    ):
        assert refusal(with_routing(att=wrong)) == ("bundle-malformed", "routing")


def test_64_recipients_are_read_and_65_are_not() -> None:
    keys = [enc_private_key(Alg.HPKE_9, bytes([n]) * 32).public for n in range(65)]
    to = [Recipient(key, PartyId(f"unidad-{n:02}"), SealRole.INFORMATION) for n, key in enumerate(keys)]
    assert len(parse_bundle(scene.seal(recipients=tuple(to[:64]))).recipients) == 64
    with pytest.raises(ReferralError) as caught:
        scene.seal(recipients=tuple(to))
    assert caught.value.code is ErrorCode.BUNDLE_MALFORMED


def test_a_bundle_of_one_mebibyte_is_read_and_one_byte_more_is_not() -> None:
    limit = RAW + b" " * (MAX_BUNDLE_BYTES - len(RAW))
    assert parse_bundle(limit).size == MAX_BUNDLE_BYTES
    assert refusal(limit + b" ") == ("too-large", None)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "syntax"),
        (b"\xef\xbb\xbf" + RAW, "byte-order-mark"),
        (RAW[:-1], "syntax"),
        (RAW.replace(b'{"aad":', b'{"aad":"x","aad":', 1), "duplicate-member"),
        (b"[" * 17 + b"]" * 17, "too-deep"),
        (b"[]", "members"),
    ],
)
def test_what_is_not_strict_json_is_a_malformed_bundle(raw: bytes, reason: str) -> None:
    assert refusal(raw) == ("bundle-malformed", reason)


@given(st.integers(0, LADDER[-1]), st.integers(0, LADDER[-1]))
def test_the_ladder_never_falls_and_always_holds(one: int, other: int) -> None:
    assert one <= padded_length(one) in LADDER
    if one <= other:
        assert padded_length(one) <= padded_length(other)


def test_the_ladder_ends_at_512_kibibytes() -> None:
    assert [padded_length(rung) for rung in LADDER] == list(LADDER)
    assert [padded_length(rung + 1) for rung in LADDER[:-1]] == list(LADDER[1:])
    with pytest.raises(ReferralError) as caught:
        padded_length(LADDER[-1] + 1)
    assert (caught.value.code, caught.value.facts) == (ErrorCode.TOO_LARGE, {"limit": 512 * 1024})


@given(st.integers(0, MAX_ATTACHMENT_BYTES), st.integers(0, MAX_ATTACHMENT_BYTES))
def test_padme_is_idempotent_monotone_and_cheap(one: int, other: int) -> None:
    padded = padme(one)
    assert padme(padded) == padded >= max(one, PADME_FLOOR)
    assert padded <= max(one, PADME_FLOOR) * 1.032
    if one <= other:
        assert padded <= padme(other)


def test_padme_steps_stand_where_the_paper_puts_them() -> None:
    assert [padme(n) for n in (0, 65536, 65537, 67584, 67585, 100_000, 303_464, 2**31)] == [
        65536,
        65536,
        67584,
        67584,
        69632,
        100352,
        303104 + 8192,
        2**31,
    ]
    with pytest.raises(ReferralError) as caught:
        padme(MAX_ATTACHMENT_BYTES + 1)
    assert caught.value.code is ErrorCode.TOO_LARGE
