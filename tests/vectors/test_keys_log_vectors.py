"""The keys-log vectors hold, say what they are meant to say, and are what their generator writes."""

from __future__ import annotations

from typing import Any

import pytest

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.formats.statements import KeyMap
from referral_api.formats.strict_json import parse
from tests.vectors.make_keys_log_vectors import FOLDER, code_of, described, files

Vector = dict[str, Any]


def published(name: str) -> list[Vector]:
    vectors: list[Vector] = parse((FOLDER / f"keys-log-{name}.json").read_bytes(), max_bytes=1 << 22)
    return vectors


def fold(vectors: list[Vector], given: Vector) -> KeyMap:
    """The map of a vector's log: its own leaves, or its base's and `before`."""
    leaves = given.get("leaves") or next(one["input"]["leaves"] for one in vectors if one["name"] == given["base"])
    keymap = KeyMap.start(leaves[0].encode())
    for leaf in [*leaves[1:], *given.get("before", [])]:
        keymap.extend(leaf.encode())
    return keymap


def answer(file: str, vectors: list[Vector], given: Vector) -> Vector:
    if file == "code":
        return {"code": code_of(given)}
    keymap = fold(vectors, given)
    if "credential" in given:
        keys = keymap.seal_keys(given["credential"], given["iat"], given["now"], kids=given["kids"])
        return {"keys": sorted(keys.keys), "require": [alg.value for alg in keys.require]}
    if "leaf" in given:
        keymap.extend(given["leaf"].encode())
    return described(keymap)


EVERY = [(file, vector) for file in ("fold", "seal", "code") for vector in published(file)]


@pytest.mark.parametrize(("file", "vector"), EVERY, ids=[f"{file}: {vector['name']}" for file, vector in EVERY])
def test_a_published_vector_holds(file: str, vector: Vector) -> None:
    if vector["expect"] == "ok":
        assert answer(file, published(file), vector["input"]) == vector["output"]
        return
    with pytest.raises(ReferralError) as caught:
        answer(file, published(file), vector["input"])
    assert caught.value.code is ErrorCode(vector["expect"])
    assert caught.value.facts.get("reason", caught.value.facts.get("needs")) == vector.get("reason")


def test_the_files_are_what_the_generator_writes() -> None:
    for name, content in files().items():
        assert (FOLDER / name).read_text(encoding="utf-8") == content


REFUSED = """
key entry: vouched for by another party: possession-not-proved
key entry: vouched for by an access key: possession-not-proved
key entry: of a key that is on the log: key-reused
key entry: of the exchange: not-permitted
key entry: with a signature over something else: possession-not-proved
statement: with a gap in seq: statement-out-of-sequence
statement: with another predecessor: statement-out-of-sequence
statement: by a person who is no keyholder: not-permitted
statement: that drops every keyholder: act-schema
statement: that lists a key without entry: key-not-valid
statement: that lists another party's key: key-not-valid
statement: that uses a key otherwise than its entry: key-unsuitable
statement: that gives one credential another's key: key-reused
statement: that turns a service into a person: act-schema
statement: that changes the role: act-schema
statement: with a key sealable for 46 days: act-schema
statement: signed by somebody else: act-signature-invalid
statement: for another exchange: wrong-audience
statement: of a party called exchange: not-permitted
statement: that brings back who was dropped: act-schema
statement: that forks the chain: statement-out-of-sequence
approval: of a new party by a hotline: not-permitted
approval: of a new party by itself: key-not-valid
approval: of a new party by the exchange: not-permitted
approval: of what is not there: statement-out-of-sequence
approval: of an addition by its own signer: not-permitted
approval: of an addition by a registrar person: not-permitted
objection: by a stranger: not-permitted
approval: after an objection: statement-out-of-sequence
statement: once more, after an objection: statement-out-of-sequence
revocation: of a colleague's key by no keyholder: not-permitted
revocation: of another party's key: not-permitted
revocation: of an exchange's key: not-permitted
revocation: of an unknown key: key-not-valid
revocation: twice: key-not-valid
revocation: by a revoked key: key-not-valid
renewal: that goes on listing who was revoked: key-not-valid
renewal: of one's own seal keys, with more time: not-permitted
recovery: signed by a hotline: statement-out-of-sequence
recovery: with another telephone: not-permitted
recovery: that gives somebody more time: not-permitted
recovery: approved a second before the day is over: statement-out-of-sequence
recovery: and a proposal of the party's own, which would have to wait: statement-out-of-sequence
recovery: approved after an objection: statement-out-of-sequence
exchange's key: an entry over another root: possession-not-proved
exchange's key: an entry of a party: not-permitted
exchange's key: announced without an entry: key-not-valid
exchange's key: announced for another use than its entry's: key-not-valid
exchange's key: announced by another key: act-signature-invalid
exchange's key: announced by a registrar person: not-permitted
exchange's key: used too early: act-schema
exchange's key: used too late: act-schema
exchange's key: with too short an overlap: act-schema
exchange's key: with too long an overlap: act-schema
exchange's key: in the place of a key of another use: statement-out-of-sequence
exchange's key: a second one while one is announced: statement-out-of-sequence
exchange's key: a second one in the place of the first: statement-out-of-sequence
exchange's key: announced once more: key-reused
"""


def test_exactly_these_leaves_are_refused() -> None:
    refused = [f"{one['name']}: {one['expect']}" for one in published("fold") if one["expect"] != "ok"]
    assert "\n".join(["", *refused, ""]) == REFUSED


def test_names_are_unlike() -> None:
    for file in ("fold", "seal", "code"):
        assert len({vector["name"] for vector in published(file)}) == len(published(file))
