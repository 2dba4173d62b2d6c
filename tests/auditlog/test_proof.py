"""Portable proofs: what they show, and that no changed byte leaves one valid (R-18)."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest

from referral_api.auditlog.checkpoint import TrustPolicy, cosign_checkpoint, log_key, parse_checkpoint, sign_checkpoint
from referral_api.auditlog.merkle import MAX_SIZE, Frontier, append, leaf_hash
from referral_api.auditlog.note import SignedNote, parse_note
from referral_api.auditlog.proof import MAX_PROOF_BYTES, LogProof, format_proof, parse_proof, verify_proof
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.formats.keys import Alg, signing_key
from tests.auditlog import naive
from tests.auditlog.refusals import refused
from tests.auditlog.test_checkpoint import EDWARDS, LINE_1, WITNESS_1

ORIGIN = "exchange.example/v1/log/audit/2026"
SIGNER = signing_key(Alg.ED25519, b"\1" * 32)
POLICY = TrustPolicy(log_key(ORIGIN, SIGNER.public))
SIZE, INDEX = 13, 5
LEAF = naive.leaf(INDEX)
HASHES = tuple(naive.path(INDEX, 0, SIZE))
NOTE = sign_checkpoint(ORIGIN, SIZE, naive.root(SIZE), SIGNER)
PROOF = format_proof(INDEX, HASHES, NOTE, LEAF)


def test_a_proof_has_exactly_the_published_spelling() -> None:
    expected = ["c2sp.org/tlog-proof@v1", "extra " + base64.b64encode(LEAF).decode(), "index 5"]
    expected += [base64.b64encode(one).decode() for one in HASHES]
    assert PROOF.decode() == "\n".join(expected) + "\n\n" + NOTE.decode()
    assert (
        format_proof(INDEX, HASHES, NOTE).decode() == "\n".join([expected[0], *expected[2:]]) + "\n\n" + NOTE.decode()
    )


def test_a_proof_verifies_and_says_what_it_proves() -> None:
    included = verify_proof(PROOF, LEAF, POLICY)
    assert (included.index, included.leaf) == (INDEX, LEAF)
    assert (included.checkpoint.origin, included.checkpoint.size) == (ORIGIN, SIZE)
    assert parse_proof(PROOF) == LogProof(INDEX, HASHES, NOTE, LEAF)
    assert parse_proof(format_proof(INDEX, HASHES, NOTE)).extra is None
    assert parse_proof(format_proof(INDEX, HASHES, NOTE, b"")).extra == b""


def test_the_only_leaf_of_a_log_has_a_proof_without_hashes() -> None:
    note = sign_checkpoint(ORIGIN, 1, naive.root(1), SIGNER)
    assert verify_proof(format_proof(0, (), note), naive.leaf(0), POLICY).index == 0


def test_a_proof_may_gain_cosignatures_and_a_policy_may_ask_for_them() -> None:
    policy = TrustPolicy(POLICY.log, (WITNESS_1,), quorum=1)
    refused(ErrorCode.NOT_WITNESSED, verify_proof, PROOF, LEAF, policy)
    note = parse_note(NOTE)
    line = cosign_checkpoint(parse_checkpoint(note.text), WITNESS_1, EDWARDS.sign, 1_790_000_000)
    cosigned = SignedNote(note.text, (*note.signatures, line)).to_bytes()
    included = verify_proof(format_proof(INDEX, HASHES, cosigned), LEAF, policy)
    assert included.checkpoint.witnesses() == {WITNESS_1.name}
    borrowed = SignedNote(note.text, (*note.signatures, LINE_1)).to_bytes()
    assert refused(ErrorCode.SIGNATURE_INVALID, verify_proof, format_proof(INDEX, HASHES, borrowed), LEAF, policy) == (
        "forged"
    )


def test_the_proof_of_another_leaf_index_log_or_key_is_refused() -> None:
    assert refused(ErrorCode.NOT_INCLUDED, verify_proof, PROOF, naive.leaf(6), POLICY) == "root"
    assert refused(ErrorCode.NOT_INCLUDED, verify_proof, PROOF, b"", POLICY) == "root"
    for index in (0, 4, 6, SIZE - 1):
        assert refused(ErrorCode.NOT_INCLUDED, verify_proof, format_proof(index, HASHES, NOTE), LEAF, POLICY) in {
            "root",
            "length",
        }
    assert refused(ErrorCode.NOT_INCLUDED, verify_proof, format_proof(SIZE, HASHES, NOTE), LEAF, POLICY) == "index"
    elsewhere = TrustPolicy(log_key(ORIGIN + "/x", SIGNER.public))
    refused(ErrorCode.WRONG_ORIGIN, verify_proof, PROOF, LEAF, elsewhere)
    stranger = TrustPolicy(log_key(ORIGIN, signing_key(Alg.ED25519, b"\7" * 32).public))
    assert refused(ErrorCode.SIGNATURE_INVALID, verify_proof, PROOF, LEAF, stranger) == "absent"


def test_a_leaf_in_the_extra_line_is_believed_only_if_it_is_in_the_tree() -> None:
    lying = format_proof(INDEX, HASHES, NOTE, naive.leaf(6))
    extra = parse_proof(lying).extra
    assert extra is not None
    assert refused(ErrorCode.NOT_INCLUDED, verify_proof, lying, extra, POLICY) == "root"


def test_the_proof_of_every_leaf_of_a_batch_verifies() -> None:
    before = Frontier().extend([leaf_hash(naive.leaf(index)) for index in range(21)])
    growth = append(before, [leaf_hash(naive.leaf(index)) for index in range(21, 50)])
    note = sign_checkpoint(ORIGIN, growth.frontier.size, growth.root, SIGNER)
    for index, hashes in enumerate(growth.proofs, 21):
        leaf = naive.leaf(index)
        assert verify_proof(format_proof(index, hashes, note, leaf), leaf, POLICY).index == index


def single_byte_changes(raw: bytes) -> Iterator[bytes]:
    for at in range(len(raw)):
        for changed in {raw[at] ^ 1, raw[at] ^ 0x20, 0x0A, 0x0D, 0x20} - {raw[at]}:
            yield raw[:at] + bytes([changed]) + raw[at + 1 :]
        yield raw[:at] + raw[at + 1 :]
    for at in range(len(raw)):
        yield raw[:at]


def test_no_change_of_a_single_byte_leaves_a_proof_valid() -> None:
    # The extra line alone is nobody's word, so this proof has none.
    bare = format_proof(INDEX, HASHES, NOTE)
    for changed in single_byte_changes(bare):
        with pytest.raises(ReferralError):
            verify_proof(changed, LEAF, POLICY)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "proof"),
        (PROOF.replace(b"\n\n", b"\n"), "proof"),
        (PROOF.split(b"\n\n")[0] + b"\n\n", "proof"),
        (PROOF.replace(b"\n", b"\r\n"), "proof"),
        (b"\n\n" + NOTE, "header"),
        (PROOF.replace(b"@v1", b"@v2"), "header"),
        (b"\n" + PROOF, "header"),
        (PROOF.replace(b"proof@v1", b"proof@v1 "), "header"),
        (PROOF.replace(b"extra ", b"extra  "), "extra"),
        (PROOF.replace(b"extra ", b"Extra "), "index"),
        (PROOF.replace(b"index 5", b"index 05"), "index"),
        (PROOF.replace(b"index 5", b"index -5"), "index"),
        (PROOF.replace(b"index 5", b"index 5 "), "index"),
        (PROOF.replace(b"index 5", b"index 9223372036854775808"), "index"),
        (PROOF.replace(b"index 5", "index \N{SUPERSCRIPT TWO}".encode()), "index"),
        (PROOF.replace(b"index 5\n", b""), "index"),
        (PROOF.replace(b"index 5\n", b"index 5\nindex 5\n"), "hash"),
        (b"c2sp.org/tlog-proof@v1\nextra QQ==\n\n" + NOTE, "index"),
        (PROOF.replace(b"index 5\n", b"index 5\nQUI=\n"), "hash"),
        (PROOF.replace(b"index 5\n", b"index 5\n" + base64.b64encode(bytes(33)) + b"\n"), "hash"),
        (PROOF.replace(b"=\n", b" \n", 1), "hash"),
        (format_proof(INDEX, HASHES * 20, NOTE), "hash"),
        (PROOF.replace(b"index", b"\xffndex"), "not-utf8"),
    ],
)
def test_a_text_that_is_no_proof_is_refused(raw: bytes, reason: str) -> None:
    assert refused(ErrorCode.MALFORMED, parse_proof, raw) == reason


def test_the_longest_path_and_the_size_limit_are_read_and_no_more() -> None:
    longest = format_proof(MAX_SIZE, [naive.root(1)] * 63, NOTE)
    assert len(parse_proof(longest).hashes) == 63
    assert refused(ErrorCode.MALFORMED, parse_proof, format_proof(MAX_SIZE, [naive.root(1)] * 64, NOTE)) == "hash"
    padded = longest + b"x" * (MAX_PROOF_BYTES - len(longest))
    assert len(parse_proof(padded).hashes) == 63
    refused(ErrorCode.TOO_LARGE, parse_proof, padded + b"x")
