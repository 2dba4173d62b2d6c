"""Every reason for which writes are closed has its section in the runbooks, and none has one that is no reason."""

from __future__ import annotations

import re

from referral_api.server.storage.signer import CLOSED_REASONS
from tests.rules.tree import TOP


def test_every_reason_has_its_runbook() -> None:
    sections = re.findall(r"^## ([a-z-]+)$", (TOP / "docs/runbooks.md").read_text(), re.MULTILINE)
    assert sections == sorted(CLOSED_REASONS)
