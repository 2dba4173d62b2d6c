"""`make simulate`: years of a hotline's traffic in a minute or two, checked and reported.

REFERRAL_YEARS, REFERRAL_FACTOR (times the rate of 2006 and 2007) and REFERRAL_SEED change the run; the report, its
charts and its numbers go into build/simulation, or into the folder that is named as an argument.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from tests.simulation.run import Plan, simulate

DEFAULT_FOLDER = Path("build/simulation")


def main() -> None:
    """Run it; any promise that was broken ends it with an error."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_FOLDER
    years, factor = float(os.environ.get("REFERRAL_YEARS", "3")), float(os.environ.get("REFERRAL_FACTOR", "4"))
    plan = Plan(years, factor, int(os.environ.get("REFERRAL_SEED", "1")), whole=years * factor >= 5)
    began = time.monotonic()
    simulate(plan, folder, lambda line: print(line, flush=True))
    print(f"Everything held. {time.monotonic() - began:.0f} s; report and charts: {folder}/report.md")


if __name__ == "__main__":
    main()
