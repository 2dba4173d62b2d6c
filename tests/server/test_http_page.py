"""docs/http.md says of every code what the exchange does with it (R-50)."""

from __future__ import annotations

import re
from pathlib import Path

from referral_api.domain.errors import FINAL_REFUSALS, ErrorCode
from referral_api.server.api.problems import CLIENT_ONLY, TABLE

PAGE = (Path(__file__).parents[2] / "docs/http.md").read_text()
ANSWERED = re.compile(r"^\| `([\w-]+)`( †)? \| (\d{3}) \| `([\w-]+)` \|", re.MULTILINE)
FOUND_BY_CLIENTS = re.compile(r"^\| `([\w-]+)` \| [a-z]", re.MULTILINE)


def test_status_and_retry_of_every_code_are_those_of_the_table() -> None:
    told = {(ErrorCode(code), int(status), retry) for code, _, status, retry in ANSWERED.findall(PAGE)}
    assert told == {(code, row.status, row.retry) for code, row in TABLE.items()}


def test_final_refusals_are_marked_and_no_others() -> None:
    """R-17."""
    assert {ErrorCode(code) for code, mark, _, _ in ANSWERED.findall(PAGE) if mark} == FINAL_REFUSALS


def test_codes_that_only_clients_raise_stand_in_their_own_table() -> None:
    section = PAGE.partition("## What only a client or an auditor finds")[2]
    assert {ErrorCode(code) for code in FOUND_BY_CLIENTS.findall(section)} == CLIENT_ONLY


def test_only_what_the_page_calls_a_pause_has_a_time_to_wait() -> None:
    """A `Retry-After` on a code that is never retried would send a client round in circles."""
    for code, row in TABLE.items():
        assert (row.retry_after_s is None) or row.retry in ("same", "after", "new-proof"), code
        assert row.retry != "after" or row.retry_after_s is not None, code
