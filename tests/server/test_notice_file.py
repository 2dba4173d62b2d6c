"""The file of notices: what it may hold, and that no error of it holds an address."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.server.storage.notice_file import MAX_CHANNELS, load_plan
from tests.receiving import CANARY

URL = f"json://127.0.0.1/{CANARY}"
BAD = {
    "no toml": f"parties = {URL}",
    "another member": f'password = "{CANARY}"',
    "a member with an address for a name": f'"{URL}" = 1',
    "parties are no table": f'parties = ["{URL}"]',
    "a party that is none": f'[parties]\n"{URL}" = []',
    "an address that is none": f'[parties]\na1 = ["{CANARY}"]',
    "an address with a line break": f'[parties]\na1 = ["{URL}\\nsend"]',
    "an address alone": f'[parties]\na1 = "{URL}"',
    "a number for an address": "[parties]\na1 = [1]",
    "too many": f"[parties]\na1 = {json.dumps([URL] * (MAX_CHANNELS + 1))}",
    "too large": "#" * (1 << 20),
    "no text": b"\xff\xfe",
    "admin is no list": f'admin = "{URL}"',
    "a delay of one": "delay_s = [1]",
    "a delay that ends before it begins": "delay_s = [9, 1]",
    "a delay of days": "delay_s = [0, 100000]",
    "a delay that is true": "delay_s = [false, true]",
    "half a second": "digest_s = 0.5",
    "a negative digest": "digest_s = -1",
    "a hint that is no flag": 'hint_urgency = "yes"',
}


def written(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("text", BAD.values(), ids=BAD.keys())
def test_what_will_not_do_is_refused_without_a_word_of_it(tmp_path: Path, text: str | bytes) -> None:
    with pytest.raises(ReferralError) as refused:
        load_plan(written(tmp_path / "plan", text))
    assert (refused.value.code, refused.value.facts["reason"]) == (ErrorCode.UNAVAILABLE, "notices-unreadable")
    assert CANARY not in f"{refused.value!r}{refused.value}{refused.value.facts}"


def test_what_is_left_out_has_the_cautious_value(tmp_path: Path) -> None:
    """R-109: a delay, a digest, and no hint of urgency."""
    plan = load_plan(written(tmp_path / "plan", f'[parties]\npnp-trata-piura = ["{URL}"]'))
    assert (plan.delay_s, plan.digest_s, plan.hint_urgency, plan.admin) == ((0, 90), 300, False, ())
    assert plan.parties == {"pnp-trata-piura": (URL,)}
    assert CANARY not in repr(plan)


def test_what_is_said_is_taken(tmp_path: Path) -> None:
    text = f'delay_s = [5, 7]\ndigest_s = 0\nhint_urgency = true\nadmin = ["{URL}"]'
    plan = load_plan(written(tmp_path / "plan", text))
    assert (plan.delay_s, plan.digest_s, plan.hint_urgency, plan.admin, plan.parties) == ((5, 7), 0, True, (URL,), {})
