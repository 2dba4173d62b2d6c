"""Receipts: what the exchange signs about an act, and which receipts nobody may believe (R-16, R-17)."""

from __future__ import annotations

from typing import Any

import pytest

from referral_api.domain.errors import FINAL_REFUSALS, ErrorCode, ReferralError
from referral_api.domain.words import Digest
from referral_api.formats import signed
from referral_api.formats.keys import Alg, SigningKey, signing_key
from referral_api.formats.receipt import (
    MAX_RECEIPT_BYTES,
    Receipt,
    build_receipt,
    match_receipt,
    parse_receipt,
    verify_receipt,
)
from referral_api.formats.strict_json import canonical, parse
from tests.formats.samples import D1, D2, NOON, REF

ISSUER = "https://intercambio.example.pe"
ACT_ID = "3f2b8a52-6a2c-4e0a-9d1e-0a1b2c3d4e5f"
SUB = "linea-peru.abcd1234"
KEY = signing_key(Alg.ED25519, b"r" * 32)
OTHER = signing_key(Alg.ED25519, b"o" * 32)
ML = signing_key(Alg.ML_DSA_65, b"m" * 32)
FACTS: dict[str, Any] = {
    "iss": ISSUER,
    "act": Digest(D1),
    "act_id": ACT_ID,
    "sub": SUB,
    "carrier": None,
    "ref": REF,
    "unit": "pnp-trata-piura",
    "time": NOON,
    "code": None,
    "states": [("pnp-trata-piura", "accepted", D2)],
    "origin": "intercambio.example.pe/v1/log/audit/2026",
    "index": 7,
}
MINE: dict[str, Any] = {"act": Digest(D1), "act_id": ACT_ID, "sub": SUB, "ref": REF, "unit": "pnp-trata-piura"}


def build(signer: SigningKey = KEY, **changes: Any) -> bytes:
    return build_receipt(**(FACTS | changes), signer=signer)


def edited(signer: SigningKey = KEY, typ: str = signed.RECEIPT, **changes: Any) -> bytes:
    """A receipt whose payload a dishonest exchange has chosen freely."""
    jws = signed.parse_jws(build(), typ=signed.RECEIPT, max_bytes=MAX_RECEIPT_BYTES)
    payload = parse(jws.payload, max_bytes=MAX_RECEIPT_BYTES)
    return signed.sign_jws(canonical({**payload, **changes}), typ=typ, signers=[signer])


def verify(raw: bytes) -> Receipt:
    return verify_receipt(raw, [KEY.public], issuer=ISSUER)


def test_a_receipt_says_what_was_put_into_it_and_nothing_else() -> None:
    """R-16: the exact members."""
    receipt = match_receipt(verify(build()), **MINE)
    assert receipt.accepted
    assert receipt.refusal is None
    assert receipt.payload.model_dump(mode="json") == {
        "v": 1,
        "iss": ISSUER,
        "act": D1,
        "id": ACT_ID,
        "sub": SUB,
        "party": "linea-peru",
        "carrier": None,
        "ref": REF,
        "unit": "pnp-trata-piura",
        "time": NOON,
        "outcome": "accepted",
        "code": None,
        "states": [{"unit": "pnp-trata-piura", "state": "accepted", "head": D2}],
        "log": {"origin": "intercambio.example.pe/v1/log/audit/2026", "index": 7},
    }


def test_the_same_facts_make_the_same_bytes() -> None:
    """R-16: byte-identical for ever, which Ed25519 gives and which a second, randomised signature would not."""
    assert build() == build()
    assert build() != build(index=8)


@pytest.mark.parametrize("code", ErrorCode)
def test_only_the_five_final_refusals_have_receipts(code: ErrorCode) -> None:
    """R-17."""
    if code in FINAL_REFUSALS:
        receipt = verify(build(code=code, states=[]))
        assert (receipt.accepted, receipt.refusal) == (False, code)
    else:
        with pytest.raises(ValueError, match="final refusals"):
            build(code=code)
        with pytest.raises(ReferralError) as caught:
            parse_receipt(edited(outcome="refused", code=code.value))
        assert caught.value.code is ErrorCode.RECEIPT_MISMATCH


