"""Every published vector holds here, and the files are what their generator writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from referral_api.client.sealing import TrustedSender, answer_challenge, commitment, enc_private_key, open_bundle
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import CredentialId, PartyId, ReferralId
from referral_api.formats.bundle import padded_length, padme
from referral_api.formats.keys import Alg, parse_public_key
from referral_api.formats.signed import parse_jws, verify_jws
from referral_api.formats.strict_json import b64u, parse, unb64u
from tests.vectors import edits
from tests.vectors.make_vectors import DIRECTORY, FILES, build, read_existing

Vector = dict[str, Any]


def published(name: str) -> dict[str, Vector]:
    return read_existing(DIRECTORY / f"{name}.json")


def trusted(sender: Vector) -> TrustedSender:
    return TrustedSender([parse_public_key(jwk) for jwk in sender["keys"]], [Alg(name) for name in sender["required"]])


def check_json(vector: Vector, _: dict[str, Vector]) -> None:
    parse(unb64u(vector["raw"]), max_bytes=65536)


def check_base64url(vector: Vector, _: dict[str, Vector]) -> None:
    assert unb64u(vector["text"]).hex() == vector["hex"]


def check_sizes(vector: Vector, _: dict[str, Vector]) -> None:
    pad = padme if vector["name"] == "padme" else padded_length
    assert [[size, pad(size)] for size, _ in vector.get("table", [[vector.get("size"), 0]])] == vector["table"]


def check_keys(vector: Vector, _: dict[str, Vector]) -> None:
    assert parse_public_key(vector["jwk"]).kid == vector["kid"]


def check_jws(vector: Vector, _: dict[str, Vector]) -> None:
    jws = parse_jws(vector["jws"].encode(), typ=vector["typ"], max_bytes=65536)
    keys = [parse_public_key(jwk) for jwk in vector["keys"]]
    assert b64u(verify_jws(jws, keys, required=[Alg(name) for name in vector["required"]])) == vector["payload"]


def check_possession(vector: Vector, _: dict[str, Vector]) -> None:
    key = enc_private_key(Alg(vector["alg"]), unb64u(vector["seed"]))
    assert key.public.jwk == vector["jwk"]
    assert b64u(answer_challenge(key, unb64u(vector["sealed"]))) == vector["nonce"]


def check_bundles(vector: Vector, others: dict[str, Vector]) -> None:
    if "cek" in vector:
        assert b64u(commitment(unb64u(vector["cek"]), ReferralId(vector["ref"]))) == vector["kc"]
        return
    base = others[vector["base"]] if "base" in vector else vector
    raw = edits.apply(base["bundle"].encode(), vector.get("edits", []))
    private = [enc_private_key(Alg(seed["alg"]), unb64u(seed["seed"])) for seed in base["seeds"]]
    senders = {sender["iss"]: trusted(sender) for sender in base["senders"]}

    def find_sender(issuer: CredentialId, _party: PartyId, _kids: object) -> TrustedSender:
        return senders[issuer]

    opened = open_bundle(raw, {key.kid: key for key in private}, find_sender)
    assert opened.document.jws.digest == vector["payload_sha256"]


CHECKS = {
    "json": check_json,
    "base64url": check_base64url,
    "sizes": check_sizes,
    "keys": check_keys,
    "jws": check_jws,
    "possession": check_possession,
    "bundles": check_bundles,
}


EVERY = [(name, vector) for name in FILES for vector in published(name).values()]


@pytest.mark.parametrize(("file", "vector"), EVERY, ids=[f"{file}: {vector['name']}" for file, vector in EVERY])
def test_a_published_vector_holds(file: str, vector: Vector) -> None:
    others = published(file) if "base" in vector else {}
    if vector["expect"] == "ok":
        CHECKS[file](vector, others)
        return
    with pytest.raises(ReferralError) as caught:
        CHECKS[file](vector, others)
    assert caught.value.code is ErrorCode(vector["expect"])
    assert caught.value.facts.get("reason") == vector.get("reason")


@pytest.mark.parametrize("name", FILES)
def test_the_files_are_what_the_generator_writes(name: str) -> None:
    path: Path = DIRECTORY / f"{name}.json"
    assert path.read_bytes() == build(name, read_existing(path))


def test_names_are_unlike_and_at_least_forty_are_refusals_of_bundles() -> None:
    for name in FILES:
        vectors = parse((DIRECTORY / f"{name}.json").read_bytes(), max_bytes=1 << 24)
        assert len({vector["name"] for vector in vectors}) == len(vectors)
        assert all({"name", "clause", "input", "expect"} <= vector.keys() for vector in vectors)
    assert sum(vector["expect"] != "ok" for vector in published("bundles").values()) >= 40
