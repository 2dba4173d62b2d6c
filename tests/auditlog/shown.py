"""`python -m tests.auditlog.shown`: what is published of a year of 50 and of one of 600 referrals, invented but likely.

More than nine in ten are acknowledged in time, a third comes to an outcome, few are declined (docs/decisions/0035).
"""

from __future__ import annotations

import sys
from collections import Counter
from typing import Any, Final

from referral_api.auditlog.figures import URGENCIES, Figures, cells_of_nothing, publish, rows_of, totals

LIKELY: Final[dict[int, dict[str, int]]] = {
    50: {
        "acknowledgement_routine.on_time": 14, "acknowledgement_routine.late": 1,
        "acknowledgement_urgent.on_time": 18, "acknowledgement_urgent.late": 2,
        "acknowledgement_emergency.on_time": 13, "acknowledgement_emergency.late": 2,
        "basis.consent": 30, "basis.child_protection": 14, "basis.vital_interest": 6,
        "retention.standard": 44, "retention.short": 6,
        "declines.no_capacity": 2, "declines.out_of_jurisdiction": 3, "transfers.jurisdiction": 3,
        "outcomes.trafficking_confirmed": 12, "outcomes.not_substantiated": 7, "outcomes.related_crime": 4,
        "outcomes.not_located": 5, "outcomes.cannot_disclose": 4, "withdrawals.consent_withdrawn": 2,
        "overdue.decision": 6, "overdue.first_status": 9, "overdue.next_status": 14,
    },
    600: {
        "acknowledgement_routine.on_time": 182, "acknowledgement_routine.late": 18,
        "acknowledgement_urgent.on_time": 230, "acknowledgement_urgent.late": 19,
        "acknowledgement_emergency.on_time": 145, "acknowledgement_emergency.late": 6,
        "basis.consent": 330, "basis.child_protection": 190, "basis.vital_interest": 80,
        "retention.standard": 540, "retention.short": 52, "retention.legal_hold_requested": 8,
        "declines.no_capacity": 21, "declines.out_of_jurisdiction": 34, "declines.conflict_of_interest": 3,
        "transfers.jurisdiction": 28, "transfers.specialisation": 12,
        "outcomes.trafficking_confirmed": 96, "outcomes.not_substantiated": 71, "outcomes.related_crime": 40,
        "outcomes.not_located": 38, "outcomes.cannot_disclose": 31, "outcomes.victim_declined": 26,
        "withdrawals.consent_withdrawn": 14, "withdrawals.duplicate": 12, "receipt_failures.cannot_decrypt": 2,
        "overdue.decision": 44, "overdue.first_status": 61, "overdue.next_status": 120,
        "readers.not_signed": 17,
    },
}  # fmt: skip
"""Cells by the year's referrals; those that are not named are zero."""


def document(cells: dict[str, int]) -> dict[str, Any]:
    """What is published of these counts; each referral of an urgency took a second longer than the one before."""
    counts = Counter(cells_of_nothing())
    if not counts.keys() >= cells.keys():
        raise ValueError(sorted(cells.keys() - counts.keys()))
    counts.update(cells)
    times = {
        one: tuple(range(1, 1 + sum(cells.get(f"acknowledgement_{one}.{how}", 0) for how in ("on_time", "late"))))
        for one in URGENCIES
    }
    return publish(2025, Figures(totals(counts), times, times))


def main() -> None:
    """Print every figure that is shown."""
    for referrals, cells in LIKELY.items():
        rows = list(rows_of(document(cells)))
        shown = [row for row in rows if row[2] is not None]
        sys.stdout.write(f"{referrals} referrals: {len(shown)} of {len(rows)} figures\n")
        sys.stdout.writelines(f"  {table:28} {row:32} {figure}\n" for table, row, figure in shown)


if __name__ == "__main__":
    main()
