"""JWS: what is read, what is trusted, how an altered or stripped document fails (R-03, R-08, R-09, R-10, R-12)."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.formats import signed
from referral_api.formats.keys import Alg, PublicKey, signing_key
from referral_api.formats.signed import (
    ACT,
    RECEIPT,
    RawJws,
    _check_known_answers,
    parse_jws,
    self_test,
    sign_jws,
    verify_jws,
)
from referral_api.formats.strict_json import b64u, canonical, parse, sha256_b64u, unb64u

ED = signing_key(Alg.ED25519, b"e" * 32)
ED_OTHER = signing_key(Alg.ED25519, b"o" * 32)
ES = signing_key(Alg.ES256, b"s" * 32)
ML = signing_key(Alg.ML_DSA_65, b"m" * 32)
PAYLOAD = b'{"v":1}'
LIMIT = 32 * 1024


def read(raw: bytes, typ: str = ACT) -> RawJws:
    return parse_jws(raw, typ=typ, max_bytes=LIMIT)


def document(raw: bytes) -> dict[str, Any]:
    parsed = parse(raw, max_bytes=LIMIT)
    assert isinstance(parsed, dict)
    return parsed


def refusal(raw: bytes) -> tuple[ErrorCode, Any]:
    with pytest.raises(ReferralError) as caught:
        read(raw)
    return caught.value.code, caught.value.facts.get("reason")


def with_header(**changes: Any) -> bytes:
    header = {"alg": "Ed25519", "kid": ED.kid, "typ": ACT} | changes
    return with_protected(b64u(json.dumps(header).encode()))


def with_protected(protected: str, signature: str = b64u(bytes(64))) -> bytes:
    return canonical({"payload": b64u(PAYLOAD), "signatures": [{"protected": protected, "signature": signature}]})


@pytest.mark.parametrize("signers", [[ED], [ES], [ML], [ED, ML], [ES, ML], [ED, ES]])
def test_what_is_signed_verifies_and_gives_back_the_exact_payload(signers: list[Any]) -> None:
    jws = read(sign_jws(PAYLOAD, typ=ACT, signers=signers))
    assert verify_jws(jws, [s.public for s in signers], required=[s.alg for s in signers]) == PAYLOAD
    assert jws.digest == sha256_b64u(PAYLOAD)
    assert [s.alg for s in jws.signatures] == [s.alg for s in signers]


def test_deterministic_signers_give_the_same_text_twice() -> None:
    assert sign_jws(PAYLOAD, typ=ACT, signers=[ED]) == sign_jws(PAYLOAD, typ=ACT, signers=[ED])


@settings(max_examples=60, deadline=None)
@given(payload=st.binary(max_size=500), at=st.integers(min_value=0), flip=st.integers(min_value=1, max_value=255))
def test_no_single_altered_byte_survives(payload: bytes, at: int, flip: int) -> None:
    raw = bytearray(sign_jws(payload, typ=ACT, signers=[ED, ML]))
    raw[at % len(raw)] ^= flip
    with pytest.raises(ReferralError):
        verify_jws(read(bytes(raw)), [ED.public, ML.public], required=[Alg.ED25519, Alg.ML_DSA_65])


def test_what_has_verified_vouches_for_nothing_else() -> None:
    """What a process remembers is this signature of this text by this key, and it judges the rest each time."""
    raw = sign_jws(PAYLOAD, typ=ACT, signers=[ED, ML])
    for _ in range(2):
        assert verify_jws(read(raw), [ED.public, ML.public]) == PAYLOAD
    whole = document(raw)
    for at in (0, 1):
        signature = bytearray(read(raw).signatures[at].signature)
        signature[40] ^= 1
        signatures = [dict(one) for one in whole["signatures"]]
        signatures[at]["signature"] = b64u(bytes(signature))
        forged = read(canonical(whole | {"signatures": signatures}))
        for _ in range(2):
            with pytest.raises(ReferralError) as caught:
                verify_jws(forged, [ED.public, ML.public])
            assert caught.value.facts["reason"] == "forged"
    other = read(canonical(whole | {"payload": b64u(PAYLOAD + b" ")}))
    for jws, keys in ((other, [ED.public, ML.public]), (read(raw), [ED.public]), (read(raw), [])):
        with pytest.raises(ReferralError):
            verify_jws(jws, keys)
    with pytest.raises(ReferralError):
        verify_jws(read(raw), [ED.public, ML.public], required=[Alg.ES256])


def test_what_one_key_has_verified_another_has_not() -> None:
    """A header that names another key whose reader trusts it gets nothing from what the first one has verified."""
    protected = b64u(canonical({"alg": "Ed25519", "kid": ED.kid, "typ": ACT}))
    signature = ED.sign(f"{protected}.{b64u(PAYLOAD)}".encode())
    jws = read(with_protected(protected, b64u(signature)))
    assert verify_jws(jws, [ED.public]) == PAYLOAD
    borrowed = replace(jws, signatures=(replace(jws.signatures[0], kid=ED_OTHER.kid),))
    for _ in range(2):
        with pytest.raises(ReferralError) as caught:
            verify_jws(borrowed, [ED_OTHER.public])
        assert caught.value.facts["reason"] == "forged"


def test_whoever_asks_anew_has_it_computed() -> None:
    """As the self-test must, which asks whether the library still verifies."""
    jws = read(sign_jws(PAYLOAD, typ=ACT, signers=[ED]))
    verify_jws(jws, [ED.public])
    broken = replace(ED.public, native=ED_OTHER.public.native)
    with pytest.raises(ReferralError):
        verify_jws(jws, [broken], anew=True)


def test_no_more_is_remembered_than_a_process_can_spare() -> None:
    signed._verified.update(at.to_bytes(32) for at in range(signed.REMEMBERED))
    jws = read(sign_jws(b"one more", typ=ACT, signers=[ED]))
    for _ in range(2):
        assert verify_jws(jws, [ED.public]) == b"one more"
        assert len(signed._verified) == 1


def test_a_stripped_signature_is_missed_when_it_was_required() -> None:
    whole = document(sign_jws(PAYLOAD, typ=ACT, signers=[ED, ML]))
    stripped = read(canonical(whole | {"signatures": whole["signatures"][:1]}))
    assert verify_jws(stripped, [ED.public], required=[Alg.ED25519]) == PAYLOAD
    with pytest.raises(ReferralError) as caught:
        verify_jws(stripped, [ED.public, ML.public], required=[Alg.ED25519, Alg.ML_DSA_65])
    assert caught.value.facts == {"reason": "required", "alg": "ML-DSA-65"}


def test_every_signature_must_verify_even_one_that_nobody_required() -> None:
    whole = document(sign_jws(PAYLOAD, typ=ACT, signers=[ED, ML]))
    whole["signatures"][1]["signature"] = b64u(bytes(3309))
    with pytest.raises(ReferralError) as caught:
        verify_jws(read(canonical(whole)), [ED.public, ML.public], required=[Alg.ED25519])
    assert caught.value.facts == {"reason": "forged", "alg": "ML-DSA-65", "kid": ML.kid}


def test_a_signature_by_a_key_outside_the_trusted_set_is_refused() -> None:
    jws = read(sign_jws(PAYLOAD, typ=ACT, signers=[ED_OTHER]))
    with pytest.raises(ReferralError) as caught:
        verify_jws(jws, {ED.kid: ED.public})
    assert caught.value.facts == {"reason": "unknown-key", "kid": ED_OTHER.kid}


def test_a_header_cannot_turn_a_key_to_another_algorithm() -> None:
    spoofed = read(with_protected(b64u(canonical({"alg": "ES256", "kid": ED.kid, "typ": ACT}))))
    with pytest.raises(ReferralError) as caught:
        verify_jws(spoofed, [ED.public])
    assert caught.value.facts == {"reason": "algorithm", "kid": ED.kid}


def test_a_borrowed_kid_does_not_lend_its_trust() -> None:
    jws = read(sign_jws(PAYLOAD, typ=ACT, signers=[ED_OTHER]))
    with pytest.raises(ReferralError) as caught:
        verify_jws(
            read(
                with_protected(
                    b64u(canonical({"alg": "Ed25519", "kid": ED.kid, "typ": ACT})), b64u(jws.signatures[0].signature)
                )
            ),
            [ED.public],
        )
    assert caught.value.facts["reason"] == "forged"


def test_a_document_of_one_kind_is_not_read_as_another() -> None:
    raw = sign_jws(PAYLOAD, typ=RECEIPT, signers=[ED])
    with pytest.raises(ReferralError) as caught:
        read(raw)
    assert (caught.value.code, caught.value.facts) == (ErrorCode.WRONG_TYPE, {"expected": ACT})


@pytest.mark.parametrize("alg", ["none", "HS256", "EdDSA", "RS256", "ML-DSA-44", "HPKE-9-KE", "ed25519", ""])
def test_only_the_three_algorithms_exist(alg: str) -> None:
    assert refusal(with_header(alg=alg)) == (ErrorCode.MALFORMED, "algorithm")


@pytest.mark.parametrize(
    "extra",
    [
        {"jwk": ED.public.jwk},
        {"crit": ["b64"]},
        {"b64": False},
        {"jku": "https://a.example/k"},
        {"x5u": "x"},
        {"x5c": []},
    ],
)
def test_a_header_holds_nothing_but_alg_kid_and_typ(extra: dict[str, Any]) -> None:
    assert refusal(with_header(**extra)) == (ErrorCode.MALFORMED, "header")


@pytest.mark.parametrize("changes", [{"kid": "short"}, {"kid": ED.kid[:-1] + "B"}, {"kid": 5}, {"typ": None}])
def test_header_members_have_their_form(changes: dict[str, Any]) -> None:
    assert refusal(with_header(**changes)) == (ErrorCode.MALFORMED, "header")


def test_a_header_over_one_kibibyte_is_refused() -> None:
    assert refusal(with_header(typ="x" * 1024)) == (ErrorCode.MALFORMED, "header")


def test_duplicate_members_in_a_protected_header_are_refused() -> None:
    header = f'{{"alg":"none","alg":"Ed25519","kid":"{ED.kid}","typ":"{ACT}"}}'
    assert refusal(with_protected(b64u(header.encode()))) == (ErrorCode.MALFORMED, "duplicate-member")


def test_no_signature_three_signatures_or_two_of_one_kind_are_refused() -> None:
    one = document(sign_jws(PAYLOAD, typ=ACT, signers=[ED]))
    entry = one["signatures"][0]
    other = document(sign_jws(PAYLOAD, typ=ACT, signers=[ED_OTHER]))["signatures"][0]
    borrowed = {
        "protected": b64u(canonical({"alg": "ML-DSA-65", "kid": ED.kid, "typ": ACT})),
        "signature": b64u(bytes(3309)),
    }
    for entries in ([entry, borrowed], [], [entry] * 3, [entry, entry], [entry, other]):
        assert refusal(canonical(one | {"signatures": entries})) == (ErrorCode.MALFORMED, "signatures")


def test_the_outer_object_has_exactly_its_members() -> None:
    one = document(sign_jws(PAYLOAD, typ=ACT, signers=[ED]))
    entry = one["signatures"][0]
    wrongs: list[Any] = [
        [],
        {"payload": one["payload"]},
        one | {"header": {}},
        {"payload": one["payload"], "signature": entry["signature"]},
        one | {"payload": 7},
        one | {"signatures": {}},
        one | {"signatures": [entry | {"header": {"kid": ED.kid}}]},
        one | {"signatures": [{"protected": entry["protected"], "signature": None}]},
        one | {"signatures": ["x"]},
    ]
    for wrong in wrongs:
        assert refusal(json.dumps(wrong).encode()) == (ErrorCode.MALFORMED, "members")


def test_a_signature_of_the_wrong_length_is_refused_before_any_arithmetic() -> None:
    protected = b64u(canonical({"alg": "Ed25519", "kid": ED.kid, "typ": ACT}))
    assert refusal(with_protected(protected, b64u(bytes(63)))) == (ErrorCode.MALFORMED, "length")


def test_the_limit_is_on_the_whole_text() -> None:
    raw = sign_jws(PAYLOAD, typ=ACT, signers=[ED])
    assert parse_jws(raw, typ=ACT, max_bytes=len(raw)).payload == PAYLOAD
    with pytest.raises(ReferralError) as caught:
        parse_jws(raw, typ=ACT, max_bytes=len(raw) - 1)
    assert (caught.value.code, caught.value.facts) == (ErrorCode.TOO_LARGE, {"limit": len(raw) - 1})


def test_signing_with_nobody_with_two_alike_or_under_a_foreign_typ_is_a_programming_error() -> None:
    for signers, typ in (([], ACT), ([ED, ED_OTHER], ACT), ([ED, ML, ES], ACT), ([ED], "JWT")):
        with pytest.raises(ValueError, match=r"signers|typ"):
            sign_jws(PAYLOAD, typ=typ, signers=signers)


def test_an_ecdsa_signature_can_be_rewritten_and_so_names_nothing() -> None:
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    whole = document(sign_jws(PAYLOAD, typ=ACT, signers=[ES]))
    first = read(canonical(whole))
    signature = first.signatures[0].signature
    mirrored = (order - int.from_bytes(signature[32:], "big")).to_bytes(32, "big")
    whole["signatures"][0]["signature"] = b64u(signature[:32] + mirrored)
    second = read(canonical(whole))
    keys: list[PublicKey] = [ES.public]
    assert verify_jws(second, keys) == verify_jws(first, keys)
    assert (second.digest, second.raw_digest != first.raw_digest) == (first.digest, True)


def test_the_self_test_passes_here_and_notices_a_library_that_gets_it_wrong() -> None:
    self_test()
    known = parse(files("referral_api.formats").joinpath("self_test.json").read_bytes(), max_bytes=65536)
    for index, text in enumerate(known["documents"]):
        whole = document(text.encode())
        whole["signatures"][-1]["signature"] = b64u(bytes(len(unb64u(whole["signatures"][-1]["signature"]))))
        documents = [*known["documents"][:index], canonical(whole).decode(), *known["documents"][index + 1 :]]
        with pytest.raises(ReferralError) as caught:
            _check_known_answers(known | {"documents": documents})
        assert (caught.value.code, caught.value.facts) == (ErrorCode.SELF_TEST_FAILED, {"what": "signatures"})
