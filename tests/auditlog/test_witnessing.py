"""The bytes between a log and a witness: what is sent, what is believed of the answer (R-96)."""

from __future__ import annotations

import base64
from hashlib import sha256

import pytest

from referral_api.auditlog.checkpoint import Checkpoint, cosign_checkpoint, sign_checkpoint
from referral_api.auditlog.note import NoteSignature, SignedNote, parse_note
from referral_api.auditlog.witnessing import (
    MAX_ANSWER_BYTES,
    MAX_REQUEST_BYTES,
    MAX_SENT_BYTES,
    AddCheckpoint,
    format_answer,
    format_request,
    format_size,
    monitoring_path,
    parse_request,
    parse_size,
    verify_answer,
)
from referral_api.domain.errors import ErrorCode
from tests.auditlog import naive
from tests.auditlog.refusals import refused
from tests.auditlog.test_checkpoint import EDWARDS, LATTICE, ORIGIN, SIGNER, WITNESS_1, WITNESS_2

OLD, NEW = 5, 13
PROOF = tuple(naive.proof(OLD, NEW))
CHECKPOINT = Checkpoint(ORIGIN, NEW, naive.root(NEW))
NOTE = sign_checkpoint(ORIGIN, NEW, naive.root(NEW), SIGNER)
LINE_1 = cosign_checkpoint(CHECKPOINT, WITNESS_1, EDWARDS.sign, 1_790_000_000)
LINE_2 = cosign_checkpoint(CHECKPOINT, WITNESS_2, LATTICE.sign, 1_790_000_001)
KEYS = (WITNESS_1, WITNESS_2)


def test_a_request_has_exactly_the_published_spelling() -> None:
    lines = ["old 5", *(base64.b64encode(one).decode() for one in PROOF), "", ""]
    assert format_request(OLD, PROOF, NOTE) == "\n".join(lines).encode() + NOTE
    assert format_request(0, (), NOTE) == b"old 0\n\n" + NOTE


def test_a_request_is_read_back_as_it_was_written() -> None:
    assert parse_request(format_request(OLD, PROOF, NOTE)) == AddCheckpoint(OLD, PROOF, NOTE)
    assert parse_request(format_request(0, (), NOTE)) == AddCheckpoint(0, (), NOTE)


def test_only_the_logs_own_lines_are_sent_so_that_every_witness_takes_the_request() -> None:
    note = parse_note(NOTE)
    cosigned = SignedNote(note.text, (LINE_2, *note.signatures, *[LINE_1, LINE_2] * 8)).to_bytes()
    assert len(cosigned) > MAX_SENT_BYTES
    longest = (b"\0" * 32,) * 63
    assert parse_request(format_request(OLD, longest, cosigned)).raw_checkpoint == NOTE
    wordy = SignedNote(note.text, (NoteSignature(ORIGIN, 7, b"\0" * MAX_SENT_BYTES), *note.signatures)).to_bytes()
    refused(ErrorCode.TOO_LARGE, format_request, 0, (), wordy)


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        ("old -1", "old-size"),
        ("old 05", "old-size"),
        ("old", "old-size"),
        ("old  5", "old-size"),
        ("old 5 ", "old-size"),
        ("Old 5", "old-size"),
        ("old 9223372036854775808", "old-size"),
        ("5", "old-size"),
        ("\nold 5", "old-size"),
        ("old 5\nAAAA", "hash"),
        ("old 5\n" + base64.b64encode(b"\0" * 33).decode(), "hash"),
        ("old 5\n" + base64.urlsafe_b64encode(b"\xff" * 32).decode(), "hash"),
        ("old 5\n" + base64.b64encode(b"\0" * 32).decode() + "\r", "hash"),
        ("old 5" + ("\n" + base64.b64encode(b"\0" * 32).decode()) * 64, "hash"),
    ],
)
def test_a_head_in_any_other_spelling_is_refused(head: str, reason: str) -> None:
    assert refused(ErrorCode.MALFORMED, parse_request, head.encode() + b"\n\n" + NOTE) == reason


