"""The page says of packs with changed keys what Python says (R-37, R-89)."""

from __future__ import annotations

import pytest

from referral_api.auditlog.container import read_archive
from referral_api.formats.keys import SigningKey
from referral_api.formats.strict_json import b64u
from tests.auditlog.packs import spoiled, told
from tests.auditlog.rekeyed import NEW_LOG, OLD_LOG, pack
from tests.auditlog.test_rekeyed_packs import BAD
from tests.browser.conftest import Verifier

ROOT = b64u(told().root)


@pytest.mark.parametrize("logs", [(NEW_LOG,), (OLD_LOG, NEW_LOG)])
def test_a_pack_with_evidence_of_both_keys_is_intact(verifier: Verifier, logs: tuple[SigningKey, ...]) -> None:
    assert verifier.check(pack(logs=logs), ROOT) == "ok", verifier.words


@pytest.mark.parametrize(("late_by", "receipt", "logs", "_steps"), BAD)
def test_what_a_key_signed_out_of_its_time_is_altered(
    verifier: Verifier, late_by: int, receipt: SigningKey, logs: tuple[SigningKey, ...], _steps: object
) -> None:
    assert verifier.check(pack(late_by=late_by, receipt_by=receipt, logs=logs), ROOT) == "failed"


def test_a_policy_that_leaves_a_key_out_is_altered(verifier: Verifier) -> None:
    old = read_archive(told().pack())["keys-log/policy"]
    assert verifier.check(spoiled(pack(), lambda contents: contents.update({"keys-log/policy": old})), ROOT) == "failed"
