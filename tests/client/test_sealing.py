"""Sealing and opening: what was sealed opens for its recipients alone, and nothing altered or contradictory opens."""

from __future__ import annotations

from dataclasses import replace
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from referral_api.client.sealing import (
    Recipient,
    answer_challenge,
    enc_private_key,
    generate_enc_key,
    open_bundle,
)
from referral_api.client.self_test import _check_known_answers, self_test
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Digest, PartyId
from referral_api.formats.bundle import LADDER, MAX_BUNDLE_BYTES, Address, PartsNotice, SealRole, parse_bundle
from referral_api.formats.contents import AttachmentKey, BundleBody, ForwardBody, ForwardReason, NoteBody
from referral_api.formats.keys import Alg, signing_key
from referral_api.formats.possession import POSSESSION_INFO, challenge, seal_to
from referral_api.formats.signed import BUNDLE, FORWARD, NOTE
from referral_api.formats.strict_json import b64u, parse, sha256_b64u, unb64u
from tests.vectors import scene
from tests.vectors.scene import (
    FAR_KEY,
    HOTLINE_ED,
    HOTLINE_KEY,
    HOTLINE_ML,
    NATIONAL_KEY,
    NEAR_KEY,
    OFFICER_ED,
    OFFICER_ES,
    STRANGER_ED,
    TO_FAR,
    TO_NATIONAL,
    TO_NEAR,
    TO_SELF,
)

BASE = scene.seal()
ATTACHMENT = AttachmentKey("a0", "foto.jpg", "image/jpeg", 300_000, sha256_b64u(b"photo"), b"\x41" * 32)
NOTICE = PartsNotice("a0", sha256_b64u(b"manifest"), 303_464)


def refusal(raw: bytes) -> tuple[str, Any]:
    with pytest.raises(ReferralError) as caught:
        scene.open_with(raw)
    return caught.value.code.value, caught.value.facts.get("reason")


def test_every_recipient_and_nobody_else_opens_a_mixed_bundle() -> None:
    raw = scene.seal(recipients=(TO_NEAR, TO_FAR, TO_NATIONAL, TO_SELF))
    for key in (NEAR_KEY, FAR_KEY, NATIONAL_KEY, HOTLINE_KEY):
        opened = scene.open_with(raw, key)
        assert opened.opened_with == key.kid
        assert opened.referral.contents.body == BundleBody(scene.REFERRAL)
        assert opened.referral.contents.keys_log == scene.KEYS_LOG
        assert opened.original is None
    with pytest.raises(ReferralError) as caught:
        scene.open_with(raw, generate_enc_key(Alg.HPKE_9))
    assert (caught.value.code, caught.value.facts) == (ErrorCode.NO_USABLE_KEY, {})


texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=3000)


@settings(max_examples=25, deadline=None)
@given(text=texts, dual=st.booleans(), strong=st.booleans())
def test_opening_undoes_sealing_for_any_text(text: str, dual: bool, strong: bool) -> None:
    to = TO_NATIONAL if strong else TO_NEAR
    said = scene.draft(BundleBody({"summary": text}))
    raw = scene.seal(said, (to,), (HOTLINE_ED, HOTLINE_ML) if dual else (HOTLINE_ED, HOTLINE_ML)[::-1])
    opened = scene.open_with(raw)
    assert opened.referral.contents.body == said.body
    assert len(unb64u(opened.sealed.ciphertext_text)) in LADDER


@settings(max_examples=150, deadline=None)
@given(at=st.integers(0, len(BASE) - 1), flip=st.integers(1, 255))
def test_no_single_altered_byte_of_an_envelope_survives(at: int, flip: int) -> None:
    raw = bytearray(BASE)
    raw[at] ^= flip
    with pytest.raises(ReferralError) as caught:
        scene.open_with(bytes(raw), NEAR_KEY)
    assert caught.value.code is not ErrorCode.INTERNAL


def test_anothers_encapsulation_is_not_ours_to_check_but_the_bundles_digest_covers_it() -> None:
    """JWE leaves the other recipients' keys unauthenticated; the signed submit act names the digest of all bytes."""
    raw = scene.seal(recipients=(TO_NEAR, TO_NATIONAL))
    other = parse_bundle(raw).recipients[1].ek_text
    altered = raw.replace(other.encode(), (("A" if other[0] != "A" else "B") + other[1:]).encode())
    assert scene.open_with(altered, NEAR_KEY).sealed.sha256 != parse_bundle(raw).sha256
    with pytest.raises(ReferralError) as caught:
        scene.open_with(altered, NATIONAL_KEY)
    assert caught.value.code is ErrorCode.DECRYPT_FAILED


