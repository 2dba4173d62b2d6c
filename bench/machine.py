"""The machine that a run measures on, since no figure means anything without it."""

from __future__ import annotations

import os
import platform
import secrets
import statistics
import subprocess
import time
from pathlib import Path


def print_machine(folder: Path, *, delay_ms: float = 0) -> None:
    """One line: cores, Python, file system, what a sync takes there, load. Ends the run on a tmpfs."""
    with (folder / "sync").open("wb") as probe:
        took = []
        for _ in range(200):
            started = time.perf_counter()
            probe.write(secrets.token_bytes(4096))
            probe.flush()
            os.fdatasync(probe.fileno())
            took.append(time.perf_counter() - started)
    kind = subprocess.run(["stat", "-f", "-c", "%T", str(folder)], capture_output=True, text=True, check=True).stdout
    if kind.strip() == "tmpfs":
        raise SystemExit("a tmpfs keeps nothing; give --dir on a disk")
    load_1, _, _ = os.getloadavg()
    delay = f" and {delay_ms:g} ms more in the servers" if delay_ms else ""
    print(
        f"{os.cpu_count()} cores, Python {platform.python_version()}, {kind.strip()}, 4 kB append and fdatasync"
        f" {statistics.median(took) * 1e6:.0f} us{delay}, load {load_1:.1f} before; synchronous=FULL;"
        " both signatures, DPoP",
        flush=True,
    )
