"""Checkpoints and cosignatures: whose log, whose signature, which witnesses (R-90)."""

from __future__ import annotations

import base64
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, mldsa

from referral_api.auditlog.checkpoint import (
    Checkpoint,
    Cosignature,
    TrustPolicy,
    cosign_checkpoint,
    log_key,
    parse_checkpoint,
    sign_checkpoint,
    verify_checkpoint,
    verify_cosignature,
)
from referral_api.auditlog.merkle import EMPTY_ROOT
from referral_api.auditlog.note import NoteSignature, SignatureType, SignedNote, VerifierKey, parse_note
from referral_api.domain.errors import ErrorCode
from referral_api.formats.keys import Alg, signing_key
from tests.auditlog.refusals import refused

ORIGIN = "exchange.example/v1/log/audit/2026"
ROOT = sha256(b"root").digest()
SIGNER = signing_key(Alg.ED25519, b"\1" * 32)
LOG = log_key(ORIGIN, SIGNER.public)
CHECKPOINT = Checkpoint(ORIGIN, 20_852_163, ROOT)
NOTE = sign_checkpoint(ORIGIN, CHECKPOINT.size, ROOT, SIGNER)
TEXT = CHECKPOINT.text()
POLICY = TrustPolicy(LOG)

EDWARDS = ed25519.Ed25519PrivateKey.from_private_bytes(b"\2" * 32)
LATTICE = mldsa.MLDSA44PrivateKey.from_seed_bytes(b"\3" * 32)
WITNESS_1 = VerifierKey(
    "witness.example/w1", SignatureType.COSIGNATURE_ED25519, EDWARDS.public_key().public_bytes_raw()
)
WITNESS_2 = VerifierKey(
    "witness.example/w2", SignatureType.COSIGNATURE_ML_DSA_44, LATTICE.public_key().public_bytes_raw()
)
LINE_1 = cosign_checkpoint(CHECKPOINT, WITNESS_1, EDWARDS.sign, 1_790_000_000)
LINE_2 = cosign_checkpoint(CHECKPOINT, WITNESS_2, LATTICE.sign, 1_790_000_001)


def with_lines(*lines: NoteSignature) -> bytes:
    note = parse_note(NOTE)
    return SignedNote(note.text, (*note.signatures, *lines)).to_bytes()


def test_a_signed_checkpoint_has_exactly_the_published_spelling() -> None:
    key_id = sha256(ORIGIN.encode() + b"\n\x01" + LOG.public).digest()[:4]
    signature = ed25519.Ed25519PrivateKey.from_private_bytes(b"\1" * 32).sign(TEXT.encode())
    line = base64.b64encode(key_id + signature).decode()
    root = base64.b64encode(ROOT).decode()
    assert NOTE.decode() == f"{ORIGIN}\n20852163\n{root}\n\n\N{EM DASH} {ORIGIN} {line}\n"


def test_a_checkpoint_verifies_under_the_pinned_key() -> None:
    verified = verify_checkpoint(NOTE, POLICY)
    assert (verified.origin, verified.size, verified.root) == (ORIGIN, CHECKPOINT.size, ROOT)
    assert (verified.cosignatures, verified.witnesses()) == ((), frozenset())


def test_the_empty_log_has_a_checkpoint_of_its_own() -> None:
    assert verify_checkpoint(sign_checkpoint(ORIGIN, 0, EMPTY_ROOT, SIGNER), POLICY).size == 0
    assert refused(ErrorCode.MALFORMED, sign_checkpoint, ORIGIN, 0, ROOT, SIGNER) == "root"


def test_cosignatures_of_known_witnesses_are_verified_and_counted() -> None:
    policy = TrustPolicy(LOG, (WITNESS_1, WITNESS_2), quorum=2)
    verified = verify_checkpoint(with_lines(LINE_2, LINE_1), policy)
    assert set(verified.cosignatures) == {
        Cosignature(WITNESS_1, 1_790_000_000),
        Cosignature(WITNESS_2, 1_790_000_001),
    }
    assert verified.witnesses() == {"witness.example/w1", "witness.example/w2"}
    for lines in ((), (LINE_1,), (LINE_2,), (LINE_1, LINE_1)):
        refused(ErrorCode.NOT_WITNESSED, verify_checkpoint, with_lines(*lines), policy)
    assert verify_checkpoint(with_lines(LINE_1), TrustPolicy(LOG, (WITNESS_1, WITNESS_2), quorum=1)).cosignatures


def test_the_ed25519_cosigned_message_is_that_of_the_specification() -> None:
    message = b"cosignature/v1\ntime 1790000000\n" + TEXT.encode()
    assert LINE_1.raw_signature == (1_790_000_000).to_bytes(8, "big") + EDWARDS.sign(message)


def test_the_ml_dsa_cosigned_message_is_that_of_the_specification() -> None:
    time = (1_790_000_001).to_bytes(8, "big")
    message = (
        b"subtree/v1\n\0"
        + (b"\x12" + b"witness.example/w2")
        + time
        + (bytes([len(ORIGIN)]) + ORIGIN.encode())
        + bytes(8)
        + (20_852_163).to_bytes(8, "big")
        + ROOT
    )
    assert LINE_2.raw_signature[:8] == time
    LATTICE.public_key().verify(LINE_2.raw_signature[8:], message)