@settings(max_examples=60, deadline=None)
@given(length=st.integers(0, len(BASE) - 1))
def test_a_truncated_envelope_is_refused(length: int) -> None:
    assert refusal(BASE[:length])[0] == "bundle-malformed"


def test_sealing_twice_shares_no_secret_and_no_text() -> None:
    """Rule R4 of the field: every bundle has a content key of its own, which is gone with its wraps."""
    first, second = (parse_bundle(scene.seal()) for _ in range(2))
    assert first.iv != second.iv
    assert first.ciphertext_text != second.ciphertext_text
    assert first.routing.commitment != second.routing.commitment
    assert first.recipients[0].ek_text != second.recipients[0].ek_text


def test_an_attachments_key_travels_inside_and_its_size_outside() -> None:
    said = scene.draft(BundleBody(scene.REFERRAL, (ATTACHMENT,)), notices=(NOTICE,))
    raw = scene.seal(said)
    opened = scene.open_with(raw)
    assert opened.referral.contents.body == said.body
    assert opened.sealed.routing.attachments == (NOTICE,)
    assert b64u(ATTACHMENT.key).encode() not in raw


def test_a_bundle_without_its_attachments_notice_is_neither_sealed_nor_opened() -> None:
    body = BundleBody(scene.REFERRAL, (ATTACHMENT,))
    with pytest.raises(ReferralError) as caught:
        scene.seal(scene.draft(body))
    assert caught.value.facts == {"reason": "attachments"}
    assert refusal(scene.hostile(body=body)) == ("digest-mismatch", "attachments")
    assert refusal(scene.hostile(routing_changes={"attachments": (NOTICE,)})) == ("digest-mismatch", "attachments")


def test_a_unit_forwards_the_hotlines_document_and_both_signatures_are_checked() -> None:
    received = scene.open_with(scene.seal(), NEAR_KEY)
    said = scene.forward_draft(received.document.jws.raw)
    to = (Recipient(FAR_KEY.public, scene.FAR, SealRole.ACTION),)
    raw = scene.seal(said, to, (OFFICER_ED,))
    opened = scene.open_with(raw, FAR_KEY)
    assert opened.sealed.cty == FORWARD
    assert opened.document.contents.party == scene.NEAR
    assert isinstance(opened.document.contents.body, ForwardBody)
    assert opened.original is not None
    assert opened.referral.jws.raw == received.document.jws.raw
    assert [a.party for a in opened.referral.contents.to] == [scene.NEAR]


def test_a_forward_of_an_altered_or_foreign_original_is_refused() -> None:
    original = scene.open_with(scene.seal(), NEAR_KEY).document.jws
    forged = original.raw.replace(b64u(original.signatures[0].signature).encode(), b64u(bytes(64)).encode())
    foreign = scene.open_with(scene.seal(scene.draft(ref=scene.OTHER_REF)), NEAR_KEY).document.jws.raw
    to = (Recipient(FAR_KEY.public, scene.FAR, SealRole.ACTION),)
    for text, expected in (
        (forged, ("signature-invalid", "forged")),
        (foreign, ("digest-mismatch", "ref")),
    ):
        assert refusal(scene.seal(scene.forward_draft(text), to, (OFFICER_ED,))) == expected
    for text in (b"{}", b"no jws"):
        with pytest.raises(ReferralError) as caught:
            scene.seal(scene.forward_draft(text), to, (OFFICER_ED,))
        assert caught.value.code is ErrorCode.BUNDLE_MALFORMED


def test_a_forward_names_the_attachments_of_its_original() -> None:
    body = BundleBody(scene.REFERRAL, (ATTACHMENT,))
    original = scene.open_with(scene.seal(scene.draft(body, notices=(NOTICE,)))).document.jws.raw
    forward = ForwardBody(ForwardReason.RESEAL, sha256_b64u(original), original)
    assert refusal(scene.hostile(body=forward)) == ("digest-mismatch", "attachments")
    held = scene.open_with(scene.hostile(body=forward, routing_changes={"attachments": (NOTICE,)}))
    assert held.referral.contents.body == body


def test_what_recipients_would_refuse_is_not_sealed() -> None:
    for wrong in (scene.draft(audience="no issuer"), scene.note_draft("x" * 4001)):
        with pytest.raises(ReferralError) as caught:
            scene.seal(wrong, (TO_FAR,), (OFFICER_ED,))
        assert (caught.value.code, caught.value.facts) == (ErrorCode.BUNDLE_MALFORMED, {"reason": "contents"})


