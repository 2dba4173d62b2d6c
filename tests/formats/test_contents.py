"""The inner documents: they read back as written, and no member is missing, foreign, or of another form."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.formats.bundle import Address, SealRole
from referral_api.formats.contents import (
    MAX_NOTE_CHARACTERS,
    AttachmentKey,
    Body,
    BundleBody,
    Contents,
    ForwardBody,
    ForwardReason,
    NoteBody,
    parse_contents,
)
from referral_api.formats.keys import Alg
from referral_api.formats.signed import BUNDLE, FORWARD, NOTE
from referral_api.formats.strict_json import compact, parse, sha256_b64u
from tests.vectors import scene

ATTACHMENT = AttachmentKey("a7", "señal 1.jpg", "image/jpeg", 300_000, sha256_b64u(b"x"), b"\x41" * 32)
BODIES: dict[str, Body] = {
    BUNDLE: BundleBody(scene.REFERRAL, (ATTACHMENT,)),
    FORWARD: ForwardBody(ForwardReason.TRANSFER, sha256_b64u(b"opened"), b'{"payload":"AA"}'),
    NOTE: NoteBody(scene.ACT, "Patrulla en camino.", "EXP-1", "+51 1 000000"),
}


def contents(typ: str = BUNDLE) -> Contents:
    return Contents(
        ref=scene.REF,
        issuer=scene.OPERATOR,
        party=scene.HOTLINE,
        audience=scene.AUDIENCE,
        to=(Address(scene.NEAR, scene.NEAR_KEY.kid, SealRole.ACTION),),
        signature_algs=(Alg.ED25519, Alg.ML_DSA_65),
        routing_digest=sha256_b64u(b"header"),
        keys_log=scene.KEYS_LOG,
        salt=bytes(16),
        issued_at_s=1_795_000_000,
        body=BODIES[typ],
    )


def refusal(wrong: Any, typ: str = BUNDLE) -> str:
    with pytest.raises(ReferralError) as caught:
        parse_contents(compact(wrong), typ)
    assert caught.value.code is ErrorCode.BUNDLE_MALFORMED
    return str(caught.value.facts["reason"])


def document(typ: str = BUNDLE, **changes: Any) -> dict[str, Any]:
    whole: dict[str, Any] = parse(contents(typ).encode(), max_bytes=65536)
    return whole | changes


def without(name: str, members: dict[str, Any]) -> dict[str, Any]:
    return {kept: value for kept, value in members.items() if kept != name}


@pytest.mark.parametrize("typ", [BUNDLE, FORWARD, NOTE])
def test_contents_read_back_as_written(typ: str) -> None:
    written = contents(typ)
    assert written.typ == typ
    assert parse_contents(written.encode(), typ) == written


@given(text=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=200))
def test_any_note_text_reads_back(text: str) -> None:
    written = replace(contents(NOTE), body=NoteBody(scene.ACT, text))
    assert parse_contents(written.encode(), NOTE) == written


@pytest.mark.parametrize("typ", [BUNDLE, FORWARD, NOTE])
def test_every_member_is_needed_and_no_other_is_allowed(typ: str) -> None:
    for name in document(typ):
        assert refusal(without(name, document(typ)), typ) == "contents"
        assert refusal(document(typ) | {name: None}, typ) == "contents"
    assert refusal(document(typ, extra=1), typ) == "contents"


@pytest.mark.parametrize("typ", [BUNDLE, FORWARD, NOTE])
def test_one_kind_is_not_read_as_another(typ: str) -> None:
    for other in {BUNDLE, FORWARD, NOTE} - {typ}:
        assert refusal(document(typ), other) == "contents"
    assert refusal(document(typ, t="act"), typ) == "contents"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"v": 2}, "contents"),
        ({"v": True}, "contents"),
        ({"ref": scene.ACT}, "contents"),
        ({"iss": "Linea.op01"}, "contents"),
        ({"party": scene.NEAR}, "contents"),
        ({"aud": "ftp://x"}, "contents"),
        ({"to": []}, "contents"),
        ({"sigs": []}, "contents"),
        ({"sigs": ["Ed25519", "Ed25519"]}, "contents"),
        ({"sigs": ["EdDSA"]}, "contents"),
        ({"sigs": ["Ed25519", "ES256", "ML-DSA-65"]}, "contents"),
        ({"sigs": [["Ed25519"]]}, "contents"),
        ({"hdr": "x"}, "contents"),
        ({"keys_log": {"origin": "a b", "size": 1, "root": sha256_b64u(b"")}}, "contents"),
        ({"keys_log": {"origin": "a", "size": -1, "root": sha256_b64u(b"")}}, "contents"),
        ({"keys_log": {"origin": "a", "size": 1}}, "contents"),
        ({"salt": "AA"}, "length"),
        ({"salt": "A" * 21 + "B"}, "base64url"),
        ({"salt": 1}, "contents"),
        ({"iat": "1795000000"}, "contents"),
        ({"iat": True}, "contents"),
        ({"iat": -1}, "contents"),
        ({"referral": []}, "contents"),
        ({"attachments": {}}, "contents"),
    ],
)
def test_members_have_their_form(changes: dict[str, Any], reason: str) -> None:
    assert refusal(document(**changes)) == reason


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "b0"},
        {"name": "../x"},
        {"name": "a\nb"},
        {"name": ""},
        {"type": "jpeg"},
        {"size": -1},
        {"size": 2**31 + 1},
        {"sha256": "x"},
        {"enc": "aes"},
        {"key": 5},
        {"extra": 1},
    ],
)
def test_attachment_entries_are_strict(changes: dict[str, Any]) -> None:
    entry = document()["attachments"][0]
    assert refusal(document(attachments=[entry | changes])) == "contents"


def test_attachments_are_unlike_and_at_most_64() -> None:
    entry = document()["attachments"][0]
    most = [entry | {"id": f"a{n}"} for n in range(64)]
    assert parse_contents(compact(document(attachments=most)), BUNDLE).typ == BUNDLE
    assert refusal(document(attachments=[*most, entry | {"id": "a64"}])) == "contents"
    assert refusal(document(attachments=[entry, entry])) == "contents"


def test_notes_hold_to_their_length_and_members() -> None:
    longest = replace(contents(NOTE), body=NoteBody(scene.ACT, "x" * MAX_NOTE_CHARACTERS))
    assert parse_contents(longest.encode(), NOTE) == longest
    note = document(NOTE)["note"]
    wrong: list[dict[str, Any]] = [
        {"text": "x" * (MAX_NOTE_CHARACTERS + 1)},
        {"text": 5},
        {"act": scene.REF},
        {"case_number": "x" * 65},
        {"case_number": None},
        {"contact": "a\tb"},
        {"extra": 1},
    ]
    for change in wrong:
        assert refusal(document(NOTE, note=note | change), NOTE) == "contents"
    assert refusal(document(NOTE, note=without("text", note)), NOTE) == "contents"
    assert parse_contents(compact(document(NOTE, note=without("contact", note))), NOTE).typ == NOTE


def test_forwards_name_a_reason_a_digest_and_ascii_text() -> None:
    wrong: list[dict[str, Any]] = [
        {"reason": "copy"},
        {"reason": []},
        {"prev": "x"},
        {"original": "ñ"},
        {"original": {}},
    ]
    for change in wrong:
        assert refusal(document(FORWARD, **change), FORWARD) == "contents"


def test_a_doubled_recipient_is_called_so() -> None:
    with pytest.raises(ReferralError) as caught:
        parse_contents(compact(document(to=document()["to"] * 2)), BUNDLE)
    assert (caught.value.code, caught.value.facts) == (ErrorCode.RECIPIENT_MISMATCH, {"reason": "duplicate"})


def test_secrets_and_text_of_people_show_in_no_representation() -> None:
    for typ in (BUNDLE, FORWARD, NOTE):
        shown = repr(contents(typ))
        assert not any(word in shown for word in ("AAAA", "señora", "Patrulla", "EXP-1", "payload"))