def test_an_ml_dsa_cosignature_without_time_verifies_but_is_no_witness_to_the_largest_tree() -> None:
    line = cosign_checkpoint(CHECKPOINT, WITNESS_2, LATTICE.sign, 0)
    verified = verify_checkpoint(with_lines(line), TrustPolicy(LOG, (WITNESS_2,)))
    assert verified.cosignatures == (Cosignature(WITNESS_2, 0),)
    assert verified.witnesses() == frozenset()
    refused(ErrorCode.NOT_WITNESSED, verify_checkpoint, with_lines(line), TrustPolicy(LOG, (WITNESS_2,), quorum=1))


def test_the_logs_own_second_key_never_counts_as_a_witness() -> None:
    own = VerifierKey(ORIGIN, SignatureType.COSIGNATURE_ML_DSA_44, WITNESS_2.public)
    note = with_lines(cosign_checkpoint(CHECKPOINT, own, LATTICE.sign, 1_790_000_001), LINE_1)
    assert verify_checkpoint(note, TrustPolicy(LOG, (own, WITNESS_1), quorum=1)).witnesses() == {ORIGIN, WITNESS_1.name}
    without = with_lines(cosign_checkpoint(CHECKPOINT, own, LATTICE.sign, 1_790_000_001))
    refused(ErrorCode.NOT_WITNESSED, verify_checkpoint, without, TrustPolicy(LOG, (own, WITNESS_1), quorum=1))
    with pytest.raises(ValueError, match="reachable"):
        TrustPolicy(LOG, (own,), quorum=1)


def test_lines_of_unknown_keys_are_ignored_even_with_a_known_name_or_id() -> None:
    unknown = (
        NoteSignature(ORIGIN, LOG.key_id ^ 1, b"\0" * 64),
        NoteSignature("elsewhere.example/log", LOG.key_id, b"\0" * 64),
        *(NoteSignature(f"witness.example/{number}", number, b"\0" * 72) for number in range(20)),
    )
    assert verify_checkpoint(with_lines(*unknown), POLICY).size == CHECKPOINT.size


def test_one_forged_line_of_a_known_key_condemns_the_whole_note() -> None:
    policy = TrustPolicy(LOG, (WITNESS_1, WITNESS_2))
    for key in (LOG, WITNESS_1, WITNESS_2):
        for forged in (b"\0" * 7, b"\0" * 8, b"\0" * 64, b"\0" * 72, b"\xff" * 72, b"\0" * 2428):
            note = with_lines(NoteSignature(key.name, key.key_id, forged))
            assert refused(ErrorCode.SIGNATURE_INVALID, verify_checkpoint, note, policy) == "forged"


def test_a_cosignature_covers_its_time_its_witness_and_its_tree() -> None:
    for witness, line in ((WITNESS_1, LINE_1), (WITNESS_2, LINE_2)):
        raw = line.raw_signature
        assert verify_cosignature(CHECKPOINT, witness, raw).witness == witness.name
        later = (int.from_bytes(raw[:8], "big") + 1).to_bytes(8, "big") + raw[8:]
        little = raw[:8][::-1] + raw[8:]
        for wrong in (later, little, b"\xff" * 8 + raw[8:], raw[8:], raw[:-1], raw + b"\0", raw[:8], b""):
            assert refused(ErrorCode.SIGNATURE_INVALID, verify_cosignature, CHECKPOINT, witness, wrong) == "forged"
        for other in (
            Checkpoint(ORIGIN + "/x", CHECKPOINT.size, ROOT),
            Checkpoint(ORIGIN, CHECKPOINT.size + 1, ROOT),
            Checkpoint(ORIGIN, CHECKPOINT.size, ROOT[::-1]),
        ):
            assert refused(ErrorCode.SIGNATURE_INVALID, verify_cosignature, other, witness, raw) == "forged"
    renamed = VerifierKey("witness.example/w9", WITNESS_2.type, WITNESS_2.public)
    assert (
        refused(ErrorCode.SIGNATURE_INVALID, verify_cosignature, CHECKPOINT, renamed, LINE_2.raw_signature) == "forged"
    )


def test_names_too_long_for_the_ml_dsa_message_are_refused() -> None:
    longest = Checkpoint("o" * 255, 1, ROOT)
    line = cosign_checkpoint(longest, WITNESS_2, LATTICE.sign, 1)
    assert verify_cosignature(longest, WITNESS_2, line.raw_signature).cosigned_s == 1
    for origin, name in (("o" * 256, "w"), ("o", "é" * 128)):
        witness = VerifierKey(name, WITNESS_2.type, WITNESS_2.public)
        assert refused(ErrorCode.MALFORMED, cosign_checkpoint, Checkpoint(origin, 1, ROOT), witness, LATTICE.sign, 1)


