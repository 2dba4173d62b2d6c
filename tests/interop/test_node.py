"""The same formats in Node, over other people's libraries: what Python seals Node opens, and the other way round.

The JavaScript beside this file was written from the protocol text over jose, hpke, @panva/hpke-noble and
@noble/post-quantum, none of which shares code with what Python uses.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from referral_api.client.sealing import Recipient, answer_challenge, enc_private_key, generate_enc_key
from referral_api.formats.contents import BundleBody
from referral_api.formats.keys import Alg
from referral_api.formats.possession import challenge
from referral_api.formats.strict_json import b64u, unb64u
from tests.interop.programs import run
from tests.vectors import scene
from tests.vectors.scene import (
    FAR_KEY,
    HOTLINE_ED,
    HOTLINE_ML,
    NATIONAL_KEY,
    NEAR_KEY,
    OFFICER_ED,
    OFFICER_ES,
    TO_FAR,
    TO_NATIONAL,
    TO_NEAR,
    TO_SELF,
)

VECTORS = Path(__file__).resolve().parents[2] / "schemas" / "vectors"
SENDERS = [
    {"iss": issuer, "keys": [key.jwk for key in sender.keys], "required": [alg.value for alg in sender.required]}
    for issuer, sender in scene.SENDERS.items()
]

pytestmark = pytest.mark.interop


def opened_by_node(node: str, bundle: bytes, key: Any) -> Any:
    seeds = [{"alg": key.public.alg.value, "seed": b64u(key.seed)}]
    return run(node, "envelope.mjs", "open", {"bundle": bundle.decode(), "seeds": seeds, "senders": SENDERS})


@pytest.mark.parametrize("key", [NEAR_KEY, FAR_KEY, NATIONAL_KEY], ids=["near", "far", "national"])
def test_node_opens_what_python_seals_and_verifies_both_signatures(node: str, key: Any) -> None:
    bundle = scene.seal(recipients=(TO_NEAR, TO_FAR, TO_NATIONAL, TO_SELF))
    result = opened_by_node(node, bundle, key)
    assert result["referral"] == scene.REFERRAL
    assert result["opened_with"] == key.kid
    assert result["payload_sha256"] == scene.open_with(bundle).document.jws.digest


def test_node_opens_a_forward_and_finds_the_hotlines_document(node: str) -> None:
    original = scene.open_with(scene.seal(), NEAR_KEY).document.jws.raw
    to = (Recipient(FAR_KEY.public, scene.FAR, TO_NEAR.role),)
    result = opened_by_node(node, scene.seal(scene.forward_draft(original), to, (OFFICER_ED, OFFICER_ES)), FAR_KEY)
    assert result["referral"] == scene.REFERRAL
    assert result["cty"] == "referral-forward+jws"


def test_node_refuses_what_a_stranger_seals(node: str) -> None:
    refused = opened_by_node(node, scene.hostile(signers=(scene.STRANGER_ED, HOTLINE_ML)), NEAR_KEY)
    assert refused == {"refused": "signature-invalid", "reason": "unknown-key"}


@pytest.mark.parametrize("text", ["Relato inventado ñ 😀", "x" * 60_000])
def test_python_opens_what_node_seals(node: str, text: str) -> None:
    recipients = (TO_NEAR, TO_NATIONAL, TO_SELF)
    log = scene.KEYS_LOG
    job = {
        "ref": scene.REF,
        "from": scene.HOTLINE,
        "frame": {
            "iss": scene.OPERATOR,
            "aud": scene.AUDIENCE,
            "keys_log": {"origin": log.origin, "size": log.size, "root": log.root},
            "iat": int(scene.NOW.timestamp()),
        },
        "to": [{"jwk": r.key.jwk, "party": r.party, "role": r.role.value} for r in recipients],
        "referral": {"summary": text, "v": 1},
        "signers": [
            {"jwk": HOTLINE_ED.public.jwk, "seed": b64u(b"\x11" * 32)},
            {"jwk": HOTLINE_ML.public.jwk, "seed": b64u(b"\x12" * 32)},
        ],
    }
    bundle = run(node, "envelope.mjs", "seal", job)["bundle"].encode()
    for key in (NEAR_KEY, NATIONAL_KEY, scene.HOTLINE_KEY):
        opened = scene.open_with(bundle, key)
        assert opened.referral.contents.body == BundleBody({"summary": text, "v": 1})
        assert [s.alg for s in opened.document.jws.signatures] == [Alg.ED25519, Alg.ML_DSA_65]


@pytest.mark.parametrize("alg", [Alg.HPKE_9, Alg.HPKE_10])
def test_both_make_the_same_key_of_a_seed_and_answer_each_others_challenge(node: str, alg: Alg) -> None:
    key = generate_enc_key(alg)
    seed, nonce = b64u(key.seed), bytes(range(32))
    assert run(node, "envelope.mjs", "public", {"alg": alg, "seed": seed}) == {"jwk": key.public.jwk, "kid": key.kid}
    sealed = b64u(challenge(key.public.jwk, nonce))
    assert run(node, "envelope.mjs", "answer", {"alg": alg, "seed": seed, "sealed": sealed}) == {"nonce": b64u(nonce)}
    theirs = run(node, "envelope.mjs", "challenge", {"jwk": key.public.jwk, "nonce": b64u(nonce)})["sealed"]
    assert answer_challenge(enc_private_key(alg, key.seed), unb64u(theirs)) == nonce


def test_node_holds_every_published_vector_that_it_can_judge(node: str) -> None:
    report = run(node, "vectors.mjs", str(VECTORS))
    assert [failure for result in report.values() for failure in result["failed"]] == []
    assert report["bundles"]["left_out"] == 0
    assert report["bundles"]["held"] >= 80
    assert sum(result["held"] for result in report.values()) >= 180