def test_the_longest_bundle_can_still_be_forwarded_to_64_keys() -> None:
    spare = 360 * 1024 * 3 // 4 - 5600
    original = scene.open_with(scene.seal(scene.draft(BundleBody({"summary": "x" * spare}))), NEAR_KEY).document.jws.raw
    assert 357 * 1024 < len(original) <= 360 * 1024
    keys = [enc_private_key(Alg.HPKE_9, bytes([n]) * 32) for n in range(64)]
    parties = [PartyId(f"unidad-{'x' * 30}{n:02}") for n in range(64)]
    to = tuple(Recipient(k.public, p, SealRole.INFORMATION) for k, p in zip(keys, parties, strict=True))
    raw = scene.seal(scene.forward_draft(original), to, (OFFICER_ED, signing_key(Alg.ML_DSA_65, b"\x77" * 32)))
    assert len(raw) <= MAX_BUNDLE_BYTES
    assert parse_bundle(raw).cty == FORWARD


def test_a_bundle_at_its_limit_is_sealed_and_three_letters_more_are_not() -> None:
    limit = 360 * 1024
    spare = limit * 3 // 4
    empty = len(scene.open_with(scene.seal(scene.draft(BundleBody({"s": ""})))).document.jws.raw)
    fitting = spare - (empty * 3 + 3) // 4
    sealed = scene.open_with(scene.seal(scene.draft(BundleBody({"s": "x" * fitting}))))
    assert limit - 4 < len(sealed.document.jws.raw) <= limit
    with pytest.raises(ReferralError) as caught:
        scene.seal(scene.draft(BundleBody({"s": "x" * (fitting + 3)})))
    assert (caught.value.code, caught.value.facts) == (ErrorCode.TOO_LARGE, {"limit": limit})


def test_notes_are_sealed_in_the_other_direction_and_always_of_one_size() -> None:
    to = (Recipient(HOTLINE_KEY.public, scene.HOTLINE, SealRole.INFORMATION),)
    sizes = set()
    for text in ("", "Recibido.", "ñ" * 4000):
        raw = scene.seal(scene.note_draft(text), to, (OFFICER_ED, OFFICER_ES))
        opened = scene.open_with(raw, HOTLINE_KEY)
        assert opened.document.contents.body == NoteBody(scene.ACT, text, "EXP-0000-2026", None)
        assert opened.sealed.cty == NOTE
        with pytest.raises(ReferralError):
            _ = opened.referral
        sizes.add(len(raw))
    assert len(sizes) == 1


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"to": (Address(scene.NEAR, FAR_KEY.kid, SealRole.ACTION),)}, ("recipient-mismatch", "signed")),
        ({"to": (Address(scene.FAR, NEAR_KEY.kid, SealRole.ACTION),)}, ("recipient-mismatch", "signed")),
        ({"to": (Address(scene.NEAR, NEAR_KEY.kid, SealRole.INFORMATION),)}, ("recipient-mismatch", "signed")),
        ({"routing_digest": sha256_b64u(b"another header")}, ("digest-mismatch", "header")),
        ({"ref": scene.OTHER_REF}, ("digest-mismatch", "ref")),
        ({"signature_algs": (Alg.ED25519, Alg.ES256)}, ("signature-invalid", "required")),
        ({"signature_algs": (Alg.ED25519,)}, ("signature-invalid", "undeclared")),
        ({"signers": (STRANGER_ED, HOTLINE_ML)}, ("signature-invalid", "unknown-key")),
        ({"signers": (HOTLINE_ED,)}, ("signature-invalid", "required")),
        ({"issuer": scene.OFFICER}, ("bundle-malformed", "contents")),
        ({"issuer": scene.OFFICER, "party": scene.NEAR, "recipients": (TO_FAR,)}, ("signature-invalid", "sender")),
        ({"routing_changes": {"commitment": bytes(32)}}, ("decrypt-failed", None)),
        ({"cty": FORWARD}, ("wrong-type", None)),
        ({"payload": b"[]"}, ("bundle-malformed", "contents")),
        ({"payload": b'{"v":1.5}'}, ("bundle-malformed", "float")),
        ({"recipients": (TO_NEAR, TO_NEAR)}, ("recipient-mismatch", "duplicate")),
    ],
)
def test_an_envelope_that_contradicts_itself_is_refused(changes: dict[str, Any], expected: tuple[str, Any]) -> None:
    assert refusal(scene.hostile(**changes)) == expected


def test_the_hostile_sealer_can_also_be_honest() -> None:
    """So that the refusals above are due to the lie and to nothing else."""
    assert scene.open_with(scene.hostile()).referral.contents.party == scene.HOTLINE


def test_a_text_on_a_higher_rung_than_needed_opens() -> None:
    opened = scene.open_with(scene.hostile(padding=60 * 1024))
    assert len(unb64u(opened.sealed.ciphertext_text)) == LADDER[1]
    assert opened.sealed.cty == BUNDLE


