"""Policy files: which witnesses must have cosigned (C2SP tlog-policy)."""

from __future__ import annotations

from hashlib import sha256
from itertools import combinations

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, mldsa
from hypothesis import given
from hypothesis import strategies as st

from referral_api.auditlog.checkpoint import Checkpoint, cosign_checkpoint, log_key, sign_checkpoint, verify_checkpoint
from referral_api.auditlog.note import SignatureType, SignedNote, VerifierKey, parse_note
from referral_api.auditlog.policy import Group, Log, Policy, Witness, format_policy, parse_policy, policy_of, short_form
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.formats.keys import Alg, signing_key
from tests.auditlog.refusals import refused

ORIGIN = "exchange.example/v1/log/keys"
SIGNER = signing_key(Alg.ED25519, b"\1" * 32)
LOG = log_key(ORIGIN, SIGNER.public)
CHECKPOINT = Checkpoint(ORIGIN, 7, sha256(b"root").digest())
SECRETS = [ed25519.Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in range(2, 8)]
KEYS = [
    VerifierKey(f"w{n}.example", SignatureType.COSIGNATURE_ED25519, secret.public_key().public_bytes_raw())
    for n, secret in enumerate(SECRETS, 1)
]
LATTICE = mldsa.MLDSA44PrivateKey.from_seed_bytes(b"\3" * 32)
PQ = VerifierKey("w1.example", SignatureType.COSIGNATURE_ML_DSA_44, LATTICE.public_key().public_bytes_raw())
X1, X2, X3, Y1, Y2, Y3 = KEYS
NESTED = f"""
# Two organisations, six witnesses.
log {LOG.vkey} https://exchange.example/v1/log/keys

witness X1 {X1.vkey}\twitness-url
witness X2 {X2.vkey}
  witness X3 {X3.vkey}
group X 2 X1 X2 X3
witness Y1 {Y1.vkey}
witness Y2 {Y2.vkey}
witness Y3 {Y3.vkey}
group Y any Y1 Y2 Y3
group both all X Y
quorum both
""".encode()


def note_by(*numbers: int) -> bytes:
    """The checkpoint, cosigned by the witnesses of these numbers."""
    note = parse_note(sign_checkpoint(ORIGIN, CHECKPOINT.size, CHECKPOINT.root, SIGNER))
    lines = [cosign_checkpoint(CHECKPOINT, KEYS[n], SECRETS[n].sign, 1_790_000_000) for n in numbers]
    return SignedNote(note.text, (*note.signatures, *lines)).to_bytes()


def test_a_policy_of_two_organisations_is_met_by_exactly_what_it_says() -> None:
    trust = parse_policy(NESTED).trust(LOG)
    for count in range(7):
        for numbers in combinations(range(6), count):
            met = len({0, 1, 2} & set(numbers)) >= 2 and bool({3, 4, 5} & set(numbers))
            if met:
                assert verify_checkpoint(note_by(*numbers), trust).size == 7
            else:
                with pytest.raises(ReferralError) as caught:
                    verify_checkpoint(note_by(*numbers), trust)
                assert caught.value.code is ErrorCode.NOT_WITNESSED


def test_without_a_quorum_no_cosignature_is_asked_for() -> None:
    assert verify_checkpoint(note_by(), parse_policy(b"quorum none\n").trust(LOG)).witnesses() == frozenset()


def test_a_single_witness_may_be_the_quorum() -> None:
    trust = parse_policy(f"witness W {X1.vkey}\nquorum W\n".encode()).trust(LOG)
    assert verify_checkpoint(note_by(0), trust).witnesses() == {X1.name}
    refused(ErrorCode.NOT_WITNESSED, verify_checkpoint, note_by(1), trust)


def test_what_is_written_reads_back_as_the_same_policy() -> None:
    policy = parse_policy(NESTED)
    assert policy.logs == (Log(LOG, "https://exchange.example/v1/log/keys"),)
    assert policy.witnesses[0] == Witness("X1", X1, "witness-url")
    assert policy.groups[0] == Group("X", 2, ("X1", "X2", "X3"))
    assert parse_policy(format_policy(policy)) == policy


def test_names_are_octets_and_survive() -> None:
    raw = b"witness caf\xe9 " + X1.vkey.encode() + b"\nquorum caf\xe9\n"
    assert format_policy(parse_policy(raw)) == raw


