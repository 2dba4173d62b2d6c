"""A few months of a hotline's traffic hold what they must, and give the same numbers every time (`make simulate`)."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.simulation.run import Plan, simulate
from tests.simulation.tally import URGENCIES

PLAN = Plan(years=0.15, factor=4, seed=3, whole=False)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Exception in thread writer:pytest.PytestUnhandledThreadExceptionWarning")
def test_a_few_months_hold_what_they_must_and_are_told_with_charts(tmp_path: Path) -> None:
    """Rules R1, R4 and R18 of the field; R-64, R-80, R-106, R-107: `simulate` raises where one of them is broken."""
    said: list[str] = []
    counted = simulate(PLAN, tmp_path / "first", said.append)
    assert sum(counted.referrals.values()) >= 20
    assert {"remind_unit", "telephone_now"} <= set().union(*counted.rungs.values())
    assert counted.acts["purged"] >= sum(counted.referrals.values())
    report = (tmp_path / "first" / "report.md").read_text()
    assert report in said[-1] + "\n"
    for name in ("referrals", "acknowledged", "escalations", "ends"):
        chart = ElementTree.parse(tmp_path / "first" / f"{name}.svg").getroot()  # noqa: S314 - our own few lines
        assert [one.text for one in chart.iter() if one.text in URGENCIES] == list(URGENCIES)
        assert f"{name}.svg" in report
    simulate(PLAN, tmp_path / "second", lambda _: None)
    first, second = (json.loads((tmp_path / one / "numbers.json").read_text()) for one in ("first", "second"))
    assert first == second