def test_a_kid_that_names_a_key_of_another_suite_decrypts_nothing() -> None:
    misfiled = {NATIONAL_KEY.kid: replace(NEAR_KEY)}
    with pytest.raises(ReferralError) as caught:
        open_bundle(scene.seal(recipients=(TO_NATIONAL,)), misfiled, scene.find_sender)
    assert (caught.value.code, caught.value.facts) == (ErrorCode.DECRYPT_FAILED, {})


def test_the_wrong_seed_behind_a_kid_fails_like_any_other_damage() -> None:
    with pytest.raises(ReferralError) as caught:
        open_bundle(scene.seal(), {NEAR_KEY.kid: FAR_KEY}, scene.find_sender)
    assert (caught.value.code, caught.value.facts) == (ErrorCode.DECRYPT_FAILED, {})


def test_a_signature_key_or_no_recipient_is_not_sealed_to() -> None:
    with pytest.raises(ReferralError) as caught:
        scene.seal(recipients=(TO_NEAR, Recipient(HOTLINE_ED.public, scene.FAR, SealRole.ACTION)))
    assert caught.value.code is ErrorCode.KEY_UNSUITABLE
    for recipients in ((), (TO_NEAR, TO_NEAR)):
        with pytest.raises(ReferralError) as caught:
            scene.seal(recipients=recipients)
        assert caught.value.code in {ErrorCode.BUNDLE_MALFORMED, ErrorCode.RECIPIENT_MISMATCH}


@pytest.mark.parametrize("alg", [Alg.HPKE_9, Alg.HPKE_10])
def test_only_the_holder_answers_a_possession_challenge(alg: Alg) -> None:
    key = generate_enc_key(alg)
    again = enc_private_key(alg, key.seed)
    nonce = bytes(range(32))
    sealed = challenge(key.public.jwk, nonce)
    assert answer_challenge(again, sealed) == nonce
    assert again.kid == key.kid
    for private, text in (
        (generate_enc_key(alg), sealed),
        (key, sealed[:-1]),
        (key, b""),
        (key, seal_to(key.public, nonce[:31], info=POSSESSION_INFO)),
        (key, seal_to(key.public, nonce, info=b"another purpose")),
        (key, bytes([sealed[0] ^ 1]) + sealed[1:]),
    ):
        with pytest.raises(ReferralError) as caught:
            answer_challenge(private, text)
        assert caught.value.code is ErrorCode.DECRYPT_FAILED


def test_a_bundles_wrapped_key_is_not_answered_as_a_challenge() -> None:
    recipient = parse_bundle(scene.seal()).recipients[0]
    with pytest.raises(ReferralError) as caught:
        answer_challenge(NEAR_KEY, unb64u(recipient.ek_text) + unb64u(recipient.encrypted_key_text))
    assert caught.value.code is ErrorCode.DECRYPT_FAILED


def test_a_challenge_goes_to_encryption_keys_only() -> None:
    with pytest.raises(ReferralError) as caught:
        challenge(HOTLINE_ED.public.jwk, bytes(32))
    assert caught.value.facts == {"reason": "algorithm"}
    with pytest.raises(ValueError, match="32 bytes"):
        challenge(NEAR_KEY.public.jwk, bytes(31))


def test_private_seeds_have_32_bytes_and_are_never_shown() -> None:
    for alg, seed, reason in ((Alg.HPKE_9, bytes(31), "length"), (Alg.ED25519, bytes(32), "algorithm")):
        with pytest.raises(ReferralError) as caught:
            enc_private_key(alg, seed)
        assert caught.value.facts == {"reason": reason}
    assert "!!!!" not in repr(NEAR_KEY)
    assert Digest(NEAR_KEY.kid) in repr(NEAR_KEY)


def test_the_self_test_passes_here_and_notices_every_wrong_answer() -> None:
    self_test()
    known = parse(files("referral_api.client").joinpath("self_test.json").read_bytes(), max_bytes=65536)
    for name, member in (
        ("HPKE-9-KE", "sealed"),
        ("HPKE-9-KE", "secret"),
        ("HPKE-10-KE", "seed"),
        ("cobblestone", "text"),
        ("cobblestone", "plaintext"),
    ):
        damaged = bytearray(unb64u(known[name][member]))
        damaged[-1] ^= 1
        with pytest.raises(ReferralError) as caught:
            _check_known_answers(known | {name: known[name] | {member: b64u(bytes(damaged))}})
        assert caught.value.code is ErrorCode.SELF_TEST_FAILED
        assert caught.value.facts["what"].startswith(name)
