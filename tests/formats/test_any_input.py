"""Whatever arrives, the readers of formats answer with the document or with a ReferralError, and with nothing else."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.formats.bundle import parse_bundle
from referral_api.formats.contents import parse_contents
from referral_api.formats.keys import parse_public_key
from referral_api.formats.signed import ACT, BUNDLE, parse_jws, sign_jws, verify_jws
from referral_api.formats.strict_json import b64u, compact, parse, unb64u
from tests.vectors import scene
from tests.vectors.scene import HOTLINE_ED, HOTLINE_ML, NATIONAL_KEY, NEAR_KEY, OFFICER_ES, TO_NATIONAL, TO_NEAR

LIMIT = 1 << 20
KEYS = [HOTLINE_ED.public, HOTLINE_ML.public, OFFICER_ES.public, NEAR_KEY.public, NATIONAL_KEY.public]
SEALED = scene.seal(recipients=(TO_NEAR, TO_NATIONAL))
ENVELOPE = parse(SEALED, max_bytes=LIMIT)
JWS = parse(sign_jws(b'{"v":1}', typ=ACT, signers=[HOTLINE_ED, HOTLINE_ML]), max_bytes=LIMIT)
INNER = parse(scene.open_with(SEALED).document.jws.payload, max_bytes=LIMIT)

text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | text | st.sampled_from(["", "AA", "A" * 43, "action"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)
steps = st.lists(st.integers(0, 50), max_size=5)


def altered(document: Any, way: list[int], value: Any) -> Any:
    """The document with the node at the end of a walk replaced; base64url that holds JSON is walked into as well."""
    if not way:
        return value
    step, rest = way[0], way[1:]
    if isinstance(document, dict) and document:
        name = sorted(document)[step % len(document)]
        return document | {name: altered(document[name], rest, value)}
    if isinstance(document, list) and document:
        place = step % len(document)
        return [*document[:place], altered(document[place], rest, value), *document[place + 1 :]]
    if isinstance(document, str) and document.startswith("eyJ"):
        return b64u(compact(altered(parse(unb64u(document), max_bytes=LIMIT), way, value)))
    return value


def answers(read: Callable[[], object]) -> ErrorCode | None:
    try:
        read()
    except ReferralError as refused:
        return refused.code
    return None


@settings(max_examples=300, deadline=None)
@given(values)
def test_foreign_json_is_refused_by_every_reader(value: Any) -> None:
    raw = compact(value)
    assert answers(lambda: parse_jws(raw, typ=ACT, max_bytes=LIMIT)) is ErrorCode.MALFORMED
    assert answers(lambda: parse_bundle(raw)) is ErrorCode.BUNDLE_MALFORMED
    assert answers(lambda: parse_contents(raw, BUNDLE)) is ErrorCode.BUNDLE_MALFORMED
    assert answers(lambda: parse_public_key(value)) is ErrorCode.KEY_UNSUITABLE


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60))
def test_noise_is_refused_by_every_reader(raw: bytes) -> None:
    assert answers(lambda: parse_jws(raw, typ=ACT, max_bytes=LIMIT)) is ErrorCode.MALFORMED
    assert answers(lambda: parse_bundle(raw)) is ErrorCode.BUNDLE_MALFORMED
    assert answers(lambda: parse_contents(raw, BUNDLE)) is ErrorCode.BUNDLE_MALFORMED


@settings(max_examples=300, deadline=None)
@given(steps, values)
def test_an_envelope_with_any_node_replaced_is_read_or_refused(way: list[int], value: Any) -> None:
    before = copy.deepcopy(ENVELOPE)
    wrong = altered(ENVELOPE, way, value)
    code = answers(lambda: parse_bundle(compact(wrong)))
    assert code is None or code in {
        ErrorCode.BUNDLE_MALFORMED,
        ErrorCode.CLASSICAL_RECIPIENT,
        ErrorCode.RECIPIENT_MISMATCH,
        ErrorCode.WRONG_TYPE,
    }
    assert before == ENVELOPE


@settings(max_examples=300, deadline=None)
@given(steps, values)
def test_a_jws_with_any_node_replaced_verifies_only_if_it_is_the_same(way: list[int], value: Any) -> None:
    wrong = altered(JWS, way, value)
    code = answers(lambda: verify_jws(parse_jws(compact(wrong), typ=ACT, max_bytes=LIMIT), KEYS, required=()))
    if wrong == JWS:
        assert code is None
    else:
        assert code in {ErrorCode.MALFORMED, ErrorCode.WRONG_TYPE, ErrorCode.SIGNATURE_INVALID}


@settings(max_examples=300, deadline=None)
@given(steps, values)
def test_contents_with_any_node_replaced_are_read_or_refused(way: list[int], value: Any) -> None:
    wrong = compact(altered(INNER, way, value))
    code = answers(lambda: parse_contents(wrong, BUNDLE))
    assert code in {None, ErrorCode.BUNDLE_MALFORMED, ErrorCode.RECIPIENT_MISMATCH}
    if code is None:
        assert parse_contents(parse_contents(wrong, BUNDLE).encode(), BUNDLE) == parse_contents(wrong, BUNDLE)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(KEYS), st.integers(0, 2**16), st.binary(min_size=1, max_size=40))
def test_key_material_overwritten_anywhere_is_a_key_or_refused(key: Any, at: int, bytes_: bytes) -> None:
    jwk = key.jwk
    name = "x" if "x" in jwk else "pub"
    raw = bytearray(unb64u(jwk[name]))
    at %= len(raw)
    raw[at : at + len(bytes_)] = bytes_[: len(raw) - at]
    wrong = jwk | {name: b64u(bytes(raw))}
    code = answers(lambda: parse_public_key(wrong))
    assert code in {None, ErrorCode.KEY_UNSUITABLE}
    if code is None:
        assert (parse_public_key(wrong) == key) == (wrong == jwk)
