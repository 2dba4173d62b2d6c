"""What a witness cosigns and what it refuses, request by request (R-96)."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import pytest

from referral_api.auditlog.checkpoint import (
    Checkpoint,
    TrustPolicy,
    cosign_checkpoint,
    log_key,
    parse_checkpoint,
    verify_checkpoint,
)
from referral_api.auditlog.merkle import EMPTY_ROOT
from referral_api.auditlog.note import NoteSignature, SignatureType, SignedNote, VerifierKey, parse_note
from referral_api.auditlog.witnessing import Cosigned, verify_answer
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.witness.cosigner import Cosigner
from referral_api.witness.memory import EVIDENCE_KEPT, FORK, PROOF, Memory, parse_log
from tests.auditlog.refusals import refused
from tests.auditlog.test_checkpoint import LATTICE
from tests.witness.conftest import NAME
from tests.witness.histories import ORIGIN, History

NOW = 1_790_000_100
LOG = History()
FORKED = History(branch=b" of another history", honest=3)


def cosigned(cosigner: Cosigner, raw: bytes, size: int, log: History = LOG, now: int = NOW) -> tuple[Cosigned, ...]:
    """The verified cosignatures that a request brings."""
    checkpoint = Checkpoint(log.origin, size, log.root(size))
    return verify_answer(cosigner.add_checkpoint(raw, now), checkpoint, cosigner.verifier_keys)


def held_size(cosigner: Cosigner, raw: bytes, now: int = NOW) -> int:
    """The size that a 409 names."""
    with pytest.raises(ReferralError) as caught:
        cosigner.add_checkpoint(raw, now)
    assert caught.value.code is ErrorCode.STALE_HEAD
    return int(caught.value.facts["size"])


def test_growth_is_cosigned_with_both_keys_under_one_name(cosigner: Cosigner) -> None:
    found = cosigned(cosigner, LOG.request(0, 5), 5)
    assert [one.cosignature.key.type for one in found] == [
        SignatureType.COSIGNATURE_ED25519,
        SignatureType.COSIGNATURE_ML_DSA_44,
    ]
    assert {(one.line.name, one.cosignature.cosigned_s) for one in found} == {(NAME, NOW)}
    assert len(cosigned(cosigner, LOG.request(5, 13), 13)) == 2


def test_a_log_may_begin_with_the_checkpoint_of_no_leaves(cosigner: Cosigner) -> None:
    assert cosigned(cosigner, LOG.request(0, 0), 0)
    assert cosigned(cosigner, LOG.request(0, 4), 4)


def test_the_same_checkpoint_again_is_cosigned_again_with_a_new_time(cosigner: Cosigner) -> None:
    cosigned(cosigner, LOG.request(0, 5), 5)
    again = cosigned(cosigner, LOG.request(5, 5), 5, now=NOW + 600)
    assert {one.cosignature.cosigned_s for one in again} == {NOW + 600}


def test_the_time_of_a_cosignature_never_goes_back_whatever_the_clock_does(cosigner: Cosigner, memory: Memory) -> None:
    other = History("other.example/log")
    with memory.changing() as changes:
        changes.trust(parse_log(other.verifier.vkey, yearly=False))
    cosigned(cosigner, LOG.request(0, 5), 5)
    late = cosigned(cosigner, LOG.request(5, 6), 6, now=NOW - 3600)
    elsewhere = cosigned(cosigner, other.request(0, 2), 2, other, now=0)
    assert {one.cosignature.cosigned_s for one in (*late, *elsewhere)} == {NOW}


def test_a_time_is_never_zero(cosigner: Cosigner) -> None:
    assert {one.cosignature.cosigned_s for one in cosigned(cosigner, LOG.request(0, 1), 1, now=0)} == {1}


def test_an_unknown_origin_is_not_found(cosigner: Cosigner) -> None:
    refused(ErrorCode.NOT_FOUND, cosigner.add_checkpoint, History("other.example/log").request(0, 1), NOW)
    refused(ErrorCode.NOT_FOUND, cosigner.add_checkpoint, History(ORIGIN + "/2026").request(0, 1), NOW)


def test_only_the_trusted_key_counts(cosigner: Cosigner) -> None:
    impostor = History(seed=b"\2" * 32)
    assert refused(ErrorCode.SIGNATURE_INVALID, cosigner.add_checkpoint, impostor.request(0, 5), NOW) == "absent"
    note = parse_note(LOG.note(5))
    bad = NoteSignature(ORIGIN, LOG.verifier.key_id, b"\0" * 64)
    for lines in ((bad,), (*note.signatures, bad), (bad, *note.signatures)):
        raw = b"old 0\n\n" + SignedNote(note.text, lines).to_bytes()
        assert refused(ErrorCode.SIGNATURE_INVALID, cosigner.add_checkpoint, raw, NOW) == "forged"


def test_a_log_that_goes_over_to_another_key_is_cosigned_by_both_and_then_by_the_new_one(
    cosigner: Cosigner, memory: Memory
) -> None:
    """R-37: its operator adds the next key beside the known one, and takes the old one off when it has ended."""
    newer = History(seed=b"\2" * 32)
    cosigned(cosigner, LOG.request(0, 5), 5)
    with memory.changing() as changes:
        changes.trust_also(parse_log(newer.verifier.vkey, yearly=False))
        changes.trust_also(parse_log(newer.verifier.vkey, yearly=False))
    assert {one.public for one in memory.trusted()} == {LOG.verifier.public, newer.verifier.public}
    both = parse_note(LOG.note(6)).signatures + parse_note(newer.note(6)).signatures
    proof = LOG.request(5, 6).partition(b"\n\n")[0]
    cosigner.add_checkpoint(proof + b"\n\n" + SignedNote(parse_note(LOG.note(6)).text, both).to_bytes(), NOW)
    held = parse_note(memory.held(ORIGIN).note or b"")
    assert [len(held.signed_by(key)) for key in (LOG.verifier, newer.verifier)] == [1, 1]
    cosigned(cosigner, newer.request(6, 7), 7)
    cosigned(cosigner, LOG.request(7, 8), 8)
    with memory.changing() as changes:
        changes.distrust(ORIGIN)
        changes.trust(parse_log(newer.verifier.vkey, yearly=False))
    assert refused(ErrorCode.SIGNATURE_INVALID, cosigner.add_checkpoint, LOG.request(8, 9), NOW) == "absent"
    cosigned(cosigner, newer.request(8, 9), 9)


def test_a_further_key_of_a_log_that_nobody_trusts_is_refused(memory: Memory) -> None:
    with memory.changing() as changes:
        other = parse_log(History("other.example/log").verifier.vkey, yearly=False)
        refused(ErrorCode.NOT_FOUND, changes.trust_also, other)


def test_a_file_from_before_there_were_further_keys_is_opened(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE further")
    again = Memory.open(path)
    assert [one.origin for one in again.trusted()] == [ORIGIN]
    again.close()


def test_lines_of_other_keys_are_ignored_and_not_kept(cosigner: Cosigner, memory: Memory) -> None:
    note = parse_note(LOG.note(5))
    other = VerifierKey(ORIGIN, SignatureType.COSIGNATURE_ML_DSA_44, LATTICE.public_key().public_bytes_raw())
    line = cosign_checkpoint(parse_checkpoint(note.text), other, LATTICE.sign, 7)
    raw = b"old 0\n\n" + SignedNote(note.text, (line, *note.signatures, NoteSignature("x", 1, b"y"))).to_bytes()
    assert cosigned(cosigner, raw, 5)
    kept = parse_note(memory.held(ORIGIN).note or b"")
    assert [one.name for one in kept.signatures] == [ORIGIN, NAME, NAME]
    assert kept.signatures[0] == note.signatures[0]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"old 0\n",
        b"old 0\n\nno note",
        b"old 00\n\n" + LOG.note(5),
        b"old 0\nAAAA\n\n" + LOG.note(5),
        b"old 0\n\n" + LOG.note(5).replace(b"\n5\n", b"\n05\n"),
        b"old 0\n\n" + LOG.note(5).replace(b"\n\n", b"\nextension\n\n"),
        b"old 0\r\n\r\n" + LOG.note(5),
    ],
)
def test_what_cannot_be_read_is_malformed(cosigner: Cosigner, raw: bytes) -> None:
    refused(ErrorCode.MALFORMED, cosigner.add_checkpoint, raw, NOW)


def test_an_old_size_above_the_new_one_is_malformed_whatever_is_held(cosigner: Cosigner) -> None:
    raw = b"old 6\n\n" + LOG.note(5)
    assert refused(ErrorCode.MALFORMED, cosigner.add_checkpoint, raw, NOW) == "old-size"
    cosigned(cosigner, LOG.request(0, 6), 6)
    assert refused(ErrorCode.MALFORMED, cosigner.add_checkpoint, raw, NOW) == "old-size"


def test_another_old_size_than_the_held_one_is_told_the_held_one(cosigner: Cosigner, memory: Memory) -> None:
    assert held_size(cosigner, LOG.request(3, 5)) == 0
    cosigned(cosigner, LOG.request(0, 5), 5)
    assert held_size(cosigner, LOG.request(0, 5)) == 5
    assert held_size(cosigner, LOG.request(0, 9)) == 5
    assert held_size(cosigner, LOG.request(4, 9)) == 5
    assert held_size(cosigner, LOG.request(3, 4)) == 5
    assert memory.evidence() == []
    assert memory.held(ORIGIN).size == 5


def test_a_proof_that_does_not_hold_is_refused_and_kept(cosigner: Cosigner, memory: Memory) -> None:
    cosigned(cosigner, LOG.request(0, 5), 5)
    good = LOG.proof(5, 9)
    swapped = (good[1], good[0], *good[2:])
    for proof in ((), good[:-1], (*good, good[0]), swapped, FORKED.proof(5, 9)):
        refused(ErrorCode.INCONSISTENT, cosigner.add_checkpoint, LOG.request(5, 9, proof), NOW)
    assert [(one.kind, one.size) for one in memory.evidence()] == [(PROOF, 9)]
    assert cosigned(cosigner, LOG.request(5, 9), 9)


def test_nothing_needs_proving_from_the_empty_tree_so_nothing_may_be_sent(cosigner: Cosigner) -> None:
    refused(ErrorCode.INCONSISTENT, cosigner.add_checkpoint, LOG.request(0, 5, LOG.proof(3, 5)), NOW)
    cosigned(cosigner, LOG.request(0, 5), 5)
    refused(ErrorCode.INCONSISTENT, cosigner.add_checkpoint, LOG.request(5, 5, LOG.proof(3, 5)), NOW)


def test_the_empty_tree_has_one_root_alone(cosigner: Cosigner, memory: Memory) -> None:
    text = f"{ORIGIN}\n0\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"
    line = NoteSignature(ORIGIN, LOG.verifier.key_id, LOG.key.sign(text.encode()))
    raw = b"old 0\n\n" + SignedNote(text, (line,)).to_bytes()
    refused(ErrorCode.INCONSISTENT, cosigner.add_checkpoint, raw, NOW)
    assert [(one.kind, one.size, one.root) for one in memory.evidence()] == [(FORK, 0, b"\0" * 32)]
    assert memory.held(ORIGIN).root == EMPTY_ROOT


def test_another_root_at_the_held_size_is_refused_and_the_pair_convicts_the_log(
    cosigner: Cosigner, memory: Memory
) -> None:
    cosigned(cosigner, LOG.request(0, 5), 5)
    refused(ErrorCode.INCONSISTENT, cosigner.add_checkpoint, FORKED.request(5, 5), NOW + 7)
    (found,) = memory.evidence()
    assert (found.origin, found.kind, found.at_s, found.size) == (ORIGIN, FORK, NOW + 7, 5)
    policy = TrustPolicy(log_key(ORIGIN, LOG.key.public))
    said = verify_checkpoint(found.request.partition(b"\n\n")[2], policy)
    before = verify_checkpoint(found.held or b"", policy)
    assert said.size == before.size
    assert said.root != before.root


def test_another_root_at_the_held_size_is_kept_whatever_old_size_came_with_it(
    cosigner: Cosigner, memory: Memory
) -> None:
    cosigned(cosigner, LOG.request(0, 5), 5)
    assert held_size(cosigner, FORKED.request(2, 5)) == 5
    assert [one.kind for one in memory.evidence()] == [FORK]


def test_evidence_is_kept_once_and_bounded(cosigner: Cosigner, memory: Memory) -> None:
    cosigned(cosigner, LOG.request(0, 5), 5)
    for _ in range(3):
        refused(ErrorCode.INCONSISTENT, cosigner.add_checkpoint, LOG.request(5, 6, ()), NOW)
    for branch in range(EVIDENCE_KEPT + 3):
        fork = History(branch=b"%d" % branch)
        refused(ErrorCode.INCONSISTENT, cosigner.add_checkpoint, fork.request(5, 5), NOW + branch)
    kept = memory.evidence()
    assert [one.kind for one in kept].count(PROOF) == 1
    forks = [one.at_s for one in kept if one.kind == FORK]
    assert forks == list(range(NOW + 3, NOW + 3 + EVIDENCE_KEPT))


def test_a_family_is_cosigned_year_by_year_under_one_key(cosigner: Cosigner, memory: Memory) -> None:
    family = "exchange.example/v1/log/audit/"
    years = [History(f"{family}{term}") for term in ("2026", "2027", "2027.2", "2027.9")]
    with memory.changing() as changes:
        changes.trust(parse_log(years[0].verifier.vkey, yearly=True))
    for log in years:
        assert cosigned(cosigner, log.request(0, 5), 5, log)
    assert memory.held(years[1].origin).size == 5
    for strange in (family, family + "26", family + "20271", family + "202a", family + "٢٠٢٧", "x" + family + "2026"):
        refused(ErrorCode.NOT_FOUND, cosigner.add_checkpoint, History(strange).request(0, 5), NOW)
    for number in ("2026.", "2026.1", "2026.10", "2026.02", "2026.2.2"):
        refused(ErrorCode.NOT_FOUND, cosigner.add_checkpoint, History(family + number).request(0, 5), NOW)
    other_key = History(family + "2028", seed=b"\2" * 32)
    refused(ErrorCode.SIGNATURE_INVALID, cosigner.add_checkpoint, other_key.request(0, 5), NOW)


def test_an_origin_of_its_own_comes_before_its_family(cosigner: Cosigner, memory: Memory) -> None:
    family = History("exchange.example/v1/log/audit/2026")
    own = History("exchange.example/v1/log/audit/2027", seed=b"\2" * 32)
    with memory.changing() as changes:
        changes.trust(parse_log(family.verifier.vkey, yearly=True))
        changes.trust(parse_log(own.verifier.vkey, yearly=False))
    assert cosigned(cosigner, own.request(0, 5), 5, own)
    refused(ErrorCode.SIGNATURE_INVALID, cosigner.add_checkpoint, History(own.origin).request(5, 6), NOW)


def test_a_log_that_is_trusted_no_more_is_remembered_all_the_same(cosigner: Cosigner, memory: Memory) -> None:
    cosigned(cosigner, LOG.request(0, 5), 5)
    with memory.changing() as changes:
        changes.distrust(ORIGIN)
    refused(ErrorCode.NOT_FOUND, cosigner.add_checkpoint, LOG.request(5, 6), NOW)
    with memory.changing() as changes:
        changes.trust(parse_log(LOG.verifier.vkey, yearly=False))
    assert held_size(cosigner, LOG.request(0, 6)) == 5


def test_monitors_are_shown_what_was_cosigned_last(cosigner: Cosigner) -> None:
    digest = sha256(ORIGIN.encode()).hexdigest()
    refused(ErrorCode.NOT_FOUND, cosigner.checkpoint, digest)
    cosigned(cosigner, LOG.request(0, 5), 5)
    lines = cosigned(cosigner, LOG.request(5, 9), 9)
    shown = cosigner.checkpoint(digest)
    policy = TrustPolicy(log_key(ORIGIN, LOG.key.public), cosigner.verifier_keys, quorum=1)
    checkpoint = verify_checkpoint(shown, policy)
    assert (checkpoint.size, checkpoint.root) == (9, LOG.root(9))
    assert checkpoint.cosignatures == tuple(one.cosignature for one in lines)
