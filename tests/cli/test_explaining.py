"""`audit explain` reads a report from a file that may be anybody's: it is explained, or no report, and nothing else."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from referral_api.auditlog.report import Check
from referral_api.cli.explaining import _is_report, explain
from referral_api.cli.output import SCHEMA, Screen

REPORT: dict[str, Any] = {
    "schema": SCHEMA,
    "issuer": "https://exchange.example",
    "at": 1_700_000_000,
    "mode": "full",
    "complete": False,
    "result": "false",
    "checks": {check.value: {"verdict": "ok", "count": 1} for check in Check},
    "faults": [
        {
            "check": "records",
            "log": "audit/2026",
            "index": 1,
            "code": "tampered",
            "missing": False,
            "kept": False,
            "facts": {"what": "record"},
        }
    ],
    "heads": {"exchange.example/v1/log/audit/2026": {"size": 3, "root": "00"}},
    "relied": {"keys": 1},
    "lost": [{"log": "audit/2026", "kept": 1, "signed": 3, "absent": 2, "checkpoint": 1, "witnesses": ["uno"]}],
    "referrals": 1,
    "witnessed": {"keys": 1},
    "erased": 1,
    "unlogged": 1,
    "final_states": {"0" * 36: [{"unit": "unidad", "state": "accepted"}]},
    "witnesses": True,
    "evidence": None,
}
JUNK: tuple[Any, ...] = (None, "x", "5", [], {}, [{}], [None], {"x": None}, -1, 1 << 52, True, [["x"]])


def places(node: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if here:
        yield here
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for name, one in inner:
        yield from places(one, (*here, name))


def test_whatever_stands_in_a_report_it_is_explained_or_refused() -> None:
    screen = Screen("en")
    assert _is_report(REPORT)
    explained = 0
    for place in places(REPORT):
        for junk in JUNK:
            document = copy.deepcopy(REPORT)
            node: Any = document
            for name in place[:-1]:
                node = node[name]
            node[place[-1]] = junk
            if _is_report(document):
                assert all(isinstance(line, str) for line in explain(screen, document, {})), (place, junk)
                explained += 1
    assert explained