def test_what_is_no_request_is_refused() -> None:
    for raw in (b"", b"old 0\n", b"old 0\n\n", b"old 0\n" + NOTE[:20]):
        assert refused(ErrorCode.MALFORMED, parse_request, raw) == "request"
    assert refused(ErrorCode.MALFORMED, parse_request, b"old \xff\n\n" + NOTE) == "not-utf8"
    refused(ErrorCode.TOO_LARGE, parse_request, b"old 0\n\n" + b"x" * MAX_REQUEST_BYTES)


def test_an_answer_is_believed_line_by_line_of_the_pinned_keys() -> None:
    answer = format_answer((LINE_1, LINE_2))
    assert answer == (LINE_1.line() + LINE_2.line()).encode()
    found = verify_answer(answer, CHECKPOINT, KEYS)
    assert [(one.line, one.cosignature.cosigned_s) for one in found] == [
        (LINE_1, 1_790_000_000),
        (LINE_2, 1_790_000_001),
    ]
    assert [one.line for one in verify_answer(answer, CHECKPOINT, (WITNESS_2,))] == [LINE_2]


def test_lines_of_unknown_keys_are_dropped_and_alone_are_no_answer() -> None:
    stranger = NoteSignature("stranger.example", 1, b"\0" * 72)
    assert len(verify_answer(format_answer((stranger, LINE_1)), CHECKPOINT, KEYS)) == 1
    assert refused(ErrorCode.SIGNATURE_INVALID, verify_answer, format_answer((stranger,)), CHECKPOINT, KEYS) == "absent"


def test_an_answer_for_another_tree_or_with_one_forged_line_counts_for_nothing() -> None:
    answer = format_answer((LINE_1, LINE_2))
    for other in (
        Checkpoint(ORIGIN, NEW + 1, CHECKPOINT.root),
        Checkpoint(ORIGIN, NEW, naive.root(12)),
        Checkpoint(ORIGIN + "x", NEW, CHECKPOINT.root),
    ):
        assert refused(ErrorCode.SIGNATURE_INVALID, verify_answer, answer, other, KEYS) == "forged"
    forged = NoteSignature(
        WITNESS_1.name, WITNESS_1.key_id, bytes([*LINE_1.raw_signature[:-1], LINE_1.raw_signature[-1] ^ 1])
    )
    for lines in ((forged, LINE_2), (LINE_1, forged)):
        assert refused(ErrorCode.SIGNATURE_INVALID, verify_answer, format_answer(lines), CHECKPOINT, KEYS) == "forged"


def test_a_cosignature_without_a_time_is_refused() -> None:
    timeless = cosign_checkpoint(CHECKPOINT, WITNESS_2, LATTICE.sign, 0)
    assert refused(ErrorCode.MALFORMED, verify_answer, format_answer((timeless,)), CHECKPOINT, KEYS) == "time"


def test_an_answer_cannot_smuggle_another_text_in() -> None:
    other = Checkpoint(ORIGIN, NEW, naive.root(12))
    smuggled = other.text().encode() + b"\n" + format_answer((LINE_1,))
    refused(ErrorCode.MALFORMED, verify_answer, LINE_1.line().encode() + smuggled, CHECKPOINT, KEYS)
    for raw in (b"", b"\n", LINE_1.line().encode()[:-1], b"no signature\n", b"\n" + LINE_1.line().encode()):
        refused(ErrorCode.MALFORMED, verify_answer, raw, CHECKPOINT, KEYS)
    refused(ErrorCode.TOO_LARGE, verify_answer, b"x" * (MAX_ANSWER_BYTES + 1), CHECKPOINT, KEYS)


def test_the_held_size_has_one_spelling() -> None:
    assert format_size(20852014) == b"20852014\n"
    assert (parse_size(b"0\n"), parse_size(b"9223372036854775807\n")) == (0, 2**63 - 1)
    for raw in (b"", b"5", b"05\n", b"-5\n", b"5\n\n", b"5 \n", b"\xb2\n", b"9223372036854775808\n", b"1" * 99 + b"\n"):
        assert refused(ErrorCode.MALFORMED, parse_size, raw) == "size"


def test_monitors_find_a_log_by_the_digest_of_its_origin() -> None:
    assert monitoring_path(ORIGIN) == sha256(ORIGIN.encode()).hexdigest() + "/checkpoint"
