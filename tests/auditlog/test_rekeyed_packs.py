"""A pack shows by which key of its time each thing is signed, however often the exchange changed them (R-37, R-89)."""

from __future__ import annotations

import pytest

from referral_api.auditlog.container import read_archive
from referral_api.auditlog.pack_verification import Step
from referral_api.auditlog.policy import parse_policy
from referral_api.auditlog.report import Verdict
from referral_api.formats.keys import SigningKey
from tests.auditlog.packs import told
from tests.auditlog.rekeyed import NEW_LOG, NEW_RECEIPT, OLD_LOG, OLD_RECEIPT, pack
from tests.auditlog.test_pack import failed, verified

BAD = [
    (0, OLD_RECEIPT, (NEW_LOG,), {Step.RECEIPTS}),
    (0, NEW_RECEIPT, (OLD_LOG,), {Step.INCLUSION}),
    (-1, NEW_RECEIPT, (NEW_RECEIPT,), {Step.CHECKPOINTS}),
]
"""How long after the old keys' end, by which keys, and which steps find it."""


@pytest.mark.parametrize("logs", [(NEW_LOG,), (OLD_LOG, NEW_LOG)])
def test_a_pack_with_evidence_of_both_keys_holds(logs: tuple[SigningKey, ...]) -> None:
    report = verified(pack(logs=logs))
    assert report.verdict is not Verdict.FAILED, report.faults
    assert report.chronicle.deliveries


def test_while_both_count_each_of_them_suffices() -> None:
    for receipt in (OLD_RECEIPT, NEW_RECEIPT):
        for log in (OLD_LOG, NEW_LOG):
            assert verified(pack(late_by=-1, receipt_by=receipt, logs=(log,))).verdict is not Verdict.FAILED


@pytest.mark.parametrize(("late_by", "receipt", "logs", "steps"), BAD)
def test_what_a_key_signed_out_of_its_time_is_found(
    late_by: int, receipt: SigningKey, logs: tuple[SigningKey, ...], steps: set[Step]
) -> None:
    assert failed(verified(pack(late_by=late_by, receipt_by=receipt, logs=logs))) >= steps


def test_the_policy_file_names_every_key_for_other_programs() -> None:
    policy = parse_policy(read_archive(pack())["keys-log/policy"])
    assert len(policy.logs) == 2
    assert len(parse_policy(read_archive(told().pack())["keys-log/policy"]).logs) == 1
