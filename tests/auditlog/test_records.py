"""The exchange's own records: closed kinds, strict members, no word about a person (R-52, R-91)."""

from __future__ import annotations

from hashlib import sha256
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from referral_api.auditlog.leaf import LeafKind
from referral_api.auditlog.records import (
    MAX_RECORD_BYTES,
    AuditSession,
    ClockJump,
    Configuration,
    LogClosed,
    LogGenesis,
    LogLost,
    PackRead,
    PartRead,
    ProofRead,
    Reconciled,
    RecordRead,
    Refusals,
    Refused,
    Retrieved,
    ServerRecord,
    SignerAdopted,
    Sought,
    StatisticsRead,
    Tokens,
    TreeHead,
    UnloggedRead,
    Viewed,
    WritesClosed,
    encode_record,
    encode_salt,
    kind_of,
    leaf_of_record,
    parse_record,
)
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.formats.strict_json import b64u, canonical, parse
from tests.auditlog.refusals import refused

REF = "01890a5d-ac96-774b-bcce-b302099a8057"
DIGEST = b64u(sha256(b"something").digest())
COMMON: dict[str, Any] = {"t": 1_790_000_000, "salt": encode_salt(bytes(range(16)))}
READER: dict[str, Any] = {**COMMON, "party": "unit-one", "credential": "unit-one.desk1"}
HEAD = TreeHead(origin="exchange.example/v1/log/audit/2026", size=7, root=DIGEST)

RECORDS: list[ServerRecord] = [
    Retrieved(**READER, ref=REF, unit="unit-one", sealed="bundle", act=DIGEST, digest=DIGEST),
    Retrieved(**READER, ref=REF, unit=None, sealed="beside", act=DIGEST, digest=DIGEST),
    PartRead(**READER, ref=REF, digest=DIGEST),
    Viewed(**READER, ref=REF),
    RecordRead(**READER, origin=HEAD.origin, start=0, count=200, sought=Sought(kind="submit")),
    ProofRead(**READER, act=DIGEST),
    PackRead(**READER, ref=REF, digest=DIGEST),
    UnloggedRead(**READER, ref=REF, what="bundle", act=DIGEST, digest=DIGEST),
    UnloggedRead(**READER, ref=REF, what="view", act=None, digest=None),
    StatisticsRead(**READER, year=2026, digest=DIGEST),
    AuditSession(**READER, origin=HEAD.origin, old_size=0, new_size=7),
    Tokens(**READER, since=1_790_000_000, until=1_790_003_600, count=12),
    Refused(**COMMON, party=None, credential=None, code=ErrorCode.INVALID_TOKEN, ref=None, act=None),
    Refused(**READER, code=ErrorCode.NOT_FOUND, ref=REF, act=DIGEST),
    Refusals(**READER, code=ErrorCode.NOT_FOUND, since=1_790_000_000, until=1_790_003_600, count=3),
    LogGenesis(**COMMON, origin="exchange.example/v1/log/audit/2027", kid=DIGEST, previous=HEAD),
    LogGenesis(**COMMON, origin=HEAD.origin, kid=DIGEST, previous=None),
    LogClosed(**COMMON, origin=HEAD.origin, following="exchange.example/v1/log/audit/2027"),
    Configuration(**COMMON, version="0.1.0", digest=DIGEST, changed=["public_url", "witnesses"]),
    ClockJump(**COMMON, expected=1_790_000_000, observed=1_789_990_000),
    SignerAdopted(**COMMON, head=HEAD, authority="witnesses"),
    WritesClosed(**COMMON, reason="database-behind-signer"),
    Reconciled(**COMMON, head=HEAD, imported=2),
    LogLost(**COMMON, kept=HEAD, signed=HEAD.size + 3, authority="witnesses"),
]


def test_every_kind_of_record_is_tested_here_and_has_a_name_of_its_own() -> None:
    kinds = get_args(ServerRecord)
    assert {type(record) for record in RECORDS} == set(kinds)
    assert len({record.kind for record in RECORDS}) == len(kinds)


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.kind)
def test_a_record_survives_its_bytes_and_its_leaf_commits_to_them(record: ServerRecord) -> None:
    raw = encode_record(record)
    assert parse_record(raw) == record
    assert canonical(parse(raw, max_bytes=MAX_RECORD_BYTES)) == raw
    leaf = leaf_of_record(record, raw)
    assert (leaf.digest, leaf.logged_s, leaf.kind) == (b64u(sha256(raw).digest()), record.t, kind_of(record))


