"""Key entries: who signs for which key, and what no entry may bring (R-07, R-31)."""

from __future__ import annotations

from typing import Any

import pytest

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import KeyUse
from referral_api.formats import signed
from referral_api.formats.key_entry import MAX_KEY_ENTRY_BYTES, build_key_entry, parse_key_entry, verify_key_entry
from referral_api.formats.keys import Alg, SoftwareSigningKey
from referral_api.formats.strict_json import b64u, canonical
from tests.formats.parties_world import NONCE, NOW, enc_entry, enc_jwk, enc_kid, key, key_entry

ED, ML = key("somebody"), key("somebody", Alg.ML_DSA_65)


def written(signers: list[SoftwareSigningKey], **changes: Any) -> bytes:
    payload = {
        "v": 1,
        "party": "linea",
        "use": "seal",
        "jwk": ED.public.jwk,
        "nonce": NONCE,
        "iat": NOW,
        "possession": None,
    }
    return signed.sign_jws(canonical(payload | changes), typ=signed.KEY, signers=signers)


@pytest.mark.parametrize("alg", [Alg.ED25519, Alg.ES256, Alg.ML_DSA_65])
def test_a_signing_key_signs_its_own_entry(alg: Alg) -> None:
    own = key("somebody", alg)
    raw = key_entry("linea", KeyUse.SEAL, own)
    entry = parse_key_entry(raw)
    assert (entry.party, entry.use, entry.kid, entry.nonce, entry.iat) == ("linea", KeyUse.SEAL, own.kid, NONCE, NOW)
    assert entry.signed_by == (own.kid,)
    assert verify_key_entry(entry, {}) == own.public
    assert len(raw) <= MAX_KEY_ENTRY_BYTES


def test_the_largest_entries_fit_and_no_more() -> None:
    assert len(key_entry("a" * 40, KeyUse.SEAL, ML)) > 8 * 1024, "why the limit is not 8 KiB"
    with pytest.raises(ReferralError) as caught:
        parse_key_entry(key_entry("linea", KeyUse.SEAL, ML) + b" " * MAX_KEY_ENTRY_BYTES)
    assert caught.value.code is ErrorCode.TOO_LARGE


def test_an_encryption_key_is_vouched_for() -> None:
    entry = parse_key_entry(enc_entry("linea", "linea/1", [ED, ML]))
    assert entry.signed_by == (ED.kid, ML.kid)
    assert verify_key_entry(entry, {ED.kid: ED.public, ML.kid: ML.public}).kid == enc_kid("linea/1")
    for trusted in ({}, {ED.kid: ED.public}):
        with pytest.raises(ReferralError) as caught:
            verify_key_entry(entry, trusted)
        assert caught.value.code is ErrorCode.POSSESSION_NOT_PROVED


SMALL_ORDER = {"alg": "Ed25519", "crv": "Ed25519", "kty": "OKP", "x": b64u(b"\x01" + bytes(31))}
ZERO_KEM = {"alg": "HPKE-9-KE", "kty": "AKP", "pub": b64u(bytes(1216))}
PRIVATE = ED.public.jwk | {"d": b64u(bytes(32))}


@pytest.mark.parametrize(
    ("raw", "code", "reason"),
    [
        (written([ED], jwk=SMALL_ORDER), "key-unsuitable", "small-order"),
        (written([ED], use="enc", jwk=ZERO_KEM, possession=NONCE), "key-unsuitable", "all-zero"),
        (written([ED], jwk=PRIVATE), "key-unsuitable", "members"),
        (written([ML], use="access", jwk=ML.public.jwk), "key-unsuitable", "use"),
        (written([ED], use="enc", possession=NONCE), "key-unsuitable", "use"),
        (written([ED], jwk=enc_jwk("linea/1")), "key-unsuitable", "use"),
        (written([ED], use="enc", jwk=enc_jwk("linea/1")), "act-schema", "contradiction"),
        (written([ED], possession=NONCE), "act-schema", "contradiction"),
        (written([ED], use="sign"), "act-schema", "not-in-list"),
        (written([ED], note="x"), "act-schema", "unknown-member"),
        (written([ED], iat=0), "act-schema", "out-of-range"),
        (written([key("other")]), "possession-not-proved", "not-self-signed"),
        (written([ED, ML]), "possession-not-proved", "not-self-signed"),
    ],
)
def test_an_entry_that_proves_nothing_is_refused(raw: bytes, code: str, reason: str) -> None:
    with pytest.raises(ReferralError) as caught:
        parse_key_entry(raw)
    assert (caught.value.code.value, caught.value.facts["reason"]) == (code, reason)


def test_a_forged_entry_is_refused() -> None:
    ours, theirs = written([ED]), written([ED], iat=NOW + 1)
    forged = ours[: ours.index(b'"signatures"')] + theirs[theirs.index(b'"signatures"') :]
    with pytest.raises(ReferralError) as caught:
        verify_key_entry(parse_key_entry(forged), {})
    assert (caught.value.code, caught.value.facts["reason"]) == (ErrorCode.POSSESSION_NOT_PROVED, "forged")


def test_an_entry_that_would_be_refused_is_not_built() -> None:
    with pytest.raises(ReferralError):
        build_key_entry(
            party="linea",
            use=KeyUse.ACCESS,
            jwk=ED.public.jwk,
            nonce=NONCE,
            iat=NOW,
            possession=None,
            signers=[key("other")],
        )
