"""The published schemas: fresh, valid, and of one mind with the code that reads the documents."""

from __future__ import annotations

import json
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from referral_api.auditlog.leaf import LeafKind
from referral_api.domain.errors import ReferralError
from referral_api.domain.words import Act
from referral_api.formats import schemas, signed
from referral_api.formats.act import build_act, parse_act
from referral_api.formats.bodies import parse_body
from referral_api.formats.keys import Alg, parse_public_key, signing_key
from referral_api.formats.referral_body import parse_referral
from referral_api.formats.strict_json import b64u, parse, unb64u
from tests.formats.samples import D1, NOON, REF, SAMPLES, submit
from tests.formats.test_keys import MLKEM768, MLKEM1024, P384, X25519
from tests.formats.test_referral_body import full, minimal

_WRONG: tuple[Any, ...] = (None, 1, -1, True, "no such value", [], {}, ["x"], "x" * 9000)
PUBLISHED = Path(__file__).parents[2] / "schemas"
NOT_GENERATED = {"README.md", "vectors"}
CLOSED_ELSEWHERE = {
    "act-payload": ["/properties/body"],  # acts/<act>.json
    "key-entry-payload": ["/properties/jwk"],  # jwk.json
    "enrolment/begin": ["/properties/enc/items"],  # jwk.json
}
EVERY_SAMPLE = [(act, body) for act, bodies in SAMPLES.items() for body in bodies]
IDS = [f"{act.value}-{index}" for act, bodies in SAMPLES.items() for index in range(len(bodies))]


@cache
def validator(name: str) -> Any:
    pairs = [(schemas.ID_PREFIX + each, schemas.schema_of(each)) for each in schemas.DOCUMENTS]
    return jsonschema_rs.Draft202012Validator(
        schemas.schema_of(name), registry=jsonschema_rs.Registry(pairs), validate_formats=True
    )


def test_published_files_are_exactly_what_the_code_makes() -> None:
    made = schemas.build()
    found = {
        path.relative_to(PUBLISHED).as_posix(): path.read_bytes()
        for path in PUBLISHED.rglob("*")
        if path.is_file() and path.relative_to(PUBLISHED).parts[0] not in NOT_GENERATED
    }
    assert sorted(found) == sorted(made)
    assert [path for path in made if found[path] != made[path]] == []


def test_making_them_twice_gives_the_same_bytes() -> None:
    assert schemas.build() == schemas.build()


@pytest.mark.parametrize("name", sorted(schemas.DOCUMENTS))
def test_every_schema_is_a_valid_schema_that_closes_its_objects(name: str) -> None:
    schema = schemas.schema_of(name)
    assert jsonschema_rs.meta.is_valid(schema)
    assert schema["$id"] == f"urn:referral-1:schema:{name}"
    assert schema["description"]
    parts = dict(_parts(schema, ""))
    for elsewhere in CLOSED_ELSEWHERE.get(name, ()):
        del parts[elsewhere]
    objects = {where: part for where, part in parts.items() if part.get("type") == "object"}
    open_objects = [where for where, part in objects.items() if part.get("additionalProperties") is not False]
    assert objects
    assert open_objects == []
    assert "null" not in json.dumps([part.get("default", 0) for _, part in _parts(schema, "")])


@pytest.mark.parametrize("name", sorted(schemas.DOCUMENTS))
def test_every_limit_is_one_that_its_type_has(name: str) -> None:
    """A validator passes over `maxLength` of an array in silence: then the published limit is none."""
    measured = {"array": {"minItems", "maxItems", "uniqueItems"}, "string": {"minLength", "maxLength", "pattern"}}
    for where, part in _parts(schemas.schema_of(name), ""):
        for kind, limits in measured.items():
            if isinstance(part.get("type"), str) and part["type"] in measured.keys() - {kind}:
                assert limits.isdisjoint(part), where


def _parts(schema: Any, where: str) -> list[tuple[str, dict[str, Any]]]:
    found = [(where, schema)] if isinstance(schema, dict) else []
    children = schema.items() if isinstance(schema, dict) else enumerate(schema) if isinstance(schema, list) else ()
    for step, child in children:
        found += _parts(child, f"{where}/{step}")
    return found


@pytest.mark.parametrize(("act", "body"), EVERY_SAMPLE, ids=IDS)
def test_a_body_that_the_code_reads_passes_its_schema(act: Act, body: dict[str, Any]) -> None:
    parse_body(act, body)
    assert validator(f"acts/{act.value}").is_valid(body)