def test_a_record_has_exactly_the_published_spelling() -> None:
    assert encode_record(Viewed(**READER, ref=REF)).decode() == (
        '{"credential":"unit-one.desk1","kind":"viewed","party":"unit-one","ref":"01890a5d-ac96-774b-bcce-b302099a8057",'
        '"salt":"AAECAwQFBgcICQoLDA0ODw","t":1790000000,"v":1}'
    )


def test_reading_refusing_and_keeping_house_are_different_kinds_of_leaf() -> None:
    kinds = {record.kind: kind_of(record) for record in RECORDS}
    assert kinds["retrieved"] is kinds["viewed"] is kinds["audit_session"] is kinds["tokens"] is LeafKind.ACCESS
    assert kinds["refused"] is kinds["refusals"] is LeafKind.SERVER
    assert kinds["log.genesis"] is kinds["clock_jump"] is kinds["reconciled"] is LeafKind.SYSTEM


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.kind)
def test_a_record_with_a_missing_or_an_unknown_member_is_refused(record: ServerRecord) -> None:
    document = parse(encode_record(record), max_bytes=MAX_RECORD_BYTES)
    for name in document:
        shorter = canonical({other: value for other, value in document.items() if other != name})
        # The version may be left out by a lenient reader, but then the text is not the canonical one.
        assert refused(ErrorCode.MALFORMED, parse_record, shorter) in {"record", "canonical"}
    assert refused(ErrorCode.MALFORMED, parse_record, canonical({**document, "name": "somebody"})) == "record"


VIEWED = encode_record(Viewed(**READER, ref=REF))


@pytest.mark.parametrize(
    "drifted",
    [
        VIEWED + b"\n",
        VIEWED.replace(b",", b", ", 1),
        VIEWED.replace(b'"viewed"', b'"view\\u0065d"'),
        VIEWED.replace(b'"v":1', b'"v":1,"v":1'),
        VIEWED.replace(b'"v":1', b'"v":true'),
        VIEWED.replace(b'"v":1', b'"v":1.0'),
        VIEWED.replace(b'"t":1790000000', b'"t":1.79e9'),
        VIEWED.replace(b'"t":1790000000', b'"t":"1790000000"'),
        VIEWED.replace(b'"t":1790000000', b'"t":-1'),
        VIEWED.replace(b'"t":1790000000', b'"t":9007199254740992'),
        VIEWED.replace(b"ODw", b"ODx"),
        VIEWED.replace(b"ODw", b"ODw=="),
        VIEWED.replace(b"AAEC", b"AAE"),
        VIEWED.replace(b'"viewed"', b'"retrieved"'),
        VIEWED.replace(b'"viewed"', b'"unheard_of"'),
        VIEWED.replace(b"unit-one.desk1", b"Maria Lopez"),
        VIEWED.replace(b"unit-one.desk1", b"unit-one.desk1\\n"),
        VIEWED.replace(b"8057", b"8057 "),
        b"",
        b"null",
        b"[]",
        b"\xff",
    ],
)
def test_any_other_spelling_of_a_record_is_refused(drifted: bytes) -> None:
    assert drifted != VIEWED
    assert refused(ErrorCode.MALFORMED, parse_record, drifted) in {"record", "canonical"}


def test_a_record_never_takes_text_about_a_person() -> None:
    for wrong in ({"party": "María"}, {"credential": "maria@example.org"}, {"ref": "case 12"}):
        with pytest.raises(ValidationError):
            Viewed(**{**READER, "ref": REF, **wrong})
    with pytest.raises(ValidationError):
        WritesClosed(**COMMON, reason="because Ana said so")


def test_a_record_holds_4_kib_and_not_a_byte_more() -> None:
    assert refused(ErrorCode.MALFORMED, parse_record, b" " * MAX_RECORD_BYTES) == "record"
    with pytest.raises(ReferralError) as caught:
        parse_record(b" " * (MAX_RECORD_BYTES + 1))
    assert (caught.value.code, caught.value.facts) == (ErrorCode.TOO_LARGE, {"limit": 4096})
    # Forty settings of the longest names do fit: no record of the closed list can be made and then not be written.
    longest = Configuration(**COMMON, version="1" * 40, digest=DIGEST, changed=["s" * 64] * 40)
    assert len(encode_record(longest)) <= MAX_RECORD_BYTES


@pytest.mark.parametrize("salt", [b"", b"\0" * 15, b"\0" * 17])
def test_a_salt_has_sixteen_bytes(salt: bytes) -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        encode_salt(salt)
