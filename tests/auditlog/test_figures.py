"""The annual tables side by side: what one of them hides, no other tells (R-103; rule R12 of the field)."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from referral_api.auditlog.figures import SUMS, URGENCIES, Figures, _totals, publish
from referral_api.domain.clocks import Clock, Rung
from referral_api.domain.disclosure import THRESHOLD


def tables(**cells: int) -> dict[str, Any]:
    """What is published of these counts; every other cell is zero."""
    counts = Counter(dict.fromkeys((cell for one in SUMS for cell, _ in one.signs()), 0))
    counts.update({name.replace("__", "."): count for name, count in cells.items()})
    nothing: dict[str, tuple[int, ...]] = dict.fromkeys(URGENCIES, ())
    published: dict[str, Any] = publish(2026, Figures(_totals(counts), nothing, nothing))["tables"]
    return published


@pytest.mark.parametrize("late", range(THRESHOLD))
@pytest.mark.parametrize("none", [5, 10, 11, 12, 32])
def test_how_many_were_late_or_never_came_is_in_no_difference_of_two_tables(late: int, none: int) -> None:
    """R-80, R-106: at its term what is unread is `overdue`, and the hotline is called to the telephone: the same count
    as late and missing acknowledgements together, in two other tables.
    """
    found = tables(
        urgency__routine=120,
        basis__consent=120,
        retention__standard=120,
        states__closed=120,
        outcomes__trafficking_confirmed=120,
        acknowledgement_routine__on_time=120 - late - none,
        acknowledgement_routine__late=late,
        acknowledgement_routine__none=none,
        overdue__ack=late + none,
        overdue__decision=30,
        escalations__telephone_now=late + none,
        escalations__release_parent=20,
    )
    for twin in (found["overdue"]["cells"]["ack"], found["escalations"]["cells"]["telephone_now"]):
        for name in ("timeliness", "acknowledgement_routine"):
            cells = found[name]["cells"]
            assert cells["late"] is None
            assert twin is None or cells["none"] is None, (late, none, name)
            assert twin is None or cells["on_time"] is None or late + none >= THRESHOLD


def test_a_year_of_all_urgencies_does_not_tell_that_four_were_late() -> None:
    """The same where each urgency has its own table, and only their sum is large."""
    found = tables(
        urgency__routine=60,
        urgency__urgent=45,
        urgency__emergency=15,
        basis__consent=120,
        retention__standard=120,
        states__closed=100,
        states__expired=20,
        outcomes__trafficking_confirmed=100,
        overdue__ack=36,
        overdue__decision=6,
        acknowledgement_routine__on_time=40,
        acknowledgement_routine__late=1,
        acknowledgement_routine__none=19,
        acknowledgement_urgent__on_time=31,
        acknowledgement_urgent__late=2,
        acknowledgement_urgent__none=12,
        acknowledgement_emergency__on_time=13,
        acknowledgement_emergency__late=1,
        acknowledgement_emergency__none=1,
        overdue__first_status=7,
        escalations__remind_unit=40,
        escalations__telephone_now=36,
        escalations__release_parent=30,
        escalations__release_national=14,
    )
    assert (found["overdue"]["cells"]["ack"], found["timeliness"]["cells"]["none"]) == (36, None)


def test_no_cell_is_listed_in_which_nothing_is_ever_counted() -> None:
    """R-103: a blank that everybody knows to be zero hides nobody beside it. The last rung is the act `expired`."""
    found = tables()
    assert set(found["escalations"]["cells"]) == {rung.value for rung in Rung if rung is not Rung.EXPIRE}
    assert set(found["overdue"]["cells"]) == {clock.value for clock in Clock}
