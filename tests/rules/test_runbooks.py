"""Every reason for which writes are closed has its section in the runbooks, and none has one that is no reason."""

from __future__ import annotations

import re

from referral_api.server.storage.driver import REFUSALS
from referral_api.server.storage.signer import CLOSED_REASONS
from tests.rules.tree import TOP


def test_every_reason_has_its_runbook() -> None:
    sections = re.findall(r"^## ([a-z-]+)$", (TOP / "docs/runbooks.md").read_text(), re.MULTILINE)
    assert sections == sorted(CLOSED_REASONS)


def test_every_refusal_of_a_host_has_its_row() -> None:
    """Of databases by their list; of key files and a witness's own as the code raises them."""
    table = (TOP / "docs/runbooks.md").read_text().partition("## Where a host refuses")[2]
    rows = set(re.findall(r"`((?:[a-z]+-)*[a-z]+)`", "".join(re.findall(r"^\| (`.*?) \|", table, re.MULTILINE))))
    raised = set(REFUSALS)
    for file in (
        *("server/storage/keyfiles.py", "server/storage/notice_file.py", "server/service/channels.py"),
        *("witness/file.py", "witness/memory.py", "server/settings.py"),
    ):
        source = (TOP / "referral_api" / file).read_text()
        raised |= set(re.findall(r'(?:_unusable\(|unusable\(|UNAVAILABLE, reason=)"([a-z-]+)"', source))
    assert rows == raised
