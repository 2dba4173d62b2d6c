"""Signed notes and pinned keys, with the example of the specification (R-90)."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, mldsa
from hypothesis import given
from hypothesis import strategies as st

from referral_api.auditlog.note import (
    MAX_NOTE_BYTES,
    MAX_SIGNATURES,
    NoteSignature,
    SignatureType,
    SignedNote,
    VerifierKey,
    decode_base64,
    encode_base64,
    parse_note,
    parse_vkey,
)
from referral_api.domain.errors import ErrorCode
from tests.auditlog.refusals import refused

# The specification's own key and note.
VKEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
SIGNATURE = "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM="
LINE = f"— example.com/foo {SIGNATURE}\n"
NOTE = f"This is an example message.\n\n{LINE}".encode()


def ml_dsa_key(seed: int) -> VerifierKey:
    private = mldsa.MLDSA44PrivateKey.from_seed_bytes(bytes([seed] * 32))
    return VerifierKey(
        "witness.example/w", SignatureType.COSIGNATURE_ML_DSA_44, private.public_key().public_bytes_raw()
    )


def test_the_note_of_the_specification_verifies_under_its_key() -> None:
    note, key = parse_note(NOTE), parse_vkey(VKEY)
    assert (note.text, key.name, key.key_id) == ("This is an example message.\n", "example.com/foo", 0x530D903A)
    (signature,) = note.signed_by(key)
    key.verify(note.text.encode(), signature)
    assert note.to_bytes() == NOTE
    assert key.vkey == VKEY
    assert refused(ErrorCode.SIGNATURE_INVALID, key.verify, b"This is an example message", signature) == "forged"
    assert refused(ErrorCode.SIGNATURE_INVALID, key.verify, note.text.encode(), signature[:-1]) == "forged"
    assert refused(ErrorCode.SIGNATURE_INVALID, key.verify, note.text.encode(), b"") == "forged"


def test_an_ml_dsa_key_verifies_only_its_own_signatures_of_full_length() -> None:
    key, other = ml_dsa_key(1), ml_dsa_key(2)
    signature = mldsa.MLDSA44PrivateKey.from_seed_bytes(b"\1" * 32).sign(b"message")
    key.verify(b"message", signature)
    for message, wrong in ((b"massage", signature), (b"message", signature[:-1]), (b"message", signature + b"\0")):
        assert refused(ErrorCode.SIGNATURE_INVALID, key.verify, message, wrong) == "forged"
    assert refused(ErrorCode.SIGNATURE_INVALID, other.verify, b"message", signature) == "forged"


def test_the_same_key_has_another_id_for_every_type_and_name() -> None:
    public = ed25519.Ed25519PrivateKey.from_private_bytes(b"\1" * 32).public_key().public_bytes_raw()
    ids = {
        VerifierKey(name, kind, public).key_id
        for name in ("log.example/a", "log.example/b")
        for kind in (SignatureType.ED25519, SignatureType.COSIGNATURE_ED25519)
    }
    assert len(ids) == 4


def test_lines_are_found_by_name_and_id_together() -> None:
    key = parse_vkey(VKEY)
    note = SignedNote(
        "text\n",
        (
            NoteSignature("example.com/bar", key.key_id, b"same id"),
            NoteSignature(key.name, key.key_id + 1, b"same name"),
            NoteSignature(key.name, key.key_id, b"first"),
            NoteSignature(key.name, key.key_id, b"second"),
        ),
    )
    assert note.signed_by(key) == (b"first", b"second")
    assert parse_note(note.to_bytes()) == note


def test_sixteen_signatures_and_more_are_read_up_to_the_limit() -> None:
    signatures = tuple(NoteSignature(f"witness.example/{number}", number, b"\0" * 3000) for number in range(16))
    assert parse_note(SignedNote("text\n", signatures).to_bytes()).signatures == signatures
    small = tuple(NoteSignature("w", number, b"\0") for number in range(MAX_SIGNATURES))
    assert parse_note(SignedNote("text\n", small).to_bytes()).signatures == small
    refused(ErrorCode.TOO_LARGE, parse_note, SignedNote("text\n", (*small, small[0])).to_bytes())


def test_a_note_at_the_size_limit_is_read_and_one_byte_more_is_not() -> None:
    rest = len(SignedNote("\n", parse_note(NOTE).signatures).to_bytes())
    largest = SignedNote("x" * (MAX_NOTE_BYTES - rest) + "\n", parse_note(NOTE).signatures)
    assert len(largest.to_bytes()) == MAX_NOTE_BYTES
    assert parse_note(largest.to_bytes()) == largest
    refused(ErrorCode.TOO_LARGE, parse_note, b"x" + largest.to_bytes())


def test_the_text_ends_at_the_last_empty_line() -> None:
    note = parse_note(f"one\n\n— not a signature\n\n{LINE}".encode())
    assert note.text == "one\n\n— not a signature\n"
    assert parse_note(f"one\n\n\n{LINE}".encode()).text == "one\n\n"


@given(st.text(min_size=1), st.lists(st.binary(min_size=1, max_size=80), min_size=1, max_size=16))
def test_whatever_is_read_has_one_spelling(text: str, raw_signatures: list[bytes]) -> None:
    clean = "".join(character for character in text if character >= " ")
    note = SignedNote(clean + "\n", tuple(NoteSignature("n", 7, raw) for raw in raw_signatures))
    if clean:
        assert parse_note(note.to_bytes()) == note


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "note"),
        (b"text\n", "note"),
        (b"text\n\n", "note"),
        (b"\n\n" + LINE.encode(), "note"),
        (NOTE[:-1], "note"),
        (NOTE.replace(b"\n\n", b"\n"), "note"),
        (NOTE + b"\n", "note"),
        (NOTE.replace(b"\n", b"\r\n"), "character"),
        (NOTE.replace(b"This", b"This\t"), "character"),
        (NOTE.replace(b"This", b"This\0"), "character"),
        (NOTE.replace("—".encode(), b"\x97"), "not-utf8"),
        (NOTE.replace("—".encode(), b"-"), "signature-line"),
        (NOTE.replace("—".encode(), "–".encode()), "signature-line"),
        (NOTE.replace("— ".encode(), "—".encode()), "signature-line"),
        (NOTE.replace("— ".encode(), "—  ".encode()), "signature-line"),
        (NOTE.replace("— ".encode(), "—\N{NO-BREAK SPACE}".encode()), "signature-line"),
        (NOTE.replace(b"=\n", b"= \n"), "signature-line"),
        (NOTE.replace(b"=\n", b"\n"), "signature-line"),
        (NOTE.replace(b"aQM=", b"aQN="), "signature-line"),
        (NOTE.replace(b"Uw2Q", b"Uw-_"), "signature-line"),
        (NOTE.replace(b"foo ", b"f+o "), "signature-line"),
        (NOTE.replace(b"foo ", "f\N{IDEOGRAPHIC SPACE}o ".encode()), "signature-line"),
        (NOTE.replace(SIGNATURE.encode(), b"Uw2QOg=="), "signature-line"),
        (NOTE.replace(SIGNATURE.encode(), b""), "signature-line"),
        (NOTE + "— \n".encode(), "signature-line"),
    ],
)
def test_a_text_that_is_no_note_is_refused(raw: bytes, reason: str) -> None:
    assert refused(ErrorCode.MALFORMED, parse_note, raw) == reason


@pytest.mark.parametrize(
    ("text", "code", "reason"),
    [
        ("", ErrorCode.MALFORMED, "vkey"),
        ("example.com/foo", ErrorCode.MALFORMED, "vkey"),
        (VKEY.replace("530d903a", "530d903b"), ErrorCode.MALFORMED, "vkey"),
        (VKEY.replace("530d903a", "530D903A"), ErrorCode.MALFORMED, "vkey"),
        (VKEY.replace("/foo", "/bar"), ErrorCode.MALFORMED, "vkey"),
        (VKEY.replace("+Aek", "+Fek"), ErrorCode.MALFORMED, "vkey"),
        (VKEY.replace("+Aek", "+/ek"), ErrorCode.MALFORMED, "vkey"),
        (VKEY + "=", ErrorCode.MALFORMED, "vkey"),
        (VKEY.replace("example.com", "example com"), ErrorCode.MALFORMED, "key-name"),
        (VKEY.removeprefix("example.com/foo"), ErrorCode.MALFORMED, "key-name"),
        (VKEY[:-4], ErrorCode.KEY_UNSUITABLE, "length"),
        ("a+00000000+" + encode_base64(b"\1\1" + bytes(31)), ErrorCode.KEY_UNSUITABLE, "small-order"),
        ("a+00000000+" + encode_base64(b"\1" + b"\xff" * 32), ErrorCode.KEY_UNSUITABLE, "encoding"),
    ],
)
def test_a_key_that_cannot_be_pinned_is_refused(text: str, code: ErrorCode, reason: str) -> None:
    assert refused(code, parse_vkey, text) == reason


@pytest.mark.parametrize("text", ["QUI", "QUI==", "QUJ=", "QU I=", "QUI=\n", "QUI-", "QÜI=", "=", "QUI=QUI="])
def test_base64_has_one_spelling(text: str) -> None:
    assert refused(ErrorCode.MALFORMED, decode_base64, text, "here") == "here"
    assert decode_base64("QUI=", "here") == b"AB"