@pytest.mark.parametrize(("outcome", "code"), [("accepted", "stale-head"), ("refused", None)])
def test_a_receipt_cannot_mean_both(outcome: str, code: str | None) -> None:
    """One reader goes by the outcome, another by the code: they must not come to different ends."""
    with pytest.raises(ReferralError) as caught:
        parse_receipt(edited(outcome=outcome, code=code))
    assert caught.value.code is ErrorCode.RECEIPT_MISMATCH


@pytest.mark.parametrize(
    "change",
    [
        {"v": 2},
        {"more": 1},
        {"act": "short"},
        {"time": -1},
        {"outcome": "pending"},
        {"states": [{"unit": "pnp-trata-piura", "state": "lost", "head": D2}]},
        {"log": {"origin": "intercambio.example.pe/v1/log/audit/2026", "index": -1}},
        {"log": None},
    ],
)
def test_content_that_is_not_a_receipt_s_is_refused_whoever_signed_it(change: dict[str, Any]) -> None:
    with pytest.raises(ReferralError) as caught:
        verify(edited(**change))
    assert caught.value.code is ErrorCode.RECEIPT_MISMATCH


@pytest.mark.parametrize("signer", [OTHER, ML], ids=["another key", "another algorithm"])
def test_a_receipt_by_any_key_but_the_exchange_s_receipt_key_is_refused(signer: SigningKey) -> None:
    with pytest.raises(ReferralError) as caught:
        verify(build(signer))
    assert caught.value.code is ErrorCode.SIGNATURE_INVALID


def test_a_post_quantum_signature_alone_makes_no_receipt_even_under_a_known_key() -> None:
    with pytest.raises(ReferralError) as caught:
        verify_receipt(build(ML), [KEY.public, ML.public], issuer=ISSUER)
    assert caught.value.code is ErrorCode.SIGNATURE_INVALID
    assert caught.value.facts == {"reason": "required", "alg": "Ed25519"}


def test_another_kind_of_document_is_no_receipt_although_the_exchange_signed_it() -> None:
    """R-09."""
    with pytest.raises(ReferralError) as caught:
        verify(edited(typ=signed.ACT))
    assert caught.value.code is ErrorCode.WRONG_TYPE


def test_a_receipt_of_another_exchange_is_refused() -> None:
    with pytest.raises(ReferralError) as caught:
        verify(build(iss="https://otro.example.pe"))
    assert caught.value.code is ErrorCode.WRONG_AUDIENCE


def test_a_changed_byte_is_noticed() -> None:
    raw = build()
    at = raw.index(b'"payload":"') + 20
    changed = raw[:at] + (b"A" if raw[at : at + 1] != b"A" else b"B") + raw[at + 1 :]
    with pytest.raises(ReferralError):
        verify(changed)


@pytest.mark.parametrize(
    ("member", "mine"),
    [
        ("act", {"act": Digest(D2)}),
        ("id", {"act_id": ACT_ID.replace("3", "4", 1)}),
        ("sub", {"sub": "linea-peru.efgh5678"}),
        ("ref", {"ref": REF.replace("1", "2", 1)}),
        ("ref", {"ref": None}),
        ("unit", {"unit": "pnp-trata-lima"}),
        ("unit", {"unit": None}),
    ],
)
def test_a_receipt_answers_one_act_and_no_other(member: str, mine: dict[str, Any]) -> None:
    with pytest.raises(ReferralError) as caught:
        match_receipt(verify(build()), **(MINE | mine))
    assert (caught.value.code, caught.value.facts) == (ErrorCode.RECEIPT_MISMATCH, {"member": member})


def test_a_receipt_that_names_a_carrier_of_another_party_is_refused() -> None:
    """R-15: only a colleague carries an act."""
    assert match_receipt(verify(build(carrier="linea-peru.efgh5678")), **MINE).payload.carrier
    with pytest.raises(ReferralError) as caught:
        match_receipt(verify(build(carrier="pnp-trata-piura.efgh5678")), **MINE)
    assert caught.value.facts == {"member": "carrier"}


def test_a_receipt_that_names_another_party_than_its_subject_s_is_refused() -> None:
    with pytest.raises(ReferralError) as caught:
        match_receipt(verify(edited(party="pnp-trata-piura")), **MINE)
    assert caught.value.facts == {"member": "party"}
