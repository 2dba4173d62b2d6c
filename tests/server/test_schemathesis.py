"""openapi.yaml against the exchange itself: whatever its schemas allow or forbid is answered as it says (R-50).

Schemathesis makes the calls, the same ones every time; each carries a real token and a fresh proof of the credential
whose turn it is. Calls without a token, or with a bad one, are tests/server/test_dpop_calls.py's.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, settings
from requests.auth import AuthBase
from schemathesis.checks import CheckFunction
from schemathesis.specs.openapi.checks import ignored_auth, positive_data_acceptance

from tests.wire import Caller
from tests.world import World

schema = schemathesis.openapi.from_path(Path(__file__).parents[2] / "openapi.yaml")
# The proof must be the last thing that is added to a request, so that authentication is not schemathesis's.
schema.config.generation.with_security_parameters = False
KNOWING = ("/enrolments", "/consistency", "/inbox")
"""Paths whose calls are only right for who knows more than the schema: a secret, the size of a log, a cursor."""


class Proof(AuthBase):
    """A token, and a proof for exactly the request that is about to be sent."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers.update(self._caller.credentials(str(request.method), request.path_url))
        return request


@pytest.fixture(scope="module")
def served(served: World) -> Iterator[World]:
    """One exchange for all calls; what they leave behind must not change the answers."""
    yield served
    served.check()


@pytest.mark.parametrize("seat", ["operator", "officer", "auditor"])
@schema.parametrize()
@settings(max_examples=6, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_call_is_answered_as_documented(case: schemathesis.Case[Any], seat: str, served: World) -> None:
    if str(case.query.get("wait", "")).isdecimal():
        case.query["wait"] = 0  # A long poll is another test's business.
    # What a schema allows may still be unsigned, unsealed, or nobody's invitation.
    knows_too_little = bool(case.operation.body) or any(part in case.path for part in KNOWING)
    excluded: list[CheckFunction] = [ignored_auth, *([positive_data_acceptance] if knows_too_little else [])]
    with requests.Session() as session:
        if case.operation.definition.raw.get("security"):
            session.auth = Proof(served.caller(seat))
        answer = case.call_and_validate(base_url=served.server.url, session=session, excluded_checks=excluded)
    assert answer.status_code < 500