@pytest.mark.parametrize(("act", "body"), EVERY_SAMPLE, ids=IDS)
def test_a_body_that_fails_its_schema_is_refused_by_the_code(act: Act, body: dict[str, Any]) -> None:
    seen = 0
    for changed in _spoiled(body):
        if validator(f"acts/{act.value}").is_valid(changed):
            continue
        seen += 1
        with pytest.raises(ReferralError):
            parse_body(act, changed)
    assert seen > 0


@pytest.mark.parametrize("document", [full(), minimal()], ids=["full", "minimal"])
def test_schema_and_code_agree_on_a_referral_and_on_every_spoiled_copy(document: dict[str, Any]) -> None:
    assert validator("referral").is_valid(document)
    seen = 0
    for changed in _spoiled(document):
        if validator("referral").is_valid(changed):
            continue
        seen += 1
        with pytest.raises(ReferralError):
            parse_referral(changed)
    assert seen > 100


def _spoiled(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Copies of a document, each with one member missing, unknown, null, of another type or out of its list."""
    copies = []

    def copy_with(path: tuple[Any, ...], change: Any) -> None:
        changed = deepcopy(document)
        place: Any = changed
        for step in path:
            place = place[step]
        change(place)
        copies.append(changed)

    def walk(value: Any, path: tuple[Any, ...]) -> None:
        if isinstance(value, dict):
            copy_with(path, lambda place: place.update(surprise=1))
            for name in value:
                copy_with(path, lambda place, name=name: place.pop(name))
                for wrong in _WRONG:
                    copy_with(path, lambda place, name=name, wrong=wrong: place.update({name: wrong}))
        children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for step, child in children:
            walk(child, (*path, step))

    walk(document, ())
    return copies


def _built_act() -> bytes:
    return build_act(
        act_id="00000000-0000-4000-8000-000000000001",
        iss="linea-peru.ab12",
        aud="https://exchange.example",
        iat=NOON,
        act=Act.SUBMIT,
        ref=REF,
        unit=None,
        prev=None,
        body=submit(),
        signers=[signing_key(Alg.ED25519, b"s" * 32)],
    )


def test_an_act_as_the_code_signs_it_passes_the_schemas_of_its_layers() -> None:
    raw = _built_act()
    outer = parse(raw, max_bytes=32_768)
    assert validator("jws").is_valid(outer)
    header = parse(unb64u(outer["signatures"][0]["protected"]), max_bytes=1024)
    assert validator("jws-header").is_valid(header)
    payload = parse(unb64u(outer["payload"]), max_bytes=32_768)
    assert validator("act-payload").is_valid(payload)


def test_an_act_payload_that_fails_its_schema_is_refused_by_the_code() -> None:  # R-11
    payload = parse(unb64u(parse(_built_act(), max_bytes=32_768)["payload"]), max_bytes=32_768)
    key = signing_key(Alg.ED25519, b"s" * 32)
    seen = 0
    for changed in _spoiled({name: value for name, value in payload.items() if name != "body"}):
        changed |= {"body": payload["body"]}
        if validator("act-payload").is_valid(changed):
            continue
        seen += 1
        raw = signed.sign_jws(json.dumps(changed).encode(), typ=signed.ACT, signers=[key])
        with pytest.raises(ReferralError):
            parse_act(raw)
    assert seen > 50


def test_a_public_key_passes_its_schema_and_nothing_that_fails_it_is_read_as_one() -> None:
    keys = [signing_key(alg, bytes(range(32))).public.jwk for alg in (Alg.ED25519, Alg.ES256, Alg.ML_DSA_65)]
    keys += [{"alg": "HPKE-9-KE", "kty": "AKP", "pub": b64u(MLKEM768 + X25519)}]
    keys += [{"alg": "HPKE-10-KE", "kty": "AKP", "pub": b64u(MLKEM1024 + P384)}]
    for key in keys:
        assert parse_public_key(key).jwk == key
        assert validator("jwk").is_valid(key)
        for changed in _spoiled(key):
            assert not validator("jwk").is_valid(changed)
            with pytest.raises(ReferralError):
                parse_public_key(changed)


def test_the_leafs_schema_names_the_kinds_of_the_log() -> None:
    assert schemas.schema_of("leaf")["properties"]["k"]["enum"] == [
        kind.value for kind in (LeafKind.ACT, LeafKind.SERVER, LeafKind.ACCESS, LeafKind.SYSTEM, LeafKind.ERASE)
    ]
    assert {kind.value for kind in LeafKind} == set(schemas.schema_of("leaf")["properties"]["k"]["enum"])
    assert validator("leaf").is_valid({"d": D1, "k": "act", "t": NOON, "v": 1})