def test_another_logs_checkpoint_is_refused_whoever_signed_it() -> None:
    other = sign_checkpoint(ORIGIN + "/other", 7, ROOT, SIGNER)
    refused(ErrorCode.WRONG_ORIGIN, verify_checkpoint, other, POLICY)
    # The pinned log's key line under another origin's text, and the pinned origin under another key.
    mixed = SignedNote(parse_note(other).text, parse_note(NOTE).signatures).to_bytes()
    refused(ErrorCode.WRONG_ORIGIN, verify_checkpoint, mixed, POLICY)
    stranger = sign_checkpoint(ORIGIN, 7, ROOT, signing_key(Alg.ED25519, b"\7" * 32))
    assert refused(ErrorCode.SIGNATURE_INVALID, verify_checkpoint, stranger, POLICY) == "absent"


@pytest.mark.parametrize("changed", [("20852163", "20852164"), (TEXT[-20:-12], TEXT[-20:-12][::-1])])
def test_a_changed_line_breaks_the_signature(changed: tuple[str, str]) -> None:
    note = NOTE.decode().replace(*changed, 1).encode()
    assert note != NOTE
    assert refused(ErrorCode.SIGNATURE_INVALID, verify_checkpoint, note, POLICY) == "forged"


B64 = base64.b64encode(ROOT).decode()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "lines"),
        (f"{ORIGIN}\n7\n{B64}", "lines"),
        (f"{ORIGIN}\n7\n", "lines"),
        (f"{ORIGIN}\n7\n{B64}\nextension\n", "lines"),
        (f"{ORIGIN}\n7\n{B64}\n\n", "lines"),
        (f"\n7\n{B64}\n", "origin"),
        (f"{ORIGIN}\n07\n{B64}\n", "size"),
        (f"{ORIGIN}\n+7\n{B64}\n", "size"),
        (f"{ORIGIN}\n-7\n{B64}\n", "size"),
        (f"{ORIGIN}\n 7\n{B64}\n", "size"),
        (f"{ORIGIN}\n7_0\n{B64}\n", "size"),
        (f"{ORIGIN}\n\N{ARABIC-INDIC DIGIT SEVEN}\n{B64}\n", "size"),
        (f"{ORIGIN}\n\n{B64}\n", "size"),
        (f"{ORIGIN}\n9223372036854775808\n{B64}\n", "size"),
        (f"{ORIGIN}\n99999999999999999999\n{B64}\n", "size"),
        (f"{ORIGIN}\n0\n{B64}\n", "root"),
        (f"{ORIGIN}\n7\n{B64[:-4]}\n", "root"),
        (f"{ORIGIN}\n7\n{B64.rstrip('=')}\n", "root"),
        (f"{ORIGIN}\n7\n{B64} \n", "root"),
        (f"{ORIGIN}\n7\n{B64}\r\n", "root"),
        (f"{ORIGIN}\n7\n{ROOT.hex()}\n", "root"),
    ],
)
def test_a_text_that_is_no_checkpoint_is_refused(text: str, reason: str) -> None:
    assert refused(ErrorCode.MALFORMED, parse_checkpoint, text) == reason


def test_the_largest_size_is_read() -> None:
    assert parse_checkpoint(f"{ORIGIN}\n9223372036854775807\n{B64}\n").size == 2**63 - 1


@pytest.mark.parametrize(
    ("origin", "size", "root"),
    [
        ("", 7, ROOT),
        ("a\nb", 7, ROOT),
        ("a", -1, ROOT),
        ("a", 2**63, ROOT),
        ("a", 7, ROOT[1:]),
        ("a b", 7, ROOT),
        ("a\0b", 7, ROOT),
    ],
)
def test_what_no_reader_would_accept_is_never_signed(origin: str, size: int, root: bytes) -> None:
    refused(ErrorCode.MALFORMED, sign_checkpoint, origin, size, root, SIGNER)


def test_only_ed25519_keys_sign_a_log() -> None:
    lattice = signing_key(Alg.ML_DSA_65, b"\1" * 32)
    assert refused(ErrorCode.KEY_UNSUITABLE, sign_checkpoint, ORIGIN, 7, ROOT, lattice) == "algorithm"


def test_a_policy_that_could_count_one_key_twice_cannot_be_made() -> None:
    alias = VerifierKey("witness.example/alias", WITNESS_1.type, WITNESS_1.public)
    own = VerifierKey("witness.example/own", WITNESS_1.type, LOG.public)
    for known in ((WITNESS_1, WITNESS_1), (WITNESS_1, alias), (own,)):
        with pytest.raises(ValueError, match="once"):
            TrustPolicy(LOG, known)
    for quorum in (-1, 3):
        with pytest.raises(ValueError, match="reachable"):
            TrustPolicy(LOG, (WITNESS_1, WITNESS_2), quorum)
    with pytest.raises(ValueError, match="cosignature"):
        TrustPolicy(LOG, (VerifierKey("w", SignatureType.ED25519, WITNESS_1.public),))
    with pytest.raises(ValueError, match="Ed25519"):
        TrustPolicy(WITNESS_1)
