"""A slower disk for the measured servers alone: slow_sync.c, compiled where a run begins and preloaded into them.

SQLite and Python reach fsync and fdatasync through the C library, so both are caught there. The delay comes on top of
what the real disk takes.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

SOURCE = Path(__file__).with_name("slow_sync.c")


def surroundings(folder: Path, delay_ms: float) -> Mapping[str, str]:
    """What a server's environment needs for syncs that take `delay_ms` longer; ends the run where there is no `cc`."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise SystemExit("--sync-delay compiles a few lines of C and finds no `cc`: sudo apt install gcc")
    library = folder / "slow_sync.so"
    subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", library, SOURCE, "-ldl"], check=True)
    return {"LD_PRELOAD": str(library), "BENCH_SYNC_DELAY_MS": str(delay_ms)}
