"""Strict JSON and canonical base64url: everything that two readers could understand differently is refused."""

from __future__ import annotations

import base64
import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.formats import strict_json
from referral_api.formats.strict_json import (
    MAX_SAFE_INTEGER,
    b64u,
    b64u_length,
    canonical,
    parse,
    sha256_b64u,
    unb64u,
)

LIMIT = 1_000_000


def reason(raw: bytes, **options: Any) -> str:
    with pytest.raises(ReferralError) as caught:
        parse(raw, max_bytes=LIMIT, **options)
    assert caught.value.code is ErrorCode.MALFORMED
    assert set(caught.value.facts) == {"reason"}
    return str(caught.value.facts["reason"])


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b'\xef\xbb\xbf{"a":1}', "byte-order-mark"),
        (b"\xff\xfe{\x00}\x00", "not-utf8"),
        (b'{"a":"\xc3"}', "not-utf8"),
        (b'{"a":"\xed\xa0\x80"}', "not-utf8"),
        (b'{"a":"\xc0\xaf"}', "not-utf8"),
        (b"", "syntax"),
        (b"{", "syntax"),
        (b'{"a":1}x', "syntax"),
        (b'{"a":1,}', "syntax"),
        (b"{'a':1}", "syntax"),
        (b'{"a":01}', "syntax"),
        (b'{"a":+1}', "syntax"),
        (b'{"a":"\x01"}', "syntax"),
        (b'{"a":1}/*c*/', "syntax"),
        (b'{"a":1,"a":1}', "duplicate-member"),
        (b'{"a":{"b":1,"\\u0062":2}}', "duplicate-member"),
        (b'{"a":NaN}', "not-a-number"),
        (b"[Infinity]", "not-a-number"),
        (b"[-Infinity]", "not-a-number"),
        (b"[1.0]", "float"),
        (b"[1e2]", "float"),
        (b"[-0.0]", "float"),
        (b"[9007199254740992]", "integer-range"),
        (b"[-9007199254740992]", "integer-range"),
        (b"[" + b"9" * 5000 + b"]", "integer-range"),
        (b'["\\ud800"]', "character"),
        (b'["\\udc00\\ud800"]', "character"),
        (b'{"\\udfff":1}', "character"),
        (b'["a\\u0000b"]', "character"),
    ],
)
def test_what_is_not_plain_json_is_refused_with_its_reason(raw: bytes, expected: str) -> None:
    assert reason(raw) == expected


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_sixteen_levels_are_read_and_seventeen_are_not(opening: bytes) -> None:
    closing = b"]" if opening == b"[" else b"}"
    core = b"1" if opening != b"[" else b""
    assert parse(opening * 16 + core + closing * 16, max_bytes=LIMIT)
    assert reason(opening * 17 + core + closing * 17) == "too-deep"
    assert reason(opening * 100_000) in {"too-deep", "syntax"}
    assert reason(b"[" * 100_000 + b"]" * 100_000) == "too-deep"


def test_width_is_not_depth() -> None:
    assert parse(b"[" + b"[]," * 50 + b"{}]", max_bytes=LIMIT) == [[]] * 50 + [{}]


def test_the_limit_counts_bytes_and_is_told() -> None:
    raw = '"ñandú"'.encode()
    assert parse(raw, max_bytes=len(raw)) == "ñandú"
    with pytest.raises(ReferralError) as caught:
        parse(raw, max_bytes=len(raw) - 1)
    assert (caught.value.code, caught.value.facts) == (ErrorCode.TOO_LARGE, {"limit": len(raw) - 1})


def test_floats_are_read_only_where_asked_for_and_only_finite() -> None:
    assert parse(b"[1.5]", max_bytes=LIMIT, floats=True) == [1.5]
    assert reason(b"[1e999]", floats=True) == "not-a-number"


def test_the_largest_safe_integers_are_read() -> None:
    assert parse(b"[9007199254740991,-9007199254740991,0,-0]", max_bytes=LIMIT) == [
        MAX_SAFE_INTEGER,
        -MAX_SAFE_INTEGER,
        0,
        0,
    ]


def test_paired_surrogate_escapes_are_one_character() -> None:
    assert parse(b'["\\ud83d\\ude00"]', max_bytes=LIMIT) == ["😀"]


safe_text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
documents = st.recursive(
    st.none() | st.booleans() | st.integers(-MAX_SAFE_INTEGER, MAX_SAFE_INTEGER) | safe_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(safe_text, inner, max_size=4),
    max_leaves=12,
)


@given(documents)
def test_canonical_text_reads_back_as_the_same_value_and_is_stable(value: Any) -> None:
    text = canonical(value)
    assert text.isascii()
    again = parse(text, max_bytes=LIMIT, depth=64)
    assert again == value
    assert canonical(again) == text


def test_canonical_sorts_members_and_leaves_no_space() -> None:
    assert canonical({"b": [1, True, None], "a": "é"}) == b'{"a":"\\u00e9","b":[1,true,null]}'


@pytest.mark.parametrize("value", [1.5, {"a": 2.0}, [b"x"], {1: "a"}, {"a": {"b": (1,)}}])
def test_a_value_without_a_canonical_form_is_a_programming_error(value: Any) -> None:
    with pytest.raises(TypeError):
        canonical(value)


@given(st.binary(max_size=200))
def test_base64url_reads_back(raw: bytes) -> None:
    text = b64u(raw)
    assert text == base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
    assert unb64u(text) == unb64u(text, exact=len(raw)) == raw
    assert b64u_length(text) == len(raw)


