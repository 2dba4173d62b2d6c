"""The machine that a run measures on, since no figure means anything without it."""

from __future__ import annotations

import os
import platform
import secrets
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from referral_api.formats.keys import Alg, signing_key, verify_signature


def signatures_us() -> Mapping[str, float]:
    """What each signature of a submission takes here, in µs: the act's two, its proof's, and its receipt's making."""
    timed: dict[str, float] = {}
    text = secrets.token_bytes(1500)
    for alg in (Alg.ED25519, Alg.ML_DSA_65, Alg.ES256):
        key = signing_key(alg, secrets.token_bytes(32))
        signature = key.sign(text)
        timed[f"{alg.value} verified"] = _best(partial(verify_signature, key.public, text, signature))
    timed["Ed25519 made"] = _best(partial(signing_key(Alg.ED25519, secrets.token_bytes(32)).sign, text))
    return timed


def _best(call: Callable[[], object]) -> float:
    rounds = []
    for _ in range(5):
        started = time.perf_counter()
        for _ in range(200):
            call()
        rounds.append((time.perf_counter() - started) / 200 * 1e6)
    return min(rounds)


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
    timed = signatures_us()
    parts = ", ".join(f"{what} {took:.0f}" for what, took in timed.items())
    print(f"signatures, us: {parts}; a submission with both takes {sum(timed.values()):.0f}", flush=True)
