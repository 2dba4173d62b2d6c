"""One spelling of a leaf, and nothing beside it (R-91)."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from referral_api.auditlog.leaf import Leaf, LeafKind, encode_leaf, leaf_of, parse_leaf
from referral_api.domain.errors import ErrorCode
from referral_api.domain.words import Digest
from referral_api.formats import strict_json
from tests.auditlog.refusals import refused

RAW = b'{"d":"47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU","k":"act","t":1790000000,"v":1}'


def test_a_leaf_has_exactly_the_published_spelling() -> None:
    leaf = leaf_of(b"", LeafKind.ACT, 1_790_000_000)
    assert encode_leaf(leaf) == RAW
    assert parse_leaf(RAW) == leaf


@given(st.binary(), st.sampled_from(LeafKind), st.integers(0, 2**53 - 1))
def test_every_leaf_survives_its_bytes_and_is_canonical_json(record: bytes, kind: LeafKind, logged_s: int) -> None:
    leaf = leaf_of(record, kind, logged_s)
    raw = encode_leaf(leaf)
    assert parse_leaf(raw) == leaf
    document = {"d": strict_json.b64u(sha256(record).digest()), "k": kind.value, "t": logged_s, "v": 1}
    assert strict_json.parse(raw, max_bytes=200) == document
    assert strict_json.canonical(document) == raw


@pytest.mark.parametrize(
    "drifted",
    [
        RAW + b"\n",
        b" " + RAW,
        b"\xef\xbb\xbf" + RAW,
        RAW.replace(b'":"', b'": "', 1),
        RAW.replace(b'"act"', b'"Act"'),
        RAW.replace(b'"act"', b'"other"'),
        RAW.replace(b'"act"', b'"\\u0061ct"'),
        RAW.replace(b"1790000000", b"1.79e9"),
        RAW.replace(b"1790000000", b"1790000000.0"),
        RAW.replace(b"1790000000", b"01790000000"),
        RAW.replace(b"1790000000", b"-1"),
        RAW.replace(b"1790000000", b'"1790000000"'),
        RAW.replace(b"1790000000", b"9007199254740992"),
        RAW.replace(b"1790000000", "١٧٩".encode()),
        RAW.replace(b'"v":1', b'"v":2'),
        RAW.replace(b'"v":1', b'"v":true'),
        RAW.replace(b',"v":1', b""),
        RAW.replace(b',"v":1', b',"v":1,"x":1'),
        RAW.replace(b',"v":1', b',"v":1,"v":1'),
        RAW.replace(b"SuFU", b"SuFV"),
        RAW.replace(b"SuFU", b"SuFU="),
        RAW.replace(b"SuFU", b"SuF"),
        RAW.replace(b"-_", b"+/"),
        b'{"k":"act","d":"47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU","t":1790000000,"v":1}',
        b"",
        b"{}",
    ],
)
def test_any_other_spelling_of_a_leaf_is_refused(drifted: bytes) -> None:
    assert drifted != RAW
    assert refused(ErrorCode.MALFORMED, parse_leaf, drifted) == "leaf"


@pytest.mark.parametrize(
    "leaf",
    [
        Leaf(Digest("short"), LeafKind.ACT, 1),
        Leaf(Digest('47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSu"U'), LeafKind.ACT, 1),
        Leaf(Digest("47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"), LeafKind.ACT, -1),
        Leaf(Digest("47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"), LeafKind.ACT, 2**53),
    ],
)
def test_fields_that_are_no_leaf_are_never_written(leaf: Leaf) -> None:
    assert refused(ErrorCode.MALFORMED, encode_leaf, leaf) == "leaf"