def test_every_accepted_spelling_is_the_only_one() -> None:
    """All texts of up to four characters over an alphabet of good, foreign and invisible ones."""
    accepted = 0
    for length in range(5):
        for letters in itertools.product("AQgw9_-+/= \n", repeat=length):
            text = "".join(letters)
            try:
                raw = unb64u(text)
            except ReferralError:
                with pytest.raises(ReferralError) as caught:
                    b64u_length(text)
                assert caught.value.facts == {"reason": "base64url"}
                continue
            assert b64u(raw) == text
            assert b64u_length(text) == len(raw)
            accepted += 1
    # Of the seven good letters, four (A, Q, g, w) leave the spare bits of a last letter zero.
    assert accepted == 1 + 7 * 4 + 7 * 7 * 4 + 7**4


@pytest.mark.parametrize("text", ["é", "AAA\u2028", "\uff21\uff21"])
def test_letters_beyond_ascii_are_not_base64url(text: str) -> None:
    for read in (unb64u, b64u_length):
        with pytest.raises(ReferralError) as caught:
            read(text)
        assert caught.value.facts == {"reason": "base64url"}


def test_an_exact_length_is_exact() -> None:
    with pytest.raises(ReferralError) as caught:
        unb64u("AAAA", exact=4)
    assert caught.value.facts == {"reason": "length"}


def test_digests_are_43_characters() -> None:
    assert sha256_b64u(b"") == "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"


@pytest.mark.parametrize("raw", [b'{"name":"canary-7', b'{"name":"canary-7\xff"}', b'{"name":"canary-7","name":1}'])
def test_no_part_of_a_refused_text_travels_with_the_error(raw: bytes) -> None:
    """A crash reporter walks the whole chain of an error, also what is not printed of it."""
    with pytest.raises(ReferralError) as caught:
        parse(raw, max_bytes=100)
    error: BaseException | None = caught.value
    while error is not None:
        assert not isinstance(error, ValueError)
        assert "canary" not in repr(error.args)
        error = error.__context__


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_the_fast_reader_and_the_slow_one_read_the_same(value: object) -> None:
    """R-01: whatever the fast one is sure of, the slow one would have read alike."""
    for raw in (strict_json.compact(value), canonical(value)):
        quick = strict_json._find_quickly(raw, strict_json.MAX_DEPTH)
        if quick is not strict_json._UNSURE:
            assert quick == strict_json._read_slowly(raw, floats=False, depth=strict_json.MAX_DEPTH)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"a":1,"a":2}',
        b'{"a":1,"\\u0061":1}',
        b"[1.0]",
        b"[1e2]",
        b"[NaN]",
        b"[-0]",
        b"[9007199254740992]",
        b'["\\u0000"]',
        b'["\\ud800"]',
        b'{"a":1} ',
        b"\xef\xbb\xbf[]",
        b"[" * 17 + b"]" * 17,
    ],
)
def test_the_fast_reader_is_sure_of_nothing_odd(raw: bytes) -> None:
    """R-01."""
    assert strict_json._find_quickly(raw, strict_json.MAX_DEPTH) is strict_json._UNSURE


def test_the_fast_reader_is_sure_of_what_our_clients_write() -> None:
    raw = canonical({"act": '{"payload":"e30"}', "bundle": "x" * 50_000, "n": [1, True, None]})
    assert strict_json._find_quickly(raw, strict_json.MAX_DEPTH) == {
        "act": '{"payload":"e30"}',
        "bundle": "x" * 50_000,
        "n": [1, True, None],
    }


@st.composite
def spelled_somehow(draw: st.DrawFn) -> bytes:
    """A JSON text as somebody might write it: spaces, escapes that need not be, members that come twice."""
    quote, backslash = "\\u0022", "\\u005c"

    def text(value: str) -> str:
        plain = strict_json.compact(value).decode()
        return draw(
            st.sampled_from([plain, canonical(value).decode(), plain.replace('\\"', quote).replace("\\\\", backslash)])
        )

    def spell(value: object) -> str:
        gap = draw(st.sampled_from(["", "", "", " "]))
        if isinstance(value, dict):
            members = [f"{text(name)}:{gap}{spell(one)}" for name, one in value.items()]
            if members and draw(st.integers(0, 3)) == 0:
                members.append(draw(st.sampled_from(members)))
            return "{" + f",{gap}".join(members) + "}"
        if isinstance(value, list):
            return "[" + f",{gap}".join(spell(one) for one in value) + "]"
        return text(value) if isinstance(value, str) else canonical(value).decode()

    leaves = st.none() | st.booleans() | st.integers(-(2**54), 2**54) | st.text('ab"\\/\n\x7fñ', max_size=6)
    values = st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text('a"\\', max_size=2), inner, max_size=4),
        max_leaves=12,
    )
    return spell(draw(values)).encode()


@given(spelled_somehow())
def test_the_fast_reader_takes_no_text_that_the_slow_one_refuses(raw: bytes) -> None:
    """R-01: a member that came twice costs bytes, whatever else in the text could have saved some."""
    quick = strict_json._find_quickly(raw, strict_json.MAX_DEPTH)
    if quick is not strict_json._UNSURE:
        assert quick == strict_json._read_slowly(raw, floats=False, depth=strict_json.MAX_DEPTH)


def test_the_fast_reader_leaves_a_text_of_many_escapes_to_the_slow_one() -> None:
    raw = canonical(['"' * (strict_json._MAX_ESCAPES + 1)])
    assert strict_json._find_quickly(raw, strict_json.MAX_DEPTH) is strict_json._UNSURE
    assert parse(raw, max_bytes=len(raw)) == ['"' * (strict_json._MAX_ESCAPES + 1)]