def test_a_genesis_and_its_file_say_the_same() -> None:
    policy = policy_of(2, [X1, PQ, X2, X3], [LOG])
    assert short_form(policy) == (2, (X1, PQ, X2, X3))
    again = parse_policy(format_policy(policy))
    assert again == policy
    # Both keys of one witness count once.
    rule = again.rule()
    assert rule is not None
    assert (rule.count({X1, PQ}), rule.count({PQ, X3})) == (1, 2)


def test_a_genesis_cannot_state_a_nested_rule() -> None:
    assert refused(ErrorCode.MALFORMED, short_form, parse_policy(NESTED)) == "quorum-shape"
    assert refused(ErrorCode.MALFORMED, short_form, Policy()) == "quorum-shape"
    twice = f"witness A {X1.vkey}\nwitness B {PQ.vkey}\ngroup q 2 A B\nquorum q\n"
    assert refused(ErrorCode.MALFORMED, short_form, parse_policy(twice.encode())) == "quorum-shape"


@pytest.mark.parametrize(
    ("lines", "reason", "line"),
    [
        ("quorum W", "name", 1),
        ("", "quorum", 0),
        ("quorum none\nquorum none", "quorum", 2),
        (f"witness none {X1.vkey}\nquorum none", "name", 1),
        (f"witness A {X1.vkey}\nwitness A {X2.vkey}\nquorum A", "name", 2),
        (f"witness A {X1.vkey}\nwitness B {X1.vkey}\nquorum A", "duplicate-key", 2),
        (f"log {LOG.vkey}\nlog {LOG.vkey}\nquorum none", "duplicate-key", 2),
        (f"witness A {X1.vkey}\ngroup g 2 A\nquorum g", "threshold", 2),
        (f"witness A {X1.vkey}\ngroup g 0 A\nquorum g", "threshold", 2),
        (f"witness A {X1.vkey}\ngroup g 01 A\nquorum g", "threshold", 2),
        (f"witness A {X1.vkey}\ngroup g any A A\nquorum g", "name", 2),
        (f"witness A {X1.vkey}\ngroup g any B\nquorum g", "name", 2),
        (f"witness A {X1.vkey}\ngroup g any none\nquorum g", "name", 2),
        (f"witness A {X1.vkey}\ngroup g any A\ngroup h any A\nquorum h", "name", 3),
        ("group g any\nquorum g", "policy-line", 1),
        ("witness A\nquorum A", "policy-line", 1),
        ("allow everything\nquorum none", "policy-line", 1),
        (f"witness A {X1.vkey.replace('+', '+0', 1)[:-1]}\nquorum A", "vkey", 1),
    ],
)
def test_a_line_that_does_not_say_one_thing_is_refused(lines: str, reason: str, line: int) -> None:
    with pytest.raises(ReferralError) as caught:
        parse_policy((lines + "\n").encode() if lines else b"")
    assert (caught.value.code, caught.value.facts) == (ErrorCode.MALFORMED, {"reason": reason, "line": line})


@pytest.mark.parametrize("raw", [b"quorum none", b"quorum none\r\n", b"quorum\x00none\n", b"quorum none\x7f\n"])
def test_other_characters_and_line_ends_are_refused(raw: bytes) -> None:
    assert refused(ErrorCode.MALFORMED, parse_policy, raw) == "character"


def test_keys_of_another_kind_are_refused() -> None:
    refused(ErrorCode.KEY_UNSUITABLE, parse_policy, f"witness A {LOG.vkey}\nquorum A\n".encode())
    refused(ErrorCode.KEY_UNSUITABLE, parse_policy, f"log {X1.vkey}\nquorum none\n".encode())
    refused(ErrorCode.TOO_LARGE, parse_policy, b"#" * (256 * 1024) + b"\n")


def test_a_log_that_the_policy_does_not_list_is_not_believed() -> None:
    other = log_key("other.example/v1/log/keys", SIGNER.public)
    refused(ErrorCode.WRONG_ORIGIN, parse_policy(NESTED).trust, other)
    own = VerifierKey("w.example", SignatureType.COSIGNATURE_ED25519, LOG.public)
    refused(ErrorCode.KEY_REUSED, parse_policy(f"witness A {own.vkey}\nquorum A\n".encode()).trust, LOG)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    try:
        policy = parse_policy(raw)
    except ReferralError:
        return
    assert parse_policy(format_policy(policy)) == policy
